"""Means and variances of the three distributions over w, and their densities at one w."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.h_gaussian_pairs import EXAMPLE, ddim_law, ddpm_law, sampled
from tutorial.figures.program import BLUE, GREY, ORANGE, Check
from tutorial.step11_guidance import tilt


def checks() -> list[Check]:
    """Both samplers of the example against the limits, for gamma = 2, 3 and 5."""
    found: list[Check] = []
    for w in (1.0, 2.0, 4.0):
        by_algorithm_2, by_ddim = sampled(w)
        for name, x, law, of_mean, of_var in (
            ("Algorithm 2", by_algorithm_2, ddpm_law(*EXAMPLE, w), "15.10", "15.9"),
            ("DDIM", by_ddim, ddim_law(*EXAMPLE, w), "15.8", "15.7"),
        ):
            what = f"w = {w:g}, {name}"
            mean = x[:, 0].mean()
            square = (x - x.mean(0)) ** 2
            var = square.mean()  # both axes have the same variance
            # 256 steps lose up to 2.6% of the variance, and 0.002 of the mean.
            error_of_mean = x[:, 0].std() / len(x) ** 0.5
            error_of_var = square.std() / square.size**0.5
            of_steps = 0.026 * law.var
            found += [
                Check(f"({of_mean}) mean, {what}", mean, law.mean[0], 4 * error_of_mean + 0.002),
                Check(f"({of_var}) variance, {what}", var, law.var, 4 * error_of_var + of_steps),
            ]
    return found


def figure() -> Figure:
    """Means and variances over w, sampled ones on top; the laws themselves at one w."""
    fig = Figure(figsize=(13, 3.7), layout="constrained")
    means, spread, laws = fig.subplots(1, 3)
    weights = np.linspace(-1, 8, 91)
    x = np.linspace(-1.5, 4.5, 400)
    for name, law_of, color in (
        ("tilted", tilt, GREY),
        ("DDPM", ddpm_law, BLUE),
        ("DDIM", ddim_law, ORANGE),
    ):
        each = [law_of(*EXAMPLE, w) for w in weights]
        means.plot(weights, [law.mean[0] for law in each], color=color, label=name)
        spread.semilogy(weights, [law.var for law in each], color=color)
        law = law_of(*EXAMPLE, 2.0)
        density = np.exp(-((x - law.mean[0]) ** 2) / 2 / law.var) / (2 * np.pi * law.var) ** 0.5
        laws.plot(x, density, color=color, label=f"{name}, w = 2")
    for k, color in ((0, BLUE), (1, ORANGE)):
        for w in (1.0, 2.0, 4.0):
            samples = sampled(w)[k]
            means.plot(w, samples[:, 0].mean(), "o", color=color)
            spread.plot(w, samples.var(0).mean(), "o", color=color)
        laws.hist(sampled(2.0)[k, :, 0], 80, density=True, color=color, alpha=0.3)
    means.axhline(2, color=GREY, ls=":", label="$p(y | x)$ is largest")
    means.set(title="Mean (dots: 20,000 samples)", xlabel="w", ylim=(0, None))
    spread.set(title="Variance", xlabel="w")
    laws.set(title="$\\gamma$ = 3: three laws, and samples", xlabel="x")
    for ax in (means, laws):
        ax.legend(fontsize=8)
    return fig
