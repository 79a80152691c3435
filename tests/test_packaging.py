"""A wheel is complete: what it installs works anywhere, with samples, recipes and weights, and without the clone."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ADAPTERS = [f"concepts/{name}/{name}.safetensors" for name in ("octo", "shelly", "spot")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=240)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "installed")
    return folder / "installed"


@pytest.mark.slow
def test_a_wheel_carries_samples_recipes_and_weights(installed: Path, tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "spectral_diffusion", "doctor", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )
    found = {finding["name"]: finding for finding in json.loads(process.stdout)["findings"]}
    for name in ("sample concepts", "sample configs", "base toybox", "scorer toybox"):
        assert found[name]["ok"], found[name]
    for concept in ("octo", "shelly", "spot"):
        assert concept in found["sample concepts"]["detail"]


@pytest.mark.slow
def test_a_wheel_is_small_and_holds_no_tests(installed: Path) -> None:
    files = [path for path in installed.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 64 * 2**20
    assert max(path.stat().st_size for path in files) <= 15 * 2**20
    assert not [path for path in files if path.name.startswith("test_")]
    assert (installed / "spectral_diffusion" / "data" / "configs" / "toybox.toml").is_file()


@pytest.mark.slow
def test_a_wheel_carries_trained_samples_that_get_into_a_workspace_anywhere(installed: Path, tmp_path: Path) -> None:
    for path in ADAPTERS:
        packed = installed / "spectral_diffusion" / "data" / path
        assert packed.read_bytes() == (ROOT / path).read_bytes() and packed.stat().st_size <= 2**20
    code = (
        "from pathlib import Path\n"
        "from spectral_diffusion.samples import add_samples\n"
        "from spectral_diffusion.workspace import Workspace\n"
        "added = add_samples(Workspace(Path('work')))\n"
        "print(*added.concepts, *added.adapters, *added.left_out)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert process.stdout.split() == ["octo", "shelly", "spot"] * 2
    assert (tmp_path / "work" / "adapters" / "spot.safetensors").read_bytes() == (ROOT / ADAPTERS[2]).read_bytes()


@pytest.mark.slow
def test_a_source_archive_carries_trained_samples(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=240)
    (packed,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names.issuperset(ADAPTERS)
