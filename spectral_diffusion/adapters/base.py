"""The seam behind which every way of changing one weight lives."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from spectral_diffusion.errors import AdapterFileError, InputError
from spectral_diffusion.spectrum import LowRankDelta, Spectrum, as_matrix


class WeightAdapter(nn.Module, ABC):
    """A trainable change of one pretrained weight, which itself is never copied.

    A method names its tensors with their shapes; those that train become parameters, the others buffers. How one begins
    depends on whether it owns columns of the weight's spectrum: `ColumnAdapter`, `FreeAdapter`.

    Args:
        tensors: The method's tensors by name, of one floating type.

    Raises:
        AdapterFileError: A tensor is missing, unknown, or of a shape that does not fit the others.
    """

    SHAPES: ClassVar[Mapping[str, tuple[str, ...]]]
    """Name of each tensor and the names of its sides, which are "out", "in" and "rank"; sides of one name are equal."""
    TRAINED: ClassVar[frozenset[str]]
    """The tensors that train."""
    OPTIONAL: ClassVar[frozenset[str]] = frozenset()
    """The tensors that may be absent; their attribute is then None."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.rank = _sides(tensors, self.SHAPES, self.OPTIONAL)["rank"]
        for name in self.SHAPES:
            tensor = tensors.get(name)
            if tensor is not None and name in self.TRAINED:
                self.register_parameter(name, nn.Parameter(tensor.detach().clone()))
            else:
                self.register_buffer(name, tensor)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The adapter that `tensors` came from.

        Raises:
            AdapterFileError: A tensor is missing, unknown, or of a shape that does not fit the others.
        """
        return cls(tensors)

    @classmethod
    def shape_of(cls, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
        """Of the weight that `tensors` change, (out, in).

        Raises:
            AdapterFileError: See `from_tensors`.
        """
        sides = _sides(tensors, cls.SHAPES, cls.OPTIONAL)
        return sides["out"], sides["in"]

    @staticmethod
    @abstractmethod
    def parameter_count(out_features: int, in_features: int, rank: int) -> int:
        """How many numbers train for one weight (Table 3)."""

    @abstractmethod
    def low_rank(self) -> LowRankDelta | None:
        """The change as exact, differentiable factors; None where a method has none."""

    def forward(self, weight: Tensor) -> Tensor:
        """`W -> W'`, of the weight's shape and type; for a convolution the change is folded back into its kernel."""
        delta = self.low_rank()
        assert delta is not None, "a method without factors defines its own forward"
        return (as_matrix(weight) + delta.dense()).view_as(weight).to(weight.dtype)

    def scale_factors(self, factor_scale: float) -> Self:
        """A copy with the paper's fusion coefficient l (section 4.2) on the trained factors, not on the change.

        Raises:
            InputError: The method has no such factors.
        """
        raise InputError(
            f"factor_scale {factor_scale:g} scales additive factors, and {type(self).__name__} has none",
            "use strength, which scales the change itself",
        )

    def tensors(self) -> dict[str, Tensor]:
        """A copy of the tensors by the name they have in an adapter file."""
        held = {name: getattr(self, name) for name in self.SHAPES}
        return {name: tensor.detach().clone() for name, tensor in held.items() if tensor is not None}


class ColumnAdapter(WeightAdapter):
    """A change of the singular columns of one slot, which it owns; it begins at a decomposition of the weight."""

    @classmethod
    @abstractmethod
    def create(cls, spectrum_slot: Spectrum, *, train_singular_values: bool = False) -> Self:
        """An adapter that changes nothing yet, over the columns of one slot (see `spectrum.take_slot`)."""

    @staticmethod
    @abstractmethod
    def parameter_count(out_features: int, in_features: int, rank: int, *, train_singular_values: bool = False) -> int:
        """How many numbers train for one weight (Table 3), with or without the singular values."""


class FreeAdapter(WeightAdapter):
    """A change that owns no columns: it needs no slot and no decomposition, and may meet any other in any direction."""

    @classmethod
    @abstractmethod
    def create(cls, shape: tuple[int, int], rank: int, generator: torch.Generator) -> Self:
        """An adapter that changes nothing yet.

        Args:
            shape: Of the weight, (out, in); see `spectrum.as_matrix`.
            rank: Of the change.
            generator: What is random in it, on the CPU: the same on every device.

        Returns:
            On the CPU, float32.
        """


METHODS: dict[str, type[ColumnAdapter] | type[FreeAdapter]] = {}
"""Ways to change a weight by the name that adapter files call them. The package enters its methods, so that the file
reads what any of them wrote and knows none of them."""


def holds_columns(method: str) -> bool:
    """Whether adapters of a method, a key of `METHODS`, own columns; others are no business of the ledger."""
    return issubclass(METHODS[method], ColumnAdapter)


def refuse_slot(method: str, slot: int | Literal["auto"]) -> None:
    """See that nobody asks for columns that nobody would hold.

    Args:
        method: A key of `METHODS`.
        slot: Number of the slot that was asked for, or "auto".

    Raises:
        InputError: A slot for a method that holds no columns.
    """
    if slot != "auto" and not holds_columns(method):
        owners = " or ".join(name for name in METHODS if holds_columns(name))
        raise InputError(
            f"slot {slot} was asked for, and the method {method} holds no columns",
            f"leave the slot at auto, or train by {owners}",
        )


def _sides(
    tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[str, ...]], optional: frozenset[str]
) -> dict[str, int]:
    """The length of each named side, once all tensors are there and agree on it."""
    remedy = "train the concept again, or get the file from its author again"
    missing = sorted(shapes.keys() - optional - tensors.keys())
    unknown = sorted(tensors.keys() - shapes.keys())
    if missing or unknown:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise AdapterFileError(f"an adapted weight {' and '.join(faults)}", remedy)
    sides: dict[str, int] = {}
    for name, tensor in tensors.items():
        shape = tuple(tensor.shape)
        if len(shape) != len(shapes[name]) or not all(
            length > 0 and sides.setdefault(side, length) == length
            for side, length in zip(shapes[name], shape, strict=True)
        ):
            raise AdapterFileError(
                f"{name} of shape {shape} does not fit ({', '.join(shapes[name])}) with {sides or 'sides above 0'}",
                remedy,
            )
    if len({tensor.dtype for tensor in tensors.values()}) > 1 or not next(iter(tensors.values())).is_floating_point():
        raise AdapterFileError("the tensors of an adapted weight are not of one floating type", remedy)
    return sides
