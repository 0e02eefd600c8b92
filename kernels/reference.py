"""One solver step in plain torch: the meaning of the kernel, and what runs where there is no GPU.

    g     = (1 + m w) out_cond - m w out_null            guidance, on the network's raw output
    x0hat = clip(p x_t + q g)                            the guess of the data
    x_s   = a x0hat + b x_t + d out_null + e x0prev + c z

A solver is a table `rows`; row `k` holds (p, q, a, b, c, d, e, m):

    p, q    how x_t and the guided output make the guess of the data
    a, b    the weights of the guess and of x_t in the next state
    c       the standard deviation of the noise; 0 for a deterministic solver
    d       the weight of the null output by itself (CFG++)
    e       the weight of the previous guess (a solver that looks back)
    m       the factor of the guidance weight; 0 switches guidance off for the step

Traffic of an eager step with noise, in passes over a tensor of x_t's size, reads and writes:

    g        lerp 2, 1
    x0hat    p x_t 1, 1         plus q g 2, 1    clamp 1, 1
    x_s      a x0hat 1, 1       plus b x_t 2, 1
    noise    z 0, 1             plus c z 2, 1

That is 11 reads and 8 writes, if the drawing of z counts as one write. (In fact the generator of
`kernels.philox` is more than a hundred operations on a GPU.) One pass that makes its noise in
registers needs 3 reads (x_t and the two halves of `out`) and 1 write (x_s); a second write where
x0hat is wanted too.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kernels import philox

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


def guide(
    out_cond: Float[Tensor, "B *D"],
    out_null: Float[Tensor, "B *D"],
    w: float | Float[Tensor, ""] | Float[Tensor, " B"],
) -> Float[Tensor, "B *D"]:
    """`(1 + w) out_cond - w out_null` (Ho and Salimans 2022, arXiv:2207.12598, eq. 6).

    `torch.lerp(a, b, weight)` is `a + weight (b - a)` for a weight below 1/2, and
    `b - (1 - weight) (b - a)` above. So the result is `out_cond` to the last bit at w = 0, where
    the model is conditional; `out_null` to the last bit at w = -1; and for any w the common value,
    where the two outputs agree.

    Args:
        out_cond: the network's output given the condition.
        out_null: its output given the null condition, of the same shape.
        w: guidance weight: one finite number, or one per sample.

    Raises:
        ValueError: an argument is of another type, the shapes or dtypes do not fit together, or
            the number is not finite.
    """
    _check_outputs(out_cond, out_null)
    return torch.lerp(out_null, out_cond, 1 + per_sample(w, out_cond))


def _check_outputs(out_cond: Tensor, out_null: Tensor) -> None:
    """Refuse what is no tensor of floats, and two outputs of different dtypes or shapes."""
    for name, out in (("out_cond", out_cond), ("out_null", out_null)):
        if not isinstance(out, Tensor) or not out.is_floating_point():
            found = out.dtype if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise ValueError(f"{name} is {found}; pass a torch tensor of floats")
    if out_cond.dtype != out_null.dtype:
        raise ValueError(
            f"out_cond is {out_cond.dtype} and out_null {out_null.dtype}; pass two outputs of the "
            "same dtype"
        )
    if out_cond.shape != out_null.shape:
        raise ValueError(
            f"out_cond has shape {tuple(out_cond.shape)} and out_null {tuple(out_null.shape)}; "
            "pass two outputs of the same shape"
        )


def check_w(w: float) -> float:
    """Return `w` if it is finite, in a form that `torch.compile` can trace."""
    if not -math.inf < w < math.inf:
        raise ValueError(f"w = {w} is not a finite number; pass a finite weight")
    return w


def per_sample(
    w: float | Float[Tensor, "*one_or_B"], x: Float[Tensor, "B *D"]
) -> float | Float[Tensor, "*weights"]:
    """A weight, or one per sample, in the shape in which it multiplies `x`."""
    if not isinstance(w, Tensor):
        if not isinstance(w, Real):
            raise ValueError(f"w is a {type(w).__name__}; pass one number, or a tensor of them")
        return check_w(w)
    if w.shape not in ((), x.shape[:1]):
        raise ValueError(
            f"w has shape {tuple(w.shape)}; pass one number, or one per sample: "
            f"{tuple(x.shape[:1])}"
        )
    if not torch.compiler.is_compiling() and not bool(torch.isfinite(w).all()):
        raise ValueError("w is not finite everywhere; pass finite weights")
    w = w.to(x.dtype)
    return w.reshape(-1, *[1] * (x.ndim - 1)) if w.ndim else w


def guided_step(
    xt: Float[Tensor, "B *D"],
    out: Float[Tensor, "B_out *D"],
    rows: Float[Tensor, "n 8"],
    k: int | Int[Tensor, ""],
    w: float | Float[Tensor, " B"] | None,
    *,
    seed: int,
    sample_ids: Int[Tensor, " B"],
    x0prev: Float[Tensor, "B *D"] | None = None,
    clip: float = math.inf,
    want_x0: bool = True,
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "B *D"] | None]:
    """Move `xt` along row `k`.

    Args:
        xt: the present state, float16, bfloat16, float32 or float64. Arithmetic is float32, or
            float64 for float64.
        out: the network's output: (2B, *D), with the conditional half first and the null half
            second; or (B, *D) with `w = None`, for a step without guidance.
        rows: the solver's table.
        k: index of the row, 0..n-1; or a tensor that holds it, for a loop that counts on the
            device.
        w: guidance weight, one number or one per sample; None where `out` is (B, *D).
        seed: 0..2^64-1. The noise is that of step k + 1 of sample `sample_ids[i]`; a chain starts
            from the noise of step 0.
        sample_ids: (B,) integers in 0..2^32-1.
        x0prev: the previous step's x0hat, for rows with e != 0.
        clip: x0hat is clamped to [-clip, clip]; infinity leaves it as it is.
        want_x0: whether to return x0hat. A kernel that does not write it makes one pass less.

    Returns:
        `(xs, x0hat)` in the dtype of `xt`, contiguous; `(xs, None)` if not `want_x0`.

    Raises:
        ValueError: `k` is outside the table, a weight is not finite, or the row needs an `x0prev`.
    """
    dtype = torch.float64 if xt.dtype == torch.float64 else torch.float32
    p, q, a, b, c, d, e, m = coefficients(rows, k, dtype)
    if x0prev is None and not torch.compiler.is_compiling() and e != 0:
        raise ValueError(f"row {int(k)} looks back one step (e = {e:.3g}); pass x0prev")
    x = xt.to(dtype)
    cond = out[: len(xt)].to(dtype)
    null = out[len(out) - len(xt) :].to(dtype)

    g = cond if w is None else guide(cond, null, m * w)
    x0hat = plus(p * x, q, g).clamp_(-clip, clip)  # p x_t + q g
    xs = plus(a * x0hat, b, x)  # a x0hat + b x_t
    if counts(d):
        xs = plus(xs, d, null)
    if x0prev is not None and counts(e):
        xs = plus(xs, e, x0prev.to(dtype))
    if counts(c):
        xs = plus(xs, c, philox.normal(seed, sample_ids, k + 1, xt.shape[1:]).to(dtype))
    return xs.to(xt.dtype).contiguous(), x0hat.to(xt.dtype).contiguous() if want_x0 else None


def coefficients(
    rows: Float[Tensor, "n 8"], k: int | Int[Tensor, ""], dtype: torch.dtype
) -> tuple[float, ...] | tuple[Float[Tensor, ""], ...]:
    """The eight numbers of row `k`; in a compiled step, whose row is not known yet, as tensors."""
    if torch.compiler.is_compiling():
        row = rows[k] if isinstance(k, int) else rows.index_select(0, k.reshape(1))[0]
        return row.to(dtype).unbind()
    if not 0 <= k < len(rows):
        raise ValueError(f"k = {int(k)} is outside 0..{len(rows) - 1}, the rows of the table")
    return tuple(rows[int(k)].tolist())


def plus(
    x: Float[Tensor, "B *D"], c: float | Float[Tensor, ""], y: Float[Tensor, "B *D"]
) -> Float[Tensor, "B *D"]:
    """`x + c y`, written over `x` where `c` is a number; a compiler fuses the passes by itself."""
    return x + c * y if isinstance(c, Tensor) else x.add_(y, alpha=c)


def counts(coefficient: float | Float[Tensor, ""]) -> bool:
    """Whether to add a term. It is left out if its coefficient is 0: 0 times infinity is NaN.

    A compiled step has every term, because it is compiled once for all rows of a table.
    """
    return torch.compiler.is_compiling() or bool(coefficient != 0)


def noised_batch(
    x0: Float[Tensor, "B *D"],
    y: Int[Tensor, " B"],
    alpha_bar: Float[Tensor, " T1"],
    *,
    null: int,
    p_uncond: float,
    prediction: str,
    seed: int,
    step: int,
    sample_ids: Int[Tensor, " B"],
) -> tuple[Float[Tensor, "B *D"], Int[Tensor, " B"], Int[Tensor, " B"], Float[Tensor, "B *D"]]:
    """What a training step shows the network: `xt = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps`.

    Args:
        x0: images, float16, bfloat16, float32 or float64. Arithmetic is as for `guided_step`.
        y: their labels.
        alpha_bar: (T + 1,) float64, indexed by t; `alpha_bar[0] = 1`.
        null: the label that stands for none.
        p_uncond: share of labels dropped, 0..1.
        prediction: the target, `"eps"`, `"x0"`, `"v" = sqrt(abar_t) eps - sqrt(1 - abar_t) x0` or
            `"velocity" = eps - x0`.
        seed: 0..2^64-1.
        step: of training, 0..2^32-1.
        sample_ids: (B,) integers in 0..2^32-1, one a place in the batch.

    Returns:
        `(xt, t, y, target)`, with t in 1..T and null for the labels that were dropped.
    """
    t, dropped = choices(len(alpha_bar) - 1, p_uncond, seed, step, sample_ids)
    signal = alpha_bar[t].sqrt()
    noise = (1 - alpha_bar[t]).sqrt()
    xt, target = noised(
        x0, signal, noise, prediction=prediction, seed=seed, step=step, sample_ids=sample_ids
    )
    return xt, t, y.masked_fill(dropped, null), target


def noised(
    x0: Float[Tensor, "B *D"],
    signal: Float[Tensor, " B"],
    noise: Float[Tensor, " B"],
    *,
    prediction: str,
    seed: int,
    step: int,
    sample_ids: Int[Tensor, " B"],
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "B *D"]]:
    """`(xt, target)` of `noised_batch`: `xt = signal x0 + noise eps`, a pair of scales a sample."""
    dtype = torch.float64 if x0.dtype == torch.float64 else torch.float32
    each = (-1, *[1] * (x0.ndim - 1))
    signal, noise = signal.to(dtype).reshape(each), noise.to(dtype).reshape(each)
    eps = philox.normal(seed, sample_ids, step, x0.shape[1:], philox.TRAINING_NOISE).to(dtype)
    x = x0.to(dtype)
    xt = (signal * x + noise * eps).to(x0.dtype)
    if prediction == "eps":
        target = eps
    elif prediction == "x0":
        target = x
    elif prediction == "v":
        target = signal * eps - noise * x
    else:
        target = eps - x
    return xt, target.to(x0.dtype)


def choices(
    T: int, p_uncond: float, seed: int, step: int, sample_ids: Int[Tensor, " B"]
) -> tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """For each image of a batch by itself: t, uniform in 1..T, and whether to drop its label."""
    u = philox.uniform(seed, sample_ids, step, 2, philox.TRAINING_CHOICE)
    return (u[:, 0] * T).long() + 1, u[:, 1] < p_uncond
