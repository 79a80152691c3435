"""Grids: many settings, one sheet; and the adapters that they are drawn with, read once."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spectral_diffusion.diffusion.base import Base, load_base
from spectral_diffusion.diffusion.pipeline import generate, read_settings
from spectral_diffusion.diffusion.settings import SheetSettings
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.fusion import fuse_files, load_fused
from spectral_diffusion.images import read_png_text
from spectral_diffusion.jobs import warm as warm_module
from spectral_diffusion.jobs.adapter_set import AdapterSet
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.specs import GenerateSpec, GridCell, GridSpec, build_spec
from spectral_diffusion.jobs.submission import fusing_of, generate_spec, grid_spec
from spectral_diffusion.jobs.tasks import GRID_KEY
from spectral_diffusion.jobs.tools import Stopped
from spectral_diffusion.jobs.warm import Warm
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.workspace import Workspace
from tests.diffusion.adapting import random_adapter
from tests.jobs.tooling import do
from tests.jobs.working import Place

CELL: dict[str, Any] = {"prompt": "a dog", "negative_prompt": "", "seed": 3, "steps": 2, "guidance_scale": 2.0}


@pytest.fixture(scope="module")
def base(miniature: Path) -> Base:
    return load_base(miniature)


@pytest.fixture(scope="module")
def adapters(base: Base, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two concepts that go together, and another version of the first one."""
    folder = tmp_path_factory.mktemp("adapters")
    made = {
        "red": random_adapter(base, "red", seed=1, scale=0.5),
        "blue": random_adapter(base, "blue", seed=2, scale=0.5, slot=ColumnSlot(4, 4)),
        "red2": random_adapter(base, "red", seed=3, scale=0.5),
    }
    for name, adapter in made.items():
        adapter.save(folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in made}


def _submit(place: Place, files: list[tuple[Path, float]], cells: list[dict[str, Any]], **more: Any) -> Job:
    return place.queue.submit(
        lambda store: grid_spec(store, Workspace(place.root), str(place.base), files, cells, **more), user="tester"
    )


def test_every_cell_is_the_picture_of_its_settings_and_the_sheet_holds_the_job(
    place: Place, base: Base, adapters: dict[str, Path]
) -> None:
    files = [(adapters["red"], 0.5), (adapters["blue"], 1.0)]
    cells = [
        {**CELL, "prompt": "a <red>", "strengths": (0.7, None), "label": "alone"},
        {**CELL, "prompt": "a <blue>", "strengths": (None, 1.0), "width_px": 32, "height_px": 48},
        {**CELL, "prompt": "a <red> and a <blue>"},
        {**CELL, "strengths": (None, None), "seed": 4},
    ]
    job = _submit(place, files, cells, columns=3, column_labels=("A", "B", "A + B"), heading="<red> & <blue>")
    assert isinstance(job.spec, GridSpec) and job.title == "draw a grid of 4 pictures"
    warm = Warm("cpu")
    outcome = do(place, job, warm)
    sheet, *names = outcome.files
    assert outcome.answer["sheet"] == f"images/grid_{job.id}.png" == outcome.files[sheet]
    told = outcome.answer["pictures"]
    assert [(cell["row"], cell["column"], cell["seed"]) for cell in told] == [
        (0, 0, 3),
        (0, 1, 3),
        (0, 2, 3),
        (1, 0, 4),
    ]
    assert [cell["file"] for cell in told] == [outcome.files[name] for name in names]
    assert told[0]["label"] == "alone" and all(job.id in name for name in names)
    red, blue = files[0][0], files[1][0]
    strengths = [[(red, 0.7)], [(blue, 1.0)], [(red, 0.5), (blue, 1.0)], []]
    work = place.root / "jobs" / job.id / "work"
    for name, cell, chosen in zip(names, job.spec.cells, strengths, strict=True):
        (direct,) = generate(
            base,
            fuse_files(chosen) if chosen else None,
            cell.prompt,
            seed=cell.seed,
            steps=2,
            guidance_scale=2.0,
            width_px=cell.width_px or 64,
            height_px=cell.height_px or 64,
        )
        assert Image.open(work / name).tobytes() == direct.image.tobytes()
        assert read_settings(work / name) == direct.settings
    shown = json.loads(read_png_text(work / sheet)[GRID_KEY])
    assert [GridCell.model_validate(cell) for cell in shown["cells"]] == list(job.spec.cells)
    assert (shown["base"], shown["columns"], shown["heading"]) == (base.name, 3, "<red> & <blue>")
    assert shown["column_labels"] == ["A", "B", "A + B"] and shown["row_labels"] == []
    assert [adapter["strength"] for adapter in shown["adapters"]] == [0.5, 1.0]
    over = ("prompt", "seed", "width", "height", "strength")
    first = read_settings(work / names[0])
    assert SheetSettings.from_png_text(read_png_text(work / sheet)) == SheetSettings(over=over, first=first)
    with pytest.raises(InputError, match="holds no settings"):
        read_settings(work / sheet)
    progress = place.queue.job(job.id).progress
    assert (progress.step, progress.steps) == (8, 8)


def test_a_sheet_tells_neither_of_whom_nor_of_where(place: Place, base: Base, adapters: dict[str, Path]) -> None:
    job = _submit(
        place,
        [(adapters["red"], 1.0)],
        [{**CELL, "prompt": "a <red>"}],
        columns=1,
        out=place.root / "users" / "mallory" / "images",
    )
    assert isinstance(job.spec, GridSpec) and "mallory" in job.spec.out and Path(job.spec.base).is_absolute()
    sheet, *pictures = do(place, job, Warm("cpu")).files
    for name in (sheet, *pictures):
        told = json.dumps(read_png_text(place.root / "jobs" / job.id / "work" / name))
        for word in ("mallory", "users/", str(place.root), str(place.base), str(place.base.parent)):
            assert word not in told, f"{name} tells {word}"


def test_a_grid_that_was_stopped_goes_on_where_it_was(place: Place) -> None:
    job = _submit(place, [], [{**CELL, "seed": seed} for seed in range(4)], columns=2)
    warm, work = Warm("cpu"), place.root / "jobs" / job.id / "work"
    with pytest.raises(Stopped):
        do(place, job, warm, lambda: len(list(work.glob("[!.]*.png"))) >= 2)
    before = {path.name: path.stat().st_mtime_ns for path in work.glob("[!.]*.png")}
    assert len(before) == 2
    outcome = do(place, job, warm)
    assert len(outcome.files) == 5
    assert all((work / name).stat().st_mtime_ns == written for name, written in before.items())
    assert do(place, job, warm) == outcome


def test_versions_of_one_concept_are_compared_in_one_grid_but_not_in_one_cell(
    place: Place, adapters: dict[str, Path]
) -> None:
    files = [(adapters["red"], 1.0), (adapters["red2"], 1.0)]
    cell = {**CELL, "prompt": "a <red>"}
    job = _submit(place, files, [{**cell, "strengths": (1, None)}, {**cell, "strengths": (None, 1)}], columns=2)
    outcome = do(place, job, Warm("cpu"))
    _, one, two = (place.root / "jobs" / job.id / "work" / name for name in outcome.files)
    assert Image.open(one).tobytes() != Image.open(two).tobytes()
    with pytest.raises(InputError, match="both have the token"):
        _submit(place, files, [{**cell, "strengths": (1, 1)}], columns=1)
    with pytest.raises(SlotError, match="share columns"):
        _submit(place, files, [{**cell, "strengths": (1, 1)}], columns=1, rename={"<red>": "<red2>"})


@pytest.mark.parametrize(
    ("cells", "more", "words"),
    [
        ([], {"columns": 1}, "cells"),
        ([CELL] * 101, {"columns": 10}, "cells"),
        ([CELL], {"columns": 0}, "columns"),
        ([{**CELL, "steps": 0}], {"columns": 1}, "cells.0.steps"),
        ([{**CELL, "seed": -1}], {"columns": 1}, "cells.0.seed"),
        ([{**CELL, "colour": "red"}], {"columns": 1}, "cells.0.colour"),
        ([{**CELL, "strengths": (1.0,)}], {"columns": 1}, "1 strengths for 2 adapters"),
        ([{**CELL, "strengths": (float("nan"), 1.0)}], {"columns": 1}, "cells.0.strengths.0"),
        ([CELL] * 3, {"columns": 2, "column_labels": ("a",)}, "1 labels for 2 columns"),
        ([CELL] * 3, {"columns": 2, "row_labels": ("a",)}, "1 labels for 2 rows"),
        ([{**CELL, "prompt": "a <green>"}], {"columns": 1}, "picture 1 names <green>"),
        ([{**CELL, "prompt": "a <red>", "strengths": (None, 1.0)}], {"columns": 1}, "picture 1 names <red>"),
        ([CELL], {"columns": 1, "out": Path("/elsewhere")}, "outside the workspace"),
        ([CELL], {"columns": 1, "rename": {"<green>": "<g>"}}, "<green>"),
    ],
)
def test_a_grid_that_cannot_be_drawn_is_refused_at_once(
    place: Place, adapters: dict[str, Path], cells: list[dict[str, Any]], more: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError) as refusal:
        _submit(place, [(adapters["red"], 1.0), (adapters["blue"], 1.0)], cells, **more)
    assert words in str(refusal.value) and refusal.value.remedy
    assert place.queue.jobs() == []


def test_a_cell_has_the_bounds_of_a_picture() -> None:
    shared = {"steps", "seed", "guidance_scale", "width_px", "height_px", "prompt", "negative_prompt"}
    grid = {"base": "toybox", "fusing": {}, "columns": 1}
    for name, value in {"steps": 1001, "seed": 2**63, "guidance_scale": 0.5, "width_px": 8, "height_px": 5000}.items():
        assert name in shared
        for build in (
            lambda values: build_spec("grid", cells=[values], **grid),
            lambda values: build_spec("generate", base="toybox", fusing={}, count=1, **values),
        ):
            build(CELL)
            with pytest.raises(InputError, match=name):
                build({**CELL, name: value})


@given(st.lists(st.none() | st.floats(-2, 2), min_size=2, max_size=2), st.sampled_from([None, 0.5]))
def test_adapters_read_once_are_fused_as_their_files_are(
    adapters: dict[str, Path], strengths: list[float | None], factor_scale: float | None
) -> None:
    paths, rules = [adapters["red"], adapters["blue"]], {"rename": {"<red>": "<r>"}, "factor_scale": factor_scale}
    fused = AdapterSet([load_fused(path).parts for path in paths], **rules).fused(strengths)
    chosen = [(path, strength) for path, strength in zip(paths, strengths, strict=True) if strength is not None]
    if not chosen:
        assert fused is None
        return
    rename = {"<red>": "<r>"} if strengths[0] is not None else {}
    expected = fuse_files(chosen, factor_scale=factor_scale, rename=rename)
    assert fused is not None and fused.tokens == expected.tokens
    for module in expected.modules[:3]:
        for one, other in zip(fused.low_rank(module), expected.low_rank(module), strict=True):
            assert one.equal(other)


def test_other_strengths_keep_no_new_file_and_read_none(
    place: Place, adapters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    warm, read = Warm("cpu"), []
    monkeypatch.setattr(warm_module, "load_fused", lambda path: (read.append(path), load_fused(path))[1])

    def draw(strength: float) -> Job:
        def build(store: Any) -> GenerateSpec:
            fusing = fusing_of(store, [(adapters["red"], strength), (adapters["blue"], 1.0)])
            values = {**CELL, "prompt": "a <red> and a <blue>", "count": 1}
            return generate_spec(store, Workspace(place.root), str(place.base), fusing, **values)

        return place.queue.submit(build)

    pictures = []
    for strength in (0.0, 1.0, 0.5):
        job = draw(strength)
        assert isinstance(job.spec, GenerateSpec) and job.spec.fusing.adapters[0].strength == strength
        (name,) = do(place, job, warm).files
        path = place.root / "jobs" / job.id / "work" / name
        assert [record.strength for record in read_settings(path).adapters] == [strength, 1.0]
        pictures.append(Image.open(path).tobytes())
    assert len(set(pictures)) == 3
    assert len(read) == len(list((place.root / "jobs" / "blobs").iterdir())) == 2


def test_the_settings_of_a_job_are_plain_json(place: Place) -> None:
    job = _submit(place, [], [CELL], columns=1, row_labels=("a \U0001f600 row",))
    assert job.spec is not None
    assert json.loads(job.spec.model_dump_json())["row_labels"] == ["a \U0001f600 row"]
