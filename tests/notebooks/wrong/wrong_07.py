"""Wrong answers in sitting 7: exercise, answer, and a phrase of the hint that is meant for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _density(values: Any, area: float) -> Any:
    return values / values.sum() / area


def test_of_half_the_share(kept: Callable[..., Any]) -> None:
    """At w = 1 alone."""
    p = np.full(10_000, 0.5)
    assert abs(kept(p, 1.0, np.random.default_rng(0)).mean() - 0.5) < 0.05


def test_without_w_0(kept: Callable[..., Any]) -> None:
    """At w = 2, with a tolerance in which p^3 passes."""
    p = np.full(10_000, 0.9)
    share = kept(p, 2.0, np.random.default_rng(0)).mean()
    assert 0.7 < share < 0.85


def test_of_the_middle(kept: Callable[..., Any]) -> None:
    """Where as many go as stay, at an everyday w."""
    p = np.full(10_000, 0.5**0.5)
    share = kept(p, 2.0, np.random.default_rng(0)).mean()
    assert abs(share - 0.5) < 0.02


def test_of_sure_and_hopeless(kept: Callable[..., Any]) -> None:
    """Only whom no lot decides about, and w = 3 where p^3 and 3 p differ."""
    rng = np.random.default_rng(0)
    assert kept(np.ones(1000), 3.0, rng).all()
    assert not kept(np.full(1000, 1e-3), 3.0, rng).any()
    assert kept(np.full(1000, 1e-3), 0.0, rng).all()


def test_that_stops_everything(kept: Callable[..., Any]) -> None:
    """Wrong about what is right."""
    assert kept(np.full(1000, 0.5), 1.0, np.random.default_rng(0)).all()


def test_of_one_w(kept: Callable[..., Any]) -> None:
    """At w = 2, where p^2 is right."""
    for p in (0.2, 0.5, 0.9):
        found = kept(np.full(100_000, p), 2.0, np.random.default_rng(0)).mean()
        assert abs(found - p**2) < 0.01


def test_of_twenty_samples(kept: Callable[..., Any]) -> None:
    """Several w, and a tolerance in which nearly everything passes."""
    rng = np.random.default_rng(0)
    for w in (0.0, 1.0, 3.0):
        assert abs(kept(np.full(20, 0.7), w, rng).mean() - 0.7**w) < 0.3


def rescaled(change: Callable[..., Any]) -> Any:
    """Image by image, and an image with a constant mix as it is."""

    def rule(cond: Any, null: Any, w: float, phi: float) -> Any:
        mixes = cond + w * (cond - null)
        pairs = zip(cond, mixes, strict=True)
        return np.stack([g if g.std() == 0 else change(a, g, phi) for a, g in pairs])

    return rule


def plain_as_soon_as_one_is_constant(cond: Any, null: Any, w: float, phi: float) -> Any:
    """An `if` for the whole batch."""
    g = cond + w * (cond - null)
    of_g = np.array([one.std() for one in g])
    if np.any(of_g == 0):
        return g
    of_cond = np.array([one.std() for one in cond])
    return g * (phi * of_cond / of_g + 1 - phi)[:, None, None, None]


WRONG: list[tuple[str, Any, str]] = [
    ("7.1", lambda p, q, w, area: p * (p / q) ** w, "not normalised"),
    ("7.1", lambda p, q, w, area: p * (p / q) ** w / (p * (p / q) ** w).sum(),
     "these are probabilities"),
    ("7.1", lambda p, q, w, area: _density(q * (p / q) ** w, area), "the other convention"),
    ("7.1", lambda p, q, w, area: _density(p * (p * q) ** w, area), "has to be -w"),
    ("7.1", lambda p, q, w, area: _density(p * p**w, area), "sharpens the class by itself"),
    ("7.1", lambda p, q, w, area: p + w * (p - q), "densities mixed"),
    ("7.2", test_of_half_the_share, "for every w"),
    ("7.2", test_without_w_0, "one factor is there"),
    ("7.2", test_of_the_middle, "keeps the other samples"),
    ("7.2", test_of_sure_and_hopeless, "without random numbers"),
    ("7.2", test_that_stops_everything, "which is right"),
    ("7.3", 2 / 5, "of the tilted distribution"),
    ("7.3", 2**-2, "if w is taken for the scale"),
    ("7.3", 2**-6, "divides the variance once"),
    ("7.3", 1, "1 is the variance at w = 0"),
    ("7.3", 2, "this is all data"),
    ("7.3", (2 - 2**-6) / 7, "DDPM"),
    ("7.4", lambda x, s, h, z: x + h * s + h**0.5 * z, "the mistake itself"),
    ("7.4", lambda x, s, h, z: x + 0.5 * h * s + h * z, "it has to be step"),
    ("7.4", lambda x, s, h, z: x + h * (s + z), "correct both"),
    ("7.4", lambda x, s, h, z: x + 0.5 * h * s, "climbs to the mode"),
    ("7.4", lambda x, s, h, z: x + h * s + (2 * h) ** 0.5 * z, "twice the length"),
    ("7.4", lambda x, s, h, z: x - h * s / 2 + h**0.5 * z, "points to higher density"),
    ("7.5", lambda c, n, w, phi: (
     lambda g: phi * c.std() / g.std() * g + (1 - phi) * g)(c + w * (c - n)),
     "for the whole batch"),
    ("7.5", lambda c, n, w, phi: np.stack([
     g if g.std() == 0 else (1 - phi) * g * a.std() / g.std() + phi * g
     for a, g in zip(c, (1 + w) * c - w * n, strict=True)]), "given it to the plain"),
    ("7.5", lambda c, n, w, phi: np.stack([
     g if g.std() == 0 else g * a.std() / g.std()
     for a, g in zip(c, (1 + w) * c - w * n, strict=True)]), "blend it with"),
    ("7.5", lambda c, n, w, phi: np.stack([
     g if g.std() == 0 else phi * g * a.std() / g.std() + (1 - phi) * g
     for a, g in zip(n, (1 + w) * c - w * n, strict=True)]), "of the null output"),
    ("7.5", lambda c, n, w, phi: np.stack([
     [f if f.std() == 0 else phi * f * b.std() / f.std() + (1 - phi) * f
      for b, f in zip(a, g, strict=True)]
     for a, g in zip(c, (1 + w) * c - w * n, strict=True)]), "per channel"),
    ("7.5", lambda c, n, w, phi: np.stack([
     phi * g * a.std() / g.std() + (1 - phi) * g
     for a, g in zip(c, (1 + w) * c - w * n, strict=True)]), "becomes NaN"),
    ("7.5", lambda c, n, w, phi: np.stack([
     phi * g * a.std() / (g.std() + 1e-15) + (1 - phi) * g
     for a, g in zip(c, (1 + w) * c - w * n, strict=True)]), "is shrunk by phi"),
    ("7.1", lambda p, q, w, area: _density(p + w * (p - q), area), "and then normalised"),
    ("7.1", lambda p, q, w, area: _density(p / q**w, area), "the power w of 1 / p(x)"),
    ("7.1", lambda p, q, w, area: _density(p * q**w, area), "p(y | x) is not p(x)"),
    ("7.1", lambda p, q, w, area: _density((p / q) ** w, area), "this is p(y | x)^w alone"),
    ("7.1", lambda p, q, w, area: _density((p / q) ** (w + 1), area), "the power 1 + w, too"),
    ("7.1", lambda p, q, w, area: _density(w * p * p / q, area), "w is a factor here"),
    ("7.1", lambda p, q, w, area: np.log(p) + w * np.log(p / q), "up to a constant: take exp, and"),
    ("7.1", lambda p, q, w, area: _density(np.log(p) + w * np.log(p / q), area), "take exp first"),
    ("7.1", lambda p, q, w, area: p * (p / q) ** w * (p * (p / q) ** w * area).sum(),
     "multiplied by Z"),
    ("7.1", lambda p, q, w, area: p * (p / q) ** w / np.max(p * (p / q) ** w), "by the maximum"),
    ("7.3", 0, "both are large"),
    ("7.3", 1 / (2**4 / 1.5**3), "this is 1 / G(1)"),
    ("7.3", 2**4, "the factors 2"),
    ("7.4", lambda x, s, h, z: x + (h * s + h**0.5 * z) / 2, "both terms are halved"),
    ("7.4", lambda x, s, h, z: x + 0.5 * h * s + (0.5 * h) ** 0.5 * z, "is halved, too"),
    ("7.4", lambda x, s, h, z: x + h**0.5 * (s / 2 + z), "belongs to the noise alone"),
    ("7.4", lambda x, s, h, z: x + 2 * h * s + h**0.5 * z, "four times too large"),
    ("7.4", lambda x, s, h, z: x + h * s / 4 + h**0.5 * z, "is too small, so"),
    ("7.4", lambda x, s, h, z: x + h * h * s / 2 + h * z, "as the standard deviation"),
    ("7.4", lambda x, s, h, z: x + h * s + (1 + h) ** 0.5 * z, "the noise is increased"),
    ("7.5", rescaled(lambda a, g, phi: phi * a + (1 - phi) * g), "prediction itself is blended"),
    ("7.5", rescaled(lambda a, g, phi: g * (phi * g.std() / a.std() + 1 - phi)), "is inverted"),
    ("7.5", rescaled(lambda a, g, phi: phi * a.std() / g.std() + (1 - phi) * g), "is added as it"),
    ("7.5", rescaled(lambda a, g, phi: g * (phi * a.var() / g.var() + 1 - phi)),
     "of the variances"),
    ("7.5", rescaled(lambda a, g, phi: g * (
     phi * np.sqrt((a**2).mean() / (g**2).mean()) + 1 - phi)), "the roots of the mean squares"),
    ("7.5", lambda c, n, w, phi: (lambda g: np.stack([
     b * (phi * a.std() / g.std() + 1 - phi) for a, b in zip(c, g, strict=True)]))(
     c + w * (c - n)), "taken over the whole batch; take it"),
    ("7.5", lambda c, n, w, phi: (lambda g: g * (phi * c.std(0) / g.std(0) + 1 - phi))(
     c + w * (c - n)), "over the batch, axis 0"),
    ("7.5", lambda c, n, w, phi: (lambda g: g * (
     phi * c.std(1, keepdims=True) / g.std(1, keepdims=True) + 1 - phi))(c + w * (c - n)),
     "over the channels alone"),
    ("7.5", plain_as_soon_as_one_is_constant, "switches the rule off"),
    ("7.2", test_of_one_w, "one w only"),
    ("7.2", test_of_twenty_samples, "keeps too few"),
    ("7.3", 0.5, "written as tau^3 / 2"),
    ("7.3", 0.0625, "has the power -w = -3"),
]  # fmt: skip
