r"""Appendix C. Diversity: how much room samples take up, and how well that is known.

**Claim.** Diversity is the differential entropy of the law of the samples, in natural units:

$$ h = -E \log p(x) $$ (C.1)

$e^h$ is an area: spread evenly over an area $A$, samples have $h = \log A$. A map scales it,

$$ h(B x + b) = h(x) + \log |\det B| $$ (C.2)

so a Gaussian of covariance $V$, in the plane the image of $N(0, I)$ under a root of $V$, has

$$ h = \log(2 \pi e) + (\log \det V) / 2 $$ (C.3)

**The determinant** sees moments only. Let $p$ have covariance $V$ and $q$ be the Gaussian of the
same moments. As $\log q$ is quadratic, $-E_p \log q$ is (C.3), and (C.3) is the most $h$ can be:

$$ 0 \le KL(p \| q) = \log(2 \pi e) + (\log \det V) / 2 - h $$ (C.4)

It counts the room between clusters too. Moved apart, they gain no entropy, but more determinant.

**Neighbours.** Let $r_i$ be the distance from $x_i$ to its $k$-th nearest of the other $n - 1$, and
$P_i$ the mass of $p$ within $r_i$. The mass of a ball that reaches to a random point is uniform in
0..1. So $P_i$ is the $k$-th smallest of $n - 1$ uniform numbers, whatever $p$ is: its density goes
as $P^{k - 1} (1 - P)^{n - k - 1}$. The integral of that is the beta function $B(k, n - k)$, and a
derivative in $k$ brings down a $\log P$. With the digamma function $\psi = (\log \Gamma)'$,

$$ E \log P_i = \partial_k \log B(k, n - k) = \psi(k) - \psi(n) $$ (C.5)

minus the sum of $1 / m$ over $m = k, \dots, n - 1$, since $\psi(m + 1) = \psi(m) + 1 / m$. If $p$
hardly varies in the ball, $P_i \approx p(x_i) \pi r_i^2$. Solve for the mean of $-\log p(x_i)$:

$$ \hat h = \psi(n) - \psi(k) + (1 / n) \sum_i \log(\pi r_i^2) $$ (C.6)

The naive $p \approx (k / n) / (\pi r_i^2)$ has $\log k$ for $\psi(k) \approx \log k - 1 / (2 k)$,
off by 0.58 at $k = 1$ and by 0.10 at this course's $k = 5$, however many the samples.

**Bias.** What is left is that $p$ varies in the ball. By (C.5) the mean of $\hat h$ is off by just
$-E \log(P_i / (p(x_i) \pi r_i^2))$: for a round Gaussian, a quadrature of value -0.020 at
$n = 1000$ and -0.008 at $n = 4000$, less than the error of one estimate.

**Error.** The terms of (C.6) share points. So ask what a point contributes: $n$ times the estimate
less $n - 1$ times that without it. Those that had it among their $k$ nearest reach one further:

$$ h_j = \psi(n) + 1 - \psi(k) + \log(\pi r_j^2) - \sum_i 2 \log(r_{i,k+1} / r_{i,k}) $$ (C.7)
$$ error = std(h_j) / \sqrt n $$ (C.8)

the sum over those $i$. This jackknife does not understate the variance in the mean (Efron and
Stein); here it overstates the error by about a quarter. For (C.3), to first order, with $|z_j|$
the distance from $x_j$ to the mean in units of $V$,

$$ h_j = \log(2 \pi e) + (\log \det V) / 2 + (|z_j|^2 - 2) / 2 $$ (C.9)

Samples from the same noise err together: (C.8) of the differences $h_j - h_j'$ is *their* error.

**Boundary.** If $k + 1$ points agree, or all are on one line, $h = -\infty$.

**Source.** Kozachenko, Leonenko 1987, Probl. Inf. Transm. 23:95; Efron, Stein 1981, Ann. Stat. 9.
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
    """A number, and what each sample contributes to it."""

    value: float
    parts: Float[np.ndarray, " n"]

    @property
    def error(self) -> float:
        """The standard error of `value`."""
        return float(self.parts.std(ddof=1) / np.sqrt(len(self.parts)))  # (C.8)

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference, if row by row both are from the same noise."""
        return Estimate(self.value - other.value, self.parts - other.parts)


def entropy_of_density(log_p: Float[np.ndarray, " n"]) -> Estimate:
    """The entropy from the log of the exact density at the samples."""
    parts = -log_p
    return Estimate(float(parts.mean()), parts)  # (C.1)


def neighbours(x: Float[np.ndarray, "n 2"], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the `k` >= 2 nearest rows and their indices, (n, k); itself comes first."""
    return cast(Any, KDTree(x)).query(x, k)


def entropy(x: Float[np.ndarray, "n 2"], k: int = 5) -> Estimate:
    """The entropy of what `x` was drawn from, by the `k`-th neighbours, `k` in 1..n-2."""
    n = len(x)
    if not 1 <= k <= n - 2:
        raise ValueError(f"k = {k} is outside 1..{n - 2}: of n = {n} points one has to leave")
    r, who = neighbours(x, k + 2)
    if not r[:, k].min() > 0:
        raise ValueError(f"{k + 1} rows of x agree: the entropy is -inf")
    mean_log_mass = -(1 / np.arange(k, n)).sum()  # (C.5)
    terms = np.log(np.pi * r[:, k] ** 2) - mean_log_mass
    h = float(terms.mean())  # (C.6)
    # Without x_j, each point i that has it among its k nearest reaches to its next neighbour. The
    # sum over these i is made by adding each i's term to all of its k nearest.
    further = 2 * np.log(r[:, k + 1] / r[:, k])
    lost = np.zeros(n)
    for j in range(1, k + 1):
        np.add.at(lost, who[:, j], further)
    parts = terms + 1 - lost  # (C.7)
    return Estimate(h, parts)


def moment_entropy(x: Float[np.ndarray, "n 2"]) -> Estimate:
    """The entropy of the Gaussian with the covariance of `x`: the most that of `x` can be."""
    away = x - x.mean(0)
    V = np.cov(x.T, ddof=0)
    if np.linalg.matrix_rank(V) < 2:
        raise ValueError("the rows of x are on one line: the entropy is -inf")
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
