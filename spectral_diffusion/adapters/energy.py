"""What an adapter changes, in numbers: how much of the spectrum its slot holds, and how far it moved the weights."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from spectral_diffusion.adapters.adapter import Adapter

ALL = "all"
# Of one weight: |dW|^2, what the slot holds, and |W|^2.
_Entry = tuple[float, float | None, float | None]


@dataclass(frozen=True)
class GroupEnergy:
    """Energies (squared Frobenius norms) summed over a group of weights.

    Args:
        group: Component and kind of layer, or `all`.
        modules: How many weights are in it.
        change: |dW|^2.
        slot: |U_slot diag(S_slot) V_slot^T|^2, the sum of the slot's squared singular values; None where there is none.
        weight: |W|^2, where the base was at hand.
    """

    group: str
    modules: int
    change: float
    slot: float | None
    weight: float | None = None

    @property
    def change_norm(self) -> float:
        """|dW|."""
        return self.change**0.5

    @property
    def relative_change(self) -> float | None:
        """|dW| as a fraction of the norm of what the slot held before training; None without a slot."""
        if self.slot is None:
            return None
        return (self.change / self.slot) ** 0.5 if self.slot else 0.0

    @property
    def share(self) -> float | None:
        """Fraction of the pretrained weights' spectral energy that the slot's columns hold."""
        return self.slot / self.weight if self.weight and self.slot is not None else None


@torch.no_grad()
def energies(adapter: Adapter, weights: Mapping[str, Tensor] | None = None) -> list[GroupEnergy]:
    """Energies by group of layers, and for all of them together at the end.

    Args:
        adapter: A trained concept.
        weights: The pretrained weight of every adapted module; without them there are no shares.
    """
    groups: dict[str, list[_Entry]] = {}
    for module, held in adapter.modules.items():
        delta = adapter.weight_adapter(module).low_rank()
        if delta is None:
            continue
        # |up down|^2 from two small Gram matrices; float64, for a small change is the difference of large products.
        up, down = delta.up.double(), delta.down.double()
        change = max(float(((up.mT @ up) * (down @ down.mT)).sum()), 0.0)
        weight = None if weights is None else float(weights[module].double().square().sum())
        slot = None if adapter.slot is None else float(held["S"].double().square().sum())
        groups.setdefault(group_of(module), []).append((change, slot, weight))
    everything = [entry for entries in groups.values() for entry in entries]
    return [_summed(group, entries) for group, entries in [*sorted(groups.items()), (ALL, everything)]]


def group_of(module: str) -> str:
    """Component and kind of a layer, by its path: `unet cross-attention`."""
    component, _, path = module.partition(".")
    for mark, kind in _KINDS:
        if mark in f".{path}.":
            return f"{component} {kind}"
    return f"{component} other"


_KINDS = (
    (".attn1.", "self-attention"),
    (".attn2.", "cross-attention"),
    (".self_attn.", "self-attention"),
    (".ff.", "feed-forward"),
    (".mlp.", "feed-forward"),
    (".proj_in.", "projection"),
    (".proj_out.", "projection"),
    (".conv", "convolution"),
)


def _summed(group: str, entries: list[_Entry]) -> GroupEnergy:
    slots = [slot for _, slot, _ in entries if slot is not None]
    weights = [weight for _, _, weight in entries if weight is not None]
    return GroupEnergy(
        group,
        len(entries),
        sum(change for change, _, _ in entries),
        sum(slots) if slots else None,
        sum(weights) if weights else None,
    )
