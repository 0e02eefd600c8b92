"""Search for the small change of the right solution that gives the results of a student.

Every edit of the right solution is evaluated at up to four inputs of the exercise. The first one,
in order of size, that gives the student's results at all inputs names the mistake. Pairs of edits
are tried only if no single edit, no listed mistake up to a factor, and no observation explains the
results.
"""

from __future__ import annotations

import ast
import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from . import general
from .edits import Edit, Finder
from .interpreter import Case, Run, Solution

Arrays = list[np.ndarray]
MOST_INPUTS = 4  # at which every edit is evaluated
# How observations begin that already name the mistake. After these no pair of edits is tried.
TELLING = ("right but", "right if", "right for -", "right to", "two calls", "your function returns")


class Search:
    """The edits of one solution, and their results at the inputs of its exercise."""

    def __init__(self, solution: Solution, cases: Sequence[Case]) -> None:
        """Evaluate every edit once. Drop one that changes no result, or repeats a smaller one."""
        self.solution = solution
        # A few inputs tell the edits apart. The others are tried where an edit fits these.
        few = 1 if solution.is_slow else MOST_INPUTS
        step = -(-len(cases) // few)
        self.order = sorted(range(len(cases)), key=lambda i: (i % step > 0, i))
        self.cases = [cases[i] for i in self.order]
        cases = self.cases[: len(cases[::step])]
        self.kept = [{} if solution.is_slow else Run(solution, c, {}).trace() for c in cases]
        self.single: list[tuple[Edit, Arrays]] = []
        seen = {key([numbers(solution(*case)) for case in cases])}
        for edit in Finder(solution).edits():
            found = self.results(edit)
            if found is not None and key(found) not in seen:
                seen.add(key(found))
                self.single.append((edit, found))
        # Of the inputs, that at which most edits differ is the best one to begin with.
        counts = [len({key([found[i]]) for _, found in self.single}) for i in range(len(cases))]
        self.first = int(np.argmax(counts))
        self.pairs = self.smallest_pairs()

    def result(self, i: int, *edits: Edit) -> np.ndarray | None:
        """The result of the edited solution at one input, or None if it stops with an error."""
        changes: dict[ast.AST, tuple[ast.AST, ...]] = {}
        affected: set[ast.AST] = set()
        kept = self.kept[i] if i < len(self.kept) else {}
        for edit in edits:
            for node, new in edit.changes.items():
                changes[node] = (*changes.get(node, ()), new)
                affected |= self.solution.affected(node)
                if isinstance(node, ast.stmt):
                    kept = {}  # a line that is moved may affect all others
        try:
            with np.errstate(all="ignore"):
                return numbers(Run(self.solution, self.cases[i], changes, kept, affected).result())
        except Exception:  # an edited solution need not make sense
            return None

    def results(self, *edits: Edit) -> Arrays | None:
        """The results of the edited solution at the first few inputs, or None."""
        found: Arrays = []
        for i in range(len(self.kept)):
            result = self.result(i, *edits)
            if result is None:
                return None
            found.append(result)
        return found

    def smallest_pairs(self) -> list[tuple[Edit, Edit]]:
        """Pairs of edits, ordered by the sum of their sizes.

        Two edits may change the same node only if one of them contains the node that it replaces;
        this one is applied last.
        """
        sizes: dict[int, list[Edit]] = {}
        for edit, _ in self.single:
            sizes.setdefault(edit.size, []).append(edit)
        pairs: list[tuple[Edit, Edit]] = []
        for a, b in sorted(itertools.combinations_with_replacement(sorted(sizes), 2), key=sum):
            of_one_size = itertools.combinations(sizes[a], 2)
            for one, two in of_one_size if a == b else itertools.product(sizes[a], sizes[b]):
                if not one.changes.keys() & two.changes.keys():
                    pairs.append((one, two))
                elif contains_old(one):
                    pairs.append((two, one))
                elif contains_old(two):
                    pairs.append((one, two))
                if len(pairs) >= self.solution.most_pairs:
                    return pairs[: self.solution.most_pairs]
        return pairs

    def one(self, found: Arrays) -> str:
        """The clause of the edit with these results, or ""."""
        found = [found[i] for i in self.order]
        for edit, results in self.single:
            if all_equal(results, found) and self.holds(found, edit):
                return edit.clause
        return ""

    def holds(self, found: Arrays, *edits: Edit) -> bool:
        """Whether the edited solution has these results at the other inputs as well."""
        others = range(len(self.kept), len(self.cases))
        return all(same(self.result(i, *edits), found[i]) for i in others)

    def two(self, found: Arrays) -> str:
        """The clauses of the two edits with these results, or ""."""
        found = [found[i] for i in self.order]
        for one, two in self.pairs:
            if same(self.result(self.first, one, two), found[self.first]):
                results = self.results(one, two)
                is_equal = results is not None and all_equal(results, found)
                if is_equal and self.holds(found, one, two):
                    return f"{one.clause}; and {two.clause}"
        return ""


def contains_old(edit: Edit) -> bool:
    """Whether an edit only puts something around a node, such as a root."""
    return all(old in ast.walk(new) for old, new in edit.changes.items())


def numbers(result: Any) -> np.ndarray:
    """A result as an array of real numbers."""
    if np.iscomplexobj(result):
        raise TypeError("a root of a negative number")
    return np.asarray(result, np.float64)


def key(results: Arrays) -> tuple[Any, ...]:
    """A key that results share if they are equal up to rounding, and almost never otherwise."""
    with np.errstate(all="ignore"):
        return tuple((r.shape, f"{np.nansum(r * weights(r.shape)):.8e}") for r in results)


@lru_cache
def weights(shape: tuple[int, ...]) -> np.ndarray:
    """Different weights for the entries of an array, so that their order counts in a sum."""
    return np.random.default_rng(0).uniform(1, 2, shape)


def same(value: np.ndarray | None, wanted: np.ndarray) -> bool:
    """Whether two results are equal, as `general.equal` decides.

    Shapes and last numbers are compared first, because they settle most cases quickly.
    """
    if value is None or not wanted.size:
        return False
    if value.shape != wanted.shape:
        return False
    last, right = value.flat[-1], wanted.flat[-1]
    return not abs(last - right) > 1e-8 * abs(right) + 1e-10 and general.equal(value, wanted)


def all_equal(results: Arrays, found: Arrays) -> bool:
    """Whether two functions have the same results at all inputs."""
    return all(same(r, f) for r, f in zip(results, found, strict=False))


def about_number(
    answer: float, value: float, within: float, given: Mapping[str, float], source: str
) -> str:
    """What `general` says, or the only small edit of a formula that gives this number, or "".

    A number has few digits, so that an edit may fit by chance. If several fit, none is named. Only
    edits of the sizes 0 and 1 are tried, without those that add a root or a square.
    """
    sentence = general.about_number(answer, value, within)
    if not source or not sentence.startswith((general.UNKNOWN, "your number is negative")):
        return sentence
    solution = Solution(f"def solved({', '.join(given)}):\n    return {source}")
    search = Search(solution, [tuple(given.values())])
    decimals = len(f"{answer:.12g}".partition(".")[2].partition("e")[0])
    close = min(within, 0.6 * 10.0**-decimals) if "e" not in f"{answer:.12g}" else within
    clauses = [
        edit.clause
        for edit, (result,) in search.single
        if edit.size < 2 and "too many" not in edit.clause and abs(result - answer) <= close
    ]
    if len(clauses) != 1:
        return sentence
    return f"your number is what the right formula gives if {clauses[0]}."


def observation(
    answer: Callable[..., Any],
    reference: Callable[..., Any],
    cases: Sequence[Case],
    searches: Sequence[Callable[[], Search]],
    listed: Sequence[tuple[Callable[..., Any], str]] = (),
) -> str:
    """One sentence about wrong results.

    It is about the smallest edit that explains them, or else a listed mistake up to a factor, an
    observation that names the mistake, two edits, or any observation.
    """
    try:
        found = [numbers(answer(*copy.deepcopy(case))) for case in cases]
    except (TypeError, ValueError):  # the result is None, or no array of numbers
        return general.observation(answer, reference, cases)
    if not all(np.isfinite(result).all() for result in found):
        return general.observation(answer, reference, cases)
    if name := general.narrow_type(answer, reference, cases[0]):
        return (
            f"your result has the dtype {name}, and the check compares 8 digits: compute in "
            "float64, NumPy's default, without a conversion."
        )
    for search in searches:
        if clause := search().one(found):
            return f"your results are those of the right solution, except that {clause}."
    if sentence := listed_and_factor(found, cases, listed):
        return sentence
    sentence = general.observation(answer, reference, cases)
    if sentence.startswith(TELLING):
        return sentence
    for search in searches:
        if clauses := search().two(found):
            return f"your results are those of the right solution with two changes: {clauses}."
    return sentence


def listed_and_factor(
    found: Arrays, cases: Sequence[Case], listed: Sequence[tuple[Callable[..., Any], str]]
) -> str:
    """The hint of a listed mistake that gives the student's results up to a factor."""
    for mistake, hint in listed:
        try:
            results = [numbers(mistake(*copy.deepcopy(case))) for case in cases]
        except Exception:  # a mistake may stop with an error at some inputs
            continue
        if any(r.shape != f.shape for r, f in zip(results, found, strict=True)):
            continue
        factor = general.common_factor(list(zip(found, results, strict=True)))
        if factor is not None:
            wrong = "the sign" if abs(factor + 1) < 1e-9 else f"the factor {factor:.6g}"
            return f"two things. First: {hint} Second: {wrong} of the whole result is wrong."
    return ""
