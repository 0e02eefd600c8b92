"""Appendix B: the sampler against its exact law, by impulses, sums, chains and planted mistakes.

A statistical test here names its rate of false alarms, 1e-6 in each of four directions, and shows
by computation that each planted mistake it is meant to find is found at a rate above 0.99.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstwo, norm

from tests.tutorial.affine_chains import (
    ALARM,
    ALGEBRA,
    MISS,
    MIXTURE,
    SCHEDULE,
    SHORT,
    A_and_b,
    N,
    end_of,
    exact_law,
    is_refused,
    planted,
    rate_of_misses,
    sample_path,
)
from tests.tutorial.noise import Given
from tutorial.appendix.b_chain_distribution import chain_law, dkw_bound, final_mean
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step07_sampling import ancestral_sample, ancestral_steps

MEAN = MIXTURE.means[1]
COV = MIXTURE.covs[1]


IN_SAMPLES = [
    "beta for its posterior",
    "no square root",
    "no noise",
    "time off by one",
    "weights swapped",
    "no x_t in the mean",
]


def C(t: int, schedule: Schedule) -> np.ndarray:
    return schedule.alpha_bar[t] * COV + (1 - schedule.alpha_bar[t]) * np.eye(2)


@pytest.fixture(scope="module")
def sampled() -> dict[int, np.ndarray]:
    return sample_path()


@pytest.mark.parametrize("schedule", [SHORT, SCHEDULE])
def test_b_1_by_read_off(schedule: Schedule) -> None:
    """The step maps the noised centre to the noised centre: `A centre_t + b = centre_{t-1}`."""
    for t in range(1, schedule.T + 1):
        A, b = A_and_b(t, schedule)
        signal = np.sqrt(schedule.alpha_bar)
        np.testing.assert_allclose(A @ (signal[t] * MEAN) + b, signal[t - 1] * MEAN, atol=ALGEBRA)


def test_b_1_by_regression_on_forward_chains() -> None:
    """Run forwards, regress x_2 on x_3: the slopes and intercept of the sampler's step."""
    rng = np.random.default_rng(4)
    n = 200_000
    x = MEAN + rng.standard_normal((n, 2)) @ np.linalg.cholesky(COV).T
    x_prev = x
    for t in range(1, 4):
        x_prev = x
        x = np.sqrt(SHORT.alpha[t]) * x + np.sqrt(SHORT.beta[t]) * rng.standard_normal((n, 2))
    features = np.column_stack([x, np.ones(n)])
    weights, residual, *_ = np.linalg.lstsq(features, x_prev)
    errors = np.sqrt(np.diag(np.linalg.inv(features.T @ features))[:, None] * residual / n)
    A, b = A_and_b(3, SHORT)
    assert (np.abs(weights - np.vstack([A.T, b])) < 5 * errors).all()


@pytest.mark.parametrize("schedule", [SHORT, SCHEDULE])
def test_b_2_by_read_off(schedule: Schedule) -> None:
    for t in range(1, schedule.T + 1):
        expected = np.sqrt(schedule.alpha[t]) * C(t - 1, schedule) @ np.linalg.inv(C(t, schedule))
        np.testing.assert_allclose(A_and_b(t, schedule)[0], expected, atol=ALGEBRA)


def test_b_2_by_product_of_all_steps() -> None:
    """The response of the end to the start is the collapsed product."""
    x = end_of(
        ancestral_steps(
            oracle_eps(MIXTURE, SHORT), np.ones(3, int), SHORT, 0.0, Given({0: np.eye(3, 2)})
        )
    )
    product = np.sqrt(SHORT.alpha_bar[3]) * COV @ np.linalg.inv(C(3, SHORT))
    np.testing.assert_allclose((x[:2] - x[2]).T, product, atol=ALGEBRA)


@pytest.mark.parametrize("schedule", [SHORT, SCHEDULE])
def test_b_3_by_chain_without_noise(schedule: Schedule) -> None:
    m = chain_law(MEAN, COV, schedule)[0]
    for t, x in ancestral_steps(
        oracle_eps(MIXTURE, schedule), np.array([1]), schedule, 0.0, Given()
    ):
        np.testing.assert_allclose(x[0], m[t], atol=ALGEBRA)


def test_b_3_by_samples(sampled: dict[int, np.ndarray]) -> None:
    """5 standard errors at each of 21 times and both axes: a false alarm in 40,000 runs."""
    m, V, _ = chain_law(MEAN, COV, SCHEDULE)
    for t, x in sampled.items():
        error = np.sqrt(np.diag(V[t]) / N)
        assert (np.abs(x.mean(0) - m[t]) < 5 * error).all(), t


@pytest.mark.parametrize("schedule", [SHORT, SCHEDULE])
def test_b_4_by_impulses(schedule: Schedule) -> None:
    m, V, _ = chain_law(MEAN, COV, schedule)
    law = exact_law(ancestral_steps, oracle_eps(MIXTURE, schedule), 1, schedule)
    assert sorted(law) == list(range(schedule.T + 1))
    for t, (mean, cov) in law.items():
        np.testing.assert_allclose(mean, m[t], atol=ALGEBRA)
        np.testing.assert_allclose(cov, V[t], atol=ALGEBRA)


def collapsed_sum(cov: np.ndarray, schedule: Schedule) -> np.ndarray:
    """V_0 with all products collapsed: S^2 (abar_T / C_T^2 + sum abar_{t-1} var_t / C_{t-1}^2)."""
    lam, axes = np.linalg.eigh(cov)
    abar = schedule.alpha_bar[:, None]
    Ct = abar * lam + 1 - abar
    var = schedule.beta[1:, None] * (1 - abar[:-1]) / (1 - abar[1:])
    total = abar[-1] / Ct[-1] ** 2 + (abar[:-1] * var / Ct[:-1] ** 2).sum(0)
    return axes @ np.diag(lam**2 * total) @ axes.T


@pytest.mark.parametrize("schedule", [SHORT, SCHEDULE, Schedule.cosine(30), Schedule.linear(1)])
def test_b_4_by_collapsed_sum(schedule: Schedule) -> None:
    V = chain_law(MEAN, COV, schedule)[1]
    np.testing.assert_allclose(V[0], collapsed_sum(COV, schedule), atol=ALGEBRA)


@pytest.mark.parametrize("t", [0, 1, 5, 15])
def test_b_4_by_samples(t: int, sampled: dict[int, np.ndarray]) -> None:
    m, V, _ = chain_law(MEAN, COV, SCHEDULE)
    assert not is_refused(sampled[t], (m[t], V[t]))
    noised = np.sqrt(SCHEDULE.alpha_bar[t]) * MEAN, C(t, SCHEDULE)
    if t < 5:  # at larger t the two laws are near each other
        assert is_refused(sampled[t], noised), "T = 20 is not enough to pass for the data"


@pytest.mark.parametrize("schedule", [SHORT, Schedule.linear(1)])
def test_b_5_by_chain_without_noise(schedule: Schedule) -> None:
    T = schedule.T
    expected = MEAN - schedule.alpha_bar[T] * COV @ np.linalg.inv(C(T, schedule)) @ MEAN
    found = ancestral_sample(oracle_eps(MIXTURE, schedule), np.array([1]), schedule, 0.0, Given())
    np.testing.assert_allclose(found[0], expected, atol=ALGEBRA)
    np.testing.assert_allclose(chain_law(MEAN, COV, schedule)[0][0], expected, atol=ALGEBRA)
    np.testing.assert_allclose(final_mean(MEAN, COV, schedule), found[0], atol=ALGEBRA)


def test_b_5_by_start_from_the_right_law() -> None:
    """Started at the noised centre instead of 0, the mean is right all the way."""
    start = np.sqrt(SHORT.alpha_bar[3]) * MEAN[None]
    path = ancestral_steps(oracle_eps(MIXTURE, SHORT), np.array([1]), SHORT, 0.0, Given({0: start}))
    for t, x in path:
        np.testing.assert_allclose(x[0], np.sqrt(SHORT.alpha_bar[t]) * MEAN, atol=ALGEBRA)


@pytest.mark.parametrize("schedule", [SHORT, SCHEDULE, Schedule.linear(1)])
def test_b_6_by_difference_of_laws(schedule: Schedule) -> None:
    _, V, G = chain_law(MEAN, COV, schedule)
    for t in range(schedule.T + 1):
        np.testing.assert_allclose(G[t], C(t, schedule) - V[t], atol=ALGEBRA)
    if schedule is SCHEDULE:  # the start is forgotten: too narrow, in every direction
        assert np.linalg.eigvalsh(G[0]).min() > 0


def test_b_6_by_rate() -> None:
    """`T G_0` grows by `T beta_1 log T`: ten times the steps add 0.1 log 10, to 2% at T = 10^6."""
    lost = {T: T * (COV - collapsed_sum(COV, Schedule.linear(T))) for T in (200, 10**5, 10**6)}
    np.testing.assert_allclose(
        200 * chain_law(MEAN, COV, Schedule.linear(200))[2][0], lost[200], rtol=1e-9
    )
    np.testing.assert_allclose(
        lost[10**6] - lost[10**5], 0.1 * np.log(10) * np.eye(2), atol=0.02 * 0.23
    )


def test_b_7_by_exact_distribution() -> None:
    """SciPy knows the exact law of the distance: the bound holds, and is not a loose one."""
    for n in (50, 1000, N):
        for rate in (0.1, 1e-3, ALARM):
            exact = kstwo.sf(dkw_bound(n, rate), n)
            assert exact <= rate
            assert exact > 0.4 * rate
    assert kstwo.sf(dkw_bound(N, 0.05), N) > 0.98 * 0.05


def test_b_7_by_false_alarms() -> None:
    """4,000 honest sets of 200 normals (seed 0) at a rate of 0.1, give or take 5 errors.

    Down to 0.09, too: for 200 samples the exact rate is 0.094, as a bound may be.
    """
    x = np.sort(np.random.default_rng(0).standard_normal((4000, 200)))
    F = norm.cdf(x)
    steps = np.arange(201) / 200
    far = np.maximum(steps[1:] - F, F - steps[:-1]).max(1)
    error = np.sqrt(0.1 * 0.9 / 4000)
    assert 0.09 - 5 * error < (far > dkw_bound(200, 0.1)).mean() < 0.1 + 5 * error


@pytest.mark.parametrize("mistake", IN_SAMPLES)
def test_b_7_by_planted_mistakes(mistake: str) -> None:
    """Missed at a rate below 0.01 by 20,000 samples, and one set of them (seed 5) is not."""
    model = oracle_eps(MIXTURE, SCHEDULE)
    m, V, _ = chain_law(MEAN, COV, SCHEDULE)
    law = exact_law(planted(mistake), model, 1, SCHEDULE)[0]
    assert rate_of_misses(N, law, (m[0], V[0])) < MISS
    x = end_of(planted(mistake)(model, np.full(N, 1), SCHEDULE, 0.0, np.random.default_rng(5)))
    assert is_refused(x, (m[0], V[0]))


def test_b_7_by_nothing_planted() -> None:
    """The bench itself, without a mistake in it, is the sampler: same draws, same samples."""
    model = oracle_eps(MIXTURE, SCHEDULE)
    y = np.full(N, 1)
    x = end_of(planted("nothing")(model, y, SCHEDULE, 0.0, np.random.default_rng(8)))
    np.testing.assert_allclose(
        x, ancestral_sample(model, y, SCHEDULE, 0.0, np.random.default_rng(8)), atol=ALGEBRA
    )
