"""Hostile zips at the door that reads concepts. Whatever happens, nothing unpacked is left behind."""

import tempfile
from pathlib import Path

import pytest

from spectral_diffusion.diffusion.dataset import load_concept
from tests.hostile.case import Case, check
from tests.hostile.cases_archives import CASES


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_zip(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    check(case, load_concept, tmp_path)
    assert list((tmp_path / "temporary").iterdir()) == []
