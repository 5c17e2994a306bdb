"""The rows of sweep.csv: what became of each job, as it told or as its directory has it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ch12cli.errors import InputError
from ch12cli.files.cause import cause_of
from ch12cli.files.run_directory import RESULT, is_done, read_result
from ch12cli.files.sweep_csv import SWEEP, Record, read_table
from ch12cli.files.sweep_table import row_of_result
from ch12cli.sweep.jobs import SweepJob

ENDED = ("finished", "diverged")


def rows_of(directory: Path) -> dict[int, Record]:
    """The rows of a sweep's table by job number."""
    return {int(row["job"]): row for row in read_table(directory / SWEEP)}


def row_of(job: SweepJob, result: Mapping[str, Any], cause: str) -> Record:
    """A job's row of sweep.csv."""
    row = {"job": job.number, "directory": job.directory, **job.values, **row_of_result(result)}
    named = {**row, "cause": cause, "command": job.command}
    return {name: "" if value is None else str(value) for name, value in named.items()}


def found_row(job: SweepJob, directory: Path) -> Record:
    """A job's row from what it left in its directory: of its result, or of an interruption if it has none."""
    result = read_result(directory / job.directory / RESULT) if is_done(directory / job.directory) else None
    return row_of(job, result or {"status": "interrupted", "epochs": None}, cause_of(result or {}))


def row_now(row: Record | None, job: SweepJob, directory: Path) -> Record:
    """The row of a job that has ended: as the table has it, unless a kill kept it from being told, or the job was
    trained on by itself meanwhile."""
    try:
        found = found_row(job, directory)
    except InputError:
        if row and row["status"] in ENDED:  # its result is damaged: what the table knows of it is the better record
            return row
        raise
    same = row is not None and all(row.get(name, "") == found[name] for name in ("status", "epochs", "seconds"))
    return row if row is not None and same else found
