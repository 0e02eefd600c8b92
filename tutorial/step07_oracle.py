r"""Step 7. The exact oracle: what a network would learn from endless data.

**Claim.** Let class $y$ of the data be $N(\mu_y, S_y)$, with a share $\pi_y$ of all. Then at every
$t$ the noised data are a labelled mixture again, of covariances $C_y$, and all this is known. The
null label, $y = K$, stands for all classes: it has (7.2) for a density and (7.5) for a score.

$$ p(x_t | y) = N(\sqrt{\bar\alpha_t} \mu_y, \bar\alpha_t S_y + (1 - \bar\alpha_t) I) $$ (7.1)
$$ p(x_t) = \sum_y \pi_y p(x_t | y) $$ (7.2)
$$ p(y | x_t) = \pi_y p(x_t | y) / p(x_t) $$ (7.3)
$$ s(x_t | y) = \nabla \log p(x_t | y) = -C_y^{-1} (x_t - \sqrt{\bar\alpha_t} \mu_y) $$ (7.4)
$$ s(x_t) = \nabla \log p(x_t) = \sum_y p(y | x_t) s(x_t | y) $$ (7.5)
$$ E[x_0 | x_t, y] = (x_t + (1 - \bar\alpha_t) s(x_t | y)) / \sqrt{\bar\alpha_t} $$ (7.6)
$$ E[\epsilon | x_t, y] = -\sqrt{1 - \bar\alpha_t} s(x_t | y) $$ (7.7)

**Why.** Given $y$, $x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon$ is a sum of
independent Gaussians: means and covariances add, (7.1). The gradient of its log density is (7.4).
For the mixture, $\nabla p = \sum_y \pi_y \nabla p(x_t | y) = \sum_y \pi_y p(x_t | y) s(x_t | y)$;
divide by $p$ and read (7.3): each class pulls towards itself, weighed by how likely it is, (7.5).

**Tweedie.** For (7.6) differentiate $p(x_t) = \int q(x_t | x_0) p(x_0) dx_0$ under the integral:
$\nabla q(x_t | x_0) = q(x_t | x_0) (\sqrt{\bar\alpha_t} x_0 - x_t) / (1 - \bar\alpha_t)$. Divide by
$p(x_t)$: $s(x_t) = (\sqrt{\bar\alpha_t} E[x_0 | x_t] - x_t) / (1 - \bar\alpha_t)$; solve for the
mean. Given $y$ it is the same, and no step needs Gaussian data. (7.7) is (7.6) put into (3.2).

**No function has a lower loss.** Write $\epsilon^*$ for (7.7) and let $f$ be any function of
$(x_t, y)$. Expand $|\epsilon - f|^2$ around $\epsilon^*$: in the cross term
$2 (\epsilon - \epsilon^*) \cdot (\epsilon^* - f)$ the second factor is fixed once $(x_t, y)$ is,
and the first then has mean 0. With $f = 0$ the left side is the dimension $D$; for one class
$E|s|^2 = tr(C_y^{-1})$, and the floor (7.9) is $\bar\alpha_t tr(S_y C_y^{-1})$.

$$ E|\epsilon - f|^2 = E|\epsilon - \epsilon^*|^2 + E|\epsilon^* - f|^2 $$ (7.8)
$$ E|\epsilon - \epsilon^*|^2 = D - (1 - \bar\alpha_t) E|s|^2 $$ (7.9)

**Boundary.** At $t = 0$ there is no noise to predict. Where $\bar\alpha_t \to 0$ there is no data:

$$ E[\epsilon | x_t, y] \to x_t, \quad E[x_0 | x_t, y] \to E[x_0 | y] $$ (7.10)

**Source.** Efron 2011, J. Am. Stat. Assoc. 106:1602 (Tweedie); Vincent 2011, Neural Comp. 23:1661.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import GaussianMixture

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def noised(mixture: GaussianMixture, t: int, schedule: Schedule) -> GaussianMixture:
    """The law of `x_t` with its labels, for `t` in 0..T: a mixture again."""
    abar = schedule.alpha_bar[schedule.check_t(t, first=0)]
    means = np.sqrt(abar) * mixture.means
    covs = abar * mixture.covs + (1 - abar) * np.eye(mixture.means.shape[1])  # (7.1)
    return GaussianMixture(means, covs, mixture.weights)  # (7.2)


def score(
    xt: Float[np.ndarray, "n D"],
    t: int,
    y: Int[np.ndarray, " n"],
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, "n D"]:
    """The gradient of `log p(x_t | y)`, each row with its own `y` in 0..K, for `t` in 0..T."""
    K = mixture.num_classes
    law = noised(mixture, t, schedule)
    if len(y) and not (y.min() >= 0 and y.max() <= K):
        raise ValueError(f"y in {y.min()}..{y.max()} is outside 0..{K} ({K}: the null label)")
    share = (y[:, None] == np.arange(K)).astype(np.float64)  # (n, K)
    # In logarithms: far from all classes every p(x_t | y) is 0 in float64.
    share[y == K] = np.exp(law.log_class_probability(xt[y == K]))  # (7.3)
    inverse = np.linalg.inv(law.covs)
    s = np.zeros(xt.shape)
    for k in range(K):
        s_k = -(xt - law.means[k]) @ inverse[k]  # (7.4), one row per sample
        s += share[:, [k]] * s_k  # (7.5)
    return s


def mean_x0(
    xt: Float[np.ndarray, "n D"],
    t: int,
    y: Int[np.ndarray, " n"],
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, "n D"]:
    """`E[x_0 | x_t, y]` for `t` in 1..T: the best guess of the data."""
    abar = schedule.alpha_bar[schedule.check_t(t)]
    s = score(xt, t, y, mixture, schedule)
    return (xt + (1 - abar) * s) / np.sqrt(abar)  # (7.6)


@dataclass(frozen=True, eq=False)
class Oracle:
    """The denoiser `E[eps | x_t, y]`; whatever takes a trained network takes this."""

    mixture: GaussianMixture
    schedule: Schedule
    num_classes: int  # K, which is also the null label
    prediction: str = "eps"

    def __call__(
        self, xt: Float[np.ndarray, "n D"], t: int, y: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n D"]:
        """The mean of the noise in each row of `xt`, for `t` in 1..T and `y` in 0..K."""
        noise = np.sqrt(1 - self.schedule.alpha_bar[self.schedule.check_t(t)])
        # As abar goes to 0, C_y goes to I and this output goes to x_t (7.10).
        return -noise * score(xt, t, y, self.mixture, self.schedule)  # (7.7)


def oracle_eps(mixture: GaussianMixture, schedule: Schedule) -> Oracle:
    """The exact denoiser of a labelled Gaussian mixture.

    >>> from tutorial.step01_toy_data import three_gaussians
    >>> model = oracle_eps(three_gaussians(), Schedule.cosine(10))
    >>> model(np.zeros((2, 2)), 5, np.array([0, model.num_classes])).shape
    (2, 2)
    """
    return Oracle(mixture, schedule, mixture.num_classes)


def lowest_loss(y: int, t: int, mixture: GaussianMixture, schedule: Schedule) -> float:
    """The eps-loss, summed over dimensions, that no network of class `y` in 0..K-1 can go below."""
    C = noised(mixture, schedule.check_t(t), schedule).covs
    inverse = np.linalg.inv(C)[y]
    return float(schedule.alpha_bar[t] * np.trace(mixture.covs[y] @ inverse))  # (7.9)


def excess_loss(
    f: Float[np.ndarray, "n D"], best: Float[np.ndarray, "n D"]
) -> Float[np.ndarray, " n"]:
    """By how much the mean loss of the outputs `f` exceeds that of `best`, one term per sample."""
    return ((best - f) ** 2).sum(1)  # (7.8)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step07_oracle")
