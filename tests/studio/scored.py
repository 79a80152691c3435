"""A desk with concepts and pictures to score: pictures that tell what they were drawn from, without drawing them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from spectral_diffusion.config import load_config
from spectral_diffusion.diffusion.dataset import load_concept
from spectral_diffusion.images import save_png
from spectral_diffusion.jobs.job_folder import folder_name
from spectral_diffusion.jobs.queue import Job
from spectral_diffusion.jobs.submission import train_spec
from spectral_diffusion.studio.desk import Desk
from tests.command_line import write_concept
from tests.studio.desks import desk_in, told_settings

CONCEPTS = ("octo", "shelly")


@contextmanager
def desk_with_concepts(root: Path) -> Iterator[Desk]:
    """A desk with two concepts, without samples and without a worker."""
    write_concepts(root)
    with desk_in(root) as desk:
        yield desk


def write_concepts(root: Path) -> None:
    """Two concepts in a workspace."""
    for number, name in enumerate(CONCEPTS):
        write_concept(root / "concepts" / name, "dog", number)


def drawn(desk: Desk, prompt: str, seed: int, *concepts: str, base: str = "toybox") -> str:
    """A picture in the person's workspace that tells this of itself; its name."""
    records = [
        {"name": name, "sha256": "a" * 64, "tokens": (f"<{name}>",), "strength": 1.0, "factor_scale": 1.0}
        for name in concepts
    ]
    settings = told_settings(prompt=prompt, seed=seed, width_px=96, base=base, adapters=records)
    image = Image.effect_noise((96, 64), 60).convert("RGB")
    image.paste((seed * 37 % 256, seed * 91 % 256, seed % 256), (0, 0, 48, 64))
    path = desk.workspace.images / f"{settings.file_stem}.png"
    save_png(image, path, settings.to_png_text())
    return path.name


def with_samples(desk: Desk, steps: tuple[int, ...], *concepts: str) -> Job:
    """A training of theirs that drew a sample of each concept at these steps and was cancelled then."""
    found = [load_concept(desk.workspace.concepts / name) for name in concepts]
    job = desk.submit(lambda store: train_spec(store, desk.workspace, load_config(), found))
    desk.studio.queue.cancel(job.id)
    folder = desk.studio.queue.store.folder
    assert folder is not None
    for name in concepts:
        for step in steps:
            image = Image.new("RGB", (64, 64), (step % 256, len(name), 99))
            save_png(image, folder / folder_name(job.id) / "samples" / name / f"step_{step:06d}_0.png")
    return desk.job(job.id)
