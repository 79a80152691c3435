"""The fast training step: all trainables in one flat vector, every layer in delta form (`factors`).

The trainables of all layers live in one flat vector, fp32 whatever the base's dtype, so that small updates survive. One
pass over it rebuilds every layer's factors, backward adds into one flat gradient, and clipping and AdamW act on a few
long tensors instead of hundreds of short ones.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from spectral_diffusion.adapters.base import WeightAdapter
from spectral_diffusion.diffusion.attach import Attachment, attach
from spectral_diffusion.diffusion.factors import LAYERS, Factors
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
        adapters: What is trained, by `component.path`. Linears of the methods in `factors.LAYERS` take
            the fast path, others `attach`.
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
            if isinstance(module, nn.Linear) and type(adapters[path]) in LAYERS
        }
        self._generic = {path: adapter for path, adapter in adapters.items() if path not in self._fast}
        fast = {path: adapters[path] for path in self._fast}
        self._factors = Factors(fast, self.flat.vector, self.flat.offsets, weight.dtype) if fast else None
        self._attachment: Attachment | None = None
        self._replaced: dict[nn.Module, Any] = {}

    def __enter__(self) -> "Engine":
        """Adapt the base."""
        if self._generic:
            self._attachment = attach(self.components, self._generic)
        if self._factors is not None:
            # Other libraries patch a layer's forward as well; theirs is put back on leaving.
            self._replaced = {module: module.__dict__.get("forward") for module in self._fast.values()}
            for path, module in self._fast.items():
                self._factors.layers[path].attach(module)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the base bit for bit."""
        for module, forward in self._replaced.items():
            if forward is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = forward
        self._replaced = {}
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
            ValueError: The state is of an engine with other trainables, or not whole. Nothing is changed then.
        """
        self._check_state(state)
        self.flat.vector.copy_(state["vector"])
        for part, segment in self.flat.segments.items():
            names = [name for name in state if name.startswith(f"{part}.")]
            self.optimizer.state[segment] = {
                name.removeprefix(f"{part}."): state[name]
                .clone()
                .to(self.flat.vector.device, torch.float32 if name.endswith(".step") else self.flat.vector.dtype)
                for name in names
            }

    def _check_state(self, state: Mapping[str, Tensor]) -> None:
        if "vector" not in state:
            raise ValueError("there are no trainables in the state")
        shapes = {"vector": self.flat.vector.shape}
        if len(state) > 1:
            # AdamW makes its moments in the first step, for all parts at once.
            for part, segment in self.flat.segments.items():
                shapes |= {f"{part}.step": torch.Size(())}
                shapes |= {f"{part}.{moment}": segment.shape for moment in ("exp_avg", "exp_avg_sq")}
        for name, shape in shapes.items():
            if name not in state:
                raise ValueError(f"the state lacks {name}")
            if state[name].shape != shape:
                raise ValueError(f"{name} is {tuple(state[name].shape)} in the state, {tuple(shape)} here")
        unknown = sorted(state.keys() - shapes.keys())
        if unknown:
            raise ValueError(f"the state holds {unknown[0]}, of which there is nothing here")


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
