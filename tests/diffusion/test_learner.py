"""Laws of a step: a batch in parts is the whole batch, but for the memory it takes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from spectral_diffusion.diffusion.base import Base, target_modules
from spectral_diffusion.diffusion.learner import Learner
from spectral_diffusion.diffusion.material import Batch, draw_batch, prepare
from spectral_diffusion.diffusion.prompts import encode_prompts
from spectral_diffusion.diffusion.trainer import train_concepts
from spectral_diffusion.diffusion.training import Training
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.spectrum import ColumnSlot
from tests.diffusion.practice import make_concept, quick_config

# Photographs, compositions with places that shall stay, and priors of another weight: every sort of row.
_MIXED = {
    "batch_size": 3,
    "cutmix_probability": 0.6,
    "cutmix_background_target": "base",
    "companions_count": 2,
    "prior_weight": 0.5,
    "prior_count": 2,
    "min_snr_gamma": 5.0,
    "noise_offset": 0.1,
}


def _learner(base: Base, **changes: object) -> Learner:
    config = quick_config(**changes).training
    components = ("unet", "text_encoder") if config.train_text_encoder else ("unet",)
    modules = target_modules(base, components, config.targets)
    training = Training(config, base, make_concept(), ColumnSlot(0, 2), modules, Path("unused"))
    return training._learner()


@pytest.mark.parametrize(
    "changes",
    [{}, {"layerwise_tokens": True, "train_text_encoder": True}, {"method": "rotation"}],
    ids=["plain", "text encoder and layers", "rotation"],
)
def test_a_batch_in_parts_gives_the_loss_and_the_gradient_of_the_whole(base: Base, changes: dict[str, object]) -> None:
    whole = _learner(base, **_MIXED, **changes)
    material = prepare(base, make_concept(), whole.config)
    step = next(
        step
        for step in range(50)
        if 0 < sum(text is not None for text in draw_batch(material, whole.config, step, "octo").plain_captions) < 3
    )

    def learn(learner: Learner) -> tuple[float, float, Tensor]:
        with torch.no_grad():
            # Away from the start, where half of the gradients are zero.
            learner.engine.flat.vector.add_(0.01)
        with learner.adapted():
            loss, norm = learner.learn(material, step, Tensor.backward)
        return loss, norm, learner.engine.flat.gradient.clone()

    loss, norm, gradient = learn(whole)
    assert gradient.abs().max() > 0
    for size in (1, 2, 4, 5, 6, 100):
        part_loss, part_norm, part_gradient = learn(_learner(base, **_MIXED, **changes, micro_batch_size=size))
        assert part_loss == pytest.approx(loss, rel=1e-5)
        assert part_norm == pytest.approx(norm, rel=1e-5)
        torch.testing.assert_close(part_gradient, gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max()))


def test_no_more_than_a_part_goes_through_the_model_at_once(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = _learner(base, **{**_MIXED, "batch_size": 4, "cutmix_probability": 1.0}, micro_batch_size=3)
    material = prepare(base, make_concept(), learner.config)
    seen: list[int] = []
    hook = base.unet.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    try:
        with learner.adapted():
            learner.learn(material, 0, Tensor.backward)
    finally:
        hook.remove()
    # Four compositions as the base draws them, then they and four priors as the concept does.
    assert seen == [3, 1, 3, 3, 2]


def test_the_size_of_the_parts_may_change_on_the_way(base: Base, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")

    def interrupt(report: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_concepts(quick_config(), base, [make_concept()], ledger, interrupt, out=tmp_path)
    for _ in range(2):
        seen: list[object] = []
        train_concepts(
            quick_config(micro_batch_size=1), base, [make_concept()], ledger, seen.append, out=tmp_path, resume=True
        )
        left = len(seen)
    assert left == 0


def test_the_base_is_as_it_was_while_a_training_asks_what_it_draws(base: Base) -> None:
    learner = _learner(base, cutmix_probability=1.0, companions_count=2)
    noisy = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([300, 700])
    plain_captions = ("an octopus and a dog", None)
    with torch.no_grad():
        embeds = encode_prompts(base, [plain_captions[0]], {})
        drawn = base.unet(noisy[:1], timesteps[:1], encoder_hidden_states=embeds).sample
    kept = torch.zeros(2, 1, 16, 16)
    kept[0, :, :, :8] = 1
    batch = Batch(noisy, torch.ones(2, 1, 16, 16), ["<octo> and a dog", "<octo>"], torch.ones(2), kept, plain_captions)
    with torch.no_grad():
        learner.engine.flat.vector.add_(0.1)
    learner.engine.begin()
    with learner.adapted(), torch.no_grad():
        adapted = base.unet(noisy[:1], timesteps[:1], encoder_hidden_states=embeds).sample
        wanted = learner.keep(torch.zeros_like(noisy), batch, noisy, timesteps)
        again = base.unet(noisy[:1], timesteps[:1], encoder_hidden_states=embeds).sample
    assert not torch.allclose(adapted, drawn, atol=1e-3)
    assert torch.equal(again, adapted)
    assert torch.equal(wanted[0, :, :, :8], drawn[0, :, :, :8])
    assert not wanted[0, :, :, 8:].any()
    assert not wanted[1].any()
    assert learner.keep(noisy, replace(batch, kept=None), noisy, timesteps) is noisy
