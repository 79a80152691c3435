"""Everything that makes a picture what it is, as it travels inside the picture's PNG."""

import hashlib
import re
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any, Literal, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spectral_diffusion import __version__
from spectral_diffusion.adapters import Adapter
from spectral_diffusion.adapters.adapter import Line, Name, fault_words
from spectral_diffusion.config import Prompt
from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import FusedPart
from spectral_diffusion.fusion.fused import PARTS_LIMIT, STRENGTH_LIMIT

SETTINGS_KEY = "spectral_diffusion"
PARAMETERS_KEY = "parameters"
SHEET_KEY = "spectral_diffusion_sheet"
SETTINGS_LIMIT_CHARACTERS = 2**20
"""More than 256 adapters with two prompts of full length need."""
Kind = TypeVar("Kind", bound=BaseModel)
Strength = Annotated[float, Field(ge=-STRENGTH_LIMIT, le=STRENGTH_LIMIT, allow_inf_nan=False)]
_SAMPLER_LABELS = {"dpm-solver++": "DPM++ 2M"}


class AdapterRecord(BaseModel):
    """One concept that a picture was drawn with.

    Args:
        name: The concept's name, not a path: pictures travel.
        sha256: Of the values of its tensors, see `hash_adapter`; the same for every copy and fused file that holds it.
        tokens: Its tokens as the prompt wrote them, in the order of the adapter's own.
        class_words: Class word by token, to compare a picture with its prompt in plain words; may lack some.
        strength: Scale of its change.
        factor_scale: The paper's l on its factors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    sha256: Line
    tokens: tuple[Line, ...]
    class_words: dict[Line, Line] = {}
    strength: Strength
    factor_scale: Strength

    @classmethod
    def of(cls, part: FusedPart) -> Self:
        """The record of one part of a fusion."""
        return cls(
            name=part.adapter.name,
            sha256=hash_adapter(part.adapter),
            tokens=tuple(part.adapter.tokens),
            class_words={token: info.class_word for token, info in part.adapter.tokens.items()},
            strength=part.strength,
            factor_scale=part.factor_scale,
        )


class GenerationSettings(BaseModel):
    """What a picture was drawn from: on one machine and version the same settings give the same picture.

    Args:
        prompt, negative_prompt: As written, concept tokens included.
        seed: Of this picture.
        steps, guidance_scale, sampler: How the noise was removed.
        width_px, height_px: Size.
        base, fingerprints: The model by name, and what it truly was.
        is_toybox: Whether it was the embedded base.
        adapters: The concepts, in order.
        device, dtype: Kind of device and number type: others round differently.
        versions: Of this package and the libraries that drew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    prompt: Prompt
    negative_prompt: Prompt
    seed: int = Field(ge=0, lt=2**63)
    steps: int = Field(ge=1, le=1000)
    guidance_scale: float = Field(ge=1, le=100, allow_inf_nan=False)
    sampler: Literal["dpm-solver++"]
    width_px: int = Field(ge=16, le=4096)
    height_px: int = Field(ge=16, le=4096)
    base: Line
    fingerprints: dict[Line, Line]
    is_toybox: bool
    adapters: tuple[AdapterRecord, ...] = Field(default=(), max_length=PARTS_LIMIT)
    device: Line
    dtype: Line
    versions: dict[Line, Line]

    @model_validator(mode="before")
    @classmethod
    def _tell_toybox(cls, values: Any) -> Any:
        # A picture that does not tell has only the name to go by.
        return {"is_toybox": values.get("base") == "toybox", **values} if isinstance(values, dict) else values

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """Settings of these values.

        Raises:
            InputError: Naming every value that is out of bounds.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise InputError(f"a picture cannot be drawn with {_faults(error)}", "correct these values") from error

    @classmethod
    def from_png_text(cls, text: Mapping[str, str]) -> Self:
        """The settings in a PNG's text.

        Raises:
            InputError: There are none, or they are damaged or of a newer version.
        """
        if SETTINGS_KEY not in text:
            raise InputError(
                "the picture holds no settings of spectral-diffusion",
                "give a PNG as it was saved; editors and messengers drop its text",
            )
        return _read(cls, text[SETTINGS_KEY])

    @property
    def file_stem(self) -> str:
        """What its file is called, without suffix."""
        return file_stem(self.prompt, self.seed)

    def base_remedy(self) -> str:
        """How to name the base that drew the picture. Of a folder its picture knows no more than the name."""
        if self.is_toybox:
            return "use --base toybox"
        return (
            f"use --base {shlex.quote(self.base)}"
            if "/" in self.base
            else f"give the folder of {self.base} with --base"
        )

    def to_png_text(self) -> dict[str, str]:
        """Text for a PNG: these settings as JSON, and the line that other tools read."""
        return {SETTINGS_KEY: self.model_dump_json(), PARAMETERS_KEY: self.parameters_line()}

    def parameters_line(self) -> str:
        """The prompt and settings in the form that A1111's interface began and others read."""
        negative = f"\nNegative prompt: {self.negative_prompt}" if self.negative_prompt else ""
        facts = {
            "Steps": self.steps,
            "Sampler": _SAMPLER_LABELS[self.sampler],
            "CFG scale": f"{self.guidance_scale:g}",
            "Seed": self.seed,
            "Size": f"{self.width_px}x{self.height_px}",
            "Model hash": self.fingerprints.get("unet", "")[:10],
            "Model": self.base,
        }
        if self.adapters:
            used = ", ".join(f"{record.name}: {record.strength:g}" for record in self.adapters)
            facts["Spectral adapters"] = f'"{used}"'
        facts["Version"] = f"spectral-diffusion {self.versions.get('spectral_diffusion', '')}"
        return f"{self.prompt}{negative}\n" + ", ".join(f"{key}: {value}" for key, value in facts.items())


class SheetSettings(BaseModel):
    """What a sheet of many pictures keeps to begin again from. It has a place of its own: a sheet is no picture drawn.

    Args:
        over: What the pictures differ in, in words.
        first: What the first of them was drawn from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    over: tuple[Line, ...] = Field(default=(), max_length=20)
    first: GenerationSettings

    @classmethod
    def from_png_text(cls, text: Mapping[str, str]) -> Self | None:
        """The same out of a PNG's text; None where it is no sheet's.

        Raises:
            InputError: It is damaged or of a newer version.
        """
        return _read(cls, text[SHEET_KEY]) if SHEET_KEY in text else None

    def to_png_text(self) -> dict[str, str]:
        """Text for a PNG."""
        return {SHEET_KEY: self.model_dump_json()}


def file_stem(prompt: str, seed: int) -> str:
    """What a picture's file is called, without suffix: the words of the prompt, and the seed."""
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].strip("-") or "picture"
    return f"{words}_{seed}"


def hash_adapter(adapter: Adapter) -> str:
    """sha256 of an adapter's method, module names and tensor values (float32), wherever and however it is stored.

    Token vectors count in their order, their names do not, so that a renamed token is the same adapter.
    """
    digest = hashlib.sha256(adapter.method.encode())
    tensors = {f"{module}.{name}": tensor for module, held in adapter.modules.items() for name, tensor in held.items()}
    for name, tensor in [
        *sorted(tensors.items()),
        *((f"token.{i}", adapter.token_vectors[token]) for i, token in enumerate(adapter.tokens)),
    ]:
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def library_versions() -> dict[str, str]:
    """Versions that decide how a picture comes out."""
    return {
        "spectral_diffusion": __version__,
        **{name: version(name) for name in ("torch", "diffusers", "transformers")},
    }


def _read(kind: type[Kind], told: str) -> Kind:
    """Settings out of a PNG's text.

    Raises:
        InputError: They are damaged or of a newer version.
    """
    if len(told) > SETTINGS_LIMIT_CHARACTERS:
        raise InputError(f"the picture's settings have {len(told):,} characters", "give the PNG as it was saved")
    try:
        return kind.model_validate_json(told)
    except ValidationError as error:
        raise InputError(
            f"the picture's settings are damaged or of a newer version ({_faults(error)})",
            "update spectral-diffusion, or give the PNG as it was saved",
        ) from error


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc']))[:100] or 'settings'} {str(fault.get('input'))[:60]!r}: "
        f"{fault_words(fault).lower()}"
        for fault in error.errors()[:5]
    )
