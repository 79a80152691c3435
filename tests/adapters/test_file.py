"""An adapter file says exactly what was trained, on any machine, and nothing that is not an adapter gets in."""

import json
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from spectral_diffusion.adapters import METHODS, Adapter, SpectralAdditive, TokenInfo
from spectral_diffusion.errors import AdapterFileError, BaseMismatchError, InputError
from spectral_diffusion.spectrum import ColumnSlot, additive_delta, decompose, take_slot
from tests.adapters.making import FINGERPRINTS, base_weights, make_adapter


def dense(adapter: Adapter, module: str) -> Tensor:
    delta = adapter.weight_adapter(module).low_rank()
    assert delta is not None
    return delta.dense().detach()


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], object]) -> None:
    """Change the header and the tensors of a file by hand."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["spectral_diffusion"])
    tensors = load_file(path)
    change(header, tensors)
    save_file(tensors, path, {"spectral_diffusion": json.dumps(header)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "octo.safetensors"
    make_adapter("octo", 1).save(path)
    return path


@given(method=st.sampled_from(sorted(METHODS)), with_c=st.booleans(), number=st.integers(0, 3), rank=st.integers(1, 3))
def test_a_saved_adapter_is_the_adapter(tmp_path: Path, method: str, with_c: bool, number: int, rank: int) -> None:
    adapter = make_adapter("octo", number, rank=rank, method=method, train_singular_values=with_c)
    adapter.save(tmp_path / "a.safetensors")
    again = Adapter.load(tmp_path / "a.safetensors")
    for field in ("name", "method", "rank", "slot", "base_name", "fingerprints", "tokens", "training"):
        assert getattr(again, field) == getattr(adapter, field)
    assert again.modules.keys() == adapter.modules.keys()
    for module, held in adapter.modules.items():
        assert held.keys() == again.modules[module].keys()
        assert all(torch.equal(held[part], again.modules[module][part]) for part in held)
        assert torch.equal(dense(again, module), dense(adapter, module))
    assert torch.equal(again.token_vectors["<octo>"], adapter.token_vectors["<octo>"])


def test_the_same_adapter_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    Adapter.load(path).save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_the_file_has_the_published_names(path: Path) -> None:
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["spectral_diffusion"])
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert shapes["unet.down.to_q.A"] == shapes["unet.down.to_q.U"] == (16, 2)
    assert shapes["unet.down.to_q.B"] == shapes["unet.down.to_q.V"] == (12, 2)
    assert shapes["unet.down.to_q.C"] == shapes["unet.down.to_q.S"] == (2,)
    assert shapes["token.<octo>"] == (2, 8)
    assert {"format": 1, "method": "spectral", "rank": 2, "base_name": "imaginary"}.items() <= header.items()
    assert header["slot"] == {"start": 2, "width": 2} and header["fingerprints"] == FINGERPRINTS
    assert header["tokens"] == {"<octo>": {"class_word": "toy", "vectors": 2}}
    assert header["modules"] == ["unet.down.to_q", "unet.up.to_k"]


@given(method=st.sampled_from(sorted(METHODS)), with_c=st.booleans(), number=st.integers(0, 3))
def test_a_half_size_file_is_the_adapter_rounded_once(tmp_path: Path, method: str, with_c: bool, number: int) -> None:
    adapter = make_adapter("octo", number, method=method, train_singular_values=with_c)
    adapter.save(tmp_path / "whole.safetensors")
    adapter.save(tmp_path / "half.safetensors", dtype=torch.float16)
    loaded = Adapter.load(tmp_path / "half.safetensors")
    for module, held in adapter.modules.items():
        for part, tensor in loaded.modules[module].items():
            assert tensor.dtype == torch.float32 and torch.equal(tensor, held[part].half().float())
        change = dense(adapter, module)
        assert (dense(loaded, module) - change).norm() < 2e-3 * change.norm()
    assert loaded.token_vectors["<octo>"].dtype == torch.float32
    loaded.save(tmp_path / "again.safetensors", dtype=torch.float16)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "half.safetensors").read_bytes()
    sizes = {
        name: sum(tensor.nbytes for tensor in load_file(tmp_path / f"{name}.safetensors").values())
        for name in ("whole", "half")
    }
    assert sizes["whole"] == 2 * sizes["half"]


def test_what_float16_cannot_hold_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    modules = make_adapter("octo", 0).modules
    modules["unet.up.to_k"]["A"][0, 0] = 70_000.0
    adapter = make_adapter("octo", 0, modules=modules)
    with pytest.raises(InputError, match=r"to_k.A has values beyond 65,504, .* float16 holds; save it as float32"):
        adapter.save(tmp_path / "a.safetensors", dtype=torch.float16)
    with pytest.raises(InputError, match=r"do not hold torch.bfloat16; save as"):
        adapter.save(tmp_path / "a.safetensors", dtype=torch.bfloat16)
    assert not list(tmp_path.iterdir())
    adapter.save(tmp_path / "a.safetensors")
    assert Adapter.load(tmp_path / "a.safetensors").modules["unet.up.to_k"]["A"][0, 0] == 70_000.0


def test_layer_wise_tokens_keep_their_layers(tmp_path: Path) -> None:
    vectors = torch.randn(4, 2, 8)
    make_adapter("octo", 0, token_vectors={"<octo>": vectors}).save(tmp_path / "a.safetensors")
    assert torch.equal(Adapter.load(tmp_path / "a.safetensors").token_vectors["<octo>"], vectors)


@given(flips=st.lists(st.sampled_from([-1.0, 1.0]), min_size=2, max_size=2))
def test_a_file_means_the_same_on_a_base_whose_svd_has_other_signs(tmp_path: Path, flips: list[float]) -> None:
    """Replaying A and B against that machine's own columns would not: the file's columns are what it means."""
    trained = make_adapter("octo", 1, train_singular_values=False)
    trained.save(tmp_path / "a.safetensors")
    loaded = Adapter.load(tmp_path / "a.safetensors")
    signs = torch.tensor(flips)
    for module, weight in base_weights().items():
        U, S, Vh = take_slot(decompose(weight, 4), ColumnSlot(2, 2))
        held = loaded.modules[module]
        replayed = additive_delta(U * signs, S, Vh.mT * signs, held["A"], held["B"]).dense()
        assert torch.equal(dense(loaded, module), dense(trained, module))
        agrees = torch.allclose(replayed, dense(trained, module), atol=1e-4)
        assert agrees == (flips == [1.0, 1.0])


def test_another_base_is_refused_by_both_names_unless_allowed() -> None:
    adapter = make_adapter("octo", 0)
    adapter.check_base("renamed", {**FINGERPRINTS, "text_encoder": "b" * 64})
    for other in ({"unet": "c" * 64}, {"text_encoder": "a" * 64}):
        with pytest.raises(BaseMismatchError, match="trained on imaginary and the base is sd15: unet differs"):
            adapter.check_base("sd15", other)
        adapter.check_base("sd15", other, allow_other=True)


def test_minor_additions_to_the_header_are_passed_over(path: Path) -> None:
    def add(header: dict[str, Any], _: object) -> None:
        header["invented_later"] = {"deep": [1]}
        header["tokens"]["<octo>"]["invented_later"] = True

    rewrite(path, add)
    assert Adapter.load(path).name == "octo"


def test_a_token_is_renamed_in_its_place_and_only_to_a_free_word() -> None:
    vectors = {"<a>": torch.zeros(1, 8), "<b>": torch.ones(1, 8)}
    tokens = {token: TokenInfo(class_word="toy", vectors=1) for token in vectors}
    adapter = make_adapter("octo", 0, tokens=tokens, token_vectors=vectors)
    renamed = adapter.rename_token("<a>", "<new>")
    assert list(renamed.tokens) == list(renamed.token_vectors) == ["<new>", "<b>"]
    assert renamed.token_vectors["<new>"] is vectors["<a>"] and list(adapter.tokens) == ["<a>", "<b>"]
    for old, new in (("<c>", "<d>"), ("<a>", "<b>")):
        with pytest.raises(InputError, match="cannot become"):
            adapter.rename_token(old, new)
    for new in (
        "",
        "two\nlines",
        "plain",
        "<>",
        "<two words>",
        "<a",
        "<a>b>",
        "<<a>>",
        "<a@b>",
        f"<{'a' * 41}>",
        "<a>\n",
        "<\x1b[31m>",
    ):
        with pytest.raises(InputError, match="cannot be a token; write it as <octo>"):
            adapter.rename_token("<a>", new)


# Wrong files.


class Trap:
    """Leaves a trace when unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_by_another_name_is_refused_and_never_opened(tmp_path: Path, protocol: int) -> None:
    path, trace = tmp_path / "a.safetensors", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Trap(trace), protocol=protocol))
    with pytest.raises(AdapterFileError, match=r"a pickle|something else"):
        Adapter.load(path)
    assert not trace.exists()


def test_a_torch_checkpoint_or_zip_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "a.safetensors")
    with zipfile.ZipFile(tmp_path / "b.safetensors", "w") as archive:
        archive.writestr("data.pkl", "x")
    for name in "ab":
        with pytest.raises(AdapterFileError, match=r"a pickle .*pickles can run code"):
            Adapter.load(tmp_path / f"{name}.safetensors")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterFileError, match="there is no file"):
        Adapter.load(tmp_path / "absent.safetensors")
    with pytest.raises(AdapterFileError, match="is a folder"):
        Adapter.load(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(AdapterFileError, match="no ordinary file but a pipe"):
            Adapter.load(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    with pytest.raises(AdapterFileError, match="empty"):
        Adapter.load(tmp_path / "empty")


def test_a_file_cut_off_anywhere_is_refused(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in [*range(64), *range(64, len(whole), 97), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(AdapterFileError):
            Adapter.load(cut)
    cut.write_bytes(whole + b"x")
    with pytest.raises(AdapterFileError, match="damaged"):
        Adapter.load(cut)


@given(data=st.data())
def test_a_file_with_any_byte_changed_is_read_or_refused_but_never_breaks(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.safetensors"
    if not path.exists():
        make_adapter("octo", 1).save(path)
    content = bytearray(path.read_bytes())
    header_length = int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, header_length + 16))] = data.draw(st.integers(0, 255))
    (tmp_path / "b.safetensors").write_bytes(content)
    with suppress(AdapterFileError):
        Adapter.load(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"{", "header of 9,223,372,036,854,775,807 bytes"),
        (b'{"__metadata__": ' + b"[" * 100_000, "without a readable"),
        (b'{"__metadata__": {"spectral_diffusion": "' + b"[" * 100_000 + b'"}}', "without a readable"),
        (b'{"__metadata__": {"spectral_diffusion": "[1]"}}', "without a readable"),
        (b'{"__metadata__": {"spectral_diffusion": 7}}', "without a readable"),
        (b'{"__metadata__": []}', "without a readable"),
        (b"{not json", "without a readable"),
        (b'{"__metadata__": {"spectral_diffusion": "{\\"format\\": 1}"}}', "not an adapter's: .*Field required"),
        (b'{"__metadata__": {"spectral_diffusion": "{\\"format\\": 1, \\"parts\\": 3}"}}', "fused"),
        (
            b'{"__metadata__": {"spectral_diffusion": "{\\"format\\": 1}"}, '
            b'"x.A": {"dtype": "F32", "shape": [1000000, 1000000], "data_offsets": [0, 4000000000000]}}',
            "damaged",
        ),
        (
            b'{"__metadata__": {"spectral_diffusion": "{\\"format\\": 1}"}, '
            b'"x.A": {"dtype": "F8_E8M0", "shape": [0], "data_offsets": [0, 0]}}',
            "'F8_E8M0', and adapters are float32",
        ),
    ],
)
def test_hostile_headers_are_refused(tmp_path: Path, header: bytes, said: str) -> None:
    length = 2**63 - 1 if header == b"{" else len(header)
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", length) + header)
    with pytest.raises(AdapterFileError, match=said):
        Adapter.load(tmp_path / "a.safetensors")


def test_a_header_longer_than_any_fusion_needs_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "a.safetensors", "wb") as file:
        file.write(struct.pack("<Q", 2**30) + b"{")
        file.truncate(2**31)
    with pytest.raises(AdapterFileError, match="header of 1,073,741,824 bytes"):
        Adapter.load(tmp_path / "a.safetensors")


def test_a_plain_lora_is_told_from_an_adapter(tmp_path: Path) -> None:
    save_file({"unet.to_q.lora_A.weight": torch.zeros(4, 8)}, tmp_path / "lora.safetensors", {"format": "pt"})
    with pytest.raises(AdapterFileError, match="not an adapter of this package"):
        Adapter.load(tmp_path / "lora.safetensors")


def test_a_newer_format_asks_for_an_update(path: Path) -> None:
    rewrite(path, lambda header, _: header.update(format=2))
    with pytest.raises(AdapterFileError, match="format 2, and this version reads format 1; update"):
        Adapter.load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda header, tensors: tensors.pop("unet.down.to_q.S"), "unet.down.to_q: .*lacks S"),
        (lambda header, tensors: tensors.update({"unet.down.to_q.X": torch.zeros(2)}), "unknown X"),
        (lambda header, tensors: tensors.update({"unet.mid.to_q.A": torch.zeros(2)}), "no module that the header"),
        (lambda header, tensors: tensors.update({"stray": torch.zeros(2)}), "no module that the header"),
        (lambda header, tensors: header["modules"].append("unet.mid.to_q"), "unet.mid.to_q: .*lacks"),
        (lambda header, tensors: header.update(modules=[]), "no module that the header"),
        (lambda header, tensors: header.update(modules="unet"), "no module that the header"),
        (lambda header, tensors: header.update(modules=[3, None]), "no module that the header"),
        (lambda header, tensors: tensors["unet.down.to_q.A"].fill_(float("nan")), "unet.down.to_q.A has values .*NaN"),
        (lambda header, tensors: tensors["unet.up.to_k.S"].fill_(float("inf")), "not finite"),
        (lambda header, tensors: tensors["token.<octo>"].fill_(float("nan")), "token.<octo> has values"),
        (lambda header, tensors: tensors.update({"unet.up.to_k.S": torch.zeros(2).half()}), "some of its tensors are"),
        (lambda header, tensors: tensors.update({"unet.up.to_k.S": torch.zeros(2).bfloat16()}), "'BF16', and adapters"),
        (lambda header, tensors: tensors.update({"unet.up.to_k.S": torch.zeros(2).long()}), "'I64', and adapters are"),
        (
            lambda header, tensors: tensors.update({"unet.up.to_k.S": torch.zeros(3)}),
            r"\(3,\) does not fit|does not fit",
        ),
        (lambda header, tensors: header.update(rank=3), "rank 3 and a slot of columns 2-3"),
        (lambda header, tensors: header.update(rank=3, slot={"start": 0, "width": 3}), "has rank 2 where"),
        (lambda header, tensors: header.update(slot={"start": -2, "width": 2}), "does not exist"),
        (lambda header, tensors: header.update(slot=7), "slot"),
        (
            lambda header, tensors: header.update(method="lora9000"),
            "method 'lora9000' is not one of lora, rotation, spectral",
        ),
        (lambda header, tensors: header.update(method="rotation"), "lacks R_u, R_v"),
        (lambda header, tensors: header.update(fingerprints={"text_encoder": "a"}), "no fingerprint"),
        (lambda header, tensors: header.update(name="two\nlines"), "name: "),
        (lambda header, tensors: header.update(name="red \x1b[31m"), "name: "),
        (lambda header, tensors: header.update(tokens={}), "tokens listed"),
        (lambda header, tensors: tensors.pop("token.<octo>"), "tokens listed"),
        (lambda header, tensors: header["tokens"]["<octo>"].update(vectors=3), "where 3 vectors"),
        (lambda header, tensors: tensors.update({"token.<octo>": torch.zeros(2)}), "token <octo> has vectors of shape"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_by_name(
    path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], object], said: str
) -> None:
    rewrite(path, change)
    with pytest.raises(AdapterFileError, match=said) as refusal:
        Adapter.load(path)
    assert str(path) in refusal.value.what and "\n" not in str(refusal.value)


def test_an_adapter_that_went_wrong_is_not_even_made() -> None:
    modules = make_adapter("octo", 0).modules
    modules["unet.up.to_k"]["A"][0, 0] = float("nan")
    with pytest.raises(AdapterFileError, match=r"unet.up.to_k.A has values that are not finite"):
        make_adapter("octo", 0, modules=modules)


# Places that cannot be written to.


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_a_full_disk_leaves_the_old_file_and_a_clear_word(path: Path) -> None:
    import resource

    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*free some space"):
            make_adapter("octo", 2).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="choose a folder you may write to"):
            make_adapter("octo", 2).save(tmp_path / "a.safetensors")
    finally:
        tmp_path.chmod(0o700)


def test_a_path_that_is_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        make_adapter("octo", 2).save(tmp_path / "a.safetensors")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_tensors_that_share_memory_are_saved_each(tmp_path: Path) -> None:
    """The trainer keeps all factors as views of one flat vector."""
    flat = torch.randn(100)
    U, S, Vh = take_slot(decompose(base_weights()["unet.down.to_q"], 2), ColumnSlot(0, 2))
    held = {"U": U, "S": S, "V": Vh.mT, "A": flat[:32].view(16, 2), "B": flat[8:32].view(12, 2)}
    adapter = make_adapter("octo", 0, modules={"unet.down.to_q": held})
    adapter.save(tmp_path / "a.safetensors")
    loaded = Adapter.load(tmp_path / "a.safetensors")
    assert all(torch.equal(held[part], loaded.modules["unet.down.to_q"][part]) for part in held)
    assert isinstance(loaded.weight_adapters()["unet.down.to_q"], SpectralAdditive)
