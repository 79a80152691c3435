"""Half-trained concepts on disk, so that no work is lost.

A checkpoint holds everything that changes from step to step: the trainables and AdamW's moments. Random numbers and the
order of the data follow from the seed and the step alone, so the step is all that is kept of them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from spectral_diffusion.config import TrainingConfig
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.dataset import Concept
from spectral_diffusion.errors import InputError
from spectral_diffusion.ledger import Claim
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


@dataclass(frozen=True)
class Checkpoint:
    """A training between two steps.

    Args:
        step: Steps taken.
        claim: The columns it trains, by which the ledger can be rebuilt.
        identity: What must be the same to continue, see `identify`.
        state: `Engine.state()`.
    """

    step: int
    claim: Claim
    identity: Mapping[str, Any]
    state: Mapping[str, Tensor]

    def save(self, path: Path) -> None:
        """Write it whole or not at all.

        Raises:
            InputError: The folder cannot be written to, or the disk is full; an older checkpoint stays as it was.
        """
        header = {"step": self.step, "claim": self.claim.model_dump(mode="json"), "identity": dict(self.identity)}
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
            claim = Claim.model_validate(header["claim"])
            found = cls(int(header["step"]), claim, dict(header["identity"]), state)
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


def identify(config: TrainingConfig, base: Base, concept: Concept, slot: ColumnSlot) -> dict[str, Any]:
    """What a training must have in common with a checkpoint to go on from it, in words for people.

    Steps and rates may be changed on the way; what is trained, from what, and which random numbers come next may not.
    """
    return {
        **{component: digest[:_SHORT] for component, digest in base.fingerprints.items()},
        "slot": str(slot),
        "token": concept.token,
        "class_word": concept.class_word,
        "description": concept.words,
        "photographs with captions and masks": tell_photographs(concept),
        **config.model_dump(mode="json", exclude=set(_MAY_CHANGE)),
    }


def tell_photographs(concept: Concept) -> str:
    """How many photographs, and what tells them from others."""
    return f"{len(concept.photographs)} ({concept.digest()[:_SHORT]})"


def read_claim(path: Path) -> Claim:
    """Which columns a checkpoint trains.

    Raises:
        InputError: There is none, or it is damaged.
    """
    header, _ = _read(path, with_state=False)
    try:
        return Claim.model_validate(header["claim"])
    except (KeyError, ValueError, TypeError) as error:
        raise damaged(path, error) from error


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


def _read(path: Path, *, with_state: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            names = file.keys() if with_state else ()
            return dict(header), {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise damaged(path, error) from error
