"""Files are seen whole or not at all, and everything has its place."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spectral_diffusion.errors import DiskFullError, InputError
from spectral_diffusion.workspace import (
    STALE_SECONDS,
    Workspace,
    cache_folder,
    create_new,
    sweep_stale,
    write_atomically,
)


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

    with pytest.raises(DiskFullError, match="No space left") as refusal:
        write_atomically(tmp_path / "file.txt", fill)
    assert "free some space" in refusal.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX modes")
def test_a_file_has_the_rights_of_the_persons_mask_which_no_thread_sees_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os, pathlib, sys; os.umask(0o027)\n"
        "from spectral_diffusion.workspace import create_new, write_atomically\n"
        "write_atomically(pathlib.Path(sys.argv[1]), lambda temporary: temporary.write_text('x'))\n"
        "create_new(pathlib.Path(sys.argv[2]))\n"
    )
    paths = [tmp_path / "a", tmp_path / "b"]
    subprocess.run([sys.executable, "-c", code, *map(str, paths)], check=True)
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o640, 0o640]
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the mask belongs to the whole process"))
    write_atomically(tmp_path / "c", lambda temporary: temporary.write_text("x"))


def test_a_new_name_is_given_once_however_many_ask(tmp_path: Path) -> None:
    ready = threading.Barrier(8)

    def ask(_: int) -> bool:
        ready.wait()
        return create_new(tmp_path / "folder" / "name.png")

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 1
    assert (tmp_path / "folder" / "name.png").read_bytes() == b""


def test_a_name_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("I am a file")
    with pytest.raises(InputError, match="cannot write"):
        create_new(tmp_path / "blocked" / "name.png")


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


def test_what_a_killed_writer_left_goes_after_an_hour_and_nothing_else(tmp_path: Path) -> None:
    for name in ("octo.safetensors", "octo[1].safetensors", "a name longer than the forty letters that are kept.png"):
        code = (
            "import os, pathlib, signal, sys\n"
            "from spectral_diffusion.workspace import write_atomically\n"
            "write_atomically(pathlib.Path(sys.argv[1]), lambda temporary: os.kill(os.getpid(), 9))\n"
        )
        assert subprocess.run([sys.executable, "-c", code, str(tmp_path / name)]).returncode != 0
    left = sorted(tmp_path.iterdir())
    assert len(left) == 3
    others = [tmp_path / name for name in ("octo.safetensors", ".octo.safetensors.old", ".hidden", ".a.0123.png")]
    for path in others:
        path.write_bytes(b"")
    sweep_stale(tmp_path)
    assert len(list(tmp_path.iterdir())) == 7
    for path in tmp_path.iterdir():
        os.utime(path, (path.stat().st_mtime - STALE_SECONDS - 1,) * 2)
    sweep_stale(tmp_path, "octo.safetensors")
    assert len(list(tmp_path.iterdir())) == 6
    assert [path.name[:9] for path in left if path.exists()] == [".a name l", ".octo[1]."]
    sweep_stale(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)
    sweep_stale(tmp_path / "missing")
