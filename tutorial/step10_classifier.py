r"""Step 10. A classifier as a guide, and why none is needed.

**Claim.** A classifier that works on noised data can make an unconditional model conditional. All
it adds is a gradient, the difference of two scores, so who has both models needs no classifier:

$$ \nabla \log p(y | x_t) = s(x_t | y) - s(x_t) $$ (10.1)
$$ \sum_y p(y | x_t) \nabla \log p(y | x_t) = 0 $$ (10.2)

**Why.** Bayes' rule (5.13) is $\log p(y | x_t) = \log p(x_t | y) + \log \pi_y - \log p(x_t)$. The
share $\pi_y$ has no gradient: (10.1). And $p \nabla \log p = \nabla p$, so (10.2) is the gradient
of $\sum_y p(y | x_t) = 1$: what pulls towards one class pushes away from others. Put (10.1) into it
and (5.15) is there again, $\sum_y p(y | x_t) s(x_t | y) = s(x_t)$.

**Classifier guidance** adds $\gamma$ gradients to the unconditional score. By (5.9) its eps is

$$ \epsilon(x_t, \phi) - \gamma \sqrt{1 - \bar\alpha_t} \nabla \log p(y | x_t) $$ (10.3)

At $\gamma = 0$ nothing is asked for, and $\gamma = 1$ is the conditional model. Beyond that it asks
for more of the class than the data have. Put (10.1) in: what is added is $\gamma$ times
$\epsilon(x_t, y) - \epsilon(x_t, \phi)$, the $d$ of (9.4). So with $\gamma = 1 + w$ (10.3) is

$$ (1 + w) \epsilon(x_t, y) - w \epsilon(x_t, \phi) $$ (10.4)

This is guidance without a classifier, step 11. It is also $\epsilon(x_t, y) + w d$, by (10.1)
$\epsilon(x_t, y) - w \sqrt{1 - \bar\alpha_t} \nabla \log p(y | x_t)$: *the conditional model guided
with weight $w$ is the unconditional one guided with $1 + w$*. This is for exact scores. The $d$ of
two outputs of a network need not be the gradient of any classifier, and a classifier trained for
itself has gradients that need not point to images: what is equal here differs in practice.

**In the step.** A difference of two means (9.2) is what the label moves:

$$ \mu(x_t, y) - \mu(x_t, \phi) = (\beta_t / \sqrt{\alpha_t}) \nabla \log p(y | x_t) $$ (10.5)

Dhariwal and Nichol's algorithm 1 moves the mean by the variance of the step times the gradient.
With $\tilde\beta_t$ for that variance it moves $c_t$ of (4.6) times as far as (10.5): nearly as far
where $\beta_t$ is small beside $1 - \bar\alpha_t$, about half as far at $t = 2$ of a long chain,
and at $t = 1$, where $c_1 = 0$, not at all.

**Boundary.** For $\bar\alpha_t \to 0$ all classes become the same noise, $p(y | x_t) \to \pi_y$,
and the gradient goes to 0 as $\sqrt{\bar\alpha_t}$. With $\mu_y$ and $m$ the means of the class and
of all data, and an error of order $\bar\alpha_t$,

$$ \nabla \log p(y | x_t) \approx \sqrt{\bar\alpha_t} (\mu_y - m) $$ (10.6)

With a single class it is 0 everywhere: there is nothing to tell apart.

**Source.** Dhariwal and Nichol 2021, arXiv:2105.05233, sec. 4, algs. 1 and 2; Ho and Salimans 2022,
arXiv:2207.12598, sec. 3.1 (weight $w + 1$ and weight $w$).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import score

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def classifier_gradient(
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, "n 2"]:
    """The exact gradient of `log p(y | x_t)`, for `t` in 0..T; 0 for the null label, y = K."""
    null = np.full_like(y, mixture.num_classes)
    given_y = score(xt, t, y, mixture, schedule)
    of_all = score(xt, t, null, mixture, schedule)
    return given_y - of_all  # (10.1)


def mean_gradient(
    p: Float[np.ndarray, "n K"], gradients: Float[np.ndarray, "K n 2"]
) -> Float[np.ndarray, "n 2"]:
    """The gradients of all classes, weighted by the probabilities `p(y | x_t)`. The sum is 0."""
    total = np.zeros(gradients.shape[1:])
    for k in range(len(gradients)):
        total += p[:, [k]] * gradients[k]  # (10.2)
    return total


def classifier_guided_eps(
    eps_null: Float[np.ndarray, "*n D"],
    gradient: Float[np.ndarray, "*n D"],
    gamma: float,
    t: int,
    schedule: Schedule,
) -> Float[np.ndarray, "*n D"]:
    """An unconditional eps pushed along `gamma` gradients of a classifier, for `t` in 1..T."""
    noise = np.sqrt(1 - schedule.alpha_bar[schedule.check_t(t)])
    return eps_null - gamma * noise * gradient  # (10.3)


def classifier_free_eps(
    eps_cond: Float[np.ndarray, "*n D"], eps_null: Float[np.ndarray, "*n D"], w: float
) -> Float[np.ndarray, "*n D"]:
    """What both of `eps_null` with gamma = 1 + w and `eps_cond` with gamma = w are guided to."""
    return (1 + w) * eps_cond - w * eps_null  # (10.4)


def mean_shift(
    gradient: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """How far a label moves the mean of the reverse step, for `t` in 1..T."""
    schedule.check_t(t)
    return schedule.beta[t] / np.sqrt(schedule.alpha[t]) * gradient  # (10.5)


def late_gradient(t: int, mixture: GaussianMixture, schedule: Schedule) -> Float[np.ndarray, "K 2"]:
    """What the gradient of each class tends to where hardly any data are left, for `t` in 0..T."""
    signal = np.sqrt(schedule.alpha_bar[schedule.check_t(t, first=0)])
    m, _ = mixture.moments()
    return signal * (mixture.means - m)  # (10.6)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step10_classifier")
