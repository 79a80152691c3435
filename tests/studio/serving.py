"""A studio that tests speak to over HTTP: any page behind its guard, on a port of its own, with two users."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import httpx

from spectral_diffusion.studio.guard.accounts import Accounts, add_account
from spectral_diffusion.studio.guard.cache import private_cache
from spectral_diffusion.studio.guard.grants import FILE_ROUTE, Grants
from spectral_diffusion.studio.guard.guard import Guard
from spectral_diffusion.studio.guard.origins import Hosts
from spectral_diffusion.studio.guard.server import Server, bind, build_app
from spectral_diffusion.studio.guard.sessions import COOKIE

PASSWORDS = {"ada": "ada's password", "ben": "ben's password"}
PageMaker = Callable[[Grants, Path], gr.Blocks]
"""Makes the page of an app; a folder of its own is given to it."""


def small_page(grants: Grants, folder: Path) -> gr.Blocks:
    """Some events of each kind: open, hidden, with state, with files, endless."""

    def greet(text: str, request: gr.Request) -> str:
        return f"{request.username}: {text}"

    def secret(request: gr.Request) -> str:
        if request.username != "ada":
            raise gr.Error("not for you")
        return "ada's secret"

    def count(before: int) -> tuple[int, int]:
        return before + 1, before + 1

    def size(path: str | None) -> int:
        return Path(path).stat().st_size if path else -1

    def make(request: gr.Request) -> str:
        made = folder / f"{request.username}.png"
        made.write_bytes(b"\x89PNG of " + str(request.username).encode())
        return grants.show(request.username, made)

    def forever() -> Iterator[str]:
        while True:
            time.sleep(0.2)
            yield "on and on"

    with gr.Blocks() as blocks:
        text, told, number = gr.Textbox(), gr.Textbox(), gr.Number()
        state, file, shown = gr.State(0), gr.File(), gr.File()
        gr.Image(type="filepath")
        gr.ImageEditor()
        gr.Button("greet").click(greet, text, told, api_name="greet")
        gr.Button("secret").click(secret, None, told, api_name="secret", api_visibility="private")
        gr.Button("count").click(count, state, [state, number], api_name="count")
        gr.Button("size").click(size, file, number, api_name="size")
        gr.Button("make").click(make, None, shown, api_name="make")
        gr.Button("forever").click(forever, None, told, api_name="forever")
        gr.Button("direct").click(greet, text, told, api_name="direct", queue=False)
        gr.api(greet, api_name="by_program")
    return blocks


@dataclass
class Served:
    """A studio that runs.

    Args:
        url: Its address, without a slash at the end.
        app: Behind it.
        blocks: Its page.
        accounts: The password file; None: nobody logs in.
        grants: Whose files are whose.
    """

    url: str
    app: Guard
    blocks: gr.Blocks
    accounts: Path | None
    grants: Grants
    clients: list[httpx.Client] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """As in a `Host` header."""
        return self.url.removeprefix("http://")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, user: str | None = None) -> httpx.Client:
        """A browser; of a user who has logged in, once for all browsers of theirs."""
        # Certificates, which take long to load, it needs none.
        client = httpx.Client(base_url=self.url, timeout=20, verify=False, trust_env=False)
        self.clients.append(client)
        if user is not None:
            if user not in self.tokens:
                answer = client.post("/login", data={"name": user, "password": PASSWORDS[user]})
                assert answer.status_code == 303, answer.text
                self.tokens[user] = answer.cookies[COOKIE]
            client.cookies.set(COOKIE, self.tokens[user], domain="127.0.0.1")
        return client

    def number(self, name: str) -> int:
        """Of the event of this name."""
        return next(number for number, fn in self.blocks.fns.items() if fn.api_name == name)


@contextlib.contextmanager
def served(
    folder: Path, page: PageMaker = small_page, *, has_accounts: bool = True, **options: Any
) -> Iterator[Served]:
    """A studio, in a thread of this process."""
    auth = folder / "accounts" if has_accounts else None
    if auth and not auth.exists():
        for name, password in PASSWORDS.items():
            add_account(auth, name, password)
    with private_cache(folder / "cache") as cache, bind("127.0.0.1", 0) as listening:
        grants = Grants(cache)
        blocks = page(grants, folder)
        accounts = Accounts.load(auth) if auth else None
        hosts = options.pop("hosts", Hosts.of("127.0.0.1"))
        app = build_app(blocks, grants=grants, hosts=hosts, accounts=accounts, **options)
        started = threading.Event()
        server = Server(app, "", lambda _: started.set())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        studio = Served(f"http://127.0.0.1:{listening.getsockname()[1]}", app, blocks, auth, grants)
        try:
            assert started.wait(30)
            yield studio
        finally:
            for client in studio.clients:
                client.close()
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def join(client: httpx.Client, number: int, data: list[Any], page: str = "page1", **more: Any) -> httpx.Response:
    """Ask for an event as a page does."""
    body = {"fn_index": number, "data": data, "session_hash": page, "event_data": None, "trigger_id": None, **more}
    return client.post("/gradio_api/queue/join", json=body)


def outcome(client: httpx.Client, number: int, data: list[Any], page: str = "page1") -> dict[str, Any]:
    """What an event came to: the last message about it."""
    answer = join(client, number, data, page)
    assert answer.status_code == 200, answer.text
    event = answer.json()["event_id"]
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": page}) as stream:
        assert stream.status_code == 200
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if message.get("event_id") == event and message["msg"] == "process_completed":
                return message
    raise AssertionError("the event never ended")


def uploaded(client: httpx.Client, name: str = "note.txt", content: bytes = b"ada's note") -> str:
    """Upload a file and return its path on the server."""
    answer = client.post("/gradio_api/upload", files={"files": (name, content)})
    assert answer.status_code == 200, answer.text
    return answer.json()[0]


def file_data(path: str) -> dict[str, Any]:
    """A file as pages name it in events."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "x", "url": FILE_ROUTE + path}


def raw(studio: Served, request: bytes, seconds: float = 10) -> bytes:
    """Send bytes that no client sends, and return the beginning of the answer."""
    with socket.create_connection(("127.0.0.1", studio.port), timeout=seconds) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def every_route(app: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Method and path template of all routes of an app, mounted ones too."""
    for route in app.routes:
        # Routers that were included are routes of their own in newer FastAPIs, and say their prefix in their routes.
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        path = prefix + getattr(route, "path", "")
        if hasattr(inner, "routes"):
            yield from every_route(inner, path.rstrip("/"))
        for method in getattr(route, "methods", None) or ():
            yield method, path
