"""One hostile input, and the answer a correct program gives to it."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from spectral_diffusion.errors import InputError
from spectral_diffusion.names import printable


@dataclass(frozen=True)
class Case:
    """An input and its answer.

    Args:
        name: Of the case.
        make: Writes the input into an empty folder and returns its path.
        refused: Words of the error. Without them the input is accepted.
        accepted: What is true of what was read, then.
    """

    name: str
    make: Callable[[Path], Path]
    refused: tuple[str, ...] = ()
    accepted: Callable[[Any], object] | None = None

    def __post_init__(self) -> None:
        assert bool(self.refused) != bool(self.accepted), f"{self.name}: one answer, not {self.refused}"


def written(content: bytes, name: str) -> Callable[[Path], Path]:
    """Makes a file of these bytes."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def check(case: Case, door: Callable[[Path], Any], folder: Path) -> None:
    """Give a case to a door. Whatever it does, nothing else in the folder changes."""
    place = folder / "here"
    place.mkdir()
    path = case.make(place)
    before = tree(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        if case.accepted is not None:
            assert case.accepted(door(path)), f"{case.name}: read, but wrongly"
        else:
            with pytest.raises(InputError) as refusal:
                door(path)
            check_refusal(refusal.value, case.refused)
    assert tree(folder) == before


def check_refusal(error: InputError, words: tuple[str, ...]) -> None:
    """One line of bounded length that no terminal obeys, with these words and with a remedy."""
    told = str(error)
    assert error.remedy and "\n" not in told and len(error.remedy) < 1500
    assert len(told) < 6000, len(told)
    for word in words:
        assert word in told, f"{word!r} is not in {told!r}"
    assert printable(told) == told


def tree(folder: Path) -> dict[str, object]:
    """Every entry below a folder: links by where they lead, files by length."""
    found: dict[str, object] = {}
    for root, folders, files in os.walk(folder, followlinks=False):
        for name in (*folders, *files):
            path = os.path.join(root, name)
            found[os.fsdecode(path)] = os.readlink(path) if os.path.islink(path) else os.lstat(path).st_mode
    return found
