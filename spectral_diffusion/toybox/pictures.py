"""Pictures for pretraining: rendered once, kept on the GPU as bytes, their captions as token ids.

Writing captions is Python's work and rendering the GPU's, so captions are written by a second process while the first
one already trains on the pictures.

    python -m spectral_diffusion.toybox.pictures --captions FOLDER --tokenizer FOLDER
"""

import argparse
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPTokenizer

from spectral_diffusion.toybox.architecture import TEXT_LENGTH
from spectral_diffusion.toybox.phrases import describe
from spectral_diffusion.toybox.pretraining import (
    ScenePlan,
    ToyLibrary,
    build_backgrounds,
    build_library,
    captions_of,
    render_plan,
    sample_plan,
)
from spectral_diffusion.toybox.sprites import Sprites
from spectral_diffusion.toybox.train_tokenizer import ORDINARY_WORDS, world_words

TOYS_PER_SCENE = (0.30, 0.30, 0.40)
"""Shares of scenes with one, two and three toys: more threes than the demo needs, so that order and colours bind."""

_PLAN_CHUNK = 2048
_RENDER_CHUNK = 256


@dataclass(frozen=True)
class Pictures:
    """Pictures of one canvas.

    Args:
        images: uint8 (n, 3, h, w).
        coverage: uint8 (n, 1, h/2, w/2), 255 where a toy is.
        boxes: int16 (n, 3, 4), x0, y0, x1, y1 in px of each toy, x1 and y1 behind the last one; zeros for no toy.
        toy_ids: int32 (n, 3), rows of the library; -1 for no toy.
        plans: What the scenes hold, in chunks, for their captions.
        masks: uint8 (n, 3, h, w), visible share of each toy by 255; None where they were not asked for.
    """

    images: Tensor
    coverage: Tensor
    boxes: Tensor
    toy_ids: Tensor
    plans: list[ScenePlan]
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Images (b, 3, h, w) in [-1, 1] and their toys' coverage (b, 1, h, w) in [0, 1], float32."""
        coverage = self.coverage[rows].float() / 255
        return as_signal(self.images[rows]), F.interpolate(coverage, scale_factor=2.0, mode="nearest")


def as_signal(images: Tensor) -> Tensor:
    """uint8 pictures as float32 in [-1, 1], channels last."""
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def render_pictures(
    library: ToyLibrary,
    backgrounds: Tensor,
    count: int,
    *,
    size_px: tuple[int, int],
    seed: int,
    toys_per_scene: tuple[float, float, float] = TOYS_PER_SCENE,
    with_masks: bool = False,
) -> Pictures:
    """Render `count` pictures of `size_px` (width, height) on the backgrounds' device."""
    width_px, height_px = size_px
    device = backgrounds.device
    generator = torch.Generator().manual_seed(seed)
    images = torch.empty(count, 3, height_px, width_px, dtype=torch.uint8, device=device)
    coverage = torch.empty(count, 1, height_px // 2, width_px // 2, dtype=torch.uint8, device=device)
    boxes = torch.empty(count, 3, 4, dtype=torch.int16, device=device)
    toy_ids = torch.empty(count, 3, dtype=torch.int32, device=device)
    masks = torch.empty_like(images) if with_masks else None
    plans = []
    for start in range(0, count, _PLAN_CHUNK):
        plan = sample_plan(
            library,
            backgrounds.shape[1],
            min(_PLAN_CHUNK, count - start),
            width_px=width_px,
            height_px=height_px,
            toys_per_scene=toys_per_scene,
            generator=generator,
        )
        batch = render_plan(library, backgrounds, plan, width_px=width_px, height_px=height_px, chunk=_RENDER_CHUNK)
        rows = slice(start, start + len(batch.images))
        images[rows] = batch.images
        coverage[rows] = F.avg_pool2d(batch.masks.amax(1, keepdim=True).float(), 2).round().to(torch.uint8)
        boxes[rows] = boxes_of(batch.masks)
        if masks is not None:
            masks[rows] = batch.masks
        toy_ids[rows] = plan.sprite.div(library.views, rounding_mode="floor").to(device=device, dtype=torch.int32)
        plans.append(plan._replace(keypoints=plan.keypoints[:, :, :0]))
    return Pictures(images, coverage, boxes, toy_ids, plans, masks)


class World(NamedTuple):
    """Toys and backgrounds, drawn once."""

    library: ToyLibrary
    backgrounds: Tensor


def build_world(
    *, toys_per_kind: int, views: int, backgrounds_per_kind: int, seed: int, device: torch.device | str
) -> World:
    """Draw the sprites and backgrounds from which scenes are composed."""
    library = build_library(toys_per_kind, seed, device, views=views)
    return World(library, build_backgrounds(backgrounds_per_kind, seed, device))


def smoke_world(device: torch.device | str = "cpu") -> World:
    """A handful of toys and one background a kind: enough to see that a script runs."""
    library = build_library(2, 0, device, sprite_px=64, kinds=("ball", "cup", "vase", "car"))
    return World(library, build_backgrounds(1, 0, device, width_px=192, height_px=128))


def boxes_of(masks: Tensor) -> Tensor:
    """The smallest boxes around what is more than half covered: uint8 (n, 3, h, w) to int16 (n, 3, 4)."""
    inside = masks > 127
    columns, rows = inside.any(2), inside.any(3)

    def ends(line: Tensor) -> tuple[Tensor, Tensor]:
        length = line.shape[-1]
        line = line.to(torch.uint8)
        first = line.argmax(-1)
        behind = length - line.flip(-1).argmax(-1)
        anything = line.amax(-1) > 0
        return first * anything, behind * anything

    (x0, x1), (y0, y1) = ends(columns), ends(rows)
    return torch.stack([x0, y0, x1, y1], -1).to(torch.int16)


@dataclass(frozen=True)
class CaptionOrder:
    """What the second process needs in order to write captions.

    Args:
        library: The toys; their sprites do not travel.
        plans: Per canvas, the scenes in chunks.
        per_picture: Captions of each picture.
        per_toy: Phrases of each toy alone.
        seed: Of the wording.
    """

    library: ToyLibrary
    plans: dict[str, list[ScenePlan]]
    per_picture: int
    per_toy: int
    seed: int = 0


@dataclass(frozen=True)
class Captions:
    """Token ids, int16: `scenes[canvas]` (per picture, n, 77), `toys` (per toy, rows of the library, 77)."""

    scenes: dict[str, Tensor]
    toys: Tensor


class CaptionProcess:
    """Captions that are being written by a second process.

    Args:
        order: What to write.
        folder: Where order and result are kept.
        tokenizer_folder: Tokenizer of the ids.
    """

    def __init__(self, order: CaptionOrder, folder: Path, tokenizer_folder: Path) -> None:
        self._order, self._folder, self._tokenizer_folder = order, folder, tokenizer_folder
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "order.pickle", "wb") as file:
            pickle.dump(replace(order, library=without_sprites(order.library)), file)
        command = [sys.executable, "-m", "spectral_diffusion.toybox.pictures"]
        command += ["--captions", str(folder), "--tokenizer", str(tokenizer_folder)]
        # The GPU is the parent's: a second context would only take memory from it.
        self._process = subprocess.Popen(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})

    def result(self) -> Captions:
        """Wait for the captions; write them here should the other process have failed."""
        if self._process.wait() == 0:
            scenes, toys = torch.load(self._folder / "captions.pt", weights_only=True)
            return Captions(scenes, toys)
        return write_captions(self._order, CLIPTokenizer.from_pretrained(self._tokenizer_folder), processes=1)


def without_sprites(library: ToyLibrary) -> ToyLibrary:
    """The library's words alone, small enough to hand to another process."""
    extent = type(library.extent)(*(values[:0] for values in library.extent))
    return replace(library, sprites=Sprites(torch.empty(0), torch.empty(0)), extent=extent)


def write_captions(order: CaptionOrder, tokenizer: CLIPTokenizer, *, processes: int) -> Captions:
    """Write and tokenise all captions of an order, in as many processes as given."""
    strays = tuple(sorted(set(ORDINARY_WORDS) - world_words()))
    jobs = [
        (canvas, take, chunk, order.seed * 1_000_003 + take * 100_003 + chunk + (0 if canvas == "square" else 50_000))
        for canvas, plans in order.plans.items()
        for take in range(order.per_picture)
        for chunk in range(len(plans))
    ]
    if processes > 1:
        # Forked workers inherit the order; sending its tensors along with every job would use up all file handles.
        with multiprocessing.get_context("fork").Pool(processes, _Worker.employ, (order, strays)) as pool:
            texts = pool.starmap(_Worker.write, jobs, chunksize=4)
    else:
        texts = [_scene_captions(order, strays, *job) for job in jobs]
    scenes: dict[str, Tensor] = {}
    for canvas in order.plans:
        flat = [text for job, part in zip(jobs, texts, strict=True) if job[0] == canvas for text in part]
        scenes[canvas] = token_ids(tokenizer, flat).view(order.per_picture, -1, TEXT_LENGTH)
    rng = random.Random(order.seed)
    phrases = ["a photo of " + describe(toy, rng) for _ in range(order.per_toy) for toy in order.library.toys]
    return Captions(scenes, token_ids(tokenizer, phrases).view(order.per_toy, -1, TEXT_LENGTH))


class _Worker:
    """What a forked process knows: the order it was employed for."""

    order: ClassVar[CaptionOrder]
    strays: ClassVar[Sequence[str]]

    @classmethod
    def employ(cls, order: CaptionOrder, strays: Sequence[str]) -> None:
        torch.set_num_threads(1)
        cls.order, cls.strays = order, strays

    @classmethod
    def write(cls, canvas: str, take: int, chunk: int, seed: int) -> list[str]:
        return _scene_captions(cls.order, cls.strays, canvas, take, chunk, seed)


def _scene_captions(
    order: CaptionOrder, strays: Sequence[str], canvas: str, take: int, chunk: int, seed: int
) -> list[str]:
    rng = random.Random(seed)
    captions = captions_of(order.library, order.plans[canvas][chunk], rng)
    return [sprinkle(caption, strays, rng) for caption in captions]


def sprinkle(caption: str, strays: Sequence[str], rng: random.Random, *, share: float = 0.08) -> str:
    """Now and then a caption gets one or two words that mean nothing in the toy world, so that they mean nothing later.

    A word that training never shows keeps its random vector, and one such word in a person's prompt would do harm.
    """
    if rng.random() >= share:
        return caption
    words = caption.split(" ")
    for _ in range(rng.randint(1, 2)):
        words.insert(rng.randint(0, len(words)), rng.choice(strays))
    return " ".join(words)


def token_ids(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Texts as padded ids, int16 (n, 77)."""
    parts = [
        torch.tensor(
            tokenizer(
                list(texts[i : i + 20_000]), padding="max_length", truncation=True, max_length=TEXT_LENGTH
            ).input_ids,
            dtype=torch.int16,
        )
        for i in range(0, len(texts), 20_000)
    ]
    return torch.cat(parts) if parts else torch.empty(0, TEXT_LENGTH, dtype=torch.int16)


def main() -> None:
    """Command line of the second process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--captions", type=Path, required=True, help="folder of the order and its result")
    parser.add_argument("--tokenizer", type=Path, required=True)
    options = parser.parse_args()
    with open(options.captions / "order.pickle", "rb") as file:
        order = pickle.load(file)
    tokenizer = CLIPTokenizer.from_pretrained(options.tokenizer)
    captions = write_captions(order, tokenizer, processes=max(1, (os.cpu_count() or 1) * 3 // 4))
    torch.save((captions.scenes, captions.toys), options.captions / "captions.pt.part")
    (options.captions / "captions.pt.part").replace(options.captions / "captions.pt")


if __name__ == "__main__":
    main()
