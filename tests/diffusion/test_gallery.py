"""Laws of what screens list: all folders, whatever is in them, at once; and pictures that are looked at once."""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from spectral_diffusion.diffusion import previews
from spectral_diffusion.diffusion.curation import create_concept, rename_concept, set_mask
from spectral_diffusion.diffusion.gallery import (
    ConceptSummary,
    judge_concept,
    list_concepts,
    list_photographs,
    thumbnail,
)
from spectral_diffusion.diffusion.intake import add_photographs
from spectral_diffusion.errors import InputError
from spectral_diffusion.names import printable
from spectral_diffusion.workspace import Workspace, sample_concepts
from tests.adapters.making import make_adapter
from tests.hostile.case import Case
from tests.hostile.cases_concepts import CASES


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("SPECTRAL_DIFFUSION_CACHE", str(tmp_path / "cache"))
    shutil.copytree(sample_concepts(), tmp_path / "home" / "concepts")
    return Workspace(tmp_path / "home")


def test_concepts_are_listed_with_what_they_are_called(workspace: Workspace) -> None:
    make_adapter("octo", 0).save(workspace.adapters / "octo.safetensors")
    create_concept(workspace, "empty")
    (workspace.concepts / "a file").write_text("x")
    octo, shelly = (summary for summary in list_concepts(workspace) if summary.name in ("octo", "shelly"))
    assert (octo.token, octo.class_word, octo.description, octo.count) == (
        "<octo>", "octopus", "purple octopus with a yellow star", 5,
    )  # fmt: skip
    assert octo.cover == workspace.concepts / "octo" / "00.png" and octo.fault == "" and octo.notes == ()
    assert octo.has_adapter and not shelly.has_adapter
    (empty,) = (summary for summary in list_concepts(workspace) if summary.name == "empty")
    assert (empty.count, empty.cover, empty.fault, empty.token) == (0, None, "", "<empty>")
    assert [summary.folder for summary in list_concepts(workspace)] == ["empty", "octo", "shelly", "spot"]
    assert list_concepts(Workspace(workspace.root / "elsewhere")) == []


def test_a_token_of_two_concepts_is_told(workspace: Workspace) -> None:
    (workspace.concepts / "spot" / "concept.toml").write_text('token = "<octo>"')
    notes = {summary.folder: summary.notes for summary in list_concepts(workspace)}
    assert notes["octo"] == () and notes["shelly"] == () and "octo has the token <octo> too" in notes["spot"][0]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_folder_hides_no_other(case: Case, tmp_path: Path) -> None:
    concepts = tmp_path / "home" / "concepts"
    concepts.mkdir(parents=True)
    case.make(concepts)
    shutil.copytree(sample_concepts() / "spot", concepts / "zz")
    workspace = Workspace(tmp_path / "home")
    listed = {summary.folder: summary for summary in list_concepts(workspace)}
    assert listed["zz"].fault == "" and listed["zz"].count == 5
    for summary in listed.values():
        for text in (summary.name, summary.fault):
            assert printable(text) == text and str(tmp_path) not in text
        try:
            photographs = list_photographs(workspace, summary.folder)
        except InputError:
            continue
        assert all(printable(photograph.fault) == photograph.fault for photograph in photographs)
        assert judge_concept(workspace, summary.folder, 128).keys() <= {photograph.name for photograph in photographs}
    if case.refused and "mask" not in case.name:
        # What can be seen without decoding is told at once.
        told = [one for name in listed if name != "zz" for one in _faults(workspace, name, listed[name])]
        assert any(told) or "missing" in case.name or "NUL" in case.name or "loop" in case.name


def _faults(workspace: Workspace, name: str, summary: ConceptSummary) -> list[str]:
    faults = [summary.fault]
    with suppress(InputError):
        faults += [photograph.fault for photograph in list_photographs(workspace, name)]
    return faults


def test_photographs_are_listed_with_caption_size_and_fault(workspace: Workspace) -> None:
    folder = workspace.concepts / "octo"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (90, 60), "red").save(folder / "05.jpg", exif=exif)
    (folder / "06.png").write_bytes(b"no picture")
    Image.new("L", (9, 9), 255).save(folder / "01.mask.png")
    set_mask(workspace, "octo", "00.png", Image.new("L", (128, 128), 255))
    listed = list_photographs(workspace, "octo")
    assert [(one.name, one.width_px, one.height_px) for one in listed] == [
        *((f"0{number}.png", 128, 128) for number in range(5)), ("05.jpg", 60, 90), ("06.png", 0, 0),
    ]  # fmt: skip
    assert listed[0].caption == (sample_concepts() / "octo" / "00.txt").read_text().strip()
    assert listed[0].mask == folder / "00.mask.png" and listed[0].fault == "" and listed[2].mask is None
    assert listed[1].fault.startswith("its mask is 9 x 9 pixels and the photograph 128 x 128")
    assert listed[6].fault.startswith("06.png is not a PNG")


def test_listing_decodes_no_photograph(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("a photograph was decoded"))
    assert len(list_concepts(workspace)) == 3
    assert len(list_photographs(workspace, "octo")) == 5


def test_a_thumbnail_is_made_once_and_anew_when_the_picture_changes(workspace: Workspace) -> None:
    path = workspace.concepts / "octo" / "00.png"
    small = thumbnail(path, 32)
    assert Image.open(small).size == (32, 32) and Image.open(thumbnail(path)).size == (128, 128)
    made = small.stat().st_mtime_ns
    assert thumbnail(path, 32) == small and small.stat().st_mtime_ns == made
    Image.new("RGB", (64, 32), "red").save(path)
    assert Image.open(thumbnail(path, 32)).size == (32, 16)
    path.write_bytes(b"no picture")
    with pytest.raises(InputError, match="is not a PNG"):
        thumbnail(path, 32)


def test_what_was_looked_at_is_not_decoded_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    create_concept(workspace, "new")
    add_photographs(workspace, "new", sorted((sample_concepts() / "spot").glob("*.png")))
    before = judge_concept(workspace, "octo", 256)
    rename_concept(workspace, "octo", "squid")
    monkeypatch.setattr(previews, "read_image", lambda *_, **__: pytest.fail("a photograph was decoded again"))
    previews._preview.cache_clear()
    assert judge_concept(workspace, "squid", 256) == before and len(before) == 5
    assert len(judge_concept(workspace, "new", 128)) == 5
    for path in (workspace.concepts / "new").glob("*.png"):
        assert thumbnail(path).is_file()


def test_what_somebody_spoiled_in_the_cache_is_made_anew(workspace: Workspace) -> None:
    before = judge_concept(workspace, "octo", 256)
    for number, path in enumerate(sorted(previews.cache_folder().rglob("*.json"))):
        path.write_bytes((b"", b"[]", b'{"measure": 5}', b'{"measure": {"stamp": 7}}', b"\xff")[number % 5])
    previews._preview.cache_clear()
    assert judge_concept(workspace, "octo", 256) == before


def test_the_cache_is_thinned_out(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "FILES_LIMIT", 6)
    paths = sorted(workspace.concepts.glob("*/*.png"))
    for path in paths:
        kept = thumbnail(path)
        os.utime(kept, (time.time() - 1000 + len(list(kept.parent.iterdir())),) * 2)
    assert 3 <= len(list(kept.parent.iterdir())) <= 6
    assert thumbnail(paths[-1]).is_file()
