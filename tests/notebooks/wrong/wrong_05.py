"""Wrong answers in sitting 5: exercise, answer, and a phrase of the hint that is meant for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from tutorial.appendix.e_backprop import angles, forward, init, silu, squared_error
from tutorial.step02_forward import Schedule


@cache
def measured(labels: tuple[int, ...]) -> tuple[Any, dict[str, Any]]:
    """A batch with these labels, and the slope of its loss in every number."""
    rng = np.random.default_rng(0)
    p, tau = init(3, 6, rng), angles(np.arange(10, 90, 10), Schedule.linear(100))
    (xt, eps), y = rng.standard_normal((2, 8, 2)), np.array(labels)
    slopes = {name: np.zeros_like(array) for name, array in p.items()}
    for name, array in p.items():
        for i in np.ndindex(array.shape):
            for h in (1e-5, -1e-5):
                moved = array.copy()
                moved[i] += h
                f = forward(p | {name: moved}, xt, tau, y)[0]
                slopes[name][i] += squared_error(eps, f)[0] / (2 * h)
    return (p, xt, tau, y, eps), slopes


def tested(
    same: Callable[[Any, Any], Any],
    names: str = "Wx Wt E W2 b2 W3 b3",
    labels: tuple[int, ...] = (0, 1, 2, 3, 3, 2, 1, 0),
) -> Callable[[Any], None]:
    """A student's test: `same` of an array of gradients and of slopes, in some arrays of p."""

    def test(gradient: Any) -> None:
        batch, slopes = measured(labels)
        found = gradient(*batch)
        for name in names.split():
            assert same(found[name], slopes[name])

    return test


def close(found: Any, slope: Any) -> Any:
    return np.allclose(found, slope, atol=1e-8)


def hidden_in_place(y: Any, u: Any, p_uncond: float, null: int) -> Any:
    y = y.copy()
    y[u < p_uncond] = 0
    return y


WRONG: list[tuple[str, Any, str]] = [
    ("5.1", lambda G, W, a: silu(a)[1] * (G @ W), "not transposed"),
    ("5.1", lambda G, W, a: np.einsum("no,ho->nh", G, W), "before silu"),
    ("5.1", lambda G, W, a: G @ W.T * a / (1 + np.exp(-a)), "the value of silu"),
    ("5.1", lambda G, W, a: np.dot(silu(a)[1] * G, W.T), "too early"),
    ("5.1", lambda G, W, a: G @ W.T / (1 + np.exp(-a)), "without its second term"),
    ("5.1", lambda G, W, a: G @ W.T * silu(a)[1] / G.shape[0], "once more"),
    ("5.2", hidden_in_place, "0 is a class"),
    ("5.2", lambda y, u, p, null: np.full_like(y, null) if u[0] < p else y, "one random number"),
    ("5.2", lambda y, u, p, null: np.where(u > p, null, y), "the other way round"),
    ("5.2", lambda y, u, p, null: np.where(u < p, null - 1, y), "is the last class"),
    ("5.2", lambda y, u, p, null: np.where(u >= p, y, -1), "is outside of 0..K"),
    ("5.2", lambda y, u, p, null: np.array([k for k, c in zip(y, u, strict=True) if c > p]),
     "thrown the samples away"),
    ("5.3", 0.1, "at w = 0"),
    ("5.3", 4 * 0.1 + 3 * 0.2, "lengths added up"),
    ("5.3", 3 * 0.2 - 4 * 0.1, "lengths subtracted"),
    ("5.3", np.hypot(0.3, 0.4), "those of scale 3"),
    ("5.3", 0.4**2 + 0.6**2, "the square of the length"),
    ("5.3", 3 * np.hypot(0.1, 0.2), "w d alone"),
    ("5.4", tested(lambda found, slope: (found == slope).all()), "the lesson's own function"),
    ("5.4", tested(lambda found, slope: close(abs(found), abs(slope))), "uphill"),
    ("5.4", tested(lambda found, slope: (found * slope > -1e-12).all()), "half the size"),
    ("5.4", tested(close, "Wx Wt E W2 W3"), "a mean over the batch"),
    ("5.4", tested(close, "W2 b2 W3 b3"), "the first layer too"),
    ("5.4", tested(close, labels=(1, 2, 3, 3, 2, 1, 2, 1)), "class 0 learns nothing"),
    ("5.4", tested(close, labels=(0, 1, 2, 0, 1, 2, 0, 1)), "the null label learns nothing"),
    ("5.4", tested(lambda found, slope: np.allclose(found, slope, rtol=0.2, atol=1e-8)),
     "less than a seventh"),
    ("5.1", lambda G, W, a: G @ W.T * np.exp(-a) / (1 + np.exp(-a)) ** 2, "slope of the sigmoid"),
    ("5.1", lambda G, W, a: np.where(a > 0, G @ W.T, 0), "the slope of relu"),
    ("5.1", lambda G, W, a: G @ W.T * silu(a), "returns two arrays"),
    ("5.1", lambda G, W, a: silu(a @ W)[1] * (G @ W.T), "taken at a W"),
    ("5.1", lambda G, W, a: silu(a)[1] * G * W, "entry by entry. Each z"),
    ("5.1", lambda G, W, a: silu(a)[1] * (W.T @ G), "are exchanged. Rows of G"),
    ("5.1", lambda G, W, a: (G @ W.T) @ silu(a)[1], "multiplied as a matrix"),
    ("5.1", lambda G, W, a: np.linalg.solve(W.T, G.T).T * silu(a)[1], "the inverse of W"),
    ("5.2", lambda y, u, p, null: np.where(u < p, null + 1, y), "outside of the table"),
    ("5.2", lambda y, u, p, null: np.where(u < p, 0, y) + null, "added to the labels"),
    ("5.3", 4 * 0.1, "(1 + w) e_y alone"),
    ("5.3", np.hypot(4 * 0.1, 4 * 0.2), "both errors have the factor 4"),
    ("5.3", np.hypot(3 * 0.1, 4 * 0.2), "1 + w and w are exchanged"),
    ("5.3", np.hypot(0.1, 3 * 0.2), "e_y has the factor 1 here"),
    ("5.3", 0.1 + 3 * np.hypot(0.1, 0.2), "lengths of e_y and of w"),
    ("5.3", np.mean([0.16, 0.36]), "this is the mean of the two squares"),
    ("5.3", np.sqrt(np.mean([0.16, 0.36])), "root of the mean of the two"),
    ("5.4", tested(lambda found, slope: close(found.sum(), slope.sum())), "the row before it"),
    ("5.2", lambda y, u, p, null: np.where(u < p, np.max(y) + 1, y), "the largest label"),
    ("5.2", lambda y, u, p, null: np.where(1 - u > p, null, y), "with probability 1 - p_uncond"),
    ("5.2", lambda y, u, p, null: np.full_like(y, null) if np.mean(u) < p else y, "the mean of u"),
    ("5.3", 0.45, "are subtracted"),
    ("5.4", tested(lambda found, slope: close(found.flat[0], slope.flat[0])), "the first number"),
]  # fmt: skip
