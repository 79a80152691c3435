"""The samples come trained: small files that fit the base and each other, and get into a workspace whole."""

import os
import zipfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from spectral_diffusion import samples
from spectral_diffusion.adapters import Adapter
from spectral_diffusion.diffusion.base import load_base
from spectral_diffusion.diffusion.dataset import load_concept
from spectral_diffusion.diffusion.pipeline import generate
from spectral_diffusion.diffusion.settings import hash_adapter
from spectral_diffusion.errors import DiskFullError, InputError
from spectral_diffusion.fusion import fuse
from spectral_diffusion.ledger import Claim, Ledger
from spectral_diffusion.samples import SIZE_LIMIT_BYTES, add_samples, is_new, sample_adapters
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.workspace import SAMPLES, Workspace, sample_concepts
from tests.adapters.making import FINGERPRINTS, make_adapter


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


@pytest.fixture
def little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Samples with adapters of the imaginary base."""
    folder = tmp_path / "packaged"
    for slot, name in enumerate(SAMPLES):
        (folder / name).mkdir(parents=True)
        (folder / name / "00.png").write_bytes(b"picture of " + name.encode())
        (folder / name / "concept.toml").write_text(f'token = "<{name}>"\n')
        make_adapter(name, slot).save(folder / name / f"{name}.safetensors", dtype=torch.float16)
    monkeypatch.setattr(samples, "sample_concepts", lambda: folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is shipped.


def test_every_sample_has_an_adapter_of_at_most_a_mebibyte_in_its_own_slot() -> None:
    shipped = sample_adapters()
    assert list(shipped) == list(SAMPLES)
    for slot, (name, path) in enumerate(shipped.items()):
        assert path.stat().st_size <= SIZE_LIMIT_BYTES == 1_048_576
        assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
        adapter, concept = Adapter.load(path), load_concept(path.parent)
        assert adapter.name == name and list(adapter.tokens) == [concept.token]
        assert adapter.tokens[concept.token].class_word == concept.class_word
        assert adapter.slot == ColumnSlot(slot * adapter.rank, adapter.rank)


def test_shipped_adapters_fit_the_shipped_base_and_fuse_without_overlap() -> None:
    base = load_base("toybox")
    adapters = [Adapter.load(path) for path in sample_adapters().values()]
    fused = fuse(adapters)
    fused.check_base(base.name, base.fingerprints)
    # Of float32 files it is below 1e-5; what is left is the rounding of the columns.
    assert all(fused.overlap_matrix[i, j] < 1e-3 for i, j in combinations(range(len(adapters)), 2))


def test_two_shipped_adapters_draw_together_at_once() -> None:
    fused = fuse([Adapter.load(sample_adapters()[name]) for name in ("octo", "spot")])
    base = load_base("toybox")
    options = {"seed": 1, "steps": 2, "guidance_scale": 4.0, "width_px": 192, "height_px": 128}
    drawn, plain = (
        generate(base, adapters, prompt, **options)[0].image
        for adapters, prompt in ((fused, "a photo of <octo> and <spot>"), (None, "a photo of an octopus and a dog"))
    )
    assert drawn.size == (192, 128) and drawn.tobytes() != plain.tobytes()


def test_a_sample_stored_otherwise_is_the_same_adapter(tmp_path: Path) -> None:
    shipped = Adapter.load(sample_adapters()["octo"])
    shipped.save(tmp_path / "whole.safetensors")
    shipped.save(tmp_path / "half.safetensors", dtype=torch.float16)
    again = [Adapter.load(tmp_path / f"{name}.safetensors") for name in ("whole", "half")]
    assert {hash_adapter(adapter) for adapter in again} == {hash_adapter(shipped)}
    assert (tmp_path / "half.safetensors").read_bytes() == sample_adapters()["octo"].read_bytes()


@pytest.mark.parametrize("name", SAMPLES)
def test_an_adapter_beside_the_photographs_is_no_part_of_the_concept(name: str, tmp_path: Path) -> None:
    folder, bare, packed = sample_concepts() / name, tmp_path / name, tmp_path / "zipped" / f"{name}.zip"
    assert (folder / f"{name}.safetensors").is_file()
    bare.mkdir()
    packed.parent.mkdir()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"{name}/{path.name}")
            if path.suffix != ".safetensors":
                (bare / path.name).write_bytes(path.read_bytes())
    digests = {load_concept(place).digest() for place in (folder, bare, packed)}
    assert len(digests) == 1


# Into a workspace.


def test_a_new_workspace_gets_every_sample_with_its_columns(workspace: Workspace) -> None:
    assert is_new(workspace)
    added = add_samples(workspace)
    assert (added.concepts, added.adapters, added.left_out) == (list(SAMPLES), list(SAMPLES), [])
    assert not is_new(workspace)
    claims = Ledger(workspace.ledger_path).holders("toybox")
    assert [(claim.concept, claim.start, claim.token) for claim in claims] == [
        (name, 4 * slot, f"<{name}>") for slot, name in enumerate(SAMPLES)
    ]
    for name in SAMPLES:
        copy = workspace.adapters / f"{name}.safetensors"
        assert copy.read_bytes() == sample_adapters()[name].read_bytes()
        assert Claim.of(Adapter.load(copy)) in claims
        assert load_concept(workspace.concepts / name).digest() == load_concept(sample_concepts() / name).digest()
        assert not list((workspace.concepts / name).glob("*.safetensors"))
    assert not [path for path in workspace.concepts.iterdir() if path.name.startswith(".")]


def test_adding_again_changes_nothing_and_brings_back_what_is_gone(workspace: Workspace, little: Path) -> None:
    add_samples(workspace)
    before = files(workspace.root)
    again = add_samples(workspace)
    assert not again.concepts and not again.adapters and len(again.left_out) == 3
    assert files(workspace.root) == before
    (workspace.adapters / "shelly.safetensors").unlink()
    assert add_samples(workspace).adapters == ["shelly"]
    assert {**files(workspace.root), "ledger.json": b""} == {**before, "ledger.json": b""}
    assert [claim.concept for claim in Ledger(workspace.ledger_path).holders()] == list(SAMPLES)


@pytest.mark.parametrize(
    "made", [lambda w: w.adapters.mkdir(parents=True), lambda w: Ledger(w.ledger_path).rebuild([])]
)
def test_a_workspace_in_which_something_was_trained_is_not_new(
    workspace: Workspace, made: Callable[[Workspace], object]
) -> None:
    made(workspace)
    assert not is_new(workspace)


def test_a_persons_own_files_of_these_names_stay(workspace: Workspace, little: Path) -> None:
    own = workspace.concepts / "octo"
    own.mkdir(parents=True)
    (own / "00.png").write_bytes(b"my own octopus")
    workspace.adapters.mkdir()
    (workspace.adapters / "shelly.safetensors").write_bytes(b"my own tortoise")
    added = add_samples(workspace)
    assert (added.concepts, added.adapters) == (["shelly", "spot"], ["spot"])
    assert "octo is there already and is not the sample" in added.left_out[0]
    assert "shelly.safetensors is there already" in added.left_out[1]
    assert files(own) == {"00.png": b"my own octopus"}
    assert (workspace.adapters / "shelly.safetensors").read_bytes() == b"my own tortoise"
    assert [claim.concept for claim in Ledger(workspace.ledger_path).holders()] == ["spot"]


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_links_in_the_place_of_a_sample_are_not_followed(workspace: Workspace, little: Path, tmp_path: Path) -> None:
    workspace.concepts.mkdir(parents=True)
    workspace.adapters.mkdir()
    (workspace.concepts / "octo").symlink_to(tmp_path / "elsewhere")
    (workspace.adapters / "shelly.safetensors").symlink_to(tmp_path / "nowhere")
    (little / "spot" / "secret.txt").symlink_to(little / "octo" / "concept.toml")
    added = add_samples(workspace)
    assert (added.concepts, added.adapters) == (["shelly", "spot"], ["spot"])
    assert not (tmp_path / "elsewhere").exists() and not (tmp_path / "nowhere").exists()
    assert set(files(workspace.concepts / "spot")) == {"00.png", "concept.toml"}


def test_columns_of_another_concept_are_not_taken(workspace: Workspace, little: Path) -> None:
    ledger = Ledger(workspace.ledger_path)
    ledger.claim("imaginary", FINGERPRINTS, "rover", 2, 6, 1)
    ledger.claim("imaginary", FINGERPRINTS, "spot", 2, 6, 4)
    added = add_samples(workspace)
    assert added.concepts == list(SAMPLES) and added.adapters == ["octo"]
    assert "the adapter of shelly: slot 1 (columns 2-3) on imaginary is held by rover" in added.left_out[0]
    assert "the adapter of spot: another spot (columns 8-9) is in the ledger" in added.left_out[1]
    assert [(claim.concept, claim.start) for claim in ledger.holders()] == [("octo", 0), ("rover", 2), ("spot", 8)]
    assert sorted(files(workspace.adapters)) == ["octo.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX modes")
def test_read_only_samples_become_files_that_a_person_can_change(workspace: Workspace, little: Path) -> None:
    for path in [*little.rglob("*"), little]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert add_samples(workspace).adapters == list(SAMPLES)
        assert all(path.stat().st_mode & 0o200 for path in workspace.root.rglob("*"))
    finally:
        for path in [little, *little.rglob("*")]:
            path.chmod(0o755)


def test_a_full_disk_leaves_no_part_of_a_sample_and_no_columns(
    workspace: Workspace, little: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = samples.write_atomically

    def write(path: Path, writer: Callable[[Path], object]) -> None:
        if path.name in full:
            raise DiskFullError(f"cannot write {path}: no space", "free some space")
        really(path, writer)

    monkeypatch.setattr(samples, "write_atomically", write)
    full = {"concept.toml"}
    with pytest.raises(DiskFullError):
        add_samples(workspace)
    assert not files(workspace.concepts) and not list(workspace.concepts.iterdir())
    full = {"shelly.safetensors"}
    with pytest.raises(DiskFullError):
        add_samples(workspace)
    assert sorted(files(workspace.adapters)) == ["octo.safetensors"]
    assert [claim.concept for claim in Ledger(workspace.ledger_path).holders()] == ["octo"]
    full = set()
    assert add_samples(workspace).adapters == ["shelly", "spot"]


def test_what_a_killed_process_left_is_swept_and_what_another_writes_is_not(workspace: Workspace, little: Path) -> None:
    stale, young = (workspace.concepts / f".octo.{digit * 16}.new" for digit in "ab")
    for place in (stale, young):
        place.mkdir(parents=True)
    os.utime(stale, (0, 0))
    add_samples(workspace)
    assert not stale.exists() and young.exists()


def test_an_installation_without_adapters_still_has_photographs(workspace: Workspace, little: Path) -> None:
    (little / "octo" / "octo.safetensors").unlink()
    added = add_samples(workspace)
    assert added.concepts == list(SAMPLES) and added.adapters == ["shelly", "spot"]
    assert added.left_out == ["the adapter of octo: this installation has none"]
    (little / "spot" / "00.png").unlink()
    (little / "spot" / "concept.toml").unlink()
    (little / "spot" / "spot.safetensors").unlink()
    (little / "spot").rmdir()
    with pytest.raises(InputError, match="lacks the sample spot; install again"):
        add_samples(workspace)


# Made again.


@pytest.mark.slow
def test_the_command_makes_them_again_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Most of the time would go into pictures of other toys.
    monkeypatch.setattr(samples, "RECIPE", {**samples.RECIPE, "training.companions_count": 2})
    made = [list(samples.train_samples(tmp_path / turn, seed=3, steps=3)) for turn in "ab"]
    for one, other in zip(*made, strict=True):
        assert one.read_bytes() == other.read_bytes()
        shipped, small = Adapter.load(sample_adapters()[one.stem]), Adapter.load(one)
        assert one.parent.name == one.stem and one.stat().st_size <= SIZE_LIMIT_BYTES
        assert small.slot == shipped.slot and small.fingerprints == shipped.fingerprints
        assert {module: held.keys() for module, held in small.modules.items()} == {
            module: held.keys() for module, held in shipped.modules.items()
        }
        assert small.training["steps"] == 3 and small.training["seed"] == 3
        assert shipped.training["steps"] == samples.STEPS and shipped.training["seed"] == samples.SEED
    assert [path.stem for path in made[0]] == list(SAMPLES)
