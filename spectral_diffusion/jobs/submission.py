"""From what a person named to a job that stands alone: photographs, adapters and pictures are kept with it.

Whatever happens to the person's files after that, the job does what was asked when it was queued.
"""

import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from spectral_diffusion.adapters.base import refuse_slot
from spectral_diffusion.archives import unpack
from spectral_diffusion.config import Config
from spectral_diffusion.diffusion.dataset import MASK_SUFFIX, Concept, load_concept
from spectral_diffusion.diffusion.prompts import unknown_tokens
from spectral_diffusion.diffusion.wording import SETTINGS_FILE, settings_text
from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import FusedAdapter, fuse_files, load_fused
from spectral_diffusion.images import read_image
from spectral_diffusion.jobs.adapter_set import AdapterSet
from spectral_diffusion.jobs.inputs import AdapterInput, ConceptInput, Fusing, ImageInput
from spectral_diffusion.jobs.specs import (
    DemoSpec,
    DescribeSpec,
    FuseSpec,
    GenerateSpec,
    GridCell,
    GridSpec,
    ScoreSpec,
    TrainSpec,
    build_part,
    build_spec,
    place_of_base,
)
from spectral_diffusion.jobs.store import Store
from spectral_diffusion.workspace import Workspace


def train_spec(
    store: Store,
    workspace: Workspace,
    config: Config,
    concepts: Sequence[Concept],
    *,
    slot: int | Literal["auto"] = "auto",
    out: Path | None = None,
) -> TrainSpec:
    """A training as a job: the concepts and the recipe are kept as they are now.

    Args:
        store: Where jobs keep their files.
        workspace: Whose ledger says which columns are free, and whose adapters they become.
        config: The recipe.
        concepts: What to learn.
        slot: As for `train_concepts`.
        out: Folder of the adapter files; by default the workspace's.

    Raises:
        InputError: Two concepts have one name; `out` is outside the workspace; a slot for a method without columns; or
            the store cannot be written to.
    """
    refuse_slot(config.training.method, slot)
    place = store.place(workspace, out or workspace.adapters)
    return build_spec(
        "train",
        concepts=keep_concepts(store, concepts),
        config=_recipe(config),
        slot=slot,
        home=store.home(workspace),
        out=place,
    )


def fuse_spec(
    store: Store, workspace: Workspace, files: Sequence[tuple[Path, float]], out: Path, **rules: Any
) -> FuseSpec:
    """A fusion as a job.

    Args:
        store, workspace: As for `train_spec`.
        files: Adapter files with their strengths.
        out: The file to write.
        rules: How they go together, as for `fusion.fuse_files`. What could not be fused is told now.

    Raises:
        InputError: See `fuse_files` and `train_spec`.
    """
    fuse_files(files, **rules)
    place = store.place(workspace, out)
    return build_spec("fuse", fusing=_keep_files(store, files, rules), out=place)


def fusing_of(store: Store, files: Sequence[tuple[Path, float]], **rules: Any) -> Fusing:
    """Adapters and how they go together, kept as they are; other strengths of the same files keep nothing new.

    Args:
        store: As for `train_spec`.
        files: Adapter files with their strengths; none is no adapter.
        rules: As for `fusion.fuse_files`.

    Raises:
        InputError: They cannot be fused, see `fuse_files`; or the store cannot be written to.
    """
    if files:
        fuse_files(files, **rules)
    return _keep_files(store, files, rules)


def generate_spec(
    store: Store,
    workspace: Workspace,
    base: str,
    fused: FusedAdapter | Fusing | None,
    *,
    allow_other_base: bool = False,
    out: Path | None = None,
    **values: Any,
) -> GenerateSpec:
    """Pictures as a job.

    Args:
        store, workspace: As for `train_spec`.
        base: The model, by its name.
        fused: The concepts, with strengths and renamed tokens; or their files, see `fusing_of`.
        allow_other_base: As for `generate`.
        out: Folder of the pictures; by default the workspace's.
        values: Prompt, seed and all else that `GenerateSpec` holds.

    Raises:
        InputError: A value is out of bounds; or see `train_spec`.
    """
    return build_spec(
        "generate",
        base=place_of_base(base),
        fusing=_keep_fused(store, fused, allow_other_base),
        out=store.place(workspace, out or workspace.images),
        **values,
    )


def grid_spec(
    store: Store,
    workspace: Workspace,
    base: str,
    files: Sequence[tuple[Path, float]],
    cells: Sequence[GridCell | Mapping[str, Any]],
    *,
    columns: int,
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    heading: str = "",
    out: Path | None = None,
    **rules: Any,
) -> GridSpec:
    """Pictures of different settings and one sheet of them, as a job.

    Args:
        store, workspace: As for `train_spec`.
        base: The model, by its name.
        files: Adapter files, with the strengths of cells that name none.
        cells: The pictures, row by row, as `GridCell` or its values. Adapters that share no cell need not go together.
        columns, column_labels, row_labels, heading: See `GridSpec`.
        out: Folder of the pictures and the sheet; by default the workspace's.
        rules: How the adapters go together, as for `fusing_of`.

    Raises:
        InputError: A value is out of bounds; adapters of a cell cannot be fused; a prompt names a token that none of
            its cell's adapters has; or see `train_spec`.
    """
    place = store.place(workspace, out or workspace.images)
    adapters = AdapterSet([load_fused(path).parts for path, _ in files], **rules)
    spec: GridSpec = build_spec(
        "grid",
        base=place_of_base(base),
        fusing=_keep_files(store, files, rules),
        cells=[cell.model_dump() if isinstance(cell, GridCell) else dict(cell) for cell in cells],
        columns=columns,
        column_labels=tuple(column_labels),
        row_labels=tuple(row_labels),
        heading=heading,
        out=place,
    )
    for number, cell in enumerate(spec.cells, start=1):
        fused = adapters.fused(spec.strengths_of(cell))
        known = tuple(fused.tokens) if fused is not None else ()
        for unknown in unknown_tokens(cell.prompt, known)[:1]:
            raise InputError(
                f"the prompt of picture {number} names {unknown}, which none of its adapters provides",
                f"use {', '.join(known)}, or plain words" if known else "give it an adapter, or use plain words",
            )
    return spec


def describe_spec(config: Config) -> DescribeSpec:
    """Finding out what there is to know of a base and a recipe, as a job."""
    return build_spec("describe", config=_recipe(config))


def score_spec(
    store: Store, workspace: Workspace, images: Sequence[Path], references: Sequence[Concept] = (), **values: Any
) -> ScoreSpec:
    """Scoring as a job.

    Args:
        store, workspace: As for `train_spec`.
        images: The pictures.
        references: The concepts to compare them with.
        values: `prompt`, `trials` and `scorer`, as for `score_pictures`.

    Raises:
        InputError: A picture cannot be read; or see `train_spec`.
    """
    for path in images:
        read_image(path)
    kept = tuple(ImageInput(blob=store.add_blob(path), name=path.name) for path in images)
    place = store.place(workspace, workspace.root / "scores")
    return build_spec("score", images=kept, references=keep_concepts(store, references), out=place, **values)


def demo_spec(store: Store, workspace: Workspace, config: Config, seed: int, out: Path) -> DemoSpec:
    """The demo as a job; arguments as for `train_spec` and `run_demo`.

    Raises:
        InputError: `out` is outside the workspace.
    """
    return build_spec("demo", config=config.model_dump(mode="json"), seed=seed, out=store.place(workspace, out))


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
        _add(archive, SETTINGS_FILE, settings_text(settings).encode())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # Photographs are compressed already, and a time of day would make every copy another file.
    archive.writestr(zipfile.ZipInfo(name), content)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _recipe(config: Config) -> dict[str, Any]:
    return {**config.model_dump(mode="json"), "base": place_of_base(config.base)}


def _keep_files(store: Store, files: Sequence[tuple[Path, float]], rules: Mapping[str, Any]) -> Fusing:
    """Keep adapter files as they are.

    Raises:
        InputError: A strength is out of bounds, or the store cannot be written to.
    """
    adapters = [{"blob": store.add_blob(path), "name": path.name, "strength": strength} for path, strength in files]
    return build_part(Fusing, adapters=adapters, **{rule: value for rule, value in rules.items() if value is not None})


def _keep_fused(store: Store, fused: FusedAdapter | Fusing | None, allow_other_base: bool) -> Fusing:
    """Keep concepts that are fused already, with their strengths and renamed tokens, as one file.

    Raises:
        InputError: The store cannot be written to.
    """
    if fused is None:
        return Fusing()
    if isinstance(fused, Fusing):
        return fused.model_copy(update={"allow_other_base": fused.allow_other_base or allow_other_base})
    with tempfile.TemporaryDirectory(prefix="spectral-diffusion-") as folder:
        path = Path(folder) / "fused.safetensors"
        fused.save(path)
        blob = store.add_blob(path)
    names = "+".join(part.adapter.name for part in fused.parts)[:255]
    return Fusing(adapters=(AdapterInput(blob=blob, name=names),), allow_other_base=allow_other_base)
