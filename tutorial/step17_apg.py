r"""Step 17, part 2. APG: guide less along the guess, not too far, and not the same way again.

**Claim.** Of the label's difference $D = \hat x_y - \hat x_\phi$ between two guesses of the data,
the part along $\hat x_y$ makes a picture more saturated and the part across it changes what is
seen. Adaptive projected guidance keeps a share $\eta$ of the first and all of the second, after a
bound $r$ on the size of $D$. With $\langle a, b \rangle$ summed over the numbers of one sample:

$$ D' = \min(1, r / |D|) D $$ (17.5)
$$ D_\parallel = \langle D', \hat x_y \rangle \hat x_y / |\hat x_y|^2 $$ (17.6)
$$ \hat x_0 = \hat x_y + w (D' - (1 - \eta) D_\parallel) $$ (17.7)

Our $w$ is the paper's scale less 1. Plain guidance is $\eta = 1$ and $r = \infty$. By (10.4) that
may be mixed in any unit. The projection may not: of eps it is another rule.

**Reverse momentum.** The paper's third part puts a memory of earlier rows in the place of $D$,

$$ D^{(k)} = \hat x_y - \hat x_\phi + \beta D^{(k - 1)} $$ (17.8)

with $\beta < 0$; plain at $\beta = 0$. A difference that stays the same tends to $D / (1 - \beta)$:
so this is also a smaller $w$, by a third at $\beta = -1/2$, except in the first row.

**What a projection cannot do.** At $\eta = 0$ the two terms of (17.7) are orthogonal, so

$$ |\hat x_0|^2 = |\hat x_y|^2 + w^2 |D' - D_\parallel|^2 $$ (17.9)

and still grows with $w$. And "along the guess" means: away from the origin. Move all data by $v$,
and plain guidance moves its samples by $v$. (17.6) does not: it needs data whose 0 means something,
as the grey of a picture does.

**Measured.** As in part 1. The class's mean lies straight above the origin:

| rule | mean height | variance across, along | |
|---|---|---|---|
| plain | 2.37 | .137, .079 | |
| $\eta = 0$ | 1.52 | .043, .229 | no overshoot; along is the class again, across shrinks more |
| $\eta = 0$, data moved aside by 6 | 2.34 | .244, .077 | the directions have changed places |
| $r = 0.3$ | 1.91 | .153, .143 | half the overshoot |
| $\beta = -1/2$ | 2.16 | .148, .093 | like a smaller weight |

**Boundary.** At $w = 0$, $\hat x_0 = \hat x_y$ for all parameters. A guess of 0 has no direction:
there $D_\parallel = 0$. A difference of 0 stays 0.

**Source.** Sadat et al. 2024, arXiv:2410.02416 (saturation, norm, reverse momentum).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutorial.contract import Denoiser, Normals
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step14_ddim import ddim
from tutorial.step14_rows import Table
from tutorial.step17_rules import Rule, run_rule

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def dot(a: Float[np.ndarray, "n *D"], b: Float[np.ndarray, "n *D"]) -> Float[np.ndarray, "n *ones"]:
    """The product of each sample of `a` with that of `b`, in a shape that spreads over both."""
    return (a * b).sum(tuple(range(1, a.ndim)), keepdims=True)


def project(
    guess: Float[np.ndarray, "n *D"], D: Float[np.ndarray, "n *D"], eta: float, r: float
) -> Float[np.ndarray, "n *D"]:
    """What a unit of weight adds to the guess: `D`, at most `r` > 0 long, `eta` of it along."""
    length = np.sqrt(dot(D, D))
    scale = np.divide(r, length, out=np.ones_like(length), where=length > r)
    bounded = scale * D  # (17.5)
    square = dot(guess, guess)
    square = np.where(square > 0, square, 1)  # a guess of 0 has no direction
    along = dot(bounded, guess) / square * guess  # (17.6)
    return bounded - (1 - eta) * along  # orthogonal to the guess at eta = 0, so (17.9) holds


def apg(
    cond: Float[np.ndarray, "n *D"],
    null: Float[np.ndarray, "n *D"],
    w: float,
    xt: Float[np.ndarray, "n *D"],
    p: float,
    q: float,
    *,
    eta: float = 0.0,
    r: float = np.inf,
) -> Float[np.ndarray, "n *D"]:
    """The rule without momentum; `eta` = 1 and `r` = inf is plain guidance.

    In the network's own unit, where a difference of guesses is `q` times one of outputs.
    """
    guess = p * xt + q * cond
    D = q * (cond - null)
    return cond + w / q * project(guess, D, eta, r)  # (17.7)


def run_apg(
    model: Denoiser,
    y: Int[np.ndarray, " n"],
    table: Table,
    w: float,
    rng: Normals,
    *,
    eta: float = 0.0,
    r: float = np.inf,
    beta: float = 0.0,
) -> Float[np.ndarray, "n 2"]:
    """A chain guided by APG with momentum `beta`, -1 < beta <= 0, which lives as long as it."""
    D_previous = np.zeros((len(y), 2))

    def rule(
        cond: np.ndarray, null: np.ndarray, w: float, xt: np.ndarray, p: float, q: float
    ) -> np.ndarray:
        nonlocal D_previous
        D = q * (cond - null) + beta * D_previous  # (17.8)
        D_previous = D
        guess = p * xt + q * cond
        return cond + w / q * project(guess, D, eta, r)

    return run_rule(model, y, table, w, rng, rule)


def moved(v: tuple[float, float], rule: Rule, n: int = 4000) -> Float[np.ndarray, "n 2"]:
    """The top class of data that were moved by `v`, guided with w = 3, and moved back."""
    data = three_gaussians()
    schedule = Schedule.cosine(1000)
    model = oracle_eps(GaussianMixture(data.means + v, data.covs, data.weights), schedule)
    y = np.zeros(n, int)
    x = run_rule(model, y, ddim(schedule, 50), 3.0, np.random.default_rng(0), rule)
    return x - v


def remembering(beta: float, n: int = 4000) -> Float[np.ndarray, "n 2"]:
    """The top class, guided with w = 3 and momentum alone."""
    schedule = Schedule.cosine(1000)
    model = oracle_eps(three_gaussians(), schedule)
    y = np.zeros(n, int)
    rng = np.random.default_rng(0)
    return run_apg(model, y, ddim(schedule, 50), 3.0, rng, eta=1.0, beta=beta)


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step17_apg")
