"""Adapter files that are almost as they should be."""

import functools
import io
import json
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from spectral_diffusion.fusion import fuse
from tests.adapters.making import make_adapter

NAME = "a.safetensors"
Change = Callable[[dict[str, Any]], object]


@functools.cache
def sound(*, fused: bool = False, half: bool = False) -> bytes:
    """A file that is as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        adapters = [make_adapter("octo", 1), make_adapter("spot", 2)]
        dtype = torch.float16 if half else torch.float32
        (fuse(adapters) if fused else adapters[0]).save(Path(folder) / NAME, dtype=dtype)
        return (Path(folder) / NAME).read_bytes()


def taken_apart(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The safetensors header and the data after it."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def put_together(header: bytes, data: bytes = b"") -> bytes:
    """A safetensors file of any header."""
    return struct.pack("<Q", len(header)) + header + data


def outer(change: Change, **options: bool) -> bytes:
    """The sound file with another safetensors header."""
    header, data = taken_apart(sound(**options))
    change(header)
    return put_together(json.dumps(header).encode(), data)


def inner(change: Change, **options: bool) -> bytes:
    """The sound file with another header of this package."""

    def both(header: dict[str, Any]) -> None:
        own = json.loads(header["__metadata__"]["spectral_diffusion"])
        change(own)
        header["__metadata__"]["spectral_diffusion"] = json.dumps(own)

    return outer(both, **options)


def own_text(old: str, new: str) -> bytes:
    """The sound file with a piece of its own header's text exchanged, where JSON's writer would not write it."""

    def both(header: dict[str, Any]) -> None:
        text = header["__metadata__"]["spectral_diffusion"]
        assert old in text
        header["__metadata__"]["spectral_diffusion"] = text.replace(old, new, 1)

    return outer(both)


def value(number: float, *, half: bool = False) -> bytes:
    """The sound file with one number of one tensor exchanged."""
    header, data = taken_apart(sound(half=half))
    begin, packed = header["unet.up.to_k.A"]["data_offsets"][0], struct.pack("<e" if half else "<f", number)
    changed = data[:begin] + packed + data[begin + len(packed) :]
    return put_together(json.dumps(header).encode(), changed)


def entry(**changes: Any) -> bytes:
    """The sound file with one tensor described otherwise."""
    return outer(lambda header: header["unet.up.to_k.S"].update(changes))


def zeros() -> bytes:
    """The sound file with nothing but zeros."""
    header, data = taken_apart(sound())
    return put_together(json.dumps(header).encode(), bytes(len(data)))


def archive(kind: str) -> bytes:
    """A little archive: a zip, a tar, or what torch saves."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("data.pkl", "x")
    elif kind == "tar":
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("data.pkl"))
    else:
        torch.save({"weight": torch.zeros(2)}, buffer, _use_new_zipfile_serialization=kind == "torch")
    return buffer.getvalue()


def tiny_tensors(count: int) -> bytes:
    """The sound file with tensors of no number each."""

    def many(header: dict[str, Any]) -> None:
        header.update({f"x{index}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for index in range(count)})

    return outer(many)


def many_modules(header: dict[str, Any]) -> None:
    """More modules than any base has."""
    header["modules"] = [f"unet.m{index}" for index in range(10_001)]


def renamed_module(name: str) -> bytes:
    """The sound file with another module path, everywhere."""
    header, data = taken_apart(sound())
    own = json.loads(header["__metadata__"]["spectral_diffusion"])
    own["modules"] = [name if module == "unet.up.to_k" else module for module in own["modules"]]
    header = {key.replace("unet.up.to_k", name): entry for key, entry in header.items()}
    header["__metadata__"]["spectral_diffusion"] = json.dumps(own)
    return put_together(json.dumps(header).encode(), data)


def renamed_token(name: str) -> bytes:
    """The sound file with another token, everywhere."""
    header, data = taken_apart(sound())
    own = json.loads(header["__metadata__"]["spectral_diffusion"])
    own["tokens"] = {name: own["tokens"]["<octo>"]}
    header = {key.replace("token.<octo>", f"token.{name}"): entry for key, entry in header.items()}
    header["__metadata__"]["spectral_diffusion"] = json.dumps(own)
    return put_together(json.dumps(header).encode(), data)


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    tree: Any = 0
    for _ in range(depth):
        tree = [tree]
    return tree
