"""What is written under a scene: its toys named from left to right, in varied wording."""

from __future__ import annotations

import random
from collections.abc import Sequence

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox import phrases
from spectral_diffusion.toybox.arrangement import POSITIONS, position_of
from spectral_diffusion.toybox.backgrounds import BACKGROUNDS
from spectral_diffusion.toybox.scene import Scene

_OPENINGS = ("a photo of", "a photo of", "a photo of", "a picture of", "an image of", "")
_JOINING = ("and", "next", "to", "beside")

WORDS: tuple[str, ...] = tuple(
    sorted(
        {word for phrase in (*_OPENINGS, *BACKGROUNDS, *POSITIONS) for word in phrase.split()}
        | set(_JOINING)
        | set(phrases.WORDS)
    )
)
"""Every word that a caption of a pretraining scene can have, for the tokenizer."""


def caption(scene: Scene, rng: random.Random) -> str:
    """A caption of a scene.

    Args:
        scene: What is seen.
        rng: Decides the wording; attributes and the background are sometimes left out.
    """
    named = [phrases.describe(placement.toy, rng) for placement in scene.placements]
    position = position_of(scene.placements[0].x) if len(named) == 1 else 1
    return sentence(named, scene.background, position, rng)


def sentence(named: Sequence[str], background: str, position: int, rng: random.Random) -> str:
    """Toys that are already in words, joined to a caption.

    Args:
        named: Phrases such as "a red car", from left to right; none gives the background alone.
        background: One of `BACKGROUNDS`.
        position: Index into `POSITIONS`, where a single toy stands.
        rng: Decides the wording.

    Raises:
        InputError: There are more toys than places have names.
    """
    count = len(named)
    if count == 0:
        return background
    if count > 1 and rng.random() < 0.25:
        if count > 3:
            raise InputError(f"{count} toys are to be placed in words", "name at most three")
        places = (POSITIONS[0], POSITIONS[2]) if count == 2 else POSITIONS
        body = _listed([f"{toy} {place}" for toy, place in zip(named, places, strict=True)])
    elif count == 1:
        body = named[0] + (f" {POSITIONS[position]}" if rng.random() < 0.35 else "")
    elif count == 2 and rng.random() < 0.2:
        body = f"{named[0]} {rng.choice(('next to', 'beside'))} {named[1]}"
    elif rng.random() < 0.6:
        body = " and ".join(named)
    else:
        body = _listed(named)
    opening = rng.choice(_OPENINGS)
    text = f"{opening} {body}" if opening else body
    if rng.random() < 0.9:
        text += (", " if rng.random() < 0.3 else " ") + background
    return text


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items[:-1]) + " and " + items[-1] if len(items) > 1 else items[0]
