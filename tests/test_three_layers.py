"""The point of it all: one seed, one chain, three layers, the same samples.

The same denoiser, seed, sample ids, labels and w go through

- `tutorial`: NumPy float64, the lectures' functions, the noise of `kernels.philox.normal_numpy`;
- `minicfg` with `kernels.reference`: torch float32, the sampling loop and its rows;
- `minicfg` with `kernels.triton_step`: the same loop, each step by the kernel, interpreted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import kernels.triton_step
from kernels import philox, reference
from minicfg import Schedule, sample, sampling, solvers
from tutorial.step02_forward import Schedule as LectureSchedule
from tutorial.step06_reverse import p_xprev_given_xt
from tutorial.step17_solvers import ddim, run
from tutorial.step18_dpmpp import dpmpp_2m
from tutorial.step21_flow import euler

T, K, SEED, W = 20, 3, 20220712, 1.5
IDS, Y = np.array([5, 0, 2**32 - 1, 17, 3]), np.array([0, 2, 1, 1, 0])
MEANS = np.array([[0.0, 1.5, 0.3], [-1.3, -0.75, 0.0], [1.3, -0.75, -0.3], [0.0, 0.0, 0.0]])
VAR = np.array([0.25, 0.3, 0.35, 1.75])  # the last of each is the null class: all data


@dataclass
class ExactDenoiser:
    """E[eps | x_t, y] where class y is N(MEANS[y], VAR[y] I); what it puts out is `prediction`."""

    prediction: Any
    num_classes: int = K

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return torch.from_numpy(self.exact(xt.double().numpy(), int(t[0]), y.numpy())).to(xt.dtype)

    def exact(self, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
        """The same in NumPy float64: x0 by linear regression of x_0 on x_t, then what is asked."""
        abar = LectureSchedule.cosine(T).alpha_bar[t]
        signal, noise, var = np.sqrt(abar), np.sqrt(1 - abar), VAR[y][:, None]
        mean = MEANS[y, : xt.shape[1]]
        x0 = mean + signal * var / (abar * var + 1 - abar) * (xt - signal * mean)
        eps = (xt - signal * x0) / noise
        v = signal * eps - noise * x0
        return {"eps": eps, "x0": x0, "v": v, "velocity": eps - x0}[self.prediction]


def lecture_chain(model: ExactDenoiser, clip: float) -> np.ndarray:
    """Steps 4 and 6 of the course and formula 9 of the paper's reading, from t = T down to 0."""
    schedule, null = LectureSchedule.cosine(T), np.full_like(Y, K)
    xt = philox.normal_numpy(SEED, IDS, 0, (3,))
    for k, t in enumerate(range(T, 0, -1)):
        out = (1 + W) * model.exact(xt, t, Y) - W * model.exact(xt, t, null)
        law = p_xprev_given_xt(xt, out, t, schedule, model.prediction, clip)
        xt = law.mean + np.sqrt(law.var) * philox.normal_numpy(SEED, IDS, k + 1, (3,))
    return xt


class LectureDenoiser(ExactDenoiser):
    """As the lectures ask: in NumPy."""

    __call__ = ExactDenoiser.exact  # pyright: ignore[reportAssignmentType]


class LectureNoise:
    """As the lectures ask: draw after draw. The k-th is step k of the samples IDS."""

    def __init__(self) -> None:
        self.step = count()

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        return philox.normal_numpy(SEED, IDS, next(self.step), size[1:])


def torch_chain(
    model: ExactDenoiser,
    table: solvers.Table,
    D: int,
    clip: float,
    step: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> np.ndarray:
    """`minicfg.sample` with `step` in the place of the dispatcher."""
    monkeypatch.setattr(sampling, "guided_step", step)
    y, ids = torch.from_numpy(Y), torch.from_numpy(IDS)
    x = sample(model, y, table, shape=(D,), w=W, seed=SEED, sample_ids=ids, clip=clip)
    assert x.dtype == torch.float32
    return x.double().numpy()


@pytest.mark.parametrize("clip", [math.inf, 1.0])
@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("step", [reference.guided_step, kernels.triton_step.guided_step])
def test_three_layers_draw_the_same_samples(
    step: Callable[..., Any], prediction: str, clip: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To float32 rounding.

    A float32 state is off by 2^-24 of its size, about 2e-7 here, in each of 20 steps, and the
    noise by 2e-6 at most. An error in x_t reaches x_s through the guess of x_0 as well: with eps,
    1 / sqrt(abar_t) times the rounding of the network's output, which at t = T = 20 is 410 x 6e-8
    = 2e-05, and the weight `a` that the guess has there is what makes it harmless. Everything the
    chain does after an error shrinks it, since the posterior mean's weights pull towards the guess.
    1e-5 leaves room for the sum; a wrong index, coefficient or word of noise shows as 1e-2 or more.
    """
    model = ExactDenoiser(prediction)
    table = solvers.ddpm(Schedule.cosine(T), prediction=model.prediction)
    ours = torch_chain(model, table, 3, clip, step, monkeypatch)
    np.testing.assert_allclose(ours, lecture_chain(model, clip), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("solver", "prediction", "clip"),
    [
        ("ddim", "eps", math.inf),
        ("ddim", "v", 1.0),
        ("dpmpp_2m", "eps", math.inf),
        ("dpmpp_2m", "v", 1.0),
        ("euler", "velocity", math.inf),
        ("euler", "velocity", 1.0),
    ],
)
@pytest.mark.parametrize("step", [reference.guided_step, kernels.triton_step.guided_step])
def test_other_tables_too(
    step: Callable[..., Any],
    solver: str,
    prediction: Any,
    clip: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DDIM with half its noise, 2M, which looks back, and Euler's method along the velocity.

    They visit 9 of the 20 times, in the plane.

    The lectures' own loop and tables here, in float64. The tolerance is the one above.
    """
    schedule, lecture = Schedule.cosine(T), LectureSchedule.cosine(T)
    if solver == "ddim":
        table = solvers.ddim(schedule, 9, prediction, 0.5)
        rows = ddim(lecture, 9, 0.5, prediction)
    elif solver == "euler":
        table = solvers.ddim(schedule, 9, prediction)
        rows = euler(lecture, 9)
    else:
        table = solvers.dpmpp_2m(schedule, 9, prediction)
        rows = dpmpp_2m(lecture, 9, prediction)
    ours = torch_chain(ExactDenoiser(prediction), table, 2, clip, step, monkeypatch)
    lectures = run(LectureDenoiser(prediction), Y, rows, W, LectureNoise(), clip)
    np.testing.assert_allclose(ours, lectures, atol=1e-5, rtol=0)


def test_the_samples_follow_the_chains_exact_law() -> None:
    """Three equal wrongs would pass above. Here the law of the discrete chain is known.

    With w = 0 the guess of x_0 is affine in x_t, so the chain's end is Gaussian, and its mean and
    variance follow the recursion below, written from the paper's formulas for the posterior. 4,096
    samples (seed 1), 5 standard errors in each of six numbers: a false alarm in 3 of a million.
    """
    n, y = 4096, 1
    abar, mean, var = LectureSchedule.cosine(T).alpha_bar, np.zeros(3), 1.0
    for t in range(T, 0, -1):
        signal, alpha = np.sqrt(abar[t]), abar[t] / abar[t - 1]
        c_0 = np.sqrt(abar[t - 1]) * (1 - alpha) / (1 - abar[t])
        c_t = np.sqrt(alpha) * (1 - abar[t - 1]) / (1 - abar[t])
        gain = signal * VAR[y] / (abar[t] * VAR[y] + 1 - abar[t])  # of E[x_0 | x_t] in x_t
        mean = c_0 * (MEANS[y] + gain * (mean - signal * MEANS[y])) + c_t * mean
        var = (c_0 * gain + c_t) ** 2 * var + (1 - alpha) * (1 - abar[t - 1]) / (1 - abar[t])
    table = solvers.ddpm(Schedule.cosine(T))
    x = sample(ExactDenoiser("eps"), torch.full((n,), y), table, shape=(3,), seed=1).double()
    assert (np.abs(x.mean(0).numpy() - mean) < 5 * np.sqrt(var / n)).all()
    assert (np.abs(x.var(0).numpy() - var) < 5 * var * np.sqrt(2 / n)).all()
