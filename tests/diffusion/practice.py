"""A recipe that trains in a moment on the base in miniature, and concepts to train by it."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from spectral_diffusion.config import Config, load_config
from spectral_diffusion.diffusion.dataset import Concept, Photograph

_QUICK: dict[str, Any] = {
    "training.rank": 2,
    "training.steps": 4,
    "training.warmup_steps": 1,
    "training.resolution_px": 64,
    "training.masks": "none",
    "training.cutmix_probability": 0.0,
    "training.cutmix_wide_probability": 0.0,
    "training.checkpoint_every": 0,
    "training.vectors_per_token": 2,
}


def quick_config(**changes: Any) -> Config:
    """The recipe, with some values of its training changed."""
    return load_config().override({**_QUICK, **{f"training.{key}": value for key, value in changes.items()}})


def make_concept(
    name: str = "octo",
    *,
    token: str | None = None,
    class_word: str = "octopus",
    colour: str = "purple",
    caption: str | None = None,
    mask_left: int = 20,
) -> Concept:
    """Three photographs of a disc before three grounds, with masks."""
    photographs = []
    for number, ground in enumerate(("skyblue", "tan", "white")):
        image = Image.new("RGB", (80, 64), ground)
        ImageDraw.Draw(image).ellipse((20 + 5 * number, 15, 55 + 5 * number, 60), fill=colour)
        mask = torch.zeros(64, 80)
        mask[15:60, mask_left + 5 * number : 55 + 5 * number] = 1
        photographs.append(Photograph(Path(f"{number}.png"), image, caption, mask))
    return Concept(name, token or f"<{name}>", class_word, tuple(photographs))
