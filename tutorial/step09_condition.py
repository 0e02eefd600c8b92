r"""Step 9. Conditioning: the label, the null class for all images, and what a label tells.

**Claim.** The noise does not look at labels, so all of steps 2 to 7 holds for the data of one class
alone. Tell the network $y$, and the reverse step is that of step 5:

$$ p(x_{t-1} | x_t, y) = N(\mu, \tilde\beta_t I) $$ (9.1)
$$ \mu = (x_t - \beta_t / \sqrt{1 - \bar\alpha_t} \epsilon(x_t, y)) / \sqrt{\alpha_t} $$ (9.2)

If the output is $E[\epsilon | x_t, y]$, this is the true mean $E[x_{t-1} | x_t, y]$.

**The null class** $\phi$, the label $K$, has all images for its data. Its best output is the mean
over the classes that $x_t$ may be of: first the mean of eps given $x_t$ and $y$, then over $y$.

$$ \epsilon(x_t, \phi) = E[\epsilon | x_t] = \sum_y p(y | x_t) \epsilon(x_t, y) $$ (9.3)

Divided by $-\sqrt{1 - \bar\alpha_t}$ this is (7.5), $\sum_y p(y | x_t) s(x_t | y) = s(x_t)$. The
weights are of $x_t$, not of the data at large: where only one class can be, the null output is that
of the class, and a label tells nothing new.

**What a label tells.** Without it the lowest loss is higher. The null output is a function of
$(x_t, y)$ too, one that looks away from $y$, so (7.8) with $f = \epsilon(x_t, \phi)$ says by how
much:

$$ E|\epsilon - \epsilon(x_t, \phi)|^2 - E|\epsilon - \epsilon(x_t, y)|^2 = E|d|^2 $$ (9.4)

with $d = \epsilon(x_t, y) - \epsilon(x_t, \phi)$. This is the difference that guidance multiplies
(step 10). It goes to 0 at either end of the chain. Where $\bar\alpha_t \to 0$ all classes become
the same noise; near data that have a density the two scores stay finite, and their difference is
multiplied by $-\sqrt{1 - \bar\alpha_t}$. A label tells most in between.

**Boundary.** At $t = 1$, $\tilde\beta_1 = 0$ and the step ends in the point $E[x_0 | x_1, y]$. With
a single class $d = 0$: that class is all images.

**Source.** Ho et al. 2020, arXiv:2006.11239, eq. 11 (the mean, there without $y$); Ho and Salimans
2022, arXiv:2207.12598, sec. 3.2 (the null token).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser
from tutorial.step00_notation import Gaussian, Schedule
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step05_reverse import p_xprev_given_xt
from tutorial.step07_oracle import noised, oracle_eps

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def p_xprev_given_xt_y(
    model: Denoiser,
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    schedule: Schedule,
) -> Gaussian:
    """The reverse step of a model, each row with its own label in 0..K, for `t` in 1..T."""
    out = model(xt, t, y)
    return p_xprev_given_xt(xt, out, t, schedule, model.prediction)  # (9.1), with the mean (9.2)


def eps_of_all(
    xt: Float[np.ndarray, "n 2"], t: int, mixture: GaussianMixture, schedule: Schedule
) -> Float[np.ndarray, "n 2"]:
    """`E[eps | x_t]`, from what the oracle says of each class, for `t` in 1..T."""
    schedule.check_t(t)
    model = oracle_eps(mixture, schedule)
    p = np.exp(noised(mixture, t, schedule).log_class_probability(xt))
    eps_null = np.zeros(xt.shape)
    for k in range(model.num_classes):
        eps_k = model(xt, t, np.full(len(xt), k))
        eps_null += p[:, [k]] * eps_k  # (9.3)
    return eps_null


def told_by_label(
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    mixture: GaussianMixture,
    schedule: Schedule,
) -> Float[np.ndarray, " n"]:
    """The square of what a label changes in the oracle's eps, for `t` in 1..T and `y` in 0..K."""
    model = oracle_eps(mixture, schedule)
    null = np.full_like(y, model.num_classes)
    d = model(xt, t, y) - model(xt, t, null)
    return (d**2).sum(1)  # (9.4)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step09_condition")
