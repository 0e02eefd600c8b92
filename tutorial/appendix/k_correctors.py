r"""Appendix K. Correctors: wait at each level until the tilt of that level is there.

**Claim.** Appendix I split DDPM into DDIM and one step of Langevin's a level. Take $n$ of them,
small ones, with the guided score itself, and the chain ends in the tilted law: the one that
guidance was meant to sample. By (J.1) the wait at $\tau$ ends in $q_\tau$ wherever it began. Noise
does not lead from one $q_\tau$ to the next (11.10), and need not: DDIM only brings points near
enough for the wait to be short.

**What a finite step does.** Where $q_\tau$ is Gaussian of precision $k$ about $M$, a step of size
$\delta$ multiplies what is off by $1 - \delta k / 2$ and adds noise of variance $\delta$. The
variance that stays the same is $V = (1 - \delta k / 2)^2 V + \delta$, that is

$$ V_\delta = 1 / (k (1 - \delta k / 4)) $$ (K.1)

a little too wide. From mean $M_0$ and variance $V_0$ the $n$ steps come to

$$ M_n = M + (1 - \delta k / 2)^n (M_0 - M) $$ (K.2)
$$ V_n = V_\delta + (1 - \delta k / 2)^{2n} (V_0 - V_\delta) $$ (K.3)

**Which step.** Of a class of variance $S_y$ in wider data, at $w \ge 0$, $k$ is at most
$(1 + w) / (S_y + \tau)$, the class's part of it. So one number $\rho$ does for all levels and $w$:

$$ \delta_\tau = \rho (S_y + \tau) / (1 + w) $$ (K.4)

then $\delta k \le \rho$, and by (K.1) $V$ is too large by a share of at most $\rho / (4 - \rho)$.
Half a $\rho$ halves that, and needs twice the steps: accuracy costs network evaluations in
proportion. (A step of Metropolis would make it exact, but needs densities, not scores.)

**Measured.** In the example of appendix H, $S_y = 1$ in $S = 2$, $w = 2$, the tilted law has $V =
1/2$ and mean 1.5. 40 levels from $10^4$ to $10^{-3}$, $\rho = 0.2$; by (K.2) and (K.3), no samples:

| correctors a level | 0, DDIM | 1 | 4 | 16 | 64 | for ever |
|---|---|---|---|---|---|---|
| variance | .215 | .477 | .517 | .518 | .518 | .518 |
| mean | 2.001 | 1.660 | 1.508 | 1.500 | 1.500 | 1.500 |

**Boundary.** $n = 0$ is DDIM. Classes far apart are not a problem here: a step of Langevin never
crosses from one to another at small $\tau$, and has not to, as the tilt of one class is one hill.
Where a tilt has several, their shares are settled at large $\tau$, and what $q_\tau$ gives them
there need not be what the tilted law does: the chain then ends right hill by hill only. Appendix L
keeps account of that by weights.

**Source.** Song et al. 2021, arXiv:2011.13456, sec. 4.2; Bradley and Nakkiran 2024,
arXiv:2408.09000, sec. 4; Du et al. 2023, arXiv:2302.11552 (more correctors for products).
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
    """The size of it, for a class of variance `var` and 0 < `rho` < 4; `w` >= 0."""
    return rho * (var + tau) / (1 + w)  # (K.4)


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


def settled(law: Gaussian, step: float) -> Gaussian:
    """Where correctors of that size end if `law` is the tilt of their level."""
    k = 1 / law.var
    V = 1 / (k * (1 - step * k / 4))  # (K.1)
    return Gaussian(law.mean, V)


def corrected(start: Gaussian, law: Gaussian, step: float, n: int) -> Gaussian:
    """The law after `n` correctors from `start`."""
    end = settled(law, step)
    k = 1 / law.var
    left = (1 - step * k / 2) ** n
    M = law.mean + left * (start.mean - law.mean)  # (K.2)
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
    """The law `corrected_steps` end in, from N(0, taus[0])."""
    law = Gaussian(0 * given_y.mean, float(taus[0]))
    for tau, later in pairwise(map(float, taus)):
        now = tilt(Gaussian(given_y.mean, given_y.var + tau), var_all + tau, w)
        then = tilt(Gaussian(given_y.mean, given_y.var + later), var_all + later, w)
        kept = 1 - (tau - (tau * later) ** 0.5) / now.var
        law = Gaussian(now.mean + kept * (law.mean - now.mean), kept**2 * law.var)
        delta = corrector_step(later, w, given_y.var, rho)
        law = corrected(law, then, delta, n)
    return law


@cache
def top_class(w: float, n: int) -> Float[np.ndarray, "samples 2"]:
    """3,000 samples of class 0 of `three_gaussians`, with `n` correctors a level."""
    rng = np.random.default_rng(0)
    taus = levels(30, 1e4, 1e-3)
    x = 100 * rng.standard_normal((3000, 2))
    scores = of_mixture(three_gaussians(), 0)
    return last(corrected_steps(x, taus, w, n, 0.2, 0.25, scores, rng))


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.k_correctors")
