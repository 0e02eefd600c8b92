r"""Step 16, part 5. What it costs: distance to the tilted law against network evaluations.

**Claim.** With a plain guided chain more steps do not help: it goes to its own law. The samplers of
parts 2 to 4 come to the tilted law, or near it, for several times the evaluations.

**The distance.** Project both laws on a direction $u$. On a line the cheapest way to turn one into
the other keeps the order of points. With $F_u$ and $G_u$ the distribution functions of $u \cdot x$,

$$ SW^2 = E_u[\int_0^1 (F_u^{-1}(r) - G_u^{-1}(r))^2 dr] $$ (16.15)

is 0 only for equal laws. For two points it is half their squared distance, as $E[(u \cdot a)^2]$ is
$|a|^2 / 2$ in the plane. It is in the unit of $x$. Its floor is not 0: $n$ exact samples differ
from their law too, so they are measured beside the others.

**Measured.** Top class of `three_gaussians`, $w = 3$, 3,000 samples of each against 100,000 by
(15.3), one seed. An evaluation is one pass of the network for one sample; a guided score needs two.

| sampler | evaluations: distance |
|---|---|
| exact samples | .013, the floor |
| the class, no guidance (DDIM) | 30: .033 |
| guided DDIM (step 14) | 60: .636, 720: .606 |
| guided DDPM (step 8) | 60: .225, 720: .202 |
| 1, 3, 11 correctors a level (part 2) | 120: .337, 240: .102, 720: .015 |
| weights, resampled (part 3); one corrector too | 360: .090; 360: .022 |
| rounds of tau = 1, .1, .03 (part 4) | 70: .225, 110: .032, 350: .017 |

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

from collections import deque
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tutorial.program import BLUE, GREEN, GREY, ORANGE, PURPLE, Check, present
from tutorial.step01_toy_data import three_gaussians
from tutorial.step15_predictor_corrector import levels
from tutorial.step15_tilted import keep
from tutorial.step16_correctors import corrected_steps
from tutorial.step16_feynman_kac import copies, weighted_steps
from tutorial.step16_gibbs import gibbs_rounds
from tutorial.step16_levels import of_mixture

if TYPE_CHECKING:
    from jaxtyping import Float

W, N = 3.0, 3000
Row = tuple[str, int, float]  # sampler, evaluations a sample, distance


def sliced_wasserstein(
    x: Float[np.ndarray, "n 2"], other: Float[np.ndarray, "m 2"], directions: int = 32
) -> float:
    """The distance of two sets of samples, over evenly spread directions."""
    angle = np.pi * (np.arange(directions) + 0.5) / directions
    u, at = np.stack([np.cos(angle), np.sin(angle)]), (np.arange(1000) + 0.5) / 1000
    a, b = (np.quantile(each @ u, at, axis=0) for each in (x, other))
    return float(((a - b) ** 2).mean() ** 0.5)  # (16.15)


def exact_samples(n: int, seed: int) -> Float[np.ndarray, "kept 2"]:
    """The tilted law by hand: those kept of `n` of the class."""
    three, rng = three_gaussians(), np.random.default_rng(seed)
    x = three.means[0] + 0.5 * rng.standard_normal((n, 2))
    return x[keep(x, 0, W, three, rng)]


@cache
def table() -> tuple[Row, ...]:
    """Every sampler, what it costs, and how far it is from the tilted law."""
    rng, scores, rows = np.random.default_rng(0), of_mixture(three_gaussians(), 0), list[Row]()
    aim = exact_samples(100_000, 1)
    own = aim  # until there are samples of the class

    def start(high: float) -> np.ndarray:
        return high**0.5 * rng.standard_normal((N, 2))

    def row(name: str, evaluations: int, x: np.ndarray) -> None:
        rows.append((name, evaluations, sliced_wasserstein(x, aim)))

    row("exact samples: the floor", 0, exact_samples(N, 2))
    for steps, w, n in ((30, 0.0, 0), (30, W, 0), (360, W, 0), (30, W, 1), (30, W, 3), (30, W, 11)):
        taus = levels(steps, 1e4, 1e-3)
        chain = corrected_steps(start(1e4), taus, w, n, 0.3, 0.25, scores, rng)
        x = deque(chain, maxlen=1).pop()
        name = f"corrected, n = {n}" if n else "guided DDIM" if w else "the class, no guidance"
        row(name, steps * (1 + n) * (2 if w else 1), x)
        if not w:
            own = x
    for steps, n, weighted in ((30, 0, False), (360, 0, False), (180, 0, True), (90, 1, True)):
        taus, below = levels(steps, 400.0, 1e-3), 0.5 * weighted
        chain = weighted_steps(start(400.0), taus, W, scores, rng, below, n, 0.25)
        x, log_weights = deque(chain, maxlen=1).pop()
        x = x[copies(log_weights, 0.5)] if weighted else x
        name = f"weighted, {n} correctors" if weighted else "guided DDPM"
        row(name, 2 * steps * (1 + n), x)
    for tau, rounds in ((1.0, 5), (0.1, 10), (0.03, 40)):
        x = deque(islice(gibbs_rounds(own, tau, W, 4, scores, rng), rounds), maxlen=1).pop()
        row(f"rounds of tau = {tau:g}", 30 + 8 * rounds, x)
    return tuple(rows)


def checks() -> list[Check]:
    """Two points; two Gaussians; and in the table, who is near the floor and who is not."""
    points = np.zeros((1, 2)), np.array([[3.0, 4.0]])
    rng, n = np.random.default_rng(0), 20_000
    x, y = rng.standard_normal((n, 2)), 2 * rng.standard_normal((n, 2))
    far = {(name, cost): distance for name, cost, distance in table()}
    return [
        Check("(16.15) two points, 5 apart", sliced_wasserstein(*points), 12.5**0.5, 1e-12),
        # the tails beyond 1,000 quantiles, and 5 standard errors of a deviation
        Check("(16.15) deviations of 1 and 2", sliced_wasserstein(x, y), 1, 0.01 + 7.5 / n**0.5),
        Check("(16.15) floor", far["exact samples: the floor", 0], 0, 0.04),
        Check("(16.15) corrected", far["corrected, n = 11", 720], 0, 0.06),
        Check("(16.15) DDIM is farther than .5", far["guided DDIM", 720] > 0.5, 1, 0),
    ]


def figure() -> Figure:
    """The table, as a picture."""
    fig = Figure(figsize=(7.5, 4), layout="constrained")
    ((ax,),) = fig.subplots(1, 1, squeeze=False)
    kinds = {"guided DDIM": ORANGE, "guided DDPM": "#8a5a00", "corrected": BLUE, "weighted": GREEN,
             "rounds": PURPLE, "the class": "black"}  # fmt: skip
    floor = next(distance for name, _, distance in table() if name.startswith("exact"))
    for kind, color in kinds.items():
        rows = [(cost, distance) for name, cost, distance in table() if name.startswith(kind)]
        joined = "o" if kind in ("weighted", "rounds") else "o-"
        ax.loglog(*zip(*rows, strict=True), joined, color=color, label=kind)
    ax.axhline(floor, color=GREY, ls=":", label="exact samples")
    ax.set_xticks((30, 60, 120, 240, 360, 720), ["30", "60", "120", "240", "360", "720"])
    ax.minorticks_off()
    ax.set(xlabel="network evaluations a sample", ylabel="sliced Wasserstein distance")
    ax.set(title="Distance to the tilted law, w = 3", ylim=(0.01, 1))
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


if __name__ == "__main__":
    present("step16_table", __doc__ or "", checks(), figure())
    print("\n  sampler                      evaluations, sliced Wasserstein distance")
    print("\n".join(f"  {name:28} {cost:5} {distance:7.3f}" for name, cost, distance in table()))
