"""How faithful pictures are, as CLIP sees it: alignment with photographs and prompts, and leaks between concepts.

The measures are those of the Spectral Adapter paper (arXiv:2405.13952, appendix F.7): the cosine between a picture and
the reference photographs, the cosine between a picture and its prompt, pictures of several objects cropped into each
object's part first, and means over trials. They come with bootstrap intervals, for a mean over eight says little alone.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL import Image

from spectral_diffusion.diffusion.scorer import Scorer, padded_square
from spectral_diffusion.errors import InputError

_RESAMPLES = 2000


class Box(NamedTuple):
    """A part of a picture, in fractions of its width and height."""

    left: float
    top: float
    right: float
    bottom: float

    def crop(self, image: Image.Image) -> Image.Image:
        """That part of a picture, padded to a square, so that its object keeps its shape for any CLIP."""
        left, top = int(self.left * image.width), int(self.top * image.height)
        right, bottom = round(self.right * image.width), round(self.bottom * image.height)
        return padded_square(image.crop((left, top, max(right, left + 1), max(bottom, top + 1))))


def columns(count: int) -> tuple[Box, ...]:
    """The parts of a picture whose objects stand side by side: `count` equal columns from left to right."""
    return tuple(Box(index / count, 0.0, (index + 1) / count, 1.0) for index in range(count))


@dataclass(frozen=True)
class Estimate:
    """A mean and the interval that holds it in 95 % of bootstrap resamples; `count` values went in."""

    mean: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @classmethod
    def of(cls, trials: Sequence[Sequence[float]], seed: int = 0) -> "Estimate":
        """The mean over trials of each trial's mean, resampled as it was drawn: trials first, then values in a trial.

        Args:
            trials: One or more trials of one or more values.
            seed: Of the resampling; the same values give the same interval everywhere.
        """
        generator = torch.Generator().manual_seed(seed)
        resampled = []
        for values in trials:
            tensor = torch.tensor(list(values), dtype=torch.float64)
            picks = torch.randint(len(tensor), (_RESAMPLES, len(tensor)), generator=generator)
            resampled.append(tensor[picks].mean(dim=1))
        stacked = torch.stack(resampled, dim=1)
        picks = torch.randint(len(trials), (_RESAMPLES, len(trials)), generator=generator)
        means = stacked.gather(1, picks).mean(dim=1)
        low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        mean = sum(sum(values) / len(values) for values in trials) / len(trials)
        return cls(mean, low, high, sum(len(values) for values in trials))


@dataclass(frozen=True)
class AlignmentScore:
    """Alignment with the reference photographs and with the prompt; None where nothing was given to compare with.

    `image_each` and `text_each` are those of every picture, in the order given; empty where the mean is None.
    """

    image: Estimate | None
    text: Estimate | None
    image_each: tuple[float, ...] = ()
    text_each: tuple[float, ...] = ()


def alignment(
    scorer: Scorer,
    images: Sequence[Image.Image],
    prompt: str | Sequence[str] | None = None,
    references: Sequence[Image.Image] = (),
    *,
    class_words: Mapping[str, str] | None = None,
    trials: Sequence[int] | None = None,
    seed: int = 0,
) -> AlignmentScore:
    """CLIP alignment of pictures of one concept (F.7).

    Args:
        scorer: The CLIP.
        images: At least one picture.
        prompt: What was asked for, of all pictures or of each; concept tokens are read as their class words.
        references: The concept's photographs; a picture's score is its mean cosine with all of them.
        class_words: Concept token to class word, `{"<octo>": "octopus"}`. A token without one is dropped.
        trials: For each picture the trial it belongs to; the score is then a mean over trials.
        seed: Of the bootstrap.

    Raises:
        InputError: No picture, or neither prompt nor references, or trials of another length.
    """
    if not references and prompt is None:
        raise InputError(
            "there is nothing to compare the pictures with", "give a prompt, reference photographs or both"
        )
    grouped = _grouping(len(images), trials)
    vectors = scorer.embed_images(images)
    cosines = (vectors @ scorer.embed_images(references).T).mean(dim=1) if references else None
    fitting = _text_cosines(scorer, vectors, prompt, class_words) if prompt is not None else None
    return _score(cosines, fitting, grouped, seed)


def alignment_of_parts(
    scorer: Scorer,
    images: Sequence[Image.Image],
    prompt: str | Sequence[str] | None,
    parts: Sequence[tuple[Box, Sequence[Image.Image]]],
    *,
    class_words: Mapping[str, str] | None = None,
    trials: Sequence[int] | None = None,
    seed: int = 0,
) -> AlignmentScore:
    """CLIP alignment of pictures of several concepts: every picture is cropped into each object's part (F.7).

    Args:
        scorer: The CLIP.
        images: At least one picture, all with the objects in the same places.
        prompt: What was asked for, of all or of each, compared with the whole picture; None skips that.
        parts: For every object where it stands and its reference photographs; the mean over objects is taken.
        class_words: Concept token to class word.
        trials: For each picture the trial it belongs to.
        seed: Of the bootstrap.
    """
    grouped = _grouping(len(images), trials)
    means = torch.zeros(len(images))
    for box, references in parts:
        crops = scorer.embed_images([box.crop(image) for image in images])
        means += (crops @ scorer.embed_images(references).T).mean(dim=1) / len(parts)
    fitting = None
    if prompt is not None:
        fitting = _text_cosines(scorer, scorer.embed_images(images), prompt, class_words)
    return _score(means, fitting, grouped, seed)


@dataclass(frozen=True)
class LeakMatrix:
    """How alike every region is to every concept.

    Attributes:
        concepts: Names; region i is where concept i was asked for.
        similarity: Mean cosine, row = region, column = concept.
        own: For every region, how often its own concept is the nearest one.
        each: The cosines of every picture, in the order given.
    """

    concepts: tuple[str, ...]
    similarity: tuple[tuple[float, ...], ...]
    own: tuple[Estimate, ...]
    each: tuple[tuple[tuple[float, ...], ...], ...] = ()


def leak_matrix(
    scorer: Scorer,
    images: Sequence[Image.Image],
    boxes: Sequence[Box],
    references: Mapping[str, Sequence[Image.Image]],
    *,
    seed: int = 0,
) -> LeakMatrix:
    """Similarity of every region to every concept: what stands off the diagonal has leaked.

    Args:
        scorer: The CLIP.
        images: Pictures with all concepts in them, each concept in its own region.
        boxes: The region of each concept, in the order of `references`.
        references: Concept name to its photographs.
        seed: Of the bootstrap.

    Raises:
        InputError: No picture, or not one region for every concept.
    """
    if not images or len(boxes) != len(references):
        raise InputError(
            f"{len(images)} pictures with {len(boxes)} regions for {len(references)} concepts",
            "give at least one picture and one region for every concept",
        )
    photographs = [scorer.embed_images(photos) for photos in references.values()]
    cosines = torch.empty(len(images), len(boxes), len(photographs))
    for region, box in enumerate(boxes):
        crops = scorer.embed_images([box.crop(image) for image in images])
        for concept, vectors in enumerate(photographs):
            cosines[:, region, concept] = (crops @ vectors.T).mean(dim=1)
    nearest = cosines.argmax(dim=2)
    own = tuple(Estimate.of([(nearest[:, region] == region).double().tolist()], seed) for region in range(len(boxes)))
    each = tuple(_rows(matrix) for matrix in cosines)
    return LeakMatrix(tuple(references), _rows(cosines.mean(dim=0)), own, each)


def likeness_of_photographs(
    scorer: Scorer, references: Mapping[str, Sequence[Image.Image]]
) -> tuple[tuple[float | None, ...], ...]:
    """How alike the photographs of concepts are: the yardstick for pictures of them.

    Args:
        scorer: The CLIP.
        references: Concept name to its photographs.

    Returns:
        Mean cosine, row and column a concept. On the diagonal those of different photographs of one concept; None where
        it has only one.
    """
    vectors = [scorer.embed_images(photographs) for photographs in references.values()]

    def mean(row: int, column: int) -> float | None:
        cosines = vectors[row] @ vectors[column].T
        if row != column:
            return float(cosines.mean())
        others = ~torch.eye(len(cosines), dtype=torch.bool)
        return float(cosines[others].mean()) if len(cosines) > 1 else None

    return tuple(tuple(mean(row, column) for column in range(len(vectors))) for row in range(len(vectors)))


def plain_prompt(prompt: str, class_words: Mapping[str, str]) -> str:
    """A prompt in words a CLIP knows: every concept token replaced by its class word, or dropped when it has none."""
    words = re.sub(r"<[^<>\s]+>", lambda match: class_words.get(match.group(), ""), prompt)
    return " ".join(words.split())


def _rows(matrix: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())


def _score(
    image: torch.Tensor | None,
    text: torch.Tensor | None,
    grouped: Callable[[torch.Tensor], list[list[float]]],
    seed: int,
) -> AlignmentScore:
    """The score from the cosines of every picture."""
    means = [None if values is None else Estimate.of(grouped(values), seed) for values in (image, text)]
    each = [() if values is None else tuple(values.tolist()) for values in (image, text)]
    return AlignmentScore(means[0], means[1], each[0], each[1])


def _text_cosines(
    scorer: Scorer, vectors: torch.Tensor, prompt: str | Sequence[str], class_words: Mapping[str, str] | None
) -> torch.Tensor:
    prompts = [prompt] * len(vectors) if isinstance(prompt, str) else list(prompt)
    if len(prompts) != len(vectors):
        raise InputError(f"{len(vectors)} pictures with {len(prompts)} prompts", "give one for all or one for each")
    return (vectors * scorer.embed_texts([plain_prompt(text, class_words or {}) for text in prompts])).sum(dim=1)


def _grouping(count: int, trials: Sequence[int] | None) -> Callable[[torch.Tensor], list[list[float]]]:
    if count == 0:
        raise InputError("there is no picture to score", "name at least one")
    if trials is not None and len(trials) != count:
        raise InputError(f"{count} pictures with {len(trials)} trial numbers", "give one number for every picture")

    def grouped(values: torch.Tensor) -> list[list[float]]:
        by_trial: dict[int, list[float]] = {}
        for trial, value in zip(trials or [0] * count, values.tolist(), strict=True):
            by_trial.setdefault(trial, []).append(value)
        return list(by_trial.values())

    return grouped
