import os
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from spectral_diffusion.config import load_config
from spectral_diffusion.diffusion.prompts import unknown_tokens
from spectral_diffusion.jobs.queue import JobQueue
from spectral_diffusion.jobs.registry import WorkerRow
from spectral_diffusion.studio import machine, model
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.model_facts import about_model, about_recipe, about_scorer, bytes_words, versions
from spectral_diffusion.studio.own_worker import log_path
from spectral_diffusion.studio.studio import Studio
from spectral_diffusion.studio.toy_words import example_prompts, known_words, taught_words
from spectral_diffusion.toybox.backgrounds import BACKGROUNDS
from spectral_diffusion.toybox.captions import WORDS
from spectral_diffusion.toybox.vocabulary import ACCESSORIES, FACES, HELD_OUT_MARKS, PATTERNS
from tests.studio.desks import FACTS, desk_in


@pytest.fixture
def desk(tmp_path: Path):
    with desk_in(tmp_path, facts=FACTS) as desk:
        yield desk


@pytest.fixture
def ada(tmp_path: Path):
    with desk_in(tmp_path, "ada", facts=FACTS) as ada:
        yield ada


def enter_worker(desk: Desk) -> WorkerRow:
    desk.studio.queue.database.prepare()
    desk.studio.queue.registry.prepare()
    worker = WorkerRow.here("cpu")
    desk.studio.queue.registry.enter(worker)
    return worker


def test_every_word_of_every_example_is_one_that_toybox_was_taught():
    prompts = example_prompts()
    assert len(set(prompts)) == len(prompts) == len(BACKGROUNDS)
    for prompt in prompts:
        assert set(prompt.split()) <= set(WORDS), prompt
        assert unknown_tokens(prompt, ()) == []
    told = " ".join(prompts)
    assert all(word in told for word in (*BACKGROUNDS, *FACES, *ACCESSORIES[:3], *PATTERNS[1:4]))
    assert " a orange" not in told


def test_what_it_draws_is_told_apart_from_what_it_never_saw():
    known = {word for words in known_words().values() for word in words}
    assert not known & {mark.replace("_", " ") for mark in HELD_OUT_MARKS}
    assert {"star", "moon", "eye patch"} <= set(taught_words())


def test_the_model_is_told_in_values():
    told = about_model(FACTS)
    assert told["Base"] == "toybox"
    assert told["Adapted weights"] == "4, the narrowest of 16 columns"
    assert "Device memory" not in told, "the machine's memory is told as it is now"
    on_gpu = FACTS.model_copy(update={"device": "cuda", "memory_free_bytes": 2**33, "memory_total_bytes": 2**34})
    assert about_model(on_gpu)["Device memory"] == "8.0 GiB of 16.0 GiB were free when the model had been read"
    assert bytes_words(3 * 2**20) == "3 MiB"


def test_the_recipe_tells_how_long_things_take_as_soon_as_that_is_known():
    config = load_config(base="toybox")
    assert "about" not in about_recipe(config, None)["Training"]
    told = about_recipe(config, FACTS)
    assert told["Sampler"].startswith("DPM-Solver++, 12 steps: about ")
    assert told["Training"].startswith("90 steps of 2 pictures: about ")
    assert told["Method"] == "spectral (additive), rank 4"


def test_each_base_has_its_clip():
    assert "toybox's own" in about_scorer(is_toybox=True)
    assert "ViT-B-32:openai" in about_scorer(is_toybox=False)


def test_versions_are_those_that_are_installed():
    told = versions()
    assert told["gradio"] == gr.__version__
    assert "not installed" not in told.values()


def test_without_a_worker_it_is_said_what_to_do(desk: Desk):
    told = model.describe(desk)
    assert told["machine"]["Worker"].endswith("ask whoever runs this studio to start one")
    assert told["machine"]["Workspace"].startswith(str(desk.workspace.root.resolve()))
    assert told["model"]["Base"] == "toybox"


def test_a_worker_is_shown_with_what_it_takes_and_does(desk: Desk):
    worker = enter_worker(desk)
    (state,) = machine.workers(desk)
    assert (state.where, state.device, state.does) == ("this machine", "cpu", "waits for work")
    assert state.memory is not None
    assert state.memory > 2**20
    desk.studio.queue.registry.end(worker.id)
    assert machine.workers(desk) == []


def test_a_waiting_worker_says_why(desk: Desk):
    worker = enter_worker(desk)
    desk.studio.queue.registry.beat(worker.id, None, "the disk is full")
    assert machine.workers(desk)[0].does == "waits: the disk is full"


def test_with_accounts_nothing_of_the_machine_or_of_others_is_told(ada: Desk):
    enter_worker(ada)
    log = log_path(ada.studio.root.root)
    log.parent.mkdir()
    log.write_text("ben trains his secret")
    assert model._log(ada) == ""
    told = model.describe(ada)
    assert "Workspace" not in told["machine"]
    assert str(ada.studio.root.root) not in str(told)


def test_the_job_of_another_person_is_only_somebodys(ada: Desk, monkeypatch: pytest.MonkeyPatch):
    worker = enter_worker(ada)
    job = ada.studio.ask_for_facts()
    for user, does in (("ben", "works for somebody else"), ("ada", "read the model")):
        mine = replace(job, worker=worker.id, user=user, state="running")
        monkeypatch.setattr(JobQueue, "jobs", lambda self, mine=mine, **_: [mine])
        monkeypatch.setattr(JobQueue, "job", lambda self, job_id, mine=mine: mine)
        assert does in machine.workers(ada)[0].does


def test_the_end_of_the_log_is_shown_line_by_line(desk: Desk):
    log = log_path(desk.studio.root.root)
    assert model._log(desk) == "It has said nothing."
    log.parent.mkdir()
    lines = [f"line {number}" for number in range(100)]
    log.write_bytes("\n".join([*lines, "0 %\r50 %\r100 %", "\x1b[31mred\u202e"]).encode() + b"\xff")
    said = model._log(desk).splitlines()
    assert len(said) == machine.LOG_LINES
    assert said[0] == "line 62"
    assert said[-2] == "100 %"
    assert "\x1b" not in said[-1]
    assert "\u202e" not in said[-1]
    os.truncate(log, 0)
    log.write_bytes(b"x" * 2**20 + b"\nlast")
    assert model._log(desk).endswith("\nlast")


def test_before_the_model_was_read_the_rest_of_the_screen_is_there(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Studio, "facts", None)
    summary, _, _, facts, recipe, now, _ = model._values(desk)
    assert "toybox" in summary and facts == "" and "rank 4" in recipe and "Main memory" in now
    told = model.describe(desk)
    assert (told["known"], told["model"]) == (False, {})


def test_toybox_says_plainly_that_it_draws_toys_only(desk: Desk):
    assert "draws toys and nothing else" in model._values(desk)[0]
