"""An adapter file from elsewhere: copied beside the adapters and judged before it is one of them."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spectral_diffusion.errors import DiskFullError, InputError
from spectral_diffusion.fusion import FusedAdapter, load_fused
from spectral_diffusion.names import printable
from spectral_diffusion.reading import open_file
from spectral_diffusion.workspace import create_new, sweep_stale

# With a dot before and random letters behind it, as nothing is called that a list shows.
_NAME = "upload"


@contextmanager
def judged_upload(folder: Path, upload: Path, limit_bytes: int) -> Iterator[tuple[Path, FusedAdapter]]:
    """A copy of a file in a folder, under a name that no list shows, and the concepts in it.

    What is judged is what is kept, whatever becomes of the upload meanwhile. Whoever wants the copy gives it a name of
    its own; otherwise it goes in the end.

    Args:
        folder: Of the adapters.
        upload: The file.
        limit_bytes: A larger one is not even read.

    Raises:
        InputError: It is no sound adapter, cannot be read, is too large, or the folder cannot be written to.
    """
    sweep_stale(folder, _NAME)
    copy = folder / f".{_NAME}.{os.urandom(8).hex()}"
    create_new(copy)
    try:
        _copy(upload, copy, limit_bytes)
        yield copy, _judged(copy, upload)
    finally:
        copy.unlink(missing_ok=True)


def _copy(upload: Path, copy: Path, limit_bytes: int) -> None:
    try:
        with open_file(upload, limit_bytes) as source:
            try:
                with open(copy, "wb") as target:
                    shutil.copyfileobj(source, target)
                    target.flush()
                    os.fsync(target.fileno())
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise DiskFullError(f"there is no space for {upload}", "free some space") from error
                raise
    except InputError as error:
        raise type(error)(error.what.replace(printable(str(upload)), printable(upload.name)), error.remedy) from error


def _judged(copy: Path, upload: Path) -> FusedAdapter:
    try:
        return load_fused(copy)
    except InputError as error:
        shown = printable(upload.name)
        raise type(error)(error.what.replace(str(copy), shown), error.remedy.replace(str(copy), shown)) from error
