"""How samples are drawn: the flags that `minicfg sample`, `evaluate` and `sweep` have in common.

torch is imported when a table or a rule is asked for, so that `--help` is quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from minicfg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minicfg.sampling import Rule
    from minicfg.schedule import Schedule
    from minicfg.solvers import Prediction, Table

Own = Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")]

# Whose a parameter is: a field here, its owner, and what the owner's function calls it.
PARAMETERS = (
    ("eta", "ddim", "eta"),
    ("v", "ddpm", "v"),
    ("phi", "rescale", "phi"),
    ("P", "dynamic_threshold", "P"),
    ("bound", "dynamic_threshold", "bound"),
    ("apg_eta", "apg", "eta"),
    ("apg_r", "apg", "r"),
)


MOST_W = 1e6  # beyond, some rule's float32 would overflow


@dataclass(frozen=True)
class How:
    """A solver, a rule, what belongs to each, and where in the chain guidance is on."""

    solver: Literal["ddpm", "ddim", "dpmpp_2m", "cfgpp"] = "ddpm"
    """dpmpp_2m needs the fewest steps; cfgpp wants --w in -1..0."""
    eta: Own = None
    """Of ddim: the share of fresh noise, 0..1; 0 by default."""
    v: Own = None
    """Of ddpm: 0..1, between the two variances that the paper interpolates; 0 by default."""
    rule: Literal["guide", "rescale", "dynamic_threshold", "apg"] = "guide"
    """What mixes the two outputs: the paper's sum, or a rule that bends it."""
    phi: Own = None
    """Of rescale: how far the mix gets its deviation back, 0..1; 0.7 by default."""
    P: Own = None
    """Of dynamic_threshold: the quantile to cut at, 0..1; 0.995 by default."""
    bound: Own = None
    """Of dynamic_threshold: what to shrink into, above 0; 1 by default."""
    apg_eta: Own = None
    """Of apg: the share kept of what points along the guess, 0..1; 0 by default."""
    apg_r: Own = None
    """Of apg: the greatest length of the difference of the guesses, above 0; inf by default."""
    interval: Annotated[
        tuple[float, float] | None, tyro.conf.arg(metavar="LOW HIGH", help_behavior_hint="")
    ] = None
    """Guide where log SNR is in [LOW, HIGH) alone; everywhere by default."""

    def __post_init__(self) -> None:
        """Refuse a parameter of what is not chosen, and an interval that is none."""
        for name, owner, _ in PARAMETERS:
            value, kind = getattr(self, name), "solver" if name in ("eta", "v") else "rule"
            if value is not None and getattr(self, kind) != owner:
                flag = name.replace("_", "-")
                raise UsageError(
                    f"--{flag} {value:g}: --{kind} {getattr(self, kind)} has no {flag}"
                )
        if self.interval and not self.interval[0] <= self.interval[1]:
            low, high = self.interval
            raise UsageError(f"--interval {low:g} {high:g}: LOW <= HIGH is needed")

    def __str__(self) -> str:
        """In words, for titles and files."""
        words = [self.solver, *self._named(self.solver)]
        if self.rule != "guide":
            words += [self.rule, *self._named(self.rule)]
        if self.interval:
            words.append("log SNR in {:g}..{:g}".format(*self.interval))
        return ", ".join(words)

    def check_ws(self, ws: Sequence[float]) -> None:
        """Refuse weights that are no finite numbers, too large, or not this solver's."""
        from minicfg.guidance import check_w

        for w in ws:
            check_w(w)
            if abs(w) > MOST_W:
                raise UsageError(f"--w {w:g}: at most {MOST_W:g} either way is allowed")
            if self.solver == "cfgpp" and not -1 <= w <= 0:
                raise UsageError(f"--w {w:g}: cfgpp wants a weight in -1..0, a scale 1 + w in 0..1")

    def table(self, schedule: Schedule, steps: int, prediction: Prediction) -> Table:
        """The solver's table, with guidance off outside the interval."""
        from minicfg import solvers

        make = solvers.named(self.solver)
        table = make(schedule, steps, prediction=prediction, **self._own(self.solver))
        return solvers.with_interval(table, schedule, *self.interval) if self.interval else table

    def mix(self) -> Rule | None:
        """The rule with its parameters, which are refused here if they cannot be."""
        if self.rule == "guide":
            return None
        import torch

        from minicfg import guidance

        rule, one = partial(getattr(guidance, self.rule), **self._own(self.rule)), torch.ones(1, 1)
        try:
            rule(one, one, 0.0, one, 1.0, 1.0)
        except UsageError as error:
            raise UsageError(f"--rule {self.rule}: {error}") from None
        return rule

    def _own(self, owner: str) -> dict[str, float]:
        """What was given of the parameters of `owner`, by its function's names."""
        values = {own: getattr(self, name) for name, whose, own in PARAMETERS if whose == owner}
        return {own: value for own, value in values.items() if value is not None}

    def _named(self, owner: str) -> list[str]:
        return [f"{name} {value:g}" for name, value in self._own(owner).items()]
