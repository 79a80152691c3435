"""`spectral-diffusion worker`: does queued jobs on this machine."""

import click

from spectral_diffusion.cli import options
from spectral_diffusion.cli.console import note
from spectral_diffusion.cli.queueing import database as database_option
from spectral_diffusion.cli.queueing import store as store_option
from spectral_diffusion.workspace import Workspace


@click.command(name="worker", short_help="do queued jobs on this machine")
@click.option("--until-idle", is_flag=True, help="End when no job is left, instead of waiting for more.")
@click.option("--with-parent", is_flag=True, hidden=True, help="Do the open jobs and end once stdin has ended.")
@database_option
@store_option
@options.device
@options.workspace
@options.debug
def command(
    until_idle: bool, with_parent: bool, database: str | None, store: str | None, device: str, workspace: Workspace
) -> None:
    """Do queued jobs, one at a time, until Ctrl-C or SIGTERM; the next worker goes on with the job at hand.

    Start one for each device. Base and adapters stay loaded between jobs. Workers on several machines share a queue
    through --database and --store.
    """
    from spectral_diffusion.jobs.database import Database
    from spectral_diffusion.jobs.store import Store
    from spectral_diffusion.jobs.worker import run_worker

    run_worker(
        Database.locate(workspace, database),
        Store.locate(workspace, store),
        device=device,
        until_idle=until_idle,
        with_parent=with_parent,
        note=note,
    )
