"""Toys as sprites: small pictures with alpha, from which scenes are composed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox import bodies
from spectral_diffusion.toybox.decals import Painter, face_plate, paint_body_marks, paint_faces
from spectral_diffusion.toybox.form import Forms, forms
from spectral_diffusion.toybox.march import FLOOR_FRACTION as FLOOR_FRACTION
from spectral_diffusion.toybox.march import march, project
from spectral_diffusion.toybox.primitives import Assembly, Material
from spectral_diffusion.toybox.shading import normals, shade
from spectral_diffusion.toybox.skeleton import KEYPOINTS, Pose, keypoint_positions
from spectral_diffusion.toybox.surface import palettes, pattern
from spectral_diffusion.toybox.toy import FACED_KINDS, PATTERNS, Toy


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
    middle, spread = bodies.BODIES[kind].yaw
    draws = torch.rand(2, generator=generator)
    sign = 1.0 if draws[0] < 0.5 else -1.0
    return sign * (middle + spread * (2 * float(draws[1]) - 1))


def render_sprites(
    toys: Sequence[Toy],
    yaw_radians: Tensor,
    poses: Sequence[Pose | None],
    *,
    sprite_px: int = 160,
    device: torch.device | str = "cpu",
    chunk: int | None = None,
) -> Sprites:
    """Draws toys, each in a window of its own; the chunks of a kind share their work.

    Args:
        toys: What to draw.
        yaw_radians: (n,) turns about the upright axis; positive turns the face to the viewer's right.
        poses: Per toy; None stands still. Only figures have a pose.
        sprite_px: Side of a sprite in pixels, a multiple of 4.
        device: Where to work and where the result lies.
        chunk: Toys of a kind drawn at once; bounds the memory and changes nothing else. By default 384 on a GPU (about
            6 GB at 160 px), where few large kernels are fastest, and 8 elsewhere, where caches are small.

    Raises:
        InputError: Lengths differ, or a size is impossible.
    """
    if not len(toys) == len(yaw_radians) == len(poses):
        raise InputError(
            f"{len(toys)} toys came with {len(yaw_radians)} turns and {len(poses)} poses", "give one of each per toy"
        )
    if chunk is None:
        chunk = 384 if torch.device(device).type == "cuda" else 8
    if sprite_px < 16 or sprite_px % 4 or chunk < 1:
        raise InputError(
            f"sprite_px is {sprite_px} and chunk {chunk}", "give a multiple of 4 from 16 on, and a chunk of at least 1"
        )
    rgba = torch.zeros(len(toys), 4, sprite_px, sprite_px, dtype=torch.uint8, device=device)
    keypoints = torch.zeros(len(toys), len(KEYPOINTS), 3, device=device)
    members: dict[str, list[int]] = {}
    for i, toy in enumerate(toys):
        members.setdefault(toy.kind, []).append(i)
    yaw = yaw_radians.to("cpu", torch.float32)
    with torch.no_grad():
        for kind, indices in members.items():
            for start in range(0, len(indices), chunk):
                some = indices[start : start + chunk]
                group, turns = [toys[i] for i in some], yaw[some]
                numbers = forms(group, turns, [poses[i] for i in some], bodies.BODIES[kind].frames)
                where = torch.tensor(some, device=device)
                rgba[where] = _draw(group, numbers, sprite_px, torch.device(device))
                keypoints[where] = _keypoints(numbers, turns, bodies.BODIES[kind].window).to(device)
    return Sprites(rgba, keypoints)


def _draw(toys: Sequence[Toy], numbers: Forms, sprite_px: int, device: torch.device) -> Tensor:
    """Sprites of a chunk of one kind, uint8 (n, 4, S, S)."""
    kind = toys[0].kind
    worn = frozenset(accessory.name for toy in toys for accessory in toy.accessories)
    build = partial(bodies.build, kind, worn=worn)
    window = bodies.BODIES[kind].window
    hits = march(build, numbers.values.to(device), sprite_px, window)
    pixel_size = window / sprite_px
    toy_of_ray = hits.pixel // (sprite_px * sprite_px)

    body = Assembly(with_materials=True, seam=0.6 * pixel_size)
    build(body, hits.points, hits.form)
    weights = body.weights
    normal = normals(build, hits.points, hits.form)
    colours, second = (table.to(device) for table in palettes(toys))
    albedo = torch.zeros(len(toy_of_ray), 3, device=device)
    for material in Material:
        albedo += weights[:, material, None] * colours[:, material][toy_of_ray]
    painter = Painter(albedo, pixel_size)
    for name in PATTERNS[1:]:
        has = torch.tensor([toy.pattern == name for toy in toys], device=device)
        if bool(has.any()):
            share = pattern(name, kind, hits.points, normal, pixel_size)
            if kind in FACED_KINDS:
                share = share * (1 - face_plate(hits.points, hits.form))
            painter.over(share * weights[:, Material.MAIN] * has[toy_of_ray], second[toy_of_ray])
    paint_body_marks(painter, toys, toy_of_ray, weights, hits.points, hits.form)
    paint_faces(painter, toys, toy_of_ray, weights, hits.points, hits.form)
    colour = shade(build, hits, normal, painter.albedo)

    picture = torch.zeros(len(toys) * sprite_px * sprite_px, 5, device=device)
    picture[hits.pixel] = torch.cat([colour, hits.coverage[:, None], hits.depth[:, None]], 1)
    picture = picture.view(len(toys), sprite_px, sprite_px, 5).permute(0, 3, 1, 2)
    return _finish(picture[:, :3], picture[:, 3:4], picture[:, 4:])


def _finish(colour: Tensor, alpha: Tensor, depth: Tensor) -> Tensor:
    """Softens steps inside the outline, bleeds colours outwards and rounds to bytes."""
    inside = (alpha > 0).to(colour.dtype)

    def smooth(values: Tensor) -> Tensor:
        # By slices: a convolution may round to TF32 on a GPU.
        values = functional.pad(values, (1, 1, 1, 1))
        values = 0.25 * values[..., :-2] + 0.5 * values[..., 1:-1] + 0.25 * values[..., 2:]
        return 0.25 * values[..., :-2, :] + 0.5 * values[..., 1:-1, :] + 0.25 * values[..., 2:, :]

    # Where one part hangs before another the march gives hard steps: blend the neighbours there.
    shallow = functional.max_pool2d(-depth + (1 - inside) * -9.0, 3, 1, 1)
    deep = functional.max_pool2d(depth * inside, 3, 1, 1)
    step = ((deep + shallow - 0.05) * 12).clamp(0, 1) * inside
    blended = smooth(colour * inside) / (smooth(inside) + 1e-4)
    colour = colour + (blended - colour) * step * 0.85

    filled, known = colour * inside, inside
    for size in (3, 5, 9):
        spread = functional.avg_pool2d(filled, size, 1, size // 2)
        share = functional.avg_pool2d(known, size, 1, size // 2)
        filled = torch.where(known > 0, filled, spread / (share + 1e-6))
        known = (share > 0).to(colour.dtype)
        filled = filled * known
    return (torch.cat([filled, alpha], 1).clamp(0, 1) * 255).round().to(torch.uint8)


def _keypoints(numbers: Forms, yaw: Tensor, window: float) -> Tensor:
    if numbers.joints is None:
        return torch.zeros(len(yaw), len(KEYPOINTS), 3)
    points = keypoint_positions(numbers.joints, numbers.head_tilt, numbers.head_turn, numbers.head_radius)
    flat = project(points, yaw, window)
    return torch.cat([flat, torch.ones_like(flat[..., :1])], -1)
