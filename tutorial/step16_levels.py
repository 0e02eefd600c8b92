r"""Step 16. Two facts about the tilts of all levels, on which samplers of the tilted law rest.

**Claim.** Under noise of variance $\tau$ let $p_\tau(x | y)$ and $p_\tau(x)$ be the laws of the
class and of all data, $s_y$ and $s$ their scores, and $q_\tau = p_\tau(x | y)^{1 + w}
p_\tau(x)^{-w}$ the tilt of that level. Its score is $s_w = (1 + w) s_y - w s$, what guidance
follows (10.7). At a fixed $\tau$, and from one $\tau$ to the next,

$$ -\nabla \cdot (s_w q_\tau) / 2 + \nabla^2 q_\tau / 2 = 0 $$ (16.1)
$$ \partial_\tau q_\tau = \nabla^2 q_\tau / 2 - \tfrac{1}{2} w (1 + w) |s_y - s|^2 q_\tau $$ (16.2)

**What they say.** The left side of (16.1) is how fast a density $q_\tau$ changes under Langevin's
$dx = s_w dr / 2 + dB_r$, where $r$ is no noise but a time to wait: not at all. Part 2 waits.

The first term of (16.2) is what noise does to any density. Were it alone, the tilts of all levels
would be one law noised, guided chains would sample it, and this lesson would be over. The second
takes mass away where the two scores differ, as $\tau$ grows. Towards the data it has to be *added*
there. No movement of points by $s_w$ does that, so guided chains end elsewhere. Part 3 adds it as
a weight.

**Why.** $\nabla q_\tau = q_\tau \nabla \log q_\tau = q_\tau s_w$: that is (16.1). For (16.2), noise
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
from matplotlib.figure import Figure

from tutorial.contract import Normals
from tutorial.program import BLUE, ORANGE, Check, present
from tutorial.step00_notation import Gaussian, Schedule
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step07_oracle import score
from tutorial.step10_guidance_score import log_tilted
from tutorial.step15_gaussian import score_at

if TYPE_CHECKING:
    from jaxtyping import Float

# (x, tau) -> the scores of class and of all data at x under noise of variance tau: 2 evaluations.
Scores: TypeAlias = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]


def of_gaussians(given_y: Gaussian, var_all: float) -> Scores:
    """The exact scores of a class `given_y` in data of law N(0, var_all)."""
    return lambda x, tau: (
        score_at(x, tau, 0.0, given_y, var_all), score_at(x, tau, -1.0, given_y, var_all)
    )  # fmt: skip


def of_mixture(mixture: GaussianMixture, y: int) -> Scores:
    """The exact scores of class `y` in 0..K-1 of a mixture."""
    clean, eye = Schedule.linear(1), np.eye(2)  # at t = 0 it is not asked for more

    def scores(x: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
        law = GaussianMixture(mixture.means, mixture.covs + tau * eye, mixture.weights)
        labels = np.full(len(x), y), np.full(len(x), mixture.num_classes)
        of_class, of_all = (score(x, 0, label, law, clean) for label in labels)
        return of_class, of_all

    return scores


def mix(pair: tuple[np.ndarray, np.ndarray], w: float) -> np.ndarray:
    """The guided score of the two."""
    return (1 + w) * pair[0] - w * pair[1]  # (10.7)


def langevin(
    x: Float[np.ndarray, "n 2"], tau: float, w: float, step: float, scores: Scores, rng: Normals
) -> Float[np.ndarray, "n 2"]:
    """One corrector at level `tau`."""
    return (
        x + step / 2 * mix(scores(x, tau), w) + step**0.5 * rng.standard_normal(x.shape)
    )  # (16.1)


def added(pair: tuple[np.ndarray, np.ndarray], w: float) -> Float[np.ndarray, " n"]:
    """What has to be added at each point of that pair of scores, for each unit of `-tau`."""
    return w * (1 + w) / 2 * ((pair[0] - pair[1]) ** 2).sum(1)  # (16.2)


def log_level(
    x: Float[np.ndarray, "n 2"], tau: float, y: int, w: float, mixture: GaussianMixture
) -> Float[np.ndarray, " n"]:
    """The log of the tilt of class `y` in 0..K-1 at level `tau`, not normalised."""
    law = GaussianMixture(mixture.means, mixture.covs + tau * np.eye(2), mixture.weights)
    return log_tilted(x, 0, np.full(len(x), y), w, law, Schedule.linear(1))


def checks() -> list[Check]:
    """How the tilt of a level changes, by finite differences; what a short wait does to samples."""
    three, w, tau, h, point = three_gaussians(), 3.0, 0.7, 1e-3, np.array([[0.3, -0.2]])

    def q(tau: float, *shift: float) -> float:
        return float(np.exp(log_level(point + np.array([shift]), tau, 0, w, three))[0])

    around = q(tau, h, 0) + q(tau, -h, 0) + q(tau, 0, h) + q(tau, 0, -h) - 4 * q(tau, 0, 0)
    rate = float(added(of_mixture(three, 0)(point, tau), w)[0])
    changes = (q(tau + h, 0, 0) - q(tau - h, 0, 0)) / (2 * h)
    law, n = Gaussian(np.array([0.6, -0.4]), 0.8), 100_000
    # One law for both: its tilt of any w is itself. 10 steps of 0.02 widen it by 0.3%.
    x = law.mean + law.var**0.5 * np.random.default_rng(0).standard_normal((n, 2))
    rng = np.random.default_rng(1)
    for _ in range(10):
        x = langevin(x, 0.0, 0.0, 0.02, of_gaussians(law, 1.0), rng)
    return [
        # h^2 times derivatives of order q
        Check("(16.2) change with tau", changes, around / (2 * h**2) - rate * q(tau, 0, 0), 1e-5),
        Check("(16.1) variance after a wait", x.var(0).mean(), law.var, 0.003 + 5 * 0.8 / n**0.5),
    ]


def figure() -> Figure:
    """What is added along the axis of the top class, at four levels; over levels, at its mean."""
    fig = Figure(figsize=(9, 3.4), layout="constrained")
    along, over = fig.subplots(1, 2)
    height, scores = np.linspace(-1.5, 3.5, 300), of_mixture(three_gaussians(), 0)
    x = np.stack([0 * height, height], 1)
    for tau, color in ((0.1, "0.7"), (0.3, "0.5"), (1.0, "0.3"), (3.0, "0")):
        along.plot(height, added(scores(x, tau), 3.0), color=color, label=rf"$\tau$ = {tau:g}")
    along.set(yscale="log", ylim=(1e-3, 200), xlabel="height (the class is at 1.5)")
    along.set_title(r"Added at each point, per unit of $-\tau$, w = 3")
    taus = np.geomspace(1e-2, 1e3, 200)
    for at, color in ((1.5, BLUE), (0.5, ORANGE)):
        rate = [tau * added(scores(np.array([[0, at]]), float(tau)), 3.0)[0] for tau in taus]
        over.semilogx(taus, rate, color=color, label=f"at height {at:g}")
    over.set(xlabel=r"$\tau$", title=r"Added per unit of $-\log \tau$")
    for ax in (along, over):
        ax.legend(fontsize=8)
    return fig


if __name__ == "__main__":
    present("step16_levels", __doc__ or "", checks(), figure())
