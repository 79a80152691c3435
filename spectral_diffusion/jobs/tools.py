"""What a job is done with, and what it leaves when it is done or asked to stop."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from spectral_diffusion.config import Config
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.progress import ProgressWriter
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.jobs.warm import Warm


class Stopped(BaseException):
    """The job was asked to stop."""


@dataclass(frozen=True)
class Tools:
    """What a job is done with.

    Args:
        folder: Its files.
        database: The queue's, which also guards the ledger where the store is no folder.
        warm: What is at hand from the jobs before.
        progress: Where it tells how far it is.
        should_stop: Whether it was asked to stop; looked at often.
        micro_batch_size: How many rows of a batch fit into memory at once; 0 is all.
    """

    folder: JobFolder
    database: Database
    warm: Warm
    progress: ProgressWriter
    should_stop: Callable[[], bool]
    micro_batch_size: int = 0

    @property
    def store(self) -> Store:
        """Where all files are."""
        return self.folder.store

    def check_stop(self) -> None:
        """Go on only if nobody asked to stop.

        Raises:
            Stopped: Somebody did.
        """
        if self.should_stop():
            raise Stopped

    def recipe(self, values: dict[str, Any]) -> Config:
        """A job's recipe, for the memory that there is."""
        config = Config.model_validate(values)
        return (
            config.override({"training.micro_batch_size": self.micro_batch_size}) if self.micro_batch_size else config
        )


@dataclass(frozen=True)
class Outcome:
    """What a job made.

    Args:
        files: Where each file goes in the store, by where it lies in the job's `work/`.
        answer: What the verb answers, as plain values.
    """

    files: dict[str, str]
    answer: dict[str, Any] = field(default_factory=dict)
