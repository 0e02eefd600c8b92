r"""Step 13. The tilted law: what guidance is meant to sample.

**Claim.** At $t = 0$ the tilt of step 11 is a law of data: the class, and the more of each $x$ the
surer a classifier is of it. It is what larger $w$ is meant to give, and it is no secret:

$$ p_w(x | y) = p(x | y)^{1 + w} p(x)^{-w} / Z $$ (13.1)
$$ Z = \pi_y^{-w} E[p(y | x)^w | y] $$ (13.2)

(13.2) is (11.8) added up over all $x$. In the plane a sum over a square grid of step $h$ does that.
On a Gaussian of variance $v$ such a sum errs by a share of at most about $4 e^{-2 \pi^2 v / h^2}$:
for $v = 1/4$ that is 0.0002 at the crude $h = 0.7$, and nothing at the $h = 0.02$ used here. All
that is left is the mass outside the square.

**Figure 2 of the paper** shows three Gaussians, one a class, and next to them the mean over $y$ of
$p_w(x | y)$ for larger and larger $w$. These are densities, with $Z$ found by such a sum. No
sampler was run for them; the second half of this step does.

**By hand.** There is a sampler of this law without any noise to remove. For $w \ge 0$ draw from the
class, ask the classifier, and

$$ \text{keep } x \sim p(x | y) \text{ with probability } p(y | x)^w $$ (13.3)

What is kept has a density proportional to $p(x | y) p(y | x)^w$, which is (13.1); the share kept is
$Z \pi_y^w$. In `three_gaussians` that is 98.6% at $w = 1$ and 97.5% at $w = 3$: *the tilted law is
the class without its few doubtful members*. Nobody is moved.

**What more $w$ does.** $\log p_w$ is $w \log p(y | x)$ plus terms of $x$ alone or of $w$ alone. Its
slope in $w$ is therefore $\log p(y | x)$ less the mean of that, and for any $f$

$$ d E_w[f(x)] / d w = Cov_w(f(x), \log p(y | x)) $$ (13.4)

For $f = \log p(y | x)$ the right side is a variance: samples of the tilted law look more like their
class with every bit of $w$. For $f = x$ it is small as soon as the doubtful are gone. The classes
are 5 standard deviations apart, and for most of a class $\log p(y | x)$ is next to 0: the tilt has
nothing to choose by. The top class moves from a height of 1.5 to 1.526 at $w = 3$.

**Boundary.** $w = 0$ is the class, and $w = -1$ all data. Below that there may be no $Z$ (11.9). A
law that the grid cuts off is refused, and so is (13.3) for $w < 0$, where it is no probability.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 3.1 and fig. 2, which gives no numbers of
its three Gaussians; von Neumann 1951, NBS Appl. Math. 12:36 (13.3).

**Overshoot and shrinkage: what guided chains sample, with exact outputs.**

**Claim.** Not the tilted law. Let a chain have the oracle for a network, and look at the samples of
one class: their mean $M$, measured from the middle of all data, and a variance $V$. For $w > 0$, in
the three Gaussians here and in the two of appendix H,

$$ M_{tilted} < M_{alg. 2} < M_{DDIM} $$ (13.5)
$$ V_{tilted} > V_{alg. 2} > V_{DDIM} $$ (13.6)

**The figures.** The top class of `three_gaussians`, 256 steps of log SNR from -20 to 20, $v = 0.3$.
Height, and in brackets the variance across and along it:

| w | tilted law | Algorithm 2 (step 16) | DDIM (step 17) |
|---|---|---|---|
| 0 | 1.500 (.250, .250) | 1.500 (.245, .245) | 1.500 (.247, .247) |
| 1 | 1.515 (.244, .235) | 1.678 (.224, .203) | 1.914 (.173, .126) |
| 3 | 1.526 (.241, .226) | 1.797 (.221, .198) | 2.365 (.141, .083) |

All are sums over grids, good to their last digit (the chains': see the tests). 40,000 samples have
standard errors of .0025 and less, and agree with all of it.

**It is not the number of steps.** With 1,024 of them Algorithm 2 comes to 1.677 (.228, .206) at
$w = 1$, and DDIM to 1.914 (.175, .128). Finite steps cost every chain a little of its spread
(step 7), at $w = 0$ too: there it is all that is wrong. Appendix H goes to the limit in closed
form.

**Why.** The tilt asks a classifier of $x_0$, which is sure of nearly everyone and then says nothing
more. A chain asks one of $x_t$, at every $t$. Early in the chain that is sure of nobody, so it
pulls everybody outwards (10.5), whether or not they will need it. At each $t$ between the ends
guidance aims too far out (11.11) and too narrow (11.10). No later step takes that back: late in
the chain, and well inside the class, guidance adds nothing, neither outwards nor inwards.

DDIM keeps all of every pull. Each step of Algorithm 2 replaces a part of $x_t$ by new noise, and
with it a part of what the pulls have done. Appendix I says what it is pulled back to.

**What it costs.** The tilted law is the class without its doubtful members (13.3). At $w = 3$
about half of DDIM's samples are above 2.37, where the class has 4% of its own, and their variance
along the height is a third of the class's. They look more like the class to a classifier, and they
are less like the class.

**Boundary.** At $w = 0$ all three are the class, at $w = -1$ all data. Between the two the signs of
(13.5) and (13.6) are the other way round: chains fall short, and spread.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, alg. 2; Chidambaram et al. 2024,
arXiv:2409.13074 (proof, for mixtures, that guidance does not sample the tilted law).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step01_toy_data import GaussianMixture

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def _on_grid(
    mixture: GaussianMixture, y: int, w: float, half: float, n: int
) -> tuple[Float[np.ndarray, "nn 2"], Float[np.ndarray, " nn"]]:
    """The points of a square grid, and the tilted density there, not normalised."""
    axis = np.linspace(-half, half, n)
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    log_of_class = mixture.log_density(points, y)
    log_of_all = mixture.log_density(points)
    return points, np.exp((1 + w) * log_of_class - w * log_of_all)


def tilted_on_grid(
    mixture: GaussianMixture, y: int, w: float, half: float = 4.0, n: int = 401
) -> tuple[Float[np.ndarray, "nn 2"], Float[np.ndarray, " nn"]]:
    """The tilted law of class `y` in 0..K-1, on `n` x `n` points of the square -half..half.

    Returns the points, (n * n, 2), row by row from the lowest, and the probability of each. These
    add up to 1; over a cell's area, `(2 * half / (n - 1)) ** 2`, they are the density. Refused if
    more than 1e-5 lies on the edge: about ten times that would be missing outside.
    """
    points, density = _on_grid(mixture, y, w, half, n)
    probability = density / density.sum()  # (13.1)
    edge = probability[np.abs(points).max(1) > half * (1 - 1e-9)].sum()
    if not edge < 1e-5:
        raise ValueError(f"w = {w}: {edge:.1g} of the law lies on the edge of half = {half}")
    return points, probability


def tilted_mass(
    mixture: GaussianMixture, y: int, w: float, half: float = 4.0, n: int = 401
) -> float:
    """`Z` of class `y` in 0..K-1, by the same sum."""
    _, density = _on_grid(mixture, y, w, half, n)
    h = 2 * half / (n - 1)
    return float(density.sum() * h**2)  # (13.2)


def moments_on_grid(
    points: Float[np.ndarray, "n 2"], weights: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "2 2"]]:
    """Mean and covariance of points that have probabilities, or weights of any positive sum."""
    share = weights / weights.sum()
    mean = share @ points
    off = points - mean
    cov = (share[:, None] * off).T @ off
    return mean, cov


def keep(
    x: Float[np.ndarray, "n 2"],
    y: int,
    w: float,
    mixture: GaussianMixture,
    rng: np.random.Generator,
) -> Bool[np.ndarray, " n"]:
    """Which samples `x` of class `y` in 0..K-1 stay, so that they have the tilted law; `w` >= 0."""
    if not w >= 0:
        raise ValueError(f"w = {w} is below 0, where p(y | x)^w is no probability")
    chance = np.exp(w * mixture.log_class_probability(x)[:, y])
    return rng.random(len(x)) < chance  # (13.3)


def slope_in_w(
    f: Float[np.ndarray, " n"],
    y: int,
    mixture: GaussianMixture,
    points: Float[np.ndarray, "n 2"],
    probability: Float[np.ndarray, " n"],
) -> float:
    """How fast the tilted mean of `f`, given as its values at `points`, grows with `w`."""
    log_p = mixture.log_class_probability(points)[:, y]
    mean = probability @ f
    return float(probability @ ((f - mean) * log_p))  # (13.4)


def summary(x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "3 2"]:
    """Height, variance across and variance along it, each with its standard error."""
    square = (x - x.mean(0)) ** 2
    each = np.stack([x[:, 1], square[:, 0], square[:, 1]])
    values = each.mean(1)  # M of (13.5) and V of (13.6), across and along
    errors = each.std(1) / len(x) ** 0.5
    return np.stack([values, errors], 1)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step13_tilted")
