"""Pictures as attackers, cameras and print shops write them, and what becomes of each."""

import gzip
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from tests.hostile.case import Case, written

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
# Left half red, right half blue, as stored; the upper left corner is green, so that every turn shows.
CORNERS = Image.new("RGB", (64, 32), RED)
CORNERS.paste(BLUE, (32, 0, 64, 32))
CORNERS.paste((0, 255, 0), (0, 0, 16, 16))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    """A chunk of a PNG with its right checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int = 32, height: int = 32, *more: bytes, bits: int = 8, kind: int = 2, rows: bytes | None = None
) -> bytes:
    """A PNG from its chunks; the rows are black unless given."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(kind, 3)
    if rows is None:
        rows = (b"\0" + bytes((width * bits * channels + 7) // 8)) * height
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return SIGNATURE + head + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")


def header_only(width: int, height: int, *, bits: int = 8, kind: int = 2) -> bytes:
    """A PNG that claims a size and holds a few rows."""
    return png(width, height, bits=bits, kind=kind, rows=bytes(64))


def _bomb(kind: bytes, megabytes: int) -> bytes:
    text = zlib.compress(bytes(megabytes * 2**20), 9)
    start = b"a\0\0" if kind in (b"zTXt", b"iCCP") else b"a\0\1\0\0\0"
    return chunk(kind, start + text)


def _grey_ramp(bits: int) -> bytes:
    ramp = np.linspace(0, 65535, 32 * 32).reshape(32, 32)
    return encoded(Image.fromarray(ramp.astype(np.uint16) if bits == 16 else (ramp / 256).astype(np.uint8)))


def _animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, BLUE, WHITE)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def _turned(number: int, kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = number
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    return encoded(CORNERS, kind, exif=exif, **options)


def _exif(content: bytes) -> bytes:
    return encoded(CORNERS, "JPEG", quality=95, exif=b"Exif\0\0" + content)


def _webp_canvas(width: int, height: int) -> bytes:
    body = b"WEBPVP8X" + struct.pack("<IB3x", 10, 2) + (width - 1).to_bytes(3, "little")
    body += (height - 1).to_bytes(3, "little") + b"ANIM" + struct.pack("<IIH", 6, 0, 0) + bytes(64)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg_sized(width: int, height: int) -> bytes:
    content = encoded(NOISE, "JPEG")
    at = content.index(b"\xff\xc0")
    return content[: at + 5] + struct.pack(">HH", height, width) + content[at + 9 :]


def _palette(kind: str, clear: int | None = None) -> bytes:
    image = Image.new("P", (32, 32), 1)
    image.putpalette([*RED, *BLUE])
    return encoded(image, kind, **({} if clear is None else {"transparency": clear}))


def _deep_rgb(bits_kind: int) -> bytes:
    pixel = struct.pack(">HHH", 65535, 32768, 0) + (struct.pack(">H", 65535) if bits_kind == 6 else b"")
    return png(32, 32, bits=16, kind=bits_kind, rows=(b"\0" + pixel * 32) * 32)


def _ended(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


def _is(colour: tuple[int, int, int], size: tuple[int, int] | None = None, within: int = 8) -> Callable:
    def same(image: Image.Image) -> bool:
        middle = image.getpixel((image.width // 2, image.height // 2))
        near = all(abs(one - other) <= within for one, other in zip(middle, colour, strict=True))
        return near and image.mode == "RGB" and not image.info and size in (None, image.size)

    return same


def _upright(number: int) -> Callable[[Image.Image], bool]:
    # Where the green corner of the stored picture comes to lie, by EXIF 2.32.
    x, y = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}.get(number, (0, 0))

    def turned(image: Image.Image) -> bool:
        at = (8 if x == 0 else image.width - 8, 8 if y == 0 else image.height - 8)
        green = image.getpixel(at)
        size = (32, 64) if number in (5, 6, 7, 8) else (64, 32)
        return image.size == size and green[1] > 200 and green[0] < 60 and not image.getexif() and not image.info

    return turned


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a.png")
    return folder / "a.png"


def _zeros(folder: Path) -> Path:
    (folder / "a.png").symlink_to("/dev/zero")
    return folder / "a.png"


def _sparse(folder: Path) -> Path:
    with open(folder / "a.png", "wb") as file:
        file.write(encoded(NOISE))
        file.truncate(2**30)
    return folder / "a.png"


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
P3 = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_TEXT = PngImagePlugin.PngInfo()
_TEXT.add_text("comment", "<svg onload=alert(1)>")

REFUSED = {
    "14000 x 14000 pixels": (encoded(Image.new("1", (14000, 14000))), "14000 x 14000"),
    "a header of 2^31 pixels a side": (header_only(2**31 - 1, 2**31 - 1), "megapixels"),
    "a header of a line of 2^31 pixels": (header_only(2**31 - 1, 1), "megapixels"),
    "a header of 101 megapixels": (header_only(10_100, 10_000), "10100 x 10000"),
    "a header of 99 megapixels and no more": (header_only(9_900, 10_000), "damaged"),
    "a side of nothing": (header_only(0, 32), "not a PNG"),
    "a negative side": (header_only(2**32 - 5, 32), "megapixels"),
    "a JPEG of 65 535 pixels a side": (_jpeg_sized(65535, 65535), "megapixels"),
    "a JPEG of no pixels": (_jpeg_sized(0, 0), "e"),
    "a WebP canvas of 16 384 pixels a side": (_webp_canvas(16384, 16384), "16384 x 16384"),
    "a WebP canvas of 2^24 pixels a side": (_webp_canvas(2**24, 2**24), "megapixels"),
    "a WebP of a header": (_webp_canvas(64, 64), "a.png"),
    "one pixel": (encoded(Image.new("RGB", (1, 1))), "only 1 x 1"),
    "one line": (encoded(Image.new("RGB", (500, 1))), "only 500 x 1"),
    "32 MB of compressed text": (png(32, 32, _bomb(b"zTXt", 32)), "damaged"),
    "32 MB of compressed international text": (png(32, 32, _bomb(b"iTXt", 32)), "damaged"),
    "32 MB of compressed profile": (png(32, 32, _bomb(b"iCCP", 32)), "damaged"),
    "200 texts of a megabyte": (png(32, 32, *[_bomb(b"zTXt", 1)] * 200), "damaged"),
    "a checksum that is wrong": (png()[:29] + b"\0\0\0\0" + png()[33:], "PNG"),
    "a chunk of 2 GB": (png(32, 32, struct.pack(">I", 2**31 - 1) + b"tEXtabc"), "damaged"),
    "pixels that are no zlib": (png().replace(zlib.compress(b"")[:2], b"\xff\xff"), "damaged"),
    "a PNG without pixels": (SIGNATURE + png()[8:33] + chunk(b"IEND"), "damaged"),
    "a PNG of colour type 5": (png(kind=5), "a.png"),
    "a PNG of 3 bits": (png(bits=3), "a.png"),
    "a PNG of colour type 7": (png(kind=7), "a.png"),
    "an animated PNG": (_animated("PNG"), "animation of 3 frames"),
    "an animated WebP": (_animated("WEBP"), "animation of 3 frames"),
    "an animated GIF": (_animated("GIF"), "a GIF"),
    "nothing": (b"", "not a PNG, JPEG or WebP"),
    "one byte": (b"\x89", "not a PNG, JPEG or WebP"),
    "the signature of a PNG": (SIGNATURE, "a.png"),
    "the start of a JPEG": (b"\xff\xd8\xff", "a.png"),
    "the start of a WebP": (b"RIFF\x10\0\0\0WEBP", "a.png"),
    "noise": (np.random.default_rng(1).bytes(5000), "not a PNG, JPEG or WebP"),
    "a text": (b"I am a letter", "not a PNG, JPEG or WebP"),
    "a page": (b"<!doctype html><img src=x onerror=alert(1)>", "not a PNG, JPEG or WebP"),
    **{f"a {kind} cut at {share:.0%}": (_ended(encoded(NOISE, kind), share), "a.png")
       for kind in ("PNG", "JPEG", "WEBP") for share in (0.02, 0.3, 0.7)},
    "a drawing": (SVG, "SVG"),
    "a drawing after a comment of 10 KB": (b"<?xml version='1.0'?><!--" + b"x" * 10_000 + b"-->" + SVG, "SVG"),
    "a drawing after a byte order mark": (b"\xef\xbb\xbf \n" + SVG, "SVG"),
    "a drawing in UTF-16": (SVG.decode().encode("utf-16"), "SVG"),
    "a drawing, gzipped": (gzip.compress(SVG), "SVG"),
    "a gzip bomb": (gzip.compress(bytes(2**23)), "not a PNG, JPEG or WebP"),
    **{f"a phone's {brand}": (b"\0\0\0\x18ftyp" + brand.encode() + bytes(99), "HEIC or AVIF")
       for brand in ("heic", "heix", "hevc", "mif1", "msf1", "avif", "avis", "heim")},
    "a film": (b"\0\0\0\x18ftypmp42" + bytes(99), "a video"),
    "a TIFF": (encoded(NOISE, "TIFF"), "a TIFF"),
    "a TIFF in CIELAB": (encoded(Image.new("LAB", (32, 32)), "TIFF"), "a TIFF"),
    "a BMP": (encoded(NOISE, "BMP"), "a BMP"),
    "a Photoshop file": (b"8BPS\0\1" + bytes(99), "Photoshop"),
    "a PDF": (b"%PDF-1.7 /JavaScript", "a PDF"),
    "PostScript": (b"%!PS-Adobe-3.0\n%%BoundingBox: 0 0 99 99\n", "not a PNG, JPEG or WebP"),
    "a JPEG XL": (b"\xff\x0a" + bytes(99), "JPEG XL"),
    "a JPEG 2000": (encoded(NOISE, "JPEG2000"), "JPEG 2000"),
    "an icon": (encoded(NOISE, "ICO"), "not a PNG, JPEG or WebP"),
    "a zip": (b"PK\x03\x04" + bytes(99), "a zip file"),
}  # fmt: skip

_BAD_ENTRY = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x0112, 3, 2**31, 2**31) + bytes(4)
READ = {
    "8-bit colours": (png(rows=(b"\0" + bytes(RED) * 32) * 32), _is(RED)),
    "1 bit": (encoded(Image.new("1", (32, 32), 1)), _is(WHITE)),
    "a grey of 8 bits": (encoded(Image.new("L", (32, 32), 77)), _is((77, 77, 77))),
    "a grey of 16 bits": (_grey_ramp(16), lambda image: image.getpixel((31, 31)) == WHITE),
    "a grey of 16 bits with a clear one": (
        png(32, 32, chunk(b"tRNS", struct.pack(">H", 300)), bits=16, kind=0, rows=(b"\0" + b"\x01\x2c" * 32) * 32),
        _is(WHITE)),
    "colours of 16 bits": (_deep_rgb(2), _is((255, 128, 0))),
    "colours of 16 bits with opacity": (_deep_rgb(6), _is((255, 128, 0))),
    "a palette": (_palette("PNG"), _is(BLUE)),
    "a palette whose colour is clear": (_palette("PNG", clear=1), _is(WHITE)),
    "grey with opacity": (encoded(Image.new("LA", (32, 32), (0, 0))), _is(WHITE)),
    "grey, half clear": (encoded(Image.new("LA", (32, 32), (0, 128))), _is((127, 127, 127))),
    "colours with opacity": (encoded(Image.new("RGBA", (32, 32), (255, 0, 0, 0))), _is(WHITE)),
    "colours, half clear": (encoded(Image.new("RGBA", (32, 32), (255, 0, 0, 128))), _is((255, 127, 127))),
    "a WebP with opacity": (encoded(Image.new("RGBA", (32, 32), (255, 0, 0, 0)), "WEBP", lossless=True), _is(WHITE)),
    "CMYK": (encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG"), _is(RED, within=40)),
    "CMYK that is nearly white": (encoded(Image.new("CMYK", (32, 32)), "JPEG"), _is(WHITE)),
    "a profile on colours with opacity": (
        encoded(Image.new("RGBA", (32, 32), (255, 0, 0, 255)), icc_profile=P3), _is(RED)),
    "a profile of other colours than the picture has": (
        encoded(Image.new("L", (32, 32), 77), icc_profile=P3), _is((77, 77, 77))),
    "a profile of noise": (encoded(Image.new("RGB", (32, 32), RED), icc_profile=b"\0" * 500), _is(RED)),
    "a phone's picture with a preview behind it": (
        encoded(Image.new("RGB", (64, 48), RED), "MPO", save_all=True, append_images=[NOISE]), _is(RED, (64, 48))),
    "a PNG called JPEG": (encoded(Image.new("RGB", (32, 32), BLUE)), _is(BLUE)),
    "a PNG with markup in its text": (encoded(Image.new("RGB", (32, 32), BLUE), pnginfo=_TEXT), _is(BLUE)),
    "a PNG with a zip behind it": (
        encoded(Image.new("RGB", (32, 32), BLUE)) + b"PK\x03\x04" + bytes(99), _is(BLUE)),
    "a JPEG with a page in its comment": (
        encoded(Image.new("RGB", (32, 32), BLUE), "JPEG", comment=b"<script>alert(1)</script>"), _is(BLUE, within=9)),
    "metadata that end early": (_exif(b"II*\0\xff"), _upright(1)),
    "metadata that point nowhere": (_exif(b"II*\0\xff\xff\xff\x7f"), _upright(1)),
    "metadata that are a number of 2^31": (_exif(_BAD_ENTRY), _upright(1)),
    "metadata of noise": (_exif(np.random.default_rng(3).bytes(2000)), _upright(1)),
    "metadata that point at themselves": (
        _exif(b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x8769, 4, 1, 8) + struct.pack("<I", 8)), _upright(1)),
    "a progressive JPEG": (encoded(CORNERS, "JPEG", quality=95, progressive=True), _upright(1)),
    **{f"a JPEG turned by {number}": (_turned(number), _upright(number)) for number in range(10)},
    **{f"a PNG turned by {number}": (_turned(number, "PNG"), _upright(number)) for number in (3, 6)},
    **{f"a WebP turned by {number}": (_turned(number, "WEBP"), _upright(number)) for number in (5, 8)},
}  # fmt: skip

CASES = [
    *(Case(name, written(content, "a.png"), ("a.png", word)) for name, (content, word) in REFUSED.items()),
    *(Case(name, written(content, "a.jpg"), accepted=right) for name, (content, right) in READ.items()),
    Case("missing", lambda folder: folder / "a.png", ("there is no file",)),
    Case("a folder", lambda folder: folder, ("is a folder",)),
    Case("a pipe", _pipe, ("no ordinary file",)),
    Case("a link to zeros without end", _zeros, ("no ordinary file",)),
    Case("a gigabyte", _sparse, ("over the limit",)),
    Case("a name with NUL", lambda folder: folder / "a\0.png", ("cannot be a path",)),
]
