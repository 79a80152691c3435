"""Laws of serving: it says where it is, tells people what is wrong with a port, and ends when it is told."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.guard.grants import Grants
from spectral_diffusion.studio.guard.origins import Hosts
from spectral_diffusion.studio.guard.server import address_of, bind, build_app
from tests.studio.serving import served, small_page

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = """
import sys
from pathlib import Path
from spectral_diffusion.studio.guard.cache import private_cache
from spectral_diffusion.studio.guard.grants import Grants
from spectral_diffusion.studio.guard.origins import Hosts
from spectral_diffusion.studio.guard.server import build_app, serve
from tests.studio.serving import small_page
folder = Path(sys.argv[1])
with private_cache(folder / "cache") as cache:
    grants = Grants(cache)
    app = build_app(small_page(grants, folder), grants=grants, hosts=Hosts.of("127.0.0.1"))
    number = next(number for number, fn in app.app.routes[-1].app.blocks.fns.items() if fn.api_name == "forever")
    serve(app, "127.0.0.1", 0, on_started=lambda url: print(url, number, flush=True))
print("put away", flush=True)
"""


@pytest.mark.parametrize(
    "end", [signal.SIGTERM, *(pytest.param(end, marks=pytest.mark.slow) for end in (signal.SIGINT, signal.SIGHUP))]
)
def test_a_signal_ends_it_within_seconds_with_pages_open(tmp_path: Path, end: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url, number = process.stdout.readline().split()
        with httpx.Client(base_url=url, timeout=20) as page:
            body = {"fn_index": int(number), "data": [], "session_hash": "open"}
            assert page.post("/gradio_api/queue/join", json=body).status_code == 200
            with page.stream("GET", "/gradio_api/queue/data", params={"session_hash": "open"}) as messages:
                assert next(messages.iter_lines())
                with page.stream("GET", "/gradio_api/heartbeat/open") as heartbeat:
                    assert next(heartbeat.iter_lines())
                    began = time.monotonic()
                    process.send_signal(end)
                    told, errors = process.communicate(timeout=20)
        assert time.monotonic() - began < 5
        assert process.returncode == 0 and told == "put away\n"
        assert "Traceback" not in errors, errors
        assert not list((tmp_path / "cache").iterdir())
    finally:
        process.kill()
        process.communicate()


def test_a_port_that_is_taken_is_told_in_words() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 is taken; .*--port {port + 1}"):
            bind("127.0.0.1", port)
        assert address_of("127.0.0.1", first) == f"http://127.0.0.1:{port}/"
        assert address_of("::1", first) == f"http://[::1]:{port}/"
        assert address_of("0.0.0.0", first) == f"http://{socket.gethostname()}:{port}/"


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("no such host", 0),
        ("", 99999),
        ("127.0.0.1", -1),
        ("203.0.113.7", 0),
        ("a" * 300, 0),
        ("\ud800", 0),
        ("a\0b", 0),
    ],
)
def test_what_cannot_be_bound_to_is_told_in_words(host: str, port: int) -> None:
    with pytest.raises(InputError):
        bind(host, port).close()


def test_the_page_must_be_made_for_the_folder_that_is_served(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Gradio keeps its files in"):
        build_app(small_page(Grants(tmp_path), tmp_path), grants=Grants(tmp_path), hosts=Hosts.of("127.0.0.1"))


def test_the_look_is_passed_on(tmp_path: Path) -> None:
    look: dict[str, Any] = {"css": ".mine { color: red }", "head": "<meta name='mine' content='1'>"}
    with served(tmp_path, has_accounts=False, **look) as studio:
        page = studio.client().get("/").text
        assert "color: red" in page and "name='mine'" in page.replace("\\u0027", "'")


def test_a_fault_of_ours_is_told_without_its_insides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with served(tmp_path, has_accounts=False) as studio:

        async def broken(*_: object) -> None:
            raise RuntimeError("an inside")

        monkeypatch.setattr(studio.app.app, "middleware_stack", broken)
        answer = studio.client().get("/config")
    assert answer.status_code == 500 and "inside" not in answer.text and "nosniff" in str(answer.headers)
    assert "a fault of ours while answering GET /config" in caplog.text
