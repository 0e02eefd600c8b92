"""Held against other projects: their schedulers step by step, their networks, their scores.

Each test is skipped where the other project is not installed; `make .venv/peers` installs them all.
denoising-diffusion-pytorch is installed without its dependencies and loaded by its path.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kernels import guided_step
from minicfg import Schedule, sample, solvers
from minicfg.adapters import DiffusersModel, schedule_from_diffusers
from minicfg.bench.networks import LucidrainsUnet
from minicfg.errors import UsageError
from minicfg.metrics.frechet import frechet_distance

pytestmark = pytest.mark.peers
T, K, W = 1000, 3, 2.0


@pytest.fixture(scope="module")
def diffusers() -> ModuleType:
    return pytest.importorskip("diffusers", reason="the extra peers is not installed")


@pytest.fixture(scope="module")
def lucidrains() -> ModuleType:
    """The one module, by its path: the package imports torchvision and more."""
    pytest.importorskip("einops", reason="the extra peers is not installed")
    found = importlib.util.find_spec("denoising_diffusion_pytorch")
    if found is None or not found.submodule_search_locations:
        pytest.skip("denoising-diffusion-pytorch is not installed (pip install --no-deps)")
    path = Path(found.submodule_search_locations[0]) / "classifier_free_guidance.py"
    spec = importlib.util.spec_from_file_location("lucidrains_cfg", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONFIGS: list[dict[str, Any]] = [
    {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"beta_schedule": "linear", "num_train_timesteps": 50, "beta_end": 0.3},
    {"trained_betas": [0.1, 0.2, 0.3], "num_train_timesteps": 3},
    {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True},
    {"beta_schedule": "squaredcos_cap_v2", "rescale_betas_zero_snr": True},
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_schedules_are_read_as_diffusers_means_them(diffusers: Any, config: dict) -> None:
    """Their tables are float32: a product of 1,000 factors has an error of 1e-5 of its size.

    At zero SNR theirs puts 2^-24 in the place of 0, so that nothing divides by it.
    """
    theirs = diffusers.DDPMScheduler(**config)
    ours = schedule_from_diffusers(theirs.config)
    wanted = theirs.alphas_cumprod.double()
    if config.get("rescale_betas_zero_snr"):
        assert ours.alpha_bar[-1] == 0 and wanted[-1] <= 2.0**-24
    torch.testing.assert_close(ours.alpha_bar[1:], wanted, rtol=3e-5, atol=1e-7)


@pytest.mark.parametrize("config", [{"beta_schedule": "sigmoid"}, {"num_train_timesteps": 0}])
def test_schedules_that_are_not_ours_are_refused(config: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(config))):
        schedule_from_diffusers(config)


def denoiser(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """No oracle, only smooth in x and different for every label and time."""
    phase = y.double()[:, None] + t.double()[:, None] / 300
    return 0.5 * xt + 0.3 * torch.sin(xt + phase)


class Net:
    """The same as a denoiser of ours, in float64."""

    num_classes = K

    def __init__(self, prediction: solvers.Prediction) -> None:
        self.prediction: solvers.Prediction = prediction

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return denoiser(xt.double(), t, y)


def our_chain(table: solvers.Table, x: Tensor, y: Tensor, noise: list[Tensor]) -> list[Tensor]:
    """The rows alone, with given noise, in float64."""
    states, x0prev = [], torch.zeros_like(x)
    null = torch.full_like(y, K)
    for (p, q, a, b, c, d, e, m), t, z in zip(table.rows, table.t, noise, strict=True):
        cond, out_null = (denoiser(x, t.expand(len(x)), label) for label in (y, null))
        x0 = p * x + q * (cond + m * W * (cond - out_null))
        x, x0prev = a * x0 + b * x + d * out_null + e * x0prev + c * z, x0
        states.append(x)
    return states


def their_chain(
    scheduler: Any, x: Tensor, y: Tensor, noise: list[Tensor], **given: Any
) -> list[Tensor]:
    """`scheduler.step` as its documentation has it; index t - 1 is our t."""
    states, null = [], torch.full_like(y, K)
    for t, z in zip(scheduler.timesteps, noise, strict=True):
        at = (t + 1).expand(len(x))
        cond, out_null = (denoiser(x, at, label) for label in (y, null))
        mixed = cond + W * (cond - out_null)
        x = scheduler.step(mixed, t, x, **{k: v(z) for k, v in given.items()}).prev_sample
        states.append(x)
    return states


KINDS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["ddpm", "ddim", "ddim_eta", "dpmpp_2m"])
def test_rows_are_diffusers_schedulers_step_by_step(
    diffusers: Any, solver: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 of 1,000 steps, each state to 1e-5 of its size or of 1: their tables are float32.

    `timestep_spacing="leading"` takes every 20th time from the first; ours ends at T. So ours is
    given their times. With `clip_sample=False` both guesses of x_0 are left as they are.
    """
    common: dict[str, Any] = {
        "num_train_timesteps": T,
        "beta_schedule": "linear",
        "prediction_type": kind,
        "timestep_spacing": "leading",
    }
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(4, 2, generator=rng, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 0])
    noise = [torch.randn(4, 2, generator=rng, dtype=torch.float64) for _ in range(50)]
    given: dict[str, Callable[[Tensor], Any]] = {}
    if solver == "ddpm":
        scheduler = diffusers.DDPMScheduler(**common, clip_sample=False)
        module = sys.modules[type(scheduler).__module__]
        drawn = iter(noise)
        monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(drawn))
    elif solver == "dpmpp_2m":
        scheduler = diffusers.DPMSolverMultistepScheduler(
            **common,
            algorithm_type="dpmsolver++",
            solver_order=2,
            final_sigmas_type="zero",
            lower_order_final=False,
            euler_at_final=False,
        )
    else:
        scheduler = diffusers.DDIMScheduler(**common, clip_sample=False, set_alpha_to_one=True)
        eta = 0.7 if solver == "ddim_eta" else 0.0
        given = {"eta": lambda _: eta}
        if eta:
            given["variance_noise"] = lambda z: z
    scheduler.set_timesteps(50)
    times = (scheduler.timesteps + 1).tolist()
    schedule, prediction = Schedule.linear(T), KINDS[kind]
    made: Any = {
        "ddpm": lambda: solvers.ddpm(schedule, times, prediction),  # pyright: ignore
        "ddim": lambda: solvers.ddim(schedule, times, prediction, 0.0),  # pyright: ignore
        "ddim_eta": lambda: solvers.ddim(schedule, times, prediction, 0.7),  # pyright: ignore
        "dpmpp_2m": lambda: solvers.dpmpp_2m(schedule, times, prediction),  # pyright: ignore
    }
    ours = our_chain(made[solver](), x, y, noise)
    theirs = their_chain(scheduler, x, y, noise, **given)
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=f"after step {k}")


@pytest.mark.parametrize("steps", [1, 4, 10, 50])
def test_ddim_on_the_flow_is_diffusers_euler(diffusers: Any, steps: int) -> None:
    """Their state is `(1 - u) x_0 + u eps` with u = sigma; ours is divided by its scale, R.

    The network is given both the same state, so it receives `R x_t` from us. Their sigmas are
    float32, so the states agree to 1e-5 of their size or of 1.
    """
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=T)
    u = [k / steps for k in range(steps, 0, -1)]
    scheduler.set_timesteps(sigmas=u)
    schedule = Schedule.flow(T)
    rng = torch.Generator().manual_seed(0)
    X = torch.randn(4, 2, generator=rng, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 0])
    null = torch.full_like(y, K)
    table = solvers.ddim(schedule, steps, "velocity")
    np.testing.assert_allclose(table.t / T, u, atol=1e-12)
    x = X  # R is 1 at u = 1
    for k, at in enumerate(scheduler.timesteps):
        F = denoiser(X, at.expand(4), y)
        F_null = denoiser(X, at.expand(4), null)
        R = (u[k] ** 2 + (1 - u[k]) ** 2) ** 0.5
        ours = [denoiser(R * x, table.t[k].expand(4), label) for label in (y, null)]
        X = scheduler.step(F + W * (F - F_null), at, X).prev_sample
        out = torch.cat(ours)
        x, _ = guided_step(x, out, table.rows, k, W, seed=0, sample_ids=torch.arange(4))
        u_s = u[k] - 1 / steps
        R_s = (u_s**2 + (1 - u_s) ** 2) ** 0.5
        np.testing.assert_allclose(R_s * x, X, rtol=1e-5, atol=1e-5, err_msg=f"after step {k}")


def test_a_diffusers_network_is_a_denoiser(diffusers: Any) -> None:
    torch.manual_seed(0)
    net = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        num_class_embeds=K + 1,
        norm_num_groups=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    ).eval()
    model, y = DiffusersModel(net, K), torch.tensor([0, 2])
    xt, t = torch.randn(2, 1, 8, 8), torch.tensor([1, 500])
    with torch.no_grad():
        expected = net(xt, torch.tensor([0, 499]), class_labels=torch.tensor([0, K])).sample
        assert torch.equal(model(xt, t, torch.tensor([0, K])), expected)
    table = solvers.ddpm(Schedule.linear(T), 3)
    x = sample(model, y, table, shape=(1, 8, 8), w=W, seed=1)
    assert x.shape == (2, 1, 8, 8) and bool(torch.isfinite(x).all())


def test_a_lucidrains_network_is_a_denoiser(lucidrains: Any) -> None:
    """One batch of 2B with a mask, against its own two passes, mixed as its option 'none' has it.

    float32 convolutions over a batch of another size may sum in another order: 1e-5 of size 1.
    """
    torch.manual_seed(0)
    net = lucidrains.Unet(dim=8, num_classes=K, dim_mults=(1, 2), channels=1).eval()
    model, y = LucidrainsUnet(net), torch.tensor([0, 2])
    xt, t = torch.randn(2, 1, 8, 8), torch.tensor([1, 500])
    with torch.no_grad():
        out = model(torch.cat([xt, xt]), torch.cat([t, t]), torch.cat([y, torch.full_like(y, K)]))
        theirs, _ = net.forward_with_cond_scale(
            xt, t - 1, y, cond_scale=1 + W, remove_parallel_component=False
        )
    mixed = (1 + W) * out[:2] - W * out[2:]
    torch.testing.assert_close(mixed, theirs, rtol=0, atol=1e-5)
    assert model.num_classes == K
    process = lucidrains.GaussianDiffusion(net, image_size=8, timesteps=20)
    beta = process.betas.double()
    schedule = Schedule(torch.cat([beta.new_zeros(1), beta]))
    torch.testing.assert_close(schedule.alpha_bar, Schedule.cosine(20).alpha_bar, rtol=1e-4, atol=0)


def test_frechet_distance_is_torchmetrics() -> None:
    """The same features through both formulas; theirs takes a root of eigenvalues: 1e-6."""
    metrics = pytest.importorskip("torchmetrics.image.fid", reason="no torchmetrics")
    rng = np.random.default_rng(0)
    a = rng.standard_normal((200, 8)) @ rng.standard_normal((8, 8)) + 0.3
    b = rng.standard_normal((300, 8))
    (mu_a, mu_b), (S_a, S_b) = (
        [torch.from_numpy(f(v)) for v in (a, b)]
        for f in (lambda v: v.mean(0), lambda v: np.cov(v.T))
    )
    theirs = float(metrics._compute_fid(mu_a, S_a, mu_b, S_b))
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-6)
