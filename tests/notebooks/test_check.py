"""The checks of the exercises: right for solutions, silent on stubs, and the hint that was meant.

The wrong answers in `wrong/` are typed as a student would, not taken from `notebooks/check/`.
"""

from __future__ import annotations

import ast
import json
import linecache
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from notebooks import check
from notebooks.publish import student
from tests.notebooks.wrong import WRONG, wrong_12

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))
ALL = [exercise for sitting in check.SITTINGS for exercise in check.exercises(sitting)]
EXERCISES = {exercise.number: exercise for exercise in ALL}
WITHOUT_TORCH = (1, 2, 3, 4, 5, 6, 7, 11)


def answers(path: Path, unsolved: bool) -> dict[str, Any]:
    """What a notebook hands to its checks, by exercise: only imports and exercise cells are run."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for cell in cells:
        source, grading = "".join(cell["source"]), cell["metadata"].get("nbgrader", {})
        if cell["cell_type"] != "code":
            continue
        if not names:  # the first code cell: its imports, but for `check`, which is a neighbour
            source = re.sub(r"^(%.*|import check)$", "", source, flags=re.M)
            tree = ast.parse(source)
            tree.body = [
                n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom, ast.Try))
            ]
            exec(compile(tree, path.name, "exec"), names)
        elif grading.get("solution"):
            source = student.without_solutions(source) if unsolved else source
            name = f"<{path.name}, {grading['grade_id']}, {'un' * unsolved}solved>"
            # As in Jupyter, a cell has a source that can be looked up: Triton reads a kernel's.
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
            exec(compile(source, name, "exec"), names)
        elif grading.get("grade"):
            (number, name) = re.findall(r"^check\.ex_(\d+_\d)\((\w+)\)$", source, re.M)[0]
            found[number.replace("_", ".")] = names[name]
    return found


def test_every_exercise_is_in_a_notebook_and_none_twice():
    numbers = [number for path in NOTEBOOKS for number in answers(path, unsolved=False)]
    assert numbers == list(EXERCISES)
    assert len(set(numbers)) == len(ALL)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_solution_passes(path: Path, capsys: pytest.CaptureFixture[str]):
    solved = answers(path, unsolved=False)
    for number, answer in solved.items():
        EXERCISES[number](answer)
    assert capsys.readouterr().out.count("right.") == len(solved) >= 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_untouched_student_edition_fails_every_check(path: Path):
    for number, answer in answers(path, unsolved=True).items():
        with pytest.raises(check.NotRightError, match="not attempted yet"):
            EXERCISES[number](answer)


@pytest.mark.exhaustive(one_in=4)
@pytest.mark.parametrize("case", range(len(WRONG)))
def test_a_wrong_answer_gets_the_hint_meant_for_it_and_no_other(case: int):
    number, answer, phrase = WRONG[case]
    exercise = EXERCISES[number]
    assert phrase in exercise.hint(answer)
    with np.errstate(all="ignore"):
        assert sum(mistaken(answer) for mistaken, _ in exercise.mistakes) == 1
    assert sum(phrase in hint for _, hint in exercise.mistakes) == 1


@pytest.mark.exhaustive
def test_every_hint_is_met():
    met = {(number, EXERCISES[number].hint(answer)) for number, answer, _ in WRONG}
    assert met == {(e.number, hint) for e in ALL for _, hint in e.mistakes}
    readme = (NOTEBOOKS[0].parent / "README.md").read_text(encoding="utf-8")
    assert f"with {len(met)} wrong answers" in readme


@pytest.mark.parametrize("case", range(len(wrong_12.RIGHT)))
def test_a_right_answer_in_another_style_is_right(case: int):
    number, answer = wrong_12.RIGHT[case]
    assert EXERCISES[number].hint(answer) == ""


def test_the_model_solution_of_12_4_notices_what_its_text_promises():
    """Changes of w before the results are computed, and writes around the inputs."""
    from notebooks.check import ex_12

    (path,) = [path for path in NOTEBOOKS if path.name.startswith("12_")]
    solution = answers(path, unsolved=False)["12.4"]

    def adds_1_first(out: Any, w: Any, g: Any) -> None:
        w += 1
        ex_12._right_guided(out, w, g)

    def adds_1_last(out: Any, w: Any, g: Any) -> None:
        ex_12._right_guided(out, w, g)
        w += 1

    solution(ex_12._right_guided)
    for faulty in (adds_1_first, adds_1_last, *ex_12.FAULTY.values()):
        with pytest.raises(AssertionError):
            solution(faulty)
    wrong_12.reads_w_after(adds_1_first)  # what the solution did before
    script = path.with_suffix(".py").read_text(encoding="utf-8")
    assert f"tries it on {len(ex_12.FAULTY)} such functions" in script
    assert f"three tests by {len(ex_12.FAULTY)} faulty functions" in script
    assert f"It notices four of the {len(ex_12.FAULTY)}: " in script


def test_an_answer_of_another_kind_gets_a_sentence():
    assert "none of the mistakes" in check.ex_1_2.hint(17)
    assert "TypeError" in check.ex_1_1.hint(0.8)
    assert "your answer is a text" in check.ex_1_2.hint("four")
    assert "your answer is a text" in check.ex_4_3.hint("6.5")
    assert "not finite" in check.ex_1_2.hint(float("nan"))


def test_an_answer_must_not_write_into_what_it_is_given():
    def in_place(x: Any, beta: float, z: Any) -> Any:
        x *= (1 - beta) ** 0.5
        x += beta**0.5 * z
        return x

    assert "your function writes into x" in check.ex_1_1.hint(in_place)
    assert "your function writes into x" in check.ex_1_1.hint(in_place)


def test_right_numbers_in_another_shape_are_not_right():
    assert check.ex_3_1.hint(lambda eps, out: ((eps - out) ** 2).sum(-1).mean()) == ""
    assert check.ex_3_1.hint(lambda eps, out: [((eps - out) ** 2).sum(-1).mean()])


def test_a_lesson_named_in_a_hint_exists():
    for exercise in ALL:
        path, equations = exercise.lesson.split(", ", 1)
        text = (Path(__file__).parents[2] / path).read_text(encoding="utf-8")
        for equation in re.findall(r"\((?:\d+|[A-Q])\.\d+\)", equations):
            assert f"$$ {equation}\n" in text
    path, heading = EXERCISES["12.4"].lesson.split(", ", 1)
    text = (Path(__file__).parents[2] / path).read_text(encoding="utf-8")
    section = text.split(f"## {heading}\\n")[1].split("## ")[0]
    assert "*canary*" in section and "*inputs* by NaN" in section  # what the hints of 12.4 explain


def test_sittings_1_to_7_and_11_run_without_torch():
    """All that they import, and their exercises, in a process where torch cannot be imported.

    Of sitting 11 this is the part before its last section.
    """
    lines = ["import sys", "sys.modules['torch'] = None", "import check"]
    for path in NOTEBOOKS:
        sitting = int(path.name[:2])
        if sitting not in WITHOUT_TORCH:
            continue
        script = path.with_suffix(".py").read_text(encoding="utf-8")
        if sitting == 11:
            script, found, _ = script.partition("\nimport torch\n")
            assert found
        lines += [
            ast.unparse(node)
            for node in ast.walk(ast.parse(script))
            if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
    lines += [f"assert check.exercises({sitting})" for sitting in WITHOUT_TORCH]
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=NOTEBOOKS[0].parent,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


def test_an_exercise_that_does_not_exist_is_an_attribute_error():
    for name in ("ex_0_1", "ex_1_9", "ex_99_1", "solution"):
        assert not hasattr(check, name)


def test_jupyter_shows_the_hint_and_no_traceback():
    with pytest.raises(check.NotRightError) as caught:
        check.ex_4_1(lambda c, n, w: n + w * (c - n))
    shown = caught.value._render_traceback_()
    assert len(shown) == 1
    assert shown[0].startswith("Exercise 4.1: this is w eps_c - (w - 1) eps_null")
    assert shown[0].endswith("(11.1) to (11.3).")


def test_the_kernels_of_sittings_9_and_12_are_checked_where_the_switch_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interpreted on the CPU; compiled, with every tensor on the GPU."""
    from notebooks.check import ex_09, ex_12

    class AskedError(Exception):
        pass

    def recorded(tensor: Any, device: str) -> Any:
        raise AskedError(device)

    monkeypatch.setattr("torch.Tensor.to", recorded)
    for interpret, device in (("1", "cpu"), ("0", "cuda")):
        monkeypatch.setenv("TRITON_INTERPRET", interpret)
        with pytest.raises(AskedError, match=device):
            ex_09._launch({}, 3, ex_09.torch.float32, after=())
        with pytest.raises(AskedError, match=device):
            ex_12._tiler({})(*ex_12.TILE_CASES[0])


def test_a_right_answer_in_float32_is_not_taken_for_a_mistake():
    for right in (
        lambda turn: (turn % 2**30 / 2**30 - 0.5).astype(np.float32),
        lambda turn: np.float32(turn % 2**30) / np.float32(2**30) - np.float32(0.5),
    ):
        assert "has the dtype float32" in check.ex_12_2.hint(right)


def test_every_wrong_letter_of_12_5_has_a_hint():
    right = "CBADEA"
    for number, letter in enumerate(right):
        for other in set("ABCDE") - {letter}:
            answer = right[:number] + other + right[number + 1 :]
            assert check.ex_12_5.hint(answer).startswith(f"number {number + 1}: ")


def test_what_is_none_of_the_mistakes_of_sitting_12_gets_a_sentence():
    for answer, phrase in (
        ({}, "six letters"),
        ("CBADE", "six letters"),
        ("CBADEF", "six letters"),
        ("CDADEE", "number 2: on the smallest"),
        ([...] * 6, "not attempted yet"),
        ({1: "C", 2: ""}, "six letters"),
    ):
        assert phrase in check.ex_12_5.hint(answer), answer
    for changes, phrase in (
        ([("tl.arange(0, SAMPLES)[:, None]", "tl.arange(0, SAMPLES)")], "makes a column"),
        ([("weight * (cond", "w * (cond")], "an address in a kernel"),
        ([("weight * (cond", "w[sample] * (cond")], "a pointer cannot be indexed"),
        ([("sample_id, block", "sample_id, element // 4")], "keeps the number of elements"),
        ([("tl.load(ids + sample, mask=sample < B)", "ids")], "such as tl.load(ids + sample)"),
    ):
        assert phrase in check.ex_12_3.hint(wrong_12.tile(*changes)), phrase
    twice = wrong_12.tile(("b * x + c * z", "2 * b * x + c * z"))
    assert "none of the mistakes" in check.ex_12_3.hint(twice)
    assert "At clip = inf, seed = 7, k = 3, B = 9, n = 13 one" in check.ex_12_3.hint(twice)
    beyond = wrong_12.tile((wrong_12.STORE, wrong_12.STORE + """
    tl.store(xs + B * n + 40, 1.0)"""))  # fmt: skip
    assert "also writes behind" in check.ex_12_3.hint(beyond)


def test_without_triton_nothing_is_compiled_and_a_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from notebooks.check import compiled

    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="Triton is not installed here"):
        compiled.compiled()
