"""Time for 1,000 guided pictures at a given Frechet distance, each project at its best.

A fast sampler is worth little if its samples are poor, and good samples may take long. So every
project draws the same pictures with each of its solvers and with several numbers of steps. The
given distance is the least that both this package and another project reach. The setting of a
project is the one with the fewest evaluations of the network that reaches this distance, and only
it is timed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from minicfg import solvers
from minicfg.bench.measure import Comparison, Result, Sizes, import_package, interleaved
from minicfg.bench.networks import lucidrains, lucidrains_sampler
from minicfg.bench.quality import (
    TUNED,
    Run,
    digits,
    digits_classifier,
    run_diffusers,
    run_lucidrains,
    run_ours,
    train_for,
)
from minicfg.bench.speed import owner_of
from minicfg.config import TrainConfig
from minicfg.distillation import distill_steps
from minicfg.metrics.evaluate import Scores, evaluate
from minicfg.sampling import sample
from minicfg.schedule import Schedule
from minicfg.threads import threads

W = 1.0
CHUNK = 100  # pictures that are drawn at once
DIFFERS = (
    "All train for the same time with the settings that suited them best. The student's time is "
    "shared: half of it trains its teacher. The time of training is not in the figures.",
    "Ours may use DPM-Solver++(2M) or DDIM, diffusers' DPMSolverMultistepScheduler (2M), "
    "DDIMScheduler or DDPMScheduler, and lucidrains' its DDIM with eta = 1. Frechet distance is "
    "computed with our classifier for all.",
    "A student evaluates its network once per step, the others on both halves. Each way is timed "
    "with one thread and with torch's default, plain and compiled. All draw 100 pictures at a "
    "time; the time of one such draw is measured, and the figure is that of all pictures.",
)


@dataclass(frozen=True, eq=False)
class Setting:
    """A project's network with one solver: `draw(net, y)` evaluates `net` `evaluations` times."""

    project: str
    solver: str
    net: nn.Module
    draw: Callable[[Any, Tensor], Tensor]
    evaluations: int


def our_settings(s: Sizes, project: str, net: nn.Module, config: TrainConfig) -> Iterator[Setting]:
    """Our samplers; a student is evaluated once per step, on half as large a batch."""
    schedule = Schedule.of(config)
    shape = digits().shape
    halves = 1 if getattr(net, "w_range", None) else 2

    def drawing(table: solvers.Table) -> Callable[[Any, Tensor], Tensor]:
        return lambda net, y: sample(net, y, table, shape=shape, w=W, seed=1, clip=1.0)

    for n in s.equal_steps:
        for name, table in (
            ("2M", solvers.dpmpp_2m(schedule, n)),
            ("DDIM", solvers.ddim(schedule, n)),
        ):
            yield Setting(project, f"{name}, {n} steps", net, drawing(table), halves * n)


def diffusers_settings(s: Sizes, net: nn.Module) -> Iterator[Setting]:
    """The schedulers of diffusers in the documented loop."""
    module = import_package("diffusers")
    K, shape = digits().num_classes, digits().shape

    def drawing(scheduler: Any, n: int) -> Callable[[Any, Tensor], Tensor]:
        @torch.no_grad()
        def draw(net: Any, y: Tensor) -> Tensor:
            scheduler.set_timesteps(n)
            x = torch.randn(len(y), *shape)
            labels = torch.cat([y, torch.full_like(y, K)])
            for t in scheduler.timesteps:
                cond, null = net(torch.cat([x, x]), t, class_labels=labels).sample.chunk(2)
                x = scheduler.step(null + (1 + W) * (cond - null), t, x).prev_sample
            return x

        return draw

    for n in s.equal_steps:
        for name, scheduler in (
            ("2M", module.DPMSolverMultistepScheduler(1000)),
            ("DDIM", module.DDIMScheduler(1000)),
            ("DDPM", module.DDPMScheduler(1000)),
        ):
            yield Setting("diffusers", f"{name}, {n} steps", net, drawing(scheduler, n), 2 * n)


def lucidrains_settings(s: Sizes, net: nn.Module) -> Iterator[Setting]:
    """The sampler of lucidrains, with 10 steps or more: its samples can be NaN with fewer."""
    module = lucidrains()
    side = digits().shape[1]

    def drawing(n: int) -> Callable[[Any, Tensor], Tensor]:
        return lambda net, y: lucidrains_sampler(module, net, side, n)(y, W)

    for n in s.equal_steps:
        if n >= 10 or n == max(s.equal_steps):
            yield Setting("lucidrains", f"DDIM, {n} steps", net, drawing(n), 2 * n)


def student_of(run: Run, s: Sizes) -> Run:
    """A student of our network, trained for half of the time; the teacher had the other half."""
    config = TrainConfig(data="digits", lr=1e-3)

    def start(steps: int) -> Iterator[Any]:
        return distill_steps(run.net, digits(), replace(config, steps=steps), w_range=(0.0, 2.0))

    with threads(1):
        state, steps, seconds = train_for(s.equal_seconds / 2, start)
    return Run(state.ema.module, run.draw, steps, seconds)


def pictures(setting: Setting, s: Sizes) -> Tensor:
    """The pictures of all labels in turn, `CHUNK` at a time."""
    y = torch.arange(s.pictures) % digits().num_classes
    return torch.cat([setting.draw(setting.net, part) for part in y.split(CHUNK)])


def scores_of(setting: Setting, s: Sizes) -> Scores:
    """The scores of a setting's pictures."""
    torch.manual_seed(1)  # the other projects draw from torch's global generator
    y = torch.arange(s.pictures) % digits().num_classes
    return evaluate(pictures(setting, s), y, digits_classifier(s.classifier_steps), digits())


def all_settings(s: Sizes) -> list[Setting]:
    """Every project's network, trained for equal time, with each solver and number of steps."""
    whole = replace(s, seconds=s.equal_seconds)
    half = replace(s, seconds=s.equal_seconds / 2)
    config = TrainConfig(data="digits")
    ours = run_ours(whole, 0)
    student = student_of(run_ours(half, 0), s)
    theirs = run_diffusers(whole, 0, TUNED["diffusers"])
    lucid = run_lucidrains(whole, 0, TUNED["lucidrains"])
    return [
        *our_settings(s, "ours", ours.net, config),
        *our_settings(s, "ours, student", student.net, config),
        *diffusers_settings(s, theirs.net.eval()),
        *lucidrains_settings(s, lucid.net.eval()),
    ]


def fastest(
    settings: list[tuple[Setting, Scores]], distance: float
) -> dict[str, tuple[Setting, Scores]]:
    """By project, the setting with the fewest evaluations whose distance is not above `distance`.

    Of two with as many evaluations, the one with the smaller distance. A project that does not
    reach the distance is left out.
    """
    chosen: dict[str, tuple[Setting, Scores]] = {}
    for setting, scores in sorted(
        settings, key=lambda each: (each[0].evaluations, each[1].frechet)
    ):
        if scores.frechet <= distance:
            chosen.setdefault(setting.project, (setting, scores))
    return chosen


def timed_ways(setting: Setting, s: Sizes) -> dict[str, Callable[[], object]]:
    """`CHUNK` pictures of a setting, plain and compiled, with one thread and torch's default."""
    ways: dict[str, Callable[[], object]] = {}

    def way(timed: Setting, n: int) -> Callable[[], object]:
        def run() -> None:
            with threads(n):
                pictures(timed, replace(s, pictures=CHUNK))

        return run

    compiled = [("", setting)]
    if s.compiled:
        net = copy.deepcopy(setting.net)
        net.compile()
        compiled.append((", compiled", replace(setting, net=net)))
    counts = {"1 thread": 1, f"{torch.get_num_threads()} threads": torch.get_num_threads()}
    for kind, timed in compiled:
        for name, n in counts.items():
            ways[f"{setting.project}{kind}, {name}"] = way(timed, n)
    return ways


def equal_distance(s: Sizes) -> Iterator[Comparison]:
    """Seconds for 1,000 pictures, each project with its fastest setting at the same distance."""
    scored = [(setting, scores_of(setting, s)) for setting in all_settings(s)]
    least: dict[str, float] = {}
    for setting, scores in scored:
        least[setting.project] = min(scores.frechet, least.get(setting.project, scores.frechet))
    distance = max(least["ours"], min(least["diffusers"], least["lucidrains"]))
    chosen = fastest(scored, distance)
    yield Comparison(
        "distance of few steps",
        f"digits, w = {W:g}, {s.equal_seconds:g} s of training, {s.pictures} samples",
        "Frechet",
        False,
        tuple(
            Result(
                f"{setting.project}: {setting.solver}",
                owner_of(setting.project),
                (scores.frechet,),
                f"+- {scores.frechet_se:.3f}",
            )
            for setting, scores in scored
        ),
        "none",
        DIFFERS[:2],
        "least of each: " + ", ".join(f"{name} {value:.3f}" for name, value in least.items()),
    )
    ways = {
        name: way for setting, _ in chosen.values() for name, way in timed_ways(setting, s).items()
    }
    plain = f", {torch.get_num_threads()} threads"
    results = []
    for name, times in interleaved(ways, s.repeats).items():
        project = next(p for p in sorted(chosen, key=len, reverse=True) if name.startswith(p))
        setting, scores = chosen[project]
        note = f"{setting.solver}: {scores.frechet:.3f} +- {scores.frechet_se:.3f}"
        tuned = name != project + plain or "student" in name
        seconds = tuple(s.pictures / CHUNK * each for each in times)
        results.append(Result(name, owner_of(name), seconds, note, tuned))
    yield Comparison(
        f"{s.pictures} pictures at equal distance",
        f"digits, w = {W:g}, {s.equal_seconds:g} s of training; Frechet distance at most "
        f"{distance:.3f}; steps of {s.equal_steps}",
        "s",
        False,
        tuple(results),
        "4 to diffusers",
        DIFFERS,
        "distances: "
        + "; ".join(f"{project} {each.frechet:.3f}" for project, (_, each) in chosen.items()),
    )
