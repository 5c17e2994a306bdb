"""How much memory a data set may take, and how much there is."""

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from ch12cli.errors import InputError, Problem

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
UNITS = "KMGT"
SHARE = 0.5  # of the memory that is available, which a data set may take
CGROUPS = (  # limit, and use, of the processes of a container
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def budget_of(memory: object) -> int:
    """The bytes that dataset.memory allows. auto: half of what is available. InputError for anything but a size."""
    if memory == "auto":
        return int(SHARE * available_memory())
    found = size_in_bytes(memory)
    if found is None:
        rule = "must be auto, or a size above 0 such as 500MB or 2GB"
        raise InputError(Problem("dataset.memory", str(memory), rule))
    return found


def size_in_bytes(text: object) -> int | None:
    """The bytes that a text such as 500MB, 2GB or 1.5GiB stands for; None if it is no such text."""
    found = SIZE.fullmatch(str(text).strip()) if isinstance(text, str | int) else None
    if found is None or isinstance(text, bool):
        return None
    base = 1024 if found[3] else 1000
    bytes_ = float(found[1]) * base ** (UNITS.index(found[2].upper()) + 1 if found[2] else 0)
    return int(bytes_) if bytes_ >= 1 else None


def available_memory() -> int:
    """Bytes that this process may still take: the least of what machine, container and the limit of the shell leave."""
    return min(_left(), default=2**32)


def _left() -> Iterator[int]:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
    for limit, used in CGROUPS:
        (most, *_), (now, *_) = _lines(limit) or ["max"], _lines(used) or ["0"]
        if most.strip().isdigit():
            yield max(0, int(most) - int(now))
    limit_of_addresses = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit_of_addresses != resource.RLIM_INFINITY:
        pages = int((_lines("/proc/self/statm") or ["0"])[0].split()[0])
        yield max(0, limit_of_addresses - pages * os.sysconf("SC_PAGE_SIZE"))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeError):
        return []
