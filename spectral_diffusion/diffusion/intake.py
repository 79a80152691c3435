"""Uploads of strangers into a concept folder: pictures, zips of them, captions and masks, each judged by itself."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from torch import Tensor

from spectral_diffusion.archives import archive_kind, unpack
from spectral_diffusion.diffusion.concept_folder import (
    caption_path,
    changing,
    find_concept,
    mask_path,
    next_number,
    photographs,
    place,
    staging,
)
from spectral_diffusion.diffusion.curation import token_holder
from spectral_diffusion.diffusion.dataset import (
    MASK_SUFFIX,
    PHOTOGRAPH_LIMIT,
    PHOTOGRAPH_SIDE_PX,
    entries,
    is_wanted,
    read_masked,
)
from spectral_diffusion.diffusion.previews import Preview, pixel_digest, read_previews, remember
from spectral_diffusion.diffusion.traces import read_traces
from spectral_diffusion.diffusion.wording import (
    SETTINGS_FILE,
    check_settings,
    concept_name,
    read_caption,
    read_settings,
)
from spectral_diffusion.errors import DiskFullError, InputError
from spectral_diffusion.images import read_image, save_png
from spectral_diffusion.names import printable
from spectral_diffusion.reading import TEXT_LIMIT_BYTES, open_file
from spectral_diffusion.workspace import Workspace, write_atomically

_LEFT_BY_SYSTEMS = frozenset(("thumbs.db", "desktop.ini"))
# A photograph takes half a second to write at Pillow's own level, and is hardly smaller then.
_COMPRESS_LEVEL = 1
_FULL = f"the concept has {PHOTOGRAPH_LIMIT} photographs, as many as it can hold"


@dataclass(frozen=True)
class UploadResult:
    """What became of an upload.

    Args:
        upload: Its name, as it is safe to show; a member of a zip has the zip's name before it.
        stored: The photograph it is now, or None.
        notes: What was changed or taken over on the way, in words for people.
        refused: Why it is not stored, or nothing.
    """

    upload: str
    stored: str | None = None
    notes: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True)
class AddedPhotographs:
    """What became of all uploads, zips first; captions and masks that went with their picture are not listed."""

    results: tuple[UploadResult, ...]

    @property
    def stored(self) -> tuple[str, ...]:
        """The new photographs, by their file names."""
        return tuple(result.stored for result in self.results if result.stored is not None)

    @property
    def refused(self) -> tuple[UploadResult, ...]:
        """The uploads that were not stored."""
        return tuple(result for result in self.results if result.refused)


@dataclass(frozen=True)
class _Prepared:
    """A picture as it will be stored, with mask and caption beside it, but for its name."""

    upload: str
    digest: str
    image: Path
    notes: tuple[str, ...]


@dataclass
class _Offers:
    """Uploads that belong together: those given as files, or those of one zip."""

    pictures: list[tuple[str, Path]] = field(default_factory=list)
    captions: dict[str, tuple[str, Path]] = field(default_factory=dict)
    masks: dict[str, tuple[str, Path]] = field(default_factory=dict)
    settings: list[tuple[str, Path]] = field(default_factory=list)

    def sort_in(self, shown: str, path: Path) -> None:
        """Captions, masks and settings are told by their names, everything else is taken for a picture."""
        name = path.name
        if name.startswith(".") or name.casefold() in _LEFT_BY_SYSTEMS:
            return
        if name.casefold().endswith(MASK_SUFFIX):
            self.masks[name[: -len(MASK_SUFFIX)]] = shown, path
        elif path.suffix.casefold() == ".txt":
            self.captions[path.stem] = shown, path
        elif name == SETTINGS_FILE:
            self.settings.append((shown, path))
        else:
            self.pictures.append((shown, path))

    def lonely(self) -> Iterable[UploadResult]:
        """Captions and masks without a picture."""
        stems = {path.stem for _, path in self.pictures}
        for what, held in (("caption", self.captions), ("mask", self.masks)):
            for stem, (shown, _) in held.items():
                if stem not in stems:
                    said = f"a {what} that belongs to none of the pictures; upload it together with {stem}.jpg"
                    yield UploadResult(shown, refused=printable(said))


def add_photographs(
    workspace: Workspace,
    concept: str,
    uploads: Sequence[Path],
    on_progress: Callable[[int, int], None] | None = None,
) -> AddedPhotographs:
    """Store uploads in a concept folder: upright PNGs without metadata, at most 1536 px on the longer side.

    Photographs get the next free numbers as names. 50 fit; one whose pixels are there already is not stored again.
    `a.txt` and `a.mask.png` go with `a.jpg`, of the same upload or the same zip. A `concept.toml` is taken over where
    the folder has none. What is wrong with one upload keeps no other from being stored.

    Args:
        workspace, concept: Where.
        uploads: Files with any names and any content, told by that: pictures, and zips of them.
        on_progress: Told how many of the pictures and zips are read, and how many there are.

    Raises:
        InputError: There is no such concept, or the folder cannot be written to; nothing is stored then.
        DiskFullError: There is no space for them; nothing is stored then.
    """
    folder = find_concept(workspace, concept)
    with staging(workspace) as stage:
        desk = _Desk(stage, _digests(folder), len(photographs(folder)))
        loose, zips = _Offers(), []
        for upload in uploads:
            shown = printable(upload.name)[:200]
            try:
                if archive_kind(upload) == "zip":
                    zips.append((shown, upload))
                else:
                    loose.sort_in(shown, upload)
            except InputError as error:
                desk.refuse(shown, upload, error)
        total = len(loose.pictures) + len(zips)
        for number, (shown, upload) in enumerate(zips, 1):
            desk.unpack(shown, upload)
            if on_progress is not None:
                on_progress(number, total)
        desk.prepare(loose, lambda number: on_progress(len(zips) + number, total) if on_progress is not None else None)
        with changing(workspace):
            return AddedPhotographs(tuple(desk.stored(workspace, concept)))


class _Desk:
    """Where uploads are read one after another, before the folder is touched."""

    def __init__(self, stage: Path, known: dict[str, str], count: int) -> None:
        self._stage, self._known, self._count = stage, known, count
        self._results: list[UploadResult | _Prepared] = []
        self._settings: tuple[str, Path] | None = None
        self._files = 0

    def refuse(self, shown: str, path: Path, error: InputError) -> None:
        """Note why an upload is not stored; a full disk is no fault of an upload."""
        if isinstance(error, DiskFullError):
            raise error
        self._results.append(UploadResult(shown, refused=_said(str(error), path, shown)))

    def unpack(self, shown: str, upload: Path) -> None:
        """Read what is in a zip."""
        folder = self._stage / "zip"
        folder.mkdir()
        try:
            unpack(upload, folder, is_wanted)
            offers = _Offers()
            for path in entries(folder):
                offers.sort_in(f"{shown}/{printable(path.name)}", path)
            if not offers.pictures:
                raise InputError(f"{shown} holds no photographs", "zip the folder in which they lie")
            self.prepare(offers)
        except InputError as error:
            self.refuse(shown, upload, error)
        finally:
            shutil.rmtree(folder)

    def prepare(self, offers: _Offers, on_picture: Callable[[int], object] = lambda number: None) -> None:
        """Read pictures with what belongs to them."""
        for number, (shown, path) in enumerate(offers.pictures, 1):
            try:
                self._results.append(self._prepared(shown, path, offers))
            except InputError as error:
                self.refuse(shown, path, error)
            on_picture(number)
        self._results += offers.lonely()
        for shown, path in offers.settings:
            self._files += 1
            kept = self._stage / f"settings-{self._files}" / SETTINGS_FILE
            kept.parent.mkdir()
            try:
                with open_file(path, TEXT_LIMIT_BYTES) as file:
                    kept.write_bytes(file.read(TEXT_LIMIT_BYTES))
                self._settings = self._settings or (shown, kept)
            except InputError as error:
                self.refuse(shown, path, error)

    def _prepared(self, shown: str, path: Path, offers: _Offers) -> UploadResult | _Prepared:
        if self._count >= PHOTOGRAPH_LIMIT:
            return UploadResult(shown, refused=_FULL)
        traces = read_traces(path)
        image, mask, notes = _read(path, offers.masks.get(path.stem))
        digest = pixel_digest(image)
        if digest in self._known:
            return UploadResult(shown, refused=f"the same picture as {self._known[digest]}")
        caption = None
        if path.stem in offers.captions:
            try:
                caption = read_caption(offers.captions[path.stem][1])
            except InputError as error:
                notes.append(_left_out("caption", offers.captions[path.stem], error))
        self._known[digest] = shown
        self._count += 1
        self._files += 1
        stored = self._stage / f"{self._files}.png"
        write_atomically(stored, lambda temporary: image.save(temporary, format="PNG", compress_level=_COMPRESS_LEVEL))
        if mask is not None:
            save_png(Image.fromarray((mask * 255).round().byte().numpy()), mask_path(stored))
            notes.append("with its mask")
        if caption is not None:
            caption_path(stored).write_bytes(f"{caption}\n".encode())
            notes.append("with its caption")
        remember(stored, image)
        return _Prepared(shown, digest, stored, (*traces.notes(image.size), *notes))

    def stored(self, workspace: Workspace, concept: str) -> Iterator[UploadResult]:
        """Rename to their places what was read, while nobody else changes the folder."""
        folder = find_concept(workspace, concept)
        taken = _digests(folder)
        count, number = len(photographs(folder)), next_number(folder)
        for result in self._results:
            if isinstance(result, UploadResult):
                yield result
            elif result.digest in taken:
                yield UploadResult(result.upload, refused=f"the same picture as {taken[result.digest]}")
            elif count >= PHOTOGRAPH_LIMIT:
                yield UploadResult(result.upload, refused=_FULL)
            else:
                target = folder / f"{number:02d}.png"
                # The photograph goes first: a folder with a mask that belongs to none is not read.
                place(result.image, target)
                for beside in (mask_path, caption_path):
                    if beside(result.image).exists():
                        place(beside(result.image), beside(target))
                count, number = count + 1, number + 1
                yield UploadResult(result.upload, target.name, result.notes)
        if self._settings is not None:
            yield _take_settings(workspace, folder, *self._settings)


def _digests(folder: Path) -> dict[str, str]:
    """The photographs in a folder by their pixels, but for those that somebody spoiled."""
    paths = photographs(folder)
    previews = zip(paths, read_previews(paths), strict=True)
    return {found.digest: path.name for path, found in previews if isinstance(found, Preview)}


def _read(path: Path, mask: tuple[str, Path] | None) -> tuple[Image.Image, Tensor | None, list[str]]:
    """A picture, its mask unless that does not fit, and what is to be said of it."""
    notes = []
    if mask is not None:
        try:
            return *read_masked(path, mask[1]), notes
        except InputError as error:
            notes.append(_left_out("mask", mask, error))
    return read_image(path, max_side_px=PHOTOGRAPH_SIDE_PX), None, notes


def _left_out(what: str, offer: tuple[str, Path], error: InputError) -> str:
    shown, path = offer
    return f"its {what} is left out: {_said(error.what, path, shown)}"


def _said(text: str, path: Path, shown: str) -> str:
    """What was said of a file, with the name that the person knows it by."""
    return text.replace(printable(str(path)), shown)


def _take_settings(workspace: Workspace, folder: Path, shown: str, path: Path) -> UploadResult:
    """Take a `concept.toml` over where the folder has none and all in it can be used."""
    target = folder / SETTINGS_FILE
    if target.exists():
        return UploadResult(shown, refused="the concept has settings of its own, which stay")
    try:
        name = concept_name(folder.name)
        settings = read_settings(path.parent, name)
        check_settings(name, **settings)
    except InputError as error:
        return UploadResult(shown, refused=_said(str(error), path, shown))
    holder = token_holder(workspace, settings["token"], but=folder.name)
    if holder is not None:
        return UploadResult(shown, refused=f"the concept {holder} has the token {settings['token']} already")
    place(path, target)
    return UploadResult(shown, notes=(f"token {settings['token']} and class word {settings['class_word']} taken over",))
