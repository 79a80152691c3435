"""The folder in which Gradio keeps what people upload and see: of this studio alone, for as long as it runs."""

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from spectral_diffusion.errors import InputError

KEPT_SECONDS = 86400.0
"""What nobody uploaded or was shown for so long is removed. The studio's own results lie elsewhere."""
UNFINISHED_SECONDS = 3600.0
"""An upload whose line was cut leaves a part behind."""
_SWEEP_SECONDS = 600.0
_PREFIX = "run-"
_LOCK = ".lock"
_LOG = logging.getLogger(__name__)


@contextmanager
def private_cache(parent: Path) -> Iterator[Path]:
    """A folder of one's own, and Gradio told to use it; to be entered before Gradio's components are made.

    Folders of studios that were killed are removed first. The own one is swept while it is in use and removed at the
    end.

    Args:
        parent: Where to make it, as `workspace.cache_folder() / "studio"`.

    Raises:
        InputError: It cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_abandoned(parent)
        folder = Path(os.path.realpath(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)))
        lock = FileLock(folder / _LOCK, timeout=0)
        lock.acquire()
    except OSError as error:
        raise InputError(
            f"cannot make a folder in {parent}: {error.strerror or error}",
            "set SPECTRAL_DIFFUSION_CACHE to a folder you may write to",
        ) from error
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    ended = threading.Event()
    sweeper = threading.Thread(target=_sweep_until, args=(folder, ended), name="cache sweeper", daemon=True)
    sweeper.start()
    try:
        yield folder
    finally:
        ended.set()
        sweeper.join()
        if before is None:
            del os.environ["GRADIO_TEMP_DIR"]
        else:
            os.environ["GRADIO_TEMP_DIR"] = before
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path, now: float | None = None) -> int:
    """Remove what is old, and folders that are empty then.

    Args:
        folder: The cache.
        now: Seconds since 1970.

    Returns:
        How many files went.
    """
    now = time.time() if now is None else now
    removed = 0
    for place, folders, names in os.walk(folder, topdown=False):
        for name in names:
            path = os.path.join(place, name)
            # What lies in no folder of its content yet is an upload that still runs, or one that was cut off.
            kept = UNFINISHED_SECONDS if Path(place) == folder else KEPT_SECONDS
            with suppress(OSError):
                # When the copy was made or handed out again; its time of change may be that of the original.
                if name != _LOCK and now - os.lstat(path).st_ctime > kept:
                    os.unlink(path)
                    removed += 1
        for name in folders:
            with suppress(OSError):
                path = os.path.join(place, name)
                # Whoever makes a folder is about to put a file into it.
                if now - os.lstat(path).st_ctime > UNFINISHED_SECONDS:
                    os.rmdir(path)
    return removed


def _sweep_until(folder: Path, ended: threading.Event) -> None:
    while not ended.wait(_SWEEP_SECONDS):
        try:
            sweep(folder)
        except Exception:
            _LOG.exception("a fault of ours while old files were removed")


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        # A folder that has no lock yet is being made right now, unless it is old.
        if not (folder / _LOCK).exists() and time.time() - folder.stat().st_ctime < UNFINISHED_SECONDS:
            continue
        with suppress(Timeout, OSError), FileLock(folder / _LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
