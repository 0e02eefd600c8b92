"""What every lesson does when it is run as a program: print what was checked, save its figure."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# One hue a class and one a quantity, told apart by readers who do not see red and green.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#999999",
)  # fmt: skip
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


def present(name: str, doc: str, checks: list[Check], figure: Figure) -> None:
    """Print a lesson's title and checks, save its figure to `runs/tutorial/<name>.png`.

    Ends the program with status 1 if a check fails, after everything has been printed.
    """
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
