"""Adapters with random factors for tests that need some, untrained."""

from collections.abc import Iterable

import torch

from spectral_diffusion.adapters import METHODS, Adapter, ColumnAdapter, TokenInfo, WeightAdapter
from spectral_diffusion.diffusion.base import Base, fingerprint, target_modules
from spectral_diffusion.diffusion.spectra import spectra
from spectral_diffusion.diffusion.targets import flat_weight
from spectral_diffusion.spectrum import ColumnSlot, take_slot


def random_adapter(
    base: Base,
    name: str,
    *,
    slot: ColumnSlot | None = None,
    rank: int = 4,
    method: str = "spectral",
    components: Iterable[str] = ("unet",),
    scale: float = 0.05,
    vectors: int = 2,
    layers: int | None = None,
    seed: int = 0,
) -> Adapter:
    """A whole adapter of a base, as training would leave it, with the token `<name>`; the slot tells the rank."""
    kind = METHODS[method]
    generator = torch.Generator().manual_seed(seed)
    modules = target_modules(base, tuple(components))
    begun: dict[str, WeightAdapter] = {}
    if issubclass(kind, ColumnAdapter):
        slot = slot or ColumnSlot(0, rank)
        rank, columns = slot.width, spectra(base, modules, slot.stop)
        begun |= {path: kind.create(take_slot(columns[path], slot)) for path in modules}
    else:
        for path, module in modules.items():
            rows, inside = flat_weight(module).shape
            begun[path] = kind.create((rows, inside), rank, generator)
    tensors = {}
    for path, adapter in begun.items():
        for parameter in adapter.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * scale
        tensors[path] = adapter.tensors()
    width = base.text_encoder.config.hidden_size
    shape = (vectors, width) if layers is None else (layers, vectors, width)
    return Adapter(
        name=name,
        method=method,
        rank=rank,
        slot=slot,
        base_name=base.name,
        fingerprints=fingerprint(base),
        tokens={f"<{name}>": TokenInfo(class_word="dog", vectors=vectors)},
        modules=tensors,
        token_vectors={f"<{name}>": torch.randn(shape, generator=generator) * 0.1},
    )
