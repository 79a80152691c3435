"""The settings of a training that most people leave alone."""

from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr

from spectral_diffusion.adapters import METHODS
from spectral_diffusion.config import Config
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import whole
from spectral_diffusion.studio.recipes import DEFAULT_RECIPE, recipe_of, sample_every
from spectral_diffusion.studio.shell import Shell

_KEYS = (
    "training.steps",
    "training.rank",
    "training.method",
    "training.learning_rates.unet",
    "training.batch_size",
    "training.train_text_encoder",
    "training.masks",
    "training.flip",
    "training.seed",
    "training.sample_every",
)
STEPS_LIMIT = 100_000
_SLOT_LIMIT = 1000


@dataclass(frozen=True)
class Advanced:
    """The controls, in the order in which events get them."""

    steps: gr.Number
    rank: gr.Number
    method: gr.Dropdown
    rate: gr.Number
    batch_size: gr.Number
    text_encoder: gr.Checkbox
    masks: gr.Dropdown
    flip: gr.Checkbox
    seed: gr.Number
    sample_every: gr.Number
    slot: gr.Textbox

    @property
    def all(self) -> list[Any]:
        """All of them."""
        return list(self.__dict__.values())


def build(shell: Shell, recipe: gr.Radio) -> Advanced:
    """This part of the train screen.

    Args:
        shell: The page.
        recipe: What fills in the numbers that recipes differ in.
    """
    config = shell.studio.config
    training = config.training
    # No bounds at the numbers: what is out of bounds is told in words, all of it at once, by `read_recipe`.
    first = recipe_of(DEFAULT_RECIPE).steps(config)
    with gr.Accordion("Advanced", open=False):
        with gr.Row():
            steps = gr.Number(
                first,
                label="Steps",
                precision=0,
                elem_id=shell.hint("train-steps", "Training steps for each concept. More learn more, up to a point."),
            )
            every = gr.Number(
                sample_every(first),
                label="Sample every",
                precision=0,
                elem_id=shell.hint("train-sample-every", "Steps between two sample pictures; 0 draws none."),
            )
        with gr.Row():
            rank = gr.Number(
                training.rank,
                label="Rank",
                precision=0,
                elem_id=shell.hint(
                    "train-rank", "Columns of a slot. More hold more of a concept, and fewer concepts fit."
                ),
            )
            slot = gr.Textbox(
                "",
                label="Slot",
                placeholder="automatic",
                max_lines=1,
                elem_id=shell.hint(
                    "train-slot",
                    "Number of the first concept's slot; the next ones follow. Empty: each keeps its own, or gets the "
                    "first free one.",
                ),
            )
        with gr.Row():
            method = gr.Dropdown(
                list(METHODS),
                value=training.method,
                label="Method",
                elem_id=shell.hint(
                    "train-method",
                    "spectral adds to the singular vectors of a slot; rotation turns them; lora has no slot at all.",
                ),
            )
            rate = gr.Number(
                training.learning_rates.unet,
                label="Learning rate",
                step=1e-4,
                elem_id=shell.hint(
                    "train-rate", "Of the denoiser (unet). Higher learns faster and fuses worse; too high fails."
                ),
            )
        with gr.Row():
            batch_size = gr.Number(
                training.batch_size,
                label="Batch size",
                precision=0,
                elem_id=shell.hint("train-batch", "Pictures a step. More are steadier, and a step takes longer."),
            )
            seed = gr.Number(
                training.seed,
                label="Seed",
                precision=0,
                elem_id=shell.hint("train-seed", "The same seed and settings give the same adapter."),
            )
        masks = gr.Dropdown(
            ["auto", "grabcut", "attention", "none"],
            value=training.masks,
            label="Masks",
            elem_id=shell.hint(
                "train-masks",
                "Where the concept is in photographs without a mask. grabcut goes by colours, attention by what the "
                "base looks at, auto takes grabcut where it finds something; none learns the surroundings too.",
            ),
        )
        with gr.Row():
            flip = gr.Checkbox(
                training.flip,
                label="Mirror photographs too",
                elem_id=shell.hint("train-flip", "Helps with few photographs; not for things with a left and a right."),
            )
            text_encoder = gr.Checkbox(
                training.train_text_encoder,
                label="Train the text encoder",
                elem_id=shell.hint(
                    "train-text-encoder", "Changes how prompts are read, too. Slower, and leaks more into other words."
                ),
            )

    def fill(desk: Desk, name: str) -> list[Any]:
        chosen = recipe_of(name)
        steps = chosen.steps(config)
        return [steps, sample_every(steps), chosen.rate(config)]

    def follow(desk: Desk, value: Any) -> Any:
        return sample_every(value) if isinstance(value, int) and 1 <= value <= STEPS_LIMIT else gr.skip()

    shell.on(recipe.change, fill, recipe, [steps, every, rate], quiet=True)
    shell.on(steps.input, follow, steps, every, quiet=True)
    return Advanced(steps, rank, method, rate, batch_size, text_encoder, masks, flip, seed, every, slot)


def read_recipe(config: Config, name: Any, steps: Any = None, *others: Any) -> tuple[Config, int | Literal["auto"]]:
    """The recipe and the slot that the controls say.

    Args:
        config: The base's own recipe.
        name: Of a recipe of the studio.
        steps: And the other values of `Advanced.all`, in their order; None leaves a value as the recipe has it.
        others: These.

    Raises:
        InputError: Naming all values that are not allowed.
    """
    own = None if steps is None else whole(steps, "number of steps", 1, STEPS_LIMIT)
    values = dict(zip(_KEYS, (own, *others), strict=False))
    told = {key: value for key, value in values.items() if value is not None}
    slot = others[len(_KEYS) - 1] if len(others) >= len(_KEYS) else None
    changed = config.override({**recipe_of(name).overrides(config, own), **told})
    return changed, _slot(slot)


def _slot(text: Any) -> int | Literal["auto"]:
    told = str(text or "").strip().lower()
    if told in ("", "auto", "automatic"):
        return "auto"
    return whole(int(told) if told.isdecimal() and len(told) < 10 else None, "slot", 0, _SLOT_LIMIT)
