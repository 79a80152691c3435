"""Painters of the open-air backgrounds that `backgrounds` lists. Each returns RGB (n, 3, H, W), about in [0, 1]."""

import torch
from torch import Tensor

from spectral_diffusion.toybox.brush import Brush, mix


def _sky(brush: Brush, horizon: Tensor, top: Tensor, bottom: Tensor, cloudiness: float = 1.0) -> Tensor:
    sky = mix(top, bottom, (brush.y / horizon).clamp(0, 1))
    puffs = brush.noise(3.2, 7) + 0.35 * brush.noise(12, 20, 2)
    cover = torch.sigmoid((puffs - brush.uniform(0.08, 0.38)) * 11)
    lit = brush.colour((1.0, 1.0, 1.0)) - 0.10 * torch.sigmoid((puffs - 0.55) * 6)
    fade = (1.15 - brush.y / horizon).clamp(0, 1)
    return mix(sky, lit, cover * 0.88 * cloudiness * fade)


def _grain(brush: Brush, fine: float, strength: float) -> Tensor:
    """Relative brightness of a ground seen at a slant: finer and flatter noise towards the back."""
    return 1 + strength * (brush.noise(fine, fine * 2, 2) + 0.6 * brush.noise(fine / 5, fine / 2, 2))


def _firs(brush: Brush, density: float, foot: Tensor, low: float, high: float) -> Tensor:
    """Coverage of a row of fir trees that stand on ``foot``."""
    cells = int(density * brush.aspect) + 3
    along = brush.x * density + brush.uniform()
    height = low + (high - low) * brush.cells(along, brush.table(1, cells), 0.02)
    offset = (along - torch.floor(along) - 0.5).abs() * 2
    ragged = 0.10 * torch.sin((foot - brush.y) * 260) * height
    return brush.inside(height * (1 - offset) - (foot - brush.y) + ragged * offset) * brush.inside(
        foot - brush.y + 0.02
    )


def beach(brush: Brush) -> Tensor:
    """Sand, foam and a turquoise sea, now and then with a sailing boat."""
    horizon = brush.uniform(0.38, 0.48)
    image = _sky(brush, horizon, brush.colour((0.22, 0.56, 0.92), (0.40, 0.72, 0.97)), brush.colour((0.80, 0.93, 0.99)))
    shore = horizon + brush.uniform(0.11, 0.17) + 0.030 * brush.profile(3, 2)
    depth = ((brush.y - horizon) / (shore - horizon)).clamp(0, 1)
    sea = mix(brush.colour((0.04, 0.38, 0.66), (0.08, 0.46, 0.72)), brush.colour((0.36, 0.82, 0.82)), depth)
    streaks = brush.noise(5, 70, 2)
    sea = sea + 0.12 * streaks + 0.35 * torch.sigmoid((streaks - 0.34) * 30)
    image = mix(image, sea, brush.inside(brush.y - horizon))
    sail_x, sail = brush.uniform(0.12, brush.aspect - 0.12), brush.uniform(0.055, 0.085) * brush.chance(0.45)
    up = horizon + 0.004 - brush.y
    cloth = torch.minimum(sail - up - (brush.x - sail_x).abs() * 2.6, up - 0.012)
    image = mix(image, brush.colour((0.99, 0.97, 0.94)), brush.inside(cloth))
    hull = torch.minimum(torch.minimum(0.016 - up, up), sail * 0.55 - (brush.x - sail_x).abs() - 0.2 * (0.016 - up))
    image = mix(image, brush.colour((0.80, 0.22, 0.18), (0.25, 0.25, 0.40)), brush.inside(hull))
    sand = brush.colour((0.91, 0.79, 0.56), (0.96, 0.87, 0.68)) * _grain(brush, 28, 0.08) * (0.90 + 0.13 * brush.y)
    damp = torch.sigmoid((shore + 0.045 + 0.01 * brush.profile(5, 2) - brush.y) * 90)
    image = mix(image, sand * (1 - 0.20 * damp), brush.inside(brush.y - shore))
    foam = 0.013 + 0.012 * brush.profile(14, 2)
    image = mix(image, 0.98, brush.inside(foam - (brush.y - shore).abs()) * 0.9)
    shells, tint = brush.dots(11, 0.16, (0.05, 0.11), 0.6)
    shell = mix(brush.colour((0.99, 0.95, 0.90)), brush.colour((0.93, 0.62, 0.52)), tint[:, :1])
    return mix(image, shell, shells * brush.inside(brush.y - shore - 0.09))


def lake(brush: Brush) -> Tensor:
    """A meadow at the water, firs and snow-capped mountains behind it."""
    horizon = brush.uniform(0.40, 0.47)
    image = _sky(brush, horizon, brush.colour((0.34, 0.60, 0.90), (0.46, 0.70, 0.94)), brush.colour((0.88, 0.93, 0.97)))
    ridge = horizon - 0.10 - 0.20 * (brush.profile(3.0) + 0.40).clamp(min=0)
    rock = brush.colour((0.42, 0.50, 0.66), (0.50, 0.52, 0.66)) * (1 + 0.35 * brush.noise(9, 6, 3))
    snow = torch.sigmoid((ridge + 0.055 + 0.05 * brush.noise(12, 6, 2) - brush.y) * 110)
    snow = snow * torch.sigmoid((horizon - 0.16 - ridge) * 90)
    image = mix(image, mix(rock, 0.96, snow * 0.9), brush.inside(brush.y - ridge))
    hills = horizon - 0.035 - 0.07 * (brush.profile(4, 2) + 0.4).clamp(min=0)
    image = mix(
        image, brush.colour((0.30, 0.50, 0.42)) * (1 + 0.2 * brush.noise(16, 16, 2)), brush.inside(brush.y - hills)
    )
    pines = _firs(brush, 24, horizon + 0.005, 0.03, 0.095)
    image = mix(image, brush.colour((0.10, 0.30, 0.22), (0.14, 0.36, 0.22)), pines)
    shore = horizon + brush.uniform(0.15, 0.20) + 0.035 * brush.profile(3, 2)
    depth = ((brush.y - horizon) / 0.20).clamp(0, 1)
    water = mix(brush.colour((0.16, 0.36, 0.46)), brush.colour((0.40, 0.66, 0.84)), depth.sqrt())
    streaks = brush.noise(4, 80, 2)
    water = water + 0.09 * streaks + 0.30 * torch.sigmoid((streaks - 0.36) * 30)
    image = mix(image, water, brush.inside(brush.y - horizon))
    grass = brush.colour((0.40, 0.60, 0.20), (0.50, 0.66, 0.26)) * _grain(brush, 30, 0.16) * (0.86 + 0.16 * brush.y)
    image = mix(image, grass, brush.inside(brush.y - shore))
    image = mix(image, grass * 0.62, brush.inside(0.010 + 0.010 * brush.profile(30, 1) - (brush.y - shore).abs()) * 0.8)
    blades = torch.sin(brush.x * brush.uniform(120, 170) + brush.profile(9, 2) * 9)
    reed = brush.inside(brush.y - shore + 0.02 + 0.07 * blades.clamp(min=0) * (0.4 + brush.profile(5, 2)).clamp(min=0))
    reed = reed * brush.inside(shore + 0.02 - brush.y)
    image = mix(image, brush.colour((0.26, 0.42, 0.14)), reed * 0.9)
    stones, tint = brush.dots(9, 0.14, (0.07, 0.15), 0.6)
    return mix(image, 0.50 + 0.22 * tint[:, :1], stones * brush.inside(brush.y - shore - 0.05))


def snow(brush: Brush) -> Tensor:
    """Snow-laden firs behind a white field, in falling flakes."""
    horizon = brush.uniform(0.40, 0.50)
    top = brush.colour((0.56, 0.69, 0.86), (0.70, 0.76, 0.88))
    image = mix(top, brush.colour((0.92, 0.94, 0.98)), (brush.y / horizon).clamp(0, 1))
    far = horizon - 0.07 - 0.14 * (brush.profile(2.5, 2) + 0.3).clamp(min=0)
    image = mix(image, brush.colour((0.80, 0.86, 0.94)), brush.inside(brush.y - far))
    image = mix(image, brush.colour((0.55, 0.68, 0.72)), _firs(brush, 17, horizon - 0.02, 0.05, 0.13))
    foot = horizon + 0.02
    trees = _firs(brush, 8, foot, 0.05, 0.27)
    needles = brush.colour((0.13, 0.34, 0.32), (0.18, 0.42, 0.34))
    laden = torch.sigmoid((brush.noise(22, 30, 2) - 0.05) * 12)
    image = mix(image, mix(needles, 0.97, laden * 0.75), trees)
    drift = horizon + 0.03 * brush.profile(2, 2)
    ground = brush.colour((0.95, 0.97, 1.0)) * (1 - 0.05 * torch.sigmoid(brush.noise(3, 9, 2) * 14))
    ground = ground + brush.colour((-0.10, -0.06, 0.0)) * brush.noise(4, 12, 3).clamp(min=0)
    image = mix(image, ground, brush.inside(brush.y - drift))
    flakes, _ = brush.dots(13, 0.40, (0.05, 0.12))
    near, _ = brush.dots(7, 0.30, (0.06, 0.10))
    return mix(image, 1.0, torch.maximum(flakes * 0.85, near * 0.95))


def garden(brush: Brush) -> Tensor:
    """A lawn with flowers before a picket fence and a hedge in bloom."""
    horizon = brush.uniform(0.44, 0.52)
    image = _sky(brush, horizon, brush.colour((0.42, 0.72, 0.97)), brush.colour((0.84, 0.95, 0.99)))
    hedge = horizon - brush.uniform(0.20, 0.27) - 0.05 * brush.profile(5, 2)
    leaves = brush.noise(24, 24, 2)
    bush = brush.colour((0.10, 0.38, 0.14), (0.18, 0.46, 0.16)) * (1 + 0.75 * leaves)
    image = mix(image, bush, brush.inside(brush.y - hedge + 0.02 * leaves))
    blossoms, tint = brush.dots(17, 0.42, (0.14, 0.26))
    petals = _petals(brush, tint)
    image = mix(image, petals, blossoms * brush.inside(brush.y - hedge - 0.02))
    fence_top = horizon - brush.uniform(0.10, 0.13)
    along = brush.x * 14 + brush.uniform()
    offset = (along - torch.floor(along) - 0.5).abs() / 14
    picket = torch.minimum(0.022 - offset, brush.y - fence_top - offset * 0.9)
    rails = torch.maximum(0.008 - (brush.y - fence_top - 0.035).abs(), 0.008 - (brush.y - horizon + 0.025).abs())
    fence = brush.inside(torch.maximum(picket, rails)) * brush.inside(horizon + 0.012 - brush.y) * brush.chance(0.65)
    image = mix(image, 0.97 - 0.10 * (offset * 14), fence)
    swath = torch.sin((brush.x - brush.aspect / 2) / (brush.y - horizon + 0.22) * brush.uniform(3.0, 4.5))
    lawn = brush.colour((0.34, 0.66, 0.20), (0.44, 0.72, 0.24)) * _grain(brush, 32, 0.14)
    lawn = lawn * (1 + 0.07 * torch.tanh(swath * 4)) * (0.84 + 0.16 * brush.y)
    image = mix(image, lawn, brush.inside(brush.y - horizon + 0.006 * brush.profile(40, 1)))
    flowers, tint = brush.dots(9, 0.30, (0.09, 0.14), 0.75)
    return mix(image, _petals(brush, tint), flowers * brush.inside(brush.y - horizon - 0.04))


def _petals(brush: Brush, tint: Tensor) -> Tensor:
    """Flower colours from a pixel's random numbers: white, yellow, pink and violet by turns."""
    palette = torch.tensor(
        [[0.98, 0.98, 0.97], [0.99, 0.82, 0.20], [0.97, 0.45, 0.65], [0.92, 0.22, 0.28], [0.68, 0.46, 0.90]],
        device=brush.device,
    )
    index = (tint[:, 0] * len(palette)).long().clamp(max=len(palette) - 1)
    return palette[index].permute(0, 3, 1, 2)


def city(brush: Brush) -> Tensor:
    """A street before two rows of towers with lit windows."""
    horizon = brush.uniform(0.44, 0.50)
    image = _sky(
        brush, horizon, brush.colour((0.46, 0.66, 0.90), (0.62, 0.74, 0.88)), brush.colour((0.93, 0.93, 0.93)), 0.7
    )
    for density, low, high, haze in ((11, 0.16, 0.36, 0.62), (6.5, 0.08, 0.34, 0.0)):
        cells = int(density * brush.aspect) + 3
        along = brush.x * density + brush.uniform()
        height = low + (high - low) * brush.cells(along, brush.table(1, cells), 0.02)
        wall = 0.34 + 0.48 * brush.cells(along, brush.table(3, cells), 0.02)
        wall = wall.mean(1, keepdim=True) * 0.45 + wall * 0.55
        inside = along - torch.floor(along)
        wall = wall * (1.06 - 0.16 * inside)
        panes_x, panes_y = inside * 4, (brush.y - horizon + height) * density * 5.0
        frame = torch.minimum(
            0.30 - (panes_x - torch.floor(panes_x) - 0.5).abs(), 0.28 - (panes_y - torch.floor(panes_y) - 0.5).abs()
        )
        glass = brush.inside(frame / (density * 4.5)) * torch.sigmoid((panes_y - 0.6) * 20)
        floor = torch.floor(panes_y).clamp(0, 31)
        lit = torch.sin(torch.floor(along * 4) * 12.9898 + floor * 4.1414 + brush.uniform(0, 40))
        pane = mix(brush.colour((0.34, 0.46, 0.62)), brush.colour((0.99, 0.92, 0.66)), torch.sigmoid((lit - 0.1) * 9))
        tower = mix(wall, pane, glass * 0.85)
        tower = mix(tower, brush.colour((0.80, 0.86, 0.92)), haze)
        image = mix(image, tower, brush.inside(height - (horizon - brush.y)))
    kerb = horizon + 0.085
    paving = brush.colour((0.74, 0.72, 0.69)) * (1 + 0.10 * brush.noise(20, 40, 2))
    seam = ((brush.x - brush.aspect / 2) / (brush.y - horizon + 0.12) * 2.2) % 1.0
    paving = paving * (1 - 0.16 * torch.sigmoid((0.04 - (seam - 0.5).abs()) * 120))
    image = mix(image, paving, brush.inside(brush.y - horizon))
    road = (
        brush.colour((0.40, 0.40, 0.43), (0.47, 0.47, 0.50))
        * (1 + 0.08 * brush.noise(36, 50, 2))
        * (0.9 + 0.12 * brush.y)
    )
    image = mix(image, road, brush.inside(brush.y - kerb))
    image = mix(image, 0.86, brush.inside(0.008 - (brush.y - kerb).abs()))
    line = kerb + brush.uniform(0.13, 0.20)
    dash = (0.30 - ((brush.x * 2.6 + brush.uniform()) % 1.0 - 0.5).abs()) / 2.6
    stripe = brush.inside(torch.minimum(0.013 - (brush.y - line).abs(), dash))
    return mix(image, brush.colour((0.95, 0.93, 0.86)), stripe * 0.9)


def night(brush: Brush) -> Tensor:
    """A dark meadow and hills under the moon and stars."""
    horizon = brush.uniform(0.42, 0.50)
    image = mix(
        brush.colour((0.02, 0.03, 0.16)),
        brush.colour((0.14, 0.18, 0.44), (0.26, 0.20, 0.46)),
        (brush.y / horizon).clamp(0, 1),
    )
    image = image + brush.colour((0.05, 0.04, 0.10)) * brush.noise(3, 5, 3).clamp(min=0)
    for density, chance, radius in ((16, 0.45, (0.05, 0.10)), (8, 0.22, (0.06, 0.09))):
        stars, tint = brush.dots(density, chance, radius)
        image = mix(image, 0.92 + 0.08 * tint[:, :1], stars * (0.5 + 0.5 * tint[:, 1:2]))
    moon_x, moon_y = brush.uniform(0.12, brush.aspect - 0.12), brush.uniform(0.10, 0.20)
    away = ((brush.x - moon_x) ** 2 + (brush.y - moon_y) ** 2 + 1e-9).sqrt()
    radius = brush.uniform(0.06, 0.085)
    image = image + brush.colour((0.22, 0.22, 0.26)) * torch.exp(-(away - radius).clamp(min=0) * 9)
    face = brush.colour((0.99, 0.96, 0.80)) - 0.14 * torch.sigmoid((brush.noise(18, 18, 2) - 0.12) * 14)
    image = mix(image, face, brush.inside(radius - away))
    far = horizon - 0.05 - 0.12 * (brush.profile(2.5, 2) + 0.3).clamp(min=0)
    image = mix(image, brush.colour((0.07, 0.10, 0.24)), brush.inside(brush.y - far))
    image = mix(image, brush.colour((0.03, 0.08, 0.13)), _firs(brush, 13, horizon + 0.01, 0.03, 0.12))
    near = horizon + 0.02 * brush.profile(2, 2)
    grass = brush.colour((0.07, 0.19, 0.22), (0.09, 0.23, 0.22)) * _grain(brush, 28, 0.22) * (0.75 + 0.45 * brush.y)
    return mix(image, grass, brush.inside(brush.y - near))


def desert(brush: Brush) -> Tensor:
    """Dunes, cactuses and red mesas under a low sun."""
    horizon = brush.uniform(0.40, 0.47)
    image = _sky(
        brush, horizon, brush.colour((0.97, 0.62, 0.32), (0.98, 0.74, 0.42)), brush.colour((1.0, 0.91, 0.70)), 0.45
    )
    sun_x, sun_y = brush.uniform(0.12, brush.aspect - 0.12), brush.uniform(0.10, 0.24)
    away = ((brush.x - sun_x) ** 2 + (brush.y - sun_y) ** 2 + 1e-9).sqrt()
    image = image + 0.25 * torch.exp(-away * 8)
    image = mix(image, brush.colour((1.0, 0.98, 0.86)), brush.inside(0.062 - away))
    mesa = horizon - 0.16 * torch.sigmoid((brush.profile(3, 2) - 0.02) * 26)
    strata = 1 + 0.10 * torch.sin(brush.y * 110 + 3 * brush.noise(4, 4, 2))
    image = mix(image, brush.colour((0.78, 0.42, 0.28), (0.84, 0.50, 0.36)) * strata, brush.inside(brush.y - mesa))
    for low, tall, across, tone in ((0.0, 0.12, 2, 0.86), (0.07, 0.09, 2.5, 1.0)):
        crest = horizon + low - tall * (brush.profile(across, 1) + 0.25)
        slope = torch.sigmoid((brush.noise(2.2, 3, 1) + 2.2 * (crest - brush.y) + 0.25) * 9)
        dune = brush.colour((0.90, 0.64, 0.34), (0.95, 0.72, 0.42)) * tone * (1 - 0.17 * slope)
        dune = dune * (1 + 0.05 * torch.sin((brush.y * 95 + 9 * brush.noise(2, 3, 2)) / (0.55 + brush.y)))
        image = mix(image, dune * (1 + 0.05 * brush.noise(44, 60, 1)), brush.inside(brush.y - crest))
    for _ in range(2):
        foot, x = horizon + brush.uniform(0.05, 0.10), brush.uniform(0.05, brush.aspect - 0.05)
        tall = brush.uniform(0.13, 0.22)
        cactus = _capsule(brush, x, foot, x, foot - tall, 0.020)
        side = mix(torch.full_like(x, -1.0), 1.0, brush.chance(0.5))
        for reach, low, high in ((side, 0.35, 0.75), (-side, 0.5, 0.9)):
            elbow = x + reach * 0.055
            cactus = torch.maximum(cactus, _capsule(brush, x, foot - tall * low, elbow, foot - tall * low, 0.013))
            cactus = torch.maximum(cactus, _capsule(brush, elbow, foot - tall * low, elbow, foot - tall * high, 0.013))
        ribs = 0.9 + 0.2 * torch.sin((brush.x - x) * 420)
        image = mix(
            image, brush.colour((0.22, 0.46, 0.24), (0.30, 0.52, 0.28)) * ribs, brush.inside(cactus) * brush.chance(0.7)
        )
    return image


def _capsule(brush: Brush, x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor, radius: float) -> Tensor:
    """Signed distance, positive inside, of a thick line."""
    across, down = x1 - x0, y1 - y0
    length = across * across + down * down + 1e-9
    along = (((brush.x - x0) * across + (brush.y - y0) * down) / length).clamp(0, 1)
    return radius - ((brush.x - x0 - along * across) ** 2 + (brush.y - y0 - along * down) ** 2 + 1e-9).sqrt()


def forest(brush: Brush) -> Tensor:
    """Mossy ground, trunks in three depths, light falling through leaves."""
    horizon = brush.uniform(0.46, 0.54)
    light = brush.colour((0.78, 0.90, 0.56), (0.90, 0.94, 0.66))
    glow_x = brush.uniform(0.25, 0.75) * brush.aspect
    away = (((brush.x - glow_x) / 0.6) ** 2 + ((brush.y - 0.25) / 0.45) ** 2 + 1e-9).sqrt()
    image = mix(light, brush.colour((0.22, 0.44, 0.24)), (away * 0.75).clamp(0, 1))
    image = image * (1 + 0.25 * brush.noise(14, 10, 3))
    for density, width, haze, foot in ((9, 0.16, 0.55, 0.0), (5.5, 0.17, 0.25, 0.02), (3, 0.17, 0.0, 0.06)):
        cells = int(density * brush.aspect) + 3
        along = brush.x * density + brush.uniform() + 0.06 * torch.sin(brush.y * 9 + brush.uniform(0, 6))
        own = brush.cells(along, brush.table(2, cells), 0.02)
        half = width * (0.6 + 0.6 * own[:, :1]) * (1 + 0.9 * torch.exp((brush.y - horizon - foot) * 22).clamp(max=1))
        offset = along - torch.floor(along) - 0.5
        trunk = brush.inside((half - offset.abs()) / density) * brush.inside(horizon + foot - brush.y)
        trunk = trunk * torch.sigmoid((own[:, 1:] - 0.25) * 40)
        bark = (
            brush.colour((0.32, 0.21, 0.13), (0.42, 0.29, 0.18))
            * (1 + 0.35 * brush.noise(40, 6, 2))
            * (1.05 - 0.9 * offset)
        )
        image = mix(image, mix(bark, light * 0.72, haze), trunk)
    crown = 0.11 + 0.12 * (brush.noise(5, 3, 3) + 0.3)
    foliage = brush.colour((0.10, 0.32, 0.12), (0.20, 0.42, 0.14)) * (1 + 0.9 * brush.noise(22, 22, 2))
    image = mix(image, foliage, brush.inside(crown - brush.y, 3))
    for _ in range(2):
        slant = brush.x - glow_x - brush.uniform(-0.25, 0.25) + brush.y * brush.uniform(0.25, 0.6)
        shaft = torch.exp(-((slant / brush.uniform(0.03, 0.07)) ** 2)) * (1 - brush.y).clamp(min=0)
        image = mix(image, brush.colour((1.0, 0.98, 0.80)), shaft * 0.30)
    floor = brush.colour((0.36, 0.30, 0.16), (0.42, 0.36, 0.20)) * _grain(brush, 22, 0.26)
    moss = torch.sigmoid((brush.noise(3, 7, 3) + 0.02) * 9)
    floor = mix(floor, brush.colour((0.28, 0.44, 0.15)) * _grain(brush, 28, 0.22), moss) * (0.72 + 0.40 * brush.y)
    image = mix(image, floor, brush.inside(brush.y - horizon - 0.02 * brush.profile(6, 2)))
    leaves, tint = brush.dots(13, 0.22, (0.09, 0.17), 0.5)
    fallen = mix(brush.colour((0.86, 0.52, 0.16)), brush.colour((0.66, 0.26, 0.12)), tint[:, :1])
    return mix(image, fallen, leaves * brush.inside(brush.y - horizon - 0.05) * 0.9)


def seabed(brush: Brush) -> Tensor:
    """Rippled sand with weed and coral, rays of light and bubbles above."""
    horizon = brush.uniform(0.50, 0.58)
    depth = (brush.y / horizon).clamp(0, 1)
    image = mix(brush.colour((0.30, 0.78, 0.88)), brush.colour((0.02, 0.30, 0.52), (0.04, 0.38, 0.58)), depth.sqrt())
    for _ in range(3):
        slant = brush.x - brush.uniform(0, 1) * brush.aspect - (brush.y - 0.2) * brush.uniform(-0.5, 0.5)
        ray = torch.exp(-((slant / brush.uniform(0.03, 0.09)) ** 2)) * (1 - depth)
        image = mix(image, brush.colour((0.80, 0.98, 0.96)), ray * 0.45)
    far = horizon - 0.04 - 0.16 * (brush.profile(4, 3) + 0.25).clamp(min=0)
    image = mix(
        image, brush.colour((0.04, 0.26, 0.44)) * (1 + 0.3 * brush.noise(14, 14, 2)), brush.inside(brush.y - far)
    )
    sand = brush.colour((0.52, 0.72, 0.66), (0.66, 0.76, 0.64)) * _grain(brush, 30, 0.12) * (0.70 + 0.36 * brush.y)
    net = brush.noise(6, 14, 2)
    sand = sand + 0.20 * torch.exp(-((net / 0.07) ** 2)) * (brush.y - 0.3)
    image = mix(image, sand, brush.inside(brush.y - horizon - 0.03 * brush.profile(3, 2)))
    for _ in range(6):
        foot, x = horizon + brush.uniform(0.01, 0.05), brush.uniform(0.0, 1.0) * brush.aspect
        tall = brush.uniform(0.14, 0.36)
        up = ((foot - brush.y) / tall).clamp(0, 1)
        sway = 0.025 * torch.sin(up * 7 + brush.uniform(0, 6))
        blade = torch.minimum(0.016 * (1 - up) ** 0.5 - (brush.x - x - sway).abs(), foot - brush.y)
        weed = brush.colour((0.10, 0.46, 0.30), (0.30, 0.58, 0.28))
        image = mix(image, weed * (0.75 + 0.4 * up), brush.inside(torch.minimum(blade, tall - (foot - brush.y))))
    corals, tint = brush.dots(9, 0.20, (0.12, 0.30), 0.8)
    reef = mix(brush.colour((0.98, 0.52, 0.50)), brush.colour((0.98, 0.72, 0.36)), tint[:, :1])
    band = brush.inside(brush.y - horizon + 0.01) * brush.inside(horizon + 0.10 - brush.y)
    image = mix(image, reef * 0.9, corals * band)
    bubbles, tint = brush.dots(8, 0.26, (0.08, 0.20))
    return mix(
        image,
        brush.colour((0.82, 0.97, 1.0)),
        bubbles * brush.inside(horizon - 0.06 - brush.y) * (0.35 + 0.3 * tint[:, :1]),
    )
