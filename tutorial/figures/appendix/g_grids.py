"""Sensitivities on two grids, the distance of a network's samples from exact ones, and samples."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from tutorial.appendix.e_backprop import MLP, Arrays
from tutorial.appendix.g_grids import (
    clipped_bound,
    first_sensitivity,
    guided_sensitivity,
    missing_mean,
    sensitivities,
    sensitivity_of_step,
    sensitivity_of_step_to_v,
    total_sensitivity,
)
from tutorial.contract import Denoiser
from tutorial.figures.program import BLUE, CLASS_COLORS, GREY, RED, Check
from tutorial.step05_best_guess import oracle_eps
from tutorial.step11_guidance import guide
from tutorial.step16_log_snr import (
    MIXTURE,
    STEPS,
    algorithm_2,
    log_snr_grid,
    schedule_from,
    signal_noise,
    trained,
)
from tutorial.step17_solvers import ddpm, run

if TYPE_CHECKING:
    from jaxtyping import Float

CHOSEN = 8 * STEPS if "--full" in sys.argv else STEPS
COLORS = {-20.0: RED, -8.0: BLUE}
LEVELS = [8, 16, 32, 64, 128, 256]
VAR = 0.25  # of each class of MIXTURE


def samples(
    model: Denoiser, log_snr: Float[np.ndarray, " T"], w: float
) -> Float[np.ndarray, "300 2"]:
    """100 samples of each class by Algorithm 2 with v = 0.3; the same noise for every model."""
    y = np.repeat([0, 1, 2], 100)
    return algorithm_2(model, y, log_snr, w, 0.3, np.random.default_rng(1))


def clipped_samples(
    model: Denoiser, log_snr: Float[np.ndarray, " T"], w: float, clip: float
) -> Float[np.ndarray, "300 2"]:
    """The same with v = 0, and every guess clipped to -clip..clip."""
    y = np.repeat([0, 1, 2], 100)
    table = ddpm(schedule_from(log_snr))
    return run(model, y, table, w, np.random.default_rng(1), clip)


def both(params: Arrays, log_snr: Float[np.ndarray, " T"]) -> tuple[Denoiser, Denoiser]:
    """The network and the exact denoiser on one grid."""
    schedule = schedule_from(log_snr)
    network = MLP(params, schedule, MIXTURE.num_classes)
    exact = oracle_eps(MIXTURE, schedule)
    return network, exact


def distance(x: Float[np.ndarray, "n 2"], other: Float[np.ndarray, "n 2"]) -> float:
    """The mean distance of two sets of samples, row by row."""
    return float(np.linalg.norm(x - other, axis=1).mean())


def apart(params: Arrays, T: int, low: float, w: float = 0.0) -> float:
    """The mean distance of a network's samples from exact ones with the same grid and noise."""
    log_snr = log_snr_grid(T, low)
    network, exact = both(params, log_snr)
    return distance(samples(network, log_snr, w), samples(exact, log_snr, w))


def apart_clipped(params: Arrays, T: int, low: float, clip: float, w: float = 0.0) -> float:
    """The same, with every guess clipped."""
    log_snr = log_snr_grid(T, low)
    network, exact = both(params, log_snr)
    ours = clipped_samples(network, log_snr, w, clip)
    return distance(ours, clipped_samples(exact, log_snr, w, clip))


def errors_at(
    params: Arrays, log_snr: float, w: float = 0.0, n: int = 20_000
) -> Float[np.ndarray, "n 2"]:
    """The error of the network's mixture at one level, for `n` noised samples."""
    network, exact = both(params, np.array([log_snr]))
    rng = np.random.default_rng(5)
    x, y = MIXTURE.sample(n, rng)
    a, sigma = signal_noise(log_snr)
    z = a * x + sigma * rng.standard_normal(x.shape)
    null = np.full_like(y, MIXTURE.num_classes)
    e_y = network(z, 1, y) - exact(z, 1, y)
    e_null = network(z, 1, null) - exact(z, 1, null)
    return guide(e_y, e_null, w)


def error_length(params: Arrays, log_snr: float, w: float = 0.0) -> float:
    """The mean length of `errors_at`."""
    return float(np.linalg.norm(errors_at(params, log_snr, w), axis=1).mean())


def checks(steps: int = CHOSEN) -> list[Check]:
    """The formulas at the numbers of the lecture; then one network on several grids."""
    grid = log_snr_grid(16)
    params = trained(steps)
    first, second = grid[:2].tolist()
    Gamma = sensitivities(VAR, grid)
    fine = sensitivities(VAR, log_snr_grid(4096))
    of_v = sensitivity_of_step_to_v(first, second)
    guided = guided_sensitivity(VAR, 1.0, grid, 1.0)
    expected = Gamma[0] * error_length(params, -20.0)
    return [
        Check("(G.1) first step, 16 levels", sensitivity_of_step(first, second), 2303, 1),
        Check("(G.2) its effect on the sample", Gamma[0], 60.71, 0.005),
        Check("(G.3) the same, approximately", first_sensitivity(VAR, -20.0, 16), Gamma[0], 0.5),
        Check("(G.4) sum over 4096 levels", fine.sum(), total_sensitivity(VAR), 0.005),
        Check("(G.5) missing fraction of the mean from -4", missing_mean(VAR, -4.0), 0.0046, 5e-5),
        Check(
            "(G.6) bound with clipping at 4", clipped_bound(VAR, 4.0, first, second), 0.022, 5e-4
        ),
        Check("(G.7) first step, velocity", of_v, 0.105, 5e-4),
        Check("(G.2) with w = 1, two Gaussians", guided, 12.67, 0.005),
        Check("network, 16 levels from -20, over (G.2)", apart(params, 16, -20.0) / expected, 1, 1),
        Check("network, 16 levels from -8", apart(params, 16, -8.0), 0, 0.1),
        Check("network, 16 from -20, clipped", apart_clipped(params, 16, -20.0, 4.0), 0, 0.1),
    ]


def draw_sensitivity(ax: Any) -> None:
    """The sensitivity at each of 16 levels, for two grids."""
    for low, color in COLORS.items():
        grid = log_snr_grid(16, low)
        Gamma = sensitivities(VAR, grid)
        ax.semilogy(grid, Gamma, "o-", ms=4, color=color, label=f"16 levels from {low:g}")
    ax.annotate("60.7", (-20, 60.7), xytext=(-17.8, 45), fontsize=8, color=RED)
    ax.annotate("0.20", (-8, 0.2), xytext=(-8.6, 0.45), fontsize=8, color=BLUE)
    ax.set(title="From -20 the first level dominates:\nits sensitivity is 60.7, others below 0.16")
    ax.set(xlabel="log SNR: noise on the left", ylabel=r"sensitivity $\Gamma$ of the sample")
    ax.legend(fontsize=8)


def draw_distance(ax: Any, params: Arrays) -> None:
    """The mean distance of a network's samples from exact ones, over the number of levels."""
    for low, color in COLORS.items():
        found = [apart(params, T, low) for T in LEVELS]
        ax.loglog(LEVELS, found, "o-", ms=4, color=color, label=f"from {low:g}")
    error = error_length(params, -20.0)
    expected = [error * first_sensitivity(VAR, -20.0, T) for T in LEVELS]
    name = f"(G.3) times the error at -20, {error:.3f}"
    ax.loglog(LEVELS, expected, "--", color=GREY, label=name)
    clipped = [apart_clipped(params, T, -20.0, 4.0) for T in LEVELS]
    ax.loglog(LEVELS, clipped, "s", ms=6, mfc="none", color=RED, label="from -20, guesses clipped")
    ax.set_xscale("log", base=2)
    ax.set(title="A network's short chains from -20 fail;\na later start or clipping repairs them")
    ax.set(xlabel="levels", ylabel="mean distance from exact samples", ylim=(0.005, 150))
    ax.legend(fontsize=8)


def draw_samples(ax: Any, params: Arrays, low: float) -> None:
    """Samples of the network on 16 levels, over exact samples with the same noise."""
    log_snr = log_snr_grid(16, low)
    network, exact = both(params, log_snr)
    x = samples(network, log_snr, 0.0)
    ax.scatter(*samples(exact, log_snr, 0.0).T, s=9, color=GREY, alpha=0.5, lw=0, label="exact")
    colors = np.repeat(CLASS_COLORS[:3], 100)
    ax.scatter(*x.T, s=4, c=colors, label="network, by class")
    outside = int((np.abs(x) > 6).any(1).sum())
    far = f",\n{outside} of 300 outside the panel" if outside else ":\nthe network agrees"
    ax.set(title=f"16 levels from {low:g}{far}", aspect="equal", xlim=(-6, 6), ylim=(-6, 6))
    ax.legend(fontsize=8, loc="upper right")


def figure(steps: int = CHOSEN) -> Figure:
    """Sensitivities, distances over the number of levels, and samples from two starts."""
    fig = Figure(figsize=(15, 4), layout="constrained")
    left, middle, *panels = fig.subplots(1, 4)
    params = trained(steps)
    draw_sensitivity(left)
    draw_distance(middle, params)
    for ax, low in zip(panels, COLORS, strict=True):
        draw_samples(ax, params, low)
    return fig
