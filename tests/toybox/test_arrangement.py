import torch
from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion.toybox.arrangement import Extent, arrange, measure

_BATCH = 64


def _scenes(seed: int) -> tuple[Extent, torch.Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)

    def between(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(_BATCH, 3, generator=generator)

    extent = Extent(between(0.1, 0.49), between(0.1, 0.49), between(0.2, 0.88), between(0.0, 0.08))
    count = 1 + torch.randint(3, (_BATCH,), generator=generator)
    return extent, torch.arange(3) < count[:, None], generator


@given(st.integers(0, 2**31), st.floats(0.9, 2.2))
def test_toys_stand_in_order_inside_and_hardly_overlap(seed: int, aspect: float) -> None:
    extent, shown, generator = _scenes(seed)
    places = arrange(extent, shown, aspect, generator)
    left = places.x * aspect - extent.left * places.size
    right = places.x * aspect + extent.right * places.size
    top, bottom = places.y - extent.up * places.size, places.y + extent.down * places.size
    assert (left[shown] > -1e-4).all()
    assert (right[shown] < aspect + 1e-4).all()
    assert (top[shown] > 0).all()
    assert (bottom[shown] < 1).all()
    pairs = shown[:, 1:]
    assert (left[:, 1:] - left[:, :-1])[pairs].min() > 0
    overlap = (right[:, :-1] - left[:, 1:])[pairs]
    assert overlap.max() < 0.12
    assert (places.x[:, 1:] > places.x[:, :-1])[pairs].all()


@given(st.integers(0, 2**31))
def test_many_toys_are_large(seed: int) -> None:
    extent, shown, generator = _scenes(seed)
    places = arrange(extent, shown, 1.0, generator)
    filled = ((extent.left + extent.right) * places.size * shown).sum(1)
    tallest = (extent.up * places.size * shown).amax(1)
    assert (torch.maximum(filled, tallest) > 0.6).float().mean() > 0.7


def test_single_toys_stand_left_middle_and_right() -> None:
    generator = torch.Generator().manual_seed(0)
    extent = Extent(*(torch.full((300, 3), value) for value in (0.25, 0.25, 0.5, 0.03)))
    shown = torch.tensor([True, False, False]).expand(300, 3)
    places = arrange(extent, shown, 1.5, generator)
    assert (torch.bincount(places.position, minlength=3) > 45).all()
    assert (places.x[places.position == 0, 0] <= 0.415).all()
    assert (places.x[places.position == 2, 0] > 0.585).all()


def test_extents_are_measured_from_what_is_solid() -> None:
    rgba = torch.zeros(1, 4, 100, 100, dtype=torch.uint8)
    rgba[0, 3, 40:95, 30:80] = 255
    rgba[0, 3, 0, 0] = 10
    found = [round(float(value), 4) for value in measure(rgba)]
    assert found == [0.2, 0.3, 0.5, 0.05]
