"""What a person asks to be drawn, from the controls of the page to a job, and back from a picture to the controls."""

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectral_diffusion.diffusion.library import AdapterSummary
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.submission import fusing_of, generate_spec, grid_spec
from spectral_diffusion.studio.axes import Axis
from spectral_diffusion.studio.desk import GRIDS, Desk
from spectral_diffusion.studio.limits import COUNT_LIMIT
from spectral_diffusion.studio.parts.cards import Ticked

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
            if alone.id not in summaries:
                raise InputError(f"the adapter {alone.id} is gone", "reload the page and tick what is there")
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

    def grid(self, desk: Desk, across: Axis, down: Axis) -> Job:
        """Queue a picture of every pair of two settings.

        Raises:
            InputError: An axis that changes nothing, or more pictures than a grid has; and as for `submit`.
        """
        if (across.setting, across.of) == (down.setting, down.of):
            raise InputError(f"both sides of the grid change the {across.setting}", "choose another setting for one")
        for axis in (across, down):
            if axis.setting == "strength" and axis.of not in {None, *(adapter.id for adapter in self.adapters)}:
                raise InputError(f"{Path(str(axis.of)).stem} is not in the picture", "tick it, or choose another")
            if axis.setting == "strength" and not self.adapters:
                raise InputError("no concept is ticked whose strength could change", "tick one")
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
            # Where other people's files lie is nobody's business; they run it where they keep their own.
            place = adapter.id if desk.user else str(desk.workspace.adapters / adapter.id)
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
        return shlex.join(parts if desk.user else [*parts, "--workspace", str(desk.workspace.root)])


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
