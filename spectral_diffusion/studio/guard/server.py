"""The studio as a web server: the page behind its guard, on a port of its own, until somebody ends it."""

import contextlib
import errno
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.guard.accounts import Accounts
from spectral_diffusion.studio.guard.claims import Claims
from spectral_diffusion.studio.guard.demands import Demands
from spectral_diffusion.studio.guard.doors import UPLOAD_LIMIT_BYTES, Doors
from spectral_diffusion.studio.guard.file_route import file_route
from spectral_diffusion.studio.guard.grants import Grants, texts
from spectral_diffusion.studio.guard.guard import Guard
from spectral_diffusion.studio.guard.login import Login
from spectral_diffusion.studio.guard.origins import Hosts
from spectral_diffusion.studio.guard.refusal import Refusal
from spectral_diffusion.studio.guard.sessions import Sessions
from spectral_diffusion.studio.guard.throttle import Throttle

if TYPE_CHECKING:
    import gradio

DRAWING_FUNCTIONS = frozenset({"accept_blobs"})
"""How Gradio's editors of pictures hand over what was drawn."""
CONNECTIONS = 512
GRACE_SECONDS = 1
_KEEP_ALIVE_SECONDS = 10
_IDLE_SECONDS = 0.01


def build_app(
    blocks: "gradio.Blocks",
    *,
    grants: Grants,
    hosts: Hosts,
    accounts: Accounts | None = None,
    behind_proxy: bool = False,
    server_functions: Collection[str] = DRAWING_FUNCTIONS,
    sessions: Sessions | None = None,
    throttle: Throttle | None = None,
    **look: Any,
) -> Guard:
    """A page of Gradio's behind the guard.

    Events of the page get the name of whoever is logged in as `gr.Request.username`; it is None without accounts.

    Args:
        blocks: The page, made within `private_cache`. It queues its events as it likes.
        grants: Whose files are whose; of the folder that `private_cache` gave.
        hosts: The names that the studio answers by.
        accounts: Who may use it. None: whoever reaches it.
        behind_proxy: Whether a proxy that is trusted says who asks and how.
        server_functions: Functions of components that the page may call by name, beside its events.
        sessions: Of `accounts`, if not new ones.
        throttle: If not a new one.
        **look: `theme`, `css`, `css_paths`, `js`, `head`, `head_paths` and `favicon_path` of `gr.mount_gradio_app`.

    Returns:
        An ASGI app.
    """
    import gradio
    from gradio.route_utils import BUILD_PATH_LIB
    from gradio.utils import get_upload_folder

    if get_upload_folder() != str(grants.folder):
        raise ValueError(f"Gradio keeps its files in {get_upload_folder()}, not in {grants.folder}")
    if accounts is not None and sessions is None:
        sessions = Sessions(accounts)
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    outer.add_exception_handler(Refusal, _refused)
    outer.router.routes.append(file_route(grants.folder))
    # Gradio compresses each of its hundred files anew for every visit, which takes longer than sending them.
    outer.router.routes.append(Mount("/assets", StaticFiles(directory=BUILD_PATH_LIB)))
    if accounts is not None and sessions is not None:
        throttle = Throttle() if throttle is None else throttle
        outer.router.routes.extend(Login(accounts, sessions, throttle).routes())
    blocks.api_open = False
    gradio.mount_gradio_app(
        outer,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        app_kwargs={"openapi_url": None},
        # Without it Gradio believes a cookie of its own log-in, which is closed.
        auth_dependency=None if accounts is None else _user,
        allowed_paths=[],
        show_error=False,
        max_file_size=UPLOAD_LIMIT_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        **look,
    )
    # Mounted apps never get these; without them Gradio opens any path that an event names and calls SVG files harmless.
    blocks.has_launched = True
    blocks.is_running = True
    # Gradio looks for events a thousand times a second, which alone takes an eighth of a core.
    blocks._queue.sleep_when_free = _IDLE_SECONDS
    for key, text in texts(_plain(blocks.config)):
        if key == "path":
            grants.allow_all(text)

    def knows_event(page: str, number: int) -> bool:
        if number in blocks.fns:
            return True
        states = blocks.state_holder
        return page in states and number in states[page].blocks_config.fns

    return Guard(
        app=outer,
        hosts=hosts,
        doors=Doors.of(
            [name for name, *_ in blocks.pages],
            has_accounts=accounts is not None,
            has_components=bool(server_functions),
        ),
        demands=Demands(grants, Claims(), knows_event, frozenset(server_functions)),
        sessions=sessions,
        behind_proxy=behind_proxy,
    )


def serve(app: Guard, host: str, port: int, on_started: Callable[[str], None] | None = None) -> None:
    """Serve until Ctrl-C, SIGTERM or SIGHUP, then end within a second or two, whatever pages are open.

    Args:
        app: From `build_app`. Whether its exposure is right is asked of `origins.check_exposure` before it is made.
        host: An address or a name of this machine.
        port: 0 takes a free one.
        on_started: Called with the address for browsers once the studio answers.

    Raises:
        InputError: The port is taken, or host and port are none to bind to.
    """
    with bind(host, port) as listening:
        Server(app, address_of(host, listening), on_started).run(sockets=[listening])


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: The port is taken, or host and port are none to bind to.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError, OverflowError) as error:
        raise InputError(f"{host!r} is no address of this machine ({error})", "take 127.0.0.1 or 0.0.0.0") from error
    family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # On Windows this would share a port with another program.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            raise InputError(
                f"port {port} of {host} is taken", f"end what runs there, or take another: --port {port + 1}"
            ) from error
        if number == errno.EACCES:
            raise InputError(
                f"port {port} is not for everybody's programs", "take one above 1023: --port 7860"
            ) from error
        raise InputError(f"cannot listen on {host} port {port}: {error}", "take 127.0.0.1 and --port 7860") from error
    return listening


def address_of(host: str, listening: socket.socket) -> str:
    """What to open in a browser."""
    if host in ("0.0.0.0", "::", ""):
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"


class Server(uvicorn.Server):
    """Uvicorn, so set that it tells strangers nothing and ends when it is told.

    Args:
        app: From `build_app`.
        address: What `on_started` is called with.
        on_started: Called once the server answers.
    """

    def __init__(self, app: Guard, address: str, on_started: Callable[[str], None] | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._address = address
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self.started and self._on_started:
            self._on_started(self._address)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end the server and not the program, which has things of its own to put away."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {name: signal.signal(getattr(signal, name), self.handle_exit) for name in names}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler)


def _user(request: Request) -> str | None:
    return request.state.user


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse({"detail": error.words}, error.status, error.headers)


def _plain(config: Any) -> Any:
    return json.loads(json.dumps(config, default=str))
