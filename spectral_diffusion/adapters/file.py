"""An adapter and its self-describing safetensors file: enough to fuse, export and inspect it without the base."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from spectral_diffusion import __version__
from spectral_diffusion.adapters.base import METHODS, WeightAdapter
from spectral_diffusion.adapters.header import HEADER_KEY, read_header
from spectral_diffusion.errors import AdapterFileError, BaseMismatchError, InputError
from spectral_diffusion.names import UNPRINTABLE
from spectral_diffusion.reading import open_file
from spectral_diffusion.spectrum import ColumnSlot
from spectral_diffusion.workspace import write_atomically

FORMAT = 1
HEADER_LIMIT_BYTES = 32 * 2**20
"""More than a hundred fused concepts need; a larger header is refused before it is read."""
FILE_LIMIT_BYTES = 8 * 2**30
"""Ten concepts of the largest base at rank 32."""
DTYPES = (torch.float32, torch.float16)
"""What a file may hold; in memory an adapter that was read is float32."""
MODULE_LIMIT = 10_000
TENSORS_A_NAME = 16
"""More than any method has for one weight."""
VALUE_LIMIT = 1e5
"""Weights and their singular values stay below a hundred. From here on products of three leave float32."""

Line = Annotated[str, StringConstraints(pattern=rf"^[^{UNPRINTABLE}]{{1,200}}$")]
"""Text that is safe to print: one line, no control characters, none that turn the direction of what follows."""
Name = Annotated[str, StringConstraints(pattern=rf"^[^./\\{UNPRINTABLE}][^/\\{UNPRINTABLE}]{{0,199}}$")]
"""A line that is no path, and of no hidden file."""
ModulePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=300)]

TOKEN_SHAPE = re.compile(rf"<[^<>\s@\u200b\u2060\ud800-\udfff{UNPRINTABLE}]{{1,40}}>")
TOKEN_RULE = "write it as <octo>: in < >, up to 40 characters, without spaces, @ and further < >"

_AGAIN = "train the concept again, or get the file from its author again"


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
        rank: Width of the slot.
        slot: The columns that the concept owns in every adapted weight.
        base_name: Base model it was trained on.
        fingerprints: sha256 of each component of that base, by component name.
        tokens: The concept's new words.
        training: The training configuration.
        package_version: Version that trained it.
        modules: Tensors by name (`A`, `B`, `C`, `U`, `S`, `V`, `R_u`, `R_v`) by module (`unet.<path>`).
        token_vectors: (vectors, dim), or layer-wise (layers, vectors, dim), by token.

    Raises:
        AdapterFileError: Tensors are missing, do not fit each other, or are not finite.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, extra="ignore")

    name: Name
    method: Line
    rank: int = Field(ge=1, le=2**16)
    slot: ColumnSlot
    base_name: Line
    fingerprints: dict[Line, Line]
    tokens: dict[Line, TokenInfo] = {}
    training: dict[str, Any] = {}
    package_version: Line = __version__
    modules: dict[ModulePath, dict[str, Tensor]] = Field(min_length=1, max_length=MODULE_LIMIT, repr=False)
    token_vectors: dict[Line, Tensor] = Field(default={}, repr=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.slot.width != self.rank:
            raise AdapterFileError(f"rank {self.rank} and a slot of {self.slot} do not agree", _AGAIN)
        for module in self.modules:
            if module.partition(".")[0] not in self.fingerprints:
                raise AdapterFileError(f"no fingerprint of the component of {module}", _AGAIN)
            try:
                rank = self.weight_adapter(module).rank
            except AdapterFileError as error:
                raise AdapterFileError(f"{module}: {error.what}", error.remedy) from error
            if rank != self.rank:
                raise AdapterFileError(f"{module} has rank {rank} where the adapter has {self.rank}", _AGAIN)
            columns = min(len(tensor) for side, tensor in self.modules[module].items() if side in ("U", "V"))
            if self.slot.stop > columns:
                raise AdapterFileError(f"{module} has {columns} columns, and the slot is {self.slot}", _AGAIN)
        if self.tokens.keys() != self.token_vectors.keys():
            listed, held = ", ".join(sorted(self.tokens)), ", ".join(sorted(self.token_vectors))
            raise AdapterFileError(f"the tokens listed ({listed}) and the vectors held ({held}) differ", _AGAIN)
        for token, vectors in self.token_vectors.items():
            if not TOKEN_SHAPE.fullmatch(token):
                raise AdapterFileError(f"its token {token!r} is none", TOKEN_RULE)
            if vectors.ndim not in (2, 3) or not vectors.numel() or vectors.shape[-2] != self.tokens[token].vectors:
                raise AdapterFileError(
                    f"token {token} has vectors of shape {tuple(vectors.shape)} where {self.tokens[token].vectors} "
                    "vectors are listed",
                    _AGAIN,
                )
        for name, tensor in self._named_tensors():
            if not tensor.isfinite().all():
                raise AdapterFileError(f"{name} has values that are not finite (NaN or infinity)", _AGAIN)
            if tensor.abs().max() > VALUE_LIMIT:
                raise AdapterFileError(f"{name} has values beyond {VALUE_LIMIT:,.0f}, which no training gives", _AGAIN)
        return self

    def __eq__(self, other: object) -> bool:
        # Tensors have no single truth value, so an adapter equals itself only.
        return self is other

    def __hash__(self) -> int:
        return id(self)

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
                raise AdapterFileError(f"the tensor {name[:200]!r} belongs to no module that the header lists", _AGAIN)
        try:
            return cls.model_validate({**header, "modules": modules, "token_vectors": token_vectors})
        except ValidationError as error:
            raise AdapterFileError(f"its header is not an adapter's: {first_fault(error)}", _AGAIN) from error

    def _named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for module, held in self.modules.items():
            yield from ((f"{module}.{part}", tensor) for part, tensor in held.items())
        yield from ((f"token.{token}", vectors) for token, vectors in self.token_vectors.items())


def first_fault(error: ValidationError) -> str:
    """The first of pydantic's faults, in a line."""
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc']))[:300]}: {fault_words(fault)}"


def fault_words(fault: ErrorDetails) -> str:
    """What is wrong by one of pydantic's faults, in words for people."""
    if fault["type"] == "string_pattern_mismatch":
        return "is empty, too long, or has characters that have no place there"
    return fault["msg"]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors about the content of a file name the file.

    Raises:
        AdapterFileError: Whatever was wrong with the content.
    """
    try:
        yield
    except InputError as error:
        raise AdapterFileError(f"{path}: {error.what}", error.remedy) from error


def write_file(
    path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32
) -> None:
    """Write header and tensors as safetensors, whole or not at all; the same content gives the same bytes.

    Args:
        path: The file.
        header: The package's own header.
        tensors: What follows it, by name.
        dtype: float32 or float16, of all tensors.

    Raises:
        InputError: The folder cannot be written to, or the disk is full; a value is beyond what float16 holds, or
            `dtype` is another.
    """
    if dtype not in DTYPES:
        raise InputError(f"adapter files do not hold {str(dtype)[:40]}", "save as torch.float32 or torch.float16")
    stored = {name: tensor.detach().to("cpu", dtype).contiguous().clone() for name, tensor in tensors.items()}
    for name, tensor in stored.items():
        if dtype == torch.float16 and not tensor.isfinite().all():
            most = torch.finfo(dtype).max
            raise InputError(f"{name} has values beyond {most:,.0f}, the most that float16 holds", "save it as float32")
    content = save_safetensors(stored, {HEADER_KEY: json.dumps(header)})
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and float32 tensors of an adapter file, judged by its content and never by its name.

    Only an ordinary file is opened. Its length and that of its header are looked at first, then the whole header, and
    only when all tensors are float32, or all are float16, and of sensible shapes that fill the file are they read.
    Nothing in it is executed.

    Raises:
        AdapterFileError: It is missing, damaged, of another kind (a pickle, a plain LoRA ...), too large or of a newer
            format.
    """
    path = Path(path)
    with open_file(path, FILE_LIMIT_BYTES, AdapterFileError) as file, naming(path):
        start = file.read(16)
        if start[8:9] != b"{":
            raise AdapterFileError(f"it is {_kind(start)}, not a safetensors file", _remedy(start))
        length, data_bytes = int.from_bytes(start[:8], "little"), os.fstat(file.fileno()).st_size - 8
        data_bytes -= length
        if length > HEADER_LIMIT_BYTES or data_bytes < 0:
            raise AdapterFileError(f"it is cut off or damaged: it claims a header of {length:,} bytes", _AGAIN)
        text = start[8 : 8 + length] + file.read(max(0, length - 8))
        header, count = read_header(text, data_bytes)
        _check_known(header, count)
        try:
            tensors = load_safetensors(b"".join((start[:8], text, start[8 + length :], file.read(data_bytes + 1))))
        except (SafetensorError, KeyError, ValueError) as error:
            raise AdapterFileError(f"it is cut off or damaged: {str(error)[:200]}", _AGAIN) from error
    return header, {name: tensor.to(torch.float32) for name, tensor in tensors.items()}


def _check_known(header: Any, tensor_count: int) -> None:
    """The package's header is of a format that is known, and lists modules enough for as many tensors."""
    if not isinstance(header, dict) or "format" not in header:
        raise AdapterFileError(
            f"it is a safetensors file without a readable {HEADER_KEY} header: not an adapter of this package",
            "give a file that `spectral-diffusion train` or `fuse` wrote",
        )
    if header["format"] != FORMAT:
        raise AdapterFileError(
            f"it is of adapter format {str(header['format'])[:20]}, and this version reads format {FORMAT}",
            "update spectral-diffusion: pip install --upgrade spectral-diffusion",
        )
    parts = header.get("parts")
    owners = [part.get("adapter") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else [header]
    listed = [owner.get(key) for owner in owners if isinstance(owner, dict) for key in ("modules", "tokens")]
    names = sum(len(names) for names in listed if isinstance(names, list | dict))
    if tensor_count > TENSORS_A_NAME * names + 1000:
        raise AdapterFileError(f"it holds {tensor_count:,} tensors, more than belong to {names:,} modules", _AGAIN)


def _kind(start: bytes) -> str:
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"):
        return "a pickle (a PyTorch checkpoint, by its content)"
    return "empty" if not start else "something else by its content"


def _remedy(start: bytes) -> str:
    if _kind(start).startswith("a pickle"):
        return "pickles can run code and are never loaded: ask for the safetensors file"
    return "give a file that `spectral-diffusion train` or `fuse` wrote"
