"""How soon the studio can be used: its start, its page in a real browser, fusing again after a slider moved, drawing.

Run `python benchmarks/studio/measure.py` on an otherwise idle machine; it writes `result.json` and `result.svg` beside
itself. It needs Debian's chromium.
"""

import json
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from playwright.sync_api import Browser, Page, expect, sync_playwright

from spectral_diffusion import __version__
from spectral_diffusion.chart import Line, line_chart

HERE = Path(__file__).parent
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def open_studio(folder: Path) -> tuple["subprocess.Popen[str]", str, float]:
    """A studio in a new workspace: its process, its address, and the seconds until it answered."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "spectral_diffusion", "ui", "--no-browser", "--port", "0", "--workspace", str(folder)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SPECTRAL_DIFFUSION_CACHE": str(folder / "cache")},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://\S+", line):
            return process, found[0], time.perf_counter() - began
    raise click.ClickException("the studio did not open")


def visit(page: Page, address: str) -> float:
    """Seconds from asking for the page until its concepts stand there, fused, and Draw can be pressed."""
    began = time.perf_counter()
    page.goto(address)
    page.locator("#create-concepts .card.on").first.wait_for(timeout=120_000)
    expect(page.locator("#create-draw")).to_be_enabled(timeout=120_000)
    expect(page.locator("#create-fused")).to_contain_text("Fused in", timeout=120_000)
    return time.perf_counter() - began


def open_bare() -> tuple["subprocess.Popen[str]", str]:
    """The peer: an almost empty page of Gradio's; its process and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(HERE / "bare.py"), str(port)], text=True)
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return process, f"http://127.0.0.1:{port}"
        time.sleep(0.1)
    raise click.ClickException("the bare page did not open")


def visit_bare(page: Page, address: str) -> float:
    """Seconds from asking for the bare page until its button is there and its first event is answered."""
    began = time.perf_counter()
    page.goto(address)
    page.locator("#draw").wait_for()
    expect(page.get_by_label("Told")).to_have_value("ready", timeout=120_000)
    return time.perf_counter() - began


def fuse_again(page: Page, presses: int) -> tuple[list[float], list[float]]:
    """Milliseconds that fusing took as the page tells, and from the key press to the new words on the page."""
    told, seen = [], []
    slider = page.get_by_label("Strength of octo")
    slider.focus()
    for press in range(presses):
        page.evaluate(
            """() => { const node = document.querySelector('#create-fused'); window.changed = new Promise(done =>
            new MutationObserver(() => done(performance.now())).observe(node, {childList: true, subtree: true,
            characterData: true})); window.pressed = performance.now(); }"""
        )
        page.keyboard.press("ArrowLeft" if press % 2 else "ArrowRight")
        seen.append(float(page.evaluate("window.changed.then(at => at - window.pressed)")))
        told.append(float(re.findall(r"Fused in (\d+) ms", page.locator("#create-fused").inner_text())[0]))
    return told, seen


def draw(page: Page, folder: Path) -> float:
    """Seconds from pressing Draw until the picture is on the page."""
    before = page.locator("#create-history img").count()
    began = time.perf_counter()
    page.locator("#create-draw").click()
    expect(page.locator("#create-history img")).to_have_count(before + 1, timeout=120_000)
    return time.perf_counter() - began


def new_page(browser: Browser) -> Page:
    """The only page of a browser that remembers nothing."""
    for context in browser.contexts:
        context.close()
    return browser.new_context().new_page()


def summary(values: list[float]) -> dict[str, Any]:
    """Median, extremes and all values."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "values": values}


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Visits of the page, and pictures.")
@click.option("--presses", default=20, show_default=True, help="Of the slider.")
def main(rounds: int, presses: int) -> None:
    """Measure and write down."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        process, address, start = open_studio(Path(folder))
        bare: subprocess.Popen[str] | None = None
        try:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_ARGUMENTS)
            first = visit(new_page(browser), address)
            bare, bare_address = open_bare()
            visit_bare(browser.new_context().new_page(), bare_address)
            visits, bare_visits = [], []
            for _ in range(rounds):
                bare_visits.append(visit_bare(new_page(browser), bare_address))
                page = new_page(browser)
                visits.append(visit(page, address))
            told, seen = fuse_again(page, presses)
            drawings = [draw(page, Path(folder)) for _ in range(rounds)]
            browser.close()
        finally:
            process.terminate()
            if bare is not None:
                bare.terminate()
            process.wait(30)
    result = {
        "version": __version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seconds_to_open": start,
        "seconds_of_the_first_visit": first,
        "seconds_of_a_visit": summary(visits),
        "seconds_of_a_visit_to_a_bare_page": summary(bare_visits),
        "times_a_bare_page": summary([ours / theirs for ours, theirs in zip(visits, bare_visits, strict=True)]),
        "milliseconds_to_fuse": summary(told),
        "milliseconds_from_key_to_words": summary(seen),
        "seconds_to_draw": summary(drawings),
    }
    (HERE / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    lines = [
        Line("fusing, as the page tells", list(enumerate(told, start=1)), 150.0, "what was asked for"),
        Line("from key to words on the page", list(enumerate(seen, start=1))),
    ]
    chart = line_chart(lines, x_label="press", y_label="ms", title="Fusing three concepts again after a key press")
    (HERE / "result.svg").write_text(chart.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) + "\n")
    click.echo(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
