"""Observe a student's network for two attributes: what its output depends on, and its null.

All weights of a new network are moved a little, so that a last layer that starts at zero hides
nothing. `diagnosis` returns the name of the first mistake, or "" if there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

K = 3  # values of each attribute, 0..2; the null is 3
B = 6
SHAPE = (3, 8, 8)

Make = Callable[[], Any]

# What the message of an exception contains, and the mistake that leads to it.
SIGNS = {
    "must be Tensor, not tuple": "pair as a tensor",
    "must have the same dtype": "integers",
    f"(1x{B} and": "shape of t",
    f"(1x{B * 3 * 8 * 8} and": "flatten",
}


@lru_cache(maxsize=8)
def diagnosis(make: Make) -> str:
    """The name of the first mistake of the network `make()`, a key of `HINTS`, or ""."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        if isinstance(make, nn.Module):
            return "no class"
        try:
            for mistake in mistakes(make()):
                return mistake
        except (RuntimeError, TypeError) as error:
            for sign, mistake in SIGNS.items():
                if sign in str(error):
                    return mistake
            raise
    return ""


def mistakes(net: Any) -> Iterator[str]:
    """All mistakes, those first that make others."""
    if not isinstance(net, nn.Module):
        yield "no module"
        return
    if getattr(net, "prediction", None) != "x0":
        yield "prediction"
    if hasattr(net, "num_classes"):
        yield "num_classes"
    if not any(weight.requires_grad for weight in net.parameters()):
        yield "no weights"
        return
    yield from of_null(net)
    yield from of_time(net)
    for weight in net.parameters():
        weight.data.add_(0.1 * torch.randn_like(weight))
    yield from of_output(net)


def conditions() -> tuple[Tensor, Tensor]:
    """B pairs of attributes; both attributes vary, and they differ from each other."""
    return torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([1, 2, 0, 2, 0, 1])


def of_null(net: Any) -> Iterator[str]:
    """The method `null`: that it is there, the form of its result, and its values."""
    if not callable(getattr(net, "null", None)):
        yield "no null"
        return
    y = conditions()
    null = net.null(y)
    if any(bool((part != before).any()) for part, before in zip(y, conditions(), strict=True)):
        yield "null writes"
    if isinstance(null, (list, Tensor)):
        yield "null is one tensor" if isinstance(null, Tensor) else "null is a list"
        return
    if not isinstance(null, tuple) or len(null) != 2:
        yield "null is no pair"
        return
    alike = all(isinstance(n, Tensor) and n.shape == a.shape for n, a in zip(null, y, strict=True))
    if not alike:
        yield "shape of null"
        return
    if any(part.dtype != torch.int64 for part in null):
        yield "kind of null"
        return
    if any(bool((part != part[0]).any()) for part in null):
        yield "null varies"
    if any(bool(((part >= 0) & (part < K)).any()) for part in null):
        yield "null is a value"


def evaluated(net: Any, xt: Tensor, t: Tensor, y: Any) -> Any:
    """The output of the network in evaluation mode."""
    net.eval()
    return net(xt, t, y)


def inputs() -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """One batch: pictures of noise, times, and conditions."""
    return torch.randn(B, *SHAPE), torch.tensor([1, 200, 400, 600, 800, 1000]), conditions()


def of_time(net: Any) -> Iterator[str]:
    """Whether the untrained output is of one size for small and for large times."""
    xt, t, y = inputs()
    out = evaluated(net, xt, t, y)
    if not isinstance(out, Tensor) or out.shape != xt.shape:
        return  # `of_output` names it
    early, late = (
        float(evaluated(net, xt, torch.full_like(t, s), y).detach().std()) for s in (1, 1000)
    )
    if late > 20 * early > 0:
        yield "size of t"


def of_output(net: Any) -> Iterator[str]:
    """The shape of the output, and what it depends on."""
    xt, t, y = inputs()
    letter, colour = y
    try:
        evaluated(net, xt, t, net.null(y))
    except IndexError:
        yield "no row for the null"
        return
    out = evaluated(net, xt, t, y)
    if out is None:
        yield "no output"
        return
    if not isinstance(out, Tensor) or out.shape != xt.shape:
        yield "shape of the output"
        return
    if not out.requires_grad:
        yield "no gradient"
        return
    if bool((out >= 0).all()):
        yield "never negative"

    if not torch.equal(evaluated(net, xt, t, y), out):
        yield "random output"

    def changes(xt: Tensor = xt, t: Tensor = t, y: Any = y) -> bool:
        return not torch.allclose(evaluated(net, xt, t, y), out, rtol=1e-4, atol=1e-6)

    alone = torch.cat(
        [evaluated(net, xt[i : i + 1], t[i : i + 1], (letter[i : i + 1], colour[i : i + 1]))
         for i in range(B)]
    )  # fmt: skip
    if not torch.allclose(alone, out, rtol=1e-3, atol=1e-4):
        yield "depends on other samples"
    if not changes(xt=torch.randn_like(xt)):
        yield "without xt"
    if not changes(t=t.flip(0)):
        yield "without t"
    below = t.clamp(max=999)  # with t // 1000 only t = 1000 differs
    if torch.equal(evaluated(net, xt, below, y), evaluated(net, xt, below.flip(0), y)):
        yield "t rounded down"
    if not changes(y=((letter + 1) % K, colour)):
        yield "without the letter"
    if not changes(y=(letter, (colour + 1) % K)):
        yield "without the colour"
    if not changes(y=(colour, letter)):
        yield "one table"
    no_letter, no_colour = net.null(y)
    for k in range(K):
        value = torch.full_like(letter, k)
        for with_value, with_null in (
            ((value, colour), (no_letter, colour)),
            ((letter, value), (letter, no_colour)),
        ):
            if torch.equal(evaluated(net, xt, t, with_value), evaluated(net, xt, t, with_null)):
                yield "null without effect"


HINTS = {
    "no class": "this is a network already: hand in the class itself, MyNet, without parentheses.",
    "no module": "the class is not a torch.nn.Module, so it has no weights to train: write "
    "class MyNet(nn.Module).",
    "prediction": "the class needs the attribute prediction, with the value 'x0': `train` and "
    "`sample` read there what the output means.",
    "num_classes": "the attribute num_classes is for a condition that is one label. Here the "
    "condition is a pair, and `null` replaces it: remove num_classes.",
    "no weights": "the network has no weights: make the layers in __init__ and keep them as "
    "attributes, self.first = nn.Linear(...). A plain list of layers does not count; use "
    "nn.ModuleList.",
    "no null": "the class has no method null(y), which returns the pair of null values.",
    "null is one tensor": "null(y) returns one tensor. The condition is a pair, so its null is a "
    "pair as well: return the null of the letter, and that of the colour.",
    "null is a list": "null(y) returns a list. A condition of two attributes is a tuple: "
    "return a, b.",
    "null is no pair": "null(y) does not return a tuple of two tensors.",
    "shape of null": "null(y) does not return one value per sample: torch.full_like(y[0], 3) has "
    "the shape of y[0].",
    "kind of null": "null(y) returns floats, and a table of vectors is indexed by integers: "
    "torch.full_like(y[0], 3) keeps the dtype of y[0].",
    "null writes": "null(y) changes the numbers in y itself, so the labels of the batch are lost. "
    "Make new tensors: torch.full_like(y[0], 3).",
    "null varies": "null(y) depends on the values in y. The null stands for an attribute that is "
    "not given, so it is the same for all samples.",
    "null is a value": "the null is one of 0, 1 and 2, which are letters and colours. With three "
    "values the null is 3.",
    "pair as a tensor": "y is used as one tensor, and it is a pair: the letters are y[0], and the "
    "colours y[1].",
    "integers": "a layer gets integers, and its weights are floats: t[:, None] / 1000 is a float.",
    "shape of t": "t has the shape (B,), and a linear layer takes rows: t[:, None] has the shape "
    "(B, 1).",
    "flatten": "xt.flatten() makes one row of the whole batch. xt.flatten(1) makes one row per "
    "picture.",
    "size of t": "t is used as it is, up to 1000, so it drowns the other inputs. Divide it by "
    "1000, or use the vector e(t).",
    "no row for the null": "an index of the null is outside the table: for three values and the "
    "null 3 make nn.Embedding(4, ...).",
    "no output": "forward returns None: is a `return` missing?",
    "shape of the output": "the output does not have the shape of xt, (B, 3, 8, 8): end with "
    ".view_as(xt).",
    "no gradient": "no gradient flows from the output to the weights: remove detach and "
    "torch.no_grad from forward.",
    "never negative": "the output is never negative, and pictures lie in -1..1: let forward end "
    "with a linear layer, without relu or sigmoid after it.",
    "random output": "two evaluations with the same input have different outputs. Is there a "
    "dropout that is also active when the network samples? nn.Dropout is inactive in net.eval(), "
    "and F.dropout only with training=self.training.",
    "depends on other samples": "the output for a sample depends on the other samples of the "
    "batch: look for a mean over dimension 0, or for t[0], or for reshapes that mix rows.",
    "without xt": "the output does not depend on xt.",
    "without t": "the output does not depend on t, so the network cannot know how much noise there "
    "is.",
    "t rounded down": "the output is the same for all t below 1000. Is it t // 1000? That is "
    "rounded down to 0. Write t / 1000.",
    "without the letter": "the output does not depend on the letter, y[0].",
    "without the colour": "the output does not depend on the colour, y[1].",
    "one table": "letter 0 with colour 1 has the same output as letter 1 with colour 0: both "
    "attributes use one table. Make one nn.Embedding per attribute.",
    "null without effect": "the null of an attribute has the same output as one of its values.",
}
