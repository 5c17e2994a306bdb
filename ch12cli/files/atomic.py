"""Atomic writes, locks and flushing to disk."""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ch12cli.errors import os_problem

LARGEST_RECORD = 2**30  # bytes: a table of a million jobs has half of that; the system reads at most twice that at once
LARGEST_TENSORS = 2**36  # bytes of a checkpoint
BLOCK = 2**24  # bytes that are read at once for a digest

LEFTOVER = re.compile(r"\..+\.\d+\.(tmp|new)")  # .NAME.PID.tmp: the name of a file until it is complete


@contextmanager
def machine_errors(doing: str) -> Iterator[None]:
    """Re-raises OSError as MachineError. doing: what was attempted, for the message."""
    try:
        yield
    except OSError as error:
        raise os_problem(doing, error) from error


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file atomically: writes a temporary file, flushes it to disk and renames it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with machine_errors(f"cannot write {path}"):
        write_flushed(beside, content)
        try:
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_flushed(path: Path, content: bytes) -> None:
    """Writes a file and flushes its content, but not its name, to disk. Removes the file on failure."""
    try:
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def read_file(path: Path | str) -> bytes:
    """Returns the content of a file.

    Raises OSError for a link, a device or a FIFO, which could redirect or block the read.
    """
    return read_dated(path)[0]


def read_dated(path: Path | str) -> tuple[bytes, float]:
    """Returns the content of a file, as read_file does, and its modification time in seconds since 1970."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:  # without a file object, which is slower: a listing reads 10,000 files
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is no file", str(path))
        if found.st_size > LARGEST_RECORD:  # such as a sparse file of terabytes
            raise OSError(errno.EFBIG, "is larger than any record of ch12", str(path))
        blocks: list[bytes] = []
        while not blocks or len(blocks[-1]) > found.st_size:  # reads once, unless the file grows meanwhile
            blocks.append(os.read(handle, found.st_size + 1))
        return b"".join(blocks), found.st_mtime
    finally:
        os.close(handle)


def digest_of(path: Path | str) -> str:
    """Returns the SHA-256 of a file without holding it in memory. Raises OSError as read_file does."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb", buffering=0) as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is no file", str(path))
        if found.st_size > LARGEST_TENSORS:
            raise OSError(errno.EFBIG, "is larger than any file of a run", str(path))
        total = hashlib.sha256()
        while block := file.read(BLOCK):
            total.update(block)
    return total.hexdigest()


def last_written(path: Path | str) -> float:
    """Returns the modification time of a file in seconds since 1970; 0 if it does not exist."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files that killed processes left. The caller must hold the folder's lock."""
    with machine_errors(f"cannot tidy {folder}"):
        for path in folder.iterdir():
            if LEFTOVER.fullmatch(path.name):
                path.unlink(missing_ok=True)


def make_folder(path: Path, *, exist_ok: bool) -> None:
    """Creates a folder and its parents, and flushes their names to disk. Raises OSError as Path.mkdir does."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=exist_ok)
    for folder in made:
        with suppress(PermissionError):  # an unreadable folder cannot be flushed
            sync_folder(folder.parent)


def sync_files(folder: Path) -> None:
    """Flushes the files in a folder, and their names, to disk."""
    with machine_errors(f"cannot write {folder}"):
        for path in folder.iterdir():
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flushes the names in a folder to disk, so that a rename survives a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
