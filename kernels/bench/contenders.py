"""The ways to compute one solver step that `kernels.bench.run` times, and a check of the fused one.

    copy        a device-to-device copy of as many bytes as the fused step moves: the memory's speed
    eager       the step in nine operations of torch, its coefficients plain numbers
    compiled    the same function under torch.compile, its coefficients compiled in
    fused       `kernels.guided_step`, its coefficients a row on the device

Each but the copy runs twice: with noise of its own, and with noise given in a tensor. For the
kernel, given noise is a row with c = 0 and e = c, and `x0prev` is the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels import guided_step, reference

W, CLIP, SEED = 2.0, 1.0, 7
# A DDPM step from abar = 0.5 to abar = 0.6, eps-prediction: (p, q, a, b, c, d, e, m).
_P, _ALPHA = 0.5**-0.5, 0.5 / 0.6
_B, _C = _ALPHA**0.5 * 0.4 / 0.5, ((1 - _ALPHA) * 0.4 / 0.5) ** 0.5
ROW = (_P, -1.0, 0.6**0.5 * (1 - _ALPHA) / 0.5, _B, _C, 0.0, 0.0, 1.0)
GIVEN_ROW = (*ROW[:4], 0.0, 0.0, ROW[4], 1.0)
QUIET_ROW = (*ROW[:4], 0.0, 0.0, 0.0, 1.0)


def plain_step(xt: Tensor, out: Tensor, z: Tensor) -> Tensor:
    """The step in nine operations, one of which draws `z`: 13 reads and 9 writes of a tensor."""
    p, q, a, b, c = ROW[:5]
    cond, null = out.chunk(2)
    g = torch.add(cond, cond - null, alpha=W)
    x0hat = torch.add(p * xt, g, alpha=q).clamp(-CLIP, CLIP)
    return torch.add(torch.add(a * x0hat, xt, alpha=b), z, alpha=c)


def plain_step_own(xt: Tensor, out: Tensor) -> Tensor:
    """The same with noise that torch draws."""
    return plain_step(xt, out, torch.randn_like(xt))


@dataclass(frozen=True)
class Problem:
    """The tensors of one step: a batch of samples, the network's output, and given noise."""

    xt: Tensor
    out: Tensor
    z: Tensor
    ids: Tensor

    @classmethod
    def of(cls, shape: Sequence[int], dtype: torch.dtype, device: str) -> Problem:
        """Random tensors from a fixed seed; x_t has the shape (B, *D)."""
        torch.manual_seed(SEED)
        B, *D = shape
        xt, z = (torch.randn(shape, device=device).to(dtype) for _ in range(2))
        out = torch.randn(2 * B, *D, device=device).to(dtype)
        return cls(xt, out, z, torch.arange(B, device=device))

    def step(self, row: Tensor, given: bool = False) -> Tensor:
        """x_s by `kernels.guided_step`, which runs the Triton kernel on CUDA tensors."""
        return guided_step(
            self.xt,
            self.out,
            row,
            0,
            W,
            seed=SEED,
            sample_ids=self.ids,
            x0prev=self.z if given else None,
            clip=CLIP,
            want_x0=False,
        )[0]


def worst_error(shape: Sequence[int], dtype: torch.dtype, device: str, given: bool) -> float:
    """The largest error of a step, divided by what float32 arithmetic and `dtype` allow.

    The error is measured against the reference in float64 on the CPU. Allowed are one ulp of the
    output, 15 roundings of the size of the terms, and 4e-6 of a normal, because the normals on
    either side are accurate to 2e-6.
    """
    p = Problem.of(shape, dtype, device)
    row = torch.tensor([GIVEN_ROW if given else ROW], dtype=torch.float64)
    got = p.step(row.to(device, torch.float32), given).double().cpu()
    xt, out, z = (tensor.double().cpu() for tensor in (p.xt, p.out, p.z))
    ids = p.ids.cpu()
    wanted, _ = reference.guided_step(
        xt, out, row, 0, W, seed=SEED, sample_ids=ids, x0prev=z, clip=CLIP
    )
    P, q, a, b, c, _, e, _ = row[0].abs().tolist()
    cond, null = out.abs().chunk(2)
    x0hat = P * xt.abs() + q * ((1 + W) * cond + W * null)
    terms = a * x0hat + b * xt.abs() + e * z.abs()
    allowed = torch.finfo(dtype).eps * wanted.abs() + 15 * 2**-24 * terms + 4e-6 * c
    return float(((got - wanted).abs() / allowed).max())


def check(device: str) -> dict[str, float]:
    """The largest error by dtype and noise, over sizes; stops if one is larger than allowed."""
    worst: dict[str, float] = {}
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for given in (False, True):
            name = f"{str(dtype)[6:]}, {'given' if given else 'own'} noise"
            shapes = ((1, 1, 32, 32), (5, 3, 7, 11), (3, 4, 64, 64))
            worst[name] = max(worst_error(shape, dtype, device, given) for shape in shapes)
    wrong = {name: error for name, error in worst.items() if not error <= 1}
    if wrong:
        raise SystemExit(
            f"the step is wrong, so it is not timed; errors, divided by the allowed ones: {wrong}"
        )
    return worst


def contenders(p: Problem) -> dict[str, tuple[int, Callable[[], object]]]:
    """Every way to compute the step on a GPU, and its traffic in tensors of x_t's size."""
    torch.compiler.reset()  # without it, the eighth size would run eagerly
    step = torch.compile(plain_step, fullgraph=True, dynamic=False)
    step_own = torch.compile(plain_step_own, fullgraph=True, dynamic=False)
    row, given_row = (torch.tensor([r], device=p.xt.device) for r in (ROW, GIVEN_ROW))
    copied = torch.empty_like(p.out)
    return {
        "copy": (4, lambda: copied.copy_(p.out)),
        "eager": (22, lambda: plain_step_own(p.xt, p.out)),
        "compiled": (4, lambda: step_own(p.xt, p.out)),
        "fused": (4, lambda: p.step(row)),
        "eager, given": (21, lambda: plain_step(p.xt, p.out, p.z)),
        "compiled, given": (5, lambda: step(p.xt, p.out, p.z)),
        "fused, given": (5, lambda: p.step(given_row, given=True)),
    }


def diffusers(kind: str, p: Problem) -> Callable[[], Tensor]:
    """Guidance and a step as users of diffusers write them, in the middle of 50 steps."""
    import diffusers  # pyright: ignore[reportMissingImports]

    scheduler = getattr(diffusers, f"{kind}Scheduler")(
        1000, beta_schedule="squaredcos_cap_v2", clip_sample=True
    )
    scheduler.set_timesteps(50)

    def run() -> Tensor:
        cond, null = p.out.chunk(2)
        guided = null + (1 + W) * (cond - null)
        return scheduler.step(guided, scheduler.timesteps[25], p.xt).prev_sample

    return run
