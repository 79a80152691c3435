from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from spectral_diffusion.diffusion.dataset import load_concept
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.submission import train_spec
from spectral_diffusion.studio import concept_words, concepts
from spectral_diffusion.studio.added_photographs import add_photographs_to
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.workspace import SAMPLES
from tests.command_line import write_concept
from tests.studio.desks import desk_in
from tests.studio.screens import STATE, Screen, picture, sent, with_workspace


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with desk_in(tmp_path / "work") as desk:
        yield desk


def test_a_name_gives_token_and_class_word_until_a_person_writes_their_own(desk: Desk) -> None:
    assert concept_words.follow(desk, "Blue Cup", "", "", ["", ""]) == [
        "<Blue-Cup>",
        "Blue Cup",
        ["<Blue-Cup>", "Blue Cup"],
    ]
    given = ["<Blue-Cup>", "Blue Cup"]
    assert concept_words.follow(desk, "Cup", "<Blue-Cup>", "mug", given) == ["<Cup>", "mug", ["<Cup>", "Cup"]]
    assert concept_words.follow(desk, "...", "", "", None) == ["", "", ["", ""]]


def test_a_new_concept_is_made_and_looked_at_and_toybox_says_what_it_draws(screen: Screen) -> None:
    making, *fields, results, kept, listed, detail, heading = screen.do(
        "make", dict(STATE), "Tea Pot", "<pot>", "teapot", "blue teapot"
    )[:11]
    assert not making.visible and fields == ["", "", "", "", ["", ""]] and detail.visible
    assert results == "" and kept["concept"] == "Tea-Pot"
    assert [item["folder"] for item in listed if item["on"]] == ["Tea-Pot"]
    assert "as a toy" in heading and "<pot>" not in heading and "&lt;pot&gt;" in heading and "blue teapot" in heading
    assert (screen.desk.workspace.concepts / "Tea-Pot" / "concept.toml").is_file()


def test_a_concept_without_a_name_is_refused(screen: Screen) -> None:
    with pytest.raises(gr.Error, match="no name"):
        screen.do("make", dict(STATE), "  ", "", "", "")


def test_a_token_that_another_concept_has_is_refused_with_its_name(screen: Screen) -> None:
    with pytest.raises(gr.Error, match="concept mug has the token"):
        screen.do("make", dict(STATE), "cup", "<mug>", "cup", "")


def test_a_new_name_with_words_that_are_refused_changes_nothing(desk: Desk) -> None:
    folder = write_concept(desk.workspace.concepts / "mug", "mug", 1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (concept,) = [one for one in concepts.list_concepts(desk.workspace) if one.folder == "mug"]
    with pytest.raises(InputError, match="class word"):
        concept_words.save(desk, concept, "cup", "<cup>", "<<<", "")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert concept_words.save(desk, concept, "cup", "<cup>", "cup", "white cup") == "cup"
    assert load_concept(desk.workspace.concepts / "cup").description == "white cup"


def test_a_deleted_concept_comes_back(screen: Screen) -> None:
    kept = screen.do("throw_away", {**STATE, "concept": "mug"})[1]
    assert not (screen.desk.workspace.concepts / "mug").exists() and kept["undo"]["name"] == "mug"
    kept = screen.do("bring_back", kept)[0]
    assert kept["concept"] == "mug" and load_concept(screen.desk.workspace.concepts / "mug")


def test_things_come_back_in_a_workspace_named_by_a_relative_path(
    stage: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    screen = with_workspace(stage, Path("."))
    kept = screen.do("throw_away", {**STATE, "concept": "mug"})[1]
    assert screen.do("bring_back", kept)[0] == {"concept": "mug", "photograph": None, "undo": None}
    kept = screen.do("remove", {**STATE, "concept": "mug", "photograph": "0.png"})[0]
    assert screen.do("bring_back", kept)[0] == {"concept": "mug", "photograph": "0.png", "undo": None}


def test_a_concept_keeps_its_name_while_its_training_waits(desk: Desk) -> None:
    write_concept(desk.workspace.concepts / "mug", "mug", 1)
    (concept,) = [one for one in concepts.list_concepts(desk.workspace) if one.folder == "mug"]
    loaded = load_concept(desk.workspace.concepts / "mug")
    desk.submit(lambda store: train_spec(store, desk.workspace, desk.studio.config, [loaded]))
    with pytest.raises(InputError, match=r"mug is in a training that has not ended.*; wait for it, or cancel"):
        concept_words.save(desk, concept, "cup", "<mug>", "cup", "")
    assert concept_words.save(desk, concept, "mug", "<mug>", "mug", "white") == "mug", "other words may change"


def test_draw_with_a_concept_ticks_its_adapter_file(screen: Screen) -> None:
    assert screen.do("to_create", {**STATE, "concept": "mug"})[0] == ["mug.safetensors"]


def test_samples_that_are_there_are_not_told_and_what_stands_in_their_way_is(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Info", lambda words, **_: said.append(words))
    monkeypatch.setattr(gr, "Warning", lambda words, **_: said.append(words))
    screen.do("put_samples_back", dict(STATE))
    said.clear()
    screen.do("put_samples_back", dict(STATE))
    assert said == ["All of them are there."]
    workspace, first, second = screen.desk.workspace, SAMPLES[0], SAMPLES[1]
    (workspace.adapters / f"{first}.safetensors").write_bytes(b"another")
    next((workspace.concepts / second).glob("*.png")).write_bytes(b"another")
    said.clear()
    screen.do("put_samples_back", dict(STATE))
    assert len(said) == 2 and f"adapter of {first}" in said[0] and f"{second}: " in said[1]
    assert "not the sample" in said[1] and str(workspace.root) not in "".join(said)


def test_the_samples_come_back_each_time(screen: Screen) -> None:
    screen.do("put_samples_back", dict(STATE))
    folders = {item["folder"] for item in concepts.concepts(screen.desk)}
    assert folders == {"mug", *SAMPLES}
    heading = screen.do("pick", dict(STATE), told={"folder": SAMPLES[0]})[5]
    assert SAMPLES[0] in heading and "as a toy" not in heading


def test_what_is_gone_makes_room_for_another(screen: Screen) -> None:
    shown = screen.do("refresh", {"concept": "gone", "photograph": "x", "undo": None})
    assert shown[0] == {"concept": "mug", "photograph": None, "undo": None}
    screen.do("throw_away", {**STATE, "concept": "mug"})
    assert screen.do("refresh", dict(STATE))[0]["concept"] is None


def test_programs_list_concepts_and_add_photographs(screen: Screen) -> None:
    path = sent(screen.desk, "a.png", picture(9))
    told = add_photographs_to(screen.desk, "new cup", [{"path": str(path)}, {"path": str(sent(screen.desk, "b", b""))}])
    assert [one["stored"] for one in told] == ["00.png", None] and told[1]["refused"]
    assert [(one["folder"], one["count"]) for one in concepts.concepts(screen.desk)] == [("mug", 2), ("new-cup", 1)]
    wrong: list[Any] = [[], [None], "x", [{"path": "/etc/passwd"}]]
    for files in wrong:
        with pytest.raises(InputError):
            add_photographs_to(screen.desk, "mug", files)
