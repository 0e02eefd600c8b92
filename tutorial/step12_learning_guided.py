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

import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tutorial.contract import Denoiser
from tutorial.program import BLUE, CLASS_COLORS, GREY, ORANGE, RED, Check, present
from tutorial.step03_marginal import xt_from_x0
from tutorial.step08_sampling import ancestral_sample
from tutorial.step10_guidance import guide
from tutorial.step12_learning import ORACLE, STEPS, trained

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def guided_eps(
    model: Denoiser, xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"], w: float
) -> Float[np.ndarray, "n 2"]:
    """The guided output of a model."""
    return guide(model(xt, t, y), model(xt, t, np.full_like(y, model.num_classes)), w)


def guided_error(
    model: Denoiser, oracle: Denoiser, xt: Float[np.ndarray, "n 2"], t: int,
    y: Int[np.ndarray, " n"], w: float,
) -> Float[np.ndarray, "n 2"]:  # fmt: skip
    """How far the guided output of a model is from the oracle's, at each row of `xt`."""
    return guided_eps(model, xt, t, y, w) - guided_eps(oracle, xt, t, y, w)  # (12.14)


def parabola(
    model: Denoiser, oracle: Denoiser, xt: Float[np.ndarray, "n 2"], t: int,
    y: Int[np.ndarray, " n"],
) -> Float[np.ndarray, " 3"]:  # fmt: skip
    """What 1, w and w^2 are multiplied by in the mean square of the guided error."""
    e_y, e_null = (guided_error(model, oracle, xt, t, y, w) for w in (0.0, -1.0))
    d = e_y - e_null
    return np.array([(e_y**2).sum(), 2 * (e_y * d).sum(), (d**2).sum()]) / len(xt)  # (12.15)


def curl(
    field: Callable[[Float[np.ndarray, "n 2"]], Float[np.ndarray, "n 2"]],
    x: Float[np.ndarray, "n 2"], h: float = 1e-5,
) -> Float[np.ndarray, " n"]:  # fmt: skip
    """The curl of a field at each row of `x`, by central differences."""
    d1, d2 = ((field(x + e) - field(x - e)) / (2 * h) for e in h * np.eye(2))
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
    return float(np.linalg.norm(same_noise(model, w) - same_noise(ORACLE, w), axis=1).mean())


def at(t: int) -> tuple[Float[np.ndarray, "n 2"], int, Int[np.ndarray, " n"]]:
    """Samples of `x_t`, the time, and their labels: what a denoiser is asked."""
    (x0, y), rng = ORACLE.mixture.sample(500, np.random.default_rng(3)), np.random.default_rng(4)
    return xt_from_x0(x0, rng.standard_normal(x0.shape), t, ORACLE.schedule), t, y


def checks(steps: int = STEPS) -> list[Check]:
    """The parabola against guided errors; the curl; where the same noise ends."""
    model, w = trained(0.2, steps)[0], 3.0
    square = (guided_error(model, ORACLE, *at(20), w) ** 2).sum(1).mean()
    mixed = float(parabola(model, ORACLE, *at(20)) @ (1, w, w**2))
    turns, still = (np.abs(guided_curl(m, *at(20), w)).mean() for m in (model, ORACLE))
    near, far = apart(model, 0.0), apart(model, w)
    return [
        Check("(12.15) guided excess at t = 20, w = 3", square, mixed, 1e-12),
        Check("(12.16) curl of the guided oracle", still, 0, 1e-8),
        Check("(12.16) curl of the guided network", turns, 0.3, 0.28),
        Check("(12.14) same noise, network to oracle, w = 0", near, 0, 0.15),
        Check("(12.14) more than twice as far at w = 3", far > 2 * near, 1, 0),
    ]


def figure(steps: int = STEPS) -> Figure:
    """Excess, distance and curl as w grows; samples from the same noise; where the field turns."""
    fig = Figure(figsize=(11, 6.8), layout="constrained")
    (error, distance, turning), (left, right, where) = fig.subplots(2, 3)
    model, times, ws = trained(0.2, steps)[0], range(1, 101, 9), np.linspace(-1, 4, 101)
    for t, color in ((10, RED), (28, ORANGE), (55, BLUE)):
        c = parabola(model, ORACLE, *at(t))
        error.semilogy(ws, c[0] + c[1] * ws + c[2] * ws**2, color=color, label=f"t = {t}")
    error.set(xlabel="w", title="Mean square error of the guided eps")
    distance.plot(range(5), [apart(model, float(w)) for w in range(5)], "o-", color=BLUE)
    distance.set(xlabel="w", ylim=0, title="From network to oracle, same noise")
    for m, w, color in ((model, 3.0, RED), (model, 0.0, BLUE), (ORACLE, 3.0, GREY)):
        means = [np.abs(guided_curl(m, *at(t), w)).mean() for t in times]
        name = "oracle" if m is ORACLE else "network"
        turning.semilogy(times, means, color=color, label=f"{name}, w = {w:.0f}")
    turning.set(xlabel="t", title="Mean size of the curl")
    for ax, m, name in ((left, ORACLE, "oracle"), (right, model, "network")):
        ax.scatter(*same_noise(m, 3.0).T, s=4, c=np.repeat(CLASS_COLORS[:3], 100))
        ax.set(title=f"Guided samples, w = 3: {name}", aspect="equal", xlim=(-4, 4), ylim=(-4, 4))
    a, y = np.linspace(-4, 4, 61), np.zeros(61 * 61, int)
    field = guided_curl(model, np.stack(np.meshgrid(a, a), -1).reshape(-1, 2), 20, y, 3.0)
    shades = where.pcolormesh(a, a, field.reshape(61, 61), cmap="PuOr", vmin=-1.5, vmax=1.5)
    where.set(title="Curl of the network: y = 0, w = 3, t = 20", aspect="equal")
    fig.colorbar(shades, ax=where)  # pyright: ignore[reportUnknownMemberType]  # hole in the stubs
    for ax in (error, turning):
        ax.legend(fontsize=8)
    return fig


if __name__ == "__main__":
    chosen = 8 * STEPS if "--full" in sys.argv else STEPS
    present("step12_learning_guided", __doc__ or "", checks(chosen), figure(chosen))
