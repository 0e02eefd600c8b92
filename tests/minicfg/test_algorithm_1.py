"""Algorithm 1 at real-valued log SNRs: what is shown is the lesson's, letter for letter; it trains.

The lesson is `tutorial.step13_training`, on the map of `tutorial.step13_process`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kernels import philox
from minicfg.algorithm_1 import algorithm_1
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.datasets.load import load_data
from minicfg.distributed import Ranks
from minicfg.errors import UsageError
from minicfg.io.checkpoint import load_state, save_state
from minicfg.schedule import Schedule, log_snr_angle
from minicfg.training import TrainState, batch_indices, choices, train
from minicfg.unet import UNet, sinusoids
from tutorial.step13_process import log_snr_of, map_ends, signal_noise

TINY = TrainConfig(
    schedule="log_snr", continuous=True, steps=12, batch=16, width=8, multipliers=(1, 2), seed=11
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


def last(data: Dataset, config: TrainConfig, resume: TrainState | None = None) -> TrainState:
    return deque(train(data, config, resume=resume), maxlen=1).pop()


def u_of(config: TrainConfig, step: int) -> np.ndarray:
    """The numbers in 0..1 that the words of a step stand for, by the definition of the words."""
    ids = np.arange(config.batch)
    return (
        philox.words_numpy(config.seed, ids, step, 1, philox.TRAINING_CHOICE)[:, 0, 0] + 0.5
    ) / 2**32


def noise_of(config: TrainConfig, step: int, shape: tuple[int, int, int]) -> np.ndarray:
    ids = np.arange(config.batch)
    return philox.normal_numpy(config.seed, ids, step, shape, philox.TRAINING_NOISE)


def scales(xt: np.ndarray, x0: np.ndarray, eps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The `a`, `s` with `xt = a x0 + s eps`, image by image, by least squares."""
    xt, x0, eps = (z.reshape(len(z), -1).astype(float) for z in (xt, x0, eps))
    xx, xe, ee = (x0 * x0).sum(1), (x0 * eps).sum(1), (eps * eps).sum(1)
    bx, be = (xt * x0).sum(1), (xt * eps).sum(1)
    det = xx * ee - xe**2
    return (bx * ee - be * xe) / det, (be * xx - bx * xe) / det


def test_the_network_is_shown_the_lessons_scales_at_a_t_between_the_points(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """13.1, 13.6 and 13.20, from `xt` alone, with noise and words that NumPy makes itself."""
    given, forward = list[tuple[Tensor, Tensor, Tensor]](), UNet.forward

    def spy(self: UNet, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        given.append((xt, t, y))
        return forward(self, xt, t, y)

    monkeypatch.setattr(UNet, "forward", spy)
    config = replace(TINY, T=50, p_uncond=0.5, steps=4)
    last(digits, config)
    assert len(given) == 4
    for step, (xt, t, y) in enumerate(given, start=1):
        index, u = batch_indices(config.seed, step, 16, len(digits)), u_of(config, step)
        a, sigma = signal_noise(np.asarray(log_snr_of(u)))
        found = scales(xt.numpy(), digits.x[index].numpy(), noise_of(config, step, digits.shape))
        np.testing.assert_allclose(found, (a, sigma), rtol=0, atol=1e-6)  # xt is float32, below 8
        assert t.dtype == torch.float32
        np.testing.assert_allclose(t, 1 + 49 * u, rtol=2**-24)  # rounded once
        assert torch.equal(y, torch.where(choices(config, step)[1], 10, digits.y[index]))
    assert not torch.equal(given[0][1], given[0][1].round())


def test_whole_t_are_the_schedules_points() -> None:
    """Samplers and training share one map: scales to rounding, and what the network is told."""
    T = 40
    t, abar = torch.arange(1, T + 1), Schedule.named("log_snr", T).alpha_bar[1:]
    angle = log_snr_angle((t.double() - 1) / (T - 1))
    torch.testing.assert_close(angle.cos().square(), abar, rtol=1e-12, atol=1e-15)
    assert torch.equal(sinusoids(t.float(), 24), sinusoids(t, 24))


@cache
def shown(steps: int, batch: int = 64) -> tuple[np.ndarray, ...]:
    """Log SNRs as returned and as `xt` has them, and `xt` itself, of images that are 1 all over."""
    config, ids = replace(TINY, batch=batch), torch.arange(batch)
    one, returned, seen, states = torch.ones(batch, 1, 4, 4), [], [], []
    for step in range(1, steps + 1):
        xt, *_, log_snr = algorithm_1(config, one, ids % 10, 10, step, ids)
        a, sigma = scales(xt.numpy(), one.numpy(), noise_of(config, step, (1, 4, 4)))
        returned.append(log_snr.numpy())
        seen.append(2 * np.log(a / sigma))
        states.append(xt.numpy())
    return tuple(np.concatenate(each) for each in (returned, seen, states))


def test_log_snrs_have_the_papers_distribution() -> None:
    """P(lambda <= l) = 1 - u(l) by (13.6), in closed form, against 12,800 draws.

    Dvoretzky, Kiefer, Wolfowitz, Massart: the largest gap passes sqrt(log(2 / p) / (2 N)) with
    probability p at most; p = 1e-6, so 0.024 is allowed. Uniform log SNRs are off by 0.4.
    """
    returned, seen, _ = shown(200)
    # Where little is left of one of the two, float32 keeps three digits of its scale.
    np.testing.assert_allclose(seen, returned, rtol=0, atol=0.02)
    a, b = map_ends(-20.0, 20.0)
    ordered = np.sort(seen)
    cdf, N = 1 - (np.arctan(np.exp(-ordered / 2)) - b) / a, len(ordered)
    gap = max(np.abs(cdf - np.arange(N) / N).max(), np.abs(cdf - np.arange(1, N + 1) / N).max())
    assert gap < math.sqrt(math.log(2 / 1e-6) / (2 * N))
    assert len(np.unique(returned)) == N  # each image its own


def test_what_is_shown_has_the_right_moments_over_all_log_snrs() -> None:
    """Of x0 = 1: mean E cos(a u + b) by its integral, and mean square 1, as cos^2 + sin^2 is.

    12,800 images; the spread of their means is 0.31 and of their mean squares at most 1, so five
    standard errors are 0.014 and 0.044.
    """
    states = shown(200)[2].astype(float)
    a, b = map_ends(-20.0, 20.0)
    assert abs(states.mean() - (math.sin(a + b) - math.sin(b)) / a) < 0.014
    assert abs((states**2).mean() - 1) < 0.044


@pytest.mark.parametrize(("prediction", "min_snr"), [("eps", 0), ("x0", 0), ("v", 0), ("v", 5)])
def test_first_loss_by_numpy(digits: Dataset, prediction: Any, min_snr: float) -> None:
    """The untrained network says 0: the loss is the (weighed) mean square of the target alone."""
    config = replace(TINY, prediction=prediction, min_snr=float(min_snr), batch=64)
    x0 = digits.x[batch_indices(config.seed, 1, 64, len(digits))].double().numpy()
    eps, log_snr = noise_of(config, 1, digits.shape), np.asarray(log_snr_of(u_of(config, 1)))
    a, s = (z[:, None, None, None] for z in signal_noise(log_snr))
    target = {"eps": eps, "x0": x0, "v": a * eps - s * x0}[prediction]
    weight = np.minimum(np.exp(log_snr), 5) / (np.exp(log_snr) + 1) if min_snr else np.ones(64)
    wanted = (weight * (target**2).mean((1, 2, 3))).mean()
    assert next(train(digits, config)).loss == pytest.approx(wanted, rel=1e-5)  # a float32 sum


def test_a_step_is_a_function_of_seed_and_step_and_is_shared_over_ranks() -> None:
    ids, x0 = torch.arange(16), torch.rand(16, 1, 4, 4)
    whole = algorithm_1(TINY, x0, ids % 10, 10, 7, ids)
    for world in (2, 3):
        parts = [ids[Ranks(rank, world).share(16)] for rank in range(world)]
        shares = [algorithm_1(TINY, x0[mine], mine % 10, 10, 7, mine) for mine in parts]
        for one, *others in zip(whole, *shares, strict=True):
            assert torch.equal(torch.cat(others), one)
    assert not torch.equal(algorithm_1(TINY, x0, ids % 10, 10, 8, ids)[1], whole[1])


def test_resumed_run_is_the_run_bit_for_bit(digits: Dataset, tmp_path: Path) -> None:
    whole, run = last(digits, TINY), train(digits, TINY)
    for _ in range(5):
        state = next(run)
    save_state(tmp_path / "state", state)
    loaded = load_state(tmp_path / "state")
    assert loaded.config.continuous
    resumed = last(digits, TINY, resume=loaded)
    assert resumed.loss == whole.loss
    for ours, theirs in zip(resumed.ema.parameters(), whole.ema.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_learns(digits: Dataset) -> None:
    losses = [state.loss for state in train(digits, replace(TINY, steps=80, batch=64))]
    assert np.mean(losses[:5]) > 0.8 and np.mean(losses[-10:]) < 0.6


@pytest.mark.parametrize(
    "settings", [{"schedule": "cosine"}, {"T": 1}, {"zero_snr": True, "prediction": "v"}], ids=str
)
def test_settings_it_has_no_meaning_with_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"^continuous with schedule = .* is needed$"):
        replace(TINY, **settings)
