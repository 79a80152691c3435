"""How far a job is, in files that anybody may read while it runs."""

import csv
import io
import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.workspace import write_atomically

FILE = "progress.json"
LOSSES = "losses.csv"
# Often enough for a person who watches, rare enough for a slow disk.
INTERVAL_SECONDS = 0.5


class Progress(BaseModel):
    """How far a job is.

    Args:
        stage: What it does, in words.
        step, steps: Of the stage; 0 of 0 where it has no steps.
        loss: Of the last training step.
        steps_per_second: A running mean.
        seconds_left: Of the stage.
        attempt: How often it was begun or gone on with.
        furthest: How many steps it has ever got, over all stages: of a step that is done again only the first counts.
        stages: The furthest step of each stage.
        fruitless: How many attempts in a row, this one included, have got no further.
        updated: When this was written, seconds since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    stage: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    steps_per_second: float | None = None
    seconds_left: float | None = None
    attempt: int = 0
    furthest: int = 0
    stages: dict[str, int] = {}
    fruitless: int = 0
    updated: float = 0.0

    @classmethod
    def read(cls, content: bytes | None) -> "Progress":
        """The progress in a file's content; what cannot be read is none."""
        with suppress(ValidationError):
            if content is not None:
                return cls.model_validate_json(content)
        return cls()

    @classmethod
    def of(cls, folder: JobFolder) -> "Progress":
        """That of a job."""
        return cls.read(folder.store.read(f"{folder.name}/{FILE}"))


class ProgressWriter:
    """Writes progress and losses. A disk that refuses them stops no work.

    Args:
        folder: Of the job.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        before = Progress.read(_content(folder / FILE))
        self.progress = Progress(
            attempt=before.attempt + 1,
            furthest=before.furthest,
            stages=before.stages,
            fruitless=before.fruitless + 1,
        )
        self._written = 0.0
        self._losses: list[tuple[str, int, float]] = []

    def tell(self, *, now: bool = False, **values: object) -> None:
        """Change some values; they are written when the last writing was some time ago, or now."""
        told = self.progress.model_copy(update={**values, "updated": time.time()})
        if told.step > told.stages.get(told.stage, 0):
            stages = {**told.stages, told.stage: told.step}
            told = told.model_copy(update={"stages": stages, "furthest": sum(stages.values()), "fruitless": 0})
        self.progress = told
        if now or time.monotonic() - self._written >= INTERVAL_SECONDS:
            self._write()

    def add_loss(self, concept: str, step: int, loss: float) -> None:
        """One more point of the loss curve."""
        self._losses.append((concept, step, loss))

    def _write(self) -> None:
        self._written = time.monotonic()
        with suppress(InputError, OSError):
            content = self.progress.model_dump_json().encode()
            write_atomically(self._folder / FILE, lambda temporary: temporary.write_bytes(content))
        if self._losses:
            rows = io.StringIO()
            csv.writer(rows).writerows(self._losses)
            with suppress(OSError), open(self._folder / LOSSES, "a", encoding="utf-8", newline="") as file:
                file.write(rows.getvalue())
                self._losses.clear()


def read_losses(content: bytes | None) -> dict[str, list[tuple[int, float]]]:
    """The loss curves in a file's content, by concept; of a step that was done again the last time counts."""
    curves: dict[str, dict[int, float]] = {}
    for line in (content or b"").decode("utf-8", "replace").splitlines():
        # The last line may be half-written.
        with suppress(ValueError, IndexError, csv.Error):
            ((concept, step, loss),) = csv.reader([line])
            curves.setdefault(concept, {})[int(step)] = float(loss)
    return {concept: sorted(points.items()) for concept, points in curves.items()}


def _content(path: Path) -> bytes | None:
    with suppress(OSError):
        return path.read_bytes()
    return None
