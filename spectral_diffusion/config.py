"""The training and drawing recipe of a base model: frozen, complete, checked as a whole.

The values in `configs/<base>.toml` are the only defaults; `configs/other.toml` says how to draw with every other base.
A file given with `--config` may override just some keys, and single values (`--rank 8`) override both. Every fault is
told at once, with its key and what would be allowed.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from spectral_diffusion.errors import InputError
from spectral_diffusion.reading import read_toml
from spectral_diffusion.workspace import packaged_configs

DEFAULT_BASE = "toybox"
OTHER_BASES = "other"
"""Name of the file that says how bases without a recipe draw. It is no recipe itself."""


Prompt = Annotated[str, StringConstraints(max_length=10_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
"""Text of any script, in lines; without the characters that steer terminals."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GenerationConfig(_Frozen):
    """How pictures are drawn. Sizes in pixels; `guidance_scale` is that of classifier-free guidance (1 is none)."""

    width_px: int = Field(ge=16, le=4096)
    height_px: int = Field(ge=16, le=4096)
    steps: int = Field(ge=1, le=1000)
    guidance_scale: float = Field(ge=1, le=100)
    sampler: Literal["dpm-solver++"]
    negative_prompt: str


class LearningRates(_Frozen):
    """AdamW's rate for each part of an adapter; a part that is not trained ignores its rate."""

    unet: float = Field(ge=0, le=1)
    text_encoder: float = Field(ge=0, le=1)
    embeddings: float = Field(ge=0, le=1)
    singular_values: float = Field(ge=0, le=1)


class TrainingConfig(_Frozen):
    """How a concept is trained.

    `rank` is the columns of a slot (of "lora", which holds none, the rank of the change), `resolution_px` the side of
    the square that photographs are fitted to, and `gradient_clip` the largest gradient norm of one concept. 0 switches
    off `gradient_clip`, `min_snr_gamma`, `noise_offset`, `cutmix_probability` and `cutmix_wide_probability` each for
    itself, `prior_weight`, `checkpoint_every` and `sample_every`. 0 `vectors_per_token` are as many as the words have
    that the token starts from. A `micro_batch_size` is how much of a batch goes through the model at once, which costs
    time and saves memory; 0 is all of it.
    """

    method: Literal["spectral", "rotation", "lora"]
    rank: int = Field(ge=1, le=512)
    targets: tuple[Literal["attention", "feed_forward", "projection", "convolution"], ...] = Field(min_length=1)
    train_text_encoder: bool
    train_singular_values: bool
    vectors_per_token: int = Field(ge=0, le=32)
    layerwise_tokens: bool

    resolution_px: int = Field(ge=16, le=4096)
    caption_templates: tuple[str, ...] = Field(min_length=1)
    flip: bool
    masks: Literal["auto", "grabcut", "attention", "none"]
    mask_background_weight: float = Field(ge=0, le=1)
    cutmix_probability: float = Field(ge=0, le=1)
    cutmix_wide_probability: float = Field(ge=0, le=1)
    cutmix_background_weight: float = Field(ge=0, le=1)
    cutmix_background_target: Literal["base", "picture"]
    companions_count: int = Field(ge=1, le=10_000)
    prior_weight: float = Field(ge=0, le=100)
    prior_count: int = Field(ge=1, le=10_000)

    steps: int = Field(ge=1, le=1_000_000)
    batch_size: int = Field(ge=1, le=1024)
    micro_batch_size: int = Field(ge=0, le=1024)
    learning_rates: LearningRates
    warmup_steps: int = Field(ge=0, le=1_000_000)
    lr_schedule: Literal["constant", "linear", "cosine"]
    weight_decay: float = Field(ge=0, le=1)
    gradient_clip: float = Field(ge=0, le=1000)
    min_snr_gamma: float = Field(ge=0, le=1000)
    noise_offset: float = Field(ge=0, le=1)

    seed: int = Field(ge=0, lt=2**63)
    checkpoint_every: int = Field(ge=0, le=1_000_000)
    sample_every: int = Field(ge=0, le=1_000_000)
    tensorboard: bool

    @field_validator("train_singular_values")
    @classmethod
    def _have_singular_values(cls, train: bool, info: ValidationInfo) -> bool:
        if train and info.data.get("method") == "lora":
            raise ValueError("the method lora holds no singular values that could train; use spectral or rotation")
        return train

    @field_validator("caption_templates")
    @classmethod
    def _name_the_concept_once(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if template.count("{}") != 1 or template.count("{") != 1 or template.count("}") != 1:
                raise ValueError(
                    f"the template '{template}' must contain {{}} once, where the token goes, and no other brace"
                )
        return templates


class Config(_Frozen):
    """One complete recipe for one base model."""

    base: str = Field(min_length=1)
    generation: GenerationConfig
    training: TrainingConfig

    def override(self, values: Mapping[str, Any]) -> "Config":
        """The same recipe with some values replaced.

        Args:
            values: Dotted key to value, for example `{"training.rank": 8}`. None leaves a key as it is, so that
                command line options that were not given can be passed on.

        Raises:
            InputError: A key is unknown or a value not allowed; all faults are told.
        """
        tree: dict[str, Any] = {}
        for key, value in values.items():
            if value is None:
                continue
            *tables, leaf = key.split(".")
            table = tree
            for name in tables:
                table = table.setdefault(name, {})
            table[leaf] = value
        return _validated(_merged(self.model_dump(), tree), "the options")


def load_config(path: Path | None = None, base: str | None = None) -> Config:
    """Read the recipe of a base, with a person's own values laid over it.

    Args:
        path: A TOML file. It may hold just the keys that differ; `base` in it counts when no other base is asked for.
        base: Name of a base; its recipe is `configs/<base>.toml`. Bases without a recipe need a complete file. By
            default the file's, else toybox.

    Raises:
        InputError: Not readable, not TOML, or values that are not allowed: all of them in one message.
    """
    own, base = _own(path, base)
    recipes = _recipes()
    if base not in recipes and path is None:
        raise InputError(
            f"there is no recipe for base '{base}' (there is one for: {', '.join(recipes)})",
            "give a complete one with --config",
        )
    recipe = _read(recipes[base]) if base in recipes else {}
    return _validated({**_merged(recipe, own), "base": base}, str(path or recipes[base]))


def load_generation(path: Path | None = None, base: str | None = None) -> tuple[str, dict[str, Any]]:
    """Which base to draw with, and how: by its recipe, or where it has none by `configs/other.toml`.

    Args:
        path: A TOML file with a person's own values, as for `load_config`; for drawing it need not be complete.
        base: Name of a base, as for `load_config`.

    Returns:
        The base, and values of `GenerationConfig` by key. Of a base without a recipe the size is missing unless the
        file names it: its native size is the right one, and known when it is loaded.

    Raises:
        InputError: Not readable, not TOML, or values that are not allowed: all of them in one message.
    """
    own, name = _own(path, base)
    recipes = _recipes()
    if name in recipes:
        return name, load_config(path, base).generation.model_dump()
    other = _read(packaged_configs() / f"{OTHER_BASES}.toml")
    # A complete recipe below it lets every slip in the file be told, also where drawing would not look.
    complete = _merged(_merged(_read(recipes[DEFAULT_BASE]), other), own)
    generation = _validated({**complete, "base": name}, str(path)).generation.model_dump()
    known = {*other["generation"], *own.get("generation", {})}
    return name, {key: value for key, value in generation.items() if key in known}


def _own(path: Path | None, base: str | None) -> tuple[dict[str, Any], str]:
    """A person's own values, and the base that they or the caller name."""
    own = _read(Path(path)) if path is not None else {}
    told = own.get("base", DEFAULT_BASE)
    if not isinstance(told, str):
        raise InputError(f"{path}: base = {repr(told)[:60]} is not a text", "name a base, such as toybox")
    return own, base or told


def _recipes() -> dict[str, Path]:
    found = sorted(packaged_configs().glob("*.toml"))
    return {recipe.stem: recipe for recipe in found if recipe.stem != OTHER_BASES}


def _read(path: Path) -> dict[str, Any]:
    return read_toml(path, "the config")


def _merged(under: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return merged


def _validated(values: dict[str, Any], source: str) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = [_fault(detail) for detail in error.errors()]
        count = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        raise InputError(f"{source} has {count}: {'; '.join(faults)}", "correct the keys named") from None


def _fault(detail: ErrorDetails) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = _table(detail["loc"][:-1]).model_fields
        near = difflib.get_close_matches(str(detail["loc"][-1]), known)
        return f"{key} is no key ({'did you mean' if near else 'known here:'} {', '.join(near or known)})"
    if detail["type"] == "missing":
        return f"{key} is missing"
    if detail["type"] in ("model_type", "model_attributes_type"):
        return f"{key} = {detail['input']!r}: should be a table [{key}]"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{key} = {detail['input']!r}: {message[:1].lower()}{message[1:]}"


def _table(location: tuple[int | str, ...]) -> type[BaseModel]:
    table: type[BaseModel] = Config
    for name in location:
        inner = table.model_fields[str(name)].annotation
        assert isinstance(inner, type) and issubclass(inner, BaseModel)
        table = inner
    return table
