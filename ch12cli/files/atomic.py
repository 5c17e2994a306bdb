"""Files that appear whole or not at all."""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ch12cli.errors import InputError, MachineError

LEFTOVER = re.compile(r"\..+\.\d+\.(tmp|new)")  # .NAME.PROCESS.tmp, as a file is called until it is whole


@contextmanager
def machine_errors(doing: str) -> Iterator[None]:
    """Turns what the machine refuses into an error that says what was being done and why it failed."""
    try:
        yield
    except OSError as error:
        raise MachineError(f"{doing}: {error.strerror or error}") from error


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside its target, flushes it to the disk and renames it: a kill at any time leaves old or new."""
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
    """Writes a file, flushed to the disk; its name is not yet. Nothing stays behind if that fails."""
    try:
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def read_file(path: Path | str) -> bytes:
    """The content of a file. OSError for a link, a device or a FIFO, which would lead elsewhere or keep one waiting."""
    return read_dated(path)[0]


def read_dated(path: Path | str) -> tuple[bytes, float]:
    """The same, and when the file was last written, in seconds since 1970."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:  # without a file object: a listing reads ten thousand
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is no file", str(path))
        blocks: list[bytes] = []
        while not blocks or len(blocks[-1]) > found.st_size:  # once, unless it grows meanwhile
            blocks.append(os.read(handle, found.st_size + 1))
        return b"".join(blocks), found.st_mtime
    finally:
        os.close(handle)


def last_written(path: Path | str) -> float:
    """When a file was last written, in seconds since 1970; 0 if it is not there."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left beside their targets. For the one writer of a folder, who holds its lock."""
    with machine_errors(f"cannot tidy {folder}"):
        for path in folder.iterdir():
            if LEFTOVER.fullmatch(path.name):
                path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, *, key: str, wait: float = 0.0) -> Iterator[None]:
    """Keeps other processes from writing in a folder. The lock ends with the process, and with those it forked.

    key: what the user gave, for the message; wait: seconds, for workers of a killed process to end.
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
                    message = f"{key}: another ch12 process is writing there; wait for it to end, or choose another"
                    raise InputError(message) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def make_folder(path: Path, *, exist_ok: bool) -> None:
    """Makes a folder, with those that it lies in, and flushes their names to the disk. OSError as Path.mkdir has it."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=exist_ok)
    for folder in made:
        with suppress(PermissionError):  # what may not be read cannot be flushed
            sync_folder(folder.parent)


def sync_files(folder: Path) -> None:
    """Flushes what others wrote into a folder to the disk: the files in it, and their names."""
    with machine_errors(f"cannot write {folder}"):
        for path in folder.iterdir():
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flushes a folder's list of names to the disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
