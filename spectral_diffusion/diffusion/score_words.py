"""What scores say, in words: from the answer of a score job to sentences for people."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spectral_diffusion.errors import InputError

FEW = 8
"""With fewer pictures a mean says little about the next ones."""
_Cosine = Annotated[float, Field(ge=-1.001, le=1.001, allow_inf_nan=False)]
_Matrix = tuple[tuple[_Cosine, ...], ...]


class _Values(BaseModel):
    # What a newer version says besides is no reason not to show the rest.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Interval(_Values):
    """A mean with its 95 % interval, of `count` values."""

    mean: _Cosine
    low: _Cosine
    high: _Cosine
    count: int = Field(ge=1)

    def within(self) -> str:
        """The interval in words; nothing for a single value, which has none."""
        return f", 95 % within {self.low:.2f} to {self.high:.2f}" if self.count > 1 else ""


class Leaks(_Values):
    """How alike each region is to each concept; rows are regions, columns concepts."""

    concepts: tuple[str, ...] = Field(min_length=2)
    similarity: _Matrix
    own_is_nearest: tuple[Interval, ...]

    @model_validator(mode="after")
    def _is_square(self) -> Self:
        count = len(self.concepts)
        if {len(self.similarity), len(self.own_is_nearest), *map(len, self.similarity)} != {count}:
            raise ValueError(f"is no matrix of {count} concepts")
        return self


class PictureScore(_Values):
    """The scores of one picture."""

    image: _Cosine | None = None
    text: _Cosine | None = None
    leaks: _Matrix | None = None

    @property
    def main(self) -> float | None:
        """What pictures are ranked by: likeness to the photographs, or to the prompt where there are none."""
        return self.image if self.image is not None else self.text

    @property
    def own_regions(self) -> int | None:
        """How many of its regions look most like their own concept."""
        return _own_regions(self.leaks) if self.leaks else None


class Scores(_Values):
    """What a score job found.

    Args:
        scorer: The CLIP that judged.
        prompt: What the pictures were compared with.
        pictures: How many there are.
        image_alignment, text_alignment: Of all; None where nothing was given to compare with.
        leaks: Where several concepts stand side by side.
        each: Of every picture, in order; empty in answers of older versions.
        concepts: The concepts they were compared with, from left to right.
        photographs: How alike the concepts' photographs are, row and column a concept: on the diagonal those of one
            concept among themselves, None where there is only one. Empty in answers of older versions.
    """

    scorer: str
    prompt: str | None = None
    pictures: int = Field(ge=1)
    image_alignment: Interval | None = None
    text_alignment: Interval | None = None
    leaks: Leaks | None = None
    each: tuple[PictureScore, ...] = ()
    concepts: tuple[str, ...] = ()
    photographs: tuple[tuple[_Cosine | None, ...], ...] = ()

    @classmethod
    def read(cls, answer: Any, concepts: Sequence[str] = ()) -> Self:
        """The scores out of a job's answer.

        Args:
            answer: What the job answered.
            concepts: What it was asked to compare with.

        Raises:
            InputError: It is no answer of a score job.
        """
        try:
            found = cls.model_validate({**answer, "concepts": tuple(concepts)})
        except (ValidationError, TypeError) as error:
            raise InputError("these scores cannot be read", "score the pictures again") from error
        sizes = {len(found.photographs), *map(len, found.photographs)}
        if found.photographs and sizes != {len(found.concepts)}:
            raise InputError("these scores are of other concepts", "score the pictures again")
        return found

    def own_likeness(self, concept: str) -> float | None:
        """What a concept's photographs score among themselves; None where that is not known."""
        if concept not in self.concepts:
            return None
        return self.likeness(self.concepts.index(concept), self.concepts.index(concept))

    def likeness(self, row: int, column: int) -> float | None:
        """How alike the photographs of two concepts are; None where that is not known."""
        return self.photographs[row][column] if self.photographs else None

    def headline(self) -> list[tuple[str, str]]:
        """Its large figures with what they mean."""
        found = [
            (f"{estimate.mean:.2f}", f"{name} alignment{estimate.within()}")
            for name, estimate in (("image", self.image_alignment), ("text", self.text_alignment))
            if estimate is not None
        ]
        pictures = (str(self.pictures), "pictures" if self.pictures > 1 else "picture")
        return [*found, pictures, (self.scorer, "the CLIP that judged")]

    def sentences(self) -> list[str]:
        """What was found, in words."""
        found = [*self._about_image(), *self._about_text(), *self._about_count()]
        return [*found, *leak_sentences(self)]

    def _about_image(self) -> list[str]:
        if self.image_alignment is None:
            return []
        names = in_words(self.concepts) or "the concept"
        compared = f"each picture's mean cosine with the photographs of {names}"
        if len(self.concepts) > 1:
            compared = (
                f"each picture was cut into {len(self.concepts)} equal columns, and each column compared with the "
                f"photographs of its concept, from left to right {names}"
            )
        known = [f"{value:.2f}" for name in self.concepts if (value := self.own_likeness(name)) is not None]
        yardstick = ""
        if known and len(self.concepts) == 1:
            yardstick = f"; {names}'s own photographs among themselves score {known[0]}"
        elif known:
            yardstick = f"; the photographs of {names} among themselves score {in_words(known)}"
        return [f"Image alignment: {compared}. 1.00 is the same picture{yardstick}."]

    def _about_text(self) -> list[str]:
        if self.text_alignment is not None:
            return [
                "Text alignment: the cosine between each picture and the prompt "
                f'"{self.prompt or ""}", concepts read as their class words. A picture and a text are never close to '
                "1: compare it with the text alignment of other pictures of the same prompt only."
            ]
        if self.prompt is None:
            return ["No text alignment: the pictures tell no common prompt, and none was written."]
        return []

    def _about_count(self) -> list[str]:
        judged = (
            f"{self.scorer} judged." if self.scorer != "toybox" else "toybox's own CLIP judged; it knows toys only."
        )
        if self.pictures == 1:
            return [f"{judged} One picture says nothing about the next: score {FEW} or more."]
        width = (
            f"In 95 % of resamples of these {self.pictures} pictures the mean lies within the interval beside it: "
            "smaller differences are chance."
        )
        few = f" {self.pictures} are few, so it is wide." if self.pictures < FEW else ""
        return [f"{judged} {width}{few}"]


def leak_sentences(scores: Scores) -> list[str]:
    """The leak matrix in words; nothing where there is none."""
    leaks = scores.leaks
    if leaks is None:
        return []
    count = len(leaks.concepts)
    own = _own_regions(leaks.similarity)
    said = [f"Regions look most like their own concept in {own} of {count}, on average over the pictures."]
    often = [f"{name} {share.mean:.0%}" for name, share in zip(leaks.concepts, leaks.own_is_nearest, strict=True)]
    if scores.pictures > 1:
        said.append(f"Picture by picture the own concept is the nearest one in: {in_words(often)}.")
    value, region, concept = _strongest_leak(scores, leaks)
    name, other = leaks.concepts[region], leaks.concepts[concept]
    alike = scores.likeness(region, concept)
    usual = "" if alike is None else f"; {name}'s photographs look {alike:.2f} like {other} anyway"
    itself = leaks.similarity[region][region]
    said.append(
        f"The strongest leak: {name}'s region looks {value:.2f} like {other} and {itself:.2f} like {name}{usual}."
    )
    return said


def in_words(names: Sequence[str]) -> str:
    """Things one after another: "octo, shelly and spot"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _strongest_leak(scores: Scores, leaks: Leaks) -> tuple[float, int, int]:
    """The similarity, region and concept of what stands out most from what the photographs alone explain."""
    pairs = [
        (value - (scores.likeness(region, concept) or 0.0), value, region, concept)
        for region, row in enumerate(leaks.similarity)
        for concept, value in enumerate(row)
        if region != concept
    ]
    return max(pairs)[1:]


def _own_regions(matrix: _Matrix) -> int:
    return sum(max(range(len(row)), key=row.__getitem__) == region for region, row in enumerate(matrix))
