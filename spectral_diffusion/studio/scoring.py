"""What a person asks to be scored: from names of pictures and concepts to a job, and from jobs back to both."""

import re
from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from spectral_diffusion.diffusion.dataset import Concept, load_concept
from spectral_diffusion.diffusion.gallery import list_concepts
from spectral_diffusion.diffusion.pipeline import read_settings
from spectral_diffusion.diffusion.score_trend import Trend
from spectral_diffusion.diffusion.score_words import Scores
from spectral_diffusion.diffusion.scorer import default_scorer
from spectral_diffusion.diffusion.settings import GenerationSettings
from spectral_diffusion.errors import InputError
from spectral_diffusion.images import read_image
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import ScoreSpec, TrainSpec
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.jobs.submission import kept_concepts, score_spec
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.open_jobs import newest_and_open

PICTURES_LIMIT = 200
"""So many pictures are scored at once."""
CONCEPTS_LIMIT = 16
"""More columns than these are no regions any more."""
JOBS_LIMIT = 200
"""So many of a person's newest jobs are looked through, besides those that are open."""
_SAMPLE = re.compile(r"samples/(?P<job>[a-z0-9]+)/(?P<concept>[^/]+)/step_(?P<step>\d+)_(?P<number>\d+)\.png")
_STEP = re.compile(r"step_(\d+)_\d+\.png")


class Sample(NamedTuple):
    """A sample picture of a training."""

    step: int
    path: Path


def submit_pictures(
    desk: Desk,
    names: Sequence[str],
    uploads: Sequence[Path] = (),
    concepts: Sequence[str] = (),
    prompt: str | None = None,
) -> Job:
    """Queue the scoring of pictures.

    Args:
        desk: Whose.
        names: Of their pictures.
        uploads: Further pictures, from elsewhere.
        concepts: Folders of the concepts to compare with, from left to right.
        prompt: What was asked for; empty: what the pictures tell themselves.

    Raises:
        InputError: There is no picture, too many, or one that cannot be read; a concept is gone or named twice; there
            is nothing to compare with; or see `JobQueue.submit`.
    """
    paths = [*(desk.picture(name) for name in dict.fromkeys(names)), *uploads]
    if not paths:
        raise InputError("no picture is chosen", "tick some, or upload some")
    if len(paths) > PICTURES_LIMIT:
        raise InputError(f"{len(paths)} pictures were chosen", f"choose at most {PICTURES_LIMIT}")
    for path in uploads:
        _check_upload(path)
    if len(concepts) > CONCEPTS_LIMIT or len(set(concepts)) < len(concepts):
        raise InputError("the choice of concepts cannot be used", f"name each once, at most {CONCEPTS_LIMIT}")
    told = [settings for path in paths if (settings := told_by(path)) is not None]
    prompt = (prompt or "").strip() or None
    if not concepts and prompt is None and not _share_a_prompt(told, len(paths)):
        raise InputError(
            "there is nothing to compare the pictures with: they tell no common prompt",
            "choose a concept, or write one",
        )
    loaded = [concept_of(desk, folder) for folder in concepts]
    # Pictures that tell nothing of their base are taken for this studio's.
    scorer = None if len(told) == len(paths) else default_scorer(toybox=desk.studio.base == "toybox")
    return desk.submit(
        lambda store: score_spec(store, desk.workspace, paths, loaded, prompt=prompt, scorer=scorer),
    )


def submit_training(desk: Desk, training: Job) -> list[Job]:
    """Queue the scoring of a training's sample pictures, one job a concept.

    Args:
        desk: Whose.
        training: The training; it may still run.

    Raises:
        InputError: It is no training, or has no samples yet; or see `JobQueue.submit`.
    """
    spec = training.spec
    if not isinstance(spec, TrainSpec):
        raise InputError(f"job {training.id} is no training", "choose another")
    samples = samples_by_concept(desk, training)
    if not any(samples.values()):
        raise InputError("this training has drawn no sample pictures", "choose another, or wait for the first one")
    scorer = default_scorer(toybox=spec.config.get("base") == "toybox")
    jobs = []
    with ExitStack() as stack:
        for kept in spec.concepts:
            found = samples.get(kept.name, [])
            shown = [found[index] for index in spread(len(found), PICTURES_LIMIT)]
            if not shown:
                continue
            concept = _concept_of_training(stack, desk, training, kept.name)

            def build(store: Store, shown: list[Sample] = shown, concept: Concept = concept) -> ScoreSpec:
                built = score_spec(
                    store, desk.workspace, [sample.path for sample in shown], [concept], prompt=None, scorer=scorer
                )
                named = tuple(
                    image.model_copy(update={"name": f"samples/{training.id}/{concept.name}/{sample.path.name}"})
                    for image, sample in zip(built.images, shown, strict=True)
                )
                return built.model_copy(update={"images": named})

            jobs.append(desk.submit(build))
    return jobs


def concept_of(desk: Desk, folder: str) -> Concept:
    """The concept in a folder of theirs.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    if folder not in {summary.folder for summary in list_concepts(desk.workspace)}:
        raise InputError(f"there is no concept {str(folder)[:60]!r} any more", "choose another")
    return load_concept(desk.workspace.concepts / folder)


def told_by(path: Path) -> GenerationSettings | None:
    """What a picture tells of itself; None where it tells nothing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _told(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _told(path: Path, changed: int, size: int) -> GenerationSettings | None:
    try:
        return read_settings(path)
    except InputError:
        return None


def named_in(settings: GenerationSettings | None) -> tuple[str, ...]:
    """The concepts that a picture was asked to show, as its prompt names them from left to right."""
    if settings is None:
        return ()
    places = []
    for record in settings.adapters:
        found = [settings.prompt.find(token) for token in record.tokens]
        if any(place >= 0 for place in found):
            places.append((min(place for place in found if place >= 0), record.name))
    return tuple(name for _, name in sorted(places))


def told_title(settings: GenerationSettings | None, otherwise: str) -> str:
    """A picture in a few words: its seed and the concepts that it shows."""
    if settings is None:
        return otherwise
    named = ", ".join(named_in(settings))
    return f"seed {settings.seed}: {named}" if named else f"seed {settings.seed}"


def suggested_concepts(desk: Desk, names: Sequence[str]) -> list[str]:
    """The folders of the concepts that all these pictures name in one order; none where they differ."""
    named = {named_in(told_by(desk.picture(name))) for name in names}
    known = {summary.name: summary.folder for summary in list_concepts(desk.workspace) if not summary.fault}
    common = named.pop() if len(named) == 1 else ()
    return [known[name] for name in common] if all(name in known for name in common) else []


def score_jobs(desk: Desk) -> list[Job]:
    """Their scorings of pictures, the newest first."""
    return [job for job in _scorings(desk) if not about_training(job)]


def trainings(desk: Desk) -> list[Job]:
    """Their trainings that may have drawn samples, the newest first."""
    return [job for job in _looked_through(desk) if isinstance(job.spec, TrainSpec) and job.state != "queued"]


def trend_jobs(desk: Desk, training_id: str) -> list[Job]:
    """The last scoring of each concept's samples of a training, in the order of the concepts."""
    newest: dict[str, Job] = {}
    for job in _scorings(desk):
        about = about_training(job)
        if about is not None and about[0] == training_id and job.state not in ("failed", "cancelled"):
            newest.setdefault(about[1], job)
    return [newest[concept] for concept in sorted(newest)]


def about_training(job: Job) -> tuple[str, str] | None:
    """The training and the concept whose samples a job scores; None where it scores pictures."""
    if not isinstance(job.spec, ScoreSpec):
        return None
    found = _SAMPLE.fullmatch(job.spec.images[0].name)
    return (found["job"], found["concept"]) if found else None


def trend_of(job: Job) -> Trend:
    """What a scoring of samples found.

    Raises:
        InputError: It is not done, or no scoring of samples.
    """
    about = about_training(job)
    if about is None or not isinstance(job.spec, ScoreSpec):
        raise InputError(f"job {job.id} scores no samples", "choose another")
    return Trend.of(about[1], [sample_step(image.name) for image in job.spec.images], scores_of(job))


def trends_of(desk: Desk, training_id: Any) -> list[tuple[Job, Trend]]:
    """The trends of a training that are known, each with the job that found it."""
    if not isinstance(training_id, str):
        return []
    return [(job, trend_of(job)) for job in trend_jobs(desk, training_id) if job.state == "done"]


def sample_step(name: str) -> int:
    """The step of a sample, from the name it was scored under; 0 where that is none."""
    found = _SAMPLE.fullmatch(name)
    return int(found["step"]) if found else 0


def spread(count: int, limit: int) -> list[int]:
    """At most `limit` of `count` numbers, evenly spread, with the first and the last."""
    if count <= limit:
        return list(range(count))
    return sorted({round(index * (count - 1) / max(limit - 1, 1)) for index in range(limit)})


def scores_of(job: Job) -> Scores:
    """What a score job found.

    Raises:
        InputError: It is no score job, or not done.
    """
    if not isinstance(job.spec, ScoreSpec) or job.state != "done" or job.result is None:
        raise InputError(f"job {job.id} has no scores: it is {job.state}", "choose another, or wait for it")
    return Scores.read(job.result.get("answer"), [kept.name for kept in job.spec.references])


def samples_by_concept(desk: Desk, training: Job) -> dict[str, list[Sample]]:
    """A training's sample pictures by concept, by step; of a retried one each step counts once."""
    found: dict[str, dict[str, Sample]] = {}
    for path in desk.samples(training):
        step = _STEP.fullmatch(path.name)
        if step and path.parent.parent.name == "samples":
            found.setdefault(path.parent.name, {})[path.name] = Sample(int(step[1]), path)
    return {concept: sorted(samples.values()) for concept, samples in found.items()}


def kept_picture(desk: Desk, spec: ScoreSpec, index: int) -> Path | None:
    """The picture of that number as it was scored; None where it is not kept any more."""
    try:
        return desk.studio.queue.store.blob(spec.images[index].blob)
    except InputError:
        return None


def _scorings(desk: Desk) -> list[Job]:
    return [job for job in _looked_through(desk) if isinstance(job.spec, ScoreSpec)]


def _looked_through(desk: Desk) -> list[Job]:
    return newest_and_open(desk, JOBS_LIMIT)


def _concept_of_training(stack: ExitStack, desk: Desk, training: Job, name: str) -> Concept:
    """The photographs it learns from; those of the workspace where they are not kept any more."""
    assert isinstance(training.spec, TrainSpec)
    kept = [item for item in training.spec.concepts if item.name == name]
    try:
        return stack.enter_context(kept_concepts(desk.studio.queue.store, kept))[0]
    except InputError:
        folders = {summary.name: summary.folder for summary in list_concepts(desk.workspace)}
        return concept_of(desk, folders.get(name, name))


def _share_a_prompt(told: Sequence[GenerationSettings], count: int) -> bool:
    return len(told) == count and len({settings.prompt for settings in told}) == 1


def _check_upload(path: Path) -> None:
    try:
        read_image(path)
    except InputError as error:
        raise InputError(error.what.replace(str(path), path.name), error.remedy) from error
