"""`spectral-diffusion doctor`: what this machine has, what is missing and how to get it."""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from spectral_diffusion import __version__
from spectral_diffusion.cli import options
from spectral_diffusion.cli.console import answer, answering
from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import Workspace, cache_folder, packaged

_LIBRARIES = (
    "torch", "torchvision", "diffusers", "transformers", "accelerate", "safetensors", "open_clip_torch", "numpy",
    "pillow", "opencv-python-headless", "dbos",
)  # fmt: skip

_BASE_FILES = (
    "model_index.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/tokenizer_config.json",
    "tokenizer/tokenizer.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "scheduler/scheduler_config.json",
)
_SCORER_FILES = ("open_clip_config.json", "open_clip_model.safetensors", "tokenizer_config.json", "tokenizer.json")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` says how to get what is missing."""

    name: str
    ok: bool
    detail: str
    remedy: str | None = None


@click.command(name="doctor", short_help="devices, versions, what is missing")
@options.workspace
@options.as_json
@options.debug
def command(workspace: Workspace, as_json: bool) -> None:
    """Devices, versions, caches, and what is missing and how to get it."""
    with answering(as_json):
        found = [*_software(), *_devices(), *_models(), *_folders(workspace), _queue(workspace)]
    width = max(len(finding.name) for finding in found)
    lines = []
    for finding in found:
        lines.append(f"{'ok     ' if finding.ok else 'missing'}  {finding.name.ljust(width)}  {finding.detail}")
        if finding.remedy:
            lines.append(f"{' ' * (11 + width)}-> {finding.remedy}")
    missing = [finding.name for finding in found if not finding.ok]
    lines.append(f"missing: {', '.join(missing)}" if missing else "everything is there")
    answer(as_json, {"version": __version__, "findings": [asdict(finding) for finding in found]}, lines)


def _software() -> Iterator[Finding]:
    import importlib.metadata

    yield Finding("spectral-diffusion", True, __version__)
    yield Finding("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for library in _LIBRARIES:
        try:
            yield Finding(library, True, importlib.metadata.version(library))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(library, False, "not installed", f"pip install {library}")
    try:
        import torchvision  # noqa: F401
    except Exception as error:  # a torchvision built for another torch fails in many ways
        yield Finding(
            "torch pair",
            False,
            f"torchvision does not fit this torch ({type(error).__name__})",
            "install a matching pair, for example: pip install torch==2.14.1 torchvision==0.29.1",
        )


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("cpu", True, f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding(f"cuda:{index}", True, f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        yield Finding("mps", True, "Apple GPU")
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        yield Finding("gpu", True, "none that torch can use; toybox does without")


def _models() -> Iterator[Finding]:
    from spectral_diffusion.diffusion.base import TOYBOX
    from spectral_diffusion.diffusion.scorer import DEFAULT_SCORER, TOYBOX_SCORER

    again = "pip install --force-reinstall spectral-diffusion"
    for name, folder, files in (
        ("base toybox", TOYBOX, _BASE_FILES),
        ("scorer toybox", TOYBOX_SCORER, _SCORER_FILES),
    ):
        faults = [fault for file in files for fault in _faults(folder, file)]
        yield Finding(name, not faults, "; ".join(faults) or _size(folder), again if faults else None)
    cached = _scorer_is_cached()
    yield Finding(
        f"scorer {DEFAULT_SCORER}",
        cached,
        "in the hub's cache" if cached else "not on this machine; bases other than toybox are scored with it",
        None if cached else "run `score --scorer ViT-B-32:openai` once with a network, or give ViT-B-32:FILE",
    )
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    yield Finding("hub", True, "offline (HF_HUB_OFFLINE is set)" if offline else "asked only when a hub id is named")


def _faults(folder: Path, file: str) -> Iterator[str]:
    """What is wrong with a file of a model: missing, or with an end that comes early. Weights may be in shards."""
    from safetensors import SafetensorError, safe_open

    index = f"{file}.index.json"
    try:
        if not (folder / file).is_file() and (folder / index).is_file():
            file = index
            for shard in sorted(set(json.loads((folder / index).read_text())["weight_map"].values())):
                yield from _faults(folder, f"{Path(file).parent}/{shard}")
        elif file.endswith(".safetensors"):
            with safe_open(folder / file, framework="pt"):
                pass
        elif file.endswith(".json"):
            json.loads((folder / file).read_text(encoding="utf-8"))
        elif not (folder / file).read_bytes():
            yield f"{file} is cut off or damaged"
    except FileNotFoundError:
        yield f"{file} is missing"
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        yield f"{file} is cut off or damaged"


def _scorer_is_cached() -> bool:
    from huggingface_hub import try_to_load_from_cache

    names = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    return any(isinstance(try_to_load_from_cache("timm/vit_base_patch32_clip_224.openai", name), str) for name in names)


def _folders(workspace: Workspace) -> Iterator[Finding]:
    for name in ("concepts", "configs"):
        try:
            folder = packaged(name)
            yield Finding(f"sample {name}", True, ", ".join(sorted(entry.stem for entry in folder.iterdir())))
        except InputError as error:
            yield Finding(f"sample {name}", False, "not in this installation", error.remedy)
    adapters = len(list(workspace.adapters.glob("*.safetensors")))
    for name, folder, detail in (
        ("workspace", workspace.root.resolve(), f"adapters: {adapters}"),
        ("cache", cache_folder(), _size(cache_folder())),
    ):
        there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        writable = os.access(there, os.W_OK)
        free = f"{shutil.disk_usage(there).free / 2**30:.1f} GiB free"
        yield Finding(
            name,
            writable,
            f"{folder} ({detail}, {free}{'' if writable else ', read-only'})",
            None if writable else "choose a folder you may write to: --workspace or $SPECTRAL_DIFFUSION_CACHE",
        )


def _queue(workspace: Workspace) -> Finding:
    from spectral_diffusion.cli.queueing import open_queue

    try:
        with open_queue(workspace, None, None) as queue:
            if not queue.database.exists:
                return Finding("queue", True, "nothing was ever queued here")
            waiting = len(queue.jobs(open_only=True))
            workers = [worker for worker in queue.registry.workers() if worker.lives]
            idle = bool(waiting) and not workers
            return Finding(
                "queue",
                not idle,
                f"{queue.database} (jobs not yet ended: {waiting}, workers: {len(workers)})",
                "start a worker: spectral-diffusion worker" if idle else None,
            )
    except InputError as error:
        return Finding("queue", False, error.what, error.remedy)


def _size(folder: Path) -> str:
    return f"{sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) / 2**20:.1f} MiB"
