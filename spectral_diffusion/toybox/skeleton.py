"""Articulated figures: joint angles, and the 2-D keypoints they give in OpenPose-18 order."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch

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


def sample_pose(generator: torch.Generator) -> Pose:
    """A random natural pose: arms anywhere between hanging and raised, legs planted, a slight lean.

    Args:
        generator: CPU generator.
    """
    low = torch.tensor([0.25, 0.25, -0.4, -0.4, 0.05, 0.05, 0.0, 0.0, -0.12, -0.2])
    high = torch.tensor([2.5, 2.5, 1.3, 1.3, 0.6, 0.6, 0.35, 0.35, 0.12, 0.2])
    angles = low + (high - low) * torch.rand(len(low), generator=generator)
    return Pose(*(round(float(angle), 4) for angle in angles))
