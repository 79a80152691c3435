"""Zips of concepts, honest and hostile, and other archives; and what is said of each."""

import io
import random
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from tests.hostile.case import Case, written
from tests.hostile.cases_images import NOISE, encoded

PHOTOGRAPH = encoded(NOISE)
MASK = encoded(Image.new("L", NOISE.size, 255))
TOML = b'token = "<octo>"\nclass_word = "octopus"\n'
NAME = "octo.zip"


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    """A zip of these members, whatever their names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(_info(name, method), content)
        archive.comment = comment
    return buffer.getvalue()


def _info(name: str, method: int = zipfile.ZIP_DEFLATED, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x", (2026, 1, 1, 0, 0, 0))
    info.filename = name
    info.compress_type, info.external_attr, info.create_system = method, mode << 16, 3
    return info


def _of_mode(mode: int, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("1.png", PHOTOGRAPH)
        archive.writestr(_info("2.png", mode=mode), content)
    return buffer.getvalue()


def _called(name: str) -> bytes:
    return zipped({"1.png": PHOTOGRAPH, name: PHOTOGRAPH})


def _with_nul() -> bytes:
    return zipped({"1.pngX../../x.png": PHOTOGRAPH}).replace(b"1.pngX..", b"1.png\0..")


def _twice(one: str, other: str) -> bytes:
    placeholder = "Q" * len(other)
    return zipped({one: PHOTOGRAPH, placeholder: PHOTOGRAPH}).replace(placeholder.encode(), other.encode())


def _encrypted() -> bytes:
    content = bytearray(zipped({"1.png": PHOTOGRAPH}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def _patched(signature: bytes, offset: int, new: bytes, content: bytes = b"") -> bytes:
    changed = bytearray(content or zipped({"1.png": PHOTOGRAPH}))
    at = changed.index(signature) + offset
    changed[at : at + len(new)] = new
    return bytes(changed)


def _overlapping(count: int) -> bytes:
    """One compressed photograph that the list of members names often: each entry points at the same bytes."""
    content = zipped({"1.png": PHOTOGRAPH})
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry = content[start:end]
    entries = b"".join(entry.replace(b"1.png", f"{index:05}".encode()) for index in range(count))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count % 65536, count % 65536, len(entries), start, 0)
    return content[:start] + entries + tail


def _bomb(megabytes: int, members: int = 1) -> bytes:
    return zipped({f"{index}.png": bytes(megabytes * 2**20) for index in range(members)})


def _lying_bomb() -> bytes:
    """Claims ten bytes and unpacks to 16 MB."""
    content = bytearray(_bomb(16))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(signature) + offset
        content[at : at + 4] = struct.pack("<L", 10)
    return bytes(content)


def _nested() -> bytes:
    return zipped({"1.png": PHOTOGRAPH, "more.zip": _bomb(1), "run.sh": b"rm -rf ~"})


def _tar(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w{mode}") as archive:
        info = tarfile.TarInfo("1.png")
        info.size = len(PHOTOGRAPH)
        archive.addfile(info, io.BytesIO(PHOTOGRAPH))
    return buffer.getvalue()


def _noise(count: int) -> bytes:
    return random.Random(count).randbytes(count)


def _holds(count: int, **facts: Any) -> Callable[[Any], bool]:
    def right(concept: Any) -> bool:
        inside = all(photograph.path.parent.name.endswith(".zip") for photograph in concept.photographs)
        return len(concept.photographs) == count and inside and all(getattr(concept, k) == v for k, v in facts.items())

    return right


WHOLE = {"1.png": PHOTOGRAPH, "1.txt": b"an octopus", "1.mask.png": MASK, "concept.toml": TOML}

REFUSED = {
    **{
        f"a member {ascii(name)[:28]}": (_called(name), "octo.zip")
        for name in (
            "../x.png", "../../../../tmp/x.png", "a/../../x.png", "/tmp/x.png", "//x/y.png", "C:/x.png", "C:\\x.png",
            "..\\x.png", "a\\b.png", "a:b.png", "CON.png", "nul", "aux.txt", "com1.png", "a./x.png", "a /x.png",
            "./x.png", "a//x.png", "x\x1b[2J.png", "x\u202egnp.png", "x\n.png", "x" * 300 + ".png", "é" * 200 + ".png",
            "/".join("abcdefghijklmnopqrstuvw") + ".png", "~*.png", "<img onerror=alert(1)>.png", "$(id)|x.png", "..",
        )
    },
    "a name that ends before its path": (_with_nul(), "octo.zip"),
    "a link": (_of_mode(stat.S_IFLNK | 0o777, b"/etc/passwd"), "is a link or a device"),
    "a device": (_of_mode(stat.S_IFCHR | 0o666, b""), "is a link or a device"),
    "a pipe": (_of_mode(stat.S_IFIFO | 0o666, b""), "is a link or a device"),
    "a name twice": (_twice("1.png", "1.png"), "one file on many systems"),
    "a name in two cases": (_twice("a.png", "A.PNG"), "one file on many systems"),
    "a name in two forms of Unicode": (
        zipped({"\u00e9.png": PHOTOGRAPH, "e\u0301.png": PHOTOGRAPH}), "one file on many systems"),
    "encrypted": (_encrypted(), "is encrypted"),
    "compressed by LZMA": (zipped({"1.png": PHOTOGRAPH}, zipfile.ZIP_LZMA), "another method than deflate"),
    "compressed by bzip2": (zipped({"1.png": PHOTOGRAPH}, zipfile.ZIP_BZIP2), "another method than deflate"),
    "compressed by an unknown method": (_patched(b"PK\x01\x02", 10, b"\x63\0"), "another method than deflate"),
    "16 MB of zeros": (_bomb(16), "unpacks to more than"),
    "16 MB of zeros that claim to be 10 bytes": (_lying_bomb(), "octo.zip"),
    "40 times 2 MB of zeros": (_bomb(2, 40), "unpacks to more than"),
    "members on one another": (_overlapping(900), "lie in one another"),
    "2000 members": (zipped({f"{index}.png": b"" for index in range(2000)}), "2000 files, over the limit"),
    "60 000 members on one another": (_overlapping(60_000), "lists more than"),
    "51 photographs": (zipped({f"{index}.png": PHOTOGRAPH for index in range(51)}), "51 photographs"),
    "no members": (zipped({}), "no photographs found in"),
    "no photographs": (zipped({"a.txt": b"x", "b.md": b"y"}), "no photographs found in"),
    "only a zip in a zip": (zipped({"octo.zip": zipped(WHOLE)}), "no photographs found in"),
    "two folders": (zipped({"octo/1.png": PHOTOGRAPH, "spot/1.png": PHOTOGRAPH}), "several folders (octo, spot)"),
    "only deep folders": (zipped({"a/b/c/1.png": PHOTOGRAPH}), "no photographs found in"),
    "only what Macs leave": (zipped({"__MACOSX/._1.png": b"x", ".DS_Store": b"x"}), "no photographs found in"),
    "a picture that is none": (zipped({"1.png": b"I am a letter"}), "octo.zip/1.png is not a PNG"),
    "a picture of 196 megapixels": (
        zipped({"1.png": encoded(Image.new("1", (14000, 14000)))}), "octo.zip/1.png has 14000 x 14000"),
    "a mask without photograph": (zipped({"1.png": PHOTOGRAPH, "2.mask.png": MASK}), "octo.zip/2.mask.png"),
    "settings that are no TOML": (zipped({"1.png": PHOTOGRAPH, "concept.toml": b"token ="}), "octo.zip/concept.toml"),
    "settings of a megabyte": (zipped({"1.png": PHOTOGRAPH, "concept.toml": _noise(2**20)}), "over the limit"),
    "a wrong checksum": (_patched(b"PK\x01\x02", 16, b"\1\2\3\4"), "damaged zip file"),
    "another name at the member than in the list": (_patched(b"PK\x03\x04", 30, b"2"), "damaged zip file"),
    "pixels that are no deflate": (_patched(b"1.png", 5, b"\xff" * 40), "damaged zip file"),
    "a list that begins beyond the end": (_patched(b"PK\x05\x06", 16, b"\xff\xff\xff\x7f"), "damaged zip file"),
    "a member that begins beyond the end": (_patched(b"PK\x01\x02", 42, b"\xff\xff\xff\x7f"), "octo.zip"),
    "a member longer than the file": (_patched(b"PK\x01\x02", 20, b"\xff\xff\xff\x7f"), "octo.zip"),
    "no end": (zipped(WHOLE)[:-22], "damaged zip file"),
    "half of it": (zipped(WHOLE)[:3000], "damaged zip file"),
    "the start of a zip": (b"PK\x03\x04", "damaged zip file"),
    "the end of a zip": (b"PK\x05\x06", "damaged zip file"),
    "noise that begins as a zip": (b"PK\x03\x04" + _noise(5000), "damaged zip file"),
    "a zip behind a program": (b"\x7fELF" + bytes(99) + zipped(WHOLE), "is a file, not a concept folder"),
    "a tar": (_tar(""), "is a tar archive"),
    "a tar, gzipped": (_tar(":gz"), "is a gzip archive"),
    "a tar in xz": (_tar(":xz"), "is a xz archive"),
    "a tar in bzip2": (_tar(":bz2"), "is a bzip2 archive"),
    "a RAR": (b"Rar!\x1a\x07\x01\0" + bytes(99), "is a RAR archive"),
    "a 7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "is a 7z archive"),
    "a photograph": (PHOTOGRAPH, "is a file, not a concept folder"),
    "a pickle": (b"\x80\x04]q.", "is a file, not a concept folder"),
    "nothing": (b"", "is a file, not a concept folder"),
}  # fmt: skip

READ = {
    "a folder's files": (zipped(WHOLE), _holds(1, name="octo", token="<octo>", class_word="octopus")),
    "a folder": (zipped({f"octo/{name}": content for name, content in WHOLE.items()}), _holds(1, token="<octo>")),
    "stored": (zipped(WHOLE, zipfile.ZIP_STORED), _holds(1)),
    "with a comment": (zipped(WHOLE, comment=b"x" * 60_000), _holds(1)),
    "with what Macs leave": (
        zipped({**WHOLE, "__MACOSX/._1.png": b"x", ".DS_Store": b"x", "._1.png": b"x"}), _holds(1)),
    "with a zip and a script in it": (_nested(), _holds(1)),
    "with entries of folders": (zipped({"octo/": b"", "octo/1.png": PHOTOGRAPH, "octo/sub/": b""}), _holds(1)),
    "with deeper folders": (zipped({"1.png": PHOTOGRAPH, "old/2.png": PHOTOGRAPH, "old/a/3.png": b"x"}), _holds(1)),
    "names of many scripts": (
        zipped({"Фото 1.png": PHOTOGRAPH, "写真.png": PHOTOGRAPH, "صورة.png": PHOTOGRAPH}), _holds(3)),
    "50 photographs": (zipped({f"{index}.png": PHOTOGRAPH for index in range(50)}), _holds(50)),
    "bytes behind it": (zipped(WHOLE) + b"\0" * 50, _holds(1)),
}  # fmt: skip

CASES = [
    *(Case(name, written(content, NAME), ("octo.zip", word)) for name, (content, word) in REFUSED.items()),
    *(Case(name, written(content, NAME), accepted=right) for name, (content, right) in READ.items()),
]


def _upper(folder: Path) -> Path:
    (folder / "Octo.ZIP").write_bytes(zipped({"1.png": PHOTOGRAPH}))
    return folder / "Octo.ZIP"


CASES.append(Case("a name in capitals", _upper, accepted=lambda concept: concept.name == "Octo"))
