import inspect
import typing
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import gradio as gr
import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.events import event, in_page_words, sentence
from spectral_diffusion.studio.studio import Studio
from tests.studio.desks import studio_in

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio that people log into."""
    with closing(studio_in(tmp_path_factory.mktemp("people"), has_accounts=True)) as studio:
        yield studio


@pytest.fixture
def call(people: Studio) -> Call:
    """A function as Ada's page calls it."""
    return lambda function, *values: event(people, function)(gr.Request(username="ada"), *values)


def test_an_event_gets_the_desk_of_whoever_is_logged_in(people: Studio, call: Call):
    desk, more = call(lambda desk, more: (desk, more), 7)
    assert (desk, more) == (Desk.of(people, "ada"), 7)
    assert (desk.user, desk.workspace.root) == ("ada", people.root.root / "users" / "ada")


def test_gradio_sees_its_own_types_in_place_of_the_desk(people: Studio):
    def picked(desk: object, name: str, evt: gr.SelectData) -> list[str]:
        return [name]

    wrapped = event(people, picked)
    assert list(inspect.signature(wrapped).parameters) == ["request", "name", "evt"]
    hints = typing.get_type_hints(wrapped)
    assert hints["request"] is gr.Request and hints["evt"] is gr.SelectData and hints["return"] == list[str]


def test_wrong_input_is_told_in_words_without_markup_of_strangers(call: Call):
    def fail(desk: object) -> None:
        raise InputError("there is no <img src=x> here", "take another")

    with pytest.raises(gr.Error) as caught:
        call(fail)
    assert caught.value.message == "There is no &lt;img src=x&gt; here. Take another"
    assert caught.value.print_exception is False


REMEDIES = [
    ("free one with `spectral-diffusion slots release NAME`, or use a smaller rank", "Free one in Slots, or use a s"),
    ("choose another or auto, or free it with `spectral-diffusion slots release octo`", "Choose another or auto, or"),
    ("write elsewhere with --out; or, to replace it, delete that file", "To replace it, delete that file in Files"),
    ("start one with `spectral-diffusion worker`", "Ask whoever runs this studio to start one"),
    ("see what there is with `spectral-diffusion jobs list`", "Reload the page"),
    ("give a file that `spectral-diffusion train` or `fuse` wrote", "Give a file that this program wrote"),
    ("continue with the same photographs and options, or train again without --resume", "Continue with the same"),
    ("train without --resume to begin anew", "Train it anew"),
    ("leave it out, or draw anew with --prompt and --adapter", "Leave it out, or draw anew in Create"),
    ("give its file, sha256 of tensors 0a1b2c..., with --adapter", "Import its file in Files: sha256 of tensors 0a1b"),
    ("give one another word: --rename <octo>=NEW renames that of octo", "Import one that has another token"),
    ("choose another", "Choose another"),
]


@pytest.mark.parametrize(("remedy", "begins"), REMEDIES)
def test_remedies_of_the_terminal_are_told_as_those_of_the_page(remedy: str, begins: str):
    said = in_page_words(InputError("slot 1 is held by octo", remedy))
    assert said.startswith(f"Slot 1 is held by octo. {begins}")
    assert "`" not in said and "--" not in said


@pytest.mark.parametrize(
    ("text", "said"), [("it is <octo>", "It is <octo>"), ("SDXL is no base", "SDXL is no base"), ("", "")]
)
def test_a_sentence_begins_with_a_capital_and_is_otherwise_as_it_was(text: str, said: str):
    assert sentence(text) == said


def test_what_the_queue_says_is_told_as_the_page_says_it(call: Call):
    def fail(desk: object) -> None:
        raise InputError("job 'x' is not found", "see what there is with `spectral-diffusion jobs list`")

    with pytest.raises(gr.Error) as caught:
        call(fail)
    assert caught.value.message == "Job &#x27;x&#x27; is not found. Reload the page"


def test_a_fault_of_ours_goes_to_the_log_and_not_to_the_page(call: Call, caplog: pytest.LogCaptureFixture):
    def fail(desk: object) -> None:
        raise KeyError("secret/path")

    with pytest.raises(gr.Error) as caught:
        call(fail)
    assert "secret/path" not in caught.value.message and "fault of ours" in caught.value.message
    assert "secret/path" in caplog.text
