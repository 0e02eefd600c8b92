"""The quiz of the course: its questions are in order, and each leads to a paragraph that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "tutorial"
QUIZ = (TUTORIAL / "QUIZ.md").read_text(encoding="utf-8")
STEPS = {path.name for path in TUTORIAL.glob("step*.py")}

QUESTION = re.compile(r"^\*\*(\d+)\.\*\* ", re.MULTILINE)
FOLD = re.compile(
    r"\n\n<details><summary>Answer</summary>\n\n(?P<answer>.+?)\n\n"
    r"See \[(?P<name>step \d+|appendix [A-Q])\]\((?P<file>[\w/]+\.py)\):\n"
    r'"(?P<quote>[^"]+)"\n\n</details>\n',
    re.DOTALL,
)


def normalised(text: str) -> str:
    return " ".join(text.split())


def name_of(file: str) -> str:
    """`step 5` of `step05_best_guess.py`, `appendix A` of `appendix/a_elbo.py`."""
    if found := re.match(r"step(\d\d)_", file):
        return f"step {int(found[1])}"
    return f"appendix {Path(file).name[0].upper()}"


@cache
def docstring_of(file: str) -> str:
    tree = ast.parse((TUTORIAL / file).read_text(encoding="utf-8"))
    return ast.get_docstring(tree, clean=False) or ""


def quote_faults(file: str, quote: str) -> list[str]:
    """Why the docstring of a lesson has not exactly one paragraph that begins with the quote."""
    if not (TUTORIAL / file).is_file():
        return [f"{file}: does not exist"]
    docstring, quote = docstring_of(file), normalised(quote)
    beginnings = sum(normalised(x).startswith(quote) for x in docstring.split("\n\n"))
    occurrences = normalised(docstring).count(quote)
    if (beginnings, occurrences) == (1, 1):
        return []
    return [f"{file}: {beginnings} paragraphs begin with, and {occurrences} places have: {quote}"]


def quiz_faults(quiz: str) -> list[str]:
    """Numbers out of order, questions without a fold, false quotes, steps without a question."""
    pieces = QUESTION.split(quiz)[1:]  # number, text, number, text, ...
    numbers, texts = pieces[::2], pieces[1::2]
    faults: list[str] = []
    if numbers != [str(k) for k in range(1, 41)]:
        faults.append(f"the questions are not numbered from 1 to 40: {numbers}")
    files: list[str] = []
    for number, text in zip(numbers, texts, strict=True):
        folds = list(FOLD.finditer(text))
        if len(folds) != 1 or text.count("<details>") != 1:
            faults.append(f"question {number}: needs one fold with an answer, a link and a quote")
            continue
        fold = folds[0]
        if not text[: fold.start()].rstrip().endswith(("?", ".")):
            faults.append(f"question {number}: no question before the fold")
        if name_of(fold["file"]) != fold["name"]:
            faults.append(f"question {number}: {fold['name']} is not {fold['file']}")
        faults += [f"question {number}: {x}" for x in quote_faults(fold["file"], fold["quote"])]
        files.append(fold["file"])
    faults += [f"{step}: no question" for step in sorted(STEPS - set(files))]
    return faults


def test_the_quiz_has_no_faults() -> None:
    assert len(STEPS) == 23
    faults = quiz_faults(QUIZ)
    assert not faults, "\n" + "\n".join(faults)


# What is replaced by what in the quiz, and the one fault that follows.
PLANTED = {
    "number": ("**2.** ", "**3.** ", "not numbered from 1 to 40"),
    "no fold": ("</details>", "", "question 1: needs one fold"),
    "no answer": ("Answer</summary>\n\nWe cannot", "Answer</summary>\nWe cannot", "one fold"),
    "other words": ('"We have samples', '"You have samples', "0 paragraphs begin with"),
    "not a beginning": ('"We have samples of an', '"samples of an', "0 paragraphs begin with"),
    "too short": ('"With 8 steps DDIM is the better of the two."', '"With"', "places have: With"),
    "another lesson": ("](step04_posterior.py)", "](step05_best_guess.py)", "step 4 is not"),
    "no such file": ("](step04_posterior.py)", "](step04_prior.py)", "does not exist"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_is_found(old: str, new: str, message: str) -> None:
    planted = QUIZ.replace(old, new, 1)
    assert planted != QUIZ
    faults = quiz_faults(planted)
    assert faults and any(message in fault for fault in faults), faults


def test_a_step_without_a_question_is_found() -> None:
    planted = QUIZ.replace("](step04_posterior.py)", "](step03_marginal.py)")
    assert "step04_posterior.py: no question" in quiz_faults(planted)
