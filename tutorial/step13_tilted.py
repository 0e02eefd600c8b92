r"""Step 13. The tilted distribution, and what guided chains sample instead

**The question.** Guidance mixes two scores with the factors $1 + w$ and $-w$. Step 11 named the
distribution that one hopes to sample in this way: the tilted distribution, which is the class with
its ambiguous members made rare. Step 11 also showed a reason for doubt, because the guided scores
belong to another distribution. So we ask two questions. What exactly is the tilted distribution?
And how far from it are the samples of a guided chain, if every prediction is exact?

**The tilted distribution.** By (11.8) it is the density of the class times $p(y | x)^w$, divided by
a number that makes its integral 1. Here $x$ is a point of the data, so $t = 0$ and there is no
noise. In terms of densities, and with $Z$ for that number:

$$ p_w(x | y) = p(x | y)^{1 + w} p(x)^{-w} / Z $$ (13.1)

The number $Z$ is the integral of the numerator. Bayes' rule, $p(x) = \pi_y p(x | y) / p(y | x)$,
takes $\pi_y$ out of the integral. What remains is a mean over the class:

$$ Z = \int p(x | y)^{1 + w} p(x)^{-w} dx = \pi_y^{-w} \int p(x | y) p(y | x)^w dx $$
$$ Z = \pi_y^{-w} E[p(y | x)^w | y] $$ (13.2)

**An example.** Take the top class of `three_gaussians`. Its mean is $(0, 1.5)$, its variance is
$1/4$ along each axis, and its probability is $\pi_y = 1/3$. The table gives the factor by which
$w = 3$ multiplies the density, apart from the constant.

| point | p(y given x) | its third power |
|---|---|---|
| (0, 1.5), the mean of the class | 0.999997 | 0.99999 |
| (0, 0.3), towards the other classes | 0.882 | 0.685 |
| (0, 0), equally far from all three means | 0.333 | 0.037 |

The mean of the class is 3 standard deviations away from the centre. Most of the class is therefore
unambiguous: 97.2 % of it has $p(y | x) > 0.9$, where the factor for $w = 3$ is at least 0.729.

**Computing it.** In the plane an integral can be replaced by a sum over a square grid. For a smooth
density such a sum is very accurate. For a Gaussian of variance $v$ in the plane and a grid of step
$h$, the relative error is at most about $4 \exp(-2 \pi^2 v / h^2)$. (By Poisson's summation
formula, the leading error along each axis is twice the Fourier transform $\exp(-v k^2 / 2)$ of the
Gaussian at the frequency $k = 2 \pi / h$ of the grid.) With $v = 1/4$ the error is 0.0002 for the
coarse $h = 0.7$, and far below rounding for $h = 0.02$, which we use. The densities here are not
Gaussian, but nearly as smooth. A second error is the probability that lies outside the square.

The guidance paper did the same. Its figure 2 shows three Gaussians, one per class, next to the mean
over $y$ of $p_w(x | y)$ for larger and larger $w$. These pictures are densities, normalised
numerically. No sampler was run for them.

**Sampling it without a chain.** The tilted distribution has a sampler that needs no denoising. Draw
$x$ from the class. Then keep it or reject it at random, for $w \ge 0$:

$$ \text{keep } x \sim p(x | y) \text{ with probability } p(y | x)^w $$ (13.3)

The density of the points that are kept is proportional to $p(x | y) p(y | x)^w$. Normalised, it is
(13.1). The method is called rejection sampling. The fraction that is kept is $E[p(y | x)^w | y]$,
which is $Z \pi_y^w$. In the example it is 98.6 % at $w = 1$ and 97.5 % at $w = 3$. *So here the
tilted distribution is the class without a few ambiguous members.* No point is moved.

**What a larger w changes.** How fast does the mean of some function $f$ grow with $w$? We write
$E_w$ for a mean under $p_w(x | y)$, and $Z_w$ for $E[p(y | x)^w | y]$. The logarithm of (13.1) is
then a line in $w$ minus the logarithm of $Z_w$:

$$ \log p_w(x | y) = \log p(x | y) + w \log p(y | x) - \log Z_w $$

The derivative of $Z_w$ with respect to $w$ is $E[p(y | x)^w \log p(y | x) | y]$. Dividing by $Z_w$
turns the mean over the class into a mean over the tilted distribution:

$$ d \log Z_w / d w = E_w[\log p(y | x)] $$

So the derivative of $\log p_w$ is a difference between $\log p(y | x)$ and its own mean:

$$ d \log p_w(x | y) / d w = \log p(y | x) - E_w[\log p(y | x)] $$

The derivative of $E_w[f]$ is the integral of $f$ times $p_w$ times this. That is a covariance:

$$ d E_w[f(x)] / d w = Cov_w(f(x), \log p(y | x)) $$ (13.4)

Two choices of $f$ are instructive. For $f = \log p(y | x)$ the covariance is a variance, which is
never negative. So the mean of $\log p(y | x)$ under the tilted distribution never falls when $w$
rises. For $f = x$ the covariance is small as soon as $\log p(y | x)$ is nearly constant, and this
happens once the ambiguous points are gone. The height of the example, which is the second
coordinate, has the mean 1.500 at $w = 0$. It grows at a rate of 0.031 there and of 0.004 at
$w = 3$, where it has reached 1.526.

**Two guided chains.** Now we look at samplers. We give them the exact predictions of step 5, so no
network is involved. The first is Algorithm 2 of the guidance paper. It is the ancestral chain of
step 7 with the noise levels of the paper and with the variance $\tilde\beta_t^{0.7} \beta_t^{0.3}$
in the place of $\tilde\beta_t$. Step 16 explains both; the exponent 0.3 is the parameter $v$ of the
paper. The second chain adds no fresh noise. Let $\tilde\epsilon$ be the mixed prediction, and let
$\hat x_0$ be the guess that it implies (step 5). Together they give $x_t$ by the formula of step 3:

$$ x_t = \sqrt{\bar\alpha_t} \hat x_0 + \sqrt{1 - \bar\alpha_t} \tilde\epsilon $$

For the step to $t - 1$ we keep $\hat x_0$ and $\tilde\epsilon$, and replace the two factors by
those of $t - 1$:

$$ x_{t-1} = \sqrt{\bar\alpha_{t-1}} \hat x_0 + \sqrt{1 - \bar\alpha_{t-1}} \tilde\epsilon $$ (13.5)

For example, let $x_t = 0.4$ and $\bar\alpha_t = 0.5$. In step 11 the two images with $w = 1$ gave
$\tilde\epsilon = -0.922$ and $\hat x_0 = 1.488$. With $\bar\alpha_{t-1} = 0.6$ the next point is
$0.775 \cdot 1.488 - 0.632 \cdot 0.922 = 0.569$. This sampler is called DDIM. Its result is a
function of the initial noise $x_T$. Without guidance it samples the data in the limit of small
steps, as the ancestral chain does; step 17 derives it and compares the two.

**What they sample.** Consider the samples of one class. Let $M$ be their mean, measured from the
mean of all data in the direction of the class. Let $V$ be their variance along one of the two axes.
For the three Gaussians here, and for $w = 1$ and $w = 3$, we find two orders. The second holds
along both axes:

$$ M_{tilted} < M_{alg. 2} < M_{DDIM} $$ (13.6)
$$ V_{tilted} > V_{alg. 2} > V_{DDIM} $$ (13.7)

*Guided chains overshoot the tilted distribution and shrink, although every prediction is exact.*
Here are the numbers for the top class: the mean height, and in brackets the variance across and
along the height. Each chain has 256 noise levels with log SNR between -20 and 20.

| w | tilted distribution | Algorithm 2 | DDIM |
|---|---|---|---|
| 0 | 1.500 (.250, .250) | 1.500 (.245, .245) | 1.500 (.247, .247) |
| 1 | 1.515 (.244, .235) | 1.678 (.224, .203) | 1.914 (.173, .126) |
| 3 | 1.526 (.241, .226) | 1.797 (.221, .198) | 2.365 (.141, .083) |

All entries are sums over grids, without random error, and correct to within one unit of the last
digit. DDIM maps $x_T$ to a sample, so its entries are sums over a grid of $x_T$, weighted with
$N(0, I)$. Algorithm 2 draws noise in every step. The mean of a function of its sample, given $x_t$,
is computed on a grid of $x_t$ for $t = 1, 2, ..., T$ in turn: each step averages the result for
$t - 1$ over the Gaussian of the step. For $t = T$ it is then averaged over $N(0, I)$.

At $w = 3$ Algorithm 2 moves the class by 0.297 where the tilted distribution moves by 0.026. DDIM
moves it by 0.865, which is more than 1.7 standard deviations of the class.

The cause is not the number of steps. With 1,024 levels and $w = 1$, Algorithm 2 gives 1.677 (.228,
.206) and DDIM gives 1.914 (.175, .128). Finite steps do cost some variance (step 7). At $w = 0$,
where both chains should sample the class itself, this is the only error in the table. Which
distribution do the chains sample then? We know no formula for three classes. Appendix H finds it in
closed form for two Gaussians, in the limit of small steps.

**Why.** The tilted distribution and the chain use the classifier at different noise levels. The
tilted distribution uses $p(y | x_0)$, which is close to 1 for almost all of the class and changes
almost nothing. The chain uses $p(y | x_t)$ at every $t$. By (11.2) and (10.4) guidance adds $w$
times the gradient of $\log p(y | x_t)$ to the score of the class. Early in the chain $p(y | x_t)$
is close to 1/3 for every sample. For example, where $\bar\alpha_t = 0.024$, 90 % of the noisy
points of the class have a $p(y | x_t)$ between 0.23 and 0.49. How large is the push? In the limit
of pure noise the guess with the label and the guess without it differ by $\mu_y - m$ (step 10),
which has the length 1.5. At this level the vertical component of their difference has the mean 1.45
over the noisy points of the class, and for 90 % of them it lies between 1.15 and 1.72. So at such
levels guidance moves the guess of nearly every sample outwards by about $1.5 w$. Most samples would
have ended in an unambiguous place without it.

We can compute where these pushes lead. By (11.7) the guided score at noise level $t$ is the score
of a density proportional to $p(x_t | y)^{1 + w} p(x_t)^{-w}$. Step 11 called this order "noise
first". Here is the mean height of this density for $w = 3$, divided by $\sqrt{\bar\alpha_t}$ to
make it comparable with data. The tilted distribution, with noise added afterwards, has 1.526 in
each column.

| alpha_bar | 0.99 | 0.9 | 0.5 | 0.1 | 0.01 |
|---|---|---|---|---|---|
| height of the distribution of the guided score | 1.530 | 1.582 | 2.200 | 4.403 | 5.801 |

At the noise end the class is nearly $N(\sqrt{\bar\alpha_t} \mu_y, I)$ and all data are nearly $N(0,
I)$. By (11.9) with $S_y = S = 1$ the value approaches $(1 + w) 1.5 = 6$. Step 11 proved the sign of
this difference for two Gaussians; for three classes the table is a computation, not a proof.

Later steps do not undo the pushes. Late in the chain, and well inside the class, $p(y | x_t)$ is
close to 1. Guidance then has almost no effect, neither outwards nor back. The conditional model
reduces a displacement, but not to zero. Algorithm 2 retains less of it than DDIM, because each of
its steps replaces a part of $x_t$ by fresh noise. Step 14 computes what remains in each case.

**What it costs.** At $w = 3$ half of DDIM's samples lie above a height of 2.34, where the class
itself has 5 % of its points. (The mean of 2.365 is larger than this median, because the
distribution is skewed.) Their variance along the height is a third of that of the class. A
classifier is more certain of these samples. They are nevertheless less like the class, because they
occupy a region that few members of the class occupy. With exact predictions and small steps the
samples at $w = 0$ already have the distribution of the class. So guidance cannot bring them closer
to this distribution; it can only make the classifier more certain. A trained network is not exact,
and some of its samples at $w = 0$ may show their class badly. For such samples the push of guidance
can be useful. Appendix O has a case in which a mixture with a worse network repairs such a network
exactly.

**At the boundary.** At $w = 0$ all three distributions are the class, up to the error of finite
steps. At $w = -1$ all are the distribution of all data. At the two weights between that we
computed, -0.5 and -0.2, the signs in (13.6) and (13.7) are reversed. For very large $w$ the first
sign in (13.7) changes along the height. There the variance of the tilted distribution keeps falling
as $w$ rises, and that of Algorithm 2 does not: at $w = 128$ they are 0.186 and 0.200 (24,000
samples, standard error 0.002). For $w < -1$ the integral in (13.2) can be infinite (11.9). The
function `tilted_on_grid` raises an error if the grid cuts off a part of the distribution. The
function `keep` raises one for $w < 0$, because $p(y | x)^w$ is then larger than 1 and is not a
probability.

**What goes wrong.** Figure 2 of the paper is easily taken for a picture of samples. It shows the
tilted distribution, which the chains of the same paper do not sample. A second mistake is to judge
guidance by a classifier alone. The classifier assigns a higher probability to the samples that
overshoot.

**Where it goes on.** Here every class has a single mode, and the classes are near each other. Step
14 asks what guidance does to a class with several modes, and what happens when classes are far
apart. Appendices I to M correct the chain so that it samples the tilted distribution.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 3.1, alg. 2 and fig. 2 (it gives no numbers
for its three Gaussians; radius 1.5 and variance 1/4 are choices of this course); von Neumann 1951,
NBS Appl. Math. 12:36 (rejection sampling); Chidambaram et al. 2024, arXiv:2409.13074 (a proof for
mixtures that guidance does not sample the tilted distribution).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import x0_from
from tutorial.step11_guidance import guide

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


def _on_grid(
    mixture: GaussianMixture, y: int, w: float, half: float, n: int
) -> tuple[Float[np.ndarray, "nn 2"], Float[np.ndarray, " nn"]]:
    """The points of a square grid, and the tilted density there, not normalised."""
    axis = np.linspace(-half, half, n)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    log_p_y = mixture.log_density(points, y)
    log_p = mixture.log_density(points)
    density = np.exp((1 + w) * log_p_y - w * log_p)
    return points, density


def tilted_on_grid(
    mixture: GaussianMixture, y: int, w: float, half: float = 4.0, n: int = 401
) -> tuple[Float[np.ndarray, "nn 2"], Float[np.ndarray, " nn"]]:
    """The tilted distribution of class `y` in 0..K-1, on a grid of `n` x `n` points.

    The grid covers the square from `-half` to `half`. Returns its points, (n * n, 2), row by row
    from the lowest, and the probability of each. The probabilities add up to 1; divided by the
    area of a cell, `(2 * half / (n - 1)) ** 2`, they are the density.

    Raises ValueError if more than 1e-5 lies on the edge, because about ten times as much would be
    missing outside.
    """
    points, density = _on_grid(mixture, y, w, half, n)
    probability = density / density.sum()  # (13.1)
    edge = probability[np.abs(points).max(1) > half * (1 - 1e-9)].sum()
    if not edge < 1e-5:
        raise ValueError(
            f"w = {w}: {edge:.1g} lies on the edge of half = {half}; take a larger half"
        )
    return points, probability


def tilted_mass(
    mixture: GaussianMixture, y: int, w: float, half: float = 4.0, n: int = 401
) -> float:
    """The number `Z` that normalises class `y` in 0..K-1, by the same sum."""
    _, density = _on_grid(mixture, y, w, half, n)
    h = 2 * half / (n - 1)
    return float(density.sum() * h**2)  # (13.2)


def moments_on_grid(
    points: Float[np.ndarray, "n 2"], weights: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "2 2"]]:
    """Mean and covariance of weighted points; the weights may have any positive sum."""
    probability = weights / weights.sum()
    mean = probability @ points
    away = points - mean
    cov = (probability[:, None] * away).T @ away
    return mean, cov


def keep(
    x: Float[np.ndarray, "n 2"],
    y: int,
    w: float,
    mixture: GaussianMixture,
    rng: np.random.Generator,
) -> Bool[np.ndarray, " n"]:
    """Which samples `x` of class `y` in 0..K-1 to keep, so that they are tilted; `w` >= 0."""
    if not w >= 0:
        raise ValueError(f"w = {w} is below 0, where p(y | x)^w is not a probability")
    log_p = mixture.log_class_probability(x)[:, y]
    probability = np.exp(w * log_p)
    return rng.random(len(x)) < probability  # (13.3)


def slope_in_w(
    f: Float[np.ndarray, " n"],
    y: int,
    mixture: GaussianMixture,
    points: Float[np.ndarray, "n 2"],
    probability: Float[np.ndarray, " n"],
) -> float:
    """The derivative in `w` of the tilted mean of `f`, whose values at `points` are given.

    `points` and `probability` are the result of `tilted_on_grid` for class `y` in 0..K-1.
    """
    log_p = mixture.log_class_probability(points)[:, y]
    mean = probability @ f
    covariance = probability @ ((f - mean) * log_p)  # (13.4)
    return float(covariance)


def step_without_noise(
    xt: Float[np.ndarray, "n D"], eps: Float[np.ndarray, "n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "n D"]:
    """`x_{t-1}` from `x_t` and a prediction of eps, for `t` in 1..T, with no fresh noise."""
    abar_prev = schedule.alpha_bar[schedule.check_t(t) - 1]
    x0hat = x0_from(eps, xt, t, schedule)
    return np.sqrt(abar_prev) * x0hat + np.sqrt(1 - abar_prev) * eps  # (13.5)


def steps_without_noise(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    schedule: Schedule,
    w: float,
    xT: Float[np.ndarray, "n D"],
) -> Iterator[tuple[int, Float[np.ndarray, "n D"]]]:
    """Yield `(t, x_t)` for t = T..0 from the initial noise `xT`, one chain per label in 0..K.

    `model` must predict eps.
    """
    null = np.full_like(y, model.num_classes)
    xt = xT
    yield schedule.T, xt
    for t in range(schedule.T, 0, -1):
        eps = guide(model(xt, t, y), model(xt, t, null), w)
        xt = step_without_noise(xt, eps, t, schedule)
        yield t - 1, xt


def summary(x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "3 2"]:
    """Mean height, variance across and variance along the height, each with its standard error."""
    square = (x - x.mean(0)) ** 2
    height = x[:, 1]
    across = square[:, 0]
    along = square[:, 1]
    each = np.stack([height, across, along])
    values = each.mean(1)  # M of (13.6), and V of (13.7) along two axes
    errors = each.std(1) / np.sqrt(len(x))
    return np.stack([values, errors], 1)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step13_tilted")
