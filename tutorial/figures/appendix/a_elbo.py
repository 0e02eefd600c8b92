"""The figure shows the cost of whole paths, and the same bound as a sum of terms."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.a_elbo import elbo_terms, exact_eps, path_cost, reverse_step, tight_cost
from tutorial.figures.program import BLUE, GREEN, Check
from tutorial.step02_forward import Gaussian, Schedule, forward_chain


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

    # The chain is linear, so that p(x_0) = N(0, var). The variance follows by recursion.
    var = 1.0
    one = np.ones((1, 1))
    for t in range(10, 0, -1):
        p = reverse_step(model, one, y[:1], t, schedule)
        var = p.mean.item() ** 2 * var + p.var
    exact = float(np.exp(Gaussian(np.zeros(1), var).log_density(x0[0])))

    eps = rng.standard_normal(path.shape)
    terms = elbo_terms(model, x0, y, eps, schedule).sum(0)
    terms_error = 4 * np.sqrt((cost.var() + terms.var()) / n)
    off = np.abs(tight - tight_cost(x0)).max()
    return [
        Check("(A.1) p(x_0) by 20,000 paths", likelihood.mean(), exact, mean_error),
        Check("(A.3) L by terms, beside the paths", terms.mean(), cost.mean(), terms_error),
        Check("(A.5) tight: cost of the path furthest off", off, 0, 1e-12),
    ]


def figure() -> Figure:
    """What the exact denoiser pays at x_0 = 0.7 with either variance: by paths, and by terms."""
    fig = Figure(figsize=(9, 3.6), layout="constrained")
    costs, parts = fig.subplots(1, 2)
    schedule = Schedule.cosine(10)
    rng = np.random.default_rng(0)
    n = 20_000
    x0 = np.full((n, 1), 0.7)
    y = np.zeros(n, int)
    model = exact_eps(schedule)
    path = np.stack([x0, *forward_chain(x0, schedule, rng)])
    eps = rng.standard_normal((11, n, 1))
    for choice, tex, color in (("posterior", r"\tilde\beta_t", BLUE), ("beta", r"\beta_t", GREEN)):
        cost = path_cost(model, path, y, schedule, choice)
        costs.hist(cost, np.linspace(-1, 8, 91), density=True, color=color, alpha=0.4)
        log_p = np.log(np.exp(-cost).mean())
        costs.axvline(-log_p, color=color, ls=":", label=rf"${tex}$: $-\log p(x_0)$ = {-log_p:.2f}")
        costs.axvline(cost.mean(), color=color, label=f"${tex}$: mean cost L = {cost.mean():.2f}")
        terms = elbo_terms(model, x0, y, eps, schedule, choice).mean(1)
        parts.plot(terms, ".-", color=color, label=rf"$\sigma_t^2 = {tex}$, sum {terms.sum():.2f}")
    costs.set(xlabel="cost in nats", ylabel="density", ylim=(0, 0.5), title="20,000 paths, T = 10")
    parts.set(xlabel="k", ylabel="nats", title="The same L by terms: mean of $L_k$")
    for ax in (costs, parts):
        ax.legend(fontsize=8)
    return fig
