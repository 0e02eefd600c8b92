"""The page to play with guidance: its numbers are those of the lessons, and no input breaks it.

The functions of the page run in Chromium, and NumPy computes the same from the same noise. Without
a Chromium, such as Debian's package `chromium`, only the file itself is tested.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels import philox
from notebooks.book import build
from tests.notebooks import chromium
from tutorial.step01_toy_data import GaussianMixture, pinwheel, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import score, x0_from
from tutorial.step12_trade_off import measure
from tutorial.step13_tilted import moments_on_grid, summary, tilted_on_grid
from tutorial.step14_modes import (
    CLASS_OF,
    ModesOracle,
    fraction_below,
    move_apart,
    tilted_fractions,
    two_modes,
)
from tutorial.step17_solvers import Table, ddim, ddpm, run
from tutorial.step18_dpmpp import dpmpp_2m
from tutorial.step20_weights import cfgpp, with_interval
from tutorial.step21_flow import euler, flow_schedule, velocity

ROOT = Path(__file__).parents[2]
PLAY = ROOT / "notebooks/book/play/index.html"
BROWSER = chromium.find()
TOLERANCE = 1e-6  # what is promised; the differences found are below 1e-8
SEED = 2**40 + 7  # both words of the key are used
COSINE = Schedule.cosine(1000)
FLOW = flow_schedule(1000)
N = 48

needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to run the page")


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Browser]:
    assert BROWSER is not None
    started = chromium.Browser(BROWSER)
    started.screen(1280, 800)
    yield started
    started.close()


@pytest.fixture
def page(browser: chromium.Browser) -> Iterator[chromium.Browser]:
    """The page with its first settings. It must end without a fault in the console."""
    browser.events.clear()
    browser.open(PLAY.as_uri())
    yield browser
    assert browser.events == []


# ---- The same settings in NumPy ----

POINTS = ((-1.5, 1.0, 0), (0.25, 1.5, 0), (1.0, 0.75, 0), (-0.5, 0.0, 1), (0.5, -1.0, 1))


@dataclass(frozen=True)
class Case:
    """Settings of the page, and what they mean in the lessons."""

    settings: dict[str, Any]
    data: GaussianMixture
    class_of: np.ndarray


def own_points() -> GaussianMixture:
    n = len(POINTS)
    means = np.array([point[:2] for point in POINTS])
    return GaussianMixture(means, np.tile(0.05 * np.eye(2), (n, 1, 1)), np.full(n, 1 / n))


CASES = {
    "three": Case({"data": "three", "y": 2}, three_gaussians(), np.arange(3)),
    "apart": Case({"data": "three", "c": 2.5}, move_apart(three_gaussians(), 2.5), np.arange(3)),
    "pinwheel": Case({"data": "pinwheel", "y": 1}, pinwheel(), np.arange(5)),
    "modes": Case({"data": "modes", "other": 0.5, "rare": 0.2}, two_modes(0.5, rare=0.2), CLASS_OF),
    "own": Case(
        {"data": "own", "points": ",".join(f"{x} {z} {k}" for x, z, k in POINTS)},
        own_points(),
        np.array([point[2] for point in POINTS]),
    ),
}  # fmt: skip


def with_steps(solver: str, steps: int) -> tuple[dict[str, Any], Schedule, Table]:
    """Settings of the page, and the lessons' schedule and table."""
    settings = {"solver": solver, "steps": steps}
    if solver == "ddim":
        return settings | {"eta": 0.4}, COSINE, ddim(COSINE, steps, 0.4)
    if solver == "interval":
        settings = settings | {"solver": "ancestral", "low": -2, "high": 3.5}
        return settings, COSINE, with_interval(ddpm(COSINE, steps), COSINE, -2.0, 3.5)
    if solver == "flow":
        return settings, FLOW, euler(FLOW, steps)
    make = {"ancestral": ddpm, "2m": dpmpp_2m, "cfgpp": cfgpp}[solver]
    return settings, COSINE, make(COSINE, steps)


@dataclass(frozen=True)
class Velocity:
    """The exact velocity, where a class may have several components."""

    eps: ModesOracle
    prediction: str = "velocity"

    @property
    def num_classes(self) -> int:
        return self.eps.num_classes

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray) -> np.ndarray:
        eps = self.eps(xt, t, y)
        return velocity(x0_from(eps, xt, t, self.eps.schedule), eps)


class Noise:
    """Draw k is that of step k of every sample, as in step 22."""

    step = -1

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        self.step += 1
        return philox.normal_numpy(SEED, np.arange(size[0]), self.step, size[1:])


def close(found: Any, expected: Any, scale: float = 1.0) -> float:
    """The largest difference, which must be below the tolerance."""
    difference = float(np.abs(np.array(found, float) - np.array(expected, float)).max())
    assert difference < TOLERANCE * scale
    return difference


# ---- Tests ----


def test_the_file_is_small_and_fetches_nothing() -> None:
    text = PLAY.read_text(encoding="utf-8")
    assert len(text.encode()) < 100_000
    assert build.remote_resources(PLAY.parent) == []
    assert "://" not in text and "default-src 'none'" in text
    assert [path.name for path in PLAY.parent.iterdir()] == ["index.html"]


def test_it_explains_itself_in_six_sentences() -> None:
    text = PLAY.read_text(encoding="utf-8")
    lead = text.partition("<header>")[2].partition("</header>")[0].partition("<p>")[2]
    assert lead.count(".") == 6


def test_the_readme_and_the_book_lead_to_it() -> None:
    assert "](notebooks/book/play/index.html)" in (ROOT / "README.md").read_text(encoding="utf-8")
    book = ROOT / "notebooks/book"
    assert "\nplay\n" in (book / "index.md").read_text(encoding="utf-8")
    assert 'href="play/index.html"' in (book / "play.md").read_text(encoding="utf-8")


@needs_browser
def test_the_noise_is_philox(page: chromium.Browser) -> None:
    script = """
    const z = [0, 0], found = [];
    for (const [sample, draw] of args[1]) {
      Lessons.normals(args[0], sample, draw, z, 0);
      found.push([...z]);
    }
    return found;
    """
    ids = np.array([*range(4000), 2**31, 2**32 - 1])
    for draw in (0, 1, 1000):
        found = page.run(script, SEED, [(int(i), draw) for i in ids])
        expected = philox.normal_numpy(SEED, ids, draw, (2,))
        # The 2^-33 of the uniform numbers matters only for small ones, and there by about 1e-8.
        close(found, expected, scale=1e-6)


@needs_browser
def test_schedules_and_data(page: chromium.Browser) -> None:
    for schedule, name in ((COSINE, "cosine"), (FLOW, "flowSchedule")):
        found = page.run(f"return Array.from(Lessons.{name}(1000).alphaBar)")
        close(found, schedule.alpha_bar)
    for case in CASES.values():
        found = page.run("return Page.dataOf(Page.cleaned(args[0]))", case.settings)
        close(found["means"], case.data.means)
        close(found["covs"], case.data.covs[:, [0, 0, 1], [0, 1, 1]])
        close(found["weights"], case.data.weights)
        assert found["classOf"] == case.class_of.tolist()
        m, S = case.data.moments()
        all_data = page.run("const d = args[0]; return Lessons.moments(d, d.K)", found)
        close(all_data["m"], m)
        close(all_data["S"], [S[0, 0], S[0, 1], S[1, 1]])


@needs_browser
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("unit", ["eps", "velocity", "score"])
def test_scores_and_outputs(page: chromium.Browser, name: str, unit: str) -> None:
    case = CASES[name]
    schedule = FLOW if unit == "velocity" else COSINE
    oracle = ModesOracle(case.data, case.class_of, schedule)
    y = int(case.settings.get("y", 0))
    x = 3 * philox.normal_numpy(SEED, np.arange(N), 0, (2,))
    x[0] = (30, -40)  # where every density is 0
    script = """
    const [settings, abar, unit, y, x] = args;
    const data = Page.dataOf(Page.cleaned(settings));
    const level = Lessons.levelOf(data, abar, unit === "score" ? "eps" : unit);
    const compute = unit === "score" ? Lessons.scores : Lessons.outputs, out = new Float64Array(6);
    return x.map(([a, b]) => Array.from(compute(level, y, a, b, out)).slice(0, 4));
    """
    for t in (1, 20, 500, 999, 1000):
        abar = float(schedule.alpha_bar[t])
        found = np.array(page.run(script, case.settings, abar, unit, y, x.tolist()))
        model = oracle if unit != "velocity" else Velocity(oracle)
        for columns, label in ((found[:, :2], y), (found[:, 2:], model.num_classes)):
            labels = np.full(N, label)
            if unit != "score":
                close(columns, model(x, t, labels))
            elif name not in ("modes", "own"):
                close(columns, score(x, t, labels, case.data, schedule))


@needs_browser
def test_scores_of_components_whose_covariances_differ(page: chromium.Browser) -> None:
    """In each data set of the page all determinants agree, so a factor of them would not show."""
    means = np.array([[1.0, 0.5], [-1.0, 0.0], [0.0, -2.0]])
    covs = np.array([[[1.0, 0.3], [0.3, 0.5]], [[0.1, 0.0], [0.0, 0.3]], [[0.2, 0.1], [0.1, 0.2]]])
    data = GaussianMixture(means, covs, np.array([0.5, 0.2, 0.3]))
    class_of = np.array([0, 1, 0])
    x = 2 * philox.normal_numpy(SEED, np.arange(N), 0, (2,))
    script = """
    const [means, covs, weights, classOf, abar, x] = args;
    const level = Lessons.levelOf(Lessons.mixture(means, covs, weights, classOf), abar);
    return x.map(([a, b]) => Array.from(Lessons.outputs(level, 0, a, b, new Float64Array(6))));
    """
    given = means.tolist(), covs[:, [0, 0, 1], [0, 1, 1]].tolist(), data.weights.tolist(), [0, 1, 0]
    for t in (20, 500):
        found = np.array(page.run(script, *given, float(COSINE.alpha_bar[t]), x.tolist()))
        oracle = ModesOracle(data, class_of, COSINE)
        close(found[:, :2], oracle(x, t, np.full(N, 0)))
        close(found[:, 2:4], oracle(x, t, np.full(N, 2)))


SOLVERS = ("ancestral", "ddim", "2m", "cfgpp", "flow", "interval")
ROWS = """
const { schedule, table } = Page.solverOf(Page.cleaned(args[0]));
return [Array.from(table.t), Array.from(table.s), Array.from(table.rows)];
"""


@needs_browser
@pytest.mark.parametrize("solver", SOLVERS)
def test_rows(page: chromium.Browser, solver: str) -> None:
    for steps in (1, 2, 3, 50, 499, 1000):
        settings, _, table = with_steps(solver, steps)
        t, s, rows = page.run(ROWS, settings)
        assert t == table.t.tolist() and s == table.s.tolist()
        # p and q are up to 20,291 in the first row, so they are compared relative to their size.
        size = np.maximum(np.abs(table.rows), 1)
        close(np.array(rows).reshape(-1, 8) / size, table.rows / size)


CHAIN = """
const [settings, seed, n] = args, s = Page.cleaned(settings), data = Page.dataOf(s);
const { schedule, table } = Page.solverOf(s);
return Array.from(Lessons.run(data, schedule, table, s.w, s.y, Lessons.starts(seed, n), seed));
"""


@needs_browser
@pytest.mark.exhaustive(one_in=4)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_whole_chains(page: chromium.Browser, solver: str, name: str) -> None:
    case = CASES[name]
    for steps in (1, 3, 20, 200) if name == "three" else (1, 3, 20):
        settings, schedule, table = with_steps(solver, steps)
        oracle = ModesOracle(case.data, case.class_of, schedule)
        model = Velocity(oracle) if solver == "flow" else oracle
        labels = np.full(N, int(case.settings.get("y", 0)))
        clip = float(page.run("return Lessons.CLIP"))
        for w in (-1.0, 0.0, 3.0) if solver != "cfgpp" else (-1.0, -0.4, 0.0):
            found = page.run(CHAIN, case.settings | settings | {"w": w}, SEED, N)
            expected = run(model, labels, table, w, Noise(), clip)
            close(np.array(found).reshape(N, 2), expected)


@needs_browser
def test_what_is_measured(page: chromium.Browser) -> None:
    case = CASES["pinwheel"]
    x = case.data.sample(500, np.random.default_rng(0))[0]
    found = page.run(
        "return Lessons.measure(Page.dataOf(Page.cleaned(args[0])), 1, args[1])",
        case.settings,
        x.ravel().tolist(),
    )
    R = measure(x, 1, case.data)[0]
    n = len(x)
    close(found["relevance"], [R.value, R.error * np.sqrt((n - 1) / n)])
    mean, cov = moments_on_grid(x, np.ones(n))
    close(found["mean"], mean)
    close(found["cov"], cov[[0, 0, 1], [0, 1, 1]])
    close(found["spread"][0], np.trace(cov))
    # Turned so that the class is at the top, the overshoot is the height of step 13 less 1.2.
    angle = np.pi / 2 - 2 * np.pi / 5
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    height = summary(x @ turn.T)[0]
    close(found["overshoot"], height - [1.2, 0])
    close(found["rare"][0], (x[:, 0] < 0).mean())


@needs_browser
@pytest.mark.parametrize("w", [-0.5, 0.0, 1.0, 7.0])
def test_the_tilted_distribution(page: chromium.Browser, w: float) -> None:
    script = """
    const data = Page.dataOf(Page.cleaned(args[0]));
    const grid = Lessons.gridOf(data, 0, [-5, 5, -5, 5], 161);
    const p = Lessons.tiltedOnGrid(grid, args[1]), { mean, cov, relevance } =
      Lessons.measure(data, 0, grid.x, p);
    return [mean, cov, relevance[0], Lessons.rareOnGrid(grid, p), p[80 * 161 + 70]];
    """
    data = three_gaussians()
    mean, cov, relevance, _, one = page.run(script, {"data": "three"}, w)
    points, probability = tilted_on_grid(data, 0, w, 5.0, 161)
    expected_mean, expected_cov = moments_on_grid(points, probability)
    close(mean, expected_mean)
    close(cov, expected_cov[[0, 0, 1], [0, 1, 1]])
    close(relevance, probability @ np.exp(data.log_class_probability(points)[:, 0]))
    close(one, probability[80 * 161 + 70])
    if w >= 0:
        rare = page.run(script, {"data": "modes", "other": 0.5}, w)[3]
        close(rare, tilted_fractions(two_modes(0.5), CLASS_OF, 0, w, 5.0, 161)[1])


@needs_browser
def test_the_table_of_the_page_shows_the_tilted_distribution_of_step_13(
    page: chromium.Browser,
) -> None:
    """The page takes another grid; both reach six standard deviations from the class."""
    for w in (0.0, 3.0, 16.0):
        shown = settled(page, {"w": w})
        points, probability = tilted_on_grid(three_gaussians(), 0, w, 5.0)
        mean, cov = moments_on_grid(points, probability)
        close(shown["tilted"]["overshoot"], mean[1] - 1.5)
        close(shown["tilted"]["spread"], np.trace(cov))


@needs_browser
def test_contours_of_a_gaussian_are_circles(page: chromium.Browser) -> None:
    """A fraction f of N(0, I / 4) lies within the radius sqrt(-2 log(1 - f)) / 2."""
    settled(page, {"w": 0})
    for name in ("classContours", "tiltedContours"):
        for paths, fraction in zip(
            page.run("return Page.shown.exact[args[0]]", name), (0.5, 0.9), strict=True
        ):
            assert len(paths) == 1
            x = np.array(paths[0]).reshape(-1, 2) - [0, 1.5]
            radius = np.sqrt(-2 * np.log(1 - fraction)) / 2
            # Half a cell of the grid, which is 6 / 140 wide.
            assert np.abs(np.hypot(*x.T) - radius).max() < 3 / 140
            assert np.allclose(x[0], x[-1])


@needs_browser
def test_the_fraction_of_the_rare_mode(page: chromium.Browser) -> None:
    schedule = Schedule.cosine(100)
    script = """
    const schedule = Lessons.cosine(100), table = Lessons.ddim(schedule, 100), [other, w] = args;
    return Lessons.fractionBelow(Lessons.twoModes(other), schedule, table, w, 0);
    """
    for other, w in ((0.0, 7.0), (4.0, 3.0)):
        model = ModesOracle(two_modes(other), CLASS_OF, schedule)
        # Both stop at an interval of 2e-5, which can end in another place after one rounding.
        close(page.run(script, other, w), fraction_below(model, 0, schedule, w), scale=20)


SETTLED = """
Page.change(args[0]);
for (let i = 0; i < 2000 && Page.busy; i++) await new Promise((done) => setTimeout(done, 10));
const { samples, limit, exact } = Page.shown;
const values = (of) => of && Object.fromEntries(
  ["relevance", "spread", "overshoot", "rare"].map((name) => [name, of[name] && of[name][0]]));
return { samples: values(samples), limit: values(limit), class: values(exact.ofClass),
  tilted: values(exact.ofTilted) };
"""


def settled(page: chromium.Browser, settings: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The four columns of the table once everything is computed."""
    found: dict[str, dict[str, float]] = page.run(SETTLED, settings)
    return found


@needs_browser
@pytest.mark.parametrize("solver", ["ddim", "2m", "cfgpp", "flow"])
def test_samples_agree_with_their_limit(page: chromium.Browser, solver: str) -> None:
    """Within four standard errors, in the units of the page's own table."""
    w = -0.4 if solver == "cfgpp" else 3
    for data in ("three", "pinwheel", "modes"):
        shown = settled(page, {"solver": solver, "steps": 40, "data": data, "w": w, "eta": 0})
        errors = page.run(
            "return Object.fromEntries(Object.entries(Page.shown.samples)"
            ".filter(([, v]) => v && v.length === 2).map(([k, v]) => [k, v[1]]))"
        )
        for name, value in shown["limit"].items():
            if value is not None:
                # The sum over starts has steps of 0.15, or 0.0225 across the border of two modes.
                away = abs(value - shown["samples"][name])
                assert away < 4 * errors.get(name, 0) + 0.002, (data, name)


@needs_browser
@pytest.mark.slow
def test_the_surprises_are_what_their_texts_say(page: chromium.Browser) -> None:
    presets = page.run("return Page.presets")
    many = """
    const s = Page.cleaned(args[0]), data = Page.dataOf(s), { schedule, table } = Page.solverOf(s);
    const x = Lessons.run(data, schedule, table, s.w, 0, Lessons.starts(7, 20000), 7);
    return Lessons.measure(data, 0, x).spread[0];
    """
    spread = [page.run(many, presets[0][2] | {"w": w}) for w in (0, 8, 16)]
    assert [f"{v:.2f}" for v in spread] == ["0.52", "0.31", "0.32"]
    far = settled(page, {"solver": "ddim", "steps": 50, "eta": 0} | presets[1][2])
    assert f"{far['limit']['overshoot']:.2f} {far['tilted']['overshoot']:.2f}" == "0.87 0.03"
    modes = settled(page, presets[2][2])
    assert f"{modes['limit']['rare']:.2f}" == "0.91" and abs(modes["tilted"]["rare"] - 0.3) < 0.01
    more = [
        settled(page, presets[3][2] | {"steps": steps})["limit"]["overshoot"]
        for steps in (10, 50, 500)
    ]
    assert [f"{v:.2f}" for v in more] == ["0.26", "0.98", "2.73"]
    flow = settled(page, {"steps": 50} | presets[4][2])
    assert f"{flow['limit']['overshoot']:.2f}" == "0.87"
    texts = " ".join(text for _, text, _ in presets)
    for number in (
        "0.52 at w = 0, 0.31 at w = 8",
        "0.32 at w = 16",
        "0.87",
        "0.03",
        "91 %",
        "0.26",
        "0.98",
        "2.73",
    ):
        assert number in texts


@needs_browser
def test_a_link_carries_the_settings(page: chromium.Browser) -> None:
    settings = {"data": "own", "solver": "cfgpp", "w": -0.25, "steps": 12, "low": -3.5, "c": 1.25}
    settings |= {"points": "-1 1 0,0.5 -0.5 1", "seed": 12, "high": 4, "eta": 0.5, "rare": 0.1}
    link = page.run("Page.change(args[0]); return document.getElementById('link').value", settings)
    kept = page.run("return Page.settings")
    assert kept | settings == kept
    page.open(link)
    assert page.run("return Page.settings") == kept


WRONG = (
    "w=1e6", "w=-1e6", "w=1e308&data=pinwheel", "w=NaN&steps=x&eta=&c=Infinity", "steps=1",
    "steps=0", "steps=1e9", "steps=2.5&solver=2m", "eta=-3", "eta=7&w=50", "data=modes&rare=0",
    "data=modes&rare=1&w=8", "data=modes&rare=-2", "c=0", "c=0&data=pinwheel&w=1e6", "c=-1",
    "c=1e300", "low=5&high=-5", "data=own&points=none", "data=own&points=%00,x y z,1e999 2 0",
    "data=own&y=1&points=1 1 0", "data=own&c=0&points=1 1 0,2 2 1",
    "data=__proto__&solver=constructor", "y=99", "y=-1", "%E0%A4%A", "&&&=&=1",
    "w=16&solver=cfgpp&steps=500", "data=modes&other=2", "seed=-1", "seed=1e99",
    "solver=flow&steps=1&w=1e6", "data=modes&other=1e99&w=3",
)  # fmt: skip

# What must hold for all settings: every number is finite, and no text shows a failure.
WHOLE = """
for (let i = 0; i < 3000 && Page.busy; i++) await new Promise((done) => setTimeout(done, 10));
await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
const { chain } = Page.shown;
const inputs = [...document.querySelectorAll("input")].map((e) => e.value).join(" ");
const text = document.body.innerText + inputs;
return [Page.busy, chain.x.every(Number.isFinite), chain.states.every(Number.isFinite),
  (text.match(/NaN|Infinity|undefined|null [^)]/) || [null])[0], Page.settings];
"""


@needs_browser
@pytest.mark.slow
def test_wrong_settings_break_nothing(page: chromium.Browser) -> None:
    for settings in WRONG:
        page.run(
            "location.hash = args[0]; await new Promise((done) => setTimeout(done, 20))", settings
        )
        busy, finite, states, failure, kept = page.run(WHOLE)
        assert (busy, finite, states, failure) == (False, True, True, None), (settings, kept)
    assert page.events == []


# For args[0] milliseconds: another setting about every tenth of a second, by the controls, by the
# link or by the buttons, some of them absurd, while the page draws.
RANDOM = """
let state = args[1];
const random = () => (state = (state * 1103515245 + 12345) % 2 ** 31) / 2 ** 31;
const pick = (list) => list[Math.floor(random() * list.length)];
const end = performance.now() + args[0], found = [];
const extremes = ["1e6", "-1e6", "0", "1", "-1", "", "x", "1e308", "-0.4", "1e-300", "NaN", "0.5"];
let count = 0;
while (performance.now() < end) {
  count++;
  const places = "#f-weight input, #form input, #form select, #position";
  const controls = [...document.querySelectorAll(places)];
  const control = pick(controls), way = random();
  if (way < 0.55 && control.type === "range") {
    control.value = String(Number(control.min) + random() * (control.max - control.min));
    control.dispatchEvent(new Event("input", { bubbles: true }));
  } else if (way < 0.7 && control.type === "number") {
    control.value = pick(extremes);
    control.dispatchEvent(new Event("input", { bubbles: true }));
    control.dispatchEvent(new Event("change", { bubbles: true }));
  } else if (control.tagName === "SELECT") {
    control.value = pick([...control.options]).value;
    control.dispatchEvent(new Event("change", { bubbles: true }));
  } else if (way < 0.85) {
    const names = Object.keys(Page.settings);
    const values = [...extremes, "own", "modes", "flow", "1 1 0", "3"];
    location.hash = names.map((name) => `${name}=${pick(values)}`).join("&");
  } else pick([...document.querySelectorAll("button")].filter((b) => b.id !== "copy")).click();
  await new Promise((done) => setTimeout(done, 20 + 100 * random()));
  const { chain } = Page.shown || {};
  const text = document.body.innerText;
  if (chain && !chain.x.every(Number.isFinite)) found.push(JSON.stringify(Page.settings));
  const failure = text.match(/.*(NaN|Infinity|undefined).*/);
  if (failure) found.push(failure[0]);
}
return [count, found];
"""


@needs_browser
@pytest.mark.slow
@pytest.mark.exhaustive(one_in=10)
@pytest.mark.parametrize("seed", range(12))
def test_random_settings_break_nothing(page: chromium.Browser, seed: int) -> None:
    """Five seconds for each seed: a minute together."""
    count, found = page.run(RANDOM, 5000, seed + 1)
    assert count > 10 and found == []
    assert page.run(WHOLE)[1:4] == [True, True, None]


@needs_browser
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_nothing_is_wider_than_the_screen(browser: chromium.Browser, width: int) -> None:
    browser.screen(width, 844, touch=width < 500)
    for settings in ("", "#data=own", "#data=modes&w=1e6"):
        browser.open(PLAY.as_uri() + settings)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        small = browser.run(
            "const all = [...document.querySelectorAll('button, select, input')];"
            "const shown = all.filter((e) => e.offsetParent && e.type !== 'radio');"
            "return shown.filter((e) => e.getBoundingClientRect().height < 24).map((e) => e.id)"
        )
        assert small == []
    browser.screen(1280, 800)


@needs_browser
def test_points_are_drawn_by_finger_and_by_keyboard(browser: chromium.Browser) -> None:
    browser.screen(390, 844, touch=True)
    browser.open(PLAY.as_uri() + "#data=own&points=none")
    assert browser.run(WHOLE)[3] is None
    browser.run("document.getElementById('canvas').scrollIntoView({ block: 'start' })")
    x, y, side = browser.run(
        "const r = document.getElementById('canvas').getBoundingClientRect();"
        "return [r.x, r.y, r.width]"
    )
    browser.touch((x + side * 0.3, y + side * 0.3), (x + side * 0.7, y + side * 0.3))
    browser.run(WHOLE)
    drawn = browser.run("return Page.settings.points").split(",")
    assert len(drawn) == 2 and all(point.endswith(" 0") for point in drawn)
    browser.run("document.getElementById('canvas').focus()")
    browser.run("document.querySelector('input[name=brush][value=\"1\"]').checked = true")
    for _ in range(3):
        browser.press("ArrowLeft", 37)
    browser.press("Enter", 13)
    assert browser.run("return Page.settings.points").split(",")[2:] == ["-0.75 0 1"]
    browser.press("Delete", 46)
    assert browser.run("return Page.settings.points") == ",".join(drawn)
    browser.screen(1280, 800)
    assert browser.events == []


@needs_browser
@pytest.mark.slow
def test_a_frame_of_two_thousand_particles_takes_less_than_a_sixtieth_of_a_second(
    page: chromium.Browser,
) -> None:
    settled(page, {"data": "pinwheel", "steps": 100})
    script = """
    Page.timings.length = 0;
    document.getElementById("run").click();
    await new Promise((done) => setTimeout(done, 3000));
    return Page.timings.map(([ms]) => ms);
    """
    frames = page.run(script)
    # The median, because other programs may run on the same machine.
    assert len(frames) > 30 and np.median(frames) < 1000 / 60
    print(json.dumps({"frames": len(frames), "median": float(np.median(frames))}))
