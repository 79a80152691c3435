"""What lies in the place of a new adapter is never lost without a way back."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.publishing import publish
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.trash import Trash
from spectral_diffusion.workspace import Workspace

OLD, NEW = b"of an earlier training", b"of this training"


def _made(root: Path, to: str = "adapters/octo.safetensors") -> tuple[JobFolder, dict[str, Any]]:
    """A training that has ended and is not yet published."""
    folder = JobFolder.of(Store(str(root)), "abcdefgh")
    folder.work.mkdir(parents=True, exist_ok=True)
    (folder.work / "octo.safetensors").write_bytes(NEW)
    file = {"to": to, "sha256": hashlib.sha256(NEW).hexdigest()}
    return folder, {"files": {"octo.safetensors": file}, "answer": {}}


def _adapter(root: Path, content: bytes) -> Path:
    path = root / "adapters" / "octo.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("home", "given"), [("", ""), ("users/ann", "users/ann"), ("users/ann", "")])
def test_another_adapter_in_the_place_of_a_new_one_goes_into_the_trash_of_its_workspace(
    home: str, given: str, tmp_path: Path
) -> None:
    path = _adapter(tmp_path / home, OLD)
    publish(*_made(tmp_path, f"{home}/adapters/octo.safetensors".lstrip("/")), given)
    assert path.read_bytes() == NEW
    trash = Trash(Workspace(tmp_path / home))
    (item,) = trash.items()
    assert item.what == "adapter" and trash.content(item.id).read_bytes() == OLD
    assert trash.restore(item.id) == path.with_name("octo-2.safetensors")
    assert "trash" in (tmp_path / "jobs" / "abcdefgh" / "log.txt").read_text()


def test_a_workspace_that_is_reached_by_a_link_has_its_trash(tmp_path: Path) -> None:
    _adapter(tmp_path / "home", OLD)
    (tmp_path / "link").symlink_to(tmp_path / "home")
    publish(*_made(tmp_path / "link"))
    assert len(Trash(Workspace(tmp_path / "home")).items()) == 1


def test_the_same_adapter_is_left_alone(tmp_path: Path) -> None:
    path = _adapter(tmp_path, NEW)
    before = path.stat()
    publish(*_made(tmp_path))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert Trash(Workspace(tmp_path)).items() == []


def test_a_publishing_that_was_killed_and_is_done_again_keeps_the_old_adapter_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _adapter(tmp_path, OLD)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Store, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(*_made(tmp_path))
    assert path.read_bytes() == OLD
    for _ in range(2):
        publish(*_made(tmp_path))
    trash = Trash(Workspace(tmp_path))
    assert path.read_bytes() == NEW and [trash.content(item.id).read_bytes() for item in trash.items()] == [OLD]


def test_a_trash_that_fails_fails_no_job_and_the_old_adapter_lies_beside_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _adapter(tmp_path, OLD)
    path.with_name("octo-2.safetensors").write_bytes(b"of somebody else")

    def fail(*_: object, **__: object) -> None:
        raise InputError("the disk is full", "free some space")

    monkeypatch.setattr(Trash, "keep", fail)
    publish(*_made(tmp_path))
    found = {path.name: path.read_bytes() for path in path.parent.glob("*.safetensors")}
    assert found == {
        "octo.safetensors": NEW, "octo-2.safetensors": b"of somebody else", "octo-3.safetensors": OLD,
    }  # fmt: skip
