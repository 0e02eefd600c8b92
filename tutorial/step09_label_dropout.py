r"""Step 9, part 2. Label dropout: one network learns both outputs, whatever the share of labels.

**Claim.** In training, hide each label with probability $p$ (`p_uncond`) behind the null label:

$$ y' = \phi \text{ with probability } p \text{, else } y $$ (9.5)

Whatever $p$ strictly between 0 and 1, the loss is least for the same function: the mean of the
noise given $x_t$ and the label, and at $\phi$ the mean given $x_t$ alone. One network, two models.

**Why.** The coin knows nothing of the sample (else $\phi$ would stand for other images). So the
loss of any function $f$, with $y'$ for its label, is a sum of two:

$$ L(f) = (1 - p) E|\epsilon - f(x_t, y)|^2 + p E|\epsilon - f(x_t, \phi)|^2 $$ (9.6)

Step 7 split each of these: by (7.8), the first given $(x_t, y)$ and the second given $x_t$ alone,
it is a floor that no $f$ changes, plus a distance. Write $f^*(x_t, y) = E[\epsilon | x_t, y]$ and
$f^*(x_t, \phi) = E[\epsilon | x_t]$ for the pair of conditional means. Then

$$ L(f) - L(f^*) = (1 - p) E|f - f^*|^2(x_t, y) + p E|f - f^*|^2(x_t, \phi) $$ (9.7)

With both weights above 0, this is 0 only if both distances are: *the pair is the only minimiser,
whatever $p$ is*. (Only where $x_t$ never comes is $f$ free.)

**What $p$ does change** is the height of the minimum, $(1 - p)$ times one floor and $p$ times the
higher one; and what a network does that cannot be $f^*$ at both. The more weight on one output,
the nearer its best is to $f^*$ there and the farther off at the other, or both stay (step 12).
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

if TYPE_CHECKING:
    from jaxtyping import Float, Int


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

    present("step09_label_dropout")
