"""Laws of cut-mix: the concept appears where its mask says, and the caption names it in its place."""

import pytest
import torch
from PIL import Image, ImageDraw

from spectral_diffusion.diffusion.cutmix import cut_mix, cut_out
from spectral_diffusion.toybox.world import Companion, companions


@pytest.fixture(scope="module")
def scenes() -> list[Companion]:
    return companions(4, seed=3, width_px=64, height_px=64)


def _concept() -> tuple[Image.Image, torch.Tensor]:
    """A magenta disc with a green left half, on blue."""
    image = Image.new("RGB", (64, 64), (0, 0, 255))
    ImageDraw.Draw(image).ellipse((16, 16, 47, 47), fill=(255, 0, 255))
    ImageDraw.Draw(image).pieslice((16, 16, 47, 47), 90, 270, fill=(0, 255, 0))
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).ellipse((16, 16, 47, 47), fill=255)
    return image, (torch.frombuffer(bytearray(mask.tobytes()), dtype=torch.uint8).view(64, 64) > 0).float()


def test_a_mask_that_tells_nothing_cuts_nothing_out() -> None:
    image, mask = _concept()
    assert cut_out(image, torch.ones(64, 64)) is None
    assert cut_out(image, torch.zeros(64, 64)) is None
    cut = cut_out(image, mask)
    assert cut is not None
    assert cut.shape == (4, 64, 64)
    assert torch.equal(cut[3], (mask * 255).to(torch.uint8))


def test_the_concept_stands_in_the_free_place_and_is_named_there(scenes: list[Companion]) -> None:
    cut = cut_out(*_concept())
    assert cut is not None
    for scene in scenes:
        mixed = cut_mix(scene, cut, "<disc>", "orb")
        assert mixed.pixels.shape == (3, 64, 64)
        assert float(mixed.pixels.abs().max()) <= 1
        for caption, plain in zip(mixed.captions, mixed.plain_captions, strict=True):
            assert caption.count("<disc>") == 1
            assert "{" not in caption
            assert plain == caption.replace("<disc>", "an orb")
        change = (mixed.pixels - (scene.image.float() / 127.5 - 1)).abs().amax(0)
        assert float(mixed.mask.max()) > 0.9
        # What is not the concept changes at most by its shadow.
        assert float(change[mixed.mask > 0.9].mean()) > 4 * float(change[mixed.mask == 0].mean())
        # Red or green, never the blue that the photograph had around it.
        inside = mixed.pixels[:, mixed.mask > 0.9].mean(1)
        assert float(inside[:2].sum()) > -1.2


def test_mirroring_turns_the_concept_and_leaves_the_scene(scenes: list[Companion]) -> None:
    cut = cut_out(*_concept())
    assert cut is not None
    plain, mirrored = (cut_mix(scenes[0], cut, "<d>", "orb", mirrored=turned) for turned in (False, True))
    assert plain.captions == mirrored.captions

    def green_is_left(mixed: torch.Tensor, mask: torch.Tensor) -> bool:
        columns = torch.arange(64.0).expand(64, 64)
        solid = mask > 0.9
        green = solid & (mixed[1] > mixed[0])
        magenta = solid & (mixed[0] > mixed[1])
        return float(columns[green].mean()) < float(columns[magenta].mean())

    assert green_is_left(plain.pixels, plain.mask)
    assert not green_is_left(mirrored.pixels, mirrored.mask)
