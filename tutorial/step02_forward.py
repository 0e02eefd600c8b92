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
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, RED, Check, present
from tutorial.step00_notation import Gaussian, Schedule
from tutorial.step01_toy_data import pinwheel

if TYPE_CHECKING:
    from jaxtyping import Float


def q_xt_given_xprev(xprev: Float[np.ndarray, "*n D"], t: int, schedule: Schedule) -> Gaussian:
    """The law of `x_t` one step after `xprev`, for `t` in 1..T.

    >>> law = q_xt_given_xprev(np.array([1.0, 0.0]), 1, Schedule(np.array([0, 0.36])))
    >>> law.mean, law.var
    (array([0.8, 0. ]), 0.36)
    """
    beta = float(schedule.beta[schedule.check_t(t)])
    return Gaussian(np.sqrt(1 - beta) * xprev, beta)  # (2.1) (2.5) (2.6)


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
    return float(mean), (1 - beta) * var + beta  # (2.3) (2.4)


def checks() -> list[Check]:
    """A hundred thousand chains from two points: moments and memory after ten linear steps."""
    schedule, rng, n = Schedule.linear(10), np.random.default_rng(0), 100_000
    x0 = np.where(rng.random((n, 1)) < 0.25, 3.0, -1.0)  # mean 0, variance 3
    chain = [x0, *forward_chain(x0, schedule, rng)]
    mean, var = 0.0, 3.0
    for t in range(1, 4):
        mean, var = moments_after(mean, var, t, schedule)
    unit = rng.standard_normal((n, 1))
    after = q_xt_given_xprev(unit, 5, schedule).sample(rng)
    correlation = np.corrcoef(unit[:, 0], after[:, 0])[0, 1]
    kurtosis_error = 4 * np.sqrt(2 / n) * var  # 4 errors of a variance; the tails are not heavier
    return [
        Check("(2.2) mean of x_3", chain[3].mean(), mean, 4 * np.sqrt(var / n)),
        Check("(2.3) variance of x_3, data of variance 3", chain[3].var(), var, kurtosis_error),
        Check("(2.4) excess over 1 left at t = 3", (chain[3].var() - 1) / 2, (var - 1) / 2, 0.01),
        Check(
            "(2.5) correlation of neighbours at t = 5",
            correlation,
            np.sqrt(schedule.alpha[5]),
            0.01,
        ),
    ]


def figure() -> Figure:
    """Labelled data dissolving; what becomes of the variance by three choices of coefficient."""
    fig = Figure(figsize=(11, 3.2), layout="constrained")
    *clouds, variance = fig.subplots(1, 5, width_ratios=[1, 1, 1, 1, 1.5])
    schedule, rng = Schedule.linear(100), np.random.default_rng(0)
    x0, y = pinwheel().sample(1500, rng)
    chain = [x0, *forward_chain(x0, schedule, rng)]
    colors = [CLASS_COLORS[int(label)] for label in y]
    for axes, t in zip(clouds, (0, 10, 30, 100), strict=True):
        axes.scatter(*chain[t].T, s=2, c=colors)
        axes.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", title=f"t = {t}")
        axes.set(xticks=[], yticks=[])
    for start, color in ((4.0, RED), (1.0, BLUE), (0.1, ORANGE)):
        var = [start]
        for t in range(1, 101):
            var.append(moments_after(0.0, var[-1], t, schedule)[1])
        variance.plot(var, color=color, label=f"from {start:g}")
    walk = 1 + np.cumsum(schedule.beta)
    slip = [1.0]
    for beta in schedule.beta[1:]:
        slip.append((1 - beta) ** 2 * slip[-1] + beta)
    variance.plot(walk[walk < 4.2], "--", color=GREY, label="coefficient 1")
    variance.plot(slip, ":", color=GREY, label=r"coefficient $1 - \beta_t$")
    variance.set(xlabel="t", title="Variance", ylim=(0, 4.2))
    variance.legend(fontsize=7)
    return fig


if __name__ == "__main__":
    present("step02_forward", __doc__ or "", checks(), figure())
