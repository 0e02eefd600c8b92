"""Wrong answers in sitting 12: exercise, answer, and a phrase of the hint that is meant for it.

`RIGHT` has right answers in other styles than that of the notebook.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .kernel import Kernel

TILE = """
def my_tile(
    xt, out, xs, w, ids, p, q, a, b, c, clip, seed, k, B, n,
    SAMPLES: tl.constexpr, BLOCK: tl.constexpr,
):
    sample = tl.program_id(1) * SAMPLES + tl.arange(0, SAMPLES)[:, None]
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    block = tl.program_id(0) * (BLOCK // 4) + tl.arange(0, BLOCK // 4)[None, :]
    at = sample * n + element
    inside = (sample < B) & (element < n)
    weight = tl.load(w + sample, mask=sample < B)
    sample_id = tl.load(ids + sample, mask=sample < B)
    x = tl.load(xt + at, mask=inside)
    cond = tl.load(out + at, mask=inside)
    null = tl.load(out + B * n + at, mask=inside)
    g = cond + weight * (cond - null)
    x0hat = tl.clamp(p * x + q * g, -clip, clip)
    z = tl.reshape(normals(seed, k + 1, sample_id, block, 0), (SAMPLES, BLOCK))
    y = a * x0hat + b * x + c * z
    tl.store(xs + at, y, mask=inside)
"""
INSIDE = "inside = (sample < B) & (element < n)"


def tile(*changes: tuple[str, str]) -> Kernel:
    return Kernel(TILE, *changes)


def inside(new: str) -> Kernel:
    return tile((INSIDE, f"inside = {new}"))


def unmasked(*lines: str) -> list[tuple[str, str]]:
    """Changes that take the mask from these lines."""
    return [(line, line.replace(", mask=inside", "")) for line in lines]


LOADS = (
    "x = tl.load(xt + at, mask=inside)",
    "cond = tl.load(out + at, mask=inside)",
    "null = tl.load(out + B * n + at, mask=inside)",
)
Z = "    z = tl.reshape(normals(seed, k + 1, sample_id, block, 0), (SAMPLES, BLOCK))\n"
STORE = "tl.store(xs + at, y, mask=inside)"


def framed(values: torch.Tensor, around: float, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    whole = torch.full((values.numel() + 2 * pad,), around)
    inner = whole[pad : pad + values.numel()].view(values.shape)
    inner.copy_(values)
    return inner, whole


# The places before and behind a tensor, as whole numbers that equal themselves, NaN included.
ENDS = (
    lambda whole, pad: whole[:pad].clone().view(torch.int32),
    lambda whole, pad: whole[-pad:].clone().view(torch.int32),
)


def asks(
    sizes: tuple[tuple[int, int], ...] = ((3, 7), (2, 45)),
    out_frame: tuple[float, float] = (torch.nan, torch.nan),
    w_frame: tuple[float, float] = (torch.nan, torch.nan),
    g_frame: float = 7.0,
    g_filled: float = torch.nan,
    compares: Callable[[int, int], bool] = lambda B, n: True,
    weights: Callable[[int], torch.Tensor] = lambda B: torch.arange(1.0, B + 1),
    compares_out: bool = True,
    compares_w: bool = True,
    w_read_after: bool = False,
    out_sides: tuple[bool, bool] = (True, True),
    w_sides: tuple[bool, bool] = (True, True),
    behind: Callable[[int, int], bool] = lambda B, n: True,
    before: bool = True,
    formula: Callable[..., torch.Tensor] = lambda cond, null, w: cond + w * (cond - null),
) -> Callable[[Any], None]:
    """A test of some of the questions that a whole test asks."""

    def test(guided: Callable[..., None]) -> None:
        for B, n in sizes:
            generator = torch.Generator().manual_seed(B * n)
            N, pad = B * n, 12
            out, all_out = framed(torch.randn(2 * B, n, generator=generator), 0.0, pad)
            all_out[:pad], all_out[-pad:] = out_frame
            w, all_w = framed(weights(B), 0.0, pad)
            all_w[:pad], all_w[-pad:] = w_frame
            g, whole = framed(torch.full((B, n), g_filled), g_frame, pad)
            given, weight = out.clone(), w.clone()
            frames = [(all_out, out_sides), (all_w, w_sides)]
            ends = [end(whole, pad) for whole, _ in frames for end in ENDS]
            guided(out, w, g)
            cond, null = given.chunk(2)
            if compares(B, n):
                weight = w if w_read_after else weight
                torch.testing.assert_close(g, formula(cond, null, weight[:, None]))
            if compares_out:
                assert torch.equal(out, given)
            if compares_w:
                assert torch.equal(w, weight)
            now = [end(whole, pad) for whole, _ in frames for end in ENDS]
            for is_compared, then, after in zip((*out_sides, *w_sides), ends, now, strict=True):
                assert not is_compared or torch.equal(after, then)
            frame = torch.full((pad,), g_frame)
            if behind(B, n):
                assert torch.equal(whole[pad + N :].nan_to_num(-5), frame.nan_to_num(-5))
            if before:
                assert torch.equal(whole[:pad].nan_to_num(-5), frame.nan_to_num(-5))

    return test


def without_frames(guided: Callable[..., None]) -> None:
    """The results alone, in memory of their own."""
    out, w, g = torch.randn(6, 31), torch.tensor([0.0, 1.0, 2.0]), torch.full((3, 31), torch.nan)
    given, weight = out.clone(), w.clone()
    guided(out, w, g)
    assert torch.allclose(g, given[:3] + weight[:, None] * (given[:3] - given[3:]), atol=1e-5)
    assert torch.equal(out, given)
    assert torch.equal(w, weight)


def passes_copies(of_out: bool = False, of_w: bool = False) -> Callable[[Any], None]:
    """A whole test, which passes copies of tensors, so that their frames stay behind."""

    def test(guided: Callable[..., None]) -> None:
        asks()(
            lambda out, w, g: guided(out.clone() if of_out else out, w.clone() if of_w else w, g)
        )

    return test


def w_in_a_copy_that_is_compared(guided: Callable[..., None]) -> None:
    """A whole test, except that w has no frame: the copy that is passed is also compared."""
    asks()(lambda out, w, g: w.copy_(mixed_with(guided, out, w.clone(), g)))


def mixed_with(
    guided: Callable[..., None], out: torch.Tensor, w: torch.Tensor, g: torch.Tensor
) -> torch.Tensor:
    """w after the call."""
    guided(out, w, g)
    return w


def reads_w_after(guided: Callable[..., None]) -> None:
    """The model solution of before: w is read after the call, and two frames are dropped."""
    for B, n in ((1, 1), (3, 5), (2, 77)):
        out, _ = framed(torch.randn(2 * B, n), torch.nan, 16)
        w, _ = framed(torch.arange(1.0, B + 1), torch.nan, 16)
        g, whole = framed(torch.full((B, n), torch.nan), 99.0, 16)
        before = out.clone()
        guided(out, w, g)
        cond, null = before.chunk(2)
        assert torch.allclose(g, cond + w[:, None] * (cond - null), atol=1e-5)
        assert torch.equal(out, before)
        assert (whole[:16] == 99).all()
        assert (whole[-16:] == 99).all()


def some_of_the_frame(guided: Callable[..., None]) -> None:
    """A frame around g of which one place has to be unchanged."""
    asks(behind=lambda B, n: False, before=False)(guided)
    out, _ = framed(torch.randn(4, 45), torch.nan, 12)
    g, whole = framed(torch.zeros(2, 45), 7.0, 12)
    guided(out, torch.arange(2.0), g)
    assert (whole[:12] == 7).any() or (whole[-12:] == 7).any()


def frames_compared_by(
    same: Callable[[torch.Tensor, torch.Tensor], Any],
) -> Callable[[Any], None]:
    """A whole test, and a comparison of a frame of NaN with its copy."""

    def test(guided: Callable[..., None]) -> None:
        asks()(guided)
        out, whole = framed(torch.randn(4, 45), torch.nan, 12)
        before = whole.clone()
        guided(out, torch.arange(2.0), torch.zeros(2, 45))
        assert same(whole, before)

    return test


def letters(number: int, letter: str) -> str:
    right = "CBADEA"
    return right[: number - 1] + letter + right[number:]


WRONG: list[tuple[str, Any, str]] = [
    ("12.1", 70, "this is without Philox"),
    ("12.1", 32.5, "everything is divided by 4"),
    ("12.1", 100, "shared by two elements"),
    ("12.1", 115, "what remains of the call"),
    ("12.1", 139, "slow paths included. 130"),
    ("12.1", 45, "this is what is saved"),
    ("12.1", 60 / 4, "this is the call alone"),
    ("12.1", 73, "the count of the compiled code"),
    ("12.1", 25, "the count by hand"),
    ("12.1", 127, "the listing of rung 4"),
    ("12.1", 340, "for four elements, one call"),
    ("12.1", 55, "are subtracted; add them"),
    ("12.1", 88, "the 10 elements of the example"),
    ("12.1", 65, "everything is divided by 2"),
    ("12.1", 39, "the 3 / 10 of the example"),
    ("12.1", 130 + 60 / 4, "added to a whole call"),
    ("12.1", 46, "and only the number of calls changes"),
    ("12.2", lambda turn: turn / 2**32 - 0.5, "the place in the whole turn"),
    ("12.2", lambda turn: (turn % 2**30) / 2**30, "from the quarter's start"),
    ("12.2", lambda turn: (turn << 2) / 2**32 - 0.5, "the quarter is still in it"),
    ("12.2", lambda turn: (turn & 0x3FFFFFFF) / 2**32 - 0.5, "are divided by 2^32"),
    ("12.2", lambda turn: (turn & 0x3FFFFFFF) / 2**32 - 1 / 8, "in units of a whole turn"),
    ("12.2", lambda turn: (turn >> 2) / 2**30 - 0.5, "drops the two lowest bits"),
    ("12.2", lambda turn: (turn & 0x7FFFFFFF) / 2**31 - 0.5, "one bit is dropped"),
    ("12.2", lambda turn: ((turn % 2**30) / 2**30 - 0.5) * np.pi / 2, "h in radians"),
    ("12.2", lambda turn: 90 * ((turn % 2**30) / 2**30) - 45, "h in degrees"),
    ("12.2", lambda turn: 0.5 - (turn % 2**30) / 2**30, "the sign is wrong"),
    ("12.2", lambda turn: turn // 2**30, "the number of the quarter"),
    ("12.2", lambda turn: (turn % 2**30) - 0.5, "are not divided by 2^30"),
    ("12.2", lambda turn: (turn % 2**30) // 2**30 - 0.5, "without a remainder"),
    ("12.2", lambda turn: turn % 1 - 0.5, "% 1 of an integer is 0"),
    ("12.2", lambda turn: (turn % 2**30) / 2**29 - 1, "lie in -1..1"),
    ("12.2", lambda turn: (4 * turn / 2**32) % 1 * 2 - 1, "half a quarter turn"),
    ("12.2", lambda turn: 4 * turn / 2**32 - np.rint(4 * turn / 2**32), "the nearest boundary"),
    ("12.2", lambda turn: turn % (2**30 - 1) / 2**30 - 1 / 2, "is not the same as &"),
    ("12.2", lambda turn: (turn & (1 << 30)) / 2**30 - 0.5, "keeps a single bit"),
    ("12.2", lambda turn: ((turn & 0x3FFFFFFF) + 0.5) / 2**30 - 0.5, "a half is added"),
    ("12.2", lambda turn: ((turn & 0x3FFFFFFF) / 2**30 - 0.5) / 90, "once too often"),
    ("12.2", lambda turn: (turn & 0x3FFFFFFF) / 2**30 - 45, "two units are mixed"),
    ("12.2", lambda turn: (turn % 2**30) / 2**30 - 1, "the whole quarter is subtracted"),
    ("12.2", lambda turn: (turn % 2**28) / 2**28 - 0.5, "four bits are dropped"),
    ("12.2", lambda turn: (turn << 2).astype(np.uint32).view(np.int32) * 2.0**-32,
     "are read as a signed number"),
    ("12.3", inside("at < B * n"), "the mask is at < B * n"),
    ("12.3", inside("(element < n) & (sample >= 0)"), "behind sample B - 1"),
    ("12.3", inside("(sample < B) & (element >= 0)"), "goes on into the next sample. Add"),
    ("12.3", tile(*unmasked(STORE)), "the loads are masked, and the store is not"),
    ("12.3", tile(*unmasked(*LOADS, STORE)), "nothing is masked"),
    ("12.3", inside("(sample < B) | (element < n)"), "are joined by |"),
    ("12.3", inside("(sample <= B) & (element < n)"), "one sample too many"),
    ("12.3", inside("(sample < B) & (element <= n)"), "one element too many"),
    ("12.3", tile(("out + B * n + at", "out + n + at")), "from n on, behind one sample"),
    ("12.3", tile(("out + B * n + at", "out + B + at")), "from B on. It lies"),
    ("12.3", tile(("out + B * n + at", "out + at")), "from the same places"),
    ("12.3", tile(("out + B * n + at", "out + tl.num_programs(1) * SAMPLES * n + at")),
     "as if B were rounded up"),
    ("12.3", tile(("tl.load(w + sample, mask=sample < B)", "tl.load(w)")),
     "the weight of sample 0"),
    ("12.3", tile(("tl.load(w + sample, mask=sample < B)", "tl.load(w + at, mask=inside)")),
     "the weight is read at w + at"),
    ("12.3", tile(("tl.load(w + sample, mask=sample < B)", "tl.load(w + tl.program_id(1))")),
     "samples of a group get one weight"),
    ("12.3", tile(("tl.load(w + sample, mask=sample < B)", "tl.load(w + element)")),
     "the weight is read at w + element"),
    ("12.3", tile(("tl.load(ids + sample, mask=sample < B)", "sample")),
     "that of the place in the batch"),
    ("12.3", tile(("tl.load(ids + sample, mask=sample < B)",
                     "tl.load(ids + tl.program_id(1) + 0 * sample)")),
     "samples of a group have the same noise"),
    ("12.3", tile(("tl.load(ids + sample, mask=sample < B)", "tl.load(ids + 0 * sample)")),
     "that of ids[0]"),
    ("12.3", tile(("tl.program_id(0) * (BLOCK // 4) + tl", "tl")), "block starts at 0 in each"),
    ("12.3", tile(("tl.program_id(0) * (BLOCK // 4)", "tl.program_id(0) * BLOCK")),
     "which counts elements"),
    ("12.3", tile(("tl.program_id(0) * (BLOCK // 4)", "tl.program_id(1) * (BLOCK // 4)")),
     "counted with program_id(1)"),
    ("12.3", tile(("block = tl", "block = sample * (n // 4) + tl")), "counted through the batch"),
    ("12.3", tile(("k + 1", "k")), "that of step k"),
    ("12.3", tile(("tl.program_id(1) * SAMPLES", "tl.program_id(1)")),
     "not at j * SAMPLES"),
    ("12.3", tile(("tl.program_id(0) * BLOCK", "tl.program_id(0)")), "not at i * BLOCK"),
    ("12.3", tile(("tl.program_id(1) * SAMPLES", "tl.program_id(0) * SAMPLES"),
                    ("tl.program_id(0) * BLOCK", "tl.program_id(1) * BLOCK"),
                    ("tl.program_id(0) * (BLOCK // 4)", "tl.program_id(1) * (BLOCK // 4)")),
     "axes of the grid are exchanged"),
    ("12.3", tile(("at = sample * n + element", "at = sample * BLOCK + element")),
     "starts at s * BLOCK"),
    ("12.3", tile(("at = sample * n + element", "at = sample * B + element")),
     "starts at s * B here"),
    ("12.3", tile(("at = sample * n + element", "at = element * B + sample")),
     "with the samples side by side"),
    ("12.3", tile(("at = sample * n + element", "at = element + 0 * sample")),
     "does not contain the sample"),
    ("12.3", tile((" + c * z", "")), "there is no noise"),
    ("12.3", tile(("c * z", "z")), "without its factor c"),
    ("12.3", tile(("y = a * x0hat + b * x + c * z",
                     "y = tl.clamp(a * x0hat + b * x + c * z, -clip, clip)")),
     "the new state is clipped"),
    ("12.3", tile(("tl.clamp(p * x + q * g, -clip, clip)", "p * x + q * g")),
     "nothing is clipped"),
    ("12.3", tile(("tl.clamp(p * x + q * g, -clip, clip)",
                     "p * x + q * tl.clamp(g, -clip, clip)")),
     "the guided output g is clipped"),
    ("12.3", tile(("g = cond + weight", "g = null + weight")), "the other convention"),
    ("12.3", tile(("(cond - null)", "(null - cond)")), "the wrong sign"),
    ("12.3", tile((STORE, "xs = y")), "nothing is written into xs"),
    ("12.3", tile(("a * x0hat + b * x", "a * x + b * x0hat")), "a and b are exchanged"),
    ("12.3", tile(("a * x0hat + b * x", "x0hat")), "the guess with noise"),
    ("12.3", tile(("b * x + c * z", "b * (x + c * z)")), "b multiplies it too"),
    ("12.3", tile(("c * z", "c * c * z")), "by c squared"),
    ("12.3", tile((Z, ""), ("    x0hat", Z + "    x0hat"), (" + c * z", ""),
                    ("q * g, -clip", "q * g + c * z, -clip")), "added to the guess"),
    ("12.3", tile(("p * x + q * g", "p * x - q * g")), "the sign of q"),
    ("12.3", tile(("p * x + q * g", "q * x + p * g")), "p and q are exchanged"),
    ("12.3", tile(("-clip, clip", "0.0, clip")), "clipped to 0..clip"),
    ("12.3", tile(("seed, k + 1, sample_id", "seed + k, 0, sample_id")),
     "the step is added to the seed"),
    ("12.3", tile(("k + 1, sample_id", "sample_id, k + 1")),
     "the step and the number of the sample"),
    ("12.3", tile(("sample_id, block, 0", "block, sample_id, 0")),
     "the block and the number of the sample"),
    ("12.3", tile(("block, 0)", "block, 1)")), "the stream of training noise"),
    ("12.4", asks(compares=lambda B, n: False), "mixes by the other convention"),
    ("12.4", asks(weights=lambda B: torch.full((B,), 2.0)), "w[0] for all samples"),
    ("12.4", asks(sizes=((1, 5), (3, 7))), "64 places"),
    ("12.4", asks(w_read_after=True, compares_w=False), "reads w after the call"),
    ("12.4", asks(compares_out=False), "writes into its input"),
    ("12.4", asks(compares_w=False), "Its g is right, and w is changed"),
    ("12.4", asks(g_filled=0.0), "because g was 0"),
    ("12.4", without_frames, "writes one place behind g passes"),
    ("12.4", asks(before=False), "one place before g"),
    ("12.4", asks(g_frame=0.0), "writes 0 behind g"),
    ("12.4", asks(g_frame=torch.nan), "computes one place too many"),
    ("12.4", asks(sizes=((2, 8), (4, 40))), "until the end of a block of 8"),
    ("12.4", asks(sizes=((3, 7), (2, 48)), compares=lambda B, n: n == 48),
     "from the next multiple of 8"),
    ("12.4", asks(out_sides=(True, False)), "needs a frame, too"),
    ("12.4", asks(out_sides=(False, True)), "both sides of the frame around `out`"),
    ("12.4", asks(w_sides=(True, False)), "as you do for `out`"),
    ("12.4", asks(w_sides=(False, True)), "both sides of the frame around w"),
    ("12.4", asks(out_frame=(torch.nan, 3.0)), "reads one place behind `out`"),
    ("12.4", asks(out_frame=(3.0, torch.nan)), "reads one place before `out`"),
    ("12.4", asks(w_frame=(torch.nan, 9.0)), "one weight too many"),
    ("12.4", asks(w_frame=(9.0, torch.nan)), "reads one place before w"),
    ("12.4", passes_copies(of_out=True), "`out` itself and not the copy"),
    ("12.4", passes_copies(of_w=True), "pass w itself, and compare"),
    ("12.4", w_in_a_copy_that_is_compared, "w.clone() has no frame"),
    ("12.4", reads_w_after, "reads w after the call"),
    ("12.4", some_of_the_frame, "every place around g still"),
    ("12.4", asks(formula=lambda cond, null, w: null + w * (cond - null)),
     "your test expects null + w"),
    ("12.4", asks(formula=lambda cond, null, w: null + w * (null - cond)),
     "expects the null half first"),
    ("12.4", asks(formula=lambda cond, null, w: cond - w * (cond - null)),
     "expects cond - w"),
    ("12.4", frames_compared_by(torch.equal), "because NaN is not equal to NaN"),
    ("12.4", frames_compared_by(lambda x, y: (x == y).all()), "torch.equal and == are False"),
    ("12.4", asks(formula=lambda cond, null, w: cond + w), "own function, which is right"),
    ("12.5", letters(1, "A"), "number 1: both move"),
    ("12.5", letters(1, "B"), "number 1: 130"),
    ("12.5", letters(1, "D"), "number 1: on the smallest"),
    ("12.5", letters(1, "E"), "number 1: one of A to D"),
    ("12.5", letters(2, "A"), "number 2: both move"),
    ("12.5", letters(2, "C"), "number 2: in bfloat16"),
    ("12.5", letters(2, "D"), "number 2: on the smallest"),
    ("12.5", letters(2, "E"), "number 2: one of A to D"),
    ("12.5", letters(3, "B"), "number 3: the faster"),
    ("12.5", letters(3, "C"), "number 3: they do not"),
    ("12.5", letters(3, "D"), "number 3: both are launched"),
    ("12.5", letters(3, "E"), "number 3: the ratio"),
    ("12.5", letters(4, "A"), "number 4: the second has"),
    ("12.5", letters(4, "B"), "number 4: the second executes"),
    ("12.5", letters(4, "C"), "number 4: if the bytes"),
    ("12.5", letters(4, "E"), "number 4: one of A to D"),
    ("12.5", letters(5, "A"), "number 5: both read"),
    ("12.5", letters(5, "B"), "number 5: two warps"),
    ("12.5", letters(5, "C"), "number 5: then they"),
    ("12.5", letters(5, "D"), "number 5: both are launched"),
    ("12.5", letters(6, "B"), "number 6: the nine operations execute"),
    ("12.5", letters(6, "C"), "number 6: they do not"),
    ("12.5", letters(6, "D"), "number 6: nine launches"),
    ("12.5", letters(6, "E"), "number 6: 22 passes take"),
]  # fmt: skip


def by_hand(guided: Callable[..., None]) -> None:
    """Each number by itself, and a frame of one place."""
    for B, n in ((1, 1), (5, 17)):
        N, nan = B * n, torch.nan
        flat_out, flat_w = torch.full((2 * N + 2,), nan), torch.full((B + 2,), nan)
        flat_g = torch.full((N + 2,), 99.0)
        flat_out[1:-1], flat_w[1:-1] = torch.arange(2.0 * N) ** 2 % 31, torch.arange(1.0 * B)
        out, g = flat_out[1:-1].view(2 * B, n), flat_g[1:-1].view(B, n)
        given, weights = flat_out.tolist(), flat_w.tolist()
        guided(out, flat_w[1:-1], g)
        assert flat_g[0] == 99
        assert flat_g[-1] == 99
        for s in range(B):
            for e in range(n):
                cond, null = given[1 + s * n + e], given[1 + N + s * n + e]
                assert abs(g[s, e].item() - (cond + s * (cond - null))) < 1e-4
        assert np.array_equal(flat_out, np.array(given), equal_nan=True)
        assert np.array_equal(flat_w, np.array(weights), equal_nan=True)


RIGHT: list[tuple[str, Any]] = [
    ("12.1", 85.0),
    ("12.1", np.float32(130 - 45)),
    ("12.1", torch.tensor(85)),
    ("12.2", lambda turn: (turn & 0x3FFFFFFF) / 2**30 - 0.5),
    ("12.2", lambda turn: np.mod(turn / 2**30, 1) - 1 / 2),
    ("12.2", lambda turn: np.int32(((turn << 2) & 0xFFFFFFFF) - 2**31) * 2.0**-32),
    ("12.2", lambda turn: (turn - 2**30 * (turn >> 30) - 2**29) * 2.0**-30),
    ("12.3", tile()),
    ("12.3", tile(("tl.arange(0, SAMPLES)[:, None]", "tl.arange(0, SAMPLES)"),
                    ("tl.arange(0, BLOCK)[None, :]", "tl.arange(0, BLOCK)"),
                    ("at = sample * n + element", "at = sample[:, None] * n + element[None, :]"),
                    (INSIDE, "inside = (sample < B)[:, None] & (element < n)[None, :]"),
                    ("weight * (cond", "weight[:, None] * (cond"),
                    ("sample_id, block", "sample_id[:, None], block"))),
    ("12.3", tile(("cond + weight * (cond - null)", "(1 + weight) * cond - weight * null"),
                    ("tl.clamp(p * x + q * g, -clip, clip)",
                     "tl.minimum(tl.maximum(p * x + q * g, -clip), clip)"))),
    ("12.3", tile((INSIDE, "inside = (sample < B) & (element < n) & (at < B * n)"),
                    ("tl.program_id(0) * (BLOCK // 4) + tl", "tl.program_id(0) * BLOCK // 4 + tl"),
                    ("tl.load(w + sample, mask=sample < B)",
                     "tl.load(w + sample, mask=sample < B, other=0.0)"))),
    ("12.4", asks()),
    ("12.4", asks(sizes=((1, 1), (4, 33)), g_frame=-1e9, g_filled=5.0)),
    ("12.4", by_hand),
    ("12.5", "CBADEA"),
    ("12.5", "c, b, a, d, e, a"),
    ("12.5", ["C", "B", "A", "D", "E", "A"]),
    ("12.5", {1: "c", 2: "b", 3: "a", 4: "d", 5: "e", 6: "a"}),
]  # fmt: skip
