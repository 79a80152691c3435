"""Scores as a report that reads by itself: numbers with what they mean, a heat map, trends, and every picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from spectral_diffusion.diffusion.score_trend import ALIGNMENT_LABEL, STEP_LABEL, TREND_NOTE, Trend
from spectral_diffusion.diffusion.score_words import Interval, PictureScore, Scores, in_words
from spectral_diffusion.images import read_image
from spectral_diffusion.report import Picture, Report

PICTURES_LIMIT = 24
"""Of more pictures the best and the worst are shown; the table has all."""
_SIDE_PX = 320
_SHOWN_PX = 165
_SAMPLE_PX = 110
_LEAD = (
    "How faithful pictures are, as a CLIP sees it: by cosines between pictures, photographs and prompts. It sees kinds "
    "of things and their looks; it does not see whether a picture is good."
)


class Scored(NamedTuple):
    """A picture that was scored.

    Args:
        name: What it is called.
        path: Its file, or None where it is gone.
    """

    name: str
    path: Path | None


def score_report(
    scores: Scores | None,
    pictures: Sequence[Scored] = (),
    references: Sequence[Picture] = (),
    trends: Sequence[Trend] = (),
    samples: Sequence[Picture] = (),
) -> Report:
    """The report.

    Args:
        scores: What was found about the pictures; None for a report of trends alone.
        pictures: In the order in which they were scored.
        references: Photographs that they were compared with, with captions.
        trends: Alignment over trainings.
        samples: Pictures from those trainings, with captions.
    """
    if scores is None:
        report = Report(f"Training of {in_words([trend.concept for trend in trends])}", _LEAD)
    else:
        counted = f"{scores.pictures} pictures" if scores.pictures > 1 else "One picture"
        compared = in_words(scores.concepts) or "their prompt"
        report = Report(f"{counted} compared with {compared}", _LEAD)
        _add_numbers(report, scores)
        _add_leaks(report, scores)
        _add_pictures(report, scores, pictures)
    if references:
        report.section("Photographs", "What the pictures were compared with.")
        report.pictures([Picture(_small(image), caption) for image, caption in references], _SHOWN_PX)
    if any(trend.points for trend in trends):
        report.section("Over the training", TREND_NOTE)
        lines = [trend.line for trend in trends]
        report.line_chart(
            lines, x_label=STEP_LABEL, y_label=ALIGNMENT_LABEL, title="Image alignment of samples by training step"
        )
        for trend in trends:
            report.paragraph(trend.sentence)
        report.pictures([Picture(_small(image), caption) for image, caption in samples], _SAMPLE_PX)
        rows = [(trend.concept, step, f"{value:.3f}") for trend in trends for step, value in trend.points]
        report.table(["concept", STEP_LABEL, ALIGNMENT_LABEL], rows)
    return report


def ranked(each: Sequence[PictureScore]) -> list[int]:
    """The numbers of the pictures, the best first; those without a score last, and equal ones in order."""
    return sorted(range(len(each)), key=lambda index: -_rank(each[index]))


def _rank(one: PictureScore) -> float:
    return -2.0 if one.main is None else one.main


def _add_numbers(report: Report, scores: Scores) -> None:
    report.headline_numbers(scores.headline())
    for sentence in scores.sentences():
        report.paragraph(sentence)


def _add_leaks(report: Report, scores: Scores) -> None:
    leaks = scores.leaks
    if leaks is None:
        return
    report.section(
        "Leaks",
        "How alike each region is to each concept. Large numbers belong on the diagonal; what is large beside it "
        "has leaked.",
    )
    rows = [(f"region of {name}", row) for name, row in zip(leaks.concepts, leaks.similarity, strict=True)]
    report.heat_map("leak matrix", [f"like {name}" for name in leaks.concepts], rows)
    alike = [[value for value in row if value is not None] for row in scores.photographs]
    if alike and all(len(row) == len(leaks.concepts) for row in alike):
        report.paragraph("The same of the photographs themselves: how alike the concepts are without any leak.")
        rows = [(f"photographs of {name}", row) for name, row in zip(leaks.concepts, alike, strict=True)]
        report.heat_map("photographs", [f"like {name}" for name in leaks.concepts], rows)
    report.table(
        ["region of", "own concept is nearest in"],
        [(name, _share(share)) for name, share in zip(leaks.concepts, leaks.own_is_nearest, strict=True)],
    )


def _add_pictures(report: Report, scores: Scores, pictures: Sequence[Scored]) -> None:
    if len(scores.each) != len(pictures) or not pictures:
        return
    order = ranked(scores.each)
    ordered = [(pictures[index], scores.each[index]) for index in order]
    half = PICTURES_LIMIT // 2
    shown = ordered if len(ordered) <= PICTURES_LIMIT else [*ordered[:half], *ordered[-half:]]
    left_out = "" if len(shown) == len(ordered) else f" Of {len(ordered)} the first and the last {half} are shown."
    report.section("Every picture", f"The best first.{left_out}")
    report.pictures([_figure(one, score) for one, score in shown if one.path], _SHOWN_PX)
    report.table(
        ["picture", "image alignment", "text alignment", "regions like their own"],
        [
            (one.name, _number(score.image), _number(score.text), _regions(score, len(scores.concepts)))
            for one, score in ordered
        ],
    )


def _figure(one: Scored, score: PictureScore) -> Picture:
    assert one.path is not None, "only what is there is shown"
    return Picture(_small(read_image(one.path, min_side_px=1, max_side_px=_SIDE_PX)), _caption(one, score))


def _caption(one: Scored, score: PictureScore) -> str:
    told = [
        f"{name} {value:.2f}" for name, value in (("image", score.image), ("text", score.text)) if value is not None
    ]
    return f"{one.name}: {', '.join(told)}" if told else one.name


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _regions(score: PictureScore, count: int) -> str:
    return "-" if score.own_regions is None else f"{score.own_regions} of {count}"


def _share(share: Interval) -> str:
    return f"{share.mean:.0%} [{share.low:.0%}, {share.high:.0%}] of {share.count} pictures"


def _small(image: Image.Image) -> Image.Image:
    small = image.convert("RGB")
    small.thumbnail((_SIDE_PX, _SIDE_PX))
    return small
