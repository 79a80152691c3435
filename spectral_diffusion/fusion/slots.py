"""Fusion by slots: concepts own different columns, so all of them at once is the sum of each. Exact, and instant.

The paper (section 4.2) pads every concept's factors with zeros outside its slot and adds them,

    W' = (U + sum_i A_i) diag(S) (V + sum_i B_i)^T,

which equals `W + sum_i dW_i` exactly where slots are disjoint: `A_i diag(S) B_j^T` vanishes for i != j, as no column
belongs to both. Where they are not, cross terms appear that nobody trained. So disjointness is measured, on the columns
themselves. Adapters that hold no columns are added just the same; nothing keeps them apart.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from spectral_diffusion.adapters.adapter import Adapter
from spectral_diffusion.spectrum import LowRankDelta, overlap

OVERLAP_TOLERANCE = 0.1
"""Disjoint slots of one base reach 1e-6, and 0.01 where one was decomposed in float16 and one in float32; a shared
column reaches 1."""


def slot_sum(deltas: Sequence[LowRankDelta], strengths: Sequence[float]) -> LowRankDelta:
    """`sum_i strength_i dW_i` by writing the factors side by side: `up` (out, sum of k_i), `down` (sum of k_i, in)."""
    up = torch.cat([strength * delta.up for delta, strength in zip(deltas, strengths, strict=True)], dim=1)
    return LowRankDelta(up, torch.cat([delta.down for delta in deltas]))


def measure_overlaps(adapters: Sequence[Adapter]) -> dict[str, Tensor]:
    """How much each two adapters share in each weight that any of them changes.

    Returns:
        By module (adapters, adapters): the larger of |U_i^T U_j| and |V_i^T V_j|, 0 (disjoint) to 1 (a common column);
        0 where an adapter does not change the module, or holds no columns.
    """
    found: dict[str, Tensor] = {}
    for module in dict.fromkeys(module for adapter in adapters for module in adapter.modules):
        found[module] = torch.zeros(len(adapters), len(adapters))
        having = [i for i, adapter in enumerate(adapters) if adapter.slot is not None and module in adapter.modules]
        if not having:
            continue
        held = [adapters[index].modules[module] for index in having]
        U, V = (overlap(*(tensors[side].float().cpu() for tensors in held)) for side in ("U", "V"))
        rows = torch.tensor(having)
        found[module][rows[:, None], rows] = torch.maximum(U, V)
    return found
