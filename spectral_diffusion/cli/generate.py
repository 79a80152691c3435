"""`spectral-diffusion generate`: prompts in, PNG files that hold their settings out."""

import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spectral_diffusion.cli import options
from spectral_diffusion.cli.console import answer, answering
from spectral_diffusion.cli.fuse import read_fused
from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import Workspace

if TYPE_CHECKING:
    from spectral_diffusion.diffusion.pipeline import GeneratedImage
    from spectral_diffusion.diffusion.settings import GenerationSettings
    from spectral_diffusion.fusion import FusedAdapter


class _Size(click.ParamType):
    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", value)
        if match is None:
            self.fail(f"'{value}' is not of the form WxH, such as 192x128", param, ctx)
        return int(match[1]), int(match[2])


@click.command(name="generate", short_help="draw pictures")
@click.option(
    "--adapter",
    "-a",
    "adapters",
    metavar="FILE[:STRENGTH]",
    multiple=True,
    help="An adapter or fused file; several are fused in memory. None draws with the plain base.",
)
@click.option("--prompt", "-p", help="What to draw, with concept tokens such as <octo>.")
@click.option("--negative", "-n", metavar="N", help="What to keep out.")
@click.option(
    "--from", "source", metavar="PNG", type=options.PATH, help="Repeat this picture; other options change it."
)
@options.base
@click.option(
    "--config", "config_path", metavar="TOML", type=options.PATH, help="Values to lay over the base's recipe."
)
@click.option("--steps", type=click.IntRange(1, 1000), help="Denoising steps.")
@click.option("--guidance", metavar="G", type=click.FloatRange(1, 100), help="Guidance scale; 1 is none.")
@click.option("--size", type=_Size(), help="Width and height in pixels.")
@click.option("--count", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Pictures, one seed each.")
@click.option("--out", "-o", type=options.PATH, help="Folder to write to. Default: images/ of the workspace.")
@options.adapter_rules
@options.device
@options.seed
@options.workspace
@options.as_json
@options.debug
def command(
    adapters: tuple[str, ...],
    prompt: str | None,
    negative: str | None,
    source: Path | None,
    base: str | None,
    config_path: Path | None,
    steps: int | None,
    guidance: float | None,
    size: tuple[int, int] | None,
    count: int,
    out: Path | None,
    allow_other_base: bool,
    rename: tuple[str, ...],
    device: str,
    seed: int | None,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Draw pictures. Every PNG holds its settings, so that --from repeats it exactly.

    Without --seed each call draws something new. With --from, adapters are looked for in the workspace by content,
    unless --adapter names them.
    """
    with answering(as_json):
        from spectral_diffusion.diffusion.base import load_base
        from spectral_diffusion.diffusion.pipeline import generate, read_settings, save_generated

        settings = read_settings(source) if source else None
        if settings is None and prompt is None:
            raise InputError("there is no prompt", "give one with --prompt, or a picture to repeat with --from")
        if settings is not None:
            base = base or settings.base
        drawing, base_name = _drawing(settings, config_path, base, steps, guidance, size, negative)
        prompt = prompt if prompt is not None else settings.prompt if settings else ""
        fused = _fused(adapters, settings, workspace, options.renames(rename), allow_other_base)
        first = seed if seed is not None else settings.seed if settings else secrets.randbelow(2**32)
        model = load_base(base_name, device=device)
        if fused is not None:
            fused.check_base(model.name, model.fingerprints, allow_other_base)
        folder = out or workspace.images
        written: list[tuple[Path, GeneratedImage]] = []
        # One at a time, so that what is drawn is saved before the next begins.
        for number in _numbered(count):
            (picture,) = generate(model, fused, prompt, seed=first + number, **drawing)
            path = _free_path(folder, prompt, first + number)
            save_generated(picture, path)
            written.append((path, picture))
    value = {"images": [{"file": str(path), **picture.settings.model_dump(mode="json")} for path, picture in written]}
    answer(as_json, value, [str(path) for path, _ in written])


def _drawing(
    settings: "GenerationSettings | None",
    config_path: Path | None,
    base: str | None,
    steps: int | None,
    guidance: float | None,
    size: tuple[int, int] | None,
    negative: str | None,
) -> tuple[dict[str, Any], str]:
    """How to draw, and the base: options first, then the picture that is repeated, then the base's recipe."""
    if settings is not None:
        recipe, base_name = settings, base or settings.base
    else:
        from spectral_diffusion.config import load_config

        config = load_config(config_path, *([base] if base else []))
        recipe, base_name = config.generation, config.base
    width_px, height_px = size or (recipe.width_px, recipe.height_px)
    return {
        "negative_prompt": recipe.negative_prompt if negative is None else negative,
        "steps": recipe.steps if steps is None else steps,
        "guidance_scale": recipe.guidance_scale if guidance is None else guidance,
        "width_px": width_px,
        "height_px": height_px,
    }, base_name


def _fused(
    files: Sequence[str],
    settings: "GenerationSettings | None",
    workspace: Workspace,
    rename: dict[str, str],
    allow_other_base: bool,
) -> "FusedAdapter | None":
    if files:
        return read_fused(files, rename=rename, allow_other_base=allow_other_base)
    if settings is not None and settings.adapters:
        from spectral_diffusion.cli.repeat import find_adapters

        return find_adapters(settings, workspace.adapters)
    return None


def _numbered(count: int) -> Any:
    from tqdm import tqdm

    return tqdm(range(count), desc="drawing", unit="picture", dynamic_ncols=True, disable=count == 1)


def _free_path(folder: Path, prompt: str, seed: int) -> Path:
    """A name that says what is drawn, and that no file has yet."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].strip("-") or "picture"
    path, number = folder / f"{words}_{seed}.png", 1
    while path.exists():
        number += 1
        path = folder / f"{words}_{seed}_{number}.png"
    return path
