r"""Appendix O. Replacing the null output: a worse model, a rescaled output, a random label

**The question.** Guidance subtracts $w$ times the output for the null label (step 11). In the toy
data of this course the guided samples of a class then overshoot its mean and have too little
variance, even if all predictions are exact (step 13). The overshoot comes from the null output,
which belongs to all classes and so to another mean. Can another output replace it? This appendix
examines three proposals: the output of a worse model for the same label, the null output multiplied
by a factor, and the output for a random label. The first can be exactly right. The other two fail
on exact predictions, each for a different reason.

**An example.** Suppose that a class is $N(0, 0.25)$, and that our network has learned the variance
0.3 in its place. A smaller network, trained on the same data, has learned 0.4. Neither samples the
class. Guide the better network away from the worse one with $w = 0.634$. The samples of DDIM with
many steps then have the variance 0.25, which neither network has learned. Where does the number
0.634 come from?

**Autoguidance.** Karras et al. guide a good model away from a bad one. Both are evaluated for the
same label $y$. Let $\epsilon_g$ and $\epsilon_b$ be their predictions of the noise. The mixture is

$$ \tilde\epsilon = \epsilon_g + w (\epsilon_g - \epsilon_b) $$ (O.1)

If the bad model is the good one without a label, this is plain guidance. For the calculation let
the class be $N(m, S I)$. The good model is exact for $N(m, S_g I)$, and the bad one for
$N(m, S_b I)$. A network with too little capacity or training often spreads its samples too widely,
so let $S \le S_g < S_b$. The means are right in both.

Step 20 wrote the step of DDIM for the state divided by its signal,
$\bar x = x_t / \sqrt{\bar\alpha_t}$. Let $\sigma = \sqrt{(1 - \bar\alpha_t) / \bar\alpha_t}$ be the
ratio of noise to signal. A step changes $\bar x$ by $\tilde\epsilon$ times the change of $\sigma$.
So in the limit of small steps DDIM solves $d\bar x / d\sigma = \tilde\epsilon$. What is the exact
prediction for $N(m, S I)$? The divided state is $\bar x = x_0 + \sigma \epsilon$. Along each axis
its covariance with $\epsilon$ is $\sigma$, and its variance is $S + \sigma^2$. For two Gaussian
numbers the conditional mean of one is its mean plus the distance of the other from its mean, times
the covariance divided by the variance of the other. The mean of $\epsilon$ is 0, so (as in (5.9)
and (5.14))

$$ \epsilon(x_t, y) = \sigma (\bar x - m) / (S + \sigma^2) $$

Insert it with $S_g$ and with $S_b$ into (O.1), and divide by $\bar x - m$. On the left this gives
the derivative of a logarithm, for each coordinate separately:

$$ d \log|\bar x - m| / d\sigma = (1 + w) \sigma / (S_g + \sigma^2) - w \sigma / (S_b + \sigma^2) $$

The integral of $\sigma / (S + \sigma^2)$ is $\log(S + \sigma^2) / 2$. The chain starts at $t = T$.
Let $\tau_T$ be $\sigma^2$ there. It ends at $\sigma = 0$, where $\bar x$ is the sample $x_0$. From
$\sigma^2 = \tau_T$ to 0 the integral of $\sigma / (S_g + \sigma^2)$ is
$A = \log(S_g / (S_g + \tau_T)) / 2$, and that of $\sigma / (S_b + \sigma^2)$ is
$B = \log(S_b / (S_b + \tau_T)) / 2$:

$$ \log|x_0 - m| - \log|\bar x_T - m| = (1 + w) A - w B $$

The term $-w B$ is $w$ times the logarithm of the reciprocal, because $-\log a = \log(1 / a)$. The
sign of $\bar x - m$ does not change on the way, because the derivative of its logarithm is finite.
So the exponential of both sides gives

$$ x_0 - m = (S_g / (S_g + \tau_T))^{(1 + w) / 2} ((S_b + \tau_T) / S_b)^{w / 2} (\bar x_T - m) $$

The chain starts from $x_T \sim N(0, I)$, so $\bar x_T$ has the variance
$1 / \bar\alpha_T = 1 + \tau_T$. The variance $V$ of the samples along each axis is therefore

$$ V = (1 + \tau_T) (S_g / (S_g + \tau_T))^{1 + w} ((S_b + \tau_T) / S_b)^w $$

A schedule that ends in almost pure noise has a large $\tau_T$. In the limit $\tau_T \to \infty$ its
powers cancel:

$$ V = S_g (S_g / S_b)^w $$ (O.2)

The mean of $\bar x_T - m$ is $-m$. In the formula for $x_0 - m$ its factor is
$\sqrt{V / (1 + \tau_T)}$, which tends to 0 as $\tau_T$ grows. So in this limit the samples have the
mean $m$ for every $w$. *There is no overshoot.* The variance falls with $w$ (left panel of the
figure). Is this an improvement? That depends on the good model. If it is exact, $S_g = S$, every
$w > 0$ makes the samples too narrow. If it is too wide, one $w$ makes the variance right. Set
$V = S$ in (O.2), take logarithms and solve:

$$ w^* = \log(S_g / S) / \log(S_b / S_g) $$ (O.3)

In the example $w^* = \log(0.3 / 0.25) / \log(0.4 / 0.3) = 0.1823 / 0.2877 = 0.634$. The bad model
has the error of the good one to a larger degree. On the scale of $\log S$, the weight is the
distance from the class to the good model, divided by the distance from the good model to the bad
one.

**ReCFG.** Xia et al. use the null output $\epsilon_\phi$ of the network and multiply it by a factor
$\rho$. The output with the label is $\epsilon_y$:

$$ \tilde\epsilon = (1 + w) \epsilon_y - w \rho \epsilon_\phi $$ (O.4)

Plain guidance has $\rho = 1$. Over noised data of the class, $x_t \sim q(x_t | y)$, the mean of the
mixture is

$$ E[\tilde\epsilon] = (1 + w) E[\epsilon_y] - w \rho E[\epsilon_\phi] $$

The authors choose $\rho$, separately for every coordinate and every $t$, so that this is
$E[\epsilon_y]$. The mixture then has the mean of the conditional model. For this the two terms with
$w$ must cancel, so

$$ \rho = E[\epsilon_y] / E[\epsilon_\phi], \quad x_t \sim q(x_t | y) $$ (O.5)

What is this ratio for exact predictions? The prediction $\epsilon_y$ is a conditional mean, and the
noise was drawn independently of the class:

$$ E[\epsilon_y] = E[E[\epsilon | x_t, y] | y] = E[\epsilon | y] = 0 $$

So the exact ratio is 0 in every coordinate in which $E[\epsilon_\phi]$ is not 0. (This observation
is not in the paper.) Where both means are 0, (O.5) is 0 / 0, and every $\rho$ keeps the mean. An
example is the horizontal coordinate of the top class of step 1, by symmetry. A ratio that is
measured there from samples is a quotient of two random errors. We use the ratio 0 in all
coordinates. Then no term with the null output is left, and the mixture is $1 + w$ times the
prediction of the class. The integral above, with $S$ for $S_g$ and without $S_b$, gives the
variance

$$ V = (1 + \tau_T) (S / (S + \tau_T))^{1 + w} $$ (O.6)

For $w > 0$ it tends to 0 as $\tau_T$ grows: all samples are the mean of the class. For a trained
network the measured ratio need not be 0. It then measures the errors of the network and the random
error of the mean over samples. So exact predictions cannot explain the effect of ReCFG on a trained
network.

**A random label.** A network that was trained without label dropping has no null output. Sadat et
al. propose independent condition guidance (ICG): replace the null label by a label $y'$ that is
drawn independently of $x_t$. Let $\pi_y$ be the fraction of class $y$ in the data. If $y'$ has
these probabilities, the mean of the replaced output is

$$ \bar\epsilon = \sum_y \pi_y \epsilon(x_t, y) $$ (O.7)

Is it the null output? By (9.3) the null output is also a mean over labels, but its weights are the
probabilities of the classes given $x_t$. The difference is

$$ \epsilon_\phi - \bar\epsilon = \sum_y (p(y | x_t) - \pi_y) \epsilon(x_t, y) $$ (O.8)

At large $t$ the state shows almost nothing of its class. Then $p(y | x_t)$ is close to $\pi_y$, and
the two means agree. Near the data the weights differ: if the classes overlap little, $p(y | x_t)$
is close to 1 for one class. The table measures by how much a label changes the prediction, against
both means. The first row is $E|\epsilon_y - \epsilon_\phi|^2$, and the second is
$E|\epsilon_y - \bar\epsilon|^2$. The means are over noised data $x_t$ of the three Gaussians of
step 1 with their labels, on the cosine schedule with $T = 100$ (the middle panel shows the roots):

| t | 1 | 20 | 40 | 50 | 80 | 100 |
|---|---|---|---|---|---|---|
| against the null output | 0.0005 | 0.125 | 0.526 | 0.617 | 0.198 | 0.000 |
| against the mean over random labels | 0.0226 | 1.928 | 1.941 | 1.419 | 0.222 | 0.000 |

At $t = 80$ the second row is larger by an eighth, and at $t = 20$ it is 15 times as large. What
does this do to samples? Let all classes have the same covariance $S I$, let $\mu_y$ be their means,
and let $\bar\mu = \sum_y \pi_y \mu_y$. The predictions are then affine in the mean, so averaging
them averages the means:

$$ \bar\epsilon = \sigma (\bar x - \bar\mu) / (S + \sigma^2) $$
$$ \epsilon_y + w (\epsilon_y - \bar\epsilon) = \sigma (\bar x - m_w) / (S + \sigma^2) $$

with $m_w = \mu_y + w (\mu_y - \bar\mu)$. This is the exact prediction for a class of variance $S$
and mean $m_w$. A solver that starts from pure noise, $\bar\alpha_T$ close to 0, therefore samples
the moved class, up to its own error of finite steps:

$$ x_0 \sim N(\mu_y + w (\mu_y - \bar\mu), S I) $$ (O.9)

For $w = 3$ the top class moves from the height 1.5 to 6.0, where there are no data. The null output
limits the shift: as soon as $x_t$ shows its class, $\epsilon_y - \epsilon_\phi$ vanishes.

**Measured.** The samples are those of the table in step 20: the top class with variance 0.25 on
each axis, 50 rows of DDIM, $T = 1000$, and 4000 samples. Across is the horizontal direction, and
along is the vertical one, in which the height is measured. The standard errors of the heights are
below 0.011, and those of the variances are about 2 % ($\sqrt{2 / 4000}$ for a Gaussian). The
conditional model alone has the variances 0.239 and 0.233, because 50 rows lose a part of 0.25 (step
17).

| rule | mean height | variance across | variance along |
|---|---|---|---|
| plain guidance, $w = 3$ | 2.37 | 0.137 | 0.079 |
| autoguidance, $S_g = 0.25$, $S_b = 0.5$, $w = 1$ | 1.50 | 0.118 | 0.114 |
| autoguidance, $S_g = 0.25$, $S_b = 0.5$, $w = 3$ | 1.50 | 0.028 | 0.027 |
| good model alone, $S_g = 0.3$ | 1.50 | 0.288 | 0.280 |
| autoguidance, $S_g = 0.3$, $S_b = 0.4$, $w = 0.634$ | 1.50 | 0.239 | 0.233 |
| ReCFG, $\rho = 0.5$, $w = 3$ | 1.60 | 0.036 | 0.024 |
| ReCFG, $\rho = 0$, $w = 3$ | 1.50 | 0.000 | 0.000 |
| mean over random labels, $w = 1$ | 3.00 | 0.239 | 0.233 |
| one random label per row, $w = 1$ | 3.00 | 0.263 | 0.258 |

With $w^*$ the two wrong models have the variances of the exact one (right panel). A label that is
drawn anew in each row adds to $\bar\epsilon$ an error of mean 0, independently of the other rows. A
row multiplies its error by $w$ and by the change of $\sigma$. So the added variance is a sum of
terms with the square of this change, and it tends to 0 as the rows become finer. For $w = 3$ the
variance is 0.46 with 50 rows and 0.30 with 200 rows (mean of both axes, standard errors of 1.6 %).

**At the boundary.** For $w = 0$ autoguidance is the good model and the other rules are the
conditional model. With $\rho = 1$ ReCFG is plain guidance. With $S_g = S_b$ autoguidance has no
effect at any $w$. The weight $w^*$ depends on $S$. If each model multiplies all variances by a
constant, one weight is right for all axes. If each adds a constant to all variances, as blurring
does, the weight differs between axes. For example, adding 0.05 and 0.15 gives $w^* = 0.634$ at
$S = 0.25$ and 0.536 at $S = 1$.

**What goes wrong.** Autoguidance is tested with exact predictions and rejected, although there was
nothing to repair. The bad model is evaluated for the null label, which brings the overshoot back,
because this output belongs to the mean of all classes. A ratio of ReCFG that was measured with one
network is used with another. The word independent in ICG is taken to mean that the output for $y'$
is the null output. The program draws $y'$ independently of $x_t$. But the output for $y'$ is a
conditional mean over training data, in which $x_t$ depends on the label.

**Where it goes on.** All guidance so far takes two evaluations of a network per step. Appendix P
trains a network that takes only one.

**Source.** Karras et al. 2024, arXiv:2406.02507 (autoguidance). Xia et al. 2024, arXiv:2410.18737
(ReCFG). Sadat et al. 2024, arXiv:2407.02687 (ICG; the authors report results on images that equal
those of plain guidance). (O.2), (O.3), (O.6) and (O.9) are derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import noised, oracle_eps
from tutorial.step11_guidance import guide
from tutorial.step17_solvers import ddim, run

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Autoguided:
    """A denoiser for chains with the labels `y`. For the null label it returns the bad model."""

    good: Denoiser
    bad: Denoiser
    y: Int[np.ndarray, " n"]

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
        return self.good.num_classes

    @property
    def prediction(self) -> str:
        """The unit in which both models predict."""
        return self.good.prediction

    def __call__(
        self, xt: Float[np.ndarray, "n D"], t: int, y: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n D"]:
        """The good model's output; in rows with the null label, the bad one's for `self.y`."""
        is_null = (y == self.num_classes)[:, None]
        good = self.good(xt, t, y)
        bad = self.bad(xt, t, self.y)
        return np.where(is_null, bad, good)  # (O.1)


def autoguided_var(S_good: float, S_bad: float, w: float) -> float:
    """The variance of autoguided samples, for DDIM with fine steps from pure noise.

    The two models are exact for N(m, S_good I) and N(m, S_bad I).
    """
    return S_good * (S_good / S_bad) ** w  # (O.2)


def right_weight(S: float, S_good: float, S_bad: float) -> float:
    """The weight with which autoguided samples have the variance `S`, for S <= S_good < S_bad."""
    if not 0 < S <= S_good < S_bad:
        raise ValueError(
            f"S = {S}, S_good = {S_good}, S_bad = {S_bad}: they must satisfy "
            "0 < S <= S_good < S_bad"
        )
    return float(np.log(S_good / S) / np.log(S_bad / S_good))  # (O.3)


def recfg(
    cond: Float[np.ndarray, "n *D"],
    null: Float[np.ndarray, "n *D"],
    w: float,
    *_: object,
    rho: float | Float[np.ndarray, " D"] = 1.0,
) -> Float[np.ndarray, "n *D"]:
    """The mixture of ReCFG from two outputs in units of eps. `rho` = 1 is plain guidance."""
    return guide(cond, rho * null, w)  # (O.4)


def ratio(
    cond: Float[np.ndarray, "n D"], null: Float[np.ndarray, "n D"]
) -> Float[np.ndarray, " D"]:
    """The ratio `rho` of each coordinate, from both outputs at noised data of one class."""
    return cond.mean(0) / null.mean(0)  # (O.5)


def recfg_var(S: float, tau: float, w: float) -> float:
    """The variance of ReCFG with the exact ratio 0, for DDIM with fine steps.

    `tau` is tau_T, the variance of the noise divided by that of the signal at t = T.
    """
    return (1 + tau) * (S / (S + tau)) ** (1 + w)  # (O.6)


def mean_over_labels(
    model: Denoiser, xt: Float[np.ndarray, "n D"], t: int, weights: Float[np.ndarray, " K"]
) -> Float[np.ndarray, "n D"]:
    """The mean output for a label that is drawn with the probabilities `weights`."""
    total = np.zeros_like(xt)
    for k, weight in enumerate(weights):
        y = np.full(len(xt), k)
        total += weight * model(xt, t, y)  # (O.7)
    return total


def gap(
    xt: Float[np.ndarray, "n 2"], t: int, mixture: GaussianMixture, schedule: Schedule
) -> Float[np.ndarray, "n 2"]:
    """The exact output for the null label minus the mean over random labels."""
    model = oracle_eps(mixture, schedule)
    p = np.exp(noised(mixture, t, schedule).log_class_probability(xt))
    total = np.zeros_like(xt)
    for k, pi in enumerate(mixture.weights):
        y = np.full(len(xt), k)
        total += (p[:, k, None] - pi) * model(xt, t, y)  # (O.8)
    return total


@dataclass(frozen=True, eq=False)
class RandomLabel:
    """A denoiser that draws a label of probability `weights` where it is given the null label.

    Without `rng` it returns the mean over these labels instead.
    """

    model: Denoiser
    weights: Float[np.ndarray, " K"]
    rng: np.random.Generator | None = None

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
        return self.model.num_classes

    @property
    def prediction(self) -> str:
        """The unit of the model."""
        return self.model.prediction

    def __call__(
        self, xt: Float[np.ndarray, "n D"], t: int, y: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n D"]:
        """The model's output, in rows with the null label for a random label."""
        is_null = y == self.num_classes
        if self.rng is None:
            mean = mean_over_labels(self.model, xt, t, self.weights)
            cond = self.model(xt, t, y)
            return np.where(is_null[:, None], mean, cond)
        drawn = self.rng.choice(self.num_classes, len(y), p=self.weights)
        return self.model(xt, t, np.where(is_null, drawn, y))


def independent_law(given_y: Gaussian, mean_all: Float[np.ndarray, " D"], w: float) -> Gaussian:
    """The distribution of samples guided with the mean over random labels.

    The class is `given_y`, all classes have its variance, and the mean of all data is `mean_all`.
    """
    mean = given_y.mean + w * (given_y.mean - mean_all)  # (O.9)
    return Gaussian(mean, given_y.var)


def autoguided(
    w: float, var_good: float = 0.25, var_bad: float = 0.5, n: int = 4000
) -> Float[np.ndarray, "n 2"]:
    """The top class by two oracles, of classes with other variances than the true 0.25."""
    data = three_gaussians()
    schedule = Schedule.cosine(1000)
    y = np.zeros(n, int)
    good = oracle_eps(with_var(data, var_good), schedule)
    bad = oracle_eps(with_var(data, var_bad), schedule)
    model = Autoguided(good, bad, y)
    return run(model, y, ddim(schedule, 50), w, np.random.default_rng(0))


def with_var(mixture: GaussianMixture, var: float) -> GaussianMixture:
    """The mixture with the covariance `var` times I in each class."""
    covs = np.tile(var * np.eye(2), (mixture.num_classes, 1, 1))
    return GaussianMixture(mixture.means, covs, mixture.weights)


def random_label(
    w: float, drawn: bool = True, rows: int = 50, n: int = 4000
) -> Float[np.ndarray, "n 2"]:
    """The top class, guided by a label that is drawn in each row, or by the mean over labels."""
    data = three_gaussians()
    schedule = Schedule.cosine(1000)
    y = np.zeros(n, int)
    rng = np.random.default_rng(1) if drawn else None
    model = RandomLabel(oracle_eps(data, schedule), data.weights, rng)
    return run(model, y, ddim(schedule, rows), w, np.random.default_rng(0))


def both_eps(
    t: int, n: int, schedule: Schedule
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]]:
    """The exact outputs with the label and without it, at `n` noised points of the top class."""
    data = three_gaussians()
    rng = np.random.default_rng(0)
    y = np.zeros(n, int)
    x0 = data.means[0] + 0.5 * rng.standard_normal((n, 2))
    eps = rng.standard_normal((n, 2))
    xt = xt_from_x0(x0, eps, t, schedule)
    model = oracle_eps(data, schedule)
    null = np.full(n, model.num_classes)
    return model(xt, t, y), model(xt, t, null)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.o_null")
