"""Step 14, part 2: DDIM with the true x_0, whose every law is known, then with the oracle's guess.

Statistical tests name their rate of false alarms, 1e-6 a comparison (8.10).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import kstest

import tutorial.step14_ddim as lesson
from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step07_oracle import oracle_eps
from tutorial.step08_sampling import dkw_bound
from tutorial.step10_guidance import guide
from tutorial.step14_ddim import chain_var, ddim, heights, run_with_stale_eps
from tutorial.step14_dpmpp import dpmpp_2m
from tutorial.step14_rows import Table, ddpm, run, run_steps

SCHEDULE = Schedule.linear(20)
COSINE = Schedule.cosine(1000)
ETAS = [0.0, 0.3, 0.5, 1.0]
X0 = np.array([1.5, -0.7])
ALGEBRA = 1e-11  # float64, some dozens of steps of operations of order one to a hundred
N = 20_000
ALARM = 1e-6


@dataclass
class Given:
    """Noise that is given: `draws[k]` answers the k-th question, zeros where nothing is given."""

    draws: dict[int, np.ndarray] = field(default_factory=dict)
    asked: int = 0

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        self.asked += 1
        return self.draws.get(self.asked - 1, np.zeros(size))


@dataclass
class Marginal:
    """Random noise whose first draw is turned into an x_T of the marginal (3.1) around X0."""

    schedule: Schedule
    rng: np.random.Generator
    started: bool = False

    def standard_normal(self, size: tuple[int, ...], /) -> np.ndarray:
        z = self.rng.standard_normal(size)
        if self.started:
            return z
        self.started, abar = True, self.schedule.alpha_bar[-1]
        return np.sqrt(abar) * X0 + np.sqrt(1 - abar) * z


@dataclass
class Truth:
    """A network that knows the data: x_0 is X0, whatever it is asked."""

    num_classes: int = 1
    prediction: str = "x0"

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        return np.zeros_like(xt) + X0


def one_class(var: float) -> GaussianMixture:
    return GaussianMixture(np.array([[0.8, -0.4]]), var * np.eye(2)[None], np.ones(1))


def abars(table: Table, schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    return schedule.alpha_bar[table.t], schedule.alpha_bar[table.s]


def impulses(n: int) -> dict[int, np.ndarray]:
    """Row 0 sees no noise, row 1 + k a 1 in draw k: with the first of the two axes, responses."""
    draws = {k: np.zeros((n + 2, 2)) for k in range(n + 1)}
    for k, draw in draws.items():
        draw[1 + k] = 1.0
    return draws


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("steps", [20, 6, 1])
def test_14_6_by_noise_that_is_known(eta: float, steps: int) -> None:
    """x_t is made of X0 and a known eps; the row has to find that eps, and put in fresh z."""
    table = ddim(SCHEDULE, steps, eta, "x0")
    rng = np.random.default_rng(0)
    abar_t, abar_s = abars(table, SCHEDULE)
    for k, row in enumerate(table.rows):
        eps, z = rng.standard_normal((2, 5, 2))
        xt = np.sqrt(abar_t[k]) * X0 + np.sqrt(1 - abar_t[k]) * eps
        c = row[4]
        wanted = np.sqrt(abar_s[k]) * X0 + np.sqrt(max(1 - abar_s[k] - c**2, 0)) * eps + c * z
        one = Table(table.t[k : k + 1], table.s[k : k + 1], row[None])
        found = run(Truth(), np.zeros(5, int), one, 0.0, Given({0: xt, 1: z}))
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_14_6_by_regression() -> None:
    """Chains with the true x_0: x_6 on x_13, given x_0, has slope b and residual variance c^2.

    20,000 chains of two axes each, seed 1; 5 standard errors.
    """
    table = ddim(SCHEDULE, [20, 13, 6], 0.5, "x0")
    path = dict(
        run_steps(
            Truth(), np.zeros(N, int), table, 0.0, Marginal(SCHEDULE, np.random.default_rng(1))
        )
    )
    late, early = ((path[t] - np.sqrt(SCHEDULE.alpha_bar[t]) * X0).ravel() for t in (13, 6))
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    c2 = 0.25 * (1 - abar_t / abar_s) * (1 - abar_s) / (1 - abar_t)
    slope = (late @ early) / (late @ late)
    left = ((early - slope * late) ** 2).mean()
    b = np.sqrt((1 - abar_s - c2) / (1 - abar_t))
    assert slope == pytest.approx(b, abs=5 * np.sqrt(left / (late @ late)))
    assert left == pytest.approx(c2, abs=5 * c2 * np.sqrt(2 / late.size))


@pytest.mark.parametrize("eta", ETAS)
def test_14_7_by_the_networks_own_eps(eta: float) -> None:
    """Unclipped, the noise left by the guess is what an eps-network said: the paper's eq. 12."""
    model = oracle_eps(three_gaussians(), SCHEDULE)
    y = np.array([0, 1, 2, 3])
    table = ddim(SCHEDULE, 7, eta)
    rng = np.random.default_rng(2)
    xt = rng.standard_normal((4, 2))
    draws = {0: xt}
    for k, (abar_t, abar_s) in enumerate(zip(*abars(table, SCHEDULE), strict=True)):
        eps = model(xt, int(table.t[k]), y)
        z = rng.standard_normal((4, 2))
        c = table.rows[k, 4]
        x0 = (xt - np.sqrt(1 - abar_t) * eps) / np.sqrt(abar_t)
        xt = np.sqrt(abar_s) * x0 + np.sqrt(max(1 - abar_s - c**2, 0)) * eps + c * z
        draws[k + 1] = z
    np.testing.assert_allclose(run(model, y, table, 0.0, Given(draws)), xt, atol=ALGEBRA)


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_14_7_by_laws_of_what_is_left(eta: float) -> None:
    """With the true x_0 what is left of x_t is N(0, I) at each t; seed 3."""
    table = ddim(SCHEDULE, 4, eta, "x0")
    noise = Marginal(SCHEDULE, np.random.default_rng(3))
    for t, x in run_steps(Truth(), np.zeros(N, int), table, 0.0, noise):
        if t > 0:
            abar = SCHEDULE.alpha_bar[t]
            eps = (x - np.sqrt(abar) * X0) / np.sqrt(1 - abar)
            for u in ([1, 0], [0, 1], [0.6, 0.8]):
                assert kstest(eps @ u, "norm").statistic < dkw_bound(N, ALARM)


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("steps", [20, 6])
def test_14_8_by_impulses(eta: float, steps: int) -> None:
    """Each draw's response, squared and summed: at every t the variance is 1 - abar_t, exactly."""
    table = ddim(SCHEDULE, steps, eta, "x0")
    draws = impulses(steps)
    start = SCHEDULE.alpha_bar[-1]
    draws[0] = np.sqrt(start) * X0 + np.sqrt(1 - start) * draws[0]
    for t, x in run_steps(Truth(), np.zeros(steps + 2, int), table, 0.0, Given(draws)):
        abar = SCHEDULE.alpha_bar[t]
        np.testing.assert_allclose(x[0], np.sqrt(abar) * X0, atol=1e-13)
        np.testing.assert_allclose(((x[1:] - x[0]) ** 2).sum(0), 1 - abar, atol=1e-13)


@pytest.mark.parametrize("eta", ETAS)
def test_14_8_by_laws_of_two_times(eta: float) -> None:
    """Given x_0 they covary by sqrt(alpha_{t|s}) (1 - abar_s), as if noised, at eta = 1 only.

    Both times' own laws being right, that is all there is to a Markov chain from x_0 to x_s to x_t.
    """
    table = ddim(SCHEDULE, [13, 6], eta, "x0")
    draws = impulses(2)
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    draws[0] = np.sqrt(1 - abar_t) * draws[0]
    path = dict(run_steps(Truth(), np.zeros(4, int), table, 0.0, Given(draws)))
    late, early = ((path[t][1:] - path[t][0])[:, 0] for t in (13, 6))
    forward = np.sqrt(abar_t / abar_s) * (1 - abar_s)
    assert (late @ early == pytest.approx(forward, abs=1e-13)) == (eta == 1)


def test_14_8_by_simulation() -> None:
    """20,000 chains, seed 4, against (3.1) at each t of four; and what a wrong c or b makes of it.

    The wrong ones: fresh noise on top of all the old (b of eta = 0), and a variance for a c.
    """
    right = ddim(SCHEDULE, 4, 0.7, "x0")
    on_top = right.rows.copy()
    squared = right.rows.copy()
    on_top[:, 2:4] = ddim(SCHEDULE, 4, 0.0, "x0").rows[:, 2:4]
    squared[:, 4] **= 2
    for rows, wrong in ((right.rows, False), (on_top, True), (squared, True)):
        table = Table(right.t, right.s, rows)
        noise = Marginal(SCHEDULE, np.random.default_rng(4))
        refused = False
        for t, x in run_steps(Truth(), np.zeros(N, int), table, 0.0, noise):
            abar = SCHEDULE.alpha_bar[t]
            along = np.array([0.6, 0.8])
            if t > 0:
                law = (np.sqrt(abar) * X0 @ along, np.sqrt(1 - abar))
                refused |= kstest(x @ along, "norm", law).statistic > dkw_bound(N, ALARM)
        assert refused == wrong


def test_14_8_by_quadrature() -> None:
    """The density of x_s, as a sum over x_t of (14.6) times (3.1), on a grid of step 0.01."""
    _, _, a, b, c, *_ = ddim(SCHEDULE, [13, 6], 0.6).rows[0]
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    grid = np.arange(-8, 8, 0.01)
    x0 = 1.5

    def normal(x: np.ndarray, m: np.ndarray | float, v: float) -> np.ndarray:
        return np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)

    p_t = normal(grid, np.sqrt(abar_t) * x0, 1 - abar_t)
    xs = np.linspace(-2, 4, 13)
    p_s = normal(xs[:, None], a * x0 + b * grid, c**2) @ p_t * 0.01
    # The narrowest factor has a deviation of 0.2, twenty steps: the sum is exact to rounding.
    np.testing.assert_allclose(p_s, normal(xs, np.sqrt(abar_s) * x0, 1 - abar_s), atol=1e-12)


@pytest.mark.parametrize("eta", ETAS)
def test_14_9_by_posterior_of_step_4(eta: float) -> None:
    for row, t in zip(ddim(SCHEDULE, None, eta).rows, range(20, 0, -1), strict=True):
        deviation = np.sqrt(posterior_coefficients(t, SCHEDULE)[2])
        assert row[4] == pytest.approx(eta * deviation, abs=1e-14)


@pytest.mark.parametrize("steps", [7, 3])
def test_14_9_by_precisions(steps: int) -> None:
    """1 / c^2 at eta = 1 is what x_t says of x_s and what x_0 says of it, together (4.4)."""
    table = ddim(COSINE, steps, 1.0)
    abar_t, abar_s = (a[:-1] for a in abars(table, COSINE))  # the last c is 0
    keep = abar_t / abar_s
    both = keep / (1 - keep) + 1 / (1 - abar_s)
    np.testing.assert_allclose(table.rows[:-1, 4], both**-0.5, rtol=1e-11)
    half = ddim(COSINE, steps, 0.25).rows[:-1, 4]
    np.testing.assert_allclose(half, both**-0.5 / 4, rtol=1e-11)


@pytest.mark.parametrize("eta", ETAS)
def test_14_10_by_fractions(eta: float) -> None:
    """What is left of 1 - abar_s beside c^2, in exact arithmetic from the schedule's numbers."""
    table = ddim(COSINE, 12, eta)
    for row, t, s in zip(table.rows, table.t, table.s, strict=True):
        abar_t, abar_s = (Fraction(float(COSINE.alpha_bar[u])) for u in (t, s))
        c2 = Fraction(eta) ** 2 * (1 - abar_t / abar_s) * (1 - abar_s) / (1 - abar_t)
        b2 = float((1 - abar_s - c2) / (1 - abar_t))
        assert row[3] ** 2 == pytest.approx(b2, rel=1e-10, abs=1e-30)


@pytest.mark.parametrize("eta", ETAS)
def test_14_10_by_response_to_the_start(eta: float) -> None:
    """With the true x_0, a unit of x_t becomes b units of x_s; so b^2 of its variance, and c^2."""
    table = ddim(SCHEDULE, [13, 6], eta, "x0")
    draws = impulses(2)
    path = dict(run_steps(Truth(), np.zeros(4, int), table, 0.0, Given(draws)))
    of_start, of_fresh = (path[6][1:3] - path[6][0])[:, 0]
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    assert of_start**2 * (1 - abar_t) + of_fresh**2 == pytest.approx(1 - abar_s, abs=1e-14)


@pytest.mark.parametrize("eta", ETAS)
def test_14_11_by_data_without_noise(eta: float) -> None:
    """If there is no noise in x_T, and none is drawn, every x_t is the data, scaled."""
    start = Given({0: np.sqrt(SCHEDULE.alpha_bar[-1]) * X0[None]})
    for t, x in run_steps(Truth(), np.zeros(1, int), ddim(SCHEDULE, 7, eta, "x0"), 0.0, start):
        np.testing.assert_allclose(x[0], np.sqrt(SCHEDULE.alpha_bar[t]) * X0, atol=1e-14)


def test_14_11_by_posterior_of_step_4() -> None:
    for row, t in zip(ddim(SCHEDULE, None, 1.0).rows, range(20, 0, -1), strict=True):
        # A difference of numbers of order one, where step 4 has a product.
        assert row[2] == pytest.approx(posterior_coefficients(t, SCHEDULE)[0], abs=1e-13)


@pytest.mark.parametrize("schedule", [SCHEDULE, COSINE, Schedule.linear(1000)])
@pytest.mark.parametrize("steps", [1, 2, 7, None])
def test_14_12_by_ancestral_rows(schedule: Schedule, steps: int | None) -> None:
    """eta = 1 is `ddpm`; 1e-12 is what a difference of numbers up to 1 leaves of a small `a`."""
    for prediction in ("eps", "x0", "v"):
        found = ddim(schedule, steps, 1.0, prediction).rows
        np.testing.assert_allclose(found, ddpm(schedule, steps, prediction).rows, atol=1e-12)


@pytest.mark.parametrize("eta", ETAS)
def test_14_12_by_a_mean_of_two_ends(eta: float) -> None:
    """b^2 at eta, between b^2 at 0 and at 1, at eta^2 of the way; all by (14.10)."""
    abar_t, abar_s = abars(ddim(SCHEDULE, 7), SCHEDULE)
    c = np.array([ddim(SCHEDULE, 7, e).rows[:, 4] for e in (0.0, eta, 1.0)])
    low, found, high = (1 - abar_s - c**2) / (1 - abar_t)
    np.testing.assert_allclose(found, (1 - eta**2) * low + eta**2 * high, atol=1e-15)
    np.testing.assert_allclose(ddim(SCHEDULE, 7, eta).rows[:, 3] ** 2, found, atol=1e-14)


def test_14_12_by_what_cancels_in_the_other_form() -> None:
    """From T to 1 nearly all of 1 - abar_s is c^2: (14.10) loses b there, (14.12) does not."""
    abar_t, abar_s = (Fraction(float(COSINE.alpha_bar[u])) for u in (1000, 1))
    exact = float(abar_t / abar_s) ** 0.5 * float((1 - abar_s) / (1 - abar_t))
    b, c = ddim(COSINE, [1000, 1], 1.0).rows[0, 3:5]
    assert b == pytest.approx(exact, rel=1e-10)  # of a ratio of differences from 1, of 4e-5
    left = float(1 - COSINE.alpha_bar[1] - c**2) / float(1 - COSINE.alpha_bar[1000])
    assert abs(max(left, 0.0) ** 0.5 / exact - 1) > 1e-6


def test_14_12_by_later_draws() -> None:
    """eta = 0: a sample is a function of its first noise. eta > 0: it is not."""
    model = oracle_eps(three_gaussians(), SCHEDULE)
    y = np.array([0, 1, 2])
    start = np.random.default_rng(5).standard_normal((3, 2))
    loud = {0: start} | {k: np.full((3, 2), 1e3) for k in range(1, 8)}
    for eta in ETAS:
        table = ddim(SCHEDULE, 7, eta)
        same = run(model, y, table, 1.0, Given({0: start})) == run(
            model, y, table, 1.0, Given(loud)
        )
        assert same.all() == (eta == 0)


@pytest.mark.parametrize("eta", ETAS)
def test_14_12_by_the_last_row(eta: float) -> None:
    """At s = 0 every eta ends in its guess."""
    for steps in (1, 5, 20):
        for prediction in ("eps", "x0", "v"):
            row = ddim(SCHEDULE, steps, eta, prediction).rows[-1]
            np.testing.assert_array_equal(row[2:], [1, 0, 0, 0, 0, 1])


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan"), float("inf")])
def test_14_9_by_refusal_of_eta(eta: float) -> None:
    with pytest.raises(ValueError, match=f"eta = {eta} is outside 0..1"):
        ddim(SCHEDULE, 5, eta)


@pytest.mark.parametrize("table", [ddim(SCHEDULE, 7, 0.6), ddpm(SCHEDULE), dpmpp_2m(SCHEDULE, 9)])
@pytest.mark.parametrize("var", [0.1, 1.7])
def test_14_13_by_impulses(table: Table, var: float) -> None:
    """Every draw's response in the loop with the oracle, which is affine; 2M looks back a row."""
    n = len(table.t)
    model = oracle_eps(one_class(var), SCHEDULE)
    x = run(model, np.zeros(n + 2, int), table, 0.0, Given(impulses(n)))
    responses = ((x[1:] - x[0]) ** 2).sum(0)
    np.testing.assert_allclose(responses, chain_var(table, SCHEDULE, var), atol=ALGEBRA)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_14_13_by_simulation(eta: float) -> None:
    """The sample variance of 20,000 chains of two axes, seed 6, within 5 standard errors."""
    table = ddim(SCHEDULE, 6, eta)
    model = oracle_eps(one_class(0.25), SCHEDULE)
    x = run(model, np.zeros(N, int), table, 0.0, np.random.default_rng(6))
    var = chain_var(table, SCHEDULE, 0.25)
    error = var * np.sqrt(2 / N)
    np.testing.assert_allclose(x.var(0), var, rtol=0, atol=5 * error)


def test_14_13_by_what_a_mean_lacks() -> None:
    """Start from the true law, take one row: what it lacks is a^2 Var(x_0 | x_t), (5.8)."""
    var = 0.25
    table = ddim(SCHEDULE, [13, 6], 0.5)
    abar_t, abar_s = SCHEDULE.alpha_bar[[13, 6]]
    C_t = abar_t * var + 1 - abar_t
    C_s = abar_s * var + 1 - abar_s
    start = np.sqrt(abar_t) * np.array([0.8, -0.4]) + np.sqrt(C_t) * impulses(1)[0]
    draws = {0: start, 1: impulses(1)[1]}
    model = oracle_eps(one_class(var), SCHEDULE)
    x = dict(run_steps(model, np.zeros(3, int), table, 0.0, Given(draws)))[6]
    lacks = C_s - ((x[1:] - x[0]) ** 2).sum(0)
    a = table.rows[0, 2]
    np.testing.assert_allclose(lacks, a**2 * var * (1 - abar_t) / C_t, atol=1e-14)
    assert lacks[0] > 0.01


def test_14_13_by_numbers_in_the_text() -> None:
    """And fewer rows, or more noise, leave less, in this schedule and in the other."""
    text = re.search(r"with (0\.\d+) at \$\\eta = 1\$, with (0\.\d+)", lesson.__doc__ or "")
    assert text is not None
    for eta, wanted in zip((1.0, 0.0), text.groups(), strict=True):
        assert f"{chain_var(ddim(COSINE, 10, eta), COSINE, 0.25):.3f}" == wanted
    for schedule in (COSINE, Schedule.linear(1000)):
        left = np.array(
            [[chain_var(ddim(schedule, n, e), schedule, 0.25) for e in ETAS] for n in (5, 20, 100)]
        )
        assert (np.diff(left, axis=0) > 0).all() and (np.diff(left, axis=1) < 0).all()


def stale(
    table: Table, schedule: Schedule, y: np.ndarray, w: float, draws: dict[int, np.ndarray]
) -> np.ndarray:
    """The mistake as it is written in programs: clip the guess, go on with the network's eps."""
    model = oracle_eps(three_gaussians(), schedule)
    xt = draws[0]
    for k, (abar_t, abar_s) in enumerate(zip(*abars(table, schedule), strict=True)):
        t = int(table.t[k])
        c = table.rows[k, 4]
        eps = guide(model(xt, t, y), model(xt, t, np.full_like(y, 3)), w)
        x0 = np.clip((xt - np.sqrt(1 - abar_t) * eps) / np.sqrt(abar_t), -1, 1)
        xt = np.sqrt(abar_s) * x0 + np.sqrt(max(1 - abar_s - c**2, 0)) * eps + c * draws[k + 1]
    return xt


@pytest.mark.parametrize("eta", ETAS)
def test_14_14_by_the_mistake_written_out(eta: float) -> None:
    """Beside it the right chain, which differs; and where nothing is clipped, all are one."""
    model = oracle_eps(three_gaussians(), SCHEDULE)
    y = np.arange(30) % 3
    rng = np.random.default_rng(7)
    table = ddim(SCHEDULE, 7, eta)
    draws = {k: rng.standard_normal((30, 2)) for k in range(8)}
    wrong = run_with_stale_eps(model, y, table, SCHEDULE, 1.5, Given(draws), 1.0)
    np.testing.assert_allclose(wrong, stale(table, SCHEDULE, y, 1.5, draws), atol=ALGEBRA)
    right = run(model, y, table, 1.5, Given(draws), 1.0)
    assert np.abs(right - wrong).max() > 0.1
    far = run_with_stale_eps(model, y, table, SCHEDULE, 1.5, Given(draws), np.inf)
    np.testing.assert_allclose(far, run(model, y, table, 1.5, Given(draws)), atol=ALGEBRA)


def test_14_14_by_a_step_of_no_length() -> None:
    """Two times that are all but one: the right row stays where it is, the wrong one jumps."""
    schedule = Schedule(np.array([0.0, 0.5, 1e-12]))
    model = oracle_eps(three_gaussians(), schedule)
    x = np.array([[0.0, 4.0]])
    table = ddim(schedule)
    y = np.zeros(1, int)
    eps = model(x, 2, y)
    guess = (x - np.sqrt(0.5) * eps) / np.sqrt(0.5)
    assert guess[0, 1] > 2
    first = Table(table.t[:1], table.s[:1], table.rows[:1])
    stays = run(model, y, first, 0.0, Given({0: x}), 1.0)
    np.testing.assert_allclose(stays, x, atol=1e-11)
    jumps = run_with_stale_eps(model, y, first, schedule, 0.0, Given({0: x}), 1.0)
    np.testing.assert_allclose(jumps - x, np.sqrt(0.5) * (1 - guess) * [0, 1], atol=1e-11)


def test_14_14_by_heights_in_the_text() -> None:
    """1,000 samples, seed 0, with a spread of 0.45 at most: 0.05 is 3.5 standard errors."""
    text = lesson.__doc__ or ""
    wrong = re.search(r"mean height of\s+([-\d., ]+) in 10, 50, 250 rows", text)
    right = re.search(r"Right: ([-\d., ]+)\.\n", text)
    assert wrong is not None and right is not None
    numbers = ([float(v) for v in found[1].split(",")] for found in (right, wrong))
    for n, good, bad in zip((10, 50, 250), *numbers, strict=True):
        found = heights(ddim(COSINE, n), COSINE)
        np.testing.assert_allclose(found, (good, bad), atol=0.05)
