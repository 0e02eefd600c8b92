r"""Step 9. Conditioning: the label, the null class for all images, and what a label tells.

**Claim.** The noise does not look at labels, so all of steps 2 to 7 holds for the data of one class
alone. Tell the network $y$, and the reverse step is that of step 6:

$$ p(x_{t-1} | x_t, y) = N(\mu, \tilde\beta_t I) $$ (9.1)
$$ \mu = (x_t - \beta_t / \sqrt{1 - \bar\alpha_t} \epsilon(x_t, y)) / \sqrt{\alpha_t} $$ (9.2)

If the output is $E[\epsilon | x_t, y]$, this is the true mean $E[x_{t-1} | x_t, y]$.

**The null class** $\phi$, the label $K$, has all images for its data. Its best output is the mean
over the classes that $x_t$ may be of: first the mean of eps given $x_t$ and $y$, then over $y$.

$$ \epsilon(x_t, \phi) = E[\epsilon | x_t] = \sum_y p(y | x_t) \epsilon(x_t, y) $$ (9.3)

Divided by $-\sqrt{1 - \bar\alpha_t}$ this is (5.15), $\sum_y p(y | x_t) s(x_t | y) = s(x_t)$. The
weights are of $x_t$, not of the data at large: where only one class can be, the null output is that
of the class, and a label tells nothing new.

**What a label tells.** Without it the lowest loss is higher. The null output is a function of
$(x_t, y)$ too, one that looks away from $y$, so (5.1) with $f = \epsilon(x_t, \phi)$ says by how
much:

$$ E|\epsilon - \epsilon(x_t, \phi)|^2 - E|\epsilon - \epsilon(x_t, y)|^2 = E|d|^2 $$ (9.4)

with $d = \epsilon(x_t, y) - \epsilon(x_t, \phi)$. This is the difference that guidance multiplies
(step 11). It goes to 0 at either end of the chain. Where $\bar\alpha_t \to 0$ all classes become
the same noise; near data that have a density the two scores stay finite, and their difference is
multiplied by $-\sqrt{1 - \bar\alpha_t}$. A label tells most in between.

**Boundary.** At $t = 1$, $\tilde\beta_1 = 0$ and the step ends in the point $E[x_0 | x_1, y]$. With
a single class $d = 0$: that class is all images.

**Source.** Ho et al. 2020, arXiv:2006.11239, eq. 11 (the mean, there without $y$); Ho and Salimans
2022, arXiv:2207.12598, sec. 3.2 (the null token).

**Label dropout: one network learns both outputs, whatever the share of labels.**

**Claim.** In training, hide each label with probability $p$ (`p_uncond`) behind the null label:

$$ y' = \phi \text{ with probability } p \text{, else } y $$ (9.5)

Whatever $p$ strictly between 0 and 1, the loss is least for the same function: the mean of the
noise given $x_t$ and the label, and at $\phi$ the mean given $x_t$ alone. One network, two models.

**Why.** The coin knows nothing of the sample (else $\phi$ would stand for other images). So the
loss of any function $f$, with $y'$ for its label, is a sum of two:

$$ L(f) = (1 - p) E|\epsilon - f(x_t, y)|^2 + p E|\epsilon - f(x_t, \phi)|^2 $$ (9.6)

Step 5 split each of these: by (5.1), the first given $(x_t, y)$ and the second given $x_t$ alone,
it is a floor that no $f$ changes, plus a distance. Write $f^*(x_t, y) = E[\epsilon | x_t, y]$ and
$f^*(x_t, \phi) = E[\epsilon | x_t]$ for the pair of conditional means. Then

$$ L(f) - L(f^*) = (1 - p) E|f - f^*|^2(x_t, y) + p E|f - f^*|^2(x_t, \phi) $$ (9.7)

With both weights above 0, this is 0 only if both distances are: *the pair is the only minimiser,
whatever $p$ is*. (Only where $x_t$ never comes is $f$ free.)

**What $p$ does change** is the height of the minimum, $(1 - p)$ times one floor and $p$ times the
higher one; and what a network does that cannot be $f^*$ at both. The more weight on one output,
the nearer its best is to $f^*$ there and the farther off at the other, or both stay (step 15).
That is also what comes of a null label that shares its number with a class: no longer two outputs
but one, for two different means.

**A coin for each sample.** Of a batch of $n$, the number $n'$ without a label is then binomial:

$$ Var(n') = n p (1 - p) $$ (9.8)

One for the whole batch has the same $L$ but the variance $n^2 p (1 - p)$: no batch teaches both.

**Boundary.** At $p = 0$ nothing in (9.6) speaks of $\phi$, at $p = 1$ nothing of the classes: what
the network says there is left to chance. With a single class, $f^*$ is the same at both.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, alg. 1 and sec. 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step05_best_guess import noised, oracle_eps
from tutorial.step06_reverse import p_xprev_given_xt

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


def check_p(p_uncond: float) -> float:
    """Return `p_uncond` if it is a probability."""
    if not 0 <= p_uncond <= 1:
        raise ValueError(f"p_uncond = {p_uncond} is outside 0..1")
    return p_uncond


def drop_labels(
    y: Int[np.ndarray, " n"], p_uncond: float, null: int, rng: np.random.Generator
) -> Int[np.ndarray, " n"]:
    """The labels, each by itself made `null` with probability `p_uncond` in 0..1.

    >>> drop_labels(np.array([2, 0, 1]), 1.0, 3, np.random.default_rng(0))
    array([3, 3, 3])
    """
    return np.where(rng.random(len(y)) < check_p(p_uncond), null, y)  # (9.5)


def dropped_var(n: int, p_uncond: float) -> float:
    """The variance of the number of dropped labels in a batch of `n`."""
    return n * p_uncond * (1 - p_uncond)  # (9.8)


def joint_loss(
    eps: Float[np.ndarray, "n D"],
    f_y: Float[np.ndarray, "n D"],
    f_null: Float[np.ndarray, "n D"],
    p_uncond: float,
) -> Float[np.ndarray, " n"]:
    """Each sample's loss, from the outputs with its label and without, averaged over the coin."""
    with_y = ((eps - f_y) ** 2).sum(1)
    without = ((eps - f_null) ** 2).sum(1)
    return (1 - check_p(p_uncond)) * with_y + p_uncond * without  # (9.6)


def one_copy_each(
    features: Float[np.ndarray, "n F"], label: Int[np.ndarray, " n"], null: int
) -> Float[np.ndarray, "n K1F"]:
    """The features in the columns of the row's own label, in 0..`null`, and 0 in all others."""
    if len(label) and not (label.min() >= 0 and label.max() <= null):
        raise ValueError(f"label in {label.min()}..{label.max()} is outside 0..{null}")
    return np.hstack([features * (label == k)[:, None] for k in range(null + 1)])


def joint_fit(
    with_y: Float[np.ndarray, "n F"],
    without: Float[np.ndarray, "n F"],
    eps: Float[np.ndarray, "n D"],
    p_uncond: float,
) -> Float[np.ndarray, "F D"]:
    """The W of least mean `joint_loss` if the outputs are `with_y @ W` and `without @ W`.

    Each sample is in it twice, so that no coin is tossed. What the loss does not speak of is 0.
    """
    # The squares of a and b are the weights of the two losses.
    a = np.sqrt(1 - check_p(p_uncond))
    b = np.sqrt(p_uncond)
    design = np.vstack([a * with_y, b * without])
    target = np.vstack([a * eps, b * eps])
    return np.linalg.lstsq(design, target)[0]  # (9.7)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step09_condition")
