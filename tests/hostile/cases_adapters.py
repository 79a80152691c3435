"""Adapter files as an attacker would write them, and what is said of each."""

import gzip
import os
import pickle
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from tests.hostile.adapter_files import (
    NAME,
    archive,
    entry,
    inner,
    many_modules,
    nested,
    outer,
    own_text,
    put_together,
    renamed_module,
    renamed_token,
    sound,
    tiny_tensors,
    value,
    zeros,
)
from tests.hostile.case import Case, written

OUTER = {
    "header of nine exabytes": (struct.pack("<Q", 2**63 - 1) + b"{", "claims a header of 9,223"),
    "header of all ones": (b"\xff" * 8 + b"{", "claims a header"),
    "header longer than the file": (struct.pack("<Q", 5000) + sound()[8:2000], "claims a header of 5,000"),
    "header of no bytes": (struct.pack("<Q", 0) + sound()[8:], "not an adapter of this package"),
    "header of one byte": (struct.pack("<Q", 1) + sound()[8:], "not an adapter of this package"),
    "header that is no JSON": (put_together(b"{not json"), "not an adapter of this package"),
    "header of 100 000 lists": (put_together(b'{"__metadata__": ' + b"[" * 100_000), "not an adapter"),
    "header of 100 000 objects": (put_together(b'{"a":' * 100_000), "not an adapter"),
    "header not UTF-8": (put_together(b'{"\xff\xfe": 1}'), "not an adapter"),
    "no metadata": (outer(lambda header: header.pop("__metadata__")), "not an adapter of this package"),
    "metadata a list": (outer(lambda header: header.update(__metadata__=[1])), "not an adapter"),
    "metadata null": (outer(lambda header: header.update(__metadata__=None)), "not an adapter"),
    "metadata of numbers": (outer(lambda header: header["__metadata__"].update(x=5)), "metadata are not texts"),
    "own header a number": (outer(lambda h: h["__metadata__"].update(spectral_diffusion=7)), "not an adapter"),
    "own header a list": (outer(lambda h: h["__metadata__"].update(spectral_diffusion="[1]")), "not an adapter"),
    "own header empty": (outer(lambda h: h["__metadata__"].update(spectral_diffusion="")), "not an adapter"),
    "a tensor twice": (put_together(b'{"a": 1, "a": 2, "__metadata__": {}}'), "a key twice"),
    "a tensor called nothing": (outer(lambda h: h.update({"": h["unet.up.to_k.S"]})), "overlaps"),
    "a tensor that is a number": (outer(lambda h: h.update({"x": 5})), "not described as a tensor"),
    "a tensor without dtype": (outer(lambda h: h["unet.up.to_k.S"].pop("dtype")), "not described as a tensor"),
    "a tensor with more to say": (entry(device="cuda"), "not described as a tensor"),
    **{
        f"numbers of type {dtype}": (entry(dtype=dtype), "adapters are float32")
        for dtype in ("BF16", "F64", "I64", "BOOL", "F8_E8M0", "object", 32, None, ["F32"], "F32" * 10**5)
    },
    "float16 as long as float32": (entry(dtype="F16"), "which does not fit"),
    "float32 as long as float16": (
        outer(lambda h: h["unet.up.to_k.S"].update(dtype="F32"), half=True), "which does not fit"),
    "float16 among float32": (entry(dtype="F16", shape=[4]), "some of its tensors are float32 and some float16"),
    "float16 of an odd length": (sound(half=True)[:-1], "bytes of tensors and holds"),
    "float16 by the name of bfloat16": (
        outer(lambda h: [e.update(dtype="BF16") for e in h.values() if "dtype" in e], half=True), "adapters are"),
    **{
        f"shape {str(shape)[:30]}": (entry(shape=shape), "damaged")
        for shape in (
            [-2], [2.0], ["2"], None, "2", [True, True], [2**40], [2**32, 2**32], [1, 1, 1, 1, 2], [[2]], [0], [3],
            {}, [10**1000], [1_000_000, 1_000_000], [2] * 10**5,
        )
    },
    **{
        f"offsets {str(offsets)[:30]}": (entry(data_offsets=offsets), "damaged")
        for offsets in (
            [-8, 0], [8, 0], [2**62, 2**62 + 8], [0, 8], [0, 8, 8], [0.0, 8.0], ["0", "8"], [False, 8], None, [], 5,
            [0, 10**400],
        )
    },
    "a gap before the data": (
        outer(lambda h: h.update(x={"dtype": "F32", "shape": [1], "data_offsets": [10**6, 10**6 + 4]})), "gap"),
    "bytes after the tensors": (sound() + b"x", "bytes of tensors and holds"),
    "a pickle after the tensors": (sound() + pickle.dumps([1]), "bytes of tensors and holds"),
    "bytes missing": (sound()[:-1], "bytes of tensors and holds"),
    "half of it": (sound()[: len(sound()) // 2], "cut off or damaged"),
    "100 000 tensors of nothing": (tiny_tensors(100_000), "more than belong to 3 modules"),
    "a tensor called by a path": (renamed_module("../../etc/passwd"), "modules"),
    "a tensor called by 10 MB": (outer(lambda h: h.update({"x" * 10**7: h.pop("unet.up.to_k.S")})), "no module"),
}  # fmt: skip

INNER = {
    **{
        f"format {str(number)[:20]}": (inner(lambda h, number=number: h.update(format=number)), "format")
        for number in (0, 2, -1, "1", "x" * 10**6, None, [1], {}, 10**18)
    },
    "no format": (inner(lambda h: h.pop("format")), "not an adapter"),
    "NaN in the training": (own_text('"steps": 150', '"steps": NaN'), "NaN, which is no number"),
    "infinity in the training": (own_text('"steps": 150', '"steps": -Infinity'), "-Infinity, which is no number"),
    "a number beyond all": (own_text('"steps": 150', '"steps": 1e999'), "not finite"),
    "a number of 5000 digits": (own_text('"steps": 150', '"steps": ' + "9" * 5000), "not an adapter"),
    "a number of 300 digits": (own_text('"steps": 150', '"steps": ' + "9" * 300), "63 bits"),
    "half a character": (own_text('"steps": 150', '"steps": "\\ud800"'), "half of a character"),
    "a name twice": (own_text('"name": "octo"', '"name": "octo", "name": "spot"'), "a key twice"),
    "a training 40 deep": (inner(lambda h: h.update(training={"x": nested(40)})), "nested deeper than 32"),
    "a training 500 deep": (inner(lambda h: h.update(training={"x": nested(500)})), "nested deeper than 32"),
    "a training that is a list": (inner(lambda h: h.update(training=[1])), "training"),
    **{
        f"name {ascii(name)[:24]}": (inner(lambda h, name=name: h.update(name=name)), "name: ")
        for name in (
            "", "../../x", "/etc/passwd", "..", ".", ".bashrc", "a/b", "a\\b", "C:\\x", "a\0b", "a\nb", "\x1b[2J",
            "\x9b2J", "a\u202eb", "a\u2028b", "\ufeffa", "x" * 201, 7, None, ["octo"],
        )
    },
    **{
        f"method {method!r}": (inner(lambda h, method=method: h.update(method=method)), "method")
        for method in ("", "os.system", "__class__", "../spectral", None, ["spectral"], "pickle")
    },
    **{
        f"rank {rank}": (inner(lambda h, rank=rank: h.update(rank=rank)), "rank")
        for rank in (0, -1, 1, 3, 2**40, 1.5, "many", None, [2])
    },
    **{
        f"slot {slot}": (inner(lambda h, slot=slot: h.update(slot=slot)), "")
        for slot in (
            {"start": -2, "width": 2}, {"start": 10**18, "width": 2}, {"start": 12, "width": 2}, {"width": 2},
            {"start": 0, "width": 0}, {"start": 0, "width": 3}, {"start": 0.5, "width": 2}, [0, 2], "0", None,
        )
    },
    **{
        f"fingerprints {str(found)[:20]}": (inner(lambda h, found=found: h.update(fingerprints=found)), "ingerprint")
        for found in ({}, [], "a", {"vae": "a"}, {"unet": 5}, {"unet": "a\nb"}, {"unet": "x" * 300})
    },
    **{
        f"class word {ascii(word)[:20]}": (inner(lambda h, w=word: h["tokens"]["<octo>"].update(class_word=w)), "")
        for word in ("", "a\nb", "a\x1bb", "x" * 300, 5, None)
    },
    **{
        f"{count} vectors": (inner(lambda h, count=count: h["tokens"]["<octo>"].update(vectors=count)), "vectors")
        for count in (0, -1, 1, 3, 78, 10**18, "all")
    },
    **{
        f"token {ascii(token)[:20]}": (renamed_token(token), "token")
        for token in ("a", "octo", "<>", "<a b>", "<<a>>", "<a\u202eb>", "<a@b>", f"<{'x' * 50}>", "<a\u200bb>", "a.b")
    },
    **{
        f"module {ascii(name)[:20]}": (renamed_module(name), "")
        for name in ("unet..x", "unet.a/b", "unet.a b", "unet.\u202e", "vae.x", "x" * 400)
    },
    "modules a text": (inner(lambda h: h.update(modules="unet")), "no module"),
    "10 001 modules": (inner(many_modules), "no module"),
    "a base of two lines": (inner(lambda h: h.update(base_name="a\nb")), "base_name"),
    "a version that clears the screen": (inner(lambda h: h.update(package_version="\x1b[2J")), "package_version"),
    **{f"the value {number}": (value(number), "not finite") for number in (float("nan"), float("inf"), float("-inf"))},
    **{
        f"the float16 {number}": (value(number, half=True), "not finite")
        for number in (float("nan"), float("inf"), float("-inf"))
    },
    **{f"the value {number:g}": (value(number), "no training gives") for number in (1e6, -1e30, 3e38)},
}  # fmt: skip

FUSED = {
    **{
        f"parts {str(parts)[:20]}": (inner(lambda h, parts=parts: h.update(parts=parts), fused=True), "part")
        for parts in (3, [], [3], None, {}, "01", [{}] * 257)
    },
    **{
        f"part number {index[:12]}": (
            outer(lambda h, i=index: h.update({f"{i}/unet.up.to_k.S": h.pop("0/unet.up.to_k.S")}), fused=True),
            "none of its 2 parts",
        )
        for index in ("-1", "00", "2", "", "\uff10", "\u00b2", "9" * 5000, "0x0", " 0", "1e0", "..")
    },
    **{
        f"strength {strength}": (inner(lambda h, s=strength: h["parts"][0].update(strength=s), fused=True), "")
        for strength in (1e9, -1001, "inf", "nan", None, [1], "much")
    },
    **{
        f"factor scale {scale}": (inner(lambda h, s=scale: h["parts"][0].update(factor_scale=s), fused=True), "")
        for scale in (1e9, "inf", None)
    },
    "two of one token": (
        outer(lambda h: h.update({"1/token.<octo>": h.pop("1/token.<spot>")}), fused=True), "tokens listed"),
}  # fmt: skip

KINDS = {
    **{f"a pickle of protocol {n}": (pickle.dumps({"a": [1] * 9}, protocol=n), "pickle" if n > 1 else "something else")
       for n in range(6)},
    "a torch checkpoint": (archive("torch"), "a pickle"),
    "an old torch checkpoint": (archive("torch before 1.6"), "a pickle"),
    "a zip": (archive("zip"), "a pickle"),
    "a tar": (archive("tar"), "not a safetensors file"),
    "itself, gzipped": (gzip.compress(sound()), "not a safetensors file"),
    "nothing": (b"", "empty"),
    "one byte": (b"{", "not a safetensors file"),
    "seven bytes": (b"\0" * 7, "not a safetensors file"),
    "eight zeros": (b"\0" * 8, "not a safetensors file"),
    "a page": (b"<!doctype html><script>alert(1)</script>", "not a safetensors file"),
    "JSON": (b'{"weight_map": {}}' * 9, "not a safetensors file"),
    "a program": (b"\x7fELF" + b"\0" * 99, "not a safetensors file"),
    "a PNG": (b"\x89PNG\r\n\x1a\n" + b"\0" * 99, "not a safetensors file"),
    "an array": (b"\x93NUMPY\x01\0v\0" + b"{" * 99, "not a safetensors file"),
}  # fmt: skip


def _link(target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / NAME).symlink_to(target)
        return folder / NAME

    return make


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / NAME)
    return folder / NAME


def _socket(folder: Path) -> Path:
    before = os.getcwd()
    os.chdir(folder)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(NAME)
    finally:
        os.chdir(before)
    return folder / NAME


def _folder(folder: Path) -> Path:
    (folder / NAME).mkdir()
    return folder / NAME


def _sparse(size: int, start: bytes = b"") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with open(folder / NAME, "wb") as file:
            file.write(start)
            file.truncate(size)
        return folder / NAME

    return make


def _beside(content: bytes, name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "real").write_bytes(content)
        (folder / name).symlink_to("real")
        return folder / name

    return make


PLACES = [
    Case("missing", lambda folder: folder / "gone.safetensors", ("there is no file",)),
    Case("a folder", _folder, ("is a folder",)),
    Case("a pipe", _pipe, ("no ordinary file",)),
    Case("a socket", _socket, ("no ordinary file",)),
    Case("a link to zeros without end", _link("/dev/zero"), ("no ordinary file",)),
    Case("a link to itself", _link(NAME), ("cannot read",)),
    Case("a link to nowhere", _link("nowhere"), ("there is no file",)),
    Case("a name with NUL", lambda folder: folder / "a\0.safetensors", ("cannot be a path",)),
    Case("a name with half a character", lambda folder: folder / "\ud800", ("cannot be a path",)),
    Case("a name of 5000 characters", lambda folder: folder / ("x" * 5000), ("cannot read",)),
    Case("nine gigabytes", _sparse(9 * 2**30), ("9,663,676,416 bytes, over the limit",)),
    Case("a header of 33 MiB", _sparse(2**31, struct.pack("<Q", 33 * 2**20) + b"{"), ("claims a header",)),
    Case(
        "a tensor of a gigabyte that is not there",
        written(entry(shape=[2**14, 2**14], data_offsets=[0, 2**30]), NAME),
        ("damaged",),
    ),
]

ACCEPTED = [
    Case("as it should be", written(sound(), NAME), accepted=lambda fused: fused.tokens.keys() == {"<octo>"}),
    Case("fused, as it should be", written(sound(fused=True), NAME), accepted=lambda fused: len(fused.parts) == 2),
    Case("in float16", written(sound(half=True), NAME), accepted=lambda fused: fused.tokens.keys() == {"<octo>"}),
    Case("fused, in float16", written(sound(fused=True, half=True), NAME), accepted=lambda f: len(f.parts) == 2),
    Case("the largest float16", written(value(65504.0, half=True), NAME), accepted=lambda fused: fused.modules),
    Case("by another name", written(sound(), "a.pt"), accepted=lambda fused: fused.modules),
    Case("by a link", _beside(sound(), "b"), accepted=lambda fused: fused.modules),
    Case("all zeros", written(zeros(), NAME), accepted=lambda fused: not fused.dense("unet.up.to_k").any()),
    Case("a tiny value", written(value(1e-45), NAME), accepted=lambda fused: fused.modules),
    Case("fields of later versions", written(inner(lambda h: h.update(new={"a": [1]})), NAME), accepted=lambda f: f),
    Case("a name in Hebrew", written(inner(lambda h: h.update(name="תמנון")), NAME),
         accepted=lambda f: f.parts[0].adapter.name == "תמנון"),
    Case("a name that is markup", written(inner(lambda h: h.update(name="<img onerror=alert(1)>")), NAME),
         accepted=lambda f: f.parts[0].adapter.name.startswith("<img")),
    Case("a module that sounds dangerous", written(renamed_module("unet.__class__"), NAME),
         accepted=lambda f: "unet.__class__" in f.modules),
    Case("metadata of others beside ours", written(outer(lambda h: h["__metadata__"].update(format="pt")), NAME),
         accepted=lambda f: f.modules),
]  # fmt: skip

CASES = [
    Case(name, written(content, NAME), (word,) if word else (NAME,))
    for group in (OUTER, INNER, FUSED, KINDS)
    for name, (content, word) in group.items()
] + PLACES + ACCEPTED  # fmt: skip
