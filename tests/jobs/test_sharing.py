"""Several workers on one queue, on one machine and as if on several: nothing is done twice, nothing is lost."""

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from spectral_diffusion.jobs.registry import LEASE_SECONDS, Process, Registry, WorkerRow
from spectral_diffusion.ledger import Ledger
from tests.jobs.working import Place, patched, sha256, trained_without_a_queue, wait_for, worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
NAMES = ("red", "blue", "green", "pink")


def _begun(place: Place) -> int:
    return sum(place.queue.log(job.id).count("begun on") for job in place.queue.jobs())


def test_two_workers_on_one_store_do_every_job_once(place: Place) -> None:
    jobs = [place.train(name, steps=10) for name in NAMES]
    with worker(place, "--until-idle") as one, worker(place, "--until-idle") as two:
        for job in jobs:
            assert place.wait(job, "done", "failed").state == "done", place.story(job)
        assert one.process.wait(60) == 0 and two.process.wait(60) == 0
    assert _begun(place) == len(jobs)
    claims = Ledger(place.root / "ledger.json").holders()
    assert len({claim.start for claim in claims}) == len(claims) == len(NAMES)


@pytest.mark.parametrize("fate", ["number that another process has", "start of the machine before this one"])
def test_jobs_of_workers_that_cannot_live_are_taken_over_at_start(place: Place, fate: str) -> None:
    job = place.train("red", steps=400)
    with worker(place) as first:
        wait_for(lambda: place.queue.job(job.id).progress.step > 2, story=lambda: place.story(job))
        for member in first.family():
            member.kill()
        first.process.wait()
    registry = Registry(place.queue.database)
    (row,) = registry.workers()
    # As the table looks when this very process has the dead one's number; or has it since the machine was started.
    mine = Process.of(os.getpid())
    changed = (
        dataclasses.replace(row, process=Process(mine.pid, mine.started - 1000))
        if fate.startswith("number")
        else dataclasses.replace(row, process=mine, boot="another")
    )
    assert isinstance(changed, WorkerRow)
    registry.forget(row.id)
    registry.enter(changed)
    assert place.queue.job(job.id).state == "queued"
    with worker(place) as second:
        wait_for(lambda: place.queue.job(job.id).progress.attempt == 2, story=lambda: place.story(job))
        assert place.queue.job(job.id).state == "running"
        assert [other.process.pid for other in registry.workers()] == [second.process.pid]
        place.queue.cancel(job.id)
        wait_for(lambda: place.queue.job(job.id).state == "cancelled")


def test_an_orphaned_runner_ends_by_itself(place: Place) -> None:
    job = place.train("red", steps=100_000)
    with worker(place) as running:
        wait_for(lambda: place.queue.job(job.id).progress.step > 0, story=lambda: place.story(job))
        runner = running.runner()
        assert runner is not None
        running.kill()
        wait_for(lambda: not runner.is_running() or runner.status() == psutil.STATUS_ZOMBIE, 10)


def test_files_may_lie_where_only_fsspec_reaches(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    expected = trained_without_a_queue(place, tmp_path_factory.mktemp("direct"), "red", steps=40)
    place = Place(place.root, place.base, store_url=f"file://{elsewhere}")
    caches = [{"SPECTRAL_DIFFUSION_CACHE": str(tmp_path_factory.mktemp(name))} for name in ("one", "two")]
    job = place.train("red", steps=40)
    with worker(place, env=caches[0]) as first:
        wait_for(lambda: place.queue.job(job.id).state == "running", story=lambda: place.story(job))
        cache = Path(caches[0]["SPECTRAL_DIFFUSION_CACHE"])
        wait_for(lambda: list(cache.rglob("checkpoints/red.safetensors")), story=lambda: place.story(job))
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(10) == 0
    # Another machine knows nothing but the store, and goes on from what was sent there.
    with worker(place, "--until-idle", env=caches[1]):
        assert place.wait(job, "done", "failed").state == "done", place.story(job)
    assert sha256(elsewhere / "adapters" / "red.safetensors") == expected
    assert "attempt 2" in place.queue.log(job.id)
    assert Ledger(elsewhere / "ledger.json").holders()[0].concept == "red"
    assert not (place.root / "adapters").exists() and not (elsewhere / "jobs" / job.id / "work").exists()


@dataclass
class Server:
    """A real Postgres server on a port of its own."""

    url: str
    command: list[str | Path]

    def start(self) -> None:
        subprocess.run([*self.command, "-w", "start"], check=True, cwd="/", stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        subprocess.run([*self.command, "-m", "immediate", "stop"], check=True, cwd="/", stdout=subprocess.DEVNULL)


@pytest.fixture
def postgres() -> Iterator[Server]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    here = shutil.which("initdb")
    binaries = programs[-1] if programs else Path(here).parent if here else None
    assert binaries is not None, "the server is missing: apt-get install postgresql"
    # Not below pytest's folder, which every other run of pytest closes to the server's user.
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        as_user: list[str | Path] = []
        if os.getuid() == 0:
            # It refuses to be run by root; its package makes a user for it.
            shutil.chown(folder, "postgres")
            as_user = ["runuser", "-u", "postgres", "--"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            data, port = folder / "data", free.getsockname()[1]
        initialise = [*as_user, binaries / "initdb", "-D", data, "-U", "tester", "-A", "trust"]
        subprocess.run(initialise, check=True, cwd="/", capture_output=True)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        command = [*as_user, binaries / "pg_ctl", "-D", data, "-l", folder / "log", "-o", options]
        server = Server(f"postgresql://tester@127.0.0.1:{port}/postgres", command)
        server.start()
        try:
            yield server
        finally:
            # Where a test has stopped it already, there is nothing to stop.
            with suppress(subprocess.CalledProcessError):
                server.stop()


def test_a_server_that_is_away_for_longer_than_the_others_would_wait_costs_no_job(
    place: Place,
    postgres: Server,
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Callable[[str, object], None],
) -> None:
    often = {"steps": 400, "checkpoint_every": 10}
    expected = trained_without_a_queue(place, tmp_path_factory.mktemp("direct"), "red", **often)
    place = Place(place.root, place.base, url=postgres.url)
    job = place.train("red", **often)
    with worker(place, "--until-idle") as running:
        wait_for(lambda: place.queue.job(job.id).progress.step > 2, story=lambda: place.story(job))
        place.queue.close()
        postgres.stop()
        runner = running.runner()
        assert runner is not None
        begun = time.monotonic()
        # Nobody trains who may have been taken for dead.
        wait_for(lambda: not runner.is_running() or runner.status() == psutil.STATUS_ZOMBIE, LEASE_SECONDS)
        record_property("database away: seconds until the worker holds its job", round(time.monotonic() - begun))
        postgres.start()
        begun = time.monotonic()
        done = place.wait(job, "done", "failed")
        record_property("database back: seconds until the job is done", round(time.monotonic() - begun))
        assert done.state == "done", place.story(job)
        assert running.process.wait(60) == 0
    assert sha256(place.root / "adapters" / "red.safetensors") == expected


def test_two_machines_share_a_queue_on_postgres_and_one_dying_loses_nothing(
    place: Place,
    postgres: Server,
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Callable[[str, object], None],
) -> None:
    steps = 60
    place = Place(place.root, place.base, url=postgres.url)
    jobs = {name: place.train(name, steps=steps, key=name) for name in NAMES}
    assert place.train("red", steps=steps, key="red").id == jobs["red"].id
    other_machine = patched(tmp_path_factory.mktemp("other"), more="import platform\nplatform.node = lambda: 'other'")
    with worker(place, "--until-idle", env=other_machine) as dying, worker(place, "--until-idle") as living:
        wait_for(
            lambda: sum(job.state == "running" and job.progress.step > 3 for job in place.queue.jobs()) == 2,
            story=lambda: "\n".join(place.story(job) for job in jobs.values()),
        )
        (orphan,) = (job for job in place.queue.jobs() if (job.worker or "").startswith("other"))
        for member in dying.family():
            member.kill()
        dying.process.wait()
        begun = time.monotonic()
        wait_for(lambda: place.queue.job(orphan.id).progress.attempt == 2, 240, lambda: place.story(orphan))
        record_property(
            "one of two machines dies: seconds until its job is begun again", round(time.monotonic() - begun)
        )
        for job in jobs.values():
            assert place.wait(job, "done", "failed", seconds=240).state == "done", place.story(job)
        assert living.process.wait(60) == 0
    claims = Ledger(place.root / "ledger.json").holders()
    assert len({claim.start for claim in claims}) == len(claims) == len(NAMES)
    assert _begun(place) == len(NAMES) + 1
