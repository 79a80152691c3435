"""accelerate for one training: its device, its backward pass, its trackers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from spectral_diffusion.config import TrainingConfig


@contextmanager
def accelerated(device: torch.device, config: TrainingConfig, out: Path) -> Iterator[Accelerator]:
    """accelerate on the base's device, leaving no state behind for whoever uses accelerate next."""
    fresh = not PartialState._shared_state
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        device_placement=False,
        log_with="tensorboard" if config.tensorboard else None,
        project_dir=str(out / "tensorboard") if config.tensorboard else None,
    )
    try:
        yield accelerator
    finally:
        if config.tensorboard:
            accelerator.end_training()
        if fresh:
            AcceleratorState._reset_state(reset_partial_state=True)
