"""What a worker keeps at hand between jobs, so that drawing a picture costs seconds and not an import."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from spectral_diffusion.diffusion.base import Base, choose_device, load_base
from spectral_diffusion.diffusion.scorer import Scorer, load_scorer
from spectral_diffusion.fusion import FusedAdapter, fuse_files
from spectral_diffusion.jobs.specs import Fusing
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.jobs.submission import adapter_files

Kept = TypeVar("Kept")


class Warm:
    """The last base, the last fusion and the last scorer that were used.

    Args:
        device: Where to compute: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        InputError: There is no such device here.
    """

    def __init__(self, device: str) -> None:
        self.device: torch.device = choose_device(device)
        self._kept: dict[str, tuple[object, Any]] = {}

    def base(self, name: str) -> Base:
        """The base of that name, see `load_base`."""
        return self._keep("base", (name, _changed(Path(name))), lambda: load_base(name, device=self.device))

    def fused(self, store: Store, fusing: Fusing) -> FusedAdapter | None:
        """The adapters as one, or None where there is none."""
        if not fusing.adapters:
            return None
        return self._keep(
            "fused",
            fusing.model_dump_json(),
            lambda: fuse_files(
                adapter_files(store, fusing),
                factor_scale=fusing.factor_scale,
                on_overlap=fusing.on_overlap,
                rename=fusing.rename,
                allow_other_base=fusing.allow_other_base,
            ),
        )

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
