"""Laws of the paper's two adapters behind the seam, and of every method where they are the same."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from spectral_diffusion.adapters import (
    METHODS,
    ColumnAdapter,
    FreeAdapter,
    SpectralAdditive,
    SpectralRotation,
    WeightAdapter,
)
from spectral_diffusion.errors import AdapterFileError, InputError
from spectral_diffusion.spectrum import ColumnSlot, as_matrix, decompose, take_slot
from tests.adapters.making import normal

OWNERS = {name: method for name, method in METHODS.items() if issubclass(method, ColumnAdapter)}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
methods = pytest.mark.parametrize("method", OWNERS.values(), ids=OWNERS.keys())
with_or_without_c = pytest.mark.parametrize("train_singular_values", [False, True], ids=["", "C"])


def trained(method: type[WeightAdapter], weight: torch.Tensor, seed: int = 0, rank: int = 3) -> WeightAdapter:
    matrix, adapter = as_matrix(weight), None
    if issubclass(method, FreeAdapter):
        adapter = method.create((matrix.shape[0], matrix.shape[1]), rank, torch.Generator().manual_seed(seed)).to(
            weight
        )
    elif issubclass(method, ColumnAdapter):
        columns = take_slot(decompose(matrix, 2 * rank), ColumnSlot(rank, rank))
        adapter = method.create(columns, train_singular_values=True)
    assert adapter is not None
    for turn, parameter in enumerate(adapter.parameters()):
        parameter.data += normal(seed + turn, *parameter.shape).to(parameter)
    return adapter


@methods
@with_or_without_c
def test_zero_factors_change_nothing_and_yet_learn(method: type[ColumnAdapter], train_singular_values: bool) -> None:
    weight = normal(0, 10, 14).float()
    columns = take_slot(decompose(weight, 8), ColumnSlot(4, 4))
    adapter = method.create(columns, train_singular_values=train_singular_values)
    assert torch.equal(adapter(weight), weight)
    (adapter(weight) * normal(1, 10, 14)).sum().backward()
    assert {name for name, _ in adapter.named_parameters()} == method.TRAINED - (
        frozenset() if train_singular_values else {"C"}
    )
    for parameter in adapter.parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-3


@methods
@with_or_without_c
@pytest.mark.parametrize(("out", "inside"), [(10, 14), (32, 9)])
def test_as_many_numbers_train_as_table_3_says(
    method: type[ColumnAdapter], train_singular_values: bool, out: int, inside: int
) -> None:
    columns = take_slot(decompose(normal(0, out, inside), 4), ColumnSlot(0, 4))
    adapter = method.create(columns, train_singular_values=train_singular_values)
    counted = method.parameter_count(out, inside, 4, train_singular_values=train_singular_values)
    assert sum(parameter.numel() for parameter in adapter.parameters()) == counted


def test_counts_on_stable_diffusion_are_the_published_ones() -> None:
    """The 176 attention weights of SD 1.5's UNet and text encoder: Table 3's row and the official code's budgets."""
    shapes = [(768, 768)] * 48
    for width, blocks in ((320, 5), (640, 5), (1280, 6)):
        shapes += ([(width, width)] * 6 + [(width, 768)] * 2) * blocks
    assert len(shapes) == 176

    def total(method: type[ColumnAdapter], rank: int, with_c: bool) -> int:
        return sum(method.parameter_count(*shape, rank, train_singular_values=with_c) for shape in shapes)

    budgets = {2: 1_760, 4: 6_336, 8: 23_936, 16: 92_928, 24: 206_976, 32: 366_080, 40: 570_240}
    assert {rank: total(SpectralRotation, rank, True) for rank in budgets} == budgets
    assert {rank: total(SpectralAdditive, rank, False) for rank in (1, 2, 3, 8)} == {
        1: 273_024,
        2: 546_048,
        3: 819_072,
        8: 2_184_192,
    }
    assert SpectralRotation.parameter_count(100, 100, 7) == 2 * 7**2
    assert SpectralAdditive.parameter_count(100, 100, 7) == 2 * 100 * 7


@every_method
@given(seed=st.integers(0, 2**31))
def test_tensors_make_the_same_adapter_again(method: type[WeightAdapter], seed: int) -> None:
    weight = normal(seed, 9, 12)
    adapter = trained(method, weight, seed)
    again = method.from_tensors(adapter.tensors())
    assert torch.equal(again(weight), adapter(weight))
    assert {name for name, _ in again.named_parameters()} == {name for name, _ in adapter.named_parameters()}


@every_method
def test_tensors_are_a_copy_that_later_training_does_not_reach(method: type[WeightAdapter]) -> None:
    adapter = trained(method, normal(0, 9, 12))
    kept = adapter.tensors()
    before = {name: tensor.clone() for name, tensor in kept.items()}
    again = method.from_tensors(kept)
    for parameter in [*adapter.parameters(), *again.parameters()]:
        parameter.data += 1
    assert all(torch.equal(kept[name], before[name]) for name in kept)


@every_method
def test_a_convolution_s_kernel_keeps_its_shape_and_type(method: type[WeightAdapter]) -> None:
    weight = normal(0, 8, 6, 3, 3).to(torch.bfloat16)
    adapter = trained(method, weight)
    changed, delta = adapter(weight), adapter.low_rank()
    assert changed.shape == weight.shape and changed.dtype == weight.dtype and delta is not None
    torch.testing.assert_close(changed, (weight + delta.dense().view_as(weight)).to(torch.bfloat16))


@methods
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"S": None}, "lacks S"),
        ({"lora_A": torch.zeros(2, 2)}, "has unknown lora_A"),
        ({"V": torch.zeros(12, 2)}, r"V of shape \(12, 2\)"),
        ({"S": torch.zeros(3, 1)}, r"S of shape \(3, 1\)"),
        ({"C": torch.zeros(3, dtype=torch.int64)}, "not of one floating type"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(method: type[WeightAdapter], change: dict, said: str) -> None:
    tensors = {**trained(method, normal(0, 9, 12).float()).tensors(), **change}
    with pytest.raises(AdapterFileError, match=said):
        method.from_tensors({name: tensor for name, tensor in tensors.items() if tensor is not None})


@every_method
def test_an_adapter_of_no_rank_is_refused(method: type[WeightAdapter]) -> None:
    tensors = trained(method, normal(0, 9, 12)).tensors()
    with pytest.raises(AdapterFileError, match="does not fit"):
        method.from_tensors({name: tensor.new_zeros([0] * tensor.ndim) for name, tensor in tensors.items()})


def test_factor_scale_scales_factors_not_the_change() -> None:
    adapter = trained(SpectralAdditive, normal(0, 9, 12))
    assert isinstance(adapter, SpectralAdditive) and adapter.C is not None
    scaled = adapter.scale_factors(0.5)
    expected = SpectralAdditive.from_tensors(
        {**adapter.tensors(), "A": adapter.A / 2, "B": adapter.B / 2, "C": adapter.C / 2}
    )
    assert torch.equal(scaled.low_rank().dense(), expected.low_rank().dense())
    assert (scaled.low_rank().dense() - adapter.low_rank().dense() / 2).norm() > 0.1
    assert adapter.scale_factors(0.0).low_rank().dense().abs().max() == 0
    with pytest.raises(InputError, match="use strength"):
        trained(SpectralRotation, normal(0, 9, 12)).scale_factors(0.5)


@every_method
def test_adapters_move_between_types_as_modules_do(method: type[WeightAdapter]) -> None:
    adapter: nn.Module = trained(method, normal(0, 9, 12)).to(torch.float32)
    assert {tensor.dtype for tensor in adapter.state_dict().values()} == {torch.float32}
