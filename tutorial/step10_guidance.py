r"""Step 10. Guidance: one line of code, its weight, its units, and its order with clipping.

**Claim.** Ask one network twice about the same $x_t$, with the label and with the null label. Go
from the second answer through the first and beyond; the weight $w$ says how far:

$$ \tilde\epsilon = (1 + w) \epsilon(x_t, y) - w \epsilon(x_t, \phi) $$ (10.1)
$$ \tilde\epsilon = \epsilon(x_t, y) + w (\epsilon(x_t, y) - \epsilon(x_t, \phi)) $$ (10.2)
$$ \tilde\epsilon = \epsilon(x_t, \phi) + s (\epsilon(x_t, y) - \epsilon(x_t, \phi)) $$ (10.3)

**Two conventions.** $w$ is the paper's and this course's. Others give $s = 1 + w$, under names like
`guidance_scale`. Taking one for the other is off by a whole unit of guidance:

| w | s | times $\epsilon(x_t, y)$ | times $\epsilon(x_t, \phi)$ | what it is |
|---|---|---|---|---|
| -1 | 0 | 0 | 1 | the unconditional model |
| 0 | 1 | 1 | 0 | the conditional model |
| 1 | 2 | 2 | -1 | guided |
| 4 | 5 | 5 | -4 | the most the paper tries |

**Why this form.** On paper the three are one, affine in $w$: the slope is the difference the label
makes, by step 9 a classifier's gradient. In floating point, (10.2) alone gives $\epsilon(x_t, y)$
to the last bit both at $w = 0$ and, at any $w$, where the label makes no difference. (10.1) loses
the second by rounding, (10.3) the first. At $w = -1$ (10.2) gives $\epsilon(x_t, \phi)$ rounded.

**Units.** A network may say eps, x0 or v. Given $x_t$ and $t$ each is $p x_t + q g$ of another
(5.7). Mix after that change or before it: the $p x_t$ comes with the weights $1 + w$ and $-w$, and
these add up to 1, so

$$ (1 + w) (p x_t + q g_y) - w (p x_t + q g_\phi) = p x_t + q ((1 + w) g_y - w g_\phi) $$ (10.4)

It takes both answers to be about one $x_t$. Guidance commutes with $g \mapsto p x_t + q g$ because
that is affine, and with nothing else: if $f((1 + w) a - w b) = (1 + w) f(a) - w f(b)$ for all $a$,
$b$ and $w$, then $b = 0$ gives $f((1 + w) a) = f(0) + (1 + w) (f(a) - f(0))$, a straight line.

**Clipping** is no straight line. With data in $[-1, 1]$, $w = 1$ and the guesses $\hat x_y = 0.5$,
$\hat x_\phi = 1.5$ of $x_0$, clipping the mix and mixing the clipped are apart by half a unit:

$$ clip(2 \hat x_y - \hat x_\phi) = -0.5, \quad 2 clip(\hat x_y) - clip(\hat x_\phi) = 0 $$ (10.5)

So mix the raw outputs and clip once, last (5.7). To clip each guess to $[-c, c]$ before does not
even keep the mix in there. Both terms can have full size and the same sign: no bound is below

$$ |(1 + w) clip(\hat x_y) - w clip(\hat x_\phi)| \le (|1 + w| + |w|) c $$ (10.6)

**Boundary.** For $-1 \le w \le 0$ this bound is $c$: there the mix is an average of two answers.
Beyond, it extrapolates and can be larger than both, one more reason for a clip that comes last.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, eq. 6, and sec. 4 for $w \le 4$; no clipping in
its alg. 2. Saharia et al. 2022, arXiv:2205.11487, sec. 2.3: large $w$ cannot do without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step00_notation import Schedule
from tutorial.step05_reverse import x0_from

if TYPE_CHECKING:
    from jaxtyping import Float


def guide(
    eps_cond: Float[np.ndarray, "*n D"], eps_null: Float[np.ndarray, "*n D"], w: float
) -> Float[np.ndarray, "*n D"]:
    """The guided output, for any finite weight `w`; outputs that are x0 or v mix the same way.

    >>> guide(np.array([1.0, 2.0]), np.array([0.5, 2.0]), 3.0)
    array([2.5, 2. ])
    """
    if not np.isfinite(w):
        raise ValueError(f"w = {w} is not a finite number")
    if eps_cond.shape != eps_null.shape:
        raise ValueError(f"eps_null has shape {eps_null.shape}, eps_cond has {eps_cond.shape}")
    # Equal to (10.1) on paper. In floating point only (10.2) is exact at w = 0 and, at any w, where
    # both outputs agree.
    return eps_cond + w * (eps_cond - eps_null)  # (10.2)


def w_from_scale(scale: float) -> float:
    """The paper's weight from the other convention's; the one place that speaks of it."""
    return scale - 1  # (10.3)


def guided_x0(
    out_cond: Float[np.ndarray, "*n D"],
    out_null: Float[np.ndarray, "*n D"],
    xt: Float[np.ndarray, "*n D"],
    t: int,
    schedule: Schedule,
    w: float,
    prediction: str = "eps",
    clip: float = np.inf,
) -> Float[np.ndarray, "*n D"]:
    """What two raw outputs say about the data, for `t` in 1..T; `clip` > 0 bounds the answer."""
    if not clip > 0:
        raise ValueError(f"clip = {clip} is not above 0 (inf: no clipping)")
    out = guide(out_cond, out_null, w)
    x0hat = x0_from(out, xt, t, schedule, prediction)  # (10.4)
    return np.clip(x0hat, -clip, clip)  # (10.5)


def farthest(w: float, clip: float) -> float:
    """How large a mix of two guesses can be that were clipped to `-clip..clip` before."""
    return (abs(1 + w) + abs(w)) * clip  # (10.6)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step10_guidance")
