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
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step00_notation import Gaussian, Schedule

if TYPE_CHECKING:
    from jaxtyping import Float


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
