"""From what a person named to a job that stands alone: photographs, adapters and pictures are kept with it.

Whatever happens to the person's files after that, the job does what was asked when it was queued.
"""

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from spectral_diffusion.archives import unpack
from spectral_diffusion.config import DEFAULT_BASE, Config
from spectral_diffusion.diffusion.dataset import MASK_SUFFIX, Concept, load_concept
from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import FusedAdapter
from spectral_diffusion.jobs.specs import AdapterInput, ConceptInput, Fusing, ImageInput
from spectral_diffusion.jobs.store import Store


def keep_concepts(store: Store, concepts: Sequence[Concept]) -> tuple[ConceptInput, ...]:
    """Keep concepts as they are trained on, upright and without metadata, each as one zip.

    Raises:
        InputError: Two have one name, or the store cannot be written to.
    """
    names = [concept.name for concept in concepts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two concepts have the name {twice}", "give each its own folder name")
    kept = []
    with tempfile.TemporaryDirectory(prefix="spectral-diffusion-") as folder:
        for concept in concepts:
            path = Path(folder) / "concept.zip"
            _pack(concept, path)
            kept.append(ConceptInput(blob=store.add_blob(path), name=concept.name))
    return tuple(kept)


@contextmanager
def kept_concepts(store: Store, inputs: Sequence[ConceptInput]) -> Iterator[list[Concept]]:
    """The kept concepts, equal to what was kept; their files are there as long as the context is.

    Raises:
        InputError: One is gone.
    """
    with tempfile.TemporaryDirectory(prefix="spectral-diffusion-") as folder:
        concepts = []
        for concept in inputs:
            place = Path(folder) / concept.name
            place.mkdir()
            unpack(store.blob(concept.blob), place, lambda name: True)
            concepts.append(load_concept(place))
        yield concepts


def _pack(concept: Concept, path: Path) -> None:
    """Write a concept as a zip; the same concept gives the same bytes."""
    settings = {"token": concept.token, "class_word": concept.class_word, "description": concept.description}
    with zipfile.ZipFile(path, "w") as archive:
        for number, photograph in enumerate(concept.photographs):
            stem = f"{number:04d}"
            _add(archive, f"{stem}.png", _png(photograph.image))
            if photograph.caption is not None:
                _add(archive, f"{stem}.txt", photograph.caption.encode())
            if photograph.mask is not None:
                grey = (photograph.mask * 255).round().byte().numpy()
                _add(archive, f"{stem}{MASK_SUFFIX}", _png(Image.fromarray(grey)))
        text = "".join(f"{key} = {_toml(value)}\n" for key, value in settings.items())
        _add(archive, "concept.toml", text.encode())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # Photographs are compressed already, and a time of day would make every copy another file.
    archive.writestr(zipfile.ZipInfo(name), content)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


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


def keep_fused(store: Store, fused: FusedAdapter | None, allow_other_base: bool) -> Fusing:
    """Keep concepts that are fused already, with their strengths and renamed tokens, as one file.

    Raises:
        InputError: The store cannot be written to.
    """
    if fused is None:
        return Fusing()
    with tempfile.TemporaryDirectory(prefix="spectral-diffusion-") as folder:
        path = Path(folder) / "fused.safetensors"
        fused.save(path)
        blob = store.add_blob(path)
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


def _toml(text: str) -> str:
    # JSON's strings are TOML's, but for surrogates in escapes and for the one control character that JSON lets through.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
