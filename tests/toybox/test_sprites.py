"""Laws of sprites: the same everywhere, whole, smooth, and as described."""

import pytest
import torch

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.skeleton import sample_pose
from spectral_diffusion.toybox.sprites import FLOOR_FRACTION, render_sprites, sample_yaw
from spectral_diffusion.toybox.toy import (
    COLOURS,
    FACED_KINDS,
    FACES,
    FIGURES,
    KINDS,
    Accessory,
    Mark,
    Toy,
    accessories_of,
    places_of,
    sample_toy,
)


def _sampled(kinds, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    toys, yaw, poses = [], [], []
    for kind in kinds:
        for _ in range(count):
            toys.append(sample_toy(kind, generator).as_toy())
            yaw.append(sample_yaw(kind, generator))
            poses.append(sample_pose(generator) if kind in FIGURES else None)
    return toys, torch.tensor(yaw), poses


def _one(toy, yaw=0.0, size=80):
    return render_sprites([toy], torch.tensor([yaw]), [None], sprite_px=size).rgba[0].int()


def test_a_sprite_does_not_depend_on_its_neighbours_or_the_chunk():
    toys, yaw, poses = _sampled(("octopus", "doll", "vase"), 3)
    together = render_sprites(toys, yaw, poses, sprite_px=32, chunk=2)
    again = render_sprites(toys, yaw, poses, sprite_px=32, chunk=2)
    assert torch.equal(together.rgba, again.rgba)
    order = torch.randperm(len(toys), generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = render_sprites([toys[i] for i in order], yaw[order], [poses[i] for i in order], sprite_px=32, chunk=3)
    difference = (shuffled.rgba.int() - together.rgba[order].int()).abs()
    # Vector and scalar code of one function may differ in the last bit.
    assert int(difference.max()) <= 1
    assert torch.equal(shuffled.keypoints, together.keypoints[order])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_whole_and_stands_on_the_floor(kind):
    toys, yaw, poses = _sampled([kind], 8, seed=3)
    if "hat" in accessories_of(kind):
        toys[0] = Toy(kind, "red", accessories=(Accessory("hat", "blue"),), shape=(1.0,) * 5)
    alpha = render_sprites(toys, yaw, poses, sprite_px=64).rgba[:, 3]
    share = (alpha > 127).float().mean((1, 2))
    assert float(share.min()) > 0.1
    assert float(share.max()) < 0.7
    border = torch.cat([alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]], 1)
    assert int(border.max()) == 0
    lowest = (alpha > 127).any(2).float().mul(torch.arange(64)).amax(1) / 64
    assert float((lowest - FLOOR_FRACTION).abs().max()) < 0.1


def test_outlines_are_smooth_and_colours_reach_beyond_them():
    rgba = _one(Toy("ball", "red"))
    alpha = rgba[3]
    soft = (alpha > 0) & (alpha < 255)
    inside = alpha == 255
    edge = torch.nn.functional.max_pool2d(inside[None].float(), 3, 1, 1)[0].bool() & ~inside
    # Most pixels just outside the full ones are partly covered.
    assert int((soft & edge).sum()) > 0.5 * int(edge.sum())
    assert bool((rgba[0][edge] > 1.8 * rgba[1][edge]).all())


def test_the_main_colour_is_the_colour_asked_for():
    toys = [Toy("ball", colour) for colour in COLOURS]
    pictures = render_sprites(toys, torch.zeros(len(toys)), [None] * len(toys), sprite_px=32).rgba.int()
    for (colour, albedo), rgba in zip(COLOURS.items(), pictures, strict=True):
        seen = rgba[:3, rgba[3] == 255].float().mean(1) / 255
        nearest = min(
            COLOURS,
            key=lambda name: float((seen / seen.max() - torch.tensor(COLOURS[name]) / max(COLOURS[name])).norm()),
        )
        if colour not in ("white", "black", "brown"):
            assert nearest == colour
        assert float((seen - torch.tensor(albedo)).abs().max()) < 0.35


def _changed(plain, other):
    """How many pixels differ clearly."""
    difference = (plain[:3] - other[:3]).abs().amax(0) > 40
    return int(difference.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_every_mark_place_and_accessory_shows(kind):
    names = {"cheeks": "cheeks", "left eye": "eye_patch", "right eye": "eye_patch"}
    marks = {place: Mark(names.get(place, "star"), "red", place) for place in places_of(kind)}
    toys = [Toy(kind, "white"), *(Toy(kind, "white", marks=(mark,)) for mark in marks.values())]
    toys += [Toy(kind, "white", accessories=(Accessory(name, "red"),)) for name in accessories_of(kind)]
    pictures = render_sprites(
        toys, torch.full((len(toys),), 0.5), [None] * len(toys), sprite_px=64, chunk=16
    ).rgba.int()
    for what, picture in zip((*marks, *accessories_of(kind)), pictures[1:], strict=True):
        assert _changed(pictures[0], picture) > 12, what


@pytest.mark.parametrize("kind", FACED_KINDS)
def test_faces_differ_boldly(kind):
    toys = [Toy(kind, "yellow", face=face) for face in FACES]
    pictures = render_sprites(toys, torch.zeros(3), [None] * 3, sprite_px=48).rgba.int()
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert _changed(pictures[a], pictures[b]) > 12, (FACES[a], FACES[b])


def test_things_have_no_keypoints():
    sprites = render_sprites([Toy("car", "red")], torch.zeros(1), [None], sprite_px=16)
    assert not sprites.keypoints.any()


@pytest.mark.parametrize(
    ("yaw", "poses", "options", "told"),
    [
        (torch.zeros(2), [None], {}, "2 turns"),
        (torch.zeros(1), [], {}, "0 poses"),
        (torch.zeros(1), [None], {"sprite_px": 50}, "50"),
        (torch.zeros(1), [None], {"chunk": 0}, "chunk 0"),
    ],
)
def test_impossible_requests_are_refused(yaw, poses, options, told):
    with pytest.raises(InputError, match=told):
        render_sprites([Toy("ball", "red")], yaw, poses, **options)
