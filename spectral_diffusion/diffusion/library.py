"""The adapter files of a workspace: what they hold, files from elsewhere taken in, names, and the way to the trash."""

import itertools
import os
import re
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from spectral_diffusion.adapters.summary import PartSummary, read_summary
from spectral_diffusion.diffusion.adapter_upload import judged_upload
from spectral_diffusion.diffusion.checkpoints import FOLDER as CHECKPOINTS
from spectral_diffusion.diffusion.checkpoints import read_claim
from spectral_diffusion.diffusion.settings import hash_adapter
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.fusion import FusedAdapter, load_fused
from spectral_diffusion.ledger import Claim, Ledger
from spectral_diffusion.locks import locked
from spectral_diffusion.names import printable, slug
from spectral_diffusion.trash import Trash, TrashedItem
from spectral_diffusion.workspace import Workspace, create_new, sync_folder

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
        fault = error.what.replace(printable(f"{path}: "), "").replace(printable(str(path)), path.name)
    return AdapterSummary(path, size_bytes, modified_ns / 1e9, parts, fault)


def import_adapter(workspace: Workspace, upload: Path) -> ImportedAdapter:
    """Take in a file from elsewhere: judged whole, named after its concepts, its columns claimed where they are free.

    The folder is held only while the file gets its name: others go on while a large one is copied and judged.

    Raises:
        InputError: It is no sound adapter, or the workspace cannot be written to. Nothing changed.
    """
    with judged_upload(workspace.adapters, upload, IMPORT_LIMIT_BYTES) as (copy, fused):
        # What it is compared with is read now, and under the lock only what came meanwhile.
        _holder_of(workspace, fused)
        with _changing(workspace):
            same = _holder_of(workspace, fused)
            if same is not None:
                return ImportedAdapter(same, (f"it is here already, as {same}",), is_new=False)
            path = _free_path(workspace, slug("+".join(part.adapter.name for part in fused.parts)))
            try:
                os.replace(copy, path)
            except OSError as error:
                path.unlink(missing_ok=True)
                raise InputError(
                    f"cannot write {path}: {error.strerror or error}", "check the folder's rights"
                ) from error
            sync_folder(path.parent)
            return ImportedAdapter(path.name, _claim(workspace, fused))


def rename_adapter(workspace: Workspace, file_name: str, new_name: str) -> str:
    """Give a file another name.

    What its concepts are called stays, in the file, in the ledger and in checkpoints: those go by the concept's name,
    and a file is one copy of it of several. So a version can be put aside, and the next training of the concept writes
    a file of its name again, into the columns that it has.

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
        is_taken = not _is_same(path, target) and create_new(target)
        if not is_taken and not _is_same(path, target):
            raise InputError(f"there is an adapter {target.name} already", "choose another name")
        try:
            os.replace(path, target)
        except OSError as error:
            if is_taken:
                target.unlink(missing_ok=True)
            raise InputError(f"cannot rename {path}: {error.strerror or error}", "check the folder's rights") from error
        return target.name


def delete_adapter(workspace: Workspace, file_name: str, *, in_training: Collection[str] = ()) -> DeletedAdapter:
    """Put a file into the trash and free the columns of its concepts of which the workspace holds no other file.

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
        try:
            notes = _release(workspace, [part for part in summary.parts if part.name not in in_training])
        except InputError as error:
            notes = (f"its columns could not be freed: {error.what}",)
        return DeletedAdapter(item, notes)


def restore_adapter(workspace: Workspace, item_id: str) -> RestoredAdapter:
    """Take a file out of the trash; its columns are claimed again where they are free.

    Raises:
        InputError: There is no such adapter, or it cannot be put back.
    """
    with _changing(workspace):
        if not any(item.id == item_id and item.what == WHAT for item in Trash(workspace).items()):
            raise InputError(f"there is no adapter {str(item_id)[:60]!r} in the trash", _AGAIN)
        path = Trash(workspace).restore(item_id)
        try:
            notes = _claim(workspace, load_fused(path))
        except InputError as error:
            notes = (f"it cannot be used: {error.what}",)
        return RestoredAdapter(path.name, notes)


def _changing(workspace: Workspace) -> AbstractContextManager[None]:
    return locked(workspace.adapters / ".lock")


def _path(workspace: Workspace, file_name: str) -> Path:
    path = workspace.adapters / str(file_name)
    if path.parent != workspace.adapters or path.suffix != SUFFIX or path.name.startswith(".") or not path.is_file():
        raise InputError(f"there is no adapter {str(file_name)[:60]!r}", _AGAIN)
    return path


def _is_same(path: Path, target: Path) -> bool:
    """Whether two names are one file, as on systems where capitals make no difference."""
    return target.exists() and os.path.samefile(target, path)


def _free_path(workspace: Workspace, name: str) -> Path:
    """A file name that nobody had, taken: a training may write into the folder at any time."""
    for number in itertools.count(1):
        path = workspace.adapters / (f"{name}{SUFFIX}" if number == 1 else f"{name}-{number}{SUFFIX}")
        if create_new(path):
            return path
    raise AssertionError


def _holder_of(workspace: Workspace, fused: FusedAdapter) -> str | None:
    """The file that holds the very same concepts with the same strengths. Each file is read only once."""
    wanted = _identity(fused)
    names = tuple(part.adapter.name for part in fused.parts)
    for summary in list_adapters(workspace):
        if summary.names == names:
            with suppress(InputError):
                if _identity_of(summary.path, summary.modified, summary.size_bytes) == wanted:
                    return summary.file_name
    return None


@lru_cache(maxsize=4096)
def _identity_of(path: Path, modified: float, size_bytes: int) -> tuple[object, ...]:
    return _identity(load_fused(path))


def _identity(fused: FusedAdapter) -> tuple[object, ...]:
    return tuple((hash_adapter(part.adapter), part.strength, tuple(part.adapter.tokens)) for part in fused.parts)


def _claim(workspace: Workspace, fused: FusedAdapter) -> tuple[str, ...]:
    """Claim the columns of concepts; what stands in the way is told and harms nobody: fusing measures overlaps."""
    notes = []
    for part in fused.parts:
        claim = Claim.of(part.adapter)
        if claim is None:
            continue
        try:
            _claim_one(Ledger(workspace.ledger_path), claim)
        except InputError as error:
            notes.append(f"the columns of {claim.concept} are not reserved for it: {error.what}")
    return tuple(notes)


def _claim_one(ledger: Ledger, claim: Claim) -> None:
    """Claim exactly these columns.

    Raises:
        InputError: Somebody else holds one of them, or the concept of this name holds others, which it keeps.
    """
    holders = [other for other in ledger.holders() if other.on_base(claim.fingerprints)]
    own = next((other for other in holders if other.concept == claim.concept), None)
    if own is not None and own.slot != claim.slot:
        raise SlotError(f"{own} is held here by that name, and this one was trained on {claim.slot}", "train it again")
    if claim.start % claim.width:
        raise SlotError(f"{claim.slot} are no whole slot", "train it again")
    number, capacity = claim.start // claim.width, claim.capacity or 1
    ledger.claim(
        claim.base, claim.fingerprints, claim.concept, claim.width, max(capacity, number + 1), number, claim.token
    )


def _release(workspace: Workspace, parts: Sequence[PartSummary]) -> tuple[str, ...]:
    """Free the columns of concepts that no file of the workspace holds any more, finished, fused or half-trained."""
    ledger = Ledger(workspace.ledger_path)
    kept: list[Claim | None] = [Claim.of_part(part) for one in list_adapters(workspace) for part in one.parts]
    for path in sorted((workspace.adapters / CHECKPOINTS).glob(f"*{SUFFIX}")):
        with suppress(InputError):
            kept.append(read_claim(path))
    notes = []
    for part in parts:
        for claim in ledger.holders():
            is_its = claim.concept == part.name and claim.slot == part.slot and claim.on_base(part.fingerprints)
            if is_its and not any(
                other is not None
                and (other.concept, other.slot) == (part.name, part.slot)
                and claim.on_base(other.fingerprints)
                for other in kept
            ):
                ledger.give_back(part.name, claim.fingerprints, None)
                notes.append(f"{claim.slot} of {claim.base} are free again")
    return tuple(notes)
