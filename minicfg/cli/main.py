"""The command line. Each command is a frozen dataclass, and its fields are the flags.

Exit codes: 0; 2 for wrong usage; 3 for bad data or a bad checkpoint; 4 for a problem of the
machine; 128 + n after signal n, which is 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP;
141 where the program that reads the output has ended, as in `minicfg doctor | head -1`. An error is
one line on standard error.

torch and matplotlib are imported by the commands that need them, so that `--help` is quick.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from minicfg.cli.config_file import read_config_file
from minicfg.cli.doctor import installed_version
from minicfg.cli.options import DataOptions, SamplingOptions, SavingOptions
from minicfg.cli.parse import check_words, did_you_mean, parse, parse_some
from minicfg.cli.signals import Terminated, discard, termination_is_raised
from minicfg.config import (
    DataSettings,
    DiffusionSettings,
    NetworkSettings,
    OptimiserSettings,
    TrainConfig,
)
from minicfg.errors import DataError, MachineError, UsageError, escape_controls

Group = TypeVar("Group", DataSettings, DiffusionSettings, NetworkSettings, OptimiserSettings)

# Groups of flags whose empty name leaves them among the command's own in the help.
DataFlags = Annotated[DataOptions, tyro.conf.arg(name="")]
SamplingFlags = Annotated[SamplingOptions, tyro.conf.arg(name="")]

BROKEN_PIPE = 141  # what a shell reports of a program that SIGPIPE, signal 13, has ended
HELP = "Train, sample and evaluate diffusion models with classifier-free guidance."
ENDING = (
    "minicfg COMMAND --help lists the flags of a command with their defaults.",
    "minicfg --version prints the version.",
)


@dataclass(frozen=True)
class Demo:
    """Train on digits, sample at several weights, score, write a report.

    This takes two to six minutes on two cores. Example:

        minicfg demo --out runs/demo
    """

    out: Path = Path("runs/demo")
    """Folder for the report, its pictures, the metrics and the model."""
    quick: bool = False
    """Finish in half a minute, with less training and fewer samples, so with worse results."""
    seed: int = 0
    """Seed of the network, the classifier and the samples, 0..2^64-1."""

    def run(self) -> int:
        """Train, sample, score, report."""
        from minicfg.cli.demo import run_demo

        return run_demo(self.out, quick=self.quick, seed=self.seed)


@dataclass(frozen=True)
class Train:
    """Train a class-conditional UNet with label dropout, or resume a run.

    Ctrl-C saves, and --resume continues. For example:

        minicfg train --data digits --steps 2000 --out runs/digits
    """

    out: Path
    """Folder for model.safetensors, the state that --resume reads, config.toml with the settings,
    log.jsonl and loss.png, and, once training has finished, the page report.html."""
    resume: bool = False
    """Continue the run in --out with its own settings. A larger --steps makes the run longer, and
    --data gives a new path to the same images; other settings of data, diffusion, network and
    optimiser cannot change. The remaining flags are not stored: give them again."""
    config: Annotated[
        Path | None,
        tyro.conf.arg(
            help="TOML file with settings, such as the config.toml of another run; flags that are "
            "given override it (default: none).",
            metavar="FILE",
            help_behavior_hint="",
        ),
    ] = None
    device: str = "auto"
    """auto (a GPU if there is one), cpu or cuda."""
    data: DataSettings = field(default_factory=lambda: DataSettings(data="digits"))
    reading: DataFlags = field(default_factory=DataOptions)
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    output: SavingOptions = field(default_factory=SavingOptions)

    def settings(self) -> TrainConfig:
        """The settings of all groups."""
        groups = (self.data, self.diffusion, self.network, self.optimiser)
        return TrainConfig(
            **{name: value for group in groups for name, value in vars(group).items()}
        )

    def run(self) -> int:
        """Train until done or stopped."""
        from minicfg.cli.train import run_train

        return run_train(
            self.out,
            self.settings(),
            resume=self.resume,
            device=self.device,
            saving=self.output,
            reading=self.reading,
        )


@dataclass(frozen=True)
class TrainStart:
    """The flags of `train` that decide on the values of those which are not given."""

    out: Path | None = None
    resume: bool = False
    config: Path | None = None


@dataclass(frozen=True)
class Distill:
    """Train a student that is guided in one pass per step instead of two.

    The student takes w as an input (arXiv:2210.03142) and starts from the weights of its teacher.
    sample, evaluate and sweep use it like any model, at weights in --w. Ctrl-C saves; to go on,
    repeat the command with --resume. For example:

        minicfg distill runs/demo/model --w 0:4 --out runs/student
    """

    checkpoint: tyro.conf.Positional[Path]
    """The teacher, which `minicfg train` or `demo` saved: .../model, or the folder of that run."""
    out: Path
    """Folder for model.safetensors, the state that --resume reads, and the curve of the loss."""
    w: str = "0:4"
    """LOW:HIGH, the smallest and the largest guidance weight that the student learns."""
    resume: bool = False
    """Continue the run in the folder, with the flags that it was started with."""
    data: str = ""
    """Where the training data are now. It is required if they were read from files; without this
    flag, only built-in data such as digits are loaded."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu or cuda."""
    reading: DataFlags = field(default_factory=DataOptions)
    optimiser: OptimiserSettings = field(default_factory=lambda: OptimiserSettings(lr=1e-3))

    def run(self) -> int:
        """Load the teacher, train the student."""
        from minicfg.cli.distill import run_distill

        return run_distill(
            self.out,
            self.checkpoint,
            w=self.w,
            optimiser=self.optimiser,
            resume=self.resume,
            data_spec=self.data,
            reading=self.reading,
            device=self.device,
        )


@dataclass(frozen=True)
class Sample:
    """Draw samples from a trained model: a picture, an animation or files.

    For example: minicfg sample runs/demo/model --out x.png --labels 3 1 4 --w 2 --seed 7
    """

    checkpoint: tyro.conf.Positional[Path]
    """A model that `minicfg train` or `demo` saved: the file, with or without .safetensors, or the
    folder of the run; or the name of a model in minicfg/weights."""
    out: Annotated[str, tyro.conf.arg(metavar="PATH")]
    """FILE.png for a picture of all samples, .npz for arrays x and y, .gif for the chain, or
    FOLDER/, with the slash, for one PNG per sample, named by its number and class."""
    labels: tuple[str, ...] = ()
    """Classes, each a name, or a number in 0..K-1 if no class has that name. Without this flag,
    every class once."""
    negative: Annotated[
        str | None,
        tyro.conf.arg(
            help="Class name or number that the samples should not have: it replaces the null "
            "label, so that guidance moves away from it (default: none).",
            metavar="LABEL",
            help_behavior_hint="",
        ),
    ] = None
    each: int = 1
    """Number of samples for each label, 1..1,000,000."""
    w: float = 2.0
    """Guidance weight w in (1 + w) eps(x, y) - w eps(x, null); 0 is the conditional model alone."""
    steps: int = 50
    """Solver steps, 1..T."""
    seed: int = 0
    """Seed, 0..2^64-1. The samples are numbered label by label, and the noise of sample i in a step
    depends on the seed, i and the step only, not on w."""
    noise: Annotated[
        Path | None,
        tyro.conf.arg(
            help="FILE.npy or FILE.npz with one array, the noise x_T from which the chains start: "
            "finite floats of shape (samples, C, H, W), all samples of the first label first. The "
            "noise of later steps still comes from --seed (default: drawn from --seed).",
            metavar="FILE",
            help_behavior_hint="",
        ),
    ] = None
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
            negative=self.negative,
            each=self.each,
            w=self.w,
            steps=self.steps,
            seed=self.seed,
            options=self.options,
            noise_file=self.noise,
            device=self.device,
        )


@dataclass(frozen=True)
class Evaluate:
    """Compare samples of a trained model with real images.

    For example: minicfg evaluate runs/demo/model --w 0 1 --rule rescale --out runs/scores
    """

    checkpoint: tyro.conf.Positional[Path]
    """A model that `minicfg train` or `demo` saved: the file, with or without .safetensors, or the
    folder of the run; or the name of a model in minicfg/weights."""
    out: Path
    """Folder for metrics.json, for nearest.png, which shows samples and the training images nearest
    to them, and for the classifier that scores, classifier.safetensors."""
    data: str = ""
    """The training data of the model: digits, toy:dots, idx:DIR, folder:DIR or npz:FILE. It is
    required if they were read from files, and compared with the digest in the checkpoint."""
    real: str = ""
    """Held-out images to compare samples with, of the same size and classes: idx:DIR, folder:DIR or
    npz:FILE. Without this flag they are the t10k files beside those of idx:DIR, if they exist, and
    otherwise the training images."""
    w: tuple[float, ...] = (0.0, 0.3, 1.0)
    """Guidance weights, separated by spaces."""
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
    """Score a model over many weights w, and write tables and a page.

    Weights can be combined with several numbers of steps or values of p_uncond; the table has the
    layout of Tables 1 and 2 of arXiv:2207.12598. For example:

        minicfg sweep runs/demo/model --w 0:4:0.1 --steps 16 64 256 --out runs/sweep
    """

    checkpoint: tyro.conf.Positional[Path]
    """A model that `minicfg train` or `demo` saved: the file, with or without .safetensors, or the
    folder of the run; or the name of a model in minicfg/weights."""
    out: Path
    """Folder for report.html, its curves, sweep.json and the models trained for --p-uncond."""
    data: str = ""
    """The training data of the model: digits, toy:dots, idx:DIR, folder:DIR or npz:FILE. It is
    required if they were read from files, and compared with the digest in the checkpoint."""
    real: str = ""
    """Held-out images to compare samples with, of the same size and classes: idx:DIR, folder:DIR or
    npz:FILE. Without this flag they are the t10k files beside those of idx:DIR, if they exist, and
    otherwise the training images."""
    w: str = "0:4:0.1"
    """from:to:step, or weights separated by commas: 0,0.3,1."""
    steps: tuple[int, ...] = (50,)
    """Numbers of solver steps, each 1..T. The table has a column of Frechet distances and one of
    scores for each combination of --p-uncond and --steps."""
    p_uncond: tuple[float, ...] = ()
    """Values of p_uncond to compare, each 0..1. The given model serves for its own value; the
    others are trained into --out, unless finished ones are there. Without this flag only the given
    model is scored."""
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
    """Time the fused kernel beside torch, and the sampler, on this GPU.

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
    """Print what this machine has, what it lacks, and how to install that.

    For example: minicfg doctor
    """

    def run(self) -> int:
        """Print versions, device, kernel path, memory and disk."""
        from minicfg.cli.doctor import run_doctor

        return run_doctor()


Command = Demo | Train | Distill | Sample | Evaluate | Sweep | Bench | Doctor

COMMANDS: dict[str, type[Command]] = {
    "demo": Demo,
    "train": Train,
    "distill": Distill,
    "sample": Sample,
    "evaluate": Evaluate,
    "sweep": Sweep,
    "bench": Bench,
    "doctor": Doctor,
}


def main() -> None:
    """Run one command and end with its exit code."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        code = run_command(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
        discard(1)  # what is still in the buffer, which Python writes when it ends
    sys.exit(code)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code. An error is one line on standard error.

    Raises:
        BrokenPipeError: if the program that reads the output has ended.
    """
    try:
        with termination_is_raised():
            return parse_command(arguments).run()
    except SystemExit as end:  # after --help and --version
        return int(end.code or 0)
    except BrokenPipeError:
        raise
    except UsageError as error:
        return _print_error(error, 2)
    except DataError as error:
        return _print_error(error, 3)
    except (MachineError, OSError) as error:
        return _print_error(error, 4)
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        return _print_error(
            f"there is not enough memory ({error}); use fewer images at once or a smaller network.",
            4,
        )
    except Terminated as stop:
        return _print_error("stopped", 128 + stop.number)
    except KeyboardInterrupt:
        return _print_error("stopped", 130)


def _open_closed_streams() -> None:
    """Send output to the null device where a stream is closed, as `2>&-` in a shell does.

    Otherwise the next file that is opened would get the number of the stream, and what a library
    prints there would be written into that file.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            discard(number)
            setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115


def _is_lack_of_memory(error: Exception) -> bool:
    """Whether Python, a GPU or torch on the CPU, which has no class for it, ran out of memory."""
    if type(error).__name__ in ("MemoryError", "OutOfMemoryError"):
        return True
    return "can't allocate memory" in str(error)


def parse_command(arguments: Sequence[str]) -> Command:
    """The command that the arguments describe; its flags are checked, its settings not yet."""
    check_words(arguments)
    names = ", ".join(COMMANDS)
    if not arguments:
        raise UsageError(f"name a command: {names}; minicfg --help describes them.")
    name, *rest = arguments
    if name in ("-h", "--help"):
        print(_help())
        sys.exit(0)
    if name == "--version":
        print(f"minicfg {installed_version('minicfg')}")
        sys.exit(0)
    if name not in COMMANDS:
        guess = did_you_mean(name, COMMANDS)
        raise UsageError(f"{name} is not a command{guess} The commands are {names}.")
    prog = f"minicfg {name}"
    if name == "train":
        return parse(Train, rest, prog, _start_of_training(rest, prog))
    return parse(COMMANDS[name], rest, prog)


def _help() -> str:
    """The help of `minicfg` itself: one line per command."""
    lines = ["usage: minicfg COMMAND [FLAGS]", "", HELP, ""]
    for name, command in COMMANDS.items():
        first_line = (command.__doc__ or "").partition("\n")[0]
        lines.append(f"  {name:9} {first_line}")
    lines += ["", *ENDING]
    return "\n".join(lines)


def _start_of_training(arguments: Sequence[str], prog: str) -> Train | None:
    """The values for flags of `train` that are not given: those of the run, or of --config.

    None where there is neither, and where --out is missing, which is refused later.
    """
    start = parse_some(TrainStart, arguments, prog)
    if start.out is None or (not start.resume and start.config is None):
        return None
    config = TrainConfig(data="digits")
    if start.resume:
        from minicfg.cli.run_folder import read_config_of_run

        config = read_config_of_run(start.out) or config
    if start.config is not None:
        config = read_config_file(start.config, config)
        if config.drop_separately:
            raise UsageError(
                f"--config {start.config}: drop_separately = true works only in Python, for data "
                "with several attributes; remove the line."
            )
    return Train(
        out=start.out,
        data=_part(DataSettings, config),
        diffusion=_part(DiffusionSettings, config),
        network=_part(NetworkSettings, config),
        optimiser=_part(OptimiserSettings, config),
    )


def _part(group: type[Group], config: TrainConfig) -> Group:
    """The settings of one group."""
    return group(**{field.name: getattr(config, field.name) for field in fields(group)})


def _print_error(what: object, code: int) -> int:
    """Print an error as one line on standard error, and return the exit code.

    Messages contain names from files, whose control characters a terminal would obey.
    """
    line = escape_controls(" ".join(str(what).split()))
    print(f"minicfg: {line}", file=sys.stderr)
    return code
