"""What is painted on: faces and marks, flat shapes laid onto a frame of the body."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from spectral_diffusion.toybox.bodies import BODIES
from spectral_diffusion.toybox.form import Form
from spectral_diffusion.toybox.primitives import Material, Vector
from spectral_diffusion.toybox.surface import RGB, brightness, mix, skin_of, softly
from spectral_diffusion.toybox.toy import COLOURS, FACED_KINDS, Toy

_WHITE: RGB = (0.99, 0.99, 0.99)
_INK: RGB = (0.07, 0.05, 0.07)
_THROAT: RGB = (0.46, 0.05, 0.09)
_TONGUE: RGB = (0.95, 0.42, 0.45)
_TEAR: RGB = (0.45, 0.78, 0.99)

_MUZZLED = ("dog", "cat", "bear", "rabbit")
_EYE_X, _EYE_Y = 0.4, 0.0
_MOUTH_DEPTH = {**dict.fromkeys(_MUZZLED, 0.6), "octopus": 0.5, "robot": 0.47}
_FACE_MATERIALS = (Material.MAIN, Material.LIMB, Material.SKIN, Material.PALE)


def heart(u: Tensor, v: Tensor) -> Tensor:
    """Signed distance, about, to a heart of radius 1."""
    x, y = u.abs() / 1.5, (v + 0.95) / 1.5
    lobes = ((x - 0.25) ** 2 + (y - 0.75) ** 2 + 1e-9).sqrt() - math.sqrt(2) / 4
    nearest = torch.minimum(
        x * x + (y - 1) ** 2, (x - 0.5 * (x + y).clamp(min=0)) ** 2 + (y - 0.5 * (x + y).clamp(min=0)) ** 2
    )
    body = (nearest + 1e-9).sqrt() * (x - y).sign()
    return torch.where(x + y > 1, lobes, body) * 1.5


def star(u: Tensor, v: Tensor) -> Tensor:
    """Signed distance, about, to a five-pointed star of radius 1."""
    radius, angle = (u * u + v * v + 1e-9).sqrt(), torch.atan2(u, v)
    sector = 2 * math.pi / 5
    angle = (torch.remainder(angle + sector / 2, sector) - sector / 2).abs()
    x, y = radius * angle.sin(), radius * angle.cos()
    # The edge runs from the tip (0, 1) to the inner corner.
    inner = 0.46
    corner_x, corner_y = inner * math.sin(sector / 2), inner * math.cos(sector / 2)
    edge_x, edge_y = corner_x, corner_y - 1
    return (x * -edge_y + (y - 1) * edge_x) / math.hypot(edge_x, edge_y)


def _disc(u: Tensor, v: Tensor, radius: float = 1.0) -> Tensor:
    return (u * u + v * v + 1e-9).sqrt() - radius


def _dots(u: Tensor, v: Tensor) -> Tensor:
    distance = _disc(u, v - 0.56, 0.42)
    for side in (-1, 1):
        distance = torch.minimum(distance, _disc(u - side * 0.56, v + 0.4, 0.42))
    return distance


def mark_distance(name: str, u: Tensor, v: Tensor) -> Tensor:
    """Signed distance to a mark of radius 1, negative inside."""
    if name == "heart":
        return heart(u, v)
    if name == "star":
        return star(u, v)
    if name == "diamond":
        return (u.abs() * 1.35 + v.abs() - 1) * 0.6
    if name == "moon":
        return torch.maximum(_disc(u, v), -_disc(u - 0.5, v - 0.2, 0.82))
    if name == "dots":
        return _dots(u, v)
    return _disc(u, v, 0.85)


class Painter:
    """Lays colours over the albedo of rays.

    Args:
        albedo: (R, 3), changed in place.
        pixel_size: World length of a pixel.
    """

    def __init__(self, albedo: Tensor, pixel_size: float) -> None:
        self.albedo = albedo
        self.pixel_size = pixel_size

    def over(self, weight: Tensor, colour: RGB | Tensor) -> None:
        """Covers the albedo by `weight` (R,) with a colour, (3,) or (R, 3)."""
        if not isinstance(colour, Tensor):
            colour = self.albedo.new_tensor(colour)
        self.albedo += (colour - self.albedo) * weight[:, None]


def face_plate(p: Vector, form: Form) -> Tensor:
    """How much a point belongs to the middle of a face, (R,) in [0, 1]; no pattern goes there, and faces stay clear.

    Args:
        p: Points in the toys' frames.
        form: The toys' numbers, per ray.
    """
    x, y, z = form.local(p, "head")
    oval = ((x / 0.8) ** 2 + ((y + 0.22) / 0.66) ** 2 + 1e-9).sqrt()
    return ((1 - oval) * 14 + 0.5).clamp(0, 1) * (z > 0.1) * (x * x + y * y + z * z < 1.55**2)


def _ink_of(toy: Toy, muzzle: bool) -> RGB:
    """Dark ink on bright faces, pale ink on dark ones."""
    face = COLOURS[toy.colour]
    if toy.kind == "doll":
        face = skin_of(toy)
    if toy.kind == "tortoise":
        face = COLOURS[toy.limb_colour] if toy.limb_colour else mix(face, (0.66, 0.76, 0.36), 0.8)
    return _INK if muzzle or brightness(face) > 0.25 else (0.97, 0.94, 0.88)


def paint_faces(
    painter: Painter, toys: Sequence[Toy], toy_of_ray: Tensor, weights: Tensor, p: Vector, form: Form
) -> None:
    """Paints eyes, brows, mouths and tears, and marks on heads beneath them.

    Args:
        painter: Of these rays.
        toys: A chunk, all of one kind.
        toy_of_ray: (R,) index into `toys`.
        weights: (R, materials).
        p: Points in the toys' frames.
        form: The toys' numbers, per ray.
    """
    kind = toys[0].kind
    if kind not in FACED_KINDS:
        return
    x, y, z = form.local(p, "head")
    scale, px = form["head_radius"], painter.pixel_size
    near = (x * x + y * y + z * z < 1.55**2) & (z > 0.15)
    canvas = weights[:, list(_FACE_MATERIALS)].sum(1) * near
    _paint_marks(painter, toys, toy_of_ray, ("cheeks", "left eye", "right eye"), canvas, (x, y, z), scale)

    device = x.device
    flag = {
        name: torch.tensor([float(toy.face == name) for toy in toys], device=device)[toy_of_ray]
        for name in ("happy", "sad", "surprised")
    }
    sad, surprised = flag["sad"], flag["surprised"]
    brow_ink = torch.tensor([_ink_of(toy, False) for toy in toys], device=device)[toy_of_ray]
    side = x.abs()
    ink_shape = (((side - _EYE_X) / 0.86) ** 2 + (y - _EYE_Y) ** 2 + 1e-9).sqrt()
    white = 0.32 + 0.06 * surprised
    painter.over(canvas * softly(ink_shape - white - 0.045, scale, px), _INK)
    painter.over(canvas * softly(ink_shape - white, scale, px), _WHITE)
    look = _EYE_Y - 0.02 - 0.07 * sad
    pupil = ((side - _EYE_X + 0.03) ** 2 + (y - look) ** 2 + 1e-9).sqrt()
    painter.over(canvas * softly(pupil - 0.21 + 0.07 * surprised, scale, px), _INK)
    glint = ((x - _EYE_X * x.sign() + 0.06) ** 2 + (y - look - 0.08) ** 2 + 1e-9).sqrt()
    painter.over(canvas * softly(glint - 0.07, scale, px), _WHITE)

    # Sad brows fall outwards; surprised ones are raised arcs.
    slope = 0.55
    brow = torch.maximum((y - 0.52 + (side - 0.34) * slope).abs() - 0.08, (side - 0.38).abs() - 0.27)
    painter.over(canvas * sad * softly(brow, scale, px), brow_ink)
    raised = torch.maximum(
        (((side - _EYE_X) ** 2 + y * y + 1e-9).sqrt() - 0.56).abs() - 0.06, (side - _EYE_X).abs() - 0.25
    ).maximum(0.2 - y)
    painter.over(canvas * surprised * softly(raised, scale, px), brow_ink)
    # A forehead mark lies over the brows: it is what a caption may name.
    _paint_marks(painter, toys, toy_of_ray, ("forehead",), canvas, (x, y, z), scale)
    drop = ((side - 0.52) ** 2 + ((y + 0.5) * (0.75 + 0.6 * (y + 0.5).clamp(min=0))) ** 2 + 1e-9).sqrt() - 0.14
    painter.over(canvas * sad * softly(drop - 0.035, scale, px), _WHITE)
    painter.over(canvas * sad * softly(drop, scale, px), _TEAR)
    if kind == "duck":
        return
    ink = torch.tensor([_ink_of(toy, kind in _MUZZLED) for toy in toys], device=device)[toy_of_ray]
    _paint_mouths(painter, canvas, (x, y + _MOUTH_DEPTH.get(kind, 0.55)), flag, ink, scale)


def _paint_mouths(
    painter: Painter, canvas: Tensor, place: tuple[Tensor, Tensor], flag: dict[str, Tensor], ink: Tensor, scale: Tensor
) -> None:
    x, y = place
    px = painter.pixel_size
    smile = torch.maximum(_disc(x, (y - 0.12) * 0.9, 0.39), y - 0.12)
    painter.over(canvas * flag["happy"] * softly(smile - 0.05, scale, px), ink)
    painter.over(canvas * flag["happy"] * softly(smile, scale, px), _THROAT)
    tongue = torch.maximum(_disc(x, y + 0.24, 0.21), smile)
    painter.over(canvas * flag["happy"] * softly(tongue, scale, px), _TONGUE)
    # A frown is the upper arc of a ring.
    frown = torch.maximum(_disc(x, y + 0.25, 0.32).abs() - 0.07, -(y + 0.13))
    painter.over(canvas * flag["sad"] * softly(frown, scale, px), ink)
    gasp = _disc(x, y * 0.85, 0.21)
    painter.over(canvas * flag["surprised"] * softly(gasp - 0.05, scale, px), ink)
    painter.over(canvas * flag["surprised"] * softly(gasp, scale, px), _THROAT)


def paint_body_marks(
    painter: Painter, toys: Sequence[Toy], toy_of_ray: Tensor, weights: Tensor, p: Vector, form: Form
) -> None:
    """Paints the marks on bellies, sides and fronts; arguments as of `paint_faces`."""
    if not any(mark.place in ("belly", "side", "front") for toy in toys for mark in toy.marks):
        return
    x, y, z = form.local(p, "mark")
    if BODIES[toys[0].kind].both_sides:
        x, z = z, x.abs()
    canvas = weights[:, Material.MAIN]
    _paint_marks(painter, toys, toy_of_ray, ("belly", "side", "front"), canvas, (x, y, z), form["mark_radius"])


_MIDDLE_AND_RADIUS = {
    "forehead": (0.0, 0.66, 0.31),
    "left eye": (_EYE_X, 0.02, 0.58),
    "right eye": (-_EYE_X, 0.02, 0.58),
    "belly": (0.0, 0.0, 0.56),
    "side": (0.0, 0.0, 0.52),
    "front": (0.0, 0.0, 0.5),
}


def _paint_marks(
    painter: Painter,
    toys: Sequence[Toy],
    toy_of_ray: Tensor,
    places: tuple[str, ...],
    canvas: Tensor,
    local: Vector,
    scale: Tensor,
) -> None:
    """Paints every mark in these places, each on its own toys' rays only."""
    x, y, z = local
    present = sorted({(mark.name, mark.place) for toy in toys for mark in toy.marks if mark.place in places})
    for name, place in present:
        colours = [
            next((COLOURS[mark.colour] for mark in toy.marks if (mark.name, mark.place) == (name, place)), None)
            for toy in toys
        ]
        has = torch.tensor([colour is not None for colour in colours], device=x.device)
        table = torch.tensor([colour or (0.0, 0.0, 0.0) for colour in colours], device=x.device)
        if name == "sash":
            distance = torch.maximum((y - x * 0.85).abs() * 0.76 - 0.24, y - 1.05)
            unit, facing = 1.0, True
        elif name == "cheeks":
            distance, unit, facing = _disc(x.abs() - 0.72, y + 0.38, 0.23), 1.0, z > 0.15
        else:
            middle_x, middle_y, unit = _MIDDLE_AND_RADIUS[place]
            distance, facing = mark_distance(name, (x - middle_x) / unit, (y - middle_y) / unit), z > 0.1
        weight = softly(distance, scale * unit, painter.pixel_size) * canvas * has[toy_of_ray] * facing
        painter.over(weight, table[toy_of_ray])
