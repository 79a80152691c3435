"""The toybox denoiser: UNet and CLIP text model, trained together from nothing.

    python -m spectral_diffusion.toybox.train_denoiser --smoke

The shipped one is trained by `pretrain`, some 800 s of one H100. v-prediction (Salimans and Ho 2022) with min-SNR
weights (Hang et al. 2023, gamma 5), captions dropped from one picture in ten for classifier-free guidance, the
running mean of the weights kept. Two steps in three see square pictures, one wide ones, all from cached latents.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from spectral_diffusion.toybox.architecture import (
    CANVASES_PX,
    NOISE_SCHEDULE,
    new_text_encoder,
    new_unet,
    new_vae,
    on_device,
)
from spectral_diffusion.toybox.pictures import (
    CaptionOrder,
    Pictures,
    render_pictures,
    smoke_world,
    token_ids,
    write_captions,
)
from spectral_diffusion.toybox.stopwatch import WARM_STEPS, Descent, Stopwatch, log
from spectral_diffusion.toybox.train_tokenizer import train_tokenizer
from spectral_diffusion.toybox.train_vae import encode


@dataclass(frozen=True)
class DenoiserSettings:
    """How UNet and text encoder are trained.

    Args:
        seconds: Time, compilation included.
        square_batch, wide_batch: Pictures a step.
        wide_every: Every so many steps sees wide pictures, the others square ones.
        learning_rate, text_learning_rate: Highest rates of AdamW.
        weight_decay: As in AdamW.
        ema_decay: Of the running mean of the weights.
        caption_dropout: Share of pictures whose caption is emptied.
        min_snr_gamma: Ceiling of the signal-to-noise ratio in the loss weight.
        toy_weight: Further weight of the error on toys.
        snapshot_seconds: Time between two snapshots of the running mean.
        seed: Of everything random.
        compile: Whether to compile the step, which pays on a GPU.
    """

    seconds: float = 800.0
    square_batch: int = 512
    wide_batch: int = 384
    wide_every: int = 3
    learning_rate: float = 1e-3
    text_learning_rate: float = 5e-4
    weight_decay: float = 0.01
    ema_decay: float = 0.9985
    caption_dropout: float = 0.1
    min_snr_gamma: float = 5.0
    toy_weight: float = 1.0
    snapshot_seconds: float = 100.0
    seed: int = 0
    compile: bool = True


class LatentPictures(NamedTuple):
    """What the denoiser learns from, per canvas.

    latents: fp16 (n, 4, h, w); coverage: uint8 (n, 1, h, w), 255 where a toy is; ids: int16 (captions, n, 77).
    """

    latents: Tensor
    coverage: Tensor
    ids: Tensor


def latent_pictures(vae: AutoencoderKL, pictures: Pictures, ids: Tensor) -> LatentPictures:
    """Encode pictures for the denoiser; `ids` (captions, n, 77) are their captions."""
    coverage = [F.avg_pool2d(part.float(), 2).round().to(torch.uint8) for part in pictures.coverage.split(20_000)]
    return LatentPictures(encode(vae, pictures.images), torch.cat(coverage), ids.to(pictures.images.device))


class VPrediction:
    """The loss of a batch under the base's noise schedule.

    With x_t = sqrt(a_t) x + sqrt(1 - a_t) n the target is v = sqrt(a_t) n - sqrt(1 - a_t) x; its squared error is
    weighted with min(snr, gamma) / (snr + 1), snr = a_t / (1 - a_t).

    Args:
        unet, text_encoder: The models.
        settings: Weights of the loss.
        device: Where they are.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        settings: DenoiserSettings,
        device: torch.device,
    ) -> None:
        self._unet, self._text_encoder, self._settings = unet, text_encoder, settings
        self._alphas = DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod.to(device)
        snr = self._alphas / (1 - self._alphas)
        self._weights = snr.clamp(max=settings.min_snr_gamma) / (snr + 1)

    def __call__(
        self, latents: Tensor, coverage: Tensor, ids: Tensor, timesteps: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The weighted loss, and the plain mean squared error of v."""
        condition = self._text_encoder(ids)[0]
        alpha = self._alphas[timesteps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
        squared = (self._unet(noisy, timesteps, condition).sample.float() - target) ** 2
        place = 1 + self._settings.toy_weight * coverage
        error = (squared * (place / place.mean())).mean((1, 2, 3))
        return (error * self._weights[timesteps]).mean(), squared.mean()


class Denoiser(NamedTuple):
    """UNet and text encoder."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel


def train_denoiser(
    data: Mapping[str, LatentPictures],
    tokenizer: CLIPTokenizer,
    settings: DenoiserSettings,
    *,
    device: torch.device,
    denoiser: Denoiser | None = None,
    on_snapshot: Callable[[Denoiser], None] | None = None,
    most_steps: int | None = None,
) -> tuple[Denoiser, dict[str, float]]:
    """Train a denoiser, or go on with one.

    Args:
        data: Latents of the canvases "square" and "wide".
        tokenizer: Of the captions.
        settings: How.
        device: Where data and models are.
        denoiser: Where to start; new models by default. They are changed in place.
        on_snapshot: Gets a copy of the models with the running mean, every `snapshot_seconds`.
        most_steps: Stop earlier, after so many steps.

    Returns:
        The models with the running mean of their weights, and the record of the training.
    """
    torch.manual_seed(settings.seed)
    start = denoiser or Denoiser(new_unet(), new_text_encoder(tokenizer))
    unet = on_device(start.unet, device).train()
    text_encoder = on_device(start.text_encoder, device).train()
    descent = Descent(
        [(unet.parameters(), settings.learning_rate), (text_encoder.parameters(), settings.text_learning_rate)],
        weight_decay=settings.weight_decay,
        ema_decay=settings.ema_decay,
    )
    loss_of = VPrediction(unet, text_encoder, settings, device)

    def step(x: Tensor, coverage: Tensor, ids: Tensor, timesteps: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return loss_of(x, coverage, ids, timesteps, noise)

    compiled = torch.compile(step, dynamic=False) if settings.compile else step
    empty = token_ids(tokenizer, [""]).long().to(device)
    watch = Stopwatch(settings.seconds)
    next_snapshot = settings.snapshot_seconds
    mean_error, seen = torch.zeros((), device=device), 0
    while watch.progress < 1 and watch.steps < (most_steps or math.inf):
        wide = watch.steps % settings.wide_every == settings.wide_every - 1
        batch_size = settings.wide_batch if wide else settings.square_batch
        latents, coverage, ids = _draw(data["wide" if wide else "square"], batch_size, device)
        dropped = torch.rand(batch_size, 1, device=device) < settings.caption_dropout
        timesteps = torch.randint(NOISE_SCHEDULE["num_train_timesteps"], (batch_size,), device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss, error = compiled(
                latents, coverage, torch.where(dropped, empty, ids), timesteps, torch.randn_like(latents)
            )
        descent.step(loss, watch.rate_factor(warm_up_steps=150, flat=0.3))
        watch.count(batch_size)
        mean_error, seen = mean_error + error.detach(), seen + 1
        if watch.steps == WARM_STEPS or watch.due():
            log.info(
                "denoiser step %d: error %.4f, %.0f pictures/s",
                watch.steps,
                mean_error / seen,
                watch.pictures_per_second,
            )
            mean_error, seen = torch.zeros((), device=device), 0
        if on_snapshot and watch.elapsed_seconds > next_snapshot and watch.progress < 0.97:
            next_snapshot = watch.elapsed_seconds + settings.snapshot_seconds
            on_snapshot(_mean_copy(Denoiser(unet, text_encoder), descent))
    descent.take_ema()
    return Denoiser(unet.eval(), text_encoder.eval()), watch.record()


def _draw(source: LatentPictures, batch_size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    rows = torch.randint(len(source.latents), (batch_size,), device=device)
    wording = torch.randint(len(source.ids), (batch_size,), device=device)
    latents = source.latents[rows].float().contiguous(memory_format=torch.channels_last)
    return latents, source.coverage[rows].float() / 255, source.ids[wording, rows].long()


@torch.no_grad()
def _mean_copy(denoiser: Denoiser, descent: Descent) -> Denoiser:
    unet = new_unet()
    text_encoder = CLIPTextModel(denoiser.text_encoder.config)
    for parameter, mean in zip([*unet.parameters(), *text_encoder.parameters()], descent.ema, strict=True):
        parameter.copy_(mean.cpu())
    return Denoiser(unet, text_encoder)


def main() -> None:
    """Command line: a tiny training that shows that everything runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few steps on a CPU", required=True)
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    world = smoke_world()
    pictures = {name: render_pictures(*world, 16, size_px=size, seed=1) for name, size in CANVASES_PX.items()}
    order = CaptionOrder(world.library, {name: part.plans for name, part in pictures.items()}, 2, 1)
    vae = new_vae().eval()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train_tokenizer(Path(folder) / "tokenizer")
        captions = write_captions(order, tokenizer, processes=1)
        data = {name: latent_pictures(vae, part, captions.scenes[name]) for name, part in pictures.items()}
        settings = DenoiserSettings(seconds=options.seconds, square_batch=4, wide_batch=2, compile=False)
        _, record = train_denoiser(data, tokenizer, settings, device=torch.device("cpu"))
    print(record)


if __name__ == "__main__":
    main()
