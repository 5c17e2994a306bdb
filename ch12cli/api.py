"""The Python interface: runs trained from a notebook or a program, and saved runs as rows for a data frame.

Nothing is left behind: no state of Hydra, logging or torch's random stream.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ch12cli.catalogue.entries import Entry, entries, job_entries, row_of
from ch12cli.catalogue.names import find
from ch12cli.errors import InputError
from ch12cli.files.hydra_folder import read_keys
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.run_directory import HYDRA, METRICS
from ch12cli.plots.svg_curve import curve_svg
from ch12cli.run.callbacks import Callback, CallbackList

if TYPE_CHECKING:
    from torch import nn

FIRST = ("path", "kind", "when", "status", "epochs", "monitor", "objective")
SHOWN = ("path", "status", "epochs", "objective", "test_accuracy", "test_loss")  # in a notebook's table
MOST = 20  # rows of it


@dataclass(frozen=True)
class Run:
    """A run that has ended. metrics: a dict an epoch, as in metrics.csv, for a data frame; result: result.json."""

    model: "nn.Module"
    metrics: list[dict[str, float | int]]
    directory: Path
    result: dict[str, Any]
    status: str

    def __repr__(self) -> str:
        figures = {**(self.result["final"] or {}), **{f"test_{k}": v for k, v in (self.result["test"] or {}).items()}}
        shown = ", ".join(f"{name}={value:.4g}" for name, value in figures.items() if name not in ("lr", "seconds"))
        return f"<Run {self.directory}: {self.status}, {shown}>"

    def _repr_html_(self) -> str:
        """The figures as a small table, and the losses' curve."""
        parts = {"final": self.result["final"], "best": self.result["best"], "test": self.result["test"]}
        rows = "".join(
            f"<tr><th>{name}</th><td>{escape(', '.join(f'{key} {value:.4g}' for key, value in part.items()))}</td></tr>"
            for name, part in parts.items()
            if part
        )
        series: dict[str, list[float]] = {
            name: [float(row[name]) for row in self.metrics]
            for name in ("train_loss", "valid_loss")
            if self.metrics and name in self.metrics[0]
        }
        title = f"{escape(str(self.directory))}: {self.status}"
        return f"<table><caption>{title}</caption>{rows}</table>{curve_svg(series)}"


def train(
    *overrides: str, config_dir: str | Path | Sequence[str | Path] = (), callbacks: Sequence[Callback] = ()
) -> Run:
    """Trains one run as `ch12 train` would with these overrides; gives its model, metrics and directory.

    config_dir: folders of your own configuration; callbacks: called while the run trains
    (ch12cli.run.callbacks.Callback).
    Raises ch12cli.errors.InputError with everything that is wrong with the overrides.
    """
    from ch12cli.run.start import train_single

    folders = [config_dir] if isinstance(config_dir, str | Path) else list(config_dir)
    outcome = train_single(
        overrides, folders=[Path(folder) for folder in folders], callback=CallbackList(callbacks), log=False
    )
    return Run(outcome.model, outcome.rows, outcome.directory, outcome.result.to_dict(), outcome.status)


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
