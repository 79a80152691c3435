"""A trained concept: its change of each adapted weight and its words, enough to fuse and export it without the base."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails
from torch import Tensor

from spectral_diffusion import __version__
from spectral_diffusion.adapters.base import METHODS, WeightAdapter, holds_columns
from spectral_diffusion.adapters.file import FORMAT, naming, read_file, write_file
from spectral_diffusion.adapters.header import AGAIN
from spectral_diffusion.errors import AdapterFileError, BaseMismatchError, InputError
from spectral_diffusion.names import UNPRINTABLE
from spectral_diffusion.spectrum import ColumnSlot

MODULE_LIMIT = 10_000
VALUE_LIMIT = 1e5
"""Weights and their singular values stay below a hundred. From here on products of three leave float32."""

Line = Annotated[str, StringConstraints(pattern=rf"^[^{UNPRINTABLE}]{{1,200}}$")]
"""Text that is safe to print: one line, no control characters, none that turn the direction of what follows."""
Name = Annotated[str, StringConstraints(pattern=rf"^[^./\\{UNPRINTABLE}][^/\\{UNPRINTABLE}]{{0,199}}$")]
"""A line that is no path, and of no hidden file."""
ModulePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=300)]

TOKEN_SHAPE = re.compile(rf"<[^<>\s@\u200b\u2060\ud800-\udfff{UNPRINTABLE}]{{1,40}}>")
TOKEN_RULE = "write it as <octo>: in < >, up to 40 characters, without spaces, @ and further < >"


class TokenInfo(BaseModel):
    """A new word of a concept: the plain word it started from, and how many vectors it has."""

    model_config = ConfigDict(frozen=True)

    class_word: Line
    vectors: int = Field(ge=1, le=77)


class Adapter(BaseModel):
    """A trained concept: its change of each adapted weight, its words, and where they come from.

    Fields that a newer version adds to the header are passed over.

    Args:
        name: Name of the concept.
        method: Key of `adapters.METHODS`.
        rank: Of the change of each weight; where the method holds columns, the width of the slot.
        slot: The columns that the concept owns in every adapted weight; None exactly where the method holds none.
        base_name: Base model it was trained on.
        fingerprints: sha256 of each component of that base, by component name.
        tokens: The concept's new words.
        training: The training configuration.
        package_version: Version that trained it.
        modules: Tensors by the names of the method's `SHAPES` (`A`, `B`, `C`, `U`, `S`, `V`; ...), by module
            (`unet.<path>`).
        token_vectors: (vectors, dim), or layer-wise (layers, vectors, dim), by token.

    Raises:
        AdapterFileError: Tensors are missing, do not fit each other, or are not finite.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, extra="ignore")

    name: Name
    method: Line
    rank: int = Field(ge=1, le=2**16)
    slot: ColumnSlot | None
    base_name: Line
    fingerprints: dict[Line, Line]
    tokens: dict[Line, TokenInfo] = {}
    training: dict[str, Any] = {}
    package_version: Line = __version__
    modules: dict[ModulePath, dict[str, Tensor]] = Field(min_length=1, max_length=MODULE_LIMIT, repr=False)
    token_vectors: dict[Line, Tensor] = Field(default={}, repr=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_slot(self.method, self.slot)
        if self.slot is not None and self.slot.width != self.rank:
            raise AdapterFileError(f"rank {self.rank} and a slot of {self.slot} do not agree", AGAIN)
        for module in self.modules:
            if module.partition(".")[0] not in self.fingerprints:
                raise AdapterFileError(f"no fingerprint of the component of {module}", AGAIN)
            try:
                rank = self.weight_adapter(module).rank
            except AdapterFileError as error:
                raise AdapterFileError(f"{module}: {error.what}", error.remedy) from error
            if rank != self.rank:
                raise AdapterFileError(f"{module} has rank {rank} where the adapter has {self.rank}", AGAIN)
            columns = min(self.shape(module))
            if self.slot is not None and self.slot.stop > columns:
                raise AdapterFileError(f"{module} has {columns} columns, and the slot is {self.slot}", AGAIN)
        if self.tokens.keys() != self.token_vectors.keys():
            listed, held = ", ".join(sorted(self.tokens)), ", ".join(sorted(self.token_vectors))
            raise AdapterFileError(f"the tokens listed ({listed}) and the vectors held ({held}) differ", AGAIN)
        for token, vectors in self.token_vectors.items():
            if not TOKEN_SHAPE.fullmatch(token):
                raise AdapterFileError(f"its token {token!r} is none", TOKEN_RULE)
            if vectors.ndim not in (2, 3) or not vectors.numel() or vectors.shape[-2] != self.tokens[token].vectors:
                raise AdapterFileError(
                    f"token {token} has vectors of shape {tuple(vectors.shape)} where {self.tokens[token].vectors} "
                    "vectors are listed",
                    AGAIN,
                )
        for name, tensor in self._named_tensors():
            if not tensor.isfinite().all():
                raise AdapterFileError(f"{name} has values that are not finite (NaN or infinity)", AGAIN)
            if tensor.abs().max() > VALUE_LIMIT:
                raise AdapterFileError(f"{name} has values beyond {VALUE_LIMIT:,.0f}, which no training gives", AGAIN)
        return self

    def __eq__(self, other: object) -> bool:
        # Tensors have no single truth value, so an adapter equals itself only.
        return self is other

    def __hash__(self) -> int:
        return id(self)

    @property
    def columns(self) -> str:
        """Which columns it owns, in words."""
        return tell_columns(self.method, self.slot)

    def shape(self, module: str) -> tuple[int, int]:
        """Of the weight that it changes there, (out, in); convolutions are flattened."""
        return METHODS[self.method].shape_of(self.modules[module])

    def weight_adapter(self, module: str) -> WeightAdapter:
        """The change of one weight, ready to attach or to train on.

        Raises:
            AdapterFileError: The method is unknown here, or the tensors are not its own.
        """
        if self.method not in METHODS:
            raise AdapterFileError(
                f"its method '{self.method}' is not one of {', '.join(sorted(METHODS))}",
                "update spectral-diffusion to the version that wrote it",
            )
        return METHODS[self.method].from_tensors(self.modules[module])

    def weight_adapters(self) -> dict[str, WeightAdapter]:
        """The change of every adapted weight, by module."""
        return {module: self.weight_adapter(module) for module in self.modules}

    def rename_token(self, old: str, new: str) -> "Adapter":
        """A copy in which the token `old` is called `new`, in its place.

        Raises:
            InputError: There is no `old`, or `new` is taken or not of the form `<octo>`.
        """
        if old not in self.tokens or (new in self.tokens and new != old):
            raise InputError(
                f"{self.name} has the tokens {', '.join(self.tokens) or '(none)'}: {old} cannot become {new}",
                "rename a token that it has to one that it has not",
            )

        def renamed(held: Mapping[str, Any]) -> dict[str, Any]:
            return {new if token == old else token: value for token, value in held.items()}

        if new != old and not TOKEN_SHAPE.fullmatch(new):
            raise InputError(f"{new!r} cannot be a token", TOKEN_RULE)
        changed = {"tokens": renamed(self.tokens), "token_vectors": renamed(self.token_vectors)}
        return type(self).model_validate({**dict(self), **changed})

    def check_base(self, name: str, fingerprints: Mapping[str, str], allow_other: bool = False) -> None:
        """Refuse a base whose adapted components are not those the adapter was trained on.

        Args:
            name: Name of the base at hand.
            fingerprints: sha256 of each of its components.
            allow_other: Accept another base of the same shapes, such as a fine-tuned sibling.

        Raises:
            BaseMismatchError: Naming both bases.
        """
        differing = [part for part, digest in self.fingerprints.items() if fingerprints.get(part) != digest]
        if differing and not allow_other:
            raise BaseMismatchError(
                f"{self.name} was trained on {self.base_name} and the base is {name}: "
                f"{', '.join(differing)} {'differs' if len(differing) == 1 else 'differ'}",
                f"use --base {self.base_name}, or --allow-other-base for a fine-tuned sibling of it",
            )

    def save(self, path: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write the adapter file, whole or not at all.

        Args:
            path: The file.
            dtype: float32; or float16, which rounds to eleven bits and halves the file. It is read as float32 again.

        Raises:
            InputError: The folder cannot be written to, or the disk is full; a value is beyond what float16 holds, or
                `dtype` is another.
        """
        write_file(path, *self.pack(), dtype=dtype)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read an adapter file; see `read_file` for how little it is trusted.

        Raises:
            AdapterFileError: It is not a sound file of one adapter.
        """
        header, tensors = read_file(path)
        if "parts" in header:
            raise AdapterFileError(f"{path} is a fused adapter of several concepts", "give the file of one of them")
        with naming(path):
            return cls.unpack(header, tensors)

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The header and the tensors of the file, by their names in it."""
        header = self.model_dump(mode="json", exclude={"modules", "token_vectors"})
        return {"format": FORMAT, **header, "modules": list(self.modules)}, dict(self._named_tensors())

    @classmethod
    def unpack(cls, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """The adapter that was packed.

        Raises:
            AdapterFileError: Header and tensors do not make an adapter.
        """
        modules: dict[str, dict[str, Tensor]] = {}
        token_vectors: dict[str, Tensor] = {}
        listed = header.get("modules")
        if isinstance(listed, list):
            modules = {module: {} for module in listed if isinstance(module, str)}
        for name, tensor in tensors.items():
            module, _, part = name.rpartition(".")
            if name.startswith("token."):
                token_vectors[name.removeprefix("token.")] = tensor
            elif module in modules:
                modules[module][part] = tensor
            else:
                raise AdapterFileError(f"the tensor {name[:200]!r} belongs to no module that the header lists", AGAIN)
        try:
            return cls.model_validate({**header, "modules": modules, "token_vectors": token_vectors})
        except ValidationError as error:
            raise AdapterFileError(f"its header is not an adapter's: {first_fault(error)}", AGAIN) from error

    def _named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for module, held in self.modules.items():
            yield from ((f"{module}.{part}", tensor) for part, tensor in held.items())
        yield from ((f"token.{token}", vectors) for token, vectors in self.token_vectors.items())


def check_slot(method: str, slot: ColumnSlot | None) -> None:
    """See that whoever holds columns says which, and nobody else says so. Of methods unknown here nothing is known.

    Raises:
        AdapterFileError: It is otherwise.
    """
    if method in METHODS and holds_columns(method) != (slot is not None):
        said = "names no slot" if slot is None else f"names a slot of {slot}"
        raise AdapterFileError(
            f"its method '{method}' holds {'' if slot is None else 'no '}columns, and it {said}", AGAIN
        )


def tell_columns(method: str, slot: ColumnSlot | None) -> str:
    """Which columns an adapter owns, for people."""
    return f"no columns ({method})" if slot is None else str(slot)


def slot_values(slot: ColumnSlot | None) -> dict[str, int] | None:
    """The same for machines."""
    return None if slot is None else asdict(slot)


def first_fault(error: ValidationError) -> str:
    """The first of pydantic's faults, in a line."""
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc']))[:300]}: {fault_words(fault)}"


def fault_words(fault: ErrorDetails) -> str:
    """What is wrong by one of pydantic's faults, in words for people."""
    if fault["type"] == "string_pattern_mismatch":
        return "is empty, too long, or has characters that have no place there"
    return fault["msg"]
