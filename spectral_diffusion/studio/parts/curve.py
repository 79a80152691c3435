"""The loss curve of a training as a picture: drawn here, of any width, light and dark."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import gradio as gr

Points = Sequence[tuple[int, float]]

_SMOOTHING_STEPS = 12
"""Losses of single steps depend mostly on the noise that was drawn: the line is a mean over about so many."""
_POINTS_LIMIT = 400
"""Of longer curves so many are drawn: more cannot be told apart."""
_COLOURS = 6
_LEAST = 1e-30
_DIGITS = 4


class Axis(NamedTuple):
    """A logarithmic axis of losses, with marks at round numbers."""

    low: float
    high: float
    marks: tuple[float, ...]

    @classmethod
    def over(cls, values: Sequence[float]) -> "Axis":
        """One that holds all values; they are positive and there is at least one."""
        low, high = min(values), max(values)
        candidates = [
            digit * 10.0**power
            for power in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
            for digit in (1, 2, 5)
        ]
        below = [mark for mark in candidates if mark <= low * (1 + 1e-9)]
        above = [mark for mark in candidates if mark >= high * (1 - 1e-9) and mark > below[-1]]
        marks = tuple(mark for mark in candidates if below[-1] <= mark <= above[0])
        # Over many decades only the powers of ten, and of those as many as stand apart.
        if len(marks) > 7:
            tens = [mark for mark in marks if math.isclose(math.log10(mark), round(math.log10(mark)))]
            marks = tuple(tens[:: math.ceil(len(tens) / 7)])
        return cls(below[-1], above[0], marks)

    def place(self, value: float) -> float:
        """Where a value stands: 0 at the top, 1 at the bottom."""
        return math.log(self.high / value) / math.log(self.high / self.low)


def curve_view(**options: object) -> gr.HTML:
    """A component that shows what `loss_curve` makes.

    Args:
        options: As for `gr.HTML`.
    """
    return gr.HTML("", css_template=_CSS, js_on_load=None, **options)  # pyright: ignore[reportArgumentType]


def loss_curve(losses: Mapping[str, Points], steps: int) -> str:
    """The losses of some concepts over the steps, each as dots with a smooth line through them.

    Args:
        losses: (step, loss) by concept, in the order of their steps. What a logarithm cannot show is left out.
        steps: Of each concept in all: where the axis ends.

    Returns:
        HTML with one SVG; empty where there is nothing to draw.
    """
    curves = {concept: _drawable(points) for concept, points in losses.items()}
    curves = {concept: points for concept, points in curves.items() if points}
    if not curves:
        return ""
    steps = max(steps, *(points[-1][0] for points in curves.values()))
    axis = Axis.over([loss for points in curves.values() for _, loss in points])
    lines, legend, told = [], [], []
    for number, (concept, points) in enumerate(curves.items()):
        colour = f"c{number % _COLOURS}"
        smooth = smoothed(points)
        lines.append(_drawn(points, smooth, colour, steps, axis))
        name = html.escape(concept)
        key = f'<svg aria-hidden="true"><path class="line {colour}" d="M1 4h20"/></svg>'
        legend.append(f"<li>{key}{name} <b>{smooth[-1][1]:.3g}</b></li>")
        told.append(f"{name}: step {points[-1][0]} of {steps}, from {smooth[0][1]:.3g} to {smooth[-1][1]:.3g}")
    return (
        '<figure class="curve"><figcaption>Loss</figcaption>'
        '<div class="plot"><svg class="frame" role="img" aria-label="Loss curve">'
        f"<title>Loss curve</title><desc>{'; '.join(told)}</desc>"
        f"{_horizontal(axis)}{_vertical(steps)}"
        f'<svg viewBox="0 0 1 1" preserveAspectRatio="none" width="100%" height="100%">{"".join(lines)}</svg>'
        f'</svg></div><p class="below">steps</p><ul>{"".join(legend)}</ul></figure>'
    )


def smoothed(points: Points, steps: int = _SMOOTHING_STEPS) -> list[tuple[int, float]]:
    """A running geometric mean, so that it is a mean on a logarithmic axis too; the first steps are not favoured.

    Args:
        points: (step, loss), losses positive.
        steps: Over about how many.
    """
    keep = 1 - 1 / steps
    held, weight = 0.0, 0.0
    found = []
    for step, loss in points:
        held = keep * held + (1 - keep) * math.log(loss)
        weight = keep * weight + (1 - keep)
        found.append((step, math.exp(held / weight)))
    return found


def _drawable(points: Points) -> list[tuple[int, float]]:
    return [(step, loss) for step, loss in points if _LEAST < loss < 1 / _LEAST and step >= 0]


def _thinned(points: Points) -> list[tuple[int, float]]:
    every = math.ceil(len(points) / _POINTS_LIMIT)
    kept = list(points[::every])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _drawn(points: Points, smooth: Points, colour: str, steps: int, axis: Axis) -> str:
    # Dots are lines of no length with round ends: circles would be stretched with the picture.
    dots = "".join(f"M{_at(step, loss, steps, axis)}h0" for step, loss in _thinned(points))
    line = "M" + "L".join(_at(step, loss, steps, axis) for step, loss in _thinned(smooth))
    return f'<path class="dots {colour}" d="{dots}"/><path class="line {colour}" d="{line}"/>'


def _at(step: int, loss: float, steps: int, axis: Axis) -> str:
    return f"{round(step / steps, _DIGITS)} {round(axis.place(loss), _DIGITS)}"


def _horizontal(axis: Axis) -> str:
    return "".join(
        f'<line x1="0" x2="100%" y1="{100 * axis.place(mark):.2f}%" y2="{100 * axis.place(mark):.2f}%"/>'
        f'<text x="-8" y="{100 * axis.place(mark):.2f}%" dy="4" text-anchor="end">{mark:g}</text>'
        for mark in axis.marks
    )


def _vertical(steps: int) -> str:
    marks = sorted({0, round(steps / 2), steps}) if steps > 2 else [0, steps]
    return "".join(
        f'<line x1="{100 * mark / steps:.2f}%" x2="{100 * mark / steps:.2f}%" y1="100%" y2="100%" class="tick"/>'
        f'<text x="{100 * mark / steps:.2f}%" y="100%" dy="18" text-anchor="middle">{mark}</text>'
        for mark in marks
    )


_CSS = """
.curve { margin: 0; --c0: #c2512c; --c1: #2f6db5; --c2: #37814a; --c3: #8a4fb0; --c4: #8f6a00; --c5: #147d83; }
.dark & .curve { --c0: #ed8a63; --c1: #7fb2ec; --c2: #7cc48b; --c3: #c79be6; --c4: #d9b54a; --c5: #5fc7cb; }
.curve figcaption, .curve .below { color: var(--body-text-color-subdued); font-size: var(--text-sm); margin: 0; }
.curve .below { text-align: center; }
.curve .plot { padding: 10px 18px 24px 46px; }
.curve .frame { display: block; width: 100%; height: 200px; overflow: visible; }
.curve svg svg { overflow: visible; }
.curve line { stroke: var(--border-color-primary); stroke-width: 1; }
.curve text { fill: var(--body-text-color-subdued); font-size: 12px; font-variant-numeric: tabular-nums; }
.curve path { fill: none; vector-effect: non-scaling-stroke; stroke-linecap: round; stroke-linejoin: round; }
.curve .dots { stroke-width: 4; opacity: .5; }
.curve .line { stroke-width: 2; }
.curve ul { display: flex; flex-wrap: wrap; gap: 4px 16px; list-style: none; margin: 6px 0 0; padding: 0; }
.curve li { display: flex; align-items: center; gap: 6px; font-size: var(--text-sm); overflow-wrap: anywhere; }
.curve li svg { width: 22px; height: 8px; flex: none; }
.curve .c0 { stroke: var(--c0); }
.curve .c1 { stroke: var(--c1); }
.curve .c2 { stroke: var(--c2); }
.curve .c3 { stroke: var(--c3); }
.curve .c4 { stroke: var(--c4); }
.curve .c5 { stroke: var(--c5); }
.curve .line.c1, .curve .line.c4 { stroke-dasharray: 7 4; }
.curve .line.c2, .curve .line.c5 { stroke-dasharray: 1 5; }
"""
