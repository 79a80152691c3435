"""Adapters that lie where a training will write its own: whether one is what it would end with, or would be lost."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spectral_diffusion.adapters import Adapter, TokenInfo
from spectral_diffusion.diffusion.checkpoints import read_recipe, recipe_of, warn
from spectral_diffusion.errors import AdapterFileError, InputError

_OF_THE_CONCEPT = ("photographs", "description")


@dataclass(frozen=True)
class Aim:
    """What the adapter at the end of a training will say of itself.

    Args:
        path: Its file.
        columns: Which it owns, in words.
        fingerprints: Of its base.
        tokens: Its tokens.
        noted: What it notes of its training.
    """

    path: Path
    columns: str
    fingerprints: Mapping[str, str]
    tokens: Mapping[str, TokenInfo]
    noted: Mapping[str, Any]

    def differences(self, adapter: Adapter) -> list[str]:
        """What an adapter has otherwise, in words for people; what cannot change a training's end does not count."""
        here, there = recipe_of(self.noted), recipe_of(adapter.training)
        here |= {"slot": self.columns, "base": dict(self.fingerprints), "tokens": dict(self.tokens)}
        there |= {"slot": adapter.columns, "base": adapter.fingerprints, "tokens": adapter.tokens}
        return [
            f"{key}: {here.get(key)}, there {there.get(key)}"
            for key in sorted({*here, *there})
            if here.get(key) != there.get(key)
        ]

    def is_of_this_concept(self, adapter: Adapter) -> bool:
        """Whether an adapter was trained from the same photographs and words."""
        same = all(adapter.training.get(key) == self.noted[key] for key in _OF_THE_CONCEPT)
        return same and adapter.tokens == self.tokens


def find_finished(aim: Aim, checkpoint: Path, resume: bool | Literal["auto"]) -> Adapter | None:
    """The adapter, if it was trained to the end already: from the same photographs, by the same recipe, in its slot.

    Args:
        aim: What it must be.
        checkpoint: Where the same concept may lie half-trained. One that the finished training left, as it was killed
            before it could remove it, is removed.
        resume: As for `train_concepts`.

    Raises:
        AdapterFileError: The file is damaged and there is no checkpoint, unless `resume` is "auto".
        InputError: It was finished by another recipe, unless `resume` is "auto".

    Warns:
        TrainingWarning: The file is damaged, and will be written anew.
    """
    if not aim.path.exists():
        return None
    half_trained = checkpoint.exists()
    try:
        adapter = Adapter.load(aim.path)
    except AdapterFileError as error:
        if not half_trained and resume != "auto":
            raise
        warn(f"{error.what}; it will be replaced")
        return None
    differences = aim.differences(adapter)
    if not differences:
        left_over = half_trained and read_recipe(checkpoint) == recipe_of(aim.noted)
        if left_over:
            checkpoint.unlink(missing_ok=True)
        return adapter if left_over or not half_trained or resume == "auto" else None
    if half_trained or resume == "auto" or not aim.is_of_this_concept(adapter):
        return None
    raise InputError(
        f"{aim.path} is finished at {adapter.training.get('steps')} steps, by another recipe: {'; '.join(differences)}",
        "train without --resume to begin anew",
    )


def tell_what_is_replaced(aim: Aim) -> None:
    """Say that the adapter of something else will be written over, if there is one.

    Warns:
        TrainingWarning: It was trained from other photographs, or for other words.
    """
    with suppress(AdapterFileError):
        there = Adapter.load(aim.path)
        if not aim.is_of_this_concept(there):
            was, now = there.training.get("photographs", "unknown"), aim.noted["photographs"]
            what = f"other photographs: {was} there, {now} here" if was != now else "another class word or description"
            warn(f"{aim.path} was trained from {what}; it will be replaced when this training is finished")
