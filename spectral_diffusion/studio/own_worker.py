"""The studio's own worker: a child process that does the jobs, unless somebody else's worker lives already."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.queue import JobQueue

LOOK_SECONDS = 2.0
"""Between two looks at whether a worker lives."""
STOP_SECONDS = 12.0
"""A worker leaves its job whole within this time."""
_QUICK_END_SECONDS = 20.0
_QUICK_ENDS = 3
_LOW_PRIORITY = psutil.BELOW_NORMAL_PRIORITY_CLASS if os.name == "nt" else 5
_LOG_LIMIT_BYTES = 2**20


def log_path(root: Path) -> Path:
    """Where the worker of a workspace says what it does."""
    return root / "jobs" / "worker.log"


class OwnWorker:
    """Sees to it that there is a worker as long as the studio lives, and a little longer if it dies.

    The child holds the other end of a pipe: when the studio is killed, it does what is queued and then ends. The next
    studio finds it alive and starts none beside it.

    Args:
        queue: Whose jobs.
        root: The workspace.
        device: Where to compute.
        note: Told what happens, in lines for people.
    """

    def __init__(self, queue: JobQueue, root: Path, *, device: str, note: Callable[[str], None]) -> None:
        self._queue, self._root, self._device, self._note = queue, root, device, note
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="own worker")
        self._quick_ends = 0
        self._begun = 0.0

    @property
    def log_path(self) -> Path:
        """What it says."""
        return log_path(self._root)

    def start(self) -> None:
        """Begin; returns at once."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """End it and wait for it. Its job stays open and goes on with the next worker."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(LOOK_SECONDS)
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            # A full disk is no reason to look no more.
            with suppress(OSError):
                self._look()

    def _look(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            quick = time.monotonic() - self._begun < _QUICK_END_SECONDS
            self._quick_ends = self._quick_ends + 1 if quick else 0
            self._process = None
            if self._quick_ends == _QUICK_ENDS:
                self._note(f"the worker ended {_QUICK_ENDS} times at once; {self.log_path} tells why")
        if self._quick_ends >= _QUICK_ENDS or self._somebody_works():
            return
        self._begun = time.monotonic()
        self._process = self._begin()

    def _somebody_works(self) -> bool:
        # A database that is out of reach for a while is no reason for a second worker.
        with suppress(InputError), self._queue.database.reached():
            return any(worker.lives for worker in self._queue.registry.workers())
        return True

    def _begin(self) -> subprocess.Popen[bytes]:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            if self.log_path.stat().st_size > _LOG_LIMIT_BYTES:
                self.log_path.unlink()
        with open(self.log_path, "ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    *("-m", "spectral_diffusion", "worker", "--with-parent"),
                    *("--device", self._device, "--workspace", str(self._root.resolve())),
                    *("--store", self._queue.store.root),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Not on the command line, which everybody on the machine may read: it may hold a password.
                env={**os.environ, "SPECTRAL_DIFFUSION_DATABASE": self._queue.database.url},
                start_new_session=True,
            )
        # Whoever looks at the page shall not feel that something is trained beside it.
        with suppress(psutil.Error, OSError):
            psutil.Process(process.pid).nice(_LOW_PRIORITY)
        _lower_group(Path(f"/proc/{process.pid}/autogroup"))
        return process


def _lower_group(autogroup: Path) -> None:
    # Linux weighs sessions first, and a process only against others of its own: the child has a session to itself.
    with suppress(OSError):
        if autogroup.exists():
            autogroup.write_text(str(_LOW_PRIORITY))
