import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.backgrounds import BACKGROUNDS, ambient_light, paint_backgrounds


def test_there_are_twelve() -> None:
    assert len(set(BACKGROUNDS)) == 12


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_seed_gives_the_same_picture_alone_and_in_a_batch(background: str) -> None:
    together = paint_backgrounds(background, [5, 6, 7], width_px=48, height_px=40)
    assert torch.equal(together[1:2], paint_backgrounds(background, [6], width_px=48, height_px=40))
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_larger_canvas_shows_the_same_place(background: str) -> None:
    small = paint_backgrounds(background, [3], width_px=96, height_px=64).float()
    large = paint_backgrounds(background, [3], width_px=192, height_px=128).float()
    assert (F.avg_pool2d(large, 2) - small).abs().mean() < 8


@given(st.sampled_from(BACKGROUNDS), st.integers(8, 90), st.integers(8, 90), st.integers(0, 2**40))
def test_any_canvas_is_filled(background: str, width_px: int, height_px: int, seed: int) -> None:
    picture = paint_backgrounds(background, [seed], width_px=width_px, height_px=height_px)
    assert picture.shape == (1, 3, height_px, width_px)
    assert picture.dtype == torch.uint8
    assert picture.float().mean() > 8


def test_places_are_told_apart_by_their_colours() -> None:
    def look(seeds: list[int]) -> torch.Tensor:
        painted = [paint_backgrounds(name, seeds, width_px=48, height_px=48) for name in BACKGROUNDS]
        return F.avg_pool2d(torch.cat(painted).float(), (6, 48)).flatten(1).view(len(BACKGROUNDS), len(seeds), -1)

    known, fresh = look(list(range(12))).mean(1), look(list(range(100, 106)))
    nearest = torch.cdist(fresh.flatten(0, 1), known).argmin(1).view(len(BACKGROUNDS), -1)
    right = nearest == torch.arange(len(BACKGROUNDS))[:, None]
    assert right.float().mean() > 0.9


def test_an_unknown_place_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"on the roof.*on the beach"):
        paint_backgrounds("on the roof", [1], width_px=16, height_px=16)


def test_light_keeps_colours_recognisable_everywhere() -> None:
    for name in BACKGROUNDS:
        light = ambient_light(name)
        assert all(0.7 <= channel <= 1.1 for channel in light)
        assert max(light) - min(light) <= 0.2
