"""Results that are whole or not there, and folders that one run at a time writes into."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from minicfg.errors import MachineError

try:
    import fcntl
except ImportError:  # Windows: two runs in one folder are then not told from one
    fcntl = None


def write_whole(path: str | Path, content: bytes) -> None:
    """Put `content` into a new file beside `path` and rename it: a reader finds all or what was.

    A link is followed, and the file it leads to replaced.

    Raises:
        MachineError: where the disk is full or the folder refuses, or where no file stands but a
            folder or a device; what stood there still stands.
    """
    file = Path(os.path.realpath(path))
    # Two processes that write the same never write into one; and the name is never too long.
    temporary = file.with_name(f".minicfg-{os.getpid()}.tmp")
    try:
        if file.exists() and not file.is_file():  # a rename would put a file in a device's place
            raise MachineError(f"{path} is no file: another name is needed")
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError as error:
        raise MachineError(
            f"{path} cannot be saved ({error.strerror}): free space, or another folder, is needed"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[bool]:
    """Hold `folder` for the time of a run; whether it was free.

    The hold is a lock on the folder itself, which the system takes back from a process however it
    ends: none is ever left behind. Where a file system has no such locks every folder is free.
    """
    if fcntl is None:
        yield True
        return
    descriptor, free = os.open(folder, os.O_RDONLY), True
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        except OSError:  # no locks here
            pass
        yield free
    finally:
        os.close(descriptor)  # and the lock with it
