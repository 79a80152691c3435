"""The demo's results as files: a contact sheet, the numbers as JSON, and a report that reads by itself."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spectral_diffusion.adapters.adapter import slot_values
from spectral_diffusion.demo import DemoResult, Drawn
from spectral_diffusion.diffusion.score import AlignmentScore, Estimate
from spectral_diffusion.images import contact_sheet, save_png
from spectral_diffusion.report import Picture, Report
from spectral_diffusion.toybox.phrases import with_article
from spectral_diffusion.workspace import write_atomically

# Five to a row on a desk, two on a phone.
_SQUARE_PX = 165
_WIDE_PX = 280
_DRAWN_BY = {"base": "base, told in words", "alone": "alone", "fused": "fused"}


def write_demo(result: DemoResult, out: Path) -> dict[str, Any]:
    """Write `report.html`, `contact_sheet.png` and `scores.json`, and return what the JSON holds.

    Raises:
        InputError: The folder cannot be written to.
    """
    values = demo_values(result)
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(out / "scores.json", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    save_png(demo_contact_sheet(result), out / "contact_sheet.png")
    demo_report(result).save(out / "report.html")
    return values


def demo_values(result: DemoResult) -> dict[str, Any]:
    """The demo's numbers for machines."""
    return {
        "base": result.base_name,
        "scorer": result.scorer_name,
        "concepts": [
            {
                "name": adapter.name,
                "token": concept.token,
                "class_word": concept.class_word,
                "slot": slot_values(adapter.slot),
                "share_of_spectrum": energy.share,
                "change_norm": energy.change_norm,
                "relative_change": energy.relative_change,
                "last_loss": result.losses.get(concept.name),
                "photographs_alignment": result.photographs.get(concept.name),
            }
            for concept, adapter, energy in zip(result.concepts, result.adapters, result.energies, strict=True)
        ],
        "overlap": result.fused.overlap_matrix.tolist() if result.fused else [],
        "scores": {
            name: {
                by: {"image": _estimate_values(score.image), "text": _estimate_values(score.text)}
                for by, score in scores.items()
            }
            for name, scores in result.scores.items()
        },
        "leaks": result.leaks
        and {
            "concepts": result.leaks.concepts,
            "similarity": result.leaks.similarity,
            "own_is_nearest": [_estimate_values(own) for own in result.leaks.own],
        },
        "seconds": {**result.seconds, "total": sum(result.seconds.values())},
        "pictures": [f"pictures/{drawn.file_name}" for drawn in result.drawn],
    }


def demo_contact_sheet(result: DemoResult) -> Any:
    """Photographs, every concept alone and fused, and all together, as one picture."""
    names = [concept.name for concept in result.concepts]
    rows, labels = [], []
    for concept in result.concepts:
        alone, fused = result.pictures("alone", concept.name), result.pictures("fused", concept.name)
        rows.append([photo.image.resize(alone[0].image.size) for photo in concept.photographs[:3]])
        rows[-1] += [drawn.image for drawn in [*alone, *fused]]
        labels.append(f"{concept.token}: three photographs, alone, and fused with the same seeds")
    together = result.pictures("fused", *names)
    scenes = ", ".join(dict.fromkeys(drawn.scene for drawn in together))
    for seed in dict.fromkeys(drawn.picture.settings.seed for drawn in together):
        rows.append([drawn.image for drawn in together if drawn.picture.settings.seed == seed])
        labels.append(f"all together {scenes}, seed {seed}")
    return contact_sheet(rows, labels)


def demo_report(result: DemoResult) -> Report:
    """The report as a page."""
    names = [concept.name for concept in result.concepts]
    tokens = ", ".join(concept.token for concept in result.concepts)
    together = result.pictures("fused", *names)
    report = Report(
        f"{len(names)} concepts, {len(names)} slots, one picture",
        f"{tokens} were each learned from a few pictures in a spectral slot of their own, fused by adding up what "
        f"they changed, and drawn together. One command made this page, on the base '{result.base_name}'.",
    )
    _add_headline(report, result)
    report.section(
        "All together",
        "One fused adapter, one prompt that names all concepts from left to right, no layout given. Each prompt is "
        f"drawn with {len(together) // max(len({drawn.scene for drawn in together}), 1)} seeds; none was picked out.",
    )
    report.pictures([_captioned(drawn) for drawn in together], min_width_px=_WIDE_PX)
    _add_concepts(report, result)
    _add_slots(report, result)
    if result.scorer_name is not None:
        _add_scores(report, result)
    else:
        report.section("Scores", "There was no scorer on this machine, so the pictures were not scored.")
    report.section("Times", "Wall-clock seconds of each stage on this machine.")
    seconds = [(stage, f"{value:.1f}") for stage, value in result.seconds.items()]
    report.table(["stage", "seconds"], [*seconds, ("total", f"{sum(result.seconds.values()):.1f}")])
    return report


def _add_headline(report: Report, result: DemoResult) -> None:
    training = [seconds for stage, seconds in result.seconds.items() if stage.startswith("training")]
    numbers = [
        (f"{sum(result.seconds.values()):.0f} s", "for everything on this page"),
        (f"{max(training):.0f} s", "for the slowest concept's training"),
        (f"{1000 * result.seconds['fusing']:.0f} ms", "to fuse, without retraining"),
    ]
    if result.fused is not None and len(result.adapters) > 1:
        matrix = result.fused.overlap_matrix.clone().fill_diagonal_(0)
        numbers.append((f"{float(matrix.max()):.0e}", "largest overlap of two slots (1 would be a shared column)"))
    if result.leaks is not None:
        own = sum(estimate.mean for estimate in result.leaks.own) / len(result.leaks.own)
        numbers.append((f"{own:.0%}", "of the regions look most like their own concept"))
    report.headline_numbers(numbers)


def _add_concepts(report: Report, result: DemoResult) -> None:
    names = [concept.name for concept in result.concepts]
    report.section(
        "Each concept, before and after fusion",
        "Its photographs; then what the base draws when told in words, which is where training began; then pairs of "
        "the same seed, drawn by its adapter alone and by the fused one.",
    )
    for concept in result.concepts:
        report.paragraph(f"{concept.token}, {with_article(concept.words)}")
        photographs = [Picture(photo.image, f"photograph {n}") for n, photo in enumerate(concept.photographs, 1)]
        report.pictures(photographs, min_width_px=_SQUARE_PX)
        base, alone, fused = (result.pictures(by, concept.name) for by in ("base", "alone", "fused"))
        pairs = [drawn for pair in zip(alone, fused, strict=True) for drawn in pair]
        report.pictures([_captioned(drawn) for drawn in [*base, *pairs]], min_width_px=_SQUARE_PX)
    report.section(
        "The same prompts without adapters", "The base, told in words what the three look like: alike, but not ours."
    )
    report.pictures([_captioned(drawn) for drawn in result.pictures("base", *names)], min_width_px=_WIDE_PX)


def _add_slots(report: Report, result: DemoResult) -> None:
    report.section(
        "Slots",
        "Every concept owns a run of singular-vector columns in every adapted weight; column 0 has the largest "
        "singular value. The share is how much of the weights' spectral energy the slot held before training, |dW| how "
        "far the training moved the weights, and |dW| / slot the same relative to what the slot held.",
    )
    rows = [
        (
            concept.token,
            adapter.columns.removeprefix("columns "),
            "-" if energy.share is None else f"{energy.share:.2%}",
            f"{energy.change_norm:.2f}",
            "-" if energy.relative_change is None else f"{energy.relative_change:.2f}",
            f"{energy.modules}",
            f"{result.losses[concept.name]:.4f}" if concept.name in result.losses else "",
        )
        for concept, adapter, energy in zip(result.concepts, result.adapters, result.energies, strict=True)
    ]
    report.table(["concept", "columns", "share", "|dW|", "|dW| / slot", "weights", "last loss"], rows)


def _add_scores(report: Report, result: DemoResult) -> None:
    report.section(
        "Scores",
        f"Cosines of the CLIP '{result.scorer_name}', as in the paper (F.7): image against the photographs, text "
        "against the prompt with class words. Pictures of all concepts are cut into equal columns, one a concept. In "
        "brackets the 95 % bootstrap interval; with so few pictures it is wide, and small differences mean nothing.",
    )
    rows: list[Sequence[object]] = []
    for name, scores in result.scores.items():
        for by, score in scores.items():
            rows.append((f"{name}, {_DRAWN_BY[by]}", *_score_cells(score)))
        if name in result.photographs:
            rows.append((f"{name}, its photographs among themselves", f"{result.photographs[name]:.3f}", "", ""))
    report.table(["pictures", "image alignment", "text alignment", "pictures scored"], rows)
    if result.leaks is not None:
        report.section(
            "Leaks",
            "How alike each region of the fused pictures is to each concept. Rows are regions, columns concepts; where "
            "the diagonal is not the strongest of its row, another concept shows in that place or none does.",
        )
        leaks = result.leaks
        named = zip(leaks.concepts, leaks.similarity, strict=True)
        report.heat_map("region of", leaks.concepts, [(name, row) for name, row in named])
        own = zip(leaks.concepts, leaks.own, strict=True)
        report.table(["region of", "own concept is nearest"], [(name, _percent(share)) for name, share in own])


def _score_cells(score: AlignmentScore) -> tuple[str, str, str]:
    count = next((estimate.count for estimate in (score.image, score.text) if estimate is not None), 0)
    return str(score.image or ""), str(score.text or ""), str(count)


def _percent(share: Estimate) -> str:
    return f"{share.mean:.0%} [{share.low:.0%}, {share.high:.0%}] of {share.count}"


def _captioned(drawn: Drawn) -> Picture:
    settings = drawn.picture.settings
    return Picture(drawn.image, f"{_DRAWN_BY[drawn.by]}: {settings.prompt}, seed {settings.seed}")


def _estimate_values(estimate: Estimate | None) -> dict[str, float] | None:
    return estimate and {
        "mean": estimate.mean,
        "low": estimate.low,
        "high": estimate.high,
        "count": estimate.count,
    }
