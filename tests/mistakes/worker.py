"""A program that runs tests against changed modules, in a fork of itself for each change.

A fork saves the time of importing torch and other large packages, which this process does once. The
program reads jobs from standard input, one JSON object per line, and writes a line of results for
each. A job contains the tests to run, and limits in seconds for processor time (`seconds`) and
elapsed time (`wait`). For a change it also contains the file, its changed text and the names of the
tests to begin with: an import of the file then compiles the changed text, with the same shape
checks. No file is written.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
from importlib.machinery import SourceFileLoader
from typing import Any

import pytest

SLOW_TO_IMPORT = (
    *("beartype.door", "hypothesis.strategies", "jaxtyping", "matplotlib.figure", "numpy"),
    *("scipy.integrate", "scipy.stats", "sklearn.datasets", "sympy.physics.units", "torch"),
    *("torch._dynamo", "torch.distributed.optim", "triton.language", "xml.etree.ElementTree"),
)
# A change that raises one of these contains a typing error, which is not a mistake of the bank.
TYPOS = (NameError, AttributeError, ImportError, SyntaxError)
NO_RESULT = {"code": -1, "failed": [], "said": "no result: stuck, or killed", "typo": False}


class Watch:
    """A plugin of pytest that records which tests failed, and the error of the first."""

    def __init__(self, first: list[str]) -> None:
        self.first = first
        self.failed = list[str]()
        self.said = ""
        self.typo = False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Sort the tests: quick ones, then slow ones; those of the equation first in each."""
        # A test of speed might fail because of a busy machine and not because of the mistake.
        items[:] = [item for item in items if "stopwatch" not in item.name]
        items.sort(key=lambda item: not item.name.startswith(tuple(self.first)))
        items.sort(key=lambda item: item.get_closest_marker("slow") is not None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Record a failure of the test itself, and whether any failure is a typing error."""
        report = yield
        if report.failed and call.excinfo is not None:
            self.typo |= call.excinfo.errisinstance(TYPOS)
            self.said = self.said or call.excinfo.exconly()
            self.failed += [item.nodeid] if report.when == "call" else []
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record the error of a test file that cannot be imported."""
        if report.failed:
            self.said = self.said or str(report.longrepr)


def stand_in(file: str, text: str) -> list[str]:
    """From now on an import of `file` compiles `text`, and adds an entry to the returned list."""
    loads = list[str]()
    loader = SourceFileLoader
    get_data = loader.get_data
    path_stats = loader.path_stats

    def text_or_data(self: SourceFileLoader, path: str) -> bytes:
        if path != file:
            return get_data(self, path)
        loads.append(path)
        return text.encode()

    def no_stats_or_stats(self: SourceFileLoader, path: str) -> Any:
        if path != file:
            return path_stats(self, path)
        raise OSError("without these, cached bytecode is neither used nor written")

    loader.get_data = text_or_data
    loader.path_stats = no_stats_or_stats
    return loads


def attempt(
    tests: list[str], root: str, file: str = "", text: str = "", first: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Run tests: with a changed text until one fails, without one all of them."""
    os.chdir(root)
    sys.path.insert(0, root)
    watch = Watch(list(first))
    loads = stand_in(file, text)
    options = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    options += ["--rootdir", root, "-x"] if file else ["--rootdir", root]
    code = pytest.main([*options, *tests], plugins=[watch])
    found = {"code": int(code), "failed": watch.failed, "said": watch.said, "typo": watch.typo}
    return found | {"loads": len(loads)}


def main() -> None:
    """Import the packages that take long, then fork for each line of input."""
    from hypothesis import Phase, settings

    # A failing example is enough: Hypothesis neither shrinks it nor keeps it for the next run.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile(
        "mistakes", phases=phases, database=None, deadline=None, derandomize=True
    )
    settings.load_profile("mistakes")
    for name in SLOW_TO_IMPORT:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.dont_write_bytecode = True
    gc.collect()
    gc.freeze()  # pytest collects garbage often; the objects imported here need no visit
    for line in sys.stdin:
        read, write = os.pipe()
        if child := os.fork():
            os.close(write)
            with open(read) as stream:
                answer = stream.read()
            os.waitpid(child, 0)
            print(answer or json.dumps(NO_RESULT), flush=True)
        else:
            job = json.loads(line)
            # A limit on elapsed time alone would stop a test because the machine is busy.
            signal.setitimer(signal.ITIMER_PROF, job.pop("seconds"))
            signal.alarm(job.pop("wait"))
            for stream in (0, 1, 2):
                os.dup2(os.open(os.devnull, os.O_RDWR), stream)
            os.write(write, json.dumps(attempt(**job)).encode())
            os._exit(0)


if __name__ == "__main__":
    main()
