"""A CLIP in miniature: open_clip's own folder format with random weights, built in a second."""

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from tests.miniature import WORDS, make_tokenizer


def make_miniature_scorer(folder: Path, seed: int = 0, *, resize_mode: str = "shortest") -> Path:
    """Write a folder that `open_clip` loads as `local-dir:`: configuration, checkpoint, tokenizer of 77 tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(WORDS)
    tokenizer.save_pretrained(folder)
    model_config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": len(tokenizer),
            "width": 32,
            "heads": 2,
            "layers": 1,
            "hf_tokenizer_name": "local",
        },
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.model.CLIP(**model_config)
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": resize_mode}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_config, "preprocess_cfg": preprocess}))
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder
