"""Laws of what training may take and must give back: no slot is lost or kept in vain, no other concept's file goes."""

import math
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from spectral_diffusion.diffusion import learner, training
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.dataset import Concept
from spectral_diffusion.diffusion.trainer import StepReport, TrainingWarning, claims_in, train_concepts
from spectral_diffusion.errors import InputError, SlotError, TrainingError
from spectral_diffusion.fusion import fuse
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.spectrum import ColumnSlot
from tests.diffusion.adapting import random_adapter
from tests.diffusion.practice import make_concept, quick_config


def test_training_again_elsewhere_in_vain_keeps_the_old_slot(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    (first,) = train_concepts(quick_config(steps=1), base, [make_concept()], ledger, out=tmp_path)
    kept = (tmp_path / "octo.safetensors").read_bytes()

    def fail(report: StepReport) -> None:
        raise RuntimeError("the listener broke")

    with pytest.raises(RuntimeError, match="listener"):
        train_concepts(quick_config(), base, [make_concept()], ledger, fail, out=tmp_path, slot=5)
    assert [claim.slot for claim in ledger.holders()] == [first.slot]
    assert (tmp_path / "octo.safetensors").read_bytes() == kept


def test_a_failure_without_anything_on_disk_gives_the_slot_back(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.claim(base.name, base.fingerprints, "old", 2, 16)

    def fail(report: StepReport) -> None:
        raise RuntimeError("the listener broke")

    with pytest.raises(RuntimeError, match="listener"):
        train_concepts(quick_config(), base, [make_concept("old"), make_concept("new")], ledger, fail, out=tmp_path)
    assert [claim.concept for claim in ledger.holders()] == ["old"]


def test_auto_takes_no_columns_that_a_file_holds_whatever_the_ledger_says(base: Base, tmp_path: Path) -> None:
    ledger, out, elsewhere = Ledger(tmp_path / "ledger.json"), tmp_path / "out", tmp_path / "elsewhere"
    for folder, name, start in ((out, "imported", 0), (elsewhere, "another", 2), (out, "octo", 4)):
        folder.mkdir(exist_ok=True)
        random_adapter(base, name, slot=ColumnSlot(start, 2)).save(folder / f"{name}.safetensors")
    (out / "damaged.safetensors").write_bytes(b"damaged")
    recipe = quick_config(steps=1)
    concepts = [make_concept("octo"), make_concept("new")]
    made = train_concepts(recipe, base, concepts, ledger, out=out, in_files=claims_in(elsewhere))
    # Its own file does not stand in the way of a concept, but in that of the others.
    assert [adapter.slot for adapter in made] == [ColumnSlot(4, 2), ColumnSlot(6, 2)]
    # Whoever names a slot has it.
    (named,) = train_concepts(recipe, base, [make_concept("named")], ledger, out=out, slot=0)
    assert named.slot == ColumnSlot(0, 2)


def test_a_failed_training_leaves_the_concepts_slots_on_other_bases(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    elsewhere = {"unet": "0" * 64}
    ledger.claim("another", elsewhere, "octo", 2, 8)

    def stop(report: StepReport) -> None:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        train_concepts(quick_config(), base, [make_concept()], ledger, on_step=stop, out=tmp_path / "out")
    assert [(claim.concept, claim.base) for claim in ledger.holders()] == [("octo", "another")]


def test_another_concept_of_the_same_name_is_refused_before_anything_of_the_first_is_lost(
    base: Base, tmp_path: Path
) -> None:
    ledger, out = Ledger(tmp_path / "ledger.json"), tmp_path / "adapters"
    train_concepts(quick_config(steps=1), base, [make_concept("dog")], ledger, out=out)
    kept, held = (out / "dog.safetensors").read_bytes(), ledger.holders()
    stranger = make_concept("dog", token="<rex>")

    def train(concept: Concept, out: Path = out, ledger: Ledger = ledger) -> None:
        train_concepts(quick_config(steps=1), base, [concept], ledger, out=out)

    with pytest.raises(InputError, match=r"dog\.safetensors .*<dog>.*<rex>; rename the concept's folder"):
        train(stranger)
    with pytest.raises(InputError, match=r"dog\.safetensors .*<dog>.*<rex>; rename the concept's folder"):
        train(stranger, ledger=Ledger(tmp_path / "another.json"))
    # Elsewhere its file would be safe, but not its columns.
    with pytest.raises(SlotError, match=r"another concept of that name, with the token <dog>"):
        train(stranger, out=tmp_path / "elsewhere")
    assert (out / "dog.safetensors").read_bytes() == kept
    assert ledger.holders() == held
    # The same concept may be trained again, with other photographs and another class word.
    train(make_concept("dog", colour="red", class_word="puppy"))
    assert [claim.slot for claim in ledger.holders()] == [claim.slot for claim in held]
    # Whoever asks for it in the words that were told gets the other one.
    (out / "dog.safetensors").unlink()
    ledger.release("dog")
    train(stranger)
    assert [claim.token for claim in ledger.holders()] == ["<rex>"]


def test_a_half_trained_or_a_fused_adapter_of_that_name_is_not_lost_either(base: Base, tmp_path: Path) -> None:
    def interrupt(report: StepReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_concepts(
            quick_config(), base, [make_concept("dog")], Ledger(tmp_path / "a.json"), interrupt, out=tmp_path
        )
    with pytest.raises(InputError, match=r"checkpoints.dog\.safetensors .*<dog>.*<rex>"):
        train_concepts(
            quick_config(), base, [make_concept("dog", token="<rex>")], Ledger(tmp_path / "b.json"), out=tmp_path
        )
    fuse([random_adapter(base, "dog"), random_adapter(base, "cat", slot=ColumnSlot(4, 4))]).save(
        tmp_path / "pets.safetensors"
    )
    with pytest.raises(InputError, match=r"pets\.safetensors .*<dog>, <cat>"):
        train_concepts(quick_config(), base, [make_concept("pets")], Ledger(tmp_path / "b.json"), out=tmp_path)


def test_a_loss_that_is_not_finite_before_the_first_checkpoint_promises_nothing(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.claim(base.name, base.fingerprints, "old", 2, 16, token="<old>")
    held = ledger.holders()
    monkeypatch.setattr(learner, "masked_loss", lambda predicted, *_: predicted.sum() * math.nan)
    for options in ({}, {"slot": 5}):
        for name in ("new", "old"):
            with pytest.raises(TrainingError) as stopped:
                train_concepts(
                    quick_config(checkpoint_every=2), base, [make_concept(name)], ledger, out=tmp_path, **options
                )
            assert str(stopped.value).endswith("; lower the learning rates")
            assert ledger.holders() == held
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_checkpoint_keeps_the_slot_it_was_made_in(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path / "ledger.json")

    def interrupt(report: StepReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_concepts(quick_config(), base, [make_concept()], ledger, interrupt, out=tmp_path, slot=1)
    held = ledger.holders()
    with monkeypatch.context() as patched:
        patched.setattr(training, "prepare", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_concepts(quick_config(), base, [make_concept()], ledger, out=tmp_path, slot=3)
    assert ledger.holders() == held
    train_concepts(quick_config(), base, [make_concept()], ledger, out=tmp_path, resume=True)
    assert ledger.holders() == held


def test_a_concept_of_another_base_in_the_same_folder_is_not_replaced(base: Base, tmp_path: Path) -> None:
    def interrupt(report: StepReport) -> None:
        raise KeyboardInterrupt

    ledger = Ledger(tmp_path / "ledger.json")
    train_concepts(quick_config(steps=1), base, [make_concept("octo")], ledger, out=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_concepts(quick_config(), base, [make_concept("rex")], ledger, interrupt, out=tmp_path)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert len(kept) == 2
    other = replace(base, name="another", fingerprints=dict.fromkeys(base.fingerprints, "0" * 64))
    held = ledger.holders()
    for name in ("octo", "rex"):
        for resume in (False, True, "auto"):
            with pytest.raises(InputError, match=rf"{name}\.safetensors is of another base: .* another here.*--out"):
                train_concepts(quick_config(), other, [make_concept(name)], ledger, out=tmp_path, resume=resume)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == kept
    assert ledger.holders() == held
    train_concepts(quick_config(steps=1), other, [make_concept("octo")], ledger, out=tmp_path / "elsewhere")


def test_what_other_photographs_gave_is_replaced_with_a_warning_only(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")

    def train(concept: Concept) -> None:
        train_concepts(quick_config(steps=1), base, [concept], ledger, out=tmp_path)

    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        train(make_concept())
        train(make_concept())
    with pytest.warns(
        TrainingWarning,
        match=r"octo\.safetensors was trained from other photographs: 3 \(\w+\) there, 3 .* replaced when this",
    ):
        train(make_concept(colour="red"))
