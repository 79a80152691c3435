"""`spectral-diffusion demo`: the whole job in one command."""

from pathlib import Path

import click

from spectral_diffusion.cli import options, queueing
from spectral_diffusion.cli.console import answer, answering, note
from spectral_diffusion.cli.progress import TrainingBar
from spectral_diffusion.workspace import Workspace


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
@queueing.queueing
@options.workspace
@options.as_json
@options.debug
def command(
    out: Path,
    device: str,
    seed: int | None,
    queued: bool,
    key: str | None,
    database: str | None,
    store: str | None,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Train the three sample concepts, fuse them, draw them together and score the pictures.

    Takes a few minutes on a laptop and needs no network.
    """
    queueing.refuse_without_queue(queued, key=key, database=database, store=store)
    with answering(as_json):
        from spectral_diffusion.config import load_config

        # A demo that is queued can be killed and goes on; one that is watched is short enough to be begun again.
        often = None if queued else 0
        config = load_config().override({"training.seed": seed, "training.checkpoint_every": often})
        first_seed = 1 if seed is None else seed
        if queued:
            from spectral_diffusion.jobs.submission import demo_spec

            job = queueing.submit(
                workspace,
                queueing.Places(database, store),
                lambda store: demo_spec(store, workspace, config, first_seed, out),
                key,
            )
    if queued:
        queueing.tell(job, as_json)
        return
    with answering(as_json):
        from spectral_diffusion.demo import run_demo
        from spectral_diffusion.demo_page import write_demo
        from spectral_diffusion.workspace import SAMPLES, check_writable, sample_concepts

        check_writable(out)
        with TrainingBar() as bar:

            def begin(stage: str) -> None:
                bar.close()
                note(stage)

            result = run_demo(
                config,
                [sample_concepts() / name for name in SAMPLES],
                out,
                device=device,
                seed=first_seed,
                on_stage=begin,
                on_step=bar.step,
            )
        values = write_demo(result, out)
    lines = [f"{stage.ljust(26)} {seconds:6.1f} s" for stage, seconds in result.seconds.items()]
    lines += [f"{'total'.ljust(26)} {sum(result.seconds.values()):6.1f} s", f"wrote {out / 'report.html'}"]
    answer(as_json, values, lines)
