"""Fusion by slots: concepts own different columns, so all of them at once is the sum of each. Exact, and instant.

The paper (section 4.2) pads every concept's factors with zeros outside its slot and adds them,

    W' = (U + sum_i A_i) diag(S) (V + sum_i B_i)^T,

which equals `W + sum_i dW_i` exactly where slots are disjoint: `A_i diag(S) B_j^T` vanishes for i != j, as no column
belongs to both. Where they are not, cross terms appear that nobody trained. So disjointness is measured, on the columns
themselves.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from spectral_diffusion.adapters.file import Adapter
from spectral_diffusion.spectrum import LowRankDelta, overlap

OVERLAP_TOLERANCE = 0.01
"""Columns of one base in disjoint slots reach 1e-6 in float32; a shared column reaches 1."""


def slot_sum(deltas: Sequence[LowRankDelta], strengths: Sequence[float]) -> LowRankDelta:
    """`sum_i strength_i dW_i` by writing the factors side by side: `up` (out, sum of k_i), `down` (sum of k_i, in)."""
    up = torch.cat([strength * delta.up for delta, strength in zip(deltas, strengths, strict=True)], dim=1)
    return LowRankDelta(up, torch.cat([delta.down for delta in deltas]))


class Overlap(NamedTuple):
    """How much two adapters share: the largest |U_i^T U_j| or |V_i^T V_j| over common modules, and where it is."""

    value: float
    module: str | None


def measure_overlap(one: Adapter, other: Adapter) -> Overlap:
    """The overlap of two adapters, 0 (disjoint, or no common module) to 1 (a common column)."""
    worst = Overlap(0.0, None)
    for module in one.modules.keys() & other.modules.keys():
        mine, theirs = one.modules[module], other.modules[module]
        value = max(overlap(mine[side], theirs[side]) for side in ("U", "V"))
        worst = max(worst, Overlap(value, module), key=lambda found: (found.value, found.module or ""))
    return worst
