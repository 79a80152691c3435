"""The base in miniature, loaded once."""

from pathlib import Path

import pytest

from spectral_diffusion.diffusion.base import Base, load_base


@pytest.fixture(scope="session")
def base(miniature: Path) -> Base:
    """Shared by all tests: whoever adapts it puts it back."""
    return load_base(miniature)
