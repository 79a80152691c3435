"""An additive spectral Linear in delta form: thin factors beside the frozen weight, and gradients by hand.

With h = x [V | B] (n, 2r) and P = A (S+C) + U C (out, r) it computes

    y = x W^T + b + h [P | P + U S]^T,

which equals x W'^T + b for the additive W' = W + A (S+C) (V+B)^T + U [C (V+B)^T + S B^T] of `spectrum.additive_delta`.
W stays untouched in the base's dtype. With g = dL/dy the gradients are

    dL/dP = g^T (h_V + h_B)        only the sum of h's two halves
    dL/dA = dL/dP * (S+C)          dL/dC = sum over rows of dL/dP * (A + U)
    dL/dB = x^T (g [P + U S])      dL/dx = g W + g [P | P + U S] [V | B]^T.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spectral_diffusion.adapters.spectral import SpectralAdditive


class Factors:
    """[V | B]^T (2r, in) and [P | P + U S]^T (2r, out) of all layers, rebuilt from the flat vector in one pass.

    Every entry is `constant + scale * vector[index]`; with a trained C the up entries gain C (A + U).

    Args:
        adapters: Additive spectral adapters by path.
        vector: The flat vector that holds their A, B and C.
        offsets: Where in it each of them begins.
        dtype: Of the factors: the base's.
    """

    def __init__(
        self, adapters: Mapping[str, Any], vector: Tensor, offsets: Mapping[nn.Parameter, int], dtype: torch.dtype
    ) -> None:
        ups, downs, singular = [], [], []
        for adapter in adapters.values():
            U, S, V = (columns.to(vector) for columns in (adapter.U, adapter.S, adapter.V))
            zero_up, zero_down = torch.zeros_like(U.T), torch.zeros_like(V.T)
            scale = S[:, None].expand_as(U.T)
            index = _transposed_index(adapter.A, offsets[adapter.A])
            ups.append((zero_up, scale, index))
            ups.append(((U * S).T, scale, index))
            downs.append((V.T, zero_down, torch.zeros_like(zero_down, dtype=torch.int32)))
            downs.append((zero_down, torch.ones_like(zero_down), _transposed_index(adapter.B, offsets[adapter.B])))
            C = adapter.C
            if C is not None and C.requires_grad:
                of_row = torch.arange(len(S), dtype=torch.int32, device=U.device) + offsets[C]
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
        self.layers: dict[str, SpectralLayer] = {}
        up_offset, down_offset = 0, sum(entries[0].numel() for entries in ups)
        for path, adapter in adapters.items():
            (out_features, rank), in_features = adapter.U.shape, adapter.V.shape[0]
            up = self._buffer[up_offset:][: 2 * rank * out_features].view(2 * rank, out_features)
            down = self._buffer[down_offset:][: 2 * rank * in_features].view(2 * rank, in_features)
            up_offset, down_offset = up_offset + up.numel(), down_offset + down.numel()
            self.layers[path] = SpectralLayer(adapter, up, down)
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


class SpectralLayer:
    """One Linear's factors, and where its gradients go.

    Args:
        adapter: Its additive spectral adapter, whose parameters have a `.grad`.
        up: [P | P + U S]^T.
        down: [V | B]^T.
    """

    def __init__(self, adapter: SpectralAdditive, up: Tensor, down: Tensor) -> None:
        self.adapter, self.up, self.down = adapter, up, down
        self.rank = len(adapter.S)
        self.S = adapter.S.to(up)
        self.trains_singular_values = adapter.C is not None and adapter.C.requires_grad

    def attach(self, linear: nn.Linear) -> None:
        """Put an instance-level `forward` before the layer's own."""

        def forward(input: Tensor) -> Tensor:
            return _SpectralLinear.apply(input, self.adapter.A, self.adapter.B, linear.weight, linear.bias, self)

        linear.forward = forward

    def accumulate(self, x: Tensor, h: Tensor, g: Tensor, dh: Tensor) -> None:
        """Add the gradients of A, B and C, where h = x [V | B], g = dL/dy and dh = dL/dh."""
        adapter, r = self.adapter, self.rank
        halves = h[:, :r] + h[:, r:]
        assert adapter.A.grad is not None
        assert adapter.B.grad is not None
        _add_product(adapter.B.grad, x, dh[:, r:])
        if not self.trains_singular_values:
            _add_product(adapter.A.grad, g, halves * self.S)
            return
        C = adapter.C
        assert C is not None
        assert C.grad is not None
        dP = (g.T @ halves).to(C.dtype)
        adapter.A.grad.addcmul_(dP, adapter.S.to(C.dtype) + C)
        C.grad.add_((dP * (adapter.A + adapter.U.to(C.dtype))).sum(0))


class _SpectralLinear(torch.autograd.Function):
    """y = x W^T + b + (x [V|B]) [P | P + U S]^T. A and B are arguments only so that autograd calls backward;
    their gradients go straight into the flat gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, A: Tensor, B: Tensor, weight: Tensor, bias: Tensor | None, layer: SpectralLayer
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        h = rows @ layer.down.T
        y = F.linear(rows, weight, bias).addmm_(h, layer.up)
        ctx.save_for_backward(rows, h, weight)
        ctx.layer = layer
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad_y,) = grad_outputs
        rows, h, weight = ctx.saved_tensors
        layer: SpectralLayer = ctx.layer
        g = grad_y.reshape(-1, grad_y.shape[-1])
        dh = g @ layer.up.T
        layer.accumulate(rows, h, g, dh)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (g @ weight).addmm_(dh, layer.down).view(*grad_y.shape[:-1], weight.shape[1])
        return dx, None, None, None, None, None


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left^T right, in total's dtype."""
    if left.dtype == total.dtype:
        total.addmm_(left.T, right)
    else:
        total.add_(left.T @ right)


def _transposed_index(parameter: nn.Parameter, offset: int) -> Tensor:
    """Where the entries of a (n, r) parameter lie in the flat vector, in the order of its transpose: (r, n) int32."""
    n, r = parameter.shape
    return torch.arange(n * r, dtype=torch.int32, device=parameter.device).view(n, r).T + offset
