"""A test of the tests: with any mistake of the bank in its module, the module's own tests fail.

The bank is the lists in `tests/mistakes/`, with one entry per mistake. `make bank` tries all of
them, `make test` about one in eight. `pytest tests/test_mistakes.py -k step04 -rP` tries the
mistakes of one lesson and prints which test caught each. A mistake is caught if a test fails that
passes without it. It is not caught if the module does not import or uses an unknown name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from tests.mistakes.appendix import APPENDIX
from tests.mistakes.kernels import KERNELS
from tests.mistakes.minicfg import MINICFG
from tests.mistakes.mistake import STUDENTS, Mistake
from tests.mistakes.steps_01_08 import STEPS_01_08
from tests.mistakes.steps_09_13 import STEPS_09_13
from tests.mistakes.steps_15_22 import STEPS_15_22

ROOT = Path(__file__).parents[1]
BANK = [
    *STEPS_01_08,
    *STEPS_09_13,
    *STEPS_15_22,
    *APPENDIX,
    *MINICFG,
    *KERNELS,
]
CAUGHT = "caught"
SECONDS = 60  # a run of tests that takes more processor time is stuck
WAIT = 600  # or more elapsed time: it waits for something, or the machine is very busy

Workers = SimpleQueue[subprocess.Popen[str]]
Verdict = tuple[str, str]  # CAUGHT, or what happened instead; and the error of a test


def ask(worker: subprocess.Popen[str], **job: Any) -> dict[str, Any]:
    """Send a job to a worker, and return its result."""
    assert worker.stdin and worker.stdout
    print(json.dumps(job), file=worker.stdin, flush=True)
    return json.loads(worker.stdout.readline())


def try_one(
    worker: subprocess.Popen[str], mistake: Mistake, root: Path, seconds: int, wait: int
) -> Verdict:
    """Put the mistake in and run the tests until one fails: CAUGHT, and the name of that test."""
    try:
        text, first = mistake.put_in((root / mistake.file).read_text())
    except ValueError as error:
        return "not to be put in", str(error)
    answer = ask(
        worker,
        tests=[mistake.tests],
        file=str(root / mistake.file),
        text=text,
        first=first,
        root=str(root),
        seconds=seconds,
        wait=wait,
    )
    said = answer["said"]
    if answer["code"] == 0:
        return ("survived" if answer["loads"] else "never imported", said)
    if answer["typo"] or not answer["failed"]:
        return "failed as a whole, not in a test", said
    return CAUGHT, f"{answer['failed'][0]}\n{said}"


def try_all(
    workers: Workers,
    mistakes: list[Mistake],
    root: Path = ROOT,
    seconds: int = SECONDS,
    wait: int = WAIT,
) -> dict[Mistake, Verdict]:
    """Try the mistakes of one module, then run the tests that caught them without a mistake."""
    worker = workers.get()
    try:
        found = {mistake: try_one(worker, mistake, root, seconds, wait) for mistake in mistakes}
        by = {m: said.splitlines()[0] for m, (verdict, said) in found.items() if verdict == CAUGHT}
        if by:
            tests = sorted(set(by.values()))
            answer = ask(worker, tests=tests, root=str(root), seconds=seconds, wait=wait)
            failed = answer["failed"] if answer["code"] in (0, 1) else tests
            found |= {m: ("failing without it too", t) for m, t in by.items() if t in failed}
        return found
    finally:
        workers.put(worker)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Two processes that have imported torch and other large packages."""
    if not hasattr(os, "fork"):
        pytest.skip("a worker forks, and this system has no os.fork")
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    program = [sys.executable, str(ROOT / "tests/mistakes/worker.py")]
    started = [
        subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(2)
    ]
    queue = Workers()
    for worker in started:
        queue.put(worker)
    yield queue
    for worker in started:
        worker.communicate()  # a worker ends when its standard input does


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, workers: Workers
) -> Iterator[dict[str, Future[dict[Mistake, Verdict]]]]:
    """For each test file, the verdicts on the mistakes of its module that are selected."""
    chosen = defaultdict[str, list[Mistake]](list)
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.originalname == test_mistake.__name__:
            mistake = item.callspec.params["mistake"]
            chosen[mistake.tests].append(mistake)
    # Large groups first, so that both workers end at about the same time.
    groups = sorted(chosen.items(), key=lambda group: -len(group[1]))
    with ThreadPoolExecutor(2) as pool:
        yield {tests: pool.submit(try_all, workers, some) for tests, some in groups}
        pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.exhaustive(one_in=8)
@pytest.mark.parametrize("mistake", BANK, ids=str)
def test_mistake(mistake: Mistake, verdicts: dict[str, Future[dict[Mistake, Verdict]]]) -> None:
    verdict, said = verdicts[mistake.tests].result()[mistake]
    print(said)
    assert verdict == CAUGHT, f"{mistake.tests} with {mistake.file} mistaken: {verdict}\n{said}"


def test_bank_is_in_order() -> None:
    for mistake in BANK:
        mistake.put_in((ROOT / mistake.file).read_text())  # raises unless the text is there once
        assert mistake.old != mistake.new
        assert (ROOT / mistake.tests).is_file()
    assert len(BANK) >= 60
    twice = [name for name, count in Counter(map(str, BANK)).items() if count > 1]
    assert not twice


# Changes that change no result, and have to survive.
HARMLESS = [
    Mistake(
        "kernels.reference",
        "a sum in the other order, equal to the last bit",
        STUDENTS,
        "1 + per_sample(w, out_cond)",
        "per_sample(w, out_cond) + 1",
    ),
    Mistake(
        "step04_posterior",
        "a product in the other order",
        STUDENTS,
        "= beta * (1 - abar_prev) / (1 - abar)",
        "= (1 - abar_prev) * beta / (1 - abar)",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("change", HARMLESS, ids=str)
def test_harmless_change_survives(change: Mistake, workers: Workers) -> None:
    assert try_all(workers, [change])[change] == ("survived", "")


TINY = "def double(x):\n    return 2 * x\n"
TRUE = "from tutorial.tiny import double\ndef test_0_1_by_sum(): assert double(3) == 3 + 3\n"
FALSE = TRUE.replace("3 + 3", "7")
SET_UP = "import pytest\n@pytest.fixture\ndef two(): assert double(1) == 2\n" + TRUE.replace(
    "()", "(two)"
)
WHOLE = "failed as a whole, not in a test"
# The text in the place of `2 * x`, the tests, and the verdict.
VERDICTS = {
    "a mistake": ("3 * x", TRUE, CAUGHT),
    "none": ("x + x", TRUE, "survived"),
    "a test that fails anyway": ("3 * x", FALSE, "failing without it too"),
    "tests of something else": ("3 * x", "def test_0_1_by_hand(): pass\n", "never imported"),
    "only in the set-up of a test": ("3 * x", SET_UP, WHOLE),
    "a wrong name": ("2 * y", TRUE, WHOLE),
    "no Python": ("2 x", TRUE, WHOLE),
    "an endless loop": ("2 * x + sum(iter(int, 1))", TRUE, WHOLE),
    "an endless wait": ("2 * x + __import__('time').sleep(600)", TRUE, WHOLE),
}


@pytest.mark.slow
@pytest.mark.parametrize(("new", "tests", "wanted"), VERDICTS.values(), ids=VERDICTS)
def test_verdict(new: str, tests: str, wanted: str, workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "tutorial").mkdir()
    (tmp_path / "tests/tutorial").mkdir(parents=True)
    # With `__init__.py` it is found before the `tutorial` that is installed, however that is done.
    (tmp_path / "tutorial/__init__.py").touch()
    (tmp_path / "tutorial/tiny.py").write_text(TINY)
    (tmp_path / "tests/tutorial/test_tiny.py").write_text(tests)
    mistake = Mistake("tiny", "", STUDENTS, "2 * x", new)
    # Only an endless mistake has small limits. If a busy machine exceeds them before the endless
    # part begins, the verdict is the same.
    seconds = 3 if "iter(int" in new else SECONDS
    wait = 3 if "sleep" in new else WAIT
    assert try_all(workers, [mistake], tmp_path, seconds, wait)[mistake][0] == wanted
    assert (tmp_path / "tutorial/tiny.py").read_text() == TINY
    assert not list(tmp_path.rglob("*.pyc"))
