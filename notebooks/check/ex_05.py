"""Sitting 5. Learning to denoise: the exercises, and the mistakes they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tutorial.appendix.e_backprop import backward, forward, silu, squared_error
from tutorial.step11_guidance import guide

from .exercise import formula, prediction, proof
from .interpreter import Solution

_G, _W, _a, _b = np.random.default_rng(5).standard_normal((4, 4, 4))


def _gate(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


ex_5_1 = formula(
    "5.1",
    "tutorial/appendix/e_backprop.py, (E.4), (E.6) and (E.7)",
    lambda G, W, a: G @ W.T * silu(a)[1],
    [(_G, _W, _a), (_b, _G, 3 * _W)],
    (
        lambda G, W, a: G @ W * silu(a)[1],
        "W is not transposed. The forward pass computes h W, and the gradient is G W^T. W is "
        "square, so no error of shape shows it.",
    ),
    (
        lambda G, W, a: G @ W.T,
        "this is the gradient in h, before silu: times its slope at a it is the one in a.",
    ),
    (
        lambda G, W, a: G @ W.T * silu(a)[0],
        "you have multiplied by the value of silu, its first result; the slope is the second.",
    ),
    (
        lambda G, W, a: (G * silu(a)[1]) @ W.T,
        "the slope too early: forward, silu comes before W, so on the way back it comes after.",
    ),
    (
        lambda G, W, a: G @ W.T * _gate(a),
        "the slope of silu without its second term: it is a product, and both factors change.",
    ),
    (
        lambda G, W, a: G @ W.T * silu(a)[1] / len(G),
        "the mean over the batch once more: the loss has taken it, and 1 / n is already in G.",
    ),
    (
        lambda G, W, a: G @ W.T * _gate(a) * (1 - _gate(a)),
        "this is the slope of the sigmoid. silu(a) is a times the sigmoid of a, so its slope has "
        "two terms; silu(a)[1] is that slope.",
    ),
    (
        lambda G, W, a: G @ W.T * (a > 0),
        "this is the slope of relu, 0 or 1. That of silu is silu(a)[1].",
    ),
    (
        lambda G, W, a: G @ W.T * np.array(silu(a)),
        "silu returns two arrays, and you have multiplied by both. Take the second: silu(a)[1].",
    ),
    (
        lambda G, W, a: G @ W.T * silu(a @ W)[1],
        "the slope is taken at a W. silu is applied to a, so its slope is the one at a.",
    ),
    (
        lambda G, W, a: G * W * silu(a)[1],
        "G and W are multiplied entry by entry. Each z depends on a whole row of h, so this is a "
        "product of matrices: G @ W.T.",
    ),
    (
        lambda G, W, a: W.T @ G * silu(a)[1],
        "the factors of the matrix product are exchanged. Rows of G are samples, and W^T acts on "
        "each of them from the right: G W^T.",
    ),
    (
        lambda G, W, a: G @ W.T @ silu(a)[1],
        "the slope is multiplied as a matrix. silu works entry by entry, so its slope does too: *.",
    ),
    (
        lambda G, W, a: G @ np.linalg.inv(W) * silu(a)[1],
        "the inverse of W undoes the layer. A gradient goes back by the transposed W.",
    ),
    look="Begin with n = 1 and H = 1, where G_a = G W times the slope of silu at a; then the "
    "shapes leave one product of matrices.",
    solutions=(
        Solution(
            """
        def solved(G, W, a):
            return G @ W.T * silu(a)[1]
        """,
            {"silu": silu},
        ),
    ),
)

# The two rows of numbers differ at every p_uncond below, in their places and in their mean: a
# function that uses them only in part still depends on them.
_y, _coins = np.array([2, 0, 1, 1, 2, 0]), np.array([0.9, 0.1, 0.25, 0.72, 0.05, 0.4])
_others = np.array([0.15, 0.35, 0.02, 0.1, 0.6, 0.22])


def _hidden_as(label: Callable[[int], int]) -> Callable[..., Any]:
    return lambda y, u, p_uncond, null: np.where(u < p_uncond, label(null), y)


ex_5_2 = formula(
    "5.2",
    "tutorial/step09_condition.py, (9.5) and (9.8)",
    _hidden_as(lambda null: null),
    [(_y, _coins, 0.3, 3), (_y, _others, 0.2, 3), (_y + 2, _coins, 0.5, 7)],
    (
        _hidden_as(lambda null: 0),
        "this is the mistake itself: 0 is a class. With the label 0 the network then learns a "
        "mean over class 0 and all images.",
    ),
    (
        lambda y, u, p_uncond, null: np.where(u[0] < p_uncond, null, y),
        "one random number for the whole batch: then no batch trains both outputs. Use one per "
        "sample.",
    ),
    (
        lambda y, u, p_uncond, null: np.where(u.mean() < p_uncond, null, y),
        "one decision for the whole batch, by the mean of u. Compare each number of u with "
        "p_uncond: the labels are hidden one by one.",
    ),
    (
        lambda y, u, p_uncond, null: np.where(u < p_uncond, y, null),
        "the other way round: labels are kept with probability p_uncond, and the others are "
        "hidden.",
    ),
    (
        _hidden_as(lambda null: null - 1),
        "null - 1 is the last class: classes are 0..K-1, and the null label is K itself.",
    ),
    (
        _hidden_as(lambda null: -1),
        "-1 is outside of 0..K. NumPy takes the last row of the table for it, which works by "
        "chance.",
    ),
    (
        lambda y, u, p_uncond, null: y[u >= p_uncond],
        "you have thrown the samples away; only their labels are to be hidden.",
    ),
    (
        _hidden_as(lambda null: null + 1),
        "null + 1 is outside of the table: its rows are 0..K, and null is K, the last of them.",
    ),
    (
        lambda y, u, p_uncond, null: np.where(u < p_uncond, y.max() + 1, y),
        "the null label is taken from the largest label of the batch, which need not be K - 1. Use "
        "the argument null.",
    ),
    (
        lambda y, u, p_uncond, null: np.where(u < 1 - p_uncond, null, y),
        "labels are hidden with probability 1 - p_uncond; u < p_uncond has the right one.",
    ),
    (
        lambda y, u, p_uncond, null: y * (u >= p_uncond) + null,
        "null is added to the labels that are kept, too.",
    ),
    solutions=(
        Solution(
            """
        def solved(y, u, p_uncond, null):
            return np.where(u < p_uncond, null, y)
        """,
            most_pairs=0,
        ),
    ),
)

_e_y, _e_null = np.array([0.1, 0.0]), np.array([0.0, 0.2])

ex_5_3 = prediction(
    "5.3",
    "tutorial/step15_learning.py, (15.6) and (15.7)",
    float(np.linalg.norm(guide(_e_y, _e_null, 3.0))),
    0.005,
    (0.1, "this is the error at w = 0. The null error comes in as soon as w does."),
    (1.0, "the lengths added up, 0.4 and 0.6: but the two point in different directions."),
    (0.2, "the lengths subtracted, 0.4 and 0.6: errors at right angles do not cancel at all."),
    (0.5, "4 and -3 are the weights at w = 3; you have taken 3 and -2, those of scale 3."),
    (0.52, "this is the square of the length."),
    (
        0.2**0.5,
        "the squares 0.36 and 0.16 are subtracted. The minus of -3 e_null is squared as well, so "
        "they add up.",
    ),
    (0.3 * 5**0.5, "this is w d alone, 3 (e_y - e_null); e_y itself is added to it."),
    (0.4, "this is (1 + w) e_y alone; the null error has the factor -w."),
    (
        float(np.hypot(0.4, 0.8)),
        "both errors have the factor 4. That of the null error is -w = -3.",
    ),
    (float(np.hypot(0.3, 0.8)), "1 + w and w are exchanged: e_y has the factor 4."),
    (float(np.hypot(0.1, 0.6)), "e_y has the factor 1 here. Its factor is 1 + w = 4."),
    (
        0.1 + 0.3 * 5**0.5,
        "the lengths of e_y and of w (e_y - e_null) added up; the two point in different "
        "directions, so add the vectors first.",
    ),
    (0.26, "this is the mean of the two squares; a length is the root of their sum."),
    (0.26**0.5, "this is the root of the mean of the two squares; a length takes their sum."),
    look="Write out both coordinates: 4 e_y - 3 e_null is a vector, and its length is the root of "
    "the sum of the two squares.",
    given={"w": 3.0, "e_y": 0.1, "e_null": 0.2},
    source="np.sqrt(((1 + w) * e_y) ** 2 + (w * e_null) ** 2)",
)


def _gradient(p: Any, xt: Any, tau: Any, y: Any, eps: Any) -> Any:
    f, passed = forward(p, xt, tau, y)
    return backward(p, squared_error(eps, f)[1], passed)


def _times(factor: Callable[[int], float]) -> Callable[..., Any]:
    """The whole gradient too large by a factor, of the size of the batch."""
    return lambda p, xt, tau, y, eps: {
        name: factor(len(y)) * G for name, G in _gradient(p, xt, tau, y, eps).items()
    }


def _bias_by_a_mean(p: Any, xt: Any, tau: Any, y: Any, eps: Any) -> Any:
    G = _gradient(p, xt, tau, y, eps)
    return G | {"b2": G["b2"] / len(y)}


def _frozen(p: Any, xt: Any, tau: Any, y: Any, eps: Any, row: int = 0) -> Any:
    G = _gradient(p, xt, tau, y, eps)
    return G | {"E": G["E"] * (np.arange(len(G["E"])) != row)[:, None]}


def _next_row(p: Any, xt: Any, tau: Any, y: Any, eps: Any) -> Any:
    """The gradient of E in the wrong rows: its sum is right."""
    G = _gradient(p, xt, tau, y, eps)
    return G | {"E": np.roll(G["E"], 1, axis=0)}


def _one_number_right(p: Any, xt: Any, tau: Any, y: Any, eps: Any) -> Any:
    """Half of the gradient, but for the first number of each array, which is right."""
    G = _gradient(p, xt, tau, y, eps)
    factors = {name: np.full(array.shape, 0.5) for name, array in G.items()}
    for factor in factors.values():
        factor.flat[0] = 1.0
    return {name: factors[name] * array for name, array in G.items()}


def _not_transposed(p: Any, xt: Any, tau: Any, y: Any, eps: Any) -> Any:
    """The mistake of 5.1 in the layer below: the gradient of W2 is right."""
    f, passed = forward(p, xt, tau, y)
    Gf = squared_error(eps, f)[1]
    wrong = backward(p | {"W2": p["W2"].T}, Gf, passed)
    return backward(p, Gf, passed) | {name: wrong[name] for name in ("Wx", "Wt", "E")}


ex_5_4 = proof(
    "5.4",
    "tutorial/appendix/e_backprop.py, (E.6) and (E.8)",
    _gradient,
    (
        _times(lambda n: -1.0),
        "your test lets a gradient through that goes uphill: look at signs as well.",
    ),
    (
        _times(lambda n: 0.5),
        "your test lets a gradient of half the size through, without the 2 of the slope of a "
        "square. Its direction is right: compare numbers, not directions.",
    ),
    (
        _one_number_right,
        "your test lets one through in which only the first number of each array is right: "
        "compare every number, or several at random.",
    ),
    (
        _bias_by_a_mean,
        "your test lets one through in which the gradient of b2 is a mean over the batch, not a "
        "sum: look at the biases too.",
    ),
    (
        _not_transposed,
        "your test lets one through that does not transpose W2, so that Wx, Wt and E get wrong "
        "gradients: look at the first layer too.",
    ),
    (
        _frozen,
        "your test lets one through in which class 0 learns nothing (a padding index): look at "
        "every row of E, and have label 0 in the batch.",
    ),
    (
        lambda *batch: _frozen(*batch, row=3),
        "your test lets one through in which the null label learns nothing: look at every row of "
        "E, and have label 3 in the batch.",
    ),
    (
        _times(lambda n: n / (n - 1)),
        "your test lets one through that divides by n - 1, not by n: allow less than a seventh. "
        "Differences of float64 losses are good to nine digits or so.",
    ),
    (
        _next_row,
        "your test lets one through in which each row of E has the gradient of the row before it: "
        "move one number at a time, and compare entry by entry; a sum does not show it.",
    ),
)
