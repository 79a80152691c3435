"""The camera, and the march of its rays onto bodies.

The camera is orthographic and looks down by `PITCH`. Its window is square, for each kind as large as its toys need;
the floor under a toy's middle lies at `FLOOR_FRACTION` of its height. Rays start from a coarse march: one ray stands
for a block of pixels and stops as soon as the block's cylinder might touch the body, so that most pixels need few steps
or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from spectral_diffusion.toybox.form import Form
from spectral_diffusion.toybox.primitives import Assembly, Vector

PITCH = 0.24
FLOOR_FRACTION = 0.9
"""Where the floor under a toy's middle is in its sprite, as a fraction of the height from the top."""

_NEAR, _FAR = 1.2, 4.8
_EYE = 3.0
_RELAXATION = 0.9
_COARSE_STEPS, _FINE_ROUNDS = 16, (4, 4, 6, 8, 14, 24)
_BLOCK = 4
_TOUCH = 0.0015

BuildBody = Callable[[Assembly, Vector, Form], None]


@dataclass(frozen=True)
class Hits:
    """Where rays touch bodies; only rays that touch, or pass within a pixel, are kept.

    pixel: int64 (R,), index into the chunk's toys x rows x columns.
    points: In the toys' own frames.
    view: Towards the viewer, in the toys' own frames.
    coverage: (R,) in (0, 1], the share of the pixel that the body covers.
    depth: (R,) along the ray.
    form: Their toys' numbers.
    """

    pixel: Tensor
    points: Vector
    view: Vector
    coverage: Tensor
    depth: Tensor
    form: Form


def project(points: Tensor, yaw_radians: Tensor, window: float) -> Tensor:
    """Points in the toys' frames, (n, k, 3), as fractions of the sprite from its top left, (n, k, 2)."""
    x, y, z = points.unbind(-1)
    cosine, sine = yaw_radians.cos()[:, None], yaw_radians.sin()[:, None]
    right, forward = cosine * x + sine * z, cosine * z - sine * x
    up = y * math.cos(PITCH) - forward * math.sin(PITCH)
    return torch.stack([right / window + 0.5, FLOOR_FRACTION - up / window], -1)


@dataclass
class _Rays:
    """Rays of several toys: where they start and how far they are."""

    right: Tensor
    up: Tensor
    travelled: Tensor
    form: Form

    def view(self) -> Vector:
        """Against the ray's direction, in the toy's frame."""
        sine, cosine = math.sin(PITCH), math.cos(PITCH)
        return -self.form["yaw_sin"] * cosine, torch.full_like(self.right, sine), self.form["yaw_cos"] * cosine

    def points(self) -> Vector:
        sine, cosine = math.sin(PITCH), math.cos(PITCH)
        back = _EYE - self.travelled
        y, z = self.up * cosine + back * sine, back * cosine - self.up * sine
        turn_cos, turn_sin = self.form["yaw_cos"], self.form["yaw_sin"]
        return turn_cos * self.right - turn_sin * z, y, turn_sin * self.right + turn_cos * z

    def select(self, indices: Tensor) -> _Rays:
        return _Rays(self.right[indices], self.up[indices], self.travelled[indices], self.form.rays(indices))


def _grid(count: int, size: int, values: Tensor, window: float) -> tuple[Tensor, Tensor, Form]:
    """The middles of size x size cells of the window for each toy, flattened, and each ray's form."""
    middle = (torch.arange(size, device=values.device, dtype=torch.float32) + 0.5) / size
    right = (middle - 0.5) * window
    up = (FLOOR_FRACTION - middle) * window
    rows = right.repeat(size)
    columns = up.repeat_interleave(size)
    toy = torch.arange(count, device=values.device).repeat_interleave(size * size)
    return rows.repeat(count), columns.repeat(count), Form(values.index_select(1, toy))


def march(build: BuildBody, values: Tensor, sprite_px: int, window: float) -> Hits:
    """Casts every pixel's ray of every toy of a chunk.

    Args:
        build: Adds the body's parts to an assembly.
        values: (rows, n), the toys' numbers, on the device to work on.
        sprite_px: Pixels of a side; a multiple of 4.
        window: Length of a side in the toys' unit.
    """
    count, device = values.shape[1], values.device

    def distance(rays: _Rays) -> Tensor:
        body = Assembly()
        build(body, rays.points(), rays.form)
        return body.distance

    pixel_size = window / sprite_px
    blocks = sprite_px // _BLOCK
    right, up, form = _grid(count, blocks, values, window)
    coarse = _Rays(right, up, torch.full_like(right, _NEAR), form)
    reach = pixel_size * (_BLOCK * 0.5 * math.sqrt(2) + 1.0)
    for _ in range(_COARSE_STEPS):
        step = (distance(coarse) - reach).clamp(min=0)
        coarse.travelled = (coarse.travelled + _RELAXATION * step).clamp(max=_FAR)

    started = coarse.travelled.view(count, 1, blocks, blocks)
    started = torch.nn.functional.interpolate(started, scale_factor=_BLOCK, mode="nearest").reshape(-1)
    pixel = (started < _FAR - 1e-3).nonzero().squeeze(1)
    middle = (torch.arange(sprite_px, device=device, dtype=torch.float32) + 0.5) / sprite_px
    cell = pixel % (sprite_px * sprite_px)
    rays = _Rays(
        (middle[cell % sprite_px] - 0.5) * window,
        (FLOOR_FRACTION - middle[cell // sprite_px]) * window,
        started[pixel],
        Form(values.index_select(1, pixel // (sprite_px * sprite_px))),
    )
    nearest = torch.full_like(rays.right, 9.0)
    where_nearest = rays.travelled.clone()
    active = torch.arange(len(pixel), device=device)
    moving = rays
    near, at = nearest, where_nearest
    for steps in _FINE_ROUNDS:
        for _ in range(steps):
            gap = distance(moving)
            closer = gap < near
            near = torch.where(closer, gap, near)
            at = torch.where(closer, moving.travelled, at)
            moving.travelled = (moving.travelled + _RELAXATION * gap).clamp(max=_FAR)
        nearest[active], where_nearest[active] = near, at
        keep = ((near > _TOUCH) & (moving.travelled < _FAR - 1e-3)).nonzero().squeeze(1)
        active, moving, near, at = active[keep], moving.select(keep), near[keep], at[keep]
        if not len(active):
            break

    # A ray that misses by less than a pixel lends it that much colour: smooth outlines without more rays.
    coverage = (1 - (nearest - _TOUCH) / pixel_size).clamp(0, 1)
    touched = (coverage > 0).nonzero().squeeze(1)
    rays = _Rays(rays.right, rays.up, where_nearest, rays.form).select(touched)
    return Hits(pixel[touched], rays.points(), rays.view(), coverage[touched], rays.travelled, rays.form)
