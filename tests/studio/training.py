"""A train screen without a browser: a studio whose base is known, and what a page keeps and shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spectral_diffusion.diffusion.facts import BaseFacts
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.queue import JobQueue
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.studio import train
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.guard.grants import Grants
from spectral_diffusion.studio.parts.cards import Card
from spectral_diffusion.studio.studio import Studio
from spectral_diffusion.studio.training_list import look, nothing_chosen, tick
from spectral_diffusion.workspace import Workspace
from tests.command_line import write_concept

FACTS = BaseFacts(
    name="toybox",
    is_toybox=True,
    fingerprints={"unet": "a" * 64},
    native_size_px=128,
    latent_scale=4,
    dtype="float32",
    size_step_px=8,
    size_min_px=64,
    size_max_px=512,
    training_step_px=8,
    device="cpu",
    device_name="a processor",
    parameters={"unet": 10},
    weights_bytes=40,
    memory_free_bytes=10**9,
    memory_total_bytes=10**10,
    adapted_weights=4,
    narrowest=16,
    column_energy=(0.5, 0.25),
    batch_size=2,
    resolution_px=128,
    seconds_a_step=0.5,
    step_fits_memory=True,
    seconds_a_sampling_step=0.1,
    seconds_to_decode=0.1,
    seconds_to_encode=0.1,
    seconds_to_decompose=1.0,
)
BALANCED = [None] * 11
"""The advanced settings, left alone."""


def studio_in(root: Path, *, has_accounts: bool = False) -> Studio:
    workspace = Workspace(root)
    queue = JobQueue(Database(f"sqlite:///{root / 'jobs.sqlite'}"), Store(str(root)))
    shown = root / "shown"
    shown.mkdir(exist_ok=True)
    # Where something was trained before, no samples are added.
    for folder in (root, root / "users" / "ada", root / "users" / "ben"):
        (folder / "adapters").mkdir(parents=True, exist_ok=True)
    return Studio(workspace, queue, Grants(shown), has_accounts=has_accounts)


@contextmanager
def known_desk(root: Path) -> Iterator[Desk]:
    """A desk with two concepts to train and one without photographs; its base is known, and no worker runs."""
    for name in ("octo", "shelly"):
        write_concept(root / "concepts" / name, "dog", len(name))
    (root / "concepts" / "mug").mkdir()
    studio = studio_in(root)
    studio._facts = FACTS
    yield Desk.of(studio, None)
    studio.close()


def on(*folders):
    return [Card(id=folder, title=folder, on=True).value() for folder in folders]


def foresee(desk, chosen, recipe="balanced", **advanced):
    return train.foresee(desk, chosen, recipe, *values(**advanced))


def values(**advanced):
    order = ("steps", "rank", "method", "rate", "batch", "text_encoder", "masks", "flip", "seed", "every", "slot")
    assert set(advanced) <= set(order)
    return [advanced.get(name) for name in order]


class Visit:
    """What a page keeps and shows, as the events of the train screen leave it."""

    def __init__(self, desk, choice=None):
        self.desk, self.choice, self.shown = desk, choice or nothing_chosen(), {}
        self.take(look(desk, self.choice, self.shown))

    def take(self, answer):
        self.rows, self.others, self.timer, self.part, self.headline, *self.buttons = answer[:10]
        self.curve, self.samples, self.log, self.shown = answer[10:]
        return self

    def tick(self):
        return self.take(tick(self.desk, self.choice, self.shown))

    def press(self, function):
        self.choice, *answer = function(self.desk, self.choice, self.shown)
        return self.take(answer)

    def choose(self, job_id):
        return self.press(lambda desk, choice, shown: train.chosen_now(desk, {**choice, "job": job_id}, shown))

    @property
    def states(self):
        return {row["title"].removeprefix("train "): row["state"] for row in self.rows}
