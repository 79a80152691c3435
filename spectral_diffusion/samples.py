"""The sample concepts with adapters that are trained already: into a new workspace, and made again by one command.

    python -m spectral_diffusion.samples --out concepts

It trains `<octo>`, `<shelly>` and `<spot>` in slots 0, 1 and 2 by the recipe of toybox with the changes below, and
writes each beside its photographs, `NAME/NAME.safetensors` in float16. On one CPU, with one number of threads, the
same seed gives the same bytes; elsewhere they differ in rounding. `docs/findings.md` tells how the seed was chosen.
"""

import argparse
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.errors import InputError, SlotError
from spectral_diffusion.ledger import Claim, Ledger
from spectral_diffusion.reading import open_file
from spectral_diffusion.workspace import (
    SAMPLES,
    STALE_SECONDS,
    Workspace,
    check_writable,
    sample_concepts,
    sync_folder,
    write_atomically,
)

if TYPE_CHECKING:
    from spectral_diffusion.diffusion.trainer import StepReport

SEED = 14
STEPS = 250
RECIPE = {"training.learning_rates.unet": 1e-3, "training.cutmix_wide_probability": 0.3}
"""What else is other than in the recipe of toybox, which is made for a minute a concept: half the rate for more steps,
and three steps of ten on wide pictures."""
SIZE_LIMIT_BYTES = 2**20
"""Of one adapter that travels with the package, and of each of its photographs."""
_CONCEPT_SUFFIXES = (".png", ".txt", ".toml")
_STAGED = re.compile(r"\..*\.[0-9a-f]{16}\.new")


@dataclass
class SamplesAdded:
    """What a workspace got.

    Args:
        concepts: Names of the samples whose photographs are there now.
        adapters: Names of those whose adapters are.
        left_out: What was not added and why, a line each.
    """

    concepts: list[str] = field(default_factory=list)
    adapters: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def sample_adapters() -> dict[str, Path]:
    """The adapter files that travel with the package, by name of the sample.

    Raises:
        InputError: The installation lacks its folder of concepts.
    """
    files = {name: sample_concepts() / name / f"{name}.safetensors" for name in SAMPLES}
    return {name: path for name, path in files.items() if path.is_file()}


def is_new(workspace: Workspace) -> bool:
    """Whether nothing was ever trained here: there is no folder of adapters and no ledger."""
    return not os.path.lexists(workspace.adapters) and not os.path.lexists(workspace.ledger_path)


def add_samples(workspace: Workspace) -> SamplesAdded:
    """Copy the sample concepts and their adapters into a workspace, each whole or not at all, and claim their columns.

    Whatever has the name of a sample there stays as it is, and so do the columns of others: the sample is left out.
    Calling it again adds what was left out and has room now.

    Raises:
        InputError: The workspace cannot be written to, or its ledger is damaged.
        DiskFullError: The disk is full. What was added before is whole.
    """
    added, ledger, adapters = SamplesAdded(), Ledger(workspace.ledger_path), sample_adapters()
    check_writable(workspace.concepts)
    _sweep(workspace.concepts)
    for name in SAMPLES:
        folder = workspace.concepts / name
        photographs = _files(sample_concepts() / name)
        if not os.path.lexists(folder):
            _copy_folder(photographs, folder)
            added.concepts.append(name)
        elif not _holds(folder, photographs):
            added.left_out.append(f"{name}: {folder} is there already and is not the sample")
            continue
        if name not in adapters:
            added.left_out.append(f"the adapter of {name}: this installation has none")
        elif why := _add_adapter(workspace, ledger, name, adapters[name]):
            added.left_out.append(f"the adapter of {name}: {why}")
        else:
            added.adapters.append(name)
    return added


def _add_adapter(workspace: Workspace, ledger: Ledger, name: str, source: Path) -> str:
    """Add one adapter. Its columns come first: a file whose columns others may take would be worse than none.

    Returns:
        Why it was left out, or nothing.
    """
    path = workspace.adapters / source.name
    if os.path.lexists(path):
        return f"{path} is there already"
    claim, content = Claim.of(Adapter.load(source)), _read(source)
    assert claim is not None, "samples hold columns"
    own = next((held for held in ledger.holders() if held.concept == name and held.on_base(claim.fingerprints)), None)
    if own is not None and own.slot != claim.slot:
        return f"another {own} is in the ledger"
    try:
        ledger.claim(
            claim.base,
            claim.fingerprints,
            name,
            claim.width,
            claim.capacity or 1,
            claim.start // claim.width,
            claim.token,
        )
    except SlotError as error:
        return error.what
    try:
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
    except InputError:
        ledger.give_back(name, claim.fingerprints, own)
        raise
    return ""


def _files(folder: Path) -> dict[str, bytes]:
    """The concept without its adapter: ordinary files that lie in the folder itself, by name.

    Raises:
        InputError: It is not there.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    except OSError as error:
        raise InputError(
            f"this installation lacks the sample {folder.name}", "install again: pip install --force-reinstall ."
        ) from error
    return {name: _read(folder / name) for name in names if Path(name).suffix in _CONCEPT_SUFFIXES}


def _read(path: Path) -> bytes:
    with open_file(path, SIZE_LIMIT_BYTES) as file:
        return file.read(SIZE_LIMIT_BYTES)


def _holds(folder: Path, files: dict[str, bytes]) -> bool:
    """Whether a folder is this concept, as far as its files tell."""
    try:
        return all(_read(folder / name) == content for name, content in files.items())
    except InputError:
        return False


def _copy_folder(files: dict[str, bytes], folder: Path) -> None:
    """Make a folder of these files: it appears with all of them or not at all."""
    staged = folder.with_name(f".{folder.name}.{os.urandom(8).hex()}.new")
    try:
        for name, content in files.items():
            write_atomically(staged / name, lambda temporary, content=content: temporary.write_bytes(content))
        os.rename(staged, folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}", "try again, or choose another") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what `_copy_folder` left where its process was killed while it wrote."""
    for place in folder.iterdir() if folder.is_dir() else ():
        staged = _STAGED.fullmatch(place.name) and place.is_dir() and not place.is_symlink()
        if staged and time.time() - place.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(place, ignore_errors=True)


def train_samples(
    out: Path,
    *,
    seed: int = SEED,
    steps: int = STEPS,
    device: str = "cpu",
    on_step: "Callable[[StepReport], None] | None" = None,
) -> Iterator[Path]:
    """Train each sample concept on toybox and write `out/NAME/NAME.safetensors` in float16.

    Args:
        out: Folder of the concepts.
        seed, steps: Of the training.
        device: Where to compute.
        on_step: Told of every training step.

    Yields:
        Each file, when it is written.

    Raises:
        InputError: The folder cannot be written to, a number is out of bounds, or there is no such device.
    """
    # Adding samples to a workspace shall not load what training needs.
    from spectral_diffusion.config import load_config
    from spectral_diffusion.diffusion.base import load_base
    from spectral_diffusion.diffusion.dataset import load_concept
    from spectral_diffusion.diffusion.trainer import train_concepts

    config = load_config().override(
        {**RECIPE, "training.seed": seed, "training.steps": steps, "training.checkpoint_every": 0}
    )
    check_writable(out)
    base = load_base(config.base, device=device)
    with tempfile.TemporaryDirectory(prefix="spectral-diffusion-") as folder:
        ledger = Ledger(Path(folder) / "ledger.json")
        for slot, name in enumerate(SAMPLES):
            concept = load_concept(sample_concepts() / name)
            (adapter,) = train_concepts(config, base, [concept], ledger, on_step, out=Path(folder), slot=slot)
            path = out / name / f"{name}.safetensors"
            adapter.save(path, dtype=torch.float16)
            yield path


def main() -> None:
    """Train all sample adapters and say what was written."""
    parser = argparse.ArgumentParser(description="Train the adapters that travel with the sample concepts.")
    parser.add_argument("--out", type=Path, default=Path("concepts"), help="folder of the concepts (default: concepts)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the training (default: {SEED})")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"a concept (default: {STEPS})")
    parser.add_argument("--device", default="cpu", help="where to compute (default: cpu)")
    options = parser.parse_args()
    begun = time.perf_counter()
    try:
        for path in train_samples(options.out, seed=options.seed, steps=options.steps, device=options.device):
            adapter, seconds = Adapter.load(path), time.perf_counter() - begun
            print(f"{path}: {adapter.slot}, {path.stat().st_size:,} bytes, after {seconds:.0f} s", flush=True)
    except InputError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
