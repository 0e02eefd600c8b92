"""Sitting 4. Guidance: the exercises, and the mistakes they name."""

from __future__ import annotations

import numpy as np

from tutorial.step11_guidance import guide, guided_x0, w_from_scale

from .exercise import SCHEDULES, A, B, C, formula, prediction
from .interpreter import Solution

ex_4_0 = formula(
    "4.0",
    "tutorial/step10_classifier.py, (10.1) and (10.4)",
    lambda c, n, abar: (n - c) / np.sqrt(1 - abar),
    [(A, B, 0.3), (B, C, 0.9), (C, A, 0.02)],
    (
        lambda c, n, abar: (c - n) / np.sqrt(1 - abar),
        "the sign: a score is minus the noise, so the conditional prediction is subtracted.",
    ),
    (
        lambda c, n, abar: (n - c) / (1 - abar),
        "the root is missing: a score is -eps divided by the standard deviation of the noise, "
        "sqrt(1 - abar).",
    ),
    (
        lambda c, n, abar: (n - c) * np.sqrt(1 - abar),
        "multiplied instead of divided by sqrt(1 - abar).",
    ),
    (
        lambda c, n, abar: (n - c) / np.sqrt(abar),
        "divided by sqrt(abar), the factor of the data; the factor of the noise is sqrt(1 - abar).",
    ),
    (
        lambda c, n, abar: n - c,
        "this is the difference of the predictions; a gradient also needs 1 / sqrt(1 - abar).",
    ),
    (
        lambda c, n, abar: -c / np.sqrt(1 - abar),
        "this is the score of p(x_t | y); subtract the score of p(x_t).",
    ),
    (
        lambda c, n, abar: -(c + n) / np.sqrt(1 - abar),
        "the two scores are added; the logarithm of a quotient is a difference.",
    ),
    (
        lambda c, n, abar: c - n,
        "this is the difference of the predictions, with the wrong sign: a score is minus eps. A "
        "gradient also needs 1 / sqrt(1 - abar).",
    ),
    look="Turn each prediction into a score first. Then subtract that of p(x_t).",
    solutions=(
        Solution(
            """
        def solved(eps_cond, eps_null, abar):
            return (eps_null - eps_cond) / np.sqrt(1 - abar)
        """,
        ),
        Solution(
            """
            def solved(eps_cond, eps_null, abar):
                score_cond = -eps_cond / np.sqrt(1 - abar)
                score_null = -eps_null / np.sqrt(1 - abar)
                return score_cond - score_null
            """,
        ),
    ),
)

ex_4_1 = formula(
    "4.1",
    "tutorial/step11_guidance.py, (11.1) to (11.3)",
    guide,
    [(A, B, 3.0), (A, C, 0.0), (B, C, -1.0), (C, A, 0.5), (A, B, -0.5)],
    (
        lambda c, n, w: n + w * (c - n),
        "this is w eps_c - (w - 1) eps_null: you have used the other convention, where w = 1 is "
        "the conditional model. Here w = 0 is.",
    ),
    (
        lambda c, n, w: (1 + w) * c + w * n,
        "the null prediction is added: the weights have to add up to 1, so its weight is -w.",
    ),
    (
        lambda c, n, w: (1 + w) * n - w * c,
        "the two predictions are exchanged: this leads away from the label.",
    ),
    (
        lambda c, n, w: w * (c - n),
        "this is only what the label changes; add it to the conditional prediction.",
    ),
    (
        lambda c, n, w: c + max(w, 0.0) * (c - n),
        "no guidance for w below 0: w = -1 has to be the unconditional model.",
    ),
    (
        lambda c, n, w: n + (1 - w) * (c - n),
        "the sign of w: a larger w has to lead away from the null prediction.",
    ),
    (
        lambda c, n, w: c - w * n,
        "eps_y has the weight 1, where 1 + w is right: the weights have to add up to 1.",
    ),
    (
        lambda c, n, w: (1 + w) * c - (1 - w) * n,
        "the weight of the null prediction is -w; you have -(1 - w). They have to add up to 1.",
    ),
    (
        lambda c, n, w: 1 + w * c - w * n,
        "brackets are missing: 1 + w is the factor of eps_y.",
    ),
    (
        lambda c, n, w: (1 + w) * (c - n),
        "this lacks the null prediction, from which the difference is counted. Add it.",
    ),
    look="Try w = 0, which has to give eps_cond, and w = -1, which has to give eps_null.",
    solutions=(
        Solution(
            """
        def solved(eps_cond, eps_null, w):
            return eps_cond + w * (eps_cond - eps_null)
        """,
        ),
        Solution(
            """
            def solved(eps_cond, eps_null, w):
                return (1 + w) * eps_cond - w * eps_null
            """,
        ),
    ),
)

_each = np.random.default_rng(1).standard_normal((3, 5, 2))
_p = np.random.default_rng(2).dirichlet(np.ones(3), 5)


def _normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(1, keepdims=True)


ex_4_2 = formula(
    "4.2",
    "tutorial/step09_condition.py, (9.3)",
    lambda each, p, shares: np.einsum("nk,kni->ni", p, each),
    [(_each, _p, np.array([0.5, 0.3, 0.2])), (_each[::-1], _p[::-1], np.array([0.1, 0.1, 0.8]))],
    (
        lambda each, p, shares: each.mean(0),
        "all classes have the same weight. Near class 0 nearly all data are of class 0, so its "
        "weight is close to 1.",
    ),
    (
        lambda each, p, shares: np.einsum("k,kni->ni", shares, each),
        "these are the fractions of the classes in the data. Given x_t, the probability of a "
        "class is p(y | x_t).",
    ),
    (
        lambda each, p, shares: each[p.argmax(1), np.arange(len(p))],
        "only the likeliest class: a mean over classes weighs all of them.",
    ),
    (lambda each, p, shares: each.sum(0), "a sum without weights: they have to add up to 1."),
    (
        lambda each, p, shares: np.einsum("k,nk,kni->ni", shares, p, each),
        "the fractions are counted twice: they are already in p(y | x_t).",
    ),
    (
        lambda each, p, shares: np.einsum("nk,kni->ni", _normalised(p * shares), each),
        "p is multiplied by the fractions once more and normalised. Bayes' rule has done that "
        "already: p is p(y | x_t).",
    ),
    (
        lambda each, p, shares: np.einsum("nk,kni->ni", _normalised(p / shares), each),
        "the fractions are divided out again: these are weights for classes of equal size.",
    ),
    (
        lambda each, p, shares: np.einsum("k,kni->ni", p.mean(0), each),
        "p is averaged over the points. Each point has its own weights, a row of p.",
    ),
    (
        lambda each, p, shares: np.einsum("k,kni->ni", p[0], each),
        "the weights of the first point are used for all. Each point has its own, a row of p.",
    ),
    (
        lambda each, p, shares: np.einsum("nk,kni->ni", p, each) / len(each),
        "divided by the number of classes; the weights of a point add up to 1 already.",
    ),
    (
        lambda each, p, shares: np.einsum("nk,kni->ni", _normalised(np.exp(p)), each),
        "the weights are a softmax of p. p contains probabilities already, whose sum over the "
        "classes is 1: use them as they are.",
    ),
    look="For the first point: p[0, 0] * each[0, 0] + p[0, 1] * each[1, 0] + ...",
    solutions=(
        Solution(
            """
        def solved(each, p, shares):
            return (p.T[:, :, None] * each).sum(0)
        """,
        ),
    ),
)

ex_4_3 = prediction(
    "4.3",
    "tutorial/step11_guidance.py, the table of the two conventions",
    w_from_scale(7.5),
    1e-6,
    (7.5, "the number taken over as it is: a whole unit of guidance too much, as s = 1 + w."),
    (8.5, "one more instead of one less: s = 1 + w, so w = s - 1."),
    (6.0, "rounded: w need not be an integer."),
    (3.75, "this is half of s. Each formula has eps_y once: its factors are 1 + w and s."),
    (
        1 / 7.5,
        "this is 1 / s. The two factors of eps_y are equal, 1 + w = s: solve this for w.",
    ),
    (
        6.5 / 7.5,
        "this is (s - 1) / s. Only the factors of eps_y are compared: 1 + w and s.",
    ),
    look="Collect the factors of eps_y in both formulas, and set them equal.",
    given={"s": 7.5},
    source="s - 1",
)

ex_4_4 = formula(
    "4.4",
    "tutorial/step11_guidance.py, (11.5) and (11.6)",
    lambda c, n, w, clip: guided_x0(c, n, c, 1, SCHEDULES[0], w, "x0", clip),
    [(2 * A, 2 * B, 1.0, 1.0), (B, 3 * C, 4.0, 1.5), (2 * C, A, 0.0, 0.5)],
    (
        lambda c, n, w, clip: guide(np.clip(c, -clip, clip), np.clip(n, -clip, clip), w),
        "this is the mistake itself: clipped first, and the mix then leaves the range again.",
    ),
    (
        lambda c, n, w, clip: np.clip(
            guide(np.clip(c, -clip, clip), np.clip(n, -clip, clip), w), -clip, clip
        ),
        "clipped before and after: the mix stays in range, but it differs, because clipping is "
        "not linear. Clip once.",
    ),
    (lambda c, n, w, clip: guide(c, n, w), "nothing is clipped."),
    (
        lambda c, n, w, clip: np.clip(n + w * (c - n), -clip, clip),
        "clipped at the right place, but mixed by the other convention, where w = 1 means without "
        "guidance.",
    ),
    (
        lambda c, n, w, clip: np.clip(guide(c, n, w), 0, clip),
        "clipped to 0..clip: the data lie in -clip..clip.",
    ),
    (
        lambda c, n, w, clip: guide(c, np.clip(n, -clip, clip), w),
        "only the null guess is clipped, before mixing. Mix first, then clip the result.",
    ),
    (
        lambda c, n, w, clip: guide(np.clip(c, -clip, clip), n, w),
        "only the conditional guess is clipped, before mixing. Mix first, then clip the result.",
    ),
    (
        lambda c, n, w, clip: c + w * np.clip(c - n, -clip, clip),
        "the difference is clipped; it may be large. Clip the guided guess.",
    ),
    (
        lambda c, n, w, clip: np.minimum(guide(c, n, w), clip),
        "clipped from above only: the range is -clip to clip.",
    ),
    (
        lambda c, n, w, clip: clip * np.tanh(guide(c, n, w) / clip),
        "tanh also changes the guesses inside the range; a clip leaves them as they are.",
    ),
    (
        lambda c, n, w, clip: clip * guide(c, n, w) / np.abs(guide(c, n, w)).max(),
        "everything is scaled; a clip changes only the entries outside the range.",
    ),
    (
        lambda c, n, w, clip: np.clip(guide(np.clip(c, -clip, clip), n, w), -clip, clip),
        "the conditional guess is clipped before mixing too. Clip once, after mixing.",
    ),
    look="The last operation has to be the clip, and nothing is clipped before it.",
    solutions=(
        Solution(
            """
        def solved(x0_cond, x0_null, w, clip):
            return np.clip(x0_cond + w * (x0_cond - x0_null), -clip, clip)
        """,
        ),
        Solution(
            """
            def solved(x0_cond, x0_null, w, clip):
                return np.clip((1 + w) * x0_cond - w * x0_null, -clip, clip)
            """,
        ),
    ),
)

ex_4_5 = prediction(
    "4.5",
    "tutorial/step12_trade_off.py, (12.2) and (12.3)",
    0.2,
    0.005,
    (1.0, "at w = -1 the label has no effect; accuracy 1 belongs to a large w."),
    (
        0.0,
        "w = -1 does not lead away from the class, as a negative prompt does; it ignores the "
        "label.",
    ),
    (0.9, "nearly that is w = 0, the plain conditional model."),
    (0.927, "this is the accuracy at w = 0, of the plain conditional model."),
    (0.25, "one in four: the data set here has five classes."),
    (1 / 3, "one in three: the data set here has five classes."),
    (0.8, "this is the fraction of wrong labels."),
    (0.5, "right and wrong are not equally frequent: there are five classes."),
    look="At w = -1 the prediction is eps_null: the label is not used. How often is it right?",
)
