"""`spectral-diffusion generate`: prompts in, PNG files that hold their settings out."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spectral_diffusion.cli import options, queueing
from spectral_diffusion.cli.console import answer, answering
from spectral_diffusion.cli.fuse import file_and_strength, read_fused
from spectral_diffusion.cli.progress import DrawingBar
from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import Workspace, check_writable, create_new

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
@queueing.queueing
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
    queued: bool,
    key: str | None,
    database: str | None,
    store: str | None,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Draw pictures. Every PNG holds its settings, so that --from repeats it exactly.

    Without --seed each call draws something new. With --from, the picture's own adapters are found by their content, in
    the workspace and in the files that --adapter names; another base than toybox has to be named with --base.
    """
    asked = {
        "prompt": prompt,
        "negative_prompt": negative,
        "steps": steps,
        "guidance_scale": guidance,
        "width_px": size and size[0],
        "height_px": size and size[1],
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    folder = out or workspace.images
    queueing.refuse_without_queue(queued, key=key, database=database, store=store)
    if source is None and prompt is None:
        raise InputError("there is no prompt", "give one with --prompt, or a picture to repeat with --from")
    if source is not None:
        refused = {"--rename": rename, "--allow-other-base": allow_other_base, "--config": config_path}
        strengths = [
            f"the strength of --adapter {text}" for text in adapters if Path(text) != file_and_strength(text)[0]
        ]
        _refuse_beside_from([*(name for name, value in refused.items() if value), *strengths])
    own = [workspace.adapters] if workspace.adapters.is_dir() else []
    places = [*own, *map(Path, adapters)]
    if queued:
        with answering(as_json):
            from spectral_diffusion.jobs.submission import generate_spec

            drawing = (
                _plan(adapters, config_path, base, rename, allow_other_base, asked, seed)
                if source is None
                else _plan_again(source, base, places, asked, seed)
            )
            job = queueing.submit(
                workspace,
                queueing.Places(database, store),
                lambda store: generate_spec(
                    store,
                    workspace,
                    drawing.base,
                    drawing.fused,
                    allow_other_base=drawing.allow_other_base,
                    out=folder,
                    count=count,
                    **drawing.values,
                ),
                key,
            )
        queueing.tell(job, as_json)
        return
    written: list[tuple[Path, GeneratedImage]] = []

    def keep(picture: "GeneratedImage") -> None:
        from spectral_diffusion.diffusion.pipeline import save_generated

        path = _take_name(folder, picture.settings.file_stem)
        try:
            save_generated(picture, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        written.append((path, picture))

    with answering(as_json), DrawingBar() as bar:
        check_writable(folder)
        if source is not None:
            _repeat(source, base, device, places, asked, seed, count, keep, bar)
        else:
            _draw(_plan(adapters, config_path, base, rename, allow_other_base, asked, seed), device, count, keep, bar)
    value = {"images": [{"file": str(path), **picture.settings.model_dump(mode="json")} for path, picture in written]}
    answer(as_json, value, [str(path) for path, _ in written])


@dataclass(frozen=True)
class _Drawing:
    """What shall be drawn: the base's name, the concepts, and all values but those that only the base knows."""

    base: str
    fused: "FusedAdapter | None"
    values: dict[str, Any]
    allow_other_base: bool


def _plan(
    adapters: Sequence[str],
    config_path: Path | None,
    base: str | None,
    rename: tuple[str, ...],
    allow_other_base: bool,
    asked: dict[str, Any],
    seed: int | None,
) -> _Drawing:
    import secrets

    from spectral_diffusion.config import load_generation

    name, recipe = load_generation(config_path, base)
    recipe.pop("sampler")
    fused = None
    if adapters:
        fused = read_fused(adapters, rename=options.renames(rename), allow_other_base=allow_other_base)
    values = {**recipe, **asked, "seed": secrets.randbelow(2**32) if seed is None else seed}
    return _Drawing(name, fused, values, allow_other_base)


def _plan_again(
    source: Path, base: str | None, places: Sequence[Path], asked: dict[str, Any], seed: int | None
) -> _Drawing:
    from spectral_diffusion.diffusion.recorded_adapters import find_adapters

    settings = _settings(source, base, asked, seed)
    names = ("prompt", "negative_prompt", "seed", "steps", "guidance_scale", "width_px", "height_px")
    values = {name: getattr(settings, name) for name in names}
    return _Drawing(base or "toybox", find_adapters(settings.adapters, places), values, True)


def _draw(
    drawing: _Drawing, device: str, count: int, keep: "Callable[[GeneratedImage], None]", bar: DrawingBar
) -> None:
    from spectral_diffusion.diffusion.base import load_base
    from spectral_diffusion.diffusion.pipeline import generate

    model = load_base(drawing.base, device=device)
    own_size = {"width_px": model.native_size, "height_px": model.native_size}
    generate(
        model,
        drawing.fused,
        **{**own_size, **drawing.values},
        count=count,
        allow_other_base=drawing.allow_other_base,
        on_step=bar.step,
        on_image=keep,
    )


def _repeat(
    source: Path,
    base: str | None,
    device: str,
    places: Sequence[Path],
    asked: dict[str, Any],
    seed: int | None,
    count: int,
    keep: "Callable[[GeneratedImage], None]",
    bar: DrawingBar,
) -> None:
    from spectral_diffusion.diffusion.base import load_base
    from spectral_diffusion.diffusion.pipeline import repeat

    wanted = _settings(source, base, asked, seed)
    model = load_base(base or "toybox", device=device)
    repeat(wanted, model, places, count=count, on_step=bar.step, on_image=keep)


def _settings(source: Path, base: str | None, asked: dict[str, Any], seed: int | None) -> "GenerationSettings":
    """What a picture was drawn from, but for what is asked otherwise."""
    from spectral_diffusion.diffusion.pipeline import read_settings

    settings = read_settings(source)
    # A picture may come from anybody: what it names is neither opened nor fetched, unless the person names it too.
    if base is None and not settings.is_toybox:
        raise InputError(f"{source} was drawn with base {settings.base}", settings.base_remedy())
    return settings.model_copy(update={**asked, **({} if seed is None else {"seed": seed})})


def _refuse_beside_from(given: Sequence[str]) -> None:
    if given:
        raise InputError(
            f"--from repeats a picture with its own adapters and base, so {', '.join(given)} cannot change it",
            "leave it out, or draw anew with --prompt and --adapter",
        )


def _take_name(folder: Path, stem: str) -> Path:
    """A name that no other process can choose too: it is taken by an empty file."""
    path, number = folder / f"{stem}.png", 1
    while not create_new(path):
        number += 1
        path = folder / f"{stem}_{number}.png"
    return path
