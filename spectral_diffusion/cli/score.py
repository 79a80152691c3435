"""`spectral-diffusion score`: how faithful pictures are, as CLIP sees it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spectral_diffusion.cli import options, queueing
from spectral_diffusion.cli.concepts import find_concept
from spectral_diffusion.cli.console import answer, answering, note, table
from spectral_diffusion.workspace import Workspace

if TYPE_CHECKING:
    from spectral_diffusion.diffusion.scoring import ScoredPictures


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
    help="A concept's folder or name, as for `train`. Several: the pictures show these concepts from left to right.",
)
@click.option("--trials", type=click.IntRange(1), help="The pictures are this many trials of equal length, in order.")
@click.option(
    "--scorer",
    metavar="NAME",
    help="toybox, MODEL:TAG or MODEL:FILE of open_clip, hf-hub:ID or a folder. Default: that of the pictures' base.",
)
@options.device
@queueing.queueing
@options.workspace
@options.as_json
@options.debug
def command(
    images: tuple[Path, ...],
    prompt: str | None,
    references: tuple[Path, ...],
    trials: int | None,
    scorer: str | None,
    device: str,
    queued: bool,
    key: str | None,
    database: str | None,
    store: str | None,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """CLIP alignment of pictures with photographs and prompt, with 95 % intervals.

    With several --reference folders every picture is cut into columns, one a concept, and the leak matrix says how
    alike each column is to each concept.
    """
    queueing.refuse_without_queue(queued, key=key, database=database, store=store)
    if queued:
        with answering(as_json):
            from spectral_diffusion.diffusion.dataset import load_concept
            from spectral_diffusion.jobs.submission import score_spec

            concepts = [load_concept(find_concept(folder, workspace)) for folder in references]
            values = {"prompt": prompt, "trials": trials, "scorer": scorer}
            job = queueing.submit(
                workspace,
                queueing.Places(database, store),
                lambda store: score_spec(store, workspace, images, concepts, **values),
                key,
            )
        queueing.tell(job, as_json)
        return
    with answering(as_json):
        from spectral_diffusion.diffusion.base import choose_device
        from spectral_diffusion.diffusion.dataset import load_concept
        from spectral_diffusion.diffusion.scoring import score_pictures

        found = score_pictures(
            images,
            [load_concept(find_concept(folder, workspace)) for folder in references],
            prompt,
            trials=trials,
            scorer=scorer,
            device=choose_device(device),
        )
        if found.wordless:
            note(
                f"note: no class word is known for {', '.join(found.wordless)}, left out of the prompt; --reference "
                "names one"
            )
    answer(as_json, found.to_dict(), score_lines(found))


def score_lines(found: "ScoredPictures") -> list[str]:
    """What was found, for people."""
    lines = [f"scorer {found.scorer}, pictures: {found.count}"]
    for name, estimate in (("image", found.score.image), ("text", found.score.text)):
        if estimate is not None:
            lines.append(f"{name} alignment  {estimate}")
    if found.leaks is not None:
        rows = [
            [f"region of {name}", *(f"{cosine:.3f}" for cosine in row), f"{own.mean:.0%}"]
            for name, row, own in zip(found.leaks.concepts, found.leaks.similarity, found.leaks.own, strict=True)
        ]
        lines += ["", *table(["leak matrix", *found.leaks.concepts, "own nearest"], rows)]
    return lines
