import re

import pytest
import torch

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.toy import COLOURS, KINDS
from spectral_diffusion.toybox.world import CONCEPT, Companion, companions, compose_with

COLOURED = re.compile(r"\b(" + "|".join(COLOURS) + r")\b(?! background)")


@pytest.fixture(scope="module")
def drawn() -> list[Companion]:
    return companions(8, 3, width_px=72, height_px=48)


def _cutout() -> torch.Tensor:
    """A green square on a transparent magenta ground, off the middle."""
    rgba = torch.zeros(4, 40, 60, dtype=torch.uint8)
    rgba[0], rgba[2] = 255, 255
    rgba[:, 10:30, 30:50] = torch.tensor([10, 200, 30, 255], dtype=torch.uint8)[:, None, None]
    return rgba


def test_a_seed_decides_everything() -> None:
    first, again, other = (companions(2, seed, width_px=48, height_px=32) for seed in (3, 3, 4))
    assert all(torch.equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert [a.caption_templates for a in first] == [b.caption_templates for b in again]
    assert not torch.equal(first[0].image, other[0].image)


def test_wide_companions_come_after_the_others() -> None:
    both = companions(2, 3, width_px=48, height_px=32, wide_count=1)
    assert [companion.image.shape for companion in both] == [(3, 32, 48), (3, 32, 48), (3, 32, 72)]
    assert companions(0, 3) == []


def test_one_of_the_captions_names_kinds_alone(drawn: list[Companion]) -> None:
    for companion in drawn:
        told, plain = companion.caption_templates
        assert not COLOURED.search(plain)
        assert [word for word in re.findall(r"[a-z]+", told) if word in KINDS] == [
            word for word in re.findall(r"[a-z]+", plain) if word in KINDS
        ]
    assert any(COLOURED.search(companion.caption_templates[0]) for companion in drawn)


def test_the_concept_is_named_in_its_place(drawn: list[Companion]) -> None:
    for companion in drawn:
        for template in companion.caption_templates:
            words = re.findall(r"\{concept\}|[a-z]+", template)
            named = [word for word in words if word in KINDS or word == CONCEPT]
            assert named.index(CONCEPT) == companion.slot
            assert len(named) == len(companion.masks) + 1
        assert CONCEPT not in companion.caption


def test_the_free_place_is_free_and_in_order(drawn: list[Companion]) -> None:
    assert {companion.slot for companion in drawn} == {0, 1, 2}
    for companion in drawn:
        left, top, right, bottom = companion.free_box
        assert 0 <= left < right <= 72
        assert 0 <= top < bottom <= 48
        inside = companion.masks[:, top:bottom, left:right].int().sum() / 255
        assert inside < 0.1 * (right - left) * (bottom - top)
        centres = [float((mask.float().sum(0) * torch.arange(72)).sum() / mask.sum()) for mask in companion.masks]
        assert sum(centre < (left + right) / 2 for centre in centres) == companion.slot


def test_a_cutout_stands_in_the_free_place(drawn: list[Companion]) -> None:
    for companion in drawn:
        image, mask = compose_with(companion, _cutout())
        assert image.shape == companion.image.shape
        assert mask.shape == (1, 48, 72)
        left, top, right, bottom = companion.free_box
        outside = mask.clone()
        outside[:, max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = 0
        assert outside.sum() == 0
        solid = mask[0] == 255
        assert solid.sum() > 0.3 * (right - left) ** 2
        red, green, blue = image[:, solid].float().mean(1)
        assert green > 2 * red
        assert green > 2 * blue
        # Far above the concept, nothing changes.
        assert torch.equal(image[:, : max(top - 4, 0)], companion.image[:, : max(top - 4, 0)])


def test_transparent_colours_never_show(drawn: list[Companion]) -> None:
    image, mask = compose_with(drawn[0], _cutout())
    rim = (mask[0] > 0) & (mask[0] < 255)
    assert rim.any()
    magenta = (image[0].int() > image[1].int() + 60) & (image[2].int() > image[1].int() + 60)
    was = (drawn[0].image[0].int() > drawn[0].image[1].int() + 60) & (
        drawn[0].image[2].int() > drawn[0].image[1].int() + 60
    )
    assert not (magenta & ~was & rim).any()


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(4, 8, 8, dtype=torch.uint8),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
        torch.ones(4, 8, 8),
        torch.zeros(4, 0, 8, dtype=torch.uint8),
    ],
)
def test_impossible_cutouts_are_refused(drawn: list[Companion], wrong: torch.Tensor) -> None:
    with pytest.raises(InputError, match="cut-out"):
        compose_with(drawn[0], wrong)


def test_none_may_be_asked_for() -> None:
    assert companions(0, 0) == []
