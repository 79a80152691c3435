"""How good the trained parts are, measured on pictures that training never saw.

    python -m spectral_diffusion.toybox.judges spectral_diffusion/toybox/weights

Fidelity is the signal-to-noise ratio of the VAE over whole scenes and inside toys. Faithfulness asks the toy CLIP to
find a picture's own caption among all others and among variants of itself that are wrong in one thing: a colour, a
kind, the order of the toys, the background. Rendered scenes go through the same test, so that the scorer's own limit
is known.
"""

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from spectral_diffusion.toybox.architecture import CANVASES_PX, on_device
from spectral_diffusion.toybox.backgrounds import BACKGROUNDS
from spectral_diffusion.toybox.pictures import World, as_signal, build_world
from spectral_diffusion.toybox.pretraining import SceneBatch, captions_of, sample_batch
from spectral_diffusion.toybox.toy import COLOURS, FACED_KINDS, FACES, KINDS, PATTERNS
from spectral_diffusion.toybox.train_clip import whole
from spectral_diffusion.toybox.train_vae import decibel

JUDGE_SEED = 20_001
"""Seed of the judges' world; pretraining uses small ones."""

STEPS = 20
GUIDANCE_SCALE = 4.0


def judging_world(device: torch.device | str, toys_per_kind: int = 12) -> World:
    """Toys and backgrounds that training never saw."""
    return build_world(
        toys_per_kind=toys_per_kind, views=1, backgrounds_per_kind=4, seed=JUDGE_SEED, device=device
    )  # fmt: skip


def fresh_scenes(world: World, count: int, canvas: str, seed: int = JUDGE_SEED) -> SceneBatch:
    """Scenes of one to three toys, one third each."""
    width_px, height_px = CANVASES_PX[canvas]
    return sample_batch(
        world.library,
        world.backgrounds,
        count,
        width_px=width_px,
        height_px=height_px,
        toys_per_scene=(1.0, 1.0, 1.0),
        generator=torch.Generator().manual_seed(seed),
    )


@torch.no_grad()
def fidelity(vae: AutoencoderKL, scenes: SceneBatch, batch_size: int = 64) -> dict[str, float]:
    """Signal-to-noise ratios in dB of encoding and decoding, from the mean squared error over all pictures.

    Args:
        vae: In the precision it will be used with.
        scenes: On the same device.
        batch_size: Pictures at once.

    Returns:
        `scenes_db` over whole pictures, `toys_db` over pixels weighted with their share of toy.
    """
    whole_error = toys_error = torch.zeros((), dtype=torch.float64)
    pixels = covered = 0.0
    for images, masks in zip(scenes.images.split(batch_size), scenes.masks.split(batch_size), strict=True):
        signal = as_signal(images)
        again = vae.decode(vae.encode(signal.to(vae.dtype)).latent_dist.mean).sample.float().clamp(-1, 1)
        squared = (again - signal).double() ** 2
        share = masks.amax(1, keepdim=True).double() / 255
        whole_error = whole_error + squared.sum().cpu()
        toys_error = toys_error + (squared * share).sum().cpu()
        pixels += squared.numel()
        covered += 3 * float(share.sum())
    return {
        "scenes_db": round(decibel(whole_error / pixels), 2),
        "toys_db": round(decibel(toys_error / max(covered, 1)), 2),
    }


@torch.no_grad()
def reconstruction_sheet(vae: AutoencoderKL, scenes: SceneBatch, count: int = 16) -> Image.Image:
    """Scenes above their reconstructions."""
    again = vae.decode(vae.encode(as_signal(scenes.images[:count])).latent_dist.mean).sample.float()
    pictures = ((again.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    rows = zip(scenes.images[:count].split(8), pictures.split(8), strict=True)
    return contact_sheet([picture for pair in rows for part in pair for picture in part])


@dataclass(frozen=True)
class JudgedPrompt:
    """A prompt with known content, and the ways to get it wrong.

    Args:
        text: What is drawn.
        canvas: "square" or "wide".
        wrong: The same in words, but for one thing.
    """

    text: str
    canvas: str
    wrong: tuple[str, ...]


def judged_prompts(count: int = 64, seed: int = 0) -> list[JudgedPrompt]:
    """Prompts of one, two and three toys in turn, on both canvases, every kind among them."""
    rng = random.Random(seed)
    kinds: list[str] = []
    prompts = []
    for number in range(count):
        toys: list[list[str]] = []
        for _ in range(1 + number % 3):
            if not kinds:
                kinds = rng.sample(KINDS, len(KINDS))
            kind = kinds.pop()
            colour = rng.choice([name for name in COLOURS if name not in {toy[1] for toy in toys}])
            toys.append([_manner(kind, rng), colour, kind])
        background = rng.choice(BACKGROUNDS)
        prompts.append(
            JudgedPrompt(_said(toys, background), "wide" if number % 2 else "square", _errors(toys, background, rng))
        )
    return prompts


def _manner(kind: str, rng: random.Random) -> str:
    chance = rng.random()
    if chance < 0.35 and kind in FACED_KINDS:
        return rng.choice(FACES)
    return rng.choice(PATTERNS[1:]) if chance > 0.75 else ""


def _said(toys: Sequence[Sequence[str]], background: str) -> str:
    named = [" ".join(word for word in toy if word) for toy in toys]
    named = [f"an {toy}" if toy[0] in "aeiou" else f"a {toy}" for toy in named]
    return f"a photo of {' and '.join(named)} {background}"


def _errors(toys: list[list[str]], background: str, rng: random.Random) -> tuple[str, ...]:
    wrong = []
    for place in range(len(toys)):
        for field, names in ((1, tuple(COLOURS)), (2, KINDS)):
            other = [list(toy) for toy in toys]
            other[place][field] = rng.choice([name for name in names if name not in {toy[field] for toy in toys}])
            other[place][0] = toys[place][0] if other[place][2] in FACED_KINDS else ""
            wrong.append(_said(other, background))
    if len(toys) > 1:
        wrong.append(_said(toys[::-1], background))
        swapped = [list(toy) for toy in toys]
        swapped[0][1], swapped[1][1] = swapped[1][1], swapped[0][1]
        wrong.append(_said(swapped, background))
    wrong.append(_said(toys, rng.choice([name for name in BACKGROUNDS if name != background])))
    return tuple(wrong)


def draw(
    folder: Path, prompts: Sequence[JudgedPrompt], device: torch.device | str, *, seed: int = 0, batch_size: int = 16
) -> list[Tensor]:
    """Draw prompts with plain diffusers from a folder of weights: uint8 (3, h, w) each, in order."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder).to(device)
    pipeline.set_progress_bar_config(disable=True)
    drawn: dict[int, Tensor] = {}
    for canvas, (width_px, height_px) in CANVASES_PX.items():
        rows = [row for row, prompt in enumerate(prompts) if prompt.canvas == canvas]
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            images = pipeline(
                [prompts[row].text for row in part],
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE_SCALE,
                width=width_px,
                height=height_px,
                generator=[torch.Generator().manual_seed(seed + row) for row in part],
                output_type="pt",
            ).images
            for row, image in zip(part, images.float().mul(255).round().to(torch.uint8).cpu(), strict=True):
                drawn[row] = image
    return [drawn[row] for row in range(len(prompts))]


class ToyClip:
    """The trained scorer, read as open_clip reads it.

    Args:
        folder: Of the scorer.
        device: Where it works.
    """

    def __init__(self, folder: Path, device: torch.device | str) -> None:
        name = f"local-dir:{folder}"
        self._model: Any = open_clip.create_model(name).to(device).eval()
        self._tokenizer: Any = open_clip.get_tokenizer(name)
        self._device = device

    @torch.no_grad()
    def embed_images(self, images: Sequence[Tensor]) -> Tensor:
        """uint8 (3, h, w) each, of any size, to unit vectors (n, 192)."""
        return self.embed_squares(torch.cat([whole(image[None].to(self._device)) for image in images]))

    @torch.no_grad()
    def embed_squares(self, squares: Tensor) -> Tensor:
        """Signals (n, 3, 128, 128) in [-1, 1] to unit vectors (n, 192)."""
        return F.normalize(self._model.encode_image(squares.to(self._device)).float(), dim=-1)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts to unit vectors (n, 192)."""
        return F.normalize(self._model.encode_text(self._tokenizer(list(texts)).to(self._device)).float(), dim=-1)


def faithfulness(clip: ToyClip, images: Sequence[Tensor], prompts: Sequence[JudgedPrompt]) -> dict[str, float]:
    """Shares of pictures that are nearest to their own prompt among all prompts, and among its wrong variants."""
    seen = clip.embed_images(images)
    said = clip.embed_texts([prompt.text for prompt in prompts])
    found = (seen @ said.T).argmax(1).cpu() == torch.arange(len(prompts))
    right = [
        float(image @ text) > float((clip.embed_texts(prompt.wrong) @ image).max())
        for image, text, prompt in zip(seen, said, prompts, strict=True)
    ]
    alignment = (seen * said).sum(1).mean()
    return {
        "own_prompt_first": round(float(found.float().mean()), 3),
        "right_among_wrong_variants": round(sum(right) / len(right), 3),
        "alignment": round(float(alignment), 3),
    }


def render_recall(clip: ToyClip, world: World, count: int = 256) -> dict[str, float]:
    """The scorer's own limit: how often a fresh render finds its caption, and a caption its render, among `count`."""
    scenes = fresh_scenes(world, count, "square", JUDGE_SEED + 1)
    seen = torch.cat([clip.embed_images(list(part)) for part in scenes.images.split(64)])
    said = clip.embed_texts(captions_of(world.library, scenes.plan, random.Random(0)))
    likeness, own = seen @ said.T, torch.arange(count, device=seen.device)
    return {
        "caption_found": round(float((likeness.argmax(1) == own).float().mean()), 3),
        "render_found": round(float((likeness.argmax(0) == own).float().mean()), 3),
    }


def contact_sheet(images: Sequence[Tensor], columns: int = 8) -> Image.Image:
    """Pictures (3, h, w) uint8 in rows, each on a tile of the widest and highest."""
    height, width = max(image.shape[1] for image in images), max(image.shape[2] for image in images)
    rows = -(-len(images) // columns)
    sheet = torch.full((3, rows * height, columns * width), 255, dtype=torch.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * height, number % columns * width
        sheet[:, top : top + image.shape[1], left : left + image.shape[2]] = image.cpu()
    return Image.fromarray(sheet.permute(1, 2, 0).contiguous().numpy())


def judge(
    folder: Path, world: World, device: torch.device | str, *, scenes: int = 512, prompts: int = 64
) -> Mapping[str, Any]:
    """All measures of a finished base; writes its judged pictures to `samples.png` in the folder.

    Args:
        folder: The weights, with `clip/`.
        world: As from `judging_world`.
        device: Where to measure.
        scenes: Fresh renders per canvas for the fidelity.
        prompts: Prompts to draw.
    """
    vae = on_device(AutoencoderKL.from_pretrained(folder / "vae"), device).eval()
    measures: dict[str, Any] = {
        f"vae_{canvas}": fidelity(vae, fresh_scenes(world, scenes, canvas)) for canvas in CANVASES_PX
    }
    judged = judged_prompts(prompts)
    drawn = draw(folder, judged, device)
    contact_sheet(drawn).save(folder / "samples.png")
    clip = ToyClip(folder / "clip", device)
    measures["clip_on_renders"] = render_recall(clip, world, min(256, scenes))
    measures["drawn"] = faithfulness(clip, drawn, judged)
    return measures


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--scenes", type=int, default=128, help="fresh renders per canvas")
    options = parser.parse_args()
    world = judging_world(options.device, toys_per_kind=4)
    measures = judge(options.folder, world, options.device, scenes=options.scenes)
    sys.stdout.write(json.dumps(measures, indent=2) + "\n")


if __name__ == "__main__":
    main()
