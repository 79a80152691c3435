"""The three sample concepts: toys with marks that pretraining never showed, photographed five times each.

    python -m spectral_diffusion.toybox.sample_concepts --out concepts

made what `concepts/` ships. The pictures are renders, named photographs because that is what a person brings.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from spectral_diffusion.images import save_png, to_image
from spectral_diffusion.toybox.frozen_toys import FROZEN
from spectral_diffusion.toybox.sample_concept import SampleConcept
from spectral_diffusion.toybox.scene import Placement, Scene, render
from spectral_diffusion.toybox.toy import Accessory, Mark, Toy
from spectral_diffusion.workspace import write_atomically

PHOTOGRAPH_PX = 128


SAMPLES: Mapping[str, SampleConcept] = MappingProxyType(
    {
        "octo": SampleConcept(
            "<octo>",
            "purple octopus with a yellow star",
            Toy(
                "octopus",
                "purple",
                face="happy",
                marks=(Mark("star", "yellow", "forehead"),),
                tip_colour="yellow",
                shape=(0.5, 0.5, 0.6, 0.6, 0.6),
            ),
        ),
        "shelly": SampleConcept(
            "<shelly>",
            "green tortoise with orange stripes and a blue hat",
            Toy(
                "tortoise",
                "orange",
                pattern="striped",
                pattern_colour="brown",
                face="happy",
                accessories=(Accessory("hat", "blue"),),
                limb_colour="green",
                tip_colour="green",
                shape=(0.6, 0.7, 0.5, 0.5, 0.6),
            ),
        ),
        "spot": SampleConcept(
            "<spot>",
            "white dog with a black patch wearing a red scarf",
            Toy(
                "dog",
                "white",
                face="happy",
                accessories=(Accessory("scarf", "red"),),
                marks=(Mark("eye_patch", "black", "left eye"),),
                part_colour="brown",
                tip_colour="black",
                shape=(0.5, 0.5, 0.5, 0.6, 0.6),
            ),
        ),
    }
)
"""The sample concepts by name."""

# (background, middle x, ground y, size, turn): five views that show the toy from both sides, near and far.
_VIEWS = (
    ("near a lake", 0.50, 0.86, 0.98, 0.15),
    ("in a garden", 0.47, 0.88, 1.08, -0.45),
    ("on a wooden floor", 0.53, 0.87, 0.92, 0.50),
    ("in a tiled room", 0.50, 0.85, 0.85, -0.15),
    ("on a white background", 0.49, 0.86, 1.02, 0.35),
)


def photograph_scenes(toy: Toy) -> list[Scene]:
    """The five scenes in which a toy is photographed; the same for every toy, so that no place tells which it is."""
    return [
        Scene((Placement(toy, x, y, size, yaw),), place, PHOTOGRAPH_PX, PHOTOGRAPH_PX, seed=40 + number)
        for number, (place, x, y, size, yaw) in enumerate(_VIEWS)
    ]


def write_concept(name: str, concept: SampleConcept, out: Path) -> None:
    """Write `out/<name>/`: five photographs with their captions, and `concept.toml`.

    Raises:
        InputError: The folder cannot be written to.
    """
    folder = out / name
    for number, render_ in enumerate(render(photograph_scenes(concept.toy))):
        save_png(to_image(render_.image), folder / f"{number:02d}.png")
        caption = f"a photo of {concept.token} {_VIEWS[number][0]}\n"
        write_atomically(folder / f"{number:02d}.txt", lambda path, text=caption: path.write_text(text))
    settings = f'token = "{concept.token}"\nclass_word = "{concept.toy.kind}"\ndescription = "{concept.description}"\n'
    write_atomically(folder / "concept.toml", lambda path: path.write_text(settings))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Render the sample concepts.")
    parser.add_argument("--out", type=Path, default=Path("concepts"), help="folder that gets one folder a concept")
    parser.add_argument("--toys", choices=("samples", "frozen"), default="samples", help="which concepts")
    options = parser.parse_args()
    for name, concept in (SAMPLES if options.toys == "samples" else FROZEN).items():
        write_concept(name, concept, options.out)
        print(f"{options.out / name}")


if __name__ == "__main__":
    main()
