from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from spectral_diffusion.diffusion.library import AdapterSummary
from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import load_fused
from spectral_diffusion.jobs.specs import ConceptInput, build_spec
from spectral_diffusion.ledger import Claim
from spectral_diffusion.studio import files
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.fused_files import suggested_name, write_fused
from spectral_diffusion.studio.open_jobs import concepts_in_training
from spectral_diffusion.studio.parts.adapter_table import amount, facts
from spectral_diffusion.studio.parts.cards import Ticked
from spectral_diffusion.studio.parts.trash_list import bring_back, erase, listed_trash
from spectral_diffusion.trash import Trash
from tests.adapters.making import make_adapter
from tests.studio.desks import studio_in, write_adapters
from tests.studio.screens import Screen, offer_of, screen_of, sent, with_workspace


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with closing(studio_in(tmp_path_factory.mktemp("stage") / "work")) as studio:
        yield screen_of(studio, files.build)


@pytest.fixture
def screen(stage: Screen, tmp_path: Path) -> Screen:
    """The screen with three adapters; mug and octo are in slots of their own, cup meets mug."""
    screen = with_workspace(stage, tmp_path / "work")
    write_adapters(screen.desk.workspace.adapters, mug=0, octo=1, cup=0)
    return screen


@pytest.fixture
def desk(screen: Screen) -> Desk:
    return screen.desk


def names(desk: Desk) -> list[str]:
    return sorted(summary.file_name.removesuffix(".safetensors") for summary in desk.adapters())


def foreign(tmp_path: Path, name: str, slot: int) -> bytes:
    (path,) = write_adapters(tmp_path, **{name: slot})
    return path.read_bytes()


# Looking.


def test_a_pressed_file_tells_what_is_in_it_and_can_be_saved(screen: Screen) -> None:
    kept, listed, _, known, download, name, *_ = screen.do("pick", told={"file": "octo.safetensors"})
    assert kept == {"file": "octo.safetensors"} and [item["title"] for item in listed if item["on"]] == ["octo"]
    assert "&lt;octo&gt;" in known and "2-3" in known and name == "octo"
    copy = Path(download["value"] if isinstance(download, dict) else download.value["path"])
    assert copy.read_bytes() == (screen.desk.workspace.adapters / "octo.safetensors").read_bytes()


def test_a_damaged_file_is_listed_with_its_fault(screen: Screen) -> None:
    (screen.desk.workspace.adapters / "bad.safetensors").write_bytes(b"nothing")
    item = next(item for item in files.view(screen.desk, None)[1] if item["title"] == "bad")
    assert item["fault"] and not item["columns"]
    assert "notice" in screen.do("pick", told={"file": "bad.safetensors"})[3]


def test_names_in_files_are_no_markup() -> None:
    shown = facts(AdapterSummary(Path("<b>x</b>.safetensors"), 7, 0.0, (), "it is <i>bad</i>"))
    assert "<b>x" not in shown and "<i>" not in shown


def test_sizes_are_said_as_people_say_them() -> None:
    assert [amount(size) for size in (12, 1_500, 784_184, 4_500_000, 2_340_000_000)] == [
        "12 bytes",
        "2 KB",
        "784 KB",
        "4.5 MB",
        "2.34 GB",
    ]


# Bringing in.


def test_imports_end_in_words_each(desk: Desk, tmp_path: Path) -> None:
    offer = offer_of(
        desk,
        new__safetensors=foreign(tmp_path, "vase", 3),
        bad__safetensors=b"x" * 100,
        picture__png=b"\x89PNG",
        same__safetensors=(desk.workspace.adapters / "mug.safetensors").read_bytes(),
    )
    found, last = files.import_offer(desk, offer)
    said = {one.name: one for one in found}
    assert said["new.safetensors"].stored and last is not None
    assert said["same.safetensors"].notes and not said["same.safetensors"].stored
    for name in ("bad.safetensors", "picture.png"):
        assert said[name].refused and str(desk.studio.grants.folder) not in said[name].refused
    assert len(names(desk)) == 4


def test_programs_list_and_import_adapters(desk: Desk, tmp_path: Path) -> None:
    path = sent(desk, "vase.safetensors", foreign(tmp_path, "vase", 3))
    told = files.import_adapter_file(desk, {"path": str(path)})
    assert told["new"] and told["file"] in [one["file"] for one in files.adapters(desk)]
    assert next(one for one in files.adapters(desk) if one["file"] == told["file"])["tokens"] == ["<vase>"]
    wrong: list[Any] = [None, {}, {"path": "/etc/passwd"}]
    for file in wrong:
        with pytest.raises(InputError):
            files.import_adapter_file(desk, file)


# Changing.


def test_a_file_is_renamed_and_stays_chosen(screen: Screen) -> None:
    kept = screen.do("give_name", {"file": "mug.safetensors"}, "white mug", [])[0]
    assert kept == {"file": "white-mug.safetensors"} and names(screen.desk) == ["cup", "octo", "white-mug"]
    with pytest.raises(gr.Error, match="octo"):
        screen.do("give_name", kept, "octo", [])
    with pytest.raises(gr.Error, match="any more"):
        screen.do("give_name", {"file": "mug.safetensors"}, "x", [])


def test_a_deleted_adapter_comes_back_with_its_columns(screen: Screen) -> None:
    desk = screen.desk
    desk.ledger.rebuild([Claim.of(make_adapter("octo", 1))])
    shown = screen.do("throw_away", {"file": "octo.safetensors"}, [])
    assert names(desk) == ["cup", "mug"] and shown[0] == {"file": None}
    assert desk.ledger.holders() == []
    (item,) = listed_trash(desk)
    assert "octo" in bring_back(desk, item["id"]) and names(desk) == ["cup", "mug", "octo"]
    assert [claim.concept for claim in desk.ledger.holders()] == ["octo"]


def test_a_concept_in_training_is_known(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = build_spec("train", concepts=(ConceptInput(blob="a" * 64, name="mug"),), config={})
    job = type("Job", (), {"spec": spec})
    jobs = [job, type("Job", (), {"spec": None})]
    monkeypatch.setattr(type(desk), "jobs", lambda *_, **__: jobs)
    assert concepts_in_training(desk) == {"mug": job}


def test_draw_with_a_file_ticks_it(screen: Screen) -> None:
    assert screen.do("to_create", {"file": "octo.safetensors"})[0] == ["octo.safetensors"]


# Fusing.


def test_ticked_files_become_one_with_their_strengths(screen: Screen) -> None:
    desk = screen.desk
    value = [{"id": "mug.safetensors", "on": True, "strength": 0.5}, {"id": "octo.safetensors", "on": True}]
    assert screen.do("tick", value, "", "") == ["mug_octo", "mug_octo"]
    assert screen.do("tick", value, "my own", "mug_octo") == ["my own", "mug_octo"]
    kept = screen.do("write", value, "mug and octo")[0]
    assert kept == {"file": "mug-and-octo.safetensors"}
    fused = load_fused(desk.workspace.adapters / kept["file"])
    assert [(part.adapter.name, part.strength) for part in fused.parts] == [("mug", 0.5), ("octo", 1.0)]


@pytest.mark.parametrize(
    ("chosen", "name", "words"),
    [
        (["mug"], "x", "two adapters"),
        (["mug", "octo"], " ... ", "no name"),
        (["mug", "octo"], "octo", "name of a concept"),
        (["mug", "octo"], "taken", "already"),
        (["mug", "cup"], "x", "columns"),
        (["mug", "gone"], "x", "any more"),
    ],
)
def test_what_cannot_be_fused_leaves_no_file(desk: Desk, chosen: list[str], name: str, words: str) -> None:
    make_adapter("other", 2).save(desk.workspace.adapters / "taken.safetensors")
    before = {path.name: path.read_bytes() for path in desk.workspace.adapters.iterdir()}
    with pytest.raises(InputError, match=words):
        write_fused(desk, [Ticked(f"{one}.safetensors", 1.0) for one in chosen], name)
    assert {path.name: path.read_bytes() for path in desk.workspace.adapters.iterdir()} == before


def test_a_fusion_that_cannot_be_written_leaves_no_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise InputError("the disk is full", "free some space")

    monkeypatch.setattr("spectral_diffusion.fusion.FusedAdapter.save", full)
    chosen = [Ticked("mug.safetensors", 1.0), Ticked("octo.safetensors", 1.0)]
    with pytest.raises(InputError, match="full"):
        write_fused(desk, chosen, suggested_name(desk, chosen))
    assert names(desk) == ["cup", "mug", "octo"]


# The trash.


def test_concepts_and_photographs_come_back_too_and_what_is_erased_does_not(screen: Screen) -> None:
    desk = screen.desk
    folder = desk.workspace.concepts / "mug"
    trash = Trash(desk.workspace)
    trash.put(folder / "0.png", what="photograph")
    gone = trash.put(folder / "1.png", what="photograph")
    assert erase(desk, gone.id) == "1.png"
    trash.put(folder, what="concept")
    ids = [item["id"] for item in listed_trash(desk)]
    assert [bring_back(desk, item_id) for item_id in ids] == ["mug is back.", "0.png is back."]
    assert [path.name for path in folder.glob("*.png")] == ["0.png"] and listed_trash(desk) == []


def test_the_trash_is_emptied_whole(screen: Screen) -> None:
    for name in ("mug", "octo"):
        screen.do("throw_away", {"file": f"{name}.safetensors"}, [])
    shown = screen.do("empty_all", {"file": None})
    assert shown[6] == [] and Trash(screen.desk.workspace).items() == []


@pytest.mark.parametrize("item_id", [None, "", "../adapters", "0" * 16, 7, ["x"]])
def test_what_is_not_in_the_trash_is_told_in_words(desk: Desk, item_id: Any) -> None:
    for act in (bring_back, erase):
        with pytest.raises(InputError, match="not in the trash"):
            act(desk, item_id)
