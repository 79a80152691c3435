"""What a person deleted, kept for a while in the workspace, with the way back to where it was."""

import errno
import itertools
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spectral_diffusion.errors import DiskFullError, InputError
from spectral_diffusion.locks import locked
from spectral_diffusion.names import printable
from spectral_diffusion.reading import open_file
from spectral_diffusion.workspace import Workspace, create_new, write_atomically

FOLDER = "trash"
"""Of a workspace."""
KEPT_DAYS = 30.0
_NOTE = "item.json"
_NOTE_LIMIT_BYTES = 2**16
_CONTENT = "content"
_ID = re.compile(r"[0-9a-f]{16}")
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class TrashedItem:
    """Something in the trash.

    Args:
        id: By which it is restored or removed.
        name: Of the file or folder.
        what: It was, in a word: `concept`, `photograph`, `adapter`.
        origin: Where it was, from the workspace's root, with slashes.
        when: It was put here, in seconds since 1970.
        fault: Why it cannot be restored, or nothing.
    """

    id: str
    name: str
    what: str
    origin: str
    when: float
    fault: str = ""


class _Note(BaseModel):
    """What the trash notes of an item. It may have been written by anybody."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    what: str = Field(pattern=r"^[a-z ]{1,40}$")
    origin: str = Field(min_length=3, max_length=1000)
    when: float = Field(ge=0, le=1e11)
    companions: list[str] = Field(default=[], max_length=100)

    @property
    def is_sound(self) -> bool:
        """Whether all names in it are names, and lead to a place below one of the workspace's folders."""
        parts = self.origin.split("/")
        return len(parts) >= 2 and parts[0].lower() != FOLDER and all(map(_is_name, (*parts, *self.companions)))

    @property
    def name(self) -> str:
        """Of the file or folder."""
        return PurePosixPath(self.origin).name


class Trash:
    """The trash of a workspace: `trash/<id>/`, each with what was put there and a note of where it was.

    Args:
        workspace: Whose.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.root = Path(os.path.abspath(workspace.root))
        self.folder = self.root / FOLDER

    def put(self, path: Path, *companions: Path, what: str) -> TrashedItem:
        """Move a file or folder here, by renaming; a link is moved, not what it leads to.

        Args:
            path: It lies in one of the workspace's folders, or deeper.
            companions: Files beside it that come and go with it, named after it: `01.txt` after `01.png`.
            what: It is, in a word.

        Raises:
            InputError: It is gone, or no such place; or the workspace cannot be written to. Everything is where it was.
        """
        return self._take(path, companions, what, copy=False)

    def keep(self, path: Path, *companions: Path, what: str) -> TrashedItem:
        """The same with copies of files, before they are written over.

        Raises:
            InputError: As for `put`.
        """
        return self._take(path, companions, what, copy=True)

    def items(self) -> list[TrashedItem]:
        """Everything in the trash, the newest first; what somebody spoiled has its fault in words."""
        return sorted(map(self._item, self._ids()), key=lambda item: item.when, reverse=True)

    def content(self, item_id: str) -> Path:
        """The file or folder of an item, as it lies here now.

        Raises:
            InputError: There is no such item, or its note cannot be used.
        """
        note = self._note(item_id)
        return self._place(item_id) / _CONTENT / note.name

    def origin(self, item_id: str) -> Path:
        """Where an item was.

        Raises:
            InputError: There is no such item, or its note cannot be used.
        """
        return self.root / self._note(item_id).origin

    def restore(self, item_id: str, *, replace: bool = False) -> Path:
        """Put an item back to where it was or, when that is taken now, beside it under a free name (`octo-2`).

        Args:
            item_id: Which.
            replace: It has its old name whatever lies there now, which goes into the trash as the same kind of thing.

        Returns:
            Where it is now.

        Raises:
            InputError: There is no such item, its note cannot be used, or the folder it was in is gone.
        """
        with locked(self.folder / ".lock"):
            note = self._note(item_id)
            origin = self.root / note.origin
            if not origin.parent.is_dir() and origin.parent.parent != self.root:
                raise InputError(
                    f"the folder {origin.parent.name} that {origin.name} was in is gone", "restore that folder first"
                )
            kept = self._place(item_id) / _CONTENT
            if replace and os.path.lexists(origin):
                self._take(origin, (), note.what, copy=False)
            try:
                place = _put_back(kept, origin, [name for name in note.companions if os.path.lexists(kept / name)])
            except OSError as error:
                raise _refused(origin, error) from error
            _erase(self._place(item_id))
        return place

    def remove(self, item_id: str) -> None:
        """Remove an item for good.

        Raises:
            InputError: There is no such item.
        """
        with locked(self.folder / ".lock"):
            _erase(self._place(item_id))

    def empty(self, older_than_days: float = KEPT_DAYS) -> int:
        """Remove for good what was put here longer ago, and what killed processes left; returns how many items went."""
        before = time.time() - older_than_days * _DAY_SECONDS
        gone = 0
        if self.folder.is_dir():
            with locked(self.folder / ".lock"):
                for item in map(self._item, self._ids()):
                    if item.when <= before:
                        _erase(self._place(item.id))
                        gone += 1
                for left in self.folder.glob(".*.gone"):
                    shutil.rmtree(left, ignore_errors=True)
        return gone

    def _take(self, path: Path, companions: tuple[Path, ...], what: str, *, copy: bool) -> TrashedItem:
        place = Path(os.path.abspath(path))
        origin = place.relative_to(self.root).as_posix() if place.is_relative_to(self.root) else ""
        try:
            note = _Note(what=what, origin=origin, when=time.time(), companions=[one.name for one in companions])
        except ValidationError:
            note = None
        if note is None or not note.is_sound:
            raise InputError(f"{path} does not lie in a folder of the workspace {self.root}", "name one that does")
        if not os.path.lexists(place):
            raise InputError(f"there is no {what} {place.name}", "look again: it may be gone already")
        item_id = secrets.token_hex(8)
        here = self.folder / item_id
        moved: list[tuple[Path, Path]] = []
        try:
            write_atomically(here / _NOTE, lambda temporary: temporary.write_text(note.model_dump_json(), "utf-8"))
            (here / _CONTENT).mkdir()
            # The main one goes last: a process that is killed in between leaves no companion without it.
            for source in (*companions, place):
                target = here / _CONTENT / source.name
                (shutil.copyfile if copy else _move)(source, target)
                moved.append((source, target))
        except (OSError, InputError) as error:
            for source, target in () if copy else reversed(moved):
                _move(target, source)
            shutil.rmtree(here, ignore_errors=True)
            raise error if isinstance(error, InputError) else _refused(place, error) from error
        return _shown(item_id, note)

    def _ids(self) -> Iterator[str]:
        with suppress(OSError), os.scandir(self.folder) as entries:
            yield from (entry.name for entry in entries if _ID.fullmatch(entry.name))

    def _place(self, item_id: str) -> Path:
        if not _ID.fullmatch(item_id) or not os.path.lexists(self.folder / item_id):
            raise InputError(f"there is no {printable(str(item_id))[:60]!r} in the trash", "look again: it may be gone")
        return self.folder / item_id

    def _note(self, item_id: str) -> _Note:
        place = self._place(item_id)
        try:
            if place.is_symlink() or (place / _CONTENT).is_symlink():
                raise InputError("it is a link", "remove it")
            with open_file(place / _NOTE, _NOTE_LIMIT_BYTES) as file:
                note = _Note.model_validate_json(file.read(_NOTE_LIMIT_BYTES))
        except (InputError, ValidationError) as error:
            raise InputError(f"what the trash notes of {item_id} cannot be read", "remove it for good") from error
        if not note.is_sound or not os.path.lexists(place / _CONTENT / note.name):
            raise InputError(f"what the trash notes of {item_id} is not what is there", "remove it for good")
        return note

    def _item(self, item_id: str) -> TrashedItem:
        try:
            note = self._note(item_id)
        except InputError as error:
            when = 0.0
            with suppress(OSError):
                when = os.lstat(self.folder / item_id).st_mtime
            return TrashedItem(item_id, item_id, "unknown", "", when, error.what)
        return _shown(item_id, note)


def _shown(item_id: str, note: _Note) -> TrashedItem:
    return TrashedItem(item_id, printable(note.name), note.what, printable(note.origin), note.when)


def _is_name(text: str) -> bool:
    """Whether this is one file or folder, on whatever system it is read."""
    try:
        is_one = bool(text) and Path(text).name == text and text != ".."
        return is_one and "\0" not in text and len(text.encode()) <= 255
    except UnicodeEncodeError:
        return False


def _put_back(kept: Path, origin: Path, companions: list[str]) -> Path:
    """Bring what was kept to its place, or to a free name beside it; its companions get the same name."""
    source = kept / origin.name
    is_folder = source.is_dir() and not source.is_symlink()
    stem, suffix = (origin.name, "") if is_folder else (origin.stem, origin.suffix)
    for number in itertools.count(1):
        new = stem if number == 1 else f"{stem}-{number}"
        place = origin.with_name(new + suffix)
        others = {name: place.with_name(new + name.removeprefix(stem)) for name in companions}
        if any(map(os.path.lexists, (place, *others.values()))) or (companions and _is_shared(place)):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if is_folder:
            _move(source, place)
        elif not _linked(source, place):
            continue
        for name, target in others.items():
            _move(kept / name, target)
        return place
    raise AssertionError


def _is_shared(place: Path) -> bool:
    """Whether another file is called the same but for its end: companions would be taken for those of both."""
    with suppress(OSError), os.scandir(place.parent) as entries:
        return any(entry.name.startswith(f"{place.stem}.") for entry in entries)
    return False


def _linked(source: Path, place: Path) -> bool:
    """Give a file a second name, unless somebody took that meanwhile; the first one stays until all is done."""
    try:
        os.link(source, place, follow_symlinks=False)
    except FileExistsError:
        return False
    except (OSError, NotImplementedError):
        if not create_new(place):
            return False
        try:
            write_atomically(place, lambda temporary: shutil.copyfile(source, temporary))
        except InputError:
            place.unlink()
            raise
    return True


def _move(source: Path, target: Path) -> None:
    """Rename, or copy and remove where a folder of the workspace is on another disk."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, symlinks=True)
            shutil.rmtree(source)
        else:
            shutil.copy2(source, target, follow_symlinks=False)
            source.unlink()


def _erase(place: Path) -> None:
    """Remove an item whole: what is killed in between leaves it out of sight."""
    if place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
        return
    gone = place.with_name(f".{place.name}.gone")
    try:
        os.replace(place, gone)
    except OSError as error:
        raise _refused(place, error) from error
    shutil.rmtree(gone, ignore_errors=True)


def _refused(path: Path, error: OSError) -> InputError:
    what = f"cannot move {path}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(what, "free some space")
    return InputError(what, "check the rights of the workspace")
