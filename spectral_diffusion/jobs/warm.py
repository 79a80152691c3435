"""What a worker keeps at hand between jobs, so that drawing a picture costs seconds and not an import."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from spectral_diffusion.diffusion.base import Base, choose_device, load_base
from spectral_diffusion.diffusion.scorer import Scorer, load_scorer
from spectral_diffusion.fusion import FusedAdapter, FusedPart, load_fused
from spectral_diffusion.jobs.adapter_set import AdapterSet
from spectral_diffusion.jobs.inputs import Fusing
from spectral_diffusion.jobs.store import Store

Kept = TypeVar("Kept")
_FILES = 16


class Warm:
    """The last base, the last adapters and the last scorer that were used.

    Args:
        device: Where to compute: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        InputError: There is no such device here.
    """

    def __init__(self, device: str) -> None:
        self.device: torch.device = choose_device(device)
        self._kept: dict[str, tuple[object, Any]] = {}
        self._files: dict[str, tuple[FusedPart, ...]] = {}

    def base(self, name: str) -> Base:
        """The base of that name, see `load_base`."""
        return self._keep("base", (name, _changed(Path(name))), lambda: load_base(name, device=self.device))

    def fused(
        self, store: Store, fusing: Fusing, strengths: Sequence[float | None] | None = None
    ) -> FusedAdapter | None:
        """The adapters as one, or None where there is none; with other strengths no file is read again.

        Args:
            store: Where the files are kept.
            fusing: Which, and how they go together.
            strengths: One for each in place of its own, None to leave it out.

        Raises:
            InputError: See `AdapterSet` and `load_fused`; or a file is gone.
        """
        blobs = tuple(adapter.blob for adapter in fusing.adapters)
        rules = fusing.model_dump(exclude={"adapters"})
        held = self._keep(
            "adapters",
            (blobs, json.dumps(rules, sort_keys=True)),
            lambda: AdapterSet([self._file(store, blob) for blob in blobs], **rules),
        )
        return held.fused([adapter.strength for adapter in fusing.adapters] if strengths is None else strengths)

    def _file(self, store: Store, blob: str) -> tuple[FusedPart, ...]:
        """What a kept file holds. The files used last are at hand."""
        parts = self._files.pop(blob, None) or load_fused(store.blob(blob)).parts
        self._files[blob] = parts
        if len(self._files) > _FILES:
            del self._files[next(iter(self._files))]
        return parts

    def scorer(self, name: str, *, device: torch.device | str = "cpu") -> Scorer:
        """The CLIP of that name, see `load_scorer`."""
        return self._keep("scorer", (name, str(device)), lambda: load_scorer(name, device=device))

    def _keep(self, what: str, key: object, make: Callable[[], Kept]) -> Kept:
        kept = self._kept.get(what)
        if kept is None or kept[0] != key:
            # The old one goes first: two bases may not fit into memory.
            self._kept.pop(what, None)
            self._kept[what] = kept = (key, make())
        return kept[1]


def _changed(folder: Path) -> int:
    """When a base's folder was last written to; its files are replaced, not changed in place."""
    index = folder / "model_index.json"
    return index.stat().st_mtime_ns if index.is_file() else 0
