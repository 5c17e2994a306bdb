"""sweep.csv: a row a job, added as each ends, put in order at the end."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ch12cli.errors import InputError
from ch12cli.runs.files import machine_errors, read_file, write_whole

SWEEP = "sweep.csv"
BEFORE = ("job", "directory", "status", "cause")
AFTER = ("epochs", "best_epoch", "objective")
LAST = ("parameters", "seconds", "command")

PARTS = ("train_", "valid_", "test_")  # how the columns of metrics begin

Record = dict[str, str]


def read_table(path: Path) -> list[Record]:
    """The rows of a sweep.csv, the last of each job; what was being written when the sweep was killed is left out."""
    try:
        text = read_file(path).decode("utf-8")
        text = text[: text.rfind("\n") + 1]  # a line that has no end was being written
        rows = list(csv.DictReader(io.StringIO(text, newline=""), restkey="", restval=None))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {error}; remove it, or choose another hydra.sweep.dir") from error
    whole = [row for row in rows if None not in row.values() and "" not in row and (row.get("job") or "").isdigit()]
    return list({row["job"]: row for row in whole}.values())


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
        with machine_errors(f"cannot write {self.path}"):
            self.file.close()
        write_whole(self.path, self.content())


def row_of_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a job's result fills."""
    best, final = result.get("best") or {}, result.get("final") or {}
    row: dict[str, Any] = {
        "status": result["status"],
        "epochs": result["epochs"],
        "best_epoch": best.get("epoch"),
        "objective": result.get("objective"),
        "parameters": result.get("parameters"),
        "seconds": result.get("seconds"),
    }
    row |= {name: value for name, value in final.items() if name not in ("epoch", "seconds", "lr")}
    return row | {f"test_{name}": value for name, value in (result.get("test") or {}).items()}
