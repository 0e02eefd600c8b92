"""A self-contained HTML page with a slider over pictures, a table of scores, and further pictures.

The page is one file. It loads nothing from elsewhere, so it can be read offline and sent by mail.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from minicfg.errors import UsageError, escape_controls
from minicfg.io.atomic import write_atomic

if TYPE_CHECKING:
    from minicfg.metrics.evaluate import Scores

SCORE_COLUMNS = (
    "w",
    "class accuracy",
    "Frechet distance",
    "floor",
    "Inception-style score",
    "spread",
    "precision",
    "recall",
)
MAX_TICK_LABELS = 9  # More labels below the slider would run into each other.


@dataclass(frozen=True)
class Headings:
    """The headings of a page."""

    slider: str = "One w at a time"
    label: str = "Guidance weight:"  # Beside the slider.
    table: str = "Scores"
    pictures: str = "Pictures"


def score_row(name: str, s: Scores) -> list[str]:
    """Return one row of a table with the columns `SCORE_COLUMNS`, each score with its error."""
    return [
        name,
        f"{s.accuracy:.1%} +- {s.accuracy_se:.1%}",
        f"{s.frechet:.2f} +- {s.frechet_se:.2f}",
        f"{s.frechet_floor:.2f}",
        f"{s.inception_score:.2f} +- {s.inception_score_se:.2f}",
        f"{s.spread:.2f} +- {s.spread_se:.2f}",
        f"{s.precision:.2f} +- {s.precision_se:.2f}",
        f"{s.recall:.2f} +- {s.recall_se:.2f}",
    ]


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with right-aligned columns, one line per row."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


@dataclass(frozen=True)
class Picture:
    """The bytes of a PNG or GIF file, and a caption, which is also the alternative text."""

    content: bytes
    caption: str

    @property
    def source(self) -> str:
        """The picture as a `data:` URL, so that the page needs no second file."""
        kind = "gif" if self.content.startswith(b"GIF8") else "png"
        return f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}"


def write_report(
    path: Path,
    *,
    title: str,
    sentences: Sequence[str],
    stops: Sequence[tuple[str, Picture]],
    head: Sequence[str] = (),
    rows: Sequence[Sequence[str]] = (),
    pictures: Sequence[Picture],
    commands: Sequence[tuple[str, str]] = (),
    made: Mapping[str, str],
    headings: Headings = Headings(),
) -> None:
    """Write the page atomically.

    Args:
        path: of the `.html` file. An existing file is replaced.
        title: of the page.
        sentences: paragraphs below the title.
        stops: the positions of the slider, each a label such as `w = 0.5` and its picture.
        head: the columns of the table. If it is empty, there is no table.
        rows: of the table. First comes one row for each stop, in the order of the stops, then any
            others. The row of a stop is also shown as the caption of its picture; without a table
            the picture keeps its own caption.
        pictures: shown below the table.
        commands: what a reader can do next, each a purpose and the command to type.
        made: how the run was made, as names and values.
        headings: of the page.
    """
    if not stops:
        raise UsageError("stops is empty: the slider needs at least one picture")
    if any(len(row) != len(head) for row in rows):
        raise UsageError(f"rows must have {len(head)} cells each, as many as head has")
    if head and len(rows) < len(stops):
        raise UsageError(f"{len(rows)} rows for {len(stops)} stops: give one row for each stop")
    page = _PAGE.substitute(
        title=escape(title),
        sentences="".join(f"<p>{_typeset(s)}</p>" for s in sentences),
        last=len(stops) - 1,
        first=escape(stops[0][0]),
        ticks=_ticks([label for label, _ in stops]),
        stops=_stops(stops, head, rows),
        scores=_table(headings.table, head, rows) if head else "",
        next=_commands(commands) if commands else "",
        pictures="".join(_figure(picture, picture.caption) for picture in pictures),
        one=escape(headings.slider),
        label=escape(headings.label),
        shown=f"<h2>{escape(headings.pictures)}</h2>" if pictures else "",
        made="".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in made.items()),
    )
    # The name of a file may contain bytes that are not UTF-8.
    write_atomic(path, page.encode(errors="backslashreplace"))


def _ticks(labels: Sequence[str]) -> str:
    """Return the ticks below the slider, of which at most `MAX_TICK_LABELS` are labelled."""
    every = math.ceil(len(labels) / MAX_TICK_LABELS)
    shown = [label if i % every == 0 else "" for i, label in enumerate(labels)]
    return "".join(f"<span>{escape(label)}</span>" for label in shown)


def _stops(
    stops: Sequence[tuple[str, Picture]], head: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """Return one figure for each stop, all but the first hidden."""
    figures = list[str]()
    for i, (label, picture) in enumerate(stops):
        caption = picture.caption
        if head:
            cells = zip(head[1:], rows[i][1:], strict=True)
            caption = ", ".join(f"{column} {cell}" for column, cell in cells)
        hidden = " hidden" if i else ""
        figures.append(_figure(picture, caption, f'data-label="{escape(label)}"{hidden}'))
    return "".join(figures)


def _figure(picture: Picture, caption: str, attributes: str = "") -> str:
    image = f'<img src="{picture.source}" alt="{escape(picture.caption)}">'
    return f"<figure {attributes}>{image}<figcaption>{_typeset(caption)}</figcaption></figure>"


def _table(heading: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = _row("th scope=col", head)
    body = "".join(_row("td", row) for row in rows)
    table = f'<table><thead>{top}</thead><tbody id="scores">{body}</tbody></table>'
    return f'<h2>{escape(heading)}</h2>\n<div class="scroll">{table}</div>'


def escape(text: str) -> str:
    """Make a text harmless in HTML, and show control characters by their escapes."""
    return html.escape(escape_controls(text))


def _typeset(text: str) -> str:
    """Write a score as it is printed in books; the terminal gets ASCII."""
    return (
        escape(text)
        .replace("+-", "\N{PLUS-MINUS SIGN}")
        .replace("Frechet", "Fr\N{LATIN SMALL LETTER E WITH ACUTE}chet")
    )


def _row(cell: str, texts: Sequence[str]) -> str:
    """Return a row of the table; `cell` is the tag of a cell with its attributes."""
    tag = cell.split()[0]
    return "<tr>" + "".join(f"<{cell}>{_typeset(text)}</{tag}>" for text in texts) + "</tr>"


def _commands(commands: Sequence[tuple[str, str]]) -> str:
    lines = (f"<dt>{escape(a)}</dt><dd><code>{escape(b)}</code></dd>" for a, b in commands)
    return f"<h2>What to do next</h2>\n<dl>{''.join(lines)}</dl>"


# Because of the policy in the head, a browser refuses to load anything that is not in the page.
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
 style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1b1d20; --soft: #5f6670; --paper: #fff; --line: #dde0e4;
  --now: #e3eefb; --accent: #0072b2 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e7e9; --soft: #a3a9b2; --paper: #16181b; --line: #363b42; --now: #1d3247;
    --accent: #56b4e9 }
}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2.5rem 1.1rem 5rem; max-width: 58rem; background: var(--paper);
  color: var(--ink); font: 1.05rem/1.6 system-ui, sans-serif; accent-color: var(--accent) }
h1 { font-size: clamp(1.5rem, 5vw, 2.1rem); line-height: 1.2; margin: 0 0 1rem }
h2 { font-size: 1.2rem; margin: 2.8rem 0 .8rem; padding-top: .8rem;
  border-top: 1px solid var(--line) }
p { max-width: 42rem; margin: .6rem 0 }
figure { margin: 1rem 0 2rem }
figcaption { color: var(--soft); font-size: .92rem; max-width: 42rem; margin-top: .4rem }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 4px }
#stops img { width: 100% }
.slider { max-width: 44rem } .slider output { font-weight: 600 }
.slider input { width: 100%; margin: .6rem 0 .1rem }
.ticks { display: flex; justify-content: space-between; color: var(--soft); font-size: .78rem }
.ticks span { width: 0; display: flex; justify-content: center; white-space: nowrap; margin: 0 8px }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem }
th, td { padding: .35rem .55rem; text-align: right; border-bottom: 1px solid var(--line) }
td { white-space: nowrap } th { font-weight: 600; vertical-align: bottom; line-height: 1.25 }
tr.now { background: var(--now) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; font-size: .92rem }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere; max-width: 42rem }
code { font: .95em ui-monospace, monospace }
@media (max-width: 34rem) {
  table { font-size: .82rem } th, td { padding: .35rem .4rem }
  dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .5rem }
}
</style>
<noscript><style>
.slider { display: none } #stops figure { display: block }
#stops figure::before { content: attr(data-label); font-weight: 600 }
</style></noscript>
</head>
<body>
<main>
<h1>$title</h1>
<section aria-label="$one">
<div class="slider">
<label for="slider">$label</label> <output id="label" for="slider">$first</output>
<input id="slider" type="range" min="0" max="$last" value="0" step="1" autocomplete="off">
<div class="ticks" aria-hidden="true">$ticks</div>
</div>
<div id="stops">$stops</div>
</section>
$sentences
$scores
$shown
$pictures
$next
<h2>How it was made</h2>
<dl>$made</dl>
</main>
<script>
const slider = document.getElementById("slider");
const stops = document.querySelectorAll("#stops figure");
const rows = document.querySelectorAll("#scores tr");
function show() {
  const now = slider.valueAsNumber;
  stops.forEach((stop, i) => { stop.hidden = i !== now; });
  rows.forEach((row, i) => { row.classList.toggle("now", i === now); });
  document.getElementById("label").value = stops[now].dataset.label;
  slider.setAttribute("aria-valuetext", stops[now].dataset.label);
}
slider.addEventListener("input", show);
show();
</script>
</body>
</html>
""")
