"""Wrong answers in sitting 4: exercise, answer, and a phrase of the hint that is meant for it."""

from __future__ import annotations

from typing import Any

import numpy as np

WRONG: list[tuple[str, Any, str]] = [
    ("4.0", lambda c, n, a: (c - n) / (1 - a) ** 0.5, "the sign"),
    ("4.0", lambda c, n, a: (n - c) / (1 - a), "the root is missing"),
    ("4.0", lambda c, n, a: (1 - a) ** 0.5 * (n - c), "multiplied instead of divided"),
    ("4.0", lambda c, n, a: (n - c) / a**0.5, "the factor of the data"),
    ("4.0", lambda c, n, a: n - c, "the difference of the predictions"),
    ("4.0", lambda c, n, a: -c / (1 - a) ** 0.5, "subtract the score of p(x_t)"),
    ("4.1", lambda c, n, w: w * c - (w - 1) * n, "the other convention"),
    ("4.1", lambda c, n, w: c + w * c + w * n, "the null prediction is added"),
    ("4.1", lambda c, n, w: n + w * (n - c), "predictions are exchanged"),
    ("4.1", lambda c, n, w: w * c - w * n, "only what the label changes"),
    ("4.1", lambda c, n, w: c + w * (c - n) if w > 0 else c, "no guidance for w below 0"),
    ("4.1", lambda c, n, w: c - w * (c - n), "the sign of w"),
    ("4.2", lambda each, p, shares: sum(each) / len(each), "have the same weight"),
    ("4.2", lambda each, p, shares: np.tensordot(shares, each, 1), "fractions of the classes"),
    ("4.2", lambda each, p, shares: np.array([each[k, i] for i, k in enumerate(p.argmax(1))]),
     "only the likeliest"),
    ("4.2", lambda each, p, shares: sum(each), "without weights"),
    ("4.2", lambda each, p, shares: sum(
     s * q[:, None] * e for s, q, e in zip(shares, p.T, each, strict=True)), "counted twice"),
    ("4.3", 7.5, "taken over as it is"),
    ("4.3", 8.5, "one more instead of one less"),
    ("4.4", lambda c, n, w, m: (1 + w) * np.clip(c, -m, m) - w * np.clip(n, -m, m),
     "clipped first"),
    ("4.4", lambda c, n, w, m: np.clip(
     (1 + w) * np.clip(c, -m, m) - w * np.clip(n, -m, m), -m, m), "before and after"),
    ("4.4", lambda c, n, w, m: (1 + w) * c - w * n, "nothing is clipped"),
    ("4.4", lambda c, n, w, m: np.clip(w * c + (1 - w) * n, -m, m), "by the other convention"),
    ("4.4", lambda c, n, w, m: np.clip((1 + w) * c - w * n, 0, m), "0..clip"),
    ("4.5", 1, "the label has no effect"),
    ("4.5", 0.0, "as a negative prompt does"),
    ("4.5", 0.9, "plain conditional model"),
    ("4.5", 0.5, "five classes"),
]  # fmt: skip
