"""No wheel is built, because `kernels` and `tutorial` would hide other packages of these names.

setuptools runs `RefuseWheel` in the place of its `bdist_wheel`; `pip install -e .` does not use it.
"""

from setuptools.command.bdist_wheel import bdist_wheel


class RefuseWheel(bdist_wheel):
    """A `bdist_wheel` that stops with an error, which names the command to use."""

    def run(self) -> None:
        """Stop before anything is built."""
        raise SystemExit(
            "minicfg is installed from its checkout, editable: run 'make', or "
            "pip install -c constraints.txt -e '.[torch]' in a new environment. A wheel "
            "would put packages named 'kernels' and 'tutorial' into site-packages, where they "
            "would hide others of those names."
        )
