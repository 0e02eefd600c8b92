r"""Step 12. The trade-off: what a larger guidance weight gains and costs

**The question.** Guidance is meant to make samples clearer examples of their class. In the examples
of step 11 the tilted distribution of a larger $w$ is also narrower, so we expect the samples to be
less diverse. (This is not a general property. If the other classes lie in the middle of a class,
the tilted distribution loses the middle, and its variance rises with $w$.) How much relevance is
gained with a weight $w$, and how much diversity is lost? Do both changes continue for every larger
$w$? Here we measure them. The predictions are exact, so no error of a network is involved. The
numbers contain three effects: guidance itself, the error of a chain with finitely many steps, and
the random error of a finite number of samples.

**What is measured.** Suppose that $n$ samples $x_1, ..., x_n$ were drawn for class $y$. Two numbers
describe how clearly they belong to it. The *relevance* $R$ is the mean probability that an exact
classifier gives to the class. (In step 11 the letter stood for another number.) The *accuracy* $A$
is the fraction of samples for which $y$ is the most probable class. The square bracket is 1 if the
condition in it holds, and 0 otherwise:

$$ R = (1 / n) \sum_i p(y | x_i) $$ (12.1)
$$ A = (1 / n) \sum_i [p(y | x_i) > p(c | x_i) \text{ for every } c \ne y] $$ (12.2)

For example, let three samples have the probabilities 0.9, 0.6 and 0.3 of their class, and let the
rest belong to one other class. Then $R = 0.6$ and $A = 2/3$.

Diversity is measured by the differential entropy. For a density $p$ it is the mean of $-\log p(x)$,
where $x$ is drawn from $p$. A uniform distribution on a region of area $a$ has the entropy $\log
a$. So a fall of the entropy by $\log 2 = 0.69$ corresponds to half the area. The density of guided
samples is not known. Appendix C estimates the entropy from the distances between neighbouring
samples. It also proves an upper bound: among all distributions with covariance matrix $V$ the
Gaussian has the largest entropy, $\log(2 \pi e) + (\log \det V) / 2$ in the plane. We report both:
changes of the bound are known more precisely, and the estimate also shows changes of the shape that
leave the covariance as it is.

**The result.** The table is for one class of the `pinwheel` of step 1. Each row has 4,000 samples
of the ancestral chain of step 7 with 100 steps of the cosine schedule. All rows use the same random
numbers. In brackets are standard errors in units of the last digit.

| w | relevance | accuracy | entropy | bound |
|---|---|---|---|---|
| -1 | 0.207 (6) | 0.209 (6) | 2.36 (2) | 2.81 (1) |
| 0 | 0.859 (4) | 0.914 (4) | 0.98 (2) | 1.00 (2) |
| 1 | 0.957 (1) | 0.998 (1) | 0.69 (2) | 0.71 (2) |
| 4 | 0.991 (0) | 1.000 (0) | 0.59 (2) | 0.61 (2) |
| 8 | 0.998 (0) | 1.000 (0) | 0.60 (2) | 0.61 (2) |
| 16 | 1.000 (0) | 1.000 (0) | 0.63 (2) | 0.65 (2) |

*From $w = -1$ to 4 a larger weight raises the relevance of the samples and makes them less
different from each other.* Above $w = 0$ most of both changes happens at small weights. From
$w = 0$ to 1 the relevance rises by 0.10 and the entropy falls by 0.29. A quarter of the area is
lost, because $e^{-0.29} = 0.75$. From 1 to 4 the changes are 0.03 and 0.10. The classes of
`three_gaussians` overlap less, so there is less to gain: the relevance rises from 0.989 to 1.000
between $w = 0$ and 4, and the entropy falls by 0.19.

**How certain are the changes?** The same random numbers make neighbouring rows err in the same
direction. A difference between two rows is therefore known better than either row. The program
computes the standard error of each difference from the differences of the individual samples
(appendix C). Its weights rise from -1 to 4 in six steps, to -0.5, 0, 0.5, 1, 2 and 4. In each of
them the relevance rises by more than 20 standard errors of the difference, and the bound falls by
more than 15. The estimate of the entropy falls by more than 9 standard errors in the first three
steps and by 2 to 4 in the others.

**How much of it is the chain?** Step 7 showed that a chain with finitely many steps produces
samples that are too narrow. At $w = 0$ the class is a Gaussian with the entropy 1.085. By appendix
B the samples of a chain with 100 steps have the entropy 0.993, and those of a chain with 1,000
steps have 1.074. So the error of 100 steps is 0.09, nearly as large as the difference of 0.10
between $w = 1$ and $w = 4$. With 1,000 steps and 2,000 samples the bound is 0.81 at $w = 1$ and
0.72 at 4, with standard errors of 0.02. Both values are higher by about 0.1 than in the table, and
their difference is nearly the same as there.

**Where it ends.** Beyond $w = 4$ the relevance still rises, but the diversity no longer falls. From
$w = 8$ to 16 the bound *rises*, by 24 standard errors of the difference. It also rises with 1,000
steps, from 0.71 to 0.74. Step 10 suggests a reason. Where $p(y | x_t)$ is close to 1, the gradient
of its logarithm is close to 0, and guidance has almost no effect. Strong guidance moves samples
into such a region early in the chain. For the rest of the chain they follow the conditional model,
which restores a part of the spread. The larger $w$ is, the earlier this begins. For example, at
$t = 40$ the median of $p(y | x_t)$ over the samples is 0.49 for $w = 0$, 0.91 for $w = 4$, 0.97 for
$w = 8$ and 0.99 for $w = 16$. (The program also draws an animation of the chains up to $w = 4$.)
Along the long axis of the class the final variance is 0.48 at $w = 0$, 0.26 at $w = 8$ and 0.27
at 16. So it is not true in general that a larger $w$ reduces diversity. In the example of appendix
D, which is computed in closed form, it does so at every $w$. There the gradient is proportional to
the distance from one point, so no region is without guidance.

**At the boundary.** At $w = 0$ the samples have the distribution of appendix B. At $w = -1$ the
label has no influence. If the same random numbers are used for every $y$, the samples are the same.
Let $R_y$ and $A_y$ be the measures of these samples for class $y$. We may add them over the
classes. The probabilities of one sample add up to 1, and one class is the most probable one:

$$ w = -1: \quad \sum_y R_y = \sum_y A_y = 1 $$ (12.3)

Rotating the pinwheel by a fifth of a turn gives the same pinwheel with other labels. So the mean of
each $R_y$ and $A_y$ over the random numbers is $1/5$, and the row for $w = -1$ agrees with this
within two standard errors.

**What goes wrong.** A weight is chosen by a single measure. In this table the relevance is largest
at $w = 16$, the accuracy is 1.000 for all large weights, and the diversity is largest at $w = -1$.
The Frechet distance, which compares means and covariances of samples and data, depends on relevance
and on diversity. In the paper it is least at a small positive weight. No weight is the best in
general, because the best one depends on the purpose of the samples, on the network and on the data.
A second mistake is to compare weights with different random numbers. Between $w = 8$ and 16 the
standard error of the difference of the bounds would be more than ten times as large.

**Where it goes on.** Samples at large $w$ lie further out than the class. The class mean has the
distance 1.20 from the origin. The mean of the samples has the distance 1.21 at $w = 0$, 1.97 at 4
and 2.49 at 16. Does the tilted distribution of step 11 lie there, too? Step 13 compares it with
samples, for the three Gaussians. Appendix D derives the trade-off exactly for two Gaussians. The
command `minicfg sweep` makes the same table for images.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 4. They measure diversity and similarity to
the class with the Frechet inception distance and the inception score, for $w$ from 0 to 4. They do
not use the toy data sets and the entropy of this lesson.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.appendix.c_entropy import Estimate, entropy, moment_entropy
from tutorial.step01_toy_data import GaussianMixture, pinwheel
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step07_sampling import ancestral_steps

if TYPE_CHECKING:
    from jaxtyping import Float, Int

SCHEDULE = Schedule.cosine(100)
WEIGHTS = (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def measure(x: Float[np.ndarray, "n 2"], y: int, mixture: GaussianMixture) -> list[Estimate]:
    """Relevance, accuracy, entropy and its bound, of samples `x` that were drawn for class `y`.

    `y` must be in 0..K-1.
    """
    if not 0 <= y < mixture.num_classes:
        raise ValueError(f"y = {y} is outside 0..{mixture.num_classes - 1}; take a class, not null")
    log_p = mixture.log_class_probability(x)
    p = np.exp(log_p[:, y])
    hits = (log_p.argmax(1) == y).astype(np.float64)
    # At w = -1 the samples do not depend on y, so that both sum to 1 over y (12.3).
    R = Estimate(float(p.mean()), p)  # (12.1)
    A = Estimate(float(hits.mean()), hits)  # (12.2)
    h = entropy(x)
    bound = moment_entropy(x)
    return [R, A, h, bound]


def chains(mixture: GaussianMixture, y: Int[np.ndarray, " n"], w: float) -> list[np.ndarray]:
    """`x_t` for t = T..0, each (n, 2), from the same noise for every `w` and every `y`."""
    model = oracle_eps(mixture, SCHEDULE)
    rng = np.random.default_rng(0)
    return [xt for _, xt in ancestral_steps(model, y, SCHEDULE, w, rng)]


@cache
def sweep() -> list[list[Estimate]]:
    """The four measures for class 0 of the pinwheel, one row for each of `WEIGHTS`."""
    y = np.zeros(4000, int)
    mixture = pinwheel()
    return [measure(chains(mixture, y, w)[-1], 0, mixture) for w in WEIGHTS]


def errors_of_change(rows: list[list[Estimate]], k: int) -> Float[np.ndarray, " rows1"]:
    """The change of measure `k` from each row to the next, in units of its standard error."""
    changes = [after[k] - before[k] for before, after in pairwise(rows)]
    return np.array([change.value / change.error for change in changes])


if __name__ == "__main__":
    from pathlib import Path

    from tutorial.figures.program import present
    from tutorial.figures.step12_trade_off import animate

    present("step12_trade_off")
    print("animation:", animate(Path("runs/tutorial/step12_trade_off.gif")))
