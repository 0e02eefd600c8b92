r"""Step 11. Guidance: one line of code, its weight, its units, and its order with clipping.

**Claim.** Ask one network twice about the same $x_t$, with the label and with the null label. Go
from the second answer through the first and beyond; the weight $w$ says how far:

$$ \tilde\epsilon = (1 + w) \epsilon(x_t, y) - w \epsilon(x_t, \phi) $$ (11.1)
$$ \tilde\epsilon = \epsilon(x_t, y) + w (\epsilon(x_t, y) - \epsilon(x_t, \phi)) $$ (11.2)
$$ \tilde\epsilon = \epsilon(x_t, \phi) + s (\epsilon(x_t, y) - \epsilon(x_t, \phi)) $$ (11.3)

**Two conventions.** $w$ is the paper's and this course's. Others give $s = 1 + w$, under names like
`guidance_scale`. Taking one for the other is off by a whole unit of guidance:

| w | s | times $\epsilon(x_t, y)$ | times $\epsilon(x_t, \phi)$ | what it is |
|---|---|---|---|---|
| -1 | 0 | 0 | 1 | the unconditional model |
| 0 | 1 | 1 | 0 | the conditional model |
| 1 | 2 | 2 | -1 | guided |
| 4 | 5 | 5 | -4 | the most the paper tries |

**Why this form.** On paper the three are one, affine in $w$: the slope is the difference the label
makes, by step 10 a classifier's gradient. In floating point, (11.2) alone gives $\epsilon(x_t, y)$
to the last bit both at $w = 0$ and, at any $w$, where the label makes no difference. (11.1) loses
the second by rounding, (11.3) the first. At $w = -1$ (11.2) gives $\epsilon(x_t, \phi)$ rounded.

**Units.** A network may say eps, x0 or v. Given $x_t$ and $t$ each is $p x_t + q g$ of another
(6.5). Mix after that change or before it: the $p x_t$ comes with the weights $1 + w$ and $-w$, and
these add up to 1, so

$$ (1 + w) (p x_t + q g_y) - w (p x_t + q g_\phi) = p x_t + q ((1 + w) g_y - w g_\phi) $$ (11.4)

It takes both answers to be about one $x_t$. Guidance commutes with $g \mapsto p x_t + q g$ because
that is affine, and with nothing else: if $f((1 + w) a - w b) = (1 + w) f(a) - w f(b)$ for all $a$,
$b$ and $w$, then $b = 0$ gives $f((1 + w) a) = f(0) + (1 + w) (f(a) - f(0))$, a straight line.

**Clipping** is no straight line. With data in $[-1, 1]$, $w = 1$ and the guesses $\hat x_y = 0.5$,
$\hat x_\phi = 1.5$ of $x_0$, clipping the mix and mixing the clipped are apart by half a unit:

$$ clip(2 \hat x_y - \hat x_\phi) = -0.5, \quad 2 clip(\hat x_y) - clip(\hat x_\phi) = 0 $$ (11.5)

So mix the raw outputs and clip once, last (6.5). To clip each guess to $[-c, c]$ before does not
even keep the mix in there. Both terms can have full size and the same sign: no bound is below

$$ |(1 + w) clip(\hat x_y) - w clip(\hat x_\phi)| \le (|1 + w| + |w|) c $$ (11.6)

**Boundary.** For $-1 \le w \le 0$ this bound is $c$: there the mix is an average of two answers.
Beyond, it extrapolates and can be larger than both, one more reason for a clip that comes last.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, eq. 6, and sec. 4 for $w \le 4$; no clipping in
its alg. 2. Saharia et al. 2022, arXiv:2205.11487, sec. 2.3: large $w$ cannot do without it.

**What guidance is the score of, at which t, and what it is not the score of.**

**Claim.** With exact outputs the guided one is the score of a density, at every $t$ another:

$$ -\tilde\epsilon / \sqrt{1 - \bar\alpha_t} = \nabla \log(p(x_t | y)^{1 + w} p(x_t)^{-w}) $$ (11.7)
$$ p(x_t | y)^{1 + w} p(x_t)^{-w} = \pi_y^{-w} p(x_t | y) p(y | x_t)^w $$ (11.8)

These densities are *not* one tilted law of data seen through more and more noise.

**Why it is a score.** By (5.9) each eps is $-\sqrt{1 - \bar\alpha_t}$ times the gradient of a log
density. $1 + w$ times the one and $-w$ times the other is the gradient of
$(1 + w) \log p(x_t | y) - w \log p(x_t)$: (11.7). Its constant is unknown, but has no gradient. Put
Bayes' rule (5.13) in for $p(x_t)$ and (11.8) appears: the class's own density, and more of it where
a classifier is sure of the class. At $t = 0$ that is the law one would like samples of.

**Why it is not that law noised.** (11.7) noises first and tilts then. Take the other order on a
line, with $p(x_0 | y) = N(m, S_y)$ and $p(x_0) = N(0, S)$. The tilted exponent is $1 + w$ times
$-(x - m)^2 / (2 S_y)$ plus $w x^2 / (2 S)$. Its $x^2$ has the factor $-R / (2 S_y S)$, its $x$ the
factor $(1 + w) m / S_y$, where $R = (1 + w) S - w S_y$. As in step 4 these are $-1 / (2 V)$ and
$M / V$ of a Gaussian:

$$ N(m, S_y)^{1 + w} N(0, S)^{-w} \propto N((1 + w) m S / R, S_y S / R) $$ (11.9)

Tilting at $t$ is the same with $C_y = \bar\alpha_t S_y + 1 - \bar\alpha_t$ for $S_y$, $C$ likewise
for $S$, $\sqrt{\bar\alpha_t} m$ for $m$, hence $R_t = \bar\alpha_t R + 1 - \bar\alpha_t$ for $R$.
Noising (11.9) gives the variance $\bar\alpha_t S_y S / R + 1 - \bar\alpha_t$ instead. Of
$C_y C / R_t$ less that, times $R_t$, only terms in $\bar\alpha_t (1 - \bar\alpha_t)$ stay: times
$S_y + S - S_y S / R - R = -(R - S_y) (R - S) / R$. Now $R - S_y = (1 + w) (S - S_y)$ and
$R - S = w (S - S_y)$. So by these the law that guidance aims at exceeds the noised tilted law:

$$ \Delta V = -w (1 + w) \bar\alpha_t (1 - \bar\alpha_t) (S - S_y)^2 / (R R_t) $$ (11.10)
$$ \Delta M = w (1 + w) \sqrt{\bar\alpha_t} (1 - \bar\alpha_t) m (S - S_y) / (R R_t) $$ (11.11)

the second from $C / R_t - S / R = (1 - \bar\alpha_t) (R - S) / (R R_t)$. A class that differs from
the rest has $S_y < S$, or its tails would stick out of $p(x_0)$. So at every $w > 0$ and every $t$
between the ends guidance aims too narrow and too far out. Example: $m = 1$ and $S_y = 1/4$ in data
of $S = 1$ (a class of a quarter of them fits in), $w = 3$ and $\bar\alpha_t = 1/2$. Guidance aims
at $N(1.331, 0.294)$; the noised tilted law is $N(0.870, 0.538)$.

**Boundary.** Both gaps are 0 at $w = 0$ and at $w = -1$, where one of the two models is left alone;
at $t = 0$; and in the limit $\bar\alpha_t \to 0$. For $w < -1$, away from the class, $R$ may be
negative: then (11.7) is the score of nothing that can be normalised. As noise does not
lead from one of these densities to the next, a guided chain ends in a third law: step 13.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 3; Bradley and Nakkiran 2024,
arXiv:2408.09000 (a class and all the data both Gaussian: where guided chains end).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step05_best_guess import noised, oracle_eps, score_from_eps, x0_from

if TYPE_CHECKING:
    from jaxtyping import Float, Int


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
    # Equal to (11.1) on paper. In floating point only (11.2) is exact at w = 0 and, at any w, where
    # both outputs agree.
    return eps_cond + w * (eps_cond - eps_null)  # (11.2)


def w_from_scale(scale: float) -> float:
    """The paper's weight from the other convention's; the one place that speaks of it."""
    return scale - 1  # (11.3)


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
    x0hat = x0_from(out, xt, t, schedule, prediction)  # (11.4)
    return np.clip(x0hat, -clip, clip)  # (11.5)


def farthest(w: float, clip: float) -> float:
    """How large a mix of two guesses can be that were clipped to `-clip..clip` before."""
    return (abs(1 + w) + abs(w)) * clip  # (11.6)


def guided_score(
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    w: float,
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, "n 2"]:
    """What guidance follows if the model is the oracle, for `t` in 1..T and `y` in 0..K."""
    model = oracle_eps(mixture, schedule)
    null = np.full_like(y, model.num_classes)
    eps_cond = model(xt, t, y)
    eps_null = model(xt, t, null)
    eps = guide(eps_cond, eps_null, w)
    return score_from_eps(eps, t, schedule)  # (11.7)


def log_tilted(
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    w: float,
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, " n"]:
    """The log of the tilted density, not normalised, for `t` in 0..T and `y` in 0..K-1."""
    law = noised(mixture, t, schedule)
    log_p_y = law.log_class_probability(xt)[np.arange(len(y)), y]
    sure = log_p_y - np.log(law.weights[y])  # log p(y | x_t) / pi_y
    return law.log_density(xt, y) + w * sure  # (11.8)


def tilt(given_y: Gaussian, var_all: float, w: float) -> Gaussian:
    """The law proportional to `given_y^(1 + w) N(0, var_all)^-w`, refused if it has no mass."""
    R = (1 + w) * var_all - w * given_y.var
    if not R > 0:
        raise ValueError(f"w = {w} makes R = {R}, not above 0: no such density can be normalised")
    mean = (1 + w) * given_y.mean * var_all / R
    var = given_y.var * var_all / R
    return Gaussian(mean, var)  # (11.9)


def both_orders(
    given_y: Gaussian, var_all: float, w: float, t: int, schedule: Schedule
) -> tuple[Gaussian, Gaussian]:
    """The tilt of the noised laws, which is guidance; the noised tilt of the data. `t` in 0..T."""
    abar = float(schedule.alpha_bar[schedule.check_t(t, first=0)])
    aimed = tilt(_noise(given_y, abar), abar * var_all + 1 - abar, w)
    noised_tilt = _noise(tilt(given_y, var_all, w), abar)
    return aimed, noised_tilt


def _noise(law: Gaussian, abar: float) -> Gaussian:
    """The distribution of `x_t` if that of `x_0` is `law`."""
    return Gaussian(abar**0.5 * law.mean, abar * law.var + 1 - abar)


def gap(
    given_y: Gaussian, var_all: float, w: float, t: int, schedule: Schedule
) -> tuple[Float[np.ndarray, "*n D"], float]:
    """By how much mean and variance of the first of `both_orders` exceed the second's."""
    abar = float(schedule.alpha_bar[schedule.check_t(t, first=0)])
    m = given_y.mean
    S_y = given_y.var
    S = var_all
    R = (1 + w) * S - w * S_y
    R_t = abar * R + 1 - abar
    delta_V = -w * (1 + w) * abar * (1 - abar) * (S - S_y) ** 2 / (R * R_t)  # (11.10)
    delta_M = w * (1 + w) * abar**0.5 * (1 - abar) * m * (S - S_y) / (R * R_t)  # (11.11)
    return delta_M, delta_V


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step11_guidance")
