"""Concept folders with traps in them, and what is said of each."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.hostile.case import Case
from tests.hostile.cases_archives import MASK, PHOTOGRAPH, TOML, zipped
from tests.hostile.cases_images import encoded

Filling = bytes | str | None
"""Content of a file, where a link leads, or a pipe."""


def folder_of(files: dict[str, Filling], name: str = "octo") -> Callable[[Path], Path]:
    """Makes a concept folder with one sound photograph and these files, beside a secret that no concept may hold."""

    def make(place: Path) -> Path:
        (place / "secret.txt").write_text("the secret")
        (place / "secret.png").write_bytes(PHOTOGRAPH)
        folder = place / name
        folder.mkdir(parents=True)
        for file, content in {"1.png": PHOTOGRAPH, **files}.items():
            if content is None:
                os.mkfifo(folder / file)
            elif isinstance(content, str):
                (folder / file).symlink_to(content)
            else:
                (folder / file).write_bytes(content)
        return folder

    return make


def _toml(text: str | bytes) -> Callable[[Path], Path]:
    return folder_of({"concept.toml": text if isinstance(text, bytes) else text.encode()})


def _told(**settings: str) -> Callable[[Path], Path]:
    # JSON's strings are TOML's.
    return _toml("\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items()))


def _linked_folder(place: Path) -> Path:
    folder_of({})(place)
    (place / "link").symlink_to("octo")
    return place / "link"


def _loop(place: Path) -> Path:
    (place / "octo").symlink_to("octo")
    return place / "octo"


def _folder_called_png(place: Path) -> Path:
    folder = folder_of({})(place)
    (folder / "2.png").mkdir()
    return folder


def _many_files(place: Path) -> Path:
    folder = folder_of({})(place)
    for index in range(3000):
        (folder / f"{index}.md").touch()
    return folder


NOWHERE = "a link that leads out of its folder"
REFUSED = {
    "missing": (lambda place: place / "octo", "there is no concept folder"),
    "a loop of links": (_loop, "octo"),
    "a name with NUL": (lambda place: place / "a\0b", "cannot be a path"),
    "a photograph that is a link out": (folder_of({"2.png": "../secret.png"}), NOWHERE),
    "a photograph that is an absolute link": (folder_of({"2.png": "/etc/passwd"}), NOWHERE),
    "a photograph that is a link to nowhere out": (folder_of({"2.png": "../nowhere.png"}), NOWHERE),
    "a photograph that is a link to nowhere": (folder_of({"2.png": "nowhere.png"}), "there is no file"),
    "a photograph that is a link to itself": (folder_of({"2.png": "2.png"}), "cannot read"),
    "a photograph that is a link by a folder": (folder_of({"sub": "..", "2.png": "sub/secret.png"}), NOWHERE),
    "a photograph that is zeros without end": (folder_of({"2.png": "/dev/zero"}), NOWHERE),
    "a photograph that is a pipe": (folder_of({"2.png": None}), "no ordinary file"),
    "a caption that is a link out": (folder_of({"1.txt": "../secret.txt"}), NOWHERE),
    "a caption that is zeros without end": (folder_of({"1.txt": "/dev/zero"}), NOWHERE),
    "a caption that is a pipe": (folder_of({"1.txt": None}), "no ordinary file"),
    "a caption of a megabyte": (folder_of({"1.txt": b"x" * 2**20}), "over the limit"),
    "a caption of 20 000 letters": (folder_of({"1.txt": b"x" * 20_000}), "up to 10000 characters"),
    "a caption of binary": (folder_of({"1.txt": b"\xff\xfe\xfa"}), "not plain text"),
    "a caption with NUL": (folder_of({"1.txt": b"an \0 octopus"}), "no plain text"),
    "a caption with escape codes": (folder_of({"1.txt": b"\x1b[2J octopus"}), "no plain text"),
    "a caption that turns the text": (folder_of({"1.txt": "an \u202e octopus".encode()}), "no plain text"),
    "a mask that is a link out": (folder_of({"1.mask.png": "../secret.png"}), NOWHERE),
    "a mask that is a link to nowhere": (folder_of({"1.mask.png": "nowhere"}), "there is no file"),
    "a mask that is a pipe": (folder_of({"1.mask.png": None}), "no ordinary file"),
    "a mask of 196 megapixels": (
        folder_of({"1.mask.png": encoded(Image.new("1", (14000, 14000)))}), "over the limit of 100 megapixels"),
    "a mask that is black": (folder_of({"1.mask.png": encoded(Image.new("L", (64, 48)))}), "is empty"),
    "a mask of another size": (folder_of({"1.mask.png": encoded(Image.new("L", (9, 9), 255))}), "9 x 9"),
    "settings that are a link out": (folder_of({"concept.toml": "../secret.txt"}), NOWHERE),
    "settings that are zeros without end": (folder_of({"concept.toml": "/dev/zero"}), NOWHERE),
    "settings that are a pipe": (folder_of({"concept.toml": None}), "no ordinary file"),
    "settings of a megabyte": (_toml(b"#" * 2**20), "over the limit"),
    "settings of 30 000 lists": (_toml("token = " + "[" * 30_000), "not TOML"),
    "settings of binary": (_toml(b"\x80\x04]q."), "not plain text"),
    "settings with NUL": (_toml(b'token = "<a\0b>"'), "not TOML"),
    "a number of 5000 digits": (_toml("token = " + "9" * 5000), "TOML"),
    "a number that is not one": (_toml("token = nan"), "is not a text"),
    "a list of 10 000": (_toml(f"token = {[1] * 10_000}"), "is not a text"),
    "1000 unknown keys": (_toml("\n".join(f"k{index} = 1" for index in range(1000))), "is no key"),
    "a key of 10 000 letters": (_toml(f"{'k' * 10_000} = 1"), "is no key"),
    "a key with escape codes": (_toml('"\\u001b[2J" = 1'), "is no key"),
    **{
        f"token {ascii(token)[:24]}": (_told(token=token), "token")
        for token in (
            "", "octo", "<>", "<a b>", "<a><b>", "<a", "a>", "<<a>>", "<a@b>", "<a\nb>", "<a\0b>", "<\x1b[2J>",
            "<a\u202eb>", "<a\u200bb>", f"<{'x' * 41}>",
        )
    },
    **{
        f"class word {ascii(word)[:24]}": (_told(class_word=word), "class word")
        for word in ("", " ", "!!!", "<octo>", "a\0b", "a\x1b[2J", "a\u202eb", "octopus " * 100)
    },
    **{
        f"description {ascii(text)[:24]}": (_told(description=text), "description")
        for text in ("<octo>", "a\0b", "a\x1b[2J", "a\u202eb", "octopus " * 100)
    },
    "a name of 60 letters without token": (folder_of({}, "x" * 60), "up to 40 characters"),
    "a name without a letter": (folder_of({}, "---"), "no usable name"),
    "a name of nothing to see": (folder_of({}, "\u200b\u200e"), "no usable name"),
    "51 photographs": (folder_of({f"{index}.jpg": PHOTOGRAPH for index in range(50)}), "51 photographs"),
    "a photograph that is a zip": (folder_of({"2.png": zipped({"1.png": PHOTOGRAPH})}), "a zip file"),
    "a photograph with escape codes in its name": (folder_of({"\x1b[2J.png": b"x"}), "[2J.png"),
}  # fmt: skip


def _named(name: str, token: str | None = None) -> Callable[[object], bool]:
    return lambda concept: concept.name == name and (token is None or concept.token == token)  # type: ignore[attr-defined]


READ = {
    "a folder that is a link": (_linked_folder, _named("octo")),
    "a photograph that is a link within": (folder_of({"2.png": "1.png"}), lambda found: len(found.photographs) == 2),
    "a caption that is a link within": (
        folder_of({"a.md": b"octopus", "1.txt": "a.md"}), lambda found: found.photographs[0].caption == "octopus"),
    "a folder called as a photograph": (_folder_called_png, lambda found: len(found.photographs) == 1),
    "3000 other files": (_many_files, lambda found: len(found.photographs) == 1),
    "a script beside the photographs": (folder_of({"run.sh": b"rm -rf ~"}), lambda found: len(found.photographs) == 1),
    "a mask": (folder_of({"1.mask.png": MASK}), lambda found: found.photographs[0].mask.min() == 1),
    "settings with a byte order mark": (_toml(b"\xef\xbb\xbf" + TOML), _named("octo", "<octo>")),
    "a caption with markup": (
        folder_of({"1.txt": b"<script>alert(1)</script>"}), lambda found: "<script>" in found.photographs[0].caption),
    "a description of two lines": (
        _told(description="purple\n octopus"), lambda found: found.description == "purple octopus"),
    "a name of Windows": (folder_of({}, "CON"), _named("_CON", "<_CON>")),
    "a name that is markup": (folder_of({}, "<img onerror=alert(1)>"), _named("img-onerror-alert-1")),
    "a name that is a command": (folder_of({}, "$(id)"), _named("id", "<id>")),
    "a name with a line break": (folder_of({}, "a\nb"), _named("a-b", "<a-b>")),
    "a name that turns the text": (folder_of({}, "a\u202eb"), _named("ab", "<ab>")),
    "a name in Hindi": (folder_of({}, "हिन्दी"), _named("हिन्दी", "<हिन्दी>")),
    "a name as macOS writes it": (folder_of({}, "cafe\u0301"), _named("caf\u00e9", "<caf\u00e9>")),
    "a photograph of noise": (
        folder_of({"2.png": encoded(Image.fromarray(np.full((32, 32), 7, np.uint8)))}),
        lambda found: len(found.photographs) == 2),
}  # fmt: skip

CASES = [
    *(Case(name, make, (word,)) for name, (make, word) in REFUSED.items()),
    *(Case(name, make, accepted=right) for name, (make, right) in READ.items()),
]
