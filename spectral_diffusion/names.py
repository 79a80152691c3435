"""Names that people and strangers give, made safe to be file names and to be shown."""

import hashlib
import re
import unicodedata

NAME_LIMIT_BYTES = 120
"""Leaves room for suffixes below the 143 bytes of the narrowest file system in use."""

UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
"""Inside of a character class: what breaks a line, steers a terminal, or turns the direction of the text after it."""

_RESERVED = re.compile(r"(con|prn|aux|nul|clock|conin|conout|(com|lpt)[0-9¹²³])", re.IGNORECASE)
# Letters and marks that show nothing: joiners of glyphs, fillers of Hangul, choices between forms of one glyph.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def slug(name: str, otherwise: str = "unnamed") -> str:
    """A file name for any text, the same on Linux, macOS and Windows.

    Letters, marks and digits of every script, `_`, `.` and `-` stay; invisible characters go; each run of anything else
    becomes one `-`. A name of at most 120 bytes that holds nothing else is left as it is, but for what Windows reserves
    (`CON`, `nul.txt`), which gets a `_` in front. Longer ones are cut and told apart by eight digits of their sha256.

    Args:
        name: Any text.
        otherwise: What to call a text without a usable character.

    Returns:
        A name without separators that is no path, no hidden file and no option; `slug(slug(name)) == slug(name)`.
    """
    plain = "".join(map(_kept, _INVISIBLE.sub("", unicodedata.normalize("NFC", name))))
    plain = _ends_trimmed(re.sub(r"\0+", "-", plain))
    if len(plain.encode()) > NAME_LIMIT_BYTES:
        digest = hashlib.sha256(plain.encode()).hexdigest()[:8]
        start = plain.encode()[: NAME_LIMIT_BYTES - 10].decode(errors="ignore")
        plain = f"{_ends_trimmed(start)}-{digest}"
    return f"_{plain}" if is_reserved(plain) else plain or otherwise


def is_reserved(name: str) -> bool:
    """Whether Windows takes a file of this name for a device, whatever its suffix."""
    return _RESERVED.fullmatch(name.partition(".")[0].rstrip()) is not None


def printable(text: str) -> str:
    """The text with everything that could steer a terminal or turn its direction written as an escape."""
    return re.sub(f"[{UNPRINTABLE}\ud800-\udfff]", lambda match: ascii(match[0])[1:-1], text)


def _kept(character: str) -> str:
    """The character, nothing, or a NUL where a `-` shall stand."""
    category = unicodedata.category(character)
    if category[0] in "LMN" or character in "_.-":
        return character
    return "" if category == "Cf" else "\0"


def _ends_trimmed(name: str) -> str:
    # A mark without its letter would join the suffix or the slash before it on the screen.
    name = name.strip("-.")
    while name and unicodedata.category(name[0])[0] == "M":
        name = name[1:].lstrip("-.")
    return name
