"""The sample concepts, put back into a workspace that has lost them."""

import filecmp
import html
from contextlib import suppress

import gradio as gr

from spectral_diffusion.samples import add_samples, sample_adapters
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.workspace import SAMPLES


def put_back_samples(desk: Desk) -> None:
    """Add the samples and their adapters as far as they are gone; toasts tell what came back and what did not."""
    added = add_samples(desk.workspace)
    said = [f"{name} is back" for name in added.concepts]
    said += [f"the adapter of {name} is back" for name in added.adapters if name not in added.concepts]
    root = f"{desk.workspace.root}/"
    same = tuple(f"the adapter of {name}: " for name in SAMPLES if _has_sample(desk, name))
    left = [line.replace(root, "") for line in added.left_out if not line.startswith(same)]
    if said or not left:
        gr.Info(html.escape(f"{'; '.join(said)}." if said else "All of them are there."), duration=6)
    for line in left:
        gr.Warning(html.escape(line), duration=10)


def _has_sample(desk: Desk, name: str) -> bool:
    """Whether the adapter that travels with the program is the one that is there."""
    source = sample_adapters().get(name)
    with suppress(OSError):
        return source is not None and filecmp.cmp(source, desk.workspace.adapters / source.name, shallow=False)
    return False
