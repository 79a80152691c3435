"""`spectral-diffusion slots`: who holds which columns of which base."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spectral_diffusion.cli import options
from spectral_diffusion.cli.console import answer, answering, note, table
from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import Workspace

if TYPE_CHECKING:
    from spectral_diffusion.ledger import Claim


@click.group(name="slots", short_help="who holds which columns, what is free", invoke_without_command=True)
@options.workspace
@options.as_json
@options.debug
@click.pass_context
def command(context: click.Context, workspace: Workspace, as_json: bool) -> None:
    """The ledger: which concept holds which columns of which base, and how many slots are free."""
    if context.invoked_subcommand is None:
        with answering(as_json):
            from spectral_diffusion.ledger import Ledger

            claims = Ledger(workspace.ledger_path).holders()
        _tell(claims, as_json)
    else:
        context.obj = as_json


@command.command(name="release")
@click.argument("name")
@click.option("--base", metavar="B", help="Only its columns of this base. Default: of all bases.")
@options.workspace
@options.as_json
@options.debug
@click.pass_obj
def release(outer_json: bool, name: str, base: str | None, workspace: Workspace, as_json: bool) -> None:
    """Free the columns of concept NAME. Its adapter file stays as it is."""
    as_json = as_json or outer_json
    with answering(as_json):
        from spectral_diffusion.ledger import Ledger

        if base is not None and Path(base).is_dir():
            # A base that lies in a folder is noted by the folder's name.
            base = Path(base).resolve().name
        released = Ledger(workspace.ledger_path).release(name, base)
    lines = [f"released {claim.slot} of {claim.base}, held by {claim.concept}" for claim in released]
    answer(as_json, {"released": _values(released)}, lines)


@command.command(name="rebuild")
@click.option(
    "--drop-missing", is_flag=True, help="Free the columns of concepts of which the workspace holds no file, too."
)
@options.workspace
@options.as_json
@options.debug
@click.pass_obj
def rebuild(outer_json: bool, drop_missing: bool, workspace: Workspace, as_json: bool) -> None:
    """Make the ledger again from the workspace's adapter files and checkpoints, which are the truth.

    What holds no columns, such as LoRA, is none of its business.

    A concept of which the workspace holds no file, as its adapter was trained with --out elsewhere or deleted, keeps
    the columns that the ledger says it has, unless --drop-missing; each of them is named.
    """
    as_json = as_json or outer_json
    with answering(as_json):
        from spectral_diffusion.ledger import Ledger

        ledger = Ledger(workspace.ledger_path)
        before: list[Claim] = []
        with suppress(InputError):
            before = ledger.holders()
        found = list(_found(workspace.adapters))
        claims = ledger.rebuild([claim for _, claim in found], keep_missing=not drop_missing)
        spoken = [claim for _, claim in found]
        for claim in before:
            if not any(claim.concept == other.concept and claim.on_base(other.fingerprints) for other in spoken):
                what = "dropped" if drop_missing else "kept"
                remedy = "" if drop_missing else "; free its columns with --drop-missing if that is gone"
                note(f"note: {what} {claim} of {claim.base}: its adapter is not in {workspace.adapters}{remedy}")
        for path, claim in found:
            if not any(
                (kept.concept, kept.base, kept.slot) == (claim.concept, claim.base, claim.slot) for kept in claims
            ):
                note(f"note: left out {claim} of {path.name}: other columns of its own were found before")
    _tell(claims, as_json)


def _found(adapters: Path) -> "Iterator[tuple[Path, Claim]]":
    """The claims of all files, those first that count most.

    A checkpoint is younger than the adapter of its name; then come adapters where training writes them, other copies,
    and fused files.
    """
    from spectral_diffusion.diffusion.checkpoints import FOLDER, read_claim
    from spectral_diffusion.fusion import load_fused
    from spectral_diffusion.ledger import Claim

    for path in sorted((adapters / FOLDER).glob("*.safetensors")):
        try:
            claim = read_claim(path)
            if claim is not None:
                yield path, claim
        except InputError as error:
            note(f"note: left out {path.name}: {error.what}")
    fusions = []
    for path in sorted(adapters.glob("*.safetensors")):
        try:
            fusions.append((path, load_fused(path).parts))
        except InputError as error:
            note(f"note: left out {path.name}: {error.what}")
    for path, parts in sorted(fusions, key=lambda item: (len(item[1]) > 1, item[1][0].adapter.name != item[0].stem)):
        for part in parts:
            claim = Claim.of(part.adapter)
            if claim is None:
                continue
            # Fusing may rename tokens, so those of a fused file tell nothing about who is who.
            yield path, claim if len(parts) == 1 else claim.model_copy(update={"token": None})


def _tell(claims: "Sequence[Claim]", as_json: bool) -> None:
    from spectral_diffusion.ledger import room

    rooms = room(claims)
    rows: list[list[object]] = []
    for base in dict.fromkeys(claim.base for claim in claims):
        column = 0
        for claim in sorted((claim for claim in claims if claim.base == base), key=lambda claim: claim.start):
            if claim.start > column:
                rows.append([base, _range(column, claim.start), "free"])
            rows.append([base, _range(claim.start, claim.slot.stop), claim.concept])
            column = max(column, claim.slot.stop)
        ends = [left.width * left.capacity for left in rooms if left.base == base]
        if not ends:
            rows.append([base, f"{column}-", "free"])
        elif column < max(ends):
            rows.append([base, _range(column, max(ends)), "free"])
    lines = table(["base", "columns", "concept"], rows) if rows else ["no slot is held"]
    lines += [f"{left.free} of {left.capacity} slots of {left.width} columns are free on {left.base}" for left in rooms]
    answer(as_json, {"claims": _values(claims), "room": [left._asdict() for left in rooms]}, lines)


def _range(start: int, stop: int) -> str:
    return f"{start}-{stop - 1}"


def _values(claims: "Sequence[Claim]") -> list[dict[str, Any]]:
    return [
        {"concept": claim.concept, "base": claim.base, "start": claim.start, "width": claim.width} for claim in claims
    ]
