"""Step 22: noise as a function of who and when; one sample wherever the arithmetic happens."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
import torch
from scipy import stats

from kernels import philox
from minicfg import Schedule as TorchSchedule
from minicfg import sample, solvers
from tutorial import step22_swap_in as lesson
from tutorial.step02_forward import Schedule
from tutorial.step17_solvers import ddpm, run
from tutorial.step22_swap_in import ORACLE, SEED, Noise, T, box_muller, by_the_kernel, in_minicfg


def test_22_1_by_simulation() -> None:
    """100,000 pairs of uniforms: KS to the normal for both, no correlation of them or of squares.

    A KS test refuses a right law at the rate asked of it, 1e-6; correlations err by 1/sqrt(n).
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
    """What the kernels use is (22.1) of the cipher's words, two and two of a block of four."""
    words = philox.words_numpy(SEED, np.array([5]), 3, 2)[0].astype(np.float64)
    # u is rounded to float32 there, by definition: its logarithm may err by 2^-24, more near u = 1.
    z = box_muller((words[:, 0::2].ravel() + 0.5) / 2**32, words[:, 1::2].ravel() / 2**32).T.ravel()
    np.testing.assert_allclose(z, philox.normal_numpy(SEED, np.array([5]), 3, (8,))[0], atol=1e-4)


def test_22_2_by_sympy() -> None:
    u, v = sympy.symbols("u v", positive=True)
    r = sympy.sqrt(-2 * sympy.log(u))
    z = sympy.Matrix([r * sympy.cos(2 * sympy.pi * v), r * sympy.sin(2 * sympy.pi * v)])
    assert sympy.simplify(z.jacobian([u, v]).det() + 2 * sympy.pi / u) == 0  # it turns round


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
    assert area == pytest.approx(2 * np.pi / u, rel=1e-8)


def test_22_2_by_the_share_of_a_square() -> None:
    """Its inverse is the density: points in a square against the product of normal laws."""
    u, v = np.random.default_rng(2).random((2, 200_000))
    z = box_muller(1 - u, v)
    p = stats.norm.cdf(1.0) - stats.norm.cdf(0.2)
    inside = ((z > 0.2) & (z < 1)).all(0).mean()
    assert abs(inside - p**2) < 5 * np.sqrt(p**2 * (1 - p**2) / 200_000)


def test_22_3_by_numpy_beside_torch() -> None:
    """Two programs, float64 and float32: the noise errs by up to 2e-6, and no row enlarges it."""
    for w in (0.0, 2.0):
        ids = np.array([4, 0, 2**32 - 1])
        exact = run(ORACLE.model, ids % 3, ddpm(Schedule.linear(T)), w, Noise(ids))
        np.testing.assert_allclose(in_minicfg(ORACLE, w, ids), exact, rtol=0, atol=2e-6)


def test_22_3_by_numpy_beside_the_kernel() -> None:
    ids = np.array([4, 0, 2**32 - 1])
    exact = run(ORACLE.model, ids % 3, ddpm(Schedule.linear(T)), 2.0, Noise(ids))
    np.testing.assert_allclose(by_the_kernel(2.0, ids), exact, rtol=0, atol=2e-6)


def test_22_3_by_another_batch() -> None:
    """Alone, in another order, and twice: the same bits."""
    ids = np.arange(20)
    whole = in_minicfg(ORACLE, 2.0, ids)
    for few in (np.array([7]), ids[::-1].copy(), np.array([3, 3, 19])):
        np.testing.assert_array_equal(in_minicfg(ORACLE, 2.0, few), whole[few])


def test_22_3_by_what_it_depends_on() -> None:
    """Another seed, id, w or row, and another sample comes out."""
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
    """Another model, the same noise: elsewhere, but its samples keep to their classes.

    The means of the classes are 0.65 apart and a class has the standard deviation 0.125.
    """
    ids = np.arange(60)
    x = in_minicfg(lesson.trained(600), 0.0, ids)
    exact = in_minicfg(ORACLE, 0.0, ids)
    assert np.abs(x - exact).mean() > 1e-3
    means = np.array([x[ids % 3 == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(means, lesson.SMALL.means, rtol=0, atol=0.15)


def test_22_3_by_a_smaller_picture_of_the_same_law() -> None:
    """A quarter of the toy, as x / 4 is: its log density is the toy's at 4 x, and log 16 more."""
    x = np.random.default_rng(0).normal(0, 0.4, (50, 2))
    wanted = lesson.TOY.log_density(4 * x) + np.log(16)
    np.testing.assert_allclose(lesson.SMALL.log_density(x), wanted, atol=1e-12)
