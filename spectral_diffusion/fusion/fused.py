"""Several concepts in one adapter, which keeps its parts: it can be fused again, exported and inspected."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError, model_validator
from torch import Tensor

from spectral_diffusion.adapters.adapter import Adapter, TokenInfo, first_fault
from spectral_diffusion.adapters.file import FORMAT, naming, read_file, write_file
from spectral_diffusion.errors import AdapterFileError, BaseMismatchError, InputError
from spectral_diffusion.fusion.slots import measure_overlaps, slot_sum
from spectral_diffusion.spectrum import LowRankDelta

PARTS_LIMIT = 256
"""More slots than any base has at a rank that holds something."""
STRENGTH_LIMIT = 1000.0
"""Pictures are noise long before; from about here on float32 overflows."""


class FusedPart(BaseModel):
    """One concept of a fusion.

    Args:
        adapter: The trained concept, as it was trained.
        strength: Scales its change `dW` in proportion, as all hosts do.
        factor_scale: The paper's l (section 4.2): scales its factors `A`, `B`, `C`, and so `dW` out of proportion.

    Raises:
        InputError: A number beyond 1000, or not finite.
    """

    model_config = ConfigDict(frozen=True)

    # An adapter was checked when it was made.
    adapter: InstanceOf[Adapter]
    strength: float = 1.0
    factor_scale: float = 1.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        for what, value in (("strength", self.strength), ("factor_scale", self.factor_scale)):
            if not abs(value) <= STRENGTH_LIMIT:
                raise InputError(
                    f"{what} {value:g} of {self.adapter.name} is out of range",
                    f"use a number from -{STRENGTH_LIMIT:g} to {STRENGTH_LIMIT:g}",
                )
        if self.factor_scale != 1.0:
            for module in self.adapter.modules:
                self.adapter.weight_adapter(module).scale_factors(self.factor_scale)
                break
        return self

    @torch.no_grad()
    def low_rank(self, module: str) -> LowRankDelta:
        """The concept's change of one weight, without its strength.

        Raises:
            InputError: The adapter's method has no exact factors, or none that `factor_scale` could scale.
        """
        adapter = self.adapter.weight_adapter(module)
        if self.factor_scale != 1.0:
            adapter = adapter.scale_factors(self.factor_scale)
        delta = adapter.low_rank()
        if delta is None:
            raise InputError(
                f"{self.adapter.name} was trained by '{self.adapter.method}', whose change has no thin factors",
                "fuse adapters of other methods, or use this one alone",
            )
        return delta


class FusedAdapter(BaseModel):
    """The weighted sum of several concepts, kept as its parts.

    Args:
        parts: The concepts with their strengths, in the order given; the order changes nothing.

    Raises:
        InputError: Two parts have one token, their changes of one weight differ in shape, or there are over 256.
    """

    model_config = ConfigDict(frozen=True, ignored_types=(cached_property,))

    parts: tuple[InstanceOf[FusedPart], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_count(len(self.parts))
        owners: dict[str, str] = {}
        for part in self.parts:
            for token in part.adapter.tokens:
                if token in owners:
                    raise InputError(
                        f"{owners[token]} and {part.adapter.name} both have the token {token}",
                        f"give one another word: --rename {token}=NEW renames that of {part.adapter.name}",
                    )
                owners[token] = part.adapter.name
        shapes: dict[str, tuple[int, int]] = {}
        for part in self.parts:
            for module in part.adapter.modules:
                shape = part.adapter.shape(module)
                if shapes.setdefault(module, shape) != shape:
                    raise BaseMismatchError(
                        f"{part.adapter.name} changes {module} of shape {shape}, and an adapter before it of shape "
                        f"{shapes[module]}",
                        "fuse adapters that were trained on one base",
                    )
        return self

    @property
    def modules(self) -> tuple[str, ...]:
        """Every module that a part changes, in the order of the parts."""
        return tuple(dict.fromkeys(module for part in self.parts for module in part.adapter.modules))

    @property
    def tokens(self) -> dict[str, TokenInfo]:
        """The new words of all parts."""
        return {token: info for part in self.parts for token, info in part.adapter.tokens.items()}

    @property
    def token_vectors(self) -> dict[str, Tensor]:
        """The vectors of all new words: (vectors, dim), or layer-wise (layers, vectors, dim)."""
        return {token: vectors for part in self.parts for token, vectors in part.adapter.token_vectors.items()}

    @cached_property
    def overlaps(self) -> dict[str, Tensor]:
        """How much each two parts share, by module (parts, parts); see `slots.measure_overlaps`."""
        return measure_overlaps([part.adapter for part in self.parts])

    @property
    def overlap_matrix(self) -> Tensor:
        """Largest of `overlaps` over all modules, (parts, parts): symmetric, 1 on the diagonal, or 0 (no columns)."""
        return torch.stack([*self.overlaps.values()]).amax(dim=0)

    def low_rank(self, module: str) -> LowRankDelta:
        """The change of one weight as exact factors, strengths folded in: `up` (out, k), `down` (k, in).

        Raises:
            InputError: No part changes the module.
        """
        parts = [part for part in self.parts if module in part.adapter.modules]
        if not parts:
            raise InputError(f"no concept changes {module}", "name one of FusedAdapter.modules")
        return slot_sum([part.low_rank(module) for part in parts], [part.strength for part in parts])

    def dense(self, module: str) -> Tensor:
        """The change of one weight itself, (out, in); convolutions are flattened to (out, in * kh * kw)."""
        return self.low_rank(module).dense()

    def check_base(self, name: str, fingerprints: Mapping[str, str], allow_other: bool = False) -> None:
        """Refuse a base that one of the parts was not trained on; see `Adapter.check_base`.

        Raises:
            BaseMismatchError: Naming both bases.
        """
        for part in self.parts:
            part.adapter.check_base(name, fingerprints, allow_other)

    def save(self, path: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write a fused file: the parts under `0/`, `1/` ... with their strengths, whole or not at all.

        Args:
            path: The file.
            dtype: float32 or float16; see `Adapter.save`.

        Raises:
            InputError: See `Adapter.save`.
        """
        headers: list[dict[str, Any]] = []
        tensors: dict[str, Tensor] = {}
        for index, part in enumerate(self.parts):
            header, held = part.adapter.pack()
            headers.append({"strength": part.strength, "factor_scale": part.factor_scale, "adapter": header})
            tensors.update({f"{index}/{name}": tensor for name, tensor in held.items()})
        write_file(path, {"format": FORMAT, "parts": headers}, tensors, dtype=dtype)


def load_fused(path: Path) -> FusedAdapter:
    """Read a fused file, or the file of one adapter as a fusion of one.

    Raises:
        AdapterFileError: It is neither, or damaged.
    """
    header, tensors = read_file(path)
    with naming(path):
        if "parts" not in header:
            return FusedAdapter(parts=(FusedPart(adapter=Adapter.unpack(header, tensors)),))
        return FusedAdapter(parts=_unpack_parts(header["parts"], tensors))


def _unpack_parts(headers: Any, tensors: Mapping[str, Tensor]) -> tuple[FusedPart, ...]:
    again = "fuse the adapters again"
    if not isinstance(headers, list) or not headers or not all(isinstance(header, dict) for header in headers):
        raise AdapterFileError("its header lists no parts", again)
    _check_count(len(headers))
    held: dict[str, dict[str, Tensor]] = {str(index): {} for index in range(len(headers))}
    for name, tensor in tensors.items():
        index, _, rest = name.partition("/")
        if index not in held:
            raise AdapterFileError(f"the tensor {name[:200]!r} belongs to none of its {len(headers)} parts", again)
        held[index][rest] = tensor
    parts: list[FusedPart] = []
    for header, part_tensors in zip(headers, held.values(), strict=True):
        inner = header.get("adapter")
        adapter = Adapter.unpack(inner if isinstance(inner, dict) else {}, part_tensors)
        try:
            parts.append(FusedPart.model_validate({**header, "adapter": adapter}))
        except ValidationError as error:
            raise AdapterFileError(f"part {len(parts)} of it is damaged: {first_fault(error)}", again) from error
    return tuple(parts)


def _check_count(count: int) -> None:
    if count > PARTS_LIMIT:
        raise InputError(f"{count} adapters are to be one", f"fuse at most {PARTS_LIMIT}")


def read_strengths(
    adapters: Sequence[Adapter], strengths: Sequence[float] | Mapping[str, float] | None
) -> tuple[float, ...]:
    """One strength for each adapter: given in order, or by concept name (1 where a name is absent), or all 1.

    Raises:
        InputError: Too many or too few, an unknown or ambiguous name, or a value that is not finite.
    """
    names = [adapter.name for adapter in adapters]
    if strengths is None:
        return (1.0,) * len(adapters)
    if isinstance(strengths, Mapping):
        unclear = [name for name in strengths if names.count(name) != 1]
        if unclear:
            raise InputError(
                f"a strength is given for {', '.join(unclear)}, and the adapters are {', '.join(names)}",
                "name each adapter once, or give the strengths in order",
            )
        values = [float(strengths.get(name, 1.0)) for name in names]
    else:
        values = [float(strength) for strength in strengths]
    if len(values) != len(adapters) or not all(map(math.isfinite, values)):
        raise InputError(
            f"{len(adapters)} adapters ({', '.join(names)}) with the strengths {values}", "give one number for each"
        )
    return tuple(values)
