r"""Appendix L. Feynman-Kac weights: an exact correction that can take very many chains

**The question.** Guided chains do not sample the tilted distribution. The reason is that noise does
not turn the tilted distribution of one level into that of the next (appendix J). Correctors repair
each level by more steps (appendix K). Can we instead keep the guided chain as it is, and give each
sample a weight that corrects its distribution? And how much accuracy is lost if these weights
differ?

**An example.** In appendix H, with the mean 0, the tilted distribution at $w = 2$ has the variance
0.5 in each direction. Guided DDPM with 400 steps from $\tau = 10^4$ to 0.001 ends with the variance
0.379. The weighted samples of the same chains have the variance 0.484, and those of 3200 steps have
0.499. The proof below is not restricted to Gaussians. It assumes that the tilted densities have
finite integrals, and that an equation has only one solution. For the three classes of step 1 at
$w = 3$, however, the weighted samples of 8000 chains are still far from the tilted distribution.

**The weight.** As in appendix H, $\tau$ is the noise variance of $x$, and $s_y$, $s$ and $s_w$ are
the scores of the class, of all data and of guidance. Run DDPM, (H.6), with the guided score. Each
chain carries a weight $W$, which is 1 at the start and grows according to

$$ d \log W = \tfrac{1}{2} w (1 + w) |s_y - s|^2 |d\tau| $$ (L.1)

For $w > 0$ a chain gains weight where the label changes the score. In a program $|d\tau|$ is the
difference $\tau - \tau'$ of two levels. No further evaluation of the network is required, because
guidance computes both scores anyway.

**Why this is the right weight.** Let $g = w (1 + w) |s_y - s|^2 / 2$ be the rate of growth, and let
$f$ be a smooth function that is 0 far away. In a small step of length $h = \tau - \tau'$ the state
has the drift $s_w$ and noise of variance $h$. By appendix J the mean of $f(x')$ over the noise is
$f + h s_w \cdot \nabla f + h \nabla^2 f / 2$, up to higher orders. The weight is multiplied by
$1 + h g$. So the mean of $W f(x)$ over all chains changes at the rate

$$ -\partial_\tau E[W f(x)] = E[W (s_w \cdot \nabla f + \nabla^2 f / 2 + g f)] $$

Let $\rho(x)$ be, at each level, the density of the chains at $x$, multiplied by the mean weight of
the chains there. The mean of $W$ times any function is then the integral of $\rho$ times this
function. As in appendix J, integrate by parts and compare the factors of $f$:

$$ -\partial_\tau \rho = -\nabla \cdot (s_w \rho) + \nabla^2 \rho / 2 + g \rho $$

This is the Fokker-Planck equation with an additional term, which comes from the weights. (That a
mean over weighted paths solves such an equation is the formula of Feynman and Kac.) We claim that
the tilted density $q_\tau$ of each level, not normalised, is a solution. By (J.1) its drift term is
$-\nabla^2 q_\tau$, so the right side becomes

$$ -\nabla^2 q_\tau + \nabla^2 q_\tau / 2 + g q_\tau = -\nabla^2 q_\tau / 2 + g q_\tau $$

By (J.2) this is $-\partial_\tau q_\tau$, the left side. The integral of $q_\tau$ is called its
mass. Let $q_T$ be the tilted density of the first level $\tau_T$, and suppose that the chains start
with the density $q_T$ divided by its mass. Take infinitely small steps. Then $\rho$ and $q_\tau$
divided by the mass of $q_T$ satisfy the same equation, and they are equal at the first level. We
assume that the equation has only one solution with this start. So they are equal at every level,
and at the end, for every function $f$ for which both sides are finite,

$$ E[W f(x)] = \int f q_0 dx / \int q_T dx $$ (L.2)

A program starts from $N(0, \tau_T I)$, because it cannot sample $q_T$. For a large $\tau_T$ the two
are close. Let $Z_\tau$ be the mass. Far in the noise the densities of the class and of all data
approach $N(0, \tau I)$. Their exponents $1 + w$ and $-w$ add up to 1, so $q_\tau$ approaches the
same Gaussian, and $Z_\tau$ tends to 1. By appendix J $\partial_\tau \log Z_\tau = -\bar g$, and
(J.4) approximates $\bar g$. Its integral from $\tau_T$ to infinity is the logarithm of the mass at
$\tau_T$, about $w (1 + w) |\Delta m|^2 / (2 \tau_T)$. For the three classes of step 1, with $w = 3$
and $\tau_T = 400$, this makes a mass of 1.034. By (11.9) with both variances close to $\tau_T$, the
mean of $q_T$ is about $1 + w$ times the mean of the class. This is $4 \cdot 1.5 = 6$, or 0.3
standard deviations of 20. With $f = 1$, (L.2) states that the mean weight is the mass $Z$ of
(13.2), divided by the mass of $q_T$, which is close to 1.

Correctors may be added between two levels. They do not change the weights, and by (J.1) infinitely
small ones do not change $\rho$. Finite ones make the samples too wide, by (K.1). In the example one
corrector per level, of the size (K.4) with the factor 0.5, changes the variance of the weighted
samples from 0.484 to 0.546.

**The effective sample size.** If the weights differ, the weighted mean is less accurate than a
plain mean of the same number of samples. By how much? Suppose that the weights are given numbers,
and that the values $f_i$ are independent and have the variance $v$. The variance of the weighted
mean is then

$$ Var[\sum_i W_i f_i / \sum_i W_i] = v \sum_i W_i^2 / (\sum_i W_i)^2 $$

A plain mean of $n$ values has the variance $v / n$. So the weighted mean is as accurate as a plain
mean of $n_{eff}$ values, where

$$ n_{eff} = (\sum_i W_i)^2 / \sum_i W_i^2 $$ (L.3)

If $k$ of the $n$ weights are equal and the others 0, this is $k$.

**Resampling.** When $n_{eff}$ falls below $n / 2$, samples with small weights are dropped and those
with large weights are copied. Let $\bar W$ be the mean weight. Systematic resampling draws one
uniform number $u$ in 0..1. It places $n$ equidistant points on the cumulative sum of the weights
and copies sample $i$ once for each point in its interval:

$$ \text{copies of } i = \#\{j: W_1 + .. + W_{i-1} \le (j + u) \bar W < W_1 + .. + W_i\} $$ (L.4)

Here $j$ runs over 0 to $n - 1$, and $\#$ denotes the number of elements. The points are $\bar W$
apart, and the interval of sample $i$ has the length $W_i$. So it contains $W_i / \bar W$ points,
rounded up or down. As $u$ runs from 0 to 1, the points together pass over each place exactly once,
so the mean number over $u$ is the length $W_i$ divided by $\bar W$. All weights are then set to
$\bar W$. In the mean over $u$ this keeps the sum of $W_i f(x_i)$ for every function $f$, so (L.2)
still holds. The mean weight is kept in every draw.

**Two Gaussians, exactly.** In the example the class is $N(0, 1)$ and all data are $N(0, 2)$ on each
axis. The two scores differ by a multiple of $x$:

$$ s_y - s = -x / (1 + \tau) + x / (2 + \tau) = -x / ((1 + \tau) (2 + \tau)) $$

By (L.1) a step of length $\tau - \tau'$ therefore multiplies the density on each axis by
$e^{a x^2}$ with

$$ a = w (1 + w) (\tau - \tau') / (2 (1 + \tau)^2 (2 + \tau)^2) $$

If the density before is $N(0, V)$ with the mass $Z$, the exponent becomes

$$ a x^2 - x^2 / (2 V) = -x^2 / (2 V'), \quad 1 / V' = 1 / V - 2 a $$

This is a Gaussian with a new variance. Its mass follows from the ratio of the two normalising
constants:

$$ V' = V / (1 - 2 a V), \quad Z' = Z / \sqrt{1 - 2 a V} $$ (L.5)

If $2 a V \ge 1$, the integral is infinite. The step of DDPM follows. As in appendix I, it changes
the variance to $(1 - (\tau - \tau') k_w)^2 V' + (\tau - \tau') \tau' / \tau$, where
$k_w = (1 + w) / (1 + \tau) - w / (2 + \tau)$. It does not change the mass. With these two rules we
compute the variance and the mass level by level, starting with $V = \tau_T$ and $Z = 1$.

With $2 a$ in place of $a$ at all levels, the mass at the end is the mean of $W^2$. For many chains
$n_{eff} / n$ tends to $Z^2$ divided by this mean. The table shows one axis, computed with 3200
steps from $\tau_T = 10^4$ to 0.001. In comparison it shows one run of 20,000 chains in the plane
with 400 steps between the same levels, without resampling. (The weight of a chain in the plane is
the product of the weights of its two axes. The run has $n_{eff} / n$ = 0.951, 0.696 and 0.117. The
table gives the roots of these numbers, which belong to one axis.)

| w | tilted variance | weighted variance: exact, run | fraction n_eff / n: exact, run |
|---|---|---|---|
| 1 | 0.6667 | 0.665, 0.646 | 0.974, 0.975 |
| 2 | 0.5 | 0.499, 0.481 | 0.821, 0.835 |
| 4 | 0.3333 | 0.332, 0.303 | 0, 0.342 |

From a certain weight on the mean of $W^2$ is infinite: from $w = 3.11$ with 400 steps, and from
3.00 with 3200 steps. Extrapolated linearly in the length of the steps to 0 it is 2.99. (L.2) still
holds there. But the $n_{eff}$ of a run then depends on chance and on the number of chains, and a
standard error has no meaning. With 400 steps the exact variances are 0.650, 0.484 and 0.318, which
is 2 to 5 % below the tilted ones. This is the error of the finite steps. The exact fractions are
then 0.976, 0.835 and 0.

**Three classes, measured.** (L.2) holds for the classes of step 1, too. How many chains does it
need there? The table shows a run of 8000 chains with 300 steps from $\tau = 400$ to 0.001, once
without and once with resampling. The exact values are sums over a grid (step 13). The last column
is the mean height of the chains without weights.

| w | mass: exact, run, resampled | height: exact, run, resampled | n_eff / n of both runs | DDPM |
|---|---|---|---|---|
| 0.5 | 1.72, 1.70, 1.70 | 1.510, 1.512, 1.511 | 0.42, 1.00 | 1.609 |
| 1 | 2.96, 2.75, 3.02 | 1.515, 1.559, 1.488 | 0.17, 0.95 | 1.671 |
| 3 | 26.3, 15.0, 15.6 | 1.526, 1.681, 1.656 | 0.03, 0.55 | 1.791 |

At $w = 3$ the mass is 43 % too small in this run, and the weighted heights are far from 1.526. What
do other runs give? Six seeds, of which the table has the first, have the masses 15.0, 15.6, 14.1,
16.3, 41.4 and 17.3 without resampling. In the fifth run a single chain has 60 % of the whole
weight. By (L.2) the mean weight is right in the mean over many runs, apart from the errors of the
finite steps and of the start. Here five of the six runs are far below the exact mass, and one is
far above it. The fractions $n_{eff} / n$ depend on the seed as well: they range from 0.20 to 0.45
at $w = 0.5$ and from 0.0003 to 0.03 at $w = 3$.

Which chains have a large weight? In the run of the table without resampling the heaviest 1 % of the
chains have 34 % of the weight. They gain 4.0 of their mean $\log W$ of 5.9 between $\tau = 10$ and
1, where all chains gain 0.9 in the mean. At $\tau = 10$ their mean height is 1.06 and their median
$p(y | x)$ is 0.35. The mean height of all chains is 4.97 there. So the weight is large for chains
that are still ambiguous at $\tau = 10$ and end in the top class nevertheless. The largest weights
belong to chains that are so rare that most of the six runs lack them. Resampling does not create
them. In five of the six runs the resampled masses are 15.3 to 18.7, and the heights 1.63 to 1.67.
In the sixth run the mass is 38.9, and the height is 1.48, below the exact value. After resampling
$n_{eff}$ is large again, from 0.55 to 0.99 of $n$, but the results are as wrong as before. So a
large $n_{eff}$ does not show that the result is right: it measures how much the weights of the
existing chains differ, and not which chains are missing.

**At the boundary.** At $w = 0$ and $w = -1$ the rate $g$ is 0, and all weights are 1. This is the
chain of the class or of all data without guidance. Between these two weights the rate is negative.
Where the class probability does not change with the place, the two scores agree, and no weight is
gained.

**What goes wrong.** After resampling the old weights are kept, which counts them twice. Or they are
set to 1, which loses the mass. The chains start from $N(0, \tau_T I)$ at a small $\tau_T$, where
this is far from $q_T$. A large $n_{eff}$ of a run is taken for a proof of its accuracy.

**Where it goes on.** Correctors cost evaluations, and weights cost samples. Appendix M uses
guidance only at low noise, where its error is small for most samples.

**Source.** Skreta et al. 2025, arXiv:2503.02819 (the weights). Kitagawa 1996, JCGS 5:1 (L.4). The
failure for three classes was measured here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.appendix.i_predictor_corrector import levels
from tutorial.appendix.j_levels import Scores, added, langevin, mix, of_gaussians, of_mixture
from tutorial.appendix.k_correctors import corrector_step
from tutorial.contract import last
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Gaussian

if TYPE_CHECKING:
    from jaxtyping import Float, Int

CENTRED = Gaussian(np.zeros(2), 1.0), 2.0


def effective_share(log_weights: Float[np.ndarray, " n"]) -> float:
    """The fraction n_eff / n, which lies between 1 / n and 1."""
    weights = np.exp(log_weights - log_weights.max())
    return float(weights.mean() ** 2 / (weights**2).mean())  # (L.3)


def copies(log_weights: Float[np.ndarray, " n"], u: float) -> Int[np.ndarray, " n"]:
    """The `n` indices of systematic resampling, with repeats, for one number `u` in 0..1."""
    n = len(log_weights)
    weights = np.exp(log_weights - log_weights.max())
    upto = np.cumsum(weights) / weights.sum()
    chosen = np.searchsorted(upto, (np.arange(n) + u) / n, side="right")  # (L.4)
    return np.minimum(chosen, n - 1)  # rounding may leave the last sum below 1


def weighted_steps(
    x: Float[np.ndarray, "n 2"],
    taus: Float[np.ndarray, " levels"],
    w: float,
    scores: Scores,
    rng: np.random.Generator,
    below: float = 0.5,
    correctors: int = 0,
    var: float = 1.0,
) -> Iterator[tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]]:
    """Yield `x` and log weights at each of the falling `taus` but the first.

    The chains are resampled when n_eff / n is below `below`. After each step there are `correctors`
    Langevin steps of appendix K with rho = 0.5, for a class of variance `var`.
    """
    log_weights = np.zeros(len(x))
    for tau, later in pairwise(map(float, taus)):
        step = tau - later
        pair = scores(x, tau)
        log_weights = log_weights + step * added(pair, w)  # (L.1)
        sigma = (step * later / tau) ** 0.5  # of the posterior of step 4, as in appendix H
        z = rng.standard_normal(x.shape)
        x = x + step * mix(pair, w) + sigma * z  # DDPM, (H.6)
        if effective_share(log_weights) < below:
            mean = np.logaddexp.reduce(log_weights) - np.log(len(x))  # so that (L.2) still holds
            chosen = copies(log_weights, rng.random())
            x = x[chosen]
            log_weights = np.full(len(x), mean)
        delta = corrector_step(later, w, var, 0.5)
        for _ in range(correctors):
            x = langevin(x, later, w, delta, scores, rng)
        yield x, log_weights


def mean_of(f: Float[np.ndarray, "n *d"], log_weights: Float[np.ndarray, " n"]) -> np.ndarray:
    """The weighted mean of rows."""
    weights = np.exp(log_weights - log_weights.max())
    return np.average(f, axis=0, weights=weights)  # (L.2)


def exact(taus: Float[np.ndarray, " levels"], w: float, power: int) -> tuple[float, float]:
    """Mass and variance on an axis of `CENTRED`, weighted by `W^power`; the mass may be inf."""
    given_y, S = CENTRED
    var = float(taus[0])
    log_Z = 0.0
    for tau, later in pairwise(map(float, taus)):
        step = tau - later
        k = 1 / (given_y.var + tau)
        k_all = 1 / (S + tau)
        a = power * step * w * (1 + w) * (k - k_all) ** 2 / 2  # the weight is e^(a x^2)
        left = 1 - 2 * a * var
        if not left > 0:
            return np.inf, np.nan
        var = var / left  # (L.5)
        log_Z = log_Z - np.log(left) / 2  # (L.5)
        k_w = (1 + w) * k - w * k_all
        var = (1 - step * k_w) ** 2 * var + step * later / tau  # the step of DDPM
    return float(np.exp(log_Z)), var


def one_run(w: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Samples and log weights over 400 levels, not resampled."""
    rng = np.random.default_rng(0)
    taus = levels(400, 1e4, 1e-3)
    scores = of_gaussians(*CENTRED)
    x = 100 * rng.standard_normal((n, 2))
    return last(weighted_steps(x, taus, w, scores, rng, below=0.0))


@cache
def three_classes(
    w: float, below: float, n: int = 8000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Samples of the top class of step 1, and log weights, over 300 levels."""
    rng = np.random.default_rng(seed)
    taus = levels(300, 400.0, 1e-3)
    x = 20 * rng.standard_normal((n, 2))
    scores = of_mixture(three_gaussians(), 0)
    return last(weighted_steps(x, taus, w, scores, rng, below, 0, 0.25))


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.l_feynman_kac")
