"""Whole ways through the studio, in a real browser on a real server with its own worker and the toybox."""

import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Route, expect

from spectral_diffusion.diffusion.pipeline import read_settings
from tests.studio.browsing import Server, browser, studio, visit
from tests.studio.journeying import (
    draw,
    new_concept,
    noise,
    photographs,
    pictures,
    row,
    states,
    steps_done,
    train,
    upload,
    wait_for,
)

# One browser at a time: what else runs beside it is not what is tried here.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.xdist_group("browser")]
expect.set_options(timeout=60_000)
SCREENS = ("Concepts", "Slots", "Train", "Create", "Score", "Files", "Model")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with studio(tmp_path_factory.mktemp("studio")) as found:
        yield found


def test_a_first_visit_ends_in_a_fused_picture_of_the_samples(chromium: Browser, server: Server):
    with visit(chromium, server) as visited:
        page = visited.page
        expect(page.locator("#create-fused")).to_contain_text(re.compile(r"Fused in \d+ ms"), timeout=60_000)
        path = draw(visited, server)
        settings = read_settings(path)
        assert [record.name for record in settings.adapters] == ["octo", "shelly", "spot"]
        assert settings.prompt == "a photo of <octo> and <shelly> and <spot> on the beach"
        expect(page.locator("#create-latest img").first).to_be_visible(timeout=20_000)
        expect(page.locator("#create-history img").first).to_be_visible()
        page.locator("#create-history button.thumbnail-item, #create-history .grid-wrap button").first.click()
        expect(page.locator("#create-details")).to_contain_text("a photo of <octo>")
        expect(page.locator("#create-command textarea")).to_have_value(re.compile("spectral-diffusion generate"))
        visited.check()


def test_a_strength_slider_fuses_again_at_once(chromium: Browser, server: Server):
    with visit(chromium, server) as visited:
        page = visited.page
        page.locator("#create-concepts .strength input").first.wait_for()
        before = page.locator("#create-fused").inner_text()
        page.get_by_label("Strength of octo").focus()
        for _ in range(4):
            page.keyboard.press("ArrowLeft")
        expect(page.get_by_label("Strength of octo")).to_have_value("0.8")
        expect(page.locator("#create-fused")).to_contain_text("Fused in")
        expect(page.get_by_label("Strength of octo")).to_be_focused()
        assert "octo in columns" in before
        path = draw(visited, server)
        strengths = {record.name: record.strength for record in read_settings(path).adapters}
        assert strengths == {"octo": 0.8, "shelly": 1.0, "spot": 1.0}
        visited.check()


def test_a_comparison_is_a_row_of_each_alone_and_all_fused_with_one_seed(chromium: Browser, server: Server):
    with visit(chromium, server) as visited:
        page = visited.page
        page.locator("#create-concepts .card", has_text="spot").locator("input[type=checkbox]").click()
        expect(page.locator("#create-prompt textarea")).to_have_value(re.compile("^a photo of <octo> and <shelly> on"))
        page.locator("#create-compare").click()
        grids = server.workspace / "images" / "grids"
        wait_for(lambda: len(list(grids.glob("grid_*.png"))) == 1)
        expect(page.locator("#create-latest img")).to_have_count(3, timeout=30_000)
        told = [read_settings(path) for path in grids.glob("*.png") if not path.name.startswith("grid_")]
        assert sorted(len(settings.adapters) for settings in told) == [1, 1, 2]
        assert len({settings.seed for settings in told}) == 1
        page.get_by_role("button", name="Before and after").click()
        expect(page.locator("#create-slider img").first).to_be_visible()
        visited.check()


def test_what_is_typed_while_the_page_thinks_stays(chromium: Browser, server: Server):
    with visit(chromium, server) as visited:
        page = visited.page
        page.locator("#create-concepts .card.on").first.wait_for()

        def answer_late(route: Route) -> None:
            page.wait_for_timeout(1000)
            route.continue_()

        page.route("**/queue/data*", answer_late)
        page.locator("#create-concepts .card", has_text="shelly").locator("input[type=checkbox]").click()
        page.locator("#create-prompt textarea").fill("a photo of <spot> in my own words")
        expect(page.locator("#create-fused")).not_to_contain_text("shelly")
        page.wait_for_timeout(500)
        expect(page.locator("#create-prompt textarea")).to_have_value("a photo of <spot> in my own words")
        visited.check()


def test_a_picture_dropped_back_in_restores_everything_and_draws_the_same_again(
    chromium: Browser, server: Server, tmp_path: Path
):
    with visit(chromium, server) as visited:
        page = visited.page
        page.get_by_role("button", name="Settings").first.click()
        page.get_by_label("Square", exact=True).check()
        page.locator("#create-seed input").fill("77")
        page.locator("#create-steps input[type=number]").fill("5")
        page.locator("#create-negative textarea, #create-negative input").first.fill("a red ball")
        page.locator("#create-concepts .card", has_text="shelly").locator("input[type=checkbox]").click()
        page.locator("#create-prompt textarea").fill("a photo of <octo> and <spot> in the snow")
        first = draw(visited, server)
        kept = Path(shutil.copy(first, tmp_path / "from a friend.png"))
    with visit(chromium, server) as visited:
        page = visited.page
        page.locator("#create-concepts .card").first.wait_for()
        page.locator("#create-drop input[type=file]").set_input_files(kept)
        expect(page.locator("#create-prompt textarea")).to_have_value("a photo of <octo> and <spot> in the snow")
        expect(page.locator("#create-concepts .card.on")).to_have_count(2)
        again = draw(visited, server)
        told, told_again = read_settings(kept), read_settings(again)
        assert told == told_again
        assert (told_again.seed, told_again.steps, told_again.negative_prompt) == (77, 5, "a red ball")
        np.testing.assert_array_equal(np.asarray(Image.open(kept)), np.asarray(Image.open(again)))
        visited.check()


def test_a_new_concept_goes_from_photographs_to_a_scored_picture_and_a_downloaded_adapter(
    chromium: Browser, server: Server, tmp_path: Path
):
    with visit(chromium, server) as visited:
        page = visited.page
        visited.tab("Concepts")
        new_concept(page, "rex", "dog")
        upload(page, photographs(tmp_path / "photographs"))
        expect(page.locator("#concepts-photographs .row")).to_have_count(5, timeout=60_000)
        caption = page.get_by_label(re.compile("^Caption of")).first
        caption.fill("a photo of rex, my dog")
        caption.press("Tab")
        wait_for(lambda: any((server.workspace / "concepts" / "rex").glob("*.txt")), 20)
        visited.check()

        visited.tab("Slots")
        page.locator("#slots-concept input").click()
        page.get_by_role("option", name="rex").click()
        page.locator("#slots-number input").fill("6")
        page.locator("#slots-assign").click()
        expect(page.locator("#slots-table")).to_contain_text("rex", timeout=60_000)
        visited.check()

        train(visited, "rex", 6)
        wait_for(lambda: "done" in row(page, "rex").lower())
        assert (server.workspace / "adapters" / "rex.safetensors").is_file()
        visited.check()
        page.get_by_role("button", name="Draw it").click()
        expect(page.locator("#create-concepts .card.on")).to_have_count(1)
        expect(page.locator("#create-concepts .card.on")).to_contain_text("rex")
        drawn = draw(visited, server)
        assert [record.name for record in read_settings(drawn).adapters] == ["rex"]

        page.locator("#create-history button.thumbnail-item, #create-history .grid-wrap button").first.click()
        page.locator("#create-score").click()
        page.locator("#score-run").click()
        expect(page.locator("#score-result")).to_contain_text(re.compile(r"0\.\d\d"), timeout=120_000)
        visited.check()

        visited.tab("Files")
        page.locator("#files-adapters").get_by_text("rex", exact=False).first.click()
        with page.expect_download() as download:
            page.locator("#files-download").click()
        assert download.value.suggested_filename == "rex.safetensors"
        content = Path(download.value.path()).read_bytes()
        assert content == (server.workspace / "adapters" / "rex.safetensors").read_bytes()
        visited.check()


def test_every_wrong_upload_is_told_in_words_and_the_good_one_beside_it_is_kept(
    chromium: Browser, server: Server, tmp_path: Path
):
    wrong = {
        "not a picture.png": b"just some words",
        "empty.png": b"",
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "cut off.png": photographs(tmp_path / "whole", count=1)[0].read_bytes()[:4000],
    }
    paths = []
    for name, content in wrong.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    Image.new("1", (11_000, 11_000)).save(tmp_path / "huge.png")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "tiny.png")
    with zipfile.ZipFile(tmp_path / "slip.zip", "w") as archive:
        archive.writestr("../../escaped.png", b"x")
    paths += [tmp_path / name for name in ("moving.webp", "huge.png", "tiny.png", "slip.zip")]
    good = photographs(tmp_path / "good", "octo", 1)
    with visit(chromium, server) as visited:
        page = visited.page
        visited.tab("Concepts")
        new_concept(page, "mixed", "octopus")
        upload(page, [*paths, *good])
        results = page.locator("#concepts-results")
        for path in paths:
            expect(results).to_contain_text(path.name, timeout=90_000)
        expect(page.locator("#concepts-photographs .row")).to_have_count(1)
        assert (
            not (server.workspace / "escaped.png").exists() and not (server.workspace.parent / "escaped.png").exists()
        )
        text = results.inner_text()
        for words in ("not a PNG, JPEG or WebP", "HEIC", "animation", "100 megapixels", "damaged", "empty"):
            assert words.lower() in text.lower(), (words, text)
        upload(page, noise(tmp_path, 51))
        expect(results).to_contain_text("50", timeout=120_000)
        expect(page.locator("#concepts-photographs .row")).to_have_count(50, timeout=60_000)
        visited.check()


def test_a_closed_tab_disturbs_no_training(chromium: Browser, server: Server):
    with visit(chromium, server) as visited:
        train(visited, "octo", 12)
        wait_for(lambda: steps_done(server, "train octo") >= 2)
        expect(visited.page.locator("#train-detail")).to_contain_text("Safe to close this tab")
        visited.check()
    with visit(chromium, server) as visited:
        visited.tab("Train")
        expect(visited.page.locator("#train-jobs .job").first).to_contain_text("octo")
        wait_for(lambda: "done" in row(visited.page, "octo").lower())
        expect(visited.page.locator("#train-detail svg").first).to_be_visible()
        visited.check()


def test_a_cancelled_training_ends_and_goes_on_when_it_is_retried(chromium: Browser, server: Server):
    with visit(chromium, server) as visited:
        page = visited.page
        train(visited, "spot", 40)
        wait_for(lambda: steps_done(server, "train spot") >= 2)
        page.locator("#train-cancel").click()
        wait_for(lambda: states(server)["train spot"] == "cancelled", 30)
        expect(page.locator("#train-jobs .job").first).to_contain_text(re.compile("cancelled", re.IGNORECASE))
        page.locator("#train-retry").click()
        wait_for(lambda: states(server)["train spot"] == "running", 60)
        page.locator("#train-cancel").click()
        wait_for(lambda: states(server)["train spot"] == "cancelled", 30)
        visited.check()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_server_that_dies_in_training_finds_it_again(chromium: Browser, tmp_path: Path, how: str):
    with studio(tmp_path / "workspace") as server:
        with visit(chromium, server) as visited:
            train(visited, "shelly", 16)
            wait_for(lambda: steps_done(server, "train shelly") >= 3)
            getattr(server, how)()
            server.start()
            visited.errors.clear()
            visited.failed.clear()
        with visit(chromium, server) as visited:
            visited.tab("Train")
            expect(visited.page.locator("#train-jobs .job").first).to_contain_text("shelly")
            wait_for(lambda: states(server)["train shelly"] == "done")
            expect(visited.page.locator("#train-jobs .job").first).to_contain_text(
                re.compile("done", re.IGNORECASE), timeout=20_000
            )
            visited.check()


def test_the_keyboard_alone_goes_from_a_tick_to_a_picture(chromium: Browser, server: Server):
    with visit(chromium, server) as visited:
        page = visited.page
        page.locator("#create-concepts .card").first.wait_for()

        def tab_to(selector: str) -> None:
            for _ in range(80):
                page.keyboard.press("Tab")
                if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                    return
            raise AssertionError(f"Tab does not lead to {selector}")

        page.keyboard.press("Tab")
        tab_to("#create-concepts input[type=checkbox]")
        page.keyboard.press("Space")
        expect(page.locator("#create-concepts .card.on")).to_have_count(2)
        # The examples are those of what is ticked once the page has thought about it.
        expect(page.locator("#create-examples")).not_to_contain_text("<octo>")
        expect(page.locator("#create-prompt textarea")).not_to_have_value(re.compile("<octo>"))
        tab_to("#create-examples button")
        page.keyboard.press("Enter")
        tab_to("#create-draw")
        before = len(pictures(server))
        page.keyboard.press("Enter")
        wait_for(lambda: len(pictures(server)) > before)
        tabs = page.get_by_role("tab", name="Create", exact=True).first
        tabs.focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#screen-score")).to_be_visible()
        visited.check()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [1280, 390])
def test_every_screen_is_readable(chromium: Browser, server: Server, width_px: int, scheme: str):
    with visit(chromium, server, width_px=width_px, color_scheme=scheme) as visited:
        for name in SCREENS:
            visited.tab(name)
            visited.page.wait_for_timeout(1500)
            visited.check()


def test_every_control_is_explained_on_hover(chromium: Browser, server: Server):
    with visit(chromium, server) as visited:
        for name in SCREENS:
            visited.tab(name)
            visited.page.wait_for_timeout(800)
            silent = visited.page.evaluate(
                """name => [...document.querySelectorAll(`#screen-${name} button, #screen-${name} input,
                #screen-${name} textarea`)]
                .filter(node => node.offsetParent && !node.closest('[title]') && !node.closest('.chips')
                && !node.matches('.label-wrap'))
                .map(node => node.outerHTML.slice(0, 120))""",
                name.lower(),
            )
            assert silent == [], (name, silent)


def test_no_picture_of_another_format_is_shown_in_place_of_the_png(chromium: Browser, server: Server):
    with visit(chromium, server) as visited:
        page = visited.page
        draw(visited, server)
        page.locator("#create-history img").first.wait_for(timeout=30_000)
        address = page.locator("#create-history img").first.get_attribute("src") or ""
        content = visited.page.request.get(address).body()
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == "PNG" and "spectral_diffusion" in image.info
