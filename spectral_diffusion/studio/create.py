"""The create screen: concepts ticked, a prompt, pictures. The first thing a newcomer sees."""

import html
import json
import random
from typing import Any

import gradio as gr

from spectral_diffusion.errors import InputError
from spectral_diffusion.studio import grids, history, programs
from spectral_diffusion.studio.controls import Controls, adapter_cards, read_drawing
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import SIZES, examples
from spectral_diffusion.studio.events import on_the_page, sentence
from spectral_diffusion.studio.limits import COUNT_LIMIT, GUIDANCE_LIMIT, SEED_LIMIT, STEPS_LIMIT
from spectral_diffusion.studio.parts.cards import cards, ticked
from spectral_diffusion.studio.parts.chips import chips, pressed
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.studio.watching import DRAWINGS, POLL_SECONDS, cancel_all, look_again, told_before, watch

FIRST_SEED = 9
# A prompt that a person has written is never replaced, however late an answer comes.
_TAKE_PROPOSAL = """(proposed, prompt) => {
  const {texts = [], when} = JSON.parse(proposed || '{}');
  const ours = (window.proposedPrompts ??= new Set()), now = prompt || '';
  const takes = !now.trim() || when === 'always' || (when === 'untouched' && ours.has(now));
  texts.forEach(text => ours.add(text));
  return takes && texts.length ? texts[0] : now;
}"""
_SAMPLES = "Three sample toys are trained already: press **Draw**. "
_WELCOME = (
    "For your own things go from left to right: photographs in **Concepts**, a place in **Slots**, then **Train**."
)


def build(shell: Shell, tab: gr.Tab) -> None:
    """The screen."""
    recipe = shell.studio.config.generation
    told = gr.State(None)
    status = gr.HTML("", elem_id="create-status", js_on_load=None, render=False)
    timer = gr.Timer(POLL_SECONDS, active=False)
    gr.Markdown((_SAMPLES if shell.studio.is_toybox else "") + _WELCOME, elem_classes="hint")
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            chosen = cards(
                strengths=True,
                empty="No trained concept yet: train one in Train, or import an adapter in Files.",
                elem_id=shell.hint("create-concepts", "Which concepts go into the picture, and how strongly each."),
            )
            fused = gr.HTML("", elem_id="create-fused", js_on_load=None)
            prompt = gr.Textbox(
                label="Prompt",
                lines=2,
                max_lines=6,
                elem_id=shell.hint(
                    "create-prompt",
                    "What to draw. Name each concept by its token, such as <octo>, from left to right.",
                ),
            )
            proposed = gr.Textbox(visible=False)
            offered = chips(
                elem_id=shell.hint("create-examples", "Press one to put it into the prompt."),
            )
            with gr.Row():
                # Until the page knows which concepts there are, neither can do what it says.
                draw = gr.Button(
                    "Draw",
                    variant="primary",
                    size="lg",
                    interactive=False,
                    elem_id=shell.hint("create-draw", "Draw what the prompt says."),
                )
                compare = gr.Button(
                    "Compare",
                    size="lg",
                    interactive=False,
                    elem_id=shell.hint(
                        "create-compare", "One row with one seed: every concept alone, then all of them fused."
                    ),
                )
            with gr.Accordion("Settings", open=False):
                negative = gr.Textbox(
                    label="Negative prompt",
                    value=recipe.negative_prompt,
                    elem_id=shell.hint("create-negative", "What to keep out of the picture."),
                )
                size = gr.Radio(
                    SIZES,
                    value="Wide",
                    label="Size",
                    elem_id=shell.hint("create-size", "Three things need a wide picture."),
                )
                with gr.Row():
                    width = gr.Number(
                        recipe.width_px,
                        label="Width in px",
                        precision=0,
                        minimum=16,
                        maximum=4096,
                        visible=False,
                        elem_id=shell.hint("create-width", "Used with the size Own. A multiple of 8."),
                    )
                    height = gr.Number(
                        recipe.height_px,
                        label="Height in px",
                        precision=0,
                        minimum=16,
                        maximum=4096,
                        visible=False,
                        elem_id=shell.hint("create-height", "Used with the size Own. A multiple of 8."),
                    )
                with gr.Row():
                    seed = gr.Number(
                        FIRST_SEED,
                        label="Seed",
                        precision=0,
                        minimum=0,
                        maximum=SEED_LIMIT,
                        elem_id=shell.hint("create-seed", "The same seed and settings give the same picture."),
                    )
                    new_seed = gr.Button(
                        "New seed", elem_id=shell.hint("create-new-seed", "Take a seed that nobody chose.")
                    )
                count = gr.Slider(
                    1,
                    COUNT_LIMIT,
                    1,
                    step=1,
                    label="Pictures",
                    elem_id=shell.hint("create-count", "One seed more for each."),
                )
                steps = gr.Slider(
                    1,
                    STEPS_LIMIT,
                    recipe.steps,
                    step=1,
                    label="Steps",
                    elem_id=shell.hint(
                        "create-steps", "Denoising steps: more take longer and are finer, up to a point."
                    ),
                )
                guidance = gr.Slider(
                    1,
                    GUIDANCE_LIMIT,
                    recipe.guidance_scale,
                    step=0.5,
                    label="Guidance",
                    elem_id=shell.hint("create-guidance", "How strictly the prompt is followed; 1 is not at all."),
                )
            controls = Controls(chosen, prompt, negative, size, width, height, steps, guidance, seed, count)
            grids.build(shell, controls, timer, status)
        with gr.Column(scale=7, min_width=320):
            with gr.Column(elem_classes="while-open"):
                status.render()
                cancel = shell.small_button("Cancel", "create-cancel", "End what is being drawn, and what waits.")
            shown = history.build(shell, controls)

    def refresh(
        desk: Desk,
        before: Any,
        wanted: list[str] | None,
        told_already: list[str] | None,
        kept: dict[str, Any],
    ) -> list[Any]:
        strengths = {item.id: item.strength for item in ticked(before)} if before else None
        if wanted:
            # Whoever comes with concepts in hand wants to see those, and not what was ticked before.
            strengths = dict.fromkeys(wanted, 1.0)
        now = [card.value() for card in adapter_cards(desk, strengths)]
        note, prompts = _after_ticking(desk, now)
        usable = gr.Button(interactive=True)
        proposal = _proposal(prompts, "always" if wanted else "empty")
        memory = told_before(desk, DRAWINGS, told_already)
        filled = [now, note, prompts, proposal, memory, gr.Timer(active=True), [], usable, usable]
        return [*filled, *history.show(desk, kept)]

    def say(desk: Desk, value: Any) -> list[Any]:
        return list(_after_ticking(desk, value))

    def follow(desk: Desk, value: Any) -> str:
        return _proposal(_after_ticking(desk, value)[1], "untouched")

    def begin(desk: Desk, *values: Any) -> list[Any]:
        read_drawing(desk, *values).submit(desk)
        return watch(desk, DRAWINGS)

    def begin_row(desk: Desk, *values: Any) -> list[Any]:
        read_drawing(desk, *values).compare(desk)
        return watch(desk, DRAWINGS)

    def stop(desk: Desk) -> str:
        return cancel_all(desk, DRAWINGS)

    def offer(desk: Desk, size_name: str) -> list[Any]:
        own = size_name == "Own"
        return [gr.Number(visible=own), gr.Number(visible=own)]

    filled = shell.refresh(
        tab,
        refresh,
        [chosen, shell.to_create, told, shown.state],
        [chosen, fused, offered, proposed, told, timer, shell.to_create, draw, compare, *shown.outputs],
    )
    ticking = shell.on(chosen.tick, follow, chosen, proposed, quiet=True, trigger_mode="always_last")
    for answered in (filled, ticking):
        answered.then(None, [proposed, prompt], prompt, js=_TAKE_PROPOSAL, show_progress="hidden")
    shell.on(chosen.change, say, chosen, [fused, offered], quiet=True)
    shell.on(offered.select, pressed, offered, prompt, quiet=True)
    shell.on(size.change, offer, size, [width, height], quiet=True)
    shell.on(new_seed.click, lambda desk: random.SystemRandom().randrange(SEED_LIMIT), None, seed, quiet=True)
    shell.on(draw.click, begin, controls.all, [timer, status])
    shell.on(prompt.submit, begin, controls.all, [timer, status])
    shell.on(compare.click, begin_row, controls.all, [timer, status])
    for function in (programs.draw, programs.pictures, programs.picture):
        shell.offer(function, function.__name__)
    shell.on(cancel.click, stop, None, status)
    shell.on(timer.tick, _poll, [told, shown.state], [told, timer, status, *shown.outputs], quiet=True)


def prepare(desk: Desk) -> None:
    """Do what the first fill of the screen needs and later ones find done: sample concepts, thumbnails, the fusion."""
    _after_ticking(desk, [card.value() for card in adapter_cards(desk, None)])


def _proposal(texts: list[str], when: str) -> str:
    """Prompts of which the page takes the first: always; where the prompt is untouched, being one that was proposed;
    or only where it is empty."""
    return json.dumps({"texts": texts, "when": when})


def _after_ticking(desk: Desk, value: Any) -> tuple[str, list[str]]:
    """What is said about the fusion, and prompts that go with it."""
    chosen = ticked(value)
    summaries = {summary.file_name: summary for summary in desk.adapters() if not summary.fault}
    used = [summaries[item.id] for item in chosen if item.id in summaries]
    prompts = examples(used, is_toybox=desk.studio.is_toybox)
    if not chosen:
        return _note("No concept is ticked: the base draws alone."), prompts
    try:
        fusion = desk.studio.fuser.fuse([(desk.adapter_path(item.id), item.strength) for item in chosen])
    except InputError as error:
        return _note(f"These cannot be fused: {error.what}. {sentence(on_the_page(error.remedy))}."), prompts
    parts = fusion.fused.parts
    slots = ", ".join(
        f"{part.adapter.name} {'with' if part.adapter.slot is None else 'in'} {part.adapter.columns}" for part in parts
    )
    text = f"Fused in {fusion.milliseconds:.0f} ms: {slots}." if len(parts) > 1 else f"{slots}."
    return _note(text), prompts


def _note(text: str) -> str:
    return f'<p class="hint" role="status">{html.escape(text)}</p>'


def _poll(desk: Desk, told: list[str] | None, kept: dict[str, Any]) -> list[Any]:
    values, done = look_again(desk, DRAWINGS, told)
    return [*values, *(history.show_job(desk, kept, done[-1]) if done else history.unchanged())]
