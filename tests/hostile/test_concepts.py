"""Hostile concept folders at the door that reads them; and concepts that were never a folder."""

from pathlib import Path

import pytest
from PIL import Image

from spectral_diffusion.diffusion.dataset import Concept, Photograph, load_concept
from spectral_diffusion.errors import InputError
from tests.hostile.case import Case, check
from tests.hostile.cases_concepts import CASES
from tests.hostile.cases_names import NAMES


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_concept_folder(case: Case, tmp_path: Path) -> None:
    check(case, load_concept, tmp_path)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:30])
def test_a_concept_of_a_library_user_has_a_name_that_can_be_a_file(name: str) -> None:
    photographs = (Photograph(Path("a.png"), Image.new("RGB", (16, 16))),)
    safe = NAMES[name]
    assert Concept(safe, "<octo>", "octopus", photographs).name == safe
    if name != safe:
        with pytest.raises(InputError, match="cannot be that of its files"):
            Concept(name, "<octo>", "octopus", photographs)
