"""A worker among the others: it says that it lives, takes over from those who don't, and knows when it is out."""

import os
import time
from collections.abc import Callable, Set

from dbos import DBOSClient
from sqlalchemy.exc import SQLAlchemyError

from spectral_diffusion.jobs.database import QUEUE, Database
from spectral_diffusion.jobs.process import kill_tree
from spectral_diffusion.jobs.registry import LEASE_SECONDS, Process, Registry, WorkerRow

CUT_OFF_SECONDS = LEASE_SECONDS * 2 / 3
"""Who has not reached the database for so long stops working: soon the others will take its job."""


class Expelled(Exception):
    """This worker has no place in the queue any more; the message says why."""


class Membership:
    """What a worker has in common with the others.

    Args:
        database: The queue's.
        client: Asks and changes it.
        me: The worker.
        note: Told what happens, in lines for people.
    """

    def __init__(self, database: Database, client: DBOSClient, me: WorkerRow, note: Callable[[str], None]) -> None:
        self._database, self._client, self._me, self._note = database, client, me, note
        self._registry = Registry(database)
        self._file = self._file_now()
        self._last_beat = time.monotonic()
        self._lost: set[str] = set()

    def enter(self) -> None:
        """Take part, and take over at once what dead workers had: what was begun comes before what waits."""
        self._registry.enter(self._me)
        self._bury_the_dead()

    def leave(self) -> None:
        """Say that this worker takes part no longer."""
        self._registry.end(self._me.id)

    @property
    def is_cut_off(self) -> bool:
        """Whether others may take this worker for dead by now. On one machine they see for themselves that it lives."""
        return self._database.file is None and time.monotonic() - self._last_beat > CUT_OFF_SECONDS

    def beat(self, runner: Process | None, waits_for: str | None, active: Set[str]) -> None:
        """Say that this worker lives, and see to those who don't; a database that is away for a while comes back.

        Raises:
            Expelled: The others took it for dead, or the database's file is gone.
        """
        if self._file_now() != self._file:
            raise Expelled(f"the jobs' database {self._database} is gone or another; start the worker again")
        try:
            believed = self._registry.beat(self._me.id, runner, waits_for)
            self._last_beat = time.monotonic()
            if believed:
                self._bury_the_dead()
                self._take_up_lost(active)
        except SQLAlchemyError:
            return
        if not believed:
            raise Expelled("the other workers took this one for dead and have its job; start it again")

    def is_mine(self, job_id: str) -> bool | None:
        """Whether this worker has that job; None where it was cancelled."""
        found = self._client.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
        if found and found[0].status == "CANCELLED":
            return None
        return bool(found) and found[0].status == "PENDING" and found[0].executor_id == self._me.id

    def _file_now(self) -> tuple[int, int] | None:
        """Which file the database is: one of the same name may be another."""
        if self._database.file is None:
            return None
        try:
            status = os.stat(self._database.file)
        except OSError:
            return (0, 0)
        return status.st_dev, status.st_ino

    def _bury_the_dead(self) -> None:
        for worker in self._registry.workers():
            if worker.id == self._me.id or worker.lives:
                continue
            if worker.is_here:
                kill_tree(worker.runner, worker.id)
            if self._requeue_all(worker.id):
                self._note(f"worker {worker.id} has died; its job goes back into the queue")
            self._registry.forget(worker.id)

    def _take_up_lost(self, active: Set[str]) -> None:
        """Jobs that the table says this worker does, and that nobody does: their end could not be written down."""
        mine = self._client.list_workflows(
            status="PENDING", executor_id=self._me.id, load_input=False, load_output=False
        )
        idle = {status.workflow_id for status in mine} - active
        if idle & self._lost:
            self._requeue_all(self._me.id)
        self._lost = idle

    def _requeue_all(self, worker_id: str) -> bool:
        """Put back what a worker had, each to its old place in the queue; whether there was any."""
        had = self._client.list_workflows(status="PENDING", executor_id=worker_id, load_input=False, load_output=False)
        # What DBOS does at its start for workers of its own name; here for others, and before any job is taken.
        put_back = self._client._sys_db.reenqueue_for_recovery
        return sum(put_back(status.workflow_id, [worker_id], QUEUE) for status in had) > 0
