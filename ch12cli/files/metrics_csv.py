"""metrics.csv: one row per epoch, in full precision."""

import csv
import io
import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ch12cli.errors import InputError, reason_of
from ch12cli.files.atomic import machine_errors, write_whole
from ch12cli.files.compact.run_files import read_run_file
from ch12cli.files.run_directory import METRICS

HIGHER_IS_BETTER = ("accuracy", "f1", "auc", "r2")  # balanced_accuracy too

SAMPLED = 20_000  # rows of a long file that are enough to draw its curves
NUMBERS = b"0123456789+-.enaif"  # all bytes of a file's numbers
PLAIN = NUMBERS + b",\n"
DAMAGED = "damaged, or no metrics.csv"

SEVERAL = "objective"  # name of the objective if jobs have different metrics, which cannot be compared


def minimised(column: str) -> bool:
    """Returns whether lower is better for a metric or a column of metrics.csv."""
    return not column.endswith(HIGHER_IS_BETTER)


def format_line(values: Sequence[float | int]) -> str:
    """Returns a line of the file. Each number is the shortest text that round-trips."""
    return repr(list(values))[1:-1].replace(", ", ",") + "\n"


def to_csv(columns: Sequence[str], lines: Iterable[Sequence[float | int]]) -> bytes:
    """Returns the content of the file; empty if there are no columns. lines: the values of each epoch."""
    if not columns:
        return b""
    values = repr([*map(list, lines)])[2:-2].replace("], [", "\n").replace(", ", ",")  # at once: a tenth of the calls
    return "\n".join([",".join(columns), *([values, ""] if values else [""])]).encode()


def columns_to_csv(columns: Mapping[str, bytes], epochs: int) -> bytes:
    """Returns the same content as `to_csv`, faster where runs share columns. columns: without the epoch, as float64."""
    if not epochs:
        return b""
    texts = [list(map(str, range(1, epochs + 1))), *map(texts_of_column, columns.values())]
    return "\n".join([",".join(["epoch", *columns]), *map(",".join, zip(*texts, strict=True)), ""]).encode()


@lru_cache(maxsize=32)  # those that the runs of a stack share are asked for with each of them
def texts_of_column(values: bytes) -> list[str]:
    """Returns the numbers of a column, bytes of float64, as texts."""
    return repr(array("d", values).tolist())[1:-1].split(", ")


class MetricsFile:
    """Appends rows to metrics.csv, one per epoch. A row is on the file system when `write` returns."""

    def __init__(self, directory: Path, rows: Sequence[Mapping[str, float | int]] = ()) -> None:
        """Writes the file with the given rows, replacing any existing one."""
        self.path = directory / METRICS
        self.columns: list[str] = list(rows[0]) if rows else []
        write_whole(self.path, to_csv(self.columns, ([row[column] for column in self.columns] for row in rows)))
        with machine_errors(f"cannot write {self.path}"):
            self.file = open(self.path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close()

    def write(self, row: Mapping[str, float | int]) -> None:
        with machine_errors(f"cannot write {self.path}"):
            if not self.columns:
                self.columns = list(row)
                self.file.write(",".join(self.columns) + "\n")
            self.file.write(format_line([row[column] for column in self.columns]))
            self.file.flush()
            os.stat(self.path)  # raises if the directory was removed, which ends the run

    def sync(self) -> None:
        """Flushes the rows to disk: a checkpoint must never record more epochs than the file."""
        with machine_errors(f"cannot write {self.path}"):
            os.fsync(self.file.fileno())

    def close(self) -> None:
        with machine_errors(f"cannot write {self.path}"):
            self.file.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Returns the rows of a metrics.csv, without an incomplete last line; none if the file is missing.

    Raises InputError if the file is damaged or was not written by ch12.
    """
    try:
        return _rows_in(read_run_file(path), path)
    except FileNotFoundError:
        return []
    except OSError as error:
        what = "cannot be read" if isinstance(error, PermissionError) else DAMAGED
        raise InputError(f"{path}: {what}: {reason_of(error)}") from error


def _rows_in(content: bytes, path: Path) -> list[dict[str, float]]:
    """Returns the rows in the content of a metrics.csv, without an incomplete last line. Raises InputError."""
    try:
        text = content.decode()
        rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""), strict=True))
        if not rows:
            return []
        names, *lines = rows
        if names[:1] != ["epoch"] or len(set(names)) < len(names):
            raise InputError(f"{path}: damaged: its first line is not a header of ch12")
        return [{n: float(cell) for n, cell in zip(names, line, strict=True)} for line in lines]
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: {DAMAGED}: {reason_of(error)}") from error


def read_sample(path: Path, most: int = SAMPLED) -> tuple[list[dict[str, float]], int]:
    """Returns the rows of a metrics.csv, and their number. Of more than `most` rows, evenly spaced ones are returned.

    The first and the last are among them. Raises InputError as read_metrics does; only the numbers that are returned
    are read.
    """
    try:
        content = read_run_file(path)
    except OSError:
        content = b""
    header, body = _parts(content)
    number = body.count(b"\n")
    if number > most > 1 and _is_uniform(body, number):
        lines = body.split(b"\n")
        chosen = [lines[place * (number - 1) // (most - 1)] for place in range(most)]
        return _rows_in(b"\n".join([header, *chosen, b""]), path), number
    rows = read_metrics(path)
    return rows, len(rows)


def check_metrics(content: bytes, path: Path) -> None:
    """Raises InputError if the content of a metrics.csv is damaged. Of a long file, few numbers are read."""
    header, body = _parts(content)
    is_uniform = _is_uniform(body, body.count(b"\n"))
    _rows_in(header + b"\n" + body[: body.find(b"\n") + 1] if is_uniform else content, path)


def _parts(content: bytes) -> tuple[bytes, bytes]:
    """Returns the header of the file, and its complete lines of numbers."""
    start = content.find(b"\n") + 1
    return content[: start - 1], content[start : content.rfind(b"\n") + 1]


def _is_uniform(body: bytes, number: int) -> bool:
    """Returns whether its lines, of which there are `number`, hold nothing but numbers, and equally many."""
    if not body or body.translate(None, PLAIN):
        return False
    separators = body.translate(None, NUMBERS)
    return separators == separators[: separators.find(b"\n") + 1] * number


def count_epochs(path: Path) -> int | None:
    """Returns the number of rows in a metrics.csv; None if it cannot be read."""
    try:
        return max(0, read_run_file(path).count(b"\n") - 1)
    except OSError:
        return None
