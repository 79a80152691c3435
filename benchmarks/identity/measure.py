"""Who keeps three toys apart: normalised identity alone and together, of spectral slots and of LoRA, on one engine.

    python benchmarks/identity/measure.py --toys samples --training-seeds 3

Every contestant is trained on the same photographs, with the same losses and as many steps, each concept without the
others; then each is drawn alone, and three at a time on a wide canvas, always with the same seeds. The instrument
(`spectral_diffusion.toybox.instrument`) finds the toys and compares each with the one that was meant. What is written:
`result-TOYS.json`, and contact sheets beside it. Adapters are kept in `--work`, and taken from there the next time.
"""

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from contestants import CONTESTANTS, Contestant, put_together, train
from PIL import Image
from torch import Tensor

from spectral_diffusion import __version__
from spectral_diffusion.adapters import Adapter
from spectral_diffusion.config import Config, load_config
from spectral_diffusion.diffusion.base import Base, load_base
from spectral_diffusion.diffusion.dataset import load_concept
from spectral_diffusion.diffusion.pipeline import generate
from spectral_diffusion.fusion import FusedAdapter, fuse
from spectral_diffusion.sheets import labelled_grid
from spectral_diffusion.toybox.frozen_toys import FROZEN
from spectral_diffusion.toybox.instrument.exam import INSTRUMENT, SCORER
from spectral_diffusion.toybox.instrument.finder import ToyFinder, load_finder
from spectral_diffusion.toybox.instrument.identity import (
    Region,
    Yardstick,
    identity_alone,
    identity_together,
    measure_toy,
)
from spectral_diffusion.toybox.judges import ToyClip
from spectral_diffusion.toybox.phrases import with_article
from spectral_diffusion.toybox.sample_concept import SampleConcept
from spectral_diffusion.toybox.sample_concepts import SAMPLES, write_concept

HERE = Path(__file__).parent
PLACES = ("on the beach", "in the snow", "in the desert")
FIRST_SEED = 7_001


@click.command()
@click.option("--toys", type=click.Choice(["samples", "frozen"]), default="samples", show_default=True)
@click.option("--training-seeds", default=3, show_default=True, help="Trainings of everything, from seed 0 on.")
@click.option("--alone", default=10, show_default=True, help="Pictures of each concept alone.")
@click.option("--together", default=24, show_default=True, help="Pictures of three concepts, in each of three places.")
@click.option("--steps", default=0, show_default=True, help="Training steps; 0: the recipe's.")
@click.option("--rate", "rates", multiple=True, metavar="METHOD=RATE", help="Learning rate of a method; repeatable.")
@click.option(
    "--only", multiple=True, metavar="NAME", help="Of the contestants, by the names in the table; repeatable."
)
@click.option("--device", default="auto", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), help="Keeps adapters; by default they are forgotten.")
@click.option("--out", type=click.Path(path_type=Path), default=HERE, help="Gets the result and the sheets.")
def main(
    toys: str,
    training_seeds: int,
    alone: int,
    together: int,
    steps: int,
    rates: tuple[str, ...],
    only: tuple[str, ...],
    device: str,
    work: Path | None,
    out: Path,
) -> None:
    """Measure and write down."""
    config = load_config()
    if steps:
        config = config.override({"training.steps": steps, "training.warmup_steps": max(1, steps * 14 // 90)})
    contestants = [contestant for contestant in CONTESTANTS if not only or contestant.name in only]
    if unknown := set(only) - {contestant.name for contestant in CONTESTANTS}:
        raise click.BadParameter(
            f"{', '.join(sorted(unknown))}: {', '.join(one.name for one in CONTESTANTS)} take part"
        )
    own_rates = {name: float(rate) for name, _, rate in (text.partition("=") for text in rates)}
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(toys, config, device, work or Path(temporary))
        rows: dict[str, list[dict[str, float]]] = {contestant.name: [] for contestant in contestants}
        seconds: dict[str, list[float]] = {}
        for seed in range(training_seeds):
            for contestant in contestants:
                training = contestant.training
                began = time.perf_counter()
                adapters = bench.train(contestant, seed, own_rates)
                took = time.perf_counter() - began
                if took > 1:
                    seconds.setdefault(f"{training.method}{' in one slot' * training.one_slot}", []).append(took)
                row, pictures = bench.judge(contestant, adapters, alone, together)
                rows[contestant.name].append(row)
                click.echo(json.dumps({"training_seed": seed, "contestant": contestant.name, **row}))
                if seed == 0:
                    slug = contestant.name.replace(",", "").replace(" ", "-")
                    pictures.convert("RGB").save(out / f"{toys}-{slug}.jpg", quality=82)
    result = {
        "what": "normalised identity by region; means over training seeds, with their standard deviation",
        "toys": toys,
        "training_seeds": training_seeds,
        "pictures_alone": alone * len(bench.concepts),
        "pictures_together": together * len(PLACES) * len(bench.groups),
        "first_seed": FIRST_SEED,
        "steps": config.training.steps,
        "rates": {
            method: own_rates.get(method, config.training.learning_rates.unet) for method in ("spectral", "lora")
        },
        "version": __version__,
        "machine": f"{platform.machine()}, {bench.base.device.type}, torch {torch.__version__}",
        "seconds_to_train": {name: [round(value, 1) for value in values] for name, values in seconds.items()},
        "contestants": {name: _over_seeds(values) for name, values in rows.items()},
    }
    (out / f"result-{toys}.json").write_text(json.dumps(result, indent=1) + "\n")
    click.echo(json.dumps(result["contestants"], indent=1))


class Bench:
    """A model, the toys, the instrument, and the yardstick of each toy.

    Args:
        toys: "samples" or "frozen".
        config: The recipe.
        device: Where to compute.
        work: Keeps adapters and photographs.
    """

    def __init__(self, toys: str, config: Config, device: str, work: Path) -> None:
        self.toys: Mapping[str, SampleConcept] = SAMPLES if toys == "samples" else FROZEN
        self.config, self.work = config, work / toys
        self.base: Base = load_base(config.base, device=device)
        self.finder: ToyFinder = load_finder(INSTRUMENT / "finder.safetensors", self.base.device)
        self.clip = ToyClip(SCORER, self.base.device)
        for name, concept in self.toys.items():
            write_concept(name, concept, self.work / "concepts")
        self.concepts = [load_concept(self.work / "concepts" / name) for name in self.toys]
        names = list(self.toys)
        self.groups = [names[start : start + 3] for start in range(0, len(names), 3)]
        self.yardsticks: dict[str, Yardstick] = {}
        for name, concept in self.toys.items():
            prompts = [f"a photo of {with_article(concept.toy.kind)} {place}" for place in PLACES]
            draws = [picture for prompt in prompts for picture in self.draw(None, prompt, 5, wide=False)]
            self.yardsticks[name] = measure_toy(concept.toy, draws, self.finder, self.clip)

    def train(self, contestant: Contestant, seed: int, rates: Mapping[str, float]) -> list[Adapter]:
        """All concepts' adapters, each trained without the others."""
        training = contestant.training
        overrides: dict[str, object] = {"training.seed": seed}
        if training.method in rates:
            overrides["training.learning_rates.unet"] = rates[training.method]
        folder = self.work / f"{training.method}{'-one-slot' * training.one_slot}-{seed}"
        return train(training, self.config, self.base, self.concepts, folder, overrides)

    def judge(
        self, contestant: Contestant, adapters: Sequence[Adapter], alone: int, together: int
    ) -> tuple[dict[str, float], Image.Image]:
        """A row of the table, and its pictures."""
        by_name = {adapter.name: adapter for adapter in adapters}
        solo: list[Region] = []
        shown: list[Tensor] = []
        for name, concept in self.toys.items():
            fused = fuse([by_name[name]])
            places = [PLACES[number % len(PLACES)] for number in range(alone)]
            pictures = [
                self.draw(fused, f"a photo of {concept.token} {place}", 1, wide=False, seed=FIRST_SEED + number)[0]
                for number, place in enumerate(places)
            ]
            solo += identity_alone(pictures, name, self.yardsticks, self.finder, self.clip)
            shown += pictures[:4]
        scenes: list[list[Region]] = []
        wide: list[Tensor] = []
        for group in self.groups:
            fused = put_together(contestant, [by_name[name] for name in group])
            tokens = " and ".join(self.toys[name].token for name in group)
            for place in PLACES:
                pictures = self.draw(fused, f"a photo of {tokens} {place}", together, wide=True)
                scenes += identity_together(pictures, group, self.yardsticks, self.finder, self.clip)
                wide += pictures[:8]
        regions = [region for scene in scenes for region in scene]
        row = {
            "alone": _mean([region.identity for region in solo]),
            "alone_own": _mean([region.is_own for region in solo]),
            "together": _mean([region.identity for region in regions]),
            "worst_of_three": _mean([min(region.identity for region in scene) for scene in scenes]),
            "in_order": _mean([all(region.is_own for region in scene) for scene in scenes]),
            "own": _mean([region.is_own for region in regions]),
        }
        # Wide pictures begin a row of their own.
        blank = [torch.full_like(shown[0], 255)] * (-len(shown) % 8)
        images = [_image(picture) for picture in (*shown, *blank, *wide)]
        return row, labelled_grid(images, 8, heading=f"{contestant.name}: {row}")

    def draw(
        self, fused: FusedAdapter | None, prompt: str, count: int, *, wide: bool, seed: int = FIRST_SEED
    ) -> list[Tensor]:
        """Pictures as uint8 (3, h, w), by the recipe's sampler settings."""
        recipe = self.config.generation
        drawn = generate(
            self.base,
            fused,
            prompt,
            seed=seed,
            steps=recipe.steps,
            guidance_scale=recipe.guidance_scale,
            width_px=192 if wide else 128,
            height_px=128,
            count=count,
        )
        return [torch.from_numpy(np.array(picture.image)).permute(2, 0, 1) for picture in drawn]


def _over_seeds(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Mean and standard deviation of each measure."""
    return {
        name: {
            "mean": round(statistics.mean(row[name] for row in rows), 3),
            "spread": round(statistics.stdev(row[name] for row in rows), 3) if len(rows) > 1 else None,
            "values": [row[name] for row in rows],
        }
        for name in rows[0]
    }


def _image(picture: Tensor) -> Image.Image:
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())


def _mean(values: Sequence[float | bool]) -> float:
    return round(sum(values) / len(values), 3)


if __name__ == "__main__":
    main()
