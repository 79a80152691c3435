"""The process that does the work: it stays, with base and adapters at hand, until it is ended or its worker is gone.

Its worker talks to it in lines of JSON: orders on stdin, answers on what was stdout. Everything that it or a library
prints goes to the log of the job at hand.
"""

import errno
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any, TextIO

from spectral_diffusion.errors import DiskFullError, InputError, SpectralDiffusionError
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.job_folder import BusyError, JobFolder
from spectral_diffusion.jobs.progress import ProgressWriter
from spectral_diffusion.jobs.publishing import digest
from spectral_diffusion.jobs.specs import read_spec
from spectral_diffusion.jobs.store import Store

# How long an orphan may need to leave its files whole, and how often changed files go to a store elsewhere.
_ORPHAN_SECONDS = 2.0
_PUSH_SECONDS = 10.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Orders:
    """What the worker wants, heard while the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self.stop = threading.Event()
        self.waiting: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._stream = stream
        threading.Thread(target=self._listen, daemon=True, name="orders").start()

    def _listen(self) -> None:
        for line in self._stream:
            order = json.loads(line)
            if order["do"] == "stop":
                self.stop.set()
                self.waiting.put(None)
            else:
                self.waiting.put(order)
        # The worker is gone: whoever takes over must find nobody at work.
        self.stop.set()
        self.waiting.put(None)
        time.sleep(_ORPHAN_SECONDS)
        os._exit(1)


def main() -> None:
    """Do jobs until there are no more orders."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Who ends all processes at once means the worker, which ends this one when its files are whole.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    orders = _Orders(sys.stdin)
    settings = orders.waiting.get()
    if settings is None:
        return

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    database, store = Database(settings["database"]), Store(settings["store"])
    try:
        # Here and not above: an orphan or a wrong device is told before torch is loaded for seconds.
        from spectral_diffusion.jobs.warm import Warm

        warm = Warm(settings["device"])
    except SpectralDiffusionError as error:
        answer(kind="unusable", message=error.what, remedy=error.remedy)
        return
    answer(kind="ready")
    while (order := orders.waiting.get()) is not None:
        answer(number=order["number"], **_do(order, JobFolder.of(store, order["job"]), database, warm, orders.stop))
    # Nothing is open that has to be closed with care, and torch takes its time.
    os._exit(0)


class _Logging:
    """Everything that is printed goes to the job's log, also what C code prints."""

    def __init__(self, folder: JobFolder) -> None:
        self._path = folder.path / "log.txt"

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._before = os.dup(2)
        # A log that cannot be written to stops no work.
        with suppress(OSError):
            log = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            os.dup2(log, 2)
            os.dup2(log, 1)
            os.close(log)

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            sys.stderr.flush()
            sys.stdout.flush()
        os.dup2(self._before, 2)
        os.dup2(self._before, 1)
        os.close(self._before)


def _do(
    order: dict[str, Any], folder: JobFolder, database: Database, warm: Any, stop: threading.Event
) -> dict[str, Any]:
    """An order, from its text to its answer: nothing that it can do ends the process."""
    from spectral_diffusion.diffusion.memory import is_out_of_memory

    # A job may be removed as soon as it is cancelled: then its folder shall not be there again.
    is_removed = order["do"] == "release" and folder.store.folder is not None and not folder.path.exists()
    try:
        with folder.locked():
            # What was sent from elsewhere comes first: the log goes on where that one ended.
            folder.pull()
            with _Logging(folder):
                done = (
                    _release(order, folder, database)
                    if order["do"] == "release"
                    else _run(order, folder, database, warm, stop, is_out_of_memory)
                )
            folder.push()
        if is_removed:
            shutil.rmtree(folder.path, ignore_errors=True)
        return done
    except BusyError as error:
        return {"kind": "busy", "message": str(error)}
    except Exception as error:
        return _explain(error, is_out_of_memory(error))


def _run(
    order: dict[str, Any],
    folder: JobFolder,
    database: Database,
    warm: Any,
    stop: threading.Event,
    is_out_of_memory: Callable[[BaseException], bool],
) -> dict[str, Any]:
    """One job."""
    from spectral_diffusion.jobs.tasks import run_task
    from spectral_diffusion.jobs.tools import Stopped, Tools

    progress = ProgressWriter(folder.path)
    progress.tell(now=True, stage="starting")
    _say(f"begun on {warm.device}, attempt {progress.progress.attempt}")
    tools = Tools(folder, database, warm, progress, stop.is_set, order.get("micro_batch_size", 0))
    try:
        with _Pushing(folder):
            outcome = run_task(read_spec(order["spec"]), tools)
        files = {
            source: {"to": place, "sha256": digest(folder.work / source)} for source, place in outcome.files.items()
        }
    except Stopped:
        progress.tell(now=True)
        _say("stopped; it can go on from here")
        return {"kind": "stopped"}
    except Exception as error:
        progress.tell(now=True)
        return _explain(error, is_out_of_memory(error))
    progress.tell(now=True, stage="done", seconds_left=None)
    _say("done")
    return {"kind": "done", "files": files, "answer": outcome.answer}


def _release(order: dict[str, Any], folder: JobFolder, database: Database) -> dict[str, Any]:
    """Give the columns back that a cancelled training had claimed in vain."""
    from spectral_diffusion.jobs.ledger import release_vain

    try:
        release_vain(read_spec(order["spec"]), folder, database)
    except SpectralDiffusionError as error:
        _say(f"its columns could not be given back: {error}")
    return {"kind": "released"}


def _explain(error: Exception, out_of_memory: bool) -> dict[str, Any]:
    """What went wrong: of which kind, and in words for people."""
    if isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in _FULL):
        _say(f"the disk is full: {error}")
        return {"kind": "disk", "message": str(error)}
    if out_of_memory:
        _say(f"out of memory: {str(error)[:500]}")
        return {"kind": "memory", "message": " ".join(str(error).split())[:300]}
    if isinstance(error, SpectralDiffusionError):
        _say(f"failed: {error}")
        return {"kind": "input", "message": str(error)}
    _say(f"a fault of ours:\n{traceback.format_exc()}")
    said = f"a fault of ours, {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return {"kind": "fault", "message": f"{said}; report what `spectral-diffusion jobs logs` prints"}


class _Pushing:
    """Send the job's files to a store elsewhere from time to time, so that another machine can go on with it."""

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._push, daemon=True, name="pushing")

    def __enter__(self) -> None:
        if self._folder.store.folder is None:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _push(self) -> None:
        while not self._over.wait(_PUSH_SECONDS):
            # A store that is away for a while comes back; the end of the job tries once more, and tells.
            with suppress(InputError, OSError):
                self._folder.push()


def _say(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    main()
