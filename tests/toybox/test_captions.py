import random
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.arrangement import position_of
from spectral_diffusion.toybox.backgrounds import BACKGROUNDS
from spectral_diffusion.toybox.captions import WORDS, caption, sentence
from spectral_diffusion.toybox.scene import Placement, Scene
from spectral_diffusion.toybox.toy import KINDS, Toy, sample_toy

_SEEDS = st.integers(0, 2**31)


def _scene(kinds: list[str], seed: int, background: str) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    toys = [sample_toy(kind, generator).as_toy() for kind in kinds]
    places = sorted(torch.rand(len(toys), generator=generator).tolist())
    return Scene(tuple(Placement(toy, x, 0.9, 0.5) for toy, x in zip(toys, places, strict=True)), background)


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True), st.sampled_from(BACKGROUNDS), _SEEDS)
def test_toys_are_named_from_left_to_right(kinds: list[str], background: str, seed: int) -> None:
    words = re.findall("[a-z]+", caption(_scene(kinds, seed, background), random.Random(seed)))
    assert [word for word in words if word in KINDS] == kinds


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3), st.sampled_from(BACKGROUNDS), _SEEDS)
def test_every_word_is_known_to_the_tokenizer(kinds: list[str], background: str, seed: int) -> None:
    text = caption(_scene(kinds, seed, background), random.Random(seed))
    assert set(re.findall("[a-z]+", text)) <= set(WORDS)
    assert "  " not in text
    assert text == text.strip()


@given(_SEEDS, st.integers(2, 3))
def test_words_for_places_fit_the_order(seed: int, count: int) -> None:
    text = sentence(["a cup", "a car", "a cat"][:count], "at night", 1, random.Random(seed))
    found = re.findall("on the left|in the middle|on the right", text)
    assert found in (
        [],
        ["on the left", "on the right"] if count == 2 else ["on the left", "in the middle", "on the right"],
    )


@given(_SEEDS, st.floats(0, 1))
def test_a_single_toy_is_only_said_to_stand_where_it_stands(seed: int, x: float) -> None:
    scene = Scene((Placement(Toy("cup", "red"), x, 0.9, 0.5),), "at night")
    found = re.findall("on the left|in the middle|on the right", caption(scene, random.Random(seed)))
    assert found in ([], [["on the left", "in the middle", "on the right"][position_of(x)]])


def test_wording_varies_and_the_background_is_sometimes_left_out() -> None:
    scene = _scene(["cat", "car", "cup"], 4, "in the snow")
    texts = {caption(scene, random.Random(seed)) for seed in range(200)}
    assert len(texts) > 40
    assert 0.02 < sum("in the snow" not in text for text in texts) / len(texts) < 0.3
    assert any("on the left" in text for text in texts)
    assert any(text.startswith("a photo of") for text in texts)


def test_an_empty_scene_is_its_background() -> None:
    assert caption(Scene((), "on the beach"), random.Random(0)) == "on the beach"


def test_more_than_three_places_have_no_words() -> None:
    def many_wordings() -> list[str]:
        return [sentence(["a cup"] * 4, "at night", 1, random.Random(seed)) for seed in range(100)]

    with pytest.raises(InputError, match="at most three"):
        many_wordings()
