"""Observe a student's training loop: what the network is shown, and what the optimiser does.

The loop runs on small pictures that can be recognised under the noise, with a network and an
optimiser that record each call. `diagnosis` then goes through the loop in the order of its lines
and returns the name of the first mistake, or "" if there is none.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from minicfg.data import Dataset

T = 10
LABELS = 4  # of the pictures
CLASSES = 5  # the last class has no picture, so that the largest label is not K - 1
PICTURES = 64  # as many as a picture has pixels, so that their signs can be orthogonal
SIDE = 8
STEPS, BATCH, P, DECAY = 80, 24, 0.2, 0.9  # no default of the notebook's loop
# The loop is checked with pictures of this size. It is so large that each picture, and with it the
# noise, can be found exactly in x_t; the network of the check accepts any numbers.
AMPLITUDE = 30.0

Loop = Callable[..., Any]


@dataclass
class Call:
    """One evaluation of the network."""

    xt: Tensor
    t: Tensor
    y: Tensor
    training: bool
    out: Tensor
    gradient: Tensor | None = None  # of the loss with respect to `out`


@dataclass
class Update:
    """One step of the optimiser: what had happened until then."""

    forwards: int
    backwards: int
    gradient: Tensor | None  # the one that the optimiser uses
    newest: Tensor | None  # the one of the last backward pass alone


@dataclass
class Record:
    """All that was observed of one run."""

    calls: list[Call] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)  # before training, and after each update
    backwards: int = 0
    newest: Tensor | None = None
    average: Tensor | None = None
    average_has_graph: bool = False
    returned: Any = None


class Network(nn.Module):
    """A network with one vector of weights, which are also its output for every sample."""

    prediction = "eps"
    num_classes = CLASSES

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, SIDE**2))
        self.record = record
        self.weight.register_hook(self._backward)

    def __deepcopy__(self, memo: Any) -> Network:
        """A copy records nothing."""
        other = Network(Record())
        other.load_state_dict(self.state_dict())
        return other

    def _backward(self, gradient: Tensor) -> None:
        self.record.backwards += 1
        self.record.newest = gradient.clone()

    def forward(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """The weights, once per sample."""
        if not self.weight.requires_grad:
            raise RuntimeError(
                "this is `average`, which is not trained. Evaluate `model`, whose weights the "
                "optimiser has"
            )
        out = self.weight.view(1, 1, SIDE, SIDE).expand(len(xt), 1, SIDE, SIDE).clone()
        call = Call(xt.detach().clone(), t, y, self.training, out.detach())
        if out.requires_grad:

            def keep(gradient: Tensor) -> None:
                call.gradient = gradient

            out.register_hook(keep)
        self.record.calls.append(call)
        return out


class Optimizer(torch.optim.SGD):
    """Gradient descent with steps of one length, which records the gradient of each step."""

    def __init__(self, model: Network) -> None:
        super().__init__(model.parameters(), lr=1.0)
        self.model = model

    def step(self, closure: Any = None) -> Any:
        """Record, then step."""
        record, gradient = self.model.record, self.model.weight.grad
        kept = None if gradient is None else gradient.clone()
        record.updates.append(Update(len(record.calls), record.backwards, kept, record.newest))
        if gradient is not None:
            with torch.no_grad():
                self.model.weight.sub_(0.1 * gradient / (gradient.norm() + 1e-12))
        record.weights.append(self.model.weight.detach().clone())


def data() -> Dataset:
    """Pictures of +1 and -1, any two of which are orthogonal, with labels."""
    hadamard = torch.ones(1, 1)
    while len(hadamard) < PICTURES:
        hadamard = torch.cat(
            [torch.cat([hadamard, hadamard], 1), torch.cat([hadamard, -hadamard], 1)]
        )
    pictures = Dataset(
        hadamard.view(PICTURES, 1, SIDE, SIDE) * 0.5,
        torch.arange(PICTURES) % LABELS,
        classes=tuple("ABCDE"),
    )
    pictures.x.mul_(2 * AMPLITUDE)  # a Dataset is checked when it is made: it holds -1..1
    return pictures


def observe(loop: Loop) -> Record:
    """Run the student's loop, with torch's random stream in a known state."""
    record = Record()
    model = Network(record).eval()
    record.weights.append(model.weight.detach().clone())
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = Optimizer(model)
    alpha_bar = torch.linspace(1, 0.05, T + 1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        record.returned = loop(
            model, average, optimizer, data(), alpha_bar, STEPS, batch=BATCH, p=P, decay=DECAY
        )
    record.average = average.weight.detach().clone()
    record.average_has_graph = average.weight.requires_grad
    return record


@lru_cache(maxsize=8)
def diagnosis(loop: Loop) -> str:
    """The name of the first mistake, a key of `HINTS`, or ""."""
    record = observe(loop)
    for found in (
        shown(record),
        forward_sample(record),
        labels(record),
        loss_function(record),
        optimisation(record),
        averaging(record),
        returned(record),
    ):
        for mistake in found:
            return mistake
    return ""


def spread(values: Tensor) -> float:
    """The largest minus the smallest."""
    return float(values.max() - values.min())


def shown(record: Record) -> Iterator[str]:
    """The number of evaluations, the mode of the network, the batch and the times."""
    calls = record.calls
    if not calls:
        yield "never evaluated"
        return
    if len(calls) != STEPS:
        yield "evaluations"
    if any(call.xt.shape != (BATCH, 1, SIDE, SIDE) for call in calls):
        yield "batch"
        return
    if not all(call.training for call in calls):
        yield "mode"
    if any(call.y.shape == (BATCH,) and call.y.max() > CLASSES for call in calls):
        yield "exchanged arguments"
        return
    if any(call.t.is_floating_point() or call.t.shape != (BATCH,) for call in calls):
        yield "kind of t"
        return
    times = torch.stack([call.t for call in calls])
    if all(spread(row) == 0 for row in times):
        yield "one t for all" if spread(times) else "t drawn once"
    if bool((times == times[0]).all()):
        yield "t drawn once"
    if times.min() < 1:
        yield "t from 0"
    if times.max() != T:
        yield "t without T"


def found_pictures(record: Record) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of all samples: the number of the picture, its factor in x_t, the remaining noise, and t."""
    pictures = data().x.flatten(1)
    xt = torch.cat([call.xt for call in record.calls]).flatten(1)
    size = xt @ pictures.T / pictures[0].square().sum()
    factor, number = size.max(1)
    noise = xt - factor[:, None] * pictures[number]
    return number, factor, noise, torch.cat([call.t for call in record.calls])


SIGNALS: dict[str, Callable[[Tensor], Tensor]] = {
    "": torch.sqrt,
    "no root": lambda abar: abar,
    "exchanged": lambda abar: (1 - abar).sqrt(),
    "no factors": torch.ones_like,
}
NOISES: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda abar: (1 - abar).sqrt(),
    "no root": lambda abar: 1 - abar,
    "exchanged": torch.sqrt,
    "no factors": torch.ones_like,
    "one minus root": lambda abar: 1 - abar.sqrt(),
}


def forward_sample(record: Record) -> Iterator[str]:
    """Whether x_t is sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, with fresh noise for each element."""
    number, factor, noise, t = found_pictures(record)
    if float(torch.cat([call.xt for call in record.calls]).abs().max()) <= 1:
        yield "clipped x_t"
        return
    if float(factor.abs().max()) < 0.1:
        yield "only noise"
        return
    if len(number.view(STEPS, BATCH).unique(dim=0)) == 1:
        yield "one batch"
    if len(number.unique()) < PICTURES:  # 1,920 draws: each picture occurs 30 times on average
        yield "only some pictures"
    if float(noise.std(dim=1).max()) < 1e-2 < float(noise.abs().max()):
        yield "one number of noise"
    power = torch.stack([noise[t == s].square().mean() for s in range(1, T + 1)])
    power = power * SIDE**2 / (SIDE**2 - 1)  # one dimension of the noise is that of the picture
    if float(power.max()) < 1e-3:
        yield "no noise"
        return
    table = torch.linspace(1, 0.05, T + 1)

    def fits(signal: str, of_noise: str, shift: int = 0, scale: float = 1.0) -> bool:
        abar = table[t - shift]
        is_signal = (factor - SIGNALS[signal](abar)).abs().max() < 0.04
        wanted = scale * NOISES[of_noise](table[1 - shift : T + 1 - shift]).square()
        return bool(is_signal) and bool(((power - wanted).abs() < 0.15 * wanted + 1e-3).all())

    if not fits("", ""):
        for signal in SIGNALS:
            for of_noise in NOISES:
                if (signal or of_noise) and fits(signal, of_noise):
                    yield "exchanged" if "exchanged" in (signal, of_noise) else signal or of_noise
        if fits("", "", shift=1):
            yield "index of alpha_bar"
        if fits("", "", scale=1 / 3):
            yield "uniform noise"
        ratios = power / (1 - table[1:])
        right_signal = (factor - table[t].sqrt()).abs().max() < 0.04
        if right_signal and spread(ratios) < 0.15 * float(ratios.mean()):
            yield "size of the noise"
        yield "forward sample"
    eps = found_noise(record)
    if all(float((row - row[:1]).abs().max()) < 1e-2 for row in eps.unflatten(0, (STEPS, BATCH))):
        yield "one noise for all"
    by_step = eps.unflatten(0, (STEPS, BATCH))
    if float((by_step - by_step[:1]).abs().max()) < 1e-2:
        yield "noise drawn once"


def found_noise(record: Record) -> Tensor:
    """The noise eps in x_t, if the forward sample is right."""
    pictures = data().x.flatten(1)
    number, _, _, t = found_pictures(record)
    abar = torch.linspace(1, 0.05, T + 1)[t][:, None]
    xt = torch.cat([call.xt for call in record.calls]).flatten(1)
    return (xt - abar.sqrt() * pictures[number]) / (1 - abar).sqrt()


def labels(record: Record) -> Iterator[str]:
    """Which labels the network is given, and which are dropped."""
    if any(call.y.shape != (BATCH,) or call.y.is_floating_point() for call in record.calls):
        yield "kind of y"
        return
    number, *_ = found_pictures(record)
    given = torch.stack([call.y for call in record.calls])
    own = data().y[number].view(STEPS, BATCH)
    null = given == CLASSES
    other = (given != own) & ~null
    if other.any():
        wrong = given[other]
        fraction = float(other.float().mean())
        if fraction < P + 0.045 and bool((wrong == CLASSES - 1).all()):
            yield "last class for null"
        yield "class 0 for null" if fraction < P and not wrong.any() else "labels of others"
    of_batch = null.float().mean(1)
    fraction = float(of_batch.mean())
    if fraction == 0:
        yield "never dropped"
    if fraction == 1:
        yield "always dropped"
    if all(f in (0.0, 1.0) for f in of_batch.tolist()):
        yield "dropped by the batch"
    if bool((null == null[0]).all()):
        yield "dropped once"
    if abs(fraction - (1 - P)) < 0.05:
        yield "kept for dropped"
    # The standard error of the fraction is sqrt(0.2 x 0.8 / 1920) = 0.009.
    if abs(fraction - P) > 0.045:
        yield "fraction dropped"


def loss_function(record: Record) -> Iterator[str]:
    """What the output is compared with, and how."""
    if any(call.gradient is None for call in record.calls):
        yield "no backward"
        return
    out = torch.cat([call.out for call in record.calls]).flatten(1)
    gradient = torch.cat([call.gradient for call in record.calls]).flatten(1)  # pyright: ignore
    eps = found_noise(record)
    number, _, _, t = found_pictures(record)
    x0 = data().x.flatten(1)[number]
    abar = torch.linspace(1, 0.05, T + 1)[t][:, None]
    xt = abar.sqrt() * x0 + (1 - abar).sqrt() * eps

    def alike(target: Tensor) -> float:
        return float(torch.cosine_similarity(gradient.ravel(), (out - target).ravel(), dim=0))

    mean_of_squares = 2 / (BATCH * SIDE**2)
    if alike(eps) > 0.999:
        scale = float((gradient * (out - eps)).sum() / (out - eps).square().sum())
        if abs(scale / mean_of_squares - 1) > 0.01:
            yield "half" if abs(scale / mean_of_squares - 0.5) < 0.01 else "sum"
        return
    per_step = torch.stack([gradient.ravel(), (out - eps).ravel()]).unflatten(1, (STEPS, -1))
    if bool((torch.cosine_similarity(per_step[0], per_step[1], dim=1) > 0.999).all()):
        yield "root"
    if spread(gradient) < 1e-3 * float(gradient.abs().max()):
        yield "not squared"
    if alike(eps) < -0.999:
        yield "uphill"
    for name, target in (("x0 as target", x0), ("xt as target", xt), ("minus eps", -eps)):
        if alike(target) > 0.999:
            yield name
    if spread(gradient.abs()) < 1e-3 * float(gradient.abs().max()):
        yield "absolute error"
    target = out - gradient / mean_of_squares
    correlation = float((target * eps).mean() / (target.std() * eps.std()))
    if abs(correlation) < 0.05 and abs(float(target.std()) - 1) < 0.05:
        yield "other noise"
    yield "target"


def optimisation(record: Record) -> Iterator[str]:
    """The order zero_grad, backward, step."""
    updates = record.updates
    if not updates:
        yield "no step"
        return
    for place, update in enumerate(updates, 1):
        if update.backwards < min(place, update.forwards):
            yield "step before backward"
            return
    if len(updates) != STEPS:
        yield "number of steps"
    if all(u.gradient is None or not u.gradient.any() for u in updates):
        yield "zero_grad after backward"
        return
    given = [(u.gradient, u.newest) for u in updates if u.gradient is not None]
    if len(given) == len(updates) and all(
        newest is not None and torch.cosine_similarity(gradient, newest, dim=0) > 0.99999
        for gradient, newest in given
    ):
        sizes = torch.tensor([float(g.norm() / n.norm()) for g, n in given])  # pyright: ignore
        if float((sizes - 1).abs().max()) > 1e-3:
            yield "gradient of another size"
    for update in updates:
        if update.gradient is None or update.newest is None:
            yield "zero_grad after backward"
        elif not torch.allclose(update.gradient, update.newest, rtol=1e-4, atol=1e-8):
            yield "no zero_grad"


def averaging(record: Record) -> Iterator[str]:
    """Whether the average is `average <- decay average + (1 - decay) weights` after each step."""
    assert record.average is not None

    def average_of(weights: list[Tensor], decay: float) -> Tensor:
        value = record.weights[0]
        for now in weights:
            value = decay * value + (1 - decay) * now
        return value

    def equals(value: Tensor) -> bool:
        return torch.allclose(record.average, value, rtol=1e-4, atol=1e-6)  # pyright: ignore

    if record.average_has_graph:
        yield "graph of the average"
    if not equals(average_of(record.weights[1:], DECAY)):
        if equals(record.weights[0]):
            yield "no average"
        if equals(record.weights[-1]):
            yield "a copy for the average"
        if equals(average_of(record.weights[1:], 1 - DECAY)):
            yield "exchanged decay"
        if equals(average_of(record.weights[:-1], DECAY)):
            yield "average too early"
        yield "average"


def returned(record: Record) -> Iterator[str]:
    """Whether the losses come back as a list of numbers."""
    losses = record.returned
    if losses is None:
        yield "nothing returned"
        return
    if not isinstance(losses, (list, tuple)) or len(losses) != STEPS:
        yield "no list"
        return
    if any(isinstance(loss, Tensor) and loss.requires_grad for loss in losses):
        yield "graphs in the list"
    eps = found_noise(record).unflatten(0, (STEPS, BATCH))
    for call, noise, loss in zip(record.calls, eps, losses, strict=True):
        error = float((call.out.flatten(1) - noise).square().mean())
        if not math.isclose(float(loss), error, rel_tol=1e-2):
            yield "other losses"
            return


HINTS = {
    "never evaluated": "the network is never evaluated: write out = model(xt, t, y).",
    "evaluations": "the network is not evaluated once per step: `steps` times, on one batch each. "
    "(Is `return` inside the loop?)",
    "batch": "x_t does not have the shape (batch, 1, H, W): draw `batch` numbers of pictures in "
    "0..len(data.x) - 1 in each step, and index data.x by them.",
    "mode": "the network is in evaluation mode, in which layers such as dropout do nothing. Call "
    "model.train() before the loop.",
    "exchanged arguments": "the network is given labels larger than K. Is the order of the "
    "arguments model(xt, t, y)?",
    "kind of t": "t has to be a tensor of `batch` integers, one per picture.",
    "one t for all": "all pictures of a batch have the same t. Draw one per picture: "
    "torch.randint(1, T + 1, (batch,)).",
    "t drawn once": "every step has the same times. Draw t inside the loop, anew in each step.",
    "t from 0": "t = 0 occurs, where x_t is the data, without noise. Times are 1..T, and "
    "torch.randint excludes its upper end.",
    "t without T": "t = T never occurs, the time at which sampling starts. torch.randint excludes "
    "its upper end; T is len(alpha_bar) - 1.",
    "one batch": "every step is taken on the same pictures. Draw the rows anew in each step.",
    "only some pictures": "some pictures of the data are never drawn. Row numbers are drawn from "
    "all of 0..len(data.x) - 1: torch.randint(len(data.x), (batch,)).",
    "clipped x_t": "x_t never leaves -1..1, so it is clipped. The noise takes it outside; only the "
    "guess of x_0 is clipped, when a sample is drawn.",
    "only noise": "x_t contains no picture: the network is given the noise alone.",
    "one number of noise": "the noise is the same in all pixels of a picture. Draw it in the shape "
    "of the pictures: torch.randn_like(x0).",
    "one minus root": "the factor of the noise is sqrt(1 - abar), and not 1 - sqrt(abar): the "
    "squares of the two factors add up to 1.",
    "no noise": "x_t contains no noise: the network is given x_0, or a multiple of it.",
    "no root": "alpha_bar is used without its root: x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps.",
    "exchanged": "the factors of data and noise are exchanged: sqrt(abar) belongs to the data.",
    "no factors": "the noise is added without the two factors sqrt(abar) and sqrt(1 - abar), or "
    "with one of them only.",
    "index of alpha_bar": "alpha_bar is that of t - 1. The table has T + 1 entries, and its entry "
    "0 belongs to the data: use alpha_bar[t].",
    "uniform noise": "the noise is uniform in 0..1 (torch.rand), not normal (torch.randn).",
    "size of the noise": "the noise in x_t does not have the variance 1: use torch.randn_like(x0), "
    "without another factor.",
    "forward sample": "x_t is not sqrt(abar) x_0 + sqrt(1 - abar) eps with abar = alpha_bar[t]. "
    "The table contains the products already, and its entries at t have the shape (batch,), which "
    "needs three more dimensions: alpha_bar[t][:, None, None, None].",
    "one noise for all": "all pictures of a batch get the same noise. Draw it in the shape of the "
    "batch: torch.randn_like(x0).",
    "noise drawn once": "every step has the same noise. Draw it inside the loop.",
    "kind of y": "y has to be a tensor of `batch` integer labels, one per picture.",
    "last class for null": "dropped labels become data.num_classes - 1, the last class. (The data "
    "of this check have no picture of that class.) The null label is data.num_classes.",
    "class 0 for null": "dropped labels become 0, which is class A. The null label is "
    "data.num_classes, the row of the table after the last class.",
    "labels of others": "pictures and labels do not belong together: index data.x and data.y by "
    "the same rows.",
    "never dropped": "no label is ever dropped, so the row of the null label is never trained. "
    "Is the result of hidden_labels passed to the network?",
    "always dropped": "every label is dropped, so the network never learns what a label means.",
    "dropped by the batch": "labels are dropped for whole batches: one random number decides for "
    "all pictures. Draw one per picture, torch.rand(batch).",
    "dropped once": "in every step the same places of the batch lose their label. Draw one random "
    "number per picture inside the loop.",
    "kept for dropped": "labels are kept with probability p, and dropped with probability 1 - p.",
    "fraction dropped": "the fraction of dropped labels is not p. Use the argument p and uniform "
    "numbers (torch.rand), and leave data.y as it is.",
    "no backward": "no gradient reaches the network: loss.backward() is missing, or the output was "
    "detached before it.",
    "sum": "the loss is a sum over pixels or pictures. Take the mean, which does not depend on the "
    "size of a batch or picture.",
    "half": "the loss is half of the mean square. The list of losses then does not start at 1: "
    "take the mean of (out - eps)^2.",
    "root": "this is the root of the mean squared error. It weights batches differently; leave the "
    "root out.",
    "not squared": "the difference is not squared, so the loss falls without end as all outputs "
    "become smaller.",
    "uphill": "the gradient has the wrong sign: the loss grows.",
    "x0 as target": "the output is compared with x_0. This network predicts the noise.",
    "xt as target": "the output is compared with x_t. This network predicts the noise.",
    "minus eps": "the output is compared with -eps: the sign of the noise.",
    "absolute error": "this is the absolute error, which is smallest for the median of the noise. "
    "Guidance uses its mean: take the squared error.",
    "other noise": "the output is compared with other noise than the one in x_t, which cannot be "
    "predicted. Draw eps once, and use it twice.",
    "target": "the loss is not the mean of (out - eps)^2 with the noise eps that is in x_t, all "
    "pictures weighted equally.",
    "no step": "the optimiser never steps, so the weights stay as they are: optimizer.step().",
    "step before backward": "optimizer.step() comes before loss.backward(), so it uses no gradient "
    "or that of the step before.",
    "number of steps": "the optimiser does not step once per evaluation of the network.",
    "zero_grad after backward": "the gradient is 0 when the optimiser steps: zero_grad() comes "
    "between backward() and step(). The order is zero_grad, backward, step.",
    "gradient of another size": "the optimiser gets a multiple of the gradient of the loss: it is "
    "scaled or clipped after loss.backward(). Leave that out here.",
    "no zero_grad": "the gradients of all steps add up, because backward() adds to what is there: "
    "optimizer.zero_grad() is missing.",
    "graph of the average": "the average records how it was computed, so memory grows with each "
    "step. Update it under `with torch.no_grad():`.",
    "no average": "the average is what it was before training. `a = ...` gives a new tensor a name "
    "and changes no weight; write into a: a.lerp_(b, 1 - decay).",
    "a copy for the average": "the average equals the last weights: it has no memory. It keeps the "
    "fraction `decay` of what it was.",
    "exchanged decay": "decay and 1 - decay are exchanged: the average keeps the fraction `decay` "
    "of what it was.",
    "average too early": "the average is updated before the optimiser's step, with the weights of "
    "the step before.",
    "average": "the average is not decay * average + (1 - decay) * weights after each step.",
    "nothing returned": "your function returns None. Return the list of the losses.",
    "no list": "return a list with one loss per step.",
    "graphs in the list": "the list holds tensors with their graphs, so no memory is freed. Append "
    "loss.item().",
    "other losses": "the list does not hold the mean squared error of each step.",
}
