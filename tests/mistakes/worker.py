"""A program that tries mistakes: it imports what is slow to import, then forks for each of them.

It reads a job a line, as JSON, and answers with a line. A job is the tests to run and, unless it is
to run them all as things are, a file, the text that stands in for it, and which tests come first.
The text is what whoever imports the file gets, shape checks and all; nothing is written anywhere.
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
# A change that raises one of these says something that is not there: a typing error, no mistake.
TYPOS = (NameError, AttributeError, ImportError, SyntaxError)
NO_ANSWER = {"code": -1, "failed": [], "said": "no answer: stuck, or killed", "typo": False}


class Watch:
    """A plugin of pytest: which tests failed, and what the first of them said."""

    def __init__(self, first: list[str]) -> None:
        self.first, self.failed, self.said, self.typo = first, list[str](), "", False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The equation's own tests before others, quick ones before slow ones, none of speed."""
        # A crowded machine, and not the mistake, might fail it.
        items[:] = [item for item in items if "stopwatch" not in item.name]
        items.sort(key=lambda item: not item.name.startswith(tuple(self.first)))
        items.sort(key=lambda item: item.get_closest_marker("slow") is not None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """A failure in a test itself counts; one of what is set up for it is only noted."""
        report = yield
        if report.failed and call.excinfo is not None:
            self.typo |= call.excinfo.errisinstance(TYPOS)
            self.said = self.said or call.excinfo.exconly()
            self.failed += [item.nodeid] if report.when == "call" else []
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file of tests that does not import."""
        if report.failed:
            self.said = self.said or str(report.longrepr)


def stand_in(file: str, text: str) -> list[str]:
    """From now on an import of `file` compiles `text`; the list returned is longer each time."""
    loads, loader = list[str](), SourceFileLoader
    get_data, path_stats = loader.get_data, loader.path_stats

    def text_or_data(self: SourceFileLoader, path: str) -> bytes:
        if path != file:
            return get_data(self, path)
        loads.append(path)
        return text.encode()

    def no_stats_or_stats(self: SourceFileLoader, path: str) -> Any:
        if path != file:
            return path_stats(self, path)
        raise OSError("without them, bytecode that was cached is not used, and none is written")

    loader.get_data, loader.path_stats = text_or_data, no_stats_or_stats
    return loads


def attempt(
    tests: list[str], root: str, file: str = "", text: str = "", first: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Run tests, with a mistake until one fails, or as things are."""
    os.chdir(root)
    sys.path.insert(0, root)
    watch, loads = Watch(list(first)), stand_in(file, text)
    options = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    options += ["--rootdir", root, "-x"] if file else ["--rootdir", root]
    code = pytest.main([*options, *tests], plugins=[watch])
    found = {"code": int(code), "failed": watch.failed, "said": watch.said, "typo": watch.typo}
    return found | {"loads": len(loads)}


def main() -> None:
    """Import, then fork for each line."""
    from hypothesis import Phase, settings

    # Found is enough: no smaller example is looked for, and none is kept for the next run.
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
    gc.freeze()  # pytest collects garbage to the last crumb; what was imported here is none
    for line in sys.stdin:
        read, write = os.pipe()
        if child := os.fork():
            os.close(write)
            with open(read) as stream:
                answer = stream.read()
            os.waitpid(child, 0)
            print(answer or json.dumps(NO_ANSWER), flush=True)
        else:
            job = json.loads(line)
            signal.alarm(job.pop("seconds"))
            for stream in (0, 1, 2):
                os.dup2(os.open(os.devnull, os.O_RDWR), stream)
            os.write(write, json.dumps(attempt(**job)).encode())
            os._exit(0)


if __name__ == "__main__":
    main()
