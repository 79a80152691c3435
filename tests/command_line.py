"""The command line as tests call it: in this process, or for real."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from spectral_diffusion.cli import main
from spectral_diffusion.config import load_config

# What makes the packaged recipe of the toybox fit the base in miniature, and quick.
_QUICK = {
    "generation.width_px": 64,
    "generation.height_px": 64,
    "generation.steps": 2,
    "training.resolution_px": 64,
    "training.rank": 4,
    "training.steps": 3,
    "training.warmup_steps": 0,
    "training.masks": "none",
    "training.cutmix_probability": 0.0,
    "training.cutmix_wide_probability": 0.0,
    "training.companions_count": 2,
    "training.checkpoint_every": 0,
}


@dataclass(frozen=True)
class Answer:
    """What a call of the command line gave."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object that `--json` puts on stdout."""
        return json.loads(self.stdout)

    def expect(self, code: int) -> "Answer":
        """This answer, once its exit code is as expected."""
        assert self.code == code, f"exit code {self.code}\n{self.stdout}\n{self.stderr}"
        return self


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Answer:
    """Run the command line in this process."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return Answer(code, captured.out, captured.err)


def call_really(*arguments: object, cwd: Path, seconds: float = 240) -> Answer:
    """Run `python -m spectral_diffusion` as a person does."""
    process = subprocess.run(
        [sys.executable, "-m", "spectral_diffusion", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    return Answer(process.returncode, process.stdout, process.stderr)


def write_recipe(folder: Path, base: Path, **training: object) -> Path:
    """A complete config for the base in miniature that trains in a moment."""
    overrides = {**_QUICK, **{f"training.{key}": value for key, value in training.items()}}
    values = load_config().override(overrides).model_dump(mode="json")
    lines = [f"base = {json.dumps(str(base))}"]
    rates = values["training"].pop("learning_rates")
    for name, table in {**values, "training.learning_rates": rates}.items():
        if isinstance(table, dict):
            # JSON's numbers, strings, lists and booleans are TOML's.
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path = folder / "recipe.toml"
    path.write_text("\n".join(lines))
    return path


def write_concept(folder: Path, class_word: str, seed: int, count: int = 2) -> Path:
    """A concept folder of noise photographs."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    for index in range(count):
        pixels = torch.randint(256, (64, 64, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(pixels.numpy()).save(folder / f"{index}.png")
    (folder / "concept.toml").write_text(f'token = "<{folder.name}>"\nclass_word = "{class_word}"\n')
    return folder
