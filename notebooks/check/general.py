"""Sentences about a wrong solution that is none of the known mistakes.

Each function looks at one thing that a teacher would look at: the kind of the result, where it is
right and where it is wrong, whether a sign, a factor or the order of two arguments would make it
right. `observation` returns the first sentence that applies.
"""

from __future__ import annotations

import copy
import dis
import inspect
import math
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

Function = Callable[..., Any]
Case = tuple[Any, ...]

HERE = str(Path(__file__).parent)
HALF_PRECISION = 2e-3  # of the largest number; a float16 has 11 bits, of which two steps lose some
SINGLE_PRECISION = 1e-5
# What Python's messages mean here, by a phrase of the message.
MEANINGS = {
    "does not require grad": "The loss does not depend on trained weights: the output was "
    "detached, or computed under torch.no_grad().",
    "more than one": "A comparison of arrays has one result per entry: use np.where or torch.where "
    "in the place of `if`, and torch.equal or np.array_equal in the place of ==.",
    "converted to Python scalars": "A function of `math` takes one number: use that of NumPy.",
    "at non-singleton dimension 0": "The first dimension is the batch: is a number written where "
    "the size of the batch is meant?",
    "must match the size of tensor": "Shapes are aligned from the right: to multiply pictures "
    "(B, C, H, W), the shape (B,) needs three more dimensions, v[:, None, None, None].",
    "could not be broadcast": "Shapes are aligned from the right: keepdims=True keeps the "
    "dimensions of a mean or a standard deviation.",
    "make_shape_compatible": "In a kernel shapes broadcast as in NumPy: [:, None] makes a column, "
    "[None, :] a row, and a column with a row is a tile.",
    "reshape() cannot change total number": "tl.reshape keeps the number of elements; one number "
    "of a block makes four normals.",
    "invalid operands of type pointer": "A tensor is an address in a kernel: load its numbers, "
    "such as tl.load(w + sample).",
    "cannot cast [": "A tensor is an address in a kernel: load its numbers, such as "
    "tl.load(ids + sample).",
    "'function' object is not subscriptable": "A kernel needs the line @triton.jit above it.",
}
UNKNOWN = "wrong, and by none of the mistakes that are known here."


def equal(found: Any, expected: Any, rtol: float = 1e-8, atol: float = 1e-10) -> bool:
    """Whether two arrays have the same shape and the same numbers, NaN included.

    The default tolerances are those of float64 algebra in any order: about 1e-12 of the largest
    number in it.
    """
    a = np.asarray(found, np.float64)
    b = np.asarray(expected, np.float64)
    return a.shape == b.shape and np.allclose(a, b, rtol, atol, equal_nan=True)


def with_look(sentence: str, look: str) -> str:
    """The sentence, followed by where to look if it shows little by itself."""
    short = UNKNOWN, " inputs; wrong, for example", " and wrong at "
    return f"{sentence} {look}" if look and any(part in sentence for part in short) else sentence


def is_random(answer: Function, case: Case) -> bool:
    """Whether two calls with the same input have different results."""
    first, second = answer(*copy.deepcopy(case)), answer(*copy.deepcopy(case))
    return not equal(first, second, 0, 0)


def returns_nothing(answer: Function, case: Case) -> bool:
    """Whether the function returns None, as one does in which a `return` was forgotten."""
    return answer(*copy.deepcopy(case)) is None


def narrow_type(answer: Function, reference: Function, case: Case) -> str:
    """The dtype of a result that has fewer bits than the float64 of the reference, or ""."""
    found, wanted = (np.asarray(f(*copy.deepcopy(case))).dtype for f in (answer, reference))
    return found.name if wanted == np.float64 and found in (np.float16, np.float32) else ""


def changed_argument(answer: Function, cases: Sequence[Case]) -> str | None:
    """The name of an array that the function writes into, or None."""
    for case in cases:
        given = copy.deepcopy(case)
        answer(*given)
        for name, before, after in zip(names_of(answer, case), case, given, strict=True):
            is_array = isinstance(before, np.ndarray) or type(before).__name__ == "Tensor"
            if is_array and not equal(before, after, 0, 0):
                return name
    return None


def names_of(answer: Function, case: Case) -> list[str]:
    """The names of the arguments, as the student's function has them."""
    try:
        names = list(inspect.signature(answer).parameters)
    except (TypeError, ValueError):
        names = []
    return names if len(names) == len(case) else [f"argument {i + 1}" for i in range(len(case))]


def is_scalar(value: Any) -> bool:
    """Whether an argument is a number that a sentence can name."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def described(names: Sequence[str], case: Case) -> str:
    """`t = 1, w = 3` of a case, without its arrays."""
    return ", ".join(
        f"{name} = {value:g}" for name, value in zip(names, case, strict=True) if is_scalar(value)
    )


def observation(answer: Function, reference: Function, cases: Sequence[Case]) -> str:
    """One sentence about a function that is not right: what a comparison of the outputs shows."""
    names = names_of(answer, cases[0])
    found = [answer(*copy.deepcopy(case)) for case in cases]
    expected = [reference(*copy.deepcopy(case)) for case in cases]
    if sentence := wrong_kind(found, expected):
        return sentence
    if is_random(answer, cases[0]):
        return (
            "two calls with the same input have different results: your function draws random "
            "numbers. Use those that are given as arguments."
        )
    values = [np.asarray(value, np.float64) for value in found]
    wanted = [np.asarray(value, np.float64) for value in expected]
    for case, value, right in zip(cases, values, wanted, strict=True):
        if not np.isfinite(value).all() and np.isfinite(right).all():
            number = "NaN" if np.isnan(value).any() else "infinite"
            where = described(names, case)
            return (
                f"your result is {number}{' at ' + where if where else ''}: look for a division by "
                "zero, an infinite weight, or the logarithm or root of a negative number there."
            )
    for sentence in sentences(answer, reference, cases, values, wanted):
        return sentence
    return UNKNOWN


def sentences(
    answer: Function,
    reference: Function,
    cases: Sequence[Case],
    found: Sequence[np.ndarray],
    wanted: Sequence[np.ndarray],
) -> Iterator[str]:
    """What is right about the solution, the most helpful sentence first."""
    names = names_of(answer, cases[0])
    pairs = list(zip(found, wanted, strict=True))
    if all(equal(f, -w) for f, w in pairs):
        yield "right but for the sign: your result is minus the right one."
    if (factor := common_factor(pairs)) is not None:
        yield f"right but for a constant factor: your result is {factor:.6g} times the right one."
    largest = [max(1.0, float(np.abs(w).max(initial=0))) for w in wanted]
    for name, tolerance in (("float32", SINGLE_PRECISION), ("half", HALF_PRECISION)):
        if all(
            equal(f, w, 0, tolerance * size) for (f, w), size in zip(pairs, largest, strict=True)
        ):
            yield (
                f"right to about {-math.log10(tolerance):.0f} digits and no further: something is "
                f"rounded to {name} precision, or a small term is missing."
            )
    yield from wrong_arguments(answer, reference, cases, names, found)
    several = isinstance(reference(*copy.deepcopy(cases[0])), tuple)
    if several and (part := which_number(pairs)):
        more = part
    else:
        more = common_multiple(cases, names, pairs) or wrong_factors(cases, names, pairs)
        more = more or difference(cases, names, pairs)
    for sentence in where_right(cases, names, [equal(f, w) for f, w in pairs]):
        place = re.search(r"; wrong, for example, (at .*)\.$", sentence)
        again = "(?i)" + re.escape(place[1]) + r"\b" if place else "$^"
        yield f"{sentence} {re.sub(again, there, more, count=1)}"
    yield f"{UNKNOWN} {more}"


def there(place: re.Match[str]) -> str:
    """In the place of `at t = 2`, if the sentence before ends so."""
    return "There" if place[0].startswith("A") else "there"


def wrong_kind(found: Sequence[Any], expected: Sequence[Any]) -> str:
    """A sentence if a result is None, a tuple, a list, or has another shape or kind of number."""
    for result, right in zip(found, expected, strict=True):
        if result is None:
            return "your function returns None: is a `return` missing on some path?"
        if isinstance(result, (tuple, list)) and not isinstance(right, (tuple, list)):
            name = type(result).__name__
            return f"your function returns a {name} of {len(result)}; return one array."
        if type(right).__name__ == "Tensor" and isinstance(result, np.ndarray):
            return "your function returns a NumPy array; return a tensor: use torch's functions."
        if np.asarray(result).dtype == object:
            return "your result contains entries that are no numbers, such as None."
        try:
            value = np.asarray(result, np.float64)
        except (TypeError, ValueError):
            return f"your function returns a {type(result).__name__}, which is no array of numbers."
        shape = np.shape(np.asarray(right))
        if value.shape != shape:
            transposed = value.ndim == 2 and value.T.shape == shape and equal(value.T, right)
            if transposed:
                return "right but for a transposition: your result has rows for columns."
            return (
                f"your result has the shape {value.shape} where {shape} is right: look at which "
                "dimensions are summed, averaged or broadcast."
            )
        if np.asarray(right).dtype.kind in "iu" and np.asarray(result).dtype.kind == "f":
            return "your result has floats where integers are asked for, such as labels."
    return ""


def common_factor(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """The k for which every result is k times the right one, if there is one and it is not 0."""
    wanted = np.concatenate([w.ravel() for _, w in pairs])
    found = np.concatenate([f.ravel() for f, _ in pairs])
    if not np.isfinite(wanted).all() or not (wanted @ wanted > 0):
        return None
    factor = float(found @ wanted / (wanted @ wanted))
    is_factor = abs(factor - 1) > HALF_PRECISION and abs(factor) > 1e-9
    return factor if is_factor and equal(found, factor * wanted, 1e-7, 1e-9) else None


def wrong_arguments(
    answer: Function,
    reference: Function,
    cases: Sequence[Case],
    names: Sequence[str],
    found: Sequence[np.ndarray],
) -> Iterator[str]:
    """Whether it is the right function of other arguments, or ignores one."""

    def is_reference_of(changed: Callable[[Case], Case]) -> bool:
        try:
            return all(
                equal(f, reference(*changed(copy.deepcopy(case))))
                for f, case in zip(found, cases, strict=True)
            )
        except Exception:  # the reference refuses the changed arguments
            return False

    count = len(cases[0])
    for i in range(count):
        if ignores(answer, cases, i) and not ignores(reference, cases, i):
            yield f"your result does not depend on {names[i]}, and the right one does."
    arrays = [i for i in range(count) if isinstance(cases[0][i], np.ndarray)]
    for i in arrays:
        if is_reference_of(lambda case, i=i: (*case[:i], -case[i], *case[i + 1 :])):
            yield (
                f"right for -{names[i]} in the place of {names[i]}: look at its sign. If "
                f"{names[i]} is symmetric noise, your result has the right distribution, but it is "
                "another sample."
            )
    for i in range(count):
        for j in range(i + 1, count):

            def exchanged(case: Case, i: int = i, j: int = j) -> Case:
                swapped = list(case)
                swapped[i], swapped[j] = swapped[j], swapped[i]
                return tuple(swapped)

            if type(cases[0][i]) is type(cases[0][j]) and is_reference_of(exchanged):
                yield f"right if {names[i]} and {names[j]} are exchanged."


def ignores(function: Function, cases: Sequence[Case], i: int) -> bool:
    """Whether argument i, exchanged for that of another case, never changes the result."""
    tried = False
    for case in cases:
        for other in cases:
            if type(case[i]) is not type(other[i]) or np.shape(case[i]) != np.shape(other[i]):
                continue
            if case[i] is other[i] or (is_scalar(case[i]) and case[i] == other[i]):
                continue
            changed = (*case[:i], other[i], *case[i + 1 :])
            try:
                if not equal(
                    function(*copy.deepcopy(case)), function(*copy.deepcopy(changed)), 0, 0
                ):
                    return False
            except Exception:  # the two cases do not go together
                continue
            tried = True
    return tried


def where_right(
    cases: Sequence[Case], names: Sequence[str], is_right: Sequence[bool]
) -> Iterator[str]:
    """Whether one argument decides between right and wrong."""
    if not any(is_right) or all(is_right):
        return
    decisive = []
    for i, name in enumerate(names):
        keys = [case[i] if is_scalar(case[i]) else getattr(case[i], "name", None) for case in cases]
        if None in keys:
            continue
        right = {key for key, r in zip(keys, is_right, strict=True) if r}
        wrong = {key for key, r in zip(keys, is_right, strict=True) if not r}
        if right and wrong and not right & wrong:
            decisive.append(
                f"right at {name} = {listed(right)} and wrong at {name} = {listed(wrong)}."
            )
    if len(decisive) == 1:  # of two arguments that change together, either may be the reason
        yield decisive[0]
    yield (
        f"right for {sum(is_right)} of {len(is_right)} inputs; wrong, for example, at "
        f"{described(names, cases[list(is_right).index(False)]) or 'one of them'}."
    )


def listed(keys: set[Any]) -> str:
    """`1, 2, 5`, in order."""
    return ", ".join(f"{key:g}" if is_scalar(key) else str(key) for key in sorted(keys))


def which_number(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    """Of a result of two numbers: which of them is wrong, if the other is always right."""
    is_right = [all(equal(f[k], w[k]) for f, w in pairs) for k in range(len(pairs[0][1]))]
    if len(is_right) != 2 or not any(is_right):
        return ""
    right, wrong = ("first", "second") if is_right[0] else ("second", "first")
    return f"The {right} of the two numbers is always right: look at the {wrong}."


def common_multiple(
    cases: Sequence[Case], names: Sequence[str], pairs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> str:
    """Of arrays that are the right ones times a number, which depends on the input: the numbers."""
    ratios = []
    for case, (f, w) in zip(cases, pairs, strict=True):
        if equal(f, w):
            continue
        ratio = float(np.vdot(f, w) / np.vdot(w, w)) if w.size > 1 and w.any() else 0.0
        if not ratio or not equal(f, ratio * w, 1e-7, 1e-9):
            return ""
        ratios.append((ratio, described(names, case)))
    first, last = ratios[0], ratios[-1]
    if not first[1] or first[1] == last[1]:
        return ""
    return (
        f"Your result is {first[0]:.4g} times the right one at {first[1]} and {last[0]:.4g} times "
        f"at {last[1]}: look for a factor that is missing or too much."
    )


def wrong_factors(
    cases: Sequence[Case], names: Sequence[str], pairs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> str:
    """Of a sum of arguments, each times a number: which of these numbers are wrong."""
    wrong = [(case, f, w) for case, (f, w) in zip(cases, pairs, strict=True) if not equal(f, w)]
    places = [i for i in range(len(names)) if fits(cases[0][i], pairs[0][1].shape)]
    factors = [factors_of([case[i] for i in places], f, w) for case, f, w in wrong]
    if not factors or None in factors:
        return ""
    found, right = np.array(factors).swapaxes(0, 1)
    at = [k for k in range(len(places)) if not equal(found[:, k], right[:, k], 1e-6, 1e-7)]
    which = " and ".join(names[places[k]] for k in at)
    where = described(names, wrong[0][0])
    numbers, wanted = (" and ".join(f"{of[0, k]:.4g}" for k in at) for of in (found, right))
    if len(at) == 1:
        return (
            f"Only the factor of {which} is wrong:{' at ' + where if where else ''} it is "
            f"{numbers} where {wanted} is right."
        )
    return (
        f"{'At ' + where + ' the' if where else 'The'} factors of {which} in your result are "
        f"{numbers}, where {wanted} are right."
    )


def fits(argument: Any, shape: tuple[int, ...]) -> bool:
    """Whether an argument is an array of this shape, or of its last axes."""
    is_array = isinstance(argument, np.ndarray) or type(argument).__name__ == "Tensor"
    own = tuple(np.shape(argument)) if is_array else ()
    return len(own) > 0 and own == shape[len(shape) - len(own) :]


def factors_of(
    arguments: Sequence[Any], found: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The numbers by which `arguments` are multiplied in two sums, if both are such sums."""
    shape = wanted.shape
    if len(arguments) < 2 or any(not fits(argument, shape) for argument in arguments):
        return None
    columns = [np.broadcast_to(np.asarray(x, np.float64), shape).ravel() for x in arguments]
    matrix, sums = np.stack(columns, 1), np.stack([found.ravel(), wanted.ravel()], 1)
    if len(matrix) <= len(arguments) or not np.isfinite(matrix).all():
        return None
    factors, _, rank, _ = np.linalg.lstsq(matrix, sums, rcond=None)
    if rank < len(arguments) or not equal(matrix @ factors, sums, 1e-7, 1e-9):
        return None
    return factors[:, 0], factors[:, 1]


def difference(
    cases: Sequence[Case], names: Sequence[str], pairs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> str:
    """Two numbers to compare, at the first input where the results differ."""
    wrong = [(case, f, w) for case, (f, w) in zip(cases, pairs, strict=True) if not equal(f, w)]
    case, f, w = wrong[0]
    at = int(np.argmax(np.abs(f - w).ravel())) if f.size else 0
    where = described(names, case)
    subject = "one entry of your result" if w.size > 1 else "your result"
    sentence = (
        f"{'At ' + where + ' ' + subject if where else subject.capitalize()} is "
        f"{f.ravel()[at]:.4g} where {w.ravel()[at]:.4g} is right."
    )
    if w.size == 1 and len(wrong) > 1:
        for side, signs in (("large", 1), ("small", -1)):
            if all(signs * (f - w) > 0 for _, f, w in wrong):
                sentence += f" It is too {side} wherever it is wrong."
    return sentence


def can_fail(test: Any) -> bool:
    """Whether the code of a test, or of a function beside it that it calls, asserts or raises."""
    if not hasattr(test, "__code__"):
        return True
    seen: set[CodeType] = set()
    todo = [test.__code__]
    for cell in test.__closure__ or ():
        todo += [getattr(cell.cell_contents, "__code__", None)]
    while todo:
        code = todo.pop()
        if code is None or code in seen:
            continue
        seen.add(code)
        if any("assert" in name for name in code.co_names):  # such as np.testing.assert_allclose
            return True
        if any(step.opname == "RAISE_VARARGS" for step in dis.get_instructions(code)):
            return True
        todo += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        called = (test.__globals__.get(name) for name in code.co_names)
        todo += [f.__code__ for f in called if getattr(f, "__globals__", None) is test.__globals__]
    return False


def about_number(answer: float, value: float, within: float) -> str:
    """A sentence about a number that is not `value`."""
    if not math.isfinite(answer):
        return "your number is not finite."

    def near(other: float) -> bool:
        return abs(answer - other) <= max(min(within, 0.1 * abs(other)), 1e-3 * abs(other))

    if abs(answer - value) <= 5 * within:
        if within < 1 and float(answer).is_integer() and float(value).is_integer():
            return "close, but another whole number is right."
        return f"close, but the number is asked for to within {within:g}: compute one digit more."
    for decimals in range(1, 8):
        unit = 10.0**-decimals
        is_round = answer and abs(answer - round(answer, decimals)) <= 1e-12
        if is_round and abs(answer - value) <= 0.5001 * unit:
            return (
                f"the right number, rounded to {decimals} decimal{'s' * (decimals > 1)}; it is "
                f"asked for to within {within:g}."
            )
    if abs(answer - 100 * value) <= 100 * within:
        return "that is the right number in per cent."
    relations: list[tuple[float, str]] = [(-value, "right but for the sign.")]
    if value > 0:
        relations += [
            (value**2, "that is the square of the right number."),
            (math.sqrt(value), "that is the root of the right number."),
            (1 / value, "that is the reciprocal of the right number."),
        ]
    relations += [
        (1 - value, "that is 1 minus the right number."),
        (2 * value, "that is twice the right number."),
        (value / 2, "that is half of the right number."),
    ]
    for other, sentence in relations:
        if abs(other - value) > 5 * within and near(other):
            return sentence
    if answer < 0 < value:
        return "your number is negative, and the right one is not."
    if answer * value > 0:
        power = math.log10(answer / value)
        if abs(power - round(power)) * math.log(10) <= within / abs(value):
            return "right but for a power of ten: look at the exponent."
    size = "too large" if answer > value else "too small"
    return f"{UNKNOWN} Your number is {size}."


def own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The lines of the student's code on the way to an error, the outermost first."""
    return [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(HERE) and "site-packages" not in frame.filename
    ]


def about_assertion(error: AssertionError) -> str:
    """The student's line that asserts what is not so."""
    frames = own_frames(error)
    if not frames:
        return ""
    frame = frames[-1]
    line = f": `{frame.line}`" if frame.line else ""
    return f" It fails in line {frame.lineno} of {frame.name}{line}"


def about_error(error: BaseException) -> str:
    """The student's own line that failed, and Python's message."""
    frames = own_frames(error)
    said = f"{type(error).__name__}: {error}"
    for phrase, meaning in MEANINGS.items():
        if phrase in said:
            said = f"{said.rstrip('. ')}. {meaning}"
            break
    if not frames:
        return f"your answer stops with {said}"
    frame = frames[0]
    line = f" (`{frame.line}`)" if frame.line else ""
    return f"your answer stops in line {frame.lineno} of {frame.name}{line} with {said}"
