"""Plain LoRA (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685), the control.

It is what spectral adapters are compared with: as many numbers train, on the same layers and by the same steps, but the
change may lie in any direction, so two of them may meet anywhere.
"""

import math
from typing import ClassVar, Self

import torch
from torch import Tensor

from spectral_diffusion.adapters.base import FreeAdapter
from spectral_diffusion.spectrum import LowRankDelta


class Lora(FreeAdapter):
    """`W' = W + up down`: `up` (out, r) trains from zero, `down` (r, in) from random numbers.

    The scale alpha / r of the paper is 1, as alpha = r: strength is what people move.
    """

    SHAPES: ClassVar = {"up": ("out", "rank"), "down": ("rank", "in")}
    TRAINED: ClassVar = frozenset(("up", "down"))

    up: Tensor
    down: Tensor

    @classmethod
    def create(cls, shape: tuple[int, int], rank: int, generator: torch.Generator) -> Self:
        """`up` at zero, `down` uniform in +-1 / sqrt(in).

        That is Kaiming's uniform distribution with a = sqrt(5), from which PEFT and others begin, too.
        """
        rows, columns = shape
        bound = 1 / math.sqrt(columns)
        down = torch.empty(rank, columns).uniform_(-bound, bound, generator=generator)
        return cls({"up": torch.zeros(rows, rank), "down": down})

    @staticmethod
    def parameter_count(out_features: int, in_features: int, rank: int) -> int:
        """`r (out + in)`."""
        return rank * (out_features + in_features)

    def low_rank(self) -> LowRankDelta:
        """`up` (out, r) and `down` (r, in), as they are."""
        return LowRankDelta(self.up, self.down)
