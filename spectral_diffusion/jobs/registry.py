"""The workers that take part in a queue, and which of them are dead.

On its own machine a worker lives as long as its process: a number that another process has since, or a machine that was
started again, does not deceive. Elsewhere it lives as long as it says so.
"""

import os
import platform
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from spectral_diffusion.jobs.database import Database

BEAT_SECONDS = 3.0
LEASE_SECONDS = 30.0
"""A worker on another machine that was silent for so long is taken for dead."""

_TABLE = sa.Table(
    "spectral_workers",
    sa.MetaData(),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("boot", sa.String(64), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started", sa.Float(53), nullable=False),
    sa.Column("runner_pid", sa.Integer),
    sa.Column("runner_started", sa.Float(53)),
    sa.Column("device", sa.String(16), nullable=False),
    sa.Column("waits_for", sa.String(1000)),
    sa.Column("beat", sa.Float(53), nullable=False),
    sa.Column("ended", sa.Boolean, nullable=False),
)
# Start times are whole clock ticks; reading one twice gives the same number but for rounding.
_SAME_START_SECONDS = 0.05


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one of the same number: by when it was started, seconds of 1970."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "Process":
        """The running process of that number.

        Raises:
            psutil.Error: There is none.
        """
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def lives(self) -> bool:
        """Whether it still runs on this machine."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME_START_SECONDS
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


@dataclass(frozen=True)
class WorkerRow:
    """A worker as the others see it.

    Args:
        id: Unlike that of every other worker, ever.
        host: Its machine; two containers are two machines.
        boot: Which start of the machine.
        process: Itself.
        runner: The process that does its work, where there is one.
        device: Where it computes.
        waits_for: Why its job does not go on, when it does not.
        silent_seconds: Since it last said that it lives.
        ended: Whether it said goodbye.
    """

    id: str
    host: str
    boot: str
    process: Process
    runner: Process | None
    device: str
    waits_for: str | None = None
    silent_seconds: float = 0.0
    ended: bool = False

    @classmethod
    def here(cls, device: str) -> "WorkerRow":
        """This process as a worker."""
        name = f"{platform.node()[:30]}-{os.getpid()}-{secrets.token_hex(4)}"
        return cls(name, host_name(), boot_name(), Process.of(os.getpid()), None, device)

    @property
    def is_here(self) -> bool:
        """Whether its processes could be seen from here."""
        return self.host == host_name()

    @property
    def lives(self) -> bool:
        """Whether its jobs are in good hands."""
        if self.ended:
            return False
        if self.is_here:
            return self.boot == boot_name() and self.process.lives
        return self.silent_seconds < LEASE_SECONDS


class Registry:
    """The table of workers.

    Args:
        database: The queue's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def prepare(self) -> None:
        """Make the table where it is missing."""
        with self._database.reached(), self._database.locked("spectral_workers") as connection:
            connection.execute(CreateTable(_TABLE, if_not_exists=True))

    def enter(self, worker: WorkerRow) -> None:
        """Take part."""
        values = {
            "id": worker.id,
            "host": worker.host,
            "boot": worker.boot,
            "pid": worker.process.pid,
            "started": worker.process.started,
            "device": worker.device,
            "beat": self._database.now(),
            "ended": False,
        }
        with self._database.engine.begin() as connection:
            connection.execute(sa.insert(_TABLE).values(values))

    def beat(self, worker_id: str, runner: Process | None, waits_for: str | None = None) -> bool:
        """Say that a worker lives, who works for it and what it waits for; returns whether the others believe it."""
        values: dict[str, Any] = {
            "waits_for": waits_for and waits_for[:1000],
            "beat": self._database.now(),
            "runner_pid": runner.pid if runner else None,
            "runner_started": runner.started if runner else None,
        }
        with self._database.engine.begin() as connection:
            changed = connection.execute(
                sa.update(_TABLE).where(_TABLE.c.id == worker_id, ~_TABLE.c.ended).values(values)
            )
            return changed.rowcount > 0

    def end(self, worker_id: str) -> None:
        """Say that a worker takes part no longer; its jobs are free to be taken."""
        with self._database.engine.begin() as connection:
            connection.execute(sa.update(_TABLE).where(_TABLE.c.id == worker_id).values(ended=True))

    def forget(self, worker_id: str) -> None:
        """Strike out a worker whose jobs were taken."""
        with self._database.engine.begin() as connection:
            connection.execute(sa.delete(_TABLE).where(_TABLE.c.id == worker_id))

    def workers(self) -> list[WorkerRow]:
        """Everybody who is written down, living or dead; none where nobody ever was."""
        query = sa.select(_TABLE, (self._database.now() - _TABLE.c.beat).label("silent"))
        with self._database.engine.connect() as connection:
            if not sa.inspect(connection).has_table(_TABLE.name):
                return []
            rows = connection.execute(query).all()
        return [
            WorkerRow(
                id=row.id,
                host=row.host,
                boot=row.boot,
                process=Process(row.pid, row.started),
                runner=Process(row.runner_pid, row.runner_started) if row.runner_pid else None,
                device=row.device,
                waits_for=row.waits_for,
                silent_seconds=float(row.silent),
                ended=bool(row.ended),
            )
            for row in rows
        ]


def host_name() -> str:
    """This machine, or container: where process numbers mean the same."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{platform.node()}{namespace}"[:255]


def boot_name() -> str:
    """Which start of this machine it is; where the system gives it no name, start times of processes alone decide."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
