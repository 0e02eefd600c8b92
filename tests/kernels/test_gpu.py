"""What only a GPU can show of the kernels: TRITON_INTERPRET=0 python -m pytest tests/kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import kernels
from kernels import philox, reference
from tests.kernels.device import COMPILED, there_and_back

pytestmark = pytest.mark.skipif(not COMPILED, reason="needs a GPU and TRITON_INTERPRET=0")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_what_is_called_with_cuda_tensors_is_the_kernel(
    dtype: torch.dtype, case: Callable, numpy_step, assert_exact
) -> None:
    args = case((5, 3, 20, 20), dtype, w="each", clip=1.5)
    assert_exact(there_and_back(kernels.guided_step)(**args), numpy_step(**args))


def test_float64_is_the_reference(case: Callable) -> None:
    """To the bit, but for its noise, which is made in float32 by another device's library."""
    args = case((3, 2, 9), torch.float64)
    args["rows"][:, 4] = 0
    got, wanted = there_and_back(kernels.guided_step)(**args), reference.guided_step(**args)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)  # of numbers below 30


@pytest.mark.parametrize("where", [philox.normal, None], ids=["torch", "Triton"])
def test_noise_is_that_of_the_cpu(where: Callable | None, case: Callable) -> None:
    """Every one of 2^22 normals, by torch on the GPU and by the kernel, within 2e-6."""
    ids, shape = torch.tensor([0, 77, 2**31, 2**32 - 1]), (4, 512, 512)
    wanted = philox.normal_numpy(7, ids.numpy(), 3, shape)
    if where:
        got = philox.normal(7, ids.cuda(), 3, shape).cpu()
    else:
        args = case((4, *shape), w=None, prev=False) | dict(seed=7, k=2, sample_ids=ids)
        args["rows"].zero_()[:, 4] = 1
        got = there_and_back(kernels.guided_step)(**args)[0]
    np.testing.assert_allclose(got.double().numpy(), wanted, rtol=0, atol=2e-6)


def test_samples_past_2_to_the_31() -> None:
    """The last of three samples of 2^30 and some elements, and its bits when it is alone.

    Alone, no address passes 2^31. Sixteen bits an element, 26 GB in all.
    """
    n = 2**30 + 1032
    if torch.cuda.mem_get_info()[0] < 40 * 2**30:
        pytest.skip("needs 40 GB")
    row = torch.tensor([[1.1, -0.4, 0.5, 0.6, 0.3, 0.0, 0.0, 1.0]], device="cuda")
    xt = torch.empty(3, n, dtype=torch.bfloat16, device="cuda").normal_()
    out = torch.empty(6, n, dtype=torch.bfloat16, device="cuda").normal_()
    ids = torch.tensor([5, 6, 7], device="cuda")

    def step(x: torch.Tensor, o: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        given = dict(seed=3, sample_ids=ids, clip=2.0, want_x0=False)
        return kernels.guided_step(x, o, row, 0, 2.0, **given)[0]

    together, alone = step(xt, out, ids), step(xt[2:], out[2::3].contiguous(), ids[2:])
    assert torch.equal(together[2:], alone)
    assert bool(alone.isfinite().all()) and float(alone.float().std()) > 0.5


def test_a_recorded_step_is_every_step(case: Callable) -> None:
    """As the sampler has it: k counts on the device, and one graph is replayed along the table."""
    args = {name: v.cuda() if hasattr(v, "cuda") else v for name, v in case((3, 40)).items()}
    wanted = [kernels.guided_step(**args | dict(k=k))[0] for k in range(3)]
    k = torch.zeros((), dtype=torch.int64, device="cuda")
    args |= dict(k=k)
    kernels.guided_step(**args)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        xs = kernels.guided_step(**args)[0]
        k.add_(1)
    k.zero_()
    for each in wanted:
        graph.replay()
        assert torch.equal(xs, each)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "velocity"])
def test_a_training_batch(prediction: str) -> None:
    """Time and label to the bit, image and target to the errors of either side's normal."""
    given = dict(null=10, p_uncond=0.3, prediction=prediction, seed=5, step=9)
    x0 = torch.randn((64, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    y, ids = torch.arange(64) % 10, torch.arange(64)
    alpha_bar = torch.linspace(1, 1e-4, 1001, dtype=torch.float64)
    got = there_and_back(kernels.noised_batch)(x0, y, alpha_bar, sample_ids=ids, **given)
    wanted = reference.noised_batch(x0, y, alpha_bar, sample_ids=ids, **given)
    for i in (1, 2):
        assert torch.equal(got[i], wanted[i])
    for i in (0, 3):
        torch.testing.assert_close(got[i], wanted[i], rtol=0, atol=8e-6)
