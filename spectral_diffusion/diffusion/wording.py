"""What a concept is called: its name, its token, its class word, its description, and the captions of its photographs.

They lie in its folder as `concept.toml` and as a `.txt` beside a photograph.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from spectral_diffusion.adapters.adapter import TOKEN_RULE, TOKEN_SHAPE
from spectral_diffusion.diffusion.prompts import PROMPT_LIMIT
from spectral_diffusion.errors import InputError
from spectral_diffusion.names import UNPRINTABLE, slug
from spectral_diffusion.reading import read_text, read_toml

SETTINGS_FILE = "concept.toml"
SETTINGS = ("token", "class_word", "description")
DESCRIPTION_LIMIT = 300
CLASS_WORD_LIMIT = 200


def concept_name(called: str) -> str:
    """The name of the concept in a folder that is called so; a number before it, as in kohya's `10_octo`, is dropped.

    Raises:
        InputError: Nothing is left.
    """
    name = slug(re.sub(r"^\d+_(?=.)", "", called), otherwise="")
    if not name:
        raise InputError(f"{called[:200]!r} has no usable name", "give it a name of letters and digits")
    return name


def read_settings(folder: Path, name: str) -> dict[str, str]:
    """Token, class word and description of a concept: as `concept.toml` says, and where that is silent from its name.

    Raises:
        InputError: The file cannot be used. What it says is not checked yet, see `check_settings`.
    """
    settings = _settings(folder / SETTINGS_FILE)
    return {
        "token": settings.get("token", f"<{name}>"),
        "class_word": " ".join(settings.get("class_word", _words(name)).split()),
        "description": " ".join(settings.get("description", "").split()),
    }


def settings_text(settings: Mapping[str, str]) -> str:
    """The content of a `concept.toml` that says this."""
    # JSON's strings are TOML's, but for surrogates in escapes and for the one control character that JSON lets through.
    written = {key: json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F") for key, value in settings.items()}
    return "".join(f"{key} = {value}\n" for key, value in written.items())


def check_settings(name: str, token: str, class_word: str, description: str) -> None:
    """Refuse what no concept can be called, whether it has photographs yet or not.

    Raises:
        InputError: The name is no file name, the token not of the form `<octo>`, or the class word or the description
            no plain short text.
    """
    if slug(name) != name:
        raise InputError(
            f"the name {name[:60]!r} of a concept cannot be that of its files",
            f"call it {slug(name)}",
        )
    if not TOKEN_SHAPE.fullmatch(token):
        raise InputError(f"the token '{token}' of concept '{name}' is not of the form <octo>", TOKEN_RULE)
    if not re.search(r"\w", class_word):
        raise InputError(f"the class word of concept '{name}' is empty", "name its class, such as octopus")
    if "<" in class_word or len(class_word) > CLASS_WORD_LIMIT or not _is_plain(class_word):
        raise InputError(
            f"the class word of concept '{name}' is no plain word: {class_word[:60]!r}",
            "name its class, such as octopus; the token has a key of its own",
        )
    if len(description) > DESCRIPTION_LIMIT or "<" in description or not _is_plain(description):
        raise InputError(
            f"the description of concept '{name}' is no short plain text: {description[:60]!r}",
            "say in a few words what it looks like, such as purple octopus with a yellow star",
        )


def read_caption(path: Path) -> str | None:
    """The caption in a file, or None where there is none.

    Raises:
        InputError: It cannot be read, leads out of its folder, or is no caption, see `check_caption`.
    """
    return check_caption(read_text(path, "the caption"), f"the caption {path}") if check_inside(path) else None


def check_caption(text: str, called: str = "the caption") -> str | None:
    """A caption in one line, or None where there is nothing to read.

    Raises:
        InputError: It is longer than a prompt may be, or has characters that no text has.
    """
    caption = " ".join(text.split())
    if len(caption) > PROMPT_LIMIT or not _is_plain(caption):
        raise InputError(f"{called} is no plain text of up to {PROMPT_LIMIT} characters", "write a sentence or two")
    return caption or None


def check_inside(path: Path) -> bool:
    """Whether a file of this name lies in the folder, truly in it.

    Raises:
        InputError: It is a link to somewhere else: a folder from a stranger shall not make others' files its own.
    """
    home = os.path.join(os.path.realpath(path.parent), "")
    if path.is_symlink() and not os.path.realpath(path).startswith(home):
        raise InputError(f"{path} is a link that leads out of its folder", "copy the file itself into the folder")
    return os.path.lexists(path)


def _words(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name.rstrip("0123456789")).strip() or name


def _is_plain(text: str) -> bool:
    return re.search(f"[{UNPRINTABLE}\ud800-\udfff]", text) is None


def _settings(path: Path) -> dict[str, str]:
    if not check_inside(path):
        return {}
    settings = read_toml(path, "the file")
    faults = [
        f"{key[:60]} is no key" if key not in SETTINGS else f"{key} = {repr(value)[:60]} is not a text"
        for key, value in settings.items()
        if key not in SETTINGS or not isinstance(value, str)
    ]
    if faults:
        raise InputError(
            f"{path}: {'; '.join(faults[:5])}",
            'write token = "<octo>", class_word = "octopus" and, by choice, description = "purple octopus"',
        )
    return settings
