import json
import time
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from spectral_diffusion.config import load_config
from spectral_diffusion.diffusion.facts import BaseFacts
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.progress import ProgressWriter
from spectral_diffusion.jobs.queue import JobQueue
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.studio import train
from spectral_diffusion.studio.advanced import read_recipe
from spectral_diffusion.studio.cards import Card
from spectral_diffusion.studio.grants import Grants
from spectral_diffusion.studio.job_rows import pressed_id
from spectral_diffusion.studio.page import build_page
from spectral_diffusion.studio.studio import Studio
from spectral_diffusion.studio.training_list import look, nothing_chosen, tick, training
from spectral_diffusion.workspace import Workspace
from tests.command_line import write_concept, write_recipe
from tests.jobs.working import Place, wait_for, worker

FACTS = BaseFacts(
    name="toybox",
    is_toybox=True,
    fingerprints={"unet": "a" * 64},
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
    adapted_weights=4,
    narrowest=16,
    column_energy=(0.5, 0.25),
    batch_size=2,
    resolution_px=128,
    seconds_a_step=0.5,
    step_fits_memory=True,
    seconds_a_sampling_step=0.1,
    seconds_to_decode=0.1,
    seconds_to_encode=0.1,
    seconds_to_decompose=1.0,
)
A_SECOND = 1.1
"""SQLite tells the order of jobs that are so far apart."""
BALANCED = [None] * 11
"""The advanced settings, left alone."""


def studio_in(root: Path, *, has_accounts: bool = False) -> Studio:
    workspace = Workspace(root)
    queue = JobQueue(Database(f"sqlite:///{root / 'jobs.sqlite'}"), Store(str(root)))
    shown = root / "shown"
    shown.mkdir(exist_ok=True)
    # Where something was trained before, no samples are added.
    for folder in (root, root / "users" / "ada", root / "users" / "ben"):
        (folder / "adapters").mkdir(parents=True, exist_ok=True)
    return Studio(workspace, queue, Grants(shown), has_accounts=has_accounts)


@pytest.fixture
def studio(tmp_path: Path):
    for name in ("octo", "shelly"):
        write_concept(tmp_path / "concepts" / name, "dog", len(name))
    (tmp_path / "concepts" / "mug").mkdir()
    studio = studio_in(tmp_path)
    studio._facts = FACTS
    yield studio
    studio.close()


@pytest.fixture
def desk(studio: Studio):
    return studio.desk(None)


def on(*folders):
    return [Card(id=folder, title=folder, on=True).value() for folder in folders]


def foresee(desk, chosen, recipe="balanced", **advanced):
    return train.foresee(desk, chosen, recipe, *values(**advanced))


def values(**advanced):
    order = ("steps", "rank", "method", "rate", "batch", "text_encoder", "masks", "flip", "seed", "every", "slot")
    assert set(advanced) <= set(order)
    return [advanced.get(name) for name in order]


class Visit:
    """What a page keeps and shows, as the events of the train screen leave it."""

    def __init__(self, desk, choice=None):
        self.desk, self.choice, self.shown = desk, choice or nothing_chosen(), {}
        self.take(look(desk, self.choice, self.shown))

    def take(self, answer):
        self.rows, self.others, self.timer, self.part, self.headline, *self.buttons = answer[:10]
        self.curve, self.samples, self.log, self.shown = answer[10:]
        return self

    def tick(self):
        return self.take(tick(self.desk, self.choice, self.shown))

    def press(self, function):
        self.choice, *answer = function(self.desk, self.choice, self.shown)
        return self.take(answer)

    def choose(self, job_id):
        return self.press(lambda desk, choice, shown: train.chosen_now(desk, {**choice, "job": job_id}, shown))

    @property
    def states(self):
        return {row["title"].removeprefix("train "): row["state"] for row in self.rows}


class TestBefore:
    """What is said and refused before anything is queued."""

    def test_concepts_with_faults_cannot_be_ticked_and_the_reason_is_told(self, desk):
        assert [card.id for card in train.concept_cards(desk, None)] == ["octo", "shelly"]
        assert "mug" in train.told_faults(desk).value

    def test_at_first_the_first_one_is_ticked_that_is_not_trained(self, desk):
        assert [card.id for card in train.concept_cards(desk, None) if card.on] == ["octo"]
        assert [card.id for card in train.concept_cards(desk, on("shelly")) if card.on] == ["shelly"]

    def test_the_time_grows_with_concepts_and_steps_and_its_basis_is_told(self, desk):
        def seconds(folders, recipe="balanced", **advanced):
            config, slot = read_recipe(desk.studio.config, recipe, *values(**advanced))
            return train.TrainingPlan.of(desk, folders, config, slot).estimate(desk).seconds

        assert seconds(["octo"], "quick") < seconds(["octo"]) < seconds(["octo"], "best")
        assert seconds(["octo"]) < seconds(["octo", "shelly"])
        assert seconds(["octo"], steps=90) == seconds(["octo"])
        assert "measured on this machine's processor" in foresee(desk, on("octo"))

    def test_a_time_that_nobody_measured_is_not_invented(self, desk):
        desk.studio._facts = None
        assert "not known yet" in foresee(desk, on("octo"))

    def test_the_columns_that_will_be_taken_are_told(self, desk):
        assert "octo in columns 0-3; shelly in columns 4-7" in foresee(desk, on("octo", "shelly"))
        assert not desk.workspace.ledger_path.exists(), "telling claims nothing"

    def test_columns_of_others_are_refused_with_their_names(self, desk):
        desk.ledger.claim("toybox", FACTS.fingerprints, "rex", 4, 4, 1)
        assert "rex" in foresee(desk, on("octo"), slot="1")
        with pytest.raises(SlotError, match="rex"):
            train.read_plan(desk, on("octo"), "quick", *values(slot="1")).submit(desk)
        assert desk.jobs() == []

    def test_all_wrong_values_are_named_at_once(self, desk):
        said = foresee(desk, on("octo"), rank=0, batch=0, masks="magic", rate=7)
        assert all(name in said for name in ("rank", "batch_size", "masks", "unet"))

    @pytest.mark.parametrize("slot", ["-1", "x", "1.5", "9" * 50, "²", {"a": 1}, [], 10_000])
    def test_what_is_no_slot_is_refused(self, desk, slot):
        if slot == []:
            assert train.read_plan(desk, on("octo"), "quick", *values(slot=slot)).slot == "auto"
            return
        with pytest.raises(InputError, match="slot"):
            train.read_plan(desk, on("octo"), "quick", *values(slot=slot))

    @pytest.mark.parametrize("forged", [None, "octo", [None], [{"id": 3}], {"id": "octo"}, [[]]])
    def test_forged_cards_are_refused_in_words(self, desk, forged):
        with pytest.raises(InputError):
            train.read_plan(desk, forged, "quick", *BALANCED)
        assert isinstance(train.foresee(desk, forged, "quick", *BALANCED), str)

    @pytest.mark.parametrize("folder", ["../octo", "/etc", "mug", "", "octo/..", "x" * 10_000, "<img src=x>"])
    def test_only_sound_concepts_of_ones_own_are_trained(self, desk, folder):
        with pytest.raises(InputError):
            train.train(desk, [folder], "quick")
        assert "<img" not in train.foresee(desk, on(folder), "quick", *BALANCED)
        assert desk.jobs() == []

    @pytest.mark.parametrize("steps", [0, -1, 10**9, 1.5, "many", True, [90], float("nan")])
    def test_steps_that_are_none_are_refused(self, desk, steps):
        with pytest.raises(InputError, match="steps"):
            train.train(desk, ["octo"], "quick", steps)

    def test_values_left_empty_are_the_recipes(self, desk):
        config, slot = read_recipe(desk.studio.config, "balanced", *BALANCED)
        assert slot == "auto"
        assert config.training.steps == desk.studio.config.training.steps


class TestQueue:
    """Trainings that wait, are cancelled, resumed and removed, without a worker."""

    def test_a_training_that_was_queued_is_shown_and_looked_at(self, desk):
        train.train(desk, ["octo", "shelly"], "quick")
        visit = Visit(desk)
        (row,) = visit.rows
        assert (row["title"], row["state"], row["chosen"]) == ("train octo, shelly", "queued", True)
        assert visit.timer.active
        assert "Safe to close this tab" in visit.headline

    def test_what_is_queued_keeps_the_recipe(self, desk):
        job = desk.job(train.train(desk, ["octo"], "best")["id"])
        assert job.spec.config["training"]["steps"] == 250
        assert job.spec.config["training"]["cutmix_wide_probability"] == 0.3

    def test_two_presses_are_one_training(self, desk):
        train.train(desk, ["octo"], "quick")
        with pytest.raises(InputError, match="being trained already"):
            train.train(desk, ["shelly", "octo"], "quick")
        assert len(desk.jobs()) == 1

    def test_one_that_waits_says_how_many_come_before_it(self, desk):
        train.train(desk, ["octo"], "quick")
        time.sleep(A_SECOND)
        train.train(desk, ["shelly"], "quick")
        words = {row["title"]: row["words"] for row in Visit(desk).rows}
        assert words["train octo"].startswith("waits, next")
        assert words["train shelly"].startswith("waits, 1 job before it")

    def test_the_page_is_quiet_when_nothing_is_open(self, desk):
        visit = Visit(desk)
        assert visit.rows == []
        assert not visit.timer.active

    def test_cancel_resume_and_remove(self, desk):
        train.train(desk, ["octo"], "quick")
        visit = Visit(desk)
        assert visit.press(train.cancel_shown).states == {"octo": "cancelled"}
        assert visit.press(train.retry_shown).states == {"octo": "queued"}
        with pytest.raises(InputError, match="queued"):
            visit.press(train.remove_shown)
        visit.press(train.cancel_shown)
        assert visit.press(train.remove_shown).states == {"octo": "cancelled"}, "the first press only asks"
        assert visit.press(train.remove_shown).states == {}
        assert desk.jobs() == []

    def test_a_second_press_on_another_job_removes_nothing(self, desk):
        ids = [train.train(desk, [name], "quick")["id"] for name in ("octo", "shelly")]
        for job_id in ids:
            desk.studio.queue.cancel(job_id)
        visit = Visit(desk).choose(ids[0]).press(train.remove_shown).choose(ids[1])
        assert len(visit.press(train.remove_shown).rows) == 2

    def test_a_look_that_began_before_a_press_does_not_undo_it(self, desk):
        ids = [train.train(desk, [name], "quick")["id"] for name in ("octo", "shelly")]
        visit = Visit(desk).choose(ids[0])
        late = tick(desk, visit.choice, visit.shown)
        visit.choose(ids[1]).take(late)
        assert visit.shown["job"] == ids[0], "for a moment"
        assert visit.tick().shown["job"] == ids[1]

    def test_a_tick_reads_no_losses_of_a_closed_job(self, desk, monkeypatch):
        train.train(desk, ["octo"], "quick")
        visit = Visit(desk).press(train.cancel_shown)
        train.train(desk, ["shelly"], "quick")
        visit.tick()
        monkeypatch.setattr(desk.studio.queue, "losses", pytest.fail)
        visit.tick()
        assert visit.timer.active, "another one is open"
        assert visit.states == {"octo": "cancelled", "shelly": "queued"}
        assert visit.headline == gr.skip()

    def test_a_tick_sees_what_began_and_ended_elsewhere(self, desk):
        job_id = train.train(desk, ["octo"], "quick")["id"]
        visit = Visit(desk)
        desk.studio.queue.cancel(job_id)
        assert visit.tick().states == {"octo": "cancelled"}
        assert not visit.timer.active
        assert "Resume goes on" in visit.headline

    def test_progress_moves_the_curve_and_what_stays_is_not_sent_again(self, desk):
        job_id = train.train(desk, ["octo"], "quick")["id"]
        folder = JobFolder.of(desk.studio.queue.store, job_id)
        folder.path.mkdir(parents=True, exist_ok=True)
        writer = ProgressWriter(folder.path)
        visit = Visit(desk)
        writer.add_loss("octo", 1, 0.5)
        writer.tell(now=True, stage="training octo", step=1, steps=45, loss=0.5)
        assert "octo: step 1 of 45" in visit.tick().curve.value
        assert visit.tick().curve == gr.skip()

    def test_the_log_is_read_while_it_is_open(self, desk):
        job_id = train.train(desk, ["octo"], "quick")["id"]
        JobFolder.of(desk.studio.queue.store, job_id).add_to_log("begun on cpu")
        assert Visit(desk).tick().log == gr.skip()
        assert "begun on cpu" in Visit(desk, {**nothing_chosen(), "log": True}).log

    def test_a_reopened_page_finds_the_training_again(self, desk):
        job_id = train.train(desk, ["octo"], "quick")["id"]
        again = studio_in(desk.workspace.root)
        assert Visit(again.desk(None)).shown["job"] == job_id
        again.close()

    @pytest.mark.parametrize("forged", [None, 3, "", "../x", "zzzzzzzz", ["a"], {"id": 1}])
    def test_forged_presses_choose_nothing(self, desk, forged):
        with pytest.raises(InputError):
            training(desk, pressed_id(SimpleNamespace(id=forged)))

    def test_a_job_that_is_no_training_is_not_shown_as_one(self, desk):
        other = desk.studio.ask_for_facts()
        with pytest.raises(InputError, match="no training"):
            training(desk, other.id)

    def test_what_ended_cannot_be_drawn_without_its_adapters(self, desk):
        train.train(desk, ["octo"], "quick")
        shown = Visit(desk).shown
        with pytest.raises(InputError):
            train.draw_shown(desk, shown)
        with pytest.raises(InputError, match="no training is chosen"):
            train.score_shown(desk, {})
        assert train.score_shown(desk, shown)[0] == {"job": shown["job"]}

    def test_the_named_functions_answer_plain_values(self, desk):
        job = train.train(desk, ["octo"], "quick", 7)
        assert job["state"] == "queued"
        assert [other["id"] for other in train.jobs(desk)] == [job["id"]]
        assert train.cancel(desk, job["id"])["state"] == "cancelled"
        assert train.retry(desk, job["id"])["state"] == "queued"
        json.dumps(train.job(desk, job["id"]))


def test_nobody_sees_or_moves_the_trainings_of_others(tmp_path):
    for user in ("ada", "ben"):
        write_concept(tmp_path / "users" / user / "concepts" / "octo", "dog", len(user))
    studio = studio_in(tmp_path, has_accounts=True)
    studio._facts = FACTS
    ada, ben = studio.desk("ada"), studio.desk("ben")
    job_id = train.train(ada, ["octo"], "quick")["id"]
    assert Visit(ben, {**nothing_chosen(), "job": job_id}).rows == []
    for act in (train.job, train.cancel, train.retry, training):
        with pytest.raises(InputError, match="not found"):
            act(ben, job_id)
    seen = Visit(ada).shown
    for press in (train.cancel_shown, train.retry_shown, train.remove_shown):
        with pytest.raises(InputError, match="not found"):
            press(ben, {**nothing_chosen(), "sure": job_id}, seen)
    for go in (train.draw_shown, train.score_shown):
        with pytest.raises(InputError, match="not found"):
            go(ben, seen)
    assert ada.job(job_id).state == "queued"
    time.sleep(A_SECOND)
    own = train.train(ben, ["octo"], "quick")["id"]
    (row,) = Visit(ben).rows
    assert row["id"] == own
    assert row["words"].startswith("waits, 1 job before it"), "how many, and no word of what"
    studio.close()


def test_the_screen_stands_with_hints_on_all_that_can_be_pressed(studio):
    page = build_page(studio, ["train"]).blocks
    kinds = (gr.Button, gr.Number, gr.Textbox, gr.Radio, gr.Dropdown, gr.Checkbox, gr.Gallery)
    unexplained = [block for block in page.blocks.values() if isinstance(block, kinds) and not block.elem_id]
    assert not unexplained
    named = {function.api_name for function in page.fns.values() if function.api_visibility == "public"}
    assert named == {"train", "jobs", "job", "cancel", "retry"}


def test_a_training_from_the_page_to_its_adapter(miniature, tmp_path):
    write_concept(tmp_path / "concepts" / "rex", "dog", 3)
    studio = studio_in(tmp_path)
    studio.config = load_config(write_recipe(tmp_path, miniature, steps=8, checkpoint_every=2))
    desk = studio.desk(None)
    with worker(Place(tmp_path, miniature)):
        train.train(desk, ["rex"])
        visit = Visit(desk)
        job_id = visit.shown["job"]
        wait_for(lambda: not desk.job(job_id).is_open, 120, lambda: studio.queue.log(job_id))
    visit.tick()
    assert visit.states == {"rex": "done"}, desk.job(job_id).error
    assert "rex: step 8 of 8" in visit.curve.value
    assert [item["caption"] for item in visit.samples.value] == ["rex, step 2", "rex, step 4", "rex, step 6"]
    assert train.draw_shown(desk, visit.shown)[0] == ["rex.safetensors"]
    assert "Trained already: rex" in foresee(desk, on("rex"))
    visit.press(train.remove_shown).press(train.remove_shown)
    assert visit.rows == []
    assert (tmp_path / "adapters" / "rex.safetensors").exists(), "adapters stay"
    studio.close()
