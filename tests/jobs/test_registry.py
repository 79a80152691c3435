"""Who is dead: by process number and start time, by the machine's start, by silence."""

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import sqlalchemy as sa
from dbos import DBOSClient

from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.membership import CUT_OFF_SECONDS, Expelled, Membership
from spectral_diffusion.jobs.process import MARK, kill_tree
from spectral_diffusion.jobs.registry import LEASE_SECONDS, Process, Registry, WorkerRow
from tests.jobs.working import Place

HERE = WorkerRow.here("cpu")


@contextmanager
def _closing(client: DBOSClient) -> Iterator[DBOSClient]:
    yield client
    client.destroy()


def _entered(place: Place, **changes: object) -> WorkerRow:
    registry = Registry(place.queue.database)
    registry.prepare()
    worker = dataclasses.replace(HERE, id=os.urandom(4).hex(), **changes)  # type: ignore[arg-type]
    registry.enter(worker)
    return next(other for other in registry.workers() if other.id == worker.id)


def test_this_process_lives(place: Place) -> None:
    found = _entered(place)
    assert found.lives and found.is_here and found.process == HERE.process


def test_a_number_that_another_process_has_since_is_dead(place: Place) -> None:
    assert not _entered(place, process=Process(os.getpid(), HERE.process.started - 60)).lives


def test_a_number_that_nobody_has_is_dead(place: Place) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    identity = Process.of(process.pid)
    process.wait()
    assert not _entered(place, process=identity).lives


def test_a_process_that_ended_and_was_not_waited_for_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    identity = Process.of(process.pid)
    time.sleep(1.0)
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert not identity.lives
    process.wait()


def test_whoever_ran_before_the_machine_was_started_again_is_dead(place: Place) -> None:
    assert not _entered(place, boot="another start").lives


def test_a_worker_elsewhere_lives_as_long_as_it_says_so(place: Place) -> None:
    worker = _entered(place, host="elsewhere", process=Process(2**22 + 1, 0.0))
    assert worker.lives and not worker.is_here
    with place.queue.database.engine.begin() as connection:
        connection.execute(sa.text("update spectral_workers set beat = beat - :lease"), {"lease": LEASE_SECONDS + 1})
    registry = Registry(place.queue.database)
    assert not registry.workers()[0].lives
    assert registry.beat(worker.id, None)
    assert registry.workers()[0].lives


def test_who_was_taken_for_dead_is_told_so(place: Place) -> None:
    worker = _entered(place)
    registry = Registry(place.queue.database)
    assert registry.beat(worker.id, None, "the disk is full")
    assert registry.workers()[0].waits_for == "the disk is full"
    registry.end(worker.id)
    assert not registry.beat(worker.id, None)
    registry.forget(worker.id)
    assert not registry.beat(worker.id, None) and registry.workers() == []


@pytest.mark.skipif(os.name != "posix", reason="sessions are POSIX")
def test_a_runner_is_ended_with_children_whose_parents_are_gone_and_nobody_else_of_its_number() -> None:
    code = (
        "import subprocess, sys, time;"
        "p = subprocess.Popen([sys.executable, '-c', 'import subprocess, sys;"
        'subprocess.Popen(["sleep", "60"])'
        "']); p.wait(); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, MARK: "worker-1"},
    )
    assert process.stdout is not None
    process.stdout.readline()
    session = [other for other in psutil.process_iter() if _session(other.pid) == process.pid]
    assert len(session) == 2
    real = Process.of(process.pid)
    # Another worker's, and one of that number from before: neither is this process, whatever its number.
    for root, worker_id in (
        (None, "worker-2"),
        (Process(real.pid, real.started - 60), "worker-2"),
        (Process(1, 0.0), "worker-2"),
    ):
        kill_tree(root, worker_id)
        assert all(member.is_running() for member in session)
    kill_tree(None, "worker-1")
    process.wait()
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in session)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def test_burying_a_worker_of_another_start_of_the_machine_ends_no_process_that_has_its_numbers_now(
    place: Place,
) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        registry = Registry(place.queue.database)
        dead = _entered(place, boot="another start", process=Process(bystander.pid, 1.0))
        registry.prepare()
        with place.queue.database.engine.begin() as connection:
            connection.execute(
                sa.text("update spectral_workers set runner_pid = :pid, runner_started = 12345.0"),
                {"pid": bystander.pid},
            )
        place.queue.database.prepare()
        notes: list[str] = []
        with _closing(place.queue.database.connect()) as client:
            Membership(place.queue.database, client, WorkerRow.here("cpu"), notes.append).enter()
        assert dead.id not in [worker.id for worker in registry.workers()]
        time.sleep(0.2)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_who_cannot_reach_a_server_stops_before_the_others_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    membership = Membership(database, None, HERE, lambda text: None)  # type: ignore[arg-type]
    assert not membership.is_cut_off
    membership.beat(None, None, frozenset())
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + CUT_OFF_SECONDS + 1)
    assert membership.is_cut_off and CUT_OFF_SECONDS < LEASE_SECONDS
    membership.beat(None, None, frozenset())
    assert membership.is_cut_off


def test_a_worker_whose_database_file_is_gone_or_another_is_told(place: Place) -> None:
    place.queue.database.prepare()
    registry = Registry(place.queue.database)
    registry.prepare()
    with _closing(place.queue.database.connect()) as client:
        membership = Membership(place.queue.database, client, WorkerRow.here("cpu"), lambda text: None)
        membership.enter()
        membership.beat(None, None, frozenset())
        assert place.queue.database.file is not None
        place.queue.database.file.unlink()
        with pytest.raises(Expelled, match="is gone"):
            membership.beat(None, None, frozenset())
