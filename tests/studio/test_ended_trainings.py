from collections.abc import Iterator
from pathlib import Path

import pytest

from spectral_diffusion.errors import SlotError
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.studio.assignments import assign, release
from spectral_diffusion.studio.board import read_board
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.holders import table_html
from spectral_diffusion.studio.parts.strip import strip_value
from tests.adapters.making import make_adapter
from tests.command_line import write_concept
from tests.studio.boards import BOARD, board_desk, ended_training, states, train
from tests.studio.desks import desks_in


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with board_desk(tmp_path) as desk:
        yield desk


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("no memory", "training failed: retry or remove it in Train"),
        (None, "training cancelled: resume or remove it in Train"),
    ],
)
def test_columns_that_an_ended_training_keeps_are_told_as_such(desk: Desk, why: str | None, words: str):
    job = ended_training(desk, "mug", 3, why=why, step=5)
    board = read_board(desk)
    (held,) = board.of("mug")
    assert (held.slot, held.state, held.words) == (ColumnSlot(6, 2), "half-trained", words)
    assert words in table_html(board)
    assert [drawn["words"] for drawn in strip_value(board)["ranges"]] == [words]
    assert board.as_dict()["holders"][0]["ended"] == job.state
    with pytest.raises(SlotError, match=r"mug is half-trained in columns 6-7: .*; try its training again in Train, or"):
        assign(desk, "mug", 0)
    assert assign(desk, "mug", "auto") == ColumnSlot(6, 2)
    # What is said helps: it goes on there, or gives them back.
    desk.studio.queue.retry(job.id)
    assert states(read_board(desk)) == {"mug": (6, "in training")}
    desk.studio.queue._client.cancel_workflow(job.id)
    desk.studio.queue.remove(job.id)
    assert read_board(desk).holdings == ()


def test_columns_of_an_adapter_that_never_came_to_its_place_are_told_and_freed_too(desk: Desk):
    job = ended_training(desk, "mug", 3)
    work = JobFolder.of(desk.studio.queue.store, job.id).work
    make_adapter("mug", 3).save(work / "mug.safetensors")
    assert read_board(desk).of("mug")[0].words == "training failed: retry or remove it in Train"
    desk.studio.queue.remove(job.id)
    assert read_board(desk).holdings == ()


def test_who_ended_before_the_first_checkpoint_is_reserved_and_says_why(desk: Desk):
    job = ended_training(desk, "mug", 3)
    (held,) = read_board(desk).of("mug")
    assert (held.state, held.ended) == ("reserved", "failed")
    assert held.words == "reserved, and its training failed: retry it in Train, or release it"
    assert assign(desk, "mug", 4) == ColumnSlot(8, 2), "a reservation moves"
    assert release(desk, "mug") == ColumnSlot(8, 2)
    assert read_board(desk).holdings == ()
    desk.studio.queue.remove(job.id)
    assign(desk, "mug", 1)
    assert read_board(desk).of("mug")[0].words == "reserved"


def test_a_concept_that_was_trained_since_or_on_another_model_has_no_failed_training(desk: Desk):
    ended_training(desk, "mug", 3)
    train(desk, "mug", 3)
    assert read_board(desk).of("mug")[0].words == "trained"
    desk.studio.config = desk.studio.config.override({"base": "another"})
    ended_training(desk, "rover", 4)
    assert read_board(desk).of("rover")[0].words == "reserved"


def test_of_a_failed_training_of_somebody_else_nothing_is_told(tmp_path: Path):
    with desks_in(tmp_path, **BOARD) as (ada, ben):
        for desk in (ada, ben):
            write_concept(desk.workspace.concepts / "mug", "dog", 3)
        ended_training(ada, "mug", 3, step=5)
        assign(ben, "mug", 3)
        assert [read_board(desk).of("mug")[0].ended for desk in (ada, ben)] == ["failed", None]
