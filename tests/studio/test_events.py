import inspect
import typing
from typing import Any

import gradio as gr
import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.events import event


class _Studio:
    def desk(self, user: str | None) -> str:
        return f"the desk of {user}"


class _Request:
    username = "ada"


def _call(function: Any, *values: Any) -> Any:
    return event(_Studio(), function)(_Request(), *values)  # type: ignore[arg-type]


def test_an_event_gets_the_desk_of_whoever_is_logged_in():
    assert _call(lambda desk, more: (desk, more), 7) == ("the desk of ada", 7)


def test_gradio_sees_its_own_types_in_place_of_the_desk():
    def picked(desk: object, name: str, evt: gr.SelectData) -> list[str]:
        return [name]

    wrapped = event(_Studio(), picked)  # type: ignore[arg-type]
    assert list(inspect.signature(wrapped).parameters) == ["request", "name", "evt"]
    hints = typing.get_type_hints(wrapped)
    assert hints["request"] is gr.Request and hints["evt"] is gr.SelectData and hints["return"] == list[str]


def test_wrong_input_is_told_in_words_without_markup_of_strangers():
    def fail(desk: object) -> None:
        raise InputError("there is no <img src=x> here", "take another")

    with pytest.raises(gr.Error) as caught:
        _call(fail)
    assert caught.value.message == "There is no &lt;img src=x&gt; here. Take another"
    assert caught.value.print_exception is False


def test_a_fault_of_ours_goes_to_the_log_and_not_to_the_page(caplog: pytest.LogCaptureFixture):
    def fail(desk: object) -> None:
        raise KeyError("secret/path")

    with pytest.raises(gr.Error) as caught:
        _call(fail)
    assert "secret/path" not in caught.value.message and "fault of ours" in caught.value.message
    assert "secret/path" in caplog.text
