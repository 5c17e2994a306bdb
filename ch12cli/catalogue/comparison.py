"""What differs between runs: configuration, environment, results; and sweeps of runs with their seeds folded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ch12cli.catalogue.entries import entry_at
from ch12cli.catalogue.names import OUTPUTS
from ch12cli.catalogue.summary import fold_seeds, varying
from ch12cli.files.hydra_folder import read_keys
from ch12cli.files.metrics_csv import minimised
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import HYDRA, RESULT
from ch12cli.files.sweep_csv import FIELDS, SweepRow
from ch12cli.files.untrusted_text import escape_controls

TIMES = ("seconds", "when", "path", "kind")  # which differ between any two runs
ComparisonTable = list[list[Any]]  # its header first


@dataclass(frozen=True)
class Compared:
    """A run to compare. settings: by dotted keys; results: by name; environment: what it ran on."""

    name: str
    settings: Mapping[str, Any]
    results: Mapping[str, Any]
    environment: Mapping[str, Any]


def run_differences(runs: Sequence[Compared]) -> ComparisonTable:
    """A row for each thing that not all runs have alike: its name, and what it is of each run (None: nothing)."""
    rows: ComparisonTable = [["", *(run.name for run in runs)]]
    for part in ("settings", "environment", "results"):
        names = dict.fromkeys(name for run in runs for name in getattr(run, part) if name not in TIMES)
        told = set()
        for name in names:
            values = [getattr(run, part).get(name) for run in runs]
            chosen = name.endswith("._target_") and name.removesuffix("._target_") in told  # which says it shorter
            if any(repr(value) != repr(values[0]) for value in values) and not chosen:
                told.add(name)
                rows.append([name, *values])
    return rows


def alike(runs: Sequence[Compared]) -> bool:
    """Whether the objectives of all runs are of one metric on the same data, so that one may be better."""
    kinds = {(run.results.get("monitor"), run.environment.get("data")) for run in runs}
    return len(kinds) == 1


def best_of(runs: Sequence[Compared]) -> int | None:
    """The place of the run with the best objective; None if they have none, or if they cannot be compared."""
    values = [run.results.get("objective") for run in runs]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if not alike(runs) or len(numbers) < len(values) or not values:
        return None
    return numbers.index(min(numbers) if minimised(str(runs[0].results.get("monitor"))) else max(numbers))


def rows_of_runs(runs: Sequence[Compared]) -> list[SweepRow]:
    """Runs as the rows of a sweep's table: what differs in their settings as if it had been swept."""
    keys = [str(row[0]) for row in run_differences([Compared(r.name, r.settings, {}, {}) for r in runs])[1:]]
    return [row_of_run(number, run, keys) for number, run in enumerate(runs)]


def row_of_run(number: int, run: Compared, keys: Sequence[str]) -> SweepRow:
    results = run.results
    fields = {name: results[name] for name in FIELDS if name in results}
    metrics = {name: value for name, value in results.items() if name not in FIELDS and isinstance(value, int | float)}
    overrides = {key: str(run.settings[key]) for key in keys if key in run.settings}
    return SweepRow(**{**fields, "job": number, "directory": run.name}, metrics=metrics, overrides=overrides)


def folded(rows: Sequence[SweepRow], metrics: Sequence[str], *, minimise: bool) -> ComparisonTable:
    """A row for each combination of what differs but the seeds, best first.

    Its values, then of each metric the mean and half the width of its 95 % interval (None of fewer than two runs), the
    number of runs, and the best one's.
    """
    keys = varying(rows)
    found = fold_seeds(rows, keys, metrics, minimise=minimise)
    shown = list(found[0].values) if found else []
    header = [*shown, *(name for metric in metrics for name in (metric, f"{metric}_interval")), "runs", "best"]
    table: ComparisonTable = [header]
    for row in found:
        pairs = [value for metric in metrics for value in (row.mean[metric], row.half_width[metric])]
        figures = [None if value != value else value for value in pairs]
        table.append([*row.values.values(), *figures, row.runs, row.best])
    return table


RENAMED = {"epochs": "epochs done"}  # results that are called as a setting is


def read_compared(path: Path) -> Compared:
    """The settings, results and environment of a run; of one whose result is damaged its settings alone.

    InputError if the directory is not that of a run.
    """
    entry = entry_at(path)
    result = read_result(path / RESULT) if entry.status != "damaged" else None
    return Compared(
        escape_controls(entry.place.removeprefix(f"{OUTPUTS}/")),
        read_keys(path / HYDRA),
        {"status": entry.status, **{RENAMED.get(name, name): value for name, value in entry.values.items()}},
        {} if result is None else {**result.environment, "data": result.data.get("digest")},
    )
