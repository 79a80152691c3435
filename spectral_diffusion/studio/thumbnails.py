"""Small pictures as addresses for parts of the page that are ours."""

from pathlib import Path

from spectral_diffusion.diffusion.gallery import thumbnail
from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.desk import Desk

COVER_PX = 96
"""Side of the picture that stands for a concept."""


def thumbnail_address(desk: Desk, path: Path | None, side_px: int) -> str:
    """The address of a small copy of a picture of theirs; empty where it cannot be read or is gone."""
    if path is None:
        return ""
    try:
        return desk.address(thumbnail(path, side_px))
    except InputError:
        return ""
