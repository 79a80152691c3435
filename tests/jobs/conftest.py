from pathlib import Path

import pytest

from tests.jobs.working import Place


@pytest.fixture
def place(miniature: Path, tmp_path: Path) -> Place:
    """A workspace with an empty queue."""
    return Place(tmp_path, miniature)
