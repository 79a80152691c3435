"""A side of a grid: a setting, and the values it takes from row to row or from column to column."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio.limits import GUIDANCE_LIMIT, SEED_LIMIT, STEPS_LIMIT
from spectral_diffusion.studio.parts.cards import STRENGTH_LIMIT, Ticked

if TYPE_CHECKING:
    from spectral_diffusion.studio.drawing import Drawing

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

    def applied(self, drawing: "Drawing", value: Any) -> "Drawing":
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


_AXIS_BOUNDS = {
    "seed": (0, SEED_LIMIT),
    "strength": (0, STRENGTH_LIMIT),
    "steps": (1, STEPS_LIMIT),
    "guidance": (1, GUIDANCE_LIMIT),
}
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
