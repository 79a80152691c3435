"""Screens that need what a worker reads of the model, when that fails."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio import model, slots, train
from spectral_diffusion.studio.controls import adapter_cards
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.page import build_page
from spectral_diffusion.studio.parts.reading import HINT
from tests.studio.failing import fail
from tests.studio.training import foresee, known_desk, on

WHY = "the base <b>toybox</b> is damaged; start one with `spectral-diffusion worker`"
SCREENS: dict[str, tuple[Callable[[Desk], list[Any]], int]] = {
    "slots": (lambda desk: slots._values(desk, None), -3),
    "model": (model._values, 1),
}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with known_desk(tmp_path) as desk:
        desk.studio._facts = None
        yield desk


@pytest.fixture(params=SCREENS)
def shown(request: pytest.FixtureRequest) -> Callable[[Desk], tuple[Any, Any, Any]]:
    """What is told on a screen, the button and the timer."""
    values, first = SCREENS[request.param]

    def look(desk: Desk) -> tuple[Any, Any, Any]:
        answer = values(desk)
        return answer[first], answer[first + 1], answer[-1]

    return look


def test_as_long_as_a_worker_will_read_the_model_the_page_follows_by_itself(desk: Desk, shown: Any) -> None:
    told, again, timer = shown(desk)
    assert "A worker reads the model" in told.value and desk.studio.ask_for_facts().title in told.value
    assert (told.visible, again.visible, timer.active) == (True, False, True)


def test_why_the_model_could_not_be_read_is_told_with_a_way_to_try_again(desk: Desk, shown: Any) -> None:
    fail(desk.studio.queue, desk.studio.ask_for_facts(), WHY)
    told, again, timer = shown(desk)
    assert "could not be read: the base &lt;b&gt;toybox&lt;/b&gt; is damaged; ask whoever runs this" in told.value
    assert (told.visible, again.visible, timer.active) == (True, True, False)


def test_a_reading_that_was_cancelled_can_be_tried_again(desk: Desk, shown: Any) -> None:
    desk.studio.queue.cancel(desk.studio.ask_for_facts().id)
    told, again, timer = shown(desk)
    assert "could not be read: that was cancelled" in told.value
    assert (again.visible, timer.active) == (True, False)


@pytest.mark.parametrize(("screen", "values", "first"), [("slots", [None], -3), ("model", [], 1)])
def test_a_press_has_it_read_once_more_and_the_page_follows(
    screen: str, values: list[Any], first: int, desk: Desk
) -> None:
    page = build_page(desk.studio, [screen])
    assert HINT in page.look["head"]
    (button,) = [block for block in page.blocks.blocks.values() if block.elem_id == f"{screen}-read-again"]
    press = next(event.fn for event in page.blocks.fns.values() if (button._id, "click") in event.targets)
    assert press is not None
    job = fail(desk.studio.queue, desk.studio.ask_for_facts(), WHY)
    answer = press(SimpleNamespace(username=None), *values)
    assert desk.studio.queue.job(job.id).state == "queued"
    assert "A worker reads" in answer[first].value and not answer[first + 1].visible and answer[-1].active
    # Pressed on two pages at once, the second press changes nothing.
    assert press(SimpleNamespace(username=None), *values)[-1].active
    assert desk.studio.queue.job(job.id).state == "queued"


def test_programs_are_told_why_there_is_nothing_to_know(desk: Desk) -> None:
    assert model.describe(desk)["fault"] is None
    with pytest.raises(InputError, match="has not been read yet; wait"):
        slots.slots(desk)
    fail(desk.studio.queue, desk.studio.ask_for_facts(), WHY)
    assert model.describe(desk)["fault"].startswith("the base <b>toybox</b> is damaged; ask whoever")
    with pytest.raises(InputError, match=r"the model could not be read: the base .*; try again in Slots or in Model"):
        slots.slots(desk)


def test_trainings_and_pictures_are_queued_though_the_model_could_not_be_read(desk: Desk) -> None:
    fail(desk.studio.queue, desk.studio.ask_for_facts(), WHY)
    assert "not known yet" in foresee(desk, on("octo"))
    assert train.train(desk, ["octo"], "quick")["state"] == "queued"
    assert adapter_cards(desk, {}) == []
