"""A grid of pictures over two settings: the part of the create screen that asks for one."""

from typing import Any

import gradio as gr

from spectral_diffusion.studio.axes import AXES, Axis, axis_example
from spectral_diffusion.studio.controls import Controls, read_drawing
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import titles
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.studio.watching import DRAWINGS, watch

_ALL = "all of them"


def build(shell: Shell, controls: Controls, timer: gr.Timer, status: gr.HTML) -> None:
    """This part of the screen."""
    with gr.Accordion("Grid over two settings", open=False) as part:
        with gr.Row():
            across = gr.Dropdown(
                list(AXES),
                value="strength",
                label="Across",
                elem_id=shell.hint("grid-across", "What changes from column to column."),
            )
            across_values = gr.Textbox(
                axis_example("strength"),
                label="Values across",
                elem_id=shell.hint("grid-across-values", "Between commas; prompts between |."),
            )
        with gr.Row():
            down = gr.Dropdown(
                list(AXES), value="seed", label="Down", elem_id=shell.hint("grid-down", "What changes from row to row.")
            )
            down_values = gr.Textbox(
                axis_example("seed"),
                label="Values down",
                elem_id=shell.hint("grid-down-values", "Between commas; prompts between |."),
            )
        of = gr.Dropdown(
            [_ALL],
            value=_ALL,
            label="Strength of",
            elem_id=shell.hint("grid-of", "Whose strength a side changes, when it changes a strength."),
        )
        button = gr.Button(
            "Draw the grid",
            elem_id=shell.hint("grid-draw", "One picture of all pairs, and every picture by itself too."),
        )

    def offer(desk: Desk) -> Any:
        usable = [(titles(summary), summary.file_name) for summary in desk.adapters() if not summary.fault]
        return gr.Dropdown(choices=[(_ALL, _ALL), *usable], value=_ALL)

    def example(desk: Desk, setting: str) -> str:
        return axis_example(setting)

    def begin(
        desk: Desk,
        across_setting: str,
        across_text: str,
        down_setting: str,
        down_text: str,
        whose: str,
        *values: Any,
    ) -> list[Any]:
        owner = None if whose == _ALL else whose
        read_drawing(desk, *values).grid(
            desk, Axis.read(across_setting, across_text, owner), Axis.read(down_setting, down_text, owner)
        )
        return watch(desk, DRAWINGS)

    shell.on(part.expand, offer, None, of, quiet=True)
    shell.on(across.change, example, across, across_values, quiet=True)
    shell.on(down.change, example, down, down_values, quiet=True)
    shell.on(
        button.click,
        begin,
        [across, across_values, down, down_values, of, *controls.all],
        [timer, status],
    )
