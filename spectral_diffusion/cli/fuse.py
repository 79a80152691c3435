"""`spectral-diffusion fuse`: several adapters as one file; and how other verbs read `FILE[:STRENGTH]`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from spectral_diffusion.cli import options, queueing
from spectral_diffusion.cli.console import answer, answering, number_after_colon, table
from spectral_diffusion.errors import AdapterFileError, InputError
from spectral_diffusion.workspace import Workspace

if TYPE_CHECKING:
    from spectral_diffusion.fusion import FusedAdapter


@click.command(name="fuse", short_help="several adapters as one")
@click.argument("files", metavar="FILE[:STRENGTH]...", nargs=-1, required=True)
@click.option("--out", "-o", type=options.PATH, required=True, help="File to write.")
@click.option(
    "--factor-scale",
    type=click.FloatRange(-10, 10),
    help="The paper's l: scales the factors instead of the change. Default: 1.",
)
@click.option(
    "--on-overlap",
    type=click.Choice(["refuse", "warn"]),
    default="refuse",
    show_default=True,
    help="What to do about adapters that share columns.",
)
@options.adapter_rules
@queueing.queueing
@options.workspace
@options.as_json
@options.debug
def command(
    files: tuple[str, ...],
    out: Path,
    factor_scale: float | None,
    on_overlap: Literal["refuse", "warn"],
    allow_other_base: bool,
    rename: tuple[str, ...],
    queued: bool,
    key: str | None,
    database: str | None,
    store: str | None,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Fuse adapters by adding their changes, which is exact for disjoint slots.

    STRENGTH scales a concept's change and is 1 when not given; fused files may be fused again.
    """
    queueing.refuse_without_queue(queued, key=key, database=database, store=store)
    if queued:
        with answering(as_json):
            from spectral_diffusion.jobs.submission import fuse_spec

            rules = {
                "rename": options.renames(rename),
                "factor_scale": factor_scale,
                "on_overlap": on_overlap,
                "allow_other_base": allow_other_base,
            }
            named = [file_and_strength(text) for text in files]
            _check_target(out)
            job = queueing.submit(
                workspace,
                queueing.Places(database, store),
                lambda store: fuse_spec(store, workspace, named, out, **rules),
                key,
            )
        queueing.tell(job, as_json)
        return
    with answering(as_json):
        from spectral_diffusion.adapters.adapter import slot_values

        fused = read_fused(
            files,
            rename=options.renames(rename),
            factor_scale=factor_scale,
            on_overlap=on_overlap,
            allow_other_base=allow_other_base,
        )
        if any(file_and_strength(text)[0].resolve() == out.resolve() for text in files):
            raise InputError(f"--out {out} is one of the adapters to fuse", "write to another file")
        _check_target(out)
        fused.save(out)
    rows = [
        [part.adapter.name, ", ".join(part.adapter.tokens), part.adapter.columns, f"{part.strength:g}"]
        for part in fused.parts
    ]
    value = {
        "file": str(out),
        "parts": [
            {
                "name": part.adapter.name,
                "tokens": list(part.adapter.tokens),
                "slot": slot_values(part.adapter.slot),
                "strength": part.strength,
                "factor_scale": part.factor_scale,
            }
            for part in fused.parts
        ],
    }
    answer(as_json, value, [*table(["concept", "token", "slot", "strength"], rows), f"wrote {out}"])


def _check_target(out: Path) -> None:
    """Nothing but an adapter is written over: not the ledger, not the queue, nothing of the person's own.

    Raises:
        InputError: There is something else of that name.
    """
    from spectral_diffusion.adapters.file import read_file

    if out.is_dir():
        raise InputError(f"--out {out} is a folder", "name a file in it")
    if out.exists():
        try:
            read_file(out)
        except AdapterFileError as error:
            raise InputError(f"--out {out} is there already, and no adapter", "write to another file") from error


def read_fused(
    files: Sequence[str],
    *,
    rename: Mapping[str, str] | None = None,
    factor_scale: float | None = None,
    on_overlap: Literal["refuse", "warn"] = "refuse",
    allow_other_base: bool = False,
) -> "FusedAdapter":
    """Read `FILE[:STRENGTH]` arguments, of single or fused adapters, and fuse them in memory.

    Raises:
        InputError: A file cannot be used, or they do not go together.
    """
    from spectral_diffusion.fusion import fuse_files

    return fuse_files(
        [file_and_strength(text) for text in files],
        factor_scale=factor_scale,
        on_overlap=on_overlap,
        rename=rename,
        allow_other_base=allow_other_base,
    )


def file_and_strength(text: str) -> tuple[Path, float]:
    """`FILE[:STRENGTH]`; a file whose own name ends in a colon and a number is taken as it is called."""
    if Path(text).is_file():
        return Path(text), 1.0
    name, strength = number_after_colon(text, "adapter")
    return Path(name), strength
