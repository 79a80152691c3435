"""The usual OpenPose picture: coloured limbs and joints on black."""

import torch
from torch import Tensor

_LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10),
    (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip

_COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip

_RADIUS = 0.012
_LIMB_DIMMING = 0.6


def draw_keyposes(
    keypoints: Tensor, *, width_px: int, height_px: int, device: torch.device | str | None = None
) -> Tensor:
    """Draw figures as coloured limbs (dimmed to 0.6, as the usual detectors do) and bright joints.

    Args:
        keypoints: float (B, n, 18, 3) in OpenPose-18 order: x and y in pixels, and 1 where visible; a figure of zeros
            is not drawn.
        width_px, height_px: Size of the pictures. Lines are 2.4 % of the height wide.
        device: Where they are drawn; by default where the keypoints are.

    Returns:
        uint8 (B, 3, H, W).
    """
    keypoints = keypoints.to(device or keypoints.device).float()
    count, figures = keypoints.shape[:2]
    across = (torch.arange(width_px, device=keypoints.device) + 0.5).view(1, 1, -1)
    down = (torch.arange(height_px, device=keypoints.device) + 0.5).view(1, -1, 1)
    radius = max(1.0, _RADIUS * height_px)
    picture = torch.zeros(count, 3, height_px, width_px, device=keypoints.device)

    def stroke(start: Tensor, end: Tensor, colour: tuple[int, int, int], brightness: float, thick: float) -> None:
        x0, y0, seen0 = (start[:, i].view(-1, 1, 1) for i in range(3))
        x1, y1, seen1 = (end[:, i].view(-1, 1, 1) for i in range(3))
        span_x, span_y = x1 - x0, y1 - y0
        along = ((across - x0) * span_x + (down - y0) * span_y) / (span_x**2 + span_y**2 + 1e-6)
        along = along.clamp(0, 1)
        away = ((across - x0 - along * span_x) ** 2 + (down - y0 - along * span_y) ** 2 + 1e-9).sqrt()
        cover = ((thick - away) + 0.5).clamp(0, 1) * (seen0 > 0.5) * (seen1 > 0.5)
        paint = torch.tensor(colour, device=keypoints.device).view(1, 3, 1, 1) * (brightness / 255)
        picture.add_((paint - picture) * cover[:, None])

    for figure in range(figures):
        points = keypoints[:, figure]
        for (start, end), colour in zip(_LIMBS, _COLOURS[: len(_LIMBS)], strict=True):
            stroke(points[:, start], points[:, end], colour, _LIMB_DIMMING, radius)
        for joint, colour in enumerate(_COLOURS):
            stroke(points[:, joint], points[:, joint], colour, 1.0, radius * 1.1)
    return (picture * 255).round().to(torch.uint8)
