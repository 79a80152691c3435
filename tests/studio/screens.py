"""Screens without a browser, and what is uploaded to them."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.parts.uploads import Offer, Upload
from spectral_diffusion.studio.shell import Shell
from spectral_diffusion.studio.studio import Studio
from spectral_diffusion.workspace import Workspace
from tests.command_line import write_concept

STATE = {"concept": None, "photograph": None, "undo": None}
"""Of the concepts screen when nobody has pressed anything."""


@dataclass
class Screen:
    """A screen without a browser: its functions are called as its events call them.

    Args:
        desk: Of the person.
        blocks: The page.
    """

    desk: Desk
    blocks: gr.Blocks

    def do(self, name: str, *values: Any, told: Any = None) -> Any:
        """What the event of this function gives; `told` is what a component of ours tells with it."""
        function = next(held.fn for held in self.blocks.fns.values() if held.fn and held.fn.__name__ == name)
        events = [] if told is None else [gr.EventData(None, told)]
        return function(gr.Request(username=self.desk.user), *values, *events)


def screen_of(studio: Studio, build: Any) -> Screen:
    """The page of one screen."""
    with gr.Blocks() as blocks, gr.Tabs() as tabs:
        shell = Shell(studio, blocks, tabs, gr.State([]), gr.State(None), gr.State([]))
        with gr.Tab("Screen") as tab:
            build(shell, tab)
    return Screen(Desk.of(studio, None), blocks)


def with_workspace(screen: Screen, root: Path) -> Screen:
    """The same page with another workspace: building one takes seconds."""
    studio = screen.desk.studio
    studio.root = Workspace(root)
    studio.root.adapters.mkdir(parents=True)
    write_concept(studio.root.concepts / "mug", "mug", 1)
    return Screen(Desk.of(studio, None), screen.blocks)


def sent(desk: Desk, name: str, content: bytes) -> Path:
    """An upload as Gradio keeps it."""
    folder = desk.studio.grants.folder / f"upload-{len(list(desk.studio.grants.folder.iterdir()))}"
    folder.mkdir()
    (folder / name).write_bytes(content)
    return folder / name


def picture(seed: int, size: tuple[int, int] = (96, 80), form: str = "PNG", **options: Any) -> bytes:
    """A photograph that no other seed gives."""
    image = Image.effect_noise(size, 90).convert("RGB")
    image.paste((seed * 37 % 256, seed * 91 % 256, seed % 256), (0, 0, size[0] // 2, size[1]))
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    """A zip; in names of its members `__` is a slash."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def offer_of(desk: Desk, **contents: bytes) -> Offer:
    """What was dropped at once; in names of the files `__` is a dot."""
    return Offer(tuple(Upload(sent(desk, name.replace("__", "."), content)) for name, content in contents.items()))
