"""The network keeps the denoiser's contract, and each of its parts does something."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from minicfg import Schedule, sample, solvers
from minicfg.errors import UsageError
from minicfg.unet import Attention, UNet, check_image_shape, sinusoids

K = 3
# Sums over some hundred channels in float32, in whatever order the batch size suggests, through
# twenty layers: 1e-7 each, a hundred times over.
ROUNDING = 1e-5


def unet(**settings: Any) -> UNet:
    """A small network whose zeros have been filled, so that every layer is felt at the output."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        model = UNet(num_classes=K, **{"width": 8, "multipliers": (1, 2, 3), **settings}).eval()
        for p in model.parameters():
            p.add_(torch.randn(p.shape) * (1 / p[0].numel() ** 0.5 if p.ndim > 1 else 0.3))
    return model


def inputs(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    xt = torch.randn(shape, generator=generator)
    t = torch.randint(1, 1001, shape[:1], generator=generator)
    return xt, t, torch.randint(0, K + 1, shape[:1], generator=generator)


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (12, 20), (28, 28)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_out_has_the_shape_of_xt(size: tuple[int, int], channels: int) -> None:
    model = unet(channels=channels, attention=(1,), blocks=2)
    xt, t, y = inputs(2, channels, *size)
    out = model(xt, t, y)
    assert out.shape == xt.shape
    assert torch.isfinite(out).all() and out.std() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_out_has_the_dtype_of_xt(dtype: torch.dtype) -> None:
    xt, t, y = inputs(2, 1, 8, 8)
    assert unet()(xt.to(dtype), t, y).dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float16, 1e-2), (torch.bfloat16, 1e-1), (torch.float64, 1e-5)],
)
def test_weights_may_have_another_dtype(dtype: torch.dtype, tolerance: float) -> None:
    """Twenty layers round, each by 1e-3 of its output in float16 and by 8e-3 in bfloat16."""
    xt, t, y = inputs(2, 1, 8, 8)
    wanted = unet(attention=(1,))(xt, t, y)
    model = unet(attention=(1,)).to(dtype)
    found = model(xt, t, y)
    assert found.dtype == xt.dtype
    assert (found - wanted).abs().max() < tolerance * wanted.abs().max()
    assert model(xt.to(dtype), t, y).dtype == dtype
    table = solvers.ddpm(Schedule.cosine(100), 3)
    x = sample(model, torch.arange(K), table, shape=(1, 8, 8), w=1.0, clip=1.0)
    assert x.dtype == torch.float32 and x.isfinite().all()


def test_the_default_dtype_of_torch_may_be_float64() -> None:
    xt, t, y = inputs(2, 1, 8, 8)
    wanted = unet()(xt, t, y)
    table = solvers.ddpm(Schedule.cosine(100), 3)
    given = {"y": torch.arange(K), "table": table, "shape": (1, 8, 8), "w": 1.0, "clip": 1.0}
    drawn = sample(unet(), **given)
    double = unet().double()
    torch.set_default_dtype(torch.float64)
    try:
        made = UNet(num_classes=K, width=8, multipliers=(1, 2, 3)).eval()
        made.load_state_dict(double.state_dict())
        torch.testing.assert_close(made(xt, t, y), wanted, rtol=0, atol=ROUNDING)
        # The output, wrong by 1e-6, is divided by a signal of 5e-4 in the first row, and clipped.
        torch.testing.assert_close(sample(made, **given), drawn, rtol=0, atol=1e-2)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(made(xt, t, y), wanted, rtol=0, atol=ROUNDING)


def test_untrained_network_predicts_zero() -> None:
    assert not UNet(attention=(0, 1, 2))(*inputs(4, 1, 8, 8)).any()


def test_says_what_a_sampler_asks() -> None:
    model = UNet(num_classes=7, prediction="v")
    assert (model.num_classes, model.prediction) == (7, "v")
    assert model.embed_y.num_embeddings == 8


def test_one_batch_of_2B_is_two_passes() -> None:
    model = unet(attention=(2,))
    xt, t, y = inputs(5, 1, 8, 8)
    both = model(torch.cat([xt, xt]), torch.cat([t, t]), torch.cat([y, torch.full_like(y, K)]))
    apart = torch.cat([model(xt, t, y), model(xt, t, torch.full_like(y, K))])
    torch.testing.assert_close(both, apart, rtol=0, atol=ROUNDING)


def test_sample_is_the_same_in_a_batch_of_1_7_and_64() -> None:
    model = unet(attention=(1, 2))
    xt, t, y = inputs(64, 1, 8, 8)
    whole = model(xt, t, y)
    for B in (1, 7):
        torch.testing.assert_close(model(xt[:B], t[:B], y[:B]), whole[:B], rtol=0, atol=ROUNDING)


def test_time_and_label_are_heard_sample_by_sample() -> None:
    model = unet()
    xt, t, y = torch.randn(1, 1, 8, 8).expand(K + 3, 1, 8, 8), torch.full((K + 3,), 500), None
    y = torch.tensor([*range(K + 1), 0, 0])  # every label, null included, then label 0 again
    t[-1] = 501
    out = model(xt, t, y)
    gaps = torch.cdist(out.flatten(1), out.flatten(1))
    assert gaps[0, K + 1] < ROUNDING  # the same time and label, twice
    gaps[0, K + 1] = gaps[K + 1, 0] = 1
    assert (gaps + torch.eye(K + 3)).min() > 100 * ROUNDING  # any other two differ


@pytest.mark.parametrize("settings", [{}, {"blocks": 2, "attention": (0, 2)}], ids=str)
def test_every_parameter_is_felt(settings: dict[str, Any]) -> None:
    """A skip forgotten, a layer bypassed or a label row never read would leave a zero gradient."""
    model = unet(**settings)
    xt, t, _ = inputs(K + 1, 1, 8, 8)
    model(xt, t, torch.arange(K + 1)).square().mean().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.abs().amax() > 1e-7, name
    assert (model.embed_y.weight.grad.abs().amax(1) > 1e-7).all()


@pytest.mark.parametrize("blocks", [1, 2])
def test_levels_halve_and_every_block_up_is_given_its_partner_down(blocks: int) -> None:
    model, put_out, given = unet(blocks=blocks), list[Tensor](), list[Tensor]()
    for block in model.down:
        block.register_forward_hook(lambda _, given, out: put_out.append(out))
    for block in model.up:
        block.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    model(*inputs(2, 1, 8, 16))
    sizes = [(8, 16)] * blocks + [(4, 8)] * blocks + [(2, 4)] * blocks
    assert [tuple(x.shape[2:]) for x in put_out] == sizes
    for x, skip in zip(given, reversed(put_out), strict=True):
        rest, partner = x.chunk(2, dim=1)
        assert torch.equal(partner, skip) and not torch.equal(rest, skip)


@pytest.mark.parametrize("attention", [(), (0,), (2,), (0, 1)])
def test_attention_is_on_the_levels_that_are_named(attention: tuple[int, ...]) -> None:
    """The block in the middle is on the coarsest level, here 2."""
    model = UNet(width=8, multipliers=(1, 2, 3), blocks=2, attention=attention)

    def attends(blocks: Any) -> list[bool]:
        return [isinstance(block.attention, Attention) for block in blocks]

    down = [level in attention for level in (0, 0, 1, 1, 2, 2)]
    assert attends(model.down) == down
    assert attends([model.middle]) == [2 in attention]
    assert attends(model.up) == down[::-1]


def test_attention_by_a_loop_over_pixels() -> None:
    layer = Attention(8)
    torch.nn.init.normal_(layer.out.weight, std=0.3)
    x = torch.randn(2, 8, 3, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        qkv = layer.qkv(layer.norm(x)).double().numpy().reshape(2, 3, 8, 15)
        found = np.zeros((2, 8, 15))
        for b in range(2):
            q, k, v = qkv[b]
            for i in range(15):
                weight = np.exp([q[:, i] @ k[:, j] / np.sqrt(8) for j in range(15)])
                found[b, :, i] = v @ (weight / weight.sum())
        out = np.einsum("oc,bcp->bop", layer.out.weight[:, :, 0, 0].double().numpy(), found)
        expected = x.double().numpy() + out.reshape(x.shape)
        np.testing.assert_allclose(layer(x).numpy(), expected, rtol=0, atol=ROUNDING)


def test_sinusoids_by_numpy() -> None:
    t = np.array([1, 2, 999, 10_000])
    angle = t[:, None] * 10.0 ** (-4 * np.arange(12) / 11)
    expected = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    # The frequencies are rounded to float32: 6e-8 of an angle of up to 10,000.
    np.testing.assert_allclose(sinusoids(torch.from_numpy(t), 24), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize(("width", "least"), [(8, 0.3), (24, 0.9)])
def test_sinusoids_tell_all_times_of_long_schedules_apart(width: int, least: float) -> None:
    """|s(t) - s(t')|^2 = sum 2 - 2 cos(f (t - t')): one number a lag, so one row has them all.

    With 4 frequencies the least is at a lag of 6, where the fastest has come round; with 12, at 1.
    """
    s = sinusoids(torch.arange(1, 10_001), width).double()
    apart = (s[1:] - s[0]).norm(dim=1)
    assert apart.min() > least


def test_dropout_only_in_training() -> None:
    model, (xt, t, y) = unet(dropout=0.5), inputs(2, 1, 8, 8)
    assert torch.equal(model(xt, t, y), model(xt, t, y))
    model.train()
    assert not torch.equal(model(xt, t, y), model(xt, t, y))


def test_weights_are_channels_last() -> None:
    weight = UNet().middle.conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        ((2, 1, 10, 8), "images are 10x8: 3 levels need height and width divisible by 4"),
        ((2, 1, 8, 6), "images are 8x6: 3 levels"),
        ((2, 3, 8, 8), "images have 3 channels: the network takes 1"),
    ],
)
def test_images_that_do_not_fit_are_refused(shape: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        unet()(*inputs(*shape))


@pytest.mark.parametrize("shape", [(), (8,), (8, 8), (1, 1, 8, 8)])
def test_shapes_that_are_no_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"pass images of shape \(C, H, W\)"):
        check_image_shape(shape, 1, 3)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"attention": (9,)}, r"attention = \(9,\) has no level 9: use levels in 0\.\.2"),
        ({"attention": (0, -1)}, r"attention = \(0, -1\) has no level -1"),
        (
            {"prediction": "epsilon"},
            "prediction = 'epsilon' is unknown: use eps, x0, v or velocity",
        ),
        ({"dropout": math.nan}, r"dropout = nan is out of range: use a number in \[0, 1\)"),
        ({"dropout": 1.0}, r"dropout = 1.0 is out of range"),
        ({"blocks": 0}, "blocks = 0 is out of range: use an integer of 1 or more"),
        ({"blocks": 1.5}, "blocks = 1.5 is out of range"),
        ({"multipliers": ()}, r"multipliers = \(\): use one integer of 1 or more per level"),
        ({"multipliers": (1, 0)}, r"multipliers = \(1, 0\): use one integer"),
        ({"width": 12}, "width = 12 is not divisible by 8"),
        ({"width": 0}, "width = 0 is out of range"),
        ({"num_classes": 0}, "num_classes = 0 is out of range"),
        ({"channels": True}, "channels = True is out of range"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        UNet(**settings)


@pytest.mark.usefixtures("unchecked")
def test_inputs_that_would_be_truncated_or_broadcast_are_refused() -> None:
    model = unet()
    xt, t, y = inputs(3, 1, 8, 8)
    with pytest.raises(UsageError, match=r"xt is torch.uint8 \(3, 1, 8, 8\): pass floats of shape"):
        model(xt.byte(), t, y)
    with pytest.raises(UsageError, match=r"xt is torch.float32 \(1, 8, 8\): pass floats of shape"):
        model(xt[0], t, y)
    with pytest.raises(UsageError, match=r"t has shape \(1,\): pass \(3,\), one time per image"):
        model(xt, t[:1], y)
    with pytest.raises(UsageError, match=r"t has shape \(\): pass \(3,\)"):
        model(xt, t[0], y)
    with pytest.raises(
        UsageError, match=r"y is torch.int64 \(1,\): pass int64 labels of shape \(3,"
    ):
        model(xt, t, y[:1])
    with pytest.raises(UsageError, match=r"y is torch.float32 \(3,\): pass int64 labels"):
        model(xt, t, y.float())
    for wrong in (-1, K + 1):
        complaint = f"y contains the label {wrong}: labels are 0..{K - 1}, and {K}"
        with pytest.raises(UsageError, match=complaint):
            model(xt, t, torch.tensor([0, wrong, 1]))
