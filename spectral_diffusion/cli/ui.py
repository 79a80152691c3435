"""`spectral-diffusion ui`: the studio in a browser."""

import os
from pathlib import Path

import click

from spectral_diffusion.cli import options
from spectral_diffusion.cli.console import note
from spectral_diffusion.cli.queueing import database as database_option
from spectral_diffusion.workspace import Workspace


@click.command(name="ui", short_help="the studio in a browser")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others need --auth.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--auth",
    "accounts",
    metavar="FILE",
    type=options.PATH,
    help="Password file, made by `users add`. Everybody in it has a workspace of their own.",
)
@click.option(
    "--allowed-host", "allowed_hosts", metavar="NAME", multiple=True, help="A further name browsers call it by."
)
@click.option("--behind-proxy", is_flag=True, help="Believe what a proxy in front says of who asks and how.")
@click.option("--base", metavar="B", default="toybox", show_default=True, help="Base model: toybox or a folder.")
@click.option(
    "--config",
    "recipe",
    metavar="TOML",
    type=options.PATH,
    help="Values to lay over the base's recipe; a base without a recipe needs a complete file.",
)
@click.option("--no-worker", is_flag=True, help="Start no worker; jobs wait for one that you start.")
@click.option("--no-browser", is_flag=True, help="Open no browser.")
@database_option
@options.device
@options.workspace
@options.debug
def command(
    host: str,
    port: int,
    accounts: Path | None,
    allowed_hosts: tuple[str, ...],
    behind_proxy: bool,
    base: str,
    recipe: Path | None,
    no_worker: bool,
    no_browser: bool,
    database: str | None,
    device: str,
    workspace: Workspace,
) -> None:
    """Open the studio: concepts, slots, training, pictures and scores in a browser. Ctrl-C closes it.

    It does its jobs by a worker of its own, unless one runs already. What is not done when it closes goes on when it is
    opened again.
    """
    # Before Gradio is imported, which looks once.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from spectral_diffusion.studio.opening import Opening, open_studio

    def tell(address: str) -> None:
        note(f"the studio is open at {address} (Ctrl-C closes it)")
        if not no_browser and _has_screen():
            import webbrowser

            webbrowser.open(address)

    note("opening the studio ...")
    open_studio(
        Opening(
            workspace,
            host,
            port,
            accounts,
            allowed_hosts,
            behind_proxy,
            base,
            recipe,
            device,
            database,
            own_worker=not no_worker,
        ),
        note=note,
        on_started=tell,
    )


def _has_screen() -> bool:
    """Whether a browser could be seen here; on a server without a screen one in the terminal would get in the way."""
    return (
        os.name == "nt" or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ or os.uname().sysname == "Darwin"
    )
