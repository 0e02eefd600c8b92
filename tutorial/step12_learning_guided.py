r"""Step 12, part 3. Guiding a network: its errors are guided too, and no density has its score.

**Claim.** Guidance is linear, so it mixes a network's two errors as it mixes the two outputs. They
do not cancel: from the same noise, the network's samples and the oracle's part as $w$ grows. And
the guided field of a network turns, as no score does.

**Errors.** Let $e_y$ and $e_\phi$ be the output of the network minus that of the oracle, with
the label and at the null label. Subtract one guided output from the other; what is exact cancels:

$$ e_w = (1 + w) e_y - w e_\phi = e_y + w d, \quad d = e_y - e_\phi $$ (12.14)

Square it and take the mean at one $t$. The excess of the guided output is a parabola in $w$,

$$ E|e_w|^2 = E|e_y|^2 + 2 w E[e_y \cdot d] + w^2 E|d|^2 $$ (12.15)

whose $w^2$ term wins soon: $d$ holds the error of the null output, the larger one (part 2). Two
outputs of one network share weights, so part of the error is common and drops out of $d$, but only
part. And this is the mean over $x_t$ of the data. Guided chains go where data are rare, and there
no loss has ever asked for anything.

**Curl.** In the plane a field $g = (g_1, g_2)$ that is the gradient of something has

$$ curl(g) = \partial_1 g_2 - \partial_2 g_1 = 0 $$ (12.16)

since second derivatives commute. The guided oracle is $-\sqrt{1 - \bar\alpha_t}$ times the gradient
of $(1 + w) \log p(x_t | y) - w \log p(x_t)$, so it obeys, whatever $w$. Nothing in the loss asks it
of a network. The curl is linear in $g$, so it too is guided, and it is a part of the error that
can be measured where nobody knows the oracle:

$$ curl(g_w) = (1 + w) curl(g_y) - w curl(g_\phi) $$ (12.17)

**Boundary.** At $w = 0$ all this is the error of the conditional output and at $w = -1$ that of
the null one. Where the two errors are equal, $d = 0$ and no weight adds any.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 3.2: a mix of unconstrained networks is
in general the gradient of no classifier. Chidambaram et al. 2024, arXiv:2409.13074, on score error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser
from tutorial.step03_marginal import xt_from_x0
from tutorial.step08_sampling import ancestral_sample
from tutorial.step10_guidance import guide
from tutorial.step12_learning import ORACLE

if TYPE_CHECKING:
    from jaxtyping import Float, Int


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
    return guided_eps(model, xt, t, y, w) - guided_eps(oracle, xt, t, y, w)  # (12.14)


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
    sums = [(e_y**2).sum(), 2 * (e_y * d).sum(), (d**2).sum()]  # (12.15)
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
    return d1[:, 1] - d2[:, 0]  # (12.16)


def guided_curl(
    model: Denoiser, xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"], w: float
) -> Float[np.ndarray, " n"]:
    """The curl of the guided output at each row of `xt`."""
    return curl(lambda x: guided_eps(model, x, t, y, w), xt)  # (12.17)


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

    present("step12_learning_guided")
