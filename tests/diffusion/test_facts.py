"""What is told of a base before training is true, and the times are those that it takes."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from spectral_diffusion.config import load_config
from spectral_diffusion.diffusion import timing
from spectral_diffusion.diffusion.base import Base, capacity, load_base, target_modules
from spectral_diffusion.diffusion.facts import BaseFacts, describe_base, drawing_seconds, training_seconds
from spectral_diffusion.diffusion.pipeline import generate
from spectral_diffusion.diffusion.timing import time_drawing, time_training_step
from spectral_diffusion.diffusion.trainer import train_concepts
from spectral_diffusion.errors import InputError
from spectral_diffusion.ledger import Ledger
from tests.diffusion.practice import make_concept, quick_config


@pytest.fixture(scope="module")
def facts(base: Base) -> BaseFacts:
    return describe_base(base, quick_config())


def test_the_facts_are_those_of_the_base(base: Base, facts: BaseFacts) -> None:
    assert (facts.name, facts.is_toybox, facts.fingerprints) == (base.name, False, base.fingerprints)
    assert (facts.native_size_px, facts.latent_scale, facts.dtype, facts.device) == (64, 4, "float32", "cpu")
    assert facts.parameters["unet"] == sum(weight.numel() for weight in base.unet.parameters())
    assert facts.weights_bytes == 4 * sum(facts.parameters.values())
    assert 0 < facts.memory_free_bytes <= facts.memory_total_bytes
    assert facts.device_name
    modules = target_modules(base)
    assert facts.adapted_weights == len(modules)
    for width in (1, 4, 5, 32):
        assert facts.capacity(width) == capacity(modules, width)
    assert BaseFacts.model_validate_json(facts.model_dump_json()) == facts


def test_pictures_within_the_limits_are_drawn_and_others_refused(base: Base, facts: BaseFacts) -> None:
    def draw(width_px: int) -> None:
        size = {"width_px": width_px, "height_px": facts.native_size_px}
        generate(base, None, "a dog", seed=0, steps=1, guidance_scale=1.0, **size)

    draw(facts.size_min_px)
    draw(facts.size_min_px + facts.size_step_px)
    for wrong in (
        facts.size_min_px - facts.size_step_px,
        facts.size_min_px + 1,
        facts.size_max_px + facts.size_step_px,
    ):
        with pytest.raises(InputError, match="cannot draw"):
            draw(wrong)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "rotation"},
        {"targets": ("attention", "projection", "convolution")},
        {"train_text_encoder": True, "train_singular_values": True},
        {"layerwise_tokens": True, "cutmix_probability": 0.5, "cutmix_wide_probability": 0.2},
        {"prior_weight": 1.0, "batch_size": 3, "micro_batch_size": 1},
        {"resolution_px": 60, "rank": 512},
    ],
)
def test_every_recipe_is_timed_and_leaves_the_base_as_it_was(base: Base, changes: dict[str, Any]) -> None:
    before = {name: weight.clone() for name, weight in base.unet.state_dict().items()}
    found = describe_base(base, quick_config(**changes))
    assert found.seconds_a_step > 0 and found.step_fits_memory
    assert all(torch.equal(weight, before[name]) for name, weight in base.unet.state_dict().items())
    assert not any(weight.requires_grad for weight in base.unet.parameters())


def test_progress_is_told_and_what_it_raises_ends_the_work(base: Base, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SPECTRAL_DIFFUSION_CACHE", str(tmp_path))
    told: list[tuple[str, int, int]] = []
    describe_base(base, quick_config(), on_progress=lambda *step: told.append(step))
    assert {stage for stage, _, _ in told} == {"reading the spectrum", "timing pictures", "timing training"}
    assert all(0 <= done <= of for _, done, of in told)

    def stop(*step: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        describe_base(base, quick_config(), on_progress=stop)


def test_a_step_that_does_not_fit_into_memory_is_told_with_a_guess(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(timing.Learner, "learn", refuse)
    found = describe_base(base, quick_config())
    assert not found.step_fits_memory and found.seconds_a_step > 0


def test_a_training_takes_its_steps_its_samples_and_its_preparation(facts: BaseFacts) -> None:
    config = quick_config(steps=100)
    one = training_seconds(facts, config, 1)
    assert one == pytest.approx(facts.seconds_to_prepare + 100 * facts.seconds_a_step)
    assert one < training_seconds(facts, config, 2) < 2 * one
    # A pace that was measured counts more than the estimate.
    assert training_seconds(facts, config, 1, pace=2.0) == pytest.approx(facts.seconds_to_prepare + 50)
    twice = config.override({"training.batch_size": 2 * config.training.batch_size})
    assert training_seconds(facts, twice, 1) == pytest.approx(one + 100 * facts.seconds_a_step)
    sampled = config.override({"training.sample_every": 40})
    recipe = config.generation
    picture = drawing_seconds(
        facts,
        steps=recipe.steps,
        guidance_scale=recipe.guidance_scale,
        width_px=recipe.width_px,
        height_px=recipe.height_px,
    )
    # After the 40th and the 80th step.
    assert training_seconds(facts, sampled, 1) == pytest.approx(one + 2 * picture)


def test_a_picture_of_four_times_the_area_takes_four_times_as_long(facts: BaseFacts) -> None:
    small = drawing_seconds(facts, steps=10, guidance_scale=4.0, width_px=64, height_px=64)
    assert small == pytest.approx(10 * facts.seconds_a_sampling_step + facts.seconds_to_decode)
    assert drawing_seconds(facts, steps=10, guidance_scale=4.0, width_px=128, height_px=128) == pytest.approx(4 * small)
    assert drawing_seconds(facts, steps=10, guidance_scale=4.0, width_px=64, height_px=64, count=3) == pytest.approx(
        3 * small
    )


@pytest.mark.slow
def test_the_estimate_of_a_step_on_the_toybox_is_what_a_training_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    # The processor's time and not the clock's: other work on the machine does not count.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(timing, "time", type("Clock", (), {"perf_counter": staticmethod(time.process_time)}))
    base = load_base("toybox")
    config = load_config().override({"training.steps": 12, "training.companions_count": 4})
    modules = target_modules(base, ("unet",), config.training.targets)
    ticks: list[float] = []
    try:
        estimate = time_training_step(base, config.training, modules, 128, time_drawing(base)).seconds
        train_concepts(
            config,
            base,
            [make_concept()],
            Ledger(tmp_path / "ledger.json"),
            lambda report: ticks.append(time.process_time()),
            out=tmp_path,
        )
    finally:
        torch.set_num_threads(threads)
    real = (ticks[-1] - ticks[1]) / (len(ticks) - 2)
    record_property("a training step of the toybox: estimate by what it takes", round(estimate / real, 2))
    assert estimate == pytest.approx(real, rel=0.35)
