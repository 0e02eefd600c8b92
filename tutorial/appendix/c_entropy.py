r"""Appendix C. Diversity as entropy: an estimate from neighbours, and its standard error

**The question.** Step 12 measured the diversity of samples by their entropy. The density of guided
samples is not known, so the entropy has to be estimated from the samples alone. How does one
estimate the mean of a log density that is not known, and how accurate is the result?

**An example.** The three classes of step 1 form three round clusters in the plane, at a distance of
1.5 from the origin. Their density is known, and a sum over a grid gives the entropy 2.53. From 4000
samples, the estimate of this lesson is 2.50 with a standard error of 0.02. The covariance matrix of
the same samples gives a third number, 3.15. It is the entropy of a Gaussian with this covariance
matrix, and it is an upper bound. So the covariance matrix alone would overstate the entropy by
about 0.62. The exponential of an entropy can be read as an area (see below). This area would be
overstated by the factor $e^{0.62} = 1.86$.

**What entropy measures.** For a density $p$ in the plane the differential entropy is, in nats,

$$ h = -E \log p(x) $$ (C.1)

If the density is uniform on a region, it is one over the area there, and $h$ is the logarithm of
the area. So in general $e^h$ can be read as an area: the size of the region that the samples fill.
Stretching the plane should multiply this area by the same factor for every density. Map $x$ to
$A x + c$ with an invertible matrix $A$. A small region grows by the factor $|\det A|$. It keeps its
probability, so the density is divided by this factor:

$$ p_{new}(A x + c) = p(x) / |\det A| $$

Take the logarithm, the mean and the sign:

$$ h(A x + c) = h(x) + \log |\det A| $$ (C.2)

Multiplying all samples by 2 therefore adds $\log 4 = 1.39$. A shift changes nothing.

**The entropy of a Gaussian.** For $N(0, I)$ in the plane $-\log p(x)$ is $\log(2 \pi) + |x|^2 / 2$.
The mean of $|x|^2$ is 2, so

$$ h(N(0, I)) = \log(2 \pi) + 1 = \log(2 \pi e) $$

A Gaussian with the covariance matrix $V$ is the image of a standard normal vector under a matrix
$A$ with $A A^T = V$. The determinant of $A$ is then the root of that of $V$, and by (C.2)

$$ h = \log(2 \pi e) + (\log \det V) / 2 $$ (C.3)

**The covariance matrix gives a bound.** Let $p$ be any density with mean $m$ and covariance matrix
$V$, and let $q$ be the Gaussian with the same two. The logarithm of $q$ is quadratic, so its mean
under $p$ depends only on these moments. The mean of the quadratic form is the trace of $V^{-1} V$.
In the plane this is 2:

$$ -E_p \log q(x) = \log(2 \pi) + (\log \det V) / 2 + E_p[(x - m)^T V^{-1} (x - m)] / 2 $$
$$ -E_p \log q(x) = \log(2 \pi e) + (\log \det V) / 2 $$

The KL divergence from $p$ to $q$ is the mean of $\log p - \log q$ under $p$, which is the line
above minus the entropy. It is never negative, so

$$ 0 \le KL(p, q) = \log(2 \pi e) + (\log \det V) / 2 - h $$ (C.4)

The right side of (C.3) is therefore the largest entropy that a covariance matrix allows. How far it
is from the entropy depends on the shape. In the table the three clusters are moved apart, each with
the variance 1/4. Both rows are exact, by sums over a grid and by (C.3).

| distance of the centres from the origin | 0 | 0.5 | 1 | 1.5 | 3 |
|---|---|---|---|---|---|
| entropy | 1.45 | 1.85 | 2.35 | 2.53 | 2.55 |
| bound | 1.45 | 1.86 | 2.55 | 3.16 | 4.40 |

While the clusters separate, the entropy rises by $\log 3 = 1.10$, because the area that the samples
fill becomes three times as large. Once the clusters are apart, moving them further adds nothing to
the entropy. The bound keeps rising, because the covariance matrix counts the empty space between
them.

**From distances to probabilities.** There are $n$ samples. Let $r_i$ be the distance from the
sample $x_i$ to the $k$-th nearest of the others. Let $P_i$ be the probability of the disc with this
radius around the sample. This probability is random, because the radius is. But its distribution is
the same for every density. To see this, keep $x_i$ fixed, and take the disc around $x_i$ with
another sample on its edge. The probability of this disc is the distribution function of the
distance to a sample, evaluated at the distance itself. Such a number is uniform between 0 and 1, if
the distance has a density. So $P_i$ is the $k$-th smallest of $n - 1$ independent uniform numbers.
Of the others, $k - 1$ are smaller and $n - k - 1$ are larger, so its density at $P$ is proportional
to $P^{k-1} (1 - P)^{n-k-1}$. The integral of such a product is the beta function. Its derivative in
the first argument contains a logarithm:

$$ B(a, b) = \int_0^1 P^{a-1} (1 - P)^{b-1} dP $$
$$ \partial_a B(a, b) = \int_0^1 P^{a-1} (1 - P)^{b-1} \log P dP $$

The quotient of the two is the mean of $\log P$, for $a = k$ and $b = n - k$. The beta function is
also $\Gamma(a) \Gamma(b) / \Gamma(a + b)$. Let $\psi$ be the digamma function, the derivative of
the logarithm of the gamma function. Then the logarithm of the beta function has the derivative
$\psi(a) - \psi(a + b)$ in its first argument. The two arguments add up to $n$, and so

$$ E \log P_i = \psi(k) - \psi(n) $$ (C.5)

Because $\psi(m + 1) = \psi(m) + 1 / m$, this is minus the sum of the reciprocals of the integers
from $k$ to $n - 1$. The code computes this sum.

**The estimate.** If $p$ hardly varies in the disc, its probability is density times area. We solve
for the density and take the mean with (C.5):

$$ P_i \approx p(x_i) \pi r_i^2 $$
$$ -E \log p(x_i) \approx E \log(\pi r_i^2) + \psi(n) - \psi(k) $$

The mean on the right is estimated by the mean over all samples:

$$ \hat h = \psi(n) - \psi(k) + (1 / n) \sum_i \log(\pi r_i^2) $$ (C.6)

A simpler argument is that the disc contains $k$ of $n$ samples, so its probability is about
$k / n$. This puts $\log n$ in the place of $\psi(n)$, which for many samples is almost the same,
and $\log k$ in the place of $\psi(k)$. This second difference is 0.58 for the first neighbour and
0.10 for the fifth, which this course uses. It does not shrink with more samples.

**The bias.** What remains is the variation of $p$ inside the discs. For a round Gaussian the mean
of $\log r_i^2$, and with it that of $\hat h$, can be computed by quadrature over the place of $x_i$
and the radius. With $k = 5$ the bias is -0.020 for $n = 1000$ and -0.008 for $n = 4000$. It is
smaller than the standard deviation of $\hat h$, which is 0.037 and 0.019 in 2,000 repeated draws.

**The standard error.** The terms of (C.6) are not independent, because neighbours share discs. The
jackknife is a method that needs no formula for the dependence. Compute the estimate again without
the sample $x_j$, and call the result $\hat h_{-j}$. The part that $x_j$ contributes is

$$ h_j = n \hat h - (n - 1) \hat h_{-j} $$

If the estimate were a mean of independent terms, this would be the $j$-th term. Two things change
without $x_j$. Its own term is missing, and $n$ becomes $n - 1$. Every sample $x_i$ that has $x_j$
among its $k$ nearest loses this neighbour, so its $(k + 1)$-th neighbour becomes the $k$-th. From
here on we write $r_{i,k}$ for $r_i$, and $r_{i,k+1}$ for the distance to the next neighbour. The
recursion of the digamma function says that $(n - 1) \psi(n - 1)$ is $(n - 1) \psi(n) - 1$. So the
change of $n$ gives

$$ n \psi(n) - (n - 1) \psi(n - 1) = \psi(n) + 1 $$

and the sum over $i$ runs over those samples that have $x_j$ among their $k$ nearest:

$$ h_j = \psi(n) + 1 - \psi(k) + \log(\pi r_j^2) - \sum_i 2 \log(r_{i,k+1} / r_{i,k}) $$ (C.7)

The standard error is that of a mean of these parts:

$$ \text{standard error} = std(h_j) / \sqrt n $$ (C.8)

Is this right for an estimate whose terms are not independent? By the definition of $h_j$, its
distance from the mean of all $h_j$ is $-(n - 1)$ times the distance of $\hat h_{-j}$ from the mean
$\bar h$ of all $\hat h_{-j}$. The variance of the parts has the denominator $n - 1$. So the square
of (C.8) is

$$ std(h_j)^2 / n = ((n - 1) / n) \sum_j (\hat h_{-j} - \bar h)^2 $$

Efron and Stein showed that this sum is, on average, at least the variance of an estimate from
$n - 1$ samples. So on average the jackknife does not understate the variance, apart from the
difference between $n - 1$ and $n$ samples. It can overstate it. For this estimate with $k = 5$,
repeated draws from the Gaussian and from the data sets of step 1 show a standard error that is too
large by a fifth to a quarter. For the Gaussian it is 0.044 in the place of 0.037 with $n = 1000$.
By how much depends on the density and on $k$. For a uniform density on a square it is too large by
about 60 %, and for the Gaussian with $k = 1$ by about 40 %.

**The parts of the bound.** For the bound (C.3) we do not leave a sample out, but change its weight
a little. Now let $m$ and $V$ be the mean and the covariance matrix of the samples, with the weight
$1 / n$ each. Add $\varepsilon$ to the weight of $x_j$, and divide all weights by $1 + \varepsilon$,
so that their sum is 1 again. The covariance matrix becomes

$$ V_\varepsilon = (V + \varepsilon (x_j - m) (x_j - m)^T) / (1 + \varepsilon) + O(\varepsilon^2) $$

The mean moves by a multiple of $\varepsilon$. This changes the covariance matrix only by its
square, which is in the last term. So per unit of $\varepsilon$ the covariance matrix changes by

$$ dV = (x_j - m) (x_j - m)^T - V $$

The derivative of $\log \det V$ is the trace of $V^{-1} dV$ (Jacobi's formula). Let $|z_j|^2$ be the
squared distance from the mean in units of $V$, which is $(x_j - m)^T V^{-1} (x_j - m)$. In a mean
of independent terms, the same change of the weight moves the mean by the distance of the $j$-th
term from it. So the part of $x_j$ is the value of the bound plus its change:

$$ d \log \det V = tr(V^{-1} dV) = |z_j|^2 - 2 $$
$$ h_j = \log(2 \pi e) + (\log \det V) / 2 + (|z_j|^2 - 2) / 2 $$ (C.9)

**Differences.** Step 12 compares chains that use the same noise. Their errors are alike and cancel
in a difference. So apply (C.8) to the differences of the parts, sample by sample. An example: if
one set is twice the other, all differences are $\log 4$, and their standard error is 0, although
each entropy has the standard error 0.02.

**At the boundary.** If $k + 1$ samples are equal, a distance is 0 and the estimate would be
$-\infty$. If all samples lie on a line, the bound is $-\infty$. The functions refuse both.

**What goes wrong.** A sample is counted as its own nearest neighbour, so that $k$ is one too small.
The circumference is used in the place of the area. The standard deviation of the parts is reported
as the standard error, without the division by $\sqrt n$. Estimates with different $n$ or $k$ are
compared as if the bias were 0. The bound is reported as diversity, although for separate clusters
it measures their distance.

**Where it goes on.** Step 12 measures guidance with both numbers, and appendix D computes the
entropy of a guided Gaussian exactly.

**Source.** Kozachenko and Leonenko 1987, Probl. Inf. Transm. 23:95 (the estimate for $k = 1$);
Singh et al. 2003, Am. J. Math. Manag. Sci. 23:301, and Goria et al. 2005, J. Nonparametr. Stat.
17:277 (for other $k$); Efron and Stein 1981, Ann. Stat. 9:586.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy.spatial import KDTree  # pyright: ignore[reportMissingTypeStubs]  # SciPy has none

if TYPE_CHECKING:
    from jaxtyping import Float

STANDARD = np.log(2 * np.pi * np.e)  # the entropy of N(0, I)


@dataclass(frozen=True, eq=False)
class Estimate:
    """An estimate, and the part that each sample contributes to it."""

    value: float
    parts: Float[np.ndarray, " n"]

    @property
    def error(self) -> float:
        """The standard error of `value`."""
        return float(self.parts.std(ddof=1) / np.sqrt(len(self.parts)))  # (C.8)

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference of two estimates whose rows come from the same noise."""
        return Estimate(self.value - other.value, self.parts - other.parts)


def entropy_of_density(log_p: Float[np.ndarray, " n"]) -> Estimate:
    """The entropy from the log of the exact density at the samples."""
    parts = -log_p
    return Estimate(float(parts.mean()), parts)  # (C.1)


def neighbours(x: Float[np.ndarray, "n 2"], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the `k` >= 2 nearest rows and their indices, (n, k).

    The row itself is one of them: the first, unless another row is equal to it.
    """
    return cast(Any, KDTree(x)).query(x, k)


def entropy(x: Float[np.ndarray, "n 2"], k: int = 5) -> Estimate:
    """The entropy of the density of the samples `x`, by the `k`-th neighbours, `k` in 1..n-2."""
    n = len(x)
    if not 1 <= k <= n - 2:
        raise ValueError(
            f"k = {k} is outside 1..{n - 2}: at n = {n} points; pass more points or a smaller k"
        )
    r, index = neighbours(x, k + 2)
    if not r[:, k].min() > 0:
        raise ValueError(f"{k + 1} rows of x agree; the estimate would be -inf")
    mean_log_mass = -(1 / np.arange(k, n)).sum()  # (C.5)
    terms = np.log(np.pi * r[:, k] ** 2) - mean_log_mass
    h = float(terms.mean())  # (C.6)
    # Without x_j, each point i that has x_j among its k nearest reaches to its next neighbour. The
    # loop adds the term of each i to the sums of its k nearest and to its own, which starts below
    # by as much. (If two points are equal, either can be first in the row of the other.)
    further = 2 * np.log(r[:, k + 1] / r[:, k])
    lost = -further
    for j in range(k + 1):
        np.add.at(lost, index[:, j], further)
    parts = terms + 1 - lost  # (C.7)
    return Estimate(h, parts)


def moment_entropy(x: Float[np.ndarray, "n 2"]) -> Estimate:
    """The entropy of the Gaussian with the covariance matrix of `x`: an upper bound."""
    away = x - x.mean(0)
    V = np.cov(x.T, ddof=0)
    if np.linalg.matrix_rank(V) < 2:
        raise ValueError("the rows of x are on one line; the entropy would be -inf")
    # N(0, V) is the image of N(0, I) under a root of V, whose determinant enters by (C.2).
    # By (C.4) no distribution of this covariance has more entropy.
    h = float(STANDARD + np.log(np.linalg.det(V)) / 2)  # (C.3)
    z = np.linalg.inv(np.linalg.cholesky(V)) @ away.T
    squared = (z**2).sum(0)
    parts = h + (squared - 2) / 2  # (C.9)
    return Estimate(h, parts)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.c_entropy")
