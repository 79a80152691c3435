"""A worker and its runner, as real processes: what is done, ended, killed and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from PIL import Image

from spectral_diffusion.config import load_config
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.progress import read_losses
from spectral_diffusion.jobs.specs import build_spec
from spectral_diffusion.ledger import Ledger
from tests.command_line import call, write_recipe
from tests.jobs.working import ROOT, Place, patched, sha256, trained_without_a_queue, wait_for, worker


def _started(place: Place) -> bool:
    return any(job.state == "running" and job.progress.step > 0 for job in place.queue.jobs())


def test_every_kind_of_job_is_done_and_what_it_makes_is_what_the_verb_makes(
    place: Place,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    expected = trained_without_a_queue(place, tmp_path_factory.mktemp("direct"), "red", sample_every=2)
    training = place.train("red", sample_every=2)
    adapter = place.root / "adapters" / "red.safetensors"
    with worker(place) as running:
        done = place.wait(training, "done", "failed")
        assert done.state == "done", place.story(training)
        assert sha256(adapter) == expected
        assert done.result is not None and done.result["files"] == ["adapters/red.safetensors"]
        assert [step for step, _ in place.queue.losses(training.id)["red"]] == [1, 2, 3]
        assert len(place.queue.samples(training.id)) == 1
        assert "begun on cpu" in place.queue.log(training.id)
        assert {path.name for path in (place.root / "jobs" / training.id).iterdir()} <= {
            "log.txt", "losses.csv", "progress.json", "samples", ".lock"
        }  # fmt: skip

        options = ["--workspace", place.root, "--queue", "--json"]
        recipe = write_recipe(place.root, place.base)
        fused = place.root / "both.safetensors"
        jobs = [
            call(capsys, "fuse", f"{adapter}:0.5", "--out", fused, *options),
            call(capsys, "generate", "-a", adapter, "-p", "a <red>", "--config", recipe, "--seed", 1, *options),
        ]
        drawing = place.wait(place.queue.job(jobs[1].expect(0).json["job"]["id"]), "done", "failed")
        assert drawing.state == "done", place.story(drawing)
        place.wait(place.queue.job(jobs[0].expect(0).json["job"]["id"]), "done")
        assert call(capsys, "inspect", fused).expect(0)
        (picture,) = (drawing.result or {})["files"]
        direct = call(
            capsys,
            "generate",
            "-a",
            adapter,
            "-p",
            "a <red>",
            "--config",
            recipe,
            "--seed",
            1,
            "--out",
            place.root / "d",
        )
        assert Image.open(place.root / picture).tobytes() == Image.open(direct.expect(0).stdout.strip()).tobytes()

        scoring = ["score", place.root / picture, "-r", "red", "--scorer", "toybox"]
        queued = call(capsys, *scoring, *options).expect(0).json["job"]["id"]
        scored = place.wait(place.queue.job(queued), "done", "failed")
        assert scored.state == "done", place.story(scored)
        assert (scored.result or {})["answer"] == call(capsys, *scoring, "--json", "--workspace", place.root).expect(
            0
        ).json
        assert json.loads((place.root / "scores" / f"{scored.id}.json").read_text()) == (scored.result or {})["answer"]

        # The base is at hand by now: what a picture takes is its drawing.
        begun = time.monotonic()
        place.wait(place.draw(adapter, prompt="a <red>"), "done", "failed")
        record_property("a queued picture with base at hand: seconds", round(time.monotonic() - begun, 1))
        assert time.monotonic() - begun < 8

        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0


def test_a_job_that_cannot_be_done_fails_with_a_reason_and_the_next_one_is_done(place: Place) -> None:
    bad, good = place.draw(prompt="a <stranger>"), place.draw()
    with worker(place, "--until-idle") as running:
        assert place.wait(good, "done", "failed").state == "done"
        failed = place.wait(bad, "done", "failed")
        assert failed.state == "failed" and "<stranger>" in (failed.error or "")
        assert running.process.wait(60) == 0
    assert place.queue.retry(bad.id).state == "queued"


def test_a_cancelled_job_ends_within_five_seconds_with_no_process_left_and_its_columns_free(
    place: Place, record_property: Callable[[str, object], None]
) -> None:
    job = place.train("red", steps=100_000)
    with worker(place) as running:
        wait_for(lambda: _started(place), story=lambda: place.story(job))
        runner = running.runner()
        assert runner is not None
        session = {other.pid for other in psutil.process_iter() if _session(other.pid) == runner.pid}
        begun = time.monotonic()
        assert place.queue.cancel(job.id).state == "cancelled"
        wait_for(lambda: not any(psutil.pid_exists(pid) for pid in session), 5.0)
        seconds = time.monotonic() - begun
        record_property("cancelled while running: seconds until no process was left", round(seconds, 1))
        assert seconds <= 5.0
        wait_for(lambda: Ledger(place.root / "ledger.json").holders() == [], 60)
        assert not (place.root / "adapters").exists()
        # A new process took its place.
        after = place.draw()
        assert place.wait(after, "done", "failed").state == "done"


def test_a_worker_whose_parent_dies_does_the_open_jobs_and_ends(place: Place) -> None:
    jobs = [place.draw(prompt=prompt) for prompt in ("a dog", "a cat")]
    # The parent starts the worker with a pipe and is killed, so that nobody says anything and nobody listens.
    code = (
        "import subprocess, sys, time\n"
        "process = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stderr=subprocess.PIPE)\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-m", "spectral_diffusion", "worker", *place.options(), "--device", "cpu"]
    parent = subprocess.Popen(
        [sys.executable, "-c", code, *command, "--with-parent"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    try:
        first = place.draw(prompt="a duck")
        assert place.wait(first, "done", "failed").state == "done", place.story(first)
        # Nothing is left to do, and while the parent lives that is no reason to end.
        time.sleep(1)
        assert child.is_running() and child.status() != psutil.STATUS_ZOMBIE
        jobs += [place.draw(prompt=prompt, count=3) for prompt in ("a vase", "a robot")]
        parent.kill()
        parent.wait()
        wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
        assert [place.queue.job(job.id).state for job in jobs] == ["done"] * 4
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
        if child.is_running():
            for member in [*child.children(recursive=True), child]:
                member.kill()


def test_a_worker_with_a_parent_ends_on_sigterm_as_any_other(place: Place) -> None:
    job = place.train("red", steps=100_000)
    with worker(place, "--with-parent", stdin=subprocess.PIPE) as running:
        wait_for(lambda: _started(place), story=lambda: place.story(job))
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0
    assert place.queue.job(job.id).state == "queued"


@pytest.mark.slow
def test_sigterm_leaves_a_checkpoint_and_exits_0_within_ten_seconds_and_the_next_worker_ends_equal(
    place: Place, tmp_path_factory: pytest.TempPathFactory, record_property: Callable[[str, object], None]
) -> None:
    steps = 40
    expected = trained_without_a_queue(place, tmp_path_factory.mktemp("direct"), "red", steps=steps, checkpoint_every=0)
    job = place.train("red", steps=steps, checkpoint_every=0)
    with worker(place) as running:
        wait_for(lambda: _started(place), story=lambda: place.story(job))
        family = running.family()
        begun = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0
        record_property("SIGTERM: seconds until exit code 0", round(time.monotonic() - begun, 1))
        assert not any(member.is_running() for member in family)
    assert place.queue.job(job.id).state == "queued"
    assert (place.root / "jobs" / job.id / "work" / "checkpoints" / "red.safetensors").is_file()
    reached = place.queue.job(job.id).progress.step
    with worker(place, "--until-idle"):
        assert place.wait(job, "done", "failed").state == "done", place.story(job)
    assert sha256(place.root / "adapters" / "red.safetensors") == expected
    rows = (place.root / "jobs" / job.id / "losses.csv").read_text().split()
    assert reached >= 1 and len(rows) == steps == len(read_losses("\n".join(rows).encode())["red"])


@pytest.mark.slow
def test_a_runner_that_is_killed_is_replaced_and_the_job_ends_equal(
    place: Place, tmp_path_factory: pytest.TempPathFactory, record_property: Callable[[str, object], None]
) -> None:
    expected = trained_without_a_queue(place, tmp_path_factory.mktemp("direct"), "red", steps=30)
    job = place.train("red", steps=30)
    with worker(place, "--until-idle") as running:
        wait_for(lambda: _started(place), story=lambda: place.story(job))
        runner = running.runner()
        assert runner is not None
        reached = place.queue.job(job.id).progress.attempt
        runner.kill()
        begun = time.monotonic()
        wait_for(lambda: place.queue.job(job.id).progress.attempt > reached, story=lambda: place.story(job))
        record_property("runner killed: seconds until the job goes on", round(time.monotonic() - begun, 1))
        assert place.wait(job, "done", "failed").state == "done", place.story(job)
        assert running.process.wait(60) == 0
    assert "was ended by SIGKILL" in place.queue.log(job.id)
    assert sha256(place.root / "adapters" / "red.safetensors") == expected


@pytest.mark.slow
def test_a_job_that_kills_its_process_every_time_fails_by_name(place: Place, tmp_path: Path) -> None:
    patch = patched(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    job = place.draw()
    with worker(place, "--until-idle", env=patch) as running:
        failed = place.wait(job, "done", "failed")
        assert running.process.wait(60) == 0
    assert failed.state == "failed" and "SIGSEGV" in (failed.error or "") and "3 times" in (failed.error or "")


_NO_ROOM = "if torch.is_grad_enabled() and len(sample) > {rows}: raise torch.OutOfMemoryError('CUDA out of memory')"


@pytest.mark.slow
def test_out_of_memory_is_tried_once_more_with_half_the_rows_and_gives_what_the_whole_batch_gives(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from safetensors.torch import load_file

    trained_without_a_queue(place, direct := tmp_path_factory.mktemp("direct"), "red", batch_size=4)
    job = place.train("red", batch_size=4)
    with worker(place, "--until-idle", env=patched(direct, at_step=_NO_ROOM.format(rows=2))):
        assert place.wait(job, "done", "failed").state == "done", place.story(job)
    assert place.queue.job(job.id).progress.attempt == 2
    whole, parts = load_file(direct / "red.safetensors"), load_file(place.root / "adapters" / "red.safetensors")
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_out_of_memory_again_fails_by_name_and_the_next_job_is_done(place: Place, tmp_path: Path) -> None:
    job, after = place.train("red", batch_size=4), place.train("blue", batch_size=1)
    with worker(place, "--until-idle", env=patched(tmp_path, at_step=_NO_ROOM.format(rows=1))) as running:
        failed = place.wait(job, "done", "failed")
        assert failed.state == "failed" and "not enough memory, also with 2 rows" in (failed.error or "")
        assert place.wait(after, "done", "failed").state == "done", place.story(after)
        assert running.process.wait(60) == 0
    assert place.queue.log(job.id).count("out of memory: ") == 2
    assert [claim.concept for claim in Ledger(place.root / "ledger.json").holders()] == ["blue"]


@pytest.mark.skipif(
    not hasattr(psutil.Process, "rlimit"), reason="needs Linux, where limits of another process can be set"
)
def test_a_full_disk_pauses_the_job_with_the_reason_and_it_goes_on_when_there_is_room(
    place: Place, tmp_path_factory: pytest.TempPathFactory, record_property: Callable[[str, object], None]
) -> None:
    expected = trained_without_a_queue(place, tmp_path_factory.mktemp("direct"), "red", steps=20)
    job = place.train("red", steps=20)
    with worker(place, "--until-idle") as running:
        wait_for(lambda: running.runner() is not None)
        runner = running.runner()
        assert runner is not None
        runner.rlimit(psutil.RLIMIT_FSIZE, (4096, psutil.RLIM_INFINITY))
        paused = place.wait(job, "paused", "done", "failed")
        assert paused.state == "paused", place.story(job)
        assert "free some" in (paused.note or "")
        assert not (place.root / "adapters").exists()
        runner.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        begun = time.monotonic()
        wait_for(lambda: place.queue.job(job.id).state != "paused", story=lambda: place.story(job))
        record_property("full disk: seconds until it goes on once there is room", round(time.monotonic() - begun, 1))
        assert place.wait(job, "done", "failed").state == "done", place.story(job)
    assert sha256(place.root / "adapters" / "red.safetensors") == expected


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


@pytest.mark.slow
def test_a_job_that_another_process_holds_is_waited_for_and_its_end_disturbs_no_other(place: Place) -> None:
    held, first, second = place.draw(), place.draw(prompt="a cat"), place.draw(prompt="a duck")
    folder = JobFolder.of(place.queue.store, held.id)
    with folder.locked(), worker(place) as running:
        waiting = place.wait(held, "paused", "failed", "done")
        assert waiting.state == "paused" and "another process" in (waiting.note or "")
        # Cancelled while it is held: what is to be given back cannot be, and nobody after it gets its answer.
        place.queue.cancel(held.id)
        for job in (first, second):
            done = place.wait(job, "done", "failed")
            assert done.state == "done", place.story(job)
            (name,) = (done.result or {})["files"]
            assert job.id in name and (place.root / name).is_file()
        place.queue.retry(held.id)
        place.wait(held, "paused", "failed", "done")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0
    with worker(place, "--until-idle"):
        assert place.wait(held, "done", "failed").state == "done", place.story(held)


@pytest.mark.slow
def test_pictures_that_were_drawn_are_not_drawn_again_when_the_process_dies(place: Place) -> None:
    job = place.draw(count=40)
    with worker(place, "--until-idle") as running:
        work = place.root / "jobs" / job.id / "work"
        wait_for(lambda: len(list(work.glob("[!.]*.png"))) >= 3, story=lambda: place.story(job), every=0.01)
        runner = running.runner()
        assert runner is not None
        runner.kill()
        before = {path.name: path.stat().st_mtime_ns for path in work.glob("[!.]*.png")}
        assert len(place.queue.samples(job.id)) >= len(before) and len(before) < 40
        done = place.wait(job, "done", "failed")
    assert done.state == "done", place.story(job)
    assert len((done.result or {})["files"]) == len(list((place.root / "images").iterdir())) == 40
    for name, written in before.items():
        assert (place.root / "images" / name).stat().st_mtime_ns == written


def test_a_worker_that_cannot_compute_says_so_before_it_takes_a_job(place: Place) -> None:
    job = place.draw()
    with worker(place, "--device", "mps" if torch.cuda.is_available() else "cuda") as running:
        assert running.process.wait(60) == 2
    assert "error: " in (place.root / "worker.log").read_text()
    assert place.queue.job(job.id).state == "queued" and place.queue.log(job.id) == ""


@pytest.mark.slow
def test_logs_are_followed_to_the_end_each_line_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    job = place.train("red", steps=20)
    with worker(place, "--until-idle"):
        told = call(capsys, "jobs", "logs", job.id, "--follow", "--workspace", place.root).expect(0).stdout.splitlines()
    assert told == place.queue.log(job.id).splitlines() and told[-1].endswith("done")
    assert len(set(told)) == len(told)


@pytest.mark.slow
def test_a_queued_demo_goes_on_after_its_worker_was_killed_and_leaves_its_report(place: Place) -> None:
    config = load_config(write_recipe(place.root, place.base, steps=6, checkpoint_every=2))
    values = config.model_dump(mode="json")
    job = place.queue.submit(lambda store: build_spec("demo", config=values, seed=1, out="outputs/demo"))
    with worker(place) as first:
        trained = place.root / "jobs" / job.id / "work" / "demo" / "adapters"
        wait_for(lambda: list(trained.glob("*.safetensors")), story=lambda: place.story(job))
        for member in first.family():
            member.kill()
        first.process.wait()
    kept = {path.name: path.read_bytes() for path in trained.glob("[!.]*.safetensors")}
    with worker(place, "--until-idle"):
        assert place.wait(job, "done", "failed").state == "done", place.story(job)
    made = place.root / "outputs" / "demo"
    assert (made / "report.html").is_file() and (made / "fused.safetensors").is_file()
    assert len(list((made / "adapters").glob("*.safetensors"))) == 3
    for name, content in kept.items():
        assert (made / "adapters" / name).read_bytes() == content
    assert not (place.root / "jobs" / job.id / "work").exists()
