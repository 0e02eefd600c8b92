r"""Appendix E. The chain rule by hand: a denoiser of three layers and its gradient.

**Claim.** One rule for each kind of layer gives the exact gradient of the loss in every parameter.

**Network.** A row is a sample. Time enters by the angle $\theta_t$ whose cosine and sine are the
factors of (3.2), the label by its row of a table $E$ of $K + 1$ rows, the last the null label's:

$$ \tau_t = (\cos \theta_t, \sin \theta_t, \cos 2 \theta_t, \sin 2 \theta_t) $$ (E.1)
$$ a_1 = x_t W_x + \tau_t W_t + E_y, \quad h_1 = silu(a_1) $$ (E.2)
$$ a_2 = h_1 W_2 + b_2, \quad h_2 = silu(a_2), \quad f = h_2 W_3 + b_3 $$ (E.3)
$$ silu(a) = a \sigma(a), \quad silu'(a) = \sigma(a) (1 + a (1 - \sigma(a))) $$ (E.4)

with $\sigma(a) = 1 / (1 + e^{-a})$, whose slope is $\sigma (1 - \sigma)$.

**Backward.** Write $G_z$ for the gradient of $L$ in an array $z$, of the same shape. It is defined
by $dL = tr(G_z^T dz)$ for every small $dz$. The loss of $n$ samples starts the chain:

$$ L = (1 / n) \sum_i |\epsilon_i - f_i|^2, \quad G_f = (2 / n) (f - \epsilon) $$ (E.5)

A linear layer, $z = h W + b$, has $dz = dh W + h dW + 1 db$ (a column of ones puts $b$ into every
row), so $dL = tr(G_z^T dh W) + tr(G_z^T h dW) + tr(G_z^T 1 db)$. A trace may be turned round, the
first one to $tr(W G_z^T dh)$. What now stands before each $d$ is a $G^T$:

$$ G_h = G_z W^T, \quad G_W = h^T G_z, \quad G_b = 1^T G_z $$ (E.6)

An entry of $h = silu(a)$ moves with its own entry of $a$ and no other, $dh = silu'(a) da$. A table
is a linear layer whose input is a row of zeros with a 1 at $y$, so its $h^T G_z$ adds up the rows
of the samples with that label, and a label that is not in the batch learns nothing:

$$ G_a = G_h silu'(a) \text{, entry by entry} $$ (E.7)
$$ G_{E_y} = \sum_{i : y_i = y} G_{a_1, i} $$ (E.8)

**Check** every number: with one wrong array a network still learns, only worse. The difference
$(L(p + h) - L(p - h)) / (2 h)$ is off by about $h^2$ (next term) and $10^{-16} / h$ (rounding).

**Boundary.** At $t = 0$, $\tau = (1, 0, 1, 0)$; towards $t = T$ it nears $(0, 1, -1, 0)$.

**Source.** Rumelhart et al. 1986, Nature 323:533; Elfwing et al. 2017, arXiv:1702.03118 (silu).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Schedule

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Arrays = dict[str, np.ndarray]


def init(num_classes: int, width: int, rng: np.random.Generator) -> Arrays:
    """Weights that keep a layer's output at about the size of its input, and the last one small."""
    K = num_classes
    H = width
    draw = rng.standard_normal
    return {
        "Wx": draw((2, H)) / 2**0.5,
        "Wt": draw((4, H)) / 2,
        "E": draw((K + 1, H)) / 2,
        "W2": draw((H, H)) / H**0.5,
        "b2": np.zeros(H),
        "W3": 0.1 * draw((H, 2)) / H**0.5,
        "b3": np.zeros(2),
    }


def angles(t: Int[np.ndarray, " n"], schedule: Schedule) -> Float[np.ndarray, "n 4"]:
    """The angle of each time `t` in 0..T, as four numbers."""
    theta = np.arccos(np.sqrt(schedule.alpha_bar[t]))
    tau = [np.cos(theta), np.sin(theta), np.cos(2 * theta), np.sin(2 * theta)]  # (E.1)
    return np.stack(tau, axis=1)


def silu(a: Float[np.ndarray, "n H"]) -> tuple[Float[np.ndarray, "n H"], Float[np.ndarray, "n H"]]:
    """The function and its slope, entry by entry."""
    sigma = 0.5 * (1 + np.tanh(0.5 * a))  # 1 / (1 + e^-a), without its overflow
    value = a * sigma  # (E.4)
    slope = sigma * (1 + a * (1 - sigma))  # (E.4)
    return value, slope


def forward(
    p: Arrays,
    xt: Float[np.ndarray, "n 2"],
    tau: Float[np.ndarray, "n 4"],
    y: Int[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, "n 2"], Arrays]:
    """The output, and what `backward` needs to know of the way there."""
    a1 = xt @ p["Wx"] + tau @ p["Wt"] + p["E"][y]  # (E.2)
    h1, slope1 = silu(a1)
    a2 = h1 @ p["W2"] + p["b2"]  # (E.3)
    h2, slope2 = silu(a2)
    f = h2 @ p["W3"] + p["b3"]  # (E.3)
    one_hot = (y[:, None] == np.arange(len(p["E"]))).astype(np.float64)
    passed = {
        "xt": xt,
        "tau": tau,
        "one_hot": one_hot,
        "h1": h1,
        "slope1": slope1,
        "h2": h2,
        "slope2": slope2,
    }
    return f, passed


def squared_error(
    eps: Float[np.ndarray, "n 2"], f: Float[np.ndarray, "n 2"]
) -> tuple[float, Float[np.ndarray, "n 2"]]:
    """The loss, and its gradient in `f`."""
    n = len(f)
    L = ((eps - f) ** 2).sum() / n  # (E.5)
    Gf = 2 / n * (f - eps)  # (E.5)
    return float(L), Gf


def backward(p: Arrays, Gf: Float[np.ndarray, "n 2"], passed: Arrays) -> Arrays:
    """The gradient in every parameter, from the one in the output."""
    Gh2 = Gf @ p["W3"].T  # (E.6)
    Ga2 = Gh2 * passed["slope2"]  # (E.7)
    Gh1 = Ga2 @ p["W2"].T  # (E.6)
    Ga1 = Gh1 * passed["slope1"]  # (E.7)
    return {
        "Wx": passed["xt"].T @ Ga1,  # (E.6)
        "Wt": passed["tau"].T @ Ga1,  # (E.6)
        "E": passed["one_hot"].T @ Ga1,  # (E.8)
        "W2": passed["h1"].T @ Ga2,  # (E.6)
        "b2": Ga2.sum(0),  # (E.6)
        "W3": passed["h2"].T @ Gf,  # (E.6)
        "b3": Gf.sum(0),  # (E.6)
    }


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
        K = self.num_classes
        tau = angles(np.full(len(xt), self.schedule.check_t(t)), self.schedule)
        if len(y) and not (y.min() >= 0 and y.max() <= K):
            raise ValueError(f"y in {y.min()}..{y.max()} is outside 0..{K} ({K}: the null label)")
        f, _ = forward(self.params, xt, tau, y)
        return f


def furthest(h: float) -> dict[str, float]:
    """How far `backward` is from a difference of losses at most, over all numbers of each array."""
    rng = np.random.default_rng(0)
    p = init(3, 6, rng)
    xt, eps = rng.standard_normal((2, 6, 2))
    y = np.array([0, 1, 3, 3, 1, 0])
    tau = angles(rng.integers(1, 101, 6), Schedule.linear(100))

    def loss_with(name: str, array: np.ndarray) -> float:
        """The loss with `array` in the place of parameter `name`."""
        f, _ = forward(p | {name: array}, xt, tau, y)
        L, _ = squared_error(eps, f)
        return L

    f, passed = forward(p, xt, tau, y)
    _, Gf = squared_error(eps, f)
    G = backward(p, Gf, passed)
    off: dict[str, float] = {}
    for name in p:
        off[name] = 0.0
        for i in np.ndindex(p[name].shape):
            up = p[name].copy()
            up[i] += h
            down = p[name].copy()
            down[i] -= h
            difference = (loss_with(name, up) - loss_with(name, down)) / (2 * h)
            off[name] = max(off[name], abs(float(G[name][i]) - difference))
    return off


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.e_backprop")
