"""Makes the pictures of the studio beside this file, out of a new workspace: python docs/studio/screenshots.py.

It draws, trains for some steps and scores, so that every screen has something to show; on two cores some minutes.
"""

import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from tests.studio.browsing import Visit, browser, studio, visit  # noqa: E402

JOB_MS = 600_000
STEPS = 24


def _draw(page: Page, prompt: str, seed: int) -> None:
    page.locator("#create-prompt textarea").fill(prompt)
    page.locator("#create-seed input").fill(str(seed))
    before = page.locator("#create-history img").count()
    page.locator("#create-draw").click()
    expect(page.locator("#create-history img")).to_have_count(before + 1, timeout=JOB_MS)


def _shoot(visited: Visit, name: str, height_px: int = 900) -> None:
    page = visited.page
    page.set_viewport_size({"width": page.viewport_size["width"] if page.viewport_size else 1280, "height": height_px})
    page.wait_for_timeout(1500)
    page.mouse.move(0, 0)
    page.evaluate("window.scrollTo(0, 0)")
    page.screenshot(path=HERE / f"{name}.png")


def _create(visited: Visit) -> None:
    page = visited.page
    page.get_by_role("button", name="Settings").first.click()
    for scene, seed in (("in the snow", 6), ("in the desert", 2), ("on the beach", 2)):
        _draw(page, f"a photo of <octo> and <shelly> and <spot> {scene}", seed)
    page.get_by_role("button", name="Settings").first.click()
    page.locator("#create-compare").click()
    expect(page.locator("#create-latest img")).to_have_count(4, timeout=JOB_MS)
    page.locator("#create-history button").nth(1).click()
    _shoot(visited, "create", 1150)


def _train(visited: Visit) -> None:
    page = visited.page
    visited.tab("Train")
    page.locator("#train-concepts .card", has_text="spot").locator("input[type=checkbox]").check()
    page.get_by_role("button", name="Advanced").click()
    page.locator("#train-steps input").first.fill(str(STEPS))
    page.locator("#train-steps input").first.press("Tab")
    page.get_by_role("button", name="Advanced").click()
    page.locator("#train-begin").click()
    expect(page.locator("#train-samples img")).to_have_count(3, timeout=JOB_MS)
    _shoot(visited, "train", 1000)


def _score(visited: Visit) -> None:
    page = visited.page
    visited.tab("Score")
    page.locator("#score-pictures input[type=checkbox]").first.wait_for()
    for box in page.locator("#score-pictures input[type=checkbox]").all()[:3]:
        box.check()
    page.locator("#score-run").click()
    expect(page.locator("#score-result")).to_contain_text(re.compile(r"0\.\d\d"), timeout=JOB_MS)
    _shoot(visited, "score", 1300)


def main() -> None:
    """Make all of them."""
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder)) as server, browser() as chromium:
        with visit(chromium, server) as visited:
            _create(visited)
            _train(visited)
            cancel = visited.page.locator("#train-cancel")
            if cancel.is_visible():
                cancel.click()
            _score(visited)
            for name, height_px in (("Concepts", 1000), ("Slots", 960), ("Files", 700), ("Model", 1400)):
                visited.tab(name)
                _shoot(visited, name.lower(), height_px)
        with visit(chromium, server, width_px=390, height_px=1500, color_scheme="dark") as visited:
            visited.page.locator("#create-history img").first.wait_for()
            _shoot(visited, "create_phone", 1500)


if __name__ == "__main__":
    main()
