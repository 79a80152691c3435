"""A worker: takes jobs from the queue one at a time, has its runner do them, and sees to it that none is lost.

The worker holds the queue, its runner holds the model. A cancelled, crashed or stuck job ends with the runner's process
and a new one starts; a worker that dies leaves its job to the next.
"""

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dbos import DBOS, DBOSClient
from sqlalchemy.exc import SQLAlchemyError

from spectral_diffusion.errors import DiskFullError, InputError, SpectralDiffusionError
from spectral_diffusion.jobs.attempts import Attempts, JobFailed
from spectral_diffusion.jobs.database import POLLING_SECONDS, QUEUE, WORKFLOW, Database
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.membership import Expelled, Membership
from spectral_diffusion.jobs.process import RunnerProcess, when_stdin_ends
from spectral_diffusion.jobs.publishing import collect, publish
from spectral_diffusion.jobs.registry import BEAT_SECONDS, Registry, WorkerRow
from spectral_diffusion.jobs.specs import TrainSpec, read_spec
from spectral_diffusion.jobs.store import Store

STOP_SECONDS = 7.0
"""How long a job may take to leave its files whole when the worker is asked to end."""
CANCEL_SECONDS = 2.5
"""The same when it is cancelled."""
WAIT_SECONDS = 5.0
"""Between two looks at a disk that is full, or at a job that another process still holds."""
COLLECT_SECONDS = 86_400.0
"""How often what nobody needs is looked for: a worker may run for months."""
_READY_SECONDS = 180.0
_LOOK_SECONDS = 0.25


class _GivenUp(Exception):
    """A job is not this worker's any more: it was cancelled, or another worker has it."""


class Worker:
    """Takes jobs until it is asked to end.

    Args:
        database: The queue's.
        store: Where the jobs' files are.
        device: Where to compute.
        until_idle: End when no job is left.
        with_parent: The same once stdin ends: it is a pipe that a parent holds open for as long as it lives.
        note: Told what happens, in lines for people.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        *,
        device: str = "auto",
        until_idle: bool = False,
        with_parent: bool = False,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._database, self._store, self._until_idle, self._tell = database, store, until_idle, note
        if with_parent:
            when_stdin_ends(self._end_when_idle)
        self._settings = {"do": "begin", "database": database.url, "store": store.root, "device": device}
        self._device = device
        self._ending = threading.Event()
        self._active: set[str] = set()
        self._waits_for: str | None = None
        self._numbers = itertools.count(1)
        self._runner: RunnerProcess | None = None
        self._code = 0

    def run(self) -> int:
        """Work; returns the exit code, 0 when it was asked to end or nothing is left.

        Raises:
            InputError: The database or the device cannot be used.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ending.set())
        self._database.prepare()
        Registry(self._database).prepare()
        self._me = WorkerRow.here(self._device)
        # Its imports take seconds: they begin now and not with the first job.
        self._start_runner()
        self._client: DBOSClient = self._database.connect()
        self._membership = Membership(self._database, self._client, self._me, self._note)
        self._membership.enter()
        try:
            self._wait_until_ready()
            self._take_jobs()
            self._watch()
        finally:
            self._end()
        return self._code

    def _end_when_idle(self) -> None:
        self._until_idle = True

    def _note(self, text: str) -> None:
        # Who listened may be gone, which is no reason to stop working.
        with suppress(OSError, ValueError):
            self._tell(text)

    def _wait_until_ready(self) -> None:
        assert self._runner is not None
        until = time.monotonic() + _READY_SECONDS
        while time.monotonic() < until and not self._ending.is_set():
            with suppress(EOFError):
                answer = self._runner.answer(_LOOK_SECONDS)
                if answer is not None and answer["kind"] == "unusable":
                    raise InputError(answer["message"], answer["remedy"])
                if answer is not None:
                    return
                continue
            return

    def _take_jobs(self) -> None:
        DBOS(config=self._database.config(self._me.id))

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
        def run_job(text: str) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
            return self._workflow(text)

        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        DBOS.register_queue(QUEUE, worker_concurrency=1, polling_interval_sec=POLLING_SECONDS)
        self._note(f"worker {self._me.id} takes jobs from {self._database}, files in {self._store}")

    def _watch(self) -> None:
        last_beat, last_collection = 0.0, time.monotonic()
        self._collect()
        while not self._ending.wait(_LOOK_SECONDS):
            if time.monotonic() - last_collection > COLLECT_SECONDS:
                last_collection = time.monotonic()
                # A store elsewhere may be slow, and who is silent is taken for dead.
                threading.Thread(target=self._collect, daemon=True, name="collection").start()
            if time.monotonic() - last_beat > BEAT_SECONDS:
                last_beat = time.monotonic()
                runner = self._runner.process if self._runner is not None else None
                try:
                    self._membership.beat(runner, self._waits_for, frozenset(self._active))
                except Expelled as error:
                    self._note(str(error))
                    self._code = 1
                    return
            if self._until_idle and not self._active and self._is_idle():
                return

    def _collect(self) -> None:
        # What cannot be asked now is asked tomorrow.
        with suppress(SQLAlchemyError):
            collect(self._store, self._client)

    def _end(self) -> None:
        self._ending.set()
        if self._runner is not None:
            self._runner.end(STOP_SECONDS)
        with suppress(SQLAlchemyError):
            self._membership.leave()

    def _is_idle(self) -> bool:
        with suppress(SQLAlchemyError):
            waiting = self._client.list_workflows(
                name=WORKFLOW, status=["ENQUEUED", "DELAYED", "PENDING"], load_input=False, load_output=False, limit=1
            )
            return not waiting
        return False

    def _start_runner(self) -> RunnerProcess:
        self._runner = RunnerProcess(self._settings, self._me.id)
        return self._runner

    def _renew_runner(self, grace_seconds: float = CANCEL_SECONDS) -> RunnerProcess:
        if self._runner is not None:
            self._runner.end(grace_seconds)
        return self._start_runner()

    def _workflow(self, text: str) -> dict[str, Any]:
        """What DBOS calls for each job: the work, and then its files to their places, each kept when done."""
        job_id = DBOS.workflow_id
        assert job_id is not None
        self._active.add(job_id)
        try:
            made = DBOS.run_step({"name": "work"}, self._work, job_id, text)
            return DBOS.run_step({"name": "publish"}, self._publish, job_id, text, made)
        finally:
            self._waits_for = None
            self._active.discard(job_id)

    def _work(self, job_id: str, text: str) -> dict[str, Any]:
        try:
            spec = read_spec(text)
        except SpectralDiffusionError as error:
            raise JobFailed(str(error)) from error
        folder = JobFolder.of(self._store, job_id)
        self._note(f"job {job_id} begins: {spec.title}")
        attempts = Attempts(spec, folder)
        while True:
            attempts.check()
            order = {"do": "run", "job": job_id, "spec": text, "micro_batch_size": attempts.micro_batch_size}
            try:
                answer = self._ask(job_id, text, order)
            except EOFError:
                how, was_killed = self._bury_runner()
                attempts.crashed(how, was_killed=was_killed)
                continue
            match answer["kind"]:
                case "done":
                    self._note(f"job {job_id} is done")
                    return {"files": answer["files"], "answer": answer["answer"]}
                case "disk" | "busy":
                    self._pause(job_id, text, answer["message"])
                case "memory":
                    # Only a new process gives back all that the old one held.
                    self._renew_runner()
                    attempts.ran_out_of_memory(answer["message"])
                case "stopped":
                    self._give_up(job_id)
                case _:
                    self._note(f"job {job_id} failed: {answer['message']}")
                    raise JobFailed(answer["message"])

    def _ask(self, job_id: str, text: str, order: dict[str, Any]) -> dict[str, Any]:
        """An order and its answer.

        Raises:
            EOFError: The runner died.
            _GivenUp: The job was cancelled, or is another worker's now.
        """
        runner, number = self._runner or self._start_runner(), next(self._numbers)
        runner.order({**order, "number": number})
        while True:
            try:
                answer = runner.answer(_LOOK_SECONDS)
            except EOFError:
                self._check_mine(job_id, text)
                raise
            if answer is not None and answer.get("number") == number:
                return answer
            self._check_mine(job_id, text)
            if self._membership.is_cut_off:
                self._wait_until_reached(job_id, text)
                runner, number = self._renew_runner(), next(self._numbers)
                runner.order({**order, "number": number})

    def _wait_until_reached(self, job_id: str, text: str) -> None:
        """The others may have the job by now: nothing is done until the database tells."""
        self._note(f"the database is out of reach: job {job_id} waits")
        if self._runner is not None:
            self._runner.end(STOP_SECONDS)
        while self._membership.is_cut_off:
            if self._ending.is_set():
                self._give_up(job_id)
            time.sleep(_LOOK_SECONDS)
        self._check_mine(job_id, text)

    def _check_mine(self, job_id: str, text: str) -> None:
        if self._ending.is_set():
            self._give_up(job_id)
        with suppress(SQLAlchemyError):
            mine = self._membership.is_mine(job_id)
            if mine is True:
                return
            self._note(f"job {job_id} {'was cancelled' if mine is None else 'is not this worker any more'}")
            runner = self._renew_runner()
            if mine is None:
                runner.order({"do": "release", "job": job_id, "spec": text, "number": next(self._numbers)})
            raise _GivenUp(job_id)

    def _give_up(self, job_id: str) -> None:
        """The worker ends: the job stays open, and nothing of it may be written down any more."""
        while self._ending.is_set():
            time.sleep(1)
        raise _GivenUp(job_id)

    def _bury_runner(self) -> tuple[str, bool]:
        runner = self._runner
        assert runner is not None
        how, killed = runner.died_of, runner.was_killed
        runner.end(0)
        self._start_runner()
        return how, killed

    def _pause(self, job_id: str, text: str, reason: str) -> None:
        """Wait until there may be room on the disk, or until nobody else holds the job."""
        if self._waits_for is None:
            self._note(f"job {job_id} waits: {reason}")
            JobFolder.of(self._store, job_id).add_to_log(f"waits: {reason}")
        self._waits_for = reason
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            self._check_mine(job_id, text)
            time.sleep(_LOOK_SECONDS)

    def _publish(self, job_id: str, text: str, made: dict[str, Any]) -> dict[str, Any]:
        spec = read_spec(text)
        home = spec.home if isinstance(spec, TrainSpec) else ""
        while True:
            try:
                return publish(JobFolder.of(self._store, job_id), made, home)
            except DiskFullError as error:
                self._pause(job_id, text, str(error))
            except SpectralDiffusionError as error:
                raise JobFailed(str(error)) from error


def run_worker(
    database: Database,
    store: Store,
    *,
    device: str = "auto",
    until_idle: bool = False,
    with_parent: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> None:
    """Be a worker, until SIGTERM or Ctrl-C, or until no job is left. It ends this process, with code 0.

    Args:
        database, store, device, until_idle, with_parent, note: As for `Worker`.

    Raises:
        InputError: The database cannot be used.
    """
    code = Worker(database, store, device=device, until_idle=until_idle, with_parent=with_parent, note=note).run()
    # DBOS would wait for a job that is left half done on purpose.
    os._exit(code)
