"""How much a drawn toy is the one that was meant: normalised identity by region.

    identity = (x - class word) / (fresh render - class word)

x is the cosine between the toy in the picture and the mean of renders of the toy that was meant, both cut out and seen
by the toy CLIP; *class word* is what the base's draws of the mere class word reach, *fresh render* what new renders of
the toy reach. So 0 is "any octopus" and 1 "as good as a new photograph". The finder says where the toys are; a toy that
is not there, or stands in another's place, is a failure and counts as 0.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.instrument.finder import FoundToy, ToyFinder, find_toys
from spectral_diffusion.toybox.judges import ToyClip
from spectral_diffusion.toybox.phrases import with_article
from spectral_diffusion.toybox.scene import Placement, Scene, render
from spectral_diffusion.toybox.sprites import sample_yaw
from spectral_diffusion.toybox.toy import Toy
from spectral_diffusion.toybox.train_clip import cut_out

REFERENCES, FRESH = 8, 8
_PLACES = ("in a garden", "on a wooden floor", "on the beach", "in the snow", "in a tiled room", "near a lake")
_SEED = 30_011


class Yardstick(NamedTuple):
    """What a concept's toy is measured by.

    reference: (192,) unit vector, the mean of its renders. class_word, fresh: cosines with it that mean 0 and 1.
    """

    reference: Tensor
    class_word: float
    fresh: float

    def identity(self, seen: Tensor) -> float:
        """Normalised identity of a unit vector (192,)."""
        return (float(seen @ self.reference) - self.class_word) / (self.fresh - self.class_word)


class Region(NamedTuple):
    """What stands in the place of a concept.

    Args:
        concept: Whose place it is.
        identity: Normalised; 0 where nobody stands, or one that is nearer to another concept.
        closest: The concept whose toy it is most like; None where nobody stands.
        box: Left, top, right, bottom in px.
    """

    concept: str
    identity: float
    closest: str | None
    box: tuple[int, int, int, int] | None

    @property
    def is_own(self) -> bool:
        """Whether the toy that was meant stands there."""
        return self.closest == self.concept


def measure_toy(toy: Toy, class_draws: Sequence[Tensor], finder: ToyFinder, clip: ToyClip) -> Yardstick:
    """The yardstick of a toy.

    Args:
        toy: The one that is meant.
        class_draws: What the base draws for the class word, uint8 (3, h, w) of one size; those without a toy count not.
        finder, clip: The instrument.

    Raises:
        InputError: No draw shows a toy, or fresh renders are no more like the toy than the draws.
    """
    seen = clip.embed_squares(torch.cat(_render_cuts(toy))).cpu()
    reference = F.normalize(seen[:REFERENCES].mean(0), dim=0)
    fresh = float((seen[REFERENCES:] @ reference).mean())
    drawn = _largest(finder, class_draws)
    if not drawn:
        raise InputError(
            f"no toy is found in {len(class_draws)} draws of {with_article(toy.kind)}", "draw more, or look at them"
        )
    class_word = float((embed_toys(clip, drawn) @ reference).mean())
    if fresh <= class_word:
        raise InputError(
            f"renders of the {toy.kind} reach {fresh:.3f} where the class word reaches {class_word:.3f}",
            "choose a toy that the class word does not draw",
        )
    return Yardstick(reference, class_word, fresh)


def identity_alone(
    images: Sequence[Tensor], concept: str, yardsticks: Mapping[str, Yardstick], finder: ToyFinder, clip: ToyClip
) -> list[Region]:
    """How much the largest toy of each picture is the concept's.

    Args:
        images: uint8 (3, h, w), of one size.
        concept: Who was meant, a key of `yardsticks`.
        yardsticks: Of all concepts that it is compared with.
        finder, clip: The instrument.
    """
    regions = []
    for image, toys in zip(images, find_toys(finder, torch.stack(list(images))), strict=True):
        largest = max(toys, key=lambda toy: int(toy.mask.sum()), default=None)
        regions.append(_region(image, largest, concept, yardsticks, clip))
    return regions


def identity_together(
    images: Sequence[Tensor],
    concepts: Sequence[str],
    yardsticks: Mapping[str, Yardstick],
    finder: ToyFinder,
    clip: ToyClip,
) -> list[list[Region]]:
    """Who stands where in each picture, by the concepts' order from left to right.

    Where more toys are found than were meant, or fewer, the toys are taken for those concepts, in this order, that they
    are most like; the places that are left are failures.

    Args:
        images: uint8 (3, h, w), of one size.
        concepts: Who was meant, from left to right; keys of `yardsticks`.
        yardsticks, finder, clip: As for `identity_alone`.
    """
    answers = []
    for image, toys in zip(images, find_toys(finder, torch.stack(list(images))), strict=True):
        placed = _placed(image, toys, concepts, yardsticks, clip)
        answers.append(
            [
                _region(image, toy, concept, {name: yardsticks[name] for name in concepts}, clip)
                for concept, toy in zip(concepts, placed, strict=True)
            ]
        )
    return answers


def embed_toys(clip: ToyClip, found: Sequence[tuple[Tensor, FoundToy]]) -> Tensor:
    """Toys with the pictures they are in, cut out, to unit vectors (n, 192) on the CPU."""
    cuts = [cut_out(image[None], torch.tensor([toy.box]), exact=True) for image, toy in found]
    return clip.embed_squares(torch.cat(cuts)).cpu()


def _region(
    image: Tensor, toy: FoundToy | None, concept: str, yardsticks: Mapping[str, Yardstick], clip: ToyClip
) -> Region:
    if toy is None:
        return Region(concept, 0.0, None, None)
    seen = embed_toys(clip, [(image, toy)])[0]
    closest = max(yardsticks, key=lambda name: float(seen @ yardsticks[name].reference))
    identity = yardsticks[concept].identity(seen) if closest == concept else 0.0
    return Region(concept, identity, closest, toy.box)


def _placed(
    image: Tensor,
    toys: Sequence[FoundToy],
    concepts: Sequence[str],
    yardsticks: Mapping[str, Yardstick],
    clip: ToyClip,
) -> list[FoundToy | None]:
    """For each concept the toy in its place."""
    if len(toys) == len(concepts) or not toys:
        return list(toys) or [None] * len(concepts)
    seen = embed_toys(clip, [(image, toy) for toy in toys])
    likeness = torch.stack([seen @ yardsticks[name].reference for name in concepts])
    few = min(len(toys), len(concepts))
    choices = [
        (sum(float(likeness[place, own]) for place, own in zip(places, owned, strict=True)), places, owned)
        for places in combinations(range(len(concepts)), few)
        for owned in combinations(range(len(toys)), few)
    ]
    _, places, owned = max(choices)
    placed: list[FoundToy | None] = [None] * len(concepts)
    for place, own in zip(places, owned, strict=True):
        placed[place] = toys[own]
    return placed


def _largest(finder: ToyFinder, images: Sequence[Tensor]) -> list[tuple[Tensor, FoundToy]]:
    found = find_toys(finder, torch.stack(list(images)))
    return [
        (image, max(toys, key=lambda toy: int(toy.mask.sum())))
        for image, toys in zip(images, found, strict=True)
        if toys
    ]


def _render_cuts(toy: Toy) -> list[Tensor]:
    """The toy in scenes where nobody photographed it, cut out by where it truly is."""
    generator = torch.Generator().manual_seed(_SEED)
    scenes = []
    for number in range(REFERENCES + FRESH):
        size, x = 0.75 + 0.3 * float(torch.rand((), generator=generator)), 0.5
        placement = Placement(toy, x, 0.87, size, sample_yaw(toy.kind, generator))
        scenes.append(Scene((placement,), _PLACES[number % len(_PLACES)], seed=_SEED + number))
    cuts = []
    for picture in render(scenes):
        rows, columns = (picture.masks[0] > 127).nonzero(as_tuple=True)
        box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
        cuts.append(cut_out(picture.image[None], torch.tensor([box]), exact=True))
    return cuts
