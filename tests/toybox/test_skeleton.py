"""Laws of figures: keypoints lie on the figure, feet on the floor, left is left."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion.errors import InputError
from spectral_diffusion.toybox.skeleton import (
    ANKLE_HEIGHT,
    JOINTS,
    KEYPOINTS,
    Pose,
    joint_positions,
    sample_pose,
)
from spectral_diffusion.toybox.sprites import render_sprites, sample_yaw
from spectral_diffusion.toybox.toy import FIGURES, sample_toy

_SIZE = 80


def _figures(kind, seed, count):
    generator = torch.Generator().manual_seed(seed)
    toys = [sample_toy(kind, generator).as_toy() for _ in range(count)]
    yaw = torch.tensor([sample_yaw(kind, generator) for _ in range(count)])
    return toys, yaw, [sample_pose(generator) for _ in range(count)]


@pytest.mark.parametrize("kind", FIGURES)
def test_keypoints_lie_on_the_figure(kind):
    sprites = render_sprites(*_figures(kind, 1, 12), sprite_px=_SIZE, chunk=12)
    mask = torch.nn.functional.max_pool2d((sprites.rgba[:, 3:] > 0).float(), 3, 1, 1)[:, 0]
    x, y = (sprites.keypoints[..., i] * _SIZE for i in (0, 1))
    assert float(torch.stack([x, y]).min()) >= 0 and float(torch.stack([x, y]).max()) < _SIZE
    for figure in range(len(mask)):
        on = mask[figure][y[figure].long(), x[figure].long()]
        assert bool((on == 1).all()), [name for name, hit in zip(KEYPOINTS, on, strict=True) if hit != 1]
    assert bool((sprites.keypoints[..., 2] == 1).all())


@given(st.integers(0, 2**32))
def test_sampled_poses_are_functions_of_the_generator_and_stand_on_the_floor(seed):
    pose = sample_pose(torch.Generator().manual_seed(seed))
    assert pose == sample_pose(torch.Generator().manual_seed(seed))
    joints = joint_positions([pose])[0]
    ankles = [float(joints[JOINTS.index(f"{side}_ankle"), 1]) for side in ("left", "right")]
    assert min(ankles) == pytest.approx(ANKLE_HEIGHT, abs=1e-6)


@given(st.integers(0, 2**32))
def test_bones_keep_their_length_in_every_pose(seed):
    joints = joint_positions([sample_pose(torch.Generator().manual_seed(seed)), Pose()])

    def bone(a, b):
        return (joints[:, JOINTS.index(a)] - joints[:, JOINTS.index(b)]).norm(dim=-1)

    for side in ("left", "right"):
        for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
            lengths = bone(f"{side}_{a}", f"{side}_{b}")
            assert float(lengths[0]) == pytest.approx(float(lengths[1]), rel=1e-5)


def test_the_figures_own_left_is_on_the_viewers_right():
    toys, _, _ = _figures("doll", 0, 1)
    points = render_sprites(toys, torch.zeros(1), [Pose()], sprite_px=32).keypoints[0]
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "eye", "ear"):
        left, right = KEYPOINTS.index(f"left_{name}"), KEYPOINTS.index(f"right_{name}")
        assert points[left, 0] > points[right, 0]


def test_a_raised_arm_moves_the_picture_and_its_keypoints():
    toys, _, _ = _figures("robot", 0, 1)
    down = render_sprites(toys, torch.zeros(1), [Pose(left_shoulder=0.3)], sprite_px=_SIZE)
    up = render_sprites(toys, torch.zeros(1), [Pose(left_shoulder=2.3)], sprite_px=_SIZE)
    wrist = KEYPOINTS.index("left_wrist")
    assert up.keypoints[0, wrist, 1] < down.keypoints[0, wrist, 1] - 0.1
    x, y = (int(up.keypoints[0, wrist, i] * _SIZE) for i in (0, 1))
    assert up.rgba[0, 3, y, x] == 255
    assert down.rgba[0, 3, y, x] == 0


@pytest.mark.parametrize("angle", [math.nan, math.inf, 4.0])
def test_an_impossible_angle_is_refused(angle):
    with pytest.raises(InputError, match="left_elbow"):
        Pose(left_elbow=angle)
