"""What every lesson does when it is run as a program: print what was checked, save its figure."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# One hue a class and one a quantity, told apart by readers who do not see red and green.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
RED = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#999999"
CLASS_COLORS = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)


@dataclass(frozen=True)
class Check:
    """One number of a lesson beside the number it has to be, and how far apart they may lie."""

    what: str
    found: float
    expected: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether the two agree; a NaN never does."""
        return abs(self.found - self.expected) <= self.allowed


def present(
    name: str,
    doc: str | None = None,
    checks: list[Check] | None = None,
    figure: Figure | None = None,
) -> None:
    """Print the title and the checks of lesson `name`; save its figure.

    The title is the first line of the docstring of `tutorial.<name>`. The checks and the figure
    come from `tutorial.figures.<name>`. The figure is saved to `runs/tutorial/<name>.png`.
    Ends the program with status 1 if a check fails, after everything has been printed.
    """
    if doc is None or checks is None or figure is None:
        doc = importlib.import_module(f"tutorial.{name}").__doc__ or ""
        figures = importlib.import_module(f"tutorial.figures.{name}")
        checks = figures.checks()
        figure = figures.figure()
    assert checks is not None
    assert figure is not None
    print(doc.strip().splitlines()[0].replace("$", ""), "\n")
    width = max(len(check.what) for check in checks)
    print(f"  {'checked':{width}}  {'found':>12}  {'expected':>12}  {'allowed':>8}")
    for c in checks:
        verdict = "ok" if c.holds else "FAILS"
        numbers = f"{c.found:12.6g}  {c.expected:12.6g}  {c.allowed:8.1e}"
        print(f"  {c.what:{width}}  {numbers}  {verdict}")
    path = Path("runs/tutorial") / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)  # pyright: ignore[reportUnknownMemberType]  # hole in the stubs
    print(f"\nfigure: {path}")
    if not all(c.holds for c in checks):
        sys.exit(1)
