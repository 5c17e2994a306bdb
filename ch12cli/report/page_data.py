"""The data of a page's interactive part: the columns of a sweep's jobs, and learning curves."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ch12cli.catalogue.final_numbers import AT_END
from ch12cli.files.metrics_csv import SEVERAL, minimised
from ch12cli.files.plan_json import is_inside
from ch12cli.files.result_json import describe_ending
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.files.untrusted_text import escape_controls
from ch12cli.plots.recorded import column_in_words, readable_metrics

Record = dict[str, Any]

MAX_CURVES = 512  # jobs whose curves are in a page: the best ones
MAX_POINTS = 80  # epochs of a curve in a page
DIGITS = 5  # of a curve's values
UNDRAWN = ("epoch", "seconds", "lr")  # columns of metrics.csv that are no metrics


class JobColumn(NamedTuple):
    """A column of the table of jobs. role: job, status, metric, key, text or number."""

    name: str
    role: str
    values: list[object]
    label: str = ""

    @property
    def texts(self) -> list[str]:
        """The values as a table shows them, with six digits."""
        return [cell_text(value) for value in self.values]


def cell_text(value: Any) -> str:
    """A value of a table as text, with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)


def columns_of_jobs(
    rows: Sequence[SweepRow], keys: Sequence[str], monitor: str, *, final: Sequence[str] = ()
) -> tuple[list[JobColumn], list[str]]:
    """The columns of the table of jobs, results first, and `name=value` of what is the same in all jobs.

    final: the keys whose values are those with which the runs of a population ended.
    """
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    tested = [name for name in metrics if name.startswith("test_")]
    others = [name for name in metrics if name not in tested]
    values = [{**row.overrides, **row.values()} for row in rows]
    numbers = ("epochs", "best_epoch", "parameters", "seconds")
    label = "objective" if monitor == SEVERAL else column_in_words(monitor)
    found = [JobColumn("objective", "metric", [each.get("objective") for each in values], label)]
    for role, names in (("metric", tested), ("key", keys), ("metric", others), ("number", numbers)):
        found += [
            JobColumn(name, role, [each.get(name) for each in values], f"{name}{AT_END}" if name in final else "")
            for name in names
        ]
    found.insert(-2, JobColumn("monitor", "text", [each.get("monitor") for each in values]))
    ended = [
        describe_ending(row) or (f"extended to epoch {row.extended_to}" if row.extended_to else "") for row in rows
    ]
    may_hide = ("epochs", "best_epoch", "monitor", "parameters") if len(rows) > 1 else ()
    same = [column for column in found if column.name in may_hide and len(set(column.texts)) == 1]
    first = [
        JobColumn("job", "job", [row.job for row in rows]),
        JobColumn("status", "status", [row.status for row in rows]),
    ]
    last = [JobColumn("ended", "text", list[object](ended))] if any(ended) else []
    shared = [f"{column.name}={column.texts[0]}" for column in same if column.texts[0]]
    return [*first, *(column for column in found if column not in same), *last], shared


def sweep_data(
    sweep: Path,
    rows: Sequence[SweepRow],
    columns: Sequence[JobColumn],
    *,
    monitor: str,
    first: str | None,
    curves: int = MAX_CURVES,
) -> Record:
    """The data of a sweep's page. first: the key that the first chart shows. curves: their number, at most."""
    return {
        "kind": "sweep",
        "columns": [
            {"name": escape_controls(each.name), "role": each.role, "label": escape_controls(each.label or each.name)}
            for each in columns
        ],
        "values": [[plain_value(value) for value in each.values] for each in columns],
        "first": first,
        "curves": sweep_curves_data(sweep, rows, monitor, most=curves),
    }


def run_data(rows: Sequence[Mapping[str, float]], monitor: str) -> Record:
    """The data of a run's page. rows: its epochs."""
    return {"kind": "run", "curves": curves_data({"run": rows}, monitor)}


def sweep_curves_data(sweep: Path, rows: Sequence[SweepRow], monitor: str, *, most: int) -> Record:
    """The learning curves of the best jobs of a sweep."""
    sign = 1 if minimised(monitor) else -1
    values = {row.job: sign * row.number("objective") for row in rows}
    order = sorted(rows, key=lambda row: math.inf if math.isnan(values[row.job]) else values[row.job])
    chosen = [row for row in order[:most] if is_inside(row.directory)]
    found = {str(row.job): readable_metrics(sweep / row.directory) for row in chosen}
    return {**curves_data(found, monitor), "absent": f"The page has the curves of the {len(found):,} best jobs."}


def curves_data(runs: Mapping[str, Sequence[Mapping[str, float]]], monitor: str) -> Record:
    """The learning curves of runs by name: their epochs, and the values of each column."""
    columns = list(dict.fromkeys(name for rows in runs.values() for name in (rows[0] if rows else ())))
    columns = [name for name in columns if name not in UNDRAWN]
    return {
        "columns": [escape_controls(name) for name in columns],
        "labels": {escape_controls(name): escape_controls(column_in_words(name)) for name in columns},
        "monitor": monitor,
        "jobs": {name: curve_values(rows, columns) for name, rows in runs.items() if rows},
    }


def curve_values(rows: Sequence[Mapping[str, float]], columns: Iterable[str]) -> list[list[Any]]:
    """The epochs of a run, and the values of each column; evenly spaced ones of many."""
    n = len(rows)
    kept = rows if n <= MAX_POINTS else [rows[number * (n - 1) // (MAX_POINTS - 1)] for number in range(MAX_POINTS)]
    values = [[short_number(row.get(name)) for row in kept] for name in columns]
    return [[int(row["epoch"]) for row in kept], *values]


def short_number(value: float | None) -> float | None:
    """A number with few digits; None if it is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")


def plain_value(value: object) -> object:
    """A value of the table as JSON has it."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, int) else escape_controls(str(value))


def page_json(data: Mapping[str, Any]) -> str:
    """The data as JSON that no HTML parser takes for the end of a script."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").encode("utf-8", "backslashreplace").decode()
