"""LoRA adapters on the screens: where others have a slot, they say that they hold no columns."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spectral_diffusion.config import load_config
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.specs import TrainSpec
from spectral_diffusion.studio import create, files, slots, train
from spectral_diffusion.studio.assignments import assign, assign_all, note_lost
from spectral_diffusion.studio.board import lost, read_board
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.fused_files import write_fused
from spectral_diffusion.studio.holders import Measurer, overlap_html, room_html, table_html
from spectral_diffusion.studio.model_facts import about_recipe
from spectral_diffusion.studio.parts.adapter_table import facts, listed_adapters
from spectral_diffusion.studio.parts.cards import Ticked
from spectral_diffusion.studio.parts.strip import strip_value
from spectral_diffusion.studio.training_plan import TrainingPlan
from tests.adapters.making import make_adapter
from tests.studio.boards import board_desk, states
from tests.studio.boards import train as train_in
from tests.studio.desks import FACTS, studio_in
from tests.studio.screens import screen_of, sent, with_workspace
from tests.studio.training import foresee, known_desk, on, values

SAID = "no columns (lora)"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Octo is trained in slot 0, mug without columns, alone and fused with octo; rover not at all."""
    with board_desk(tmp_path) as desk:
        train_in(desk, "octo", 0)
        make_adapter("mug", 0, method="lora").save(desk.workspace.adapters / "mug.safetensors")
        chosen = [Ticked("octo.safetensors", 1.0), Ticked("mug.safetensors", 0.5)]
        write_fused(desk, chosen, "both")
        yield desk


def test_the_board_lists_it_apart_and_gives_it_no_slot(desk: Desk) -> None:
    board = read_board(desk)
    assert states(board) == {"octo": (0, "trained")} and lost(board) == [] and board.free == [1, 2, 3, 4, 5]
    (one,) = board.columnless
    assert (one.concept, one.columns, one.files, one.token) == (
        "mug", SAID, ("mug.safetensors", "both.safetensors"), "<mug>",
    )  # fmt: skip
    assert "mug" in board.without, "it may still be given a slot, for another training"
    table = table_html(board)
    assert f"<td>{SAID}</td>" in table and "trained: mug.safetensors, both.safetensors" in table
    assert "mug" not in room_html(board)
    assert len(strip_value(board)["ranges"]) == 1
    assert json.loads(json.dumps(slots.slots(desk)))["columnless"][0]["columns"] == SAID
    assert note_lost(desk) == []


def test_nobody_is_given_a_slot_without_a_need(desk: Desk) -> None:
    assert list(assign_all(desk).slots) == ["rover"]
    assert not assign_all(desk).slots
    assign(desk, "mug", 3)
    assert states(read_board(desk))["mug"] == (6, "reserved")


def test_only_columns_are_compared(desk: Desk) -> None:
    measured = Measurer().measure(desk, read_board(desk))
    assert measured.names == ("octo (columns 0-1)",)
    assert "Two trained concepts are needed" in overlap_html(measured)


def test_the_files_say_it(desk: Desk) -> None:
    listed = {item["title"]: item["columns"] for item in listed_adapters(desk, None)}
    assert listed == {"octo": "columns 0-1", "mug": SAID, "both": f"columns 0-1; {SAID}"}
    told = {each["file"]: each["slots"] for each in files.adapters(desk)}
    assert told["both.safetensors"] == ["columns 0-1", SAID]
    for summary in desk.adapters():
        assert summary.fault == "" and (SAID in facts(summary)) == ("mug" in summary.names)


def test_a_method_of_a_stranger_s_file_is_no_markup(desk: Desk) -> None:
    (summary,) = [each for each in desk.adapters() if each.file_name == "mug.safetensors"]
    forged = summary.parts[0].model_copy(update={"method": "<img src=x>"})
    assert "<img" not in facts(summary.__class__(summary.path, 1, 1.0, (forged,)))


def test_create_fuses_it_and_says_so(desk: Desk) -> None:
    cards = [
        {"id": f"{name}.safetensors", "title": name, "on": True, "strength": strength}
        for name, strength in (("octo", 1.0), ("mug", 0.5))
    ]
    said, prompts = create._after_ticking(desk, cards)
    assert f"octo in columns 0-1, mug with {SAID}." in said and "Fused in" in said
    assert any("<octo>" in prompt and "<mug>" in prompt for prompt in prompts)


def test_an_upload_of_it_reserves_nothing(tmp_path: Path) -> None:
    with closing(studio_in(tmp_path / "work")) as studio:
        screen = with_workspace(screen_of(studio, files.build), tmp_path / "other")
        path = tmp_path / "mug.safetensors"
        make_adapter("mug", 0, method="lora").save(path)
        upload = sent(screen.desk, path.name, path.read_bytes())
        answer = files.import_adapter_file(screen.desk, {"path": str(upload)})
        assert answer == {"file": "mug.safetensors", "notes": [], "new": True}
        assert screen.desk.ledger.holders() == []
        kept, listed, _, known, *_ = screen.do("pick", told={"file": "mug.safetensors"})
        assert kept == {"file": "mug.safetensors"} and listed[0]["columns"] == SAID and SAID in known


def test_training_by_it_is_foreseen_and_queued_without_a_slot(tmp_path: Path) -> None:
    with known_desk(tmp_path) as desk:
        # A full ledger is nothing to it.
        for number in range(4):
            desk.ledger.claim("toybox", FACTS.fingerprints, f"rex{number}", 4, 4, number)
        said = foresee(desk, on("octo", "shelly"), method="lora")
        assert "No columns (lora): no slot is taken." in said and "in columns" not in said and "About" in said
        assert "lora, rate" in said
        refused = foresee(desk, on("octo"), method="lora", slot="0")
        assert "the method lora holds no columns. Leave the slot at auto" in refused
        plan = train.read_plan(desk, on("octo"), "quick", *values(method="lora"))
        assert isinstance(plan, TrainingPlan) and plan.slots(desk) == {}
        with pytest.raises(InputError, match="holds no columns"):
            train.read_plan(desk, on("octo"), "quick", *values(method="lora", slot="0")).submit(desk)
        job = plan.submit(desk)
        assert isinstance(job.spec, TrainSpec) and job.spec.config["training"]["method"] == "lora"
        assert len(desk.ledger.holders()) == 4


def test_the_model_screen_tells_a_recipe_of_it() -> None:
    config = load_config().override({"training.method": "lora"})
    assert about_recipe(config, FACTS)["Method"] == "lora (no columns), rank 4"
    spectral, lora = (about_recipe(each, FACTS)["Training"] for each in (load_config(), config))
    assert spectral.split(":")[0] == lora.split(":")[0]
