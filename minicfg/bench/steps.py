"""Comparisons of single steps: the sampler's without its network, and of training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kernels import guided_step
from minicfg import solvers
from minicfg.adapters import schedule_from_diffusers
from minicfg.bench.measure import Bar, Comparison, Sizes, interleaved, package
from minicfg.bench.networks import (
    DIFFUSERS,
    LUCIDRAINS,
    Still,
    diffusers_sampler,
    lucidrains,
    lucidrains_sampler,
    still_lucidrains,
    train_diffusers,
    train_lucidrains,
)
from minicfg.bench.speed import (
    COSINE,
    MULTIPLIERS,
    NOISE,
    NOT_EQUAL_NETWORKS,
    K,
    W,
    bars,
    labels,
    networks,
    size,
    whose,
)
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.errors import MachineError
from minicfg.sampling import sample
from minicfg.schedule import Schedule
from minicfg.training import train


def loop(s: Sizes) -> Iterator[Comparison]:
    """Microseconds a step of a network that does nothing, guided."""
    module = lucidrains()
    out = torch.randn(2 * s.batch, 1, s.side, s.side, device=s.device)
    y, shape = labels(s, s.batch), (1, s.side, s.side)
    table, still = solvers.ddpm(Schedule.cosine(1000), s.steps), Still(out)

    def called(x: Tensor, t: Tensor, class_labels: Tensor) -> Any:
        return Output(out)

    draw = lucidrains_sampler(module, still_lucidrains(module, out), s.side, s.steps, s.device)
    drawn = diffusers_sampler(called, K, shape, s.steps, **COSINE)
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: sample(still, y, table, shape=shape, w=W, clip=1.0),  # pyright: ignore
        "diffusers": lambda: drawn(y, W),
        "lucidrains": lambda: draw(y, W),
    }
    times = interleaved(ways, s.repeats)
    found = [
        Bar(way, whose(way), tuple(1e6 * t / s.steps for t in each)) for way, each in times.items()
    ]
    yield Comparison(
        "the loop alone",
        f"a step around a network that does nothing, batch {s.batch} of {s.side}x{s.side}x1",
        "us a step",
        False,
        tuple(found),
        "none",
        (NOISE,),
    )


class Output:
    """What diffusers' networks answer."""

    def __init__(self, sample: Tensor) -> None:
        self.sample = sample


def training(s: Sizes) -> Iterator[Comparison]:
    """Steps of training, equal batches and parameters, each by its own loop."""
    ours, lucid, theirs, module = networks(s)
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(512, 1, s.side, s.side, generator=rng) * 2 - 1
    data = Dataset(x, torch.arange(512) % K, tuple("0123456789"), "noise")
    config = TrainConfig(
        batch=s.train_batch, width=s.width, multipliers=MULTIPLIERS, steps=2**31, lr=1e-4
    )
    lucid_recipe = replace(LUCIDRAINS, batch=s.train_batch)
    their_recipe = replace(DIFFUSERS, batch=s.train_batch)
    runs: dict[str, Iterator[object]] = {"ours": train(data, config, device=s.device)}
    runs["diffusers"] = train_diffusers(theirs, data, their_recipe, 0, 2**31)
    runs["lucidrains"] = train_lucidrains(module, lucid, data, lucid_recipe, 0)
    ways = {way: lambda run=run: next(run) for way, run in runs.items()}
    notes = {"ours": size(ours), "diffusers": size(theirs), "lucidrains": size(lucid)}
    yield Comparison(
        "training",
        f"batches of {s.train_batch} images of {s.side}x{s.side}x1, float32",
        "images/s",
        True,
        tuple(bars(interleaved(ways, s.repeats, 1.0), s.train_batch, notes)),
        "2",
        (
            NOT_EQUAL_NETWORKS,
            "Ours averages the weights after every step and makes noise, times and dropped labels "
            "by Philox; lucidrains' averages after every tenth, as its Trainer, diffusers' example "
            "does not. All clip gradients. Theirs are run without accelerate, which does nothing "
            "on one device in float32.",
        ),
    )


def one_step(s: Sizes) -> Iterator[Comparison]:
    """The guided step alone, noise given and noise of its own, against `DDPMScheduler.step`."""
    scheduler = package("diffusers").DDPMScheduler(1000, **COSINE)
    scheduler.set_timesteps(50)
    rng = torch.Generator().manual_seed(0)
    shape = (s.still_batch, *s.still)
    x, z = (torch.randn(shape, generator=rng).to(s.device) for _ in range(2))
    out = torch.randn(2 * s.still_batch, *s.still, generator=rng).to(s.device)
    place, t = 25, scheduler.timesteps[25]
    # Their times, of which the table is then made, and the row that lies in the middle.
    times = (scheduler.timesteps + 1).tolist()
    rows = solvers.ddpm(schedule_from_diffusers(scheduler.config), times).rows.to(s.device)
    given = rows[place : place + 1].clone()
    given[:, 6], given[:, 4] = given[:, 4], 0.0  # noise in the place of the last guess
    ids = torch.arange(s.still_batch, device=s.device)
    module: Any = sys.modules[type(scheduler).__module__]
    drawn = module.randn_tensor

    def ours(row: Tensor, k: int, noise: Tensor | None) -> Tensor:
        return guided_step(
            x, out, row, k, W, seed=7, sample_ids=ids, x0prev=noise, clip=1.0, want_x0=False
        )[0]

    def theirs(noise: Tensor | None) -> Tensor:
        module.randn_tensor = drawn if noise is None else lambda *_, **__: noise
        try:
            cond, null = out.chunk(2)
            return scheduler.step(null + (1 + W) * (cond - null), t, x).prev_sample
        finally:
            module.randn_tensor = drawn

    off = float((ours(given, 0, z) - theirs(z)).abs().max())
    if not off <= 1e-4:  # float32 tables of theirs: 1e-5 of values up to 10
        raise MachineError(f"the two steps differ by {off:.3g}: not timed")
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: ours(given, 0, z),
        "diffusers": lambda: theirs(z),
    }
    own: dict[str, Callable[[], object]] = {
        "ours": lambda: ours(rows, place, None),
        "diffusers": lambda: theirs(None),
    }
    for name, each, aim in (
        ("one step, noise given", ways, "2"),
        ("one step, own noise", own, "none"),
    ):
        times_of = interleaved(each, s.repeats)
        yield Comparison(
            name,
            f"guidance and a DDPM step of {'x'.join(map(str, shape))}, float32, no network",
            "ms",
            False,
            tuple(
                Bar(way, whose(way), tuple(1e3 * v for v in values))
                for way, values in times_of.items()
            ),
            aim,
            (
                f"Both give the same tensor, to {off:.0e}. diffusers' answer holds the guess of "
                "x_0 as well, which ours is not asked for.",
                *((NOISE,) if each is own else ()),
            ),
        )
