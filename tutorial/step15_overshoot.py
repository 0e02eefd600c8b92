r"""Step 15, part 2. Overshoot and shrinkage: what guided chains sample, with exact outputs.

**Claim.** Not the tilted law. Let a chain have the oracle for a network, and look at the samples of
one class: their mean $M$, measured from the middle of all data, and a variance $V$. For $w > 0$, in
the three Gaussians here and in the two of part 3,

$$ M_{tilted} < M_{alg. 2} < M_{DDIM} $$ (15.5)
$$ V_{tilted} > V_{alg. 2} > V_{DDIM} $$ (15.6)

**The figures.** The top class of `three_gaussians`, 256 steps of log SNR from -20 to 20, $v = 0.3$.
Height, and in brackets the variance across and along it:

| w | tilted law | Algorithm 2 (step 13) | DDIM (step 14) |
|---|---|---|---|
| 0 | 1.500 (.250, .250) | 1.500 (.245, .245) | 1.500 (.247, .247) |
| 1 | 1.515 (.244, .235) | 1.678 (.224, .203) | 1.914 (.173, .126) |
| 3 | 1.526 (.241, .226) | 1.797 (.221, .198) | 2.365 (.141, .083) |

All are sums over grids, good to their last digit (the chains': see the tests). 40,000 samples have
standard errors of .0025 and less, and agree with all of it.

**It is not the number of steps.** With 1,024 of them Algorithm 2 comes to 1.677 (.228, .206) at
$w = 1$, and DDIM to 1.914 (.175, .128). Finite steps cost every chain a little of its spread
(step 8), at $w = 0$ too: there it is all that is wrong. Part 3 goes to the limit in closed form.

**Why.** The tilt asks a classifier of $x_0$, which is sure of nearly everyone and then says nothing
more. A chain asks one of $x_t$, at every $t$. Early in the chain that is sure of nobody, so it
pulls everybody outwards (9.13), whether or not they will need it. At each $t$ between the ends
guidance aims too far out (10.11) and too narrow (10.10). No later step takes that back: late in
the chain, and well inside the class, guidance adds nothing, neither outwards nor inwards.

DDIM keeps all of every pull. Each step of Algorithm 2 replaces a part of $x_t$ by new noise, and
with it a part of what the pulls have done. Part 4 says what it is pulled back to.

**What it costs.** The tilted law is the class without its doubtful members (15.3). At $w = 3$
about half of DDIM's samples are above 2.37, where the class has 4% of its own, and their variance
along the height is a third of the class's. They look more like the class to a classifier, and they
are less like the class.

**Boundary.** At $w = 0$ all three are the class, at $w = -1$ all data. Between the two the signs of
(15.5) and (15.6) are the other way round: chains fall short, and spread.

**Source.** Ho and Salimans 2022, arXiv:2207.12598, alg. 2; Chidambaram et al. 2024,
arXiv:2409.13074 (proof, for mixtures, that guidance does not sample the tilted law).
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from tutorial.program import BLUE, GREY, ORANGE, Check, present
from tutorial.step01_toy_data import three_gaussians
from tutorial.step07_oracle import oracle_eps
from tutorial.step13_log_snr import algorithm_2, log_snr_grid, schedule_from
from tutorial.step14_ddim import ddim
from tutorial.step14_rows import run
from tutorial.step15_tilted import moments_on_grid, tilted_on_grid

if TYPE_CHECKING:
    from jaxtyping import Float

CHUNK = 4000
NAMES, COLORS = ("tilted", "Algorithm 2", "DDIM"), (GREY, BLUE, ORANGE)
TABLE = {
    0.0: ((1.500, 0.250, 0.250), (1.500, 0.245, 0.245), (1.500, 0.247, 0.247)),
    1.0: ((1.515, 0.244, 0.235), (1.678, 0.224, 0.203), (1.914, 0.173, 0.126)),
    3.0: ((1.526, 0.241, 0.226), (1.797, 0.221, 0.198), (2.365, 0.141, 0.083)),
}


@cache
def guided_samples(
    w: float, n: int = CHUNK, T: int = 256, seed: int = 0
) -> Float[np.ndarray, "2 n 2"]:
    """`n` of the top class by Algorithm 2, v = .3, and `n` by DDIM over the same `T` steps."""
    log_snr, rng = log_snr_grid(T), np.random.default_rng(seed)
    schedule = schedule_from(log_snr)
    model, table = oracle_eps(three_gaussians(), schedule), ddim(schedule)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for start in tqdm(range(0, n, CHUNK), f"w = {w:g}", disable=None):
        y = np.zeros(min(CHUNK, n - start), dtype=int)
        pairs.append((algorithm_2(model, y, log_snr, w, 0.3, rng), run(model, y, table, w, rng)))
    return np.array([np.concatenate(samples) for samples in zip(*pairs, strict=True)])


def summary(x: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "3 2"]:
    """Height, variance across and variance along it, each with its standard error."""
    square = (x - x.mean(0)) ** 2
    each = np.stack([x[:, 1], square[:, 0], square[:, 1]])
    return np.stack([each.mean(1), each.std(1) / len(x) ** 0.5], 1)  # (15.5) (15.6)


def checks(n: int = CHUNK) -> list[Check]:
    """The whole table, each figure of a sampler within 4 standard errors and the last digit."""
    found: list[Check] = []
    for w, (of_tilt, *of_chains) in TABLE.items():
        mean, cov = moments_on_grid(*tilted_on_grid(three_gaussians(), 0, w))
        rows = [("tilted", np.array([[mean[1], 0], [cov[0, 0], 0], [cov[1, 1], 0]]), of_tilt)]
        rows += zip(NAMES[1:], map(summary, guided_samples(w, n)), of_chains, strict=True)
        for name, values, table in rows:
            for what, (value, error), right in zip(
                ("(15.5) height", "(15.6) across", "(15.6) along"), values, table, strict=True
            ):
                found.append(Check(f"{what}, w = {w:g}, {name}", value, right, 4 * error + 5e-4))
    return found


def figure(n: int = CHUNK) -> Figure:
    """Samples on the tilted density; the height and the variance over w."""
    fig = Figure(figsize=(14, 3.9), layout="constrained")
    *panels, height, spread = fig.subplots(1, 5)
    three, axis = three_gaussians(), np.linspace(-4, 4, 401)
    for ax, w in zip(panels, TABLE, strict=True):
        for x, name, color in zip(guided_samples(w, n), NAMES[1:], COLORS[1:], strict=True):
            ax.scatter(*x[:500].T, s=3, color=color, alpha=0.6, label=name)
        p = tilted_on_grid(three, 0, w)[1]
        ordered = np.sort(p)
        levels = ordered[np.searchsorted(np.cumsum(ordered), [0.01, 0.1, 0.5])]
        ax.contour(axis, axis, p.reshape(401, 401), levels, colors="black", linewidths=0.8)
        ax.plot([], [], color="black", lw=0.8, label="tilted: 50, 90, 99%")
        ax.set(title=f"w = {w:g}: the top class", xlim=(-1.9, 1.9), ylim=(-0.9, 3.4))
        ax.set_aspect("equal")
    weights = np.linspace(0, 3, 13)
    laws = [moments_on_grid(*tilted_on_grid(three, 0, w)) for w in weights]
    height.plot(weights, [mean[1] for mean, _ in laws], color=GREY, label="tilted")
    spread.plot(weights, [cov[1, 1] for _, cov in laws], color=GREY)
    for k in (1, 2):
        rows = np.array([row[k] for row in TABLE.values()])
        height.plot(list(TABLE), rows[:, 0], "o", color=COLORS[k], label=NAMES[k])
        spread.plot(list(TABLE), rows[:, 2], "o", color=COLORS[k])
    height.set(title="Height: overshoot", xlabel="w")
    spread.set(title="Variance along it: shrinkage", xlabel="w", ylim=(0, None))
    for ax in (panels[0], height):
        ax.legend(fontsize=7)
    return fig


if __name__ == "__main__":
    size = 10 * CHUNK if "--full" in sys.argv else CHUNK
    present("step15_overshoot", __doc__ or "", checks(size), figure(size))
