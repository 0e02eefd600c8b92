"""Time for 1,000 guided pictures at a given Frechet distance, each project at its best.

A fast sampler is worth little if its samples are poor, and good samples may take long. So every
project draws 1,000 pictures of the same labels with each of its solvers, with several numbers of
steps and with several weights w. The given distance is the larger of two: the least of our network
(students do not count) and the least of any other project.
The setting of a project is the one with the fewest evaluations of the network that reaches this
distance, and only it is timed.

The question is asked twice: at w = 1, where the distance contains the diversity that guidance
removes, and with the weight that each project chooses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from minicfg import solvers
from minicfg.bench.measure import Comparison, Result, Sizes, interleaved
from minicfg.bench.networks import diffusers_sampler, lucidrains, lucidrains_sampler
from minicfg.bench.quality import (
    TUNED,
    digits,
    digits_classifier,
    run_diffusers,
    run_lucidrains,
    run_ours,
    train_for,
)
from minicfg.bench.speed import owner_of
from minicfg.config import TrainConfig
from minicfg.distillation import distill, distill_steps
from minicfg.metrics.evaluate import Scores, evaluate
from minicfg.sampling import sample
from minicfg.schedule import Schedule
from minicfg.threads import threads

W = 1.0  # the weight of the first comparison
W_RANGE = (0.0, 2.0)  # the weights for which the students are trained
CHUNK = 100  # pictures that are drawn at once
DIFFERS = (
    "All networks but the students train for the same time, with the settings that suited them "
    "best. The student has half of this time, and its teacher the other half. The long student is "
    "trained after that time, with our network of the whole time as its teacher, so it has had "
    "more training than any other. The time of training is not in the figures.",
    "Ours may use DPM-Solver++(2M) or DDIM, diffusers' DPMSolverMultistepScheduler (2M), "
    "DDIMScheduler or DDPMScheduler, and lucidrains' its DDIM with eta = 1. Frechet distance is "
    "computed with our classifier for all.",
    "At w = 0 ours and diffusers' evaluate the conditional half only. At other weights a student "
    "evaluates its network once per step, the others on both halves. Each way is timed "
    "with one thread and with torch's default, plain and compiled. All draw 100 pictures at a "
    "time; the time of one such draw is measured, and the figure is that of all pictures.",
)


@dataclass(frozen=True, eq=False)
class Setting:
    """A project's network with one solver and one w. `sampler(net)` is a function `draw(y, w)`.

    One draw evaluates `net` `evaluations` times, where both halves of a batch count as two.
    """

    project: str
    solver: str
    net: nn.Module
    sampler: Callable[[Any], Callable[[Tensor, float], Tensor]]
    w: float
    evaluations: int


def our_settings(s: Sizes, project: str, net: nn.Module, config: TrainConfig) -> Iterator[Setting]:
    """Our samplers. A student is evaluated on n samples per step, others on 2 n if w is not 0."""
    schedule = Schedule.of(config)
    shape = digits().shape
    is_student = getattr(net, "w_range", None) is not None

    def sampler(table: solvers.Table) -> Callable[[Any], Callable[[Tensor, float], Tensor]]:
        return lambda net: lambda y, w: sample(net, y, table, shape=shape, w=w, seed=1, clip=1.0)

    for n in s.equal_steps:
        for name, table in (
            ("2M", solvers.dpmpp_2m(schedule, n)),
            ("DDIM", solvers.ddim(schedule, n)),
        ):
            for w in s.equal_ws:
                halves = 1 if is_student or w == 0 else 2
                solver = f"{name}, {n} steps, w = {w:g}"
                yield Setting(project, solver, net, sampler(table), w, halves * n)


def diffusers_settings(s: Sizes, net: nn.Module) -> Iterator[Setting]:
    """The schedulers of diffusers in the documented loop."""
    K, shape = digits().num_classes, digits().shape
    schedulers = {
        "2M": "DPMSolverMultistepScheduler",
        "DDIM": "DDIMScheduler",
        "DDPM": "DDPMScheduler",
    }

    for n in s.equal_steps:
        for name, scheduler in schedulers.items():
            sampler = partial(diffusers_sampler, K=K, shape=shape, steps=n, name=scheduler)
            for w in s.equal_ws:
                halves = 1 if w == 0 else 2
                solver = f"{name}, {n} steps, w = {w:g}"
                yield Setting("diffusers", solver, net, sampler, w, halves * n)


def lucidrains_settings(s: Sizes, net: nn.Module) -> Iterator[Setting]:
    """The sampler of lucidrains, with 10 steps or more: its samples can be NaN with fewer."""
    module = lucidrains()
    side = digits().shape[1]

    for n in s.equal_steps:
        if n >= 10:
            sampler = partial(lucidrains_sampler, module, side=side, steps=n)
            for w in s.equal_ws:  # it evaluates both halves at every w
                yield Setting("lucidrains", f"DDIM, {n} steps, w = {w:g}", net, sampler, w, 2 * n)


def student_of(teacher: nn.Module, s: Sizes) -> nn.Module:
    """A student of our network, trained for half of the time; the teacher had the other half."""
    config = TrainConfig(data="digits", lr=1e-3)

    def start(steps: int) -> Iterator[Any]:
        return distill_steps(teacher, digits(), replace(config, steps=steps), w_range=W_RANGE)

    with threads(1):
        state, _, _ = train_for(s.equal_seconds / 2, start)
    return state.ema.module


def long_student_of(teacher: nn.Module, s: Sizes) -> nn.Module:
    """A student that is trained for `student_steps` steps, however long they take."""
    config = TrainConfig(data="digits", lr=1e-3, steps=s.student_steps)
    with threads(1):
        return distill(teacher, digits(), config, w_range=W_RANGE).ema.module


def pictures(draw: Callable[[Tensor, float], Tensor], n: int, w: float) -> Tensor:
    """`n` pictures of all labels in turn, `CHUNK` at a time."""
    y = torch.arange(n) % digits().num_classes
    return torch.cat([draw(part, w) for part in y.split(CHUNK)])


def scores_of(setting: Setting, s: Sizes) -> Scores:
    """The scores of a setting's pictures."""
    torch.manual_seed(1)  # the other projects draw from torch's global generator
    y = torch.arange(s.pictures) % digits().num_classes
    x = pictures(setting.sampler(setting.net), s.pictures, setting.w)
    return evaluate(x, y, digits_classifier(s.classifier_steps), digits())


def all_settings(s: Sizes) -> list[Setting]:
    """Every project's network with each solver, number of steps and weight.

    All are trained for equal time but the long student.
    """
    whole = replace(s, seconds=s.equal_seconds)
    half = replace(s, seconds=s.equal_seconds / 2)
    config = TrainConfig(data="digits")
    ours = run_ours(whole, 0)
    student = student_of(run_ours(half, 0).net, s)
    theirs = run_diffusers(whole, 0, TUNED["diffusers"])
    lucid = run_lucidrains(whole, 0, TUNED["lucidrains"])
    return [
        *our_settings(s, "ours", ours.net, config),
        *our_settings(s, "ours, student", student, config),
        *our_settings(s, "ours, long student", long_student_of(ours.net, s), config),
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

    def way(net: nn.Module, n: int) -> Callable[[], object]:
        draw = setting.sampler(net)

        def run() -> None:
            with threads(n):
                pictures(draw, CHUNK, setting.w)

        return run

    networks = {"": setting.net}
    if s.compiled:
        networks[", compiled"] = copy.deepcopy(setting.net)
        networks[", compiled"].compile()
    counts = {"1 thread": 1, f"{torch.get_num_threads()} threads": torch.get_num_threads()}
    for kind, net in networks.items():
        for name, n in counts.items():
            ways[f"{setting.project}{kind}, {name}"] = way(net, n)
    return ways


def least_distances(
    scored: list[tuple[Setting, Scores]],
) -> dict[str, tuple[Setting, Scores]]:
    """By project, the setting with the least distance."""
    least: dict[str, tuple[Setting, Scores]] = {}
    for setting, scores in sorted(scored, key=lambda each: each[1].frechet):
        least.setdefault(setting.project, (setting, scores))
    return least


def equal_distance(s: Sizes) -> Iterator[Comparison]:
    """Seconds for 1,000 pictures, with the fewest evaluations that reach the given distance."""
    scored = [(setting, scores_of(setting, s)) for setting in all_settings(s)]
    yield from compare_at(f"w = {W:g}", [each for each in scored if each[0].w == W], s)
    yield from compare_at(f"w out of {s.equal_ws}", scored, s)


def compare_at(which: str, scored: list[tuple[Setting, Scores]], s: Sizes) -> Iterator[Comparison]:
    """The least distance of each project, and the time of each at the given distance."""
    least = least_distances(scored)
    of = {project: scores.frechet for project, (_, scores) in least.items()}
    theirs = min(value for project, value in of.items() if owner_of(project) == "theirs")
    distance = max(of["ours"], theirs)
    what = f"digits, {which}, {s.equal_seconds:g} s of training"
    yield Comparison(
        f"least distance with {which}",
        f"{what}, {s.pictures} samples; steps of {s.equal_steps}",
        "Frechet",
        False,
        tuple(
            Result(
                project,
                owner_of(project),
                (scores.frechet,),
                f"{setting.solver}; +- {scores.frechet_se:.3f}",
                "student" in project,
            )
            for project, (setting, scores) in least.items()
        ),
        "none",
        DIFFERS[:2],
    )
    chosen = fastest(scored, distance)
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
        f"{s.pictures} pictures at equal distance with {which}",
        f"{what}; Frechet distance at most {distance:.3f}; steps of {s.equal_steps}",
        "s",
        False,
        tuple(results),
        "4 to diffusers",
        DIFFERS,
        "distances: "
        + "; ".join(f"{project} {each.frechet:.3f}" for project, (_, each) in chosen.items()),
    )
