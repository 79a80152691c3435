"""How scores change over a training: from the scores of its sample pictures to a line with words."""

from collections.abc import Sequence
from dataclasses import dataclass

from spectral_diffusion.chart import Line
from spectral_diffusion.diffusion.score_words import Scores

STEP_LABEL = "training step"
ALIGNMENT_LABEL = "image alignment"
TREND_NOTE = (
    "Each point is what one step's sample scores, drawn with one and the same seed: look at the way the line goes, not "
    "at one point. A high score near the end may also mean that the photographs are copied: look at the samples too."
)


@dataclass(frozen=True)
class Trend:
    """The alignment of one concept by training step.

    Args:
        concept: Its name.
        points: (step, mean cosine of that step's samples with the photographs), by step.
        own: What the photographs score among themselves, the most that samples can be expected to reach.
    """

    concept: str
    points: tuple[tuple[int, float], ...]
    own: float | None = None

    @classmethod
    def of(cls, concept: str, steps: Sequence[int], scores: Scores) -> "Trend":
        """The trend of a concept.

        Args:
            concept: Its name.
            steps: Of every picture that was scored, in order.
            scores: What was found.
        """
        by_step: dict[int, list[float]] = {}
        for step, one in zip(steps, scores.each, strict=False):
            if one.image is not None:
                by_step.setdefault(step, []).append(one.image)
        points = tuple((step, sum(values) / len(values)) for step, values in sorted(by_step.items()))
        return cls(concept, points, scores.own_likeness(concept))

    @property
    def line(self) -> Line:
        """As a line of a chart."""
        return Line(self.concept, self.points, self.own, f"{self.concept}'s photographs among themselves")

    @property
    def sentence(self) -> str:
        """What the line shows, in words."""
        if not self.points:
            return f"{self.concept}: no sample was scored."
        (first, begun), (last, ended) = self.points[0], self.points[-1]
        if first == last:
            return f"{self.concept} scores {begun:.2f} at step {first}{self._of_own()}."
        best_step, best = max(self.points, key=lambda point: point[1])
        way = "rises" if ended > begun else "falls"
        top = "" if best_step == last else f" It is highest at step {best_step}, {best:.2f}."
        return (
            f"{self.concept} {way} from {begun:.2f} at step {first} to {ended:.2f} at step {last}{self._of_own()}.{top}"
        )

    def _of_own(self) -> str:
        return "" if self.own is None else f"; its photographs among themselves score {self.own:.2f}"
