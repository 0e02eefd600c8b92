"""One entry of the bank: a module, what is wrong with it, and the change that makes it so."""

from __future__ import annotations

import re
from dataclasses import dataclass

STUDENTS = "students"  # what learners write
PUBLIC = "public code"  # several projects have it, or had it
# Repositories on GitHub that have it or had it; here because more than one entry names them.
DIT = "facebookresearch/DiT"
DOME272 = "dome272/Diffusion-Models-pytorch"
LABML = "labmlai/annotated_deep_learning_paper_implementations#177"
LUCIDRAINS = "lucidrains/denoising-diffusion-pytorch"
TEAPEARCE = "TeaPearce/Conditional_Diffusion_MNIST"


# The tests of a module bear its name, but for these.
TESTS_OF_WING = {
    "metrics.evaluate": "metrics",
    "metrics.frechet": "metrics",
    "metrics.inception_score": "metrics",
    "metrics.nearest": "metrics",
    "metrics.spread": "metrics",
    "metrics.stratified": "metrics",
    "io.atomic": "atomic",
    "datasets.arrays": "datasets",
    "datasets.folder": "datasets",
    "datasets.glyphs": "glyphs",
    "metrics.glyph_reader": "glyph_reader",
    "bench.modes": "bench_modes",
}


@dataclass(frozen=True)
class Mistake:
    """`new` in the place of `old`, which its file holds once.

    Args:
        module: `step04_posterior`, `tutorial.appendix.a_elbo`, or `minicfg.solvers`.
        wrong: what is wrong, in a few words.
        seen: who makes it: STUDENTS, PUBLIC, or a repository, with its issue where one tells of it.
        old: a piece of the module's text.
        new: the mistaken piece. The module still has to import.
        by: how the test's name begins that will notice, where the tests before it take long.
    """

    module: str
    wrong: str
    seen: str
    old: str
    new: str
    by: str = ""

    def __str__(self) -> str:
        return f"{self.module}: {self.wrong}"

    @property
    def name(self) -> str:
        """The module as it is imported."""
        return self.module if "." in self.module else f"tutorial.{self.module}"

    @property
    def file(self) -> str:
        """Where it is, from the root."""
        return self.name.replace(".", "/") + ".py"

    @property
    def tests(self) -> str:
        """The tests that have to fail: the lesson's own, or the module's."""
        layer, *wing, module = self.name.split(".")
        name = TESTS_OF_WING.get(".".join([*wing, module]), module)
        folder = "hardening" if name in ("atomic", "signals") else layer
        if wing == ["appendix"]:
            folder = "tutorial/appendix"
        return f"tests/{folder}/test_{name}.py"

    def put_in(self, text: str) -> tuple[str, list[str]]:
        """The module's text with the mistake, and the tests to begin with, by how they are named.

        These are `by`, or the tests of the equations that the changed lines carry.
        """
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} holds {self.old!r} {text.count(self.old)} times, not 1")
        before, after = text.split(self.old)
        lines = before[before.rfind("\n") + 1 :] + self.old + after[: after.find("\n")]
        first = [f"test_{n.lower()}_{k}_by_" for n, k in re.findall(r"\((\w+)\.(\d+)\)", lines)]
        return before + self.new + after, [self.by] if self.by else first
