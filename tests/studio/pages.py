"""The pages that the battery is run against."""

from pathlib import Path

import gradio as gr

from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.queue import JobQueue
from spectral_diffusion.jobs.registry import Registry
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.studio.guard.grants import Grants
from spectral_diffusion.studio.page import build_page
from spectral_diffusion.studio.studio import Studio
from spectral_diffusion.workspace import Workspace
from tests.studio.serving import PageMaker, small_page


def make_studio(grants: Grants, folder: Path, *, has_accounts: bool = True) -> Studio:
    """A studio in a folder, with a queue that nobody works on."""
    workspace = Workspace(folder)
    queue = JobQueue(Database.locate(workspace), Store(str(folder)))
    queue.database.prepare()
    Registry(queue.database).prepare()
    return Studio(workspace, queue, grants, has_accounts=has_accounts)


def whole_page(grants: Grants, folder: Path) -> gr.Blocks:
    """The studio's own page."""
    return build_page(make_studio(grants, folder)).blocks


PAGES: dict[str, PageMaker] = {"small": small_page, "whole": whole_page}
