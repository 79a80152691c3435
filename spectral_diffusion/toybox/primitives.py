"""Signed distances of the shapes toys are made of, and their union.

A point set is three tensors (x, y, z) of one shape, here (R,) with one entry per ray; x is to the viewer's right, y up,
z towards the viewer. Distances are in the same unit (a toy is about 1.5 high), negative inside. Parameters are numbers
or tensors of the points' shape, so that one call serves many toys of different proportions.

The formulas are the usual closed forms: exact for sphere, capsule, box, cylinder and torus; the ellipsoid's is the
first-order bound k0 (k0 - 1) / k1.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

Scalar = float | Tensor
Vector = tuple[Tensor, Tensor, Tensor]
Triple = tuple[Scalar, Scalar, Scalar]

_TINY = 1e-9


class Material(IntEnum):
    """What a surface is made of; the palette gives each toy's colour of it."""

    MAIN = 0
    LIMB = 1
    TIP = 2
    PART = 3
    PALE = 4
    DARK = 5
    BEAK = 6
    SKIN = 7
    METAL = 8
    GLASS = 9
    INNER = 10
    HAT = 11
    SCARF = 12
    GLASSES = 13
    BOW = 14


def minus(p: Vector, centre: Triple) -> Vector:
    """The points seen from a centre."""
    return p[0] - centre[0], p[1] - centre[1], p[2] - centre[2]


def turned(p: Vector, cosine: Scalar, sine: Scalar) -> Vector:
    """The points in a frame turned about the upright axis by the angle of this cosine and sine."""
    return cosine * p[0] - sine * p[2], p[1], sine * p[0] + cosine * p[2]


def tilted(p: Vector, cosine: Scalar, sine: Scalar) -> Vector:
    """The points in a frame tilted in the picture plane, clockwise for a positive angle."""
    return cosine * p[0] - sine * p[1], sine * p[0] + cosine * p[1], p[2]


def length(*components: Tensor) -> Tensor:
    """Euclidean length, with a finite slope at zero."""
    total = components[0] * components[0]
    for component in components[1:]:
        total = total + component * component
    return (total + _TINY).sqrt()


def sphere(p: Vector, centre: Triple, radius: Scalar) -> Tensor:
    """Distance to a sphere."""
    return length(*minus(p, centre)) - radius


def ellipsoid(p: Vector, centre: Triple, radii: Triple) -> Tensor:
    """Distance bound to an ellipsoid along the axes."""
    x, y, z = minus(p, centre)
    x, y, z = x / radii[0], y / radii[1], z / radii[2]
    k0 = length(x, y, z)
    return k0 * (k0 - 1) / length(x / radii[0], y / radii[1], z / radii[2])


def capsule(p: Vector, start: Triple, end: Triple, radius: Scalar, end_radius: Scalar | None = None) -> Tensor:
    """Distance to a segment with a radius that goes linearly from start to end."""
    x, y, z = minus(p, start)
    bx, by, bz = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    along = ((x * bx + y * by + z * bz) / (bx * bx + by * by + bz * bz + _TINY)).clamp(0, 1)
    away = length(x - bx * along, y - by * along, z - bz * along)
    return away - radius if end_radius is None else away - (radius + (end_radius - radius) * along)


def box(p: Vector, centre: Triple, half: Triple, rounding: float = 0.05) -> Tensor:
    """Distance to a box of these half sizes with rounded edges."""
    x, y, z = (value.abs() for value in minus(p, centre))
    x, y, z = x - (half[0] - rounding), y - (half[1] - rounding), z - (half[2] - rounding)
    outside = length(x.clamp(min=0), y.clamp(min=0), z.clamp(min=0))
    return outside + torch.maximum(x, torch.maximum(y, z)).clamp(max=0) - rounding


def cylinder(
    p: Vector, centre: Triple, radius: Scalar, half_height: Scalar, rounding: float = 0.03, axis: int = 1
) -> Tensor:
    """Distance to a cylinder along an axis (0, 1 or 2) with rounded edges."""
    q = minus(p, centre)
    across = length(*(q[i] for i in range(3) if i != axis)) - (radius - rounding)
    along = q[axis].abs() - (half_height - rounding)
    return length(across.clamp(min=0), along.clamp(min=0)) + torch.maximum(across, along).clamp(max=0) - rounding


def torus(p: Vector, centre: Triple, radius: Scalar, thickness: Scalar, axis: int = 1) -> Tensor:
    """Distance to a ring of this radius and thickness round an axis."""
    q = minus(p, centre)
    ring = length(*(q[i] for i in range(3) if i != axis)) - radius
    return length(ring, q[axis]) - thickness


class Assembly:
    """The union of a body's parts, with softly blended joints.

    Args:
        with_materials: Also keep each point's material weights, (R, materials), each row adding up to 1. They blend
            over `seam`, so that the border between two colours has no jaggies.
        seam: Half width of that blend.
    """

    def __init__(self, with_materials: bool = False, seam: float = 0.008) -> None:
        self.with_materials = with_materials
        self.seam = seam
        self._distance: Tensor | None = None
        self._weights: Tensor | None = None

    @property
    def distance(self) -> Tensor:
        """Distance to the union."""
        assert self._distance is not None, "a body has at least one part"
        return self._distance

    @property
    def weights(self) -> Tensor:
        """Material weights, (R, materials)."""
        assert self._weights is not None, "built without materials"
        return self._weights

    def add(self, distance: Tensor, material: Material, blend: float = 0.03) -> None:
        """Joins a part; `blend` is the width of the fillet at its joint (0: a crease)."""
        if self._distance is None:
            self._distance = distance
            if self.with_materials:
                self._weights = distance.new_zeros(*distance.shape, len(Material))
                self._weights[..., material] = 1
            return
        if self._weights is not None:
            nearer = (0.5 + (self._distance - distance) / (2 * self.seam)).clamp(0, 1)
            self._weights = self._weights * (1 - nearer[..., None])
            self._weights[..., material] += nearer
        union = torch.minimum(self._distance, distance)
        if blend > 0:
            overlap = (blend - (self._distance - distance).abs()).clamp(min=0)
            union = union - overlap * overlap * (0.25 / blend)
        self._distance = union
