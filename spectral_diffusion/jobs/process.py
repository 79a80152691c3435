"""A runner as its worker sees it: a process that is given orders, and that can be ended with all its children."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import psutil

from spectral_diffusion.jobs.registry import Process

MARK = "SPECTRAL_DIFFUSION_WORKER"
"""Variable in which a runner and all that it starts carry their worker's id."""
_KILL_SECONDS = 5.0


class RunnerProcess:
    """A running `jobs.runner`.

    Args:
        settings: Its first order: database, store and device.
        worker_id: Of its worker: by it the process and all that it starts are known, whatever numbers they have.
    """

    def __init__(self, settings: dict[str, Any], worker_id: str) -> None:
        # A session of its own: Ctrl-C in the worker's terminal is for the worker, which ends this process in its way.
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "spectral_diffusion.jobs.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, MARK: worker_id},
            start_new_session=True,
        )
        self._worker_id = worker_id
        self.process = Process.of(self._popen.pid)
        self._answers: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True, name="answers").start()
        self.order(settings)

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as answers:
            for line in answers:
                with suppress(ValueError):
                    self._answers.put(json.loads(line))
        self._answers.put(None)

    def order(self, values: dict[str, Any]) -> None:
        """Give an order; a process that is gone hears nothing, and `answer` tells."""
        assert self._popen.stdin is not None
        with suppress(OSError, ValueError):
            self._popen.stdin.write(json.dumps(values) + "\n")
            self._popen.stdin.flush()

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """The next answer; None when there was none within that time.

        Raises:
            EOFError: The process is gone, or about to be.
        """
        try:
            found = self._answers.get(timeout=seconds)
        except Empty:
            return None
        if found is None:
            self._answers.put(None)
            raise EOFError
        return found

    @property
    def died_of(self) -> str:
        """How it ended, in words."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(_KILL_SECONDS)
        code = self._popen.returncode
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with code {code}"

    @property
    def was_killed(self) -> bool:
        """Whether it ended by SIGKILL, as a system that runs out of memory ends processes."""
        return "SIGKILL" in self.died_of

    def end(self, grace_seconds: float) -> None:
        """Ask it to stop and leave its files whole; after the grace, or if it is stuck, end it with its children."""
        if grace_seconds > 0:
            self.order({"do": "stop"})
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace_seconds)
        kill_tree(self.process, self._worker_id)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(_KILL_SECONDS)
        # Its answers are closed by who reads them.
        with suppress(OSError, ValueError):
            if self._popen.stdin is not None:
                self._popen.stdin.close()


def when_stdin_ends(call: Callable[[], None]) -> None:
    """Call once nobody holds the other end of this process's stdin any more; without a stdin that is at once."""

    def listen() -> None:
        with suppress(OSError, ValueError, AttributeError):
            while os.read(sys.stdin.fileno(), 4096):
                pass
        call()

    threading.Thread(target=listen, daemon=True, name="parent").start()


def kill_tree(root: Process | None, worker_id: str) -> None:
    """End a worker's runner and everything it started, at once, and nothing else.

    Numbers of processes come back after a while, so those whose parents are gone are known by their worker's mark.

    Args:
        root: The runner, where it is known.
        worker_id: Its worker.
    """
    family: list[psutil.Process] = []
    with suppress(psutil.Error):
        if root is not None and root.lives:
            process = psutil.Process(root.pid)
            family = [process, *process.children(recursive=True)]
    for other in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if other not in family and other.environ().get(MARK) == worker_id:
                family.append(other)
    for member in family:
        with suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(family, timeout=_KILL_SECONDS)
