"""Whether a run or a sweep is being written, seen from outside."""

import fcntl
import os
from pathlib import Path

LOCKS = Path("/proc/locks")  # of Linux: 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF


def is_locked(path: Path) -> bool:
    """Whether a ch12 process is writing into a directory: it holds a lock on it."""
    try:
        inode = path.stat().st_ino
        held = LOCKS.read_text(encoding="ascii").splitlines() if LOCKS.exists() else None
    except (OSError, ValueError):
        return False
    if held is None:
        return is_locked_by_trying(path)
    return any(line.split()[1] == "FLOCK" and line.split()[5].rpartition(":")[2] == str(inode) for line in held)


def is_locked_by_trying(path: Path) -> bool:
    """The same where the system does not tell. For a moment it holds the lock itself, and could keep a run out."""
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
