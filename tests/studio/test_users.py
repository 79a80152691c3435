"""Laws of the verb `users`: accounts from the command line, with passwords that no history and no screen shows."""

import io
from pathlib import Path

import click
import pytest

from spectral_diffusion.studio.guard.accounts import Accounts
from tests.command_line import call


class Typed:
    """A stdin of these bytes."""

    def __init__(self, content: bytes, is_terminal: bool = False) -> None:
        self.buffer = io.BytesIO(content)
        self.isatty = lambda: is_terminal


@pytest.fixture
def auth(tmp_path: Path) -> Path:
    return tmp_path / "accounts"


def added(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    auth: Path,
    name: str,
    content: bytes,
    code: int = 0,
) -> str:
    monkeypatch.setattr("sys.stdin", Typed(content))
    answer = call(capsys, "users", "add", name, "--auth", auth, "--password-stdin").expect(code)
    return answer.stdout if code == 0 else answer.stderr


def test_accounts_are_added_listed_and_removed(
    auth: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert added(capsys, monkeypatch, auth, "ada", b" a pass word \r\n") == "ada  added\n"
    assert added(capsys, monkeypatch, auth, "ben", "pässwörter".encode()) == "ben  added\n"
    assert Accounts(auth).verify("ada", " a pass word ") and Accounts(auth).verify("ben", "pässwörter")
    assert call(capsys, "users", "list", "--auth", auth, "--json").expect(0).json == {"users": ["ada", "ben"]}
    assert call(capsys, "users", "--auth", auth).expect(0).stdout == "ada\nben\n"
    assert call(capsys, "users", "--auth", auth, "--json", "remove", "ada").expect(0).json == {"removed": "ada"}
    assert call(capsys, "users", "remove", "ben", "--auth", auth).expect(0).stdout == "ben  removed\n"
    assert call(capsys, "users", "list", "--auth", auth).expect(0).stdout == "no accounts\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ada", b"short\n", "the password has 5 characters; take one of 8 to 1024"), ("ada", b"", "has 0 characters"),
        ("ada", b"\xff" * 20, "is not UTF-8 text"), ("ada", b"x" * 10**6, "stdin has more than"),
        ("Ada", b"password", "'Ada' cannot be the name"), ("a/b", b"password", "cannot be the name"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_one_line(
    auth: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: bytes,
    words: str,
) -> None:
    told = added(capsys, monkeypatch, auth, name, content, code=2)
    assert words in told and told.count("\n") == 1 and not auth.exists()


def test_a_terminal_is_asked_twice_without_an_echo(
    auth: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter(["first one", "another one", "a password", "a password"])
    monkeypatch.setattr("sys.stdin", Typed(b"", is_terminal=True))
    monkeypatch.setattr(click.termui, "hidden_prompt_func", lambda prompt: next(typed))
    call(capsys, "users", "add", "ada", "--auth", auth).expect(0)
    assert Accounts(auth).verify("ada", "a password") and next(typed, None) is None


def test_without_a_terminal_nothing_is_asked(
    auth: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Typed(b"a password"))
    assert "--password-stdin" in call(capsys, "users", "add", "ada", "--auth", auth).expect(2).stderr


def test_the_file_must_be_named_and_be_right(auth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--auth" in call(capsys, "users").expect(2).stderr
    assert "there is no file" in call(capsys, "users", "list", "--auth", auth).expect(2).stderr
    auth.write_text("ada:a password in the clear\n")
    auth.chmod(0o600)
    told = call(capsys, "users", "list", "--auth", auth).expect(2).stderr
    assert "line 1 of" in told and "in the clear" not in told
