"""Adapters put into a model and taken out again, leaving it as it was, bit for bit.

Two ways, the same result:

- `attach` adds the change beside each layer, y + up (down x), by forward hooks. The weight is never touched, so
  gradients reach the adapter. The change is computed in the type of the layer's output, whatever its own: on a
  half-precision base its factors are rounded, each by itself, and no small change is lost beside a large weight.
- `bake` adds the change into the weights, W + up down, and keeps the originals. Layers then cost what they cost before.
  The sum is formed in float32 and rounded to the type of the weights, which in half precision loses most of a small
  change.
"""

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from spectral_diffusion.adapters.base import WeightAdapter
from spectral_diffusion.diffusion.targets import cross_attention_paths, find_module, flat_weight
from spectral_diffusion.errors import BaseMismatchError
from spectral_diffusion.spectrum import LowRankDelta

Change = WeightAdapter | LowRankDelta


class Attachment:
    """Something put into a model that can be taken out. A context manager: leaving detaches.

    Args:
        undo: What `detach` runs. It is run again, from its beginning, when Ctrl-C falls into it.
    """

    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo: Callable[[], None] | None = undo

    def detach(self) -> None:
        """Take it out. Attachments may be detached in any order; a second call does nothing.

        Raises:
            KeyboardInterrupt: Ctrl-C, once the model is whole again.
        """
        interrupt: KeyboardInterrupt | None = None
        while self._undo is not None:
            try:
                self._undo()
                self._undo = None
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def __enter__(self) -> "Attachment":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()


def attach(components: Mapping[str, nn.Module], adapters: Mapping[str, Change]) -> Attachment:
    """Let layers compute `W x + up (down x)` instead of `W x`, differentiably.

    An adapter without exact factors adds `(W' - W) x`, with `W' - W` formed in float32 and then rounded to the type of
    the layer's output, as factors are. Attachments add up.

    Args:
        components: Models by tensor prefix, as `Base.components`.
        adapters: What to change, by `component.path`: an adapter, whose parameters are read anew in every forward pass,
            or fixed factors. Linear and ungrouped Conv2d; factors of a k x k convolution act on the flattened weight
            (out, in * kh * kw).

    Raises:
        BaseMismatchError: The model has no such layer, or of another shape. Nothing is attached then.
    """
    modules = _checked(components, adapters)
    handles = [modules[path].register_forward_hook(_hook(change, modules[path])) for path, change in adapters.items()]
    return Attachment(lambda: _remove(handles))


def bake(components: Mapping[str, nn.Module], adapters: Mapping[str, Change]) -> Attachment:
    """Add changes into the weights; the originals are kept and put back on detaching.

    Args:
        components: Models by tensor prefix, as `Base.components`.
        adapters: What to change, by `component.path`; see `attach`. Read once, now.

    Raises:
        BaseMismatchError: The model has no such layer, or of another shape. Nothing is changed then.
    """
    modules = _checked(components, adapters)
    token = object()
    undo = Attachment(lambda: _unbake(modules.values(), token))
    try:
        for path, change in adapters.items():
            module = modules[path]
            baked = _BAKED.setdefault(module, _Baked(flat_weight(module).clone()))
            baked.changes[token] = _settled(change, baked.original)
            baked.write(module)
    except BaseException:
        undo.detach()
        raise
    return undo


def attach_layers(unet: nn.Module) -> Attachment:
    """Let each cross-attention see its own prompt embeddings, for layer-wise tokens (ED-LoRA, P+).

    While attached, `encoder_hidden_states` holds the embeddings of all cross-attentions one after the other along the
    positions, (B, layers * length, dim) from `prompts.join_layers`, in the order of `targets.cross_attention_paths`.
    """
    paths = cross_attention_paths(unet)

    def pick(
        layer: int,
    ) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]:
        def hook(
            module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            states: Tensor = named["encoder_hidden_states"]
            return positional, {**named, "encoder_hidden_states": states.chunk(len(paths), dim=1)[layer]}

        return hook

    handles = [
        unet.get_submodule(path).register_forward_pre_hook(pick(layer), with_kwargs=True)
        for layer, path in enumerate(paths)
    ]
    return Attachment(lambda: _remove(handles))


class _Baked:
    """A weight that holds changes, and how to get back.

    Args:
        original: A copy of the weight before the first change, (out, in).
    """

    def __init__(self, original: Tensor) -> None:
        self.original = original
        self.changes: dict[object, LowRankDelta | Tensor] = {}

    @torch.no_grad()
    def write(self, module: nn.Module) -> None:
        # Summed from the original each time: what remains does not depend on the order of detaching.
        target = module.get_parameter("weight")
        if not self.changes:
            target.copy_(self.original.view(target.shape))
            return
        total = self.original.to(torch.float32, copy=True)
        for change in self.changes.values():
            if isinstance(change, LowRankDelta):
                total.addmm_(change.up, change.down)
            else:
                total += change
        target.copy_(total.view(target.shape))


# Shared by all who bake, for they may meet on one weight; an entry lives only while its weight holds changes.
_BAKED: WeakKeyDictionary[nn.Module, _Baked] = WeakKeyDictionary()


def _unbake(modules: Iterable[nn.Module], token: object) -> None:
    """Restore these weights. May be stopped anywhere and run again."""
    for module in modules:
        baked = _BAKED.get(module)
        if baked is None:
            continue
        baked.changes.pop(token, None)
        baked.write(module)
        if not baked.changes:
            del _BAKED[module]


def _remove(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()


def _checked(components: Mapping[str, nn.Module], adapters: Mapping[str, Change]) -> dict[str, nn.Module]:
    modules: dict[str, nn.Module] = {}
    for path, change in adapters.items():
        module = find_module(components, path)
        if module is None or not isinstance(module, (nn.Linear, nn.Conv2d)):
            raise BaseMismatchError(
                f"this base has no layer {path} that can be adapted", "use the base that the adapter was trained on"
            )
        if isinstance(module, nn.Conv2d) and module.groups != 1:
            raise BaseMismatchError(f"layer {path} is a grouped convolution", "leave it out of the adapter's targets")
        shape, adapted = tuple(flat_weight(module).shape), _shape(change, module)
        if adapted != shape:
            raise BaseMismatchError(
                f"layer {path} is {shape} here but {adapted} in the adapter",
                "use the base that the adapter was trained on",
            )
        modules[path] = module
    return modules


@torch.no_grad()
def _shape(change: Change, module: nn.Module) -> tuple[int, ...]:
    factors = _factors(change)
    if factors is None:
        assert isinstance(change, WeightAdapter)
        try:
            return tuple(change(flat_weight(module).float()).shape)
        except RuntimeError as error:
            raise BaseMismatchError(
                f"an adapter does not fit a layer of shape {tuple(flat_weight(module).shape)} ({error})",
                "use the base that the adapter was trained on",
            ) from error
    return factors.up.shape[0], factors.down.shape[1]


def _factors(change: Change) -> LowRankDelta | None:
    return change if isinstance(change, LowRankDelta) else change.low_rank()


@torch.no_grad()
def _settled(change: Change, weight: Tensor) -> LowRankDelta | Tensor:
    """The change of a weight matrix as it is now: float32 factors, or the dense change where there are none."""
    factors = _factors(change)
    if factors is not None:
        return LowRankDelta(*(factor.detach().to(weight.device, torch.float32, copy=True) for factor in factors))
    assert isinstance(change, WeightAdapter)
    full = weight.float()
    return change(full) - full


def _hook(change: Change, module: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    if isinstance(change, LowRankDelta):
        weight = module.get_parameter("weight")
        change = LowRankDelta(*(factor.to(weight.device, weight.dtype) for factor in change))

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        states = inputs[0]
        factors = _factors(change)
        if factors is None:
            assert isinstance(change, WeightAdapter)
            full = flat_weight(layer).float()
            return output + _apply(layer, states, (change(full) - full).to(output.dtype))
        down, up = factors.down.to(output.dtype), factors.up.to(output.dtype)
        inner = _apply(layer, states, down)
        if isinstance(layer, nn.Conv2d):
            return output + F.conv2d(inner, up[:, :, None, None])
        return output + F.linear(inner, up)

    return hook


def _apply(layer: nn.Module, states: Tensor, matrix: Tensor) -> Tensor:
    """The layer's linear map with another weight matrix (rows, in) and no bias."""
    if isinstance(layer, nn.Conv2d):
        kernel = matrix.view(matrix.shape[0], layer.in_channels, *layer.kernel_size)
        # The layer's own method knows its stride, padding mode and dilation.
        return layer._conv_forward(states, kernel, None)
    return F.linear(states, matrix)
