"""Studios and desks without a server, a browser and a worker; and what may be known and lie about in them."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from spectral_diffusion.diffusion.facts import BaseFacts
from spectral_diffusion.diffusion.settings import GenerationSettings, library_versions
from spectral_diffusion.jobs.database import Database
from spectral_diffusion.jobs.queue import JobQueue
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.guard.grants import Grants
from spectral_diffusion.studio.studio import USERS, Studio
from spectral_diffusion.workspace import Workspace
from tests.adapters.making import FINGERPRINTS, make_adapter

PEOPLE = ("ada", "ben")
FACTS = BaseFacts(
    name="toybox",
    is_toybox=True,
    fingerprints={"unet": "a" * 64},
    native_size_px=128,
    latent_scale=4,
    dtype="float32",
    size_step_px=8,
    size_min_px=64,
    size_max_px=512,
    training_step_px=8,
    device="cpu",
    device_name="a processor",
    parameters={"unet": 10},
    weights_bytes=40,
    memory_free_bytes=10**9,
    memory_total_bytes=10**10,
    adapted_weights=4,
    narrowest=16,
    column_energy=(0.5, 0.25),
    batch_size=2,
    resolution_px=128,
    seconds_a_step=0.5,
    step_fits_memory=True,
    seconds_a_sampling_step=0.1,
    seconds_to_decode=0.1,
    seconds_to_encode=0.1,
    seconds_to_decompose=1.0,
)
IMAGINARY = FACTS.model_copy(
    update={
        "name": "imaginary",
        "is_toybox": False,
        "fingerprints": FINGERPRINTS,
        "adapted_weights": 2,
        "narrowest": 12,
        "column_energy": (0.3, 0.2, 0.1, 0.1, 0.05, 0.05, 0.02, 0.02, 0.01, 0.01),
    }
)
"""Of the imaginary base of the adapters' tests: six slots of rank 2."""


def studio_in(
    root: Path,
    *,
    grants: Grants | None = None,
    has_accounts: bool = False,
    has_samples: bool = False,
    facts: BaseFacts | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Studio:
    """A studio with a queue that nobody works on.

    Args:
        root: Its workspace.
        grants: Of another folder than `shown` in the workspace.
        has_accounts: Whether people log in.
        has_samples: Whether new workspaces get the sample concepts and their adapters.
        facts: What is known of the base.
        overrides: Of its recipe.
    """
    if grants is None:
        (root / "shown").mkdir(parents=True, exist_ok=True)
        grants = Grants(root / "shown")
    if not has_samples:
        # Where something was trained before, no samples are added.
        for place in (root, *(root / USERS / user for user in PEOPLE)):
            (place / "adapters").mkdir(parents=True, exist_ok=True)
    queue = JobQueue(Database(f"sqlite:///{root / 'jobs.sqlite'}"), Store(str(root)))
    studio = Studio(Workspace(root), queue, grants, has_accounts=has_accounts)
    studio.config = studio.config.override(overrides or {})
    studio._facts = facts
    return studio


@contextmanager
def desk_in(root: Path, user: str | None = None, **options: Any) -> Iterator[Desk]:
    """A desk in a studio of its own.

    Args:
        root: The workspace.
        user: Who it is; None where nobody logs in.
        options: As for `studio_in`.
    """
    with closing(studio_in(root, has_accounts=user is not None, **options)) as studio:
        yield Desk.of(studio, user)


@contextmanager
def desks_in(root: Path, **options: Any) -> Iterator[tuple[Desk, Desk]]:
    """The desks of Ada and Ben, who log into one studio."""
    with desk_in(root, PEOPLE[0], **options) as desk:
        yield desk, Desk.of(desk.studio, PEOPLE[1])


def write_adapters(folder: Path, **slots: int) -> list[Path]:
    """Adapter files of the imaginary base, each in the slot of that number."""
    paths = [folder / f"{name}.safetensors" for name in slots]
    for path, (name, number) in zip(paths, slots.items(), strict=True):
        make_adapter(name, number).save(path)
    return paths


def told_settings(**changes: Any) -> GenerationSettings:
    """What a picture may tell of itself."""
    told: dict[str, Any] = {
        "prompt": "a photo of <octo>",
        "negative_prompt": "",
        "seed": 3,
        "steps": 5,
        "guidance_scale": 2.0,
        "sampler": "dpm-solver++",
        "width_px": 64,
        "height_px": 64,
        "base": "toybox",
        "fingerprints": {},
        "device": "cpu",
        "dtype": "float32",
        "versions": library_versions(),
    }
    return GenerationSettings.checked(**{**told, **changes})
