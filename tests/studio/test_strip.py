from typing import Any

import gradio as gr
import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.studio.board import Board, Holding
from spectral_diffusion.studio.parts.strip import HUES, dropped, hue_numbers, strip_value, waiting_value
from tests.studio.desks import IMAGINARY


def board(*holdings: Holding, rank: int = 2, without: tuple[str, ...] = ()) -> Board:
    return Board(IMAGINARY, rank, holdings, without, ())


def event(data: Any) -> gr.EventData:
    return gr.EventData(None, data)


def test_a_strip_holds_every_slot_with_its_energy_and_every_range_where_it_is():
    held = Holding("octo", ColumnSlot(4, 2), "reserved"), Holding("wide", ColumnSlot(5, 5), "trained", ("w",))
    value = strip_value(board(*held, without=("mug",)), "moved")
    assert (value["rank"], value["capacity"], len(value["energy"])) == (2, 6, 6)
    assert value["energy"][0] == pytest.approx(0.5)
    assert value["energy"][5] is None
    assert [(r["concept"], r["start"], r["width"], r["state"], r["words"]) for r in value["ranges"]] == [
        ("octo", 4, 2, "reserved", "reserved"),
        ("wide", 5, 5, "trained", "trained"),
    ]
    assert [item["concept"] for item in value["without"]] == ["mug"]
    assert value["note"] == "moved"


def test_what_lies_beyond_the_last_slot_is_shown_and_is_no_slot():
    value = strip_value(board(Holding("old", ColumnSlot(13, 3), "trained", ("old",))))
    assert (value["capacity"], len(value["energy"])) == (6, 8)
    assert strip_value(board(rank=5))["energy"][2:] == [None], "two columns are left over"
    far = Holding("forged", ColumnSlot(10**12, 10**9), "trained", ("forged",))
    assert len(strip_value(board(far))["energy"]) == 12


def test_concepts_keep_apart_by_colour_as_long_as_there_are_any():
    names = [f"c{number}" for number in range(len(HUES))]
    hues = hue_numbers(board(without=tuple(names)))
    assert sorted(hues.values()) == list(range(len(HUES)))
    more = hue_numbers(board(without=(*names, "z")))
    assert set(more.values()) == set(range(len(HUES)))


def test_letters_can_be_read_on_every_colour():
    def light(hex_colour: str) -> float:
        parts = [int(hex_colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for hue in HUES:
        assert (light(hue) + 0.05) / (light("#1c1a17") + 0.05) > 4.5


def test_a_drop_tells_the_concept_and_the_slot():
    assert dropped(event({"concept": "octo", "slot": 3})) == ("octo", 3)


@pytest.mark.parametrize(
    "data",
    [None, {}, [], "octo", {"concept": "octo"}, {"slot": 3}, {"concept": 3, "slot": 3}]
    + [{"concept": "octo", "slot": slot} for slot in (None, "3", 1.5, True, [3])],
)
def test_a_forged_drop_is_refused_in_words(data: Any):
    with pytest.raises(InputError, match="reload the page"):
        dropped(event(data))


def test_while_nothing_is_known_the_strip_says_why():
    value = waiting_value("wait")
    assert (value["waits"], value["energy"], value["ranges"]) == ("wait", [], [])
