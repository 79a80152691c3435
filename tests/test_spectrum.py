"""Laws of the idea in pure tensors, against torch.linalg and PEFT."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.spectrum import (
    ColumnSlot,
    Spectrum,
    additive_delta,
    as_matrix,
    cayley,
    decompose,
    overlap,
    rotational_delta,
    take_slot,
)

seeds = st.integers(0, 2**31)
sides = st.integers(6, 24)
slots = st.builds(ColumnSlot, st.integers(0, 2), st.integers(1, 2))


def normal(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def whole(weight: Tensor) -> Spectrum:
    return decompose(weight, min(weight.shape))


def tuned(spectrum: Spectrum, slot: ColumnSlot, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A, B, C of a slot, far from zero."""
    out, width, inside = spectrum.U.shape[0], slot.width, spectrum.Vh.shape[1]
    return normal(seed, out, width), normal(seed + 1, inside, width), normal(seed + 2, width)


@given(sides, sides, seeds)
def test_decompose_agrees_with_the_full_svd(out: int, inside: int, seed: int) -> None:
    weight = normal(seed, out, inside)
    U, S, Vh = decompose(weight, 5)
    reference_U, reference_S, reference_Vh = torch.linalg.svd(weight, full_matrices=False)
    torch.testing.assert_close(S, reference_S[:5], rtol=1e-10, atol=1e-10)
    # Columns of close singular values may turn among themselves, yet not beyond; the gap to the sixth decides.
    gap = (reference_S[4] - reference_S[5]).item() / reference_S[0].item()
    tolerance = 1e-12 / max(gap, 1e-9)
    torch.testing.assert_close(U @ U.mT, reference_U[:, :5] @ reference_U[:, :5].mT, rtol=0, atol=tolerance)
    torch.testing.assert_close(Vh.mT @ Vh, reference_Vh[:5].mT @ reference_Vh[:5], rtol=0, atol=tolerance)


@given(sides, sides, st.integers(0, 4), seeds)
def test_both_sides_stay_orthonormal_where_singular_values_vanish(out: int, inside: int, rank: int, seed: int) -> None:
    weight = normal(seed, out, rank) @ normal(seed + 1, rank, inside)
    U, S, Vh = whole(weight)
    eye = torch.eye(S.numel(), dtype=torch.float64)
    torch.testing.assert_close(U.mT @ U, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(Vh @ Vh.mT, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(U * S @ Vh, weight, rtol=0, atol=1e-10)
    assert (S >= 0).all() and (S.diff() <= 0).all()


def test_small_singular_values_keep_their_digits() -> None:
    falling = torch.logspace(0, -7, 8, dtype=torch.float64)
    left, right = torch.linalg.qr(normal(0, 12, 8)).Q, torch.linalg.qr(normal(1, 20, 8)).Q
    for weight in (left * falling @ right.mT, right * falling @ left.mT):
        torch.testing.assert_close(decompose(weight, 8).S, falling, rtol=1e-6, atol=0)


@given(sides, sides, seeds)
def test_signs_do_not_depend_on_the_routine(out: int, inside: int, seed: int) -> None:
    weight = normal(seed, out, inside)
    U, S, Vh = decompose(weight, 4)
    peaks = U.gather(0, U.abs().argmax(dim=0, keepdim=True))
    assert (peaks > 0).all()
    negated = decompose(-weight, 4)
    torch.testing.assert_close(negated.U, U)
    torch.testing.assert_close(negated.Vh, -Vh)
    assert all(torch.equal(one, other) for one, other in zip(decompose(weight, 4), (U, S, Vh), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_any_floating_weight_gives_float32_columns_of_its_own_values(dtype: torch.dtype) -> None:
    weight = normal(0, 16, 24).to(dtype)
    U, S, Vh = whole(weight)
    assert {part.dtype for part in (U, S, Vh)} == {torch.float32}
    torch.testing.assert_close(U * S @ Vh, weight.float(), rtol=0, atol=2e-6)


def test_weights_that_have_no_columns_are_refused() -> None:
    weight = normal(0, 6, 8)
    for columns in (0, 7):
        with pytest.raises(SlotError, match="ask for 1 to 6"):
            decompose(weight, columns)
    with pytest.raises(InputError, match="as_matrix"):
        decompose(weight.reshape(6, 2, 2, 2), 2)
    weight[0, 0] = math.nan
    with pytest.raises(InputError, match="not finite"):
        decompose(weight, 2)


@given(st.integers(0, 9), st.integers(1, 5), st.integers(0, 9), st.integers(1, 5))
def test_slots_overlap_where_they_share_a_column(a: int, width: int, b: int, other_width: int) -> None:
    one, other = ColumnSlot(a, width), ColumnSlot(b, other_width)
    shared = set(range(one.start, one.stop)) & set(range(other.start, other.stop))
    assert one.overlaps(other) == other.overlaps(one) == bool(shared)


def test_slots_that_cannot_be_are_refused() -> None:
    for start, width in ((-1, 2), (0, 0)):
        with pytest.raises(SlotError):
            ColumnSlot(start, width)
    spectrum = decompose(normal(0, 6, 8), 5)
    assert take_slot(spectrum, ColumnSlot(3, 2)).S.equal(spectrum.S[3:])
    with pytest.raises(SlotError, match="columns 4-5 ends beyond the last of 5"):
        take_slot(spectrum, ColumnSlot(4, 2))


@given(sides, sides, slots, st.booleans(), seeds)
def test_additive_factors_are_the_papers_dense_change(
    out: int, inside: int, slot: ColumnSlot, with_c: bool, seed: int
) -> None:
    weight = normal(seed, out, inside)
    spectrum = whole(weight)
    A, B, C = tuned(spectrum, slot, seed)
    U, S, Vh = take_slot(spectrum, slot)
    delta = additive_delta(U, S, Vh.mT, A, B, C if with_c else None)

    full_U, full_S, full_V = spectrum.U.clone(), spectrum.S.clone(), spectrum.Vh.mT.clone()
    columns = slice(slot.start, slot.stop)
    full_U[:, columns] += A
    full_V[:, columns] += B
    full_S[columns] += C if with_c else 0
    torch.testing.assert_close(weight + delta.dense(), full_U * full_S @ full_V.mT, rtol=0, atol=1e-10)


@given(st.integers(1, 3), seeds)
def test_rank_capacity_is_2r_for_shifts_and_r_for_rotations(rank: int, seed: int) -> None:
    """Lemma 3.1."""
    U, S, Vh = take_slot(decompose(normal(seed, 14, 18), 8), ColumnSlot(2, rank))
    A, B, _ = tuned(Spectrum(U, S, Vh), ColumnSlot(0, rank), seed)
    assert torch.linalg.matrix_rank(additive_delta(U, S, Vh.mT, A, B).dense(), rtol=1e-10) == 2 * rank
    rotations = cayley(normal(seed, 2, rank, rank) + torch.eye(rank, dtype=torch.float64))
    turned = rotational_delta(U, S, Vh.mT, *rotations, C=torch.ones(rank, dtype=torch.float64)).dense()
    assert torch.linalg.matrix_rank(turned, rtol=1e-10) == rank


@given(st.integers(1, 8), st.floats(0, 10), seeds)
def test_cayley_gives_rotations(rank: int, scale: float, seed: int) -> None:
    raw = normal(seed, 3, rank, rank, scale=scale)
    R, eye = cayley(raw), torch.eye(rank, dtype=torch.float64)
    torch.testing.assert_close(R.mT @ R, eye.expand_as(R), rtol=0, atol=1e-11)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-9)
    Q = (raw - raw.mT) / 2
    torch.testing.assert_close(R, (eye + Q) @ torch.linalg.inv(eye - Q), rtol=0, atol=1e-9)
    single = cayley(raw.float())
    torch.testing.assert_close(single.mT @ single, eye.float().expand_as(single), rtol=0, atol=2e-4)


@given(sides, sides, slots, seeds)
def test_the_form_of_an_svd_survives_rotation(out: int, inside: int, slot: ColumnSlot, seed: int) -> None:
    """Lemma 4.1: `[U1 R_u  U2]`, `[V1 R_v  V2]` stay orthonormal, so the singular values stay what they were."""
    weight = normal(seed, out, inside)
    spectrum = whole(weight)
    R_u, R_v = cayley(normal(seed, 2, slot.width, slot.width))
    U, S, Vh = take_slot(spectrum, slot)
    turned = weight + rotational_delta(U, S, Vh.mT, R_u, R_v).dense()

    full_U, full_V = spectrum.U.clone(), spectrum.Vh.mT.clone()
    columns = slice(slot.start, slot.stop)
    full_U[:, columns] = U @ R_u
    full_V[:, columns] = Vh.mT @ R_v
    torch.testing.assert_close(turned, full_U * spectrum.S @ full_V.mT, rtol=0, atol=1e-11)
    torch.testing.assert_close(torch.linalg.svdvals(turned), spectrum.S, rtol=0, atol=1e-10)


@given(st.integers(2, 20), seeds)
def test_a_vector_becomes_dora_s_magnitude_and_direction(length: int, seed: int) -> None:
    """Appendix D: `w = (w0 / |w0| + a') |w0| (1 + b')`, DoRA's `m (w0 + d) / |w0|` with `m = |w0| (1 + b')`."""
    w0, shift, gain = normal(seed, length, 1), normal(seed + 1, length, 1), normal(seed + 2, 1, 1)
    U, S, Vh = decompose(w0, 1)
    # The sign of the one column pair is free: a' lives beside U, b' beside V.
    sign = Vh.item()
    delta = additive_delta(U, S, Vh.mT, shift * sign, gain * sign)
    size = w0.norm()
    torch.testing.assert_close(w0 + delta.dense(), (w0 / size + shift) * size * (1 + gain), rtol=0, atol=1e-11)
    magnitude = size * (1 + gain)
    torch.testing.assert_close(w0 + delta.dense(), magnitude * (w0 + size * shift) / size, rtol=0, atol=1e-11)


def test_factors_are_differentiable_from_zero_on() -> None:
    U, S, Vh = take_slot(decompose(normal(0, 5, 6), 4), ColumnSlot(1, 2))

    def additive(A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        return additive_delta(U, S, Vh.mT, A, B, C).dense()

    def rotational(raw_u: Tensor, raw_v: Tensor, C: Tensor) -> Tensor:
        return rotational_delta(U, S, Vh.mT, cayley(raw_u), cayley(raw_v), C).dense()

    shapes = {additive: ((5, 2), (6, 2), (2,)), rotational: ((2, 2), (2, 2), (2,))}
    for change, sizes in shapes.items():
        for scale in (0.0, 0.3):
            parts = [normal(index, *size, scale=scale).requires_grad_() for index, size in enumerate(sizes)]
            assert scale or not change(*parts).any()
            assert torch.autograd.gradcheck(change, tuple(parts))
            (change(*parts) * normal(9, 5, 6)).sum().backward()
            assert all(part.grad is not None and part.grad.abs().max() > 1e-3 for part in parts)


@given(seeds)
def test_factors_mean_to_peft_what_they_mean_to_us(seed: int) -> None:
    """PEFT's LoRA of rank 2r with alpha 2r, `B` = up and `A` = down, is the adapted layer."""
    peft = pytest.importorskip("peft")
    linear = nn.Linear(10, 8, dtype=torch.float64)
    weight, bias = linear.weight.detach().clone(), linear.bias.detach().clone()
    spectrum, slot = decompose(weight, 6), ColumnSlot(2, 2)
    A, B, C = tuned(spectrum, slot, seed)
    U, S, Vh = take_slot(spectrum, slot)
    delta = additive_delta(U, S, Vh.mT, A, B, C)
    model = peft.inject_adapter_in_model(
        peft.LoraConfig(r=4, lora_alpha=4, target_modules=["0"]), nn.Sequential(linear)
    )
    adapted = model.get_submodule("0")
    adapted.get_submodule("lora_A.default").weight.data = delta.down
    adapted.get_submodule("lora_B.default").weight.data = delta.up
    x = normal(seed, 3, 10)
    torch.testing.assert_close(model(x), x @ (weight + delta.dense()).mT + bias, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_is_adapted_as_its_flattened_matrix(kernel: int) -> None:
    weight = normal(0, 8, 6, kernel, kernel)
    spectrum, slot = decompose(as_matrix(weight), 4), ColumnSlot(1, 2)
    A, B, _ = tuned(spectrum, slot, 1)
    U, S, Vh = take_slot(spectrum, slot)
    up, down = additive_delta(U, S, Vh.mT, A, B)
    x, padding = normal(2, 2, 6, 9, 9), kernel // 2
    conv = nn.functional.conv2d
    thin = conv(conv(x, down.view(-1, 6, kernel, kernel), padding=padding), up[:, :, None, None])
    changed = conv(x, weight + (up @ down).view_as(weight), padding=padding)
    torch.testing.assert_close(changed, conv(x, weight, padding=padding) + thin, rtol=0, atol=1e-10)


@given(seeds)
def test_overlap_is_nothing_between_slots_and_everything_within(seed: int) -> None:
    U = decompose(normal(seed, 12, 16), 7).U
    measured = overlap(U[:, :3], U[:, 3:5], U[:, 4:7])
    expected = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 1, 1]], dtype=torch.float64)
    torch.testing.assert_close(measured, expected, rtol=0, atol=1e-12)
    assert overlap(U[:, :3], -U[:, 2:3])[0, 1] > 0.999
