"""The exercises of the notebooks: `check.ex_2_1(answer)` says right, or wrong and probably why.

A right answer prints a line. Anything else raises `NotRightError`, an AssertionError, whose message
says that nothing has been tried, or gives a hint that names the mistake and the lesson to read; so
a cell that ends in a check is also what nbgrader grades. A function is asked about several inputs,
and compared with the lesson's own and with what typical mistakes would answer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutorial.step00_notation import Schedule
from tutorial.step01_toy_data import GaussianMixture
from tutorial.step02_forward import moments_after, q_xt_given_xprev
from tutorial.step03_marginal import q_xt_given_xs, xt_from_x0
from tutorial.step04_posterior import posterior_coefficients, q_posterior
from tutorial.step05_reverse import p_xprev_given_xt, x0_from
from tutorial.step06_loss import simple_loss
from tutorial.step07_oracle import lowest_loss, oracle_eps
from tutorial.step10_guidance import guide, guided_x0, w_from_scale


class NotRightError(AssertionError):
    """What a check has to say about an answer that is not right."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows: the hint, without the lines of this file that it came from."""
        return [str(self)]


@dataclass(frozen=True)
class Exercise:
    """One exercise: what is right, and what each mistake looks like, in the order of trying."""

    number: str
    lesson: str
    right: Callable[[Any], bool]
    mistakes: tuple[tuple[Callable[[Any], bool], str], ...]

    def hint(self, answer: Any) -> str:
        """Empty for a right answer, else the one hint that is meant for it."""
        if answer is None or answer is ...:
            return "not attempted yet."
        try:
            with np.errstate(all="ignore"):
                if self.right(answer):
                    return ""
                hints = [hint for mistaken, hint in self.mistakes if mistaken(answer)]
        except NotImplementedError:
            return "not attempted yet."
        except Exception as error:  # a student's code may raise anything
            return f"your answer stops with {type(error).__name__}: {error}"
        return hints[0] if hints else "wrong, and by none of the mistakes that are known here."

    def __call__(self, answer: Any) -> None:
        """Print that `answer` is right, or raise `NotRightError` with the hint and the lesson."""
        hint = self.hint(answer)
        if hint:
            raise NotRightError(f"Exercise {self.number}: {hint}\nRead {self.lesson}.")
        print(f"Exercise {self.number}: right.")


def like(reference: Callable[..., Any], cases: Sequence[tuple[Any, ...]]) -> Callable[[Any], bool]:
    """Whether a function gives what `reference` gives, shapes included, in every case."""

    def holds(answer: Callable[..., Any]) -> bool:
        for case in cases:
            found = answer(*copy.deepcopy(case))  # a copy: it may write into what it is given
            if found is None or found is ...:
                raise NotImplementedError
            found, expected = np.asarray(found, np.float64), np.asarray(reference(*case))
            # Float64 algebra, in whatever order: about 1e-12 of the largest number in it.
            if found.shape != expected.shape or not np.allclose(found, expected, 1e-8, 1e-10):
                return False
        return True

    return holds


def near(value: float, within: float) -> Callable[[Any], bool]:
    """Whether a number is `value`, as closely as it was asked for."""
    return lambda answer: bool(abs(float(answer) - value) <= within)


def formula(
    number: str,
    lesson: str,
    reference: Callable[..., Any],
    cases: Sequence[tuple[Any, ...]],
    *mistakes: tuple[Callable[..., Any], str],
) -> Exercise:
    """An exercise whose answer is a function: the lesson's `reference`, and what is not it."""
    wrong = tuple((like(function, cases), hint) for function, hint in mistakes)
    return Exercise(number, lesson, like(reference, cases), wrong)


def prediction(
    number: str, lesson: str, value: float, within: float, *mistakes: tuple[float, str]
) -> Exercise:
    """An exercise whose answer is a number."""
    wrong = tuple((near(other, within), hint) for other, hint in mistakes)
    return Exercise(number, lesson, near(value, within), wrong)


# Inputs: at both ends, where an index that is off by one shows, and between; two schedules, so that
# nothing is right by the accident of one.
_a, _b, _c = np.random.default_rng(0).standard_normal((3, 5, 2))
_schedules = Schedule.cosine(10), Schedule.linear(10)
_times = [(t, schedule) for schedule in _schedules for t in (1, 2, 5, 10)]
_pairs = [(_a, _b, t, schedule) for t, schedule in _times]


# 1. The forward process


def _one_step(x: Any, beta: float, z: Any) -> Any:
    law = q_xt_given_xprev(x, 1, Schedule(np.array([0.0, beta])))
    return law.mean + np.sqrt(law.var) * z


ex_1_1 = formula(
    "1.1", "tutorial/step02_forward.py, (2.1) to (2.3)", _one_step,
    [(_a, 0.36, _b), (_b, 0.1, _c), (_a, 0.81, _c)],
    (lambda x, beta, z: (1 - beta) * x + np.sqrt(beta) * z,
     "1 - beta is what the variance keeps. The factor of x is its square root; with yours the "
     "variance sinks to near one half."),
    (lambda x, beta, z: x + np.sqrt(beta) * z,
     "nothing shrinks: this is a random walk, whose variance grows without end."),
    (lambda x, beta, z: np.sqrt(1 - beta) * x + beta * z,
     "beta is the variance of the noise; noise of that variance is sqrt(beta) z."),
    (lambda x, beta, z: np.sqrt(beta) * x + np.sqrt(1 - beta) * z,
     "the two coefficients are swapped: a small beta has to change little."),
    (lambda x, beta, z: (1 - beta) * x + beta * z,
     "the coefficients add up to 1, as for an average. It is their squares that have to."),
)  # fmt: skip

ex_1_2 = prediction(
    "1.2", "tutorial/step02_forward.py, (2.3) and (2.4)",
    moments_after(0.0, 4.0, 1, Schedule(np.array([0.0, 0.36])))[1], 0.005,
    (4.0, "only a variance of 1 is kept. From 4 the step takes more out than it mixes in."),
    (0.64**2 * 4 + 0.36, "the factor 1 - beta is already squared: it comes from sqrt(1 - beta)."),
    (0.8 * 4 + 0.36, "a factor comes out of a variance squared: 0.8 of x is 0.64 of its variance."),
    (4.36, "you have added the noise and forgotten that the data shrink."),
    (0.64 * 4, "you have shrunk the data and forgotten the noise that is mixed in."),
    (1.0, "1 is where the variance goes in the end; one step only goes part of the way."),
)  # fmt: skip

ex_1_3 = formula(
    "1.3", "tutorial/step03_marginal.py, (3.1) to (3.3)", xt_from_x0, _pairs,
    (lambda x0, e, t, s: s.alpha_bar[t] * x0 + np.sqrt(1 - s.alpha_bar[t]) * e,
     "the data come with sqrt(alpha_bar), not with alpha_bar."),
    (lambda x0, e, t, s: np.sqrt(s.alpha_bar[t]) * x0 + (1 - s.alpha_bar[t]) * e,
     "1 - alpha_bar is the variance of the noise; eps is multiplied by its root."),
    (lambda x0, e, t, s: np.sqrt(s.alpha[t]) * x0 + np.sqrt(s.beta[t]) * e,
     "this is a single step: alpha_t where the running product alpha_bar_t belongs."),
    (lambda x0, e, t, s: np.sqrt(s.alpha_bar[t - 1]) * x0 + np.sqrt(1 - s.alpha_bar[t - 1]) * e,
     "one step short: tables here begin at t = 0, so time t is at index t, not t - 1."),
    (lambda x0, e, t, s: np.sqrt(s.alpha_bar[t]) * x0 + np.sqrt(s.beta[1 : t + 1].sum()) * e,
     "the noise of an early step shrinks in all later ones; their plain sum is too much."),
    (lambda x0, e, t, s: s.alpha_bar[t] * x0 + (1 - s.alpha_bar[t]) * e,
     "both square roots are missing: alpha_bar and 1 - alpha_bar are shares of the variance."),
)  # fmt: skip


def _stride(s: int, t: int, schedule: Schedule) -> Any:
    law = q_xt_given_xs(np.ones(1), s, t, schedule)
    return law.mean[0], law.var


ex_1_4 = formula(
    "1.4", "tutorial/step03_marginal.py, (3.4) and (3.5)", _stride,
    [(s, t, schedule) for schedule in _schedules for s, t in ((2, 5), (1, 10), (4, 5), (0, 3))],
    (lambda s, t, h: (np.sqrt(h.alpha[t] / h.alpha[s]), 1 - h.alpha[t] / h.alpha[s]),
     "this is the mistake itself: alpha is of one step. What is left of the data is alpha_bar."),
    (lambda s, t, h: (h.alpha_bar[t] / h.alpha_bar[s], 1 - h.alpha_bar[t] / h.alpha_bar[s]),
     "the ratio is what is kept of the variance; the factor of x_s is its root."),
    (lambda s, t, h: (np.sqrt(h.alpha_bar[t] / h.alpha_bar[s]), h.alpha_bar[s] - h.alpha_bar[t]),
     "subtracting the two variances forgets that the noise in x_s shrinks on the way as well."),
    (lambda s, t, h: (np.sqrt(h.alpha_bar[t]), 1 - h.alpha_bar[t]),
     "this is the jump from the data, from 0 to t; here half of the way is already behind you."),
    (lambda s, t, h: (
        np.sqrt(h.alpha_bar[s] / h.alpha_bar[t]), 1 - h.alpha_bar[s] / h.alpha_bar[t]),
     "the ratio is upside down: less is left at t than at s, so it has to be below 1."),
)  # fmt: skip


# 2. The posterior, and the reverse step


def _posterior_with(c_0: Callable[..., Any], c_t: Callable[..., Any]) -> Callable[..., Any]:
    """A mean of two terms, from formulas in beta, alpha, abar and abar_{t-1}."""

    def mean(x0: Any, xt: Any, t: int, h: Schedule) -> Any:
        letters = h.beta[t], h.alpha[t], h.alpha_bar[t], h.alpha_bar[t - 1]
        return c_0(*letters) * x0 + c_t(*letters) * xt

    return mean


def _c_0(b: float, a: float, abar: float, prev: float) -> float:
    return np.sqrt(prev) * b / (1 - abar)


def _c_t(b: float, a: float, abar: float, prev: float) -> float:
    return np.sqrt(a) * (1 - prev) / (1 - abar)


ex_2_1 = formula(
    "2.1", "tutorial/step04_posterior.py, (4.1) and (4.2)",
    lambda x0, xt, t, h: q_posterior(x0, xt, t, h).mean, _pairs,
    (_posterior_with(_c_t, _c_0),
     "c_0 and c_t are swapped: at t = 1 all the weight has to be on x_0."),
    (_posterior_with(lambda b, a, abar, prev: np.sqrt(abar) * b / (1 - abar), _c_t),
     "c_0 has alpha_bar of t under its root; the factor q(x_{t-1} | x_0) has that of t - 1."),
    (_posterior_with(_c_0, lambda b, a, abar, prev: np.sqrt(abar) * (1 - prev) / (1 - abar)),
     "c_t has alpha_bar under its root; the factor q(x_t | x_{t-1}) is one step, so alpha."),
    (_posterior_with(lambda b, a, abar, prev: prev * b / (1 - abar),
                     lambda b, a, abar, prev: a * (1 - prev) / (1 - abar)),
     "the square roots are missing: means come with the roots of alpha and alpha_bar."),
    (_posterior_with(lambda b, a, abar, prev: np.sqrt(prev) * b / (1 - a),
                     lambda b, a, abar, prev: np.sqrt(a) * (1 - prev) / (1 - a)),
     "1 - alpha in the denominator: it is 1 - alpha_bar, from the sum of both precisions."),
    (_posterior_with(lambda b, a, abar, prev: np.sqrt(prev), lambda b, a, abar, prev: 0.0),
     "this is the mean of q(x_{t-1} | x_0): only one of the two factors of Bayes, without x_t."),
)  # fmt: skip

ex_2_2 = formula(
    "2.2", "tutorial/step04_posterior.py, (4.3) to (4.5)",
    lambda t, h: posterior_coefficients(t, h)[2], _times,
    (lambda t, h: h.beta[t],
     "beta is the variance of a step forward. Knowing x_0 leaves less to guess on the way back."),
    (lambda t, h: h.beta[t] * (1 - h.alpha_bar[t - 1 if t > 1 else t]) / (1 - h.alpha_bar[t]),
     "right but for t = 1, where it has to be 0: alpha_bar[0] is 1, no case of its own is needed."),
    (lambda t, h: posterior_coefficients(max(t, 2), h)[2],
     "right but for t = 1, where you take the value of t = 2 (as code does that needs a logarithm "
     "of it). The posterior at t = 1 is a point."),
    (lambda t, h: np.sqrt(h.beta[t] * (1 - h.alpha_bar[t - 1]) / (1 - h.alpha_bar[t])),
     "this is the deviation; the variance was asked for, its square."),
    (lambda t, h: h.beta[t] * (1 - h.alpha_bar[t]) / (1 - h.alpha_bar[t - 1]),
     "the fraction is upside down: yours is above beta, and infinite at t = 1."),
    (lambda t, h: h.alpha[t] / h.beta[t] + 1 / (1 - h.alpha_bar[t - 1]),
     "this is the precision, the sum of both factors'; the variance is one over it."),
    (lambda t, h: 1 - h.alpha_bar[t - 1],
     "this is the variance of q(x_{t-1} | x_0) alone: x_t tells something too."),
)  # fmt: skip


ex_2_3 = formula(
    "2.3", "tutorial/step05_reverse.py, (5.3), (5.5) and (5.7)",
    lambda v, xt, t, h: x0_from(v, xt, t, h, "v"), _pairs,
    (lambda v, xt, t, h: np.sqrt(h.alpha_bar[t]) * xt + np.sqrt(1 - h.alpha_bar[t]) * v,
     "the sign of v: x_0 comes in (5.5) with a minus."),
    (lambda v, xt, t, h: np.sqrt(1 - h.alpha_bar[t]) * xt + np.sqrt(h.alpha_bar[t]) * v,
     "this is the noise, eps. The other row of the same rotation is the data."),
    (lambda v, xt, t, h: x0_from(v, xt, t, h, "eps"),
     "this takes v for eps: (5.3) is for a network that predicts the noise."),
    (lambda v, xt, t, h: h.alpha_bar[t] * xt - (1 - h.alpha_bar[t]) * v,
     "the square roots are missing: only with them do the squares of both factors add up to 1."),
    (lambda v, xt, t, h: v, "this takes v for x_0: only the units called x0 say it plainly."),
)  # fmt: skip


def _mean_from_eps(xt: Any, eps: Any, t: int, h: Schedule) -> Any:
    return (xt - (1 - h.alpha[t]) / np.sqrt(1 - h.alpha_bar[t]) * eps) / np.sqrt(h.alpha[t])


ex_2_4 = formula(
    "2.4", "tutorial/step05_reverse.py, (5.2), (5.4) and (5.7)",
    lambda xt, eps, t, h, clip: p_xprev_given_xt(xt, eps, t, h, clip=clip).mean,
    [(2 * xt, eps, t, h, 1.0) for xt, eps, t, h in _pairs],
    (lambda xt, eps, t, h, clip: _mean_from_eps(xt, eps, t, h),
     "this is the mistake itself: (5.4) with the old eps, so the clip has no effect at all."),
    (lambda xt, eps, t, h, clip: np.clip(_mean_from_eps(xt, eps, t, h), -clip, clip),
     "you have clipped the mean of x_{t-1}. That is a noisy state and may leave the range; the "
     "guess of x_0 may not."),
    (lambda xt, eps, t, h, clip: _mean_from_eps(xt, np.clip(eps, -clip, clip), t, h),
     "you have clipped eps, which is a normal number and often beyond 1; clip the guess of x_0."),
    (lambda xt, eps, t, h, clip: np.clip(x0_from(eps, xt, t, h), -clip, clip),
     "this is the clipped guess of x_0 itself; the mean of x_{t-1} is c_0 of it and c_t of x_t."),
    (lambda xt, eps, t, h, clip: q_posterior(
        x0_from(eps, xt, t, h), np.clip(xt, -clip, clip), t, h).mean,
     "you have clipped x_t. It carries noise and may leave the range; the guess of x_0 may not."),
)  # fmt: skip


# 3. The loss, the oracle and sampling

ex_3_1 = formula(
    "3.1", "tutorial/step06_loss.py, (6.9)",
    lambda eps, out: simple_loss(
        lambda xt, t, y: out, 0 * eps, np.zeros(len(eps), int), 1, eps, _schedules[0]),
    [(_a, _b), (_b, 3 * _c), (np.eye(4), np.ones((4, 4)))],
    (lambda eps, out: ((eps - out) ** 2).mean(),
     "the mean over coordinates as well: that is the loss divided by their number. The square of a "
     "length is a sum over coordinates; only the batch is averaged."),
    (lambda eps, out: ((eps - out) ** 2).sum(),
     "the sum over the batch too: then loss and gradient grow with the size of the batch."),
    (lambda eps, out: np.sqrt(((eps - out) ** 2).sum(-1)).mean(),
     "the length, not its square: its best answer would be a median, not the mean of eps."),
    (lambda eps, out: (eps - out).sum(-1).mean(),
     "errors of both signs cancel: square them first."),
    (lambda eps, out: ((eps - out) ** 2).sum(-1), "a number for each sample; take their mean."),
)  # fmt: skip


def _single(mu: Any, var: float) -> GaussianMixture:
    return GaussianMixture(np.asarray(mu, np.float64)[None], var * np.eye(2)[None], np.ones(1))


_half = Schedule(np.array([0.0, 0.5]))

ex_3_2 = prediction(
    "3.2", "tutorial/step07_oracle.py, (7.8) and (7.9)",
    lowest_loss(0, 1, _single(np.zeros(2), 0.25), _half), 0.005,
    (0.0, "nobody sees eps, only x_t, in which data and noise are mixed: some error stays."),
    (2.0, "2 is what a network pays that always says 0; x_t tells something about the noise."),
    (0.2, "this is the error in one coordinate; the loss adds up both."),
    (0.5, "the variance of the data, added up: that is the error in x_0 of one who sees nothing."),
    (1.6, "this is what the oracle explains, E|eps*|^2. What it pays is the rest of 2."),
    (1.0, "half of x_t's recipe is noise, but its variance is not 1: the data's is only 1/4."),
)  # fmt: skip


def _exact_eps(xt: Any, abar: float, mu: Any, var: float) -> Any:
    schedule = Schedule(np.array([0.0, 1 - abar]))
    return oracle_eps(_single(mu, var), schedule)(xt, 1, np.zeros(len(xt), int))


ex_3_3 = formula(
    "3.3", "tutorial/step07_oracle.py, (7.1), (7.4) and (7.7)", _exact_eps,
    [(_a, 0.5, np.array([1.0, -2.0]), 0.25), (_b, 0.9, np.array([0.5, 3.0]), 2.0)],
    (lambda xt, abar, mu, var: -_exact_eps(xt, abar, mu, var),
     "the sign: noise points away from the data, the score towards them."),
    (lambda xt, abar, mu, var: (np.sqrt(abar) * mu - xt) / (abar * var + 1 - abar),
     "this is the score. eps is it times -sqrt(1 - alpha_bar)."),
    (lambda xt, abar, mu, var: np.sqrt(1 - abar) * (xt - mu) / (abar * var + 1 - abar),
     "the mean of x_t is not mu: the data have shrunk by sqrt(alpha_bar)."),
    (lambda xt, abar, mu, var: np.sqrt(1 - abar) * (xt - np.sqrt(abar) * mu) / var,
     "you have divided by the variance of the data; x_t has noise in it and another variance."),
    (lambda xt, abar, mu, var: (1 - abar) * (xt - np.sqrt(abar) * mu) / (abar * var + 1 - abar),
     "1 - alpha_bar where its root belongs: that is what Tweedie's formula for x_0 has."),
    (lambda xt, abar, mu, var: (xt - np.sqrt(abar) * mu) / np.sqrt(1 - abar),
     "this is the noise if x_0 were mu, the mean of its class; the data spread around it."),
)  # fmt: skip


def _reverse_step(xt: Any, eps: Any, z: Any, t: int, h: Schedule) -> Any:
    law = p_xprev_given_xt(xt, eps, t, h)
    return law.mean + np.sqrt(law.var) * z


def _step_with(noise: Callable[[int, Schedule], float]) -> Callable[..., Any]:
    return lambda xt, eps, z, t, h: p_xprev_given_xt(xt, eps, t, h).mean + noise(t, h) * z


ex_3_4 = formula(
    "3.4", "tutorial/step08_sampling.py, (8.2) and (8.11)", _reverse_step,
    [(_a, _b, _c, t, h) for t, h in _times],
    (_step_with(lambda t, h: np.sqrt(h.beta[t])),
     "the variance is beta, so noise is added at the last step, t = 1, too: the samples are left "
     "noisy. The posterior's variance is 0 there by itself."),
    (_step_with(lambda t, h: np.sqrt(h.beta[t]) * (t > 1)),
     "beta, with t = 1 left out: a choice that Ho et al. allow, right for data N(0, I). Asked for "
     "was the posterior's variance."),
    (_step_with(lambda t, h: posterior_coefficients(t, h)[2]),
     "the noise is multiplied by a variance; it is its square root that belongs there."),
    (_step_with(lambda t, h: 0.0),
     "no noise is added. This is the mean of the step, and chains of it end too close together."),
    (lambda xt, eps, z, t, h: x0_from(eps, xt, t, h),
     "this jumps to the guess of x_0 in one go; the step only goes from t to t - 1."),
)  # fmt: skip


# 4. Guidance

ex_4_1 = formula(
    "4.1", "tutorial/step10_guidance.py, (10.1) to (10.3)", guide,
    [(_a, _b, 3.0), (_a, _c, 0.0), (_b, _c, -1.0), (_c, _a, 0.5), (_a, _b, -0.5)],
    (lambda c, n, w: n + w * (c - n),
     "this is w eps_c - (w - 1) eps_null: you have used the other convention, where w = 1 is the "
     "conditional model. Here w = 0 is."),
    (lambda c, n, w: (1 + w) * c + w * n,
     "the null answer is added: the weights have to add up to 1, so its weight is -w."),
    (lambda c, n, w: (1 + w) * n - w * c,
     "the two answers are swapped: this goes away from the label."),
    (lambda c, n, w: w * (c - n),
     "this is only what the label changes; it is added to the conditional answer."),
    (lambda c, n, w: c + max(w, 0.0) * (c - n),
     "no guidance for w below 0: w = -1 has to be the unconditional model."),
    (lambda c, n, w: n + (1 - w) * (c - n),
     "the sign of w: a larger w has to lead away from the null answer."),
)  # fmt: skip

_each = np.random.default_rng(1).standard_normal((3, 5, 2))
_p = np.random.default_rng(2).dirichlet(np.ones(3), 5)

ex_4_2 = formula(
    "4.2", "tutorial/step09_condition.py, (9.3)",
    lambda each, p, shares: np.einsum("nk,kni->ni", p, each),
    [(_each, _p, np.array([0.5, 0.3, 0.2])), (_each[::-1], _p[::-1], np.array([0.1, 0.1, 0.8]))],
    (lambda each, p, shares: each.mean(0),
     "every class counts the same: the null label is all images, and near class 0 it is class 0."),
    (lambda each, p, shares: np.einsum("k,kni->ni", shares, each),
     "the shares of the classes in the data: given x_t, a class is as likely as p(y | x_t) says."),
    (lambda each, p, shares: each[p.argmax(1), np.arange(len(p))],
     "only the likeliest class: a mean over classes weighs all of them."),
    (lambda each, p, shares: each.sum(0), "a sum without weights: they have to add up to 1."),
    (lambda each, p, shares: np.einsum("k,nk,kni->ni", shares, p, each),
     "the shares are counted twice: they are already in p(y | x_t)."),
)  # fmt: skip

ex_4_3 = prediction(
    "4.3", "tutorial/step10_guidance.py, the table of the two conventions",
    w_from_scale(7.5), 1e-6,
    (7.5, "the number taken over as it is: a whole unit of guidance too much, as s = 1 + w."),
    (8.5, "one more instead of one less: s = 1 + w, so w = s - 1."),
)  # fmt: skip

ex_4_4 = formula(
    "4.4", "tutorial/step10_guidance.py, (10.5) and (10.6)",
    lambda c, n, w, clip: guided_x0(c, n, c, 1, _schedules[0], w, "x0", clip),
    [(2 * _a, 2 * _b, 1.0, 1.0), (_b, 3 * _c, 4.0, 1.5), (2 * _c, _a, 0.0, 0.5)],
    (lambda c, n, w, clip: guide(np.clip(c, -clip, clip), np.clip(n, -clip, clip), w),
     "this is the mistake itself: clipped first, and the mix then leaves the range again."),
    (lambda c, n, w, clip: np.clip(
        guide(np.clip(c, -clip, clip), np.clip(n, -clip, clip), w), -clip, clip),
     "clipped before and after: the mix stays in range but it is another one, as clipping is no "
     "straight line. Clip once."),
    (lambda c, n, w, clip: guide(c, n, w), "nothing is clipped."),
    (lambda c, n, w, clip: np.clip(n + w * (c - n), -clip, clip),
     "clipped where it should be, but mixed by the other convention, where w = 1 is no guidance."),
    (lambda c, n, w, clip: np.clip(guide(c, n, w), 0, clip),
     "clipped to 0..clip: the data lie in -clip..clip."),
)  # fmt: skip

ex_4_5 = prediction(
    "4.5", "tutorial/step11_trade_off.py, (11.21) and (11.22)", 0.2, 0.005,
    (1.0, "at w = -1 nobody hears the label; at a large w all samples are of the class."),
    (0.0, "w = -1 is no negative prompt: it does not lead away from the class, it ignores it."),
    (0.9, "nearly that is w = 0, the plain conditional model."),
    (0.5, "right or wrong, but not as often one as the other: there are five classes."),
)  # fmt: skip

EXERCISES = (
    ex_1_1, ex_1_2, ex_1_3, ex_1_4, ex_2_1, ex_2_2, ex_2_3, ex_2_4, ex_3_1, ex_3_2, ex_3_3, ex_3_4,
    ex_4_1, ex_4_2, ex_4_3, ex_4_4, ex_4_5,
)  # fmt: skip
