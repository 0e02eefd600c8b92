"""Sitting 8. A UNet on digits: the exercises, and the mistakes they name."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from kernels import philox
from minicfg.guidance import guide

from .exercise import formula, prediction, proof

_y = torch.tensor([3, 0, 1, 2, 0, 3, 1, 2])
_u = torch.tensor([0.05, 0.5, 0.09, 0.2, 0.01, 0.7, 0.3, 0.95])
_dropped = [(_y, _u, 0.1, 4), (_y, _u.flip(0), 0.4, 4), (_y + 3, _u, 0.25, 7), (_y, _u, 0.0, 4)]

ex_8_1 = formula(
    "8.1",
    "tutorial/step09_condition.py, (9.5) to (9.8)",
    lambda y, u, p, null: torch.where(u < p, null, y),
    _dropped,
    (
        lambda y, u, p, null: torch.where(u[0] < p, null, y),
        "one coin for the whole batch: no batch then teaches both models. Each image has its own "
        "u.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, y, null),
        "the other way round: labels are kept with probability p_uncond, and most are lost.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, 10, y),
        "the null label written as 10: that is K for digits, and for no other data. It is handed "
        "in.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, 0, y),
        "0 is a class: what is dropped has to get the label that no image has, K.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, -y, y),
        "labels multiplied by -1: class 0 stays class 0, and the others are no label at all.",
    ),
    (
        lambda y, u, p, null: torch.where(u < p, null - 1, y),
        "null - 1 is the last class: classes are 0..K-1, and null, K, is one row more.",
    ),
)

ex_8_2 = prediction(
    "8.2",
    "minicfg/training.py, `ema_decay`",
    0.995**300,
    0.0008,
    (
        0.0,
        "each step keeps 0.995 of what was there: after 300 that is little of it, but not nothing.",
    ),
    (1 - 0.995**300, "this is the share of all that was learnt; the start has the rest of 1."),
    (0.005, "this is the weight of the newest step alone."),
    (0.995, "this is what is left after one step: it is multiplied 300 times."),
    (1 / 300, "a plain mean of 300 has these weights; this average forgets by 0.005 a step."),
    (0.5, "half is left after about 140 steps."),
)

_c, _n = torch.from_numpy(np.random.default_rng(4).standard_normal((2, 4, 4, 3, 4)))
_w = torch.tensor([0.0, 1.0, 2.5, -1.0], dtype=torch.float64)

ex_8_3 = formula(
    "8.3",
    "tutorial/step11_guidance.py, (11.1) and (11.2)",
    guide,
    [(_c, _n, _w), (_n, _c, _w.flip(0)), (_c, 2 * _n, 3 * _w)],
    (
        lambda c, n, w: c + w * (c - n),
        "this is the mistake itself: (B,) against (B, C, H, W) lines up with the last axis, so "
        "each column of pixels gets a weight, and where W is B nobody complains.",
    ),
    (
        lambda c, n, w: c + w[:, None, None] * (c - n),
        "one axis short: lined up from the right, this weighs channels.",
    ),
    (lambda c, n, w: c + w.mean() * (c - n), "the mean of all weights: everybody gets the same."),
    (
        lambda c, n, w: n + w[:, None, None, None] * (c - n),
        "the right axis and the other convention: here w = 0 is the conditional model.",
    ),
    (lambda c, n, w: c + w[0] * (c - n), "the first sample's weight for all."),
)


def _each(seeds: list[int], shape: tuple[int, ...]) -> Any:
    """A picture of noise for each seed, from a generator of its own."""
    return torch.stack(
        [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    )


def _by_id(seed: int, ids: Any, shape: tuple[int, ...]) -> Any:
    return philox.normal(seed, torch.as_tensor(ids), 0, shape)


ex_8_4 = proof(
    "8.4",
    "tutorial/step22_swap_in.py, (22.1) and (22.3)",
    _by_id,
    (
        lambda seed, ids, shape: torch.randn(len(ids), *shape),
        "your test lets through torch's own stream: other noise whenever it is asked again.",
    ),
    (
        lambda seed, ids, shape: torch.randn(
            len(ids), *shape, generator=torch.Generator().manual_seed(seed)
        ),
        "your test lets through noise by place in the batch: sample 5 asked for alone gets what is "
        "sample 0's in a batch.",
    ),
    (
        lambda seed, ids, shape: _by_id(seed, sorted(map(int, ids)), shape),
        "your test lets through one that sorts the ids: samples asked for in another order get "
        "each other's noise.",
    ),
    (
        lambda seed, ids, shape: _by_id(seed, [0] * len(ids), shape),
        "your test lets through the same noise for all: samples of two ids have to differ.",
    ),
    (
        lambda seed, ids, shape: _by_id(0, ids, shape),
        "your test lets through one that never looks at the seed.",
    ),
    (
        lambda seed, ids, shape: _each([seed + int(i) for i in ids], shape),
        "your test lets through seed + id: sample 3 of seed 7 is then sample 2 of seed 8, so two "
        "seeds share nearly all of their samples.",
    ),
)
