from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

from spectral_diffusion.errors import UnreachableError
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import Drawing
from spectral_diffusion.studio.watching import DRAWINGS, SCORES, cancel_all, look_again, told_before, watch
from tests.studio.desks import desk_in
from tests.studio.failing import fail

WISH = Drawing((), "a dog", "", 64, 64, 2, 2.0, 1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with desk_in(tmp_path) as desk:
        yield desk


def _breaks(*_: object, **__: object) -> None:
    raise UnreachableError("the jobs' database cannot be used", "check that its server runs")


def test_all_that_is_open_is_told_whoever_queued_it_and_when(desk: Desk) -> None:
    for _ in range(3):
        WISH.submit(desk)
        timer, status = watch(desk, DRAWINGS)
    assert timer.active and status.count("waits") == 3
    assert watch(desk, SCORES)[1] == ""


def test_a_look_that_began_before_a_press_forgets_nothing(desk: Desk) -> None:
    (told, timer, _), _ = look_again(desk, DRAWINGS, [])
    assert not timer.active
    job = WISH.submit(desk)
    # What the look answered is written to the page after what the press answered.
    (told, timer, status), done = look_again(desk, DRAWINGS, told)
    assert timer.active and status.count("waits") == 1 and not done
    fail(desk.studio.queue, job, "no memory")
    (told, timer, status), _ = look_again(desk, DRAWINGS, told)
    assert told == [job.id] and timer.active and "failed" in status


def test_what_failed_is_told_once_and_then_the_timer_rests(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda words, **_: said.append(words))
    job = fail(desk.studio.queue, WISH.submit(desk), "<b>no</b> memory")
    (told, timer, status), done = look_again(desk, DRAWINGS, [])
    assert (told, timer.active, done) == ([job.id], True, [])
    assert said == ["draw 1 x a dog: &lt;b&gt;no&lt;/b&gt; memory"] and "failed" in status
    (again, timer, status), _ = look_again(desk, DRAWINGS, told)
    assert again == told and not timer.active and len(said) == 1
    assert status == gr.skip(), "what was said last stays"


def test_what_ended_before_the_page_was_opened_is_not_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda words, **_: said.append(words))
    old = fail(desk.studio.queue, WISH.submit(desk), "no memory")
    told = told_before(desk, DRAWINGS, None)
    assert told == [old.id] and told_before(desk, DRAWINGS, []) == gr.skip()
    assert look_again(desk, DRAWINGS, told)[0][0] == look_again(desk, DRAWINGS, None)[0][0] == told and not said


def test_a_queue_that_is_away_for_a_while_makes_the_page_forget_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    WISH.submit(desk)
    with monkeypatch.context() as away:
        away.setattr(type(desk.studio.queue), "jobs", _breaks)
        (told, timer, status), done = look_again(desk, DRAWINGS, [])
        assert (told, done) == (gr.skip(), []) and timer.active and "cannot be used" in status
        assert told_before(desk, DRAWINGS, None) == gr.skip()
    assert look_again(desk, DRAWINGS, [])[0][2].count("waits") == 1


def test_a_queue_that_is_away_does_not_make_a_job_one_that_is_not_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = WISH.submit(desk)
    monkeypatch.setattr(type(desk.studio.queue), "job", _breaks)
    with pytest.raises(UnreachableError):
        desk.job(job.id)


def test_all_that_is_open_is_cancelled_and_what_ended_stays_as_it_is(desk: Desk) -> None:
    jobs = [WISH.submit(desk), fail(desk.studio.queue, WISH.submit(desk), "no memory")]
    status = cancel_all(desk, DRAWINGS)
    assert [desk.job(job.id).state for job in jobs] == ["cancelled", "failed"]
    assert "cancelled" in status
