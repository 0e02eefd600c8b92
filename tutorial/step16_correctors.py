r"""Step 16, part 2. Correctors: wait at each level until the tilt of that level is there.

**Claim.** Step 15 split DDPM into DDIM and one step of Langevin's a level. Take $n$ of them, small
ones, with the guided score itself, and the chain ends in the tilted law: the one that guidance was
meant to sample. By (16.1) the wait at $\tau$ ends in $q_\tau$ wherever it began. Noise does not
lead from one $q_\tau$ to the next (10.10), and need not: DDIM only brings points near enough for
the wait to be short.

**What a finite step does.** Where $q_\tau$ is Gaussian of precision $k$ about $M$, a step of size
$\delta$ multiplies what is off by $1 - \delta k / 2$ and adds noise of variance $\delta$. The
variance that stays the same is $V = (1 - \delta k / 2)^2 V + \delta$, that is

$$ V_\delta = 1 / (k (1 - \delta k / 4)) $$ (16.3)

a little too wide. From mean $M_0$ and variance $V_0$ the $n$ steps come to

$$ M_n = M + (1 - \delta k / 2)^n (M_0 - M) $$ (16.4)
$$ V_n = V_\delta + (1 - \delta k / 2)^{2n} (V_0 - V_\delta) $$ (16.5)

**Which step.** Of a class of variance $S_y$ in wider data, at $w \ge 0$, $k$ is at most
$(1 + w) / (S_y + \tau)$, the class's part of it. So one number $\rho$ does for all levels and $w$:

$$ \delta_\tau = \rho (S_y + \tau) / (1 + w) $$ (16.6)

then $\delta k \le \rho$, and by (16.3) $V$ is too large by a share of at most $\rho / (4 - \rho)$.
Half a $\rho$ halves that, and needs twice the steps: accuracy costs network evaluations in
proportion. (A step of Metropolis would make it exact, but needs densities, not scores.)

**Measured.** In the example of step 15, $S_y = 1$ in $S = 2$, $w = 2$, the tilted law has $V = 1/2$
and mean 1.5. 40 levels from $10^4$ to $10^{-3}$, $\rho = 0.2$; by (16.4) and (16.5), no samples:

| correctors a level | 0, DDIM | 1 | 4 | 16 | 64 | for ever |
|---|---|---|---|---|---|---|
| variance | .215 | .477 | .517 | .518 | .518 | .518 |
| mean | 2.001 | 1.660 | 1.508 | 1.500 | 1.500 | 1.500 |

**Boundary.** $n = 0$ is DDIM. Classes far apart are not a problem here: a step of Langevin never
crosses from one to another at small $\tau$, and has not to, as the tilt of one class is one hill.
Where a tilt has several, their shares are settled at large $\tau$, and what $q_\tau$ gives them
there need not be what the tilted law does: the chain then ends right hill by hill only. Part 3
keeps account of that by weights.

**Source.** Song et al. 2021, arXiv:2011.13456, sec. 4.2; Bradley and Nakkiran 2024,
arXiv:2408.09000, sec. 4; Du et al. 2023, arXiv:2302.11552 (more correctors for products).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tutorial.contract import Normals
from tutorial.program import BLUE, GREEN, GREY, ORANGE, Check, present
from tutorial.step00_notation import Gaussian
from tutorial.step01_toy_data import three_gaussians
from tutorial.step10_guidance_score import tilt
from tutorial.step15_gaussian import EXAMPLE
from tutorial.step15_predictor_corrector import levels
from tutorial.step15_tilted import moments_on_grid, tilted_on_grid
from tutorial.step16_levels import Scores, langevin, mix, of_gaussians, of_mixture

if TYPE_CHECKING:
    from jaxtyping import Float


def corrector_step(tau: float, w: float, var: float, rho: float) -> float:
    """The size of it, for a class of variance `var` and 0 < `rho` < 4; `w` >= 0."""
    return rho * (var + tau) / (1 + w)  # (16.6)


def corrected_steps(
    x: Float[np.ndarray, "n 2"], taus: Float[np.ndarray, " levels"], w: float, n: int, rho: float,
    var: float, scores: Scores, rng: Normals,
) -> Iterator[Float[np.ndarray, "n 2"]]:  # fmt: skip
    """Yield `x` at each of the falling `taus` but the first: guided DDIM, then `n` correctors."""
    for tau, later in pairwise(map(float, taus)):
        x = x + (tau - (tau * later) ** 0.5) * mix(scores(x, tau), w)  # DDIM keeps eps: (15.11)
        for _ in range(n):
            x = langevin(x, later, w, corrector_step(later, w, var, rho), scores, rng)
        yield x


def settled(law: Gaussian, step: float) -> Gaussian:
    """Where correctors of that size end if `law` is the tilt of their level."""
    k = 1 / law.var
    return Gaussian(law.mean, 1 / (k * (1 - step * k / 4)))  # (16.3)


def corrected(start: Gaussian, law: Gaussian, step: float, n: int) -> Gaussian:
    """The law after `n` correctors from `start`."""
    end, left = settled(law, step), (1 - step / law.var / 2) ** n
    mean = law.mean + left * (start.mean - law.mean)  # (16.4)
    return Gaussian(mean, end.var + left**2 * (start.var - end.var))  # (16.5)


def chain_law(
    taus: Float[np.ndarray, " levels"], w: float, n: int, rho: float, given_y: Gaussian,
    var_all: float,
) -> Gaussian:  # fmt: skip
    """The law `corrected_steps` end in, from N(0, taus[0])."""
    law = Gaussian(0 * given_y.mean, float(taus[0]))
    for tau, later in pairwise(map(float, taus)):
        now, then = (
            tilt(Gaussian(given_y.mean, given_y.var + t), var_all + t, w) for t in (tau, later)
        )
        kept = 1 - (tau - (tau * later) ** 0.5) / now.var
        law = Gaussian(now.mean + kept * (law.mean - now.mean), kept**2 * law.var)
        law = corrected(law, then, corrector_step(later, w, given_y.var, rho), n)
    return law


@cache
def top_class(w: float, n: int) -> Float[np.ndarray, "samples 2"]:
    """3,000 samples of class 0 of `three_gaussians`, with `n` correctors a level."""
    rng, taus = np.random.default_rng(0), levels(30, 1e4, 1e-3)
    x, scores = 100 * rng.standard_normal((3000, 2)), of_mixture(three_gaussians(), 0)
    return deque(corrected_steps(x, taus, w, n, 0.2, 0.25, scores, rng), maxlen=1).pop()


def checks() -> list[Check]:
    """Samples against the exact law of their chain, and of three classes against quadrature."""
    rng, taus, w, size = np.random.default_rng(0), levels(40, 1e4, 1e-3), 2.0, 10_000
    found: list[Check] = []
    for n in (0, 4):
        start = 100 * rng.standard_normal((size, 2))
        chain = corrected_steps(start, taus, w, n, 0.2, 1.0, of_gaussians(*EXAMPLE), rng)
        x, law = deque(chain, maxlen=1).pop(), chain_law(taus, w, n, 0.2, *EXAMPLE)
        errors = (law.var / size) ** 0.5, law.var / size**0.5  # the second: two axes
        found.append(Check(f"(16.4) mean, n = {n}", x[:, 0].mean(), law.mean[0], 5 * errors[0]))
        found.append(Check(f"(16.5) variance, n = {n}", x.var(0).mean(), law.var, 5 * errors[1]))
    points, p = tilted_on_grid(three_gaussians(), 0, 3.0)
    x, (mean, cov) = top_class(3.0, 12), moments_on_grid(points, p)
    error, wide = (cov[1, 1] / len(x)) ** 0.5, np.trace(cov) / 2
    found.append(Check("(16.6) height, three classes", x[:, 1].mean(), mean[1], 5 * error))
    allowed = wide * (0.2 / 3.8 + 5 / len(x) ** 0.5)  # too wide by rho / (4 - rho)
    found.append(Check("(16.3) variance, three classes", x.var(0).mean(), wide, allowed))
    return found


def figure() -> Figure:
    """Variance and mean over n, for three sizes of step; samples on the tilted law."""
    fig = Figure(figsize=(12, 3.7), layout="constrained")
    spread, place, *panels = fig.subplots(1, 4)
    ns, taus, aim = (0, 1, 2, 4, 8, 16), levels(40, 1e4, 1e-3), tilt(*EXAMPLE, 2.0)
    for rho, color in ((0.05, GREEN), (0.2, BLUE), (0.8, ORANGE)):
        laws = [chain_law(taus, 2.0, n, rho, *EXAMPLE) for n in ns]
        spread.plot(ns, [law.var for law in laws], "o-", color=color, label=rf"$\rho$ = {rho}")
        place.plot(ns, [law.mean[0] for law in laws], "o-", color=color)
    spread.axhline(aim.var, color=GREY, ls=":", label="tilted law")
    place.axhline(aim.mean[0], color=GREY, ls=":")
    spread.set(title="Variance, w = 2", xlabel="correctors a level, n")
    place.set(title="Mean", xlabel="correctors a level, n")
    spread.legend(fontsize=8)
    density, axis = tilted_on_grid(three_gaussians(), 0, 3.0)[1].reshape(401, 401), (-4, 4)
    for ax, n in zip(panels, (0, 12), strict=True):
        ax.scatter(*top_class(3.0, n)[:1000].T, s=2, color=ORANGE)
        ax.contour(density, 5, extent=axis * 2, colors=GREY, linewidths=0.8)
        ax.set(title=f"Top class, w = 3, n = {n}", xlim=(-1.8, 1.8), ylim=(-0.3, 3.6))
        ax.set(aspect="equal", xlabel="grey: the tilted law")
    return fig


if __name__ == "__main__":
    present("step16_correctors", __doc__ or "", checks(), figure())
