"""Conditions that are not one label: tuples, vectors, null conditions, and several weights."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import minicfg
from minicfg import Dataset, Schedule, TrainConfig, UNet, sample, solvers
from minicfg.adapters import Composed
from minicfg.conditions import (
    Condition,
    batch_size,
    check_condition,
    drop,
    each_part,
    null_condition,
    parts_of,
)
from minicfg.errors import DataError, UsageError
from minicfg.io.checkpoint import load_state, save_state
from minicfg.training import batch_of, dropped_condition, noised_examples, train_steps

LABELS = torch.tensor([0, 2, 1])
SCHEDULE = Schedule.cosine(50)


class Labelled:
    """A denoiser with labels 0..2 and no method `null`."""

    num_classes = 3
    prediction = "eps"

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return xt * (1 + y[:, None])


class TwoAttributes(nn.Module):
    """A denoiser of points whose condition is a tuple: a label 0..2 and a real vector."""

    prediction = "eps"

    def __init__(self, dim: int = 2) -> None:
        super().__init__()
        self.kind = nn.Embedding(4, 8)  # the last row is the null
        self.place = nn.Linear(dim, 8)
        self.net = nn.Sequential(nn.Linear(dim + 17, 16), nn.SiLU(), nn.Linear(16, dim))

    def null(self, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return torch.full_like(y[0], 3), torch.zeros_like(y[1])

    def forward(self, xt: Tensor, t: Tensor, y: tuple[Tensor, Tensor]) -> Tensor:
        kind, place = y
        time = t[:, None] / 50
        return self.net(torch.cat([xt, time, self.kind(kind), self.place(place)], dim=1))


class CharacterEncoder(nn.Module):
    """A denoiser whose condition is a text: its characters' embeddings, (B, L, D)."""

    prediction = "v"

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.Linear(5, 8)
        self.net = nn.Sequential(nn.Linear(11, 16), nn.SiLU(), nn.Linear(16, 2))

    def null(self, y: Tensor) -> Tensor:
        return torch.zeros_like(y)

    def forward(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return self.net(torch.cat([xt, t[:, None] / 50, self.pool(y).mean(1)], dim=1))


def embedded(texts: list[str], length: int = 6) -> Tensor:
    """One random but fixed vector of five numbers per character, (B, L, D)."""
    table = torch.randn(128, 5, generator=torch.Generator().manual_seed(0))
    codes = [[ord(c) for c in text.ljust(length)[:length]] for text in texts]
    return table[torch.tensor(codes)]


def two_attributes(n: int = 60) -> Dataset:
    """Points whose place is in the condition, of three kinds."""
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(1))
    return Dataset(x, (torch.arange(n) % 3, x.round()), name="points")


CONFIG = TrainConfig(steps=6, batch=8, T=50, p_uncond=0.5, drop_separately=True, seed=4)


def seeded(make: type[nn.Module]) -> Any:
    """A network with the same weights at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


# The null condition


def test_the_null_label_is_the_number_of_classes() -> None:
    assert torch.equal(null_condition(Labelled(), LABELS), torch.tensor([3, 3, 3]))
    for K in (2, 10, 26):
        assert torch.equal(null_condition(UNet(1, K, width=8), LABELS), torch.full((3,), K))


def test_the_model_supplies_the_null_of_a_tuple() -> None:
    y = (LABELS, torch.randn(3, 2))
    kind, place = null_condition(TwoAttributes(), y)
    assert torch.equal(kind, torch.tensor([3, 3, 3])) and not place.any()


@pytest.mark.parametrize(
    ("null", "complaint"),
    [
        (lambda y: y[0], r"model.null\(y\) is torch.int64 \(\) .*, but y is torch.int64 \(3,\)"),
        (lambda y: y.float(), r"model.null\(y\) is torch.float32 \(3,\)"),
        (lambda y: (y,), r"model.null\(y\) is \(torch.int64 \(3,\) on cpu\), but"),
        (lambda y: 3, r"model.null\(y\) is a int, but y is torch.int64"),
        (lambda y: None, r"model.null\(y\) is a NoneType, but y is .*; give it the structure"),
    ],
)
def test_a_null_that_is_not_like_y_is_refused(null: Any, complaint: str) -> None:
    model = Labelled()
    model.null = null  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(UsageError, match=complaint):
        null_condition(model, LABELS)


def test_a_model_without_a_null_is_refused_with_what_to_add() -> None:
    with pytest.raises(UsageError, match=r"Linear without a null condition; give it a method null"):
        null_condition(nn.Linear(2, 2), LABELS)
    with pytest.raises(UsageError, match="a tuple of 2 tensors, but model has only num_classes"):
        null_condition(Labelled(), (LABELS, LABELS))


# What a condition is


def test_parts_and_sizes() -> None:
    y = (LABELS, torch.zeros(3, 4))
    assert parts_of(LABELS) == (LABELS,) and parts_of(y) is y
    assert batch_size(LABELS) == batch_size(y) == 3
    doubled = each_part(lambda part: torch.cat([part, part]), y)
    assert [tuple(part.shape) for part in doubled] == [(6,), (6, 4)]


def test_conditions_of_different_structure_are_not_paired() -> None:
    with pytest.raises(ValueError, match="zip"):
        each_part(torch.add, (LABELS, LABELS), (LABELS,))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("y", "complaint"),
    [
        ([1, 2], "y is a list; pass a tensor or a tuple of tensors"),
        ((), "y is a tuple; pass a tensor"),
        ((LABELS, 3), "y contains a int; pass"),
        ((LABELS, LABELS[:2]), r"y has tensors for \[3, 2\] samples"),
        (torch.tensor(3), r"shape \(\); its first dimension must be the batch"),
        (torch.zeros(3, 0), r"shape \(3, 0\); .* no size may be 0"),
        (torch.tensor([1.0, math.nan]), "y contains values that are not finite"),
        ((LABELS, torch.tensor([1.0, math.inf, 0.0])), "values that are not finite"),
    ],
)
def test_what_is_no_condition_is_refused(y: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        check_condition("y", y)


def test_drop_takes_one_mask_per_part() -> None:
    y = (torch.tensor([1, 1, 1]), torch.ones(3, 2))
    null = (torch.tensor([9, 9, 9]), torch.zeros(3, 2))
    masks = [torch.tensor([True, False, False]), torch.tensor([False, True, False])]
    kind, place = drop(y, null, masks)
    assert kind.tolist() == [9, 1, 1]
    assert place.tolist() == [[1, 1], [0, 0], [1, 1]]


# Training


def masks(config: TrainConfig, steps: int) -> np.ndarray:
    """Which of two attributes the network does not get, (samples, 2)."""
    model = TwoAttributes()
    ids = torch.arange(config.batch)
    y: Condition = (torch.zeros(config.batch, dtype=torch.int64), torch.ones(config.batch, 2))
    found: list[np.ndarray] = []
    for step in range(1, steps + 1):
        x0 = torch.zeros(config.batch, 2)
        _, _, dropped, _, _ = noised_examples(config, SCHEDULE.alpha_bar, x0, step, ids)
        kind, place = dropped_condition(config, model, y, dropped, step, ids)
        found.append(np.stack([(kind == 3).numpy(), (place[:, 0] == 0).numpy()], axis=1))
    return np.concatenate(found)


def test_attributes_are_dropped_separately_and_independently() -> None:
    """6,400 draws: a fraction has a standard error of at most 0.00625, of which 5 are allowed."""
    config = replace(CONFIG, batch=64, p_uncond=0.3)
    found = masks(config, 100)
    assert np.allclose(found.mean(0), 0.3, atol=0.03)
    assert abs((found[:, 0] & found[:, 1]).mean() - 0.09) < 0.03


def test_attributes_are_dropped_together_by_default() -> None:
    found = masks(replace(CONFIG, batch=64, p_uncond=0.3, drop_separately=False), 100)
    assert (found[:, 0] == found[:, 1]).all() and abs(found[:, 0].mean() - 0.3) < 0.03


def test_the_first_attribute_is_dropped_as_a_label_alone_would_be() -> None:
    separate = masks(replace(CONFIG, batch=64), 5)
    together = masks(replace(CONFIG, batch=64, drop_separately=False), 5)
    assert (separate[:, 0] == together[:, 0]).all() and (separate[:, 1] != together[:, 1]).any()


def test_each_sample_gets_its_own_condition() -> None:
    data = two_attributes()
    x, (kind, place) = batch_of(data, torch.tensor([5, 1]), torch.device("cpu"))
    assert torch.equal(x, data.x[[5, 1]]) and kind.tolist() == [2, 1]
    assert torch.equal(place, data.x[[5, 1]].round())


@pytest.mark.parametrize("make", [TwoAttributes, CharacterEncoder])
def test_a_network_with_its_own_condition_trains_saves_and_samples(
    make: type[nn.Module], tmp_path: Path
) -> None:
    """A run that is saved in the middle and resumed is the uninterrupted run, bit for bit."""
    data = two_attributes()
    config = CONFIG
    if make is CharacterEncoder:
        texts = [("above" if y > 0 else "below") for y in data.x[:, 1]]
        data = Dataset(data.x, embedded(texts), name="texts")
        config = replace(CONFIG, drop_separately=False, prediction="v")
    whole = minicfg.train(data, config, model=seeded(make))
    for state in train_steps(data, config, model=seeded(make)):
        if state.step == 3:
            save_state(tmp_path / "state", state)
            break
    half = load_state(tmp_path / "state", model=make())
    resumed = minicfg.train(data, config, resume=half)
    for name, value in whole.ema.module.state_dict().items():
        assert torch.equal(value, resumed.ema.module.state_dict()[name])
    minicfg.save(tmp_path / "model", resumed)
    c = minicfg.load(tmp_path / "model", model=make())
    assert c.classes == () and c.shape == (2,) and c.data_digest == data.digest
    y = each_part(lambda part: part[:4], data.y)
    x = sample(c, y, w=1.5, steps=4, seed=3)
    again = sample(
        whole.ema.module,
        y,
        solvers.ddim(c.schedule, 4, config.prediction),
        shape=(2,),
        w=1.5,
        seed=3,
    )
    assert x.shape == (4, 2) and torch.equal(x, again)
    assert not torch.equal(x, sample(c, y, w=0.0, steps=4, seed=3))


def test_two_attributes_that_only_one_tensor_has_are_refused() -> None:
    x = torch.zeros(4, 1, 8, 8)
    data = Dataset(x, torch.arange(4) % 2, ("a", "b"))
    with pytest.raises(UsageError, match="drop_separately = True, but the condition is one tensor"):
        minicfg.train(data, CONFIG)


# Sampling


class Mean:
    """The exact denoiser of N(mean of the condition, 1), with attributes that add up."""

    prediction = "eps"

    def null(self, y: Condition) -> Condition:
        return each_part(torch.zeros_like, y)

    def __call__(self, xt: Tensor, t: Tensor, y: Condition) -> Tensor:
        mean = torch.stack([part.float() for part in parts_of(y)]).sum(0)
        abar = SCHEDULE.alpha_bar[t][:, None].to(xt.dtype)
        return (1 - abar).sqrt() * (xt - abar.sqrt() * mean)


def test_composed_guidance_samples_the_composed_gaussian() -> None:
    """eps is affine in the mean: weights w1, w2 give the mean (1 + w1) m1 + (1 + w2) m2 exactly."""
    n = 3
    y = (torch.full((n, 1), 1.0), torch.full((n, 1), -2.0))
    table = solvers.ddim(SCHEDULE, 10)
    composed = sample(Composed(Mean(), (0.5, 2.0)), y, table, shape=(1,), seed=1)
    mean = (torch.full((n, 1), 1.5 * 1.0 + 3.0 * -2.0),)
    plain = sample(Mean(), mean, table, shape=(1,), seed=1)
    torch.testing.assert_close(composed, plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("weights", "kept"), [((0.0, -1.0), 0), ((-1.0, 0.0), 1)])
def test_a_weight_of_minus_one_leaves_an_attribute_out(
    weights: tuple[float, float], kept: int
) -> None:
    model = seeded(TwoAttributes)
    y = (torch.tensor([0, 2]), torch.randn(2, 2))
    xt = torch.randn(2, 2)
    t = torch.tensor([7, 7])
    null = model.null(y)
    alone = (y[0], null[1]) if kept == 0 else (null[0], y[1])
    with torch.no_grad():
        composed = Composed(model, weights)(xt, t, y)
        torch.testing.assert_close(composed, model(xt, t, alone))


@pytest.mark.usefixtures("unchecked")
def test_composed_refuses_what_it_cannot_weigh() -> None:
    model = TwoAttributes()
    with pytest.raises(UsageError, match="y has 2 attributes, but there are 3 weights"):
        sample(
            Composed(model, (1.0, 2.0, 3.0)),
            (LABELS, torch.zeros(3, 2)),
            solvers.ddim(SCHEDULE, 2),
            shape=(2,),
        )
    with pytest.raises(UsageError, match="w = nan"):
        Composed(model, (1.0, math.nan))


def test_a_negative_label_replaces_the_null() -> None:
    """out_cond + w (out_cond - out_negative): with means 1 and -1, w = 2 gives the mean 5."""
    table = solvers.ddim(SCHEDULE, 10)
    wanted = torch.full((2, 1), 1.0)
    unwanted = torch.full((2, 1), -1.0)
    away = sample(Mean(), wanted, table, shape=(1,), w=2.0, null=unwanted, seed=1)
    plain = sample(Mean(), torch.full((2, 1), 5.0), table, shape=(1,), seed=1)
    torch.testing.assert_close(away, plain, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("null", "complaint"),
    [
        ([0, 1], r"null is torch.int64 \(2,\).*, but y is torch.int64 \(3,\)"),
        ([0, 1, 4], "null holds 0..4; labels are 0..2, and 3 is the null label"),
        ([0, 1, 1.5], "null is .*; pass a list of integers"),
        (2, "null is 2; pass a list of integers"),
    ],
)
def test_a_null_that_does_not_fit_the_labels_is_refused(null: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        sample(Labelled(), LABELS, solvers.ddim(SCHEDULE, 2), shape=(2,), w=1.0, null=null)


def test_labels_of_a_model_with_classes_stay_labels() -> None:
    for y in (torch.zeros(3), (LABELS, LABELS)):
        with pytest.raises(UsageError, match=r"pass (int64|one int64)"):
            sample(Labelled(), y, solvers.ddim(SCHEDULE, 2), shape=(2,))


# Data


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("y", "complaint"),
    [
        ((torch.zeros(4), torch.zeros(3)), r"data: y has tensors for \[4, 3\] samples"),
        (torch.zeros(3, 2), "data: y is a condition for 3 samples, but x has 4"),
        ([0, 1, 1, 0], "data: y is a list; pass a tensor"),
        (torch.full((4,), math.nan), "data: y contains values that are not finite"),
    ],
)
def test_data_with_a_condition_that_does_not_fit_are_refused(y: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        Dataset(torch.zeros(4, 2), y)


def test_the_digest_depends_on_every_part_of_the_condition() -> None:
    x = torch.zeros(4, 2)
    kind = torch.arange(4)
    digests = {
        Dataset(x, y).digest
        for y in (
            (kind, torch.zeros(4)),
            (kind, torch.ones(4)),
            (torch.zeros(4), kind),
            (kind,),
            (kind[:, None], torch.zeros(4)),
            torch.zeros(4, dtype=torch.bfloat16),
        )
    }
    assert len(digests) == 6


def test_a_split_keeps_samples_and_conditions_together() -> None:
    data = two_attributes()
    for part in minicfg.data.split(data, 0.3):
        assert torch.equal(part.y[1], part.x.round()) and part.classes == ()
    assert [len(part) for part in minicfg.data.split(data, 0.3)] == [42, 18]
    with pytest.raises(UsageError, match="points has no classes: pass a data set with one label"):
        _ = data.labels
