"""Laws of uploads: whatever strangers send, what can be stored is, clean, and what cannot is told of by name."""

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectral_diffusion.diffusion.curation import create_concept, remove_photograph
from spectral_diffusion.diffusion.dataset import load_concept
from spectral_diffusion.diffusion.intake import add_photographs
from spectral_diffusion.errors import DiskFullError, InputError
from spectral_diffusion.workspace import Workspace, sample_concepts
from tests.hostile.cases_archives import MASK, TOML, zipped
from tests.hostile.cases_images import NOISE, chunk, encoded, png

OCTO = sorted((sample_concepts() / "octo").glob("*.png"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "home")
    create_concept(workspace, "toy")
    return workspace


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


def _noise(seed: int, width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def _stored(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in (workspace.concepts / "toy").iterdir())


def test_a_photograph_is_stored_upright_small_enough_and_without_metadata(workspace: Workspace, uploads: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Camera of Mallory"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 31.25), 3: "E", 4: (11.0, 34.0, 52.5)})
    _noise(1, 2000, 1000).save(uploads / "IMG <1>.jpg", exif=exif, comment=b"Mallory")
    added = add_photographs(workspace, "toy", [uploads / "IMG <1>.jpg"])
    assert added.stored == ("00.png",) and added.refused == ()
    assert added.results[0].upload == "IMG <1>.jpg"
    assert added.results[0].notes == (
        "location data removed",
        "turned upright",
        "scaled down from 1000 x 2000 to 768 x 1536",
    )
    path = workspace.concepts / "toy" / "00.png"
    assert b"Mallory" not in path.read_bytes() and b"eXIf" not in path.read_bytes()
    with Image.open(path) as image:
        image.load()
        assert (image.format, image.mode, image.size, image.info) == ("PNG", "RGB", (768, 1536), {})


def test_location_is_found_in_every_kind_of_file_and_only_there(workspace: Workspace, uploads: Path) -> None:
    where, camera = Image.Exif(), Image.Exif()
    where[0x010F] = "camera"
    where.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 31.25)})
    camera[0x010F] = "camera"
    camera.get_ifd(0x8825).update({0: b"\2\3\0\0", 1: "N"})
    xmp = b'<x:xmpmeta><rdf:Description exif:GPSLatitude="48,8.5N"/></x:xmpmeta>'
    for number, kind in enumerate(("JPEG", "PNG", "WEBP")):
        _noise(number).save(uploads / f"where{number}", kind, exif=where)
        _noise(number + 10).save(uploads / f"camera{number}", kind, exif=camera)
        _noise(number + 20).save(uploads / f"plain{number}", kind)
    _noise(30).save(uploads / "where-xmp", "JPEG", xmp=xmp)
    _noise(31).save(uploads / "where-xmp-webp", "WEBP", xmp=xmp)
    _noise(32).save(uploads / "camera-xmp", "JPEG", xmp=b"<x:xmpmeta>camera</x:xmpmeta>")
    # A PNG may tell it behind its picture.
    (uploads / "where-behind").write_bytes(png(40, 40)[:-12] + chunk(b"eXIf", where.tobytes()[6:]) + chunk(b"IEND"))
    added = add_photographs(workspace, "toy", sorted(uploads.iterdir()))
    assert len(added.stored) == 13
    for result in added.results:
        assert ("location data removed" in result.notes) == result.upload.startswith("where"), result


def test_sixteen_bits_are_told(workspace: Workspace, uploads: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 2**16, (32, 32)).astype(np.uint16)
    Image.fromarray(grey).save(uploads / "deep.png")
    (result,) = add_photographs(workspace, "toy", [uploads / "deep.png"]).results
    assert result.stored and result.notes == ("16-bit colours reduced to 8",)


def test_one_bad_picture_keeps_no_other_from_being_stored(workspace: Workspace, uploads: Path) -> None:
    _noise(1).save(uploads / "a.png")
    (uploads / "b\x1b[2J.png").write_bytes(b"I am a letter")
    _noise(2).save(uploads / "c", "JPEG")
    Image.new("RGB", (3, 3)).save(uploads / "d.png")
    (uploads / ".DS_Store").write_bytes(b"x")
    (uploads / "Thumbs.db").write_bytes(b"x")
    added = add_photographs(workspace, "toy", [*sorted(uploads.iterdir()), uploads / "gone.png", uploads])
    assert added.stored == ("00.png", "01.png")
    told = {result.upload: result.refused for result in added.refused}
    assert told.keys() == {"b\\x1b[2J.png", "d.png", "gone.png", "uploads"}
    assert told["d.png"].startswith("d.png is only 3 x 3 pixels")
    assert "is not a PNG" in told["b\\x1b[2J.png"]
    assert not any(str(uploads) in words or "\x1b" in words for words in told.values())


def test_captions_and_masks_go_with_the_picture_of_their_name(workspace: Workspace, uploads: Path) -> None:
    _noise(1, 2000, 1000).save(uploads / "a.jpg")
    mask = Image.new("L", (2000, 1000))
    mask.paste(255, (0, 0, 1000, 1000))
    mask.save(uploads / "a.mask.png")
    (uploads / "a.txt").write_text("a toy\non a table")
    _noise(2).save(uploads / "b.png")
    (uploads / "b.txt").write_bytes(b"\x80\x04]q.")
    Image.new("L", (9, 9), 255).save(uploads / "b.mask.png")
    (uploads / "lonely.txt").write_text("x")
    Image.new("L", (9, 9), 255).save(uploads / "alone.mask.png")
    added = add_photographs(workspace, "toy", sorted(uploads.iterdir()))
    one, other = load_concept(workspace.concepts / "toy").photographs
    assert one.caption == "a toy on a table" and other.caption is None and other.mask is None
    assert (
        one.mask is not None
        and one.mask.shape == (768, 1536)
        and float(one.mask.mean()) == pytest.approx(0.5, abs=0.01)
    )
    assert added.results[0].notes[-2:] == ("with its mask", "with its caption")
    assert any("its mask is left out: mask b.mask.png is 9 x 9 pixels" in note for note in added.results[1].notes)
    assert any("its caption is left out" in note for note in added.results[1].notes)
    assert {result.upload for result in added.refused} == {"lonely.txt", "alone.mask.png"}


def test_a_zip_is_taken_over_with_all_that_is_in_it(workspace: Workspace, uploads: Path) -> None:
    members = {"octo/1.png": encoded(NOISE), "octo/1.txt": b"an octopus", "octo/1.mask.png": MASK}
    members |= {"octo/2.png": b"no picture", "octo/concept.toml": TOML}
    (uploads / "x.jpg").write_bytes(zipped(members))
    added = add_photographs(workspace, "toy", [uploads / "x.jpg"])
    concept = load_concept(workspace.concepts / "toy")
    assert (concept.token, concept.class_word) == ("<octo>", "octopus")
    assert concept.photographs[0].caption == "an octopus" and concept.photographs[0].mask is not None
    assert _stored(workspace) == ["00.mask.png", "00.png", "00.txt", "concept.toml"]
    assert [(result.upload, bool(result.refused)) for result in added.results] == [
        ("x.jpg/1.png", False),
        ("x.jpg/2.png", True),
        ("x.jpg/concept.toml", False),
    ]


def test_settings_that_are_there_or_cannot_be_used_are_not_taken_over(workspace: Workspace, uploads: Path) -> None:
    create_concept(workspace, "octo", token="<octo>")
    (uploads / "concept.toml").write_bytes(TOML)
    (result,) = add_photographs(workspace, "toy", [uploads / "concept.toml"]).results
    assert result.refused == "the concept octo has the token <octo> already"
    (uploads / "concept.toml").write_text('token = "<a b>"')
    (result,) = add_photographs(workspace, "toy", [uploads / "concept.toml"]).results
    assert "not of the form <octo>" in result.refused
    (result,) = add_photographs(workspace, "octo", [uploads / "concept.toml"]).results
    assert "settings of its own, which stay" in result.refused
    assert _stored(workspace) == []


def test_the_same_pixels_are_stored_once(workspace: Workspace, uploads: Path) -> None:
    for number, path in enumerate(OCTO[:3]):
        shutil.copyfile(path, uploads / f"{number}.png")
    Image.open(OCTO[0]).save(uploads / "again.webp", lossless=True)
    first = add_photographs(workspace, "toy", [uploads / "0.png", uploads / "again.webp", uploads / "1.png"])
    assert first.stored == ("00.png", "01.png")
    assert [result.refused for result in first.refused] == ["the same picture as 0.png"]
    second = add_photographs(workspace, "toy", sorted(uploads.iterdir()))
    assert second.stored == ("02.png",)
    assert {result.refused for result in second.refused} == {"the same picture as 00.png", "the same picture as 01.png"}


def test_fifty_fit_and_a_number_is_not_given_twice(workspace: Workspace, uploads: Path) -> None:
    for number in range(53):
        _noise(number, 16, 16).save(uploads / f"{number:02d}.png")
    told: list[tuple[int, int]] = []
    added = add_photographs(workspace, "toy", sorted(uploads.iterdir()), lambda *numbers: told.append(numbers))
    assert len(added.stored) == 50 and len(added.refused) == 3
    assert all("as many as it can hold" in result.refused for result in added.refused)
    assert told == [(number + 1, 53) for number in range(53)]
    assert len(load_concept(workspace.concepts / "toy").photographs) == 50
    remove_photograph(workspace, "toy", "07.png")
    assert add_photographs(workspace, "toy", [uploads / "52.png", uploads / "51.png"]).stored == ("50.png",)


def test_a_full_disk_stores_nothing_and_leaves_nothing(
    workspace: Workspace, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    _noise(1, 16, 16).save(uploads / "a.png")
    _noise(2, 400, 400).save(uploads / "b.png")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(DiskFullError):
            add_photographs(workspace, "toy", [uploads / "a.png", uploads / "b.png"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert _stored(workspace) == []
    assert [path.name for path in workspace.concepts.iterdir() if path.is_dir()] == ["toy"]


def test_two_tabs_that_upload_at_once_lose_nothing(workspace: Workspace, uploads: Path) -> None:
    paths = [uploads / f"{number}.png" for number in range(12)]
    for number, path in enumerate(paths):
        _noise(number).save(path)
    with ThreadPoolExecutor(4) as tabs:
        results = list(
            tabs.map(lambda start: add_photographs(workspace, "toy", paths[start : start + 6]), range(0, 9, 3))
        )
    stored = [name for result in results for name in result.stored]
    assert len(stored) == len(set(stored)) == 12
    assert sum(len(result.refused) for result in results) == 6
    digests = {photograph.image.tobytes() for photograph in load_concept(workspace.concepts / "toy").photographs}
    assert len(digests) == 12


def test_there_must_be_a_concept(workspace: Workspace, uploads: Path) -> None:
    for name in ("nothing", "../toy", "", "."):
        with pytest.raises(InputError, match="there is no concept"):
            add_photographs(workspace, name, [])


def test_what_a_killed_process_left_is_swept(
    workspace: Workspace, uploads: Path, ageing: Callable[[Path], None]
) -> None:
    left = workspace.concepts / ".incoming-left"
    left.mkdir()
    (left / "1.png").write_bytes(b"x")
    add_photographs(workspace, "toy", [])
    assert left.exists()
    ageing(left)
    add_photographs(workspace, "toy", [])
    assert not left.exists()


@pytest.fixture
def ageing() -> Callable[[Path], None]:
    return lambda path: os.utime(path, (time.time() - 7200, time.time() - 7200))
