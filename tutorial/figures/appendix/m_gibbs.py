"""The variance in which rounds end, over tau, and the guided score beside the right one."""

from __future__ import annotations

from itertools import islice

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.h_gaussian_pairs import EXAMPLE
from tutorial.appendix.j_levels import mix, of_gaussians, of_mixture
from tutorial.appendix.m_gibbs import gibbs_rounds, left_alone, missing, noised_tilt_score
from tutorial.contract import last
from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step11_guidance import tilt


def checks() -> list[Check]:
    """What guidance leaves out, at a point; rounds on samples; small tau."""
    three = three_gaussians()
    x = np.array([0.4, 0.3])
    tau = 0.5
    w = 3.0
    h = 1e-4
    up = missing(x + np.array([0, h]), tau, 0, w, three)
    down = missing(x - np.array([0, h]), tau, 0, w, three)
    slope = (up - down) / (2 * h)
    guided = mix(of_mixture(three, 0)(x[None], tau), w)[0, 1]
    exact = noised_tilt_score(x, tau, 0, w, three)[1]
    rng = np.random.default_rng(0)
    n = 10_000
    w = 2.0
    start = EXAMPLE[0].mean + rng.standard_normal((n, 2))
    rounds = gibbs_rounds(start, 0.5, w, 20, of_gaussians(*EXAMPLE), rng)
    samples = last(islice(rounds, 8))
    V = left_alone(0.5, w, *EXAMPLE)
    allowed = 0.02 + 5 / n**0.5  # 20 steps: within 2%
    near = 2 * left_alone(0.005, w, *EXAMPLE) - left_alone(0.01, w, *EXAMPLE)
    return [
        Check("(M.1) score of the noised tilt", guided + slope, exact, 1e-6),
        Check("(M.3) variance after 8 rounds, over it", samples.var(0).mean() / V, 1, allowed),
        Check("(M.3) at small tau: the tilted law", near, tilt(*EXAMPLE, w).var, 1e-4),
    ]


def figure() -> Figure:
    """Where rounds end, over tau; and the score that guidance has and should have."""
    fig = Figure(figsize=(9, 3.5), layout="constrained")
    ends, force = fig.subplots(1, 2)
    taus = np.geomspace(1e-2, 1e2, 60)
    ends.semilogx(taus, [left_alone(float(t), 2.0, *EXAMPLE) for t in taus], color=BLUE)
    ends.axhline(0.5, color=GREY, ls=":", label="tilted law")
    ends.axhline(0.25, color=ORANGE, ls=":", label="DDIM alone")
    ends.set(xlabel=r"$\tau$ of a round", title="Variance that rounds end in, w = 2")
    three = three_gaussians()
    heights = np.linspace(-0.5, 2.5, 13)
    for tau, color in ((0.1, BLUE), (1.0, ORANGE)):
        x = np.stack([0 * heights, heights], 1)
        right = [noised_tilt_score(row, tau, 0, 3.0, three)[1] for row in x]
        force.plot(heights, right, color=color, label=rf"right, $\tau$ = {tau}")
        guided = mix(of_mixture(three, 0)(x, tau), 3.0)[:, 1]
        force.plot(heights, guided, "--", color=color, label="guided")
    force.set(xlabel="height", title="Pull upwards, three classes, w = 3")
    ends.legend(fontsize=8)
    force.legend(fontsize=8)
    return fig
