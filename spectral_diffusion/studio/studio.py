"""The studio as a whole: whose work lies where, and what all people in it share."""

import hashlib
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

from spectral_diffusion import __version__
from spectral_diffusion.config import DEFAULT_BASE, Config, load_config
from spectral_diffusion.diffusion.facts import BaseFacts
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.queue import Job, JobQueue
from spectral_diffusion.jobs.submission import describe_spec
from spectral_diffusion.names import slug
from spectral_diffusion.samples import add_samples, is_new
from spectral_diffusion.studio.fusing import Fuser
from spectral_diffusion.studio.guard.grants import Grants
from spectral_diffusion.trash import Trash
from spectral_diffusion.workspace import Workspace

USERS = "users"


@dataclass
class Studio:
    """What all people in the studio share.

    Args:
        root: The workspace. Without accounts it is everybody's; with accounts each has a folder of its own in it.
        queue: Where long work goes.
        grants: Which files who may see.
        base: Name of the model.
        has_accounts: Whether people log in.
        recipe: A TOML file with values to lay over the base's recipe; a base without one needs a complete file.
    """

    root: Workspace
    queue: JobQueue
    grants: Grants
    base: str = "toybox"
    has_accounts: bool = False
    recipe: Path | None = None
    fuser: Fuser = field(default_factory=Fuser)
    config: Config = field(init=False)
    _facts: BaseFacts | None = field(default=None, init=False)
    _seeded: dict[Path, threading.Lock] = field(default_factory=dict, init=False)
    _swept: dict[Path, date] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Raises: InputError: There is no recipe for the base."""
        self.config = load_config(self.recipe, self.base)

    def workspace_of(self, user: str | None) -> Workspace:
        """Where a person's work lies. A new one gets the sample concepts with their adapters; old trash goes for good.

        Raises:
            InputError: With accounts, nobody is named; or the workspace cannot be written to.
        """
        workspace = self.root
        if self.has_accounts:
            if not user or slug(user) != user:
                raise InputError("nobody is logged in", "log in again")
            workspace = Workspace(self.root.root / USERS / user)
        self._seed(workspace)
        return workspace

    def _seed(self, workspace: Workspace) -> None:
        """What a workspace needs on the first visit of a day."""
        if self._swept.get(workspace.root) == date.today():
            return
        with self._seeded.setdefault(workspace.root, threading.Lock()):
            if self._swept.get(workspace.root) == date.today():
                return
            if self.is_toybox and is_new(workspace):
                add_samples(workspace)
            # What cannot be thrown away today lies there tomorrow.
            with suppress(InputError):
                Trash(workspace).empty()
            self._swept[workspace.root] = date.today()

    @property
    def is_toybox(self) -> bool:
        """Whether the model is the embedded one, which the samples were trained on."""
        return self.base == DEFAULT_BASE

    def ask_for_facts(self, *, again: bool = False) -> Job:
        """Have a worker read the model, once for each model, version and day: machines are not always as busy.

        Args:
            again: Try again what failed.

        Raises:
            InputError: The queue cannot be used.
        """
        job = self.queue.submit(lambda store: describe_spec(self.config), key=self._facts_key)
        return self.queue.retry(job.id) if again and job.state in ("failed", "cancelled") else job

    @cached_property
    def _facts_key(self) -> str:
        index = Path(self.base) / "model_index.json"
        changed = index.stat().st_mtime_ns if index.is_file() else 0
        recipe = hashlib.sha256(self.config.model_dump_json().encode()).hexdigest()[:16]
        return f"describe {self.base[-80:]} {changed} {recipe} {__version__} {date.today()}"

    @property
    def facts(self) -> BaseFacts | None:
        """What is known about the model; None as long as no worker has read it."""
        if self._facts is None:
            with suppress(InputError):
                job = self.ask_for_facts()
                if job.state == "done" and job.result is not None:
                    self._facts = BaseFacts.model_validate(job.result["answer"])
        return self._facts

    def close(self) -> None:
        """Give the queue's connections back."""
        self.queue.close()
