"""A training that is killed again and again, as a program: `python -m tests.diffusion.killing BASE FOLDER SEED`.

Every attempt is a process of its own, forked before anything is computed, and makes the same call of `train_concepts`.
It is killed when it is about to touch a file for the n-th time, or has just done so, or after some time; n and the time
grow from attempt to attempt, so in the end one is left alone long enough. It prints how many were killed.
"""

import hashlib
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.diffusion.base import load_base
from spectral_diffusion.diffusion.trainer import train_concepts
from spectral_diffusion.ledger import Ledger
from tests.diffusion.practice import make_concept, quick_config

RECIPE: dict[str, Any] = {
    "steps": 6,
    "checkpoint_every": 2,
    "sample_every": 3,
    "cutmix_probability": 0.5,
    "companions_count": 2,
    "noise_offset": 0.1,
}


def train(base: Path, folder: Path) -> None:
    """The call that is repeated."""
    torch.set_num_threads(1)
    train_concepts(
        quick_config(**RECIPE),
        load_base(base),
        [make_concept("octo"), make_concept("rex", colour="green")],
        Ledger(folder / "ledger.json"),
        out=folder / "adapters",
        resume="auto",
        draw_samples=_draw,
    )


def _draw(adapter: Adapter) -> list[Image.Image]:
    """Two pictures that show what the adapter holds."""
    digest = hashlib.sha256(b"".join(held["A"].numpy().tobytes() for held in adapter.modules.values())).digest()
    return [Image.frombytes("L", (8, 4), digest), Image.frombytes("L", (4, 8), digest)]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_at(touch: int) -> None:
    """Die around the touch-th time that a file is synced, renamed or removed."""
    left = [touch]

    def mortal(function: Callable[..., Any]) -> Callable[..., Any]:
        def touching(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                _die()
            result = function(*arguments, **options)
            left[0] -= 1
            if left[0] == 0:
                _die()
            return result

        return touching

    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, mortal(getattr(os, name)))


def _kill_after(seconds: float) -> None:
    timer = threading.Timer(seconds, _die)
    timer.daemon = True
    timer.start()


def _attempt(base: Path, folder: Path, prepare: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            prepare()
            train(base, folder)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(base: Path, folder: Path, seed: int) -> int:
    """One attempt that nobody disturbs, in a folder of its own; then attempts in `folder` until one is done."""
    chance, killed, begun = random.Random(seed), 0, time.perf_counter()
    if _attempt(base, folder.with_name("undisturbed"), lambda: None) != 0:
        return 1
    long = time.perf_counter() - begun
    while True:
        # By the clock only later on: an early attempt that is quicker than the undisturbed one would end it all.
        if killed >= 10 and killed % 3 == 2:
            seconds = long * chance.uniform(0.3, 1.0)
            code = _attempt(base, folder, lambda seconds=seconds: _kill_after(seconds))
        else:
            touch = 1 + killed // 2 + chance.randrange(3)
            code = _attempt(base, folder, lambda touch=touch: _kill_at(touch))
        if code != -signal.SIGKILL:
            sys.stdout.write(f"{killed}\n")
            return code
        killed += 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
