"""Lists the runs and sweeps below a folder with their status and results. Executes nothing from their files."""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ch12cli.catalogue.configured_values import with_configured_values
from ch12cli.catalogue.sweep_jobs import best_job, read_sweep_rows, sweep_monitor, sweep_status
from ch12cli.catalogue.sweep_progress import with_epochs
from ch12cli.errors import InputError
from ch12cli.files.atomic import last_written, read_file
from ch12cli.files.cluster.tasks import activity
from ch12cli.files.compact.run_files import read_dated_run_file
from ch12cli.files.hydra_folder import read_keys
from ch12cli.files.locks import is_locked
from ch12cli.files.metrics_csv import check_metrics, count_epochs
from ch12cli.files.plain_values import typed_value
from ch12cli.files.plan_json import PLAN, count_planned, is_inside, plan_head
from ch12cli.files.result_json import Result
from ch12cli.files.run_directory import CHECKPOINTS, HYDRA, METRICS, RESULT, STATE, SWEEP
from ch12cli.files.sealed_json import NewerFormatError
from ch12cli.files.sweep_csv import FIELDS, SweepRow
from ch12cli.files.tags import TAGS, read_tags

MULTIRUN = "multirun.yaml"  # Hydra writes it when a command begins
DEEPEST = 8  # maximum depth of folders
READERS = 8  # threads that read from the disk; more slow each other down
TOGETHER = 64  # folders that a thread reads per task
AHEAD = 64 * TOGETHER  # folders that are read ahead
PATIENCE = 1e-4  # seconds per folder above which the disk is the bottleneck

RESULT_FIELDS = (
    "epochs",
    "monitor",
    "objective",
    "parameters",
    "seconds",
    "left_at",
    "stopped_at",
    "diverged_at",
    "error",
)
OF_THE_ENTRY = ("job", "directory", "status")  # columns of sweep.csv that are fields of an entry
EFFECTIVE = os.access in os.supports_effective_ids
EntryRow = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A run, a sweep or a job.

    location: its path; when: start, in seconds since 1970; values: its results by name; jobs: for a sweep, the number
    of jobs by status.
    """

    location: str
    kind: str
    when: float
    status: str
    values: Mapping[str, Any] = field(default_factory=dict)
    jobs: Mapping[str, int] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return Path(self.location)


class RunFiles(NamedTuple):
    """The files of a run's folder that a listing reads.

    result: content of result.json, None if missing, False if unreadable; changed: whether metrics.csv is newer than
    result.json.
    """

    result: bytes | bool | None
    when: float
    tags: str
    changed: bool = False


def entries(below: Path) -> Iterator[Entry]:
    """Yields all runs and sweeps below a folder, unordered; if the folder itself is one, yields only that.

    A damaged run or sweep gets the status "damaged". A folder that disappears meanwhile is skipped.
    """
    level = [str(below)]
    with ThreadPoolExecutor(READERS) as readers:
        for depth in range(DEEPEST + 1):
            following: list[str] = []
            for folder, files in zip(level, read_folders(level, readers), strict=True):
                if files.result is not None:
                    yield run_entry(folder, files)
                    continue
                found, inside = scan_folder(folder)
                if found is not None:
                    yield found
                elif depth < DEEPEST:
                    following += inside
            level = following


def entry_at(path: Path) -> Entry:
    """Returns the run or sweep in a folder. Raises InputError if there is none."""
    folder = str(path)
    files = read_run_files(folder)
    found = scan_folder(folder)[0] if files.result is None else run_entry(folder, files)
    if found is None:
        raise InputError(f"{path}: is neither a run nor a sweep; `ch12 runs` lists what there is")
    return found


def read_folders(folders: Sequence[str], readers: ThreadPoolExecutor) -> Iterator[RunFiles]:
    """Yields a Look for each folder, in order. Uses all reader threads if the disk is slow."""
    for start in range(0, len(folders), AHEAD):
        blocks = [
            folders[index : index + TOGETHER] for index in range(start, min(start + AHEAD, len(folders)), TOGETHER)
        ]
        before = time.perf_counter()
        first = read_many(blocks[0])
        waits = time.perf_counter() - before > PATIENCE * len(first)
        yield from first
        for batch in readers.map(read_many, blocks[1:]) if waits else map(read_many, blocks[1:]):
            yield from batch


def read_many(folders: Sequence[str]) -> list[RunFiles]:
    return [read_run_files(folder) for folder in folders]


def read_run_files(folder: str) -> RunFiles:
    """Returns the files of a folder that describe a run, if it has a result.json."""
    try:
        result, written = read_dated_run_file(f"{folder}/{RESULT}")
    except (FileNotFoundError, NotADirectoryError):
        return RunFiles(None, 0.0, "")
    except OSError:
        return RunFiles(False, began(folder, HYDRA), tags_of(folder))
    changed = last_written(f"{folder}/{METRICS}") > written
    return RunFiles(result, began(folder, HYDRA) or written, tags_of(folder), changed)


def tags_of(folder: str) -> str:
    return " ".join(read_tags(Path(folder))) if os.access(f"{folder}/{TAGS}", os.F_OK) else ""


def scan_folder(folder: str) -> tuple[Entry | None, list[str]]:
    """Returns the sweep or unfinished run in a folder, or else its subfolders."""
    try:
        with os.scandir(folder) as found:
            inside = {each.name: each for each in found}
    except OSError:
        return None, []
    if SWEEP in inside or STATE in inside:
        return sweep_entry(folder, list(inside)), []
    if CHECKPOINTS in inside or METRICS in inside:
        return run_entry(folder, RunFiles(None, began(folder, HYDRA), tags_of(folder))), []
    return None, [
        each.path for each in inside.values() if not each.name.startswith(".") and each.is_dir(follow_symlinks=False)
    ]


def run_entry(folder: str, files: RunFiles) -> Entry:
    """Returns the entry of a run. Without a result.json, it is running if its directory is locked, else killed."""
    tags = {"tags": files.tags} if files.tags else {}
    if files.result is None:
        status = "running" if is_locked(Path(folder)) else "killed"
        return Entry(folder, "run", files.when, status, {"epochs": count_epochs(Path(folder, METRICS)), **tags})
    try:
        if isinstance(files.result, bool):
            raise InputError(f"{folder}: cannot be read")
        result = Result.from_json(files.result, f"{folder}/{RESULT}", head=not files.changed)
        status = status_now(folder, result) if files.changed else result.status
        return Entry(folder, "run", files.when, status, result_values(result) | tags)
    except NewerFormatError:
        return Entry(folder, "run", files.when, "newer", tags)
    except InputError:
        return Entry(folder, "run", files.when, unusable(folder, RESULT), tags)


def status_now(folder: str, result: Result) -> str:
    """Returns the status of a run whose metrics.csv is newer than its result.json.

    If the file differs from its digest and has more rows than the result has epochs, the run was resumed: it is running
    if locked, else killed. With fewer rows it has lost some, and the result still holds. An unreadable file is damaged.
    """
    digest = result.files.get(METRICS)
    try:
        metrics = read_file(f"{folder}/{METRICS}")
        if digest is None or digest == hashlib.sha256(metrics).hexdigest():
            return result.status
        if is_locked(Path(folder)):
            return "running"
        check_metrics(metrics, Path(folder, METRICS))
    except (OSError, InputError):
        return unusable(folder, METRICS)
    has_lost_rows = result.epochs is not None and metrics.count(b"\n") - 1 <= result.epochs
    return result.status if has_lost_rows else "killed"


def unusable(folder: str, *names: str) -> str:
    """Returns the status of what cannot be read: unreadable, where a permission is missing, else damaged."""
    if not os.access(folder, os.R_OK | os.X_OK, effective_ids=EFFECTIVE):
        return "unreadable"
    files = [f"{folder}/{name}" for name in names if os.path.lexists(f"{folder}/{name}")]
    return "damaged" if all(os.access(file, os.R_OK, effective_ids=EFFECTIVE) for file in files) else "unreadable"


def result_values(result: Result) -> EntryRow:
    """Returns the results of a run as a flat mapping: columns of metrics.csv, and test metrics as test_…."""
    values: EntryRow = {name: value for name in RESULT_FIELDS if (value := getattr(result, name)) is not None}
    values |= {name: value for name, value in (result.final or {}).items() if name not in ("epoch", "seconds")}
    values |= {f"test_{name}": value for name, value in (result.test or {}).items()}
    return {**values, "best_epoch": result.best_epoch}


def sweep_entry(folder: str, inside: Sequence[str]) -> Entry:
    """Returns the entry of a sweep, from its table and the directories of its jobs."""
    path = Path(folder)
    when, tags = sweep_began(folder), tags_of(folder)
    tag_values = {"tags": tags} if tags else {}
    try:
        rows = read_sweep_rows(path, inside, brief=True)
    except NewerFormatError:
        return Entry(folder, "sweep", when, "newer", tag_values)
    except InputError:
        return Entry(folder, "sweep", when, unusable(folder, SWEEP, PLAN), tag_values)
    counts = Counter(row.status for row in rows)
    planned = count_planned(path)
    ended = {row.job for row in rows if row.status != "interrupted"}
    status = sweep_status(rows, planned=planned, activity="running" if is_locked(path) else activity(path, ended))
    seconds = [row.seconds for row in rows if row.seconds is not None]
    values = {
        "jobs": max(planned, len(rows)),
        "seconds": sum(seconds) if seconds else None,
        **best_job(path, rows),
        **tag_values,
    }
    return Entry(folder, "sweep", when, status, values, dict(counts))


def job_entries(sweep: Path) -> list[Entry]:
    """Returns the completed jobs of a sweep, by number. Their start is that of the sweep, because theirs is unknown."""
    rows = with_epochs(with_configured_values(read_sweep_rows(sweep), sweep), sweep)
    when, monitor = sweep_began(str(sweep)), sweep_monitor(sweep, rows)
    return [job_entry(sweep, row, when=when, monitor=monitor) for row in rows]


def job_entry(sweep: Path, row: SweepRow, *, when: float, monitor: str | None) -> Entry:
    values = {key: typed_value(text) for key, text in row.overrides.items() if text and key not in FIELDS}
    values |= {name: value for name, value in row.values().items() if name not in OF_THE_ENTRY and value is not None}
    folder = f"{sweep}/{row.directory}"
    tags = tags_of(folder) if is_inside(row.directory) else ""
    return Entry(folder, "job", when, row.status, {"monitor": monitor, **values, **({"tags": tags} if tags else {})})


def configured_keys(entry: Entry) -> EntryRow:
    """Returns the settings and choices of a run or job by dotted key; none of a sweep, whose jobs have their own.

    Keys that have the name of a result are left out: `epochs` is the number of epochs that a run was trained for.
    """
    keys = read_keys(entry.path / HYDRA) if entry.kind != "sweep" else {}
    return {name: value for name, value in keys.items() if not name.startswith("hydra/") and name not in RESULT_FIELDS}


def entry_row(entry: Entry) -> EntryRow:
    """Returns an entry as a flat mapping."""
    row: EntryRow = {"path": entry.location, "kind": entry.kind, "when": entry.when, "status": entry.status}
    return {**row, **entry.values, **{f"{status}_jobs": count for status, count in entry.jobs.items()}}


def sweep_began(folder: str) -> float:
    """Returns when a sweep's first job was planned. Writes may move the time of a sweep of an earlier version."""
    with suppress(NewerFormatError):
        if when := plan_head(Path(folder))[1]:
            return when
    times = [began(folder, name) for name in (MULTIRUN, STATE) if os.path.lexists(f"{folder}/{name}")]
    return min(times, default=began(folder, STATE))


def began(folder: str, first: str) -> float:
    """Returns the modification time of `first` in a folder, or else of the folder; 0 if both are missing.

    `first` is created first and not modified later.
    """
    for name in (f"{folder}/{first}", folder):
        try:
            return os.stat(name).st_mtime
        except OSError:
            continue
    return 0.0
