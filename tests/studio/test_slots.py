from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spectral_diffusion.diffusion.library import delete_adapter
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.jobs.specs import TrainSpec
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.studio import slots
from spectral_diffusion.studio.advanced import read_recipe
from spectral_diffusion.studio.assignments import assign, assign_all, release
from spectral_diffusion.studio.board import read_board
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.holders import room_words
from spectral_diffusion.studio.recipes import DEFAULT_RECIPE
from spectral_diffusion.studio.train import train as train_now
from tests.command_line import write_concept
from tests.studio.boards import board_desk, states, train


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with board_desk(tmp_path) as desk:
        yield desk


def drop(desk: Desk, concept: Any, slot: Any) -> list[Any]:
    return slots._place(desk, concept, slot, None)


def test_a_reservation_moves_and_what_is_taken_is_refused_with_names(desk: Desk):
    train(desk, "octo", 0)
    assert assign(desk, "mug", "auto") == ColumnSlot(2, 2)
    assert assign(desk, "mug", 5) == ColumnSlot(10, 2)
    with pytest.raises(SlotError, match=r"slot 0 \(columns 0-1\).* held by octo \(columns 0-1\); free are 1, 2, 3, 4"):
        assign(desk, "mug", 0)
    with pytest.raises(SlotError, match=r"held by mug \(columns 10-11\)"):
        assign(desk, "rover", 5)
    for beyond in (-1, 6):
        with pytest.raises(SlotError, match=f"slot {beyond} of 2 columns does not exist"):
            assign(desk, "rover", beyond)
    assert states(read_board(desk)) == {"octo": (0, "trained"), "mug": (10, "reserved")}


def test_what_is_trained_stays_where_its_file_says(desk: Desk):
    train(desk, "octo", 1)
    with pytest.raises(SlotError, match=r"octo is trained in columns 2-3: .*; train it again"):
        assign(desk, "octo", 0)
    assert assign(desk, "octo", 1) == assign(desk, "octo", "auto") == ColumnSlot(2, 2)
    with pytest.raises(InputError, match=r"octo is trained: columns 2-3 are changed by octo.safetensors; delete"):
        release(desk, "octo")
    delete_adapter(desk.workspace, "octo.safetensors")
    assert "octo" not in states(read_board(desk)), "its columns went with its file"
    assert assign(desk, "octo", 0) == ColumnSlot(0, 2)


def test_moving_what_is_trained_offers_to_train_it_again_there(desk: Desk):
    train(desk, "octo", 0)
    assign(desk, "mug", 3)
    answer = drop(desk, "octo", 4)
    assert answer[4].visible is True
    assert "octo is trained in columns 0-1" in answer[5]
    assert "slot 4 (columns 8-9)" in answer[5]
    assert answer[6] == {"concept": "octo", "slot": 4}
    assert states(read_board(desk))["octo"] == (0, "trained")
    job = slots.queue_again(desk, answer[6])
    assert isinstance(job.spec, TrainSpec)
    assert ([concept.name for concept in job.spec.concepts], job.spec.slot) == (["octo"], 4)
    by_name = read_recipe(desk.studio.config, DEFAULT_RECIPE)[0]
    assert job.spec.config == by_name.model_dump(mode="json"), "as the Train screen trains"
    assert 0 < by_name.training.sample_every < by_name.training.steps, "sample pictures come"
    assert states(read_board(desk))["octo"] == (0, "in training")
    with pytest.raises(InputError, match="octo is in a training that has not ended"):
        slots.queue_again(desk, answer[6])
    with pytest.raises(SlotError, match=r"slot 3 \(columns 6-7\) is held by mug"):
        drop(desk, "octo", 3)


def test_nothing_is_offered_where_there_are_no_photographs(desk: Desk):
    train(desk, "spot", 0)
    with pytest.raises(SlotError, match="spot is trained in columns 0-1"):
        drop(desk, "spot", 4)
    with pytest.raises(InputError, match="no photographs of spot"):
        slots.queue_again(desk, {"concept": "spot", "slot": 4})
    with pytest.raises(InputError, match="no training was offered"):
        slots.queue_again(desk, "octo")


def test_a_concept_in_training_keeps_what_it_holds(desk: Desk):
    assign(desk, "mug", 3)
    slots.queue_again(desk, {"concept": "mug", "slot": 3})
    assert states(read_board(desk)) == {"mug": (6, "in training")}
    for change in (lambda: assign(desk, "mug", 1), lambda: release(desk, "mug")):
        with pytest.raises(InputError, match="mug is in a training that has not ended; wait for it, or cancel"):
            change()
    assert assign_all(desk).slots == {"octo": ColumnSlot(0, 2), "rover": ColumnSlot(2, 2)}


def test_all_get_a_slot_until_none_is_left(desk: Desk):
    every = {name: ColumnSlot(2 * number, 2) for number, name in enumerate(("mug", "octo", "rover"))}
    assert assign_all(desk) == (every, None)
    assert assign_all(desk) == ({}, None)
    for number in range(4):
        write_concept(desk.workspace.concepts / f"toy{number}", "dog", number)
    said = slots.given_words(assign_all(desk))
    assert said.startswith("toy0 has columns 6-7 now, toy1 has columns 8-9 now, toy2 has columns 10-11 now. No more")
    assert "none of the 6 slots of 2 columns" in said.casefold() and "No slot is free: release" in said
    with pytest.raises(SlotError, match=r"none of the 6 slots of 2 columns .* is free; .*no slot is free: release"):
        assign_all(desk)
    board = read_board(desk)
    assert (board.free, board.without) == ([], ("toy3",))
    assert room_words(board).startswith("None of the 6 slots is free.")


def test_a_reservation_is_given_back(desk: Desk):
    assign(desk, "mug", 3)
    assert release(desk, "mug") == ColumnSlot(6, 2)
    assert read_board(desk).holdings == ()
    with pytest.raises(InputError, match="'mug' holds no slot; none is held"):
        release(desk, "mug")


@pytest.mark.parametrize("slot", [None, "1", 1.5, True, float("nan"), -2, 10**9])
def test_forged_slots_are_refused_in_words(desk: Desk, slot: Any):
    with pytest.raises(InputError):
        slots.assign_slot(desk, "mug", slot)
    assert read_board(desk).holdings == ()


@pytest.mark.parametrize("concept", ["", "no such one", "../octo", "<b>", "x" * 10_000])
def test_forged_concepts_are_refused_in_words(desk: Desk, concept: str):
    for change in (lambda: slots.assign_slot(desk, concept, 1), lambda: slots.release_slot(desk, concept)):
        with pytest.raises(InputError) as told:
            change()
        assert len(str(told.value)) < 400
    assert not desk.workspace.ledger_path.exists()


def test_programs_assign_and_release_by_name(desk: Desk):
    assert slots.assign_slot(desk, "mug", 2) == {"concept": "mug", "start": 4, "width": 2}
    assert slots.assign_slot(desk, "octo", -1) == {"concept": "octo", "start": 0, "width": 2}
    assert slots.release_slot(desk, "mug") == {"concept": "mug", "start": 4, "width": 2}


def test_the_screen_shows_the_truth_whatever_was_chosen(desk: Desk):
    train(desk, "octo", 0)
    answer = slots._values(desk, "gone")
    assert [choice for choice, _ in answer[3].choices] == ["mug", "octo", "rover"]
    assert answer[3].value == "mug"
    assert answer[4].visible is False
    assert answer[-1].active is False


def test_a_screen_that_follows_leaves_what_was_chosen_meanwhile(desk: Desk):
    choice = slots._values(desk, "octo")[3]
    assert [name for name, _ in choice.choices] == ["mug", "octo", "rover"]
    assert "value" not in choice.constructor_args


def test_a_training_that_holds_no_columns_yet_is_followed(desk: Desk):
    train_now(desk, ["mug"], "quick")
    assert "mug" in read_board(desk).without
    assert slots._values(desk, "mug")[-1].active is True
