"""How far the base draws what a prompt says: kinds, colours, and which stands where, as finder and reader see it.

    python -m spectral_diffusion.toybox.instrument.obedience --reader FILE --count 500

One toy on a square canvas, and three on a wide one. Everything else a prompt can say is left out, so that a picture is
right or wrong for one reason alone.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from spectral_diffusion.toybox.backgrounds import BACKGROUNDS
from spectral_diffusion.toybox.instrument.exam import INSTRUMENT
from spectral_diffusion.toybox.instrument.finder import ToyFinder, find_toys, load_finder
from spectral_diffusion.toybox.instrument.reader import ToyReader, load_reader, read_toys
from spectral_diffusion.toybox.judges import JudgedPrompt, contact_sheet, draw
from spectral_diffusion.toybox.phrases import with_article
from spectral_diffusion.toybox.toy import COLOURS, KINDS

SEED = 40_009


class Said(NamedTuple):
    """A prompt, and the (kind, colour) of each toy in it from left to right."""

    prompt: JudgedPrompt
    toys: tuple[tuple[str, str], ...]


def plain_prompts(count: int, toys: int, canvas: str, seed: int = SEED) -> list[Said]:
    """Prompts that say nothing but kinds, colours and a background; no kind and no colour twice in one."""
    rng = random.Random(f"{seed} {toys}")
    said = []
    for _ in range(count):
        named = tuple(zip(rng.sample(KINDS, toys), rng.sample(tuple(COLOURS), toys), strict=True))
        phrases = " and ".join(with_article(f"{colour} {kind}") for kind, colour in named)
        said.append(Said(JudgedPrompt(f"a photo of {phrases} {rng.choice(BACKGROUNDS)}", canvas, ()), named))
    return said


@torch.no_grad()
def obedience(
    pictures: Sequence[Tensor], said: Sequence[Said], finder: ToyFinder, reader: ToyReader
) -> dict[str, float]:
    """What of the pictures is as it was said.

    Args:
        pictures: uint8 (3, h, w) of one size.
        said: What each was drawn from.
        finder, reader: The instrument.

    Returns:
        `counted`, the share of pictures with as many toys found as were said; `kinds_in_order`, with these and all
        kinds in their places; `all_right`, with all colours, too; `colours`, the share of toys of the right colour
        among those of the right kind in their place.
    """
    counted = in_order = all_right = placed = coloured = 0
    for start in range(0, len(pictures), 32):
        batch = torch.stack(list(pictures[start : start + 32]))
        for image, toys, (_, meant) in zip(batch, find_toys(finder, batch), said[start : start + 32], strict=True):
            looks = read_toys(reader, image.expand(len(toys), -1, -1, -1), toys)
            seen = [(look["kind"], look["colour"]) for look in looks]
            counted += len(seen) == len(meant)
            pairs = list(zip(seen, meant, strict=False))
            kinds = [kind == said_kind for (kind, _), (said_kind, _) in pairs]
            right = [one == other for one, other in pairs]
            in_order += len(seen) == len(meant) and all(kinds)
            all_right += len(seen) == len(meant) and all(right)
            placed += sum(kinds)
            coloured += sum(right)
    count = max(len(pictures), 1)
    return {
        "counted": round(counted / count, 4),
        "kinds_in_order": round(in_order / count, 4),
        "all_right": round(all_right / count, 4),
        "colours": round(coloured / max(placed, 1), 4),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, default=Path(__file__).parents[1] / "weights", help="of the base")
    parser.add_argument("--reader", type=Path, default=INSTRUMENT / "reader.safetensors")
    parser.add_argument("--count", type=int, default=500, help="pictures of one toy, and as many of three")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sheets", type=Path, help="folder that gets the first 64 pictures of each")
    options = parser.parse_args()
    finder = load_finder(INSTRUMENT / "finder.safetensors", options.device)
    reader = load_reader(options.reader, options.device)
    measures = {}
    for toys, canvas in ((1, "square"), (3, "wide")):
        said = plain_prompts(options.count, toys, canvas)
        pictures = draw(options.weights, [one.prompt for one in said], options.device, batch_size=32)
        if options.sheets is not None:
            options.sheets.mkdir(parents=True, exist_ok=True)
            contact_sheet(pictures[:64]).save(options.sheets / f"{toys}.png")
        measures[f"{toys} of {canvas}"] = obedience(pictures, said, finder, reader)
    sys.stdout.write(json.dumps(measures, indent=1) + "\n")


if __name__ == "__main__":
    main()
