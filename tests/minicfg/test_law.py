"""What every solver and rule samples, held against its exact law, and that mistakes would show.

Data are one Gaussian for the class and a wider one for all, so the best denoiser is affine, and a
guided chain's law is known without sampling: mean and covariance by recursion where the step is
affine, else a density on a grid. Steps are written here as their papers write them, not as rows.

Samples meet the law by the Dvoretzky-Kiefer-Wolfowitz inequality: N independent draws leave a
distribution function by more than `sqrt(log(2 / RATE) / (2 N))` at a rate of RATE at most. That is
0.0135 here, so a deviation 6 % off is seen, and a mean 3.5 % of a deviation off. False alarms: 63
comparisons at 1e-6 each, so one run in 16,000 at most. `MINICFG_TEST_SEED` draws other samples.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from minicfg import Schedule, guidance, solvers
from minicfg.sampling import Rule, chain, prepare_job, sample
from minicfg.solvers import Prediction, Table, x0_coefficients
from tutorial import step19_rules

N, RATE = 40_000, 1e-6
SEED = int(os.environ.get("MINICFG_TEST_SEED", "0"))
CLOSE = math.sqrt(math.log(2 / RATE) / (2 * N))
COSINE, PAPERS = Schedule.cosine(40), Schedule.named("log_snr", 40)
LOW, HIGH = -1.0, 3.0  # a limited interval of log SNR
Step = Callable[[Any, Any, Any, Any], tuple[Any, Any, float]]


@dataclass(frozen=True)
class Best:
    """The best denoiser of x_0 ~ N(1, 0.5^2) with label 0, and of N(0, 1.5^2) without."""

    schedule: Schedule
    prediction: Prediction = "eps"
    num_classes: int = 1

    def mean_x0(self, xt: Any, t: int, null: bool) -> Any:
        """`E[x_0 | x_t]` of a Gaussian: regression of x_0 on x_t."""
        mu, var = (0.0, 2.25) if null else (1.0, 0.25)
        abar = float(self.schedule.alpha_bar[t])
        return mu + var * abar**0.5 / (abar * var + 1 - abar) * (xt - abar**0.5 * mu)

    def __call__(self, xt: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        at = int(t[0])
        each = [self.mean_x0(xt, at, null) for null in (False, True)]
        x0 = torch.where((y == 1).reshape(-1, *[1] * (xt.ndim - 1)), each[1], each[0])
        p, q = x0_coefficients(self.schedule.alpha_bar[at : at + 1], self.prediction)
        return ((x0 - p * xt) / q).to(xt.dtype)


def step_of(name: str, best: Best, t: int, s: int, before: int | None, w: float) -> Step:
    """`(x_t, x0prev) -> (mean of x_s, x0hat)` and the noise's deviation, from the papers."""
    abar_t, abar_s = (float(best.schedule.alpha_bar[u]) for u in (t, s))
    signal, noise = abar_t**0.5, (1 - abar_t) ** 0.5
    signal_s, noise_s = abar_s**0.5, (1 - abar_s) ** 0.5
    log_snr = [float(best.schedule.log_snr[u]) for u in (t, s)]
    if name == "interval" and not LOW <= log_snr[0] < HIGH:
        w = 0.0
    # Of q(x_t | x_s): the forward step's variance, and the posterior's by adding precisions.
    forward = 1 - abar_t / abar_s
    posterior = 0.0 if s == 0 else 1 / (1 / (1 - abar_s) + abar_t / abar_s / forward)

    def step(x: Any, x0prev: Any, clip: float, mix: Any) -> tuple[Any, Any, float]:
        cond, null = best.mean_x0(x, t, False), best.mean_x0(x, t, True)
        x0 = cond + w * (cond - null) if mix is None else mix(cond, null, w)
        x0 = np.clip(x0, -clip, clip) if clip < math.inf else x0
        eps = (x - signal * x0) / noise
        if name in ("ddpm", "interval", "v", "algorithm 2"):
            # Precision-weighted mean of what x_0 and x_t say of x_s.
            if s == 0:
                mean = x0
            else:
                by_x0 = signal_s * x0 / (1 - abar_s)
                by_xt = (abar_t / abar_s) ** 0.5 * x / forward
                mean = posterior * (by_x0 + by_xt)
            v = {"v": 0.6, "algorithm 2": 0.3}.get(name, 0.0)
            var = 0.0 if s == 0 else posterior ** (1 - v) * forward**v
            return mean, x0, var**0.5
        if name == "cfgpp":
            return signal_s * x0 + noise_s * (x - signal * null) / noise, x0, 0.0
        if name == "dpmpp_2m":
            if s == 0:
                return x0, x0, 0.0
            h, guess = log_snr[1] / 2 - log_snr[0] / 2, x0
            if before is not None:
                r = (log_snr[0] / 2 - float(best.schedule.log_snr[before]) / 2) / h
                guess = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * x0prev
            return noise_s / noise * x - signal_s * math.expm1(-h) * guess, x0, 0.0
        eta = {"ddim": 0.0, "ddim, eta 0.7": 0.7, "ddim, eta 1": 1.0}[name]
        c = eta * posterior**0.5
        return signal_s * x0 + max(1 - abar_s - c**2, 0) ** 0.5 * eps, x0, c

    return step


def exact_gaussian(name: str, best: Best, table: Table, w: float) -> tuple[float, float]:
    """Mean and deviation at the end: each affine step is known from its values at three points."""
    mean, cov, before = np.zeros(2), np.diag([1.0, 0.0]), None
    for t, s in zip(table.t.tolist(), table.s.tolist(), strict=True):
        step = step_of(name, best, t, s, before, w)
        zero, of_x, of_prev = (
            np.array(step(x, prev, math.inf, None)) for x, prev in ((0, 0), (1, 0), (0, 1))
        )
        M = np.stack([of_x - zero, of_prev - zero], axis=1)[:2]
        mean = M @ mean + zero[:2]
        cov = M @ cov @ M.T + np.diag([zero[2] ** 2, 0.0])
        before = t
    return mean[0], cov[0, 0] ** 0.5


def tables(name: str, prediction: Prediction) -> tuple[Best, Table]:
    """A denoiser and the package's table of eight steps for it."""
    best = Best(PAPERS if name == "algorithm 2" else COSINE, prediction)
    made = {
        "ddpm": lambda: solvers.ddpm(COSINE, 8, prediction),
        "v": lambda: solvers.ddpm(COSINE, 8, prediction, v=0.6),
        "interval": lambda: solvers.with_interval(
            solvers.ddpm(COSINE, 8, prediction), COSINE, LOW, HIGH
        ),
        "algorithm 2": lambda: solvers.ddpm(PAPERS, prediction=prediction, v=0.3),
        "ddim": lambda: solvers.ddim(COSINE, 8, prediction, 0.0),
        "ddim, eta 0.7": lambda: solvers.ddim(COSINE, 8, prediction, 0.7),
        "ddim, eta 1": lambda: solvers.ddim(COSINE, 8, prediction, 1.0),
        "dpmpp_2m": lambda: solvers.dpmpp_2m(COSINE, 8, prediction),
        "cfgpp": lambda: solvers.cfgpp(COSINE, 8, prediction),
    }
    return best, made[name]()


NAMES = (
    "ddpm",
    "v",
    "interval",
    "algorithm 2",
    "ddim",
    "ddim, eta 0.7",
    "ddim, eta 1",
    "dpmpp_2m",
    "cfgpp",
)


def drawn(best: Best, table: Table, w: float, **given: Any) -> np.ndarray:
    y = torch.zeros(N, dtype=torch.int64)
    x = sample(best, y, table, shape=(1,), w=w, seed=SEED, **given)
    return np.sort(x[:, 0].double().numpy())


def furthest(x: np.ndarray, F: Callable[[np.ndarray], np.ndarray]) -> float:
    """The largest distance between `F` and the distribution function of the sorted `x`."""
    steps = np.arange(N + 1) / N
    return float(max(np.abs(F(x) - steps[1:]).max(), np.abs(F(x) - steps[:-1]).max()))


def normal(mean: float, std: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: ndtr((x - mean) / std)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("name", NAMES)
def test_a_guided_chain_samples_its_exact_law(name: str, prediction: Prediction):
    best, table = tables(name, prediction)
    w = -0.4 if name == "cfgpp" else 1.5
    law = normal(*exact_gaussian(name, best, table, w))
    assert furthest(drawn(best, table, w), law) < CLOSE


# Changes to a table, or to the weight, that public code has made: (of, what, change of row k).
def changed(table: Table, change: Callable[[torch.Tensor], object]) -> Table:
    rows = table.rows.clone()
    change(rows)
    return replace(table, rows=rows)


PLANTED: dict[str, tuple[str, Callable[[torch.Tensor], object]]] = {
    "the forward step's variance for the posterior's": (
        "ddpm", lambda rows: rows[:, 4].copy_(tables("ddim, eta 1", "eps")[1].rows[:, 4] * 1.2)),
    "noise added at the last step": ("ddpm", lambda rows: rows[-1, 4].fill_(0.2)),
    "no noise at all": ("ddpm", lambda rows: rows[:, 4].zero_()),
    "v ignored": ("v", lambda rows: rows[:, 4].copy_(tables("ddpm", "eps")[1].rows[:, 4])),
    "a variance for a deviation": ("ddpm", lambda rows: rows[:, 4].square_()),
    "the other convention of w": ("ddpm", lambda rows: rows[:, 7].mul_((1.5 - 1) / 1.5)),
    "guidance left out": ("ddim", lambda rows: rows[:, 7].zero_()),
    "guidance outside its interval": ("interval", lambda rows: rows[:, 7].fill_(1.0)),
    "the last step left out": ("ddim", lambda rows: rows[-1].copy_(
        torch.tensor([0.0, 0, 0, 1, 0, 0, 0, 1]))),
    "x_t left out of the mean": ("ddpm", lambda rows: rows[4, 3].zero_()),
    "never looking back": ("dpmpp_2m", lambda rows: (rows[:, 2].add_(rows[:, 6]),
                                                     rows[:, 6].zero_())),
    "looking back the wrong way": ("dpmpp_2m", lambda rows: (rows[:, 2].add_(2 * rows[:, 6]),
                                                             rows[:, 6].neg_())),
    "renoised with the guess's own noise": ("cfgpp", lambda rows: rows.copy_(
        tables("ddim", "eps")[1].rows)),
    "alpha_bar of a step before": ("ddim", lambda rows: rows[:, :2].copy_(torch.stack(
        x0_coefficients(COSINE.alpha_bar[tables("ddim", "eps")[1].t - 1], "eps"), 1))),
}  # fmt: skip


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_mistake_is_seen(bug: str):
    name, change = PLANTED[bug]
    best, table = tables(name, "eps")
    w = -0.4 if name == "cfgpp" else 1.5
    law = normal(*exact_gaussian(name, best, table, w))
    # Twice as far as the bound, so that the mistake is seen whatever the draw, but for RATE.
    assert furthest(drawn(best, changed(table, change), w), law) > 2 * CLOSE


def exact_on_grid(best: Best, table: Table, w: float, clip: float, mix: Any) -> Any:
    """The end's distribution function, by carrying a density on a grid from step to step."""
    x = np.linspace(-9, 9, 2401)
    h = x[1] - x[0]
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    for t, s in zip(table.t.tolist(), table.s.tolist(), strict=True):
        to, _, c = step_of("ddpm", best, t, s, None, w)(x, 0.0, clip, mix)
        if s == 0:  # the guess itself: every cell of the grid goes to one place
            order = np.argsort(to, kind="stable")
            below = np.concatenate([[0], np.cumsum(density[order] * h)])
            return lambda at: below[np.searchsorted(to[order], at, side="right")]
        kernel = np.exp(-(((x[:, None] - to) / c) ** 2) / 2) / (c * math.sqrt(2 * math.pi))
        density = kernel @ density * h
    raise AssertionError


def dynamic_mix(cond: Any, null: Any, w: float) -> Any:
    """One number is its own quantile: it is cut to the bound."""
    return np.clip(cond + w * (cond - null), -0.9, 0.9)


def apg_mix(cond: Any, null: Any, w: float) -> Any:
    """In one dimension all of the difference lies along the guess: 0.6 of at most 0.3 is left."""
    return cond + w * 0.6 * np.clip(cond - null, -0.3, 0.3)


@pytest.mark.parametrize(
    ("clip", "rule", "mix", "edge"),
    [
        (0.8, None, None, 0.8),
        (math.inf, partial(guidance.dynamic_threshold, bound=0.9), dynamic_mix, 0.9),
        (math.inf, partial(guidance.apg, eta=0.6, r=0.3), apg_mix, math.inf),
        # One number has no deviation: there is nothing to rescale, and no NaN.
        (math.inf, guidance.rescale, None, math.inf),
    ],
    ids=["clip", "dynamic_threshold", "apg", "rescale"],
)
def test_a_chain_that_is_no_longer_affine_samples_its_exact_law(
    clip: float, rule: Rule | None, mix: Any, edge: float
):
    best, table = tables("ddpm", "eps")
    F = exact_on_grid(best, table, 1.5, clip, mix)
    x = drawn(best, table, 1.5, clip=clip, rule=rule)
    inside = np.abs(x) < edge - 1e-6
    # Where the law has atoms, at the edges, only the distribution function inside is compared.
    steps = np.arange(1, N + 1) / N
    # The grid's own error, half a cell of a density below 2, is 0.0075 / 2 * 2 at most.
    assert np.abs(F(x[inside]) - steps[inside]).max() < CLOSE + 0.0075
    assert inside.mean() > 0.2
    # Without the rule, or without the clip, the law is another: the comparison can fail.
    if rule is not guidance.rescale:
        plain = exact_on_grid(best, table, 1.5, math.inf, None)
        assert np.abs(plain(x[inside]) - steps[inside]).max() > 2 * (CLOSE + 0.0075)


PROBED: dict[str, tuple[Rule | None, Callable[..., np.ndarray]]] = {
    "guide": (None, step19_rules.plain),
    "rescale": (partial(guidance.rescale, phi=0.7), partial(step19_rules.rescale, phi=0.7)),
    "dynamic_threshold": (
        partial(guidance.dynamic_threshold, P=0.8, bound=0.5),
        partial(step19_rules.dynamic_threshold, P=0.8, bound=0.5),
    ),
    "apg": (
        partial(guidance.apg, eta=0.2, r=0.4),
        lambda cond, null, w, xt, p, q: step19_rules.apg(cond, null, w, xt, p, q, eta=0.2, r=0.4),
    ),
}


@pytest.mark.parametrize("rule", PROBED)
@pytest.mark.parametrize("name", ["ddpm", "ddim, eta 0.7"])
def test_one_step_of_a_rule_is_a_gaussian_about_the_lectures_mean(rule: str, name: str):
    """From one picture of four numbers, one step drawn N times: its mean, noise and their law."""
    ours, lectures = PROBED[rule]
    best, table = tables(name, "eps")
    x = torch.tensor([0.3, -1.2, 2.0, 0.1]).double()
    one = Table(table.t[3:], table.s[3:], table.rows[3:])  # its first row is run
    y = torch.zeros(N, dtype=torch.int64)
    job = prepare_job(
        best, y, one, (4,), w=1.5, seed=SEED, sample_ids=None, clip=math.inf, rule=ours
    )
    run = chain(job, x.expand(N, 4).clone(), capture=False)
    found = next(iter(run))[0].numpy()
    p, q, a, b, c, _, _, _ = one.rows[0].tolist()
    cond, null = (best(x[None], one.t[:1], torch.tensor([k])).numpy() for k in (0, 1))
    mean = (
        a * (p * x.numpy() + q * lectures(cond, null, 1.5, x[None].numpy(), p, q)) + b * x.numpy()
    )
    for of_each, at in zip(found.T, mean[0], strict=True):
        # Noise is made in float32: its roundings, 1e-7 of it, are no part of 0.0135.
        assert furthest(np.sort((of_each - at) / c), ndtr) < CLOSE
