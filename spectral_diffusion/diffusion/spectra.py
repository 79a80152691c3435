"""Top singular columns of a base's weights, computed once and kept on disk.

A full decomposition of Stable Diffusion 1.5 takes about half a minute on a CPU and two seconds on a GPU, and every
training needs it, so it is kept by the base's fingerprint. A damaged cache is a
miss, never a fault.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.targets import DEFAULT_PATTERNS, flat_weight, matching_modules
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.spectrum import Spectrum, decompose
from spectral_diffusion.workspace import cache_folder, write_atomically

# Slots are given out one after the other; whole blocks of columns make the next concept's slot a hit.
BLOCK_COLUMNS = 64
# Cached columns further from orthonormal than this are damaged: fp32 columns of a sound file stay below 1e-5.
ORTHONORMAL_TOLERANCE = 1e-3


def spectra(
    base: Base,
    modules: Mapping[str, nn.Module],
    columns: int,
    *,
    on_module: Callable[[int, int], None] | None = None,
) -> dict[str, Spectrum]:
    """The top columns of each weight, from the cache or computed and then cached.

    Args:
        base: The model, unadapted: its weights must be those of its fingerprint.
        modules: Weights by path, as `target_modules` names them.
        columns: How many columns, counted from the largest singular value.
        on_module: Told (done, total) after each weight that had to be decomposed. What it raises ends the work; what
            was decomposed until then is cached.

    Returns:
        For each path U (out, columns), S (columns,), Vh (columns, in), float32 on the base's device; convolutions
        flattened to (out, in * kh * kw).

    Raises:
        SlotError: A weight has fewer columns.
    """
    for path, module in modules.items():
        available = min(flat_weight(module).shape)
        if not 1 <= columns <= available:
            raise SlotError(
                f"columns up to {columns} were asked for, but {path} has {available}",
                "use a lower slot or a smaller rank",
            )
    kept = -(-columns // BLOCK_COLUMNS) * BLOCK_COLUMNS
    found: dict[str, Spectrum] = {}
    for component in sorted({path.split(".")[0] for path in modules}):
        own = {path: module for path, module in modules.items() if path.split(".")[0] == component}
        found |= _component_spectra(base, component, own, kept, on_module)
    return {path: _to_device(found[path], columns, base.device) for path in modules}


def _component_spectra(
    base: Base,
    component: str,
    modules: Mapping[str, nn.Module],
    kept: int,
    on_module: Callable[[int, int], None] | None,
) -> dict[str, Spectrum]:
    cache = cache_folder() / "spectra" / f"{component}-{base.fingerprints[component][:32]}-{kept}.safetensors"
    fingerprinted = matching_modules(component, base.components[component], DEFAULT_PATTERNS)
    keys = {
        path: path if path.partition(".")[2] in fingerprinted else f"{path}@{_digest(module)}"
        for path, module in modules.items()
    }
    stored = _read(cache)
    cached = {
        keys[path]: stored[keys[path]]
        for path, module in modules.items()
        if keys[path] in stored and _fits(stored[keys[path]], module, kept)
    }
    missing = [path for path in modules if keys[path] not in cached]
    try:
        for done, path in enumerate(missing, start=1):
            weight = flat_weight(modules[path])
            spectrum = decompose(weight, min(kept, *weight.shape))
            cached[keys[path]] = Spectrum(*(part.contiguous().cpu() for part in spectrum))
            if on_module is not None:
                on_module(done, len(missing))
    finally:
        if missing:
            # Entries that an earlier run left for other targets stay.
            _write(cache, stored | cached)
    return {path: cached[keys[path]] for path in modules}


def _read(cache: Path) -> dict[str, Spectrum]:
    """All sound entries of a cache file; none when there is no readable one."""
    found: dict[str, Spectrum] = {}
    try:
        with safe_open(cache, framework="pt") as file:
            for key in sorted({name.rpartition(".")[0] for name in file.keys()}):  # noqa: SIM118 (not a mapping)
                spectrum = Spectrum(*(file.get_tensor(f"{key}.{part}") for part in Spectrum._fields))
                if _sound(spectrum):
                    found[key] = spectrum
    except (OSError, SafetensorError, ValueError, RuntimeError):
        return {}
    return found


def _sound(spectrum: Spectrum) -> bool:
    """Whether this is what a decomposition gives: orthonormal columns, and values that fall and are not negative."""
    U, S, Vh = spectrum
    if [part.ndim for part in spectrum] != [2, 1, 2] or not U.shape[1] == S.shape[0] == Vh.shape[0]:
        return False
    if any(part.dtype != torch.float32 for part in spectrum):
        return False
    identity = torch.eye(S.shape[0])
    # Written so that NaN fails.
    return (
        bool((S >= 0).all())
        and bool((S.diff() <= 0).all())
        and all(float((gram - identity).abs().max()) < ORTHONORMAL_TOLERANCE for gram in (U.mT @ U, Vh @ Vh.mT))
    )


def _fits(spectrum: Spectrum, module: nn.Module, kept: int) -> bool:
    rows, columns = flat_weight(module).shape
    return (spectrum.U.shape[0], *spectrum.Vh.shape) == (rows, min(kept, rows, columns), columns)


def _write(cache: Path, spectra_by_key: Mapping[str, Spectrum]) -> None:
    tensors = {
        f"{key}.{part}": tensor
        for key, spectrum in spectra_by_key.items()
        for part, tensor in zip(Spectrum._fields, spectrum, strict=True)
    }
    try:
        content = save(tensors)
        write_atomically(cache, lambda temporary: temporary.write_bytes(content))
    except InputError:
        # A read-only home or a full disk costs time at the next training, nothing else.
        return


def _digest(module: nn.Module) -> str:
    """Weights outside the fingerprint (convolutions) are told apart by their own values."""
    values = flat_weight(module).float().contiguous().cpu().numpy()
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]


def _to_device(spectrum: Spectrum, columns: int, device: torch.device) -> Spectrum:
    U, S, Vh = spectrum
    return Spectrum(*(part.contiguous().to(device) for part in (U[:, :columns], S[:columns], Vh[:columns])))
