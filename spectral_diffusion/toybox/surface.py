"""What surfaces look like before light falls on them: each toy's palette, and the patterns on its main colour."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spectral_diffusion.toybox.form import pattern_axis
from spectral_diffusion.toybox.primitives import Material, Scalar, Vector
from spectral_diffusion.toybox.toy import COLOURS, PATTERNS, Toy

RGB = tuple[float, float, float]

_SKINS: tuple[RGB, ...] = ((0.98, 0.82, 0.70), (0.82, 0.60, 0.44), (0.52, 0.34, 0.24))
_HAIRS: tuple[RGB, ...] = ((0.28, 0.16, 0.08), (0.70, 0.36, 0.12), (0.95, 0.78, 0.36), (0.12, 0.11, 0.13))
_WOOD: RGB = (0.62, 0.41, 0.22)
_STEEL: RGB = (0.66, 0.68, 0.73)
_CREAM: RGB = (0.96, 0.92, 0.84)
_DARK: RGB = (0.10, 0.09, 0.11)
_BEAK: RGB = (0.99, 0.60, 0.10)
_GLASS: RGB = (0.66, 0.85, 0.95)
_THROAT: RGB = (0.50, 0.07, 0.10)


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """`a` with this share of `b`."""
    return tuple(x + (y - x) * share for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def brightness(colour: RGB) -> float:
    """Rec. 601 luma."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def skin_of(toy: Toy) -> RGB:
    """A doll's skin: one of three tones, by its shape."""
    return _SKINS[min(int(toy.shape[3] * 3), 2)]


def _limb_of(toy: Toy, main: RGB) -> RGB:
    if toy.kind == "tortoise":
        return mix(main, (0.66, 0.76, 0.36), 0.8)
    if toy.kind in ("chair", "table"):
        return _WOOD if toy.shape[3] > 0.5 else mix(main, _DARK, 0.2)
    return {"mushroom": _CREAM, "robot": _STEEL, "doll": skin_of(toy)}.get(toy.kind, mix(main, _DARK, 0.06))


def _part_of(toy: Toy, main: RGB) -> RGB:
    if toy.kind == "doll":
        return _HAIRS[int(toy.shape[3] * 12) % len(_HAIRS)]
    if toy.kind in ("dog", "tortoise", "duck", "robot"):
        return mix(main, (1.0, 1.0, 1.0), 0.3) if brightness(main) < 0.2 else mix(main, _DARK, 0.35)
    return mix(main, _DARK, 0.08)


def palette(toy: Toy) -> list[RGB]:
    """The toy's colour of every material, in the order of `Material`."""
    main = COLOURS[toy.colour]
    limb = COLOURS[toy.limb_colour] if toy.limb_colour else _limb_of(toy, main)
    tip = COLOURS[toy.tip_colour] if toy.tip_colour else _BEAK if toy.kind == "duck" else limb
    part = COLOURS[toy.part_colour] if toy.part_colour else _part_of(toy, main)
    worn = {accessory.name: COLOURS[accessory.colour] for accessory in toy.accessories}
    colours = {
        Material.MAIN: main,
        Material.LIMB: limb,
        Material.TIP: tip,
        Material.PART: part,
        Material.PALE: mix(main, (1.0, 0.99, 0.97), 0.86),
        Material.DARK: _DARK,
        Material.BEAK: _BEAK,
        Material.SKIN: skin_of(toy),
        Material.METAL: _STEEL,
        Material.GLASS: _GLASS,
        Material.INNER: _THROAT if toy.kind == "duck" else mix(main, _DARK, 0.6),
        Material.HAT: worn.get("hat", _DARK),
        Material.SCARF: worn.get("scarf", _DARK),
        Material.GLASSES: worn.get("glasses", _DARK),
        Material.BOW: worn.get("bow", _DARK),
    }
    return [colours[material] for material in Material]


def softly(distance: Tensor, scale: Scalar, pixel_size: float) -> Tensor:
    """How much of a pixel lies inside a painted shape: 1 inside, 0 outside, linear over one pixel at its edge.

    Args:
        distance: Signed distance in the shape's unit, negative inside.
        scale: The shape's unit in world lengths.
        pixel_size: World length of a pixel.
    """
    return (0.5 - distance * (scale / pixel_size)).clamp(0, 1)


_STRIPE_PERIOD, _CELL, _CHECK, _WAVE_PERIOD = 0.27, 0.26, 0.21, 0.27


def pattern(name: str, kind: str, p: Vector, normal: Vector, pixel_size: float) -> Tensor:
    """How much of the pattern's second colour a point has, (R,) in [0, 1].

    Stripes and waves are slices of space; dots and checks are painted on the plane that the surface faces most, so that
    they keep their size.

    Args:
        name: One of `PATTERNS` but "plain".
        kind: Decides along which axis stripes follow each other.
        p: Points.
        normal: Unit normals there.
        pixel_size: World length of a pixel.
    """
    assert name in PATTERNS[1:], name
    axis = pattern_axis(kind)
    if name in ("striped", "wavy"):
        along, period = p[axis], _STRIPE_PERIOD
        if name == "wavy":
            across = (p[1] + p[2], p[0] + p[2], p[0] + 1.5 * p[1])[axis]
            along, period = along + 0.055 * torch.sin(across * 15.0), _WAVE_PERIOD
        phase = torch.remainder(along / period, 1.0)
        return softly((phase - 0.5).abs() - 0.25, period, pixel_size * 1.5)
    painted, total = torch.zeros_like(p[0]), torch.full_like(p[0], 1e-6)
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        share = normal[c].abs() ** 16
        painted = painted + share * _plane_pattern(name, p[a], p[b], pixel_size)
        total = total + share
    return painted / total


def _plane_pattern(name: str, u: Tensor, v: Tensor, pixel_size: float) -> Tensor:
    if name == "checked":
        a = torch.remainder(u / _CHECK, 2.0) - 1
        b = torch.remainder(v / _CHECK + 0.5, 2.0) - 1
        # Each is a wave of +1 and -1 with soft steps; their product is the board.
        steps = [(torch.minimum(w.abs(), 1 - w.abs()) * (_CHECK / pixel_size)).clamp(max=1) * w.sign() for w in (a, b)]
        return 0.5 + 0.5 * steps[0] * steps[1]
    row = torch.floor(v / _CELL)
    du = u / _CELL + 0.5 * torch.remainder(row, 2.0)
    du, dv = du - torch.floor(du) - 0.5, v / _CELL - row - 0.5
    return softly((du * du + dv * dv).sqrt() - 0.31, _CELL, pixel_size)


def palettes(toys: Sequence[Toy]) -> tuple[Tensor, Tensor]:
    """Palettes (n, materials, 3) and pattern colours (n, 3); a plain toy's pattern colour is its main colour."""
    second = [COLOURS[toy.pattern_colour or toy.colour] for toy in toys]
    return torch.tensor([palette(toy) for toy in toys]), torch.tensor(second)
