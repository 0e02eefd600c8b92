"""The sentences about answers that are wrong and make none of the known mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from notebooks import check
from notebooks.check.exercise import PAIRS, A, B, formula, prediction, proof
from tutorial.step02_forward import Schedule
from tutorial.step06_reverse import p_xprev_given_xt


def jump(x0: np.ndarray, eps: np.ndarray, t: int, schedule: Schedule) -> np.ndarray:
    """The reference of these tests: (3.1) for the noise `eps`."""
    abar = schedule.alpha_bar[t]
    return np.sqrt(abar) * x0 + np.sqrt(1 - abar) * eps


EXERCISE = formula("0.1", "tutorial/step03_marginal.py, (3.1)", jump, PAIRS)


def returns(change: Callable[..., Any]) -> Callable[..., Any]:
    """The reference, with its result changed."""
    return lambda x0, eps, t, schedule: change(jump(x0, eps, t, schedule))


def without_return(x0: Any, eps: Any, t: Any, schedule: Any) -> None:
    """A forgotten `return`."""
    jump(x0, eps, t, schedule)


def infinite_at_1(x0: Any, eps: Any, t: int, schedule: Schedule) -> np.ndarray:
    """Right, but divided and multiplied by a number that is 0 at t = 1."""
    zero_at_1 = np.float64(1 - schedule.alpha_bar[t - 1])
    return jump(x0, eps, t, schedule) / zero_at_1 * zero_at_1


def misspelt(x0: Any, eps: Any, t: int, schedule: Any) -> np.ndarray:
    """An attribute that does not exist."""
    abar = schedule.alphas_bar[t]
    return np.sqrt(abar) * x0


def only_cosine(x0: Any, eps: Any, t: int, schedule: Schedule) -> np.ndarray:
    """Another schedule than the one that was given."""
    return jump(x0, eps, t, Schedule.cosine(10))


def without_t(x0: Any, eps: Any, t: int, schedule: Schedule) -> np.ndarray:
    """One time for all, and another formula at that."""
    return 2 * jump(x0, eps, 5, schedule)


SEEN = [
    (without_return, "returns None: is a `return` missing"),
    (returns(lambda x: (x, x)), "returns a tuple of 2; return one array"),
    (returns(list), "returns a list of 5; return one array"),
    (returns(lambda x: "x"), "returns a str, which is no array of numbers"),
    (returns(lambda x: x[0]), r"the shape (2,) where (5, 2) is right"),
    (returns(lambda x: x.T), "right but for a transposition"),
    (returns(lambda x: -x), "right but for the sign"),
    (returns(lambda x: 3 * x), "your result is 3 times the right one"),
    (returns(lambda x: x.astype(np.float32)), "has the dtype float32"),
    (returns(lambda x: np.float64(x.astype(np.float32))), "rounded to float32 precision"),
    (returns(lambda x: x.astype(np.float16)), "has the dtype float16"),
    (returns(lambda x: np.float64(x.astype(np.float16))), "rounded to half precision"),
    (infinite_at_1, "your result is NaN at t = 1"),
    (misspelt, "of misspelt (`abar = schedule.alphas_bar[t]`) with AttributeError"),
    (lambda x0, eps, t, s: jump(x0, -eps, t, s), "right for -eps in the place of eps"),
    (lambda x0, eps, t, s: jump(eps, x0, t, s), "right if x0 and eps are exchanged"),
    (
        lambda x0, eps, t, s: jump(x0, eps, t, s) + (t == 1),
        "right at t = 2, 5, 10 and wrong at t = 1.",
    ),
    (without_t, "your result does not depend on t, and the right one does"),
    (only_cosine, "your result does not depend on schedule"),
    (returns(lambda x: x + 1), "At t = 1 one entry of your result is"),
]


@pytest.mark.parametrize(("answer", "phrase"), SEEN, ids=[phrase for _, phrase in SEEN])
def test_a_wrong_function_gets_a_sentence_about_what_it_returns(
    answer: Callable[..., Any], phrase: str
) -> None:
    hint = EXERCISE.hint(answer)
    assert phrase in hint


def test_the_reference_and_another_style_are_right() -> None:
    assert EXERCISE.hint(jump) == ""
    assert (
        EXERCISE.hint(
            lambda x, e, t, s: e * (1 - s.alpha_bar[t]) ** 0.5 + s.alpha_bar[t] ** 0.5 * x
        )
        == ""
    )


def test_a_mean_by_precisions_that_fails_at_t_1_is_told_where() -> None:
    """The formula of step 4 before the fractions are cleared: right for t >= 2."""

    def by_precisions(x0: np.ndarray, xt: np.ndarray, t: int, h: Schedule) -> np.ndarray:
        of_x0 = 1 / np.float64(1 - h.alpha_bar[t - 1])
        of_xt = h.alpha[t] / h.beta[t]
        mean = np.sqrt(h.alpha[t]) / h.beta[t] * xt + np.sqrt(h.alpha_bar[t - 1]) * of_x0 * x0
        return mean / (of_x0 + of_xt)

    assert "your result is NaN at t = 1" in check.ex_2_1.hint(by_precisions)


def test_a_clip_at_1_is_not_right_for_every_clip() -> None:
    def clipped_at_1(xt: np.ndarray, eps: np.ndarray, t: int, h: Schedule, clip: float) -> Any:
        return p_xprev_given_xt(xt, eps, t, h, clip=1.0).mean

    hint = check.ex_2_4.hint(clipped_at_1)
    assert hint == "your result does not depend on clip, and the right one does."


def test_floats_are_no_labels() -> None:
    labels = np.array([0, 2, 1])
    exercise = formula("0.2", "", lambda y: y + 0, [(labels,)])
    assert exercise.hint(lambda y: y + 0) == ""
    assert "floats where integers are asked for" in exercise.hint(lambda y: y + 0.0)


def test_of_two_arguments_that_change_together_neither_is_blamed() -> None:
    cases = [(A, 1.0, 3), (A, 2.0, 4)]
    exercise = formula("0.5", "", lambda x, w, n: w * x + n, cases)
    hint = exercise.hint(lambda x, w, n: w * x + 3)
    assert "does not depend on n" in hint
    hint = exercise.hint(lambda x, w, n: w * x + n + (n == 4) * x)
    assert hint == (
        "right for 1 of 2 inputs; wrong, for example, at w = 2, n = 4. There one entry of your "
        "result is 7.912 where 6.608 is right."
    )


def test_of_two_numbers_it_is_said_which_one_is_wrong() -> None:
    cases = [(1.0,), (2.0,), (3.0,)]
    exercise = formula("0.8", "", lambda x: (x, x**2), cases, look="Look.")
    hint = exercise.hint(lambda x: (x, x**2 + (x > 1.5)))
    assert hint.startswith("right at x = 1 and wrong at x = 2, 3. The first of the two numbers is")
    assert hint.endswith("always right: look at the second. Look.")
    assert "The second of the two numbers" in exercise.hint(lambda x: (x + 7, x**2))
    assert "of the two numbers" not in exercise.hint(lambda x: (x + 7, x**2 + 3))


def test_where_a_result_is_wrong_two_numbers_are_compared() -> None:
    cases = [(1.0,), (2.0,), (3.0,)]
    hint = formula("0.9", "", lambda x: x**2, cases).hint(lambda x: x**3)
    assert hint == (
        "right at x = 1 and wrong at x = 2, 3. At x = 2 your result is 8 where 4 is right. It is "
        "too large wherever it is wrong."
    )


def test_wrong_factors_of_the_arguments_are_found() -> None:
    def wrong_noise(x0: Any, eps: Any, t: int, schedule: Schedule) -> np.ndarray:
        return jump(x0, eps, t, schedule) + 0.1 * t * eps

    def wrong_both(x0: Any, eps: Any, t: int, schedule: Schedule) -> np.ndarray:
        return wrong_noise(x0, eps, t, schedule) - 0.1 * x0

    a, b = np.sqrt([abar := Schedule.cosine(10).alpha_bar[1], 1 - abar])
    phrase = (
        f"Only the factor of eps is wrong: at t = 1 it is {b + 0.1:.4g} where {b:.4g} is right."
    )
    assert phrase in EXERCISE.hint(wrong_noise)
    phrase = (
        f"At t = 1 the factors of x0 and eps in your result are {a - 0.1:.4g} and {b + 0.1:.4g}, "
        f"where {a:.4g} and {b:.4g} are right."
    )
    assert phrase in EXERCISE.hint(wrong_both)
    assert "factor" not in EXERCISE.hint(returns(lambda x: x + 1))


def test_a_factor_that_depends_on_an_argument_is_found() -> None:
    cases = [(A, B, 2.0), (A, B, 3.0)]
    exercise = formula("0.3", "", lambda x, y, w: (x + y) / w, cases)
    hint = exercise.hint(lambda x, y, w: (x + y) * w)
    assert "Your result is 4 times the right one at w = 2 and 9 times at w = 3: look" in hint


def test_factors_are_those_of_arguments_that_fit_and_differ() -> None:
    mean, one = np.array([1.0, -2.0]), np.ones((5, 2))
    exercise = formula("0.3", "", lambda x, m: x - 2 * m, [(A, mean), (B, 3 * mean)])
    assert "Only the factor of m is wrong: it is -3 where -2" in exercise.hint(
        lambda x, m: x - 3 * m
    )
    for cases in ([(one, one)], [(mean, mean)]):  # any factors; as many numbers as factors
        exercise = formula("0.3", "", lambda x, y: x + y, cases)
        assert "factors of" not in exercise.hint(lambda x, y: x + y + 1 + x * y)


def test_a_wrong_number_is_recognised_when_it_is_rounded_and_0_is_not_a_small_one() -> None:
    exercise = prediction("0.3", "", 6.5, 1e-6, (13 / 15, "a ratio."), (1e-7, "a square."))
    assert exercise.hint(0.867) == exercise.hint(13 / 15) == "a ratio."
    assert exercise.hint(1e-7) == "a square."
    assert "too small" in exercise.hint(0.0)


def test_entries_that_are_no_numbers_and_arrays_for_tensors_are_refused() -> None:
    labels = np.array([0, 2, 1])
    exercise = formula("0.6", "", lambda y: y + 0, [(labels,)])
    assert "such as None" in exercise.hint(lambda y: np.where(y == 0, None, y))
    torch = pytest.importorskip("torch")
    exercise = formula("0.7", "", lambda y: y + 0, [(torch.tensor(labels),)])
    assert "return a tensor" in exercise.hint(lambda y: y.numpy() + 0)
    assert "writes into y" in exercise.hint(lambda y: y.add_(1) - 1)


MESSAGES = [
    (lambda x0, eps, t, s: x0 if x0 > 0 else eps, "one result per entry"),
    (lambda x0, eps, t, s: math.sqrt(x0), "use that of NumPy"),
    (lambda x0, eps, t, s: x0 + np.ones(7), "aligned from the right"),
]


@pytest.mark.parametrize(("answer", "phrase"), MESSAGES, ids=[phrase for _, phrase in MESSAGES])
def test_a_message_of_python_is_explained(answer: Callable[..., Any], phrase: str) -> None:
    assert phrase in EXERCISE.hint(answer)


NUMBERS = [
    (-0.3, "right but for the sign"),
    (30.0, "in per cent"),
    (0.09, "square of the right number"),
    (0.5477, "root of the right number"),
    (3.3333, "reciprocal of the right number"),
    (0.7, "1 minus the right number"),
    (0.6, "twice the right number"),
    (0.15, "half of the right number"),
    (0.302, "close, but the number is asked for to within 0.001"),
    (5.0, "Your number is too large"),
    (0.01, "Your number is too small"),
    (3000.0, "a power of ten"),
    (-2.0, "is negative, and the right one is not"),
]


@pytest.mark.parametrize(("answer", "phrase"), NUMBERS, ids=[phrase for _, phrase in NUMBERS])
def test_a_wrong_number_gets_a_sentence_about_its_relation(answer: float, phrase: str) -> None:
    assert phrase in prediction("0.3", "", 0.3, 0.001).hint(answer)


def test_a_rounded_number_and_a_list_get_a_sentence() -> None:
    exercise = prediction("0.3", "", 0.125, 0.0005)
    assert "the right number, rounded to 2 decimals" in exercise.hint(0.13)
    assert "consists of 2 numbers" in exercise.hint([0.1, 0.2])
    assert exercise.hint(np.float32(0.125)) == ""
    assert "your answer is a text" in exercise.hint("0.125")
    whole = prediction("0.3", "", 85, 0.4)
    assert "another whole number is right" in whole.hint(84)
    assert "compute one digit more" in whole.hint(84.5)


def test_a_test_that_fails_for_the_right_function_is_told_its_line() -> None:
    exercise = proof("0.8", "README.md", lambda x: 2 * x, (lambda x: 3 * x, "three times."))

    def test(f: Callable[[int], int]) -> None:
        assert f(1) == 2
        assert f(2) == 5

    with pytest.raises(check.NotRightError, match=r"of test: `assert f\(2\) == 5`"):
        exercise(test)
    with pytest.raises(check.NotRightError, match=r"0.8: three times\.\nRead"):
        exercise(at_0)


def at_0(f: Callable[[int], int]) -> None:
    """A test that passes for every multiple."""
    assert f(0) == 0


def beside(f: Callable[[int], int]) -> None:
    """The same, in another function."""
    at_0(f)


def test_a_test_in_which_nothing_can_fail_is_told_so() -> None:
    exercise = proof("0.4", "", lambda x: 2 * x, (lambda x: 3 * x, "three times."))
    assert "because it returns its verdict" in exercise.hint(lambda f: f(1) == 2)

    def without_assert(f: Callable[[int], int]) -> None:
        for x in range(3):
            print(f(x) == 2 * x)

    assert "it contains no `assert`" in exercise.hint(without_assert)
    assert "it contains no `assert`" in exercise.hint(lambda f: None)

    def in_a_loop(f: Callable[[int], int]) -> None:
        assert all([f(x) == 0 for x in (0, 0)])

    def by_numpy(f: Callable[[int], int]) -> None:
        np.testing.assert_allclose(f(0), 0)

    def by_raise(f: Callable[[int], int]) -> None:
        if f(0):
            raise AssertionError

    def inner(f: Callable[[int], int]) -> None:
        def compare(x: int) -> None:
            assert f(x) == 0

        compare(0)

    for test in (at_0, beside, in_a_loop, by_numpy, by_raise, inner, lambda f: by_numpy(f)):
        assert exercise.hint(test) == "three times."

    def test(f: Callable[[int], int]) -> None:
        assert f(1) == 2

    assert exercise.hint(test) == ""


def test_a_test_fails_with_any_exception_but_not_for_the_right_function() -> None:
    exercise = proof("0.5", "", lambda n: [0] * n, (lambda n: [], "nothing."))

    def test(f: Callable[[int], list[int]]) -> None:
        assert f(2)[1] == 0  # an IndexError for the empty list

    def broken(f: Callable[[int], list[int]]) -> None:
        assert f(2)[2] == 0

    assert exercise.hint(test) == ""
    assert "IndexError" in exercise.hint(broken)


def test_what_is_not_attempted_says_so() -> None:
    def stub(x0: Any, eps: Any, t: Any, schedule: Any) -> None:
        raise NotImplementedError

    assert EXERCISE.hint(stub) == "not attempted yet."
    assert EXERCISE.hint(...) == "not attempted yet."
    assert check.ex_1_2.hint(None) == "not attempted yet."


def test_a_function_of_the_wrong_numbers_of_arguments_gets_the_error() -> None:
    assert "TypeError" in EXERCISE.hint(lambda x0: x0)
    assert A.shape == B.shape


def test_a_function_that_draws_its_own_noise_is_recognised():
    def own_noise(x0: Any, eps: Any, t: int, schedule: Schedule) -> np.ndarray:
        return jump(x0, np.random.default_rng().standard_normal(x0.shape), t, schedule)

    assert EXERCISE.hint(own_noise).startswith("two calls with the same input have different")


def test_where_to_look_is_said_only_if_the_results_show_little():
    formula_ = formula("0.2", "x", jump, PAIRS, look="Set x0 to 0.")
    assert formula_.hint(returns(lambda x: np.sin(x))).endswith("is right. Set x0 to 0.")
    assert formula_.hint(returns(lambda x: -x)) == EXERCISE.hint(returns(lambda x: -x))
    number = prediction("0.3", "x", 3.0, 0.1, look="It is odd.")
    assert number.hint(1.3).endswith("Your number is too small. It is odd.")
    assert number.hint(300.0) == "that is the right number in per cent."
