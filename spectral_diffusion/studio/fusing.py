"""Fusing while a person moves a slider: adapter files are read and compared once, strengths change at once."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import FusedAdapter, FusedPart, fuse_parts, load_fused
from spectral_diffusion.fusion.slots import slot_sum
from spectral_diffusion.spectrum import LowRankDelta

KEPT_FILES = 64
KEPT_FUSIONS = 16
KEPT_BYTES = 2**30
"""Of adapter files; what is kept of their changes takes about as much again."""
_Key = tuple[Path, int, int]
_Change = dict[str, LowRankDelta]


@dataclass(frozen=True)
class Fusion:
    """A fusion and how long it took.

    Args:
        fused: The concepts in one.
        milliseconds: From strengths to the change of every weight. Files that were not yet read, and columns that were
            not yet compared, count too.
    """

    fused: FusedAdapter
    milliseconds: float


class Fuser:
    """Keeps the adapters and the fusions that were asked for last."""

    def __init__(self) -> None:
        self._files: OrderedDict[_Key, tuple[FusedPart, ...]] = OrderedDict()
        self._fusions: OrderedDict[tuple[_Key, ...], tuple[_Change, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def fuse(self, files: Sequence[tuple[Path, float]]) -> Fusion:
        """Fuse adapter files with these strengths, which scale those that fused files were fused with.

        Raises:
            InputError: See `fusion.fuse_files`.
            AdapterFileError: One is not an adapter.
        """
        began = time.perf_counter()
        with self._lock:
            keys = tuple(_key(path) for path, _ in files)
            parts = [
                FusedPart(adapter=part.adapter, strength=part.strength * strength, factor_scale=part.factor_scale)
                for key, (_, strength) in zip(keys, files, strict=True)
                for part in self._parts(key)
            ]
            changes = self._changes(keys, parts)
        fused = FusedAdapter(parts=tuple(parts))
        for module in fused.modules:
            held = [
                (change[module], part.strength) for change, part in zip(changes, parts, strict=True) if module in change
            ]
            slot_sum([delta for delta, _ in held], [strength for _, strength in held])
        return Fusion(fused, 1000 * (time.perf_counter() - began))

    def _parts(self, key: _Key) -> tuple[FusedPart, ...]:
        if key not in self._files:
            self._files[key] = load_fused(key[0]).parts
        self._files.move_to_end(key)
        while len(self._files) > 1 and (len(self._files) > KEPT_FILES or _bytes(self._files) > KEPT_BYTES):
            self._files.popitem(last=False)
        return self._files[key]

    def _changes(self, keys: tuple[_Key, ...], parts: Sequence[FusedPart]) -> tuple[_Change, ...]:
        """What each part changes, without its strength: the same however the sliders stand, as is whether they meet."""
        if keys not in self._fusions:
            fuse_parts([(parts, 1.0)])
            self._fusions[keys] = tuple(
                {module: part.low_rank(module) for module in part.adapter.modules} for part in parts
            )
        self._fusions.move_to_end(keys)
        while len(self._fusions) > 1 and (
            len(self._fusions) > KEPT_FUSIONS or sum(map(_bytes, self._fusions)) > KEPT_BYTES
        ):
            self._fusions.popitem(last=False)
        return self._fusions[keys]


def _bytes(keys: Iterable[_Key]) -> int:
    return sum(size for *_, size in keys)


def _key(path: Path) -> _Key:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"there is no adapter {path.name} any more", "choose another") from error
    return path, status.st_mtime_ns, status.st_size
