"""Loading gives what was saved or an error of one line, and a save is complete or absent."""

from __future__ import annotations

import copy
import errno
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from minicfg.cli.main import main
from minicfg.config import TrainConfig
from minicfg.errors import DataError, MachineError, UsageError
from minicfg.io import atomic, checkpoint
from minicfg.io import format as file_format
from minicfg.io.atomic import check_writable
from minicfg.io.checkpoint import Checkpoint, find_model, load, load_state, save, save_state
from minicfg.schedule import Schedule
from minicfg.training import TrainState, start

SHAPE, CLASSES = (1, 4, 4), ("cat", "dog", 'a "quoted" naïve\nname')
CONFIG = TrainConfig(width=8, multipliers=(1, 2), T=37, lr=0.1 + 0.2, seed=2**64 - 1)


def state_after_two_steps() -> TrainState:
    """Two steps of the optimiser on gradients of noise: every number differs from its start."""
    state = start(CONFIG, SHAPE, CLASSES, "a digest")
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        for p in state.model.parameters():
            p.grad = torch.randn(p.shape, generator=generator)
        state.optimizer.step()
        state.ema.update_parameters(state.model)
    return replace(state, step=2, loss=1 / 3)


@pytest.fixture(scope="module")
def state() -> TrainState:
    return state_after_two_steps()


@pytest.fixture
def saved(state: TrainState, tmp_path: Path) -> Path:
    """A folder's `model`, saved."""
    save(tmp_path / "model", state)
    return tmp_path / "model"


def file_of(path: Path) -> Path:
    return Path(f"{path}.safetensors")


def said_in(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The description and the tensors of a checkpoint, read without the code under test."""
    with safe_open(file_of(path), "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return json.loads(opened.metadata()["minicfg"]), tensors


def forge(path: Path, about: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint whose digest is right, whatever it says: bad intent, not a bad disk."""
    about = {name: value for name, value in about.items() if name != "sha256"}
    about["sha256"] = file_format.digest(about, tensors)
    file_of(path).write_bytes(to_bytes(tensors, {"minicfg": json.dumps(about)}))


def assert_one_line(error: pytest.ExceptionInfo[Exception], named: Path) -> None:
    assert "\n" not in str(error.value) and str(error.value).startswith(str(named))


# What comes back


def test_model_comes_back(state: TrainState, saved: Path) -> None:
    found = load(saved)
    assert (found.config, found.classes, found.shape, found.step) == (CONFIG, CLASSES, SHAPE, 2)
    assert found.schedule.T == 37 and torch.equal(found.schedule.beta, Schedule.cosine(37).beta)
    assert not any(module.training for module in found.model.modules())
    assert found.device == torch.device("cpu")
    assert found.data_digest == state.data_digest != ""
    average = state.ema.module.state_dict()
    assert found.model.state_dict().keys() == average.keys()
    for name, value in found.model.state_dict().items():
        assert torch.equal(value, average[name]) and value.stride() == average[name].stride()
        assert not torch.equal(value, state.model.state_dict()[name]) or not value.any()


def test_model_that_comes_back_computes_the_same(state: TrainState, saved: Path) -> None:
    xt, t, y = torch.randn(4, *SHAPE), torch.arange(1, 5), torch.arange(4)
    with torch.no_grad():
        assert torch.equal(load(saved).model(xt, t, y), state.ema.module(xt, t, y))


def test_state_comes_back(state: TrainState, tmp_path: Path) -> None:
    save_state(tmp_path / "run", state)
    found = load_state(tmp_path / "run")
    for name in ("step", "loss", "config", "classes", "shape", "data_digest"):
        assert getattr(found, name) == getattr(state, name)
    assert int(found.ema.n_averaged) == 2
    for ours, theirs in ((found.model, state.model), (found.ema, state.ema)):
        assert all(torch.equal(ours.state_dict()[k], v) for k, v in theirs.state_dict().items())
    for p, q in zip(found.model.parameters(), state.model.parameters(), strict=True):
        ours, theirs = found.optimizer.state[p], state.optimizer.state[q]
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        assert all(ours[key].stride() == p.stride() for key in ("exp_avg", "exp_avg_sq"))


def test_scaler_of_float16_comes_back(tmp_path: Path) -> None:
    state = start(replace(CONFIG, precision="float16"), SHAPE, CLASSES)
    for p in state.model.parameters():
        p.grad = torch.ones_like(p)
    state.optimizer.step()
    # As after a step that overflowed and seven that did not.
    state.scaler.load_state_dict(state.scaler.state_dict() | {"scale": 512.0, "_growth_tracker": 7})
    save_state(tmp_path / "run", replace(state, step=1, loss=0.5))
    assert load_state(tmp_path / "run").scaler.state_dict() == state.scaler.state_dict()


def test_a_state_in_bfloat16_has_no_scaler(tmp_path: Path) -> None:
    state = start(replace(CONFIG, precision="bfloat16"), SHAPE, CLASSES)
    for p in state.model.parameters():
        p.grad = torch.ones_like(p)
    state.optimizer.step()
    save_state(tmp_path / "run", replace(state, step=1, loss=0.5))
    assert not load_state(tmp_path / "run").scaler.is_enabled()


def test_what_is_loaded_can_be_saved_again(saved: Path, tmp_path: Path) -> None:
    save(tmp_path / "again", load(saved))
    assert file_of(saved).read_bytes() == file_of(tmp_path / "again").read_bytes()


@pytest.mark.parametrize("name", ["model", "model.safetensors"])
@pytest.mark.parametrize("as_type", [str, Path])
def test_either_suffix_or_none_names_the_checkpoint(
    state: TrainState, tmp_path: Path, name: str, as_type: type
) -> None:
    assert save(as_type(tmp_path / name), state) == tmp_path / "model.safetensors"
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    assert load(as_type(tmp_path / name)).step == 2


def test_a_name_finds_a_model_that_comes_with_minicfg(
    state: TrainState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the working folder has a file of that name, or the name has a folder."""
    monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path / "weights")
    stored = save(check_writable(tmp_path / "weights") / "letters", state)
    monkeypatch.chdir(tmp_path)
    for name in ("letters", "letters.safetensors", Path("letters")):
        assert load(name).step == 2
        assert find_model(name) == stored
    arguments = ["sample", "letters", "--labels", "cat", "--steps", "2", "--out", "x.npz"]
    monkeypatch.setattr(sys, "argv", ["minicfg", *arguments])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert np.load("x.npz")["x"].shape == (1, *SHAPE)
    with pytest.raises(DataError, match=r"^other/letters.safetensors is not there"):
        load("other/letters")
    with pytest.raises(DataError, match=r"^digits.safetensors is not there"):
        load("digits")
    with pytest.raises(DataError, match="File name too long"):
        load("a" * 300)
    save("letters", replace(state, step=1))
    assert load("letters").step == 1
    assert find_model("letters") == Path("letters.safetensors")


def test_dots_in_a_name_stay(state: TrainState, tmp_path: Path) -> None:
    assert save(tmp_path / "w0.5", state).name == "w0.5.safetensors"
    assert load(tmp_path / "w0.5").step == 2


def test_the_header_holds_the_metadata_as_json(saved: Path) -> None:
    about, _ = said_in(saved)
    assert about["config"] == json.loads(json.dumps(asdict(CONFIG)))
    assert (about["version"], about["kind"], tuple(about["classes"])) == (2, "model", CLASSES)


def test_loading_leaves_the_global_stream_alone(state: TrainState, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    save(tmp_path / "model", state)
    save_state(tmp_path / "run", state)
    load(tmp_path / "model")
    load_state(tmp_path / "run")
    assert torch.equal(torch.random.get_rng_state(), before)


# What is refused: damage


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 1000, 0.3, 0.5, 0.9, -1000, -4, -1])
def test_truncated_checkpoint_is_refused(saved: Path, length: float) -> None:
    whole = file_of(saved).read_bytes()
    cut = int(length * len(whole)) if isinstance(length, float) else length
    file_of(saved).write_bytes(whole[:cut])
    with pytest.raises(DataError, match="is damaged") as error:
        load(saved)
    assert_one_line(error, file_of(saved))


def test_bytes_too_many_are_refused(saved: Path) -> None:
    with file_of(saved).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(DataError, match="is damaged"):
        load(saved)


@pytest.mark.exhaustive
def test_any_flipped_bit_is_found_or_harmless(saved: Path) -> None:
    """400 bits all over the file, half of them in the header (seed 0)."""
    whole, rng = file_of(saved).read_bytes(), np.random.default_rng(0)
    expected = load(saved)
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [*rng.integers(0, header, 200), *rng.integers(header, len(whole), 200)]
    refused = 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        file_of(saved).write_bytes(damaged)
        try:
            found = load(saved)
        except DataError as error:
            refused += 1
            assert "\n" not in str(error)
            continue
        assert place < header  # no change of a weight goes unseen
        assert (found.config, found.classes) == (expected.config, expected.classes)
        for name, value in found.model.state_dict().items():
            assert torch.equal(value, expected.model.state_dict()[name])
    assert refused > 380  # white space is all that may change


def _zip(path: Path) -> None:
    with zipfile.ZipFile(file_of(path), "w") as archive:
        archive.writestr("data.pkl", b"cposix\nsystem\n(S'touch run'\ntR.")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: file_of(path).write_bytes(b"cposix\nsystem\n(S'touch run'\ntR."),
        lambda path: torch.save({"w": torch.zeros(3)}, file_of(path)),
        _zip,
        lambda path: file_of(path).write_bytes((2**60).to_bytes(8, "little") + b"{}"),
        lambda path: file_of(path).write_bytes((99_000_000).to_bytes(8, "little") + b"{}"),
        lambda path: file_of(path).write_bytes(to_bytes({"w": torch.zeros(3)})),
        lambda path: file_of(path).write_bytes(to_bytes({}, {"minicfg": "{}"})),
        lambda path: file_of(path).write_bytes(to_bytes({}, {"minicfg": "[" * 100_000})),
        lambda path: file_of(path).write_bytes(to_bytes({}, {"minicfg": "[]"})),
        lambda path: file_of(path).write_bytes(to_bytes({}, {"minicfg": "9" * 10_000})),
        lambda path: file_of(path).write_bytes(to_bytes({}, {"minicfg": "not JSON"})),
        lambda path: None,
        lambda path: file_of(path).mkdir(),
        lambda path: os.mkfifo(file_of(path)),
    ],
    ids=[
        *("pickle", "torch.save", "zip", "endless-header", "long-header", "another-program"),
        *("nothing-said", "nested", "list", "huge-number", "no-json", "missing", "folder", "fifo"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, write: Callable[[Path], Any]) -> None:
    write(tmp_path / "model")
    for read in (load, load_state):
        with pytest.raises(DataError, match=r": (choose|restore) ") as error:
            read(tmp_path / "model")
        assert_one_line(error, file_of(tmp_path / "model"))
    assert not Path("run").exists()


def test_a_name_that_stands_there_twice_is_refused(saved: Path) -> None:
    """The safetensors library takes the last one; another reader may take the first."""
    whole = file_of(saved).read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    header = whole[8:begin].rstrip()
    tensor = json.dumps({"stem.bias": json.loads(header)["stem.bias"]})
    for text, complaint in (
        (f"{tensor[:-1]},".encode() + header[1:], "duplicate key"),
        (header.replace(rb"\"T\": 37", rb"\"T\": 38, \"T\": 37"), "is not a checkpoint"),
    ):
        assert len(text) > len(header)
        file_of(saved).write_bytes(len(text).to_bytes(8, "little") + text + whole[begin:])
        with safe_open(file_of(saved), "pt") as opened:
            assert "stem.bias" in opened.keys()  # noqa: SIM118
        with pytest.raises(DataError, match=complaint) as error:
            load(saved)
        assert_one_line(error, file_of(saved))


def test_the_state_of_2_billion_weights_fits_and_that_of_3_does_not() -> None:
    """Weights, their average and two moments, in float32."""
    assert 2e9 * 4 * 4 < file_format.MAX_FILE_BYTES < 3e9 * 4 * 4


@pytest.mark.parametrize("bound", ["MAX_HEADER_BYTES", "MAX_FILE_BYTES"])
def test_sizes_beyond_bounds_are_refused_on_either_side(
    state: TrainState, saved: Path, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_format, bound, 100)
    with pytest.raises(DataError, match=r"has .*\d+ bytes, more than the limit of 100") as error:
        load(saved)
    assert_one_line(error, file_of(saved))
    with pytest.raises(UsageError, match=r"is not saved, because it has .*limit of 100") as error:
        save(saved.with_name("other"), state)
    assert not file_of(saved.with_name("other")).exists()


def test_file_that_may_not_be_read_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)") as error:
        load(saved)
    assert_one_line(error, file_of(saved))


@pytest.mark.parametrize("lack", [MemoryError("no"), RuntimeError("unable to mmap")])
def test_file_that_does_not_fit_into_memory_is_the_machines_lack(
    saved: Path, lack: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is the safetensors library's, the second torch's, which maps the file again."""

    def full(*_: Any, **__: Any) -> None:
        raise lack

    monkeypatch.setattr(file_format, "safe_open", full)
    with pytest.raises(MachineError, match=r"has \d+ bytes and does not fit into memory") as error:
        load(saved)
    assert_one_line(error, file_of(saved))


def test_a_model_is_no_training_state_nor_the_other_way(state: TrainState, tmp_path: Path) -> None:
    save(tmp_path / "model", state)
    save_state(tmp_path / "run", state)
    with pytest.raises(DataError, match="contains a 'model', not a 'state'"):
        load_state(tmp_path / "model")
    with pytest.raises(DataError, match="contains a 'state', not a 'model'"):
        load(tmp_path / "run")


# What is refused: files that say what cannot be, with a digest that is right


def _config(**changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda about: about["config"].update(changed)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda about: about.update(version=1), "format version 1, but .* only version 2"),
        (lambda about: about.update(format="theirs"), "not a checkpoint of minicfg"),
        (lambda about: about.update(extra=1), "unknown field extra"),
        (lambda about: about.pop("classes"), "lacks the field classes"),
        (lambda about: about.pop("data_digest"), "lacks the field data_digest"),
        (lambda about: about.update(step="2"), "step = '2': it must be an integer"),
        (lambda about: about.update(step=True), "step = True: it must be an integer"),
        (lambda about: about.update(step=-1), "step = -1"),
        (lambda about: about.update(classes=["a", "b", 3]), "classes = .*: they must be names"),
        (lambda about: about.update(classes=["a", "a", "b"]), "classes = .*all different"),
        (lambda about: about.update(classes=[]), r"classes = \(\)"),
        (lambda about: about.update(classes=["a", "b"]), r"embed_y\.weight"),
        (lambda about: about.update(shape=[1, 4, 4.0]), "shape = .*: it must be three integers"),
        (lambda about: about.update(shape=[1, 4]), "shape = "),
        (lambda about: about.update(shape=[1, 4, 4, 1]), "shape = "),
        (lambda about: about.update(shape=[1, 4, 2**16 + 4]), "shape = "),
        (lambda about: about.update(shape=[1, 5, 4]), "images are 5x4"),
        (lambda about: about.update(shape=[1, 0, 4]), "shape = "),
        (lambda about: about.update(shape=[2, 4, 4]), "stem.weight|head"),
        (lambda about: about.update(shape=[-1, 4, 4]), "shape = "),
        (lambda about: about.update(shape=[10**9, 4, 4]), "shape = "),
        (lambda about: about.update(config=[]), "config = .*: it must be an object"),
        (_config(breadth=8), r"unknown field config\.breadth"),
        (lambda about: about["config"].pop("T"), r"lacks the field config\.T"),
        (_config(T="37"), r"config\.T = '37': it must be an integer"),
        (
            lambda about: about.update(step=2**32),
            r"step = 4294967296: steps must be in 0\.\.4294967295",
        ),
        (lambda about: about.update({"a\nb": 1}), r"unknown field a\\nb:"),
        (lambda about: about.update(kind="a" * 99), f"contains a '{'a' * 39}, not a 'model'"),
        (_config(lr=float("nan")), r"config\.lr = nan: it must be a finite number"),
        (_config(lr=10**400), r"config\.lr = 1000.*: it must be a finite number"),
        (_config(blocks=9), "has 57 tensors, but its config describes at least 288"),
        (_config(T=True), r"config\.T = True: it must be an integer"),
        (_config(lr="fast"), r"config\.lr = 'fast': it must be a finite number"),
        (_config(multipliers=8), r"config\.multipliers = 8: it must be a list"),
        (_config(multipliers=[1, "2"]), r"invalid config .multipliers = '2'"),
        (
            _config(schedule="sigmoidal"),
            "schedule = 'sigmoidal' is unknown: use cosine, linear",
        ),
        (_config(p_uncond=1.5), "p_uncond = 1.5"),
        (_config(width=16), r"has torch.float32 \S+ for '.*', but its config has torch.float32"),
        (_config(width=1024, multipliers=[16, 16], blocks=16), "its config describes at least"),
        (_config(width=10**12), "width = 1000000000000"),
    ],
)
def test_what_cannot_be_is_refused(
    saved: Path, edit: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    about, tensors = said_in(saved)
    edit(about)
    forge(saved, about, tensors)
    with pytest.raises(DataError, match=complaint) as error:
        load(saved)
    assert_one_line(error, file_of(saved))


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda tensors: tensors.pop("stem.weight"), "has nothing for 'stem.weight'"),
        (lambda tensors: tensors.update(extra=torch.zeros(2)), r"for 'extra', but .* has nothing"),
        (lambda tensors: tensors.update({"stem.bias": torch.zeros(9)}), r"\(9,\) for 'stem.bias'"),
        (
            lambda tensors: tensors.update({"stem.bias": torch.zeros(8).half()}),
            r"has torch\.float16",
        ),
        (lambda tensors: tensors.update({"stem.bias": torch.zeros(8).int()}), r"has torch\.int32"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    saved: Path, edit: Callable[[dict[str, Tensor]], Any], complaint: str
) -> None:
    about, tensors = said_in(saved)
    edit(tensors)
    forge(saved, about, tensors)
    with pytest.raises(DataError, match=complaint):
        load(saved)


@pytest.mark.usefixtures("unchecked")
def test_float_given_as_a_whole_number_is_allowed(saved: Path) -> None:
    """`TrainConfig(lr=1)` is a fair thing to write, and JSON keeps the 1 as it is."""
    about, tensors = said_in(saved)
    about["config"]["lr"] = 1
    forge(saved, about, tensors)
    assert load(saved).config.lr == 1


def test_wrong_digest_is_refused(saved: Path) -> None:
    about, tensors = said_in(saved)
    tensors["stem.bias"][3] += 1
    file_of(saved).write_bytes(to_bytes(tensors, {"minicfg": json.dumps(about)}))
    with pytest.raises(DataError, match="does not match its own SHA-256"):
        load(saved)


def test_state_without_its_moments_is_refused(state: TrainState, tmp_path: Path) -> None:
    save_state(tmp_path / "run", state)
    about, tensors = said_in(tmp_path / "run")
    del tensors["optimizer.exp_avg.stem.weight"]
    forge(tmp_path / "run", about, tensors)
    with pytest.raises(DataError, match=r"has nothing for 'optimizer.exp_avg.stem.weight'"):
        load_state(tmp_path / "run")


# What cannot be saved


def test_model_that_is_not_what_its_settings_say_is_not_saved(
    state: TrainState, tmp_path: Path
) -> None:
    other = replace(Checkpoint.of(state), config=replace(CONFIG, multipliers=(1, 3)))
    with pytest.raises(UsageError, match=r"is not saved, because it has .* its config has"):
        save(tmp_path / "model", other)
    with pytest.raises(UsageError, match="step = 0"):
        save_state(tmp_path / "run", start(CONFIG, SHAPE, CLASSES))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written_is_found_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(MachineError, match="cannot be written to") as error:
            check_writable(folder)
        assert_one_line(error, folder)
    assert check_writable(tmp_path / "new" / "folder") == tmp_path / "new" / "folder"
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_missing_folder_is_named(state: TrainState, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"model\.safetensors cannot be saved") as error:
        save(tmp_path / "nowhere" / "model", state)
    assert_one_line(error, file_of(tmp_path / "nowhere" / "model"))


# A save is there as a whole or not at all


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses longer files, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [0, 100, 5000, 50_000])
def test_full_disk_leaves_the_old_checkpoint(state: TrainState, saved: Path, size: int) -> None:
    before = {p.name: p.read_bytes() for p in saved.parent.iterdir()}
    assert size < len(before["model.safetensors"])
    with files_of_at_most(size), pytest.raises(MachineError, match="cannot be saved") as error:
        save(saved, replace(state, step=3))
    assert_one_line(error, file_of(saved))
    assert {p.name: p.read_bytes() for p in saved.parent.iterdir()} == before


@pytest.mark.parametrize("call", range(4))
@pytest.mark.parametrize("fault", ["killed", "error"])
def test_save_that_ends_anywhere_leaves_a_whole_checkpoint(
    state: TrainState, saved: Path, call: int, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call that touches the disk, in turn, is the last. Killed: nothing tidies up after it."""
    calls = 0

    class Killed(BaseException):
        pass

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def last(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > call:
                raise Killed if fault == "killed" else OSError(errno.EIO, "I/O error")
            return function(*arguments, **named)

        return last

    monkeypatch.setattr(os, "fsync", dying(os.fsync))
    for name in ("open", "replace", "unlink"):
        monkeypatch.setattr(Path, name, dying(getattr(Path, name)))
    with pytest.raises((Killed, MachineError)):
        save(saved, replace(state, step=3))
    monkeypatch.undo()
    # The calls are: open, fsync, rename, and fsync of the folder.
    assert load(saved).step == (2 if call < 3 else 3)
    save(saved, replace(state, step=4))
    assert load(saved).step == 4
    assert [p.name for p in saved.parent.iterdir()] == ["model.safetensors"]


def test_temporary_files_of_a_killed_save_are_removed(state: TrainState, saved: Path) -> None:
    """The next save removes those of processes that have ended, and leaves those of others."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    stale = saved.with_name(f".minicfg-{ended.pid}.tmp")
    alive = saved.with_name(f".minicfg-{os.getppid()}.tmp")
    for temporary in (stale, alive):
        temporary.write_bytes(b"half")
    assert load(saved).step == 2
    save(saved, replace(state, step=3))
    assert load(saved).step == 3
    assert not stale.exists() and alive.read_bytes() == b"half"


def test_saved_files_are_readable_by_others_as_the_umask_says(saved: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    assert file_of(saved).stat().st_mode & 0o777 == 0o666 & ~umask


def test_looking_whether_a_folder_can_be_written_leaves_no_name_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks look together, and one may be killed: no file has a name to be stepped on or left."""
    opened, seen = tempfile.TemporaryFile, list[list[Path]]()

    def watched(**named: Any) -> Any:
        probe = opened(**named)
        seen.append(list(tmp_path.iterdir()))
        return probe

    monkeypatch.setattr(tempfile, "TemporaryFile", watched)
    check_writable(tmp_path)
    assert seen == [[]]


def test_folders_are_opened_on_posix_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("Windows opens no folders")

    with monkeypatch.context() as patched:
        patched.setattr(os, "name", "nt")
        patched.setattr(os, "open", refused)
        atomic._fsync_folder(tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(
    state: TrainState, tmp_path: Path, value: float
) -> None:
    checkpoint = Checkpoint.of(state)
    broken = copy.deepcopy(checkpoint.model)
    with torch.no_grad():
        next(broken.parameters())[0] = value
    save(tmp_path / "model", replace(checkpoint, model=broken))
    with pytest.raises(DataError, match=r"has values in 'embed_t.0.weight' that are not finite"):
        load(tmp_path / "model")
