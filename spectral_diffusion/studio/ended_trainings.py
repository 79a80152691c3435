"""Trainings that ended without an adapter, and wait in Train to be tried again or removed."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.ledger import claim_kept
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import TrainSpec, place_of_base
from spectral_diffusion.ledger import Claim
from spectral_diffusion.studio.desk import Desk

# As many as Train lists.
_JOBS_READ = 300


@dataclass(frozen=True)
class EndedTraining:
    """The last training of a concept, where it came to nothing.

    Args:
        state: How it ended.
        kept: The columns of its checkpoint, or of an adapter of it that is not at its place.
    """

    state: Literal["failed", "cancelled"]
    kept: Claim | None

    def keeps(self, claim: Claim) -> bool:
        """Whether it holds these columns for when it is tried again."""
        return self.kept is not None and self.kept.slot == claim.slot and self.kept.on_base(claim.fingerprints)


def ended_trainings(desk: Desk, concepts: Collection[str]) -> dict[str, EndedTraining]:
    """The last trainings of these concepts on the studio's model, of those whose last one failed or was cancelled.

    Raises:
        InputError: The queue cannot be reached.
    """
    last: dict[str, Job] = {}
    for job in desk.jobs(limit=_JOBS_READ) if concepts else []:
        if isinstance(job.spec, TrainSpec) and _is_here(desk, job.spec):
            for concept in job.spec.concepts:
                last.setdefault(concept.name, job)
    store = desk.studio.queue.store
    return {
        name: EndedTraining(job.state, claim_kept(JobFolder.of(store, job.id), name))
        for name, job in last.items()
        if name in concepts and (job.state == "failed" or job.state == "cancelled")
    }


def _is_here(desk: Desk, spec: TrainSpec) -> bool:
    """Whether a training is for this workspace and the studio's model."""
    is_of_base = spec.config.get("base") == place_of_base(desk.studio.base)
    return is_of_base and spec.home == desk.studio.queue.store.home(desk.workspace)
