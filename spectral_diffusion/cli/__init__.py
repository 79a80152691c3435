"""The command line: `spectral-diffusion VERB`, one file a verb.

Verbs are imported when they are called and import torch when they run, so that `--help` answers at once.
"""

import importlib
import sys
from collections.abc import Sequence

import click

from spectral_diffusion import __version__
from spectral_diffusion.cli.console import run_safely

# In the order of a concept's way through the house.
VERBS = ("demo", "ui", "train", "fuse", "generate", "score", "inspect", "slots", "jobs", "worker", "users", "doctor")


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        return importlib.import_module(f"spectral_diffusion.cli.{cmd_name}").command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="spectral-diffusion")
def commands() -> None:
    """Teach Stable-Diffusion-family models concepts, each in its own spectral slot, and draw them together.

    Start with `spectral-diffusion demo`: three concepts, trained, fused and drawn in one picture, on any laptop.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 2 wrong input, 1 a fault of ours, 130 interrupted."""
    return run_safely(commands, list(sys.argv[1:] if arguments is None else arguments))
