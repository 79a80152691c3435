"""How long a base takes here, measured in a few passes on noise: nothing is learned, drawn or kept."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from spectral_diffusion.adapters import METHODS, FreeAdapter, WeightAdapter
from spectral_diffusion.config import TrainingConfig
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.engine import EMBEDDINGS, SINGULAR_VALUES, Engine
from spectral_diffusion.diffusion.learner import Learner
from spectral_diffusion.diffusion.material import Material, Pool
from spectral_diffusion.diffusion.memory import is_out_of_memory
from spectral_diffusion.diffusion.prompts import encode_prompts, word_vectors
from spectral_diffusion.diffusion.targets import cross_attention_paths, flat_weight
from spectral_diffusion.spectrum import Spectrum, decompose

# A pass this long is the same the first time and the next; shorter ones are repeated, and the first is not counted.
_LONG_SECONDS = 2.0
_REPEATED_SECONDS = 2.0
_REPEATS = 5
_TOKEN = "<concept>"
# Where a training step does not fit into memory, it is taken for so many passes of the denoiser.
_PASSES_A_STEP = 3.5
_WIDE = 1.5


class DrawingTimes(NamedTuple):
    """Seconds for a step under guidance, and from latents to a picture and back, at the base's native size."""

    step: float
    decode: float
    encode: float


class StepTime(NamedTuple):
    """Seconds for a training step, and whether it fitted into memory; if not they are a guess."""

    seconds: float
    fits_memory: bool


@torch.no_grad()
def time_drawing(base: Base) -> DrawingTimes:
    """Measure drawing."""
    side = base.native_size // base.latent_scale
    unet: Any = base.unet
    vae: Any = base.vae
    latents = torch.randn(1, unet.config.in_channels, side, side).to(base.device, base.dtype)
    pixels = torch.zeros(1, 3, base.native_size, base.native_size)
    with base.lock:
        embeds = encode_prompts(base, ["a photo", ""], {})
        pair = latents.repeat(2, 1, 1, 1)
        timesteps = torch.tensor([500, 500], device=base.device)
        return DrawingTimes(
            _seconds(lambda: unet(pair, timesteps, encoder_hidden_states=embeds), base.device),
            _seconds(lambda: vae.decode(latents / vae.config.scaling_factor), base.device),
            _seconds(lambda: base.encode_pixels(pixels), base.device),
        )


def time_training_step(
    base: Base, config: TrainingConfig, modules: Mapping[str, nn.Module], side_px: int, drawing: DrawingTimes
) -> StepTime:
    """Measure a training step of a recipe: forward, backward and update, on noise and with nothing learned.

    Where the recipe leaves the other things of its compositions as the base draws them, their passes are added from
    `drawing`. So are the rows of a batch where one takes seconds.

    Args:
        base: The model; adapted meanwhile, and restored.
        config: The recipe.
        modules: The weights it adapts, by path.
        side_px: Of the training pictures.
        drawing: What `time_drawing` measured.
    """
    area = (side_px / base.native_size) ** 2
    row_seconds = drawing.step / 2 * area
    rows = config.batch_size * (2 if config.prior_weight else 1)
    is_slow = rows * row_seconds > _LONG_SECONDS
    measured = config.model_copy(
        update={
            "batch_size": 1 if is_slow else config.batch_size,
            "cutmix_probability": 0.0,
            "cutmix_wide_probability": 0.0,
        }
    )
    fits = True
    try:
        seconds = _step_seconds(base, measured, modules, side_px) * (config.batch_size if is_slow else 1)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        seconds, fits = _PASSES_A_STEP * rows * row_seconds, False
    wide = config.cutmix_wide_probability
    composed = wide + (1 - wide) * config.cutmix_probability
    kept_rows = config.batch_size * composed if config.cutmix_background_target == "base" else 0
    return StepTime((seconds + kept_rows * row_seconds) * (1 + (_WIDE - 1) * wide), fits)


def time_decompositions(modules: Mapping[str, nn.Module], columns: int) -> float:
    """Seconds for all singular columns that a training needs, from the time that those of one weight take."""
    costs = {path: _cost(module) for path, module in modules.items()}
    path = max(costs, key=lambda path: costs[path])
    weight = flat_weight(modules[path])
    seconds = _seconds(lambda: decompose(weight, min(columns, *weight.shape)), weight.device)
    return seconds * sum(costs.values()) / costs[path]


def _cost(module: nn.Module) -> float:
    """Of a decomposition, in multiplications: a Gram matrix and its eigenvectors."""
    short, long = sorted(flat_weight(module).shape)
    return float(short * short * (long + 10 * short))


def _step_seconds(base: Base, config: TrainingConfig, modules: Mapping[str, nn.Module], side_px: int) -> float:
    with base.lock:
        engine = _engine(base, config, modules)
        learner = Learner(config, base, "timing", engine)
        material = _noise(base, config, side_px)

        def step() -> None:
            learner.learn(material, 0, torch.Tensor.backward)
            engine.finish(rate_factor=0.0, gradient_clip=config.gradient_clip)

        with torch.enable_grad(), learner.adapted():
            return _seconds(step, base.device)


def _engine(base: Base, config: TrainingConfig, modules: Mapping[str, nn.Module]) -> Engine:
    """What a training would train, but for the values."""
    method = METHODS[config.method]
    adapters: dict[str, WeightAdapter] = {}
    for path, module in modules.items():
        rows, columns = flat_weight(module).shape
        if issubclass(method, FreeAdapter):
            adapters[path] = method.create((rows, columns), config.rank, torch.Generator()).to(base.device)
            continue
        rank = min(config.rank, rows, columns)
        noise = Spectrum(*(torch.rand(shape) / 100 for shape in ((rows, rank), (rank,), (rank, columns))))
        adapters[path] = method.create(
            Spectrum(*(part.to(base.device) for part in noise)), train_singular_values=config.train_singular_values
        )
    vectors = word_vectors(base, "toy", config.vectors_per_token).to(base.device, copy=True)
    if config.layerwise_tokens:
        vectors = vectors.repeat(len(cross_attention_paths(base.unet)), 1, 1)
    rates = dict.fromkeys((*base.components, EMBEDDINGS, SINGULAR_VALUES), 0.0)
    return Engine(base.components, adapters, {_TOKEN: nn.Parameter(vectors)}, rates)


def _noise(base: Base, config: TrainingConfig, side_px: int) -> Material:
    side = side_px // base.latent_scale
    unet: Any = base.unet
    latents = torch.randn(1, unet.config.in_channels, side, side).to(base.device, base.dtype)
    weights = torch.ones(1, 1, side, side, device=base.device)
    photographs = Pool(latents, weights, ((f"a photo of {_TOKEN}",),))
    return Material(photographs, None, Pool(latents, weights, (("a photo",),)) if config.prior_weight else None)


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    """Of one call, as it is once everything is warm."""
    taken: list[float] = []
    while len(taken) < 2 or (len(taken) < _REPEATS and sum(taken) < _REPEATED_SECONDS):
        begun = time.perf_counter()
        run()
        _wait_for(device)
        taken.append(time.perf_counter() - begun)
        if taken[0] > _LONG_SECONDS * _REPEATS:
            return taken[0]
    # Whatever else the machine does at the time only ever adds.
    return min(taken[1:])


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
