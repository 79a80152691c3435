"""`spectral-diffusion score`: how faithful pictures are, as CLIP sees it."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spectral_diffusion.cli import options
from spectral_diffusion.cli.console import answer, answering, note, table
from spectral_diffusion.errors import InputError

if TYPE_CHECKING:
    from spectral_diffusion.diffusion.settings import GenerationSettings


@click.command(name="score", short_help="CLIP alignment, image and text")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=options.PATH)
@click.option("--prompt", "-p", help="What was asked for. Default: what the pictures' own text says.")
@click.option(
    "--reference",
    "-r",
    "references",
    metavar="DIR",
    multiple=True,
    type=options.PATH,
    help="Folder of a concept's photographs. Several: the pictures show these concepts from left to right.",
)
@click.option("--trials", type=click.IntRange(1), help="The pictures are this many trials of equal length, in order.")
@click.option(
    "--scorer",
    metavar="NAME",
    help="toybox, MODEL:TAG or MODEL:FILE of open_clip, hf-hub:ID or a folder. Default: that of the pictures' base.",
)
@options.device
@options.as_json
@options.debug
def command(
    images: tuple[Path, ...],
    prompt: str | None,
    references: tuple[Path, ...],
    trials: int | None,
    scorer: str | None,
    device: str,
    as_json: bool,
) -> None:
    """CLIP alignment of pictures with photographs and prompt, with 95 % intervals.

    With several --reference folders every picture is cut into columns, one a concept, and the leak matrix says how
    alike each column is to each concept.
    """
    with answering(as_json):
        from spectral_diffusion.diffusion.base import choose_device
        from spectral_diffusion.diffusion.dataset import load_concept
        from spectral_diffusion.diffusion.score import alignment, alignment_of_parts, columns, leak_matrix
        from spectral_diffusion.diffusion.scorer import default_scorer, load_scorer
        from spectral_diffusion.images import read_image

        if trials and len(images) % trials:
            raise InputError(f"{len(images)} pictures are not {trials} trials of equal length", "change --trials")
        trial_of = [index * trials // len(images) for index in range(len(images))] if trials else None
        pictures = [read_image(path) for path in images]
        concepts = [load_concept(folder) for folder in references]
        if len({concept.name for concept in concepts}) < len(concepts):
            raise InputError("the same concept is named twice with --reference", "name each folder once")
        photographs = {concept.name: [photo.image for photo in concept.photographs] for concept in concepts}
        told = _told_by(images)
        by_toybox = len(told) < len(images) or any(settings.is_toybox for settings in told)
        prompt = prompt or _common_prompt(told, len(images))
        if prompt is None and not concepts:
            raise InputError("there is nothing to compare the pictures with", "give --prompt, --reference or both")
        class_words: dict[str, str] = {}
        for settings in told:
            for record in settings.adapters:
                class_words |= record.class_words
        class_words |= {concept.token: concept.class_word for concept in concepts}
        unknown = sorted(set(re.findall(r"<[^<>\s]+>", prompt or "")) - set(class_words))
        if unknown:
            note(
                f"note: no class word is known for {', '.join(unknown)}, left out of the prompt; --reference names one"
            )
        clip = load_scorer(scorer or default_scorer(toybox=by_toybox), device=choose_device(device))
        boxes = columns(len(concepts))
        leaks = None
        if len(concepts) > 1:
            parts = list(zip(boxes, photographs.values(), strict=True))
            result = alignment_of_parts(clip, pictures, prompt, parts, class_words=class_words, trials=trial_of)
            leaks = leak_matrix(clip, pictures, boxes, photographs)
        else:
            only = next(iter(photographs.values()), [])
            result = alignment(clip, pictures, prompt, only, class_words=class_words, trials=trial_of)

    value: dict[str, Any] = {"scorer": clip.name, "prompt": prompt, "pictures": len(pictures)}
    lines = [f"scorer {clip.name}, pictures: {len(pictures)}"]
    for name, estimate in (("image", result.image), ("text", result.text)):
        value[f"{name}_alignment"] = None if estimate is None else _as_dict(estimate)
        if estimate is not None:
            lines.append(f"{name} alignment  {estimate}")
    if leaks is not None:
        value["leaks"] = {
            "concepts": leaks.concepts,
            "similarity": leaks.similarity,
            "own_is_nearest": [_as_dict(estimate) for estimate in leaks.own],
        }
        rows = [
            [f"region of {name}", *(f"{cosine:.3f}" for cosine in row), f"{own.mean:.0%}"]
            for name, row, own in zip(leaks.concepts, leaks.similarity, leaks.own, strict=True)
        ]
        lines += ["", *table(["leak matrix", *leaks.concepts, "own nearest"], rows)]
    answer(as_json, value, lines)


def _as_dict(estimate: Any) -> dict[str, float]:
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high, "count": estimate.count}


def _told_by(paths: Sequence[Path]) -> "list[GenerationSettings]":
    """The settings of the pictures that hold some."""
    from spectral_diffusion.diffusion.pipeline import read_settings

    found = []
    for path in paths:
        with contextlib.suppress(InputError):
            found.append(read_settings(path))
    return found


def _common_prompt(told: "Sequence[GenerationSettings]", count: int) -> str | None:
    """The prompt that all `count` pictures were drawn from, if it is one."""
    prompts = {settings.prompt for settings in told}
    return prompts.pop() if len(told) == count and len(prompts) == 1 else None
