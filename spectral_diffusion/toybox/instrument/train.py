"""The recipe of the instrument: a world with held-out marks and twins, the finder and the reader.

    python -m spectral_diffusion.toybox.instrument.train --out FOLDER

Pictures are renders; a part of them goes through the base's VAE and back, because what is judged later came out of it.
Each part is written as soon as it is trained. `--smoke` runs all of it in small on a CPU.
"""

import argparse
import json
import logging
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor, nn

from spectral_diffusion.toybox.architecture import CANVASES_PX, half_precision, on_device
from spectral_diffusion.toybox.instrument.attributes import labels_of
from spectral_diffusion.toybox.instrument.exam import examine
from spectral_diffusion.toybox.instrument.finder import ToyFinder, aims_of, finding_loss
from spectral_diffusion.toybox.instrument.judged_toys import sample_judged_toys
from spectral_diffusion.toybox.instrument.reader import ToyReader, cut_squares, reading_loss
from spectral_diffusion.toybox.pictures import Pictures, World, as_signal, render_pictures
from spectral_diffusion.toybox.pretrain import prepare_device
from spectral_diffusion.toybox.pretraining import build_backgrounds, draw_library
from spectral_diffusion.toybox.stopwatch import Descent, Stopwatch, log
from spectral_diffusion.toybox.toy import Toy
from spectral_diffusion.workspace import write_atomically

SPRITE_PX = 128
LEAST_PX = 20
"""Toys whose box is narrower or lower teach the reader nothing."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the instrument.

    Args:
        finder_seconds, reader_seconds: For training.
        twins_per_kind, backgrounds_per_kind: Of the world. A reader that sees few toys learns them by heart.
        square_pictures, wide_pictures: Rendered for training.
        decoded: Share of the pictures that goes through the VAE.
        finder_batch, reader_batch: Pictures and toys a step.
        most_steps: Ends every part after so many steps; for trials.
        examined: Fresh twins of each kind in the exam.
        seed: Of everything random.
    """

    finder_seconds: float = 70.0
    reader_seconds: float = 200.0
    twins_per_kind: int = 2000
    backgrounds_per_kind: int = 80
    square_pictures: int = 110_000
    wide_pictures: int = 60_000
    decoded: float = 0.35
    finder_batch: int = 192
    reader_batch: int = 512
    most_steps: int | None = None
    examined: int = 24
    seed: int = 7


SMOKE = Recipe(
    finder_seconds=5,
    reader_seconds=5,
    twins_per_kind=1,
    backgrounds_per_kind=1,
    square_pictures=24,
    wide_pictures=12,
    finder_batch=4,
    reader_batch=4,
    most_steps=2,
    examined=1,
)


def judged_world(recipe: Recipe, device: torch.device) -> World:
    """Toys with everything that can be read, each even one followed by its twin."""
    generator = torch.Generator().manual_seed(recipe.seed)
    toys = sample_judged_toys(recipe.twins_per_kind, generator)
    library = draw_library(toys, generator, device, sprite_px=SPRITE_PX)
    return World(library, build_backgrounds(recipe.backgrounds_per_kind, recipe.seed, device))


@torch.no_grad()
def decode_some(pictures: Pictures, vae: AutoencoderKL, share: float, batch_size: int = 256) -> None:
    """Replace the first pictures by what the VAE makes of them."""
    device = pictures.images.device
    for start in range(0, int(len(pictures) * share), batch_size):
        rows = slice(start, min(start + batch_size, int(len(pictures) * share)))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            again = vae.decode(vae.encode(as_signal(pictures.images[rows])).latent_dist.sample()).sample
        pictures.images[rows] = ((again.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def train_network(
    network: nn.Module, step: Callable[[], tuple[Tensor, int]], seconds: float, name: str, most_steps: int | None
) -> dict[str, float]:
    """Descend along the loss that `step` gives, with how many pictures it saw, until the time is over."""
    descent = Descent([(network.parameters(), 2e-3)], weight_decay=0.02)
    watch = Stopwatch(seconds)
    loss = torch.zeros(())
    while watch.progress < 1 and watch.steps < (most_steps or math.inf):
        loss, count = step()
        descent.step(loss, watch.rate_factor(warm_up_steps=100, flat=0.2))
        watch.count(count)
        if watch.due():
            log.info("%s step %d: loss %.4f, %.0f/s", name, watch.steps, loss.detach(), watch.pictures_per_second)
    network.eval()
    return watch.record() | {"loss": round(float(loss.detach()), 4)}


def train_finder(pictures: dict[str, Pictures], recipe: Recipe, device: torch.device) -> tuple[ToyFinder, dict]:
    """A network that says where toys are."""
    finder = on_device(ToyFinder(), device).train()
    canvases = list(pictures.values())
    turn = 0

    def step() -> tuple[Tensor, int]:
        nonlocal turn
        source = canvases[turn % len(canvases)]
        turn += 1
        assert source.masks is not None
        rows = torch.randint(len(source), (recipe.finder_batch,), device=device)
        images, masks = source.images[rows], source.masks[rows]
        if turn % 4 < 2:
            images, masks = images.flip(-1), masks.flip(-1)
        signal = roughen(as_signal(images))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            seen = finder(signal)
        return finding_loss(type(seen)(*(part.float() for part in seen)), aims_of(masks)), len(rows)

    return finder, train_network(finder, step, recipe.finder_seconds, "finder", recipe.most_steps)


def train_reader(
    pictures: dict[str, Pictures], toys: list[Toy], recipe: Recipe, device: torch.device
) -> tuple[ToyReader, dict]:
    """A network that says what a toy looks like."""
    reader = on_device(ToyReader(), device).train()
    labels = torch.stack([labels_of(toy) for toy in toys]).to(device)
    appearances = []
    for part in pictures.values():
        sides = (part.boxes[..., 2:] - part.boxes[..., :2]).amin(-1)
        appearances.append((part, *((part.toy_ids >= 0) & (sides >= LEAST_PX)).nonzero(as_tuple=True)))
    turn = 0

    def step() -> tuple[Tensor, int]:
        nonlocal turn
        part, scene, place = appearances[turn % len(appearances)]
        turn += 1
        chosen = torch.randint(len(scene), (recipe.reader_batch,), device=device)
        scene, place = scene[chosen], place[chosen]
        assert part.masks is not None
        count = len(chosen)
        squares = cut_squares(
            part.images[scene],
            part.masks[scene, place],
            part.boxes[scene, place],
            1.02 + 0.4 * torch.rand(count, device=device),
            0.05 * torch.randn(count, 2, device=device),
        )
        squares = torch.cat([roughen(squares[:, :3]), blotted(squares[:, 3:])], 1)
        if turn % 4 < 2:
            squares = squares.flip(-1)
        squares = squares.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = reader(squares)
        return reading_loss(logits, labels[part.toy_ids[scene, place].long()]), count

    return reader, train_network(reader, step, recipe.reader_seconds, "reader", recipe.most_steps)


def roughen(signal: Tensor) -> Tensor:
    """Pictures in [-1, 1] a little brighter or darker, with more or less contrast, some softened, some with noise."""
    count, device = len(signal), signal.device

    def each(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, device=device)

    soft = torch.nn.functional.avg_pool2d(signal, 3, 1, 1, count_include_pad=False)
    signal = torch.lerp(signal, soft, each(-0.6, 0.8).clamp(min=0))
    signal = signal * each(0.88, 1.12) + each(-0.08, 0.08)
    return (signal + torch.randn_like(signal) * each(-0.05, 0.05).clamp(min=0)).clamp(-1, 1)


def blotted(masks: Tensor) -> Tensor:
    """Masks in [-1, 1] as a finder gives them: hard, a little too large or too small; some are a full square."""
    count, device = len(masks), masks.device
    soft = torch.nn.functional.avg_pool2d(masks, 5, 1, 2, count_include_pad=False)
    bound = 0.9 * torch.rand(count, 1, 1, 1, device=device) - 0.45
    full = torch.rand(count, 1, 1, 1, device=device) < 0.1
    return torch.where((soft > bound) | full, 1.0, -1.0)


def save_network(network: nn.Module, path: Path) -> None:
    """Write a network in fp16."""
    tensors = half_precision(network)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda beside: save_file(tensors, beside))


def run(recipe: Recipe, out: Path, weights: Path, device: torch.device) -> dict[str, Any]:
    """The whole recipe.

    Args:
        recipe: What to do.
        out: Gets `finder.safetensors`, `reader.safetensors` and `metrics.json`.
        weights: The base's folder: its VAE is used.
        device: Where to train.
    """
    started = time.monotonic()
    torch.manual_seed(recipe.seed)
    metrics: dict[str, Any] = {}

    def note(name: str, value: Any) -> None:
        metrics[name] = value
        log.info("%.0f s, %s: %s", time.monotonic() - started, name, json.dumps(value))
        text = json.dumps(metrics, indent=1) + "\n"
        write_atomically(out / "metrics.json", lambda path: path.write_text(text))

    out.mkdir(parents=True, exist_ok=True)
    world = judged_world(recipe, device)
    toys = [toy for toy in world.library.toys if isinstance(toy, Toy)]
    note("toys", len(toys))
    counts = {"square": recipe.square_pictures, "wide": recipe.wide_pictures}
    pictures = {
        name: render_pictures(*world, counts[name], size_px=size, seed=recipe.seed + number, with_masks=True)
        for number, (name, size) in enumerate(CANVASES_PX.items())
    }
    vae = on_device(AutoencoderKL.from_pretrained(weights / "vae"), device).eval()
    for part in pictures.values():
        decode_some(part, vae, recipe.decoded, 256 if device.type == "cuda" else 4)
    note("pictures", counts)
    finder, record = train_finder(pictures, recipe, device)
    save_network(finder, out / "finder.safetensors")
    note("finder", record)
    reader, record = train_reader(pictures, toys, recipe, device)
    save_network(reader, out / "reader.safetensors")
    note("reader", record)
    note("exam", examine(finder, reader, device, twins_per_kind=recipe.examined))
    return metrics


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder of what is trained")
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "weights", help="of the base")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name in (f.name for f in fields(Recipe)):
        default = getattr(Recipe, name)
        parser.add_argument(f"--{name}", type=int if default is None else type(default), default=default)
    parser.add_argument("--smoke", action="store_true", help="everything in small, on a CPU")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    log.setLevel(logging.INFO)
    if options.smoke:
        with tempfile.TemporaryDirectory() as temporary:
            run(SMOKE, options.out or Path(temporary), options.weights, torch.device("cpu"))
        return
    device = torch.device(options.device)
    prepare_device(device)
    run(Recipe(**{f.name: getattr(options, f.name) for f in fields(Recipe)}), options.out, options.weights, device)


if __name__ == "__main__":
    main()
