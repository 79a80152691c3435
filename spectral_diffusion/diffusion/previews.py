"""What screens show of photographs again and again, looked at once: a small picture, a measure and a digest of each.

They are kept in the cache by the file's identity (inode, length, time of change), which a rename leaves as it is.
"""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

from spectral_diffusion.diffusion.dataset import PHOTOGRAPH_SIDE_PX
from spectral_diffusion.diffusion.verdicts import Measure, measure
from spectral_diffusion.errors import InputError
from spectral_diffusion.images import read_image
from spectral_diffusion.reading import open_file
from spectral_diffusion.workspace import cache_folder, write_atomically

THUMBNAIL_SIDE_PX = 256
FILES_LIMIT = 20_000
"""Some 300 MB; when there are more, the older half of them goes."""
# Changes when measures do: what an older version kept is not of use then.
_VERSION = 1
_NOTE_LIMIT_BYTES = 2**16
_JPEG_QUALITY = 85
_READERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Preview:
    """What is known of a photograph.

    Args:
        digest: sha256 of its pixels, as they are trained on.
        measure: By which it is judged.
    """

    digest: str
    measure: Measure


def read_preview(path: Path) -> Preview:
    """What is known of a photograph; it is decoded when it was not seen before.

    Raises:
        InputError: It cannot be read.
    """
    return _preview(Path(path), _identity(path))


def read_previews(paths: Sequence[Path]) -> list[Preview | InputError]:
    """The same of many, several at a time; or why one cannot be read."""

    def tried(path: Path) -> Preview | InputError:
        try:
            return read_preview(path)
        except InputError as error:
            return error

    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(tried, paths))


def thumbnail(path: Path, side_px: int = THUMBNAIL_SIDE_PX) -> Path:
    """A small JPEG of a picture, in the cache.

    Args:
        path: Any picture, a mask too.
        side_px: Its longer side; a smaller picture is not enlarged.

    Raises:
        InputError: It cannot be read, or the cache not be written to.
    """
    kept = _thumbnail_path(_identity(path), side_px)
    if not kept.is_file():
        _save_thumbnail(read_image(path, min_side_px=1, max_side_px=max(side_px, 1)), kept, side_px)
    return kept


def remember(path: Path, image: Image.Image) -> Preview:
    """Keep what is known of a photograph that was just written, so that it need not be decoded.

    Args:
        path: Its file.
        image: What is in it.

    Raises:
        InputError: The cache cannot be written to.
    """
    identity = _identity(path)
    _save_thumbnail(image, _thumbnail_path(identity, THUMBNAIL_SIDE_PX), THUMBNAIL_SIDE_PX)
    return _kept(Preview(pixel_digest(image), measure(image)), identity)


def pixel_digest(image: Image.Image) -> str:
    """sha256 of a picture's pixels and its size."""
    digest = hashlib.sha256(repr((image.mode, image.size)).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=2000)
def _preview(path: Path, identity: str) -> Preview:
    with (
        suppress(InputError, ValueError, TypeError, KeyError),
        open_file(_note_path(identity), _NOTE_LIMIT_BYTES) as file,
    ):
        values = json.loads(file.read())
        values["measure"]["stamp"] = base64.b64decode(values["measure"]["stamp"])
        return Preview(values["digest"], Measure(**values["measure"]))
    image = read_image(path, max_side_px=PHOTOGRAPH_SIDE_PX)
    return _kept(Preview(pixel_digest(image), measure(image)), identity)


def _kept(preview: Preview, identity: str) -> Preview:
    values = asdict(preview)
    values["measure"]["stamp"] = base64.b64encode(preview.measure.stamp).decode()
    _write(_note_path(identity), json.dumps(values).encode())
    return preview


def _save_thumbnail(image: Image.Image, kept: Path, side_px: int) -> None:
    small = image.copy()
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    write_atomically(kept, lambda temporary: small.save(temporary, format="JPEG", quality=_JPEG_QUALITY))
    _thin_out(kept.parent)


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
    _thin_out(path.parent)


def _thin_out(folder: Path) -> None:
    """Remove the older half where there are too many."""
    with suppress(OSError), os.scandir(folder) as found:
        paths = [entry.path for entry in found]
        if len(paths) > FILES_LIMIT:
            for path in sorted(paths, key=os.path.getmtime)[: len(paths) // 2]:
                os.unlink(path)


def _identity(path: Path) -> str:
    with open_file(path, 2**63) as file:
        found = os.fstat(file.fileno())
    known = (_VERSION, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    return hashlib.sha256(repr(known).encode()).hexdigest()[:32]


def _note_path(identity: str) -> Path:
    return cache_folder() / "previews" / f"{identity}.json"


def _thumbnail_path(identity: str, side_px: int) -> Path:
    return cache_folder() / "thumbnails" / f"{identity}-{side_px}.jpg"
