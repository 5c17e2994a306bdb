"""The row in sweep.csv of a job that was trained on by itself."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.atomic import locked
from ch12cli.files.cause import cause_of
from ch12cli.files.run_directory import RESULT, read_result
from ch12cli.files.sweep_csv import STATE, SWEEP, Record, read_table
from ch12cli.files.sweep_table import SweepTable, row_of_result


def retell(directory: Path, lines: Sequence[str]) -> None:
    """Puts what has become of a job into the table of its sweep, if it is one's and the sweep is not in progress, which
    finds it out by itself, nor its table damaged. lines: the overrides with which it was trained on."""
    directory = directory.resolve()
    sweep = next((folder for folder in directory.parents if (folder / STATE).is_dir()), None)
    if sweep is None:
        return
    with suppress(InputError, ValueError), locked(sweep, key=str(sweep)):
        rows, place = read_table(sweep / SWEEP), directory.relative_to(sweep).as_posix()
        result = read_result(directory / RESULT)
        if result is not None and any(row.get("directory") == place for row in rows):
            told = {**row_of_result(result), "cause": cause_of(result)}
            now = {name: "" if value is None else str(value) for name, value in told.items()}
            found = [with_lines({**row, **now}, lines) if row.get("directory") == place else row for row in rows]
            SweepTable(sweep / SWEEP, keys=(), metrics=(), rows=found).close()


def with_lines(row: Record, lines: Sequence[str]) -> Record:
    """The row with the command that trains a job as this one was trained in the end."""
    keys = {line.partition("=")[0] for line in lines}
    words = [word for word in shlex.split(row.get("command", "")) if word.partition("=")[0] not in keys]
    return {**row, "command": shlex.join([*words, *lines])}
