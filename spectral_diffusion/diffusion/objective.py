"""What a denoiser is trained to do, as flat functions.

A noisy latent is x_t = sqrt(a) x + sqrt(1-a) n with a = alphas_cumprod[t] (Ho et al. 2020). The denoiser predicts n
(epsilon) or v = sqrt(a) n - sqrt(1-a) x (Salimans & Ho 2022).
"""

import torch
from torch import Tensor

from spectral_diffusion.errors import InputError

PREDICTIONS = ("epsilon", "v_prediction")


def check_prediction(prediction_type: str) -> None:
    """Raises: InputError: Neither epsilon nor v_prediction."""
    if prediction_type not in PREDICTIONS:
        raise InputError(
            f"the base predicts '{prediction_type}', which cannot be trained", f"use a base with {PREDICTIONS}"
        )


def add_noise(latents: Tensor, noise: Tensor, alphas: Tensor) -> Tensor:
    """x_t for latents (B, C, h, w), noise alike and alphas (B,)."""
    a = alphas.view(-1, 1, 1, 1)
    return a.sqrt() * latents + (1 - a).sqrt() * noise


def target(latents: Tensor, noise: Tensor, alphas: Tensor, prediction_type: str) -> Tensor:
    """What shall be predicted: the noise, or v."""
    if prediction_type == "epsilon":
        return noise
    a = alphas.view(-1, 1, 1, 1)
    return a.sqrt() * noise - (1 - a).sqrt() * latents


def draw_noise(shape: torch.Size, offset: float, generator: torch.Generator) -> Tensor:
    """Standard normal noise (B, C, h, w), fp32 on the CPU, so that every device trains on the same.

    `offset` adds a normal shift of that size to each whole channel (noise offset), which lets a base learn very dark
    and very bright pictures.
    """
    noise = torch.randn(shape, generator=generator)
    if offset:
        noise = noise + offset * torch.randn(*shape[:2], 1, 1, generator=generator)
    return noise


def min_snr_weights(alphas: Tensor, gamma: float, prediction_type: str) -> Tensor:
    """Weight of each sample's loss (Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting"): (B,).

    With snr = a / (1-a): min(snr, gamma) / snr for epsilon, min(snr, gamma) / (snr + 1) for v. gamma 0: all 1.
    """
    if not gamma:
        return torch.ones_like(alphas)
    snr = alphas / (1 - alphas)
    return snr.clamp(max=gamma) / (snr if prediction_type == "epsilon" else snr + 1)


def masked_loss(predicted: Tensor, wanted: Tensor, pixel_weights: Tensor, sample_weights: Tensor) -> Tensor:
    """Mean over samples of the weighted mean square error.

    Args:
        predicted, wanted: (B, C, h, w).
        pixel_weights: (B, 1, h, w), not negative and not all zero. Their mean is divided out, so that a small toy
            counts as much as a large one.
        sample_weights: (B,).

    Returns:
        A scalar, fp32.
    """
    squared = (predicted.float() - wanted.float()).square().mean(1, keepdim=True)
    per_sample = (squared * pixel_weights).sum((1, 2, 3)) / pixel_weights.sum((1, 2, 3))
    return (per_sample * sample_weights).mean()


def rate_factor(step: int, steps: int, warmup_steps: int, schedule: str) -> float:
    """Share of the learning rate at a step counted from 0: linear warm-up, then none, linear or cosine decay.

    A warm-up longer than the training is cut to it. Decay ends just above zero after the last step.
    """
    warmup = min(warmup_steps, steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    share = (step - warmup) / max(1, steps - warmup)
    if schedule == "linear":
        return 1 - share
    if schedule == "cosine":
        return 0.5 * (1 + torch.cos(torch.tensor(share * torch.pi, dtype=torch.float64)).item())
    return 1.0
