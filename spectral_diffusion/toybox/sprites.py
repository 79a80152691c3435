"""Toys as sprites: small pictures with alpha, from which scenes are composed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spectral_diffusion.toybox.skeleton import Pose
from spectral_diffusion.toybox.toy import Toy

FLOOR_FRACTION = 0.9
"""Where the floor under a toy's middle is in its sprite, as a fraction of the height from the top."""


class Sprites(NamedTuple):
    """Pictures of toys.

    rgba: uint8 (n, 4, S, S), straight alpha, colours bled outwards under it.
    keypoints: float32 (n, 18, 3), x and y as fractions of the sprite from the top left, and 1 where visible; zeros for
        toys that are no figures.
    """

    rgba: Tensor
    keypoints: Tensor


def sample_yaw(kind: str, generator: torch.Generator) -> float:
    """A random turn about the upright axis, in radians, within which a kind still shows its face or its best side."""
    raise NotImplementedError


def render_sprites(
    toys: Sequence[Toy],
    yaw_radians: Tensor,
    poses: Sequence[Pose | None],
    *,
    sprite_px: int = 160,
    device: torch.device | str = "cpu",
    chunk: int = 64,
) -> Sprites:
    """Draw toys."""
    raise NotImplementedError
