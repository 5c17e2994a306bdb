"""Compares runs: settings, environment and results. Averages the runs of a sweep over their seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ch12cli.catalogue.entries import entry_at
from ch12cli.catalogue.names import OUTPUTS
from ch12cli.catalogue.summary import fold_alike, varying
from ch12cli.files.hydra_folder import read_keys
from ch12cli.files.metrics_csv import minimised
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import HYDRA, RESULT
from ch12cli.files.sweep_csv import FIELDS, SweepRow
from ch12cli.files.untrusted_text import escape_controls

TIMES = ("seconds", "when", "path", "kind")  # results that differ between any two runs
ComparisonTable = list[list[Any]]  # rows; the first is the header


@dataclass(frozen=True)
class Compared:
    """A run to compare. settings: by dotted key; results: by name; environment: metadata of the run."""

    name: str
    settings: Mapping[str, Any]
    results: Mapping[str, Any]
    environment: Mapping[str, Any]


def run_differences(runs: Sequence[Compared]) -> ComparisonTable:
    """Returns a table with a row for each name whose values differ between the runs; None for a missing value."""
    rows: ComparisonTable = [["", *(run.name for run in runs)]]
    for part in ("settings", "environment", "results"):
        names = dict.fromkeys(name for run in runs for name in getattr(run, part) if name not in TIMES)
        shown = set()
        for name in names:
            values = [getattr(run, part).get(name) for run in runs]
            is_shown = name.endswith("._target_") and name.removesuffix("._target_") in shown  # shown already
            if any(repr(value) != repr(values[0]) for value in values) and not is_shown:
                shown.add(name)
                rows.append([name, *values])
    return rows


def are_comparable(runs: Sequence[Compared]) -> bool:
    """Returns whether all runs have the same monitor and data, so that their objectives are comparable."""
    kinds = {(run.results.get("monitor"), run.environment.get("data")) for run in runs}
    return len(kinds) == 1


def best_of(runs: Sequence[Compared]) -> int | None:
    """Returns the index of the run with the best objective; None if one is missing or they are not comparable."""
    values = [run.results.get("objective") for run in runs]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if not are_comparable(runs) or len(numbers) < len(values) or not values:
        return None
    return numbers.index(min(numbers) if minimised(str(runs[0].results.get("monitor"))) else max(numbers))


def rows_of_runs(runs: Sequence[Compared]) -> list[SweepRow]:
    """Returns the runs as rows of a sweep's table. Settings that differ between the runs become overrides."""
    keys = [str(row[0]) for row in run_differences([Compared(r.name, r.settings, {}, {}) for r in runs])[1:]]
    return [row_of_run(number, run, keys) for number, run in enumerate(runs)]


def row_of_run(number: int, run: Compared, keys: Sequence[str]) -> SweepRow:
    results = run.results
    fields = {name: results[name] for name in FIELDS if name in results}
    metrics = {name: value for name, value in results.items() if name not in FIELDS and isinstance(value, int | float)}
    overrides = {key: str(run.settings[key]) for key in keys if key in run.settings}
    return SweepRow(**{**fields, "job": number, "directory": run.name}, metrics=metrics, overrides=overrides)


def folded(rows: Sequence[SweepRow], metrics: Sequence[str], *, minimise: bool) -> ComparisonTable:
    """Returns a table with a row for each combination of the overrides that are not seeds, best first.

    Columns: the overrides; the mean and half width of the 95 % confidence interval of each metric; the number of runs;
    the best run. The half width is None for fewer than two runs.
    """
    keys = varying(rows)
    found = fold_alike(rows, keys, metrics, minimise=minimise)
    shown = list(found[0].values) if found else []
    header = [*shown, *(name for metric in metrics for name in (metric, f"{metric}_interval")), "runs", "best"]
    table: ComparisonTable = [header]
    for row in found:
        pairs = [value for metric in metrics for value in (row.mean[metric], row.half_width[metric])]
        finite = [None if value != value else value for value in pairs]
        table.append([*row.values.values(), *finite, row.runs, row.best])
    return table


RENAMED = {"epochs": "epochs done"}  # results whose names collide with a setting


def read_compared(path: Path) -> Compared:
    """Returns the settings, results and environment of a run. If its result is damaged, results hold only the status.

    Raises InputError if the directory does not hold a run.
    """
    entry = entry_at(path)
    result = read_result(path / RESULT) if entry.status not in ("damaged", "unreadable") else None
    return Compared(
        escape_controls(entry.location.removeprefix(f"{OUTPUTS}/")),
        read_keys(path / HYDRA),
        {"status": entry.status, **{RENAMED.get(name, name): value for name, value in entry.values.items()}},
        {} if result is None else {**result.environment, "data": result.data.get("digest")},
    )
