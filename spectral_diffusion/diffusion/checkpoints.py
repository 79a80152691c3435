"""Half-trained concepts on disk, so that no work is lost.

A checkpoint holds everything that changes from step to step: the trainables and AdamW's moments. Random numbers and the
order of the data follow from the seed and the step alone, so the step is all that is kept of them.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from spectral_diffusion.adapters.adapter import tell_columns
from spectral_diffusion.config import TrainingConfig
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.dataset import Concept
from spectral_diffusion.errors import InputError
from spectral_diffusion.ledger import Claim, Owner
from spectral_diffusion.reading import open_file
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.workspace import write_atomically

HEADER = "spectral_diffusion_checkpoint"
FOLDER = "checkpoints"
"""Where checkpoints lie, below the folder of the adapter files."""

_SHORT = 16
# Everything else in a recipe decides what is trained or which random numbers come next.
_MAY_CHANGE = frozenset(
    (
        "steps",
        "learning_rates",
        "warmup_steps",
        "lr_schedule",
        "weight_decay",
        "gradient_clip",
        "min_snr_gamma",
        "micro_batch_size",
        "checkpoint_every",
        "sample_every",
        "tensorboard",
    )
)

# What can change neither what is trained nor how, but for rounding.
_WITHOUT_EFFECT = frozenset(("micro_batch_size", "checkpoint_every", "sample_every", "tensorboard"))


class TrainingWarning(UserWarning):
    """Something about a training that a person should know and that is no error."""


@dataclass(frozen=True)
class Checkpoint:
    """A training between two steps.

    Args:
        step: Steps taken.
        owner: Whose it is: a claim, by which the ledger can be rebuilt, where the method holds columns.
        identity: What must be the same to continue, see `identify`.
        recipe: What must be the same to end as if nothing had happened, see `recipe_of`.
        state: `Engine.state()`.
    """

    step: int
    owner: Owner
    identity: Mapping[str, Any]
    recipe: Mapping[str, Any]
    state: Mapping[str, Tensor]

    def save(self, path: Path) -> None:
        """Write it whole or not at all.

        Raises:
            DiskFullError: The disk is full; an older checkpoint stays as it was.
            InputError: The folder cannot be written to; an older checkpoint stays as it was.
        """
        header = {
            "step": self.step,
            "claim": self.owner.model_dump(mode="json"),
            "identity": dict(self.identity),
            "recipe": dict(self.recipe),
        }
        content = save(dict(self.state), {HEADER: json.dumps(header)})
        write_atomically(path, lambda temporary: temporary.write_bytes(content))

    @classmethod
    def load(cls, path: Path, identity: Mapping[str, Any]) -> "Checkpoint":
        """Read a checkpoint of the same training.

        Raises:
            InputError: Damaged, or of another training; what differs is named.
        """
        header, state = _read(path, with_state=True)
        try:
            owner = _owner(header)
            found = cls(int(header["step"]), owner, dict(header["identity"]), dict(header.get("recipe") or {}), state)
        except (KeyError, ValueError, TypeError) as error:
            raise damaged(path, error) from error
        differing = [
            f"{key}: {identity.get(key)}, there {found.identity.get(key)}"
            for key in sorted({*identity, *found.identity})
            if identity.get(key) != found.identity.get(key)
        ]
        if differing:
            raise InputError(
                f"the checkpoint {path} is of another training: {'; '.join(differing)}",
                "continue with the same photographs and options, or train again without --resume",
            )
        return found

    def check_recipe(self, path: Path, recipe: Mapping[str, Any]) -> None:
        """Refuse one from which another recipe would end as none of both.

        Raises:
            InputError: The recipes differ; what does is named.
        """
        differing = [
            f"{key}: {recipe.get(key)}, there {self.recipe.get(key)}"
            for key in sorted({*recipe, *self.recipe})
            if recipe.get(key) != self.recipe.get(key)
        ]
        if differing:
            raise InputError(
                f"the checkpoint {path} is of another recipe: {'; '.join(differing)}", "train again without --resume"
            )


def identify(config: TrainingConfig, base: Base, concept: Concept, slot: ColumnSlot | None) -> dict[str, Any]:
    """What a training must have in common with a checkpoint to go on from it, in words for people.

    Steps and rates may be changed on the way; what is trained, from what, and which random numbers come next may not.
    """
    return {
        **{component: digest[:_SHORT] for component, digest in base.fingerprints.items()},
        "slot": tell_columns(config.method, slot),
        "token": concept.token,
        "class_word": concept.class_word,
        "description": concept.words,
        "photographs with captions and masks": tell_photographs(concept),
        **config.model_dump(mode="json", exclude=set(_MAY_CHANGE)),
    }


def recipe_of(noted: Mapping[str, Any]) -> dict[str, Any]:
    """Of what an adapter notes of its training, all that decides how it ends."""
    return {key: value for key, value in noted.items() if key not in _WITHOUT_EFFECT}


def read_recipe(path: Path) -> dict[str, Any] | None:
    """The recipe a checkpoint was made by; None where it cannot be read."""
    try:
        return dict(_read(path, with_state=False)[0]["recipe"])
    except (InputError, KeyError, ValueError, TypeError):
        return None


def warn(text: str) -> None:
    """Warns: TrainingWarning: Always."""
    warnings.warn(TrainingWarning(text), stacklevel=3)


def tell_photographs(concept: Concept) -> str:
    """How many photographs, and what tells them from others."""
    return f"{len(concept.photographs)} ({concept.digest()[:_SHORT]})"


def read_owner(path: Path) -> Owner:
    """Whose a checkpoint is: a claim, where its method holds columns.

    Raises:
        InputError: There is none, or it is damaged.
    """
    header, _ = _read(path, with_state=False)
    try:
        return _owner(header)
    except (KeyError, ValueError, TypeError) as error:
        raise damaged(path, error) from error


def read_claim(path: Path) -> Claim | None:
    """Which columns a checkpoint trains; None where its method holds none.

    Raises:
        InputError: There is none, or it is damaged.
    """
    owner = read_owner(path)
    return owner if isinstance(owner, Claim) else None


def damaged(path: Path, error: Exception) -> InputError:
    """What is said of a checkpoint that cannot be gone on from."""
    said = " ".join(str(error).split())[:200]
    return InputError(f"the checkpoint {path} is damaged ({said})", "train again without --resume")


def adapter_path(out: Path, concept: Concept) -> Path:
    """Where a concept's finished adapter is."""
    return out / f"{concept.name}.safetensors"


def checkpoint_path(out: Path, concept: Concept) -> Path:
    """Where a half-trained concept is kept."""
    return out / FOLDER / f"{concept.name}.safetensors"


def _owner(header: Mapping[str, Any]) -> Owner:
    noted = header["claim"]
    return (Claim if "start" in noted else Owner).model_validate(noted)


def _read(path: Path, *, with_state: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with open_file(path, 2**40), safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            names = file.keys() if with_state else ()
            return dict(header), {name: file.get_tensor(name) for name in names}
    except (InputError, OSError, SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise damaged(path, error) from error
