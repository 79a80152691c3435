"""The queue as people and programs see it: add a job, look at it, end it, try it again."""

import base64
import getpass
import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from dbos import DBOSClient
from dbos import error as dbos_error

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.database import QUEUE, WORKFLOW, Database
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.progress import FILE, LOSSES, Progress, read_losses
from spectral_diffusion.jobs.registry import Registry, WorkerRow
from spectral_diffusion.jobs.specs import Spec, priority, read_spec
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.names import printable

State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
OPEN_STATES: tuple[State, ...] = ("queued", "running", "paused")
OPEN_JOBS_A_USER = 100
_OPEN = ["ENQUEUED", "DELAYED", "PENDING"]
_ID_BYTES = 5


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


class JobQueue:
    """The jobs of a database, with their files in a store.

    Args:
        database: Where the queue is.
        store: Where the files are.
    """

    def __init__(self, database: Database, store: Store) -> None:
        self.database = database
        self.store = store

    @cached_property
    def _client(self) -> DBOSClient:
        return self.database.connect()

    @cached_property
    def registry(self) -> Registry:
        """The workers."""
        return Registry(self.database)

    def submit(
        self,
        build: Callable[[Store], Spec],
        *,
        user: str | None = None,
        key: str | None = None,
        open_jobs_limit: int = OPEN_JOBS_A_USER,
    ) -> Job:
        """Add a job.

        Args:
            build: Keeps the job's files in the store it is given, and says what the job is.
            user: Who asks for it.
            key: Makes a second submit with the same key, by the same user, the same job: it is returned as it is.
            open_jobs_limit: How many jobs a user may have that are not yet ended.

        Raises:
            InputError: The files cannot be kept; the user has too many jobs; the key was used for a job of another
                kind; or the database cannot be reached.
        """
        for what, text in (("user", user), ("key", key)):
            if text is not None and (not text.strip() or text != printable(text) or len(text) > 200):
                raise InputError(f"the {what} {text[:60]!r} is no name", "use 1 to 200 printable characters")
        self.database.prepare()
        job_id = _key_id(user, key) if key else _letters(secrets.token_bytes(_ID_BYTES))
        with self.database.reached():
            open_jobs = self._client.list_workflows(user=user or "", status=_OPEN, load_input=False, load_output=False)
            known = self._find(job_id)
        if known is None and len(open_jobs) >= open_jobs_limit:
            raise InputError(
                f"{user or 'nobody'} has {len(open_jobs)} jobs that are not yet ended; the limit is {open_jobs_limit}",
                "wait for some, or cancel some",
            )
        spec = build(self.store)
        if known is None:
            with self.database.reached():
                self._client.enqueue(
                    {
                        "workflow_name": WORKFLOW,
                        "queue_name": QUEUE,
                        "workflow_id": job_id,
                        "priority": priority(spec),
                        "authenticated_user": user or "",
                    },
                    spec.model_dump_json(),
                )
        job = self.job(job_id)
        if job.spec is not None and (job.spec.kind, job.spec.title) != (spec.kind, spec.title):
            raise InputError(f"the key {key!r} was used for another job: {job.id}, {job.title}", "use another key")
        return job

    def remove(self, job_id: str) -> Job:
        """Forget a job that has ended, with its log and its half-done work; what it made stays.

        Raises:
            InputError: It is not found, or has not ended.
        """
        job = self.job(job_id)
        if job.is_open:
            raise InputError(f"job {job.id} is {job.state}", "cancel it first")
        with self.database.reached():
            self._client.delete_workflow(job.id)
        self.store.remove(JobFolder.of(self.store, job.id).name)
        return job

    def jobs(self, *, user: str | None = None, open_only: bool = False, limit: int | None = None) -> list[Job]:
        """All jobs, or those of one user or not yet ended; the newest first.

        Raises:
            InputError: The database cannot be reached.
        """
        if not self.database.exists:
            return []
        self.database.prepare()
        with self.database.reached():
            found = self._client.list_workflows(
                name=WORKFLOW, user=user, status=_OPEN if open_only else None, sort_desc=True, limit=limit
            )
            workers = self.registry.workers()
        return [self._job(status, workers) for status in found]

    def job(self, job_id: str) -> Job:
        """The job of that id, or of an id that begins so.

        Raises:
            InputError: There is none, or several; or the database cannot be reached.
        """
        found: list[str] = []
        if self.database.exists and job_id and job_id.isascii() and job_id.isalnum():
            self.database.prepare()
            with self.database.reached():
                same = self._find(job_id)
                if same is not None:
                    return same
                begun = self._client.list_workflows(
                    name=WORKFLOW, workflow_id_prefix=job_id, load_input=False, load_output=False, limit=10
                )
                found = [status.workflow_id for status in begun]
        if len(found) > 1:
            raise InputError(f"several jobs begin with {job_id}: {', '.join(found)}", "write more letters of it")
        if not found:
            raise InputError(
                f"job {job_id[:60]!r} is not found", "see what there is with `spectral-diffusion jobs list`"
            )
        return self.job(found[0])

    def cancel(self, job_id: str) -> Job:
        """End a job: at once where it waits, within seconds where it runs. What it has made stays for a retry.

        Raises:
            InputError: It is not found, or has ended already.
        """
        job = self.job(job_id)
        if not job.is_open:
            raise InputError(f"job {job.id} has ended already: it is {job.state}", "there is nothing to cancel")
        with self.database.reached():
            self._client.cancel_workflow(job.id)
        return self.job(job.id)

    def retry(self, job_id: str) -> Job:
        """Queue a job again that failed or was cancelled; a training goes on from its checkpoints.

        Raises:
            InputError: It is not found, or has not failed.
        """
        job = self.job(job_id)
        if job.state not in ("failed", "cancelled"):
            raise InputError(f"job {job.id} is {job.state}", "only jobs that failed or were cancelled can be retried")
        with self.database.reached():
            try:
                self._client.rewind_workflow(job.id, queue_name=QUEUE)
            except dbos_error.DBOSException as error:
                raise InputError(f"job {job.id} was retried or changed by somebody else", "look at it again") from error
        return self.job(job.id)

    def log(self, job_id: str) -> str:
        """What a job has said so far.

        Raises:
            InputError: It is not found.
        """
        content = self.store.read(f"{JobFolder.of(self.store, self.job(job_id).id).name}/log.txt")
        return (content or b"").decode("utf-8", "replace")

    def losses(self, job_id: str) -> dict[str, list[tuple[int, float]]]:
        """The loss curves of a training so far, (step, loss) by concept.

        Raises:
            InputError: It is not found.
        """
        return read_losses(self.store.read(f"{JobFolder.of(self.store, self.job(job_id).id).name}/{LOSSES}"))

    def samples(self, job_id: str) -> list[str]:
        """The pictures that a job has drawn so far, samples of a training among them, by their names in the store.

        Raises:
            InputError: It is not found.
        """
        folder = JobFolder.of(self.store, self.job(job_id).id).name
        names = [*self.store.names(f"{folder}/work"), *self.store.names(f"{folder}/samples")]
        return [name for name in names if name.endswith(".png") and "/." not in name]

    def close(self) -> None:
        """Give the connections back."""
        if "_client" in self.__dict__:
            self._client.destroy()
            del self.__dict__["_client"]
        if "engine" in self.database.__dict__:
            self.database.engine.dispose()

    def _find(self, job_id: str) -> Job | None:
        found = self._client.list_workflows(workflow_ids=[job_id], name=WORKFLOW)
        return self._job(found[0], self.registry.workers()) if found else None

    def _job(self, status: Any, workers: list[WorkerRow]) -> Job:
        try:
            spec: Spec | None = read_spec(status.input["args"][0])
        except (InputError, KeyError, TypeError, IndexError):
            spec = None
        progress = Progress.read(self.store.read(f"{JobFolder.of(self.store, status.workflow_id).name}/{FILE}"))
        state, note = _state(status, workers)
        if state == "running" and self.store.is_full:
            # Its worker cannot write down that it waits: the queue may lie on the same disk.
            state, note = "paused", f"the disk of {self.store} is full; free some space"
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


@contextmanager
def opened(database: Database, store: Store) -> Iterator[JobQueue]:
    """A queue whose connections are given back."""
    queue = JobQueue(database, store)
    try:
        yield queue
    finally:
        queue.close()


def _state(status: Any, workers: list[WorkerRow]) -> tuple[State, str | None]:
    if status.status == "PENDING":
        worker = next((worker for worker in workers if worker.id == status.executor_id), None)
        if worker is None or not worker.lives:
            return "queued", "its worker has ended; the next one goes on where it was"
        return ("paused", worker.waits_for) if worker.waits_for else ("running", None)
    if status.status in ("ENQUEUED", "DELAYED"):
        if any(worker.lives for worker in workers):
            return "queued", None
        return "queued", "no worker runs; start one with `spectral-diffusion worker`"
    if status.status == "SUCCESS":
        return "done", None
    return ("cancelled", None) if status.status == "CANCELLED" else ("failed", None)


def _why(status: Any) -> str:
    said = getattr(status.error, "message", None) or str(status.error or "it was begun too often and never ended")
    return " ".join(said.split())


def _key_id(user: str | None, key: str) -> str:
    return _letters(hashlib.sha256(f"{user or ''}\0{key}".encode()).digest()[:_ID_BYTES])


def _letters(content: bytes) -> str:
    return base64.b32encode(content).decode().lower()


def default_user() -> str:
    """Who types: the name that the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "somebody"
