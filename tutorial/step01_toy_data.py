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
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from tutorial.figures.program import CLASS_COLORS, Check, present

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
        if (self.means.shape, self.covs.shape) != ((K, 2), (K, 2, 2)):
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
        return self.means[y] + (np.linalg.cholesky(self.covs)[y] @ z)[:, :, 0], y  # (1.1)

    def log_density(
        self, x: Float[np.ndarray, "n 2"], y: int | Int[np.ndarray, " n"] | None = None
    ) -> Float[np.ndarray, " n"]:
        """`log p(x | y)` for one label or one a row, each in 0..K-1; without `y`, `log p(x)`."""
        if y is None:
            return _log_sum(self._log_joint(x))[:, 0]
        if np.any((np.asarray(y) < 0) | (np.asarray(y) >= self.num_classes)):
            raise ValueError(f"y = {y} is outside 0..{self.num_classes - 1}")
        return (self._log_joint(x) - np.log(self.weights))[np.arange(len(x)), y]

    def log_class_probability(self, x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n K"]:
        """`log p(y | x)`, a column a class."""
        joint = self._log_joint(x)
        return joint - _log_sum(joint)  # (1.4)

    def moments(self) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "2 2"]]:
        """Mean and covariance of all points together."""
        mean = self.weights @ self.means  # (1.5)
        apart = (self.means - mean)[:, :, None]
        covs = self.covs + apart * apart.transpose(0, 2, 1)
        return mean, np.tensordot(self.weights, covs, 1)  # (1.6)

    def _log_joint(self, x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n K"]:
        whiten = np.linalg.inv(np.linalg.cholesky(self.covs))
        z = whiten @ x.T - whiten @ self.means[:, :, None]  # (K, 2, n)
        scale = 2 * np.pi / np.linalg.det(whiten)
        return np.log(self.weights / scale) - (z**2).sum(1).T / 2  # (1.2)


def _log_sum(log_p: Float[np.ndarray, "n K"]) -> Float[np.ndarray, "n 1"]:
    largest = log_p.max(1, keepdims=True)
    return largest + np.log(np.exp(log_p - largest).sum(1, keepdims=True))  # (1.3)


def three_gaussians() -> GaussianMixture:
    """The guidance paper's toy: variance 1/4, on a circle of radius 1.5, class 0 at the top."""
    angle = np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
    means = 1.5 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return GaussianMixture(means, np.tile(0.25 * np.eye(2), (3, 1, 1)), np.full(3, 1 / 3))


def pinwheel(K: int = 5) -> GaussianMixture:
    """`K` >= 3 long, tilted classes; covariance I, of it 0.28 within them and 1.2^2 / 2 between."""
    if K < 3:
        raise ValueError(f"K = {K}: a pinwheel has at least 3 classes")
    angle, tilt = 2 * np.pi / K * np.arange(K), np.pi / 4
    means = 1.2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    along = np.stack([np.cos(angle + tilt), np.sin(angle + tilt)], 1)
    covs = 0.06 * np.eye(2) + 0.44 * along[:, :, None] * along[:, None, :]
    return GaussianMixture(means, covs, np.full(K, 1 / K))


def checks() -> list[Check]:
    """200,000 draws: how often Bayes' rule names their class, and how straight a border is."""
    three, mixture, n = three_gaussians(), pinwheel(), 200_000
    x, y = mixture.sample(n, np.random.default_rng(0))
    p = np.exp(mixture.log_class_probability(x))
    hits, error = float((p.argmax(1) == y).mean()), np.sqrt((p.max(1) * (1 - p.max(1))).mean() / n)
    apart, middle = three.means[0] - three.means[1], (three.means[0] + three.means[1]) / 2
    line = (x - middle) @ apart / 0.25  # (1.7)
    beyond = three.log_class_probability(x) @ [1, -1, 0] - line
    return [
        Check("(1.4) best guess of y is right", hits, p.max(1).mean(), 4 * error),
        Check("(1.7) odds beyond the formula", np.abs(beyond).max(), 0, 1e-11),
    ]


def figure() -> Figure:
    """Both sets: labelled samples on the contours of p(x), and whose point each point would be."""
    fig = Figure(figsize=(11, 3.1), layout="constrained")
    panels, axis = fig.subplots(1, 4), np.linspace(-3.5, 3.5, 301)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    sets = (("three_gaussians", three_gaussians()), ("pinwheel", pinwheel()))
    for (name, mixture), (points, regions) in zip(sets, panels.reshape(2, 2), strict=True):
        x, y = mixture.sample(800, np.random.default_rng(0))
        colors = np.array([to_rgb(c) for c in CLASS_COLORS[: mixture.num_classes]])
        density = np.exp(mixture.log_density(grid)).reshape(301, 301)
        points.scatter(*x.T, s=3, c=colors[y])
        points.contour(axis, axis, density, 6, colors="black", linewidths=0.6)
        points.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=f"{name}: $p(x)$")
        mix = (np.exp(mixture.log_class_probability(grid)) @ colors).reshape(301, 301, 3)
        regions.imshow(mix, origin="lower", extent=(-3.5, 3.5, -3.5, 3.5))
        regions.set(title="$p(y | x)$: colours mixed by it")
    return fig


if __name__ == "__main__":
    present("step01_toy_data", __doc__ or "", checks(), figure())
