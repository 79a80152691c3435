"""Any text becomes a file name that is safe on every system."""

import re
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spectral_diffusion.names import NAME_LIMIT_BYTES, is_reserved, printable, slug
from tests.hostile.cases_names import LONG, NAMES


def _is_safe(name: str) -> bool:
    shown = all(unicodedata.category(character)[0] in "LMN" or character in "_.-" for character in name)
    ends = not name.startswith((".", "-")) and not name.endswith((".", "-"))
    alone = PurePosixPath(name).parts == PureWindowsPath(name).parts == (name,)
    return shown and ends and alone and not is_reserved(name) and 0 < len(name.encode()) <= NAME_LIMIT_BYTES + 1


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:30])
def test_a_name_becomes_a_file_name(name: str, tmp_path: Path) -> None:
    assert slug(name) == NAMES[name]
    assert _is_safe(slug(name))
    (tmp_path / f"{slug(name)}.safetensors").touch(exist_ok=False)
    assert [path.name for path in tmp_path.iterdir()] == [f"{NAMES[name]}.safetensors"]


@given(st.text(st.characters(codec=None), max_size=300))
@example("a" + "\u0301" * 10_000)
@example("con" + "." * 130 + "x")
@example("\u0301.\u0301-\u0301con")
def test_every_text_does_and_stays_so(text: str) -> None:
    assert _is_safe(slug(text)), ascii(slug(text))
    assert slug(slug(text)) == slug(text)


@given(st.text("ab/.-_ é", min_size=1, max_size=400), st.text("ab/.-_ é", min_size=1, max_size=400))
def test_long_names_stay_apart(one: str, other: str) -> None:
    start = "x" * 200
    if slug(one, "") != slug(other, "") and one[0] == other[0] == "a" and one[-1] == other[-1] == "a":
        assert slug(start + one) != slug(start + other)


def test_a_name_without_anything_is_called_as_asked() -> None:
    assert slug("///", otherwise="") == "" and slug(LONG[0])


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_obeys_nothing(text: str) -> None:
    shown = printable(text)
    assert shown.encode().decode() == shown
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert printable(shown) == shown
