"""Chains of a class with two modes, the fraction of the rare mode, and the overshoot over distance.

The two rows of the overshoot are from 20,000 samples with 1,000 steps of the cosine schedule.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.contract import last
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, Check
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step07_sampling import ancestral_sample
from tutorial.step13_tilted import steps_without_noise, summary
from tutorial.step14_modes import (
    CLASS_OF,
    ModesOracle,
    first_guess,
    fraction_below,
    move_apart,
    remains_with_noise,
    remains_without_noise,
    tilted_fractions,
    two_modes,
)

SCHEDULE = Schedule.cosine(100)

# For each factor c at w = 3: the overshoot and the variance along the height, of the ancestral
# chain and of the chain without fresh noise.
OVERSHOOT = {
    1.0: (0.298, 0.200, 0.864, 0.084),
    2.0: (0.152, 0.235, 0.865, 0.084),
    4.0: (0.078, 0.245, 0.867, 0.084),
    8.0: (0.041, 0.247, 0.872, 0.084),
    16.0: (0.022, 0.248, 0.882, 0.085),
}


def overshoot(c: float, n: int, T: int) -> tuple[float, float, float, float]:
    """A row of `OVERSHOOT` by `n` samples with `T` steps."""
    mixture = move_apart(three_gaussians(), c)
    schedule = Schedule.cosine(T)
    model = oracle_eps(mixture, schedule)
    y = np.zeros(n, dtype=int)
    rng = np.random.default_rng(0)
    with_noise = summary(ancestral_sample(model, y, schedule, 3.0, rng))[:, 0]
    start = rng.standard_normal((n, 2))
    _, ends = last(steps_without_noise(model, y, schedule, 3.0, start))
    without_noise = summary(ends)[:, 0]
    beyond = mixture.means[0, 1]
    return (
        float(with_noise[0] - beyond),
        float(with_noise[2]),
        float(without_noise[0] - beyond),
        float(without_noise[2]),
    )


def checks() -> list[Check]:
    """Fractions of the rare mode with 100 steps beside those with 250, and the overshoot."""
    found: list[Check] = []
    for other, fraction in ((0.0, 0.256), (-4.0, 0.046), (4.0, 0.516)):
        model = ModesOracle(two_modes(other), CLASS_OF, SCHEDULE)
        value = fraction_below(model, 0, SCHEDULE, 1.0)
        # The text's fractions are for 250 steps; the difference is below 0.004.
        found.append(Check(f"(14.3) w = 1, class 1 at {other:g}", value, fraction, 0.0045))
    tilted = tilted_fractions(two_modes(), CLASS_OF, 0, 7.0)[1]
    found.append(Check("(14.2) tilted, w = 7", float(tilted), 0.2996, 5e-5))
    guess = first_guess(np.array([0.8, 0.0]), np.array([0.4, 0.0]), 3.0)[0]
    found.append(Check("(14.4) first guess, w = 3", float(guess), 2.0, 1e-12))
    found.append(Check("(14.5) tau = 1", remains_with_noise(0.25, 1.0), 0.2, 1e-12))
    found.append(Check("(14.6) tau = 1", remains_without_noise(0.25, 1.0), 0.447, 5e-4))
    with_noise, _, without_noise, _ = overshoot(4.0, n=1000, T=200)
    # 4 standard errors of 1,000 samples, and 0.01 for 200 steps.
    found.append(Check("ancestral overshoot, c = 4", with_noise, 0.078, 0.07))
    found.append(Check("without fresh noise, c = 4", without_noise, 0.867, 0.05))
    return found


def figure() -> Figure:
    """Two panels of chains, fractions of the rare mode over w, and the overshoot over c."""
    fig = Figure(figsize=(14, 3.9), layout="constrained")
    no_guidance, guided, fractions, distances = fig.subplots(1, 4)
    model = ModesOracle(two_modes(), CLASS_OF, SCHEDULE)
    starts = np.zeros((41, 2))
    starts[:, 0] = np.linspace(-2.4, 2.4, 41)
    y = np.zeros(41, dtype=int)
    for ax, w in ((no_guidance, 0.0), (guided, 3.0)):
        states = [xt for _, xt in steps_without_noise(model, y, SCHEDULE, w, starts)]
        paths = np.array(states)[:, :, 0]  # (T + 1, 41)
        rare = paths[-1] < 0
        times = np.arange(SCHEDULE.T, -1, -1)
        ax.plot(times, paths[:, ~rare], color=BLUE, lw=0.8)
        ax.plot(times, paths[:, rare], color=ORANGE, lw=0.8)
        ax.plot([], [], color=BLUE, label="end in the frequent mode")
        ax.plot([], [], color=ORANGE, label="end in the rare mode")
        ax.axhline(0, color=GREY, ls="dotted", label="class 1")
        ax.set(title=f"Chains without fresh noise, w = {w:g}", xlabel="t", ylabel="$x_t$")
        ax.set(xlim=(SCHEDULE.T, 0), ylim=(-5.2, 4.2))
    no_guidance.legend(fontsize=7, loc="lower left")
    weights = [0.0, 0.5, 1.0, 3.0, 7.0]
    for other, name, color in (
        (4.0, "class 1 beside the frequent mode", GREEN),
        (0.0, "class 1 between the modes", BLUE),
        (-4.0, "class 1 beside the rare mode", ORANGE),
    ):
        model = ModesOracle(two_modes(other), CLASS_OF, SCHEDULE)
        values = [fraction_below(model, 0, SCHEDULE, w) for w in weights]
        fractions.plot(weights, values, "o-", color=color, label=name)
    tilted = [tilted_fractions(two_modes(), CLASS_OF, 0, w)[1] for w in weights]
    fractions.plot(weights, tilted, "--", color=GREY, label="tilted distribution")
    fractions.set(title="Fraction of the rare mode", xlabel="w", ylim=(0, 1.02))
    fractions.legend(fontsize=7, loc=(0.3, 0.5))
    c = np.array(list(OVERSHOOT))
    table = np.array(list(OVERSHOOT.values()))
    distances.loglog(c, table[:, 2], "o-", color=ORANGE, label="without fresh noise")
    distances.loglog(c, table[:, 0], "o-", color=BLUE, label="ancestral chain")
    distances.loglog(c, table[0, 0] / c, "--", color=GREY, label="proportional to 1 / c")
    distances.set(title="Overshoot at w = 3", xlabel="factor c of the distances")
    distances.set(xticks=c, xticklabels=[f"{x:g}" for x in c], ylim=(0.01, 2))
    distances.minorticks_off()
    distances.legend(fontsize=7, loc="lower left")
    return fig
