"""The comparison with other projects: its statistics, its page, and every task once, tiny.

No time is asserted: what is tested is what is compared, what is said of it, and that it runs.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minicfg.bench import costs, equal_distance, peers, quality, speed, steps
from minicfg.bench.measure import (
    Comparison,
    Result,
    Sizes,
    fit_line,
    import_package,
    installed_version,
    interleaved,
    load_file,
    rates,
    ratio,
    require,
)
from minicfg.bench.networks import (
    Recipe,
    batches,
    constant_lucidrains,
    diffusers_sampler,
    diffusers_unet,
    ema_pytorch_update,
    lucidrains,
    lucidrains_sampler,
    lucidrains_unet,
    parameter_count,
    train_lucidrains,
)
from minicfg.cli.main import Bench
from minicfg.data import Dataset
from minicfg.errors import MachineError, UsageError
from minicfg.metrics.evaluate import Scores
from minicfg.unet import UNet

TINY = Sizes(
    side=8, batch=4, steps=3, train_batch=4, width=8, repeats=2, compiled=False,
    step_shape=(3, 8, 8), step_batch=2, points=500, drawn=20, product=64, seconds=0.1, seeds=1,
    samples=80, chain=50, classifier_steps=5, ws=(0.0, 1.0), train_steps=6, long_chain=4,
    few=(2, 3), grow_steps=(2, 3, 4), grow_batch=(1, 2, 3), grow_side=(8, 12, 16),
    grow_chain=(10, 20, 40), pictures=80, equal_seconds=0.2, equal_steps=(2, 10),
    equal_ws=(1.0, 0.0), student_steps=2,
)  # fmt: skip
OURS, THEIRS = Result("ours", "ours", (2.0, 9.0, 6.0)), Result("theirs", "theirs", (1.0, 3.0, 4.0))
theirs_warn = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_a_ratio_is_that_of_each_round_and_not_of_two_medians() -> None:
    """Rounds' ratios are 2, 3, 1.5; the medians' would be 6 / 3, too, but not their inverse."""
    found = ratio(OURS, THEIRS, more_is_better=True)
    assert (found.median, found.least, found.most) == (2.0, 1.5, 3.0)
    less = ratio(OURS, replace(THEIRS, values=(1.0, 3.0, 24.0)), more_is_better=False)
    assert (less.median, less.least, less.most) == (0.5, 1 / 3, 4.0)  # medians': 0.5 as well
    uneven = ratio(
        Result("a", "ours", (1.0, 10.0, 100.0)), Result("b", "theirs", (100.0, 1.0, 10.0)), True
    )
    assert uneven.median == 10.0  # the medians' ratio is 1
    assert (
        ratio(Result("a", "ours", (0.0,)), Result("b", "theirs", (1.0,)), False).median == math.inf
    )
    assert ratio(Result("a", "ours", (0.0,)), Result("b", "theirs", (0.0,)), False).median == 1.0
    with pytest.raises(UsageError, match="'ours' has 3 rounds and 'b' 1"):
        ratio(OURS, Result("b", "theirs", (1.0,)), True)


def test_ratios_are_plain_to_plain_and_best_to_best() -> None:
    fast = Result("ours, compiled", "ours", (20.0, 20.0, 20.0), tuned=True)
    slow = Result("theirs, compiled", "theirs", (0.1, 0.1, 0.1), tuned=True)
    bound = Result("bound", "bound", (99.0, 99.0, 99.0))
    c = Comparison("task", "what", "images/s", True, (OURS, fast, bound, THEIRS, slow))
    assert [(r.ours, r.theirs) for r in c.ratios()] == [
        ("ours", "theirs"),
        ("ours, compiled", "theirs, compiled"),
        ("ours, compiled", "theirs"),  # the best of theirs: their tuned way is slower
    ]
    plain = replace(c, results=(OURS, THEIRS, Result("other", "theirs", (7.0, 7.0, 7.0))))
    assert [r.theirs for r in plain.ratios()] == ["theirs", "other"]
    head = dict(zip(peers.HEAD, peers.row(plain), strict=True))
    assert head["theirs"] == "other 7" and head["at best"] == "-"  # the hardest one
    less = replace(plain, more_is_better=False)
    assert dict(zip(peers.HEAD, peers.row(less), strict=True))["theirs"] == "theirs 3"
    assert replace(c, results=(OURS,)).ratios() == []


def test_ways_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that the ways themselves turn: a takes 1 s, b 2, then twice as long each."""
    now, calls, speed = [0.0], [], [1.0]
    monkeypatch.setattr("minicfg.bench.measure.time.perf_counter", lambda: now[0])

    def way(name: str, cost: float) -> Callable[[], None]:
        def run() -> None:
            calls.append(name)
            now[0] += cost * speed[0]
            speed[0] = 2.0 if len(calls) >= 4 else 1.0

        return run

    found = interleaved({"a": way("a", 1.0), "b": way("b", 2.0)}, 2, min_seconds=0.01)
    assert "".join(calls) == "ab" + "abab"  # one call each to begin with, for they are slow
    assert found == {"a": (1.0, 2.0), "b": (2.0, 4.0)}
    calls.clear()
    quick = interleaved({"a": way("a", 0.0001)}, 3, min_seconds=0.001)
    assert len(calls) > 2 + 3 * 4 and len(quick["a"]) == 3  # several calls a round
    assert rates(32, (2.0, 4.0)) == (16.0, 8.0)
    with pytest.raises(UsageError, match="repeats = 0"):
        interleaved({}, 0)


def test_a_line_is_found_and_a_bend_is_told() -> None:
    a, b, off = fit_line([1.0, 2.0, 4.0], [5.0, 7.0, 11.0])
    assert (a, b) == pytest.approx((3, 2)) and off < 1e-12  # float64 algebra
    x = [1.0, 2.0, 4.0, 8.0]
    _, _, bent = fit_line(x, [v**2 for v in x])
    assert bent > 0.3
    a, b, _ = fit_line(x, [1.1, 1.9, 4.2, 7.9])
    design = np.stack([np.ones(4), x], 1) / np.array([1.1, 1.9, 4.2, 7.9])[:, None]
    assert (a, b) == pytest.approx(tuple(np.linalg.lstsq(design, np.ones(4), rcond=None)[0]))
    with pytest.raises(UsageError, match="the same number, 3 or more"):
        fit_line([1.0, 2.0], [1.0, 2.0])


def test_what_is_not_installed_is_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    said = r"no_such_package is not installed: run 'make \.venv/peers'"
    with pytest.raises(MachineError, match=said):
        require("no_such_package")
    with pytest.raises(MachineError, match=r"has no nothing\.py"):
        load_file("minicfg", "nothing")
    assert installed_version("no-such-package") == "not installed"
    assert import_package("json").dumps([]) == "[]"


def stand_in(s: Sizes) -> Iterator[Comparison]:
    """A task of no peer."""
    yield Comparison(
        "stand-in",
        f"{s.batch} things",
        "things/s",
        True,
        (OURS, THEIRS),
        "2 times",
        ("<not> equal",),
    )


def lacking(s: Sizes) -> Iterator[Comparison]:
    require("no_such_package")
    yield from ()


def broken(s: Sizes) -> Iterator[Comparison]:
    yield from stand_in(s)
    raise AttributeError("of a newer version\nand more")


def test_results_are_kept_as_json_and_as_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A task that lacks a package, or breaks, costs itself alone and is said to be skipped."""
    monkeypatch.setattr(peers, "TASKS", {"lacks": lacking, "breaks": broken, "stands in": stand_in})
    assert peers.bench_peers(tmp_path, ("lacks", "breaks", "stands in"), TINY) == 0
    said = json.loads((tmp_path / "peers.json").read_text())
    skipped = [c["skipped"] for c in said["comparisons"]]
    assert skipped[1] == skipped[3] == ""
    assert "no_such_package is not installed" in skipped[0]
    assert skipped[2] == "failed: AttributeError: of a newer version"
    assert said["comparisons"][3]["results"][0]["values"] == [2.0, 9.0, 6.0]
    assert said["comparisons"][3]["ratios"][0]["median"] == 2.0
    assert said["sizes"]["batch"] == TINY.batch
    assert {"processor", "threads", "torch", "diffusers", "load"} <= set(said["machine"])
    page = (tmp_path / "peers.html").read_text()
    assert "One comparison at a time" in page and "Guidance weight" not in page
    assert "&lt;not&gt; equal" in page and page.count("<figure") == 2
    out = capsys.readouterr().out
    assert re.search(r"ours against theirs: 2\.00 \(1\.50\.\.3\.00\) times better", out)
    with pytest.raises(UsageError, match="task = 'walk' is unknown: choose one of lacks, breaks"):
        peers.bench_peers(tmp_path, ("walk",))


@pytest.mark.parametrize("cpu", [True, False])
def test_a_gpu_is_taken_where_there_is_one(
    cpu: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the tasks of speed, on larger pictures; unless --cpu is given."""
    asked = list[tuple[str, str]]()

    def machine(device: str) -> dict[str, Any]:
        return {"on": device}

    def task(name: str) -> Callable[[Sizes], Iterator[Comparison]]:
        return lambda s: (asked.append((name, s.device)), stand_in(s))[1]

    monkeypatch.setattr(peers, "TASKS", {"speed": task("speed"), "quality": task("quality")})
    monkeypatch.setattr(peers, "GPU_TASKS", ("speed",))
    monkeypatch.setattr(peers, "machine", machine)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Bench(out=tmp_path, peers=True, cpu=cpu).run() == 0
    assert asked == ([("speed", "cpu"), ("quality", "cpu")] if cpu else [("speed", "cuda")])
    said = json.loads((tmp_path / "peers.json").read_text())
    assert said["machine"]["on"] == asked[0][1]
    assert said["sizes"]["side"] == (28 if cpu else 64)


def test_bars_go_from_the_least_to_the_most() -> None:
    c = next(stand_in(TINY))
    axes = peers.bar_chart(c).axes[0]
    assert [patch.get_width() for patch in axes.patches] == [6.0, 3.0]  # pyright: ignore
    whiskers = [segment[:, 0].tolist() for segment in axes.collections[0].get_segments()]  # pyright: ignore
    assert whiskers == [[2.0, 9.0]]


def test_batches_are_whole_epochs() -> None:
    x = torch.arange(10.0).reshape(10, 1, 1, 1) / 10
    data = Dataset(x, torch.arange(10), tuple("abcdefghij"), "ten")
    run = batches(data, 5, seed=0)
    first = torch.cat([next(run)[1], next(run)[1]])
    assert sorted(first.tolist()) == list(range(10))
    assert len(next(batches(data, 64, seed=0))[1]) == 64  # more than there are


def test_a_run_is_paced_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 10 ms by a clock of their own, which take twice as long once the trial is over."""
    now, runs = [0.0], list[int]()
    monkeypatch.setattr(quality.time, "perf_counter", lambda: now[0])

    def start(steps: int) -> Iterator[int]:
        runs.append(steps)
        for step in range(steps):
            now[0] += 0.01 * len(runs)
            yield step

    last, steps, seconds = quality.train_for(1.0, start)
    assert runs == [10_000, pytest.approx(100, abs=1)]
    assert steps == last + 1 and seconds == pytest.approx(1.1, abs=0.03)  # cut


@pytest.fixture(scope="module")
def lucid() -> Any:
    pytest.importorskip("einops", reason="the extra peers is not installed")
    try:
        return lucidrains()
    except MachineError as error:
        pytest.skip(str(error))


@pytest.mark.peers
@pytest.mark.slow
@theirs_warn
def test_networks_are_of_equal_size(lucid: Any) -> None:
    """Within 10 % of ours, at the sizes that are published: 28x28, then digits."""
    pytest.importorskip("diffusers", reason="the extra peers is not installed")
    ours, theirs, other, _ = speed.networks(Sizes())
    for net in (theirs, other):
        assert parameter_count(net) == pytest.approx(parameter_count(ours), rel=0.1)
    small = UNet(1, 10)
    for net in (lucidrains_unet(lucid, 12, (1, 2, 2), 10), diffusers_unet(8, (16, 32, 36), 4, 10)):
        assert parameter_count(net) == pytest.approx(parameter_count(small), rel=0.1)


@pytest.mark.peers
def test_a_still_network_is_asked_twice_and_mixed(lucid: Any) -> None:
    """The stand-in under lucidrains' own mix gives what its two halves give by hand."""
    out = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    net: Any = constant_lucidrains(lucid, out)
    x, t, y = torch.zeros(3, 1, 4, 4), torch.zeros(3).long(), torch.zeros(3).long()
    mixed, null = net.forward_with_cond_scale(
        x, t, y, cond_scale=3.0, remove_parallel_component=False
    )
    assert torch.equal(null, out[3:])
    torch.testing.assert_close(mixed, out[:3] + 2 * (out[:3] - out[3:]))


@pytest.mark.peers
@theirs_warn
def test_diffusers_w_of_zero_evaluates_the_conditional_half() -> None:
    """Half as many samples, and the pictures of a w that is almost 0.

    1e-6 of outputs of size 1, over 4 steps of the scheduler: 1e-4 is a hundred times its part.
    """
    pytest.importorskip("diffusers", reason="the extra peers is not installed")
    net = diffusers_unet(8, (16, 32, 36), 4, 10).eval()
    sizes: list[int] = []

    def counted(x: Any, t: Any, class_labels: Any) -> Any:
        sizes.append(len(x))
        return net(x, t, class_labels=class_labels)

    draw = diffusers_sampler(counted, 10, (1, 8, 8), 4, "DDIMScheduler")
    drawn: list[Any] = []
    for w in (0.0, 1e-6):
        torch.manual_seed(0)
        drawn.append(draw(torch.arange(3), w))
    assert sizes == [3] * 4 + [6] * 4
    torch.testing.assert_close(*drawn, rtol=0, atol=1e-4)


@pytest.mark.peers
def test_lucidrains_w_of_zero_is_its_conditional_model(lucid: Any) -> None:
    """At a `cond_scale` of 1 it fails; just beside it, the null half must not count.

    1e-6 of outputs of size 1, over 50 steps: 1e-4 is twice what comes of it if every step adds its
    part, and 3e-6 was measured. With 3 steps its samples are NaN on some processors, because the
    argument of a square root is smaller than the rounding of float32.
    """

    def draw(null: float) -> Tensor:
        out = torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        out[2:] = null
        torch.manual_seed(5)
        return lucidrains_sampler(lucid, constant_lucidrains(lucid, out), 4, 50)(
            torch.arange(2), 0.0
        )

    assert float(draw(0.0).abs().max()) <= 1
    torch.testing.assert_close(draw(0.0), draw(1.0), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_peaks_are_those_of_the_case_whatever_came_before() -> None:
    """In a child of a process that holds much; from large to small, where a maximum would stay."""
    held = b"x" * 2**28
    sizes = [replace(TINY, width=32, batch=batch, side=28, steps=2) for batch in (1, 64, 1)]
    cases = {f"{i}, {s.batch} images": (s, 1000) for i, s in enumerate(sizes)}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(costs.peak_memory, cases).result()
    del held
    first, most, last = (int(text.split()[0]) for text in found.values())
    assert first < 30 < 60 < most < 1000 and last < 30


@pytest.mark.exhaustive
@pytest.mark.peers
@pytest.mark.slow
def test_lucidrains_loop_learns(lucid: Any) -> None:
    """Its weights move, its loss falls below that of an answer of 0; an average comes later."""
    torch.manual_seed(0)
    net = lucidrains_unet(lucid, 8, (1,), 2)
    x = torch.full((8, 1, 4, 4), 0.5)
    data = Dataset(x, torch.arange(8) % 2, ("a", "b"), "flat")
    before = nn.utils.parameters_to_vector(net.parameters()).detach().clone()
    run = train_lucidrains(lucid, net, data, Recipe(8, 1e-2), 0)
    assert [next(run) for _ in range(99)][-1] is net
    state = [next(run) for _ in range(31)][-1]
    after = nn.utils.parameters_to_vector(net.parameters()).detach()
    assert state is not net and float((after - before).abs().max()) > 1e-3
    process = lucid.GaussianDiffusion(net, image_size=4)
    torch.manual_seed(1)
    losses = [float(process((x + 1) / 2, classes=data.y).detach()) for _ in range(10)]
    assert np.mean(losses) < 0.9


def test_the_peers_average_forgets_its_beginning_as_ema_pytorchs() -> None:
    """Its update at step 100 + 10 n keeps 1 - (1 + 10 n)^(-2/3), at most .995."""
    for n, kept in ((1, 0.797820), (10, 0.953891), (1000, 0.995)):
        averaged, current = [torch.ones(2)], [torch.zeros(2)]
        ema_pytorch_update(averaged, current, torch.tensor(n))
        torch.testing.assert_close(averaged[0], torch.full((2,), kept), rtol=0, atol=1e-5)


@pytest.mark.peers
@pytest.mark.slow
@theirs_warn
@pytest.mark.exhaustive(one_in=4)
@pytest.mark.parametrize("task", [task for task in peers.TASKS if task != "start"])
def test_every_task_runs(task: str, lucid: Any) -> None:
    """Each comparison has a bar of ours, positive figures, and as many rounds for each way."""
    pytest.importorskip("diffusers", reason="the extra peers is not installed")
    found = list(peers.TASKS[task](TINY))
    assert found
    for c in found:
        assert not c.skipped and c.what and c.unit and c.aim
        assert c.untuned("ours") and len({len(result.values) for result in c.results}) == 1
        assert all(v >= 0 and math.isfinite(v) for result in c.results for v in result.values)
        assert c.differs or task == "growth"  # a comparison of two that owns to no difference lies
        if c.task == "share of the peak":  # 2 operations for each of 64^3 multiplications
            assert c.results[-1].note == f"{2 * 64**3 / 1e9:.3g} Gflop per call"
        list(peers.lines(c))
        assert len(peers.row(c)) == len(peers.HEAD)


def test_a_start_is_a_process_that_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """With programs of no weight, in the place of the heavy ones."""
    monkeypatch.setattr(costs, "require", lambda *_: None)
    light = {way: ["-c", "pass"] for way in costs.PROGRAMS}
    monkeypatch.setattr(costs, "PROGRAMS", light)
    names, network = costs.start(TINY)
    assert [result.owner for result in names.results] == ["ours", "ours", "theirs", "bound"]
    assert [result.owner for result in network.results] == ["ours", "theirs", "bound", "bound"]
    monkeypatch.setitem(light, "import minicfg", ["-c", "import no_such_package"])
    with pytest.raises(MachineError, match=r"fails, so it is not timed: (.|\n)*no_such"):
        list(costs.start(TINY))


def test_steps_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("diffusers", reason="the extra peers is not installed")

    def wrong(x: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, None]:
        return x, None

    monkeypatch.setattr(steps, "guided_step", wrong)
    with pytest.raises(MachineError, match=r"the two steps differ by .*: not timed"):
        list(steps.one_step(TINY))
    module = sys.modules["diffusers.schedulers.scheduling_ddpm"]
    assert module.randn_tensor.__name__ == "randn_tensor"  # theirs is put back


def test_the_fastest_setting_of_a_project_reaches_the_distance() -> None:
    """Evaluations decide, then the distance; a project that does not reach it is left out."""

    def scored(project: str, evaluations: int, distance: float) -> Any:
        setting = equal_distance.Setting(project, "", torch.nn.Identity(), list, 1.0, evaluations)
        scores = dict.fromkeys((field.name for field in fields(Scores)), 0.0)
        return setting, Scores(**scores | {"frechet": distance, "n": 1})

    settings = [
        scored("ours", 20, 0.1),
        scored("ours", 8, 0.31),
        scored("ours", 8, 0.29),
        scored("ours", 6, 0.51),
        scored("a", 40, 0.5),
        scored("b", 2, 0.501),
    ]
    chosen = equal_distance.fastest(settings, 0.5)
    assert {
        project: (each.evaluations, score.frechet) for project, (each, score) in chosen.items()
    } == {
        "ours": (8, 0.29),
        "a": (40, 0.5),
    }


def test_every_size_of_the_tests_is_smaller() -> None:
    """So that a size added later is not forgotten here, where it would cost minutes."""
    full = Sizes()
    for field in fields(Sizes)[1:]:  # but for the device
        assert getattr(TINY, field.name) != getattr(full, field.name), field.name


TABLES = [
    ("README.md", "## Speed and quality", "tests/minicfg/peers.json", 4),
    ("kernels/results/peers.md", "# Beside other projects", "tests/minicfg/peers.json", 19),
    (
        "kernels/results/README.md",
        "## Other projects on the H100",
        "kernels/results/nvidia-h100-80gb-hbm3-peers.json",
        11,
    ),
]


@pytest.mark.parametrize(("text", "head", "measured", "n"), TABLES, ids=["README", "CPU", "GPU"])
def test_a_table_is_what_was_measured(text: str, head: str, measured: str, n: int) -> None:
    """Every ratio in it with its spread, and both figures beside it, are those of one run."""
    root = Path(__file__).parents[2]
    told = json.loads((root / measured).read_text())
    ratios, figures = set[str](), set[str]()
    for c in told["comparisons"]:
        ratios |= {f"{r['median']:.2f} ({r['least']:.2f}..{r['most']:.2f})" for r in c["ratios"]}
        figures |= {f"{np.median(bar['values']):.3g}" for bar in c["results"]}
    section = (root / text).read_text().split(head)[1].split("\n## ")[0]
    for name in ("diffusers", "denoising-diffusion-pytorch", "smalldiffusion"):
        named = re.search(rf"`{name}`\s{told['machine'][name]}", section)
        assert named or told["machine"].get("gpu"), name
    rows = [line for line in section.splitlines() if re.match(r"\|.*\(.*\.\..*\)", line)]
    assert len(rows) == n
    for row in rows:
        _, _, ours, theirs, times, *_ = (cell.strip() for cell in row.split("|"))
        assert times in ratios, times
        for number in (*ours.split()[-1:], theirs.split()[-1]):
            assert f"{float(number):.3g}" in figures, row
