"""A job as it is now: from what the queue's tables, its files and the living workers say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from spectral_diffusion.config import Config
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.job_folder import folder_name
from spectral_diffusion.jobs.progress import FILE, Progress
from spectral_diffusion.jobs.registry import WorkerRow
from spectral_diffusion.jobs.specs import Spec, TrainSpec, place_of_base, read_spec
from spectral_diffusion.jobs.store import Store

State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
OPEN_STATES: tuple[State, ...] = ("queued", "running", "paused")
_COST_OF_A_STEP = (
    "method", "rank", "targets", "train_text_encoder", "layerwise_tokens", "resolution_px", "batch_size",
    "micro_batch_size", "prior_weight", "cutmix_probability", "cutmix_wide_probability", "cutmix_background_target",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A job as it is now.

    Args:
        id: Eight letters and digits.
        spec: What it does; None where it was queued by a newer version.
        title: That, in a few words.
        state: Where it stands.
        user: Who queued it.
        created: When it was queued, seconds since 1970.
        started: When it was last begun.
        finished: When it ended.
        worker: Who does it.
        progress: How far it is.
        result: What it made: files by their names in the store, and what the verb answers.
        error: Why it failed, and what to do.
        note: What else there is to know.
    """

    id: str
    spec: Spec | None
    title: str
    state: State
    user: str | None
    created: float
    started: float | None
    finished: float | None
    worker: str | None
    progress: Progress
    result: dict[str, Any] | None = None
    error: str | None = None
    note: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has yet to end."""
        return self.state in OPEN_STATES

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "id": self.id,
            "kind": self.spec.kind if self.spec else None,
            "title": self.title,
            "state": self.state,
            "user": self.user,
            "created": self.created,
            "started": self.started,
            "finished": self.finished,
            "worker": self.worker,
            "progress": self.progress.model_dump(),
            "result": self.result,
            "error": self.error,
            "note": self.note,
        }


def job_of(status: Any, living: Mapping[str, WorkerRow], store: Store) -> Job:
    """A job.

    Args:
        status: What DBOS says of it.
        living: The workers that live, by id.
        store: Where its files are.
    """
    spec = spec_of(status)
    progress = Progress.read(store.read(f"{folder_name(status.workflow_id)}/{FILE}"))
    state, note = _state(status, living)
    if state == "running" and store.is_full:
        # Its worker cannot write down that it waits: the queue may lie on the same disk.
        state, note = "paused", f"the disk of {store} is full; free some space"
    return Job(
        id=status.workflow_id,
        spec=spec,
        title=spec.title if spec else "of a newer version",
        state=state,
        user=status.authenticated_user or None,
        created=(status.created_at or 0) / 1000,
        started=status.dequeued_at / 1000 if status.dequeued_at else None,
        finished=status.completed_at / 1000 if status.completed_at else None,
        worker=status.executor_id if state in ("running", "paused") else None,
        progress=progress,
        result=status.output if state == "done" else None,
        error=_why(status) if state == "failed" else None,
        note=note,
    )


def spec_of(status: Any) -> Spec | None:
    """What a job does; None where it was queued by a newer version, or is damaged."""
    try:
        return read_spec(status.input["args"][0])
    except (InputError, KeyError, TypeError, IndexError):
        return None


def costs_alike(spec: Spec | None, config: Config) -> bool:
    """Whether a job is a training whose steps cost as much as those of a recipe: the same work on the same base."""
    if not isinstance(spec, TrainSpec) or spec.config.get("base") != place_of_base(config.base):
        return False
    then, now = spec.config.get("training"), config.training.model_dump(mode="json")
    return isinstance(then, dict) and all(then.get(key) == now[key] for key in _COST_OF_A_STEP)


def _state(status: Any, living: Mapping[str, WorkerRow]) -> tuple[State, str | None]:
    if status.status == "PENDING":
        worker = living.get(status.executor_id)
        if worker is None:
            return "queued", "its worker has ended; the next one goes on where it was"
        return ("paused", worker.waits_for) if worker.waits_for else ("running", None)
    if status.status in ("ENQUEUED", "DELAYED"):
        if living:
            return "queued", None
        return "queued", "no worker runs; start one with `spectral-diffusion worker`"
    if status.status == "SUCCESS":
        return "done", None
    return ("cancelled", None) if status.status == "CANCELLED" else ("failed", None)


def _why(status: Any) -> str:
    said = getattr(status.error, "message", None) or str(status.error or "it was begun too often and never ended")
    return " ".join(said.split())
