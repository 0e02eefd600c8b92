"""Appendix K: exact laws of correctors by impulses, equations and samples."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

from tests.tutorial.noise import Given, Impulses
from tutorial.appendix.h_gaussian_pairs import EXAMPLE, score_at
from tutorial.appendix.i_predictor_corrector import levels
from tutorial.appendix.j_levels import langevin, mix, noised, of_gaussians, of_mixture
from tutorial.appendix.k_correctors import (
    chain_law,
    corrected,
    corrected_steps,
    corrector_step,
    settled,
    step_times_curvature,
    top_class,
)
from tutorial.contract import last
from tutorial.step01_toy_data import three_gaussians
from tutorial.step02_forward import Gaussian
from tutorial.step11_guidance import tilt

OTHER = Gaussian(np.array([0.9, -1.3]), 0.3), 1.1
CASES = [(1.0, 0.0, 0.1), (3.0, 0.5, 0.3), (0.0, 2.0, 1.5)]  # w, tau, step


def level(w: float, tau: float) -> Gaussian:
    return tilt(Gaussian(OTHER[0].mean, OTHER[0].var + tau), OTHER[1] + tau, w)


def after(w: float, tau: float, step: float, n: int, start: Gaussian) -> tuple[np.ndarray, float]:
    """Mean and variance after n of the lesson's steps, exactly."""
    x = np.tile(start.mean, (n + 2, 1))
    rng = Impulses()
    x[-1] += start.var**0.5
    for _ in range(n):
        x = langevin(x, tau, w, step, of_gaussians(*OTHER), rng)
    return x[0], float(((x[1:] - x[0]) ** 2).sum(0)[0])


START = Gaussian(np.array([2.0, 0.5]), 1.7)


@pytest.mark.parametrize(("w", "tau", "step"), CASES)
def test_k_1_by_impulses(w: float, tau: float, step: float) -> None:
    n = int(60 / (step / level(w, tau).var))  # e^-60 of the start is left
    assert settled(level(w, tau), step).var == pytest.approx(
        after(w, tau, step, n, START)[1], rel=1e-10
    )


def test_k_1_by_sympy() -> None:
    k, d, V = sympy.symbols("k delta V", positive=True)
    (fixed,) = sympy.solve(sympy.Eq(V, (1 - d * k / 2) ** 2 * V + d), V)
    for var, step in ((0.5, 0.2), (2.0, 1.0)):
        found = settled(Gaussian(np.zeros(2), var), step).var
        assert found == pytest.approx(float(fixed.subs({k: 1 / var, d: step})), rel=1e-12)


@pytest.mark.parametrize(("w", "tau", "step"), CASES)
def test_k_2_by_impulses(w: float, tau: float, step: float) -> None:
    for n in (0, 1, 7):
        law = corrected(START, level(w, tau), step, n)
        np.testing.assert_allclose(law.mean, after(w, tau, step, n, START)[0], rtol=1e-11)


@pytest.mark.parametrize(("w", "tau", "step"), CASES)
def test_k_3_by_impulses(w: float, tau: float, step: float) -> None:
    for n in (0, 1, 7):
        law = corrected(START, level(w, tau), step, n)
        assert law.var == pytest.approx(after(w, tau, step, n, START)[1], rel=1e-11)


def test_k_2_by_differential_equation() -> None:
    """Small steps: what is off decays as e^(-k r / 2), at the rate of the step."""
    law = level(2.0, 0.3)
    r = 0.7
    fine = [corrected(START, law, r / n, n).mean for n in (1000, 2000)]
    exact = law.mean + np.exp(-r / law.var / 2) * (START.mean - law.mean)
    np.testing.assert_allclose(2 * fine[1] - fine[0], exact, atol=1e-5)


def test_k_3_by_differential_equation() -> None:
    law = level(2.0, 0.3)
    r = 0.7
    fine = [corrected(START, law, r / n, n).var for n in (1000, 2000)]
    exact = law.var + np.exp(-r / law.var) * (START.var - law.var)
    assert 2 * fine[1] - fine[0] == pytest.approx(exact, abs=1e-5)


def test_k_3_by_simulation_of_a_chain() -> None:
    """10,000 chains of all levels; 5 standard errors of mean and variance (seed 5)."""
    rng = np.random.default_rng(5)
    taus = levels(12, 1e3, 0.1)
    for w, n, rho in ((2.0, 0, 0.2), (2.0, 2, 0.5)):
        start = 1e3**0.5 * rng.standard_normal((10_000, 2))
        chain = corrected_steps(start, taus, w, n, rho, 0.3, of_gaussians(*OTHER), rng)
        x = last(chain)
        law = chain_law(taus, w, n, rho, *OTHER)
        assert (np.abs(x.mean(0) - law.mean) < 5 * (law.var / len(x)) ** 0.5).all()
        assert abs(x.var(0).mean() / law.var - 1) < 5 / len(x) ** 0.5


@pytest.mark.parametrize(
    ("n", "var", "mean"),
    [(0, 0.215, 2.001), (1, 0.477, 1.660), (4, 0.517, 1.508), (16, 0.518, 1.5), (64, 0.518, 1.5)],
)
def test_k_3_by_numbers_in_the_text(n: int, var: float, mean: float) -> None:
    law = chain_law(levels(40, 1e4, 1e-3), 2.0, n, 0.2, *EXAMPLE)
    assert [law.var, law.mean[0]] == pytest.approx([var, mean], abs=5.1e-4)


def test_k_3_by_how_many_are_enough() -> None:
    """The text: 4 correctors per level are close to the limit, in mean and in variance."""
    taus = levels(40, 1e4, 1e-3)
    four, many = (chain_law(taus, 2.0, n, 0.2, *EXAMPLE) for n in (4, 1000))
    assert 0.005 < four.mean[0] - many.mean[0] < 0.01
    assert 0 < many.var - four.var < 0.001
    finer = chain_law(taus, 2.0, 1000, 0.05, *EXAMPLE)
    assert finer.var - 0.5006 < (many.var - 0.5006) / 3.9  # a quarter of the step


def test_k_3_by_the_number_of_levels() -> None:
    """40 steps are 41 levels: with 40 levels the column n = 1 is another one."""
    law = chain_law(np.geomspace(1e4, 1e-3, 40), 2.0, 1, 0.2, *EXAMPLE)
    assert [law.var, law.mean[0]] == pytest.approx([0.4749, 1.6646], abs=5e-5)


def test_k_1_by_what_remains_in_the_table() -> None:
    """At the last level: the tilted variance, and what the finite step adds to it."""
    tau = 1e-3
    given_y, S = EXAMPLE
    k = 3 / (given_y.var + tau) - 2 / (S + tau)
    found = settled(Gaussian(np.zeros(2), 1 / k), corrector_step(tau, 2.0, given_y.var, 0.2)).var
    assert [1 / k, found - 1 / k] == pytest.approx([0.5006, 0.0173], abs=5e-5)
    assert found == pytest.approx(0.518, abs=5e-4)


@pytest.mark.parametrize("w", [0.0, 1.0, 9.0])
@pytest.mark.parametrize("tau", [0.0, 0.3, 1e4])
def test_k_4_by_slope_of_the_score(tau: float, w: float) -> None:
    """Step times curvature is at most rho, and tends to rho for wide data: two Gaussians."""
    x = np.array([[0.0, 0.0], [1.0, 0.0]])
    for pair in (EXAMPLE, OTHER, (OTHER[0], 1e12)):
        low, high = score_at(x, tau, w, *pair)[:, 0]
        product = corrector_step(tau, w, pair[0].var, 0.2) * (low - high)
        assert product <= 0.2 * (1 + 1e-7)  # rounding of a difference
    assert product == pytest.approx(0.2, rel=1e-6)


def test_k_4_by_how_much_too_wide() -> None:
    """At most rho / (4 - rho) at every level and weight, and that nearly, in wide data."""
    assert [round(rho / (4 - rho), 3) for rho in (0.2, 0.1)] == [0.053, 0.026]  # the text
    for rho in (0.05, 0.5):
        shares = []
        for pair in (EXAMPLE, OTHER, (OTHER[0], 1e9)):
            for w in (0.0, 3.0):
                law = tilt(*pair, w)
                wide = settled(law, corrector_step(0.0, w, pair[0].var, rho)).var
                shares.append(wide / law.var - 1)
        assert min(shares) > 0 and max(shares) == pytest.approx(rho / (4 - rho), rel=1e-6)


def test_k_4_by_three_classes() -> None:
    """12 correctors bring the top class to where quadrature has it, DDIM does not (step 13)."""
    x = top_class(3.0, 12)
    error = (0.226 / 3000) ** 0.5
    assert abs(x[:, 1].mean() - 1.526) < 5 * error
    assert top_class(3.0, 0)[:, 1].mean() == pytest.approx(2.38, abs=5 * (0.064 / 3000) ** 0.5)


def test_k_1_by_each_step() -> None:
    """Both sides of each display, at numbers; the corrector is the lesson's, its noise is given."""
    w, tau, step = 3.0, 0.5, 0.3
    later = 0.2
    start = np.array([[0.7, -0.2], [-1.0, 2.0]])
    s_w = mix(of_gaussians(*OTHER)(start, tau), w)
    (ended,) = corrected_steps(
        start, np.array([tau, later]), w, 0, 0.2, 0.3, of_gaussians(*OTHER), Given()
    )
    shown = (later**0.5 - tau**0.5) * (-(tau**0.5) * s_w)
    np.testing.assert_allclose(ended - start, shown, rtol=1e-12)
    np.testing.assert_allclose(shown, (tau - (tau * later) ** 0.5) * s_w, rtol=1e-12)
    # (17.15) is not (H.5), which holds for small steps only.
    assert np.abs(shown / ((tau - later) / 2 * s_w) - 1).min() > 0.1
    target = level(w, tau)
    k = 1 / target.var
    M = target.mean
    x = np.array([[0.7, -0.2]])
    z = np.array([[0.3, 1.1]])
    after_step = langevin(x, tau, w, step, of_gaussians(*OTHER), Given({0: z}))
    first = x - M - step * k * (x - M) / 2 + step**0.5 * z
    second = (1 - step * k / 2) * (x - M) + step**0.5 * z
    # Rounding of a few operations on numbers of order 1.
    np.testing.assert_allclose(after_step - M, first, rtol=1e-12)
    np.testing.assert_allclose(first, second, rtol=1e-12)
    _, var = after(w, tau, step, 1, START)
    assert var == pytest.approx((1 - step * k / 2) ** 2 * START.var + step, rel=1e-12)
    V = settled(target, step).var
    assert V * (k - step * k**2 / 4) == pytest.approx(1, rel=1e-12)
    assert settled(Gaussian(M, 0.5), 0.2).var == pytest.approx(0.556, abs=5e-4)  # the text's
    for product, shrinks in ((3.9, True), (4.1, False)):  # delta k on both sides of 4
        far = corrected(START, target, product / k, 1000).mean
        assert (np.abs(far - M).max() < 1e-6) == shrinks


def test_k_3_by_each_step() -> None:
    w, tau, step = 3.0, 0.5, 0.3
    target = level(w, tau)
    V = settled(target, step).var
    left = 1 - step / target.var / 2
    _, var = after(w, tau, step, 1, START)
    assert var - V == pytest.approx(left**2 * (START.var - V), rel=1e-11)  # rounding
    # The text: of a wrong mean 11 % are left by ten correctors, of a wrong variance 1 %.
    target = Gaussian(np.zeros(2), 0.5)
    ten = corrected(START, target, 0.2, 10)
    end = settled(target, 0.2)
    assert ten.mean[0] / START.mean[0] == pytest.approx(0.11, abs=5e-3)
    assert (ten.var - end.var) / (START.var - end.var) == pytest.approx(0.01, abs=5e-3)


@pytest.mark.parametrize("w", [0.0, 1.0, 9.0])
def test_k_4_by_each_step(w: float) -> None:
    """The precision of the level as displayed, and its bound."""
    for law, S in (EXAMPLE, OTHER):
        for tau in (0.0, 0.3, 1e4):
            k = 1 / tilt(Gaussian(law.mean, law.var + tau), S + tau, w).var
            shown = (1 + w) / (law.var + tau) - w / (S + tau)
            assert k == pytest.approx(shown, rel=1e-9)  # a difference of two close numbers
            assert k <= (1 + w) / (law.var + tau) * (1 + 1e-9)


def test_k_4_by_a_step_that_is_the_same_at_all_levels() -> None:
    """The text: of the distance from the mean a step of 0.2 at tau = 1e4 takes about 1e-5."""
    target = level(2.0, 1e4)
    near = corrected(START, target, 0.2, 1).mean - target.mean
    moved = 1 - near / (START.mean - target.mean)
    assert moved[0] == pytest.approx(1e-5, rel=0.05)  # k is 1 / tau but for terms of 1e-4


THREE = three_gaussians()


def jacobian(x: np.ndarray, tau: float, w: float) -> np.ndarray:
    """Minus the derivative of the guided score of the top class, by central differences."""
    h = 1e-4
    columns = []
    for step in h * np.eye(2):
        up = mix(of_mixture(THREE, 0)((x + step)[None], tau), w)[0]
        down = mix(of_mixture(THREE, 0)((x - step)[None], tau), w)[0]
        columns.append(-(up - down) / (2 * h))
    return np.array(columns)


def cov_of_means(x: np.ndarray, tau: float) -> np.ndarray:
    p = np.exp(noised(THREE, tau).log_class_probability(x[None])[0])
    centred = THREE.means - p @ THREE.means
    return (p[:, None] * centred).T @ centred


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_k_5_by_each_step(tau: float) -> None:
    """The derivatives of both scores: w = 0 gives the class's, w = -1 that of all data."""
    for x in (np.array([0.4, 0.3]), np.array([-0.8, 1.2])):
        C = 0.25 + tau
        noisy = noised(THREE, tau)
        p = np.exp(noisy.log_class_probability(x[None])[0])
        mean = p @ THREE.means
        _, s = of_mixture(THREE, 0)(x[None], tau)
        np.testing.assert_allclose(s[0], (mean - x) / C, rtol=1e-9)
        h = 1e-5
        for i, axis in enumerate(np.eye(2)):
            up = np.exp(noisy.log_class_probability((x + h * axis)[None])[0])
            down = np.exp(noisy.log_class_probability((x - h * axis)[None])[0])
            shown = p * (THREE.means - mean)[:, i] / C
            np.testing.assert_allclose((up - down) / (2 * h), shown, atol=1e-7)
        for v in np.linalg.eigvalsh(cov_of_means(x, tau)):
            for w in (0.5, 3.0):
                k = (1 + w) / C - w / C + w * v / C**2
                found = step_times_curvature(float(v), tau, w, 0.25, 0.2)
                assert corrector_step(tau, w, 0.25, 0.2) * k == pytest.approx(found, rel=1e-12)
        # Central differences: h^2 times third derivatives below 100.
        np.testing.assert_allclose(jacobian(x, tau, 0.0), np.eye(2) / C, atol=1e-6)
        shown = np.eye(2) / C - cov_of_means(x, tau) / C**2
        np.testing.assert_allclose(jacobian(x, tau, -1.0), shown, atol=1e-5)


@pytest.mark.parametrize(("tau", "w"), [(0.1, 3.0), (1.0, 1.0)])
def test_k_5_by_slope_of_the_score(tau: float, w: float) -> None:
    """The eigenvalues of the curvature by differences, times the step; more than rho somewhere."""
    largest = 0.0
    for x in (np.array([0.4, 0.3]), np.array([-0.65, 0.375]), np.array([0.0, 2.0])):
        found = np.linalg.eigvalsh(jacobian(x, tau, w)) * corrector_step(tau, w, 0.25, 0.2)
        spreads = np.linalg.eigvalsh(cov_of_means(x, tau))
        shown = [step_times_curvature(float(v), tau, w, 0.25, 0.2) for v in spreads]
        np.testing.assert_allclose(found, shown, rtol=1e-5)  # the error of the differences
        largest = max(largest, found.max())
    assert (largest > 0.2) and found.min() > 0  # the bound of two Gaussians fails here


def test_k_5_by_the_point_between_two_classes() -> None:
    """At the middle of two means v is D^2 / 4 but for the third class: 5.29 rho, as in the text."""
    D2 = float(((THREE.means[0] - THREE.means[1]) ** 2).sum())
    assert pytest.approx(6.75, rel=1e-12) == D2
    # No probabilities of three means, the largest distance of which is D, have a larger variance.
    for p in np.random.default_rng(0).dirichlet(np.full(3, 0.3), 2000):
        centred = THREE.means - p @ THREE.means
        v = np.linalg.eigvalsh((p[:, None] * centred).T @ centred)
        assert v.max() <= D2 / 4 + 1e-12
    middle = (THREE.means[0] + THREE.means[1]) / 2
    for rho, product in ((1.0, 5.29), (0.2, 1.06), (0.8, 4.23)):
        assert step_times_curvature(D2 / 4, 1e-3, 3.0, 0.25, rho) == pytest.approx(
            product, abs=5e-3
        )
        found = np.linalg.eigvalsh(jacobian(middle, 1e-3, 3.0))[1]
        found *= corrector_step(1e-3, 3.0, 0.25, rho)
        assert found == pytest.approx(product, abs=5e-3)  # rounding in the text
    assert step_times_curvature(0.0, 1e-3, 3.0, 0.25, 0.2) == pytest.approx(0.2 / 4, rel=1e-12)


def test_k_5_by_the_mean_of_the_class() -> None:
    """The text: at low noise the product there is about rho / (1 + w); at the level 1 it is not."""
    for tau, factor in ((0.001, 1.0), (0.1, 1.0), (1.0, 2.27)):
        v = float(np.linalg.eigvalsh(cov_of_means(THREE.means[0], tau)).max())
        found = step_times_curvature(v, tau, 3.0, 0.25, 0.2) / (0.2 / 4)
        assert found == pytest.approx(factor, abs=0.05)


def moved_by_one(x: np.ndarray, tau: float, w: float, rho: float) -> np.ndarray:
    """One corrector without its noise, towards the top class."""
    step = corrector_step(tau, w, 0.25, rho)
    return langevin(x, tau, w, step, of_mixture(THREE, 0), Given())


def test_k_5_by_neighbours_between_two_classes() -> None:
    """The text: with 0.8 two states half way between two classes move apart, with 0.2 not."""
    middle = (THREE.means[0] + THREE.means[1]) / 2
    along = (THREE.means[0] - THREE.means[1]) / 6.75**0.5
    for rho, factor in ((0.2, 0.47), (0.8, -1.12)):
        ends = moved_by_one(middle + 1e-6 * np.array([along, -along]), 1e-3, 3.0, rho)
        found = (ends[0] - ends[1]) @ along / 2e-6
        assert found == pytest.approx(factor, abs=5e-3)


@pytest.mark.parametrize("rho", [0.2, 0.8, 4.0, 15.0, 17.0])
def test_k_5_by_correctors_that_do_not_diverge(rho: float) -> None:
    """The text: one corrector in terms of theta; states far away come back if theta < 2.

    An earlier text had the correctors diverge between the classes. They do so only from theta = 2
    on, which is rho = 16 for w = 3.
    """
    w, tau = 3.0, 1e-3
    theta = rho / (2 * (1 + w))
    x = np.array([[0.4, 0.3], [-50.0, 20.0], [300.0, 400.0]])
    p = np.exp(noised(THREE, tau).log_class_probability(x))
    shown = (1 - theta) * x + theta * ((1 + w) * THREE.means[0] - w * (p @ THREE.means))
    np.testing.assert_allclose(moved_by_one(x, tau, w, rho), shown, rtol=1e-9)
    top, left, right = THREE.means
    x = np.array([(top + left) / 2, (top + right) / 2, [4.5, -4.5]])
    rng = np.random.default_rng(3)
    step = corrector_step(tau, w, 0.25, rho)
    for _ in range(300):
        x = langevin(x, tau, w, step, of_mixture(THREE, 0), rng)
    # The bounded term is at most 1.5 (1 + 2 w) theta. For theta = 1.875 the factor of x is -0.875,
    # so x ends below 10.5 * 1.875 / 0.125 = 158, up to the noise of variance 0.94.
    assert (np.abs(x).max() < 200) == (theta < 2)
    if rho <= 0.8:
        assert (x[:, 1] > 0).all()  # all three are in the top class


def test_k_5_by_samples_with_a_large_step() -> None:
    """The text: with rho = 0.8 the top class ends at the height 1.536 in the plane."""
    rng = np.random.default_rng(0)
    x = 100 * rng.standard_normal((3000, 2))
    taus = levels(30, 1e4, 1e-3)
    x = last(corrected_steps(x, taus, 3.0, 12, 0.8, 0.25, of_mixture(THREE, 0), rng))
    assert x[:, 1].mean() == pytest.approx(1.536, abs=5e-4)
    assert np.abs(x).max() < 4


def test_k_5_by_concave_densities() -> None:
    """The text: for w >= 0 the curvature is positive at every place and along every axis."""
    for x in np.random.default_rng(8).uniform(-2, 2, (40, 2)):
        for w in (0.0, 1.0, 9.0):
            assert np.linalg.eigvalsh(jacobian(x, 0.05, w)).min() > 0
