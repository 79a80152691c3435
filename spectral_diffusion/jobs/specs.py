"""What a job is: plain values that fit into JSON. Files are named by where they lie in the store."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from spectral_diffusion.config import DEFAULT_BASE, Config, Prompt
from spectral_diffusion.errors import InputError
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
    if parts[0].lower() == "jobs" or parts[-1].lower().startswith(("ledger.json", "jobs.sqlite")):
        raise ValueError("is where the queue itself is kept")
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
Finite = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AdapterInput(_Spec):
    """An adapter or fused file.

    Args:
        blob: sha256 of the file, its name in the store.
        name: What the person called it.
        strength: Scales its change.
    """

    blob: str = Field(pattern=SHA256)
    name: Name
    strength: Finite = 1.0


class ConceptInput(_Spec):
    """A concept: sha256 of the zip that holds its photographs, captions, masks and settings, and its name."""

    blob: str = Field(pattern=SHA256)
    name: ConceptName


class ImageInput(_Spec):
    """A picture: sha256 of the file, and what the person called it."""

    blob: str = Field(pattern=SHA256)
    name: Name


class Fusing(_Spec):
    """How adapters go together; see `fusion.fuse`."""

    adapters: tuple[AdapterInput, ...] = ()
    rename: dict[str, str] = {}
    factor_scale: float | None = Field(default=None, ge=-10, le=10, allow_inf_nan=False)
    on_overlap: Literal["refuse", "warn"] = "refuse"
    allow_other_base: bool = False


class TrainSpec(_Spec):
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


class FuseSpec(_Spec):
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


class GenerateSpec(_Spec):
    """Draw pictures.

    Args:
        base: The model to load.
        fusing: The concepts.
        prompt, negative_prompt, seed, count, steps, guidance_scale, width_px, height_px: As for `generate`; without
            sizes the base's own.
        out: The folder, from the root of the store.
    """

    kind: Literal["generate"] = "generate"
    base: Name
    fusing: Fusing
    prompt: Prompt
    negative_prompt: Prompt
    seed: int = Field(ge=0, lt=2**63)
    count: int = Field(ge=1, le=10_000)
    steps: int = Field(ge=1, le=1000)
    guidance_scale: float = Field(ge=1, le=100, allow_inf_nan=False)
    width_px: int | None = Field(default=None, ge=16, le=4096)
    height_px: int | None = Field(default=None, ge=16, le=4096)
    out: StorePlace = "images"

    @property
    def title(self) -> str:
        """The job in a few words."""
        return f"draw {self.count} x {' '.join(self.prompt.split())[:60]}"


class ScoreSpec(_Spec):
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
        return f"score {len(self.images)} pictures"


class DemoSpec(_Spec):
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


Spec = Annotated[TrainSpec | FuseSpec | GenerateSpec | ScoreSpec | DemoSpec, Field(discriminator="kind")]
_SPEC: TypeAdapter[Spec] = TypeAdapter(Spec)
# Who draws a picture waits for it; who trains does something else meanwhile.
_QUICK, _LONG = 1, 2
_COST_OF_A_STEP = (
    "method", "rank", "targets", "train_text_encoder", "layerwise_tokens", "resolution_px", "batch_size",
    "micro_batch_size", "prior_weight", "cutmix_probability", "cutmix_wide_probability", "cutmix_background_target",
)  # fmt: skip


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
    try:
        return _SPEC.validate_python({"kind": kind, **values})
    except ValidationError as error:
        faults = "; ".join(
            f"{fault['loc'][-1]} {str(fault.get('input'))[:60]!r}: {fault['msg'].lower()}"
            for fault in error.errors()[:5]
        )
        raise InputError(f"the job cannot be queued: {faults}", "correct these values") from error


def blobs(spec: Spec) -> set[str]:
    """sha256 of every kept file that a job needs."""
    inputs: list[AdapterInput | ConceptInput | ImageInput] = []
    match spec:
        case TrainSpec():
            inputs += spec.concepts
        case ScoreSpec():
            inputs += [*spec.references, *spec.images]
        case FuseSpec() | GenerateSpec():
            inputs += spec.fusing.adapters
        case DemoSpec():
            pass
    return {kept.blob for kept in inputs}


def place_of_base(name: str) -> str:
    """A base's name as a worker elsewhere in the file system finds it."""
    return str(Path(name).resolve()) if Path(name).is_dir() and name != DEFAULT_BASE else name


def costs_alike(spec: Spec | None, config: Config) -> bool:
    """Whether a job is a training whose steps cost as much as those of a recipe: the same work on the same base."""
    if not isinstance(spec, TrainSpec) or spec.config.get("base") != place_of_base(config.base):
        return False
    then, now = spec.config.get("training"), config.training.model_dump(mode="json")
    return isinstance(then, dict) and all(then.get(key) == now[key] for key in _COST_OF_A_STEP)


def priority(spec: Spec) -> int:
    """Its place in the queue: the lower ones first, and in each the older ones."""
    return _LONG if spec.kind in ("train", "demo") else _QUICK
