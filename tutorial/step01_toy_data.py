r"""Step 1. Toy data: labelled points in the plane whose density is known.

**Claim.** All this course asks of its data has a closed form if class $y$ has the share $\pi_y$ and
is one Gaussian, of mean $\mu_y$ and covariance $\Sigma_y = L_y L_y^T$, with $L_y$ lower triangular:

$$ y \sim \pi, \quad x = \mu_y + L_y z, \quad z \sim N(0, I) $$ (1.1)

**Its density.** Run the sampler backwards, $z = L_y^{-1} (x - \mu_y)$. A map that stretches areas
by $\det L_y$ thins the density by that factor, so $p(x | y)$ is $z$'s density over $\det L_y$:

$$ \log p(x | y) = -|L_y^{-1} (x - \mu_y)|^2 / 2 - \log \det L_y - \log(2 \pi) $$ (1.2)

Whoever does not see the label sees the sum over labels, and Bayes' rule turns it around:

$$ p(x) = \sum_y \pi_y p(x | y) $$ (1.3)
$$ p(y | x) = \pi_y p(x | y) / p(x) $$ (1.4)

These are the conditional model, the unconditional one and the classifier of guidance. All stay in
logarithms, or points 20 from every mean of class variance 1/4, where $p(x | y) < 10^{-340}$, would
make (1.4) 0 / 0. The largest term of a sum is taken out of it first, so that one exponential is 1.

**Its moments.** The mean is a mean of means. For the covariance split $x$ into its class mean and
the rest. Given $y$ the rest has mean 0, so cross terms vanish: within plus between classes,

$$ m = \sum_y \pi_y \mu_y $$ (1.5)
$$ C = \sum_y \pi_y (\Sigma_y + (\mu_y - m) (\mu_y - m)^T) $$ (1.6)

**Boundary.** Between classes of one covariance $v I$ the squares of $x$ cancel, the border is a
straight line (if the means agree too, $p(y | x) = \pi_y$), and $\log p(a | x) - \log p(b | x)$ is

$$ \log(\pi_a / \pi_b) + (\mu_a - \mu_b)^T (x - (\mu_a + \mu_b) / 2) / v $$ (1.7)

**Source.** Ho and Salimans 2022, arXiv:2207.12598, fig. 2 (`three_gaussians`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """One Gaussian a class: `covs` symmetric positive definite, `weights` positive, of sum 1."""

    means: Float[np.ndarray, "K 2"]
    covs: Float[np.ndarray, "K 2 2"]
    weights: Float[np.ndarray, " K"]

    def __post_init__(self) -> None:
        """Refuse what is no mixture. (A Cholesky factor never reads the upper triangles.)"""
        K = len(self.weights)
        if self.means.shape != (K, 2) or self.covs.shape != (K, 2, 2):
            raise ValueError(f"K = {K}, but means {self.means.shape}, covs {self.covs.shape}")
        if not ((self.weights > 0).all() and abs(self.weights.sum() - 1) < 1e-9):
            raise ValueError(f"weights = {self.weights}: they must be positive and add up to 1")
        for y, cov in enumerate(self.covs):
            if not (np.allclose(cov, cov.T) and np.linalg.eigvalsh(cov)[0] > 0):
                raise ValueError(f"covs[{y}] = {cov.tolist()} is not symmetric positive definite")

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.weights)

    def sample(
        self, n: int, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "n 2"], Int[np.ndarray, " n"]]:
        """`n` points and their labels in 0..K-1."""
        y = rng.choice(self.num_classes, n, p=self.weights)
        z = rng.standard_normal((n, 2, 1))
        L = np.linalg.cholesky(self.covs)
        x = self.means[y] + (L[y] @ z)[:, :, 0]  # (1.1)
        return x, y

    def log_density(
        self, x: Float[np.ndarray, "n 2"], y: int | Int[np.ndarray, " n"] | None = None
    ) -> Float[np.ndarray, " n"]:
        """`log p(x | y)` for one label or one a row, each in 0..K-1; without `y`, `log p(x)`."""
        if y is None:
            return _log_sum(self._log_joint(x))[:, 0]  # (1.3)
        if np.any((np.asarray(y) < 0) | (np.asarray(y) >= self.num_classes)):
            raise ValueError(f"y = {y} is outside 0..{self.num_classes - 1}")
        return self._log_conditional(x)[np.arange(len(x)), y]

    def log_class_probability(self, x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n K"]:
        """`log p(y | x)`, a column a class."""
        joint = self._log_joint(x)
        return joint - _log_sum(joint)  # (1.4)

    def moments(self) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "2 2"]]:
        """Mean and covariance of all points together."""
        m = self.weights @ self.means  # (1.5)
        apart = self.means - m
        between = apart[:, :, None] * apart[:, None, :]
        C = np.tensordot(self.weights, self.covs + between, 1)  # (1.6)
        return m, C

    def _log_conditional(self, x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n K"]:
        """`log p(x | y)`, one column per class."""
        L = np.linalg.cholesky(self.covs)
        whiten = np.linalg.inv(L)
        z = whiten @ x.T - whiten @ self.means[:, :, None]  # (K, 2, n)
        squared = (z**2).sum(1).T
        log_det_L = np.log(np.linalg.det(L))
        return -squared / 2 - log_det_L - np.log(2 * np.pi)  # (1.2)

    def _log_joint(self, x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n K"]:
        """`log (pi_y p(x | y))`, one column per class."""
        return np.log(self.weights) + self._log_conditional(x)


def _log_sum(log_p: Float[np.ndarray, "n K"]) -> Float[np.ndarray, "n 1"]:
    """The log of the sum over each row. The largest term is taken out, to avoid underflow."""
    largest = log_p.max(1, keepdims=True)
    return largest + np.log(np.exp(log_p - largest).sum(1, keepdims=True))


def log_odds(
    x: Float[np.ndarray, "n 2"],
    mu_a: Float[np.ndarray, " 2"],
    mu_b: Float[np.ndarray, " 2"],
    pi_a: float,
    pi_b: float,
    v: float,
) -> Float[np.ndarray, " n"]:
    """`log p(a | x) - log p(b | x)` for two classes of the same covariance v I."""
    middle = (mu_a + mu_b) / 2
    return np.log(pi_a / pi_b) + (x - middle) @ (mu_a - mu_b) / v  # (1.7)


def three_gaussians() -> GaussianMixture:
    """The guidance paper's toy: variance 1/4, on a circle of radius 1.5, class 0 at the top."""
    angle = np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
    means = 1.5 * np.stack([np.cos(angle), np.sin(angle)], 1)
    covs = np.tile(0.25 * np.eye(2), (3, 1, 1))
    return GaussianMixture(means, covs, np.full(3, 1 / 3))


def pinwheel(K: int = 5) -> GaussianMixture:
    """`K` >= 3 long, tilted classes; covariance I, of it 0.28 within them and 1.2^2 / 2 between."""
    if K < 3:
        raise ValueError(f"K = {K}: a pinwheel has at least 3 classes")
    angle = 2 * np.pi / K * np.arange(K)
    tilt = np.pi / 4
    means = 1.2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    along = np.stack([np.cos(angle + tilt), np.sin(angle + tilt)], 1)
    covs = 0.06 * np.eye(2) + 0.44 * along[:, :, None] * along[:, None, :]
    return GaussianMixture(means, covs, np.full(K, 1 / K))


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step01_toy_data")
