"""Toys set into a backdrop: depth order, contact shadows, light, masks and an outline sketch, batched."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from spectral_diffusion.toybox.sprites import FLOOR_FRACTION

SUPERSAMPLING = 2
"""Pictures are composed this many times larger and averaged down, so that no edge is jagged."""

_SHADOW_SQUASH = 0.34
_LINE_CONTRAST = (0.19, 0.33)


class Cast(NamedTuple):
    """Up to n toys in each of B scenes.

    rgba: uint8 (B, n, 4, S, S), straight alpha.
    shown: bool (B, n); False leaves the place empty.
    x, y: float (B, n), where the toy stands: fractions of the canvas' width and height.
    size: float (B, n), side of the square sprite as a fraction of the canvas' height.
    """

    rgba: Tensor
    shown: Tensor
    x: Tensor
    y: Tensor
    size: Tensor


class Light(NamedTuple):
    """How B scenes are lit.

    brightness: float (B,), a factor on the whole picture.
    tint: float (B, 3), the light on the toys.
    lean: float (B,), where shadows fall: sideways shift by height above the ground, positive to the right.
    shadow: float (B,), darkness of the shadows from 0 to 1.
    """

    brightness: Tensor
    tint: Tensor
    lean: Tensor
    shadow: Tensor


class Composite(NamedTuple):
    """Finished pictures.

    images: uint8 (B, 3, H, W). masks: uint8 (B, n, H, W), the visible share of each pixel by 255; they sum to at most
    255. sketches: uint8 (B, 1, H, W), white outlines on black.
    """

    images: Tensor
    masks: Tensor
    sketches: Tensor


def compose(backdrop: Tensor, cast: Cast, light: Light) -> Composite:
    """Set toys into backdrops, the one whose base is lowest in front.

    Args:
        backdrop: float (B, 3, H * SUPERSAMPLING, W * SUPERSAMPLING) in [0, 1].
        cast: The toys; all tensors on the backdrop's device.
        light: The light; likewise.
    """
    count, places = cast.shown.shape
    height, width = backdrop.shape[2] // SUPERSAMPLING, backdrop.shape[3] // SUPERSAMPLING
    sprites = _prefiltered(cast, height)
    through = _shadows(cast, sprites[:, :, 3:], light, height, width)
    image = backdrop * F.interpolate(through, scale_factor=SUPERSAMPLING, mode="bilinear", align_corners=False)

    rows = torch.arange(count, device=backdrop.device)
    order = cast.y.masked_fill(~cast.shown, -1.0).argsort(dim=1, stable=True)
    toys_only = torch.full_like(backdrop, 0.5)
    masks = torch.zeros(count, places, *backdrop.shape[2:], device=backdrop.device)
    tint = light.tint.view(count, 3, 1, 1)
    for rank in range(places):
        place = order[:, rank]
        drawn = _placed(sprites[rows, place], cast, rows, place, backdrop.shape[2], backdrop.shape[3])
        alpha = drawn[:, 3:] * cast.shown[rows, place].view(count, 1, 1, 1)
        image = image + (drawn[:, :3] * tint - image) * alpha
        toys_only = toys_only + (drawn[:, :3] - toys_only) * alpha
        masks = masks * (1 - alpha)
        masks[rows, place] = alpha[:, 0]

    image = _averaged((image * light.brightness.view(count, 1, 1, 1)).clamp(0, 1))
    masks = _averaged(masks)
    lines = outline(_averaged(toys_only), masks)
    return Composite(
        (image * 255).round().to(torch.uint8),
        # Rounded down, so that no sum of masks exceeds 255.
        (masks * 255 + 1e-3).floor().clamp(max=255).to(torch.uint8),
        (lines * 255).round().to(torch.uint8),
    )


def outline(toys_only: Tensor, masks: Tensor) -> Tensor:
    """The lines of a sketch: silhouettes, and edges between colours inside them.

    Args:
        toys_only: float (B, 3, H, W) in [0, 1], toys on a uniform grey.
        masks: float (B, n, H, W) in [0, 1].

    Returns:
        float (B, 1, H, W) in [0, 1], white lines two or three pixels wide on black.
    """
    silhouettes = _contrast(masks).amax(1, keepdim=True) * 1.2
    inner = _contrast(toys_only).amax(1, keepdim=True)
    low, high = _LINE_CONTRAST
    strength = torch.maximum(inner, silhouettes)
    return ((strength - low) / (high - low)).clamp(0, 1)


def _contrast(values: Tensor) -> Tensor:
    """Size of the gradient, in units a pixel across two pixels, zero beyond the border."""
    padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
    across = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) * 0.7
    down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) * 0.7
    return (across * across + down * down + 1e-12).sqrt()


def _averaged(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, SUPERSAMPLING)


def _prefiltered(cast: Cast, height_px: int) -> Tensor:
    """Sprites as float in [0, 1], blurred as far as their reduction to the canvas demands: (B, n, 4, S, S)."""
    count, places, _, side, _ = cast.rgba.shape
    sharp = cast.rgba.flatten(0, 1).float() / 255
    soft = F.avg_pool2d(sharp, 3, 1, 1, count_include_pad=False)
    reduction = side / (cast.size * height_px * SUPERSAMPLING).clamp(min=1)
    amount = (reduction - 1).clamp(0, 1).view(-1, 1, 1, 1)
    return (sharp + (soft - sharp) * amount).view(count, places, 4, side, side)


def _placed(sprites: Tensor, cast: Cast, rows: Tensor, place: Tensor, height_px: int, width_px: int) -> Tensor:
    """One sprite a scene, drawn where it stands: (B, 4, height_px, width_px)."""
    aspect = width_px / height_px
    x, y, size = (value[rows, place].view(-1, 1, 1) for value in (cast.x, cast.y, cast.size))
    size = size.clamp(min=1e-3)
    across = (torch.arange(width_px, device=sprites.device) + 0.5).view(1, 1, -1) / height_px
    down = (torch.arange(height_px, device=sprites.device) + 0.5).view(1, -1, 1) / height_px
    u = (across - x * aspect) / size * 2
    v = ((down - y) / size + FLOOR_FRACTION) * 2 - 1
    grid = torch.stack(torch.broadcast_tensors(u, v), dim=-1)
    return F.grid_sample(sprites, grid, padding_mode="zeros", align_corners=False)


def _shadows(cast: Cast, alpha: Tensor, light: Light, height_px: int, width_px: int) -> Tensor:
    """How much light reaches the ground past all toys: (B, 1, H, W).

    Each toy throws its own blurred silhouette, laid flat behind it, and a dark touch where it stands.
    """
    count, places = cast.shown.shape
    feet, foot_width = footing(alpha.flatten(0, 1))
    blurred = F.interpolate(alpha.flatten(0, 1), size=(40, 40), mode="area")
    for _ in range(2):
        blurred = F.avg_pool2d(blurred, 5, 1, 2)
    x, y, size, shown = (value.reshape(-1, 1, 1) for value in (cast.x, cast.y, cast.size, cast.shown))
    size = size.clamp(min=1e-3)
    lean, shadow = (value.repeat_interleave(places).view(-1, 1, 1) for value in (light.lean, light.shadow))
    across = (torch.arange(width_px, device=alpha.device) + 0.5).view(1, 1, -1) / height_px
    down = (torch.arange(height_px, device=alpha.device) + 0.5).view(1, -1, 1) / height_px
    dx = (across - x * (width_px / height_px)) / size
    dy = (y - down) / size
    raised = dy / _SHADOW_SQUASH
    u = (dx - lean * raised) * 2
    v = (FLOOR_FRACTION - raised) * 2 - 1
    grid = torch.stack(torch.broadcast_tensors(u, v), dim=-1)
    thrown = F.grid_sample(blurred, grid, padding_mode="zeros", align_corners=False)[:, 0]
    thrown = thrown * (0.52 - 0.30 * raised.clamp(0, 1))
    centre, half = (feet - 0.5).view(-1, 1, 1), foot_width.view(-1, 1, 1)
    touch = 0.62 * torch.exp(
        -(((dx - centre) / (1.12 * half + 0.01)) ** 4) - ((dy - 0.005) / (0.22 * half + 0.02)) ** 2
    )
    darkness = torch.maximum(thrown, touch) * shadow * shown
    return (1 - darkness).view(count, places, height_px, width_px).prod(1, keepdim=True)


def footing(alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Where sprites touch the ground.

    Args:
        alpha: float (n, 1, S, S) in [0, 1].

    Returns:
        Centre and half-width of what stands on the floor, as fractions of the sprite: each (n,). Both are smooth in the
        alpha, so that they agree between devices.
    """
    side = alpha.shape[-1]
    place = (torch.arange(side, device=alpha.device) + 0.5) / side
    near_floor = torch.exp(-(((place - FLOOR_FRACTION) / 0.06) ** 2)).view(1, -1, 1)
    columns = (alpha[:, 0] * near_floor).sum(1) + 1e-6
    weight = columns / columns.sum(1, keepdim=True)
    centre = (weight * place).sum(1)
    spread = (weight * (place - centre[:, None]) ** 2).sum(1)
    return centre, (3 * spread).sqrt() * 1.02
