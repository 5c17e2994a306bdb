"""sweep.csv: one row per job, appended when the job ends. The final table is sorted by job number.

`SweepRow.of` builds each row from the job's result and the sweep's facts about the job. Format 1 had a column `cause`,
a sentence, instead of `left_at`, `stopped_at`, `diverged_at`, `diverged_step` and `error`. The format version is stored
in `.ch12/plan.json`.
"""

import csv
import errno
import io
import math
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from ch12cli.errors import InputError, reason_of
from ch12cli.files.atomic import machine_errors, read_file, write_whole
from ch12cli.files.command import overrides_in, overrides_of, train_command, with_resumed_changes
from ch12cli.files.history import ancestry_in_short
from ch12cli.files.plain_values import whole_number_in
from ch12cli.files.result_json import Result, read_result
from ch12cli.files.run_directory import RESULT, STATE, SWEEP

CsvRecord = dict[str, str]  # a line of the file: texts by column

ENDING = ("left_at", "stopped_at", "diverged_at", "diverged_step", "error")
BEFORE = ("job", "directory", "status", *ENDING)
AFTER = ("epochs", "best_epoch", "monitor", "objective")
LAST = ("parameters", "seconds", "command")
ANCESTRY = "ancestry"  # the column of a population; other sweeps have none
FIELDS = (*BEFORE, ANCESTRY, *AFTER, *LAST)
VALUES = attrgetter(*FIELDS)
NOT_METRICS = ("epoch", "seconds", "lr", "grad_norm", "weight_norm")  # columns of metrics.csv that are not in the table
PARTS = ("train_", "valid_", "test_")  # prefixes of the metric columns
FLUSH = 1.0  # maximum delay before rows are written, in seconds
TRAINED = ("finished", "diverged")  # statuses of jobs that trained to their end
ENDED = (*TRAINED, "failed")


@dataclass(frozen=True)
class JobFacts:
    """Facts about a job that are known before it is trained.

    directory: relative to the sweep's; overrides: its overrides; options: of its command line (files/command.py).
    """

    number: int
    directory: str
    overrides: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """A row of the table.

    ancestry: of a run of a population, what it went on from, such as `3@5 7@10` (files/history.py);
    overrides: values as typed, by key; metrics: of the last epoch and of the test part, by column; extended_to: the
    number of epochs to which a resume trained the job further than planned, which is not in the file (see
    catalogue/sweep_jobs.py); other fields: as in result.json.
    """

    job: int
    directory: str
    status: str
    left_at: int | None = None
    stopped_at: int | None = None
    diverged_at: int | None = None
    diverged_step: int | None = None
    error: str | None = None
    ancestry: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    epochs: int | None = None
    best_epoch: int | None = None
    monitor: str | None = None
    objective: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: int | None = None
    seconds: float | None = None
    command: str = ""
    extended_to: int | None = field(default=None, compare=False)

    @classmethod
    def of(cls, facts: JobFacts, result: Result) -> "SweepRow":
        """Returns the row of a job with this result."""
        updated = with_resumed_changes(facts.overrides, result.history) if result.history else facts.overrides
        metrics = {name: value for name, value in (result.final or {}).items() if name not in NOT_METRICS}
        metrics |= {f"test_{name}": value for name, value in (result.test or {}).items()}
        return cls(
            job=facts.number,
            directory=facts.directory,
            status=result.status,
            left_at=result.left_at,
            stopped_at=result.stopped_at,
            diverged_at=result.diverged_at,
            diverged_step=result.diverged_step,
            error=result.error or None,
            ancestry=ancestry_in_short(result.history),
            overrides=overrides_of(updated),
            epochs=result.epochs,
            best_epoch=result.best_epoch,
            monitor=result.monitor,
            objective=_finite(result.objective),
            metrics={name: value for name, value in metrics.items() if value is not None and math.isfinite(value)},
            parameters=result.parameters,
            seconds=_finite(result.seconds),
            command=train_command(updated, facts.options),
        )

    @classmethod
    def of_directory(cls, facts: JobFacts, sweep: Path) -> "SweepRow":
        """Returns the row of a job from its directory. A job without a result counts as interrupted.

        Raises InputError if the result is damaged.
        """
        result = read_result(sweep / facts.directory / RESULT)
        return cls.of(facts, result or Result(status="interrupted"))

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> "SweepRow":
        """Returns a row from a line of the file, in this or an older format."""
        if "cause" in record:
            record = row_from_format_1(record)
        command = record.get("command") or ""
        overrides = overrides_in(command)
        metrics = {name: _number(record[name]) for name in _metric_columns(tuple(record)) if name not in overrides}
        return cls(
            job=int(record["job"]),
            directory=record.get("directory") or record["job"],
            status=record.get("status") or "",
            left_at=_integer(record.get("left_at")),
            stopped_at=_integer(record.get("stopped_at")),
            diverged_at=_integer(record.get("diverged_at")),
            diverged_step=_integer(record.get("diverged_step")),
            error=record.get("error") or None,
            ancestry=record.get(ANCESTRY) or None if ANCESTRY not in overrides else None,
            overrides=overrides,
            epochs=_integer(record.get("epochs")),
            best_epoch=_integer(record.get("best_epoch")),
            monitor=record.get("monitor") or None,
            objective=_number(record.get("objective")),
            metrics={name: value for name, value in metrics.items() if value is not None},
            parameters=_integer(record.get("parameters")),
            seconds=_number(record.get("seconds")),
            command=command,
        )

    @classmethod
    def brief_from_record(cls, record: Mapping[str, str]) -> "SweepRow":
        """Returns a row with job, directory, status, monitor, objective and seconds alone, which is faster."""
        command = record.get("command") or ""
        if "'" in command or '"' in command:
            overrides_in(command)  # raises ValueError if the line is damaged
        return cls(
            job=int(record["job"]),
            directory=record.get("directory") or record["job"],
            status=record.get("status") or "",
            monitor=record.get("monitor") or None,
            objective=_number(record.get("objective")),
            seconds=_number(record.get("seconds")),
        )

    def to_record(self) -> dict[str, Any]:
        """Returns the values of all columns, None for a missing one."""
        return {**self.overrides, **self.metrics, **dict(zip(FIELDS, VALUES(self), strict=True))}

    def values(self) -> dict[str, Any]:
        """Returns the values of all columns except the overrides."""
        return {
            **{name: getattr(self, name) for name in (*BEFORE, *AFTER)},
            **({} if self.ancestry is None else {ANCESTRY: self.ancestry}),
            **self.metrics,
            **{name: getattr(self, name) for name in LAST},
        }

    def number(self, column: str) -> float:
        """Returns the value of a numeric column; NaN if it is missing."""
        value = self.metrics.get(column) if column not in FIELDS else getattr(self, column)
        return float(value) if isinstance(value, int | float) else math.nan


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


@lru_cache(maxsize=64)  # tables of many rows have the same columns
def _metric_columns(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name.startswith(PARTS))


def _number(text: str | None) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _integer(text: str | None) -> int | None:
    return whole_number_in(text) if text else None


# Sentences that ch12 0.1 wrote into `cause`.
SENTENCES = (
    re.compile(r"left by halving after epoch (?P<left_at>\d+)"),
    re.compile(r"stopped early in epoch (?P<stopped_at>\d+)"),
    re.compile(r"the loss was no longer finite in epoch (?P<diverged_at>\d+), step (?P<diverged_step>\d+);.*"),
)


def row_from_format_1(record: Mapping[str, str]) -> CsvRecord:
    """Converts a row of format 1 to the columns of format 2, by parsing its `cause`."""
    row = {name: value for name, value in record.items() if name != "cause"}
    cause = record.get("cause") or ""
    if record.get("status") == "failed":
        return {**row, "error": cause}
    for sentence in SENTENCES:
        if found := sentence.fullmatch(cause):
            return row | found.groupdict()
    return {**row, "error": cause}


def is_sweep(path: Path) -> bool:
    """Returns whether a directory holds a sweep, including one that was killed before it wrote its table."""
    return (path / SWEEP).exists() or (path / STATE).exists()


def read_sweep_csv(path: Path, *, brief: bool = False) -> list[SweepRow]:
    """Returns the rows of a sweep.csv, the last one of each job, without an incomplete last line.

    brief: only the fields of `SweepRow.brief_from_record` are read. Returns no rows if the file is missing. Raises
    InputError if it is damaged.
    """
    try:
        text = read_file(path).decode("utf-8")
        text = text[: text.rfind("\n") + 1]  # drops an incomplete last line
        records = list(csv.DictReader(io.StringIO(text, newline=""), restkey="", restval=None))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:  # of read_file, which follows no link
            rule = "must be a file, not a link; put the file in its place, or remove the link"
            raise InputError(f"{path}: {rule}") from error
        hint = "" if isinstance(error, PermissionError) else "; remove it, or choose another hydra.sweep.dir"
        raise InputError(f"{path}: cannot be read: {reason_of(error)}{hint}") from error
    complete = {
        number: record
        for record in records
        if None not in record.values() and "" not in record and (number := _integer(record.get("job"))) is not None
    }
    read = SweepRow.brief_from_record if brief else SweepRow.from_record
    try:
        return [read(record) for record in complete.values()]
    except ValueError as error:  # a command that no shell reads
        raise InputError(f"{path}: damaged: {error}") from error


def row_on_disk(row: SweepRow | None, facts: JobFacts, sweep: Path) -> SweepRow:
    """Returns the row of a job from its directory.

    If the result there is damaged, returns `row` if it is of a finished or diverged job. Otherwise raises InputError.
    """
    try:
        return SweepRow.of_directory(facts, sweep)
    except InputError:
        if row is not None and row.status in TRAINED:
            return row
        raise


class CsvLines(list[str]):
    """What csv's writer wrote, as texts."""

    write = list.append


class SweepTable:
    """Writes sweep.csv row by row.

    keys: the keys that the jobs override; metrics: columns of metrics.csv and of the test part; ancestry: whether runs
    may go on from others.
    """

    def __init__(
        self,
        path: Path,
        *,
        keys: Iterable[str],
        metrics: Iterable[str],
        rows: Sequence[SweepRow] = (),
        ancestry: bool = False,
    ) -> None:
        self.path = path
        self.rows = {row.job: row for row in rows}
        self.lines: dict[int, tuple[SweepRow, str]] = {}  # of the rows that have been written, by job
        self.made = CsvLines()
        self.writer = csv.writer(self.made, lineterminator="\n")
        self.columns = self.columns_with(keys, metrics, ancestry=ancestry)
        self.rewrite()

    def columns_with(self, keys: Iterable[str], metrics: Iterable[str], *, ancestry: bool) -> list[str]:
        """Returns the columns of these and of the rows."""
        rows = self.rows.values()
        keys = dict.fromkeys([*keys, *(key for row in rows for key in row.overrides)])
        metrics = dict.fromkeys([*metrics, *(name for row in rows for name in row.metrics)])
        wanted = [key for key in keys if key not in FIELDS and key not in metrics]
        has_ancestry = ancestry or any(row.ancestry for row in rows)
        return [*BEFORE, *([ANCESTRY] if has_ancestry else []), *wanted, *AFTER, *metrics, *LAST]

    def rewrite(self) -> None:
        """Writes the whole table, to which rows are then added."""
        write_whole(self.path, self.content())
        with machine_errors(f"cannot write {self.path}"):
            self.file = open(self.path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close()

    def content(self) -> bytes:
        """Returns the content of the table, sorted by job number."""
        lines = [self.line(self.rows[job]) for job in sorted(self.rows)]
        return "".join([self._csv_line(self.columns), *lines]).encode()

    def line(self, row: SweepRow) -> str:
        """Returns the line of a row, which is made once."""
        written = self.lines.get(row.job)
        if written is None or written[0] is not row:
            written = self.lines[row.job] = row, self._csv_line(map(row.to_record().get, self.columns))
        return written[1]

    def _csv_line(self, values: Iterable[object]) -> str:
        """Returns a line of a table; nothing for None."""
        self.writer.writerow(values)
        return self.made.pop()

    def add(self, rows: Iterable[SweepRow]) -> None:
        """Appends rows of completed jobs. They are in the file when this returns."""
        rows = list(rows)
        self.rows |= {row.job: row for row in rows}
        with machine_errors(f"cannot write {self.path}"):
            self.file.write("".join(map(self.line, rows)))
            self.file.flush()

    def close(self) -> None:
        """Rewrites the table, sorted by job number."""
        with suppress(OSError):  # from rows that did not fit on a full disk: all are rewritten below
            self.file.close()
        write_whole(self.path, self.content())


class RowBuffer:
    """Buffers rows of completed jobs until the job directories have been flushed to disk.

    are_flushed: whether the processes that write these directories flush them.
    """

    def __init__(self, table: SweepTable, *, are_flushed: bool = False) -> None:
        self.table, self.are_flushed, self.rows = table, are_flushed, list[SweepRow]()
        self.flushed = time.monotonic()  # of the last flush

    def add(self, row: SweepRow) -> None:
        """Adds a row. Makes its line now, while others train, and not at the end."""
        self.rows.append(row)
        self.table.line(row)

    def go_on_with(
        self, rows: Sequence[SweepRow], *, keys: Iterable[str], metrics: Iterable[str], ancestry: bool
    ) -> None:
        """Replaces the rows of the table by these, which may include some that wait, and adds columns.

        The file is written anew only for further columns.
        """
        table = self.table
        table.rows = {row.job: row for row in rows}
        columns = table.columns_with(keys, metrics, ancestry=ancestry)
        if not set(columns) <= set(table.columns):
            self.flush()
            table.file.close()
            table.lines.clear()
            table.columns = list(dict.fromkeys([*columns, *table.columns]))
            table.rewrite()

    def flush_if_due(self) -> None:
        if self.rows and time.monotonic() - self.flushed > FLUSH:
            self.flush()

    def flush(self) -> None:
        if self.rows:
            if not self.are_flushed:
                os.sync()
            self.table.add(self.rows)
            self.rows.clear()
        self.flushed = time.monotonic()
