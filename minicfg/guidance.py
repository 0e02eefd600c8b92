"""Classifier-free guidance: the mix, rules that bend it, and the other convention.

A rule is `rule(out_cond, out_null, w, xt, p, q) -> g`, with `p`, `q` of the solver's row, in which
`p xt + q g` is the guess of x_0. `functools.partial(rescale, phi=0.5)` sets its parameter. A rule
remembers nothing. So these rules of step 17 are not among them: APG's momentum needs the rows
before, ReCFG the means of both outputs, and model guidance another training. Two are no rules: a
limited interval is a column of the table (`solvers.with_interval`), and autoguidance another model
(`adapters.Autoguided`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from minicfg.config import (
    APG_ETA,
    APG_R,
    DYNAMIC_THRESHOLD_BOUND,
    DYNAMIC_THRESHOLD_P,
    RESCALE_PHI,
)
from minicfg.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Float


def guide(
    out_cond: Float[Tensor, "B *D"],
    out_null: Float[Tensor, "B *D"],
    w: float | Float[Tensor, " B"],
) -> Float[Tensor, "B *D"]:
    """`(1 + w) out_cond - w out_null` (Ho and Salimans 2022, arXiv:2207.12598, eq. 6).

    `w = 0` is the conditional model, `w = -1` the unconditional one. `w` is one finite number or
    one a sample. Written as `out_cond + w (out_cond - out_null)`, which at w = 0 is `out_cond` to
    the last bit.
    """
    if out_cond.shape != out_null.shape:
        raise UsageError(
            f"out_cond has shape {tuple(out_cond.shape)} and out_null {tuple(out_null.shape)}"
        )
    if isinstance(w, Tensor):
        if w.shape != out_cond.shape[:1]:
            raise UsageError(f"w has shape {tuple(w.shape)}: one a sample is {out_cond.shape[:1]}")
        w = w.reshape(-1, *[1] * (out_cond.ndim - 1)).to(out_cond.dtype)
    else:
        check_w(w)
    return out_cond + w * (out_cond - out_null)


def rescale(
    out_cond: Float[Tensor, "B *D"],
    out_null: Float[Tensor, "B *D"],
    w: float | Float[Tensor, " B"],
    xt: Float[Tensor, "B *D"],
    p: float | Float[Tensor, ""],
    q: float | Float[Tensor, ""],
    *,
    phi: float = RESCALE_PHI,
) -> Float[Tensor, "B *D"]:
    """The mix with its standard deviation brought back towards that of `out_cond`, by `phi` 0..1.

    Lin et al. 2023, arXiv:2305.08891, sec. 3.4; step 17 of the course. `phi = 0` is `guide`. Over
    the numbers of a sample; one whose mix has no deviation stays as it is.
    """
    _within("phi", phi, 0 <= phi <= 1, "0..1")
    g = guide(out_cond, out_null, w)
    numbers = tuple(range(1, g.ndim))
    of_cond, of_g = (a.std(numbers, correction=0, keepdim=True) for a in (out_cond, g))
    ratio = torch.where(of_g > 0, of_cond / torch.where(of_g > 0, of_g, 1), 1)
    return (phi * ratio + 1 - phi) * g


def dynamic_threshold(
    out_cond: Float[Tensor, "B *D"],
    out_null: Float[Tensor, "B *D"],
    w: float | Float[Tensor, " B"],
    xt: Float[Tensor, "B *D"],
    p: float | Float[Tensor, ""],
    q: float | Float[Tensor, ""],
    *,
    P: float = DYNAMIC_THRESHOLD_P,
    bound: float = DYNAMIC_THRESHOLD_BOUND,
) -> Float[Tensor, "B *D"]:
    """The mix whose guess is cut at its own quantile `P`, 0..1, then shrunk into `bound` > 0.

    Saharia et al. 2022, arXiv:2205.11487, sec. 2.3; step 17 of the course. A guess within `bound`
    stays as it is, so `bound = inf` is `guide`. The static threshold is the sampler's `clip`.
    """
    _within("P", P, 0 <= P <= 1, "0..1")
    _within("bound", bound, bound > 0, "above 0")
    _same_shape(out_cond, out_null=out_null, xt=xt)
    g = guide(out_cond, out_null, w)
    guess = p * xt + q * g
    u = guess.abs().flatten(1).quantile(P, dim=1).clamp(min=bound)
    u = u.reshape(-1, *[1] * (g.ndim - 1))
    shrink = 1 if bound == math.inf else bound / u
    return g + (shrink * guess.clamp(-u, u) - guess) / q


def apg(
    out_cond: Float[Tensor, "B *D"],
    out_null: Float[Tensor, "B *D"],
    w: float | Float[Tensor, " B"],
    xt: Float[Tensor, "B *D"],
    p: float | Float[Tensor, ""],
    q: float | Float[Tensor, ""],
    *,
    eta: float = APG_ETA,
    r: float = APG_R,
) -> Float[Tensor, "B *D"]:
    """Adaptive projected guidance, without its momentum, which would need a memory.

    Sadat et al. 2024, arXiv:2410.02416; step 17 of the course. The difference of the two guesses of
    x_0 is made at most `r` > 0 long, and of its part along the conditional guess a share `eta`, in
    0..1, is kept. `eta = 1` and `r = inf` is `guide`.
    """
    _within("eta", eta, 0 <= eta <= 1, "0..1")
    _within("r", r, r > 0, "above 0")
    _same_shape(out_cond, out_null=out_null, xt=xt)
    guess, apart = p * xt + q * out_cond, q * (out_cond - out_null)
    numbers = tuple(range(1, apart.ndim))
    length = apart.square().sum(numbers, keepdim=True).sqrt()
    apart = torch.where(length > r, r / torch.where(length > 0, length, 1), 1) * apart
    square = guess.square().sum(numbers, keepdim=True)
    along = (apart * guess).sum(numbers, keepdim=True) / torch.where(square > 0, square, 1) * guess
    step = (apart - (1 - eta) * along) / q
    return guide(out_cond, out_cond - step, w)


def check_w(w: float) -> float:
    """Return `w` if it is a finite number."""
    if not math.isfinite(w):
        raise UsageError(f"w = {w} is not a finite number")
    return float(w)


def scale_from_w(w: float) -> float:
    """The weight as diffusers (`guidance_scale`) and others (`cond_scale`) count it: `1 + w`."""
    return 1 + check_w(w)


def w_from_scale(scale: float) -> float:
    """The paper's weight from the other convention's: `scale - 1`."""
    _within("scale", scale, abs(scale) < math.inf, "that is finite")
    return scale - 1


def _within(name: str, value: float, holds: bool, allowed: str) -> None:
    """Refuse a value for which `holds` is not true, as no comparison is of NaN."""
    if not holds:
        raise UsageError(f"{name} = {value}: a number {allowed} is needed")


def _same_shape(out_cond: Tensor, **others: Tensor) -> None:
    for name, other in others.items():
        if other.shape != out_cond.shape:
            raise UsageError(
                f"{name} has shape {tuple(other.shape)} and out_cond {tuple(out_cond.shape)}"
            )
