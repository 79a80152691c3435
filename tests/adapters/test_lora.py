"""Laws of plain LoRA, the control: PEFT's numbers, a start that changes nothing, and no columns."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from spectral_diffusion.adapters import METHODS, Adapter, Lora, holds_columns
from spectral_diffusion.adapters.base import refuse_slot
from spectral_diffusion.adapters.energy import energies
from spectral_diffusion.adapters.summary import read_summary
from spectral_diffusion.errors import AdapterFileError, InputError
from spectral_diffusion.ledger import Claim
from spectral_diffusion.spectrum import ColumnSlot
from tests.adapters.making import base_weights, make_adapter, normal


def begun(seed: int = 0, shape: tuple[int, int] = (8, 10), rank: int = 3) -> Lora:
    return Lora.create(shape, rank, torch.Generator().manual_seed(seed))


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the header of a file by hand."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["spectral_diffusion"])
    tensors = load_file(path)
    change(header)
    save_file(tensors, path, {"spectral_diffusion": json.dumps(header)})


@given(seed=st.integers(0, 2**31), rank=st.integers(1, 8))
def test_a_lora_of_ours_is_peft_s_with_the_same_matrices(seed: int, rank: int) -> None:
    peft = pytest.importorskip("peft")
    linear = nn.Linear(10, 8, dtype=torch.float64)
    weight, bias = linear.weight.detach().clone(), linear.bias.detach().clone()
    ours = Lora.from_tensors({"up": normal(seed, 8, rank), "down": normal(seed + 1, rank, 10)})
    model = peft.inject_adapter_in_model(
        peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=["0"]), nn.Sequential(linear)
    )
    adapted = model.get_submodule("0")
    adapted.get_submodule("lora_A.default").weight.data = ours.down.data
    adapted.get_submodule("lora_B.default").weight.data = ours.up.data
    x = normal(seed, 3, 10)
    torch.testing.assert_close(model(x), x @ ours(weight).mT + bias, rtol=0, atol=1e-10)


def test_it_begins_as_peft_s_does() -> None:
    """Of one law: `up` zero, `down` uniform with the same bound, so with the same spread."""
    peft = pytest.importorskip("peft")
    model = peft.inject_adapter_in_model(
        peft.LoraConfig(r=64, lora_alpha=64, target_modules=["0"]), nn.Sequential(nn.Linear(400, 300))
    )
    theirs = {name: model.get_submodule(f"0.lora_{name}.default").weight.detach() for name in "AB"}
    ours = begun(shape=(300, 400), rank=64)
    assert ours.up.shape == theirs["B"].shape and ours.down.shape == theirs["A"].shape
    assert not ours.up.any() and not theirs["B"].any()
    bound = 400**-0.5
    for down in (ours.down.detach(), theirs["A"]):
        assert bound * 0.999 < down.abs().max() <= bound
        assert float(down.std()) == pytest.approx(bound / 3**0.5, rel=0.02)
        assert float(down.mean()) == pytest.approx(0, abs=0.02 * bound)


@given(seed=st.integers(0, 2**31))
def test_it_changes_nothing_at_the_start_and_yet_learns(seed: int) -> None:
    weight, adapter = normal(seed, 8, 10).float(), begun(seed)
    assert torch.equal(adapter(weight), weight)
    (adapter(weight) * normal(seed + 1, 8, 10)).sum().backward()
    assert adapter.up.grad is not None and adapter.up.grad.abs().max() > 1e-3
    adapter.up.data += 1
    adapter(weight).sum().backward()
    assert adapter.down.grad is not None and adapter.down.grad.abs().max() > 1e-3


def test_the_start_follows_from_the_generator_alone() -> None:
    torch.manual_seed(5)
    one = begun(3)
    torch.manual_seed(6)
    before = torch.get_rng_state()
    assert torch.equal(begun(3).down, one.down) and not torch.equal(begun(4).down, one.down)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("out", "inside", "rank"), [(10, 14, 4), (32, 9, 1)])
def test_as_many_numbers_train_as_of_a_spectral_adapter(out: int, inside: int, rank: int) -> None:
    trained = sum(parameter.numel() for parameter in begun(shape=(out, inside), rank=rank).parameters())
    assert trained == Lora.parameter_count(out, inside, rank) == rank * (out + inside)
    assert trained == METHODS["spectral"].parameter_count(out, inside, rank)


def test_tensors_that_do_not_fit_are_refused() -> None:
    tensors = begun().tensors()
    for change, said in (
        ({"up": torch.zeros(8, 2)}, "does not fit"),
        ({"down": torch.zeros(3)}, r"down of shape \(3,\)"),
        ({"U": torch.zeros(8, 3)}, "has unknown U"),
    ):
        with pytest.raises(AdapterFileError, match=said):
            Lora.from_tensors({**tensors, **change})
    with pytest.raises(AdapterFileError, match="lacks down"):
        Lora.from_tensors({"up": tensors["up"]})


def test_it_has_no_factors_that_the_paper_s_coefficient_would_scale() -> None:
    with pytest.raises(InputError, match="Lora has none; use strength"):
        begun().scale_factors(0.5)


# As an adapter file.


def test_it_holds_no_columns_and_its_file_says_so(tmp_path: Path) -> None:
    make_adapter("octo", 0, method="lora").save(tmp_path / "octo.safetensors")
    with safe_open(tmp_path / "octo.safetensors", "pt") as file:
        header = json.loads(file.metadata()["spectral_diffusion"])
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert header["slot"] is None and header["method"] == "lora" and header["rank"] == 2
    assert shapes["unet.down.to_q.up"] == (16, 2) and shapes["unet.down.to_q.down"] == (2, 12)
    adapter, (part,) = Adapter.load(tmp_path / "octo.safetensors"), read_summary(tmp_path / "octo.safetensors")
    assert adapter.slot is None and adapter.columns == part.columns == "no columns (lora)"
    assert adapter.shape("unet.up.to_k") == (12, 20)
    assert Claim.of(adapter) is None and Claim.of_part(part) is None


def test_whoever_holds_columns_has_a_claim_and_a_slot_and_nobody_else(tmp_path: Path) -> None:
    for method in METHODS:
        adapter = make_adapter("octo", 1, method=method)
        adapter.save(tmp_path / "a.safetensors")
        (part,) = read_summary(tmp_path / "a.safetensors")
        claims = Claim.of(adapter), Claim.of_part(part)
        assert all((claim is not None) == holds_columns(method) == (adapter.slot is not None) for claim in claims)


@pytest.mark.parametrize(
    ("method", "slot", "said"),
    [
        ("lora", {"start": 0, "width": 2}, r"'lora' holds no columns, and it names a slot of columns 0-1; train"),
        ("spectral", None, r"'spectral' holds columns, and it names no slot; train"),
        ("rotation", None, r"'rotation' holds columns, and it names no slot; train"),
    ],
)
def test_a_header_with_a_slot_too_many_or_too_few_is_refused(
    tmp_path: Path, method: str, slot: object, said: str
) -> None:
    path = tmp_path / "a.safetensors"
    make_adapter("octo", 0, method=method).save(path)
    rewrite(path, lambda header: header.update(slot=slot))
    for read in (Adapter.load, read_summary):
        with pytest.raises(AdapterFileError, match=said) as refusal:
            read(path)
        assert str(path) in refusal.value.what
    with pytest.raises(AdapterFileError, match=r"holds|slot"):
        make_adapter("octo", 0, method=method, slot=None if slot is None else ColumnSlot(0, 2))


def test_a_header_that_says_nothing_of_a_slot_is_refused(tmp_path: Path) -> None:
    for method in METHODS:
        make_adapter("octo", 0, method=method).save(tmp_path / "a.safetensors")
        rewrite(tmp_path / "a.safetensors", lambda header: header.pop("slot"))
        for read in (Adapter.load, read_summary):
            with pytest.raises(AdapterFileError, match="slot: Field required"):
                read(tmp_path / "a.safetensors")


def test_its_change_is_measured_and_no_share_of_a_spectrum_is_claimed() -> None:
    adapter, weights = make_adapter("octo", 0, method="lora"), base_weights()
    *_, total = energies(adapter, weights)
    with torch.no_grad():
        change = sum(float((adapter.weight_adapter(m)(w) - w).square().sum()) for m, w in weights.items())
    assert total.change == pytest.approx(change, rel=1e-4)
    assert total.slot is None and total.share is None and total.relative_change is None


def test_a_slot_for_it_is_refused_in_words() -> None:
    refuse_slot("lora", "auto")
    for slot in (0, "auto"):
        refuse_slot("spectral", slot)
    with pytest.raises(InputError, match=r"slot 0 was asked for, and the method lora holds no columns; .* spectral or"):
        refuse_slot("lora", 0)
