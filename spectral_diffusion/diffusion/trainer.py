"""Training concepts: photographs in, one adapter file a concept out, each in its own slot if its method has columns."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Literal

import torch

from spectral_diffusion.adapters import Adapter, holds_columns
from spectral_diffusion.adapters.base import refuse_slot
from spectral_diffusion.adapters.summary import read_summary
from spectral_diffusion.config import Config, TrainingConfig
from spectral_diffusion.diffusion.base import Base, capacity, target_modules
from spectral_diffusion.diffusion.checkpoints import (
    FOLDER,
    TrainingWarning,
    adapter_path,
    checkpoint_path,
    read_claim,
    read_owner,
)
from spectral_diffusion.diffusion.dataset import Concept, caption_of
from spectral_diffusion.diffusion.interruption import TrainingInterrupted
from spectral_diffusion.diffusion.material import size_step_px
from spectral_diffusion.diffusion.objective import check_prediction
from spectral_diffusion.diffusion.prompts import unknown_tokens
from spectral_diffusion.diffusion.training import DrawSamples, Resume, StepReport, Training
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.fusion import load_fused
from spectral_diffusion.ledger import Claim, Ledger
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.workspace import check_writable, sweep_stale

__all__ = [
    "DrawSamples",
    "Resume",
    "StepReport",
    "TrainingInterrupted",
    "TrainingWarning",
    "claims_in",
    "train_concepts",
]


def train_concepts(
    config: Config,
    base: Base,
    concepts: Sequence[Concept],
    ledger: Ledger,
    on_step: Callable[[StepReport], None] | None = None,
    *,
    out: Path,
    slot: int | Literal["auto"] = "auto",
    resume: Resume = False,
    draw_samples: DrawSamples | None = None,
    should_stop: Callable[[], bool] | None = None,
    in_files: Sequence[Claim] = (),
) -> list[Adapter]:
    """Train one adapter a concept, one after another, each in its own slot, and save it as `out/<name>.safetensors`.

    All slots are claimed before the first step; a method without columns claims none. A concept that fails gives its
    newly claimed slot back unless a checkpoint (`out/checkpoints/<name>.safetensors`) is there to go on from. Ctrl-C
    ends after the step it falls into, with a checkpoint; while the finished adapter is written, after that.

    A training that was killed at any moment, and is called again with `resume="auto"`, ends with the files of one that
    was not, byte for byte.

    Args:
        config: The recipe.
        base: The model; adapted while training, and restored.
        concepts: What to train; names and tokens must differ.
        ledger: Where slots are claimed.
        on_step: Told after every step.
        out: Folder of the adapter files.
        slot: Number of the first concept's slot, the next ones follow; or each one's own or the first free one. It
            must be "auto" for a method without columns.
        resume: Go on from checkpoints, in their slots; concepts that were finished from the same photographs by the
            same recipe are left as they are. Steps and rates may be others than before; what is trained, the
            photographs, the batch size and the seed may not. "auto" is for whoever repeats one call until it is done:
            it goes on where that is possible and ends as if there had been no interruption, else begins anew, with a
            warning where a checkpoint is damaged or of another recipe.
        draw_samples: Draws pictures with the half-trained adapter every `sample_every` steps, the base being as it was;
            they go to `out/samples/<name>/`.
        should_stop: Asked after every step, and in preparation between photographs, weights and drawn pictures: true
            ends the training like Ctrl-C.
        in_files: Columns that adapter files outside of `out` hold, see `claims_in`: "auto" takes none of them, and none
            that files in `out` hold, whatever the ledger says.

    Returns:
        The adapters in the order of the concepts.

    Raises:
        InputError: Concepts collide, with each other or with what lies in `out` already; a caption names an unknown
            token; a folder cannot be written to; there is nothing to resume, a checkpoint is damaged or of another
            training, or a concept is finished by another recipe; or a slot for a method without columns.
        DiskFullError: The disk is full. What was written before is whole: free some space and resume.
        SlotError: No slot is free, the one asked for is taken, or another concept of that name holds one.
        TrainingError: The loss is not finite; the last good checkpoint, if there was one, is kept.
        TrainingInterrupted: Ctrl-C (it is a `KeyboardInterrupt`), after the checkpoint was written.

    Warns:
        TrainingWarning: An adapter of other photographs will be replaced; or see `resume`.
    """
    out, training = Path(out), config.training
    refuse_slot(training.method, slot)
    _check(training, base, concepts, out)
    components = ("unet", "text_encoder") if training.train_text_encoder else ("unet",)
    modules = target_modules(base, components, training.targets)
    if resume is True and not any(checkpoint_path(out, c).exists() or adapter_path(out, c).exists() for c in concepts):
        names = ", ".join(concept.name for concept in concepts)
        raise InputError(f"there is no checkpoint of {names} in {out}", "train without --resume")
    for concept in concepts:
        sweep_stale(out, adapter_path(out, concept).name)
        sweep_stale(out / FOLDER, checkpoint_path(out, concept).name)
        sweep_stale(out / "samples" / concept.name)
    adapters: list[Adapter] = []
    if holds_columns(training.method):
        held, slots_there = [*claims_in(out), *in_files], capacity(modules, training.rank)
        columns = _claimed(ledger, base, concepts, training.rank, slots_there, slot, out, resume, held)
    else:
        columns = nullcontext([None] * len(concepts))
    with columns as slots:
        # All are made before the first is trained: what is wrong with the last one costs nobody's hours.
        runs = [
            Training(training, base, concept, its, modules, out, on_step, draw_samples, should_stop)
            for concept, its in zip(concepts, slots, strict=True)
        ]
        finished = [run.finished(resume) if resume else None for run in runs]
        for run, adapter in zip(runs, finished, strict=True):
            if adapter is None:
                run.tell_what_is_replaced()
        try:
            for run, adapter in zip(runs, finished, strict=True):
                adapters.append(adapter or run.train(resume))
                if run.interrupted:
                    raise KeyboardInterrupt
        except KeyboardInterrupt as wish:
            raise TrainingInterrupted([adapter.name for adapter in adapters]) from wish
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
    resume: Resume,
    in_files: Sequence[Claim],
) -> Iterator[list[ColumnSlot]]:
    """Slots for all concepts. On failure those that were claimed in vain go back to who held them."""
    before = {claim.concept: claim for claim in ledger.holders() if claim.on_base(base.fingerprints)}
    finished = {path: path.stat().st_mtime_ns for path in (adapter_path(out, c) for c in concepts) if path.exists()}
    claimed: dict[str, ColumnSlot] = {}

    def claim(concept: Concept, wish: int | Literal["auto"]) -> ColumnSlot:
        # Whoever names a slot, or was trained in one, has it; files count where any is right.
        taken = in_files if wish == "auto" else ()
        return ledger.claim(base.name, base.fingerprints, concept.name, width, slots, wish, concept.token, taken)

    wishes: dict[str, int | Literal["auto"]] = {
        concept.name: first + number if first != "auto" else _kept_slot(out, concept, width) if resume else "auto"
        for number, concept in enumerate(concepts)
    }
    try:
        # Those that must have a certain slot come before those to which any is right.
        for concept in sorted(concepts, key=lambda concept: wishes[concept.name] == "auto"):
            try:
                claimed[concept.name] = claim(concept, wishes[concept.name])
            except SlotError:
                if first != "auto" or resume != "auto":
                    raise
                claimed[concept.name] = claim(concept, "auto")
        yield [claimed[concept.name] for concept in concepts]
    except BaseException:
        for concept in concepts:
            path, old, slot = adapter_path(out, concept), before.get(concept.name), claimed.get(concept.name)
            written = path.exists() and path.stat().st_mtime_ns != finished.get(path)
            if slot is None or written or (old and old.slot == slot) or _half_trained(out, concept) == slot:
                continue
            # What went wrong before says more than a ledger that cannot be written for the same reason.
            with suppress(InputError):
                ledger.give_back(concept.name, base.fingerprints, old)
        raise


def claims_in(folder: Path) -> list[Claim]:
    """The columns that the adapter files in a folder hold; those that cannot be read hold none."""
    found = []
    for path in sorted(folder.glob("[!.]*.safetensors")):
        with suppress(InputError):
            found += [claim for part in read_summary(path) if (claim := Claim.of_part(part)) is not None]
    return found


def _kept_slot(out: Path, concept: Concept, width: int) -> int | Literal["auto"]:
    """The slot in which files say that a concept is trained or half-trained, whatever the ledger says."""
    columns = _half_trained(out, concept)
    if columns is None:
        with suppress(InputError):
            columns = Adapter.load(adapter_path(out, concept)).slot
    return "auto" if columns is None or columns.width != width or columns.start % width else columns.start // width


def _half_trained(out: Path, concept: Concept) -> ColumnSlot | None:
    """The columns that a checkpoint holds, if there is one to go on from."""
    try:
        claim = read_claim(checkpoint_path(out, concept))
    except InputError:
        return None
    return None if claim is None else claim.slot


def _check(config: TrainingConfig, base: Base, concepts: Sequence[Concept], out: Path) -> None:
    """Everything that can be known to fail before any work is done."""
    if not concepts:
        raise InputError("no concept was given to train", "name at least one concept folder")
    for what, values in (("name", [c.name for c in concepts]), ("token", [c.token for c in concepts])):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise InputError(f"two concepts have the {what} {twice}", f"give each its own {what}")
    for concept in concepts:
        check_place(out, concept, base)
        _check_captions(config, concept)
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


def _check_captions(config: TrainingConfig, concept: Concept) -> None:
    """No photograph is trained with a token that nothing provides."""
    for photograph in concept.photographs:
        for template in config.caption_templates:
            unknown = unknown_tokens(caption_of(concept, photograph, template), (concept.token,))
            if unknown:
                raise InputError(
                    f"the caption of {photograph.path} names {unknown[0]}, and the token of {concept.name} is "
                    f"{concept.token}",
                    "write the token of the concept, or plain words, into the caption",
                )


def check_place(out: Path, concept: Concept, base: Base) -> None:
    """See that nothing of another concept or base lies where this one will be written. What cannot be read is no loss.

    Args:
        out: Folder of the adapter files.
        concept: What shall be trained.
        base: The model to train on.

    Raises:
        InputError: An adapter or checkpoint of the concept's name has another token or is of another base.
    """
    found: dict[Path, tuple[list[str], str, Mapping[str, str]]] = {}
    with suppress(InputError):
        path, parts = adapter_path(out, concept), load_fused(adapter_path(out, concept)).parts
        tokens = [token for part in parts for token in part.adapter.tokens]
        found[path] = tokens, parts[0].adapter.base_name, parts[0].adapter.fingerprints
    with suppress(InputError):
        path, owner = checkpoint_path(out, concept), read_owner(checkpoint_path(out, concept))
        found[path] = [token for token in (owner.token,) if token], owner.base, owner.fingerprints
    for path, (tokens, name, fingerprints) in found.items():
        differing = [part for part, digest in fingerprints.items() if base.fingerprints.get(part) != digest]
        if differing:
            raise InputError(
                f"{path} is of another base: {name} there, {base.name} here ({', '.join(differing)} "
                f"{'differs' if len(differing) == 1 else 'differ'})",
                "write elsewhere with --out; or, to replace it, delete that file",
            )
        if tokens and tokens != [concept.token]:
            raise InputError(
                f"{path} is of another concept: it holds {', '.join(tokens)} and {concept.name} is {concept.token}",
                "rename the concept's folder; or, to replace the other one, delete that file and free its slot with "
                f"`spectral-diffusion slots release {concept.name}`",
            )
