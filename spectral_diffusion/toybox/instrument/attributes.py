"""What can be read from a toy's picture, as classes."""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from spectral_diffusion.toybox.toy import ACCESSORIES, COLOURS, FACES, KINDS, MARKS, PATTERNS, Toy

NONE = "none"
_COLOURED = (NONE, *COLOURS)
SECOND_COLOURS = ("limbs", "tips", "part")
"""What may have a colour of its own: `limb_colour`, `tip_colour` and `part_colour` of a toy."""
EXTRAS = (*MARKS, *ACCESSORIES, *SECOND_COLOURS)
"""What a toy may have beside its kind, colour, pattern and face: each is absent, or there in one of the colours."""

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"kind": KINDS, "colour": tuple(COLOURS), "pattern": PATTERNS, "face": (NONE, *FACES)}
    | dict.fromkeys(EXTRAS, _COLOURED)
)
"""The classes of each attribute, by its name."""


def looks_of(toy: Toy) -> dict[str, str]:
    """The class of each attribute of a toy. Of two marks with one name the first counts.

    A second colour that is the main one cannot be told from none, and is none.
    """
    extras = dict.fromkeys(EXTRAS, NONE)
    extras |= {mark.name: mark.colour for mark in reversed(toy.marks)}
    extras |= {accessory.name: accessory.colour for accessory in toy.accessories}
    for name, colour in zip(SECOND_COLOURS, (toy.limb_colour, toy.tip_colour, toy.part_colour), strict=True):
        if colour is not None and colour != toy.colour:
            extras[name] = colour
    return {"kind": toy.kind, "colour": toy.colour, "pattern": toy.pattern, "face": toy.face or NONE} | extras


def labels_of(toy: Toy) -> Tensor:
    """The same as numbers: long (len(ATTRIBUTES),)."""
    looks = looks_of(toy)
    return torch.tensor([classes.index(looks[name]) for name, classes in ATTRIBUTES.items()])
