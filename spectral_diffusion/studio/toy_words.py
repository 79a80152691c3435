"""The words that toybox knows, and prompts that use them."""

from spectral_diffusion.toybox.backgrounds import BACKGROUNDS
from spectral_diffusion.toybox.vocabulary import (
    ACCESSORIES,
    COLOURS,
    FACED_KINDS,
    FACES,
    HELD_OUT_MARKS,
    KINDS,
    PATTERNS,
    PRETRAINING_MARKS,
)

SUMMARY = (
    "A small Stable Diffusion that draws toys and nothing else. It was trained from nothing on renders of a toy world: "
    "photographs of real things mean little to it, and words that are not below mean nothing."
)


def known_words() -> dict[str, tuple[str, ...]]:
    """What it was taught to draw, by sort."""
    return {
        "Kinds": KINDS,
        "Colours": tuple(COLOURS),
        "Patterns": PATTERNS,
        "Faces": FACES,
        "Accessories": ACCESSORIES,
        "Marks": tuple(map(_plain, PRETRAINING_MARKS)),
        "Backgrounds": BACKGROUNDS,
    }


def taught_words() -> tuple[str, ...]:
    """What its world can render and it never saw, so that a concept can teach it."""
    return (*map(_plain, HELD_OUT_MARKS), "limbs or tips in a second colour", "a hat on a tortoise")


def example_prompts() -> list[str]:
    """A prompt for each sort of word; together they name every background."""
    colours, patterns, things = tuple(COLOURS), PATTERNS[1:], [kind for kind in KINDS if kind not in FACED_KINDS]
    wearers = [kind for kind in FACED_KINDS if kind not in ("octopus", "tortoise")]
    prompts = []
    for number, place in enumerate(BACKGROUNDS):
        colour, other = colours[number % len(colours)], colours[(number + 4) % len(colours)]
        first = FACED_KINDS[number % len(FACED_KINDS)]
        match number % 4:
            case 0:
                toy = f"{_with_article(FACES[number // 4 % len(FACES)])} {colour} {first}"
            case 1:
                worn = ACCESSORIES[number // 4 % len(ACCESSORIES)]
                clothes = f"{other} {worn}" if worn == "glasses" else f"{_with_article(other)} {worn}"
                toy = f"{_with_article(colour)} {wearers[number % len(wearers)]} wearing {clothes}"
            case 2:
                toy = f"{_with_article(patterns[number // 4 % len(patterns)])} {colour} {first}"
            case _:
                toy = f"{_with_article(colour)} {first} with {_with_article(other)} heart on its forehead"
        thing = things[number % len(things)]
        also = f" and {_with_article(other)} {thing}" if number % 2 == 0 else ""
        prompts.append(f"a photo of {toy}{also} {place}")
    return prompts


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _with_article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase
