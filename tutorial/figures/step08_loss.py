"""The figure shows the weights of the bound and of the simple loss, and the slopes they lead to."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.a_elbo import elbo_terms, exact_eps
from tutorial.figures.program import BLUE, GREEN, GREY, ORANGE, Check
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step08_loss import (
    bound_by_regression,
    eps_weight,
    eps_weight_by_log_snr,
    shared_slope,
    simple_loss,
    x0_weight,
)


def checks() -> list[Check]:
    """Data N(0, 1) and its best denoiser: the bound by regression, and what the weights do."""
    schedule = Schedule.cosine(10)
    rng = np.random.default_rng(0)
    n = 20_000
    x0 = rng.standard_normal((n, 1))
    eps = rng.standard_normal((11, n, 1))
    y = np.zeros(n, int)
    model = exact_eps(schedule)
    times = range(1, 11)
    terms = elbo_terms(model, x0, y, eps, schedule).sum(0).mean()
    # A model that knows the noise has no error in eps: its bound is the constant C of (8.2).
    C = elbo_terms(lambda xt, t, y: eps[t], x0, y, eps, schedule).sum(0).mean()
    kappa = np.array([eps_weight(t, schedule) for t in times])
    losses = np.array([simple_loss(model, x0, y, t, eps[t], schedule) for t in times])
    regression = bound_by_regression(float(C), kappa, losses)

    by_x0 = sum(x0_weight(t, schedule) for t in range(2, 11))
    snr = np.exp(schedule.log_snr)
    by_log_snr = eps_weight_by_log_snr(5, schedule)
    abar_5 = schedule.alpha_bar[5]
    loss_error = 4 * np.sqrt(2 / n) * abar_5  # the loss left over is a variance, of abar_5

    # The derivative of (8.2) in the shared slope, one term per sample, at the best slope.
    rho = shared_slope(kappa, 1.0, schedule)
    xt = np.stack([xt_from_x0(x0, eps[t], t, schedule) for t in times])
    pull = (kappa[:, None, None] * xt * (eps[1:] - rho * xt)).sum(0)
    pull_error = 4 * pull.std() / np.sqrt(n)
    return [
        Check("(8.2) L by regression, beside terms", regression, terms, 1e-12),
        Check("(8.3) weights in x_0, t = 2..10", by_x0, (snr[1] - snr[10]) / 2, 1e-9),
        Check("(8.4) weight at t = 5 by log SNR", kappa[4], by_log_snr, 1e-12),
        Check("(8.5) loss left at t = 5", losses[4], abar_5, loss_error),
        Check("(8.6) pull on the shared slope", pull.mean(), 0, pull_error),
        Check("(8.7) weight at t = 1", kappa[0], 0.5 / schedule.alpha[1], 1e-12),
    ]


def figure() -> Figure:
    """The bound's weights beside constant ones of the same sum; the compromise of one slope."""
    fig = Figure(figsize=(9, 3.6), layout="constrained")
    weights, slopes = fig.subplots(1, 2)
    schedule = Schedule.linear(1000)
    t = np.arange(1, 1001)
    posterior = np.array([eps_weight(s, schedule, "posterior") for s in range(1, 1001)])
    beta = np.array([eps_weight(s, schedule, "beta") for s in range(1, 1001)])
    constant = np.full(1000, posterior.mean())
    weights.loglog(t, posterior, color=BLUE, label=r"bound, $\sigma_t^2 = \tilde\beta_t$")
    weights.loglog(t, beta, "--", color=GREEN, label=r"bound, $\sigma_t^2 = \beta_t$")
    weights.loglog(t, constant, color=ORANGE, label="simple loss, same sum")
    for raised, color, label in ((True, ORANGE, "raised"), (False, BLUE, "lowered")):
        where = (constant > posterior) == raised
        weights.fill_between(
            t, posterior, constant, where=where, color=color, alpha=0.2, lw=0, label=label
        )
    weights.set(xlabel="t", ylabel=r"$\kappa_t$", title="Weight of the error in eps (linear)")
    slopes.plot(t, np.sqrt(1 - schedule.alpha_bar[1:]), color=GREY, label="a slope for each t")
    for label, weight, color in (("bound", posterior, BLUE), ("simple loss", constant, ORANGE)):
        slopes.axhline(shared_slope(weight, 1.0, schedule), color=color, label=f"shared, {label}")
    slopes.set(xlabel="t", ylabel=r"$\rho$", title=r"Best $\rho$ in $\rho x_t$, data $N(0, 1)$")
    for ax in (weights, slopes):
        ax.legend(fontsize=8)
    return fig
