r"""Appendix K. Correctors: Langevin steps at each noise level, towards its tilted distribution

**The question.** Guided chains do not sample the tilted distribution (step 13). Appendix J found
the reason. The tilted distributions of different noise levels are not one distribution with more or
less noise, so no guided step leads from one to the next. At one fixed level, however, small
Langevin steps with the guided score keep the tilted distribution. Can we add such steps after each
step of DDIM, and how large and how many must they be?

**An example.** In appendix H a class with mean 1 and variance 1 lies in data with mean 0 and
variance 2. By (11.9) the tilted distribution at $w = 2$ has the precision $3 - 2/2 = 2$, so its
variance is 0.5, and its mean is $0.5 \cdot 3 = 1.5$. DDIM with the 40 steps used below ends with
the variance 0.215 and the mean 2.001. With 16 Langevin steps per level, which are called
correctors, it ends with 0.518 and 1.500.

**The algorithm.** As in appendix H, let $x = x_t / \sqrt{\bar\alpha_t}$, and let $\tau$ be the
variance of the noise in $x$. Let $q_\tau$ be the tilted distribution of this level and $s_w$ its
score, the guided score. From $\tau$ to the next smaller level $\tau'$ we make one step of DDIM with
$s_w$, which adds $(\tau - \sqrt{\tau \tau'}) s_w$ to $x$ (H.5). Then we make $n$ correctors at the
new level. A corrector with the step size $\delta$ replaces $x$ by
$x + \delta s_w / 2 + \sqrt\delta z$, with $z \sim N(0, I)$. By (J.1) infinitely small correctors
keep the tilted distribution of the level, and enough of them reach it from any start. DDIM is only
there to bring the samples close, so that few correctors are enough.

**The effect of a finite step.** Assume that $q_\tau$ is Gaussian with the mean $M$ and the
precision $k$, which is the reciprocal of its variance. The guided score is then $-k (x - M)$. Let
$x'$ be the state after one corrector. Subtract the mean from both sides of its definition:

$$ x' - M = x - M - \delta k (x - M) / 2 + \sqrt\delta z $$
$$ x' - M = (1 - \delta k / 2) (x - M) + \sqrt\delta z $$

The noise $z$ is independent of $x$. So the variance $V$ of $x$ becomes

$$ V' = (1 - \delta k / 2)^2 V + \delta $$

At the stationary variance $V_\delta$ the two are equal. Expand the square, subtract $V_\delta$ on
both sides, and divide by $\delta$:

$$ V_\delta (k - \delta k^2 / 4) = 1 $$
$$ V_\delta = 1 / (k (1 - \delta k / 4)) $$ (K.1)

The correctors therefore end in a distribution that is slightly too wide. For $k = 2$ and
$\delta = 0.2$ it has the variance 0.556 and not 0.5. A step with $\delta k \ge 4$ has no stationary
variance, because then $|1 - \delta k / 2| \ge 1$ and the distance from $M$ does not shrink.

**How many steps.** The mean of $x - M$ is multiplied by $1 - \delta k / 2$ in each step. After $n$
correctors the mean $M_0$ of the start has become

$$ M_n = M + (1 - \delta k / 2)^n (M_0 - M) $$ (K.2)

The variance $V_0$ of the start follows the recursion above. The stationary variance satisfies the
same recursion. Subtracting one from the other leaves

$$ V' - V_\delta = (1 - \delta k / 2)^2 (V - V_\delta) $$

and after $n$ steps

$$ V_n = V_\delta + (1 - \delta k / 2)^{2n} (V_0 - V_\delta) $$ (K.3)

In the example with $\delta k = 0.4$, ten correctors leave 11 % of an error of the mean and 1 % of
an error of the variance. The variance converges in half the number of steps.

**Which step size.** A small step is accurate and slow. What matters is only the product of step
size and precision, and the precision changes by orders of magnitude over the levels. For a Gaussian
class of variance $S_y$ in Gaussian data of variance $S \ge S_y$, the precision is known from
(11.9):

$$ k = (1 + w) / (S_y + \tau) - w / (S + \tau) $$
$$ k \le (1 + w) / (S_y + \tau) $$

The second line holds for $w \ge 0$, because the term that it leaves out is not positive. We
therefore choose one number $\rho$ for all levels and weights and set

$$ \delta_\tau = \rho (S_y + \tau) / (1 + w) $$ (K.4)

The product of step size and precision is then at most $\rho$. By (K.1) the variance is too large by
a fraction of at most $\rho / (4 - \rho)$, which is 5.3 % for the value 0.2 used below. Half of this
value has 2.6 % and takes twice the steps. So accuracy costs network evaluations in proportion. A
Metropolis test would remove the error, but it needs densities, and a network gives scores only.

**Measured.** The table shows the example with 40 steps from $\tau = 10^4$ to $10^{-3}$, in which
$\tau$ falls by a constant factor, and $\rho = 0.2$. (So there are 41 levels. The chain starts at
the first of them without correctors.) It is computed with (K.2) and (K.3), without samples. The
last column is the limit of many correctors.

| correctors per level | 0, DDIM | 1 | 4 | 16 | 64 | limit |
|---|---|---|---|---|---|---|
| variance | 0.215 | 0.477 | 0.517 | 0.518 | 0.518 | 0.518 |
| mean | 2.001 | 1.660 | 1.508 | 1.500 | 1.500 | 1.500 |

At the last level the tilted distribution has the variance 0.5006. The remaining 0.0173 in the last
column is the error of the finite step.

**Several classes.** Is $\rho$ also a bound for the three classes of step 1? There the precision
depends on the place. Let all classes have the covariance $S_y I$, and let $m_j$ be their means. The
score of one class has the derivative of a Gaussian's:

$$ -\nabla s_y = I / (S_y + \tau) $$

The score of all data is $s = (E[m_j | x] - x) / (S_y + \tau)$, a mean over the classes. The
derivative of the class probabilities $p(j | x)$ adds a covariance, that of $m_j$ given $x$:

$$ -\nabla s = I / (S_y + \tau) - Cov[m_j | x] / (S_y + \tau)^2 $$

Let $v$ be the variance of $m_j$ given $x$ along one of the axes of this covariance. Along it, the
curvature $1 + w$ times the first minus $w$ times the second, multiplied by the step of (K.4), is

$$ \delta_\tau k = \rho (1 + w v / (S_y + \tau)) / (1 + w) $$ (K.5)

Well inside the class $v = 0$, and the product is only $\rho / (1 + w)$. Between two classes it can
be much larger than $\rho$. A number in an interval of length $D$ has at most the variance
$D^2 / 4$. So if no two means are more than $D$ apart, $v$ is at most $D^2 / 4$. For step 1
$D^2 = 6.75$. At $w = 3$ and $\tau = 0.001$ this gives the product $5.29 \rho$. So $\rho = 0.2$ is
stable, with 1.06, and 0.8 is not, because 4.23 exceeds the limit of 4. In the figure there are 30
steps. 12 correctors with the value 0.2 bring the top class to the mean height of the tilted
distribution, 1.526 (step 13), within the standard error of 0.009. DDIM with the same steps ends at
2.38.

**At the boundary.** $n = 0$ is DDIM, guided. At $w = 0$ the correctors keep the class, except for
the width of (K.1). In (K.5) the curvature is positive everywhere for $w \ge 0$. So classes of one
covariance have tilted distributions with a single mode, and the correctors need not cross a gap.
This is not so for a class that consists of several modes. Langevin steps at low noise do not cross
between distant modes in a practical time. Their fractions are decided at high noise, and the
fractions there need not be those of the tilted distribution. Then each mode has the right shape but
the wrong fraction of the samples.

**What goes wrong.** One step size is used for all levels. A corrector of size 0.2 at $\tau = 10^4$
moves the mean by about $10^{-5}$ of its distance, and the correctors have no effect. The bound of
(K.4) is taken for a bound on every data set, and the correctors diverge between the classes. The
correctors are made with the score of the level before the step of DDIM.

**Where it goes on.** What the correctors cannot repair, the fractions of the modes, needs weights
on the samples: appendix L.

**Source.** Song et al. 2021, arXiv:2011.13456, sec. 4.2 (predictor and corrector). Bradley and
Nakkiran 2024, arXiv:2408.09000, sec. 4 (guidance as a corrector). Du et al. 2023, arXiv:2302.11552
(more correctors for products of densities). (K.5) is derived here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.appendix.i_predictor_corrector import levels
from tutorial.appendix.j_levels import Scores, langevin, mix, of_mixture
from tutorial.contract import Normals, last
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Gaussian
from tutorial.step11_guidance import tilt

if TYPE_CHECKING:
    from jaxtyping import Float


def corrector_step(tau: float, w: float, var: float, rho: float) -> float:
    """The step size at level `tau`, for a class of variance `var`; 0 < `rho` < 4 and `w` >= 0."""
    return rho * (var + tau) / (1 + w)  # (K.4)


def step_times_curvature(spread: float, tau: float, w: float, var: float, rho: float) -> float:
    """delta k at level `tau`, along an axis on which the class means have the variance `spread`.

    `spread` is v, the variance given x. All classes have the variance `var`.
    """
    return rho * (1 + w * spread / (var + tau)) / (1 + w)  # (K.5)


def corrected_steps(
    x: Float[np.ndarray, "n 2"],
    taus: Float[np.ndarray, " levels"],
    w: float,
    n: int,
    rho: float,
    var: float,
    scores: Scores,
    rng: Normals,
) -> Iterator[Float[np.ndarray, "n 2"]]:
    """Yield `x` at each of the falling `taus` but the first: guided DDIM, then `n` correctors."""
    for tau, later in pairwise(map(float, taus)):
        s_w = mix(scores(x, tau), w)
        x = x + (tau - (tau * later) ** 0.5) * s_w  # DDIM keeps eps: (H.5)
        delta = corrector_step(later, w, var, rho)
        for _ in range(n):
            x = langevin(x, later, w, delta, scores, rng)
        yield x


def settled(target: Gaussian, step: float) -> Gaussian:
    """The stationary distribution of correctors of size `step`, if `target` is tilted."""
    k = 1 / target.var
    V = 1 / (k * (1 - step * k / 4))  # (K.1)
    return Gaussian(target.mean, V)


def corrected(start: Gaussian, target: Gaussian, step: float, n: int) -> Gaussian:
    """The distribution after `n` correctors from `start`, if `target` is tilted."""
    end = settled(target, step)
    k = 1 / target.var
    left = (1 - step * k / 2) ** n
    M = target.mean + left * (start.mean - target.mean)  # (K.2)
    V = end.var + left**2 * (start.var - end.var)  # (K.3)
    return Gaussian(M, V)


def chain_law(
    taus: Float[np.ndarray, " levels"],
    w: float,
    n: int,
    rho: float,
    given_y: Gaussian,
    var_all: float,
) -> Gaussian:
    """The distribution in which `corrected_steps` ends, from N(0, taus[0])."""
    state = Gaussian(0 * given_y.mean, float(taus[0]))
    for tau, later in pairwise(map(float, taus)):
        now = tilt(Gaussian(given_y.mean, given_y.var + tau), var_all + tau, w)
        target = tilt(Gaussian(given_y.mean, given_y.var + later), var_all + later, w)
        kept = 1 - (tau - (tau * later) ** 0.5) / now.var
        mean = now.mean + kept * (state.mean - now.mean)
        state = Gaussian(mean, kept**2 * state.var)
        delta = corrector_step(later, w, given_y.var, rho)
        state = corrected(state, target, delta, n)
    return state


@cache
def top_class(w: float, n: int) -> Float[np.ndarray, "samples 2"]:
    """3,000 samples of class 0 of `three_gaussians`, with `n` correctors per level."""
    rng = np.random.default_rng(0)
    taus = levels(30, 1e4, 1e-3)
    x = 100 * rng.standard_normal((3000, 2))
    scores = of_mixture(three_gaussians(), 0)
    return last(corrected_steps(x, taus, w, n, 0.2, 0.25, scores, rng))


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.k_correctors")
