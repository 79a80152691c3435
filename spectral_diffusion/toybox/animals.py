"""The bodies of the animals: big heads, short limbs, each known by its outline.

A head is built in its own frame, where it is a ball of radius 1 that looks along +z; everything else stands in the
toy's frame with the floor at y = 0. A toy is about 1.5 high.
"""

from __future__ import annotations

import math

from torch import Tensor

from spectral_diffusion.toybox.form import Form
from spectral_diffusion.toybox.primitives import (
    Assembly,
    Material,
    Vector,
    capsule,
    ellipsoid,
    sphere,
)

SIDES = (-1, 1)


def _snout(body: Assembly, head: Vector, scale: Tensor, width: float = 0.44, nose: float = 0.15) -> None:
    """A pale muzzle with a nose; the mouth is painted below the nose."""
    body.add(ellipsoid(head, (0, -0.42, 0.72), (width, 0.33, 0.38)) * scale, Material.PALE, 0.02)
    body.add(ellipsoid(head, (0, -0.2, 1.06), (nose, nose * 0.75, 0.12)) * scale, Material.DARK, 0)


def octopus(body: Assembly, p: Vector, form: Form) -> None:
    """A round head on eight tentacles with curled tips. Shape: head height, head width, reach, curl, head size."""
    head, scale = form.local(p, "head"), form["head_radius"]
    width = form.between(1, 0.92, 1.04)
    body.add(ellipsoid(head, (0, 0, 0), (width, form.between(0, 0.95, 1.12), width * 0.95)) * scale, Material.MAIN)
    reach, curl = form.between(2, 0.62, 0.76), form.between(3, 0.1, 0.26)
    for arm in range(8):
        c, s = math.cos((arm + 0.5) * math.pi / 4), math.sin((arm + 0.5) * math.pi / 4)
        body.add(capsule(p, (0.2 * c, 0.55, 0.2 * s), (0.5 * c, 0.15, 0.5 * s), 0.18, 0.135), Material.LIMB, 0.1)
        body.add(capsule(p, (0.5 * c, 0.14, 0.5 * s), (reach * c, curl, reach * s), 0.135, 0.085), Material.TIP, 0.04)


def tortoise(body: Assembly, p: Vector, form: Form) -> None:
    """A domed shell on four stumps. Shape: shell width, height, length, leg spread, head size."""
    head, scale = form.local(p, "head"), form["head_radius"]
    width, tall, long = form.between(0, 0.54, 0.66), form.between(1, 0.46, 0.6), form.between(2, 0.56, 0.66)
    shell = ellipsoid(p, (0, 0.28, -0.16), (width, tall, long))
    body.add(_cut_below(shell, p, 0.24), Material.MAIN, 0)
    body.add(ellipsoid(p, (0, 0.27, -0.16), (width + 0.06, 0.11, long + 0.06)), Material.PART, 0.02)
    body.add(capsule(p, (0, 0.3, 0.3), (0, 0.5, 0.55), 0.16), Material.LIMB, 0.04)
    body.add(sphere(head, (0, 0, 0), 1.0) * scale, Material.LIMB, 0.04)
    spread = form.between(3, 0.38, 0.48)
    for x in SIDES:
        for z in (-0.55, 0.2):
            body.add(capsule(p, (x * spread, 0.25, z), (x * (spread + 0.06), 0.15, z), 0.15), Material.LIMB, 0.03)
            body.add(ellipsoid(p, (x * (spread + 0.07), 0.07, z + 0.04), (0.16, 0.08, 0.18)), Material.TIP, 0.03)
    body.add(capsule(p, (0, 0.2, -0.7), (0, 0.14, -0.92), 0.08, 0.03), Material.LIMB, 0.03)


def _cut_below(distance: Tensor, p: Vector, height: float) -> Tensor:
    return (height - p[1]).maximum(distance)


def dog(body: Assembly, p: Vector, form: Form) -> None:
    """On four legs, with floppy ears and a raised tail. Shape: body width, height, ear length, tail, head size."""
    head, scale = form.local(p, "head"), form["head_radius"]
    body.add(
        ellipsoid(p, (0, 0.46, -0.2), (form.between(0, 0.27, 0.35), form.between(1, 0.26, 0.32), 0.5)), Material.MAIN
    )
    body.add(capsule(p, (0, 0.55, 0.1), (0, 0.8, 0.22), 0.2), Material.MAIN, 0.1)
    for x in SIDES:
        for z in (-0.52, 0.12):
            body.add(capsule(p, (x * 0.19, 0.4, z), (x * 0.21, 0.18, z), 0.125), Material.LIMB, 0.06)
            body.add(ellipsoid(p, (x * 0.21, 0.09, z + 0.04), (0.14, 0.1, 0.17)), Material.TIP, 0.04)
    tail = form.between(3, 0.85, 1.05)
    body.add(capsule(p, (0, 0.58, -0.62), (0, tail, -0.84), 0.09, 0.07), Material.LIMB, 0.05)
    body.add(sphere(head, (0, 0, 0), 1.0) * scale, Material.MAIN, 0.05)
    ear = form.between(2, 0.52, 0.72)
    for x in SIDES:
        body.add(ellipsoid(head, (x * 0.98, 0.62 - ear, 0.0), (0.24, ear, 0.36)) * scale, Material.PART, 0.02)
    _snout(body, head, scale, width=0.46, nose=0.19)


def cat(body: Assembly, p: Vector, form: Form) -> None:
    """Sitting, with pointed ears and a tail curled upwards. Shape: width, ear height, tail, ear spread, head size."""
    head, scale = form.local(p, "head"), form["head_radius"]
    width = form.between(0, 0.3, 0.37)
    body.add(ellipsoid(p, (0, 0.36, -0.08), (width, 0.4, 0.34)), Material.MAIN)
    for x in SIDES:
        body.add(capsule(p, (x * 0.25, 0.48, 0.1), (x * 0.25, 0.15, 0.24), 0.1), Material.LIMB, 0.04)
        body.add(ellipsoid(p, (x * 0.25, 0.08, 0.3), (0.12, 0.09, 0.15)), Material.TIP, 0.03)
        body.add(ellipsoid(p, (x * 0.34, 0.14, -0.02), (0.15, 0.15, 0.24)), Material.LIMB, 0.04)
    tail = form.between(2, 0.45, 0.75)
    body.add(capsule(p, (0.2, 0.1, -0.28), (0.58, 0.16, -0.24), 0.09), Material.LIMB, 0.04)
    body.add(capsule(p, (0.58, 0.16, -0.24), (0.72, tail, -0.2), 0.09, 0.08), Material.TIP, 0.06)
    body.add(ellipsoid(head, (0, 0, 0), (1.12, 0.98, 0.98)) * scale, Material.MAIN, 0.04)
    ear, spread = form.between(1, 1.35, 1.6), form.between(3, 0.66, 0.82)
    for x in SIDES:
        body.add(capsule(head, (x * 0.6, 0.62, 0), (x * spread, ear, 0), 0.36, 0.05) * scale, Material.PART, 0.03)
    _snout(body, head, scale, width=0.4, nose=0.12)


def bear(body: Assembly, p: Vector, form: Form) -> None:
    """Sitting with its soles to the viewer. Shape: belly width, leg spread, ear size, arm spread, head size."""
    head, scale = form.local(p, "head"), form["head_radius"]
    body.add(ellipsoid(p, (0, 0.4, -0.05), (form.between(0, 0.38, 0.46), 0.42, 0.36)), Material.MAIN)
    legs, arms = form.between(1, 0.36, 0.48), form.between(3, 0.5, 0.66)
    for x in SIDES:
        body.add(capsule(p, (x * 0.22, 0.17, 0.05), (x * legs, 0.17, 0.36), 0.17), Material.LIMB, 0.04)
        body.add(ellipsoid(p, (x * (legs + 0.02), 0.19, 0.47), (0.19, 0.19, 0.1)), Material.TIP, 0.02)
        body.add(capsule(p, (x * 0.3, 0.62, 0), (x * arms, 0.4, 0.16), 0.13), Material.LIMB, 0.04)
        body.add(sphere(p, (x * (arms + 0.03), 0.36, 0.19), 0.14), Material.TIP, 0.03)
    body.add(sphere(head, (0, 0, 0), 1.0) * scale, Material.MAIN, 0.04)
    ear = form.between(2, 0.34, 0.46)
    for x in SIDES:
        body.add(ellipsoid(head, (x * 0.78, 0.76, -0.05), (ear, ear, 0.2)) * scale, Material.PART, 0.02)
    _snout(body, head, scale, width=0.46, nose=0.19)


def rabbit(body: Assembly, p: Vector, form: Form) -> None:
    """Upright on long feet, with long ears. Shape: body width, ear length, ear spread, arm spread, head size."""
    head, scale = form.local(p, "head"), form["head_radius"]
    body.add(ellipsoid(p, (0, 0.34, -0.02), (form.between(0, 0.27, 0.34), 0.36, 0.29)), Material.MAIN)
    arms = form.between(3, 0.34, 0.5)
    for x in SIDES:
        body.add(ellipsoid(p, (x * 0.18, 0.08, 0.18), (0.14, 0.09, 0.28)), Material.TIP, 0.03)
        body.add(capsule(p, (x * 0.2, 0.48, 0.06), (x * arms, 0.34, 0.2), 0.1), Material.LIMB, 0.04)
    body.add(sphere(p, (0.1, 0.22, -0.34), 0.15), Material.PALE, 0.02)
    body.add(ellipsoid(head, (0, 0, 0), (1.05, 0.98, 0.96)) * scale, Material.MAIN, 0.04)
    tall, spread = form.between(1, 1.45, 1.7), form.between(2, 0.45, 0.8)
    for x in SIDES:
        body.add(
            capsule(head, (x * 0.42, 0.75, -0.1), (x * spread, tall, -0.15), 0.25, 0.2) * scale, Material.PART, 0.03
        )
    _snout(body, head, scale, width=0.38, nose=0.12)


def duck(body: Assembly, p: Vector, form: Form) -> None:
    """A boat of a body with a bill, wings and a tail. Shape: body width, length, wing size, tail height, head size."""
    head, scale = form.local(p, "head"), form["head_radius"]
    width, long = form.between(0, 0.36, 0.44), form.between(1, 0.5, 0.6)
    body.add(ellipsoid(p, (0, 0.4, -0.08), (width, 0.36, long)), Material.MAIN)
    body.add(capsule(p, (0, 0.5, 0.18), (0, 0.8, 0.2), 0.24, 0.22), Material.MAIN, 0.1)
    body.add(capsule(p, (0, 0.48, -0.5), (0, form.between(3, 0.66, 0.86), -0.8), 0.17, 0.04), Material.MAIN, 0.08)
    wing = form.between(2, 0.18, 0.26)
    for x in SIDES:
        body.add(ellipsoid(p, (x * width, 0.46, -0.1), (0.1, wing, 0.36)), Material.PART, 0.02)
        body.add(capsule(p, (x * 0.17, 0.12, 0.0), (x * 0.17, 0.05, 0.02), 0.06), Material.TIP, 0)
        body.add(ellipsoid(p, (x * 0.18, 0.045, 0.16), (0.14, 0.05, 0.22)), Material.TIP, 0.02)
    body.add(sphere(head, (0, 0, 0), 1.0) * scale, Material.MAIN, 0.05)
    # The bill speaks for the mouth: open for joy, wide open for surprise, shut and low for sorrow.
    happy, surprised = form["happy"], form["surprised"]
    gape = 0.13 * happy + 0.22 * surprised
    width_of_bill = 0.52 - 0.18 * surprised
    body.add(ellipsoid(head, (0, -0.3 + gape * 0.6, 0.98), (width_of_bill, 0.13, 0.46)) * scale, Material.BEAK, 0)
    body.add(ellipsoid(head, (0, -0.36 - gape, 0.92), (width_of_bill * 0.86, 0.12, 0.36)) * scale, Material.BEAK, 0)
    body.add(
        ellipsoid(head, (0, -0.32 - gape * 0.3, 0.88), (width_of_bill * 0.8, 0.1 + gape, 0.32)) * scale,
        Material.INNER,
        0,
    )
