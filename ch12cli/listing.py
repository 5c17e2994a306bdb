"""Runs as rows for a data frame: `pandas.DataFrame(ch12cli.runs("outputs"))`."""

import math
from collections.abc import Iterable
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from ch12cli.config.recorded import read_keys
from ch12cli.errors import InputError
from ch12cli.runs.catalogue import Entry, entries, job_entries, row_of
from ch12cli.runs.curve import format_curve
from ch12cli.runs.directory import HYDRA, METRICS
from ch12cli.runs.metrics import read_metrics
from ch12cli.runs.names import find

FIRST = ("path", "kind", "when", "status", "epochs", "monitor", "objective")
SHOWN = ("path", "status", "epochs", "objective", "test_accuracy", "test_loss")  # in a notebook's table
MOST = 20  # rows of it
WIDTH, HEIGHT = 76, 12  # characters of a curve


class Row(dict[str, Any]):
    """A run: what it came to, by the names of `ch12 runs`, and its settings, by dotted keys."""

    def _repr_html_(self) -> str:
        cells = [(name, self[name]) for name in self if name in SHOWN or name.startswith("test_")]
        lines = "".join(f"<tr><th>{escape(name)}</th><td>{shown(value)}</td></tr>" for name, value in cells)
        return f"<table>{lines}</table><pre>{escape(curve_of(Path(self['path'])))}</pre>"


class Rows(list[Row]):
    """Rows with the same keys each, newest first, for pandas, polars, or csv."""

    def _repr_html_(self) -> str:
        names = [name for name in SHOWN if any(shown(row.get(name)) for row in self)]
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(f"<tr>{''.join(f'<td>{shown(row[name])}</td>' for name in names)}</tr>" for row in self[:MOST])
        more = f"<p>and {len(self) - MOST:,} more</p>" if len(self) > MOST else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def runs(folder: str | Path = "outputs") -> Rows:
    """The runs below a folder, the jobs of sweeps among them, newest first; or those of one sweep, by any of its names.

    InputError if there is no such folder.
    """
    path = find(str(folder)) if not Path(folder).is_dir() else Path(folder)
    if not path.is_dir():
        raise InputError(f"{path}: is a file; give a folder, or a sweep")
    found = sorted(entries(path), key=lambda entry: entry.when, reverse=True)
    jobs = [(entry, job) for entry in found for job in (job_entries(entry.path) if entry.kind == "sweep" else [entry])]
    return uniform(Row(read_keys(job.path / HYDRA) | row_of(with_time(job, entry.when))) for entry, job in jobs)


def with_time(entry: Entry, when: float) -> Entry:
    """The entry as having begun at that time: a job began with its sweep, as far as anybody knows."""
    return Entry(entry.path, entry.kind, when, entry.status, entry.values, entry.jobs)


def uniform(rows: Iterable[Row]) -> Rows:
    """The rows with all keys each, and one type a column, so that a data frame may look at the first row alone."""
    rows = list(rows)
    names = dict.fromkeys([*FIRST, *(name for row in rows for name in row)])
    columns = {name: of_one_type([row.get(name) for row in rows]) for name in names}
    columns["when"] = [datetime.fromtimestamp(row["when"]) for row in rows]
    return Rows(Row(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def of_one_type(values: list[Any]) -> list[Any]:
    """Whole numbers, numbers (NaN where there is none), truths, or texts (empty where there is none)."""
    kinds = {type(value) for value in values}
    if len(kinds) == 1 and kinds <= {bool, int, float, str}:
        return values
    if kinds <= {int, float, type(None)} and kinds != {type(None)}:
        return [math.nan if value is None else float(value) for value in values]
    return ["" if value is None else str(value) for value in values]


def shown(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return escape("" if value is None else str(value))


def curve_of(directory: Path) -> str:
    """The losses of a run, drawn in text; nothing if it has none."""
    try:
        rows = read_metrics(directory / METRICS)
    except InputError as error:
        return str(error)
    names: list[str] = [name for name in ("train_loss", "valid_loss") if rows and name in rows[0]]
    series = {name: [row[name] for row in rows] for name in names}
    return "\n".join(format_curve(series, width=WIDTH, height=HEIGHT)) if series else ""
