"""What a job is: plain values that fit into JSON. Files are named by where they lie in the store."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from spectral_diffusion.config import DEFAULT_BASE, Prompt
from spectral_diffusion.errors import InputError
from spectral_diffusion.jobs.inputs import (
    AdapterInput,
    AdapterPlace,
    ConceptInput,
    Finite,
    Fusing,
    Home,
    ImageInput,
    Label,
    Name,
    StorePlace,
    Values,
)

CELLS_LIMIT = 100
Part = TypeVar("Part", bound=Values)


class TrainSpec(Values):
    """Train concepts.

    Args:
        concepts: What to learn.
        config: The whole recipe.
        slot: As for `train_concepts`.
        home: The workspace, whose ledger says which columns are free.
        out: Where the adapters go, from the root of the store.
    """

    kind: Literal["train"] = "train"
    concepts: tuple[ConceptInput, ...] = Field(min_length=1)
    config: dict[str, Any]
    slot: int | Literal["auto"] = "auto"
    home: Home = ""
    out: StorePlace = "adapters"

    @property
    def title(self) -> str:
        """The job in a few words."""
        return f"train {', '.join(concept.name for concept in self.concepts)}"


class FuseSpec(Values):
    """Fuse adapters into one file.

    Args:
        fusing: Which, and how.
        out: The file, from the root of the store.
    """

    kind: Literal["fuse"] = "fuse"
    fusing: Fusing
    out: AdapterPlace

    @property
    def title(self) -> str:
        """The job in a few words."""
        return f"fuse {', '.join(adapter.name for adapter in self.fusing.adapters)}"


class Drawing(Values):
    """How one picture is drawn: all values as for `generate`; without sizes the base's own."""

    prompt: Prompt
    negative_prompt: Prompt
    seed: int = Field(ge=0, lt=2**63)
    steps: int = Field(ge=1, le=1000)
    guidance_scale: float = Field(ge=1, le=100, allow_inf_nan=False)
    width_px: int | None = Field(default=None, ge=16, le=4096)
    height_px: int | None = Field(default=None, ge=16, le=4096)


class GenerateSpec(Drawing):
    """Draw pictures, all alike but for their seeds.

    Args:
        base: The model to load.
        fusing: The concepts.
        count: How many, from the seed on.
        out: The folder, from the root of the store.
    """

    kind: Literal["generate"] = "generate"
    base: Name
    fusing: Fusing
    count: int = Field(ge=1, le=10_000)
    out: StorePlace = "images"

    @property
    def title(self) -> str:
        """The job in a few words."""
        return f"draw {self.count} x {' '.join(self.prompt.split())[:60]}"


class GridCell(Drawing):
    """One picture of a grid.

    Args:
        strengths: Of each adapter of the grid, in place of its own there; None leaves it out, with its tokens. None
            at all: all adapters as they are there.
        label: Written below the picture.
    """

    strengths: tuple[Finite | None, ...] = ()
    label: Label = ""


class GridSpec(Values):
    """Draw pictures of different settings, and lay them out as one.

    Args:
        base: The model to load.
        fusing: The concepts.
        cells: The pictures, row by row.
        columns: How many there are in a row.
        column_labels, row_labels: Written above and beside; none, or one for each.
        heading: Written over all.
        out: The folder, from the root of the store.
    """

    kind: Literal["grid"] = "grid"
    base: Name
    fusing: Fusing
    cells: tuple[GridCell, ...] = Field(min_length=1, max_length=CELLS_LIMIT)
    columns: int = Field(ge=1, le=CELLS_LIMIT)
    column_labels: tuple[Label, ...] = ()
    row_labels: tuple[Label, ...] = ()
    heading: Label = ""
    out: StorePlace = "images"

    @model_validator(mode="after")
    def _check(self) -> Self:
        adapters = len(self.fusing.adapters)
        for cell in self.cells:
            if len(cell.strengths) not in (0, adapters):
                raise ValueError(f"a cell has {len(cell.strengths)} strengths for {adapters} adapters")
        for labels, count, what in (
            (self.column_labels, self.columns, "columns"),
            (self.row_labels, self.rows, "rows"),
        ):
            if len(labels) not in (0, count):
                raise ValueError(f"there are {len(labels)} labels for {count} {what}")
        return self

    @property
    def rows(self) -> int:
        """How many rows there are; the last one may be shorter."""
        return -(-len(self.cells) // self.columns)

    @property
    def title(self) -> str:
        """The job in a few words."""
        return f"draw a grid of {len(self.cells)} pictures"

    @property
    def over(self) -> tuple[str, ...]:
        """What the pictures differ in, in words."""
        words = {"strengths": "strength", "guidance_scale": "guidance", "width_px": "width", "height_px": "height"}
        told = [{**cell.model_dump(exclude={"label"}), "strengths": self.strengths_of(cell)} for cell in self.cells]
        differing = [name for name in told[0] if len({each[name] for each in told}) > 1]
        return tuple(words.get(name, name.replace("_", " ")) for name in differing)

    def strengths_of(self, cell: GridCell) -> tuple[float | None, ...]:
        """Of each adapter in a cell."""
        return cell.strengths or tuple(adapter.strength for adapter in self.fusing.adapters)


class DescribeSpec(Values):
    """Find out what there is to know of a base and a recipe.

    Args:
        config: The whole recipe.
    """

    kind: Literal["describe"] = "describe"
    config: dict[str, Any]

    @property
    def title(self) -> str:
        """The job in a few words."""
        return f"read the model {Path(str(self.config.get('base', ''))).name[:60]}"


class ScoreSpec(Values):
    """Score pictures.

    Args:
        images: The pictures.
        references: The concepts to compare them with.
        prompt, trials, scorer: As on the command line.
        out: Folder of the scores, from the root of the store.
    """

    kind: Literal["score"] = "score"
    images: tuple[ImageInput, ...] = Field(min_length=1)
    references: tuple[ConceptInput, ...] = ()
    prompt: Prompt | None = None
    trials: int | None = Field(default=None, ge=1)
    scorer: str | None = Field(default=None, max_length=4096)
    out: StorePlace = "scores"

    @property
    def title(self) -> str:
        """The job in a few words."""
        return f"score {len(self.images)} picture{'s' if len(self.images) > 1 else ''}"


class DemoSpec(Values):
    """The whole job on the sample concepts.

    Args:
        config: The whole recipe.
        seed: Of the pictures.
        out: The folder, from the root of the store.
    """

    kind: Literal["demo"] = "demo"
    config: dict[str, Any]
    seed: int = Field(ge=0, lt=2**63)
    out: StorePlace = "outputs/demo"

    @property
    def title(self) -> str:
        """The job in a few words."""
        return "demo"


Spec = Annotated[
    TrainSpec | FuseSpec | GenerateSpec | GridSpec | DescribeSpec | ScoreSpec | DemoSpec, Field(discriminator="kind")
]
_SPEC: TypeAdapter[Spec] = TypeAdapter(Spec)
# Who draws a picture waits for it; who trains does something else meanwhile.
_QUICK, _LONG = 1, 2


def read_spec(values: Any) -> Spec:
    """A job from its plain values.

    Raises:
        InputError: They are not a job's, or of a newer version.
    """
    try:
        return _SPEC.validate_json(values if isinstance(values, str | bytes) else json.dumps(values))
    except (ValidationError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"the job cannot be read ({said})", "update spectral-diffusion, or queue it again") from error


def build_spec(kind: str, **values: Any) -> Any:
    """A job of that kind.

    Raises:
        InputError: Naming every value that is out of bounds.
    """
    with _told(kind):
        return _SPEC.validate_python({"kind": kind, **values})


def build_part(part: type[Part], **values: Any) -> Part:
    """A part of a job.

    Raises:
        InputError: Naming every value that is out of bounds.
    """
    with _told(""):
        return part.model_validate(values)


@contextmanager
def _told(kind: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        faults = "; ".join(_fault_words(fault, kind) for fault in error.errors()[:5])
        raise InputError(f"the job cannot be queued: {faults}", "correct these values") from error


def _fault_words(fault: Any, kind: str) -> str:
    said = fault["msg"].removeprefix("Value error, ").lower()
    at = ".".join(map(str, fault["loc"])).removeprefix(kind).removeprefix(".")
    # Values that do not go together are each in bounds.
    return f"{at} {str(fault.get('input'))[:60]!r}: {said}" if at else said


def blobs(spec: Spec) -> set[str]:
    """sha256 of every kept file that a job needs."""
    inputs: list[AdapterInput | ConceptInput | ImageInput] = []
    match spec:
        case TrainSpec():
            inputs += spec.concepts
        case ScoreSpec():
            inputs += [*spec.references, *spec.images]
        case FuseSpec() | GenerateSpec() | GridSpec():
            inputs += spec.fusing.adapters
        case DemoSpec() | DescribeSpec():
            pass
    return {kept.blob for kept in inputs}


def place_of_base(name: str) -> str:
    """A base's name as a worker elsewhere in the file system finds it."""
    return str(Path(name).resolve()) if Path(name).is_dir() and name != DEFAULT_BASE else name


def priority(spec: Spec) -> int:
    """Its place in the queue: the lower ones first, and in each the older ones."""
    return _LONG if spec.kind in ("train", "demo") else _QUICK
