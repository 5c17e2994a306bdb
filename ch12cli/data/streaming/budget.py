"""How much memory a data set may take, and how much there is."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from ch12cli.errors import InputError, Problem
from ch12cli.rules import MemoryRule, size_in_bytes

SHARE = 0.5  # of the memory that is available, which a data set may take
CGROUPS = {  # where the limits of containers and jobs are, by version: limit, use, and what is used for what
    "": (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "memory.stat"),
    "memory": (
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "memory.stat",
    ),
}
FILE_PAGES = ("active_file ", "inactive_file ")  # which are given up when memory is needed


def budget_of(memory: object) -> int:
    """The bytes that dataset.memory allows. auto: half of what is available. InputError for anything but a size."""
    if memory == "auto":
        return int(SHARE * available_memory())
    found = size_in_bytes(memory)
    if found is None:
        raise InputError(Problem("dataset.memory", str(memory), f"must be {MemoryRule()}"))
    return found


def describe_size(size: int) -> str:
    """A size such as 512 MB, rounded."""
    for unit, of_unit in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= of_unit:
            return f"{size / of_unit:.3g} {unit}"
    return f"{size} bytes"


def available_memory() -> int:
    """Bytes that this process may still take: the least of what machine, container and the limit of the shell leave."""
    return min(_left(), default=2**32)


def memory_for_files() -> int:
    """Bytes of files that the system can keep in memory: the least of what machine and container leave."""
    return min(_left_by_system(), default=2**32)


def _left_by_system() -> Iterator[int]:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
    for limit, used, details in _limits():
        (most, *_), (now, *_) = _lines(limit) or ["max"], _lines(used) or ["0"]
        if most.strip().isdigit():
            of_files = sum(int(line.split()[1]) for line in _lines(details) if line.startswith(FILE_PAGES))
            yield max(0, int(most) - max(0, int(now) - of_files))


def _limits() -> Iterator[list[Path]]:
    """The files with the limits of this process's control group, of those that hold it, and of the container."""
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for controller, (root, *names) in CGROUPS.items():
            if controller in controllers.split(","):
                own = root / path.lstrip("/")
                for folder in (own, *own.parents):
                    if folder.is_relative_to(root):
                        yield [folder / name for name in names]


def _left() -> Iterator[int]:
    yield from _left_by_system()
    limit_of_addresses = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit_of_addresses != resource.RLIM_INFINITY:
        pages = int((_lines("/proc/self/statm") or ["0"])[0].split()[0])
        yield max(0, limit_of_addresses - pages * os.sysconf("SC_PAGE_SIZE"))


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeError):
        return []
