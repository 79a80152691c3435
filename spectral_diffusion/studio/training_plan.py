"""What a person asks to be trained: from the controls to a job, with what can be told before it begins."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from spectral_diffusion.adapters import holds_columns
from spectral_diffusion.adapters.base import refuse_slot
from spectral_diffusion.config import DEFAULT_BASE, Config
from spectral_diffusion.diffusion.dataset import load_concept
from spectral_diffusion.diffusion.facts import training_seconds
from spectral_diffusion.diffusion.gallery import ConceptSummary, list_concepts
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.submission import train_spec
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.open_jobs import concepts_in_training
from spectral_diffusion.studio.recipes import RECIPES

CONCEPTS_LIMIT = 20
"""So many concepts go into one job."""


class Estimate(NamedTuple):
    """How long a training takes, and how that is known."""

    seconds: float
    basis: str


@dataclass(frozen=True)
class TrainingPlan:
    """One wish.

    Args:
        concepts: What to learn.
        config: The whole recipe.
        slot: As for `train_concepts`.
    """

    concepts: tuple[ConceptSummary, ...]
    config: Config
    slot: int | Literal["auto"] = "auto"

    @classmethod
    def of(
        cls, desk: Desk, folders: Sequence[str], config: Config, slot: int | Literal["auto"] = "auto"
    ) -> "TrainingPlan":
        """A plan for concepts named by their folders.

        Raises:
            InputError: There are none or too many, or one is not there or has a fault.
        """
        if not folders:
            raise InputError("no concept is ticked", "tick what shall be learned")
        if len(folders) > CONCEPTS_LIMIT:
            raise InputError(f"{len(folders)} concepts are ticked", f"train up to {CONCEPTS_LIMIT} in one job")
        if not all(isinstance(folder, str) for folder in folders):
            raise InputError("the concepts are no list of names", 'name them as ["octo"]')
        known = {concept.folder: concept for concept in list_concepts(desk.workspace)}
        chosen = []
        for folder in dict.fromkeys(folders):
            concept = known.get(folder)
            if concept is None:
                raise InputError(f"there is no concept {folder[:60]!r} any more", "choose another")
            if fault := why_not(concept):
                raise InputError(f"{concept.name} cannot be trained: {fault}", "mend it in Concepts")
            chosen.append(concept)
        return cls(tuple(chosen), config, slot)

    @property
    def replaced(self) -> list[str]:
        """Concepts that are trained already."""
        return [concept.name for concept in self.concepts if concept.has_adapter]

    def estimate(self, desk: Desk) -> Estimate | None:
        """How long it takes; None as long as nobody has measured anything here.

        Raises:
            InputError: The queue cannot be reached.
        """
        facts = desk.studio.facts
        if facts is None:
            return None
        pace = _pace(desk, self.config)
        device = "processor" if facts.device == "cpu" else "graphics card"
        basis = "measured in earlier trainings here" if pace else f"measured on this machine's {device}"
        return Estimate(training_seconds(facts, self.config, len(self.concepts), pace), basis)

    def slots(self, desk: Desk) -> dict[str, ColumnSlot] | None:
        """The columns that each concept would get now, if the method holds any; None as long as nobody knows the base.

        Raises:
            SlotError: One is taken or does not exist, or none is free.
            InputError: The ledger cannot be read; or a slot was asked for, and the method holds no columns.
        """
        refuse_slot(self.config.training.method, self.slot)
        if not holds_columns(self.config.training.method):
            return {}
        facts = desk.studio.facts
        if facts is None:
            return None
        width = self.config.training.rank
        with tempfile.TemporaryDirectory(prefix="spectral-diffusion-") as folder:
            # The ledger's own rules, tried on a copy of it.
            copy = Ledger(Path(folder) / desk.workspace.ledger_path.name)
            if desk.workspace.ledger_path.exists():
                shutil.copyfile(desk.workspace.ledger_path, copy.path)
            return {
                concept.name: copy.claim(
                    facts.name,
                    facts.fingerprints,
                    concept.name,
                    width,
                    facts.capacity(width),
                    "auto" if self.slot == "auto" else self.slot + number,
                    concept.token,
                )
                for number, concept in enumerate(self.concepts)
            }

    def submit(self, desk: Desk) -> Job:
        """Queue it.

        Raises:
            InputError: A concept cannot be read or waits for its training already; no slot; or see `train_spec`.
        """
        self.slots(desk)
        folder = desk.workspace.concepts
        concepts = [load_concept(folder / concept.folder) for concept in self.concepts]
        self._check_open(desk)
        return desk.submit(lambda store: train_spec(store, desk.workspace, self.config, concepts, slot=self.slot))

    def _check_open(self, desk: Desk) -> None:
        # Two presses of a button are one wish.
        training = concepts_in_training(desk)
        for name in (concept.name for concept in self.concepts):
            if (job := training.get(name)) is not None:
                raise InputError(
                    f"{name} is being trained already: {job.title} is {job.state}", "wait for it, or cancel it first"
                )


def _pace(desk: Desk, config: Config) -> float | None:
    """Steps a second of earlier trainings by this recipe, or by one that differs in the wide pictures alone."""
    wide = config.training.cutmix_wide_probability
    known = dict.fromkeys((wide, *(recipe.wide_probability for recipe in RECIPES.values())))
    for other in known:
        alike = config.override({"training.cutmix_wide_probability": other})
        pace = desk.studio.queue.pace(alike)
        if pace is not None:
            # A wide picture is half as large again.
            return pace * (1 + other / 2) / (1 + wide / 2)
    return None


def why_not(concept: ConceptSummary) -> str:
    """Why a concept cannot be trained, or nothing."""
    return concept.fault or ("" if concept.count else "it has no photographs yet")


def describe_recipe(config: Config) -> str:
    """A recipe in a line."""
    training = config.training
    base = "" if config.base == DEFAULT_BASE else f" on {Path(config.base).name}"
    return (
        f"{training.steps} steps of {training.batch_size}, rank {training.rank}, "
        f"{training.method}, rate {training.learning_rates.unet:g}{base}"
    )
