"""What a step draws, what it minimises, and that a run stopped and resumed is the run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kernels import philox
from minicfg.cli.train import run_train
from minicfg.config import Prediction, TrainConfig
from minicfg.data import Dataset
from minicfg.datasets.load import load_data
from minicfg.distributed import Ranks
from minicfg.errors import MachineError, UsageError
from minicfg.io.checkpoint import load_state, save_state
from minicfg.schedule import Schedule, log_snr_angle
from minicfg.training import (
    TrainState,
    algorithm_1,
    batch_indices,
    check_run,
    choices,
    dropped_condition,
    ema_decay,
    learning_rate,
    loss_weight,
    noised_examples,
    start,
    train_steps,
)
from minicfg.unet import UNet, sinusoids
from tutorial.step16_log_snr import log_snr_of, map_ends, signal_noise

K = 10
TINY = TrainConfig(steps=20, batch=16, width=8, multipliers=(1, 2), seed=11)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


def last_of(states: Iterator[TrainState]) -> TrainState:
    """The last state of a run, which takes every step of it."""
    state = next(states)
    for following in states:
        state = following
    return state


def last(data: Dataset, config: TrainConfig, resume: TrainState | None = None) -> TrainState:
    return last_of(train_steps(data, config, resume=resume))


def weights(state: TrainState) -> dict[str, Tensor]:
    """A copy of all that changes: weights, their average and its counter, the moments."""
    parts = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    parts |= {f"ema.{k}": v for k, v in state.ema.state_dict().items()}
    for i, moments in state.optimizer.state_dict()["state"].items():
        parts |= {f"optimizer.{i}.{k}": v for k, v in moments.items()}
    return {name: value.detach().clone() for name, value in parts.items()}


def assert_same(a: TrainState, b: TrainState) -> None:
    assert (a.step, a.loss, a.config) == (b.step, b.loss, b.config)
    a_parts, b_parts = weights(a), weights(b)
    assert a_parts.keys() == b_parts.keys()
    assert [name for name in a_parts if not torch.equal(a_parts[name], b_parts[name])] == []


# What a step draws


def test_labels_are_dropped_one_by_one_at_the_right_rate() -> None:
    """Over 500 steps of 128: the rate, and its spread from batch to batch.

    The variance of a binomial count is 128 p (1 - p), and is measured over 500 batches to
    sqrt(2 / 500), 6.3 %. Dropping whole batches together would make it 128 times as large.
    """
    config = replace(TINY, batch=128, p_uncond=0.1)
    dropped = torch.stack([choices(config, step)[1] for step in range(1, 501)]).double()
    assert abs(float(dropped.mean()) - 0.1) < 4.5 * math.sqrt(0.1 * 0.9 / dropped.numel())
    assert float(dropped.sum(1).var()) / (128 * 0.1 * 0.9) == pytest.approx(1, abs=4.5 * 0.063)
    # and no place in the batch is preferred: 128 binomial counts of mean 50
    assert (dropped.sum(0) - 50).abs().max() < 5 * math.sqrt(500 * 0.1 * 0.9)


@pytest.mark.parametrize(("p_uncond", "fraction"), [(0.0, 0.0), (1.0, 1.0)])
def test_labels_are_dropped_never_or_always(p_uncond: float, fraction: float) -> None:
    dropped = [choices(replace(TINY, p_uncond=p_uncond), step)[1] for step in range(1, 50)]
    assert float(torch.cat(dropped).double().mean()) == fraction


@pytest.mark.parametrize("T", [1, 2, 10])
def test_times_are_uniform_in_1_to_T(T: int) -> None:
    """8,000 draws: each count within 4.5 standard errors, so neither end is missed nor doubled."""
    config = replace(TINY, T=T, batch=80)
    t = torch.cat([choices(config, step)[0] for step in range(1, 101)])
    counts = torch.bincount(t, minlength=T + 1)
    assert counts[0] == 0 and len(counts) == T + 1
    allowed = 4.5 * math.sqrt(8000 * (1 / T) * (1 - 1 / T))
    assert float((counts[1:] - 8000 / T).abs().max()) <= allowed


def test_time_and_dropping_are_independent() -> None:
    config = replace(TINY, batch=128, p_uncond=0.5)
    pairs = [torch.stack(choices(config, step)).double() for step in range(1, 101)]
    correlation = torch.corrcoef(torch.cat(pairs, dim=1))[0, 1]
    assert abs(float(correlation)) < 4.5 / math.sqrt(12_800)


@pytest.mark.parametrize("batch", [7, 10, 25])
def test_every_epoch_shows_every_image_once(batch: int) -> None:
    n, steps = 10, 20
    order = torch.cat([batch_indices(3, step, batch, n) for step in range(1, steps + 1)])
    epochs = order[: len(order) // n * n].reshape(-1, n)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(n).expand_as(epochs))
    assert len(epochs.unique(dim=0)) == len(epochs)


# What it minimises


@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "velocity"])
def test_first_loss_by_numpy(digits: Dataset, prediction: Prediction) -> None:
    """The untrained network says 0, so the loss is the mean square of the target alone."""
    config = replace(TINY, prediction=prediction, batch=64)
    x0 = digits.x[batch_indices(config.seed, 1, 64, len(digits))].double().numpy()
    eps = philox.normal_numpy(config.seed, np.arange(64), 1, (1, 8, 8), philox.TRAINING_NOISE)
    abar = Schedule.cosine(1000).alpha_bar.numpy()[choices(config, 1)[0].numpy()]
    signal, noise = (np.sqrt(c)[:, None, None, None] for c in (abar, 1 - abar))
    v = signal * eps - noise * x0
    target = {"eps": eps, "x0": x0, "v": v, "velocity": eps - x0}[prediction]
    found = next(train_steps(digits, config)).loss
    assert found == pytest.approx((target**2).mean(), rel=1e-5)  # float32, and its sum of 4,096


def test_first_loss_of_eps_is_1(digits: Dataset) -> None:
    """Mean of 8,192 squares of standard normals, each of variance 2: a standard error of 0.016."""
    assert next(train_steps(digits, replace(TINY, batch=128))).loss == pytest.approx(
        1, abs=5 * 0.016
    )


def test_what_the_network_is_given(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """`xt` by NumPy from `t`, and `y` the image's own label or K; the average never trains."""
    few = digits.y < 3  # so that K is not what it is everywhere else
    data = Dataset(digits.x[few], digits.y[few], ("0", "1", "2"), "digits below 3")
    given = list[tuple[Tensor, Tensor, Tensor]]()
    forward = UNet.forward

    def spy(self: UNet, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        assert self.training
        given.append((xt, t, y))
        return forward(self, xt, t, y)

    monkeypatch.setattr(UNet, "forward", spy)
    config = replace(TINY, schedule="linear", T=50, p_uncond=0.5, steps=6)
    last(data, config)
    assert len(given) == 6
    for step, (xt, t, y) in enumerate(given, start=1):
        index = batch_indices(config.seed, step, 16, len(data))
        eps = philox.normal_numpy(config.seed, np.arange(16), step, (1, 8, 8), 1)
        abar = Schedule.linear(50).alpha_bar[t].numpy()[:, None, None, None]
        expected = np.sqrt(abar) * data.x[index].numpy() + np.sqrt(1 - abar) * eps
        np.testing.assert_allclose(xt, expected, rtol=0, atol=2e-6)  # float32 of values below 8
        assert torch.equal(y, torch.where(choices(config, step)[1], 3, data.y[index]))
        assert torch.equal(t, choices(config, step)[0])
    dropped = torch.cat([y for _, _, y in given]) == 3
    assert dropped.any() and not dropped.all()


def test_class_0_and_the_null_row_train_and_each_only_when_shown(digits: Dataset) -> None:
    """A padding index would freeze class 0; a label sent to the wrong row would move another."""
    config = replace(TINY, weight_decay=0.0, batch=32, steps=6)
    rows = start(config, digits.shape, digits.classes).model.embed_y.weight.detach().clone()
    moved = {}
    for p_uncond in (0.0, 0.5, 1.0):
        state = last(digits, replace(config, p_uncond=p_uncond))
        moved[p_uncond] = (state.model.embed_y.weight.detach() != rows).any(dim=1).tolist()
    assert moved == {
        0.0: [True] * K + [False],
        0.5: [True] * K + [True],
        1.0: [False] * K + [True],
    }


def test_learns(digits: Dataset) -> None:
    losses = [state.loss for state in train_steps(digits, replace(TINY, steps=80, batch=64))]
    assert np.mean(losses[:5]) > 0.8 and np.mean(losses[-10:]) < 0.45


def test_learning_rate_is_one_cycle_and_reaches_the_optimiser(digits: Dataset) -> None:
    config = replace(TINY, steps=200)
    rates = np.array([learning_rate(config, step) for step in range(1, 201)])
    peak = int(rates.argmax())
    assert (rates > 0).all() and rates[peak] == pytest.approx(config.lr, rel=0.01)
    assert 0.1 < peak / 200 < 0.2
    assert (np.diff(rates[: peak + 1]) > 0).all() and (np.diff(rates[peak:]) < 0).all()
    assert max(rates[0], rates[-1]) < 0.01 * config.lr
    for rate, state in zip(rates[:3], train_steps(digits, config), strict=False):
        assert [group["lr"] for group in state.optimizer.param_groups] == [rate]


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_learning_rate_of_the_shortest_runs(steps: int) -> None:
    config = replace(TINY, steps=steps)
    rates = [learning_rate(config, step) for step in range(1, steps + 1)]
    assert all(0 < rate <= config.lr for rate in rates)


def test_average_by_hand(digits: Dataset) -> None:
    """The average of 20 steps from copies of the weights: the first as it is, then (1+n)/(10+n)."""
    config = replace(TINY, ema=0.6)
    name, expected = "middle.conv1.weight", None
    for state in train_steps(digits, config):
        now = state.model.state_dict()[name].double().clone()
        n = state.step - 1  # averages taken before this one
        decay = min(0.6, (1 + n) / (10 + n))
        expected = now if expected is None else decay * expected + (1 - decay) * now
        assert int(state.ema.n_averaged) == state.step
    found = state.ema.module.state_dict()[name].double()
    # twenty roundings of float32 to weights below 1
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    assert not state.ema.module.training
    assert [ema_decay(config, n) for n in (1, 1000)] == [2 / 11, 0.6]


# Stopped and resumed


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dropout": 0.2, "attention": (1,), "prediction": "v"},
        {"schedule": "flow", "prediction": "velocity", "min_snr": 5.0},
    ],
    ids=str,
)
def test_resumed_run_is_the_run_bit_for_bit(
    digits: Dataset, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = replace(TINY, **settings)
    whole = last(digits, config)
    run = train_steps(digits, config)
    for _ in range(10):
        state = next(run)
    save_state(tmp_path / "state", state)
    torch.rand(7)  # the caller's own draws, here and there, change nothing
    loaded = load_state(tmp_path / "state")
    assert_same(loaded, state)
    assert loaded.step == int(loaded.ema.n_averaged) == 10
    resumed = last(digits, config, resume=loaded)
    assert_same(resumed, whole)


def test_run_neither_reads_nor_moves_the_global_stream(digits: Dataset) -> None:
    config = replace(TINY, dropout=0.2, steps=4)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = last(digits, config)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert_same(last(digits, config), first)


def test_training_on_a_cpu_leaves_the_stream_of_a_gpu_alone(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(seed: int) -> None:
        raise AssertionError("the GPU's generator was seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed", unwanted)
    assert last(digits, replace(TINY, dropout=0.2, steps=2)).step == 2


def test_another_seed_is_another_run(digits: Dataset) -> None:
    a, b = (last(digits, replace(TINY, steps=2, seed=seed)) for seed in (0, 2**64 - 1))
    assert a.loss != b.loss
    assert not torch.equal(a.model.stem.weight, b.model.stem.weight)


def test_dropout_of_every_step_is_its_own(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = list[int]()
    dropout = torch.nn.functional.dropout

    def recorded(x: Tensor, *arguments: Any) -> Tensor:
        seeds.append(torch.initial_seed())
        return dropout(x, *arguments)

    monkeypatch.setattr(torch.nn.functional, "dropout", recorded)
    last(digits, replace(TINY, dropout=0.5, steps=3))
    assert len(set(seeds)) == 3 and len(seeds) == 3 * 5  # one seed a step, for its five blocks


def test_resuming_a_finished_run_does_nothing(digits: Dataset) -> None:
    config = replace(TINY, steps=2)
    assert list(train_steps(digits, config, resume=last(digits, config))) == []


@pytest.mark.parametrize(
    ("field", "value"), [("lr", 1e-4), ("seed", 12), ("steps", 30), ("multipliers", (1, 3))]
)
def test_resuming_with_other_settings_is_refused(
    digits: Dataset, field: str, value: object
) -> None:
    state = start(TINY, digits.shape, digits.classes, digits.digest)
    with pytest.raises(UsageError, match=rf"^{field} = .*started with"):
        train_steps(digits, replace(TINY, **{field: value}), resume=state)


def test_resuming_on_other_images_is_refused(digits: Dataset) -> None:
    state = start(TINY, digits.shape, digits.classes, digits.digest)
    other = Dataset(-digits.x, digits.y, digits.classes, "negatives")
    with pytest.raises(UsageError, match=r"data = negatives, but .* other images"):
        train_steps(other, TINY, resume=state)


# What it refuses


def test_loss_that_is_not_finite_stops_before_the_weights(digits: Dataset) -> None:
    run = train_steps(digits, replace(TINY, lr=1e30, grad_clip=1e30))
    kept = None
    said = r"step (\d+): the loss is \S+ and the norm of its gradient .* those of step (\d+);"
    with pytest.raises(MachineError, match=said) as caught:
        for state in run:
            kept = weights(state)
    assert kept is not None and state.step < 20
    steps = re.search(said, str(caught.value))
    assert steps and [int(step) for step in steps.groups()] == [state.step + 1, state.step]
    assert all(torch.isfinite(value).all() for value in kept.values())
    assert all(torch.equal(value, kept[name]) for name, value in weights(state).items())


def test_a_gradient_that_is_too_long_is_scaled_to_the_longest_allowed(digits: Dataset) -> None:
    """What the optimiser steps by is one gradient, of its own length or of 0.01."""
    found = {}
    for longest in (1e6, 0.01):
        state = next(train_steps(digits, replace(TINY, grad_clip=longest)))
        parts = [p.grad.flatten().double() for p in state.model.parameters() if p.grad is not None]
        found[longest] = torch.cat(parts)
    free, cut = found[1e6], found[0.01]
    assert float(free.norm()) > 0.02
    # float32, and the 1e-6 that torch adds to the length it divides by
    assert float(cut.norm()) == pytest.approx(0.01, rel=1e-4)
    torch.testing.assert_close(cut / cut.norm(), free / free.norm(), rtol=0, atol=1e-5)


NINES = Dataset(torch.zeros(2, 1, 9, 9), torch.tensor([0, 1]), ("a", "b"), "nines")


def test_images_that_do_not_fit_are_refused_before_the_first_step() -> None:
    with pytest.raises(UsageError, match="images are 9x9: 2 levels"):
        train_steps(NINES, TINY)


def test_arguments_are_checked_without_a_network(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = start(TINY, digits.shape, digits.classes, digits.digest)

    def unwanted(self: UNet, *arguments: Any, **settings: Any) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr(UNet, "__init__", unwanted)
    check_run(digits, TINY)
    check_run(digits, TINY, state, Ranks(0, 16))
    for run in (check_run, lambda data, config: train_steps(data, config)):
        with pytest.raises(UsageError, match="images are 9x9: 2 levels"):
            run(NINES, TINY)
    with pytest.raises(UsageError, match=r"lr = 0\.1, but the run to resume"):
        train_steps(digits, replace(TINY, lr=0.1), resume=state)
    with pytest.raises(UsageError, match="batch = 16 is smaller than the 17 processes"):
        train_steps(digits, TINY, ranks=Ranks(0, 17))


def test_the_command_builds_one_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = list[UNet]()
    make = UNet.__init__

    def counted(self: UNet, *arguments: Any, **settings: Any) -> None:
        make(self, *arguments, **settings)
        if not self.stem.weight.is_meta:  # saving derives the shapes of all weights on `meta`
            built.append(self)

    # After the last step the command writes a page, for which it samples.
    monkeypatch.setattr("minicfg.cli.train._write_report", lambda *arguments: "no page")
    monkeypatch.setattr(UNet, "__init__", counted)
    assert run_train(tmp_path / "run", replace(TINY, data="digits", steps=1), resume=False) == 0
    assert len(built) == 1


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"data": torch.zeros(2, 1, 8, 8)}, "data is a Tensor: make a minicfg.Dataset of it"),
        ({"config": {"steps": 3}}, "config is a dict: pass a minicfg.config.TrainConfig"),
        ({"resume": "runs/a/state"}, "resume = 'runs/a/state' is a str: .*load_state"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_arguments_of_another_type_are_refused(
    digits: Dataset, given: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=f"^{complaint}"):
        train_steps(**{"data": digits, "config": TINY, **given})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("schedule", "sigmoidal", "cosine, linear, sigmoid"),
        ("prediction", "score", "eps, x0, v or velocity"),
        ("T", 0, r"1\.\."),
        ("T", 10_001, r"\.\.10000"),
        ("T", True, "integer"),
        ("steps", 0, r"1\.\."),
        ("steps", 2.0, "integer"),
        ("batch", 0, r"1\.\."),
        ("p_uncond", -0.1, r"0\.\.1"),
        ("p_uncond", 1.1, r"0\.\.1"),
        ("p_uncond", math.nan, r"0\.\.1"),
        ("lr", 0.0, "above 0"),
        ("lr", math.inf, "above 0"),
        ("weight_decay", -1.0, "0 or more"),
        ("grad_clip", 0.0, "above 0"),
        ("ema", 1.0, r"in \[0, 1\)"),
        ("ema", -0.1, r"in \[0, 1\)"),
        ("width", 4, r"8\.\."),
        ("width", 20, "multiple of 8"),
        ("multipliers", (), r"1\.\.6 levels"),
        ("multipliers", (1, 0), r"1\.\."),
        ("blocks", 0, r"1\.\."),
        ("attention", (3,), r"0\.\.2"),
        ("attention", (-1,), r"0\.\.2"),
        ("dropout", 1.0, r"in \[0, 1\)"),
        ("dropout", "much", "number"),
        ("seed", -1, r"0\.\."),
        ("seed", 2**64, r"0\.\."),
    ],
)
def test_settings_that_cannot_be_are_refused(field: str, value: object, allowed: str) -> None:
    with pytest.raises(UsageError, match=rf"^{field} = .*{allowed}"):
        TrainConfig(**{field: value})  # pyright: ignore[reportArgumentType]


def test_ends_of_the_settings_ranges_are_allowed() -> None:
    TrainConfig(T=1, steps=1, batch=1, p_uncond=0.0, weight_decay=0.0, ema=0.0, seed=2**64 - 1)
    TrainConfig(T=10_000, p_uncond=1.0, multipliers=(16,), attention=(0,), blocks=16)


# Weights, precision, memory


@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "velocity"])
def test_min_snr_weighs_one_error_alike_in_every_unit(prediction: Any) -> None:
    """Each of the errors that an error d in x_0 implies has the loss min(SNR, 5) d^2.

    It is d signal / noise in eps, d / noise in v, and d / u in the velocity, by (21.5).
    """
    config = replace(TINY, prediction=prediction, min_snr=5.0, T=100)
    schedule = Schedule.cosine(100)
    abar = schedule.alpha_bar[1:].numpy()
    signal, noise = np.sqrt(abar), np.sqrt(1 - abar)
    u = noise / (signal + noise)
    size = {"eps": signal / noise, "x0": np.ones(100), "v": 1 / noise, "velocity": 1 / u}[
        prediction
    ]
    weight = loss_weight(config, schedule.log_snr[1:]).double().numpy()
    np.testing.assert_allclose(weight * size**2, np.minimum(abar / (1 - abar), 5), rtol=1e-6)


def test_the_loss_is_weighed(digits: Dataset) -> None:
    """The untrained network says 0: the loss is the weighed mean square of the noise, by NumPy."""
    config = replace(TINY, min_snr=5.0, batch=64)
    eps = philox.normal_numpy(config.seed, np.arange(64), 1, (1, 8, 8), philox.TRAINING_NOISE)
    snr = Schedule.cosine(1000).log_snr.exp().numpy()[choices(config, 1)[0].numpy()]
    wanted = ((eps**2).mean((1, 2, 3)) * np.minimum(snr, 5) / snr).mean()
    assert next(train_steps(digits, config)).loss == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    "precision", ["bfloat16", pytest.param("float16", marks=pytest.mark.exhaustive)]
)
def test_half_precision_learns_the_same_to_its_rounding(digits: Dataset, precision: Any) -> None:
    """A product in bfloat16 is off by 2^-9 of itself: losses of 20 steps stay within a few %."""
    config = replace(TINY, steps=15, batch=32)
    exact = [state.loss for state in train_steps(digits, config)]
    half = list(train_steps(digits, replace(config, precision=precision)))
    np.testing.assert_allclose([state.loss for state in half], exact, rtol=0.05)
    assert [state.loss for state in half] != exact
    assert half[-1].model.stem.weight.dtype == torch.float32
    assert half[-1].scaler.is_enabled() == (precision == "float16")


def test_float16_resumes_bit_for_bit_with_its_scale(digits: Dataset, tmp_path: Path) -> None:
    config = replace(TINY, precision="float16", steps=8)
    run = train_steps(digits, config)
    for _ in range(4):
        state = next(run)
    state.scaler.update(new_scale=1024.0)  # as it would be after overflows
    save_state(tmp_path / "state", state)
    loaded = load_state(tmp_path / "state")
    assert loaded.scaler.state_dict() == state.scaler.state_dict()
    assert_same(last(digits, config, resume=loaded), last_of(run))


def test_an_overflowing_float16_step_is_skipped_not_taken(digits: Dataset) -> None:
    run = train_steps(digits, replace(TINY, precision="float16"))
    state = next(run)
    before = weights(state)["model.stem.weight"]
    state.scaler.update(new_scale=2.0**126)  # finite; its gradients are not
    state = next(run)
    assert torch.equal(weights(state)["model.stem.weight"], before)
    assert state.scaler.get_scale() == 2.0**125
    assert math.isfinite(state.loss)


@pytest.mark.exhaustive
def test_checkpointing_changes_memory_and_no_number(digits: Dataset) -> None:
    config = replace(TINY, steps=4, dropout=0.2)
    whole, again = last(digits, config), last(digits, replace(config, checkpointing=True))
    assert whole.loss == again.loss
    for name, value in weights(whole).items():
        assert torch.equal(weights(again)[name], value), name


def test_warmup_is_where_the_rate_peaks() -> None:
    config = replace(TINY, steps=200, warmup=0.4)
    rates = [learning_rate(config, step) for step in range(1, 201)]
    assert abs(rates.index(max(rates)) - 80) <= 1


def test_zero_snr_trains_to_pure_noise(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    given, forward = list[tuple[Tensor, Tensor]](), UNet.forward
    monkeypatch.setattr(
        UNet, "forward", lambda self, x, t, y: given.append((x, t)) or forward(self, x, t, y)
    )
    config = replace(TINY, zero_snr=True, prediction="v", T=2, steps=1)
    last(digits, config)
    (xt, t), eps = given[0], philox.normal(config.seed, torch.arange(16), 1, (1, 8, 8), 1)
    assert bool((t == 2).any())
    torch.testing.assert_close(xt[t == 2], eps[t == 2], rtol=0, atol=0)


def test_the_flow_trains_to_pure_noise_and_min_snr_gives_it_no_weight(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, forward = list[tuple[Tensor, Tensor]](), UNet.forward
    monkeypatch.setattr(
        UNet, "forward", lambda self, x, t, y: given.append((x, t)) or forward(self, x, t, y)
    )
    config = replace(TINY, schedule="flow", prediction="velocity", T=2, steps=1)
    last(digits, config)
    (xt, t), eps = given[0], philox.normal(config.seed, torch.arange(16), 1, (1, 8, 8), 1)
    x0 = digits.x[batch_indices(config.seed, 1, 16, len(digits))]
    assert bool((t == 2).any()) and bool((t == 1).any())
    torch.testing.assert_close(xt[t == 2], eps[t == 2], rtol=0, atol=0)
    # The middle of the line, divided by sqrt(1/4 + 1/4); float32 numbers below 8.
    middle = (x0 + eps)[t == 1] / 2 / 0.5**0.5
    torch.testing.assert_close(xt[t == 1], middle, rtol=0, atol=8 * 2**-22)
    weight = loss_weight(replace(config, min_snr=5.0), Schedule.of(config).log_snr[1:])
    # SNR is 1 and 0, and u is 1/2 and 1: min(SNR, 5) u^2.
    torch.testing.assert_close(weight, torch.tensor([0.25, 0.0]))


@pytest.mark.slow
def test_the_flow_learns_the_dots() -> None:
    """A network that returns 0 has the loss E|eps - x_0|^2 = 1 + E|x_0|^2 per pixel.

    In the last ten of 40 steps a third of it was left; half is allowed.
    """
    dots = load_data("toy:dots")
    config = replace(TINY, schedule="flow", prediction="velocity", steps=40, batch=64, lr=1e-2)
    losses = [state.loss for state in train_steps(dots, config)]
    untrained = 1 + float(dots.x.square().mean())
    assert losses[0] == pytest.approx(untrained, rel=0.05)
    assert np.mean(losses[-10:]) < untrained / 2


def test_the_flow_of_eps_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"^schedule = 'flow' with prediction = 'eps': .* use prediction velocity"
    ):
        replace(TINY, schedule="flow")


def test_zero_snr_of_eps_is_refused() -> None:
    with pytest.raises(UsageError, match="zero_snr with prediction = 'eps'"):
        replace(TINY, zero_snr=True)


# Algorithm 1 at real-valued log SNRs, compared with `tutorial.step16_log_snr` on the map of
# `tutorial.step16_log_snr`

CONTINUOUS = replace(TINY, schedule="log_snr", continuous=True, steps=12)


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
    config = replace(CONTINUOUS, T=50, p_uncond=0.5, steps=4)
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
    config, ids = replace(CONTINUOUS, batch=batch), torch.arange(batch)
    one, returned, seen, states = torch.ones(batch, 1, 4, 4), [], [], []
    for step in range(1, steps + 1):
        xt, *_, log_snr = algorithm_1(config, one, step, ids)
        a, sigma = scales(xt.numpy(), one.numpy(), noise_of(config, step, (1, 4, 4)))
        returned.append(log_snr.numpy())
        seen.append(2 * np.log(a / sigma))
        states.append(xt.numpy())
    return tuple(np.concatenate(each) for each in (returned, seen, states))


def test_log_snrs_have_the_papers_distribution() -> None:
    """P(lambda <= l) = 1 - u(l) by (16.6), in closed form, against 12,800 draws.

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


@pytest.mark.parametrize(
    ("prediction", "min_snr"), [("eps", 0), ("x0", 0), ("v", 0), ("v", 5), ("velocity", 0)]
)
def test_first_loss_of_algorithm_1_by_numpy(
    digits: Dataset, prediction: Any, min_snr: float
) -> None:
    """The untrained network says 0: the loss is the (weighed) mean square of the target alone."""
    config = replace(CONTINUOUS, prediction=prediction, min_snr=float(min_snr), batch=64)
    x0 = digits.x[batch_indices(config.seed, 1, 64, len(digits))].double().numpy()
    eps, log_snr = noise_of(config, 1, digits.shape), np.asarray(log_snr_of(u_of(config, 1)))
    a, s = (z[:, None, None, None] for z in signal_noise(log_snr))
    target = {"eps": eps, "x0": x0, "v": a * eps - s * x0, "velocity": eps - x0}[prediction]
    weight = np.minimum(np.exp(log_snr), 5) / (np.exp(log_snr) + 1) if min_snr else np.ones(64)
    wanted = (weight * (target**2).mean((1, 2, 3))).mean()
    assert next(train_steps(digits, config)).loss == pytest.approx(
        wanted, rel=1e-5
    )  # a float32 sum


def test_a_step_is_a_function_of_seed_and_step_and_is_shared_over_ranks() -> None:
    ids, x0 = torch.arange(16), torch.rand(16, 1, 4, 4)
    whole = algorithm_1(CONTINUOUS, x0, 7, ids)
    for world in (2, 3):
        parts = [ids[Ranks(rank, world).local_slice(16)] for rank in range(world)]
        shares = [algorithm_1(CONTINUOUS, x0[mine], 7, mine) for mine in parts]
        for one, *others in zip(whole, *shares, strict=True):
            assert torch.equal(torch.cat(others), one)
    assert not torch.equal(algorithm_1(CONTINUOUS, x0, 8, ids)[1], whole[1])


def test_resumed_run_of_algorithm_1_is_the_run_bit_for_bit(digits: Dataset, tmp_path: Path) -> None:
    whole, run = last(digits, CONTINUOUS), train_steps(digits, CONTINUOUS)
    for _ in range(5):
        state = next(run)
    save_state(tmp_path / "state", state)
    loaded = load_state(tmp_path / "state")
    assert loaded.config.continuous
    resumed = last(digits, CONTINUOUS, resume=loaded)
    assert resumed.loss == whole.loss
    for ours, theirs in zip(resumed.ema.parameters(), whole.ema.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.exhaustive
def test_algorithm_1_learns(digits: Dataset) -> None:
    losses = [state.loss for state in train_steps(digits, replace(CONTINUOUS, steps=80, batch=64))]
    assert np.mean(losses[:5]) > 0.8 and np.mean(losses[-10:]) < 0.6


@pytest.mark.parametrize(
    "settings", [{"schedule": "cosine"}, {"T": 1}, {"zero_snr": True, "prediction": "v"}], ids=str
)
def test_settings_without_meaning_for_algorithm_1_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(
        UsageError,
        match=r"^continuous with schedule = .*: .*; use schedule log_snr without zero_snr",
    ):
        replace(CONTINUOUS, **settings)


def test_attributes_are_dropped_by_masks_of_their_own() -> None:
    """With p_uncond = 1/2, of 64 samples some lose the first attribute alone, others the second."""

    class Twice(nn.Module):
        def null(self, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return torch.full_like(y[0], 9), torch.full_like(y[1], 9)

    ids = torch.arange(64)
    y = (torch.zeros_like(ids), torch.zeros_like(ids))
    for separately in (True, False):
        config = replace(TINY, batch=64, p_uncond=0.5, drop_separately=separately)
        _, _, dropped, _, _ = noised_examples(
            config, Schedule.cosine(1000).alpha_bar, torch.zeros(64, 2), 3, ids
        )
        first, second = dropped_condition(config, Twice(), y, dropped, 3, ids)
        assert torch.equal(first == 9, dropped)
        assert torch.equal(first, second) != separately
