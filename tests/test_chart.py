"""Laws of the charts: every point is inside the picture, text stays text, nothing comes from elsewhere."""

import re
import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion.chart import Line, line_chart
from spectral_diffusion.report import Report

_NUMBERS = st.floats(-1e6, 1e6)
_LINES = st.lists(
    st.builds(
        Line,
        st.text(max_size=60),
        st.lists(st.tuples(st.integers(0, 100_000), _NUMBERS), max_size=80),
        st.none() | _NUMBERS,
        st.text(max_size=60),
    ),
    max_size=8,
)


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


@given(_LINES, st.text(max_size=40).map(_printable))
def test_a_chart_is_well_formed_and_all_of_it_is_inside(lines: list[Line], title: str) -> None:
    lines = [line._replace(name=_printable(line.name), level_name=_printable(line.level_name)) for line in lines]
    drawn = line_chart(lines, x_label="<x>", y_label="a & b", title=title)
    if not any(line.points for line in lines):
        assert drawn == ""
        return
    root = ElementTree.fromstring(drawn)
    assert {element.tag for element in root.iter()} <= {"svg", "title", "path", "g", "text", "circle"}
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for place in re.findall(r"translate\(([-\d.]+) ([-\d.]+)\)", drawn):
        x, y = map(float, place)
        assert -1 <= x <= width + 1 and -1 <= y <= height + 1


def test_a_line_that_goes_up_is_drawn_upwards_and_its_level_is_dashed() -> None:
    drawn = line_chart([Line("octo", [(0, 0.5), (30, 0.9)], 0.95, "its own")], x_label="x", y_label="y", title="t")
    heights = [float(y) for _, y in re.findall(r"translate\(([-\d.]+) ([-\d.]+)\)\"><circle", drawn)[:2]]
    assert heights[0] > heights[1]
    assert drawn.count("stroke-dasharray") == 2, "the level and its legend"
    assert "its own" in drawn


def test_points_that_are_no_numbers_are_left_out() -> None:
    odd = [(0, float("nan")), (1, 0.5), (2, float("inf"))]
    drawn = line_chart([Line("a", odd, float("nan"))], x_label="x", y_label="y", title="t")
    assert drawn.count("<circle") == 2, "one point and the legend's mark"
    assert "nan" not in drawn and "inf" not in drawn


def test_names_in_a_chart_are_text() -> None:
    bad = "</svg><script>alert(1)</script>"
    drawn = line_chart([Line(bad, [(0, 1.0)], 1.0, bad)], x_label=bad, y_label=bad, title=bad)
    assert "<script" not in drawn
    assert drawn.count("</svg>") == 1


def test_a_report_takes_a_chart_and_says_what_it_shows() -> None:
    report = Report("Trend", "")
    report.line_chart([Line("octo", [(0, 0.5), (30, 0.9)])], x_label="step", y_label="alignment", title="A & B")
    page = report.html()
    assert '<svg class="chart"' in page
    assert "<figcaption>A &amp; B</figcaption>" in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_report_without_points_has_no_chart() -> None:
    report = Report("Trend", "")
    report.line_chart([Line("octo", [])], x_label="step", y_label="alignment", title="none")
    assert "<svg" not in report.html()
