"""The few strokes that every procedural background is painted with.

A brush paints a batch of pictures at once. All randomness is drawn from one CPU generator a picture, so a seed gives
the same picture alone or in a batch, on a CPU or a GPU. Every stroke is continuous in its coordinates (no bare floor or
comparison), so that a last-bit difference between devices stays a last-bit difference in the picture.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class Brush:
    """Coordinates and random strokes for n pictures of one size.

    Lengths are in canvas heights: ``y`` runs from 0 (top) to 1, ``x`` from 0 to ``aspect``.

    Args:
        seeds: One seed a picture, n in all.
        width_px, height_px: Size of the pictures.
        device: Where the pictures are painted.
    """

    def __init__(self, seeds: Sequence[int], width_px: int, height_px: int, device: torch.device | str) -> None:
        self.count = len(seeds)
        self.width_px = width_px
        self.height_px = height_px
        self.aspect = width_px / height_px
        self.device = torch.device(device)
        self._generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self._x_cpu = (torch.arange(width_px) + 0.5) / height_px
        self._y_cpu = (torch.arange(height_px) + 0.5) / height_px
        self.x = self._x_cpu.to(self.device).view(1, 1, 1, -1)
        self.y = self._y_cpu.to(self.device).view(1, 1, -1, 1)

    def table(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1): (n, *shape) float32 on the brush's device."""
        rows = [torch.rand(shape, generator=generator) for generator in self._generators]
        return torch.stack(rows).to(self.device)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """One number a picture in [low, high): (n, 1, 1, 1)."""
        return self.table(1, 1, 1) * (high - low) + low

    def chance(self, probability: float) -> Tensor:
        """1 with the given probability, else 0, one a picture: (n, 1, 1, 1)."""
        return (self.table(1, 1, 1) < probability).float()

    def colour(self, low: Sequence[float], high: Sequence[float] | None = None) -> Tensor:
        """An RGB colour: the given one, or one between two on a straight line with a little freedom a channel.

        Returns (1, 3, 1, 1) for one colour, (n, 3, 1, 1) for a range.
        """
        start = torch.tensor(tuple(low), device=self.device).view(1, 3, 1, 1)
        if high is None:
            return start
        end = torch.tensor(tuple(high), device=self.device).view(1, 3, 1, 1)
        along = self.uniform() * 0.8 + self.table(3, 1, 1) * 0.2
        return start + (end - start) * along

    def noise(self, across: float, down: float, octaves: int = 3) -> Tensor:
        """Smooth noise around 0 (about -0.5..0.5): bicubic value noise, each octave twice as fine and half as strong.

        Args:
            across, down: Cells in one canvas height, of the coarsest octave.

        Returns:
            (n, 1, H, W).
        """
        total: Tensor | float = 0.0
        strength = 1.0
        for _ in range(octaves):
            total = total + strength * self._lattice(across, down, self.height_px)
            strength, across, down = strength * 0.5, across * 2, down * 2
        return total  # type: ignore[return-value]

    def profile(self, across: float, octaves: int = 3) -> Tensor:
        """Noise along x only, for horizons: (n, 1, 1, W)."""
        total: Tensor | float = 0.0
        strength = 1.0
        for _ in range(octaves):
            total = total + strength * self._lattice(across, 1, 2)[:, :, :1]
            strength, across = strength * 0.5, across * 2
        return total  # type: ignore[return-value]

    def _lattice(self, across: float, down: float, height_px: int) -> Tensor:
        columns, rows = max(1, round(across * self.aspect)), max(1, round(down))
        grid = self.table(1, rows + 1, columns + 1) - 0.5
        return F.interpolate(grid, (height_px, self.width_px), mode="bicubic", align_corners=True)

    def inside(self, distance: Tensor, softness_px: float = 1.0) -> Tensor:
        """How much of a pixel lies inside: 0 to 1 over about ``softness_px`` at the zero of a signed distance.

        ``distance`` is in canvas heights, positive inside.
        """
        return torch.sigmoid(distance * (self.height_px * 3.0 / softness_px))

    def cells(self, position: Tensor, table: Tensor, softness: float = 0.06) -> Tensor:
        """A value a cell, with soft borders: cell i covers position i to i + 1.

        Args:
            position: (n or 1, 1, h, w) in cells.
            table: (n, C, K) value of each cell; positions outside take the first or last.
            softness: Share of a cell over which it turns into the next.

        Returns:
            (n, C, h, w).
        """
        channels, last = table.shape[1], table.shape[2] - 1
        height, width = position.shape[2], position.shape[3]
        position = position.expand(self.count, 1, height, width)
        index = torch.floor(position)
        turn = ((position - index - (1 - softness)) / softness).clamp(0, 1)
        flat = index.long().view(self.count, 1, -1).expand(-1, channels, -1)
        here = table.gather(2, flat.clamp(0, last)).view(self.count, channels, height, width)
        following = table.gather(2, (flat + 1).clamp(0, last)).view(self.count, channels, height, width)
        return here + (following - here) * turn

    def dots(
        self, density: float, chance: float, radius: tuple[float, float], squash: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Scattered soft discs, at most one in each cell of a grid.

        Args:
            density: Cells in one canvas height.
            chance: Share of the cells that hold a disc.
            radius: Smallest and largest radius in cells, below 0.45.
            squash: Height of a disc by its width.

        Returns:
            Coverage (n, 1, H, W), and three random numbers in [0, 1) for each pixel's disc (n, 3, H, W).
        """
        rows, columns = math.ceil(density) + 1, math.ceil(density * self.aspect) + 1
        table = self.table(7, rows, columns)
        column, row = (self._x_cpu * density).floor().long(), (self._y_cpu * density).floor().long()
        own = table[:, :, row][:, :, :, column]
        across = (self._x_cpu * density - column).to(self.device).view(1, 1, 1, -1)
        down = (self._y_cpu * density - row).to(self.device).view(1, 1, -1, 1)
        size = radius[0] + (radius[1] - radius[0]) * own[:, 2:3]
        room = 0.96 - 2 * size
        x = across - (size + 0.02 + room * own[:, 0:1])
        y = (down - (size + 0.02 + room * own[:, 1:2])) / squash
        distance = (size - (x * x + y * y + 1e-9).sqrt()) / density
        return self.inside(distance) * (own[:, 3:4] < chance).float(), own[:, 4:7]


def mix(under: Tensor, over: Tensor | float, amount: Tensor | float) -> Tensor:
    """``over`` painted on ``under`` with the given opacity."""
    return under + (over - under) * amount
