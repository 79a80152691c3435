"""What an adapter file says of itself, read from its header alone: lists of many large files stay quick."""

import os
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spectral_diffusion.adapters.adapter import Line, Name, TokenInfo, check_slot, first_fault, tell_columns
from spectral_diffusion.adapters.file import FILE_LIMIT_BYTES, FORMAT, HEADER_LIMIT_BYTES, naming
from spectral_diffusion.adapters.header import read_header
from spectral_diffusion.errors import AdapterFileError
from spectral_diffusion.reading import open_file
from spectral_diffusion.spectrum import ColumnSlot

_LENGTH_BYTES = 8


class PartSummary(BaseModel):
    """One concept of an adapter file.

    Args:
        name: Of the concept.
        method, rank, slot, base_name, fingerprints, tokens: As of `Adapter`.
        strength: That it was fused with; 1 in a file of one concept.

    Raises:
        AdapterFileError: It names a slot and its method holds no columns, or the other way round.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Name
    method: Line
    rank: int = Field(ge=1)
    slot: ColumnSlot | None
    base_name: Line
    fingerprints: dict[Line, Line]
    tokens: dict[Line, TokenInfo] = {}
    strength: float = Field(default=1.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_slot(self.method, self.slot)
        return self

    @property
    def columns(self) -> str:
        """Which columns it owns, in words."""
        return tell_columns(self.method, self.slot)


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
    """What is said of each concept, whatever it is."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise AdapterFileError(
            f"it is not of adapter format {FORMAT}, which this version reads",
            "update spectral-diffusion: pip install --upgrade spectral-diffusion",
        )
    if "parts" not in header:
        return [{**header, "strength": 1.0}]
    parts = header["parts"] if isinstance(header["parts"], list) else []
    if not parts:
        raise AdapterFileError("its header lists no parts", "fuse the adapters again")
    return [
        {**part["adapter"], "strength": part.get("strength", 1.0)}
        if isinstance(part, dict) and isinstance(part.get("adapter"), dict)
        else None
        for part in parts
    ]
