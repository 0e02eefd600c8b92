r"""Step 15. Learning: both denoisers at once, from samples alone, by dropping labels.

**Claim.** A network that is shown samples, and never their density, nears step 5's oracle with the
label and without it, if labels are dropped in training. How often decides which of the two it
learns better.

**Adam** moves every number by about the rate $r$, whatever the size of its gradient $G$. It keeps
running means of $G$ and of its square, from $M_0 = V_0 = 0$; $\rho$ is the paper's beta:

$$ M_k = \rho_1 M_{k-1} + (1 - \rho_1) G_k, \ \ V_k = \rho_2 V_{k-1} + (1 - \rho_2) G_k^2 $$ (15.1)
$$ W_k = W_{k-1} - r (M_k / (1 - \rho_1^k)) / (\sqrt{V_k / (1 - \rho_2^k)} + 10^{-8}) $$ (15.2)

Unrolled, $M_k = (1 - \rho_1) \sum_j \rho_1^{k-j} G_j$ for $j = 1, \dots, k$, and the weights add up
to $1 - \rho_1^k$: the start at 0 pulls the mean towards 0, and the divisor takes that back. Without
both divisors the first step is $(1 - \rho_1) / \sqrt{1 - \rho_2} = 3.2$ times $r$.

**Boundary.** At $k = 1$ the two means are $G_1$ and its square, so up to the $10^{-8}$

$$ W_1 = W_0 - r \, sign(G_1) $$ (15.3)

**Label dropout** (9.5) makes the loss $1 - p_{uncond}$ times that with labels plus $p_{uncond}$
times that without (9.6). So the gradient is, on average over the coins, a mix of two,

$$ E[G] = (1 - p_{uncond}) G_y + p_{uncond} G_\phi $$ (15.4)

with $G_y$ that of a batch with all its labels and $G_\phi$ that of the same batch with none. By
step 9 the best pair is the same for every $p_{uncond}$ strictly between 0 and 1. A finite network
in finite time divides itself: the larger $p_{uncond}$, the better its null output and the worse the
conditional one. At 0, $G_{E_K} = 0$, and what it says at the null label is chance.

**Against the oracle.** With $\epsilon^*$ for the oracle's output, (5.1) says of any $f$

$$ E|\epsilon - f|^2 - E|\epsilon - \epsilon^*|^2 = E|f - \epsilon^*|^2 $$ (15.5)

On the left losses, on the right a distance: the excess. The loss alone tells little, as nearly all
of it is floor. Here the null output has more excess than the conditional one even at
$p_{uncond} = 0.5$: between classes it has to turn, while within one Gaussian class it is linear.

**Source.** Kingma and Ba 2014, arXiv:1412.6980, alg. 1; Ho and Salimans 2022, arXiv:2207.12598,
alg. 1 and tab. 1, where $p_{uncond}$ of 0.1 and 0.2 are close to each other and 0.5 is worse.

**Guiding a network: its errors are guided too, and no density has its score.**

**Claim.** Guidance is linear, so it mixes a network's two errors as it mixes the two outputs. They
do not cancel: from the same noise, the network's samples and the oracle's part as $w$ grows. And
the guided field of a network turns, as no score does.

**Errors.** Let $e_y$ and $e_\phi$ be the output of the network minus that of the oracle, with
the label and at the null label. Subtract one guided output from the other; what is exact cancels:

$$ e_w = (1 + w) e_y - w e_\phi = e_y + w d, \quad d = e_y - e_\phi $$ (15.6)

Square it and take the mean at one $t$. The excess of the guided output is a parabola in $w$,

$$ E|e_w|^2 = E|e_y|^2 + 2 w E[e_y \cdot d] + w^2 E|d|^2 $$ (15.7)

whose $w^2$ term wins soon: $d$ holds the error of the null output, the larger one (above). Two
outputs of one network share weights, so part of the error is common and drops out of $d$, but only
part. And this is the mean over $x_t$ of the data. Guided chains go where data are rare, and there
no loss has ever asked for anything.

**Curl.** In the plane a field $g = (g_1, g_2)$ that is the gradient of something has

$$ curl(g) = \partial_1 g_2 - \partial_2 g_1 = 0 $$ (15.8)

since second derivatives commute. The guided oracle is $-\sqrt{1 - \bar\alpha_t}$ times the gradient
of $(1 + w) \log p(x_t | y) - w \log p(x_t)$, so it obeys, whatever $w$. Nothing in the loss asks it
of a network. The curl is linear in $g$, so it too is guided, and it is a part of the error that
can be measured where nobody knows the oracle:

$$ curl(g_w) = (1 + w) curl(g_y) - w curl(g_\phi) $$ (15.9)

**Boundary.** At $w = 0$ all this is the error of the conditional output and at $w = -1$ that of
the null one. Where the two errors are equal, $d = 0$ and no weight adds any.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 3.2: a mix of unconstrained networks is
in general the gradient of no classifier. Chidambaram et al. 2024, arXiv:2409.13074, on score error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from tutorial.appendix.e_backprop import MLP, Arrays, angles, backward, forward, init, squared_error
from tutorial.contract import Denoiser, last
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import Oracle, oracle_eps
from tutorial.step07_sampling import ancestral_sample
from tutorial.step09_condition import drop_labels
from tutorial.step11_guidance import guide

if TYPE_CHECKING:
    from jaxtyping import Float, Int

RHO_1 = 0.9
RHO_2 = 0.999
STEPS = 3000
TIMES = range(1, 101, 3)
# Not cosine: its last step multiplies an error of the network by 32 (step 6), this one's by 1.1.
ORACLE = oracle_eps(three_gaussians(), Schedule.linear(100))


def adam_step(
    p: Arrays, G: Arrays, mean: Arrays, square: Arrays, k: int, rate: float
) -> tuple[Arrays, Arrays, Arrays]:
    """Parameters, and both running means, after update `k` >= 1; nothing is changed in place."""
    mean = {name: RHO_1 * mean[name] + (1 - RHO_1) * G[name] for name in p}  # (15.1)
    square = {name: RHO_2 * square[name] + (1 - RHO_2) * G[name] ** 2 for name in p}  # (15.1)
    W: Arrays = {}
    for name in p:
        M = mean[name] / (1 - RHO_1**k)  # the weights of the mean add up to the divisor
        V = square[name] / (1 - RHO_2**k)
        W[name] = p[name] - rate * (M / (np.sqrt(V) + 1e-8))  # (15.2), and (15.3) at k = 1
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
        y = drop_labels(y, p_uncond, mixture.num_classes, rng)  # (15.4)
        f, passed = forward(p, xt, angles(t, schedule), y)
        loss, Gf = squared_error(eps, f)
        G = backward(p, Gf, passed)
        r = rate * (1 - (k - 1) / steps)
        p, mean, square = adam_step(p, G, mean, square, k, r)
        yield k, loss, MLP(p, schedule, mixture.num_classes)


def excess(
    model: Denoiser, oracle: Oracle, t: int, null: bool, n: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Both sides of (15.5) for `n` samples at `t`, before the mean, without labels if `null`."""
    x0, y = oracle.mixture.sample(n, rng)
    if null:
        y = np.full(n, oracle.num_classes)
    eps = rng.standard_normal(x0.shape)
    xt = xt_from_x0(x0, eps, t, oracle.schedule)
    f = model(xt, t, y)
    best = oracle(xt, t, y)
    by_losses = ((eps - f) ** 2 - (eps - best) ** 2).sum(1)  # (15.5), the left side
    by_distance = ((f - best) ** 2).sum(1)  # (15.5), the right side
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


def guided_eps(
    model: Denoiser, xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"], w: float
) -> Float[np.ndarray, "n 2"]:
    """The guided output of a model."""
    null = np.full_like(y, model.num_classes)
    return guide(model(xt, t, y), model(xt, t, null), w)


def guided_error(
    model: Denoiser,
    oracle: Denoiser,
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
    w: float,
) -> Float[np.ndarray, "n 2"]:
    """How far the guided output of a model is from the oracle's, at each row of `xt`."""
    return guided_eps(model, xt, t, y, w) - guided_eps(oracle, xt, t, y, w)  # (15.6)


def parabola(
    model: Denoiser,
    oracle: Denoiser,
    xt: Float[np.ndarray, "n 2"],
    t: int,
    y: Int[np.ndarray, " n"],
) -> Float[np.ndarray, " 3"]:
    """What 1, w and w^2 are multiplied by in the mean square of the guided error."""
    e_y = guided_error(model, oracle, xt, t, y, 0.0)
    e_null = guided_error(model, oracle, xt, t, y, -1.0)
    d = e_y - e_null
    sums = [(e_y**2).sum(), 2 * (e_y * d).sum(), (d**2).sum()]  # (15.7)
    return np.array(sums) / len(xt)


def curl(
    field: Callable[[Float[np.ndarray, "n 2"]], Float[np.ndarray, "n 2"]],
    x: Float[np.ndarray, "n 2"],
    h: float = 1e-5,
) -> Float[np.ndarray, " n"]:
    """The curl of a field at each row of `x`, by central differences."""
    e1, e2 = h * np.eye(2)
    d1 = (field(x + e1) - field(x - e1)) / (2 * h)
    d2 = (field(x + e2) - field(x - e2)) / (2 * h)
    return d1[:, 1] - d2[:, 0]  # (15.8)


def guided_curl(
    model: Denoiser, xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"], w: float
) -> Float[np.ndarray, " n"]:
    """The curl of the guided output at each row of `xt`."""
    return curl(lambda x: guided_eps(model, x, t, y, w), xt)  # (15.9)


@cache
def same_noise(model: Denoiser, w: float) -> Float[np.ndarray, "300 2"]:
    """100 samples of each class, from the same noise whatever the model and `w`."""
    y = np.repeat(np.arange(3), 100)
    return ancestral_sample(model, y, ORACLE.schedule, w, np.random.default_rng(2))


def apart(model: Denoiser, w: float) -> float:
    """How far, on average, the samples of a model end from the oracle's."""
    off = same_noise(model, w) - same_noise(ORACLE, w)
    return float(np.linalg.norm(off, axis=1).mean())


def at(t: int) -> tuple[Float[np.ndarray, "n 2"], int, Int[np.ndarray, " n"]]:
    """Samples of `x_t`, the time, and their labels: what a denoiser is asked."""
    x0, y = ORACLE.mixture.sample(500, np.random.default_rng(3))
    rng = np.random.default_rng(4)
    eps = rng.standard_normal(x0.shape)
    xt = xt_from_x0(x0, eps, t, ORACLE.schedule)
    return xt, t, y


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step15_learning")
