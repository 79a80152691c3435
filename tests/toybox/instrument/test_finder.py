"""Where toys are: from what the network says of each pixel to one mask a toy."""

import pytest
import torch

from spectral_diffusion.toybox.instrument.exam import INSTRUMENT, Sheet, exam_sheet
from spectral_diffusion.toybox.instrument.finder import (
    Sight,
    ToyFinder,
    aims_of,
    find_toys,
    finding_loss,
    instances,
    load_finder,
)

pytestmark = pytest.mark.xdist_group("finder")


@pytest.fixture(scope="module")
def sheet() -> Sheet:
    return exam_sheet("wide", 1, "cpu", seed=3, kinds=("dog", "ball"))


def _told(masks: torch.Tensor, row: int) -> Sight:
    toy, middle, offset = aims_of(masks)
    return Sight((toy[row] - 0.5) * 20, torch.logit(middle[row].clamp(1e-4, 1 - 1e-4)), offset[row])


def test_masks_come_back_from_what_the_network_is_taught(sheet: Sheet) -> None:
    masks = sheet.toys.masks
    for row, own in enumerate(masks):
        true = [mask > 127 for mask in own if bool((mask > 127).any())]
        found = instances(_told(masks, row))
        assert len(found) == len(true)
        middles = [toy.middle_px[0] for toy in found]
        assert middles == sorted(middles)
        for mask in true:
            overlaps = [int((toy.mask & mask).sum()) / int((toy.mask | mask).sum()) for toy in found]
            assert max(overlaps) > 0.95


def test_an_empty_picture_holds_no_toy() -> None:
    nothing = torch.zeros(1, 3, 32, 48, dtype=torch.uint8)
    assert instances(_told(nothing, 0)) == []


def test_the_loss_is_least_where_the_network_says_the_truth(sheet: Sheet) -> None:
    aims = aims_of(sheet.toys.masks[:2])
    right = Sight(torch.logit(aims[0].clamp(1e-4, 1 - 1e-4)), torch.logit(aims[1].clamp(1e-4, 1 - 1e-4)), aims[2])
    least = finding_loss(right, aims)
    for wrong in (
        right._replace(toy=-right.toy),
        right._replace(offset=-right.offset),
        right._replace(middle=right.toy),
    ):
        assert finding_loss(wrong, aims) > least


@pytest.mark.parametrize("size", [(16, 16), (33, 50), (128, 192)])
def test_pictures_of_any_size_are_looked_at(size: tuple[int, int]) -> None:
    found = find_toys(ToyFinder().eval(), torch.zeros(2, 3, *size, dtype=torch.uint8))
    assert len(found) == 2 and all(toy.mask.shape == size for toys in found for toy in toys)


def test_boxes_hold_their_masks(sheet: Sheet) -> None:
    finder = load_finder(INSTRUMENT / "finder.safetensors")
    for toys in find_toys(finder, sheet.toys.images[:4]):
        for toy in toys:
            left, top, right, bottom = toy.box
            rows, columns = toy.mask.nonzero(as_tuple=True)
            assert (left, top) == (int(columns.min()), int(rows.min()))
            assert (right, bottom) == (int(columns.max()) + 1, int(rows.max()) + 1)
