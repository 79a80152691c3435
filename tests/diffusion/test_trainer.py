"""Laws of training, on the base in miniature: what it writes, what it keeps when it stops, that it goes on exactly."""

import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import PartialState
from PIL import Image

from spectral_diffusion.adapters import Adapter, holds_columns
from spectral_diffusion.config import Config
from spectral_diffusion.diffusion.base import Base, load_base
from spectral_diffusion.diffusion.dataset import Concept
from spectral_diffusion.diffusion.prompts import word_vectors
from spectral_diffusion.diffusion.trainer import Resume, StepReport, train_concepts
from spectral_diffusion.errors import DiskFullError, InputError, SlotError, TrainingError
from spectral_diffusion.ledger import Ledger
from tests.diffusion.practice import make_concept, quick_config


@pytest.fixture(scope="module")
def base(miniature: Path) -> Base:
    return load_base(miniature)


def _tensors(adapter: Adapter) -> dict[str, torch.Tensor]:
    named = {f"{path}.{name}": t for path, own in adapter.modules.items() for name, t in own.items()}
    return named | dict(adapter.token_vectors)


def _same(one: Adapter, other: Adapter) -> bool:
    ours, theirs = _tensors(one), _tensors(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_each_concept_gets_its_own_slot_and_a_complete_file(base: Base, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in base.unet.state_dict().items()}
    reports: list[StepReport] = []
    ledger = Ledger(tmp_path / "ledger.json")
    adapters = train_concepts(
        quick_config(), base, [make_concept("octo"), make_concept("rex")], ledger, reports.append, out=tmp_path
    )
    assert [adapter.slot.start for adapter in adapters] == [0, 2]
    assert {claim.concept: claim.start for claim in ledger.holders(base.name)} == {"octo": 0, "rex": 2}
    for adapter in adapters:
        saved = Adapter.load(tmp_path / f"{adapter.name}.safetensors")
        assert _same(saved, adapter)
        assert saved.training["steps"] == 4
        assert saved.tokens[f"<{adapter.name}>"].class_word == "octopus"
        assert saved.token_vectors[f"<{adapter.name}>"].shape == (2, 32)
        assert any(float(own["A"].abs().max()) > 0 for own in saved.modules.values())
        saved.check_base(base.name, base.fingerprints)
    assert [(report.concept, report.step) for report in reports] == [
        (name, step) for name in ("octo", "rex") for step in (1, 2, 3, 4)
    ]
    assert all(math.isfinite(report.loss) and report.steps_per_second > 0 for report in reports)
    assert reports[3].seconds_left == 0
    assert all(torch.equal(value, before[name]) for name, value in base.unet.state_dict().items())
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "ledger.json",
        "octo.safetensors",
        "rex.safetensors",
    ]


def test_the_same_seed_gives_the_same_adapter_whatever_is_trained_before(base: Base, tmp_path: Path) -> None:
    alone = train_concepts(
        quick_config(), base, [make_concept("rex")], Ledger(tmp_path / "a.json"), out=tmp_path / "a", slot=1
    )
    second = train_concepts(
        quick_config(),
        base,
        [make_concept("octo"), make_concept("rex")],
        Ledger(tmp_path / "b.json"),
        out=tmp_path / "b",
        slot=0,
    )
    other = train_concepts(
        quick_config(seed=1), base, [make_concept("rex")], Ledger(tmp_path / "c.json"), out=tmp_path / "c", slot=1
    )
    assert _same(alone[0], second[1])
    assert not _same(alone[0], other[0])


VARIANTS = {
    "plain": {},
    "everything": {
        "method": "spectral",
        "train_text_encoder": True,
        "train_singular_values": True,
        "layerwise_tokens": True,
        "min_snr_gamma": 5.0,
        "noise_offset": 0.05,
        "cutmix_probability": 0.5,
        "cutmix_wide_probability": 0.5,
        "companions_count": 2,
        "prior_weight": 0.5,
        "prior_count": 1,
        "targets": ("attention", "feed_forward", "projection", "convolution"),
    },
    "rotation": {"method": "rotation", "train_singular_values": True},
    "lora": {"method": "lora", "train_text_encoder": True},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_an_interrupted_training_goes_on_bit_for_bit(base: Base, tmp_path: Path, changes: dict[str, Any]) -> None:
    config = quick_config(steps=5, **changes)
    ledger = Ledger(tmp_path / "ledger.json")
    whole = train_concepts(config, base, [make_concept()], Ledger(tmp_path / "w.json"), out=tmp_path / "whole")

    def interrupt(report: StepReport) -> None:
        if report.step == 3:
            raise KeyboardInterrupt

    out = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        train_concepts(config, base, [make_concept()], ledger, interrupt, out=out)
    assert [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()] == [
        "checkpoints/octo.safetensors"
    ]
    held = ["octo"] if holds_columns(config.training.method) else []
    assert [claim.concept for claim in ledger.holders()] == held
    steps: list[int] = []
    resumed = train_concepts(
        config, base, [make_concept()], ledger, lambda report: steps.append(report.step), out=out, resume=True
    )
    assert steps == [4, 5]
    assert _same(resumed[0], whole[0])
    assert not (out / "checkpoints" / "octo.safetensors").exists()


def test_a_token_starts_at_the_words_that_describe_it(base: Base, tmp_path: Path) -> None:
    concept = replace(make_concept(), description="red dog")
    rates = {"unet": 0.0, "text_encoder": 0.0, "embeddings": 0.0, "singular_values": 0.0}
    config = quick_config(steps=1, vectors_per_token=0, learning_rates=rates)
    (adapter,) = train_concepts(config, base, [concept], Ledger(tmp_path / "ledger.json"), out=tmp_path)
    assert torch.equal(adapter.token_vectors["<octo>"], word_vectors(base, "red dog"))
    assert adapter.tokens["<octo>"].vectors == len(word_vectors(base, "red dog")) > 1
    assert adapter.tokens["<octo>"].class_word == "octopus"


def test_ctrl_c_ends_after_the_step_with_a_checkpoint(base: Base, tmp_path: Path) -> None:
    seen: list[int] = []

    def press(report: StepReport) -> None:
        seen.append(report.step)
        if report.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_concepts(quick_config(), base, [make_concept()], Ledger(tmp_path / "l.json"), press, out=tmp_path)
    assert seen == [1, 2]
    assert (tmp_path / "checkpoints" / "octo.safetensors").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_resuming_several_leaves_those_that_are_done(base: Base, tmp_path: Path) -> None:
    concepts = [make_concept("octo"), make_concept("rex"), make_concept("mug")]
    ledger = Ledger(tmp_path / "ledger.json")

    def interrupt(report: StepReport) -> None:
        if (report.concept, report.step) == ("rex", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_concepts(quick_config(), base, concepts, ledger, interrupt, out=tmp_path)
    # The third concept had nothing on disk yet, so its columns are free again.
    assert [claim.concept for claim in ledger.holders()] == ["octo", "rex"]
    seen: list[tuple[str, int]] = []
    adapters = train_concepts(
        quick_config(),
        base,
        concepts,
        ledger,
        lambda report: seen.append((report.concept, report.step)),
        out=tmp_path,
        resume=True,
    )
    assert seen == [("rex", 3), ("rex", 4), *(("mug", step) for step in (1, 2, 3, 4))]
    assert [adapter.slot.start for adapter in adapters] == [0, 2, 4]


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(base: Base, tmp_path: Path) -> None:
    config = quick_config(steps=30, checkpoint_every=1, warmup_steps=0, gradient_clip=0.0).override(
        {"training.learning_rates.unet": 1.0, "training.learning_rates.embeddings": 1.0}
    )
    # A weight that overflows in the third step stands for a training that runs away.
    bias = base.unet.conv_out.bias
    assert bias is not None
    kept = bias.detach().clone()

    def overflow(report: StepReport) -> None:
        if report.step == 3:
            bias.data.fill_(math.inf)

    ledger = Ledger(tmp_path / "ledger.json")
    try:
        with pytest.raises(
            TrainingError, match=r"loss of concept 'octo' is (inf|nan) at step 4.*learning rates.*--resume"
        ):
            train_concepts(config, base, [make_concept()], ledger, overflow, out=tmp_path)
    finally:
        bias.data.copy_(kept)
    assert not (tmp_path / "octo.safetensors").exists()
    assert [claim.concept for claim in ledger.holders()] == ["octo"]
    steps: list[int] = []
    # A lower rate may be chosen when going on.
    calmer = config.override({"training.learning_rates.unet": 1e-4, "training.steps": 5})
    train_concepts(
        calmer, base, [make_concept()], ledger, lambda report: steps.append(report.step), out=tmp_path, resume=True
    )
    assert steps == [4, 5]


def test_a_concept_that_is_finished_by_another_recipe_is_not_lost_to_resuming(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")

    def train(resume: Resume = True, **changes: Any) -> int:
        seen: list[StepReport] = []
        train_concepts(
            quick_config(**{"steps": 1, **changes}),
            base,
            [make_concept()],
            ledger,
            seen.append,
            out=tmp_path,
            resume=resume,
        )
        return len(seen)

    assert train(resume=False) == 1
    # What decides nothing about the result is no other recipe.
    assert train(checkpoint_every=1, micro_batch_size=1) == 0
    kept = (tmp_path / "octo.safetensors").read_bytes()
    for changes, said in ({"steps": 2}, "steps: 2, there 1"), ({"seed": 5}, "seed: 5, there 0"):
        with pytest.raises(InputError, match=f"is finished at 1 steps, by another recipe: {said}; train without"):
            train(**changes)
    assert (tmp_path / "octo.safetensors").read_bytes() == kept
    assert train(steps=2, resume="auto") == 2


def test_a_full_disk_leaves_the_last_checkpoint_whole(base: Base, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are a Unix thing")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(report: StepReport) -> None:
        if report.step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

    try:
        with pytest.raises(DiskFullError, match=r"cannot write .*octo\.safetensors"):
            train_concepts(
                quick_config(checkpoint_every=1),
                base,
                [make_concept()],
                Ledger(tmp_path / "l.json"),
                fill,
                out=tmp_path,
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["octo.safetensors"]
    steps: list[int] = []
    train_concepts(
        quick_config(),
        base,
        [make_concept()],
        Ledger(tmp_path / "l.json"),
        lambda report: steps.append(report.step),
        out=tmp_path,
        resume=True,
    )
    assert steps == [2, 3, 4]


def test_accelerate_is_left_as_it_was_found(base: Base, tmp_path: Path) -> None:
    train_concepts(quick_config(steps=1), base, [make_concept()], Ledger(tmp_path / "l.json"), out=tmp_path)
    assert not PartialState._shared_state


@pytest.mark.gpu
def test_a_gpu_in_bfloat16_trains_what_the_cpu_trains(miniature: Path, tmp_path: Path) -> None:
    config = quick_config(steps=20, **VARIANTS["everything"])
    losses: dict[str, list[float]] = {}
    for device, dtype in (("cpu", torch.float32), ("cuda", torch.float32), ("cuda", torch.bfloat16)):
        name = f"{device}-{dtype}"
        losses[name] = []
        train_concepts(
            config,
            load_base(miniature, device=device, dtype=dtype),
            [make_concept()],
            Ledger(tmp_path / f"{name}.json"),
            lambda report, name=name: losses[name].append(report.loss),
            out=tmp_path / name,
        )
        Adapter.load(tmp_path / name / "octo.safetensors")
    exact = losses["cpu-torch.float32"]
    assert losses["cuda-torch.float32"] == pytest.approx(exact, rel=0.01)
    assert losses["cuda-torch.bfloat16"] == pytest.approx(exact, rel=0.1)


def test_what_cannot_work_is_said_before_any_work(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")

    def train(*concepts: Concept, config: Config | None = None, out: Path = tmp_path, **options: Any) -> None:
        train_concepts(config or quick_config(), base, concepts, ledger, out=out, **options)

    with pytest.raises(InputError, match="no concept"):
        train()
    with pytest.raises(InputError, match="two concepts have the name octo"):
        train(make_concept(), make_concept())
    with pytest.raises(InputError, match=r"no checkpoint of octo"):
        train(make_concept(), resume=True)
    with pytest.raises(InputError, match="70 px does not fit"):
        train(make_concept(), config=quick_config(resolution_px=70))
    with pytest.raises(SlotError, match="slot 16"):
        train(make_concept(), slot=16)
    with pytest.raises(SlotError, match="slot 16"):
        train(make_concept("a"), make_concept("b"), slot=15)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot write"):
        train(make_concept(), out=tmp_path / "file")
    assert ledger.holders() == []


def test_samples_are_drawn_from_the_untouched_base_and_change_nothing(base: Base, tmp_path: Path) -> None:
    plain = train_concepts(quick_config(), base, [make_concept()], Ledger(tmp_path / "a.json"), out=tmp_path / "a")
    weight = base.unet.get_submodule(next(iter(plain[0].modules)).removeprefix("unet."))

    def draw(adapter: Adapter) -> list[Image.Image]:
        assert "forward" not in weight.__dict__
        assert adapter.name == "octo"
        return [Image.new("RGB", (8, 8))]

    sampled = train_concepts(
        quick_config(sample_every=3),
        base,
        [make_concept()],
        Ledger(tmp_path / "b.json"),
        out=tmp_path / "b",
        draw_samples=draw,
    )
    assert _same(plain[0], sampled[0])
    assert [path.name for path in (tmp_path / "b" / "samples" / "octo").iterdir()] == ["step_000003_0.png"]


def test_tensorboard_holds_the_losses_by_choice(base: Base, tmp_path: Path) -> None:
    losses: list[float] = []
    train_concepts(
        quick_config(steps=2, tensorboard=True),
        base,
        [make_concept()],
        Ledger(tmp_path / "l.json"),
        lambda report: losses.append(report.loss),
        out=tmp_path,
    )
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (tmp_path / "tensorboard").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(losses)


def test_the_training_config_in_the_file_is_plain_json(base: Base, tmp_path: Path) -> None:
    (adapter,) = train_concepts(
        quick_config(steps=1), base, [make_concept()], Ledger(tmp_path / "l.json"), out=tmp_path
    )
    assert json.loads(json.dumps(adapter.training)) == adapter.training
