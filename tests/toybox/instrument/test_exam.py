"""What is shipped of the instrument passes its exam on toys that nobody has seen."""

from pathlib import Path

import pytest
import torch

from spectral_diffusion.toybox.instrument.attributes import ATTRIBUTES
from spectral_diffusion.toybox.instrument.exam import INSTRUMENT, SCORER, exam_sheet, examine, examine_scorer
from spectral_diffusion.toybox.instrument.finder import load_finder
from spectral_diffusion.toybox.instrument.reader import CUT_PX, ToyReader, cut_squares, reading_loss, split_heads
from spectral_diffusion.toybox.instrument.train import SMOKE, run
from spectral_diffusion.toybox.judges import ToyClip


def test_twins_stand_in_the_same_scene_and_differ_in_little() -> None:
    sheet = exam_sheet("square", 1, "cpu", seed=5, kinds=("cat", "cup"))
    change = (sheet.toys.images.float() - sheet.twins.images.float()).abs().amax(1)
    assert len(change) == len(sheet.pairs)
    for picture in change:
        share = float((picture > 24).float().mean())
        assert 0 < share < 0.25


def test_a_cut_keeps_proportions_and_its_mask() -> None:
    images = torch.zeros(1, 3, 64, 96, dtype=torch.uint8)
    masks = torch.zeros(1, 64, 96, dtype=torch.bool)
    masks[0, 16:48, 40:56] = True
    images[0, :, masks[0]] = 255
    square = cut_squares(images, masks, torch.tensor([[40, 16, 56, 48]]), torch.ones(1), torch.zeros(1, 2))[0]
    bright = square[0] > 0
    rows, columns = bright.any(1).sum(), bright.any(0).sum()
    assert square.shape == (4, CUT_PX, CUT_PX) and abs(int(rows) - CUT_PX) <= 3 and abs(int(columns) - CUT_PX // 2) <= 3
    assert torch.allclose(square[0], square[3])


def test_the_reading_loss_is_that_of_all_attributes() -> None:
    logits = ToyReader().eval()(torch.zeros(2, 4, CUT_PX, CUT_PX))
    labels = torch.zeros(2, len(ATTRIBUTES), dtype=torch.long)
    parts = split_heads(logits)
    each = [torch.nn.functional.cross_entropy(part, labels[:, 0]) for part in parts.values()]
    assert [part.shape[1] for part in parts.values()] == [len(classes) for classes in ATTRIBUTES.values()]
    assert torch.allclose(reading_loss(logits, labels), torch.stack(each).sum())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_shipped_finder_finds_every_toy() -> None:
    measures = examine(load_finder(INSTRUMENT / "finder.safetensors"), None, "cpu", twins_per_kind=2)
    for canvas in ("square", "wide"):
        assert measures[canvas]["iou"] > 0.95 and measures[canvas]["counted"] > 0.98


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_scorer_tells_a_toy_from_its_twin() -> None:
    measures = examine_scorer(ToyClip(SCORER, "cpu"), "cpu", twins_per_kind=4)
    assert measures["caption_found"] > 0.9
    assert measures["toy_above_twin_by_pictures"] > 0.9 and measures["toy_above_twin_by_pictures_wide"] > 0.9


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_recipe_runs_from_end_to_end(tmp_path: Path) -> None:
    weights = Path(SCORER).parent
    metrics = run(SMOKE, tmp_path / "out", weights, torch.device("cpu"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "finder.safetensors",
        "reader.safetensors",
        "metrics.json",
    }
    assert metrics["finder"]["steps"] == metrics["reader"]["steps"] == SMOKE.most_steps
    assert set(metrics["exam"]) == {"square", "wide"}
