"""Sitting 7. What guidance samples: the exercises, and the mistakes they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tutorial.appendix.h_gaussian_pairs import ddim_law, ddpm_law
from tutorial.appendix.j_levels import langevin
from tutorial.step02_forward import Gaussian
from tutorial.step11_guidance import guide
from tutorial.step19_rules import rescale

from .exercise import A, B, C, formula, like, prediction, proof
from .interpreter import Solution


def _normalised(p: Any, area: float) -> Any:
    return p / (p.sum() * area)


_axis = np.linspace(-4, 4, 81)
_left, _right = (np.exp(-((_axis - m) ** 2) / 2) / (2 * np.pi) ** 0.5 for m in (-1.0, 1.5))
_cases = [(_right, (_left + _right) / 2, w, 0.1) for w in (0.0, 1.0, 3.0)]
_cases.append((_left, 0.3 * _left + 0.7 * _right, 0.5, 0.1))

ex_7_1 = formula(
    "7.1",
    "tutorial/step13_tilted.py, (13.1) and (13.2)",
    lambda p, q, w, area: _normalised(p ** (1 + w) * q**-w, area),
    _cases,
    (
        lambda p, q, w, area: p ** (1 + w) * q**-w,
        "not normalised: divide by Z, the sum of it all times the area of a cell.",
    ),
    (
        lambda p, q, w, area: _normalised(p ** (1 + w) * q**-w, 1.0),
        "these are probabilities, which add up to 1; a density does so times the area of a cell.",
    ),
    (
        lambda p, q, w, area: _normalised(p**w * q ** (1 - w), area),
        "this is p(x | y)^w p(x)^(1 - w): the other convention. Here w = 0 is the class.",
    ),
    (
        lambda p, q, w, area: _normalised(p ** (1 + w) * q**w, area),
        "the power of p(x) has to be -w: what looks like everything else counts less, not more.",
    ),
    (
        lambda p, q, w, area: _normalised(p ** (1 + w), area),
        "this sharpens the class by itself: without p(x) it does not depend on the other classes.",
    ),
    (
        lambda p, q, w, area: (1 + w) * p - w * q,
        "densities mixed as guidance mixes scores: it is their logarithms that mix so. This one "
        "adds up to 1 and is negative in places.",
    ),
    (
        lambda p, q, w, area: _normalised((1 + w) * p - w * q, area),
        "the densities are mixed, and then normalised. It is their logarithms that mix, so 1 + w "
        "and -w are exponents.",
    ),
    (
        lambda p, q, w, area: _normalised(p * q**-w, area),
        "p(y | x) is p(x | y) / p(x), up to a constant. You have the power w of 1 / p(x), and not "
        "that of p(x | y).",
    ),
    (
        lambda p, q, w, area: _normalised(p * q**w, area),
        "p(y | x) is not p(x). By Bayes' rule it is p(x | y) / p(x), up to a constant.",
    ),
    (
        lambda p, q, w, area: _normalised((p / q) ** w, area),
        "this is p(y | x)^w alone, up to a constant; the class p(x | y) is a factor of its own.",
    ),
    (
        lambda p, q, w, area: _normalised((p / q) ** (1 + w), area),
        "1 / p(x) has the power 1 + w, too: p(x | y) stands outside of the power w, so that p(x) "
        "has the power -w.",
    ),
    (
        lambda p, q, w, area: _normalised(p * (p / q) * w, area),
        "w is a factor here, which the normalisation cancels. It is the exponent of p(y | x).",
    ),
    (
        lambda p, q, w, area: (1 + w) * np.log(p) - w * np.log(q),
        "this is the logarithm of the density, up to a constant: take exp, and normalise.",
    ),
    (
        lambda p, q, w, area: _normalised((1 + w) * np.log(p) - w * np.log(q), area),
        "this is the logarithm of the density, normalised: take exp first.",
    ),
    (
        lambda p, q, w, area: p ** (1 + w) * q**-w * (p ** (1 + w) * q**-w).sum() * area,
        "multiplied by Z, the sum times the area. Divide by it.",
    ),
    (
        lambda p, q, w, area: p ** (1 + w) * q**-w / (p ** (1 + w) * q**-w).max(),
        "divided by the maximum, so that the peak is 1. A density has the integral 1.",
    ),
    look="Write p(x | y)^(1 + w) p(x)^(-w) first, and then divide by its sum times area.",
    solutions=(
        Solution(
            """
        def solved(p_class, p_all, w, area):
            tilted = p_class ** (1 + w) * p_all ** (-w)
            return tilted / (tilted.sum() * area)
        """,
        ),
        Solution(
            """
            def solved(p_class, p_all, w, area):
                tilted = p_class * (p_class / p_all) ** w
                return tilted / (tilted.sum() * area)
            """,
        ),
        Solution(
            """
            def solved(p_class, p_all, w, area):
                tilted = np.exp((1 + w) * np.log(p_class) - w * np.log(p_all))
                return tilted / (tilted.sum() * area)
            """,
        ),
    ),
)


def _kept(p: Any, w: float, rng: np.random.Generator) -> Any:
    return rng.random(len(p)) < p**w


def _has_one_w(test: Callable[..., Any]) -> bool:
    """Whether a test calls the function with one value of w only."""
    seen: set[float] = set()

    def recorded(p: Any, w: float, rng: np.random.Generator) -> Any:
        seen.update(np.ravel(w).tolist())
        return _kept(p, w, rng)

    test(recorded)
    return len(seen) == 1


_ex_7_2 = proof(
    "7.2",
    "tutorial/step13_tilted.py, (13.3)",
    _kept,
    (
        lambda p, w, rng: rng.random(len(p)) < p,
        "your test lets through one that keeps with probability p for every w: try another w than "
        "1.",
    ),
    (
        lambda p, w, rng: rng.random(len(p)) < p ** (1 + w),
        "your test lets through one that keeps with p^(1 + w): the samples were drawn from the "
        "class already, so one factor is there. At w = 0 all samples have to be kept.",
    ),
    (
        lambda p, w, rng: rng.random(len(p)) > p**w,
        "your test lets through one that keeps the other samples, those with a small p.",
    ),
    (
        lambda p, w, rng: p**w > 0.5,
        "your test lets through one without random numbers: it keeps all with p^w above 1/2 and "
        "no others. Compare the fraction kept among samples of the same p.",
    ),
    (
        lambda p, w, rng: rng.random(len(p)) < 0.85 * p**w,
        "your test lets through one that keeps too few, with the probability 0.85 p^w. Allow a "
        "smaller difference, and take more samples, 10,000 or so.",
    ),
)

ex_7_2 = replace(
    _ex_7_2,
    right=lambda test, right=_ex_7_2.right: right(test) and not _has_one_w(test),
    mistakes=(
        *_ex_7_2.mistakes,
        (
            lambda test, right=_ex_7_2.right: right(test) and _has_one_w(test),
            "your test has one w only. A function that ignores w passes it, such as one that "
            "keeps with p^2 where you try w = 2: try several w.",
        ),
    ),
)
del _ex_7_2

_class = Gaussian(np.zeros(2), 1.0)

ex_7_3 = prediction(
    "7.3",
    "tutorial/appendix/h_gaussian_pairs.py, (H.1)",
    ddim_law(_class, 2.0, 3.0).var,
    0.0005,
    (
        0.4,
        "this is the variance of the tilted distribution, 1 / (4 - 3 / 2), and not that of the "
        "samples of DDIM.",
    ),
    (
        0.25,
        "1/4 is 2^(1 - w), if w is taken for the scale 1 + w, and it is 1 / (1 + w). Neither is "
        "the limit of tau / G(tau) at w = 3.",
    ),
    (
        0.5,
        "is (tau / 2)^3 written as tau^3 / 2? The 2 has the power 3 as well, so it is tau^3 / 8.",
    ),
    (
        1 / 16,
        "2^(-4): the factor 1 + tau / 2 has the power -w = -3; only 1 + tau has the power 1 + w.",
    ),
    (1 / 64, "2^(-2 w): G divides the variance once; its root divides the standard deviation."),
    (
        1.0,
        "1 is the variance at w = 0, that of the class. It is also the limit if both factors of G "
        "have 1 + tau; the second one has 1 + tau / 2.",
    ),
    (2.0, "this is all data, w = -1."),
    (
        ddpm_law(_class, 2.0, 3.0).var,
        "this is the variance with DDPM, the chain with noise. DDIM adds no noise and ends "
        "narrower.",
    ),
    (
        0.0,
        "tau is divided by G(tau), and both are large: G grows as 8 tau at w = 3, so the ratio has "
        "a limit that is not 0.",
    ),
    (
        1.5**3 / 2**4,
        "this is 1 / G(1). The chain starts at a large tau, with the variance tau: take the limit "
        "of tau / G(tau).",
    ),
    (
        16.0,
        "the factors 2: (1 + tau / 2)^(-3) is (tau / 2)^(-3) = 8 tau^(-3) for large tau, and the "
        "variance is divided by G.",
    ),
    look="For large tau, 1 + tau is about tau and 1 + tau / 2 about tau / 2. Put both into G, and "
    "divide the variance tau by it.",
    given={"w": 3.0},
    source="2 ** (-w)",
)


class _Given:
    """In the place of a generator: the noise that an exercise hands out."""

    def __init__(self, z: Any) -> None:
        self.z = z

    def standard_normal(self, size: tuple[int, ...]) -> Any:
        return self.z


ex_7_4 = formula(
    "7.4",
    "tutorial/appendix/j_levels.py, (J.1)",
    lambda x, s, step, z: langevin(x, 0.0, 0.0, step, lambda x, tau: (s, s), _Given(z)),
    [(A, B, 0.2, C), (B, C, 0.01, A), (C, A, 1.5, B)],
    (
        lambda x, s, step, z: x + step * s + np.sqrt(step) * z,
        "this is the mistake itself: the score has twice the factor that belongs to this noise, "
        "so the chain ends in a distribution of about half the variance.",
    ),
    (
        lambda x, s, step, z: x + step / 2 * s + step * z,
        "the noise has the variance step^2; it has to be step, so its root is the factor.",
    ),
    (
        lambda x, s, step, z: x + step * s + step * z,
        "the factor of the score is twice too large, and the noise has the variance step^2: "
        "correct both.",
    ),
    (
        lambda x, s, step, z: x + step / 2 * s,
        "no noise: this climbs to the mode, and every sample ends in one point.",
    ),
    (
        lambda x, s, step, z: x + step * s + np.sqrt(2 * step) * z,
        "this is a Langevin step too, of twice the length, as many books write it. Here step is "
        "the variance of the noise.",
    ),
    (
        lambda x, s, step, z: x - step / 2 * s + np.sqrt(step) * z,
        "the sign: a score points to higher density, and so does the step.",
    ),
    (
        lambda x, s, step, z: x + step / 2 * s + np.sqrt(step) / 2 * z,
        "both terms are halved. Only the score is: the noise has the variance step.",
    ),
    (
        lambda x, s, step, z: x + step / 2 * s + np.sqrt(step / 2) * z,
        "the variance of the noise is halved, too. It is step; only the score has the half.",
    ),
    (
        lambda x, s, step, z: x + np.sqrt(step) / 2 * s + np.sqrt(step) * z,
        "the root of step belongs to the noise alone; the score has the factor step / 2.",
    ),
    (
        lambda x, s, step, z: x + 2 * step * s + np.sqrt(step) * z,
        "the factor of the score is four times too large: it was too large already as shown.",
    ),
    (
        lambda x, s, step, z: x + step / 4 * s + np.sqrt(step) * z,
        "now the factor of the score is too small, so the samples are too wide. Test it for N(0, "
        "1): the variance after a step is (1 - k)^2 + step, which has to be about 1.",
    ),
    (
        lambda x, s, step, z: x + step**2 / 2 * s + step * z,
        "step is used as the standard deviation of the noise. Here it is the variance.",
    ),
    (
        lambda x, s, step, z: x + step * s + np.sqrt(1 + step) * z,
        "the noise is increased, by 1. The factor of the score is what is wrong.",
    ),
    look="Only the factor of the score is wrong in what is shown. Choose it so that for N(0, 1), "
    "where s = -x, the variance 1 is left nearly unchanged.",
    solutions=(
        Solution(
            """
        def solved(x, s, step, z):
            return x + step / 2 * s + np.sqrt(step) * z
        """,
        ),
    ),
)

_pictures = np.random.default_rng(3).standard_normal((3, 4, 2, 3, 3))
_scale = np.array([1.0, 2.0, 0.5, 3.0])[:, None, None, None]
_with_flat, _other = _scale * _pictures[0], _pictures[1].copy()
_with_flat[2] = _other[2] = 1.0  # the mix of this sample has the standard deviation 0


def _brought(c: Any, n: Any, w: float, phi: float, numbers: Any, of: str = "cond") -> Any:
    g = guide(c, n, w)
    of_cond, of_g = ((a.std(numbers, keepdims=True)) for a in (c if of == "cond" else n, g))
    return (phi * np.where(of_g > 0, of_cond / np.where(of_g > 0, of_g, 1), 1) + 1 - phi) * g


_all = partial(_brought, numbers=(1, 2, 3))

_cases_of_7_5 = [
    (_scale * _pictures[0], _pictures[1], 3.0, 0.7),
    (_pictures[1], _pictures[2], 1.0, 0.2),
    (_with_flat, _other, 2.0, 0.5),
]


def _ratio(change: Callable[..., Any]) -> Callable[..., Any]:
    """A rescaling with another formula of cond, g, their standard deviations and phi."""

    def rescaled(c: Any, n: Any, w: float, phi: float) -> Any:
        g = guide(c, n, w)
        return change(c, g, c.std((1, 2, 3), keepdims=True), g.std((1, 2, 3), keepdims=True), phi)

    return rescaled


def _plain_for_all(c: Any, n: Any, w: float, phi: float) -> Any:
    """Plain guidance for the whole batch, as soon as one of its mixes is constant."""
    constant = (guide(c, n, w).std((1, 2, 3)) == 0).any()
    return _all(c, n, w, 0.0 if constant else phi)


_ex_7_5 = formula(
    "7.5",
    "tutorial/step19_rules.py, (19.1) and (19.2)",
    lambda c, n, w, phi: rescale(c, n, w, phi=phi),
    _cases_of_7_5,
    (
        lambda c, n, w, phi: _brought(c, n, w, phi, None),
        "this is the mistake itself: one standard deviation for the whole batch, so a sample "
        "depends on the others in it.",
    ),
    (
        lambda c, n, w, phi: _all(c, n, w, 1 - phi),
        "phi is the factor of the rescaled mix; you have given it to the plain mix.",
    ),
    (
        lambda c, n, w, phi: _all(c, n, w, 1.0),
        "this is the rescaled mix alone, phi = 1; blend it with the plain mix by phi.",
    ),
    (
        lambda c, n, w, phi: _all(c, n, w, phi, of="null"),
        "this rescales to the standard deviation of the null output; use that of the conditional "
        "one.",
    ),
    (
        lambda c, n, w, phi: _brought(c, n, w, phi, (2, 3)),
        "one standard deviation per channel: then the channels no longer fit each other. Use one "
        "per sample.",
    ),
    (
        lambda c, n, w, phi: (
            (
                phi * c.std((1, 2, 3), keepdims=True) / guide(c, n, w).std((1, 2, 3), keepdims=True)
                + 1
                - phi
            )
            * guide(c, n, w)
        ),
        "0 / 0: a sample with a constant mix has the standard deviation 0 and becomes NaN. Leave "
        "it as it is.",
    ),
    (
        lambda c, n, w, phi: (
            (
                phi
                * c.std((1, 2, 3), keepdims=True)
                / np.maximum(guide(c, n, w).std((1, 2, 3), keepdims=True), 1e-12)
                + 1
                - phi
            )
            * guide(c, n, w)
        ),
        "no NaN, but a sample with a constant mix is shrunk by phi: with a small number in the "
        "denominator the ratio is 0, and it has to be 1.",
    ),
    look="At phi = 1 the result for an image is g times std(cond) / std(g), both over the axes (1, "
    "2, 3); at phi = 0 it is g.",
    solutions=(
        Solution(
            """
        def solved(cond, null, w, phi):
            g = cond + w * (cond - null)
            of_cond = cond.std((1, 2, 3), keepdims=True)
            of_g = g.std((1, 2, 3), keepdims=True)
            ratio = np.where(of_g > 0, of_cond / np.where(of_g > 0, of_g, 1), 1)
            return phi * ratio * g + (1 - phi) * g
        """,
            shown={
                "of_cond": "std(cond)",
                "of_g": "std(g)",
                "ratio": "std(cond) / std(g)",
            },
        ),
    ),
)

# What a constant mix becomes does not matter for these: they are wrong for the other images.
_OTHER_RATIOS: tuple[tuple[Callable[..., Any], str], ...] = (
    (
        _ratio(lambda c, g, of_c, of_g, phi: phi * c + (1 - phi) * g),
        "the conditional prediction itself is blended in. Rescale the mix g to its standard "
        "deviation: g times the ratio of the two.",
    ),
    (
        _ratio(lambda c, g, of_c, of_g, phi: phi * of_g / of_c * g + (1 - phi) * g),
        "the ratio is inverted: this makes the standard deviation larger still. g times std(cond) "
        "/ std(g) has that of cond.",
    ),
    (
        _ratio(lambda c, g, of_c, of_g, phi: phi * of_c / of_g + (1 - phi) * g),
        "the ratio of the standard deviations is added as it is; it is the factor of g.",
    ),
    (
        _ratio(lambda c, g, of_c, of_g, phi: (phi * of_c**2 / of_g**2 + 1 - phi) * g),
        "this is the ratio of the variances; a factor of g multiplies its standard deviation.",
    ),
    (
        _ratio(
            lambda c, g, of_c, of_g, phi: (
                (
                    phi
                    * np.sqrt(
                        (c**2).mean((1, 2, 3), keepdims=True)
                        / (g**2).mean((1, 2, 3), keepdims=True)
                    )
                    + 1
                    - phi
                )
                * g
            )
        ),
        "this compares the roots of the mean squares. A standard deviation subtracts the mean "
        "first: use std.",
    ),
    (
        _ratio(lambda c, g, of_c, of_g, phi: (phi * of_c / g.std() + 1 - phi) * g),
        "std(g) is taken over the whole batch; take it per image, as that of cond.",
    ),
    (
        lambda c, n, w, phi: _brought(c, n, w, phi, 0),
        "the standard deviation is taken over the batch, axis 0: one per number, and none per "
        "image. Take it over the axes (1, 2, 3).",
    ),
    (
        lambda c, n, w, phi: _brought(c, n, w, phi, 1),
        "the standard deviation is taken over the channels alone. Take it over all numbers of an "
        "image, the axes (1, 2, 3).",
    ),
)

ex_7_5 = replace(
    _ex_7_5,
    mistakes=(
        *_ex_7_5.mistakes,
        *((like(function, _cases_of_7_5[:2]), hint) for function, hint in _OTHER_RATIOS),
        (
            like(_plain_for_all, _cases_of_7_5),
            "one image with a constant mix switches the rule off for all images. Decide for "
            "each image, for example by np.where.",
        ),
    ),
)
del _ex_7_5
