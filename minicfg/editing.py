"""Sampling that starts from pictures: image to image, between two images, and into a hole.

Each noises what is given, by `sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps` (step 3 of the course), and
runs the one loop of `minicfg.sampling` from there. Noise is that of the sample ids: the same seed
gives the same picture in any batch.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kernels import philox
from minicfg.errors import UsageError
from minicfg.sampling import Denoiser, Rule, chain, checked
from minicfg.solvers import Table

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from minicfg.schedule import Schedule


def noised(
    x0: Float[Tensor, "B *D"], t: int, schedule: Schedule, eps: Float[Tensor, "B *D"]
) -> Float[Tensor, "B *D"]:
    """`x0` with the noise of time `t`, 0..T."""
    if not 0 <= t <= schedule.T:
        raise UsageError(f"t = {t} is outside 0..{schedule.T}")
    abar = schedule.alpha_bar[t]
    return float(abar.sqrt()) * x0 + float((1 - abar).sqrt()) * eps


@torch.no_grad()
def image_to_image(
    model: Denoiser,
    x0: Float[Tensor, "B *D"],
    y: Int[Tensor, " B"],
    table: Table,
    schedule: Schedule,
    *,
    strength: float,
    w: float | Float[Tensor, " B"] = 0.0,
    seed: int = 0,
    sample_ids: Int[Tensor, " B"] | None = None,
    clip: float = math.inf,
    rule: Rule | None = None,
) -> Float[Tensor, "B *D"]:
    """Noise pictures part of the way, and sample from there (Meng et al. 2021, arXiv:2108.01073).

    Args:
        model: the denoiser that `table` was made for.
        x0: pictures to begin with.
        y: (B,) what they are to become.
        table: from `minicfg.solvers`, of `schedule`; without look-back, or for all of its rows.
        schedule: the one that `table` was made of.
        strength: share of the rows to run, 0..1: 0 leaves the pictures as they are, 1 forgets
            nearly all of them.
        w: guidance weight; it, seed, sample_ids, clip and rule are as in `minicfg.sample`.
        seed: see `w`.
        sample_ids: see `w`.
        clip: see `w`.
        rule: see `w`.

    Raises:
        UsageError: naming the argument.
    """
    if not 0 <= strength <= 1:
        raise UsageError(f"strength = {strength} is outside 0..1")
    _check_pictures("x0", x0, y)
    rows = round(strength * len(table))
    if rows == 0:
        return x0.clone()
    part = replace(table, t=table.t[-rows:], s=table.s[-rows:], rows=table.rows[-rows:])
    w, sample_ids = checked(model, y, part, w, sample_ids, clip, seed)
    start = noised(x0, int(part.t[0]), schedule, philox.normal(seed, sample_ids, 0, x0.shape[1:]))
    run = chain(model, y, part, start, w, seed, sample_ids, clip, rule, True, want_x0=False)
    return deque(run, maxlen=1).pop()[0]


def between(
    model: Denoiser,
    a: Float[Tensor, "B *D"],
    b: Float[Tensor, "B *D"],
    share: float,
    y: Int[Tensor, " B"],
    table: Table,
    schedule: Schedule,
    *,
    strength: float = 0.6,
    w: float | Float[Tensor, " B"] = 0.0,
    seed: int = 0,
    sample_ids: Int[Tensor, " B"] | None = None,
    clip: float = math.inf,
    rule: Rule | None = None,
) -> Float[Tensor, "B *D"]:
    """A picture between two: both noised alike, mixed, and sampled from there.

    (Ho et al. 2020, arXiv:2006.11239, sec. 4.4.) The same noise in both makes the mix of the noised
    ones the noised mix, so this is `image_to_image` of `(1 - share) a + share b`, `share` in 0..1.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"share = {share} is outside 0..1")
    _check_pictures("a", a, y)
    if b.shape != a.shape:
        raise UsageError(f"b has shape {tuple(b.shape)}: that of a is {tuple(a.shape)}")
    return image_to_image(
        model, (1 - share) * a + share * b, y, table, schedule, strength=strength, w=w, seed=seed,
        sample_ids=sample_ids, clip=clip, rule=rule,
    )  # fmt: skip


@torch.no_grad()
def inpaint(
    model: Denoiser,
    x0: Float[Tensor, "B *D"],
    known: Bool[Tensor, "B *D"],
    y: Int[Tensor, " B"],
    table: Table,
    schedule: Schedule,
    *,
    w: float | Float[Tensor, " B"] = 0.0,
    seed: int = 0,
    sample_ids: Int[Tensor, " B"] | None = None,
    clip: float = math.inf,
    rule: Rule | None = None,
) -> Float[Tensor, "B *D"]:
    """Sample what is not `known`, the known part put back after every row, noised as far.

    (Song et al. 2021, arXiv:2011.13456, app. I.2: replacement, which does not sample the exact
    conditional law.) What is known comes out as it went in. Arguments as in `image_to_image`.
    """
    _check_pictures("x0", x0, y)
    if known.shape != x0.shape or known.dtype != torch.bool:
        raise UsageError(f"known is {known.dtype} {tuple(known.shape)}: bool {tuple(x0.shape)}")
    w, sample_ids = checked(model, y, table, w, sample_ids, clip, seed)
    eps = philox.normal(seed, sample_ids, 0, x0.shape[1:])
    run = chain(model, y, table, eps, w, seed, sample_ids, clip, rule, True, want_x0=False)
    x = eps
    for s, (x, _) in zip(table.s.tolist(), run, strict=True):
        x.copy_(torch.where(known, noised(x0, s, schedule, eps), x))
    return x


def _check_pictures(name: str, x: Tensor, y: Tensor) -> None:
    """Refuse what would be broadcast, or is on another scale: bytes, for one."""
    if len(x) != len(y) or not x.is_floating_point() or not bool(x.isfinite().all()):
        raise UsageError(
            f"{name} is {x.dtype} {tuple(x.shape)}: {len(y)} pictures of finite floats are needed"
        )
