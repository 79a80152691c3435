"""From a picture back to the controls: its settings, and the person's own adapters that it was drawn with."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from spectral_diffusion.diffusion.settings import GenerationSettings, SheetSettings, hash_adapter
from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import FusedPart, load_fused
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
    wanted = {record.name for record in settings.adapters}
    parts: dict[str, tuple[FusedPart, ...]] = {}
    for summary in desk.adapters():
        if not summary.fault and wanted & set(summary.names):
            # One file that cannot be read leaves the others.
            with suppress(InputError, OSError):
                parts[summary.file_name] = load_fused(summary.path).parts
    by_hash = {hash_adapter(held[0].adapter): name for name, held in parts.items() if len(held) == 1}
    if not all(record.sha256 in by_hash for record in settings.adapters):
        for name, held in parts.items():
            scale = _scale(held, settings)
            if scale is not None and abs(scale) <= STRENGTH_LIMIT:
                return [Ticked(name, scale)], []
    found, notes = [], []
    for record in settings.adapters:
        if record.sha256 not in by_hash:
            notes.append(f"{record.name} is not among your adapters; import its file in Files")
            continue
        if abs(record.strength) > STRENGTH_LIMIT:
            notes.append(f"{record.name} had the strength {record.strength:g}, and a slider ends at {STRENGTH_LIMIT:g}")
        strength = max(-STRENGTH_LIMIT, min(STRENGTH_LIMIT, record.strength))
        found.append(Ticked(by_hash[record.sha256], strength))
    return found, notes


def _scale(held: Sequence[FusedPart], settings: GenerationSettings) -> float | None:
    """By how much a fused file was scaled in a picture; None where it is not what the picture was drawn with."""
    records = settings.adapters
    if len(held) != len(records) or any(
        hash_adapter(part.adapter) != record.sha256 for part, record in zip(held, records, strict=True)
    ):
        return None
    scales = {
        round(record.strength / part.strength, 6) for part, record in zip(held, records, strict=True) if part.strength
    }
    return scales.pop() if len(scales) == 1 else None
