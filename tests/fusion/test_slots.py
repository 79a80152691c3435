"""Fusion by slots is the paper's fusion, and it is exact."""

from functools import cache
from itertools import permutations
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.fusion import fuse, load_fused
from spectral_diffusion.fusion.slots import measure_overlaps, slot_sum
from spectral_diffusion.spectrum import LowRankDelta, decompose
from tests.adapters.making import SHAPES, base_weights, make_adapter, normal

seeds = st.integers(0, 2**31)
finite = st.floats(-2, 2)
DOUBLE = base_weights(torch.float64)


@cache
def concepts(count: int, method: str = "spectral", train_singular_values: bool = True) -> list[Adapter]:
    return [
        make_adapter(f"c{number}", number, weights=DOUBLE, method=method, train_singular_values=train_singular_values)
        for number in range(count)
    ]


def change(adapter: Adapter, module: str) -> torch.Tensor:
    delta = adapter.weight_adapter(module).low_rank()
    assert delta is not None
    return delta.dense().detach()


def check_sum(adapters: list[Adapter], strengths: list[float]) -> None:
    """See that three adapters fuse to the sum of their changes, in any order."""
    for module in SHAPES:
        expected = sum(
            strength * change(adapter, module) for strength, adapter in zip(strengths, adapters, strict=True)
        )
        for order in permutations(range(3)):
            fused = fuse([adapters[i] for i in order], strengths=[strengths[i] for i in order])
            torch.testing.assert_close(fused.dense(module), expected, rtol=0, atol=1e-12)


@given(strengths=st.lists(finite, min_size=3, max_size=3), method=st.sampled_from(["spectral", "rotation"]))
def test_fusing_disjoint_slots_is_adding_changes_in_any_order(strengths: list[float], method: str) -> None:
    adapters = concepts(3, method=method)
    check_sum(adapters, strengths)


@given(scale=st.floats(0, 1))
def test_the_sum_is_the_papers_padded_form(scale: float) -> None:
    """Section 4.2: `W' = (U + sum_i l A_i) S (V + sum_i l B_i)^T` with the factors padded by zeros."""
    adapters = concepts(3, train_singular_values=False)
    fused = fuse(adapters, factor_scale=scale)
    for module, weight in DOUBLE.items():
        U, S, Vh = decompose(weight, min(weight.shape))
        V = Vh.mT.clone()
        for adapter in adapters:
            columns = slice(adapter.slot.start, adapter.slot.stop)
            U[:, columns] += scale * adapter.modules[module]["A"]
            V[:, columns] += scale * adapter.modules[module]["B"]
        torch.testing.assert_close(weight + fused.dense(module), U * S @ V.mT, rtol=0, atol=1e-11)


def test_overlapping_slots_have_cross_terms_that_a_sum_lacks() -> None:
    """The paper's form and the sum part where two concepts share columns: why overlap is refused."""
    one, other = concepts(1)[0], make_adapter("other", 0, weights=DOUBLE, scale=0.9)
    for module, weight in DOUBLE.items():
        U, S, Vh = decompose(weight, min(weight.shape))
        V = Vh.mT.clone()
        for adapter in (one, other):
            U[:, :2] += adapter.modules[module]["A"]
            V[:, :2] += adapter.modules[module]["B"]
            S[:2] += adapter.modules[module]["C"]
        both = change(one, module) + change(other, module)
        assert (U * S @ V.mT - weight - both).norm() > 0.1 * both.norm()


@given(seed=seeds, ranks=st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_factors_side_by_side_are_the_weighted_sum(seed: int, ranks: list[int]) -> None:
    deltas = [LowRankDelta(normal(seed + i, 7, rank), normal(seed - i - 1, rank, 5)) for i, rank in enumerate(ranks)]
    strengths = normal(seed, len(ranks)).tolist()
    total = slot_sum(deltas, strengths)
    assert total.up.shape == (7, sum(ranks)) and total.down.shape == (sum(ranks), 5)
    expected = sum(strength * delta.up @ delta.down for strength, delta in zip(strengths, deltas, strict=True))
    torch.testing.assert_close(total.dense(), expected, rtol=0, atol=1e-12)


def test_overlap_is_measured_on_the_columns_module_by_module() -> None:
    wide = make_adapter("wide", 0, rank=3)
    second = make_adapter("second", 1)
    third = make_adapter("third", 2)
    half = make_adapter("half", 1, modules={"unet.up.to_k": second.modules["unet.up.to_k"]})
    found = measure_overlaps([wide, second, third, half])
    assert list(found) == list(SHAPES)
    # Columns 0-2, 2-3, 4-5 and, in one of the two modules, 2-3 again.
    everywhere = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]).float()
    torch.testing.assert_close(found["unet.down.to_q"], everywhere, rtol=0, atol=1e-5)
    one_module = torch.tensor([[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 1, 0], [1, 1, 0, 1]]).float()
    torch.testing.assert_close(found["unet.up.to_k"], one_module, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", ["U", "V"])
def test_a_column_shared_on_one_side_only_counts(side: str) -> None:
    one, other = make_adapter("one", 0), make_adapter("other", 1)
    other.modules["unet.up.to_k"][side][:, 0] = one.modules["unet.up.to_k"][side][:, 1]
    found = measure_overlaps([one, other])
    assert found["unet.up.to_k"][0, 1] > 0.999 and found["unet.down.to_q"][0, 1] < 1e-5


# Adapters without columns.


@given(strengths=st.lists(finite, min_size=3, max_size=3), mixed=st.booleans())
def test_fusing_loras_is_adding_their_changes_also_to_spectral_ones(strengths: list[float], mixed: bool) -> None:
    methods = ["lora", "spectral" if mixed else "lora", "lora"]
    adapters = [
        make_adapter(f"c{number}", number, weights=DOUBLE, method=method) for number, method in enumerate(methods)
    ]
    check_sum(adapters, strengths)


def test_overlap_is_measured_only_where_columns_are_held() -> None:
    twins = [make_adapter("one", 0, method="lora"), make_adapter("two", 0, method="lora")]
    assert all(not shared.any() for shared in measure_overlaps(twins).values())
    owners = [make_adapter("a", 0), make_adapter("b", 0)]
    found = measure_overlaps([owners[0], twins[0], owners[1]])
    assert list(found) == list(SHAPES)
    for shared in found.values():
        expected = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 0, 1]]).float()
        torch.testing.assert_close(shared, expected, rtol=0, atol=1e-5)


def test_the_same_lora_twice_is_no_overlap_and_shared_columns_beside_one_still_are() -> None:
    lora = make_adapter("free", 0, method="lora")
    assert not fuse([lora, make_adapter("again", 0, method="lora")]).overlap_matrix.any()
    with pytest.raises(SlotError, match=r"a \(columns 0-1\) and b \(columns 0-1\) share columns"):
        fuse([make_adapter("a", 0), lora, make_adapter("b", 0)])


def test_the_paper_s_coefficient_is_refused_for_a_lora(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Lora has none; use strength"):
        fuse([make_adapter("a", 0), make_adapter("free", 0, method="lora")], factor_scale=0.5)


def test_a_mixed_fusion_survives_its_file(tmp_path: Path) -> None:
    fused = fuse([make_adapter("a", 1), make_adapter("free", 0, method="lora")], strengths=[1, 0.5])
    fused.save(tmp_path / "f.safetensors")
    again = load_fused(tmp_path / "f.safetensors")
    assert [part.adapter.columns for part in again.parts] == ["columns 2-3", "no columns (lora)"]
    for module in SHAPES:
        assert torch.equal(again.dense(module), fused.dense(module))
