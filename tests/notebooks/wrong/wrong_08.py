"""Wrong answers in sitting 8: exercise, answer, and a phrase of the hint that is meant for it.

Loops and networks are made from the text of one right solution, with the wrong lines put in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

Noise = Callable[..., Any]
SHAPE, IDS = (1, 2, 2), torch.arange(7)

UNET = """
def my_unet(x, down, middle, up, halve, double):
    kept = []
    for i, block in enumerate(down):
        if i > 0:
            x = halve(x)
        x = block(x)
        kept.append(x)
    x = middle(x)
    for i, block in enumerate(up):
        if i > 0:
            x = double(x)
        x = block(torch.cat([x, kept.pop()], dim=1))
    return x
"""

LOOP = """
def my_training(model, average, optimizer, data, alpha_bar, steps, batch=32, p=0.1, decay=0.98):
    T = len(alpha_bar) - 1
    losses = []
    model.train()
    # before the loop
    for step in range(steps):
        rows = torch.randint(len(data.x), (batch,))
        x0, y = data.x[rows], data.y[rows]
        t = torch.randint(1, T + 1, (batch,))
        eps = torch.randn_like(x0)
        abar = alpha_bar[t][:, None, None, None]
        xt = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
        u = torch.rand(batch)
        shown = torch.where(u < p, data.num_classes, y)
        out = model(xt, t, shown)
        loss = F.mse_loss(out, eps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for a, b in zip(average.parameters(), model.parameters()):
                a.mul_(decay).add_((1 - decay) * b)
        losses.append(loss.item())
    return losses
"""
ZERO = "        optimizer.zero_grad()\n"
BACKWARD = "        loss.backward()\n"
STEP = "        optimizer.step()\n"
AVERAGE = """        with torch.no_grad():
            for a, b in zip(average.parameters(), model.parameters()):
                a.mul_(decay).add_((1 - decay) * b)
"""


def made(source: str, *changes: tuple[str, str]) -> Any:
    """The function of the changed text."""
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    names: dict[str, Any] = {"torch": torch, "F": F}
    exec(source, names)
    return names["my_unet" if "my_unet" in names else "my_training"]


def unet(*changes: tuple[str, str]) -> Any:
    return made(UNET, *changes)


def loop(*changes: tuple[str, str]) -> Any:
    return made(LOOP, *changes)


HALVE = "        if i > 0:\n            x = halve(x)\n"
DOUBLE = "        if i > 0:\n            x = double(x)\n"


def before(*lines: str) -> Any:
    """These lines of the loop stand before it."""
    out = [(line, "        pass\n") for line in lines]
    up = "".join(line.removeprefix("    ") for line in lines)
    return loop(*out, ("    # before the loop\n", up))


def test_of_the_shape(noise: Noise) -> None:
    """Nothing but that."""
    assert noise(7, IDS, SHAPE).shape == (7, *SHAPE)


def test_that_asks_twice(noise: Noise) -> None:
    """The same question, the same answer."""
    assert torch.equal(noise(7, IDS, SHAPE), noise(7, IDS, SHAPE))


def test_that_asks_for_some(noise: Noise) -> None:
    """In the order they had."""
    assert torch.equal(noise(7, IDS, SHAPE)[2:4], noise(7, torch.tensor([2, 3]), SHAPE))


def test_that_asks_backwards(noise: Noise) -> None:
    """In another order too."""
    test_that_asks_for_some(noise)
    assert torch.equal(noise(7, IDS, SHAPE).flip(0), noise(7, IDS.flip(0), SHAPE))


def test_that_compares_two(noise: Noise) -> None:
    """Of one seed."""
    test_that_asks_backwards(noise)
    x = noise(7, IDS, SHAPE)
    assert not torch.equal(x[0], x[1])


def test_of_two_seeds(noise: Noise) -> None:
    """And of two, for one id."""
    test_that_compares_two(noise)
    assert not torch.equal(noise(7, IDS, SHAPE), noise(8, IDS, SHAPE))


def test_that_wants_one_noise_for_all(noise: Noise) -> None:
    """Wrong about what is right."""
    x = noise(7, IDS, SHAPE)
    assert torch.equal(x[0], x[1])


WRONG: list[tuple[str, Any, str]] = [
    ("8.0", unet(("torch.cat([x, kept.pop()], dim=1)", "x")), "are not used"),
    ("8.0", unet(("kept.pop()", "kept.pop(0)")), "take them from the end"),
    ("8.0", unet(("kept.pop()", "kept[i]")), "take them from the end"),
    ("8.0", unet(("torch.cat([x, kept.pop()], dim=1)", "x + kept.pop()")), "they are added"),
    ("8.0", unet(("[x, kept.pop()]", "[kept.pop(), x]")), "in the other order"),
    ("8.0", unet(
        ("        x = block(x)\n        kept.append(x)",
         "        kept.append(x)\n        x = block(x)"),
    ), "the input of each block"),
    ("8.0", unet(("    x = middle(x)\n", "")), "in the middle is left out"),
    ("8.0", unet(
        ("        if i > 0:\n            x = halve(x)\n", ""),
        ("        kept.append(x)\n", "        kept.append(x)\n        x = halve(x)\n"),
        ("        if i > 0:\n            x = double(x)\n", "        x = double(x)\n"),
    ), "after the last block too"),
    ("8.0", unet(
        ("        if i > 0:\n            x = halve(x)\n", "        x = halve(x)\n"),
        ("        if i > 0:\n            x = double(x)\n", ""),
        ("kept.pop()], dim=1))\n", "kept.pop()], dim=1))\n        x = double(x)\n"),
    ), "before the first block too"),
    ("8.0", unet(("enumerate(up)", "enumerate(up[::-1])")), "from the last to the first"),
    ("8.0", unet(("        if i > 0:\n            x = double(x)\n", "")), "never doubled"),
    ("8.0", unet(("        if i > 0:\n            x = halve(x)\n", "")), "never halved"),
    ("8.1", lambda y, u, p, null: torch.full_like(y, null) if u[0] < p else y, "one random number"),
    ("8.1", lambda y, u, p, null: torch.where(u >= p, null, y), "the other way round"),
    ("8.1", lambda y, u, p, null: torch.where(u <= 1 - p, null, y), "with probability 1 - p"),
    ("8.1", lambda y, u, p, null: torch.where(u < p, torch.full_like(y, 10), y), "written as 10"),
    ("8.1", lambda y, u, p, null: y * (u >= p), "0 is a class"),
    ("8.1", lambda y, u, p, null: y * (1 - 2 * (u < p).long()), "multiplied by -1"),
    ("8.1", lambda y, u, p, null: y.masked_fill(u < p, null - 1), "is the last class"),
    ("8.1", lambda y, u, p, null: (u >= p) * y + null, "added to the labels"),
    ("8.2", lambda model, average, optimizer, data, alpha_bar, steps, batch, p, decay: [],
     "never evaluated"),
    ("8.2", loop(("range(steps)", "range(len(data.x) // batch)")), "not evaluated once per step"),
    ("8.2", loop(("        out = model(xt, t, shown)\n",
                  "        model(xt, t, y)\n        out = model(xt, t, shown)\n")),
     "not evaluated once per step"),
    ("8.2", loop(("torch.randint(len(data.x), (batch,))", "torch.arange(len(data.x))"),
                 ("T + 1, (batch,))", "T + 1, (len(x0),))"),
                 ("torch.rand(batch)", "torch.rand(len(x0))")), "draw `batch` numbers"),
    ("8.2", loop(("    model.train()\n", "")), "in evaluation mode"),
    ("8.2", loop(("torch.randint(1, T + 1, (batch,))", "torch.randint(1, T + 1, (batch, 1))"),
                 ("alpha_bar[t][:, None, None, None]", "alpha_bar[t][:, :, None, None]")),
     "a tensor of `batch` integers"),
    ("8.2", loop(("T + 1, (batch,))", "T + 1, (1,)).expand(batch)")), "have the same t"),
    ("8.2", before("        t = torch.randint(1, T + 1, (batch,))\n"), "has the same times"),
    ("8.2", loop(("randint(1, T + 1, (batch,))", "randint(0, T + 1, (batch,))")), "t = 0 occurs"),
    ("8.2", loop(("randint(1, T + 1, (batch,))", "randint(T, (batch,))")), "t = 0 occurs"),
    ("8.2", loop(("randint(1, T + 1, (batch,))", "randint(1, T, (batch,))")), "t = T never occurs"),
    ("8.2", before("        rows = torch.randint(len(data.x), (batch,))\n"),
     "on the same pictures"),
    ("8.2", loop(("model(xt, t, shown)", "model(x0, t, shown)")), "contains no noise"),
    ("8.2", loop(("abar.sqrt() * x0 + (1 - abar).sqrt() * eps", "abar * x0 + (1 - abar) * eps")),
     "without its root"),
    ("8.2", loop(("(1 - abar).sqrt() * eps", "(1 - abar) * eps")), "without its root"),
    ("8.2", loop(("abar.sqrt() * x0 + (1 - abar).sqrt() * eps",
                  "(1 - abar).sqrt() * x0 + abar.sqrt() * eps")), "are exchanged: sqrt(abar)"),
    ("8.2", loop(("abar.sqrt() * x0 + (1 - abar).sqrt() * eps", "x0 + eps")),
     "without the two factors"),
    ("8.2", loop(("alpha_bar[t]", "alpha_bar[t - 1]")), "is that of t - 1"),
    ("8.2", loop(("randn_like", "rand_like")), "is uniform in 0..1"),
    ("8.2", loop(("torch.randn_like(x0)", "0.5 * torch.randn_like(x0)")),
     "does not have the variance 1"),
    ("8.2", loop(("F.mse_loss(out, eps)", "(abar * (out - eps) ** 2).mean()")),
     "weighted equally"),
    ("8.2", loop(("torch.rand(batch)", "torch.randn(batch)")), "the fraction of dropped labels"),
    ("8.2", loop(("alpha_bar[t][:, None, None, None]", "alpha_bar[t].mean()")),
     "needs three more dimensions"),
    ("8.2", loop(("randn_like(x0)", "randn(1, *x0.shape[1:]).expand_as(x0)")),
     "in the shape of the batch"),
    ("8.2", before("        rows = torch.randint(len(data.x), (batch,))\n",
                   "        x0, y = data.x[rows], data.y[rows]\n",
                   "        eps = torch.randn_like(x0)\n"), "on the same pictures"),
    ("8.2", loop(("    # before the loop\n", "    eps = torch.randn_like(data.x[:batch])\n"),
                 ("        eps = torch.randn_like(x0)\n", "")), "every step has the same noise"),
    ("8.2", loop(("data.num_classes, y)", "data.num_classes, y)[:, None]")),
     "`batch` integer labels"),
    ("8.2", loop(("torch.where(u < p, data.num_classes, y)", "y * (u >= p)")), "which is class A"),
    ("8.2", loop(("data.y[rows]", "data.y[:batch]")), "do not belong together"),
    ("8.2", loop(("model(xt, t, shown)", "model(xt, t, y)")), "no label is ever dropped"),
    ("8.2", loop(("torch.where(u < p, data.num_classes, y)",
                  "torch.full_like(y, data.num_classes)")),
     "every label is dropped"),
    ("8.2", loop(("torch.rand(batch)", "torch.rand(1)")), "dropped for whole batches"),
    ("8.2", before("        u = torch.rand(batch)\n"), "the same places of the batch lose"),
    ("8.2", loop(("u < p", "u > p")), "labels are kept with probability p"),
    ("8.2", loop(("u < p", "u < 0.1")), "the fraction of dropped labels"),
    ("8.2", loop((BACKWARD, "")), "no gradient reaches"),
    ("8.2", loop(("F.mse_loss(out, eps)", "((out - eps) ** 2).sum()")), "is a sum over"),
    ("8.2", loop(("F.mse_loss(out, eps)", "((out - eps) ** 2).sum((1, 2, 3)).mean()")),
     "is a sum over"),
    ("8.2", loop((BACKWARD, "        (-loss).backward()\n")), "the loss grows"),
    ("8.2", loop(("F.mse_loss(out, eps)", "F.mse_loss(out, x0)")), "is compared with x_0"),
    ("8.2", loop(("F.mse_loss(out, eps)", "F.mse_loss(out, xt)")), "is compared with x_t"),
    ("8.2", loop(("F.mse_loss(out, eps)", "(out + eps).square().mean()")), "compared with -eps"),
    ("8.2", loop(("F.mse_loss(out, eps)", "F.l1_loss(out, eps)")), "the absolute error"),
    ("8.2", loop(("F.mse_loss(out, eps)", "F.mse_loss(out, torch.randn_like(out))")),
     "with other noise"),
    ("8.2", loop(("F.mse_loss(out, eps)", "F.mse_loss(out, (1 - abar).sqrt() * eps)")),
     "weighted equally"),
    ("8.2", loop((STEP, "")), "the optimiser never steps"),
    ("8.2", loop((ZERO + BACKWARD + STEP, ZERO + STEP + BACKWARD)), "comes before loss.backward()"),
    ("8.2", loop((ZERO + BACKWARD + STEP, STEP + ZERO + BACKWARD)), "comes before loss.backward()"),
    ("8.2", loop((STEP, "        if step % 2:\n            optimizer.step()\n")),
     "does not step once per evaluation"),
    ("8.2", loop((ZERO + BACKWARD, BACKWARD + ZERO)), "zero_grad() comes between"),
    ("8.2", loop((ZERO, "")), "optimizer.zero_grad() is missing"),
    ("8.2", loop(("        with torch.no_grad():\n", "        if True:\n")), "how it was computed"),
    ("8.2", loop((AVERAGE, "")), "what it was before training"),
    ("8.2", loop(("a.mul_(decay).add_((1 - decay) * b)", "a = decay * a + (1 - decay) * b")),
     "what it was before training"),
    ("8.2", loop(("a.mul_(decay).add_((1 - decay) * b)", "a.copy_(b)")), "it has no memory"),
    ("8.2", loop(("a.mul_(decay).add_((1 - decay) * b)", "a.lerp_(b, decay)")),
     "decay and 1 - decay are exchanged"),
    ("8.2", loop((STEP + AVERAGE, AVERAGE + STEP)), "before the optimiser's step"),
    ("8.2", loop(("a.mul_(decay).add_((1 - decay) * b)", "a.lerp_(b, 0.02)")),
     "the average is not decay"),
    ("8.2", loop(("    return losses\n", "")), "returns None"),
    ("8.2", loop(("    return losses\n", "    return losses[-1]\n")), "one loss per step"),
    ("8.2", loop(("loss.item()", "loss")), "with their graphs"),
    ("8.2", loop(("loss.item()", "loss.item() ** 0.5")), "does not hold the mean squared"),
    ("8.3", 0, "but not nothing"),
    ("8.3", 0.918, "the start has the rest"),
    ("8.3", 1 - 0.995, "the newest weights"),
    ("8.3", 0.995, "what one step keeps"),
    ("8.3", 0.002, "a plain mean"),
    ("8.3", 0.5, "about 140 steps"),
    ("8.4", lambda c, n, w: (1 + w) * c - w * n, "each column of pixels"),
    ("8.4", lambda c, n, w: c + w.reshape(-1, 1, 1) * (c - n), "belong to the channels"),
    ("8.4", lambda c, n, w: (1 + w.mean()) * c - w.mean() * n, "the mean of the weights"),
    ("8.4", lambda c, n, w: torch.lerp(n, c, w.reshape(-1, 1, 1, 1)),
     "the convention is the other"),
    ("8.4", lambda c, n, w: c + float(w[0]) * (c - n), "the first sample's weight"),
    ("8.4", lambda c, n, w: (1 + w.reshape(-1, 1, 1, 1)) * c + w.reshape(-1, 1, 1, 1) * n,
     "the null output is added"),
    ("8.4", lambda c, n, w: (1 + w.reshape(-1, 1, 1, 1)) * c - n, "and here -1"),
    ("8.5", test_of_the_shape, "global generator"),
    ("8.5", test_that_asks_twice, "depends on the place"),
    ("8.5", test_that_asks_for_some, "sorts the ids"),
    ("8.5", test_that_asks_backwards, "the same noise for all"),
    ("8.5", test_that_compares_two, "ignores the seed"),
    ("8.5", test_of_two_seeds, "samples in common"),
    ("8.5", test_that_wants_one_noise_for_all, "which is right"),
    ("8.0", unet((HALVE, ""), (DOUBLE, "")), "neither halved nor doubled"),
    ("8.0", unet((HALVE, "        x = halve(x)\n")), "halved before the first block, too"),
    ("8.0", unet((HALVE, ""), ("        kept.append(x)\n",
                              "        kept.append(x)\n        x = halve(x)\n")),
     "halved after every block"),
    ("8.0", unet((DOUBLE, "        x = double(x)\n")), "doubled before the first block"),
    ("8.0", unet((DOUBLE, ""), ("kept.pop()], dim=1))\n",
                               "kept.pop()], dim=1))\n        x = double(x)\n")),
     "doubled after every block"),
    ("8.0", unet(("kept.pop()", "kept[-1]")), "gets the last output"),
    ("8.0", unet(("kept.pop()", "kept[0]")), "gets the first output"),
    ("8.0", unet(("    x = middle(x)\n", "    x = middle(x)\n    kept.append(x)\n")),
     "is kept as well"),
    ("8.0", unet(("        x = block(torch.cat([x, kept.pop()], dim=1))\n",
                  "        skip = kept.pop()\n"
                  "        skip = double(skip) if i else skip\n"
                  "        x = block(torch.cat([x, skip], dim=1))\n")), "is doubled, too"),
    ("8.0", unet(("    kept = []\n", "    kept, picture = [], x\n"),
                 (HALVE, "        x = halve(picture) if i else picture\n")),
     "starts from the first"),
    ("8.1", lambda y, u, p, null: y.masked_fill(u < p, null + 1), "null + 1 is outside"),
    ("8.1", lambda y, u, p, null: y.masked_fill(u < p, -1), "becomes -1"),
    ("8.2", loop(("model(xt, t, shown)", "model(xt, shown, t)")), "labels larger than K"),
    ("8.2", loop(("torch.randint(len(data.x), (batch,))", "torch.randint(batch, (batch,))")),
     "are never drawn"),
    ("8.2", loop(("randint(len(data.x), (batch,))", "randint(len(data.x) - 1, (batch,))")),
     "are never drawn"),
    ("8.2", loop(("        u = torch", "        xt = xt.clamp(-1, 1)\n        u = torch")),
     "never leaves -1..1"),
    ("8.2", loop(("model(xt, t, shown)", "model(eps, t, shown)")), "contains no picture"),
    ("8.2", loop(("randn_like(x0)", "randn(batch, 1, 1, 1).expand_as(x0)")),
     "in all pixels of a picture"),
    ("8.2", loop(("(1 - abar).sqrt() * eps", "(1 - abar.sqrt()) * eps")), "not 1 - sqrt(abar)"),
    ("8.2", loop(("data.num_classes, y)", "data.num_classes - 1, y)")), "the last class. (The"),
    ("8.2", loop(("data.num_classes, y)", "data.y.max() + 1, y)")), "the last class. (The"),
    ("8.2", loop(("data.num_classes, y)", "data.num_classes, y).float()")),
     "`batch` integer labels"),
    ("8.2", loop(("F.mse_loss(out, eps)", "0.5 * F.mse_loss(out, eps)")), "half of the mean"),
    ("8.2", loop(("F.mse_loss(out, eps)", "F.mse_loss(out, eps).sqrt()")), "the root of the mean"),
    ("8.2", loop(("F.mse_loss(out, eps)", "(out - eps).mean()")), "is not squared"),
    ("8.2", loop((STEP, "        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)\n"
                  + STEP)),
     "scaled or clipped"),
    ("8.3", 500 * 0.005, "the sum of what the steps"),
    ("8.3", 1 - 500 * 0.005, "is not taken away"),
    ("8.3", 500 * 0.995, "this is 500 x 0.995"),
    ("8.3", 0.995**50, "after 50 steps"),
    ("8.3", sum(0.995**k for k in range(500)), "the sum of the powers"),
    ("8.4", lambda c, n, w: c - w.reshape(-1, 1, 1, 1) * (c - n), "guides away from"),
    ("8.4", lambda c, n, w: (c - n) * w.reshape(-1, 1, 1, 1), "Add it to the conditional"),
    ("8.4", lambda c, n, w: c + ((c - n).permute(1, 2, 3, 0) * w).sum(-1), "over the batch"),
    ("8.4", lambda c, n, w: torch.stack([
     a + int(k) * (a - b) for a, b, k in zip(c, n, w, strict=True)]), "rounded to integers"),
    ("8.4", lambda c, n, w: torch.stack([
     (a + k * (a - b)).ravel() for a, b, k in zip(c, n, w, strict=True)]), "is flattened"),
    ("8.1", lambda y, u, p, null: y.masked_fill(u < p, int(y.max()) + 1), "the largest label"),
    ("8.1", lambda y, u, p, null: torch.full_like(y, null) if u.mean() < p else y, "the mean of u"),
    ("8.3", 0.975, "after 5 steps"),
]  # fmt: skip
