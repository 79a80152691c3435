"""The names of the toy world: kinds, colours, patterns, faces, what is worn and what is painted on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

COLOURS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "red": (0.88, 0.11, 0.13),
        "orange": (0.98, 0.50, 0.08),
        "yellow": (0.99, 0.83, 0.12),
        "green": (0.16, 0.66, 0.24),
        "blue": (0.12, 0.36, 0.88),
        "purple": (0.52, 0.20, 0.74),
        "pink": (0.99, 0.50, 0.70),
        "white": (0.95, 0.95, 0.94),
        "black": (0.13, 0.13, 0.15),
        "brown": (0.48, 0.28, 0.14),
    }
)
"""Colour names and their albedo, RGB in [0, 1]."""

ANIMALS = ("octopus", "tortoise", "dog", "cat", "duck", "bear", "rabbit")
FIGURES = ("robot", "doll")
THINGS = ("car", "vase", "chair", "table", "mushroom", "cup", "ball")
KINDS = ANIMALS + FIGURES + THINGS
FACED_KINDS = ANIMALS + FIGURES

PATTERNS = ("plain", "striped", "dotted", "checked", "wavy")
FACES = ("happy", "sad", "surprised")
ACCESSORIES = ("hat", "scarf", "glasses", "bow")
PRETRAINING_MARKS = ("heart", "spot", "diamond", "dots", "sash", "cheeks")
HELD_OUT_MARKS = ("star", "moon", "eye_patch")
MARKS = PRETRAINING_MARKS + HELD_OUT_MARKS

SHAPE_LENGTH = 5

_DECALS = ("heart", "spot", "diamond", "dots", "star", "moon")
PLACES_OF_MARK: Mapping[str, tuple[str, ...]] = MappingProxyType(
    dict.fromkeys(_DECALS, ("forehead", "belly", "side", "front"))
    | {"sash": ("belly",), "cheeks": ("cheeks",), "eye_patch": ("left eye", "right eye")}
)
PLACES = ("forehead", "belly", "side", "front", "cheeks", "left eye", "right eye")

LIMBED_KINDS = ("octopus", "tortoise", "dog", "cat", "bear", "rabbit", *FIGURES, "chair", "table", "mushroom")
TIPPED_KINDS = ("octopus", "tortoise", "dog", "cat", "bear", "rabbit", "duck", "robot", "doll")
PARTED_KINDS = ("tortoise", "dog", "cat", "bear", "rabbit", "duck", "robot", "doll", "car", "chair", "vase", "cup")


def places_of(kind: str) -> tuple[str, ...]:
    """Where a toy of this kind can carry a mark.

    Faces have a forehead, cheeks and eyes; who stands on four legs has a side, others a belly; things have a front.
    """
    if kind in THINGS:
        return () if kind in ("chair", "table") else ("side",) if kind == "car" else ("front",)
    body = () if kind == "octopus" else ("side",) if kind in ("dog", "tortoise") else ("belly",)
    return ("forehead", *body, "cheeks", "left eye", "right eye")


def accessories_of(kind: str) -> tuple[str, ...]:
    """What a toy of this kind can wear; things wear nothing; octopus and tortoise have no neck for a scarf."""
    if kind in THINGS:
        return ()
    return tuple(name for name in ACCESSORIES if not (name == "scarf" and kind in ("octopus", "tortoise")))
