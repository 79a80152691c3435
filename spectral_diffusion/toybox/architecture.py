"""The parts of the toybox base as plain diffusers and transformers models, and how they are written to disk.

Everything here is an ordinary Stable Diffusion in small: a latent-diffusion VAE (Rombach et al. 2022) that shrinks by
4, a UNet with cross-attention on all three levels (a T2I-Adapter needs it in the first) and a CLIP text model, tied
together by `model_index.json`, so that any program that reads the diffusers layout can draw with it.
"""

import json
import shutil
from pathlib import Path
from typing import Any, Protocol, TypeVar

import diffusers
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from spectral_diffusion.workspace import write_atomically

SQUARE_PX = (128, 128)
WIDE_PX = (192, 128)
CANVASES_PX = {"square": SQUARE_PX, "wide": WIDE_PX}
"""The canvases that the base is trained on, as (width, height)."""

LATENT_CHANNELS = 4
LATENT_STRIDE_PX = 4
TEXT_LENGTH = 77
TEXT_WIDTH = 192
CLIP_IMAGE_PX = 128

SHARD_SIZE = "14MB"

NOISE_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    # Any other offset makes StableDiffusionPipeline warn at every load.
    "steps_offset": 1,
}


_Model = TypeVar("_Model", bound=nn.Module)


class Saveable(Protocol):
    """Whatever writes itself into a folder, as the models of diffusers and transformers do."""

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> Any:
        """Write everything into the folder."""
        ...


def new_vae() -> AutoencoderKL:
    """An untrained VAE: (n, 3, h, w) in [-1, 1] to (n, 4, h/4, w/4); 2.7 M parameters.

    Groups of at least four channels: with one channel a group, as the default 32 groups give on 32 channels, every
    channel loses its mean and with it the colour of large even areas.
    """
    shape: dict[str, Any] = {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "block_out_channels": (32, 64, 128),
        "layers_per_block": 1,
        "latent_channels": LATENT_CHANNELS,
        "norm_num_groups": 8,
        "sample_size": SQUARE_PX[0],
        "scaling_factor": 1.0,
    }
    return AutoencoderKL(**shape)


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet for latents of 32x32 (square) and 48x32 (wide); 13.3 M parameters.

    Its narrowest adapted Linear is 64 wide: room for 16 slots of rank 4.
    """
    shape: dict[str, Any] = {
        "sample_size": SQUARE_PX[0] // LATENT_STRIDE_PX,
        "in_channels": LATENT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3,
        "up_block_types": ("CrossAttnUpBlock2D",) * 3,
        "block_out_channels": (64, 128, 216),
        "layers_per_block": 1,
        "cross_attention_dim": TEXT_WIDTH,
        # diffusers reads this as the number of heads per level.
        "attention_head_dim": (2, 4, 9),
        "norm_num_groups": 8,
        "use_linear_projection": True,
    }
    return UNet2DConditionModel(**shape)


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained CLIP text model for the tokenizer's words: (n, 77) ids to (n, 77, 192); about 2 M parameters."""
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 4 * TEXT_WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "max_position_embeddings": TEXT_LENGTH,
        "projection_dim": TEXT_WIDTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "hidden_act": "gelu",
    }
    return CLIPTextModel(CLIPTextConfig(**shape))


def new_scheduler() -> DPMSolverMultistepScheduler:
    """The sampler that travels with the base: DPM-Solver++ (Lu et al. 2022) of second order on v-predictions."""
    return DPMSolverMultistepScheduler(**NOISE_SCHEDULE)


def clip_configuration(vocabulary_size: int) -> dict[str, Any]:
    """The scorer's `open_clip_config.json`: a small modified ResNet and a small text transformer, 3.4 M parameters.

    The tokenizer lies in the same folder, where open_clip looks for it when it opens a `local-dir:` model.
    Pictures are squashed to a square, so that the outer toys of a wide picture are not cut off.
    """
    return {
        "model_cfg": {
            "embed_dim": 192,
            "vision_cfg": {"image_size": CLIP_IMAGE_PX, "layers": [2, 3, 5, 3], "width": 16, "head_width": 64},
            "text_cfg": {
                "context_length": TEXT_LENGTH,
                "vocab_size": vocabulary_size,
                "hf_tokenizer_name": "tokenizer",
                "width": 128,
                "heads": 4,
                "layers": 4,
            },
        },
        "preprocess_cfg": {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic",
            "resize_mode": "squash",
        },
    }


def on_device(model: _Model, device: torch.device | str) -> _Model:
    """Move a model to a device, in fp32 and with channels last, in place; returns it."""
    nn.Module.to(model, torch.device(device), torch.float32)
    nn.Module.to(model, memory_format=torch.channels_last)
    return model


def half_precision(module: nn.Module) -> dict[str, torch.Tensor]:
    """The module's state on the CPU, floating-point values in fp16."""
    return {
        name: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous().clone()
        for name, value in module.state_dict().items()
    }


def save_component(component: Saveable, folder: Path, **options: Any) -> None:
    """Write one part of the base: beside its place first, then swapped in, so that a crash leaves a whole part."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    component.save_pretrained(beside, **options)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def save_model(model: AutoencoderKL | UNet2DConditionModel | CLIPTextModel, folder: Path) -> None:
    """Write a model in fp16 safetensors, in files of at most 14 MB; the model itself keeps its precision."""
    if not isinstance(model, CLIPTextModel):
        copy = type(model).from_config(model.config)
        copy.load_state_dict(model.state_dict())
        save_component(copy.half().cpu(), folder, max_shard_size=SHARD_SIZE)
        return
    encoder = CLIPTextModel(model.config)
    encoder.load_state_dict(model.state_dict())
    save_component(encoder.half().cpu(), folder, max_shard_size=SHARD_SIZE)
    # transformers reads a model in the precision its configuration names, diffusers in fp32 unless told otherwise; a
    # pipeline that mixes the two cannot draw.
    configuration = json.loads((folder / "config.json").read_text()) | {"dtype": "float32"}
    text = json.dumps(configuration, indent=2) + "\n"
    write_atomically(folder / "config.json", lambda path: path.write_text(text))


def save_frame(folder: Path) -> None:
    """Write what ties the parts together: the scheduler and `model_index.json`."""
    save_component(new_scheduler(), folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    text = json.dumps(index, indent=2) + "\n"
    write_atomically(folder / "model_index.json", lambda path: path.write_text(text))
