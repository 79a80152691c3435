"""The toybox VAE: pictures to latents of a quarter of the size and back.

    python -m spectral_diffusion.toybox.train_vae --smoke

The shipped one is trained by `pretrain`, 300 s of one H100 on pre-rendered pictures. Loss: absolute error of the values
and of their horizontal and vertical differences, more of it on toys, plus a trace of KL (Rombach et al. 2022, without
the adversarial part). In the end the per-channel mean and deviation of the latents are folded into the convolutions
beside them, so that latents have mean 0 and variance 1 and `scaling_factor` is 1.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.architecture import (
    CANVASES_PX,
    LATENT_CHANNELS,
    LATENT_STRIDE_PX,
    SQUARE_PX,
    new_vae,
    on_device,
)
from spectral_diffusion.toybox.pictures import Pictures, as_signal, render_pictures, smoke_world
from spectral_diffusion.toybox.stopwatch import WARM_STEPS, Descent, Stopwatch, log


@dataclass(frozen=True)
class VaeSettings:
    """How the VAE is trained.

    Args:
        seconds: Time, compilation included.
        batch_size: Pictures a step.
        learning_rate: Highest rate of AdamW.
        toy_weight: Further weight of the error on toys.
        detail_weight: Further weight where the picture is busy (faces, marks, patterns), on toys.
        gradient_weight: Of the differences between neighbours.
        kl_weight: Of the KL divergence from a unit Gaussian.
        seed: Of everything random.
        compile: Whether to compile the step, which pays on a GPU.
    """

    seconds: float = 300.0
    batch_size: int = 48
    learning_rate: float = 8e-4
    toy_weight: float = 3.0
    detail_weight: float = 6.0
    gradient_weight: float = 0.5
    kl_weight: float = 1e-5
    seed: int = 0
    compile: bool = True


def reconstruction_loss(
    vae: AutoencoderKL, images: Tensor, coverage: Tensor, noise: Tensor, settings: VaeSettings
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and its mean squared error.

    Args:
        vae: The model.
        images: (b, 3, h, w) in [-1, 1].
        coverage: (b, 1, h, w) in [0, 1], where toys are.
        noise: (b, 4, h/4, w/4), of the latents' posterior.
        settings: Weights of the terms.
    """
    posterior = vae.encode(images).latent_dist
    latents = posterior.mean + torch.exp(0.5 * posterior.logvar) * noise
    error = vae.decode(latents).sample.float() - images
    around = torch.nn.functional.avg_pool2d(images, 9, stride=1, padding=4, count_include_pad=False)
    detail = (images - around).abs().mean(1, keepdim=True)
    weight = 1 + coverage * (settings.toy_weight + settings.detail_weight * detail)
    across = ((error[..., 1:] - error[..., :-1]).abs() * weight[..., 1:]).mean()
    down = ((error[..., 1:, :] - error[..., :-1, :]).abs() * weight[..., 1:, :]).mean()
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    loss = (error.abs() * weight).mean() + settings.gradient_weight * (across + down) + settings.kl_weight * kl
    return loss, (error**2).mean()


def train_vae(
    pictures: Sequence[Pictures],
    settings: VaeSettings,
    *,
    device: torch.device,
    vae: AutoencoderKL | None = None,
    most_steps: int | None = None,
) -> tuple[AutoencoderKL, dict[str, float]]:
    """Train a VAE, or go on with one.

    Args:
        pictures: Of each canvas; wider ones are cut to squares at random, which a convolutional model does not mind.
        settings: How.
        device: Where the model and the pictures are.
        vae: Where to start; a new model by default. It is changed in place.
        most_steps: Stop earlier, after so many steps.

    Returns:
        The model with folded latents, and the record of its training.
    """
    torch.manual_seed(settings.seed)
    model = on_device(vae or new_vae(), device).train()
    descent = Descent([(model.parameters(), settings.learning_rate)])
    side = SQUARE_PX[0]
    noise_shape = (settings.batch_size, LATENT_CHANNELS, side // LATENT_STRIDE_PX, side // LATENT_STRIDE_PX)

    def step(images: Tensor, coverage: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return reconstruction_loss(model, images, coverage, noise, settings)

    compiled = torch.compile(step, dynamic=False) if settings.compile else step
    watch = Stopwatch(settings.seconds)
    error = torch.zeros((), device=device)
    while watch.progress < 1 and watch.steps < (most_steps or math.inf):
        source = pictures[0 if watch.steps % 3 or len(pictures) == 1 else 1]
        rows = torch.randint(len(source), (settings.batch_size,), device=device)
        images, coverage = _square(*source.batch(rows), side)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss, error = compiled(images, coverage, torch.randn(noise_shape, device=device))
        descent.step(loss, watch.rate_factor(warm_up_steps=100, flat=0.3))
        watch.count(settings.batch_size)
        if watch.steps == WARM_STEPS or watch.due():
            log.info(
                "vae step %d: %.2f dB, %.0f pictures/s", watch.steps, decibel(error.detach()), watch.pictures_per_second
            )
    model.eval()
    fold_statistics(model, encode(model, pictures[0].images[:20_000]))
    return model, watch.record()


def _square(images: Tensor, coverage: Tensor, side: int) -> tuple[Tensor, Tensor]:
    spare = images.shape[-1] - side
    if not spare:
        return images, coverage
    start = int(torch.randint(spare // 2 + 1, ())) * 2
    cut = images[..., start : start + side].contiguous(memory_format=torch.channels_last)
    return cut, coverage[..., start : start + side].contiguous()


def decibel(squared_error: Tensor | float) -> float:
    """Peak signal-to-noise ratio of values in [-1, 1]: 10 log10(4 / mean squared error)."""
    return 10 * math.log10(4 / max(float(squared_error), 1e-12))


@torch.no_grad()
def encode(vae: AutoencoderKL, images: Tensor, batch_size: int = 500) -> Tensor:
    """Latents (posterior means) of uint8 pictures, fp16, computed in bf16 on a GPU and in fp32 on a CPU."""
    latents = []
    for part in images.split(batch_size):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=images.device.type == "cuda"):
            latents.append(vae.encode(as_signal(part)).latent_dist.mean.half())
    return torch.cat(latents)


@torch.no_grad()
def fold_statistics(vae: AutoencoderKL, latents: Tensor) -> None:
    """Rescale the latent space to mean 0 and deviation 1 per channel, without changing any reconstruction.

    With z' = (z - m) / s, the last encoder convolution gives z' (its log-variance falls by 2 log s), and the first
    decoder convolution takes s z' + m.

    Args:
        vae: Changed in place.
        latents: (n, 4, h, w), of this VAE.

    Raises:
        InputError: The VAE has no convolutions beside its latents.
    """
    mean = latents.float().mean((0, 2, 3))
    deviation = latents.float().std((0, 2, 3))
    count = len(mean)
    out, into = vae.quant_conv, vae.post_quant_conv
    if out is None or into is None or out.bias is None or into.bias is None:
        raise InputError(
            "the VAE has no convolutions beside its latents", "use one with quant_conv and post_quant_conv"
        )
    out.weight[:count] /= deviation[:, None, None, None]
    out.bias[:count] = (out.bias[:count] - mean) / deviation
    out.bias[count:] -= 2 * deviation.log()
    into.bias += into.weight[:, :, 0, 0] @ mean
    into.weight *= deviation[None, :, None, None]


def main() -> None:
    """Command line: a tiny training that shows that everything runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few steps on a CPU", required=True)
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    world = smoke_world()
    pictures = [render_pictures(*world, 24, size_px=size, seed=1) for size in CANVASES_PX.values()]
    settings = VaeSettings(seconds=options.seconds, batch_size=4, compile=False)
    vae, record = train_vae(pictures, settings, device=torch.device("cpu"))
    latents = encode(vae, pictures[0].images)
    print(f"{record}, latents: mean {latents.float().mean():.3f}, deviation {latents.float().std():.3f}")


if __name__ == "__main__":
    main()
