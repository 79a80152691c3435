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

from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import write_atomically

HEADER = "spectral_diffusion_checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """A training between two steps.

    Args:
        step: Steps taken.
        identity: What must be the same to continue: base, slot, method, shapes.
        state: `Engine.state()`.
    """

    step: int
    identity: Mapping[str, Any]
    state: Mapping[str, Tensor]

    def save(self, path: Path) -> None:
        """Write it whole or not at all.

        Raises:
            InputError: The folder cannot be written to, or the disk is full; an older checkpoint stays as it was.
        """
        header = json.dumps({"step": self.step, "identity": dict(self.identity)})
        content = save(dict(self.state), {HEADER: header})
        write_atomically(path, lambda temporary: temporary.write_bytes(content))

    @classmethod
    def load(cls, path: Path, identity: Mapping[str, Any]) -> "Checkpoint":
        """Read a checkpoint of the same training.

        Raises:
            InputError: Damaged, or of another training; what differs is named.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})[HEADER])
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            found = cls(int(header["step"]), dict(header["identity"]), state)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise InputError(f"the checkpoint {path} is damaged ({error})", "train again without --resume") from error
        differing = [
            f"{key} is {identity.get(key)}, there {found.identity.get(key)}"
            for key in sorted({*identity, *found.identity})
            if identity.get(key) != found.identity.get(key)
        ]
        if differing:
            raise InputError(
                f"the checkpoint {path} is of another training: {'; '.join(differing)}",
                "continue with the same options, or train again without --resume",
            )
        return found
