"""Sitting 12. The whole kernel: the exercises, and the mistakes they name.

The tile kernel of 12.3 is launched where sitting 9 launches: on the CPU if Triton interprets, and
on the GPU otherwise. Its inputs and its output are the start of longer buffers, so that a mistaken
address hits no other memory. A simulation in NumPy executes the same programs in the same order,
with one line replaced for each mistake, and the whole buffers are compared. The faulty functions of
12.4 read and write the storage around the tensors that a test passes; outside of it they read 0 and
write nothing, as nothing would be noticed on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from kernels import philox

from . import general
from .ex_09 import UNTOUCHED, _device, _quarters
from .exercise import Exercise, formula, prediction, proof
from .interpreter import Solution

ex_12_1 = prediction(
    "12.1",
    "kernels/ladder/rung4_four_from_one.py, the idea",
    130 - 60 + 60 / 4,
    0.4,
    (
        130 - 60,
        "this is without Philox. One call still serves four elements: a quarter of its "
        "instructions remains for each.",
    ),
    (
        130 / 4,
        "everything is divided by 4. In this exercise only the number of calls changes: count "
        "everything else once per element, as on rung 3.",
    ),
    (
        130 - 60 + 60 / 2,
        "the call is shared by two elements here. Two words make two normals, so four words make "
        "four.",
    ),
    (
        130 - 15,
        "15 instructions are what remains of the call for each element, not what is saved.",
    ),
    (
        184 - 45,
        "184 is the length of the listing, slow paths included. 130 are executed.",
    ),
    (45.0, "this is what is saved. How many of the 130 remain?"),
    (15.0, "this is the call alone, per element. The other 70 instructions are executed, too."),
    (
        73.1,
        "this is the count of the compiled code. Predict from the call alone; the difference is "
        "the next question.",
    ),
    (
        9 + 1 + 15.0,
        "this is the count by hand, without logarithm, root and cosine, which are among the 130.",
    ),
    (127.1, "this is the listing of rung 4, slow paths included. Count what is executed."),
    (4 * 85.0, "this is for four elements, one call. Divide by 4."),
    (130 - 60 - 15.0, "the 15 instructions of the shared call are subtracted; add them."),
    (
        130 - 60 + 60 * 3 / 10,
        "these are the 3 calls for the 10 elements of the example, the last of which makes two "
        "normals too many. In a large tensor every call serves four elements.",
    ),
    (
        130 / 2,
        "everything is divided by 2. Only the number of calls changes, and four elements share "
        "one.",
    ),
    (
        130 * 3 / 10,
        "everything is multiplied by the 3 / 10 of the example. Only the calls become fewer.",
    ),
    (
        130 + 15.0,
        "the 15 instructions of a shared call are added to a whole call. They replace it.",
    ),
    (
        184 / 4,
        "184 is the length of the listing, slow paths included, and only the number of calls "
        "changes.",
    ),
    look="Of 130 instructions 60 are one call. Now four elements share it.",
)


# 12.2: `my_rest(turn)`, turn an array of integers in 0..2^32 - 1.
def _rest(turn: np.ndarray) -> np.ndarray:
    """The place in the quarter turn, from its middle: -1/2 to 1/2."""
    return turn % 2**30 / 2**30 - 0.5


_TURNS = [
    (np.array([0, 1, 2**29, 2**30 - 1, 2**30, 2**31 - 3, 2**31, 3 * 2**30, 2**32 - 1]),),
    (np.random.default_rng(0).integers(0, 2**32, 20),),
]

ex_12_2 = formula(
    "12.2",
    "kernels/ladder/rung5_our_normals.py, the circle of quarter turns",
    _rest,
    _TURNS,
    (
        lambda turn: turn / 2**32 - 0.5,
        "this is the place in the whole turn, from its middle. Drop the two top bits first, which "
        "are the quarter.",
    ),
    (
        lambda turn: turn % 2**30 / 2**30,
        "this is the place from the quarter's start, in 0..1. From its middle it is less by 1/2.",
    ),
    (
        lambda turn: turn / 2**30 - 0.5,
        "the quarter is still in it: your results reach 3.5. Drop the two top bits, with % 2**30. "
        "(NumPy's int64 has room for the bits that << moves out of 32.)",
    ),
    (
        lambda turn: turn % 2**30 / 2**32 - 0.5,
        "the 30 bits are divided by 2^32. Their largest value is 2^30 - 1, so divide by 2^30.",
    ),
    (
        lambda turn: turn % 2**30 / 2**32 - 0.125,
        "this is in units of a whole turn. In units of a quarter turn it is 4 times as large.",
    ),
    (
        lambda turn: (turn >> 2) / 2**30 - 0.5,
        "turn >> 2 drops the two lowest bits. The quarter is in the two highest.",
    ),
    (
        lambda turn: turn % 2**31 / 2**31 - 0.5,
        "one bit is dropped, so this is the place in a half turn. A quarter is two bits.",
    ),
    (
        lambda turn: _rest(turn) * np.pi / 2,
        "this is the angle h in radians. The polynomials take x = h / (pi / 2), in -1/2..1/2.",
    ),
    (
        lambda turn: _rest(turn) * 90,
        "this is the angle h in degrees. The polynomials take x = h / 90 degrees, in -1/2..1/2.",
    ),
    (
        lambda turn: 0.5 - turn % 2**30 / 2**30,
        "the sign is wrong: x grows with the angle, from -1/2 to 1/2.",
    ),
    (
        lambda turn: turn >> 30,
        "this is the number of the quarter, 0 to 3. Asked for is the place in it.",
    ),
    (
        lambda turn: turn % 2**30 - 0.5,
        "the 30 bits are not divided by 2^30.",
    ),
    (
        lambda turn: turn % 2**30 // 2**30 - 0.5,
        "your result is -0.5 for every turn. // is a division without a remainder, and % 1 of an "
        "integer is 0: first drop the two top bits, then divide with /.",
    ),
    (
        lambda turn: turn % 2**30 / 2**29 - 1,
        "your results lie in -1..1, so x is in units of half a quarter turn. In quarter turns it "
        "is at most 1/2 away from the middle.",
    ),
    (
        lambda turn: turn % 2**30 / 2**30 - 1,
        "the whole quarter is subtracted. Its middle is at 1/2.",
    ),
    (
        lambda turn: ((turn << 2) + 2**31) % 2**32 / 2**32 - 0.5,
        "the 30 bits are read as a signed number, so the upper half of a quarter became negative. "
        "Flip the top bit first, or subtract the middle.",
    ),
    (
        lambda turn: turn % 2**28 / 2**28 - 0.5,
        "four bits are dropped. A quarter is the two top bits, and 30 remain.",
    ),
    (
        lambda turn: turn / 2**30 - np.round(turn / 2**30),
        "this is measured from the nearest boundary of two quarters. x is measured from the "
        "middle of a quarter.",
    ),
    (
        lambda turn: turn % (2**30 - 1) / 2**30 - 0.5,
        "% (2^30 - 1) is not the same as & (2^30 - 1): the remainder that keeps the lower 30 bits "
        "is % 2**30.",
    ),
    (
        lambda turn: (turn & 2**30) / 2**30 - 0.5,
        "& 2**30 keeps a single bit. The 30 bits below it are kept by & (2**30 - 1), or % 2**30.",
    ),
    (
        lambda turn: (turn % 2**30 + 0.5) / 2**30 - 0.5,
        "a half is added to the word, as in u. The angle takes turn as it is, as in v.",
    ),
    (
        lambda turn: _rest(turn) / 90,
        "this is divided by 90 once too often: the 30 bits, divided by 2^30, are in quarter turns "
        "already.",
    ),
    (
        lambda turn: turn % 2**30 / 2**30 - 45,
        "two units are mixed: the place is in quarter turns, and the middle in degrees. In quarter "
        "turns the middle is at 1/2.",
    ),
    look="Of the 32 bits the upper 2 are dropped, which leaves 0..2^30 - 1. Scale that to 0..1, "
    "and subtract the middle.",
    solutions=(
        Solution(
            """
        def solved(turn):
            place = turn % 2**30 / 2**30
            return place - 0.5
        """,
        ),
    ),
)


# 12.3: `my_tile(xt, out, xs, w, ids, p, q, a, b, c, clip, seed, k, B, n, SAMPLES, BLOCK)`.
SAMPLES, BLOCK, PAD = 4, 8, 512
NOISE_TOLERANCE = 1e-4  # float32 normals are right to 2e-6, and no number here exceeds 100


def _tile_case(B: int, n: int, clip: float, seed: int, k: int) -> tuple[Any, ...]:
    """Arguments of a launch: tensors that go on behind their end, and plain numbers."""
    rng = np.random.default_rng(B * n)
    xt = _quarters(1, B * n + PAD).astype(np.float32)
    out = _quarters(2, 2 * B * n + PAD).astype(np.float32)
    w = (rng.permutation(np.arange(B + PAD)) % 13 / 4).astype(np.float32)
    ids = (2 * rng.permutation(B + PAD) + 700).astype(np.int32)
    numbers = (1.25, -0.75, 0.5, 0.25, 0.625)
    return xt, out, w, ids, numbers, clip, seed, k, B, n


TILE_CASES = [
    _tile_case(9, 13, np.inf, 7, 3),
    _tile_case(3, 16, 1.0, 8, 0),
    _tile_case(4, 21, 2.0, 9, 5),
    _tile_case(1, 3, 1.0, 10, 1),
    _tile_case(2, 8, 1.5, 11, 2),
]


def _tiler(kernel: Any) -> Callable[..., np.ndarray]:
    """The launch of a kernel: the buffer that starts with the B n elements of x_s."""

    def launched(  # its names are those of a hint
        xt: np.ndarray,
        out: np.ndarray,
        w: np.ndarray,
        ids: np.ndarray,
        numbers: tuple[float, ...],
        clip: float,
        seed: int,
        k: int,
        B: int,
        n: int,
    ) -> np.ndarray:
        device = _device()
        given = [torch.from_numpy(v).to(device) for v in (xt, out, w, ids)]
        xs = torch.full((B * n + PAD,), UNTOUCHED, device=device)
        grid = (-(-n // BLOCK), -(-B // SAMPLES))
        try:
            kernel[grid](
                *given[:2],
                xs,
                *given[2:],
                *numbers,
                float(clip),
                seed,
                k,
                B,
                n,
                SAMPLES=SAMPLES,
                BLOCK=BLOCK,
            )
        except Exception as error:
            cause = error.__cause__ or error  # the interpreter wraps what went wrong
            if "raise NotImplementedError" in str(cause):  # a compiler's error about the stub
                raise NotImplementedError from None
            if isinstance(cause, TypeError) and "not iterable" in str(cause):
                cause.args = (
                    "a pointer cannot be indexed or unpacked; load from it: tl.load(w + sample).",
                )
            raise cause from None
        return xs.cpu().double().numpy()

    return launched


Part = Callable[..., Any]
PARTS: dict[str, Part] = {
    "sample": lambda P: P.group * SAMPLES + P.rows,
    "element": lambda P: P.first * BLOCK + P.columns,
    "at": lambda P: P.sample * P.n + P.element,
    "inside": lambda P: (P.sample < P.B) & (P.element < P.n),
    "loaded": lambda P: P.inside,
    "null": lambda P: P.B * P.n,
    "weight": lambda P: P.sample,
    "id_at": lambda P: P.sample,
    "sample_id": lambda P: P.ids[P.id_at],
    "block": lambda P: P.first * (BLOCK // 4) + P.columns[:, : BLOCK // 4],
    "step": lambda P: P.k + 1,
    "noise": lambda P, seed, block, step: _noise(seed, P.sample_id, step, block),
    "mix": lambda P, cond, null, w: cond + w * (cond - null),
    "guess": lambda P, x, g, p, q, clip: np.clip(p * x + q * g, -clip, clip),
    "move": lambda P, x0hat, x, z, a, b, c, clip: a * x0hat + b * x + c * z,
}


def _noise(
    seed: int, ids: np.ndarray, step: int, block: np.ndarray, stream: int = philox.SAMPLING
) -> np.ndarray:
    """The normals of [rows, 1] ids and [1, blocks] blocks, as [rows, 4 blocks]."""
    drawn = philox.normal_numpy(seed, ids.ravel(), step, (int(block.max()) + 1, 4), stream)
    return drawn[:, block.ravel()].reshape(len(ids.ravel()), -1)


def _step_for_sample(P: Any, seed: int, block: np.ndarray, step: int) -> np.ndarray:
    """The noise, if the step and the number of the sample are exchanged in the counter."""
    one = np.array([step])
    rows = [_noise(seed, one, int(sample_id), block) for sample_id in P.sample_id.ravel()]
    return np.concatenate(rows)


def _block_for_sample(P: Any, seed: int, block: np.ndarray, step: int) -> np.ndarray:
    """The noise, if the block and the number of the sample are exchanged in the counter."""
    rows = [
        _noise(seed, block.ravel(), step, np.array([[sample_id]])).reshape(1, -1)
        for sample_id in P.sample_id.ravel()
    ]
    return np.concatenate(rows)


def _block_of_batch(P: Any, seed: int, block: np.ndarray, step: int) -> np.ndarray:
    """The noise, if the blocks are counted through the batch and not within a sample."""
    blocks = P.sample * (P.n // 4) + block
    pairs = zip(P.sample_id, blocks, strict=True)
    return np.concatenate([_noise(seed, i[None], step, own[None]) for i, own in pairs])


def _tile(**changed: Part) -> Callable[..., np.ndarray]:
    """What the kernel leaves in the buffer, with some of its parts replaced."""
    part = PARTS | changed

    def simulated(*case: Any) -> np.ndarray:
        xt, out, w, ids, numbers, clip, seed, k, B, n = case
        p, q, a, b, c = numbers
        buffer = np.full(B * n + PAD, UNTOUCHED)
        columns, groups = -(-n // BLOCK), -(-B // SAMPLES)
        for first, group in ((i, j) for i in range(columns) for j in range(groups)):
            P = SimpleNamespace(first=first, group=group, B=B, n=n, k=k, ids=ids)
            P.rows, P.columns = np.arange(SAMPLES)[:, None], np.arange(BLOCK)[None, :]
            shape = (SAMPLES, BLOCK)
            for name in ("sample", "element", "at", "inside", "loaded", "id_at", "sample_id"):
                setattr(P, name, np.asarray(part[name](P)))
            at = np.broadcast_to(P.at, shape)
            stored, loaded = np.broadcast_to(P.inside, shape), np.broadcast_to(P.loaded, shape)
            x = np.where(loaded, xt[at], 0.0).astype(np.float64)
            cond = np.where(loaded, out[at], 0.0).astype(np.float64)
            null = np.where(loaded, out[part["null"](P) + at], 0.0).astype(np.float64)
            weight = w[part["weight"](P)].astype(np.float64)
            z = part["noise"](P, seed, part["block"](P), part["step"](P))
            P.cz = c * z
            x0hat = part["guess"](P, x, part["mix"](P, cond, null, weight), p, q, clip)
            y = np.broadcast_to(part["move"](P, x0hat, x, z, a, b, c, clip), shape)
            buffer[at[stored]] = y[stored]
        return buffer

    return simulated


_launched: dict[int, tuple[Any, list[np.ndarray]]] = {}  # by the kernel's id, with the kernel


def _tile_results(kernel: Any) -> list[np.ndarray]:
    """The buffers of a kernel for all cases: each of the predicates below looks at them."""
    if id(kernel) not in _launched:
        found = [_tiler(kernel)(*case) for case in TILE_CASES]
        _launched[id(kernel)] = kernel, found
    return _launched[id(kernel)][1]


@cache
def _tile_expected(function: Callable[..., Any]) -> list[np.ndarray]:
    return [function(*case) for case in TILE_CASES]


def _tiles_like(function: Callable[..., Any]) -> Callable[[Any], bool]:
    """Whether the kernel writes what `function` does, and out of bounds at the same places.

    What it writes there is not compared, because it depends on the masks of its loads.
    """

    def holds(kernel: Any) -> bool:
        results = zip(_tile_results(kernel), _tile_expected(function), TILE_CASES, strict=True)
        for found, expected, (*_, B, n) in results:
            if not np.allclose(found[: B * n], expected[: B * n], rtol=0, atol=NOISE_TOLERANCE):
                return False
            if ((found == UNTOUCHED) != (expected == UNTOUCHED))[B * n :].any():
                return False
        return True

    return holds


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """The B n elements of a result, rounded to the tolerance of the noise."""

    @wraps(function)
    def inside(*case: Any) -> np.ndarray:
        return np.round(function(*case)[: case[-1] * case[-2]], 3)

    return inside


_right_tile = _tile()
_TILE_MISTAKES: tuple[tuple[Callable[..., Any], str], ...] = (
    (
        _tile(inside=lambda P: P.at < P.B * P.n),
        "the mask is at < B * n, the end of the batch. The last tile of a sample then goes on "
        "into the next sample and overwrites its first elements: compare element with n, and "
        "sample with B.",
    ),
    (
        _tile(inside=lambda P: P.element < P.n),
        "the mask has one direction: the last group of samples goes on behind sample B - 1, and "
        "writes past the end of xs. Add sample < B with & (`and` keeps one of two conditions).",
    ),
    (
        _tile(inside=lambda P: P.sample < P.B),
        "the mask has one direction: the last tile of a sample goes on into the next sample. Add "
        "element < n.",
    ),
    (
        _tile(inside=lambda P: True, loaded=lambda P: (P.sample < P.B) & (P.element < P.n)),
        "the loads are masked, and the store is not: it writes into the next sample, and past the "
        "end.",
    ),
    (
        _tile(inside=lambda P: True),
        "nothing is masked: tiles go on into the next sample, and past the end of all tensors.",
    ),
    (
        _tile(inside=lambda P: (P.sample < P.B) | (P.element < P.n)),
        "the two parts of the mask are joined by |. A place exists if both hold: &.",
    ),
    (
        _tile(inside=lambda P: (P.sample <= P.B) & (P.element < P.n)),
        "one sample too many: samples are 0..B-1, so the mask is sample < B.",
    ),
    (
        _tile(inside=lambda P: (P.sample < P.B) & (P.element <= P.n)),
        "one element too many: elements are 0..n-1, so the mask is element < n.",
    ),
    (
        _tile(null=lambda P: P.n),
        "the null half is read from n on, behind one sample. It lies behind all B samples: "
        "out + B * n + at.",
    ),
    (
        _tile(null=lambda P: P.B),
        "the null half is read from B on. It lies behind B samples of n elements: out + B * n + "
        "at.",
    ),
    (
        _tile(null=lambda P: -(-P.B // SAMPLES) * SAMPLES * P.n),
        "the null half is read behind all rows of the grid's tiles, as if B were rounded up to a "
        "multiple of SAMPLES. It lies behind the B samples that exist: out + B * n + at.",
    ),
    (
        _tile(null=lambda P: 0),
        "both halves are read from the same places, or the weight is not used.",
    ),
    (
        _tile(weight=lambda P: 0 * P.sample),
        "all samples get the weight of sample 0: load from w + sample.",
    ),
    (
        _tile(weight=lambda P: P.group + 0 * P.sample),
        "all samples of a group get one weight, that at w + program_id(1). Each row of the tile "
        "has its own: w + sample.",
    ),
    (
        _tile(weight=lambda P: P.element),
        "the weight is read at w + element, so it changes along a sample. It belongs to the "
        "sample: w + sample.",
    ),
    (
        _tile(weight=lambda P: P.at),
        "the weight is read at w + at, as if every element had its own. It belongs to the sample: "
        "w + sample.",
    ),
    (
        _tile(sample_id=lambda P: P.sample),
        "the noise is that of the place in the batch. The number of a sample is in ids: "
        "tl.load(ids + sample).",
    ),
    (
        _tile(id_at=lambda P: P.group + 0 * P.sample),
        "all samples of a group have the same noise: the number is read at ids + program_id(1). "
        "Read ids + sample.",
    ),
    (
        _tile(id_at=lambda P: 0 * P.sample),
        "all samples have the same noise, that of ids[0]. Read ids + sample.",
    ),
    (
        _tile(block=lambda P: P.columns[:, : BLOCK // 4]),
        "every tile along a sample has the same noise: block starts at 0 in each. Program i starts "
        "at block i * (BLOCK // 4).",
    ),
    (
        _tile(block=lambda P: P.first * BLOCK + P.columns[:, : BLOCK // 4]),
        "block starts at program_id(0) * BLOCK, which counts elements. It counts blocks of four: "
        "program_id(0) * (BLOCK // 4).",
    ),
    (
        _tile(block=lambda P: P.group * (BLOCK // 4) + P.columns[:, : BLOCK // 4]),
        "block is counted with program_id(1), which counts groups of samples. The place within a "
        "sample is that of program_id(0).",
    ),
    (
        _tile(noise=_block_of_batch),
        "the blocks are counted through the batch, so the noise of a sample depends on its place. "
        "Count them within the sample: no `sample` in block.",
    ),
    (
        _tile(step=lambda P: P.k),
        "the noise is that of step k. The counter is k + 1, because step 0 is the noise from which "
        "a chain starts.",
    ),
    (
        _tile(sample=lambda P: P.group + P.rows),
        "group j starts at sample j, not at j * SAMPLES: the groups overlap, and the last samples "
        "are not written.",
    ),
    (
        _tile(element=lambda P: P.first + P.columns),
        "tile i starts at element i, not at i * BLOCK: the tiles overlap, and the ends of the "
        "samples are not written.",
    ),
    (
        _tile(
            sample=lambda P: P.first * SAMPLES + P.rows,
            element=lambda P: P.group * BLOCK + P.columns,
            block=lambda P: P.group * (BLOCK // 4) + P.columns[:, : BLOCK // 4],
        ),
        "the two axes of the grid are exchanged: program_id(0) counts tiles along a sample, and "
        "program_id(1) groups of samples.",
    ),
    (
        _tile(at=lambda P: P.sample * BLOCK + P.element),
        "sample s starts at s * BLOCK here. It starts at s * n.",
    ),
    (
        _tile(at=lambda P: P.element * P.B + P.sample),
        "the address is that of a tensor with the samples side by side. Here the elements of a "
        "sample are neighbours: sample * n + element.",
    ),
    (
        _tile(at=lambda P: P.sample * P.B + P.element),
        "sample s starts at s * B here. A sample has n elements, so it starts at s * n.",
    ),
    (
        _tile(at=lambda P: P.element),
        "the address does not contain the sample: all of them are written over sample 0.",
    ),
    (
        _tile(move=lambda P, x0hat, x, z, a, b, c, clip: a * x0hat + b * x),
        "there is no noise: add c * z.",
    ),
    (
        _tile(move=lambda P, x0hat, x, z, a, b, c, clip: a * x0hat + b * x + z),
        "the noise is added without its factor c.",
    ),
    (
        _tile(
            move=lambda P, x0hat, x, z, a, b, c, clip: np.clip(
                a * x0hat + b * x + c * z, -clip, clip
            )
        ),
        "the new state is clipped as well. Clip the guess only.",
    ),
    (
        _tile(guess=lambda P, x, g, p, q, clip: p * x + q * g),
        "nothing is clipped.",
    ),
    (
        _tile(guess=lambda P, x, g, p, q, clip: p * x + q * np.clip(g, -clip, clip)),
        "the guided output g is clipped. The guess p x + q g is clipped.",
    ),
    (
        _tile(mix=lambda P, cond, null, w: null + w * (cond - null)),
        "guided by the other convention: g = cond + w (cond - null), so that w = 0 is the "
        "conditional model.",
    ),
    (
        _tile(mix=lambda P, cond, null, w: cond + w * (null - cond)),
        "the difference has the wrong sign: g = cond + w (cond - null).",
    ),
    (
        _tile(move=lambda P, x0hat, x, z, a, b, c, clip: a * x + b * x0hat + c * z),
        "a and b are exchanged: a multiplies x0hat, and b multiplies x.",
    ),
    (
        _tile(move=lambda P, x0hat, x, z, a, b, c, clip: x0hat + c * z),
        "this is x0hat + c z, the guess with noise. The step is a x0hat + b x + c z.",
    ),
    (
        _tile(move=lambda P, x0hat, x, z, a, b, c, clip: a * x0hat + b * (x + c * z)),
        "the noise is added to x, so that b multiplies it too. Add c z to the result.",
    ),
    (
        _tile(move=lambda P, x0hat, x, z, a, b, c, clip: a * x0hat + b * x + c**2 * z),
        "the noise is multiplied by c squared: c is a standard deviation already.",
    ),
    (
        _tile(
            guess=lambda P, x, g, p, q, clip: np.clip(p * x + q * g + P.cz, -clip, clip),
            move=lambda P, x0hat, x, z, a, b, c, clip: a * x0hat + b * x,
        ),
        "the noise is added to the guess, so that it is clipped and multiplied by a. Add it to "
        "a x0hat + b x.",
    ),
    (
        _tile(guess=lambda P, x, g, p, q, clip: np.clip(p * x - q * g, -clip, clip)),
        "the sign of q: q g is added; q is negative already if the network predicts noise.",
    ),
    (
        _tile(guess=lambda P, x, g, p, q, clip: np.clip(q * x + p * g, -clip, clip)),
        "p and q are exchanged: p multiplies x, and q multiplies g.",
    ),
    (
        _tile(guess=lambda P, x, g, p, q, clip: np.clip(p * x + q * g, 0, clip)),
        "clipped to 0..clip: the range is -clip..clip.",
    ),
    (
        _tile(
            noise=lambda P, seed, block, step: _noise(seed + P.k, P.sample_id, 0, block),
        ),
        "the step is added to the seed. Then step 1 of seed 7 has the noise of step 0 of seed 8: "
        "the step belongs into the counter, normals(seed, k + 1, ...).",
    ),
    (
        _tile(noise=_step_for_sample),
        "the step and the number of the sample are exchanged: normals(seed, k + 1, sample_id, "
        "block, 0).",
    ),
    (
        _tile(noise=_block_for_sample),
        "the block and the number of the sample are exchanged: normals(seed, k + 1, sample_id, "
        "block, 0).",
    ),
    (
        _tile(noise=lambda P, seed, block, step: _noise(seed, P.sample_id, step, block, 1)),
        "the last argument of normals is 1, which is the stream of training noise. For samplers it "
        "is 0.",
    ),
    (
        lambda *case: np.full(case[-1] * case[-2] + PAD, UNTOUCHED),
        "nothing is written into xs: tl.store(xs + at, ...).",
    ),
)

ex_12_3 = Exercise(
    "12.3",
    "kernels/ladder/rung6_tiles.py, the tile",
    _tiles_like(_right_tile),
    tuple((_tiles_like(function), hint) for function, hint in _TILE_MISTAKES),
    lambda kernel: general.with_look(
        "the B n elements are right, but the kernel also writes behind them: look at the mask of "
        "the store."
        if all(
            np.allclose(f[: B * n], e[: B * n], rtol=0, atol=NOISE_TOLERANCE)
            for f, e, (*_, B, n) in zip(
                _tile_results(kernel), _tile_expected(_right_tile), TILE_CASES, strict=True
            )
        )
        else general.observation(_in_place(_tiler(kernel)), _in_place(_right_tile), TILE_CASES),
        "Compare the formula with yours, term by term. If they agree, write the addresses of one "
        "tile on paper: with n = 13, BLOCK = 8 and SAMPLES = 4 program (1, 0) has samples 0 to 3, "
        "and elements 8 to 15, of which 13 to 15 do not exist.",
    ),
)


# 12.4: `test(guided)`, where guided(out, w, g) writes into g, as a kernel does.
def _right_guided(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
    cond, null = out.chunk(2)
    g.copy_(cond + w[:, None] * (cond - null))


def _memory(tensor: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The storage that a tensor is part of, and the place of its first element in it."""
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    return torch.as_strided(tensor, (size,), (1,), 0), int(tensor.storage_offset())


def _read(tensor: torch.Tensor, place: int) -> torch.Tensor:
    """What is at tensor + place; 0 outside of the storage."""
    memory, first = _memory(tensor)
    exists = 0 <= first + place < len(memory)
    return memory[first + place] if exists else memory.new_zeros(())


def _write(tensor: torch.Tensor, place: int, value: Any) -> None:
    memory, first = _memory(tensor)
    if 0 <= first + place < len(memory):
        memory[first + place] = value


def _then(more: Callable[..., None]) -> Callable[..., None]:
    """The right results, and one access more."""

    def guided(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
        _right_guided(out, w, g)
        more(out, w, g)

    return guided


def _adds_nothing_of(
    value: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> Callable[..., None]:
    """What is read is multiplied by 0, and added to the last element."""

    def more(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
        g[-1, -1] += 0 * value(out, w, g)

    return _then(more)


def _one_weight(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
    _right_guided(out, w[:1].expand(len(w)), g)


def _other_convention(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
    cond, null = out.chunk(2)
    g.copy_(null + w[:, None] * (cond - null))


def _halves_exchanged(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
    null, cond = out.chunk(2)
    g.copy_(cond + w[:, None] * (cond - null))


def _wrong_sign(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
    cond, null = out.chunk(2)
    g.copy_(cond - w[:, None] * (cond - null))


def _changes_out(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
    _right_guided(out, w, g)
    out[: len(w)] = g


def _without_guidance(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
    w.zero_()
    _right_guided(out, w, g)


def _converts_w(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
    """Right results, by the other convention: 1 is added to w, in its memory."""
    w += 1
    _other_convention(out, w, g)


def _adds_to_g(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
    before = g.clone()
    _right_guided(out, w, g)
    g += before


def _few_places(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
    before = g.clone()
    _right_guided(out, w, g)
    g.view(-1)[64:] = before.view(-1)[64:]


def _padded_null(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
    N = g.numel()
    cond = out.reshape(-1)[:N]
    null = torch.stack([_read(out, -(-N // 8) * 8 + i) for i in range(N)])
    each = w[:, None].expand(g.shape).reshape(-1)
    g.copy_((cond + each * (cond - null)).view(g.shape))


def _behind(value: Callable[..., Any], until: Callable[[int], int]) -> Callable[..., None]:
    """Writes `value` at the places from N to until(N) of g."""

    def more(out: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
        N = g.numel()
        for place in range(N, until(N)):
            _write(g, place, value(out, w, N))

    return _then(more)


def _what_it_reads_there(out: torch.Tensor, w: torch.Tensor, N: int) -> torch.Tensor:
    cond, null = _read(out, N), _read(out, 2 * N)
    return cond + w[-1] * (cond - null)


# By what each does, in the order in which a test should meet them, with the hint.
_FAULTS: tuple[tuple[str, Callable[..., None], str], ...] = (
    (
        "other convention",
        _other_convention,
        "a kernel that mixes by the other convention, null + w (cond - null), passes your test: "
        "compare g with the formula.",
    ),
    (
        "w[0] for all",
        _one_weight,
        "a kernel that uses w[0] for all samples passes your test: try at least two samples, with "
        "different weights.",
    ),
    (
        "64 places only",
        _few_places,
        "a kernel that computes 64 places and leaves the others as they were passes your test: "
        "compare more than 64 elements.",
    ),
    (
        "sets w to 0",
        _without_guidance,
        "a kernel that sets all weights to 0 before it computes passes your test, because the test "
        "reads w after the call. Compute the expected g before the call.",
    ),
    (
        "writes into out",
        _changes_out,
        "a kernel that writes into its input `out` passes your test: keep a copy from before the "
        "call, pass `out` itself and not the copy, and compare.",
    ),
    (
        "adds 1 to w",
        _converts_w,
        "a kernel that adds 1 to w in its memory, and then computes null + w (cond - null), passes "
        "your test. Its g is right, and w is changed: keep a copy of w as well, pass w itself, and "
        "compare.",
    ),
    (
        "adds to g",
        _adds_to_g,
        "a kernel that adds to what is in g passes your test, because g was 0: fill g with "
        "another number, or with NaN, before the call.",
    ),
    (
        "writes behind g",
        _behind(lambda out, w, N: 0.5, lambda N: N + 1),
        "a kernel that writes one place behind g passes your test: surround g by a number, and "
        "assert that every place around g still contains it (.all(), and both sides with `and`).",
    ),
    (
        "writes before g",
        _then(lambda out, w, g: _write(g, -1, 0.5)),
        "a kernel that writes one place before g passes your test: assert that the places before "
        "g are unchanged as well.",
    ),
    (
        "writes 0 behind g",
        _behind(lambda out, w, N: 0.0, lambda N: N + 1),
        "a kernel that writes 0 behind g passes your test, because 0 was there before. Surround g "
        "by a number that no kernel would write.",
    ),
    (
        "computes one place too many",
        _behind(_what_it_reads_there, lambda N: N + 1),
        "a kernel that computes one place too many passes your test: with the NaN behind `out` it "
        "writes NaN behind g, and NaN was there before. Surround g by an ordinary number.",
    ),
    (
        "writes to the end of a block",
        _behind(lambda out, w, N: 0.5, lambda N: -(-N // 8) * 8),
        "a kernel that writes until the end of a block of 8 passes your test: try sizes that 8 "
        "does not divide, and look at the places around g there, too.",
    ),
    (
        "null half from a multiple of 8",
        _padded_null,
        "a kernel that reads the null half from the next multiple of 8 passes your test: compare "
        "the results at sizes that 8 does not divide.",
    ),
    (
        "writes behind out",
        _then(lambda out, w, g: _write(out, out.numel(), 0.5)),
        "a kernel that writes one place behind `out` passes your test: `out` needs a frame, too. "
        "Copy the whole longer tensor before the call, and compare it after the call, with "
        "equal_nan=True where the frame is NaN.",
    ),
    (
        "writes before out",
        _then(lambda out, w, g: _write(out, -1, 0.5)),
        "a kernel that writes one place before `out` passes your test: compare both sides of the "
        "frame around `out`.",
    ),
    (
        "writes behind w",
        _then(lambda out, w, g: _write(w, len(w), 0.5)),
        "a kernel that writes one place behind w passes your test: compare the longer tensor that "
        "contains w, as you do for `out`. Pass w itself; a copy such as w.clone() has no frame.",
    ),
    (
        "writes before w",
        _then(lambda out, w, g: _write(w, -1, 0.5)),
        "a kernel that writes one place before w passes your test: compare both sides of the frame "
        "around w.",
    ),
    (
        "reads behind out",
        _adds_nothing_of(lambda out, w, g: _read(out, 2 * g.numel())),
        "a kernel that reads one place behind `out`, and multiplies what is there by 0, passes "
        "your test. 0 times a number is 0, and 0 times NaN is NaN: surround `out` by NaN.",
    ),
    (
        "reads before out",
        _adds_nothing_of(lambda out, w, g: _read(out, -1)),
        "a kernel that reads one place before `out` passes your test: NaN belongs on both sides.",
    ),
    (
        "reads behind w",
        _adds_nothing_of(lambda out, w, g: _read(w, len(w))),
        "a kernel that reads one weight too many passes your test: surround w by NaN as well.",
    ),
    (
        "reads before w",
        _adds_nothing_of(lambda out, w, g: _read(w, -1)),
        "a kernel that reads one place before w passes your test: NaN belongs on both sides of w.",
    ),
)
FAULTY = {name: function for name, function, _ in _FAULTS}


class _NanEqualsNan(TorchFunctionMode):
    """A context in which comparisons of tensors count NaN as equal to NaN."""

    names = ("equal", "eq", "__eq__", "ne", "__ne__", "isclose", "allclose")

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func.__name__ in self.names:
            marked = -12345.75  # in the place of NaN; no test of these functions contains it
            args = [
                torch.where(x.isnan(), marked, x) if isinstance(x, torch.Tensor) else x
                for x in args
            ]
        return func(*args, **(kwargs or {}))


ex_12_4 = proof(
    "12.4",
    "notebooks/12_the_whole_kernel.ipynb, How to test a kernel",
    _right_guided,
    *((function, hint) for _, function, hint in _FAULTS),
    misread=(
        (
            _other_convention,
            "your test expects null + w (cond - null), the other convention. Here w = 0 is the "
            "conditional model: cond + w (cond - null).",
        ),
        (
            _halves_exchanged,
            "your test expects the null half first. The first B rows of `out` are the outputs with "
            "the label.",
        ),
        (
            _wrong_sign,
            "your test expects cond - w (cond - null). The difference is added.",
        ),
    ),
    lenient=(
        _NanEqualsNan,
        "your test fails for the lesson's own function, because NaN is not equal to NaN: "
        "torch.equal and == are False where both tensors contain NaN. Compare with "
        "torch.allclose(x, y, rtol=0, atol=0, equal_nan=True).",
    ),
)


# 12.5: the reason of six measurements, a letter each.
_REASONS = "CBADEA"


def _letters(answer: Any) -> str:
    """The letters of a dictionary, a list or a string, in their order."""
    if isinstance(answer, dict):
        answer = [answer[key] for key in sorted(answer)]
    parts = list(answer)
    if parts and all(part in (..., None, "") for part in parts):
        raise NotImplementedError
    if any(part in (..., None, "") for part in parts):
        return "".join("?" if part in (..., None, "") else str(part) for part in parts).upper()
    return "".join(letter for part in parts for letter in str(part) if letter.isalnum()).upper()


def _given(number: int, letter: str) -> Callable[[Any], bool]:
    def holds(answer: Any) -> bool:
        letters = _letters(answer)
        return len(letters) == len(_REASONS) and letters[number - 1] == letter

    return holds


def _about_letters(answer: Any) -> str:
    """Every wrong letter has its hint, so an answer without one has no six letters from A to E."""
    return (
        "six letters from A to E are asked for, one per measurement; these are "
        f"{_letters(answer)!r}."
    )


ex_12_5 = Exercise(
    "12.5",
    "kernels/results/README.md, The step on an H100",
    lambda answer: _letters(answer) == _REASONS,
    tuple(
        (_given(number, letter), f"number {number}: {hint}")
        for number, letter, hint in (
            (
                1,
                "A",
                "both move the same 16 bytes per element: torch.compile fuses the nine operations, "
                "too.",
            ),
            (
                1,
                "B",
                "130 instructions per element are more than 52, but 160 are free in float32, "
                "and the two times differ by 3 % only.",
            ),
            (
                1,
                "D",
                "on the smallest tensor `torch.compile` takes 12.8 microseconds and the kernel "
                "7.1. Both are small compared with 365 and 354.",
            ),
            (
                1,
                "E",
                "one of A to D explains it. What do both move, and how many instructions are free?",
            ),
            (
                2,
                "A",
                "both move the same 8 bytes per element. What differs is the number of Philox "
                "calls.",
            ),
            (
                2,
                "C",
                "in bfloat16 80 instructions are free, and rung 3, with one Philox call per "
                "element, executes 132.",
            ),
            (
                2,
                "D",
                "on the smallest tensor `torch.compile` takes 13.3 microseconds and the kernel "
                "6.6. Both are small compared with 713 and 357.",
            ),
            (
                2,
                "E",
                "one of A to D explains it. Both move the same bytes; how many instructions are "
                "free in bfloat16?",
            ),
            (
                3,
                "B",
                "the faster of the two is the one that executes more: it makes the noise.",
            ),
            (
                3,
                "C",
                "they do not move the same bytes. Count the passes: is the noise read?",
            ),
            (
                3,
                "D",
                "both are launched once, in at most 7.1 microseconds. The difference is 88.",
            ),
            (
                3,
                "E",
                "the ratio 442 / 354 = 1.25 is that of two small integers. Count passes.",
            ),
            (
                4,
                "A",
                "the second has 256 times as many bytes, and takes 1.1 times as long. So the bytes "
                "do not decide here.",
            ),
            (
                4,
                "C",
                "if the bytes decided, 256 times as many would take 256 times as long: 4 MiB at 3 "
                "TB/s are 1.4 of the 7.9 microseconds. What takes the others?",
            ),
            (
                4,
                "B",
                "the second executes 256 times as many instructions, and takes 1.1 times as long.",
            ),
            (
                4,
                "E",
                "one of A to D explains it. Which part of the 7.9 microseconds do the bytes need?",
            ),
            (
                5,
                "A",
                "both read and write the same tensors, so the same bytes have to move. "
                "Whether narrow accesses move more was not counted.",
            ),
            (
                5,
                "B",
                "two warps execute 80 instructions per place and four execute 75. Both are far "
                "fewer than the 160 that are free.",
            ),
            (
                5,
                "C",
                "then they would be about equally fast: 2,319 is 23 % less than 2,999.",
            ),
            (
                5,
                "D",
                "both are launched once, and if a launch took all of the time they would be "
                "equally fast.",
            ),
            (
                6,
                "B",
                "the nine operations execute one or two instructions per element each. Only the "
                "drawing of the noise has many.",
            ),
            (
                6,
                "C",
                "they do not move the same bytes: 22 passes and 4.",
            ),
            (
                6,
                "D",
                "nine launches instead of one are some tens of microseconds at most. The "
                "difference is 1,800.",
            ),
            (
                6,
                "E",
                "22 passes take 2,170 us, of which the dashed line explains 1,763. More than half "
                "of the rest is the drawing of z. Why is that line so high?",
            ),
        )
    ),
    _about_letters,
)
