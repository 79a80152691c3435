"""Loading a base, telling it from others, and what can be adapted in it."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from diffusers import StableDiffusionPipeline

from spectral_diffusion.diffusion import base as base_module
from spectral_diffusion.diffusion import companions as drawing
from spectral_diffusion.diffusion.base import Base, capacity, choose_device, fingerprint, load_base, target_modules
from spectral_diffusion.diffusion.targets import PATTERNS, cross_attention_paths, find_module, flat_weight
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.toybox.world import compose_with
from tests.miniature import make_miniature


def test_a_folder_is_loaded_frozen_and_in_evaluation_mode(base: Base, miniature: Path):
    assert base.name == miniature.name
    assert (base.native_size, base.latent_scale, base.text_length) == (64, 4, 77)
    for module in (base.unet, base.vae, base.text_encoder):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_the_name_of_a_folder_is_never_its_path(base: Base):
    assert "/" not in base.name
    assert "\\" not in base.name


def test_the_fingerprint_is_that_of_the_values_not_of_the_files(tmp_path: Path, base: Base):
    full = make_miniature(tmp_path / "full", seed=0)
    half = make_miniature(tmp_path / "half", seed=0, dtype=torch.float16)
    other = make_miniature(tmp_path / "other", seed=1)
    again = tmp_path / "again"
    StableDiffusionPipeline.from_pretrained(full, safety_checker=None).save_pretrained(again, max_shard_size="50KB")
    assert list(again.glob("unet/*.index.json")), "the second copy should be in shards"
    for folder in (full, half, again):
        assert fingerprint(load_base(folder)) == fingerprint(base)
    assert fingerprint(load_base(full, dtype=torch.bfloat16)) == fingerprint(base)
    assert set(fingerprint(load_base(other)).values()).isdisjoint(fingerprint(base).values())


def test_the_fingerprint_sees_every_attention_and_feed_forward_weight(miniature: Path):
    base = load_base(miniature)
    for path, module in list(target_modules(base, ("unet", "text_encoder")).items())[::9]:
        with torch.no_grad():
            flat_weight(module)[0, 0] += 1
        again = Base.from_components(
            "changed",
            unet=base.unet,
            vae=base.vae,
            text_encoder=base.text_encoder,
            tokenizer=base.tokenizer,
            scheduler=base.scheduler,
        )
        component = path.split(".")[0]
        assert fingerprint(again)[component] != fingerprint(base)[component]
        with torch.no_grad():
            flat_weight(module)[0, 0] -= 1


def test_targets_by_default_are_attention_and_feed_forward_of_the_unet(base: Base):
    modules = target_modules(base)
    assert list(modules) == sorted(modules)
    assert all(path.startswith("unet.") and isinstance(module, torch.nn.Linear) for path, module in modules.items())
    # 7 transformer blocks of two attentions (q, k, v, output) and two feed-forward layers
    assert len(modules) == 7 * (2 * 4 + 2)
    assert len(target_modules(base, ("text_encoder",))) == 2 * (4 + 2)


def test_every_pattern_finds_something_and_no_weight_twice(base: Base):
    found = [target_modules(base, patterns=(pattern,)) for pattern in PATTERNS]
    assert all(found)
    assert len(target_modules(base, patterns=tuple(PATTERNS))) == sum(map(len, found))
    convolutions = target_modules(base, patterns=("convolution",)).values()
    assert {module.kernel_size for module in convolutions} == {(3, 3), (1, 1)}


def test_paths_lead_back_to_their_modules(base: Base):
    for path, module in target_modules(base, ("unet", "text_encoder"), tuple(PATTERNS)).items():
        assert find_module(base.components, path) is module
    assert find_module(base.components, "unet.no_such.layer") is None
    assert find_module(base.components, "vae.encoder") is None
    assert find_module(base.components, "unet") is None


def test_a_text_encoder_with_the_older_layout_has_the_same_paths(base: Base):
    wrapped = torch.nn.Module()
    wrapped.text_model = base.text_encoder
    for path, module in target_modules(base, ("text_encoder",)).items():
        assert find_module({"text_encoder": wrapped}, path) is module


def test_cross_attentions_are_listed_as_the_signal_meets_them(base: Base):
    met: list[str] = []
    names = {module: path for path, module in base.unet.named_modules()}
    handles = [
        base.unet.get_submodule(path).register_forward_pre_hook(lambda module, _: met.append(names[module]))
        for path in cross_attention_paths(base.unet)
    ]
    with torch.no_grad():
        base.unet(torch.zeros(1, 4, 16, 16), torch.tensor(1), encoder_hidden_states=torch.zeros(1, 77, 32))
    for handle in handles:
        handle.remove()
    assert met == cross_attention_paths(base.unet)
    assert len(met) == 7


def test_capacity_is_that_of_the_narrowest_weight(base: Base):
    modules = target_modules(base)
    assert capacity(modules, 4) == 8
    assert capacity(modules, 5) == 6
    with pytest.raises(SlotError, match="32 columns"):
        capacity(modules, 33)


@pytest.mark.parametrize("name", ["/no/such/folder", "no-such-base", "a/b/c", "../nothing/here"])
def test_what_is_no_base_is_named_with_the_remedy(name: str):
    with pytest.raises(InputError, match="name toybox, a diffusers folder, or a Hub id"):
        load_base(name)


def test_a_hub_id_offline_says_how_to_get_it():
    with pytest.raises(InputError, match=r"hf download nobody/nothing") as caught:
        load_base("nobody/nothing")
    assert "HF_HUB_OFFLINE" in str(caught.value)


def test_a_folder_is_loaded_without_touching_the_network(miniature: Path, monkeypatch: pytest.MonkeyPatch):
    touched: list[Any] = []

    def refuse(*given: Any, **named: Any) -> None:
        touched.append(given)
        raise OSError("no network here")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the hub waits between its attempts
    load_base(miniature)
    assert not touched
    with pytest.raises(InputError, match="could it be had from the Hugging Face Hub"):
        load_base("nobody/nothing")
    assert touched


def test_importing_the_package_switches_telemetry_off():
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, spectral_diffusion.diffusion; print(os.environ['HF_HUB_DISABLE_TELEMETRY'])",
        ],
        env={key: value for key, value in os.environ.items() if "TELEMETRY" not in key},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "1"


def test_a_base_of_the_toybox_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(base_module, "TOYBOX", tmp_path / "weights")
    with pytest.raises(InputError, match="lacks the toybox weights; install again"):
        load_base("toybox")


def test_the_toybox_is_what_was_loaded_as_such_and_no_folder_of_that_name(
    tmp_path: Path, miniature: Path, monkeypatch: pytest.MonkeyPatch
):
    namesake = load_base(shutil.copytree(miniature, tmp_path / "toybox"))
    assert namesake.name == "toybox" and not namesake.is_toybox
    monkeypatch.setattr(drawing, "_STEPS", 1)
    monkeypatch.setattr(base_module, "companions", lambda *_, **__: pytest.fail("rendered for a base that draws"))
    assert namesake.companions(1, seed=0)
    monkeypatch.setattr(base_module, "TOYBOX", miniature)
    assert load_base("toybox").is_toybox
    assert load_base(miniature).is_toybox


def test_folders_that_are_no_base_are_refused_in_words(tmp_path: Path, miniature: Path):
    with pytest.raises(InputError, match=r"no model_index\.json"):
        load_base(tmp_path)

    single = tmp_path / "model.safetensors"
    single.write_bytes(b"x")
    with pytest.raises(InputError, match="single file"):
        load_base(single)

    large = shutil.copytree(miniature, tmp_path / "large")
    index = json.loads((large / "model_index.json").read_text())
    index |= {"_class_name": "StableDiffusionXLPipeline", "text_encoder_2": ["transformers", "CLIPTextModel"]}
    (large / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="StableDiffusionXLPipeline, which is not supported"):
        load_base(large)

    lacking = shutil.copytree(miniature, tmp_path / "lacking")
    (lacking / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(InputError, match="incomplete or damaged"):
        load_base(lacking)

    pickled = shutil.copytree(lacking, tmp_path / "pickled")
    torch.save({"weight": torch.zeros(1)}, pickled / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(InputError, match=r"weights as \.safetensors"):
        load_base(pickled)

    damaged = shutil.copytree(miniature, tmp_path / "damaged")
    (damaged / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match="incomplete or damaged"):
        load_base(damaged)


def test_unknown_targets_are_refused_with_the_known_ones(base: Base):
    with pytest.raises(InputError, match="choose from unet, text_encoder"):
        target_modules(base, ("vae",))
    with pytest.raises(InputError, match="choose from attention"):
        target_modules(base, patterns=("everything",))
    with pytest.raises(InputError, match="matches no pattern"):
        target_modules(base, patterns=())


def test_devices_are_chosen_by_name():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(InputError, match="auto, cpu, cuda, mps"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no cuda device"):
            choose_device("cuda")


def test_a_base_without_a_renderer_draws_companions_with_a_free_place(base: Base, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drawing, "_STEPS", 2)
    drawn = base.companions(2, seed=3)
    assert [companion.image.tolist() for companion in base.companions(2, seed=3)] == [
        companion.image.tolist() for companion in drawn
    ]
    for companion in drawn:
        (template,) = companion.caption_templates
        assert template.count("{concept}") == 1
        concept = torch.zeros(4, 30, 20, dtype=torch.uint8)
        concept[:] = 255
        picture, mask = compose_with(companion, concept)
        left, top, right, bottom = companion.free_box
        inside = mask[0, top:bottom, left:right]
        assert picture.shape == (3, 64, 64)
        assert int(inside.sum()) == int(mask.sum()) > 0
        assert bool((picture[:, mask[0] == 0] == companion.image[:, mask[0] == 0]).all())
        # The caption names both from left to right.
        concept_first = template.index("{concept}") < template.index(" and ")
        assert concept_first == (left == 0)
