"""The model screen: which base is loaded, what it can do, and the machine it runs on."""

import html
import shutil
from collections.abc import Mapping
from typing import Any

import gradio as gr

from spectral_diffusion.studio import machine
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.model_facts import about_model, about_recipe, about_scorer, bytes_words, versions
from spectral_diffusion.studio.own_worker import log_path
from spectral_diffusion.studio.parts.chips import chips, pressed
from spectral_diffusion.studio.parts.reading import HINT, reading, reading_values, why_unread
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.studio.toy_words import SUMMARY, example_prompts, known_words, taught_words

POLL_SECONDS = 3.0
_PROMPT = "create-prompt"


def build(shell: Shell, tab: gr.Tab) -> None:
    """The screen."""
    is_toybox = shell.studio.base == "toybox"
    timer = gr.Timer(POLL_SECONDS, active=False)
    summary = gr.HTML("", elem_id="model-summary", js_on_load=None)
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=320):
            gr.Markdown("#### The model")
            unread = reading(shell.hint("model-read-again", HINT))
            model = gr.HTML("", elem_id="model-facts", css_template=_CSS, js_on_load=None)
            gr.Markdown("#### Its recipe")
            recipe = gr.HTML("", elem_id="model-recipe", css_template=_CSS, js_on_load=None)
        with gr.Column(scale=1, min_width=320):
            gr.Markdown("#### The machine")
            now = gr.HTML("", elem_id="model-machine", css_template=_CSS, js_on_load=None)
            look = shell.small_button("Look again", "model-look", "Ask for memory and workers anew.")
            gr.Markdown("#### Versions")
            gr.HTML(_table(versions()), elem_id="model-versions", css_template=_CSS, js_on_load=None)
    if is_toybox:
        gr.Markdown("#### What it draws")
        gr.HTML(_words(), elem_id="model-words", css_template=_CSS, js_on_load=None)
        gr.Markdown("Press a prompt to go to **Create** with it.", elem_classes="hint")
        offered = chips(elem_id=shell.hint("model-examples", "Prompts that toybox knows every word of."))
        _offer_prompts(shell, tab, offered)
    if not shell.studio.has_accounts:
        with gr.Accordion("What the worker said last", open=False) as said:
            log = gr.Textbox(
                show_label=False,
                lines=12,
                max_lines=24,
                interactive=False,
                autoscroll=True,
                buttons=["copy"],
                container=False,
                elem_id=shell.hint("model-log", "The end of the worker's log, for when something is wrong."),
            )
        shell.on(said.expand, _log, None, log, quiet=True)
        shell.on(look.click, _log, None, log, quiet=True)
    outputs = [summary, *unread, model, recipe, now, timer]
    shell.refresh(tab, _values, None, outputs)
    shell.on(timer.tick, _values, None, outputs, quiet=True)
    shell.on(look.click, _values, None, outputs, quiet=True)
    asked = shell.on(unread.again.click, _read_again, None, outputs, quiet=True)
    # Somebody else may have asked a moment before.
    shell.on(asked.failure, _values, None, outputs, quiet=True)
    shell.offer(describe, "model")


def describe(desk: Desk) -> dict:
    """Which model is loaded or why it cannot be read, its recipe, the machine, the workers and the versions."""
    facts = desk.studio.facts
    return {
        "base": desk.studio.base,
        "known": facts is not None,
        "fault": None if facts is not None else why_unread(desk.studio.ask_for_facts()),
        "model": {} if facts is None else about_model(facts),
        "recipe": _recipe(desk),
        "machine": _machine(desk),
        "versions": versions(),
        "draws": {sort: list(words) for sort, words in known_words().items()} if desk.studio.base == "toybox" else {},
    }


def _values(desk: Desk) -> list[Any]:
    """The whole screen as it is now; the values of its outputs."""
    facts = desk.studio.facts
    job = None if facts is not None else desk.studio.ask_for_facts()
    return [
        f'<p class="notice"><b>{html.escape(desk.studio.base)}</b>. {html.escape(_summary(desk))}</p>',
        *reading_values(job),
        "" if facts is None else _table(about_model(facts)),
        _table(_recipe(desk)),
        _table(_machine(desk)),
        gr.Timer(active=job is not None and why_unread(job) is None),
    ]


def _read_again(desk: Desk) -> list[Any]:
    desk.studio.ask_for_facts(again=True)
    return _values(desk)


def _summary(desk: Desk) -> str:
    facts = desk.studio.facts
    if desk.studio.base == "toybox" or (facts is not None and facts.is_toybox):
        return SUMMARY
    if facts is None:
        return "What it draws depends on what it was trained on."
    return (
        f"A Stable Diffusion model of {facts.native_size_px} px. It draws what it was trained on; concepts are taught "
        "to it with photographs of at least that size."
    )


def _recipe(desk: Desk) -> dict[str, str]:
    studio = desk.studio
    facts = studio.facts
    is_toybox = studio.base == "toybox" if facts is None else facts.is_toybox
    pace = studio.queue.pace(studio.config)
    return {**about_recipe(studio.config, facts, pace), "Scores": about_scorer(is_toybox=is_toybox)}


def _machine(desk: Desk) -> dict[str, str]:
    memory = machine.memory()
    told = {
        "Main memory": f"{bytes_words(memory.free)} of {bytes_words(memory.total)} free",
        "This studio": bytes_words(memory.own),
    }
    workers = machine.workers(desk)
    for number, worker in enumerate(workers, 1):
        takes = "" if worker.memory is None else f", {bytes_words(worker.memory)}"
        name = f"Worker {number}" if len(workers) > 1 else "Worker"
        told[name] = f"{worker.does} ({worker.device} of {worker.where}{takes})"
    if not workers:
        told["Worker"] = (
            "none runs, and nothing is drawn or trained until one does: ask whoever runs this studio to start one"
        )
    told["Jobs that wait"] = str(machine.waiting(desk))
    if not desk.studio.has_accounts:
        root = desk.workspace.root.resolve()
        told["Workspace"] = f"{root}, {bytes_words(shutil.disk_usage(root).free)} free on its disk"
    return told


def _log(desk: Desk) -> str:
    # With accounts there is no such part of the page; whoever asks all the same gets nothing of others.
    if desk.studio.has_accounts:
        return ""
    return machine.log_tail(log_path(desk.studio.root.root)) or "It has said nothing."


def _offer_prompts(shell: Shell, tab: gr.Tab, offered: gr.HTML) -> None:
    def go(desk: Desk, prompts: Any, evt: gr.EventData) -> list[Any]:
        return [pressed(desk, prompts, evt), gr.Tabs(selected="create")]

    def fill(desk: Desk) -> list[str]:
        return example_prompts()

    prompt = next((block for block in shell.page.blocks.values() if getattr(block, "elem_id", None) == _PROMPT), None)
    shell.refresh(tab, fill, None, offered)
    if prompt is not None:
        shell.on(offered.select, go, offered, [prompt, shell.tabs], quiet=True)


def _words() -> str:
    rows = {sort: ", ".join(words) for sort, words in known_words().items()}
    rows["Never seen"] = f"{', '.join(taught_words())}: a concept can teach these"
    return _table(rows)


def _table(rows: Mapping[str, str]) -> str:
    lines = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f'<table class="facts"><tbody>{lines}</tbody></table>'


_CSS = """
.facts, .facts tr { border: 0; }
.facts { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.facts th, .facts td { text-align: left; vertical-align: top; padding: 5px 8px; border: 0;
  border-top: 1px solid var(--border-color-primary); overflow-wrap: anywhere; font-size: var(--text-sm); }
.facts th { font-weight: 500; color: var(--body-text-color-subdued); width: 32%; min-width: 96px; }
"""
