"""The figure shows distances to neighbours, entropy estimates, and clusters that move apart."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from tutorial.appendix.c_entropy import (
    STANDARD,
    entropy,
    entropy_of_density,
    moment_entropy,
    neighbours,
)
from tutorial.figures.program import BLUE, GREY, ORANGE, RED, Check
from tutorial.step01_toy_data import three_gaussians


def checks() -> list[Check]:
    """A Gaussian and three clusters, by neighbours and by moments; a map."""
    rng = np.random.default_rng(0)
    mixture = three_gaussians()
    n = 4000
    gauss = entropy(rng.standard_normal((n, 2)))
    three, _ = mixture.sample(n, rng)
    near = entropy(three)
    bound = moment_entropy(three)
    twice = entropy(2 * three) - near
    exact = entropy_of_density(mixture.log_density(three))
    _, cov = mixture.moments()
    room = STANDARD + np.log(np.linalg.det(cov)) / 2
    return [
        Check("(C.2) twice as wide", twice.value, 2 * np.log(2), 1e-12),
        Check("(C.3) a Gaussian", gauss.value, STANDARD - 0.008, 4 * gauss.error),
        Check("(C.4) three clusters, by moments", bound.value, room, 4 * bound.error),
        Check("(C.6) three clusters, by neighbours", near.value, exact.value, 4 * near.error),
    ]


def figure() -> Figure:
    """Discs to the fifth neighbour; the mean estimate over n; clusters that move apart."""
    fig = Figure(figsize=(13, 4), layout="constrained")
    circles, over_n, moved = fig.subplots(1, 3)
    rng = np.random.default_rng(0)
    mu = three_gaussians().means
    x = 0.5 * rng.standard_normal((150, 2)) + np.tile(mu, (50, 1))
    circles.plot(*x.T, ".", ms=4, color=BLUE)
    r, _ = neighbours(x, 6)
    for centre, radius in zip(x[:16], r[:16, 5], strict=True):
        circles.add_patch(Circle(tuple(centre), radius, fill=False, color=ORANGE))
    circles.set(title="Discs to the 5th neighbour, 16 samples", aspect="equal")
    circles.set(xlabel="first coordinate", ylabel="second coordinate")

    repeats = 100
    counts = 50 * 2 ** np.arange(7)
    means = list[float]()
    spreads = list[float]()
    for n in counts:
        values = [entropy(rng.standard_normal((n, 2))).value for _ in range(repeats)]
        means.append(float(np.mean(values)))
        spreads.append(float(np.std(values)))
    mean = np.array(means)
    spread = np.array(spreads)
    # psi(n) - psi(5), which the simpler estimate replaces with log(n / 5).
    digamma_difference = np.array([(1 / np.arange(5, n)).sum() for n in counts])
    naive = mean - digamma_difference + np.log(counts / 5)
    over_n.fill_between(counts, mean - spread, mean + spread, color=BLUE, alpha=0.2, lw=0)
    over_n.plot(counts, mean, "o-", ms=4, color=BLUE, label="(C.6), k = 5")
    over_n.plot(counts, naive, "x-", color=GREY, label="log k in the place of digamma")
    over_n.axhline(STANDARD, ls=":", color=RED, label="exact")
    over_n.set(xscale="log", xlabel="number n of samples", ylabel="entropy, in nats")
    over_n.set(
        title="N(0, I): means of 100 estimates\n(band: one standard deviation on either side)"
    )

    apart = np.linspace(0, 3, 13)
    sets = list[np.ndarray]()
    for d in apart:
        centres = np.tile(d / 1.5 * mu, (1000, 1))
        sets.append(0.5 * rng.standard_normal((3000, 2)) + centres)
    for name, f, color in (
        ("bound by the covariance matrix", moment_entropy, ORANGE),
        ("estimate by neighbours", entropy, BLUE),
    ):
        moved.plot(apart, [f(x).value for x in sets], "o-", ms=4, color=color, label=name)
    moved.axhline(STANDARD + np.log(3 / 4), ls=":", color=RED, label="far apart, exact")
    moved.set(xlabel="distance of the centres from the origin", ylabel="entropy, in nats")
    moved.set(title="Three clusters that are moved apart")
    for ax in (over_n, moved):
        ax.legend(fontsize=8)
    return fig
