"""Hostile pictures at the door that reads photographs, and how much memory it takes to refuse one."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from spectral_diffusion.errors import InputError
from spectral_diffusion.images import read_image, read_png_text
from tests.hostile.case import Case, check
from tests.hostile.cases_images import CASES, chunk, png

BOMBS = (
    "14000 x 14000 pixels",
    "a header of 101 megapixels",
    "a JPEG of 65 535 pixels a side",
    "a WebP canvas of 16 384 pixels a side",
    "32 MB of compressed text",
    "32 MB of compressed profile",
    "200 texts of a megabyte",
)
_MEASURE = """
import sys
from pathlib import Path
from spectral_diffusion.errors import InputError
from spectral_diffusion.images import read_image

def kilobytes(key):
    return int(Path("/proc/self/status").read_text().split(key + ":")[1].split()[0])

read_image(Path(sys.argv[1]))
for bomb in sys.argv[2:]:
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = kilobytes("VmRSS")
    try:
        read_image(Path(bomb))
    except InputError:
        print(kilobytes("VmHWM") - before)
"""


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_picture(case: Case, tmp_path: Path) -> None:
    check(case, read_image, tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads memory as Linux tells it")
def test_a_bomb_is_refused_in_less_than_100_mb(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "plain.png")
    bombs = [case for case in CASES if case.name in BOMBS]
    paths = []
    for case in bombs:
        (tmp_path / case.name).mkdir()
        paths.append(case.make(tmp_path / case.name))
        assert paths[-1].stat().st_size < 250_000
    command = [sys.executable, "-c", _MEASURE, str(tmp_path / "plain.png"), *map(str, paths)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert told.returncode == 0, told.stderr
    kilobytes = [int(line) for line in told.stdout.split()]
    for case, path, more in zip(bombs, paths, kilobytes, strict=True):
        record_property(f"memory to refuse {case.name}, {path.stat().st_size:,} bytes", f"{more / 1024:.1f} MiB")
        assert more * 1024 < 100e6
    assert len(bombs) == len(BOMBS)


@pytest.mark.parametrize("text", [b"a\0" + b"x" * 2**21, b"\xff\xfe\0\xff", b"no NUL"])
def test_the_text_of_a_picture_is_read_or_refused(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(32, 32, chunk(b"tEXt", text)))
    assert isinstance(read_png_text(path), dict)


def test_a_pipe_holds_up_no_reader_of_settings(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match="no ordinary file"):
        read_png_text(tmp_path / "a.png")
