"""Laws of the shipped toybox base."""

import json
from pathlib import Path

import pytest
import torch

import spectral_diffusion

WEIGHTS = Path(spectral_diffusion.__file__).parent / "toybox" / "weights"
MIB = 2**20


@pytest.fixture(scope="module")
def pipeline():
    from diffusers import StableDiffusionPipeline

    # As a stranger would: no precision named, nothing cast.
    pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_weights_keep_their_limits():
    files = list(WEIGHTS.rglob("*"))
    assert sum(file.stat().st_size for file in files if file.suffix == ".safetensors") <= 42 * MIB
    assert [file for file in files if file.is_file() and file.stat().st_size > 15 * MIB] == []
    assert {file.suffix for file in files} & {".bin", ".pt", ".pth", ".ckpt", ".pkl"} == set()


def test_every_tensor_is_fp16_and_finite():
    from safetensors.torch import load_file

    files = list(WEIGHTS.rglob("*.safetensors"))
    assert len(files) >= 5
    for file in files:
        for name, tensor in load_file(file).items():
            assert not tensor.is_floating_point() or tensor.dtype == torch.float16, (file, name)
            assert bool(torch.isfinite(tensor.float()).all()), (file, name)


def test_sixteen_slots_of_rank_four_fit_into_every_adapted_weight(pipeline):
    linears = [
        module
        for name, module in pipeline.unet.named_modules()
        if isinstance(module, torch.nn.Linear) and (".attn" in name or ".ff." in name)
    ]
    assert len(linears) > 50
    assert min(min(linear.weight.shape) for linear in linears) >= 64


def test_the_scheduler_predicts_v(pipeline):
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.scheduler.config.steps_offset == 1


def test_the_model_card_tells_the_measures():
    card = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    metrics = json.loads((WEIGHTS / "metrics.json").read_text(encoding="utf-8"))
    assert "apache-2.0" in card
    for group in metrics["measures"].values():
        for value in group.values():
            assert f"| {value} |" in card


@pytest.mark.slow
def test_plain_diffusers_draws_a_picture_that_fits_its_words(pipeline):
    """A red ball before white, of whatever size and wherever: some of the picture is red, its top corners are pale."""
    image = pipeline(
        "a photo of a red ball on a white background",
        num_inference_steps=12,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    ).images[0]
    assert image.shape == (3, 128, 128)
    redness = image[0] - (image[1] + image[2]) / 2
    assert 0.02 < (redness > 0.3).float().mean() < 0.6
    corners = torch.stack([image[:, :12, :12], image[:, :12, -12:]])
    assert corners.mean() > 0.6


@pytest.mark.slow
def test_the_vae_keeps_scenes_and_toys(pipeline):
    from spectral_diffusion.toybox.judges import fidelity, fresh_scenes, judging_world

    world = judging_world("cpu", toys_per_kind=1)
    measured = fidelity(pipeline.vae, fresh_scenes(world, 32, "square"))
    assert measured["scenes_db"] >= 34
    assert measured["toys_db"] >= 29


@pytest.mark.slow
def test_open_clip_reads_the_scorer_and_tells_toys_apart():
    from spectral_diffusion.toybox.judges import ToyClip, fresh_scenes, judging_world, render_recall

    clip = ToyClip(WEIGHTS / "clip", "cpu")
    assert clip.embed_images(list(fresh_scenes(judging_world("cpu", toys_per_kind=1), 2, "wide").images)).shape == (
        2,
        192,
    )
    recall = render_recall(clip, judging_world("cpu", toys_per_kind=1), 48)
    assert recall["caption_found"] >= 0.6
