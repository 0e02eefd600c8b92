"""Atomic file writes, a test that a folder can be written to, and a lock on a folder."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from minicfg.errors import MachineError

try:
    import fcntl
except ImportError:  # Windows has no such locks, so there every folder counts as free.
    fcntl = None


def write_atomic(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, so that a reader finds the old file or the new one, never a part.

    The content goes to a temporary file in the same folder, reaches the disk, and is then renamed
    to `path`. If `path` is a symbolic link, the file that it points to is replaced.

    Raises:
        MachineError: if the disk is full, the folder cannot be written to, or `path` is a folder or
            a device. The old file is then unchanged.
    """
    file = Path(os.path.realpath(path))
    # The process ID keeps two processes that write to the same path out of each other's temporary
    # file. A name that does not contain the name of the file is never too long.
    temporary = file.with_name(f".minicfg-{os.getpid()}.tmp")
    try:
        if file.exists() and not file.is_file():  # A rename could replace a device by a file.
            raise MachineError(
                f"{path} cannot be saved, because it is a folder or a device: choose another name"
            )
        _remove_leftovers(file.parent)
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
        _fsync_folder(file.parent)
    except OSError as error:
        raise MachineError(
            f"{path} cannot be saved ({error.strerror}): free some space or choose another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(folder: str | Path) -> Path:
    """Create `folder` if it does not exist and write to it, before any long work begins.

    Raises:
        MachineError: if that fails.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Where the system allows it, this file has no name. Several ranks can then test the same
        # folder at once, and a process that is killed here leaves nothing behind.
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
            probe.flush()
    except OSError as error:
        raise MachineError(
            f"{folder} cannot be written to ({error.strerror}): choose another folder"
        ) from error
    return folder


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[bool]:
    """Lock `folder` inside the `with` block; the value is False if another process holds the lock.

    The lock is on the folder itself, and the system releases it when the process ends, however it
    ends, so a stale lock cannot exist. On a file system without such locks the value is True.
    """
    if fcntl is None:
        yield True
        return
    is_free = True
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_free = False
        except OSError:  # This file system has no locks.
            pass
        yield is_free
    finally:
        os.close(descriptor)  # Closing it also releases the lock.


def _remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of processes that were killed while they were writing."""
    for leftover in folder.glob(".minicfg-*.tmp"):
        process = leftover.stem.removeprefix(".minicfg-")
        if process.isdecimal() and not _is_running(int(process)):
            with contextlib.suppress(OSError):  # It may belong to another user.
                leftover.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    """Whether a process has this ID. Only POSIX can tell without ending the process."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)  # Signal 0 is not sent; only the ID is checked.
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # The process belongs to another user.
        pass
    return True


def _fsync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut. Only POSIX can open folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
