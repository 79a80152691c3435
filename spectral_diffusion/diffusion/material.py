"""What a concept is trained on, encoded once: cached latents with their captions and loss weights."""

import hashlib
from collections.abc import Sequence
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

_ENCODED_AT_ONCE = 8
_PRIOR_STEPS = 20
_PRIOR_GUIDANCE = 4.0
_COMPANIONS: WeakKeyDictionary[Base, dict[tuple[int, int], list[Companion]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Pool:
    """Pictures of one sort.

    Args:
        latents: (n, C, h, w) on the base's device, scaled as the denoiser takes them.
        pixel_weights: (n, 1, h, w) fp32 loss weights there.
        captions: For each picture the texts to choose from.
    """

    latents: Tensor
    pixel_weights: Tensor
    captions: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.captions)


@dataclass(frozen=True)
class Material:
    """Everything one concept is trained on.

    Args:
        photographs: The photographs, and their mirror images by choice.
        compositions: The concept pasted beside other toys; empty without cut-mix.
        priors: Pictures of the class word drawn by the base; empty without prior preservation.
    """

    photographs: Pool
    compositions: Pool | None
    priors: Pool | None


@dataclass(frozen=True)
class Batch:
    """One step's samples: latents (B, C, h, w), pixel weights (B, 1, h, w), captions, and sample weights (B,)."""

    latents: Tensor
    pixel_weights: Tensor
    captions: list[str]
    sample_weights: Tensor


def step_generator(seed: int, *purpose: object) -> torch.Generator:
    """The random numbers of one purpose, for example of one step: they follow from the seed and the purpose alone.

    So a training that is resumed at step n draws what the uninterrupted one draws there, and what a concept draws does
    not depend on the concepts before it.
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@torch.no_grad()
def prepare(base: Base, concept: Concept, config: TrainingConfig) -> Material:
    """Find masks, compose, and encode everything the training will look at.

    Raises:
        InputError: The base cannot give what was chosen.
    """
    side = config.resolution_px
    images: list[Image.Image] = []
    masks: list[Tensor] = []
    for photograph in concept.photographs:
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
    photographs = _encode(base, pixels, stacked, captions, config.mask_background_weight, flip=config.flip)
    return Material(
        photographs,
        _compositions(base, concept, config, images, masks),
        _priors(base, concept, config),
    )


def draw_batch(material: Material, config: TrainingConfig, step: int, name: str) -> Batch:
    """The samples of a step, a function of the seed, the concept's name and the step.

    Photographs come in an order shuffled anew for each round through them; a sample becomes a composition with
    `cutmix_probability`. With prior preservation one picture of the class joins for each sample.
    """
    generator = step_generator(config.seed, name, "batch", step)
    chosen: list[tuple[Pool, int, float]] = []
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
    captions = [pool.captions[index][_index(len(pool.captions[index]), generator)] for pool, index, _ in chosen]
    return Batch(
        torch.stack([pool.latents[index] for pool, index, _ in chosen]),
        torch.stack([pool.pixel_weights[index] for pool, index, _ in chosen]),
        captions,
        # The mean over samples is that of the concept's own, to which the weighted priors add.
        torch.tensor([weight for *_, weight in chosen]) * (len(chosen) / config.batch_size),
    )


def encode_pixels(base: Base, pixels: Tensor) -> Tensor:
    """Pictures (n, 3, H, W) in [-1, 1] as scaled latents (n, C, h, w): the VAE's most likely ones."""
    vae: Any = base.vae
    latents = [
        vae.encode(group.to(base.device, base.dtype)).latent_dist.mode() for group in pixels.split(_ENCODED_AT_ONCE)
    ]
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    return (torch.cat(latents) - shift) * vae.config.scaling_factor


def _encode(
    base: Base,
    pixels: Tensor,
    masks: Tensor,
    captions: tuple[tuple[str, ...], ...],
    background_weight: float,
    *,
    flip: bool,
) -> Pool:
    if flip:
        pixels, masks, captions = torch.cat([pixels, pixels.flip(3)]), torch.cat([masks, masks.flip(3)]), captions * 2
    latents = encode_pixels(base, pixels)
    # A latent sees a little beyond its own pixels, so the mask is widened by a margin before it is averaged.
    margin = 2 * (base.latent_scale // 4) + 1
    widened = F.max_pool2d(masks, margin, 1, margin // 2)
    weights = F.interpolate(widened, latents.shape[-2:], mode="area")
    weights = background_weight + (1 - background_weight) * weights
    # A mask that leaves nothing to learn from counts as the whole picture.
    weights = torch.where(weights.amax((1, 2, 3), keepdim=True) > 0, weights, torch.ones(()))
    return Pool(latents, weights.to(base.device), captions)


def _compositions(
    base: Base, concept: Concept, config: TrainingConfig, images: Sequence[Image.Image], masks: Sequence[Tensor]
) -> Pool | None:
    if not config.cutmix_probability:
        return None
    cut_outs = [cut for cut in map(cut_out, images, masks) if cut is not None]
    if not cut_outs:
        return None
    generator = step_generator(config.seed, concept.name, "cut-mix")
    pictures = [
        cut_mix(
            companion,
            cut_outs[number % len(cut_outs)],
            concept.token,
            mirrored=config.flip and _chance(0.5, generator),
        )
        for number, companion in enumerate(_companions(base, config.companions_count, config.seed))
    ]
    side = config.resolution_px, config.resolution_px
    pixels = F.interpolate(torch.stack([picture.pixels for picture in pictures]), side, mode="bilinear", antialias=True)
    mixed = F.interpolate(torch.stack([picture.mask for picture in pictures])[:, None], side, mode="area")
    captions = tuple((picture.caption,) for picture in pictures)
    return _encode(base, pixels, mixed, captions, config.cutmix_background_weight, flip=False)


def _companions(base: Base, count: int, seed: int) -> list[Companion]:
    """The base's companions, made once for all concepts: a renderer or a denoiser needs a while for them."""
    held = _COMPANIONS.setdefault(base, {})
    if (count, seed) not in held:
        held[count, seed] = base.companions(count, seed)
    return held[count, seed]


def _priors(base: Base, concept: Concept, config: TrainingConfig) -> Pool | None:
    """Pictures of the class word, drawn as latents by the base before it is changed (DreamBooth, Ruiz et al. 2022)."""
    if not config.prior_weight:
        return None
    prompt = f"a photo of a {concept.class_word}"
    latents = []
    for index in range(config.prior_count):
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
