import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.scene import Placement, Render, Scene, render
from spectral_diffusion.toybox.skeleton import Pose
from spectral_diffusion.toybox.toy import Toy

BALL = Toy("ball", "red")
DOLL = Toy("doll", "blue", face="happy")


@pytest.fixture(scope="module")
def pair() -> tuple[Scene, Render]:
    placements = (Placement(BALL, 0.25, 0.85, 0.5), Placement(DOLL, 0.72, 0.88, 0.6, 0.1, Pose(left_shoulder=1.5)))
    scene = Scene(placements, "in a garden", 96, 64, seed=7)
    return scene, render([scene])[0]


def test_equal_scenes_give_equal_pictures_alone_and_in_a_batch(pair: tuple[Scene, Render]) -> None:
    scene, once = pair
    other = Scene((Placement(DOLL, 0.5, 0.9, 0.7),), "at night", 64, 64)
    again = render([other, scene])[1]
    for first, second in zip(once, again, strict=True):
        assert torch.equal(first, second)


def test_masks_share_each_pixel_and_lie_where_the_toys_stand(pair: tuple[Scene, Render]) -> None:
    scene, picture = pair
    masks = picture.masks.int()
    assert masks.sum(0).max() <= 255
    for placement, mask in zip(scene.placements, masks, strict=True):
        weight = mask.float() / mask.sum()
        x = (weight.sum(0) * (torch.arange(96) + 0.5)).sum() / 96
        lowest = (mask > 127).any(1).nonzero().max() / 64
        assert abs(x - placement.x) < 0.06
        assert abs(lowest - placement.y) < 0.08
        assert mask.max() == 255


def test_the_nearer_toy_hides_the_farther() -> None:
    behind, before = Placement(BALL, 0.45, 0.80, 0.6), Placement(DOLL, 0.55, 0.92, 0.6)
    together = render([Scene((behind, before), "at night", 64, 64)])[0]
    alone = render([Scene((behind,), "at night", 64, 64), Scene((before,), "at night", 64, 64)])
    assert torch.equal(together.masks[1], alone[1].masks[0])
    assert together.masks[0].int().sum() < 0.9 * alone[0].masks[0].int().sum()


def test_sketch_lines_lie_only_near_edges(pair: tuple[Scene, Render]) -> None:
    _, picture = pair
    masks = picture.masks.float() / 255
    somewhere = F.max_pool2d(masks.amax(0)[None, None], 3, 1, 1)[0]
    assert picture.sketch[somewhere == 0].sum() == 0
    ball = masks[:1][None]
    deep_inside = -F.max_pool2d(-ball, 7, 1, 3)[0] > 0.99
    assert deep_inside.sum() > 50
    assert (picture.sketch[deep_inside] > 60).float().mean() < 0.1
    edge = (F.max_pool2d(ball, 3, 1, 1) + F.max_pool2d(-ball, 3, 1, 1))[0] > 0.9
    assert picture.sketch[edge].float().mean() > 180


def test_figures_have_a_keypose_and_other_toys_none(pair: tuple[Scene, Render]) -> None:
    _, picture = pair
    assert picture.keypoints.shape == (2, 18, 3)
    assert picture.keypoints[0].abs().sum() == 0
    seen = picture.keypoints[1][picture.keypoints[1, :, 2] > 0]
    assert len(seen) >= 14
    near = F.max_pool2d(picture.masks[1].float()[None, None], 5, 1, 2)[0, 0]
    x, y = seen[:, 0].long().clamp(0, 95), seen[:, 1].long().clamp(0, 63)
    assert (near[y, x] > 127).float().mean() > 0.85
    assert picture.keypose[:, :, 60:].any()
    assert render([Scene((Placement(BALL, 0.5, 0.9, 0.5),), "at night", 32, 32)])[0].keypose.sum() == 0


@settings(max_examples=8)
@given(st.integers(16, 150), st.integers(16, 150), st.floats(0.2, 1.2))
def test_canvases_of_any_size(width_px: int, height_px: int, size: float) -> None:
    picture = render([Scene((Placement(BALL, 0.5, 0.8, size),), "on the beach", width_px, height_px)])[0]
    assert picture.image.shape == (3, height_px, width_px)
    assert picture.masks.shape == (1, height_px, width_px)
    assert picture.sketch.shape == (1, height_px, width_px)
    assert picture.keypose.shape == (3, height_px, width_px)
    assert picture.masks.any()


def test_an_empty_scene_is_its_background() -> None:
    picture = render([Scene((), "in the desert", 40, 30)])[0]
    assert picture.masks.shape == (0, 30, 40)
    assert picture.sketch.sum() == 0
    assert picture.image.float().mean() > 60


def test_toys_darken_the_ground_beside_them_only() -> None:
    empty, full = render(
        [
            Scene((), "on a white background", 64, 64),
            Scene((Placement(BALL, 0.5, 0.8, 0.5),), "on a white background", 64, 64),
        ]
    )
    free = F.max_pool2d(full.masks.float(), 3, 1, 1)[0] == 0
    change = full.image.int() - empty.image.int()
    assert change[:, free].max() <= 0
    assert change[:, 52].min() < -25
    assert change[:, :12].abs().max() == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: Scene((Placement(BALL, 0.8, 0.9, 0.5), Placement(DOLL, 0.2, 0.9, 0.5)), "at night"), "left to right"),
        (lambda: Scene((), "on the roof"), "on the roof"),
        (lambda: Scene((), "at night", 4, 128), "width_px"),
        (lambda: Scene((), "at night", light=float("nan")), "light"),
        (lambda: Placement(BALL, float("inf"), 0.9, 0.5), "x of the ball"),
        (lambda: Placement(BALL, 0.5, 0.9, 0.0), "size of the ball"),
    ],
)
def test_impossible_scenes_are_refused(wrong: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        wrong()  # type: ignore[operator]


@pytest.mark.gpu
def test_cpu_and_gpu_agree_within_one_step(pair: tuple[Scene, Render]) -> None:
    scene, on_cpu = pair
    on_gpu = render([scene], "cuda")[0]
    difference = (on_cpu.image.int() - on_gpu.image.int()).abs()
    assert (difference > 1).float().mean() < 1e-3
    assert torch.allclose(on_cpu.keypoints, on_gpu.keypoints, atol=1e-3)
