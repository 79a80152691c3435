"""Laws of describing toys: what is valid, what pretraining can express, what words say."""

import dataclasses
import itertools
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.phrases import HELD_OUT_WORDS, WORDS, describe
from spectral_diffusion.toybox.toy import (
    ACCESSORIES,
    COLOURS,
    FACED_KINDS,
    FACES,
    HELD_OUT_MARKS,
    KINDS,
    PATTERNS,
    PRETRAINING_MARKS,
    Accessory,
    Mark,
    PretrainingMark,
    PretrainingToy,
    PretrainingWear,
    Toy,
    sample_toy,
)


def _held_out(toy: Toy) -> list[str]:
    found = [mark.name for mark in toy.marks if mark.name not in PRETRAINING_MARKS]
    found += [f"{worn.name} on {toy.kind}" for worn in toy.accessories if (toy.kind, worn.name) == ("tortoise", "hat")]
    found += [name for name in ("limb_colour", "tip_colour", "part_colour") if getattr(toy, name) is not None]
    return found


def test_no_pretraining_toy_can_express_what_is_held_out():
    fields = {field.name for field in dataclasses.fields(PretrainingToy)}
    assert not fields & {"limb_colour", "tip_colour", "part_colour", "accessories", "marks"}
    expressed = 0
    anything = [None, *PretrainingMark, *HELD_OUT_MARKS, Mark("star", "red", "forehead"), "heart"]
    wears = [None, *PretrainingWear, *ACCESSORIES, Accessory("hat", "red")]
    for kind, wear, mark in itertools.product(KINDS, wears, anything):
        try:
            toy = PretrainingToy(
                kind,
                "white",
                wear=wear,
                wear_colour="red" if wear else None,
                mark=mark,
                mark_colour="blue" if mark else None,
            ).as_toy()
        except InputError:
            continue
        expressed += 1
        assert not _held_out(toy)
    # Every kind plain, and a good deal more: the loop above met toys, not only refusals.
    assert expressed > 5 * len(KINDS)


def test_held_out_and_pretraining_marks_share_nothing():
    assert not set(HELD_OUT_MARKS) & {mark.value[0] for mark in PretrainingMark}
    assert {mark.value[0] for mark in PretrainingMark} == set(PRETRAINING_MARKS)


@settings(max_examples=50)
@given(st.sampled_from(KINDS), st.integers(0, 2**32))
def test_sampled_toys_are_functions_of_the_generator_and_hold_nothing_held_out(kind, seed):
    first, second = (sample_toy(kind, torch.Generator().manual_seed(seed)) for _ in range(2))
    assert first == second
    assert first.kind == kind
    assert not _held_out(first.as_toy())


def test_sampling_shows_everything_that_is_not_held_out():
    generator = torch.Generator().manual_seed(0)
    toys = [sample_toy(kind, generator) for kind in KINDS for _ in range(150)]
    assert {toy.colour for toy in toys} == set(COLOURS)
    assert {toy.pattern for toy in toys} == set(PATTERNS)
    assert {toy.face for toy in toys} == {*FACES, None}
    assert {toy.wear for toy in toys} == {*PretrainingWear, None}
    assert {toy.mark.value[0] for toy in toys if toy.mark} == set(PRETRAINING_MARKS)


@settings(max_examples=200)
@given(st.sampled_from(KINDS), st.integers(0, 2**32), st.integers(0, 2**32))
def test_a_phrase_says_only_what_the_toy_has(kind, seed, words_seed):
    toy = sample_toy(kind, torch.Generator().manual_seed(seed)).as_toy()
    words = describe(toy, random.Random(words_seed)).split()
    assert kind in words
    assert set(words) <= set(WORDS)
    shown = {toy.colour, toy.pattern_colour, *(extra.colour for extra in (*toy.accessories, *toy.marks))}
    assert {word for word in words if word in COLOURS} <= shown
    assert {word for word in words if word in FACES} <= {toy.face}
    assert {word for word in words if word in ACCESSORIES} <= {worn.name for worn in toy.accessories}
    marks = {mark.name for mark in toy.marks} | ({"dots"} if toy.pattern == "dotted" else set())
    assert {word for word in words if word in PRETRAINING_MARKS} <= marks


def test_held_out_marks_have_words_of_their_own():
    toy = Toy("dog", "white", face="happy", marks=(Mark("eye_patch", "black", "left eye"),))
    said = {word for seed in range(20) for word in describe(toy, random.Random(seed)).split()}
    assert "patch" in said
    assert said <= set(WORDS) | set(HELD_OUT_WORDS)
    assert not set(WORDS) & set(HELD_OUT_WORDS)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Toy("dragon", "red"), "dragon"),
        (lambda: Toy("dog", "mauve"), "mauve"),
        (lambda: Toy("dog", "red", "striped"), "None"),
        (lambda: Toy("dog", "red", "striped", "red"), "red"),
        (lambda: Toy("dog", "red", pattern_colour="blue"), "blue"),
        (lambda: Toy("chair", "red", face="happy"), "happy"),
        (lambda: Toy("chair", "red", accessories=(Accessory("hat", "red"),)), "hat"),
        (lambda: Toy("octopus", "red", accessories=(Accessory("scarf", "red"),)), "scarf"),
        (lambda: Toy("dog", "red", accessories=("hat",)), "hat"),  # type: ignore[arg-type]
        (lambda: Toy("dog", "red", accessories=(Accessory("hat", "red"), Accessory("hat", "blue"))), "hat, hat"),
        (lambda: Toy("octopus", "red", marks=(Mark("star", "blue", "belly"),)), "belly"),
        (lambda: Toy("ball", "red", part_colour="blue"), "blue"),
        (lambda: Toy("dog", "red", limb_colour="mauve"), "mauve"),
        (lambda: Toy("dog", "red", shape=(0.5,) * 4), "0.5"),
        (lambda: Toy("dog", "red", shape=(0.5, 0.5, 0.5, 0.5, float("nan"))), "nan"),
        (lambda: Toy("dog", "red", shape=(0.5, 0.5, 0.5, 0.5, 1.5)), "1.5"),
        (lambda: Mark("comet", "red", "belly"), "comet"),
        (lambda: Mark("eye_patch", "red", "belly"), "belly"),
        (lambda: Accessory("crown", "red"), "crown"),
        (lambda: PretrainingToy("dog", "red", mark=PretrainingMark.HEART_ON_SIDE), "None"),
        (
            lambda: PretrainingToy("tortoise", "red", wear=PretrainingWear.HAT, wear_colour="blue"),
            "tortoise",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_value_and_a_remedy(make, told):
    with pytest.raises(InputError) as error:
        make()
    assert told in error.value.what
    assert error.value.remedy


def test_a_faced_kind_may_have_every_face():
    for kind, face in itertools.product(FACED_KINDS, (*FACES, None)):
        assert Toy(kind, "red", face=face).face == face
