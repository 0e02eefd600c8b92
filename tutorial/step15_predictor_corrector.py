r"""Step 15, part 4. Predictor and corrector: what the noise of a guided chain pulls towards.

**Claim.** The guided score is affine in $w$. So for any two weights $a$ and $b$ of mean $w$

$$ s_w = (s_a + s_b) / 2, \quad a + b = 2 w $$ (15.13)

and the step (15.12) of the reverse chain, of size $\delta = -d\tau$, is one of DDIM, (15.11), and
one of Langevin's:

$$ \delta s_w + \sqrt\delta z = \delta s_a / 2 + (\delta s_b / 2 + \sqrt\delta z) $$ (15.14)

**What it says.** Langevin's step $x + \delta s_b / 2 + \sqrt\delta z$, with a small $\delta$ taken
again and again at one $\tau$, ends in the law whose score $s_b$ is: by (10.7) the tilt of weight
$b$ of the data at that noise. A DDIM step carries what is there to the next $\tau$: the predictor.
The other then pulls it to where it should be there: the corrector. Choose $a = 0$:

*DDPM of weight $w$ is DDIM without guidance, corrected once a level towards the tilt of weight
$2 w$.* In scales, $\gamma = 1 + w$, that is $\gamma' = 2 \gamma - 1$. Any $a$ does, as long as
$b = 2 w - a$, and $a = b = w$ is DDPM read off naively: guided DDIM, corrected towards the tilt of
weight $w$. With one step a level these are all the same chain. With more of them they are not.

**Exactly, for two Gaussians.** With $k_w = (1 + w) / (S_y + \tau) - w / (S + \tau)$, the factor of
$-x$ in $s_w$, one level of such a chain, from $\tau$ to $\tau' = \tau - \delta$, with $n$ steps of
the corrector, multiplies deviations and adds noise:

$$ V \leftarrow (1 - \delta k_a(\tau) / 2)^2 V $$ (15.15)
$$ V \leftarrow (1 - \delta k_b(\tau') / 2)^2 V + \delta, \quad n \text{ times} $$ (15.16)

Levels that get finer make $dV = (k_a + n k_b) V d\tau - n d\tau$ of that. For $n = 1$ only $a + b$
matters, as it has to: (15.9). For large $n$, $V$ follows $1 / k_b$, the variance of the tilt of
weight $b$, whatever $a$ is. In the example of part 3 at $w = 2$, $V$ is 0.3875 for $n = 1$. With
$a = 0$ and $b = 4$ it falls, to 0.343 for $n = 4$ and to the 1/3 of that tilt. With $a = b = 2$ it
*rises*, to 0.460 for $n = 4$ and to the 1/2 that was wanted: step 16.

**Boundary.** At $w = 0$, $a = b = 0$: DDIM and Langevin both keep the class as it is. The corrector
needs $\delta k_b < 4$, or it diverges: levels at large $\tau$ must be spaced in proportion to it.

**Source.** Bradley and Nakkiran 2024, arXiv:2408.09000, sec. 4 ($a = 0$); Song et al. 2021,
arXiv:2011.13456, sec. 4.2 (predictor and corrector).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tutorial.contract import Normals
from tutorial.program import BLUE, GREEN, GREY, ORANGE, Check, present
from tutorial.step00_notation import Gaussian
from tutorial.step10_guidance_score import tilt
from tutorial.step15_gaussian import EXAMPLE, ddpm_law, score_at

if TYPE_CHECKING:
    from jaxtyping import Float


def levels(steps: int, high: float = 1e4, low: float = 1e-4) -> Float[np.ndarray, " steps1"]:
    """`steps` + 1 variances of noise, falling from `high` to `low` by one factor."""
    return np.geomspace(high, low, steps + 1)


def predictor_corrector_steps(
    x: Float[np.ndarray, "n 2"], taus: Float[np.ndarray, " levels"], a: float, b: float, n: int,
    given_y: Gaussian, var_all: float, rng: Normals,
) -> Iterator[Float[np.ndarray, "n 2"]]:  # fmt: skip
    """Yield `x` at each of the falling `taus` but the first: DDIM of weight `a`, `n` correctors."""
    for tau, later in pairwise(map(float, taus)):
        step = tau - later
        x = x + step / 2 * score_at(x, tau, a, given_y, var_all)  # (15.14)
        for _ in range(n):
            pull = step / 2 * score_at(x, later, b, given_y, var_all)
            x = x + pull + step**0.5 * rng.standard_normal(x.shape)  # (15.14)
        yield x


def chain_variance(
    taus: Float[np.ndarray, " levels"], a: float, b: float, n: int, given_y: Gaussian,
    var_all: float,
) -> float:  # fmt: skip
    """The variance at the last of `taus`, if it is the first at the first."""

    def k(tau: float, w: float) -> float:
        return (1 + w) / (given_y.var + tau) - w / (var_all + tau)

    var = float(taus[0])
    for tau, later in pairwise(map(float, taus)):
        step = tau - later
        var *= (1 - step / 2 * k(tau, a)) ** 2  # (15.15)
        for _ in range(n):
            var = (1 - step / 2 * k(later, b)) ** 2 * var + step  # (15.16)
    return var


def checks() -> list[Check]:
    """The identity; simulated chains against their exact variance; what more correctors do."""
    rng, w, taus, n = np.random.default_rng(0), 2.0, levels(400), 20_000
    x = 3 * rng.standard_normal((100, 2))
    s_w, s_a, s_b = (score_at(x, 0.7, weight, *EXAMPLE) for weight in (w, 0.0, 2 * w))
    apart = np.abs(s_w - (s_a + s_b) / 2).max()  # (15.13)
    found = [Check("(15.13) s_2 less (s_0 + s_4) / 2", apart, 0, 1e-13)]
    limit, start = ddpm_law(*EXAMPLE, w).var, taus[0] ** 0.5 * rng.standard_normal((n, 2))
    for a in (0.0, 2.0, 4.0):
        b = 2 * w - a
        x = deque(predictor_corrector_steps(start, taus, a, b, 1, *EXAMPLE, rng), maxlen=1).pop()
        exact, of_levels = chain_variance(taus, a, b, 1, *EXAMPLE), f"a = {a:g}, b = {b:g}"
        error = exact * (2 / x.size) ** 0.5  # of the variance of normal samples
        found.append(Check(f"(15.14) sampled, {of_levels}", x.var(0).mean(), exact, 4 * error))
        fine = chain_variance(levels(3200), a, b, 1, *EXAMPLE)
        found.append(Check(f"(15.15) 3,200 levels, {of_levels}", fine, limit, 2e-3))  # 3 / levels
    for b in (4.0, 2.0):
        V = chain_variance(levels(400), 0.0, b, 200, *EXAMPLE)
        found.append(Check(f"(15.16) n = 200, b = {b:g}", V, tilt(*EXAMPLE, b).var, 5e-3))
    return found


def figure() -> Figure:
    """What more correctors a level do; and that one a level comes to DDPM for every split."""
    fig = Figure(figsize=(11, 3.8), layout="constrained")
    more, finer = fig.subplots(1, 2)
    ns, counts, limit = (
        (1, 2, 4, 8, 16, 32, 64),
        (50, 100, 200, 400, 800),
        ddpm_law(*EXAMPLE, 2.0).var,
    )
    for a, b, color in ((4.0, 0.0, GREEN), (2.0, 2.0, ORANGE), (0.0, 4.0, BLUE)):
        label = f"a = {a:g}, b = {b:g}"
        V = [chain_variance(levels(400), a, b, n, *EXAMPLE) for n in ns]
        more.semilogx(ns, V, "o-", color=color, label=label)
        more.axhline(tilt(*EXAMPLE, b).var, color=color, ls=":")
        off = [abs(chain_variance(levels(k), a, b, 1, *EXAMPLE) - limit) for k in counts]
        finer.loglog(counts, off, "o-", color=color, label=label)
    more.set(title="Variance at w = 2 (dotted: the tilt of weight b)", ylim=(0.25, 1.05))
    more.set(xlabel="correctors a level, n")
    more.set_xticks(ns, [str(n) for n in ns])
    more.minorticks_off()
    finer.loglog(counts, [5 / k for k in counts], "--", color=GREY, label="5 / levels")
    finer.set_xticks(counts, [str(k) for k in counts])
    finer.minorticks_off()
    finer.set(title="n = 1: how far from the limit of DDPM, 0.3875", xlabel="levels")
    for ax in (more, finer):
        ax.legend(fontsize=8)
    return fig


if __name__ == "__main__":
    present("step15_predictor_corrector", __doc__ or "", checks(), figure())
