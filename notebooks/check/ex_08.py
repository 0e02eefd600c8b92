"""Sitting 8. A UNet and its training loop: the exercises, and the mistakes they name."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from kernels import philox
from minicfg.guidance import guide

from .exercise import Exercise, formula, prediction, proof
from .interpreter import Solution
from .training_loop import HINTS, diagnosis


# 8.0: `my_unet(x, down, middle, up, halve, double)`. The parts of the check accept any number of
# channels and keep the size of a picture, so that a wrong order gives wrong numbers and no error.
def _part(seed: int) -> Any:
    """A stand-in for a block: 2 channels, each a function of all channels of its input."""

    def part(x: torch.Tensor) -> torch.Tensor:
        channel = torch.arange(x.shape[1])
        mix = torch.cos(seed + channel + 2.3 * torch.arange(2)[:, None]).double()
        return torch.tanh(torch.einsum("oc,bchw->bohw", mix, x))

    return part


def _halve(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x.roll(1, -1) + 0.1


def _double(x: torch.Tensor) -> torch.Tensor:
    return x.roll(1, -2) - 0.2


def _unet(
    skip: int = -1,
    use: Any = lambda x, kept: torch.cat([x, kept], 1),
    before: bool = False,
    middle_too: bool = True,
    halvings: str = "between",
    doublings: str = "between",
    turned: bool = False,
    keep: bool = False,
    middle_kept: bool = False,
    doubled_skips: bool = False,
    start_again: bool = False,
) -> Any:
    """The wiring of a UNet, or one with a mistake."""

    def wired(x: Any, down: Any, middle: Any, up: Any, halve: Any, double: Any) -> Any:
        kept, first = [], x
        for i, block in enumerate(down):
            x = first if start_again else x
            if halvings == "before" or (i and halvings == "between"):
                x = halve(x)
            if before:
                kept.append(x)
            x = block(x)
            if not before:
                kept.append(x)
            if halvings == "after":
                x = halve(x)
        x = middle(x) if middle_too else x
        if middle_kept:
            kept.append(x)
        for i, block in enumerate(reversed(up) if turned else up):
            if doublings == "before" or (i and doublings == "between"):
                x = double(x)
            skipped = kept[skip] if keep else kept.pop(skip)
            x = block(use(x, double(skipped) if doubled_skips and i else skipped))
            if doublings == "after":
                x = double(x)
        return x

    return wired


_X = torch.from_numpy(np.random.default_rng(8).standard_normal((2, 2, 4, 4)))
_parts = [
    (
        _X[:, :, : 4 - i],
        [_part(k) for k in range(n)],
        _part(20),
        [_part(10 + k) for k in range(n)],
        _halve,
        _double,
    )
    for i, n in enumerate((2, 3))
]

ex_8_0 = formula(
    "8.0",
    "minicfg/unet.py, the method forward",
    _unet(),
    _parts,
    (
        _unet(use=lambda x, kept: x),
        "the outputs of the way down are not used: without them the way up has to draw thin "
        "strokes from a picture of a quarter of the size.",
    ),
    (
        _unet(skip=0),
        "the outputs are used in the order in which they were kept. The last of them belongs to "
        "the first block of the way up: take them from the end, kept.pop().",
    ),
    (_unet(use=lambda x, kept: x + kept), "they are added; concatenate them: torch.cat(..., 1)."),
    (
        _unet(use=lambda x, kept: torch.cat([kept, x], 1)),
        "concatenated in the other order: first x, then what was kept.",
    ),
    (_unet(before=True), "the input of each block is kept; keep its output."),
    (_unet(middle_too=False), "the block in the middle is left out."),
    (
        _unet(halvings="after", doublings="before"),
        "the picture is halved after the last block too, and doubled before the first: with three "
        "levels there are two halvings and two doublings.",
    ),
    (
        _unet(halvings="before", doublings="after"),
        "the picture is halved before the first block too, and doubled after the last one: the "
        "first and the last block work at full size.",
    ),
    (
        _unet(turned=True),
        "the blocks of the way up are applied from the last to the first: up is in the order of "
        "the way up already.",
    ),
    (_unet(doublings="never"), "the picture is never doubled."),
    (_unet(halvings="never"), "the picture is never halved."),
    (_unet(doublings="never", halvings="never"), "the picture is neither halved nor doubled."),
    (
        _unet(halvings="before"),
        "the picture is halved before the first block, too. That block works at full size: halve "
        "where i > 0.",
    ),
    (
        _unet(halvings="after"),
        "the picture is halved after every block of the way down. After the last one it stays as "
        "it is: `middle` has the same size.",
    ),
    (
        _unet(doublings="before"),
        "the picture is doubled before the first block of the way up, too. That block has the size "
        "of `middle`: double where i > 0.",
    ),
    (
        _unet(doublings="after"),
        "the picture is doubled after every block of the way up. After the last one it stays as it "
        "is.",
    ),
    (
        _unet(keep=True),
        "every block of the way up gets the last output that was kept. Each gets another one: "
        "kept.pop() removes what it returns.",
    ),
    (
        _unet(keep=True, skip=0),
        "every block of the way up gets the first output that was kept. Each gets another one.",
    ),
    (
        _unet(middle_kept=True),
        "the output of `middle` is kept as well. It is x already; keep those of the way down only.",
    ),
    (
        _unet(doubled_skips=True),
        "what was kept is doubled, too. It has the right size as it is; double x.",
    ),
    (
        _unet(start_again=True),
        "every block of the way down starts from the first picture again. Its input is the output "
        "of the block before, halved.",
    ),
    look="Write down the order for two levels: down[0], halve, down[1], middle, up[0] with the "
    "output of down[1], double, up[1] with that of down[0].",
    solutions=(
        Solution(
            """
        def solved(x, down, middle, up, halve, double):
            kept = []
            for i, block in enumerate(down):
                if i > 0:
                    x = halve(x)
                x = block(x)
                kept.append(x)
            x = middle(x)
            for i, block in enumerate(up):
                if i > 0:
                    x = double(x)
                x = block(torch.cat([x, kept.pop()], dim=1))
            return x
        """,
            {"torch": torch},
            most_pairs=0,
            is_slow=True,
        ),
    ),
)

_y = torch.tensor([3, 0, 1, 2, 0, 3, 1, 2])
_u = torch.tensor([0.05, 0.5, 0.09, 0.2, 0.01, 0.7, 0.3, 0.95])
_others = torch.tensor([0.65, 0.35, 0.85, 0.04, 0.55, 0.15, 0.92, 0.45])  # another mean, too
_dropped = [(_y, _u, 0.1, 4), (_y, _others, 0.4, 4), (_y + 3, _u, 0.25, 9), (_y, _u, 0.0, 4)]

ex_8_1 = formula(
    "8.1",
    "tutorial/step09_condition.py, (9.5) to (9.8)",
    lambda y, u, p, null: torch.where(u < p, null, y),
    _dropped,
    (
        lambda y, u, p, null: torch.where(u[0] < p, null, y),
        "one random number for the whole batch: then no batch trains both predictions. Each image "
        "has its own u.",
    ),
    (
        lambda y, u, p, null: torch.where(u.mean() < p, null, y),
        "one decision for the whole batch, by the mean of u. Compare each number of u with p: the "
        "labels are dropped one by one.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, y, null),
        "the other way round: labels are kept with probability p, and most are lost.",
    ),
    (
        lambda y, u, p, null: torch.where(u < 1 - p, null, y),
        "labels are dropped with probability 1 - p; u < p has the probability p.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, 10, y),
        "the null label is written as 10, which is K for ten classes only. Use the argument null.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, 0, y),
        "0 is a class. A dropped label becomes K, which no image has.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, -y, y),
        "labels are multiplied by -1: class 0 stays class 0, and the table has no row for the "
        "others.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, null - 1, y),
        "null - 1 is the last class: classes are 0..K-1, and the null label is K.",
    ),
    (
        lambda y, u, p, null: y * (u >= p) + null,
        "null is added to the labels that are kept, too.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, null + 1, y),
        "null + 1 is outside of the table: its rows are 0..K, and null is K, the last of them.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, y.max() + 1, y),
        "the null label is taken from the largest label of the batch, which need not be K - 1. Use "
        "the argument null.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, -1, y),
        "a dropped label becomes -1. nn.Embedding refuses it, and NumPy would take the last row.",
    ),
    solutions=(
        Solution(
            """
        def solved(y, u, p, null):
            return torch.where(u < p, null, y)
        """,
            {"torch": torch},
            most_pairs=0,
        ),
    ),
)

ex_8_2 = Exercise(
    "8.2",
    "minicfg/training.py, the function _training_steps",
    lambda loop: diagnosis(loop) == "",
    tuple((lambda loop, name=name: diagnosis(loop) == name, hint) for name, hint in HINTS.items()),
)

ex_8_3 = prediction(
    "8.3",
    "minicfg/training.py, the function ema_decay",
    0.995**500,
    0.0008,
    (
        0.0,
        "each step keeps 0.995 of it: after 500 steps little is left, but not nothing.",
    ),
    (1 - 0.995**500, "this is the fraction of all later weights; the start has the rest."),
    (0.005, "this is the factor of the newest weights."),
    (0.995, "this is what one step keeps. There are 500 steps, and each keeps 0.995 of the rest."),
    (1 / 500, "this is the factor in a plain mean of 500 weights."),
    (0.5, "half is left after about 140 steps."),
    (2.5, "this is 500 x 0.005, the sum of what the steps take away. Each step multiplies by d."),
    (-1.5, "0.005 is not taken away 500 times. Each step multiplies what is left by 0.995."),
    (497.5, "this is 500 x 0.995. Each step multiplies by 0.995, so it is a power."),
    (0.995**50, "this is the factor after 50 steps."),
    (0.995**5, "this is the factor after 5 steps, d^5. There are 500."),
    (
        (1 - 0.995**500) / 0.005,
        "this is the sum of the powers of 0.995. One of them is asked for, that of 500 steps.",
    ),
    look="In the two displayed lines a_0 has the factor d after one step and d^2 after two.",
    given={"d": 0.995, "steps": 500},
    source="d ** steps",
)

_c, _n = torch.from_numpy(np.random.default_rng(4).standard_normal((2, 4, 4, 3, 4)))
_w = torch.tensor([0.0, 1.0, 2.5, -1.0], dtype=torch.float64)

ex_8_4 = formula(
    "8.4",
    "tutorial/step11_guidance.py, (11.1) and (11.2)",
    guide,
    [(_c, _n, _w), (_n, _c, _w.flip(0)), (_c, 2 * _n, 3 * _w)],
    (
        lambda c, n, w: c + w * (c - n),
        "this is the mistake itself: shapes are aligned from the right, so the B weights belong to "
        "the last axis, W, and each column of pixels gets a weight. It raises an error only where "
        "W is not B.",
    ),
    (
        lambda c, n, w: c + w[:, None, None] * (c - n),
        "one axis is missing: aligned from the right, the weights belong to the channels.",
    ),
    (lambda c, n, w: c + w.mean() * (c - n), "the mean of the weights is used for all samples."),
    (
        lambda c, n, w: n + w[:, None, None, None] * (c - n),
        "the axis is right, and the convention is the other one: here w = 0 is the conditional "
        "model.",
    ),
    (lambda c, n, w: c + w[0] * (c - n), "the first sample's weight is used for all samples."),
    (
        lambda c, n, w: (1 + w[:, None, None, None]) * c - n,
        "the axis is right; the null output has the factor -w, and here -1.",
    ),
    (
        lambda c, n, w: c + w[:, None, None, None] * (c + n),
        "the axis is right; the null output is added. It has the factor -w.",
    ),
    (
        lambda c, n, w: c + w[:, None, None, None] * (n - c),
        "the axis is right; the difference has the wrong sign, so that this guides away from the "
        "label.",
    ),
    (
        lambda c, n, w: w[:, None, None, None] * (c - n),
        "the axis is right; this is what guidance adds. Add it to the conditional output.",
    ),
    (
        lambda c, n, w: c + torch.einsum("b,bchw->chw", w, c - n),
        "the weights times the differences are added up over the batch. Keep the axis b.",
    ),
    (
        lambda c, n, w: c + w.long()[:, None, None, None] * (c - n),
        "the axis is right; the weights are rounded to integers.",
    ),
    (
        lambda c, n, w: c.flatten(1) + w[:, None] * (c - n).flatten(1),
        "the weights are right, and the result is flattened. Give it the shape of the outputs.",
    ),
    look="Take one sample by itself: it has to be out_cond + w (out_cond - out_null) with its own "
    "number w.",
    solutions=(
        Solution(
            """
        def solved(out_cond, out_null, w):
            return out_cond + w[:, None, None, None] * (out_cond - out_null)
        """,
            {"torch": torch},
        ),
        Solution(
            """
            def solved(out_cond, out_null, w):
                w = w[:, None, None, None]
                return (1 + w) * out_cond - w * out_null
            """,
            {"torch": torch},
        ),
    ),
)


def _each(seeds: list[int], shape: tuple[int, ...]) -> Any:
    """A picture of noise for each seed, from its own generator."""
    return torch.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    )


def _by_id(seed: int, ids: Any, shape: tuple[int, ...]) -> Any:
    return philox.normal(seed, torch.as_tensor(ids), 0, shape)


ex_8_5 = proof(
    "8.5",
    "tutorial/step22_swap_in.py, (22.1) and (22.3)",
    _by_id,
    (
        lambda seed, ids, shape: torch.randn(len(ids), *shape),
        "your test passes for torch's global generator, which returns other noise at every call.",
    ),
    (
        lambda seed, ids, shape: torch.randn(
            len(ids), *shape, generator=torch.Generator().manual_seed(seed)
        ),
        "your test passes for noise that depends on the place in the batch: drawn alone, sample 5 "
        "gets the noise that sample 0 has in a batch.",
    ),
    (
        lambda seed, ids, shape: _by_id(seed, sorted(map(int, ids)), shape),
        "your test passes for a function that sorts the ids: in another order, samples get each "
        "other's noise.",
    ),
    (
        lambda seed, ids, shape: _by_id(seed, [0] * len(ids), shape),
        "your test passes for the same noise for all: two ids must have different noise.",
    ),
    (
        lambda seed, ids, shape: _by_id(0, ids, shape),
        "your test passes for a function that ignores the seed.",
    ),
    (
        lambda seed, ids, shape: _each([seed + int(i) for i in ids], shape),
        "your test passes for seed + id: then sample 3 of seed 7 is sample 2 of seed 8, and two "
        "neighbouring seeds have nearly all samples in common.",
    ),
)
