"""The studio as a person meets it: a real server with its own worker, and a real Chromium that is watched.

Standing assertions, at the end of every journey: no request left this machine, the console said no error, nothing stood
out of the page's sides, and axe-core found nothing but what is Gradio's own.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 240.0
CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
# What axe-core says of Gradio's own markup, which is not ours to mend: rule, and what the element looks like.
GRADIOS_OWN: tuple[tuple[str, str], ...] = (("aria-prohibited-attr", 'aria-label="Empty value"'),)


@dataclass
class Server:
    """A studio in a process of its own.

    Args:
        workspace: Its workspace.
        options: Further options of `ui`.
        environment: Further variables.
    """

    workspace: Path
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    address: str = ""
    seconds_to_start: float = 0.0
    said: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def start(self) -> "Server":
        """Start it and wait until it answers; again on the same port, so that open pages find it."""
        began = time.monotonic()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "spectral_diffusion", "ui", "--no-browser", "--port", str(self.port)),
                *("--workspace", str(self.workspace), *self.options),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        opened = threading.Event()

        def listen(stream: Any) -> None:
            for line in stream:
                self.said.append(line.rstrip())
                if found := re.search(r"http://\S+", line):
                    self.address = found[0]
                    opened.set()
            opened.set()

        threading.Thread(target=listen, args=(self.process.stderr,), daemon=True).start()
        assert opened.wait(START_SECONDS) and self.address, f"the studio did not open: {self.said}"
        self.seconds_to_start = time.monotonic() - began
        self.port = urlsplit(self.address).port or 0
        return self

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a power cut does; its worker lives on for a while."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)

    def end_workers(self) -> None:
        """End whatever worker of this workspace lives on."""
        for process in psutil.process_iter():
            try:
                if str(self.workspace) in process.cmdline() and process.pid != os.getpid():
                    process.terminate()
            except psutil.Error:
                continue


@contextmanager
def studio(workspace: Path, *options: str, **environment: str) -> Iterator[Server]:
    """A studio that is open, and put away at the end."""
    server = Server(workspace, options, environment)
    try:
        yield server.start()
    finally:
        server.stop()
        server.end_workers()


@dataclass
class Visit:
    """A page that is watched.

    Args:
        page: Playwright's.
        address: Of the studio.
    """

    page: Page
    address: str
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self._see(request.url))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("response", self._see_answer)

    def _see(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("127.0.0.1", "localhost"):
            self.outside.append(url)

    def _see_answer(self, response: Response) -> None:
        if response.status >= 400:
            self.failed.append(f"{response.status} {response.url}")

    def open(self) -> "Visit":
        """Open the page and wait until it can be used."""
        self.page.goto(self.address)
        self.page.get_by_role("button", name="Draw", exact=True).wait_for(timeout=120_000)
        return self

    def tab(self, name: str) -> None:
        """Go to a screen."""
        self.page.get_by_role("tab", name=name, exact=True).click()
        self.page.locator(f"#screen-{name.lower()}").wait_for(timeout=20_000)

    def toast(self, words: str) -> None:
        """Wait for a message that holds these words, and close it."""
        message = self.page.locator(".toast-body", has_text=re.compile(words, re.IGNORECASE)).first
        message.wait_for(timeout=30_000)
        message.locator(".toast-close").click()

    def check(self, *, axe: bool = True) -> None:
        """The standing assertions."""
        page = self.page
        assert self.outside == [], f"requests left this machine: {self.outside}"
        errors = [text for text in self.errors if not any(re.search(known, text) for known in self.expected)]
        assert errors == [], f"the console said: {errors}; {self.failed}"
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"the page is {wide} px too wide: {_too_wide(page)}"
        if axe:
            assert (found := faults(page)) == [], found


def faults(page: Page) -> list[str]:
    """What axe-core finds that is ours."""
    options = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    told = []
    for violation in Axe().run(page, options=options).response["violations"]:
        for node in violation["nodes"]:
            known = any(violation["id"] == rule and re.search(shape, node["html"]) for rule, shape in GRADIOS_OWN)
            if not known:
                told.append(f"{violation['id']}: {' '.join(node['target'][:2])}: {node['html'][:160]}")
    return told


def _too_wide(page: Page) -> Any:
    return page.evaluate(
        """() => [...document.querySelectorAll('body *')]
        .filter(node => node.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .slice(0, 5).map(node => `${node.tagName}#${node.id}.${node.className}`)"""
    )


@contextmanager
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Where it is missing the test fails."""
    assert Path(CHROMIUM).exists(), "these tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield found
        found.close()


@contextmanager
def visit(
    found: Browser, server: Server, *, width_px: int = 1280, height_px: int = 900, **options: Any
) -> Iterator[Visit]:
    """A page of the studio in a session of its own, open and watched."""
    context = found.new_context(viewport={"width": width_px, "height": height_px}, **options)
    visited = Visit(context.new_page(), server.address)
    try:
        yield visited.open()
    finally:
        context.close()
