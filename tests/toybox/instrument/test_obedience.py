"""Prompts that say kinds and colours alone, and how pictures of them are counted."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion.toybox.instrument import obedience as file
from spectral_diffusion.toybox.instrument.finder import FoundToy, ToyFinder
from spectral_diffusion.toybox.instrument.obedience import obedience, plain_prompts
from spectral_diffusion.toybox.instrument.reader import ToyReader

PICTURE = torch.zeros(3, 8, 8, dtype=torch.uint8)
FOUND = FoundToy(torch.ones(8, 8, dtype=torch.bool), (0, 0, 8, 8), (4, 4))


@given(st.integers(0, 1000), st.integers(1, 3))
def test_no_kind_and_no_colour_is_said_twice_in_one_prompt(seed: int, toys: int) -> None:
    for prompt, named in plain_prompts(5, toys, "wide", seed):
        kinds, colours = zip(*named, strict=True)
        assert len(named) == len(set(kinds)) == len(set(colours)) == toys
        places = [prompt.text.index(f"{colour} {kind}") for kind, colour in named]
        assert places == sorted(places)


def test_prompts_are_the_same_every_time() -> None:
    assert plain_prompts(20, 3, "wide") == plain_prompts(20, 3, "wide")


@pytest.mark.parametrize(
    ("seen", "counted", "kinds", "right", "colours"),
    [
        ([("dog", "red"), ("cat", "blue")], 1, 1, 1, 1.0),
        ([("dog", "blue"), ("cat", "red")], 1, 1, 0, 0.0),
        ([("cat", "blue"), ("dog", "red")], 1, 0, 0, 0.0),
        ([("dog", "red")], 0, 0, 0, 1.0),
        ([("dog", "red"), ("cat", "green")], 1, 1, 0, 0.5),
        ([], 0, 0, 0, 0.0),
    ],
)
def test_a_picture_is_right_where_all_of_it_is(
    monkeypatch: pytest.MonkeyPatch, seen: list, counted: int, kinds: int, right: int, colours: float
) -> None:
    monkeypatch.setattr(file, "find_toys", lambda finder, images: [[FOUND] * len(seen)] * len(images))
    looks = [{"kind": kind, "colour": colour} for kind, colour in seen]
    monkeypatch.setattr(file, "read_toys", lambda reader, images, toys: looks)
    said = plain_prompts(1, 2, "wide")[0]._replace(toys=(("dog", "red"), ("cat", "blue")))
    told = obedience([PICTURE], [said], ToyFinder(), ToyReader())
    assert told == {"counted": counted, "kinds_in_order": kinds, "all_right": right, "colours": colours}
