"""The machine that the studio runs on: memory, who works, and what the worker said last."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psutil

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.job import Job
from spectral_diffusion.jobs.registry import Process, WorkerRow
from spectral_diffusion.names import printable
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.events import on_the_page
from spectral_diffusion.studio.parts.progress_line import in_words

LOG_LINES = 40
_LOG_BYTES = 2**16


class Memory(NamedTuple):
    """Main memory, in bytes.

    Args:
        free: What new work could use.
        total: What the machine has.
        own: Of the studio's own process.
    """

    free: int
    total: int
    own: int


class WorkerState(NamedTuple):
    """A worker that lives.

    Args:
        where: Its machine.
        device: Where it computes.
        does: What it works on, in words.
        memory: Main memory of its processes in bytes; None on another machine.
    """

    where: str
    device: str
    does: str
    memory: int | None


def memory() -> Memory:
    """Main memory as it is now."""
    system = psutil.virtual_memory()
    return Memory(system.available, system.total, psutil.Process().memory_info().rss)


def workers(desk: Desk) -> list[WorkerState]:
    """The workers that live, with what they do as far as it is this person's business.

    Raises:
        InputError: The queue cannot be reached.
    """
    queue = desk.studio.queue
    if not queue.database.exists:
        return []
    queue.database.prepare()
    with queue.database.reached():
        living = [worker for worker in queue.registry.workers() if worker.lives]
    jobs = {job.worker: job for job in queue.jobs(open_only=True) if job.worker}
    return [
        WorkerState(
            "this machine" if worker.is_here else printable(worker.host.partition("pid:")[0]),
            worker.device,
            _does(desk, worker, jobs.get(worker.id)),
            _memory_of(worker.process, worker.runner) if worker.is_here else None,
        )
        for worker in living
    ]


def waiting(desk: Desk) -> int:
    """How many jobs wait, of anybody.

    Raises:
        InputError: The queue cannot be reached.
    """
    return sum(job.state == "queued" for job in desk.studio.queue.jobs(open_only=True))


def log_tail(path: Path, lines: int = LOG_LINES) -> str:
    """The end of a log, or nothing where there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _LOG_BYTES))
            text = file.read(_LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    # A progress bar writes one line over and over.
    said = [line.rstrip("\r").rpartition("\r")[2] for line in text.removesuffix("\n").split("\n")]
    return "\n".join(printable(line) for line in said[-lines:])


def _does(desk: Desk, worker: WorkerRow, job: Job | None) -> str:
    if job is None:
        return f"waits: {on_the_page(printable(worker.waits_for))}" if worker.waits_for else "waits for work"
    if desk.studio.has_accounts:
        try:
            desk.job(job.id)
        except InputError:
            return "works for somebody else"
    return in_words(job)


def _memory_of(*processes: Process | None) -> int:
    """What processes and those that they began take, each counted once."""
    seen: dict[int, int] = {}
    for process in processes:
        if process is not None and process.lives:
            for member in _family(process.pid):
                try:
                    seen[member.pid] = member.memory_info().rss
                except psutil.Error:
                    continue
    return sum(seen.values())


def _family(pid: int) -> Iterable[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []
