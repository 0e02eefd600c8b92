r"""Step 12, part 2. Learning: both denoisers at once, from samples alone, by dropping labels.

**Claim.** A network that is shown samples, and never their density, nears step 7's oracle with the
label and without it, if labels are dropped in training. How often decides which of the two it
learns better.

**Adam** moves every number by about the rate $r$, whatever the size of its gradient $G$. It keeps
running means of $G$ and of its square, from $M_0 = V_0 = 0$; $\rho$ is the paper's beta:

$$ M_k = \rho_1 M_{k-1} + (1 - \rho_1) G_k, \ \ V_k = \rho_2 V_{k-1} + (1 - \rho_2) G_k^2 $$ (12.9)
$$ W_k = W_{k-1} - r (M_k / (1 - \rho_1^k)) / (\sqrt{V_k / (1 - \rho_2^k)} + 10^{-8}) $$ (12.10)

Unrolled, $M_k = (1 - \rho_1) \sum_j \rho_1^{k-j} G_j$ for $j = 1, \dots, k$, and the weights add up
to $1 - \rho_1^k$: the start at 0 pulls the mean towards 0, and the divisor takes that back. Without
both divisors the first step is $(1 - \rho_1) / \sqrt{1 - \rho_2} = 3.2$ times $r$.

**Boundary.** At $k = 1$ the two means are $G_1$ and its square, so up to the $10^{-8}$

$$ W_1 = W_0 - r \, sign(G_1) $$ (12.11)

**Label dropout** (9.5) makes the loss $1 - p_{uncond}$ times that with labels plus $p_{uncond}$
times that without (9.6). So the gradient is, on average over the coins, a mix of two,

$$ E[G] = (1 - p_{uncond}) G_y + p_{uncond} G_\phi $$ (12.12)

with $G_y$ that of a batch with all its labels and $G_\phi$ that of the same batch with none. By
step 9 the best pair is the same for every $p_{uncond}$ strictly between 0 and 1. A finite network
in finite time divides itself: the larger $p_{uncond}$, the better its null output and the worse the
conditional one. At 0, $G_{E_K} = 0$, and what it says at the null label is chance.

**Against the oracle.** With $\epsilon^*$ for the oracle's output, (7.8) says of any $f$

$$ E|\epsilon - f|^2 - E|\epsilon - \epsilon^*|^2 = E|f - \epsilon^*|^2 $$ (12.13)

On the left losses, on the right a distance: the excess. The loss alone tells little, as nearly all
of it is floor. Here the null output has more excess than the conditional one even at
$p_{uncond} = 0.5$: between classes it has to turn, while within one Gaussian class it is linear.

**Source.** Kingma and Ba 2014, arXiv:1412.6980, alg. 1; Ho and Salimans 2022, arXiv:2207.12598,
alg. 1 and tab. 1, where $p_{uncond}$ of 0.1 and 0.2 are close to each other and 0.5 is worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from tutorial.contract import Denoiser, last
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step03_marginal import xt_from_x0
from tutorial.step07_oracle import Oracle, oracle_eps
from tutorial.step09_label_dropout import drop_labels
from tutorial.step12_backprop import MLP, Arrays, angles, backward, forward, init, squared_error

if TYPE_CHECKING:
    from jaxtyping import Float

RHO_1 = 0.9
RHO_2 = 0.999
STEPS = 3000
TIMES = range(1, 101, 3)
# Not cosine: its last step multiplies an error of the network by 32 (step 5), this one's by 1.1.
ORACLE = oracle_eps(three_gaussians(), Schedule.linear(100))


def adam_step(
    p: Arrays, G: Arrays, mean: Arrays, square: Arrays, k: int, rate: float
) -> tuple[Arrays, Arrays, Arrays]:
    """Parameters, and both running means, after update `k` >= 1; nothing is changed in place."""
    mean = {name: RHO_1 * mean[name] + (1 - RHO_1) * G[name] for name in p}  # (12.9)
    square = {name: RHO_2 * square[name] + (1 - RHO_2) * G[name] ** 2 for name in p}  # (12.9)
    W: Arrays = {}
    for name in p:
        M = mean[name] / (1 - RHO_1**k)  # the weights of the mean add up to the divisor
        V = square[name] / (1 - RHO_2**k)
        W[name] = p[name] - rate * (M / (np.sqrt(V) + 1e-8))  # (12.10), and (12.11) at k = 1
    return W, mean, square


def train(
    mixture: GaussianMixture,
    schedule: Schedule,
    p_uncond: float,
    steps: int,
    rng: np.random.Generator,
    width: int = 48,
    n: int = 112,
    rate: float = 0.01,
) -> Iterator[tuple[int, float, MLP]]:
    """Yield (k, loss of the batch, model after it) for k = 1..steps, the rate falling to 0."""
    # 112 x 48 x 48 < 2^18: larger products wake OpenBLAS's threads, which cost more than they do.
    p = init(mixture.num_classes, width, rng)
    mean = {name: np.zeros_like(value) for name, value in p.items()}
    square = {name: np.zeros_like(value) for name, value in p.items()}
    for k in range(1, steps + 1):
        x0, y = mixture.sample(n, rng)
        t = rng.integers(1, schedule.T + 1, n)
        eps = rng.standard_normal(x0.shape)
        abar = schedule.alpha_bar[t][:, None]
        xt = np.sqrt(abar) * x0 + np.sqrt(1 - abar) * eps  # (3.2), each row at its own t
        y = drop_labels(y, p_uncond, mixture.num_classes, rng)  # (12.12)
        f, passed = forward(p, xt, angles(t, schedule), y)
        loss, Gf = squared_error(eps, f)
        G = backward(p, Gf, passed)
        r = rate * (1 - (k - 1) / steps)
        p, mean, square = adam_step(p, G, mean, square, k, r)
        yield k, loss, MLP(p, schedule, mixture.num_classes)


def excess(
    model: Denoiser, oracle: Oracle, t: int, null: bool, n: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Both sides of (12.13) for `n` samples at `t`, before the mean, without labels if `null`."""
    x0, y = oracle.mixture.sample(n, rng)
    if null:
        y = np.full(n, oracle.num_classes)
    eps = rng.standard_normal(x0.shape)
    xt = xt_from_x0(x0, eps, t, oracle.schedule)
    f = model(xt, t, y)
    best = oracle(xt, t, y)
    by_losses = ((eps - f) ** 2 - (eps - best) ** 2).sum(1)  # (12.13), the left side
    by_distance = ((f - best) ** 2).sum(1)  # (12.13), the right side
    return by_losses, by_distance


@cache
def trained(p_uncond: float, steps: int = STEPS) -> tuple[MLP, Float[np.ndarray, "2 times"]]:
    """A model for `ORACLE`, and its excess at each of `TIMES`, with labels and without."""
    run = train(ORACLE.mixture, ORACLE.schedule, p_uncond, steps, np.random.default_rng(0))
    bar = tqdm(run, f"p_uncond = {p_uncond}", total=steps, disable=None)
    _, _, model = last(bar)  # all models together would fill the memory
    rng = np.random.default_rng(1)
    distances: list[list[np.ndarray]] = []
    for null in (False, True):
        distances.append([excess(model, ORACLE, t, null, 400, rng)[1] for t in TIMES])
    return model, np.mean(distances, axis=2)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step12_learning")
