"""The idea in pure tensors: every concept changes a few singular-vector columns of a pretrained weight, and no others.

A weight `W = U diag(S) V^T` (out x in) is cut into slots of r columns of `U` and `V`, largest singular values first. A
concept trains the columns of its own slot only:

    additive    W' = [U1 + A   U2] diag(S) [V1 + B   V2]^T            A (out, r), B (in, r)
    rotational  W' = [U1 R_u   U2] diag(S) [V1 R_v   V2]^T            R_u, R_v (r, r), orthogonal

Both changes are exact products of thin factors, `W' - W = up @ down`, of rank 2r and r, so that `W'` is never built.
Concepts in disjoint slots never meet: changing them together is the sum of changing each (section 4.2), and fusing them
is an addition.

Source: Zhang and Pilanci, "Spectral Adapter: Fine-Tuning in Spectral Space", arXiv:2405.13952, with its letters.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from spectral_diffusion.errors import InputError, SlotError


@dataclass(frozen=True)
class ColumnSlot:
    """A run of neighbouring singular-vector columns, `start` to `stop - 1`; column 0 has the largest singular value.

    Args:
        start: First column.
        width: Number of columns: the rank r of the adapter that owns them.

    Raises:
        SlotError: `start` is negative or `width` is not positive.
    """

    start: int
    width: int

    def __post_init__(self) -> None:
        if self.start < 0 or self.width < 1:
            raise SlotError(
                f"a slot of {self.width} columns from column {self.start} does not exist",
                "start at column 0 or later and take at least one column",
            )

    @property
    def stop(self) -> int:
        """The first column after the slot."""
        return self.start + self.width

    def overlaps(self, other: "ColumnSlot") -> bool:
        """Whether the two slots share a column."""
        return self.start < other.stop and other.start < self.stop

    def __str__(self) -> str:
        return f"columns {self.start}-{self.stop - 1}"


class Spectrum(NamedTuple):
    """Singular columns of a weight, `W ~ U diag(S) Vh`: all of the first k, or those of one slot.

    `U` (out, k) and `Vh` (k, in) are orthonormal; `S` (k,) falls and is not negative.
    """

    U: Tensor
    S: Tensor
    Vh: Tensor


class LowRankDelta(NamedTuple):
    """A change of a weight as exact thin factors: `dW = up @ down`, `up` (out, k), `down` (k, in)."""

    up: Tensor
    down: Tensor

    def dense(self) -> Tensor:
        """The change itself, (out, in)."""
        return self.up @ self.down


def as_matrix(weight: Tensor) -> Tensor:
    """A weight as the matrix (out, in) that it multiplies by: a convolution's kernel becomes (out, in * kh * kw)."""
    return weight.reshape(weight.shape[0], -1)


@torch.no_grad()
def decompose(weight: Tensor, columns: int) -> Spectrum:
    """The first singular columns of a weight, largest first, the same on every run.

    The Gram matrix of the smaller side is diagonalised in float64, the other side follows by one product and a
    Householder QR, which keeps it orthonormal even where singular values vanish. A column's sign is set so that the
    entry of `U` that is largest in magnitude is positive.

    Args:
        weight: (out, in), any floating type; convolutions pass through `as_matrix` first.
        columns: How many columns, at most min(out, in).

    Returns:
        `U` (out, columns), `S` (columns,), `Vh` (columns, in) on the weight's device, float32 (float64 for a float64
        weight).

    Raises:
        SlotError: The weight has fewer columns.
        InputError: The weight is not a finite matrix.
    """
    if weight.ndim != 2:
        raise InputError(f"a weight of shape {tuple(weight.shape)} is not a matrix", "flatten it with as_matrix first")
    if not 1 <= columns <= min(weight.shape):
        raise SlotError(
            f"{columns} singular columns were asked of a weight of shape {tuple(weight.shape)}",
            f"ask for 1 to {min(weight.shape)}",
        )
    # Apple's GPUs have no float64.
    W = weight.detach().to(device="cpu" if weight.device.type == "mps" else None, dtype=torch.float64)
    if not W.isfinite().all():
        raise InputError("a weight of the base has values that are not finite", "load the base again from a sound file")
    if W.shape[0] <= W.shape[1]:
        U, S, V = _gram_columns(W, columns)
    else:
        V, S, U = _gram_columns(W.mT, columns)
    peaks = U.gather(0, U.abs().argmax(dim=0, keepdim=True))
    signs = torch.where(peaks < 0, -1.0, 1.0).to(U)
    kept = {"device": weight.device, "dtype": torch.promote_types(weight.dtype, torch.float32)}
    return Spectrum((U * signs).to(**kept), S.to(**kept), (V * signs).mT.contiguous().to(**kept))


def _gram_columns(W: Tensor, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """`U`, `S`, `V` of a float64 matrix that is not taller than wide."""
    U = torch.linalg.eigh(W @ W.mT).eigenvectors[:, -columns:].flip(-1)
    V, R = torch.linalg.qr(W.mT @ U)
    S = R.diagonal()
    V = V * torch.where(S < 0, -1.0, 1.0).to(V)
    # Below 1e-8 of the largest, the Gram matrix no longer tells singular values apart; the product above does.
    S, order = S.abs().sort(descending=True, stable=True)
    return U[:, order], S, V[:, order]


def take_slot(spectrum: Spectrum, slot: ColumnSlot) -> Spectrum:
    """The columns of one slot: `U` (out, r), `S` (r,), `Vh` (r, in).

    Raises:
        SlotError: The slot ends beyond the last column.
    """
    if slot.stop > spectrum.S.numel():
        raise SlotError(
            f"the slot of {slot} ends beyond the last of {spectrum.S.numel()} columns",
            "choose an earlier slot or a smaller rank",
        )
    columns = slice(slot.start, slot.stop)
    return Spectrum(
        spectrum.U[:, columns].contiguous(), spectrum.S[columns].contiguous(), spectrum.Vh[columns].contiguous()
    )


def additive_delta(U: Tensor, S: Tensor, V: Tensor, A: Tensor, B: Tensor, C: Tensor | None = None) -> LowRankDelta:
    """The additive change of a slot (section 3), of rank 2r, without an SVD and without cancellation.

        dW = (U + A) diag(S + C) (V + B)^T - U diag(S) V^T
           = A (S + C) (V + B)^T  +  U [C (V + B)^T + S B^T]

    Args:
        U, A: (out, r).
        S: (r,).
        V, B: (in, r).
        C: Change of the singular values (r,); the paper's formula has none.

    Returns:
        `up` = [A  U] (out, 2r), `down` (2r, in); zero, yet with gradients, where A = B = C = 0.
    """
    VB = (V + B).mT
    top, bottom = S[:, None] * VB, S[:, None] * B.mT
    if C is not None:
        top, bottom = top + C[:, None] * VB, bottom + C[:, None] * VB
    return LowRankDelta(torch.cat([A, U], dim=1), torch.cat([top, bottom]))


def rotational_delta(
    U: Tensor, S: Tensor, V: Tensor, R_u: Tensor, R_v: Tensor, C: Tensor | None = None
) -> LowRankDelta:
    """The rotational change of a slot (section 3), of rank r; `W'` keeps the form of an SVD (Lemma 4.1).

        dW = U [R_u diag(S + C) R_v^T - diag(S)] V^T

    Args:
        U: (out, r).
        S: (r,).
        V: (in, r).
        R_u, R_v: (r, r), orthogonal; see `cayley`.
        C: Change of the singular values (r,); the paper's formula has none.

    Returns:
        `up` = U (out, r), `down` (r, in); zero, yet with gradients, where R_u = R_v = I and C = 0.
    """
    core = (R_u * (S if C is None else S + C)) @ R_v.mT - torch.diag(S)
    return LowRankDelta(U, core @ V.mT)


def cayley(raw: Tensor) -> Tensor:
    """The rotation that a square matrix stands for: `R = (I + Q)(I - Q)^-1` with `Q = (raw - raw^T) / 2`; (..., r, r).

    `R^T R = I` to the last bits, with no penalty and no projection; `raw` = 0 gives the identity exactly.
    """
    Q = (raw - raw.mT) / 2
    eye = torch.eye(raw.shape[-1], dtype=raw.dtype, device=raw.device)
    # The factors commute. I - Q is never singular, as Q's eigenvalues are imaginary: no check, so no wait for the GPU.
    return torch.linalg.solve_ex(eye - Q, eye + Q).result


def overlap(*columns: Tensor) -> Tensor:
    """How much sets of orthonormal columns share: the largest |U_i^T U_j| of each two, 0 (disjoint) to 1 (in common).

    Args:
        columns: n sets, each (out, r_i).

    Returns:
        (n, n), symmetric, 1 on the diagonal.
    """
    width = max(U.shape[1] for U in columns)
    # Columns of zeros make all sets as wide as the widest, so that one product serves all pairs.
    side = torch.cat([pad(U, (0, width - U.shape[1])) for U in columns], dim=1)
    return (side.mT @ side).abs().view(len(columns), width, len(columns), width).amax(dim=(1, 3))
