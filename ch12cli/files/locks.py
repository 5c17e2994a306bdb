"""Tests whether another process is writing a run or a sweep."""

import fcntl
import os
from pathlib import Path

LOCKS = Path("/proc/locks")  # on Linux; a line is 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF


def is_locked(path: Path) -> bool:
    """Returns whether a ch12 process holds the lock on a directory."""
    try:
        inode = path.stat().st_ino
        held = LOCKS.read_text(encoding="ascii").splitlines() if LOCKS.exists() else None
    except (OSError, ValueError):
        return False
    if held is None:
        return is_locked_by_trying(path)
    return any(line.split()[1] == "FLOCK" and line.split()[5].rpartition(":")[2] == str(inode) for line in held)


def is_locked_by_trying(path: Path) -> bool:
    """Returns the same where /proc/locks is missing. Takes the lock briefly, which could make a new run fail."""
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
