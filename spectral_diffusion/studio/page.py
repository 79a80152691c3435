"""The page: its screens in the order of a concept's way, and the one that a newcomer sees first."""

import html
import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import gradio as gr

from spectral_diffusion import __version__
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.look import CSS, theme
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.studio.studio import Studio

TITLE = "spectral-diffusion"
FIRST = "create"
SCREENS = ("concepts", "slots", "train", "create", "score", "files", "model")
"""In the order of a concept's way; each is a file of this folder."""


class Page(NamedTuple):
    """A page, and the arguments of `build_app` that make it look as it should."""

    blocks: gr.Blocks
    look: dict[str, Any]


def build_page(studio: Studio, screens: Sequence[str] = SCREENS) -> Page:
    """The studio's page, ready to be served.

    Args:
        studio: Whose page it is.
        screens: Which of them.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        masthead = gr.HTML(_masthead(None), elem_id="masthead", js_on_load=None)
        # Whatever else were among the tabs, the browser would count as one of them.
        to_score, to_create, to_train = gr.State([]), gr.State([]), gr.State([])
        with gr.Tabs(selected=FIRST, overflow_behavior="wrap", elem_id="screens") as tabs:
            shell = Shell(studio, page, tabs, to_score=to_score, to_create=to_create, to_train=to_train)
            for name in screens:
                with gr.Tab(name.capitalize(), id=name, elem_id=f"screen-{name}") as tab:
                    importlib.import_module(f"spectral_diffusion.studio.{name}").build(shell, tab)
        if studio.has_accounts:
            shell.on(page.load, lambda desk: _masthead(desk), None, masthead, quiet=True)
    page.queue(max_size=1000, default_concurrency_limit=16)
    return Page(page, {"theme": theme(), "css": CSS, "head": shell.script()})


def _masthead(desk: Desk | None) -> str:
    leave = ""
    if desk is not None and desk.user:
        leave = (
            f'<form method="post" action="/logout"><span>{html.escape(desk.user)}</span> '
            '<button type="submit">Log out</button></form>'
        )
    return (
        f'<div class="masthead"><h1>{TITLE}</h1>'
        f"<p>your things, together in one picture</p>{leave}</div><!-- {__version__} -->"
    )
