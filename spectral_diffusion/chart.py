"""A line chart as SVG, for pages of ours: it needs nothing from elsewhere and takes the page's colour of text."""

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

# Each reads on white and on near-black; the marks differ too, for those who see no difference in colour.
_COLOURS = ("#c2512c", "#3a86b8", "#6b8f2f", "#a266b8", "#b5841c", "#379590")
_WIDTH, _PLOT_HEIGHT = 480, 240
_LEFT, _RIGHT, _TOP, _AXIS = 62, 12, 12, 44
_LEGEND_ROW = 22
_TICKS = 5
_NAME_CHARACTERS = 40


class Line(NamedTuple):
    """One line.

    Args:
        name: What the legend says.
        points: (x, y), in the order of x.
        level: Height of a dashed line of the same colour, what the line is measured against.
        level_name: What the legend says of that.
    """

    name: str
    points: Sequence[tuple[float, float]]
    level: float | None = None
    level_name: str = ""


def line_chart(lines: Sequence[Line], *, x_label: str, y_label: str, title: str) -> str:
    """A chart as one SVG element; all text in it is escaped.

    Args:
        lines: What to draw; points that are not finite are left out.
        x_label: What the horizontal axis counts.
        y_label: What the vertical one measures.
        title: What the chart shows, for those who do not see it.

    Returns:
        The element; empty where there is no point to draw.
    """
    drawn = [line._replace(points=_finite(line.points)) for line in lines]
    drawn = [line for line in drawn if line.points]
    if not drawn:
        return ""
    xs = [x for line in drawn for x, _ in line.points]
    levels = [line.level for line in drawn if line.level is not None and math.isfinite(line.level)]
    ys = [*(y for line in drawn for _, y in line.points), *levels]
    across, up = _Axis.of(xs), _Axis.of(ys)
    legend = [row for index, line in enumerate(drawn) for row in _legend(index, line)]
    height = _TOP + _PLOT_HEIGHT + _AXIS + _LEGEND_ROW * len(legend)
    body = [f"<title>{html.escape(title)}</title>", *_grid(across, up, x_label, y_label)]
    for index, line in enumerate(drawn):
        body += _line(index, line, across, up)
    for row, content in enumerate(legend):
        y = _TOP + _PLOT_HEIGHT + _AXIS + _LEGEND_ROW * row + 8
        body.append(f'<g transform="translate({_LEFT} {y})">{content}</g>')
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{html.escape(title)}" '
        'fill="currentColor" font-size="13" style="width:100%;max-width:640px;height:auto;display:block">'
        f"{''.join(body)}</svg>"
    )


class _Axis(NamedTuple):
    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "_Axis":
        low, high = min(values), max(values)
        if high - low < 1e-6 * max(abs(low), abs(high), 1.0):
            # A line that is flat stands in the middle.
            spread = max(abs(low) * 0.1, 0.01)
            low, high = low - spread, high + spread
        step = _round_step((high - low) / _TICKS)
        first, last = math.floor(low / step), math.ceil(high / step)
        # Sums of steps would end in 0.30000000000000004.
        ticks = tuple(round(index * step, 10) for index in range(first, last + 1))
        return cls(ticks[0], ticks[-1], ticks)

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)

    def label(self, tick: float) -> str:
        """As many digits as tell the ticks apart, the same for all."""
        step = self.ticks[1] - self.ticks[0]
        return f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _round_step(rough: float) -> float:
    size = 10.0 ** math.floor(math.log10(rough))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * 0.999)


def _x(axis: _Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: _Axis, value: float) -> float:
    return _TOP + (1 - axis.share(value)) * _PLOT_HEIGHT


def _grid(across: _Axis, up: _Axis, x_label: str, y_label: str) -> list[str]:
    bottom, right = _TOP + _PLOT_HEIGHT, _WIDTH - _RIGHT
    parts = []
    for tick in up.ticks:
        y = _y(up, tick)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="currentColor" stroke-opacity=".16"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{up.label(tick)}</text>')
    for index, tick in enumerate(across.ticks):
        anchor = "end" if index == len(across.ticks) - 1 else "middle"
        parts.append(
            f'<text x="{_x(across, tick):.1f}" y="{bottom + 17}" text-anchor="{anchor}">{across.label(tick)}</text>'
        )
    parts.append(f'<path d="M{_LEFT} {bottom}H{right}" stroke="currentColor" stroke-opacity=".6"/>')
    middle = (_LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 35}" text-anchor="middle">{html.escape(x_label)}</text>')
    turned = f'transform="translate(12 {_TOP + _PLOT_HEIGHT / 2}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">{html.escape(y_label)}</text>')
    return parts


def _line(index: int, line: Line, across: _Axis, up: _Axis) -> list[str]:
    colour = _COLOURS[index % len(_COLOURS)]
    places = [(_x(across, x), _y(up, y)) for x, y in line.points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = []
    if line.level is not None and math.isfinite(line.level):
        y = _y(up, line.level)
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="{colour}" stroke-width="1.5" '
            'stroke-dasharray="6 5" fill="none"/>'
        )
    parts.append(f'<path d="M{path}" stroke="{colour}" stroke-width="2.5" stroke-linejoin="round" fill="none"/>')
    # So many marks would run together.
    if len(places) <= 60:
        parts += [f'<g transform="translate({x:.1f} {y:.1f})">{_mark(index)}</g>' for x, y in places]
    return parts


def _mark(index: int) -> str:
    colour = _COLOURS[index % len(_COLOURS)]
    shapes = ('<circle r="4"{}/>', '<path d="M-4-4H4V4H-4Z"{}/>', '<path d="M0-5L5 4H-5Z"{}/>')
    return shapes[index % len(shapes)].format(f' fill="{colour}"')


def _legend(index: int, line: Line) -> list[str]:
    colour = _COLOURS[index % len(_COLOURS)]
    rows = [
        f'<path d="M0 0H28" stroke="{colour}" stroke-width="2.5"/><g transform="translate(14 0)">{_mark(index)}</g>'
        f'<text x="36" y="4">{_name(line.name)}</text>'
    ]
    if line.level is not None and math.isfinite(line.level) and line.level_name:
        rows.append(
            f'<path d="M0 0H28" stroke="{colour}" stroke-width="1.5" stroke-dasharray="6 5"/>'
            f'<text x="36" y="4">{_name(line.level_name)}</text>'
        )
    return rows


def _name(text: str) -> str:
    return html.escape(text if len(text) <= _NAME_CHARACTERS else text[: _NAME_CHARACTERS - 3] + "...")


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
