"""Adapters with random factors for tests that need some, untrained."""

from collections.abc import Iterable

import torch

from spectral_diffusion.adapters import METHODS, Adapter, TokenInfo
from spectral_diffusion.diffusion.base import Base, fingerprint, target_modules
from spectral_diffusion.diffusion.spectra import spectra
from spectral_diffusion.spectrum import ColumnSlot, take_slot


def random_adapter(
    base: Base,
    name: str,
    *,
    slot: ColumnSlot | None = None,
    method: str = "spectral",
    components: Iterable[str] = ("unet",),
    scale: float = 0.05,
    vectors: int = 2,
    layers: int | None = None,
    seed: int = 0,
) -> Adapter:
    """A whole adapter of a base, as training would leave it, with the token `<name>`."""
    slot = slot or ColumnSlot(0, 4)
    generator = torch.Generator().manual_seed(seed)
    modules = target_modules(base, tuple(components))
    columns = spectra(base, modules, slot.stop)
    tensors = {}
    for path in modules:
        adapter = METHODS[method].create(take_slot(columns[path], slot))
        for parameter in adapter.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * scale
        tensors[path] = adapter.tensors()
    width = base.text_encoder.config.hidden_size
    shape = (vectors, width) if layers is None else (layers, vectors, width)
    return Adapter(
        name=name,
        method=method,
        rank=slot.width,
        slot=slot,
        base_name=base.name,
        fingerprints=fingerprint(base),
        tokens={f"<{name}>": TokenInfo(class_word="dog", vectors=vectors)},
        modules=tensors,
        token_vectors={f"<{name}>": torch.randn(shape, generator=generator) * 0.1},
    )
