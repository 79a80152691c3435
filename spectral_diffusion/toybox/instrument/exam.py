"""How far the instrument can be trusted: fresh renders of toys that no judge has seen, each beside its twin.

    python -m spectral_diffusion.toybox.instrument.exam

Twins stand in the same place, turned the same way, in the same scene, and differ in one extra alone; so whoever guesses
from anything else is right in half of the cases.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spectral_diffusion.toybox import captions
from spectral_diffusion.toybox.architecture import CANVASES_PX
from spectral_diffusion.toybox.backgrounds import BACKGROUNDS
from spectral_diffusion.toybox.instrument.attributes import EXTRAS, NONE, looks_of
from spectral_diffusion.toybox.instrument.finder import FoundToy, ToyFinder, find_toys, load_finder
from spectral_diffusion.toybox.instrument.judged_toys import Twins, sample_twins
from spectral_diffusion.toybox.instrument.reader import ToyReader, load_reader, read_toys
from spectral_diffusion.toybox.judges import JUDGE_SEED, ToyClip
from spectral_diffusion.toybox.phrases import describe
from spectral_diffusion.toybox.pictures import boxes_of
from spectral_diffusion.toybox.pretraining import (
    PLACES,
    SceneBatch,
    ToyLibrary,
    build_backgrounds,
    extent_of,
    render_plan,
    sample_plan,
)
from spectral_diffusion.toybox.skeleton import sample_pose
from spectral_diffusion.toybox.sprites import render_sprites, sample_yaw
from spectral_diffusion.toybox.toy import FIGURES, KINDS, MARKS, Toy
from spectral_diffusion.toybox.train_clip import cut_out

INSTRUMENT = Path(__file__).parent / "weights"
"""What is shipped of the instrument."""
SCORER = Path(__file__).parents[1] / "weights" / "clip"
"""The toy CLIP that is shipped."""
REFERENCES = 4
_CAPTIONS = 64
_FOUND_IOU = 0.5
_CROWDED = 0.15


class Sheet(NamedTuple):
    """One canvas of the exam.

    Args:
        pairs: The twins.
        toys: The scenes with the toy; further toys may stand beside it.
        twins: The same scenes with its twin.
        place: long (n,), which toy of a scene from the left it is.
        library: All toys of the exam; sprite 2 i is the toy of pair i, 2 i + 1 its twin.
    """

    pairs: list[Twins]
    toys: SceneBatch
    twins: SceneBatch
    place: Tensor
    library: ToyLibrary


def exam_sheet(
    canvas: str,
    twins_per_kind: int,
    device: torch.device | str,
    seed: int = JUDGE_SEED,
    *,
    kinds: Sequence[str] = KINDS,
) -> Sheet:
    """Fresh scenes: on a square canvas each toy is alone, on a wide one two others stand beside it.

    Args:
        canvas: "square" or "wide".
        twins_per_kind: Pairs of each kind.
        device: Where to render.
        seed: Decides everything; judges are trained with others.
        kinds: Which kinds.
    """
    generator = torch.Generator().manual_seed(seed)
    pairs = [sample_twins(kind, generator) for kind in kinds for _ in range(twins_per_kind)]
    library = _library(pairs, generator, device)
    backgrounds = build_backgrounds(2, seed, device)
    count = len(pairs)
    place = torch.zeros(count, dtype=torch.long)
    sprite = torch.full((count, PLACES), -1)
    sprite[:, 0] = 2 * torch.arange(count)
    if canvas == "wide":
        place = torch.randint(PLACES, (count,), generator=generator)
        sprite = 2 * torch.randint(count, (count, PLACES), generator=generator)
        sprite[torch.arange(count), place] = 2 * torch.arange(count)
    width_px, height_px = CANVASES_PX[canvas]
    plan = sample_plan(library, 2, count, width_px=width_px, height_px=height_px, sprite=sprite, generator=generator)
    other = sprite.clone()
    other[torch.arange(count), place] += 1
    toys, twins = (
        render_plan(library, backgrounds, plan._replace(sprite=own), width_px=width_px, height_px=height_px)
        for own in (sprite, other)
    )
    return Sheet(pairs, toys, twins, place, library)


def examine(
    finder: ToyFinder, reader: ToyReader | None, device: torch.device | str, *, twins_per_kind: int = 24
) -> dict[str, Any]:
    """What finder and reader get right together; without a reader, what the finder does.

    Returns:
        For each canvas `iou`, the mean over true toys of the overlap with what was found in their place (0 where
        nothing was); `counted`, the share of scenes with as many toys found as there are; shares of toys whose `kind`,
        `colour`, both, `pattern` and `face` are read right, where a toy that is not found has none right; `extras`,
        the share of right answers to "does it have this extra?" over toys and twins; the same over `marks` alone;
        `extra_colours`, right colours among extras that are seen; and the answers for each extra.
    """
    return {
        canvas: _examine(finder, reader, exam_sheet(canvas, twins_per_kind, device, JUDGE_SEED + number))
        for number, canvas in enumerate(CANVASES_PX)
    }


def examine_scorer(clip: ToyClip, device: torch.device | str, *, twins_per_kind: int = 24) -> dict[str, float]:
    """What the toy CLIP tells apart.

    Returns:
        `caption_found`, how often a render is nearest to its own caption among 64; `toy_above_twin_by_pictures`, how
        often a toy is nearer than its twin to four other renders of it, and `toy_above_twin_in_words` to a caption
        that names the extra; the former also for toys among others on a wide canvas.
    """
    square = exam_sheet("square", twins_per_kind, device, JUDGE_SEED + 10)
    wide = exam_sheet("wide", twins_per_kind, device, JUDGE_SEED + 10)
    references = torch.stack([_reference(clip, square, device, JUDGE_SEED + 20 + i) for i in range(REFERENCES)]).mean(0)
    return {
        "caption_found": _captions_found(clip, square),
        "toy_above_twin_in_words": _above_in_words(clip, square),
        "toy_above_twin_by_pictures": _above(clip, square, references),
        "toy_above_twin_by_pictures_wide": _above(clip, wide, references),
    }


def _library(pairs: Sequence[Twins], generator: torch.Generator, device: torch.device | str) -> ToyLibrary:
    """Toy and twin of each pair in turn, both turned and posed alike."""
    toys = [toy for pair in pairs for toy in (pair.toy, pair.twin)]
    yaws, poses = [], []
    for pair in pairs:
        yaws += [sample_yaw(pair.toy.kind, generator)] * 2
        poses += [sample_pose(generator) if pair.toy.kind in FIGURES else None] * 2
    sprites = render_sprites(toys, torch.tensor(yaws), poses, device=device)
    return ToyLibrary(toys, sprites, extent_of(sprites), 1)


def _examine(finder: ToyFinder, reader: ToyReader | None, sheet: Sheet) -> dict[str, Any]:
    overlap, counted = [], []
    seen: list[list[dict[str, str] | None]] = []
    clear = _clear(sheet)
    for batch in (sheet.toys, sheet.twins):
        looks: list[dict[str, str] | None] = [None] * len(sheet.pairs)
        for start in range(0, len(sheet.pairs), 64):
            rows = range(start, min(start + 64, len(sheet.pairs)))
            found = find_toys(finder, batch.images[start : rows.stop])
            chosen: list[tuple[int, FoundToy]] = []
            for row, toys in zip(rows, found, strict=True):
                masks = batch.masks[row].cpu() > 127
                shown = batch.plan.sprite[row] >= 0
                scores = [_best(toys, mask) for mask, there in zip(masks, shown.tolist(), strict=True) if there]
                overlap += [score for score, _ in scores]
                counted.append(len(toys) == len(scores))
                score, toy = scores[int(sheet.place[row])]
                if toy is not None and score >= _FOUND_IOU:
                    chosen.append((row, toy))
            if reader is None:
                continue
            pictures = batch.images[[row for row, _ in chosen]]
            for (row, _), own in zip(chosen, read_toys(reader, pictures, [toy for _, toy in chosen]), strict=True):
                looks[row] = own
        seen.append(looks)
    finding = {"iou": _mean(overlap), "counted": _mean(counted)}
    if reader is None:
        return finding
    return {
        **finding,
        **_plain_looks(sheet, seen, clear),
        **_extras(sheet, seen, clear),
    }


def _plain_looks(sheet: Sheet, seen: list[list[dict[str, str] | None]], clear: list[bool]) -> dict[str, float]:
    true = [looks_of(pair.toy) for pair in sheet.pairs]
    answers: dict[str, list[bool]] = {name: [] for name in ("kind", "colour", "kind_and_colour", "pattern", "face")}
    for own, look, is_clear in zip(true, seen[0], clear, strict=True):
        if not is_clear:
            continue
        right = {name: look is not None and look[name] == own[name] for name in ("kind", "colour", "pattern", "face")}
        for name, is_right in right.items():
            answers[name].append(is_right)
        answers["kind_and_colour"].append(right["kind"] and right["colour"])
    return {name: _mean(values) for name, values in answers.items()}


def _extras(sheet: Sheet, seen: list[list[dict[str, str] | None]], clear: list[bool]) -> dict[str, Any]:
    answers: dict[str, list[bool]] = {name: [] for name in EXTRAS}
    colours: list[bool] = []
    for pair, toy, twin, is_clear in zip(sheet.pairs, *seen, clear, strict=True):
        if not is_clear:
            continue
        has = toy is not None and toy[pair.extra] != NONE
        answers[pair.extra] += [has, twin is not None and twin[pair.extra] == NONE]
        if has and toy is not None:
            colours.append(toy[pair.extra] == looks_of(pair.toy)[pair.extra])
    return {
        "extras": _mean([right for values in answers.values() for right in values]),
        "marks": _mean([right for name in MARKS for right in answers[name]]),
        "extra_colours": _mean(colours),
        "by_extra": {name: [_mean(values), len(values)] for name, values in answers.items() if values},
    }


def _clear(sheet: Sheet) -> list[bool]:
    """Whether nobody stands before or behind a toy: what is hidden nobody can read."""
    boxes = boxes_of(sheet.toys.masks).float().cpu()
    own = boxes[torch.arange(len(boxes)), sheet.place][:, None]
    low, high = torch.maximum(own[..., :2], boxes[..., :2]), torch.minimum(own[..., 2:], boxes[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    shared[torch.arange(len(boxes)), sheet.place] = 0
    area = (own[..., 2:] - own[..., :2]).prod(-1)[:, 0].clamp(min=1)
    return (shared.sum(1) / area < _CROWDED).tolist()


def _best(found: Sequence[FoundToy], mask: Tensor) -> tuple[float, FoundToy | None]:
    """The found toy that overlaps a true one most, and how much: intersection by union."""
    best: tuple[float, FoundToy | None] = (0.0, None)
    for toy in found:
        union = int((toy.mask | mask).sum())
        score = int((toy.mask & mask).sum()) / union if union else 0.0
        best = max(best, (score, toy), key=lambda pair: pair[0])
    return best


def _cuts(clip: ToyClip, batch: SceneBatch, place: Tensor) -> Tensor:
    boxes = boxes_of(batch.masks)[torch.arange(len(place)), place]
    parts = zip(batch.images.split(128), boxes.split(128), strict=True)
    return torch.cat([clip.embed_squares(cut_out(images, own, exact=True)) for images, own in parts]).cpu()


def _reference(clip: ToyClip, sheet: Sheet, device: torch.device | str, seed: int) -> Tensor:
    """Each toy once more, turned otherwise, in another scene, alone."""
    generator = torch.Generator().manual_seed(seed)
    library = _library(sheet.pairs, generator, device)
    sprite = torch.full((len(sheet.pairs), PLACES), -1)
    sprite[:, 0] = 2 * torch.arange(len(sheet.pairs))
    width_px, height_px = CANVASES_PX["square"]
    plan = sample_plan(
        library, 2, len(sprite), width_px=width_px, height_px=height_px, sprite=sprite, generator=generator
    )
    batch = render_plan(library, build_backgrounds(2, seed, device), plan, width_px=width_px, height_px=height_px)
    return _cuts(clip, batch, torch.zeros(len(sprite), dtype=torch.long))


def _above(clip: ToyClip, sheet: Sheet, references: Tensor) -> float:
    toys, twins = (_cuts(clip, batch, sheet.place) for batch in (sheet.toys, sheet.twins))
    clear = torch.tensor(_clear(sheet))
    return _mean(((toys * references).sum(1) > (twins * references).sum(1))[clear].tolist())


def _above_in_words(clip: ToyClip, sheet: Sheet) -> float:
    rng = random.Random(0)
    named = [(row, _naming(pair.toy, pair.extra, rng)) for row, pair in enumerate(sheet.pairs) if _has_word(pair.extra)]
    rows = torch.tensor([row for row, _ in named])
    said = clip.embed_texts([f"a photo of {text}" for _, text in named]).cpu()
    toys, twins = (_cuts(clip, batch, sheet.place)[rows] for batch in (sheet.toys, sheet.twins))
    return _mean(((toys * said).sum(1) > (twins * said).sum(1)).tolist())


def _captions_found(clip: ToyClip, sheet: Sheet) -> float:
    rng = random.Random(1)
    backgrounds = [BACKGROUNDS[int(number)] for number in sheet.toys.plan.background]
    texts = [
        captions.sentence([describe(pair.toy, rng)], background, int(position), rng)
        for pair, background, position in zip(sheet.pairs, backgrounds, sheet.toys.plan.position, strict=True)
    ]
    seen = torch.cat([clip.embed_images(list(part)) for part in sheet.toys.images.split(64)]).cpu()
    said = torch.cat([clip.embed_texts(texts[start : start + 64]) for start in range(0, len(texts), 64)]).cpu()
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))
    found: list[bool] = []
    for part in order.split(_CAPTIONS):
        likeness = seen[part] @ said[part].T
        found += (likeness.argmax(1) == torch.arange(len(part))).tolist()
    return _mean(found)


def _has_word(extra: str) -> bool:
    return extra not in ("limbs", "tips", "part")


def _naming(toy: Toy, extra: str, rng: random.Random) -> str:
    word = "patch" if extra == "eye_patch" else extra
    while word not in (text := describe(toy, rng)).split():
        pass
    return text


def _mean(values: Sequence[float | bool]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=INSTRUMENT, help="with finder.safetensors, reader.safetensors")
    parser.add_argument("--scorer", type=Path, default=SCORER)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--twins_per_kind", type=int, default=24)
    options = parser.parse_args()
    finder = load_finder(options.folder / "finder.safetensors", options.device)
    path = options.folder / "reader.safetensors"
    reader = load_reader(path, options.device) if path.is_file() else None
    measures = examine(finder, reader, options.device, twins_per_kind=options.twins_per_kind)
    clip = ToyClip(options.scorer, options.device)
    measures["clip"] = examine_scorer(clip, options.device, twins_per_kind=options.twins_per_kind)
    sys.stdout.write(json.dumps(measures, indent=2) + "\n")


if __name__ == "__main__":
    main()
