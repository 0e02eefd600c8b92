r"""Step 22. Swap in: NumPy, torch, a trained UNet and the fused kernel, one sample.

**Claim.** A sampler knows of a model that $out = model(x_t, t, y)$, of a solver its rows, of noise
who and when it is for. A sample is a function of these: not of its batch, nor of the machine.

**Noise.** A generator hands out numbers in turn: others, to whoever comes earlier. Here the seed is
the key of a cipher (Philox), a number's place, step and sample are the message, and two words of
32 bits of the answer make two uniforms $u, v$ in $(0, 1]$, then two normals:

$$ (z_1, z_2) = \sqrt{-2 \log u} (\cos 2 \pi v, \sin 2 \pi v) $$ (22.1)

For the density turn to polar coordinates: $r^2 = -2 \log u$ is exponential of mean 2, the angle is
uniform. Of $u = e^{-r^2 / 2}$, $v$, the map (22.1) has the Jacobian

$$ |\partial(z_1, z_2) / \partial(u, v)| = 2 \pi / u $$ (22.2)

whose inverse is $e^{-r^2 / 2} / (2 \pi)$: the density of two independent normals. Row $k$ of sample
$i$ gets the numbers of step $k + 1$ (0 is where the chain starts). With all of these known,

$$ x_i = F(model, rows, w, y_i, z_{i,0}, \dots, z_{i,n}) $$ (22.3)

and a batch, an order or a machine does not occur.

**Four swaps** (one seed, labels and $w$): the oracle in NumPy float64; the same oracle as a torch
module in `minicfg.sample`; the fused kernel in the place of its steps; a UNet trained on the toy.
The first three agree to 2e-6, float32's error in the noise itself: later rows shrink what earlier
ones got wrong. The fourth is another model, and differs by its error, which $w$ multiplies (15.6).

**Boundary.** Convolutions may round a batch of another size differently: *model* does so, not $F$.

**Source.** Box and Muller 1958, Ann. Math. Stat. 29:610; Salmon et al. 2011, SC'11 (Philox).
"""

# pyright: basic
from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kernels import philox
from minicfg import sample, solvers, train
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.schedule import Schedule as TorchSchedule
from minicfg.threads import threads
from tutorial.contract import Denoiser
from tutorial.step01_toy_data import GaussianMixture, three_gaussians
from tutorial.step02_forward import Schedule
from tutorial.step05_best_guess import oracle_eps
from tutorial.step17_solvers import ddpm, run

if TYPE_CHECKING:
    from jaxtyping import Float, Int

T = 40
STEPS = 1000
SEED = 7
TOY = three_gaussians()
SMALL = GaussianMixture(TOY.means / 4, TOY.covs / 16, TOY.weights)  # inside a picture's -1..1


def box_muller(u: Float[np.ndarray, " n"], v: Float[np.ndarray, " n"]) -> Float[np.ndarray, "2 n"]:
    """Two normals from two uniforms, `u` in (0, 1]."""
    radius = np.sqrt(-2 * np.log(u))
    angle = 2 * np.pi * v
    z1 = radius * np.cos(angle)  # (22.1), whose Jacobian is (22.2)
    z2 = radius * np.sin(angle)
    return np.stack([z1, z2])


@dataclass
class Noise:
    """In the place of a generator: draw k is step k of samples `ids`."""

    ids: Int[np.ndarray, " n"]
    step: int = -1

    def standard_normal(self, size: tuple[int, ...]) -> Float[np.ndarray, "n D"]:
        """Normals for each sample, (n, D)."""
        self.step += 1
        return philox.normal_numpy(SEED, self.ids, self.step, size[1:])  # (22.3)


@dataclass(frozen=True)
class InTorch:
    """A NumPy denoiser as a torch one: the adapter, all of it."""

    model: Denoiser
    num_classes: int = 3
    prediction: Any = "eps"

    def __call__(self, xt: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The output at `xt` (n, 2), `t` (n,) all alike, `y` (n,)."""
        out = self.model(xt.double().numpy(), int(t[0]), y.numpy())
        return torch.from_numpy(out).to(xt.dtype)


ORACLE = InTorch(oracle_eps(SMALL, Schedule.linear(T)))


def in_minicfg(model: Any, w: float, ids: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
    """`minicfg.sample`, of points or of pictures; sample i is asked for class i mod 3."""
    table = solvers.ddpm(TorchSchedule.linear(T))
    shape = (2,) if model is ORACLE else (2, 1, 1)
    i = torch.from_numpy(ids)
    x = sample(model, i % 3, table, shape=shape, w=w, seed=SEED, sample_ids=i)
    return x.flatten(1).double().numpy()


def by_the_kernel(w: float, ids: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
    """The same loop, of the oracle, each step by the Triton kernel; interpreted without a GPU."""
    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")  # before the kernel is defined
    from kernels.triton_step import guided_step

    table = solvers.ddpm(TorchSchedule.linear(T))
    sample_ids = torch.from_numpy(ids)
    both = torch.cat([sample_ids % 3, torch.full_like(sample_ids, 3)])
    x = philox.normal(SEED, sample_ids, 0, (2,))
    for k, t in enumerate(table.t):
        out = ORACLE(torch.cat([x, x]), t.expand(len(both)), both)
        x, _ = guided_step(x, out, table.rows, k, w, seed=SEED, sample_ids=sample_ids)
    return x.double().numpy()


@cache
def trained(steps: int) -> Any:
    """A UNet of one level, to whom a point is a picture of one pixel and two channels."""
    x0, y = SMALL.sample(20_000, np.random.default_rng(0))
    pixels = torch.from_numpy(x0.clip(-1, 1)).float()[:, :, None, None]  # clips 1 in 100,000
    points = Dataset(pixels, torch.from_numpy(y), ("top", "left", "right"), "three Gaussians")
    config = TrainConfig(schedule="linear", T=T, steps=steps, batch=64, width=16, multipliers=(1,))
    with threads(1):  # so small a network gains nothing by a second
        state = train(points, config)
    return state.ema.module


@cache
def swaps(w: float, n: int = 150) -> dict[str, Float[np.ndarray, "n 2"]]:
    """The same samples four times."""
    ids = np.arange(n)
    table = ddpm(Schedule.linear(T))
    return {
        "NumPy, oracle": run(ORACLE.model, ids % 3, table, w, Noise(ids)),
        "torch, oracle": in_minicfg(ORACLE, w, ids),
        "fused, oracle": by_the_kernel(w, ids),
        "torch, trained UNet": in_minicfg(trained(STEPS), w, ids),
    }


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step22_swap_in")
