"""Files are seen whole or not at all, and everything has its place."""

from pathlib import Path

import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import Workspace, cache_folder, write_atomically


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, lambda temporary: temporary.write_text("old"))

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_full_disk_is_told_with_a_remedy_and_leaves_nothing(tmp_path: Path) -> None:
    def fill(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left") as refusal:
        write_atomically(tmp_path / "file.txt", fill)
    assert "free some space" in refusal.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("I am a file")
    with pytest.raises(InputError, match="cannot write"):
        write_atomically(tmp_path / "blocked" / "file.txt", lambda temporary: temporary.write_text("x"))


def test_the_workspace_is_the_given_one_then_the_variable_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPECTRAL_DIFFUSION_HOME", str(tmp_path / "home"))
    assert Workspace.locate(tmp_path / "mine").adapters == tmp_path / "mine" / "adapters"
    assert Workspace.locate().ledger_path == tmp_path / "home" / "ledger.json"
    monkeypatch.delenv("SPECTRAL_DIFFUSION_HOME")
    assert Workspace.locate().concepts == Path("concepts")


def test_the_cache_folder_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECTRAL_DIFFUSION_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
