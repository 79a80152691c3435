"""Laws of the password file: what is in it counts at once, what is wrong is named by its line and not repeated."""

import os
import stat
from pathlib import Path

import argon2
import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.guard import accounts as module
from spectral_diffusion.studio.guard.accounts import Accounts, add_account, remove_account

PASSWORD = "correct horse"
ACTUAL_HASHER = module._HASHER
# The same in every process that runs tests.
HASH = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD, salt=b"sixteen bytes of")


def written(folder: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "accounts"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def test_an_account_lets_in_by_its_password_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "accounts"
    add_account(path, "ada", PASSWORD)
    accounts = Accounts.load(path)
    mark = accounts.verify("ada", PASSWORD)
    assert mark and mark == accounts.mark("ada")
    for name, password in [("ada", "wrong"), ("ada", ""), ("ben", PASSWORD), ("Ada", PASSWORD), ("", ""),
                           ("ada", PASSWORD + "\0"), ("ada", "x" * 10**6), ("ada", "\ud800")]:  # fmt: skip
        assert accounts.verify(name, password) is None
    assert PASSWORD not in path.read_text()


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "accounts"
    add_account(path, "ada", PASSWORD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for mode in (0o644, 0o604, 0o620, 0o602, 0o666):
        path.chmod(mode)
        for use in (
            lambda: Accounts.load(path),
            lambda: add_account(path, "ben", PASSWORD),
            lambda: remove_account(path, "ada"),
        ):
            with pytest.raises(InputError, match="others can read or write"):
                use()
    path.chmod(0o640)
    assert Accounts.load(path).names() == ("ada",)


def test_changes_count_at_once(tmp_path: Path) -> None:
    path = tmp_path / "accounts"
    add_account(path, "ada", PASSWORD)
    accounts = Accounts.load(path)
    before = accounts.mark("ada")
    add_account(path, "ben", "another one")
    assert accounts.names() == ("ada", "ben") and accounts.verify("ben", "another one")
    remove_account(path, "ada")
    assert accounts.mark("ada") is None and accounts.verify("ada", PASSWORD) is None
    add_account(path, "ada", PASSWORD)
    assert accounts.mark("ada") not in (None, before)
    path.unlink()
    with pytest.raises(InputError, match="there is no file"):
        accounts.mark("ben")


def test_comments_and_other_lines_survive_changes(tmp_path: Path) -> None:
    path = written(tmp_path, f"# of the house\n\n  ada:{HASH}  \n# end\n")
    add_account(path, "ben", PASSWORD)
    remove_account(path, "ada")
    lines = path.read_text().splitlines()
    assert lines[0] == "# of the house" and lines[2] == "# end" and Accounts(path).names() == ("ben",)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("ada", "has no argon2id hash"), ("ada:", "has no argon2id hash"), ("ada:hunter22", "has no argon2id hash"),
        (f"Ada:{HASH}", "does not begin with a name"), (f":{HASH}", "does not begin with a name"),
        (f"a b:{HASH}", "does not begin with a name"), (f"../x:{HASH}", "does not begin with a name"),
        (f"\x1b[2J:{HASH}", "does not begin with a name"), (f"con:{HASH}", "does not begin with a name"),
        (HASH, "does not begin with a name"), (f"first:{HASH}", "has a second account first"),
        (f"ada:{HASH.replace('argon2id', 'argon2i')}", "has no argon2id hash"), (f"ada:{HASH}:x", "has no argon2id"),
        (f"ada:{HASH.replace('m=8,', 'm=99999999,')}", "costs too much"),
        (f"ada:{HASH.replace('t=1', 't=999')}", "costs too much"),
        (f"ada:{HASH.replace('p=1', 'p=0')}", "costs too much"),
        ("ada:$2b$12$abcdefghijklmnopqrstuv", "has no argon2id"),
        ("ada:" + "$" * 10_000, "has no argon2id hash"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named_and_not_repeated(tmp_path: Path, line: str, fault: str) -> None:
    path = written(tmp_path, f"first:{HASH}\n{line}\n")
    with pytest.raises(InputError, match=f"line 2 of .* {fault}") as told:
        Accounts.load(path)
    assert "hunter22" not in str(told.value) and "\x1b" not in str(told.value) and "$" not in str(told.value)
    with pytest.raises(InputError, match="line 2"):
        add_account(path, "ben", PASSWORD)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a" * 100_000, b"\0" * 100])
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError):
        Accounts.load(written(tmp_path, content))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing", Path("a\0b"), Path("/dev/zero")):
        with pytest.raises(InputError):
            Accounts.load(path)
    with pytest.raises(InputError, match="holds no account"):
        Accounts.load(written(tmp_path, "# nobody\n"))


@pytest.mark.parametrize(
    "name", ["", "Ada", "a/b", "..", "a b", "ß" * 100, "nul", "-x", "a:b", "é\u0301\u202e", "a\nb", "#a"]
)
def test_a_name_is_one_that_can_be_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        add_account(tmp_path / "accounts", name, PASSWORD)
    assert not (tmp_path / "accounts").exists()


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025, "\ud800" * 10])
def test_a_password_has_its_length(tmp_path: Path, password: str) -> None:
    with pytest.raises(InputError, match="the password has"):
        add_account(tmp_path / "accounts", "ada", password)
    assert not (tmp_path / "accounts").exists()


def test_an_accent_is_the_same_however_it_is_typed(tmp_path: Path) -> None:
    add_account(tmp_path / "accounts", "ada", "caf\u00e9 caf\u00e9")
    assert Accounts(tmp_path / "accounts").verify("ada", "cafe\u0301 cafe\u0301")


def test_a_name_is_taken_once_and_removed_once(tmp_path: Path) -> None:
    path = tmp_path / "accounts"
    add_account(path, "ada", PASSWORD)
    with pytest.raises(InputError, match="has an account ada already"):
        add_account(path, "ada", PASSWORD)
    remove_account(path, "ada")
    with pytest.raises(InputError, match="has no account ada"):
        remove_account(path, "ada")


def test_whether_a_name_exists_is_not_told_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "accounts"
    add_account(path, "ada", PASSWORD)
    accounts = Accounts.load(path)
    costs = []

    class Counting(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:
            costs.append(argon2.extract_parameters(str(hash)))
            return super().verify(hash, password)

    monkeypatch.setattr(module, "_HASHER", Counting())
    for name, password in (
        ("ada", PASSWORD),
        ("ada", "wrong one"),
        ("ben", "wrong one"),
        ("ben", "x" * 5000),
        ("", ""),
    ):
        accounts.verify(name, password)
    assert len(costs) == 5 and len(set(map(str, costs))) == 1


def test_a_guess_is_expensive() -> None:
    found = argon2.extract_parameters(ACTUAL_HASHER.hash(PASSWORD))
    assert found.memory_cost >= 19 * 1024 and found.memory_cost * found.time_cost >= 38 * 1024
