"""Zip files of strangers, unpacked without trust in anything they say about themselves."""

import errno
import stat
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from spectral_diffusion.errors import DiskFullError, InputError
from spectral_diffusion.names import is_reserved, printable
from spectral_diffusion.reading import open_file

ARCHIVE_LIMIT_BYTES = 2**30
UNPACKED_LIMIT_BYTES = 2**30
MEMBER_LIMIT = 1000
# Captions and settings are small and photographs are compressed already: what grows beyond this is built to fill disks.
RATIO_LIMIT = 100
_RATIO_ALLOWANCE_BYTES = 2**20
# A thousand members of long names with the extra fields of every known tool.
_DIRECTORY_LIMIT_BYTES = 2**20
_NAME_LIMIT_BYTES = 240
_CHUNK_BYTES = 2**16
_LOCAL_HEADER_BYTES = 30
_FORBIDDEN = frozenset('\\:*?"<>|')
_AGAIN = "zip the concept's folder again, with the file manager or `zip -r`"
_SIGNATURES = {
    b"Rar!": "RAR",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


def archive_kind(path: Path) -> str | None:
    """The kind of archive that a file is by its content (`zip`, `RAR`, `7z`, `tar` ...), or None.

    Raises:
        InputError: It cannot be read.
    """
    with open_file(path, 2**63) as file:
        head = file.read(512)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for start, kind in _SIGNATURES.items() if head.startswith(start)), None)


def unpack(path: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    """Unpack the files of one folder of a zip, the outermost that holds a wanted one, straight into `folder`.

    Names are judged before the first byte is unpacked. Sizes and ratio are measured while unpacking, as the archive's
    own numbers may lie. Files in deeper folders, hidden ones and those nobody wants are left alone.

    Args:
        path: The zip.
        folder: An empty folder. What lies in it after an error is the caller's to remove.
        wanted: Whether a file of this name shall be unpacked.

    Raises:
        InputError: It is damaged, encrypted, too large or too well compressed; a name leads out of the folder or is
            none that every system can have; two names are one; it holds links; or nothing or several folders of files.
    """
    with open_file(path, ARCHIVE_LIMIT_BYTES) as file:
        bounded = _Bounded(file, path)
        try:
            with zipfile.ZipFile(bounded) as archive:  # pyright: ignore[reportArgumentType]
                members = _members(path, archive)
                _extract(path, archive, _of_one_folder(path, members, wanted), folder)
        except InputError:
            raise
        except Exception as error:  # zipfile raises whatever it trips over
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise DiskFullError(f"there is no space to unpack {path}", f"free some in {folder.parent}") from error
            raise InputError(f"{path} is a damaged zip file ({str(error)[:120]})", _AGAIN) from error


class _Bounded:
    """A file of which no more is read at once than agreed: zipfile reads the whole list of members in one go."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file, self.path = file, path
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        most = _DIRECTORY_LIMIT_BYTES + 1
        content = self.file.read(most if size < 0 else min(size, most))
        if len(content) == most:
            raise InputError(f"{self.path} lists more than {MEMBER_LIMIT} files", "zip the photographs of one concept")
        return content


def _members(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """All files, once each is known to be harmless by its name and kind."""
    found = archive.infolist()
    if len(found) > MEMBER_LIMIT:
        raise InputError(
            f"{path} holds {len(found)} files, over the limit of {MEMBER_LIMIT}", "zip the photographs of one concept"
        )
    seen: dict[str, str] = {}
    for member in found:
        name = member.orig_filename
        fault = _fault(member, name)
        if fault:
            raise InputError(f"{path} holds {name[:200]!r}, which {fault}", _AGAIN)
        alike = unicodedata.normalize("NFC", name).casefold()
        if alike in seen:
            raise InputError(f"{path} holds {seen[alike]!r} and {name!r}, one file on many systems", _AGAIN)
        seen[alike] = name
    _check_apart(path, archive, found)
    return [member for member in found if not member.is_dir()]


def _fault(member: zipfile.ZipInfo, name: str) -> str:
    """Why a member cannot be unpacked, or nothing."""
    parts = name.removesuffix("/").split("/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.startswith("/") or ".." in parts:
        return "leads out of the folder"
    if printable(name) != name or not _FORBIDDEN.isdisjoint(name):
        return f"has characters that not every system can have in a name (one of {''.join(sorted(_FORBIDDEN))}, ...)"
    if any(part in ("", ".") or part[-1] in ". " or is_reserved(part) for part in parts):
        return "is a name that not every system can have"
    if any(len(part.encode()) > _NAME_LIMIT_BYTES for part in parts) or len(parts) > 20:
        return f"is too long or too deep: {_NAME_LIMIT_BYTES} bytes a name and 20 folders are allowed"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device and not a file"
    if member.flag_bits & 0x41:
        return "is encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed by another method than deflate"
    return ""


def _check_apart(path: Path, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> None:
    """Refuse members that lie in one another: one compressed block, listed often, fills any disk (Fifield 2019)."""
    ordered = sorted(members, key=lambda member: member.header_offset)
    starts = [member.header_offset for member in ordered]
    for member, end in zip(ordered, [*starts, archive.start_dir][1:], strict=True):
        if member.header_offset + _LOCAL_HEADER_BYTES + member.compress_size > end:
            raise InputError(f"{path} holds files that lie in one another ({member.filename!r})", _AGAIN)


def _of_one_folder(
    path: Path, members: list[zipfile.ZipInfo], wanted: Callable[[str], bool]
) -> dict[str, zipfile.ZipInfo]:
    """The wanted files that lie on top, else those of the only folder there, by their plain names."""
    places: dict[PurePosixPath, dict[str, zipfile.ZipInfo]] = {}
    for member in members:
        place = PurePosixPath(member.filename)
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in place.parts)
        if not hidden and len(place.parts) <= 2 and wanted(place.name):
            places.setdefault(place.parent, {})[place.name] = member
    top = PurePosixPath(".")
    if top in places or not places:
        return places.get(top, {})
    if len(places) > 1:
        names = ", ".join(str(place) for place in list(places)[:4])
        raise InputError(f"{path} holds several folders ({names})", "zip the folder of one concept")
    return next(iter(places.values()))


def _extract(path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], folder: Path) -> None:
    written = read = 0
    for name, member in members.items():
        read += member.compress_size
        most = min(UNPACKED_LIMIT_BYTES, RATIO_LIMIT * read + _RATIO_ALLOWANCE_BYTES)
        with archive.open(member) as source, open(folder / name, "xb") as target:
            while chunk := source.read(_CHUNK_BYTES):
                written += len(chunk)
                if written > most:
                    raise InputError(
                        f"{path} unpacks to more than {most:,} bytes from {read:,}",
                        f"zip at most {UNPACKED_LIMIT_BYTES // 2**20} MiB of photographs, as they came from the camera",
                    )
                target.write(chunk)
