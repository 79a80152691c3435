"""Laws of going on: a checkpoint continues the training it was made by, and no other."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.checkpoints import read_claim
from spectral_diffusion.diffusion.trainer import StepReport, train_concepts
from spectral_diffusion.errors import InputError
from spectral_diffusion.ledger import Ledger
from tests.command_line import call
from tests.diffusion.practice import make_concept, quick_config


def _interrupted(base: Base, folder: Path, after: int = 2) -> Ledger:
    """Train a concept and stop; its checkpoint lies in `folder/adapters/checkpoints`."""
    ledger = Ledger(folder / "ledger.json")

    def interrupt(report: StepReport) -> None:
        if report.step == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_concepts(quick_config(), base, [make_concept()], ledger, interrupt, out=folder / "adapters")
    return ledger


@pytest.mark.parametrize(
    ("concept", "recipe", "said"),
    [
        ({"colour": "red"}, {}, r"photographs with captions and masks: 3 \(\w+\), there 3 \(\w+\)"),
        ({"caption": "a purple disc"}, {}, "photographs with captions"),
        ({"mask_left": 25}, {}, "photographs with captions and masks"),
        ({"class_word": "disc"}, {}, "class_word: disc, there octopus"),
        ({}, {"seed": 7}, "seed: 7, there 0"),
        ({}, {"batch_size": 9}, r"batch_size: 9, there \d"),
        ({}, {"method": "rotation"}, "method: rotation, there spectral"),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_another_training_cannot_go_on_from_it(
    base: Base, tmp_path: Path, concept: dict[str, Any], recipe: dict[str, Any], said: str
) -> None:
    ledger = _interrupted(base, tmp_path)
    out = tmp_path / "adapters"
    before = (out / "checkpoints" / "octo.safetensors").read_bytes()
    with pytest.raises(InputError, match=f"is of another training: {said}") as refusal:
        train_concepts(quick_config(**recipe), base, [make_concept(**concept)], ledger, out=out, resume=True)
    assert refusal.value.remedy.startswith("continue with the same photographs and options")
    assert "\n" not in str(refusal.value)
    assert (out / "checkpoints" / "octo.safetensors").read_bytes() == before
    train_concepts(quick_config(), base, [make_concept()], ledger, out=out, resume=True)


def test_another_text_encoder_cannot_go_on_from_it(base: Base, tmp_path: Path) -> None:
    ledger = _interrupted(base, tmp_path)
    other = dataclasses.replace(base, fingerprints={**base.fingerprints, "text_encoder": "0" * 64})
    with pytest.raises(InputError, match=r"octo\.safetensors is of another base.*text_encoder differs.*--out"):
        train_concepts(quick_config(), other, [make_concept()], ledger, out=tmp_path / "adapters", resume=True)


def _rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        header = file.metadata()
    change(tensors)
    save_file(tensors, path, header)


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _another_shape(path: Path) -> None:
    _rewrite(path, lambda tensors: tensors.update(vector=tensors["vector"][:-1].clone()))


def _no_moments(path: Path) -> None:
    _rewrite(path, lambda tensors: tensors.pop("unet.exp_avg"))


def _no_header(path: Path) -> None:
    save_file({"vector": torch.zeros(3)}, path)


@pytest.mark.parametrize("damage", [_cut_off, _another_shape, _no_moments, _no_header])
def test_a_damaged_checkpoint_is_the_file_s_fault(base: Base, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    ledger = _interrupted(base, tmp_path)
    damage(tmp_path / "adapters" / "checkpoints" / "octo.safetensors")
    with pytest.raises(InputError, match=r"octo\.safetensors is damaged .*; train again without --resume"):
        train_concepts(quick_config(), base, [make_concept()], ledger, out=tmp_path / "adapters", resume=True)


def test_a_checkpoint_beyond_the_steps_asked_is_refused(base: Base, tmp_path: Path) -> None:
    ledger = _interrupted(base, tmp_path, after=3)
    with pytest.raises(InputError, match="checkpoint of octo is at step 3, 1 were asked"):
        train_concepts(quick_config(steps=1), base, [make_concept()], ledger, out=tmp_path / "adapters", resume=True)


@pytest.mark.parametrize("change", [{"colour": "red"}, {"class_word": "disc"}], ids=lambda change: next(iter(change)))
def test_resuming_trains_a_finished_concept_anew_that_has_changed(
    base: Base, tmp_path: Path, change: dict[str, Any]
) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    for concept, taken in ((make_concept(), 1), (make_concept(), 0), (make_concept(**change), 1)):
        seen: list[StepReport] = []
        resume = ledger.path.exists()
        train_concepts(quick_config(steps=1), base, [concept], ledger, seen.append, out=tmp_path, resume=resume)
        assert len(seen) == taken


def test_a_rebuilt_ledger_keeps_the_slots_of_half_trained_concepts(
    base: Base, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, adapters = Ledger(tmp_path / "ledger.json"), tmp_path / "adapters"
    train_concepts(quick_config(steps=1), base, [make_concept("octo"), make_concept("rex")], ledger, out=adapters)

    def interrupt(report: StepReport) -> None:
        raise KeyboardInterrupt

    # A new concept, and one that is trained again in another slot.
    for name, slot in (("new", 4), ("rex", 6)):
        with pytest.raises(KeyboardInterrupt):
            train_concepts(quick_config(), base, [make_concept(name)], ledger, interrupt, out=adapters, slot=slot)
    held = ledger.holders()
    assert [(claim.concept, claim.start) for claim in held] == [("octo", 0), ("new", 8), ("rex", 12)]
    assert read_claim(adapters / "checkpoints" / "new.safetensors") == held[1]
    (adapters / "checkpoints" / "broken.safetensors").write_bytes(b"no checkpoint")
    ledger.path.write_text("lost")
    answer = call(capsys, "slots", "rebuild", "--workspace", tmp_path).expect(0)
    assert "left out" in answer.stderr and "broken.safetensors" in answer.stderr
    assert ledger.holders() == held
    train_concepts(quick_config(), base, [make_concept("new")], ledger, out=adapters, resume=True)
