"""Adapters of a little imaginary base, for the tests of all that handles adapters."""

from collections.abc import Mapping

import torch
from torch import Tensor

from spectral_diffusion.adapters import METHODS, Adapter, ColumnAdapter, TokenInfo, WeightAdapter
from spectral_diffusion.spectrum import ColumnSlot, decompose, take_slot

FINGERPRINTS = {"unet": "a" * 64}
SHAPES = {"unet.down.to_q": (16, 12), "unet.up.to_k": (12, 20)}


def normal(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    """Normal numbers in float64, the same for the same seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def base_weights(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The imaginary base."""
    return {module: normal(index, *shape).to(dtype) for index, (module, shape) in enumerate(SHAPES.items())}


def make_adapter(
    name: str,
    number: int,
    *,
    rank: int = 2,
    method: str = "spectral",
    train_singular_values: bool = True,
    weights: Mapping[str, Tensor] | None = None,
    scale: float = 0.5,
    **changes: object,
) -> Adapter:
    """A concept as if trained, its factors noise of the given scale: in slot `number`, if its method holds columns."""
    kind = METHODS[method]
    slot = ColumnSlot(number * rank, rank) if issubclass(kind, ColumnAdapter) else None
    modules: dict[str, dict[str, Tensor]] = {}
    for index, (module, weight) in enumerate((weights or base_weights()).items()):
        adapter: WeightAdapter
        if issubclass(kind, ColumnAdapter):
            assert slot is not None
            columns = take_slot(decompose(weight, slot.stop), slot)
            adapter = kind.create(columns, train_singular_values=train_singular_values)
        else:
            rows, inside = weight.shape
            adapter = kind.create((rows, inside), rank, torch.Generator().manual_seed(index)).to(weight.dtype)
        for turn, parameter in enumerate(adapter.parameters()):
            parameter.data += normal(1000 * number + 10 * index + turn, *parameter.shape, scale=scale).to(parameter)
        modules[module] = adapter.tensors()
    fields: dict[str, object] = {
        "name": name,
        "method": method,
        "rank": rank,
        "slot": slot,
        "base_name": "imaginary",
        "fingerprints": FINGERPRINTS,
        "tokens": {f"<{name}>": TokenInfo(class_word="toy", vectors=2)},
        "training": {"steps": 150, "rates": {"unet": 1e-3}},
        "modules": modules,
        "token_vectors": {f"<{name}>": normal(number, 2, 8).float()},
    }
    return Adapter.model_validate({**fields, **changes})
