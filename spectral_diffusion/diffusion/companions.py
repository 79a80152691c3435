"""Companions for cut-mix on bases without a renderer: the base draws everyday things, and a concept goes beside them.

Where the toybox knows its scenes, here nothing but the prompt is known. So the concept's place is the emptier half of
the picture, its caption names both from left to right, and no shadow is painted, as nobody knows the light.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from torch import Tensor

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.compose import SUPERSAMPLING, Cast, Light
from spectral_diffusion.toybox.phrases import with_article
from spectral_diffusion.toybox.world import CONCEPT, Companion

THINGS = ("dog", "cat", "chair", "vase", "teddy bear", "bicycle", "lamp", "suitcase", "potted plant", "toy car")
PLACES = (
    "in a garden",
    "on a beach",
    "in a living room",
    "on a street",
    "in the snow",
    "on a wooden floor",
    "by a lake",
)
_STEPS = 25
_GUIDANCE_SCALE = 6.0
# The place of a concept, as fractions of the canvas: it stands near the bottom and fills most of its half.
_SIZE, _FLOOR, _TOP, _BOTTOM = 0.62, 0.88, 0.37, 0.92


def draw_companions(
    pipeline: StableDiffusionPipeline,
    count: int,
    seed: int,
    *,
    width_px: int,
    height_px: int,
    on_picture: Callable[[], object] = lambda: None,
) -> list[Companion]:
    """Draw companions with a base.

    Args:
        pipeline: The plain base.
        count: How many.
        seed: The same seed gives the same pictures.
        width_px, height_px: The canvas.
        on_picture: Called before each picture. What it raises ends the work.

    Raises:
        InputError: The base drew values that are not finite.
    """
    sampler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config, algorithm_type="dpmsolver++")
    pipeline.scheduler = sampler
    companions = []
    for index in range(count):
        on_picture()
        companions.append(_companion(pipeline, seed, index, width_px, height_px))
    return companions


def _companion(pipeline: StableDiffusionPipeline, seed: int, index: int, width_px: int, height_px: int) -> Companion:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + index) % 2**63)
    # All things come before one comes again; the seed decides where the round begins.
    thing, place = THINGS[(seed + index) % len(THINGS)], PLACES[(seed + 3 * index) % len(PLACES)]
    named = with_article(thing)
    output: Any = pipeline(
        f"a photo of {named} {place}",
        width=width_px,
        height=height_px,
        num_inference_steps=_STEPS,
        guidance_scale=_GUIDANCE_SCALE,
        generator=generator,
        output_type="pt",
    )
    pixels: Tensor = output.images[0].float().cpu()
    if not bool(torch.isfinite(pixels).all()):
        raise InputError("the base drew a picture with values that are not finite", "load the base in float32")
    image = (pixels * 255).round().to(torch.uint8)
    slot = 0 if _detail(pixels[..., : width_px // 2]) < _detail(pixels[..., width_px // 2 :]) else 1
    first, second = (CONCEPT, named) if slot == 0 else (named, CONCEPT)
    left = (slot * width_px) // 2
    places = slot + 1
    return Companion(
        image=image,
        masks=torch.zeros(0, height_px, width_px, dtype=torch.uint8),
        caption=f"a photo of {named} {place}",
        caption_templates=(f"a photo of {first} and {second} {place}",),
        slot=slot,
        free_box=(left, round(_TOP * height_px), left + width_px // 2, round(_BOTTOM * height_px)),
        backdrop=image.repeat_interleave(SUPERSAMPLING, 1).repeat_interleave(SUPERSAMPLING, 2),
        cast=Cast(
            rgba=torch.zeros(1, places, 4, height_px, height_px, dtype=torch.uint8),
            shown=torch.zeros(1, places, dtype=torch.bool),
            x=torch.full((1, places), 0.25 + 0.5 * slot),
            y=torch.full((1, places), _FLOOR),
            size=torch.full((1, places), _SIZE),
        ),
        light=Light(torch.ones(1), torch.ones(1, 3), torch.zeros(1), torch.zeros(1)),
    )


def _detail(pixels: Tensor) -> float:
    """Mean step between neighbouring pixels below the upper third, where things stand."""
    lower = pixels[:, pixels.shape[1] // 3 :]
    return float(lower.diff(dim=1).abs().mean() + lower.diff(dim=2).abs().mean())
