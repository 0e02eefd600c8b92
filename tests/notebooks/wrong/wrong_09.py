"""Wrong answers in sitting 9: exercise, answer, and a phrase of the hint that is meant for it.

Kernels are made from their text, with wrong lines in the place of right ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .kernel import Kernel

MIX = """
def my_mix(out, g, w, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    cond = tl.load(out + at, mask=inside)
    null = tl.load(out + n + at, mask=inside)
    tl.store(g + at, cond + w * (cond - null), mask=inside)
"""

STEP = """
def my_step(xt, out, xs, row, w, clip, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    p, q, a, b = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    m = tl.load(row + 7)
    x = tl.load(xt + at, mask=inside).to(tl.float32)
    cond = tl.load(out + at, mask=inside).to(tl.float32)
    null = tl.load(out + n + at, mask=inside).to(tl.float32)
    g = cond + m * w * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip)
    tl.store(xs + at, a * x0hat + b * x, mask=inside)
"""

NOISE = """
def my_noise_step(xt, out, xs, row, w, clip, seed, n, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    at = program * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    p, q, a, b = tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)
    c, m = tl.load(row + 4), tl.load(row + 7)
    x = tl.load(xt + at, mask=inside)
    cond = tl.load(out + at, mask=inside)
    null = tl.load(out + n + at, mask=inside)
    x0hat = tl.clamp(p * x + q * (cond + m * w * (cond - null)), -clip, clip)
    y = a * x0hat + b * x + c * tl.randn(seed, at)
    tl.store(xs + at, y, mask=inside)
"""


def mix(*changes: tuple[str, str]) -> Kernel:
    return Kernel(MIX, *changes)


def step(*changes: tuple[str, str]) -> Kernel:
    return Kernel(STEP, *changes)


def noise(*changes: tuple[str, str]) -> Kernel:
    return Kernel(NOISE, *changes)


UNMASKED = [
    ("cond = tl.load(out + at, mask=inside)", "cond = tl.load(out + at)"),
    ("(cond - null), mask=inside)", "(cond - null))"),
]
PADDED = [("out + n + at", "out + tl.num_programs(0) * BLOCK + at")]
IDS = torch.tensor([3, 1, 4, 0])


def asks(*questions: str) -> Any:
    """A test of some of the questions that a whole test asks."""

    def test(noise: Any) -> None:
        z = noise(9, IDS, 2, (5,))
        if "order" in questions:
            turned = noise(9, IDS[[2, 0, 3, 1]], 2, (5,))
            assert torch.equal(turned, z[[2, 0, 3, 1]])
        if "ids" in questions:
            assert not torch.equal(z[0], z[1])
        if "steps" in questions:
            assert not torch.equal(noise(9, IDS, 5, (5,)), z)
        if "seeds" in questions:
            assert not torch.equal(noise(8, IDS, 2, (5,)), z)
        if "wide seeds" in questions:
            assert not torch.equal(noise(9 + 2**32, IDS, 2, (5,)), z)
        if "both" in questions:
            assert not torch.equal(noise(9, IDS[1:2], 4, (5,)), z[:1])  # 1 + 4 = 3 + 2
        if "one alone" in questions:
            assert torch.equal(noise(9, IDS[2:3], 2, (5,)), z[2:3])

    return test


WRONG: list[tuple[str, Any, str]] = [
    ("9.1", 22 / 3, "has to be written, too"),
    ("9.1", 4.4, "have read the noise"),
    ("9.1", 4.75, "the count of kernels/reference.py"),
    ("9.1", 13 / 3, "only the reads"),
    ("9.1", 9, "nine launches"),
    ("9.1", 22, "that is what the nine operations move"),
    ("9.1", 4, "that is what one pass moves"),
    ("9.2", mix(*UNMASKED, *PADDED), "these are both mistakes"),
    ("9.2", mix(*PADDED), "the mask is right, but"),
    ("9.2", mix(*UNMASKED), "are not masked"),
    ("9.2", mix(UNMASKED[1]), "are not masked"),
    ("9.2", mix(("inside = at < n", "inside = at <= n")), "one place too many"),
    ("9.2", mix(("inside = at < n", "inside = tl.arange(0, BLOCK) < n")),
     "the place within a program"),
    ("9.2", mix(("tl.program_id(0) * BLOCK", "tl.program_id(0)")), "starts at i, not at"),
    ("9.2", mix(("out + n + at", "out + BLOCK + at")), "from BLOCK on"),
    ("9.2", mix(("inside = at < n", "inside = at < 2 * n")), "compares with 2 n"),
    ("9.2", mix(("    tl.store(g + at, cond + w * (cond - null), mask=inside)\n",
                 "    g = cond + w * (cond - null)\n")), "nothing is written"),
    ("9.2", mix(("cond + w * (cond - null)", "null + w * (cond - null)")), "other convention"),
    ("9.3", step(("m * w", "w")), "m is left out"),
    ("9.3", step(("g = cond + m", "g = null + m")), "the other convention"),
    ("9.3", step(("g = cond + m * w * (cond - null)", "g = m * (cond + w * (cond - null))")),
     "m multiplies the whole mix"),
    ("9.3", step(("g = cond + m * w * (cond - null)", "g = cond")), "the step without guidance"),
    ("9.3", step(("tl.clamp(p * x + q * g, -clip, clip)", "p * x + q * g")), "nothing is clipped"),
    ("9.3", step(
        ("tl.clamp(p * x + q * g, -clip, clip)", "x0c + m * w * (x0c - x0n)"),
        ("    g = cond + m * w * (cond - null)\n",
         "    x0c = tl.clamp(p * x + q * cond, -clip, clip)\n"
         "    x0n = tl.minimum(tl.maximum(p * x + q * null, -clip), clip)\n"),
     ), "clipped before mixing"),
    ("9.3", step(("tl.clamp(p * x + q * g, -clip, clip)", "p * x + q * tl.clamp(g, -clip, clip)")),
     "the output g of the network"),
    ("9.3", step(("p * x + q * g", "p * x - q * g")), "the sign of q"),
    ("9.3", step(("a * x0hat + b * x", "b * x0hat + a * x")), "a and b are exchanged"),
    ("9.3", step(("a * x0hat + b * x", "x0hat")), "this is x0hat"),
    ("9.3", step(("a * x0hat + b * x, mask=inside", "a * x0hat + b * x")), "no mask at the store"),
    ("9.3", step(("out + n + at", "out + BLOCK + at")), "from BLOCK on"),
    ("9.3", step(("m = tl.load(row + 7)", "m = tl.load(row + 4)")), "m is read as 0"),
    ("9.3", step(("a * x0hat + b * x,", "(a * x0hat + b * x).to(tl.float16),")),
     "is rounded to float16 as well"),
    ("9.3", step(("p * x + q * g", "q * x + p * g")), "p and q are exchanged"),
    ("9.3", step(("-clip, clip)", "0.0, clip)")), "clipped to 0..clip"),
    ("9.3", step(("tl.clamp(p * x + q * g, -clip, clip)", "p * x + q * g"),
                 ("a * x0hat + b * x,", "tl.clamp(a * x0hat + b * x, -clip, clip),")),
     "the new state x_s is clipped"),
    ("9.3", step(("tl.program_id(0) * BLOCK", "tl.program_id(0)")), "starts at i, not at"),
    ("9.3", step(
        ("cond = tl.load(out + at, mask=inside).to(tl.float32)",
         "cond = tl.load(out + at, mask=inside)"),
        ("null = tl.load(out + n + at, mask=inside).to(tl.float32)",
         "null = tl.load(out + n + at, mask=inside)"),
     ), "cond - null is rounded"),
    ("9.4", noise(("y, mask=inside", "y")), "the store has no mask"),
    ("9.4", noise(("tl.randn(seed, at)", "tl.randn(seed, tl.arange(0, BLOCK))")),
     "every program draws the same noise"),
    ("9.4", noise(("tl.randn(seed, at)", "tl.randn(seed, program + 0 * at)")),
     "the counter is the number of"),
    ("9.4", noise(("tl.randn(seed, at)", "tl.randn(seed, 0 * at)")), "the counter is constant"),
    ("9.4", noise(("tl.randn", "tl.rand")), "is uniform in 0..1"),
    ("9.4", noise(("c * tl.randn", "c * c * tl.randn")), "c squared"),
    ("9.4", noise(("c * tl.randn", "tl.randn")), "without its factor c"),
    ("9.4", noise((" + c * tl.randn(seed, at)", "")), "there is no noise"),
    ("9.4", noise(("b * x + c * tl.randn(seed, at)", "b * (x + c * tl.randn(seed, at))")),
     "so that b multiplies it too"),
    ("9.4", noise(("tl.store(xs + at, y,", "tl.store(xs + at, tl.clamp(y, -clip, clip),")),
     "the new state is clipped"),
    ("9.5", asks("ids", "steps", "seeds"), "place in the batch"),
    ("9.5", asks("order", "steps", "seeds", "wide seeds"), "the same for every sample"),
    ("9.5", asks("order", "ids", "seeds", "both"), "same at every step"),
    ("9.5", asks("order", "ids", "steps", "one alone"), "without a seed"),
    ("9.5", asks("order", "ids", "steps", "seeds"), "upper half of the seed"),
    ("9.5", asks("order", "ids", "steps", "seeds", "wide seeds"), "noise of id + step"),
    ("9.5", asks("order", "ids", "steps", "seeds", "wide seeds", "both"), "a batch of one"),
    ("9.5", lambda noise: np.testing.assert_array_equal(noise(1, IDS, 0, (3,)), 0),
     "your test fails for the lesson's own"),
    ("9.1", 22 - 4, "this is the difference"),
    ("9.1", 18 / 4, "a step that draws no noise"),
    ("9.1", 9 * 3 / 4, "2 reads and 1 write here"),
    ("9.1", 5.75, "one pass too many"),
    ("9.1", 24 / 4, "two passes too many"),
    ("9.1", 21 / 4, "one pass is missing"),
    ("9.1", 20 / 4, "two passes are missing"),
    ("9.1", 9 / 4, "the writes of the nine, divided"),
    ("9.1", 13 / 4, "the reads of the nine, divided"),
    ("9.2", mix(("tl.program_id(0) * BLOCK + tl.arange", "tl.arange")), "only the first BLOCK"),
    ("9.2", mix(("inside = at < n", "inside = (at < n) & (at < BLOCK)")), "only the first BLOCK"),
    ("9.2", mix(("(cond - null)", "(null - cond)")), "has the wrong sign"),
    ("9.2", mix(("out + n + at", "out + n // 2 + at")), "from n / 2 on"),
    ("9.2", mix(("out + n + at", "out + n + at - 1")), "from n - 1 on"),
    ("9.2", mix(("tl.load(out + at", "tl.load(out + 2 * at"), ("out + n + at", "out + 2 * at + 1")),
     "read as pairs"),
    ("9.2", mix(("out + n + at, mask=inside", "out + n + at, mask=n + at < n, other=0.0")),
     "is read as 0"),
    ("9.2", mix(("out + n + at", "out + at")), "from the same places"),
    ("9.3", step(*PADDED), "if n were a multiple of BLOCK"),
    ("9.3", step(("(cond - null)", "(null - cond)")), "the difference has the wrong sign"),
    ("9.3", step(("tl.load(row + 3)", "tl.load(row + 4)")), "b is read as 0"),
    ("9.3", step(("+ b * x,", "+ b * x0hat,")), "b multiplies x0hat"),
    ("9.3", step(("tl.clamp(p * x + q * g, -clip, clip)", "tl.minimum(p * x + q * g, clip)")),
     "only the upper end"),
    ("9.3", step(("-clip, clip)", "-1.0, 1.0)")), "clipped to -1..1"),
    ("9.3", step(
        ("tl.load(row), tl.load(row + 1), tl.load(row + 2), tl.load(row + 3)",
         "tl.load(row + 1), tl.load(row + 2), tl.load(row + 3), tl.load(row + 4)"),
     ), "one place too late"),
    ("9.4", noise(("tl.randn(seed, at)", "tl.randn(seed, at // 2)")),
     "some places have the same noise"),
    ("9.4", noise(("tl.randn(seed, at)", "tl.randn(seed, at % 16)")),
     "some places have the same noise"),
    ("9.4", noise(("tl.randn(seed, at)", "tl.randn(seed, program + tl.arange(0, BLOCK))")),
     "some places have the same noise"),
    ("9.4", noise(("tl.randn(seed, at)", "tl.randn(at, seed)")), "seed and counter are exchanged"),
    ("9.4", noise(("tl.randn(seed, at)", "tl.randn(seed + program, tl.arange(0, BLOCK))")),
     "plus the number of the program"),
    ("9.4", noise(("tl.randn(seed, at)", "tl.randn(seed + at, at)")),
     "the place is added to the seed"),
    ("9.4", noise(("+ c * tl", "- c * tl")), "c z is subtracted"),
    ("9.4", noise(("c * tl.randn", "tl.sqrt(c) * tl.randn")), "by the root of c"),
    ("9.4", noise(("c * tl.randn", "b * tl.randn")), "multiplied by b. Its"),
    ("9.4", noise(("c * tl.randn", "x * c * tl.randn")), "multiplied by x"),
    ("9.4", noise(("(cond - null))", "(cond - null)) + c * tl.randn(seed, at)"),
                  ("b * x + c * tl.randn(seed, at)\n", "b * x\n")), "added to the guess"),
    ("9.2", mix(("cond + w * (cond - null)", "null + w * (null - cond)")), "halves are exchanged"),
    ("9.1", 3.5, "one too many? Count"),
]  # fmt: skip
