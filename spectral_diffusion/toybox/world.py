"""Companions for cut-mix: scenes of generic toys with a free place, into which a concept's cut-out is set."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox import captions, phrases
from spectral_diffusion.toybox.arrangement import POSITIONS, Extent, position_of
from spectral_diffusion.toybox.backgrounds import BACKGROUNDS
from spectral_diffusion.toybox.compose import SUPERSAMPLING, Cast, Light, compose
from spectral_diffusion.toybox.pretraining import (
    PLACES,
    ScenePlan,
    ToyLibrary,
    build_backgrounds,
    build_library,
    cut_backdrops,
    sample_plan,
)
from spectral_diffusion.toybox.sprites import FLOOR_FRACTION, Sprites
from spectral_diffusion.toybox.toy import KINDS

CONCEPT = "{concept}"
"""What stands for the concept in a companion's caption template."""

_HALF_WIDTH, _HEIGHT, _BELOW_FLOOR = 0.38, 0.84, 0.04
_SMALLEST_SPRITE_PX = 64
_BACKGROUNDS_PER_KIND = 2
_SOLID = 24


@dataclass(frozen=True)
class Companion:
    """A scene of one or two generic toys with a known free place; tensors are on the CPU.

    Args:
        image: uint8 (3, H, W), the scene with the place left free.
        masks: uint8 (n, H, W), visible share of each toy by 255, from left to right.
        caption: Of the scene as it is.
        caption_templates: Of the scene with the concept, which is named `CONCEPT` in its left-to-right place: one that
            says what the others look like, and one that names them by their kind alone, as prompts often do.
        slot: How many toys stand left of the free place.
        free_box: (left, top, right, bottom) of the free place in pixels; a toy stands at its bottom.
        backdrop: uint8 (3, H * SUPERSAMPLING, W * SUPERSAMPLING), without toys.
        cast: All places, the free one empty: batch of one, see `compose.Cast`.
        light: Batch of one, see `compose.Light`.
    """

    image: Tensor
    masks: Tensor
    caption: str
    caption_templates: tuple[str, ...]
    slot: int
    free_box: tuple[int, int, int, int]
    backdrop: Tensor
    cast: Cast
    light: Light


def companions(
    count: int,
    seed: int,
    *,
    width_px: int = 128,
    height_px: int = 128,
    wide_count: int = 0,
    device: torch.device | str = "cpu",
) -> list[Companion]:
    """Draw companions.

    Each has one or two toys, of kinds and looks that pretraining knows; the free place is left of, between or right of
    them, each as often.

    Args:
        count: How many.
        seed: Decides everything.
        width_px, height_px: The canvas.
        wide_count: How many more, after the others, on canvases half as wide again.
        device: Where sprites are drawn; the result is on the CPU.
    """
    total = count + wide_count
    if total < 1:
        return []
    generator = torch.Generator().manual_seed(seed)
    kinds = [KINDS[int(index)] for index in torch.randperm(len(KINDS), generator=generator)[: total + 2]]
    per_kind = 1 if total <= len(kinds) else 2
    library = build_library(
        per_kind, seed, device, kinds=kinds, sprite_px=max(_SMALLEST_SPRITE_PX, math.ceil(height_px / 32) * 32)
    )
    wide_px = width_px * 3 // 2
    backgrounds = build_backgrounds(
        min(_BACKGROUNDS_PER_KIND, math.ceil(total / len(BACKGROUNDS))),
        seed,
        device,
        height_px=height_px * SUPERSAMPLING,
        width_px=max(wide_px if wide_count else width_px, height_px * 5 // 4) * SUPERSAMPLING,
    )
    staged = _with_free_sprite(library)
    return [
        companion
        for number, width in ((count, width_px), (wide_count, wide_px))
        if number
        for companion in _scenes(staged, backgrounds, number, seed, width, height_px, generator)
    ]


def compose_with(companion: Companion, cutout_rgba: Tensor) -> tuple[Tensor, Tensor]:
    """Set a concept's cut-out into a companion's free place, standing on the ground, with a soft shadow, in the scene's
    light, and behind whatever stands nearer.

    Args:
        companion: The scene.
        cutout_rgba: uint8 (4, h, w), straight alpha; only what is not transparent counts. It keeps its proportions.

    Returns:
        The picture uint8 (3, H, W), and the concept's visible mask, uint8 (1, H, W).

    Raises:
        InputError: The cut-out is not of this form, or empty.
    """
    sprite = _standing(cutout_rgba.cpu(), companion.cast.rgba.shape[-1])
    rgba, shown = companion.cast.rgba.clone(), companion.cast.shown.clone()
    rgba[0, companion.slot], shown[0, companion.slot] = sprite, True
    cast = companion.cast._replace(rgba=rgba, shown=shown)
    picture = compose(companion.backdrop[None].float() / 255, cast, companion.light)
    mask = picture.masks[0, companion.slot : companion.slot + 1]
    return picture.images[0], mask


def _with_free_sprite(library: ToyLibrary) -> ToyLibrary:
    """The library with one more sprite: nothing, of the size that a concept may take."""
    blank = torch.zeros_like(library.sprites.rgba[:1])
    points = torch.zeros_like(library.sprites.keypoints[:1])
    reach = (_HALF_WIDTH, _HALF_WIDTH, _HEIGHT - _BELOW_FLOOR, _BELOW_FLOOR)
    extent = Extent(*(torch.cat([values, torch.tensor([r])]) for values, r in zip(library.extent, reach, strict=True)))
    sprites = Sprites(torch.cat([library.sprites.rgba, blank]), torch.cat([library.sprites.keypoints, points]))
    return replace(library, sprites=sprites, extent=extent)


def _scenes(
    staged: ToyLibrary,
    backgrounds: Tensor,
    count: int,
    seed: int,
    width_px: int,
    height_px: int,
    generator: torch.Generator,
) -> list[Companion]:
    position = torch.randint(len(POSITIONS), (count,), generator=generator)
    toys = torch.where(torch.rand(count, generator=generator) < 0.5, 1, 2).where(position != 1, 2)
    slots = torch.minimum(position, toys)
    free = len(staged.toys) * staged.views
    # Every toy once before any comes again.
    rounds = [torch.randperm(free, generator=generator) for _ in range(math.ceil(count * PLACES / free) + 1)]
    sprite = torch.cat(rounds)[: count * PLACES].view(count, PLACES)
    places = torch.arange(PLACES)
    sprite = torch.where(places == slots[:, None], free, sprite).masked_fill(places > toys[:, None], -1)
    plan = sample_plan(
        staged,
        backgrounds.shape[1],
        count,
        width_px=width_px,
        height_px=height_px,
        sprite=sprite,
        generator=generator,
    )
    rng = random.Random(f"{seed} {width_px}")
    return [
        _companion(staged, backgrounds, plan, row, int(slots[row]), width_px, height_px, rng) for row in range(count)
    ]


def _companion(
    staged: ToyLibrary,
    backgrounds: Tensor,
    plan: ScenePlan,
    row: int,
    slot: int,
    width_px: int,
    height_px: int,
    rng: random.Random,
) -> Companion:
    own = ScenePlan(*(value[row : row + 1] for value in plan))
    on_device = ScenePlan(*(value.to(backgrounds.device) for value in own))
    backdrop = cut_backdrops(backgrounds, on_device, width_px * SUPERSAMPLING, height_px * SUPERSAMPLING).cpu()
    backdrop = (backdrop * 255).round().to(torch.uint8)
    shown = own.sprite >= 0
    shown[0, slot] = False
    rgba = staged.sprites.rgba[own.sprite.clamp(min=0).to(staged.sprites.rgba.device)].cpu()
    cast = Cast(rgba, shown, own.x, own.y, own.size)
    light = Light(own.brightness, own.tint, own.lean, own.shadow)
    picture = compose(backdrop.float() / 255, cast, light)

    numbers = [int(number) for number in own.sprite[0] if number >= 0]
    named = [
        CONCEPT if place == slot else phrases.describe(staged.toys[number // staged.views], rng)
        for place, number in enumerate(numbers)
    ]
    kinds = [
        CONCEPT if place == slot else phrases.with_article(staged.toys[number // staged.views].kind)
        for place, number in enumerate(numbers)
    ]
    background = BACKGROUNDS[int(own.background)]
    beside = [phrase for phrase in named if phrase != CONCEPT]
    x, y, size = float(own.x[0, slot]), float(own.y[0, slot]), float(own.size[0, slot])
    left, right = (round(x * width_px + side * _HALF_WIDTH * size * height_px) for side in (-1, 1))
    bottom = round((y + _BELOW_FLOOR * size) * height_px)
    top = round((y + (_BELOW_FLOOR - _HEIGHT) * size) * height_px)
    first = 0 if slot else 1
    return Companion(
        image=picture.images[0],
        masks=picture.masks[0, shown[0]],
        caption=captions.sentence(beside, background, position_of(float(own.x[0, first])), rng),
        caption_templates=tuple(captions.sentence(toys, background, 1, rng) for toys in (named, kinds)),
        slot=slot,
        free_box=(max(left, 0), max(top, 0), min(right, width_px), min(bottom, height_px)),
        backdrop=backdrop[0],
        cast=cast,
        light=light,
    )


def _standing(cutout: Tensor, side: int) -> Tensor:
    """A cut-out as a sprite: as large as the free place allows, its lowest point where toys touch the ground."""
    if cutout.dim() != 3 or cutout.shape[0] != 4 or cutout.dtype != torch.uint8:
        raise InputError(
            f"a cut-out has shape {tuple(cutout.shape)} and type {cutout.dtype}", "give RGBA as uint8 (4, h, w)"
        )
    solid = cutout[3] >= _SOLID
    if not bool(solid.any()):
        raise InputError("a cut-out is transparent everywhere", "give one whose mask holds the concept")
    rows, columns = solid.any(1).nonzero()[:, 0], solid.any(0).nonzero()[:, 0]
    part = cutout[:, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1].float() / 255
    scale = min(2 * _HALF_WIDTH * side / part.shape[2], _HEIGHT * side / part.shape[1])
    height, width = (max(1, round(length * scale)) for length in part.shape[1:])
    # Colours are scaled with their weight, so that what is transparent does not bleed in.
    weighted = torch.cat([part[:3] * part[3:], part[3:]])[None]
    weighted = F.interpolate(weighted, (height, width), mode="bilinear", antialias=True, align_corners=False)[0]
    colour = weighted[:3] / weighted[3:].clamp(min=1e-3)
    bottom = round((FLOOR_FRACTION + _BELOW_FLOOR) * side)
    left = (side - width) // 2
    mean = (weighted[:3].sum((1, 2)) / weighted[3].sum()).view(3, 1, 1)
    sprite = torch.cat([mean.expand(3, side, side), torch.zeros(1, side, side)]).clone()
    sprite[:3, bottom - height : bottom, left : left + width] = torch.where(weighted[3:] > 0.05, colour, mean)
    sprite[3, bottom - height : bottom, left : left + width] = weighted[3]
    return (sprite.clamp(0, 1) * 255).round().to(torch.uint8)
