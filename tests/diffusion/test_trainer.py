"""Laws of training, on the base in miniature: what it writes, what it keeps when it stops, that it goes on exactly."""

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import PartialState
from PIL import Image, ImageDraw

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.config import Config, load_config
from spectral_diffusion.diffusion.base import Base, load_base
from spectral_diffusion.diffusion.dataset import Concept, Photograph
from spectral_diffusion.diffusion.trainer import StepReport, train_concepts
from spectral_diffusion.errors import InputError, SlotError, TrainingError
from spectral_diffusion.ledger import Ledger

QUICK: dict[str, Any] = {
    "training.rank": 2,
    "training.steps": 4,
    "training.warmup_steps": 1,
    "training.resolution_px": 64,
    "training.masks": "none",
    "training.cutmix_probability": 0.0,
    "training.checkpoint_every": 0,
    "training.vectors_per_token": 2,
}


@pytest.fixture(scope="module")
def base(miniature: Path) -> Base:
    return load_base(miniature)


def _config(**changes: Any) -> Config:
    return load_config().override({**QUICK, **{f"training.{key}": value for key, value in changes.items()}})


def _concept(name: str = "octo", count: int = 3) -> Concept:
    photographs = []
    for number in range(count):
        image = Image.new("RGB", (80, 64), ("skyblue", "tan", "white")[number % 3])
        ImageDraw.Draw(image).ellipse((20 + 5 * number, 15, 55 + 5 * number, 60), fill="purple")
        mask = torch.zeros(64, 80)
        mask[15:60, 20 + 5 * number : 55 + 5 * number] = 1
        photographs.append(Photograph(Path(f"{number}.png"), image, mask=mask))
    return Concept(name, f"<{name}>", "octopus", tuple(photographs))


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
        _config(), base, [_concept("octo"), _concept("rex")], ledger, reports.append, out=tmp_path
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
    alone = train_concepts(_config(), base, [_concept("rex")], Ledger(tmp_path / "a.json"), out=tmp_path / "a", slot=1)
    second = train_concepts(
        _config(), base, [_concept("octo"), _concept("rex")], Ledger(tmp_path / "b.json"), out=tmp_path / "b", slot=0
    )
    other = train_concepts(
        _config(seed=1), base, [_concept("rex")], Ledger(tmp_path / "c.json"), out=tmp_path / "c", slot=1
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
        "companions_count": 2,
        "prior_weight": 0.5,
        "prior_count": 1,
        "targets": ("attention", "feed_forward", "projection", "convolution"),
    },
    "rotation": {"method": "rotation", "train_singular_values": True},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_an_interrupted_training_goes_on_bit_for_bit(base: Base, tmp_path: Path, changes: dict[str, Any]) -> None:
    config = _config(steps=5, **changes)
    ledger = Ledger(tmp_path / "ledger.json")
    whole = train_concepts(config, base, [_concept()], Ledger(tmp_path / "w.json"), out=tmp_path / "whole")

    def interrupt(report: StepReport) -> None:
        if report.step == 3:
            raise KeyboardInterrupt

    out = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        train_concepts(config, base, [_concept()], ledger, interrupt, out=out)
    assert [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()] == [
        "checkpoints/octo.safetensors"
    ]
    assert [claim.concept for claim in ledger.holders()] == ["octo"]
    steps: list[int] = []
    resumed = train_concepts(
        config, base, [_concept()], ledger, lambda report: steps.append(report.step), out=out, resume=True
    )
    assert steps == [4, 5]
    assert _same(resumed[0], whole[0])
    assert not (out / "checkpoints" / "octo.safetensors").exists()


def test_ctrl_c_ends_after_the_step_with_a_checkpoint(base: Base, tmp_path: Path) -> None:
    seen: list[int] = []

    def press(report: StepReport) -> None:
        seen.append(report.step)
        if report.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_concepts(_config(), base, [_concept()], Ledger(tmp_path / "l.json"), press, out=tmp_path)
    assert seen == [1, 2]
    assert (tmp_path / "checkpoints" / "octo.safetensors").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_resuming_several_leaves_those_that_are_done(base: Base, tmp_path: Path) -> None:
    concepts = [_concept("octo"), _concept("rex"), _concept("mug")]
    ledger = Ledger(tmp_path / "ledger.json")

    def interrupt(report: StepReport) -> None:
        if (report.concept, report.step) == ("rex", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_concepts(_config(), base, concepts, ledger, interrupt, out=tmp_path)
    # The third concept had nothing on disk yet, so its columns are free again.
    assert [claim.concept for claim in ledger.holders()] == ["octo", "rex"]
    seen: list[tuple[str, int]] = []
    adapters = train_concepts(
        _config(),
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
    config = _config(steps=30, checkpoint_every=1, warmup_steps=0, gradient_clip=0.0).override(
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
            train_concepts(config, base, [_concept()], ledger, overflow, out=tmp_path)
    finally:
        bias.data.copy_(kept)
    assert not (tmp_path / "octo.safetensors").exists()
    assert [claim.concept for claim in ledger.holders()] == ["octo"]
    steps: list[int] = []
    # A lower rate may be chosen when going on.
    calmer = config.override({"training.learning_rates.unet": 1e-4, "training.steps": 5})
    train_concepts(
        calmer, base, [_concept()], ledger, lambda report: steps.append(report.step), out=tmp_path, resume=True
    )
    assert steps == [4, 5]


def test_training_again_elsewhere_in_vain_keeps_the_old_slot(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    (first,) = train_concepts(_config(steps=1), base, [_concept()], ledger, out=tmp_path)

    def fail(report: StepReport) -> None:
        raise RuntimeError("the listener broke")

    with pytest.raises(RuntimeError, match="listener"):
        train_concepts(_config(), base, [_concept()], ledger, fail, out=tmp_path, slot=5)
    assert [claim.slot for claim in ledger.holders()] == [first.slot]
    assert _same(Adapter.load(tmp_path / "octo.safetensors"), first)


def test_resuming_trains_a_concept_anew_that_was_finished_with_another_recipe(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    for steps, taken in ((1, 1), (1, 0), (2, 2)):
        seen: list[StepReport] = []
        resume = ledger.path.exists()
        train_concepts(_config(steps=steps), base, [_concept()], ledger, seen.append, out=tmp_path, resume=resume)
        assert len(seen) == taken


def test_a_full_disk_leaves_the_last_checkpoint_whole(base: Base, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are a Unix thing")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(report: StepReport) -> None:
        if report.step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

    try:
        with pytest.raises(InputError, match=r"cannot write .*octo\.safetensors"):
            train_concepts(
                _config(checkpoint_every=1), base, [_concept()], Ledger(tmp_path / "l.json"), fill, out=tmp_path
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["octo.safetensors"]
    steps: list[int] = []
    train_concepts(
        _config(),
        base,
        [_concept()],
        Ledger(tmp_path / "l.json"),
        lambda report: steps.append(report.step),
        out=tmp_path,
        resume=True,
    )
    assert steps == [2, 3, 4]


def test_accelerate_is_left_as_it_was_found(base: Base, tmp_path: Path) -> None:
    train_concepts(_config(steps=1), base, [_concept()], Ledger(tmp_path / "l.json"), out=tmp_path)
    assert not PartialState._shared_state


@pytest.mark.gpu
def test_a_gpu_in_bfloat16_trains_what_the_cpu_trains(miniature: Path, tmp_path: Path) -> None:
    config = _config(steps=20, **VARIANTS["everything"])
    losses: dict[str, list[float]] = {}
    for device, dtype in (("cpu", torch.float32), ("cuda", torch.float32), ("cuda", torch.bfloat16)):
        name = f"{device}-{dtype}"
        losses[name] = []
        train_concepts(
            config,
            load_base(miniature, device=device, dtype=dtype),
            [_concept()],
            Ledger(tmp_path / f"{name}.json"),
            lambda report, name=name: losses[name].append(report.loss),
            out=tmp_path / name,
        )
        Adapter.load(tmp_path / name / "octo.safetensors")
    exact = losses["cpu-torch.float32"]
    assert losses["cuda-torch.float32"] == pytest.approx(exact, rel=0.01)
    assert losses["cuda-torch.bfloat16"] == pytest.approx(exact, rel=0.1)


def test_a_failure_without_anything_on_disk_gives_the_slot_back(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    ledger.claim(base.name, base.fingerprints, "old", 2, 16)

    def fail(report: StepReport) -> None:
        raise RuntimeError("the listener broke")

    with pytest.raises(RuntimeError, match="listener"):
        train_concepts(_config(), base, [_concept("old"), _concept("new")], ledger, fail, out=tmp_path)
    assert [claim.concept for claim in ledger.holders()] == ["old"]


def test_what_cannot_work_is_said_before_any_work(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")

    def train(*concepts: Concept, config: Config | None = None, out: Path = tmp_path, **options: Any) -> None:
        train_concepts(config or _config(), base, concepts, ledger, out=out, **options)

    with pytest.raises(InputError, match="no concept"):
        train()
    with pytest.raises(InputError, match="two concepts have the name octo"):
        train(_concept(), _concept())
    with pytest.raises(InputError, match=r"no checkpoint of octo"):
        train(_concept(), resume=True)
    with pytest.raises(InputError, match="70 px does not fit"):
        train(_concept(), config=_config(resolution_px=70))
    with pytest.raises(SlotError, match="slot 16"):
        train(_concept(), slot=16)
    with pytest.raises(SlotError, match="slot 16"):
        train(_concept("a"), _concept("b"), slot=15)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot write"):
        train(_concept(), out=tmp_path / "file")
    assert ledger.holders() == []


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_refused(base: Base, tmp_path: Path) -> None:
    def interrupt(report: StepReport) -> None:
        raise KeyboardInterrupt

    ledger = Ledger(tmp_path / "ledger.json")
    with pytest.raises(KeyboardInterrupt):
        train_concepts(_config(), base, [_concept()], ledger, interrupt, out=tmp_path)
    with pytest.raises(InputError, match="method is rotation, there spectral"):
        train_concepts(_config(method="rotation"), base, [_concept()], ledger, out=tmp_path, resume=True)
    path = tmp_path / "checkpoints" / "octo.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="is damaged"):
        train_concepts(_config(), base, [_concept()], ledger, out=tmp_path, resume=True)


def test_samples_are_drawn_from_the_untouched_base_and_change_nothing(base: Base, tmp_path: Path) -> None:
    plain = train_concepts(_config(), base, [_concept()], Ledger(tmp_path / "a.json"), out=tmp_path / "a")
    weight = base.unet.get_submodule(next(iter(plain[0].modules)).removeprefix("unet."))

    def draw(adapter: Adapter) -> list[Image.Image]:
        assert "forward" not in weight.__dict__
        assert adapter.name == "octo"
        return [Image.new("RGB", (8, 8))]

    sampled = train_concepts(
        _config(sample_every=3), base, [_concept()], Ledger(tmp_path / "b.json"), out=tmp_path / "b", draw_samples=draw
    )
    assert _same(plain[0], sampled[0])
    assert [path.name for path in (tmp_path / "b" / "samples" / "octo").iterdir()] == ["step_000003_0.png"]


def test_tensorboard_holds_the_losses_by_choice(base: Base, tmp_path: Path) -> None:
    losses: list[float] = []
    train_concepts(
        _config(steps=2, tensorboard=True),
        base,
        [_concept()],
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
    (adapter,) = train_concepts(_config(steps=1), base, [_concept()], Ledger(tmp_path / "l.json"), out=tmp_path)
    assert json.loads(json.dumps(adapter.training)) == adapter.training


def test_a_failed_training_leaves_the_concepts_slots_on_other_bases(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    elsewhere = {"unet": "0" * 64}
    ledger.claim("another", elsewhere, "octo", 2, 8)

    def stop(report: StepReport) -> None:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        train_concepts(_config(), base, [_concept()], ledger, on_step=stop, out=tmp_path / "out")
    assert [(claim.concept, claim.base) for claim in ledger.holders()] == [("octo", "another")]


def test_a_checkpoint_beyond_the_steps_asked_is_refused(base: Base, tmp_path: Path) -> None:
    ledger, out = Ledger(tmp_path / "ledger.json"), tmp_path / "out"

    def stop(report: StepReport) -> None:
        if report.step == 3:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        train_concepts(_config(checkpoint_every=1, steps=4), base, [_concept()], ledger, on_step=stop, out=out)
    with pytest.raises(InputError, match="checkpoint of octo"):
        train_concepts(_config(checkpoint_every=1, steps=1), base, [_concept()], ledger, out=out, resume=True)
