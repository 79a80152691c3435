"""A train screen without a browser: a studio whose base is known, and what a page keeps and shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spectral_diffusion.studio import train
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.cards import Card
from spectral_diffusion.studio.training_list import look, nothing_chosen, tick
from tests.command_line import write_concept
from tests.studio.desks import FACTS, desk_in

BALANCED = [None] * 11
"""The advanced settings, left alone."""


@contextmanager
def known_desk(root: Path) -> Iterator[Desk]:
    """A desk with two concepts to train and one without photographs; its base is known, and no worker runs."""
    for name in ("octo", "shelly"):
        write_concept(root / "concepts" / name, "dog", len(name))
    (root / "concepts" / "mug").mkdir()
    with desk_in(root, facts=FACTS) as desk:
        yield desk


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
