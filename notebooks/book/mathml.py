r"""A Sphinx extension: mathematics as MathML, written when the book is built.

Browsers draw MathML themselves, so a page needs no script and no font from elsewhere. The
translation is docutils' own; here its accents are put right, words such as Var are set upright, and
inline formulas may be broken after a relation, as a line of a narrow window needs it.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import escape
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

# What docutils writes for \bar, \hat and \tilde, and what fonts draw over a letter.
ACCENTS = {"\u02c9": "\u00af", "\u02c6": "\u02c6", "~": "\u02dc"}
APPLY = "\u2061"  # after log, cos, max
# Operators after which a line may end: relations, sums, differences. Inside brackets none may.
BREAKS = {"=", "<", ">", "≤", "≥", "∝", "∼", "≈", "→", "∈", "+", "−", ",", ":", "∶"}
# Letters that stand together are a word, Var or clip, unless they are a differential.
WORD = re.compile(r"(\\text\{[^}]*\}|\\[A-Za-z]+|d[A-Za-z](?![A-Za-z]))|([A-Za-z]{2,})")


def prepared(tex: str) -> str:
    r"""The same formula in the commands that docutils knows, its words upright.

    >>> print(prepared(r"Var(x | y) \text{ if } dx, \dots"))
    \mathrm{Var}(x \mid y) \text{ if } dx, \ldots
    """
    tex = WORD.sub(lambda m: m[1] or rf"\mathrm{{{m[2]}}}", tex)
    return tex.replace(r"\dots", r"\ldots").replace(" | ", r" \mid ")


def with_accents(parent: ET.Element) -> None:
    r"""Put each accent over its letter alone: docutils makes a limit of the index of `\bar a_t`."""
    for element in parent:
        with_accents(element)
        last = element[-1] if len(element) else None
        if element.tag in ("mover", "munderover") and last is not None and last.text in ACCENTS:
            last.text = ACCENTS[last.text]
            element.attrib.pop("accent", None)  # browsers put an accent so low that bars vanish
            base, *index = element[:-1]
            if index:
                accented = ET.Element("mover")
                accented.extend([base, last])
                element.tag, element[:] = "msub", [accented, *index]
        if element.tag == "msup" and element[0].tag == "msub":
            element.tag, element[:] = "msubsup", [*element[0], element[1]]


def with_spaces(parent: ET.Element) -> None:
    """Set functions apart from what they stand between, as TeX does: 2 log x, not 2logx."""
    children: list[ET.Element] = []
    siblings = list(parent)
    for k, element in enumerate(siblings):
        with_spaces(element)
        follower = siblings[k + 1] if k + 1 < len(siblings) else None
        named = follower is not None and follower.text == APPLY  # this is the name of a function
        if named and children and children[-1].tag not in ("mo", "mspace"):
            children.append(ET.Element("mspace", width="0.17em"))
        if element.text == APPLY and follower is not None and follower.text not in ("(", "["):
            children.append(ET.Element("mspace", width="0.17em"))
        elif element.text != APPLY:
            children.append(element)
    parent[:] = children


def pieces(root: ET.Element) -> Iterator[ET.Element]:
    """The formula in parts between which a line may end."""
    part, depth = ET.Element("math"), 0
    for element in root:
        part.append(element)
        text = element.text or "" if element.tag == "mo" else ""
        depth += (text in "([{⟨⌊" and text != "") - (text in ")]}⟩⌋" and text != "")
        if text in BREAKS and depth == 0 and len(part) > 1:
            element.set("form", "infix")  # its place in the part would say postfix
            yield part
            part = ET.Element("math")
    if len(part):
        yield part


def mathml(tex: str, block: bool) -> str:
    """A formula as MathML, in one piece if it is displayed."""
    text = latex2mathml.tex2mathml(prepared(tex), as_block=block)
    root = ET.fromstring(text.replace("&ApplyFunction;", APPLY).replace(" xmlns=", " data-x="))
    root.attrib.pop("data-x", None)
    with_accents(root)
    with_spaces(root)
    for element in root.iter():
        element.tail = None
        if (
            element.text == "|"
        ):  # an absolute value; "given" has blanks around it, and is a relation
            element.attrib |= {"lspace": "0", "rspace": "0"}
        if element.text == "'":
            element.text = "\u2032"
        if element.tag == "mtext":  # blanks at its ends would not be drawn
            element.text = re.sub(r"^ | $", "\u00a0", element.text or "")
        elif len(element):
            element.text = None
    if block:
        return ET.tostring(root, encoding="unicode")
    return "<wbr>".join(ET.tostring(part, encoding="unicode") for part in pieces(root))


def checked(translator: Any, node: nodes.Element, block: bool) -> str:
    """The formula of a node; what cannot be read is shown as it is, with a warning."""
    try:
        return mathml(node.astext(), block)
    except (MathError, ET.ParseError) as error:
        logging.getLogger(__name__).warning(
            "mathematics: %s in %s", error, node.astext(), location=node
        )
        return f"<code>{escape(node.astext())}</code>"


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Mathematics in a line of text."""
    translator.body.append(f'<span class="math">{checked(translator, node, False)}</span>')
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """A displayed formula with its number, which stays in sight where the formula scrolls."""
    ids = "".join(f'<span id="{i}"></span>' for i in node.get("ids", []))
    number = f"({node['label']})" if node.get("label") else ""
    translator.body.append(
        f'<div class="math-block" tabindex="0">{checked(translator, node, True)}'
        f'<span class="eqno">{ids}{number}</span></div>\n'
    )
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer the renderer that conf.py asks for."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
