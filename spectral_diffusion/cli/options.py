"""Options that several verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from spectral_diffusion.errors import InputError
from spectral_diffusion.reading import check_path
from spectral_diffusion.workspace import Workspace

Verb = TypeVar("Verb", bound=Callable[..., Any])


class _Path(click.Path):
    """A path that a system can have."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        check_path(Path(value))
        return super().convert(value, param, ctx)


PATH = _Path(path_type=Path)


def together(*decorators: Callable[[Verb], Verb]) -> Callable[[Verb], Verb]:
    """Several options as one decorator, shown in the order given."""

    def decorate(verb: Verb) -> Verb:
        for decorator in reversed(decorators):
            verb = decorator(verb)
        return verb

    return decorate


def _workspace(context: click.Context, option: click.Parameter, value: Path | None) -> Workspace:
    # `slots --workspace W release NAME` and `slots release NAME --workspace W` are the same.
    outer = context.parent.params.get("workspace") if context.parent else None
    return outer if outer is not None and value is None else Workspace.locate(value)


as_json = click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object on stdout.")
# Read by run_safely() before click parses, so that errors in the options themselves can be debugged too.
debug = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where to compute.",
)
workspace = click.option(
    "--workspace",
    type=PATH,
    callback=_workspace,
    help="Folder of concepts, adapters, images and the ledger. Default: $SPECTRAL_DIFFUSION_HOME, else here.",
)
base = click.option("--base", metavar="B", help="Base model: toybox, a diffusers folder or a hub id.")
seed = click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Of all that is random.")
adapter_rules = together(
    click.option("--allow-other-base", is_flag=True, help="Use adapters on a fine-tuned sibling of their base."),
    click.option("--rename", metavar="OLD=NEW", multiple=True, help="Rename a token, where two adapters share one."),
)


def renames(pairs: tuple[str, ...]) -> dict[str, str]:
    """`OLD=NEW` options as a mapping.

    Raises:
        InputError: Not of that form.
    """
    mapping = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise InputError(f"--rename {pair} is not of the form OLD=NEW", "write for example --rename <a>=<b>")
        if _token(old) in mapping:
            raise InputError(f"--rename {old} is given twice", "rename once, fuse, and rename again in the fused file")
        mapping[_token(old)] = _token(new)
    return mapping


def _token(name: str) -> str:
    # Shells make < and > laborious to type.
    return name if name.startswith("<") else f"<{name}>"
