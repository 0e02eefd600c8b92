"""Noise as a function of (seed, sample, step): Philox4x32-10 and Box-Muller, in NumPy and torch.

Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) is a bijection of a
128-bit counter under a 64-bit key. Nothing is carried from draw to draw, so any element of any
sample's noise at any step can be computed by itself, in any order, on any device:

    key     = the seed, low word first
    counter = (block, step, sample id, stream),   block = element // 4

The four words that come out make the four normals of that block, by Box-Muller:

    z[0], z[1] = r(w[0]) (cos, sin)(2 pi w[1] / 2^32)        r(w) = sqrt(-2 log u(w))
    z[2], z[3] = r(w[2]) (cos, sin)(2 pi w[3] / 2^32)        u(w) = f32(f32(w) / 2^32 + 2^-33)

`u`, about (w + 1/2) / 2^32, is rounded to float32 where the formula has f32, by definition. Near
u = 1 the last bit of u changes -log u by a large factor, so NumPy, torch and Triton have to round
it in the same way. |z| is at most 6.77.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, SupportsIndex, TypeVar

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt

# What a draw is for. Two purposes never share a counter, whatever their seed, sample and step.
SAMPLING = 0
TRAINING_NOISE = 1
TRAINING_CHOICE = 2
DATA_ORDER = 3
DATA_IMAGES = 4
GUIDANCE_WEIGHT = 5

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85  # golden ratio and sqrt(3) - 1, in 32 bits
_WORD = 0xFFFFFFFF

Words = TypeVar("Words", np.ndarray, Tensor)


def as_integer(value: object) -> int | None:
    """A Python, NumPy or torch integer as a Python integer; None for anything else.

    A bool is not taken for a number. A tensor or an array must have no dimensions.
    """
    if isinstance(value, (np.ndarray, np.generic, Tensor)):
        value = value.tolist()
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def check_seed(seed: SupportsIndex) -> int:
    """Return `seed` as a Python integer in 0..2^64-1, which is what the key holds."""
    integer = as_integer(seed)
    if integer is None or not 0 <= integer < 2**64:
        raise ValueError(f"seed = {seed!r} is not an integer in 0..2^64-1")
    return integer


def _check_counter(sample_ids: np.ndarray | Tensor, step: int | Tensor, stream: int) -> None:
    """Refuse what does not fit into the words of the counter, or is not an integer."""
    if torch.compiler.is_compiling():  # values are not known while a function is traced
        return
    integer = as_integer(step)
    if integer is None:
        raise ValueError(f"step = {step!r} is not an integer; pass one in 0..2^32-1")
    if not 0 <= integer <= _WORD:
        raise ValueError(f"step = {integer} is outside 0..2^32-1")
    integer = as_integer(stream)
    if integer is None or not 0 <= integer <= _WORD:
        raise ValueError(f"stream = {stream!r} is not an integer in 0..2^32-1")
    if isinstance(sample_ids, Tensor):
        whole = not (sample_ids.is_floating_point() or sample_ids.is_complex())
        whole = whole and sample_ids.dtype != torch.bool
    else:
        whole = sample_ids.dtype.kind in "iu"
    if not whole:
        raise ValueError(f"sample_ids is {sample_ids.dtype}; pass integers in 0..2^32-1")
    if len(sample_ids) and not (int(sample_ids.min()) >= 0 and int(sample_ids.max()) <= _WORD):
        raise ValueError("sample_ids must lie in 0..2^32-1")


def _check_sizes(name: str, value: object, sizes: Sequence[int]) -> None:
    """Refuse a shape or a number of draws with a size below 0, or one that is not an integer."""
    if torch.compiler.is_compiling():
        return
    if not all(as_integer(size) is not None and size >= 0 for size in sizes):
        raise ValueError(f"{name} = {value!r}; pass integers of 0 or more")


def philox4x32(c0: Words, c1: Words, c2: Words, c3: Words, seed: int) -> tuple[Words, ...]:
    """Ten rounds on four counter words; NumPy uint64 and torch int64 arrays take the same lines.

    The counter's words broadcast, so that the first two rounds of a batch are computed for one
    block or one sample at a time. A product of two words may pass 2^63: torch's int64 then wraps,
    but the low 64 bits are right. `>> 32` is an arithmetic shift there, which repeats the sign bit,
    and the mask removes the copies. `c1` and `c3` keep all 64 bits between rounds, because the next
    round masks the result.
    """
    k0, k1 = seed & _WORD, seed >> 32
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = (p1 >> 32) ^ c1, (p0 >> 32) ^ c3
        c0 ^= k0
        c2 ^= k1
        c0 &= _WORD
        c2 &= _WORD
        c1, c3 = p1, p0
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1 & _WORD, c2, c3 & _WORD


def words_numpy(
    seed: int, sample_ids: Int[np.ndarray, " B"], step: int, blocks: int, stream: int = SAMPLING
) -> UInt[np.ndarray, "B blocks 4"]:
    """The uint32 words of `blocks` blocks a sample."""
    return _words_numpy(seed, sample_ids, step, blocks, stream).astype(np.uint32)


def words(
    seed: int,
    sample_ids: Int[Tensor, " B"],
    step: int | Int[Tensor, ""],
    blocks: int,
    stream: int = SAMPLING,
) -> Int[Tensor, "B blocks 4"]:
    """The same words in torch, as int64 in 0..2^32-1, on the device of `sample_ids`.

    On the CPU NumPy computes them, because its overhead per operation is half of torch's.
    """
    if sample_ids.device.type == "cpu" and not torch.compiler.is_compiling():
        w = _words_numpy(seed, sample_ids.numpy(), step, blocks, stream)
        return torch.from_numpy(w.view(np.int64))
    return _words_torch(seed, sample_ids, step, blocks, stream)


def _words_numpy(
    seed: int, sample_ids: np.ndarray, step: int | Tensor, blocks: int, stream: int
) -> np.ndarray:
    seed = check_seed(seed)
    _check_counter(sample_ids, step, stream)
    c0 = np.arange(blocks, dtype=np.uint64)
    c1 = np.array([int(step)], np.uint64)
    c2 = sample_ids.astype(np.uint64)[:, None]
    c3 = np.array([stream], np.uint64)
    return np.stack(philox4x32(c0, c1, c2, c3, seed), axis=-1)


def _words_torch(
    seed: int, sample_ids: Tensor, step: int | Tensor, blocks: int, stream: int
) -> Tensor:
    seed = check_seed(seed)
    _check_counter(sample_ids, step, stream)
    c0 = torch.arange(blocks, device=sample_ids.device)
    c1 = torch.zeros_like(c0[:1]) + step
    c3 = torch.full_like(c0[:1], stream)
    return torch.stack(philox4x32(c0, c1, sample_ids.long()[:, None], c3, seed), dim=-1)


def normal_numpy(
    seed: int,
    sample_ids: Int[np.ndarray, " B"],
    step: int,
    shape: Sequence[int],
    stream: int = SAMPLING,
) -> Float[np.ndarray, "B *D"]:
    """Standard normals of `shape` for each sample, float64: the definition."""
    _check_sizes("shape", shape, shape)
    n = math.prod(shape)
    blocks = -(-n // 4)
    w = words_numpy(seed, sample_ids, step, blocks, stream)
    u = w[..., 0::2].astype(np.float32) * np.float32(2**-32) + np.float32(2**-33)
    r = np.sqrt(-2 * np.log(u.astype(np.float64)))
    angle = 2 * np.pi * 2.0**-32 * w[..., 1::2]
    z = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=-1)
    return z.reshape(len(sample_ids), 4 * blocks)[:, :n].reshape(len(sample_ids), *shape)


def normal(
    seed: int,
    sample_ids: Int[Tensor, " B"],
    step: int | Int[Tensor, ""],
    shape: Sequence[int],
    stream: int = SAMPLING,
) -> Float[Tensor, "B *D"]:
    """Standard normals of `shape` for each sample, float32, on the device of `sample_ids`.

    Args:
        seed: the key, 0..2^64-1.
        sample_ids: the samples' numbers, 0..2^32-1, in any order.
        step: 0..2^32-1; or a tensor that holds it.
        shape: of one sample, up to 2^34 elements.
        stream: the purpose of the noise; one of this module's six constants.

    Raises:
        ValueError: naming the argument that is not an integer or is outside its range.
    """
    _check_sizes("shape", shape, shape)
    n = math.prod(shape)
    w = words(seed, sample_ids, step, -(-n // 4), stream)
    minus_r = w[..., 0::2].float().mul_(2**-32).add_(2**-33).log_().mul_(-2).sqrt_().neg_()
    # The angle minus pi lies in [-pi, pi), where float32 is more accurate than in [0, 2 pi): it
    # loses at most 2^-25 of pi. Subtracting pi negates sine and cosine, and r is negated, too.
    angle = (w[..., 1::2] - 2**31).float().mul_(2 * math.pi * 2**-32)
    z = torch.stack([minus_r * torch.cos(angle), minus_r * torch.sin(angle)], dim=-1)
    return z.flatten(1)[:, :n].reshape(len(sample_ids), *shape)


def uniform(
    seed: int, sample_ids: Int[Tensor, " B"], step: int, n: int, stream: int
) -> Float[Tensor, "B n"]:
    """`n` uniforms in (0, 1) for each sample, float64, each from one 32-bit word."""
    _check_sizes("n", n, (n,))
    w = words(seed, sample_ids, step, -(-n // 4), stream)
    return ((w.double() + 0.5) * 2**-32).flatten(1)[:, :n]
