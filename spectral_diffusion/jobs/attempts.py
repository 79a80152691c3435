"""What a worker has tried with a job: whether it makes sense to begin it once more, and how."""

from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.progress import Progress
from spectral_diffusion.jobs.specs import DemoSpec, Spec, TrainSpec

CRASHES = 3
"""So often in a row may a job end its process without having got any further."""
FRUITLESS_ATTEMPTS = 50
"""So often in a row may a job end its worker too, or whatever else ends it, without having got any further."""


class JobFailed(Exception):
    """A job cannot be done; the message says why and what to do."""


class Attempts:
    """The attempts of one worker at one job.

    Args:
        spec: The job.
        folder: Its files.

    Attributes:
        micro_batch_size: With how many rows of a batch at once it is begun next; 0 is all.
    """

    def __init__(self, spec: Spec, folder: JobFolder) -> None:
        self._spec, self._folder = spec, folder
        self.micro_batch_size = 0
        self._crashes = self._furthest = 0
        self._was_full = False

    def check(self) -> None:
        """Begin only what may come to an end.

        Raises:
            JobFailed: It was begun too often, by whichever worker.
        """
        fruitless = Progress.of(self._folder).fruitless
        if fruitless >= FRUITLESS_ATTEMPTS:
            raise JobFailed(f"it was begun {fruitless} times without getting any further; see its log")

    def crashed(self, how: str, *, was_killed: bool) -> None:
        """Note that its process died.

        Args:
            how: In words.
            was_killed: As a system does it that is short of memory.

        Raises:
            JobFailed: That happened too often at the same place.
        """
        furthest = Progress.of(self._folder).furthest
        self._crashes = 1 if furthest > self._furthest else self._crashes + 1
        self._furthest = max(self._furthest, furthest)
        self._folder.add_to_log(f"the process that did it {how}")
        if self._crashes >= CRASHES:
            raise JobFailed(
                f"the process that did it {how}, {CRASHES} times at the same place; see its log, "
                "and whether this machine has enough memory"
            ) from None
        # Once may be anything; twice at the same place is a system that is short of memory.
        if was_killed and self._crashes > 1:
            self.micro_batch_size = _half_batch(self._spec)

    def ran_out_of_memory(self, said: str) -> None:
        """Note that there was not enough memory.

        Args:
            said: The words of whatever missed it.

        Raises:
            JobFailed: There was not with half a batch at once either.
        """
        rows = self.micro_batch_size
        if self._was_full:
            halved = f", also with {rows} rows of a batch at once" if rows else ""
            raise JobFailed(
                f"there is not enough memory{halved} ({said}); use a smaller resolution or rank, or another device"
            )
        self.micro_batch_size, self._was_full = _half_batch(self._spec), True
        rows = self.micro_batch_size
        self._folder.add_to_log(f"begun again{f' with {rows} rows of a batch at once' if rows else ''}")


def _half_batch(spec: Spec) -> int:
    """Half the rows of its batch, where it has one."""
    if isinstance(spec, TrainSpec | DemoSpec):
        return max(1, int(spec.config["training"]["batch_size"]) // 2)
    return 0
