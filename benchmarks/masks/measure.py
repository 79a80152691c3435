"""How well masks are found: intersection over union with the true masks of renders, for each way of finding them.

Run `python benchmarks/masks/measure.py`; it writes `benchmarks/masks/result.json`.
"""

import json
import platform
import statistics
import time
from pathlib import Path

import click
import torch

from spectral_diffusion import __version__
from spectral_diffusion.diffusion.base import load_base
from spectral_diffusion.diffusion.masks import concept_mask
from spectral_diffusion.images import to_image
from spectral_diffusion.toybox.backgrounds import BACKGROUNDS
from spectral_diffusion.toybox.scene import Placement, Scene, render
from spectral_diffusion.toybox.sprites import sample_yaw
from spectral_diffusion.toybox.toy import KINDS, sample_toy

METHODS = ("grabcut", "attention", "auto")


def scenes(count: int, seed: int) -> list[Scene]:
    """Single toys of all kinds in turn, on all backgrounds in turn, as a concept's photographs show them."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        x, y, size = torch.rand(3, generator=generator).tolist()
        toy = Placement(
            sample_toy(kind, generator).as_toy(),
            x=0.35 + 0.3 * x,
            y=0.78 + 0.12 * y,
            size=0.6 + 0.3 * size,
            yaw_radians=sample_yaw(kind, generator),
        )
        made.append(Scene((toy,), BACKGROUNDS[number % len(BACKGROUNDS)], seed=number))
    return made


@click.command()
@click.option("--base", "base_name", default="toybox", show_default=True, help="Whose attention is read.")
@click.option("--count", default=84, show_default=True, help="How many scenes.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).with_name("result.json"))
def main(base_name: str, count: int, seed: int, out: Path) -> None:
    """Measure and write the result."""
    base = load_base(base_name)
    shown = scenes(count, seed)
    renders = render(shown)
    result: dict[str, object] = {
        "what": "IoU of masks found in renders of one toy with their true masks",
        "base": base.name,
        "scenes": count,
        "seed": seed,
        "version": __version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
    for method in METHODS:
        overlaps, begun = [], time.perf_counter()
        for scene, drawn in zip(shown, renders, strict=True):
            found = concept_mask(base, to_image(drawn.image), scene.placements[0].toy.kind, method) > 0.5
            true = drawn.masks[0] > 127
            overlaps.append(float((found & true).sum() / (found | true).sum()))
        quartiles = statistics.quantiles(overlaps, n=4)
        result[method] = {
            "mean_iou": round(statistics.mean(overlaps), 3),
            "quartiles": [round(value, 3) for value in quartiles],
            "share_above_0.7": round(sum(value > 0.7 for value in overlaps) / count, 3),
            "seconds_a_picture": round((time.perf_counter() - begun) / count, 3),
        }
        click.echo(f"{method}: {result[method]}")
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
