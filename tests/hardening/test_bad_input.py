"""Bad input, by kind: one line, the right exit code or error, nothing written, in bounded time.

The tables are `bad_input.py` (what is typed), `bad_files.py` (what it is to read) and
`bad_calls.py` (Python). They are counted here, so that what is said of them stays true.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minicfg.cli import sample as command
from minicfg.cli.main import main
from minicfg.cli.sample import draw
from minicfg.cli.train import run_training
from minicfg.config import TrainConfig
from minicfg.data import Dataset
from minicfg.datasets.load import load_data
from minicfg.errors import DataError, MachineError, UsageError
from minicfg.viz import plots
from tests.hardening.bad_calls import Call, calls
from tests.hardening.bad_files import GREY, beside, make_all, npz, picture
from tests.hardening.bad_input import Case, cases

pytestmark = [
    pytest.mark.usefixtures("unchecked"),
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here"),
]

CASES, CALLS = cases(), calls()
SECONDS = 10  # of processor time; measured: at most 0.3, and 5 in a process of its own


class Late(BaseException):
    """Nothing that is caught on the way."""


def processor_time(child: int | None = None) -> float:
    """Seconds of processor time that this process and a child have taken so far."""
    taken = time.process_time()
    if child is None:
        return taken
    if not Path("/proc/self/stat").exists():
        return taken + time.monotonic()
    with contextlib.suppress(OSError):  # the child may have ended just now
        # Fields 14 and 15; field 2, the name of the program, may contain spaces.
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        taken += sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return taken


@contextlib.contextmanager
def limited(child: int | None = None) -> Iterator[None]:
    """Raise `Late` in what works for long or waits for ever, as opening a FIFO does.

    Both are judged by processor time, once per second, so that a busy machine delays a test and
    does not fail it: whoever has work to do is given some time in ten seconds.
    """
    start = processor_time(child)
    last = start
    idle = 0

    def look(_number: int, _frame: object) -> None:
        nonlocal last, idle
        now = processor_time(child)
        idle = 0 if now - last > 0.005 else idle + 1  # this function takes less
        last = now
        if now - start > SECONDS:
            raise Late(f"after {now - start:.1f} s of work")
        if idle == SECONDS:
            raise Late(f"after {SECONDS} s without work")

    before = signal.signal(signal.SIGALRM, look)
    timer = signal.setitimer(signal.ITIMER_REAL, 1, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    with limited():
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps, with everything bad beside it."""
    root = tmp_path_factory.mktemp("place")
    config = TrainConfig(data="digits", steps=2, batch=8, width=8, multipliers=(1, 2))
    run_training(load_data("digits"), config, root)
    make_all(root)
    return root


def everything(root: Path) -> dict[str, tuple[int, ...]]:
    """What is there, and whether it is as it was: a write moves the time of a change."""
    seen = dict[str, tuple[int, ...]]()
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in (*folders, *files, b"."):
            told = os.lstat(os.path.join(folder, name))
            seen[os.fsdecode(os.path.join(folder, name))] = (
                told.st_ino,
                told.st_mode,
                told.st_size,
                told.st_mtime_ns,
                told.st_ctime_ns,
            )
    return seen


def test_the_tables_are_as_long_as_is_said() -> None:
    kinds = Counter(case.kind for case in (*CASES, *CALLS))
    assert len(kinds) >= 44 and len({case.kind for case in CASES}) >= 44
    assert kinds.total() >= 150 and len(set(map(str, CASES))) == len(CASES)
    assert len(CALLS) >= 350
    assert min(kinds.values()) >= 2


@pytest.mark.exhaustive(one_in=6)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_typed(
    case: Case, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["minicfg", *case.words])
    before = everything(place)
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (case.code, ""), err
    assert re.fullmatch(r"minicfg: [^\n]+\n", err), err
    assert re.search(case.said, err), err
    assert everything(place) == before


@pytest.mark.exhaustive(one_in=6)
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_what_is_called(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(call.error, match=call.said) as found:
        call.call()
    assert type(found.value) is call.error and "\n" not in str(found.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["train --data", "evaluate"])
@pytest.mark.parametrize("n", [1, 17])
def test_a_tiny_data_set(
    command: str,
    n: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One image of one class is enough to train on; a classifier needs 18 of each."""
    monkeypatch.chdir(tmp_path)
    npz(x=np.zeros((n, 8, 8), np.uint8), y=np.zeros(n, int))(tmp_path / "tiny.npz")
    config = TrainConfig(data="npz:tiny.npz", steps=1, batch=4, width=8, multipliers=(1, 2))
    state, code = run_training(load_data(config.data), config, tmp_path)
    assert (state.step, code) == (1, 0)
    if command == "evaluate":
        argv = ["minicfg", "evaluate", "model", "--out", "new", "--data", config.data]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit, match="2"):
            main()
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith(f"minicfg: data has {n} of class 0: 18 or more of each class must")
        assert not Path("new").exists()


def test_pictures_that_are_odd_and_good(tmp_path: Path) -> None:
    """CMYK, a palette, an alpha channel, one bit, 16 bits, several frames: the value is told."""
    grey = Image.fromarray(np.full((9, 9), 204, np.uint8))
    files = {
        "cmyk.jpg": (grey.convert("CMYK"), "JPEG", {}),
        "palette.png": (grey.convert("P"), "PNG", {"transparency": 3}),
        "alpha.png": (grey.convert("RGBA"), "PNG", {}),
        "la.png": (grey.convert("LA"), "PNG", {}),
        "bit.png": (grey.convert("1", dither=Image.Dither.NONE), "PNG", {}),
        "deep.png": (Image.fromarray(np.full((9, 9), 204 * 257, np.uint16)), "PNG", {}),
        "frames.png": (grey, "PNG", {"save_all": True, "append_images": [Image.fromarray(GREY)]}),
    }
    for name, (image, form, given) in files.items():
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "x.png", form, **given)
    data = load_data(f"folder:{tmp_path}", 8)
    assert data.shape == (3, 8, 8)
    for name, x in zip(data.classes, data.x, strict=True):
        wanted = 1 if name == "bit.png" else 0.6  # 204 of 255; CMYK's JPEG rounds
        np.testing.assert_allclose(x.numpy(), wanted, rtol=0, atol=3 / 127.5, err_msg=name)


def test_folders_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said by the system, not tried: whoever runs the tests may be allowed everything."""
    beside("x.png", picture())(tmp_path / "good")

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", refused)
        with pytest.raises(DataError, match=r"good' cannot be read \(Permission denied\)"):
            load_data(f"folder:{tmp_path / 'good'}")
    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(DataError, match=r"good.png cannot be read \(.*Permission denied"):
        load_data(f"folder:{tmp_path / 'good'}")


def test_names_of_classes_are_no_mathematics(tmp_path: Path) -> None:
    r"""A folder `$\frac$`, which would be a formula with a mistake in it."""
    data = Dataset(*load_data("toy:dots").__dict__.values())
    x = data.x[:1, None]
    plots.save_figure(plots.image_grid(x, [r"$\frac$"], [r"$\x$"], "a"), tmp_path / "x.png")
    Image.open(tmp_path / "x.png").verify()


def test_samples_that_are_not_finite_are_refused(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from minicfg import solvers
    from minicfg.schedule import Schedule

    monkeypatch.setattr(command, "sample", lambda *_, **__: torch.full((2, 1, 8, 8), torch.nan))
    table = solvers.ddpm(Schedule.cosine(10), 2)
    with pytest.raises(MachineError, match="w = 2: the samples are not finite"):
        draw(None, torch.tensor([0, 1]), table, (1, 8, 8), w=2.0, seed=0)  # pyright: ignore


@pytest.mark.exhaustive(one_in=2)
@pytest.mark.slow
@pytest.mark.parametrize("line", ["sample fifo --out new/x.png", "train --data idx:huge --out new"])
def test_a_program_of_its_own_says_the_same(line: str, place: Path) -> None:
    """No traceback from what a test's own process hides: imports, warnings, threads at the end."""
    before = everything(place)
    given = [sys.executable, "-m", "minicfg", *line.split()]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(given, cwd=place, env=environment, **pipes) as program:
        try:
            with limited(program.pid):
                out, err = program.communicate()
        finally:
            program.kill()
    assert (program.returncode, out) == (3, "")
    assert re.fullmatch(r"minicfg: [^\n]+\n", err)
    assert everything(place) == before


def test_names_that_are_no_text_are_taken(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    r"""A path may be bytes that are no UTF-8: it is written to, and said as `\udcff`."""
    picture = tmp_path / "x\udcff.npz"
    words = ["sample", str(place / "model"), "--out", str(picture), "--steps", "1"]
    monkeypatch.setattr(sys, "argv", ["minicfg", *words])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert picture.exists() and r"x\udcff.npz" in capsys.readouterr().out


def test_errors_are_of_one_family() -> None:
    assert issubclass(UsageError, ValueError) and issubclass(DataError, ValueError)
