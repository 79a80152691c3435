"""Sheets: every picture is there untouched, and no label lies on one or out of its place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spectral_diffusion import sheets
from spectral_diffusion.sheets import labelled_grid

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255), (0, 255, 255), (255, 255, 0), (90, 200, 10)]
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=60)


def _count(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(sheet) == np.array(colour, dtype=np.uint8)).all(axis=2).sum())


@given(st.data(), st.integers(1, 7), st.integers(1, 4), words)
def test_every_picture_is_whole_whatever_the_labels(
    data: st.DataObject, count: int, columns: int, heading: str
) -> None:
    sizes = data.draw(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=count, max_size=count))
    rows = -(-count // columns)
    labels = {
        name: data.draw(st.lists(words, min_size=many, max_size=many) | st.just([]))
        for name, many in (("column_labels", columns), ("row_labels", rows), ("captions", count))
    }
    pictures = [Image.new("RGB", size, colour) for size, colour in zip(sizes, COLOURS, strict=False)]
    sheet = labelled_grid(pictures, columns, heading=heading, **labels)
    for (width, height), colour in zip(sizes, COLOURS, strict=False):
        assert _count(sheet, colour) == width * height


@pytest.mark.parametrize("label", ["W" * 500, "a long label of many words " * 20, "short"])
def test_a_label_keeps_to_its_column_and_to_four_lines(label: str) -> None:
    pictures = [Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "lime")]
    plain, labelled = (np.asarray(labelled_grid(pictures, 2, column_labels=given)) for given in (("", ""), (label, "")))
    band = labelled.shape[0] - plain.shape[0]
    assert 0 < band < 4 * 24
    half = plain.shape[1] // 2
    ink = (labelled[:band] < 200).any(axis=2)
    assert ink[:, :half].any() and not ink[:, half + 8 :].any()


def test_a_long_label_ends_in_dots_and_a_short_one_is_whole() -> None:
    font = sheets.ImageFont.load_default(size=15)
    lines = sheets._cut("word " * 100, 100, font)
    assert len(lines) == 4 and lines[-1].endswith("...")
    assert all(font.getlength(line) <= 100 for line in lines)
    assert sheets._cut("two words", 100, font) == ["two words"]
    assert "".join(sheets._cut("x" * 30, 100, font)) == "x" * 30
    assert sheets._cut("  ", 100, font) == []


def test_a_sheet_that_would_be_too_large_is_drawn_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "SHEET_PIXEL_LIMIT", 40_000)
    sheet = labelled_grid([Image.new("RGB", (400, 400), "red")] * 4, 2)
    assert sheet.width * sheet.height < 2 * 40_000
    assert _count(sheet, (255, 0, 0)) == pytest.approx(40_000, rel=0.05)
