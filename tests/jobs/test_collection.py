"""A worker that runs for months tidies up every day."""

import threading
from pathlib import Path

import pytest

from spectral_diffusion.jobs import worker as worker_module
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.jobs.worker import Worker


class _Member:
    def beat(self, *_: object) -> None:
        """Nobody else is there."""


def test_what_nobody_needs_is_looked_for_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(Database(f"sqlite:///{tmp_path / 'jobs.sqlite'}"), Store(str(tmp_path)))
    looked: list[str] = []

    def collect(store: Store, client: object) -> None:
        looked.append(threading.current_thread().name)
        if len(looked) >= 3:
            worker._ending.set()

    monkeypatch.setattr(worker_module, "collect", collect)
    monkeypatch.setattr(worker_module, "COLLECT_SECONDS", 0.05)
    monkeypatch.setattr(worker_module, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(worker, "_client", None, raising=False)
    monkeypatch.setattr(worker, "_membership", _Member(), raising=False)
    watching = threading.Thread(target=worker._watch)
    watching.start()
    watching.join(10)
    assert not watching.is_alive() and len(looked) >= 3 and looked[-1] == "collection"
