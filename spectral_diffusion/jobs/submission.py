"""From what a person named to a job that stands alone: photographs, adapters and pictures are kept with it.

Whatever happens to the person's files after that, the job does what was asked when it was queued.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from spectral_diffusion.config import DEFAULT_BASE, Config
from spectral_diffusion.diffusion.dataset import MASK_SUFFIX, Concept
from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import FusedAdapter
from spectral_diffusion.images import save_png
from spectral_diffusion.jobs.specs import AdapterInput, Fusing, ImageInput
from spectral_diffusion.jobs.store import JobFolder, Store
from spectral_diffusion.workspace import write_atomically


def keep_concepts(folder: JobFolder, concepts: Sequence[Concept]) -> tuple[str, ...]:
    """Write concepts into a job's `input/` as they are trained on, upright and without metadata; return their names.

    Raises:
        InputError: Two have one name, or the place cannot be written to.
    """
    names = tuple(concept.name for concept in concepts)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two concepts have the name {twice}", "give each its own folder name")
    for concept in concepts:
        place = folder.input / concept.name
        for number, photograph in enumerate(concept.photographs):
            stem = f"{number:04d}"
            save_png(photograph.image, place / f"{stem}.png")
            if photograph.caption is not None:
                _write_text(place / f"{stem}.txt", photograph.caption)
            if photograph.mask is not None:
                grey = (photograph.mask * 255).round().byte().numpy()
                save_png(Image.fromarray(grey), place / f"{stem}{MASK_SUFFIX}")
        settings = {"token": concept.token, "class_word": concept.class_word, "description": concept.description}
        _write_text(place / "concept.toml", "".join(f"{key} = {_toml(value)}\n" for key, value in settings.items()))
    return names


def keep_adapters(store: Store, files: Sequence[tuple[Path, float]]) -> tuple[AdapterInput, ...]:
    """Keep adapter files with their strengths.

    Raises:
        InputError: A file cannot be read, or the store not be written to.
    """
    return tuple(AdapterInput(blob=store.add_blob(path), name=path.name, strength=strength) for path, strength in files)


def keep_images(store: Store, paths: Sequence[Path]) -> tuple[ImageInput, ...]:
    """Keep pictures.

    Raises:
        InputError: A file cannot be read, or the store not be written to.
    """
    return tuple(ImageInput(blob=store.add_blob(path), name=path.name) for path in paths)


def keep_fused(store: Store, folder: JobFolder, fused: FusedAdapter | None, allow_other_base: bool) -> Fusing:
    """Keep concepts that are fused already, with their strengths and renamed tokens, as one file.

    Raises:
        InputError: The store cannot be written to.
    """
    if fused is None:
        return Fusing()
    path = folder.path / ".fused.safetensors"
    try:
        fused.save(path)
        blob = store.add_blob(path)
    finally:
        path.unlink(missing_ok=True)
    names = "+".join(part.adapter.name for part in fused.parts)[:255]
    return Fusing(adapters=(AdapterInput(blob=blob, name=names),), allow_other_base=allow_other_base)


def place_of_base(name: str) -> str:
    """A base's name as a worker elsewhere in the file system finds it."""
    return str(Path(name).resolve()) if Path(name).is_dir() and name != DEFAULT_BASE else name


def adapter_files(store: Store, fusing: Fusing) -> list[tuple[Path, float]]:
    """The kept files of adapters, with their strengths, as `fuse_files` takes them.

    Raises:
        InputError: One is gone.
    """
    return [(store.blob(adapter.blob), adapter.strength) for adapter in fusing.adapters]


def plain_config(config: Config) -> dict[str, object]:
    """A recipe as plain values for JSON."""
    return config.model_dump(mode="json")


def _write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _toml(text: str) -> str:
    # JSON's strings are TOML's, but for surrogates in escapes and for the one control character that JSON lets through.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
