r"""Step 22. Swap in: one sample from NumPy, torch and a fused kernel, then a trained network

**The question.** So far every chain ran in NumPy, in double precision, and mostly with exact
predictions. A program for images uses torch, single precision, a kernel on a GPU and a trained
network. How can we know that the second program runs the same sampler as the first? We could
compare means and variances of many samples. But a mean is known only to its standard error, which
is the standard deviation divided by the root of the number of samples. A mistake that moves the
mean by a ten-thousandth of a standard deviation is only one standard error with $10^8$ samples. To
see it at three standard errors takes nine times as many. A comparison of single samples is much
more sensitive. Two correct programs must return the same sample, up to rounding, if they use the
same noise. This lesson makes the noise comparable, derives how rounding errors grow, and exchanges
the parts of the program one by one.

**A generator depends on the order.** A generator of random numbers has a state, and each draw
changes it. With `numpy.random.default_rng(7)` a batch of three points starts with $(0.001, 0.299)$,
$(-0.274, -0.891)$ and $(-0.455, -0.992)$. If we draw the third point alone, from the same seed, it
receives the first numbers, $(0.001, 0.299)$. So the noise depends on the samples that come earlier
in the batch, and a GPU with thousands of threads has no natural order at all.

**Noise as a function.** The remedy is a function without a state. Philox (Salmon et al. 2011) maps
a key of 64 bits and a counter of 128 bits to four words of 32 bits. For a fixed key it is a
bijection of the counters, and its outputs pass the usual tests of randomness. The seed is the key.
The counter consists of four numbers: which four elements of the sample, which step of the chain,
which sample, and for which purpose. Any element of the noise can be computed alone, on any device.

A word $W$ is an integer from 0 to $2^{32} - 1$. From two words $W_1$ and $W_2$ we make two uniform
numbers, $u = (W_1 + 1/2) / 2^{32}$ and $v = W_2 / 2^{32}$. (Here $u$ is not the time of step 21,
and $v$ is not the velocity of step 5.) The half keeps $u$ away from 0, because a logarithm follows.
(All programs round $u$ to single precision, so that they take the logarithm of the same number.)
The method of Box and Muller turns them into two normal numbers:

$$ (z_1, z_2) = \sqrt{-2 \log u} (\cos 2 \pi v, \sin 2 \pi v) $$ (22.1)

Why are they normal and independent? The formula maps the square of all $(u, v)$ to the plane. It is
one-to-one, because $u$ determines the radius and $v$ the angle. So the density of $(z_1, z_2)$ is
the density of $(u, v)$ divided by the factor by which the map enlarges areas. The density of
$(u, v)$ is 1. In polar coordinates the radius is $r = \sqrt{-2 \log u}$ and the angle is
$\theta = 2 \pi v$. A small area in the plane is $r \, dr \, d\theta$, and

$$ |dr / du| = 1 / (u r), \quad d\theta / dv = 2 \pi $$

The product of $r$ with the two derivatives is the factor:

$$ |\partial(z_1, z_2) / \partial(u, v)| = 2 \pi / u $$ (22.2)

Its reciprocal is $u / (2 \pi)$. By (22.1) $z_1^2 + z_2^2 = -2 \log u$, so
$u = \exp(-(z_1^2 + z_2^2) / 2)$. Hence the density is
$\exp(-z_1^2 / 2) \exp(-z_2^2 / 2) / (2 \pi)$, the product of two standard normal densities.

An example: for the seed 7, sample 2 and step 0 the first two words are 4,045,657,945 and
3,654,806,341. They give $u = 0.9420$, $v = 0.8510$ and $r = 0.3458$, and the normal numbers are
$(0.2049, -0.2786)$. Sample 2 receives them in every batch. Since $u$ is at least $2^{-33}$, no
number is larger than $\sqrt{66 \log 2} = 6.76$ in absolute value. A normal number exceeds this with
the probability $1.3 \cdot 10^{-11}$.

**A sample is a function.** Let $z_{i, k}$ be the noise of sample $i$ and step $k$. The chain starts
from $z_{i, 0}$, and row $k = 0, 1, \dots, n - 1$ uses $z_{i, k + 1}$. All other arguments of step
17's loop are the model, the rows, the weight and the label. With a function $F$ for the whole loop,

$$ x_i = F(model, rows, w, y_i, z_{i,0}, \dots, z_{i,n}) $$ (22.3)

The batch, and the order of the samples in it, do not occur on the right. In exact arithmetic the
machine would not occur either. On real machines the logarithm, the cosine and the order of the
operations inside a sum differ in the last bits. So we need to know what becomes of a small error.

**What becomes of a rounding error.** Suppose that the state $x_t$ has an error $e_t$. We take
Gaussian data $N(\mu, S)$ in one dimension, exact predictions, $w = 0$ and the rows of `ddpm` (step
17). By step 17 the row is linear in the state, and it multiplies the error by $a J_t + b$, with
$J_t = \sqrt{\bar\alpha_t} S / C_t$ and $C_t = \bar\alpha_t S + 1 - \bar\alpha_t$. We insert the
numbers of the row, $a = \sqrt{\bar\alpha_s} (1 - \alpha_{t|s}) / (1 - \bar\alpha_t)$ and
$b = \sqrt{\alpha_{t|s}} (1 - \bar\alpha_s) / (1 - \bar\alpha_t)$, and use
$\bar\alpha_t = \alpha_{t|s} \bar\alpha_s$:

$$ a J_t + b = \sqrt{\alpha_{t|s}} B / ((1 - \bar\alpha_t) C_t) $$
$$ B = \bar\alpha_s (1 - \alpha_{t|s}) S + (1 - \bar\alpha_s) C_t $$

In the numerator $B$ we insert $C_t$ and collect the terms with $S$. Their factor is
$\bar\alpha_s (1 - \alpha_{t|s}) + (1 - \bar\alpha_s) \bar\alpha_t$, which is
$\bar\alpha_s (1 - \bar\alpha_t)$. The other terms are $(1 - \bar\alpha_s) (1 - \bar\alpha_t)$.
Together:

$$ B = (1 - \bar\alpha_t) (\bar\alpha_s S + 1 - \bar\alpha_s) = (1 - \bar\alpha_t) C_s $$

So one row changes the error to

$$ e_s = \sqrt{\alpha_{t|s}} (C_s / C_t) e_t $$ (22.4)

The factors of all rows from $t$ to 0 are multiplied. The roots give $\sqrt{\bar\alpha_t}$, and in
the quotients everything cancels except $C_0 = S$ and $C_t$:

$$ e_0 = \sqrt{\bar\alpha_t} (S / C_t) e_t = J_t e_t $$ (22.5)

At $t = 0$ the slope $J_t$ is 1, and at the noise end it is nearly 0. Can it exceed 1? Insert $C_t$
and collect terms: $1 - J_t = (1 - \sqrt{\bar\alpha_t}) (1 + \sqrt{\bar\alpha_t} -
\sqrt{\bar\alpha_t} S) / C_t$. For $S \le 2$ the second bracket is at least
$1 - \sqrt{\bar\alpha_t}$, so it is not negative. *So for $S \le 2$ no error of a state is larger in
the sample, and almost nothing remains of early errors.* For wider data some errors grow: for
$S = 4$ the largest $J_t$ is $2 / \sqrt 3 = 1.15$, at $\bar\alpha_t = 1/3$. For a class of the data
below ($S = 1/64$ and the linear schedule with $T = 40$) the slope is:

| t | 40 | 20 | 10 | 5 | 2 | 1 |
|---|---|---|---|---|---|---|
| J_t | 0.00003 | 0.0043 | 0.024 | 0.10 | 0.47 | 0.86 |

Only the last few rows matter. Single precision rounds a number between 1/4 and 1/2 by at most
$2^{-26}$, which is $1.5 \cdot 10^{-8}$. A few such errors in the last rows give a difference of the
order $10^{-7}$. With $w > 0$ the prediction without a label enters. For several classes it is not
linear in the state, and neither is the row. There we measure. The lower middle panel of the figure
shows that, on average over samples, errors fall even faster at $w = 2$.

**Four swaps.** The data are the three Gaussians of step 1, divided by 4, so that nearly all points
lie in the range $[-1, 1]$ of images. Seed, labels and $w = 2$ stay the same. Four programs draw the
same 150 samples, with 40 rows of `ddpm` and guesses clipped to $[-1, 1]$:

| program | model | largest difference from the first |
|---|---|---|
| NumPy, the loop of step 17, double precision | oracle | 0 |
| torch, `minicfg.sample`, single precision | oracle | 1.5e-7 |
| each row by the fused Triton kernel, single precision | oracle | 1.3e-7 |
| torch, `minicfg.sample`, single precision | UNet, trained with 600 updates | 0.2 |

The first three differ by rounding. (Their last digits depend on the processor. Here they come from
a CPU, where the kernel runs in Triton's interpreter. The tests allow $2 \cdot 10^{-6}$.) Does the
difference come from the noise or from the arithmetic? We run the loop of NumPy with noise that was
rounded to single precision. Then the samples change by $0.9 \cdot 10^{-8}$ (root mean square over
3,000 samples, $w = 0$). The whole difference between NumPy and torch is $2.9 \cdot 10^{-8}$. So
most of it comes from the arithmetic of the rows.

**The fourth program contains another model**, a UNet for which a point is a picture with one pixel
and two channels. Its samples differ from those of the oracle because its predictions have errors.
At $w = 0$ the mean distance is 0.014, where a class has the standard deviation 0.125, and the
widths of the classes are right within 10 % on average. At $w = 2$ the mean distance is 0.11, and
the classes are less than half as wide as they should be. The sampler is not the cause, because the
second program used the same one. By (15.6) guidance adds $w$ times the error of the difference
between the two predictions. At $t = 2$ the guess with the label has an error of 0.011 (root mean
square), and the guess without it one of 0.058. The exact difference of the two guesses is itself
0.058. So the difference that the network computes is wrong by its own size, and guidance multiplies
it by 2. A network that samples well without guidance can fail with it.

The clip also matters only for the network. At $t = 40$ this schedule has
$\bar\alpha_t = 4.2 \cdot 10^{-6}$. By (5.7) the guess multiplies the prediction of eps by
$|q| = 487$, so an error of 0.05 in eps becomes 24 in the guess. The oracle makes no such error: in
these chains none of its guesses leaves $[-1, 1]$ without guidance, and with $w = 2$ the clip moves
its samples by 0.0003 on average.

**At the boundary.** The batch does not occur in (22.3), but a network can make samples depend on
it. A convolution may sum in another order for another batch size, so `model` itself depends on the
batch in the last bits. The oracle works on each sample alone, and its samples agree to the last bit
in every batch and order. For data with several modes an error can grow even if each mode is narrow:
a small change of a state that lies between two modes can decide which of them the chain enters.

**What goes wrong.** The noise is drawn from one generator in the order of the batch. Then another
program with another batch size seems to be wrong, but it is not. The noise of a sample depends on
its place in the batch and not on its number. Two steps or two purposes use the same counter, and
the noise is repeated. The uniform $u$ can be 0, and its logarithm is infinite. Two programs are
compared only by their means, and a mistake smaller than the standard error is not seen. A tolerance
is made larger until the test passes, without an estimate such as (22.5).

**Where it goes on.** The kernels and their measured times are in `kernels/`, and the program for
images is `minicfg`; appendices A to Q continue the theory.

**Source.** Box and Muller 1958, Ann. Math. Stat. 29:610. Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3", SC'11 (Philox). (22.4), (22.5) and the measurements are from this
course.
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
STEPS = 600  # updates of the network
SEED = 7
TOY = three_gaussians()
SMALL = GaussianMixture(TOY.means / 4, TOY.covs / 16, TOY.weights)  # in the range of images


def box_muller(u: Float[np.ndarray, " n"], v: Float[np.ndarray, " n"]) -> Float[np.ndarray, "2 n"]:
    """Two normal numbers from two uniform ones, `u` in (0, 1]."""
    radius = np.sqrt(-2 * np.log(u))
    angle = 2 * np.pi * v
    z1 = radius * np.cos(angle)
    z2 = radius * np.sin(angle)
    return np.stack([z1, z2])  # (22.1)


def enlargement(u: float) -> float:
    """The factor by which `box_muller` enlarges a small area at `u` in (0, 1]."""
    return 2 * np.pi / u  # (22.2)


@dataclass
class Noise:
    """A source of normals for `run`, in the place of a generator: draw k is step k of each sample.

    `ids` are the numbers of the samples, 0..2^32-1.
    """

    ids: Int[np.ndarray, " n"]
    step: int = -1

    def standard_normal(self, size: tuple[int, ...]) -> Float[np.ndarray, "n D"]:
        """The normal numbers of the next step, (n, D)."""
        self.step += 1
        return philox.normal_numpy(SEED, self.ids, self.step, size[1:])  # z of (22.3)


def error_after_row(e_t: float, t: int, s: int, schedule: Schedule, var: float) -> float:
    """The error at s < t that an error `e_t` at t becomes in one row of `ddpm`.

    The data are Gaussian with variance `var`; predictions are exact, and w = 0.
    """
    abar = schedule.alpha_bar
    C_t = abar[t] * var + 1 - abar[t]
    C_s = abar[s] * var + 1 - abar[s]
    return float(np.sqrt(abar[t] / abar[s]) * (C_s / C_t) * e_t)  # (22.4)


def error_at_the_end(e_t: float, t: int, schedule: Schedule, var: float) -> float:
    """The error of the sample that an error `e_t` at t becomes in all rows from t to 0."""
    abar = schedule.alpha_bar[t]
    C_t = abar * var + 1 - abar
    return float(np.sqrt(abar) * (var / C_t) * e_t)  # (22.5)


@dataclass(frozen=True)
class InTorch:
    """Adapter: a NumPy denoiser with the interface of a torch one."""

    model: Denoiser
    num_classes: int = 3
    prediction: Any = "eps"

    def __call__(self, xt: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The output at `xt` (n, 2), for `t` (n,) with equal entries and `y` (n,)."""
        out = self.model(xt.double().cpu().numpy(), int(t[0]), y.cpu().numpy())
        return torch.from_numpy(out).to(xt)


ORACLE = InTorch(oracle_eps(SMALL, Schedule.linear(T)))


def in_minicfg(
    model: Any, w: float, ids: Int[np.ndarray, " n"], clip: float = np.inf
) -> Float[np.ndarray, "n 2"]:
    """Samples by `minicfg.sample`, of points or of pictures; sample i has the class i mod 3."""
    table = solvers.ddpm(TorchSchedule.linear(T))
    shape = (2,) if model is ORACLE else (2, 1, 1)
    i = torch.from_numpy(ids)
    x = sample(model, i % 3, table, shape=shape, w=w, seed=SEED, sample_ids=i, clip=clip)
    return x.flatten(1).double().numpy()


def by_the_kernel(
    w: float, ids: Int[np.ndarray, " n"], clip: float = np.inf
) -> Float[np.ndarray, "n 2"]:
    """The same samples of the oracle, each row by the Triton kernel; interpreted without a GPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        os.environ.setdefault("TRITON_INTERPRET", "1")  # before the kernel is defined
    from kernels.triton_step import guided_step

    table = solvers.ddpm(TorchSchedule.linear(T))
    rows = table.rows.to(device)
    sample_ids = torch.from_numpy(ids).to(device)
    y = sample_ids % 3
    null = torch.full_like(sample_ids, 3)
    both = torch.cat([y, null])
    x = philox.normal(SEED, sample_ids, 0, (2,))
    for k, t in enumerate(table.t):
        out = ORACLE(torch.cat([x, x]), t.expand(len(both)), both)
        x, _ = guided_step(x, out, rows, k, w, seed=SEED, sample_ids=sample_ids, clip=clip)
    return x.double().cpu().numpy()


@cache
def trained(steps: int) -> Any:
    """A UNet with one level; a point is a picture with one pixel and two channels."""
    x0, y = SMALL.sample(20_000, np.random.default_rng(0))
    pixels = torch.from_numpy(x0.clip(-1, 1)).float()[:, :, None, None]  # clips 1 in 100,000
    points = Dataset(pixels, torch.from_numpy(y), ("top", "left", "right"), "three Gaussians")
    config = TrainConfig(schedule="linear", T=T, steps=steps, batch=64, width=16, multipliers=(1,))
    with threads(1):  # a second one does not make so small a network faster
        state = train(points, config)
    return state.ema.module


@cache
def swaps(w: float, n: int = 150) -> dict[str, Float[np.ndarray, "n 2"]]:
    """The same samples by the four programs, with guesses clipped to -1..1."""
    ids = np.arange(n)
    table = ddpm(Schedule.linear(T))
    return {
        "NumPy, oracle": run(ORACLE.model, ids % 3, table, w, Noise(ids), clip=1.0),
        "torch, oracle": in_minicfg(ORACLE, w, ids, clip=1.0),
        "fused kernel, oracle": by_the_kernel(w, ids, clip=1.0),
        "torch, trained UNet": in_minicfg(trained(STEPS), w, ids, clip=1.0),
    }


if __name__ == "__main__":
    from tutorial.figures.program import present

    present("step22_swap_in")
