"""What a person asks to be drawn, from the controls of the page to a job, and back from a picture to the controls."""

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spectral_diffusion.diffusion.library import AdapterSummary
from spectral_diffusion.diffusion.pipeline import read_settings
from spectral_diffusion.diffusion.settings import GenerationSettings, hash_adapter
from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import load_fused
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.submission import fusing_of, generate_spec, grid_spec
from spectral_diffusion.studio.cards import STRENGTH_LIMIT, Ticked
from spectral_diffusion.studio.desk import GRIDS, Desk

COUNT_LIMIT = 8
SEED_LIMIT = 2**32
SCENES = ("on the beach", "in the snow", "in the garden", "in the desert")
SIZES = ("Square", "Wide", "Tall", "Own")
_TOKEN = re.compile(r"<[^<>\s]+>")


@dataclass(frozen=True)
class Drawing:
    """One wish.

    Args:
        adapters: File names in the person's workspace, with strengths.
        prompt, negative_prompt, width_px, height_px, steps, guidance_scale, seed, count: As for `generate`.
    """

    adapters: tuple[Ticked, ...]
    prompt: str
    negative_prompt: str
    width_px: int
    height_px: int
    steps: int
    guidance_scale: float
    seed: int
    count: int = 1

    def __post_init__(self) -> None:
        """Raises: InputError: A value is missing or out of bounds."""
        if not self.prompt.strip():
            raise InputError("there is no prompt", "say what to draw, or press one of the examples")
        if not 1 <= self.count <= COUNT_LIMIT:
            raise InputError(f"{self.count} pictures were asked for", f"ask for 1 to {COUNT_LIMIT} at once")

    def files(self, desk: Desk) -> list[tuple[Path, float]]:
        """The adapter files with their strengths.

        Raises:
            InputError: One is not there any more.
        """
        return [(desk.adapter_path(adapter.id), adapter.strength) for adapter in self.adapters]

    def values(self) -> dict[str, Any]:
        """What jobs call the values."""
        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "seed": self.seed,
            "steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "width_px": self.width_px,
            "height_px": self.height_px,
        }

    def submit(self, desk: Desk) -> Job:
        """Queue it.

        Raises:
            InputError: See `fusing_of` and `JobQueue.submit`.
        """
        check_tokens(self.prompt, desk.adapters(), self.adapters)
        files = self.files(desk)
        return desk.submit(
            lambda store: generate_spec(
                store,
                desk.workspace,
                desk.studio.base,
                fusing_of(store, files) if files else None,
                count=self.count,
                **self.values(),
            )
        )

    def compare(self, desk: Desk) -> Job:
        """Queue a row: every concept alone, then all together, with one seed. Alone, the others are plain words.

        Raises:
            InputError: There are not two concepts to compare; and as for `submit`.
        """
        if len(self.adapters) < 2:
            raise InputError("a comparison needs two concepts or more", "tick another one")
        check_tokens(self.prompt, desk.adapters(), self.adapters)
        summaries = {summary.file_name: summary for summary in desk.adapters()}
        cells = []
        for alone in self.adapters:
            own = set(summaries[alone.id].tokens)
            cells.append(
                {
                    **self.values(),
                    "prompt": in_plain_words(self.prompt, desk.adapters(), keep=own),
                    "strengths": [alone.strength if other == alone else None for other in self.adapters],
                    "label": f"{titles(summaries[alone.id])} alone",
                }
            )
        together = [adapter.strength for adapter in self.adapters]
        cells.append({**self.values(), "strengths": together, "label": "fused"})
        return self._grid(desk, cells, columns=len(cells), column_labels=[cell["label"] for cell in cells])

    def grid(self, desk: Desk, across: "Axis", down: "Axis") -> Job:
        """Queue a picture of every pair of two settings.

        Raises:
            InputError: An axis that changes nothing, or more pictures than a grid has; and as for `submit`.
        """
        if (across.setting, across.of) == (down.setting, down.of):
            raise InputError(f"both sides of the grid change the {across.setting}", "choose another setting for one")
        cells = []
        for row in down.values:
            for column in across.values:
                cell = across.applied(down.applied(self, row), column)
                check_tokens(cell.prompt, desk.adapters(), self.adapters)
                cells.append({**cell.values(), "strengths": [adapter.strength for adapter in cell.adapters]})
        return self._grid(desk, cells, columns=len(across.values), column_labels=across.labels, row_labels=down.labels)

    def _grid(self, desk: Desk, cells: Sequence[dict[str, Any]], **layout: Any) -> Job:
        files = self.files(desk)
        return desk.submit(
            lambda store: grid_spec(
                store,
                desk.workspace,
                desk.studio.base,
                files,
                cells,
                heading=self.prompt,
                out=desk.workspace.images / GRIDS,
                **layout,
            )
        )

    def command_line(self, desk: Desk) -> str:
        """The same as a command."""
        parts = ["spectral-diffusion", "generate"]
        for adapter in self.adapters:
            place = f"adapters/{adapter.id}"
            parts += ["--adapter", place if adapter.strength == 1 else f"{place}:{adapter.strength:g}"]
        parts += ["--prompt", self.prompt]
        if self.negative_prompt:
            parts += ["--negative", self.negative_prompt]
        parts += ["--size", f"{self.width_px}x{self.height_px}", "--steps", str(self.steps)]
        parts += ["--guidance", f"{self.guidance_scale:g}", "--seed", str(self.seed)]
        if self.count > 1:
            parts += ["--count", str(self.count)]
        if desk.studio.base != "toybox":
            parts += ["--base", desk.studio.base]
        return f"{shlex.join(parts)} --workspace {shlex.quote(str(desk.workspace.root))}"


AXES = ("seed", "strength", "steps", "guidance", "prompt")


@dataclass(frozen=True)
class Axis:
    """A side of a grid.

    Args:
        setting: One of `AXES`.
        values: What it takes: numbers, or for prompts texts.
        of: File name of the adapter whose strength it is; None scales all.
    """

    setting: str
    values: tuple[Any, ...]
    of: str | None = None

    @classmethod
    def read(cls, setting: Any, text: Any, of: str | None = None) -> "Axis":
        """An axis from a line that a person wrote: values between commas, prompts between `|`.

        Raises:
            InputError: No such setting, or values that are none.
        """
        if setting not in AXES:
            raise InputError(f"{str(setting)[:40]!r} is no side of a grid", f"choose one of {', '.join(AXES)}")
        parts = [part.strip() for part in str(text or "").split("|" if setting == "prompt" else ",") if part.strip()]
        if not 1 <= len(parts) <= 10:
            raise InputError(
                f"the grid's {setting} has {len(parts)} values", "write 1 to 10, such as " + _AXIS_EXAMPLES[setting]
            )
        if setting == "prompt":
            return cls(setting, tuple(parts))
        try:
            numbers = tuple(float(part) for part in parts)
        except ValueError:
            raise InputError(
                f"the grid's {setting} {str(text)[:60]!r} are no numbers", f"write them as {_AXIS_EXAMPLES[setting]}"
            ) from None
        low, high = _AXIS_BOUNDS[setting]
        if not all(low <= number <= high for number in numbers):
            raise InputError(f"a {setting} of the grid is out of bounds", f"use {low:g} to {high:g}")
        if setting in ("seed", "steps"):
            if any(number != int(number) for number in numbers):
                raise InputError(f"the grid's {setting} has a fraction", "use whole numbers")
            return cls(setting, tuple(int(number) for number in numbers))
        return cls(setting, numbers, of)

    @property
    def labels(self) -> list[str]:
        """What stands beside the rows or above the columns."""
        if self.setting == "prompt":
            return [str(value) for value in self.values]
        name = f"{self.setting} of {Path(self.of).stem}" if self.of else self.setting
        return [f"{name} {value:g}" for value in self.values]

    def applied(self, drawing: Drawing, value: Any) -> Drawing:
        """The drawing with this value."""
        match self.setting:
            case "seed":
                return replace(drawing, seed=value)
            case "steps":
                return replace(drawing, steps=value)
            case "guidance":
                return replace(drawing, guidance_scale=value)
            case "prompt":
                return replace(drawing, prompt=value)
            case _:
                adapters = tuple(
                    Ticked(adapter.id, value if self.of in (None, adapter.id) else adapter.strength)
                    for adapter in drawing.adapters
                )
                return replace(drawing, adapters=adapters)


_AXIS_BOUNDS = {"seed": (0, SEED_LIMIT), "strength": (0, STRENGTH_LIMIT), "steps": (1, 100), "guidance": (1, 30)}
_AXIS_EXAMPLES = {
    "seed": "1, 2, 3",
    "strength": "0, 0.5, 1",
    "steps": "6, 12, 24",
    "guidance": "2, 4, 8",
    "prompt": "a photo of <octo> | a photo of <octo> in the snow",
}


def axis_example(setting: Any) -> str:
    """Values that a side of a grid may have, as a person would write them."""
    return _AXIS_EXAMPLES.get(str(setting), "")


def whole(value: Any, what: str, low: int, high: int) -> int:
    """A whole number out of a control, which may hold nothing.

    Raises:
        InputError: It is none, or out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value != int(value):
        raise InputError(f"the {what} is no whole number", f"write one from {low} to {high}")
    if not low <= value <= high:
        raise InputError(f"the {what} {value:g} is out of bounds", f"use {low} to {high}")
    return int(value)


def titles(summary: AdapterSummary) -> str:
    """The concepts of an adapter file, in a few words."""
    return " + ".join(summary.names)


def examples(summaries: Sequence[AdapterSummary], *, is_toybox: bool) -> list[str]:
    """Prompts that name these concepts."""
    tokens = [token for summary in summaries for token in summary.tokens]
    named = " and ".join(tokens) if tokens else ("a red robot and a blue duck" if is_toybox else "a chair")
    return [f"a photo of {named} {scene}" for scene in SCENES]


def in_plain_words(prompt: str, summaries: Sequence[AdapterSummary], keep: set[str]) -> str:
    """A prompt with the tokens of some concepts only; the others become their class words with an article."""
    words = {
        token: info.class_word for summary in summaries for part in summary.parts for token, info in part.tokens.items()
    }

    def plain(match: re.Match[str]) -> str:
        token = match.group()
        word = words.get(token, "")
        return token if token in keep or not word else f"{'an' if word[0] in 'aeiou' else 'a'} {word}"

    return _TOKEN.sub(plain, prompt)


def check_tokens(prompt: str, summaries: Sequence[AdapterSummary], adapters: Sequence[Ticked]) -> None:
    """Whether every token of the prompt is ticked.

    Raises:
        InputError: Naming those that are not.
    """
    chosen = {adapter.id for adapter in adapters}
    ticked_tokens = {token for summary in summaries if summary.file_name in chosen for token in summary.tokens}
    owners = {token: titles(summary) for summary in summaries for token in summary.tokens}
    for token in _TOKEN.findall(prompt):
        if token not in ticked_tokens:
            raise InputError(
                f"the prompt names {token}, which " + ("is not ticked" if token in owners else "no concept here has"),
                f"tick {owners[token]}, or take it out of the prompt"
                if token in owners
                else "take it out of the prompt",
            )


def from_picture(desk: Desk, path: Path) -> tuple[Drawing, list[str]]:
    """What a picture was drawn from, with the person's own adapters; and what of it is not here.

    Raises:
        InputError: It holds no settings, or was drawn with another base.
    """
    settings = read_settings(path)
    found, missing = _adapters_of(desk, settings)
    notes = [f"{name} is not among your adapters; import its file in Files" for name in missing]
    facts = desk.studio.facts
    if facts is not None and dict(facts.fingerprints) != settings.fingerprints:
        notes.append(f"it was drawn with the base {settings.base}, and the one here is another: it will differ")
    drawing = Drawing(
        adapters=tuple(found),
        prompt=settings.prompt,
        negative_prompt=settings.negative_prompt,
        width_px=settings.width_px,
        height_px=settings.height_px,
        steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        seed=settings.seed,
    )
    return drawing, notes


def _adapters_of(desk: Desk, settings: GenerationSettings) -> tuple[list[Ticked], list[str]]:
    """The person's adapter files that hold a picture's concepts, and the names of those that none holds."""
    by_hash: dict[str, str] = {}
    wanted = {record.name for record in settings.adapters}
    for summary in desk.adapters():
        if not summary.fault and not summary.is_fused and wanted & set(summary.names):
            (part,) = load_fused(summary.path).parts
            by_hash[hash_adapter(part.adapter)] = summary.file_name
    found, missing = [], []
    for record in settings.adapters:
        file_name = by_hash.get(record.sha256)
        if file_name is None:
            missing.append(record.name)
        else:
            found.append(Ticked(file_name, max(-STRENGTH_LIMIT, min(STRENGTH_LIMIT, record.strength))))
    return found, missing
