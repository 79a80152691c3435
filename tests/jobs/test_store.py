"""The jobs' files, in a folder and in a place that only fsspec reaches: the same laws."""

import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.ledger import ledger_of
from spectral_diffusion.jobs.publishing import digest, publish
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.workspace import Workspace


@pytest.fixture(params=["folder", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    root = {
        "folder": str(tmp_path / "store"),
        "file": f"file://{tmp_path / 'store'}",
        "memory": f"memory://{uuid.uuid4().hex}",
    }[request.param]
    # A place in memory is for one process only, as this test is.
    yield Store(root) if request.param == "memory" else Store.locate(Workspace(tmp_path), root)
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()


def test_what_is_written_is_read_and_listed_and_removed(store: Store) -> None:
    assert store.read("a/b.txt") is None and not store.exists("a/b.txt") and store.names("a") == []
    store.write("a/b.txt", b"one")
    store.write("a/c/d.txt", b"two")
    store.write("a/b.txt", b"three")
    assert store.read("a/b.txt") == b"three"
    assert store.names("a") == ["a/b.txt", "a/c/d.txt"]
    store.remove("a/c")
    store.remove("a/c")
    assert store.names("a") == ["a/b.txt"]


def test_a_blob_is_kept_once_and_found_by_its_content(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")
    name = store.add_blob(tmp_path / "x")
    assert store.add_blob(tmp_path / "x") == name
    assert store.blob(name).read_bytes() == b"content"
    assert [found for found in store.names("jobs/blobs") if ".lock" not in found] == [f"jobs/blobs/{name}"]
    with pytest.raises(InputError, match="is gone"):
        store.blob("0" * 64)
    with pytest.raises(InputError, match="there is no file"):
        store.add_blob(tmp_path / "nowhere")


def test_publishing_twice_or_in_part_gives_the_same_files(store: Store) -> None:
    folder = JobFolder.of(store, "abc")
    for name in ("one.png", "two.png"):
        (folder.work / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.work / name).write_bytes(name.encode())
    made = {
        "files": {
            name: {"to": f"images/{name}", "sha256": digest(folder.work / name)} for name in ("one.png", "two.png")
        },
        "answer": {"ok": True},
    }
    store.put(folder.work / "one.png", "images/one.png")
    for _ in range(2):
        assert publish(folder, made) == {"files": ["images/one.png", "images/two.png"], "answer": {"ok": True}}
    assert store.names("images") == ["images/one.png", "images/two.png"]
    assert store.read("images/two.png") == b"two.png"
    store.write("images/two.png", b"of somebody else")
    with pytest.raises(InputError, match="is gone"):
        publish(folder, made)


def test_a_job_goes_on_elsewhere_with_what_was_pushed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.folder is not None:
        pytest.skip("there is nothing to push to a folder")
    monkeypatch.setenv("SPECTRAL_DIFFUSION_CACHE", str(tmp_path / "one"))
    here = JobFolder.of(store, "abc")
    here.work.mkdir(parents=True)
    (here.work / "checkpoint").write_bytes(b"step 5")
    (here.work / ".half-written").write_bytes(b"?")
    here.push()
    (here.work / "checkpoint").write_bytes(b"step 10")
    here.push()
    monkeypatch.setenv("SPECTRAL_DIFFUSION_CACHE", str(tmp_path / "two"))
    there = JobFolder.of(store, "abc")
    assert there.path != here.path
    there.pull()
    assert (there.work / "checkpoint").read_bytes() == b"step 10"
    assert not (there.work / ".half-written").exists()


def test_the_ledger_of_a_store_is_one_wherever_it_is(store: Store, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    for machine, concept in (("one", "octo"), ("two", "spot")):
        scratch = tmp_path / machine
        scratch.mkdir()
        ledger_of(store, database, scratch).claim("toybox", {"unet": "f"}, concept, 4, 8)
    holders = ledger_of(store, database, tmp_path / "one").holders()
    assert sorted((claim.concept, claim.start) for claim in holders) == [("octo", 0), ("spot", 4)]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "~/x/../../../x"])
def test_no_name_leads_out_of_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_text("secret")
    store = Store(str(tmp_path / "store"))
    for act in (store.read, store.exists, store.remove, store.names, lambda name: store.write(name, b"")):
        with pytest.raises(InputError, match="outside"):
            act(name)
    assert (tmp_path / "x").read_text() == "secret"


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_no_symbolic_link_leads_out_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "adapters").symlink_to(tmp_path / "elsewhere")
    store = Store(str(tmp_path / "store"))
    with pytest.raises(InputError, match="outside"):
        store.write("adapters/x", b"")
    with pytest.raises(InputError, match="outside"):
        store.name_of(tmp_path / "store" / "adapters")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_place_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--store nonsense://x cannot be used"):
        Store.locate(Workspace(tmp_path), "nonsense://x")
    with pytest.raises(InputError, match="one process only"):
        Store.locate(Workspace(tmp_path), "memory://x")


@pytest.mark.parametrize(
    "address",
    ["ftp://me:SECRET@127.0.0.1:1/x", "sftp://SECRET@h/x", "s3://b/x?key=SECRET", "nonsense://u:SECRET@[h/x"],
)
def test_no_password_of_a_place_is_shown(tmp_path: Path, address: str) -> None:
    assert "SECRET" not in str(Store(address))
    with suppress(InputError):
        Store.locate(Workspace(tmp_path), address)
        pytest.skip("this kind of place is known here, and is not asked before it is used")
    with pytest.raises(InputError) as caught:
        Store.locate(Workspace(tmp_path), address)
    assert "SECRET" not in str(caught.value)


def test_what_nobody_needs_is_removed_and_what_is_new_or_needed_stays(store: Store, tmp_path: Path) -> None:
    names = {}
    for word in ("needed", "old"):
        (tmp_path / word).write_text(word)
        names[word] = store.add_blob(tmp_path / word)
    store.remove_old_blobs(set(), 3600)
    assert len(store.names("jobs/blobs")) == 2
    store.remove_old_blobs({names["needed"]}, -1)
    assert store.names("jobs/blobs") == [f"jobs/blobs/{names['needed']}"]


@pytest.mark.skipif(os.name != "posix", reason="devices and pipes")
def test_only_ordinary_files_are_kept(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe", tmp_path):
        with pytest.raises(InputError):
            store.add_blob(path)
    assert store.names("jobs") == []


def test_a_workspace_is_the_store_a_folder_in_it_or_a_place_of_its_own(tmp_path: Path) -> None:
    ann, elsewhere = Workspace(tmp_path / "users" / "ann"), Workspace(tmp_path.parent / "elsewhere")
    store, remote = Store(str(tmp_path)), Store("memory://x")
    assert [store.home(Workspace(tmp_path)), store.home(ann), store.home(elsewhere)] == ["", "users/ann", ""]
    assert store.place(Workspace(tmp_path), tmp_path / "adapters") == "adapters"
    assert store.place(ann, ann.adapters) == "users/ann/adapters"
    assert store.place(elsewhere, elsewhere.images) == "images"
    assert remote.place(elsewhere, elsewhere.images) == "images"
    for path in (tmp_path.parent / "x", elsewhere.root / ".." / "x", Path("/etc")):
        with pytest.raises(InputError, match="outside"):
            store.place(ann, path)
        with pytest.raises(InputError, match="not in the store"):
            remote.place(elsewhere, path)
    # Another folder of the same store is a fine place, and a ledger of its own.
    assert store.place(ann, tmp_path / "shared") == "shared"
    database = Database(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    ledger_of(store, database, tmp_path, "users/ann").claim("toybox", {"unet": "f"}, "octo", 4, 8)
    assert (ann.root / "ledger.json").is_file() and not (tmp_path / "ledger.json").exists()
