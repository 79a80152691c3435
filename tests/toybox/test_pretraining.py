import random
import re

import pytest
import torch

from spectral_diffusion.toybox import phrases
from spectral_diffusion.toybox.backgrounds import BACKGROUNDS
from spectral_diffusion.toybox.captions import WORDS
from spectral_diffusion.toybox.pretraining import (
    ToyLibrary,
    build_backgrounds,
    build_library,
    captions_of,
    render_plan,
    sample_batch,
    sample_plan,
)
from spectral_diffusion.toybox.toy import COLOURS, KINDS, PRETRAINING_MARKS, PretrainingToy


@pytest.fixture(scope="module")
def library() -> ToyLibrary:
    return build_library(1, 3, "cpu", views=2, sprite_px=32)


@pytest.fixture(scope="module")
def backgrounds() -> torch.Tensor:
    return build_backgrounds(2, 1, "cpu", width_px=72, height_px=48)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("width_px", "height_px"), [(48, 48), (72, 48), (50, 34)])
def test_a_batch_is_decided_by_its_generator(
    library: ToyLibrary, backgrounds: torch.Tensor, width_px: int, height_px: int
) -> None:
    def batch(seed: int) -> list[torch.Tensor]:
        drawn = sample_batch(
            library, backgrounds, 6, width_px=width_px, height_px=height_px, generator=_generator(seed)
        )
        return [drawn.images, drawn.masks, drawn.sketches, *drawn.plan]

    first, again, other = batch(1), batch(1), batch(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (6, 3, height_px, width_px)
    assert first[1].shape == (6, 3, height_px, width_px)
    assert first[2].shape == (6, 1, height_px, width_px)


def test_chunks_change_nothing(library: ToyLibrary, backgrounds: torch.Tensor) -> None:
    plan = sample_plan(library, 2, 7, width_px=48, height_px=48, generator=_generator())
    whole = render_plan(library, backgrounds, plan, width_px=48, height_px=48)
    parts = render_plan(library, backgrounds, plan, width_px=48, height_px=48, chunk=3)
    assert (whole.images.int() - parts.images.int()).abs().max() <= 1
    assert torch.equal(whole.masks > 127, parts.masks > 127)


def test_masks_lie_where_the_plan_puts_the_toys(library: ToyLibrary, backgrounds: torch.Tensor) -> None:
    batch = sample_batch(library, backgrounds, 24, width_px=72, height_px=48, generator=_generator(5))
    masks = batch.masks.int()
    assert masks.sum(1).max() <= 255
    shown = batch.plan.sprite >= 0
    assert (masks.flatten(2).amax(2) > 127).equal(shown)
    weight = masks.float() / masks.sum((2, 3), keepdim=True).clamp(min=1)
    x = (weight.sum(2) * (torch.arange(72) + 0.5)).sum(2) / 72
    assert (x - batch.plan.x)[shown].abs().max() < 0.12
    assert (x[:, 1:] > x[:, :-1])[shown[:, 1:]].all()


def test_captions_say_what_the_plan_shows(library: ToyLibrary) -> None:
    plan = sample_plan(library, 2, 200, width_px=48, height_px=48, generator=_generator(9))
    for text, sprites, background in zip(
        captions_of(library, plan, random.Random(0)), plan.sprite.tolist(), plan.background.tolist(), strict=True
    ):
        kinds = [library.toys[sprite // 2].kind for sprite in sprites if sprite >= 0]
        assert [word for word in re.findall("[a-z]+", text) if word in KINDS] == kinds
        assert all(name == BACKGROUNDS[background] for name in BACKGROUNDS if text.endswith(name))


def test_keypoints_belong_to_figures(library: ToyLibrary) -> None:
    plan = sample_plan(library, 2, 200, width_px=48, height_px=48, generator=_generator(9))
    figure = torch.tensor([toy.kind in ("robot", "doll") for toy in library.toys]).repeat_interleave(2)
    expected = (plan.sprite >= 0) & figure[plan.sprite.clamp(min=0)]
    assert torch.equal(plan.keypoints[..., 2].amax(2) > 0, expected)
    seen = plan.keypoints[plan.keypoints[..., 2] > 0]
    assert ((seen[:, :2] > -4) & (seen[:, :2] < 52)).all()


def test_given_sprites_are_kept(library: ToyLibrary) -> None:
    sprite = torch.tensor([[4, -1, -1], [2, 9, 7]])
    plan = sample_plan(library, 2, 2, width_px=48, height_px=48, sprite=sprite, generator=_generator())
    assert torch.equal(plan.sprite, sprite)


def test_shares_of_one_two_and_three_toys_are_kept(library: ToyLibrary) -> None:
    plan = sample_plan(
        library, 2, 4000, width_px=48, height_px=48, toys_per_scene=(0.2, 0.3, 0.5), generator=_generator()
    )
    shares = torch.bincount((plan.sprite >= 0).sum(1), minlength=4) / 4000
    assert torch.allclose(shares, torch.tensor([0, 0.2, 0.3, 0.5]), atol=0.03)


@pytest.mark.slow
def test_a_hundred_thousand_scenes_hold_nothing_that_is_held_out() -> None:
    library = build_library(16, 11, "cpu", sprite_px=16)
    assert all(type(toy) is PretrainingToy for toy in library.toys)
    for toy in library.toys:
        drawn = toy.as_toy()
        assert drawn.limb_colour is drawn.tip_colour is drawn.part_colour is None
        assert all(mark.name in PRETRAINING_MARKS for mark in drawn.marks)
        assert not (drawn.kind == "tortoise" and any(worn.name == "hat" for worn in drawn.accessories))
    generator, rng = _generator(), random.Random(0)
    allowed, met = set(WORDS), set()
    for _ in range(20):
        plan = sample_plan(library, 40, 5000, width_px=192, height_px=128, generator=generator)
        assert plan.sprite.max() < len(library.toys)
        for text in captions_of(library, plan, rng):
            met |= set(text.replace(",", "").split())
    assert met <= allowed
    # "left" and "right" are also said of places in the picture.
    assert not met & (set(phrases.HELD_OUT_WORDS) - {"left", "right"})
    assert set(KINDS) | set(COLOURS) <= met


@pytest.mark.gpu
def test_a_plan_is_drawn_alike_on_cpu_and_gpu(library: ToyLibrary, backgrounds: torch.Tensor) -> None:
    plan = sample_plan(library, 2, 8, width_px=72, height_px=48, generator=_generator())
    on_cpu = render_plan(library, backgrounds, plan, width_px=72, height_px=48)
    moved = ToyLibrary(
        library.toys, library.sprites._replace(rgba=library.sprites.rgba.cuda()), library.extent, library.views
    )
    on_gpu = render_plan(moved, backgrounds.cuda(), plan, width_px=72, height_px=48)
    assert (on_cpu.images.int() - on_gpu.images.cpu().int()).abs().max() <= 1
