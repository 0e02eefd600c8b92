"""Networks of the user's own, and of diffusers, in training, checkpoints and sampling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import minicfg
from minicfg import Checkpoint, Dataset, TrainConfig
from minicfg.adapters import DiffusersModel
from minicfg.errors import DataError, MachineError, UsageError
from minicfg.io.checkpoint import load_state, save_state
from minicfg.training import train_steps

K = 3
X = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
DATA = Dataset(X, torch.arange(12) % K, ("a", "b", "c"), "noise")
CONFIG = TrainConfig(steps=4, batch=4, T=20, seed=2)


class Net(nn.Module):
    """A small convolutional denoiser with what users' networks have.

    It has a buffer (batch normalisation), tied weights, a frozen weight and one that no output
    depends on.
    """

    prediction = "eps"
    num_classes = K

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.label = nn.Embedding(K + 1, width)
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.middle = nn.Conv2d(width, width, 3, padding=1)
        self.tied = nn.Conv2d(width, width, 3, padding=1)
        self.tied.weight = self.middle.weight
        self.last = nn.Conv2d(width, 1, 3, padding=1)
        self.time = nn.Parameter(torch.ones(width), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        emb = self.label(y) + self.time * t[:, None] / 20
        h = self.norm(self.first(xt)) + emb[:, :, None, None]
        return self.last(self.tied(self.middle(h).relu()).relu())


def net(**settings: int) -> Net:
    """The network with the same weights at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net(**settings)


@pytest.fixture(scope="module")
def diffusers() -> ModuleType:
    return pytest.importorskip("diffusers", reason="the extra peers is not installed")


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def test_an_own_network_is_trained_in_place() -> None:
    model = net()
    state = minicfg.train(DATA, CONFIG, model=model)
    assert state.model is model and state.step == 4 and not equal(model, net())
    assert equal(state.model, minicfg.train(DATA, CONFIG, model=net()).model)
    assert torch.equal(model.time, torch.ones(8)) and torch.equal(model.unused, torch.ones(2))


def test_a_resumed_run_of_an_own_network_is_the_run_bit_for_bit(tmp_path: Path) -> None:
    whole = minicfg.train(DATA, CONFIG, model=net())
    for state in train_steps(DATA, CONFIG, model=net()):
        if state.step == 2:
            save_state(tmp_path / "state", state)
            break
    resumed = minicfg.train(DATA, CONFIG, resume=load_state(tmp_path / "state", model=Net()))
    assert resumed.loss == whole.loss
    assert equal(whole.model, resumed.model) and equal(whole.ema, resumed.ema)


def test_an_own_network_comes_back_from_its_file(tmp_path: Path) -> None:
    state = minicfg.train(DATA, CONFIG, model=net())
    minicfg.save(tmp_path / "model", state)
    model = Net()
    c = minicfg.load(tmp_path / "model", model=model)
    assert c.model is model and not model.training and equal(model, state.ema.module)
    assert (c.classes, c.shape, c.data_digest) == (DATA.classes, (1, 8, 8), DATA.digest)
    found = minicfg.sample(c, ["c", "a"], w=1.0, steps=3, seed=5)
    again = minicfg.sample(Checkpoint.of(state), [2, 0], w=1.0, steps=3, seed=5)
    assert torch.equal(found, again)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    own = minicfg.save(tmp_path / "own", minicfg.train(DATA, CONFIG, model=net()))
    unet = minicfg.save(tmp_path / "unet", minicfg.train(DATA, replace(CONFIG, width=8)))
    with pytest.raises(DataError, match=r"network '.*test_own_network.Net', which minicfg cannot"):
        minicfg.load(own)
    with pytest.raises(
        DataError, match=r"has torch.float32 \(8,\) for 'first.bias', but the network has .*\(16,\)"
    ):
        minicfg.load(own, model=net(width=16))
    with pytest.raises(DataError, match=r"for 'down.0.conv1.bias', but the network has nothing"):
        minicfg.load(unet, model=net())
    wrong = net()
    wrong.prediction = "v"
    with pytest.raises(DataError, match=r"network that predicts eps, but model.prediction = 'v'"):
        minicfg.load(own, model=wrong)


class Broken(Net):
    """A network whose output is wrong in the way that `returns` says."""

    def __init__(self, returns: str) -> None:
        super().__init__()
        self.returns = returns

    def forward(self, xt: Tensor, t: Tensor, y: Tensor) -> Any:
        out = super().forward(xt, t, y)
        return {
            "one image": out[:1],
            "no channel": out[:, 0],
            "a tuple": (out, t),
            "a number": out.mean(),
        }[self.returns]


@pytest.mark.parametrize(
    ("returns", "found"),
    [
        ("one image", r"torch.float32 \(1, 1, 8, 8\)"),
        ("no channel", r"torch.float32 \(4, 8, 8\)"),
        ("a tuple", "a tuple"),
        ("a number", r"torch.float32 \(\)"),
    ],
)
def test_an_output_that_would_be_broadcast_is_refused(returns: str, found: str) -> None:
    with pytest.raises(UsageError, match=rf"model\(xt, t, y\) returns {found}; return a tensor"):
        minicfg.train(DATA, CONFIG, model=Broken(returns))
    table = minicfg.solvers.ddim(minicfg.Schedule.cosine(20), 2)
    with pytest.raises(UsageError, match=r"model\(xt, t, y\) returns "):
        minicfg.sample(Broken(returns), [0, 1, 2, 0], table, shape=(1, 8, 8))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("model", "config", "complaint"),
    [
        (net, CONFIG, "model is a function: pass a torch.nn.Module"),
        (nn.ReLU(), CONFIG, "model is a ReLU without parameters"),
        (nn.Linear(2, 2), CONFIG, "Linear with prediction = None; set model.prediction"),
        (net(), replace(CONFIG, prediction="v"), "prediction = 'v', but model.prediction = 'eps'"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused(
    model: Any, config: TrainConfig, complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        minicfg.train(DATA, config, model=model)


def test_a_network_for_other_classes_is_refused() -> None:
    other = Dataset(X, torch.arange(12) % 4, ("a", "b", "c", "d"), "noise")
    with pytest.raises(UsageError, match=r"model.num_classes = 3, but data = noise has 4 classes"):
        minicfg.train(other, CONFIG, model=net())


def test_a_network_without_a_null_trains_without_guidance_only() -> None:
    class NoNull(nn.Module):
        prediction = "eps"

        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
            return self.net(xt, t, y)

    with pytest.raises(UsageError, match="NoNull without a null condition; give it a method null"):
        minicfg.train(DATA, CONFIG, model=NoNull())
    assert minicfg.train(DATA, replace(CONFIG, p_uncond=0.0), model=NoNull()).step == 4


def test_model_and_resume_together_are_refused() -> None:
    state = next(train_steps(DATA, CONFIG, model=net()))
    with pytest.raises(UsageError, match="model and resume are both given"):
        minicfg.train(DATA, CONFIG, model=net(), resume=state)


def test_points_are_no_images_for_the_unet() -> None:
    points = Dataset(torch.randn(6, 2), torch.arange(6) % 2, ("a", "b"), "points")
    with pytest.raises(UsageError, match=r"samples of shape \(2,\) .*train\(data, config, model="):
        minicfg.train(points, CONFIG)


def test_a_device_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    path = minicfg.save(tmp_path / "m", minicfg.train(DATA, replace(CONFIG, width=8, steps=1)))
    for device in ("gpu", "cuda:7"):
        with pytest.raises(MachineError, match=f"device = '{device}' is not available .*: use"):
            minicfg.load(path, device)
        with pytest.raises(MachineError, match=f"device = '{device}' is not available"):
            minicfg.train(DATA, CONFIG, device=device)


# Of diffusers


def unet(diffusers: Any, rows: int) -> Any:
    return diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        num_class_embeds=rows,
    )


def transformer(diffusers: Any, labels: int) -> Any:
    return diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=1,
        out_channels=1,
        num_layers=1,
        sample_size=8,
        patch_size=4,
        num_embeds_ada_norm=labels,
    )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("make", "rows"), [(unet, K + 1), (transformer, K)])
def test_networks_of_diffusers_train_and_sample(
    diffusers: Any, make: Any, rows: int, tmp_path: Path
) -> None:
    model = DiffusersModel(make(diffusers, rows), K)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = minicfg.train(DATA, CONFIG, model=model)
    assert any(not torch.equal(value, before[n]) for n, value in model.state_dict().items())
    minicfg.save(tmp_path / "model", state)
    c = minicfg.load(tmp_path / "model", model=DiffusersModel(make(diffusers, rows), K))
    x = minicfg.sample(c, [0, 1, 2], w=2.0, steps=3)
    assert x.shape == (3, 1, 8, 8) and bool(x.isfinite().all())


@pytest.mark.usefixtures("unchecked")
def test_a_network_of_diffusers_without_a_null_row_is_refused(diffusers: Any) -> None:
    with pytest.raises(UsageError, match=r"net has num_class_embeds = 3; make it with .* = 4"):
        DiffusersModel(unet(diffusers, K), K)
    with pytest.raises(UsageError, match=r"net has num_embeds_ada_norm = 2; make it with .* = 3"):
        DiffusersModel(transformer(diffusers, K - 1), K)
