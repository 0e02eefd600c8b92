"""The map of the course: lesson, equations, code, tests, README row and marker belong together.

Every rule is a function from text to a list of faults, and is itself tested on planted faults.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEPS = sorted((ROOT / "tutorial").glob("step*.py"))
APPENDIX = sorted((ROOT / "tutorial/appendix").glob("[a-q]_*.py"))
LESSONS = STEPS + APPENDIX
LAYERS = ("tutorial", "minicfg", "kernels")
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
ALLOWED = {"numpy", "scipy", "matplotlib", "tqdm", "tutorial", *sys.stdlib_module_names}
ALLOWED_AT_THE_MEETING = {"step22_swap_in": {"torch", "minicfg", "kernels"}}

# `4.2` of step 4, `D.2` of appendix D.
ID = re.compile(r"\(((?:\d+|[A-Q])\.\d+)\)")
DISPLAY = re.compile(r"\$\$ .+ \$\$ \(((?:\d+|[A-Q])\.\d+)\)")
STEP = re.compile(r"\$\$ [^$]+ \$\$")  # a displayed step of a derivation, without an ID
TEST_NAME = re.compile(r"test_(\d+|[a-q])_(\d+)_by_(\w+)")


def number_of(lesson: str) -> str:
    """`4` of `step04_posterior` and `D` of `d_relevance`, as equations have it."""
    return str(int(lesson[4:6])) if lesson.startswith("step") else lesson[0].upper()


def marker_of(lesson: str) -> str:
    """`step04` of `step04_posterior` and `appendix_d` of `d_relevance`, as `pytest -m` has it."""
    return lesson[:6] if lesson.startswith("step") else f"appendix_{lesson[0]}"


def id_of(test: re.Match[str]) -> str:
    """`4.2` of `test_4_2_by_sympy` and `D.2` of `test_d_2_by_sympy`."""
    return f"{test[1].upper()}.{test[2]}"


def docstrings(source: str) -> Iterator[ast.Constant]:
    """Every string that stands alone as a statement, whatever it documents."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as docstring):
                yield docstring


def display_lines(source: str) -> list[tuple[str, str | None]]:
    """The displayed lines of all docstrings, each with its ID or None."""
    lines = [line.strip() for node in docstrings(source) for line in str(node.value).splitlines()]
    matches = [(line, DISPLAY.fullmatch(line)) for line in lines if "$$" in line]
    return [(line, match and match[1]) for line, match in matches]


def derived(source: str) -> list[tuple[str, str | None]]:
    """Each displayed step of a derivation, with the next equation in its docstring, or None."""
    found: list[tuple[str, str | None]] = []
    for node in docstrings(source):
        steps: list[str] = []
        for line in str(node.value).splitlines():
            if STEP.fullmatch(line.strip()):
                steps.append(line.strip())
            elif match := DISPLAY.fullmatch(line.strip()):
                found += [(step, match[1]) for step in steps]
                steps = []
        found += [(step, None) for step in steps]
    return found


def equations(source: str) -> list[str]:
    return [equation for _, equation in display_lines(source) if equation]


def comments(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def names_of_tests(source: str) -> list[str]:
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
    return [function.name for function in functions if function.name.startswith("test")]


def display_faults(lesson: str, source: str) -> list[str]:
    """Displayed lines of another form, with another lesson's number, or with an ID used before."""
    lines, found = display_lines(source), equations(source)
    faults = [
        f"{lesson}: not `$$ ... $$ (N.k)` or `$$ ... $$` on one line: {x}"
        for x, i in lines
        if i is None and not STEP.fullmatch(x)
    ]
    for i in sorted(set(found)):
        if i.split(".")[0] != number_of(lesson):
            faults.append(f"{lesson}: ({i}) is displayed under another lesson's number")
        if found.count(i) > 1:
            faults.append(f"{lesson}: ({i}) is displayed twice")
    return faults


def comment_faults(lesson: str, source: str) -> list[str]:
    """Equations that no code line carries, and comments with an ID that is not displayed."""
    carried = {i for comment in comments(source) for i in ID.findall(comment)}
    shown = set(equations(source))
    faults = [f"{lesson}: no code comment carries ({i})" for i in sorted(shown - carried)]
    own = {i for i in carried - shown if i.split(".")[0] == number_of(lesson)}
    return faults + [f"{lesson}: a comment carries ({i}), not displayed" for i in sorted(own)]


def route_faults(lesson: str, source: str, tests: str) -> list[str]:
    """Equations verified by fewer than two routes. A refusal of bad input verifies none."""
    routes: dict[str, set[str]] = {i: set() for i in equations(source)}
    for match in filter(None, map(TEST_NAME.fullmatch, names_of_tests(tests))):
        if not match[3].startswith("refusal"):
            routes.setdefault(id_of(match), set()).add(match[3])
    return [
        f"{lesson}: ({i}) needs two tests test_{i.lower().replace('.', '_')}_by_<route>, "
        f"has {sorted(found) or 'none'}"
        for i, found in routes.items()
        if len(found) < 2 and i in equations(source)
    ]


def list_faults(lesson: str, source: str) -> list[str]:
    """Lines inside a paragraph that Markdown would take for an item of a list: `1. `, `+ `."""
    faults: list[str] = []
    for node in docstrings(source):
        before = ""
        for line in str(node.value).splitlines():
            item = re.match(r"(\d+\.|[-+*]) ", line.strip())
            in_text = before.strip() and not re.match(r"(\d+\.|[-+*]|>>>|\.\.\.) ", before.strip())
            if item and in_text and not before.strip().endswith(":"):
                faults.append(f"{lesson}: a line of text begins like an item of a list: {line}")
            before = line if item or not before.startswith("- ") or not line.strip() else before
    return faults


def step_faults(lesson: str, source: str, tests: str) -> list[str]:
    """Displayed steps that lead to no equation, and steps that no test evaluates."""
    names = names_of_tests(tests)
    faults = [
        f"{lesson}: no equation with an ID follows the step {step}"
        for step, i in derived(source)
        if i is None
    ]
    for i in sorted({i for _, i in derived(source) if i is not None}):
        name = f"test_{i.replace('.', '_').lower()}_by_each_step"
        if name not in names:
            faults.append(f"{lesson}: the steps to ({i}) are displayed, but there is no {name}")
    return faults


def orphan_test_faults(lesson: str, source: str, tests: str) -> list[str]:
    """Tests of a lesson that are named after no equation it displays."""
    faults: list[str] = []
    for name in names_of_tests(tests):
        match = TEST_NAME.fullmatch(name)
        if not match:
            faults.append(f"test_{lesson}: {name} is not named test_N_k_by_<route>")
        elif id_of(match) not in equations(source):
            faults.append(f"test_{lesson}: {name}: no ({id_of(match)}) in {lesson}")
    return faults


def pair_faults(lessons: set[str], tests: set[str]) -> list[str]:
    """Lessons without a file of tests, and files of tests without a lesson."""
    wanted = {f"test_{lesson}" for lesson in lessons}
    faults = [f"{name[5:]}: has no tests/tutorial/{name}.py" for name in sorted(wanted - tests)]
    return faults + [f"{name}: has no tutorial/{name[5:]}.py" for name in sorted(tests - wanted)]


def readme_faults(lesson: str, readme: str) -> list[str]:
    rows = [line for line in readme.splitlines() if line.startswith("|")]
    found = any(re.search(rf"\b{lesson}\b", row) for row in rows)
    return [] if found else [f"tutorial/README.md: no row of a table mentions {lesson}"]


def marker_faults(lesson: str, pyproject: str) -> list[str]:
    markers = tomllib.loads(pyproject)["tool"]["pytest"]["ini_options"]["markers"]
    found = any(marker.split(":")[0] == marker_of(lesson) for marker in markers)
    return [] if found else [f"pyproject.toml: no pytest marker {marker_of(lesson)} for {lesson}"]


def backslash_faults(name: str, source: str) -> list[str]:
    r"""Docstrings that Python would edit: a backslash where the literal has no `r` in front."""
    faults: list[str] = []
    for node in docstrings(source):
        literal = ast.get_source_segment(source, node) or ""
        for token in tokenize.generate_tokens(io.StringIO(literal).readline):
            raw = re.match(r"[A-Za-z]*[rR]", token.string)
            if token.type == tokenize.STRING and "\\" in token.string and not raw:
                faults.append(f"{name}:{node.lineno}: a docstring with a backslash is not raw")
    return faults


def imported(tree: ast.AST) -> Iterator[str]:
    """Top-level names of everything imported at run time, also inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for other in node.orelse:
                yield from imported(ast.Module([other], []))
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0] if node.level == 0 else "tutorial"
        else:
            yield from imported(node)


# Appendices whose functions steps use as a tool: an entropy estimator, and a network with its
# gradient. They may import only what stands before the first step that imports them.
TOOLS = {"c_entropy", "e_backprop"}


def place(lesson: str) -> tuple[bool, str]:
    """The key that sorts lessons: the steps in order, then the appendix."""
    return not lesson.startswith("step"), lesson


def imported_lessons(source: str) -> set[str]:
    """The lessons that a module imports anywhere, as `step04_posterior` or `d_relevance`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            lesson = re.match(r"tutorial\.(?:appendix\.)?(step\d\d_\w+|[a-q]_\w+)", name)
            if lesson:
                found.add(lesson[1])
    return found


def order_faults(lesson: str, source: str, imports: dict[str, set[str]]) -> list[str]:
    """Imports of a lesson that is read later, and of the appendix from a step."""
    faults: list[str] = []
    for other in sorted(imported_lessons(source)):
        if lesson.startswith("step") and other in TOOLS:
            later = [x for x in imports.get(other, set()) if place(x) >= place(lesson)]
            faults += [f"{lesson}: imports {other}, which imports {x}" for x in sorted(later)]
        elif place(other) >= place(lesson):
            faults.append(f"{lesson}: imports {other}, which is read later")
    return faults


def import_faults(name: str, source: str) -> list[str]:
    allowed = ALLOWED | ALLOWED_AT_THE_MEETING.get(name, set())
    foreign = sorted(set(imported(ast.parse(source))) - allowed)
    return [f"{name}: imports {package}, which no lesson may" for package in foreign]


def file_of_tests(path: Path) -> Path:
    """`tests/tutorial/appendix/test_a_elbo.py` of `tutorial/appendix/a_elbo.py`."""
    folder = path.parent.relative_to(ROOT / "tutorial")
    return ROOT / "tests/tutorial" / folder / f"test_{path.stem}.py"


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_is_on_the_map(path: Path) -> None:
    lesson, source = path.stem, path.read_text()
    tests = file_of_tests(path)
    faults = display_faults(lesson, source) + comment_faults(lesson, source)
    faults += list_faults(lesson, source)
    faults += readme_faults(lesson, (ROOT / "tutorial/README.md").read_text())
    faults += marker_faults(lesson, (ROOT / "pyproject.toml").read_text())
    if tests.exists():  # if not, test_lessons_and_tests_come_in_pairs says so
        faults += route_faults(lesson, source, tests.read_text())
        faults += step_faults(lesson, source, tests.read_text())
        faults += orphan_test_faults(lesson, source, tests.read_text())
    assert not faults, "\n" + "\n".join(faults)


def equation_table_faults(readme: str, displayed: dict[str, set[str]]) -> list[str]:
    """Rows of the table of the papers' equations that name an ID their lesson does not display."""
    faults: list[str] = []
    table = readme.partition("## The equations of the papers")[2].partition("\n## ")[0]
    for line in table.splitlines():
        lesson = re.search(r"\]\((?:appendix/)?(\w+)\.py", line)
        own = displayed.get(lesson[1], set()) if lesson else set()
        for i in ID.findall(line.partition("without y")[0]) if lesson else []:
            if i not in own:
                faults.append(f"the table: ({i}) is not displayed in {lesson and lesson[1]}")
    return faults


def test_the_papers_equations_are_where_the_readme_says() -> None:
    displayed = {path.stem: set(equations(path.read_text())) for path in LESSONS}
    readme = (ROOT / "tutorial/README.md").read_text()
    links = re.findall(r"\]\((?:appendix/)?[a-z]\w+\.py\)", readme)
    assert len(links) >= 22 + len(LESSONS)  # all tables are there
    assert equation_table_faults(readme, displayed) == []
    assert equation_table_faults(readme, displayed | {"step02_forward": set()})  # it can fail


def test_lessons_and_tests_come_in_pairs() -> None:
    for lessons, tests in (
        (STEPS, (ROOT / "tests/tutorial").glob("test_step*.py")),
        (APPENDIX, (ROOT / "tests/tutorial/appendix").glob("test_*.py")),
    ):
        faults = pair_faults({path.stem for path in lessons}, {path.stem for path in tests})
        assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_docstrings_with_backslashes_are_raw(path: Path) -> None:
    faults = backslash_faults(str(path.relative_to(ROOT)), path.read_text())
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "tutorial").rglob("*.py")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_tutorial_imports_only_numpy_and_its_friends(path: Path) -> None:
    faults = import_faults(path.stem, path.read_text())
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_imports_only_earlier_ones(path: Path) -> None:
    imports = {other.stem: imported_lessons(other.read_text()) for other in LESSONS}
    assert order_faults(path.stem, path.read_text(), imports) == []


# Who imports, its source, what the appendix named in it imports, and how many faults that is.
ORDERS = {
    "an earlier step": ("step05_a", "from tutorial.step04_b import c", set[str](), 0),
    "a later step": ("step05_a", "from tutorial.step06_b import c", set[str](), 1),
    "a later step, in a function": ("step05_a", "def f(): import tutorial.step06_b", set[str](), 1),
    "a later step, from the package": ("step05_a", "from tutorial import step06_b", set[str](), 1),
    "the appendix": ("step05_a", "from tutorial.appendix.a_elbo import b", set[str](), 1),
    "a tool": ("step05_a", "from tutorial.appendix.c_entropy import b", {"step04_b"}, 0),
    "a tool that needs more": ("step05_a", "import tutorial.appendix.c_entropy", {"step05_a"}, 1),
    "a step, from the appendix": ("c_a", "from tutorial.step22_b import c", set[str](), 0),
    "an earlier appendix": ("c_a", "from tutorial.appendix.b_c import d", set[str](), 0),
    "a later appendix": ("c_a", "from tutorial.appendix import d_c", set[str](), 1),
}


@pytest.mark.parametrize(("lesson", "source", "imports", "count"), ORDERS.values(), ids=ORDERS)
def test_an_import_out_of_order_is_found(
    lesson: str, source: str, imports: set[str], count: int
) -> None:
    assert len(order_faults(lesson, source, {"c_entropy": imports})) == count


LESSON = r'''r"""Step 4. A lesson.

$$ a = \beta $$ (4.1)
$$ b = \theta $$ (4.2)
"""
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import jaxtyping

a = np.ones(1)  # (4.1)
b = a + 1  # (4.2), by (3.1) of another lesson
'''
TESTS = "".join(
    f"def test_4_{k}_by_{route}(): ...\n" for k in (1, 2) for route in ("quadrature", "sympy")
)
README = "| 4 | [`step04_posterior`](step04_posterior.py) |\n"
PYPROJECT = "[tool.pytest.ini_options]\nmarkers = ['slow: x', 'step04: the posterior']\n"


def all_faults(lesson: str, source: str, tests: str, readme: str, pyproject: str) -> list[str]:
    return [
        *display_faults(lesson, source),
        *list_faults(lesson, source),
        *comment_faults(lesson, source),
        *route_faults(lesson, source, tests),
        *step_faults(lesson, source, tests),
        *orphan_test_faults(lesson, source, tests),
        *readme_faults(lesson, readme),
        *marker_faults(lesson, pyproject),
        *backslash_faults(lesson, source),
        *import_faults(lesson, source),
    ]


def test_a_lesson_in_order_has_no_faults() -> None:
    assert all_faults("step04_posterior", LESSON, TESTS, README, PYPROJECT) == []


def test_an_appendix_in_order_has_no_faults() -> None:
    lesson = LESSON.replace("(4.", "(D.")
    tests = TESTS.replace("test_4_", "test_d_")
    readme = README.replace("step04_posterior", "d_relevance")
    pyproject = PYPROJECT.replace("step04", "appendix_d")
    assert all_faults("d_relevance", lesson, tests, readme, pyproject) == []
    assert len(all_faults("d_relevance", lesson, TESTS, readme, pyproject)) == 6


# What is replaced by what (in whichever of the four texts has it), and what is said of it, alone.
PLANTED = {
    "step that no test evaluates": ("$$ a =", "$$ c $$\n$$ a =", "no test_4_1_by_each_step"),
    "step that leads nowhere": ("$$ (4.2)", "$$ (4.2)\n$$ c $$", "no equation with an ID follows"),
    "line like a list": ("$$ a =", "text text\n1. text\n$$ a =", "begins like an item of a list"),
    "step with text after it": ("$$ a =", "$$ c $$.\n$$ a =", "not `$$ ... $$"),
    "display over two lines": ("\n$$ a", "\n$$\n c $$ (4.1)\n$$ a", "not `$$ ... $$"),
    "text after the ID": ("$$ (4.2)", "$$ (4.2)\n$$ c $$ (4.3).", "not `$$ ... $$"),
    "ID used twice": ("$$ (4.2)", "$$ (4.2)\n$$ c $$ (4.1)", "(4.1) is displayed twice"),
    "equation nowhere in the code": ("  # (4.1)", "", "no code comment carries (4.1)"),
    "ID in the code as text only": ("  # (4.1)", " * len('# (4.1)')", "no code comment carries"),
    "comment with an unknown ID": ("# (4.1)", "# (4.1) (4.9)", "carries (4.9), not displayed"),
    "one route": ("test_4_1_by_sympy", "test_4_2_by_hand", "(4.1) needs two tests"),
    "one route twice": ("test_4_1_by_sympy", "test_4_1_by_quadrature", "(4.1) needs two tests"),
    "a refusal as a route": ("_4_1_by_sympy", "_4_1_by_refusal_of_t", "(4.1) needs two tests"),
    "test without a route": ("def", "def test_4_1(): ...\ndef", "is not named test_N_k_by_"),
    "test of no equation": ("def", "def test_4_9_by_hand(): ...\ndef", "no (4.9) in step04"),
    "test in a class": ("def", "class A:\n  def test_x(self): ...\ndef", "test_x is not named"),
    "no row": ("| 4 |", "4", "tutorial/README.md: no row of a table mentions step04_posterior"),
    "row of a longer name": ("[`step04_posterior`](", "(other_", "tutorial/README.md: no row"),
    "no marker": ("step04: the", "step40: the", "no pytest marker step04"),
    "docstring not raw": ('r"""Step', '"""Step', "docstring with a backslash is not raw"),
    "docstring not raw inside": ("a = np", 'def f():\n    "\\b"\na = np', "is not raw"),
    "docstring of two halves": ("a = np", 'r"\\a" "\\b"\na = np', "is not raw"),
    "foreign import": ("import numpy", "import torch\nimport numpy", "imports torch"),
    "import in a function": ("a = np", "def f():\n    import jax\na = np", "imports jax"),
    "import from a submodule": ("import numpy", "from torch.nn import x\nimport numpy", "torch"),
    "else of TYPE_CHECKING": ("jaxtyping\n", "jaxtyping\nelse:\n    import jax\n", "imports jax"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_fault_is_found(old: str, new: str, message: str) -> None:
    texts = [LESSON, TESTS, README, PYPROJECT]
    planted = [text.replace(old, new, 1) for text in texts]
    assert sum(a != b for a, b in zip(texts, planted, strict=True)) == 1
    faults = all_faults("step04_posterior", *planted)
    assert faults and all(message in fault for fault in faults), faults


def test_another_lessons_number_is_found() -> None:
    faults = display_faults("step06_reverse", LESSON)
    assert len(faults) == 2 and "(4.1) is displayed under another" in faults[0]


def test_a_lesson_or_a_test_alone_is_found() -> None:
    faults = pair_faults(
        {"step04_posterior", "step05_a"}, {"test_step04_posterior", "test_step05_b"}
    )
    assert faults == [
        "step05_a: has no tests/tutorial/test_step05_a.py",
        "test_step05_b: has no tutorial/step05_b.py",
    ]


def test_layers_may_meet_in_one_lesson_only() -> None:
    source = "import torch, minicfg, kernels\n"
    assert import_faults("step22_swap_in", source) == []
    assert len(import_faults("step19_rules", source)) == 3
