r"""Appendix M. Rounds of noise and denoising: guidance where the noise is low

**The question.** A guided chain follows the guided score at every noise level, and this is not the
score of the tilted distribution with noise added (step 13). What exactly is missing, and how large
is it at each level? If it is small at low noise, a sampler could use guidance there alone. This
appendix derives the missing term, and then studies such a sampler: add a little noise, remove it
with guidance, and repeat.

**An example.** Take the top class of step 1, with $w = 3$. The table gives the vertical component
of the score at two points, and the noise variance $\tau$ of appendix H. "Right" is the score of the
tilted distribution with noise added, and "guided" is the guided score. The first is computed by
sums over a grid, the second by a formula. The mean of the class is 1.5 above the centre. The first
point lies inside the class, 1 above the centre. The second is the centre itself, equally far from
the means of all three classes.

| tau | 1 | 0.3 | 0.1 | 0.06 | 0.03 | 0.01 | 0.001 |
|---|---|---|---|---|---|---|---|
| at (0, 1): right | 0.42 | 0.95 | 1.46 | 1.64 | 1.80 | 1.93 | 2.00 |
| at (0, 1): guided | 1.74 | 1.31 | 1.49 | 1.64 | 1.80 | 1.93 | 2.00 |
| at (0, 0): right | 1.2 | 3.0 | 5.6 | 7.2 | 10.0 | 15.4 | 22.7 |
| at (0, 0): guided | 4.8 | 10.9 | 17.1 | 19.4 | 21.4 | 23.1 | 23.9 |

Inside the class the error of guidance is small for $\tau \le 0.1$. At the centre it grows at first
as the noise falls, from 3.6 at $\tau = 1$ to 12.2 at $\tau = 0.06$. Only then does it fall, and at
$\tau = 0.001$ it is still 1.2. So how low the noise has to be depends on the point. Why?

**The missing term.** Let $p_\tau(x | y)$ and $p_\tau(x)$ be the densities of the class and of all
data with noise of variance $\tau$. As in appendix J, let
$q_\tau = p_\tau(x | y)^{1 + w} p_\tau(x)^{-w}$ be the tilted density of the level, not normalised.
Its score is the guided score $s_w$ (11.7). At $\tau = 0$ it is $q_0$, the tilted density of the
data. With noise of variance $\tau$ added, $q_0$ becomes

$$ q_{0,\tau}(x) = \int q_0(x_0) N(x; x_0, \tau I) dx_0 $$

The two densities have different scores, and we look for the difference. Let $P$ and $Q$ be the
densities of the clean $x_0$ when the noisy $x$ is known, with the label and without it. By Bayes'
rule

$$ P(x_0) = p(x_0 | y) N(x; x_0, \tau I) / p_\tau(x | y) $$
$$ Q(x_0) = p(x_0) N(x; x_0, \tau I) / p_\tau(x) $$

Raise the first to the power $1 + w$ and the second to the power $-w$, and multiply. The Gaussian
has the exponent $1 + w - w = 1$, so it appears once:

$$ P(x_0)^{1 + w} Q(x_0)^{-w} = q_0(x_0) N(x; x_0, \tau I) / q_\tau(x) $$

The denominator does not depend on $x_0$. So the integral over $x_0$ is the ratio of the two
densities. The gradient of its logarithm is the difference of their scores, which the guided score
lacks:

$$ \int P(x_0)^{1 + w} Q(x_0)^{-w} dx_0 = q_{0,\tau}(x) / q_\tau(x) $$
$$ \nabla \log q_{0,\tau} = s_w + \nabla \log \int P(x_0)^{1 + w} Q(x_0)^{-w} dx_0 $$ (M.1)

For $w \neq 0$ the logarithm of the integral, divided by $w$, is called the Renyi divergence of
order $1 + w$ of $P$ from $Q$. For $w > -1$ it is never negative, and it is 0 if $P = Q$. For the
proof, let $u = P / Q$. The integral is the mean of $u^{1 + w}$ over $Q$, and the mean of $u$ is 1.
For $w > 0$ the power is convex, so by Jensen's inequality its mean is at least 1. For $-1 < w < 0$
it is concave, so its mean is at most 1, and the division by $w$ changes the sign of the logarithm.

**Where it is small.** By Bayes' rule for the label, $p(x_0 | y) / p(x_0) = p(y | x_0) / \pi_y$, and
the same holds for the noisy densities. The factor $\pi_y$ cancels in the ratio of $P$ and $Q$:

$$ P(x_0) / Q(x_0) = p(y | x_0) / p_\tau(y | x) $$

Write the integrand as $P$ times the power $w$ of this ratio. The integral becomes a mean over $P$:

$$ \log \int P^{1 + w} Q^{-w} dx_0 = \log E[p(y | x_0)^w | x, y] - w \log p_\tau(y | x) $$ (M.2)

The noise is added without regard to the label. So the probability of the label at the noisy point
is the mean over the clean points from which it may come:

$$ p_\tau(y | x) = \int Q(x_0) p(y | x_0) dx_0 $$

Suppose that $p(y | x_0)$ has the same value at all $x_0$ from which $x$ and the points near it may
come. Then $p_\tau(y | x)$ has this value, too. The two terms of (M.2) cancel, and the missing
gradient is 0. For small $\tau$ these clean points differ by about $\sqrt\tau$. Inside the class the
probability is nearly 1, and a moderate $\sqrt\tau$ is small enough. Between two classes of step 1
the log odds change by 10.4 per unit of length. This is the distance of the means, 2.6, divided by
the variance 0.25, by (1.8). There $\sqrt\tau$ has to be small against 0.1, so $\tau$ has to be far
below 0.01. This explains why the two points of the table differ.

**How often it matters.** Few samples lie between the classes. The next table gives the length of
the missing gradient for samples of $q_{0,\tau}$: its mean, and the probability that it exceeds 1.

| tau | 1 | 0.3 | 0.1 | 0.03 | 0.01 |
|---|---|---|---|---|---|
| mean error | 1.60 | 1.24 | 0.54 | 0.17 | 0.05 |
| probability of an error above 1 | 0.49 | 0.24 | 0.09 | 0.03 | 0.01 |

So low noise does not make the error of guidance small at every point. It makes it small for most
samples. How low it has to be depends on the data. The classes of the pinwheel have closer
neighbours, with means at a distance of 1.4. For its class 0 and the same $w = 3$ the probability of
an error above 1 is 0.46 at $\tau = 0.1$ and 0.12 at $\tau = 0.01$.

**A round.** Start with samples of the class, which need no guidance. A round adds noise of a small
variance $\tau$ to them and removes it by guided DDIM in small steps, (H.5), from $\tau$ down to 0.
Then the next round begins. The method resembles Gibbs sampling, which draws two variables in turn,
each from its distribution given the other. Here these are the noisy point and the clean point. DDIM
does not draw the clean point at random: it is a function of the noisy point. But suppose that the
scores of all levels from $\tau$ to 0 are right, and that the steps are small. Then DDIM turns noisy
points with the density $q_{0,\tau}$ into clean points with the tilted density (step 17), as a draw
would do. So a round leaves the tilted distribution unchanged.

**For two Gaussians** we can compute where the rounds end. Let the class be $N(m, S_y I)$ in data
with the distribution $N(0, S I)$. The guided score of each level is $-k (x - M)$. Here $M$ is the
tilted mean of this level, and $k$ is its precision, by (11.9):

$$ k(\tau) = (1 + w) / (S_y + \tau) - w / (S + \tau) $$

The numerator of $k$ over the common denominator is $(1 + w) S - w S_y + \tau$. We assume that
$k(0)$, the precision of the tilted distribution without noise, is positive. Then $k$ is positive at
every level. By (H.5) a chain follows $dx / d\tau = -s_w / 2$. So the difference $\Delta$ of two
chains in one coordinate satisfies

$$ d \Delta / d\tau = k(\tau) \Delta / 2 $$
$$ \log \Delta_0 - \log \Delta_\tau = -\tfrac{1}{2} \int_0^\tau k(\tau') d\tau' $$

The integral of $1 / (S + \tau')$ is $\log(1 + \tau / S)$, and that of $1 / (S_y + \tau')$ is
$\log(1 + \tau / S_y)$. So the integral of $k$ is the logarithm of the number $G$ of appendix H. The
steps of a round divide differences by $\sqrt G$ and variances by $G$. Before them the noise adds
$\tau$ to the variance $V$. The variance after the round is

$$ V' = (V + \tau) / G, \quad G = (1 + \tau / S_y)^{1 + w} (1 + \tau / S)^{-w} $$ (M.3)

Because $k$ is positive, $G$ is larger than 1. So the rounds leave one variance unchanged. Set
$V' = V$ and solve:

$$ V_\infty = \tau / (G - 1) $$ (M.4)

**Where the mean ends.** In a step of length $d\tau'$ at the level $\tau'$ the mean receives
$c d\tau' / 2$, by appendix H. Here $c = k M = (1 + w) m / (S_y + \tau')$. The steps that follow
divide this amount by $\sqrt{G(\tau')}$, where $G(\tau')$ is $G$ for the level $\tau'$. So the mean
$M_\infty$ that a round leaves unchanged satisfies

$$ M_\infty = M_\infty / \sqrt{G(\tau)} + \int_0^\tau c / (2 \sqrt{G(\tau')}) d\tau' $$

**How many rounds.** Subtract the equation $V_\infty = (V_\infty + \tau) / G$ from (M.3). The
result shows that each round multiplies the distance of the variance from $V_\infty$ by $1 / G$. It
multiplies the distance of the mean from $M_\infty$ by $1 / \sqrt G$, because a round is the same
affine map for all samples, apart from the noise. After $n$ rounds

$$ M_n - M_\infty = (M_0 - M_\infty) G^{-n / 2} $$ (M.5)
$$ V_n - V_\infty = (V_0 - V_\infty) G^{-n} $$ (M.6)

For small $\tau$ we expand $G = 1 + k \tau + ...$ with $k = k(0)$, the precision of the tilted
distribution. So $V_\infty \to 1 / k$, which is right. In the equation for $M_\infty$ the difference
of the two terms with $M_\infty$ becomes $M_\infty k \tau / 2$, and the integral becomes
$c \tau / 2$. So $M_\infty \to c / k$, the tilted mean. The distance of the mean from $M_\infty$
falls to the fraction $1 / e$ in about $2 / (k \tau)$ rounds, that of the variance from $V_\infty$
in half as many.

For large $\tau$ one round removes all traces of the start. There $G$ is close to
$\tau S_y^{-1 - w} S^w$, so $V_\infty$ tends to $S_y (S / S_y)^{-w}$, the variance of guided DDIM
alone (H.1). The example of appendix H has $m = 1$, $S_y = 1$ and $S = 2$. At $w = 2$ the tilted
distribution has the mean 1.5 and the variance $1 / k = 0.5$. Guided DDIM alone ends with the mean 2
and the variance 0.25:

| tau | 0.01 | 0.1 | 0.5 | 1 | 10 |
|---|---|---|---|---|---|
| variance at the end, (M.4) | 0.498 | 0.482 | 0.431 | 0.391 | 0.278 |
| mean at the end, small steps | 1.502 | 1.518 | 1.574 | 1.624 | 1.836 |
| factor of the variance per round | 0.980 | 0.828 | 0.463 | 0.281 | 0.027 |
| factor of the mean per round | 0.990 | 0.910 | 0.680 | 0.530 | 0.164 |
| variance at the end, 4 steps per round | 0.498 | 0.484 | 0.441 | 0.415 | 0.682 |
| variance at the end, 1 step per round | 0.499 | 0.490 | 0.480 | 0.516 | 2.831 |

For small $\tau$ the error of the variance at the end is nearly proportional to $\tau$: it is 0.002
and 0.018 in the first two columns. The number of rounds is proportional to $1 / \tau$. So accuracy
costs evaluations, as it did with the correctors of appendix K. At $\tau = 10$ the finite steps of
the last two rows are too large: the variance is far from the 0.278 of small steps.

**Few steps per round.** The last two rows of the table have finite steps of Euler's method for
(H.5): a step of size $\delta$ adds $\delta s_w / 2$. (The row of DDIM in step 17 keeps the
prediction of the noise instead. It agrees with this step only if $\delta$ is small against the
level from which the step starts. A row from the level $\delta$ to 0 adds $\delta s_w$, twice as
much.) A step multiplies differences by $1 - \delta k / 2$. Let a round have $L$ steps. Their scores
are computed at the levels $\tau_1 = \tau$ down to $\tau_L = \delta$, a constant $\delta = \tau / L$
apart. With $A$ for the product of their factors, a round makes the variance $A^2 (V + \tau)$. If
$|A| < 1$, the rounds leave one variance unchanged:

$$ V_L = \tau A^2 / (1 - A^2), \quad A = \prod_{i=1}^L (1 - \delta k(\tau_i) / 2) $$ (M.7)

If $|A| \ge 1$, there is no such variance, and every round makes the samples wider. For example,
$S_y = 1$, $S = 100$, $w = 5$ and one step from $\tau = 10$ have $k = 0.5$ and $A = -1.5$.

One step is enough if $\tau$ is small against the tilted variance $1 / k$. In the example, where
this is 0.5, rounds of one step and of small steps with $\tau$ up to 0.1 end with variances that
differ by less than 0.01. But take a class of variance 0.25 without guidance. Small steps keep this
variance, and rounds of one step with $\tau = 0.1$ end with 0.277. The mean that one step leaves
unchanged is the tilted mean of the level $\tau$, because the guided score is 0 there. For
$\tau = 0.1$ this is 1.537, where small steps end with 1.518. A round with one step adds
$\sqrt\tau z$ and then $\tau s_w / 2$. A Langevin step of the size $\tau$ at the level $\tau$ adds
the same two terms, but its score belongs to the point before the noise.

**Distant modes.** Do the samples reach another mode of their class? Take $w = 0$, so that every
score is right, and a class of two equal narrow modes at $\pm d / 2$ on a line. DDIM moves points of
a line continuously, so two chains never pass each other. By symmetry 0 stays at 0. A sample from
the mode at $d / 2$ changes to the other exactly if the noise carries it below 0:

$$ \Pr(\sqrt\tau z < -d / 2) = \Phi(-d / (2 \sqrt\tau)) $$ (M.8)

Here $\Phi$ is the distribution function of $N(0, 1)$. If $\sqrt\tau$ is half the distance of the
modes, this is 0.16 for every distance. With $\tau = d$ it is 0.16, 0.06 and 0.0008 for $d = 4$, 10
and 40. So $\sqrt\tau$ and not $\tau$ must be comparable to the distance. For $w > 0$ so much noise
brings back the overshoot of the guided chain. If $\sqrt\tau$ is far below $d / 2$, on the other
hand, almost no sample changes its mode, and the fractions of the modes remain those of the start
for very many rounds. Here, as in the paper of Moufad et al., the rounds start from samples drawn
without guidance, so these fractions are those of the class.

**At the boundary.** At $w = 0$ and $w = -1$ the integral in (M.1) is 1, because $P$ and $Q$ are
densities. Nothing is missing, and rounds of small steps keep the class or the distribution of all
data. If all classes have the same distribution, $P$ and $Q$ are equal, and nothing is missing for
any $w$.

**What goes wrong.** The noise gets the standard deviation $\tau$ in place of $\sqrt\tau$. Then a
round at $\tau = 0.01$ adds a hundredth of the variance, and the samples shrink from round to round.
The last step of a round is made with the row of DDIM, which ends at the guess $x + \tau s_w$ of
$x_0$. With one step per round and a small $\tau$ the factor of the variance is then $1 - 2 k \tau$,
and the rounds end with $1 / (2 k)$, half of the right variance. A large $\tau$ is chosen to save
rounds. The samples then have almost the distribution of guided DDIM alone. The guided score is
taken to be right at every point, because the noise is low. Between the classes it is not.

**Where it goes on.** Correctors, weights and rounds all aim at the tilted distribution. Appendix N
measures how near they come to it, and what they cost.

**Source.** Moufad et al. 2025, arXiv:2505.21101 (the missing term, and the rounds). (M.2) to (M.8)
and the tables are this course's.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr  # pyright: ignore[reportMissingTypeStubs]  # SciPy has none

from tutorial.appendix.j_levels import Scores, mix, noised, of_mixture
from tutorial.contract import Normals
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Gaussian
from tutorial.step13_tilted import tilted_on_grid

if TYPE_CHECKING:
    from jaxtyping import Float


def _normalised(log_p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The logarithms of probabilities that add up to 1."""
    log_p = log_p - log_p.max()
    return log_p - np.log(np.exp(log_p).sum())


def missing(
    x: Float[np.ndarray, " 2"], tau: float, y: int, w: float, mixture: GaussianMixture
) -> float:
    """The logarithm of the integral in (M.1) at one point, by a sum over the grid of step 13."""
    points, _ = tilted_on_grid(mixture, y, w)
    log_noise = -((points - x) ** 2).sum(1) / (2 * tau)
    log_P = _normalised(mixture.log_density(points, y) + log_noise)
    log_Q = _normalised(mixture.log_density(points) + log_noise)
    integral = np.exp((1 + w) * log_P - w * log_Q).sum()
    return float(np.log(integral))  # the last term of (M.1)


def missing_from_labels(
    x: Float[np.ndarray, " 2"], tau: float, y: int, w: float, mixture: GaussianMixture
) -> float:
    """The same from the class probabilities of clean and of noisy points."""
    points, _ = tilted_on_grid(mixture, y, w)
    log_noise = -((points - x) ** 2).sum(1) / (2 * tau)
    P = np.exp(_normalised(mixture.log_density(points, y) + log_noise))
    log_p_y = mixture.log_class_probability(points)[:, y]
    mean = P @ np.exp(w * log_p_y)
    log_p_y_noisy = noised(mixture, tau).log_class_probability(x[None])[0, y]
    return float(np.log(mean) - w * log_p_y_noisy)  # (M.2)


def noised_tilt_score(
    x: Float[np.ndarray, " 2"], tau: float, y: int, w: float, mixture: GaussianMixture
) -> Float[np.ndarray, " 2"]:
    """The score of the tilted distribution with noise added, from the mean of `x_0` given `x`."""
    points, p = tilted_on_grid(mixture, y, w)
    p_of_x0 = p * np.exp(-((points - x) ** 2).sum(1) / (2 * tau))
    mean_x0 = p_of_x0 @ points / p_of_x0.sum()
    return (mean_x0 - x) / tau


def errors_of_guidance(
    tau: float, y: int, w: float, mixture: GaussianMixture
) -> tuple[Float[np.ndarray, " nn"], Float[np.ndarray, " nn"]]:
    """The length of the missing gradient on a grid, and the probability `q_{0,tau}` there."""
    half = 6.0
    n = 401
    points, p = tilted_on_grid(mixture, y, w, half, n)
    axis = np.linspace(-half, half, n)
    # A Gaussian in the plane is a product of two, so the sum over the grid is one along each axis.
    spread = np.exp(-((axis[:, None] - axis) ** 2) / (2 * tau))
    in_plane = np.stack([p, p * points[:, 0], p * points[:, 1]]).reshape(3, n, n)
    noisy, first, second = (spread @ in_plane @ spread).reshape(3, -1)
    seen = noisy > 1e-12 * noisy.max()
    mean_x0 = np.stack([first, second], 1)[seen] / noisy[seen][:, None]
    right = (mean_x0 - points[seen]) / tau
    guided = mix(of_mixture(mixture, y)(points[seen], tau), w)
    error = np.sqrt(((right - guided) ** 2).sum(1))
    return error, noisy[seen] / noisy[seen].sum()


def gibbs_rounds(
    x: Float[np.ndarray, "n 2"], tau: float, w: float, steps: int, scores: Scores, rng: Normals
) -> Iterator[Float[np.ndarray, "n 2"]]:
    """Yield `x` after each round at level `tau`, with `steps` guided scores per round; no end."""
    taus = [float(level) for level in np.linspace(tau, 0, steps + 1)]
    while True:
        z = rng.standard_normal(x.shape)
        x = x + tau**0.5 * z
        for now, later in pairwise(taus):
            s_w = mix(scores(x, now), w)
            x = x + (now - later) / 2 * s_w  # (H.5)
        yield x


def growth(tau: float, w: float, given_y: Gaussian, var_all: float) -> float:
    """The number `G`, by which a round of small steps divides variances."""
    return (1 + tau / given_y.var) ** (1 + w) * (1 + tau / var_all) ** -w  # (M.3)


def stationary_var(tau: float, w: float, given_y: Gaussian, var_all: float) -> float:
    """The variance that a round of small steps leaves unchanged."""
    G = growth(tau, w, given_y, var_all)
    return tau / (G - 1)  # (M.4)


def after_rounds(start: Gaussian, end: Gaussian, G: float, n: int) -> Gaussian:
    """The distribution after `n` rounds, from `start`, if rounds leave `end` unchanged."""
    M = end.mean + (start.mean - end.mean) * G ** (-n / 2)  # (M.5)
    V = end.var + (start.var - end.var) * G**-n  # (M.6)
    return Gaussian(M, V)


def stationary_var_of_steps(
    tau: float, w: float, steps: int, given_y: Gaussian, var_all: float
) -> float:
    """The variance that a round of `steps` steps leaves unchanged, if `A` is between -1 and 1."""
    delta = tau / steps
    levels = tau - delta * np.arange(steps)
    k = (1 + w) / (given_y.var + levels) - w / (var_all + levels)
    A = np.prod(1 - delta * k / 2)
    return float(tau * A**2 / (1 - A**2))  # (M.7)


def crossing(d: float, tau: float) -> float:
    """The probability that one round without guidance changes between modes at a distance `d`."""
    return float(ndtr(-d / (2 * tau**0.5)))  # (M.8)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.m_gibbs")
