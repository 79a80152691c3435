"""Training concepts: photographs in, one adapter file a concept out, each in its own slot of columns."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import torch

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.config import Config, TrainingConfig
from spectral_diffusion.diffusion.base import Base, capacity, target_modules
from spectral_diffusion.diffusion.checkpoints import adapter_path, checkpoint_path, read_claim
from spectral_diffusion.diffusion.dataset import Concept
from spectral_diffusion.diffusion.material import size_step_px
from spectral_diffusion.diffusion.objective import check_prediction
from spectral_diffusion.diffusion.training import DrawSamples, StepReport, Training
from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import load_fused
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.workspace import check_writable

__all__ = ["DrawSamples", "StepReport", "train_concepts"]


def train_concepts(
    config: Config,
    base: Base,
    concepts: Sequence[Concept],
    ledger: Ledger,
    on_step: Callable[[StepReport], None] | None = None,
    *,
    out: Path,
    slot: int | Literal["auto"] = "auto",
    resume: bool | Literal["auto"] = False,
    draw_samples: DrawSamples | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Adapter]:
    """Train one adapter a concept, one after another, each in its own slot, and save it as `out/<name>.safetensors`.

    All slots are claimed before the first step. A concept that fails gives its newly claimed slot back unless a
    checkpoint (`out/checkpoints/<name>.safetensors`) is there to go on from. Ctrl-C ends after the step it falls into,
    with a checkpoint.

    Args:
        config: The recipe.
        base: The model; adapted while training, and restored.
        concepts: What to train; names and tokens must differ.
        ledger: Where slots are claimed.
        on_step: Told after every step.
        out: Folder of the adapter files.
        slot: Number of the first concept's slot, the next ones follow; or each one's own or the first free one.
        resume: Go on from checkpoints; concepts that were finished from the same photographs by the same recipe are
            left as they are. Steps and rates may be others than before; what is trained, the photographs, the batch
            size and the seed may not.
        draw_samples: Draws pictures with the half-trained adapter every `sample_every` steps, the base being as it was;
            they go to `out/samples/<name>/`.

    Returns:
        The adapters in the order of the concepts.

    Raises:
        InputError: Concepts collide, with each other or with what lies in `out` already; a folder cannot be written
            to; there is nothing to resume, or a checkpoint is damaged or of another training.
        SlotError: No slot is free, the one asked for is taken, or another concept of that name holds one.
        TrainingError: The loss is not finite; the last good checkpoint, if there was one, is kept.
        KeyboardInterrupt: Ctrl-C, after the checkpoint was written.
    """
    out, training = Path(out), config.training
    _check(training, base, concepts, out)
    components = ("unet", "text_encoder") if training.train_text_encoder else ("unet",)
    modules = target_modules(base, components, training.targets)
    if resume is True and not any(checkpoint_path(out, c).exists() or adapter_path(out, c).exists() for c in concepts):
        names = ", ".join(concept.name for concept in concepts)
        raise InputError(f"there is no checkpoint of {names} in {out}", "train without --resume")
    adapters: list[Adapter] = []
    with _claimed(ledger, base, concepts, training.rank, capacity(modules, training.rank), slot, out) as slots:
        # All are made before the first is trained: what is wrong with the last one costs nobody's hours.
        runs = [
            Training(training, base, concept, columns, modules, out, on_step, draw_samples, should_stop)
            for concept, columns in zip(concepts, slots, strict=True)
        ]
        adapters += [(resume and run.finished()) or run.train(bool(resume)) for run in runs]
    return adapters


@contextmanager
def _claimed(
    ledger: Ledger,
    base: Base,
    concepts: Sequence[Concept],
    width: int,
    slots: int,
    first: int | Literal["auto"],
    out: Path,
) -> Iterator[list[ColumnSlot]]:
    """Slots for all concepts. On failure those that were claimed in vain go back to who held them."""
    before = {claim.concept: claim for claim in ledger.holders() if claim.on_base(base.fingerprints)}
    finished = {path: path.stat().st_mtime_ns for path in (adapter_path(out, c) for c in concepts) if path.exists()}
    claimed: dict[str, ColumnSlot] = {}
    try:
        for number, concept in enumerate(concepts):
            wish: int | Literal["auto"] = first if first == "auto" else first + number
            claimed[concept.name] = ledger.claim(
                base.name, base.fingerprints, concept.name, width, slots, wish, concept.token
            )
        yield list(claimed.values())
    except BaseException:
        for concept in concepts:
            path, old, slot = adapter_path(out, concept), before.get(concept.name), claimed.get(concept.name)
            written = path.exists() and path.stat().st_mtime_ns != finished.get(path)
            if slot is None or written or (old and old.slot == slot) or _half_trained(out, concept) == slot:
                continue
            ledger.give_back(concept.name, base.fingerprints, old)
        raise


def _half_trained(out: Path, concept: Concept) -> ColumnSlot | None:
    """The columns that a checkpoint holds, if there is one to go on from."""
    try:
        return read_claim(checkpoint_path(out, concept)).slot
    except InputError:
        return None


def _check(config: TrainingConfig, base: Base, concepts: Sequence[Concept], out: Path) -> None:
    """Everything that can be known to fail before any work is done."""
    if not concepts:
        raise InputError("no concept was given to train", "name at least one concept folder")
    for what, values in (("name", [c.name for c in concepts]), ("token", [c.token for c in concepts])):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise InputError(f"two concepts have the {what} {twice}", f"give each its own {what}")
    for concept in concepts:
        _check_place(out, concept)
    check_prediction(base.scheduler.config.prediction_type)
    if base.dtype == torch.float16:
        raise InputError("float16 gradients vanish in training", "load the base in bfloat16 or float32")
    step_px = size_step_px(base)
    if config.resolution_px % step_px:
        raise InputError(
            f"a training picture of {config.resolution_px} px does not fit the base", f"use a multiple of {step_px} px"
        )
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError("tensorboard is not installed", "pip install tensorboard, or set training.tensorboard = false")
    check_writable(out)


def _check_place(out: Path, concept: Concept) -> None:
    """Nothing of another concept lies where this one is written. What cannot be read is no loss."""
    found: dict[Path, list[str]] = {}
    with suppress(InputError):
        path = adapter_path(out, concept)
        found[path] = [token for part in load_fused(path).parts for token in part.adapter.tokens]
    with suppress(InputError):
        path = checkpoint_path(out, concept)
        found[path] = [token for token in (read_claim(path).token,) if token]
    for path, tokens in found.items():
        if tokens and tokens != [concept.token]:
            raise InputError(
                f"{path} is of another concept: it holds {', '.join(tokens)} and {concept.name} is {concept.token}",
                "rename the concept's folder; or, to replace the other one, delete that file and free its slot with "
                f"`spectral-diffusion slots release {concept.name}`",
            )
