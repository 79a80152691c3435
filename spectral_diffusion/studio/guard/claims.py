"""Whose page, event or upload an identifier is: who used it first."""

import threading
from collections import OrderedDict
from typing import Literal

CLAIMS_A_USER = 4096
"""Of each user the newest are known: pages that have been open for some days, and events of the last hours."""

Kind = Literal["session", "event", "upload", "drawing"]
_Key = tuple[Kind, str]


class Claims:
    """Identifiers that browsers and Gradio make up, and whose they are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: dict[_Key, str | None] = {}
        self._of_user: dict[str | None, OrderedDict[_Key, None]] = {}

    def take(self, user: str | None, kind: Kind, value: str) -> bool:
        """Whether it is this user's: it is nobody else's, and from now on it is theirs."""
        key = (kind, value)
        with self._lock:
            if self._owner.setdefault(key, user) != user:
                return False
            theirs = self._of_user.setdefault(user, OrderedDict())
            theirs[key] = None
            theirs.move_to_end(key)
            while len(theirs) > CLAIMS_A_USER:
                # Only what is one's own makes room, so that nobody can make another's forgotten.
                del self._owner[theirs.popitem(last=False)[0]]
            return True

    def holds(self, user: str | None, kind: Kind, value: str) -> bool:
        """Whether it is known to be this user's."""
        with self._lock:
            return self._owner.get((kind, value), self) == user

    def is_anothers(self, user: str | None, kind: Kind, value: str) -> bool:
        """Whether it is known to be somebody else's."""
        with self._lock:
            return self._owner.get((kind, value), user) != user

    def __len__(self) -> int:
        return len(self._owner)
