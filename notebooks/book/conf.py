"""How Sphinx builds the book; `build.py` writes the pages it reads."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

project = "minicfg"
copyright = "2026 the minicfg authors, MIT license"
html_title = "Classifier-free guidance from first principles"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml", "plain_docstrings"]
html_math_renderer = "mathml"
exclude_patterns: list[str] = []

# Notebooks are shown as they were run. Widgets are not, because they load scripts from elsewhere.
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
myst_dmath_double_inline = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_mock_imports = [] if importlib.util.find_spec("triton") else ["triton"]
python_maximum_signature_line_length = 80
# Types of NumPy and torch are documented elsewhere. Neither they nor shapes become links.
nitpick_ignore_regex = [("py:.*", ".*")]
# Two layers have a Schedule and a Table each; a bare name in a signature leads to neither.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_static_path = [str(HERE / "book.css"), str(HERE / "book.js")]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
pygments_style = "a11y-high-contrast-light"  # colours with the contrast of WCAG AA
pygments_dark_style = "monokai"
html_theme_options = {"navigation_with_keys": True, "footer_icons": []}


def make_accessible(app: Any, name: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Let the Tab key reach code that scrolls, and give the captions of the menu a level."""
    if "body" in context:
        body = context["body"].replace("<pre>", '<pre tabindex="0">')
        # The label of a fold is its text; the extension puts another one in its place.
        context["body"] = body.replace(' aria-label="Toggle hidden content"', "")
    if "furo_navigation_tree" in context:
        context["furo_navigation_tree"] = context["furo_navigation_tree"].replace(
            'role="heading"', 'role="heading" aria-level="2"'
        )


def setup(app: Any) -> None:
    """Called by Sphinx. Furo makes its menu at the usual priority, 500."""
    app.connect("html-page-context", make_accessible, priority=900)
