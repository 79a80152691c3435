"""Laws of the trash: what goes in comes out as it was, nothing is written over, nothing leads out of the workspace."""

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from spectral_diffusion import trash as trash_module
from spectral_diffusion.errors import InputError
from spectral_diffusion.names import printable
from spectral_diffusion.trash import Trash
from spectral_diffusion.workspace import Workspace
from tests.hostile.case import tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    concept = tmp_path / "home" / "concepts" / "octo"
    concept.mkdir(parents=True)
    for name in ("00.png", "00.txt", "00.mask.png", "01.png"):
        (concept / name).write_text(name)
    (tmp_path / "home" / "adapters").mkdir()
    (tmp_path / "home" / "adapters" / "octo.v1.safetensors").write_text("adapter")
    return tmp_path / "home"


@pytest.fixture
def trash(root: Path) -> Trash:
    return Trash(Workspace(root))


def _outside(root: Path) -> dict[str, object]:
    """Everything but the trash, in the workspace and around it."""
    return {path: kind for path, kind in tree(root.parent).items() if f"{root}{os.sep}trash" not in path}


def test_a_file_and_a_folder_come_back_as_they_were(trash: Trash, root: Path) -> None:
    before = _outside(root)
    adapter = trash.put(root / "adapters" / "octo.v1.safetensors", what="adapter")
    concept = trash.put(root / "concepts" / "octo", what="concept")
    assert list((root / "concepts").iterdir()) == [] and list((root / "adapters").iterdir()) == []
    assert [item.id for item in trash.items()] == [concept.id, adapter.id]
    assert (adapter.name, adapter.what, adapter.origin) == (
        "octo.v1.safetensors", "adapter", "adapters/octo.v1.safetensors",
    )  # fmt: skip
    assert adapter.fault == "" and abs(adapter.when - time.time()) < 60
    assert trash.content(adapter.id).read_text() == "adapter"
    assert trash.restore(concept.id) == root / "concepts" / "octo"
    assert trash.restore(adapter.id) == root / "adapters" / "octo.v1.safetensors"
    assert _outside(root) == before and trash.items() == []
    assert (root / "concepts" / "octo" / "01.png").read_text() == "01.png"


def test_companions_go_and_come_together_under_one_name(trash: Trash, root: Path) -> None:
    folder = root / "concepts" / "octo"
    companions = (folder / "00.mask.png", folder / "00.txt")
    first = trash.put(folder / "00.png", *companions, what="photograph")
    assert sorted(path.name for path in folder.iterdir()) == ["01.png"]
    (folder / "00.txt").write_text("of somebody else")
    assert trash.restore(first.id) == folder / "00-2.png"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "00.txt": "of somebody else", "00-2.png": "00.png", "00-2.txt": "00.txt", "00-2.mask.png": "00.mask.png",
        "01.png": "01.png",
    }  # fmt: skip


def test_a_place_that_is_taken_is_not_written_over(trash: Trash, root: Path) -> None:
    path = root / "adapters" / "octo.v1.safetensors"
    ids = []
    for number in range(3):
        path.write_text(str(number))
        ids.append(trash.put(path, what="adapter").id)
    path.symlink_to(root / "nowhere")
    names = [trash.restore(item_id).name for item_id in ids]
    assert names == [f"octo.v1-{number}.safetensors" for number in (2, 3, 4)]
    assert [(path.parent / name).read_text() for name in names] == ["0", "1", "2"]
    shutil.copytree(root / "concepts" / "octo", root / "concepts" / "octo.old")
    item = trash.put(root / "concepts" / "octo.old", what="concept")
    (root / "concepts" / "octo.old").mkdir()
    assert trash.restore(item.id).name == "octo.old-2"


def test_what_takes_the_place_of_another_sends_it_to_the_trash(trash: Trash, root: Path) -> None:
    path = root / "concepts" / "octo" / "00.png"
    first = trash.put(path, what="mask")
    path.write_text("painted meanwhile")
    assert trash.origin(first.id) == path and trash.restore(first.id, replace=True) == path
    assert path.read_text() == "00.png"
    (other,) = trash.items()
    assert (other.what, trash.content(other.id).read_text()) == ("mask", "painted meanwhile")
    trash.restore(other.id, replace=True)
    assert path.read_text() == "painted meanwhile" and len(trash.items()) == 1


def test_a_copy_is_kept_and_the_file_stays(trash: Trash, root: Path) -> None:
    path = root / "concepts" / "octo" / "00.png"
    item = trash.keep(path, what="photograph")
    path.write_text("changed")
    assert trash.content(item.id).read_text() == "00.png" and path.read_text() == "changed"


def test_a_link_is_moved_and_not_followed(trash: Trash, root: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("precious")
    (root / "concepts" / "link").symlink_to(tmp_path / "precious")
    (root / "concepts" / "octo" / "link").symlink_to(tmp_path / "precious")
    for path in (root / "concepts" / "link", root / "concepts" / "octo"):
        item = trash.put(path, what="concept")
        assert trash.restore(item.id) == path and os.path.lexists(path)
        trash.remove(trash.put(path, what="concept").id)
    assert (tmp_path / "precious" / "file").read_text() == "precious"
    assert not list((root / "concepts").iterdir())


@pytest.mark.parametrize(
    "place", ["", "concepts", "trash", "trash/x", "../elsewhere/file", "concepts/../..", "ledger.json"]
)
def test_only_what_lies_in_a_folder_of_the_workspace_is_taken(place: str, trash: Trash, root: Path) -> None:
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere" / "file").write_text("x")
    (root / "trash" / "x").mkdir(parents=True)
    (root / "ledger.json").write_text("x")
    before = tree(root.parent)
    with pytest.raises(InputError, match="does not lie in a folder of the workspace"):
        trash.put(root / place, what="file")
    assert tree(root.parent) == before


def test_what_is_gone_or_cannot_be_moved_is_told_and_all_is_where_it_was(
    trash: Trash, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = root / "concepts" / "octo"
    with pytest.raises(InputError, match="there is no photograph 09"):
        trash.put(folder / "09.png", what="photograph")
    before = _outside(root)
    move = trash_module._move

    def fail(source: Path, target: Path) -> None:
        if source == folder / "00.png":
            raise OSError(13, "Permission denied")
        move(source, target)

    monkeypatch.setattr(trash_module, "_move", fail)
    with pytest.raises(InputError, match=r"cannot move .*00\.png: Permission denied"):
        trash.put(folder / "00.png", folder / "00.txt", folder / "00.mask.png", what="photograph")
    assert _outside(root) == before and trash.items() == []


def test_a_folder_on_another_disk_is_copied(trash: Trash, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _outside(root)

    def cross(source: Path, target: Path) -> None:
        if ".gone" not in str(target):
            raise OSError(18, "Invalid cross-device link")
        os.rename(source, target)

    monkeypatch.setattr(trash_module.os, "replace", cross)
    monkeypatch.setattr(trash_module.os, "link", lambda *_, **__: cross(_[0], _[1]))
    monkeypatch.setattr(
        trash_module,
        "write_atomically",
        lambda path, write: (path.parent.mkdir(parents=True, exist_ok=True), write(path)),
    )
    for path in (root / "concepts" / "octo", root / "adapters" / "octo.v1.safetensors"):
        item = trash.put(path, what="thing")
        assert not path.exists() and trash.restore(item.id) == path
    assert _outside(root) == before
    assert (root / "adapters" / "octo.v1.safetensors").read_text() == "adapter"


def test_the_folder_of_a_file_must_be_there_to_restore_it(trash: Trash, root: Path) -> None:
    photograph = trash.put(root / "concepts" / "octo" / "00.png", what="photograph")
    adapter = trash.put(root / "adapters" / "octo.v1.safetensors", what="adapter")
    concept = trash.put(root / "concepts" / "octo", what="concept")
    with pytest.raises(InputError, match="was in is gone; restore that folder first"):
        trash.restore(photograph.id)
    shutil.rmtree(root / "adapters")
    shutil.rmtree(root / "concepts")
    for item in (adapter, concept, photograph):
        trash.restore(item.id)
    assert (root / "concepts" / "octo" / "00.png").read_text() == "00.png"


NOTES: dict[str, Any] = {
    "nothing": b"",
    "no JSON": b"{not json",
    "a list": b"[]",
    "100 000 lists": b"[" * 100_000,
    "a megabyte": b" " * 2**20,
    "binary": b"\x80\x04]q.",
    **{
        f"origin {origin!r}": {"origin": origin}
        for origin in (
            "../../x/00.png", "/etc/00.png", "concepts/../../x/00.png", "concepts//00.png", "concepts/./00.png",
            "00.png", "", "concepts/00.png\0", "trash/00.png", "TRASH/00.png", "concepts/" + "x" * 2000 + "/00.png",
            "concepts/octo/other.png", "concepts/octo/00.png/", 7, None, ["concepts/00.png"],
        )
    },
    **{
        f"companions {found!r:.40}": {"companions": found}
        for found in (["../00.txt"], ["/etc/passwd"], [""], ["."], [".."], ["a/b"], [7], "00.txt", ["x"] * 1000)
    },
    **{f"when {when!r}": {"when": when} for when in (-1, 1e300, "now", None, [1])},
    **{f"what {what!r}": {"what": what} for what in ("", "\x1b[2J", "a\nb", "<b>", "x" * 50, 5)},
    "another format": {"format": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", NOTES)
def test_a_note_that_anybody_wrote_leads_nowhere(name: str, trash: Trash, root: Path) -> None:
    good = trash.put(root / "adapters" / "octo.v1.safetensors", what="adapter")
    item = trash.put(root / "concepts" / "octo" / "00.png", root / "concepts" / "octo" / "00.txt", what="photograph")
    path = root / "trash" / item.id / "item.json"
    changes = NOTES[name]
    path.write_bytes(
        changes if isinstance(changes, bytes) else json.dumps(json.loads(path.read_text()) | changes).encode()
    )
    before = _outside(root)
    (found,) = (one for one in trash.items() if one.id == item.id)
    assert (
        found.fault and found.what == "unknown" and all(printable(text) == text for text in (found.name, found.fault))
    )
    for use in (trash.restore, trash.content):
        with pytest.raises(InputError, match="what the trash notes of"):
            use(item.id)
    assert _outside(root) == before
    trash.remove(item.id)
    assert [one.id for one in trash.items()] == [good.id]


def test_what_somebody_else_put_into_the_trash_is_survived(trash: Trash, root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "content").mkdir(parents=True)
    (precious / "content" / "file").write_text("precious")
    folder = root / "trash"
    folder.mkdir()
    (folder / ("a" * 16)).symlink_to(precious)
    (folder / ("b" * 16)).write_text("a file")
    (folder / ("c" * 16)).mkdir()
    os.mkfifo(folder / ("c" * 16) / "item.json")
    (folder / ("d" * 16)).mkdir()
    (folder / ("d" * 16) / "content").symlink_to(precious / "content")
    note = {"what": "file", "origin": "concepts/file", "when": 0}
    (folder / ("d" * 16) / "item.json").write_text(json.dumps(note))
    (folder / "nonsense").write_text("x")
    assert {item.id[0] for item in trash.items() if item.fault} == set("abcd") and len(trash.items()) == 4
    assert trash.empty(older_than_days=0) == 4
    assert trash.items() == [] and (precious / "content" / "file").read_text() == "precious"
    assert (folder / "nonsense").exists()


@pytest.mark.parametrize(
    "item_id", ["", "..", "../concepts", "0" * 16, "0" * 15, "A" * 16, "\0", "item.json", "x" * 1000]
)
def test_an_id_that_is_none_is_refused(item_id: str, trash: Trash, root: Path) -> None:
    trash.put(root / "concepts" / "octo" / "00.png", what="photograph")
    before = tree(root)
    for use in (trash.restore, trash.remove, trash.content):
        with pytest.raises(InputError, match="in the trash"):
            use(item_id)
    assert {path: kind for path, kind in tree(root).items() if not path.endswith(".lock")} == before


def test_old_items_go_for_good_and_young_ones_stay(trash: Trash, root: Path) -> None:
    old = trash.put(root / "concepts" / "octo", what="concept")
    young = trash.put(root / "adapters" / "octo.v1.safetensors", what="adapter")
    path = root / "trash" / old.id / "item.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"when": time.time() - 31 * 86_400}))
    (root / "trash" / ".0123.gone").mkdir()
    assert trash.empty() == 1 and trash.empty() == 0
    assert [item.id for item in trash.items()] == [young.id] and not (root / "trash" / ".0123.gone").exists()
    assert trash.empty(older_than_days=0) == 1 and trash.items() == []
    assert Trash(Workspace(root / "new")).empty() == 0 and Trash(Workspace(root / "new")).items() == []


def test_of_many_who_restore_one_item_one_does(trash: Trash, root: Path) -> None:
    item = trash.put(root / "concepts" / "octo", what="concept")

    def restore(_: int) -> bool:
        try:
            trash.restore(item.id)
        except InputError:
            return False
        return True

    with ThreadPoolExecutor(6) as tabs:
        assert sum(tabs.map(restore, range(12))) == 1
    assert len(list((root / "concepts").iterdir())) == 1
