"""Where the energy of a base's weights lies: the share of each singular column, which says what a slot holds."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.targets import DEFAULT_PATTERNS, flat_weight, matching_modules
from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import cache_folder, write_atomically

COLUMNS_LIMIT = 512
"""Of the columns that are told; no slot of a recipe is wider."""


def column_energy(
    base: Base, modules: Mapping[str, nn.Module], on_module: Callable[[int, int], None] = lambda done, of: None
) -> tuple[float, ...]:
    """For each column the share that it holds of the spectral energy of all these weights; kept on disk once known.

    The squares of a weight's singular values are the eigenvalues of its Gram matrix, and their sum is |W|^2.

    Args:
        base: The model, unadapted.
        modules: Its weights by path, as `target_modules` names them.
        on_module: Told (done, of) after each weight. What it raises ends the work.

    Returns:
        As many values as the narrowest weight has columns, at most `COLUMNS_LIMIT`, falling.
    """
    cache = cache_folder() / "spectra" / f"energy-{_key(base, modules)}.json"
    count = min(COLUMNS_LIMIT, min(min(flat_weight(module).shape) for module in modules.values()))
    kept = _read(cache, count)
    if kept is not None:
        return kept
    held = torch.zeros(count, dtype=torch.float64)
    total = 0.0
    for done, module in enumerate(modules.values(), start=1):
        squares = _squares(flat_weight(module))
        held += squares[:count]
        total += float(squares.sum())
        on_module(done, len(modules))
    shares = tuple((held / max(total, torch.finfo(torch.float64).tiny)).tolist())
    content = json.dumps(shares).encode()
    # A read-only home costs time at the next time, nothing else.
    with suppress(InputError):
        write_atomically(cache, lambda temporary: temporary.write_bytes(content))
    return shares


@torch.no_grad()
def _squares(weight: torch.Tensor) -> torch.Tensor:
    """The squared singular values, falling, float64 on the CPU."""
    # Apple's GPUs have no float64.
    W = weight.to(device="cpu" if weight.device.type == "mps" else None, dtype=torch.float64)
    gram = W @ W.mT if W.shape[0] <= W.shape[1] else W.mT @ W
    return torch.linalg.eigvalsh(gram).flip(0).clamp(min=0).cpu()


def _key(base: Base, modules: Mapping[str, nn.Module]) -> str:
    """What the values depend on: weights outside the fingerprint are told apart by their own values."""
    known = {
        f"{component}.{path}"
        for component, root in base.components.items()
        for path in matching_modules(component, root, DEFAULT_PATTERNS)
    }
    digest = hashlib.sha256()
    for component in sorted({path.partition(".")[0] for path in modules}):
        digest.update(f"{component} {base.fingerprints[component]}\n".encode())
    for path, module in modules.items():
        digest.update(f"{path}\n".encode())
        if path not in known:
            digest.update(flat_weight(module).float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def _read(cache: Path, count: int) -> tuple[float, ...] | None:
    """Kept values, if they are sound."""
    with suppress(OSError, ValueError, TypeError, RecursionError):
        values = tuple(float(value) for value in json.loads(cache.read_bytes()))
        falling = all(0 <= low <= high <= 1 for high, low in pairwise(values))
        if len(values) == count and falling and 0 <= values[0] <= 1 and sum(values) <= 1 + 1e-6:
            return values
    return None
