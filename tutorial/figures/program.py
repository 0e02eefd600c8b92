"""Run a lesson as a program: print its title and its checks, and save its figure."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# These colours remain distinct for readers who confuse red and green.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
RED = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#999999"
CLASS_COLORS = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)  # one colour per class


@dataclass(frozen=True)
class Check:
    """A number that the lesson computes, the expected number, and the tolerance."""

    what: str
    found: float
    expected: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance. It never is for a NaN."""
        return abs(self.found - self.expected) <= self.allowed


def present(name: str) -> None:
    """Print the title and the checks of lesson `name`, such as `appendix.a_elbo`; save its figure.

    The title is the first line of the docstring of `tutorial.<name>`. The functions `checks` and
    `figure` are those of `tutorial.figures.<name>`. The figure is saved as
    `runs/tutorial/<name>.png`, where a dot in the name becomes a folder. If a check fails, the
    program ends with status 1 after everything has been printed.
    """
    doc = importlib.import_module(f"tutorial.{name}").__doc__ or name  # python -OO drops it
    figures = importlib.import_module(f"tutorial.figures.{name}")
    checks: list[Check] = figures.checks()
    figure: Figure = figures.figure()
    print(doc.strip().splitlines()[0].replace("$", ""), "\n")
    width = max(len(check.what) for check in checks)
    print(f"  {'checked':{width}}  {'found':>12}  {'expected':>12}  {'allowed':>8}")
    for check in checks:
        verdict = "ok" if check.holds else "FAILS"
        numbers = f"{check.found:12.6g}  {check.expected:12.6g}  {check.allowed:8.1e}"
        print(f"  {check.what:{width}}  {numbers}  {verdict}")
    path = Path("runs/tutorial") / f"{name.replace('.', '/')}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)  # pyright: ignore[reportUnknownMemberType]  # hole in the stubs
    print(f"\nfigure: {path}")
    if not all(check.holds for check in checks):
        sys.exit(1)
