"""Drawing: a prompt, a base and any number of concepts become pictures that remember how they were made.

The sampling itself is diffusers' `StableDiffusionPipeline` with its DPM-Solver++; this file puts the concepts in before
and takes them out after.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image
from torch import Tensor

from spectral_diffusion.diffusion.attach import attach, attach_layers, bake
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.prompts import encode_prompts, join_layers
from spectral_diffusion.diffusion.recorded_adapters import find_adapters
from spectral_diffusion.diffusion.settings import AdapterRecord, GenerationSettings, library_versions
from spectral_diffusion.errors import BaseMismatchError, InputError
from spectral_diffusion.fusion import FusedAdapter
from spectral_diffusion.images import read_png_text, save_png, to_image

# diffusers' pipeline takes only such sizes, whatever the VAE.
SIZE_STEP_PX = 8
# Far from the size a base was trained on it draws nothing sensible, and attention costs the square of the area.
SIZE_FACTOR = 4


class RepeatWarning(UserWarning):
    """A picture is repeated on other versions or another device than it was drawn on."""


class SizeLimits(NamedTuple):
    """What both sides of a picture must be a multiple of, and the shortest and longest side, in pixels."""

    step_px: int
    min_px: int
    max_px: int


@dataclass(frozen=True)
class GeneratedImage:
    """A picture and everything it was drawn from."""

    image: Image.Image
    settings: GenerationSettings


def generate(
    base: Base,
    fused: FusedAdapter | None,
    prompt: str,
    *,
    seed: int,
    steps: int,
    guidance_scale: float,
    width_px: int,
    height_px: int,
    negative_prompt: str = "",
    count: int = 1,
    allow_other_base: bool = False,
    on_step: Callable[[int, int], None] | None = None,
    on_image: Callable[[GeneratedImage], None] | None = None,
) -> list[GeneratedImage]:
    """Draw a prompt.

    Pictures are drawn one by one from the seeds `seed`, `seed + 1`, ..., each from noise of its own: the picture of a
    seed does not depend on how many are drawn with it.

    Args:
        base: The model. It is adapted while drawing and afterwards as it was, bit for bit.
        fused: The concepts with their strengths; None draws with the plain base.
        prompt: What to draw; concepts by their tokens, such as `<octo>`.
        seed: Of the first picture.
        steps: Denoising steps.
        guidance_scale: Weight of classifier-free guidance; 1 is none.
        width_px, height_px: Size: multiples of 8, within a quarter and four times the base's native side.
        negative_prompt: What to keep away from.
        count: How many pictures.
        allow_other_base: Accept adapters of a fine-tuned sibling of the base.
        on_step: Told (steps done, steps in all) over all pictures.
        on_image: Given each picture as soon as it is drawn.

    Returns:
        The pictures in order of seed.

    Raises:
        InputError: A value out of bounds, a token that no adapter provides, or a picture that is not finite.
        BaseMismatchError: An adapter was trained on another base.
    """
    if not 1 <= count <= 10_000:
        raise InputError(f"{count} pictures were asked for", "ask for 1 to 10000")
    _check_size(base, width_px, height_px)
    facts: dict[str, Any] = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "steps": steps,
        "guidance_scale": guidance_scale,
        "sampler": "dpm-solver++",
        "width_px": width_px,
        "height_px": height_px,
        "base": base.name,
        "fingerprints": dict(base.fingerprints),
        "is_toybox": base.is_toybox,
        "adapters": tuple(AdapterRecord.of(part) for part in fused.parts) if fused is not None else (),
        "device": base.device.type,
        "dtype": str(base.dtype).removeprefix("torch."),
        "versions": library_versions(),
    }
    plans = [GenerationSettings.checked(seed=seed + index, **facts) for index in range(count)]
    if fused is not None:
        fused.check_base(base.name, base.fingerprints, allow_other_base)
    drawn: list[GeneratedImage] = []
    with base.lock, torch.no_grad(), _adapted(base, fused), ExitStack() as stack:
        embeds = _embed(base, fused, plans[0], stack)
        for index, plan in enumerate(plans):
            pixels = _draw(base, plan, embeds, _offset(on_step, index * steps, count * steps))
            drawn.append(GeneratedImage(to_image(pixels * 2 - 1), plan))
            if on_image is not None:
                on_image(drawn[-1])
    return drawn


def repeat(
    settings: GenerationSettings,
    base: Base,
    places: Sequence[Path],
    *,
    count: int = 1,
    on_step: Callable[[int, int], None] | None = None,
    on_image: Callable[[GeneratedImage], None] | None = None,
) -> list[GeneratedImage]:
    """Draw a picture again from its settings, equal to the last bit on the machine and versions that drew it.

    Args:
        settings: As `read_settings` finds them in the picture.
        base: The model that drew it.
        places: Adapter files, or folders of such, to look for its concepts in.
        count: How many pictures: its own, then those of the seeds that follow.
        on_step, on_image: As for `generate`.

    Raises:
        BaseMismatchError: Another base.
        InputError: See `find_adapters` and `generate`.

    Warns:
        RepeatWarning: Other versions, device or number type, which round differently.
    """
    if dict(base.fingerprints) != settings.fingerprints:
        version = settings.versions.get("spectral_diffusion", "of another version")
        raise BaseMismatchError(
            f"the picture was drawn with base {settings.base}, and {base.name} is another",
            f"use the toybox of spectral-diffusion {version}"
            if settings.is_toybox and base.is_toybox
            else settings.base_remedy(),
        )
    here = {"device": base.device.type, "dtype": str(base.dtype).removeprefix("torch."), **library_versions()}
    then = {"device": settings.device, "dtype": settings.dtype, **settings.versions}
    differing = [f"{key} {then.get(key)} then, {value} now" for key, value in here.items() if then.get(key) != value]
    if differing:
        warnings.warn(RepeatWarning(f"the picture may differ in places: {'; '.join(differing)}"), stacklevel=2)
    return generate(
        base,
        find_adapters(settings.adapters, places),
        settings.prompt,
        seed=settings.seed,
        steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        width_px=settings.width_px,
        height_px=settings.height_px,
        negative_prompt=settings.negative_prompt,
        count=count,
        allow_other_base=True,  # the base is the one that drew it, as was just checked
        on_step=on_step,
        on_image=on_image,
    )


def save_generated(picture: GeneratedImage, path: Path) -> None:
    """Write a picture as PNG, its settings in the text, whole or not at all.

    Raises:
        InputError: The file cannot be written.
    """
    save_png(picture.image, path, picture.settings.to_png_text())


def read_settings(path: Path) -> GenerationSettings:
    """The settings of a saved picture.

    Raises:
        InputError: Not a PNG, or one without (readable) settings.
    """
    return GenerationSettings.from_png_text(read_png_text(path))


def size_limits(base: Base) -> SizeLimits:
    """The sizes that a base can draw."""
    step_px = lcm(SIZE_STEP_PX, base.latent_scale)
    return SizeLimits(step_px, base.native_size // SIZE_FACTOR, base.native_size * SIZE_FACTOR)


@contextmanager
def _adapted(base: Base, fused: FusedAdapter | None) -> Iterator[None]:
    if fused is None:
        yield
        return
    changes = {module: fused.low_rank(module) for module in fused.modules}
    # Baked weights cost nothing per step, but rounding them to half precision would lose most of a small change.
    put_in = bake if base.dtype == torch.float32 else attach
    with put_in(base.components, changes):
        yield


def _embed(
    base: Base, fused: FusedAdapter | None, plan: GenerationSettings, stack: ExitStack
) -> tuple[Tensor, Tensor | None]:
    """Embeddings of the prompt and, under guidance, of the negative prompt, (1, positions, dim) each."""
    guided = plan.guidance_scale > 1
    prompts = [plan.prompt, plan.negative_prompt] if guided else [plan.prompt]
    embeds = encode_prompts(base, prompts, fused.token_vectors if fused is not None else {})
    if embeds.ndim == 4:
        embeds = join_layers(embeds)
        stack.enter_context(attach_layers(base.unet))
    return embeds[:1], embeds[1:] if guided else None


def _offset(on_step: Callable[[int, int], None] | None, before: int, total: int) -> Callable[[int], None]:
    """Progress of one picture told as progress of all."""

    def tell(done: int) -> None:
        if on_step is not None:
            on_step(before + done, total)

    return tell


def _draw(
    base: Base, plan: GenerationSettings, embeds: tuple[Tensor, Tensor | None], on_step: Callable[[int], None]
) -> Tensor:
    """One picture, (3, H, W) in [0, 1]."""
    shape = (1, base.unet.config.in_channels, plan.height_px // base.latent_scale, plan.width_px // base.latent_scale)
    # Noise from the CPU: a seed means the same on every device.
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(plan.seed))

    def tell(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step(step + 1)
        return tensors

    sampler = DPMSolverMultistepScheduler.from_config(base.scheduler.config, algorithm_type="dpmsolver++")
    pipeline: Any = base.pipeline(sampler)
    output = pipeline(
        prompt_embeds=embeds[0],
        negative_prompt_embeds=embeds[1],
        latents=noise.to(base.device, base.dtype),
        height=plan.height_px,
        width=plan.width_px,
        num_inference_steps=plan.steps,
        guidance_scale=plan.guidance_scale,
        output_type="pt",
        callback_on_step_end=tell,
    )
    pixels: Tensor = output.images[0].float()
    if not bool(torch.isfinite(pixels).all()):
        raise InputError(
            f"the picture of seed {plan.seed} came out with values that are not finite",
            "lower the strength of the adapters, or draw in float32",
        )
    return pixels


def _check_size(base: Base, width_px: int, height_px: int) -> None:
    step, low, high = size_limits(base)
    if any(side % step or not low <= side <= high for side in (width_px, height_px)):
        raise InputError(
            f"{base.name} cannot draw {width_px} x {height_px} pixels",
            f"use sides from {low} to {high} that are multiples of {step}; it was trained at {base.native_size}",
        )
