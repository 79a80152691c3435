"""`spectral-diffusion demo`: the whole job in one command."""

from pathlib import Path

import click

from spectral_diffusion.cli import options
from spectral_diffusion.cli.console import answer, answering, note
from spectral_diffusion.cli.progress import TrainingBar


@click.command(name="demo", short_help="the whole job on the sample concepts")
@click.option(
    "--out",
    "-o",
    type=options.PATH,
    default=Path("outputs/demo"),
    show_default=True,
    help="Folder for pictures, adapters and report.html.",
)
@options.device
@options.seed
@options.as_json
@options.debug
def command(out: Path, device: str, seed: int | None, as_json: bool) -> None:
    """Train the three sample concepts, fuse them, draw them together and score the pictures.

    Takes a few minutes on a laptop and needs no network.
    """
    with answering(as_json):
        from spectral_diffusion.config import load_config
        from spectral_diffusion.demo import run_demo
        from spectral_diffusion.demo_page import write_demo
        from spectral_diffusion.workspace import SAMPLES, check_writable, sample_concepts

        check_writable(out)
        config = load_config().override({"training.seed": seed, "training.checkpoint_every": 0})
        with TrainingBar() as bar:

            def begin(stage: str) -> None:
                bar.close()
                note(stage)

            result = run_demo(
                config,
                [sample_concepts() / name for name in SAMPLES],
                out,
                device=device,
                seed=1 if seed is None else seed,
                on_stage=begin,
                on_step=bar.step,
            )
        values = write_demo(result, out)
    lines = [f"{stage.ljust(26)} {seconds:6.1f} s" for stage, seconds in result.seconds.items()]
    lines += [f"{'total'.ljust(26)} {sum(result.seconds.values()):6.1f} s", f"wrote {out / 'report.html'}"]
    answer(as_json, values, lines)
