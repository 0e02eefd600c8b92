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
score, the guided score. From $\tau$ to the next smaller level $\tau'$ we make one step of DDIM. By
(17.15) it adds $\sqrt{\tau'} - \sqrt\tau$ times the guided prediction of the noise to $x$, and this
prediction is $-\sqrt\tau s_w$ (appendix H). So the step adds

$$ (\sqrt{\tau'} - \sqrt\tau) (-\sqrt\tau s_w) = (\tau - \sqrt{\tau \tau'}) s_w $$

Then we make $n$ correctors at the new level. A corrector with the step size $\delta$ replaces $x$
by $x + \delta s_w / 2 + \sqrt\delta z$, with $z \sim N(0, I)$. By (J.1) infinitely small correctors
keep the tilted distribution of the level, and by (J.5) they bring every distribution with a finite
distance $\chi^2$ closer to it. DDIM is only there to bring the samples close, so that few
correctors are enough.

**The effect of a finite step.** Assume that $q_\tau$ is Gaussian with the mean $M$ and the
precision $k$, which is the reciprocal of its variance. The guided score is then $-k (x - M)$. Let
$x'$ be the state after one corrector. Subtract the mean from both sides of its definition:

$$ x' - M = x - M - \delta k (x - M) / 2 + \sqrt\delta z $$
$$ x' - M = (1 - \delta k / 2) (x - M) + \sqrt\delta z $$

The noise $z$ is independent of $x$. So the variance $V$ of $x$ becomes

$$ V' = (1 - \delta k / 2)^2 V + \delta $$

At the stationary variance $V_\delta$, $V'$ and $V$ are equal. Expand the square, subtract
$V_\delta$ on both sides, and divide by $\delta$:

$$ V_\delta (k - \delta k^2 / 4) = 1 $$
$$ V_\delta = 1 / (k (1 - \delta k / 4)) $$ (K.1)

The correctors therefore end in a distribution that is too wide. For $k = 2$ and $\delta = 0.2$ it
has the variance 0.556 and not 0.5. A step with $\delta k \ge 4$ has no stationary variance, because
then $|1 - \delta k / 2| \ge 1$ and the distance from $M$ does not shrink.

**How many steps.** The mean of $x - M$ is multiplied by $1 - \delta k / 2$ in each step. After $n$
correctors the mean $M_0$ of the start has become

$$ M_n = M + (1 - \delta k / 2)^n (M_0 - M) $$ (K.2)

The variance $V_0$ of the start follows the recursion above. The stationary variance satisfies the
same recursion. Subtracting one from the other leaves

$$ V' - V_\delta = (1 - \delta k / 2)^2 (V - V_\delta) $$

and after $n$ steps

$$ V_n = V_\delta + (1 - \delta k / 2)^{2n} (V_0 - V_\delta) $$ (K.3)

For $k = 2$ and $\delta = 0.2$, ten correctors leave 11 % of an error of the mean and 1 % of an
error of the variance. The variance converges in half the number of steps.

**Which step size.** With small steps the relative error of (K.1) is small, but many steps are
necessary. Both depend on the step size only through its product with the precision, and the
precision changes by orders of magnitude over the levels. For a Gaussian class of variance $S_y$ in
Gaussian data of variance $S \ge S_y$, the precision is known from (11.9):

$$ k = (1 + w) / (S_y + \tau) - w / (S + \tau) $$
$$ k \le (1 + w) / (S_y + \tau) $$

The second line holds for $w \ge 0$, because the term that it leaves out is not positive. We
therefore choose one number $\rho$ for all levels and weights and set the following step size. (In
appendices H and J the letter had other meanings.)

$$ \delta_\tau = \rho (S_y + \tau) / (1 + w) $$ (K.4)

The product of step size and precision is then at most $\rho$. So by (K.1) the variance is too large
by a fraction of at most $1 / (1 - \rho / 4) - 1 = \rho / (4 - \rho)$. For the value 0.2 used below
this is 5.3 %. Half of the value gives 2.6 % and needs twice as many steps. So the error is about
inversely proportional to the number of network evaluations. A Metropolis test, which accepts or
rejects each step, would remove the error. But it needs ratios of densities, and a network gives
scores only.

**Measured.** The table shows the example with 40 steps from $\tau = 10^4$ to $10^{-3}$, in which
$\tau$ falls by a constant factor, and $\rho = 0.2$. (So there are 41 levels. The chain starts at
the first of them without correctors.) It is computed with (K.2) and (K.3), without samples. The
last column is the limit of many correctors.

| correctors per level | 0, DDIM | 1 | 4 | 16 | 64 | limit |
|---|---|---|---|---|---|---|
| variance | 0.215 | 0.477 | 0.517 | 0.518 | 0.518 | 0.518 |
| mean | 2.001 | 1.660 | 1.508 | 1.500 | 1.500 | 1.500 |

At the last level the tilted distribution has the variance 0.5006. The remaining 0.0173 in the last
column is the error of the finite step. How many correctors are enough? Here 4 per level bring the
mean to within 0.01 of the limit, and the variance to within 0.001. More of them change little. Only
a smaller $\rho$ brings the variance closer to that of the tilted distribution.

**Several classes.** Is $\rho$ also a bound for the three classes of step 1? There the precision
depends on the place. Let all classes have the covariance $S_y I$, and let $m_j$ be their means. The
score of class $j$ is $(m_j - x) / (S_y + \tau)$. Let $\nabla s$ be the matrix of the derivatives of
a score $s$. For the class $y$ it is

$$ -\nabla s_y = I / (S_y + \tau) $$

The score of all data is the mean of the scores of the classes with the weights $p(j | x)$ (5.15).
Let $E[m_j | x]$ be the mean of the $m_j$ with these weights. Then

$$ s = (E[m_j | x] - x) / (S_y + \tau) $$

How do the weights change with $x$? By Bayes' rule the gradient of $\log p(j | x)$ is the score of
class $j$ minus the score of all data. In this difference $x$ cancels:

$$ \nabla p(j | x) = p(j | x) (m_j - E[m_j | x]) / (S_y + \tau) $$

Multiply this by $m_j$ and sum over the classes, to obtain the derivative of $E[m_j | x]$. In the
sum of $p(j | x) m_j (m_j - E[m_j | x])^T$ the first $m_j$ may be replaced with $m_j - E[m_j | x]$,
because the mean of the last factor is 0. So this is the covariance matrix of $m_j$ given $x$, and

$$ -\nabla s = I / (S_y + \tau) - Cov[m_j | x] / (S_y + \tau)^2 $$

Let $v$ be the variance of $m_j$ given $x$ along one of the axes of this covariance matrix, the
directions of its eigenvectors. (In appendix J the letter was a drift.) Along the axis, the guided
score $(1 + w) s_y - w s$ has the derivative $-k$ with

$$ k = (1 + w) / (S_y + \tau) - w / (S_y + \tau) + w v / (S_y + \tau)^2 $$

This number is called the curvature at $x$, and it takes the place of the precision. Multiply it by
the step size of (K.4):

$$ \delta_\tau k = \rho (1 + w v / (S_y + \tau)) / (1 + w) $$ (K.5)

At low noise and well inside the class $v$ is close to 0, and the product is only about
$\rho / (1 + w)$. Between two classes it can be much larger than $\rho$. A number in an interval of
length $D$ has at most the variance $D^2 / 4$. So if no two means are more than $D$ apart, $v$ is at
most $D^2 / 4$. For step 1 $D^2 = 6.75$. At $w = 3$ and $\tau = 0.001$ this gives the product
$5.29 \rho$, which is 1.06 for $\rho = 0.2$ and 4.23 for 0.8. A corrector multiplies a small
difference between two states by $1 - \delta_\tau k / 2$. Half way between two classes this is 0.47
for $\rho = 0.2$, and -1.12 for 0.8. So with 0.8 two neighbouring states there move apart. The
correctors do not diverge, however. Without its noise a corrector leads from $x$ to
$(1 - \theta) x + \theta ((1 + w) m_y - w E[m_j | x])$ with $\theta = \rho / (2 (1 + w))$. The
second term is bounded, so states far away come back if $\theta$ is below 2.

In the figure there are 30 steps. 12 correctors with the value 0.2 bring the top class to the mean
height of the tilted distribution, 1.526 (step 13), within the standard error of 0.009. DDIM with
the same steps ends at 2.38. Few samples lie between the classes. So even the value 0.8 does little
harm here: the same number of correctors ends at 1.536.

**At the boundary.** $n = 0$ is DDIM, guided. At $w = 0$ the correctors keep the class, except for
the width of (K.1). In (K.5) the curvature is positive everywhere and along every axis for
$w \ge 0$, so the logarithm of the tilted density is concave. Therefore classes that all have the
covariance $S_y I$ have tilted distributions with a single mode, and the correctors need not cross a
gap. This is not so for a class that consists of several modes. Langevin steps at low noise do not
cross between distant modes in a practical time. Their fractions are decided at high noise, and the
fractions there need not be those of the tilted distribution. Then each mode has the right shape but
the wrong fraction of the samples.

**What goes wrong.** One step size is used for all levels. A corrector of size 0.2 at $\tau = 10^4$
moves the mean by about $10^{-5}$ of its distance, and the correctors have no effect. The bound of
(K.4) is taken for a bound on every data set. Between classes the product of step size and curvature
can exceed $\rho$, and where it exceeds 4, neighbouring states move apart. The correctors use the
score of the level before the step of DDIM.

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
        x = x + (tau - (tau * later) ** 0.5) * s_w  # DDIM, (17.15)
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
