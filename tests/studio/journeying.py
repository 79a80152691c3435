"""What a person does again and again on the way through the studio."""

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.queue import JobQueue
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.workspace import Workspace, sample_concepts
from tests.studio.browsing import Server, Visit

JOB_SECONDS = 400.0


def photographs(folder: Path, name: str = "spot", count: int = 5) -> list[Path]:
    """Photographs of a sample, as a camera calls them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = sorted((sample_concepts() / name).glob("*.png"))[:count]
    return [Path(shutil.copy(path, folder / f"IMG_{index}.png")) for index, path in enumerate(paths)]


def noise(folder: Path, count: int) -> list[Path]:
    """Photographs of which no two are alike."""
    paths = [folder / f"many_{index:02d}.png" for index in range(count)]
    for index, path in enumerate(paths):
        pixels = np.random.default_rng(index).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def new_concept(page: Page, name: str, class_word: str) -> None:
    """Make a concept, and look at it."""
    page.locator("#concepts-new").click()
    page.locator("#concepts-new-name textarea, #concepts-new-name input").fill(name)
    expect(page.locator("#concepts-new-token input, #concepts-new-token textarea").first).to_have_value(f"<{name}>")
    page.locator("#concepts-new-class input, #concepts-new-class textarea").first.fill(class_word)
    page.locator("#concepts-create").click()
    expect(page.locator("#concepts-heading")).to_contain_text(name)


def upload(page: Page, paths: list[Path]) -> None:
    """Choose files for the concept that is looked at."""
    page.locator("#concepts-drop input.files").set_input_files(paths)


def train(visited: Visit, name: str, steps: int) -> None:
    """Tick one concept, set the number of steps, and press Train."""
    page = visited.page
    visited.tab("Train")
    page.locator("#train-concepts .card", has_text=name).wait_for()
    for card in page.locator("#train-concepts .card").all():
        box = card.locator("input[type=checkbox]")
        if box.is_checked() != (name in card.inner_text()):
            box.click()
    if not page.locator("#train-steps input").first.is_visible():
        page.get_by_role("button", name="Advanced").click()
    page.locator("#train-steps input").first.fill(str(steps))
    page.locator("#train-steps input").first.press("Tab")
    page.locator("#train-begin").click()


def row(page: Page, name: str) -> str:
    """What the list of trainings says of one."""
    return page.locator("#train-jobs .job", has_text=f"train {name}").first.inner_text()


def wait_for(condition: Callable[[], object], seconds: float = JOB_SECONDS) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.3)


def states(server: Server) -> dict[str, str]:
    """Of the newest job of each title."""
    with closing(_queue(server)) as queue:
        return {job.title: job.state for job in reversed(queue.jobs())}


def steps_done(server: Server, title: str) -> int:
    """How far a job came."""
    with closing(_queue(server)) as queue:
        return max((job.progress.furthest for job in queue.jobs() if job.title == title), default=0)


def pictures(server: Server) -> list[Path]:
    """What was drawn, the newest last."""
    return sorted((server.workspace / "images").glob("*.png"), key=lambda path: path.stat().st_mtime_ns)


def draw(visited: Visit, server: Server) -> Path:
    """Press Draw, and wait for the picture."""
    before = len(pictures(server))
    visited.page.locator("#create-draw").click()
    wait_for(lambda: len(pictures(server)) > before)
    path = pictures(server)[-1]
    expect(visited.page.locator("#create-status progress")).to_have_count(0, timeout=30_000)
    return path


def _queue(server: Server) -> JobQueue:
    workspace = Workspace(server.workspace)
    return JobQueue(Database.locate(workspace), Store.locate(workspace))
