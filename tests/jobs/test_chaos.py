"""Five trainings, SIGKILL at fifty random moments: each job ends once, with one artefact, equal to the undisturbed."""

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from spectral_diffusion.ledger import Ledger
from tests.command_line import write_concept, write_recipe
from tests.jobs.working import (
    ROOT,
    Place,
    WorkerProcess,
    sha256,
    start_worker,
    trained_without_a_queue,
    wait_for,
    worker,
)

KILLS = 50
KILLS_OF_THE_APP = 10
NAMES = ("red", "blue", "green", "pink", "grey")
STEPS = 120
# Half of the workers die before they have begun to train, half after so many steps: however fast the machine is, the
# trainings outlive the kills.
EARLY_SECONDS, LATE_STEPS = 6.0, 24


def _queue_and_kill(place: Place, chance: random.Random) -> int:
    """Queue five trainings by a program that is killed again and again while it queues them; tells how often."""
    recipe = write_recipe(place.root, place.base, steps=STEPS, checkpoint_every=10)
    for number, name in enumerate(NAMES):
        write_concept(place.root / "concepts" / name, "dog", number)
    kills = 0
    for name in NAMES:
        arguments = ["train", place.root / "concepts" / name, "--config", recipe, "--workspace", place.root]
        while True:
            app = subprocess.Popen(
                [sys.executable, "-m", "spectral_diffusion", *map(str, arguments), "--queue", "--key", name],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wanted = kills < KILLS_OF_THE_APP * (NAMES.index(name) + 1) // len(NAMES)
            try:
                code = app.wait(chance.uniform(0.2, 4.0) if wanted else 120)
            except subprocess.TimeoutExpired:
                app.kill()
                app.wait()
                kills += 1
                continue
            assert code == 0
            break
    return kills


def _kill(running: WorkerProcess, chance: random.Random) -> None:
    """The worker alone, or with all that it started, or what it started and then itself."""
    family = running.family()
    chosen = chance.choice(("worker", "all", "runner first"))
    if chosen == "worker":
        family = family[:1]
    if chosen == "runner first":
        family = family[::-1]
    for member in family:
        with suppress(psutil.Error):
            member.kill()
        if chosen == "runner first":
            time.sleep(chance.uniform(0, 0.5))
    running.process.wait()


def _live(place: Place, running: WorkerProcess, chance: random.Random) -> float | None:
    """Let a worker live for a while; tells after how long it trained, if it came to that."""
    begun, begun_at = time.monotonic(), time.time()
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0, EARLY_SECONDS))
        return None
    recovered, steps_before, steps = None, 0, chance.randint(0, LATE_STEPS)
    while running.process.poll() is None and place.queue.jobs(open_only=True):
        # What the one before had written is still there until this one writes.
        told = [job for job in place.queue.jobs() if job.state == "running" and job.progress.updated > begun_at]
        jobs = [job for job in told if job.progress.stage.startswith("training")]
        if jobs and recovered is None:
            recovered, steps_before = time.monotonic() - begun, jobs[0].progress.step
        if recovered is not None and (not jobs or jobs[0].progress.step - steps_before >= steps):
            break
        assert time.monotonic() - begun < 240, place.queue.jobs()
        time.sleep(0.05)
    time.sleep(chance.uniform(0, 0.3))
    return recovered


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_trainings_survive_fifty_kills_each_ending_once_and_equal(
    place: Place, tmp_path_factory: pytest.TempPathFactory, record_property: Callable[[str, object], None]
) -> None:
    seed = 20260101
    chance = random.Random(seed)
    kills_of_the_app = _queue_and_kill(place, chance)
    kills, recoveries = kills_of_the_app, []
    while kills < KILLS and place.queue.jobs(open_only=True):
        running = start_worker(place)
        seconds = _live(place, running, chance)
        recoveries += [seconds] if seconds else []
        _kill(running, chance)
        kills += 1
    with worker(place, "--until-idle") as last:
        wait_for(lambda: not place.queue.jobs(open_only=True), 900, lambda: str(place.queue.jobs()))
        assert last.process.wait(60) == 0
    jobs = place.queue.jobs()
    states = [job.state for job in jobs]
    facts = {
        "kills": kills,
        "of the app": kills_of_the_app,
        "jobs": len(jobs),
        "lost": len(NAMES) - states.count("done"),
        "duplicated": len(jobs) - len(NAMES),
        "attempts": [job.progress.attempt for job in jobs],
        "seconds from a worker's start until the job runs, median": round(statistics.median(recoveries or [0]), 1),
        "at most": round(max(recoveries or [0]), 1),
    }
    record_property("SIGKILL at random moments", facts)
    assert kills == KILLS, "the trainings were over before all kills: give them more steps"
    assert states == ["done"] * len(NAMES), [place.story(job) for job in jobs if job.state != "done"]
    made = sorted(path.name for path in (place.root / "adapters").glob("[!.]*"))
    assert made == sorted(f"{name}.safetensors" for name in NAMES)
    claims = {claim.concept: claim.start for claim in Ledger(place.root / "ledger.json").holders()}
    assert sorted(claims.values()) == [4 * number for number in range(len(NAMES))]
    direct = tmp_path_factory.mktemp("direct")
    # In the order in which they were queued, so that each gets the columns that it got there.
    for name in NAMES:
        expected = trained_without_a_queue(place, direct, name, steps=STEPS, checkpoint_every=10)
        assert sha256(place.root / "adapters" / f"{name}.safetensors") == expected, name
    for job in jobs:
        assert set(os.listdir(place.root / "jobs" / job.id)) <= {"log.txt", "losses.csv", "progress.json", ".lock"}
        (curve,) = place.queue.losses(job.id).values()
        assert curve[-1][0] == STEPS
