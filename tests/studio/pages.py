"""The pages that the battery is run against."""

from pathlib import Path

import gradio as gr

from spectral_diffusion.studio.guard.grants import Grants
from spectral_diffusion.studio.page import build_page
from tests.studio.desks import studio_in
from tests.studio.serving import PageMaker, small_page


def whole_page(grants: Grants, folder: Path) -> gr.Blocks:
    """The studio's own page."""
    return build_page(studio_in(folder, grants=grants, has_accounts=True, has_samples=True)).blocks


PAGES: dict[str, PageMaker] = {"small": small_page, "whole": whole_page}
