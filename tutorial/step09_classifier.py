r"""Step 9, part 3. A classifier as a guide, and why none is needed.

**Claim.** A classifier that works on noised data can make an unconditional model conditional. All
it adds is a gradient, the difference of two scores, so who has both models needs no classifier:

$$ \nabla \log p(y | x_t) = s(x_t | y) - s(x_t) $$ (9.9)
$$ \sum_y p(y | x_t) \nabla \log p(y | x_t) = 0 $$ (9.10)

**Why.** Bayes' rule (7.3) is $\log p(y | x_t) = \log p(x_t | y) + \log \pi_y - \log p(x_t)$. The
share $\pi_y$ has no gradient: (9.9). And $p \nabla \log p = \nabla p$, so (9.10) is the gradient of
$\sum_y p(y | x_t) = 1$: what pulls towards one class pushes away from others. Put (9.9) into it and
(7.5) is there again, $\sum_y p(y | x_t) s(x_t | y) = s(x_t)$.

**Classifier guidance** adds $\gamma$ gradients to the unconditional score. By (7.7) its eps is

$$ \epsilon(x_t, \phi) - \gamma \sqrt{1 - \bar\alpha_t} \nabla \log p(y | x_t) $$ (9.11)

At $\gamma = 0$ nothing is asked for, and $\gamma = 1$ is the conditional model. Beyond that it asks
for more of the class than the data have. Put (9.9) in: what is added is $\gamma$ times
$\epsilon(x_t, y) - \epsilon(x_t, \phi)$, the $d$ of (9.4). So with $\gamma = 1 + w$ (9.11) is

$$ (1 + w) \epsilon(x_t, y) - w \epsilon(x_t, \phi) $$ (9.12)

This is guidance without a classifier, step 10. It is also $\epsilon(x_t, y) + w d$, by (9.9)
$\epsilon(x_t, y) - w \sqrt{1 - \bar\alpha_t} \nabla \log p(y | x_t)$: *the conditional model guided
with weight $w$ is the unconditional one guided with $1 + w$*. This is for exact scores. The $d$ of
two outputs of a network need not be the gradient of any classifier, and a classifier trained for
itself has gradients that need not point to images: what is equal here differs in practice.

**In the step.** A difference of two means (9.2) is what the label moves:

$$ \mu(x_t, y) - \mu(x_t, \phi) = (\beta_t / \sqrt{\alpha_t}) \nabla \log p(y | x_t) $$ (9.13)

Dhariwal and Nichol's algorithm 1 moves the mean by the variance of the step times the gradient.
With $\tilde\beta_t$ for that variance it moves $c_t$ of (4.2) times as far as (9.13): nearly as far
where $\beta_t$ is small beside $1 - \bar\alpha_t$, about half as far at $t = 2$ of a long chain,
and at $t = 1$, where $c_1 = 0$, not at all.

**Boundary.** For $\bar\alpha_t \to 0$ all classes become the same noise, $p(y | x_t) \to \pi_y$,
and the gradient goes to 0 as $\sqrt{\bar\alpha_t}$. With $\mu_y$ and $m$ the means of the class and
of all data, and an error of order $\bar\alpha_t$,

$$ \nabla \log p(y | x_t) \approx \sqrt{\bar\alpha_t} (\mu_y - m) $$ (9.14)

With a single class it is 0 everywhere: there is nothing to tell apart.

**Source.** Dhariwal and Nichol 2021, arXiv:2105.05233, sec. 4, algs. 1 and 2; Ho and Salimans 2022,
arXiv:2207.12598, sec. 3.1 (weight $w + 1$ and weight $w$).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, ORANGE, Check, present
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step03_marginal import xt_from_x0
from tutorial.step07_oracle import noised, oracle_eps, score
from tutorial.step09_condition import p_xprev_given_xt_y

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def classifier_gradient(
    xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"],
    mixture: GaussianMixture, schedule: Schedule,
) -> Float[np.ndarray, "n 2"]:  # fmt: skip
    """The exact gradient of `log p(y | x_t)`, for `t` in 0..T; 0 for the null label, y = K."""
    null = np.full_like(y, mixture.num_classes)
    given_y, of_all = (score(xt, t, label, mixture, schedule) for label in (y, null))
    return given_y - of_all  # (9.9)


def classifier_guided_eps(
    eps_null: Float[np.ndarray, "*n D"], gradient: Float[np.ndarray, "*n D"], gamma: float, t: int,
    schedule: Schedule,
) -> Float[np.ndarray, "*n D"]:  # fmt: skip
    """An unconditional eps pushed along `gamma` gradients of a classifier, for `t` in 1..T."""
    noise = np.sqrt(1 - schedule.alpha_bar[schedule.check_t(t)])
    return eps_null - gamma * noise * gradient  # (9.11)


def mean_shift(
    gradient: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """How far a label moves the mean of the reverse step, for `t` in 1..T."""
    schedule.check_t(t)
    return schedule.beta[t] / np.sqrt(schedule.alpha[t]) * gradient  # (9.13)


def late_gradient(t: int, mixture: GaussianMixture, schedule: Schedule) -> Float[np.ndarray, "K 2"]:
    """What the gradient of each class tends to where hardly any data are left, for `t` in 0..T."""
    signal = np.sqrt(schedule.alpha_bar[schedule.check_t(t, first=0)])
    return signal * (mixture.means - mixture.moments()[0])  # (9.14)


def checks() -> list[Check]:
    """The slope of a classifier; the pulls of all classes; the identity; a step; the end."""
    mixture, schedule, t, h, w = three_gaussians(), Schedule.cosine(100), 40, 1e-5, 3.0
    x, ones = np.array([[0.3, -0.2], [0.3, -0.2 + h], [0.3, -0.2 - h]]), np.ones(3, int)
    model, law = oracle_eps(mixture, schedule), noised(mixture, t, schedule)
    at, above, below = law.log_class_probability(x)
    pull = [classifier_gradient(x, t, k * ones, mixture, schedule) for k in range(3)]
    slope = (above[0] - below[0]) / (2 * h)
    balance = np.exp(at) @ np.array(pull)[:, 0]  # (9.10)
    cond, null = model(x, t, 0 * ones), model(x, t, 3 * ones)
    free = (1 + w) * cond - w * null  # (9.12)
    on_null = classifier_guided_eps(null, pull[0], 1 + w, t, schedule) - free
    on_cond = classifier_guided_eps(cond, pull[0], w, t, schedule) - free
    means = [p_xprev_given_xt_y(model, x, t, k * ones, schedule).mean for k in (0, 3)]
    moved = means[0] - means[1] - mean_shift(pull[0], t, schedule)
    late = classifier_gradient(x, 99, 0 * ones, mixture, schedule)[0, 1]
    limit = late_gradient(99, mixture, schedule)[0, 1]
    return [
        Check("(9.9) gradient, by a finite difference", pull[0][0, 1], slope, 1e-8),
        Check("(9.10) pulls of all classes, weighed", np.abs(balance).max(), 0, 1e-14),
        Check("(9.12) weight 1 + w on null", np.abs(on_null).max(), 0, 1e-13),
        Check("(9.12) weight w on conditional", np.abs(on_cond).max(), 0, 1e-13),
        Check("(9.13) label moves the mean", np.abs(moved).max(), 0, 1e-14),
        Check("(9.14) gradient at t = 99 of 100", late, limit, 0.05 * limit),
    ]


def figure() -> Figure:
    """Where a classifier pulls at three times, on the probability it gives the class."""
    fig = Figure(figsize=(13, 3.6), layout="constrained")
    *fields, size = fig.subplots(1, 4)
    mixture, schedule = three_gaussians(), Schedule.cosine(100)
    fine, coarse = np.linspace(-3, 3, 121), np.linspace(-2.7, 2.7, 11)
    grid, points = (np.stack(np.meshgrid(a, a), -1).reshape(-1, 2) for a in (fine, coarse))
    top = np.zeros(len(points), int)
    for ax, t in zip(fields, (10, 40, 80), strict=True):
        law = noised(mixture, t, schedule)
        p = np.exp(law.log_class_probability(grid)[:, 0]).reshape(121, 121)
        pull = classifier_gradient(points, t, top, mixture, schedule)
        ax.contourf(fine, fine, p, np.linspace(0, 1, 11), cmap="Blues")
        ax.quiver(*points.T, *pull.T, angles="xy", width=0.006)
        ax.plot(*law.means.T, "o", color=ORANGE, ms=5)
        ax.set(title=f"t = {t}: longest arrow {np.hypot(*pull.T).max():.2g}", aspect="equal")
        ax.set(xlabel="shade: $p(y = 0 | x_t)$; dots: classes")
    times, rng = range(1, 101, 3), np.random.default_rng(0)
    (x0, y), eps = mixture.sample(4000, rng), rng.standard_normal((4000, 2))
    squares = [
        (classifier_gradient(xt_from_x0(x0, eps, t, schedule), t, y, mixture, schedule) ** 2).sum(1)
        for t in times
    ]
    late = [np.hypot(*late_gradient(t, mixture, schedule)[0]) for t in times]
    size.plot(times, [np.sqrt(s.mean()) for s in squares], color=BLUE, label="over all data")
    size.plot(times, late, "--", color=GREY, label=r"$\sqrt{\bar\alpha_t} |\mu_y - m|$")
    size.set(title="Length of the gradient (rms)", xlabel="t of 100", ylim=(0, 1.6))
    size.legend(fontsize=8)
    return fig


if __name__ == "__main__":
    present("step09_classifier", __doc__ or "", checks(), figure())
