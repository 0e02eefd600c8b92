r"""Appendix I. Predictor and corrector: what the noise of a guided chain pulls towards.

**Claim.** The guided score is affine in $w$. So for any two weights $a$ and $b$ of mean $w$

$$ s_w = (s_a + s_b) / 2, \quad a + b = 2 w $$ (I.1)

and the step (H.6) of the reverse chain, of size $\delta = -d\tau$, is one of DDIM, (H.5), and
one of Langevin's:

$$ \delta s_w + \sqrt\delta z = \delta s_a / 2 + (\delta s_b / 2 + \sqrt\delta z) $$ (I.2)

**What it says.** Langevin's step $x + \delta s_b / 2 + \sqrt\delta z$, with a small $\delta$ taken
again and again at one $\tau$, ends in the law whose score $s_b$ is: by (11.7) the tilt of weight
$b$ of the data at that noise. A DDIM step carries what is there to the next $\tau$: the predictor.
The other then pulls it to where it should be there: the corrector. Choose $a = 0$:

*DDPM of weight $w$ is DDIM without guidance, corrected once a level towards the tilt of weight
$2 w$.* In scales, $\gamma = 1 + w$, that is $\gamma' = 2 \gamma - 1$. Any $a$ does, as long as
$b = 2 w - a$, and $a = b = w$ is DDPM read off naively: guided DDIM, corrected towards the tilt of
weight $w$. With one step per level, all of them are the same chain in the limit of small steps.
With more steps per level they differ.

**Exactly, for two Gaussians.** With $k_w = (1 + w) / (S_y + \tau) - w / (S + \tau)$, the factor of
$-x$ in $s_w$, one level of such a chain, from $\tau$ to $\tau' = \tau - \delta$, with $n$ steps of
the corrector, multiplies deviations and adds noise:

$$ V \leftarrow (1 - \delta k_a(\tau) / 2)^2 V $$ (I.3)
$$ V \leftarrow (1 - \delta k_b(\tau') / 2)^2 V + \delta, \quad n \text{ times} $$ (I.4)

Levels that get finer make $dV = (k_a + n k_b) V d\tau - n d\tau$ of that. For $n = 1$ only $a + b$
matters, as it has to: (H.3). For large $n$, $V$ follows $1 / k_b$, the variance of the tilt of
weight $b$, whatever $a$ is. In the example of appendix H at $w = 2$, $V$ is 0.3875 for $n = 1$.
With $a = 0$ and $b = 4$ it falls, to 0.343 for $n = 4$ and to the 1/3 of that tilt. With $a = b =
2$ it *rises*, to 0.460 for $n = 4$ and to the 1/2 that was wanted: appendix K.

**Boundary.** At $w = 0$, $a = b = 0$: DDIM and Langevin both keep the class as it is. The corrector
needs $\delta k_b < 4$, or it diverges: levels at large $\tau$ must be spaced in proportion to it.

**Source.** Bradley and Nakkiran 2024, arXiv:2408.09000, sec. 4 ($a = 0$); Song et al. 2021,
arXiv:2011.13456, sec. 4.2 (predictor and corrector).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tutorial.appendix.h_gaussian_pairs import score_at
from tutorial.contract import Normals
from tutorial.step02_forward import Gaussian

if TYPE_CHECKING:
    from jaxtyping import Float


def levels(steps: int, high: float = 1e4, low: float = 1e-4) -> Float[np.ndarray, " steps1"]:
    """`steps` + 1 variances of noise, falling from `high` to `low` by one factor."""
    return np.geomspace(high, low, steps + 1)


def split_score(
    x: Float[np.ndarray, "n 2"],
    tau: float,
    a: float,
    b: float,
    given_y: Gaussian,
    var_all: float,
) -> Float[np.ndarray, "n 2"]:
    """The guided score `s_w` of the mean weight, w = (a + b) / 2, from those of `a` and `b`."""
    s_a = score_at(x, tau, a, given_y, var_all)
    s_b = score_at(x, tau, b, given_y, var_all)
    return (s_a + s_b) / 2  # (I.1)


def predictor_corrector_steps(
    x: Float[np.ndarray, "n 2"],
    taus: Float[np.ndarray, " levels"],
    a: float,
    b: float,
    n: int,
    given_y: Gaussian,
    var_all: float,
    rng: Normals,
) -> Iterator[Float[np.ndarray, "n 2"]]:
    """Yield `x` at each of the falling `taus` but the first: DDIM of weight `a`, `n` correctors."""
    for tau, later in pairwise(map(float, taus)):
        delta = tau - later
        s_a = score_at(x, tau, a, given_y, var_all)
        x = x + delta / 2 * s_a  # the first term of (I.2)
        for _ in range(n):
            s_b = score_at(x, later, b, given_y, var_all)
            z = rng.standard_normal(x.shape)
            x = x + delta / 2 * s_b + delta**0.5 * z  # the other terms of (I.2)
        yield x


def chain_variance(
    taus: Float[np.ndarray, " levels"],
    a: float,
    b: float,
    n: int,
    given_y: Gaussian,
    var_all: float,
) -> float:
    """The variance at the last of `taus`, if it is the first at the first."""

    def k(tau: float, w: float) -> float:
        """The factor of -x in the score of weight `w`."""
        return (1 + w) / (given_y.var + tau) - w / (var_all + tau)

    var = float(taus[0])
    for tau, later in pairwise(map(float, taus)):
        delta = tau - later
        var = (1 - delta * k(tau, a) / 2) ** 2 * var  # (I.3)
        for _ in range(n):
            var = (1 - delta * k(later, b) / 2) ** 2 * var + delta  # (I.4)
    return var


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("appendix.i_predictor_corrector")
