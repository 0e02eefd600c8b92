r"""Step 16, part 4. Noise up a little, denoise with guidance, again: what is left out is small.

**Claim.** Let $\bar q_\tau$ be the tilted law seen through noise of variance $\tau$, so $q_0$
noised. Let $P$ and $Q$ be the laws of $x_0$ given $x$ and $y$, and given $x$ alone. Then

$$ \nabla \log \bar q_\tau = s_w + \nabla \log \int P(x_0)^{1 + w} Q(x_0)^{-w} dx_0 $$ (16.12)

The last logarithm is $w R$, with $R$ Renyi's divergence of order $1 + w$ of $P$ from $Q$. It is
what guidance leaves out. At small $\tau$ both $P$ and $Q$ are a point next to $x$, and $R$ is flat:
there the guided score is right. So stay there. Start from samples of the class, add noise of a
small $\tau$, take it away again by guided DDIM, and repeat.

**Why.** $P = p(x_0 | y) N(x; x_0, \tau) / p_\tau(x | y)$, and $Q$ likewise. In $P^{1 + w} Q^{-w}$
the Gaussian appears once. So its integral is $\int q_0(x_0) N(x; x_0, \tau) dx_0$, that is $\bar
q_\tau$ but for a constant, over $q_\tau$. The gradient of its log is what $\nabla \log \bar q_\tau$
exceeds $s_w$ by.

**A round, for two Gaussians.** DDIM from $\tau$ to 0 divides deviations by $\sqrt G$ (step 15):

$$ V \leftarrow (V + \tau) / G, \quad G = (1 + \tau / S_y)^{1 + w} (1 + \tau / S)^{-w} $$ (16.13)
$$ V_\infty = \tau / (G - 1) $$ (16.14)

the second being what a round leaves alone. As $G = 1 + k \tau + ...$ with $k$ the precision of the
tilted law, $V_\infty \to 1 / k$ for small $\tau$: right. A round keeps a share $1 / G$ of what is
off: about $1 / (k \tau)$ rounds are needed. For large $\tau$ one round forgets all, and the limit
is that of DDIM alone (15.7). In the example of step 15 at $w = 2$, where $1 / k$ is 0.5:

| tau | 0.01 | 0.1 | 0.5 | 1 | 10 |
|---|---|---|---|---|---|
| $V_\infty$ | .498 | .482 | .431 | .391 | .278 |
| $1 / G$ | .980 | .828 | .463 | .281 | .027 |

**Steps of a round.** At small $\tau$ few do. With one, $y = x + \sqrt\tau z$ goes to
$y + \tau s_w(y) / 2$: Langevin's step, but with the score asked for after the noise, at the level
where it has been trained.

**Boundary.** A round crosses from hill to hill only if $\tau$ is as large as their distance, and
then it overshoots. The paper lets guidance be weak in a first pass, to have all hills, and so does
the start here: the class itself.

**Source.** Moufad et al. 2025, arXiv:2505.21101 (the missing term, and the rounds).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tutorial.contract import Normals
from tutorial.program import BLUE, GREY, ORANGE, Check, present
from tutorial.step00_notation import Gaussian
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step10_guidance_score import tilt
from tutorial.step15_gaussian import EXAMPLE
from tutorial.step15_tilted import tilted_on_grid
from tutorial.step16_levels import Scores, mix, of_gaussians, of_mixture

if TYPE_CHECKING:
    from jaxtyping import Float


def missing(
    x: Float[np.ndarray, " 2"], tau: float, y: int, w: float, mixture: GaussianMixture
) -> float:
    """`w R` at one point, by a sum over the grid of step 15."""
    points, _ = tilted_on_grid(mixture, y, w)
    near = -((points - x) ** 2).sum(1) / (2 * tau)
    logs = [mixture.log_density(points, label) + near for label in (y, None)]
    log_P, log_Q = (a - a.max() - np.log(np.exp(a - a.max()).sum()) for a in logs)
    return float(np.log(np.exp((1 + w) * log_P - w * log_Q).sum()))  # (16.12)


def noised_tilt_score(
    x: Float[np.ndarray, " 2"], tau: float, y: int, w: float, mixture: GaussianMixture
) -> Float[np.ndarray, " 2"]:
    """The score of the tilted law seen through noise: by the mean of `x_0`, another sum."""
    points, p = tilted_on_grid(mixture, y, w)
    share = p * np.exp(-((points - x) ** 2).sum(1) / (2 * tau))
    return (share @ points / share.sum() - x) / tau


def gibbs_rounds(
    x: Float[np.ndarray, "n 2"], tau: float, w: float, steps: int, scores: Scores, rng: Normals
) -> Iterator[Float[np.ndarray, "n 2"]]:
    """Yield `x` after each round at level `tau`, of `steps` guided evaluations, without end."""
    taus = [float(a) for a in np.linspace(tau, 0, steps + 1)]
    while True:
        x = x + tau**0.5 * rng.standard_normal(x.shape)  # (16.13)
        for now, later in pairwise(taus):
            x = x + (now - later) / 2 * mix(scores(x, now), w)  # (15.11)
        yield x


def growth(tau: float, w: float, given_y: Gaussian, var_all: float) -> float:
    """By what a round at `tau` divides variances."""
    return (1 + tau / given_y.var) ** (1 + w) * (1 + tau / var_all) ** -w  # (16.13)


def left_alone(tau: float, w: float, given_y: Gaussian, var_all: float) -> float:
    """The variance that rounds end in."""
    return tau / (growth(tau, w, given_y, var_all) - 1)  # (16.14)


def checks() -> list[Check]:
    """What guidance leaves out, at a point; rounds on samples; small tau."""
    three, x, tau, w, h = three_gaussians(), np.array([0.4, 0.3]), 0.5, 3.0, 1e-4
    up, down = (missing(x + np.array([0, step]), tau, 0, w, three) for step in (h, -h))
    guided = mix(of_mixture(three, 0)(x[None], tau), w)[0, 1]
    exact = noised_tilt_score(x, tau, 0, w, three)[1]
    rng, n, w = np.random.default_rng(0), 10_000, 2.0
    samples = EXAMPLE[0].mean + rng.standard_normal((n, 2))
    samples = next(islice(gibbs_rounds(samples, 0.5, w, 20, of_gaussians(*EXAMPLE), rng), 7, None))
    V, allowed = left_alone(0.5, w, *EXAMPLE), 0.02 + 5 / n**0.5  # 20 steps: within 2%
    near = 2 * left_alone(0.005, w, *EXAMPLE) - left_alone(0.01, w, *EXAMPLE)
    return [
        Check("(16.12) score of the noised tilt", guided + (up - down) / (2 * h), exact, 1e-6),
        Check("(16.14) variance after 8 rounds, over it", samples.var(0).mean() / V, 1, allowed),
        Check("(16.14) at small tau: the tilted law", near, tilt(*EXAMPLE, w).var, 1e-4),
    ]


def figure() -> Figure:
    """Where rounds end, over tau; and the score that guidance has and should have."""
    fig = Figure(figsize=(9, 3.5), layout="constrained")
    ends, force = fig.subplots(1, 2)
    taus = np.geomspace(1e-2, 1e2, 60)
    ends.semilogx(taus, [left_alone(float(t), 2.0, *EXAMPLE) for t in taus], color=BLUE)
    ends.axhline(0.5, color=GREY, ls=":", label="tilted law")
    ends.axhline(0.25, color=ORANGE, ls=":", label="DDIM alone")
    ends.set(xlabel=r"$\tau$ of a round", title="Variance that rounds end in, w = 2")
    three, heights = three_gaussians(), np.linspace(-0.5, 2.5, 13)
    for tau, color in ((0.1, BLUE), (1.0, ORANGE)):
        x = np.stack([0 * heights, heights], 1)
        right = [noised_tilt_score(row, tau, 0, 3.0, three)[1] for row in x]
        force.plot(heights, right, color=color, label=rf"right, $\tau$ = {tau}")
        force.plot(heights, mix(of_mixture(three, 0)(x, tau), 3.0)[:, 1], "--", color=color,
                   label="guided")  # fmt: skip
    force.set(xlabel="height", title="Pull upwards, three classes, w = 3")
    _ = ends.legend(fontsize=8), force.legend(fontsize=8)
    return fig


if __name__ == "__main__":
    present("step16_gibbs", __doc__ or "", checks(), figure())
