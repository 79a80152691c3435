"""How far a training is, over all its concepts."""

from dataclasses import dataclass

from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import TrainSpec
from spectral_diffusion.studio.parts.progress_line import duration, in_words


@dataclass(frozen=True)
class TrainingProgress:
    """Of one job.

    Args:
        steps: Of all concepts.
        step: Taken of them.
        concept: Which one is being learned; none before the first step.
        number: Which of `concepts` it is, from 1.
        concepts: How many there are.
        seconds_left: Until all are done, where the pace is known.
        loss: Of the last step.
    """

    steps: int
    step: int = 0
    concept: str | None = None
    number: int = 0
    concepts: int = 1
    seconds_left: float | None = None
    loss: float | None = None

    @classmethod
    def of(cls, job: Job) -> "TrainingProgress":
        """That of a training."""
        spec, progress = job.spec, job.progress
        assert isinstance(spec, TrainSpec), f"{job.id} is no training"
        names = [concept.name for concept in spec.concepts]
        each = steps_each(spec)
        steps = each * len(names)
        if job.state == "done":
            return cls(steps, steps, concepts=len(names), loss=progress.loss)
        now = progress.stage.removeprefix("training ") if progress.stage.startswith("training ") else None
        if now not in names:
            # Between two concepts, and after a new start: what was reached before is still there.
            reached = sum(min(each, progress.stages.get(f"training {name}", 0)) for name in names)
            return cls(steps, reached, concepts=len(names), loss=progress.loss)
        before = names.index(now)
        left = None
        if progress.seconds_left is not None and progress.steps_per_second:
            left = progress.seconds_left + (len(names) - before - 1) * each / progress.steps_per_second
        return cls(
            steps,
            before * each + min(each, progress.step),
            concept=now,
            number=before + 1,
            concepts=len(names),
            seconds_left=left,
            loss=progress.loss,
        )

    def in_words(self, job: Job, ahead: int = 0) -> str:
        """What is said beside the bar.

        Args:
            job: The job.
            ahead: How many jobs come before it, where it waits.
        """
        match job.state:
            case "running" if self.concept is not None:
                of = f" ({self.number} of {self.concepts})" if self.concepts > 1 else ""
                left = f", about {duration(self.seconds_left)} left" if self.seconds_left else ""
                each = self.steps // self.concepts
                return f"{self.concept}{of}: step {self.step - (self.number - 1) * each} of {each}{left}"
            case "running":
                return job.progress.stage or "starting"
            case "done":
                return f"done{_took(job)}"
            case "cancelled":
                return f"cancelled at step {self.step} of {self.steps}" if self.step else "cancelled"
            case _:
                return in_words(job, ahead).removeprefix(f"{job.title}: ")


def steps_each(spec: TrainSpec) -> int:
    """Steps of each concept of a training; at least one, also in a recipe that is damaged."""
    training = spec.config.get("training")
    steps = training.get("steps") if isinstance(training, dict) else None
    return max(1, steps) if isinstance(steps, int) else 1


def _took(job: Job) -> str:
    if job.started is None or job.finished is None:
        return ""
    return f" in {duration(job.finished - job.started)}"
