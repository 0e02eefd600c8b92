r"""Step 0. Notation: the schedule's letters, and the one law everything is made of.

**Claim.** A single table $\beta_1, \dots, \beta_T$ fixes the whole process. With

$$ \alpha_t = 1 - \beta_t $$ (0.1)
$$ \bar\alpha_t = \alpha_1 \alpha_2 \cdots \alpha_t $$ (0.2)
$$ \lambda_t = \log(\bar\alpha_t / (1 - \bar\alpha_t)) $$ (0.3)

every coefficient of the course is arithmetic on one row: $\bar\alpha_t$ is the share of the data's
variance still there, $1 - \bar\alpha_t$ the share that is noise, $\lambda_t$ (`log_snr`) the log of
their ratio. Tables have $T + 1$ entries and the paper's index: $t = 0$ is data, $t = T$ is noise.

**Two schedules.** Linear in $\beta_t$, and cosine in $\sqrt{\bar\alpha_t}$:

$$ \beta_t = (1000 / T) (10^{-4} + (0.02 - 10^{-4}) (t - 1) / (T - 1)) $$ (0.4)
$$ \bar\alpha_t = f(t) / f(0), \quad f(t) = \cos^2((t / T + s) / (1 + s) \cdot \pi / 2) $$ (0.5)

For $T > 20$ the $\beta_t$ of (0.4) sum to 10.05, so shorter chains end about as noisy, at
$\bar\alpha_T = 0.00004$, after a last third that is nearly all noise. (0.5), with $s = 0.008$,
falls evenly in the middle. Both cap $\beta_t$ at 0.999 to keep $\bar\alpha_T$, a divisor, above 0.

**The one law.** All conditionals are isotropic Gaussians,

$$ \log N(x; m, v) = -\tfrac{1}{2} \sum_i ((x_i - m_i)^2 / v + \log(2 \pi v)) $$ (0.6)

and a product of two of them in the same $x$ is a third, up to a constant. Precisions add:

$$ 1 / v = 1 / v_1 + 1 / v_2 $$ (0.7)
$$ m = v (m_1 / v_1 + m_2 / v_2) $$ (0.8)

**Why.** Add the two exponents and compare with $-(x - m)^2 / (2 v) = -x^2 / (2 v) + x m / v + ...$:
the terms in $x^2$ give (0.7), those in $x$ give (0.8), and what is left does not depend on $x$.

**Boundary.** Nothing has happened at $t = 0$, and the data are all signal:

$$ \beta_0 = 0, \quad \bar\alpha_0 = 1, \quad \lambda_0 = +\infty $$ (0.9)

**Source.** Ho et al. 2020, arXiv:2006.11239, sec. 2 and 4 (linear, T = 1000); Nichol and Dhariwal
2021, arXiv:2102.09672, eq. 17 (cosine); Ho and Salimans 2022, arXiv:2207.12598, sec. 2 (log SNR).
"""

from __future__ import annotations

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
        if len(self.beta) < 2 or self.beta[0] != 0:  # (0.9)
            raise ValueError(f"beta = {self.beta[:2]}: it must be 0 at t = 0, with a step after it")
        steps = self.beta[1:]
        wrong = ~((steps > 0) & (steps < 1))
        if wrong.any():
            raise ValueError(f"beta[1:] has {steps[wrong]}, outside (0, 1)")

    @classmethod
    def linear(cls, T: int) -> Schedule:
        """Linear in beta (Ho et al. 2020), `T` >= 1 steps; `T` = 1 is the first, of 0.1."""
        t = np.arange(1, _steps(T) + 1)
        beta = 1000 / T * (1e-4 + (0.02 - 1e-4) * (t - 1) / max(T - 1, 1))  # (0.4)
        return cls(np.concatenate([[0.0], np.minimum(beta, 0.999)]))

    @classmethod
    def cosine(cls, T: int) -> Schedule:
        """Cosine in the amplitude (Nichol and Dhariwal 2021), `T` >= 1 steps."""
        t = np.arange(_steps(T) + 1)
        s = 0.008
        f = np.cos((t / T + s) / (1 + s) * np.pi / 2) ** 2  # (0.5)
        beta = 1 - f[1:] / f[:-1]
        return cls(np.concatenate([[0.0], np.minimum(beta, 0.999)]))

    @property
    def T(self) -> int:
        """Number of steps."""
        return len(self.beta) - 1

    @cached_property
    def alpha(self) -> Float[np.ndarray, " T1"]:
        """What one step keeps of the variance."""
        return 1 - self.beta  # (0.1)

    @cached_property
    def alpha_bar(self) -> Float[np.ndarray, " T1"]:
        """What all steps up to t keep of it."""
        return np.cumprod(self.alpha)  # (0.2)

    @cached_property
    def log_snr(self) -> Float[np.ndarray, " T1"]:
        """Log of signal over noise; `+inf` at t = 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.alpha_bar / (1 - self.alpha_bar))  # (0.3)

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
        return -0.5 * (squared + np.log(2 * np.pi * self.var)).sum(-1)  # (0.6)


def product(g1: Gaussian, g2: Gaussian) -> Gaussian:
    """The Gaussian proportional to the product of two densities of the same variable.

    Both fractions are multiplied by the two variances, so that one of the two may be a point.
    """
    both = g1.var + g2.var
    var = g1.var * g2.var / both  # (0.7)
    mean = (g2.var * g1.mean + g1.var * g2.mean) / both  # (0.8)
    return Gaussian(mean, var)


def _steps(T: int) -> int:
    if not T >= 1 or T % 1:
        raise ValueError(f"T = {T}: a schedule needs a whole number of steps, at least 1")
    return T


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step00_notation")
