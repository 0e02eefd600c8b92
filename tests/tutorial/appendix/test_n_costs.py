"""Appendix N: the distance by cases with an answer; the table of the text."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.stats import norm

from tutorial.appendix import n_costs
from tutorial.appendix.n_costs import exact_samples, sliced_wasserstein, table


def test_n_1_by_a_shift() -> None:
    """Any set, moved by a: |a| / sqrt(2), to rounding."""
    x = np.random.default_rng(0).standard_normal((50, 2)) ** 3
    assert sliced_wasserstein(x, x + np.array([3.0, -4.0])) == pytest.approx(5 / 2**0.5, rel=1e-12)
    assert sliced_wasserstein(x, x) == 0
    assert sliced_wasserstein(x, x[::-1]) < 1e-14  # the order of samples says nothing


def test_n_1_by_quantiles_of_gaussians() -> None:
    """Ellipses: in direction u deviations (u' C u)^(1/2) differ; a mean over 10,000 angles.

    The samples are 200 x 200 quantiles, whose tails are cut: 1%.
    """
    z = norm.ppf((np.arange(200) + 0.5) / 200)
    grid = np.stack(np.meshgrid(z, z), -1).reshape(-1, 2)
    angle = np.pi * np.arange(10_000) / 10_000
    u = np.stack([np.cos(angle), np.sin(angle)])
    scales = np.array([[2.0, 0.5], [1.0, 1.0]])
    deviations = [np.sqrt(((scale[:, None] * u) ** 2).sum(0)) for scale in scales]
    expected = ((deviations[0] - deviations[1]) ** 2).mean() ** 0.5
    found = sliced_wasserstein(grid * scales[0], grid * scales[1])
    assert found == pytest.approx(expected, rel=0.01)


def test_n_1_by_the_floor() -> None:
    """Exact samples of several seeds: under .03, and falling with their number."""
    aim = exact_samples(50_000, 1)
    few, many = (
        np.mean([sliced_wasserstein(exact_samples(n, s), aim) for s in range(2, 8)])
        for n in (500, 8000)
    )
    assert many < 0.03 and few > 2 * many  # sqrt(16) = 4, of random numbers


@pytest.mark.slow
@pytest.mark.exhaustive
def test_n_1_by_numbers_in_the_text() -> None:
    """Each within 20%, for another machine's rounding, and .005, of the table; and its order."""
    said = [
        (int(cost), float(distance))
        for cost, distance in re.findall(r"(\d+): (\.\d+)", n_costs.__doc__ or "")
    ]
    rows = [(cost, distance) for _, cost, distance in table() if cost]
    assert len(said) == len(rows)
    for one, other in zip(sorted(said), sorted(rows), strict=True):
        assert one[0] == other[0]
        assert one[1] == pytest.approx(other[1], rel=0.2, abs=0.005)
