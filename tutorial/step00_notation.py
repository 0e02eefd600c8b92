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
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, ORANGE, Check, present

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Schedule:
    """The table of `beta`, shape (T + 1,), with `beta[0] = 0`; every other letter follows."""

    beta: Float[np.ndarray, " T1"]

    def __post_init__(self) -> None:
        """Refuse a table that is no schedule."""
        if len(self.beta) < 2 or self.beta[0] != 0:
            raise ValueError(f"beta = {self.beta[:2]}: it must be 0 at t = 0, with a step after it")
        if (wrong := ~((self.beta > 0) & (self.beta < 1))[1:]).any():
            raise ValueError(f"beta[1:] has {self.beta[1:][wrong]}, outside (0, 1)")

    @classmethod
    def linear(cls, T: int) -> Schedule:
        """Linear in beta (Ho et al. 2020), `T` >= 1 steps; `T` = 1 is the first, of 0.1."""
        t = np.arange(1, _steps(T) + 1)
        beta = 1000 / T * (1e-4 + (0.02 - 1e-4) * (t - 1) / max(T - 1, 1))  # (0.4)
        return cls(np.concatenate([[0.0], np.minimum(beta, 0.999)]))

    @classmethod
    def cosine(cls, T: int) -> Schedule:
        """Cosine in the amplitude (Nichol and Dhariwal 2021), `T` >= 1 steps."""
        f = np.cos((np.arange(_steps(T) + 1) / T + 0.008) / 1.008 * np.pi / 2) ** 2  # (0.5)
        return cls(np.concatenate([[0.0], np.minimum(1 - f[1:] / f[:-1], 0.999)]))

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
            return np.log(self.alpha_bar / (1 - self.alpha_bar))  # (0.3) (0.9)

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
    """The Gaussian proportional to the product of two densities of the same variable."""
    both = g1.var + g2.var  # the fractions are cleared, so that one of the two may be a point
    mean = (g2.var * g1.mean + g1.var * g2.mean) / both  # (0.8)
    return Gaussian(mean, g1.var * g2.var / both)  # (0.7)


def _steps(T: int) -> int:
    if not T >= 1 or T % 1:
        raise ValueError(f"T = {T}: a schedule needs a whole number of steps, at least 1")
    return T


def checks() -> list[Check]:
    """Where the linear schedule ends at T = 1000; what a product leaves over, point by point."""
    g1, g2, x = Gaussian(np.ones(1), 0.5), Gaussian(-np.ones(1), 2.0), np.linspace(-3, 3)[:, None]
    left = g1.log_density(x) + g2.log_density(x) - product(g1, g2).log_density(x)
    return [
        Check("(0.2, 0.4) linear: alpha_bar at T", Schedule.linear(1000).alpha_bar[-1], 4e-5, 1e-6),
        Check("(0.7, 0.8) what is left varies by", float(np.ptp(left)), 0, 1e-12),
    ]


def figure() -> Figure:
    """The table itself, the signal and the log SNR over time, for both schedules."""
    fig, t = Figure(figsize=(11, 3.4), layout="constrained"), np.arange(1, 1001)
    noise, signal, ratio = fig.subplots(1, 3)
    linear, cosine = Schedule.linear(1000), Schedule.cosine(1000)
    for name, schedule, color in (("linear", linear, BLUE), ("cosine", cosine, ORANGE)):
        noise.semilogy(t, schedule.beta[1:], color=color, label=name)
        signal.plot(t, schedule.alpha_bar[1:], color=color)
        ratio.plot(t, schedule.log_snr[1:], color=color)
    noise.set(xlabel="t", ylabel=r"$\beta_t$", title="Noise added by one step (T = 1000)")
    signal.set(xlabel="t", ylabel=r"$\bar\alpha_t$", title="Share of the variance that is data")
    ratio.set(xlabel="t", ylabel=r"$\lambda_t$", title="Log signal-to-noise ratio")
    noise.legend(fontsize=8)
    return fig


if __name__ == "__main__":
    present("step00_notation", __doc__ or "", checks(), figure())
