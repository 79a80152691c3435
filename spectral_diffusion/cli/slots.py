"""`spectral-diffusion slots`: who holds which columns of which base."""

from collections.abc import Sequence
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
    """The ledger: which concept holds which columns of which base, and what is free before the last of them."""
    if context.invoked_subcommand is None:
        with answering(as_json):
            from spectral_diffusion.ledger import Ledger

            claims = Ledger(workspace.ledger_path).holders()
        _tell(claims, as_json)
    else:
        context.obj = (workspace, as_json)


@command.command(name="release")
@click.argument("name")
@options.as_json
@options.debug
@click.pass_obj
def release(given: tuple[Workspace, bool], name: str, as_json: bool) -> None:
    """Free the columns of concept NAME. Its adapter file stays as it is."""
    workspace, as_json = given[0], as_json or given[1]
    with answering(as_json):
        from spectral_diffusion.ledger import Ledger

        released = Ledger(workspace.ledger_path).release(name)
    lines = [f"released {claim.slot} of {claim.base}, held by {claim.concept}" for claim in released]
    answer(as_json, {"released": _values(released)}, lines)


@command.command(name="rebuild")
@options.as_json
@options.debug
@click.pass_obj
def rebuild(given: tuple[Workspace, bool], as_json: bool) -> None:
    """Make the ledger again from the workspace's adapter files, which are the truth."""
    workspace, as_json = given[0], as_json or given[1]
    with answering(as_json):
        from spectral_diffusion.fusion import load_fused
        from spectral_diffusion.ledger import Ledger

        adapters = []
        for path in sorted(workspace.adapters.glob("*.safetensors")):
            try:
                adapters += [part.adapter for part in load_fused(path).parts]
            except InputError as error:
                note(f"note: left out {path.name}: {error.what}")
        claims = Ledger(workspace.ledger_path).rebuild(adapters)
    _tell(claims, as_json)


def _tell(claims: "Sequence[Claim]", as_json: bool) -> None:
    rows: list[list[object]] = []
    for base in dict.fromkeys(claim.base for claim in claims):
        column = 0
        for claim in sorted((claim for claim in claims if claim.base == base), key=lambda claim: claim.start):
            if claim.start > column:
                rows.append([base, _range(column, claim.start), "free"])
            rows.append([base, _range(claim.start, claim.slot.stop), claim.concept])
            column = max(column, claim.slot.stop)
        rows.append([base, f"{column}-", "free"])
    lines = table(["base", "columns", "concept"], rows) if rows else ["no slot is held"]
    answer(as_json, {"claims": _values(claims)}, lines)


def _range(start: int, stop: int) -> str:
    return f"{start}-{stop - 1}"


def _values(claims: "Sequence[Claim]") -> list[dict[str, Any]]:
    return [
        {"concept": claim.concept, "base": claim.base, "start": claim.start, "width": claim.width} for claim in claims
    ]
