"""Opening the studio: accounts, worker, page and server put together, and put away again."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spectral_diffusion.config import load_config
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.queue import opened
from spectral_diffusion.jobs.registry import Registry
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.studio.guard.accounts import Accounts
from spectral_diffusion.studio.guard.cache import private_cache
from spectral_diffusion.studio.guard.grants import Grants
from spectral_diffusion.studio.guard.origins import Hosts, check_exposure
from spectral_diffusion.workspace import Workspace, cache_folder, check_writable

if TYPE_CHECKING:
    from spectral_diffusion.studio.studio import Studio

HOST = "127.0.0.1"
PORT = 7860
QUIET_SECONDS = 8.0
"""So long a studio that has just opened leaves the model unread, unless a screen asks for it: the first page comes
sooner, and what is timed then is timed on a machine that does nothing else."""


@dataclass(frozen=True)
class Opening:
    """How the studio is opened.

    Args:
        workspace: Where the work lies.
        host, port: Where it listens; port 0 takes a free one.
        accounts: The password file; None lets in whoever reaches it, which only this machine may.
        allowed_hosts: Further names that browsers may call it by.
        behind_proxy: Whether a trusted proxy brings the requests.
        base: Name of the model.
        recipe: A TOML file with values to lay over the base's recipe.
        device: Where its own worker computes.
        database: Address of the queue, or None for the workspace's.
        own_worker: Whether it starts a worker where none lives.
    """

    workspace: Workspace
    host: str = HOST
    port: int = PORT
    accounts: Path | None = None
    allowed_hosts: Sequence[str] = ()
    behind_proxy: bool = False
    base: str = "toybox"
    recipe: Path | None = None
    device: str = "auto"
    database: str | None = None
    own_worker: bool = True


def open_studio(
    opening: Opening, *, note: Callable[[str], None], on_started: Callable[[str], None] = lambda address: None
) -> None:
    """Serve the studio until Ctrl-C or SIGTERM. Jobs at hand stay open and go on when it is opened again.

    Args:
        opening: How.
        note: Told what happens, in lines for people.
        on_started: Called with the address for browsers once the studio answers.

    Raises:
        InputError: It would be open to everybody, its port is taken, its workspace cannot be written to, or one of its
            arguments is wrong.
    """
    check_exposure(opening.host, opening.accounts is not None, opening.behind_proxy, opening.allowed_hosts)
    hosts = Hosts.of(opening.host, opening.allowed_hosts)
    accounts = Accounts.load(opening.accounts) if opening.accounts is not None else None
    # Found out before a worker is started.
    load_config(opening.recipe, opening.base)
    workspace = Workspace(Path(os.path.abspath(opening.workspace.root)))
    check_writable(workspace.root)
    with ExitStack() as stack:
        queue = stack.enter_context(
            opened(Database.locate(workspace, opening.database), Store(str(workspace.root.resolve())))
        )
        queue.database.prepare()
        Registry(queue.database).prepare()
        if opening.own_worker:
            from spectral_diffusion.studio.own_worker import OwnWorker

            # First of all: what it imports takes as long as all the rest.
            worker = OwnWorker(queue, workspace.root, device=opening.device, note=note)
            stack.callback(worker.stop)
            worker.start()
        grants = Grants(stack.enter_context(private_cache(cache_folder() / "studio")))

        from spectral_diffusion.studio import create
        from spectral_diffusion.studio.desk import Desk
        from spectral_diffusion.studio.guard.server import build_app, serve
        from spectral_diffusion.studio.page import build_page
        from spectral_diffusion.studio.studio import Studio

        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
        has_accounts = accounts is not None
        studio = Studio(workspace, queue, grants, opening.base, has_accounts, opening.recipe)
        page = build_page(studio)
        app = build_app(
            page.blocks,
            grants=grants,
            hosts=hosts,
            accounts=accounts,
            behind_proxy=opening.behind_proxy,
            **page.look,
        )
        if not has_accounts:
            # Nobody waits for it yet; what is wrong is told when the page asks for it again.
            with suppress(InputError):
                create.prepare(Desk.of(studio, None))
        reading = threading.Timer(QUIET_SECONDS, _read_model, (studio, note))
        reading.daemon = True
        stack.callback(reading.cancel)

        def started(address: str) -> None:
            reading.start()
            on_started(address)

        serve(app, opening.host, opening.port, started)


def _read_model(studio: "Studio", note: Callable[[str], None]) -> None:
    try:
        studio.ask_for_facts(again=True)
    except InputError as error:
        note(f"note: {error}")
