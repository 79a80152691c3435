"""Toys of the instrument and what can be read from them."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_diffusion.toybox.instrument.attributes import ATTRIBUTES, EXTRAS, NONE, labels_of, looks_of
from spectral_diffusion.toybox.instrument.judged_toys import sample_judged_toys, sample_twins, without
from spectral_diffusion.toybox.sample_concepts import SAMPLES
from spectral_diffusion.toybox.toy import HELD_OUT_MARKS, KINDS

KIND, SEED = st.sampled_from(KINDS), st.integers(0, 2**32 - 1)


@settings(max_examples=200, deadline=None)
@given(KIND, SEED)
def test_twins_differ_in_one_extra_and_in_nothing_else(kind: str, seed: int) -> None:
    toy, twin, extra = sample_twins(kind, torch.Generator().manual_seed(seed))
    mine, its = looks_of(toy), looks_of(twin)
    assert extra in EXTRAS and mine[extra] != NONE and its[extra] == NONE
    assert {name for name in ATTRIBUTES if mine[name] != its[name]} == {extra}
    assert toy.shape == twin.shape and without(toy, extra) == twin


@settings(max_examples=50, deadline=None)
@given(KIND, SEED)
def test_twins_are_a_function_of_the_seed(kind: str, seed: int) -> None:
    assert sample_twins(kind, torch.Generator().manual_seed(seed)) == sample_twins(
        kind, torch.Generator().manual_seed(seed)
    )


@settings(max_examples=100, deadline=None)
@given(KIND, SEED)
def test_labels_say_what_the_looks_say(kind: str, seed: int) -> None:
    toy, *_ = sample_twins(kind, torch.Generator().manual_seed(seed))
    said = {
        name: classes[label] for (name, classes), label in zip(ATTRIBUTES.items(), labels_of(toy).tolist(), strict=True)
    }
    assert said == looks_of(toy)


def test_every_extra_and_every_kind_comes_up() -> None:
    toys = sample_judged_toys(30, torch.Generator().manual_seed(0))
    seen = {name for toy in toys for name in EXTRAS if looks_of(toy)[name] != NONE}
    assert {toy.kind for toy in toys} == set(KINDS) and seen == set(EXTRAS)
    assert {mark.name for toy in toys for mark in toy.marks} >= set(HELD_OUT_MARKS)


def test_the_samples_looks_hold_their_marks() -> None:
    looks = {name: looks_of(concept.toy) for name, concept in SAMPLES.items()}
    assert looks["octo"]["star"] == "yellow" and looks["octo"]["tips"] == "yellow"
    assert looks["shelly"]["hat"] == "blue" and looks["shelly"]["limbs"] == "green"
    assert looks["spot"]["eye_patch"] == "black" and looks["spot"]["scarf"] == "red"


def test_a_second_colour_that_is_the_main_one_is_none() -> None:
    toy = SAMPLES["octo"].toy
    same = type(toy)(toy.kind, toy.colour, limb_colour=toy.colour)
    assert looks_of(same)["limbs"] == NONE
