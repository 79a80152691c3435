"""The demo on the base in miniature: every picture is there, every number is finite, the page stands alone."""

import html.parser
import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.config import load_config
from spectral_diffusion.demo import DemoResult, run_demo
from spectral_diffusion.demo_page import demo_report, write_demo
from spectral_diffusion.diffusion.pipeline import read_settings
from spectral_diffusion.fusion import load_fused
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.report import Picture, Report
from tests.command_line import call_really, write_concept, write_recipe
from tests.miniature_scorer import make_miniature_scorer

NAMES = ("red", "green", "blue")


class Demo(NamedTuple):
    """A demo that ran."""

    result: DemoResult
    out: Path
    stages: list[str]
    steps: int


@pytest.fixture(scope="module")
def demo(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    root = tmp_path_factory.mktemp("demo")
    folders = [
        write_concept(root / "concepts" / name, word, seed)
        for seed, (name, word) in enumerate(zip(NAMES, ("dog", "octopus", "cat"), strict=True))
    ]
    scorer = make_miniature_scorer(root / "clip")
    stages: list[str] = []
    reports = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spectral_diffusion.demo.default_scorer", lambda *, toybox: str(scorer))
        result = run_demo(
            load_config(write_recipe(root, miniature)),
            folders,
            root / "out",
            device="cpu",
            on_stage=stages.append,
            on_step=reports.append,
        )
    write_demo(result, root / "out")
    return Demo(result, root / "out", stages, len(reports))


def test_every_concept_is_drawn_alone_and_all_together_in_three_scenes(demo: Demo) -> None:
    assert 20 <= len(demo.result.drawn) <= 30
    for name in NAMES:
        assert len(demo.result.pictures("alone", name)) >= 2
    together = demo.result.pictures("fused", *NAMES)
    assert len({drawn.scene for drawn in together}) >= 3
    for drawn in together:
        assert drawn.image.width > drawn.image.height
        prompt = drawn.picture.settings.prompt
        assert [prompt.index(f"<{name}>") for name in NAMES] == sorted(prompt.index(f"<{name}>") for name in NAMES)


def test_the_same_seeds_and_prompts_before_and_after_fusion(demo: Demo) -> None:
    for name in NAMES:
        before, after = demo.result.pictures("alone", name), demo.result.pictures("fused", name)
        for one, other in zip(before, after, strict=True):
            assert one.picture.settings.prompt == other.picture.settings.prompt
            assert one.picture.settings.seed == other.picture.settings.seed
            assert len(one.picture.settings.adapters) == 1 and len(other.picture.settings.adapters) == 3


def test_each_concept_has_the_next_slot_and_none_meets_another(demo: Demo) -> None:
    slots = [Adapter.load(demo.out / "adapters" / f"{name}.safetensors").slot for name in NAMES]
    assert [slot.start // slot.width for slot in slots] == [0, 1, 2]
    assert [claim.concept for claim in Ledger(demo.out / "ledger.json").holders()] == list(NAMES)
    fused = load_fused(demo.out / "fused.safetensors")
    assert float((fused.overlap_matrix - fused.overlap_matrix.diag().diag()).max()) < 1e-3


def test_pictures_are_saved_with_their_settings(demo: Demo) -> None:
    saved = sorted((demo.out / "pictures").glob("*.png"))
    assert len(saved) == len(demo.result.drawn)
    assert {read_settings(path).base for path in saved} == {demo.result.base_name}
    assert Image.open(demo.out / "contact_sheet.png").width > 200


def test_scores_and_times_are_complete(demo: Demo) -> None:
    values = json.loads((demo.out / "scores.json").read_text())
    assert set(values["scores"]) == {*NAMES, "together"}
    for name in NAMES:
        assert set(values["scores"][name]) == {"base", "alone", "fused"}
        for score in values["scores"][name].values():
            assert -1 <= score["image"]["low"] <= score["image"]["mean"] <= score["image"]["high"] <= 1
    assert len(values["leaks"]["similarity"]) == 3 and values["leaks"]["own_is_nearest"][0]["count"] == 9
    assert all(0 < concept["share_of_spectrum"] < 1 for concept in values["concepts"])
    assert values["seconds"]["total"] == pytest.approx(sum(demo.result.seconds.values()))
    assert {"loading", "training red", "fusing", "scoring"} <= set(values["seconds"])
    assert demo.steps == 9 and len(demo.stages) >= 5


class _Addresses(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.images_without_words = 0
        self.open_tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.found += [value for name in ("src", "href", "srcset", "action") if (value := values.get(name))]
        self.images_without_words += tag == "img" and not values.get("alt")
        if tag not in ("meta", "img", "br", "link"):
            self.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag


def test_the_page_asks_nobody_for_anything_and_is_well_formed(demo: Demo) -> None:
    page = (demo.out / "report.html").read_text(encoding="utf-8")
    parser = _Addresses()
    parser.feed(page)
    assert parser.open_tags == [] and parser.images_without_words == 0
    assert len(parser.found) > 20
    assert all(address.startswith("data:image/png;base64,") for address in parser.found)
    assert not re.search(r"https?://|@import|url\(|<script", page)
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page
    assert str(demo.out) not in page and str(Path.home()) not in page
    for name in NAMES:
        assert f"&lt;{name}&gt;" in page


def test_without_a_scorer_the_drawing_goes_on(demo: Demo) -> None:
    result = DemoResult(
        demo.result.base_name,
        demo.result.concepts,
        demo.result.adapters,
        demo.result.energies,
        demo.result.fused,
        demo.result.drawn,
        seconds=demo.result.seconds,
        losses=demo.result.losses,
    )
    page = demo_report(result).html()
    assert "no scorer on this machine" in page and "leak" not in page.lower()


def test_a_missing_scorer_is_one_line_of_the_demo(
    demo: Demo, miniature: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spectral_diffusion.demo.default_scorer", lambda *, toybox: "ViT-B-32:openai")
    stages: list[str] = []
    result = run_demo(
        load_config(write_recipe(tmp_path, miniature, steps=1)),
        [write_concept(tmp_path / "only", "dog", 1)],
        tmp_path / "out",
        device="cpu",
        scenes_alone=("on the beach",),
        scenes_together=(),
        on_stage=stages.append,
    )
    assert result.scorer_name is None and result.scores == {}
    (line,) = [stage for stage in stages if stage.startswith("no scores")]
    assert "\n" not in line and "ViT-B-32" in line
    write_demo(result, tmp_path / "out")
    assert (tmp_path / "out" / "report.html").is_file()


def test_text_on_a_page_is_text(tmp_path: Path) -> None:
    report = Report("<b>title</b>", "a & b")
    report.section("<script>alert(1)</script>")
    report.table(["<i>"], [["<td>"]])
    report.pictures([Picture(Image.new("RGB", (4, 4)), '" onerror="x')])
    report.heat_map("<", [">"], [("&", [1.0])])
    page = report.html()
    assert "<script>" not in page and "<b>title" not in page and 'onerror="x' not in page and "<i>" not in page


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_itself_on_the_embedded_base(tmp_path: Path) -> None:
    answer = call_really("demo", "--out", tmp_path / "demo", "--device", "cpu", "--json", cwd=tmp_path, seconds=1400)
    values = answer.expect(0).json
    assert values["base"] == "toybox" and values["scorer"] == "toybox"
    assert len(values["pictures"]) >= 24 and (tmp_path / "demo" / "report.html").stat().st_size > 100_000
    assert [concept["slot"]["start"] // concept["slot"]["width"] for concept in values["concepts"]] == [0, 1, 2]
    for name in ("octo", "shelly", "spot"):
        scores = values["scores"][name]
        # What was trained is more alike the photographs than what the base draws for the class word.
        assert scores["alone"]["image"]["mean"] > scores["base"]["image"]["mean"]
    assert "training" in answer.stderr and "Traceback" not in answer.stderr
