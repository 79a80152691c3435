"""Adapters that are read once and then fused again and again: with other strengths, and without some of them."""

from collections.abc import Mapping, Sequence
from typing import Literal

from spectral_diffusion.errors import InputError
from spectral_diffusion.fusion import FusedAdapter, FusedPart, fuse_parts, rename_tokens


class AdapterSet:
    """The adapters of some files.

    Only those that are fused with one another have to go together: two versions of one concept may be in one set.

    Args:
        files: The parts that each file holds, see `load_fused`.
        rename, factor_scale, on_overlap, allow_other_base: As for `fuse_files`; tokens are renamed over all files.

    Raises:
        InputError: No adapter has a token that shall be renamed.
    """

    def __init__(
        self,
        files: Sequence[Sequence[FusedPart]],
        *,
        rename: Mapping[str, str] | None = None,
        factor_scale: float | None = None,
        on_overlap: Literal["refuse", "warn"] = "refuse",
        allow_other_base: bool = False,
    ) -> None:
        renamed = iter(rename_tokens([part.adapter for parts in files for part in parts], rename or {}))
        self._files = [
            [part.model_copy(update={"adapter": adapter}) for part, adapter in zip(parts, renamed, strict=False)]
            for parts in files
        ]
        self._factor_scale, self._allow_other_base = factor_scale, allow_other_base
        self._on_overlap: Literal["refuse", "warn"] = on_overlap
        self._checked: dict[tuple[int, ...], FusedAdapter] = {}

    def fused(self, strengths: Sequence[float | None]) -> FusedAdapter | None:
        """The adapters as one.

        That they go together is found out once for each selection; after that it costs next to nothing.

        Args:
            strengths: One for each file, which scales what it holds; None leaves it out.

        Returns:
            What `fuse_files` makes of the files that are not left out; None where all are.

        Raises:
            InputError: See `fuse_files`; or not one strength for each file.
        """
        if len(strengths) != len(self._files):
            raise InputError(f"{len(self._files)} files with {len(strengths)} strengths", "give one for each")
        chosen = {number: strength for number, strength in enumerate(strengths) if strength is not None}
        if not chosen:
            return None
        selection = tuple(chosen)
        if selection not in self._checked:
            self._checked[selection] = fuse_parts(
                [(self._files[number], 1.0) for number in selection],
                factor_scale=self._factor_scale,
                on_overlap=self._on_overlap,
                allow_other_base=self._allow_other_base,
            )
        scales = [strength for number, strength in chosen.items() for _ in self._files[number]]
        return FusedAdapter(
            parts=tuple(
                FusedPart(adapter=part.adapter, strength=part.strength * scale, factor_scale=part.factor_scale)
                for part, scale in zip(self._checked[selection].parts, scales, strict=True)
            )
        )
