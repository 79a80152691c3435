"""The queue as people and programs see it: add a job, look at it, end it, try it again."""

import base64
import getpass
import hashlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from itertools import islice

from dbos import DBOSClient
from dbos import error as dbos_error

from spectral_diffusion.config import Config
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.database import QUEUE, WORKFLOW, Database
from spectral_diffusion.jobs.job import OPEN_STATES, Job, State, costs_alike, job_of, spec_of
from spectral_diffusion.jobs.job_folder import BusyError, JobFolder, folder_name
from spectral_diffusion.jobs.progress import LOSSES, Progress, read_losses
from spectral_diffusion.jobs.registry import Registry, WorkerRow
from spectral_diffusion.jobs.specs import Spec, TrainSpec, priority
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.names import printable

__all__ = ["OPEN_STATES", "Job", "JobQueue", "State", "default_user", "opened"]

OPEN_JOBS_A_USER = 100
_OPEN = ["ENQUEUED", "DELAYED", "PENDING"]
_ID_BYTES = 5
# So many of the newest jobs are looked at for trainings of one recipe.
_PACE_JOBS = 100


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
            known = self._find(job_id)
        if known is None:
            # Before any file is kept; what counts is asked again when the job is added.
            self._check_room(user, open_jobs_limit)
        spec = build(self.store)
        if known is None:
            with self.database.one_at_a_time("submit"), self.database.reached():
                if self._find(job_id) is None:
                    self._check_room(user, open_jobs_limit)
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

    def _check_room(self, user: str | None, limit: int) -> None:
        with self.database.reached():
            found = self._client.list_workflows(user=user or "", status=_OPEN, load_input=False, load_output=False)
        if len(found) >= limit:
            raise InputError(
                f"{user or 'nobody'} has {len(found)} jobs that are not yet ended; the limit is {limit}",
                "wait for some, or cancel some",
            )

    def remove(self, job_id: str) -> Job:
        """Forget a job that has ended, with its log and its half-done work; what it made stays.

        The columns that a half-trained concept holds are free again.

        Raises:
            InputError: It is not found, or has not ended, or its worker is still ending it.
        """
        job = self.job(job_id)
        if job.is_open:
            raise InputError(f"job {job.id} is {job.state}", "cancel it first")
        folder = JobFolder.of(self.store, job.id)
        with ExitStack() as stack:
            try:
                # On a full disk there may be no room for a lock, and removing a job makes some.
                with suppress(OSError):
                    stack.enter_context(folder.locked())
            except BusyError as error:
                raise InputError(f"job {job.id} is still ending", "try again in some seconds") from error
            if job.state != "done":
                self._release(job, folder, half_trained_only=True)
            with self.database.reached():
                self._client.delete_workflow(job.id)
        self.store.remove(folder_name(job.id))
        if self.store.folder is None:
            shutil.rmtree(folder.path, ignore_errors=True)
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
            living = self._living()
        return [job_of(status, living, self.store) for status in found]

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

        The columns that a training has claimed in vain are free again: where it runs, its worker frees them.

        Raises:
            InputError: It is not found, or has ended already.
        """
        job = self.job(job_id)
        if not job.is_open:
            raise InputError(f"job {job.id} has ended already: it is {job.state}", "there is nothing to cancel")
        with self.database.reached():
            self._client.cancel_workflow(job.id)
        if job.worker is None and (job.progress.attempt or job.started):
            folder = JobFolder.of(self.store, job.id)
            # Whoever has it by now sees that it is cancelled, and frees them.
            with suppress(BusyError, OSError), folder.locked():
                folder.pull()
                self._release(job, folder)
        return self.job(job.id)

    def _release(self, job: Job, folder: JobFolder, *, half_trained_only: bool = False) -> None:
        """Free what a training holds in vain; where that fails its log says so."""
        if not isinstance(job.spec, TrainSpec):
            return
        # It loads torch, which most who ask a queue have no need of.
        from spectral_diffusion.jobs.ledger import release_vain

        home = job.spec.home
        try:
            others = [other.spec for other in self.jobs(open_only=True) if other.id != job.id]
            names = {
                concept.name
                for spec in others
                if isinstance(spec, TrainSpec) and spec.home == home
                for concept in spec.concepts
            }
            release_vain(job.spec, folder, self.database, in_training=names, half_trained_only=half_trained_only)
        except InputError as error:
            folder.add_to_log(f"its columns could not be given back: {error}")

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

    def pace(self, config: Config, *, count: int = 5) -> float | None:
        """Steps a second of the last trainings by a recipe whose steps cost as much, or None where none was done.

        Args:
            config: The recipe.
            count: How many trainings to look at.

        Raises:
            InputError: The database cannot be reached.
        """
        if not self.database.exists:
            return None
        self.database.prepare()
        with self.database.reached():
            done = self._client.list_workflows(
                name=WORKFLOW, status="SUCCESS", sort_desc=True, limit=_PACE_JOBS, load_output=False
            )
        alike = (status.workflow_id for status in done if costs_alike(spec_of(status), config))
        paces = (Progress.of(JobFolder.of(self.store, job_id)).steps_per_second for job_id in alike)
        known = list(islice((pace for pace in paces if pace), count))
        return len(known) / sum(1 / pace for pace in known) if known else None

    def log(self, job_id: str) -> str:
        """What a job has said so far.

        Raises:
            InputError: It is not found.
        """
        content = self.store.read(f"{folder_name(self.job(job_id).id)}/log.txt")
        return (content or b"").decode("utf-8", "replace")

    def losses(self, job_id: str) -> dict[str, list[tuple[int, float]]]:
        """The loss curves of a training so far, (step, loss) by concept.

        Raises:
            InputError: It is not found.
        """
        return read_losses(self.store.read(f"{folder_name(self.job(job_id).id)}/{LOSSES}"))

    def samples(self, job_id: str) -> list[str]:
        """The pictures that a job has drawn so far, samples of a training among them, by their names in the store.

        Raises:
            InputError: It is not found.
        """
        folder = folder_name(self.job(job_id).id)
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
        return job_of(found[0], self._living(), self.store) if found else None

    def _living(self) -> dict[str, WorkerRow]:
        return {worker.id: worker for worker in self.registry.workers() if worker.lives}


@contextmanager
def opened(database: Database, store: Store) -> Iterator[JobQueue]:
    """A queue whose connections are given back."""
    queue = JobQueue(database, store)
    try:
        yield queue
    finally:
        queue.close()


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
