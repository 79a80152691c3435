"""Which files who may see. Gradio keeps all files of all people in one folder and asks nobody."""

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from spectral_diffusion.errors import DiskFullError
from spectral_diffusion.reading import open_file

FILES_A_USER = 20_000
"""Of each user the newest are known; an older one is shown again, or uploaded again."""
FILE_ROUTE = "/gradio_api/file="
# No file name of ours is longer; what is, like the bytes of a picture written as text, is looked through as it is.
_PATH_CHARACTERS = 8192
# Written in percents twice, each character of a path is at most nine.
_SPELLED_CHARACTERS = 9 * _PATH_CHARACTERS
_ELSEWHERE = ("http:", "https:", "//")


class Grants:
    """Who may see which files of a folder.

    Args:
        folder: The folder in which Gradio keeps uploads and what is shown (`GRADIO_TEMP_DIR`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.realpath(folder))
        self._root = str(self.folder)
        self._lock = threading.Lock()
        self._files: dict[str | None, OrderedDict[str, None]] = {}
        self._everybodys: set[str] = set()

    def show(self, user: str | None, path: Path) -> str:
        """Put a file where the studio serves it from, for this user alone.

        Args:
            user: Who may see it; None where nobody logs in.
            path: A file. It is copied, so that what the page shows does not change under it.

        Returns:
            The copy, for Gradio's components. The same content under the same name is kept once.

        Raises:
            InputError: There is no such file.
            DiskFullError: There is no space for the copy.
        """
        shown = self._copy(path)
        self.allow(user, shown)
        return shown

    def allow_all(self, path: str) -> None:
        """Let everybody see a file of the folder. What lies elsewhere is left out, and stays closed."""
        path = os.path.abspath(path)
        if self._is_inside(path):
            self._everybodys.add(path)

    def allow(self, user: str | None, path: str) -> None:
        """Let a user see a file of the folder. What lies elsewhere is left out, and stays closed."""
        path = os.path.abspath(path)
        if not self._is_inside(path):
            return
        with self._lock:
            files = self._files.setdefault(user, OrderedDict())
            files[path] = None
            files.move_to_end(path)
            while len(files) > FILES_A_USER:
                files.popitem(last=False)

    def allows(self, user: str | None, path: str) -> bool:
        """Whether a user may see a file: its path as `show` or the upload gave it, and no other way of writing it."""
        with self._lock:
            return path in self._everybodys or path in self._files.get(user, ())

    def allows_content(self, user: str | None, content: Any) -> bool:
        """Whether all files that a JSON value names are this user's.

        Every `path` of an object is the name of a file, as Gradio opens those; any other text that leads into the
        folder, as a path or as an address, in whatever spelling, must be a file of theirs too. A `url`
        leads nowhere else.
        """
        # A relative path leads inside only from inside, or by the folder's name.
        is_inside = self._is_inside(os.path.join(os.getcwd(), ""))
        for key, text in texts(content):
            if key == "path":
                if text and not self.allows(user, text):
                    return False
            elif key == "url" and text.startswith(_ELSEWHERE) and FILE_ROUTE not in text:
                # Gradio fetches what an echoed file object names.
                return False
            elif self._leads_inside(text, is_inside) and not self.allows(user, _path_of(text)):
                return False
        return True

    def _copy(self, path: Path) -> str:
        from gradio.processing_utils import save_file_to_cache

        with open_file(path, 2**63):
            try:
                return save_file_to_cache(os.path.abspath(path), str(self.folder))
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise DiskFullError(f"there is no space to show {path.name}", "free some space") from error
                raise

    def _is_inside(self, path: str) -> bool:
        return path.startswith(self._root + os.sep)

    def _leads_inside(self, text: str, is_inside: bool) -> bool:
        for spelling in _spellings(text):
            if not is_inside and self.folder.name not in spelling:
                continue
            if self._root in spelling:
                return True
            if len(spelling) <= _PATH_CHARACTERS and "\0" not in spelling:
                tail = spelling.rpartition("file=")[2]
                if self._is_inside(os.path.abspath(spelling)) or self._is_inside(os.path.abspath(tail)):
                    return True
        return False


def _path_of(text: str) -> str:
    """The path that an address of the file route, or a path, names."""
    return unquote(text.rpartition(FILE_ROUTE)[2]) if FILE_ROUTE in text else text


def _spellings(text: str) -> set[str]:
    if "%" not in text or len(text) > _SPELLED_CHARACTERS:
        return {text}
    once = unquote(text)
    return {text, once, unquote(once)}


def is_within(content: Any, limit: int) -> bool:
    """Whether a JSON value holds no more than so many values, keys too: asked before each is looked at."""
    waiting, count = [content], 1
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            count += len(value) * (2 if isinstance(value, dict) else 1)
            if count > limit:
                return False
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return True


def texts(content: Any) -> Iterator[tuple[str | None, str]]:
    """All texts of a JSON value, keys too, each with the key it stands under."""
    waiting: list[tuple[str | None, Any]] = [(None, content)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, dict):
            yield from ((None, name) for name in value)
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend((key, item) for item in value)
