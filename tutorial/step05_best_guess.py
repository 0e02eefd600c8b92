r"""Step 5. The exact oracle: what a network would learn from endless data.

**Claim.** Let class $y$ of the data be $N(\mu_y, S_y)$, with a share $\pi_y$ of all. Then at every
$t$ the noised data are a labelled mixture again, of covariances $C_y$, and all this is known. The
null label, $y = K$, stands for all classes: it has (5.2) for a density and (5.5) for a score.

$$ p(x_t | y) = N(\sqrt{\bar\alpha_t} \mu_y, \bar\alpha_t S_y + (1 - \bar\alpha_t) I) $$ (5.1)
$$ p(x_t) = \sum_y \pi_y p(x_t | y) $$ (5.2)
$$ p(y | x_t) = \pi_y p(x_t | y) / p(x_t) $$ (5.3)
$$ s(x_t | y) = \nabla \log p(x_t | y) = -C_y^{-1} (x_t - \sqrt{\bar\alpha_t} \mu_y) $$ (5.4)
$$ s(x_t) = \nabla \log p(x_t) = \sum_y p(y | x_t) s(x_t | y) $$ (5.5)
$$ E[x_0 | x_t, y] = (x_t + (1 - \bar\alpha_t) s(x_t | y)) / \sqrt{\bar\alpha_t} $$ (5.6)
$$ E[\epsilon | x_t, y] = -\sqrt{1 - \bar\alpha_t} s(x_t | y) $$ (5.7)

**Why.** Given $y$, $x_t = \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon$ is a sum of
independent Gaussians: means and covariances add, (5.1). The gradient of its log density is (5.4).
For the mixture, $\nabla p = \sum_y \pi_y \nabla p(x_t | y) = \sum_y \pi_y p(x_t | y) s(x_t | y)$;
divide by $p$ and read (5.3): each class pulls towards itself, weighed by how likely it is, (5.5).

**Tweedie.** For (5.6) differentiate $p(x_t) = \int q(x_t | x_0) p(x_0) dx_0$ under the integral:
$\nabla q(x_t | x_0) = q(x_t | x_0) (\sqrt{\bar\alpha_t} x_0 - x_t) / (1 - \bar\alpha_t)$. Divide by
$p(x_t)$: $s(x_t) = (\sqrt{\bar\alpha_t} E[x_0 | x_t] - x_t) / (1 - \bar\alpha_t)$; solve for the
mean. Given $y$ it is the same, and no step needs Gaussian data. (5.7) is (5.6) put into (3.2).

**No function has a lower loss.** Write $\epsilon^*$ for (5.7) and let $f$ be any function of
$(x_t, y)$. Expand $|\epsilon - f|^2$ around $\epsilon^*$: in the cross term
$2 (\epsilon - \epsilon^*) \cdot (\epsilon^* - f)$ the second factor is fixed once $(x_t, y)$ is,
and the first then has mean 0. With $f = 0$ the left side is the dimension $D$; for one class
$E|s|^2 = tr(C_y^{-1})$, and the floor (5.9) is $\bar\alpha_t tr(S_y C_y^{-1})$.

$$ E|\epsilon - f|^2 = E|\epsilon - \epsilon^*|^2 + E|\epsilon^* - f|^2 $$ (5.8)
$$ E|\epsilon - \epsilon^*|^2 = D - (1 - \bar\alpha_t) E|s|^2 $$ (5.9)

**Boundary.** At $t = 0$ there is no noise to predict. Where $\bar\alpha_t \to 0$ there is no data:

$$ E[\epsilon | x_t, y] \to x_t, \quad E[x_0 | x_t, y] \to E[x_0 | y] $$ (5.10)

**Source.** Efron 2011, J. Am. Stat. Assoc. 106:1602 (Tweedie); Vincent 2011, Neural Comp. 23:1661.

**Four units.** Solve (3.2) for the data:

$$ \hat x_0 = (x_t - \sqrt{1 - \bar\alpha_t} \epsilon) / \sqrt{\bar\alpha_t} $$ (5.11)

With $\cos \phi = \sqrt{\bar\alpha_t}$, $x_t = x_0 \cos \phi + \epsilon \sin \phi$.
Its derivative in $\phi$ is $v$; the gradient of its log density is the score.

$$ v = \sqrt{\bar\alpha_t} \epsilon - \sqrt{1 - \bar\alpha_t} x_0 $$ (5.12)
$$ \nabla \log q(x_t | x_0) = -\epsilon / \sqrt{1 - \bar\alpha_t} $$ (5.13)

Given $x_t$, each gives the others by a linear map. A sampler needs one thing of the output $g$,
$\hat x_0 = p x_t + q g$, with $(p, q) = (1, -\sqrt{1 - \bar\alpha_t}) / \sqrt{\bar\alpha_t}$ for
eps, $(0, 1)$ for x0 and $(\sqrt{\bar\alpha_t}, -\sqrt{1 - \bar\alpha_t})$ for v. Errors in eps grow
by

$$ |q| = \sqrt{(1 - \bar\alpha_t) / \bar\alpha_t} = e^{-\lambda_t / 2} $$ (5.14)

20,291 for the cosine schedule at $T = 1000$, finite only because $\beta_T$ is capped.

**Source.** Salimans and Ho 2022, arXiv:2202.00512, app. D (v).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def noised(mixture: GaussianMixture, t: int, schedule: Schedule) -> GaussianMixture:
    """The law of `x_t` with its labels, for `t` in 0..T: a mixture again."""
    abar = schedule.alpha_bar[schedule.check_t(t, first=0)]
    means = np.sqrt(abar) * mixture.means
    covs = abar * mixture.covs + (1 - abar) * np.eye(mixture.means.shape[1])  # (5.1)
    return GaussianMixture(means, covs, mixture.weights)  # (5.2)


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
    share[y == K] = np.exp(law.log_class_probability(xt[y == K]))  # (5.3)
    inverse = np.linalg.inv(law.covs)
    s = np.zeros(xt.shape)
    for k in range(K):
        s_k = -(xt - law.means[k]) @ inverse[k]  # (5.4), one row per sample
        s += share[:, [k]] * s_k  # (5.5)
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
    return (xt + (1 - abar) * s) / np.sqrt(abar)  # (5.6)


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
        # As abar goes to 0, C_y goes to I and this output goes to x_t (5.10).
        return -noise * score(xt, t, y, self.mixture, self.schedule)  # (5.7)


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
    return float(schedule.alpha_bar[t] * np.trace(mixture.covs[y] @ inverse))  # (5.9)


def excess_loss(
    f: Float[np.ndarray, "n D"], best: Float[np.ndarray, "n D"]
) -> Float[np.ndarray, " n"]:
    """By how much the mean loss of the outputs `f` exceeds that of `best`, one term per sample."""
    return ((best - f) ** 2).sum(1)  # (5.8)


def x0_coefficients(t: int, schedule: Schedule, prediction: str = "eps") -> tuple[float, float]:
    """`(p, q)` of `x0hat = p x_t + q out` for `t` in 1..T; `prediction` is eps, x0 or v."""
    abar = float(schedule.alpha_bar[schedule.check_t(t)])
    signal = abar**0.5
    noise = (1 - abar) ** 0.5
    # For eps, |q| is the factor by which errors grow (5.14). The pair (x_t, v) is (x_0, eps)
    # rotated by phi, and the entry for v is the first row of the inverse rotation.
    table = {
        "eps": (1 / signal, -noise / signal),  # (5.11)
        "x0": (0.0, 1.0),
        "v": (signal, -noise),
    }
    if prediction not in table:
        raise ValueError(f"prediction = {prediction!r} is none of {', '.join(table)}")
    return table[prediction]


def x0_from(
    out: Float[np.ndarray, "*n D"],
    xt: Float[np.ndarray, "*n D"],
    t: int,
    schedule: Schedule,
    prediction: str = "eps",
) -> Float[np.ndarray, "*n D"]:
    """What a network's output says about the data, not clipped."""
    p, q = x0_coefficients(t, schedule, prediction)
    return p * xt + q * out


def eps_from_x0(
    x0: Float[np.ndarray, "*n D"], xt: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """The noise in `x_t` if `x0` is the data: (5.11) turned round, needed after a clip."""
    p, q = x0_coefficients(t, schedule)
    return (x0 - p * xt) / q


def v_from(
    x0: Float[np.ndarray, "*n D"], eps: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """The output v that goes with the data `x0` and the noise `eps`, for `t` in 1..T."""
    abar = schedule.alpha_bar[schedule.check_t(t)]
    return np.sqrt(abar) * eps - np.sqrt(1 - abar) * x0  # (5.12)


def score_from_eps(
    eps: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """The gradient of `log q(x_t | x_0)`; with `E[eps | x_t]`, that of `log q(x_t)`."""
    return -eps / np.sqrt(1 - schedule.alpha_bar[schedule.check_t(t)])  # (5.13)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step05_best_guess")
