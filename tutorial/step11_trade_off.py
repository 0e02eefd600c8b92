r"""Step 11, part 3. The trade-off: what guidance gives and what it takes, measured.

**Claim.** A larger $w$ makes samples more like their class and less unlike each other, up to a
point. Denoiser and classifier are exact here: this is guidance itself, no fault of a network.

**Measured** are, for samples $x_i$ that were asked to be of class $y$, relevance and accuracy

$$ R = (1 / n) \sum_i p(y | x_i) $$ (11.20)
$$ A = (1 / n) \sum_i [p(y | x_i) > p(c | x_i) \text{ for every } c \ne y] $$ (11.21)

and part 1's entropy (11.6) with its bound by the determinant (11.4). For a class of the `pinwheel`,
4000 samples of 100 steps, the same noise for every $w$, errors (11.8) in units of the last digit:

| w | relevance | accuracy | entropy | bound |
|---|---|---|---|---|
| -1 | 0.207 (6) | 0.209 (6) | 2.36 (2) | 2.81 (1) |
| 0 | 0.859 (4) | 0.914 (4) | 0.98 (2) | 1.00 (2) |
| 1 | 0.957 (1) | 0.998 (1) | 0.69 (2) | 0.71 (2) |
| 4 | 0.991 (0) | 1.000 (0) | 0.59 (2) | 0.61 (2) |
| 8 | 0.998 (0) | 1.000 (0) | 0.60 (2) | 0.61 (2) |
| 16 | 1.000 (0) | 1.000 (0) | 0.63 (2) | 0.65 (2) |

The same noise makes changes better known than values. From $w = -1$ to 4, the paper's largest, each
of the figure's six steps adds relevance by over 20 errors of the change and takes determinant by
over 15. Entropy falls by over 9 in the first three and by 2 to 4 in the rest. The paper's own toy,
`three_gaussians`, gains less, 0.989 to 1.000 from $w = 0$ to 4, and pays 0.19 of entropy.

**Where it ends.** Beyond that only relevance goes on: from 8 to 16 the bound *rises* by 24 errors.
Where the classifier is sure its gradient vanishes, and guidance with it. A strong one carries
samples there early and then lets go: see the animation, at $w = 4$. The rest of the chain spreads
them like the class alone, but further out, where there are hardly any data. So less diversity with
more $w$ is no law. In part 2's exact case it is one, as there the pull grows with the distance.

**Boundary.** At $w = -1$ nobody hears the label. From the same noise come the same samples for
every $y$, and each of them shares out a probability of 1 and a single best guess:

$$ w = -1: \quad \sum_y R_y = \sum_y A_y = 1 $$ (11.22)

The pinwheel can be turned into itself, so each has the mean 1 / 5. At $w = 0$ the samples have the
law (8.7), whose entropy is (11.3).

**Source.** Ho and Salimans 2022, arXiv:2207.12598, sec. 4: the same with FID and Inception score.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure

from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, ORANGE, Check, present
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import GaussianMixture, pinwheel
from tutorial.step07_oracle import oracle_eps
from tutorial.step08_sampling import ancestral_steps, chain_law
from tutorial.step11_diversity import STANDARD, Estimate, entropy, moment_entropy

if TYPE_CHECKING:
    from jaxtyping import Float, Int

SCHEDULE, WEIGHTS = Schedule.cosine(100), (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def measure(x: Float[np.ndarray, "n 2"], y: int, mixture: GaussianMixture) -> list[Estimate]:
    """Relevance, accuracy, entropy and its bound, of samples asked to be of class `y`."""
    if not 0 <= y < mixture.num_classes:
        raise ValueError(f"y = {y} is outside 0..{mixture.num_classes - 1}")
    log_p = mixture.log_class_probability(x)
    p, hits = np.exp(log_p[:, y]), (log_p.argmax(1) == y).astype(np.float64)  # (11.21)
    R, A = (Estimate(float(a.mean()), a) for a in (p, hits))  # (11.20) (11.22)
    return [R, A, entropy(x), moment_entropy(x)]


def chains(mixture: GaussianMixture, y: Int[np.ndarray, " n"], w: float) -> list[np.ndarray]:
    """`x_t` for t = T..0, (n, 2), from the same noise whatever `w` and `y` are."""
    model, rng = oracle_eps(mixture, SCHEDULE), np.random.default_rng(0)
    return [xt for _, xt in ancestral_steps(model, y, SCHEDULE, w, rng)]


@cache
def sweep() -> list[list[Estimate]]:
    """The measures of class 0 of the pinwheel, a row for each of `WEIGHTS`."""
    y, mixture = np.zeros(4000, int), pinwheel()
    return [measure(chains(mixture, y, w)[-1], 0, mixture) for w in WEIGHTS]


def errors_of_change(rows: list[list[Estimate]], k: int) -> Float[np.ndarray, " rows1"]:
    """By how many of its errors measure `k` changes from each row to the next."""
    changes = [after[k] - before[k] for before, after in pairwise(rows)]
    return np.array([change.value / change.error for change in changes])


def checks() -> list[Check]:
    """Both ends that are known; the steps of the sweep."""
    rows, mixture = sweep(), pinwheel()
    V = chain_law(mixture.means[0], mixture.covs[0], SCHEDULE)[1][0]
    (R, A, _, _), h, law = rows[0], rows[2][2], STANDARD + np.log(np.linalg.det(V)) / 2
    more, less, bound = (errors_of_change(rows, k) for k in (0, 2, 3))
    return [
        Check("(11.20) w = -1: relevance", R.value, 0.2, 4 * R.error),
        Check("(11.21) w = -1: accuracy", A.value, 0.2, 4 * A.error),
        Check("(11.6) w = 0: entropy", h.value, law, 4 * h.error),
        Check("(11.20) 6 steps to w = 4: relevance up", (more[:6] > 20).sum(), 6, 0),
        Check("(11.6) and entropy and bound down", ((less < -2) & (bound < -15)).sum(), 6, 0),
        Check("(11.4) from w = 8 to 16: bound up", bound[7] > 20, 1, 0),
    ]


def clouds(axes: np.ndarray, ws: tuple[float, ...]) -> Iterator[int]:
    """Draw a panel a weight, and move its dots along the chains: once for each t yielded, T..0."""
    mixture, y, axis = pinwheel(), np.repeat(np.arange(5), 150), np.linspace(-3.8, 3.8, 121)
    grid, paths = np.stack(np.meshgrid(axis, axis), -1), [chains(mixture, y, w) for w in ws]
    density = np.exp(mixture.log_density(grid.reshape(-1, 2))).reshape(121, 121)
    for ax, w in zip(axes, ws, strict=True):
        ax.contourf(axis, axis, density, 6, cmap="Greys", alpha=0.5)
        ax.scatter(*np.zeros((2, len(y))), s=4, lw=0, c=np.array(CLASS_COLORS)[y], zorder=3)
        ax.set(title=f"w = {w:g}", aspect="equal", xticks=[], yticks=[])
    for t in range(SCHEDULE.T, -1, -1):
        for ax, path in zip(axes, paths, strict=True):
            ax.collections[-1].set_offsets(path[SCHEDULE.T - t])
        yield t


def figure() -> Figure:
    """Clouds at five weights; relevance and diversity over w; one against the other."""
    fig = Figure(figsize=(11, 5.8), layout="constrained")
    top, bottom = cast(Any, fig).subfigures(2, 1, height_ratios=(1, 1.3))
    deque(clouds(top.subplots(1, 5), (-1.0, 0.0, 1.0, 4.0, 16.0)), maxlen=0)
    relevance, diversity, both = bottom.subplots(1, 3)
    value, error = np.array([[(f.value, f.error) for f in row] for row in sweep()]).T
    for ax, k, name, color in (
        (relevance, 1, "accuracy", GREY), (relevance, 0, "mean of $p(y | x_0)$", BLUE),
        (diversity, 3, "bound by the determinant", ORANGE), (diversity, 2, "entropy", BLUE),
    ):  # fmt: skip
        ax.errorbar(range(9), value[k], error[k], fmt="o-", ms=4, color=color, label=name)
        ax.set(xlabel="w", xticks=range(9), xticklabels=[f"{w:g}" for w in WEIGHTS])
        ax.legend(fontsize=8)
    relevance.set(title="Relevance: up")
    diversity.set(title="Diversity: down, to w = 4")
    h, miss = value[2, 2:], 1 - value[0, 2:]
    both.errorbar(h, miss, error[0, 2:], error[2, 2:], fmt="o-", ms=4, color=BLUE)
    for w, place in zip(WEIGHTS[2:], zip(h, miss, strict=True), strict=True):
        both.annotate(f"w = {w:g}", place, (8, -10), textcoords="offset points", fontsize=8)
    both.set(title="One against the other", xlabel="entropy", ylabel="1 - relevance")
    both.set(yscale="log", xlim=(0.55, 1.09), ylim=(3e-4, 0.25))
    return fig


def animate(path: Path) -> Path:
    """Save the chains of four weights as a GIF: every fourth step, and the end for a while."""
    fig, writer = Figure(figsize=(8.8, 2.4), layout="constrained"), cast(Any, PillowWriter(fps=8))
    panels = fig.subplots(1, 4)
    with writer.saving(fig, path, dpi=90):
        for t in clouds(panels, (-1.0, 0.0, 1.0, 4.0)):
            panels[0].set_ylabel(f"t = {t}")
            for _ in range(12 if t == 0 else t % 4 == 0):
                writer.grab_frame()
    return path


if __name__ == "__main__":
    present("step11_trade_off", __doc__ or "", checks(), figure())
    print("animation:", animate(Path("runs/tutorial/step11_trade_off.gif")))
