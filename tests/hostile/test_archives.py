"""Hostile zips at the door that reads concepts. Whatever happens, nothing unpacked is left behind."""

import tempfile
from pathlib import Path

import pytest

from spectral_diffusion.diffusion.dataset import load_concept
from spectral_diffusion.errors import DiskFullError
from tests.command_line import call, write_recipe
from tests.hostile.case import Case, check
from tests.hostile.cases_archives import CASES, WHOLE, zipped


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_zip(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    check(case, load_concept, tmp_path)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_zip_is_trained_on_as_its_folder_would_be(
    miniature: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "octo.zip").write_bytes(zipped(WHOLE))
    recipe = write_recipe(tmp_path, miniature)
    call(capsys, "train", tmp_path / "octo.zip", "--config", recipe, "--workspace", tmp_path).expect(0)
    assert (tmp_path / "adapters" / "octo.safetensors").is_file()
    (tmp_path / "octo.zip").write_bytes(zipped({"../octo.png": b"x"}))
    answer = call(capsys, "train", tmp_path / "octo.zip", "--config", recipe, "--workspace", tmp_path).expect(2)
    assert "leads out of the folder" in answer.stderr and not (tmp_path.parent / "octo.png").exists()


def test_no_space_to_unpack_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "octo.zip").write_bytes(zipped(WHOLE))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DiskFullError, match="there is no space to unpack"):
            load_concept(tmp_path / "octo.zip")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "temporary").iterdir()) == []
