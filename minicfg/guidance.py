"""Classifier-free guidance: the mix of two predictions, and rules that change it.

    guide(out_cond, out_null, w) = (1 + w) out_cond - w out_null

The sampler runs `guide`. It is one line of torch, which stands in `kernels.reference` beside the
step that uses it:

    torch.lerp(out_null, out_cond, 1 + w)

w = 0 gives the conditional model and w = -1 the unconditional one, each to the last bit. On a GPU
the step is a Triton kernel, which equals this line up to rounding. Step 11 of
the course derives it. Other projects count from w = -1: their scale is 1 + w (`scale_from_w`).

A rule is `rule(out_cond, out_null, w, xt, p, q) -> g`, where `p xt + q g` is the guess of x_0 (`p`
and `q` are the solver's). It replaces `guide` in `minicfg.sample(..., rule=rescale)`, and
`rule=guide` is the same as no rule. The parameter of a rule is set by
`functools.partial(rescale, phi=0.5)`. A rule has no memory, so three methods of the course are
not here: APG's momentum, which needs earlier rows; ReCFG, which needs the means of both outputs;
and model guidance, which is another way to train. A weight that changes with t is a column of the
table (`solvers.with_weight`, `solvers.with_interval`), and autoguidance is a model
(`adapters.Autoguided`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kernels import reference
from kernels.reference import guide
from minicfg.config import (
    APG_ETA,
    APG_R,
    DYNAMIC_THRESHOLD_BOUND,
    DYNAMIC_THRESHOLD_P,
    RESCALE_PHI,
)
from minicfg.errors import UsageError, check_number, check_type, short_repr

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = [
    "apg",
    "check_w",
    "check_w_range",
    "dynamic_threshold",
    "guide",
    "rescale",
    "scale_from_w",
    "w_from_scale",
]


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
    """The mix, rescaled towards the standard deviation of `out_cond`.

    Lin et al. 2023, arXiv:2305.08891, sec. 3.4; step 19 of the course. Standard deviations are
    taken over the elements of each sample; a mix whose standard deviation is 0 stays as it is.

    Args:
        out_cond: the network's output given the condition.
        out_null: its output given the null condition.
        w: guidance weight of this row, m w.
        xt: not used.
        p: not used.
        q: not used.
        phi: 0..1; at 0 this is `guide`, at 1 the standard deviation is that of `out_cond`.
    """
    check_number("phi", phi, "pass a number in 0..1")
    _check_range("phi", phi, 0 <= phi <= 1, "a number in 0..1")
    _check_samples(out_cond, out_null=out_null)
    g = guide(out_cond, out_null, w)
    elements = tuple(range(1, g.ndim))
    std_cond = out_cond.std(elements, correction=0, keepdim=True)
    std_g = g.std(elements, correction=0, keepdim=True)
    ratio = torch.where(std_g > 0, std_cond / torch.where(std_g > 0, std_g, 1), 1)
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
    """The mix whose guess of x_0 is clamped to its own quantile, then divided by it.

    Saharia et al. 2022, arXiv:2205.11487, sec. 2.3; step 19 of the course. The static threshold is
    the sampler's `clip`.

    Args:
        out_cond: the network's output given the condition.
        out_null: its output given the null condition.
        w: guidance weight of this row, m w.
        xt: the state.
        p: of the solver's row: the guess is `p xt + q g`.
        q: likewise.
        P: 0..1, the quantile of the guess's absolute values at which it is clamped.
        bound: above 0. A guess within it stays as it is, so infinity gives `guide`.
    """
    check_number("P", P, "pass a number in 0..1")
    check_number("bound", bound, "pass a number above 0")
    _check_range("P", P, 0 <= P <= 1, "a number in 0..1")
    _check_range("bound", bound, bound > 0, "a number above 0")
    _check_samples(out_cond, out_null=out_null, xt=xt)
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
    """Adaptive projected guidance, without its momentum.

    Sadat et al. 2024, arXiv:2410.02416; step 19 of the course. The difference of the two guesses of
    x_0 is shortened to length `r`, and its component parallel to the conditional guess is scaled by
    `eta`. With eta = 1 and r = infinity this is `guide`.

    Args:
        out_cond: the network's output given the condition.
        out_null: its output given the null condition.
        w: guidance weight of this row, m w.
        xt: the state.
        p: of the solver's row: the guess is `p xt + q g`.
        q: likewise.
        eta: 0..1, the fraction of the parallel component to keep.
        r: above 0, the greatest length of the difference.
    """
    check_number("eta", eta, "pass a number in 0..1")
    check_number("r", r, "pass a number above 0")
    _check_range("eta", eta, 0 <= eta <= 1, "a number in 0..1")
    _check_range("r", r, r > 0, "a number above 0")
    _check_samples(out_cond, out_null=out_null, xt=xt)
    guess = p * xt + q * out_cond
    difference = q * (out_cond - out_null)
    elements = tuple(range(1, guess.ndim))
    length = difference.square().sum(elements, keepdim=True).sqrt()
    difference = torch.where(length > r, r / torch.where(length > 0, length, 1), 1) * difference
    square = guess.square().sum(elements, keepdim=True)
    product = (difference * guess).sum(elements, keepdim=True)
    parallel = product / torch.where(square > 0, square, 1) * guess
    kept = difference - (1 - eta) * parallel
    return guide(out_cond, out_cond - kept / q, w)


def check_w(w: float) -> float:
    """Return `w` if it is a finite number.

    Raises:
        UsageError: it is not.
    """
    check_number("w", w, "pass a finite number")
    if math.inf > abs(w) > torch.finfo(torch.float32).max:
        raise UsageError(f"w = {short_repr(w)} is beyond float32; pass a smaller weight")
    try:
        return float(reference.check_w(w))
    except ValueError as error:
        raise UsageError(str(error)) from None


def check_w_range(w_range: tuple[float, float]) -> tuple[float, float]:
    """Return `w_range`, the smallest and the largest weight that a network takes as an input.

    Raises:
        UsageError: unless it is a tuple of two finite numbers, the smaller one first.
    """
    remedy = "pass the smallest and the largest weight, such as (0.0, 4.0)"
    check_type("w_range", w_range, tuple, remedy)
    if len(w_range) != 2:
        raise UsageError(f"w_range = {short_repr(w_range)} has {len(w_range)} entries; {remedy}")
    low, high = map(check_w, w_range)
    if low > high:
        raise UsageError(f"w_range = {short_repr(w_range)} is empty; {remedy}")
    return low, high


def scale_from_w(w: float) -> float:
    """`1 + w`, the weight as diffusers (`guidance_scale`) and others (`cond_scale`) count it."""
    return 1 + check_w(w)


def w_from_scale(scale: float) -> float:
    """`scale - 1`, the paper's weight from that of the other convention."""
    check_number("scale", scale, "pass a finite number")
    _check_range("scale", scale, abs(scale) < math.inf, "a finite number")
    return scale - 1


def _check_range(name: str, value: float, inside: bool, allowed: str) -> None:
    """Refuse a value that is not `inside` its range; a comparison with NaN is never true."""
    if not inside:
        raise UsageError(f"{name} = {value}; pass {allowed}")


def _check_samples(out_cond: Tensor, **others: Tensor) -> None:
    """Refuse what is not a batch of samples, and tensors that would be broadcast."""
    check_type("out_cond", out_cond, Tensor, "pass a tensor, torch.as_tensor(out_cond)")
    if out_cond.ndim < 2:
        raise UsageError(
            f"out_cond has shape {tuple(out_cond.shape)}; pass a batch of samples, (B, ...)"
        )
    for name, other in others.items():
        check_type(name, other, Tensor, f"pass a tensor, torch.as_tensor({name})")
        if other.shape != out_cond.shape:
            raise UsageError(
                f"{name} has shape {tuple(other.shape)} and out_cond {tuple(out_cond.shape)}; "
                "pass tensors of the same shape"
            )
