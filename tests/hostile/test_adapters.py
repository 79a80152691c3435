"""Hostile adapter files at the doors that read them."""

from pathlib import Path

import pytest

from spectral_diffusion.fusion import load_fused
from tests.hostile.case import Case, check
from tests.hostile.cases_adapters import CASES


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_adapter_file(case: Case, tmp_path: Path) -> None:
    check(case, load_fused, tmp_path)
