"""Laws of the adapter files of a workspace: each is listed, none is written over, the ledger knows them."""

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from spectral_diffusion.adapters.adapter import Adapter
from spectral_diffusion.adapters.file import read_file, write_file
from spectral_diffusion.adapters.summary import read_summary
from spectral_diffusion.diffusion import adapter_upload, library
from spectral_diffusion.diffusion.library import (
    delete_adapter,
    import_adapter,
    list_adapters,
    rename_adapter,
    restore_adapter,
)
from spectral_diffusion.errors import DiskFullError, InputError
from spectral_diffusion.fusion import FusedAdapter, fuse, load_fused
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.trash import Trash
from spectral_diffusion.workspace import Workspace
from tests.adapters.making import FINGERPRINTS, make_adapter
from tests.hostile.adapter_files import put_together, sound, taken_apart


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    make_adapter("octo", 1).save(tmp_path / "x; rm -rf ~.bin")
    return tmp_path / "x; rm -rf ~.bin"


def _held(workspace: Workspace) -> dict[str, str]:
    return {claim.concept: str(claim.slot) for claim in Ledger(workspace.ledger_path).holders()}


def _listed(workspace: Workspace) -> list[str]:
    return [one.file_name for one in list_adapters(workspace)]


def test_files_are_listed_with_what_they_hold(workspace: Workspace) -> None:
    assert list_adapters(workspace) == []
    octo, spot = make_adapter("octo", 1), make_adapter("spot", 2, method="rotation", train_singular_values=False)
    octo.save(workspace.adapters / "octo.safetensors")
    fuse([octo, spot], strengths=[0.5, 2]).save(workspace.adapters / "both.safetensors")
    (workspace.adapters / "broken.safetensors").write_bytes(b"\x80\x04]q.")
    (workspace.adapters / "notes.txt").write_text("x")
    (workspace.adapters / "checkpoints").mkdir()
    both, broken, single = list_adapters(workspace)
    assert [one.file_name for one in (both, broken, single)] == [
        "both.safetensors", "broken.safetensors", "octo.safetensors",
    ]  # fmt: skip
    assert both.is_fused and both.names == ("octo", "spot") and both.tokens == ("<octo>", "<spot>")
    assert [(part.strength, part.method, part.slot) for part in both.parts] == [
        (0.5, "spectral", ColumnSlot(2, 2)), (2.0, "rotation", ColumnSlot(4, 2)),
    ]  # fmt: skip
    assert not single.is_fused and single.base_name == "imaginary" and single.fault == ""
    assert single.size_bytes == single.path.stat().st_size and single.modified == pytest.approx(
        os.stat(single.path).st_mtime
    )
    assert single.parts[0].tokens["<octo>"].class_word == "toy" and single.parts[0].fingerprints == FINGERPRINTS
    assert broken.fault and broken.parts == () and str(workspace.root) not in broken.fault


def test_a_summary_is_what_the_whole_file_says(tmp_path: Path) -> None:
    for name, fused in (("one", False), ("both", True)):
        (tmp_path / name).write_bytes(sound(fused=fused))
        adapters = [part.adapter for part in load_fused(tmp_path / name).parts]
        for summary, adapter in zip(read_summary(tmp_path / name), adapters, strict=True):
            for field in ("name", "method", "rank", "slot", "base_name", "fingerprints", "tokens"):
                assert getattr(summary, field) == getattr(adapter, field)


def test_a_list_reads_no_tensor_and_no_file_twice(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    header, data = taken_apart(sound())
    workspace.adapters.mkdir(parents=True)
    (workspace.adapters / "octo.safetensors").write_bytes(
        put_together(json.dumps(header).encode(), b"\xff" * len(data))
    )
    (listed,) = list_adapters(workspace)
    assert listed.names == ("octo",) and listed.fault == ""
    monkeypatch.setattr(library, "read_summary", lambda path: pytest.fail("read again"))
    assert list_adapters(workspace) == [listed]


def test_a_file_that_changed_is_read_again(workspace: Workspace) -> None:
    make_adapter("octo", 1).save(workspace.adapters / "octo.safetensors")
    assert list_adapters(workspace)[0].names == ("octo",)
    make_adapter("squid", 1).save(workspace.adapters / "octo.safetensors")
    assert list_adapters(workspace)[0].names == ("squid",)


def test_an_upload_is_named_by_its_content_and_its_columns_are_claimed(workspace: Workspace, upload: Path) -> None:
    imported = import_adapter(workspace, upload)
    assert (imported.file_name, imported.notes, imported.is_new) == ("octo.safetensors", (), True)
    assert (workspace.adapters / "octo.safetensors").read_bytes() == upload.read_bytes()
    assert _held(workspace) == {"octo": "columns 2-3"}
    again = import_adapter(workspace, upload)
    assert (again.file_name, again.is_new) == ("octo.safetensors", False)
    assert len(list_adapters(workspace)) == 1


def test_a_taken_name_gets_a_number_and_a_concept_keeps_its_columns(workspace: Workspace, upload: Path) -> None:
    Ledger(workspace.ledger_path).claim("imaginary", FINGERPRINTS, "octo", 2, 6, 0, "<octo>")
    make_adapter("octo", 0).save(workspace.adapters / "octo.safetensors")
    before = (workspace.adapters / "octo.safetensors").read_bytes()
    imported = import_adapter(workspace, upload)
    assert imported.file_name == "octo-2.safetensors" and "octo (columns 0-1) is held here" in imported.notes[0]
    assert (workspace.adapters / "octo.safetensors").read_bytes() == before
    assert _held(workspace) == {"octo": "columns 0-1"}


def test_who_holds_the_columns_of_an_upload_is_named(workspace: Workspace, upload: Path, tmp_path: Path) -> None:
    ledger = Ledger(workspace.ledger_path)
    ledger.claim("imaginary", FINGERPRINTS, "shelly", 4, 3, 0, "<shelly>")
    imported = import_adapter(workspace, upload)
    assert imported.is_new and "held by shelly (columns 0-3)" in imported.notes[0]
    fuse([make_adapter("spot", 3), make_adapter("shelly", 4, tokens={}, token_vectors={})]).save(tmp_path / "both")
    imported = import_adapter(workspace, tmp_path / "both")
    assert imported.file_name == "spot-shelly.safetensors" and len(imported.notes) == 1
    assert _held(workspace) == {"shelly": "columns 0-3", "spot": "columns 6-7"}


def test_columns_between_the_slots_are_not_claimed(workspace: Workspace, tmp_path: Path) -> None:
    adapter = make_adapter("octo", 1)
    header, tensors = adapter.pack()
    write_file(tmp_path / "odd", {**header, "slot": {"start": 3, "width": 2}}, tensors)
    assert "are no whole slot" in import_adapter(workspace, tmp_path / "odd").notes[0]
    assert _held(workspace) == {}


def test_a_ledger_that_cannot_be_read_stops_no_file(workspace: Workspace, upload: Path) -> None:
    workspace.root.mkdir()
    workspace.ledger_path.write_text("no ledger")
    imported = import_adapter(workspace, upload)
    assert imported.is_new and "is not a ledger" in imported.notes[0]
    deleted = delete_adapter(workspace, imported.file_name)
    assert "could not be freed" in deleted.notes[0] and list_adapters(workspace) == []
    assert "is not a ledger" in restore_adapter(workspace, deleted.item.id).notes[0]
    assert list_adapters(workspace)[0].names == ("octo",)


def test_a_file_is_renamed_and_what_is_in_it_stays(workspace: Workspace, upload: Path) -> None:
    import_adapter(workspace, upload)
    assert rename_adapter(workspace, "octo.safetensors", "octo, first try.safetensors") == "octo-first-try.safetensors"
    assert rename_adapter(workspace, "octo-first-try.safetensors", "octo-first-try") == "octo-first-try.safetensors"
    assert Adapter.load(workspace.adapters / "octo-first-try.safetensors").name == "octo"
    assert _held(workspace) == {"octo": "columns 2-3"}
    make_adapter("spot", 3).save(workspace.adapters / "spot.safetensors")
    before = (workspace.adapters / "spot.safetensors").read_bytes()
    with pytest.raises(InputError, match="there is an adapter spot"):
        rename_adapter(workspace, "octo-first-try.safetensors", "spot")
    assert (workspace.adapters / "spot.safetensors").read_bytes() == before
    for name in ("", "///", "🐙"):
        with pytest.raises(InputError, match="is no name"):
            rename_adapter(workspace, "spot.safetensors", name)


@pytest.mark.parametrize(
    "name", ["../ledger.json", "/etc/passwd", "", ".", ".lock", "gone.safetensors", "\0", "x/octo.safetensors"]
)
def test_a_name_that_is_no_file_of_the_folder_is_refused(name: str, workspace: Workspace, upload: Path) -> None:
    import_adapter(workspace, upload)
    shutil.copyfile(upload, workspace.root / "outside.safetensors")
    for told in (name, "../outside.safetensors"):
        for change in (
            lambda told=told: delete_adapter(workspace, told),
            lambda told=told: rename_adapter(workspace, told, "x"),
        ):
            with pytest.raises(InputError, match="there is no adapter"):
                change()
    for item in ("0" * 16, "../adapters", ""):
        with pytest.raises(InputError, match="there is no adapter"):
            restore_adapter(workspace, item)
    assert [one.file_name for one in list_adapters(workspace)] == ["octo.safetensors"]
    assert (workspace.root / "outside.safetensors").exists() and workspace.ledger_path.exists()


def test_a_deleted_file_frees_its_columns_and_takes_them_again(workspace: Workspace, upload: Path) -> None:
    import_adapter(workspace, upload)
    deleted = delete_adapter(workspace, "octo.safetensors")
    assert deleted.notes == ("columns 2-3 of imaginary are free again",) and _held(workspace) == {}
    assert list_adapters(workspace) == []
    restored = restore_adapter(workspace, deleted.item.id)
    assert (restored.file_name, restored.notes) == ("octo.safetensors", ()) and _held(workspace) == {
        "octo": "columns 2-3"
    }
    deleted = delete_adapter(workspace, "octo.safetensors")
    Ledger(workspace.ledger_path).claim("imaginary", FINGERPRINTS, "spot", 2, 6, 1, "<spot>")
    make_adapter("octo", 0).save(workspace.adapters / "octo.safetensors")
    restored = restore_adapter(workspace, deleted.item.id)
    assert restored.file_name == "octo-2.safetensors" and "held by spot (columns 2-3)" in restored.notes[0]
    assert _held(workspace) == {"spot": "columns 2-3"}


def test_columns_that_something_else_still_needs_are_not_freed(workspace: Workspace, upload: Path) -> None:
    import_adapter(workspace, upload)
    octo = Adapter.load(upload)
    fuse([octo, make_adapter("spot", 3)]).save(workspace.adapters / "both.safetensors")
    first = delete_adapter(workspace, "octo.safetensors")
    assert first.notes == () and _held(workspace) == {"octo": "columns 2-3"}
    assert delete_adapter(workspace, "both.safetensors", in_training=["octo"]).notes == ()
    assert _held(workspace) == {"octo": "columns 2-3"}
    restore_adapter(workspace, first.item.id)
    Ledger(workspace.ledger_path).claim("other", {"unet": "b" * 64}, "octo", 2, 6, 1, "<octo>")
    assert delete_adapter(workspace, "octo.safetensors").notes == ("columns 2-3 of imaginary are free again",)
    assert [claim.base for claim in Ledger(workspace.ledger_path).holders()] == ["other"]


def test_an_upload_changes_nothing_when_it_cannot_be_stored(workspace: Workspace, upload: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DiskFullError, match="no space"):
            import_adapter(workspace, upload)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list_adapters(workspace) == [] and _held(workspace) == {} and Trash(workspace).items() == []


def _is_free(workspace: Workspace) -> bool:
    with suppress(Timeout), FileLock(workspace.adapters / ".lock", timeout=0):
        return True
    return False


def test_others_change_the_folder_while_an_upload_is_judged(
    workspace: Workspace, upload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_adapter("spot", 2).save(tmp_path / "spot")
    seen: list[tuple[bool, str, list[str]]] = []

    def judge(path: Path) -> FusedAdapter:
        monkeypatch.undo()
        seen.append((_is_free(workspace), import_adapter(workspace, tmp_path / "spot").file_name, _listed(workspace)))
        return load_fused(path)

    monkeypatch.setattr(adapter_upload, "load_fused", judge)
    assert import_adapter(workspace, upload).file_name == "octo.safetensors"
    assert seen == [(True, "spot.safetensors", ["spot.safetensors"])]
    assert _listed(workspace) == ["octo.safetensors", "spot.safetensors"]
    assert {path.name for path in workspace.adapters.iterdir()} == {".lock", *_listed(workspace)}


def test_two_imports_of_one_file_at_once_keep_it_once(
    workspace: Workspace, upload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2)

    def judge(path: Path) -> FusedAdapter:
        together.wait(60)
        return load_fused(path)

    monkeypatch.setattr(adapter_upload, "load_fused", judge)
    with ThreadPoolExecutor(2) as pool:
        both = [*pool.map(lambda path: import_adapter(workspace, path), [upload, upload])]
    assert sorted(imported.is_new for imported in both) == [False, True]
    assert {imported.file_name for imported in both} == {"octo.safetensors"}
    assert _listed(workspace) == ["octo.safetensors"]


@pytest.mark.parametrize("fault", ["no adapter", "judging is cut short", "no name can be given"])
def test_nothing_of_an_upload_stays_that_was_not_taken_in(
    fault: str, workspace: Workspace, upload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    match fault:
        case "no adapter":
            upload.write_bytes(b"\x80\x04]q.")
        case "judging is cut short":
            monkeypatch.setattr(adapter_upload, "load_fused", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        case _:
            monkeypatch.setattr(library.os, "replace", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no")))
    with pytest.raises((InputError, KeyboardInterrupt)):
        import_adapter(workspace, upload)
    assert {path.name for path in workspace.adapters.iterdir()} <= {".lock"} and _held(workspace) == {}


def test_what_a_killed_import_left_goes_with_a_later_one(workspace: Workspace, upload: Path) -> None:
    workspace.adapters.mkdir(parents=True)
    old, young = (workspace.adapters / f".upload.{letter * 16}" for letter in "ab")
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    import_adapter(workspace, upload)
    assert not old.exists() and young.exists() and _listed(workspace) == ["octo.safetensors"]


def test_a_link_is_listed_as_what_it_is(workspace: Workspace, upload: Path) -> None:
    workspace.adapters.mkdir(parents=True)
    (workspace.adapters / "link.safetensors").symlink_to(upload)
    assert list_adapters(workspace)[0].fault == "it is a link"
    header, _ = read_file(upload)
    assert header["name"] == "octo"
