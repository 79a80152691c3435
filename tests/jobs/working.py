"""Workers as tests use them: real processes on the base in miniature, that can be killed like any other."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from spectral_diffusion.config import load_config
from spectral_diffusion.diffusion.base import load_base
from spectral_diffusion.diffusion.dataset import load_concept
from spectral_diffusion.diffusion.trainer import train_concepts
from spectral_diffusion.fusion import fuse_files
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.queue import Job, JobQueue
from spectral_diffusion.jobs.specs import GenerateSpec, TrainSpec
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.jobs.submission import generate_spec, train_spec
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.workspace import Workspace
from tests.command_line import write_concept, write_recipe

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 120.0


@dataclass
class Place:
    """A workspace with a queue.

    Args:
        root: Its folder.
        base: The base in miniature.
        url: Another database than the workspace's own.
        store_url: Another store.
    """

    root: Path
    base: Path
    url: str | None = None
    store_url: str | None = None
    _queue: JobQueue | None = field(default=None, repr=False)

    @property
    def queue(self) -> JobQueue:
        if self._queue is None:
            database = Database(self.url or f"sqlite:///{self.root / 'jobs.sqlite'}")
            self._queue = JobQueue(database, Store(self.store_url or str(self.root)))
        return self._queue

    def options(self) -> list[str]:
        given = ["--workspace", str(self.root)]
        given += ["--database", self.url] if self.url else []
        return given + (["--store", self.store_url] if self.store_url else [])

    def train_spec(self, store: Store, name: str, **training: object) -> TrainSpec:
        source = self.root / "concepts" / name
        if not source.exists():
            write_concept(source, "dog", sum(name.encode()))
        recipe = write_recipe(self.root, self.base, **{"checkpoint_every": 2, **training})
        return train_spec(store, Workspace(self.root), load_config(recipe), [load_concept(source)])

    def train(self, name: str, *, key: str | None = None, **training: object) -> Job:
        """Queue a training of a concept of noise."""
        return self.queue.submit(lambda store: self.train_spec(store, name, **training), user="tester", key=key)

    def draw(self, *adapters: Path, prompt: str = "a dog", count: int = 1) -> Job:
        """Queue a picture."""

        def build(store: Store) -> GenerateSpec:
            return generate_spec(
                store,
                Workspace(self.root),
                str(self.base),
                fuse_files([(path, 1.0) for path in adapters]) if adapters else None,
                prompt=prompt,
                negative_prompt="",
                seed=3,
                count=count,
                steps=2,
                guidance_scale=2.0,
            )

        return self.queue.submit(build, user="tester")

    def wait(self, job: Job, *states: str, seconds: float = SECONDS) -> Job:
        """The job, once it is in one of these states."""
        wait_for(lambda: self.queue.job(job.id).state in states, seconds, lambda: self.story(job))
        return self.queue.job(job.id)

    def story(self, job: Job) -> str:
        """Everything about a job, for a test that failed."""
        return f"{json.dumps(self.queue.job(job.id).to_dict(), indent=1)}\n{self.queue.log(job.id)}"


@dataclass
class WorkerProcess:
    """A running `spectral-diffusion worker`."""

    process: subprocess.Popen[str]

    def family(self) -> list[psutil.Process]:
        """It and everything it started."""
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.Error:
            return []

    def runner(self) -> psutil.Process | None:
        """The process that does its work."""
        return next((child for child in self.family()[1:] if "jobs.runner" in " ".join(child.cmdline())), None)

    def kill(self) -> None:
        """SIGKILL to the worker alone, as a system that is short of memory does it."""
        self.process.kill()
        self.process.wait()


@contextmanager
def worker(
    place: Place, *more: str, env: Mapping[str, str] | None = None, stdin: int | None = None
) -> Iterator[WorkerProcess]:
    """A worker, ended at the end with all that it started."""
    started = start_worker(place, *more, env=env, stdin=stdin)
    family: list[psutil.Process] = []
    try:
        yield started
    finally:
        family = started.family()
        for member in family:
            with suppress(psutil.Error):
                member.kill()
        started.process.wait()
        if started.process.stdin is not None:
            started.process.stdin.close()


def start_worker(
    place: Place, *more: str, env: Mapping[str, str] | None = None, stdin: int | None = None
) -> WorkerProcess:
    """A worker that is left alone."""
    path = os.pathsep.join(filter(None, [(env or {}).get("PYTHONPATH"), str(ROOT)]))
    log = open(place.root / "worker.log", "a")  # noqa: SIM115 (it outlives this function)
    process = subprocess.Popen(
        [sys.executable, "-m", "spectral_diffusion", "worker", *place.options(), "--device", "cpu", *more],
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {}), "PYTHONPATH": path},
        stdin=stdin,
        stdout=log,
        stderr=log,
        text=True,
    )
    log.close()
    return WorkerProcess(process)


def wait_for(
    what: Callable[[], Any], seconds: float = SECONDS, story: Callable[[], str] = lambda: "", every: float = 0.05
) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, f"not so within {seconds:g} s\n{story()}"
        time.sleep(every)


def trained_without_a_queue(place: Place, folder: Path, name: str, **training: object) -> str:
    """sha256 of the adapter file that an uninterrupted training makes."""
    source = place.root / "concepts" / name
    if not source.exists():
        write_concept(source, "dog", sum(name.encode()))
    folder.mkdir(parents=True, exist_ok=True)
    config = load_config(write_recipe(folder, place.base, **{"checkpoint_every": 2, **training}))
    ledger = Ledger(folder / "ledger.json")
    train_concepts(config, load_base(config.base), [load_concept(source)], ledger, out=folder)
    return sha256(folder / f"{name}.safetensors")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def patched(tmp_path: Path, at_drawing: str = "", at_step: str = "", more: str = "") -> dict[str, str]:
    """An environment in which our processes do something else when they draw, at each training step, or at once."""
    folder = tmp_path / "patch"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(
        f"""
import importlib.abc, sys

class _Patch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "spectral_diffusion.jobs.tasks":
            return None
        sys.meta_path.remove(self)
        import spectral_diffusion.diffusion.pipeline as pipeline
        drawing, at_drawing, at_step = pipeline._draw, {at_drawing!r}, {at_step!r}
        def draw(*given):
            exec(at_drawing, {{}})
            return drawing(*given)
        pipeline._draw = draw
        import torch
        unet = __import__("diffusers").UNet2DConditionModel
        forward = unet.forward
        def step(self, sample, *given, **more):
            exec(at_step, {{"sample": sample, "torch": torch}})
            return forward(self, sample, *given, **more)
        unet.forward = step
        return None

sys.meta_path.insert(0, _Patch())
{more}
"""
    )
    return {"PYTHONPATH": str(folder)}
