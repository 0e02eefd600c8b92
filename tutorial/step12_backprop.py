r"""Step 12, part 1. The chain rule by hand: a denoiser of three layers and its gradient.

**Claim.** One rule for each kind of layer gives the exact gradient of the loss in every parameter.

**Network.** A row is a sample. Time enters by the angle $\theta_t$ whose cosine and sine are the
factors of (3.2), the label by its row of a table $E$ of $K + 1$ rows, the last the null label's:

$$ \tau_t = (\cos \theta_t, \sin \theta_t, \cos 2 \theta_t, \sin 2 \theta_t) $$ (12.1)
$$ a_1 = x_t W_x + \tau_t W_t + E_y, \quad h_1 = silu(a_1) $$ (12.2)
$$ a_2 = h_1 W_2 + b_2, \quad h_2 = silu(a_2), \quad f = h_2 W_3 + b_3 $$ (12.3)
$$ silu(a) = a \sigma(a), \quad silu'(a) = \sigma(a) (1 + a (1 - \sigma(a))) $$ (12.4)

with $\sigma(a) = 1 / (1 + e^{-a})$, whose slope is $\sigma (1 - \sigma)$.

**Backward.** Write $G_z$ for the gradient of $L$ in an array $z$, of the same shape. It is defined
by $dL = tr(G_z^T dz)$ for every small $dz$. The loss of $n$ samples starts the chain:

$$ L = (1 / n) \sum_i |\epsilon_i - f_i|^2, \quad G_f = (2 / n) (f - \epsilon) $$ (12.5)

A linear layer, $z = h W + b$, has $dz = dh W + h dW + 1 db$ (a column of ones puts $b$ into every
row), so $dL = tr(G_z^T dh W) + tr(G_z^T h dW) + tr(G_z^T 1 db)$. A trace may be turned round, the
first one to $tr(W G_z^T dh)$. What now stands before each $d$ is a $G^T$:

$$ G_h = G_z W^T, \quad G_W = h^T G_z, \quad G_b = 1^T G_z $$ (12.6)

An entry of $h = silu(a)$ moves with its own entry of $a$ and no other, $dh = silu'(a) da$. A table
is a linear layer whose input is a row of zeros with a 1 at $y$, so its $h^T G_z$ adds up the rows
of the samples with that label, and a label that is not in the batch learns nothing:

$$ G_a = G_h silu'(a) \text{, entry by entry} $$ (12.7)
$$ G_{E_y} = \sum_{i : y_i = y} G_{a_1, i} $$ (12.8)

**Check** every number: with one wrong array a network still learns, only worse. The difference
$(L(p + h) - L(p - h)) / (2 h)$ is off by about $h^2$ (next term) and $10^{-16} / h$ (rounding).

**Boundary.** At $t = 0$, $\tau = (1, 0, 1, 0)$; towards $t = T$ it nears $(0, 1, -1, 0)$.

**Source.** Rumelhart et al. 1986, Nature 323:533; Elfwing et al. 2017, arXiv:1702.03118 (silu).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tutorial.program import BLUE, CLASS_COLORS, GREY, Check, present
from tutorial.step00_notation import Schedule

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Arrays = dict[str, np.ndarray]


def init(num_classes: int, width: int, rng: np.random.Generator) -> Arrays:
    """Weights that keep a layer's output at about the size of its input, and the last one small."""
    K, H, draw = num_classes, width, rng.standard_normal
    p = {"Wx": draw((2, H)) / 2**0.5, "Wt": draw((4, H)) / 2, "E": draw((K + 1, H)) / 2}
    p |= {"W2": draw((H, H)) / H**0.5, "b2": np.zeros(H)}
    return p | {"W3": 0.1 * draw((H, 2)) / H**0.5, "b3": np.zeros(2)}


def angles(t: Int[np.ndarray, " n"], schedule: Schedule) -> Float[np.ndarray, "n 4"]:
    """The angle of each time `t` in 0..T, as four numbers."""
    angle = np.arccos(np.sqrt(schedule.alpha_bar[t]))
    return np.stack([f(k * angle) for k in (1, 2) for f in (np.cos, np.sin)], axis=1)  # (12.1)


def silu(a: Float[np.ndarray, "n H"]) -> tuple[Float[np.ndarray, "n H"], Float[np.ndarray, "n H"]]:
    """The function and its slope, entry by entry."""
    gate = 0.5 * (1 + np.tanh(0.5 * a))  # 1 / (1 + e^-a), without its overflow
    return a * gate, gate * (1 + a * (1 - gate))  # (12.4)


def forward(
    p: Arrays, xt: Float[np.ndarray, "n 2"], tau: Float[np.ndarray, "n 4"],
    y: Int[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, "n 2"], Arrays]:  # fmt: skip
    """The output, and what `backward` needs to know of the way there."""
    h1, slope1 = silu(xt @ p["Wx"] + tau @ p["Wt"] + p["E"][y])  # (12.2)
    h2, slope2 = silu(h1 @ p["W2"] + p["b2"])  # (12.3)
    one_hot = (y[:, None] == np.arange(len(p["E"]))).astype(np.float64)
    passed = {"xt": xt, "tau": tau, "one_hot": one_hot, "h1": h1, "h2": h2}
    return h2 @ p["W3"] + p["b3"], passed | {"slope1": slope1, "slope2": slope2}  # (12.3)


def squared_error(
    eps: Float[np.ndarray, "n 2"], f: Float[np.ndarray, "n 2"]
) -> tuple[float, Float[np.ndarray, "n 2"]]:
    """The loss, and its gradient in `f`."""
    return float(((eps - f) ** 2).sum() / len(f)), 2 / len(f) * (f - eps)  # (12.5)


def backward(p: Arrays, Gf: Float[np.ndarray, "n 2"], passed: Arrays) -> Arrays:
    """The gradient in every parameter, from the one in the output."""
    Ga2 = Gf @ p["W3"].T * passed["slope2"]  # (12.6) (12.7)
    Ga1 = Ga2 @ p["W2"].T * passed["slope1"]  # (12.6) (12.7)
    return {
        "Wx": passed["xt"].T @ Ga1, "Wt": passed["tau"].T @ Ga1,  # (12.6)
        "E": passed["one_hot"].T @ Ga1,  # (12.8)
        "W2": passed["h1"].T @ Ga2, "b2": Ga2.sum(0),  # (12.6)
        "W3": passed["h2"].T @ Gf, "b3": Gf.sum(0),  # (12.6)
    }  # fmt: skip


@dataclass(frozen=True, eq=False)
class MLP:
    """A learned denoiser, of the same contract as the oracle."""

    params: Arrays
    schedule: Schedule
    num_classes: int  # K, which is also the null label
    prediction: str = "eps"

    def __call__(
        self, xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n 2"]:
        """The noise in each row of `xt`, as learned, for `t` in 1..T and `y` in 0..K."""
        K, tau = self.num_classes, angles(np.full(len(xt), self.schedule.check_t(t)), self.schedule)
        if len(y) and not (y.min() >= 0 and y.max() <= K):
            raise ValueError(f"y in {y.min()}..{y.max()} is outside 0..{K} ({K}: the null label)")
        return forward(self.params, xt, tau, y)[0]


def furthest(h: float) -> dict[str, float]:
    """How far `backward` is from a difference of losses at most, over all numbers of each array."""
    rng = np.random.default_rng(0)
    p, (xt, eps) = init(3, 6, rng), rng.standard_normal((2, 6, 2))
    y, tau = np.array([0, 1, 3, 3, 1, 0]), angles(rng.integers(1, 101, 6), Schedule.linear(100))
    f, passed = forward(p, xt, tau, y)
    off = {name: 0.0 for name in p}
    for name, G in backward(p, squared_error(eps, f)[1], passed).items():
        for i in np.ndindex(G.shape):
            up, down = p[name].copy(), p[name].copy()
            up[i], down[i] = up[i] + h, down[i] - h
            at = [squared_error(eps, forward(p | {name: q}, xt, tau, y)[0])[0] for q in (up, down)]
            off[name] = max(off[name], abs(float(G[i]) - (at[0] - at[1]) / (2 * h)))
    return off


def checks() -> list[Check]:
    """Every number of every gradient against a difference, whose own rounding is about 1e-11."""
    return [
        Check(f"({'12.8' if name == 'E' else '12.6'}) gradient in {name}, furthest", off, 0, 1e-9)
        for name, off in furthest(1e-5).items()
    ]


def figure() -> Figure:
    """What the network is told of time, and the check of its gradient over the step h."""
    fig = Figure(figsize=(11, 3.6), layout="constrained")
    (times, check), h = fig.subplots(1, 2), np.logspace(-11, 0, 23)
    names = (r"$\cos \theta_t$", r"$\sin \theta_t$", r"$\cos 2\theta_t$", r"$\sin 2\theta_t$")
    for k, tau in enumerate(angles(np.arange(101), Schedule.linear(100)).T):
        times.plot(tau, color=CLASS_COLORS[k], label=names[k])
    times.set(xlabel="t", title="Time as the network sees it (linear, T = 100)")
    check.loglog(h, [max(furthest(x).values()) for x in h], color=BLUE, marker=".")
    check.loglog(h[12:], 0.01 * h[12:] ** 2, color=GREY, ls="--", label="slope of $h^2$")
    check.loglog(h[:14], 1e-16 / h[:14], color=GREY, ls=":", label="$10^{-16} / h$")
    check.set(xlabel="h", title="By hand against central differences, furthest number")
    times.legend(fontsize=8)
    check.legend(fontsize=8)
    return fig


if __name__ == "__main__":
    present("step12_backprop", __doc__ or "", checks(), figure())
