"""The command line. Each command is a frozen dataclass; its fields are the flags.

Exit codes: 0; 2 usage; 3 data or checkpoint; 4 the machine; 130 and 143 after Ctrl-C and SIGTERM.
torch and matplotlib are imported by the commands that need them, so that `--help` is quick.
"""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from minicfg.cli.options import How
from minicfg.cli.signals import Terminated, sigterm_is_raised
from minicfg.config import TrainConfig
from minicfg.errors import DataError, MachineError, UsageError

# Flags of several commands, without a prefix.
Shared = Annotated[How, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Demo:
    """The main job: train on handwritten digits, sample over w, score, and write a report.

    Two to five minutes on two cores. Example:

        minicfg demo --out runs/demo
    """

    out: Path = Path("runs/demo")
    """Folder for the report, its pictures, the metrics and the model."""
    quick: bool = False
    """All of it in half a minute, and worse for it."""
    seed: int = 0
    """Seed of training and sampling, 0..2^64-1."""

    def run(self) -> int:
        """Train, sample, score, report."""
        from minicfg.cli.demo import demo

        return demo(self.out, quick=self.quick, seed=self.seed)


@dataclass(frozen=True)
class Train:
    """Train a class-conditional UNet with label dropout; Ctrl-C saves, --resume goes on.

    For example: minicfg train --data digits --steps 2000 --out runs/digits
    """

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    out: Path
    """Folder for the model, model.safetensors, what --resume needs, and the page report.html."""
    resume: bool = False
    """Go on from what the folder holds, with the settings it was begun with."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu or cuda."""
    save_every: int = 500
    """Steps between saved states; a run that is killed outright loses no more. A save that fails on
    the way is said, and training goes on; one that fails at the end is exit code 4."""
    keep: int = 0
    """Number of earlier models to keep in the folder kept/, one per saved state, the latest ones. 0
    keeps none. Use it to compare the samples of a model along its training."""
    sample_every: int = 0
    """Number of steps between two pictures in the folder samples/, with two samples per class. 0
    draws none. Use it to watch a long run; each picture takes 50 sampling steps."""
    tensorboard: bool = False
    """Write loss and learning rate for TensorBoard too, into the folder tensorboard/. They are in
    log.jsonl in any case. Use it to follow several runs in one place (pip install tensorboard)."""

    def run(self) -> int:
        """Train until done or stopped."""
        from minicfg.cli.run_folder import Keeping
        from minicfg.cli.train import train_into

        keeping = Keeping(self.save_every, self.keep, self.sample_every, self.tensorboard)
        return train_into(
            self.out, self.config, resume=self.resume, device=self.device, keeping=keeping
        )


@dataclass(frozen=True)
class Sample:
    """Draw samples from a trained model into a picture or a NumPy file.

    For example: minicfg sample runs/demo/model --out x.png --labels 3 1 4 --w 2 --seed 7
    """

    checkpoint: tyro.conf.Positional[Path]
    """What `minicfg train` or `demo` wrote: .../model, with or without its suffix."""
    out: Path
    """FILE.png for a picture of all samples, .npz for arrays x and y, .gif for the chain."""
    labels: tuple[str, ...] = ()
    """Class names or numbers, one sample each; every class once by default."""
    each: int = 1
    """Samples for each label."""
    w: float = 2.0
    """Guidance weight of (1 + w) eps(x, y) - w eps(x, null); 0 is the plain conditional model."""
    steps: int = 50
    """Solver steps, 1..T."""
    seed: int = 0
    """Seed, 0..2^64-1. A picture depends on seed, place, label, w, steps, solver and rule alone."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu or cuda."""
    how: Shared = field(default_factory=How)

    def run(self) -> int:
        """Load, sample, write."""
        from minicfg.cli.train import sample_into

        return sample_into(
            self.out,
            self.checkpoint,
            labels=self.labels,
            each=self.each,
            w=self.w,
            steps=self.steps,
            seed=self.seed,
            how=self.how,
            device=self.device,
        )


@dataclass(frozen=True)
class Evaluate:
    """Score a trained model beside the real images it learnt from.

    For example: minicfg evaluate runs/demo/model --w 0 1 --rule rescale --out runs/scores
    """

    checkpoint: tyro.conf.Positional[Path]
    """What `minicfg train` or `demo` wrote: .../model, with or without its suffix."""
    out: Path
    """Folder for metrics.json and the judge, judge.safetensors."""
    w: tuple[float, ...] = (0.0, 0.3, 1.0)
    """Guidance weights."""
    steps: int = 50
    """Solver steps, 1..T."""
    n: int = 1000
    """Samples at each w, at least 4 a class."""
    seed: int = 0
    """Seed of the judge and of the samples, 0..2^64-1."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu or cuda."""
    how: Shared = field(default_factory=How)

    def run(self) -> int:
        """Train a judge, sample, score."""
        from minicfg.cli.sweep import evaluate_into

        return evaluate_into(
            self.out,
            self.checkpoint,
            ws=self.w,
            steps=self.steps,
            n=self.n,
            seed=self.seed,
            how=self.how,
            device=self.device,
        )


@dataclass(frozen=True)
class Sweep:
    """Scores over w as in the paper's tables, for several numbers of steps or p_uncond, as a page.

    For example: minicfg sweep runs/demo/model --w 0:4:0.1 --steps 16 64 256 --out runs/sweep
    """

    checkpoint: tyro.conf.Positional[Path]
    """What `minicfg train` or `demo` wrote: .../model, with or without its suffix."""
    out: Path
    """Folder for report.html, its curves, sweep.json and what is trained for --p-uncond."""
    w: str = "0:4:0.1"
    """from:to:step, or weights with commas between: 0,0.3,1."""
    steps: tuple[int, ...] = (50,)
    """Solver steps, each 1..T: a column of the table for each."""
    p_uncond: tuple[float, ...] = ()
    """Shares of dropped labels: the run is trained again for each, once."""
    n: int = 1000
    """Samples at each w, at least 4 a class."""
    seed: int = 0
    """Seed of the judge and of the samples, 0..2^64-1."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu or cuda."""
    how: Shared = field(default_factory=How)

    def run(self) -> int:
        """Train what is missing, sample, score, report."""
        from minicfg.cli.sweep import parse_ws, sweep_into

        return sweep_into(
            self.out,
            self.checkpoint,
            ws=parse_ws(self.w),
            steps=self.steps,
            p_uncond=self.p_uncond,
            n=self.n,
            seed=self.seed,
            how=self.how,
            device=self.device,
        )


@dataclass(frozen=True)
class Bench:
    """Time the fused kernel beside eager and compiled torch, and the sampler, on this GPU.

    With --peers: this package beside diffusers and others. For example:

        minicfg bench --out runs/bench
    """

    out: Path = Path("runs/bench")
    """Folder for the times, as JSON under the device's name, and for a picture of them."""
    cpu: bool = False
    """Stay on the CPU, with the plain torch reference, whether or not there is a GPU."""
    peers: bool = False
    """Compare with other projects: speed on a GPU; on a CPU quality and cost too, 40 minutes."""

    def run(self) -> int:
        """Check, time, write."""
        if self.peers:
            from minicfg.bench.peers import bench_peers

            return bench_peers(self.out, cpu=self.cpu)
        from minicfg.bench.sampler import bench

        return bench(self.out, cpu=self.cpu)


@dataclass(frozen=True)
class Doctor:
    """Say what this machine has, what is missing, and what to install.

    For example: minicfg doctor
    """

    def run(self) -> int:
        """Print versions, device, kernel path, memory and disk."""
        from minicfg.cli.doctor import doctor

        return doctor()


Command = Demo | Train | Sample | Evaluate | Sweep | Bench | Doctor


def main() -> None:
    """Run one command and end with its exit code; an error is one line on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        with sigterm_is_raised():
            code = _parse(sys.argv[1:]).run()
    except UsageError as error:
        code = _fail(error, 2)
    except DataError as error:
        code = _fail(error, 3)
    except (MachineError, OSError) as error:
        code = _fail(error, 4)
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        code = _fail(f"not enough memory: fewer images at once are needed ({error})", 4)
    except KeyboardInterrupt as stop:
        code = _fail("stopped", 143 if isinstance(stop, Terminated) else 130)
    sys.exit(code)


def _is_of_memory(error: Exception) -> bool:
    """Python's, a GPU's, or a CPU's by torch, which has no class of its own."""
    names, said = ("MemoryError", "OutOfMemoryError"), "can't allocate memory"
    return type(error).__name__ in names or said in str(error)


def _parse(arguments: list[str]) -> Command:
    """Parse with tyro; its framed complaint becomes one line, less the flag's help."""
    for a in arguments:
        # Most often a shell's variable that is not set; and an empty path would be this folder.
        if not a or (a.startswith("--") and a.endswith("=")):
            raise UsageError(f"{a or 'an argument'} is empty: something is needed")
        if "\0" in a:
            raise UsageError(f"{a!r} holds a null character: a text without is needed")
    frame = io.StringIO()
    try:
        with contextlib.redirect_stderr(frame):
            return tyro.cli(
                Command,  # pyright: ignore[reportArgumentType]
                args=arguments,
                prog="minicfg",
                description="Classifier-free guidance, from digits to a report.",
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as end:
        if not end.code:
            raise
        inside = [line.strip(" │|") for line in frame.getvalue().splitlines()[1:]]
        said = " ".join(line for line in inside if line.strip("─╰╭╮╯-+"))
        sys.exit(_fail(said.split("Argument helptext:")[0].strip(), 2))


def _fail(what: object, code: int) -> int:
    line = " ".join(str(what).split())
    print(f"minicfg: {line}", file=sys.stderr)
    return code
