"""What a person needs to know of a base and a recipe before training: sizes, room, spectral energy, time."""

import os
import platform
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from spectral_diffusion.adapters import holds_columns
from spectral_diffusion.config import Config, TrainingConfig
from spectral_diffusion.diffusion.base import Base, target_modules
from spectral_diffusion.diffusion.column_energy import column_energy
from spectral_diffusion.diffusion.material import size_step_px
from spectral_diffusion.diffusion.objective import check_prediction
from spectral_diffusion.diffusion.pipeline import size_limits
from spectral_diffusion.diffusion.targets import flat_weight
from spectral_diffusion.diffusion.timing import time_decompositions, time_drawing, time_training_step

OnProgress = Callable[[str, int, int], None]
# What the preparation does on the processor, whatever the device: roughly, a picture.
_RENDER_SECONDS, _COMPOSE_SECONDS, _MASK_SECONDS = 0.25, 0.03, 0.1
_PHOTOGRAPHS = 6
_COMPANION_STEPS, _PRIOR_STEPS = 25, 20


class BaseFacts(BaseModel):
    """A base, the device it is on, and what a recipe costs there.

    Args:
        name, is_toybox, fingerprints, native_size_px, latent_scale, dtype: As for `Base`.
        size_step_px, size_min_px, size_max_px: What sides of pictures it draws, see `size_limits`.
        training_step_px: What the side of training pictures must be a multiple of.
        device, device_name: Kind of device, and what it is called.
        parameters: Numbers of weights by component.
        weights_bytes: Memory that they take.
        memory_free_bytes, memory_total_bytes: Of the device.
        adapted_weights: How many weights the recipe adapts.
        narrowest: Columns of the narrowest of them.
        column_energy: For each column, from the largest singular value, the share of the spectral energy that it holds:
            the sum of S_j^2 over the sum of |W|^2, over all adapted weights.
        batch_size, resolution_px: Of the step that was measured.
        seconds_a_step: One training step of the recipe.
        step_fits_memory: Whether it could be taken; if not its time is a guess.
        seconds_a_sampling_step: One denoising step at native size, under guidance.
        seconds_to_decode, seconds_to_encode: One picture of native size, from latents and to them.
        seconds_to_decompose: The adapted weights, once for a base, where the method holds columns.
        seconds_to_prepare: From the start of a training to its first step, roughly.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    is_toybox: bool
    fingerprints: dict[str, str]
    native_size_px: int
    latent_scale: int
    dtype: str
    size_step_px: int
    size_min_px: int
    size_max_px: int
    training_step_px: int
    device: str
    device_name: str
    parameters: dict[str, int]
    weights_bytes: int
    memory_free_bytes: int
    memory_total_bytes: int
    adapted_weights: int
    narrowest: int
    column_energy: tuple[float, ...]
    batch_size: int
    resolution_px: int
    seconds_a_step: float
    step_fits_memory: bool
    seconds_a_sampling_step: float
    seconds_to_decode: float
    seconds_to_encode: float
    seconds_to_decompose: float
    seconds_to_prepare: float = 0.0

    def capacity(self, width: int) -> int:
        """How many slots of that many columns fit side by side."""
        return self.narrowest // width

    def energy(self, start: int, width: int) -> float:
        """Share of the spectral energy that a slot's columns hold, as far as they are told."""
        return sum(self.column_energy[start : start + width])


def describe_base(base: Base, config: Config, *, on_progress: OnProgress = lambda stage, done, of: None) -> BaseFacts:
    """Find everything out; takes seconds, or half a minute for a large base that is new here.

    Args:
        base: The model, unadapted.
        config: The recipe.
        on_progress: Told what is done, and how far: a stage in words, steps done, and of how many. What it raises ends
            the work.

    Raises:
        InputError: The base cannot be trained by the recipe.
    """
    training = config.training
    check_prediction(base.scheduler.config.prediction_type)
    components = ("unet", "text_encoder") if training.train_text_encoder else ("unet",)
    modules = target_modules(base, components, training.targets)
    narrowest = min(min(flat_weight(module).shape) for module in modules.values())
    energy = column_energy(base, modules, lambda done, of: on_progress("reading the spectrum", done, of))
    step_px = size_step_px(base)
    side_px = max(step_px, training.resolution_px // step_px * step_px)
    on_progress("timing pictures", 0, 2)
    drawing = time_drawing(base)
    on_progress("timing training", 1, 2)
    step = time_training_step(base, training, modules, side_px, drawing)
    decomposing = time_decompositions(modules, training.rank)
    on_progress("timing training", 2, 2)
    limits = size_limits(base)
    parts: dict[str, nn.Module] = {"unet": base.unet, "vae": base.vae, "text_encoder": base.text_encoder}
    memory = _memory(base.device)
    facts = BaseFacts(
        name=base.name,
        is_toybox=base.is_toybox,
        fingerprints=dict(base.fingerprints),
        native_size_px=base.native_size,
        latent_scale=base.latent_scale,
        dtype=str(base.dtype).removeprefix("torch."),
        size_step_px=limits.step_px,
        size_min_px=limits.min_px,
        size_max_px=limits.max_px,
        training_step_px=step_px,
        device=base.device.type,
        device_name=_device_name(base.device),
        parameters={name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()},
        weights_bytes=sum(weight.nbytes for part in parts.values() for weight in part.parameters()),
        memory_free_bytes=memory.free_bytes,
        memory_total_bytes=memory.total_bytes,
        adapted_weights=len(modules),
        narrowest=narrowest,
        column_energy=energy,
        batch_size=training.batch_size,
        resolution_px=side_px,
        seconds_a_step=step.seconds,
        step_fits_memory=step.fits_memory,
        seconds_a_sampling_step=drawing.step,
        seconds_to_decode=drawing.decode,
        seconds_to_encode=drawing.encode,
        seconds_to_decompose=decomposing,
    )
    return facts.model_copy(update={"seconds_to_prepare": preparation_seconds(facts, training, 1)})


def training_seconds(facts: BaseFacts, config: Config, concepts: int, pace: float | None = None) -> float:
    """How long a training takes, roughly: preparation, steps and sample pictures.

    Args:
        facts: Of the base, for this recipe or one much like it: other batch sizes and resolutions are scaled.
        config: The recipe.
        concepts: How many are trained.
        pace: Steps a second of trainings before, which say more than a few passes on noise.
    """
    training, recipe = config.training, config.generation
    scale = training.batch_size * training.resolution_px**2 / (facts.batch_size * facts.resolution_px**2)
    step = 1 / pace if pace else facts.seconds_a_step * scale
    samples = (training.steps - 1) // training.sample_every if training.sample_every else 0
    drawing = drawing_seconds(
        facts,
        count=samples,
        steps=recipe.steps,
        guidance_scale=recipe.guidance_scale,
        width_px=recipe.width_px,
        height_px=recipe.height_px,
    )
    return preparation_seconds(facts, training, concepts) + concepts * (training.steps * step + drawing)


def drawing_seconds(
    facts: BaseFacts, *, steps: int, guidance_scale: float, width_px: int, height_px: int, count: int = 1
) -> float:
    """How long pictures take, roughly; arguments as for `generate`."""
    area = width_px * height_px / facts.native_size_px**2
    step = facts.seconds_a_sampling_step * (1.0 if guidance_scale > 1 else 0.5)
    return count * area * (steps * step + facts.seconds_to_decode)


def preparation_seconds(facts: BaseFacts, training: TrainingConfig, concepts: int) -> float:
    """How long it takes until the first step, over all concepts, as if nothing were at hand from trainings before."""
    square = training.companions_count if training.cutmix_probability else 0
    wide = -(-training.companions_count // 2) if training.cutmix_wide_probability else 0
    companions = square + 1.5 * wide
    drawn = facts.seconds_to_decode + _COMPANION_STEPS * facts.seconds_a_sampling_step
    companion = _RENDER_SECONDS if facts.is_toybox else drawn
    encoding = facts.seconds_to_encode * (training.resolution_px / facts.native_size_px) ** 2
    priors = training.prior_count if training.prior_weight else 0
    photographs = _PHOTOGRAPHS * (2 if training.flip else 1)
    each = (
        (photographs + companions) * encoding
        + companions * _COMPOSE_SECONDS
        + _PHOTOGRAPHS * _MASK_SECONDS
        + priors * _PRIOR_STEPS * facts.seconds_a_sampling_step
    )
    decomposing = facts.seconds_to_decompose if holds_columns(training.method) else 0.0
    return decomposing + companions * companion + concepts * each


class _Memory(NamedTuple):
    free_bytes: int
    total_bytes: int


def _memory(device: torch.device) -> _Memory:
    if device.type == "cuda":
        return _Memory(*torch.cuda.mem_get_info(device))
    system = psutil.virtual_memory()
    if device.type == "mps":
        most = torch.mps.recommended_max_memory()
        return _Memory(max(0, most - torch.mps.driver_allocated_memory()), most)
    return _Memory(system.available, system.total)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name")) or model
    return f"{model} ({os.cpu_count()} cores)"
