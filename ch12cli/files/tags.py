"""Tags that a user gives a run, stored in a file of their own without a checksum."""

import fcntl
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.atomic import read_file, write_whole
from ch12cli.files.run_directory import HYDRA, STATE

TAGS = "tags.txt"
TAG = re.compile(r"[\w.-]{1,64}")
MAX_TAGS = 100  # per run


def read_tags(directory: Path) -> list[str]:
    """Returns the tags of a run in the order in which they were added. Skips invalid lines."""
    try:
        lines = read_file(f"{directory}/{TAGS}").decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [line for line in dict.fromkeys(lines) if TAG.fullmatch(line)][:MAX_TAGS]


def update_tags(directory: Path, *, add: Iterable[str] = (), remove: Collection[str] = ()) -> None:
    """Adds and removes tags of a run, after other processes that do so. Raises InputError for an invalid tag."""
    with _tags_locked(directory):
        write_tags(directory, [tag for tag in [*read_tags(directory), *add] if tag not in remove])


@contextmanager
def _tags_locked(directory: Path) -> Iterator[None]:
    """Locks the tags of a run or sweep, by the folder in it that is never replaced: its own lock means that it trains.

    Does nothing on a file system without such locks, or if the folder is missing or cannot be read.
    """
    handle = None
    with suppress(OSError):
        folder = directory / (HYDRA if (directory / HYDRA).is_dir() else STATE)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_EX)
        for leftover in directory.glob(f".{TAGS}.*.tmp"):  # of a process that was killed while it wrote
            leftover.unlink(missing_ok=True)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def write_tags(directory: Path, tags: Iterable[str]) -> None:
    """Writes a run's tags atomically; removes the file if there are none. Raises InputError for an invalid tag."""
    tags = list(dict.fromkeys(tags))
    require_valid(directory, tags)
    if tags:
        write_whole(directory / TAGS, "".join(f"{tag}\n" for tag in tags).encode())
    else:
        (directory / TAGS).unlink(missing_ok=True)


def require_valid(directory: Path, tags: Sequence[str]) -> None:
    """Raises InputError if a run cannot have these tags, all different."""
    invalid = [tag for tag in tags if not TAG.fullmatch(tag)]
    if invalid:
        raise InputError(f"{invalid[0]}: cannot be a tag; letters, digits, _ . and - can, 64 at most")
    if len(tags) > MAX_TAGS:
        raise InputError(f"{directory}: would have {len(tags)} tags; {MAX_TAGS} at most")
