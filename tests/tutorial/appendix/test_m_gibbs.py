"""Appendix M: the missing term by closed forms and sums; rounds by impulses and samples."""

from __future__ import annotations

import re
from itertools import islice

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.stats import norm

from tests.tutorial.noise import Impulses
from tutorial.appendix import m_gibbs
from tutorial.appendix.h_gaussian_pairs import EXAMPLE, ddim_law, score_at
from tutorial.appendix.j_levels import log_level, mix, noised, of_gaussians, of_mixture
from tutorial.appendix.m_gibbs import (
    after_rounds,
    crossing,
    errors_of_guidance,
    gibbs_rounds,
    growth,
    missing,
    missing_from_labels,
    noised_tilt_score,
    stationary_var,
    stationary_var_of_steps,
)
from tutorial.step01_toy_data import GaussianMixture, pinwheel, three_gaussians
from tutorial.step02_forward import Gaussian
from tutorial.step11_guidance import tilt
from tutorial.step13_tilted import tilted_on_grid

OTHER = Gaussian(np.array([0.9, -1.3]), 0.3), 1.1
THREE = three_gaussians()
H = 1e-4
TEXT = m_gibbs.__doc__ or ""


def row_of(name: str) -> list[float]:
    """The numbers of the row of a table of the text."""
    found = re.findall(rf"^\| {re.escape(name)} \| (.*) \|$", TEXT, re.MULTILINE)
    assert len(found) == 1, name
    return [float(number) for number in found[0].split(" | ")]


def slope(x: np.ndarray, tau: float, w: float, mixture: GaussianMixture) -> np.ndarray:
    return np.array(
        [
            (missing(x + step, tau, 0, w, mixture) - missing(x - step, tau, 0, w, mixture))
            / (2 * H)
            for step in H * np.eye(2)
        ]
    )


@pytest.mark.exhaustive(one_in=3)
@pytest.mark.parametrize(("tau", "w"), [(0.1, 3.0), (0.7, 1.0), (0.7, -0.5)])
def test_m_1_by_mean_of_the_data(tau: float, w: float) -> None:
    """The right score from the mean of x_0: 1e-6 for the difference over 2 h."""
    for x in (np.array([0.4, 0.3]), np.array([-0.8, 1.2])):
        guided = mix(of_mixture(THREE, 0)(x[None], tau), w)[0]
        missed = slope(x, tau, w, THREE)
        np.testing.assert_allclose(
            guided + missed, noised_tilt_score(x, tau, 0, w, THREE), atol=1e-6
        )
        assert np.abs(missed).max() > 0.01


def test_m_1_by_density_of_the_noised_tilt() -> None:
    """log of q_bar less log q, by a sum of densities: the same but for one constant."""
    tau = 0.5
    w = 3.0
    axis = np.linspace(-5, 5, 501)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    q_0 = np.exp(log_level(grid, 0.0, 0, w, THREE))
    points = np.array([[0.4, 0.3], [-0.8, 1.2], [0.0, 2.0]])
    noised = np.array([(q_0 * np.exp(-((grid - x) ** 2).sum(1) / (2 * tau))).sum() for x in points])
    expected = np.log(noised) - log_level(points, tau, 0, w, THREE)
    found = np.array([missing(x, tau, 0, w, THREE) for x in points])
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-5)
    assert np.ptp(found) > 0.1


def test_m_1_by_small_noise() -> None:
    """The missing gradient vanishes with tau, and for w = 0 and -1 at every tau."""
    x = np.array([0.2, 0.5])
    sizes = [np.abs(slope(x, tau, 3.0, THREE)).max() for tau in (0.1, 0.025, 0.00625)]
    assert sizes[0] > 2 * sizes[1] > 4 * sizes[2]
    for w in (0.0, -1.0):
        assert missing(x, 0.3, 0, w, THREE) == pytest.approx(0, abs=1e-9)


def after(
    rounds: int, tau: float, w: float, steps: int, pair: tuple[Gaussian, float], var: float
) -> float:
    """The variance after some of the lesson's rounds, from `var`, exactly."""
    x = np.tile(pair[0].mean, (rounds + 2, 1))
    x[-1] += var**0.5
    chain = gibbs_rounds(x, tau, w, steps, of_gaussians(*pair), Impulses())
    x = next(islice(chain, rounds - 1, None))
    return float(((x[1:] - x[0]) ** 2).sum(0)[0])


CASES = [(0.1, 2.0), (1.0, 0.5), (1.0, 3.0)]


@pytest.mark.exhaustive(one_in=3)
@pytest.mark.parametrize(("tau", "w"), CASES)
def test_m_3_by_impulses(tau: float, w: float) -> None:
    """One round of many steps, extrapolated."""
    for pair in (EXAMPLE, OTHER):
        coarse, fine = (after(1, tau, w, steps, pair, 1.7) for steps in (400, 800))
        exact = (1.7 + tau) / growth(tau, w, *pair)
        assert 2 * fine - coarse == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize(("tau", "w"), CASES)
def test_m_3_by_sum_over_levels(tau: float, w: float) -> None:
    """log G is the precision of each level's tilt, by (11.9), summed (Gauss, 40 nodes)."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for given_y, S in (EXAMPLE, OTHER):
        k = [
            1 / tilt(Gaussian(given_y.mean, given_y.var + t), S + t, w).var
            for t in tau * (1 + nodes) / 2
        ]
        assert np.log(growth(tau, w, given_y, S)) == pytest.approx(weights @ k * tau / 2, rel=1e-8)


@pytest.mark.exhaustive(one_in=3)
@pytest.mark.parametrize(("tau", "w"), CASES)
def test_m_4_by_impulses(tau: float, w: float) -> None:
    """Many rounds of many steps: 1% of their finite size."""
    rounds = int(20 / np.log(growth(tau, w, *EXAMPLE))) + 1
    found = after(rounds, tau, w, 200, EXAMPLE, 1.7)
    assert stationary_var(tau, w, *EXAMPLE) == pytest.approx(found, rel=0.01)


def test_m_4_by_both_ends() -> None:
    """The tilted variance for small tau, that of DDIM for large ones: errors of first order."""
    for pair in (EXAMPLE, OTHER):
        near = [stationary_var(tau, 2.0, *pair) / tilt(*pair, 2.0).var - 1 for tau in (1e-2, 1e-3)]
        far = [stationary_var(tau, 2.0, *pair) / ddim_law(*pair, 2.0).var - 1 for tau in (1e3, 1e4)]
        assert near[1] == pytest.approx(near[0] / 10, rel=0.1)
        assert far[1] == pytest.approx(far[0] / 10, rel=0.1)
        assert abs(near[1]) < 0.01 and abs(far[1]) < 0.01


def test_m_4_by_a_tilted_density_without_integral() -> None:
    """Without a positive k(0) a small round makes differences larger, and (M.4) is negative.

    With it G is larger than 1, because k is positive at every level.
    """
    broad = Gaussian(np.zeros(2), 2.0)
    assert 3 / broad.var - 2 / 1.0 < 0  # k(0) for w = 2 and S = 1
    assert growth(1.0, 2.0, broad, 1.0) == pytest.approx(3.375 / 4, rel=1e-12)
    assert stationary_var(1.0, 2.0, broad, 1.0) < 0
    for w, S_y, S in ((2.0, 1.0, 2.0), (1.0, 1.9, 1.0), (-0.5, 2.0, 1.0)):
        for tau in (0.0, 0.1, 1.0, 100.0):
            k = (1 + w) / (S_y + tau) - w / (S + tau)
            numerator = (1 + w) * S - w * S_y + tau
            assert k == pytest.approx(numerator / ((S_y + tau) * (S + tau)), rel=1e-12)
            assert k > 0
            assert tau == 0 or growth(tau, w, Gaussian(np.zeros(2), S_y), S) > 1


def test_m_4_by_numbers_in_the_text() -> None:
    """Five rows of the table, to half a unit; the error is proportional to a small tau."""
    taus = (0.01, 0.1, 0.5, 1.0, 10.0)
    ends = [stationary_var(tau, 2.0, *EXAMPLE) for tau in taus]
    factors = np.array([1 / growth(tau, 2.0, *EXAMPLE) for tau in taus])
    of_4 = [stationary_var_of_steps(tau, 2.0, 4, *EXAMPLE) for tau in taus]
    of_1 = [stationary_var_of_steps(tau, 2.0, 1, *EXAMPLE) for tau in taus]
    for name, found in (
        ("variance at the end, (M.4)", ends),
        ("factor of the variance per round", factors),
        ("factor of the mean per round", factors**0.5),
        ("variance at the end, 4 steps per round", of_4),
        ("variance at the end, 1 step per round", of_1),
    ):
        assert row_of(name) == pytest.approx(list(found), abs=5.1e-4), name
    assert tilt(*EXAMPLE, 2.0).var == pytest.approx(0.5, rel=1e-12)
    assert [0.5 - ends[0], 0.5 - ends[1]] == pytest.approx([0.002, 0.018], abs=5e-4)
    assert 0.5 - ends[1] == pytest.approx(10 * (0.5 - ends[0]), rel=0.1)
    assert np.abs(np.array(of_1) - ends)[:2].max() < 0.01  # one step is enough
    given_y, S = EXAMPLE
    limit = 1e6 * given_y.var**-3.0 * S**2.0
    assert growth(1e6, 2.0, *EXAMPLE) == pytest.approx(limit, rel=1e-4)


def test_m_3_by_counting_evaluations() -> None:
    levels_seen: list[float] = []

    def counting(x: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
        levels_seen.append(tau)
        return of_gaussians(*EXAMPLE)(x, tau)

    rounds = gibbs_rounds(np.zeros((3, 2)), 0.5, 1.0, 4, counting, np.random.default_rng(0))
    next(rounds)
    # From tau down in equal steps; the last one ends at 0, where no score is evaluated.
    assert levels_seen == pytest.approx([0.5, 0.375, 0.25, 0.125])
    next(rounds)
    assert len(levels_seen) == 8


def test_m_1_by_the_error_between_the_classes() -> None:
    """The pulls in the text: between the classes the error grows as the noise falls."""
    x = np.zeros(2)
    errors = []
    for tau, right, guided in ((1.0, 1.2, 4.8), (0.1, 5.6, 17.1)):
        found = noised_tilt_score(x, tau, 0, 3.0, THREE)[1]
        of_guidance = mix(of_mixture(THREE, 0)(x[None], tau), 3.0)[0, 1]
        assert [found, of_guidance] == pytest.approx([right, guided], abs=0.051)  # one decimal
        errors.append(of_guidance - found)
    assert errors[1] > 3 * errors[0]


def test_m_1_by_numbers_in_the_text() -> None:
    """The first table: both scores at the centre and inside the class, and their difference."""
    taus = (1.0, 0.3, 0.1, 0.06, 0.03, 0.01, 0.001)
    error: dict[str, np.ndarray] = {}
    for name, height, unit in (("(0, 1)", 1.0, 0.01), ("(0, 0)", 0.0, 0.1)):
        x = np.array([0.0, height])
        right = [noised_tilt_score(x, tau, 0, 3.0, THREE)[1] for tau in taus]
        guided = [mix(of_mixture(THREE, 0)(x[None], tau), 3.0)[0, 1] for tau in taus]
        assert row_of(f"at {name}: right") == pytest.approx(right, abs=0.51 * unit)
        assert row_of(f"at {name}: guided") == pytest.approx(guided, abs=0.51 * unit)
        error[name] = np.array(guided) - right
    assert (np.abs(error["(0, 1)"][2:]) < 0.03).all()
    at_centre = error["(0, 0)"]
    assert [at_centre[0], at_centre[3], at_centre[-1]] == pytest.approx([3.6, 12.2, 1.2], abs=0.05)
    assert (np.diff(at_centre[:4]) > 0).all() and (np.diff(at_centre[3:]) < 0).all()


def test_m_1_by_each_step() -> None:
    """Bayes' rule, the cancelled Gaussian and the ratio, by sums over a grid of step 0.05."""
    tau = 0.4
    w = 2.0
    x = np.array([0.3, 0.6])
    axis = np.linspace(-5, 5, 201)
    x0 = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    cell = (axis[1] - axis[0]) ** 2
    noise = np.exp(-((x - x0) ** 2).sum(1) / (2 * tau)) / (2 * np.pi * tau)
    later = noised(THREE, tau)
    of_class = np.exp(later.log_density(x[None], 0)[0])
    of_all = np.exp(later.log_density(x[None])[0])
    P = np.exp(THREE.log_density(x0, 0)) * noise / of_class
    Q = np.exp(THREE.log_density(x0)) * noise / of_all
    assert [P.sum() * cell, Q.sum() * cell] == pytest.approx([1, 1], rel=1e-9)
    q_0 = np.exp(log_level(x0, 0.0, 0, w, THREE))
    q_tau = np.exp(log_level(x[None], tau, 0, w, THREE)[0])
    product = P ** (1 + w) * Q**-w
    np.testing.assert_allclose(product, q_0 * noise / q_tau, rtol=1e-9)
    q_bar = (q_0 * noise).sum() * cell
    integral = product.sum() * cell
    assert integral == pytest.approx(q_bar / q_tau, rel=1e-9)
    assert missing(x, tau, 0, w, THREE) == pytest.approx(np.log(integral), rel=1e-6)


def test_m_2_by_divergence() -> None:
    """The mean over P beside the sum of powers, at several points; and Renyi's sign."""
    for x in (np.zeros(2), np.array([0.4, 0.3]), np.array([-1.0, 1.5])):
        for tau, w in ((0.1, 3.0), (0.7, 1.0), (0.7, -0.5)):
            found = missing_from_labels(x, tau, 0, w, THREE)
            assert found == pytest.approx(missing(x, tau, 0, w, THREE), abs=1e-7)
            assert found / w > 0


def test_m_2_by_simulation() -> None:
    """P by drawing from the class and weighting with the noise: 4 standard errors."""
    x = np.array([0.2, 0.4])
    tau = 0.5
    w = 3.0
    rng = np.random.default_rng(0)
    x0 = THREE.means[0] + 0.5 * rng.standard_normal((200_000, 2))
    weights = np.exp(-((x - x0) ** 2).sum(1) / (2 * tau))
    powers = np.exp(w * THREE.log_class_probability(x0)[:, 0])
    mean = weights @ powers / weights.sum()
    error = np.sqrt(((weights * (powers - mean)) ** 2).sum()) / weights.sum()
    log_p = noised(THREE, tau).log_class_probability(x[None])[0, 0]
    found = missing_from_labels(x, tau, 0, w, THREE)
    assert np.exp(found + w * log_p) == pytest.approx(mean, abs=4 * error)
    assert error < 0.01 * mean


def test_m_2_by_each_step() -> None:
    """The ratio of P and Q at single points; the slope of the log odds in the text."""
    tau = 0.4
    x = np.array([0.3, 0.6])
    x0 = np.array([[0.0, 0.5], [0.7, 1.0]])
    later = noised(THREE, tau)
    ratio = np.exp(THREE.log_density(x0, 0) - THREE.log_density(x0))
    ratio *= np.exp(later.log_density(x[None])[0] - later.log_density(x[None], 0)[0])
    p = np.exp(THREE.log_class_probability(x0)[:, 0])
    p_noisy = np.exp(later.log_class_probability(x[None])[0, 0])
    np.testing.assert_allclose(ratio, p / p_noisy, rtol=1e-10)
    axis = np.linspace(-5, 5, 201)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    Q = np.exp(THREE.log_density(grid) - ((x - grid) ** 2).sum(1) / (2 * tau))
    of_label = np.exp(THREE.log_class_probability(grid)[:, 0])
    assert p_noisy == pytest.approx(Q @ of_label / Q.sum(), rel=1e-9)
    apart = np.linalg.norm(THREE.means[0] - THREE.means[1])
    assert [apart, apart / 0.25] == pytest.approx([2.6, 10.4], abs=0.01)


def test_m_1_by_how_often_it_matters() -> None:
    """The second table; the same two numbers from samples, with 4 standard errors."""
    taus = (1.0, 0.3, 0.1, 0.03, 0.01)
    means: list[float] = []
    large: list[float] = []
    for tau in taus:
        error, probability = errors_of_guidance(tau, 0, 3.0, THREE)
        assert probability.sum() == pytest.approx(1, rel=1e-12)
        means.append(float(probability @ error))
        large.append(float(probability[error > 1].sum()))
    assert row_of("mean error") == pytest.approx(means, abs=5.1e-3)
    assert row_of("probability of an error above 1") == pytest.approx(large, abs=5.1e-3)
    rng = np.random.default_rng(1)
    # A grid of step 0.08, which is small beside the standard deviation 0.5 of the noise and class.
    points, p = tilted_on_grid(THREE, 0, 3.0, 4.0, 101)
    x = points[rng.choice(len(p), 400, p=p)] + 0.3**0.5 * rng.standard_normal((400, 2))
    of_x0 = p * np.exp(-((x[:, None] - points) ** 2).sum(2) / 0.6)
    right = (of_x0 @ points / of_x0.sum(1, keepdims=True) - x) / 0.3
    guided = mix(of_mixture(THREE, 0)(x, 0.3), 3.0)
    length = np.sqrt(((right - guided) ** 2).sum(1))
    assert length.mean() == pytest.approx(means[1], abs=4 * length.std() / 20)
    assert (length > 1).mean() == pytest.approx(large[1], abs=4 * (0.24 * 0.76) ** 0.5 / 20)


@pytest.mark.slow
def test_m_1_by_how_often_it_matters_on_the_pinwheel() -> None:
    """Closer classes need lower noise: the probabilities in the text, above those of its table."""
    wheel = pinwheel()
    apart = np.linalg.norm(wheel.means[0] - wheel.means[1])
    assert apart == pytest.approx(1.4, abs=0.05)
    of_three = row_of("probability of an error above 1")
    for tau, expected, other in ((0.1, 0.46, of_three[2]), (0.01, 0.12, of_three[4])):
        error, probability = errors_of_guidance(tau, 0, 3.0, wheel)
        found = probability[error > 1].sum()
        assert found == pytest.approx(expected, abs=5.1e-3)
        assert found > 4 * other


def test_m_3_by_each_step() -> None:
    """Differences of two solutions of (H.5); the integral of k; the logarithm of G."""
    tau = 0.8
    w = 2.0
    given_y, S = EXAMPLE

    def k(level: float) -> float:
        return (1 + w) / (given_y.var + level) - w / (S + level)

    for level in (0.0, tau):
        tilted = tilt(Gaussian(given_y.mean, given_y.var + level), S + level, w)
        assert k(level) == pytest.approx(1 / tilted.var, rel=1e-12)

    def slope(level: float, x: np.ndarray) -> np.ndarray:
        return -score_at(x[None], level, w, given_y, S)[0] / 2

    starts = [np.array([0.3, -1.0]), np.array([1.1, 0.4])]
    ends = [
        solve_ivp(slope, [tau, 0.0], start, rtol=1e-10, atol=1e-12).y[:, -1] for start in starts
    ]
    Delta_tau = starts[1] - starts[0]
    Delta_0 = ends[1] - ends[0]
    here = slope(tau, starts[1]) - slope(tau, starts[0])
    np.testing.assert_allclose(here, k(tau) * Delta_tau / 2, rtol=1e-12)
    half = quad(k, 0, tau)[0] / 2
    np.testing.assert_allclose(np.log(Delta_0 / Delta_tau), -half, rtol=1e-7)
    assert 2 * half == pytest.approx(np.log(growth(tau, w, *EXAMPLE)), rel=1e-10)


def run_of(n: int, tau: float, w: float, steps: int, start: Gaussian) -> Gaussian:
    """Mean and variance after `n` of the lesson's rounds, from impulses, for `EXAMPLE`."""
    x = np.tile(start.mean, (n + 2, 1))
    x[-1] += start.var**0.5
    chain = gibbs_rounds(x, tau, w, steps, of_gaussians(*EXAMPLE), Impulses())
    x = next(islice(chain, n - 1, None))
    return Gaussian(x[0], float(((x[1:] - x[0]) ** 2).sum(0)[0]))


def test_m_5_by_impulses() -> None:
    """3 rounds of 2,000 steps from two starts: the limit of the mean is that of 60 rounds."""
    tau = 0.3
    G = growth(tau, 2.0, *EXAMPLE)
    limit = run_of(60, tau, 2.0, 100, EXAMPLE[0]).mean
    end = Gaussian(limit, stationary_var(tau, 2.0, *EXAMPLE))
    for start in (EXAMPLE[0], Gaussian(np.array([-2.0, 1.0]), 0.1)):
        found = run_of(3, tau, 2.0, 2000, start)
        expected = after_rounds(start, end, G, 3)
        np.testing.assert_allclose(found.mean, expected.mean, atol=2e-3)  # 100 steps of the limit


def test_m_5_by_two_starts() -> None:
    """The distance of two means has the factor exp of minus the integral of k / 2 per round."""
    tau = 0.3
    given_y, S = EXAMPLE
    starts = [given_y, Gaussian(np.array([2.0, -1.0]), 0.3)]
    ends = [run_of(4, tau, 2.0, 2000, start).mean for start in starts]
    factor = np.exp(-quad(lambda t: 3 / (given_y.var + t) - 2 / (S + t), 0, tau)[0] / 2)
    kept = (ends[1] - ends[0]) / (starts[1].mean - starts[0].mean)
    np.testing.assert_allclose(kept, factor**4, rtol=1e-3)
    end = Gaussian(np.array([1.5, 0.0]), 0.5)
    G = growth(tau, 2.0, *EXAMPLE)
    means = [after_rounds(start, end, G, 4).mean for start in starts]
    np.testing.assert_allclose(means[1] - means[0], factor**4 * np.array([1.0, -1.0]), rtol=1e-9)


def mean_left_unchanged(tau: float, w: float) -> float:
    """The solution of the text's equation for the mean of `EXAMPLE`, by quadrature."""
    given_y, S = EXAMPLE

    def received(level: float) -> float:
        c = (1 + w) * given_y.mean[0] / (given_y.var + level)
        return c / 2 * growth(level, w, given_y, S) ** -0.5

    return quad(received, 0, tau)[0] / (1 - growth(tau, w, given_y, S) ** -0.5)


def test_m_5_by_each_step() -> None:
    """The mean that a round leaves unchanged: many rounds, the tilted mean, the row of the text."""
    for tau, w in ((0.1, 2.0), (1.0, 1.0)):
        coarse, fine = (run_of(200, tau, w, steps, EXAMPLE[0]).mean[0] for steps in (50, 100))
        assert 2 * fine - coarse == pytest.approx(mean_left_unchanged(tau, w), abs=2e-4)
    assert mean_left_unchanged(1e-5, 2.0) == pytest.approx(tilt(*EXAMPLE, 2.0).mean[0], rel=1e-4)
    found = [mean_left_unchanged(tau, 2.0) for tau in (0.01, 0.1, 0.5, 1.0, 10.0)]
    assert row_of("mean at the end, small steps") == pytest.approx(found, abs=5.1e-4)
    assert mean_left_unchanged(1e5, 2.0) == pytest.approx(ddim_law(*EXAMPLE, 2.0).mean[0], rel=0.01)


def test_m_5_by_small_noise() -> None:
    """The rounds end in the tilted mean as tau falls, and leave 1 / e of its error in 2 / (k tau).

    Both have errors of the order tau = 0.01 and 0.02.
    """
    far = run_of(1000, 0.02, 2.0, 1, EXAMPLE[0]).mean
    assert far[0] == pytest.approx(tilt(*EXAMPLE, 2.0).mean[0], rel=0.01)
    G = growth(0.01, 2.0, *EXAMPLE)
    kept = G ** (-100 / 2)
    assert kept == pytest.approx(np.exp(-1), rel=0.02)  # 2 / (k tau) = 100 rounds, half for (M.6)


def test_m_6_by_impulses() -> None:
    """Variances after 1 and 3 rounds of 2,000 steps: an error of the order 1 / 2,000."""
    tau = 0.3
    G = growth(tau, 2.0, *EXAMPLE)
    end = Gaussian(np.zeros(2), stationary_var(tau, 2.0, *EXAMPLE))
    for start in (EXAMPLE[0], Gaussian(np.array([-2.0, 1.0]), 0.1)):
        for n in (1, 3):
            found = run_of(n, tau, 2.0, 2000, start).var
            assert after_rounds(start, end, G, n).var == pytest.approx(found, rel=1e-3)


def test_m_6_by_iteration() -> None:
    """(M.3) again and again."""
    tau = 0.2
    G = growth(tau, 3.0, *OTHER)
    end = Gaussian(np.zeros(2), stationary_var(tau, 3.0, *OTHER))
    V = 2.0
    for n in range(1, 6):
        V = (V + tau) / G
        found = after_rounds(Gaussian(np.zeros(2), 2.0), end, G, n).var
        assert found == pytest.approx(V, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 4])
def test_m_7_by_impulses(steps: int) -> None:
    """The lesson's rounds with few steps, after 100 rounds."""
    for tau, w in ((0.1, 2.0), (0.5, 1.0)):
        found = run_of(100, tau, w, steps, EXAMPLE[0]).var
        expected = stationary_var_of_steps(tau, w, steps, *EXAMPLE)
        assert expected == pytest.approx(found, rel=1e-6)


def test_m_7_by_many_steps() -> None:
    """With more steps it tends to (M.4), with an error of first order."""
    exact = stationary_var(0.5, 2.0, *EXAMPLE)
    errors = [stationary_var_of_steps(0.5, 2.0, L, *EXAMPLE) - exact for L in (100, 200)]
    assert errors[0] == pytest.approx(2 * errors[1], rel=0.02)
    assert abs(errors[0]) < 0.01 * exact


def test_m_7_by_a_narrow_class() -> None:
    """One step is not enough for tau = 0.1 and a class of variance 0.25, without guidance."""
    narrow = Gaussian(np.zeros(2), 0.25)
    assert stationary_var(0.1, 0.0, narrow, 1.0) == pytest.approx(0.25, rel=1e-12)
    one = stationary_var_of_steps(0.1, 0.0, 1, narrow, 1.0)
    assert one == pytest.approx(0.277, abs=5e-4)
    rng = np.random.default_rng(4)
    x = 0.5 * rng.standard_normal((10_000, 2))
    rounds = gibbs_rounds(x, 0.1, 0.0, 1, of_gaussians(narrow, 1.0), rng)
    x = next(islice(rounds, 19, None))
    assert x.var() == pytest.approx(one, rel=5 * (2 / x.size) ** 0.5)  # 5 standard errors
    # It is enough for tau = 0.001, which is small against the variance.
    assert stationary_var_of_steps(1e-3, 0.0, 1, narrow, 1.0) == pytest.approx(0.25, rel=2e-3)


def test_m_7_by_the_mean_of_one_step() -> None:
    """One step per round leaves the tilted mean of its level unchanged, not that of the data."""
    given_y, S = EXAMPLE
    found = run_of(300, 0.1, 2.0, 1, given_y).mean[0]
    level = tilt(Gaussian(given_y.mean, given_y.var + 0.1), S + 0.1, 2.0)
    assert found == pytest.approx(level.mean[0], abs=1e-6)
    assert [found, mean_left_unchanged(0.1, 2.0)] == pytest.approx([1.537, 1.518], abs=5.1e-4)


def test_m_7_by_a_step_that_is_too_large() -> None:
    """With A = -1.5 no variance stays unchanged: (M.7) is negative, and the rounds diverge."""
    wide = Gaussian(np.zeros(2), 1.0), 100.0
    k = 6 / 11 - 5 / 110
    assert [k, 1 - 10 * k / 2] == pytest.approx([0.5, -1.5], rel=1e-12)
    assert stationary_var_of_steps(10.0, 5.0, 1, *wide) == pytest.approx(-18, rel=1e-9)
    found = [after(n, 10.0, 5.0, 1, wide, 1.0) for n in (1, 2, 3)]
    expected = [24.75, 78.1875, 198.421875]  # V' = 2.25 (V + 10)
    assert found == pytest.approx(expected, rel=1e-9)


def test_m_7_by_the_step_to_the_guess() -> None:
    """One step that moves by tau s_w ends with half of the right variance, up to the order tau."""
    tau = 1e-3
    k = 3 / (1 + tau) - 2 / (2 + tau)
    factor = (1 - tau * k) ** 2
    assert factor == pytest.approx(1 - 2 * k * tau, abs=5 * tau**2)
    assert tau * factor / (1 - factor) == pytest.approx(1 / (2 * 2.0), rel=0.01)
    assert stationary_var_of_steps(tau, 2.0, 1, *EXAMPLE) == pytest.approx(1 / 2.0, rel=0.01)


MODES = GaussianMixture(
    np.array([[4.0, 0.0], [-4.0, 0.0]]), np.tile(0.01 * np.eye(2), (2, 1, 1)), np.full(2, 0.5)
)


@pytest.mark.parametrize(("tau", "fraction"), [(16.0, 0.16), (8.0, 0.08)])
def test_m_8_by_rounds(tau: float, fraction: float) -> None:
    """Two modes 8 apart, without guidance (w = -1 is the score of all data): 4 standard errors.

    The modes have the standard deviation 0.1, which adds to the noise: less than 0.001.
    """
    n = 4000
    rng = np.random.default_rng(2)
    x = MODES.means[0] + 0.1 * rng.standard_normal((n, 2))
    x = next(gibbs_rounds(x, tau, -1.0, 100, of_mixture(MODES, 0), rng))
    found = (x[:, 0] < 0).mean()
    expected = crossing(8.0, tau)
    assert expected == pytest.approx(fraction, abs=0.005)
    assert found == pytest.approx(expected, abs=4 * (expected / n) ** 0.5 + 0.001)


def test_m_8_by_numbers_in_the_text() -> None:
    """Half the distance, and tau equal to it."""
    for d in (4.0, 10.0, 40.0):
        assert crossing(d, (d / 2) ** 2) == pytest.approx(0.16, abs=0.005)
    found = [crossing(d, d) for d in (4.0, 10.0, 40.0)]
    assert found == pytest.approx([0.16, 0.06, 0.0008], rel=0.06)


def test_m_8_by_integral_of_the_density() -> None:
    """The noise carries a sample below 0: its density integrated."""
    for d, tau in ((1.0, 0.3), (3.0, 5.0)):
        below = quad(norm.pdf, -np.inf, 0, args=(d / 2, tau**0.5))[0]
        assert crossing(d, tau) == pytest.approx(below, rel=1e-6)
