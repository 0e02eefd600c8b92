"""Wrong answers in sitting 4: exercise, answer, and a phrase of the hint that is meant for it."""

from __future__ import annotations

from typing import Any

import numpy as np

WRONG: list[tuple[str, Any, str]] = [
    ("4.0", lambda c, n, a: (c - n) / (1 - a) ** 0.5, "the sign"),
    ("4.0", lambda c, n, a: (n - c) / (1 - a), "the root is missing"),
    ("4.0", lambda c, n, a: (1 - a) ** 0.5 * (n - c), "multiplied instead of divided"),
    ("4.0", lambda c, n, a: (n - c) / a**0.5, "the factor of the data"),
    ("4.0", lambda c, n, a: n - c, "a gradient also needs"),
    ("4.0", lambda c, n, a: -c / (1 - a) ** 0.5, "subtract the score of p(x_t)"),
    ("4.0", lambda c, n, a: (-c - n) / (1 - a) ** 0.5, "the two scores are added"),
    ("4.0", lambda c, n, a: c - n, "with the wrong sign"),
    ("4.1", lambda c, n, w: w * c - (w - 1) * n, "the other convention"),
    ("4.1", lambda c, n, w: c + w * c + w * n, "the null prediction is added"),
    ("4.1", lambda c, n, w: n + w * (n - c), "the two predictions are exchanged"),
    ("4.1", lambda c, n, w: w * c - w * n, "only what the label changes"),
    ("4.1", lambda c, n, w: c + w * (c - n) if w > 0 else c, "no guidance for w below 0"),
    ("4.1", lambda c, n, w: c - w * (c - n), "the sign of w"),
    ("4.1", lambda c, n, w: c - n * w, "eps_y has the weight 1"),
    ("4.1", lambda c, n, w: c + w * c - n + w * n, "you have -(1 - w)"),
    ("4.1", lambda c, n, w: 1 + w * (c - n), "brackets are missing"),
    ("4.1", lambda c, n, w: c - n + w * (c - n), "lacks the null prediction"),
    ("4.2", lambda each, p, shares: sum(each) / len(each), "have the same weight"),
    ("4.2", lambda each, p, shares: np.tensordot(shares, each, 1), "fractions of the classes"),
    ("4.2", lambda each, p, shares: np.array([each[k, i] for i, k in enumerate(p.argmax(1))]),
     "only the likeliest"),
    ("4.2", lambda each, p, shares: sum(each), "without weights"),
    ("4.2", lambda each, p, shares: sum(
     s * q[:, None] * e for s, q, e in zip(shares, p.T, each, strict=True)), "counted twice"),
    ("4.2", lambda each, p, shares: np.array([
     np.average(each[:, i], 0, p[i] * shares) for i in range(len(p))]), "once more and normalised"),
    ("4.2", lambda each, p, shares: np.array([
     np.average(each[:, i], 0, p[i] / shares) for i in range(len(p))]), "divided out again"),
    ("4.2", lambda each, p, shares: np.tensordot(p.sum(0) / len(p), each, 1), "averaged over"),
    ("4.2", lambda each, p, shares: np.tensordot(p[0], each, 1), "of the first point"),
    ("4.2", lambda each, p, shares: (each * p.T[..., None]).mean(0), "the number of classes"),
    ("4.3", 7.5, "taken over as it is"),
    ("4.3", 8.5, "one more instead of one less"),
    ("4.3", 6, "rounded"),
    ("4.3", 0.86666667, "(s - 1) / s"),
    ("4.4", lambda c, n, w, m: (1 + w) * np.clip(c, -m, m) - w * np.clip(n, -m, m),
     "clipped first"),
    ("4.4", lambda c, n, w, m: np.clip(
     (1 + w) * np.clip(c, -m, m) - w * np.clip(n, -m, m), -m, m), "before and after"),
    ("4.4", lambda c, n, w, m: (1 + w) * c - w * n, "nothing is clipped"),
    ("4.4", lambda c, n, w, m: np.clip(w * c + (1 - w) * n, -m, m), "by the other convention"),
    ("4.4", lambda c, n, w, m: np.clip((1 + w) * c - w * n, 0, m), "0..clip"),
    ("4.4", lambda c, n, w, m: (1 + w) * c - w * np.clip(n, -m, m), "only the null guess"),
    ("4.4", lambda c, n, w, m: (1 + w) * np.clip(c, -m, m) - w * n, "only the conditional guess"),
    ("4.4", lambda c, n, w, m: c + w * np.clip(c - n, -m, m), "the difference is clipped"),
    ("4.4", lambda c, n, w, m: np.where(c + w * (c - n) > m, m, c + w * (c - n)),
     "from above only"),
    ("4.4", lambda c, n, w, m: m * np.tanh((c + w * (c - n)) / m), "tanh also changes"),
    ("4.4", lambda c, n, w, m: m * (c + w * (c - n)) / np.max(np.abs(c + w * (c - n))),
     "everything is scaled"),
    ("4.4", lambda c, n, w, m: np.clip((1 + w) * np.clip(c, -m, m) - w * n, -m, m),
     "before mixing too"),
    ("4.5", 1, "the label has no effect"),
    ("4.5", 0.0, "as a negative prompt does"),
    ("4.5", 0.9, "nearly that is w = 0"),
    ("4.5", 0.5, "not equally frequent"),
    ("4.5", 0.927, "the accuracy at w = 0"),
    ("4.5", 0.25, "one in four"),
    ("4.5", 0.333, "one in three"),
    ("4.5", 0.8, "fraction of wrong labels"),
    ("4.2", lambda each, p, shares: np.array([
     np.average(each[:, i], 0, np.exp(p[i])) for i in range(len(p))]), "a softmax of p"),
    ("4.3", 0.867, "(s - 1) / s"),
    ("4.3", 3.75, "half of s"),
    ("4.3", 0.133, "this is 1 / s"),
]  # fmt: skip
