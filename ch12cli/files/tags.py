"""Tags that a user gives a run, stored in a file of their own without a checksum."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.atomic import read_file, write_whole

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


def write_tags(directory: Path, tags: Iterable[str]) -> None:
    """Writes a run's tags atomically; removes the file if there are none. Raises InputError for an invalid tag."""
    tags = list(dict.fromkeys(tags))
    require_valid(directory, tags)
    for leftover in directory.glob(f".{TAGS}.*.tmp"):  # of a process that was killed while it wrote
        leftover.unlink(missing_ok=True)
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
