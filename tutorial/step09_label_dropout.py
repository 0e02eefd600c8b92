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
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, GREY, Check, present
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import three_gaussians
from tutorial.step03_marginal import xt_from_x0
from tutorial.step07_oracle import oracle_eps

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
    return np.where(rng.random(len(y)) < check_p(p_uncond), null, y)  # (9.5) (9.8)


def joint_loss(
    eps: Float[np.ndarray, "n D"], f_y: Float[np.ndarray, "n D"],
    f_null: Float[np.ndarray, "n D"], p_uncond: float,
) -> Float[np.ndarray, " n"]:  # fmt: skip
    """Each sample's loss, from the outputs with its label and without, averaged over the coin."""
    with_y, without = (((eps - f) ** 2).sum(1) for f in (f_y, f_null))
    return (1 - check_p(p_uncond)) * with_y + p_uncond * without  # (9.6)


def one_copy_each(
    features: Float[np.ndarray, "n F"], label: Int[np.ndarray, " n"], null: int
) -> Float[np.ndarray, "n K1F"]:
    """The features in the columns of the row's own label, in 0..`null`, and 0 in all others."""
    if len(label) and not (label.min() >= 0 and label.max() <= null):
        raise ValueError(f"label in {label.min()}..{label.max()} is outside 0..{null}")
    return np.hstack([features * (label == k)[:, None] for k in range(null + 1)])


def joint_fit(
    with_y: Float[np.ndarray, "n F"], without: Float[np.ndarray, "n F"],
    eps: Float[np.ndarray, "n D"], p_uncond: float,
) -> Float[np.ndarray, "F D"]:  # fmt: skip
    """The W of least mean `joint_loss` if the outputs are `with_y @ W` and `without @ W`.

    Each sample is in it twice, so that no coin is tossed. What the loss does not speak of is 0.
    """
    a, b = np.sqrt([1 - check_p(p_uncond), p_uncond])  # squares carry the weights
    design, target = np.vstack([a * with_y, b * without]), np.vstack([a * eps, b * eps])
    return np.linalg.lstsq(design, target)[0]  # (9.7)


def checks() -> list[Check]:
    """The loss with coins and without; what a wrong pair costs; two fits, and the oracle."""
    mixture, schedule, t, n = three_gaussians(), Schedule.cosine(100), 40, 10_000
    model, rng, null = oracle_eps(mixture, schedule), np.random.default_rng(0), np.full(n, 3)
    (x0, y), eps = mixture.sample(n, rng), rng.standard_normal((n, 2))
    xt = xt_from_x0(x0, eps, t, schedule)
    f_y, f_null = model(xt, t, y), model(xt, t, null)
    loss = joint_loss(eps, f_y, f_null, 0.2)
    drawn = ((eps - model(xt, t, drop_labels(y, 0.2, 3, rng))) ** 2).sum(1)
    more = joint_loss(eps, 1.1 * f_y, 1.1 * f_null, 0.2) - loss
    cost = joint_loss(0 * eps, 0.1 * f_y, 0.1 * f_null, 0.2)  # (9.7)
    base = np.hstack([xt, np.ones((n, 1)), f_null])
    of_y, of_null = (one_copy_each(base, label, 3) for label in (y, null))
    rare, often = (joint_fit(of_y, of_null, eps, p) for p in (0.1, 0.9))
    pairs = ((f_y, of_y), (f_null, of_null))
    off = sum(((best - of @ rare) ** 2).sum(1).mean() for best, of in pairs)
    count = (drop_labels(np.zeros(400_000, int), 0.2, 3, rng).reshape(4000, 100) == 3).sum(1)
    allowed = [4 * a.std() / n**0.5 for a in (drawn - loss, more - cost)]
    return [
        Check("(9.6) loss, labels drawn", drawn.mean(), loss.mean(), allowed[0]),
        Check("(9.7) what a tenth too much costs", more.mean(), cost.mean(), allowed[1]),
        Check("(9.7) fits, p = .1 less p = .9", np.abs(rare - often).max(), 0, 1e-9),
        # 5 weights of 4 labels in 2 outputs cost at most 1 / n each, on average; four times that.
        Check("(9.7) fit, distance from the oracle", off, 0, 160 / n),
        Check("(9.8) variance of n', n = 100", count.var(), 16, 4 * 16 * (2 / 4000) ** 0.5),
    ]


def figure() -> Figure:
    """Fits of both outputs for two shares; then one output for both, over all shares."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
    fits, shared = fig.subplots(1, 2)
    mixture, schedule, n = three_gaussians(), Schedule.cosine(100), 12_000
    model, rng, shares = oracle_eps(mixture, schedule), np.random.default_rng(0), np.arange(11) / 10
    (x0, y), eps = mixture.sample(n, rng), rng.standard_normal((n, 2))
    xt, height = xt_from_x0(x0, eps, 40, schedule), np.arange(-1.9, 2.4, 0.2)
    bins = (np.abs(xt[:, [1]] - height) < 0.1).astype(np.float64)
    of_y, of_null = (one_copy_each(bins, label, 3) for label in (y, 0 * y + 3))
    tables = [joint_fit(of_y, of_null, eps, p)[:, 1].reshape(4, -1) for p in (0.1, 0.9)]
    of_y, of_null = (one_copy_each(bins, label, 2) for label in (y, 0 * y))
    both = [joint_fit(of_y, of_null, eps, p)[: len(height), 1] for p in shares]
    for k, shown, color, name in ((0, y == 0, BLUE, "y = 0"), (3, y < 3, GREY, "null label")):
        seen, exact = bins[shown], model(xt[shown], 40, 0 * y[shown] + k)[:, 1]
        here = seen.sum(0) > 30  # samples in a bin
        line = exact @ seen[:, here] / seen[:, here].sum(0)
        fits.plot(height[here], line, color=color, label=f"{name}: oracle")
        for table, style, p in zip(tables, "+o", ("0.1", "0.9"), strict=True):
            look = {"mfc": "none", "ms": 7, "color": color, "label": f"{name}: fit, p = {p}"}
            fits.plot(height[here], table[k, here], style, **look)
        far = [seen.mean(0) @ (table - tables[0][k]) ** 2 for table in both]
        shared.plot(shares, far, "o-", ms=4, color=color, label=f"{name}: one number for both")
    shared.axhline(0, color="black", lw=1, label="either: a number each")
    fits.set(title="One fit of both, on bins of height (t = 40)", xlabel="height of $x_t$")
    fits.set_ylabel("eps, upwards")
    shared.set(title="Null label with the number of class 0: square off", xlabel="$p$")
    for ax in (fits, shared):
        ax.legend(fontsize=7)
    return fig


if __name__ == "__main__":
    present("step09_label_dropout", __doc__ or "", checks(), figure())
