"""The bodies of the things: each known by its outline, without a face."""

from __future__ import annotations

import torch

from spectral_diffusion.toybox.form import Form
from spectral_diffusion.toybox.primitives import (
    Assembly,
    Material,
    Vector,
    box,
    capsule,
    cylinder,
    ellipsoid,
    length,
    minus,
    sphere,
    torus,
)

SIDES = (-1, 1)


def car(body: Assembly, p: Vector, form: Form) -> None:
    """A stubby car. Shape: bonnet height, length, cabin place, cabin length, wheel size."""
    long, wheel = form.between(1, 0.62, 0.76), form.between(4, 0.19, 0.23)
    body.add(box(p, (0, 0.36, 0), (0.38, form.between(0, 0.17, 0.21), long), 0.12), Material.MAIN)
    cabin, cabin_long = form.between(2, -0.18, 0.02), form.between(3, 0.34, 0.44)
    body.add(box(p, (0, 0.66, cabin), (0.33, 0.23, cabin_long), 0.12), Material.MAIN, 0.06)
    body.add(box(p, (0, 0.69, cabin), (0.345, 0.11, cabin_long * 0.78), 0.06), Material.GLASS, 0)
    body.add(box(p, (0, 0.69, cabin), (0.25, 0.11, cabin_long + 0.015), 0.06), Material.GLASS, 0)
    body.add(box(p, (0, 0.86, cabin), (0.3, 0.05, cabin_long * 0.86), 0.04), Material.PART, 0.02)
    for x in SIDES:
        for z in (-0.6, 0.6):
            body.add(cylinder(p, (x * 0.34, wheel, z * long), wheel, 0.1, 0.04, axis=0), Material.DARK, 0)
            body.add(cylinder(p, (x * 0.4, wheel, z * long), wheel * 0.5, 0.06, 0.02, axis=0), Material.PALE, 0)
        body.add(sphere(p, (x * 0.23, 0.4, long - 0.02), 0.095), Material.PALE, 0)
    body.add(box(p, (0, 0.22, long), (0.32, 0.05, 0.05), 0.04), Material.METAL, 0)


def vase(body: Assembly, p: Vector, form: Form) -> None:
    """A belly, a neck and a lip, with two handles. Shape: belly width, belly height, neck width, height, lip width."""
    y, around = p[1], length(p[0], p[2])
    tall = form.between(3, 1.15, 1.4)
    belly, neck, lip = form.between(0, 0.38, 0.52), form.between(2, 0.13, 0.22), form.between(4, 0.24, 0.34)
    u = (y / tall).clamp(0, 1)
    peak = form.between(1, 0.3, 0.42)
    # A bell curve for the belly over the neck's width, and the lip flaring out above it.
    profile = neck + (belly - neck) * torch.exp(-(((u - peak) / 0.27) ** 2)) + (lip - neck) * u**6
    wall = torch.maximum((around - profile) * 0.5, (y - tall * 0.5).abs() - tall * 0.5)
    hollow = torch.maximum((around - profile + 0.05) * 0.5, 0.8 * tall - y)
    body.add(torch.maximum(wall, -hollow), Material.MAIN, 0)
    body.add(_inside(around, y, profile, tall), Material.INNER, 0)
    for x in SIDES:
        ring = torus(p, (x * (neck + 0.13), tall * 0.72, 0), 0.15, 0.045, axis=2)
        body.add(ring, Material.PART, 0.02)


def _inside(around: torch.Tensor, y: torch.Tensor, profile: torch.Tensor, tall: torch.Tensor) -> torch.Tensor:
    """The dark in a vase's mouth."""
    return torch.maximum((around - profile + 0.04) * 0.5, (y - 0.88 * tall).abs() - 0.04)


def chair(body: Assembly, p: Vector, form: Form) -> None:
    """A seat, a slatted back and four legs. Shape: seat width, back height, seat height, leg width, depth."""
    wide, seat, deep = form.between(0, 0.4, 0.5), form.between(2, 0.5, 0.62), form.between(4, 0.36, 0.44)
    back, leg = form.between(1, 0.34, 0.46), form.between(3, 0.06, 0.085)
    body.add(box(p, (0, seat, 0), (wide, 0.075, deep), 0.05), Material.PART)
    body.add(box(p, (0, seat + 0.04 + back, -deep + 0.07), (wide, back, 0.07), 0.05), Material.MAIN, 0.02)
    for x in SIDES:
        for z in SIDES:
            foot = (x * (wide - 0.06), leg, z * (deep - 0.06))
            body.add(capsule(p, foot, (foot[0], seat, foot[2]), leg), Material.LIMB, 0.02)


def table(body: Assembly, p: Vector, form: Form) -> None:
    """A round or square top on four legs. Shape: width, round below 1/2 and square above, height, leg width, depth."""
    wide, tall = form.between(0, 0.66, 0.8), form.between(2, 0.6, 0.74)
    deep, leg = form.between(4, 0.44, 0.52), form.between(3, 0.06, 0.09)
    square = box(p, (0, tall, 0), (wide, 0.07, deep), 0.05)
    disc = cylinder(p, (0, tall, 0), wide * 0.96, 0.07, 0.05)
    body.add(torch.where(form["shape_1"] > 0.5, square, disc), Material.MAIN)
    for x in SIDES:
        for z in SIDES:
            body.add(
                capsule(
                    p, (x * wide * 0.72, leg, z * deep * 0.72), (x * wide * 0.6, tall - 0.07, z * deep * 0.62), leg
                ),
                Material.LIMB,
                0.02,
            )


def mushroom(body: Assembly, p: Vector, form: Form) -> None:
    """A cap on a stem. Shape: cap width, cap height, stem width, stem height, stem foot."""
    wide, tall, stem = form.between(0, 0.6, 0.78), form.between(1, 0.5, 0.68), form.between(2, 0.2, 0.3)
    under = form.between(3, 0.5, 0.66)
    dome = torch.maximum(ellipsoid(p, (0, under, 0), (wide, tall, wide)), under - 0.06 - p[1])
    body.add(dome, Material.MAIN, 0)
    foot = stem + form.between(4, 0.0, 0.1)
    body.add(capsule(p, (0, foot, 0), (0, under, 0), foot, stem), Material.LIMB, 0.02)


def cup(body: Assembly, p: Vector, form: Form) -> None:
    """A mug with a handle. Shape: width, height, handle size, handle thickness, handle height."""
    wide, half = form.between(0, 0.42, 0.54), form.between(1, 0.4, 0.56)
    p = minus(p, (-0.12, 0, 0))
    outer = cylinder(p, (0, half, 0), wide, half, 0.06)
    hollow = cylinder(p, (0, half + 0.25, 0), wide - 0.08, half, 0.03)
    body.add(torch.maximum(outer, -hollow), Material.MAIN, 0)
    body.add(cylinder(p, (0, half * 1.5, 0), wide - 0.07, 0.02, 0.01), Material.INNER, 0)
    size, thick = form.between(2, 0.2, 0.27), form.between(3, 0.065, 0.09)
    ring = torus(p, (wide + 0.02, half * form.between(4, 0.95, 1.1), 0), size, thick, axis=2)
    body.add(torch.maximum(ring, wide - 0.03 - p[0]), Material.PART, 0.02)


def ball(body: Assembly, p: Vector, form: Form) -> None:
    """A ball, a little squashed. Shape: size, squash; the others change nothing."""
    radius = form.between(0, 0.5, 0.64)
    tall = radius * form.between(1, 0.93, 1.0)
    body.add(ellipsoid(p, (0, tall, 0), (radius, tall, radius)), Material.MAIN, 0)
