"""The concept folders of a workspace as changes find them: names from outside are looked up there, never trusted."""

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spectral_diffusion.diffusion.dataset import MASK_SUFFIX, entries, is_photograph
from spectral_diffusion.diffusion.wording import check_inside
from spectral_diffusion.errors import DiskFullError, InputError
from spectral_diffusion.locks import locked
from spectral_diffusion.workspace import STALE_SECONDS, Workspace

_STAGING = ".incoming-"
# Longer runs of digits are dates and serial numbers of cameras.
_NUMBER = re.compile(r"\d{1,6}")


def concept_names(workspace: Workspace) -> list[str]:
    """The names of all concept folders, whatever is in them."""
    if not workspace.concepts.is_dir():
        return []
    return [path.name for path in entries(workspace.concepts) if path.is_dir()]


def find_concept(workspace: Workspace, concept: str) -> Path:
    """The folder of a concept to change.

    Raises:
        InputError: There is none of that name, or it is a link to some other place.
    """
    if concept not in concept_names(workspace):
        raise InputError(f"there is no concept {concept[:200]!r} in the workspace", "look again: it may be gone")
    folder = workspace.concepts / concept
    if folder.is_symlink():
        raise InputError(f"{concept} is a link to another folder", "copy the folder itself into the workspace")
    return folder


def photographs(folder: Path) -> list[Path]:
    """The photographs in a concept folder by name; there may be none yet.

    Raises:
        InputError: The folder cannot be read.
    """
    return [path for path in entries(folder) if is_photograph(path)]


def find_photograph(folder: Path, photograph: str) -> Path:
    """The file of a photograph to change.

    Raises:
        InputError: There is none of that name in the folder, or it is a link out of it.
    """
    for path in photographs(folder):
        if path.name == photograph:
            check_inside(path)
            return path
    raise InputError(f"there is no photograph {photograph[:200]!r} in {folder.name}", "look again: it may be gone")


def caption_path(photograph: Path) -> Path:
    """Where the caption of a photograph is, if it has one."""
    return photograph.with_suffix(".txt")


def mask_path(photograph: Path) -> Path:
    """Where the mask of a photograph is, if it has one."""
    return photograph.with_name(photograph.stem + MASK_SUFFIX)


def companions(photograph: Path) -> tuple[Path, ...]:
    """The files that belong to this photograph alone: its mask and its caption, where they are there."""
    if any(other.stem == photograph.stem and other != photograph for other in photographs(photograph.parent)):
        return ()
    return tuple(path for path in (mask_path(photograph), caption_path(photograph)) if os.path.lexists(path))


def next_number(folder: Path) -> int:
    """One more than the highest number that a file in the folder is called by."""
    stems = (path.name.partition(".")[0] for path in entries(folder))
    return 1 + max((int(stem) for stem in stems if _NUMBER.fullmatch(stem)), default=-1)


@contextmanager
def changing(workspace: Workspace) -> Iterator[None]:
    """Of all who change concepts of a workspace, in any tab, thread or process, one does at a time.

    Raises:
        InputError: The workspace cannot be written to, or somebody is stuck.
    """
    with locked(workspace.concepts / ".lock"):
        yield


@contextmanager
def staging(workspace: Workspace) -> Iterator[Path]:
    """A hidden folder beside the concepts, to make things in before they are renamed to their place; gone at the end.

    Raises:
        InputError: The workspace cannot be written to.
    """
    try:
        workspace.concepts.mkdir(parents=True, exist_ok=True)
        for left in workspace.concepts.glob(f"{_STAGING}*"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_STAGING, dir=workspace.concepts))
    except OSError as error:
        raise InputError(
            f"cannot write {workspace.concepts}: {error.strerror or error}", "choose a workspace you may write to"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place(source: Path, target: Path) -> None:
    """Rename a file or folder that was made in `staging` to its place.

    Raises:
        InputError: The system refuses it.
    """
    try:
        os.replace(source, target)
    except OSError as error:
        kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else InputError
        raise kind(f"cannot write {target}: {error.strerror or error}", "check the rights of the workspace") from error
