"""Pictures in and out: read with care, converted rightly, written whole.

A picture is judged by its content, never by its name, and from its header before anything large is allocated.
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps, PngImagePlugin, UnidentifiedImageError

from spectral_diffusion.errors import InputError
from spectral_diffusion.workspace import write_atomically

FORMATS = ("PNG", "JPEG", "WEBP")
PIXEL_LIMIT = 100_000_000
MIN_SIDE_PX = 16
_CONVERT = "save it as PNG, JPEG or WebP"


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
        InputError: Missing, not a picture, another format, animated, damaged, too small, or over 100 megapixels.
    """
    path = Path(path)
    with _open(path) as image:
        width_px, height_px = image.size
        if width_px * height_px > PIXEL_LIMIT:
            raise _too_large(path, f"{width_px} x {height_px} pixels")
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
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image.load()
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise InputError(f"{path} is damaged and cannot be decoded ({error})", "save or copy it again") from error
        upright = _to_srgb(ImageOps.exif_transpose(image))
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
    with _open(Path(path)) as image:
        if not isinstance(image, PngImagePlugin.PngImageFile):
            raise InputError(
                f"{path} is {image.format}, which keeps no settings", "give the PNG that was originally saved"
            )
        try:
            return dict(image.text)
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(
                f"the text in {path} is damaged ({error})", "give the PNG that was originally saved"
            ) from error


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


def _open(path: Path) -> Image.Image:
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a picture", "name a picture file")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", "check the path") from error
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"hevc"):
        raise InputError(f"{path} is a HEIC or AVIF picture, which is not read", _CONVERT)
    if b"<svg" in head.lower():
        raise InputError(f"{path} is an SVG drawing, which is not read", _CONVERT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large(path, str(error).split("(")[-1].split(")")[0]) from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not a PNG, JPEG or WebP picture", _CONVERT) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is damaged and cannot be read ({error})", "save or copy it again") from error


def _too_large(path: Path, size: str) -> InputError:
    return InputError(f"{path} has {size}, over the limit of 100 megapixels", "scale it down")


def _to_srgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I"):
        # Pillow's own conversion clips 16-bit greys at 255, which turns a photograph white.
        deep = np.asarray(image).astype(np.uint32)
        image = Image.fromarray((deep.clip(0, 65535) >> 8).astype(np.uint8), mode="L")
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        try:
            srgb = ImageCms.createProfile("sRGB")
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile is common and harmless: the plain conversion below is what viewers show
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")
