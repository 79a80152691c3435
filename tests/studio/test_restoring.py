from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from spectral_diffusion.diffusion.settings import AdapterRecord, GenerationSettings, SheetSettings
from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import fuse_files
from spectral_diffusion.images import save_png
from spectral_diffusion.studio import history
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import Drawing
from spectral_diffusion.studio.limits import SEED_LIMIT
from spectral_diffusion.studio.parts.cards import STRENGTH_LIMIT, Ticked
from spectral_diffusion.studio.restoring import from_picture
from tests.studio.desks import desk_in, told_settings


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A new workspace: the samples with their trained adapters are there."""
    with desk_in(tmp_path_factory.mktemp("restoring"), has_samples=True) as desk:
        yield desk


def _drawn(desk: Desk, **changes: Any) -> GenerationSettings:
    """Settings of a picture that was drawn with octo."""
    return told_settings(adapters=_records(desk, 1.0), **changes)


def _records(desk: Desk, strength: float) -> tuple[AdapterRecord, ...]:
    fused = fuse_files([(desk.workspace.adapters / "octo.safetensors", strength)])
    return tuple(AdapterRecord.of(part) for part in fused.parts)


def _saved(path: Path, told: GenerationSettings | SheetSettings) -> Path:
    save_png(Image.new("RGB", (64, 64)), path, told.to_png_text())
    return path


def test_a_picture_gives_its_drawing_back(desk: Desk, tmp_path: Path):
    drawing, notes = from_picture(desk, _saved(tmp_path / "a.png", _drawn(desk)))
    assert notes == []
    assert drawing == Drawing((Ticked("octo.safetensors", 1.0),), "a photo of <octo>", "", 64, 64, 5, 2.0, 3)


def test_what_the_page_cannot_show_of_a_picture_is_told(desk: Desk, tmp_path: Path):
    path = _saved(tmp_path / "a.png", told_settings(adapters=_records(desk, 5.0), steps=900, seed=2**60))
    drawing, notes = from_picture(desk, path)
    assert drawing.adapters == (Ticked("octo.safetensors", STRENGTH_LIMIT),)
    assert drawing.seed == SEED_LIMIT and drawing.steps == 100
    assert len(notes) == 3


def test_a_picture_of_a_fused_file_ticks_that_file(desk: Desk, tmp_path: Path):
    place = desk.workspace.adapters
    both = fuse_files([(place / "shelly.safetensors", 0.5), (place / "spot.safetensors", 1.0)])
    (place / "shelly.safetensors").rename(tmp_path / "away")
    both.save(place / "both.safetensors")
    try:
        twice = fuse_files([(place / "both.safetensors", 2.0)])
        records = tuple(AdapterRecord.of(part) for part in twice.parts)
        path = _saved(tmp_path / "b.png", told_settings(adapters=records))
        drawing, notes = from_picture(desk, path)
        assert (drawing.adapters, notes) == ((Ticked("both.safetensors", 2.0),), [])
    finally:
        (place / "both.safetensors").unlink()
        (tmp_path / "away").rename(place / "shelly.safetensors")


@pytest.fixture
def half(desk: Desk) -> Iterator[Path]:
    """Another file of octo, which was fused with a strength and a factor scale of its own."""
    place = desk.workspace.adapters
    path = place / "half.safetensors"
    fuse_files([(place / "octo.safetensors", 0.7)], factor_scale=0.5).save(path)
    yield path
    path.unlink(missing_ok=True)


def _redrawn(desk: Desk, drawing: Drawing) -> tuple[AdapterRecord, ...]:
    """The concepts of a picture that is drawn anew from the page."""
    fused = fuse_files([(desk.workspace.adapters / adapter.id, adapter.strength) for adapter in drawing.adapters])
    return tuple(AdapterRecord.of(part) for part in fused.parts)


@pytest.mark.parametrize("strength", [1.0, 0.3, -1.5, 0.0])
@pytest.mark.parametrize("name", ["half", "octo"])
def test_what_is_restored_draws_with_the_same_strength_and_factor_scale(
    desk: Desk, half: Path, tmp_path: Path, name: str, strength: float
):
    drawn = Drawing((Ticked(f"{name}.safetensors", strength),), "a photo of <octo>", "", 64, 64, 5, 2.0, 3)
    told = told_settings(adapters=_redrawn(desk, drawn))
    drawing, notes = from_picture(desk, _saved(tmp_path / "a.png", told))
    assert (drawing, notes) == (drawn, [])
    assert _redrawn(desk, drawing) == told.adapters


def test_of_two_equal_files_that_of_the_concepts_name_is_ticked(desk: Desk, tmp_path: Path):
    own = desk.workspace.adapters / "octo.safetensors"
    copies = [own.with_name("an-octo.safetensors"), own.with_name("zebra.safetensors")]
    try:
        for copy in copies:
            copy.write_bytes(own.read_bytes())
        drawing, notes = from_picture(desk, _saved(tmp_path / "a.png", _drawn(desk)))
        assert (drawing.adapters, notes) == ((Ticked("octo.safetensors", 1.0),), [])
    finally:
        for copy in copies:
            copy.unlink(missing_ok=True)


def test_a_strength_of_the_file_itself_is_not_counted_twice(desk: Desk, tmp_path: Path):
    place = desk.workspace.adapters
    strong = place / "strong.safetensors"
    fuse_files([(place / "octo.safetensors", 4.0)]).save(strong)
    try:
        path = _saved(tmp_path / "a.png", told_settings(adapters=_records(desk, 6.0)))
        drawing, notes = from_picture(desk, path)
        assert (drawing.adapters, notes) == ((Ticked("strong.safetensors", 1.5),), [])
    finally:
        strong.unlink()


def test_a_picture_of_a_file_with_a_factor_scale_that_is_gone_is_said_to_differ(desk: Desk, half: Path, tmp_path: Path):
    drawn = Drawing((Ticked(half.name, 1.0),), "a photo of <octo>", "", 64, 64, 5, 2.0, 3)
    path = _saved(tmp_path / "a.png", told_settings(adapters=_redrawn(desk, drawn)))
    half.unlink()
    drawing, notes = from_picture(desk, path)
    assert drawing.adapters == (Ticked("octo.safetensors", 0.7),)
    assert notes == ["octo had the factor scale 0.5, and octo.safetensors has 1: it will differ"]


def test_a_fused_file_with_another_factor_scale_is_ticked_and_said_to_differ(desk: Desk, tmp_path: Path):
    place = desk.workspace.adapters
    files = [(place / f"{name}.safetensors", 1.0) for name in ("shelly", "spot")]
    both = fuse_files(files, factor_scale=0.5)
    records = tuple(AdapterRecord.of(part) for part in fuse_files(files).parts)
    path = _saved(tmp_path / "a.png", told_settings(adapters=records))
    (place / "shelly.safetensors").rename(tmp_path / "away")
    both.save(place / "both.safetensors")
    try:
        drawing, notes = from_picture(desk, path)
        assert drawing.adapters == (Ticked("both.safetensors", 1.0),)
        assert notes == ["shelly and spot had the factor scale 1, and both.safetensors has 0.5: it will differ"]
    finally:
        (place / "both.safetensors").unlink()
        (tmp_path / "away").rename(place / "shelly.safetensors")


def test_a_concept_that_is_not_here_and_a_file_that_is_damaged_are_told_and_hinder_nothing(desk: Desk, tmp_path: Path):
    path = _saved(tmp_path / "a.png", _drawn(desk))
    place = desk.workspace.adapters / "octo.safetensors"
    content = place.read_bytes()
    try:
        place.write_bytes(content[:-8] + b"\xff" * 8)
        drawing, notes = from_picture(desk, path)
        assert drawing.adapters == () and "octo is not among your adapters" in notes[0]
    finally:
        place.write_bytes(content)


def test_a_sheet_gives_the_drawing_of_its_first_picture_back_and_says_so(desk: Desk, tmp_path: Path):
    first = _drawn(desk)
    sheet = _saved(tmp_path / "from a friend.png", SheetSettings(over=("seed", "strength"), first=first))
    drawing, notes = from_picture(desk, sheet)
    assert notes == ["it is a grid over seed and strength: these are the settings of its first picture"]
    assert (drawing, []) == from_picture(desk, _saved(tmp_path / "first.png", first))
    alone = _saved(tmp_path / "alone.png", SheetSettings(first=first))
    assert from_picture(desk, alone)[1] == ["it is a grid: these are the settings of its first picture"]


def test_what_is_missing_of_a_sheet_is_told_too(desk: Desk, tmp_path: Path):
    sheet = SheetSettings(over=("seed",), first=_drawn(desk, steps=900))
    _, notes = from_picture(desk, _saved(tmp_path / "sheet.png", sheet))
    assert len(notes) == 2 and "steps is beyond 100" in notes[1]


def test_a_sheet_of_the_history_shows_what_its_first_picture_was_drawn_from(desk: Desk):
    path = desk.workspace.images / "grids" / "grid_0123abcd.png"
    _saved(path, SheetSettings(over=("<i>",), first=_drawn(desk, seed=41)))
    _, words, command, download = history._details(desk, desk.picture_name(path))
    assert "It is a grid over &lt;i&gt;: these are the settings of its first picture." in words
    assert "octo at 1" in words and "--seed 41" in command and Path(download.value["path"]).name == path.name


def test_a_picture_without_settings_is_shown_and_gives_none_back(desk: Desk):
    path = desk.workspace.images / "plain.png"
    save_png(Image.new("RGB", (64, 64)), path)
    _, words, command, _ = history._details(desk, "plain.png")
    assert "holds no settings" in words and command == ""
    with pytest.raises(InputError, match="holds no settings"):
        from_picture(desk, path)
