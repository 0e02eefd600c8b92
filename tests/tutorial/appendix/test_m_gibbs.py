"""Appendix M: the missing term by closed forms and sums; rounds by impulses and samples."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from tests.tutorial.noise import Impulses
from tutorial.appendix.h_gaussian_pairs import EXAMPLE, ddim_law
from tutorial.appendix.j_levels import log_level, mix, of_gaussians, of_mixture
from tutorial.appendix.m_gibbs import gibbs_rounds, growth, left_alone, missing, noised_tilt_score
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Gaussian
from tutorial.step11_guidance import tilt

OTHER = Gaussian(np.array([0.9, -1.3]), 0.3), 1.1
THREE = three_gaussians()
H = 1e-4


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
    """The score of the noised tilt from the mean of x_0: 1e-6 of the difference over 2 h."""
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
    """What is left out vanishes with tau, and is nothing where one of the two is left alone."""
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
def test_m_2_by_impulses(tau: float, w: float) -> None:
    """One round of many steps, extrapolated."""
    for pair in (EXAMPLE, OTHER):
        coarse, fine = (after(1, tau, w, steps, pair, 1.7) for steps in (400, 800))
        exact = (1.7 + tau) / growth(tau, w, *pair)
        assert 2 * fine - coarse == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize(("tau", "w"), CASES)
def test_m_2_by_sum_over_levels(tau: float, w: float) -> None:
    """log G is the precision of each level's tilt, by (11.9), summed (Gauss, 40 nodes)."""
    nodes, shares = np.polynomial.legendre.leggauss(40)
    for law, S in (EXAMPLE, OTHER):
        k = [1 / tilt(Gaussian(law.mean, law.var + t), S + t, w).var for t in tau * (1 + nodes) / 2]
        assert np.log(growth(tau, w, law, S)) == pytest.approx(shares @ k * tau / 2, rel=1e-8)


@pytest.mark.exhaustive(one_in=3)
@pytest.mark.parametrize(("tau", "w"), CASES)
def test_m_3_by_impulses(tau: float, w: float) -> None:
    """Many rounds of many steps: 1% of their finite size."""
    rounds = int(20 / np.log(growth(tau, w, *EXAMPLE))) + 1
    found = after(rounds, tau, w, 200, EXAMPLE, 1.7)
    assert left_alone(tau, w, *EXAMPLE) == pytest.approx(found, rel=0.01)


def test_m_3_by_both_ends() -> None:
    """The tilted law for small tau, DDIM for large: an error of each in proportion."""
    for pair in (EXAMPLE, OTHER):
        near = [left_alone(tau, 2.0, *pair) / tilt(*pair, 2.0).var - 1 for tau in (1e-2, 1e-3)]
        far = [left_alone(tau, 2.0, *pair) / ddim_law(*pair, 2.0).var - 1 for tau in (1e3, 1e4)]
        assert near[1] == pytest.approx(near[0] / 10, rel=0.1)
        assert far[1] == pytest.approx(far[0] / 10, rel=0.1)
        assert abs(near[1]) < 0.01 and abs(far[1]) < 0.01


def test_m_3_by_numbers_in_the_text() -> None:
    taus = (0.01, 0.1, 0.5, 1.0, 10.0)
    found = [left_alone(tau, 2.0, *EXAMPLE) for tau in taus]
    assert found == pytest.approx([0.498, 0.482, 0.431, 0.391, 0.278], abs=5.1e-4)
    kept = [1 / growth(tau, 2.0, *EXAMPLE) for tau in taus]
    assert kept == pytest.approx([0.980, 0.828, 0.463, 0.281, 0.027], abs=5.1e-4)


def test_m_2_by_counting_evaluations():
    asked: list[float] = []

    def counting(x: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
        asked.append(tau)
        return of_gaussians(*EXAMPLE)(x, tau)

    rounds = gibbs_rounds(np.zeros((3, 2)), 0.5, 1.0, 4, counting, np.random.default_rng(0))
    next(rounds)
    # From tau down in even steps; the last one ends at 0, where nothing is asked.
    assert asked == pytest.approx([0.5, 0.375, 0.25, 0.125])
    next(rounds)
    assert len(asked) == 8


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
