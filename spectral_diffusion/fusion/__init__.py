"""Ways to combine adapters, one a file, and `fuse`, which checks what it is given and calls one by name."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal

from spectral_diffusion.adapters.adapter import Adapter
from spectral_diffusion.errors import BaseMismatchError, InputError, SlotError
from spectral_diffusion.fusion.fused import FusedAdapter, FusedPart, load_fused, read_strengths
from spectral_diffusion.fusion.slots import OVERLAP_TOLERANCE

__all__ = [
    "FusedAdapter",
    "FusedPart",
    "OverlapWarning",
    "fuse",
    "fuse_files",
    "fuse_parts",
    "load_fused",
    "rename_tokens",
]


class OverlapWarning(UserWarning):
    """Fused adapters share columns, and the choice was to go on."""


def fuse(
    adapters: Sequence[Adapter],
    *,
    strengths: Sequence[float] | Mapping[str, float] | None = None,
    method: str = "slots",
    factor_scale: float | None = None,
    on_overlap: Literal["refuse", "warn"] = "refuse",
    rename: Mapping[str, str] | None = None,
    allow_other_base: bool = False,
) -> FusedAdapter:
    """Combine trained concepts into one adapter.

    Args:
        adapters: The concepts; none of them is changed.
        strengths: One for each, in order or by concept name, 1 where absent; scales the concept's change.
        method: "slots", the sum of the changes.
        factor_scale: The paper's l (section 4.2) for all: scales factors rather than changes. Absent: 1.
        on_overlap: What to do about adapters that share columns: refuse, or warn and go on.
        rename: New words by old ones; of several adapters with the old word the last one is renamed.
        allow_other_base: Accept adapters of fine-tuned siblings of one base.

    Raises:
        InputError: No adapter, a wrong strength, an unknown method, or a token that two of them have.
        BaseMismatchError: They were trained on different bases.
        SlotError: They share columns, named with their concepts.
    """
    if not adapters:
        raise InputError("there is nothing to fuse", "give at least one adapter")
    if method != "slots":
        raise InputError(f"there is no fusion method '{method}'", "use slots")
    scale = 1.0 if factor_scale is None else factor_scale
    parts = [
        FusedPart(adapter=adapter, strength=strength, factor_scale=scale)
        for adapter, strength in zip(
            rename_tokens(adapters, rename or {}), read_strengths(adapters, strengths), strict=True
        )
    ]
    if not allow_other_base:
        _check_one_base(adapters)
    fused = FusedAdapter(parts=tuple(parts))
    _check_disjoint(fused, on_overlap)
    return fused


def fuse_files(
    files: Sequence[tuple[Path, float]],
    *,
    factor_scale: float | None = None,
    on_overlap: Literal["refuse", "warn"] = "refuse",
    rename: Mapping[str, str] | None = None,
    allow_other_base: bool = False,
) -> FusedAdapter:
    """Fuse files of single and fused adapters, each with a strength that scales those it was fused with.

    Raises:
        InputError: See `fuse`; or files that were fused with different factor scales.
        AdapterFileError: One is not an adapter.
    """
    return fuse_parts(
        [(load_fused(path).parts, strength) for path, strength in files],
        factor_scale=factor_scale,
        on_overlap=on_overlap,
        rename=rename,
        allow_other_base=allow_other_base,
    )


def fuse_parts(
    read: Sequence[tuple[Sequence[FusedPart], float]],
    *,
    factor_scale: float | None = None,
    on_overlap: Literal["refuse", "warn"] = "refuse",
    rename: Mapping[str, str] | None = None,
    allow_other_base: bool = False,
) -> FusedAdapter:
    """The same as `fuse_files`, of files that were read before: the parts of each, with its strength.

    Raises:
        InputError: See `fuse_files`.
    """
    parts = [(part, part.strength * strength) for held, strength in read for part in held]
    kept = {part.factor_scale for part, _ in parts}
    if factor_scale is None and len(kept) > 1:
        raise InputError(
            f"these files were fused with the factor scales {', '.join(f'{scale:g}' for scale in sorted(kept))}",
            "give one for all with --factor-scale",
        )
    return fuse(
        [part.adapter for part, _ in parts],
        strengths=[strength for _, strength in parts],
        factor_scale=kept.pop() if factor_scale is None and kept else factor_scale,
        on_overlap=on_overlap,
        rename=rename,
        allow_other_base=allow_other_base,
    )


def rename_tokens(adapters: Sequence[Adapter], rename: Mapping[str, str]) -> list[Adapter]:
    """The adapters with new words by old ones; of several with the old word the last one is renamed.

    Raises:
        InputError: No adapter has the old word, or the new one is no word.
    """
    renamed = list(adapters)
    for old, new in rename.items():
        holders = [index for index, adapter in enumerate(renamed) if old in adapter.tokens]
        if not holders:
            words = ", ".join(token for adapter in renamed for token in adapter.tokens)
            raise InputError(f"no adapter has the token {old} to rename", f"rename one of {words or '(none)'}")
        renamed[holders[-1]] = renamed[holders[-1]].rename_token(old, new)
    return renamed


def _check_one_base(adapters: Sequence[Adapter]) -> None:
    seen: dict[str, Adapter] = {}
    for adapter in adapters:
        for component, digest in adapter.fingerprints.items():
            first = seen.setdefault(component, adapter)
            if first.fingerprints[component] != digest:
                raise BaseMismatchError(
                    f"{first.name} was trained on {first.base_name} and {adapter.name} on {adapter.base_name}: "
                    f"their {component} differs",
                    "fuse adapters of one base, or --allow-other-base for fine-tuned siblings",
                )


def _check_disjoint(fused: FusedAdapter, on_overlap: Literal["refuse", "warn"]) -> None:
    shared = fused.overlap_matrix
    for (i, one), (j, other) in combinations(enumerate(part.adapter for part in fused.parts), 2):
        if shared[i, j] > OVERLAP_TOLERANCE:
            module = max(fused.overlaps, key=lambda module: fused.overlaps[module][i, j].item())
            fault = SlotError(
                f"{one.name} ({one.columns}) and {other.name} ({other.columns}) share columns: "
                f"overlap {shared[i, j]:.2f} of 1 in {module}",
                "train one of them again in a slot of its own",
            )
            if on_overlap == "refuse":
                raise fault
            warnings.warn(str(fault), OverlapWarning, stacklevel=3)
