import torch

from spectral_diffusion.toybox.keypose import draw_keyposes


def _figure() -> torch.Tensor:
    points = torch.zeros(1, 1, 18, 3)
    points[0, 0, :, 0] = torch.linspace(10, 90, 18)
    points[0, 0, :, 1] = torch.tensor([10.0, 50.0, 90.0]).repeat(6)
    points[0, 0, :, 2] = 1
    return points


def test_joints_have_the_colours_of_openpose() -> None:
    points = _figure()
    picture = draw_keyposes(points, width_px=100, height_px=100)

    def at(joint: int) -> list[int]:
        x, y = points[0, 0, joint, :2].long().tolist()
        return picture[0, :, y, x].tolist()

    assert at(0) == [255, 0, 0]
    assert at(4) == [170, 255, 0]
    assert at(10) == [0, 170, 255]
    assert at(17) == [255, 0, 85]


def test_limbs_are_dimmed() -> None:
    points = torch.zeros(1, 1, 18, 3)
    points[0, 0, 1] = torch.tensor([20.0, 50.0, 1.0])
    points[0, 0, 2] = torch.tensor([80.0, 50.0, 1.0])
    picture = draw_keyposes(points, width_px=100, height_px=100)
    assert picture[0, :, 50, 50].tolist() == [153, 0, 0]
    assert picture[0, :, 20].sum() == 0


def test_what_is_not_seen_is_not_drawn() -> None:
    points = _figure()
    points[..., 2] = 0
    assert draw_keyposes(points, width_px=100, height_px=100).sum() == 0
    assert draw_keyposes(points[:, :0], width_px=40, height_px=30).shape == (1, 3, 30, 40)


def test_two_figures_are_both_drawn() -> None:
    points = _figure()
    other = points.clone()
    other[..., 0] += 100
    both = draw_keyposes(torch.cat([points, other], 1), width_px=200, height_px=100)
    assert both[..., :100].any()
    assert (both[..., 100:].float() - both[..., :100].float()).abs().mean() < 1
