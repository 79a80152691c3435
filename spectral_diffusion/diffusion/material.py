"""What a concept is trained on, encoded once: cached latents with their captions and loss weights."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from spectral_diffusion.config import TrainingConfig
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.cutmix import cut_mix, cut_out
from spectral_diffusion.diffusion.dataset import Concept, caption_of, fit
from spectral_diffusion.diffusion.masks import concept_mask
from spectral_diffusion.images import to_tensor
from spectral_diffusion.toybox.world import Companion

_PRIOR_STEPS = 20
_PRIOR_GUIDANCE = 4.0
_COMPANIONS: WeakKeyDictionary[Base, dict[tuple[int, int, int], list[Companion]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Pool:
    """Pictures of one sort.

    Args:
        latents: (n, C, h, w) on the base's device, scaled as the denoiser takes them.
        pixel_weights: (n, 1, h, w) fp32 loss weights there.
        captions: For each picture the texts to choose from.
        kept: (n, 1, h, w) in [0, 1], where the picture shall stay as the base draws it; none: nowhere.
        plain_captions: What the base is told there, in the order of the captions.
    """

    latents: Tensor
    pixel_weights: Tensor
    captions: tuple[tuple[str, ...], ...]
    kept: Tensor | None = None
    plain_captions: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.captions)


@dataclass(frozen=True)
class Material:
    """Everything one concept is trained on.

    Args:
        photographs: The photographs, and their mirror images by choice.
        compositions: The concept pasted beside other toys; none without cut-mix.
        priors: Pictures of the class word drawn by the base; none without prior preservation.
        wide: Compositions on wide canvases; none without them.
    """

    photographs: Pool
    compositions: Pool | None
    priors: Pool | None
    wide: Pool | None = None


@dataclass(frozen=True)
class Batch:
    """One step's samples.

    Args:
        latents: (B, C, h, w).
        pixel_weights: (B, 1, h, w).
        captions: One a sample.
        sample_weights: (B,).
        kept: (B, 1, h, w), where samples shall stay as the base draws them; none: nowhere in any.
        plain_captions: What the base is told of a sample with such places; None for the others.
    """

    latents: Tensor
    pixel_weights: Tensor
    captions: list[str]
    sample_weights: Tensor
    kept: Tensor | None = None
    plain_captions: tuple[str | None, ...] = ()


def step_generator(seed: int, *purpose: object) -> torch.Generator:
    """The random numbers of one purpose, for example of one step: they follow from the seed and the purpose alone.

    So a training that is resumed at step n draws what the uninterrupted one draws there, and what a concept draws does
    not depend on the concepts before it.
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@torch.no_grad()
def prepare(
    base: Base, concept: Concept, config: TrainingConfig, on_part: Callable[[], object] = lambda: None
) -> Material:
    """Find masks, compose, and encode everything the training will look at.

    Args:
        base: The model, unadapted.
        concept: What to learn.
        config: The recipe.
        on_part: Called between photographs, and between the pictures that the base draws. What it raises ends the work.

    Raises:
        InputError: The base cannot give what was chosen.
    """
    side = config.resolution_px
    images: list[Image.Image] = []
    masks: list[Tensor] = []
    for photograph in concept.photographs:
        on_part()
        image, mask = fit(photograph.image, photograph.mask, side, side)
        if mask is None:
            mask = concept_mask(base, image, concept.class_word, config.masks)
        images.append(image)
        masks.append(mask)
    pixels = torch.stack([to_tensor(image) for image in images])
    stacked = torch.stack(masks)[:, None]
    captions = tuple(
        tuple(dict.fromkeys(caption_of(concept, photograph, template) for template in config.caption_templates))
        for photograph in concept.photographs
    )
    if config.flip:
        pixels, stacked, captions = (
            torch.cat([pixels, pixels.flip(3)]),
            torch.cat([stacked, stacked.flip(3)]),
            captions * 2,
        )
    latents, inside = _encode(base, pixels, stacked)
    photographs = Pool(latents, _weights(inside, config.mask_background_weight), captions)
    cut_outs = [cut for cut in map(cut_out, images, masks) if cut is not None]
    square, wide = _companions(base, config, on_part) if cut_outs else ([], [])
    on_part()
    return Material(
        photographs,
        _compositions(base, concept, config, cut_outs, square),
        _priors(base, concept, config, on_part),
        _compositions(base, concept, config, cut_outs, wide),
    )


def draw_batch(material: Material, config: TrainingConfig, step: int, name: str) -> Batch:
    """The samples of a step, a function of the seed, the concept's name and the step.

    Photographs come in an order shuffled anew for each round through them; a sample becomes a composition with
    `cutmix_probability`. A step with `cutmix_wide_probability` takes wide compositions only, as a batch has one shape.
    With prior preservation one picture of the class joins for each sample of the other steps.
    """
    generator = step_generator(config.seed, name, "batch", step)
    chosen: list[tuple[Pool, int, float]] = []
    if material.wide is not None and _chance(config.cutmix_wide_probability, generator):
        wide = material.wide
        chosen = [(wide, _index(len(wide), generator), 1.0) for _ in range(config.batch_size)]
        return _batch(chosen, config, generator)
    for number in range(step * config.batch_size, (step + 1) * config.batch_size):
        if material.compositions is not None and _chance(config.cutmix_probability, generator):
            chosen.append((material.compositions, _index(len(material.compositions), generator), 1.0))
        else:
            round_, place = divmod(number, len(material.photographs))
            order = torch.randperm(
                len(material.photographs), generator=step_generator(config.seed, name, "order", round_)
            )
            chosen.append((material.photographs, int(order[place]), 1.0))
    if material.priors is not None:
        chosen += [
            (material.priors, _index(len(material.priors), generator), config.prior_weight)
            for _ in range(config.batch_size)
        ]
    return _batch(chosen, config, generator)


def _batch(chosen: Sequence[tuple[Pool, int, float]], config: TrainingConfig, generator: torch.Generator) -> Batch:
    wordings = [_index(len(pool.captions[index]), generator) for pool, index, _ in chosen]
    kept = [None if pool.kept is None else pool.kept[index] for pool, index, _ in chosen]
    weights = torch.stack([pool.pixel_weights[index] for pool, index, _ in chosen])
    return Batch(
        torch.stack([pool.latents[index] for pool, index, _ in chosen]),
        weights,
        [pool.captions[index][wording] for (pool, index, _), wording in zip(chosen, wordings, strict=True)],
        # The mean over samples is that of the concept's own, to which the weighted priors add.
        torch.tensor([weight for *_, weight in chosen]) * (len(chosen) / config.batch_size),
        torch.stack([torch.zeros_like(weights[0]) if places is None else places for places in kept])
        if any(places is not None for places in kept)
        else None,
        tuple(
            None if pool.kept is None else pool.plain_captions[index][wording]
            for (pool, index, _), wording in zip(chosen, wordings, strict=True)
        ),
    )


def size_step_px(base: Base) -> int:
    """What both sides of a training picture must be a multiple of: every level of the denoiser halves it."""
    unet: Any = base.unet
    return base.latent_scale * 2 ** (len(unet.config.block_out_channels) - 1)


def _encode(base: Base, pixels: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Latents of pictures, and their masks (n, 1, h, w) there, on the base's device."""
    latents = base.encode_pixels(pixels)
    # A latent sees a little beyond its own pixels, so the mask is widened by a margin before it is averaged.
    margin = 2 * (base.latent_scale // 4) + 1
    widened = F.max_pool2d(masks, margin, 1, margin // 2)
    return latents, F.interpolate(widened, latents.shape[-2:], mode="area").to(base.device)


def _weights(inside: Tensor, background_weight: float) -> Tensor:
    weights = background_weight + (1 - background_weight) * inside
    # A mask that leaves nothing to learn from counts as the whole picture.
    return torch.where(weights.amax((1, 2, 3), keepdim=True) > 0, weights, torch.ones((), device=weights.device))


def _compositions(
    base: Base,
    concept: Concept,
    config: TrainingConfig,
    cut_outs: Sequence[Tensor],
    companions: Sequence[Companion],
) -> Pool | None:
    if not companions:
        return None
    generator = step_generator(config.seed, concept.name, "cut-mix", len(companions))
    pictures = [
        cut_mix(
            companion,
            cut_outs[number % len(cut_outs)],
            concept.token,
            concept.class_word,
            mirrored=config.flip and _chance(0.5, generator),
        )
        for number, companion in enumerate(companions)
    ]
    height, step = config.resolution_px, size_step_px(base)
    size = height, height * companions[0].image.shape[2] // companions[0].image.shape[1] // step * step
    pixels = F.interpolate(torch.stack([picture.pixels for picture in pictures]), size, mode="bilinear", antialias=True)
    masks = F.interpolate(torch.stack([picture.mask for picture in pictures])[:, None], size, mode="area")
    latents, inside = _encode(base, pixels, masks)
    return Pool(
        latents,
        _weights(inside, config.cutmix_background_weight),
        tuple(picture.captions for picture in pictures),
        1 - inside if config.cutmix_background_target == "base" else None,
        tuple(picture.plain_captions for picture in pictures),
    )


def _companions(
    base: Base, config: TrainingConfig, on_part: Callable[[], object]
) -> tuple[list[Companion], list[Companion]]:
    """The base's square and wide companions, made once for all concepts: a renderer or a denoiser needs a while."""
    count = config.companions_count if config.cutmix_probability else 0
    # Wide pictures come in fewer steps.
    wide_count = math.ceil(config.companions_count / 2) if config.cutmix_wide_probability else 0
    held = _COMPANIONS.setdefault(base, {})
    key = (count, wide_count, config.seed)
    if key not in held:
        held[key] = base.companions(count, config.seed, wide_count=wide_count, on_picture=on_part)
    return held[key][:count], held[key][count:]


def _priors(base: Base, concept: Concept, config: TrainingConfig, on_part: Callable[[], object]) -> Pool | None:
    """Pictures of the class word, drawn as latents by the base before it is changed (DreamBooth, Ruiz et al. 2022)."""
    if not config.prior_weight:
        return None
    prompt = f"a photo of a {concept.class_word}"
    latents = []
    for index in range(config.prior_count):
        on_part()
        drawn: Any = base.pipeline()(
            prompt,
            width=config.resolution_px,
            height=config.resolution_px,
            num_inference_steps=_PRIOR_STEPS,
            guidance_scale=_PRIOR_GUIDANCE,
            generator=step_generator(config.seed, concept.class_word, "prior", index),
            output_type="latent",
        )
        latents.append(drawn.images)
    stacked = torch.cat(latents)
    weights = torch.ones(len(stacked), 1, *stacked.shape[-2:], device=base.device)
    return Pool(stacked, weights, ((prompt,),) * len(stacked))


def _chance(probability: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator)) < probability


def _index(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
