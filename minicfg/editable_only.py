"""Why there is no wheel: `kernels` and `tutorial` are too common as names for site-packages.

setuptools runs this in place of its `bdist_wheel`; `pip install -e .` does not come here.
"""

from setuptools.command.bdist_wheel import bdist_wheel


class RefuseWheel(bdist_wheel):
    """Refuses to build, with a sentence that says what to do instead."""

    def run(self) -> None:
        """Stop before anything is built."""
        raise SystemExit(
            "minicfg is installed from its checkout, editable: run 'make', or "
            "'pip install -c constraints.txt -e .' in an environment of its own. A wheel would put "
            "packages named 'kernels' and 'tutorial' into site-packages, where they would hide "
            "others of those names."
        )
