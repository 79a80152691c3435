"""Several adapters made into one file, each with its strength, to be drawn with or given away as one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spectral_diffusion.errors import InputError
from spectral_diffusion.names import slug
from spectral_diffusion.studio.desk import Desk
from spectral_diffusion.studio.drawing import titles
from spectral_diffusion.studio.parts.cards import Ticked
from spectral_diffusion.workspace import create_new


def suggested_name(desk: Desk, chosen: Sequence[Ticked]) -> str:
    """A name for the fusion of these files."""
    summaries = {summary.file_name: summary for summary in desk.adapters()}
    return slug("_".join(titles(summaries[item.id]) for item in chosen if item.id in summaries), otherwise="")


def write_fused(desk: Desk, chosen: Sequence[Ticked], name: Any) -> Path:
    """Fuse adapter files into a new one among the adapters.

    Args:
        desk: Whose.
        chosen: The files with their strengths.
        name: Of the new file; a file name is made of it.

    Returns:
        The file.

    Raises:
        InputError: There are not two; they cannot be fused; the name is none, or taken; or it cannot be written.
    """
    if len(chosen) < 2:
        raise InputError("a fused file needs two adapters or more", "tick another one")
    made = slug(str(name or "").removesuffix(".safetensors"), otherwise="")
    if not made:
        raise InputError("the fused file has no name", "write one, such as: all together")
    path = desk.workspace.adapters / f"{made}.safetensors"
    names = {part.name for summary in desk.adapters() for part in summary.parts}
    if made in names or (desk.workspace.concepts / made).exists():
        # A training of that concept would write over it.
        raise InputError(f"{made} is the name of a concept, whose own adapter goes by it", "choose another name")
    fusion = desk.studio.fuser.fuse([(desk.adapter_path(item.id), item.strength) for item in chosen])
    if not create_new(path):
        raise InputError(f"there is a file {path.name} already", "choose another name")
    try:
        fusion.fused.save(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path
