"""The adapters that a picture was drawn with, found again by their content."""

from pathlib import Path
from typing import TYPE_CHECKING

from spectral_diffusion.errors import InputError

if TYPE_CHECKING:
    from spectral_diffusion.adapters import Adapter
    from spectral_diffusion.diffusion.settings import AdapterRecord, GenerationSettings
    from spectral_diffusion.fusion import FusedAdapter


def find_adapters(settings: "GenerationSettings", folder: Path) -> "FusedAdapter":
    """Fuse the adapters a picture names as they were, whatever their files are called now.

    Raises:
        InputError: One of them is not in the folder.
    """
    from spectral_diffusion.fusion import FusedAdapter, FusedPart

    parts = []
    for record in settings.adapters:
        adapter = _find(record, folder)
        for held, written in zip(list(adapter.tokens), record.tokens, strict=True):
            adapter = adapter.rename_token(held, written)
        parts.append(FusedPart(adapter=adapter, strength=record.strength, factor_scale=record.factor_scale))
    return FusedAdapter(parts=tuple(parts))


def _find(record: "AdapterRecord", folder: Path) -> "Adapter":
    from spectral_diffusion.diffusion.settings import hash_adapter
    from spectral_diffusion.fusion import load_fused

    # A file of the concept's name is the likely one; hashing all of a large collection would take long.
    files = sorted(folder.glob("*.safetensors"), key=lambda path: (path.stem != record.name, path.name))
    for path in files:
        try:
            parts = load_fused(path).parts
        except InputError:
            continue  # a damaged neighbour is no reason to stop looking
        for part in parts:
            if hash_adapter(part.adapter) == record.sha256:
                return part.adapter
    raise InputError(
        f"the adapter '{record.name}' (sha256 {record.sha256[:12]}) of the picture is not in {folder}",
        "name its file with --adapter, or the workspace that holds it with --workspace",
    )
