from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest

from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import Drawing
from spectral_diffusion.studio.watching import cancel_all, look_again, watch
from tests.studio.desks import desk_in
from tests.studio.failing import fail

WISH = Drawing((), "a dog", "", 64, 64, 2, 2.0, 1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with desk_in(tmp_path) as desk:
        yield desk


def test_what_was_queued_is_watched_beside_what_was_before(desk: Desk) -> None:
    first, second, third = (WISH.submit(desk) for _ in range(3))
    ids, timer, status = watch(desk, [first.id], second, third)
    assert ids == [first.id, second.id, third.id] and timer.active and status.count("waits") == 3
    assert watch(desk, [], first)[0] == [first.id]


def test_only_what_is_open_is_watched_on(desk: Desk) -> None:
    jobs = [WISH.submit(desk) for _ in range(2)]
    desk.studio.queue.cancel(jobs[0].id)
    (ids, timer, status), done = look_again(desk, [job.id for job in jobs])
    assert (ids, timer.active, done) == ([jobs[1].id], True, []) and status.count("waits") == 1


def test_what_failed_is_told_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda words, **_: said.append(words))
    job = fail(desk.studio.queue, WISH.submit(desk), "<b>no</b> memory")
    (ids, timer, status), done = look_again(desk, [job.id])
    assert (ids, timer.active, done) == ([], False, [])
    assert said == ["draw 1 x a dog: &lt;b&gt;no&lt;/b&gt; memory"] and "failed" in status
    look_again(desk, ids)
    assert len(said) == 1


def test_jobs_that_are_gone_disturb_nothing(desk: Desk) -> None:
    job = WISH.submit(desk)
    (ids, *_), done = look_again(desk, ["0123abcd", job.id])
    assert (ids, done) == ([job.id], [])


def test_all_that_is_watched_is_cancelled_and_what_ended_stays_as_it_is(desk: Desk) -> None:
    jobs = [WISH.submit(desk), fail(desk.studio.queue, WISH.submit(desk), "no memory")]
    status = cancel_all(desk, [job.id for job in jobs])
    assert [desk.job(job.id).state for job in jobs] == ["cancelled", "failed"]
    assert "cancelled" in status and "failed: no memory" in status
