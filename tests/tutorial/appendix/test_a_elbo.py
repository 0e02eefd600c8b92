"""Appendix A, by two routes per equation: joint matrices, quadrature, simulated chains.

Routes to L on a line. With a denoiser that is affine in `x_t` both chains are jointly Gaussian, so
`p(x_0)` and the KL of (A.1) follow from two covariance matrices, built here from the betas alone.
The terms are at most quadratic in the noise, so Gauss-Hermite with three nodes averages exactly.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

import tutorial.appendix.a_elbo as lesson
from tests.tutorial.checks import kl_by_quadrature
from tutorial.appendix.a_elbo import (
    elbo_terms,
    exact_eps,
    gaussian_kl,
    path_cost,
    reverse_step,
    tight_cost,
)
from tutorial.step02_forward import Gaussian, Schedule
from tutorial.step03_marginal import kl_to_noise, q_xt_given_x0
from tutorial.step04_posterior import q_posterior
from tutorial.step06_reverse import p_xprev_given_xt

# Short, and with data left at T (alpha_bar = 0.15), so that every term of the bound is of order 1.
SCHEDULE = Schedule(np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5]))
T = 5
X0 = 0.7
BETA = SCHEDULE.beta
ABAR = np.exp(np.cumsum(np.log(1 - SCHEDULE.beta)))
RHO = np.array([np.nan, 0.5, 0.3, 0.8, 0.4, 0.7])  # eps = RHO x_t + SHIFT: no model is this wrong
SHIFT = np.array([np.nan, 0.1, -0.2, 0.3, 0.0, -0.4])
CHOICES = ("posterior", "beta")
ALGEBRA = 1e-11  # float64, sums of some dozen terms of order one to ten: 1e4 roundings of room
NODES, SHARES = np.polynomial.hermite_e.hermegauss(3)
SHARES = SHARES / SHARES.sum()
Y3 = np.zeros(3, int)

Model = Callable[[np.ndarray, int, np.ndarray], np.ndarray]


def affine(rho: np.ndarray = RHO, shift: np.ndarray = SHIFT) -> Model:
    return lambda xt, t, y: rho[t] * xt + shift[t]


def model_var(t: int, choice: str) -> float:
    """By adding precisions (4.1); 1 / 0 at t = 1 is what (8.7) is about."""
    if choice == "beta" or t == 1:
        return BETA[t]
    return 1 / ((1 - BETA[t]) / BETA[t] + 1 / (1 - ABAR[t - 1]))


def joint_q(x0: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of `x_1 .. x_T` given `x_0`."""
    a = ABAR[1:]
    early = np.maximum.outer(a, a)
    late = np.minimum.outer(a, a)
    return np.sqrt(a) * x0, np.sqrt(late / early) * (1 - early)


def joint_p(choice: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of `x_0 .. x_T` under the model: x = m + A z, filled from T down."""
    m = np.zeros(T + 1)
    A = np.zeros((T + 1, T + 1))
    A[T, T] = 1
    for t in range(T, 0, -1):
        pull = BETA[t] / np.sqrt(1 - ABAR[t])
        slope = (1 - pull * RHO[t]) / np.sqrt(1 - BETA[t])
        m[t - 1] = slope * m[t] - pull * SHIFT[t] / np.sqrt(1 - BETA[t])
        A[t - 1] = slope * A[t]
        A[t - 1, t - 1] = np.sqrt(model_var(t, choice))
    return m, A @ A.T


def bound_by_matrices(choice: str) -> tuple[float, float]:
    """`-log p(x_0)` and `KL(q(x_{1:T} | x_0), p(x_{1:T} | x_0))` at X0."""
    mq, Cq = joint_q(X0)
    m, C = joint_p(choice)
    gain = C[1:, 0] / C[0, 0]
    mp = m[1:] + gain * (X0 - m[0])
    Cp = C[1:, 1:] - np.outer(gain, C[0, 1:])
    inverse = np.linalg.inv(Cp)
    logs = np.linalg.slogdet(Cp)[1] - np.linalg.slogdet(Cq)[1]
    kl = 0.5 * (np.trace(inverse @ Cq) - T + (mp - mq) @ inverse @ (mp - mq) + logs)
    return -float(norm.logpdf(X0, m[0], np.sqrt(C[0, 0]))), float(kl)


def expected_terms(choice: str, model: Model | None = None) -> np.ndarray:
    """`E_q[L_0], .., E_q[L_T]` at X0, exactly."""
    eps = np.tile(NODES[:, None], (T + 1, 1, 1))
    return elbo_terms(model or affine(), np.full((3, 1), X0), Y3, eps, SCHEDULE, choice) @ SHARES


def chains(n: int, x0: np.ndarray, schedule: Schedule = SCHEDULE, seed: int = 6) -> np.ndarray:
    """Paths (T + 1, n, D) of the forward chain, one step at a time."""
    rng = np.random.default_rng(seed)
    path = [np.tile(x0, (n, 1))]
    for beta in schedule.beta[1:]:
        z = rng.standard_normal(path[0].shape)
        path.append(np.sqrt(1 - beta) * path[-1] + np.sqrt(beta) * z)
    return np.stack(path)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_1_by_joint_matrices(choice: str) -> None:
    minus_log, gap = bound_by_matrices(choice)
    assert gap > 0.1  # so that leaving it out would show
    assert expected_terms(choice).sum() == pytest.approx(minus_log + gap, abs=ALGEBRA)


def all_paths() -> tuple[np.ndarray, np.ndarray]:
    """243 forward paths (T + 1, 243, 1) from X0 with weights that average quadratics exactly."""
    mean, cov = joint_q(X0)
    root = np.linalg.cholesky(cov)
    z = np.array(list(itertools.product(NODES, repeat=T)))
    weights = np.array([np.prod(w) for w in itertools.product(SHARES, repeat=T)])
    states = mean + z @ root.T
    path = np.concatenate([np.full((len(z), 1), X0), states], axis=1)
    return path.T[:, :, None], weights


@pytest.mark.parametrize("choice", CHOICES)
def test_a_1_by_each_step(choice: str) -> None:
    """The mean cost, the product of the model's densities, and the mean log ratio."""
    path, weights = all_paths()
    cost = path_cost(affine(), path, np.zeros(243, int), SCHEDULE, choice)
    L = cost @ weights
    m, C = joint_p(choice)
    gain = C[1:, 0] / C[0, 0]
    rest = m[1:] + gain * (X0 - m[0]), C[1:, 1:] - np.outer(gain, C[0, 1:])
    log_p_x0 = norm.logpdf(X0, m[0], np.sqrt(C[0, 0]))
    rows = path[:, :, 0].T
    log_q = np.array([log_density(row[1:], *joint_q(X0)) for row in rows])
    log_joint = np.array([log_density(row, m, C) for row in rows])
    log_rest = np.array([log_density(row[1:], *rest) for row in rows])
    assert pytest.approx((log_q - log_joint) @ weights, abs=ALGEBRA) == L
    np.testing.assert_allclose(log_joint, log_p_x0 + log_rest, atol=ALGEBRA)
    assert pytest.approx(-log_p_x0 + (log_q - log_rest) @ weights, abs=ALGEBRA) == L


def test_a_1_by_numbers_in_the_text() -> None:
    """The chain of one step, by hand and by the lesson."""
    schedule = Schedule(np.array([0, 0.5]))
    eps = np.tile(NODES[:, None], (2, 1, 1))
    terms = elbo_terms(lambda xt, t, y: 0 * xt, np.ones((3, 1)), Y3, eps, schedule) @ SHARES
    minus_log_p = -norm.logpdf(1, 0, np.sqrt(2.5))
    doc = " ".join((lesson.__doc__ or "").split())
    for text, number in (
        ("negative log likelihood is then {}, in", minus_log_p),
        (r"/ 2 + 1 = {}$", terms[0]),
        ("which is {}. The sum", terms[1]),
        ("The sum is $L = {}$", terms.sum()),
        ("likelihood by {}. **The claim", terms.sum() - minus_log_p),
    ):
        assert text.format(f"{number:.3f}") in doc


def test_a_1_by_table_in_the_text() -> None:
    """The model's variance by its own recursion, and the terms by Gauss-Hermite."""
    schedule = Schedule.cosine(10)
    rows = re.findall(
        r"\| \$\\(?:tilde\\)?beta_t\$ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", lesson.__doc__ or ""
    )
    assert len(rows) == 2
    var = 1.0
    for choice, row in zip(("beta", "posterior"), rows, strict=True):
        var = 1.0
        for t in range(10, 0, -1):
            abar = schedule.alpha_bar
            narrow = (1 - abar[t - 1]) / (1 - abar[t]) if choice == "posterior" and t > 1 else 1
            var = schedule.alpha[t] * var + schedule.beta[t] * narrow
        minus_log_p = -norm.logpdf(X0, 0, np.sqrt(var))
        eps = np.tile(NODES[:, None], (11, 1, 1))
        terms = elbo_terms(exact_eps(schedule), np.full((3, 1), X0), Y3, eps, schedule, choice)
        means = terms @ SHARES
        L = means.sum()
        expected = [minus_log_p, L, L - minus_log_p]
        np.testing.assert_allclose([float(x) for x in row], expected, atol=6e-4)  # 3 decimals
        assert means.argmax() == 1  # "the largest term is L_1"
        largest = "it is {:.3f}" if choice == "posterior" else "with $\\beta_t$ has {:.3f}."
        assert largest.format(means[1]) in " ".join((lesson.__doc__ or "").split())
        assert means[0] < 0  # "terms may be negative"
    assert f"have the variance {var:.3f}" in " ".join((lesson.__doc__ or "").split())


@pytest.mark.parametrize("choice", CHOICES)
def test_a_1_by_simulated_paths(choice: str) -> None:
    """N = 40,000 paths, seed 6; 4.5 standard errors: one false alarm in 150,000 seeds."""
    cost = path_cost(
        affine(), chains(40_000, np.array([X0])), np.zeros(40_000, int), SCHEDULE, choice
    )
    assert abs(cost.mean() - sum(bound_by_matrices(choice))) < 4.5 * cost.std() / 200


def test_a_1_by_averaged_likelihood() -> None:
    """The mean of exp(-cost) is p(x_0) with no gap. N = 40,000, seed 6, 4.5 standard errors.

    The model's steps are narrower than the true ones, so the averaged weights are bounded.
    """
    n = 40_000
    schedule = Schedule.cosine(8)
    abar = schedule.alpha_bar
    var = 1.0
    for t in range(8, 0, -1):  # the model's chain is x_{t-1} = sqrt(alpha_t) x_t + noise
        own = schedule.beta[t] * ((1 - abar[t - 1]) / (1 - abar[t]) if t > 1 else 1)
        var = schedule.alpha[t] * var + own
    path = chains(n, np.array([X0]), schedule)
    weight = np.exp(-path_cost(exact_eps(schedule), path, np.zeros(n, int), schedule))
    assert abs(weight.mean() - norm.pdf(X0, 0, np.sqrt(var))) < 4.5 * weight.std() / np.sqrt(n)


def log_density(x: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> float:
    """Of a Gaussian with a full covariance."""
    logs = np.linalg.slogdet(2 * np.pi * cov)[1]
    return -0.5 * float((x - mean) @ np.linalg.solve(cov, x - mean) + logs)


def any_path() -> np.ndarray:
    """A path of no particular likelihood: (A.2) holds everywhere, not only on typical ones."""
    return np.array([0.7, -0.4, 1.3, 0.2, -1.1, 0.8])


def log_q_of(path: np.ndarray, choice: str) -> float:
    """The lesson's log q: its cost, plus the model's part taken from the joint matrices."""
    cost = path_cost(affine(), path[:, None, None], np.zeros(1, int), SCHEDULE, choice)[0]
    return float(cost + log_density(path, *joint_p(choice)))


@pytest.mark.parametrize("choice", CHOICES)
def test_a_2_by_forward_product(choice: str) -> None:
    path = any_path()
    steps = norm.logpdf(path[1:], np.sqrt(1 - BETA[1:]) * path[:-1], np.sqrt(BETA[1:]))
    assert log_q_of(path, choice) == pytest.approx(steps.sum(), abs=ALGEBRA)


def test_a_2_by_joint_matrices() -> None:
    path = any_path()
    together = log_density(path[1:], *joint_q(path[0]))
    assert log_q_of(path, "posterior") == pytest.approx(together, abs=ALGEBRA)


def test_a_2_by_each_step() -> None:
    """Bayes' rule at every t, and the product of the quotients, at one path."""
    path = any_path()[:, None, None]
    x0 = path[0]

    def log_marginal(t: int) -> float:
        return float(np.asarray(q_xt_given_x0(x0, t, SCHEDULE).log_density(path[t]))[0])

    quotients = 0.0
    posteriors = 0.0
    for t in range(2, T + 1):
        forward = norm.logpdf(path[t], np.sqrt(1 - BETA[t]) * path[t - 1], np.sqrt(BETA[t])).item()
        back = float(np.asarray(q_posterior(x0, path[t], t, SCHEDULE).log_density(path[t - 1]))[0])
        quotient = log_marginal(t) - log_marginal(t - 1)
        assert forward == pytest.approx(back + quotient, abs=ALGEBRA)
        quotients += quotient
        posteriors += back
    assert quotients == pytest.approx(log_marginal(T) - log_marginal(1), abs=ALGEBRA)
    found = log_q_of(any_path(), "posterior")
    assert found == pytest.approx(log_marginal(T) + posteriors, abs=ALGEBRA)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_3_by_each_step(choice: str) -> None:
    """The costs C_k of 243 paths add up to the path's cost, and have the means of the terms L_k."""
    path, weights = all_paths()
    x0 = path[0]
    y = np.zeros(243, int)
    C = np.empty((T + 1, 243))
    log_q_T = norm.logpdf(path[T], np.sqrt(ABAR[T]) * X0, np.sqrt(1 - ABAR[T]))
    C[T] = (log_q_T - norm.logpdf(path[T]))[:, 0]
    for t in range(1, T + 1):
        p = reverse_step(affine(), path[t], y, t, SCHEDULE, choice)
        log_p = norm.logpdf(path[t - 1], p.mean, np.sqrt(model_var(t, choice)))[:, 0]
        if t == 1:
            C[0] = -log_p
        else:
            q = q_posterior(x0, path[t], t, SCHEDULE)
            C[t - 1] = norm.logpdf(path[t - 1], q.mean, np.sqrt(q.var))[:, 0] - log_p
    cost = path_cost(affine(), path, y, SCHEDULE, choice)
    np.testing.assert_allclose(C.sum(0), cost, atol=ALGEBRA)
    np.testing.assert_allclose(C @ weights, expected_terms(choice), atol=ALGEBRA)


@pytest.mark.parametrize("choice", CHOICES)
def test_a_3_by_log_ratios(choice: str) -> None:
    """Each term by its own mean log ratio, with the posterior from the joint density."""
    m, C = joint_q(X0)
    expected = np.empty(T + 1)
    for t in range(1, T + 1):
        xt = m[t - 1] + np.sqrt(C[t - 1, t - 1]) * NODES[:, None]
        pull = BETA[t] / np.sqrt(1 - ABAR[t]) * (RHO[t] * xt + SHIFT[t])
        mean = (xt - pull) / np.sqrt(1 - BETA[t])
        sd = np.sqrt(model_var(t, choice))
        if t == 1:
            ratio = -norm.logpdf(X0, mean, sd)
        else:
            gain = C[t - 2, t - 1] / C[t - 1, t - 1]
            own_mean = m[t - 2] + gain * (xt - m[t - 1])
            own_sd = np.sqrt(C[t - 2, t - 2] - gain * C[t - 2, t - 1])
            x = own_mean + own_sd * NODES  # rows: x_t; columns: x_{t-1}
            ratio = (norm.logpdf(x, own_mean, own_sd) - norm.logpdf(x, mean, sd)) @ SHARES
        expected[t - 1] = ratio.ravel() @ SHARES
    x = m[-1] + np.sqrt(C[-1, -1]) * NODES
    expected[T] = (norm.logpdf(x, m[-1], np.sqrt(C[-1, -1])) - norm.logpdf(x)) @ SHARES
    np.testing.assert_allclose(expected_terms(choice), expected, atol=ALGEBRA)


def test_a_3_by_simulated_paths() -> None:
    """In 2-D, from many x_0: terms and paths have one mean. N = 40,000, 4.5 standard errors."""
    n = 40_000
    rng = np.random.default_rng(7)
    y = np.zeros(40_000, int)
    path = chains(n, np.array([X0, -1.5]))
    terms = elbo_terms(affine(), path[0], y, rng.standard_normal((T + 1, n, 2)), SCHEDULE).sum(0)
    cost = path_cost(affine(), path, y, SCHEDULE)
    error = np.sqrt((terms.var() + cost.var()) / n)
    assert abs(terms.mean() - cost.mean()) < 4.5 * error


def test_a_3_by_prior_term() -> None:
    """`L_T` is step 3's distance from noise, and no model changes it."""
    x0 = np.array([[0.7, -1.5]])
    eps = np.ones((T + 1, 1, 2))
    for model in (affine(), exact_eps(SCHEDULE)):
        prior = elbo_terms(model, x0, np.zeros(1, int), eps, SCHEDULE)[T]
        np.testing.assert_allclose(prior, kl_to_noise(x0, T, SCHEDULE), atol=ALGEBRA)


def test_a_3_by_labels_that_arrive() -> None:
    """Labels are given throughout: each sample uses its own."""
    y = np.array([0, 2, 1])
    eps = np.ones((T + 1, 3, 1))
    x0 = np.full((3, 1), X0)
    path = np.tile(any_path()[:, None, None], (1, 3, 1))
    by_label: Model = lambda xt, t, y: y[:, None] + 0 * xt  # noqa: E731
    terms = elbo_terms(by_label, x0, y, eps, SCHEDULE)
    cost = path_cost(by_label, path, y, SCHEDULE)
    for i, label in enumerate(y):
        alone = affine(np.zeros(T + 1), np.full(T + 1, float(label)))
        np.testing.assert_array_equal(terms[:, i], elbo_terms(alone, x0, y, eps, SCHEDULE)[:, i])
        assert cost[i] == path_cost(alone, path, y, SCHEDULE)[i]


@pytest.mark.parametrize("v1, v2", [(0.3, 1.7), (1.7, 0.3), (0.5, 0.5)])
def test_a_4_by_quadrature(v1: float, v2: float) -> None:
    expected = kl_by_quadrature(0.4, v1, -0.8, v2)
    found = gaussian_kl(Gaussian(np.array([0.4]), v1), Gaussian(np.array([-0.8]), v2))
    assert found == pytest.approx(expected, abs=1e-8)  # quad's own


def test_a_4_by_simulation() -> None:
    """In 3-D, log ratios at N = 100,000 draws, seed 0, within 4.5 standard errors."""
    g1 = Gaussian(np.array([0.4, 1.0, -0.5]), 0.6)
    g2 = Gaussian(np.array([-0.2, 1.5, 0.0]), 1.1)
    x = g1.mean + np.sqrt(0.6) * np.random.default_rng(0).standard_normal((100_000, 3))
    ratio = np.asarray(g1.log_density(x)) - np.asarray(g2.log_density(x))
    assert abs(ratio.mean() - gaussian_kl(g1, g2)) < 4.5 * ratio.std() / np.sqrt(100_000)


def test_a_4_by_each_step() -> None:
    """In 2-D: the log ratio at a point, and both mean squares by Gauss-Hermite."""
    m1, v1 = np.array([0.4, 1.0]), 0.6
    m2, v2 = np.array([-0.2, 1.5]), 1.1
    z = np.array(list(itertools.product(NODES, NODES)))
    weights = np.outer(SHARES, SHARES).ravel()
    x = m1 + np.sqrt(v1) * z
    far_1 = ((x - m1) ** 2).sum(1)
    far_2 = ((x - m2) ** 2).sum(1)
    ratio = far_2 / (2 * v2) - far_1 / (2 * v1) + np.log(v2 / v1)  # D / 2 = 1
    logs = norm.logpdf(x, m1, np.sqrt(v1)) - norm.logpdf(x, m2, np.sqrt(v2))
    np.testing.assert_allclose(ratio, logs.sum(1), atol=ALGEBRA)
    assert far_1 @ weights == pytest.approx(2 * v1, abs=ALGEBRA)
    assert far_2 @ weights == pytest.approx(2 * v1 + ((m1 - m2) ** 2).sum(), abs=ALGEBRA)
    found = gaussian_kl(Gaussian(m1, v1), Gaussian(m2, v2))
    assert found == pytest.approx(ratio @ weights, abs=ALGEBRA)
    narrow, wide = Gaussian(m1, v1), Gaussian(m2, v2)
    assert gaussian_kl(wide, narrow) > found  # "with v_1 < v_2 the result is then too large"


def test_a_4_by_equal_variances() -> None:
    """Then only the distance of the means is left, and no distance costs nothing."""
    g1, g2 = (Gaussian(np.array([[a, 1.0]]), 0.5) for a in (3.0, 0.0))
    np.testing.assert_allclose(gaussian_kl(g1, g2), 9.0, atol=ALGEBRA)  # 3^2 / (2 x 0.5)
    np.testing.assert_array_equal(gaussian_kl(g1, g1), 0)


def test_a_2_by_a_path_from_0() -> None:
    """The last point of the path costs its density under N(0, 1), wherever the path begins."""
    path = np.linspace(0.0, 0.9, T + 1)[:, None, None]
    near = path.copy()
    near[0] = 1e-9
    costs = [path_cost(affine(), p, np.zeros(1, int), SCHEDULE)[0] for p in (path, near)]
    assert costs[0] == pytest.approx(costs[1], abs=1e-6)


@pytest.mark.parametrize(
    ("v1", "v2", "name"), [(0.0, 1.0, "g1"), (1.0, 0.0, "g2"), (-1.0, 1.0, "g1"), (1.0, -1.0, "g2")]
)
def test_a_4_by_refusal_of_points(v1: float, v2: float, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}.var = {min(v1, v2)} is not above 0"):
        gaussian_kl(Gaussian(np.zeros(1), v1), Gaussian(np.zeros(1), v2))


def test_a_5_by_each_step() -> None:
    """The reversal by conditioning a covariance matrix, and the model's step with the exact eps."""
    xt = np.array([[0.7], [-1.3]])
    for t in range(1, T + 1):
        forward = np.sqrt(1 - BETA[t])
        C = np.array([[1, forward], [forward, forward**2 + BETA[t]]])  # of x_{t-1} and x_t
        slope = C[0, 1] / C[1, 1]
        var = C[0, 0] - slope * C[1, 0]
        assert slope == pytest.approx(np.sqrt(SCHEDULE.alpha[t]), abs=ALGEBRA)
        assert var == pytest.approx(BETA[t], abs=ALGEBRA)
        eps = exact_eps(SCHEDULE)(xt, t, np.zeros(2, int))
        np.testing.assert_allclose(
            p_xprev_given_xt(xt, eps, t, SCHEDULE).mean, slope * xt, atol=ALGEBRA
        )
    # The joint density of two neighbours, and of a whole path, in either direction.
    path = any_path()
    steps = norm.logpdf(path[1:], np.sqrt(1 - BETA[1:]) * path[:-1], np.sqrt(BETA[1:]))
    back = norm.logpdf(path[:-1], np.sqrt(1 - BETA[1:]) * path[1:], np.sqrt(BETA[1:]))
    marginal = norm.logpdf(path)
    np.testing.assert_allclose(marginal[:-1] + steps, marginal[1:] + back, atol=ALGEBRA)
    whole = marginal[0] + steps.sum()
    assert whole == pytest.approx(marginal[-1] + back.sum(), abs=ALGEBRA)
    assert tight_cost(path[:1, None]) == pytest.approx(-marginal[0], abs=ALGEBRA)


def test_a_5_by_every_path() -> None:
    """No path, likely or not, costs more than another: q and p are one joint distribution."""
    path = np.stack([any_path(), -2 * any_path(), np.full(T + 1, 0.1)], axis=1)[:, :, None]
    path = np.concatenate([path, path[::-1] - 0.5], axis=-1)  # 2-D
    cost = path_cost(exact_eps(SCHEDULE), path, Y3, SCHEDULE, "beta")
    np.testing.assert_allclose(cost, -norm.logpdf(path[0]).sum(-1), atol=ALGEBRA)
    np.testing.assert_allclose(tight_cost(path[0]), cost, atol=ALGEBRA)


def test_a_5_by_mean_of_terms() -> None:
    """At one x_0, on a schedule of many steps with both ends."""
    schedule = Schedule.cosine(250)
    eps = np.tile(NODES[:, None], (251, 1, 1))
    terms = elbo_terms(exact_eps(schedule), np.full((3, 1), X0), Y3, eps, schedule, "beta")
    # 250 terms of order one, with variances that have lost three digits near t = 1.
    assert terms.sum(0) @ SHARES == pytest.approx(-norm.logpdf(X0), abs=1e-9)


@pytest.mark.parametrize("choice, off", [("beta", 1.0), ("posterior", 1.0), ("beta", 1.05)])
def test_a_5_by_entropy(choice: str, off: float) -> None:
    """Averaged over the data, L is their entropy, and more if variance or slope differ."""
    x0, eps = (a.reshape(-1, 1) for a in np.meshgrid(NODES, NODES))
    model: Model = lambda xt, t, y: off * exact_eps(SCHEDULE)(xt, t, y)  # noqa: E731
    noise = np.tile(eps, (T + 1, 1, 1))
    terms = elbo_terms(model, x0, np.zeros(9, int), noise, SCHEDULE, choice)
    above = terms.sum(0) @ np.outer(SHARES, SHARES).ravel() - 0.5 * np.log(2 * np.pi * np.e)
    if (choice, off) == ("beta", 1.0):
        assert above == pytest.approx(0, abs=ALGEBRA)
        mean_cost = SHARES @ tight_cost(NODES[:, None])
        assert mean_cost == pytest.approx(0.5 * np.log(2 * np.pi * np.e), abs=ALGEBRA)
    else:
        assert above > 1e-3
