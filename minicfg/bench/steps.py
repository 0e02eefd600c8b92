"""Compare single steps: of the sampler without a network, and of training."""

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
from minicfg.bench.measure import Comparison, Result, Sizes, import_package, interleaved
from minicfg.bench.networks import (
    DIFFUSERS,
    LUCIDRAINS,
    ConstantDenoiser,
    constant_lucidrains,
    diffusers_sampler,
    lucidrains,
    lucidrains_sampler,
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
    labels,
    networks,
    owner_of,
    rate_results,
    size_note,
)
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.errors import MachineError
from minicfg.sampling import sample
from minicfg.schedule import Schedule
from minicfg.training import train_steps


def loop(s: Sizes) -> Iterator[Comparison]:
    """Microseconds per guided step, with a network that returns a constant."""
    module = lucidrains()
    out = torch.randn(2 * s.batch, 1, s.side, s.side, device=s.device)
    y, shape = labels(s, s.batch), (1, s.side, s.side)
    table = solvers.ddpm(Schedule.cosine(1000), s.steps)
    constant = ConstantDenoiser(out)

    def called(x: Tensor, t: Tensor, class_labels: Tensor) -> Any:
        return Output(out)

    draw = lucidrains_sampler(module, constant_lucidrains(module, out), s.side, s.steps, s.device)
    drawn = diffusers_sampler(called, K, shape, s.steps, **COSINE)
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: sample(constant, y, table, shape=shape, w=W, clip=1.0),  # pyright: ignore
        "diffusers": lambda: drawn(y, W),
        "lucidrains": lambda: draw(y, W),
    }
    times = interleaved(ways, s.repeats)
    found = [
        Result(way, owner_of(way), tuple(1e6 * t / s.steps for t in each))
        for way, each in times.items()
    ]
    yield Comparison(
        "the loop alone",
        f"one step with a network that returns a constant, batch {s.batch} of {s.side}x{s.side}x1",
        "us per step",
        False,
        tuple(found),
        "none",
        (NOISE,),
    )


class Output:
    """What the networks of diffusers return."""

    def __init__(self, sample: Tensor) -> None:
        self.sample = sample


def training(s: Sizes) -> Iterator[Comparison]:
    """Steps of training by each project's own loop, with equal batches and parameter counts."""
    ours, lucid, theirs, module = networks(s)
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(512, 1, s.side, s.side, generator=rng) * 2 - 1
    data = Dataset(x, torch.arange(512) % K, tuple("0123456789"), "noise")
    config = TrainConfig(
        batch=s.train_batch, width=s.width, multipliers=MULTIPLIERS, steps=2**31, lr=1e-4
    )
    lucid_recipe = replace(LUCIDRAINS, batch=s.train_batch)
    their_recipe = replace(DIFFUSERS, batch=s.train_batch)
    runs: dict[str, Iterator[object]] = {"ours": train_steps(data, config, device=s.device)}
    runs["diffusers"] = train_diffusers(theirs, data, their_recipe, 0, 2**31)
    runs["lucidrains"] = train_lucidrains(module, lucid, data, lucid_recipe, 0)
    ways = {way: lambda run=run: next(run) for way, run in runs.items()}
    notes = {
        "ours": size_note(ours),
        "diffusers": size_note(theirs),
        "lucidrains": size_note(lucid),
    }
    yield Comparison(
        "training",
        f"batches of {s.train_batch} images of {s.side}x{s.side}x1, float32",
        "images/s",
        True,
        tuple(rate_results(interleaved(ways, s.repeats, 1.0), s.train_batch, notes)),
        "2",
        (
            NOT_EQUAL_NETWORKS,
            "Ours averages the weights after every step, and draws noise, times and dropped labels "
            "by Philox. lucidrains' averages after every tenth step, as its Trainer does; "
            "diffusers' example has no average. All clip gradients. Theirs run without accelerate, "
            "which has no effect on one device in float32.",
        ),
    )


def one_step(s: Sizes) -> Iterator[Comparison]:
    """One guided step with given noise, and with noise of its own, against `DDPMScheduler.step`."""
    scheduler = import_package("diffusers").DDPMScheduler(1000, **COSINE)
    scheduler.set_timesteps(50)
    rng = torch.Generator().manual_seed(0)
    shape = (s.step_batch, *s.step_shape)
    x, z = (torch.randn(shape, generator=rng).to(s.device) for _ in range(2))
    out = torch.randn(2 * s.step_batch, *s.step_shape, generator=rng).to(s.device)
    place = 25
    t = scheduler.timesteps[place]
    # The table is made for their times, and the row is the one in the middle.
    times = (scheduler.timesteps + 1).tolist()
    rows = solvers.ddpm(schedule_from_diffusers(scheduler.config), times).rows.to(s.device)
    given = rows[place : place + 1].clone()
    given[:, 6] = given[:, 4]  # the coefficient of the noise multiplies x0prev, which is the noise
    given[:, 4] = 0.0
    ids = torch.arange(s.step_batch, device=s.device)
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

    apart = float((ours(given, 0, z) - theirs(z)).abs().max())
    if not apart <= 1e-4:  # float32 tables of theirs: 1e-5 of values up to 10
        raise MachineError(
            f"the two steps differ by {apart:.3g}: not timed; install the diffusers that "
            "constraints.txt names"
        )
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
                Result(way, owner_of(way), tuple(1e3 * v for v in values))
                for way, values in times_of.items()
            ),
            aim,
            (
                f"Both give the same tensor, to {apart:.0e}. diffusers returns the guess of x_0 "
                "as well, which ours leaves out.",
                *((NOISE,) if each is own else ()),
            ),
        )
