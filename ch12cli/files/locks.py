"""The lock on the directory of a run or a sweep that is being written."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.atomic import machine_errors
from ch12cli.shell import shell_line

LOCKS = Path("/proc/locks")  # on Linux; a line is 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF


@contextmanager
def locked(folder: Path, *, key: str, wait: float = 0.0) -> Iterator[None]:
    """Locks a folder for writing. The lock ends with the process and all processes forked from it.

    key: name of the folder for messages; wait: seconds to wait for workers of a killed process to exit. Raises
    InputError if another process holds the lock.
    """
    with machine_errors(f"cannot open {folder}"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    watch = shell_line(["ch12", "watch", str(folder)])
                    rule = "another ch12 process is writing there"
                    raise InputError(f"{key}: {rule}; follow it with: {watch}, or choose another directory") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Returns whether a ch12 process holds the lock on a directory."""
    try:
        found = path.stat()
        held = LOCKS.read_text(encoding="ascii").splitlines() if LOCKS.exists() else None
    except (OSError, ValueError):
        return False
    if held is None:
        return is_locked_by_trying(path)
    places = {line.split()[5] for line in held if line.split()[1] == "FLOCK"}
    if f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}" in places:
        return True
    # another disk may have the same inode number; some file systems show another device there than stat() does
    same_inode = any(place.rpartition(":")[2] == str(found.st_ino) for place in places)
    return same_inode and is_locked_by_trying(path)


def is_locked_by_trying(path: Path) -> bool:
    """Returns the same where /proc/locks does not say it. Takes the lock briefly, which could make a new run fail."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
