r"""Appendix L. Feynman and Kac: weights for what no movement of points can do.

**Claim.** Run DDPM with the guided score, (H.6), and let each chain carry a weight $W$ with

$$ d \log W = \tfrac{1}{2} w (1 + w) |s_y - s|^2 |d\tau| $$ (L.1)

Then weighted samples have the tilted law, and the mean weight is a ratio of masses:

$$ E[W f(x)] = \int f q_0 dx / \int q_T dx $$ (L.2)

**Why.** Let $\rho(x)$ be the density of chains at $x$ times their mean weight there. Downwards in
$\tau$ the chain changes it by $-\nabla \cdot (s_w \rho) + \nabla^2 \rho / 2$, the weights by the
rate of (L.1) times $\rho$. For $\rho = q_\tau$ the first is $-\nabla^2 q_\tau$ by (J.1), and the
sum is (J.2) with its sign turned. So $\rho$ stays $q_\tau$. For $f = 1$ it gives the mass $Z$ of
(13.2), without a grid. By (J.1) any correctors between two levels change nothing.

**How many are left.** Weights that differ waste samples. As good as $n$ of them are

$$ n_{eff} = (\sum_i W_i)^2 / \sum_i W_i^2 $$ (L.3)

of equal weight. Below $n / 2$, draw $n$ anew and set all weights to their mean:

$$ \text{copies of } i = \#\{j: W_1 + .. + W_{i-1} \le (j + u) \bar W < W_1 + .. + W_i\} $$ (L.4)

for $j = 0..n - 1$ and one $u$ in 0..1: on average $W_i / \bar W$, rounded up or down.

**Exactly.** In the example of appendix H with $m = 0$ the rate is a multiple of $x^2$ on each axis.
A weight $e^{a x^2}$ on mass $Z$, spread as $N(0, V)$, leaves

$$ V \leftarrow V / (1 - 2 a V), \quad Z \leftarrow Z / \sqrt{1 - 2 a V} $$ (L.5)

or no finite mass, if $2 a V \ge 1$. With all $a$ doubled the same gives the mean of $W^2$, hence
$n_{eff} / n$. On an axis, 3,200 levels; and one run of 20,000 chains over 400:

| gamma | w | tilted $V$ | weighted $V$: exact, run | $n_{eff} / n$: exact, run |
|---|---|---|---|---|
| 2 | 1 | .6667 | .666, .646 | .974, .975 |
| 3 | 2 | .5 | .499, .481 | .821, .835 |
| 5 | 4 | .3333 | .333, .303 | 0, .342 |

From about $w = 3$ the mean of $W^2$ is infinite: (L.2) holds, but what a run says of its $n_{eff}$
is a matter of its luck and its $n$, and so is any error bar. Resampling keeps the weights of a
stretch tame; it does not make (L.1) smaller.

**Boundary.** $w = 0$ and $w = -1$ have equal weights: plain chains. A finite step errs by its size,
here by 3 to 5% of $V$ at 400 levels: .650, .484 and .318, exactly.

**Source.** Skreta et al. 2025, arXiv:2503.02819; Kitagawa 1996, JCGS 5:1 (L.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.appendix.i_predictor_corrector import levels
from tutorial.appendix.j_levels import Scores, added, langevin, mix, of_gaussians
from tutorial.appendix.k_correctors import corrector_step
from tutorial.contract import last
from tutorial.step02_forward import Gaussian

if TYPE_CHECKING:
    from jaxtyping import Float, Int

CENTRED = Gaussian(np.zeros(2), 1.0), 2.0


def effective_share(log_weights: Float[np.ndarray, " n"]) -> float:
    """How many equal weights would do as well, over `n`: in 1 / n..1."""
    weights = np.exp(log_weights - log_weights.max())
    return float(weights.mean() ** 2 / (weights**2).mean())  # (L.3)


def copies(log_weights: Float[np.ndarray, " n"], u: float) -> Int[np.ndarray, " n"]:
    """Whom to go on with, given one uniform number `u` in 0..1: `n` indices, with repeats."""
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

    Resampled under an effective share of `below`; `correctors` of rho = .5, for a class of `var`.
    """
    log_weights = np.zeros(len(x))
    for tau, later in pairwise(map(float, taus)):
        step = tau - later
        pair = scores(x, tau)
        log_weights = log_weights + step * added(pair, w)  # (L.1)
        deviation = (step * later / tau) ** 0.5  # of step 4's posterior, as in appendix H
        z = rng.standard_normal(x.shape)
        x = x + step * mix(pair, w) + deviation * z  # DDPM, (H.6)
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
    law, S = CENTRED
    var = float(taus[0])
    log_Z = 0.0
    for tau, later in pairwise(map(float, taus)):
        step = tau - later
        k = 1 / (law.var + tau)
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


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.l_feynman_kac")
