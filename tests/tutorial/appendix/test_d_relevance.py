"""Appendix D: one step by quadrature, whole chains; the exact case by impulses and integrals."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import multivariate_normal, norm

import tutorial.appendix.d_relevance as lesson
from tests.tutorial.noise import ImpulsesOnAxis0
from tutorial.appendix.b_chain_distribution import chain_law
from tutorial.appendix.d_relevance import (
    EXAMPLE,
    along,
    pair_law,
    pair_limit,
    pair_relevance,
    rises,
)
from tutorial.contract import last
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule, q_xt_given_xprev
from tutorial.step03_marginal import xt_from_x0
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import Oracle, noised, oracle_eps
from tutorial.step06_reverse import p_xprev_given_xt
from tutorial.step07_sampling import ancestral_sample, ancestral_steps
from tutorial.step11_guidance import guide

SCHEDULE = Schedule.linear(20)
MIXTURE = GaussianMixture(
    np.array([[0.8, -0.4], [-1.1, 0.5], [0.3, 1.6]]),
    np.array([[[0.3, 0.12], [0.12, 0.2]], [[0.15, -0.08], [-0.08, 0.4]], [[0.5, 0.2], [0.2, 0.3]]]),
    np.array([0.5, 0.3, 0.2]),
)
POINTS = np.array([[0.2, -0.3], [-0.9, 0.6], [0.5, 1.1], [0.1, 0.4]])
PAIRS = [EXAMPLE, (-0.7, 0.5, 0.8), (2.0, 0.1, 3.0)]
WEIGHTS = (-1.0, -0.5, 0.0, 0.8, 4.0)
ALGEBRA = 1e-10  # float64, some dozens of steps of operations of order one to a hundred


def p_of_y(x: np.ndarray, t: int, schedule: Schedule) -> np.ndarray:
    """SciPy's `p(y | x_t)`, a column a class, and its density of all classes in the last."""
    abar = schedule.alpha_bar[t]
    classes = [
        multivariate_normal(np.sqrt(abar) * mean, abar * cov + (1 - abar) * np.eye(2)).pdf(x)
        for mean, cov in zip(MIXTURE.means, MIXTURE.covs, strict=True)
    ]
    joint = MIXTURE.weights * np.stack(classes, -1)
    return np.concatenate([joint / joint.sum(-1, keepdims=True), joint.sum(-1, keepdims=True)], -1)


def test_d_1_by_each_step() -> None:
    """The law of total probability over a joint density of (y, x_1, x_2) on a line, on a grid."""
    schedule = Schedule(np.array([0, 0.3, 0.4]))
    axis = np.arange(-9, 9, 0.02)
    signal, noise = np.sqrt(0.7), np.sqrt(0.3)
    joint = np.array(  # of y and x_1
        [0.4, 0.6]
    )[:, None] * np.array(
        [
            norm.pdf(axis, signal * mean, np.sqrt(0.7 * var + noise**2))
            for mean, var in ((1.0, 0.3), (-0.8, 0.6))
        ]
    )
    x_2 = 0.35
    forward = norm.pdf(x_2, np.sqrt(0.6) * axis, np.sqrt(0.4))  # the label does not enter
    posterior = joint.sum(0) * forward / (joint.sum(0) @ forward)  # p(x_1 | x_2) on the grid
    mean = posterior @ (joint[0] / joint.sum(0))
    direct = (joint @ forward)[0] / (joint @ forward).sum()
    assert mean == pytest.approx(direct, abs=1e-12)
    means = np.array([[1.0, 0], [-0.8, 0]])
    covs = np.array([np.diag([0.3, 1]), np.diag([0.6, 1])])
    mixture = GaussianMixture(means, covs, np.array([0.4, 0.6]))
    point = np.array([[x_2, 0.0]])
    found = np.exp(noised(mixture, 2, schedule).log_class_probability(point))[0, 0]
    assert found == pytest.approx(mean, abs=1e-9)  # a Riemann sum of smooth functions
    assert rises(point, 2, np.zeros(1, int), -1.0, mixture, schedule)[0, 0] == 0


@pytest.mark.parametrize("t", [2, 8, 20])
def test_d_1_by_bayes_on_a_grid(t: int) -> None:
    """The mean of p(y | x_{t-1}) over the exact reverse step, added up over the plane."""
    axis = np.arange(-7, 7, 0.04)
    x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    before = p_of_y(x, t - 1, SCHEDULE)
    for point in POINTS:
        back = norm.pdf(point, np.sqrt(SCHEDULE.alpha[t]) * x, np.sqrt(SCHEDULE.beta[t])).prod(1)
        mean = (back * before[:, 3]) @ before[:, :3] / (back @ before[:, 3])
        gains = mean - p_of_y(point, t, SCHEDULE)[:3]
        for y in range(3):
            said = rises(point[None], t, np.array([y]), -1.0, MIXTURE, SCHEDULE)[0, 0]
            assert gains[y] == pytest.approx(said, abs=1e-9)


def test_d_1_by_noised_data() -> None:
    """Whatever one bets, here x or p itself: the gain times the stake is 0 in the mean."""
    rng = np.random.default_rng(1)
    n = 100_000
    t = 8
    x0, _ = MIXTURE.sample(n, rng)
    before = xt_from_x0(x0, rng.standard_normal((n, 2)), t - 1, SCHEDULE)
    x = q_xt_given_xprev(before, t, SCHEDULE).sample(rng)
    p = p_of_y(x, t, SCHEDULE)[:, 0]
    p_before = p_of_y(before, t - 1, SCHEDULE)[:, 0]
    said = rises(x, t, np.zeros(n, int), -1.0, MIXTURE, SCHEDULE)[0]
    for stake in (np.ones(n), p, np.sin(x[:, 0]), x[:, 1] > 0):
        off = (p_before - p - said) * stake
        assert abs(off.mean()) < 5 * off.std() / np.sqrt(n)


def one_step(w: float, y: int, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """What a guided step adds to p and log p at POINTS, found and said, each (2, n), over beta.

    The schedule has abar_1 = 0.5 and then one step of beta. The mean over it is a quadrature.
    """
    schedule = Schedule(np.array([0, 0.5, beta]))
    labels = np.full(len(POINTS), y)
    model = oracle_eps(MIXTURE, schedule)
    eps = guide(model(POINTS, 2, labels), model(POINTS, 2, np.full_like(labels, 3)), w)
    law = p_xprev_given_xt(POINTS, eps, 2, schedule)
    z, share = np.polynomial.hermite_e.hermegauss(24)
    nodes = np.stack(np.meshgrid(z, z), -1).reshape(-1, 2)
    p = p_of_y(law.mean[:, None] + np.sqrt(law.var) * nodes, 1, schedule)[..., y]
    here = p_of_y(POINTS, 2, schedule)[:, y]
    weights = np.outer(share, share).ravel() / share.sum() ** 2
    found = np.stack([p @ weights - here, np.log(p) @ weights - np.log(here)])
    return found / beta, rises(POINTS, 2, labels, w, MIXTURE, schedule) / beta


def missed(w: float, y: int) -> tuple[np.ndarray, np.ndarray]:
    """How far what is said of p and of log p is off at beta = 2e-4, and extrapolated to 0."""
    found, said = one_step(w, y, 2e-4)
    found_2, said_2 = one_step(w, y, 1e-4)
    return found - said, 2 * (found_2 - said_2) - (found - said)


@pytest.mark.parametrize("y", range(3))
@pytest.mark.parametrize("w", WEIGHTS)
def test_d_2_by_one_small_step(w: float, y: int) -> None:
    """The rises are of order one, and wrong by beta times some tens: by (beta w)^2 at most next."""
    off, extrapolated = missed(w, y)
    np.testing.assert_allclose(off[0], 0, atol=0.01)
    np.testing.assert_allclose(extrapolated[0], 0, atol=1e-5)


@pytest.mark.parametrize("y", range(3))
@pytest.mark.parametrize("w", WEIGHTS)
def test_d_3_by_one_small_step(w: float, y: int) -> None:
    off, extrapolated = missed(w, y)
    np.testing.assert_allclose(off[1], 0, atol=0.01)
    np.testing.assert_allclose(extrapolated[1], 0, atol=1e-5)


def gradient_of_p(y: int) -> np.ndarray:
    """Of `p(y | x_1)` at POINTS, by a central difference of SciPy's densities."""
    schedule = Schedule(np.array([0, 0.5]))
    h = 1e-5
    shifts = h * np.eye(2)
    columns = [
        (p_of_y(POINTS + e, 1, schedule)[:, y] - p_of_y(POINTS - e, 1, schedule)[:, y]) / (2 * h)
        for e in shifts
    ]
    return np.stack(columns, 1)


@pytest.mark.parametrize("y", range(3))
def test_d_2_by_each_step(y: int) -> None:
    """The shift of the mean by guidance, and the gradient times the shift, per beta."""
    beta = 1e-4
    w = 1.5
    schedule = Schedule(np.array([0, 0.5, beta]))
    labels = np.full(len(POINTS), y)
    model = oracle_eps(MIXTURE, schedule)
    eps_y = model(POINTS, 2, labels)
    eps_null = model(POINTS, 2, np.full_like(labels, 3))
    guided = p_xprev_given_xt(POINTS, guide(eps_y, eps_null, w), 2, schedule).mean
    plain = p_xprev_given_xt(POINTS, eps_null, 2, schedule).mean
    p = p_of_y(POINTS, 1, Schedule(np.array([0, 0.5])))[:, y]
    slope = gradient_of_p(y)
    shift = (1 + w) * slope / p[:, None]
    # Both are of first order in beta; a relative error of some beta remains.
    np.testing.assert_allclose((guided - plain) / beta, shift, atol=5e-3)
    step = (slope * shift).sum(1)
    np.testing.assert_allclose(step, (1 + w) * p * ((slope / p[:, None]) ** 2).sum(1), atol=1e-9)
    found = rises(POINTS, 2, labels, w, MIXTURE, schedule)[0] / beta
    np.testing.assert_allclose(found, step, atol=5e-3)


def test_d_2_by_a_point_without_gradient() -> None:
    """Where p(y | x) is largest, its gradient is 0 and so is (D.2). Elsewhere it is positive."""
    covs = np.stack([0.25 * np.eye(2), np.eye(2)])
    data = GaussianMixture(np.zeros((2, 2)), covs, np.full(2, 0.5))
    x = np.array([[0.0, 0.0], [0.4, -0.3]])
    at_the_top, elsewhere = rises(x, 5, np.zeros(2, int), 3.0, data, SCHEDULE)[0]
    assert at_the_top == 0
    assert elsewhere > 0.001


@pytest.mark.parametrize("y", range(3))
def test_d_3_by_each_step(y: int) -> None:
    """The second-order expansion, and the mean of the squared change over the noise of the step."""
    beta = 1e-4
    here = Schedule(np.array([0, 0.5]))
    p = p_of_y(POINTS, 1, here)[:, y]
    slope = gradient_of_p(y)
    z, share = np.polynomial.hermite_e.hermegauss(9)
    nodes = np.stack(np.meshgrid(z, z), -1).reshape(-1, 2)
    weights = np.outer(share, share).ravel() / share.sum() ** 2
    delta = p_of_y(POINTS[:, None] + np.sqrt(beta) * nodes, 1, here)[..., y] - p[:, None]
    squared = delta**2 @ weights / beta
    # The next order is beta times fourth derivatives.
    np.testing.assert_allclose(squared, (slope**2).sum(1), atol=5e-3)
    log_slope = slope / p[:, None]
    np.testing.assert_allclose((slope**2).sum(1), p**2 * (log_slope**2).sum(1), atol=1e-12)
    small = np.array([-0.01, 0.01])
    expanded = small / 0.6 - small**2 / (2 * 0.6**2)
    np.testing.assert_allclose(np.log(0.6 + small) - np.log(0.6), expanded, atol=3e-6)  # delta^3
    w = 0.7
    schedule = Schedule(np.array([0, 0.5, beta]))
    found = rises(POINTS, 2, np.full(4, y), w, MIXTURE, schedule)[1] / beta
    by_terms = (1 + w) * (log_slope**2).sum(1) - squared / (2 * p**2)
    np.testing.assert_allclose(found, by_terms, atol=0.02)  # beta times some tens, as above


def end_of(w: float, n: int, T: int) -> tuple[np.ndarray, np.ndarray]:
    """`p` and `log p` of the samples, and as the sums of the lesson have them; each (2, n)."""
    found, said = last(along(w, n, T))
    return found, said


def error_of(a: np.ndarray) -> float:
    return float(a.std() / np.sqrt(len(a)))


@pytest.mark.parametrize("w", [0.0, 2.0])
def test_d_2_by_whole_chains(w: float) -> None:
    """What the sum misses is of order 1 / T, 5 / T here; p rises by 0.65 in all."""
    found, said = end_of(w, 1000, 100)
    off = found[0] - said[0]
    assert abs(off.mean()) < 5 * error_of(off) + 5 / 100
    assert found[0].mean() - 1 / 3 == pytest.approx(0.65, abs=0.02)


def test_d_2_by_slope_of_relevance() -> None:
    """At w = -1 the sum over unguided chains, per unit of w, is how fast relevance starts to rise.

    A central difference of 0.1, from the same noise; of order 0.1^2 and 1 / T is missed.
    """
    mixture = three_gaussians()
    schedule = Schedule.cosine(100)
    y = np.zeros(3000, int)
    model = oracle_eps(mixture, schedule)
    ends = {}
    total = np.zeros(3000)
    for w in (-0.9, -1.1):
        x = ancestral_sample(model, y, schedule, w, np.random.default_rng(3))
        ends[w] = np.exp(mixture.log_class_probability(x)[:, 0])
    for t, xt in ancestral_steps(model, y, schedule, -1.0, np.random.default_rng(3)):
        total += rises(xt, t, y, 0.0, mixture, schedule)[0] if t else 0
    off = (ends[-0.9] - ends[-1.1]) / 0.2 - total
    assert abs(off.mean()) < 5 * error_of(off)
    assert total.mean() > 0.5 > 5 * error_of(off)


@pytest.mark.parametrize("w", [0.0, 2.0])
def test_d_3_by_whole_chains(w: float) -> None:
    """Likewise, 10 / T here; log p rises by 1.1, from log(1/3) to near 0."""
    found, said = end_of(w, 1000, 100)
    off = found[1] - said[1]
    assert abs(off.mean()) < 5 * error_of(off) + 10 / 100
    assert found[1].mean() == pytest.approx(0, abs=0.1)  # rare samples at -5 make it uncertain


def test_d_4_by_whole_chains() -> None:
    """The two weights at which a mean stays, while the other mean does not (n = 1000, T = 100)."""
    (p, log), _ = end_of(-1.0, 1000, 100)
    assert abs(p.mean() - 1 / 3) < 5 * error_of(p)
    assert log.mean() < np.log(1 / 3) - 5
    (p, log), (_, said) = end_of(-0.5, 1000, 100)
    assert abs(log.mean() - np.log(1 / 3)) < 5 * error_of(log)
    assert p.mean() > 1 / 3 + 0.4
    np.testing.assert_allclose(said[1], np.log(1 / 3), atol=0.01)  # x_T is no noise yet, nearly


@pytest.mark.slow
def test_d_4_by_numbers_in_the_text() -> None:
    """Fractions and mean logarithms between the two weights (n = 1000, T = 200)."""
    fractions = re.search(
        r"is (\d+) % at \$w = -0.95\$, (\d+) % at \$w = -0.8\$ and (\d+) % at \$w = -0.6\$", text()
    )
    logs = re.search(r"mean logarithms are (-\d\.\d), (-\d\.\d) and (-\d\.\d)", text())
    assert fractions
    assert logs
    for w, fraction, log in zip(
        (-0.95, -0.8, -0.6), fractions.groups(), logs.groups(), strict=True
    ):
        found, _ = end_of(w, 1000, 200)
        # The last digit, and chains that another processor rounds across 1/2.
        assert (found[0] > 0.5).mean() == pytest.approx(float(fraction) / 100, abs=0.011)
        assert found[1].mean() == pytest.approx(float(log), abs=0.1)


def two_points(T: int, n: int) -> Iterator[tuple[int, np.ndarray]]:
    """For each t, the states of `n` chains towards 1 for data of two points, 1 and -1; w = -1/2."""
    schedule = Schedule.cosine(T)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(n)
    for t in range(T, 0, -1):
        abar = schedule.alpha_bar[t]
        mean = np.tanh(np.sqrt(abar) * x / (1 - abar))  # E[x_0 | x_t]
        x0 = 0.5 * 1.0 + 0.5 * mean  # (1 + w) times the class's guess, minus w times that of all
        c_0, c_t, var = posterior_coefficients(t, schedule)
        x = c_0 * x0 + c_t * x + np.sqrt(var) * rng.standard_normal(n)
        yield t - 1, x


@pytest.mark.slow
def test_d_4_by_classes_that_do_not_overlap() -> None:
    """Two points: the mean logarithm stays at log(1/2) half-way, and nearly no chain ends wrong.

    20,000 chains. The half-way mean is off by the order 1 / T; 0.02 at T = 200.
    """
    said = re.search(r"is (\d\.\d) % with 200 steps and (\d\.\d) % with 2000", text())
    assert said
    for T, percent in zip((200, 2000), said.groups(), strict=True):
        wrong = np.nan
        for t, x in two_points(T, 20_000):
            if t == 1:
                wrong = (x < 0).mean()
            if t == T // 2:
                abar = Schedule.cosine(T).alpha_bar[t]
                log = -np.logaddexp(0, -2 * np.sqrt(abar) * x / (1 - abar))
                assert abs(log.mean() - np.log(0.5)) < 5 * error_of(log) + 4 / T
        error = np.sqrt(float(percent) / 100 / 20_000)
        assert wrong == pytest.approx(float(percent) / 100, abs=3 * error + 5e-4)  # the last digit


def test_d_4_by_classes_that_share_their_points() -> None:
    """Two points in both classes: p(y | x_0) is 8/11 or 2/9, and both halves of (D.4) hold.

    The point 1 has the fraction 0.8 of the class, 0.55 of all data. 20,000 chains, T = 400; the
    error of the loop is of the order 1 / T, as in the test above.
    """
    schedule = Schedule.cosine(400)
    pi, of_class, of_all = 0.5, 0.8, 0.55
    p = np.array([pi * (1 - of_class) / (1 - of_all), pi * of_class / of_all])  # at -1 and at 1
    for w, values, expected in ((-1.0, p, pi), (-0.5, np.log(p), np.log(pi))):
        rng = np.random.default_rng(0)
        x = rng.standard_normal(20_000)
        for t in range(schedule.T, 0, -1):
            abar = schedule.alpha_bar[t]
            log_odds = 2 * np.sqrt(abar) * x / (1 - abar)
            y, null = (
                np.tanh((log_odds + np.log(f / (1 - f))) / 2) for f in (of_class, of_all)
            )  # E[x_0 | x_t] of each
            c_0, c_t, var = posterior_coefficients(t, schedule)
            noise = np.sqrt(var) * rng.standard_normal(20_000)
            x = c_0 * ((1 + w) * y - w * null) + c_t * x + noise
        found = values[(x > 0).astype(int)]
        assert abs(found.mean() - expected) < 4 * error_of(found) + 4 / schedule.T


@pytest.mark.parametrize("pair", PAIRS)
def test_d_4_by_exact_case(pair: tuple[float, float, float]) -> None:
    """In the limit's closed form: the mean at w = -1, and at w = -1/2 the mean logarithm."""
    m, S_y, S = pair
    assert pair_relevance(*pair_limit(m, S_y, S, -1.0), m, S_y, S, 0.09) == pytest.approx(
        0.09, abs=1e-14
    )
    M, V = pair_limit(m, S_y, S, -0.5)
    # log p is quadratic in x: its mean is the value at M plus V / 2 times its second difference.
    log = (
        np.log(0.09)
        + norm.logpdf([M - 1, M, M + 1], m, S_y**0.5)
        - norm.logpdf([M - 1, M, M + 1], 0, S**0.5)
    )
    mean = log[1] + V / 2 * (log[0] - 2 * log[1] + log[2])
    assert mean == pytest.approx(np.log(0.09), abs=1e-12)


def line(pair: tuple[float, float, float], schedule: Schedule) -> Oracle:
    """The exact denoiser of a pair along axis 0: its null label, 1, is all the data."""
    m, S_y, S = pair
    means = np.array([[m, 0], [0, 0]])
    covs = np.array([np.diag([S_y, 1]), np.diag([S, 1])])
    return Oracle(GaussianMixture(means, covs, np.array([0.5, 0.5])), schedule, num_classes=1)


def by_impulses(pair: tuple[float, float, float], w: float, schedule: Schedule) -> np.ndarray:
    """`M` and `V` at t = 0..T of the sampler itself: its mean, and its response to every draw."""
    rows = schedule.T + 2  # a draw each, and a last row without any
    path = ancestral_steps(
        line(pair, schedule), np.zeros(rows, int), schedule, w, ImpulsesOnAxis0()
    )
    laws = [(x[-1, 0], ((x[:-1, 0] - x[-1, 0]) ** 2).sum()) for _, x in path]
    return np.array(laws[::-1]).T


def slopes(pair: tuple[float, float, float], w: float, schedule: Schedule) -> np.ndarray:
    """How far one step of the sampler moves what is moved by 1, for t = 1..T."""
    model = line(pair, schedule)
    x = np.array([[0.0, 0], [1, 0]])
    A = []
    for t in range(1, schedule.T + 1):
        eps = guide(model(x, t, np.zeros(2, int)), model(x, t, np.ones(2, int)), w)
        A.append(np.diff(p_xprev_given_xt(x, eps, t, schedule).mean[:, 0])[0])
    return np.array(A)


def slopes_of_law(pair: tuple[float, float, float], w: float, schedule: Schedule) -> np.ndarray:
    """The size of `A_w` for t = 1..T, by which the lesson's variance shrinks."""
    V = pair_law(*pair, w, schedule)[1]
    noise = np.array([posterior_coefficients(t, schedule)[2] for t in range(1, schedule.T + 1)])
    return np.sqrt((V[:-1] - noise) / V[1:])


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("w", [*WEIGHTS, 30.0])
def test_d_5_by_steps_of_the_sampler(pair: tuple[float, float, float], w: float) -> None:
    found = slopes_of_law(pair, w, SCHEDULE)
    np.testing.assert_allclose(found, np.abs(slopes(pair, w, SCHEDULE)), atol=1e-6)  # a root


@pytest.mark.parametrize("pair", PAIRS)
def test_d_5_by_each_step(pair: tuple[float, float, float]) -> None:
    """The slopes of the class and of all data as regressions of two neighbours."""
    _, S_y, S = pair
    for w, var in ((0.0, S_y), (-1.0, S)):
        C = SCHEDULE.alpha_bar * var + 1 - SCHEDULE.alpha_bar
        covariance = np.sqrt(1 - SCHEDULE.beta[1:]) * C[:-1]
        np.testing.assert_allclose(
            slopes_of_law(pair, w, SCHEDULE), covariance / C[1:], atol=1e-6
        )  # a root
        np.testing.assert_allclose(slopes(pair, w, SCHEDULE), covariance / C[1:], atol=ALGEBRA)


def test_d_5_by_powers_in_small_steps() -> None:
    """A_y^(1 + w) A_null^-w, what the limit is made of: 1 + w of one log and -w of the other.

    To second order the mix is w (1 + w) / 2 times the square of their difference below it.
    """
    schedule = Schedule.cosine(2000)
    w = 2.0
    A_y, A_null, A = (slopes_of_law(EXAMPLE, v, schedule)[:1500] for v in (0.0, -1.0, w))
    below = A_y ** (1 + w) * A_null**-w - A
    expected = 3 * np.log(A_y / A_null) ** 2
    np.testing.assert_allclose(below, expected, atol=1e-9, rtol=0.05)
    assert expected.max() > 1e-6


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("w", [*WEIGHTS, 30.0])
def test_d_6_by_impulses(pair: tuple[float, float, float], w: float) -> None:
    expected = by_impulses(pair, w, SCHEDULE)[0]
    np.testing.assert_allclose(pair_law(*pair, w, SCHEDULE)[0], expected, atol=ALGEBRA, rtol=1e-9)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("w", [*WEIGHTS, 30.0])
def test_d_7_by_impulses(pair: tuple[float, float, float], w: float) -> None:
    expected = by_impulses(pair, w, SCHEDULE)[1]
    np.testing.assert_allclose(pair_law(*pair, w, SCHEDULE)[1], expected, atol=ALGEBRA, rtol=1e-9)


@pytest.mark.parametrize("which", [0, 1])
def test_d_6_by_appendix_b(which: int) -> None:
    """Unguided, both ways: the law that appendix B has for N(m, S_y), or for N(0, S)."""
    m, S_y, S = EXAMPLE
    w, mean, var = [(0.0, m, S_y), (-1.0, 0.0, S)][which]
    M, V, _ = chain_law(np.array([mean]), np.array([[var]]), SCHEDULE)
    found = pair_law(*EXAMPLE, w, SCHEDULE)
    np.testing.assert_allclose(found, [M[:, 0], V[:, 0, 0]], atol=1e-13)


def test_d_7_by_samples() -> None:
    """20,000 samples, w = 2, 20 steps: mean and variance within 5 of their errors."""
    n = 20_000
    x = ancestral_sample(
        line(EXAMPLE, SCHEDULE), np.zeros(n, int), SCHEDULE, 2.0, np.random.default_rng(4)
    )
    M, V = pair_law(*EXAMPLE, 2.0, SCHEDULE)[:, 0]
    assert abs(x[:, 0].mean() - M) < 5 * np.sqrt(V / n)
    assert abs(x[:, 0].var() - V) < 5 * V * np.sqrt(2 / n)


def text() -> str:
    """The lecture, each run of white space as one space."""
    return " ".join((lesson.__doc__ or "").split())


def test_d_7_by_numbers_in_the_text() -> None:
    """From which w on a slope is negative, and from which w on the variance rises."""
    said = re.search(r"\$w = (\d+\.\d)\$ on, and \$V_0\$ rises from \$w = (\d+\.\d)\$", text())
    assert said
    schedule = Schedule.cosine(20)
    first = brentq(lambda w: slopes(EXAMPLE, w, schedule).min(), 1, 30)
    assert "step at $t = 6$ is the first" in text()
    negative = slopes(EXAMPLE, float(said[1]), schedule) < 0
    assert np.flatnonzero(negative).tolist() == [6 - 1]
    assert float(said[1]) == pytest.approx(first, abs=0.05)
    lowest = minimize_scalar(
        lambda w: by_impulses(EXAMPLE, w, schedule)[1, 0] * 1e3, bounds=(5, 40), method="bounded"
    )
    assert float(said[2]) == pytest.approx(lowest.x, abs=0.05)


def phi(u: float, S_y: float, S: float, w: float) -> float:
    return (S_y / (S_y + u)) ** (1 + w) * ((S + u) / S) ** w


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("w", [-1.0, -0.5, 0.8, 4.0])
def test_d_8_by_each_step(pair: tuple[float, float, float], w: float) -> None:
    """The slope of a step in units of the signal, its product, and the integral of a power."""
    m, S_y, S = pair
    schedule = Schedule.cosine(4000)
    abar = schedule.alpha_bar
    u = (1 - abar) / abar
    t = np.array([1000, 2000, 3000])
    du = u[t] - u[t - 1]
    scaled = slopes_of_law(pair, w, schedule)[t - 1] * np.sqrt(abar[t] / abar[t - 1])
    slope = 1 - ((1 + w) / (S_y + u[t]) - w / (S + u[t])) * du
    np.testing.assert_allclose(scaled, slope, atol=1e-9)  # exact, up to rounding and a root
    C_y = abar * S_y + 1 - abar
    of_class = slopes_of_law(pair, 0.0, schedule)[t - 1] * np.sqrt(abar[t] / abar[t - 1])
    by_C = abar[t] / abar[t - 1] * C_y[t - 1] / C_y[t]
    np.testing.assert_allclose(of_class, by_C, atol=1e-9)
    np.testing.assert_allclose(by_C, (S_y + u[t] - du) / (S_y + u[t]), atol=1e-9)
    for at in (0.3, 2.0):
        log = quad(lambda v: (1 + w) / (S_y + v) - w / (S + v), 0, at)[0]
        q = (S + at) / (S_y + at)
        rho = S_y / S
        assert phi(at, S_y, S, w) == pytest.approx(np.exp(-log), rel=1e-9)
        assert phi(at, S_y, S, w) == pytest.approx((rho * q) ** w * S_y / (S_y + at), rel=1e-9)
    # The bracket of (D.6) in this unit is 1 minus the slope of the class.
    bracket = np.sqrt(abar[t - 1]) - slopes_of_law(pair, 0.0, schedule)[t - 1] * np.sqrt(abar[t])
    np.testing.assert_allclose(bracket / np.sqrt(abar[t - 1]), du / (S_y + u[t]), atol=1e-9)
    power = quad(lambda q: q**w, 1, S / S_y)[0]
    M = (1 + w) * m * (S_y / S) ** w * S_y / (S - S_y) * power
    added = quad(lambda v: phi(v, S_y, S, w) * (1 + w) * m / (S_y + v), 0, np.inf)[0]
    assert pytest.approx(added, abs=1e-7) == M
    assert pair_limit(m, S_y, S, w)[0] == pytest.approx(M, abs=1e-9)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("w", WEIGHTS)
def test_d_9_by_each_step(pair: tuple[float, float, float], w: float) -> None:
    """The integral of a power of q, and the other form of the integral that the proof uses."""
    m, S_y, S = pair
    power = quad(lambda q: q ** (2 * w), 1, S / S_y)[0]
    V = (S_y / S) ** (2 * w) * S_y**2 / (S - S_y) * power
    added = quad(lambda v: phi(v, S_y, S, w) ** 2, 0, np.inf)[0]
    assert pytest.approx(added, abs=1e-7) == V
    assert pair_limit(m, S_y, S, w)[1] == pytest.approx(V, rel=1e-9)
    schedule = Schedule.cosine(200)
    for t in (2, 50, 150):  # the noise of a step, in units of the signal
        tau = 1 / schedule.alpha_bar[t] - 1
        d_tau = tau - (1 / schedule.alpha_bar[t - 1] - 1)
        added_var = posterior_coefficients(t, schedule)[2] / schedule.alpha_bar[t - 1]
        assert schedule.beta[t] / schedule.alpha_bar[t] == pytest.approx(d_tau, rel=1e-9)
        assert added_var == pytest.approx(d_tau * (tau - d_tau) / tau, rel=1e-9)
    for far in (1e4, 1e5):  # of the start's variance a fraction of the order 1 / far is left
        left = phi(far, S_y, S, w) ** 2 * (1 + far)
        assert left * far == pytest.approx((S_y / S) ** (2 * w) * S_y**2, rel=0.01)
    U = S * S_y / (S - S_y)
    falls = quad(lambda s: np.exp(-(1 + 2 * w) * s), 0, np.log(S / S_y))[0]
    assert pair_limit(m, S_y, S, w)[1] == pytest.approx(U * falls, rel=1e-9)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("w", WEIGHTS)
def test_d_8_by_quadrature(pair: tuple[float, float, float], w: float) -> None:
    """All that pulls to the mean, each times what is left of it at the end."""
    m, S_y, S = pair
    M = quad(lambda u: phi(u, S_y, S, w) * (1 + w) * m / (S_y + u), 0, np.inf)[0]
    assert pair_limit(m, S_y, S, w)[0] == pytest.approx(M, abs=1e-7)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("w", WEIGHTS)
def test_d_9_by_quadrature(pair: tuple[float, float, float], w: float) -> None:
    m, S_y, S = pair
    V = quad(lambda u: phi(u, S_y, S, w) ** 2, 0, np.inf)[0]
    assert pair_limit(m, S_y, S, w)[1] == pytest.approx(V, abs=1e-7)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("w", [-1.0, 0.8, 4.0])
def test_d_8_by_longer_chains(pair: tuple[float, float, float], w: float) -> None:
    """The gap shrinks as 1 / T: four times as many steps, a quarter of it, within a third."""
    limit = np.array(pair_limit(*pair, w))
    gaps = np.abs([pair_law(*pair, w, Schedule.cosine(T))[:, 0] - limit for T in (500, 2000)])
    assert gaps[1, 0] < max(gaps[0, 0] / 2.5, 1e-4)
    assert gaps[1, 0] < 3e-3 * pair[2]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("w", [-1.0, 0.8, 4.0])
def test_d_9_by_longer_chains(pair: tuple[float, float, float], w: float) -> None:
    limit = np.array(pair_limit(*pair, w))
    gaps = np.abs([pair_law(*pair, w, Schedule.cosine(T))[:, 0] - limit for T in (500, 2000)])
    assert gaps[1, 1] < max(gaps[0, 1] / 2.5, 1e-4)
    assert gaps[1, 1] < 3e-3 * pair[2]


def test_d_9_by_bradley_and_nakkiran() -> None:
    """Their closed form for S_y = 1, S = 2; at w = -1/2, 0 / 0 there, it is the limit of both."""
    for w in (0.0, 1.0, 2.0, 4.0):
        gamma = 1 + w
        expected = (2 - 2 ** (2 - 2 * gamma)) / (2 * gamma - 1)
        assert pair_limit(0.0, 1.0, 2.0, w)[1] == pytest.approx(expected, abs=1e-14)
    near = [pair_limit(0.3, 1.0, 2.0, -0.5 + h) for h in (-1e-7, 0.0, 1e-7)]
    np.testing.assert_allclose(near, [near[1]] * 3, atol=1e-6)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("w", WEIGHTS)
def test_d_10_by_quadrature(pair: tuple[float, float, float], w: float) -> None:
    m, S_y, S = pair
    M, V = pair_law(*pair, w, SCHEDULE)[:, 0]

    def p(x: float) -> float:
        ratio = norm.logpdf(x, m, S_y**0.5) - norm.logpdf(x, 0, S**0.5)
        return 0.05 * np.exp(ratio + norm.logpdf(x, M, V**0.5))

    expected = quad(p, M - 12 * V**0.5, M + 12 * V**0.5, epsabs=1e-12)[0]
    assert pair_relevance(M, V, m, S_y, S, 0.05) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("pair", PAIRS)
def test_d_10_by_each_step(pair: tuple[float, float, float]) -> None:
    """p(y | x) as a quotient of SciPy's densities, and as a Gaussian function around x*."""
    m, S_y, S = pair
    U = S * S_y / (S - S_y)
    best = m * S / (S - S_y)
    at_best = pair_relevance(best, 0.0, m, S_y, S, 0.05)
    for x in (-1.0, 0.3, 2.2):
        quotient = 0.05 * norm.pdf(x, m, S_y**0.5) / norm.pdf(x, 0, S**0.5)
        assert quotient == pytest.approx(at_best * np.exp(-((x - best) ** 2) / (2 * U)), rel=1e-9)
        assert pair_relevance(x, 0.0, m, S_y, S, 0.05) == pytest.approx(quotient, rel=1e-9)
    assert best == pytest.approx(m * U / S_y, rel=1e-12)
    exponent = best**2 / (2 * S) - (best - m) ** 2 / (2 * S_y)
    assert at_best == pytest.approx(0.05 * (S / S_y) ** 0.5 * np.exp(exponent), rel=1e-9)
    # "What goes wrong": nearer to x* at the same variance it rises, but a wider one may lose.
    near, far, wide = ((best, 0.1), (best - 1, 0.1), (best, 100 * U + 50))
    assert pair_relevance(*near, m, S_y, S, 0.05) > pair_relevance(*far, m, S_y, S, 0.05)
    assert pair_relevance(*wide, m, S_y, S, 0.05) < pair_relevance(*near, m, S_y, S, 0.05) / 5


def test_d_10_by_table_in_the_text() -> None:
    """Relevance and entropy of the example by integrals over the limit's Gaussian."""
    table = {
        name: [float(x) for x in match.split(" | ")]
        for name, match in re.findall(
            r"\| (relevance|entropy, nats) \| ([-\d. |]+?) \|(?! [-\d])", text()
        )
    }
    m, S_y, S = EXAMPLE
    for i, w in enumerate((-1.0, -0.5, 0.0, 1.0, 4.0)):
        M, V = pair_limit(*EXAMPLE, w)
        assert table["relevance"][i] == pytest.approx(
            quad(
                lambda x, M=M, V=V: (
                    0.25
                    * norm.pdf(x, m, S_y**0.5)
                    / norm.pdf(x, 0, S**0.5)
                    * norm.pdf(x, M, V**0.5)
                ),
                M - 12 * V**0.5,
                M + 12 * V**0.5,
            )[0],
            abs=6e-4,  # 3 decimals
        )
        found = pair_relevance(M, V, *EXAMPLE, 0.25)
        assert table["relevance"][i] == pytest.approx(found, abs=6e-4)
        assert table["entropy, nats"][i] == pytest.approx(norm(M, V**0.5).entropy(), abs=6e-3)
    M, V = pair_limit(*EXAMPLE, 1.0)
    assert f"the mean is {M:.2f} and the variance {V:.3f}" in text()


def test_d_10_by_largest_fraction() -> None:
    """A class may be so large that it has all the density at one point, and no larger."""
    m, S_y, S = EXAMPLE
    x = np.linspace(-10, 10, 200_001)
    largest = np.exp((norm.logpdf(x, 0, S**0.5) - norm.logpdf(x, m, S_y**0.5)).min())
    assert f"which is {largest:.3f} in the example" in text()
    assert pair_relevance(4 / 3, 0.0, *EXAMPLE, largest - 1e-9) == pytest.approx(1, abs=1e-6)
    for fraction in (largest + 1e-6, 0.5, 0.0, -0.1):
        with pytest.raises(ValueError, match="is not in 0"):
            pair_relevance(4 / 3, 0.01, *EXAMPLE, fraction)


@pytest.mark.parametrize("pair", PAIRS)
def test_d_10_by_the_largest_fraction_in_the_error(pair: tuple[float, float, float]) -> None:
    m, S_y, S = pair
    x = np.linspace(-10, 10, 200_001)
    largest = np.exp((norm.logpdf(x, 0, S**0.5) - norm.logpdf(x, m, S_y**0.5)).min())
    with pytest.raises(ValueError, match=rf"is not in 0\.\.{largest:.4g};"):
        pair_relevance(0.0, 0.01, *pair, 1.5)


def test_d_10_by_samples() -> None:
    m, S_y, S = EXAMPLE
    x = ancestral_sample(
        line(EXAMPLE, SCHEDULE), np.zeros(20_000, int), SCHEDULE, 1.0, np.random.default_rng(5)
    )[:, 0]
    p = 0.25 * norm.pdf(x, m, S_y**0.5) / norm.pdf(x, 0, S**0.5)
    found = pair_relevance(*pair_law(*EXAMPLE, 1.0, SCHEDULE)[:, 0], m, S_y, S, 0.25)
    assert abs(p.mean() - found) < 5 * error_of(p)


@pytest.mark.parametrize("pair", PAIRS)
def test_d_10_by_theorem(pair: tuple[float, float, float]) -> None:
    """Relevance rises and variance falls between any two weights; M nears the best point."""
    laws = [pair_limit(*pair, w) for w in np.linspace(-1, 30, 311)]
    assert (np.diff([pair_relevance(M, V, *pair, 0.05) for M, V in laws]) > 0).all()
    assert (np.diff([V for _, V in laws]) < 0).all()
    m, S_y, S = pair
    best = minimize_scalar(lambda x: norm.logpdf(x, 0, S**0.5) - norm.logpdf(x, m, S_y**0.5)).x
    assert (np.abs([M for M, _ in laws]) <= abs(best) + 1e-6).all()
    assert laws[-1][0] == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("t", [0, -1, 21])
def test_d_2_by_refusal_of_t(t: int) -> None:
    with pytest.raises(ValueError, match=f"t = {t} is outside 1..20"):
        rises(POINTS, t, np.zeros(4, int), 1.0, MIXTURE, SCHEDULE)


@pytest.mark.parametrize(("S_y", "S"), [(1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (-1.0, 1.0)])
def test_d_9_by_refusal_of_a_wide_class(S_y: float, S: float) -> None:
    with pytest.raises(ValueError, match=f"S_y = {S_y}, S = {S}: the class must be narrower"):
        pair_limit(1.0, S_y, S, 1.0)
