"""The groups of flags that several commands share, and the checks of their combinations.

Nothing here imports torch before a table or a rule is built, so that `minicfg --help` is quick.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from minicfg.config import (
    APG_ETA,
    APG_R,
    DDIM_ETA,
    DDPM_V,
    DYNAMIC_THRESHOLD_BOUND,
    DYNAMIC_THRESHOLD_P,
    RESCALE_PHI,
    RuleName,
    SolverName,
)
from minicfg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minicfg.sampling import Rule
    from minicfg.schedule import Schedule
    from minicfg.solvers import Prediction, Table

MAX_SAMPLES = 1_000_000  # samples per label, or samples to score

# Larger weights have no use, and in float32 cancellation leaves `dynamic_threshold` no correct
# digit from about 1e6 on (measured: a relative error of 2e-4 at w = 1e3 and 0.2 at 1e6).
MAX_W = 1e6


@dataclass(frozen=True)
class SavingOptions:
    """What a training run writes on its way, in addition to the files at its end."""

    save_every: Annotated[
        int,
        tyro.conf.arg(
            help="Optimiser steps, 1 or more, between saved states. A run that is killed loses the "
            "steps since its last saved state. If a save on the way fails, a line on standard "
            "error reports it and training goes on; if the save at the end fails, the exit code is "
            "4."
        ),
    ] = 500
    keep: int = 0
    """Number of intermediate models, 0 or more, to keep in kept/. With 0 none is saved; otherwise
    one is saved with every state, and the oldest are deleted."""
    sample_every: int = 0
    """Optimiser steps, 0 or more, between pictures in samples/, which show two samples of each of
    the first ten classes at w = 1; 0 for no pictures."""
    tensorboard: bool = False
    """Log loss and learning rate for TensorBoard too (pip install tensorboard)."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if self.save_every < 1:
            raise UsageError(f"--save-every {self.save_every} is below 1; choose 1 or more.")
        if self.keep < 0:
            raise UsageError(f"--keep {self.keep} is negative; choose 0 or more.")
        if self.sample_every < 0:
            raise UsageError(f"--sample-every {self.sample_every} is negative; choose 0 or more.")


DEFAULT_SAVING = SavingOptions()


@dataclass(frozen=True)
class DataOptions:
    """How the images of folder:DIR are read, in --data and in --real."""

    follow_links: bool = False
    """Read images of a folder through links that lead out of it, as DVC and git-annex make them."""
    skip_bad: bool = False
    """Leave out files of a folder that cannot be used, and print how many there are and the first
    five, instead of stopping."""


DEFAULT_DATA = DataOptions()


@dataclass(frozen=True)
class Parameter:
    """A parameter of one solver or rule.

    Attributes:
        name: its field in `SamplingOptions`; the flag has hyphens for underscores.
        kind: whether it belongs to a solver or to a rule.
        owner: the solver or rule that has it.
        keyword: what the function of the owner calls it.
    """

    name: str
    kind: Literal["solver", "rule"]
    owner: str
    keyword: str


PARAMETERS = (
    Parameter("eta", "solver", "ddim", "eta"),
    Parameter("v", "solver", "ddpm", "v"),
    Parameter("phi", "rule", "rescale", "phi"),
    Parameter("P", "rule", "dynamic_threshold", "P"),
    Parameter("bound", "rule", "dynamic_threshold", "bound"),
    Parameter("apg_eta", "rule", "apg", "eta"),
    Parameter("apg_r", "rule", "apg", "r"),
)


def _help(text: str, metavar: str = "FLOAT") -> Any:
    """The help of a flag whose default depends on another flag, so that tyro must not print it."""
    return tyro.conf.arg(help=text, metavar=metavar, help_behavior_hint="")


@dataclass(frozen=True)
class SamplingOptions:
    """A solver, a guidance rule, their parameters, the interval of guidance, and clipping."""

    solver: SolverName = "ddpm"
    """The solver. dpmpp_2m needs the fewest steps; cfgpp requires --w from -1 to 0."""
    eta: Annotated[
        float | None,
        _help(
            "With --solver ddim: standard deviation of the fresh noise relative to that of ddpm, "
            f"from 0 to 1 (default {DDIM_ETA:g})."
        ),
    ] = None
    v: Annotated[
        float | None,
        _help(
            "With --solver ddpm: where the variance lies between the posterior's (0) and the "
            f"forward step's (1), interpolated in the logarithm (default {DDPM_V:g})."
        ),
    ] = None
    rule: Annotated[
        RuleName,
        tyro.conf.arg(
            help="How the two outputs are combined. guide is (1 + w) eps(x, y) - w eps(x, null). "
            "rescale and dynamic_threshold change this result; apg changes the difference of the "
            "two outputs first."
        ),
    ] = "guide"
    phi: Annotated[
        float | None,
        _help(
            "With --rule rescale: how far the standard deviation returns to that of the "
            f"conditional output, from 0 (not at all) to 1 (default {RESCALE_PHI:g})."
        ),
    ] = None
    P: Annotated[
        float | None,
        _help(
            "With --rule dynamic_threshold: quantile, from 0 to 1, of the absolute values of the "
            f"guess of x_0, beyond which they are clipped (default {DYNAMIC_THRESHOLD_P:g})."
        ),
    ] = None
    bound: Annotated[
        float | None,
        _help(
            "With --rule dynamic_threshold: number above 0; a guess of x_0 whose quantile is "
            "larger is scaled down to it. --clip still applies afterwards "
            f"(default {DYNAMIC_THRESHOLD_BOUND:g})."
        ),
    ] = None
    apg_eta: Annotated[
        float | None,
        _help(
            "With --rule apg: fraction of the parallel component to keep, from 0 to 1 "
            f"(default {APG_ETA:g})."
        ),
    ] = None
    apg_r: Annotated[
        float | None,
        _help(
            "With --rule apg: largest norm of the difference of the two guesses of x_0, above 0 "
            f"(default {APG_R:g})."
        ),
    ] = None
    interval: Annotated[
        tuple[float, float] | None,
        _help(
            "Apply guidance only where log SNR lies in [LOW, HIGH), so nowhere if LOW = HIGH "
            "(default: everywhere).",
            metavar="LOW HIGH",
        ),
    ] = None
    clip: Annotated[
        float,
        tyro.conf.arg(
            help="Bound above 0 on the guess of x_0, which is clipped to it at every step; inf for "
            "no clipping, as in Algorithm 2 of the guidance paper."
        ),
    ] = 1.0

    def __post_init__(self) -> None:
        """Refuse a parameter of what is not chosen, an interval from high to low, and clip <= 0."""
        for parameter in PARAMETERS:
            value = getattr(self, parameter.name)
            chosen = getattr(self, parameter.kind)
            if value is not None and chosen != parameter.owner:
                flag = parameter.name.replace("_", "-")
                raise UsageError(
                    f"--{flag} {value:g} works only with --{parameter.kind} {parameter.owner}; "
                    f"the {parameter.kind} is {chosen}."
                )
        if self.interval and not self.interval[0] <= self.interval[1]:
            low, high = self.interval
            raise UsageError(
                f"--interval {low:g} {high:g} is not an interval; give two numbers LOW <= HIGH."
            )

        if not self.clip > 0:  # NaN too
            raise UsageError(
                f"--clip {self.clip:g} is not above 0; choose a positive number, or inf for no "
                "clipping."
            )

    def __str__(self) -> str:
        """In words, for titles and files."""
        words = [self.solver, *self._parameters_in_words(self.solver)]
        if self.rule != "guide":
            words += [self.rule, *self._parameters_in_words(self.rule)]
        if self.interval:
            words.append("log SNR in {:g}..{:g}".format(*self.interval))
        if self.clip != 1:
            words.append("not clipped" if self.clip == math.inf else f"clip {self.clip:g}")
        return ", ".join(words)

    def check_weights(self, ws: Sequence[float]) -> None:
        """Refuse weights that are not finite, too large, or outside the range of the solver."""
        from minicfg.guidance import check_w

        for w in ws:
            check_w(w)
            if abs(w) > MAX_W:
                raise UsageError(
                    f"--w {w:g} is outside -{MAX_W:g}..{MAX_W:g}; choose a weight in this range."
                )
            if self.solver == "cfgpp" and not -1 <= w <= 0:
                raise UsageError(
                    f"--w {w:g} is outside -1..0, the range of --solver cfgpp (a scale 1 + w from "
                    "0 to 1); choose a weight in this range or another solver."
                )

    def make_table(self, schedule: Schedule, steps: int, prediction: Prediction) -> Table:
        """Build the solver's table, with guidance off outside the interval."""
        from minicfg import solvers

        make = solvers.named(self.solver)
        table = make(schedule, steps, prediction=prediction, **self._parameters(self.solver))
        if self.interval is None:
            return table
        low, high = self.interval
        return solvers.with_interval(table, schedule, low, high)

    def make_rule(self) -> Rule | None:
        """Build the rule with its parameters; None for `guide`, which the sampler applies itself.

        Raises:
            UsageError: where a parameter is out of its range.
        """
        if self.rule == "guide":
            return None
        import torch

        from minicfg import guidance

        rule = partial(getattr(guidance, self.rule), **self._parameters(self.rule))
        # A rule checks its parameters when it is called. One call on one number does that now,
        # before a network is loaded.
        one = torch.ones(1, 1)
        try:
            rule(one, one, 0.0, one, 1.0, 1.0)
        except UsageError as error:
            raise UsageError(f"--rule {self.rule}: {error}") from None
        return rule

    def _parameters(self, owner: str) -> dict[str, float]:
        """The keyword arguments of `owner` that the user gave."""
        values = {p.keyword: getattr(self, p.name) for p in PARAMETERS if p.owner == owner}
        return {keyword: value for keyword, value in values.items() if value is not None}

    def _parameters_in_words(self, owner: str) -> list[str]:
        return [f"{keyword} {value:g}" for keyword, value in self._parameters(owner).items()]
