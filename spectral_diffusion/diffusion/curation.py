"""Concept folders of a workspace, changed by a person: each change is made whole or not at all, one at a time.

What is removed or cropped lies in the trash as it was. Concepts and photographs are named, never given by a path.
"""

import math
import re
from pathlib import Path

from PIL import Image

from spectral_diffusion.diffusion.checkpoints import FOLDER as CHECKPOINTS
from spectral_diffusion.diffusion.concept_folder import (
    caption_path,
    changing,
    companions,
    concept_names,
    find_concept,
    find_photograph,
    mask_path,
    next_number,
    photographs,
    place,
    staging,
)
from spectral_diffusion.diffusion.wording import (
    SETTINGS_FILE,
    check_caption,
    check_inside,
    check_settings,
    concept_name,
    read_caption,
    read_settings,
    settings_text,
)
from spectral_diffusion.errors import InputError
from spectral_diffusion.images import read_image, read_mask, save_png
from spectral_diffusion.ledger import Ledger
from spectral_diffusion.trash import Trash, TrashedItem
from spectral_diffusion.workspace import Workspace, write_atomically

CROP_SIDE_PX = 64
"""Half of what the smallest base draws; less shows nothing to learn."""
_SHAPE_TOLERANCE = 0.01
_MASK = "mask"


def create_concept(
    workspace: Workspace, name: str, *, token: str = "", class_word: str = "", description: str = ""
) -> str:
    """Make an empty concept folder.

    Args:
        workspace: Where.
        name: Any text; a file name is made of it.
        token, class_word, description: As in `concept.toml`. Without any of them the folder's name says all, see
            `load_concept`.

    Returns:
        The name of the folder, which is that of the concept.

    Raises:
        InputError: Nothing is left of the name, or it is taken; a word is none, or another concept has the token; or
            the workspace cannot be written to.
    """
    made = concept_name(name)
    with staging(workspace) as stage, changing(workspace):
        _check_free(workspace, made)
        folder = stage / made
        folder.mkdir()
        given = {"token": token.strip(), "class_word": class_word, "description": description}
        settings = read_settings(folder, made) | {key: value for key, value in given.items() if value.strip()}
        _check(workspace, made, made, settings)
        if any(value.strip() for value in given.values()):
            _write_settings(folder, settings)
        place(folder, workspace.concepts / made)
    return made


def set_settings(workspace: Workspace, concept: str, *, token: str, class_word: str, description: str = "") -> None:
    """Write what a concept is called into its `concept.toml`.

    Raises:
        InputError: There is no such concept; a word is none; another concept of the workspace has the token, and it is
            named; or the folder cannot be written to.
    """
    with changing(workspace):
        folder = find_concept(workspace, concept)
        settings = {"token": token.strip(), "class_word": class_word, "description": description}
        _check(workspace, concept, concept_name(concept), settings)
        _write_settings(folder, settings)


def set_caption(workspace: Workspace, concept: str, photograph: str, text: str) -> None:
    """Write the caption of a photograph; an empty text removes it.

    Raises:
        InputError: There is no such concept or photograph, the text is no caption, or the folder cannot be written to.
    """
    caption = check_caption(text)
    with changing(workspace):
        path = caption_path(find_photograph(find_concept(workspace, concept), photograph))
        if caption is None:
            path.unlink(missing_ok=True)
        else:
            _write(path, caption + "\n")


def set_mask(workspace: Workspace, concept: str, photograph: str, mask: Image.Image | None) -> None:
    """Write the mask of a photograph, white on the concept, or remove it: then it lies in the trash.

    Args:
        workspace, concept, photograph: Which.
        mask: A brush's layer, of which the opaque parts count, or a picture, of which the bright ones do. It has the
            photograph's shape and may be smaller or larger.

    Raises:
        InputError: There is no such concept or photograph, the mask is empty or of another shape, or the folder cannot
            be written to.
    """
    with changing(workspace):
        path = find_photograph(find_concept(workspace, concept), photograph)
        target = mask_path(path)
        if mask is None:
            if target.exists():
                Trash(workspace).put(target, what=_MASK)
            return
        save_png(_fitted(_brightness(mask), read_image(path).size, photograph), target)


def crop_photograph(workspace: Workspace, concept: str, photograph: str, box: tuple[float, float, float, float]) -> str:
    """Cut a photograph and its mask down to a part of it. As they were, with the caption, they lie in the trash.

    Args:
        workspace, concept, photograph: Which.
        box: Left, top, right and bottom edge in pixels of the upright picture. What lies beyond it does not count.

    Returns:
        The file name, which ends in `.png` from now on.

    Raises:
        InputError: There is no such concept or photograph; less than 64 pixels would be left of a side, or nothing of
            the mask; or the folder cannot be written to.
    """
    with staging(workspace) as stage, changing(workspace):
        folder = find_concept(workspace, concept)
        path = find_photograph(folder, photograph)
        image = read_image(path)
        part = _part(image.size, box, photograph)
        if part == (0, 0, *image.size):
            return photograph
        own, has_mask = companions(path), mask_path(path).exists()
        save_png(image.crop(part), stage / "photograph.png")
        if has_mask:
            mask = read_mask(mask_path(path), image.size)[part[1] : part[3], part[0] : part[2]]
            if float(mask.max()) < 0.5:
                raise InputError(
                    f"the crop leaves nothing of the mask of {photograph}",
                    "crop around what is painted, or remove the mask first",
                )
            save_png(Image.fromarray((mask * 255).round().byte().numpy()), stage / "mask.png")
        target = path.with_suffix(".png")
        if (target != path and target.exists()) or (has_mask and not own):
            # Another photograph has the same name but for the end, and with it this one's mask and caption.
            target = path.with_name(f"{next_number(folder):02d}.png")
        caption = read_caption(caption_path(path))
        Trash(workspace).keep(path, *own, what="photograph")
        # At no moment is there a mask that does not fit: a concept folder with one would not be read.
        if mask_path(path) in own:
            mask_path(path).unlink()
        place(stage / "photograph.png", target)
        if target != path:
            path.unlink()
        if has_mask:
            place(stage / "mask.png", mask_path(target))
        if caption is not None and target.stem != path.stem:
            _write(caption_path(target), caption + "\n")
    return target.name


def remove_photograph(workspace: Workspace, concept: str, photograph: str) -> TrashedItem:
    """Move a photograph to the trash, with its caption and its mask.

    Raises:
        InputError: There is no such concept or photograph, or the workspace cannot be written to.
    """
    with changing(workspace):
        path = find_photograph(find_concept(workspace, concept), photograph)
        return Trash(workspace).put(path, *companions(path), what="photograph")


def rename_concept(workspace: Workspace, concept: str, new_name: str) -> str:
    """Rename the folder of a concept that nothing else goes by yet. Its token and class word stay.

    Adapter file, checkpoint and columns of a trained concept go by its name, and a training may be under way that will
    write them: a trained concept keeps its name until they are gone.

    Returns:
        The new name.

    Raises:
        InputError: There is no such concept; it is trained; nothing is left of the new name, or it is taken; or the
            workspace cannot be written to.
    """
    made = concept_name(new_name)
    with changing(workspace):
        folder = find_concept(workspace, concept)
        name = concept_name(concept)
        if made == concept:
            return made
        _check_untrained(workspace, name)
        _check_free(workspace, made, but=concept)
        settings = read_settings(folder, name)
        _check(workspace, concept, made, settings)
        if settings != read_settings(folder, made):
            _write_settings(folder, settings)
        place(folder, workspace.concepts / made)
    return made


def delete_concept(workspace: Workspace, concept: str) -> TrashedItem:
    """Move a concept's folder to the trash. Its adapter and its columns stay as they are.

    Raises:
        InputError: There is no such concept, or the workspace cannot be written to.
    """
    with changing(workspace):
        return Trash(workspace).put(find_concept(workspace, concept), what="concept")


def restore(workspace: Workspace, item_id: str) -> Path:
    """Bring a concept, a photograph or a mask back from the trash; see `Trash.restore`.

    A mask comes back to its photograph only; one that was painted there meanwhile goes into the trash.

    Raises:
        InputError: See `Trash.restore`; or the photograph of a mask is gone, or has another size now.
    """
    with changing(workspace):
        trash = Trash(workspace)
        origin = trash.origin(item_id)
        is_mask = any(item.id == item_id and item.what == _MASK for item in trash.items())
        if is_mask:
            _check_mask_fits(trash.content(item_id), origin)
        return trash.restore(item_id, replace=is_mask)


def token_holder(workspace: Workspace, token: str, but: str = "") -> str | None:
    """The concept folder that has a token, of those that can be read, but for one."""
    for other in concept_names(workspace):
        try:
            if other != but and read_settings(workspace.concepts / other, concept_name(other))["token"] == token:
                return other
        except InputError:
            continue
    return None


def _check_mask_fits(mask: Path, origin: Path) -> None:
    """Refuse a mask where it would make its folder one that cannot be read, or a photograph of itself."""
    folder = origin.parent
    own = [path for path in photographs(folder) if mask_path(path) == origin] if folder.is_dir() else []
    if not own:
        raise InputError(
            f"the photograph of the mask {origin.name} is gone from {folder.name}", "restore that photograph first"
        )
    for photograph in own:
        check_inside(photograph)
        size_px = read_image(photograph).size
        try:
            read_mask(mask, size_px)
        except InputError as error:
            raise InputError(
                f"the mask {origin.name} does not go with {photograph.name} any more, which is {size_px[0]} x "
                f"{size_px[1]} pixels: it was cropped meanwhile, or the mask is damaged",
                "restore the photograph as it was, or paint the mask again",
            ) from error


def _check(workspace: Workspace, concept: str, name: str, settings: dict[str, str]) -> None:
    for key in ("class_word", "description"):
        settings[key] = " ".join(settings[key].split())
    check_settings(name, **settings)
    holder = token_holder(workspace, settings["token"], but=concept)
    if holder is not None:
        raise InputError(f"the concept {holder} has the token {settings['token']} already", "choose another word")


def _check_free(workspace: Workspace, name: str, but: str = "") -> None:
    """Refuse a name that a folder has, also on systems where capitals make no difference, or that its concept has."""
    for other in concept_names(workspace):
        known = {other.casefold(), re.sub(r"^\d+_(?=.)", "", other).casefold()}
        if other != but and name.casefold() in known:
            raise InputError(f"there is a concept {other} already", "choose another name")


def _check_untrained(workspace: Workspace, name: str) -> None:
    file = f"{name}.safetensors"
    if (workspace.adapters / file).exists() or (workspace.adapters / CHECKPOINTS / file).exists():
        what = "its adapter, and its columns in the ledger, go"
    elif any(claim.concept == name for claim in Ledger(workspace.ledger_path).holders()):
        what = "columns that a training holds for it go"
    else:
        return
    raise InputError(
        f"{name} cannot be renamed: {what} by that name",
        "delete its adapter first, or make a concept of the new name with the same photographs",
    )


def _write_settings(folder: Path, settings: dict[str, str]) -> None:
    _write(folder / SETTINGS_FILE, settings_text({key: value for key, value in settings.items() if value}))


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_bytes(text.encode()))


def _brightness(mask: Image.Image) -> Image.Image:
    """What of a mask counts, as grey."""
    if mask.mode in ("RGBA", "LA", "PA") or "transparency" in mask.info:
        layer = mask.convert("RGBA").getchannel("A")
        if layer.getextrema() != (255, 255):
            return layer
    return mask.convert("RGB").convert("L")


def _fitted(mask: Image.Image, size_px: tuple[int, int], photograph: str) -> Image.Image:
    """The mask in the size of its photograph."""
    if 0 in mask.size:
        raise InputError("the mask is empty", "paint the concept, or remove the mask")
    wide, high = size_px[0] / mask.width, size_px[1] / mask.height
    if abs(wide / high - 1) > max(_SHAPE_TOLERANCE, 1.5 / min(mask.size)):
        raise InputError(
            f"the mask is {mask.width} x {mask.height} pixels but {photograph} {size_px[0]} x {size_px[1]}",
            "paint on the photograph as it is now",
        )
    fitted = mask if mask.size == size_px else mask.resize(size_px, Image.Resampling.BILINEAR)
    if max(fitted.tobytes()) < 128:
        raise InputError("the mask is empty", "paint the concept, or remove the mask")
    return fitted


def _part(size_px: tuple[int, int], box: tuple[float, ...], photograph: str) -> tuple[int, int, int, int]:
    """The box in whole pixels, inside of the picture."""
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise InputError(f"{box} is no part of a picture", "give its left, top, right and bottom edge in pixels")
    left, top = (max(0, min(round(edge), side)) for edge, side in zip(box[:2], size_px, strict=True))
    right, bottom = (max(0, min(round(edge), side)) for edge, side in zip(box[2:], size_px, strict=True))
    if min(right - left, bottom - top) < CROP_SIDE_PX and (left, top, right, bottom) != (0, 0, *size_px):
        raise InputError(
            f"only {max(0, right - left)} x {max(0, bottom - top)} pixels would be left of {photograph}",
            f"leave at least {CROP_SIDE_PX} on each side",
        )
    return left, top, right, bottom
