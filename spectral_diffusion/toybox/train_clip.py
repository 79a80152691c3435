"""The toybox scorer: a small CLIP (Radford et al. 2021) in open_clip's own format.

    python -m spectral_diffusion.toybox.train_clip --smoke

The shipped one is trained by `pretrain`, about 100 s of one H100, apart from the base: it shares no weight with it,
and its text tower starts from nothing. Each step sees whole scenes with their captions, single toys cut out of scenes
with their descriptions, and each such toy a second time, from another scene: the same contrastive loss pulls the two
pictures together, so that the scorer tells one toy from another of its kind.
"""

import argparse
import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTokenizer

from spectral_diffusion.toybox.architecture import (
    CANVASES_PX,
    CLIP_IMAGE_PX,
    clip_configuration,
    half_precision,
    on_device,
)
from spectral_diffusion.toybox.pictures import (
    CaptionOrder,
    Captions,
    Pictures,
    as_signal,
    render_pictures,
    smoke_world,
    write_captions,
)
from spectral_diffusion.toybox.stopwatch import WARM_STEPS, Descent, Stopwatch, log
from spectral_diffusion.toybox.train_tokenizer import train_tokenizer
from spectral_diffusion.workspace import write_atomically


@dataclass(frozen=True)
class ClipSettings:
    """How the scorer is trained.

    Args:
        seconds: Time, compilation included.
        scenes: Whole pictures a step.
        toys: Single toys a step, each seen twice.
        learning_rate: Highest rate of AdamW.
        weight_decay: As in AdamW.
        same_toy_weight: Of the loss between two pictures of one toy.
        seed: Of everything random.
        compile: Whether to compile the step, which pays on a GPU.
    """

    seconds: float = 100.0
    scenes: int = 384
    toys: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    same_toy_weight: float = 1.0
    seed: int = 0
    compile: bool = True


def new_clip(vocabulary_size: int) -> CLIP:
    """An untrained scorer for so many tokens."""
    model = clip_configuration(vocabulary_size)["model_cfg"]
    return CLIP(embed_dim=model["embed_dim"], vision_cfg=model["vision_cfg"], text_cfg=model["text_cfg"])


class ToyPairs:
    """Two appearances of the same toy, at random.

    Args:
        pictures: Square pictures.
        least_px: Toys whose box is narrower or lower are left out.
    """

    def __init__(self, pictures: Pictures, least_px: int = 16) -> None:
        sides = (pictures.boxes[..., 2:] - pictures.boxes[..., :2]).amin(-1)
        scene, place = ((pictures.toy_ids >= 0) & (sides >= least_px)).nonzero(as_tuple=True)
        toys = pictures.toy_ids[scene, place].long()
        order = toys.argsort()
        self._scene, self._place = scene[order], place[order]
        self._toys, self._counts = toys[order].unique_consecutive(return_counts=True)
        self._starts = self._counts.cumsum(0) - self._counts

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Different toys (count,), and scenes and places (2, count) of two appearances of each.

        Fewer come back where the library has fewer toys.
        """
        rows = torch.randperm(len(self._toys), device=self._toys.device)[:count]
        within = (torch.rand(2, len(rows), device=rows.device) * self._counts[rows]).long()
        appearance = self._starts[rows] + within
        return self._toys[rows], self._scene[appearance], self._place[appearance]


def cut_out(images: Tensor, boxes: Tensor, side_px: int = CLIP_IMAGE_PX, *, exact: bool = False) -> Tensor:
    """Boxes with some margin, at random a little off and squashed, as squares in [-1, 1].

    Args:
        images: uint8 (n, 3, h, w).
        boxes: (n, 4), x0, y0, x1, y1 in px.
        side_px: Side of the result.
        exact: Leave nothing to chance: a middling margin, nothing off.
    """
    size = torch.tensor([images.shape[-1], images.shape[-2]], device=images.device)
    low, high = boxes[:, :2].float() / size * 2 - 1, boxes[:, 2:].float() / size * 2 - 1
    middle, half = (low + high) / 2, (high - low) / 2
    if exact:
        half = half * 1.3
    else:
        half = half * (1.02 + 0.4 * torch.rand_like(half)) * (1.0 + 0.3 * torch.rand_like(half[:, :1]))
        middle = middle + 0.12 * half * torch.randn_like(middle)
    matrix = torch.zeros(len(images), 2, 3, device=images.device)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, :, 2] = half[:, 0], half[:, 1], middle
    grid = F.affine_grid(matrix, [len(images), 3, side_px, side_px], align_corners=False)
    return F.grid_sample(as_signal(images), grid, padding_mode="reflection", align_corners=False)


def whole(images: Tensor, side_px: int = CLIP_IMAGE_PX) -> Tensor:
    """Whole uint8 pictures, squashed to squares in [-1, 1]."""
    signal = as_signal(images)
    if signal.shape[-2:] == (side_px, side_px):
        return signal
    return F.interpolate(signal, (side_px, side_px), mode="bilinear", antialias=True, align_corners=False)


def contrast(left: Tensor, right: Tensor, scale: Tensor) -> Tensor:
    """The symmetric contrastive loss of n pairs of unit vectors, (n, d) each."""
    logits = scale * left @ right.T
    target = torch.arange(len(left), device=left.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train_clip(
    pictures: dict[str, Pictures],
    captions: Captions,
    tokenizer: CLIPTokenizer,
    settings: ClipSettings,
    *,
    device: torch.device,
    most_steps: int | None = None,
) -> tuple[CLIP, dict[str, float]]:
    """Train a scorer.

    Args:
        pictures: Of the canvases "square" and "wide".
        captions: Of the pictures and of single toys.
        tokenizer: Of the captions.
        settings: How.
        device: Where the pictures are.
        most_steps: Stop earlier, after so many steps.

    Returns:
        The model and the record of its training.
    """
    torch.manual_seed(settings.seed)
    clip = on_device(new_clip(len(tokenizer)), device).train()
    descent = Descent([(clip.parameters(), settings.learning_rate)], weight_decay=settings.weight_decay)
    pairs = ToyPairs(pictures["square"])
    scene_ids = {name: captions.scenes[name].to(device) for name in pictures}
    toy_ids = captions.toys.to(device)
    toys = len(pairs.draw(settings.toys)[0])

    def step(images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        seen = F.normalize(clip.encode_image(images).float(), dim=-1)
        said = F.normalize(clip.encode_text(ids).float(), dim=-1)
        scale = clip.logit_scale.exp().clamp(max=100.0)
        scenes = len(images) - 2 * toys
        whole_seen, first, second = seen[:scenes], seen[scenes : scenes + toys], seen[scenes + toys :]
        scene_said, toy_said = said[:scenes], said[scenes:]
        text = contrast(whole_seen, scene_said, scale) + contrast(first, toy_said, scale)
        text = text + contrast(second, toy_said, scale)
        same = contrast(first, second, scale)
        return text + settings.same_toy_weight * same, same

    compiled = torch.compile(step, dynamic=False) if settings.compile else step
    watch = Stopwatch(settings.seconds)
    same = torch.zeros((), device=device)
    while watch.progress < 1 and watch.steps < (most_steps or math.inf):
        name = "wide" if watch.steps % 3 == 2 else "square"
        images, ids = _batch(pictures, scene_ids[name], toy_ids, pairs, name, settings)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss, same = compiled(images, ids)
        descent.step(loss, watch.rate_factor(warm_up_steps=100, flat=0.2))
        watch.count(settings.scenes + 2 * toys)
        if watch.steps == WARM_STEPS or watch.due():
            log.info(
                "clip step %d: loss %.3f, same toy %.3f, %.0f pictures/s",
                watch.steps, loss.detach(), same.detach(), watch.pictures_per_second,
            )  # fmt: skip
    return clip.eval(), watch.record() | {"same_toy_loss": round(float(same.detach()), 4)}


def _batch(
    pictures: dict[str, Pictures],
    scene_ids: Tensor,
    toy_ids: Tensor,
    pairs: ToyPairs,
    name: str,
    settings: ClipSettings,
) -> tuple[Tensor, Tensor]:
    source, square = pictures[name], pictures["square"]
    device = source.images.device
    rows = torch.randint(len(source), (settings.scenes,), device=device)
    wording = torch.randint(len(scene_ids), (settings.scenes,), device=device)
    toys, scenes, places = pairs.draw(settings.toys)
    scenes, places = scenes.flatten(), places.flatten()
    cuts = cut_out(square.images[scenes], square.boxes[scenes, places])
    phrase = torch.randint(len(toy_ids), (len(toys),), device=device)
    images = torch.cat([whole(source.images[rows]), cuts]).contiguous(memory_format=torch.channels_last)
    return images, torch.cat([scene_ids[wording, rows], toy_ids[phrase, toys]]).long()


def save_clip(clip: CLIP, tokenizer_folder: Path, folder: Path) -> None:
    """Write the scorer so that `open_clip.create_model_from_pretrained("local-dir:FOLDER")` reads it.

    Args:
        clip: The model; it is written in fp16.
        tokenizer_folder: Its tokenizer, which is copied beside it, where open_clip looks for it.
        folder: Gets `open_clip_config.json`, `open_clip_model.safetensors` and the tokenizer's files.
    """
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    configuration = json.dumps(clip_configuration(len(tokenizer)), indent=2) + "\n"
    tensors = half_precision(clip)
    write_atomically(folder / "open_clip_model.safetensors", lambda path: save_file(tensors, path))
    tokenizer.save_pretrained(folder)
    write_atomically(folder / "open_clip_config.json", lambda path: path.write_text(configuration))


def main() -> None:
    """Command line: a tiny training that shows that everything runs."""
    import open_clip

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few steps on a CPU", required=True)
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    world = smoke_world()
    pictures = {name: render_pictures(*world, 24, size_px=size, seed=1) for name, size in CANVASES_PX.items()}
    order = CaptionOrder(world.library, {name: part.plans for name, part in pictures.items()}, 2, 2)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tokenizer = train_tokenizer(folder / "tokenizer")
        captions = write_captions(order, tokenizer, processes=1)
        settings = ClipSettings(seconds=options.seconds, scenes=4, toys=4, compile=False)
        clip, record = train_clip(pictures, captions, tokenizer, settings, device=torch.device("cpu"))
        save_clip(clip, folder / "tokenizer", folder / "clip")
        again: Any = open_clip.create_model(f"local-dir:{folder / 'clip'}")
        ids = open_clip.get_tokenizer(f"local-dir:{folder / 'clip'}")(["a red dog"])
        print(record, again.encode_text(ids).shape)


if __name__ == "__main__":
    main()
