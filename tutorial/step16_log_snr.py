r"""Step 16. The process in log SNR: no schedule, and the angle that runs evenly.

**Claim.** All that a time $t$ says of $x_t$ is how noisy it is. Let the log SNR $\lambda$ itself be
the time, and $z_\lambda = a_\lambda x + \sigma_\lambda \epsilon$ the noised data, with

$$ a_\lambda^2 = 1 / (1 + e^{-\lambda}), \quad \sigma_\lambda^2 = 1 / (1 + e^\lambda) $$ (16.1)

Then any two noise levels give a step and a step back. With $\lambda'$ the less noisy of the two,
$r = e^{\lambda - \lambda'} < 1$ and $k = a_\lambda / a_{\lambda'}$,

$$ q(z_\lambda | z_{\lambda'}) = N(k z_{\lambda'}, (1 - r) \sigma_\lambda^2 I) $$ (16.2)
$$ E[z_{\lambda'} | z_\lambda, x] = (r / k) z_\lambda + (1 - r) a_{\lambda'} x $$ (16.3)
$$ Var(z_{\lambda'} | z_\lambda, x) = (1 - r) \sigma_{\lambda'}^2 $$ (16.4)

**Why.** (16.1) is (3.2) with (2.10) solved for $\bar\alpha$. A step has to scale the signal by $k$
and to add what noise then lacks, $\sigma_\lambda^2 - k^2 \sigma_{\lambda'}^2$. The ratio of the two
SNRs is $r = k^2 \sigma_{\lambda'}^2 / \sigma_\lambda^2$, so that is (16.2). Back goes Bayes, as in
step 4: (16.2), read in $z_{\lambda'}$, has the precision
$k^2 / ((1 - r) \sigma_\lambda^2) = r / ((1 - r) \sigma_{\lambda'}^2)$; add that of the marginal,
$1 / \sigma_{\lambda'}^2$, and turn over: (16.4). The means, weighed by precision, give (16.3).

**The chain of the other lessons** is this one seen at $T$ moments. Sampling goes up a grid of
$\lambda$; number it from its end, so that $t = T$ is the noisiest and $\lambda_0 = \infty$ is data:

$$ \beta_t = (1 - e^{\lambda_t - \lambda_{t-1}}) / (1 + e^{\lambda_t}) $$ (16.5)

is (16.2). Of the tables' $1 - \bar\alpha_1$, 2e-9 at $\lambda = 20$, float64 keeps 8 digits.

**The paper's clock.** With $u$ even in [0, 1], at random to train and on a grid to sample, and with
$b = \arctan e^{-\lambda_{max} / 2}$ and $a + b = \arctan e^{-\lambda_{min} / 2}$, ends -20 and 20,

$$ \lambda = -2 \log \tan(a u + b) $$ (16.6)
$$ a_\lambda = \cos(a u + b), \quad \sigma_\lambda = \sin(a u + b) $$ (16.7)

as $\sigma_\lambda / a_\lambda = e^{-\lambda / 2}$ is that tangent. The angle of step 5 runs evenly:
(2.12) with other ends. Of $u = (\arctan e^{-\lambda / 2} - b) / a$ the derivative is, up to its
sign, $e^{-\lambda / 2} / (2 a (1 + e^{-\lambda}))$: the density of $\lambda$,

$$ p(\lambda) = 1 / (4 a \cosh(\lambda / 2)) $$ (16.8)

Half of all draws have $|\lambda| < 2 \log(1 + \sqrt 2) = 1.76$, the ends being 40 apart.

**Boundary.** At $\lambda' = \infty$ (16.3) is $x$ and (16.4) is 0. At -20, $z$ keeps 4.5e-5 of $x$.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 2; Kingma et al. 2021, arXiv:2107.00630.

**Algorithm 2: guided sampling in log SNR.**

**Claim.** The paper's sampler is step 7's chain on a grid $\lambda_1 < \dots < \lambda_T$ of log
SNRs, with a variance of its own. It starts with $z \sim N(0, I)$ at $\lambda_1$. At each $\lambda$,
with $\lambda'$ the next of the grid, and $r$ and $k$ as above,

$$ \tilde\epsilon = (1 + w) \epsilon(z, y) - w \epsilon(z, \phi) $$ (16.9)
$$ \tilde x = (z - \sigma_\lambda \tilde\epsilon) / a_\lambda $$ (16.10)
$$ \sigma^2 = ((1 - r) \sigma_{\lambda'}^2)^{1 - v} ((1 - r) \sigma_\lambda^2)^v $$ (16.11)
$$ z' = (r / k) z + (1 - r) a_{\lambda'} \tilde x + \sigma n, \quad n \sim N(0, I) $$ (16.12)

**Why.** (16.10) is (16.1) solved for $x$, a guess of it, and (16.12) draws from (16.3) with the
guess in the place of $x$. Nothing is clipped. As for the variance, (6.3) says that (16.4) is right
if the data are one point and (16.2) if they are $N(0, I)$. $v$ in 0..1 goes from one to the other,
evenly in the logarithm: the two differ by the factor $\sigma_\lambda^2 / \sigma_{\lambda'}^2$, near
1 in small steps, but 5e6 on the last way, to $\lambda_T = 20$, if $T = 16$. With $v = 0$ this is
step 7 to the last digits, as (16.5) makes its table the same chain.

**Boundary.** After $\lambda_T$ comes data. (16.12) at $\lambda' = \infty$ has the mean $\tilde x$
and, for $v < 1$, no variance. The paper stops there for every $v$, and returns

$$ x = \tilde x(z_{\lambda_T}) $$ (16.13)

which at $\lambda_T = 20$ is $z$ give or take 4.5e-5: what noise the last (16.12) has added stays.

**Mistakes**, and what they do to the three Gaussians of step 1. The variance across, of the top
class, $w = 1$, $v = 0.3$, $T = 16$, is 0.175. It becomes

| mistake | variance |
|---|---|
| $v$ ignored: the posterior's variance | 0.154 |
| $v$ between the variances, not between their logarithms | 0.185 |
| $v$ and $1 - v$ exchanged | 0.211 |
| $\lambda$ in even steps from -20 to 20 | 0.122 |
| $z$ itself in the place of $n$ | 67 |
| no $x$ term in the mean | 0.0000002 |
| noise on the last guess; or $z$ returned, not $\tilde x$ | 0.175 |

The last row is 0.175 again: no sample would tell, and the tests look at a single step.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, alg. 2 and sec. 2; Nichol and Dhariwal 2021,
arXiv:2102.09672, sec. 3.1 (between the two variances, in the logarithm).

**Algorithm 1: training at every log SNR, and what its distribution weighs.**

**Claim.** A network that is trained at random $\lambda$ nears the oracle at every $\lambda$, and
knows no $T$. How $\lambda$ is drawn decides where it is good, and not what is best.

**Algorithm 1.** Draw $(x, y)$, drop $y$ with probability $p_{uncond}$ (9.5), draw $\epsilon$ and
a $\lambda$ of its own for each sample, by (16.6), make $z = a_\lambda x + \sigma_\lambda \epsilon$,
and go down the gradient of $|\epsilon - f(z, \lambda, y')|^2$. The network is that of appendix E,
told of $\lambda$ by the same four numbers. As $\theta_t$ of (E.1) is the angle of (16.7), they are

$$ \tau = (a, \sigma, a^2 - \sigma^2, 2 a \sigma) $$ (16.14)

**A weight.** With $L(\lambda)$ for the loss at one $\lambda$, what training minimises is

$$ L = E_u L(\lambda(u)) = \int L(\lambda) p(\lambda) d\lambda $$ (16.15)

The loss (8.5) on a grid of $T$ values, $t$ at random, is its sum over an even grid of $u$. The
bound weighs otherwise: by (8.4) it is $\int L(\lambda) d\lambda / 2$, so a *uniform* $\lambda$ is
maximum likelihood. The paper's (16.8) favours the middle, where it is settled what a picture shows.
Neither moves the minimum: by (5.1) $L$ is a floor plus the mean of $E|f - \epsilon^*|^2$ over
$p(\lambda)$, which is 0 at the oracle for any $p$. But a network that is not free divides itself:
of uniform $\lambda$ only 9% have $|\lambda| < 1.76$. Its error there is about three times as large.

**The floor** tells the two apart. For a class $N(\mu, S I)$ in $D$ dimensions it is, by (5.16),
$L(\lambda) = D a_\lambda^2 S / (a_\lambda^2 S + \sigma_\lambda^2)$. With $q = \tan \theta$,
$dq = (1 + q^2) d\theta$, and ends that are far out, its mean over the angle is
$(2 D / \pi) \int_0^\infty S / ((S + q^2) (1 + q^2)) dq$:

$$ L = D \sqrt S / (1 + \sqrt S) $$ (16.16)

A uniform $\lambda$ in $-l..l$ has $\log(1 + S e^\lambda)$ for the integral of $L(\lambda) / D$,

$$ L_{uniform} = D (1 / 2 + \log S / (2 l)) $$ (16.17)

At $S = 1/4$, $D = 2$ that is 0.667 and, with $l = 20$, 0.931.

**Boundary.** At $\lambda = 20$ no network can tell the noise: it is 4.5e-5 of $z$, and $L(\lambda)$
is all of $D$. At -20 the noise is all there is, and the floor is 0. Neither end teaches much.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, alg. 1; Kingma et al. 2021, arXiv:2107.00630,
and Kingma and Gao 2023, arXiv:2303.00848 (a distribution of log SNR is a weight).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from tutorial.appendix.e_backprop import MLP, Arrays, backward, forward, init, squared_error
from tutorial.contract import Denoiser, Normals, last
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step09_condition import drop_labels
from tutorial.step11_guidance import guide
from tutorial.step15_learning import adam_step, excess

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def signal_noise(
    log_snr: Float[np.ndarray, "*n"] | float,
) -> tuple[Float[np.ndarray, "*n"] | float, Float[np.ndarray, "*n"] | float]:
    """`a_lambda` and `sigma_lambda`, to rounding at any log SNR, also an infinite one."""
    # logaddexp(0, x) = log(1 + e^x), without overflow and without losing a small e^x beside 1.
    a = np.exp(-0.5 * np.logaddexp(0, -log_snr))  # (16.1)
    sigma = np.exp(-0.5 * np.logaddexp(0, log_snr))  # (16.1)
    return a, sigma


def forward_var(
    log_snr: Float[np.ndarray, "*n"] | float, log_snr_next: Float[np.ndarray, "*n"] | float
) -> Float[np.ndarray, "*n"] | float:
    """The variance of `z` at `log_snr` given that at `log_snr_next`, less noisy, `inf` for data."""
    if not np.all(np.asarray(log_snr) < log_snr_next):
        raise ValueError(f"log_snr = {log_snr} is not below log_snr_next = {log_snr_next}")
    _, sigma = signal_noise(log_snr)
    one_minus_r = -np.expm1(log_snr - log_snr_next)  # 1 - r, without a difference of near numbers
    return one_minus_r * sigma**2  # (16.2)


def q_posterior_log_snr(
    x0: Float[np.ndarray, "*n D"], z: Float[np.ndarray, "*n D"], log_snr: float, log_snr_next: float
) -> Gaussian:
    """The law of the less noisy state at `log_snr_next`, `inf` for data, given `z` and `x0`."""
    a, sigma = signal_noise(log_snr)
    a_next, sigma_next = signal_noise(log_snr_next)
    r = np.exp(log_snr - log_snr_next)
    r_over_k = r * a_next / a
    one_minus_r = forward_var(log_snr, log_snr_next) / sigma**2
    mean = r_over_k * z + one_minus_r * a_next * x0  # (16.3)
    var = one_minus_r * sigma_next**2  # (16.4)
    return Gaussian(mean, float(var))


def schedule_from(log_snr: Float[np.ndarray, " T"]) -> Schedule:
    """The chain of the other lessons on an increasing grid, whose first value is that of t = T."""
    if not len(log_snr) or not (np.diff(log_snr) > 0).all():
        raise ValueError(f"log_snr = {log_snr}: increasing values are needed, at least one")
    log_snr_next = np.append(log_snr[1:], np.inf)
    from_noise = np.asarray(forward_var(log_snr, log_snr_next))  # (16.5)
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
    angle = a * u + b  # its cosine is the signal and its sine the noise: (16.7)
    return -2 * np.log(np.tan(angle))  # (16.6)


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
    return inside / (4 * a * np.cosh(log_snr / 2))  # (16.8)


def reverse_var(log_snr: float, log_snr_next: float, v: float) -> float:
    """The variance of the noise that Algorithm 2 adds, for `v` in 0..1."""
    if not 0 <= v <= 1:
        raise ValueError(f"v = {v} is outside 0..1")
    zero = np.zeros(1)
    wide = forward_var(log_snr, log_snr_next)
    narrow = q_posterior_log_snr(zero, zero, log_snr, log_snr_next).var
    return float(narrow ** (1 - v) * wide**v)  # (16.11)


def algorithm_2_steps(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    log_snr: Float[np.ndarray, " T"],
    w: float,
    v: float,
    rng: Normals,
) -> Iterator[tuple[int, Float[np.ndarray, "n 2"]]]:
    """Yield `(t, z)` for t = T..0, the times of `schedule_from(log_snr)`; `rng` draws T times.

    `model` predicts eps on that schedule. Labels in 0..K, `v` in 0..1; the last state is `x~`.
    """
    if model.prediction != "eps":
        raise ValueError(f"prediction = {model.prediction!r}: Algorithm 2 is written for eps")
    null = np.full_like(y, model.num_classes)
    T = len(log_snr)
    z = rng.standard_normal((len(y), 2))
    yield T, z
    for t in range(T, 0, -1):
        here = float(log_snr[T - t])
        a, sigma = signal_noise(here)
        eps = model(z, t, y)
        if w != 0:
            eps = guide(eps, model(z, t, null), w)  # (16.9)
        x = (z - sigma * eps) / a  # (16.10)
        if t == 1:
            yield 0, x  # (16.13)
            return
        there = float(log_snr[T - t + 1])
        mean = q_posterior_log_snr(x, z, here, there).mean
        sigma_of_step = np.sqrt(reverse_var(here, there, v))
        n = rng.standard_normal(z.shape)
        z = mean + sigma_of_step * n  # (16.12)
        yield t - 1, z


def algorithm_2(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    log_snr: Float[np.ndarray, " T"],
    w: float,
    v: float,
    rng: Normals,
) -> Float[np.ndarray, "n 2"]:
    """One sample of each label in `y`, with guidance weight `w`."""
    _, x = last(algorithm_2_steps(model, y, log_snr, w, v, rng))
    return x


STEPS = 3000
MIXTURE = three_gaussians()
Draw = Callable[[np.ndarray], np.ndarray | float]


def four_numbers(log_snr: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 4"]:
    """What a network is told of the log SNR."""
    a, sigma = signal_noise(log_snr)
    return np.stack([a, sigma, a**2 - sigma**2, 2 * a * sigma], axis=1)  # (16.14)


def algorithm_1(
    mixture: GaussianMixture,
    p_uncond: float,
    steps: int,
    rng: np.random.Generator,
    draw: Draw = log_snr_of,
    width: int = 48,
    n: int = 112,
    rate: float = 0.01,
) -> Iterator[tuple[int, float, Arrays]]:
    """Yield (k, loss of the batch, parameters after it), k = 1..steps, the rate falling to 0.

    `draw` maps uniform numbers in 0..1 to log SNRs.
    """
    p = init(mixture.num_classes, width, rng)
    mean = {name: np.zeros_like(value) for name, value in p.items()}
    square = {name: np.zeros_like(value) for name, value in p.items()}
    for k in range(1, steps + 1):
        x, y = mixture.sample(n, rng)
        y = drop_labels(y, p_uncond, mixture.num_classes, rng)
        eps = rng.standard_normal(x.shape)
        log_snr = np.asarray(draw(rng.random(n)))  # (16.15)
        a, sigma = signal_noise(log_snr[:, None])
        z = a * x + sigma * eps
        f, passed = forward(p, z, four_numbers(log_snr), y)
        loss, Gf = squared_error(eps, f)
        G = backward(p, Gf, passed)
        r = rate * (1 - (k - 1) / steps)
        p, mean, square = adam_step(p, G, mean, square, k, r)
        yield k, loss, p


def floors(var: float, D: int, end: float = 20.0) -> tuple[float, float]:
    """The lowest loss on a class of variance `var`, in `D` dimensions; by a uniform log SNR."""
    L = D * var**0.5 / (1 + var**0.5)  # (16.16)
    L_uniform = D * (0.5 + np.log(var) / (2 * end))  # (16.17)
    return L, float(L_uniform)


def uniform(u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The map from 0..1 to log SNRs that is not the paper's: even steps in -20..20."""
    return 20 - 40 * u


@cache
def trained(steps: int, draw: Draw = log_snr_of) -> Arrays:
    """The parameters after `steps` of Algorithm 1, p_uncond = 0.2."""
    run = algorithm_1(MIXTURE, 0.2, steps, np.random.default_rng(0), draw)
    _, _, params = last(tqdm(run, "Algorithm 1", total=steps, disable=None))
    return params


def errors(params: Arrays, log_snr: Float[np.ndarray, " T"], null: bool) -> list[float]:
    """Mean square distance from the oracle at each log SNR, with labels or without."""
    schedule = schedule_from(log_snr)
    rng = np.random.default_rng(2)
    model = MLP(params, schedule, 3)
    oracle = oracle_eps(MIXTURE, schedule)
    times = range(len(log_snr), 0, -1)
    found: list[float] = []
    for t in times:
        _, square = excess(model, oracle, t, null, 500, rng)
        found.append(float(square.mean()))
    return found


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step16_log_snr")
