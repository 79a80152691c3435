"""Where each toy is: a picture to one mask a toy.

A small U-Net (Ronneberger et al. 2015) tells for each pixel whether it is toy and where the middle of its toy lies, as
Panoptic-DeepLab does (Cheng et al. 2020): peaks of the middles are the toys, each pixel goes to the peak it points at.
"""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from spectral_diffusion.toybox.instrument.layers import Residual

STEP_PX = 16
OFFSET_PX = 32.0
"""Unit of the offsets."""
WIDTHS = (16, 32, 56, 80, 112)
_PEAK, _PEAK_REACH_PX, _LEAST_PX = 0.25, 11, 24
_SPREAD_PX = 4.0


class Sight(NamedTuple):
    """toy: (n, 1, h, w) logits. middle: (n, 1, h, w) logits. offset: (n, 2, h, w), x and y to the middle."""

    toy: Tensor
    middle: Tensor
    offset: Tensor


class FoundToy(NamedTuple):
    """A toy in a picture.

    mask: bool (h, w), on the CPU. box: left, top, right, bottom in px; right and bottom lie behind the last pixel.
    middle_px: x and y of its peak.
    """

    mask: Tensor
    box: tuple[int, int, int, int]
    middle_px: tuple[int, int]


class ToyFinder(nn.Module):
    """The network: pictures in [-1, 1] of sides that are multiples of 16 to `Sight`."""

    def __init__(self) -> None:
        super().__init__()
        widths = WIDTHS
        self.enter = nn.Conv2d(3, widths[0], 3, 1, 1)
        self.down = nn.ModuleList(Residual(a, b, 2) for a, b in pairwise(widths))
        self.deep = nn.Sequential(Residual(widths[-1], widths[-1]), Residual(widths[-1], widths[-1]))
        self.up = nn.ModuleList(Residual(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.leave = nn.Conv2d(widths[0], 4, 1)

    def forward(self, images: Tensor) -> Sight:
        """(n, 3, h, w) to what is seen in each pixel."""
        x = F.relu(self.enter(images))
        passed = []
        for block in self.down:
            passed.append(x)
            x = block(x)
        x = self.deep(x)
        for block, before in zip(self.up, reversed(passed), strict=True):
            x = F.interpolate(x, size=before.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, before], 1))
        seen = self.leave(x)
        return Sight(seen[:, :1], seen[:, 1:2], seen[:, 2:])


def load_finder(path: Path, device: torch.device | str = "cpu") -> ToyFinder:
    """The trained network."""
    finder = ToyFinder()
    finder.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return finder.to(device).eval()


@torch.no_grad()
def find_toys(finder: ToyFinder, images: Tensor) -> list[list[FoundToy]]:
    """The toys of each picture, from left to right.

    Args:
        finder: In eval mode.
        images: uint8 (n, 3, h, w) of one size, at least 16 px a side.
    """
    height, width = images.shape[-2:]
    device = next(finder.parameters()).device
    signal = images.to(device).float() / 127.5 - 1
    signal = F.pad(signal, (0, -width % STEP_PX, 0, -height % STEP_PX), mode="replicate")
    seen = Sight(*(part[..., :height, :width].float().cpu() for part in finder(signal)))
    return [instances(Sight(*(part[row] for part in seen))) for row in range(len(images))]


def aims_of(masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the network learns from the true masks.

    Args:
        masks: uint8 (n, places, h, w), visible share of each toy by 255; empty for no toy.

    Returns:
        Share of toy (n, 1, h, w); the middles as bells of 1 (n, 1, h, w); offsets in `OFFSET_PX` (n, 2, h, w).
    """
    share = masks.float() / 255
    height, width = masks.shape[-2:]
    x = torch.arange(width, device=masks.device).float()
    y = torch.arange(height, device=masks.device).float()
    weight = share.sum((2, 3)).clamp(min=1e-6)
    middle_x = (share.sum(2) * x).sum(-1) / weight
    middle_y = (share.sum(3) * y).sum(-1) / weight
    there = (weight > 1).float()[..., None, None]
    to_x = middle_x[..., None, None] - x
    to_y = middle_y[..., None, None] - y[:, None]
    bells = torch.exp(-(to_x**2 + to_y**2) / (2 * _SPREAD_PX**2)) * there
    owner = share.argmax(1, keepdim=True)
    offset = torch.stack([to.expand_as(share).gather(1, owner)[:, 0] for to in (to_x, to_y)], 1) / OFFSET_PX
    return share.sum(1, keepdim=True).clamp(max=1), bells.amax(1, keepdim=True), offset


def finding_loss(seen: Sight, aims: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Cross entropy of toy and middles (these weighted up, being rare), and distance of offsets inside toys."""
    toy, middle, offset = aims
    loss = F.binary_cross_entropy_with_logits(seen.toy, toy)
    rare = 1 + 20 * middle
    loss = loss + 0.5 * (F.binary_cross_entropy_with_logits(seen.middle, middle, reduction="none") * rare).mean()
    inside = (toy > 0.5).float()
    distance = F.smooth_l1_loss(seen.offset, offset, reduction="none", beta=0.1)
    return loss + 2 * (distance * inside).sum() / (2 * inside.sum()).clamp(min=1)


def instances(seen: Sight) -> list[FoundToy]:
    """The toys in what is seen of one picture: parts (1 or 2, h, w)."""
    inside = seen.toy[0] > 0
    heat = seen.middle[0].sigmoid()
    highest = F.max_pool2d(heat[None, None], _PEAK_REACH_PX, 1, _PEAK_REACH_PX // 2)[0, 0]
    peaks = ((heat == highest) & (heat > _PEAK)).nonzero()
    if not len(peaks) or not bool(inside.any()):
        return []
    rows, columns = inside.nonzero(as_tuple=True)
    aimed_x = columns + seen.offset[0, rows, columns] * OFFSET_PX
    aimed_y = rows + seen.offset[1, rows, columns] * OFFSET_PX
    distance = (aimed_x[:, None] - peaks[:, 1]) ** 2 + (aimed_y[:, None] - peaks[:, 0]) ** 2
    owner = distance.argmin(1)
    found = []
    for number, (y, x) in enumerate(peaks.tolist()):
        own = owner == number
        if int(own.sum()) < _LEAST_PX:
            continue
        mask = torch.zeros_like(inside)
        mask[rows[own], columns[own]] = True
        own_rows, own_columns = rows[own], columns[own]
        box = (int(own_columns.min()), int(own_rows.min()), int(own_columns.max()) + 1, int(own_rows.max()) + 1)
        found.append(FoundToy(mask, box, (x, y)))
    return sorted(found, key=lambda toy: toy.middle_px[0])
