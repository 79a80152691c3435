"""`spectral-diffusion train`: photographs in, one adapter file a concept out."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import click

from spectral_diffusion.cli import options, queueing
from spectral_diffusion.cli.concepts import find_concept
from spectral_diffusion.cli.console import INTERRUPTED, answer, answering, note, table
from spectral_diffusion.cli.progress import TrainingBar
from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import SAMPLES, Workspace, sample_concepts

if TYPE_CHECKING:
    from spectral_diffusion.adapters import Adapter


class _Slot(click.ParamType):
    name = "auto|K"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["auto"]:
        if value == "auto" or isinstance(value, int):
            return value
        if not value.isdecimal() or len(value) > 6:
            self.fail(f"'{value}' is neither auto nor a slot number from 0", param, ctx)
        return int(value)


@click.command(name="train", short_help="one adapter file a concept")
@click.argument("folders", metavar="CONCEPT_DIR...", nargs=-1, required=True, type=options.PATH)
@click.option(
    "--out", "-o", type=options.PATH, help="Folder of the adapter files. Default: adapters/ of the workspace."
)
@click.option(
    "--config", "config_path", metavar="TOML", type=options.PATH, help="Values to lay over the base's recipe."
)
@options.base
@click.option("--rank", type=click.IntRange(1, 512), help="Columns of a slot.")
@click.option(
    "--slot", type=_Slot(), default="auto", show_default=True, help="Slot of the first concept; the next ones follow."
)
@click.option("--steps", type=click.IntRange(1), help="Training steps a concept.")
@click.option(
    "--method",
    type=click.Choice(["spectral", "rotation", "lora"]),
    help="How weights change: spectral and rotation change the slot's columns; lora holds no columns.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on from the checkpoints of an interrupted training; what is finished stays as it is.",
)
@options.device
@options.seed
@queueing.queueing
@options.workspace
@options.as_json
@options.debug
def command(
    folders: tuple[Path, ...],
    out: Path | None,
    config_path: Path | None,
    base: str | None,
    rank: int | None,
    slot: int | Literal["auto"],
    steps: int | None,
    method: str | None,
    resume: bool,
    device: str,
    seed: int | None,
    queued: bool,
    key: str | None,
    database: str | None,
    store: str | None,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Train concepts, each in a spectral slot of its own (or by LoRA, in none); one adapter file each.

    CONCEPT_DIR is a folder of 1 to 50 photographs or a zip of it, or the name of a concept in the workspace or of a
    sample.
    """
    out = out or workspace.adapters
    queueing.refuse_without_queue(queued, key=key, database=database, store=store)
    if queued and resume:
        raise InputError("--resume with --queue", "leave it out: a queued training goes on by itself wherever it can")
    with answering(as_json):
        from spectral_diffusion.adapters.base import refuse_slot
        from spectral_diffusion.config import load_config
        from spectral_diffusion.diffusion.dataset import load_concept

        config = load_config(config_path, base).override(
            {
                "training.rank": rank,
                "training.steps": steps,
                "training.method": method,
                "training.seed": seed,
            }
        )
        refuse_slot(config.training.method, slot)
        found = [find_concept(folder, workspace) for folder in folders]
        concepts = [load_concept(folder) for folder in found]
        if queued:
            from spectral_diffusion.jobs.submission import train_spec

            job = queueing.submit(
                workspace,
                queueing.Places(database, store),
                lambda store: train_spec(store, workspace, config, concepts, slot=slot, out=out),
                key,
            )
    if queued:
        queueing.tell(job, as_json)
        return
    with answering(as_json):
        from spectral_diffusion.diffusion.base import load_base
        from spectral_diffusion.diffusion.samples import sampler
        from spectral_diffusion.diffusion.trainer import TrainingInterrupted, claims_in, train_concepts
        from spectral_diffusion.ledger import Ledger

        model = load_base(config.base, device=device)
        if model.is_toybox and not all(map(_is_sample, found)):
            note(
                "note: toybox draws toys, so expect a toy in the likeness of your photographs; bases made for "
                "photographs are Stable Diffusion 1.5 and 2.1 (--base FOLDER or hub id, with a recipe in --config)"
            )
        try:
            with TrainingBar() as bar, _terminated() as terminated:
                adapters = train_concepts(
                    config,
                    model,
                    concepts,
                    Ledger(workspace.ledger_path),
                    bar.step,
                    out=out,
                    slot=slot,
                    resume=resume,
                    draw_samples=sampler(model, config),
                    should_stop=terminated,
                    in_files=claims_in(workspace.adapters),
                )
        except KeyboardInterrupt as error:
            finished = error.finished if isinstance(error, TrainingInterrupted) else ()
            _tell_what_is_kept(out, [concept.name for concept in concepts], finished)
            raise click.exceptions.Exit(INTERRUPTED) from None
        plain = [concept.name for concept in concepts if not concept.description]
        if plain:
            note(
                f"note: {', '.join(plain)}: no description in concept.toml; one in a few words, such as description = "
                '"white dog with a red scarf", helps several concepts to keep their colours in one picture'
            )
    _tell(adapters, out, as_json)


def _is_sample(folder: Path) -> bool:
    try:
        return folder.name in SAMPLES and folder.resolve().parent == sample_concepts().resolve()
    except InputError:
        return False


@contextmanager
def _terminated() -> Iterator[Callable[[], bool]]:
    """Whether the system asked this process to end, which like Ctrl-C is granted between two steps."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    mine = threading.current_thread() is threading.main_thread()
    takes = mine and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if takes:
        signal.signal(signal.SIGTERM, ask)
    try:
        yield lambda: asked
    finally:
        if takes:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _tell_what_is_kept(out: Path, names: Sequence[str], finished: Sequence[str]) -> None:
    parts = [f"finished: {', '.join(finished)}"] if finished else []
    kept = [path for name in names if (path := out / "checkpoints" / f"{name}.safetensors").exists()]
    if kept:
        parts.append(f"the checkpoint lies at {', '.join(map(str, kept))}")
    if not parts:
        note("interrupted before the first step; nothing was kept")
    elif len(finished) == len(names):
        note(f"interrupted; {parts[0]}")
    else:
        note(f"interrupted; {'; '.join(parts)}: go on with --resume")


def _tell(adapters: "Sequence[Adapter]", out: Path, as_json: bool) -> None:
    from spectral_diffusion.adapters.adapter import slot_values

    rows = [
        [adapter.name, ", ".join(adapter.tokens), adapter.columns, str(out / f"{adapter.name}.safetensors")]
        for adapter in adapters
    ]
    value = {
        "adapters": [
            {
                "name": adapter.name,
                "tokens": list(adapter.tokens),
                "method": adapter.method,
                "slot": slot_values(adapter.slot),
                "base": adapter.base_name,
                "file": str(out / f"{adapter.name}.safetensors"),
            }
            for adapter in adapters
        ]
    }
    answer(as_json, value, table(["concept", "token", "slot", "file"], rows))
