r"""Appendix J. Two facts about the tilts of all levels, on which samplers of the tilted law rest.

**Claim.** Under noise of variance $\tau$ let $p_\tau(x | y)$ and $p_\tau(x)$ be the laws of the
class and of all data, $s_y$ and $s$ their scores, and $q_\tau = p_\tau(x | y)^{1 + w}
p_\tau(x)^{-w}$ the tilt of that level. Its score is $s_w = (1 + w) s_y - w s$, what guidance
follows (11.7). At a fixed $\tau$, and from one $\tau$ to the next,

$$ -\nabla \cdot (s_w q_\tau) / 2 + \nabla^2 q_\tau / 2 = 0 $$ (J.1)
$$ \partial_\tau q_\tau = \nabla^2 q_\tau / 2 - \tfrac{1}{2} w (1 + w) |s_y - s|^2 q_\tau $$ (J.2)

**What they say.** The left side of (J.1) is how fast a density $q_\tau$ changes under Langevin's
$dx = s_w dr / 2 + dB_r$, where $r$ is no noise but a time to wait: not at all. Appendix K waits.

The first term of (J.2) is what noise does to any density. Were it alone, the tilts of all levels
would be one law noised, guided chains would sample it, and this lesson would be over. The second
takes mass away where the two scores differ, as $\tau$ grows. Towards the data it has to be *added*
there. No movement of points by $s_w$ does that, so guided chains end elsewhere. Appendix L adds it
as a weight.

**Why.** $\nabla q_\tau = q_\tau \nabla \log q_\tau = q_\tau s_w$: that is (J.1). For (J.2), noise
spreads each law by $\partial_\tau p = \nabla^2 p / 2$, that is by
$\partial_\tau \log p = (\nabla \cdot s_p + |s_p|^2) / 2$. Times $1 + w$ for the class and $-w$ for
all data, the sum is $\partial_\tau \log q_\tau$. Its terms $\nabla \cdot s_p$ add up to
$\nabla \cdot s_w$, but its squares to $(1 + w) |s_y|^2 - w |s|^2$, which is not $|s_w|^2$. It is
$|s_w|^2 - w (1 + w) |s_y - s|^2$: like a variance, of two values with the shares $1 + w$ and $-w$.

**Where it matters.** Both scores forget the data as $\tau$ grows: they then differ by about
$\Delta m / \tau$, for means $\Delta m$ apart, and what is added from there on fades as $1 / \tau$.
Near the data, well inside the class, $s_y = s$: again nothing. It is the levels between that go
wrong, as the figure shows for three classes.

**Boundary.** At $w = 0$ and $w = -1$ nothing is added: there noise does lead from each level to the
next. Between these two it is negative. At $\tau = 0$ the tilt of the level is the tilted law.

**Source.** Song et al. 2021, arXiv:2011.13456; Skreta et al. 2025, arXiv:2503.02819, with
$\gamma = 1 + w$ and their $\sigma_t^2 dt$ for $d\tau$.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tutorial.appendix.h_gaussian_pairs import score_at
from tutorial.contract import Normals
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Gaussian

if TYPE_CHECKING:
    from jaxtyping import Float

# (x, tau) -> the scores of class and of all data at x under noise of variance tau: 2 evaluations.
Scores: TypeAlias = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]


def of_gaussians(given_y: Gaussian, var_all: float) -> Scores:
    """The exact scores of a class `given_y` in data of law N(0, var_all)."""

    def scores(x: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
        s_y = score_at(x, tau, 0.0, given_y, var_all)
        s = score_at(x, tau, -1.0, given_y, var_all)
        return s_y, s

    return scores


def noised(mixture: GaussianMixture, tau: float) -> GaussianMixture:
    """The mixture under noise of variance `tau`."""
    covs = mixture.covs + tau * np.eye(2)
    return GaussianMixture(mixture.means, covs, mixture.weights)


def of_mixture(mixture: GaussianMixture, y: int) -> Scores:
    """The exact scores of class `y` in 0..K-1 of a mixture."""

    def scores(x: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
        law = noised(mixture, tau)
        precisions = np.linalg.inv(law.covs)
        of_each = -np.einsum(
            "nkd,kde->nke", x[:, None] - law.means, precisions
        )  # the scores of all classes
        share = np.exp(law.log_class_probability(x))
        s_y = of_each[:, y]
        s = (share[:, :, None] * of_each).sum(1)
        return s_y, s

    return scores


def mix(pair: tuple[np.ndarray, np.ndarray], w: float) -> np.ndarray:
    """The guided score of the two."""
    s_y, s = pair
    return (1 + w) * s_y - w * s  # (11.7)


def langevin(
    x: Float[np.ndarray, "n 2"], tau: float, w: float, step: float, scores: Scores, rng: Normals
) -> Float[np.ndarray, "n 2"]:
    """One corrector at level `tau`."""
    s_w = mix(scores(x, tau), w)
    z = rng.standard_normal(x.shape)
    return x + step / 2 * s_w + step**0.5 * z  # by (J.1) this leaves q_tau as it is


def added(pair: tuple[np.ndarray, np.ndarray], w: float) -> Float[np.ndarray, " n"]:
    """What has to be added at each point of that pair of scores, for each unit of `-tau`."""
    s_y, s = pair
    square = ((s_y - s) ** 2).sum(1)
    return w * (1 + w) / 2 * square  # (J.2)


def log_level(
    x: Float[np.ndarray, "n 2"], tau: float, y: int, w: float, mixture: GaussianMixture
) -> Float[np.ndarray, " n"]:
    """The log of the tilt of class `y` in 0..K-1 at level `tau`, not normalised."""
    law = noised(mixture, tau)
    return (1 + w) * law.log_density(x, y) - w * law.log_density(x)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.j_levels")
