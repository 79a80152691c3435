"""Whoever is logged in can call every event of the page with anything: it answers in words or does its work."""

import copy
import inspect
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr
import hypothesis
import pytest
from hypothesis import strategies as st

from spectral_diffusion.studio import concepts, files
from spectral_diffusion.studio.page import build_page
from tests.command_line import write_concept
from tests.studio.desks import studio_in
from tests.studio.screens import STATE, Screen, screen_of

JUNK: list[Any] = [
    None, True, -1, 10**30, 0.5, float("nan"), float("inf"), "", "x", "../../etc/passwd", "/etc/passwd", "<octo>",
    "octo", "octo.safetensors", "\0", "\ud800", "x" * 20_000, [], [None], ["x"], [[]], [["a", 1]], [{}], {},
    {"path": 1},
    {"job": "x"}, {"job": None, "rows": [{}], "open": 3, "log": 1}, [{"id": 1}], [{"id": "octo", "on": True}],
    {"selected": "../x.png", "latest": [1], "labels": [], "history": ["x"], "limit": "all"},
    {"concept": "octo", "photograph": "../../x", "undo": {"id": "../.."}},
]  # fmt: skip


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Every function that the page calls."""
    with closing(studio_in(tmp_path_factory.mktemp("forged"), has_accounts=True, has_samples=True)) as studio:
        page = build_page(studio).blocks
        yield [function for function in page.fns.values() if function.fn is not None]


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


def _logged(caplog: pytest.LogCaptureFixture) -> str:
    """The fault that the log tells of."""
    info = caplog.records[-1].exc_info if caplog.records else None
    return repr(info[1]) if info else ""


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
            function.fn(gr.Request(username="ada"), *_given(function, value))
        except gr.Error as error:
            if "fault of ours" in str(error.message):
                faults.append(f"{function.name}: {_logged(caplog)}")
    assert faults == []


PLAUSIBLE: dict[str, Any] = {
    "concepts": ["octo"], "concept": "octo", "recipe": "quick", "steps": 3, "slot": -1, "name": "octo", "seed": 1,
    "prompt": "a photo of <octo>", "id": "0123abcd", "files": [], "file": {"path": "octo.safetensors"},
}  # fmt: skip
"""What programs send, by the name of the parameter; other parameters have the functions' own defaults."""
ODD: list[Any] = [
    None, "", "\0", "x" * 300, "<octo>", "../octo", True, -1, 2**70, float("nan"), [], [[]], [["octo"]], [{}],
    ["octo", None], ["octo"] * 3, {}, {"octo": 1}, {"octo": [1]}, {"path": ["octo"]},
]  # fmt: skip


def _offered(events: list[Any]) -> Iterator[tuple[Any, list[inspect.Parameter], dict[str, Any]]]:
    """The functions that programs call by name, each with its parameters and plausible values of them."""
    for function in events:
        if function.api_visibility != "public":
            continue
        parameters = list(inspect.signature(function.fn).parameters.values())[1:]
        given = {
            each.name: PLAUSIBLE.get(each.name, None if each.default is each.empty else each.default)
            for each in parameters
        }
        yield function, parameters, given


def test_there_are_functions_that_programs_call(events: list[Any]):
    names = {function.api_name for function, _, _ in _offered(events)}
    assert {"train", "concepts", "adapters", "assign_slot", "draw", "score"} <= names


def test_plausible_values_are_taken(events: list[Any]):
    found = {function.api_name: (function, given) for function, _, given in _offered(events)}
    function, given = found["train"]
    job = function.fn(gr.Request(username="ada"), *given.values())
    assert job["state"] == "queued"
    function, given = found["cancel"]
    assert function.fn(gr.Request(username="ada"), *{**given, "id": job["id"]}.values())["state"] == "cancelled"


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:40])
def test_no_named_function_has_a_fault_when_one_value_is_odd_and_the_others_are_not(
    events: list[Any], value: Any, caplog: pytest.LogCaptureFixture
):
    faults = []
    for function, parameters, given in _offered(events):
        for parameter in parameters:
            caplog.clear()
            try:
                function.fn(gr.Request(username="ada"), *{**given, parameter.name: copy.deepcopy(value)}.values())
            except gr.Error as error:
                if "fault of ours" in str(error.message):
                    faults.append(f"{function.api_name}, {parameter.name}: {_logged(caplog)}")
    assert faults == []


def test_nobody_gets_an_answer(events: list[Any]):
    for function in events:
        with pytest.raises(gr.Error, match="logged in"):
            function.fn(gr.Request(username=None), *_given(function, None))


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("mug") | st.just("0.png")
)
KEYS = st.sampled_from(["concept", "name", "folder", "text", "box", "path", "files", "failed", "file", "id", "index"])
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))
"""What an event of a component of ours may tell."""


@pytest.fixture(scope="module", params=[concepts.build, files.build], ids=["concepts", "files"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """A screen whose own components tell it something, with one concept."""
    with closing(studio_in(tmp_path_factory.mktemp("asked"))) as studio:
        write_concept(studio.root.concepts / "mug", "mug", 1)
        yield screen_of(studio, request.param)


@hypothesis.given(told=ANYTHING)
def test_events_that_anybody_made_up_are_answered_in_words(asked: Screen, told: Any) -> None:
    state = {**STATE, "file": None}
    heard, said = 0, []
    for held in asked.blocks.fns.values():
        parameters = list(held.fn.__signature__.parameters.values()) if held.fn else []
        if not any(parameter.annotation is gr.EventData for parameter in parameters):
            continue
        values = [
            gr.EventData(None, told)
            if parameter.annotation is gr.EventData
            else state
            if parameter.name == "kept"
            else 0
            if parameter.name == "resting"
            else parameter.default
            if parameter.default is not parameter.empty
            else []
            for parameter in parameters[1:]
        ]
        assert held.fn is not None
        try:
            held.fn(gr.Request(), *values)
        except gr.Error as error:
            said.append(str(error.message))
        heard += 1
    assert heard >= 3 and not [words for words in said if "fault of ours" in words]
