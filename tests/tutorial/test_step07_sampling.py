"""Step 7: the sampler against its own exact law, by impulses, sums, chains, and planted mistakes.

A statistical test here names its rate of false alarms, 1e-6 in each of four directions, and shows
by computation that each planted mistake it is meant to find is found at a rate above 0.99.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.stats import kstest, norm

from tests.tutorial.affine_chains import (
    ALARM,
    ALGEBRA,
    MISS,
    MIXTURE,
    SCHEDULE,
    SHORT,
    A_and_b,
    N,
    Steps,
    end_of,
    exact_law,
    is_refused,
    planted,
    rate_of_misses,
    sample_path,
)
from tests.tutorial.noise import Given
from tutorial.appendix.b_chain_distribution import dkw_bound
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule
from tutorial.step04_posterior import posterior_coefficients
from tutorial.step05_best_guess import Oracle, mean_x0, oracle_eps
from tutorial.step06_reverse import p_xprev_given_xt, reverse_var
from tutorial.step07_sampling import ancestral_sample, ancestral_steps, loop_variance

LONG = Schedule.linear(50)
K = 3


@dataclass
class TwoGaussians:
    """Two affine denoisers: label 0 asks for class 1 of MIXTURE, the null label for class 2."""

    schedule: Schedule
    num_classes: int = 1
    prediction: str = "eps"
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
        self.asked.append((t, int(y[0])))
        return oracle_eps(MIXTURE, self.schedule)(xt, t, y + 1)


AT_THE_END = ["noise at the end", "last step skipped"]


def first_and_last_step_are_right(steps: Steps) -> bool:
    """One chain whose last draw is enormous: it starts at a draw, and ends at the guess of x_0."""
    start = np.array([[0.3, -0.7]])
    loud = np.array([[1e6, -1e6]])
    y = np.array([1])
    path = list(steps(oracle_eps(MIXTURE, LONG), y, LONG, 0.0, Given({0: start, 50: loud})))
    before = path[-2][1]
    t, x0 = path[-1]
    right = mean_x0(before, 1, y, MIXTURE, LONG)
    return path[0][1] is start and t == 0 and bool(np.allclose(x0, right, rtol=0, atol=ALGEBRA))


@pytest.fixture(scope="module")
def sampled() -> dict[int, np.ndarray]:
    return sample_path()


def test_7_1_by_given_start() -> None:
    start = np.array([[5.0, -3.0], [0.1, 0.2]])
    path = ancestral_steps(
        oracle_eps(MIXTURE, SHORT), np.array([0, K]), SHORT, 0.0, Given({0: start})
    )
    t, xt = next(path)
    assert t == SHORT.T
    np.testing.assert_array_equal(xt, start)


def test_7_1_by_samples(sampled: dict[int, np.ndarray]) -> None:
    assert not is_refused(sampled[20], (np.zeros(2), np.eye(2)))


@pytest.mark.parametrize("w", [0.0, 1.5])
def test_7_2_by_mean_from_eps(w: float) -> None:
    """Without noise the chain is known: step 6's mean written with eps, (6.4), not with x0."""
    start = np.array([[0.5, -1.0], [1.5, 0.2]])
    y = np.array([2, 0])
    null = np.array([K, K])
    model = oracle_eps(MIXTURE, SCHEDULE)
    x = start
    for t, found in ancestral_steps(model, y, SCHEDULE, w, Given({0: start})):
        np.testing.assert_allclose(found, x, atol=ALGEBRA)
        if t > 0:
            alpha = SCHEDULE.alpha[t]
            noise = np.sqrt(1 - SCHEDULE.alpha_bar[t])
            eps = model(x, t, y) + w * (model(x, t, y) - model(x, t, null))
            x = (x - (1 - alpha) / noise * eps) / np.sqrt(alpha)


def test_7_2_by_impulses_of_one_draw() -> None:
    """A 1 in the k-th draw moves that step by the deviation, and by nothing else.

    The deviation is written by precisions, (4.1), and is that of the step, on both axes.
    """
    for t in range(SCHEDULE.T, 1, -1):
        draw = {SCHEDULE.T + 1 - t: np.array([[1.0, 0.0], [0.0, -1.0], [0.0, 0.0]])}
        path = dict(
            ancestral_steps(
                oracle_eps(MIXTURE, SCHEDULE), np.ones(3, int), SCHEDULE, 0.0, Given(draw)
            )
        )
        moved = path[t - 1] - path[t - 1][2]
        alpha = SCHEDULE.alpha[t]
        var = 1 / (alpha / (1 - alpha) + 1 / (1 - SCHEDULE.alpha_bar[t - 1]))
        expected = np.sqrt(var) * draw[SCHEDULE.T + 1 - t]
        np.testing.assert_allclose(moved, expected, atol=ALGEBRA)
        np.testing.assert_allclose(path[t] - path[t][2], 0, atol=ALGEBRA)


def test_7_2_by_transfer_on_a_grid() -> None:
    """The null chain of two classes is no Gaussian. Its density is carried step by step on a grid.

    The classes differ along axis 0 only, so that axis is a chain of its own. x_1 is compared: the
    step to x_0 has no density. Sums over a grid of step 0.02, the narrowest kernel's deviation
    being 0.06: exact to 1e-6.
    """
    schedule = Schedule.cosine(10)
    mu = np.array([-1.5, 1.0])
    var = 0.1
    share = np.array([0.7, 0.3])
    means = np.stack([mu, np.zeros(2)], 1)
    covs = np.tile(np.diag([var, 1.0]), (2, 1, 1))
    x = np.arange(-6, 6, 0.02)
    p = norm.pdf(np.arange(-6, 6, 0.02))
    for t in range(10, 1, -1):
        c_0, c_t, posterior_var = posterior_coefficients(t, schedule)
        abar = schedule.alpha_bar[t]
        total = abar * var + 1 - abar
        each = share * norm.pdf(x[:, None], np.sqrt(abar) * mu, np.sqrt(total))
        guess = mu + np.sqrt(abar) * var / total * (x[:, None] - np.sqrt(abar) * mu)
        mean = c_0 * (each * guess).sum(1) / each.sum(1) + c_t * x
        p = 0.02 * norm.pdf(x[:, None], mean, np.sqrt(posterior_var)) @ p
    model = oracle_eps(GaussianMixture(means, covs, share), schedule)
    path = ancestral_steps(model, np.full(N, 2), schedule, 0.0, np.random.default_rng(9))
    x1 = next(xt for t, xt in path if t == 1)[:, 0]
    cdf = np.cumsum(p) * 0.02 - p * 0.01
    assert kstest(x1, lambda v: np.interp(v, x, cdf)).statistic < dkw_bound(N, ALARM)


def test_7_2_by_rows_alone_and_together() -> None:
    """Labels of all kinds in one batch, the null label among them: a row sees only its own."""
    rng = np.random.default_rng(3)
    y = np.array([0, K, 2, 1, K])
    draws = {k: rng.standard_normal((5, 2)) for k in range(21)}
    model = oracle_eps(MIXTURE, SCHEDULE)
    together = end_of(ancestral_steps(model, y, SCHEDULE, 0.7, Given(draws)))
    for i in range(5):
        own = Given({k: draw[i : i + 1] for k, draw in draws.items()})
        alone = ancestral_sample(model, y[i : i + 1], SCHEDULE, 0.7, own)
        np.testing.assert_allclose(together[i], alone[0], atol=ALGEBRA)
    assert ancestral_sample(model, y[:0], SCHEDULE, 0.0, rng).shape == (0, 2)


def test_7_2_by_calls() -> None:
    """w = 0 costs one call a step and never asks for the null label; any other w costs two."""
    for w, labels in ((0.0, {0}), (1.0, {0, 1}), (-1.0, {0, 1})):
        model = TwoGaussians(SHORT)
        ancestral_sample(model, np.zeros(4, int), SHORT, w, np.random.default_rng(0))
        assert sorted(model.asked) == sorted((t, y) for t in (1, 2, 3) for y in labels)


def test_7_2_by_null_chain() -> None:
    """w = -1 is the chain of the null label; and a null row is the same for every w."""
    model = oracle_eps(MIXTURE, SCHEDULE)
    y = np.array([0, 1, 2])
    null = ancestral_sample(model, 0 * y + K, SCHEDULE, 0.0, np.random.default_rng(1))
    for label, w in ((y, -1.0), (0 * y + K, 3.0)):
        x = ancestral_sample(model, label, SCHEDULE, w, np.random.default_rng(1))
        np.testing.assert_allclose(x, null, atol=ALGEBRA)


@pytest.mark.parametrize("w", [-0.5, 1.0])
def test_7_2_by_guided_law(w: float) -> None:
    """Two Gaussians guide to a third, whose law is a recursion in the mixed A and b."""
    m = np.zeros(2)
    V = np.eye(2)
    for t in range(SCHEDULE.T, 0, -1):
        A, b = A_and_b(t, SCHEDULE, 1)
        A_null, b_null = A_and_b(t, SCHEDULE, 2)
        A = A + w * (A - A_null)
        b = b + w * (b - b_null)
        m = A @ m + b
        V = A @ V @ A.T + posterior_coefficients(t, SCHEDULE)[2] * np.eye(2)
    found = exact_law(ancestral_steps, TwoGaussians(SCHEDULE), 0, SCHEDULE, w)[0]
    np.testing.assert_allclose(found[0], m, atol=ALGEBRA)
    np.testing.assert_allclose(found[1], V, atol=ALGEBRA)
    x = ancestral_sample(
        TwoGaussians(SCHEDULE), np.zeros(N, int), SCHEDULE, w, np.random.default_rng(2)
    )
    assert not is_refused(x, (m, V))
    assert is_refused(x, exact_law(ancestral_steps, TwoGaussians(SCHEDULE), 0, SCHEDULE, 0.0)[0])


@pytest.mark.parametrize("mistake", AT_THE_END)
def test_7_6_by_planted_mistakes(mistake: str) -> None:
    """A million samples of a chain of 50 steps may well miss it; one step cannot."""
    true, law = (
        exact_law(s, oracle_eps(MIXTURE, LONG), 1, LONG)
        for s in (ancestral_steps, planted(mistake))
    )
    assert rate_of_misses(1_000_000, law[min(law)], true[0]) > MISS
    assert not first_and_last_step_are_right(planted(mistake))


def test_7_6_by_loud_last_draw() -> None:
    assert first_and_last_step_are_right(ancestral_steps)
    assert first_and_last_step_are_right(planted("nothing"))


def test_7_6_by_counting() -> None:
    """T + 1 draws, T + 1 states, from T down to 0, and the sample is the last of them."""
    model = oracle_eps(MIXTURE, SCHEDULE)
    rng = Given()
    y = np.array([1, K])
    path = list(ancestral_steps(model, y, SCHEDULE, 0.0, rng))
    assert [t for t, _ in path] == list(range(20, -1, -1))
    assert rng.asked == 21
    np.testing.assert_array_equal(path[-1][1], ancestral_sample(model, y, SCHEDULE, 0.0, Given()))


def test_7_6_by_chain_of_one_step() -> None:
    """T = 1: the sample is the guess at the start."""
    schedule = Schedule(np.array([0.0, 0.6]))
    start = np.array([[0.4, -0.9]])
    y = np.array([K])
    found = ancestral_sample(oracle_eps(MIXTURE, schedule), y, schedule, 0.0, Given({0: start}))
    np.testing.assert_allclose(found, mean_x0(start, 1, y, MIXTURE, schedule), atol=ALGEBRA)


def test_7_2_by_other_units() -> None:
    """A model that puts out x0 is asked for its unit: the same chain as with eps."""

    @dataclass
    class AsX0:
        oracle: Oracle
        num_classes: int = K
        prediction: str = "x0"

        def __call__(self, xt: np.ndarray, t: int, y: np.ndarray, /) -> np.ndarray:
            return mean_x0(xt, t, y, self.oracle.mixture, self.oracle.schedule)

    model = oracle_eps(MIXTURE, SCHEDULE)
    y = np.array([0, 1, 2, K])
    a, b = (
        ancestral_sample(each, y, SCHEDULE, 1.5, np.random.default_rng(6))
        for each in (model, AsX0(model))
    )
    np.testing.assert_allclose(a, b, atol=1e-9)  # 1 / sqrt(abar_T) = 300 times more than ALGEBRA


def test_7_2_by_refusal_of_wrong_label() -> None:
    with pytest.raises(ValueError, match=r"outside 0\.\.3"):
        ancestral_sample(oracle_eps(MIXTURE, SHORT), np.array([0, 4]), SHORT, 0.0, Given())


ROUND = Schedule.cosine(12)


def one_gaussian(S: float, schedule: Schedule) -> Oracle:
    """The exact denoiser of data N(0, S I)."""
    return oracle_eps(GaussianMixture(np.zeros((1, 2)), S * np.eye(2)[None], np.ones(1)), schedule)


@pytest.mark.parametrize("S", [0.25, 1.0, 4.0])
def test_7_3_by_each_step(S: float) -> None:
    """Covariance over variance, from the forward step, against the factor that the loop applies."""
    V, _ = loop_variance(S, ROUND)
    x = np.array([[0.0, 0.0], [1.0, 0.0]])
    for t in range(1, 13):
        alpha = ROUND.alpha[t]
        before, after = (ROUND.alpha_bar[u] * S + 1 - ROUND.alpha_bar[u] for u in (t - 1, t))
        # Rows of the forward step: x_{t-1} = sqrt(before) a, x_t = sqrt(alpha) x_{t-1} + noise b.
        joint = np.array([[np.sqrt(before), 0.0], [np.sqrt(alpha * before), np.sqrt(1 - alpha)]])
        cov = joint @ joint.T
        assert cov[0, 1] == pytest.approx(np.sqrt(alpha) * before, abs=ALGEBRA)
        A = cov[0, 1] / cov[1, 1]
        assert cov[1, 1] == pytest.approx(after, abs=ALGEBRA)
        out = one_gaussian(S, ROUND)(x, t, np.zeros(2, int))
        mean = p_xprev_given_xt(x, out, t, ROUND).mean
        assert mean[1, 0] - mean[0, 0] == pytest.approx(A, abs=ALGEBRA)
        found = (V[t - 1] - posterior_coefficients(t, ROUND)[2]) / V[t]
        assert found == pytest.approx(A**2, abs=ALGEBRA)


@pytest.mark.parametrize("S", [0.25, 4.0])
def test_7_3_by_response_of_the_loop(S: float) -> None:
    """A start of 1 in place of 0 is multiplied by every factor in turn, and the square adds up."""
    start = np.array([[0.0, 0.0], [1.0, 0.0]])
    steps = ancestral_steps(one_gaussian(S, ROUND), np.zeros(2, int), ROUND, 0.0, Given({0: start}))
    path = {t: x[1, 0] - x[0, 0] for t, x in steps}
    V, _ = loop_variance(S, ROUND)
    for t in range(1, 13):
        A = path[t - 1] / path[t]
        var = posterior_coefficients(t, ROUND)[2]
        assert V[t - 1] == pytest.approx(A**2 * V[t] + var, abs=ALGEBRA)


@pytest.mark.parametrize("S", [0.0, 0.25, 1.0, 4.0])
def test_7_4_by_impulses(S: float) -> None:
    """The covariance of the loop itself, from its response to every draw."""
    V, _ = loop_variance(S, ROUND)
    model = one_gaussian(max(S, 1e-12), ROUND)
    for t, (_, cov) in exact_law(ancestral_steps, model, 0, ROUND).items():
        np.testing.assert_allclose(cov, V[t] * np.eye(2), atol=ALGEBRA)


def test_7_4_by_numbers_in_the_text() -> None:
    """The example with two steps, and the table, for data of variance 1/4."""
    V, _ = loop_variance(0.25, Schedule.cosine(2))
    np.testing.assert_allclose(V, [0.039, 0.506, 1.0], atol=5e-4)
    Ts = (10, 20, 50, 100, 200, 1000)
    table = {
        Schedule.linear: (0.091, 0.148, 0.197, 0.219, 0.233, 0.246),
        Schedule.cosine: (0.151, 0.187, 0.219, 0.233, 0.241, 0.248),
    }
    for kind, row in table.items():
        found = [loop_variance(0.25, kind(T))[0][0] for T in Ts]
        assert found == pytest.approx(row, abs=5.1e-4)


@pytest.mark.parametrize("S", [0.0, 0.25, 1.0, 4.0])
def test_7_5_by_each_step(S: float) -> None:
    """G is C - V, and what a step leaves out is c_0^2 times the variance of the data given x_t."""
    V, G = loop_variance(S, ROUND)
    C = ROUND.alpha_bar * S + 1 - ROUND.alpha_bar
    np.testing.assert_allclose(G, C - V, atol=ALGEBRA)
    for t in range(1, 13):
        abar = ROUND.alpha_bar[t]
        var_x0 = S - (np.sqrt(abar) * S) ** 2 / C[t]
        assert var_x0 == pytest.approx((1 - abar) * S / C[t], abs=ALGEBRA)
        A = np.sqrt(ROUND.alpha[t]) * C[t - 1] / C[t]
        # The law of total variance for the noised data, with the true variance of the step.
        total = A**2 * C[t] + reverse_var(var_x0, t, ROUND)
        assert total == pytest.approx(C[t - 1], abs=ALGEBRA)


def test_7_5_by_one_step_from_two_schedules() -> None:
    """One linear step starts from too much of the data, and its samples have too much variance.

    One cosine step starts from almost none of it, and returns the mean of the data.
    """
    for kind, abar, var in ((Schedule.linear, 0.9, 0.53), (Schedule.cosine, 0.001, 0.0)):
        assert kind(1).alpha_bar[1] == pytest.approx(abar, rel=1e-9)
        V, G = loop_variance(0.25, kind(1))
        assert V[0] == pytest.approx(var, abs=5e-3)
        assert (G[0] < 0) == (var > 0.25)


@pytest.mark.parametrize("S", [0.01, 0.25, 0.9])
def test_7_5_by_what_the_start_contributes(S: float) -> None:
    """The start contributes its G times the product of the squared factors, less than abar_T^2."""
    # Longer schedules have an abar_T whose square is lost in rounding.
    some = Schedule(np.array([0.0, 0.3, 0.2, 0.6]))
    for schedule in (Schedule.linear(1), Schedule.linear(2), some):
        T = schedule.T
        abar = schedule.alpha_bar
        C = abar * S + 1 - abar
        squares = schedule.alpha[1:] * (C[:-1] / C[1:]) ** 2  # of A, for t = 1..T
        losses = [
            posterior_coefficients(t, schedule)[0] ** 2 * (1 - abar[t]) * S / C[t]
            for t in range(1, T + 1)
        ]
        later = sum(loss * np.prod(squares[: t - 1]) for t, loss in enumerate(losses, 1))
        start = loop_variance(S, schedule)[1][0] - later
        claimed = (C[T] - 1) * abar[T] * S**2 / C[T] ** 2
        assert start == pytest.approx(claimed, abs=ALGEBRA)
        assert -(abar[T] ** 2) < start < 0


@pytest.mark.parametrize("S", [0.01, 0.25, 0.9])
def test_7_5_by_when_the_variance_is_too_small(S: float) -> None:
    """The bounds on what the start contributes and on what the last step adds."""
    rng = np.random.default_rng(11)
    for beta in rng.uniform(1e-4, 0.9, (50, 3)):
        schedule = Schedule(np.array([0.0, *beta]))
        abar = schedule.alpha_bar[-1]
        C = schedule.alpha_bar * S + 1 - schedule.alpha_bar
        V, G = loop_variance(S, schedule)
        start = abar**2 * (1 - S) * S**2 / C[-1] ** 2
        assert start <= abar**2 * S / (1 - abar)
        # The last step alone: what (7.5) adds at t = 1, which c_0 = 1 does not shrink.
        A = np.sqrt(schedule.alpha[1]) * C[0] / C[1]
        added = G[0] - A**2 * G[1]
        assert added == pytest.approx(beta[0] * S / C[1], abs=ALGEBRA)
        assert added >= beta[0] * S
        if abar**2 / (1 - abar) < beta[0]:
            assert V[0] < S


def test_7_5_by_both_schedules_of_any_length() -> None:
    """The condition of the text holds on both schedules from T = 2 on, and not for linear T = 1."""
    for T in (*range(2, 60), 100, 1000, 10_000, 100_000, 1_000_000):
        for schedule in (Schedule.linear(T), Schedule.cosine(T)):
            abar = schedule.alpha_bar[T]
            assert abar**2 / (1 - abar) < schedule.beta[1]
    one = Schedule.linear(1)
    assert one.alpha_bar[1] ** 2 / (1 - one.alpha_bar[1]) > one.beta[1]


def test_7_5_by_many_equal_steps() -> None:
    """It is not so that only a large abar_T gives too much variance: 0.1 is enough here."""
    beta = -np.expm1(np.log(0.1) / 50_000)
    schedule = Schedule(np.array([0.0, *np.full(50_000, beta)]))
    assert schedule.alpha_bar[-1] == pytest.approx(0.1, rel=1e-9)
    V, _ = loop_variance(0.25, schedule)
    assert V[0] > 0.25
    assert V[0] == pytest.approx(0.2502, abs=5e-5)


def test_7_5_by_losses_near_the_data() -> None:
    """On a long linear schedule step t loses about beta_1 / t while beta_t is close to beta_1."""
    schedule = Schedule.linear(100_000)
    beta = schedule.beta[1]
    abar = schedule.alpha_bar
    S = 0.25
    for t in range(1, 11):
        C = abar[t] * S + 1 - abar[t]
        c_0 = posterior_coefficients(t, schedule)[0]
        # beta_t grows by 0.2 % in a step here, and the sum of ten of them by 1 %.
        assert 1 - abar[t] == pytest.approx(t * beta, rel=0.02)
        assert c_0 == pytest.approx(1 / t, rel=0.02)
        ratio = S / C
        assert ratio == pytest.approx(1, rel=1e-3)
        assert c_0**2 * (1 - abar[t]) * ratio == pytest.approx(beta / t, rel=0.03)


def test_7_5_by_numbers_in_the_text() -> None:
    """What T G_0 is for two schedules and two variances, and per cent of the variance."""
    for kind, S, T, said in (
        (Schedule.linear, 0.25, 100, 3.1),
        (Schedule.linear, 0.25, 1000, 3.9),
        (Schedule.linear, 0.25, 4000, 4.1),
        (Schedule.linear, 4.0, 1000, 25),
        (Schedule.cosine, 0.25, 100, 1.7),
        (Schedule.cosine, 0.25, 1000, 2.0),
        (Schedule.cosine, 0.25, 4000, 2.1),
        (Schedule.cosine, 4.0, 1000, 17),
    ):
        _, G = loop_variance(S, kind(T))
        assert T * G[0] == pytest.approx(said, rel=0.02)  # two digits
    for kind, T, percent in (
        (Schedule.linear, 100, 12),
        (Schedule.cosine, 100, 7),
        (Schedule.linear, 1000, 1.5),
        (Schedule.cosine, 1000, 0.8),
    ):
        _, G = loop_variance(0.25, kind(T))
        assert 100 * G[0] / 0.25 == pytest.approx(percent, rel=0.04)


def test_7_6_by_how_little_samples_show_of_it() -> None:
    """Noise at the end changes the variance by 1 %, the standard error of 20,000 samples."""
    V, _ = loop_variance(0.25, LONG)
    assert LONG.beta[1] == pytest.approx(0.002, rel=1e-12)
    with_noise = V[0] + LONG.beta[1]
    assert V[0] == pytest.approx(0.197, abs=5e-4)
    assert with_noise == pytest.approx(0.199, abs=5e-4)
    assert with_noise / V[0] - 1 == pytest.approx(np.sqrt(2 / 20_000), rel=0.03)


def test_7_2_by_chain_in_the_text() -> None:
    """Data 1 and -1, ten cosine steps, noise from seed 4: the states and the guesses printed."""
    schedule = Schedule.cosine(10)
    rng = np.random.default_rng(4)
    x = np.array([rng.standard_normal()])
    states: list[float] = []
    guesses: list[float] = []
    for t in range(10, 0, -1):
        abar = schedule.alpha_bar[t]
        guess = np.tanh(np.sqrt(abar) * x / (1 - abar))
        states.append(x[0])
        guesses.append(guess[0])
        step = p_xprev_given_xt(x, guess, t, schedule, "x0")
        x = step.mean + np.sqrt(step.var) * rng.standard_normal()
    printed = [-0.65, -0.19, 1.28, 1.33, 0.09, 0.08, -0.16, -0.20, -0.85, -0.93]
    assert states == pytest.approx(printed, abs=5.1e-3)
    printed = [0.00, -0.03, 0.41, 0.64, 0.08, 0.11, -0.35, -0.68, -1.00, -1.00]
    assert guesses == pytest.approx(printed, abs=5.1e-3)
    assert x[0] == pytest.approx(-1, abs=1e-3)


def test_7_2_by_symmetry() -> None:
    """Classes at 1 and -1: with all noise reversed the sample is reversed, so the mean is right."""
    means = np.array([[1.0, 0.0], [-1.0, 0.0]])
    pair = GaussianMixture(means, 0.01 * np.tile(np.eye(2), (2, 1, 1)), np.full(2, 0.5))
    rng = np.random.default_rng(10)
    draws = {k: rng.standard_normal((50, 2)) for k in range(SHORT.T + 1)}
    reversed_draws = {k: -draw for k, draw in draws.items()}
    x, reversed_x = (
        ancestral_sample(oracle_eps(pair, SHORT), np.full(50, 2), SHORT, 0.0, Given(given))
        for given in (draws, reversed_draws)
    )
    np.testing.assert_allclose(reversed_x, -x, atol=ALGEBRA)
    assert 0 < (x[:, 0] > 0).sum() < 50


@pytest.mark.parametrize(
    ("T", "mean", "rare"),
    [(20, -0.346, 0.076), pytest.param(100, -0.310, 0.095, marks=pytest.mark.exhaustive)],
)
def test_7_2_by_mean_of_a_mixture(T: int, mean: float, rare: float) -> None:
    """Two narrow classes on a line: the density of the loop, carried on a grid of step 0.01.

    The narrowest step noise, at t = 2, has a standard deviation of 0.02 for T = 100, so the sums
    are good to three digits.
    """
    schedule = Schedule.linear(T)
    mu = np.array([-0.5, 1.5])
    weights = np.array([0.9, 0.1])
    x = np.arange(-5, 5, 0.01)

    def guess(t: int) -> np.ndarray:
        abar = schedule.alpha_bar[t]
        C = abar * 0.01 + 1 - abar
        each = weights * norm.pdf(x[:, None], np.sqrt(abar) * mu, np.sqrt(C)) + 1e-300
        given = mu + np.sqrt(abar) * 0.01 / C * (x[:, None] - np.sqrt(abar) * mu)
        return (each * given).sum(1) / each.sum(1)

    p = norm.pdf(x)
    for t in range(T, 1, -1):
        c_0, c_t, var = posterior_coefficients(t, schedule)
        centre = c_0 * guess(t) + c_t * x
        kernel = np.exp(-((x[:, None] - centre) ** 2) / (2 * var))
        p = kernel @ (p / kernel.sum(0))
    p /= p.sum()
    assert p @ guess(1) == pytest.approx(mean, abs=1e-3)
    assert p @ (guess(1) > 0.5) == pytest.approx(rare, abs=1e-3)


def test_7_4_by_refusal_of_a_negative_variance() -> None:
    with pytest.raises(ValueError, match=r"var_x0 = -0\.1 is negative"):
        loop_variance(-0.1, ROUND)
