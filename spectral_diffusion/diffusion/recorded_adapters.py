"""The adapters that a picture names in its settings, found among files by what they hold."""

from collections.abc import Sequence
from pathlib import Path

from spectral_diffusion.adapters import Adapter
from spectral_diffusion.diffusion.settings import AdapterRecord, hash_adapter
from spectral_diffusion.errors import AdapterFileError, InputError
from spectral_diffusion.fusion import FusedAdapter, FusedPart, load_fused


def find_adapters(records: Sequence[AdapterRecord], places: Sequence[Path]) -> FusedAdapter | None:
    """The concepts that a picture was drawn with, found again by their content.

    Args:
        records: As the picture's settings list them.
        places: Adapter files (single or fused), or folders of such.

    Raises:
        InputError: One is not there, or only a changed one of its name; its tokens do not go with the record; or a
            file that was named holds none of them.
        AdapterFileError: A file that was named is not an adapter.
    """
    named = [place for place in places if not place.is_dir()]
    if not records and not named:
        return None
    wanted = {record.sha256 for record in records}
    unneeded = set(named)
    by_hash: dict[str, Adapter] = {}
    namesakes: dict[str, Path] = {}
    for path in _adapter_files(places):
        try:
            found = load_fused(path)
        except AdapterFileError:
            if path in named:
                raise
            continue
        for part in found.parts:
            digest = hash_adapter(part.adapter)
            by_hash.setdefault(digest, part.adapter)
            namesakes.setdefault(part.adapter.name, path)
            if digest in wanted:
                unneeded.discard(path)
    parts: list[FusedPart] = []
    for record in records:
        adapter = by_hash.get(record.sha256)
        if adapter is None:
            looked = ", ".join(str(place) for place in places) or "no place"
            raise InputError(
                f"the concept {record.name} in {namesakes[record.name]} has changed since the picture was drawn"
                if record.name in namesakes
                else f"the concept {record.name}, which the picture was drawn with, is not in {looked}",
                f"give its file, sha256 of tensors {record.sha256[:12]}..., with --adapter",
            )
        if len(record.tokens) != len(adapter.tokens):
            raise InputError(
                f"the picture's settings list {len(record.tokens)} tokens for the concept {record.name}, "
                f"which has {len(adapter.tokens)}",
                "give the PNG as it was saved",
            )
        for old, new in zip(tuple(adapter.tokens), record.tokens, strict=True):
            if old != new:
                adapter = adapter.rename_token(old, new)
        parts.append(FusedPart(adapter=adapter, strength=record.strength, factor_scale=record.factor_scale))
    if unneeded:
        raise InputError(
            f"{min(unneeded)} holds no concept that the picture was drawn with",
            "leave it out, or draw anew with --prompt and --adapter",
        )
    return FusedAdapter(parts=tuple(parts))


def _adapter_files(places: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for place in places:
        files.extend(sorted(place.glob("*.safetensors")) if place.is_dir() else [place])
    return list(dict.fromkeys(files))
