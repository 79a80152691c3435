"""A concept folder, read and checked whole: photographs, their captions, their masks.

`<name>/`: 1 to 50 photographs (PNG, JPEG, WebP), optional same-stem `.txt` captions and `.mask.png` masks, and an
optional `concept.toml` with `token`, `class_word` and `description`. Or a zip of that.
"""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from spectral_diffusion.archives import archive_kind, unpack
from spectral_diffusion.diffusion.wording import (
    SETTINGS_FILE,
    check_inside,
    check_settings,
    concept_name,
    read_caption,
    read_settings,
)
from spectral_diffusion.errors import InputError
from spectral_diffusion.images import read_image, read_mask, to_tensor
from spectral_diffusion.reading import check_path

PHOTOGRAPH_LIMIT = 50
# A 3:2 photograph of this length can still be cropped to the 1024 px of the largest bases without being enlarged.
PHOTOGRAPH_SIDE_PX = 1536
# Kinds that are read, and kinds that people mistake for them: both are opened, so that the wrong ones are named.
PICTURE_SUFFIXES = frozenset((
    ".png", ".jpg", ".jpeg", ".jfif", ".webp",
    ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".svg", ".svgz", ".jxl",
))  # fmt: skip
MASK_SUFFIX = ".mask.png"


@dataclass(frozen=True)
class Photograph:
    """One photograph of a concept.

    Args:
        path: Its file.
        image: 8-bit sRGB, upright, at most 1536 px on the longer side.
        caption: The text beside it, or none.
        mask: (H, W) float32 in [0, 1] of the picture's size, 1 on the concept, when a mask file lies beside it.
    """

    path: Path
    image: Image.Image
    caption: str | None = None
    mask: Tensor | None = None


@dataclass(frozen=True)
class Concept:
    """What shall be learned.

    Args:
        name: Of the concept and its files: one that `names.slug` leaves as it is.
        token: What prompts call it, such as `<octo>`.
        class_word: What it is, such as `octopus`.
        photographs: Of it.
        description: What it looks like in a few words the base knows, such as `purple octopus with a yellow star`: what
            the token starts from. Without one that is the class word.
    """

    name: str
    token: str
    class_word: str
    photographs: tuple[Photograph, ...]
    description: str = ""

    def __post_init__(self) -> None:
        """Raises: InputError: The name is no file name, the token not of the form `<octo>`, the class word or the
        description no plain short text, or there are too few or too many photographs."""
        check_settings(self.name, self.token, self.class_word, self.description)
        if not 1 <= len(self.photographs) <= PHOTOGRAPH_LIMIT:
            raise InputError(
                f"concept '{self.name}' has {len(self.photographs)} photographs",
                f"give 1 to {PHOTOGRAPH_LIMIT}: five different views are a good start",
            )

    @property
    def words(self) -> str:
        """What the token starts from: the description, else the class word."""
        return self.description if re.search(r"\w", self.description) else self.class_word

    def digest(self) -> str:
        """sha256 over what the photographs show, their captions and their masks, in order; paths do not count."""
        digest = hashlib.sha256()
        for photograph in self.photographs:
            image, mask = photograph.image, photograph.mask
            digest.update(repr((image.mode, image.size, photograph.caption, mask is not None)).encode())
            digest.update(image.tobytes())
            if mask is not None:
                digest.update(mask.contiguous().numpy().tobytes())
        return digest.hexdigest()


def load_concept(path: Path) -> Concept:
    """Read a concept folder, or a zip of one.

    The name is the folder's (a number before it, as in kohya's `10_octo`, is dropped). Without `concept.toml` the token
    is `<name>` and the class word the name in words, without a number after it (`rc_car`: "rc car", `cat2`: "cat").

    A zip is told by its content. It is unpacked beside other temporary files, which are gone when this returns.

    Raises:
        InputError: Missing, without photographs, with sub-folders in their place, or with a file that cannot be used
            or that is a link out of the folder; the message names the path.
    """
    path = Path(path)
    check_path(path)
    if not path.is_file():
        return _read_folder(path, os.path.basename(os.path.realpath(path)))
    kind = archive_kind(path)
    if kind != "zip":
        raise InputError(
            f"{path} is a {kind} archive, which is not read" if kind else f"{path} is a file, not a concept folder",
            "name the folder its photographs lie in, or a zip of it",
        )
    with tempfile.TemporaryDirectory(prefix="spectral-diffusion-") as folder:
        unpack(path, Path(folder), is_wanted)
        try:
            concept = _read_folder(Path(folder), re.sub(r"\.zip$", "", path.name, flags=re.IGNORECASE))
        except InputError as error:
            raise InputError(error.what.replace(folder, str(path)), error.remedy.replace(folder, str(path))) from error
    photographs = (replace(photograph, path=path / photograph.path.name) for photograph in concept.photographs)
    return replace(concept, photographs=tuple(photographs))


def caption_of(concept: Concept, photograph: Photograph, template: str) -> str:
    """The text a photograph is trained with.

    A caption that names the token is used as it is; in another one the class word's first mention becomes the token, or
    the token goes before it; without caption the template's `{}` does.
    """
    caption = photograph.caption
    if caption is None:
        return template.replace("{}", concept.token)
    if concept.token in caption:
        return caption
    named, found = re.subn(
        rf"\b{re.escape(concept.class_word)}\b", lambda _: concept.token, caption, count=1, flags=re.IGNORECASE
    )
    return named if found else f"{concept.token}, {caption}"


def fit(image: Image.Image, mask: Tensor | None, width_px: int, height_px: int) -> tuple[Image.Image, Tensor | None]:
    """Crop a picture to the shape of the canvas and scale it, with its mask.

    The crop is as large as possible, centred on the middle of the mask's bounding box, or of the picture without mask.

    Args:
        image: An RGB picture.
        mask: (H, W) of the picture's size, or none.
        width_px: Width of the result.
        height_px: Height of the result.

    Returns:
        The picture, and its mask as (height_px, width_px) float32 in [0, 1] or none.
    """
    centre_x, centre_y = image.width / 2, image.height / 2
    if mask is not None and bool((mask > 0.5).any()):
        rows, columns = torch.nonzero(mask > 0.5, as_tuple=True)
        centre_x = (float(columns.min()) + float(columns.max()) + 1) / 2
        centre_y = (float(rows.min()) + float(rows.max()) + 1) / 2
    scale = min(image.width / width_px, image.height / height_px)
    crop_width, crop_height = width_px * scale, height_px * scale
    left = max(0.0, min(centre_x - crop_width / 2, image.width - crop_width))
    top = max(0.0, min(centre_y - crop_height / 2, image.height - crop_height))
    box = (left, top, min(left + crop_width, image.width), min(top + crop_height, image.height))
    fitted = image.resize((width_px, height_px), Image.Resampling.LANCZOS, box=box)
    if mask is None:
        return fitted, None
    picture = Image.fromarray((mask * 255).round().to(torch.uint8).numpy())
    resized = picture.resize((width_px, height_px), Image.Resampling.BOX, box=box)
    return fitted, (to_tensor(resized)[0] + 1) / 2


def _read_folder(folder: Path, called: str) -> Concept:
    paths = photograph_paths(folder)
    name = concept_name(called)
    settings = read_settings(folder, name)
    return Concept(name=name, photographs=tuple(_photograph(path) for path in paths), **settings)


def photograph_paths(folder: Path) -> list[Path]:
    """The photographs in a concept folder by name, 1 to 50; each mask belongs to one.

    Raises:
        InputError: There are none, too many, or a mask has no photograph; or it is no folder that can be read.
    """
    if not folder.exists():
        raise InputError(f"there is no concept folder {folder}", "check the path")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file, not a concept folder", "name the folder its photographs lie in")
    found = entries(folder)
    paths = [path for path in found if is_photograph(path)]
    masks = {path.name.removesuffix(MASK_SUFFIX) for path in found if path.name.endswith(MASK_SUFFIX)}
    if not paths:
        below = [path for path in found if path.is_dir() and any(map(is_photograph, entries(path)))]
        if below:
            others = f" (or {', '.join(path.name for path in below[1:4])})" if len(below) > 1 else ""
            raise InputError(
                f"{folder} holds folders, not photographs", f"name the folder itself: {below[0]}{others} looks right"
            )
        raise InputError(f"no photographs found in {folder}", "put 1 to 50 PNG, JPEG or WebP files into it")
    if len(paths) > PHOTOGRAPH_LIMIT:
        raise InputError(
            f"{folder} holds {len(paths)} photographs, over the limit of {PHOTOGRAPH_LIMIT}", "keep the best ones"
        )
    lonely = sorted(masks - {path.stem for path in paths})
    if lonely:
        raise InputError(
            f"mask {folder / (lonely[0] + MASK_SUFFIX)} belongs to no photograph",
            "give it the name of its photograph: 01.mask.png beside 01.jpg",
        )
    return paths


def entries(folder: Path) -> list[Path]:
    """Everything in a folder by name, but for what is hidden.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}: {error.strerror or error}", "check its rights") from error


def is_photograph(path: Path) -> bool:
    """Whether a file of a concept folder counts as a photograph, by its name."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.endswith(MASK_SUFFIX) and not path.is_dir()


def is_wanted(name: str) -> bool:
    """Whether a file of this name in a zip belongs to a concept."""
    return name == SETTINGS_FILE or Path(name).suffix.lower() in {*PICTURE_SUFFIXES, ".txt"}


def _photograph(path: Path) -> Photograph:
    check_inside(path)
    mask_path = path.with_name(path.stem + MASK_SUFFIX)
    caption = read_caption(path.with_suffix(".txt"))
    if not check_inside(mask_path):
        return Photograph(path, read_image(path, max_side_px=PHOTOGRAPH_SIDE_PX), caption)
    image, mask = read_masked(path, mask_path)
    return Photograph(path, image, caption, mask)


def read_masked(path: Path, mask_path: Path) -> tuple[Image.Image, Tensor]:
    """A photograph of at most 1536 px and its mask in the same size, (H, W) float32 in [0, 1].

    Raises:
        InputError: One of them cannot be read, or the mask is not of the photograph's size or empty.
    """
    image = read_image(path)
    mask = read_mask(mask_path, image.size)
    scale = min(1.0, PHOTOGRAPH_SIDE_PX / max(image.size))
    if scale < 1:
        image, fitted = fit(image, mask, round(image.width * scale), round(image.height * scale))
        assert fitted is not None
        mask = fitted
    return image, mask
