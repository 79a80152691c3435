import json
from pathlib import Path
from typing import Any

import pytest

from spectral_diffusion.diffusion.checkpoints import Checkpoint
from spectral_diffusion.diffusion.facts import BaseFacts
from spectral_diffusion.diffusion.library import delete_adapter
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.fusion import fuse_files
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.queue import Job, JobQueue
from spectral_diffusion.jobs.specs import TrainSpec
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.ledger import Claim
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.studio import slots
from spectral_diffusion.studio.advanced import read_recipe
from spectral_diffusion.studio.assignments import assign, assign_all, note_lost, release
from spectral_diffusion.studio.board import Board, lost, read_board
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.guard.grants import Grants
from spectral_diffusion.studio.holders import Measurer, overlap_html, room_words, table_html
from spectral_diffusion.studio.parts.strip import strip_value
from spectral_diffusion.studio.recipes import DEFAULT_RECIPE
from spectral_diffusion.studio.studio import Studio
from spectral_diffusion.workspace import Workspace
from tests.adapters.making import FINGERPRINTS, make_adapter
from tests.command_line import write_concept
from tests.studio.failing import fail

FACTS = BaseFacts(
    name="imaginary",
    is_toybox=False,
    fingerprints=FINGERPRINTS,
    native_size_px=128,
    latent_scale=4,
    dtype="float32",
    size_step_px=8,
    size_min_px=64,
    size_max_px=512,
    training_step_px=8,
    device="cpu",
    device_name="a processor",
    parameters={"unet": 10},
    weights_bytes=40,
    memory_free_bytes=10**9,
    memory_total_bytes=10**10,
    adapted_weights=2,
    narrowest=12,
    column_energy=(0.3, 0.2, 0.1, 0.1, 0.05, 0.05, 0.02, 0.02, 0.01, 0.01),
    batch_size=2,
    resolution_px=128,
    seconds_a_step=0.5,
    step_fits_memory=True,
    seconds_a_sampling_step=0.1,
    seconds_to_decode=0.1,
    seconds_to_encode=0.1,
    seconds_to_decompose=1.0,
)
"""Of the imaginary base of the adapters' tests: six slots of rank 2."""


@pytest.fixture
def studio(tmp_path: Path):
    for name in ("mug", "octo", "rover"):
        write_concept(tmp_path / "concepts" / name, "dog", len(name))
    (tmp_path / "adapters").mkdir()
    (tmp_path / "shown").mkdir()
    queue = JobQueue(Database(f"sqlite:///{tmp_path / 'jobs.sqlite'}"), Store(str(tmp_path)))
    studio = Studio(Workspace(tmp_path), queue, Grants(tmp_path / "shown"))
    studio.config = studio.config.override({"training.rank": 2})
    studio._facts = FACTS
    yield studio
    studio.close()


@pytest.fixture
def desk(studio: Studio) -> Desk:
    return Desk.of(studio, None)


def train(desk: Desk, name: str, number: int, *, noted: bool = True) -> None:
    """As if the concept had been trained there."""
    adapter = make_adapter(name, number)
    adapter.save(desk.workspace.adapters / f"{name}.safetensors")
    if noted:
        desk.ledger.claim("imaginary", FINGERPRINTS, name, 2, 6, number, f"<{name}>")


def states(board: Board) -> dict[str, tuple[int, str]]:
    return {holding.concept: (holding.slot.start, holding.state) for holding in board.holdings}


def drop(desk: Desk, concept: Any, slot: Any) -> list[Any]:
    return slots._place(desk, concept, slot, None)


def test_a_board_says_who_holds_what_what_is_free_and_how_strong_it_is(desk: Desk):
    train(desk, "octo", 0)
    assign(desk, "mug", 2)
    board = read_board(desk)
    assert states(board) == {"octo": (0, "trained"), "mug": (4, "reserved")}
    assert board.without == ("rover",)
    assert (board.capacity, board.free) == (6, [1, 3, 4, 5])
    assert board.energy(ColumnSlot(0, 2)) == pytest.approx(0.5)
    assert board.energy(ColumnSlot(10, 2)) is None, "its columns were not measured"
    assert room_words(board) == "4 of 6 slots are free: 4 more concepts of rank 2 fit."
    table = table_html(board)
    assert all(word in table for word in ("octo.safetensors", "reserved", "50.0 %", "&lt;octo&gt;", "0-1", "4-5"))
    assert json.loads(json.dumps(slots.slots(desk)))["free"] == [1, 3, 4, 5]


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
    assert assign_all(desk) == {"octo": ColumnSlot(0, 2), "rover": ColumnSlot(2, 2)}


def ended_training(desk: Desk, name: str, number: int, *, why: str | None = "no memory", step: int = 0) -> Job:
    """As if a training of the concept there had failed, or without a reason had been cancelled, after so many steps."""
    desk.ledger.claim("imaginary", FINGERPRINTS, name, 2, 6, number, f"<{name}>")
    job = slots.queue_again(desk, {"concept": name, "slot": number})
    if step:
        claim = Claim(concept=name, base="imaginary", fingerprints=FINGERPRINTS, start=2 * number, width=2)
        place = JobFolder.of(desk.studio.queue.store, job.id).work / "checkpoints"
        place.mkdir(parents=True)
        Checkpoint(step, claim, {}, {}, {}).save(place / f"{name}.safetensors")
    if why is not None:
        return fail(desk.studio.queue, job, why)
    # The worker had no time to free anything.
    desk.studio.queue._client.cancel_workflow(job.id)
    return desk.studio.queue.job(job.id)


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
    queue = JobQueue(Database(f"sqlite:///{tmp_path / 'jobs.sqlite'}"), Store(str(tmp_path)))
    (tmp_path / "shown").mkdir()
    studio = Studio(Workspace(tmp_path), queue, Grants(tmp_path / "shown"), has_accounts=True)
    studio.config = studio.config.override({"training.rank": 2})
    studio._facts = FACTS
    for user in ("ada", "ben"):
        write_concept(tmp_path / "users" / user / "concepts" / "mug", "dog", 3)
    ada, ben = Desk.of(studio, "ada"), Desk.of(studio, "ben")
    ended_training(ada, "mug", 3, step=5)
    assign(ben, "mug", 3)
    assert [read_board(desk).of("mug")[0].ended for desk in (ada, ben)] == ["failed", None]
    studio.close()


def test_all_get_a_slot_until_none_is_left(desk: Desk):
    assert assign_all(desk) == {name: ColumnSlot(2 * number, 2) for number, name in enumerate(("mug", "octo", "rover"))}
    assert assign_all(desk) == {}
    for number in range(4):
        write_concept(desk.workspace.concepts / f"toy{number}", "dog", number)
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


def test_columns_of_files_are_held_though_the_ledger_lost_them_and_can_be_noted(desk: Desk):
    train(desk, "octo", 0, noted=False)
    board = read_board(desk)
    assert [(holding.concept, holding.is_noted) for holding in lost(board)] == [("octo", False)]
    assert "the ledger does not know" in table_html(board)
    with pytest.raises(SlotError, match="held by octo"):
        assign(desk, "mug", 0)
    assert assign(desk, "mug", "auto") == ColumnSlot(2, 2)
    assert note_lost(desk) == ["octo"]
    assert [str(claim) for claim in desk.ledger.holders()] == ["octo (columns 0-1)", "mug (columns 2-3)"]
    assert lost(read_board(desk)) == []


def test_a_reservation_elsewhere_yields_to_the_file(desk: Desk):
    train(desk, "octo", 0, noted=False)
    desk.ledger.claim("imaginary", FINGERPRINTS, "octo", 2, 6, 4)
    assert note_lost(desk) == ["octo"]
    assert [str(claim) for claim in desk.ledger.holders()] == ["octo (columns 0-1)"]


def test_concepts_of_a_fused_file_hold_their_columns_until_it_goes(desk: Desk):
    train(desk, "octo", 0)
    path = desk.workspace.adapters / "octo.safetensors"
    fuse_files([(path, 1.0)]).save(desk.workspace.adapters / "both.safetensors")
    make_adapter("octo", 3).save(path)
    desk.ledger.claim("imaginary", FINGERPRINTS, "octo", 2, 6, 3)
    board = read_board(desk)
    assert [(holding.slot.start, holding.is_noted) for holding in board.of("octo")] == [(0, False), (6, True)]
    assert 0 not in board.free
    assert lost(board) == [], "the ledger knows where octo itself is"


def test_other_bases_and_unreadable_files_are_none_of_this_models(desk: Desk):
    desk.ledger.claim("sd15", {"unet": "c" * 64}, "vase", 4, 80, 0)
    (desk.workspace.adapters / "broken.safetensors").write_bytes(b"nothing")
    board = read_board(desk)
    assert (board.holdings, board.elsewhere) == ((), ("sd15",))
    assert len(board.free) == 6


def test_adapters_of_other_widths_are_where_they_are(desk: Desk):
    make_adapter("wide", 0, rank=5).save(desk.workspace.adapters / "wide.safetensors")
    board = read_board(desk)
    assert board.free == [3, 4, 5]
    assert note_lost(desk) == ["wide"]
    assert Claim.model_validate(desk.ledger.holders()[0]).slot == ColumnSlot(0, 5)


def test_disjoint_columns_are_measured_as_such_and_others_are_told(desk: Desk):
    measurer = Measurer()
    assert "Two trained concepts" in overlap_html(measurer.measure(desk, read_board(desk)))
    train(desk, "octo", 0)
    train(desk, "mug", 1)
    measured = measurer.measure(desk, read_board(desk))
    assert measured.names == ("octo (columns 0-1)", "mug (columns 2-3)")
    assert measured.largest < 1e-5
    assert "are disjoint" in overlap_html(measured)
    assert measurer.measure(desk, read_board(desk)) is measured
    make_adapter("rover", 0).save(desk.workspace.adapters / "rover.safetensors")
    measured = measurer.measure(desk, read_board(desk))
    assert measured.largest == pytest.approx(1.0, abs=1e-5)
    assert "cannot be fused" in overlap_html(measured)


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


def test_a_rank_that_does_not_fit_is_said(desk: Desk):
    desk.studio.config = desk.studio.config.override({"training.rank": 16})
    board = read_board(desk)
    assert (board.capacity, board.free) == (0, [])
    assert room_words(board) == "No slot of rank 16 fits: the narrowest weight has 12 columns."
    with pytest.raises(SlotError, match="smaller rank"):
        assign(desk, "mug", "auto")
    with pytest.raises(SlotError, match="smaller rank"):
        assign(desk, "mug", 0)


def test_the_screen_shows_the_truth_whatever_was_chosen(desk: Desk):
    train(desk, "octo", 0)
    answer = slots._values(desk, "gone")
    assert [choice for choice, _ in answer[3].choices] == ["mug", "octo", "rover"]
    assert answer[3].value == "mug"
    assert answer[4].visible is False
    assert answer[-1].active is False
