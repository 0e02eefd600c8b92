"""The book: every lesson, equation, paper and link is in it; it builds, and needs no network."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from notebooks.book import build, figures, links, pages, papers
from notebooks.book import lessons as course

ROOT = Path(__file__).parents[2]
PLAY = ROOT / "notebooks/book/play/index.html"
NEEDED = ("sphinx", "myst_nb", "furo")


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages.pages()


def test_every_lesson_has_a_page_in_the_order_of_reading(made: dict[str, str]):
    lessons = course.lessons()
    names = [lesson.name for lesson in lessons]
    steps = sorted(path.stem for path in (ROOT / "tutorial").glob("step*.py"))
    appendix = sorted(path.stem for path in (ROOT / "tutorial/appendix").glob("[a-q]_*.py"))
    assert names == steps + appendix
    for name in names:
        assert f"\n{name}\n" in made["lessons/index.md"]  # in the table of contents
    for lesson in lessons:
        page = made[f"lessons/{lesson.name}.md"]
        assert lesson.code.strip() in page and lesson.drawing.strip() in page
        assert lesson.caption and "def figure" in lesson.drawing
        assert "**Source.**" not in lesson.code  # the docstring is not there twice


def test_every_equation_has_one_anchor_and_leads_to_its_tests(made: dict[str, str]):
    anchors = re.findall(r"^\((eq-[\da-q]+-\d+)\)=$", "\n".join(made.values()), re.MULTILINE)
    found = [i for lesson in course.lessons() for i in lesson.equations]
    assert sorted(anchors) == sorted(links.equation_anchor(i) for i in found)
    assert len(set(anchors)) == len(anchors) > 200
    for lesson in course.lessons():
        assert set(lesson.routes) == set(lesson.equations)  # tests of this and no other
        for i in lesson.equations:
            row = next(
                x for x in made["equations.md"].splitlines() if x.startswith(f"| [({i})](#eq-")
            )
            assert f"(#tests-{lesson.name})" in row
            assert len(re.findall(r"(?<!\\)\|", row)) == 4  # no bar of the mathematics ends a cell


def test_links_within_the_book_have_targets(made: dict[str, str]):
    text = "\n".join(made.values())
    targets = set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))
    assert len(targets) > 350
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= targets
    for page in re.findall(r"\]\(/([\w/]+\.(?:md|ipynb))", text):
        assert page in made or (ROOT / page).is_file(), page


def test_the_glossary_names_lessons_that_exist():
    text = (ROOT / "notebooks/book/glossary.md").read_text(encoding="utf-8")
    targets = pages.targets_of(course.lessons())
    cited = set(re.findall(rf"\(({course.ID})\)", text))
    assert cited and cited <= targets.equations
    entries = re.split(r"\n\n", text.partition(":::{glossary}\n")[2].removesuffix(":::\n"))
    terms = [entry.strip().splitlines()[0] for entry in entries]
    assert len(terms) > 35 and terms == sorted(terms, key=str.lower)
    for entry in entries:
        assert re.search(rf"\({course.ID}\)", entry), entry  # each says where it is derived


def test_every_paper_cited_is_in_the_references_and_every_reference_is_cited():
    assert set(pages.citations()) == set(papers.PAPERS)


def test_tokens_become_links_outside_of_code_and_mathematics_only():
    targets = pages.targets_of(course.lessons())
    text = "See (4.1), step 4 and arXiv:2006.11239; `(4.1)`, $f(4.1)$, [(4.1)](x), (99.1), step 99."
    linked = links.with_tokens_linked(text, targets)
    assert linked.startswith(
        "See [(4.1)](#eq-4-1), [step 4](#lesson-step04_posterior) "
        "and [arXiv:2006.11239](#arxiv-2006-11239);"
    )
    assert linked.endswith("; `(4.1)`, $f(4.1)$, [(4.1)](x), (99.1), step 99.")
    assert links.with_tokens_linked("(D.1) of appendix D", targets) == (
        "[(D.1)](#eq-d-1) of [appendix D](#lesson-d_relevance)"
    )


def test_links_to_files_lead_to_their_place_in_the_book_or_name_the_file():
    targets = pages.targets_of(course.lessons())
    text = (
        "[a](../tutorial/step02_forward.py) [b](../LICENSE) [c](https://arxiv.org) "
        "[d](dispatch.py) [`LICENSE`](../LICENSE) [e](../CONTRIBUTING.md#install)"
    )
    assert links.with_files_linked(text, "kernels", targets) == (
        "[a](#lesson-step02_forward) b (`LICENSE`) [c](https://arxiv.org) "
        "[d](#api-kernels-dispatch) `LICENSE` [e](/contributing.md#install)"
    )
    with pytest.raises(FileNotFoundError, match=r"\[a\]\(absent\.py\), in a file of kernels/"):
        links.with_files_linked("[a](absent.py)", "kernels", targets)


def test_no_link_of_the_home_page_is_lost(made: dict[str, str]):
    written = (ROOT / "notebooks/book/index.md").read_text(encoding="utf-8")
    named = re.findall(r"(?<!!)\[[^\]]+\]\(([\w/]+\.md)\)", written)
    assert len(named) >= 13
    for name in named:
        assert f"](/{name})" in made["index.md"]


def test_solutions_are_folded_and_widgets_left_out():
    targets = pages.targets_of(course.lessons())
    folded = 0
    for path in pages.notebook_paths():
        for cell in pages.notebook(path, targets)["cells"]:
            if "### BEGIN SOLUTION" in "".join(cell["source"]):
                assert "hide-input" in cell["metadata"]["tags"]
                folded += 1
            assert "interactive(children" not in str(cell.get("outputs", ""))
    assert folded >= 50


def test_the_builder_gets_the_alternative_text_of_every_picture():
    """Under the key that MyST-NB reads; without it a picture's text would be its file name."""
    targets = pages.targets_of(course.lessons())
    pictures = 0
    for path in pages.notebook_paths():
        for cell in pages.notebook(path, targets)["cells"]:
            kinds = {kind for out in cell.get("outputs", []) for kind in out.get("data", {})}
            if any(kind.startswith("image/") for kind in kinds):
                assert cell["metadata"]["mystnb"]["image"]["alt"] == cell["metadata"]["alt"]
                pictures += 1
    assert pictures >= 100


def test_a_figure_is_drawn_again_when_what_it_is_made_from_changes():
    files = {path.name for path in figures.made_from("tutorial.figures.step04_posterior")}
    assert {"step04_posterior.py", "step02_forward.py", "program.py"} <= files
    assert "step06_reverse.py" not in files
    meeting = figures.made_from("tutorial.figures.step22_swap_in")
    assert "triton_step.py" in {path.name for path in meeting}


def test_the_pictures_of_the_pages_are_there(tmp_path: Path):
    """All but the figures of the lessons, which are drawn later."""
    pages.write(tmp_path)
    shown = [
        (path.parent / name).resolve()
        for path in tmp_path.rglob("*.md")
        for name in pages.PICTURE.findall(path.read_text(encoding="utf-8"))
    ]
    figures_of_lessons = tmp_path.resolve() / "figures"
    others = [path for path in shown if figures_of_lessons not in path.parents]
    assert {path.name for path in others} >= {"cover.png", "nvidia-h100-80gb-hbm3.png"}
    assert [path for path in others if not path.is_file()] == []


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<img alt="a" src="http://example.org/a.png">',
        "<style>@import url(https://example.org/a.css)</style>",
        "<style>a { background: url('https://example.org/a.png') }</style>",
    ],
)
def test_what_is_fetched_from_elsewhere_is_found(page: str, tmp_path: Path):
    (tmp_path / "page.html").write_text('<a href="https://arxiv.org">read</a>')
    assert build.remote_resources(tmp_path) == []
    (tmp_path / "page.html").write_text(page)
    assert len(build.remote_resources(tmp_path)) == 1


# Pictures of one colour in the place of figures that take minutes; a process of its own, as the
# build has: neither the tests' shape checks nor their warnings concern Sphinx.
BUILD = """
import sys
from pathlib import Path
from PIL import Image
from notebooks.book import build, figures

def draw_all(lessons, cache, out):
    out.mkdir(parents=True)
    for lesson in lessons:
        Image.new("RGB", (8, 8)).save(out / f"{Path(lesson).name}.png")

figures.draw_all = draw_all
sys.exit(build.build(Path("book").resolve(), Path("work").resolve()))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, NEEDED)),
    reason="the extra book is not installed: make book installs it",
)
def test_the_book_builds_without_a_warning_and_without_a_network(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", BUILD],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "book/lessons/step04_posterior.html").read_text(encoding="utf-8")
    assert 'id="eq-4-1"' in page and "<math" in page and "(4.1)" in page
    article = page.partition("<article")[2].partition("</article>")[0]
    assert "$" not in re.sub(r"<pre.*?</pre>", "", article, flags=re.DOTALL)
    assert "MathJax" not in page and build.remote_resources(tmp_path / "book") == []
    embedding = (tmp_path / "book/play.html").read_text(encoding="utf-8")
    assert '<iframe src="play/index.html"' in embedding
    assert (tmp_path / "book/play/index.html").read_bytes() == PLAY.read_bytes()
