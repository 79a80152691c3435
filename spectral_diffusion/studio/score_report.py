"""Reports of scores and trends: one HTML file each, made when a person asks for it, and saved by the same press."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from spectral_diffusion.diffusion.score_page import Scored, score_report
from spectral_diffusion.errors import InputError
from spectral_diffusion.images import read_image
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import ScoreSpec
from spectral_diffusion.jobs.submission import kept_concepts
from spectral_diffusion.report import Picture
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.scoring import kept_picture, sample_step, scores_of, spread, trends_of
from spectral_diffusion.studio.shell import Shell

PHOTOGRAPHS = 4
"""So many of each concept are shown."""
SAMPLES = 10
"""So many of each training are shown."""
_SIDE_PX = 320


def saves(shell: Shell, button: gr.Button, write: Callable[..., Path], inputs: Any) -> None:
    """Have a button write a file and save it with the same press.

    Args:
        shell: The page.
        button: The button.
        write: Gets the desk, a folder that is removed afterwards, and the values of the inputs; returns the file in it.
        inputs: Components.
    """
    written = gr.DownloadButton(visible="hidden", elem_id=f"{button.elem_id}-file")

    def answer(desk: Desk, *values: Any) -> Any:
        with tempfile.TemporaryDirectory(prefix="spectral-diffusion-") as folder:
            return gr.DownloadButton(value=desk.show(write(desk, Path(folder), *values)))

    shell.on(button.click, answer, inputs, written).success(
        None, written, None, js=_SAVE, api_visibility="private", show_progress="hidden"
    )


def write_scores(desk: Desk, folder: Path, job_id: Any, training_id: Any = None) -> Path:
    """Write what a job found, with the trends of a training where it learned a concept that was compared with.

    Args:
        desk: Whose.
        folder: Where to.
        job_id: The scoring of pictures.
        training_id: The training whose trend is shown, or None.

    Raises:
        InputError: There is no such job, or it has no scores.
    """
    if not job_id:
        raise InputError("there is nothing to report yet", "score some pictures first")
    job = desk.job(str(job_id))
    scores, spec = scores_of(job), job.spec
    assert isinstance(spec, ScoreSpec), "only a score job has scores"
    pictures = [Scored(image.name, kept_picture(desk, spec, index)) for index, image in enumerate(spec.images)]
    found = [(done, trend) for done, trend in trends_of(desk, training_id) if trend.concept in scores.concepts]
    trends = [trend for _, trend in found]
    samples = [picture for done, _ in found for picture in _samples(desk, done)]
    path = folder / f"scores_{job.id}.html"
    score_report(scores, pictures, _photographs(desk, spec), trends, samples).save(path)
    return path


def write_trend(desk: Desk, folder: Path, training_id: Any) -> Path:
    """Write the trends of a training.

    Raises:
        InputError: Its samples were not scored yet.
    """
    found = trends_of(desk, training_id)
    if not any(trend.points for _, trend in found):
        raise InputError("there is nothing to report yet", "score the training's samples first")
    path = folder / f"training_{desk.job(str(training_id)).id}.html"
    samples = [picture for done, _ in found for picture in _samples(desk, done)]
    score_report(None, trends=[trend for _, trend in found], samples=samples).save(path)
    return path


def _photographs(desk: Desk, spec: ScoreSpec) -> list[Picture]:
    try:
        with kept_concepts(desk.studio.queue.store, spec.references) as concepts:
            return [
                Picture(photograph.image, f"{concept.name}, photograph {number} of {len(concept.photographs)}")
                for concept in concepts
                for number, photograph in enumerate(concept.photographs[:PHOTOGRAPHS], 1)
            ]
    except InputError:
        # Old jobs' photographs are not kept for ever; the numbers stand without them.
        return []


def _samples(desk: Desk, job: Job) -> list[Picture]:
    spec = job.spec
    assert isinstance(spec, ScoreSpec), "only a score job has scores"
    each, found = scores_of(job).each, []
    for index in spread(len(spec.images), SAMPLES):
        path = kept_picture(desk, spec, index)
        value = each[index].image if index < len(each) else None
        if path is not None and value is not None:
            image = read_image(path, min_side_px=1, max_side_px=_SIDE_PX)
            concept, step = spec.references[0].name, sample_step(spec.images[index].name)
            found.append(Picture(image, f"{concept}, step {step}: {value:.2f}"))
    return found


# The page follows the link that comes with the answer.
_SAVE = """
(file) => {
  if (!file || !file.url) return;
  const link = document.createElement('a');
  link.href = file.url;
  link.download = file.orig_name || 'report.html';
  document.body.append(link);
  link.click();
  link.remove();
}
"""
