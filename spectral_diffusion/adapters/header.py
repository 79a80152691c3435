"""The header of an adapter file, judged whole before a byte of its tensors is read."""

import json
import math
from collections.abc import Sequence
from typing import Any

from spectral_diffusion.errors import AdapterFileError

HEADER_KEY = "spectral_diffusion"
DEPTH_LIMIT = 32
AGAIN = "train the concept again, or get the file from its author again"
"""What to do about a file that is none of ours or damaged."""
# More sides than any tensor of an adapter has, and longer ones than any weight of a known model.
_SIDES, _SIDE = 4, 2**24
_BYTES = {"F32": 4, "F16": 2}


def read_header(text: bytes, data_bytes: int) -> tuple[Any, int]:
    """The package's own header out of that of a safetensors file.

    Args:
        text: The JSON at the start of the file: `{name: {dtype, shape, data_offsets}, __metadata__: {key: text}}`.
        data_bytes: Length of what follows it. The tensors must fill that without gap and without overlap.

    Returns:
        The value under `spectral_diffusion`, itself JSON: finite numbers, whole characters, no key twice; and how many
        tensors there are. All are float32 or all are float16.

    Raises:
        AdapterFileError: It is of something else, or contradicts itself or the length of the file.
    """
    try:
        listed = _parsed(text)
        metadata = listed.pop("__metadata__")
        own = _parsed(metadata[HEADER_KEY])
    except _Doubtful as error:
        raise AdapterFileError(f"it is damaged: its header holds {error}", AGAIN) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AdapterFileError(
            f"it is a safetensors file without a readable {HEADER_KEY} header: not an adapter of this package",
            "give a file that `spectral-diffusion train` or `fuse` wrote",
        ) from error
    if not all(isinstance(value, str) for value in metadata.values()):
        raise AdapterFileError("it is damaged: its metadata are not texts", AGAIN)
    spans = sorted(_span(name, entry) for name, entry in listed.items())
    if len({entry["dtype"] for entry in listed.values()}) > 1:
        raise AdapterFileError("it is damaged: some of its tensors are float32 and some float16", AGAIN)
    end = 0
    for begin, stop, name in spans:
        if begin != end:
            raise AdapterFileError(f"it is damaged: its tensor {name!r} overlaps another or leaves a gap", AGAIN)
        end = stop
    if end != data_bytes:
        raise AdapterFileError(
            f"it is cut off or damaged: it should hold {end:,} bytes of tensors and holds {data_bytes:,}", AGAIN
        )
    return own, len(spans)


class _Doubtful(ValueError):
    """JSON that different readers would read differently, or that nothing can print."""


def _parsed(text: bytes | str) -> Any:
    value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    _check_plain(value)
    return value


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):
        raise _Doubtful("a key twice")
    return held


def _no_constant(name: str) -> Any:
    raise _Doubtful(f"{name}, which is no number")


def _check_plain(value: Any) -> None:
    """Everything in the value can be computed with, printed, and written again."""
    level = [value]
    for _ in range(DEPTH_LIMIT):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str):
                if not item.isascii() and any("\ud800" <= character <= "\udfff" for character in item):
                    raise _Doubtful("half of a character")
            elif isinstance(item, float):
                if not math.isfinite(item):
                    raise _Doubtful("a number that is not finite")
            elif isinstance(item, int) and abs(item) >= 2**63:
                raise _Doubtful("a number of more than 63 bits")
        if not below:
            return
        level = below
    raise _Doubtful(f"values nested deeper than {DEPTH_LIMIT}")


def _span(name: str, entry: Any) -> tuple[int, int, str]:
    """Where a tensor begins and ends, once its description makes sense."""
    shown = name[:200]
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise AdapterFileError(f"it is damaged: {shown!r} is not described as a tensor", AGAIN)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise AdapterFileError(
            f"{shown!r} is {str(dtype)[:20]!r}, and adapters are float32 ('F32') or float16 ('F16')", AGAIN
        )
    if not _all_counts(shape) or len(shape) > _SIDES or any(side > _SIDE for side in shape):
        raise AdapterFileError(f"it is damaged: {shown!r} has the shape {str(shape)[:60]}", AGAIN)
    if not _all_counts(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * _BYTES[dtype]:
        raise AdapterFileError(
            f"it is damaged: {shown!r} of shape {shape} lies at {str(offsets)[:60]}, which does not fit", AGAIN
        )
    return offsets[0], offsets[1], shown


def _all_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)
