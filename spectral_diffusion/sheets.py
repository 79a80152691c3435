"""Many pictures as one, with words above, beside and below them that can be read at any size."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

SHEET_PIXEL_LIMIT = 64_000_000
"""Larger sheets are drawn smaller: no browser shows them, and 64 megapixels are 200 MB of memory."""
_GAP_PX, _CELL_PX, _SIDE_PX = 8, 112, 168
_TEXT_PX, _HEADING_PX = 15, 20
_LINES = 4
_INK, _FAINT = "black", "#444444"


def labelled_grid(
    pictures: Sequence[Image.Image],
    columns: int,
    *,
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    captions: Sequence[str] = (),
    heading: str = "",
) -> Image.Image:
    """Pictures in rows, each column under its label and each row beside its own.

    Labels that are too long for their place are broken into lines and after the fourth one cut. All are written alike
    large, however small the pictures are.

    Args:
        pictures: At least one, row by row; the last row may be shorter. They may differ in size.
        columns: How many in a row.
        column_labels, row_labels: None, or one for each.
        captions: None, or one for each picture, written below it.
        heading: Written over all.
    """
    rows = [list(pictures[start : start + columns]) for start in range(0, len(pictures), columns)]
    scale = min(1.0, (SHEET_PIXEL_LIMIT / sum(_area(row, columns) for row in rows)) ** 0.5)
    rows = [[_scaled(picture, scale) for picture in row] for row in rows]
    width_px = max(_CELL_PX, *(picture.width for row in rows for picture in row))
    side_px = _SIDE_PX if any(row_labels) else 0
    left = _GAP_PX + (side_px + _GAP_PX if side_px else 0)
    sheet_px = left + columns * (width_px + _GAP_PX)
    above = [_Text(label, width_px) for label in column_labels]
    beside = [_Text(label, side_px) for label in row_labels]
    below = [_Text(caption, width_px, ink=_FAINT) for caption in captions]
    title = _Text(heading, sheet_px - 2 * _GAP_PX, _HEADING_PX)
    top = _GAP_PX + title.height_px + max((text.height_px for text in above), default=0)
    heights = []
    for number, row in enumerate(rows):
        under = max((text.height_px for text in below[number * columns : (number + 1) * columns]), default=0)
        label_px = beside[number].height_px if beside else 0
        heights.append(max(max(picture.height for picture in row) + under, label_px) + _GAP_PX)
    sheet = Image.new("RGB", (sheet_px, top + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    title.write(draw, _GAP_PX, _GAP_PX)
    for column, text in enumerate(above):
        text.write(draw, left + column * (width_px + _GAP_PX), top - text.height_px)
    y = top
    for number, row in enumerate(rows):
        if beside:
            beside[number].write(draw, _GAP_PX, y)
        for column, picture in enumerate(row):
            x = left + column * (width_px + _GAP_PX)
            sheet.paste(picture, (x, y))
            if below:
                below[number * columns + column].write(draw, x, y + picture.height)
        y += heights[number]
    return sheet


class _Text:
    """Words in lines that fit into a width; an empty text takes no room."""

    def __init__(self, words: str, width_px: int, size_px: int = _TEXT_PX, ink: str = _INK) -> None:
        self._font = ImageFont.load_default(size=size_px)
        self._line_px, self._ink = size_px * 4 // 3, ink
        self._lines = _cut(words, width_px, self._font)
        self.height_px = len(self._lines) * self._line_px + (_GAP_PX // 2 if self._lines else 0)

    def write(self, draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        for number, line in enumerate(self._lines):
            draw.text((x, y + number * self._line_px), line, fill=self._ink, font=self._font)


def _cut(words: str, width_px: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """The words in lines, none wider than that."""
    lines: list[str] = []
    left = words.split()
    while left and len(lines) < _LINES:
        count = 1
        while count < len(left) and font.getlength(" ".join(left[: count + 1])) <= width_px:
            count += 1
        line, rest = " ".join(left[:count]), left[count:]
        if font.getlength(line) > width_px:
            # A single word that is too long goes on in the next line.
            fitting = _fitting(line, width_px, font)
            line, rest = line[:fitting], [line[fitting:], *rest]
        lines.append(line)
        left = rest
    if left:
        last = lines[-1]
        while last and font.getlength(f"{last}...") > width_px:
            last = last[:-1]
        lines[-1] = f"{last}..."
    return lines


def _fitting(word: str, width_px: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    """How many of a word's letters fit into a width, at least one."""
    count = 1
    while count < len(word) and font.getlength(word[: count + 1]) <= width_px:
        count += 1
    return count


def _area(row: Sequence[Image.Image], columns: int) -> int:
    return columns * max(picture.width for picture in row) * max(picture.height for picture in row)


def _scaled(picture: Image.Image, scale: float) -> Image.Image:
    if scale < 1:
        size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return picture.convert("RGB")
