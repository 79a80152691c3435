"""Laws of training material: each photograph once a round, the same batch for a step, weights where masks are."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from spectral_diffusion.config import TrainingConfig, load_config
from spectral_diffusion.diffusion.base import Base, load_base
from spectral_diffusion.diffusion.dataset import Concept, Photograph
from spectral_diffusion.diffusion.material import Material, Pool, draw_batch, prepare, step_generator


@pytest.fixture(scope="module")
def base(miniature: Path) -> Base:
    return load_base(miniature)


def _config(**changes: Any) -> TrainingConfig:
    values = {"resolution_px": 64, "companions_count": 3, "prior_count": 2, "masks": "none"}
    values |= {"cutmix_wide_probability": 0.0, **changes}
    return load_config().override({f"training.{key}": value for key, value in values.items()}).training


def _concept(count: int = 3) -> Concept:
    photographs = []
    for number in range(count):
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).rectangle((0, 0, 15, 63), fill=("red", "green", "blue")[number % 3])
        mask = torch.zeros(64, 64)
        mask[:, :16] = 1
        photographs.append(Photograph(Path(f"{number}.png"), image, f"photograph {number} of <o>", mask))
    return Concept("o", "<o>", "octopus", tuple(photographs))


def _pool(count: int, name: str) -> Pool:
    latents = torch.arange(count, dtype=torch.float32).view(count, 1, 1, 1).expand(count, 4, 2, 2)
    return Pool(latents, torch.ones(count, 1, 2, 2), tuple((f"{name} {number}",) for number in range(count)))


def test_every_photograph_comes_once_in_each_round() -> None:
    material = Material(_pool(6, "photo"), None, None)
    config = _config(batch_size=2)
    seen = [caption for step in range(9) for caption in draw_batch(material, config, step, "o").captions]
    rounds = [seen[start : start + 6] for start in (0, 6, 12)]
    assert all(sorted(one) == sorted(rounds[0]) for one in rounds)
    assert len(set(rounds[0])) == 6
    assert rounds[0] != rounds[1]


def test_a_batch_follows_from_seed_name_and_step_alone() -> None:
    material = Material(_pool(6, "photo"), _pool(50, "mix"), None)
    config = _config(batch_size=4, cutmix_probability=0.5)
    batch = draw_batch(material, config, 7, "o")
    assert draw_batch(material, config, 7, "o").captions == batch.captions
    for other in (
        draw_batch(material, config, 8, "o"),
        draw_batch(material, config, 7, "p"),
        draw_batch(material, config.model_copy(update={"seed": 1}), 7, "o"),
    ):
        assert other.captions != batch.captions


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_compositions_come_as_often_as_asked(probability: float) -> None:
    material = Material(_pool(6, "photo"), _pool(5, "mix"), None)
    config = _config(batch_size=4, cutmix_probability=probability)
    drawn = [caption for step in range(200) for caption in draw_batch(material, config, step, "o").captions]
    share = sum(caption.startswith("mix") for caption in drawn) / len(drawn)
    assert share == pytest.approx(probability, abs=0.06)


def test_priors_join_with_their_weight_and_leave_the_concepts_own_loss_as_it_is() -> None:
    material = Material(_pool(6, "photo"), None, _pool(5, "prior"))
    batch = draw_batch(material, _config(batch_size=2, prior_weight=0.25), 0, "o")
    assert [caption.split()[0] for caption in batch.captions] == ["photo", "photo", "prior", "prior"]
    # The loss is the mean over samples: of 4 samples, a weight of 2 is that of a sample in a batch of 2.
    assert batch.sample_weights.tolist() == [2.0, 2.0, 0.5, 0.5]


def test_photographs_are_encoded_once_with_their_mirror_images_and_weights(base: Base) -> None:
    material = prepare(base, _concept(), _config(cutmix_probability=0.0, flip=True, mask_background_weight=0.2))
    pool = material.photographs
    assert material.compositions is None
    assert material.priors is None
    assert pool.latents.shape == (6, 4, 16, 16)
    assert pool.captions[1] == pool.captions[4] == ("photograph 1 of <o>",)
    left, right = pool.pixel_weights[0, 0, 8, :4], pool.pixel_weights[0, 0, 8, 5:]
    torch.testing.assert_close(left, torch.ones(4))
    torch.testing.assert_close(right, torch.full((11,), 0.2))
    torch.testing.assert_close(pool.pixel_weights[3], pool.pixel_weights[0].flip(2))
    assert len(prepare(base, _concept(), _config(cutmix_probability=0.0, flip=False)).photographs) == 3


def test_compositions_show_the_concept_beside_what_the_base_draws(base: Base) -> None:
    material = prepare(base, _concept(), _config(cutmix_probability=0.5))
    assert material.compositions is not None
    assert len(material.compositions) == 3
    assert all("<o>" in caption for (caption,) in material.compositions.captions)
    assert all("an octopus" in caption for (caption,) in material.compositions.plain_captions)
    assert material.compositions.latents.shape[1:] == material.photographs.latents.shape[1:]


def test_what_is_not_the_concept_is_kept_as_the_base_draws_it_unless_the_picture_is_asked_for(base: Base) -> None:
    material = prepare(base, _concept(), _config(cutmix_probability=1.0, cutmix_background_weight=0.0))
    pool = material.compositions
    assert pool is not None and pool.kept is not None
    # With no weight outside, the weights are the concept's own share of each place.
    torch.testing.assert_close(pool.kept, 1 - pool.pixel_weights)
    batch = draw_batch(material, _config(cutmix_probability=1.0), 0, "o")
    assert batch.kept is not None and batch.kept.shape == batch.pixel_weights.shape
    for caption, plain in zip(batch.captions, batch.plain_captions, strict=True):
        assert plain == caption.replace("<o>", "an octopus")
    photographs = draw_batch(material, _config(cutmix_probability=0.0), 0, "o")
    assert photographs.kept is None and set(photographs.plain_captions) == {None}
    pictured = prepare(base, _concept(), _config(cutmix_probability=1.0, cutmix_background_target="picture"))
    assert pictured.compositions is not None and pictured.compositions.kept is None


def test_a_wide_step_holds_wide_compositions_alone(base: Base) -> None:
    config = _config(cutmix_probability=0.5, cutmix_wide_probability=0.4, batch_size=2)
    material = prepare(base, _concept(), config)
    assert material.wide is not None
    assert len(material.wide) == 2
    shapes = [draw_batch(material, config, step, "o").latents.shape[-2:] for step in range(200)]
    assert set(shapes) == {(16, 16), (16, 24)}
    assert shapes.count((16, 24)) / 200 == pytest.approx(0.4, abs=0.08)


def test_latents_are_those_of_the_vae_in_groups_of_any_size(base: Base) -> None:
    pixels = torch.rand(9, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        together = base.encode_pixels(pixels)
        alone = torch.cat([base.encode_pixels(one[None]) for one in pixels])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_random_numbers_of_different_purposes_differ() -> None:
    draws = {
        float(torch.rand((), generator=step_generator(*key)))
        for key in [(0, "a", 1), (0, "a", 2), (0, "b", 1), (1, "a", 1), (0, "a1")]
    }
    assert len(draws) == 5
