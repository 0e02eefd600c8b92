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
    ("7.3", 2**-2, "taken for the scale"),
    ("7.3", 2**-6, "divides the variance once"),
    ("7.3", 1, "this is the class"),
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
]  # fmt: skip
