"""A scene: which toys stand where, described once and rendered as picture, masks, sketch and keypose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.backgrounds import BACKGROUNDS, ambient_light, paint_backgrounds
from spectral_diffusion.toybox.compose import SUPERSAMPLING, Cast, Light, compose
from spectral_diffusion.toybox.keypose import draw_keyposes
from spectral_diffusion.toybox.skeleton import Pose
from spectral_diffusion.toybox.sprites import FLOOR_FRACTION, Sprites, render_sprites
from spectral_diffusion.toybox.toy import Toy

SMALLEST_PX, LARGEST_PX = 16, 2048
SHADOW_LEAN = 0.30

_SPRITE_STEP_PX = 32
_SMALLEST_SPRITE_PX, _LARGEST_SPRITE_PX = 96, 512


@dataclass(frozen=True)
class Placement:
    """One toy in a scene.

    Args:
        toy: What stands there.
        x, y: Where its middle touches the ground: fractions of the canvas' width and height, y downwards.
        size: Side of the square that its sprite fills, as a fraction of the canvas' height. Toys differ within it, as
            they do beside each other.
        yaw_radians: Turn about the upright axis; 0 looks at the viewer.
        pose: Joint angles, for figures.

    Raises:
        InputError: A number is not finite, or the size is not between 0 and 4.
    """

    toy: Toy
    x: float
    y: float
    size: float
    yaw_radians: float = 0.0
    pose: Pose | None = None

    def __post_init__(self) -> None:
        for name in ("x", "y", "size", "yaw_radians"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(f"{name} of the {self.toy.kind} is {getattr(self, name)!r}", "give a finite number")
        if not 0 < self.size <= 4:
            raise InputError(f"the size of the {self.toy.kind} is {self.size!r}", "give a number above 0, at most 4")


@dataclass(frozen=True)
class Scene:
    """A picture to be rendered; equal scenes give equal pictures.

    Args:
        placements: The toys from left to right; none is an empty background.
        background: One of `backgrounds.BACKGROUNDS`.
        width_px, height_px: The canvas.
        light: Brightness of the whole picture, 1 is normal.
        seed: Decides the details of the background.

    Raises:
        InputError: The toys are not in left-to-right order, or a value is out of range.
    """

    placements: tuple[Placement, ...]
    background: str
    width_px: int = 128
    height_px: int = 128
    light: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.background not in BACKGROUNDS:
            raise InputError(f"the background is {self.background!r}", f"choose one of: {', '.join(BACKGROUNDS)}")
        for name in ("width_px", "height_px"):
            if not SMALLEST_PX <= getattr(self, name) <= LARGEST_PX:
                raise InputError(
                    f"{name} of the scene is {getattr(self, name)!r}", f"give {SMALLEST_PX} to {LARGEST_PX} pixels"
                )
        if not 0.2 <= self.light <= 2:
            raise InputError(f"the light of the scene is {self.light!r}", "give a number from 0.2 to 2")
        across = [placement.x for placement in self.placements]
        if across != sorted(across):
            raise InputError(
                f"the toys of the scene stand at x = {', '.join(f'{x:g}' for x in across)}", "list them left to right"
            )


class Render(NamedTuple):
    """What a scene looks like; all on the CPU.

    image: uint8 (3, H, W). masks: uint8 (n, H, W), visible share of each toy by 255. sketch: uint8 (1, H, W).
    keypoints: float (n, 18, 3) in pixels, zeros for toys that are no figures. keypose: uint8 (3, H, W).
    """

    image: Tensor
    masks: Tensor
    sketch: Tensor
    keypoints: Tensor
    keypose: Tensor


def render(scenes: Sequence[Scene], device: torch.device | str = "cpu") -> list[Render]:
    """Render scenes.

    Args:
        scenes: Any canvases.
        device: Where the work is done; pictures agree between devices within 1/255.
    """
    sprites = _sprites_of(scenes, device)
    return [_render_one(scene, own, device) for scene, own in zip(scenes, sprites, strict=True)]


def keypoints_on_canvas(
    keypoints: Tensor, x: Tensor, y: Tensor, size: Tensor, *, width_px: int, height_px: int
) -> Tensor:
    """Keypoints of sprites in pixels of a canvas.

    Args:
        keypoints: float (..., 18, 3), fractions of the sprite and visibility.
        x, y, size: float (...), as in `Placement`.

    Returns:
        float (..., 18, 3); zeros where nothing is visible.
    """
    side = (size * height_px)[..., None]
    across = x[..., None] * width_px + (keypoints[..., 0] - 0.5) * side
    down = y[..., None] * height_px + (keypoints[..., 1] - FLOOR_FRACTION) * side
    seen = keypoints[..., 2]
    return torch.stack([across * (seen > 0), down * (seen > 0), seen], dim=-1)


def _sprites_of(scenes: Sequence[Scene], device: torch.device | str) -> list[Sprites]:
    """The sprites of each scene, drawn together with those of other scenes that want the same resolution."""
    wanted: dict[int, list[tuple[int, Placement]]] = {}
    for index, scene in enumerate(scenes):
        side = max((placement.size for placement in scene.placements), default=0) * scene.height_px * SUPERSAMPLING
        side = math.ceil(side * 0.8 / _SPRITE_STEP_PX) * _SPRITE_STEP_PX
        side = min(max(side, _SMALLEST_SPRITE_PX), _LARGEST_SPRITE_PX)
        wanted.setdefault(side, []).extend((index, placement) for placement in scene.placements)
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in scenes]
    for side, members in wanted.items():
        if not members:
            continue
        drawn = render_sprites(
            [placement.toy for _, placement in members],
            torch.tensor([placement.yaw_radians for _, placement in members]),
            [placement.pose for _, placement in members],
            sprite_px=side,
            device=device,
        )
        for row, (index, _) in enumerate(members):
            found[index].append((drawn.rgba[row], drawn.keypoints[row]))
    empty = Sprites(torch.zeros(0, 4, 8, 8, dtype=torch.uint8, device=device), torch.zeros(0, 18, 3, device=device))
    return [
        Sprites(torch.stack([rgba for rgba, _ in own]), torch.stack([points for _, points in own])) if own else empty
        for own in found
    ]


def _render_one(scene: Scene, sprites: Sprites, device: torch.device | str) -> Render:
    width_px, height_px = scene.width_px, scene.height_px
    backdrop = paint_backgrounds(
        scene.background,
        [scene.seed],
        width_px=width_px * SUPERSAMPLING,
        height_px=height_px * SUPERSAMPLING,
        device=device,
    )
    x, y, size = (
        torch.tensor([[getattr(placement, name) for placement in scene.placements]], dtype=torch.float32, device=device)
        for name in ("x", "y", "size")
    )
    cast = Cast(sprites.rgba[None], torch.ones(1, len(scene.placements), dtype=torch.bool, device=device), x, y, size)
    if not scene.placements:
        blank = torch.zeros(1, 1, *sprites.rgba.shape[1:], dtype=torch.uint8, device=device)
        nowhere = torch.zeros(1, 1, device=device)
        cast = Cast(blank, nowhere.bool(), nowhere, nowhere, nowhere)
    light = Light(
        torch.tensor([scene.light], device=device, dtype=torch.float32),
        torch.tensor([ambient_light(scene.background)], device=device),
        torch.tensor([SHADOW_LEAN], device=device),
        torch.ones(1, device=device),
    )
    picture = compose(backdrop.float() / 255, cast, light)
    keypoints = keypoints_on_canvas(
        sprites.keypoints[None].to(x.device), x, y, size, width_px=width_px, height_px=height_px
    )
    keypose = draw_keyposes(keypoints, width_px=width_px, height_px=height_px)
    return Render(
        picture.images[0].cpu(),
        picture.masks[0, : len(scene.placements)].cpu(),
        picture.sketches[0].cpu(),
        keypoints[0].cpu(),
        keypose[0].cpu(),
    )
