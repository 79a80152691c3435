"""What jobs are made from: kept files by their content, and the kinds of values that jobs hold."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from spectral_diffusion.config import Prompt
from spectral_diffusion.names import is_reserved, printable, slug

SHA256 = r"^[0-9a-f]{64}$"
Name = Annotated[str, Field(min_length=1, max_length=255)]


def _check_concept(name: str) -> str:
    if slug(name) != name:
        raise ValueError("is not the name of a concept's folder")
    return name


def _check_place(place: str) -> str:
    parts = place.split("/")
    odd = any(is_reserved(part) or part != printable(part) or set(part) & _FORBIDDEN for part in parts)
    if odd or any(part.startswith((".", "~")) or part != part.strip() for part in parts) or "" in parts:
        raise ValueError("is no name that every system can have, or leads out of the store")
    kept = parts[-1].lower().startswith(("ledger.json", "jobs.sqlite"))
    # A person's workspace may lie two folders deep.
    if kept or parts[0].lower() in ("jobs", "trash") or parts[2:3] == ["trash"]:
        raise ValueError("is where the queue or the trash is kept")
    return place


def _check_home(place: str) -> str:
    return _check_place(place) if place else place


Home = Annotated[str, Field(max_length=1000), AfterValidator(_check_home)]
"""The workspace's folder in the store, empty where it is the store itself."""
_FORBIDDEN = frozenset('\\:*?"<>|')
ConceptName = Annotated[Name, AfterValidator(_check_concept)]
"""A name that is one folder, and no path."""
StorePlace = Annotated[str, Field(max_length=1000), AfterValidator(_check_place)]
"""A file or folder by its name in the store, and no path out of it."""
AdapterPlace = Annotated[StorePlace, Field(pattern=r"\.safetensors$")]
"""The same for an adapter's file."""
Label = Annotated[Prompt, Field(max_length=1000)]
"""Words that are written into a picture."""
Finite = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
"""A strength."""


class Values(BaseModel):
    """Plain values, of which none may be unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AdapterInput(Values):
    """An adapter or fused file.

    Args:
        blob: sha256 of the file, its name in the store.
        name: What the person called it.
        strength: Scales its change.
    """

    blob: str = Field(pattern=SHA256)
    name: Name
    strength: Finite = 1.0


class ConceptInput(Values):
    """A concept: sha256 of the zip that holds its photographs, captions, masks and settings, and its name."""

    blob: str = Field(pattern=SHA256)
    name: ConceptName


class ImageInput(Values):
    """A picture: sha256 of the file, and what the person called it."""

    blob: str = Field(pattern=SHA256)
    name: Name


class Fusing(Values):
    """How adapters go together; see `fusion.fuse`."""

    adapters: tuple[AdapterInput, ...] = ()
    rename: dict[str, str] = {}
    factor_scale: float | None = Field(default=None, ge=-10, le=10, allow_inf_nan=False)
    on_overlap: Literal["refuse", "warn"] = "refuse"
    allow_other_base: bool = False
