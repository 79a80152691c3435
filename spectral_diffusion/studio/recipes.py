"""The recipes that the studio offers: a base's own one, and how a shorter and a longer one differ from it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spectral_diffusion.config import Config
from spectral_diffusion.errors import InputError

_SAMPLES = 4
"""A training is cut into so many parts, with a sample picture between two."""


@dataclass(frozen=True)
class Recipe:
    """A recipe, told by what it has otherwise than the base's own.

    Args:
        name: What people choose.
        steps_factor: How many times the steps of the base's own recipe.
        rate_factor: How many times its learning rate of the unet.
        wide_probability: How often a step is taken on wide pictures, at least.
        text: What it is good for, and what it costs.
    """

    name: str
    steps_factor: float
    rate_factor: float
    wide_probability: float
    text: str

    def steps(self, config: Config) -> int:
        """Its training steps a concept."""
        return max(1, round(config.training.steps * self.steps_factor))

    def rate(self, config: Config) -> float:
        """Its learning rate of the unet."""
        return config.training.learning_rates.unet * self.rate_factor

    def overrides(self, config: Config, steps: int | None = None) -> dict[str, Any]:
        """What it changes, by keys of the config.

        Args:
            config: The base's own recipe.
            steps: Another number of steps than its own.
        """
        training = config.training
        steps = self.steps(config) if steps is None else steps
        wide = self.wide_probability if training.cutmix_probability else 0.0
        return {
            "training.steps": steps,
            # A rate that never gets up to its value would waste a short training.
            "training.warmup_steps": min(training.warmup_steps, round(training.warmup_steps * steps / training.steps)),
            "training.sample_every": sample_every(steps),
            "training.learning_rates.unet": self.rate(config),
            "training.cutmix_wide_probability": max(wide, training.cutmix_wide_probability),
        }


# Why so many steps at half the rate: "More steps at half the rate" in docs/findings.md.
RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("quick", 0.5, 1.0, 0.0, "half the steps, to see whether the photographs work; details may be missing."),
        Recipe("balanced", 1.0, 1.0, 0.0, "the base's own recipe, a good likeness for its time."),
        Recipe("best", 25 / 9, 0.5, 0.3, "three times as long; keeps concepts apart best when they are fused."),
    )
}
DEFAULT_RECIPE = "balanced"


def recipe_of(name: Any) -> Recipe:
    """The recipe of that name.

    Raises:
        InputError: There is none.
    """
    if not isinstance(name, str) or name not in RECIPES:
        raise InputError(f"there is no recipe {str(name)[:40]!r}", f"choose {', '.join(RECIPES)}")
    return RECIPES[name]


def sample_every(steps: int) -> int:
    """After how many steps a sample picture is drawn, so that a few come before the end."""
    return max(1, math.ceil(steps / _SAMPLES))
