"""Where toys stand: side by side from left to right, large, inside the canvas, hardly overlapping."""

from typing import NamedTuple

import torch
from torch import Tensor

from spectral_diffusion.toybox.sprites import FLOOR_FRACTION

POSITIONS = ("on the left", "in the middle", "on the right")

_SOLID = 48
_MARGIN = 0.02
_TALLEST = (0.88, 0.80, 0.74)
_LARGEST = (1.25, 0.98, 0.86)
_OVERLAP = (0.0, 0.03, 0.14)


class Extent(NamedTuple):
    """How far sprites reach from where they stand, as fractions of the sprite: each float (..., ) and 0 or more."""

    left: Tensor
    right: Tensor
    up: Tensor
    down: Tensor


class Arrangement(NamedTuple):
    """Places of up to n toys in each of B scenes, from left to right.

    x, y: float (B, n), where toys stand, as fractions of the canvas' width and height.
    size: float (B, n), side of the sprite as a fraction of the canvas' height.
    position: long (B,), index into `POSITIONS` of the first toy; means something for single toys.
    """

    x: Tensor
    y: Tensor
    size: Tensor
    position: Tensor


def position_of(x: float) -> int:
    """Index into `POSITIONS` of a single toy that stands at a fraction of the canvas' width."""
    return int(x > 0.415) + int(x > 0.585)


def measure(rgba: Tensor) -> Extent:
    """The extents of sprites.

    Args:
        rgba: uint8 (n, 4, S, S).

    Returns:
        Extents (n,) on the CPU.
    """
    side = rgba.shape[-1]
    solid = rgba[:, 3] >= _SOLID
    ahead = torch.arange(side, device=rgba.device)

    def ends(hit: Tensor) -> tuple[Tensor, Tensor]:
        first = torch.where(hit, ahead, side).amin(1).clamp(max=side // 2)
        last = torch.where(hit, ahead + 1, 0).amax(1).clamp(min=side // 2)
        return (first / side).cpu(), (last / side).cpu()

    left, right = ends(solid.any(1))
    top, bottom = ends(solid.any(2))
    return Extent(
        0.5 - left, right - 0.5, (FLOOR_FRACTION - top).clamp(min=0.05), (bottom - FLOOR_FRACTION).clamp(min=0)
    )


def arrange(extent: Extent, shown: Tensor, aspect: float, generator: torch.Generator) -> Arrangement:
    """Draw places for toys.

    Toys keep their natural sizes within a quarter, are scaled together until they fill the width or reach the height,
    and share what room is left at random.

    Args:
        extent: Of each toy, (B, n) with n up to 3; toys are given from left to right, absent ones last.
        shown: bool (B, n), at least one a scene.
        aspect: Width of the canvas by its height.
        generator: CPU generator.
    """
    batch, places = shown.shape
    count = shown.sum(1)
    present = shown.float()

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(batch, *shape, generator=generator)

    def by_count(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values)[count - 1]

    natural = uniform(0.86, 1.10, places)
    span, reach = extent.left + extent.right, extent.up + extent.down
    room = aspect - 2 * _MARGIN + by_count(_OVERLAP) * (1.5 - aspect) * 2
    fill = room / (natural * span * present).sum(1).clamp(min=1e-3)
    tall = by_count(_TALLEST) / (natural * reach * present).amax(1)
    largest = by_count(_LARGEST) / (natural * present).amax(1)
    shrink = torch.where(uniform(0, 1) < 0.7, uniform(0.92, 1.0), uniform(0.76, 0.95))
    shrink = torch.where(count == 3, shrink.clamp(min=0.88), shrink)
    shrink = torch.where((count == 1) & (uniform(0, 1) < 0.3), uniform(0.48, 0.75), shrink)
    size = natural * (torch.minimum(torch.minimum(fill, tall), largest) * shrink)[:, None]

    spare = aspect - (size * span * present).sum(1)
    shares = uniform(0.35, 1.0, places + 1)
    shares[:, 1:] *= torch.cat([present[:, 1:], torch.ones(batch, 1)], 1)
    shares[:, 0] *= 0.8
    # A single toy stands at the left, in the middle or at the right, so that the words for it are learned.
    side = torch.multinomial(torch.tensor([0.3, 0.4, 0.3]), batch, replacement=True, generator=generator)
    lone = torch.tensor([0.08, 0.5, 0.92])[side] + uniform(-0.08, 0.08)
    shares[:, 0] = torch.where(count == 1, lone, shares[:, 0])
    shares[:, 1:] = torch.where((count == 1)[:, None], ((1 - lone) / places)[:, None], shares[:, 1:])
    # Too wide a row overlaps inside rather than leave the canvas.
    crowded = (spare < 0)[:, None]
    shares[:, :1], shares[:, -1:] = shares[:, :1] * ~crowded, shares[:, -1:] * ~crowded
    gaps = shares / shares.sum(1, keepdim=True) * spare[:, None]
    widths = size * span * present
    starts = gaps[:, :1] + torch.cat([torch.zeros(batch, 1), (widths + gaps[:, 1:])[:, :-1].cumsum(1)], 1)
    x = (starts + size * extent.left) / aspect

    level = uniform(0.80, 0.94)[:, None] + uniform(-0.045, 0.045, places)
    level = torch.where((count == 1)[:, None] & (size * extent.up < 0.45), level - 0.05, level)
    lowest, highest = 0.985 - size * extent.down, 0.03 + size * extent.up
    y = torch.maximum(torch.minimum(level, lowest), highest)
    position = torch.tensor([position_of(first) for first in x[:, 0].tolist()])
    return Arrangement(x * present, y * present, size * present, position)
