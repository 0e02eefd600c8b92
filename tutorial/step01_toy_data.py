r"""Step 01. Toy data: labelled points whose distribution is known

**The question.** Step 0 compared its samples with the truth. That was possible only because we
knew the truth. The density $p(x)$ of photographs is unknown. We can look at the pictures that a
sampler makes, and compare their statistics with those of the data. But we cannot fully check
whether they have the right distribution. This course therefore works with data for which every
quantity is a formula. Which data are these? We must be able to draw labelled points. We must also
be able to compute three quantities: the density of a class, the density of all data, and the
probability of each label at a given point. Guidance will combine these three (step 10).

**The data.** Let there be $K$ classes, numbered from 0 to $K - 1$. A point belongs to class $y$
with probability $\pi_y > 0$. Within class $y$ the points are Gaussian. Their mean $\mu_y$ is a
point of the plane, and their covariance $S_y$ is a positive definite 2 x 2 matrix. Such a
distribution is called a mixture of Gaussians. To draw a point we first draw its label. Then we draw
two independent standard normal numbers, $z = (z_1, z_2)$, and give them the right mean and
covariance:

$$ y \sim \pi, \quad x = \mu_y + L_y z, \quad z \sim N(0, I) $$ (1.1)

Here $L_y$ is the lower triangular matrix with a positive diagonal and $L_y L_y^T = S_y$, where a
raised $T$ denotes the transpose. It is called the Cholesky factor of $S_y$, and is a kind of
square root. With it, and because the covariance of $z$ is $I$, the covariance of $x$ given $y$ is

$$ E[(x - \mu_y) (x - \mu_y)^T | y] = L_y E[z z^T] L_y^T = L_y L_y^T = S_y $$

For example, let both variances be 1, the correlation 0.6 and the mean 0. Then $L_y$ has the rows
(1, 0) and (0.6, 0.8). The first coordinate of $x$ is $z_1$ and the second is $0.6 z_1 + 0.8 z_2$.
The second has variance 0.36 + 0.64 = 1, and its covariance with the first is 0.6.

Two sets are used throughout the course, both with equally probable classes. `three_gaussians` is
the set of step 0. Its classes have the covariance $I / 4$, and their means are (0, 1.5), (-1.299,
-0.75) and (1.299, -0.75), on a circle of radius 1.5. `pinwheel` has five long, tilted classes, with
means at distance 1.2 from the origin. Each class has variance 0.5 along its long axis and 0.06
across it. Turning a class by 72 degrees about the origin gives the next class. The mean of class 0
is (1.2, 0), and its long axis has an angle of 45 degrees to the horizontal.

**The density of a class.** We know the density of $z$, and $x$ is an affine function of $z$. A
small region of the $z$ plane and its image in the $x$ plane contain the same probability, but the
area of the image is $\det L_y$ times as large. (The determinant is positive, because the diagonal
of $L_y$ is.) Density is probability per area. So the density of $x$ is the density of $z$, divided
by $\det L_y$. In the example the determinant is 0.8: areas become smaller, so the density becomes
1.25 times as high. We solve (1.1) for $z$, put it into the standard normal density of two numbers,
and divide:

$$ z = L_y^{-1} (x - \mu_y) $$
$$ p(x | y) = \exp(-|z|^2 / 2) / (2 \pi \det L_y) $$

Below we shall need the natural logarithm of this density. In these formulas $\pi$ without an
index is the number 3.14:

$$ \log p(x | y) = -|L_y^{-1} (x - \mu_y)|^2 / 2 - \log \det L_y - \log(2 \pi) $$ (1.2)

**Without the label, and from the point to the label.** The density of all data is the sum over
the classes, weighted by their probabilities. Bayes' rule gives the probability that a point found
at $x$ belongs to class $y$:

$$ p(x) = \sum_y \pi_y p(x | y) $$ (1.3)
$$ p(y | x) = \pi_y p(x | y) / p(x) $$ (1.4)

Take `three_gaussians` and the point (0.3, 0.3). Its squared distance from (0, 1.5), the mean of
class 0, is 0.09 + 1.44 = 1.53. The covariance is $I / 4$, so $L_y$ is $I / 2$. Its determinant is
1/4, and $|z|^2 / 2$ is 2 · 1.53 = 3.06. The density of class 0 is therefore
$e^{-3.06} / (2 \pi / 4) = 0.02985$. Those of classes 1 and 2 are 0.00042 and 0.00954, computed in
the same way. All $\pi_y$ are 1/3, so $p(x)$ is the mean of the three, 0.01327. The probabilities
$p(y | x)$ of the three classes are 0.750, 0.011 and 0.240. The point is probably of class 0, but
class 2 is possible.

A model of each of these quantities has a name. A conditional model describes $p(x | y)$, the
distribution of the data for a given label. An unconditional model describes $p(x)$. A classifier
describes $p(y | x)$. We can solve (1.4) for $p(x | y) = p(y | x) p(x) / \pi_y$. So an unconditional
model and a classifier together give a conditional model. Step 10 derives guidance from this fact.

**Computing far from the data.** At distance 20 from the mean of a class of variance 1/4 the
density is about $10^{-348}$. The smallest positive number in float64 is about
$5 \cdot 10^{-324}$. If a point is this far from every mean, all densities are rounded to 0, and
(1.4) becomes 0 / 0. The remedy is to compute with the logarithms $\ell_y$ of the terms of (1.3),
which are ordinary numbers:

$$ \ell_y = \log \pi_y + \log p(x | y) $$
$$ \log p(y | x) = \ell_y - \log \sum_k e^{\ell_k} $$

The last term is $\log p(x)$. It is computed after the largest of the $\ell_k$, called
$\ell_{max}$, has been taken out of the sum:

$$ \log \sum_k e^{\ell_k} = \ell_{max} + \log \sum_k e^{\ell_k - \ell_{max}} $$ (1.5)

On the right, the largest term of the sum is $e^0 = 1$. With $K$ terms the sum lies between 1 and
$K$, so its logarithm is finite. A term that is rounded to 0 is smaller than the largest by a
factor of more than $10^{323}$, so it does not matter.

**Mean and covariance of all data.** Step 2 computes how noise changes the mean and the covariance
of the data. So we now compute the mean $m$ and the covariance $S$ of the whole mixture. The mean is
the weighted mean of the class means:

$$ m = \sum_y \pi_y \mu_y $$ (1.6)

For the covariance we split the vector from $m$ to a point into two parts, one from the class mean
to the point, and one from $m$ to the class mean:

$$ x - m = (x - \mu_y) + (\mu_y - m) $$

The covariance is the mean of this vector times its transpose, which gives four products. The
means of the first two, given the class, are

$$ E[(x - \mu_y) (x - \mu_y)^T | y] = S_y $$
$$ E[(x - \mu_y) (\mu_y - m)^T | y] = 0 $$

The first is the covariance within the class. The second is 0, because $x - \mu_y$ has mean 0 given
the class, and $\mu_y - m$ is constant. The third product is the transpose of the second, so its
mean is 0 too. The fourth is $(\mu_y - m) (\mu_y - m)^T$, which is constant given the class.
Averaging over the classes leaves two sums: the covariance within the classes, and the covariance
between their means.

$$ S = \sum_y \pi_y (S_y + (\mu_y - m) (\mu_y - m)^T) $$ (1.7)

For `three_gaussians` the mean $m$ is 0. The variance within the classes is 1/4. The variance of the
class means is $(1.299^2 + 1.299^2) / 3 = 1.125$ horizontally, and
$(1.5^2 + 0.75^2 + 0.75^2) / 3 = 1.125$ vertically. The products of the two coordinates cancel. So
$S$ is $1.375 I$.

For `pinwheel` the five means are the corners of a regular pentagon, so $m$ is 0 again. Take any
direction, and let $\theta$ be the angle between it and the long axis of a class. The variance of
the class in this direction is $0.5 \cos^2\theta + 0.06 \sin^2\theta$. The mean of
$\cos^2\theta = (1 + \cos 2\theta) / 2$ over the classes is 1/2, for the following reason. The
angles $2\theta$ of the five classes differ by multiples of 144 degrees. Up to full turns these are
the multiples of 72 degrees, in another order. So the five directions are those of the corners of a
regular pentagon, and their cosines add up to 0. The mean of $\sin^2\theta$ is 1/2 too, and the mean
variance within the classes is (0.5 + 0.06) / 2 = 0.28. The directions of the means are also 72
degrees apart, so the variance of the means is $1.2^2 / 2 = 0.72$. The two add up to 1: this set has
variance 1 in every direction.

**The border between two classes.** Where are two classes $a$ and $b$ equally probable? Let both
have the covariance $v I$ and let their means differ. In the difference of their log densities (1.2)
the determinants cancel, and the squared distances remain, divided by $2 v$. We multiply the squares
out. Then $|x|^2$ cancels, and the terms without $x$ contain the factor $\mu_a - \mu_b$, as the term
with $x$ does:

$$ -|x - \mu_a|^2 + |x - \mu_b|^2 = 2 (\mu_a - \mu_b)^T x - |\mu_a|^2 + |\mu_b|^2 $$
$$ |\mu_a|^2 - |\mu_b|^2 = (\mu_a - \mu_b)^T (\mu_a + \mu_b) $$

We put the second line into the first, take out the common factor, and divide by $2 v$. Then we
add the difference of $\log \pi_a$ and $\log \pi_b$. The result is the log odds of the two
classes, $o(x) = \log p(a | x) - \log p(b | x)$:

$$ o(x) = \log(\pi_a / \pi_b) + (\mu_a - \mu_b)^T (x - (\mu_a + \mu_b) / 2) / v $$ (1.8)

The log odds are a linear function of $x$, so the border, where they are 0, is a straight line. If
both classes are equally probable beforehand, the border passes halfway between the two means, at
a right angle to the line that joins them. If the two covariances differ, not all terms of second
order in $x$ cancel, and the border is curved in general. The figure shows both kinds.

**At the boundaries.** If all classes have the same covariance and the same mean, the label
contains no information about $x$, and $p(y | x) = \pi_y$ everywhere. With $K = 1$ the label is
certain. If a covariance has an eigenvalue of 0, the points of the class lie on a line and have no
density in the plane. The code refuses such a covariance.

**What goes wrong.** The first mistake is to multiply $z$ by $S_y$ in place of its factor $L_y$.
Then a class of variance 1/4 gets the variance 1/16; with covariance $I$ nothing would be noticed.
The second is to leave out every $\pi_y$ in (1.4), in the numerator and in the sum $p(x)$. As long
as all classes are equally probable, this is invisible. The third is a mistake of interpretation. By
(1.8) the log odds grow linearly with the distance from the border. So the classifier becomes more
and more certain with this distance, even where there are no data. Take `three_gaussians` at the
point (0, 20), and compare class 0 with class 1: the difference of their means is (1.3, 2.25), the
point halfway between them is (-0.65, 0.375), and (1.8) gives the log odds 180. The same holds for
class 2. So the probability of class 0 is 1 up to about $10^{-78}$, but the density $p(x)$ is about
$10^{-298}$. A high $p(y | x)$ does not mean that $x$ is a typical point of class $y$. Guidance
raises $p(y | x)$, so steps 12 and 13 return to this difference.

**Where it goes on.** We can draw these points and know everything about them. Mixtures of
Gaussians have one more advantage: they remain mixtures of Gaussians when Gaussian noise is added.
How do we add it, a little at a time, so that all of the data is destroyed in the end? That is
step 2. Each class has a single mode here. In step 14 one class has two, a common one and a rare
one.

**Source.** For (1.8), linear discriminant analysis: Hastie et al. 2009, The Elements of
Statistical Learning, sec. 4.3. Figure 2 of Ho and Salimans 2022, arXiv:2207.12598, shows three
Gaussians as `three_gaussians` does. The paper gives no numbers for it: the radius 1.5 and the
variance 1/4 are choices of this course.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A mixture with one Gaussian per class.

    Args:
        means: `mu_y`, one row per class, shape (K, 2).
        covs: `S_y`, symmetric positive definite, shape (K, 2, 2).
        weights: `pi_y`, positive numbers with sum 1, shape (K,).

    Raises:
        ValueError: the shapes do not match, or one of these conditions does not hold.
    """

    means: Float[np.ndarray, "K 2"]
    covs: Float[np.ndarray, "K 2 2"]
    weights: Float[np.ndarray, " K"]

    def __post_init__(self) -> None:
        """Check the shapes and the values."""
        K = len(self.weights)
        if self.means.shape != (K, 2) or self.covs.shape != (K, 2, 2):
            raise ValueError(f"K = {K}, but means {self.means.shape}, covs {self.covs.shape}")
        if not ((self.weights > 0).all() and abs(self.weights.sum() - 1) < 1e-9):
            raise ValueError(f"weights = {self.weights}: they must be positive and add up to 1")
        # NumPy's Cholesky factor does not read the upper triangle, so it misses an asymmetric one.
        for y, cov in enumerate(self.covs):
            # Rounding can turn an eigenvalue of 0 into about 1e-16 of the trace, so 0 is no bound.
            zero = 1e-14 * np.trace(cov)
            if not (np.allclose(cov, cov.T) and np.linalg.eigvalsh(cov)[0] > zero):
                raise ValueError(f"covs[{y}] = {cov.tolist()} is not symmetric positive definite")

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
        return len(self.weights)

    def sample(
        self, n: int, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "n 2"], Int[np.ndarray, " n"]]:
        """Draw `n` points and their labels, which lie in 0..K-1."""
        y = rng.choice(self.num_classes, n, p=self.weights)
        z = rng.standard_normal((n, 2, 1))
        L = np.linalg.cholesky(self.covs)
        x = self.means[y] + (L[y] @ z)[:, :, 0]  # (1.1)
        return x, y

    def log_density(
        self, x: Float[np.ndarray, "n 2"], y: int | Int[np.ndarray, " n"] | None = None
    ) -> Float[np.ndarray, " n"]:
        """`log p(x | y)` at each row of `x`, or `log p(x)` without `y`.

        Args:
            x: points, shape (n, 2).
            y: one label for all points, or one label per point; each in 0..K-1.

        Raises:
            ValueError: a label is outside 0..K-1.
        """
        if y is None:
            return log_sum_exp(self._log_joint(x))[:, 0]  # (1.3)
        if np.any((np.asarray(y) < 0) | (np.asarray(y) >= self.num_classes)):
            raise ValueError(f"y = {y} is outside 0..{self.num_classes - 1}")
        return self._log_conditional(x)[np.arange(len(x)), y]

    def log_class_probability(self, x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n K"]:
        """`log p(y | x)`, with one column per class."""
        joint = self._log_joint(x)
        return joint - log_sum_exp(joint)  # (1.4)

    def moments(self) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "2 2"]]:
        """The mean `m` and the covariance `S` of the whole mixture."""
        m = self.weights @ self.means  # (1.6)
        offset = self.means - m
        between = offset[:, :, None] * offset[:, None, :]
        S = np.tensordot(self.weights, self.covs + between, 1)  # (1.7)
        return m, S

    def _log_conditional(self, x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n K"]:
        """`log p(x | y)`, with one column per class."""
        L = np.linalg.cholesky(self.covs)
        offset = x.T - self.means[:, :, None]  # (K, 2, n)
        z = np.linalg.inv(L) @ offset
        squared = (z**2).sum(1).T  # (n, K)
        log_det_L = np.log(np.linalg.det(L))
        return -squared / 2 - log_det_L - np.log(2 * np.pi)  # (1.2)

    def _log_joint(self, x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n K"]:
        """`log (pi_y p(x | y))`, with one column per class."""
        return np.log(self.weights) + self._log_conditional(x)


def log_sum_exp(log_p: Float[np.ndarray, "n K"]) -> Float[np.ndarray, "n 1"]:
    """The logarithm of the sum of `exp(log_p)` over each row, without underflow."""
    largest = log_p.max(1, keepdims=True)
    return largest + np.log(np.exp(log_p - largest).sum(1, keepdims=True))  # (1.5)


def log_odds(
    x: Float[np.ndarray, "n 2"],
    mu_a: Float[np.ndarray, " 2"],
    mu_b: Float[np.ndarray, " 2"],
    pi_a: float,
    pi_b: float,
    v: float,
) -> Float[np.ndarray, " n"]:
    """`log p(a | x) - log p(b | x)` for two classes `a` and `b` with the same covariance v I."""
    halfway = (mu_a + mu_b) / 2
    return np.log(pi_a / pi_b) + (x - halfway) @ (mu_a - mu_b) / v  # (1.8)


def three_gaussians() -> GaussianMixture:
    """Three round classes of variance 1/4, on a circle of radius 1.5, with class 0 at the top."""
    angle = np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
    means = 1.5 * np.stack([np.cos(angle), np.sin(angle)], 1)
    covs = np.tile(0.25 * np.eye(2), (3, 1, 1))
    return GaussianMixture(means, covs, np.full(3, 1 / 3))


def pinwheel(K: int = 5) -> GaussianMixture:
    """`K` >= 3 long, tilted classes. The covariance is I: 0.28 I within and 0.72 I between them."""
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
