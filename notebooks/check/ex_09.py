"""Sitting 9. The fused kernel: the exercises, and the mistakes they name.

A kernel is launched on CPU tensors if Triton's interpreter runs it (TRITON_INTERPRET=1), and on the
GPU otherwise. Its output is the start of a longer buffer, so that a store out of bounds is detected
and hits no other memory. The numbers have few bits: float32 is exact on them in any order, and any
difference is a mistake. Only the noise of 9.4 is compared with a tolerance.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any

import numpy as np
import torch

from kernels import philox
from tutorial.step11_guidance import guide

from . import general, search
from .exercise import Exercise, like, prediction, proof
from .interpreter import Solution

BLOCK, PAD, UNTOUCHED = 8, 64, -77.0

ex_9_1 = prediction(
    "9.1",
    "kernels/README.md, two numbers decide",
    22 / 4,
    0.05,
    (22 / 3, "what comes out has to be written, too: 3 reads and 1 write."),
    (22 / 5, "you have read the noise as well: it is made in the pass, and is never in memory."),
    (
        19 / 4,
        "that is the count of kernels/reference.py, where torch.lerp joins two of them; count "
        "the nine that are shown.",
    ),
    (13 / 3, "only the reads are counted; a write moves as many bytes."),
    (
        9.0,
        "nine launches become one, and nine results that are written one; but the time goes with "
        "all that is moved, reads included.",
    ),
    (
        22.0,
        "that is what the nine operations move. What does one pass move, and what is the ratio?",
    ),
    (4.0, "that is what one pass moves. What do the nine move, and what is the ratio?"),
    (18.0, "this is the difference, 22 - 4. How many times fewer is a ratio."),
    (
        4.5,
        "this is the ratio without the last two operations, for a step that draws no noise. Here "
        "they count.",
    ),
    (
        27 / 4,
        "every operation counts as 2 reads and 1 write here. Three of them read one tensor only, "
        "and randn reads none.",
    ),
    (
        23 / 4,
        "one pass too many: randn() reads nothing, and a product with a plain number reads one "
        "tensor.",
    ),
    (6.0, "two passes too many: a product with a plain number, and clip, read one tensor each."),
    (21 / 4, "one pass is missing. Count again, line by line: reads, then writes."),
    (5.0, "two passes are missing. Is the noise counted, when it is written and when it is read?"),
    (9 / 4, "these are the writes of the nine, divided by 4. Count their 13 reads, too."),
    (14 / 4, "14 / 4: is that the reads alone, and one too many? Count the 9 writes, too."),
    (13 / 4, "these are the reads of the nine, divided by 4. Count their 9 writes, too."),
    look="In each line, every tensor at the right is one read and the result is one write; plain "
    "numbers do not count. Add up all nine lines, and divide by 4.",
    given={},
    source="(13 + 9) / (3 + 1)",
)


Mistakes = tuple[tuple[Callable[..., Any], str], ...]


def _kernel_exercise(
    number: str,
    lesson: str,
    answer: Callable[..., Callable[..., Any]],
    reference: Callable[..., Any],
    cases: list[tuple[Any, ...]],
    too_far: Mistakes,
    *mistakes: tuple[Callable[..., Any], str],
    look: str = "",
    solution: Solution,
) -> Exercise:
    """An exercise on a kernel; `answer` makes a function of it. `look` is as in `formula`.

    `solution` gives the n places of the result that are right.

    `mistakes` are met where all of the buffer is theirs, `too_far` where their n elements are right
    and nothing masks the store.
    """

    def gives(function: Callable[..., Any]) -> Callable[[Any], bool]:
        same = like(function, cases)
        return lambda kernel: same(answer(kernel))

    def gives_too_far(function: Callable[..., Any]) -> Callable[[Any], bool]:
        def holds(kernel: Any) -> bool:
            for *given, n in cases:
                found = answer(kernel)(*given, n)
                # What it leaves there depends on its loads. One place too many is not this mistake.
                if (found[:n] != function(*given, n)[:n]).any() or (
                    n % BLOCK and found[n + 1] == UNTOUCHED
                ):
                    return False
            return True

        return holds

    searched = cache(partial(search.Search, solution, cases))
    wrong = [(gives_too_far(function), hint) for function, hint in too_far]
    wrong += [(gives(function), hint) for function, hint in mistakes]
    return Exercise(
        number,
        lesson,
        gives(reference),
        tuple(wrong),
        lambda kernel: general.with_look(
            search.observation(_inside(answer(kernel)), _inside(reference), cases, [searched]), look
        ),
    )


def _inside(function: Callable[..., Any]) -> Callable[..., Any]:
    """The n places of a result, without the buffer behind them."""

    @wraps(function)
    def inside(*case: Any) -> np.ndarray:
        return function(*case)[: case[-1]]

    return inside


def _device() -> str:
    """Where kernels find their tensors: on the CPU if Triton interprets them."""
    return "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"


def _launch(kernel: Any, n: int, dtype: torch.dtype, *before: Any, after: tuple[Any, ...]) -> Any:
    """Launch on so many elements; the buffer that starts with the output, as float64."""
    device = _device()
    written = torch.full((n + PAD,), UNTOUCHED, dtype=dtype)
    given = [v.to(device) if isinstance(v, torch.Tensor) else v for v in (*before, written, *after)]
    written = given[len(before)]
    try:
        kernel[(-(-n // BLOCK),)](*given, n, BLOCK=BLOCK)
    except Exception as error:
        cause = error.__cause__ or error  # the interpreter wraps what went wrong
        if isinstance(cause, TypeError) and "not iterable" in str(cause):
            cause.args = (
                "a pointer cannot be indexed or unpacked; load from it: tl.load(row + 1).",
            )
        raise cause from None
    return written.cpu().double().numpy()


def _buffer(n: int, values: np.ndarray, at: Any = None) -> np.ndarray:
    """The buffer after a kernel has written `values` at the places `at` of n, and no others."""
    buffer = np.full(n + PAD, UNTOUCHED)
    buffer[np.arange(n) if at is None else at] = values
    return buffer


def _quarters(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-15, 16, shape) / 4


# 9.2: `my_mix(out, g, w, n, BLOCK)`. An input is `out`, longer than its 2 n elements, w, and n.
def _mixer(kernel: Any) -> Callable[..., Any]:
    def mixed(out: np.ndarray, w: float, n: int) -> np.ndarray:
        return _launch(kernel, n, torch.float32, torch.from_numpy(out).float(), after=(w,))

    return mixed


def _mix_where(
    places: Callable[[np.ndarray, np.ndarray, int], np.ndarray] = lambda program, lane, n: (
        program * BLOCK + lane
    ),
    kept: Callable[[np.ndarray, np.ndarray, int], np.ndarray] = lambda at, lane, n: at < n,
    null: Callable[[int], int] = lambda n: n,
    rule: Callable[..., Any] = guide,
) -> Callable[..., Any]:
    """A kernel with other places, another mask, another start of the null half, or another rule."""

    def mixed(out: np.ndarray, w: float, n: int) -> np.ndarray:
        program, lane = np.divmod(np.arange(-(-n // BLOCK) * BLOCK), BLOCK)
        at = places(program, lane, n)
        at = at[kept(at, lane, n)]
        return _buffer(n, rule(out[at], out[null(n) + at], w), at)

    return mixed


def _full(n: int) -> int:
    return -(-n // BLOCK) * BLOCK


ex_9_2 = _kernel_exercise(
    "9.2",
    "kernels/ladder/rung1_mix.py, the mask",
    _mixer,
    _mix_where(),
    [(_quarters(n, 2 * n + PAD), w, n) for n, w in ((16, 2.0), (13, 0.5), (3, -1.0), (1, 3.0))],
    (
        (
            _mix_where(),
            "the null half is where it should be, but the places at n and beyond are not masked: "
            "the last program writes into other memory. An `if` is not a mask: the comparison has "
            "BLOCK results, and a program takes one path.",
        ),
        (
            _mix_where(null=_full),
            "these are both mistakes: the last program writes past the end, and the null half is "
            "read from where it would start if n were a multiple of BLOCK.",
        ),
    ),
    (
        _mix_where(null=_full),
        "the mask is right, but the null half starts after n elements, not after num_programs * "
        "BLOCK.",
    ),
    (
        _mix_where(kept=lambda at, lane, n: at <= n),
        "one place too many: places are 0..n-1, so the mask is at < n.",
    ),
    (
        _mix_where(kept=lambda at, lane, n: lane < n),
        "the mask compares the place within a program, 0..BLOCK-1, with n; compare the place in "
        "the tensor, at.",
    ),
    (
        _mix_where(places=lambda program, lane, n: program + lane),
        "program i starts at i, not at i * BLOCK: programs overlap, and most of the tensor is not "
        "written.",
    ),
    (
        _mix_where(null=lambda n: BLOCK),
        "the null half is read from BLOCK on; it lies behind all n places of the conditional half.",
    ),
    (
        _mix_where(rule=lambda c, n, w: n + w * (c - n)),
        "places and mask are right; the mix is of the other convention, where w = 1 is the "
        "conditional model.",
    ),
    (
        _mix_where(kept=lambda at, lane, n: at < 2 * n),
        "the mask compares with 2 n, the length of out. g has n places: the mask is at < n.",
    ),
    (
        _mix_where(kept=lambda at, lane, n: at < 0),
        "nothing is written into g: tl.store(g + at, ...).",
    ),
    (
        _mix_where(places=lambda program, lane, n: lane),
        "only the first BLOCK elements are written. Program i starts at tl.program_id(0) * BLOCK, "
        "and the mask compares with n, not with BLOCK.",
    ),
    (
        _mix_where(rule=lambda c, n, w: c + w * (n - c)),
        "places and mask are right; the difference has the wrong sign: it is cond - null.",
    ),
    (
        _mix_where(rule=lambda c, n, w: n + w * (n - c)),
        "the two halves are exchanged: the first n elements of out are the outputs with the label.",
    ),
    (
        _mix_where(null=lambda n: n // 2),
        "the null half is read from n / 2 on. n is the size of one half, so it starts at n.",
    ),
    (
        _mix_where(null=lambda n: n - 1),
        "the null half is read from n - 1 on, which is the last place of the conditional half.",
    ),
    (
        lambda out, w, n: _buffer(n, guide(out[: 2 * n : 2], out[1 : 2 * n : 2], w)),
        "the two halves are read as pairs, at 2 at and 2 at + 1. They lie behind each other: at, "
        "and n + at.",
    ),
    (
        lambda out, w, n: _buffer(n, guide(out[:n], 0 * out[:n], w)),
        "the null half is read as 0: the mask of its load compares n + at with n. The mask is the "
        "same for both halves, at < n.",
    ),
    (
        lambda out, w, n: _buffer(n, out[:n]),
        "both halves are read from the same places, or w is not used: the result is cond. The null "
        "half starts at out + n.",
    ),
    look="With n = 3 and BLOCK = 8 there is one program, whose places 3 to 7 do not exist; null[i] "
    "is at out + 3 + i.",
    solution=Solution(
        """
        def solved(out, w, n):
            at = np.arange(n)
            cond = out[at]
            null = out[n + at]
            return cond + w * (cond - null)
        """,
    ),
)


# 9.3: `my_step(xt, out, xs, row, w, clip, n, BLOCK)`. Tensors are longer than n and 2 n elements.
def _stepper(kernel: Any) -> Callable[..., Any]:
    def step(
        xt: np.ndarray, out: np.ndarray, row: tuple[float, ...], w: float, clip: float, n: int
    ) -> np.ndarray:
        given, row_ = torch.from_numpy(xt), torch.tensor(row, dtype=torch.float32)
        out_, after = torch.from_numpy(out), (row_, w, clip)
        return _launch(kernel, n, given.dtype, given, out_, after=after)

    return step


Step = Callable[..., np.ndarray]


def _step(
    mix: Step = guide,
    guess: Step = lambda x, g, p, q, clip: np.clip(p * x + q * g, -clip, clip),
    move: Step = lambda x0hat, x, a, b: a * x0hat + b * x,
    null: Callable[[int], int] = lambda n: n,
    weight: Callable[[float, float], float] = lambda m, w: m * w,
    halves: type = np.float64,
    places: Callable[[np.ndarray], np.ndarray] = lambda at: at,
    stored: Any = None,
) -> Callable[..., Any]:
    """A kernel with one part of it replaced; in float64, then rounded as a store does."""

    def step(
        xt: np.ndarray, out: np.ndarray, row: tuple[float, ...], w: float, clip: float, n: int
    ) -> np.ndarray:
        p, q, a, b, _, _, _, m = row
        at = np.arange(n)
        x = xt[at].astype(np.float64)
        cond, none = out[at].astype(halves), out[null(n) + at].astype(halves)
        x0hat = guess(x, mix(cond, none, weight(m, w)), p, q, clip)
        moved = move(x0hat, x, a, b).astype(stored or xt.dtype)
        written = places(at)
        return _buffer(n, moved.astype(np.float64)[written], written)

    return step


def _each_guess_clipped(xt: Any, out: Any, row: Any, w: float, clip: float, n: int) -> np.ndarray:
    p, q, a, b, _, _, _, m = row
    x, cond, null = (v.astype(np.float64) for v in (xt[:n], out[:n], out[n : 2 * n]))
    guess_cond = np.clip(p * x + q * cond, -clip, clip)
    guess_null = np.clip(p * x + q * null, -clip, clip)
    return _buffer(n, (a * guide(guess_cond, guess_null, m * w) + b * x).astype(xt.dtype))


def _clipped_state(xt: Any, out: Any, row: Any, w: float, clip: float, n: int) -> np.ndarray:
    p, q, a, b, _, _, _, m = row
    x, cond, null = (v.astype(np.float64) for v in (xt[:n], out[:n], out[n : 2 * n]))
    moved = a * (p * x + q * guide(cond, null, m * w)) + b * x
    return _buffer(n, np.clip(moved, -clip, clip).astype(xt.dtype).astype(np.float64))


def _each_weighted(xt: Any, out: Any, row: Any, w: float, clip: float, n: int) -> np.ndarray:
    p, q, a, b, _, _, _, m = row
    x, cond, null = (v.astype(np.float64) for v in (xt[:n], out[:n], out[n : 2 * n]))
    moved = a * np.clip(p * x + q * m * guide(cond, null, w), -clip, clip) + b * x
    return _buffer(n, moved.astype(xt.dtype).astype(np.float64))


def _next_numbers(xt: Any, out: Any, row: Any, w: float, clip: float, n: int) -> np.ndarray:
    return _step()(xt, out, (*row[1:5], 0, 0, 0, row[7]), w, clip, n)


def _rounded_difference(cond: Any, null: Any, w: float) -> Any:
    """Guidance whose difference is taken in the tensors' own, narrow type."""
    return cond.astype(np.float64) + w * (cond - null).astype(np.float64)


def _rows(seed: int, n: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    return _quarters(seed, n + PAD).astype(dtype), _quarters(seed + 1, 2 * n + PAD).astype(dtype)


def _fine(n: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 tensors of multiples of 1/512, so that the result has too many bits for float16."""
    rng = np.random.default_rng(7)
    xt, out = rng.integers(-900, 900, n + PAD) / 512, rng.integers(-900, 900, 2 * n + PAD) / 512
    return xt.astype(np.float32), out.astype(np.float32)


def _wide(n: int) -> tuple[np.ndarray, np.ndarray]:
    """float16 tensors, cond near 1000 and null near 0: cond - null is no float16."""
    out = np.concatenate([1000.5 + np.arange(n) % 3, 0.25 + _quarters(9, n + PAD) // 1])
    return (1000 + _quarters(8, n + PAD) // 1).astype(np.float16), out.astype(np.float16)


ex_9_3 = _kernel_exercise(
    "9.3",
    "kernels/ladder/rung2_step.py, and kernels/reference.py",
    _stepper,
    _step(),
    [
        (*_rows(1, 9, np.float32), (1.25, -0.75, 0.5, 0.25, 0, 0, 0, 1), 2.0, 1.0, 9),
        (*_rows(3, 13, np.float32), (2.0, -1.5, 0.75, 0.125, 0, 0, 0, 0.5), 3.0, 1.5, 13),
        (*_rows(5, 3, np.float32), (1.5, -0.5, 0.25, 0.5, 0, 0, 0, 0), 4.0, math.inf, 3),
        (*_fine(12), (1.25, -0.75, 0.5, 0.25, 0, 0, 0, 1), 2.0, math.inf, 12),
        (*_wide(11), (2.0, -1.0, 0.5, 2.0**-10, 0, 0, 0, 1), 1.0, math.inf, 11),
    ],
    (
        (
            _step(),
            "the numbers are right, but the last program writes past the end: no mask at the "
            "store.",
        ),
    ),
    (
        _step(weight=lambda m, w: w),
        "m is left out: in a row with m = 0 guidance is switched off for its step.",
    ),
    (
        _step(mix=lambda c, n, w: n + w * (c - n)),
        "guided by the other convention: g = cond + m w (cond - null), so that w = 0 is the "
        "conditional model.",
    ),
    (
        _step(mix=lambda c, n, w: c),
        "this is the step without guidance: the null half is not used, or m is read as 0. m is the "
        "last of the eight numbers, tl.load(row + 7).",
    ),
    (_step(guess=lambda x, g, p, q, clip: p * x + q * g), "nothing is clipped."),
    (
        _each_guess_clipped,
        "clipped before mixing: the mix of two clipped guesses leaves the range again. Mix, then "
        "clip once.",
    ),
    (
        _step(guess=lambda x, g, p, q, clip: p * x + q * np.clip(g, -clip, clip)),
        "the output g of the network is clipped; clip the guess of x_0, p x + q g.",
    ),
    (
        _step(guess=lambda x, g, p, q, clip: np.clip(p * x - q * g, -clip, clip)),
        "the sign of q: q g is added; q is negative already if the network predicts noise.",
    ),
    (
        _step(move=lambda x0hat, x, a, b: b * x0hat + a * x),
        "a and b are exchanged: a multiplies x0hat.",
    ),
    (
        _step(move=lambda x0hat, x, a, b: x0hat),
        "this is x0hat, the guess; the step goes on to a x0hat + b x.",
    ),
    (
        _step(null=lambda n: BLOCK),
        "the null half is read from BLOCK on; it starts at n, behind the whole conditional half.",
    ),
    (
        _step(mix=_rounded_difference, halves=np.float16),
        "right for float32; for float16 tensors cond - null is rounded to float16. Load, then "
        ".to(tl.float32), and only the store rounds.",
    ),
    (
        _each_weighted,
        "m multiplies the whole mix. It belongs to w: g = cond + m w (cond - null), so that a row "
        "with m = 0 leaves the conditional output.",
    ),
    (
        _step(stored=np.float16),
        "right for float16; a float32 result is rounded to float16 as well. tl.store converts to "
        "the type of xs by itself.",
    ),
    (
        _step(guess=lambda x, g, p, q, clip: np.clip(q * x + p * g, -clip, clip)),
        "p and q are exchanged: p multiplies x, and q multiplies g.",
    ),
    (
        _step(guess=lambda x, g, p, q, clip: np.clip(p * x + q * g, 0, clip)),
        "clipped to 0..clip: the range is -clip..clip.",
    ),
    (
        _clipped_state,
        "the new state x_s is clipped; clip the guess x0hat. A state contains noise and may leave "
        "the range.",
    ),
    (
        _step(places=lambda at: at[: BLOCK + (len(at) - 1) // BLOCK]),
        "program i starts at i, not at i * BLOCK: most of the tensor is not written.",
    ),
    (
        _step(null=_full),
        "the null half is read from where it would start if n were a multiple of BLOCK. It starts "
        "at n.",
    ),
    (
        _step(mix=lambda c, n, w: c + w * (n - c)),
        "the difference has the wrong sign: g = cond + m w (cond - null).",
    ),
    (
        _step(move=lambda x0hat, x, a, b: a * x0hat),
        "b x is missing, or b is read as 0: b is the number 3 of the row, tl.load(row + 3).",
    ),
    (
        _step(move=lambda x0hat, x, a, b: a * x0hat + b * x0hat),
        "b multiplies x0hat, too. It belongs to x_t.",
    ),
    (
        _step(guess=lambda x, g, p, q, clip: np.minimum(p * x + q * g, clip)),
        "only the upper end is clipped; the range is -clip..clip.",
    ),
    (
        _step(guess=lambda x, g, p, q, clip: np.clip(p * x + q * g, -1, 1)),
        "clipped to -1..1. Use the argument clip, which may be infinite.",
    ),
    (
        _next_numbers,
        "every number is read one place too late: the first of the row, p, is tl.load(row).",
    ),
    look="p, q, a, b and m are the numbers 0, 1, 2, 3 and 7 of the row. Then the step is three "
    "lines: g, the clipped guess, and a x0hat + b x.",
    solution=Solution(
        """
        def solved(xt, out, row, w, clip, n):
            at = np.arange(n)
            p = row[0]
            q = row[1]
            a = row[2]
            b = row[3]
            m = row[7]
            x = xt[at].astype(np.float64)
            cond = out[at].astype(np.float64)
            null = out[n + at].astype(np.float64)
            g = cond + m * w * (cond - null)
            x0hat = np.clip(p * x + q * g, -clip, clip)
            return (a * x0hat + b * x).astype(xt.dtype)
        """,
    ),
)


# 9.4: `my_noise_step(xt, out, xs, row, w, clip, seed, n, BLOCK)`, all float32.
def _noise_stepper(kernel: Any) -> Callable[..., Any]:
    def step(
        xt: np.ndarray,
        out: np.ndarray,
        row: tuple[float, ...],
        w: float,
        clip: float,
        seed: int,
        n: int,
    ) -> np.ndarray:
        row_ = torch.tensor(row, dtype=torch.float32)
        given = torch.from_numpy(xt), torch.from_numpy(out)
        return _launch(kernel, n, torch.float32, *given, after=(row_, w, clip, seed))

    return step


def tl_random(seed: int, counters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What tl.randn and tl.rand return for these counters, in float64.

    Triton makes a uniform of 31 bits from a word w, a signed integer: max(w, -w - 1) / 2^31.
    """
    words = philox.words_numpy(seed, np.array([0]), 0, int(counters.max(initial=0)) + 1)[0]
    signed = words.view(np.int32)[counters]
    uniform = np.maximum(signed, -1 - signed).astype(np.float32) * np.float32(4.6566127342e-10)
    u, v = uniform[..., 0].astype(np.float64), uniform[..., 1].astype(np.float64)
    return np.sqrt(-2 * np.log(np.maximum(1e-7, u))) * np.cos(2 * np.pi * v), u


def _noisy(
    counters: Callable[[np.ndarray], np.ndarray] = lambda at: at,
    add: Callable[..., Any] = lambda y, c, z, x, b, clip: y + c * z,
    uniform: bool = False,
) -> Callable[..., Any]:
    """The step with noise, or one with a mistake in it."""

    def step(
        xt: np.ndarray,
        out: np.ndarray,
        row: tuple[float, ...],
        w: float,
        clip: float,
        seed: int,
        n: int,
    ) -> np.ndarray:
        p, q, a, b, c, _, _, m = row
        at = np.arange(n)
        x, cond, null = (v.astype(np.float64) for v in (xt[:n], out[:n], out[n : 2 * n]))
        y = a * np.clip(p * x + q * guide(cond, null, m * w), -clip, clip) + b * x
        z = tl_random(seed, counters(at))[int(uniform)]
        return _buffer(n, add(y, c, z, x, b, clip))

    return step


_NOISE_CASES = [
    (*_rows(11, 16, np.float32), (1.25, -0.75, 0.5, 0.25, 0.5, 0, 0, 1), 2.0, 1.0, 7, 16),
    (*_rows(13, 13, np.float32), (2.0, -1.5, 0.75, 0.125, 0.25, 0, 0, 0.5), 3.0, 1.5, 8, 13),
    (*_rows(15, 3, np.float32), (1.5, -0.5, 0.25, 0.5, 1.5, 0, 0, 0), 4.0, math.inf, 9, 3),
    (*_rows(17, 45, np.float32), (1.25, -0.75, 0.5, 0.25, 0.75, 0, 0, 1), 1.0, 1.0, 10, 45),
]
# A float32 normal from tl.randn differs from the one in float64 by a few 1e-6.
NOISE_TOLERANCE = 1e-4


def _close_to(function: Callable[..., Any], everywhere: bool = True) -> Callable[[Any], bool]:
    """Whether a kernel's n places are those of `function`; and the places behind are untouched."""

    def holds(kernel: Any) -> bool:
        for case in _NOISE_CASES:
            n = case[-1]
            found, wanted = _noise_stepper(kernel)(*case), function(*case)
            if not np.allclose(found[:n], wanted[:n], rtol=0, atol=NOISE_TOLERANCE):
                return False
            outside = found[n:] != UNTOUCHED
            if everywhere and outside.any():
                return False
            if not everywhere and n % BLOCK and not outside.any():
                return False
        return True

    return holds


def _noise_in_the_guess(
    xt: Any, out: Any, row: Any, w: float, clip: float, seed: int, n: int
) -> np.ndarray:
    p, q, a, b, c, _, _, m = row
    x, cond, null = (v.astype(np.float64) for v in (xt[:n], out[:n], out[n : 2 * n]))
    z = tl_random(seed, np.arange(n))[0]
    guess = p * x + q * guide(cond, null, m * w) + c * z
    return _buffer(n, a * np.clip(guess, -clip, clip) + b * x)


COUNTERS = 4096  # so many are tried, for each place


def _counters(kernel: Any) -> list[np.ndarray] | None:
    """Which counters a kernel has used, in each case: its noise is looked up among those of all.

    None if some noise is that of no counter below COUNTERS, or if a store leaves its n places.
    """
    found = []
    for case in _NOISE_CASES:
        *_, row, _, _, seed, n = case
        buffer = _noise_stepper(kernel)(*case)
        if (buffer[n:] != UNTOUCHED).any():
            return None
        z = (buffer[:n] - _noisy(add=lambda y, c, z, x, b, clip: y)(*case)[:n]) / row[4]
        table = tl_random(seed, np.arange(COUNTERS))[0]
        order = np.argsort(table)
        near = np.clip(np.searchsorted(table[order], z), 1, COUNTERS - 1)
        left, right = order[near - 1], order[near]
        nearest = np.where(abs(table[left] - z) < abs(table[right] - z), left, right)
        if (abs(table[nearest] - z) > NOISE_TOLERANCE).any():
            return None
        found.append(nearest)
    return found


def _has_own_counters(kernel: Any) -> bool:
    """Whether each place has a counter of its own. The place itself is one choice of several."""
    if _close_to(_noisy())(kernel):
        return True
    counters = _counters(kernel)
    return counters is not None and all(len(np.unique(used)) == len(used) for used in counters)


def _shares_counters(kernel: Any) -> bool:
    """Whether two places have the same noise, in a way that has no hint of its own."""
    counters = _counters(kernel)
    if counters is None or all(len(np.unique(used)) == len(used) for used in counters):
        return False
    named = (lambda at: at % BLOCK, lambda at: at // BLOCK, lambda at: 0 * at)
    return not any(_close_to(_noisy(counters=counter))(kernel) for counter in named)


def _keyed(
    seeds: Callable[[int, np.ndarray, int], np.ndarray],
    counters: Callable[[int, np.ndarray, int], np.ndarray],
) -> Callable[..., Any]:
    """The step with another seed or counter at each place, functions of (seed, at, n)."""

    def step(*case: Any) -> np.ndarray:
        *_, row, _, _, seed, n = case
        at = np.arange(n)
        keys, places = seeds(seed, at, n), counters(seed, at, n)
        z = np.array(
            [
                tl_random(int(key), np.array([place]))[0][0]
                for key, place in zip(keys, places, strict=True)
            ]
        )
        y = _noisy(add=lambda y, c, z, x, b, clip: y)(*case)[:n]
        return _buffer(n, y + row[4] * z)

    return step


ex_9_4 = Exercise(
    "9.4",
    "kernels/ladder/rung3_noise.py, tl.randn",
    _has_own_counters,
    (
        (
            _close_to(_noisy(), everywhere=False),
            "the numbers are right, but the last program writes past the end: the store has no "
            "mask.",
        ),
        (
            _close_to(_noisy(counters=lambda at: at % BLOCK)),
            "every program draws the same noise: the counter is the place within the program. It "
            "has to be the place in the tensor, at.",
        ),
        (
            _close_to(_noisy(counters=lambda at: at // BLOCK)),
            "all places of a program get the same number: the counter is the number of the "
            "program. It has to be the place in the tensor, at.",
        ),
        (
            _close_to(_noisy(counters=lambda at: 0 * at)),
            "all places get the same number: the counter is constant. It has to be the place, at.",
        ),
        (
            _close_to(_noisy(uniform=True)),
            "this noise is uniform in 0..1: tl.rand. Normal noise is tl.randn.",
        ),
        (
            _close_to(_noisy(add=lambda y, c, z, x, b, clip: y + z)),
            "the noise is added without its factor c, the fifth number of the row.",
        ),
        (
            _close_to(_noisy(add=lambda y, c, z, x, b, clip: y + c**2 * z)),
            "the noise is multiplied by c squared: c is a standard deviation already.",
        ),
        (
            _close_to(_noisy(add=lambda y, c, z, x, b, clip: y)),
            "there is no noise: this is the step of exercise 9.3.",
        ),
        (
            _close_to(_noisy(add=lambda y, c, z, x, b, clip: y + b * c * z)),
            "the noise is added to x_t, so that b multiplies it too. Add c z to the result.",
        ),
        (
            _close_to(_noisy(add=lambda y, c, z, x, b, clip: np.clip(y + c * z, -clip, clip))),
            "the new state is clipped, its noise included; clip the guess only.",
        ),
        (
            _shares_counters,
            "some places have the same noise, because they have the same counter. Use one that is "
            "different for all places of all programs: at.",
        ),
        (
            _close_to(_keyed(lambda seed, at, n: at, lambda seed, at, n: 0 * at + seed)),
            "seed and counter are exchanged: tl.randn(seed, counter).",
        ),
        (
            _close_to(
                _keyed(lambda seed, at, n: seed + at // BLOCK, lambda seed, at, n: at % BLOCK)
            ),
            "the seed is that of the launch plus the number of the program. Then program 1 of seed "
            "7 has the noise of program 0 of seed 8. Leave the seed as it is; the counter is at.",
        ),
        (
            _close_to(_keyed(lambda seed, at, n: seed + at, lambda seed, at, n: at)),
            "the place is added to the seed as well. Neighbouring seeds then have noise in common; "
            "leave the seed as it is.",
        ),
        (
            _close_to(_noisy(add=lambda y, c, z, x, b, clip: y - c * z)),
            "c z is subtracted. The distribution is the same, but the samples are others than "
            "those of the lesson: add it.",
        ),
        (
            _close_to(_noisy(add=lambda y, c, z, x, b, clip: y + np.sqrt(c) * z)),
            "the noise is multiplied by the root of c: c is a standard deviation already.",
        ),
        (
            _close_to(_noisy(add=lambda y, c, z, x, b, clip: y + b * z)),
            "the noise is multiplied by b. Its factor c is the number 4 of the row, tl.load(row + "
            "4).",
        ),
        (
            _close_to(_noisy(add=lambda y, c, z, x, b, clip: y + c * z * x)),
            "the noise is multiplied by x. It is added to the step: + c z.",
        ),
        (
            _close_to(_noise_in_the_guess),
            "the noise is added to the guess, so that it is clipped and multiplied by a. Add it "
            "to a x0hat + b x.",
        ),
    ),
    lambda kernel: general.with_look(
        general.observation(_inside(_noise_stepper(kernel)), _inside(_noisy()), _NOISE_CASES),
        "Take your kernel of 9.3, and add c times tl.randn(seed, at) to what it stores.",
    ),
)


# 9.5: `test(noise)`, where noise(seed, sample_ids, step, shape) is as kernels.philox.normal.
def _with(seed: Any = None, ids: Any = None, step: Any = None) -> Callable[..., torch.Tensor]:
    """The noise of other arguments than were given."""

    def noise(s: int, i: torch.Tensor, k: int, shape: Any) -> torch.Tensor:
        changed = seed(s) if seed else s, ids(i, k) if ids else i, step(k) if step else k
        return philox.normal(*changed, shape)

    return noise


def _stream(seed: int, ids: torch.Tensor, step: int, shape: Any) -> torch.Tensor:
    """A sequential generator: its numbers change with the size of the batch."""
    generator = torch.Generator().manual_seed(hash((seed, step)) % 2**63)
    n = math.prod(shape)
    return (
        torch.randn((n, len(ids)), generator=generator)
        .T[ids.argsort().argsort()]
        .reshape(len(ids), *shape)
    )


ex_9_5 = proof(
    "9.5",
    "tutorial/step22_swap_in.py, (22.3)",
    philox.normal,
    (
        _with(ids=lambda i, k: torch.arange(len(i))),
        "noise that depends on the place in the batch and not on the id passes your test. Draw the "
        "same id at two places.",
    ),
    (
        _with(ids=lambda i, k: torch.zeros_like(i)),
        "noise that is the same for every sample passes your test: two ids have to differ.",
    ),
    (
        _with(step=lambda k: 0),
        "noise that is the same at every step passes your test: two steps have to differ.",
    ),
    (_with(seed=lambda s: 0), "noise without a seed passes your test: two seeds have to differ."),
    (
        _with(seed=lambda s: s % 2**32),
        "noise that ignores the upper half of the seed passes your test: try 5 and 5 + 2^32.",
    ),
    (
        _with(ids=lambda i, k: i + k, step=lambda k: 0),
        "noise of id + step passes your test: sample 1 at step 0 gets what sample 0 gets at step "
        "1.",
    ),
    (
        _stream,
        "noise that depends on the size of the batch passes your test: draw an id in a batch of "
        "one, too.",
    ),
)
