"""One page that shows a run: self-contained, readable offline, on a phone and in the dark."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from minicfg.errors import UsageError
from minicfg.io.atomic import write_atomic

if TYPE_CHECKING:
    from minicfg.metrics.evaluate import Scores

HEAD = (
    "w", "class accuracy", "Frechet distance", "floor", "Inception-style score", "spread",
    "precision", "recall",
)  # fmt: skip

HEADINGS = ("One w at a time", "Guidance weight:", "Scores", "Pictures")


def score_row(name: str, s: Scores) -> list[str]:
    """The cells of a table below `HEAD`."""
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
    """Print right-aligned columns, a line a row."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


@dataclass(frozen=True)
class Picture:
    """An image file's bytes, PNG or GIF, and what it shows, which is also its alternative text."""

    content: bytes
    caption: str

    @property
    def source(self) -> str:
        """As a `data:` address, so that the page needs no second file."""
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
    headings: tuple[str, str, str, str] = HEADINGS,
) -> None:
    """Write the page, all or nothing; nothing in it comes from outside the file.

    Args:
        path: of the `.html` file, replaced where it stands.
        title: of the page.
        sentences: what to see.
        stops: the slider's, each a label such as `w = 0.5` and its picture.
        head: of the table; empty where there is none, and each stop reads out its own caption.
        rows: of the table, as many cells in each: first one for each stop, in turn, which is read
            out below the stop's picture; then any others.
        pictures: shown in turn below it.
        commands: what one may do next, each what for and what to type.
        made: how the run was made, name and value.
        headings: over the slider, beside it, over the table and over the pictures.
    """
    if not stops:
        raise UsageError("stops is empty: the slider needs one picture at least")
    if any(len(row) != len(head) for row in rows):
        raise UsageError(f"rows must have {len(head)} cells each, as head has")
    if head and len(rows) < len(stops):
        raise UsageError(f"rows are {len(rows)}: the first {len(stops)} belong to the stops")
    every = -(-len(stops) // 9)  # more labels than nine under the slider would run into each other
    read_out = [
        ", ".join(f"{h} {cell}" for h, cell in zip(head[1:], row[1:], strict=True)) for row in rows
    ] or [picture.caption for _, picture in stops]
    page = _PAGE.substitute(
        title=escape(title),
        sentences="".join(f"<p>{escape(s)}</p>" for s in sentences),
        last=len(stops) - 1,
        first=escape(stops[0][0]),
        ticks="".join(
            f"<span>{'' if i % every else escape(label)}</span>"
            for i, (label, _) in enumerate(stops)
        ),
        stops="".join(
            _figure(picture, said, f'data-label="{escape(label)}"{" hidden" if i else ""}')
            for i, ((label, picture), said) in enumerate(zip(stops, read_out, strict=False))
        ),
        scores=_scores(headings[2], head, rows) if head else "",
        next=_next(commands) if commands else "",
        pictures="".join(_figure(picture, picture.caption) for picture in pictures),
        one=escape(headings[0]),
        label=escape(headings[1]),
        shown=f"<h2>{escape(headings[3])}</h2>" if pictures else "",
        made="".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in made.items()),
    )
    write_atomic(path, page.encode(errors="backslashreplace"))  # names of files need not be text


def _figure(picture: Picture, caption: str, attributes: str = "") -> str:
    image = f'<img src="{picture.source}" alt="{escape(picture.caption)}">'
    return f"<figure {attributes}>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def _scores(heading: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top, body = _row("th scope=col", head), "".join(_row("td", row) for row in rows)
    table = f'<table><thead>{top}</thead><tbody id="scores">{body}</tbody></table>'
    return f'<h2>{escape(heading)}</h2>\n<div class="scroll">{table}</div>'


def _next(commands: Sequence[tuple[str, str]]) -> str:
    lines = (f"<dt>{escape(a)}</dt><dd><code>{escape(b)}</code></dd>" for a, b in commands)
    return f"<h2>What to do next</h2>\n<dl>{''.join(lines)}</dl>"


def _row(cell: str, texts: Sequence[str]) -> str:
    tag = cell.split()[0]
    return "<tr>" + "".join(f"<{cell}>{escape(text)}</{tag}>" for text in texts) + "</tr>"


# The policy in the head has the browser refuse whatever is not in the page.
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
$sentences
<h2>$one</h2>
<div class="slider">
<label for="slider">$label</label> <output id="label" for="slider">$first</output>
<input id="slider" type="range" min="0" max="$last" value="0" step="1" autocomplete="off">
<div class="ticks" aria-hidden="true">$ticks</div>
</div>
<div id="stops">$stops</div>
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
