"""Where the queue is kept: DBOS's tables on SQLite or, when several machines share a queue, on Postgres."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer
from dbos import DBOSConfig as _DBOSConfig
from filelock import FileLock, Timeout
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from spectral_diffusion.errors import InputError, UnreachableError
from spectral_diffusion.reading import check_path
from spectral_diffusion.workspace import Workspace

APPLICATION = "spectral-diffusion"
QUEUE = "jobs"
WORKFLOW = "run_job"
# Jobs outlive updates of the package: whatever version queued them, the installed one does them.
VERSION = "1"
POLLING_SECONDS = 0.5
_REMEDY = "check --database, and that its server runs and lets you in"
_SUBMIT_SECONDS = 30.0
# Databases whose tables this process has made or seen, and which file that was: one of the same name may be another.
_PREPARED: dict[str, tuple[int, int] | None] = {}
_PREPARING = threading.Lock()


@dataclass(frozen=True)
class Database:
    """A database of jobs, by its address.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.
    """

    url: str

    @classmethod
    def locate(cls, workspace: Workspace, explicit: str | None = None) -> "Database":
        """The given one, else `$SPECTRAL_DIFFUSION_DATABASE`, else `jobs.sqlite` in the workspace.

        Raises:
            InputError: Not an address of SQLite or Postgres.
        """
        url = explicit or os.environ.get("SPECTRAL_DIFFUSION_DATABASE")
        if not url:
            return cls(f"sqlite:///{workspace.jobs_database.resolve()}")
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError) as error:
            # Nothing of it is shown: what cannot be read may hold a password anywhere.
            raise InputError("--database is no address of a database", _example()) from error
        kind = parsed.get_backend_name()
        if kind not in ("sqlite", "postgresql"):
            raise InputError(f"--database names a {kind} database", _example())
        if kind == "postgresql":
            return cls(parsed.set(drivername="postgresql").render_as_string(hide_password=False))
        if not parsed.database or parsed.database == ":memory:":
            raise InputError("--database names an SQLite database without a file", _example())
        check_path(Path(parsed.database))
        return cls(f"sqlite:///{Path(parsed.database).resolve()}")

    def __str__(self) -> str:
        return make_url(self.url).set(query={}).render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database."""
        parsed = make_url(self.url)
        return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None

    @property
    def exists(self) -> bool:
        """Whether anything was ever queued in it; of a server that is not known beforehand."""
        return self.file is None or self.file.is_file()

    @cached_property
    def engine(self) -> sa.Engine:
        """Connections for the tables that are ours."""
        if self.file is not None:
            # Several workers write to one file: they wait for each other instead of failing.
            return sa.create_engine(self.url, connect_args={"timeout": 30})
        return sa.create_engine(make_url(self.url).set(drivername="postgresql+psycopg"), pool_pre_ping=True)

    def prepare(self) -> None:
        """Make the tables where they are missing; what this process has seen it does not look for again.

        Raises:
            InputError: The database cannot be reached or written to.
        """
        with self.reached(), _PREPARING:
            if self.url in _PREPARED and _PREPARED[self.url] == self._which_file():
                return
            if self.file is not None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            # What cannot be reached is told in our words and not in DBOS's.
            self.engine.connect().close()
            DBOS.migrate(self.url)
            _PREPARED[self.url] = self._which_file()

    def connect(self) -> DBOSClient:
        """A client that queues, asks and cancels.

        Raises:
            InputError: The database cannot be reached.
        """
        with self.reached():
            # JSON, never pickles: who can write to the database must not be able to run code in the workers.
            return DBOSClient(
                system_database_url=self.url,
                serializer=DBOSPortableJSONSerializer(),
                application_name=APPLICATION,
                retry_connection_errors=False,
            )

    def config(self, executor_id: str) -> _DBOSConfig:
        """How a worker takes part."""
        return {
            "name": APPLICATION,
            "system_database_url": self.url,
            "executor_id": executor_id,
            "application_version": VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "CRITICAL",
            "use_listen_notify": False,
            "scheduler_polling_interval_sec": 3600.0,
        }

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Faults of the database in words for people.

        Raises:
            InputError: Whatever the database refused.
        """
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            # It may be another by now, without tables.
            _PREPARED.pop(self.url, None)
            said = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
            raise UnreachableError(f"the jobs' database {self} cannot be used ({said})", _REMEDY) from error

    @contextmanager
    def locked(self, name: str) -> Iterator[sa.Connection]:
        """A transaction; of all that hold a lock of this name, on all machines, one at a time goes on."""
        with self.engine.connect() as connection:
            if self.file is not None:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": name})
            yield connection
            connection.commit()

    @contextmanager
    def one_at_a_time(self, name: str) -> Iterator[None]:
        """Of all that hold this name, on all machines, one at a time goes on; others use the database meanwhile.

        Raises:
            InputError: Somebody held it for too long, or the database cannot be reached.
        """
        if self.file is None:
            with self.reached(), self.locked(name):
                yield
            return
        lock = FileLock(self.file.with_name(f".{self.file.name}.{name}.lock"), timeout=_SUBMIT_SECONDS)
        with self.reached():
            try:
                lock.acquire()
            except Timeout as error:
                raise InputError(
                    f"the jobs' database {self} was busy for {_SUBMIT_SECONDS:g} s", "try again in a moment"
                ) from error
        try:
            yield
        finally:
            lock.release()

    def _which_file(self) -> tuple[int, int] | None:
        """Which file an SQLite database is, where it is one and there."""
        try:
            status = os.stat(self.file) if self.file is not None else None
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if status is not None else None

    def now(self) -> sa.ColumnElement[Any]:
        """The database's clock, seconds since 1970: the one clock that all machines share."""
        if self.file is not None:
            return sa.literal_column("(julianday('now') - 2440587.5) * 86400.0")
        return sa.literal_column("extract(epoch from clock_timestamp())")


def _example() -> str:
    return "write sqlite:////absolute/path/jobs.sqlite or postgresql://USER:PASSWORD@HOST/NAME"
