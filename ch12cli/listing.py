"""Runs as rows for a data frame: `pandas.DataFrame(ch12cli.runs("outputs"))`."""

import math
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from ch12cli.config.recorded import read_keys
from ch12cli.errors import InputError
from ch12cli.runs.catalogue import Entry, entries, job_entries, row_of
from ch12cli.runs.curve_svg import curve_svg
from ch12cli.runs.directory import HYDRA, METRICS
from ch12cli.runs.metrics import read_metrics
from ch12cli.runs.names import find

FIRST = ("path", "kind", "when", "status", "epochs", "monitor", "objective")
SHOWN = ("path", "status", "epochs", "objective", "test_accuracy", "test_loss")  # in a notebook's table
MOST = 20  # rows of it


class Row(dict[str, Any]):
    """A run: what it came to, by the names of `ch12 runs`, and its settings, by dotted keys."""

    def _repr_html_(self) -> str:
        cells = [(name, self[name]) for name in self if name in SHOWN or name.startswith("test_")]
        lines = "".join(f"<tr><th>{escape(name)}</th><td>{shown(value)}</td></tr>" for name, value in cells)
        return f"<table>{lines}</table>{curve_of(Path(self['path']))}"


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
    return uniform([row for entry in found for row in rows_of(entry)])


def rows_of(entry: Entry) -> list[Row]:
    """The row of a run; of a sweep one for each of its jobs, or one that says that its table is damaged."""
    try:
        listed = job_entries(entry.path) if entry.kind == "sweep" else [entry]
    except InputError:
        listed = [entry]
    return [Row(settings_of(each) | row_of(each)) for each in listed]


def settings_of(entry: Entry) -> dict[str, Any]:
    """A run's configuration by dotted keys, with the values that its file has, None for null."""
    keys = read_keys(entry.path / HYDRA) if entry.kind != "sweep" else {}
    return {key: None if value == "null" else value for key, value in keys.items() if not key.startswith("hydra/")}


def uniform(rows: Sequence[Row]) -> Rows:
    """The rows with all keys each, None for what a run has not."""
    names = dict.fromkeys([*FIRST, *(name for row in rows for name in row)])
    columns = {name: of_one_type([row.get(name) for row in rows]) for name in names}
    columns["when"] = [datetime.fromtimestamp(row["when"]) for row in rows]
    return Rows(Row(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))


def of_one_type(values: list[Any]) -> list[Any]:
    """The values as they are; numbers that are whole and numbers that are not become numbers, anything else of several
    types texts."""
    kinds = {type(value) for value in values} - {type(None)}
    if len(kinds) < 2:
        return values
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]


def shown(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return escape("" if value is None else str(value))


def curve_of(directory: Path) -> str:
    """The losses of a run, drawn; nothing if it has none."""
    try:
        rows = read_metrics(directory / METRICS)
    except InputError as error:
        return escape(str(error))
    names: list[str] = [name for name in ("train_loss", "valid_loss") if rows and name in rows[0]]
    series = {name: [row[name] for row in rows] for name in names}
    return curve_svg(series)
