"""A desk whose model is imaginary and known: six slots of rank 2, and concepts as if they were trained in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spectral_diffusion.diffusion.checkpoints import Checkpoint
from spectral_diffusion.jobs.job_folder import JobFolder
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.ledger import Claim
from spectral_diffusion.studio import slots
from spectral_diffusion.studio.board import Board
from spectral_diffusion.studio.desk import Desk
from tests.adapters.making import FINGERPRINTS
from tests.command_line import write_concept
from tests.studio.desks import IMAGINARY, desk_in, write_adapters
from tests.studio.failing import fail

BOARD: dict[str, Any] = {"facts": IMAGINARY, "overrides": {"training.rank": 2}}
"""Of a studio with that model."""


@contextmanager
def board_desk(root: Path) -> Iterator[Desk]:
    """A desk with three concepts, mug, octo and rover, that hold no columns yet."""
    for name in ("mug", "octo", "rover"):
        write_concept(root / "concepts" / name, "dog", len(name))
    with desk_in(root, **BOARD) as desk:
        yield desk


def train(desk: Desk, name: str, number: int, *, noted: bool = True) -> None:
    """As if the concept had been trained there."""
    write_adapters(desk.workspace.adapters, **{name: number})
    if noted:
        desk.ledger.claim("imaginary", FINGERPRINTS, name, 2, 6, number, f"<{name}>")


def ended_training(desk: Desk, name: str, number: int, *, why: str | None = "no memory", step: int = 0) -> Job:
    """As if a training of the concept there had failed, or without a reason had been cancelled, after so many steps."""
    desk.ledger.claim("imaginary", FINGERPRINTS, name, 2, 6, number, f"<{name}>")
    job = slots.queue_again(desk, {"concept": name, "slot": number})
    if step:
        claim = Claim(concept=name, base="imaginary", fingerprints=FINGERPRINTS, start=2 * number, width=2)
        place = JobFolder.of(desk.studio.queue.store, job.id).work / "checkpoints"
        place.mkdir(parents=True)
        Checkpoint(step, claim, {}, {}, {}).save(place / f"{name}.safetensors")
    if why is not None:
        return fail(desk.studio.queue, job, why)
    # The worker had no time to free anything.
    desk.studio.queue._client.cancel_workflow(job.id)
    return desk.studio.queue.job(job.id)


def states(board: Board) -> dict[str, tuple[int, str]]:
    """Where each concept lies, and how it holds that."""
    return {holding.concept: (holding.slot.start, holding.state) for holding in board.holdings}
