"""The checks of the exercises: right for solutions, silent on stubs, and the hint that was meant.

The wrong answers below are typed as a student would type them, not taken from `check.py`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from notebooks import check, student

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("0*.ipynb"))
EXERCISES = {exercise.number: exercise for exercise in check.EXERCISES}


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
            tree.body = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
            exec(compile(tree, path.name, "exec"), names)
        elif grading.get("solution"):
            exec(student.without_solutions(source) if unsolved else source, names)
        elif grading.get("grade"):
            (number, name) = re.findall(r"^check\.ex_(\d_\d)\((\w+)\)$", source, re.M)[0]
            found[number.replace("_", ".")] = names[name]
    return found


def test_every_exercise_is_in_a_notebook_and_none_twice():
    numbers = [number for path in NOTEBOOKS for number in answers(path, unsolved=False)]
    assert numbers == list(EXERCISES)
    assert len(set(numbers)) == len(check.EXERCISES)


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


def root(x: Any) -> Any:
    return np.sqrt(x)


WRONG: list[tuple[str, Any, str]] = [
    ("1.1", lambda x, beta, z: x - beta * x + z * beta**0.5, "sinks to near one half"),
    ("1.1", lambda x, beta, z: x + z * beta**0.5, "random walk"),
    ("1.1", lambda x, beta, z: x * (1 - beta) ** 0.5 + z * beta, "beta is the variance"),
    ("1.1", lambda x, beta, z: z * (1 - beta) ** 0.5 + x * beta**0.5, "swapped"),
    ("1.1", lambda x, beta, z: x + beta * (z - x), "as for an average"),
    ("1.2", 4, "only a variance of 1 is kept"),
    ("1.2", 2.0, "already squared"),
    ("1.2", 3.56, "comes out of a variance squared"),
    ("1.2", 4.36, "forgotten that the data shrink"),
    ("1.2", 2.56, "forgotten the noise"),
    ("1.2", 1, "where the variance goes in the end"),
    ("1.3", lambda x0, e, t, s: x0 * s.alpha_bar[t] + e * root(1 - s.alpha_bar[t]),
     "not with alpha_bar"),
    ("1.3", lambda x0, e, t, s: x0 * root(s.alpha_bar[t]) + e - e * s.alpha_bar[t],
     "multiplied by its root"),
    ("1.3", lambda x0, e, t, s: x0 * root(1 - s.beta[t]) + e * root(s.beta[t]), "a single step"),
    ("1.3", lambda x0, e, t, s: x0 * root(np.cumprod(s.alpha[1:])[t - 2] if t > 1 else 1.0)
     + e * root(1 - np.cumprod(s.alpha[1:])[t - 2] if t > 1 else 0.0), "one step short"),
    ("1.3", lambda x0, e, t, s: root(s.alpha_bar[t]) * x0 + e * root(np.sum(s.beta[: t + 1])),
     "shrinks in all later ones"),
    ("1.3", lambda x0, e, t, s: e + s.alpha_bar[t] * (x0 - e), "both square roots"),
    ("1.4", lambda s, t, h: (root(h.alpha[t] / h.alpha[s]), 1 - h.alpha[t] / h.alpha[s]),
     "alpha is of one step"),
    ("1.4", lambda s, t, h: (np.prod(h.alpha[s + 1 : t + 1]), 1 - np.prod(h.alpha[s + 1 : t + 1])),
     "the factor of x_s is its root"),
    ("1.4", lambda s, t, h: (root(h.alpha_bar[t] / h.alpha_bar[s]),
                             (1 - h.alpha_bar[t]) - (1 - h.alpha_bar[s])), "subtracting"),
    ("1.4", lambda s, t, h: (root(h.alpha_bar[t]), 1 - h.alpha_bar[t]), "the jump from the data"),
    ("1.4", lambda s, t, h: (1 / root(np.prod(h.alpha[s + 1 : t + 1])),
                             1 - 1 / np.prod(h.alpha[s + 1 : t + 1])), "upside down"),
    ("2.1", lambda x0, xt, t, h: (root(h.alpha_bar[t - 1]) * h.beta[t] * xt
     + root(h.alpha[t]) * (1 - h.alpha_bar[t - 1]) * x0) / (1 - h.alpha_bar[t]), "swapped"),
    ("2.1", lambda x0, xt, t, h: (root(h.alpha_bar[t]) * h.beta[t] * x0
     + root(h.alpha[t]) * (1 - h.alpha_bar[t - 1]) * xt) / (1 - h.alpha_bar[t]),
     "c_0 has alpha_bar of t"),
    ("2.1", lambda x0, xt, t, h: (root(h.alpha_bar[t - 1]) * h.beta[t] * x0
     + root(h.alpha_bar[t]) * (1 - h.alpha_bar[t - 1]) * xt) / (1 - h.alpha_bar[t]),
     "c_t has alpha_bar under"),
    ("2.1", lambda x0, xt, t, h: (h.alpha_bar[t - 1] * h.beta[t] * x0
     + h.alpha[t] * (1 - h.alpha_bar[t - 1]) * xt) / (1 - h.alpha_bar[t]), "roots are missing"),
    ("2.1", lambda x0, xt, t, h: root(h.alpha_bar[t - 1]) * x0
     + root(h.alpha[t]) * (1 - h.alpha_bar[t - 1]) * xt / h.beta[t],
     "1 - alpha in the denominator"),
    ("2.1", lambda x0, xt, t, h: root(h.alpha_bar[t - 1]) * x0, "only one of the two factors"),
    ("2.2", lambda t, h: 1 - h.alpha[t], "variance of a step forward"),
    ("2.2", lambda t, h: h.beta[1] if t == 1 else
     h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t]), "no case of its own"),
    ("2.2", lambda t, h: h.beta[2] * h.beta[1] / (1 - h.alpha_bar[2]) if t == 1 else
     h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t]), "value of t = 2"),
    ("2.2", lambda t, h: (h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t])) ** 0.5,
     "this is the deviation"),
    ("2.2", lambda t, h: h.beta[t] / ((1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t])),
     "fraction is upside down"),
    ("2.2", lambda t, h: 1 / (1 - h.alpha_bar[t - 1]) + h.alpha[t] / h.beta[t], "the precision"),
    ("2.2", lambda t, h: 1 - h.alpha_bar[t - 1], "x_t tells something"),
    ("2.3", lambda v, xt, t, h: root(h.alpha_bar[t]) * xt + root(1 - h.alpha_bar[t]) * v,
     "the sign of v"),
    ("2.3", lambda v, xt, t, h: root(h.alpha_bar[t]) * v + root(1 - h.alpha_bar[t]) * xt,
     "this is the noise"),
    ("2.3", lambda v, xt, t, h: (xt - root(1 - h.alpha_bar[t]) * v) / root(h.alpha_bar[t]),
     "takes v for eps"),
    ("2.3", lambda v, xt, t, h: h.alpha_bar[t] * (xt + v) - v, "square roots are missing"),
    ("2.3", lambda v, xt, t, h: v + 0 * xt, "takes v for x_0"),
    ("2.4", lambda xt, eps, t, h, clip:
     (xt - h.beta[t] / root(1 - h.alpha_bar[t]) * eps) / root(1 - h.beta[t]), "the old eps"),
    ("2.4", lambda xt, eps, t, h, clip: np.clip(
     (xt - h.beta[t] / root(1 - h.alpha_bar[t]) * eps) / root(1 - h.beta[t]), -clip, clip),
     "clipped the mean of x_{t-1}"),
    ("2.4", lambda xt, eps, t, h, clip:
     (xt - h.beta[t] / root(1 - h.alpha_bar[t]) * np.clip(eps, -clip, clip)) / root(h.alpha[t]),
     "clipped eps"),
    ("2.4", lambda xt, eps, t, h, clip: np.clip(
     (xt - root(1 - h.alpha_bar[t]) * eps) / root(h.alpha_bar[t]), -clip, clip),
     "clipped guess of x_0 itself"),
    ("2.4", lambda xt, eps, t, h, clip: (root(h.alpha_bar[t - 1]) * h.beta[t]
     * (xt - root(1 - h.alpha_bar[t]) * eps) / root(h.alpha_bar[t]) + root(h.alpha[t])
     * (1 - h.alpha_bar[t - 1]) * np.clip(xt, -clip, clip)) / (1 - h.alpha_bar[t]),
     "clipped x_t"),
    ("3.1", lambda eps, out: np.mean(np.square(out - eps)), "the mean over coordinates"),
    ("3.1", lambda eps, out: np.sum(np.square(out - eps)), "the sum over the batch"),
    ("3.1", lambda eps, out: np.linalg.norm(eps - out, axis=1).mean(), "not its square"),
    ("3.1", lambda eps, out: np.mean(np.sum(eps - out, axis=1)), "both signs cancel"),
    ("3.1", lambda eps, out: np.linalg.norm(eps - out, axis=1) ** 2, "a number for each sample"),
    ("3.2", 0, "nobody sees eps"),
    ("3.2", 2, "always says 0"),
    ("3.2", 0.2, "in one coordinate"),
    ("3.2", 0.5, "sees nothing"),
    ("3.2", 1.6, "explains"),
    ("3.2", 1, "its variance is not 1"),
    ("3.3", lambda xt, abar, mu, var:
     root(1 - abar) * (root(abar) * mu - xt) / (1 - abar + abar * var), "the sign"),
    ("3.3", lambda xt, abar, mu, var: -(xt - root(abar) * mu) / (1 - abar + abar * var),
     "this is the score"),
    ("3.3", lambda xt, abar, mu, var: (xt - mu) * root(1 - abar) / (1 - abar + abar * var),
     "have shrunk"),
    ("3.3", lambda xt, abar, mu, var: root(1 - abar) / var * (xt - root(abar) * mu),
     "variance of the data"),
    ("3.3", lambda xt, abar, mu, var: (xt - root(abar) * mu) * (1 - abar) / (1 - abar * (1 - var)),
     "where its root belongs"),
    ("3.3", lambda xt, abar, mu, var: (xt - root(abar) * mu) / root(1 - abar), "if x_0 were mu"),
    ("4.1", lambda c, n, w: w * c - (w - 1) * n, "the other convention"),
    ("4.1", lambda c, n, w: c + w * c + w * n, "the null answer is added"),
    ("4.1", lambda c, n, w: n + w * (n - c), "swapped"),
    ("4.1", lambda c, n, w: w * c - w * n, "only what the label changes"),
    ("4.1", lambda c, n, w: c + w * (c - n) if w > 0 else c, "no guidance for w below 0"),
    ("4.1", lambda c, n, w: c - w * (c - n), "the sign of w"),
    ("4.2", lambda each, p, shares: sum(each) / len(each), "counts the same"),
    ("4.2", lambda each, p, shares: np.tensordot(shares, each, 1), "shares of the classes"),
    ("4.2", lambda each, p, shares: np.array([each[k, i] for i, k in enumerate(p.argmax(1))]),
     "only the likeliest"),
    ("4.2", lambda each, p, shares: sum(each), "without weights"),
    ("4.2", lambda each, p, shares: sum(
     s * q[:, None] * e for s, q, e in zip(shares, p.T, each, strict=True)), "counted twice"),
    ("4.3", 7.5, "taken over as it is"),
    ("4.3", 8.5, "one more instead of one less"),
    ("4.4", lambda c, n, w, m: (1 + w) * np.clip(c, -m, m) - w * np.clip(n, -m, m),
     "clipped first"),
    ("4.4", lambda c, n, w, m: np.clip(
     (1 + w) * np.clip(c, -m, m) - w * np.clip(n, -m, m), -m, m), "before and after"),
    ("4.4", lambda c, n, w, m: (1 + w) * c - w * n, "nothing is clipped"),
    ("4.4", lambda c, n, w, m: np.clip(w * c + (1 - w) * n, -m, m), "by the other convention"),
    ("4.4", lambda c, n, w, m: np.clip((1 + w) * c - w * n, 0, m), "0..clip"),
    ("4.5", 1, "nobody hears the label"),
    ("4.5", 0.0, "no negative prompt"),
    ("4.5", 0.9, "plain conditional model"),
    ("4.5", 0.5, "five classes"),
]  # fmt: skip


def noise_with(factor: Callable[[int, Any], float]) -> Callable[..., Any]:
    def step(xt: Any, eps: Any, z: Any, t: int, h: Any) -> Any:
        mean = (xt - h.beta[t] / root(1 - h.alpha_bar[t]) * eps) / root(h.alpha[t])
        return mean + factor(t, h) * z

    return step


def tilde(t: int, h: Any) -> float:
    return h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t])


WRONG += [
    ("3.4", noise_with(lambda t, h: root(h.beta[t])), "added at the last step"),
    ("3.4", noise_with(lambda t, h: root(h.beta[t]) if t > 1 else 0), "that Ho et al. allow"),
    ("3.4", noise_with(tilde), "multiplied by a variance"),
    ("3.4", noise_with(lambda t, h: 0), "no noise is added"),
    ("3.4", lambda xt, eps, z, t, h:
     (xt - root(1 - h.alpha_bar[t]) * eps) / root(h.alpha_bar[t]), "in one go"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_a_wrong_answer_gets_the_hint_meant_for_it_and_no_other(case: int):
    number, answer, phrase = WRONG[case]
    exercise = EXERCISES[number]
    assert phrase in exercise.hint(answer)
    with np.errstate(all="ignore"):
        assert sum(mistaken(answer) for mistaken, _ in exercise.mistakes) == 1
    assert sum(phrase in hint for _, hint in exercise.mistakes) == 1


def test_every_hint_is_met():
    met = {(number, EXERCISES[number].hint(answer)) for number, answer, _ in WRONG}
    assert met == {(e.number, hint) for e in check.EXERCISES for _, hint in e.mistakes}
    readme = (NOTEBOOKS[0].parent / "README.md").read_text(encoding="utf-8")
    assert f"with {len(met)} wrong answers" in readme


def test_an_answer_of_another_kind_gets_a_sentence():
    assert "none of the mistakes" in check.ex_1_2.hint(17)
    assert "TypeError" in check.ex_1_1.hint(0.8)
    assert "ValueError" in check.ex_1_2.hint("four")
    assert "none of the mistakes" in check.ex_1_1.hint(lambda x, beta, z: 0.0)  # another shape
    assert "none of the mistakes" in check.ex_1_2.hint(float("nan"))
    assert "not attempted yet" in check.ex_1_1.hint(lambda x, beta, z: None)


def test_an_answer_may_write_into_what_it_is_given():
    def in_place(x: Any, beta: float, z: Any) -> Any:
        x *= (1 - beta) ** 0.5
        x += beta**0.5 * z
        return x

    assert check.ex_1_1.hint(in_place) == ""
    assert check.ex_1_1.hint(in_place) == ""


def test_right_numbers_in_another_shape_are_not_right():
    assert check.ex_3_1.hint(lambda eps, out: ((eps - out) ** 2).sum(-1).mean()) == ""
    assert check.ex_3_1.hint(lambda eps, out: [((eps - out) ** 2).sum(-1).mean()])


def test_a_lesson_named_in_a_hint_exists():
    for exercise in check.EXERCISES:
        path, equations = exercise.lesson.split(", ", 1)
        text = (Path(__file__).parents[2] / path).read_text(encoding="utf-8")
        for equation in re.findall(r"\(\d+\.\d+\)", equations):
            assert f"$$ {equation}\n" in text


def test_jupyter_shows_the_hint_and_no_traceback():
    with pytest.raises(check.NotRightError) as caught:
        check.ex_4_1(lambda c, n, w: n + w * (c - n))
    shown = caught.value._render_traceback_()
    assert len(shown) == 1
    assert shown[0].startswith("Exercise 4.1: this is w eps_c - (w - 1) eps_null")
    assert shown[0].endswith("(10.1) to (10.3).")
