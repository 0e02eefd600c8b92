r"""Step 13, part 4. Algorithm 1: training at every log SNR, and what its distribution weighs.

**Claim.** A network that is trained at random $\lambda$ nears the oracle at every $\lambda$, and
knows no $T$. How $\lambda$ is drawn decides where it is good, and not what is best.

**Algorithm 1.** Draw $(x, y)$, drop $y$ with probability $p_{uncond}$ (9.5), draw $\epsilon$ and
a $\lambda$ of its own for each sample, by (13.6), make $z = a_\lambda x + \sigma_\lambda \epsilon$,
and go down the gradient of $|\epsilon - f(z, \lambda, y')|^2$. The network is that of step 12, told
of $\lambda$ by the same four numbers. As $\theta_t$ of (12.1) is the angle of (13.7), they are

$$ \tau = (a, \sigma, a^2 - \sigma^2, 2 a \sigma) $$ (13.19)

**A weight.** With $L(\lambda)$ for the loss at one $\lambda$, what training minimises is

$$ L = E_u L(\lambda(u)) = \int L(\lambda) p(\lambda) d\lambda $$ (13.20)

The loss (6.9) on a grid of $T$ values, $t$ at random, is its sum over an even grid of $u$. The
bound weighs otherwise: by (6.8) it is $\int L(\lambda) d\lambda / 2$, so a *uniform* $\lambda$ is
maximum likelihood. The paper's (13.8) favours the middle, where it is settled what a picture shows.
Neither moves the minimum: by (7.8) $L$ is a floor plus the mean of $E|f - \epsilon^*|^2$ over
$p(\lambda)$, which is 0 at the oracle for any $p$. But a network that is not free divides itself:
of uniform $\lambda$ only 9% have $|\lambda| < 1.76$. Its error there is about three times as large.

**The floor** tells the two apart. For a class $N(\mu, S I)$ in $D$ dimensions it is, by (7.9),
$L(\lambda) = D a_\lambda^2 S / (a_\lambda^2 S + \sigma_\lambda^2)$. With $q = \tan \theta$,
$dq = (1 + q^2) d\theta$, and ends that are far out, its mean over the angle is
$(2 D / \pi) \int_0^\infty S / ((S + q^2) (1 + q^2)) dq$:

$$ L = D \sqrt S / (1 + \sqrt S) $$ (13.21)

A uniform $\lambda$ in $-l..l$ has $\log(1 + S e^\lambda)$ for the integral of $L(\lambda) / D$,

$$ L_{uniform} = D (1 / 2 + \log S / (2 l)) $$ (13.22)

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

from tutorial.contract import last
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step09_label_dropout import drop_labels
from tutorial.step12_backprop import MLP, Arrays, backward, forward, init, squared_error
from tutorial.step12_learning import adam_step, excess
from tutorial.step13_process import log_snr_of, schedule_from, signal_noise

if TYPE_CHECKING:
    from jaxtyping import Float

STEPS = 3000
MIXTURE = three_gaussians()
Draw = Callable[[np.ndarray], np.ndarray | float]


def four_numbers(log_snr: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 4"]:
    """What a network is told of the log SNR."""
    a, sigma = signal_noise(log_snr)
    return np.stack([a, sigma, a**2 - sigma**2, 2 * a * sigma], axis=1)  # (13.19)


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
        log_snr = np.asarray(draw(rng.random(n)))  # (13.20)
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
    L = D * var**0.5 / (1 + var**0.5)  # (13.21)
    L_uniform = D * (0.5 + np.log(var) / (2 * end))  # (13.22)
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

    present("step13_training")
