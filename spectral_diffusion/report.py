"""A report as one HTML file: pictures inlined, nothing fetched, readable on a phone, light and dark."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from spectral_diffusion.chart import Line, line_chart
from spectral_diffusion.workspace import write_atomically


class Picture(NamedTuple):
    """A picture with the words under it."""

    image: Image.Image
    caption: str


class Report:
    """A page that is written from top to bottom. All text is plain text: it is escaped here.

    Args:
        title: Headline of the page.
        lead: The paragraph below it.
    """

    def __init__(self, title: str, lead: str) -> None:
        self.title = title
        self._body = [f"<h1>{_text(title)}</h1>", f'<p class="lead">{_text(lead)}</p>']

    def section(self, title: str, text: str = "") -> None:
        """A heading, with a paragraph when there is something to say."""
        self._body.append(f"<h2>{_text(title)}</h2>")
        if text:
            self.paragraph(text)

    def paragraph(self, text: str) -> None:
        """A paragraph."""
        self._body.append(f"<p>{_text(text)}</p>")

    def headline_numbers(self, numbers: Sequence[tuple[str, str]]) -> None:
        """Large figures with what they mean: (figure, meaning)."""
        tiles = "".join(
            f"<div><b>{_text(figure)}</b><span>{_text(meaning)}</span></div>" for figure, meaning in numbers
        )
        self._body.append(f'<div class="numbers">{tiles}</div>')

    def pictures(self, pictures: Sequence[Picture], min_width_px: int = 150) -> None:
        """Pictures side by side, as many in a row as fit.

        Args:
            pictures: What to show.
            min_width_px: No picture is shown narrower.
        """
        figures = "".join(
            f'<figure><img src="{_data_uri(image)}" width="{image.width}" height="{image.height}" '
            f'alt="{_text(caption)}"><figcaption>{_text(caption)}</figcaption></figure>'
            for image, caption in pictures
        )
        self._body.append(f'<div class="pictures" style="--least: {int(min_width_px)}px">{figures}</div>')

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table whose first column names the rows; on narrow screens it scrolls inside itself."""
        top = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in head)
        body = "".join(
            f'<tr><th scope="row">{_text(row[0])}</th>'
            + "".join(f"<td>{_text(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in rows
        )
        self._body.append(
            f'<div class="scroll" tabindex="0"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
        )

    def heat_map(self, corner: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]]) -> None:
        """A table of numbers, each cell as strongly coloured as its number is large."""
        values = [value for _, row in rows for value in row]
        low, high = min(values), max(values)
        top = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in (corner, *columns))
        body = ""
        for name, row in rows:
            cells = "".join(
                f'<td style="--heat: {(value - low) / ((high - low) or 1):.2f}">{value:.3f}</td>' for value in row
            )
            body += f'<tr><th scope="row">{_text(name)}</th>{cells}</tr>'
        self._body.append(
            '<div class="scroll" tabindex="0"><table class="heat">'
            f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def line_chart(self, lines: Sequence[Line], *, x_label: str, y_label: str, title: str) -> None:
        """Lines over a common axis, see `chart.line_chart`; nothing where there is no point."""
        drawn = line_chart(lines, x_label=x_label, y_label=y_label, title=title)
        if drawn:
            self._body.append(f'<figure class="drawn">{drawn}<figcaption>{_text(title)}</figcaption></figure>')

    def html(self) -> str:
        """The whole page."""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'\">"
            f"<title>{_text(self.title)}</title><style>{_STYLE}</style></head>\n"
            f"<body><main>\n{chr(10).join(self._body)}\n</main></body></html>\n"
        )

    def save(self, path: Path) -> None:
        """Write the page whole or not at all.

        Raises:
            InputError: The file cannot be written.
        """
        page = self.html()
        write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def _text(value: object) -> str:
    return html.escape(str(value))


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


_STYLE = """
:root { color-scheme: light dark; --page: #faf8f5; --card: #ffffff; --ink: #24211d; --soft: #6b645b; --line: #e4ddd3;
  --accent: #c2512c; --wash: 194, 81, 44; }
@media (prefers-color-scheme: dark) { :root { --page: #171513; --card: #211e1b; --ink: #f0ebe4; --soft: #a79f94;
  --line: #37322c; --accent: #f2925f; --wash: 242, 146, 95; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: clamp(1.7rem, 5vw, 2.6rem); line-height: 1.15; margin: 0 0 .6rem; letter-spacing: -.02em; }
h2 { font-size: 1.3rem; margin: 3rem 0 .4rem; letter-spacing: -.01em; }
p { max-width: 68ch; margin: .4rem 0 1rem; overflow-wrap: anywhere; }
.lead { font-size: 1.1rem; color: var(--soft); }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(135px, 1fr)); gap: .75rem; margin: 1.5rem 0; }
.numbers div { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: .8rem 1rem; }
.numbers b { display: block; font-size: 1.5rem; line-height: 1.2; color: var(--accent);
  font-variant-numeric: tabular-nums; }
.numbers span { color: var(--soft); font-size: .85rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(var(--least), 100%), 1fr)); gap: .75rem;
  margin: 1rem 0; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 12px; overflow: hidden; }
img { display: block; width: 100%; height: auto; }
figcaption { padding: .5rem .7rem .6rem; font-size: .82rem; line-height: 1.4; color: var(--soft);
  overflow-wrap: anywhere; }
.drawn { margin: 1rem 0; padding: .75rem; }
.scroll { overflow-x: auto; margin: 1rem 0; border: 1px solid var(--line); border-radius: 12px;
  background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .8rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 600; }
th:first-child { text-align: left; }
.heat td { background: rgba(var(--wash), calc(var(--heat) * .55)); text-align: center; }
.heat thead th:not(:first-child) { text-align: center; }
"""
