"""What the screens share on one page: the tabs between them, what goes from one to another, and words on hover."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from spectral_diffusion.studio.events import event
from spectral_diffusion.studio.studio import Studio


@dataclass
class Shell:
    """A page being built.

    Args:
        studio: Whose page it is.
        page: The page.
        tabs: Its tabs, one a screen.
        to_score: Names of pictures that the score screen shall look at; or `{"job": id}` for a training's samples.
        to_create: File names of adapters that the create screen shall tick.
        to_train: Folders of concepts that the train screen shall tick.
    """

    studio: Studio
    page: gr.Blocks
    tabs: gr.Tabs
    to_score: gr.State
    to_create: gr.State
    to_train: gr.State
    hints: dict[str, str] = field(default_factory=dict)

    def hint(self, name: str, text: str) -> str:
        """An id for a component, and what hovering over it explains."""
        assert name not in self.hints, f"two components are called {name}"
        self.hints[name] = text
        return name

    def small_button(self, words: str, name: str, hint: str, **options: Any) -> gr.Button:
        """A small button with what hovering over it explains.

        Args:
            words: What stands on it.
            name, hint: As for `hint`.
            options: As for `gr.Button`.
        """
        return gr.Button(words, size="sm", elem_id=self.hint(name, hint), **options)

    def on(
        self,
        trigger: Callable[..., Any],
        function: Callable[..., Any],
        inputs: Any = None,
        outputs: Any = None,
        *,
        quiet: bool = False,
        **options: Any,
    ) -> Any:
        """Have a function of a desk answer an event of the page.

        Args:
            trigger: Such as `button.click`.
            function: See `events.event`.
            inputs, outputs: Components.
            quiet: Whether nothing shows that it runs, as for what runs by itself.
            options: As for Gradio's listeners.
        """
        settings: dict[str, Any] = {
            "api_visibility": "private",
            "show_progress": "hidden" if quiet else "minimal",
            "concurrency_limit": None,
            **options,
        }
        return trigger(event(self.studio, function), inputs, outputs, **settings)

    def offer(self, function: Callable[..., Any], name: str) -> None:
        """Have gradio_client call a function of a desk by this name; its parameters and answer are plain values."""
        gr.api(event(self.studio, function), api_name=name, concurrency_limit=None)

    def refresh(self, tab: gr.Tab, function: Callable[..., Any], inputs: Any = None, outputs: Any = None) -> Any:
        """Fill a screen whenever a person comes to it; Gradio selects the first tab when the page is opened, too.

        Returns:
            The event: what follows it is added with `then`.
        """
        return self.on(tab.select, function, inputs, outputs, quiet=True)

    def script(self) -> str:
        """The page's own script: what hovering explains."""
        texts = json.dumps(self.hints).replace("<", "\\u003c")
        return f"<script>(() => {{ const hints = {texts};\n{_HINTING}\n}})();</script>"


# Parts of the page come and go with tabs; whatever comes is explained.
_HINTING = """
const explain = () => {
  for (const [name, text] of Object.entries(hints)) {
    const node = document.getElementById(name);
    if (!node || node.title === text) continue;
    node.title = text;
    const kinds = 'input, textarea, [role=listbox]';
    const control = node.matches('button, input, textarea') ? node : node.querySelector(kinds);
    if (control && !control.getAttribute('aria-description')) control.setAttribute('aria-description', text);
  }
};
let waiting = false;
const soon = () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; explain(); }); } };
new MutationObserver(soon).observe(document, {childList: true, subtree: true});
"""
