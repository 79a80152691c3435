"""Light on toys: a soft key light, sky and floor light, occlusion and a gentle gloss."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spectral_diffusion.toybox.form import Form
from spectral_diffusion.toybox.march import BuildBody, Hits
from spectral_diffusion.toybox.primitives import Assembly, Vector, length, turned

_KEY = (-0.42, 0.72, 0.55)
"""Towards the key light, in the viewer's frame: from the upper left, in front."""

_NORMAL_STEP = 0.005
_CORNERS = ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1))
_OCCLUSION_REACH = (0.07, 0.18)


def _dot(a: Vector, b: Vector) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _offset(p: Vector, direction: Vector | tuple[int, int, int], size: float) -> Vector:
    return p[0] + size * direction[0], p[1] + size * direction[1], p[2] + size * direction[2]


def _distance(build: BuildBody, p: Vector, form: Form) -> Tensor:
    body = Assembly()
    build(body, p, form)
    return body.distance


def normals(build: BuildBody, p: Vector, form: Form) -> Vector:
    """Unit normals from differences over a small tetrahedron."""
    x = y = z = torch.zeros_like(p[0])
    for corner in _CORNERS:
        gap = _distance(build, _offset(p, corner, _NORMAL_STEP), form)
        x, y, z = x + corner[0] * gap, y + corner[1] * gap, z + corner[2] * gap
    size = length(x, y, z)
    return x / size, y / size, z / size


def shade(build: BuildBody, hits: Hits, normal: Vector, albedo: Tensor) -> Tensor:
    """Lit colours, (R, 3) in [0, 1].

    Args:
        build: Adds the body's parts to an assembly.
        hits: Where the rays touch.
        normal: Unit normals there.
        albedo: (R, 3).
    """
    form = hits.form
    x, y, z = (torch.full_like(normal[0], value / math.hypot(*_KEY)) for value in _KEY)
    key = turned((x, y, z), form["yaw_cos"], form["yaw_sin"])
    facing = _dot(normal, key)
    half = _offset(key, hits.view, 1.0)
    gloss = (_dot(normal, half) / length(*half)).clamp(0, 1) ** 36
    edge = 1 - _dot(normal, hits.view).clamp(0, 1)

    occlusion = torch.ones_like(facing)
    for reach in _OCCLUSION_REACH:
        free = _distance(build, _offset(hits.points, normal, reach), form) / reach
        occlusion = occlusion * (0.62 + 0.38 * free.clamp(0, 1))
    # The floor takes light from what stands close to it.
    occlusion = occlusion * (0.80 + 0.20 * (hits.points[1] / 0.3).clamp(0, 1))

    diffuse = (0.60 * facing + 0.40).clamp(0, 1) ** 1.3
    ambient = 0.40 * (0.72 + 0.28 * normal[1])
    light = (0.78 * diffuse + ambient) * occlusion
    shine = (0.20 * gloss + 0.10 * edge**3) * occlusion
    return (albedo * light[:, None] + shine[:, None]).clamp(0, 1)
