r"""Appendix H. Two Gaussians: where guided chains end, in closed form.

**Claim.** Let a class be $N(m, S_y I)$ in data of law $N(0, S I)$, and $r = S / S_y$. With exact
outputs and ever finer steps DDIM and the reverse chain (DDPM; Algorithm 2 with any $v$) end in
Gaussians, and neither is the tilted law (11.9):

$$ V_{DDIM} = S_y r^{-w} $$ (H.1)
$$ M_{DDIM} = (1 + w) m \int_0^1 ((1 + (r - 1) s^2) / r)^{w / 2} ds $$ (H.2)
$$ V_{DDPM} = S_y (r - r^{-2 w}) / ((r - 1) (1 + 2 w)) $$ (H.3)
$$ M_{DDPM} = m (r - r^{-w}) / (r - 1) $$ (H.4)

Variances in the example of Bradley and Nakkiran, $m = 0$, $S_y = 1$, $S = 2$, $\gamma = 1 + w$:

| gamma | w | tilted, $2 / (\gamma + 1)$ | DDPM | DDIM, $2^{1 - \gamma}$ |
|---|---|---|---|---|
| 2 | 1 | .6667 | .5833 | .5 |
| 3 | 2 | .5 | .3875 | .25 |
| 5 | 4 | .3333 | .2218 | .0625 |

**The chains for small steps.** $x = x_t / \sqrt{\bar\alpha_t}$ is $x_0$ plus noise of variance
$\tau = (1 - \bar\alpha_t) / \bar\alpha_t$. In $x$ the guided score is
$s_w = -(1 + w) (x - m) / (S_y + \tau) + w x / (S + \tau)$, with $\epsilon = -\sqrt\tau s_w$ and
$\hat x_0 = x + \tau s_w$. DDIM keeps $\epsilon$ while $\sqrt\tau$ falls. Step 4's posterior has the
mean $x - (x - \hat x_0) (\tau - \tau') / \tau$ and the variance $\tau' (\tau - \tau') / \tau$. So,
with $d\tau < 0$ and $z \sim N(0, I)$,

$$ \text{DDIM: } dx = -\tfrac{1}{2} s_w d\tau $$ (H.5)
$$ \text{DDPM: } dx = -s_w d\tau + \sqrt{|d\tau|} z $$ (H.6)

**Why.** The factor of $-x$ in $s_w$, summed over 0 to $\tau$, is the log of
$G = (1 + \tau / S_y)^{1 + w} (1 + \tau / S)^{-w}$. What $x$ has at $\tau$, or is given there,
arrives at 0 divided by $\sqrt G$ in (H.5) and by $G$ in (H.6). Noise of variance $\tau$ at the
start arrives with variance $\tau / G \to S_y r^{-w}$ in (H.5): that is (H.1). In (H.6) it
arrives with $\tau / G^2 \to 0$, and $V$ is the new noise, $\int d\tau / G^2$. Let
$u = (S + \tau) / (S_y + \tau)$, which falls from $r$ to 1. As $G = (r / u)^w (S_y + \tau) / S_y$
and $du = -(S - S_y) d\tau / (S_y + \tau)^2$, that is the integral of a power, (H.3). The pull to
the mean, $(1 + w) m / (S_y + \tau)$ at each $\tau$ and half of it in (H.5), adds up the same way:
to (H.4), and to (H.2) with $u = 1 + (r - 1) s^2$.

**Boundary.** All three laws agree at $w = 0$, at $w = -1$, and for $r = 1$, where the label only
moves the data. For $w > 0$ and $r > 1$ they come in the order of (13.6) and (13.7). For
$w \to \infty$ all shrink to $m r / (r - 1)$, the point at which $p(y | x)$ is largest. The tilted
law and DDPM stay short of it. DDIM's mean goes beyond, for $r = 2$ by 20% at $w = 6$, and back.

**Source.** Bradley and Nakkiran 2024, arXiv:2408.09000, sec. 3 ($m = 0$ and $r = 2$).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step16_log_snr import algorithm_2, log_snr_grid, schedule_from
from tutorial.step17_solvers import ddim, run

if TYPE_CHECKING:
    from jaxtyping import Float, Int

_at, _weight = np.polynomial.legendre.leggauss(60)
NODES = (1 + _at) / 2
SHARES = _weight / 2  # f(NODES) @ SHARES is the mean of a smooth f over 0..1
# Class and variance of all data: the paper's example along axis 1, and moved by 1 along axis 0.
EXAMPLE = Gaussian(np.array([1.0, 0.0]), 1.0), 2.0


def score_at(
    x: Float[np.ndarray, "n 2"], tau: float, w: float, given_y: Gaussian, var_all: float
) -> Float[np.ndarray, "n 2"]:
    """The guided score `s_w` under noise of variance `tau` >= 0."""
    return w * x / (var_all + tau) - (1 + w) * (x - given_y.mean) / (given_y.var + tau)


@dataclass(frozen=True, eq=False)
class TwoGaussians:
    """The exact denoiser: label 0 is the class `given_y`, the null label 1 is N(0, var_all)."""

    given_y: Gaussian
    var_all: float
    schedule: Schedule
    num_classes: int = 1
    prediction: str = "eps"

    def __call__(
        self, xt: Float[np.ndarray, "n 2"], t: int, y: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n 2"]:
        """The mean of the noise in each row of `xt`, for `t` in 1..T and `y` in 0..1."""
        abar = self.schedule.alpha_bar[self.schedule.check_t(t)]
        x = xt / abar**0.5
        tau = (1 - abar) / abar
        of_class = score_at(x, tau, 0.0, self.given_y, self.var_all)
        of_all = score_at(x, tau, -1.0, self.given_y, self.var_all)
        s = np.where((y == 0)[:, None], of_class, of_all)
        return -(tau**0.5) * s  # the eps with which chains follow (H.5) and (H.6)


def ddim_law(given_y: Gaussian, var_all: float, w: float) -> Gaussian:
    """Where DDIM ends as steps get finer."""
    r = var_all / given_y.var
    V = given_y.var * r**-w  # (H.1)
    integral = SHARES @ ((1 + (r - 1) * NODES**2) / r) ** (w / 2)
    M = (1 + w) * integral * given_y.mean  # (H.2)
    return Gaussian(M, V)


def ddpm_law(given_y: Gaussian, var_all: float, w: float) -> Gaussian:
    """Where the reverse chain ends as steps get finer."""
    S_y = given_y.var
    r = var_all / S_y
    if r == 1:  # the label only moves the data
        return Gaussian((1 + w) * given_y.mean, S_y)
    if w == -1 / 2:  # the limit of (H.3)
        var = S_y * r * np.log(r) / (r - 1)
    else:
        var = S_y * (r - r ** (-2 * w)) / ((r - 1) * (1 + 2 * w))  # (H.3)
    M = given_y.mean * (r - r**-w) / (r - 1)  # (H.4)
    return Gaussian(M, float(var))


@cache
def sampled(w: float, n: int = 20_000, T: int = 256) -> Float[np.ndarray, "2 n 2"]:
    """`n` samples of `EXAMPLE` by Algorithm 2, v = .3, and `n` by DDIM over the same T steps."""
    log_snr = log_snr_grid(T)
    y = np.zeros(n, dtype=int)
    rng = np.random.default_rng(0)
    schedule = schedule_from(log_snr)
    model = TwoGaussians(*EXAMPLE, schedule)
    by_algorithm_2 = algorithm_2(model, y, log_snr, w, 0.3, rng)
    by_ddim = run(model, y, ddim(schedule), w, rng)
    return np.array([by_algorithm_2, by_ddim])


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.h_gaussian_pairs")
