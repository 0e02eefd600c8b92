r"""Step 6. The reverse step $p(x_{t-1} | x_t)$: what a network has to supply, and in which units.

**Claim.** A sampler needs step 4's posterior averaged over the data that $x_t$ may come from,

$$ q(x_{t-1} | x_t) = \int q(x_{t-1} | x_t, x_0) q(x_0 | x_t) dx_0 $$ (6.1)

which needs the density of the data. The model puts one guess $\hat x_0$ in the place of $x_0$:

$$ p(x_{t-1} | x_t) = N(c_0 \hat x_0 + c_t x_t, \tilde\beta_t I) $$ (6.2)

**Why a Gaussian will do.** (6.1) has a bump for each $x_0$. For data $\pm 1$ and $x_t = 0$ it is
$\pm c_0$ plus noise of variance $\tilde\beta_t$. As $c_0 \propto \beta_t$, its excess kurtosis,
$-2 (c_0^2 / (c_0^2 + \tilde\beta_t))^2$, nears a Gaussian's 0 like $\beta_t^2$: half way down a
cosine schedule, -1.35 with $T = 4$, -0.00007 with $T = 1000$. Small steps buy a simple law. The
mean of (6.1) is linear in $x_0$, so (6.2) has it exactly if $\hat x_0 = E[x_0 | x_t]$.

**From eps.** Put (5.11) into the mean: the factor of $x_t$ becomes
$c_0 / \sqrt{\bar\alpha_t} + c_t$, that of eps $-c_0 \sqrt{1 / \bar\alpha_t - 1}$. Step 4's $c_0$,
$c_t$, with $\bar\alpha_t = \alpha_t \bar\alpha_{t-1}$, turn these into the factors of (6.3).

$$ \mu = (x_t - (1 - \alpha_t) / \sqrt{1 - \bar\alpha_t} \epsilon) / \sqrt{\alpha_t} $$ (6.3)

**Clip.** Of the output $g$ a sampler needs one thing, with the $p$ and $q$ of step 5:

$$ \hat x_0 = clip(p x_t + q g) $$ (6.4)

Data in $[-c, c]$ put $E[x_0 | x_t]$ there,
so the clip removes only error. The old eps is void after it: the mean is (6.2), no longer (6.3).

**Which variance.** The posterior's, plus that of its mean, which moves with $x_0$:

$$ Var(x_{t-1} | x_t) = \tilde\beta_t + c_0^2 Var(x_0 | x_t) $$ (6.5)

Data at one point: $\tilde\beta_t$. Data $N(0, I)$: $Var(x_0 | x_t) = 1 - \bar\alpha_t$ and (6.5) is
$\beta_t$. Data of variance at most 1 lie between, averaged over $x_t$: the best guess of $x_0$ is
no worse than the best linear one, whose squared error is then at most $1 - \bar\alpha_t$.

**Boundary.** At $t = 1$, $c_t = \tilde\beta_1 = 0$.

$$ p(x_0 | x_1) = \text{the point } \hat x_0 $$ (6.6)

For the cosine schedule at $T = 1000$, an error in eps at $t = T$ is multiplied by 20,291 in the
guess (5.14) and by 31.6 in the mean; with $\hat x_0$ clipped to $[-1, 1]$ it cannot move by more
than 0.0032.

**Source.** Ho et al. 2020, arXiv:2006.11239, eqs. 11 and 15, sec. 3.2;
Sohl-Dickstein et al. 2015, arXiv:1503.03585 (small steps).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step04_posterior import posterior_coefficients, q_posterior
from tutorial.step05_best_guess import x0_from

if TYPE_CHECKING:
    from jaxtyping import Float


def p_xprev_given_xt(
    xt: Float[np.ndarray, "*n D"],
    out: Float[np.ndarray, "*n D"],
    t: int,
    schedule: Schedule,
    prediction: str = "eps",
    clip: float = np.inf,
) -> Gaussian:
    """The reverse step from a network's output `out`, for `t` in 1..T; `clip` > 0 bounds x0hat."""
    if not clip > 0:
        raise ValueError(f"clip = {clip} is not above 0 (inf: no clipping)")
    x0hat = x0_from(out, xt, t, schedule, prediction)
    x0hat = np.clip(x0hat, -clip, clip)  # (6.4)
    # At t = 1 the variance is 0 and the mean is x0hat (6.6).
    return q_posterior(x0hat, xt, t, schedule)  # (6.2)


def mean_from_eps(
    eps: Float[np.ndarray, "*n D"], xt: Float[np.ndarray, "*n D"], t: int, schedule: Schedule
) -> Float[np.ndarray, "*n D"]:
    """The mean of the reverse step written with eps, without a clip, for `t` in 1..T."""
    alpha = schedule.alpha[schedule.check_t(t)]
    abar = schedule.alpha_bar[t]
    return (xt - (1 - alpha) / np.sqrt(1 - abar) * eps) / np.sqrt(alpha)  # (6.3)


def reverse_var(var_x0: float, t: int, schedule: Schedule) -> float:
    """The true variance of `x_{t-1}` given `x_t`, from that of the data given `x_t`."""
    c_0, _, posterior_var = posterior_coefficients(t, schedule)
    return posterior_var + c_0**2 * var_x0  # (6.5)


def two_point_density(
    x: Float[np.ndarray, " n"], xt: float, t: int, schedule: Schedule
) -> Float[np.ndarray, " n"]:
    """The true `q(x_{t-1} | x_t)` on a line whose data are -1 and 1, for `t` in 2..T."""
    abar = schedule.alpha_bar[schedule.check_t(t, first=2)]
    up = (1 + np.tanh(np.sqrt(abar) * xt / (1 - abar))) / 2  # the chance of x_0 = 1, by Bayes
    from_low = q_posterior(np.array([-1.0]), np.array([xt]), t, schedule)
    from_high = q_posterior(np.array([1.0]), np.array([xt]), t, schedule)
    low = np.exp(from_low.log_density(x[:, None]))
    high = np.exp(from_high.log_density(x[:, None]))
    return (1 - up) * low + up * high  # (6.1)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step06_reverse")
