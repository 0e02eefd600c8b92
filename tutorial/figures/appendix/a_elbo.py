"""The figure shows the costs of forward paths, and the terms of the bound."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.a_elbo import elbo_terms, exact_eps, path_cost, reverse_step, tight_cost
from tutorial.figures.program import BLUE, GREEN, ORANGE, Check
from tutorial.step02_forward import Gaussian, Schedule, forward_chain


def exact_minus_log_p(x0: float, schedule: Schedule, choice: str) -> float:
    """`-log p(x_0)` of the chain with `exact_eps`: its states are Gaussian with mean 0."""
    model = exact_eps(schedule)
    one = np.ones((1, 1))
    var = 1.0
    for t in range(schedule.T, 0, -1):
        p = reverse_step(model, one, np.zeros(1, int), t, schedule, choice)
        var = p.mean.item() ** 2 * var + p.var
    return -float(Gaussian(np.zeros(1), var).log_density(np.array([x0])))


def checks() -> list[Check]:
    """Data N(0, 1) and the exact denoiser, at x_0 = 0.7: by paths and by terms."""
    schedule = Schedule.cosine(10)
    rng = np.random.default_rng(0)
    n = 20_000
    x0 = np.full((n, 1), 0.7)
    y = np.zeros(n, int)
    model = exact_eps(schedule)
    path = np.stack([x0, *forward_chain(x0, schedule, rng)])
    cost = path_cost(model, path, y, schedule, "posterior")
    tight = path_cost(model, path, y, schedule, "beta")
    likelihood = np.exp(-cost)  # its mean is p(x_0), by (A.1) before the logarithm
    mean_error = 4 * np.sqrt(likelihood.var() / n)
    exact = np.exp(-exact_minus_log_p(0.7, schedule, "posterior"))

    eps = rng.standard_normal(path.shape)
    terms = elbo_terms(model, x0, y, eps, schedule).sum(0)
    terms_error = 4 * np.sqrt((cost.var() + terms.var()) / n)
    off = np.abs(tight - tight_cost(x0)).max()
    return [
        Check("(A.1) p(x_0), the mean of 20,000 paths", likelihood.mean(), exact, mean_error),
        Check("(A.3) L by terms, and by paths", terms.mean(), cost.mean(), terms_error),
        Check("(A.5) largest distance of a path's cost", off, 0, 1e-12),
    ]


def figure() -> Figure:
    """Costs of paths for both variances at x_0 = 0.7, and the mean of each term of the bound."""
    fig = Figure(figsize=(11, 4), layout="constrained")
    costs, parts = fig.subplots(1, 2)
    schedule = Schedule.cosine(10)
    rng = np.random.default_rng(0)
    n = 20_000
    x0 = np.full((n, 1), 0.7)
    y = np.zeros(n, int)
    model = exact_eps(schedule)
    path = np.stack([x0, *forward_chain(x0, schedule, rng)])
    eps = rng.standard_normal((11, n, 1))

    cost = path_cost(model, path, y, schedule, "posterior")
    minus_log_p = exact_minus_log_p(0.7, schedule, "posterior")
    mean = cost.mean()
    bins = np.linspace(-1, 12, 131)
    costs.hist(cost, bins, density=True, color=BLUE, alpha=0.4, label=r"$\tilde\beta_t$: paths")
    costs.axvline(mean, color=BLUE, label=rf"$\tilde\beta_t$: their mean, near L, {mean:.2f}")
    label = rf"$\tilde\beta_t$: $-\log p(x_0)$ = {minus_log_p:.2f}"
    costs.axvline(minus_log_p, color=ORANGE, ls="--", label=label)
    tight = float(tight_cost(x0[:1])[0])
    label = rf"$\beta_t$: all paths, L and $-\log p(x_0)$ = {tight:.2f}"
    costs.axvline(tight, color=GREEN, label=label)
    costs.annotate(
        "",
        (mean, 0.42),
        (minus_log_p, 0.42),
        arrowprops={"arrowstyle": "<->", "shrinkA": 0, "shrinkB": 0},
    )
    costs.text(mean + 0.1, 0.42, r"gap of $\tilde\beta_t$", va="center")
    title = r"Costs of 20,000 forward paths, $x_0 = 0.7$, T = 10"
    costs.set(xlabel="cost of a path, in nats", ylabel="density", ylim=(0, 0.47), title=title)
    costs.legend(fontsize=8, loc="center right")

    for choice, tex, color in (("posterior", r"\tilde\beta_t", BLUE), ("beta", r"\beta_t", GREEN)):
        terms = elbo_terms(model, x0, y, eps, schedule, choice).mean(1)
        label = rf"$\sigma_t^2 = {tex}$, sum {terms.sum():.2f}"
        parts.plot(terms, ".-", color=color, label=label)
    parts.axhline(0, color="black", lw=0.5)
    title = "The terms of L; a smaller sum is a better bound"
    parts.set(xlabel="k of the term, 0 at the data", ylabel="mean of $L_k$, in nats", title=title)
    parts.legend(fontsize=8)
    return fig
