"""Toys for the instrument: they carry what pretraining may not show, and each has a twin that lacks one thing of it.

Judges may see every mark, the base may not; so these toys are never given to the base.
"""

from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch

from spectral_diffusion.toybox.toy import (
    COLOURS,
    FACED_KINDS,
    HELD_OUT_MARKS,
    KINDS,
    LIMBED_KINDS,
    PARTED_KINDS,
    TIPPED_KINDS,
    Accessory,
    Mark,
    Toy,
    accessories_of,
    places_of,
    sample_toy,
    tell_apart,
)

_Choice = TypeVar("_Choice")
_HIDES = {"hat": ("forehead",), "scarf": ("belly",), "glasses": ("left eye", "right eye")}


class Twins(NamedTuple):
    """Two toys that are equal but for one extra.

    Args:
        toy: Has it.
        twin: Lacks it.
        extra: Which, by its name in `attributes.EXTRAS`.
    """

    toy: Toy
    twin: Toy
    extra: str


def sample_twins(kind: str, generator: torch.Generator) -> Twins:
    """A random toy of a kind with one extra at least, often one that pretraining holds out, and its twin.

    Args:
        kind: One of `KINDS`.
        generator: CPU generator; the twins are a function of its state alone.
    """
    while True:
        toy = _with_extras(sample_toy(kind, generator).as_toy(), generator)
        extras = _extras_of(toy)
        if extras:
            extra = _pick(tuple(extras), generator)
            return Twins(toy, without(toy, extra), extra)


def sample_judged_toys(twins_per_kind: int, generator: torch.Generator) -> list[Toy]:
    """Toys of all kinds; each of an even number is followed by its twin."""
    pairs = [sample_twins(kind, generator) for kind in KINDS for _ in range(twins_per_kind)]
    return [toy for pair in pairs for toy in (pair.toy, pair.twin)]


def without(toy: Toy, extra: str) -> Toy:
    """The toy without an extra that it has, by its name in `attributes.EXTRAS`."""
    if extra in ("limbs", "tips", "part"):
        return replace(toy, **{{"limbs": "limb_colour", "tips": "tip_colour", "part": "part_colour"}[extra]: None})
    return replace(
        toy,
        marks=tuple(mark for mark in toy.marks if mark.name != extra),
        accessories=tuple(accessory for accessory in toy.accessories if accessory.name != extra),
    )


def _with_extras(toy: Toy, generator: torch.Generator) -> Toy:
    def chance(probability: float) -> bool:
        return float(torch.rand((), generator=generator)) < probability

    def other_colour(*taken: str | None) -> str:
        return _pick(
            tuple(name for name in COLOURS if all(tell_apart(name, colour) for colour in taken if colour)), generator
        )

    limbs = other_colour(toy.colour, toy.pattern_colour) if toy.kind in LIMBED_KINDS and chance(0.3) else None
    tips = other_colour(toy.colour, limbs) if toy.kind in TIPPED_KINDS and chance(0.3) else None
    part = other_colour(toy.colour, toy.pattern_colour) if toy.kind in PARTED_KINDS and chance(0.3) else None
    accessories, marks = toy.accessories, toy.marks
    if not accessories and accessories_of(toy.kind) and chance(0.25):
        wear = _pick(accessories_of(toy.kind), generator)
        accessories = (Accessory(wear, other_colour(toy.colour, toy.pattern_colour)),)
    worn = {accessory.name for accessory in accessories}
    hidden = {mark.place for mark in marks}.union(*(_HIDES.get(name, ()) for name in worn))
    skin = {"doll": ("brown", "black"), "tortoise": ("green",)}.get(toy.kind, ())
    if chance(0.65):
        name = _pick(HELD_OUT_MARKS if toy.kind in FACED_KINDS else ("star", "moon"), generator)
        offered = [place for place in places_of(toy.kind) if place not in hidden and _fits(name, place)]
        if offered:
            colour = other_colour(toy.colour, toy.pattern_colour, *skin)
            marks = (*marks, Mark(name, colour, _pick(tuple(offered), generator)))
    return replace(toy, accessories=accessories, marks=marks, limb_colour=limbs, tip_colour=tips, part_colour=part)


def _fits(name: str, place: str) -> bool:
    if name == "eye_patch":
        return place in ("left eye", "right eye")
    return place in ("forehead", "belly", "side", "front")


def _extras_of(toy: Toy) -> list[str]:
    second = {"limbs": toy.limb_colour, "tips": toy.tip_colour, "part": toy.part_colour}
    names = [mark.name for mark in toy.marks] + [accessory.name for accessory in toy.accessories]
    return names + [name for name, colour in second.items() if colour]


def _pick(choices: tuple[_Choice, ...], generator: torch.Generator) -> _Choice:
    return choices[int(torch.randint(len(choices), (), generator=generator))]
