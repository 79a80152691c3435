"""The fast training step: all trainables in one flat vector, every layer in delta form.

An additive spectral Linear computes, with h = x [V | B] (n, 2r) and P = A (S+C) + U C (out, r),

    y = x W^T + b + h [P | P + U S]^T,

which equals x W'^T + b for the additive W' = W + A (S+C) (V+B)^T + U [C (V+B)^T + S B^T] of `spectrum.additive_delta`.
W stays untouched in the base's dtype. With g = dL/dy the gradients are

    dL/dP = g^T (h_V + h_B)        only the sum of h's two halves
    dL/dA = dL/dP * (S+C)          dL/dC = sum over rows of dL/dP * (A + U)
    dL/dB = x^T (g [P + U S])      dL/dx = g W + g [P | P + U S] [V | B]^T.

The trainables of all layers live in one flat vector, fp32 whatever the base's dtype, so that small updates survive. One
pass over it rebuilds every layer's factors, backward adds into one flat gradient, and clipping and AdamW act on a few
long tensors instead of hundreds of short ones.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spectral_diffusion.adapters.base import WeightAdapter
from spectral_diffusion.adapters.spectral import SpectralAdditive
from spectral_diffusion.diffusion.attach import Attachment, attach
from spectral_diffusion.diffusion.targets import find_module
from spectral_diffusion.errors import BaseMismatchError

EMBEDDINGS = "embeddings"
SINGULAR_VALUES = "singular_values"


class FlatParameters:
    """Parameters of many modules moved into one vector, their gradients into another.

    Each parameter stays usable: its `.data` and `.grad` become views. Parameters of one part lie next to each other.

    Args:
        parts: Parameters by part, for example `{"unet": [...], "embeddings": [...]}`. Empty parts are dropped.
        dtype: Of the vector and the gradient.
        device: Of both.
    """

    def __init__(
        self, parts: Mapping[str, list[nn.Parameter]], *, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        parameters = [parameter for part in parts.values() for parameter in part]
        count = sum(parameter.numel() for parameter in parameters)
        self.vector = torch.empty(count, dtype=dtype, device=device)
        self.gradient = torch.zeros_like(self.vector)
        self.offsets: dict[nn.Parameter, int] = {}
        self.segments: dict[str, nn.Parameter] = {}
        offset = 0
        for part, members in parts.items():
            start = offset
            for parameter in members:
                stop = offset + parameter.numel()
                view = self.vector[offset:stop].view(parameter.shape)
                view.copy_(parameter.data)
                parameter.data = view
                parameter.grad = self.gradient[offset:stop].view(parameter.shape)
                self.offsets[parameter] = offset
                offset = stop
            if offset > start:
                segment = nn.Parameter(self.vector[start:offset])
                segment.grad = self.gradient[start:offset]
                self.segments[part] = segment

    def clip(self, largest_norm: float) -> Tensor:
        """Scale the gradient down to a norm, 0 for no limit; returns the norm it had, a scalar tensor."""
        norm = torch.linalg.vector_norm(self.gradient)
        if largest_norm > 0:
            self.gradient.mul_((largest_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm


class Engine:
    """One concept's adapters and token vectors on a base, ready to take training steps.

    Use as a context manager: the base is adapted inside and restored on leaving.

        with Engine(base.components, adapters, tokens, rates) as engine:
            engine.begin()
            loss(...).backward()
            engine.finish(rate_factor=1.0, gradient_clip=1.0)

    Args:
        components: The base's components by tensor prefix, on one device and of one dtype.
        adapters: What is trained, by `component.path`. Additive spectral Linears take the fast path, others `attach`.
        tokens: Token vectors to train, by token.
        rates: Learning rate by part: component names, `embeddings`, `singular_values`.
        weight_decay: AdamW's, towards the pretrained weights; token vectors have none, as zero means nothing for them.
        dtype: Of the trainables.

    Raises:
        BaseMismatchError: The components lack an adapted layer.
    """

    def __init__(
        self,
        components: Mapping[str, nn.Module],
        adapters: Mapping[str, WeightAdapter],
        tokens: Mapping[str, nn.Parameter],
        rates: Mapping[str, float],
        *,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.components = dict(components)
        self.adapters = dict(adapters)
        self.tokens = dict(tokens)
        self.rates = dict(rates)
        modules = {path: _module(components, path) for path in adapters}
        weight = next(iter(modules.values())).get_parameter("weight")
        self.flat = FlatParameters(_parts(self.adapters, self.tokens), dtype=dtype, device=weight.device)
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": [segment],
                    "lr": self.rates[part],
                    "weight_decay": 0.0 if part == EMBEDDINGS else weight_decay,
                    "part": part,
                }
                for part, segment in self.flat.segments.items()
            ],
            fused=True,
        )
        self._fast = {
            path: module
            for path, module in modules.items()
            if isinstance(module, nn.Linear) and isinstance(adapters[path], SpectralAdditive)
        }
        self._generic = {path: adapter for path, adapter in adapters.items() if path not in self._fast}
        additive = {path: adapters[path] for path in self._fast}
        self._factors = _Factors(additive, self.flat, weight.dtype) if additive else None
        self._attachment: Attachment | None = None

    def __enter__(self) -> "Engine":
        """Adapt the base."""
        if self._generic:
            self._attachment = attach(self.components, self._generic)
        if self._factors is not None:
            for path, module in self._fast.items():
                self._factors.layers[path].attach(module)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the base bit for bit."""
        for module in self._fast.values():
            module.__dict__.pop("forward", None)
        if self._attachment is not None:
            self._attachment.detach()
            self._attachment = None

    def begin(self) -> None:
        """Forget the last gradient and rebuild the factors of all layers from the trainables."""
        self.flat.gradient.zero_()
        if self._factors is not None:
            self._factors.rebuild()

    def finish(self, *, rate_factor: float = 1.0, gradient_clip: float = 0.0) -> Tensor:
        """Clip the whole slot's gradient norm and take one AdamW step.

        Args:
            rate_factor: Scales every part's learning rate (warm-up and decay).
            gradient_clip: Largest gradient norm, 0 for none.

        Returns:
            The gradient norm before clipping, a scalar tensor.
        """
        norm = self.flat.clip(gradient_clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates[group["part"]] * rate_factor
        self.optimizer.step()
        return norm

    def state(self) -> dict[str, Tensor]:
        """Everything that changes from step to step: the trainables and AdamW's moments, copied to the CPU."""
        state = {"vector": self.flat.vector}
        for part, segment in self.flat.segments.items():
            for name, value in self.optimizer.state[segment].items():
                state[f"{part}.{name}"] = value
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state()` of an engine built alike.

        Raises:
            ValueError: The state is of an engine with other trainables.
        """
        if state["vector"].shape != self.flat.vector.shape:
            raise ValueError(f"{state['vector'].numel()} trainables in the state, {self.flat.vector.numel()} here")
        self.flat.vector.copy_(state["vector"])
        for part, segment in self.flat.segments.items():
            names = [name for name in state if name.startswith(f"{part}.")]
            self.optimizer.state[segment] = {
                name.removeprefix(f"{part}."): state[name]
                .clone()
                .to(self.flat.vector.device, torch.float32 if name.endswith(".step") else self.flat.vector.dtype)
                for name in names
            }


def _module(components: Mapping[str, nn.Module], path: str) -> nn.Module:
    module = find_module(components, path)
    if module is None:
        raise BaseMismatchError(f"this base has no layer {path}", "adapt the layers that target_modules names")
    return module


def _parts(adapters: Mapping[str, WeightAdapter], tokens: Mapping[str, nn.Parameter]) -> dict[str, list[nn.Parameter]]:
    parts: dict[str, list[nn.Parameter]] = {}
    for path, adapter in adapters.items():
        component = "text_encoder" if path.startswith("text_encoder") else path.split(".", 1)[0]
        for name, parameter in adapter.named_parameters():
            if parameter.requires_grad:
                parts.setdefault(SINGULAR_VALUES if name == "C" else component, []).append(parameter)
    if tokens:
        parts[EMBEDDINGS] = list(tokens.values())
    return parts


class _Factors:
    """[V | B]^T (2r, in) and [P | P + U S]^T (2r, out) of all layers, rebuilt from the flat vector in one pass.

    Every entry is `constant + scale * vector[index]`; with a trained C the up entries gain C (A + U).
    """

    def __init__(self, adapters: Mapping[str, Any], flat: FlatParameters, dtype: torch.dtype) -> None:
        ups, downs, singular = [], [], []
        for adapter in adapters.values():
            U, S, V = (columns.to(flat.vector) for columns in (adapter.U, adapter.S, adapter.V))
            zero_up, zero_down = torch.zeros_like(U.T), torch.zeros_like(V.T)
            scale = S[:, None].expand_as(U.T)
            index = _transposed_index(adapter.A, flat)
            ups.append((zero_up, scale, index))
            ups.append(((U * S).T, scale, index))
            downs.append((V.T, zero_down, torch.zeros_like(zero_down, dtype=torch.int32)))
            downs.append((zero_down, torch.ones_like(zero_down), _transposed_index(adapter.B, flat)))
            C = adapter.C
            if C is not None and C.requires_grad:
                of_row = torch.arange(len(S), dtype=torch.int32, device=U.device) + flat.offsets[C]
                singular += [(U.T, of_row[:, None].expand_as(U.T))] * 2
        self._constant, self._scale, self._index = (
            torch.cat([entries.reshape(-1) for entries in column]) for column in zip(*ups, *downs, strict=True)
        )
        self._vector = flat.vector
        self._U, self._singular_index = (
            [torch.cat([entries.reshape(-1) for entries in column]) for column in zip(*singular, strict=True)]
            if singular
            else (None, None)
        )
        self._buffer = torch.empty_like(self._constant, dtype=dtype)
        self.layers: dict[str, _SpectralLayer] = {}
        up_offset, down_offset = 0, sum(entries[0].numel() for entries in ups)
        for path, adapter in adapters.items():
            (out_features, rank), in_features = adapter.U.shape, adapter.V.shape[0]
            up = self._buffer[up_offset:][: 2 * rank * out_features].view(2 * rank, out_features)
            down = self._buffer[down_offset:][: 2 * rank * in_features].view(2 * rank, in_features)
            up_offset, down_offset = up_offset + up.numel(), down_offset + down.numel()
            self.layers[path] = _SpectralLayer(adapter, up, down)
        self.rebuild()

    @torch.no_grad()
    def rebuild(self) -> None:
        gathered = self._vector.index_select(0, self._index)
        factors = torch.addcmul(self._constant, self._scale, gathered)
        if self._singular_index is not None and self._U is not None:
            count = len(self._U)
            factors[:count].addcmul_(gathered[:count] + self._U, self._vector.index_select(0, self._singular_index))
        self._buffer.copy_(factors)


class _SpectralLayer:
    """One Linear's factors, and where its gradients go."""

    def __init__(self, adapter: SpectralAdditive, up: Tensor, down: Tensor) -> None:
        self.adapter, self.up, self.down = adapter, up, down
        self.rank = len(adapter.S)
        self.S = adapter.S.to(up)
        self.trains_singular_values = adapter.C is not None and adapter.C.requires_grad

    def attach(self, linear: nn.Linear) -> None:
        def forward(input: Tensor) -> Tensor:
            return _SpectralLinear.apply(input, self.adapter.A, self.adapter.B, linear.weight, linear.bias, self)

        linear.forward = forward

    def accumulate(self, x: Tensor, h: Tensor, g: Tensor, dh: Tensor) -> None:
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
        ctx: Any, x: Tensor, A: Tensor, B: Tensor, weight: Tensor, bias: Tensor | None, layer: _SpectralLayer
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
        layer: _SpectralLayer = ctx.layer
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


def _transposed_index(parameter: nn.Parameter, flat: FlatParameters) -> Tensor:
    """Where the entries of a (n, r) parameter lie in the flat vector, in the order of its transpose: (r, n) int32."""
    n, r = parameter.shape
    index = torch.arange(n * r, dtype=torch.int32, device=flat.vector.device).view(n, r).T
    return index + flat.offsets[parameter]
