"""The adapter files of a workspace: what they hold, files from elsewhere taken in, names, and the way to the trash."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from spectral_diffusion.adapters.summary import PartSummary, read_summary
from spectral_diffusion.diffusion.settings import hash_adapter
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.fusion import FusedAdapter, load_fused
from spectral_diffusion.ledger import Claim, Ledger
from spectral_diffusion.locks import locked
from spectral_diffusion.names import slug
from spectral_diffusion.reading import open_file
from spectral_diffusion.trash import Trash, TrashedItem
from spectral_diffusion.workspace import Workspace, write_atomically

SUFFIX = ".safetensors"
WHAT = "adapter"
"""What the trash calls them."""
IMPORT_LIMIT_BYTES = 2**30
_AGAIN = "reload the page and choose another"


@dataclass(frozen=True)
class AdapterSummary:
    """An adapter file as a list shows it.

    Args:
        path: Where it lies.
        size_bytes: How long it is.
        modified: When it was written, in seconds since 1970.
        parts: Its concepts; several where it was fused.
        fault: Why it cannot be used, or nothing.
    """

    path: Path
    size_bytes: int
    modified: float
    parts: tuple[PartSummary, ...] = ()
    fault: str = ""

    @property
    def file_name(self) -> str:
        """By which all functions here know it."""
        return self.path.name

    @property
    def is_fused(self) -> bool:
        """Whether it holds several concepts."""
        return len(self.parts) > 1

    @property
    def names(self) -> tuple[str, ...]:
        """Of its concepts."""
        return tuple(part.name for part in self.parts)

    @property
    def tokens(self) -> tuple[str, ...]:
        """By which prompts name them."""
        return tuple(token for part in self.parts for token in part.tokens)

    @property
    def base_name(self) -> str:
        """The model it was trained on."""
        return self.parts[0].base_name if self.parts else ""


@dataclass(frozen=True)
class ImportedAdapter:
    """What became of an upload: its name here, what there is to know, and whether it is new."""

    file_name: str
    notes: tuple[str, ...] = ()
    is_new: bool = True


@dataclass(frozen=True)
class DeletedAdapter:
    """A deleted file: the way back, and what there is to know."""

    item: TrashedItem
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RestoredAdapter:
    """A file that is back: its name, and what there is to know."""

    file_name: str
    notes: tuple[str, ...] = ()


def list_adapters(workspace: Workspace) -> list[AdapterSummary]:
    """All adapter files, by name; those that cannot be read with their fault. Only headers are read, and only once."""
    found = []
    for path in sorted(workspace.adapters.glob(f"*{SUFFIX}")) if workspace.adapters.is_dir() else []:
        try:
            status = os.lstat(path)
            if not path.name.startswith("."):
                found.append(_summary(path, status.st_mtime_ns, status.st_size))
        except OSError:
            # It went while the folder was read.
            continue
    return found


@lru_cache(maxsize=4096)
def _summary(path: Path, modified_ns: int, size_bytes: int) -> AdapterSummary:
    parts, fault = (), ""
    try:
        if path.is_symlink():
            raise InputError("it is a link", "copy the file itself into the folder")
        parts = read_summary(path)
    except InputError as error:
        fault = error.what.removeprefix(f"{path}: ")
    return AdapterSummary(path, size_bytes, modified_ns / 1e9, parts, fault)


def import_adapter(workspace: Workspace, upload: Path) -> ImportedAdapter:
    """Take in a file from elsewhere: judged whole, named after its concepts, its columns claimed where they are free.

    Raises:
        InputError: It is no sound adapter, or the workspace cannot be written to. Nothing changed.
    """
    with _changing(workspace):
        with open_file(upload, IMPORT_LIMIT_BYTES) as file:
            content = file.read(IMPORT_LIMIT_BYTES + 1)
        fused = load_fused(upload)
        same = _holder_of(workspace, fused)
        if same is not None:
            return ImportedAdapter(same, (f"it is here already, as {same}",), is_new=False)
        names = slug("+".join(part.adapter.name for part in fused.parts))
        path = _free_path(workspace, names)
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
        return ImportedAdapter(path.name, _claim(workspace, fused))


def rename_adapter(workspace: Workspace, file_name: str, new_name: str) -> str:
    """Give a file another name. What its concepts are called, in it and in the ledger, stays.

    Returns:
        The new file name.

    Raises:
        InputError: There is no such file, the name is taken or none, or the folder cannot be written to.
    """
    with _changing(workspace):
        path = _path(workspace, file_name)
        name = slug(re.sub(rf"{re.escape(SUFFIX)}$", "", str(new_name).strip(), flags=re.IGNORECASE), otherwise="")
        if not name:
            raise InputError(f"{str(new_name)[:60]!r} is no name", "use letters and digits")
        target = path.with_name(f"{name}{SUFFIX}")
        if target == path:
            return path.name
        if os.path.lexists(target) and not (target.exists() and os.path.samefile(target, path)):
            raise InputError(f"there is an adapter {target.name} already", "choose another name")
        try:
            os.rename(path, target)
        except OSError as error:
            raise InputError(f"cannot rename {path}: {error.strerror or error}", "check the folder's rights") from error
        return target.name


def delete_adapter(workspace: Workspace, file_name: str, *, in_training: Collection[str] = ()) -> DeletedAdapter:
    """Put a file into the trash and free the columns that no other file holds.

    Args:
        workspace: Whose.
        file_name: Which.
        in_training: Names of concepts that are being trained again right now: they keep their columns.

    Raises:
        InputError: There is no such file, or it cannot be moved.
    """
    with _changing(workspace):
        path = _path(workspace, file_name)
        summary = _summary(path, path.lstat().st_mtime_ns, path.lstat().st_size)
        item = Trash(workspace).put(path, what=WHAT)
        notes = []
        ledger = Ledger(workspace.ledger_path)
        kept = [part for other in list_adapters(workspace) for part in other.parts]
        for part in summary.parts:
            here = [claim for claim in ledger.holders() if claim.concept == part.name and claim.slot == part.slot]
            held = any(other.name == part.name and other.slot == part.slot for other in kept)
            if here and not held and part.name not in in_training:
                for claim in here:
                    ledger.release(part.name, claim.base)
                notes.append(f"{part.slot} of {part.name} are free again")
        return DeletedAdapter(item, tuple(notes))


def restore_adapter(workspace: Workspace, item_id: str) -> RestoredAdapter:
    """Take a file out of the trash; its columns are claimed again where they are free.

    Raises:
        InputError: There is no such item, or it cannot be put back.
    """
    with _changing(workspace):
        path = Trash(workspace).restore(item_id)
        try:
            notes = _claim(workspace, load_fused(path))
        except InputError as error:
            notes = (f"it cannot be used: {error.what}",)
        return RestoredAdapter(path.name, notes)


def _changing(workspace: Workspace):  # noqa: ANN202
    return locked(workspace.adapters / ".lock")


def _path(workspace: Workspace, file_name: str) -> Path:
    path = workspace.adapters / str(file_name)
    if path.parent != workspace.adapters or path.suffix != SUFFIX or path.name.startswith(".") or not path.is_file():
        raise InputError(f"there is no adapter {str(file_name)[:60]!r}", _AGAIN)
    return path


def _free_path(workspace: Workspace, name: str) -> Path:
    path, number = workspace.adapters / f"{name}{SUFFIX}", 1
    while os.path.lexists(path):
        number += 1
        path = workspace.adapters / f"{name}-{number}{SUFFIX}"
    return path


def _holder_of(workspace: Workspace, fused: FusedAdapter) -> str | None:
    """The file that holds the very same concepts with the same strengths."""
    wanted = [(hash_adapter(part.adapter), part.strength, tuple(part.adapter.tokens)) for part in fused.parts]
    names = tuple(part.adapter.name for part in fused.parts)
    for summary in list_adapters(workspace):
        if summary.names == names:
            try:
                parts = load_fused(summary.path).parts
            except InputError:
                continue
            if [(hash_adapter(part.adapter), part.strength, tuple(part.adapter.tokens)) for part in parts] == wanted:
                return summary.file_name
    return None


def _claim(workspace: Workspace, fused: FusedAdapter) -> tuple[str, ...]:
    """Claim the columns of concepts; what stands in the way is told and harms nobody: fusing measures overlaps."""
    ledger = Ledger(workspace.ledger_path)
    notes = []
    for part in fused.parts:
        claim = Claim.of(part.adapter)
        try:
            if claim.start % claim.width:
                raise SlotError(f"{claim} does not begin at a whole slot", "train it again")
            ledger.claim(
                claim.base,
                claim.fingerprints,
                claim.concept,
                claim.width,
                claim.capacity or 1,
                claim.start // claim.width,
                claim.token,
            )
        except SlotError as error:
            notes.append(f"its columns could not be claimed: {error.what}; it can be drawn alone")
    return tuple(notes)
