"""A statistical check and an integral that the tests of several lessons share."""

from __future__ import annotations

import numpy as np
from scipy.integrate import quad
from scipy.stats import norm


def assert_mean_is_zero(values: np.ndarray) -> None:
    """Within 5 standard errors: a false alarm in 1 of 1.7 million, each."""
    error = values.std(0) / np.sqrt(len(values))
    assert (np.abs(values.mean(0)) < 5 * error).all(), values.mean(0) / error


def kl_by_quadrature(m1: float, v1: float, m2: float, v2: float) -> float:
    """The KL divergence from N(m1, v1) to N(m2, v2), by numerical integration."""

    def integrand(x: float) -> float:
        own = norm.logpdf(x, m1, np.sqrt(v1))
        other = norm.logpdf(x, m2, np.sqrt(v2))
        return float(np.exp(own) * (own - other))

    reach = 12 * np.sqrt(v1)
    return quad(integrand, m1 - reach, m1 + reach, points=(m1,))[0]
