r"""Step 13, part 1. The process in log SNR: no schedule, and the angle that runs evenly.

**Claim.** All that a time $t$ says of $x_t$ is how noisy it is. Let the log SNR $\lambda$ itself be
the time, and $z_\lambda = a_\lambda x + \sigma_\lambda \epsilon$ the noised data, with

$$ a_\lambda^2 = 1 / (1 + e^{-\lambda}), \quad \sigma_\lambda^2 = 1 / (1 + e^\lambda) $$ (13.1)

Then any two noise levels give a step and a step back. With $\lambda'$ the less noisy of the two,
$r = e^{\lambda - \lambda'} < 1$ and $k = a_\lambda / a_{\lambda'}$,

$$ q(z_\lambda | z_{\lambda'}) = N(k z_{\lambda'}, (1 - r) \sigma_\lambda^2 I) $$ (13.2)
$$ E[z_{\lambda'} | z_\lambda, x] = (r / k) z_\lambda + (1 - r) a_{\lambda'} x $$ (13.3)
$$ Var(z_{\lambda'} | z_\lambda, x) = (1 - r) \sigma_{\lambda'}^2 $$ (13.4)

**Why.** (13.1) is (3.2) with (0.3) solved for $\bar\alpha$. A step has to scale the signal by $k$
and to add what noise then lacks, $\sigma_\lambda^2 - k^2 \sigma_{\lambda'}^2$. The ratio of the two
SNRs is $r = k^2 \sigma_{\lambda'}^2 / \sigma_\lambda^2$, so that is (13.2). Back goes Bayes, as in
step 4: (13.2), read in $z_{\lambda'}$, has the precision
$k^2 / ((1 - r) \sigma_\lambda^2) = r / ((1 - r) \sigma_{\lambda'}^2)$; add that of the marginal,
$1 / \sigma_{\lambda'}^2$, and turn over: (13.4). The means, weighed by precision, give (13.3).

**The chain of the other lessons** is this one seen at $T$ moments. Sampling goes up a grid of
$\lambda$; number it from its end, so that $t = T$ is the noisiest and $\lambda_0 = \infty$ is data:

$$ \beta_t = (1 - e^{\lambda_t - \lambda_{t-1}}) / (1 + e^{\lambda_t}) $$ (13.5)

is (13.2). Of the tables' $1 - \bar\alpha_1$, 2e-9 at $\lambda = 20$, float64 keeps 8 digits.

**The paper's clock.** With $u$ even in [0, 1], at random to train and on a grid to sample, and with
$b = \arctan e^{-\lambda_{max} / 2}$ and $a + b = \arctan e^{-\lambda_{min} / 2}$, ends -20 and 20,

$$ \lambda = -2 \log \tan(a u + b) $$ (13.6)
$$ a_\lambda = \cos(a u + b), \quad \sigma_\lambda = \sin(a u + b) $$ (13.7)

as $\sigma_\lambda / a_\lambda = e^{-\lambda / 2}$ is that tangent. The angle of step 5 runs evenly:
(0.5) with other ends. Of $u = (\arctan e^{-\lambda / 2} - b) / a$ the derivative is, up to its
sign, $e^{-\lambda / 2} / (2 a (1 + e^{-\lambda}))$: the density of $\lambda$,

$$ p(\lambda) = 1 / (4 a \cosh(\lambda / 2)) $$ (13.8)

Half of all draws have $|\lambda| < 2 \log(1 + \sqrt 2) = 1.76$, the ends being 40 apart.

**Boundary.** At $\lambda' = \infty$ (13.3) is $x$ and (13.4) is 0. At -20, $z$ keeps 4.5e-5 of $x$.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 2; Kingma et al. 2021, arXiv:2107.00630.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.step00_notation import Gaussian, Schedule

if TYPE_CHECKING:
    from jaxtyping import Float


def signal_noise(
    log_snr: Float[np.ndarray, "*n"] | float,
) -> tuple[Float[np.ndarray, "*n"] | float, Float[np.ndarray, "*n"] | float]:
    """`a_lambda` and `sigma_lambda`, to rounding at any log SNR, also an infinite one."""
    # logaddexp(0, x) = log(1 + e^x), without overflow and without losing a small e^x beside 1.
    a = np.exp(-0.5 * np.logaddexp(0, -log_snr))  # (13.1)
    sigma = np.exp(-0.5 * np.logaddexp(0, log_snr))  # (13.1)
    return a, sigma


def forward_var(
    log_snr: Float[np.ndarray, "*n"] | float, log_snr_next: Float[np.ndarray, "*n"] | float
) -> Float[np.ndarray, "*n"] | float:
    """The variance of `z` at `log_snr` given that at `log_snr_next`, less noisy, `inf` for data."""
    if not np.all(np.asarray(log_snr) < log_snr_next):
        raise ValueError(f"log_snr = {log_snr} is not below log_snr_next = {log_snr_next}")
    _, sigma = signal_noise(log_snr)
    one_minus_r = -np.expm1(log_snr - log_snr_next)  # 1 - r, without a difference of near numbers
    return one_minus_r * sigma**2  # (13.2)


def q_posterior_log_snr(
    x0: Float[np.ndarray, "*n D"], z: Float[np.ndarray, "*n D"], log_snr: float, log_snr_next: float
) -> Gaussian:
    """The law of the less noisy state at `log_snr_next`, `inf` for data, given `z` and `x0`."""
    a, sigma = signal_noise(log_snr)
    a_next, sigma_next = signal_noise(log_snr_next)
    r = np.exp(log_snr - log_snr_next)
    r_over_k = r * a_next / a
    one_minus_r = forward_var(log_snr, log_snr_next) / sigma**2
    mean = r_over_k * z + one_minus_r * a_next * x0  # (13.3)
    var = one_minus_r * sigma_next**2  # (13.4)
    return Gaussian(mean, float(var))


def schedule_from(log_snr: Float[np.ndarray, " T"]) -> Schedule:
    """The chain of the other lessons on an increasing grid, whose first value is that of t = T."""
    if not len(log_snr) or not (np.diff(log_snr) > 0).all():
        raise ValueError(f"log_snr = {log_snr}: increasing values are needed, at least one")
    log_snr_next = np.append(log_snr[1:], np.inf)
    from_noise = np.asarray(forward_var(log_snr, log_snr_next))  # (13.5)
    beta = from_noise[::-1]
    # 1 - (1 - beta): rounded as 1 - alpha_bar will be, or c_0 would not be 1 at t = 1.
    return Schedule(np.append(0.0, 1 - (1 - beta)))


def map_ends(low: float, high: float) -> tuple[float, float]:
    """`a` and `b` of the map from 0..1 to `high`..`low`."""
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"low = {low}, high = {high}: finite ends are needed, low below high")
    b = np.arctan(np.exp(-high / 2))
    a = np.arctan(np.exp(-low / 2)) - b
    return float(a), float(b)


def log_snr_of(
    u: Float[np.ndarray, "*n"] | float, low: float = -20.0, high: float = 20.0
) -> Float[np.ndarray, "*n"] | float:
    """The log SNR at `u` in 0..1: `high` at 0 and `low` at 1."""
    a, b = map_ends(low, high)
    if not np.all((np.asarray(u) >= 0) & (np.asarray(u) <= 1)):
        raise ValueError(f"u = {u} is outside 0..1")
    angle = a * u + b  # its cosine is the signal and its sine the noise: (13.7)
    return -2 * np.log(np.tan(angle))  # (13.6)


def log_snr_grid(T: int, low: float = -20.0, high: float = 20.0) -> Float[np.ndarray, " T"]:
    """The `T` >= 1 values that sampling visits, from `low` up to `high`; `low` alone if `T` = 1."""
    if not T >= 1 or T % 1:
        raise ValueError(f"T = {T}: a grid needs a whole number of values, at least 1")
    return np.asarray(log_snr_of(np.linspace(1, 0, T), low, high))


def log_snr_density(
    log_snr: Float[np.ndarray, "*n"], low: float = -20.0, high: float = 20.0
) -> Float[np.ndarray, "*n"]:
    """The density of the log SNR if `u` is uniform; 0 outside `low`..`high`."""
    a, _ = map_ends(low, high)
    inside = (low <= log_snr) & (log_snr <= high)
    return inside / (4 * a * np.cosh(log_snr / 2))  # (13.8)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step13_process")
