"""How each kind of job is done, by the same functions as the verb of that name."""

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from spectral_diffusion.adapters.adapter import slot_values
from spectral_diffusion.diffusion.base import Base
from spectral_diffusion.diffusion.pipeline import GeneratedImage, generate, read_settings, save_generated
from spectral_diffusion.diffusion.samples import sampler
from spectral_diffusion.diffusion.scoring import score_pictures
from spectral_diffusion.diffusion.settings import SheetSettings, file_stem
from spectral_diffusion.diffusion.trainer import StepReport, check_place, claims_in, train_concepts
from spectral_diffusion.images import read_image, save_png
from spectral_diffusion.jobs.ledger import ledger_of
from spectral_diffusion.jobs.specs import (
    DemoSpec,
    DescribeSpec,
    FuseSpec,
    GenerateSpec,
    GridSpec,
    ScoreSpec,
    Spec,
    TrainSpec,
)
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.jobs.submission import kept_concepts
from spectral_diffusion.jobs.tools import Outcome, Stopped, Tools
from spectral_diffusion.ledger import Claim
from spectral_diffusion.sheets import SHEET_PIXEL_LIMIT, labelled_grid
from spectral_diffusion.workspace import Workspace

GRID_KEY = "spectral_diffusion_grid"
"""Of the text in a sheet that says what it shows."""


def run_task(spec: Spec, tools: Tools) -> Outcome:
    """Do a job, or go on with it; the same job done twice makes the same files.

    Raises:
        Stopped: It was asked to stop, and left what is needed to go on.
        SpectralDiffusionError: What it was given cannot be used.
    """
    tools.folder.work.mkdir(parents=True, exist_ok=True)
    match spec:
        case TrainSpec():
            return _train(spec, tools)
        case FuseSpec():
            return _fuse(spec, tools)
        case GenerateSpec():
            return _generate(spec, tools)
        case GridSpec():
            return _grid(spec, tools)
        case DescribeSpec():
            return _describe(spec, tools)
        case ScoreSpec():
            return _score(spec, tools)
        case DemoSpec():
            return _demo(spec, tools)


def _tell_step(tools: Tools) -> Callable[[StepReport], None]:
    def tell(report: StepReport) -> None:
        tools.progress.add_loss(report.concept, report.step, report.loss)
        tools.progress.tell(
            stage=f"training {report.concept}",
            step=report.step,
            steps=report.steps,
            loss=report.loss,
            steps_per_second=report.steps_per_second,
            seconds_left=report.seconds_left,
        )

    return tell


def _base(tools: Tools, name: str) -> Base:
    tools.progress.tell(now=True, stage=f"loading {Path(name).name}", step=0, steps=0)
    return tools.warm.base(name)


def _train(spec: TrainSpec, tools: Tools) -> Outcome:
    config = tools.recipe(spec.config)
    base = _base(tools, config.base)
    with kept_concepts(tools.store, spec.concepts) as concepts:
        if tools.store.folder is not None:
            for concept in concepts:
                check_place(tools.store.folder / spec.out, concept, base)
        tools.progress.tell(now=True, stage="preparing")
        try:
            adapters = train_concepts(
                config,
                base,
                concepts,
                ledger_of(tools.store, tools.database, tools.folder.path, spec.home),
                _tell_step(tools),
                out=tools.folder.work,
                slot=spec.slot,
                resume="auto",
                draw_samples=sampler(base, config),
                should_stop=tools.should_stop,
                in_files=_claims_of_files(spec, tools.store),
            )
        except KeyboardInterrupt:
            raise Stopped from None
    names = [f"{adapter.name}.safetensors" for adapter in adapters]
    return Outcome(
        {name: f"{spec.out}/{name}" for name in names},
        {
            "adapters": [
                {
                    "name": adapter.name,
                    "tokens": list(adapter.tokens),
                    "slot": slot_values(adapter.slot),
                    "file": f"{spec.out}/{name}",
                }
                for adapter, name in zip(adapters, names, strict=True)
            ]
        },
    )


def _claims_of_files(spec: TrainSpec, store: Store) -> list[Claim]:
    """The columns that the files hold beside which the adapters will lie. What lies elsewhere is not fetched for it."""
    if store.folder is None:
        return []
    folders = {(store.folder / spec.out).resolve(), Workspace(store.folder / spec.home).adapters.resolve()}
    return [claim for folder in sorted(folders) for claim in claims_in(folder)]


def _fuse(spec: FuseSpec, tools: Tools) -> Outcome:
    tools.progress.tell(now=True, stage="fusing")
    fused = tools.warm.fused(tools.store, spec.fusing)
    assert fused is not None, "fuse jobs name adapters"
    fused.save(tools.folder.work / "fused.safetensors")
    parts = [{"name": part.adapter.name, "strength": part.strength} for part in fused.parts]
    return Outcome({"fused.safetensors": spec.out}, {"file": spec.out, "parts": parts})


def _generate(spec: GenerateSpec, tools: Tools) -> Outcome:
    base = _base(tools, spec.base)
    fused = tools.warm.fused(tools.store, spec.fusing)
    # Named after the job, so that it is the same file however often it is drawn.
    seeds = {f"{file_stem(spec.prompt, seed)}_{tools.folder.id}.png": seed for seed in _seeds(spec)}
    names = list(seeds)
    drawn = next((index for index, name in enumerate(names) if not (tools.folder.work / name).exists()), spec.count)

    def tell(step: int, steps: int) -> None:
        tools.check_stop()
        before = drawn * spec.steps
        tools.progress.tell(stage="drawing", step=before + step, steps=before + steps)

    def keep(picture: GeneratedImage) -> None:
        save_generated(picture, tools.folder.work / f"{picture.settings.file_stem}_{tools.folder.id}.png")

    if drawn < spec.count:
        generate(
            base,
            fused,
            spec.prompt,
            seed=spec.seed + drawn,
            steps=spec.steps,
            guidance_scale=spec.guidance_scale,
            width_px=spec.width_px or base.native_size,
            height_px=spec.height_px or base.native_size,
            negative_prompt=spec.negative_prompt,
            count=spec.count - drawn,
            allow_other_base=spec.fusing.allow_other_base,
            on_step=tell,
            on_image=keep,
        )
    files = {name: f"{spec.out}/{name}" for name in names}
    return Outcome(files, {"pictures": [{"file": files[name], "seed": seed} for name, seed in seeds.items()]})


def _grid(spec: GridSpec, tools: Tools) -> Outcome:
    base = _base(tools, spec.base)
    # Named after the job and the place in the grid, so that it is the same file however often it is drawn.
    names = [
        f"{file_stem(cell.prompt, cell.seed)}_{tools.folder.id}_{number:02d}.png"
        for number, cell in enumerate(spec.cells)
    ]
    steps = sum(cell.steps for cell in spec.cells)
    before = 0
    for cell, name in zip(spec.cells, names, strict=True):
        path = tools.folder.work / name

        def tell(step: int, _: int, before: int = before) -> None:
            tools.check_stop()
            tools.progress.tell(stage="drawing", step=before + step, steps=steps)

        if not path.exists():
            (picture,) = generate(
                base,
                tools.warm.fused(tools.store, spec.fusing, spec.strengths_of(cell)),
                cell.prompt,
                seed=cell.seed,
                steps=cell.steps,
                guidance_scale=cell.guidance_scale,
                width_px=cell.width_px or base.native_size,
                height_px=cell.height_px or base.native_size,
                negative_prompt=cell.negative_prompt,
                allow_other_base=spec.fusing.allow_other_base,
                on_step=tell,
            )
            save_generated(picture, path)
        before += cell.steps
    tools.check_stop()
    sheet = f"grid_{tools.folder.id}.png"
    # A hundred large pictures would not go into memory.
    side_px = int((SHEET_PIXEL_LIMIT / len(names)) ** 0.5)
    drawn = labelled_grid(
        [read_image(tools.folder.work / name, max_side_px=side_px) for name in names],
        spec.columns,
        column_labels=spec.column_labels,
        row_labels=spec.row_labels,
        captions=[cell.label for cell in spec.cells],
        heading=spec.heading,
    )
    kept = SheetSettings(over=spec.over, first=read_settings(tools.folder.work / names[0]))
    save_png(drawn, tools.folder.work / sheet, {GRID_KEY: json.dumps(_shown_in(spec, base)), **kept.to_png_text()})
    files = {name: f"{spec.out}/{name}" for name in (sheet, *names)}
    pictures = [
        {
            "file": files[name],
            "seed": cell.seed,
            "label": cell.label,
            "row": number // spec.columns,
            "column": number % spec.columns,
        }
        for number, (cell, name) in enumerate(zip(spec.cells, names, strict=True))
    ]
    return Outcome(files, {"sheet": files[sheet], "columns": spec.columns, "pictures": pictures})


def _shown_in(spec: GridSpec, base: Base) -> dict[str, Any]:
    """What a sheet shows, for its picture: neither who asked for it nor where anything lies."""
    shown = spec.model_dump(mode="json", include={"cells", "columns", "column_labels", "row_labels", "heading"})
    # Names were given by whoever queued the job, and may be paths.
    adapters = [
        {"name": PurePosixPath(adapter.name.replace("\\", "/")).name, "strength": adapter.strength}
        for adapter in spec.fusing.adapters
    ]
    return {"base": base.name, "adapters": adapters, **shown}


def _describe(spec: DescribeSpec, tools: Tools) -> Outcome:
    from spectral_diffusion.diffusion.facts import describe_base

    config = tools.recipe(spec.config)
    base = _base(tools, config.base)

    def tell(stage: str, step: int, steps: int) -> None:
        tools.check_stop()
        tools.progress.tell(stage=stage, step=step, steps=steps)

    return Outcome({}, describe_base(base, config, on_progress=tell).model_dump(mode="json"))


def _seeds(spec: GenerateSpec) -> range:
    return range(spec.seed, spec.seed + spec.count)


def _score(spec: ScoreSpec, tools: Tools) -> Outcome:
    tools.progress.tell(now=True, stage="scoring")
    with kept_concepts(tools.store, spec.references) as concepts:
        found = score_pictures(
            [tools.store.blob(image.blob) for image in spec.images],
            concepts,
            spec.prompt,
            trials=spec.trials,
            scorer=spec.scorer,
            device=tools.warm.device,
            load=tools.warm.scorer,
        )
    answer = json.loads(json.dumps(found.to_dict()))
    name = "score.json"
    (tools.folder.work / name).write_text(json.dumps(answer, indent=1), encoding="utf-8")
    return Outcome({name: f"{spec.out}/{tools.folder.id}.json"}, answer)


def _demo(spec: DemoSpec, tools: Tools) -> Outcome:
    from spectral_diffusion.demo import run_demo
    from spectral_diffusion.demo_page import write_demo
    from spectral_diffusion.workspace import SAMPLES, sample_concepts

    config = tools.recipe(spec.config)

    def begin(stage: str) -> None:
        tools.check_stop()
        tools.progress.tell(now=True, stage=stage, step=0, steps=0, seconds_left=None)

    out = tools.folder.work / "demo"
    try:
        result = run_demo(
            config,
            [sample_concepts() / name for name in SAMPLES],
            out,
            device=tools.warm.device,
            seed=spec.seed,
            on_stage=begin,
            on_step=_tell_step(tools),
            resume="auto",
            should_stop=tools.should_stop,
        )
    except KeyboardInterrupt:
        raise Stopped from None
    values = write_demo(result, out)
    made = [path for path in sorted(out.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    files = {path.relative_to(tools.folder.work).as_posix(): path.relative_to(out).as_posix() for path in made}
    return Outcome(
        {source: str(PurePosixPath(spec.out) / name) for source, name in files.items()},
        {"report": str(PurePosixPath(spec.out) / "report.html"), **json.loads(json.dumps(values))},
    )
