"""Compiling ahead: a few steps of a part on noise, so that the shared cache of torch.compile holds its kernels.

The recipe starts one such process a part while the world is still being drawn. Nothing is learned and nothing kept
but the cache; should a rehearsal fail, its part compiles for itself.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTokenizer

from spectral_diffusion.toybox.architecture import CANVASES_PX, LATENT_CHANNELS, LATENT_STRIDE_PX, TEXT_LENGTH
from spectral_diffusion.toybox.pictures import Captions, Pictures
from spectral_diffusion.toybox.stopwatch import log
from spectral_diffusion.toybox.train_clip import ClipSettings, train_clip
from spectral_diffusion.toybox.train_denoiser import DenoiserSettings, LatentPictures, train_denoiser
from spectral_diffusion.toybox.train_vae import VaeSettings, train_vae

MEMORY_SHARE = 0.35
"""Of the GPU's memory: the rest belongs to the part that is being trained meanwhile."""

_COUNT = 1024


def noise_pictures(size_px: tuple[int, int], device: torch.device, count: int = _COUNT) -> Pictures:
    """Pictures of noise, each with one toy of its own in the middle."""
    width_px, height_px = size_px
    boxes = torch.zeros(count, 3, 4, dtype=torch.int16, device=device)
    boxes[:, 0] = torch.tensor([32, 32, 96, 96], dtype=torch.int16)
    toy_ids = torch.full((count, 3), -1, dtype=torch.int32, device=device)
    toy_ids[:, 0] = torch.arange(count, device=device)
    return Pictures(
        torch.randint(256, (count, 3, height_px, width_px), dtype=torch.uint8, device=device),
        torch.randint(256, (count, 1, height_px // 2, width_px // 2), dtype=torch.uint8, device=device),
        boxes,
        toy_ids,
        [],
    )


def rehearse(part: str, settings: dict[str, Any], tokenizer_folder: Path, device: torch.device, steps: int = 3) -> None:
    """Run `steps` steps of a part on noise.

    Args:
        part: "vae", "clip" or "denoiser".
        settings: Fields of the part's settings.
        tokenizer_folder: Tokenizer of the base, which decides the size of the vocabulary.
        device: Where to compile for.
        steps: Three see both canvases.
    """
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(MEMORY_SHARE)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    ids = torch.randint(len(tokenizer) - 2, (2, _COUNT, TEXT_LENGTH), dtype=torch.int16)
    ids[..., -1] = len(tokenizer) - 1
    if part == "denoiser":
        data = {
            name: LatentPictures(
                torch.randn(
                    _COUNT, LATENT_CHANNELS, height // LATENT_STRIDE_PX, width // LATENT_STRIDE_PX, device=device
                ).half(),
                torch.zeros(
                    _COUNT, 1, height // LATENT_STRIDE_PX, width // LATENT_STRIDE_PX, dtype=torch.uint8, device=device
                ),
                ids.to(device),
            )
            for name, (width, height) in CANVASES_PX.items()
        }
        train_denoiser(data, tokenizer, DenoiserSettings(**settings), device=device, most_steps=steps)
    else:
        pictures = {name: noise_pictures(size, device) for name, size in CANVASES_PX.items()}
        if part == "vae":
            train_vae(list(pictures.values()), VaeSettings(**settings), device=device, most_steps=steps)
        else:
            captions = Captions(dict.fromkeys(pictures, ids), ids)
            train_clip(pictures, captions, tokenizer, ClipSettings(**settings), device=device, most_steps=steps)
    log.info("rehearsed: %s", part)
