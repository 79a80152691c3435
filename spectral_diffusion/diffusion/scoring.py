"""Scoring saved pictures: what they tell of themselves, which CLIP judges, and everything it finds."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spectral_diffusion.diffusion.dataset import Concept
from spectral_diffusion.diffusion.pipeline import read_settings
from spectral_diffusion.diffusion.score import (
    AlignmentScore,
    Estimate,
    LeakMatrix,
    alignment,
    alignment_of_parts,
    columns,
    leak_matrix,
    likeness_of_photographs,
)
from spectral_diffusion.diffusion.scorer import OnceScorer, default_scorer, load_scorer
from spectral_diffusion.diffusion.settings import GenerationSettings
from spectral_diffusion.errors import InputError
from spectral_diffusion.images import read_image


@dataclass(frozen=True)
class PictureScore:
    """What was found about one picture.

    Args:
        image, text: Its alignment with photographs and prompt; None where nothing was given to compare with.
        leaks: How alike each of its regions (rows) is to each concept, where there are several.
    """

    image: float | None
    text: float | None
    leaks: tuple[tuple[float, ...], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        values: dict[str, Any] = {"image": self.image, "text": self.text}
        return values if self.leaks is None else {**values, "leaks": self.leaks}


@dataclass(frozen=True)
class ScoredPictures:
    """What was found about pictures.

    Args:
        scorer: The CLIP that judged.
        prompt: What they were compared with, as written.
        count: Pictures.
        score: Their alignment.
        leaks: How alike each region is to each concept, where there are several.
        wordless: Tokens of the prompt of which no class word is known; they were left out.
        photographs: How alike the concepts' photographs are, see `likeness_of_photographs`.
    """

    scorer: str
    prompt: str | None
    count: int
    score: AlignmentScore
    leaks: LeakMatrix | None
    wordless: tuple[str, ...] = ()
    photographs: tuple[tuple[float | None, ...], ...] = ()

    @property
    def each(self) -> tuple[PictureScore, ...]:
        """What was found about every picture, in the order given."""
        nothing = (None,) * self.count
        leaks = nothing if self.leaks is None else self.leaks.each
        images, texts = self.score.image_each or nothing, self.score.text_each or nothing
        return tuple(PictureScore(*found) for found in zip(images, texts, leaks, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        values: dict[str, Any] = {"scorer": self.scorer, "prompt": self.prompt, "pictures": self.count}
        for name, estimate in (("image", self.score.image), ("text", self.score.text)):
            values[f"{name}_alignment"] = None if estimate is None else _as_dict(estimate)
        if self.leaks is not None:
            values["leaks"] = {
                "concepts": self.leaks.concepts,
                "similarity": self.leaks.similarity,
                "own_is_nearest": [_as_dict(estimate) for estimate in self.leaks.own],
            }
        each = [picture.to_dict() for picture in self.each]
        return {**values, "photographs": [list(row) for row in self.photographs], "each": each}


def score_pictures(
    paths: Sequence[Path],
    concepts: Sequence[Concept] = (),
    prompt: str | None = None,
    *,
    trials: int | None = None,
    scorer: str | None = None,
    device: str | torch.device = "cpu",
    load: Any = load_scorer,
) -> ScoredPictures:
    """Compare saved pictures with photographs and a prompt.

    Args:
        paths: The pictures. What their text says of their prompt, concepts and base is used.
        concepts: Whose photographs they are compared with; several are expected from left to right.
        prompt: What was asked for; else what all pictures say they were drawn from.
        trials: The pictures are this many trials of equal length, in order.
        scorer: Name of the CLIP, see `load_scorer`; else that of the pictures' base.
        device: Where to compute.
        load: Loads a scorer by name and device; who keeps one at hand gives it.

    Raises:
        InputError: A picture cannot be read, there is nothing to compare with, a concept is named twice, the trials
            are uneven, or the scorer is not to be had.
    """
    if trials and len(paths) % trials:
        raise InputError(f"{len(paths)} pictures are not {trials} trials of equal length", "change --trials")
    trial_of = [index * trials // len(paths) for index in range(len(paths))] if trials else None
    pictures = [read_image(path) for path in paths]
    if len({concept.name for concept in concepts}) < len(concepts):
        raise InputError("the same concept is named twice with --reference", "name each folder once")
    photographs = {concept.name: [photo.image for photo in concept.photographs] for concept in concepts}
    told = _told_by(paths)
    by_toybox = len(told) < len(paths) or any(settings.is_toybox for settings in told)
    prompt = prompt or _common_prompt(told, len(paths))
    if prompt is None and not concepts:
        raise InputError("there is nothing to compare the pictures with", "give --prompt, --reference or both")
    class_words: dict[str, str] = {}
    for settings in told:
        for record in settings.adapters:
            class_words |= record.class_words
    class_words |= {concept.token: concept.class_word for concept in concepts}
    unknown = sorted(set(re.findall(r"<[^<>\s]+>", prompt or "")) - set(class_words))
    clip = OnceScorer(load(scorer or default_scorer(toybox=by_toybox), device=device))
    boxes = columns(len(concepts))
    leaks = None
    if len(concepts) > 1:
        parts = list(zip(boxes, photographs.values(), strict=True))
        result = alignment_of_parts(clip, pictures, prompt, parts, class_words=class_words, trials=trial_of)
        leaks = leak_matrix(clip, pictures, boxes, photographs)
    else:
        only = next(iter(photographs.values()), [])
        result = alignment(clip, pictures, prompt, only, class_words=class_words, trials=trial_of)
    alike = likeness_of_photographs(clip, photographs)
    return ScoredPictures(clip.name, prompt, len(pictures), result, leaks, tuple(unknown), alike)


def _as_dict(estimate: Estimate) -> dict[str, float]:
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high, "count": estimate.count}


def _told_by(paths: Sequence[Path]) -> list[GenerationSettings]:
    """The settings of the pictures that hold some."""
    found = []
    for path in paths:
        with contextlib.suppress(InputError):
            found.append(read_settings(path))
    return found


def _common_prompt(told: Sequence[GenerationSettings], count: int) -> str | None:
    """The prompt that all `count` pictures were drawn from, if it is one."""
    prompts = {settings.prompt for settings in told}
    return prompts.pop() if len(told) == count and len(prompts) == 1 else None
