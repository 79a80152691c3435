"""What a toy is: the public, typed description from which the toy world draws.

`Toy` can say everything the renderer can draw, and anybody may describe a new one. `PretrainingToy` is what the base
is trained on: its fields have types of their own that cannot name the held-out things (a star on the forehead, a patch
over one eye, limbs or tips in a second colour, a hat on a tortoise), so no sampler can leak them into pretraining.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

import torch

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.vocabulary import (
    ACCESSORIES,
    COLOURS,
    FACED_KINDS,
    FACES,
    KINDS,
    LIMBED_KINDS,
    MARKS,
    PARTED_KINDS,
    PATTERNS,
    PLACES_OF_MARK,
    SHAPE_LENGTH,
    TIPPED_KINDS,
    accessories_of,
    places_of,
)
from spectral_diffusion.toybox.vocabulary import ANIMALS as ANIMALS
from spectral_diffusion.toybox.vocabulary import FIGURES as FIGURES
from spectral_diffusion.toybox.vocabulary import HELD_OUT_MARKS as HELD_OUT_MARKS
from spectral_diffusion.toybox.vocabulary import PLACES as PLACES
from spectral_diffusion.toybox.vocabulary import PRETRAINING_MARKS as PRETRAINING_MARKS
from spectral_diffusion.toybox.vocabulary import THINGS as THINGS

_Choice = TypeVar("_Choice")


def _require(value: str | None, allowed: Iterable[str], what: str) -> None:
    allowed = tuple(allowed)
    if value not in allowed:
        choices = ", ".join(allowed) if allowed else "none for this kind"
        raise InputError(f"{what} is {value!r}", f"choose one of: {choices}")


@dataclass(frozen=True)
class Mark:
    """A small painted mark.

    Args:
        name: One of `MARKS`.
        colour: One of `COLOURS`.
        place: One of `PLACES`; what a kind offers is `places_of(kind)`.
    """

    name: str
    colour: str
    place: str

    def __post_init__(self) -> None:
        _require(self.name, MARKS, "a mark's name")
        _require(self.colour, COLOURS, f"the colour of the mark {self.name!r}")
        _require(self.place, PLACES_OF_MARK[self.name], f"the place of the mark {self.name!r}")


@dataclass(frozen=True)
class Accessory:
    """Something worn: one of `ACCESSORIES` in one of `COLOURS`."""

    name: str
    colour: str

    def __post_init__(self) -> None:
        _require(self.name, ACCESSORIES, "an accessory's name")
        _require(self.colour, COLOURS, f"the colour of the {self.name}")


@dataclass(frozen=True)
class Toy:
    """A toy, complete: equal descriptions are drawn equally.

    Args:
        kind: One of `KINDS`.
        colour: Main colour, one of `COLOURS`.
        pattern: One of `PATTERNS`, in `pattern_colour` on the main colour.
        pattern_colour: Needed for every pattern but "plain".
        face: One of `FACES`, or None: things have none, other toys then have no mouth.
        accessories: At most one of each name.
        marks: At most one in each place.
        limb_colour: Legs, arms, tentacles (and a tortoise's head) in a second colour.
        tip_colour: Ends of the limbs: paws, hands, feet, tentacle tips.
        part_colour: The part that marks the kind: ears, wings, hair, a car's roof, a cup's handle, a seat.
        shape: Five proportions in [0, 1]; what each varies differs per kind.

    Raises:
        InputError: A name is unknown, or the kind cannot have what is asked for.
    """

    kind: str
    colour: str
    pattern: str = "plain"
    pattern_colour: str | None = None
    face: str | None = None
    accessories: tuple[Accessory, ...] = ()
    marks: tuple[Mark, ...] = ()
    limb_colour: str | None = None
    tip_colour: str | None = None
    part_colour: str | None = None
    shape: tuple[float, ...] = field(default=(0.5,) * SHAPE_LENGTH)

    def __post_init__(self) -> None:
        _require(self.kind, KINDS, "a toy's kind")
        _require(self.colour, COLOURS, f"the colour of the {self.kind}")
        _require(self.pattern, PATTERNS, f"the pattern of the {self.kind}")
        if self.pattern == "plain":
            if self.pattern_colour is not None:
                raise InputError(
                    f"a plain {self.kind} has the pattern colour {self.pattern_colour!r}",
                    "leave it out or add a pattern",
                )
        else:
            _require(
                self.pattern_colour,
                [name for name in COLOURS if name != self.colour],
                f"the pattern colour of the {self.colour} {self.pattern} {self.kind}",
            )
        if self.face is not None:
            _require(self.face, FACES if self.kind in FACED_KINDS else (), f"the face of the {self.kind}")
        self._check_extras()
        self._check_second_colours()
        if len(self.shape) != SHAPE_LENGTH or not all(isinstance(v, int | float) and 0 <= v <= 1 for v in self.shape):
            raise InputError(
                f"the shape of the {self.kind} is {self.shape!r}", f"give {SHAPE_LENGTH} numbers between 0 and 1"
            )

    def _check_extras(self) -> None:
        for what, values, wanted in (("accessory", self.accessories, Accessory), ("mark", self.marks, Mark)):
            for value in values:
                if not isinstance(value, wanted):
                    raise InputError(
                        f"one {what} of the {self.kind} is {value!r}",
                        f"give {wanted.__name__}(...) objects",
                    )
        for accessory in self.accessories:
            _require(accessory.name, accessories_of(self.kind), f"an accessory of the {self.kind}")
        for mark in self.marks:
            _require(mark.place, places_of(self.kind), f"the place of the {mark.name} on the {self.kind}")
        for what, names in (
            ("accessories", [accessory.name for accessory in self.accessories]),
            ("marks in one place", [mark.place for mark in self.marks]),
        ):
            if len(set(names)) < len(names):
                raise InputError(f"the {self.kind} has several {what}: {', '.join(names)}", "keep one of each")

    def _check_second_colours(self) -> None:
        for what, colour, kinds in (
            ("limb_colour", self.limb_colour, LIMBED_KINDS),
            ("tip_colour", self.tip_colour, TIPPED_KINDS),
            ("part_colour", self.part_colour, PARTED_KINDS),
        ):
            if colour is None:
                continue
            if self.kind not in kinds:
                raise InputError(
                    f"a {self.kind} has no {what}, {colour!r} was given", f"kinds with it: {', '.join(kinds)}"
                )
            _require(colour, COLOURS, f"the {what} of the {self.kind}")


class PretrainingMark(Enum):
    """The marks that pretraining shows, each with its places; no held-out mark is among them."""

    HEART_ON_FOREHEAD = ("heart", "forehead")
    HEART_ON_BELLY = ("heart", "belly")
    HEART_ON_SIDE = ("heart", "side")
    HEART_ON_FRONT = ("heart", "front")
    SPOT_ON_FOREHEAD = ("spot", "forehead")
    SPOT_ON_BELLY = ("spot", "belly")
    SPOT_ON_SIDE = ("spot", "side")
    SPOT_ON_FRONT = ("spot", "front")
    DIAMOND_ON_FOREHEAD = ("diamond", "forehead")
    DIAMOND_ON_BELLY = ("diamond", "belly")
    DIAMOND_ON_SIDE = ("diamond", "side")
    DIAMOND_ON_FRONT = ("diamond", "front")
    DOTS_ON_FOREHEAD = ("dots", "forehead")
    DOTS_ON_BELLY = ("dots", "belly")
    DOTS_ON_SIDE = ("dots", "side")
    DOTS_ON_FRONT = ("dots", "front")
    SASH = ("sash", "belly")
    CHEEKS = ("cheeks", "cheeks")


class PretrainingWear(Enum):
    """The accessories of pretraining; `PretrainingToy` refuses HAT on a tortoise, which is held out."""

    HAT = "hat"
    SCARF = "scarf"
    GLASSES = "glasses"
    BOW = "bow"


def pretraining_wear_of(kind: str) -> tuple[PretrainingWear, ...]:
    """What a kind wears in pretraining: all it can wear, but no hat on a tortoise."""
    return tuple(
        wear
        for wear in PretrainingWear
        if wear.value in accessories_of(kind) and not (kind == "tortoise" and wear is PretrainingWear.HAT)
    )


def pretraining_marks_of(kind: str) -> tuple[PretrainingMark, ...]:
    """The marks a kind carries in pretraining."""
    return tuple(mark for mark in PretrainingMark if mark.value[1] in places_of(kind))


@dataclass(frozen=True)
class PretrainingToy:
    """A toy as pretraining may show it; see `Toy` for the fields.

    At most one accessory and one mark, each from a type that holds nothing held out, and no second colours.

    Raises:
        InputError: A field is not of its type, or the kind cannot have it in pretraining.
    """

    kind: str
    colour: str
    pattern: str = "plain"
    pattern_colour: str | None = None
    face: str | None = None
    wear: PretrainingWear | None = None
    wear_colour: str | None = None
    mark: PretrainingMark | None = None
    mark_colour: str | None = None
    shape: tuple[float, ...] = field(default=(0.5,) * SHAPE_LENGTH)

    def __post_init__(self) -> None:
        _require(self.kind, KINDS, "a toy's kind")
        for what, value, colour, allowed in (
            ("accessory", self.wear, self.wear_colour, pretraining_wear_of(self.kind)),
            ("mark", self.mark, self.mark_colour, pretraining_marks_of(self.kind)),
        ):
            if value is not None and value not in allowed:
                raise InputError(
                    f"the {what} of a {self.kind} in pretraining is {value!r}",
                    f"choose one of: {', '.join(choice.name for choice in allowed) or 'none'}",
                )
            if (value is None) != (colour is None):
                raise InputError(f"the {what} is {value!r}, its colour {colour!r}", "give both or neither")
        self.as_toy()

    def as_toy(self) -> Toy:
        """The same toy as the renderer's description."""
        accessories = () if self.wear is None else (Accessory(self.wear.value, str(self.wear_colour)),)
        marks = () if self.mark is None else (Mark(self.mark.value[0], str(self.mark_colour), self.mark.value[1]),)
        return Toy(
            self.kind, self.colour, self.pattern, self.pattern_colour, self.face, accessories, marks, shape=self.shape
        )


_PALE = ("white", "yellow", "pink")
_HARD_TO_TELL_APART = (
    {"black", "brown"},
    {"blue", "purple"},
    {"red", "orange"},
    {"red", "brown"},
    {"orange", "brown"},
)
_PLAINER_KINDS = ("chair", "table", "car", "robot", "doll")


def tell_apart(a: str, b: str | None) -> bool:
    """Whether an eye tells two colours beside each other apart; any colour differs from none."""
    return a != b and {a, b} not in _HARD_TO_TELL_APART


def sample_toy(kind: str, generator: torch.Generator) -> PretrainingToy:
    """A random toy of a kind for pretraining.

    Two in five are plain (three in five of the kinds with little surface), two in five of those that can wear something
    do, one in three has a mark. Neighbouring colours always differ, so that nothing told is invisible.

    Args:
        kind: One of `KINDS`.
        generator: CPU generator; the toy is a function of its state alone.

    Raises:
        InputError: The kind is unknown.
    """
    _require(kind, KINDS, "a toy's kind")

    def chance(probability: float) -> bool:
        return float(torch.rand((), generator=generator)) < probability

    def pick(choices: tuple[_Choice, ...]) -> _Choice:
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    def other_colour(*taken: str | None) -> str:
        return pick(tuple(name for name in COLOURS if all(tell_apart(name, colour) for colour in taken)))

    colour = pick(tuple(COLOURS))
    pattern, pattern_colour = "plain", None
    if not chance(0.6 if kind in _PLAINER_KINDS else 0.4):
        pattern = pick(PATTERNS[1:])
        contrasting = ("black", "blue", "red", "brown") if colour in _PALE else ("white", "yellow", "black")
        pattern_colour = pick(tuple(name for name in contrasting if tell_apart(name, colour)))
        if chance(0.3):
            pattern_colour = other_colour(colour)
    face = pick(FACES) if kind in FACED_KINDS else None
    wear, wear_colour, mark, mark_colour = None, None, None, None
    if pretraining_wear_of(kind) and chance(0.4):
        wear, wear_colour = pick(pretraining_wear_of(kind)), other_colour(colour, pattern_colour)
    marks = pretraining_marks_of(kind)
    if wear is PretrainingWear.HAT:
        marks = tuple(choice for choice in marks if choice.value[1] != "forehead")
    if wear is PretrainingWear.SCARF:
        marks = tuple(choice for choice in marks if choice.value[1] != "belly")
    if marks and chance(0.35):
        mark = pick(marks)
        # On a doll's or a tortoise's face a mark lies on skin, whatever the main colour is.
        skin = {"doll": ("brown", "black"), "tortoise": ("green",)}.get(kind, ())
        mark_colour = other_colour(colour, pattern_colour, *skin)
        if mark is PretrainingMark.CHEEKS:
            mark_colour = pick(tuple(name for name in ("pink", "red", "orange") if tell_apart(name, colour)))
    shape = tuple(round(float(value), 4) for value in torch.rand(SHAPE_LENGTH, generator=generator))
    return PretrainingToy(kind, colour, pattern, pattern_colour, face, wear, wear_colour, mark, mark_colour, shape)
