"""The paper's two adapters: singular columns of one slot, shifted or rotated (section 3)."""

from typing import ClassVar, Self

import torch
from torch import Tensor

from spectral_diffusion.adapters.base import ColumnAdapter
from spectral_diffusion.spectrum import LowRankDelta, Spectrum, additive_delta, cayley, rotational_delta


class SpectralAdditive(ColumnAdapter):
    """Spectral Adapter^A: `W' = [U + A  U2] diag(S + C) [V + B  V2]^T` over the slot's columns.

    `U` (out, r), `S` (r,), `V` (in, r) are the pretrained columns and stay; `A` (out, r), `B` (in, r) and, by choice,
    `C` (r,) train from zero. The change has rank 2r at LoRA's number of parameters (Lemma 3.1).
    """

    SHAPES: ClassVar = {
        "U": ("out", "rank"),
        "S": ("rank",),
        "V": ("in", "rank"),
        "A": ("out", "rank"),
        "B": ("in", "rank"),
        "C": ("rank",),
    }
    TRAINED: ClassVar = frozenset("ABC")
    OPTIONAL: ClassVar = frozenset("C")

    U: Tensor
    S: Tensor
    V: Tensor
    A: Tensor
    B: Tensor
    C: Tensor | None

    @classmethod
    def create(cls, spectrum_slot: Spectrum, *, train_singular_values: bool = False) -> Self:
        """The slot's columns with `A`, `B` (and `C`) at zero."""
        U, S, Vh = spectrum_slot
        V = Vh.mT.contiguous()
        tensors = {"U": U, "S": S, "V": V, "A": torch.zeros_like(U), "B": torch.zeros_like(V)}
        return cls(tensors | ({"C": torch.zeros_like(S)} if train_singular_values else {}))

    @staticmethod
    def parameter_count(out_features: int, in_features: int, rank: int, *, train_singular_values: bool = False) -> int:
        """`r (out + in)`, and r more with `C`: as LoRA's."""
        return rank * (out_features + in_features + train_singular_values)

    def low_rank(self) -> LowRankDelta:
        """`up` (out, 2r) and `down` (2r, in)."""
        return additive_delta(self.U, self.S, self.V, self.A, self.B, self.C)

    def scale_factors(self, factor_scale: float) -> Self:
        """A copy whose `A`, `B`, `C` are multiplied by the paper's l; `dW` does not scale in proportion."""
        scaled = {name: t * factor_scale if name in self.TRAINED else t for name, t in self.tensors().items()}
        return self.from_tensors(scaled)


class SpectralRotation(ColumnAdapter):
    """Spectral Adapter^R: `W' = [U R_u  U2] diag(S + C) [V R_v  V2]^T` over the slot's columns.

    `U` (out, r), `S` (r,), `V` (in, r) are the pretrained columns and stay. The raw parameters `R_u`, `R_v` (r, r)
    train from zero and stand for the orthogonal `cayley(R_u)`, `cayley(R_v)`, so the form of an SVD survives training
    (Lemma 4.1); `C` (r,) trains by choice. The change has rank r.
    """

    SHAPES: ClassVar = {
        "U": ("out", "rank"),
        "S": ("rank",),
        "V": ("in", "rank"),
        "R_u": ("rank", "rank"),
        "R_v": ("rank", "rank"),
        "C": ("rank",),
    }
    TRAINED: ClassVar = frozenset(("R_u", "R_v", "C"))
    OPTIONAL: ClassVar = frozenset("C")

    U: Tensor
    S: Tensor
    V: Tensor
    R_u: Tensor
    R_v: Tensor
    C: Tensor | None

    @classmethod
    def create(cls, spectrum_slot: Spectrum, *, train_singular_values: bool = False) -> Self:
        """The slot's columns with `R_u`, `R_v` (and `C`) at zero: no rotation."""
        U, S, Vh = spectrum_slot
        raw = S.new_zeros(S.numel(), S.numel())
        tensors = {"U": U, "S": S, "V": Vh.mT.contiguous(), "R_u": raw, "R_v": raw}
        return cls(tensors | ({"C": torch.zeros_like(S)} if train_singular_values else {}))

    @staticmethod
    def parameter_count(out_features: int, in_features: int, rank: int, *, train_singular_values: bool = False) -> int:
        """`2 r^2`, and r more with `C`, whatever the weight's size."""
        return 2 * rank**2 + rank * train_singular_values

    def low_rank(self) -> LowRankDelta:
        """`up` (out, r) and `down` (r, in)."""
        return rotational_delta(self.U, self.S, self.V, cayley(self.R_u), cayley(self.R_v), self.C)
