"""What the file of a photograph tells beside its picture, and what becomes of it when it is stored without that."""

import re
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image

from spectral_diffusion.images import open_image

# Coordinates and names of places, as XMP writes them.
_PLACE = re.compile(rb"GPS(Latitude|Longitude|Coordinates|Position)|:(City|Location|LocationCreated|CountryName)\b")
_TURNED, _ON_ITS_SIDE = range(2, 9), range(5, 9)


@dataclass(frozen=True)
class Traces:
    """What the header and the metadata of a picture's file say.

    Args:
        size_px: Width and height of the picture, upright.
        has_location: Whether it tells where it was taken.
        is_turned: Whether it lies on its side or is mirrored, and is to be shown upright.
        is_deep: Whether its colours have 16 bits.
    """

    size_px: tuple[int, int]
    has_location: bool
    is_turned: bool
    is_deep: bool

    def notes(self, stored_px: tuple[int, int]) -> tuple[str, ...]:
        """What was done when it was stored upright, in this size, with 8 bits and without metadata, in words."""
        width, height = self.size_px
        said = {
            "location data removed": self.has_location,
            "turned upright": self.is_turned,
            "16-bit colours reduced to 8": self.is_deep,
            f"scaled down from {width} x {height} to {stored_px[0]} x {stored_px[1]}": stored_px != self.size_px,
        }
        return tuple(words for words, is_so in said.items() if is_so)


def read_traces(path: Path) -> Traces:
    """Look into the file of a photograph. Of a PNG, where metadata may stand behind the picture, that is decoded.

    Raises:
        InputError: It is no picture that `read_image` would open.
    """
    with open_image(path) as image:
        if image.format == "PNG":
            image.load()
        orientation, located = _exif(image)
        size_px, is_turned = _upright(image, orientation), orientation in _TURNED
        return Traces(size_px, located or _tells_place(image), is_turned, _is_deep(image))


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture that is upright, or whose header says how it lies; it is not decoded.

    Raises:
        InputError: It is no picture that `read_image` would open.
    """
    with open_image(path) as image:
        return _upright(image, _exif(image)[0])


def _upright(image: Image.Image, orientation: int) -> tuple[int, int]:
    width_px, height_px = image.size
    return (height_px, width_px) if orientation in _ON_ITS_SIDE else (width_px, height_px)


def _exif(image: Image.Image) -> tuple[int, bool]:
    """The orientation, and whether there are coordinates; damaged metadata say nothing."""
    orientation, located = 1, False
    try:
        # The method of a PNG itself would decode it.
        exif = Image.Image.getexif(image)
        found = exif.get(ExifTags.Base.Orientation, 1)
        orientation = found if isinstance(found, int) else 1
        # Version, reference and the map's datum are there also where the camera found no satellite.
        where = {ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSDestLatitude}
        located = not where.isdisjoint(exif.get_ifd(ExifTags.IFD.GPSInfo))
    except Exception:  # Pillow raises whatever it trips over
        return orientation, located
    return orientation, located


def _tells_place(image: Image.Image) -> bool:
    texts = (image.info.get(key) for key in ("xmp", "XML:com.adobe.xmp"))
    return any(_PLACE.search(text if isinstance(text, bytes) else str(text).encode()) for text in texts if text)


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I") or any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))
