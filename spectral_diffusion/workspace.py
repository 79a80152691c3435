"""Where things live: concepts, adapters, pictures, the ledger, caches and the packaged samples."""

import contextlib
import errno
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from spectral_diffusion.errors import DiskFullError, InputError
from spectral_diffusion.reading import check_path

PACKAGE = Path(__file__).resolve().parent
SAMPLES = ("octo", "shelly", "spot")
"""Names of the concepts that travel with the package."""
STALE_SECONDS = 3600.0
"""No write takes that long: a temporary file that is older belongs to nobody."""
_HEX = "[0-9a-f]{16}"
_STALE = re.compile(rf"\..{{1,40}}\.{_HEX}(\..*)?")


@dataclass(frozen=True)
class Workspace:
    """A folder that holds a person's work.

    Args:
        root: The folder. Sub-folders are made when something is first written to them.
    """

    root: Path

    @classmethod
    def locate(cls, explicit: Path | None = None) -> "Workspace":
        """The workspace: the given folder, else `$SPECTRAL_DIFFUSION_HOME`, else the current folder."""
        return cls(Path(explicit or os.environ.get("SPECTRAL_DIFFUSION_HOME") or "."))

    @property
    def concepts(self) -> Path:
        """Folder of concept folders."""
        return self.root / "concepts"

    @property
    def adapters(self) -> Path:
        """Folder of adapter files."""
        return self.root / "adapters"

    @property
    def images(self) -> Path:
        """Folder of generated pictures."""
        return self.root / "images"

    @property
    def ledger_path(self) -> Path:
        """File that says which concept holds which columns of which base."""
        return self.root / "ledger.json"

    @property
    def jobs_database(self) -> Path:
        """File of the queue, where no other database is named."""
        return self.root / "jobs.sqlite"


def cache_folder() -> Path:
    """Where spectra and other things that can be remade are kept: `$SPECTRAL_DIFFUSION_CACHE`, else the platform's."""
    return Path(os.environ.get("SPECTRAL_DIFFUSION_CACHE") or platformdirs.user_cache_dir("spectral-diffusion"))


def packaged(name: str) -> Path:
    """A folder that travels with the package (`concepts`, `configs`): inside a wheel, or beside the package in a clone.

    Raises:
        InputError: The installation lacks it.
    """
    for candidate in (PACKAGE / "data" / name, PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise InputError(
        f"this installation has no packaged folder '{name}'", "install again: pip install --force-reinstall ."
    )


def sample_concepts() -> Path:
    """Folder of the sample concepts."""
    return packaged("concepts")


def packaged_configs() -> Path:
    """Folder of the training recipes, one TOML file a base."""
    return packaged("configs")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that a reader, a crash or a full disk sees the old file or the new one, never a part of it.

    `write` receives a temporary path in the same folder; the file is then synced and renamed to `path`.

    Args:
        path: Where the file shall be. Its folder is made when missing.
        write: Writes the content to the path it is given.

    Raises:
        DiskFullError: The disk is full; the old file is as it was, and nothing else is left behind.
        InputError: The folder cannot be written to; nothing is left behind.
    """
    path = Path(path)
    check_path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(os.urandom(8).hex().join(_around(path.name)))
        _create(beside)
        temporary = beside
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sweep_stale(folder: Path, name: str | None = None) -> None:
    """Remove what `write_atomically` left where its process was killed while it wrote.

    Only files older than an hour go, as a younger one may belong to somebody who still writes. What cannot be removed
    stays.

    Args:
        folder: Where to look; not below it.
        name: Of the one file that was being written. None: any.
    """
    pattern = _STALE if name is None else re.compile(_HEX.join(map(re.escape, _around(name))))
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                old = time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_SECONDS
                if old and pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    os.unlink(entry.path)


def _around(name: str) -> tuple[str, str]:
    """What stands before and after the random part in the name of a file that is being written."""
    return f".{name[:40]}.", Path(name).suffix


def create_new(path: Path) -> bool:
    """Take a name: make an empty file of it unless there is one. Of all who ask at once, in any process, one gets it.

    Args:
        path: The name. Its folder is made when missing.

    Returns:
        Whether the name was free.

    Raises:
        DiskFullError: The disk is full.
        InputError: The folder cannot be written to.
    """
    check_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _create(path)
        except FileExistsError:
            return False
    except OSError as error:
        raise _refused(path, error) from error
    return True


def _create(path: Path) -> None:
    # With the rights that the person's mask leaves, which only the system can tell without changing it for all threads.
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _refused(path: Path, error: OSError) -> InputError:
    """What is said when the system refuses a write."""
    what = f"cannot write {path}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFullError(what, "free some space or write to another folder")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(what, "choose a folder you may write to")
    return InputError(what, "check the path and write to another folder if need be")


def sync_folder(folder: Path) -> None:
    """See to it that the names in a folder outlive a power cut."""
    # Windows cannot open folders; there the rename itself is durable enough.
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_writable(folder: Path) -> None:
    """Find out before minutes of work whether its result can be kept; nothing is left behind.

    Raises:
        InputError: The folder cannot be made or written to.
    """
    check_path(folder)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    probe = folder / ".write-test"
    sweep_stale(folder, probe.name)
    write_atomically(probe, lambda temporary: temporary.write_bytes(b""))
    # Other work that begins in the same folder may have removed it already.
    probe.unlink(missing_ok=True)
    for place in missing:
        with contextlib.suppress(OSError):
            place.rmdir()
