"""A toy in words: short phrases that say only what its picture shows."""

from __future__ import annotations

import random

from spectral_diffusion.toybox.toy import (
    ACCESSORIES,
    COLOURS,
    FACES,
    HELD_OUT_MARKS,
    KINDS,
    PATTERNS,
    PretrainingToy,
    Toy,
)

_PLURALS = {"dots": "dots", "cheeks": "cheeks", "glasses": "glasses"}
_PATTERN_NOUNS = {"striped": "stripes", "dotted": "dots", "checked": "checks", "wavy": "waves"}
_MARK_NOUNS = {"eye_patch": "patch"}

WORDS: tuple[str, ...] = tuple(
    sorted(
        {*KINDS, *COLOURS, *PATTERNS, *FACES, *ACCESSORIES, *_PATTERN_NOUNS.values()}
        | {"heart", "spot", "diamond", "dots", "sash", "cheeks", "a", "an", "and", "with", "wearing", "in", "its", "on"}
        | {"forehead", "belly", "side"}
    )
)
"""Every word that `describe` can say of a pretraining toy, for the tokenizer."""

HELD_OUT_WORDS: tuple[str, ...] = tuple(
    sorted({*HELD_OUT_MARKS, "patch", "over", "left", "right", "eye"} - {"eye_patch"})
)
"""The further words that held-out marks need; no pretraining caption has them."""


def with_article(phrase: str) -> str:
    """The phrase with "a" or "an" before it."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def describe(toy: Toy | PretrainingToy, rng: random.Random) -> str:
    """A noun phrase such as "a happy striped green octopus wearing a red hat with a heart on its forehead".

    Attributes are left out at random, so that a model learns each word alone; what is said is always in the picture.

    Args:
        toy: What to describe.
        rng: Decides which attributes are said, and how.
    """
    if isinstance(toy, PretrainingToy):
        toy = toy.as_toy()
    words: list[str] = []
    extras: list[str] = []
    if toy.face is not None and rng.random() < 0.65:
        words.append(toy.face)
    if toy.pattern != "plain" and rng.random() < 0.9:
        if rng.random() < 0.35:
            extras.append(f"with {toy.pattern_colour} {_PATTERN_NOUNS[toy.pattern]}")
        else:
            words.append(toy.pattern)
    if rng.random() < 0.9:
        words.append(toy.colour)
    words.append(toy.kind)
    for accessory in toy.accessories:
        if rng.random() < 0.9:
            extras.append(
                f"{rng.choice(('wearing', 'wearing', 'with', 'in'))} {_worn(accessory.name, accessory.colour, rng)}"
            )
    for mark in toy.marks:
        if rng.random() < 0.85:
            extras.append("with " + _painted(mark.name, mark.colour, mark.place, rng))
    return " ".join([with_article(" ".join(words)), _joined(extras)]).strip()


def _worn(name: str, colour: str, rng: random.Random) -> str:
    phrase = f"{colour} {name}" if rng.random() < 0.85 else name
    return phrase if name in _PLURALS else with_article(phrase)


def _painted(name: str, colour: str, place: str, rng: random.Random) -> str:
    noun = _MARK_NOUNS.get(name, name)
    phrase = f"{colour} {noun}" if rng.random() < 0.85 else noun
    phrase = phrase if name in _PLURALS else with_article(phrase)
    if place in ("forehead", "belly", "side") and name != "sash":
        return f"{phrase} on its {place}"
    if name == "eye_patch":
        return f"{phrase} over its {place}"
    return phrase


def _joined(extras: list[str]) -> str:
    """Two phrases that begin with "with" share one: "with white stripes and a red heart"."""
    said: list[str] = []
    for phrase in extras:
        if said and said[-1].startswith("with ") and phrase.startswith("with "):
            said[-1] += " and " + phrase.removeprefix("with ")
        else:
            said.append(phrase)
    return " ".join(said)
