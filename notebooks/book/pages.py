"""Write the pages of the book, in Markdown, from the checkout as it is.

Nothing is kept twice: lessons come from docstrings, tables from README files, equations and the
names of their tests from the sources, notebooks with the outputs that are stored in them. What is
written by hand lies beside this file, as .md.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
import shutil
from pathlib import Path
from typing import Any

from notebooks.book.lessons import (
    ID,
    ROOT,
    Lesson,
    lessons,
    page_of_lessons,
    section,
    sorted_ids,
)
from notebooks.book.links import (
    Targets,
    cell_mathematics,
    equation_anchor,
    paper_anchor,
    with_files_linked,
    with_tokens_linked,
)
from notebooks.book.papers import PAPERS

HERE = Path(__file__).parent
FROM_FILE = re.compile(r"^<!-- (\S+\.md): (#+ .+) -->$", re.MULTILINE)
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
KERNEL_PICTURE = re.compile(r"^!\[(.+)\]\(pictures/(\w+)\.png\)$", re.MULTILINE)
LAYERS = ("minicfg", "kernels", "tutorial")
PRIVATE = {"minicfg.editable_only"}
# Files of the checkout that are pages of the book.
WHOLE_PAGES = {
    "minicfg/README.md": "commands.md",
    "minicfg/weights/README.md": "weights.md",
    "tutorial/QUIZ.md": "quiz.md",
    "kernels/results/README.md": "results.md",
    "kernels/results/peers.md": "peers.md",
    "tests/README.md": "promises.md",
    "CONTRIBUTING.md": "contributing.md",
}


def modules(layer: str) -> list[str]:
    """The modules of a layer that have a public name to document."""
    paths = sorted((ROOT / layer).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name for name in names if "._" not in name and name not in PRIVATE]


def notebook_paths() -> list[Path]:
    """The notebooks there are, in order."""
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def targets_of(course: list[Lesson]) -> Targets:
    """All that pages may link to."""
    return Targets(
        equations=frozenset(i for lesson in course for i in lesson.equations),
        numbers={lesson.number: lesson.name for lesson in course},
        lessons=frozenset(lesson.name for lesson in course),
        modules=frozenset(name for layer in LAYERS for name in modules(layer)),
        papers=frozenset(PAPERS),
        notebooks=frozenset(path.stem for path in notebook_paths()),
        pages=pages_of_files(),
    )


def pages_of_files() -> dict[str, str]:
    """By the path of a file or folder of the checkout, the page of the book that contains it."""
    by_hand = {path.name for path in HERE.glob("*.md")}
    written = {*by_hand, "equations.md", "references.md", "lessons/index.md", "api/index.md"}
    return (
        {f"notebooks/book/{name}": name for name in written}
        | WHOLE_PAGES
        | {
            "README.md": "index.md",
            "tutorial": "lessons/index.md",
            "tutorial/README.md": "lessons/index.md",
            "kernels": "kernel.md",
            "kernels/README.md": "kernel.md",
            "minicfg": "commands.md",
            "notebooks": "notebooks/index.md",
            "notebooks/README.md": "notebooks/index.md",
            "notebooks/book/notebooks/index.md": "notebooks/index.md",
            "notebooks/book/play/index.html": "play.md",
        }
        | {f"notebooks/book/{page}": page for page in (*WHOLE_PAGES.values(), "kernel.md")}
    )


def linked(text: str, folder: str, targets: Targets) -> str:
    """Text of a file in `folder`, its links leading into the book."""
    return with_tokens_linked(with_files_linked(text, folder, targets), targets)


def toctree(*pages: str) -> str:
    """The pages below this one, for the column at the left."""
    return "\n".join(["```{toctree}", ":hidden:", ":maxdepth: 1", "", *pages, "```", ""])


def code_block(code: str) -> str:
    """Python, set as such; the fence is longer than any in a docstring."""
    return f"``````{{code-block}} python\n{code.rstrip()}\n``````\n"


def derivation(lesson: Lesson, targets: Targets) -> str:
    """The docstring, each displayed equation a paragraph of its own with an anchor."""
    text = re.sub(
        rf"^\$\$ (.+) \$\$ \(({ID})\)$",
        lambda m: f"\n({equation_anchor(m[2])})=\n{m[0]}\n",
        lesson.derivation,
        flags=re.MULTILINE,
    )
    return with_tokens_linked(re.sub(r"\n{3,}", "\n\n", text), targets)


def routes_table(lesson: Lesson) -> str:
    """Each equation of a lesson with the routes that its tests go."""
    lines = ["| equation | reached by |", "|---|---|"]
    for i in sorted_ids(list(lesson.equations)):
        routes = ", ".join(f"`{route}`" for route in lesson.routes.get(i, []))
        lines.append(f"| [({i})](#{equation_anchor(i)}) | {routes} |")
    return "\n".join(lines)


def lesson_page(lesson: Lesson, targets: Targets) -> str:
    """One lesson: derivation, figure, code, tests."""
    path = f"tutorial/{lesson.path}.py"
    drawing = f"tutorial/figures/{lesson.path}.py"
    return "\n".join(
        [
            f"(lesson-{lesson.name})=",
            f"# {lesson.title}\n",
            f"[`{path}`](#code-{lesson.name}). Run it: `python -m {lesson.module}`. "
            f"[Test](#tests-{lesson.name}) it: `pytest -m {lesson.marker}`. "
            f"In torch: {linked(lesson.twin, 'tutorial', targets)}.\n",
            derivation(lesson, targets) + "\n",
            f"```{{figure}} ../figures/{lesson.name}.png",
            f":alt: {lesson.caption}",
            ":class: drawn\n",
            f"{lesson.caption}\n```\n",
            f"(code-{lesson.name})=",
            "## The code\n",
            code_block(lesson.code),
            f"<details><summary><code>{drawing}</code></summary>\n",
            code_block(lesson.drawing),
            "</details>\n",
            f"(tests-{lesson.name})=",
            "## The tests\n",
            routes_table(lesson) + "\n",
            f"<details><summary><code>{lesson.test_file}</code></summary>\n",
            code_block(lesson.tests),
            "</details>\n",
        ]
    )


def lessons_index(course: list[Lesson], targets: Targets) -> str:
    """Every lesson with its claim."""
    lines = ["# The lessons\n", "| step | claim |", "|---|---|"]
    for lesson in course:
        claim = with_tokens_linked(lesson.claim, targets)
        lines.append(f"| [{lesson.name}](#lesson-{lesson.name}) | {claim} |")
    return "\n".join([*lines, "", toctree(*(lesson.name for lesson in course))])


def equations_page(course: list[Lesson], targets: Targets) -> str:
    """The papers' equations, then every one of the course."""
    papers = section(page_of_lessons(), "## The equations of the papers")
    parts = ["# The equations\n", linked(papers, "tutorial", targets), "\n## Every equation\n"]
    parts.append("A number leads to the derivation, a route to the tests that go it.\n")
    for lesson in course:
        parts += [f"### {lesson.title}\n", "| | equation | tests |", "|---|---|---|"]
        for i in sorted_ids(list(lesson.equations)):
            routes = "; ".join(lesson.routes.get(i, [])).replace("_", " ")
            link = f"[({i})](#{equation_anchor(i)})"
            mathematics = cell_mathematics(lesson.equations[i])
            parts.append(f"| {link} | {mathematics} | [{routes}](#tests-{lesson.name}) |")
        parts.append("")
    return "\n".join(parts)


def citations() -> dict[str, list[str]]:
    """By arXiv number, the files of the three layers that cite it."""
    found: dict[str, list[str]] = {}
    for layer in ("tutorial", "minicfg", "kernels"):
        for path in sorted((ROOT / layer).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            for paper in sorted(set(re.findall(r"arXiv:(\d{4}\.\d{4,5})", text))):
                found.setdefault(paper, []).append(str(path.relative_to(ROOT)))
    return found


def references_page(targets: Targets) -> str:
    """Every paper with the files that cite it."""
    cited = citations()
    lines = ["# References\n", "Papers on arXiv that the course cites, the oldest first.\n"]
    for paper, (authors, title) in sorted(PAPERS.items()):
        places = ", ".join(f"`{path}`" for path in cited.get(paper, []))
        lines += [
            f"({paper_anchor(paper)})=",
            f"**{authors}.** {title}. <https://arxiv.org/abs/{paper}>. "
            f"In {with_files_linked(places, '.', targets)}.\n",
        ]
    return "\n".join(lines)


def api_page(layer: str, targets: Targets) -> str:
    """Every public function and class of a layer, by module."""
    parts = [f"# {layer}\n"]
    for module in modules(layer):
        name = module.rpartition(".")[2]
        anchor = "api-" + module.replace(".", "-")
        parts += [f"({anchor})=", f"## {module}\n"]
        if name in targets.lessons and ".figures." not in module:
            parts.append(f"The functions of [this lesson](#lesson-{name}).\n")
        else:
            tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
            parts.append(with_tokens_linked(ast.get_docstring(tree) or "", targets) + "\n")
        parts += ["```{eval-rst}", f".. automodule:: {module}", "   :members:", "```\n"]
    return "\n".join(parts)


def api_index() -> str:
    """The stable names, then the layers."""
    tree = ast.parse((ROOT / "minicfg/__init__.py").read_text(encoding="utf-8"))
    home = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOME"
    )
    names = [
        f"- `minicfg.{name}`, of [`minicfg.{m}`](#api-minicfg-{m.replace('.', '-')})"
        for name, m in home.items()
    ]
    names.append("- `minicfg.solvers`, [every solver](#api-minicfg-solvers)")
    text = "# The API\n\nThe names that stay as they are:\n\n" + "\n".join(names)
    text += (
        "\n- `kernels.guided_step` and `kernels.noised_batch`:"
        " [`kernels.dispatch`](#api-kernels-dispatch)"
    )
    return text + "\n\nAnd every module, by layer:\n\n" + toctree(*LAYERS).replace(":hidden:\n", "")


def notebook(path: Path, targets: Targets) -> dict[str, Any]:
    """A notebook with its stored outputs, its links within the book, and its solutions folded.

    Widgets are left out, because they need a running kernel. Pictures of some of their positions
    stand below them in the notebook. A cell's picture has the alternative text that its metadata
    name, `alt`.
    """
    widget = "application/vnd.jupyter.widget-view+json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["metadata"].pop("widgets", None)
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cell["source"] = linked(source, "notebooks", targets)
        elif "### BEGIN SOLUTION" in source:
            cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "hide-input"]
            cell["metadata"]["mystnb"] = {
                "code_prompt_show": "Show a solution",
                "code_prompt_hide": "Hide the solution",
            }
        if cell["cell_type"] == "code":
            cell["outputs"] = [o for o in cell["outputs"] if widget not in o.get("data", {})]
        if alt := cell["metadata"].get("alt"):
            cell["metadata"].setdefault("mystnb", {})["image"] = {"alt": alt}
    return content


def notebooks_index(targets: Targets) -> str:
    """The page about the notebooks, with the notebooks below it."""
    text = (ROOT / "notebooks/README.md").read_text(encoding="utf-8")
    return linked(text, "notebooks", targets) + "\n\n" + toctree(*sorted(targets.notebooks))


def kernel_page(targets: Targets) -> str:
    """The kernel's lecture, with its pictures drawn again."""
    text = (ROOT / "kernels/README.md").read_text(encoding="utf-8")
    figure = r"```{figure} figures/kernels-\2.png\n:alt: \1\n:class: drawn\n\n\1\n```"
    text = KERNEL_PICTURE.sub(figure, text)
    return "(kernel-lecture)=\n" + linked(text, "kernels", targets)


def kernel_pictures() -> list[str]:
    """The names of the pictures in the kernel's lecture, in order."""
    text = (ROOT / "kernels/README.md").read_text(encoding="utf-8")
    return [name for _, name in KERNEL_PICTURE.findall(text)]


def by_hand(path: Path, targets: Targets) -> str:
    """A page written by hand, with the sections that it takes from files of the checkout."""

    def section_of(found: re.Match[str]) -> str:
        text = section((ROOT / found[1]).read_text(encoding="utf-8"), found[2])
        return with_files_linked(text, posixpath.dirname(found[1]) or ".", targets)

    folder = str(path.parent.relative_to(ROOT))
    text = with_files_linked(path.read_text(encoding="utf-8"), folder, targets)
    return with_tokens_linked(FROM_FILE.sub(section_of, text), targets)


def whole_page(path: str, targets: Targets) -> str:
    """A page that is a file of the checkout, its pictures beside those of the book."""
    folder = posixpath.dirname(path)
    text = (ROOT / path).read_text(encoding="utf-8")
    text = PICTURE.sub(
        lambda found: found[0].replace(f"]({found[1]}", f"]({picture_name(folder, found[1])}"), text
    )
    return linked(text, folder or ".", targets)


def picture_name(folder: str, name: str) -> str:
    """The place in the book of a picture that a file of the checkout shows."""
    return "pictures/" + posixpath.normpath(posixpath.join(folder, name)).replace("/", "-")


def pages() -> dict[str, str]:
    """Every page of the book but the notebooks, by its path."""
    course = lessons()
    targets = targets_of(course)
    made = {f"lessons/{lesson.name}.md": lesson_page(lesson, targets) for lesson in course}
    made |= {f"api/{layer}.md": api_page(layer, targets) for layer in LAYERS}
    made |= {path.name: by_hand(path, targets) for path in HERE.glob("*.md")}
    made |= {page: whole_page(path, targets) for path, page in WHOLE_PAGES.items()}
    return made | {
        "lessons/index.md": lessons_index(course, targets),
        "notebooks/index.md": notebooks_index(targets),
        "kernel.md": kernel_page(targets),
        "equations.md": equations_page(course, targets),
        "references.md": references_page(targets),
        "api/index.md": api_index(),
    }


def write(out: Path) -> None:
    """Write all pages into `out`, which is emptied first."""
    shutil.rmtree(out, ignore_errors=True)
    for name, text in pages().items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text, encoding="utf-8")
    targets = targets_of(lessons())
    for path in notebook_paths():
        text = json.dumps(notebook(path, targets))
        (out / "notebooks" / path.name).write_text(text, encoding="utf-8")
    shutil.copy(ROOT / ".github/cover.png", out)
    lecture = (ROOT / "kernels/README.md").read_text(encoding="utf-8")
    for name in PICTURE.findall(KERNEL_PICTURE.sub("", lecture)):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "kernels" / name, out / name)
    for path in WHOLE_PAGES:
        folder = (ROOT / path).parent
        for name in PICTURE.findall((ROOT / path).read_text(encoding="utf-8")):
            place = out / picture_name(str(folder.relative_to(ROOT)), name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, place)
