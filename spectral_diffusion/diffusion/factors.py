"""An adapted Linear in delta form: thin factors beside the frozen weight, and gradients by hand.

With down (k, in), up (out, k) and h = x down^T (n, k) it computes

    y = x W^T + b + h up^T.

W stays untouched in the base's dtype. With g = dL/dy and dh = g up the gradient of the input is dL/dx = g W + dh down.
Which factors and which gradients the trainables have is the method's, one layer class each:

Additive spectral, with P = A (S+C) + U C (out, r):  down = [V | B]^T,  up = [P | P + U S], k = 2r,
which is W' = W + A (S+C) (V+B)^T + U [C (V+B)^T + S B^T] of `spectrum.additive_delta`. The gradients are

    dL/dP = g^T (h_V + h_B)        only the sum of h's two halves
    dL/dA = dL/dP * (S+C)          dL/dC = sum over rows of dL/dP * (A + U)
    dL/dB = x^T (g [P + U S]).

LoRA: up and down themselves, k = r, with dL/dup = g^T h and dL/ddown = dh^T x.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spectral_diffusion.adapters import Lora, SpectralAdditive, WeightAdapter


class Entries(NamedTuple):
    """Rows of a factor as `constant + scale * vector[index]`, all (rows, n); the index is int32."""

    constant: Tensor
    scale: Tensor
    index: Tensor


class Factors:
    """The factors up^T and down of all layers, rebuilt from the flat vector in one pass.

    Every entry is `constant + scale * vector[index]`; with a trained C the up entries gain C (A + U).

    Args:
        adapters: Adapters of the methods in `LAYERS`, by path.
        vector: The flat vector that holds their parameters.
        offsets: Where in it each of them begins.
        dtype: Of the factors: the base's.
    """

    def __init__(
        self, adapters: Mapping[str, Any], vector: Tensor, offsets: Mapping[nn.Parameter, int], dtype: torch.dtype
    ) -> None:
        # What trains a C comes first, so that what C adds to is the beginning of everything.
        ordered = dict(sorted(adapters.items(), key=lambda item: _singular_values(item[1]) is None))
        ups, downs, singular = [], [], []
        sides: dict[str, tuple[int, int, int]] = {}
        for path, adapter in ordered.items():
            up, down = LAYERS[type(adapter)].entries(adapter, vector, offsets)
            ups += up
            downs += down
            rows = sum(len(entries.constant) for entries in up)
            sides[path] = rows, up[0].constant.shape[1], down[0].constant.shape[1]
            C = _singular_values(adapter)
            if C is not None:
                U = adapter.U.to(vector)
                of_row = torch.arange(len(C), dtype=torch.int32, device=U.device) + offsets[C]
                singular += [(U.T, of_row[:, None].expand_as(U.T))] * 2
        self._constant, self._scale, self._index = (
            torch.cat([entries.reshape(-1) for entries in column]) for column in zip(*ups, *downs, strict=True)
        )
        self._vector = vector
        self._U, self._singular_index = (
            [torch.cat([entries.reshape(-1) for entries in column]) for column in zip(*singular, strict=True)]
            if singular
            else (None, None)
        )
        self._buffer = torch.empty_like(self._constant, dtype=dtype)
        self.layers: dict[str, DeltaLayer] = {}
        up_offset, down_offset = 0, sum(entries.constant.numel() for entries in ups)
        for path, adapter in ordered.items():
            rows, out_features, in_features = sides[path]
            up = self._buffer[up_offset:][: rows * out_features].view(rows, out_features)
            down = self._buffer[down_offset:][: rows * in_features].view(rows, in_features)
            up_offset, down_offset = up_offset + up.numel(), down_offset + down.numel()
            self.layers[path] = LAYERS[type(adapter)](adapter, up, down)
        self.rebuild()

    @torch.no_grad()
    def rebuild(self) -> None:
        """Read the flat vector anew."""
        gathered = self._vector.index_select(0, self._index)
        factors = torch.addcmul(self._constant, self._scale, gathered)
        if self._singular_index is not None and self._U is not None:
            count = len(self._U)
            factors[:count].addcmul_(gathered[:count] + self._U, self._vector.index_select(0, self._singular_index))
        self._buffer.copy_(factors)


class DeltaLayer(ABC):
    """One Linear's factors, and where its gradients go.

    Args:
        adapter: Its adapter, whose parameters have a `.grad`.
        up: The factor up^T (k, out).
        down: The factor down (k, in).
    """

    def __init__(self, adapter: Any, up: Tensor, down: Tensor) -> None:
        self.up, self.down = up, down
        self.parameters: tuple[Tensor, ...] = tuple(adapter.parameters())

    @staticmethod
    @abstractmethod
    def entries(
        adapter: Any, vector: Tensor, offsets: Mapping[nn.Parameter, int]
    ) -> tuple[list[Entries], list[Entries]]:
        """The rows of up^T and those of down, by what they are in the flat vector."""

    @abstractmethod
    def accumulate(self, x: Tensor, h: Tensor, g: Tensor, dh: Tensor) -> None:
        """Add the gradients of the trainables, where h = x down^T, g = dL/dy and dh = dL/dh."""

    def attach(self, linear: nn.Linear) -> None:
        """Put an instance-level `forward` before the layer's own."""

        def forward(input: Tensor) -> Tensor:
            return _DeltaLinear.apply(input, linear.weight, linear.bias, self, *self.parameters)

        linear.forward = forward


class SpectralLayer(DeltaLayer):
    """Additive spectral: up^T = [P | P + U S]^T and down = [V | B]^T."""

    def __init__(self, adapter: SpectralAdditive, up: Tensor, down: Tensor) -> None:
        super().__init__(adapter, up, down)
        self.adapter = adapter
        self.rank = len(adapter.S)
        self.S = adapter.S.to(up)

    @staticmethod
    def entries(
        adapter: SpectralAdditive, vector: Tensor, offsets: Mapping[nn.Parameter, int]
    ) -> tuple[list[Entries], list[Entries]]:
        """Two blocks of r rows each."""
        U, S, V = (columns.to(vector) for columns in (adapter.U, adapter.S, adapter.V))
        zero_up, zero_down = torch.zeros_like(U.T), torch.zeros_like(V.T)
        scale = S[:, None].expand_as(U.T)
        index = _index(adapter.A, offsets).T
        of_B = _index(adapter.B, offsets).T
        return (
            [Entries(zero_up, scale, index), Entries((U * S).T, scale, index)],
            [Entries(V.T, zero_down, torch.zeros_like(of_B)), Entries(zero_down, torch.ones_like(zero_down), of_B)],
        )

    def accumulate(self, x: Tensor, h: Tensor, g: Tensor, dh: Tensor) -> None:
        """Of A, B and C."""
        adapter, r = self.adapter, self.rank
        halves = h[:, :r] + h[:, r:]
        assert adapter.A.grad is not None
        assert adapter.B.grad is not None
        _add_product(adapter.B.grad, x, dh[:, r:])
        C = _singular_values(adapter)
        if C is None:
            _add_product(adapter.A.grad, g, halves * self.S)
            return
        assert C.grad is not None
        dP = (g.T @ halves).to(C.dtype)
        adapter.A.grad.addcmul_(dP, adapter.S.to(C.dtype) + C)
        C.grad.add_((dP * (adapter.A + adapter.U.to(C.dtype))).sum(0))


class LoraLayer(DeltaLayer):
    """LoRA: up^T and down as they are trained."""

    def __init__(self, adapter: Lora, up: Tensor, down: Tensor) -> None:
        super().__init__(adapter, up, down)
        self.adapter = adapter

    @staticmethod
    def entries(
        adapter: Lora, vector: Tensor, offsets: Mapping[nn.Parameter, int]
    ) -> tuple[list[Entries], list[Entries]]:
        """One block of r rows each."""
        up, down = _index(adapter.up, offsets).T, _index(adapter.down, offsets)
        zeros = [torch.zeros(index.shape, dtype=vector.dtype, device=vector.device) for index in (up, down)]
        return [Entries(zeros[0], zeros[0] + 1, up)], [Entries(zeros[1], zeros[1] + 1, down)]

    def accumulate(self, x: Tensor, h: Tensor, g: Tensor, dh: Tensor) -> None:
        """Of up and down."""
        assert self.adapter.up.grad is not None
        assert self.adapter.down.grad is not None
        _add_product(self.adapter.up.grad, g, h)
        _add_product(self.adapter.down.grad, dh, x)


LAYERS: Mapping[type[WeightAdapter], type[DeltaLayer]] = {SpectralAdditive: SpectralLayer, Lora: LoraLayer}
"""The methods that have a delta form here."""


class _DeltaLinear(torch.autograd.Function):
    """y = x W^T + b + (x down^T) up^T. The trainables are arguments only so that autograd calls backward; their
    gradients go straight into the flat gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: DeltaLayer, *trainables: Tensor
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        h = rows @ layer.down.T
        y = F.linear(rows, weight, bias).addmm_(h, layer.up)
        ctx.save_for_backward(rows, h, weight)
        ctx.layer, ctx.trainables = layer, len(trainables)
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad_y,) = grad_outputs
        rows, h, weight = ctx.saved_tensors
        layer: DeltaLayer = ctx.layer
        g = grad_y.reshape(-1, grad_y.shape[-1])
        dh = g @ layer.up.T
        layer.accumulate(rows, h, g, dh)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (g @ weight).addmm_(dh, layer.down).view(*grad_y.shape[:-1], weight.shape[1])
        return dx, None, None, None, *[None] * ctx.trainables


def _singular_values(adapter: Any) -> nn.Parameter | None:
    """The change of the singular values that it trains, if it does."""
    C = getattr(adapter, "C", None)
    return C if isinstance(C, nn.Parameter) and C.requires_grad else None


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left^T right, in total's dtype."""
    if left.dtype == total.dtype:
        total.addmm_(left.T, right)
    else:
        total.add_(left.T @ right)


def _index(parameter: Tensor, offsets: Mapping[Any, int]) -> Tensor:
    """Where the entries of a parameter lie in the flat vector, in its own shape, int32."""
    count = torch.arange(parameter.numel(), dtype=torch.int32, device=parameter.device)
    return count.view(parameter.shape) + offsets[parameter]
