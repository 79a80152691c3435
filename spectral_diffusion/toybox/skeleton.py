"""Articulated figures: joint angles, and the 2-D keypoints they give in OpenPose-18 order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from spectral_diffusion.errors import InputError

KEYPOINTS = (
    "nose", "neck",
    "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle",
    "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
"""The OpenPose-18 (COCO) order. Left and right are the figure's own: its right hand is on the viewer's left."""


@dataclass(frozen=True)
class Pose:
    """Joint angles of a figure, in radians.

    Args:
        left_shoulder, right_shoulder: Upper arm from hanging down (0) outwards; pi/2 is level, up to pi.
        left_elbow, right_elbow: Forearm against the upper arm; positive bends it upwards.
        left_hip, right_hip: Leg outwards from straight down.
        left_knee, right_knee: Lower leg against the upper leg; positive bends it inwards.
        lean: Torso to the figure's left.
        head_tilt: Head to the figure's left, against the torso.

    Raises:
        InputError: An angle is not finite or beyond pi.
    """

    left_shoulder: float = 0.6
    right_shoulder: float = 0.6
    left_elbow: float = 0.2
    right_elbow: float = 0.2
    left_hip: float = 0.12
    right_hip: float = 0.12
    left_knee: float = 0.0
    right_knee: float = 0.0
    lean: float = 0.0
    head_tilt: float = 0.0

    def __post_init__(self) -> None:
        for angle in fields(self):
            value = getattr(self, angle.name)
            if not math.isfinite(value) or abs(value) > math.pi:
                raise InputError(f"the angle {angle.name} is {value!r}", "give radians between -pi and pi")


STANDING = Pose()
"""How a figure stands when no pose is given."""

JOINTS = (
    "pelvis", "neck", "head",
    "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle",
    "left_hip", "left_knee", "left_ankle",
)  # fmt: skip
"""The joints of a figure; all but pelvis and head are keypoints too."""

ANKLE_HEIGHT = 0.08
HEAD_RADIUS = 0.41
_SHIN, _THIGH, _HIP_HALF_WIDTH = 0.15, 0.15, 0.12
_TORSO, _SHOULDER_HALF_WIDTH, _UPPER_ARM, _FOREARM = 0.34, 0.21, 0.25, 0.23
_NECK_TO_HEAD = 0.37


def sample_pose(generator: torch.Generator) -> Pose:
    """A random natural pose: arms anywhere between hanging and raised, legs planted, a slight lean.

    Args:
        generator: CPU generator.
    """
    low = torch.tensor([0.3, 0.3, -0.3, -0.3, 0.05, 0.05, 0.0, 0.0, -0.12, -0.18])
    high = torch.tensor([2.3, 2.3, 1.3, 1.3, 0.6, 0.6, 0.4, 0.4, 0.12, 0.18])
    angles = low + (high - low) * torch.rand(len(low), generator=generator)
    # A forearm that points further up would go into the head.
    angles[2:4] = torch.minimum(angles[2:4], 2.35 - angles[:2])
    return Pose(*(round(float(angle), 4) for angle in angles))


def joint_positions(poses: Sequence[Pose]) -> Tensor:
    """Where the joints are: float32 (n, len(JOINTS), 3), in the toy's frame, the lower foot on the floor (y = 0)."""
    angle = {
        field.name: torch.tensor([getattr(pose, field.name) for pose in poses], dtype=torch.float32)
        for field in fields(Pose)
    }
    zero = torch.zeros(len(poses))

    def step(start: Tensor, direction: Tensor, size: float, forward: float) -> Tensor:
        """From a joint, at an angle from straight down towards +x."""
        offset = torch.stack([size * direction.sin(), -size * direction.cos(), zero + forward], -1)
        return start + offset

    joints = {"pelvis": torch.zeros(len(poses), 3)}
    lean = angle["lean"]
    joints["neck"] = step(joints["pelvis"], math.pi - lean, _TORSO, 0.0)
    joints["head"] = step(joints["neck"], math.pi - lean - angle["head_tilt"], _NECK_TO_HEAD, 0.02)
    for side, sign in (("right", -1.0), ("left", 1.0)):
        shoulder = step(joints["neck"], -lean + sign * math.pi / 2, _SHOULDER_HALF_WIDTH, 0.0)
        arm = sign * angle[f"{side}_shoulder"] - lean
        elbow = step(shoulder, arm, _UPPER_ARM, 0.03)
        joints[f"{side}_shoulder"], joints[f"{side}_elbow"] = shoulder, elbow
        joints[f"{side}_wrist"] = step(elbow, arm + sign * angle[f"{side}_elbow"], _FOREARM, 0.06)
        leg = sign * angle[f"{side}_hip"]
        hip = joints["pelvis"] + torch.tensor([sign * _HIP_HALF_WIDTH, 0.0, 0.0])
        knee = step(hip, leg, _THIGH, 0.05)
        joints[f"{side}_hip"], joints[f"{side}_knee"] = hip, knee
        joints[f"{side}_ankle"] = step(knee, leg - sign * angle[f"{side}_knee"], _SHIN, -0.05)
    positions = torch.stack([joints[name] for name in JOINTS], 1)
    lowest = torch.minimum(joints["right_ankle"][:, 1], joints["left_ankle"][:, 1])
    positions[..., 1] += (ANKLE_HEIGHT - lowest)[:, None]
    return positions


def keypoint_positions(joints: Tensor, tilt: Tensor, turn: Tensor, head_radius: Tensor) -> Tensor:
    """The OpenPose-18 keypoints in the toy's frame, (n, 18, 3).

    Args:
        joints: (n, len(JOINTS), 3), from `joint_positions`.
        tilt: (n,) radians, the head's tilt to the figure's left, the lean included.
        turn: (n,) radians, the head's turn about the upright axis.
        head_radius: (n,).
    """
    local = torch.tensor(
        [[0.0, -0.1, 0.97], [-0.36, 0.0, 0.92], [0.36, 0.0, 0.92], [-0.93, 0.0, 0.0], [0.93, 0.0, 0.0]]
    )
    x, y, z = (local * head_radius[:, None, None]).unbind(-1)
    cosine, sine = tilt.cos()[:, None], tilt.sin()[:, None]
    x, y = cosine * x + sine * y, cosine * y - sine * x
    cosine, sine = turn.cos()[:, None], turn.sin()[:, None]
    on_head = torch.stack([cosine * x - sine * z, y, sine * x + cosine * z], -1) + joints[:, JOINTS.index("head"), None]
    head_names = ("nose", "right_eye", "left_eye", "right_ear", "left_ear")
    return torch.stack(
        [
            on_head[:, head_names.index(name)] if name in head_names else joints[:, JOINTS.index(name)]
            for name in KEYPOINTS
        ],
        1,
    )
