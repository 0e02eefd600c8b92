r"""Appendix N. What it costs: distance to the tilted law against network evaluations.

**Claim.** With a plain guided chain more steps do not help: it goes to its own law. The samplers of
appendices K to M come to the tilted law, or near it, for several times the evaluations.

**The distance.** Project both laws on a direction $u$. On a line the cheapest way to turn one into
the other keeps the order of points. With $F_u$ and $G_u$ the distribution functions of $u \cdot x$,

$$ SW^2 = E_u[\int_0^1 (F_u^{-1}(r) - G_u^{-1}(r))^2 dr] $$ (N.1)

is 0 only for equal laws. For two points it is half their squared distance, as $E[(u \cdot a)^2]$ is
$|a|^2 / 2$ in the plane. It is in the unit of $x$. Its floor is not 0: $n$ exact samples differ
from their law too, so they are measured beside the others.

**Measured.** Top class of `three_gaussians`, $w = 3$, 3,000 samples of each against 100,000 by
(13.3), one seed. An evaluation is one pass of the network for one sample; a guided score needs two.

| sampler | evaluations: distance |
|---|---|
| exact samples | .013, the floor |
| the class, no guidance (DDIM) | 30: .033 |
| guided DDIM (step 17) | 60: .636, 720: .606 |
| guided DDPM (step 7) | 60: .225, 720: .202 |
| 1, 3, 11 correctors a level (appendix K) | 120: .337, 240: .102, 720: .015 |
| weights, resampled (appendix L); one corrector too | 360: .090; 360: .022 |
| rounds of tau = 1, .1, .03 (appendix M) | 70: .225, 110: .032, 350: .017 |

**What it says.** The class's own deviation is .5, and DDIM ends farther off than that: guidance of
$w = 3$ takes samples away from the tilted law, to which the class without any was near (98% of it
is kept). Twelve times the levels change little. Correctors come to the floor: there is one hill,
and nothing but a wait is needed. Weights alone have to make up for all that DDPM does wrong, and
few samples carry them; one corrector between levels helps. Rounds are cheapest here, as they begin
with the class, which is near; they trade bias for time, by $\tau$. None of this knows a network's
errors: all scores are exact.

**Boundary.** A distance below about twice the floor is not told from it by one seed.

**Source.** Bonneel et al. 2015, J. Math. Imaging Vis. 51:22 (sliced Wasserstein distance).
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from tutorial.appendix.i_predictor_corrector import levels
from tutorial.appendix.j_levels import of_mixture
from tutorial.appendix.k_correctors import corrected_steps
from tutorial.appendix.l_feynman_kac import copies, weighted_steps
from tutorial.appendix.m_gibbs import gibbs_rounds
from tutorial.contract import last
from tutorial.step01_toy_data import three_gaussians
from tutorial.step13_tilted import keep

if TYPE_CHECKING:
    from jaxtyping import Float

W = 3.0
N = 3000
Row = tuple[str, int, float]  # sampler, evaluations a sample, distance


def sliced_wasserstein(
    x: Float[np.ndarray, "n 2"], other: Float[np.ndarray, "m 2"], directions: int = 32
) -> float:
    """The distance of two sets of samples, over evenly spread directions."""
    angle = np.pi * (np.arange(directions) + 0.5) / directions
    u = np.stack([np.cos(angle), np.sin(angle)])
    r = (np.arange(1000) + 0.5) / 1000
    F_inverse = np.quantile(x @ u, r, axis=0)
    G_inverse = np.quantile(other @ u, r, axis=0)
    SW2 = ((F_inverse - G_inverse) ** 2).mean()  # (N.1)
    return float(SW2**0.5)


def exact_samples(n: int, seed: int) -> Float[np.ndarray, "kept 2"]:
    """The tilted law by hand: those kept of `n` of the class."""
    three = three_gaussians()
    rng = np.random.default_rng(seed)
    x = three.means[0] + 0.5 * rng.standard_normal((n, 2))
    return x[keep(x, 0, W, three, rng)]


@cache
def table() -> tuple[Row, ...]:
    """Every sampler, its evaluations per sample, and its distance to the tilted law."""
    rng = np.random.default_rng(0)
    scores = of_mixture(three_gaussians(), 0)

    def corrected(steps: int, w: float, n: int) -> np.ndarray:
        """DDIM of weight `w` with `n` correctors a level, as in appendix K."""
        x = 100 * rng.standard_normal((N, 2))
        taus = levels(steps, 1e4, 1e-3)
        return last(corrected_steps(x, taus, w, n, 0.3, 0.25, scores, rng))

    def unweighted(steps: int) -> np.ndarray:
        """DDPM of weight `W`."""
        x = 20 * rng.standard_normal((N, 2))
        taus = levels(steps, 400.0, 1e-3)
        x, _ = last(weighted_steps(x, taus, W, scores, rng, 0.0, 0, 0.25))
        return x

    def weighted(steps: int, n: int) -> np.ndarray:
        """DDPM of weight `W` with the weights of appendix L and `n` correctors a level."""
        x = 20 * rng.standard_normal((N, 2))
        taus = levels(steps, 400.0, 1e-3)
        x, log_weights = last(weighted_steps(x, taus, W, scores, rng, 0.5, n, 0.25))
        return x[copies(log_weights, 0.5)]

    def rounds(x: np.ndarray, tau: float, number: int) -> np.ndarray:
        """Rounds of four steps, as in appendix M, from the samples `x`."""
        return last(islice(gibbs_rounds(x, tau, W, 4, scores, rng), number))

    # A guided score takes two evaluations. The rounds start from `of_class`, which took 30.
    of_class = corrected(30, 0.0, 0)
    samples = [
        ("exact samples: the floor", 0, exact_samples(N, 2)),
        ("the class, no guidance", 30, of_class),
        ("guided DDIM", 60, corrected(30, W, 0)),
        ("guided DDIM", 720, corrected(360, W, 0)),
        ("corrected, n = 1", 120, corrected(30, W, 1)),
        ("corrected, n = 3", 240, corrected(30, W, 3)),
        ("corrected, n = 11", 720, corrected(30, W, 11)),
        ("guided DDPM", 60, unweighted(30)),
        ("guided DDPM", 720, unweighted(360)),
        ("weighted, 0 correctors", 360, weighted(180, 0)),
        ("weighted, 1 correctors", 360, weighted(90, 1)),
        ("rounds of tau = 1", 70, rounds(of_class, 1.0, 5)),
        ("rounds of tau = 0.1", 110, rounds(of_class, 0.1, 10)),
        ("rounds of tau = 0.03", 350, rounds(of_class, 0.03, 40)),
    ]
    aim = exact_samples(100_000, 1)
    rows: list[Row] = []
    for name, evaluations, x in samples:
        rows.append((name, evaluations, sliced_wasserstein(x, aim)))
    return tuple(rows)


if __name__ == "__main__":
    from tutorial.figures.appendix.n_costs import print_table
    from tutorial.figures.program import present

    present("appendix.n_costs")
    print_table()
