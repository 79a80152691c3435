"""From a picture back to the controls: its settings, and the person's own adapters that it was drawn with."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isclose
from pathlib import Path

from spectral_diffusion.diffusion.library import SUFFIX
from spectral_diffusion.diffusion.settings import AdapterRecord, GenerationSettings, SheetSettings
from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import load_fused
from spectral_diffusion.images import read_png_text
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import Drawing
from spectral_diffusion.studio.limits import GUIDANCE_LIMIT, SEED_LIMIT, STEPS_LIMIT
from spectral_diffusion.studio.parts.cards import STRENGTH_LIMIT, Ticked


def settings_in(path: Path) -> tuple[GenerationSettings, list[str]]:
    """What a picture was drawn from; of a sheet that is its first picture, and what it is a sheet of is noted.

    Raises:
        InputError: It holds no settings.
    """
    text = read_png_text(path)
    sheet = SheetSettings.from_png_text(text)
    if sheet is None:
        return GenerationSettings.from_png_text(text), []
    over = f" over {' and '.join(sheet.over)}" if sheet.over else ""
    return sheet.first, [f"it is a grid{over}: these are the settings of its first picture"]


def from_picture(desk: Desk, path: Path) -> tuple[Drawing, list[str]]:
    """What a picture was drawn from, with the person's own adapters; and what of it is not here. See `settings_in`.

    Raises:
        InputError: It holds no settings, or was drawn with another base.
    """
    settings, notes = settings_in(path)
    found, missing = _adapters_of(desk, settings)
    notes += missing
    facts = desk.studio.facts
    if facts is not None and dict(facts.fingerprints) != settings.fingerprints:
        notes.append(f"it was drawn with the base {settings.base}, and the one here is another: it will differ")
    bounds = {"steps": STEPS_LIMIT, "guidance_scale": GUIDANCE_LIMIT, "seed": SEED_LIMIT}
    for name, limit in bounds.items():
        if getattr(settings, name) > limit:
            notes.append(f"its {name.replace('_', ' ')} is beyond {limit:g}, which the page shows: it will differ")
    shown = {name: min(getattr(settings, name), limit) for name, limit in bounds.items()}
    drawing = Drawing(
        adapters=tuple(found),
        prompt=settings.prompt,
        negative_prompt=settings.negative_prompt,
        width_px=settings.width_px,
        height_px=settings.height_px,
        **shown,
    )
    return drawing, notes


def _adapters_of(desk: Desk, settings: GenerationSettings) -> tuple[list[Ticked], list[str]]:
    """The person's adapter files that hold a picture's concepts, and what there is to know."""
    records = settings.adapters
    wanted = {record.name for record in records}
    files: dict[str, tuple[AdapterRecord, ...]] = {}
    for summary in desk.adapters():
        if not summary.fault and wanted & set(summary.names):
            # One file that cannot be read leaves the others.
            with suppress(InputError, OSError):
                files[summary.file_name] = tuple(AdapterRecord.of(part) for part in load_fused(summary.path).parts)
    single = [_shown(files, (record,)) for record in records]
    same = [adapter for adapter in single if adapter is not None]
    if len(same) == len(records):
        return same, []
    together = _shown(files, records)
    if together is not None:
        return [together], []
    near = [_nearest(files, (record,)) for record in records]
    together = _nearest(files, records)
    if together is not None and None in near:
        return [_clamped(together)], _differences(files, together, records)
    found, notes = [], []
    for record, adapter in zip(records, near, strict=True):
        if adapter is None:
            notes.append(f"{record.name} is not among your adapters; import its file in Files")
            continue
        notes += _differences(files, adapter, (record,))
        found.append(_clamped(adapter))
    return found, notes


def _shown(files: Mapping[str, Sequence[AdapterRecord]], records: Sequence[AdapterRecord]) -> Ticked | None:
    """The file that gives the picture's very concepts with a strength that a slider shows; None where none does."""
    adapter = _nearest(files, records)
    return None if adapter is None or _differences(files, adapter, records) else adapter


def _nearest(files: Mapping[str, Sequence[AdapterRecord]], records: Sequence[AdapterRecord]) -> Ticked | None:
    """The file that holds just these concepts in their proportions, rather one that differs in nothing else."""
    found = [Ticked(name, scale) for name, held in files.items() if (scale := _scale(held, records)) is not None]

    def distance(adapter: Ticked) -> tuple[bool, bool, bool, bool]:
        held = files[adapter.id]
        return (
            _factor_scales(held) != _factor_scales(records),
            abs(adapter.strength) > STRENGTH_LIMIT,
            [record.tokens for record in held] != [record.tokens for record in records],
            adapter.id != f"{records[0].name}{SUFFIX}",
        )

    return min(found, key=distance, default=None)


def _differences(
    files: Mapping[str, Sequence[AdapterRecord]], adapter: Ticked, records: Sequence[AdapterRecord]
) -> list[str]:
    """Why a picture that is drawn with this file differs from one of these records."""
    names = " and ".join(record.name for record in records)
    notes = []
    here, there = _factor_scales(files[adapter.id]), _factor_scales(records)
    if here != there:
        notes.append(
            f"{names} had the factor scale {_numbers(there)}, and {adapter.id} has {_numbers(here)}: it will differ"
        )
    if abs(adapter.strength) > STRENGTH_LIMIT:
        notes.append(
            f"{names} had the strength {adapter.strength:g}, and a slider ends at {STRENGTH_LIMIT:g}: it will differ"
        )
    return notes


def _scale(held: Sequence[AdapterRecord], records: Sequence[AdapterRecord]) -> float | None:
    """By how much a file's own strengths were scaled in a picture; None where it does not hold just its concepts."""
    if [record.sha256 for record in held] != [record.sha256 for record in records]:
        return None
    pairs = [(own.strength, record.strength) for own, record in zip(held, records, strict=True)]
    exact = next((drawn / own for own, drawn in pairs if own), 1.0)
    # Short where that is as true: 0.3, not 0.30000000000000004.
    for scale in (round(exact, 6), exact):
        if all(isclose(own * scale, drawn, rel_tol=1e-9) for own, drawn in pairs):
            return scale
    return None


def _factor_scales(records: Sequence[AdapterRecord]) -> list[float]:
    return [record.factor_scale for record in records]


def _numbers(values: Sequence[float]) -> str:
    return " and ".join(f"{value:g}" for value in dict.fromkeys(values))


def _clamped(adapter: Ticked) -> Ticked:
    return Ticked(adapter.id, max(-STRENGTH_LIMIT, min(STRENGTH_LIMIT, adapter.strength)))
