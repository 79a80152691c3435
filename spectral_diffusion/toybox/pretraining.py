"""The bulk path of pretraining: thousands of scenes a second from sprites and backgrounds that are drawn once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from spectral_diffusion.toybox import captions, phrases
from spectral_diffusion.toybox.arrangement import Extent, arrange, measure
from spectral_diffusion.toybox.backgrounds import BACKGROUNDS, ambient_light, paint_backgrounds
from spectral_diffusion.toybox.compose import SUPERSAMPLING, Cast, Light, compose
from spectral_diffusion.toybox.scene import keypoints_on_canvas
from spectral_diffusion.toybox.skeleton import sample_pose
from spectral_diffusion.toybox.sprites import Sprites, render_sprites, sample_yaw
from spectral_diffusion.toybox.toy import FIGURES, KINDS, PretrainingToy, Toy, sample_toy

PLACES = 3

_CHUNK = 128


@dataclass(frozen=True)
class ToyLibrary:
    """Toys and their pictures; sprite number s shows toy s // views.

    Args:
        toys: For pretraining only what it may show; judges may see any.
        sprites: (len(toys) * views) of them, on the device where scenes are composed.
        extent: Of each sprite, on the CPU.
        views: Sprites of one toy, each from another side.
    """

    toys: Sequence[PretrainingToy] | Sequence[Toy]
    sprites: Sprites
    extent: Extent
    views: int


class ScenePlan(NamedTuple):
    """Everything that decides B pictures, as CPU tensors; up to three toys from left to right.

    sprite: long (B, 3), -1 where there is no toy (always after the toys). x, y, size: float (B, 3), as in `Placement`.
    background, backdrop: long (B,), kind and which of its pictures. zoom: float (B,); shift: float (B, 2) in canvas
    halves; mirrored: bool (B,), how that picture is cut. brightness, lean, shadow: float (B,); tint: float (B, 3), see
    `compose.Light`. position: long (B,), index into `POSITIONS` of a single toy. keypoints: float (B, 3, 18, 3) in
    pixels.
    """

    sprite: Tensor
    x: Tensor
    y: Tensor
    size: Tensor
    background: Tensor
    backdrop: Tensor
    zoom: Tensor
    shift: Tensor
    mirrored: Tensor
    brightness: Tensor
    tint: Tensor
    lean: Tensor
    shadow: Tensor
    position: Tensor
    keypoints: Tensor


class SceneBatch(NamedTuple):
    """images: uint8 (B, 3, H, W); masks: uint8 (B, 3, H, W), one a toy; sketches: uint8 (B, 1, H, W); plan."""

    images: Tensor
    masks: Tensor
    sketches: Tensor
    plan: ScenePlan


def build_library(
    count_per_kind: int,
    seed: int,
    device: torch.device | str,
    *,
    views: int = 1,
    sprite_px: int = 160,
    kinds: Sequence[str] = KINDS,
) -> ToyLibrary:
    """Sample toys and draw their sprites.

    Args:
        count_per_kind: Toys of each kind.
        seed: Decides the toys, their turns and poses.
        device: Where sprites are drawn and kept: about 0.1 MB each at 160 px.
        views: Sprites a toy.
        sprite_px: Their side.
        kinds: Which kinds; all by default.
    """
    generator = torch.Generator().manual_seed(seed)
    toys = [sample_toy(kind, generator) for kind in kinds for _ in range(count_per_kind)]
    return draw_library(toys, generator, device, views=views, sprite_px=sprite_px)


def draw_library(
    toys: Sequence[PretrainingToy] | Sequence[Toy],
    generator: torch.Generator,
    device: torch.device | str,
    *,
    views: int = 1,
    sprite_px: int = 160,
) -> ToyLibrary:
    """Draw the sprites of toys.

    Args:
        toys: Which.
        generator: Decides their turns and poses.
        device, views, sprite_px: As for `build_library`.
    """
    shown = [toy.as_toy() if isinstance(toy, PretrainingToy) else toy for toy in toys for _ in range(views)]
    yaws = torch.tensor([sample_yaw(toy.kind, generator) for toy in shown])
    poses = [sample_pose(generator) if toy.kind in FIGURES else None for toy in shown]
    sprites = render_sprites(shown, yaws, poses, sprite_px=sprite_px, device=device)
    return ToyLibrary(toys, sprites, extent_of(sprites), views)


def extent_of(sprites: Sprites) -> Extent:
    """How far each sprite reaches."""
    parts = [measure(part) for part in sprites.rgba.split(256)]
    return Extent(*(torch.cat(values) for values in zip(*parts, strict=True)))


def build_backgrounds(
    count_per_kind: int,
    seed: int,
    device: torch.device | str,
    *,
    width_px: int = 384,
    height_px: int = 256,
) -> Tensor:
    """Paint backgrounds, wide enough that every canvas is cut from them.

    Returns:
        uint8 (len(BACKGROUNDS), count_per_kind, 3, height_px, width_px).
    """
    painted = []
    for number, background in enumerate(BACKGROUNDS):
        first = (seed * len(BACKGROUNDS) + number) * 1_000_003
        seeds = [first + index for index in range(count_per_kind)]
        painted.append(paint_backgrounds(background, seeds, width_px=width_px, height_px=height_px, device=device))
    return torch.stack(painted)


def sample_plan(
    library: ToyLibrary,
    backgrounds_per_kind: int,
    count: int,
    *,
    width_px: int,
    height_px: int,
    toys_per_scene: Sequence[float] = (0.4, 0.3, 0.3),
    sprite: Tensor | None = None,
    generator: torch.Generator,
) -> ScenePlan:
    """Draw scenes without rendering them.

    Args:
        library: The toys.
        backgrounds_per_kind: Pictures to choose from, of each background.
        count: B.
        width_px, height_px: The canvas.
        toys_per_scene: Weights of one, two and three toys.
        sprite: long (B, 3), which sprites stand in each scene, instead of drawn ones; -1 after the last.
        generator: CPU generator, the only source of chance.
    """
    if sprite is None:
        number = 1 + torch.multinomial(torch.tensor(tuple(toys_per_scene)), count, True, generator=generator)
        drawn = torch.randint(len(library.toys) * library.views, (count, PLACES), generator=generator)
        sprite = drawn.masked_fill(torch.arange(PLACES) >= number[:, None], -1)
    shown = sprite >= 0
    row = sprite.clamp(min=0)
    extent = Extent(*(values[row] for values in library.extent))
    places = arrange(extent, shown, width_px / height_px, generator)
    background = torch.randint(len(BACKGROUNDS), (count,), generator=generator)
    backdrop = torch.randint(backgrounds_per_kind, (count,), generator=generator)
    chance = torch.rand(count, 9, generator=generator)
    ambient = torch.tensor([ambient_light(name) for name in BACKGROUNDS])[background]
    points = library.sprites.keypoints.cpu()[row] * shown[:, :, None, None]
    return ScenePlan(
        sprite=sprite,
        x=places.x,
        y=places.y,
        size=places.size,
        background=background,
        backdrop=backdrop,
        zoom=1 + 0.12 * chance[:, 0],
        shift=torch.stack([2 * chance[:, 1] - 1, 0.06 * chance[:, 2] - 0.03], dim=1),
        mirrored=chance[:, 3] < 0.5,
        brightness=0.92 + 0.16 * chance[:, 4],
        tint=ambient * (0.97 + 0.06 * chance[:, 5:6]),
        lean=0.15 + 0.35 * chance[:, 6],
        shadow=0.75 + 0.25 * chance[:, 7],
        position=places.position,
        keypoints=keypoints_on_canvas(points, places.x, places.y, places.size, width_px=width_px, height_px=height_px),
    )


def render_plan(
    library: ToyLibrary, backgrounds: Tensor, plan: ScenePlan, *, width_px: int, height_px: int, chunk: int = _CHUNK
) -> SceneBatch:
    """Render planned scenes on the device of the library and the backgrounds.

    Args:
        library: The one the plan was drawn for.
        backgrounds: As from `build_backgrounds`.
        plan: B scenes.
        width_px, height_px: The canvas of the plan.
        chunk: Scenes composed at once; bounds the memory.
    """
    device = backgrounds.device
    count = len(plan.sprite)
    images = torch.empty(count, 3, height_px, width_px, dtype=torch.uint8, device=device)
    masks = torch.empty(count, PLACES, height_px, width_px, dtype=torch.uint8, device=device)
    sketches = torch.empty(count, 1, height_px, width_px, dtype=torch.uint8, device=device)
    for start in range(0, count, chunk):
        part = ScenePlan(*(value[start : start + chunk].to(device) for value in plan))
        backdrop = cut_backdrops(backgrounds, part, width_px * SUPERSAMPLING, height_px * SUPERSAMPLING)
        rgba = library.sprites.rgba[part.sprite.clamp(min=0)]
        cast = Cast(rgba, part.sprite >= 0, part.x, part.y, part.size)
        light = Light(part.brightness, part.tint, part.lean, part.shadow)
        rows = slice(start, start + chunk)
        images[rows], masks[rows], sketches[rows] = compose(backdrop, cast, light)
    return SceneBatch(images, masks, sketches, plan)


def sample_batch(
    library: ToyLibrary,
    backgrounds: Tensor,
    count: int,
    *,
    width_px: int,
    height_px: int,
    toys_per_scene: Sequence[float] = (0.4, 0.3, 0.3),
    generator: torch.Generator,
) -> SceneBatch:
    """Draw and render scenes: `sample_plan`, then `render_plan`."""
    plan = sample_plan(
        library,
        backgrounds.shape[1],
        count,
        width_px=width_px,
        height_px=height_px,
        toys_per_scene=toys_per_scene,
        generator=generator,
    )
    return render_plan(library, backgrounds, plan, width_px=width_px, height_px=height_px)


def captions_of(library: ToyLibrary, plan: ScenePlan, rng: random.Random) -> list[str]:
    """A caption for each planned scene, newly worded at each call."""
    written = []
    rows = zip(plan.sprite.tolist(), plan.background.tolist(), plan.position.tolist(), strict=True)
    for sprites, background, position in rows:
        named = [phrases.describe(library.toys[sprite // library.views], rng) for sprite in sprites if sprite >= 0]
        written.append(captions.sentence(named, BACKGROUNDS[background], position, rng))
    return written


def cut_backdrops(backgrounds: Tensor, plan: ScenePlan, width_px: int, height_px: int) -> Tensor:
    """The backdrops of a plan, cut from the painted backgrounds at the canvas' aspect: float (B, 3, H, W) in [0, 1]."""
    painted = backgrounds[plan.background, plan.backdrop].float() / 255
    wide = painted.shape[3] / painted.shape[2]
    share = min(1.0, (width_px / height_px) / wide) / plan.zoom
    matrix = torch.zeros(len(share), 2, 3, device=share.device)
    matrix[:, 0, 0] = share * (1 - 2 * plan.mirrored.float())
    matrix[:, 1, 1] = 1 / plan.zoom * min(1.0, wide / (width_px / height_px))
    matrix[:, 0, 2] = plan.shift[:, 0] * (1 - share)
    matrix[:, 1, 2] = plan.shift[:, 1]
    grid = F.affine_grid(matrix, [len(share), 3, height_px, width_px], align_corners=False)
    return F.grid_sample(painted, grid, padding_mode="reflection", align_corners=False)
