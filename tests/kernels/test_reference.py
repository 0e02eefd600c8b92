"""The reference against the formula in float64 NumPy; its refusals; the traffic it claims."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kernels import philox, reference, triton_noising, triton_step

COLUMNS = "pqabcdem"
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("w", [0.0, 2.0, -1.0, "each", None])
@pytest.mark.parametrize("clip", [math.inf, 0.7])
def test_against_numpy(
    dtype: torch.dtype, w: float | str | None, clip: float, case: Callable, numpy_step, assert_exact
) -> None:
    args = case((3, 2, 5), dtype, w, clip=clip)
    assert_exact(reference.guided_step(**args), numpy_step(**args))


def test_float64_is_float64(case: Callable, numpy_step) -> None:
    """Without noise, which is float32, a float64 step is right to a few of its own roundings."""
    args = case((3, 40), torch.float64)
    args["rows"][:, 4] = 0
    xs, x0hat = reference.guided_step(**args)
    exact = numpy_step(**args)
    np.testing.assert_allclose(xs.numpy(), exact.xs, rtol=0, atol=1e-13)
    np.testing.assert_allclose(x0hat.numpy(), exact.x0hat, rtol=0, atol=1e-13)


@pytest.mark.parametrize("column", range(8), ids=list(COLUMNS))
def test_every_column_alone(column: int, case: Callable) -> None:
    """What x_s gains when one number of the row grows by one, written out by hand."""
    args = case((3, 40), torch.float64)
    before = reference.guided_step(**args)[0]
    p, q, a, m = args["rows"][1, [0, 1, 2, 7]].tolist()
    args["rows"][1, column] += 1
    gain = reference.guided_step(**args)[0] - before
    x, cond, null = args["xt"], args["out"][:3], args["out"][3:]
    g = (1 + m * 2) * cond - m * 2 * null
    noise = philox.normal_numpy(args["seed"], args["sample_ids"].numpy(), 2, (40,))
    derivative = {
        "p": a * x,
        "q": a * g,
        "a": p * x + q * g,
        "b": x,
        "c": torch.from_numpy(noise),
        "d": null,
        "e": args["x0prev"],
        "m": a * q * 2 * (cond - null),
    }[COLUMNS[column]]
    # Noise is float32 and off by 2e-6 at most; all else is float64.
    np.testing.assert_allclose(gain, derivative, rtol=0, atol=2e-6 if column == 4 else 1e-12)


def test_zero_leaves_a_term_out(case: Callable) -> None:
    """Not multiplied by 0: a NaN in a tensor that the row does not use stays there."""
    args = case((2, 8), w=None)
    args["rows"][:, 4:7] = 0
    clean = reference.guided_step(**args)[0]
    args["x0prev"].fill_(math.nan)
    assert torch.equal(reference.guided_step(**args)[0], clean)


def test_mixed_already(case: Callable) -> None:
    """w = None on the mixed output is w on the two halves, for a row that ignores the null half."""
    args = case((3, 7), torch.float64, w=1.5)
    args["rows"][:, 5], args["rows"][:, 7] = 0, 1
    halves = reference.guided_step(**args)[0]
    cond, null = args["out"].chunk(2)
    mixed = reference.guided_step(**args | dict(out=2.5 * cond - 1.5 * null, w=None))[0]
    np.testing.assert_allclose(halves, mixed, rtol=0, atol=1e-13)


def test_looking_back_needs_a_past(case: Callable) -> None:
    args = case((2, 3)) | dict(x0prev=None)
    with pytest.raises(ValueError, match=r"row 1 looks back one step \(e = .*\); pass x0prev"):
        reference.guided_step(**args)


def test_x0hat_is_given_only_where_it_is_wanted(case: Callable) -> None:
    args = case((3, 7), clip=0.7)
    xs, x0hat = reference.guided_step(**args, want_x0=False)
    assert x0hat is None
    assert torch.equal(xs, reference.guided_step(**args)[0])


def test_k_may_stand_in_memory(case: Callable) -> None:
    args = case((3, 7))
    for k in range(3):
        wanted = reference.guided_step(**args | dict(k=k))
        got = reference.guided_step(**args | dict(k=torch.tensor(k)))
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("k", [3, -1, torch.tensor(3), torch.tensor(-1)], ids=str)
def test_k_outside_the_table(k: int | Tensor, case: Callable) -> None:
    """A negative one would be a row counted from the end."""
    with pytest.raises(ValueError, match=rf"k = {int(k)} is outside 0\.\.2"):
        reference.guided_step(**case((2, 3)) | dict(k=k))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite(bad: float, case: Callable) -> None:
    with pytest.raises(ValueError, match="w is not finite everywhere"):
        reference.guided_step(**case((2, 3)) | dict(w=torch.tensor([1.0, bad])))


def test_results_are_contiguous_however_the_inputs_lie(case: Callable) -> None:
    """With the same bits, so that the noise is of the element and not of its address."""
    args = case((3, 4, 6, 5), w="each")
    wanted = reference.guided_step(**args)
    for names in (("out",), ("xt", "out", "x0prev")):
        lying = {name: args[name].to(memory_format=torch.channels_last) for name in names}
        got = reference.guided_step(**args | lying)
        assert all(tensor is not None and tensor.is_contiguous() for tensor in got)
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


class Traffic(TorchDispatchMode):
    """Counts the tensors of `numel` or more elements that operations read and write."""

    def __init__(self, numel: int) -> None:
        super().__init__()
        self.numel, self.reads, self.writes = numel, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        view = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
        if not view:
            self.reads += sum(isinstance(a, Tensor) and a.numel() >= self.numel for a in args)
            self.writes += isinstance(result, Tensor) and result.numel() >= self.numel
        return result


@pytest.mark.slow  # the first dispatch mode of a process imports 900 modules of torch's
def test_traffic_is_what_the_docstring_says(
    case: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """11 passes that read and 8 that write; a kernel makes 3 and 1."""
    monkeypatch.setattr(philox, "normal", lambda seed, ids, step, shape: torch.randn(4, *shape))
    args = case((4, 100))
    args["rows"][:, 5:7] = 0
    with Traffic(400) as traffic:
        reference.guided_step(**args)
    assert (traffic.reads, traffic.writes) == (11, 8)
    assert "11 reads and 8 writes" in " ".join((reference.__doc__ or "").split())
    assert "11 reads and 8 writes" in " ".join((triton_step.__doc__ or "").split())


@pytest.mark.slow  # as above
def test_traffic_of_noising_is_what_the_kernels_docstring_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(philox, "normal", lambda seed, ids, step, shape, _: torch.randn(4, *shape))
    args = batch((4, 100), T=10) | dict(prediction="v")
    with Traffic(400) as traffic:
        reference.noised_batch(**args)
    told = " ".join((triton_noising.__doc__ or "").split())
    assert f"{traffic.reads} reads and {traffic.writes} writes" in told


# What a step of training shows the network


def batch(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, T: int = 1000) -> dict:
    """Arguments of `noised_batch`."""
    g = torch.Generator().manual_seed(len(shape))
    return dict(
        x0=torch.randn(shape, generator=g).to(dtype),
        y=torch.randint(0, 10, shape[:1], generator=g),
        alpha_bar=torch.linspace(1, 1e-4, T + 1, dtype=torch.float64),
        null=10,
        p_uncond=0.3,
        prediction="eps",
        seed=2**63 + 12345,
        step=7,
        sample_ids=torch.randint(0, 2**32, shape[:1], generator=g),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "velocity"])
def test_noising_against_numpy(prediction: str, dtype: torch.dtype) -> None:
    """One image at a time, each number from its own word of the generator."""
    args = batch((40, 3, 5), dtype) | dict(prediction=prediction)
    xt, t, y, target = reference.noised_batch(**args)
    ids, seed, step = args["sample_ids"].numpy(), args["seed"], args["step"]
    words = philox.words_numpy(seed, ids, step, 1, philox.TRAINING_CHOICE)[:, 0].tolist()
    eps = philox.normal_numpy(seed, ids, step, (3, 5), philox.TRAINING_NOISE)
    for i, (first, second, *_) in enumerate(words):
        time = (2 * first + 1) * 1000 // 2**33 + 1
        assert int(t[i]) == time
        assert int(y[i]) == (10 if (2 * second + 1) / 2**33 < 0.3 else int(args["y"][i]))
        abar, x0 = float(args["alpha_bar"][time]), args["x0"][i].double().numpy()
        signal, noise = math.sqrt(abar), math.sqrt(1 - abar)
        v = signal * eps[i] - noise * x0
        wanted = {"eps": eps[i], "x0": x0, "v": v, "velocity": eps[i] - x0}[prediction]
        # Four roundings of terms below 8, and the normal's own error; then one ulp of the dtype.
        for got, exact in ((xt[i], signal * x0 + noise * eps[i]), (target[i], wanted)):
            ulp = torch.finfo(dtype).eps * abs(exact)
            assert (abs(got.double().numpy() - exact) <= 2e-6 + 4e-6 + ulp).all()
    assert xt.dtype == target.dtype == dtype and t.dtype == y.dtype == torch.int64
    dropped = (y == 10).sum()
    assert 0 < dropped < 40


@pytest.mark.parametrize(("p_uncond", "share"), [(0.0, 0), (1.0, 1)])
def test_labels_are_dropped_never_or_always(p_uncond: float, share: int) -> None:
    _, _, y, _ = reference.noised_batch(**batch((500, 1)) | dict(p_uncond=p_uncond))
    assert (y == 10).double().mean() == share


def test_noise_and_choices_are_of_the_place_in_the_batch_and_of_the_step() -> None:
    args, order = batch((6, 4)), torch.tensor([3, 0, 5, 2, 1, 4])
    whole = reference.noised_batch(**args)
    moved = {name: args[name][order] for name in ("x0", "y", "sample_ids")}
    assert all(
        torch.equal(a, b[order])
        for a, b in zip(reference.noised_batch(**args | moved), whole, strict=True)
    )
    later = reference.noised_batch(**args | dict(step=8))
    assert (later[3] - whole[3]).abs().min() > 0 and not torch.equal(later[1], whole[1])


def test_first_and_last_time() -> None:
    """t = 1..T, so abar_0 is never shown: a table that is NaN there gives no NaN."""
    args = batch((2000, 1), T=3)
    args["alpha_bar"][0] = math.nan
    xt, t, _, _ = reference.noised_batch(**args)
    assert t.unique().tolist() == [1, 2, 3] and xt.isfinite().all()
