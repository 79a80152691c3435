"""Laws of choosing what to score: pictures in order, concepts from left to right, forged values told in words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.specs import ScoreSpec
from spectral_diffusion.studio import choosing, scoring
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.page import build_page
from spectral_diffusion.studio.parts.picture_cards import PictureCard, ticked_pictures
from spectral_diffusion.studio.scoring import (
    PICTURES_LIMIT,
    about_training,
    samples_by_concept,
    score_jobs,
    spread,
    submit_pictures,
    submit_training,
    suggested_concepts,
    told_by,
    told_title,
    trend_jobs,
)
from tests.studio.desks import desks_in
from tests.studio.scored import desk_with_concepts, drawn, with_samples, write_concepts

BOTH = "a photo of <octo> and <shelly>"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with desk_with_concepts(tmp_path) as desk:
        yield desk


def _spec(job: Any) -> ScoreSpec:
    assert isinstance(job.spec, ScoreSpec)
    return job.spec


# Ticking.


def test_what_is_ticked_is_read_in_order_and_once() -> None:
    cards = [PictureCard(name, name, on=on).value() for name, on in (("b", True), ("a", False), ("c", True))]
    assert ticked_pictures([*cards, cards[0]]) == ["b", "c"]
    assert ticked_pictures(None) == []


@pytest.mark.parametrize("forged", [[{"id": 3, "on": True}], ["a"], [None], [{"on": True}], [{"id": "a"}] * 2001])
def test_forged_ticks_are_told_in_words(forged: Any) -> None:
    with pytest.raises(InputError):
        ticked_pictures(forged)


@pytest.mark.parametrize("forged", ["octo", [1], [None], {"octo": 1}, ["a"] * (PICTURES_LIMIT + 1)])
def test_forged_lists_are_told_in_words(forged: Any) -> None:
    with pytest.raises(InputError):
        choosing.names(forged)


# Which pictures are shown.


def test_the_newest_pictures_come_first_and_sheets_of_many_are_left_out(desk: Desk) -> None:
    names = [drawn(desk, "a dog", seed) for seed in range(3)]
    sheet = desk.workspace.images / "grids" / "grid_1.png"
    sheet.parent.mkdir()
    Image.new("RGB", (64, 64)).save(sheet)
    _, cards, _, _ = choosing.values(desk, choosing.refreshed(desk, None, None, [])[0], [])
    assert [card["id"] for card in cards] == names[::-1]
    assert all(card["image"].startswith("/gradio_api/file=") and not card["on"] for card in cards)


def test_more_are_shown_on_request_and_what_is_ticked_stays_in_sight(desk: Desk) -> None:
    names = [drawn(desk, "a dog", seed) for seed in range(choosing.PAGE + 2)]
    kept, _ = choosing.refreshed(desk, None, None, [])
    _, cards, more, _ = choosing.values(desk, kept, [names[0]])
    assert [card["id"] for card in cards if card["on"]] == [names[0]], "the oldest, though it is on the second page"
    assert len(cards) == choosing.PAGE + 1 and more.visible
    _, cards, more, _ = choosing.values(desk, {**kept, "limit": 2 * choosing.PAGE}, [])
    assert len(cards) == len(names) and not more.visible


def test_pictures_that_another_screen_asks_for_are_ticked_alone(desk: Desk) -> None:
    names = [drawn(desk, "a dog", seed) for seed in range(3)]
    before = [PictureCard(names[0], "", on=True).value()]
    kept, ticked = choosing.refreshed(desk, None, before, [names[1], "gone.png", "../../jobs.sqlite"])
    assert ticked == [names[1]]
    _, cards, _, _ = choosing.values(desk, kept, ticked)
    assert [card["id"] for card in cards if card["on"]] == [names[1]]
    assert choosing.refreshed(desk, kept, before, [])[1] == [names[0]], "without a wish the ticks stay"


def test_only_pictures_of_one_concept_are_shown_when_asked_for(desk: Desk) -> None:
    drawn(desk, "a dog", 1)
    octo = drawn(desk, "<octo>", 2, "octo")
    both = drawn(desk, BOTH, 3, "octo", "shelly")
    kept = {**choosing.refreshed(desk, None, None, [])[0], "drawn_with": "octo"}
    _, cards, _, _ = choosing.values(desk, kept, [])
    assert [card["id"] for card in cards] == [both, octo]
    choices, cards, _, _ = choosing.values(desk, {**kept, "drawn_with": "no such concept"}, [])
    assert choices.value == choosing.ANY and len(cards) == 3


def test_a_picture_is_called_by_its_seed_and_what_its_prompt_names_from_left_to_right(desk: Desk) -> None:
    path = desk.picture(drawn(desk, "<shelly> beside <octo>", 7, "octo", "shelly"))
    assert told_title(told_by(path), path.name) == "seed 7: shelly, octo"
    Image.new("RGB", (64, 64)).save(path)
    assert told_title(told_by(path), "it.png") == "it.png", "what was told of a file that changed is forgotten"


# What is suggested to compare with.


def test_concepts_are_suggested_in_the_order_in_which_all_ticked_pictures_name_them(desk: Desk) -> None:
    one, two = drawn(desk, BOTH, 1, "shelly", "octo"), drawn(desk, BOTH, 2, "octo", "shelly")
    other = drawn(desk, "<shelly> and <octo>", 3, "octo", "shelly")
    assert suggested_concepts(desk, [one, two]) == ["octo", "shelly"]
    assert suggested_concepts(desk, [one, other]) == [], "they stand in another order"
    assert suggested_concepts(desk, [drawn(desk, "<octo> and <mug>", 4, "octo", "mug")]) == [], "one is not here"


# What becomes a job.


def test_pictures_uploads_concepts_and_prompt_become_one_job(desk: Desk, tmp_path: Path) -> None:
    name = drawn(desk, BOTH, 1, "octo", "shelly")
    upload = tmp_path / "elsewhere.jpg"
    Image.new("RGB", (80, 80), "red").save(upload)
    job = submit_pictures(desk, [name, name], [upload], ["shelly", "octo"], "  two dogs ")
    spec = _spec(job)
    assert [image.name for image in spec.images] == [name, "elsewhere.jpg"]
    assert [kept.name for kept in spec.references] == ["shelly", "octo"]
    assert spec.prompt == "two dogs"
    assert [found.id for found in score_jobs(desk)] == [job.id]
    assert about_training(job) is None


def test_pictures_of_an_unknown_base_are_judged_by_the_clip_of_the_studio(desk: Desk, tmp_path: Path) -> None:
    own = drawn(desk, "a dog", 1)
    upload = tmp_path / "elsewhere.png"
    Image.new("RGB", (80, 80), "red").save(upload)
    assert _spec(submit_pictures(desk, [own], (), ["octo"])).scorer is None, "they tell it themselves"
    assert _spec(submit_pictures(desk, [own], [upload], ["octo"])).scorer == "toybox"


def test_what_cannot_be_scored_is_told_and_nothing_is_queued(desk: Desk, tmp_path: Path) -> None:
    one, two = drawn(desk, "a dog", 1), drawn(desk, "a cat", 2)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    wrong: list[tuple[Any, ...]] = [
        ([], (), ["octo"]),
        (["gone.png"], (), ["octo"]),
        (["../jobs.sqlite"], (), ["octo"]),
        ([one], (), ["octo", "octo"]),
        ([one], (), ["no such concept"]),
        ([one], (), ["../concepts/octo"]),
        ([one, two], (), []),
        ([one], [broken], ["octo"]),
        ([], [broken] * (PICTURES_LIMIT + 1), ["octo"]),
    ]
    for values in wrong:
        with pytest.raises(InputError) as told:
            submit_pictures(desk, *values)
        assert str(tmp_path) not in str(told.value), "where things lie is nobody's business"
    assert score_jobs(desk) == []


def test_pictures_that_share_a_prompt_need_nothing_else(desk: Desk) -> None:
    names = [drawn(desk, "a dog", seed) for seed in (1, 2)]
    assert _spec(submit_pictures(desk, names)).references == ()


# Trainings.


def test_the_samples_of_a_training_become_a_job_for_each_concept_that_names_it(desk: Desk) -> None:
    training = with_samples(desk, (30, 90, 60), "octo", "shelly")
    assert [sample.step for sample in samples_by_concept(desk, training)["octo"]] == [30, 60, 90]
    jobs = submit_training(desk, training)
    assert [about_training(job) for job in jobs] == [(training.id, "octo"), (training.id, "shelly")]
    names = [image.name for image in _spec(jobs[0]).images]
    assert [scoring.sample_step(name) for name in names] == [30, 60, 90]
    assert _spec(jobs[0]).scorer == "toybox"
    assert score_jobs(desk) == [], "they are no pictures that a person chose"
    assert [job.id for job in trend_jobs(desk, training.id)] == [job.id for job in jobs]


def test_of_two_scorings_of_one_training_the_newer_counts(desk: Desk) -> None:
    training = with_samples(desk, (30,), "octo")
    submit_training(desk, training)
    (newer,) = submit_training(desk, training)
    assert [job.id for job in trend_jobs(desk, training.id)] == [newer.id]
    desk.studio.queue.cancel(newer.id)
    assert [job.id for job in trend_jobs(desk, training.id)] != [newer.id]


def test_an_open_scoring_is_found_however_many_jobs_came_after_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    training = with_samples(desk, (30,), "octo", "shelly")
    jobs = submit_training(desk, training)
    monkeypatch.setattr(scoring, "JOBS_LIMIT", 1)
    assert [job.id for job in trend_jobs(desk, training.id)] == [job.id for job in jobs]


def test_the_photographs_that_it_learned_from_count_though_the_concept_has_changed(desk: Desk) -> None:
    training = with_samples(desk, (30,), "octo")
    (before,) = submit_training(desk, training)
    (desk.workspace.concepts / "octo" / "0.png").unlink()
    (after,) = submit_training(desk, training)
    assert _spec(after).references == _spec(before).references


def test_a_training_without_samples_and_a_job_that_is_none_are_told(desk: Desk) -> None:
    with pytest.raises(InputError, match="no sample pictures"):
        submit_training(desk, with_samples(desk, (), "octo"))
    with pytest.raises(InputError, match="no training"):
        submit_training(desk, submit_pictures(desk, [drawn(desk, "a dog", 1)], (), ["octo"]))


@given(st.integers(0, 500), st.integers(1, 60))
def test_numbers_are_spread_from_the_first_to_the_last(count: int, limit: int) -> None:
    found = spread(count, limit)
    assert len(found) == min(count, limit) and found == sorted(set(found))
    assert not found or found[0] == 0
    assert limit == 1 or not found or found[-1] == count - 1


# The screen.


def test_the_screen_stands_with_hints_on_all_that_can_be_pressed(desk: Desk) -> None:
    page = build_page(desk.studio, ["score"]).blocks
    kinds = (gr.Button, gr.Textbox, gr.Dropdown, gr.File)
    assert [block for block in page.blocks.values() if isinstance(block, kinds) and not block.elem_id] == []
    named = {function.api_name for function in page.fns.values() if function.api_visibility == "public"}
    assert named == {"score"}


def test_nobody_scores_the_pictures_of_others_or_sees_their_scores(tmp_path: Path) -> None:
    with desks_in(tmp_path) as (ada, ben):
        for desk in (ada, ben):
            write_concepts(desk.workspace.root)
        name = drawn(ada, "a dog", 1)
        job = submit_pictures(ada, [name], (), ["octo"])
        training = with_samples(ada, (30,), "octo")
        with pytest.raises(InputError):
            submit_pictures(ben, [name], (), ["octo"])
        with pytest.raises(InputError):
            ben.job(job.id)
        assert score_jobs(ben) == [] and trend_jobs(ben, training.id) == []
