r"""Step 02. The forward step: a little less data, a little more noise

**The question.** We need a chain that begins with a data point, $x_0$, and ends with pure noise,
$x_T$. It should be made of $T$ small steps, because a small step is easier to undo than a large one
(step 6). Each step should use only the current state and fresh noise, so that we know its
distribution exactly. The simplest step of this kind multiplies the state by a number and adds
Gaussian noise of mean 0. It has two coefficients: the number, and the variance of the noise. How
should we choose them?

**One condition fixes one of them.** The chain should end in a distribution from which we can draw
without the data. We choose the standard normal distribution. Once the chain has reached it,
further steps should not change it. So consider one coordinate of a state that has mean 0 and
variance 1. Let the step multiply it by a number $a$ and add noise of variance $\beta$. The
variance is multiplied by $a^2$, and the variances of independent terms add. The new variance must
again be 1. (The distribution then stays the same too, because the sum of two independent
Gaussians is Gaussian.)

$$ a^2 \cdot 1 + \beta = 1 $$

We take the positive root, $a = \sqrt{1 - \beta}$, and one number per step is left to choose. At
step $t$ it is called $\beta_t$, and it lies between 0 and 1. If the state has variance 1, then
$\beta_t$ is the fraction of this variance that the step replaces with noise.

**The step.** Given one state, the next is Gaussian. The whole chain is called the forward
process, and its distributions are written with the letter $q$:

$$ q(x_t | x_{t-1}) = N(x_t; \sqrt{1 - \beta_t} x_{t-1}, \beta_t I) $$ (2.1)

Here $N(x; m, v I)$ is the density at $x$ of a Gaussian with mean $m$. Its coordinates are
independent and all have variance $v$. So the density is a product of one-dimensional densities,
one per coordinate, and its logarithm is a sum over the coordinates $i$:

$$ \log N(x; m, v I) = -\tfrac{1}{2} \sum_i ((x_i - m_i)^2 / v + \log(2 \pi v)) $$ (2.2)

For example, let $\beta_t$ be 0.36 and let the state be (1, 0). The factor is the root of 0.64,
which is 0.8. So the next state has the mean (0.8, 0), and the standard deviation 0.6 in each
coordinate. To draw it, we draw a standard normal $z$ and compute $0.8 x_{t-1} + 0.6 z$.

**What one step does to data.** The variance of real data need not be 1. What does the step do to
the mean and the variance of other data? We write (2.1) as a formula for drawing, with a standard
normal $z$ that is independent of $x_{t-1}$:

$$ x_t = \sqrt{1 - \beta_t} x_{t-1} + \sqrt{\beta_t} z $$

Expectations add, and $z$ has mean 0. Variances of independent terms add, and a factor is squared
when it is taken out of a variance. The following holds for each coordinate, and for any
distribution of $x_{t-1}$ with a finite variance:

$$ E[x_t] = \sqrt{1 - \beta_t} E[x_{t-1}] $$ (2.3)
$$ Var(x_t) = (1 - \beta_t) Var(x_{t-1}) + \beta_t $$ (2.4)

In the example, data of variance 1/4 have the variance 0.64 / 4 + 0.36 = 0.52 after the step. The
mean moves towards 0, and the variance towards 1, from below or from above. To see how fast, we
subtract 1 from both sides of (2.4) and collect the terms:

$$ Var(x_t) - 1 = (1 - \beta_t) Var(x_{t-1}) - (1 - \beta_t) $$
$$ Var(x_t) - 1 = (1 - \beta_t) (Var(x_{t-1}) - 1) $$ (2.5)

So each step multiplies the difference between the variance and 1 by $1 - \beta_t$. In the example
the difference goes from -0.75 to 0.64 · (-0.75) = -0.48. Data of variance 1 keep their variance at
every $t$. For this reason the process is called variance preserving. It is useful in practice as
well: if the data are scaled to variance 1, a network gets inputs of the same scale at every $t$.

**Many steps.** The numbers $1 - \beta_t$ and their products appear everywhere in this course, so
both have their own letters:

$$ \alpha_t = 1 - \beta_t $$ (2.6)
$$ \bar\alpha_t = \alpha_1 \alpha_2 \cdots \alpha_t $$ (2.7)

By (2.5), step 1 multiplies $Var(x_0) - 1$ by $\alpha_1$, step 2 multiplies the result by
$\alpha_2$, and so on. After step $t$ the factor is $\bar\alpha_t$:

$$ Var(x_t) - 1 = \bar\alpha_t (Var(x_0) - 1) $$
$$ Var(x_t) = \bar\alpha_t Var(x_0) + (1 - \bar\alpha_t) $$ (2.8)

This shows what $\bar\alpha_t$ means. The variance of $x_t$ has two parts. The first comes from the
data and the second is noise. For data of variance 1, the part of the data is the fraction
$\bar\alpha_t$ of the whole. Applying (2.3) at each step shows in the same way that the mean is
multiplied by $\sqrt{\bar\alpha_t}$. The covariance matrix obeys (2.4) with $\beta_t I$ in the place
of $\beta_t$, because the noises of different coordinates are independent. So the covariance matrix
is $\bar\alpha_t S + (1 - \bar\alpha_t) I$, with the matrix $S$ of step 1. If $\bar\alpha_T$ is near
0, the mean and the covariance end near those of pure noise. Step 3 shows that the whole
distribution does.

**Memory.** How similar are neighbours in the chain? The measure is their correlation, the
covariance divided by both standard deviations. The noise of a step is independent of $x_{t-1}$. So
the covariance of $x_{t-1}$ and $x_t$ is $\sqrt{1 - \beta_t} Var(x_{t-1})$. For data of variance 1
both states have variance 1, and the correlation is equal to the factor:

$$ Corr(x_{t-1}, x_t) = \sqrt{1 - \beta_t} $$ (2.9)

With $\beta_t = 0.01$ it is 0.995, so a small step changes little. The chain is a Markov chain:
given $x_{t-1}$, the state $x_t$ does not depend on earlier states. Step 4 will use this property.

**The schedule.** Which numbers $\beta_1, \dots, \beta_T$ should we choose? Such a list is called a
schedule. The steps should be small, and together they should bring $\bar\alpha_T$ near 0. To
compare schedules we use the logarithm of the ratio of the two parts in (2.8), for data of unit
variance. It is called the log signal-to-noise ratio, `log_snr` in the code:

$$ \lambda_t = \log(\bar\alpha_t / (1 - \bar\alpha_t)) $$ (2.10)

It is infinite at $t = 0$, falls with every step, and is 0 where data and noise have equal parts.

Two schedules are in common use, and this course uses both. In the linear schedule $\beta_t$ grows
linearly with $t$. Ho et al. (2020) chose $T = 1000$ and values from 0.0001 to 0.02. For another $T$
all values are multiplied by $1000 / T$, so that fewer steps are larger steps.

$$ \beta_t = (1000 / T) (10^{-4} + (0.02 - 10^{-4}) (t - 1) / (T - 1)) $$ (2.11)

The cosine schedule of Nichol and Dhariwal (2021) prescribes $\bar\alpha_t$ instead. As in step 0,
it is the squared cosine of an angle that grows linearly with $t$ and ends at 90 degrees. But 0.008
is added to $t / T$, so the angle begins at 0.7 degrees. To make $\bar\alpha_0 = 1$ nevertheless,
the squared cosine is divided by its value at $t = 0$. For $T = 1000$ this offset raises the first
$\beta$ from 2.5e-6 to 4.1e-5. The first noise then has a standard deviation of 0.0064. The authors
chose the offset to make this slightly smaller than 1 / 127.5. That is the distance between two
neighbouring grey levels of a picture, if its 256 levels are scaled to the interval from -1 to 1.
The $\beta_t$ follow from the ratio of neighbours in the table, which is $\alpha_t$ by (2.7).

$$ \bar\alpha_t = f(t) / f(0), \quad f(t) = \cos^2((t / T + 0.008) / 1.008 \cdot \pi / 2) $$ (2.12)

The figure compares the two for $T = 1000$ and data of variance 1. On the linear schedule, half of
the variance is noise after about a quarter of the steps, and more than 99 % in the last 327 steps.
These steps are spent on states that are nearly pure noise. On the cosine schedule, half of the
variance is noise after half of the steps, and more than 99 % only in the last 65. Its last steps
are large. Close to 90 degrees the squared cosine is about the square of the remaining angle, in
radians. In the last step but one this angle is halved, so $\bar\alpha_t$ falls to a quarter and
$\beta_t$ is 0.75. Hardly any data are left in these states, so such large steps do little harm. At
$t = T$ the log signal-to-noise ratio is -10.1 on the linear schedule and -19.8 on the cosine
schedule.

How near to 0 does $\bar\alpha_T$ come on the linear schedule? The answer depends on $T$. Let
$T > 20$, so that the cap described below does not apply. By (2.11) the sum of all $\beta_t$ is then
the same for every $T$: $T$ times the mean of the first and the last, which is 1000 (0.0001 + 0.02)
/ 2 = 10.05. The logarithm of $\bar\alpha_T$ is the sum of all $\log(1 - \beta_t)$, and each of
these is at most $-\beta_t$. So the logarithm is at most -10.05, and $\bar\alpha_T$ is at most
$e^{-10.05}$, which is 4.3e-5. It comes near to this bound when all $\beta_t$ are small: it is
4.0e-5 for $T = 1000$. In a shorter chain the $\beta_t$ are larger, and $\bar\alpha_T$ is smaller:
2.0e-5 for $T = 100$, and 8.0e-9 for $T = 21$. So linear chains of different lengths do not end
equally near to pure noise.

In both schedules $\beta_t$ is limited to at most 0.999. Without this cap $\bar\alpha_T$ would be
0 in (2.12), and step 5 divides by its root. On the cosine schedule the cap applies to the last
step only: there $\bar\alpha_T$ is not given by (2.12), but is 0.001 times the entry before it,
2.4e-9 for $T = 1000$. On the linear schedule the last $\beta$ is $20 / T$ by (2.11), so the cap
applies when $T$ is between 2 and 20. For $T = 1$ the fraction in (2.11) would be 0 / 0. It is taken
as 0, so the single $\beta$ is $1000 \cdot 0.0001 = 0.1$.

**At the boundaries.** The two ends of the range of $\beta_t$ show what a step can do. At one end
it changes nothing, and at the other it removes all information about the state. The steps of a
schedule lie between the two, without the ends.

$$ \beta_t = 0: x_t = x_{t-1}, \quad \beta_t = 1: x_t = z $$ (2.13)

Tables in this course have $T + 1$ entries, and $t$ is the index. Entry 0 describes the data,
before any step:

$$ \beta_0 = 0, \quad \bar\alpha_0 = 1, \quad \lambda_0 = +\infty $$ (2.14)

**What goes wrong.** Two wrong factors look plausible. The first is 1: noise is added and nothing
shrinks. Then the variance grows at every step, by the $\beta_t$ of the step. Such a process can be
used too, and is called variance exploding. But the scale of its states grows with $t$, so they have
to be rescaled before a network can use them. The second wrong factor is $1 - \beta_t$, without the
root. Then the state shrinks too much. Let $\beta$ be constant. Each step maps the variance $v$ to
$(1 - \beta)^2 v + \beta$. So the variance converges to the solution of
$v = (1 - \beta)^2 v + \beta$, which is $1 / (2 - \beta)$. For small $\beta$ this is close to one
half. The figure shows both mistakes. Two others are frequent. One is to multiply the noise by
$\beta_t$ in place of its root. If $\beta$ is constant, and the factor of the state is right, each
step maps the variance $v$ to $(1 - \beta) v + \beta^2$. So the variance converges to $\beta$, which
is far below 1. The other is to store the table from $t = 1$ on, in an array whose index begins at
0, and to read it at index $t$. Then step 1 uses the noise of step 2, and only step $T$ ends in an
error.

**Where it goes on.** The chain needs 500 steps to reach the state at time 500. Training will need
millions of noisy points at random times. Step 3 asks whether a time can be reached in one draw.
(The small steps remain important: the way back is made of them.)

**Source.** Sohl-Dickstein et al. 2015, arXiv:1503.03585 (the process); Ho et al. 2020,
arXiv:2006.11239, eq. 2 and sec. 4 (linear); Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 17
(cosine); Kingma et al. 2021, arXiv:2107.00630 (log SNR); Song et al. 2021, arXiv:2011.13456 (the
names "variance preserving" and "variance exploding").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Schedule:
    """A noise schedule: the table of `beta`, and the tables that follow from it.

    All tables have the shape (T + 1,), and their index is t.

    Args:
        beta: 0 at t = 0, and between 0 and 1 (both excluded) at t = 1..T.

    Raises:
        ValueError: `beta` does not satisfy these conditions, or has no step.
    """

    beta: Float[np.ndarray, " T1"]

    def __post_init__(self) -> None:
        """Check the table."""
        if len(self.beta) < 2 or self.beta[0] != 0:  # (2.14)
            raise ValueError(f"beta = {self.beta[:2]}: it must be 0 at t = 0, with a step after it")
        steps = self.beta[1:]
        wrong = ~((steps > 0) & (steps < 1))
        if wrong.any():
            raise ValueError(f"beta[1:] has {steps[wrong]}, outside (0, 1)")

    @classmethod
    def linear(cls, T: int) -> Schedule:
        """The schedule that is linear in beta, with `T` >= 1 steps; for `T` = 1 the step is 0.1.

        Source: Ho et al. 2020, arXiv:2006.11239, sec. 4 (T = 1000).
        """
        t = np.arange(1, _steps(T) + 1)
        fraction = (t - 1) / max(T - 1, 1)  # T = 1 would be 0 / 0
        beta = 1000 / T * (1e-4 + (0.02 - 1e-4) * fraction)  # (2.11)
        return cls(np.concatenate([[0.0], np.minimum(beta, 0.999)]))

    @classmethod
    def cosine(cls, T: int) -> Schedule:
        """The schedule in which the root of `alpha_bar` is a cosine, with `T` >= 1 steps.

        Source: Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 17.
        """
        t = np.arange(_steps(T) + 1)
        offset = 0.008
        f = np.cos((t / T + offset) / (1 + offset) * np.pi / 2) ** 2  # (2.12)
        beta = 1 - f[1:] / f[:-1]
        return cls(np.concatenate([[0.0], np.minimum(beta, 0.999)]))

    @property
    def T(self) -> int:
        """The number of steps."""
        return len(self.beta) - 1

    @cached_property
    def alpha(self) -> Float[np.ndarray, " T1"]:
        """The factor by which step t multiplies the variance of its input."""
        return 1 - self.beta  # (2.6)

    @cached_property
    def alpha_bar(self) -> Float[np.ndarray, " T1"]:
        """The factor by which steps 1 to t together multiply the variance of the data."""
        return np.cumprod(self.alpha)  # (2.7)

    @cached_property
    def log_snr(self) -> Float[np.ndarray, " T1"]:
        """The log signal-to-noise ratio, for data of variance 1; `+inf` at t = 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.alpha_bar / (1 - self.alpha_bar))  # (2.10)

    def check_t(self, t: int, first: int = 1) -> int:
        """Return `t`, or raise a ValueError if it is outside first..T.

        Without this check a negative index would read the end of a table.
        """
        if not first <= t <= self.T:
            raise ValueError(f"t = {t} is outside {first}..{self.T}")
        return int(t)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The distribution N(mean, var I) over the last axis of `mean`; `var` = 0 is a point."""

    mean: Float[np.ndarray, "*n D"]
    var: float

    def sample(self, rng: np.random.Generator) -> Float[np.ndarray, "*n D"]:
        """Draw one sample for each mean."""
        return self.mean + np.sqrt(self.var) * rng.standard_normal(self.mean.shape)

    def log_density(self, x: Float[np.ndarray, "*n D"]) -> Float[np.ndarray, "*n"] | float:
        """The log density at `x`, summed over the last axis.

        Raises:
            ValueError: `var` is not positive, so the distribution has no density.
        """
        if not self.var > 0:
            raise ValueError(f"a Gaussian of var = {self.var} has no density")
        squared = (x - self.mean) ** 2 / self.var
        return -0.5 * (squared + np.log(2 * np.pi * self.var)).sum(-1)  # (2.2)


def _steps(T: int) -> int:
    if not T >= 1 or T % 1:
        raise ValueError(f"T = {T}: a schedule needs a whole number of steps, at least 1")
    return T


def q_xt_given_xprev(xprev: Float[np.ndarray, "*n D"], t: int, schedule: Schedule) -> Gaussian:
    """The distribution of `x_t` one step after `xprev`, for `t` in 1..T.

    >>> q = q_xt_given_xprev(np.array([1.0, 0.0]), 1, Schedule(np.array([0, 0.36])))
    >>> q.mean, q.var
    (array([0.8, 0. ]), 0.36)
    """
    beta = float(schedule.beta[schedule.check_t(t)])
    # beta = 0 would return xprev, and beta = 1 would return N(0, I) for every xprev (2.13).
    return Gaussian(np.sqrt(1 - beta) * xprev, beta)  # (2.1)


def forward_chain(
    x0: Float[np.ndarray, "*n D"], schedule: Schedule, rng: np.random.Generator
) -> Iterator[Float[np.ndarray, "*n D"]]:
    """Yield `x_1`, ..., `x_T`, each made from the state before it and fresh noise."""
    x = x0
    for t in range(1, schedule.T + 1):
        x = q_xt_given_xprev(x, t, schedule).sample(rng)
        yield x


def moments_after(mean: float, var: float, t: int, schedule: Schedule) -> tuple[float, float]:
    """Mean and variance of a coordinate of `x_t` from those of `x_{t-1}`, for `t` in 1..T."""
    beta = float(schedule.beta[schedule.check_t(t)])
    mean = np.sqrt(1 - beta) * mean  # (2.3)
    var = (1 - beta) * var + beta  # (2.4)
    return float(mean), var


def distance_from_one(var: float, t: int, schedule: Schedule) -> float:
    """`Var(x_t) - 1` for a coordinate with the variance `var` at t - 1, for `t` in 1..T."""
    beta = float(schedule.beta[schedule.check_t(t)])
    return (1 - beta) * (var - 1)  # (2.5)


def variance_of_xt(var_x0: float, t: int, schedule: Schedule) -> float:
    """The variance of a coordinate of `x_t` from its variance in the data, for `t` in 0..T."""
    abar = float(schedule.alpha_bar[schedule.check_t(t, first=0)])
    return abar * var_x0 + (1 - abar)  # (2.8)


def neighbour_correlation(t: int, schedule: Schedule) -> float:
    """The correlation of `x_{t-1}` and `x_t` for data of variance 1, for `t` in 1..T."""
    beta = float(schedule.beta[schedule.check_t(t)])
    return float(np.sqrt(1 - beta))  # (2.9)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step02_forward")
