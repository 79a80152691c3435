"""What an adapter file says of itself, read from its header alone: lists of many large files stay quick."""

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spectral_diffusion.adapters.file import FILE_LIMIT_BYTES, Line, Name, TokenInfo, first_fault, naming
from spectral_diffusion.adapters.header import read_header
from spectral_diffusion.errors import AdapterFileError
from spectral_diffusion.reading import open_file
from spectral_diffusion.spectrum import ColumnSlot

HEADER_LIMIT_BYTES = 2**26
"""Of the JSON before the tensors: what only lists files reads no more than this of each."""
_LENGTH_BYTES = 8


class PartSummary(BaseModel):
    """One concept of an adapter file.

    Args:
        name: Of the concept.
        method, rank, slot, base_name, fingerprints, tokens: As of `Adapter`.
        strength: That it was fused with; 1 in a file of one concept.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    method: Line
    rank: int = Field(ge=1)
    slot: ColumnSlot
    base_name: Line
    fingerprints: dict[Line, Line]
    tokens: dict[Line, TokenInfo] = {}
    strength: float = Field(default=1.0, allow_inf_nan=False)


def read_summary(path: Path) -> tuple[PartSummary, ...]:
    """The concepts of a file, in their order. Whether its tensors are sound only `load_fused` tells.

    Raises:
        AdapterFileError: It is missing, of another kind, cut off, or its header is not an adapter's.
    """
    path = Path(path)
    with open_file(path, FILE_LIMIT_BYTES, AdapterFileError) as file, naming(path):
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        data_bytes = os.fstat(file.fileno()).st_size - _LENGTH_BYTES - length
        if length > HEADER_LIMIT_BYTES or data_bytes < 0:
            raise AdapterFileError(
                "it is no safetensors file, or cut off", "give a file that `spectral-diffusion train` or `fuse` wrote"
            )
        header, _ = read_header(file.read(length), data_bytes)
        try:
            return tuple(PartSummary.model_validate(part) for part in _parts(header))
        except ValidationError as error:
            raise AdapterFileError(
                f"its header is not an adapter's: {first_fault(error)}", "train the concept again"
            ) from error


def _parts(header: Any) -> list[Any]:
    listed = header.get("parts") if isinstance(header, dict) else None
    if listed is None:
        return [header]
    held = [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []
    adapters = [part.get("adapter") for part in held]
    return [
        {**adapter, "strength": part.get("strength", 1.0)} if isinstance(adapter, dict) else adapter
        for part, adapter in zip(held, adapters, strict=True)
    ] or [None]
