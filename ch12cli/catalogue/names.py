"""Resolves names of runs and sweeps: a path, part of a path, @1 for the newest, @best, SWEEP/17."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ch12cli.catalogue.entries import Entry, entries
from ch12cli.catalogue.sweep_jobs import read_sweep_rows, rows_to_come
from ch12cli.catalogue.sweep_progress import epochs_in_stacks
from ch12cli.errors import InputError, os_problem
from ch12cli.files.cluster.progress import sweep_progress
from ch12cli.files.cluster.tasks import activity
from ch12cli.files.compact.run_files import run_exists
from ch12cli.files.locks import is_locked
from ch12cli.files.metrics_csv import minimised
from ch12cli.files.plain_values import whole_number_in
from ch12cli.files.plan_json import is_inside
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import RESULT, STATE
from ch12cli.files.sweep_csv import ENDED, SweepRow, is_sweep
from ch12cli.shell import shell_line

OUTPUTS = Path("outputs")
SHOWN = 5  # maximum number of candidates in a message
CUT = re.compile(r"…|\.\.\.|^~")  # what stands in a shortened name for the rest
INDEX = re.compile(r"@([0-9]+)")


def find_run_directory(text: str, *, below: Path = OUTPUTS) -> Path:
    """Returns the directory that a name refers to. Raises InputError if there is none, or more than one.

    A name is one of: an existing path; @1, the newest run or sweep below `below`, @2, the one before; @best, the run
    with the best objective; SWEEP/17, a job of a sweep; part of a path below `below` that is unique; or a name that a
    table has shortened with `…`. @best considers runs with the data and metric of the newest run.
    """
    if text and run_found(Path(text)):
        refuse_linked_job(Path(text))
        return Path(text)
    head, slash, job = text.rpartition("/")
    if slash and whole_number_in(job) is not None and (found := within(head, job, below)):
        sweep, row = found
        if not run_found(sweep / row.directory):
            raise InputError(f"{text}: {why_missing(sweep, row)}")
        refuse_linked_job(sweep / row.directory)
        return sweep / row.directory
    known = sorted(entries(below), key=lambda entry: entry.when, reverse=True)
    if match := INDEX.fullmatch(text):
        number = whole_number_in(match[1])
        if number is None or not 1 <= number <= len(known):
            there = f"there are {len(known)} runs and sweeps" if len(known) != 1 else "there is 1 run or sweep"
            raise InputError(f"{text}: {there} below {below}/; @1 is the newest")
        return known[number - 1].path
    if text == "@best":
        return best(known, below)
    shortened = CUT.search(text)
    matching = [
        entry.path for entry in known if text and (fits(text, entry.path) if shortened else text in str(entry.path))
    ]
    exact = [path for path in matching if path.name == text]
    if len(matching) == 1 or len(exact) == 1:
        return (exact or matching)[0]
    if not matching and shortened:
        raise InputError(
            f"{text}: is a shortened name, and no run below {below}/ fits it; `ch12 runs | cat` prints all of each"
        )
    if not matching:
        raise InputError(f"{text}: no such directory, and no run below {below}/ has that in its path; see `ch12 runs`")
    listed = ", ".join(str(path) for path in matching[:SHOWN])
    more = f", … ({len(matching)} in all)" if len(matching) > SHOWN else ""
    raise InputError(f"{text}: may be {listed}{more}; give more of the path")


def fits(text: str, path: Path) -> bool:
    """Returns True if a shortened name, as a table prints it, may be that of a path."""
    pattern = ".*".join(map(re.escape, CUT.split(text)))
    return re.search(f"(?:^|/){pattern}$", str(path)) is not None


def refuse_linked_job(path: Path) -> None:
    """Raises InputError if a directory in a sweep is a link: what is written there would land elsewhere."""
    sweep = next((folder for folder in path.absolute().parents if is_sweep(folder)), None)
    if sweep is None:
        return
    below = path.absolute().relative_to(sweep)
    links = [part for part in (below, *below.parents) if part.parts and (sweep / part).is_symlink()]
    if links:
        raise InputError(f"{sweep / links[-1]}: is a link in the directory of a sweep; name the directory it leads to")


def run_found(path: Path) -> bool:
    """Returns whether a path exists, or is that of a job in the record of its sweep."""
    try:
        return run_exists(path)
    except PermissionError as error:
        raise os_problem(f"cannot read {path}", error) from error
    except (OSError, ValueError):  # the name is too long or contains a NUL byte
        return False


def within(text: str, job: str, below: Path) -> tuple[Path, SweepRow] | None:
    """Returns a sweep and the row of its job with a number; None if the name is not a sweep or has no such job."""
    try:
        sweep = find_run_directory(text, below=below)
    except InputError:
        return None
    number, rows = whole_number_in(job), read_sweep_rows(sweep)
    row = next((row for row in rows if row.job == number), None)
    row = row or next((row for row in rows_to_come(sweep, rows) if row.job == number), None)
    return None if row is None or not is_inside(row.directory) else (sweep, row)


def why_missing(sweep: Path, row: SweepRow) -> str:
    """Returns why a job of a sweep has no files, and how to go on."""
    resume, watch = (shell_line(["ch12", verb, str(sweep)]) for verb in ("resume", "watch"))
    if row.status in ENDED:
        return f"job {row.job} has {row.status}, but its directory is gone; `{resume}` trains it again"
    if is_locked(sweep) or activity(sweep):
        return f"job {row.job} has not ended, and has no files before; `{watch}` follows the sweep"
    if epoch := epochs_in_stacks(sweep).get(row.job):
        came = f"was interrupted after epoch {epoch:,}, together with its stack"
        return f"job {row.job} {came}, and has no files before it ends; `{resume}` goes on with it"
    if sweep_progress(sweep) is None and has_stacks(sweep):
        return f"job {row.job} has not ended, and has no files before; `{resume}` trains it"
    return f"job {row.job} was not started; `{resume}` trains what is missing"


def has_stacks(sweep: Path) -> bool:
    """Returns whether a sweep has checkpoints of stacks."""
    try:
        return any(name.startswith("stack-") for name in os.listdir(sweep / STATE))
    except OSError:
        return False


def best(known: Sequence[Entry], below: Path) -> Path:
    """Returns the finished run, or job, with the best objective among those comparable with the newest one."""
    # a sweep's best job has finished even if other jobs failed
    ended = [entry for entry in known if entry.status == "finished" or entry.kind == "sweep"]
    finished = [entry for entry in ended if isinstance(entry.values.get("objective"), int | float)]
    if not finished:
        raise InputError(f"@best: there is no finished run below {below}/")
    monitor = str(finished[0].values.get("monitor"))
    sign = 1 if minimised(monitor) else -1
    newest = min(finished_runs(finished[0]), key=lambda pair: sign * pair[0])[1]
    found = sorted((pair for entry in finished for pair in finished_runs(entry)), key=lambda pair: sign * pair[0])
    kind = kind_of(newest)
    return next((path for _, path in found if kind_of(path) == kind), newest)


def finished_runs(entry: Entry) -> list[tuple[float, Path]]:
    """Returns the objective and directory of a run, or of each finished job of a sweep."""
    if entry.kind != "sweep":
        return [(entry.values["objective"], entry.path)]
    rows = [row for row in read_sweep_rows(entry.path) if row.status == "finished" and is_inside(row.directory)]
    return [(row.objective, entry.path / row.directory) for row in rows if row.objective is not None]


def kind_of(path: Path) -> tuple[Any, Any]:
    """Returns the monitor and data digest of a run. Objectives are comparable only if both are equal."""
    try:
        result = read_result(path / RESULT)
    except InputError:
        result = None
    return (None, None) if result is None else (result.monitor, result.data.get("digest"))
