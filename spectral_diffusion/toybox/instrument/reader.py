"""What a toy looks like: a toy cut out of a picture to its kind, colours, face, marks and what it wears.

A small residual network over squares of 96 px with a fourth channel that says which pixels are meant.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from spectral_diffusion.toybox.instrument.attributes import ATTRIBUTES
from spectral_diffusion.toybox.instrument.finder import FoundToy
from spectral_diffusion.toybox.instrument.layers import Residual

CUT_PX = 96
MARGIN = 1.2
"""Side of the square that is cut out, in longer sides of the toy's box."""
_STAGES = ((32, 1), (56, 2), (80, 2), (112, 2), (144, 1))


class ToyReader(nn.Module):
    """The network: squares (n, 4, 96, 96), colours and mask in [-1, 1], to the logits of all attributes in a row."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [nn.Conv2d(4, _STAGES[0][0], 3, 1, 1)]
        before = _STAGES[0][0]
        for number, (width, count) in enumerate(_STAGES):
            blocks.append(Residual(before, width, 2 if number else 1))
            blocks += [Residual(width, width) for _ in range(count - 1)]
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.thin = nn.Dropout(0.2)
        self.heads = nn.Linear(2 * before, sum(map(len, ATTRIBUTES.values())))

    def forward(self, squares: Tensor) -> Tensor:
        """(n, 4, 96, 96) to (n, all classes)."""
        x = self.blocks(squares)
        return self.heads(self.thin(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)))


def load_reader(path: Path, device: torch.device | str = "cpu") -> ToyReader:
    """The trained network."""
    reader = ToyReader()
    reader.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return reader.to(device).eval()


def split_heads(logits: Tensor) -> dict[str, Tensor]:
    """The logits (n, classes) of each attribute by its name."""
    parts = logits.split([len(classes) for classes in ATTRIBUTES.values()], -1)
    return dict(zip(ATTRIBUTES, parts, strict=True))


def reading_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of the cross entropies of all attributes; labels (n, len(ATTRIBUTES)) as from `attributes.labels_of`."""
    parts = split_heads(logits.float()).values()
    return torch.stack([F.cross_entropy(part, labels[:, row]) for row, part in enumerate(parts)]).sum()


def cut_squares(images: Tensor, masks: Tensor, boxes: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Squares around boxes, proportions kept.

    Args:
        images: uint8 (n, 3, h, w).
        masks: (n, h, w), bool or visible share by 255.
        boxes: (n, 4), left, top, right, bottom in px.
        scale: (n,) side of the square in longer sides of the box.
        shift: (n, 2) of its middle, in sides of the square.

    Returns:
        float (n, 4, 96, 96) in [-1, 1].
    """
    share = masks.float() if masks.dtype == torch.bool else masks.float() / 255
    pictures = torch.cat([images.float() / 127.5 - 1, share[:, None] * 2 - 1], 1)
    size = torch.tensor([images.shape[-1], images.shape[-2]], device=images.device)
    low, high = boxes[:, :2].float(), boxes[:, 2:].float()
    side = (high - low).amax(1) * scale
    middle = (low + high) / 2 + shift * side[:, None]
    matrix = torch.zeros(len(images), 2, 3, device=images.device)
    matrix[:, 0, 0], matrix[:, 1, 1] = side / size[0], side / size[1]
    matrix[:, :, 2] = 2 * middle / size - 1
    grid = F.affine_grid(matrix, [len(images), 4, CUT_PX, CUT_PX], align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def squares_of(images: Tensor, toys: Sequence[FoundToy]) -> Tensor:
    """The squares of found toys; images uint8 (n, 3, h, w), one for each toy."""
    masks = torch.stack([toy.mask for toy in toys]).to(images.device)
    boxes = torch.tensor([toy.box for toy in toys], device=images.device)
    count = len(toys)
    scale = torch.full((count,), MARGIN, device=images.device)
    return cut_squares(images, masks, boxes, scale, torch.zeros(count, 2, device=images.device))


@torch.no_grad()
def read_toys(reader: ToyReader, images: Tensor, toys: Sequence[FoundToy]) -> list[dict[str, str]]:
    """The looks of found toys, as `attributes.looks_of` says them.

    Args:
        reader: In eval mode.
        images: uint8 (n, 3, h, w), for each toy the picture it was found in.
        toys: n of them.
    """
    if not toys:
        return []
    device = next(reader.parameters()).device
    logits = reader(squares_of(images.to(device), toys))
    chosen = {name: part.argmax(1).tolist() for name, part in split_heads(logits).items()}
    return [{name: classes[chosen[name][row]] for name, classes in ATTRIBUTES.items()} for row in range(len(toys))]
