"""The reason why there is no wheel: site-packages must not hold packages `kernels` and `tutorial`.

setuptools runs `RefuseWheel` in the place of its `bdist_wheel`; `pip install -e .` does not use it.
"""

from setuptools.command.bdist_wheel import bdist_wheel


class RefuseWheel(bdist_wheel):
    """A `bdist_wheel` that stops with a sentence that says what to do instead."""

    def run(self) -> None:
        """Stop before anything is built."""
        raise SystemExit(
            "minicfg is installed from its checkout, editable: run 'make', or "
            "pip install -c constraints.txt -e '.[torch]' in an environment of its own. A wheel "
            "would put packages named 'kernels' and 'tutorial' into site-packages, where they "
            "would hide others of those names."
        )
