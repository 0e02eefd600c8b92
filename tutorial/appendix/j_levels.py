r"""Appendix J. Levels: Langevin steps keep a tilted distribution, noise does not link two of them

**The question.** Without guidance, a reverse chain with exact predictions samples the class if its
steps are small. With guidance the same chain does not sample the tilted distribution (step 13). At
every noise level, however, the guided score is exactly the score of a density (11.7). What is lost
between the levels? And is there a move with the guided score that is exact?

**Notation.** As in appendices H and I, the state is $x = x_t / \sqrt{\bar\alpha_t}$ and $\tau$ is
the variance of its noise. The densities of the noisy class and of all noisy data are
$p_\tau(x | y)$ and $p_\tau(x)$, and their scores are $s_y$ and $s$. The tilted density of the level
is $q_\tau = p_\tau(x | y)^{1 + w} p_\tau(x)^{-w}$. It is not normalised, but we assume that its
integral is finite. The tilted distribution of the level has this density, divided by the integral.
By (11.7) its score is the guided score $s_w = (1 + w) s_y - w s$. For a vector field $v$, the
divergence $\nabla \cdot v$ is the sum of the derivatives of each component along its own
coordinate. The sum of the second derivatives of a function $f$ is $\nabla^2 f$, which is the
divergence of its gradient.

**An example.** Let the data be numbers. All of them together have the distribution $N(0, 2)$, those
of one class have $N(1, 1)$, and the weight is 2. By (11.9) the tilted distribution without noise is
$N(1.5, 0.5)$. With noise of variance 1 it would become $N(1.5, 1.5)$. But at the level $\tau = 1$
the class is $N(1, 2)$ and all data are $N(0, 3)$, and (11.9) gives the tilted distribution
$N(1.8, 1.2)$. It has another mean and another variance (left panel of the figure). So tilting the
noisy densities is not the same as adding noise to the tilted density. We say that noise links the
levels of a family of densities if adding noise to the density of one level gives those of all
noisier levels. It links the levels of the class and of all data, but not those of the tilted
densities. Suppose that a chain has arrived at $N(1.8, 1.2)$ exactly. To end in the tilted
distribution it has to do more than remove noise: it must also move to the left.

**How a step changes a density.** Both questions are about densities. Let the state make a step of
size $\delta$ with a drift $v(x)$ and independent normal noise:
$x' = x + \delta v(x) + \sqrt\delta z$. Take a smooth function $f$ that is 0 far away, and expand
$f(x')$ for small $\delta$. The noise has the mean 0 and the covariance $\delta I$. So the mean of
$f(x')$ over the noise is $f + \delta v \cdot \nabla f + \delta \nabla^2 f / 2$, up to higher
orders. Let $\rho$ be the density of the state and $r$ the running time, the sum of the sizes of all
steps. (In appendix H both letters were quotients.) In the limit of small steps the mean of $f$
changes at the rate

$$ \int f \partial_r \rho dx = \int (v \cdot \nabla f + \nabla^2 f / 2) \rho dx $$

Integrate by parts, once in the first term on the right and twice in the second. No terms remain at
infinity, because $f$ is 0 there. This holds for every such $f$, so the factors of $f$ are equal:

$$ \partial_r \rho = -\nabla \cdot (v \rho) + \nabla^2 \rho / 2 $$

This is the Fokker-Planck equation. The first term is the effect of the drift, and the second is
that of the noise.

**At a fixed level.** Langevin dynamics follows half the score, $v = s_w / 2$, at one fixed $\tau$.
Its steps are the correctors of appendix I. Suppose that the state has the tilted distribution of
the level. Do these steps change it? Its density is $q_\tau$ divided by a number. Each term of the
Fokker-Planck equation contains the density once, so the number cancels, and we may insert $q_\tau$
itself. The gradient of a density is the density times its score, whether it is normalised or not:

$$ \nabla q_\tau = q_\tau \nabla \log q_\tau = s_w q_\tau $$

Take the divergence of both sides. The left side becomes $\nabla^2 q_\tau$. So the two terms of the
Fokker-Planck equation cancel:

$$ -\nabla \cdot (s_w q_\tau) / 2 + \nabla^2 q_\tau / 2 = 0 $$ (J.1)

In the limit of small steps, samples of the tilted distribution of a level remain samples of it
under Langevin steps with the guided score. This is the exact move that we looked for. It does not
change the level.

**From level to level.** The class becomes noisier by steps without a drift. The running time is
then $\tau$ itself, and the Fokker-Planck equation becomes the heat equation. It holds for the class
and for all data. Let $p$ be either density and $s_p$ its score:

$$ \partial_\tau p = \nabla^2 p / 2 $$

For the logarithm we divide by $p$. The gradient of $p$ is $s_p p$, and the product rule gives

$$ \nabla^2 p = \nabla \cdot (s_p p) = (\nabla \cdot s_p + |s_p|^2) p $$
$$ \partial_\tau \log p = (\nabla \cdot s_p + |s_p|^2) / 2 $$

The logarithm of $q_\tau$ is $1 + w$ times that of the class minus $w$ times that of all data. The
divergences add up to that of the guided score:

$$ \partial_\tau \log q_\tau = (\nabla \cdot s_w + (1 + w) |s_y|^2 - w |s|^2) / 2 $$

The squares do not add up to the square of the guided score. Expand $|(1 + w) s_y - w s|^2$ and
collect the terms:

$$ (1 + w) |s_y|^2 - w |s|^2 = |s_w|^2 - w (1 + w) |s_y - s|^2 $$

This has the form of a mean square, which is a squared mean plus a variance. The two values have the
weights $1 + w$ and $-w$, which add up to 1. Their variance is the product of the weights times the
squared difference of the values. For positive $w$ it is negative, because one weight is negative.
Insert this into the line before it, multiply by $q_\tau$, and use the product rule in the other
direction:

$$ \partial_\tau q_\tau = \nabla^2 q_\tau / 2 - \tfrac{1}{2} w (1 + w) |s_y - s|^2 q_\tau $$ (J.2)

The first term is the effect of noise on any density. If it were the only one, $q_\tau$ would be the
tilted density with noise. A reverse chain that follows its score with small steps would sample the
tilted distribution. For $w > 0$ the second term takes density away as $\tau$ grows. A chain goes
from noise to data. On its way the same density has to be added. For each unit by which $\tau$ falls
this is the amount $g q_\tau$, with the rate

$$ g(x) = \tfrac{1}{2} w (1 + w) |s_y - s|^2 $$

The difference of the scores is the gradient of $\log p(y | x)$ (step 10). So $g$ is large where the
logarithm of this probability changes quickly from place to place. In the example with $\tau = 1$ it
is

| x | 0 | 1.8 | 2 | 3 |
|---|---|---|---|---|
| score of the class | 0.5 | -0.4 | -0.5 | -1 |
| score of all data | 0 | -0.6 | -0.6667 | -1 |
| g(x) | 0.75 | 0.12 | 0.0833 | 0 |

At the same distance from the mean 1.8 more density has to be added on the left than on the right.
This moves the mean to the left. Does a reverse chain add it? Suppose again that the state has the
tilted distribution of the level, and insert $q_\tau$. For each unit by which $\tau$ falls, the
drift of DDPM is $s_w$ and its noise has the variance 1, by (H.6). DDIM has half of this drift and
no noise, by (H.5). Insert each into the Fokker-Planck equation, with
$\nabla \cdot (s_w q_\tau) = \nabla^2 q_\tau$ from above. Both change the density at the same rate:

$$ \text{DDPM: } -\nabla \cdot (s_w q_\tau) + \nabla^2 q_\tau / 2 = -\nabla^2 q_\tau / 2 $$
$$ \text{DDIM: } -\nabla \cdot (s_w q_\tau / 2) = -\nabla^2 q_\tau / 2 $$

To arrive at $q_{\tau'}$ of the next level, the change would have to be minus (J.2):

$$ -\partial_\tau q_\tau = -\nabla^2 q_\tau / 2 + g q_\tau $$

So both chains have the first term, which undoes the effect of noise, and neither adds $g q_\tau$.
If $g$ is not the same everywhere, the state no longer has the tilted distribution of its level
after the step, and from then on the two chains differ. In the example, let chains start at the
level $\tau = 1$ with the tilted distribution $N(1.8, 1.2)$. In the limit of small steps DDPM ends
with the mean 1.66 and DDIM with 1.72. (In appendix H the mean 1.8 arrives divided by $G(1) = 3.56$
or by its root, and the integrals of $c / G$ and $c / (2 \sqrt G)$ from 0 to 1 add 1.156 and 0.763.)
From a start far in the noise, DDPM ends with the mean 1.75, by (H.4), and DDIM with 2, by (H.2).
The tilted distribution has 1.5. Appendix L adds the missing density as weights of the samples.

**What remains after normalisation.** A rate that is the same everywhere multiplies the whole
density by a number, and normalisation removes this number. So only differences of $g$ matter. Let
$Z$ be the integral of $q_\tau$, and let $\bar g$ be the mean of $g$ over the normalised density
$\bar q_\tau = q_\tau / Z$. Integrate (J.2) over $x$. The Laplacian is a divergence, and its
integral is 0. What remains is $-\bar g Z$. So

$$ \partial_\tau \log Z = -\bar g $$

Then $\partial_\tau \bar q_\tau = (\partial_\tau q_\tau) / Z - \bar q_\tau \partial_\tau \log Z$ and
(J.2) give

$$ \partial_\tau \bar q_\tau = \nabla^2 \bar q_\tau / 2 - (g - \bar g) \bar q_\tau $$ (J.3)

How much $g$ differs from its mean is measured by its standard deviation over $\bar q_\tau$. The
table contains both for the top class of step 1 with the weight 3, multiplied by $\tau$. A rate
times $\tau$ is a rate per unit of $\log \tau$. From 0.1 to 10 the columns are about equally far
apart in $\log \tau$, and the two outer columns are twice as far. The numbers are sums over a grid.

| tau | 0.01 | 0.1 | 0.3 | 1 | 3 | 10 | 100 |
|---|---|---|---|---|---|---|---|
| mean | 0.0040 | 0.058 | 0.213 | 0.565 | 0.796 | 0.657 | 0.124 |
| standard deviation | 0.055 | 0.495 | 1.045 | 1.339 | 0.978 | 0.394 | 0.020 |

Per unit of $\log \tau$ the standard deviation is largest at the levels in the middle, from about
0.1 to 10 (right panel). Near the data almost all of the density lies well inside the class. There
$p(y | x)$ is almost 1, and its gradient is almost 0. Between the classes the rate grows as $\tau$
falls: at the point 0, at the same distance from all three means, it is 8.6 at the level 1 and 110
at the level 0.1 (middle panel). At that point the tilted distributions of these levels have only
the densities 0.0037 and 0.0007.

**Far in the noise.** A score of noisy data is the best guess of the data minus the state, divided
by $\tau$ (step 5). The state cancels in the difference of two scores:

$$ s_y - s = (E[x_0 | x, y] - E[x_0 | x]) / \tau $$

For large $\tau$ the state contains almost no information about $x_0$. The guesses become the mean
of the class and the mean of all data. Let $\Delta m$ be the first minus the second. Then

$$ g \approx \tfrac{1}{2} w (1 + w) |\Delta m|^2 / \tau^2 $$ (J.4)

This does not depend on $x$. To this approximation only $Z$ changes, and the normalised density
follows the heat equation. For the top class the two means are 1.5 apart. At $\tau = 100$ this gives
$\tau g = 0.135$. In the table the mean is 0.124 and the standard deviation 0.020.

**From another distribution.** (J.1) states that Langevin steps keep $q_\tau$. Do they also reach
it? Let the samples at the fixed level have the density $\rho$, and let $u = \rho / \bar q_\tau$. By
the product rule, with the gradient of $\bar q_\tau$ from above,

$$ \nabla \rho = s_w \rho + \bar q_\tau \nabla u $$

Insert this into the Fokker-Planck equation with $v = s_w / 2$, where $\nabla^2 \rho$ is the
divergence of $\nabla \rho$. The two terms with the score cancel:

$$ \partial_r \rho = \nabla \cdot (\bar q_\tau \nabla u) / 2 $$

We measure the distance from the target by $\chi^2$, the mean of $(u - 1)^2$ over $\bar q_\tau$.
Expand the square. The integrals of $u \bar q_\tau = \rho$ and of $\bar q_\tau$ are 1, and
$u^2 \bar q_\tau = u \rho$. So $\chi^2$ is the integral of $u \rho$ minus 1. Because
$u \rho = \rho^2 / \bar q_\tau$, its derivative is the integral of $2 u \partial_r \rho$. Integrate
by parts once. If all densities fall off fast enough at infinity,

$$ \partial_r \chi^2 = -\int \bar q_\tau |\nabla u|^2 dx $$ (J.5)

The distance falls as long as $u$ is not constant, and $u$ is constant only if $\rho$ is the tilted
distribution. So from every start with a finite $\chi^2$ the samples come closer to it. If samples
and target are Gaussians, $\chi^2$ is finite only if the variance of the samples is below twice that
of the target. For a Gaussian target of variance $V$ the integral in (J.5) is at least $\chi^2 / V$,
by the Poincaré inequality, which we use without a proof. So $\chi^2$ then falls to 0 at least as
fast as $\exp(-r / V)$.

For example, let the target be the standard normal distribution, and let the samples be $N(0.5, 1)$.
Then $u = e^{0.5 x - 0.125}$ and $\nabla u = 0.5 u$. The mean of $e^x$ over the target is $e^{0.5}$,
so that of $u^2$ is $e^{0.5 - 0.25} = e^{0.25}$. This gives $\chi^2 = e^{0.25} - 1 = 0.284$, and
its derivative is $-0.25 e^{0.25} = -0.321$.

(J.5) gives no bound on the running time that this takes. If the target has two distant modes, $u$
can be nearly constant in each of them, with two different values. Then the distance falls very
slowly.

**At the boundary.** At $w = 0$ and $w = -1$ the rate is 0 everywhere. There $q_\tau$ is the density
of the class or of all data, and noise does link its levels. For weights between -1 and 0 the rate
is negative: on the way to the data density has to be removed. Noise also links the normalised
levels if the two scores differ by the same vector everywhere, as for two Gaussians with the same
covariance (appendix H, $R = 1$). At $\tau = 0$ the tilted density of the level is the tilted
distribution, not normalised.

**What goes wrong.** The guided score at a level is taken for the score of the noisy tilted
distribution. It is the score of the tilted noisy densities. The missing term is explained as an
error of finite steps or of the network. It remains with infinitely small steps and exact scores.
The rate is computed with $\gamma (\gamma - 1)$, as Skreta et al. write it, but with $w$ in the
place of $\gamma = 1 + w$. In a Langevin step the drift is not halved although the noise has the
variance $\delta$, which halves the variance of a Gaussian target. The large rate between the
classes is taken for a large effect, although few samples are there.

**Where it goes on.** Appendix K makes Langevin steps at each level. Appendix L adds the density of
(J.2) as weights. Appendix M avoids large differences of $\tau$.

**Source.** Song et al. 2021, arXiv:2011.13456 (reverse chains and scores). Bradley and Nakkiran
2024, arXiv:2408.09000 (guided chains do not sample the tilted distribution). Skreta et al. 2025,
arXiv:2503.02819 (the second term of (J.2), with $\gamma = 1 + w$ and $\sigma_t^2 dt$ for $d\tau$).
Both tables and (J.4) are computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tutorial.appendix.h_gaussian_pairs import score_at
from tutorial.contract import Normals
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Gaussian

if TYPE_CHECKING:
    from jaxtyping import Float

# (x, tau) -> the scores s_y and s at x under noise of variance tau: 2 evaluations of a network.
Scores: TypeAlias = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]


def of_gaussians(given_y: Gaussian, var_all: float) -> Scores:
    """The exact scores of a class `given_y` in data with the distribution N(0, var_all)."""

    def scores(x: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
        s_y = score_at(x, tau, 0.0, given_y, var_all)
        s = score_at(x, tau, -1.0, given_y, var_all)
        return s_y, s

    return scores


def noised(mixture: GaussianMixture, tau: float) -> GaussianMixture:
    """The mixture under noise of variance `tau`."""
    covs = mixture.covs + tau * np.eye(2)
    return GaussianMixture(mixture.means, covs, mixture.weights)


def of_mixture(mixture: GaussianMixture, y: int) -> Scores:
    """The exact scores of class `y` in 0..K-1 of a mixture."""

    def scores(x: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
        noisy = noised(mixture, tau)
        precisions = np.linalg.inv(noisy.covs)
        from_means = x[:, None] - noisy.means
        s_of_class = -np.einsum("nkd,kde->nke", from_means, precisions)
        p = np.exp(noisy.log_class_probability(x))
        s_y = s_of_class[:, y]
        s = (p[:, :, None] * s_of_class).sum(1)
        return s_y, s

    return scores


def mix(pair: tuple[np.ndarray, np.ndarray], w: float) -> np.ndarray:
    """The guided score, from `pair`, the scores s_y and s."""
    s_y, s = pair
    return (1 + w) * s_y - w * s  # (11.7)


def langevin(
    x: Float[np.ndarray, "n 2"], tau: float, w: float, step: float, scores: Scores, rng: Normals
) -> Float[np.ndarray, "n 2"]:
    """One Langevin step of size `step` at the level `tau`, with the guided score."""
    s_w = mix(scores(x, tau), w)
    z = rng.standard_normal(x.shape)
    return x + step / 2 * s_w + step**0.5 * z  # by (J.1) small steps keep q_tau


def added(pair: tuple[np.ndarray, np.ndarray], w: float) -> Float[np.ndarray, " n"]:
    """The rate g at each point, from the scores s_y and s there, per unit by which tau falls."""
    s_y, s = pair
    square = ((s_y - s) ** 2).sum(1)
    return w * (1 + w) / 2 * square  # (J.2)


def log_level(
    x: Float[np.ndarray, "n 2"], tau: float, y: int, w: float, mixture: GaussianMixture
) -> Float[np.ndarray, " n"]:
    """The logarithm of `q_tau` for class `y` in 0..K-1, not normalised."""
    noisy = noised(mixture, tau)
    return (1 + w) * noisy.log_density(x, y) - w * noisy.log_density(x)


def added_to_shape(rate: Float[np.ndarray, " n"], q: Float[np.ndarray, " n"]) -> np.ndarray:
    """The part of the rate that normalisation does not remove; `q` are probabilities of cells."""
    mean = q @ rate
    return rate - mean  # (J.3)


def mean_and_spread(tau: float, y: int, w: float, mixture: GaussianMixture) -> tuple[float, float]:
    """The mean of the rate over the tilted distribution of a level, and its standard deviation.

    Both are sums over a square lattice of 241 by 241 points, which is wide enough for every level.
    """
    largest_mean = float(np.abs(mixture.means).max())
    largest_var = float(np.linalg.eigvalsh(mixture.covs).max())
    reach = (1 + abs(w)) * largest_mean + 6 * float(np.sqrt(largest_var + tau))
    line = np.linspace(-reach, reach, 241)
    x = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    log_q = log_level(x, tau, y, w, mixture)
    q = np.exp(log_q - log_q.max())
    q /= q.sum()
    rate = added(of_mixture(mixture, y)(x, tau), w)
    spread = np.sqrt(q @ added_to_shape(rate, q) ** 2)
    return float(q @ rate), float(spread)


def added_in_noise(tau: float, y: int, w: float, mixture: GaussianMixture) -> float:
    """The limit of the rate for a large `tau`, which is the same at all points."""
    mean_of_all, _ = mixture.moments()
    delta_m = mixture.means[y] - mean_of_all
    return float(w * (1 + w) / 2 * (delta_m @ delta_m) / tau**2)  # (J.4)


def chi_squared(rho: Float[np.ndarray, "n n"], q: Float[np.ndarray, "n n"], side: float) -> float:
    """The distance of the density `rho` from `q`, on a square lattice with cells of that side."""
    u = rho / q
    return float((q * (u - 1) ** 2).sum() * side**2)


def chi_squared_slope(
    rho: Float[np.ndarray, "n n"], q: Float[np.ndarray, "n n"], side: float
) -> float:
    """The derivative of `chi_squared` with respect to the running time of Langevin dynamics."""
    u = rho / q
    along_rows, along_columns = np.gradient(u, side)
    return -float((q * (along_rows**2 + along_columns**2)).sum() * side**2)  # (J.5)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.j_levels")
