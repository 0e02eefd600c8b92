r"""Step 2. The forward step $q(x_t | x_{t-1})$: keep a little less, mix in as much noise.

**Claim.** One step shrinks its input and adds independent noise,

$$ q(x_t | x_{t-1}) = N(x_t; \sqrt{1 - \beta_t} x_{t-1}, \beta_t I) $$ (2.1)

and the two numbers are one choice: for any input, the mean and variance of each coordinate become

$$ E[x_t] = \sqrt{1 - \beta_t} E[x_{t-1}] $$ (2.2)
$$ Var(x_t) = (1 - \beta_t) Var(x_{t-1}) + \beta_t $$ (2.3)

so data of unit variance keep it at every $t$. That is what "variance preserving" means.

**Why.** Write (2.1) as $x_t = \sqrt{1 - \beta_t} x_{t-1} + \sqrt{\beta_t} z$, with $z$ standard
normal and independent of $x_{t-1}$. Expectations add; variances of independent terms add; a factor
comes out of a variance squared. The fixed point of (2.3) is 1, and the distance to it shrinks by
the factor $1 - \beta_t$, whatever the data:

$$ Var(x_t) - 1 = (1 - \beta_t) (Var(x_{t-1}) - 1) $$ (2.4)

A coefficient of 1 instead of $\sqrt{1 - \beta_t}$ would be a random walk, whose variance grows to
$Var(x_0) + \beta_1 + \dots + \beta_t$: also a diffusion ("variance exploding"), but one that feeds
the network inputs of ever new scale. A coefficient of $1 - \beta_t$, a common slip, settles at
$1 / (2 - \beta_t)$, near one half.

**Memory.** The chain is Markov: $x_t$ is made from $x_{t-1}$ and fresh noise alone. For data of
unit variance the correlation of neighbours is

$$ Corr(x_{t-1}, x_t) = \sqrt{1 - \beta_t} $$ (2.5)

and since correlations multiply along a Markov chain of Gaussians, $x_0$ is forgotten at the rate of
their product. Step 3 turns that remark into a jump from 0 to $t$.

**Boundary.** A step of $\beta_t \to 0$ changes nothing, and one of $\beta_t \to 1$ forgets all:

$$ \beta_t = 0: x_t = x_{t-1}, \quad \beta_t = 1: x_t = z $$ (2.6)

**Source.** Ho et al. 2020, arXiv:2006.11239, eq. 2; Sohl-Dickstein et al. 2015, arXiv:1503.03585.

**Notation: the schedule's letters.**

**Claim.** A single table $\beta_1, \dots, \beta_T$ fixes the whole process. With

$$ \alpha_t = 1 - \beta_t $$ (2.7)
$$ \bar\alpha_t = \alpha_1 \alpha_2 \cdots \alpha_t $$ (2.8)
$$ \lambda_t = \log(\bar\alpha_t / (1 - \bar\alpha_t)) $$ (2.9)

every coefficient of the course is arithmetic on one row: $\bar\alpha_t$ is the share of the data's
variance still there, $1 - \bar\alpha_t$ the share that is noise, $\lambda_t$ (`log_snr`) the log of
their ratio. Tables have $T + 1$ entries and the paper's index: $t = 0$ is data, $t = T$ is noise.

**Two schedules.** Linear in $\beta_t$, and cosine in $\sqrt{\bar\alpha_t}$:

$$ \beta_t = (1000 / T) (10^{-4} + (0.02 - 10^{-4}) (t - 1) / (T - 1)) $$ (2.10)
$$ \bar\alpha_t = f(t) / f(0), \quad f(t) = \cos^2((t / T + s) / (1 + s) \cdot \pi / 2) $$ (2.11)

For $T > 20$ the $\beta_t$ of (2.10) sum to 10.05, so shorter chains end about as noisy, at
$\bar\alpha_T = 0.00004$, after a last third that is nearly all noise. (2.11), with $s = 0.008$,
falls evenly in the middle. Both cap $\beta_t$ at 0.999 to keep $\bar\alpha_T$, a divisor, above 0.

**The one law.** All conditionals are isotropic Gaussians,

$$ \log N(x; m, v) = -\tfrac{1}{2} \sum_i ((x_i - m_i)^2 / v + \log(2 \pi v)) $$ (2.12)

**Boundary.** Nothing has happened at $t = 0$, and the data are all signal:

$$ \beta_0 = 0, \quad \bar\alpha_0 = 1, \quad \lambda_0 = +\infty $$ (2.13)

**Source.** Ho et al. 2020, arXiv:2006.11239, sec. 2 and 4 (linear, T = 1000); Nichol and Dhariwal
2021, arXiv:2102.09672, eq. 17 (cosine); Ho and Salimans 2022, arXiv:2207.12598, sec. 2 (log SNR).
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
    """The table of `beta`, shape (T + 1,), with `beta[0] = 0`; every other letter follows."""

    beta: Float[np.ndarray, " T1"]

    def __post_init__(self) -> None:
        """Refuse a table that is no schedule."""
        if len(self.beta) < 2 or self.beta[0] != 0:  # (2.13)
            raise ValueError(f"beta = {self.beta[:2]}: it must be 0 at t = 0, with a step after it")
        steps = self.beta[1:]
        wrong = ~((steps > 0) & (steps < 1))
        if wrong.any():
            raise ValueError(f"beta[1:] has {steps[wrong]}, outside (0, 1)")

    @classmethod
    def linear(cls, T: int) -> Schedule:
        """Linear in beta (Ho et al. 2020), `T` >= 1 steps; `T` = 1 is the first, of 0.1."""
        t = np.arange(1, _steps(T) + 1)
        beta = 1000 / T * (1e-4 + (0.02 - 1e-4) * (t - 1) / max(T - 1, 1))  # (2.10)
        return cls(np.concatenate([[0.0], np.minimum(beta, 0.999)]))

    @classmethod
    def cosine(cls, T: int) -> Schedule:
        """Cosine in the amplitude (Nichol and Dhariwal 2021), `T` >= 1 steps."""
        t = np.arange(_steps(T) + 1)
        s = 0.008
        f = np.cos((t / T + s) / (1 + s) * np.pi / 2) ** 2  # (2.11)
        beta = 1 - f[1:] / f[:-1]
        return cls(np.concatenate([[0.0], np.minimum(beta, 0.999)]))

    @property
    def T(self) -> int:
        """Number of steps."""
        return len(self.beta) - 1

    @cached_property
    def alpha(self) -> Float[np.ndarray, " T1"]:
        """What one step keeps of the variance."""
        return 1 - self.beta  # (2.7)

    @cached_property
    def alpha_bar(self) -> Float[np.ndarray, " T1"]:
        """What all steps up to t keep of it."""
        return np.cumprod(self.alpha)  # (2.8)

    @cached_property
    def log_snr(self) -> Float[np.ndarray, " T1"]:
        """Log of signal over noise; `+inf` at t = 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.alpha_bar / (1 - self.alpha_bar))  # (2.9)

    def check_t(self, t: int, first: int = 1) -> int:
        """Return `t` if it lies in first..T. A negative index would wrap and be silently wrong."""
        if not first <= t <= self.T:
            raise ValueError(f"t = {t} is outside {first}..{self.T}")
        return int(t)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The isotropic law N(mean, var I) over the last axis; `var` = 0 is a point."""

    mean: Float[np.ndarray, "*n D"]
    var: float

    def sample(self, rng: np.random.Generator) -> Float[np.ndarray, "*n D"]:
        """One draw for each mean."""
        return self.mean + np.sqrt(self.var) * rng.standard_normal(self.mean.shape)

    def log_density(self, x: Float[np.ndarray, "*n D"]) -> Float[np.ndarray, "*n"] | float:
        """Log density at `x`, summed over the last axis; a point (`var` = 0) has none."""
        if not self.var > 0:
            raise ValueError(f"a Gaussian of var = {self.var} has no density")
        squared = (x - self.mean) ** 2 / self.var
        return -0.5 * (squared + np.log(2 * np.pi * self.var)).sum(-1)  # (2.12)


def _steps(T: int) -> int:
    if not T >= 1 or T % 1:
        raise ValueError(f"T = {T}: a schedule needs a whole number of steps, at least 1")
    return T


def q_xt_given_xprev(xprev: Float[np.ndarray, "*n D"], t: int, schedule: Schedule) -> Gaussian:
    """The law of `x_t` one step after `xprev`, for `t` in 1..T.

    >>> law = q_xt_given_xprev(np.array([1.0, 0.0]), 1, Schedule(np.array([0, 0.36])))
    >>> law.mean, law.var
    (array([0.8, 0. ]), 0.36)
    """
    beta = float(schedule.beta[schedule.check_t(t)])
    # beta = 0 would return xprev, and beta = 1 would return N(0, I) whatever xprev is (2.6).
    return Gaussian(np.sqrt(1 - beta) * xprev, beta)  # (2.1)


def forward_chain(
    x0: Float[np.ndarray, "*n D"], schedule: Schedule, rng: np.random.Generator
) -> Iterator[Float[np.ndarray, "*n D"]]:
    """Yield `x_1`, ..., `x_T`: each from the one before it and fresh noise, nothing else."""
    x = x0
    for t in range(1, schedule.T + 1):
        x = q_xt_given_xprev(x, t, schedule).sample(rng)
        yield x


def moments_after(mean: float, var: float, t: int, schedule: Schedule) -> tuple[float, float]:
    """Mean and variance of a coordinate of `x_t` from those of `x_{t-1}`, for `t` in 1..T."""
    beta = float(schedule.beta[schedule.check_t(t)])
    mean = np.sqrt(1 - beta) * mean  # (2.2)
    # The distance of the variance to 1 is multiplied by 1 - beta (2.4).
    var = (1 - beta) * var + beta  # (2.3)
    return float(mean), var


def neighbour_correlation(t: int, schedule: Schedule) -> float:
    """The correlation of `x_{t-1}` and `x_t` for data of unit variance, for `t` in 1..T."""
    beta = float(schedule.beta[schedule.check_t(t)])
    return float(np.sqrt(1 - beta))  # (2.5)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step02_forward")
