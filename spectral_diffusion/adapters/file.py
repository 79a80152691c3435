"""The self-describing safetensors file of an adapter: written whole, and read without trusting it."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from spectral_diffusion.adapters.header import AGAIN, HEADER_KEY, read_header
from spectral_diffusion.errors import AdapterFileError, InputError
from spectral_diffusion.reading import open_file
from spectral_diffusion.workspace import write_atomically

FORMAT = 1
HEADER_LIMIT_BYTES = 32 * 2**20
"""More than a hundred fused concepts need; a larger header is refused before it is read."""
FILE_LIMIT_BYTES = 8 * 2**30
"""Ten concepts of the largest base at rank 32."""
DTYPES = (torch.float32, torch.float16)
"""What a file may hold; in memory an adapter that was read is float32."""
TENSORS_A_NAME = 16
"""More than any method has for one weight."""


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
            raise AdapterFileError(f"it is cut off or damaged: it claims a header of {length:,} bytes", AGAIN)
        text = start[8 : 8 + length] + file.read(max(0, length - 8))
        header, count = read_header(text, data_bytes)
        _check_known(header, count)
        try:
            tensors = load_safetensors(b"".join((start[:8], text, start[8 + length :], file.read(data_bytes + 1))))
        except (SafetensorError, KeyError, ValueError) as error:
            raise AdapterFileError(f"it is cut off or damaged: {str(error)[:200]}", AGAIN) from error
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
        raise AdapterFileError(f"it holds {tensor_count:,} tensors, more than belong to {names:,} modules", AGAIN)


def _kind(start: bytes) -> str:
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"):
        return "a pickle (a PyTorch checkpoint, by its content)"
    return "empty" if not start else "something else by its content"


def _remedy(start: bytes) -> str:
    if _kind(start).startswith("a pickle"):
        return "pickles can run code and are never loaded: ask for the safetensors file"
    return "give a file that `spectral-diffusion train` or `fuse` wrote"
