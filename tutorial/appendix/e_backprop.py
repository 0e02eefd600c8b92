r"""Appendix E. Backpropagation: the gradient of a small denoiser by the chain rule

**The question.** Step 15 trains a network with 2,930 parameters (counted after (E.3)). For each
update it needs the derivative of the loss with respect to every parameter. One could change each
parameter a little in both directions and compute the loss each time. This takes two losses per
parameter, or 5,860 evaluations of the network for one update. Backpropagation computes all
derivatives, up to rounding, for the cost of about two more evaluations. How does it work, and how
do we check that a program for it is right?

**An example.** The network has one number in each layer, and there is one sample. The input is
$x = 0.5$, and the noise to predict is $\epsilon = 2$. (All numbers are computed without rounding,
and rounded only when they are written down.) The first weight is 2, so the first sum is
$a = 2 \cdot 0.5 = 1$. The hidden unit is $h = a \sigma(a)$, where $\sigma(a) = 1 / (1 + e^{-a})$ is
the logistic function. Since $\sigma(1) = 0.7311$, it is $h = 0.7311$. The second weight is 1.5. So
the output is $f = 1.0966$, and the loss is $(2 - 1.0966)^2 = 0.8162$.

Now go backwards, and compute at each number how fast the loss changes with it.

- The derivative with respect to the output is $2 (f - \epsilon) = -1.8068$.
- The second weight: the output changes $h$ times as fast as this weight. So the derivative is
  $0.7311 \cdot (-1.8068) = -1.3209$.
- The hidden unit: the output changes 1.5 times as fast. So the derivative is
  $1.5 \cdot (-1.8068) = -2.7102$.
- The first sum: the hidden unit changes with the slope of $a \sigma(a)$, which is 0.9277 at
  $a = 1$. So the derivative is $0.9277 \cdot (-2.7102) = -2.5142$.
- The first weight: the sum changes $x$ times as fast. So the derivative is
  $0.5 \cdot (-2.5142) = -1.2571$.

Each line needs only lines above it and numbers that are known from the way forward. This is the
whole method. What follows does the same with arrays.

**The network.** A batch has $n$ samples, one per row: $x_t$ is an $n \times 2$ array. The time
enters through the angle $\omega_t$ of step 5. Its cosine $\sqrt{\bar\alpha_t}$ is the factor of the
data, and its sine is the factor of the noise. The network receives four numbers that vary smoothly
with it:

$$ \tau_t = (\cos \omega_t, \sin \omega_t, \cos 2 \omega_t, \sin 2 \omega_t) $$ (E.1)

The label enters through a table of $K + 1$ learned rows. The row of label $y$ is called $e_y$, and
the last row belongs to the null label. The first layer adds three contributions. To each entry of
the sum it applies the function $a \sigma(a)$ of the example, which is called silu:

$$ a_1 = x_t W_x + \tau_t W_t + e_y, \quad h_1 = silu(a_1) $$ (E.2)

Here $W_x$ is a $2 \times H$ array and $W_t$ is $4 \times H$, where $H$ is the number of hidden
units. Two more layers follow, with weights $W_2$ and $W_3$ and with biases $b_2$ and $b_3$ that are
added to every row. The output $f$ has two numbers per sample:

$$ a_2 = h_1 W_2 + b_2, \quad h_2 = silu(a_2), \quad f = h_2 W_3 + b_3 $$ (E.3)

The weights $W_x$, $W_t$, $W_2$ and $W_3$ have $2 H + 4 H + H^2 + 2 H$ entries, the table has
$(K + 1) H$, and the biases have $H + 2$. For $K = 3$ these are $H^2 + 13 H + 2$ parameters, and
2,930 for the 48 hidden units of step 15.

**The slope of silu.** By the quotient rule, and because $1 - \sigma(a) = e^{-a} / (1 + e^{-a})$,
the slope of the logistic function is

$$ \sigma'(a) = e^{-a} / (1 + e^{-a})^2 = \sigma(a) (1 - \sigma(a)) $$

The product rule gives $\sigma(a) + a \sigma'(a)$ for the slope of silu. Together:

$$ silu(a) = a \sigma(a), \quad silu'(a) = \sigma(a) (1 + a (1 - \sigma(a))) $$ (E.4)

**What a gradient is.** For an array $z$ we write $G_z$ for the gradient of the loss $L$ with
respect to $z$. It is an array of the same shape. Each entry is the derivative with respect to the
same entry of $z$. If all entries change a little, by $dz$, the loss changes by the sum of the
products of corresponding entries:

$$ dL = \sum_{i,j} (G_z)_{ij} dz_{ij} $$

This is the definition that we use below: write $dL$ as such a sum, and read the gradient off. The
loss is the mean squared error over the $n$ samples. Only one term of the sum contains the output
$f_{ij}$, so

$$ L = (1 / n) \sum_i |\epsilon_i - f_i|^2, \quad G_f = (2 / n) (f - \epsilon) $$ (E.5)

**A linear layer.** All weights and biases act through $z = h W + b$, where $h$ is the input of the
layer. By entries, and with small changes of all three arrays,

$$ z_{ij} = \sum_k h_{ik} W_{kj} + b_j $$
$$ dz_{ij} = \sum_k (dh_{ik} W_{kj} + h_{ik} dW_{kj}) + db_j $$

Insert this into $dL = \sum_{i,j} (G_z)_{ij} dz_{ij}$, and collect what stands before each small
change:

$$ dL = \sum_{i,k} A_{ik} dh_{ik} + \sum_{k,j} B_{kj} dW_{kj} + \sum_j c_j db_j $$
$$ A_{ik} = \sum_j (G_z)_{ij} W_{kj}, \quad B_{kj} = \sum_i h_{ik} (G_z)_{ij} $$
$$ c_j = \sum_i (G_z)_{ij} $$

By the definition, $A$, $B$ and $c$ are the three gradients. Their sums are matrix products. In $A$
the sum runs over the second index of $W$, so $W$ is transposed. In $B$ it runs over the first index
of $h$, so $h$ is transposed. The row vector $1^T$ of $n$ ones adds up the samples in $c$:

$$ G_h = G_z W^T, \quad G_W = h^T G_z, \quad G_b = 1^T G_z $$ (E.6)

The first of them carries the gradient to the layer before. The other two are results. The shapes
are a check: $G_W$ must have the shape of $W$. If $W$ is not square, $h^T G_z$ has it, and the
transposed product $G_z^T h$ does not. For the square $W_2$ both products have it, so there the
check finds nothing.

**A function of each entry.** An entry of $h = silu(a)$ depends only on the same entry of $a$, so
$dh_{ij} = silu'(a_{ij}) da_{ij}$. Insert this into the sum for $dL$, and read off:

$$ G_a = G_h \odot silu'(a) $$ (E.7)

The sign $\odot$ denotes the product entry by entry.

**A table.** The row $e_y$ is added to the first sums of every sample that has the label $y$. So it
behaves like a bias that only these samples have, and its gradient is the sum over them:

$$ G_{e_y} = \sum_{i : y_i = y} (G_{a_1})_i $$ (E.8)

The code writes this as a matrix product. For this purpose a label becomes a row with a 1 in the
column of the label and zeros elsewhere. The product of this row with the table is $e_y$, so the
table is a linear layer, and (E.6) gives (E.8). If a label does not occur in the batch, the gradient
of its row is 0, and the plain update of step 15 leaves the row as it is.

**All together.** The rules are applied from the loss to the input: (E.5), then (E.6) for the last
layer, (E.7), (E.6), (E.7), and (E.6) with (E.8) for the first layer. Each matrix product of the way
forward returns as two products of the same size, one for the weights and one for the layer before.
(In the first layer only the one for the weights is needed.) This is why the way back costs about as
much as two evaluations.

**How to check it.** A wrong gradient is hard to see in the loss. We trained this network with 32
hidden units on the three classes of step 1 (cosine schedule with $T = 100$, labels hidden with
probability 0.2). Each of the 500 plain updates subtracted 0.1 times the gradient on a batch of 256
samples. In a second run with the same batches, the transposition of $W_2$ in (E.6) was left out.
The array is square, so no shape is wrong. The mean loss of the last 100 updates was 0.77 with the
right gradient and 0.79 with the wrong one, after 1.7 at the start. The second curve alone would
look like a success (right panel of the figure). So every number should be compared with a
difference of losses. Let $L(p)$ be the loss as a function of one parameter $p$. Its Taylor series
around $p$, at distance $r$ on either side, gives

$$ L(p \pm r) = L(p) \pm r L'(p) + r^2 L''(p) / 2 \pm r^3 L'''(p) / 6 + \dots $$

In the difference of the two, the even terms cancel. Divide it by $2 r$:

$$ (L(p + r) - L(p - r)) / (2 r) = L'(p) + r^2 L'''(p) / 6 + \dots $$ (E.9)

A small $r$ makes the next term small. But the computer rounds each loss, by about $10^{-16}$ for a
loss of order one, and this error is divided by $2 r$. For this network and its loss, the next term
and the error of rounding are about equal near $r = 10^{-5}$, and both are below $10^{-10}$ there
(middle panel). The one-sided difference $(L(p + r) - L(p)) / r$ has an error of order $r$ instead.
At its best $r$, near $10^{-8}$, it is wrong by about $10^{-8}$.

**At the boundary.** At $t = 0$ the four numbers are $(1, 0, 1, 0)$. Towards pure noise they go to
$(0, 1, -1, 0)$. For a very negative $a$ both silu and its slope go to 0. For a very positive one
silu goes to $a$ and its slope to 1. The exponential in $\sigma$ overflows at $a = -1000$. The code
avoids this with the identity $\sigma(a) = (1 + \tanh(a / 2)) / 2$.

**What goes wrong.** The transposition of a square array is left out. The slope of one layer is
multiplied with the gradient of another of the same width. The value of silu is used in the place of
its slope. The gradient of a bias is averaged over the samples instead of summed, although the
division by $n$ has been made in (E.5). In a library an embedding can have a padding index, whose
row is never trained. With the padding index 0, the row of class 0 keeps its initial values. All of
these run without an error message, and with each of them the loss falls by more than a third in the
first 100 updates of the training above.

**Where it goes on.** Step 15 puts this gradient into Adam and compares the trained network with the
exact predictions.

**Source.** Rumelhart, Hinton and Williams 1986, Nature 323:533 (backpropagation); Elfwing et al.
2017, arXiv:1702.03118 (silu).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Schedule

if TYPE_CHECKING:
    from jaxtyping import Float, Int

Arrays = dict[str, np.ndarray]


def init(num_classes: int, width: int, rng: np.random.Generator) -> Arrays:
    """Random weights at the start, by name; `E` is the table of the rows `e_y`.

    A layer's output has about the size of its input, except for the last one, which is small.
    """
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
    """Four numbers that represent each time `t` in 0..T."""
    omega = np.arccos(np.sqrt(schedule.alpha_bar[t]))
    tau = [np.cos(omega), np.sin(omega), np.cos(2 * omega), np.sin(2 * omega)]  # (E.1)
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
    """The output, and the arrays of the way forward that `backward` uses."""
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
    """The loss, and its gradient with respect to `f`."""
    n = len(f)
    L = ((eps - f) ** 2).sum() / n  # (E.5)
    Gf = 2 / n * (f - eps)  # (E.5)
    return float(L), Gf


def backward(p: Arrays, Gf: Float[np.ndarray, "n 2"], passed: Arrays) -> Arrays:
    """The gradient with respect to every parameter, from that with respect to the output."""
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
    """A learned denoiser, with the interface of the oracle."""

    params: Arrays
    schedule: Schedule
    num_classes: int  # K, which is also the null label
    prediction: str = "eps"

    def __call__(
        self, xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n 2"]:
        """The predicted noise in each row of `xt`, for `t` in 1..T and `y` in 0..K."""
        K = self.num_classes
        tau = angles(np.full(len(xt), self.schedule.check_t(t)), self.schedule)
        if len(y) and not (y.min() >= 0 and y.max() <= K):
            raise ValueError(f"y in {y.min()}..{y.max()} is outside 0..{K} ({K}: the null label)")
        f, _ = forward(self.params, xt, tau, y)
        return f


def central_difference(loss: Callable[[np.ndarray], float], p: np.ndarray, r: float) -> np.ndarray:
    """The derivative of `loss` with respect to each entry of `p`, approximately."""
    difference = np.zeros(p.shape)
    for i in np.ndindex(p.shape):
        up = p.copy()
        up[i] += r
        down = p.copy()
        down[i] -= r
        difference[i] = (loss(up) - loss(down)) / (2 * r)  # (E.9)
    return difference


def furthest(r: float) -> dict[str, float]:
    """The largest distance between `backward` and central differences, for each parameter."""
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
        difference = central_difference(partial(loss_with, name), p[name], r)
        off[name] = float(np.abs(G[name] - difference).max())
    return off


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.e_backprop")
