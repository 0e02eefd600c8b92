"""The page is one file, whole and safe: it parses, fetches nothing, and shows what it was given."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minicfg.errors import UsageError
from minicfg.viz.page import Picture, escape, write_report

VOID = {"meta", "img", "input"}


class Page(HTMLParser):
    """The elements with their attributes, the text, and whether tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def picture(value: int, caption: str, kind: str = "png") -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 5), value, np.uint8)).save(buffer, kind)
    return Picture(buffer.getvalue(), caption)


@pytest.fixture
def page(tmp_path: Path) -> Page:
    write_report(
        tmp_path / "report.html",
        title="<b>& digits",
        sentences=["One.", "Two, $x is no placeholder.", "Three <script>alert(1)</script>."],
        stops=[(f"w = {w}", picture(50 * w, f'stop "{w}"')) for w in range(4)],
        head=["w", "accuracy"],
        rows=[["0", "50 %"], ["1", "<60 %"], ["2", "70 %"], ["3", "80 %"], ["real", "99 %"]],
        pictures=[picture(9, "a moving one", "gif")],
        made={"seed": "7", "path": "<here>"},
    )
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_parses_and_closes_what_it_opens(page: Page) -> None:
    assert page.open == []


def test_fetches_nothing(page: Page) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:image/"), (tag, value)
    text = "".join(page.words)
    for fetching in ("url(", "@import", "http:", "https:", "fetch(", "import("):
        assert fetching not in text
    policies = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert [" ".join(str(policy).split()) for policy in policies] == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    ]


def test_every_picture_decodes_to_what_was_given(page: Page) -> None:
    values = []
    for image in page.all("img"):
        kind, _, content = str(image["src"]).partition(";base64,")
        opened = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
        assert opened.format is not None
        assert kind == f"data:image/{opened.format.lower()}"
        values.append(int(np.asarray(opened.convert("L"))[0, 0]))
    assert values == [0, 50, 100, 150, 9]


def test_slider_has_a_stop_for_each_picture_and_begins_at_the_first(page: Page) -> None:
    (slider,) = page.all("input")
    assert (slider["min"], slider["max"], slider["value"], slider["step"]) == ("0", "3", "0", "1")
    stops = [a for a in page.all("figure") if "data-label" in a]
    assert [a["data-label"] for a in stops] == [f"w = {w}" for w in range(4)]
    assert ["hidden" in a for a in stops] == [False, True, True, True]


def test_each_stop_reads_out_its_row(page: Page) -> None:
    text = "".join(page.words)
    said = ["accuracy 50 %", "accuracy <60 %", "accuracy 70 %", "accuracy 80 %"]
    assert text.count("accuracy ") == 4  # the last row is no stop's
    places = [text.index(words) for words in said]
    assert places == sorted(places)


def test_ids_that_the_script_asks_for_are_there_once(page: Page) -> None:
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert sorted(str(i) for i in ids) == ["label", "scores", "slider", "stops"]
    asked = set(re.findall(r'getElementById\("(\w+)"\)|"#(\w+)', "".join(page.words)))
    assert {one or other for one, other in asked} == set(ids)


def test_what_comes_from_outside_is_text(page: Page) -> None:
    assert len(page.all("script")) == 1  # the page's own
    assert page.all("b") == []
    text = "".join(page.words)
    for said in ("<b>& digits", "$x is no placeholder", "<script>alert(1)", "<60 %", "<here>"):
        assert said in text


def test_without_script_every_stop_shows(page: Page) -> None:
    assert page.all("noscript")


def test_refuses_a_slider_without_stops_and_a_ragged_table(tmp_path: Path) -> None:
    given = {"title": "", "sentences": [], "pictures": [], "made": {}, "head": ["a", "b"]}
    one = [("w = 0", picture(0, ""))]
    with pytest.raises(UsageError, match="stops is empty"):
        write_report(tmp_path / "x.html", stops=[], rows=[], **given)  # pyright: ignore
    with pytest.raises(UsageError, match="rows must have 2 cells"):
        write_report(tmp_path / "x.html", stops=one, rows=[["1"]], **given)  # pyright: ignore
    with pytest.raises(UsageError, match="0 rows for 1 stops: give one row for each stop"):
        write_report(tmp_path / "x.html", stops=one, rows=[], **given)  # pyright: ignore
    assert list(tmp_path.iterdir()) == []


def test_a_page_without_scores_reads_out_captions_and_says_what_to_type(tmp_path: Path) -> None:
    write_report(
        tmp_path / "x.html",
        title="",
        sentences=[],
        stops=[(f"w = {w}", picture(w, f"caption {w}")) for w in range(2)],
        pictures=[],
        commands=[("a picture", "minicfg sample 'a <b>/model' --w 2")],
        made={},
    )
    page = Page((tmp_path / "x.html").read_text(encoding="utf-8"))
    assert page.open == [] and page.all("table") == []
    assert "minicfg sample 'a <b>/model' --w 2" in page.words
    assert [word for word in page.words if word.startswith("caption")] == ["caption 0", "caption 1"]


@pytest.mark.parametrize(("n", "labelled"), [(7, 7), (41, 9), (1, 1)])
def test_slider_has_a_tick_a_stop_and_at_most_nine_labels(
    tmp_path: Path, n: int, labelled: int
) -> None:
    write_report(
        tmp_path / "x.html",
        title="",
        sentences=[],
        stops=[(f"stop {i}", picture(i, "")) for i in range(n)],
        head=["w"],
        rows=[["0"]] * n,
        pictures=[],
        made={},
    )
    page = Page((tmp_path / "x.html").read_text(encoding="utf-8"))
    assert len(page.all("span")) == n
    words = [word for word in page.words if word.startswith("stop ")]
    assert len(words) == labelled + 1  # and the one that stands beside the slider
    assert words[:2] == ["stop 0", "stop 0"]


def test_replaces_a_page_as_a_whole(tmp_path: Path) -> None:
    path, stops = tmp_path / "x.html", [("w = 0", picture(0, ""))]
    for title in ("first", "second"):
        write_report(
            path,
            title=title,
            sentences=[],
            stops=stops,
            head=["w"],
            rows=[["0"]],
            pictures=[],
            made={},
        )
    assert "second" in path.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]  # no temporary file stays


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert escape("<b>\u732b\x1b\u202e") == "&lt;b&gt;\u732b" + r"\x1b\u202e"
