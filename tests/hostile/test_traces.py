"""What is written tells nothing of the machine, nor where and by whom a photograph was taken, and goes nowhere else."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.images import save_png
from spectral_diffusion.report import Picture, Report
from spectral_diffusion.workspace import create_new, write_atomically
from tests.adapters.making import make_adapter
from tests.command_line import call, write_recipe

CAMERA = "Camera of Mallory 4711"
MARKUP = "<img src=x onerror=alert(1)>\"'&<script>"


def photographed(path: Path, colour: str) -> None:
    """A photograph as a phone takes it: with camera, time and place."""
    exif = Image.Exif()
    exif[0x010F] = CAMERA
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 31.25), 3: "E", 4: (11.0, 34.0, 52.5)})
    exif.get_ifd(0x8769)[0x9003] = "1999:12:31 23:59:58"
    Image.new("RGB", (64, 48), colour).save(path, exif=exif, comment=CAMERA.encode(), xmp=CAMERA.encode())


def test_nothing_written_tells_where_and_by_whom(
    tmp_path: Path, miniature: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "mallory-secret"
    concept = home / "photos" / "octo"
    concept.mkdir(parents=True)
    for index, colour in enumerate(("red", "green", "blue")):
        photographed(concept / f"mallory-secret-{index}.jpg", colour)
    base = home / "mini"
    base.symlink_to(miniature)
    recipe = write_recipe(home, base, sample_every=2, checkpoint_every=1)
    workspace = home / "workspace"
    for variable in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(variable, "mallory")
    monkeypatch.setenv("HOME", str(home))
    call(capsys, "train", concept, "--config", recipe, "--workspace", workspace).expect(0)
    adapter = workspace / "adapters" / "octo.safetensors"
    drawing = ["generate", "-a", adapter, "-p", "a <octo>", "--config", recipe, "--workspace", workspace]
    call(capsys, *drawing).expect(0)
    call(capsys, "fuse", adapter, "--out", workspace / "fused.safetensors").expect(0)
    written = [path for path in workspace.rglob("*") if path.is_file()]
    assert len({path.suffix for path in written} & {".safetensors", ".png", ".json"}) == 3
    told = [CAMERA, "mallory", str(tmp_path), "1999:12:31"]
    for path in written:
        content = path.read_bytes()
        for word in told:
            assert word.encode() not in content, f"{path} tells {word}"
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
                assert not image.getexif() and set(image.info) <= {"spectral_diffusion", "parameters"}


def test_a_picture_given_with_metadata_is_saved_without(tmp_path: Path) -> None:
    photographed(tmp_path / "a.jpg", "red")
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif() and image.info
        save_png(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        saved.load()
        assert not saved.getexif() and not saved.info
    assert CAMERA.encode() not in (tmp_path / "a.png").read_bytes()


class _Tags(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_a_page_shows_names_and_runs_none(tmp_path: Path) -> None:
    photographed(tmp_path / "a.jpg", "red")
    report = Report(MARKUP, MARKUP)
    report.section(MARKUP, MARKUP)
    report.headline_numbers([(MARKUP, MARKUP)])
    with Image.open(tmp_path / "a.jpg") as image:
        report.pictures([Picture(image, MARKUP)])
    report.table([MARKUP], [[MARKUP, MARKUP]])
    report.heat_map(MARKUP, [MARKUP], [(MARKUP, [0.5])])
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 13
    tags = _Tags()
    tags.feed(page)
    assert "script" not in tags.names and not any(name.startswith("on") for name in tags.attributes)
    assert all(source.startswith("data:image/png;base64,") for source in tags.sources) and len(tags.sources) == 1
    assert "default-src 'none'" in page and str(tmp_path) not in page
    for picture in re.findall(r"base64,([A-Za-z0-9+/=]+)", page):
        assert CAMERA.encode() not in base64.b64decode(picture)


def test_a_link_in_the_place_of_a_result_is_replaced_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    inside = tmp_path / "inside"
    inside.mkdir()
    for name in ("octo.safetensors", "octo.png", "octo.html"):
        (inside / name).symlink_to(precious)
    make_adapter("octo", 0).save(inside / "octo.safetensors")
    save_png(Image.new("RGB", (16, 16)), inside / "octo.png")
    Report("octo", "octo").save(inside / "octo.html")
    assert precious.read_text() == "precious"
    assert not any(path.is_symlink() for path in inside.iterdir()) and Adapter.load(inside / "octo.safetensors")


def test_a_link_to_nowhere_in_the_place_of_a_result_makes_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "elsewhere")
    assert not create_new(tmp_path / "a.png")
    write_atomically(tmp_path / "a.png", lambda path: path.write_bytes(b"x"))
    assert not (tmp_path / "elsewhere").exists() and (tmp_path / "a.png").read_bytes() == b"x"


def test_an_adapter_keeps_no_path_in_its_header(tmp_path: Path) -> None:
    make_adapter("octo", 0).save(tmp_path / "octo.safetensors")
    assert str(tmp_path) not in json.dumps(Adapter.load(tmp_path / "octo.safetensors").pack()[0])
