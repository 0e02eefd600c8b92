r"""Appendix N. Costs: the distance to the tilted distribution against network evaluations

**The question.** A plain guided chain does not sample the tilted distribution (step 13). Appendices
K, L and M described three remedies: correctors, weights, and rounds of noise and denoising. Each of
them costs network evaluations. How near to the tilted distribution do the samples of each method
come for a given number of evaluations? This takes three things: a distance between two sets of
samples, the size of its random error, and a rule for counting evaluations.

**An example.** Take the numbers 0, 1, 5 and the numbers 6, 0, 2. How far is the first set from the
second? We pair each number of the first set with one of the second and compute the mean squared
difference of the pairs. In the order as written it is (36 + 1 + 9) / 3 = 15.33. But the order of
samples has no meaning, so we look for the pairing with the smallest mean. There are six pairings.
The best one pairs the sorted sets, 0 with 0, 1 with 2 and 5 with 6, and its mean is (0 + 1 + 1) / 3
= 0.67. The root, 0.82, is the distance of the two sets.

**On a line, sorting gives the best pairing.** Let $a \le a'$ be two numbers of the first set, and
$b \le b'$ two of the second. Suppose that a pairing crosses them, so $a$ is paired with $b'$ and
$a'$ with $b$. Compare this with the pairs in order. All squares cancel, and the products leave

$$ (a - b')^2 + (a' - b)^2 - (a - b)^2 - (a' - b')^2 = 2 (a' - a) (b' - b) $$

The right side is not negative. So exchanging the partners never increases the sum. From any
pairing, finitely many exchanges bring both sets into the same order. So no pairing has a smaller
sum than the sorted one.

For large sets the sum becomes an integral. Let $F(c)$ be the fraction of the first set that is at
most $c$. Its inverse $F^{-1}(r)$ is the number below which the fraction $r$ of the set lies, the
quantile. Let $G$ be the same function for the second set. In the sorted pairing numbers of the same
rank are partners, so the mean over the pairs is a mean over $r$:

$$ W^2 = \int_0^1 (F^{-1}(r) - G^{-1}(r))^2 dr $$ (N.1)

This is the squared Wasserstein distance of order 2. (In appendix L $W$ was a weight, and in
appendix M $G$ was the growth over a round.) The two sets may have different sizes. The code
computes the quantiles at 1000 values of $r$, the midpoints of 1000 equal intervals. Between two
neighbours of the sorted set it interpolates linearly.

**In the plane.** Points in the plane have no order. We therefore project all points on a direction
$u$, a vector of length 1, and compare the numbers $u \cdot x$. The square of the sliced Wasserstein
distance is the mean of the squared distances over all directions:

$$ SW^2 = E_u[W_u^2] $$ (N.2)

Here $W_u$ is the distance (N.1) of the projected sets. It is 0 for all $u$ only if the two
distributions are equal, because the projections on all directions determine a distribution (the
theorem of Cramér and Wold). The code takes 32 directions, equally spaced over half a circle. The
other half would give the same distances.

**Two distances in closed form.** Move a set by a vector $\Delta$. Then every quantile of the
projection moves by $u \cdot \Delta$, so $W_u^2 = (u \cdot \Delta)^2$. If $\theta$ is the angle
between the two vectors,

$$ E_u[(u \cdot \Delta)^2] = |\Delta|^2 E[\cos^2 \theta] = |\Delta|^2 / 2 $$

Next, take two round Gaussians whose means differ by $\Delta$ and whose standard deviations along
each axis are $s_1$ and $s_2$. Let $q(r)$ be the quantile of $N(0, 1)$. The quantiles of the two
projections are $q(r)$ times the standard deviation, plus the projected mean. So

$$ W_u^2 = \int_0^1 (u \cdot \Delta + (s_1 - s_2) q(r))^2 dr $$

Expand the square. The integral of $q$ is the mean of $N(0, 1)$, which is 0, so the middle term
vanishes. The integral of $q^2$ is the variance of $N(0, 1)$, which is 1:

$$ W_u^2 = (u \cdot \Delta)^2 + (s_1 - s_2)^2 $$

Take the mean over all directions:

$$ SW^2 = |\Delta|^2 / 2 + (s_1 - s_2)^2 $$ (N.3)

For example, the class of appendix H has the mean $(1, 0)$ and the variance 1. At $w = 2$ its tilted
distribution has the mean $(1.5, 0)$ and the variance 0.5. So $SW^2 = 0.125 + 0.0858$, and the
distance is 0.459.

**The floor.** Two sets of samples of the same distribution also have a distance. We call its root
mean square the floor. How large is it? Let $F_n$ be the function $F$ of a set of $n$ independent
samples from a distribution with the density $f$, and let $c$ be the true quantile at $r$. The
number $F_n(c)$ is a mean of $n$ zeros and ones. Each is 1 with the probability $r$, so the variance
of the mean is $r (1 - r) / n$. Near $c$ the function $F_n$ rises with the slope $f(c)$, up to small
fluctuations. So

$$ r = F_n(F_n^{-1}(r)) \approx F_n(c) + f(c) (F_n^{-1}(r) - c) $$
$$ F_n^{-1}(r) \approx c + (r - F_n(c)) / f(c) $$

On the right only $F_n(c)$ is random. The variance of the quantile is therefore

$$ Var[F_n^{-1}(r)] \approx r (1 - r) / (n f(c)^2) $$

For a Gaussian with the standard deviation $s_1$ along the projection, $f(c)$ is $N(q(r); 0, 1) /
s_1$. The quantiles of a second set, of $m$ samples with the standard deviation $s_2$, vary
independently, so the variances add up. (For one distribution $s_1 = s_2$. The next section needs
both.) In the mean over $r$ this gives the squared floor

$$ floor^2 = J (s_1^2 / n + s_2^2 / m), \quad J = \int_0^1 r (1 - r) / N(q(r); 0, 1)^2 dr $$ (N.4)

The integral over all $r$ is infinite. To see this, write $N(c)$ for $N(c; 0, 1)$. Its derivative is
$-c N(c)$. Near $r = 0$, where $q$ is far below 0, the factor $1 / c$ hardly changes where $N(c)$ is
not small against $N(q)$, so

$$ r = \int_{-\infty}^q N(c) dc = \int_{-\infty}^q (-1 / c) (-c N(c)) dc \approx N(q) / |q| $$

So $N(q)$ is approximately $r |q|$. The logarithm of $N(q)$ is $-q^2 / 2$ plus a constant, and
$\log|q|$ is small against $q^2$, so $q^2$ is approximately $2 \log(1 / r)$. The integrand and its
integral from a small $r_1$ are then approximately

$$ r (1 - r) / N(q(r); 0, 1)^2 \approx 1 / (r q(r)^2) \approx 1 / (2 r \log(1 / r)) $$
$$ \int_{r_1} dr / (2 r \log(1 / r)) = \tfrac{1}{2} \log \log(1 / r_1) + \text{const} $$

As $r_1 \to 0$ this grows without bound, but very slowly. The mean over the 1000 values of $r$ in
the code is finite: $J = 3.24$. Below, $n = 3000$ samples are compared with $m = 100,000$. With the
variance 0.5 of the example the floor is 0.0236.

**A distance above the floor.** Now let the two distributions differ. Write $D(r)$ for the true
difference of the quantiles and $e(r)$ for its random error. The measured square is, in the mean,

$$ E[(D + e)^2] = D^2 + 2 D E[e] + E[e^2] $$

By the approximation of the quantile above, $E[e] = 0$. The terms of second order, which it leaves
out, make $E[e]$ of the order $s_1 / n$. So the middle term is of the order $D s_1 / n$. The last
term is of the order $s_1^2 / n$. If $D$ is small against $s_1$, the middle term is small against
the last. Otherwise it is small against $D^2$, because $n$ is large. So we leave it out. The mean
over $r$ and over the directions is

$$ E[SW_{measured}^2] \approx SW^2 + floor^2 $$ (N.5)

The squares add up, and not the distances. A measured distance of 0.030 above a floor of 0.0236
belongs to a true distance of 0.019.

**Counting.** An evaluation is one pass of the network for one sample and one label. A guided score
takes two, with the label and without it. A chain with $L$ steps computes one score per step, and
with $k$ correctors per level $k$ more:

$$ \text{evaluations} = 2 L (1 + k) $$ (N.6)

Without guidance the factor 2 becomes 1. The weights of appendix L cost no evaluation, because the
chain computes both scores anyway. The rounds of appendix M have four steps each, so a round takes 8
evaluations. In the last five rows of the table they have one step, so a round takes 2. All rounds
start from samples of the class, which took 30 steps and 30 evaluations.

**Measured.** The first example is that of appendix H at $w = 2$, where the class is far from its
tilted distribution. The second is the top class of step 1 at $w = 3$. It is near its tilted
distribution, because rejection sampling keeps 97.5 % of the class (step 13). All scores are exact.
DDIM runs from $\tau = 10^4$ to 0.001, and DDPM from 400 to 0.001, over levels a constant factor
apart. The correctors of DDIM have $\rho = 0.3$ (K.4), and those of the weighted chains 0.5. Each
entry is a mean distance over six seeds. For each seed 3000 samples of every method are compared
with 100,000 exact ones. In the second example the exact samples are those that rejection sampling
keeps, out of 3000 and out of 100,000 samples of the class.

| sampler | evaluations | two Gaussians | three classes |
|---|---|---|---|
| exact samples: the floor | - | 0.025 | 0.017 |
| class without guidance, 30 steps | 30 | 0.420 | 0.036 |
| guided DDIM, 30 steps | 60 | 0.441 | 0.635 |
| guided DDIM, 360 steps | 720 | 0.408 | 0.604 |
| guided DDPM, 30 steps | 60 | 0.254 | 0.221 |
| guided DDPM, 360 steps | 720 | 0.203 | 0.193 |
| 1 corrector, 30 levels | 120 | 0.096 | 0.335 |
| 3 correctors, 30 levels | 240 | 0.030 | 0.102 |
| 11 correctors, 30 levels | 720 | 0.026 | 0.017 |
| weights, 180 levels | 360 | 0.054 | 0.087 |
| weights, 1 corrector, 90 levels | 360 | 0.040 | 0.029 |
| 5 rounds of tau = 1 | 70 | 0.120 | 0.224 |
| 40 rounds of tau = 1 | 350 | 0.136 | 0.228 |
| 10 rounds of tau = 0.1 | 110 | 0.134 | 0.029 |
| 40 rounds of tau = 0.1 | 350 | 0.026 | 0.033 |
| 10 rounds of tau = 0.03 | 110 | 0.295 | 0.021 |
| 40 rounds of tau = 0.03 | 350 | 0.115 | 0.017 |
| 10 rounds of tau = 0.1, one step | 50 | 0.128 | 0.055 |
| 40 rounds of tau = 0.1, one step | 110 | 0.027 | 0.062 |
| 10 rounds of tau = 0.03, one step | 50 | 0.290 | 0.019 |
| 40 rounds of tau = 0.03, one step | 110 | 0.107 | 0.020 |
| 120 rounds of tau = 0.03, one step | 270 | 0.025 | 0.022 |

From seed to seed the distances vary with a standard deviation of at most 0.024, for weights without
a corrector, and of at most 0.015 for all others. The first entry of the floor has a standard error
of 0.002, so its 0.025 agrees with the 0.0236 of (N.4). In the first example the class itself is
0.459 from the tilted distribution. Its 30 steps end with the mean 0.991 and the variance 0.875. By
(N.3) this distribution is 0.426 away, which is a little nearer than the class.

**Plain guided chains improve little with more steps.** With twelve times the steps their distance
falls by less than a quarter. In the first example appendix H gives the limit of small steps. DDIM
ends in a Gaussian with the mean $(2, 0)$ and the variance 0.25, and DDPM in one with $(1.75, 0)$
and 0.3875. By (N.3) these are 0.410 and 0.196 away from the tilted distribution. In the second
example the class without guidance is nearer to the tilted distribution than every plain guided
chain, at half the evaluations or fewer. So plain guidance moves the samples away from the tilted
distribution there.

**Correctors.** They start from noise, so the class need not be near the tilted distribution. With
eleven per level both examples come close to the floor. With three per level, the recursion of
appendix K gives the mean 1.513 and the variance 0.526 in the first example. By (N.3) this is 0.020
away, and (N.5) predicts the measured distance 0.031. Eleven per level give 1.501 and 0.527, which
is still 0.019 away. Here (N.5) predicts 0.030, and the table has 0.026. The difference is about two
standard errors: from seed to seed this distance has a standard deviation of 0.005, so a mean over
six seeds has a standard error of 0.002. Another 60 seeds, compared with the exact quantiles, have
the mean 0.028, with a standard error of 0.0006. Two small effects lower the prediction to 0.029.
The mean of the distances is smaller than their root mean square, here by 0.0004. The middle term
that (N.5) leaves out is $-0.00006$ here, because the outermost quantiles of a set lie too near its
centre, and this lowers the root by 0.0009. The true distance of 0.019 is the excess of the variance
by (K.1), which only a smaller $\rho$ reduces.

**Rounds.** They start from the class. So the number of rounds depends on how far the class is from
the tilted distribution. In the second example it is near, and 10 rounds of one step with
$\tau = 0.03$ come near the floor. They take 50 evaluations, fewer than guided DDIM with 30 steps.
In the first example the same rounds are of little use, because each of them leaves 97 % of the
distance of the mean from its limit (M.5). There 40 rounds of one step with $\tau = 0.1$ come as
near as three correctors per level. They take 110 evaluations, and the correctors 240. In the second
example these rounds end farther away than the class. With $\tau = 0.03$ and 120 rounds of one step
both examples come near the floor, with 270 evaluations.

Are four steps per round more accurate? With $\tau = 0.1$ and 40 rounds they are, in both examples.
In the first they end with the mean 1.510 and the variance 0.484, which is 0.013 away by (N.3). With
one step they end with 1.523 and 0.490, which is 0.018 away. But four steps take four times the
evaluations, and with fewer rounds or a smaller $\tau$ they need not come nearer. In the first
example 120 rounds with $\tau = 0.03$ end with 1.492 and 0.495 for four steps, and with 1.496 and
0.497 for one step. By (N.3) these are 0.007 and 0.004 away.

A large $\tau$ needs few rounds and ends in a wrong distribution. In the first example 40 rounds of
$\tau = 1$ end farther away than 5. In the second, 5 such rounds are already close to their limit.
If the last five of the 40 rounds draw the same noise as the 5 rounds, their two distances differ by
only 0.001. The rest of the difference of 0.004 in the table is chance.

**Weights.** They reach the floor in neither example. In the second they also vary most from seed to
seed, because few chains carry most of the weight (appendix L). With half the levels and one
corrector at each, which costs the same, they come nearer in both.

**Which remedy is the cheapest?** Among the rows of the table it is rounds of one step. In the first
example no other row with at most 110 evaluations comes as near as the 40 rounds with $\tau = 0.1$.
In the second no other row with at most 50 comes as near as the 10 rounds with $\tau = 0.03$. But
the cheapest setting of each example is poor in the other. The 120 rounds with $\tau = 0.03$ and the
eleven correctors per level come near the floor in both. The levels and step sizes were not
optimised for any method, so the table does not contain the least cost of each.

**At the boundary.** The distance of a set from itself is 0, and at $w = 0$ the tilted distribution
is the class. (N.4) and (N.5) assume independent samples. After resampling some samples are copies
of others, so the floor of the weighted samples is that of a smaller set. In $d$ dimensions the mean
of $(u \cdot \Delta)^2$ is $|\Delta|^2 / d$, so sliced distances in different dimensions cannot be
compared.

**What goes wrong.** The samples are paired in the order in which they were drawn. A distance is
compared with 0 and not with the floor, so even exact samples seem to have an error. The floor is
subtracted from the distance, and not its square from the square. A guided score is counted as one
evaluation. The evaluations for the samples from which the rounds start are left out. The table is
read as a ranking of the methods for images. But here all scores are exact. The errors of a network,
and their growth under guidance (step 15), are not measured.

**Where it goes on.** All methods so far keep the two predictions of step 9. Appendix O replaces the
one without a label by another.

**Source.** Bonneel et al. 2015, J. Math. Imaging Vis. 51:22 (the sliced distance). van der Vaart
1998, Asymptotic Statistics, sec. 21.2 (quantiles of samples). The measurements are this course's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri  # pyright: ignore[reportMissingTypeStubs]  # SciPy has none

from tutorial.appendix.h_gaussian_pairs import EXAMPLE
from tutorial.appendix.i_predictor_corrector import levels
from tutorial.appendix.j_levels import Scores, of_gaussians, of_mixture
from tutorial.appendix.k_correctors import corrected_steps
from tutorial.appendix.l_feynman_kac import copies, weighted_steps
from tutorial.appendix.m_gibbs import gibbs_rounds
from tutorial.contract import last
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Gaussian
from tutorial.step11_guidance import tilt
from tutorial.step13_tilted import keep

if TYPE_CHECKING:
    from jaxtyping import Float

N = 3000  # samples per sampler
RANKS = (np.arange(1000) + 0.5) / 1000  # the r of the quantiles


@dataclass(frozen=True)
class Case:
    """A class with exact scores, and exact samples of its tilted distribution.

    Args:
        scores: the scores of the class and of all data.
        var: the variance of the class along an axis.
        w: the guidance weight.
        tilted: `tilted(n, seed)` draws at most `n` exact samples.
    """

    scores: Scores
    var: float
    w: float
    tilted: Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Row:
    """A sampler, its network evaluations per sample, and its distance."""

    sampler: str
    evaluations: int
    distance: float


def quantiles(
    x: Float[np.ndarray, "n 2"], directions: int = 32
) -> Float[np.ndarray, "1000 directions"]:
    """The quantiles of the projections of `x`, for at least 2 directions of half a circle."""
    angle = np.pi * (np.arange(directions) + 0.5) / directions
    u = np.stack([np.cos(angle), np.sin(angle)])
    in_order = np.sort(x @ u, axis=0)
    place = RANKS * (len(x) - 1)  # counted from 0, between two samples
    below = place.astype(int)
    above = np.minimum(below + 1, len(x) - 1)
    part = (place - below)[:, None]
    return (1 - part) * in_order[below] + part * in_order[above]


def distance(
    F_inverse: Float[np.ndarray, "1000 directions"], G_inverse: Float[np.ndarray, "1000 directions"]
) -> float:
    """The sliced Wasserstein distance of two sets, from their `quantiles`."""
    W2 = ((F_inverse - G_inverse) ** 2).mean(0)  # (N.1), for each direction
    SW2 = W2.mean()  # (N.2)
    return float(SW2**0.5)


def sliced_wasserstein(x: Float[np.ndarray, "n 2"], other: Float[np.ndarray, "m 2"]) -> float:
    """The distance of two sets of points; their sizes may differ."""
    return distance(quantiles(x), quantiles(other))


def distance_of_gaussians(a: Gaussian, b: Gaussian) -> float:
    """The distance of two round Gaussians in the plane."""
    between = ((a.mean - b.mean) ** 2).sum()
    SW2 = between / 2 + (a.var**0.5 - b.var**0.5) ** 2  # (N.3)
    return float(SW2**0.5)


def floor(n: int, var: float, m: int, other_var: float) -> float:
    """The root mean square of the random part, for `n` samples of variance `var`, and `m`."""
    q = np.asarray(ndtri(RANKS))
    density = np.exp(-(q**2) / 2) / np.sqrt(2 * np.pi)
    J = (RANKS * (1 - RANKS) / density**2).mean()
    return float((J * (var / n + other_var / m)) ** 0.5)  # (N.4)


def measured(true: float, at_least: float) -> float:
    """The root mean square of the measured distance, above the floor `at_least`."""
    return (true**2 + at_least**2) ** 0.5  # (N.5)


def top_class_tilted(n: int, seed: int) -> Float[np.ndarray, "kept 2"]:
    """Rejection sampling: those kept of `n` samples of the top class, with w = 3."""
    three = three_gaussians()
    rng = np.random.default_rng(seed)
    x = three.means[0] + 0.5 * rng.standard_normal((n, 2))
    return x[keep(x, 0, 3.0, three, rng)]


def pair_tilted(n: int, seed: int) -> Float[np.ndarray, "n 2"]:
    """`n` samples of the tilted distribution of the two Gaussians of appendix H, with w = 2."""
    tilted = tilt(*EXAMPLE, 2.0)
    z = np.random.default_rng(seed).standard_normal((n, 2))
    return tilted.mean + tilted.var**0.5 * z


def cases() -> dict[str, Case]:
    """Two Gaussians, where the class is far from its tilted distribution, and three classes."""
    three = of_mixture(three_gaussians(), 0)
    return {
        "two Gaussians": Case(of_gaussians(*EXAMPLE), 1.0, 2.0, pair_tilted),
        "three classes": Case(three, 0.25, 3.0, top_class_tilted),
    }


def ddim(
    case: Case, steps: int, w: float, correctors: int, rng: np.random.Generator
) -> Float[np.ndarray, "n 2"]:
    """DDIM with the weight `w`, and correctors at each level as in appendix K."""
    x = 100 * rng.standard_normal((N, 2))
    taus = levels(steps, 1e4, 1e-3)
    return last(corrected_steps(x, taus, w, correctors, 0.3, case.var, case.scores, rng))


def ddpm(case: Case, steps: int, rng: np.random.Generator) -> Float[np.ndarray, "n 2"]:
    """Guided DDPM."""
    x = 20 * rng.standard_normal((N, 2))
    taus = levels(steps, 400.0, 1e-3)
    chain = weighted_steps(x, taus, case.w, case.scores, rng, below=0.0, var=case.var)
    x, _ = last(chain)
    return x


def weighted(
    case: Case, steps: int, correctors: int, rng: np.random.Generator
) -> Float[np.ndarray, "n 2"]:
    """Guided DDPM with the weights of appendix L, resampled, and correctors at each level."""
    x = 20 * rng.standard_normal((N, 2))
    taus = levels(steps, 400.0, 1e-3)
    chain = weighted_steps(x, taus, case.w, case.scores, rng, 0.5, correctors, case.var)
    x, log_weights = last(chain)
    return x[copies(log_weights, 0.5)]


def rounds(
    case: Case,
    x: Float[np.ndarray, "n 2"],
    tau: float,
    number: int,
    rng: np.random.Generator,
    steps: int = 4,
) -> Float[np.ndarray, "n 2"]:
    """Rounds of `steps` guided scores each, as in appendix M, from the samples `x`."""
    chain = gibbs_rounds(x, tau, case.w, steps, case.scores, rng)
    return last(islice(chain, number))


def chain_cost(steps: int, correctors: int = 0, passes: int = 2) -> int:
    """Evaluations per sample of a chain over `steps` levels; without guidance `passes` is 1."""
    return passes * steps * (1 + correctors)  # (N.6)


def rounds_cost(number: int, start: int, steps: int = 4) -> int:
    """Evaluations per sample of `number` rounds, if the samples of the class took `start`."""
    return start + 2 * steps * number


@cache
def table(name: str, seed: int = 0) -> tuple[Row, ...]:
    """Every sampler on one of the `cases`."""
    case = cases()[name]
    rng = np.random.default_rng(seed)
    aim = quantiles(case.tilted(100_000, seed + 1000))
    rows: list[Row] = []

    def add(sampler: str, evaluations: int, x: np.ndarray) -> None:
        """Append the row of the samples `x`."""
        rows.append(Row(sampler, evaluations, distance(quantiles(x), aim)))

    add("exact samples", 0, case.tilted(N, seed + 2000))
    of_class = ddim(case, 30, 0.0, 0, rng)
    start = chain_cost(30, passes=1)
    add("class, no guidance", start, of_class)
    for steps in (30, 360):
        add("guided DDIM", chain_cost(steps), ddim(case, steps, case.w, 0, rng))
    for steps in (30, 360):
        add("guided DDPM", chain_cost(steps), ddpm(case, steps, rng))
    for correctors in (1, 3, 11):
        x = ddim(case, 30, case.w, correctors, rng)
        add("correctors", chain_cost(30, correctors), x)
    add("weights", chain_cost(180), weighted(case, 180, 0, rng))
    add("weights, corrector", chain_cost(90, 1), weighted(case, 90, 1, rng))
    for tau, number in ((1.0, 5), (1.0, 40), (0.1, 10), (0.1, 40), (0.03, 10), (0.03, 40)):
        x = rounds(case, of_class, tau, number, rng)
        add(f"rounds, tau = {tau:g}", rounds_cost(number, start), x)
    for tau, number in ((0.1, 10), (0.1, 40), (0.03, 10), (0.03, 40), (0.03, 120)):
        x = rounds(case, of_class, tau, number, rng, steps=1)
        add(f"rounds, tau = {tau:g}, one step", rounds_cost(number, start, steps=1), x)
    return tuple(rows)


if __name__ == "__main__":
    from tutorial.figures.appendix.n_costs import print_table
    from tutorial.figures.program import present

    present("appendix.n_costs")
    print_table()
