"""Every kind's body, its frames and its views in one table, and what bodies wear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from spectral_diffusion.toybox import animals, figures, things
from spectral_diffusion.toybox.form import Form, Frame
from spectral_diffusion.toybox.primitives import (
    Assembly,
    Material,
    Vector,
    capsule,
    cylinder,
    ellipsoid,
    sphere,
    torus,
)


@dataclass(frozen=True)
class Neck:
    """Where a scarf lies, in the head's frame: the ring's middle, its radius and thickness."""

    centre: tuple[float, float, float]
    radius: float
    thickness: float = 0.19


@dataclass(frozen=True)
class Body:
    """How a kind is built.

    Args:
        build: Adds the kind's parts to an assembly.
        frames: Its "head" (faced kinds) and its "mark": where belly, side and front marks are painted.
        yaw: Middle and half width in radians of the turns to either side that still show its face or best side.
        neck: Where a scarf lies.
        hat_height: Where a hat's brim lies, in the head's frame.
        both_sides: Marks are painted on the left and the right side.
        window: Side of the sprite's window in the kind's unit of length; smaller draws it larger.
    """

    build: Callable[[Assembly, Vector, Form], None]
    frames: Mapping[str, Frame]
    yaw: tuple[float, float]
    neck: Neck | None = None
    hat_height: float = 0.72
    both_sides: bool = False
    window: float = 2.0


def _front(height: float, radius: float) -> dict[str, Frame]:
    """Things that look the same all round keep their mark nearly in front."""
    return {"mark": Frame((0.0, height, 0.0), radius, follow=0.85)}


BODIES: Mapping[str, Body] = MappingProxyType(
    {
        "octopus": Body(
            animals.octopus,
            {"head": Frame((0.0, 0.86, 0.0), 0.54), "mark": Frame((0.0, 0.9, 0.0), 0.5)},
            (0.0, 0.5),
            hat_height=0.82,
            window=2.12,
        ),
        "tortoise": Body(
            animals.tortoise,
            {"head": Frame((0.0, 0.7, 0.62), 0.43), "mark": Frame((0.0, 0.5, -0.16), 0.62)},
            (0.75, 0.3),
            Neck((0.0, -0.85, -0.1), 0.5),
            both_sides=True,
            window=2.12,
        ),
        "dog": Body(
            animals.dog,
            {"head": Frame((0.0, 1.0, 0.26), 0.46), "mark": Frame((0.0, 0.47, -0.28), 0.42)},
            (0.65, 0.3),
            Neck((0.0, -0.92, -0.15), 0.52),
            both_sides=True,
            window=1.9,
        ),
        "cat": Body(
            animals.cat,
            {"head": Frame((0.0, 0.96, 0.06), 0.45), "mark": Frame((0.0, 0.46, 0.0), 0.4)},
            (0.15, 0.35),
            Neck((0.0, -0.92, -0.05), 0.52),
            hat_height=0.74,
            window=1.97,
        ),
        "duck": Body(
            animals.duck,
            {"head": Frame((0.0, 1.0, 0.18), 0.45), "mark": Frame((0.0, 0.42, 0.1), 0.42, follow=0.5)},
            (0.6, 0.3),
            Neck((0.0, -0.92, 0.0), 0.58),
            window=1.9,
        ),
        "bear": Body(
            animals.bear,
            {"head": Frame((0.0, 1.05, 0.02), 0.48), "mark": Frame((0.0, 0.44, 0.0), 0.46)},
            (0.0, 0.45),
            Neck((0.0, -0.88, -0.02), 0.55),
            window=2.08,
        ),
        "rabbit": Body(
            animals.rabbit,
            {"head": Frame((0.0, 0.93, 0.04), 0.45), "mark": Frame((0.0, 0.34, 0.0), 0.38)},
            (0.1, 0.4),
            Neck((0.0, -0.9, -0.02), 0.5),
            window=2.08,
        ),
        "robot": Body(
            figures.robot,
            {"head": Frame((0.0, 1.15, 0.0), 0.37), "mark": Frame((0.0, 0.6, 0.0), 0.3)},
            (0.0, 0.45),
            Neck((0.0, -0.98, 0.0), 0.45, 0.17),
            hat_height=0.82,
            window=2.0,
        ),
        "doll": Body(
            figures.doll,
            {"head": Frame((0.0, 1.15, 0.0), 0.37), "mark": Frame((0.0, 0.6, 0.0), 0.32)},
            (0.0, 0.45),
            Neck((0.0, -0.98, 0.0), 0.42, 0.17),
            hat_height=0.78,
            window=2.0,
        ),
        "car": Body(things.car, {"mark": Frame((0.0, 0.38, 0.0), 0.34)}, (0.95, 0.35), both_sides=True, window=2.0),
        "vase": Body(things.vase, _front(0.5, 0.5), (0.0, 0.5), window=1.8),
        "chair": Body(things.chair, _front(0.6, 0.4), (0.45, 0.3), window=1.95),
        "table": Body(things.table, _front(0.6, 0.4), (0.45, 0.4), window=2.18),
        "mushroom": Body(things.mushroom, _front(0.84, 0.52), (0.0, 3.1), window=1.85),
        "cup": Body(things.cup, {"mark": Frame((-0.12, 0.48, 0.0), 0.52, follow=0.85)}, (0.0, 0.6), window=1.75),
        "ball": Body(things.ball, _front(0.58, 0.58), (0.0, 3.1), window=1.7),
    }
)

_ABSENT = 10.0


def build(kind: str, body: Assembly, p: Vector, form: Form, worn: frozenset[str]) -> None:
    """Adds a kind's parts, and what any of its toys wears.

    Args:
        kind: One of `KINDS`.
        body: Receives the parts.
        p: Points in the toys' own frames, (R,) each.
        form: Their toys' numbers, (rows, R).
        worn: Accessories worn by at least one of the toys; each toy's own flag moves away what it does not wear.
    """
    spec = BODIES[kind]
    spec.build(body, p, form)
    if not worn:
        return
    head, scale = form.local(p, "head"), form["head_radius"]

    def put(distance: torch.Tensor, name: str, material: Material) -> None:
        body.add(distance * scale + (1 - form[name]) * _ABSENT, material, 0.01)

    if "hat" in worn:
        brim, deep = spec.hat_height, -0.1
        hat = cylinder(head, (0, brim, deep), 0.94, 0.09, 0.07)
        put(hat, "hat", Material.HAT)
        put(capsule(head, (0, brim, deep), (0, brim + 0.3, deep), 0.6, 0.46), "hat", Material.HAT)
    if "scarf" in worn and spec.neck is not None:
        x, y, z = spec.neck.centre
        radius, thick = spec.neck.radius, spec.neck.thickness
        put(torus(head, (x, y, z), radius, thick), "scarf", Material.SCARF)
        end = (x + 0.42, y - 0.75, z + radius + 0.2)
        put(capsule(head, (x + 0.3, y, z + radius * 0.8), end, 0.17, 0.2), "scarf", Material.SCARF)
    if "glasses" in worn:
        for side in (-1, 1):
            rim = torus(head, (side * 0.42, 0.0, 1.0), 0.37, 0.07, axis=2)
            put(rim, "glasses", Material.GLASSES)
            put(capsule(head, (side * 0.78, 0.03, 1.0), (side * 1.02, 0.06, 0.1), 0.06), "glasses", Material.GLASSES)
        put(capsule(head, (-0.06, 0.04, 1.03), (0.06, 0.04, 1.03), 0.06), "glasses", Material.GLASSES)
    if "bow" in worn:
        x, y, z = 0.5, 0.9, 0.3
        for side in (-1, 1):
            loop = ellipsoid(head, (x + side * 0.31, y - side * 0.14, z), (0.29, 0.27, 0.16))
            put(loop, "bow", Material.BOW)
        put(sphere(head, (x, y, z + 0.1), 0.17), "bow", Material.BOW)
