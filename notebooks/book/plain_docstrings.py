"""A Sphinx extension: docstrings that are written to be read in an editor, as reStructuredText.

What it takes for markup, asterisks, bars and trailing underscores outside of backticks, is escaped.
A module's docstring is left out. Those of lessons are the lessons, which have their own pages.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

CODE_OR_MARK = re.compile(r"``.*?``|`([^`]+)`|[*|]|(?<=\w)_(?!\w)")


def escaped(line: str) -> str:
    r"""One line with its marks escaped and its code marked as code is there.

    >>> print(escaped("from |a| to b_ and `c_`"))
    from \|a\| to b\_ and ``c_``
    """

    def replaced(found: re.Match[str]) -> str:
        if found[1]:
            return f"``{found[1]}``"
        return found[0] if found[0].startswith("``") else "\\" + found[0]

    return CODE_OR_MARK.sub(replaced, line)


def plain(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite a docstring in place, before napoleon reads its sections."""
    if what == "module":
        lines.clear()
        return
    doctest = False
    for i, line in enumerate(lines):
        doctest = line.lstrip().startswith(">>>") or (doctest and line.strip() != "")
        if not doctest:
            lines[i] = escaped(line)


def setup(app: Sphinx) -> dict[str, bool]:
    """Run before napoleon, which has the priority 500."""
    app.connect("autodoc-process-docstring", plain, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
