"""Appendix P: what a student learns, and where the target of model guidance leads."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import sympy

import tutorial.appendix.p_distillation as lesson
from tests.tutorial.checks import assert_mean_is_zero
from tutorial.appendix.p_distillation import (
    Student,
    best_student,
    best_without_w,
    course_student,
    distillation_loss,
    features,
    gap_after_rounds,
    gap_after_steps,
    inputs,
    learnt_weights,
    loss_without_w,
    next_round,
    repeated_weight,
    settled,
    target,
    top_by_student,
    trained,
)
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step03_marginal import xt_from_x0
from tutorial.step05_best_guess import noised, oracle_eps
from tutorial.step11_guidance import guide
from tutorial.step17_solvers import ddim, ddpm, run
from tutorial.step19_rules import top_class

RNG = np.random.default_rng(0)
BEST, NULL, NOW, EPS = RNG.standard_normal((4, 50, 2))
W = RNG.uniform(0, 4, 50)
OMEGAS = [-0.5, 0.0, 0.25, 0.8]
DATA = three_gaussians()
SCHEDULE = Schedule.cosine(100)
TEACHER = oracle_eps(DATA, SCHEDULE)
# The images 1 and -1 of steps 9 and 11 at x_t = 0.4, abar = 0.5, one coordinate.
COND_1 = np.array([[-0.434]])
NULL_1 = np.array([[0.054]])


def noised_data(n: int, t: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x_t, its labels, and the noise in it."""
    rng = np.random.default_rng(seed)
    x0, y = DATA.sample(n, rng)
    eps = rng.standard_normal((n, 2))
    return xt_from_x0(x0, eps, t, SCHEDULE), y, eps


def test_p_1_by_loop_over_samples() -> None:
    total = 0.0
    for out, cond, null, w in zip(NOW, BEST, NULL, W, strict=True):
        total += np.linalg.norm(guide(cond, null, float(w)) - out) ** 2
    assert distillation_loss(NOW, BEST, NULL, W) == pytest.approx(total / 50, rel=1e-12)


def test_p_1_by_known_outputs() -> None:
    """A student that ignores w = 1 incurs |d|^2; one that is right incurs nothing."""
    ones = np.ones(50)
    wanted = ((BEST - NULL) ** 2).sum(1).mean()
    assert distillation_loss(BEST, BEST, NULL, ones) == pytest.approx(wanted, rel=1e-12)
    assert distillation_loss(NULL, BEST, NULL, -ones) == 0
    assert distillation_loss(2 * BEST - NULL, BEST, NULL, ones) < 1e-28


def test_p_2_by_each_step() -> None:
    """Two weights and two outputs of the teacher, all four equally probable, and any student.

    The conditional mean of the target is a mean over the rows with the same inputs.
    """
    cond = np.repeat(BEST[:2], 2, 0)
    null = np.repeat(NULL[:2], 2, 0)
    w = np.array([0.5, 3.0, 0.5, 3.0])
    h = (1 + w[:, None]) * cond - w[:, None] * null
    twice = np.concatenate([h, h])  # each input occurs twice, with the same target
    given_inputs = (twice[:4] + twice[4:]) / 2
    first = ((h - given_inputs) ** 2).sum(1).mean()
    g = NOW[:4]
    second = ((given_inputs - g) ** 2).sum(1).mean()
    assert first == 0
    assert distillation_loss(g, cond, null, w) == pytest.approx(first + second, rel=1e-12)
    np.testing.assert_allclose(best_student(cond, null, w), given_inputs, atol=1e-14)


def test_p_2_by_finite_differences_of_the_loss() -> None:
    """The loss is 0 there, and moving any of its outputs raises it by the square of the move."""
    best = best_student(BEST, NULL, W)
    assert distillation_loss(best, BEST, NULL, W) < 1e-28
    for i in range(50):
        for h in (-0.1, 0.1):
            moved = best.copy()
            moved[i, 0] += h
            assert distillation_loss(moved, BEST, NULL, W) == pytest.approx(h**2 / 50, rel=1e-9)


def test_p_2_by_the_example() -> None:
    """Both guided predictions of step 11, on the line -0.434 - 0.488 w."""
    w = np.array([0.0, 1.0, 3.0])
    found = best_student(np.tile(COND_1, (3, 1)), np.tile(NULL_1, (3, 1)), w)[:, 0]
    assert found.round(3).tolist() == [-0.434, -0.922, -1.898]
    np.testing.assert_allclose(found, -0.434 - 0.488 * w, atol=1e-12)


@pytest.mark.parametrize("w", [-1.0, 0.0, 1.7, 4.0])
def test_p_2_by_a_trained_student(w: float) -> None:
    """Least squares on 600 draws, then other points, where no data are: the guided oracle."""
    weights = trained([40], DATA, SCHEDULE, (-1.0, 4.0))
    student = Student(DATA, SCHEDULE, weights, w, True)
    xt = 3 * np.random.default_rng(1).standard_normal((60, 2))
    y = np.arange(60) % 4  # the null label too
    null = TEACHER(xt, 40, np.full(60, 3))
    wanted = guide(TEACHER(xt, 40, y), null, w)
    # Rounding, times the condition of the fit.
    np.testing.assert_allclose(student(xt, 40, y), wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("w", [0.0, 1.0, 2.0, 3.0])
def test_p_2_by_samples(w: float) -> None:
    """Each sample of the student, and the three heights in the row of the text."""
    guided = top_class(w=w, table=ddim(Schedule.cosine(1000), 50), n=2000)
    found = top_by_student(w)
    np.testing.assert_allclose(found, guided, rtol=0, atol=1e-9)  # the text says so
    row = re.search(rf"\n\| {w:g} \|(.*)\|\n", lesson.__doc__ or "")
    assert row is not None
    of_oracle, of_student, of_blind = (float(number) for number in row[1].split("|"))
    # Printed from these samples. Another processor moves them by 1e-9.
    assert of_oracle == of_student == pytest.approx(guided[:, 1].mean(), abs=0.0051)
    assert of_blind == pytest.approx(top_by_student(w, with_w=False)[:, 1].mean(), abs=0.0051)


def test_p_2_by_another_solver() -> None:
    """The ancestral chain, which adds noise: the student of w = 2 and the guided oracle."""
    schedule = Schedule.cosine(40)
    table = ddpm(schedule, 8)
    weights = trained([int(t) for t in table.t], DATA, schedule, (0.0, 4.0))
    y = np.arange(30) % 3
    student = Student(DATA, schedule, weights, 2.0, True)
    found = run(student, y, table, 0.0, np.random.default_rng(2))
    wanted = run(oracle_eps(DATA, schedule), y, table, 2.0, np.random.default_rng(2))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-8)  # 1 / sqrt(abar_T) is 5e2


def test_p_2_by_the_features() -> None:
    """Five numbers per row, of which the probabilities add up to 1, and ten with w."""
    xt, _, _ = noised_data(20, 40, 3)
    h = features(xt, 40, DATA, SCHEDULE)
    assert h.shape == (20, 5)
    np.testing.assert_array_equal(h[:, :2], xt)
    np.testing.assert_allclose(h[:, 2:].sum(1), 1, atol=1e-12)
    w = np.linspace(0, 4, 20)
    assert inputs(h, w, False).shape == (20, 5)
    np.testing.assert_array_equal(inputs(h, w, True)[:, 5:], w[:, None] * h)


def test_p_2_by_the_coefficients_of_the_text() -> None:
    """Predictions a x_t - b_k, and a x_t minus the sum of p_k b_k for the null label."""
    xt, _, _ = noised_data(20, 40, 3)
    p = features(xt, 40, DATA, SCHEDULE)[:, 2:]
    zero = np.zeros((1, 2))
    b = np.stack([-TEACHER(zero, 40, np.array([k]))[0] for k in range(3)])
    a = TEACHER(np.ones((1, 2)), 40, np.array([0]))[0] + b[0]
    for k in range(3):
        np.testing.assert_allclose(TEACHER(xt, 40, np.full(20, k)), a * xt - b[k], atol=1e-12)
    null = TEACHER(xt, 40, np.full(20, 3))
    np.testing.assert_allclose(null, a * xt - p @ b, atol=1e-12)


def test_p_2_by_unequal_covariances() -> None:
    """With other variances in one class the ten numbers are too few for the guided oracle."""
    covs = DATA.covs * np.array([1.0, 1.0, 4.0])[:, None, None]
    other = GaussianMixture(DATA.means, covs, DATA.weights)
    student = Student(other, SCHEDULE, trained([40], other, SCHEDULE, (0.0, 4.0)), 2.0, True)
    xt, y, _ = noised_data(200, 40, 1)
    teacher = oracle_eps(other, SCHEDULE)
    wanted = guide(teacher(xt, 40, y), teacher(xt, 40, np.full(200, 3)), 2.0)
    assert np.abs(student(xt, 40, y) - wanted).max() > 0.05  # rounding if they were equal


def test_p_8_by_residual_of_the_text() -> None:
    """Target minus output, and its slope in the output, for a gradient through the target."""
    for omega in OMEGAS:
        moving = next_round(BEST, NOW, NULL, omega) - NOW
        wanted = (1 - omega) * (settled(BEST, NULL, omega) - NOW)
        np.testing.assert_allclose(moving, wanted, rtol=0, atol=1e-13)
        further = next_round(BEST, NOW + 1, NULL, omega) - (NOW + 1)
        np.testing.assert_allclose(further - moving, -(1 - omega), rtol=0, atol=1e-13)


def test_p_3_by_finite_differences_of_the_loss() -> None:
    """One pair of teacher's outputs, weights 0 to 4 by the midpoint rule: the slope is 0."""
    w = (np.arange(400) + 0.5) / 100
    cond = np.tile(BEST[:1], (400, 1))
    null = np.tile(NULL[:1], (400, 1))
    best = np.tile(best_without_w(BEST[:1], NULL[:1], 2.0), (400, 1))
    h = 1e-4
    for direction in np.eye(2):
        up = distillation_loss(best + h * direction, cond, null, w)
        down = distillation_loss(best - h * direction, cond, null, w)
        assert (up - down) / (2 * h) == pytest.approx(0, abs=1e-8)


def test_p_3_by_each_step() -> None:
    """Both predictions of the oracle from x_t, the probabilities and the means of the classes."""
    t = 40
    abar = SCHEDULE.alpha_bar[t]
    xt = np.array([[0.3, -0.4], [1.1, 0.2]])
    c = abar * 0.25 + 1 - abar
    for y in range(3):
        expected = np.sqrt(1 - abar) * (xt - np.sqrt(abar) * DATA.means[y]) / c
        np.testing.assert_allclose(TEACHER(xt, t, np.full(2, y)), expected, rtol=1e-12)
    p = np.exp(noised(DATA, t, SCHEDULE).log_class_probability(xt))
    mu_hat = p @ DATA.means
    expected = np.sqrt(1 - abar) * (xt - np.sqrt(abar) * mu_hat) / c
    np.testing.assert_allclose(TEACHER(xt, t, np.full(2, 3)), expected, rtol=1e-12)


def test_p_3_by_least_squares() -> None:
    """A constant fitted to the targets of many weights is their mean."""
    w = np.random.default_rng(4).uniform(0, 4, 1000)
    targets = best_student(np.tile(BEST[:1], (1000, 1)), np.tile(NULL[:1], (1000, 1)), w)
    fitted = np.linalg.lstsq(np.ones((1000, 1)), targets)[0]
    found = best_without_w(BEST[:1], NULL[:1], float(w.mean()))
    np.testing.assert_allclose(found, fitted, atol=1e-12)


def test_p_3_by_samples() -> None:
    """The trained student without w samples as the guided oracle of w = 2, within the fit's error.

    The mean of about 200 weights is 2 with a standard error of 1.15 / 14 = 0.08, independently in
    each of 50 rows. The height changes by about 0.2 per unit of w: 0.02 is over five errors.
    """
    blind = top_by_student(0.0, with_w=False)
    assert (top_by_student(3.0, with_w=False) == blind).all()
    guided = top_class(w=2.0, table=ddim(Schedule.cosine(1000), 50), n=2000)
    assert blind[:, 1].mean() == pytest.approx(guided[:, 1].mean(), abs=0.02)
    assert set(course_student(False)) == set(course_student(True))


def test_p_2_by_the_number_of_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """About 200 draws per class, as the text says: three standard deviations of a third of 600."""
    rows: list[int] = []
    solve = np.linalg.lstsq

    def counted(a: np.ndarray, b: np.ndarray) -> Any:
        rows.append(len(a))
        return solve(a, b)

    monkeypatch.setattr(np.linalg, "lstsq", counted)
    trained([40], DATA, SCHEDULE, (0.0, 4.0))
    assert rows[:3] == pytest.approx([200] * 3, abs=3 * (600 * 2 / 9) ** 0.5)
    assert sum(rows[:3]) == rows[3] == 600  # the null label is trained with all


def test_p_4_by_each_step() -> None:
    """The difference of a target and the student without w, row by row."""
    h = best_student(BEST, NULL, W)
    g = best_without_w(BEST, NULL, 2.0)
    np.testing.assert_allclose(h - g, (W - 2.0)[:, None] * (BEST - NULL), atol=1e-13)


def test_p_4_by_quadrature() -> None:
    """Every weight with every pair of outputs; Gauss-Legendre is exact for a parabola in w."""
    nodes, weights = np.polynomial.legendre.leggauss(2)
    loss = 0.0
    for node, weight in zip(2 + 2 * nodes, weights / 2, strict=True):
        g = best_without_w(BEST, NULL, 2.0)
        loss += weight * distillation_loss(g, BEST, NULL, np.full(50, node))
    assert loss_without_w(BEST, NULL, 16 / 12) == pytest.approx(loss, rel=1e-12)


def test_p_4_by_simulation() -> None:
    """t = 40 and w uniform in 0..4: 0.526 and 0.70 in the text, within five standard errors."""
    n = 20_000
    xt, y, _ = noised_data(n, 40, 5)
    cond = TEACHER(xt, 40, y)
    null = TEACHER(xt, 40, np.full(n, 3))
    squared = ((cond - null) ** 2).sum(1)
    assert squared.mean() == pytest.approx(0.526, abs=5 * squared.std() / n**0.5)
    w = np.random.default_rng(6).uniform(0, 4, n)
    assert_mean_is_zero((w - 2.0) ** 2 - 16 / 12)  # the variance of w
    found = loss_without_w(cond, null, 16 / 12)
    g = best_without_w(cond, null, 2.0)
    products = (w - 2.0) ** 2 * squared
    assert distillation_loss(g, cond, null, w) == pytest.approx(products.mean(), rel=1e-12)
    assert found == pytest.approx(products.mean(), abs=5 * products.std() / n**0.5)
    assert round(0.526 * 16 / 12, 2) == 0.70


def test_p_5_by_each_step() -> None:
    w, again = 1.5, 0.7
    d = BEST - NULL
    inner = NULL + (1 + w) * d
    left = (1 + again) * inner - again * NULL
    np.testing.assert_allclose(left, NULL + (1 + again) * (1 + w) * d, atol=1e-13)
    total = repeated_weight(w, again)
    np.testing.assert_allclose(guide(BEST, NULL, total), left, atol=1e-13)


def test_p_5_by_a_guided_student() -> None:
    """The student of w = 1 in the guided loop with w = 2: samples of the oracle with w = 5."""
    schedule = Schedule.cosine(40)
    table = ddim(schedule, 8)
    weights = trained([int(t) for t in table.t], DATA, schedule, (0.0, 4.0))
    y = np.arange(30) % 3
    student = Student(DATA, schedule, weights, 1.0, True)
    found = run(student, y, table, 2.0, np.random.default_rng(2))
    total = repeated_weight(1.0, 2.0)
    wanted = run(oracle_eps(DATA, schedule), y, table, total, np.random.default_rng(2))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-8)  # 1 / sqrt(abar_T) is 5e2
    assert repeated_weight(3.0, 3.0) == 15  # the text
    assert repeated_weight(0.0, 2.5) == repeated_weight(2.5, 0.0) == 2.5


@pytest.mark.parametrize("omega", OMEGAS)
def test_p_6_by_scale(omega: float) -> None:
    """Where the label makes no difference nothing is added; else omega times the difference."""
    np.testing.assert_array_equal(target(EPS, NULL, NULL, omega), EPS)
    np.testing.assert_allclose(
        target(EPS, NOW, NULL, omega) - EPS, guide(NOW, NULL, omega) - NOW, rtol=0, atol=1e-14
    )


def test_p_6_by_the_mean_of_targets() -> None:
    """Given x_t and y its mean is that of the next round: 40,000 draws, 5 standard errors.

    Tested against functions of x_t: the residual must be uncorrelated with each.
    """
    n = 40_000
    omega = 0.6
    xt, y, eps = noised_data(n, 40, 1)
    best = TEACHER(xt, 40, y)
    null = TEACHER(xt, 40, np.full(n, 3))
    now = np.sin(2 * xt)
    residual = target(eps, now, null, omega) - next_round(best, now, null, omega)
    for f in (np.ones_like(xt), xt, np.cos(3 * xt), np.where(y[:, None] == 1, xt, 0)):
        product = (residual * f).sum(1)
        assert abs(product.mean()) < 5 * product.std() / n**0.5


def test_p_7_by_the_plain_start() -> None:
    """From the conditional model one round is guidance of weight omega itself."""
    np.testing.assert_allclose(
        next_round(BEST, BEST, NULL, 0.7), guide(BEST, NULL, 0.7), rtol=0, atol=1e-14
    )


def test_p_7_by_least_squares() -> None:
    """One label, one x_t: the constant that is nearest to many targets is their mean."""
    eps = np.random.default_rng(2).standard_normal((10_000, 1)) + 0.3
    now = np.full_like(eps, 2.0)
    null = np.full_like(eps, -1.0)
    nearest = np.linalg.lstsq(np.ones_like(eps), target(eps, now, null, 0.4))[0][0, 0]
    wanted = next_round(eps.mean(0)[None], now[:1], null[:1], 0.4)[0, 0]
    assert nearest == pytest.approx(wanted, abs=1e-10)


def test_p_7_by_the_example() -> None:
    """Three outputs of the text, and the guided output for w = 1 that they approach."""
    found = [COND_1]
    for _ in range(2):
        found.append(next_round(COND_1, found[-1], NULL_1, 0.5))
    assert [round(float(f[0, 0]), 3) for f in found] == [-0.434, -0.678, -0.8]
    assert round(float(settled(COND_1, NULL_1, 0.5)[0, 0]), 3) == -0.922


@pytest.mark.parametrize("omega", OMEGAS)
def test_p_8_by_many_rounds(omega: float) -> None:
    """From anywhere; 0.8^200 is 4e-20."""
    now = NOW
    for _ in range(200):
        now = next_round(BEST, now, NULL, omega)
    np.testing.assert_allclose(settled(BEST, NULL, omega), now, rtol=0, atol=1e-12)


@pytest.mark.parametrize("omega", [-2.0, -1.0, 0.8])
def test_p_8_by_small_steps(omega: float) -> None:
    """Training that looks at every step ends there also at omega <= -1, where rounds do not."""
    now = NOW
    for _ in range(2000):
        now = 0.9 * now + 0.1 * next_round(BEST, now, NULL, omega)
    # 0.98^2000 is 3e-18.
    np.testing.assert_allclose(settled(BEST, NULL, omega), now, rtol=0, atol=1e-12)


def test_p_8_by_each_step() -> None:
    for omega in OMEGAS:
        f = settled(BEST, NULL, omega)
        np.testing.assert_allclose((1 - omega) * f, BEST - omega * NULL, rtol=0, atol=1e-13)


def test_p_8_by_sympy() -> None:
    best, null, omega, e = sympy.symbols("best null omega e")
    (fixed,) = sympy.solve(sympy.Eq(e, best + omega * (e - null)), e)
    wanted = best + omega / (1 - omega) * (best - null)
    assert sympy.simplify(fixed - wanted) == 0
    assert sympy.simplify(sympy.diff(wanted, best) - 1 / (1 - omega)) == 0
    assert 1 / (1 - sympy.Rational(8, 10)) == 5  # the scale in the text


@pytest.mark.parametrize("omega", [0.5, -0.5])
def test_p_8_by_regression(omega: float) -> None:
    """A linear network of the two means learns the scale; 0.5^12 of the gap is left, 0.0002.

    A factor from 40,000 draws of 2 numbers errs by about 0.5 / (0.3 sqrt(80,000)) = 0.006 per
    round, and the rounds share their draws: 1 / (1 - omega) times that.
    """
    factors = learnt_weights(omega, 40_000, 12)
    wanted = [1 / (1 - omega), -omega / (1 - omega)]
    np.testing.assert_allclose(factors, wanted, rtol=0, atol=0.06)


def test_p_8_by_regression_in_steps() -> None:
    """omega = -2: whole rounds run away, and steps of a tenth end at the scale 1 / 3."""
    steps = learnt_weights(-2.0, 20_000, 60, rate=0.1)  # 0.7^60 is 5e-10
    # 0.008 per fit of half the draws, times 1 / (1 - omega): 0.003, more than five times
    np.testing.assert_allclose(steps, [1 / 3, 2 / 3], rtol=0, atol=0.03)
    assert np.abs(learnt_weights(-2.0, 20_000, 12)).max() > 1000


def test_p_8_by_the_start_of_training() -> None:
    """Before the first round the factors are those of the conditional model."""
    assert learnt_weights(0.5, 100, 0).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("omega", [1.0, 2.0, np.nan, -np.inf])
def test_p_8_by_refusal_of_omega(omega: float) -> None:
    with pytest.raises(ValueError, match="is not below 1: the training does not converge"):
        settled(BEST, NULL, omega)


@pytest.mark.parametrize("omega", OMEGAS)
def test_p_9_by_rounds(omega: float) -> None:
    end = settled(BEST, NULL, omega)
    now = NOW
    for _ in range(7):
        now = next_round(BEST, now, NULL, omega)
    left = gap_after_rounds(omega, 7)
    np.testing.assert_allclose(now - end, left * (NOW - end), rtol=0, atol=1e-12)


def test_p_9_by_finite_difference() -> None:
    """The slope of a round in what it starts from is what one round leaves."""
    h = 1e-6
    for omega in OMEGAS:
        up = next_round(BEST, NOW + h, NULL, omega)
        down = next_round(BEST, NOW - h, NULL, omega)
        slope = (up - down) / (2 * h)
        np.testing.assert_allclose(slope, gap_after_rounds(omega, 1), rtol=0, atol=1e-8)


def test_p_9_by_numbers_of_the_text() -> None:
    """21 rounds to 1 % at omega = 0.8; at -1 and -2 nothing of the distance is lost."""
    assert gap_after_rounds(0.8, 21) < 0.01 < gap_after_rounds(0.8, 20)
    assert abs(gap_after_rounds(-1.0, 101)) == 1
    assert abs(gap_after_rounds(-2.0, 10)) > 1000


def test_p_10_by_each_step() -> None:
    """One step as a mixture of old and new, and from the end it leads nowhere."""
    for omega in [-2.0, *OMEGAS]:
        end = settled(BEST, NULL, omega)
        step = 0.7 * NOW + 0.3 * (BEST + omega * (NOW - NULL))
        by_gap = end + gap_after_steps(omega, 0.3, 1) * (NOW - end)
        np.testing.assert_allclose(step, by_gap, rtol=0, atol=1e-13)


@pytest.mark.parametrize("omega", [-2.0, -1.0, 0.5, 0.8])
def test_p_10_by_iteration(omega: float) -> None:
    end = settled(BEST, NULL, omega)
    now = NOW
    for _ in range(30):
        now = now + 0.1 * (next_round(BEST, now, NULL, omega) - now)
    left = gap_after_steps(omega, 0.1, 30)
    np.testing.assert_allclose(now - end, left * (NOW - end), rtol=0, atol=1e-12)


def test_p_10_by_gradient_descent() -> None:
    """Steps down the gradient of the squared error to a frozen target, by differences.

    The gradient of |f - target|^2 / 2 is f - target, so the rate is that of the steps.
    """
    omega, rate, h = -1.5, 0.2, 1e-5
    end = float(settled(COND_1, NULL_1, omega)[0, 0])
    f = 1.0
    for _ in range(6):
        frozen = float(next_round(COND_1, np.array([[f]]), NULL_1, omega)[0, 0])
        slope = ((f + h - frozen) ** 2 - (f - h - frozen) ** 2) / (4 * h)
        f -= rate * slope
    # A difference of squares loses about 1e-16 / h = 1e-11.
    assert f - end == pytest.approx(gap_after_steps(omega, rate, 6) * (1.0 - end), abs=1e-8)


def test_p_10_by_numbers_of_the_text() -> None:
    assert gap_after_steps(0.8, 0.1, 228) < 0.01 < gap_after_steps(0.8, 0.1, 227)
    assert gap_after_steps(0.0, 0.1, 44) < 0.01 < gap_after_steps(0.0, 0.1, 43)
    # The bound on r: at omega = -2 it is 2 / 3.
    assert abs(gap_after_steps(-2.0, 0.66, 1000)) < 1e-8
    assert abs(gap_after_steps(-2.0, 0.67, 1000)) > 1e4
    assert gap_after_steps(0.6, 1.0, 9) == pytest.approx(gap_after_rounds(0.6, 9), rel=1e-12)


def test_p_10_by_a_gradient_through_the_target() -> None:
    """The mistake of the text: the same limit, and 1 - omega squared, by differences."""
    omega, rate, h = 0.8, 0.1, 1e-5
    end = float(settled(COND_1, NULL_1, omega)[0, 0])

    def loss(f: float) -> float:
        both = np.array([[f]])
        moving = float(next_round(COND_1, both, NULL_1, omega)[0, 0])
        return (f - moving) ** 2 / 2

    f = 1.0
    for _ in range(6):
        f -= rate * (loss(f + h) - loss(f - h)) / (2 * h)
    # 1 - rate (1 - omega) (1 - omega) is a step of (P.10) with a rate smaller by 1 - omega.
    left = gap_after_steps(omega, rate * (1 - omega), 6)
    # A difference of squares loses about 1e-16 / h = 1e-11.
    assert f - end == pytest.approx(left * (1.0 - end), abs=1e-8)
    many = np.log(0.01) / np.log(gap_after_steps(omega, rate * (1 - omega), 1))
    assert many / 228 == pytest.approx(5, abs=0.1)
