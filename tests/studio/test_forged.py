"""Whoever is logged in can call every event of the page with anything: it answers in words or does its work."""

import copy
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from spectral_diffusion.studio.cache import private_cache
from spectral_diffusion.studio.grants import Grants
from spectral_diffusion.studio.page import build_page
from tests.studio.pages import make_studio

JUNK: list[Any] = [
    None, True, -1, 10**30, 0.5, float("nan"), float("inf"), "", "x", "../../etc/passwd", "/etc/passwd", "<octo>",
    "octo", "octo.safetensors", "\0", "\ud800", "x" * 20_000, [], [None], ["x"], [[]], [["a", 1]], [{}], {},
    {"path": 1},
    {"job": "x"}, {"job": None, "rows": [{}], "open": 3, "log": 1}, [{"id": 1}], [{"id": "octo", "on": True}],
    {"selected": "../x.png", "latest": [1], "labels": [], "history": ["x"], "limit": "all"},
    {"concept": "octo", "photograph": "../../x", "undo": {"id": "../.."}},
]  # fmt: skip


class _Request:
    def __init__(self, user: str | None) -> None:
        self.username = user


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Every function that the page calls."""
    folder = tmp_path_factory.mktemp("forged")
    with private_cache(folder / "cache") as cache:
        studio = make_studio(Grants(cache), folder / "workspace")
        page = build_page(studio).blocks
        yield [function for function in page.fns.values() if function.fn is not None]
        studio.close()


def _given(function: Any, value: Any) -> list[Any]:
    """Arguments of an event: what the page sends is forged, what the server keeps is not."""
    sent = [copy.deepcopy(part.value) if isinstance(part, gr.State) else value for part in function.inputs]
    given: list[Any] = []
    for parameter in list(inspect.signature(function.fn).parameters.values())[1:]:
        kind = parameter.annotation
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            given += sent
        elif inspect.isclass(kind) and issubclass(kind, gr.EventData):
            given.append(_event(kind, value))
        elif inspect.isclass(kind) and issubclass(kind, gr.Progress):
            given.append(gr.Progress())
        else:
            # Named events get plain values, which are no components of the page.
            given.append(sent.pop(0) if sent else value)
    return given


def _event(kind: type[gr.EventData], value: Any) -> gr.EventData:
    data = value if isinstance(value, dict) else dict.fromkeys(("index", "value", "id", "name", "concept"), value)
    try:
        return kind(None, data)
    except Exception:  # Gradio itself refuses it before we see it
        return kind(None, {"index": 0, "value": None})


def test_there_are_events_to_try(events: list[Any]):
    assert len(events) > 60


@pytest.mark.parametrize("value", JUNK, ids=lambda value: repr(value)[:40])
def test_no_event_has_a_fault_whatever_it_is_sent(
    events: list[Any], value: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    faults = []
    for function in events:
        caplog.clear()
        try:
            function.fn(_Request("ada"), *_given(function, value))
        except gr.Error as error:
            if "fault of ours" in str(error.message):
                faults.append(
                    f"{function.name}: {caplog.records[-1].exc_info[1]!r}" if caplog.records else function.name
                )
    assert faults == []


def test_nobody_gets_an_answer(events: list[Any]):
    for function in events:
        with pytest.raises(gr.Error, match="logged in"):
            function.fn(_Request(None), *_given(function, None))
