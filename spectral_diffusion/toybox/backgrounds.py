"""The twelve places where toys stand, painted from a seed for any canvas."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox import indoors, outdoors
from spectral_diffusion.toybox.brush import Brush

_PAINTERS: Mapping[str, Callable[[Brush], Tensor]] = MappingProxyType(
    {
        "on the beach": outdoors.beach,
        "near a lake": outdoors.lake,
        "in the snow": outdoors.snow,
        "in a garden": outdoors.garden,
        "in the city": outdoors.city,
        "at night": outdoors.night,
        "in the desert": outdoors.desert,
        "in a forest": outdoors.forest,
        "under the sea": outdoors.seabed,
        "on a wooden floor": indoors.wooden_floor,
        "in a tiled room": indoors.tiled_room,
        "on a white background": indoors.white_background,
    }
)

BACKGROUNDS: tuple[str, ...] = tuple(_PAINTERS)
"""Names of the backgrounds, as captions say them."""

_AMBIENT: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "at night": (0.80, 0.84, 0.96),
        "in the desert": (1.05, 0.99, 0.90),
        "in a forest": (0.95, 1.0, 0.90),
        "under the sea": (0.88, 0.99, 1.01),
        "in the snow": (0.97, 0.99, 1.03),
    }
)

_CHUNK = 64

_BLUR = 0.007
"""Standard deviation of the lens blur as a fraction of the picture's height: toys are sharp, the rest is soft."""


def ambient_light(background: str) -> tuple[float, float, float]:
    """The colour of the light that falls on toys there: factors for linear RGB, 1 in daylight."""
    return _AMBIENT.get(background, (1.0, 1.0, 1.0))


def paint_backgrounds(
    background: str,
    seeds: Sequence[int],
    *,
    width_px: int,
    height_px: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Paint one kind of background, once a seed.

    Args:
        background: One of `BACKGROUNDS`.
        seeds: One a picture; equal seeds give equal pictures on every device, up to rounding.
        width_px, height_px: Size of the pictures.
        device: Where they are painted.

    Returns:
        uint8 (n, 3, H, W).

    Raises:
        InputError: The background is unknown.
    """
    if background not in _PAINTERS:
        raise InputError(f"the background is {background!r}", f"choose one of: {', '.join(BACKGROUNDS)}")
    pictures = torch.empty(len(seeds), 3, height_px, width_px, dtype=torch.uint8, device=device)
    for start in range(0, len(seeds), _CHUNK):
        brush = Brush(seeds[start : start + _CHUNK], width_px, height_px, device)
        painted = _out_of_focus(_PAINTERS[background](brush)).clamp(0, 1)
        pictures[start : start + _CHUNK] = (painted * 255).round().to(torch.uint8)
    return pictures


def _out_of_focus(pictures: Tensor) -> Tensor:
    """A lens that is focused on the toys, (n, 3, H, W) -> the same shape.

    Fine texture behind the toys would also cost the autoencoder most of its bits: without this, grass and pebbles alone
    hold its fidelity below 32 dB.
    """
    sigma_px = _BLUR * pictures.shape[-2]
    reach = math.ceil(3 * sigma_px)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=pictures.device) / sigma_px) ** 2)
    weights = (weights / weights.sum()).expand(3, 1, 1, -1)
    padded = functional.pad(pictures, (reach,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, weights, groups=3), weights.transpose(2, 3), groups=3)
