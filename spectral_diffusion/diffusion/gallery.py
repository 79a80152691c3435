"""The concepts of a workspace and their photographs, as screens list them: quickly, and whatever is in the folders."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from spectral_diffusion.diffusion.concept_folder import (
    caption_path,
    concept_names,
    find_concept,
    mask_path,
    photographs,
)
from spectral_diffusion.diffusion.dataset import photograph_paths
from spectral_diffusion.diffusion.previews import Preview, read_previews, thumbnail
from spectral_diffusion.diffusion.traces import read_size
from spectral_diffusion.diffusion.verdicts import Verdict, judge_photographs
from spectral_diffusion.diffusion.wording import (
    check_inside,
    check_settings,
    concept_name,
    read_caption,
    read_settings,
)
from spectral_diffusion.errors import InputError
from spectral_diffusion.names import printable
from spectral_diffusion.workspace import Workspace

__all__ = ["ConceptSummary", "PhotographSummary", "judge_concept", "list_concepts", "list_photographs", "thumbnail"]


@dataclass(frozen=True)
class ConceptSummary:
    """A concept folder in a line.

    Args:
        folder: Its name, by which all changes are asked for.
        name: Of the concept, and of its adapter.
        token, class_word, description: What it is called.
        count: Of photographs.
        cover: The first of them.
        has_adapter: Whether the workspace holds an adapter of that name.
        notes: What a person should know, such as another concept with the same token.
        fault: Why it cannot be trained on, as far as can be seen without decoding a photograph, or nothing.
    """

    folder: str
    name: str
    token: str = ""
    class_word: str = ""
    description: str = ""
    count: int = 0
    cover: Path | None = None
    has_adapter: bool = False
    notes: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class PhotographSummary:
    """A photograph in a line.

    Args:
        name: Of its file, by which all changes are asked for.
        path: Its file.
        width_px, height_px: Its size, upright; 0 where it cannot be read.
        caption: The text beside it.
        mask: The file of its mask.
        fault: Why it cannot be trained on, as far as its header shows, or nothing.
    """

    name: str
    path: Path
    width_px: int = 0
    height_px: int = 0
    caption: str = ""
    mask: Path | None = None
    fault: str = ""


def list_concepts(workspace: Workspace) -> list[ConceptSummary]:
    """All concept folders of a workspace by name; no photograph is decoded, and a broken folder hides no other.

    Raises:
        InputError: The workspace cannot be read.
    """
    found = [_summarize(workspace, name) for name in concept_names(workspace)]
    held: dict[str, str] = {}
    listed = []
    for summary in found:
        first = held.setdefault(summary.token, summary.folder) if summary.token else summary.folder
        note = f"{first} has the token {summary.token} too: change one of them to draw both together"
        listed.append(summary if first == summary.folder else _noted(summary, note))
    return listed


def list_photographs(workspace: Workspace, concept: str) -> list[PhotographSummary]:
    """The photographs of a concept by name, with their captions; only headers are read.

    Raises:
        InputError: There is no such concept, or its folder cannot be read.
    """
    folder = find_concept(workspace, concept)
    return [_looked_at(path) for path in photographs(folder)]


def judge_concept(workspace: Workspace, concept: str, resolution_px: int) -> dict[str, Verdict]:
    """Judge the photographs of a concept that can be read; each is looked at once in its life.

    Raises:
        InputError: There is no such concept, or its folder cannot be read.
    """
    paths = photographs(find_concept(workspace, concept))
    previews = zip(paths, read_previews(paths), strict=True)
    return judge_photographs(
        {path.name: found.measure for path, found in previews if isinstance(found, Preview)}, resolution_px
    )


def _summarize(workspace: Workspace, name: str) -> ConceptSummary:
    folder = workspace.concepts / name
    known: dict = {"folder": name, "name": printable(name)}
    try:
        paths = photographs(folder)
        known |= {"count": len(paths), "cover": paths[0] if paths else None}
        known["name"] = concept_name(name)
        known["has_adapter"] = (workspace.adapters / f"{known['name']}.safetensors").is_file()
        settings = read_settings(folder, known["name"])
        check_settings(known["name"], **settings)
        known |= settings
        if paths:
            photograph_paths(folder)
            for path in paths:
                check_inside(path)
    except InputError as error:
        known["fault"] = str(error).replace(printable(str(folder)), printable(name))
    return ConceptSummary(**known)


def _noted(summary: ConceptSummary, note: str) -> ConceptSummary:
    return replace(summary, notes=(*summary.notes, note))


def _looked_at(path: Path) -> PhotographSummary:
    known: dict = {"name": path.name, "path": path}
    try:
        check_inside(path)
        known["width_px"], known["height_px"] = size_px = read_size(path)
        known["caption"] = read_caption(caption_path(path)) or ""
        if check_inside(mask_path(path)):
            known["mask"] = mask_path(path)
            width_px, height_px = read_size(mask_path(path))
            if (width_px, height_px) != size_px:
                raise InputError(
                    f"its mask is {width_px} x {height_px} pixels and the photograph {size_px[0]} x {size_px[1]}",
                    "paint it anew or remove it",
                )
    except InputError as error:
        known["fault"] = str(error).replace(printable(f"{path.parent}{os.sep}"), "")
    return PhotographSummary(**known)
