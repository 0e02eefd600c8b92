r"""Appendix M. Noise up a little, denoise with guidance, again: what is left out is small.

**Claim.** Let $\bar q_\tau$ be the tilted law seen through noise of variance $\tau$, so $q_0$
noised. Let $P$ and $Q$ be the laws of $x_0$ given $x$ and $y$, and given $x$ alone. Then

$$ \nabla \log \bar q_\tau = s_w + \nabla \log \int P(x_0)^{1 + w} Q(x_0)^{-w} dx_0 $$ (M.1)

The last logarithm is $w R$, with $R$ Renyi's divergence of order $1 + w$ of $P$ from $Q$. It is
what guidance leaves out. At a fixed $x$ inside the class, $R$ becomes flat as $\tau$ falls, and the
guided score becomes right. Between the classes it does not: at the centre of the three classes, for
$w = 3$, the right pull upwards is 5.6 at $\tau = 0.1$ and that of guidance 17.1. At $\tau = 1$ they
are 1.2 and 4.8, so the error has grown. What falls with $\tau$ is the probability that a sample is
there. So the rounds stay at low noise. Start from samples of the class, add noise of a
small $\tau$, take it away again by guided DDIM, and repeat.

**Why.** $P = p(x_0 | y) N(x; x_0, \tau) / p_\tau(x | y)$, and $Q$ likewise. In $P^{1 + w} Q^{-w}$
the Gaussian appears once. So its integral is $\int q_0(x_0) N(x; x_0, \tau) dx_0$, that is $\bar
q_\tau$ but for a constant, over $q_\tau$. The gradient of its log is what $\nabla \log \bar q_\tau$
exceeds $s_w$ by.

**A round, for two Gaussians.** DDIM from $\tau$ to 0 divides deviations by $\sqrt G$ (appendix H):

$$ V \leftarrow (V + \tau) / G, \quad G = (1 + \tau / S_y)^{1 + w} (1 + \tau / S)^{-w} $$ (M.2)
$$ V_\infty = \tau / (G - 1) $$ (M.3)

the second being what a round leaves alone. As $G = 1 + k \tau + ...$ with $k$ the precision of the
tilted law, $V_\infty \to 1 / k$ for small $\tau$: right. A round keeps a share $1 / G$ of what is
off: about $1 / (k \tau)$ rounds are needed. For large $\tau$ one round forgets all, and the limit
is that of DDIM alone (H.1). In the example of appendix H at $w = 2$, where $1 / k$ is 0.5:

| tau | 0.01 | 0.1 | 0.5 | 1 | 10 |
|---|---|---|---|---|---|
| $V_\infty$ | .498 | .482 | .431 | .391 | .278 |
| $1 / G$ | .980 | .828 | .463 | .281 | .027 |

**Steps of a round.** At small $\tau$ few do. With one, $y = x + \sqrt\tau z$ goes to
$y + \tau s_w(y) / 2$: Langevin's step, but with the score asked for after the noise, at the level
where it has been trained.

**Boundary.** A round crosses from mode to mode only if $\sqrt\tau$ is about half of their distance,
and then it overshoots. The paper lets guidance be weak in a first pass, to have all modes, and so
does the start here: the class itself.

**Source.** Moufad et al. 2025, arXiv:2505.21101 (the missing term, and the rounds).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.appendix.j_levels import Scores, mix
from tutorial.contract import Normals
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Gaussian
from tutorial.step13_tilted import tilted_on_grid

if TYPE_CHECKING:
    from jaxtyping import Float


def _normalised(log_p: np.ndarray) -> np.ndarray:
    """The logarithms of probabilities that add up to 1."""
    log_p = log_p - log_p.max()
    return log_p - np.log(np.exp(log_p).sum())


def missing(
    x: Float[np.ndarray, " 2"], tau: float, y: int, w: float, mixture: GaussianMixture
) -> float:
    """`w R` at one point, by a sum over the grid of step 13."""
    points, _ = tilted_on_grid(mixture, y, w)
    near = -((points - x) ** 2).sum(1) / (2 * tau)
    log_P = _normalised(mixture.log_density(points, y) + near)
    log_Q = _normalised(mixture.log_density(points) + near)
    return float(np.log(np.exp((1 + w) * log_P - w * log_Q).sum()))  # the last term of (M.1)


def noised_tilt_score(
    x: Float[np.ndarray, " 2"], tau: float, y: int, w: float, mixture: GaussianMixture
) -> Float[np.ndarray, " 2"]:
    """The score of the tilted law seen through noise: by the mean of `x_0`, another sum."""
    points, p = tilted_on_grid(mixture, y, w)
    share = p * np.exp(-((points - x) ** 2).sum(1) / (2 * tau))
    mean_x0 = share @ points / share.sum()
    return (mean_x0 - x) / tau


def gibbs_rounds(
    x: Float[np.ndarray, "n 2"], tau: float, w: float, steps: int, scores: Scores, rng: Normals
) -> Iterator[Float[np.ndarray, "n 2"]]:
    """Yield `x` after each round at level `tau`, of `steps` guided evaluations, without end."""
    taus = [float(a) for a in np.linspace(tau, 0, steps + 1)]
    while True:
        z = rng.standard_normal(x.shape)
        x = x + tau**0.5 * z
        for now, later in pairwise(taus):
            s_w = mix(scores(x, now), w)
            x = x + (now - later) / 2 * s_w  # (H.5)
        yield x


def growth(tau: float, w: float, given_y: Gaussian, var_all: float) -> float:
    """`G`, by which a round at `tau` divides variances."""
    return (1 + tau / given_y.var) ** (1 + w) * (1 + tau / var_all) ** -w  # (M.2)


def left_alone(tau: float, w: float, given_y: Gaussian, var_all: float) -> float:
    """The variance that rounds end in."""
    G = growth(tau, w, given_y, var_all)
    return tau / (G - 1)  # (M.3)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.m_gibbs")
