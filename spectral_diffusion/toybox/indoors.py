"""Painters of the indoor backgrounds that `backgrounds` lists. Each returns RGB (n, 3, H, W), about in [0, 1]."""

import torch
from torch import Tensor

from spectral_diffusion.toybox.brush import Brush, mix


def _wall_light(brush: Brush) -> Tensor:
    """Soft light that falls on a wall from a random side."""
    centre = brush.uniform(0.15, 0.85) * brush.aspect
    return 1.05 - 0.22 * ((brush.x - centre) ** 2 + (brush.y - 0.15) ** 2)


def wooden_floor(brush: Brush) -> Tensor:
    """Floorboards before a wall, half of the time with a window."""
    horizon = brush.uniform(0.44, 0.52)
    wall = brush.colour((0.80, 0.84, 0.80), (0.93, 0.86, 0.74)) * _wall_light(brush)
    wall = wall * (1 - 0.05 * brush.chance(0.5) * torch.sigmoid(torch.sin(brush.x * 44) * 8))
    frame_x, half = brush.uniform(0.18, 0.82) * brush.aspect, brush.uniform(0.10, 0.14)
    window = brush.chance(0.5)
    pane = torch.minimum(half - (brush.x - frame_x).abs(), 0.13 - (brush.y - 0.19).abs())
    view = mix(brush.colour((0.50, 0.76, 0.96)), brush.colour((0.86, 0.95, 1.0)), (brush.y * 3).clamp(0, 1))
    view = mix(view, brush.colour((0.40, 0.66, 0.32)), brush.inside(brush.y - 0.27 - 0.02 * brush.profile(6, 2)))
    bars = torch.maximum(0.006 - (brush.x - frame_x).abs(), 0.006 - (brush.y - 0.19).abs())
    wall = mix(wall, 0.97, brush.inside(pane + 0.018) * window)
    wall = mix(wall, mix(view, 0.97, brush.inside(bars)), brush.inside(pane) * window)
    image = mix(wall, 0.96 * torch.ones_like(wall), brush.inside(0.020 - (brush.y - horizon + 0.018).abs()))
    wood = brush.colour((0.50, 0.30, 0.15), (0.80, 0.56, 0.33))
    deep = brush.y - horizon + 0.32
    across = (brush.x - brush.aspect / 2) / deep * brush.uniform(2.4, 3.4) + 12
    tone = brush.cells(across, brush.table(1, 26), 0.03)
    seam = 0.5 - (across - torch.floor(across) - 0.5).abs()
    rings = brush.noise(44, 5, 2)
    planks = wood * (0.88 + 0.24 * tone + 0.16 * rings) * (0.82 + 0.26 * brush.y)
    planks = planks * (1 - 0.45 * torch.sigmoid((0.022 - seam) * 160))
    sheen = torch.exp(-(((brush.x - frame_x) / 0.28) ** 2)) * torch.exp(-(((brush.y - horizon - 0.12) / 0.12) ** 2))
    image = mix(image, planks + 0.12 * sheen, brush.inside(brush.y - horizon))
    return mix(image, image * 0.6, brush.inside(0.005 - (brush.y - horizon).abs()) * 0.8)


def tiled_room(brush: Brush) -> Tensor:
    """A chequered floor before a wall of pale tiles."""
    horizon = brush.uniform(0.45, 0.53)
    pale = brush.colour((0.62, 0.84, 0.86), (0.97, 0.80, 0.84))
    wall = pale * _wall_light(brush)
    size = brush.uniform(6.5, 9.0)
    along, down = brush.x * size, (brush.y - horizon) * size
    edge = torch.minimum(0.5 - (along - torch.floor(along) - 0.5).abs(), 0.5 - (down - torch.floor(down) - 0.5).abs())
    wall = wall * (1 + 0.05 * torch.sigmoid((edge - 0.12) * 60))
    image = mix(wall, 0.98, torch.sigmoid((0.030 - edge) * 220) * 0.85)
    image = mix(image, brush.colour((0.98, 0.98, 0.97)), brush.inside(0.020 - (brush.y - horizon + 0.018).abs()))
    deep = brush.y - horizon + 0.26
    scale = brush.uniform(0.55, 0.85)
    across, away = (brush.x - brush.aspect / 2) / deep / scale, 1 / deep / scale * 0.9
    # The product of two soft square waves is a chessboard without a jump.
    blur = 0.005 / deep / scale
    square = _soft_square(across, blur) * _soft_square(away, blur * 1.5)
    dark = brush.colour((0.30, 0.42, 0.52), (0.62, 0.40, 0.42))
    light = brush.colour((0.90, 0.89, 0.86))
    floor = mix(dark, light, square * 0.5 + 0.5) * (0.78 + 0.28 * brush.y) * (1 + 0.05 * brush.noise(8, 20, 3))
    image = mix(image, floor, brush.inside(brush.y - horizon))
    return mix(image, image * 0.62, brush.inside(0.005 - (brush.y - horizon).abs()) * 0.8)


def _soft_square(position: Tensor, blur: Tensor) -> Tensor:
    """A square wave of period 2 between -1 and 1, with edges about ``blur`` wide."""
    return torch.tanh(torch.sin(position * torch.pi) / (blur * torch.pi))


def white_background(brush: Brush) -> Tensor:
    """A white sweep as in a studio."""
    tint = 0.965 + 0.02 * brush.table(3, 1, 1)
    centre = brush.uniform(0.3, 0.7) * brush.aspect
    vignette = ((brush.x - centre) ** 2) / brush.aspect * brush.uniform(0.04, 0.16) + (brush.y - 0.55) ** 2 * 0.10
    sweep = torch.sigmoid((brush.y - brush.uniform(0.5, 0.62)) * 9)
    return tint - vignette - brush.uniform(0.0, 0.05) * sweep + 0 * brush.x
