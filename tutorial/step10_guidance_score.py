r"""Step 10, part 2. What guidance is the score of, at which t, and what it is not the score of.

**Claim.** With exact outputs the guided one is the score of a density, at every $t$ another:

$$ -\tilde\epsilon / \sqrt{1 - \bar\alpha_t} = \nabla \log(p(x_t | y)^{1 + w} p(x_t)^{-w}) $$ (10.7)
$$ p(x_t | y)^{1 + w} p(x_t)^{-w} = \pi_y^{-w} p(x_t | y) p(y | x_t)^w $$ (10.8)

These densities are *not* one tilted law of data seen through more and more noise.

**Why it is a score.** By (7.7) each eps is $-\sqrt{1 - \bar\alpha_t}$ times the gradient of a log
density. $1 + w$ times the one and $-w$ times the other is the gradient of
$(1 + w) \log p(x_t | y) - w \log p(x_t)$: (10.7). Its constant is unknown, but has no gradient. Put
Bayes' rule (7.3) in for $p(x_t)$ and (10.8) appears: the class's own density, and more of it where
a classifier is sure of the class. At $t = 0$ that is the law one would like samples of.

**Why it is not that law noised.** (10.7) noises first and tilts then. Take the other order on a
line, with $p(x_0 | y) = N(m, S_y)$ and $p(x_0) = N(0, S)$. The tilted exponent is $1 + w$ times
$-(x - m)^2 / (2 S_y)$ plus $w x^2 / (2 S)$. Its $x^2$ has the factor $-R / (2 S_y S)$, its $x$ the
factor $(1 + w) m / S_y$, where $R = (1 + w) S - w S_y$. As in step 0 these are $-1 / (2 V)$ and
$M / V$ of a Gaussian:

$$ N(m, S_y)^{1 + w} N(0, S)^{-w} \propto N((1 + w) m S / R, S_y S / R) $$ (10.9)

Tilting at $t$ is the same with $C_y = \bar\alpha_t S_y + 1 - \bar\alpha_t$ for $S_y$, $C$ likewise
for $S$, $\sqrt{\bar\alpha_t} m$ for $m$, hence $R_t = \bar\alpha_t R + 1 - \bar\alpha_t$ for $R$.
Noising (10.9) gives the variance $\bar\alpha_t S_y S / R + 1 - \bar\alpha_t$ instead. Of
$C_y C / R_t$ less that, times $R_t$, only terms in $\bar\alpha_t (1 - \bar\alpha_t)$ stay: times
$S_y + S - S_y S / R - R = -(R - S_y) (R - S) / R$. Now $R - S_y = (1 + w) (S - S_y)$ and
$R - S = w (S - S_y)$. So by these the law that guidance aims at exceeds the noised tilted law:

$$ \Delta V = -w (1 + w) \bar\alpha_t (1 - \bar\alpha_t) (S - S_y)^2 / (R R_t) $$ (10.10)
$$ \Delta M = w (1 + w) \sqrt{\bar\alpha_t} (1 - \bar\alpha_t) m (S - S_y) / (R R_t) $$ (10.11)

the second from $C / R_t - S / R = (1 - \bar\alpha_t) (R - S) / (R R_t)$. A class that differs from
the rest has $S_y < S$, or its tails would stick out of $p(x_0)$. So at every $w > 0$ and every $t$
between the ends guidance aims too narrow and too far out. Example: $m = 1$ and $S_y = 1/4$ in data
of $S = 1$ (a class of a quarter of them fits in), $w = 3$ and $\bar\alpha_t = 1/2$. Guidance aims
at $N(1.331, 0.294)$; the noised tilted law is $N(0.870, 0.538)$.

**Boundary.** Both gaps are 0 at $w = 0$ and at $w = -1$, where one of the two models is left alone;
at $t = 0$; and in the limit $\bar\alpha_t \to 0$. For $w < -1$, away from the class, $R$ may be
negative: then (10.7) is the score of nothing that can be normalised. As noise does not
lead from one of these densities to the next, a guided chain ends in a third law: step 15.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 3; Bradley and Nakkiran 2024,
arXiv:2408.09000 (a class and all the data both Gaussian: where guided chains end).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step00_notation import Gaussian, Schedule
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step05_reverse import score_from_eps
from tutorial.step07_oracle import noised, oracle_eps
from tutorial.step10_guidance import guide

if TYPE_CHECKING:
    from jaxtyping import Float, Int


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
    return score_from_eps(eps, t, schedule)  # (10.7)


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
    return law.log_density(xt, y) + w * sure  # (10.8)


def tilt(given_y: Gaussian, var_all: float, w: float) -> Gaussian:
    """The law proportional to `given_y^(1 + w) N(0, var_all)^-w`, refused if it has no mass."""
    R = (1 + w) * var_all - w * given_y.var
    if not R > 0:
        raise ValueError(f"w = {w} makes R = {R}, not above 0: no such density can be normalised")
    mean = (1 + w) * given_y.mean * var_all / R
    var = given_y.var * var_all / R
    return Gaussian(mean, var)  # (10.9)


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
    delta_V = -w * (1 + w) * abar * (1 - abar) * (S - S_y) ** 2 / (R * R_t)  # (10.10)
    delta_M = w * (1 + w) * abar**0.5 * (1 - abar) * m * (S - S_y) / (R * R_t)  # (10.11)
    return delta_M, delta_V


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step10_guidance_score")
