"""A base in miniature: the shape of Stable Diffusion with random weights, built in a second: tests need no download."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

# Their annotations know neither tuples of several levels nor a pipeline without a safety checker.
_diffusers: Any = diffusers
_transformers: Any = transformers

WORDS = (
    "a", "an", "and", "the", "of", "in", "on", "with", "to", "left", "right", "between", "next",
    "photo", "picture", "red", "blue", "green", "yellow", "happy", "sad", "toy",
    "octopus", "tortoise", "dog", "cat", "duck", "robot", "vase", "chair", "table", "beach", "snow", "garden",
)  # fmt: skip


def make_miniature(
    folder: Path, seed: int = 0, *, linear_projection: bool = False, dtype: torch.dtype = torch.float32
) -> Path:
    """Write a Stable-Diffusion-shaped diffusers folder with random weights and return it.

    Pictures are 64 px (latents 16 x 16, f = 4), text is 77 tokens of 32 channels, the UNet has two levels of 32 and 64
    channels, both with cross-attention. The narrowest adaptable weight has 32 singular values. The words in `WORDS` are
    one token each; any other text falls into bytes.

    Args:
        folder: Where to write; made when missing.
        seed: Another seed is another base.
        linear_projection: `proj_in` / `proj_out` as Linear (SD 2, toybox) instead of 1x1 convolutions (SD 1).
        dtype: Storage type of the weights; the values are those of float16 whatever the type.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = make_tokenizer(WORDS)
        unet = _diffusers.UNet2DConditionModel(
            sample_size=16,
            in_channels=4,
            out_channels=4,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(32, 64),
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=(2, 4),
            norm_num_groups=16,
            use_linear_projection=linear_projection,
        )
        vae = _diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(8, 16, 16),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=8,
            sample_size=64,
            scaling_factor=1.0,
        )
        text_encoder = _transformers.CLIPTextModel(
            _transformers.CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=77,
                projection_dim=32,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    for module in (unet, vae, text_encoder):
        for parameter in module.parameters():
            parameter.data = parameter.data.half().to(dtype)
    scheduler = _diffusers.DPMSolverMultistepScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
    )
    _diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def make_tokenizer(words: Sequence[str]) -> Any:
    """A byte-level CLIP tokenizer, 77 long, that knows the given words as one token each."""
    letters = _byte_letters()
    merges: list[tuple[str, str]] = []
    vocabulary = [*letters, *(letter + "</w>" for letter in letters)]
    for word in words:
        pieces = [*word[:-1], word[-1] + "</w>"]
        for pair in merges:
            pieces = _merge(pieces, pair)
        while len(pieces) > 1:
            # Later merges rank below earlier ones, so they cannot break the words that came before.
            pair = (pieces[0], pieces[1])
            merges.append(pair)
            vocabulary.append("".join(pair))
            pieces = _merge(pieces, pair)
    vocabulary = [*dict.fromkeys(vocabulary), "<|startoftext|>", "<|endoftext|>"]
    return _transformers.CLIPTokenizer(
        vocab={token: index for index, token in enumerate(vocabulary)}, merges=merges, model_max_length=77
    )


def _merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _byte_letters() -> list[str]:
    """The 256 printable letters that byte-level BPE writes bytes with (GPT-2's table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    extra = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(extra)) for byte in range(256)]
