import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion.studio.parts.curve import Axis, loss_curve, smoothed

ANY_LOSS = st.floats(allow_nan=True, allow_infinity=True)
LOSS = st.floats(1e-6, 1e6)


def _curve(losses):
    return st.lists(losses, max_size=60).map(lambda values: list(enumerate(values, start=1)))


@given(st.dictionaries(st.text(max_size=20).filter(str.isprintable), _curve(ANY_LOSS), max_size=8), st.integers(0, 100))
def test_any_losses_make_a_picture_that_can_be_read_or_none(losses, steps):
    drawn = loss_curve(losses, steps)
    if not drawn:
        assert not any(1e-30 < loss < 1e30 for points in losses.values() for _, loss in points)
        return
    tree = ElementTree.fromstring(drawn)
    numbers = [
        float(number)
        for path in tree.findall(".//div/svg/svg/path")
        for number in re.findall(r"[\d.e+-]+", path.attrib["d"].replace("h0", ""))
    ]
    assert numbers
    assert all(0 <= number <= 1 for number in numbers)


@given(st.lists(LOSS, min_size=1, max_size=50))
def test_an_axis_holds_all_values_between_marks_that_can_be_told_apart(values):
    axis = Axis.over(values)
    assert axis.low <= min(values) * (1 + 1e-9)
    assert axis.high >= max(values) * (1 - 1e-9)
    assert 2 <= len(axis.marks) <= 8
    places = [axis.place(mark) for mark in axis.marks]
    assert places == sorted(places, reverse=True)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)


def test_equal_ratios_are_equal_distances():
    axis = Axis.over([0.01, 1.0])
    assert axis.place(0.1) == pytest.approx((axis.place(1.0) + axis.place(0.01)) / 2)


@given(st.lists(LOSS, min_size=1, max_size=80))
def test_a_smooth_line_stays_between_the_least_and_the_largest_loss(values):
    smooth = [loss for _, loss in smoothed(list(enumerate(values)))]
    assert len(smooth) == len(values)
    assert smooth[0] == pytest.approx(values[0])
    assert all(min(values) * (1 - 1e-9) <= loss <= max(values) * (1 + 1e-9) for loss in smooth)


def test_a_smooth_line_is_calmer_than_its_points():
    points = [(step, 0.1 if step % 2 else 0.4) for step in range(60)]
    smooth = [math.log(loss) for _, loss in smoothed(points)][30:]
    assert max(smooth) - min(smooth) < 0.2 * math.log(4)


def test_every_concept_has_a_line_a_place_in_the_legend_and_words_for_those_who_listen():
    drawn = loss_curve({"octo": [(1, 0.5), (2, 0.25)], "shelly": [(1, 0.3)]}, 90)
    tree = ElementTree.fromstring(drawn)
    assert len(tree.findall(".//div/svg/svg/path")) == 4
    assert ["octo" in "".join(item.itertext()) for item in tree.findall(".//li")] == [True, False]
    told = tree.findtext(".//desc") or ""
    assert "octo: step 2 of 90" in told
    assert "shelly: step 1 of 90" in told


def test_names_are_text_and_no_markup():
    drawn = loss_curve({'<img src=x onerror="alert(1)">': [(1, 0.5)]}, 2)
    assert "<img" not in drawn


def test_a_curve_of_many_steps_stays_small():
    drawn = loss_curve({"octo": [(step, 0.1 + step % 7) for step in range(1, 100_001)]}, 100_000)
    assert len(drawn) < 40_000
    assert "1.0 " in drawn, "the last step is drawn"


@pytest.mark.parametrize("losses", [{}, {"octo": []}, {"octo": [(1, math.nan), (2, -1.0), (3, 0.0), (4, math.inf)]}])
def test_nothing_to_draw_is_nothing(losses):
    assert loss_curve(losses, 90) == ""
