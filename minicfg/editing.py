"""Sampling that starts from images: image to image, and inpainting.

Both add noise to the given images, `sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps` (step 3 of the
course), and run the loop of `minicfg.sampling` from there. Noise is a function of the seed and the
sample ids, so the same seed gives the same image in any batch.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kernels import philox
from minicfg.conditions import batch_size
from minicfg.errors import UsageError, check_number, check_type, short_repr
from minicfg.sampling import (
    Denoiser,
    GivenCondition,
    Rule,
    Student,
    chain,
    last_state,
    prepare_job,
)
from minicfg.schedule import Schedule
from minicfg.solvers import Table, check_schedule

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


# The data lie in -1..1. A sample of an unclipped chain may lie outside, but not by such a factor;
# bytes in floating point reach 255.
LARGEST = 10.0


def noised(
    x0: Float[Tensor, "B *D"], t: int, schedule: Schedule, eps: Float[Tensor, "B *D"]
) -> Float[Tensor, "B *D"]:
    """`x0` with the noise of time `t`, 0..T."""
    check_type("schedule", schedule, Schedule, "pass a minicfg.Schedule")
    _check_floats("x0", x0)
    _check_floats("eps", eps)
    if eps.shape != x0.shape:
        raise UsageError(f"eps has shape {tuple(eps.shape)}; pass that of x0, {tuple(x0.shape)}")
    if isinstance(t, bool) or not isinstance(t, int):
        raise UsageError(f"t = {short_repr(t)} is not an integer; pass one in 0..{schedule.T}")
    if not 0 <= t <= schedule.T:
        raise UsageError(f"t = {t} is outside 0..{schedule.T}; pass a time inside")
    abar = schedule.alpha_bar[t]
    return float(abar.sqrt()) * x0 + float((1 - abar).sqrt()) * eps


def image_to_image(
    model: Denoiser | Student,
    x0: Float[Tensor, "B *D"],
    y: GivenCondition,
    table: Table,
    schedule: Schedule,
    *,
    strength: float,
    w: float | Float[Tensor, " B"] = 0.0,
    seed: int = 0,
    sample_ids: Int[Tensor, " B"] | None = None,
    null: GivenCondition | None = None,
    clip: float = math.inf,
    rule: Rule | None = None,
) -> Float[Tensor, "B *D"]:
    """Add noise to images part of the way, and sample from there (arXiv:2108.01073).

    To interpolate between two images, pass their weighted sum, `(1 - fraction) a + fraction b` (Ho
    et al. 2020, arXiv:2006.11239, sec. 4.4): with the same noise in both, the sum of the noised
    images is the noised sum.

    Args:
        model: the denoiser for which `table` was made.
        x0: (B, *D) images to start from, on the scale of the data, at most 10 in absolute value.
        y: labels of the result, or another condition, as in `minicfg.sample`.
        table: from `minicfg.solvers`, made of `schedule`. A table that looks back can only be run
            whole.
        schedule: the noise schedule.
        strength: fraction of the rows to run, 0..1. At 0 the images are returned as they are; at 1
            almost nothing is left of them.
        w: guidance weight, as in `minicfg.sample`.
        seed: as in `minicfg.sample`.
        sample_ids: as in `minicfg.sample`.
        null: as in `minicfg.sample`.
        clip: as in `minicfg.sample`.
        rule: as in `minicfg.sample`.

    Raises:
        UsageError: naming the argument.
    """
    check_number("strength", strength, "pass a number in 0..1")
    if not 0 <= strength <= 1:
        raise UsageError(f"strength = {strength} is outside 0..1; pass a number inside")
    _check_floats("x0", x0)
    check_schedule(table, schedule)
    job = prepare_job(
        model,
        y,
        table,
        x0.shape[1:],
        w=w,
        seed=seed,
        sample_ids=sample_ids,
        clip=clip,
        rule=rule,
        null=null,
    )
    _check_pictures("x0", x0, batch_size(job.y))
    rows = round(strength * len(table))
    if rows == 0:
        return x0.clone()
    if table.rows[-rows, 6] != 0:
        raise UsageError(
            f"strength = {strength} begins at row {len(table) - rows} of the table, which looks "
            "back to a step that does not exist; use strength = 1, or a table of ddim or ddpm"
        )
    part = replace(table, t=table.t[-rows:], s=table.s[-rows:], rows=table.rows[-rows:])
    job = replace(job, table=part)
    eps = philox.normal(job.seed, job.sample_ids, 0, job.shape)
    return last_state(chain(job, noised(x0, int(part.t[0]), schedule, eps)))


def inpaint(
    model: Denoiser | Student,
    x0: Float[Tensor, "B *D"],
    known: Bool[Tensor, "B *D"],
    y: GivenCondition,
    table: Table,
    schedule: Schedule,
    *,
    w: float | Float[Tensor, " B"] = 0.0,
    seed: int = 0,
    sample_ids: Int[Tensor, " B"] | None = None,
    null: GivenCondition | None = None,
    clip: float = math.inf,
    rule: Rule | None = None,
) -> Float[Tensor, "B *D"]:
    """Sample the pixels that are not `known`; after every row the known ones are put back, noised.

    This is replacement (Song et al. 2021, arXiv:2011.13456, app. I.2), which does not sample the
    exact conditional distribution. Known pixels are returned unchanged. The arguments are those of
    `image_to_image`; `known` is a bool tensor of the shape of `x0`.
    """
    _check_floats("x0", x0)
    check_type("known", known, Tensor, "pass a bool tensor of the shape of x0")
    if known.shape != x0.shape or known.dtype != torch.bool:
        raise UsageError(
            f"known is {known.dtype} {tuple(known.shape)}; pass a bool tensor of shape "
            f"{tuple(x0.shape)}"
        )
    check_schedule(table, schedule)
    job = prepare_job(
        model,
        y,
        table,
        x0.shape[1:],
        w=w,
        seed=seed,
        sample_ids=sample_ids,
        clip=clip,
        rule=rule,
        null=null,
    )
    _check_pictures("x0", x0, batch_size(job.y))
    eps = philox.normal(job.seed, job.sample_ids, 0, job.shape)
    x = eps
    states = chain(job, eps)
    for s, (x, _) in zip(table.s.tolist(), states, strict=True):
        x.copy_(torch.where(known, noised(x0, s, schedule, eps), x))
    return x


def _check_floats(name: str, x: Tensor) -> None:
    """Refuse what is not a tensor of floats; integers would be on another scale."""
    check_type(name, x, Tensor, "pass a tensor of floats, (B, C, H, W) of images")
    if not x.is_floating_point() or x.ndim == 0:
        raise UsageError(f"{name} is {x.dtype} {tuple(x.shape)}; pass finite floats, one per label")


def _check_pictures(name: str, x: Tensor, B: int) -> None:
    """Refuse images that would be broadcast, are not finite, or lie on another scale."""
    if len(x) != B or not bool(x.isfinite().all()):
        raise UsageError(
            f"{name} is {x.dtype} {tuple(x.shape)}; pass {B} images of finite floats, one per label"
        )
    largest = float(x.abs().max()) if x.numel() else 0.0
    if largest > LARGEST:
        raise UsageError(
            f"{name} reaches {largest:g} in absolute value; pass images on the scale of the data "
            "that the model was trained on, -1..1 for minicfg.Dataset (bytes: x / 127.5 - 1)"
        )
