"""Pictures: the same settings give the same picture, and every picture knows its settings."""

import json
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image

from spectral_diffusion.diffusion import pipeline
from spectral_diffusion.diffusion.base import Base, load_base
from spectral_diffusion.diffusion.pipeline import (
    GeneratedImage,
    RepeatWarning,
    generate,
    read_settings,
    repeat,
    save_generated,
)
from spectral_diffusion.diffusion.settings import SETTINGS_KEY, AdapterRecord, GenerationSettings, hash_adapter
from spectral_diffusion.errors import BaseMismatchError, InputError
from spectral_diffusion.fusion import FusedAdapter, fuse
from spectral_diffusion.images import read_png_text, save_png
from spectral_diffusion.spectrum import ColumnSlot
from tests.diffusion.adapting import random_adapter
from tests.miniature import make_miniature

SMALL: Mapping[str, Any] = {"seed": 5, "steps": 3, "guidance_scale": 4.0, "width_px": 64, "height_px": 64}


@pytest.fixture(scope="module")
def fused(base: Base) -> FusedAdapter:
    one = random_adapter(base, "one", components=("unet", "text_encoder"), seed=1)
    two = random_adapter(base, "two", slot=ColumnSlot(4, 4), seed=2)
    return fuse([one, two], strengths=[1.0, 0.5])


def difference(one: Image.Image, other: Image.Image) -> int:
    """Largest difference of a channel, of 255."""
    a, b = (torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).int() for image in (one, other))
    return int((a - b).abs().max())


def test_a_seed_is_a_picture_bit_for_bit_alone_or_among_others(base: Base, fused: FusedAdapter):
    several = generate(base, fused, "a <one> and <two>", count=3, **SMALL)
    assert [picture.settings.seed for picture in several] == [5, 6, 7]
    for picture in several:
        alone = generate(base, fused, "a <one> and <two>", **{**SMALL, "seed": picture.settings.seed})[0]
        assert alone.image.tobytes() == picture.image.tobytes()
        assert alone.settings == picture.settings
    assert difference(several[0].image, several[1].image) > 8


def test_the_plain_base_draws_what_plain_diffusers_draws(base: Base):
    own = generate(base, None, "a red dog", negative_prompt="blue", **SMALL)[0].image
    plain: Any = base.pipeline(
        DPMSolverMultistepScheduler.from_config(base.scheduler.config, algorithm_type="dpmsolver++")
    )
    reference = plain(
        "a red dog",
        negative_prompt="blue",
        generator=torch.Generator().manual_seed(5),
        num_inference_steps=3,
        guidance_scale=4.0,
        width=64,
        height=64,
    ).images[0]
    assert difference(own, reference) <= 1


def test_the_base_is_afterwards_as_it_was(base: Base, fused: FusedAdapter):
    before = {
        f"{name}.{key}": value.clone()
        for name, model in base.components.items()
        for key, value in model.state_dict().items()
    }
    plain = generate(base, None, "a dog", **SMALL)[0].image.tobytes()
    adapted = generate(base, fused, "a dog", **SMALL)[0].image.tobytes()
    assert adapted != plain
    with pytest.raises(InputError):
        generate(base, fused, "a <three>", **SMALL)
    assert generate(base, None, "a dog", **SMALL)[0].image.tobytes() == plain
    for name, model in base.components.items():
        assert all(torch.equal(value, before[f"{name}.{key}"]) for key, value in model.state_dict().items())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_strength_zero_is_the_plain_base(base: Base, fused: FusedAdapter):
    off = fuse([part.adapter for part in fused.parts], strengths=[0.0, 0.0])
    plain = generate(base, None, "a dog", **SMALL)[0].image
    assert generate(base, off, "a dog", **SMALL)[0].image.tobytes() == plain.tobytes()


def test_half_precision_draws_the_same_within_its_rounding(miniature: Path, base: Base, fused: FusedAdapter):
    half = load_base(miniature, dtype=torch.bfloat16)
    drawn = generate(half, fused, "a <one>", **SMALL)[0]
    assert drawn.settings.dtype == "bfloat16"
    assert difference(drawn.image, generate(base, fused, "a <one>", **SMALL)[0].image) < 40


def test_layer_wise_tokens_are_drawn_and_leave_no_trace(base: Base):
    layered = fuse([random_adapter(base, "layered", layers=7)])
    first = generate(base, layered, "a <layered> on the beach", **SMALL)[0].image
    generate(base, None, "a dog", **SMALL)
    assert generate(base, layered, "a <layered> on the beach", **SMALL)[0].image.tobytes() == first.tobytes()
    assert not any(module._forward_pre_hooks for module in base.unet.modules())


def test_guidance_and_the_negative_prompt_count(base: Base):
    pictures = [
        generate(base, None, "a dog", **{**SMALL, **changed})[0].image.tobytes()
        for changed in ({}, {"guidance_scale": 1.0}, {"guidance_scale": 9.0}, {"negative_prompt": "red"})
    ]
    assert len(set(pictures)) == 4


def test_sizes_are_drawn_as_asked(base: Base):
    for width_px, height_px in ((96, 64), (16, 128), (72, 40)):
        picture = generate(base, None, "a dog", **{**SMALL, "width_px": width_px, "height_px": height_px, "steps": 1})[
            0
        ]
        assert picture.image.size == (width_px, height_px)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"width_px": 60}, "multiples of 8"),
        ({"height_px": 0}, "from 16 to 256"),
        ({"height_px": 264}, "from 16 to 256"),
        ({"steps": 0}, "steps '0'"),
        ({"steps": 1001}, "steps '1001'"),
        ({"guidance_scale": float("nan")}, "guidance_scale 'nan'"),
        ({"guidance_scale": 0.5}, "guidance_scale '0.5'"),
        ({"seed": -1}, "seed '-1'"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 2**63 - 1, "count": 2}, "seed"),
        ({"count": 0}, "0 pictures"),
        ({"prompt": "x" * 10_001}, "prompt"),
        ({"prompt": "a <nobody>"}, "names <nobody>"),
        ({"negative_prompt": "a <nobody>"}, "names <nobody>"),
    ],
    ids=str,
)
def test_values_out_of_bounds_are_refused_in_words(base: Base, wrong: dict[str, Any], said: str):
    with pytest.raises(InputError, match=said):
        generate(base, None, **{"prompt": "a dog", **SMALL, **wrong})


def test_a_picture_that_is_not_finite_is_refused(base: Base):
    strong = fuse([random_adapter(base, "one", scale=1e4)], strengths=[1000.0], factor_scale=1000.0)
    with pytest.raises(InputError, match="not finite; lower the strength"):
        generate(base, strong, "a <one>", **SMALL)
    assert generate(base, None, "a dog", **SMALL)


def test_an_adapter_of_another_base_is_refused(tmp_path: Path, base: Base, fused: FusedAdapter):
    other = load_base(make_miniature(tmp_path / "sibling", seed=1))
    with pytest.raises(BaseMismatchError, match="sibling"):
        generate(other, fused, "a <one>", **SMALL)
    assert generate(other, fused, "a <one>", allow_other_base=True, **SMALL)


def test_progress_is_told_over_all_pictures(base: Base):
    steps: list[tuple[int, int]] = []
    drawn: list[GeneratedImage] = []
    pictures = generate(
        base, None, "a dog", count=2, on_step=lambda *told: steps.append(told), on_image=drawn.append, **SMALL
    )
    assert steps == [(done, 6) for done in range(1, 7)]
    assert drawn == pictures


def test_a_saved_picture_repeats_exactly(tmp_path: Path, base: Base, fused: FusedAdapter):
    fused.parts[0].adapter.save(tmp_path / "renamed on disk.safetensors")
    fused.save(tmp_path / "both.safetensors")
    (tmp_path / "notes.safetensors").write_text("not an adapter")
    picture = generate(base, fused, "a <one> and <two>, größer", negative_prompt="sad", **SMALL)[0]
    save_generated(picture, tmp_path / "picture.png")
    settings = read_settings(tmp_path / "picture.png")
    assert settings == picture.settings
    with warnings.catch_warnings():
        warnings.simplefilter("error", RepeatWarning)
        (again,) = repeat(settings, base, [tmp_path])
    assert again.image.tobytes() == picture.image.tobytes() == Image.open(tmp_path / "picture.png").tobytes()
    assert again.settings == picture.settings


def test_renamed_tokens_and_factor_scales_are_repeated(tmp_path: Path, base: Base, fused: FusedAdapter):
    adapters = [part.adapter for part in fused.parts]
    for adapter in adapters:
        adapter.save(tmp_path / f"{adapter.name}.safetensors")
    renamed = fuse(adapters, rename={"<one>": "<first>"}, factor_scale=0.5)
    picture = generate(base, renamed, "a <first>", **SMALL)[0]
    (again,) = repeat(picture.settings, base, [tmp_path])
    assert again.image.tobytes() == picture.image.tobytes()


def test_several_seeds_are_repeated_with_progress(base: Base):
    settings = generate(base, None, "a dog", **SMALL)[0].settings
    steps: list[tuple[int, int]] = []
    drawn: list[GeneratedImage] = []
    again = repeat(settings, base, [], count=2, on_step=lambda *told: steps.append(told), on_image=drawn.append)
    assert [picture.settings.seed for picture in again] == [5, 6] and drawn == again
    assert steps == [(done, 6) for done in range(1, 7)]


def test_another_base_or_version_is_told(tmp_path: Path, base: Base):
    settings = generate(base, None, "a dog", **SMALL)[0].settings
    other = load_base(make_miniature(tmp_path / "sibling", seed=1))
    with pytest.raises(BaseMismatchError, match="sibling is another"):
        repeat(settings, other, [])
    for told, remedy in (
        ({}, f"give the folder of {base.name} with --base"),
        ({"base": "owner/model"}, "use --base owner/model"),
        ({"is_toybox": True}, "use --base toybox"),
    ):
        with pytest.raises(BaseMismatchError, match=remedy):
            repeat(settings.model_copy(update=told), other, [])
    older = settings.model_copy(update={"versions": settings.versions | {"torch": "1.0"}})
    with pytest.warns(RepeatWarning, match=r"torch 1\.0 then"):
        repeat(older, base, [])


def test_the_text_holds_no_path_and_the_line_other_tools_read(tmp_path: Path, base: Base, fused: FusedAdapter):
    picture = generate(base, fused, "a <one>\nin the snow", negative_prompt="sad", **SMALL)[0]
    save_generated(picture, tmp_path / "picture.png")
    text = read_png_text(tmp_path / "picture.png")
    assert set(text) == {"spectral_diffusion", "parameters"}
    assert str(tmp_path.parent) not in "".join(text.values())
    held = json.loads(text["spectral_diffusion"])
    assert [(record["name"], record["strength"]) for record in held["adapters"]] == [("one", 1.0), ("two", 0.5)]
    assert held["adapters"][0]["sha256"] == hash_adapter(fused.parts[0].adapter)
    prompt, negative, facts = text["parameters"].rsplit("\n", 2)
    assert prompt == "a <one>\nin the snow"
    assert negative == "Negative prompt: sad"
    assert facts.startswith("Steps: 3, Sampler: DPM++ 2M, CFG scale: 4, Seed: 5, Size: 64x64, Model hash: ")


def test_a_picture_without_sound_settings_is_refused(tmp_path: Path, base: Base):
    plain = Image.new("RGB", (32, 32))
    for text, said in (
        ({}, "holds no settings"),
        ({SETTINGS_KEY: "{"}, "damaged"),
        ({SETTINGS_KEY: "[]"}, "damaged"),
        ({SETTINGS_KEY: json.dumps({"format": 2})}, "newer version"),
    ):
        save_png(plain, tmp_path / "picture.png", text)
        with pytest.raises(InputError, match=said):
            read_settings(tmp_path / "picture.png")
    picture = generate(base, None, "a dog", **SMALL)[0]
    text = json.loads(picture.settings.model_dump_json()) | {"steps": -4}
    with pytest.raises(InputError, match="steps '-4'"):
        GenerationSettings.from_png_text({SETTINGS_KEY: json.dumps(text)})


def test_a_picture_tells_whether_the_toybox_drew_it_and_without_the_fact_its_name_counts(base: Base):
    settings = generate(base, None, "a dog", **SMALL)[0].settings
    assert not settings.is_toybox
    for name, fact, expected in (("toybox", False, False), ("other", True, True), ("toybox", None, True)):
        held = json.loads(settings.model_dump_json()) | {"base": name, "is_toybox": fact}
        if fact is None:
            del held["is_toybox"]
        assert GenerationSettings.from_png_text({SETTINGS_KEY: json.dumps(held)}).is_toybox == expected


def test_the_hash_of_an_adapter_is_that_of_its_values(tmp_path: Path, base: Base, fused: FusedAdapter):
    adapter = fused.parts[0].adapter
    adapter.save(tmp_path / "one.safetensors")
    loaded = type(adapter).load(tmp_path / "one.safetensors")
    assert hash_adapter(loaded) == hash_adapter(adapter.rename_token("<one>", "<other>")) == hash_adapter(adapter)
    changed = next(iter(loaded.modules.values()))["A"]
    changed[0, 0] += 1e-3
    assert hash_adapter(loaded) != hash_adapter(adapter)


def test_records_name_concepts_and_not_files(fused: FusedAdapter):
    record = AdapterRecord.of(fused.parts[1])
    assert (record.name, record.tokens, record.strength, record.factor_scale) == ("two", ("<two>",), 0.5, 1.0)
    assert record.class_words == {"<two>": "dog"}
    # A record of a picture that tells no class words is sound too.
    assert AdapterRecord.model_validate(record.model_dump(exclude={"class_words"})).class_words == {}


def test_each_picture_has_a_sampler_of_its_own(base: Base, monkeypatch: pytest.MonkeyPatch):
    made: list[Any] = []
    original = DPMSolverMultistepScheduler.from_config

    def noted(*given: Any, **named: Any) -> Any:
        made.append(original(*given, **named))
        return made[-1]

    monkeypatch.setattr(pipeline.DPMSolverMultistepScheduler, "from_config", noted)
    generate(base, None, "a dog", count=2, **SMALL)
    assert len({id(sampler) for sampler in made}) == 2


def test_two_threads_do_not_mix_their_concepts(base: Base, fused: FusedAdapter):
    halves = [fuse([part.adapter]) for part in fused.parts]
    alone = [generate(base, half, "a dog", **SMALL)[0].image.tobytes() for half in halves]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda half: generate(base, half, "a dog", **SMALL)[0].image.tobytes(), halves))
    assert together == alone
