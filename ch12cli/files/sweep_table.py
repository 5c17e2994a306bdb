"""sweep.csv: a row a job, added as each ends, put in order at the end."""

import csv
import io
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ch12cli.files.atomic import machine_errors, write_whole
from ch12cli.files.sweep_csv import Record

BEFORE = ("job", "directory", "status", "cause")
AFTER = ("epochs", "best_epoch", "monitor", "objective")
LAST = ("parameters", "seconds", "command")

FLUSH = 1.0  # seconds, at most, before the rows of jobs that have ended are put on disk
PARTS = ("train_", "valid_", "test_")  # how the columns of metrics begin


class SweepTable:
    """The table as it grows. keys: what the jobs override; metrics: columns of metrics.csv and of the test part."""

    def __init__(self, path: Path, *, keys: Iterable[str], metrics: Iterable[str], rows: Sequence[Record] = ()) -> None:
        self.path = path
        known = {*BEFORE, *AFTER, *LAST}
        old = list(dict.fromkeys(name for row in rows for name in row if name not in known))
        metrics = [*metrics, *(name for name in old if name.startswith(PARTS))]
        wanted = [*dict.fromkeys([*(key for key in keys if key not in known), *(n for n in old if n not in metrics)])]
        self.columns = [*BEFORE, *wanted, *AFTER, *dict.fromkeys(metrics), *LAST]
        self.rows = {int(row["job"]): row for row in rows}
        write_whole(self.path, self.content())
        with machine_errors(f"cannot write {self.path}"):
            self.file = open(self.path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close()

    def content(self) -> bytes:
        """The whole table, in the order of the jobs."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self.columns, lineterminator="\n", extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(self.rows[job] for job in sorted(self.rows))
        return buffer.getvalue().encode()

    def add(self, rows: Iterable[Record]) -> None:
        """Adds rows of jobs that have ended; they are in the file when this returns."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self.columns, lineterminator="\n", extrasaction="ignore", restval="")
        for row in rows:
            self.rows[int(row["job"])] = row
            writer.writerow(row)
        with machine_errors(f"cannot write {self.path}"):
            self.file.write(buffer.getvalue())
            self.file.flush()

    def close(self) -> None:
        """Writes the table once more, in order."""
        with suppress(OSError):  # of rows that a full disk did not take: all are written anew
            self.file.close()
        write_whole(self.path, self.content())


def row_of_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a job's result fills."""
    best, final = result.get("best") or {}, result.get("final") or {}
    row: dict[str, Any] = {
        "status": result["status"],
        "epochs": result["epochs"],
        "best_epoch": best.get("epoch"),
        "monitor": result.get("monitor"),
        "objective": result.get("objective"),
        "parameters": result.get("parameters"),
        "seconds": result.get("seconds"),
    }
    row |= {name: value for name, value in final.items() if name not in ("epoch", "seconds", "lr")}
    return row | {f"test_{name}": value for name, value in (result.get("test") or {}).items()}


class Waiting:
    """Rows of jobs that have ended, before they are in the table: their directories must be safely on disk."""

    def __init__(self, table: SweepTable) -> None:
        self.table, self.rows = table, list[Record]()
        self.flushed = 0.0  # when, by time.monotonic

    def flush_if_due(self) -> None:
        if self.rows and time.monotonic() - self.flushed > FLUSH:
            self.flush()

    def flush(self) -> None:
        if self.rows:
            os.sync()
            self.table.add(self.rows)
            self.rows.clear()
        self.flushed = time.monotonic()
