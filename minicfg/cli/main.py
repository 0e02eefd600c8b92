"""The command line. Each command is a frozen dataclass, and its fields are the flags.

Exit codes: 0; 2 for wrong usage; 3 for bad data or a bad checkpoint; 4 for a problem of the
machine; 130 after Ctrl-C and 143 after SIGTERM. An error is one line on standard error.

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

from minicfg.cli.options import DataOptions, SamplingOptions, SavingOptions
from minicfg.cli.signals import Terminated, sigterm_is_raised
from minicfg.config import TrainConfig
from minicfg.errors import DataError, MachineError, UsageError, escape_controls

# Groups of flags. An empty name leaves their flags without a prefix.
TrainFlags = Annotated[TrainConfig, tyro.conf.arg(name="")]
SavingFlags = Annotated[SavingOptions, tyro.conf.arg(name="")]
DataFlags = Annotated[DataOptions, tyro.conf.arg(name="")]
SamplingFlags = Annotated[SamplingOptions, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Demo:
    """Train on handwritten digits, sample at several guidance weights, score, and write a report.

    This takes two to five minutes on two cores. Example:

        minicfg demo --out runs/demo
    """

    out: Path = Path("runs/demo")
    """Folder for the report, its pictures, the metrics and the model."""
    quick: bool = False
    """Finish in half a minute, with less training and fewer samples, so with worse results."""
    seed: int = 0
    """Seed of training and sampling, 0..2^64-1."""

    def run(self) -> int:
        """Train, sample, score, report."""
        from minicfg.cli.demo import run_demo

        return run_demo(self.out, quick=self.quick, seed=self.seed)


@dataclass(frozen=True)
class Train:
    """Train a class-conditional UNet with label dropout. Ctrl-C saves, and --resume continues.

    For example: minicfg train --data digits --steps 2000 --out runs/digits
    """

    out: Path
    """Folder for model.safetensors, the state that --resume reads, and the page report.html."""
    saving: SavingFlags
    config: TrainFlags = field(default_factory=lambda: TrainConfig(data="digits"))
    resume: bool = False
    """Continue the run in the folder, with the settings it was started with."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu or cuda."""
    reading: DataFlags = field(default_factory=DataOptions)

    def run(self) -> int:
        """Train until done or stopped."""
        from minicfg.cli.train import run_train

        return run_train(
            self.out,
            self.config,
            resume=self.resume,
            device=self.device,
            saving=self.saving,
            reading=self.reading,
        )


@dataclass(frozen=True)
class Sample:
    """Draw samples from a trained model into a picture, a NumPy file or an animation.

    For example: minicfg sample runs/demo/model --out x.png --labels 3 1 4 --w 2 --seed 7
    """

    checkpoint: tyro.conf.Positional[Path]
    """The model that `minicfg train` or `demo` saved: .../model, with or without its suffix."""
    out: Path
    """FILE.png for a picture of all samples, .npz for arrays x and y, .gif for the chain."""
    labels: tuple[str, ...] = ()
    """Class names or numbers; without this flag, every class once."""
    each: int = 1
    """Samples for each label."""
    w: float = 2.0
    """Guidance weight w in (1 + w) eps(x, y) - w eps(x, null); 0 is the conditional model alone."""
    steps: int = 50
    """Solver steps, 1..T."""
    seed: int = 0
    """Seed, 0..2^64-1. The noise of sample i depends on the seed and on i only, not on w."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu or cuda."""
    options: SamplingFlags = field(default_factory=SamplingOptions)

    def run(self) -> int:
        """Load, sample, write."""
        from minicfg.cli.sample import run_sample

        return run_sample(
            self.out,
            self.checkpoint,
            labels=self.labels,
            each=self.each,
            w=self.w,
            steps=self.steps,
            seed=self.seed,
            options=self.options,
            device=self.device,
        )


@dataclass(frozen=True)
class Evaluate:
    """Score samples of a trained model beside the real images that it was trained on.

    For example: minicfg evaluate runs/demo/model --w 0 1 --rule rescale --out runs/scores
    """

    checkpoint: tyro.conf.Positional[Path]
    """The model that `minicfg train` or `demo` saved: .../model, with or without its suffix."""
    out: Path
    """Folder for metrics.json, for nearest.png, which shows samples and the training images nearest
    to them, and for the classifier that scores, classifier.safetensors."""
    data: str = ""
    """Where the training data are now. It is required if they were read from files; without this
    flag, only built-in data such as digits are loaded."""
    real: str = ""
    """Held-out images to compare samples with, of the same size and classes: idx:DIR, folder:DIR or
    npz:FILE. Without this flag they are the t10k files beside those of idx:DIR, if they exist, and
    otherwise the training images."""
    w: tuple[float, ...] = (0.0, 0.3, 1.0)
    """Guidance weights."""
    steps: int = 50
    """Solver steps, 1..T."""
    n: int = 1000
    """Samples at each w, at least 4 per class."""
    seed: int = 0
    """Seed of the classifier and of the samples, 0..2^64-1."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu or cuda."""
    options: SamplingFlags = field(default_factory=SamplingOptions)
    reading: DataFlags = field(default_factory=DataOptions)

    def run(self) -> int:
        """Train a classifier, sample, score."""
        from minicfg.cli.evaluate import run_evaluate

        return run_evaluate(
            self.out,
            self.checkpoint,
            ws=self.w,
            steps=self.steps,
            n=self.n,
            seed=self.seed,
            options=self.options,
            data_spec=self.data,
            real_spec=self.real,
            reading=self.reading,
            device=self.device,
        )


@dataclass(frozen=True)
class Sweep:
    """Score a model over many w, for several numbers of steps or p_uncond, and write a page.

    The table has the layout of the paper's. For example:

        minicfg sweep runs/demo/model --w 0:4:0.1 --steps 16 64 256 --out runs/sweep
    """

    checkpoint: tyro.conf.Positional[Path]
    """The model that `minicfg train` or `demo` saved: .../model, with or without its suffix."""
    out: Path
    """Folder for report.html, its curves, sweep.json and the models trained for --p-uncond."""
    data: str = ""
    """Where the training data are now. It is required if they were read from files; without this
    flag, only built-in data such as digits are loaded."""
    real: str = ""
    """Held-out images to compare samples with, of the same size and classes: idx:DIR, folder:DIR or
    npz:FILE. Without this flag they are the t10k files beside those of idx:DIR, if they exist, and
    otherwise the training images."""
    w: str = "0:4:0.1"
    """from:to:step, or weights separated by commas: 0,0.3,1."""
    steps: tuple[int, ...] = (50,)
    """Numbers of solver steps, each 1..T; the table has one column for each."""
    p_uncond: tuple[float, ...] = ()
    """Probabilities of dropping a label. A model is trained for each, unless the folder has it."""
    n: int = 1000
    """Samples at each w, at least 4 per class."""
    seed: int = 0
    """Seed of the classifier and of the samples, 0..2^64-1."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu or cuda."""
    options: SamplingFlags = field(default_factory=SamplingOptions)
    reading: DataFlags = field(default_factory=DataOptions)

    def run(self) -> int:
        """Train what is missing, sample, score, report."""
        from minicfg.cli.sweep import parse_weights, run_sweep

        return run_sweep(
            self.out,
            self.checkpoint,
            ws=parse_weights(self.w),
            steps=self.steps,
            p_uncond=self.p_uncond,
            n=self.n,
            seed=self.seed,
            options=self.options,
            data_spec=self.data,
            real_spec=self.real,
            reading=self.reading,
            device=self.device,
        )


@dataclass(frozen=True)
class Bench:
    """Time the fused kernel beside eager and compiled torch, and the sampler, on this GPU.

    With --peers, compare this package with diffusers and others. For example:

        minicfg bench --out runs/bench
    """

    out: Path = Path("runs/bench")
    """Folder for the times, as JSON under the device's name, and for a picture of them."""
    cpu: bool = False
    """Use the CPU and the plain torch reference, even if there is a GPU."""
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
    """Print what this machine has, what is missing, and how to install it.

    For example: minicfg doctor
    """

    def run(self) -> int:
        """Print versions, device, kernel path, memory and disk."""
        from minicfg.cli.doctor import run_doctor

        return run_doctor()


Command = Demo | Train | Sample | Evaluate | Sweep | Bench | Doctor


def main() -> None:
    """Run one command and end with its exit code; an error is one line on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        with sigterm_is_raised():
            code = _parse(sys.argv[1:]).run()
    except UsageError as error:
        code = _print_error(error, 2)
    except DataError as error:
        code = _print_error(error, 3)
    except (MachineError, OSError) as error:
        code = _print_error(error, 4)
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        code = _print_error(
            f"there is not enough memory ({error}); use fewer images at once or a smaller network.",
            4,
        )
    except KeyboardInterrupt as stop:
        code = _print_error("stopped", 143 if isinstance(stop, Terminated) else 130)
    sys.exit(code)


def _is_lack_of_memory(error: Exception) -> bool:
    """Whether Python, a GPU or torch on the CPU, which has no class for it, ran out of memory."""
    if type(error).__name__ in ("MemoryError", "OutOfMemoryError"):
        return True
    return "can't allocate memory" in str(error)


def _parse(arguments: list[str]) -> Command:
    """Parse with tyro; its framed complaint becomes one line, without the help of the flag."""
    for argument in arguments:
        # An empty argument is most often a shell variable that is not set, and as a path it would
        # mean the current folder.
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            raise UsageError(
                f"{argument or 'an argument'} is empty; give it a value, and check that the shell "
                "variables in the command are set."
            )
        if "\0" in argument:
            raise UsageError(f"{argument!r} contains a null character; remove it.")
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
        message = " ".join(line for line in inside if line.strip("─╰╭╮╯-+"))
        sys.exit(_print_error(message.split("Argument helptext:")[0].strip(), 2))


def _print_error(what: object, code: int) -> int:
    """Print an error as one line on standard error, and return the exit code.

    Messages contain names from files, whose control characters a terminal would obey.
    """
    line = escape_controls(" ".join(str(what).split()))
    print(f"minicfg: {line}", file=sys.stderr)
    return code
