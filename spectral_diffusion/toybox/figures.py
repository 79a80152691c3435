"""The bodies of the figures: they follow a pose, joint by joint."""

from __future__ import annotations

from spectral_diffusion.toybox.form import Form
from spectral_diffusion.toybox.primitives import (
    Assembly,
    Material,
    Vector,
    box,
    capsule,
    cylinder,
    ellipsoid,
    minus,
    sphere,
    tilted,
)
from spectral_diffusion.toybox.skeleton import ANKLE_HEIGHT

SIDES = ("right", "left")


def doll(body: Assembly, p: Vector, form: Form) -> None:
    """A rag doll in a dress, with hair. Shape: dress width, hair length, sleeves, skin and hair tones, head size."""
    neck, pelvis = form.joint("neck"), form.joint("pelvis")
    body.add(
        capsule(p, (pelvis[0], pelvis[1] + 0.02, pelvis[2]), neck, form.between(0, 0.23, 0.3), 0.13), Material.MAIN
    )
    sleeve = form.between(2, 0.095, 0.12)
    for side in SIDES:
        shoulder, elbow, wrist = (form.joint(f"{side}_{name}") for name in ("shoulder", "elbow", "wrist"))
        body.add(capsule(p, shoulder, elbow, sleeve, sleeve), Material.MAIN, 0.05)
        body.add(capsule(p, elbow, wrist, 0.085, 0.075), Material.LIMB, 0.02)
        body.add(sphere(p, wrist, 0.115), Material.TIP, 0.03)
        hip, knee, ankle = (form.joint(f"{side}_{name}") for name in ("hip", "knee", "ankle"))
        body.add(capsule(p, hip, knee, 0.12, 0.105), Material.LIMB, 0.03)
        body.add(capsule(p, knee, ankle, 0.105, 0.09), Material.LIMB, 0.03)
    _shoes(body, p, form)
    head, scale = form.local(p, "head"), form["head_radius"]
    body.add(sphere(head, (0, 0, 0), 1.0) * scale, Material.SKIN, 0.03)
    cap = ellipsoid(head, (0, 0.06, -0.1), (1.14, 1.1, 1.08))
    # The parting runs from the forehead down behind the ears.
    hair = cap.maximum(head[2] - 0.1 - (head[1] - 0.5) * 0.5)
    body.add(hair * scale, Material.PART, 0.01)
    long = form.between(1, 0.3, 0.8)
    for x in (-1, 1):
        body.add(capsule(head, (x * 0.95, 0.1, -0.2), (x * 1.06, -long, -0.12), 0.26, 0.2) * scale, Material.PART, 0.04)


def _shoes(body: Assembly, p: Vector, form: Form) -> None:
    for side in SIDES:
        x, y, z = form.joint(f"{side}_ankle")
        sole = y - ANKLE_HEIGHT
        body.add(ellipsoid(p, (x, sole + 0.075, z + 0.06), (0.125, 0.085, 0.19)), Material.DARK, 0.01)


def robot(body: Assembly, p: Vector, form: Form) -> None:
    """A square-headed robot with an aerial. Shape: body width, head width, head height, joint size, head size."""
    neck, pelvis = form.joint("neck"), form.joint("pelvis")
    middle = (0.5 * (neck[0] + pelvis[0]), 0.5 * (neck[1] + pelvis[1]), 0.0)
    # A leaning box: its axis runs from the pelvis to the neck.
    up = (neck[0] - pelvis[0], neck[1] - pelvis[1])
    size = (up[0] * up[0] + up[1] * up[1]).sqrt()
    torso = tilted(minus(p, middle), up[1] / size, up[0] / size)
    body.add(box(torso, (0, 0.0, 0), (form.between(0, 0.23, 0.28), 0.21, 0.19), 0.06), Material.MAIN)
    body.add(cylinder(torso, (0, 0.23, 0), 0.1, 0.06), Material.METAL, 0)
    joint = form.between(3, 0.095, 0.115)
    for side in SIDES:
        shoulder, elbow, wrist = (form.joint(f"{side}_{name}") for name in ("shoulder", "elbow", "wrist"))
        body.add(sphere(p, shoulder, joint), Material.METAL, 0)
        body.add(capsule(p, shoulder, elbow, 0.07), Material.LIMB, 0.02)
        body.add(sphere(p, elbow, joint * 0.9), Material.METAL, 0)
        body.add(capsule(p, elbow, wrist, 0.07), Material.LIMB, 0.02)
        body.add(sphere(p, wrist, 0.12), Material.TIP, 0.02)
        hip, knee, ankle = (form.joint(f"{side}_{name}") for name in ("hip", "knee", "ankle"))
        body.add(capsule(p, hip, knee, 0.09), Material.LIMB, 0.02)
        body.add(capsule(p, knee, ankle, 0.09), Material.LIMB, 0.02)
        x, y, z = ankle
        body.add(box(p, (x, y - ANKLE_HEIGHT + 0.065, z + 0.05), (0.12, 0.065, 0.18), 0.04), Material.TIP, 0.02)
    head, scale = form.local(p, "head"), form["head_radius"]
    width, tall = form.between(1, 0.95, 1.12), form.between(2, 0.8, 0.9)
    body.add(box(head, (0, 0, 0), (width, tall, 0.85), 0.2) * scale, Material.MAIN, 0)
    for x in (-1, 1):
        body.add(cylinder(head, (x * (width + 0.04), 0, 0), 0.26, 0.12, 0.05, axis=0) * scale, Material.PART, 0)
    bare = 1 - form["hat"]
    # A hat takes the aerial's place.
    body.add(capsule(head, (0, 0.7, 0), (0, 0.75 + 0.42 * bare, 0), 0.06) * scale, Material.METAL, 0)
    body.add(sphere(head, (0, 0.6 + 0.68 * bare, 0), 0.17) * scale, Material.PART, 0)
