"""Laws of the pretraining scripts that hold before anything is trained."""

import math
import random
from typing import Any

import pytest
import torch
from transformers import CLIPTokenizer

from spectral_diffusion.toybox import architecture, judges
from spectral_diffusion.toybox.pictures import (
    CaptionOrder,
    CaptionProcess,
    boxes_of,
    render_pictures,
    smoke_world,
    sprinkle,
)
from spectral_diffusion.toybox.stopwatch import Descent, Stopwatch
from spectral_diffusion.toybox.train_clip import ToyPairs, new_clip, save_clip
from spectral_diffusion.toybox.train_tokenizer import build_tokenizer, save_tokenizer
from spectral_diffusion.toybox.train_vae import decibel, encode, fold_statistics


def test_the_base_keeps_its_size():
    tokenizer = build_tokenizer(["a", "toy"])
    models = (architecture.new_unet(), architecture.new_vae(), architecture.new_text_encoder(tokenizer), new_clip(1800))
    mib = [sum(p.numel() for p in model.parameters()) * 2 / 2**20 for model in models]
    assert mib[0] <= 26
    assert sum(mib) <= 41.5


def test_folding_makes_latents_standard_and_keeps_every_reconstruction():
    torch.manual_seed(0)
    vae = architecture.new_vae().eval()
    images = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8)
    signal = images.float() / 127.5 - 1
    with torch.no_grad():
        before = vae.encode(signal).latent_dist
        pictures = vae.decode(before.mean).sample
        latents = encode(vae, images).float()
        fold_statistics(vae, latents)
        after = vae.encode(signal).latent_dist
        torch.testing.assert_close(vae.decode(after.mean).sample, pictures, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(after.mean.mean((0, 2, 3)), torch.zeros(4), atol=2e-3, rtol=0)
        torch.testing.assert_close(after.mean.std((0, 2, 3)), torch.ones(4), atol=2e-3, rtol=0)
        # The spread of the posterior shrinks with its mean.
        ratio = (after.std / before.std).mean((0, 2, 3)) * latents.std((0, 2, 3))
        torch.testing.assert_close(ratio, torch.ones(4), atol=2e-3, rtol=0)


def test_decibels_of_a_known_error():
    assert decibel(0.04) == pytest.approx(20)


def test_boxes_touch_their_toys():
    masks = torch.zeros(2, 3, 16, 20, dtype=torch.uint8)
    masks[0, 0, 3:9, 4:17] = 255
    masks[1, 2, :, 19] = 200
    boxes = boxes_of(masks)
    assert boxes[0, 0].tolist() == [4, 3, 17, 9]
    assert boxes[1, 2].tolist() == [19, 0, 20, 16]
    assert boxes[0, 1].tolist() == [0, 0, 0, 0]


def test_sprinkled_words_leave_the_caption_in_order():
    rng = random.Random(0)
    for _ in range(200):
        words = sprinkle("a red dog on the beach", ["castle"], rng, share=0.5).split(" ")
        assert [word for word in words if word != "castle"] == ["a", "red", "dog", "on", "the", "beach"]
        assert len(words) <= 8


def test_the_rate_starts_and_ends_at_zero():
    watch = Stopwatch(1000.0)
    assert watch.rate_factor(warm_up_steps=100, flat=0.3) == pytest.approx(0.01)
    watch.steps = 1000
    watch.started -= 299
    assert watch.rate_factor(warm_up_steps=100, flat=0.3) == pytest.approx(1.0)
    watch.started -= 351
    assert watch.rate_factor(warm_up_steps=100, flat=0.3) == pytest.approx(0.5, abs=1e-3)
    watch.started -= 10_000
    assert watch.progress == 1.0
    assert watch.rate_factor(warm_up_steps=100, flat=0.3) == pytest.approx(0.0, abs=1e-12)


def test_a_gradient_that_is_not_finite_changes_nothing():
    weight = torch.nn.Parameter(torch.ones(3))
    descent = Descent([([weight], 0.1)], ema_decay=0.9)
    descent.step((weight * torch.tensor([math.nan, 1.0, 1.0])).sum(), 1.0)
    assert weight.tolist() == [1.0, 1.0, 1.0]
    descent.step(weight.sum(), 1.0)
    assert (weight < 1).all()
    descent.take_ema()
    assert ((weight > 0.9) & (weight < 1)).all()


def test_judged_prompts_show_every_kind_and_their_variants_differ():
    prompts = judges.judged_prompts()
    assert len({prompt.text for prompt in prompts}) == 64
    for kind in judges.KINDS:
        assert any(f" {kind} " in prompt.text for prompt in prompts)
    assert all(prompt.text not in prompt.wrong and len(prompt.wrong) >= 3 for prompt in prompts)


@pytest.mark.slow
def test_rendered_pictures_carry_boxes_toys_and_captions(tmp_path):
    world = smoke_world()
    pictures = render_pictures(*world, 12, size_px=(192, 128), seed=3)
    assert pictures.images.shape == (12, 3, 128, 192)
    present = pictures.toy_ids >= 0
    assert ((pictures.boxes[..., 2] > pictures.boxes[..., 0]) | ~present).all()
    toys, scenes, places = ToyPairs(pictures, least_px=4).draw(5)
    assert (pictures.toy_ids[scenes, places] == toys).all()
    save_tokenizer(build_tokenizer(["a", "red", "car"]), tmp_path / "tokenizer")
    order = CaptionOrder(world.library, {"wide": pictures.plans}, 2, 3)
    captions = CaptionProcess(order, tmp_path / "captions", tmp_path / "tokenizer").result()
    assert captions.scenes["wide"].shape == (2, 12, 77)
    assert captions.toys.shape == (3, len(world.library.toys), 77)


@pytest.mark.slow
def test_open_clip_reads_a_saved_scorer(tmp_path):
    import open_clip

    save_tokenizer(build_tokenizer(["a", "red", "dog"]), tmp_path / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    clip = new_clip(len(tokenizer)).eval()
    save_clip(clip, tmp_path / "tokenizer", tmp_path / "clip")
    again: Any = open_clip.create_model(f"local-dir:{tmp_path / 'clip'}")
    ids = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'clip'}")(["a red dog"])
    with torch.no_grad():
        torch.testing.assert_close(again.eval().encode_text(ids), clip.encode_text(ids), atol=5e-3, rtol=5e-3)


def test_plain_diffusers_reads_every_part_in_one_precision(tmp_path):
    from diffusers import StableDiffusionPipeline

    save_tokenizer(build_tokenizer(["a", "red", "dog"]), tmp_path / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    architecture.save_model(architecture.new_unet(), tmp_path / "unet")
    architecture.save_model(architecture.new_vae(), tmp_path / "vae")
    architecture.save_model(architecture.new_text_encoder(tokenizer), tmp_path / "text_encoder")
    architecture.save_frame(tmp_path)
    for asked, precision in (({}, torch.float32), ({"torch_dtype": torch.float16}, torch.float16)):
        pipeline = StableDiffusionPipeline.from_pretrained(tmp_path, **asked)
        assert {pipeline.unet.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype} == {precision}
