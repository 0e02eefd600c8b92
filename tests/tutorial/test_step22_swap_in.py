"""Step 22: noise as a function of sample and step, the growth of errors, one sample everywhere."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
import sympy
import torch
from scipy import stats

from kernels import philox
from minicfg import Schedule as TorchSchedule
from minicfg import sample, solvers
from tests.tutorial.noise import Given
from tutorial import step22_swap_in as lesson
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps, x0_coefficients
from tutorial.step17_solvers import ddpm, run
from tutorial.step22_swap_in import (
    ORACLE,
    SEED,
    Noise,
    T,
    box_muller,
    by_the_kernel,
    enlargement,
    error_after_row,
    error_at_the_end,
    in_minicfg,
)

SCHEDULE = Schedule.linear(T)
S = 1 / 64  # the variance of a class of the small toy


def test_22_1_by_simulation() -> None:
    """100,000 pairs of uniforms: KS to the normal for both, no correlation of them or of squares.

    A KS test rejects the true distribution with the chosen probability, 1e-6. The standard error of
    a correlation is 1/sqrt(n).
    """
    u, v = np.random.default_rng(0).random((2, 100_000))
    z = box_muller(1 - u, v)
    assert all(stats.kstest(row, "norm").pvalue > 1e-6 for row in z)
    for power in (1, 2):
        assert abs(np.corrcoef(z**power)[0, 1]) < 5 / np.sqrt(100_000)


def test_22_1_by_polar_coordinates() -> None:
    """Undone: the radius gives u back, the angle v. Float64, |z| up to 6: 1e-12."""
    u, v = np.random.default_rng(1).random((2, 1000))
    z1, z2 = box_muller(u, v)
    np.testing.assert_allclose(np.exp(-(z1**2 + z2**2) / 2), u, rtol=1e-12)
    np.testing.assert_allclose(np.arctan2(z2, z1) / (2 * np.pi) % 1, v, rtol=0, atol=1e-12)


def test_22_1_by_the_words_of_philox() -> None:
    """The kernels use (22.1) for the words of Philox, two and two of a block of four."""
    words = philox.words_numpy(SEED, np.array([5]), 3, 2)[0].astype(np.float64)
    # u is rounded to float32 there, by definition: its logarithm may err by 2^-24, more near u = 1.
    z = box_muller((words[:, 0::2].ravel() + 0.5) / 2**32, words[:, 1::2].ravel() / 2**32).T.ravel()
    np.testing.assert_allclose(z, philox.normal_numpy(SEED, np.array([5]), 3, (8,))[0], atol=1e-4)


def test_22_1_by_the_example_in_the_text() -> None:
    """Two words, two uniforms, the radius and two normal numbers, in every batch."""
    words = philox.words_numpy(SEED, np.array([2]), 0, 1)[0, 0, :2]
    assert words.tolist() == [4_045_657_945, 3_654_806_341]
    u = (float(words[0]) + 0.5) / 2**32
    v = float(words[1]) / 2**32
    assert (u, v) == pytest.approx((0.9420, 0.8510), abs=0.00005)
    assert np.sqrt(-2 * np.log(u)) == pytest.approx(0.3458, abs=0.00005)
    z = box_muller(np.array([u]), np.array([v])).ravel()
    assert z == pytest.approx([0.2049, -0.2786], abs=0.00005)
    for ids in (np.array([2]), np.array([0, 5, 2])):
        found = philox.normal_numpy(SEED, ids, 0, (2,))[-1]
        assert found == pytest.approx(z, abs=1e-6)  # u is rounded to float32 there
    # A generator gives the third of a batch other numbers than the same point alone.
    batch = np.random.default_rng(7).standard_normal((3, 2))
    alone = np.random.default_rng(7).standard_normal((1, 2))
    assert batch.ravel() == pytest.approx([0.001, 0.299, -0.274, -0.891, -0.455, -0.992], abs=5e-4)
    np.testing.assert_array_equal(alone[0], batch[0])


def test_22_1_by_its_largest_number() -> None:
    """The smallest u is 2^-33, from the word 0. A normal number is beyond it with 1.3e-11."""
    largest = float(box_muller(np.array([2.0**-33]), np.array([0.0]))[0, 0])
    assert largest == pytest.approx(np.sqrt(66 * np.log(2)), abs=1e-12)
    assert largest == pytest.approx(6.76, abs=0.005)
    assert f"{2 * stats.norm.sf(largest):.1e}" == "1.3e-11"


def test_22_2_by_each_step() -> None:
    """Both derivatives by central differences of the code, and their product with the radius.

    h = 1e-6 has the error h^2, and 1e-16 / h of rounding.
    """
    h = 1e-6
    for u, v in ((0.3, 0.17), (0.9, 0.6), (0.01, 0.4)):
        r = float(np.sqrt(-2 * np.log(u)))
        radius: list[float] = []
        angle: list[float] = []
        for sign in (1, -1):
            z = box_muller(np.array([u + sign * h]), np.array([v])).ravel()
            radius.append(float(np.hypot(*z)))
            z = box_muller(np.array([u]), np.array([v + sign * h])).ravel()
            angle.append(float(np.arctan2(z[1], z[0])) % (2 * np.pi))
        dr_du = abs(radius[0] - radius[1]) / (2 * h)
        dtheta_dv = (angle[0] - angle[1]) / (2 * h)
        assert dr_du == pytest.approx(1 / (u * r), rel=1e-6)
        assert dtheta_dv == pytest.approx(2 * np.pi, rel=1e-6)
        assert r * dr_du * dtheta_dv == pytest.approx(enlargement(u), rel=1e-6)


def test_22_2_by_sympy() -> None:
    u, v = sympy.symbols("u v", positive=True)
    r = sympy.sqrt(-2 * sympy.log(u))
    z = sympy.Matrix([r * sympy.cos(2 * sympy.pi * v), r * sympy.sin(2 * sympy.pi * v)])
    determinant = z.jacobian([u, v]).det()  # negative: the map reverses the orientation
    assert sympy.simplify(determinant + 2 * sympy.pi / u) == 0
    assert float(-determinant.subs({u: 0.3, v: 0.2})) == pytest.approx(enlargement(0.3), rel=1e-12)


def test_22_2_by_finite_difference() -> None:
    """Areas, by central differences of the code: h = 1e-6 errs by h^2 and by 1e-16 / h."""
    u = 0.3
    v = 0.17
    h = 1e-6
    along_u, along_v = (
        (
            box_muller(*(np.array([a + h * s]) for a, s in zip((u, v), step, strict=True)))
            - box_muller(*(np.array([a - h * s]) for a, s in zip((u, v), step, strict=True)))
        )
        / (2 * h)
        for step in ((1, 0), (0, 1))
    )
    area = abs(float((along_u[0] * along_v[1] - along_u[1] * along_v[0])[0]))
    assert area == pytest.approx(enlargement(u), rel=1e-8)


def test_22_2_by_the_share_of_a_square() -> None:
    """Its reciprocal is the density: points in a square, and the product of normal densities."""
    z1, z2 = box_muller(np.array([0.42]), np.array([0.77])).ravel()
    density = stats.norm.pdf(z1) * stats.norm.pdf(z2)
    assert 1 / enlargement(0.42) == pytest.approx(density, rel=1e-12)
    u, v = np.random.default_rng(2).random((2, 200_000))
    z = box_muller(1 - u, v)
    p = stats.norm.cdf(1.0) - stats.norm.cdf(0.2)
    inside = ((z > 0.2) & (z < 1)).all(0).mean()
    assert abs(inside - p**2) < 5 * np.sqrt(p**2 * (1 - p**2) / 200_000)


def test_22_3_by_numpy_beside_torch() -> None:
    """Two programs, float64 and float32. Measured: 1.5e-7 on one processor; others round otherwise.

    The bound leaves a factor of ten for them. A wrong coefficient of a row moves samples by 1e-3.
    """
    for w in (0.0, 2.0):
        ids = np.array([4, 0, 2**32 - 1])
        exact = run(ORACLE.model, ids % 3, ddpm(Schedule.linear(T)), w, Noise(ids))
        np.testing.assert_allclose(in_minicfg(ORACLE, w, ids), exact, rtol=0, atol=2e-6)


def test_22_3_by_numpy_beside_the_kernel() -> None:
    ids = np.array([4, 0, 2**32 - 1])
    exact = run(ORACLE.model, ids % 3, ddpm(SCHEDULE), 2.0, Noise(ids), clip=0.3)
    np.testing.assert_allclose(by_the_kernel(2.0, ids, 0.3), exact, rtol=0, atol=2e-6)


def test_22_3_by_another_batch() -> None:
    """Alone, in another order, and twice: the same bits."""
    ids = np.arange(20)
    whole = in_minicfg(ORACLE, 2.0, ids)
    for few in (np.array([7]), ids[::-1].copy(), np.array([3, 3, 19])):
        np.testing.assert_array_equal(in_minicfg(ORACLE, 2.0, few), whole[few])


def test_22_3_by_what_it_depends_on() -> None:
    """Another seed, number of the sample, w or table gives another sample."""
    table = solvers.ddpm(TorchSchedule.linear(T))
    y = torch.tensor([1])
    given = {"shape": (2,), "w": 2.0, "seed": SEED, "sample_ids": torch.tensor([4])}
    first = sample(ORACLE, y, table, **given)
    for changed in ({"seed": SEED + 1}, {"sample_ids": torch.tensor([5])}, {"w": 2.5}):
        assert not torch.equal(sample(ORACLE, y, table, **given | changed), first)
    assert sample(ORACLE, y, table, **given | {"w": 0.0}).shape == (1, 2)  # one call of one
    fewer = solvers.ddpm(TorchSchedule.linear(T), steps=T // 2)
    assert not torch.equal(sample(ORACLE, y, fewer, **given), first)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_22_3_by_a_trained_network() -> None:
    """Another model, the same noise: near the exact samples at w = 0, too narrow at w = 2.

    Text: mean distances of 0.014 and 0.11, widths right within 10 %, and below one half. Training
    depends on the rounding of the processor, so the bounds are twice as wide.
    """
    ids = np.arange(150)
    model = lesson.trained(lesson.STEPS)
    distance: list[float] = []
    width: list[float] = []
    for w in (0.0, 2.0):
        x = in_minicfg(model, w, ids, clip=1.0)
        exact = in_minicfg(ORACLE, w, ids, clip=1.0)
        distance.append(float(np.linalg.norm(x - exact, axis=1).mean()))
        ratios = [x[ids % 3 == k].std(0) / exact[ids % 3 == k].std(0) for k in range(3)]
        width.append(float(np.mean(ratios)))
        means = np.array([x[ids % 3 == k].mean(0) for k in range(3)])
        # The means of the classes are 0.65 apart.
        np.testing.assert_allclose(means, exact.reshape(-1, 3, 2).mean(0), rtol=0, atol=0.2)
    assert 1e-3 < distance[0] < 0.03
    assert 0.05 < distance[1] < 0.2
    assert 0.8 < width[0] < 1.2
    assert width[1] < 0.65


@pytest.mark.slow
@pytest.mark.exhaustive
def test_22_3_by_the_error_of_the_difference() -> None:
    """At t = 2 the guess without a label is wrong by the size of the difference; t = 40 needs clip.

    Text: 0.011 with the label, 0.058 without, 0.058 for the exact difference, 24 at t = 40.
    The exact number alone does not depend on the training.
    """
    rng = np.random.default_rng(5)
    model = lesson.trained(lesson.STEPS)
    y = np.arange(3000) % 3
    null = np.full(3000, 3)
    errors: dict[int, list[float]] = {}
    for t in (2, 40):
        abar = SCHEDULE.alpha_bar[t]
        x0 = lesson.SMALL.means[y] + 0.125 * rng.standard_normal((3000, 2))
        xt = np.sqrt(abar) * x0 + np.sqrt(1 - abar) * rng.standard_normal((3000, 2))
        _, q = x0_coefficients(t, SCHEDULE)
        pixels = torch.from_numpy(xt).float()[:, :, None, None]
        found: list[np.ndarray] = []
        exact: list[np.ndarray] = []
        for labels in (y, null):
            with torch.no_grad():
                out = model(pixels, torch.full((3000,), t), torch.from_numpy(labels))
            found.append(q * out.flatten(1).double().numpy())
            exact.append(q * ORACLE.model(xt, t, labels))
        size = [(a - b).std() for a, b in zip(found, exact, strict=True)]
        errors[t] = [*size, (exact[0] - exact[1]).std()]
    assert errors[2][2] == pytest.approx(0.058, abs=0.003)  # 3,000 samples, few in between
    assert errors[2][0] < 0.03
    assert 0.5 < errors[2][1] / errors[2][2] < 2
    assert 5 < errors[40][0] < 100


def test_22_3_by_a_clip_that_hardly_acts() -> None:
    """The oracle's guesses need no clip: nothing at w = 0, 0.0003 on average at w = 2."""
    ids = np.arange(1500)
    np.testing.assert_array_equal(in_minicfg(ORACLE, 0.0, ids, 1.0), in_minicfg(ORACLE, 0.0, ids))
    moved = in_minicfg(ORACLE, 2.0, ids, 1.0) - in_minicfg(ORACLE, 2.0, ids)
    assert np.linalg.norm(moved, axis=1).mean() == pytest.approx(0.0003, abs=0.00005)
    few = np.arange(12)
    wanted = run(ORACLE.model, few % 3, ddpm(SCHEDULE), 2.0, Noise(few), clip=0.3)
    np.testing.assert_allclose(in_minicfg(ORACLE, 2.0, few, 0.3), wanted, rtol=0, atol=2e-6)
    _, q = x0_coefficients(T, SCHEDULE)
    assert abs(q) == pytest.approx(487, abs=0.5)
    assert SCHEDULE.alpha_bar[T] == pytest.approx(4.2e-6, abs=0.05e-6)


def test_22_3_by_where_the_rounding_comes_from() -> None:
    """The noise of float32 in the loop of float64 makes a third of the difference.

    Text: 0.9e-8 and 2.9e-8, root mean square. Another processor rounds otherwise: a factor of 2.
    """

    class Single:
        step = -1

        def standard_normal(self, size: tuple[int, ...]) -> np.ndarray:
            self.step += 1
            z = philox.normal(SEED, torch.from_numpy(ids), self.step, size[1:])
            return z.double().numpy()

    ids = np.arange(3000)
    exact = run(ORACLE.model, ids % 3, ddpm(SCHEDULE), 0.0, Noise(ids))
    noise_alone = (run(ORACLE.model, ids % 3, ddpm(SCHEDULE), 0.0, Single()) - exact).std()
    whole = (in_minicfg(ORACLE, 0.0, ids) - exact).std()
    assert 0.45e-8 < noise_alone < 1.8e-8
    assert 1.45e-8 < whole < 5.8e-8
    assert noise_alone < 0.7 * whole


def one_class(schedule: Schedule):
    """The oracle of a single Gaussian class with variance S along each axis."""
    mixture = GaussianMixture(np.array([[0.2, -0.3]]), S * np.eye(2)[None], np.ones(1))
    return oracle_eps(mixture, schedule)


@pytest.mark.parametrize(("t", "s"), [(40, 39), (17, 16), (2, 1), (1, 0), (30, 12)])
def test_22_4_by_finite_difference(t: int, s: int) -> None:
    """A row of `ddpm` from two states. The row is linear, so the step of 0.1 has no error."""
    model = one_class(SCHEDULE)
    p, q, a, b, *_ = ddpm(SCHEDULE, [t, s] if s else [t]).rows[0]
    ends: list[np.ndarray] = []
    for start in (0.3, 0.4):
        xt = np.full((1, 2), start)
        ends.append(a * (p * xt + q * model(xt, t, np.zeros(1, int))) + b * xt)
    wanted = error_after_row(0.1, t, s, SCHEDULE, S)
    np.testing.assert_allclose(ends[1] - ends[0], wanted, atol=1e-10)  # |p|, |q| up to 487


def test_22_4_by_each_step() -> None:
    """Both steps with B, and the result, at rational numbers and in the numbers of the table."""
    for t, s in ((40, 39), (25, 24), (9, 5), (1, 0)):
        abar_t = SCHEDULE.alpha_bar[t]
        abar_s = SCHEDULE.alpha_bar[s]
        alpha = abar_t / abar_s
        C_t = abar_t * S + 1 - abar_t
        C_s = abar_s * S + 1 - abar_s
        J_t = np.sqrt(abar_t) * S / C_t
        _, _, a, b, *_ = ddpm(SCHEDULE, [t, s] if s else [t]).rows[0]
        assert a == pytest.approx(np.sqrt(abar_s) * (1 - alpha) / (1 - abar_t), abs=1e-12)
        assert b == pytest.approx(np.sqrt(alpha) * (1 - abar_s) / (1 - abar_t), abs=1e-12)
        B = abar_s * (1 - alpha) * S + (1 - abar_s) * C_t
        assert a * J_t + b == pytest.approx(np.sqrt(alpha) * B / ((1 - abar_t) * C_t), abs=1e-12)
        assert pytest.approx((1 - abar_t) * (abar_s * S + 1 - abar_s), abs=1e-12) == B
        assert pytest.approx((1 - abar_t) * C_s, abs=1e-12) == B
        factor = abar_s * (1 - alpha) + (1 - abar_s) * abar_t
        assert factor == pytest.approx(abar_s * (1 - abar_t), abs=1e-12)
        assert error_after_row(1.0, t, s, SCHEDULE, S) == pytest.approx(a * J_t + b, abs=1e-12)


def test_22_5_by_a_product() -> None:
    """The factors of all rows from t to 0."""
    for t in (1, 2, 5, 20, 40):
        error = 1.0
        for k in range(t, 0, -1):
            error = error_after_row(error, k, k - 1, SCHEDULE, S)
        assert error_at_the_end(1.0, t, SCHEDULE, S) == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize("t", [1, 5, 20, 40])
def test_22_5_by_finite_difference(t: int) -> None:
    """Two chains from t to 0 with the same noise (none): the rows are linear."""
    model = one_class(SCHEDULE)
    rest = ddpm(SCHEDULE, list(range(t, 0, -1)))
    y = np.zeros(1, int)
    ends: list[np.ndarray] = []
    for start in (0.3, 0.4):
        ends.append(run(model, y, rest, 0.0, Given({0: np.full((1, 2), start)})))
    wanted = error_at_the_end(0.1, t, SCHEDULE, S)
    np.testing.assert_allclose(ends[1] - ends[0], wanted, atol=1e-10)  # 40 rows, |q| up to 487


def test_22_5_by_the_table_in_the_text() -> None:
    doc = lesson.__doc__ or ""
    times = re.search(r"\n\| t \|(.*)\|\n", doc)
    factors = re.search(r"\n\| J_t \|(.*)\|\n", doc)
    assert times is not None
    assert factors is not None
    for t, factor in zip(times[1].split("|"), factors[1].split("|"), strict=True):
        found = error_at_the_end(1.0, int(t), SCHEDULE, S)
        assert found == pytest.approx(float(factor), rel=0.1)  # one or two digits are printed
    growing = [error_at_the_end(1.0, t, SCHEDULE, S) for t in range(T + 1)]
    assert growing[0] == 1.0
    assert all(a > b for a, b in pairwise(growing))


def test_22_5_by_the_largest_slope() -> None:
    """No slope exceeds 1 for S <= 2. For S = 4 one is 2 / sqrt(3), at abar = 1/3."""
    schedule = Schedule.linear(1000)
    abar = schedule.alpha_bar[1:]
    root = np.sqrt(abar)
    for var in (0.1, 1.0, 2.0, 4.0):
        J = np.array([error_at_the_end(1.0, t, schedule, var) for t in range(1, 1001)])
        C = abar * var + 1 - abar
        np.testing.assert_allclose(1 - J, (1 - root) * (1 + root - root * var) / C, atol=1e-12)
        if var <= 2:
            assert (J < 1).all()
        else:  # the largest of 1000 values of a smooth function is near its maximum
            assert J.max() == pytest.approx(2 / np.sqrt(3), abs=1e-5)
            assert abar[J.argmax()] == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.slow  # it imports the figure, and with it matplotlib
def test_22_5_by_guided_chains() -> None:
    """With three classes and w = 2 errors fall even faster, on average over 60 samples."""
    from tutorial.figures.step22_swap_in import measured

    for t in (5, 30):
        theory = error_at_the_end(1.0, t, SCHEDULE, S)
        assert measured(t, 0.0, n=60) == pytest.approx(theory, rel=1e-4)  # differences of 1e-5
        assert measured(t, 2.0, n=60) < 0.8 * theory


def test_22_3_by_a_quarter_of_the_toy() -> None:
    """A quarter of the toy, as x / 4 is: its log density is the toy's at 4 x, and log 16 more."""
    x = np.random.default_rng(0).normal(0, 0.4, (50, 2))
    wanted = lesson.TOY.log_density(4 * x) + np.log(16)
    np.testing.assert_allclose(lesson.SMALL.log_density(x), wanted, atol=1e-12)
