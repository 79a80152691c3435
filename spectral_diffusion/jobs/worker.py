"""A worker: takes jobs from the queue one at a time, has its runner do them, and sees to it that none is lost.

The worker holds the queue, its runner holds the model. A cancelled, crashed or stuck job ends with the runner's process
and a new one starts; a worker that dies leaves its job to the next.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS, DBOSClient
from sqlalchemy.exc import SQLAlchemyError

from spectral_diffusion.errors import DiskFullError, SpectralDiffusionError
from spectral_diffusion.jobs.database import POLLING_SECONDS, QUEUE, WORKFLOW, Database
from spectral_diffusion.jobs.process import RunnerProcess, kill_tree
from spectral_diffusion.jobs.progress import FILE, Progress
from spectral_diffusion.jobs.publishing import publish, sweep
from spectral_diffusion.jobs.registry import BEAT_SECONDS, Registry, WorkerRow
from spectral_diffusion.jobs.specs import DemoSpec, Spec, TrainSpec, read_spec
from spectral_diffusion.jobs.store import JobFolder, Store

STOP_SECONDS = 7.0
"""How long a job may take to leave its files whole when the worker is asked to end."""
CANCEL_SECONDS = 2.5
"""The same when it is cancelled."""
CRASHES = 3
"""So often in a row may a job end its process without having got any further."""
FULL_DISK_SECONDS = 5.0
_LOOK_SECONDS = 0.25


class JobFailed(Exception):
    """A job cannot be done; the message says why and what to do."""


class _GivenUp(Exception):
    """A job is not this worker's any more: it was cancelled, or another worker has it."""


class Worker:
    """Takes jobs until it is asked to end.

    Args:
        database: The queue's.
        store: Where the jobs' files are.
        device: Where to compute.
        until_idle: End when no job is left.
        note: Told what happens, in lines for people.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        *,
        device: str = "auto",
        until_idle: bool = False,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._database, self._store, self._until_idle, self._note = database, store, until_idle, note
        self._settings = {"do": "begin", "database": database.url, "store": store.root, "device": device}
        self._device = device
        self._registry = Registry(database)
        self._ending = threading.Event()
        self._active: set[str] = set()
        self._texts: dict[str, str] = {}
        self._lost: set[str] = set()
        self._waits_for: str | None = None
        self._runner: RunnerProcess | None = None
        self._code = 0

    def run(self) -> int:
        """Work; returns the exit code, 0 when it was asked to end or nothing is left.

        Raises:
            InputError: The database cannot be used.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ending.set())
        self._database.prepare()
        self._registry.prepare()
        self._me = WorkerRow.here(self._device)
        self._registry.enter(self._me)
        # Its imports take seconds: they begin now and not with the first job.
        self._start_runner()
        self._client: DBOSClient = self._database.connect()
        # Before any job is taken: those that were begun come before those that wait.
        self._bury_the_dead()
        DBOS(config=self._database.config(self._me.id))

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
        def run_job(text: str) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
            return self._workflow(text)

        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        DBOS.register_queue(QUEUE, worker_concurrency=1, polling_interval_sec=POLLING_SECONDS)
        self._note(f"worker {self._me.id} takes jobs from {self._database}, files in {self._store.root}")
        sweep(self._store, self._client)
        last_beat = 0.0
        while not self._ending.wait(_LOOK_SECONDS):
            if time.monotonic() - last_beat > BEAT_SECONDS:
                last_beat = time.monotonic()
                # A database that is away for a while comes back; meanwhile the work goes on.
                with suppress(SQLAlchemyError):
                    self._beat()
            if self._until_idle and not self._active and self._is_idle():
                break
        return self._end()

    def _end(self) -> int:
        self._ending.set()
        if self._runner is not None:
            self._runner.end(STOP_SECONDS)
        with suppress(SQLAlchemyError):
            self._registry.end(self._me.id)
        return self._code

    def _beat(self) -> None:
        """Say that this worker lives, and take over from those who don't."""
        runner = self._runner.process if self._runner is not None else None
        if not self._registry.beat(self._me.id, runner, self._waits_for):
            self._note("the other workers took this one for dead and have its job; it ends")
            self._code = 1
            self._ending.set()
            return
        self._bury_the_dead()
        self._take_up_lost()

    def _bury(self, worker: WorkerRow) -> None:
        if worker.is_here and worker.runner is not None:
            kill_tree(worker.runner)
        if self._requeue_all(worker.id):
            self._note(f"worker {worker.id} has died; its job goes back into the queue")
        self._registry.forget(worker.id)

    def _take_up_lost(self) -> None:
        """Jobs that the table says this worker does, and that nobody does: their end could not be written down."""
        mine = self._client.list_workflows(
            status="PENDING", executor_id=self._me.id, load_input=False, load_output=False
        )
        idle = {status.workflow_id for status in mine} - self._active
        if idle & self._lost:
            self._requeue_all(self._me.id)
        self._lost = idle

    def _requeue_all(self, worker_id: str) -> bool:
        """Put back what a worker had, each to its old place in the queue; whether there was any."""
        had = self._client.list_workflows(status="PENDING", executor_id=worker_id, load_input=False, load_output=False)
        # What DBOS does at its start for workers of its own name; here for others, and before any job is taken.
        put_back = self._client._sys_db.reenqueue_for_recovery
        return sum(put_back(status.workflow_id, [worker_id], QUEUE) for status in had) > 0

    def _bury_the_dead(self) -> None:
        for worker in self._registry.workers():
            if worker.id != self._me.id and not worker.lives:
                self._bury(worker)

    def _is_idle(self) -> bool:
        with suppress(SQLAlchemyError):
            waiting = self._client.list_workflows(
                name=WORKFLOW, status=["ENQUEUED", "DELAYED", "PENDING"], load_input=False, load_output=False, limit=1
            )
            return not waiting
        return False

    def _start_runner(self) -> RunnerProcess:
        self._runner = RunnerProcess(self._settings)
        return self._runner

    def _workflow(self, text: str) -> dict[str, Any]:
        """What DBOS calls for each job: the work, and then its files to their places, each kept when done."""
        job_id = DBOS.workflow_id
        assert job_id is not None
        self._active.add(job_id)
        self._texts[job_id] = text
        try:
            made = DBOS.run_step({"name": "work"}, self._work, job_id, text)
            return DBOS.run_step({"name": "publish"}, self._publish, job_id, made)
        finally:
            self._waits_for = None
            self._texts.pop(job_id, None)
            self._active.discard(job_id)

    def _work(self, job_id: str, text: str) -> dict[str, Any]:
        try:
            spec = read_spec(text)
        except SpectralDiffusionError as error:
            raise JobFailed(str(error)) from error
        folder = self._store.job(job_id)
        self._note(f"job {job_id} begins: {spec.title}")
        smaller, crashes, was_full = 0, 0, False
        reached: tuple[str, int] | None = None
        while True:
            order = {"do": "run", "job": job_id, "spec": text, "micro_batch_size": smaller}
            try:
                answer = self._ask(job_id, order)
            except EOFError:
                if self._ending.is_set():
                    self._give_up(job_id)
                how, killed = self._bury_runner()
                progress = Progress.read(self._store.read(f"{folder.name}/{FILE}"))
                crashes = 1 if (progress.stage, progress.step) != reached else crashes + 1
                reached = (progress.stage, progress.step)
                self._log(folder, f"the process that did it {how}")
                if crashes >= CRASHES:
                    raise JobFailed(
                        f"the process that did it {how}, {CRASHES} times at the same place; see its log, "
                        "and whether this machine has enough memory"
                    ) from None
                # Once may be anything; twice at the same place is a system that is short of memory.
                if killed and crashes > 1:
                    smaller = _half_batch(spec)
                continue
            match answer["kind"]:
                case "done":
                    self._note(f"job {job_id} is done")
                    return {"files": answer["files"], "answer": answer["answer"]}
                case "disk":
                    self._pause(job_id, answer["message"])
                case "memory":
                    # Only a new process gives back all that the old one held.
                    self._renew_runner()
                    if was_full:
                        rows = f", also with {smaller} rows of a batch at once" if smaller else ""
                        raise JobFailed(
                            f"there is not enough memory{rows} ({answer['message']}); use a smaller resolution or "
                            "rank, or another device"
                        )
                    smaller, was_full = _half_batch(spec), True
                    self._log(folder, f"begun again{f' with {smaller} rows of a batch at once' if smaller else ''}")
                case "stopped":
                    self._give_up(job_id)
                case "unusable":
                    self._note(answer["message"])
                    self._code = 2
                    self._ending.set()
                    self._give_up(job_id)
                case _:
                    self._note(f"job {job_id} failed: {answer['message']}")
                    raise JobFailed(answer["message"])

    def _ask(self, job_id: str, order: dict[str, Any]) -> dict[str, Any]:
        """An order and its answer.

        Raises:
            EOFError: The runner died.
            _GivenUp: The job was cancelled, or is another worker's now.
        """
        runner = self._runner or self._start_runner()
        runner.order(order)
        while True:
            answer = runner.answer(_LOOK_SECONDS)
            if answer is not None and answer["kind"] not in ("ready", "released"):
                return answer
            self._check_mine(job_id)

    def _check_mine(self, job_id: str) -> None:
        if self._ending.is_set():
            self._give_up(job_id)
        with suppress(SQLAlchemyError):
            (status,) = self._client.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
            if status.status != "PENDING" or status.executor_id != self._me.id:
                self._note(f"job {job_id} is {status.status.lower()}: ending it")
                self._renew_runner()
                if status.status == "CANCELLED" and self._runner is not None:
                    self._runner.order({"do": "release", "job": job_id, "spec": self._texts[job_id]})
                raise _GivenUp(job_id)

    def _give_up(self, job_id: str) -> None:
        """The worker ends: the job stays open, and nothing of it may be written down any more."""
        while self._ending.is_set():
            time.sleep(1)
        raise _GivenUp(job_id)

    def _renew_runner(self) -> None:
        if self._runner is not None:
            self._runner.end(CANCEL_SECONDS)
        self._start_runner()

    def _bury_runner(self) -> tuple[str, bool]:
        runner = self._runner
        assert runner is not None
        how, killed = runner.died_of, runner.was_killed
        kill_tree(runner.process)
        self._start_runner()
        return how, killed

    def _pause(self, job_id: str, reason: str) -> None:
        """Wait until there may be room on the disk."""
        if self._waits_for is None:
            self._note(f"job {job_id} waits: {reason}")
            self._log(self._store.job(job_id), f"waits: {reason}")
        self._waits_for = reason
        with suppress(SQLAlchemyError):
            self._registry.beat(self._me.id, self._runner.process if self._runner else None, reason)
        until = time.monotonic() + FULL_DISK_SECONDS
        while time.monotonic() < until:
            self._check_mine(job_id)
            time.sleep(_LOOK_SECONDS)

    def _publish(self, job_id: str, made: dict[str, Any]) -> dict[str, Any]:
        while True:
            try:
                return publish(self._store.job(job_id), made)
            except DiskFullError as error:
                self._pause(job_id, str(error))
            except SpectralDiffusionError as error:
                raise JobFailed(str(error)) from error

    def _log(self, folder: JobFolder, text: str) -> None:
        with suppress(OSError):
            folder.path.mkdir(parents=True, exist_ok=True)
            with open(folder.path / "log.txt", "a", encoding="utf-8") as log:
                log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n")


def run_worker(
    database: Database,
    store: Store,
    *,
    device: str = "auto",
    until_idle: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> None:
    """Be a worker, until SIGTERM or Ctrl-C, or until no job is left. It ends this process, with code 0.

    Raises:
        InputError: The database cannot be used.
    """
    code = Worker(database, store, device=device, until_idle=until_idle, note=note).run()
    # DBOS would wait for a job that is left half done on purpose.
    os._exit(code)


def _half_batch(spec: Spec) -> int:
    """Half the rows of its batch, where it has one."""
    if isinstance(spec, TrainSpec | DemoSpec):
        return max(1, int(spec.config["training"]["batch_size"]) // 2)
    return 0
