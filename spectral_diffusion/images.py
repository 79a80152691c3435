"""Pictures in and out: read with care, converted rightly, written whole.

A picture is judged by its content, never by its name, and from its header before anything large is allocated.
"""

import io
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageDraw, ImageFont, PngImagePlugin, UnidentifiedImageError

from spectral_diffusion.errors import InputError
from spectral_diffusion.reading import open_file
from spectral_diffusion.workspace import write_atomically

FORMATS = ("PNG", "JPEG", "WEBP")
PIXEL_LIMIT = 100_000_000
FILE_LIMIT_BYTES = 2**29
"""A hundred megapixels of noise are 300 MB as an 8-bit PNG."""
MIN_SIDE_PX = 16
_CONVERT = "save it as PNG, JPEG or WebP"
_AGAIN = "save or copy it again"
# What is often taken for one of ours, by the start of its content.
_OTHERS = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture",
    b"PK\x03\x04": "a zip file",
}
_ISO_PICTURES = frozenset(b"heic heix heim heis heif hevc hevx hevm hevs mif1 mif2 msf1 miaf avif avis".split())
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path, *, min_side_px: int = MIN_SIDE_PX, max_side_px: int | None = None) -> Image.Image:
    """Read a picture as 8-bit sRGB, upright, without metadata.

    EXIF orientation is applied, embedded colour profiles (CMYK print, wide-gamut phones) are converted to sRGB, 16-bit
    greys keep their full range, transparency is laid on white.

    Args:
        path: A PNG, JPEG or WebP file, whatever its name.
        min_side_px: A smaller picture is refused.
        max_side_px: A larger picture is scaled down to this on its longer side; JPEGs are then decoded smaller at once.

    Returns:
        An RGB picture.

    Raises:
        InputError: Missing, not a picture, another format, animated, damaged, too small, over 100 megapixels or
            512 MiB.
    """
    path = Path(path)
    with open_image(path) as image:
        width_px, height_px = image.size
        if min(width_px, height_px) < min_side_px:
            raise InputError(
                f"{path} is only {width_px} x {height_px} pixels",
                f"use a picture of at least {min_side_px} pixels on each side",
            )
        # Phones write "MPO": a JPEG followed by a preview or a gain map; its first frame is the photograph.
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise InputError(f"{path} is an animation of {image.n_frames} frames", "save one frame as a still picture")
        if max_side_px is not None:
            image.draft("RGB", (max_side_px, max_side_px))
        image.load()
        upright = _to_srgb(_turned_upright(image))
    if max_side_px is not None and max(upright.size) > max_side_px:
        upright.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
    clean = Image.new("RGB", upright.size)
    clean.paste(upright)
    return clean


def read_mask(path: Path, size_px: tuple[int, int]) -> torch.Tensor:
    """Read a mask picture: white is the concept, black the rest.

    Args:
        path: A picture; colours are read as brightness.
        size_px: (width, height) that the mask must have: that of its photograph.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        InputError: Not readable, of another size, or empty.
    """
    image = read_image(path, min_side_px=1).convert("L")
    if image.size != size_px:
        raise InputError(
            f"mask {path} is {image.size[0]} x {image.size[1]} pixels but its photograph {size_px[0]} x {size_px[1]}",
            "save the mask in the size of its photograph",
        )
    mask = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)
    if float(mask.max()) < 0.5:
        raise InputError(f"mask {path} is empty", "paint the concept white or delete the mask")
    return mask


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open a picture of which only the header is read, whose kind and size are within the limits.

    Its pixels are not checked, and what the file says beside them can be anything.

    Raises:
        InputError: Not readable, another format, damaged, over 100 megapixels or 512 MiB; also while it is used.
    """
    with open_file(path, FILE_LIMIT_BYTES) as file:
        head = file.read(2**16)
        other = _other_kind(head)
        if other:
            raise InputError(f"{path} is not a PNG, JPEG or WebP picture but {other}", _CONVERT)
        if head[8:16] == b"WEBPVP8X":
            # Pillow makes the canvas of an animation as soon as it is opened.
            _check_size(path, *(1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27)))
        elif head[:4] == b"\x89PNG":
            # Before Pillow does it with a limit of its own, and without telling the sides.
            _check_size(path, *(int.from_bytes(head[at : at + 4]) for at in (16, 20)))
        file.seek(0)
        try:
            with _decoding(path), Image.open(file, formats=FORMATS) as image:
                _check_size(path, *image.size)
                yield image
        except Image.DecompressionBombError as error:
            raise _too_large(path, str(error).split("(")[-1].split(")")[0]) from error
        except UnidentifiedImageError as error:
            raise InputError(f"{path} is not a PNG, JPEG or WebP picture", _CONVERT) from error


def to_tensor(image: Image.Image) -> torch.Tensor:
    """An RGB picture as float32 (3, H, W) in [-1, 1], the range a VAE encodes."""
    return torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1


def to_image(pixels: torch.Tensor) -> Image.Image:
    """A (3, H, W) tensor, uint8 or float in [-1, 1], as an RGB picture."""
    if pixels.dtype != torch.uint8:
        pixels = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def save_png(image: Image.Image, path: Path, text: Mapping[str, str] | None = None) -> None:
    """Write a PNG whole or not at all, with text chunks (UTF-8).

    Raises:
        InputError: The file cannot be written.
    """
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG", pnginfo=info))


def read_png_text(path: Path) -> dict[str, str]:
    """The text chunks of a PNG.

    Raises:
        InputError: Not a PNG.
    """
    with open_image(Path(path)) as image:
        if not isinstance(image, PngImagePlugin.PngImageFile):
            raise InputError(
                f"{path} is {image.format}, which keeps no settings", "give the PNG that was originally saved"
            )
        return dict(image.text)


def contact_sheet(
    rows: Sequence[Sequence[Image.Image]], labels: Sequence[str] = (), *, scale: int = 1, gap_px: int = 4
) -> Image.Image:
    """Rows of pictures as one picture, each row under its label.

    Args:
        rows: Pictures; rows may differ in length and pictures in size.
        labels: One line of text a row, or none at all.
        scale: Whole-number enlargement of every picture.
        gap_px: Space between pictures.
    """
    label_px = 22 if labels else 0
    heights = [max(image.height for image in row) * scale for row in rows]
    width_px = max(sum(image.width * scale + gap_px for image in row) for row in rows) + gap_px
    sheet = Image.new("RGB", (width_px, sum(heights) + len(rows) * (gap_px + label_px) + gap_px), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    y = gap_px
    for index, row in enumerate(rows):
        if labels:
            draw.text((gap_px, y), labels[index], fill="black", font=font)
            y += label_px
        x = gap_px
        for image in row:
            size = (image.width * scale, image.height * scale)
            sheet.paste(image.convert("RGB").resize(size, Image.Resampling.LANCZOS), (x, y))
            x += size[0] + gap_px
        y += heights[index] + gap_px
    return sheet


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, MemoryError, UnidentifiedImageError, Image.DecompressionBombError):
        raise
    except Exception as error:  # Pillow raises whatever it trips over
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is damaged and cannot be decoded ({said})", _AGAIN) from error


def _other_kind(head: bytes) -> str | None:
    """What the content is, when it is known not to be one of ours."""
    if head[4:8] == b"ftyp":
        return "a HEIC or AVIF picture" if head[8:12] in _ISO_PICTURES else "a video"
    text = head
    if head[:2] == b"\x1f\x8b":
        try:
            text = zlib.decompressobj(31).decompress(head, 2**16)
        except zlib.error:
            return None
    elif head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head.replace(b"\0", b"")[2:]
    text = text.removeprefix(b"\xef\xbb\xbf").lstrip()
    # A drawing is markup from its first character on; a photograph may well hold the word in its metadata.
    if text[:1] == b"<" and b"<svg" in text.lower():
        return "an SVG drawing"
    return next((kind for start, kind in _OTHERS.items() if head.startswith(start)), None)


def _check_size(path: Path, width_px: int, height_px: int) -> None:
    if width_px * height_px > PIXEL_LIMIT:
        raise _too_large(path, f"{width_px} x {height_px} pixels")


def _too_large(path: Path, size: str) -> InputError:
    return InputError(f"{path} has {size}, over the limit of 100 megapixels", "scale it down")


def _turned_upright(image: Image.Image) -> Image.Image:
    """The picture as the camera was held; it is turned by this one number, and its other metadata is never written."""
    try:
        method = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged metadata is common and says nothing about the pixels
        method = None
    return image if method is None else image.transpose(method)


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I"):
        # Pillow's own conversion clips 16-bit greys at 255, which turns a photograph white.
        deep = np.asarray(image).astype(np.uint32)
        clear = image.info.get("transparency")
        if isinstance(clear, int):
            deep[deep == clear] = 65535
        image = Image.fromarray((deep.clip(0, 65535) >> 8).astype(np.uint8), mode="L")
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if image.mode not in ("RGB", "CMYK", "L"):
        image = image.convert("RGB")
    colours = _by_profile(image, profile) if profile else None
    # A hundred megapixels are 400 MB a copy.
    colours = colours or (image if image.mode == "RGB" else image.convert("RGB"))
    if alpha is None:
        return colours
    white = Image.new("RGB", image.size, "white")
    white.paste(colours, mask=alpha)
    return white


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The picture from its own colours to sRGB, or None where the profile cannot be used."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except Exception:  # a broken profile is common and harmless: viewers then show the plain colours
        return None
