"""What may be fused, what is refused and in which words, and the fused file."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from spectral_diffusion.adapters import METHODS, Adapter, SpectralAdditive
from spectral_diffusion.errors import AdapterFileError, BaseMismatchError, InputError, SlotError
from spectral_diffusion.fusion import FusedAdapter, FusedPart, OverlapWarning, fuse, load_fused
from tests.adapters.making import FINGERPRINTS, SHAPES, base_weights, make_adapter


@pytest.fixture
def three() -> list[Adapter]:
    return [make_adapter("octo", 0), make_adapter("shell", 1, method="rotation"), make_adapter("rover", 2)]


def test_a_fusion_has_all_weights_and_words_of_its_parts(three: list[Adapter]) -> None:
    half = make_adapter("half", 3, modules={"unet.mid.to_v": three[0].modules["unet.up.to_k"]})
    fused = fuse([*three, half])
    assert fused.modules == (*SHAPES, "unet.mid.to_v")
    assert list(fused.tokens) == list(fused.token_vectors) == ["<octo>", "<shell>", "<rover>", "<half>"]
    up, down = fused.low_rank("unet.mid.to_v")
    assert up.shape == (12, 4) and down.shape == (4, 20) and not up.requires_grad and not down.requires_grad
    assert fused.low_rank("unet.up.to_k").up.shape == (12, 4 + 2 + 4)
    with pytest.raises(InputError, match=r"no concept changes unet.nowhere"):
        fused.low_rank("unet.nowhere")


def test_strengths_by_name_and_by_position_are_one(three: list[Adapter]) -> None:
    by_name = fuse(three, strengths={"rover": 0.25, "octo": 2})
    by_position = fuse(three, strengths=[2, 1, 0.25])
    assert [part.strength for part in by_name.parts] == [part.strength for part in by_position.parts] == [2, 1, 0.25]
    assert [part.strength for part in fuse(three).parts] == [1, 1, 1]


@pytest.mark.parametrize(
    ("strengths", "said"),
    [
        ([1.0], r"3 adapters \(octo, shell, rover\)"),
        ([1.0, 2.0, float("nan")], "nan"),
        ({"octo": float("inf")}, "inf"),
        ({"otco": 1.0}, "given for otco, and the adapters are octo, shell, rover"),
    ],
)
def test_strengths_that_fit_nobody_are_refused(three: list[Adapter], strengths: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        fuse(three, strengths=strengths)


def test_a_strength_for_a_name_that_two_have_is_refused() -> None:
    twins = [make_adapter("twin", 0), make_adapter("twin", 1, tokens={}, token_vectors={})]
    with pytest.raises(InputError, match="name each adapter once"):
        fuse(twins, strengths={"twin": 2.0})
    assert fuse(twins, strengths=[2.0, 1.0]).parts[0].strength == 2.0


def test_strength_scales_the_change_and_factor_scale_the_factors(three: list[Adapter]) -> None:
    module = "unet.up.to_k"
    plain = fuse(three[:1]).dense(module)
    torch.testing.assert_close(fuse(three[:1], strengths=[0.5]).dense(module), plain / 2)
    adapter = three[0].weight_adapter(module)
    assert isinstance(adapter, SpectralAdditive)
    expected = adapter.scale_factors(0.5).low_rank().dense()
    scaled = fuse(three[:1], factor_scale=0.5).dense(module)
    torch.testing.assert_close(scaled, expected.detach())
    assert (scaled - plain / 2).norm() > 0.05 * plain.norm()
    with pytest.raises(InputError, match="SpectralRotation has none; use strength"):
        fuse(three, factor_scale=0.5)


def test_nothing_and_unknown_methods_are_refused(three: list[Adapter]) -> None:
    with pytest.raises(InputError, match="nothing to fuse"):
        fuse([])
    with pytest.raises(InputError, match="no fusion method 'magic'; use slots"):
        fuse(three, method="magic")


def test_shared_columns_are_refused_by_concept_and_column_or_warned_of(three: list[Adapter]) -> None:
    late = make_adapter("late", 1, rank=3)
    said = r"shell \(columns 2-3\) and late \(columns 3-5\) share columns: overlap 1.00 of 1 in unet.(up|down)"
    with pytest.raises(SlotError, match=said):
        fuse([*three, late])
    with pytest.warns(OverlapWarning) as warned:
        fused = fuse([*three, late], on_overlap="warn")
    assert len(warned) == 2  # with shell, and with rover
    torch.testing.assert_close(fused.overlap_matrix[3], torch.tensor([0, 1, 1, 1.0]), rtol=0, atol=1e-5)
    torch.testing.assert_close(fused.overlap_matrix[0], torch.tensor([1.0, 0, 0, 0]), rtol=0, atol=1e-5)


def test_slots_that_only_claim_to_differ_are_found_out(three: list[Adapter]) -> None:
    """The columns decide, not what a header says of them."""
    liar = make_adapter("liar", 0, modules=make_adapter("x", 2).modules)
    with pytest.raises(SlotError, match=r"rover .* and liar|liar .* and rover"):
        fuse([three[2], liar])


def test_the_same_base_in_two_precisions_is_one_base() -> None:
    """Its fingerprint is the same, and its columns are nearly so."""
    halves = {module: weight.half() for module, weight in base_weights().items()}
    fused = fuse([make_adapter("octo", 0), make_adapter("shell", 1, weights=halves)])
    assert 1e-5 < fused.overlap_matrix[0, 1] < 0.05


def test_disjoint_slots_raise_no_warning(three: list[Adapter]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fuse(three)


def test_adapters_of_two_bases_are_refused_unless_allowed(three: list[Adapter]) -> None:
    foreign = make_adapter("foreign", 3, base_name="sd15", fingerprints={"unet": "b" * 64})
    with pytest.raises(BaseMismatchError, match="octo was trained on imaginary and foreign on sd15: their unet"):
        fuse([*three, foreign])
    assert len(fuse([*three, foreign], allow_other_base=True).parts) == 4
    # Another set of components of the same base is the same base.
    fuse([*three, make_adapter("more", 3, fingerprints={**FINGERPRINTS, "text_encoder": "c"})])


def test_adapters_of_other_shapes_are_refused_even_where_another_base_is_allowed(three: list[Adapter]) -> None:
    swapped = {"unet.up.to_k": make_adapter("x", 3).modules["unet.down.to_q"]}
    with pytest.raises(BaseMismatchError, match=r"odd changes unet.up.to_k of shape \(16, 12\)"):
        fuse([*three, make_adapter("odd", 3, modules=swapped)], allow_other_base=True)


def test_a_fusion_checks_the_base_of_every_part(three: list[Adapter]) -> None:
    fused = fuse(three)
    fused.check_base("imaginary", FINGERPRINTS)
    with pytest.raises(BaseMismatchError, match="octo was trained on imaginary"):
        fused.check_base("other", {"unet": "x"})
    fused.check_base("other", {"unet": "x"}, allow_other=True)


def test_one_word_for_two_concepts_is_refused_with_the_way_out(three: list[Adapter]) -> None:
    vectors = three[0].token_vectors
    twin = make_adapter("twin", 3, tokens=three[0].tokens, token_vectors=vectors)
    with pytest.raises(InputError, match=r"octo and twin both have the token <octo>; .*--rename <octo>=NEW"):
        fuse([*three, twin])
    fused = fuse([*three, twin], rename={"<octo>": "<new>"})
    assert list(fused.token_vectors) == ["<octo>", "<shell>", "<rover>", "<new>"]
    assert list(twin.tokens) == ["<octo>"]
    with pytest.raises(InputError, match="no adapter has the token <absent>"):
        fuse(three, rename={"<absent>": "<new>"})
    with pytest.raises(InputError, match="both have the token <shell>"):
        fuse(three, rename={"<octo>": "<shell>"})


def test_a_method_without_factors_is_refused(three: list[Adapter], monkeypatch: pytest.MonkeyPatch) -> None:
    class Dense(SpectralAdditive):
        def low_rank(self) -> None:  # type: ignore[override]
            return None

    monkeypatch.setitem(METHODS, "dense", Dense)
    dense = make_adapter("dense", 3, method="dense")
    with pytest.raises(InputError, match="dense was trained by 'dense', whose change has no thin factors"):
        fuse([*three, dense]).low_rank("unet.up.to_k")


# The fused file.


@given(strengths=st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_a_fused_file_is_the_fusion_with_its_parts(tmp_path: Path, strengths: list[float]) -> None:
    adapters = [make_adapter("octo", 0), make_adapter("shell", 1, method="rotation"), make_adapter("rover", 2)]
    fused = fuse(adapters, strengths=strengths)
    fused.save(tmp_path / "f.safetensors")
    again = load_fused(tmp_path / "f.safetensors")
    assert again.modules == fused.modules
    assert [part.strength for part in again.parts] == strengths
    for module in fused.modules:
        assert torch.equal(again.dense(module), fused.dense(module))
    for token, vectors in fused.token_vectors.items():
        assert torch.equal(again.token_vectors[token], vectors)
    refused = fuse([part.adapter for part in again.parts], strengths=strengths)
    assert torch.equal(refused.dense("unet.up.to_k"), fused.dense("unet.up.to_k"))


def test_a_fused_file_of_half_size_is_that_of_its_rounded_parts(tmp_path: Path, three: list[Adapter]) -> None:
    fuse(three, strengths=[1, 0.5, 2]).save(tmp_path / "f.safetensors", dtype=torch.float16)
    for adapter in three:
        adapter.save(tmp_path / f"{adapter.name}.safetensors", dtype=torch.float16)
    rounded = [Adapter.load(tmp_path / f"{adapter.name}.safetensors") for adapter in three]
    again, expected = load_fused(tmp_path / "f.safetensors"), fuse(rounded, strengths=[1, 0.5, 2])
    assert [part.strength for part in again.parts] == [1, 0.5, 2]
    for module in again.modules:
        assert torch.equal(again.dense(module), expected.dense(module))
    assert again.overlap_matrix.fill_diagonal_(0).max() < 2e-3


def test_factor_scale_is_kept_beside_the_untouched_factors(tmp_path: Path) -> None:
    fused = fuse([make_adapter("octo", 0), make_adapter("rover", 2)], factor_scale=0.5)
    fused.save(tmp_path / "f.safetensors")
    again = load_fused(tmp_path / "f.safetensors")
    assert torch.equal(again.dense("unet.up.to_k"), fused.dense("unet.up.to_k"))
    assert torch.equal(
        again.parts[0].adapter.modules["unet.up.to_k"]["A"], make_adapter("octo", 0).modules["unet.up.to_k"]["A"]
    )


def test_the_file_of_one_adapter_is_a_fusion_of_one(tmp_path: Path, three: list[Adapter]) -> None:
    three[0].save(tmp_path / "a.safetensors")
    fused = load_fused(tmp_path / "a.safetensors")
    assert [(part.adapter.name, part.strength) for part in fused.parts] == [("octo", 1.0)]
    fuse(three).save(tmp_path / "f.safetensors")
    with pytest.raises(AdapterFileError, match="a fused adapter of several concepts"):
        Adapter.load(tmp_path / "f.safetensors")


def test_the_file_numbers_its_parts(tmp_path: Path, three: list[Adapter]) -> None:
    fuse(three).save(tmp_path / "f.safetensors")
    with safe_open(tmp_path / "f.safetensors", "pt") as file:
        header = json.loads(file.metadata()["spectral_diffusion"])
        names = set(file.keys())
    assert header["format"] == 1 and [part["adapter"]["name"] for part in header["parts"]] == ["octo", "shell", "rover"]
    assert {"0/unet.up.to_k.A", "1/unet.up.to_k.R_u", "2/token.<rover>"} <= names


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda header, tensors: header.update(parts=[]), "lists no parts"),
        (lambda header, tensors: header.update(parts=3), "lists no parts"),
        (lambda header, tensors: header.update(parts=[3]), "lists no parts"),
        (lambda header, tensors: header["parts"].pop(), "belongs to none of its 2 parts"),
        (lambda header, tensors: tensors.update({"x/y": torch.zeros(1)}), "belongs to none of its 3 parts"),
        (lambda header, tensors: tensors.update({"²/y": torch.zeros(1)}), "belongs to none of its 3 parts"),
        (lambda header, tensors: header["parts"][1].update(strength=float("nan")), "NaN, which is no number"),
        (lambda header, tensors: header["parts"][1].update(strength="much"), "part 1 of it is damaged: strength"),
        (lambda header, tensors: header["parts"][1].update(factor_scale=0.5), "use strength"),
        (lambda header, tensors: header["parts"][1].update(adapter=[]), "belongs to no module"),
        (lambda header, tensors: header["parts"][1]["adapter"].pop("name"), "name: Field required"),
        (lambda header, tensors: tensors.pop("2/unet.up.to_k.A"), "unet.up.to_k: .*lacks A"),
        (lambda header, tensors: tensors["2/unet.up.to_k.A"].fill_(float("nan")), "not finite"),
    ],
)
def test_a_damaged_fused_file_is_refused_by_name(
    tmp_path: Path, three: list[Adapter], change: Callable[[dict[str, Any], dict[str, torch.Tensor]], object], said: str
) -> None:
    path = tmp_path / "f.safetensors"
    fuse(three).save(path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["spectral_diffusion"])
    tensors = load_file(path)
    change(header, tensors)
    save_file(tensors, path, {"spectral_diffusion": json.dumps(header)})
    with pytest.raises(AdapterFileError, match=said) as refusal:
        load_fused(path)
    assert str(path) in refusal.value.what


def test_a_fusion_of_nothing_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        FusedAdapter(parts=())
    for strength in (float("inf"), float("nan"), 1001.0):
        with pytest.raises(InputError, match="out of range"):
            FusedPart(adapter=make_adapter("octo", 0), strength=strength)
