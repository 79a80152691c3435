"""Laws of sessions: they end by time, by log-out, by removal and by a new password; what is kept opens nothing."""

from pathlib import Path

import argon2
import pytest

from spectral_diffusion.studio.guard import sessions as module
from spectral_diffusion.studio.guard.accounts import Accounts, remove_account
from spectral_diffusion.studio.guard.sessions import IDLE_SECONDS, LONGEST_SECONDS, SESSIONS_A_USER, Sessions


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    path = tmp_path / "accounts"
    path.write_text("".join(f"{name}:{hasher.hash(name)}\n" for name in ("ada", "ben")))
    path.chmod(0o600)
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(path: Path, clock: Clock) -> Sessions:
    return Sessions(Accounts.load(path), clock)


def opened(sessions: Sessions, name: str = "ada") -> str:
    mark = sessions.accounts.mark(name)
    assert mark
    return sessions.open(name, mark)


def test_a_session_is_its_users_until_they_log_out(sessions: Sessions) -> None:
    ada, ben = opened(sessions), opened(sessions, "ben")
    assert (sessions.user(ada), sessions.user(ben)) == ("ada", "ben")
    sessions.close(ada)
    assert (sessions.user(ada), sessions.user(ben)) == (None, "ben")
    for token in ("", "x", ada[:-1], ada + "x", "\ud800", ada.lower()):
        assert sessions.user(token) is None


def test_a_session_ends_when_nobody_uses_it(sessions: Sessions, clock: Clock) -> None:
    token = opened(sessions)
    for _ in range(10):
        clock.now += IDLE_SECONDS - 1
        assert sessions.user(token) == "ada"
    # To look whether it still lasts is no use of it.
    clock.now += IDLE_SECONDS - 1
    assert sessions.user(token, is_use=False) == "ada"
    clock.now += 2
    assert sessions.user(token) is None


def test_a_session_ends_some_day_whoever_uses_it(sessions: Sessions, clock: Clock) -> None:
    token, began = opened(sessions), clock.now
    while clock.now - began <= LONGEST_SECONDS:
        assert sessions.user(token) == "ada"
        clock.now += 3600
    assert sessions.user(token) is None


def test_a_session_ends_with_its_account_and_its_password(sessions: Sessions, path: Path) -> None:
    token, other = opened(sessions), opened(sessions, "ben")
    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("new")
    path.write_text(
        "".join(f"{line}\n" if "ada" not in line else f"ada:{hashed}\n" for line in path.read_text().split())
    )
    assert (sessions.user(token), sessions.user(other)) == (None, "ben")
    token = opened(sessions)
    remove_account(path, "ada")
    assert (sessions.user(token), sessions.user(other)) == (None, "ben")


def test_a_user_has_so_many_sessions_and_no_more(sessions: Sessions, clock: Clock) -> None:
    other = opened(sessions, "ben")
    tokens = []
    for _ in range(SESSIONS_A_USER + 3):
        clock.now += 1
        tokens.append(opened(sessions))
    assert [sessions.user(token) for token in tokens] == [None] * 3 + ["ada"] * SESSIONS_A_USER
    assert sessions.user(other) == "ben" and len(sessions) == SESSIONS_A_USER + 1


def test_sessions_that_are_over_take_no_memory(sessions: Sessions, clock: Clock) -> None:
    opened(sessions, "ben")
    clock.now += IDLE_SECONDS + 1
    opened(sessions)
    assert len(sessions) == 1


def test_tokens_are_long_and_not_kept(sessions: Sessions) -> None:
    tokens = {opened(sessions) for _ in range(10)}
    assert len(tokens) == 10 and all(len(token) >= 43 for token in tokens)
    assert not any(token in repr(vars(sessions)) for token in tokens)
    assert module.COOKIE == "spectral_session"
