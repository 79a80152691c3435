"""Laws of training without columns: the same engine and steps, and nothing of the ledger's or of a decomposition's."""

from pathlib import Path
from typing import Any

import pytest
import torch

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.diffusion import spectra as decompositions
from spectral_diffusion.diffusion import training
from spectral_diffusion.diffusion.attach import attach
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.checkpoints import read_claim, read_owner
from spectral_diffusion.diffusion.library import delete_adapter, import_adapter, list_adapters, restore_adapter
from spectral_diffusion.diffusion.trainer import StepReport, claims_in, train_concepts
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.fusion import fuse
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.workspace import Workspace
from tests.diffusion.adapting import random_adapter
from tests.diffusion.practice import make_concept, quick_config

STILL = {"unet": 0.0, "text_encoder": 0.0, "embeddings": 0.0, "singular_values": 0.0}


def train(base: Base, out: Path, *names: str, slot: Any = "auto", on_step: Any = None, **changes: Any) -> list[Adapter]:
    config = quick_config(**{"method": "lora", **changes})
    concepts = [make_concept(name) for name in names or ("octo",)]
    return train_concepts(config, base, concepts, Ledger(out / "ledger.json"), on_step, out=out, slot=slot)


def tensors(adapter: Adapter) -> dict[str, torch.Tensor]:
    return {f"{path}.{name}": t for path, own in adapter.modules.items() for name, t in own.items()}


def same(one: Adapter, other: Adapter) -> bool:
    ours, theirs = tensors(one), tensors(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_it_trains_as_others_do_and_its_file_is_whole(base: Base, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in base.unet.state_dict().items()}
    reports: list[StepReport] = []
    adapters = train(base, tmp_path, "octo", "rex", on_step=reports.append)
    spectral = train(base, tmp_path / "spectral", method="spectral")[0]
    assert [(report.concept, report.step) for report in reports] == [
        (name, step) for name in ("octo", "rex") for step in (1, 2, 3, 4)
    ]
    for adapter in adapters:
        saved = Adapter.load(tmp_path / f"{adapter.name}.safetensors")
        assert same(saved, adapter) and saved.slot is None and saved.rank == 2
        assert saved.modules.keys() == spectral.modules.keys()
        assert all(bool(own["up"].any()) for own in saved.modules.values())
    assert all(torch.equal(value, before[name]) for name, value in base.unet.state_dict().items())


def test_it_claims_nothing_and_no_ledger_stops_it(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    for number in range(16):
        ledger.claim(base.name, base.fingerprints, f"holder{number}", 2, 16, number)
    with pytest.raises(SlotError, match="none of the 16 slots"):
        train(base, tmp_path, method="spectral")
    train(base, tmp_path)
    assert [claim.concept for claim in ledger.holders()] == [f"holder{number}" for number in range(16)]
    assert claims_in(tmp_path) == []


def test_it_stands_in_nobody_s_way(base: Base, tmp_path: Path) -> None:
    train(base, tmp_path, "octo")
    (spectral,) = train(base, tmp_path, "rex", method="spectral", slot=0)
    assert spectral.slot is not None and spectral.slot.start == 0
    # Also of a concept that is trained again in columns.
    (again,) = train(base, tmp_path, "octo", method="spectral")
    assert again.slot is not None and again.slot.start == 2


def test_a_slot_is_refused_before_anything_is_done(base: Base, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"slot 0 was asked for, and the method lora holds no columns; leave the slot"):
        train(base, tmp_path, slot=0)
    assert not list(tmp_path.iterdir())


def test_the_start_follows_from_seed_concept_and_path_alone(base: Base, tmp_path: Path) -> None:
    def start(folder: str, *names: str, **changes: Any) -> dict[str, torch.Tensor]:
        torch.manual_seed(len(folder))
        return tensors(train(base, tmp_path / folder, *names, learning_rates=STILL, steps=1, **changes)[-1])

    one, again, second = start("a", "octo"), start("again", "octo"), start("second", "rex", "octo")
    assert all(torch.equal(one[name], again[name]) and torch.equal(one[name], second[name]) for name in one)
    downs = [name for name in one if name.endswith(".down")]
    assert all(not one[name].any() for name in one if name.endswith(".up"))
    for others in (start("seed", "octo", seed=1), start("other", "rex")):
        assert not any(torch.equal(one[name], others[name]) for name in downs)
    # Layers of one shape differ, too.
    firsts = {tuple(one[name].flatten()[:4].tolist()) for name in downs}
    assert len(firsts) == len(downs)


def test_no_weight_is_decomposed(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a decomposition")

    monkeypatch.setattr(training, "spectra", fail)
    monkeypatch.setattr(decompositions, "decompose", fail)
    train(base, tmp_path)


def test_a_checkpoint_of_it_is_somebody_s_and_no_claim(base: Base, tmp_path: Path) -> None:
    def interrupt(report: StepReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(base, tmp_path, on_step=interrupt)
    path = tmp_path / "checkpoints" / "octo.safetensors"
    owner = read_owner(path)
    assert read_claim(path) is None
    assert (owner.concept, owner.base, owner.token) == ("octo", base.name, "<octo>")
    assert owner.fingerprints == base.fingerprints
    # What lies there is told apart from another concept of the name, and from another method.
    ledger, lora, spectral = Ledger(tmp_path / "ledger.json"), quick_config(method="lora"), quick_config()
    with pytest.raises(InputError, match="is of another concept: it holds <octo> and octo is <other>"):
        train_concepts(lora, base, [make_concept(token="<other>")], ledger, out=tmp_path)
    differing = r"method: spectral, there lora; .*slot: columns 0-1, there no columns \(lora\)"
    with pytest.raises(InputError, match=differing):
        train_concepts(spectral, base, [make_concept()], ledger, out=tmp_path, resume=True)


def test_a_finished_one_is_found_again(base: Base, tmp_path: Path) -> None:
    (adapter,) = train(base, tmp_path)
    steps: list[int] = []
    config, ledger = quick_config(method="lora"), Ledger(tmp_path / "ledger.json")
    (found,) = train_concepts(
        config, base, [make_concept()], ledger, lambda report: steps.append(report.step), out=tmp_path, resume="auto"
    )
    assert not steps and same(found, adapter)


def test_the_engine_draws_what_the_file_means(base: Base, tmp_path: Path) -> None:
    """The fast path in training and `attach` in use are one function of the file."""
    (adapter,) = train(base, tmp_path, targets=("attention", "feed_forward", "projection", "convolution"))
    fused = fuse([adapter])
    path = next(path for path in adapter.modules if path.endswith("attn2.to_k"))
    layer = base.unet.get_submodule(path.removeprefix("unet."))
    x = torch.randn(3, layer.in_features, generator=torch.Generator().manual_seed(0))
    plain = layer(x)
    with torch.no_grad(), attach(base.components, {path: fused.low_rank(path)}):
        torch.testing.assert_close(layer(x), plain + x @ fused.dense(path).mT)


def test_the_library_takes_it_in_and_throws_it_away_without_a_word_of_columns(base: Base, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    random_adapter(base, "octo", method="lora").save(tmp_path / "upload.safetensors")
    ledger = Ledger(workspace.ledger_path)
    # Another adapter of that name keeps what it has.
    ledger.claim(base.name, base.fingerprints, "octo", 4, 8, 3)
    imported = import_adapter(workspace, tmp_path / "upload.safetensors")
    (summary,) = list_adapters(workspace)
    assert (imported.notes, summary.fault, summary.parts[0].slot) == ((), "", None)
    deleted = delete_adapter(workspace, imported.file_name)
    restored = restore_adapter(workspace, deleted.item.id)
    assert (deleted.notes, restored.notes) == ((), ())
    assert [str(claim) for claim in ledger.holders()] == ["octo (columns 12-15)"]
