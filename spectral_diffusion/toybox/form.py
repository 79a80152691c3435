"""The numbers a body is built from: proportions, head and mark frames, what is worn, joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spectral_diffusion.toybox.primitives import Vector, minus, tilted, turned
from spectral_diffusion.toybox.skeleton import HEAD_RADIUS, JOINTS, STANDING, Pose, joint_positions
from spectral_diffusion.toybox.toy import ACCESSORIES, FIGURES, SHAPE_LENGTH, Toy

_HEAD_TURN = 0.6
"""Heads turn this part of a toy's yaw back to the viewer, so that faces stay visible."""


@dataclass(frozen=True)
class Frame:
    """A place on a body: where marks or a face are painted, in units of `radius` about `centre`.

    Args:
        centre: In the toy's frame.
        radius: Its unit.
        follow: Which part of the toy's yaw it turns back to the viewer.
    """

    centre: tuple[float, float, float]
    radius: float
    follow: float = 0.0


def _names() -> tuple[str, ...]:
    frames = [
        f"{frame}_{value}"
        for frame in ("head", "mark")
        for value in ("x", "y", "z", "radius", "cos", "sin", "tilt_cos", "tilt_sin")
    ]
    shape = [f"shape_{i}" for i in range(SHAPE_LENGTH)]
    return (*shape, "yaw_cos", "yaw_sin", *frames, *ACCESSORIES, "happy", "surprised")


_ROW = {name: row for row, name in enumerate(_names())}
_JOINT_ROW = {name: len(_ROW) + 3 * i for i, name in enumerate(JOINTS)}


class Form:
    """Named numbers, one per ray.

    Args:
        values: (rows, R); rows as `forms` makes them.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __getitem__(self, name: str) -> Tensor:
        return self.values[_ROW[name]]

    def rays(self, indices: Tensor) -> Form:
        """The form at these rays."""
        return Form(self.values.index_select(1, indices))

    def between(self, i: int, low: float, high: float) -> Tensor:
        """Proportion i, mapped from [0, 1] to [low, high]."""
        return low + (high - low) * self[f"shape_{i}"]

    def joint(self, name: str) -> Vector:
        """A joint's position; figures only."""
        row = _JOINT_ROW[name]
        return self.values[row], self.values[row + 1], self.values[row + 2]

    def local(self, p: Vector, frame: str) -> Vector:
        """Points in the frame "head" or "mark": its centre is 0, its radius 1, and it looks along +z."""
        q = minus(p, (self[f"{frame}_x"], self[f"{frame}_y"], self[f"{frame}_z"]))
        q = turned(q, self[f"{frame}_cos"], self[f"{frame}_sin"])
        q = tilted(q, self[f"{frame}_tilt_cos"], self[f"{frame}_tilt_sin"])
        scale = 1 / self[f"{frame}_radius"]
        return q[0] * scale, q[1] * scale, q[2] * scale


@dataclass(frozen=True)
class Forms:
    """What belongs to each toy of one kind.

    values: (rows, n), for `Form`.
    joints: (n, joints, 3) of figures, else None.
    head_tilt, head_turn, head_radius: (n,).
    """

    values: Tensor
    joints: Tensor | None
    head_tilt: Tensor
    head_turn: Tensor
    head_radius: Tensor


def forms(toys: Sequence[Toy], yaw_radians: Tensor, poses: Sequence[Pose | None], frames: Mapping[str, Frame]) -> Forms:
    """Collects the numbers of toys that are all of one kind, on the CPU."""
    count = len(toys)
    yaw = yaw_radians.to("cpu", torch.float32)
    columns: dict[str, Tensor] = {"yaw_cos": yaw.cos(), "yaw_sin": yaw.sin()}
    shape = torch.tensor([toy.shape for toy in toys], dtype=torch.float32)
    columns |= {f"shape_{i}": shape[:, i] for i in range(SHAPE_LENGTH)}
    for name in ACCESSORIES:
        columns[name] = torch.tensor([float(any(worn.name == name for worn in toy.accessories)) for toy in toys])
    for name in ("happy", "surprised"):
        columns[name] = torch.tensor([float(toy.face == name) for toy in toys])

    joints, tilt = None, torch.zeros(count)
    positions = {name: torch.tensor(frame.centre).expand(count, 3) for name, frame in frames.items()}
    if toys[0].kind in FIGURES:
        given = [pose or STANDING for pose in poses]
        joints = joint_positions(given)
        tilt = torch.tensor([pose.lean + pose.head_tilt for pose in given])
        positions["head"] = joints[:, JOINTS.index("head")]
        pelvis, neck = joints[:, JOINTS.index("pelvis")], joints[:, JOINTS.index("neck")]
        positions["mark"] = pelvis + (neck - pelvis) * 0.45
    for name, frame in frames.items():
        turn = -(_HEAD_TURN if name == "head" else frame.follow) * yaw
        radius = torch.full((count,), HEAD_RADIUS if name == "head" and joints is not None else frame.radius)
        if name == "head":
            radius = radius * (0.95 + 0.1 * shape[:, 4])
        frame_tilt = tilt if name == "head" else torch.zeros(count)
        values = (*positions[name].unbind(1), radius, turn.cos(), turn.sin(), frame_tilt.cos(), frame_tilt.sin())
        for suffix, value in zip(("x", "y", "z", "radius", "cos", "sin", "tilt_cos", "tilt_sin"), values, strict=True):
            columns[f"{name}_{suffix}"] = value
    table = [columns.get(name, torch.zeros(count)) for name in _ROW]
    if joints is not None:
        table.extend(joints.reshape(count, -1).unbind(1))
    head_turn = -_HEAD_TURN * yaw
    return Forms(torch.stack(table), joints, tilt, head_turn, columns.get("head_radius", torch.ones(count)))


def pattern_axis(kind: str) -> int:
    """Along which axis stripes follow each other: from head to tail on four legs, across flat things, else upwards."""
    return {"dog": 2, "tortoise": 2, "duck": 2, "car": 2, "chair": 0, "table": 0}.get(kind, 1)
