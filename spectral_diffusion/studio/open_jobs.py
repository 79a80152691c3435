"""What of a person's jobs has not ended: the concepts in training, and the open jobs however many came after them."""

from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import TrainSpec
from spectral_diffusion.studio.desk import Desk


def concepts_in_training(desk: Desk) -> dict[str, Job]:
    """The concepts whose training waits or runs, by name, each with its job.

    Raises:
        InputError: The queue cannot be reached.
    """
    jobs = desk.jobs(open_only=True, limit=None)
    return {concept.name: job for job in jobs if isinstance(job.spec, TrainSpec) for concept in job.spec.concepts}


def newest_and_open(desk: Desk, limit: int) -> list[Job]:
    """Their newest jobs and all that have not ended, the newest first.

    Args:
        desk: Whose.
        limit: So many of the newest of all kinds; open ones that are older come besides.

    Raises:
        InputError: The queue cannot be reached.
    """
    newest = desk.jobs(limit=limit)
    known = {job.id for job in newest}
    return [*newest, *(job for job in desk.jobs(open_only=True, limit=None) if job.id not in known)]
