"""Who is logged in: tokens in cookies, of which only hashes are kept, in memory."""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from spectral_diffusion.studio.guard.accounts import Accounts

COOKIE = "spectral_session"
IDLE_SECONDS = 12 * 3600.0
LONGEST_SECONDS = 7 * 86400.0
SESSIONS_A_USER = 20
"""Whoever logs in once more is logged out where they were away for longest."""
_TOKEN_BYTES = 32


@dataclass
class _Session:
    user: str
    mark: str
    opened: float
    used: float


class Sessions:
    """The sessions of a running studio. They end with it.

    Args:
        accounts: Whoever is no longer among them, or has another password, is logged out.
        clock: Seconds; the time of day, as a machine that sleeps is not in use either.
    """

    def __init__(self, accounts: Accounts, clock: Callable[[], float] = time.time) -> None:
        self.accounts = accounts
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[bytes, _Session] = {}

    def open(self, user: str, mark: str) -> str:
        """Log a user in.

        Args:
            user: Name of the account.
            mark: Of the account, as `Accounts.verify` gave it.

        Returns:
            The token, for their cookie.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        now = self._clock()
        with self._lock:
            for key in [key for key, session in self._sessions.items() if self._is_over(session, now)]:
                del self._sessions[key]
            theirs = [key for key, session in self._sessions.items() if session.user == user]
            theirs.sort(key=lambda key: self._sessions[key].used)
            for key in theirs[: max(0, len(theirs) - SESSIONS_A_USER + 1)]:
                del self._sessions[key]
            self._sessions[_digest(token)] = _Session(user, mark, now, now)
        return token

    def user(self, token: str, *, is_use: bool = True) -> str | None:
        """Whose session this is, or None.

        Args:
            token: From a cookie.
            is_use: Whether the session's idle time begins again.

        Raises:
            InputError: The accounts cannot be read at the moment.
        """
        key, now = _digest(token), self._clock()
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                return None
            if self._is_over(session, now) or self.accounts.mark(session.user) != session.mark:
                del self._sessions[key]
                return None
            if is_use:
                session.used = now
            return session.user

    def close(self, token: str) -> None:
        """Log out."""
        with self._lock:
            self._sessions.pop(_digest(token), None)

    def __len__(self) -> int:
        return len(self._sessions)

    @staticmethod
    def _is_over(session: _Session, now: float) -> bool:
        return now - session.used > IDLE_SECONDS or now - session.opened > LONGEST_SECONDS


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
