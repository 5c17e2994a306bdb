"""Runs and sweeps below a folder: what became of each, from the few files that tell. Nothing in them is executed."""

import fcntl
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ch12cli.errors import InputError
from ch12cli.runs.directory import CHECKPOINTS, HYDRA, METRICS, RESULT, read_result
from ch12cli.runs.files import read_file
from ch12cli.runs.objective import SEVERAL, minimised
from ch12cli.runs.table import STATE, SWEEP, read_table
from ch12cli.runs.tags import read_tags

LOCKS = Path("/proc/locks")  # of Linux: 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
LARGEST = 2**63  # of a whole number
DEEPEST = 8  # folders below each other that are looked into

Row = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A run or a sweep. when: seconds since 1970 at which it began; values: what it came to, by name; jobs: of a sweep,
    how many by status."""

    path: Path
    kind: str
    when: float
    status: str
    values: Mapping[str, Any] = field(default_factory=dict)
    jobs: Mapping[str, int] = field(default_factory=dict)


def entries(below: Path) -> Iterator[Entry]:
    """All runs and sweeps below a folder, in no order; a folder that is one itself is the only one.

    What is damaged or goes away meanwhile is told as such or left out: the listing goes on.
    """
    waiting = [(str(below), 0)]
    while waiting:
        folder, depth = waiting.pop()
        if os.path.lexists(f"{folder}/{RESULT}"):  # the most common case, and no need to list what is there
            yield tagged(run_entry(Path(folder)))
            continue
        try:
            with os.scandir(folder) as found:
                inside = {each.name: each for each in found}
        except OSError:
            continue
        if SWEEP in inside or STATE in inside:
            yield tagged(sweep_entry(Path(folder)))
        elif CHECKPOINTS in inside or METRICS in inside:
            yield tagged(run_entry(Path(folder)))
        elif depth < DEEPEST:
            below_it = [each for each in inside.values() if not each.name.startswith(".")]
            waiting += [(each.path, depth + 1) for each in below_it if each.is_dir(follow_symlinks=False)]


def tagged(entry: Entry) -> Entry:
    """The entry with its tags, if it has some."""
    tags = read_tags(entry.path)
    return replace(entry, values={**entry.values, "tags": " ".join(tags)}) if tags else entry


def run_entry(path: Path) -> Entry:
    """A run from its result.json; one that has none is running if its directory is locked, else it was killed."""
    when = began(path, HYDRA)
    try:
        result = read_result(f"{path}/{RESULT}")
    except InputError:
        return Entry(path, "run", when, "damaged")
    if result is None:
        status = "running" if is_locked(path) else "killed"
        return Entry(path, "run", when, status, {"epochs": epochs_so_far(path / METRICS)})
    try:
        return Entry(path, "run", when, str(result["status"]), values_of(result))
    except (AttributeError, TypeError, ValueError):
        return Entry(path, "run", when, "damaged")


def values_of(result: Mapping[str, Any]) -> Row:
    """What a run came to, flat: its figures under the names of metrics.csv, those of the test part as test_…."""
    names = ("epochs", "monitor", "objective", "parameters", "seconds", "stopped_early", "cause")
    values: Row = {name: result[name] for name in names if name in result}
    values |= {name: value for name, value in (result.get("final") or {}).items() if name not in ("epoch", "seconds")}
    values |= {f"test_{name}": value for name, value in (result.get("test") or {}).items()}
    values["best_epoch"] = (result.get("best") or {}).get("epoch")
    return {name: value for name, value in values.items() if is_plain(value)}


def is_plain(value: Any) -> bool:
    """Whether it is what ch12 writes for a figure or a word, and not what a stranger may have put there."""
    return value is None or isinstance(value, float | str) or (isinstance(value, int) and abs(value) < LARGEST)


def sweep_entry(path: Path) -> Entry:
    """A sweep from its table: how its jobs ended, and the best objective."""
    when = began(path, STATE)
    try:
        rows = read_table(path / SWEEP)
    except InputError:
        return Entry(path, "sweep", when, "damaged")
    counts = Counter(row.get("status") or "" for row in rows)
    running = is_locked(path)
    open_jobs = counts["interrupted"] or not rows
    status = "running" if running else "interrupted" if open_jobs else "failed" if counts["failed"] else "finished"
    seconds = [number for row in rows if (number := number_of(row.get("seconds"))) is not None]
    values = {"jobs": len(rows), "seconds": sum(seconds), **best_of(path, rows)}
    return Entry(path, "sweep", when, status, values, dict(counts))


def best_of(sweep: Path, rows: Sequence[Mapping[str, str]]) -> Row:
    """The best objective of a sweep's jobs that finished, what it is of, and whose; nothing where there is none."""
    finished = [row for row in rows if row.get("status") == "finished"]
    found = [(value, row) for row in finished if (value := number_of(row.get("objective"))) is not None]
    monitor = monitor_of(sweep, rows) if found else None
    if monitor in (None, SEVERAL):  # of different metrics none is the best
        return {}
    sign = 1 if minimised(monitor) else -1
    value, row = min(found, key=lambda pair: sign * pair[0])
    return {"monitor": monitor, "objective": value, "best_job": int(row["job"])}


def monitor_of(sweep: Path, rows: Sequence[Mapping[str, str]]) -> str | None:
    """What the objective of a sweep's jobs is, SEVERAL if not the same of all; None if no job that finished says it."""
    finished = [row for row in rows if row.get("status") == "finished"]
    if not finished:
        return None
    named = {monitor for row in finished if (monitor := row.get("monitor"))}
    if named:
        return named.pop() if len(named) == 1 else SEVERAL
    row = finished[0]
    place = Path(row.get("directory") or row["job"])
    if place.is_absolute() or ".." in place.parts:
        return None
    try:
        monitor = (read_result(sweep / place / RESULT) or {}).get("monitor")
    except InputError:
        return None
    return monitor if isinstance(monitor, str) else None


def job_entries(sweep: Path) -> list[Entry]:
    """The jobs of a sweep, from its table."""
    return [job_entry(sweep, row, place) for place, row in enumerate(read_table(sweep / SWEEP))]


def job_entry(sweep: Path, row: Mapping[str, str], place: int) -> Entry:
    """A job out of a sweep's table. Jobs have no times of their own: the last stands first, as the newest does."""
    texts = {name: text for name, text in row.items() if name not in ("job", "directory", "status") and text}
    values = {name: text if (number := number_of(text)) is None else number for name, text in texts.items()}
    if "epochs" in values and isinstance(values["epochs"], float):
        values["epochs"] = int(values["epochs"])
    return Entry(sweep / (row.get("directory") or row["job"]), "job", place, row.get("status") or "", values)


def row_of(entry: Entry) -> Row:
    """What an entry came to, flat."""
    row: Row = {"path": str(entry.path), "kind": entry.kind, "when": entry.when, "status": entry.status}
    return {**row, **entry.values, **{f"{status}_jobs": count for status, count in entry.jobs.items()}}


def number_of(text: str | None) -> float | None:
    """A cell of a table as a number; None if it is none."""
    try:
        return float(text) if text else None
    except ValueError:
        return None


def epochs_so_far(path: Path) -> int | None:
    """How many rows a metrics.csv holds; None if it cannot be read."""
    try:
        return max(0, read_file(path).count(b"\n") - 1)
    except OSError:
        return None


def began(path: Path, first: str) -> float:
    """When a directory's first part was made, which later writing does not touch."""
    for name in (f"{path}/{first}", path):
        try:
            return os.stat(name).st_mtime
        except OSError:
            continue
    return 0.0


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
