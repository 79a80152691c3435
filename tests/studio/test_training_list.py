import json
import time
from dataclasses import replace

import gradio as gr
import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.progress import ProgressWriter
from spectral_diffusion.studio import train, training_list
from spectral_diffusion.studio.open_jobs import concepts_in_training, newest_and_open
from spectral_diffusion.studio.parts.job_rows import pressed_id
from spectral_diffusion.studio.training_list import nothing_chosen, tick, training
from tests.command_line import write_concept
from tests.studio.desks import FACTS, desk_in, desks_in
from tests.studio.training import Visit, known_desk

A_SECOND = 1.1
"""SQLite tells the order of jobs that are so far apart."""


@pytest.fixture
def desk(tmp_path):
    with known_desk(tmp_path) as desk:
        yield desk


def test_a_training_that_was_queued_is_shown_and_looked_at(desk):
    train.train(desk, ["octo", "shelly"], "quick")
    visit = Visit(desk)
    (row,) = visit.rows
    assert (row["title"], row["state"], row["chosen"]) == ("train octo, shelly", "queued", True)
    assert visit.timer.active
    assert "Safe to close this tab" in visit.headline
    assert "no worker runs; ask whoever runs this studio" in row["words"], "the page knows no commands"


def test_what_is_queued_keeps_the_recipe(desk):
    job = desk.job(train.train(desk, ["octo"], "best")["id"])
    assert job.spec.config["training"]["steps"] == 250
    assert job.spec.config["training"]["cutmix_wide_probability"] == 0.3


def test_two_presses_are_one_training(desk):
    train.train(desk, ["octo"], "quick")
    with pytest.raises(InputError, match="being trained already"):
        train.train(desk, ["shelly", "octo"], "quick")
    assert len(desk.jobs()) == 1


def test_one_that_waits_says_how_many_come_before_it(desk):
    train.train(desk, ["octo"], "quick")
    time.sleep(A_SECOND)
    train.train(desk, ["shelly"], "quick")
    words = {row["title"]: row["words"] for row in Visit(desk).rows}
    assert words["train octo"].startswith("waits, next")
    assert words["train shelly"].startswith("waits, 1 job before it")


def test_an_open_training_is_listed_however_many_jobs_came_after_it(desk, monkeypatch):
    monkeypatch.setattr(training_list, "_JOBS_READ", 1)
    train.train(desk, ["octo"], "quick")
    time.sleep(A_SECOND)
    newer = train.train(desk, ["shelly"], "quick")["id"]
    assert list(Visit(desk).states) == ["shelly", "octo"]
    assert set(concepts_in_training(desk)) == {"octo", "shelly"}
    first, _ = newest_and_open(desk, 50)
    assert first.id == newer, "and each once"


def test_all_open_jobs_are_asked_for_when_concepts_in_training_are(desk, monkeypatch):
    job = desk.job(train.train(desk, ["octo"], "quick")["id"])
    many = [replace(job, spec=None)] * 60 + [job]
    monkeypatch.setattr(type(desk), "jobs", lambda self, *, open_only=False, limit=50: many[:limit])
    assert concepts_in_training(desk) == {"octo": job}


def test_what_has_ended_is_drawn_with_its_adapter_files(desk, monkeypatch):
    train.train(desk, ["octo"], "quick")
    made = desk.workspace.adapters / "octo.safetensors"
    monkeypatch.setattr(type(desk), "made", lambda self, job: [made])
    assert train.draw_shown(desk, Visit(desk).shown)[0] == ["octo.safetensors"]


def test_the_page_is_quiet_when_nothing_is_open(desk):
    visit = Visit(desk)
    assert visit.rows == []
    assert not visit.timer.active


def test_cancel_resume_and_remove(desk):
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


def test_a_second_press_on_another_job_removes_nothing(desk):
    ids = [train.train(desk, [name], "quick")["id"] for name in ("octo", "shelly")]
    for job_id in ids:
        desk.studio.queue.cancel(job_id)
    visit = Visit(desk).choose(ids[0]).press(train.remove_shown).choose(ids[1])
    assert len(visit.press(train.remove_shown).rows) == 2


def test_a_look_that_began_before_a_press_does_not_undo_it(desk):
    ids = [train.train(desk, [name], "quick")["id"] for name in ("octo", "shelly")]
    visit = Visit(desk).choose(ids[0])
    late = tick(desk, visit.choice, visit.shown)
    visit.choose(ids[1]).take(late)
    assert visit.shown["job"] == ids[0], "for a moment"
    assert visit.tick().shown["job"] == ids[1]


def test_a_tick_reads_no_losses_of_a_closed_job(desk, monkeypatch):
    train.train(desk, ["octo"], "quick")
    visit = Visit(desk).press(train.cancel_shown)
    train.train(desk, ["shelly"], "quick")
    visit.tick()
    monkeypatch.setattr(desk.studio.queue, "losses", pytest.fail)
    visit.tick()
    assert visit.timer.active, "another one is open"
    assert visit.states == {"octo": "cancelled", "shelly": "queued"}
    assert visit.headline == gr.skip()


def test_a_tick_sees_what_began_and_ended_elsewhere(desk):
    job_id = train.train(desk, ["octo"], "quick")["id"]
    visit = Visit(desk)
    desk.studio.queue.cancel(job_id)
    assert visit.tick().states == {"octo": "cancelled"}
    assert not visit.timer.active
    assert "Resume queues it again" in visit.headline


def test_progress_moves_the_curve_and_what_stays_is_not_sent_again(desk):
    job_id = train.train(desk, ["octo"], "quick")["id"]
    folder = JobFolder.of(desk.studio.queue.store, job_id)
    folder.path.mkdir(parents=True, exist_ok=True)
    writer = ProgressWriter(folder.path)
    visit = Visit(desk)
    writer.add_loss("octo", 1, 0.5)
    writer.tell(now=True, stage="training octo", step=1, steps=45, loss=0.5)
    assert "octo: step 1 of 45" in visit.tick().curve.value
    assert visit.tick().curve == gr.skip()


def test_the_log_is_read_while_it_is_open(desk):
    job_id = train.train(desk, ["octo"], "quick")["id"]
    JobFolder.of(desk.studio.queue.store, job_id).add_to_log("begun on cpu")
    assert Visit(desk).tick().log == gr.skip()
    assert "begun on cpu" in Visit(desk, {**nothing_chosen(), "log": True}).log


def test_a_reopened_page_finds_the_training_again(desk):
    job_id = train.train(desk, ["octo"], "quick")["id"]
    with desk_in(desk.workspace.root) as again:
        assert Visit(again).shown["job"] == job_id


@pytest.mark.parametrize("forged", [None, 3, "", "../x", "zzzzzzzz", ["a"], {"id": 1}])
def test_forged_presses_choose_nothing(desk, forged):
    with pytest.raises(InputError):
        training(desk, pressed_id(gr.EventData(None, {"id": forged})))


def test_a_job_that_is_no_training_is_not_shown_as_one(desk):
    other = desk.studio.ask_for_facts()
    with pytest.raises(InputError, match="no training"):
        training(desk, other.id)


def test_what_ended_cannot_be_drawn_without_its_adapters(desk):
    train.train(desk, ["octo"], "quick")
    shown = Visit(desk).shown
    with pytest.raises(InputError):
        train.draw_shown(desk, shown)
    with pytest.raises(InputError, match="no training is chosen"):
        train.score_shown(desk, {})
    assert train.score_shown(desk, shown)[0] == {"job": shown["job"]}


def test_the_named_functions_answer_plain_values(desk):
    job = train.train(desk, ["octo"], "quick", 7)
    assert job["state"] == "queued"
    assert [other["id"] for other in train.jobs(desk)] == [job["id"]]
    assert train.cancel(desk, job["id"])["state"] == "cancelled"
    assert train.retry(desk, job["id"])["state"] == "queued"
    json.dumps(train.job(desk, job["id"]))


def test_nobody_sees_or_moves_the_trainings_of_others(tmp_path):
    with desks_in(tmp_path, facts=FACTS) as (ada, ben):
        for desk in (ada, ben):
            write_concept(desk.workspace.concepts / "octo", "dog", 3)
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
