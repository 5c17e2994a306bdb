"""Numbers, times, metrics and jobs as people read them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ch12cli.catalogue.summary import Failure
from ch12cli.files.result_json import Result
from ch12cli.files.sweep_csv import SweepRow

METRIC_LABELS = {"mae": "MAE", "r2": "R²"}  # the other metrics are called what they are

UNIT_METRICS = ("accuracy", "r2")  # at most 1: a number of decimals; for the others a number of digits


def format_number(metric: str, value: float | None) -> str:
    """A metric's value: 4 decimals for accuracy and R², 4 digits for anything else, "-" where there is none."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return f"{value}"
    if metric in UNIT_METRICS and abs(value) < 1000:
        return f"{value:.4f}"
    if metric in ("lr", "seconds"):
        return f"{value:.4g}"
    return f"{value:#.4g}".rstrip(".")


def format_seconds(seconds: float) -> str:
    """A length of time to about two digits: 0.31 s, 4.2 s, 31 s, 2 min 05 s, 3 h 07 min."""
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def format_time_left(seconds: float) -> str:
    """A length of time that can be watched running down: 0:07, 12:30, 3:05:00."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def format_rate(rate: float) -> str:
    """Epochs in a second, or the time of an epoch if that is more than a second."""
    if rate < 1:
        return f"{format_seconds(1 / rate)}/epoch"
    return f"{rate:.0f} epochs/s" if rate >= 10 else f"{rate:.1f} epochs/s"


def metric_label(metric: str, *, ascii_only: bool = False) -> str:
    """What a person calls a metric."""
    label = METRIC_LABELS.get(metric, metric)
    return label.replace("²", "2") if ascii_only else label


def part_metrics(row: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The metrics of one part (train, valid), by their names without it: {"loss": …, "accuracy": …}."""
    return {name.removeprefix(f"{part}_"): value for name, value in row.items() if name.startswith(f"{part}_")}


def result_rows(result: Result) -> list[dict[str, Any]]:
    """The figures of a run, as far as it got: rows with `row` (final, best, test), `part`, `epoch` and the metrics.

    The best epoch is shown on the validation part, if there is one: there it is the best.
    """
    final, best, test = (part or {} for part in (result.final, result.best, result.test))
    rows = [
        {"row": "final", "part": part, "epoch": final.get("epoch"), **part_metrics(final, part)}
        for part in ("train", "valid")
    ]
    part = "valid" if part_metrics(best, "valid") else "train"
    rows.append({"row": "best", "part": part, "epoch": best.get("epoch"), **part_metrics(best, part)})
    rows.append({"row": "test", "part": "test", "epoch": None, **test})
    return [row for row in rows if len(row) > 3]  # 3: row, part, epoch, but no metrics


CAUSES = 10  # that are told, at most

NUMBERS = 5  # of runs of one cause, at most; of more the first three

MAX_METRICS = 3  # beside the objective, at most


def count_of(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def column_label(column: str, *, ascii_only: bool) -> str:
    """What a person calls a column of metrics: `valid loss`."""
    part, _, metric = column.partition("_")
    return f"{part} {metric_label(metric, ascii_only=ascii_only)}".rstrip()


def format_interval(metric: str, mean: float, half_width: float, *, ascii_only: bool) -> str:
    """`0.0683 ± 0.0082`, both to the same place; the mean alone of one run, "-" of none."""
    if math.isnan(mean):
        return "-"
    text = format_number(metric, mean)
    if math.isnan(half_width):
        return text
    decimals = len(text.partition(".")[2])
    half = f"{half_width:.2g}" if "e" in text or half_width >= 1e6 else f"{half_width:.{decimals}f}"
    return f"{text} {'+-' if ascii_only else '±'} {half}"


def short_names(keys: Sequence[str]) -> list[str]:
    """Keys without their groups, where that leaves them different."""
    last = [key.rpartition(".")[2] for key in keys]
    return [short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)]


def name_job(number: int, values: Mapping[str, str], varying: Mapping[str, object]) -> str:
    """A job with what tells it from the others: `run 17 (optimizer.lr=10, seed=3)`."""
    told = ", ".join(f"{key}={value}" for key, value in values.items() if key in varying)
    return f"run {number} ({told})" if told else f"run {number}"


def format_failures(failures: Sequence[Failure]) -> list[str]:
    """A line for each cause, and how many more there are."""
    lines = [format_failure(failure) for failure in failures[:CAUSES]]
    rest = failures[CAUSES:]
    if rest:
        jobs = sum(len(failure.jobs) for failure in rest)
        lines.append(f"and {count_of(jobs, 'more job')} with {count_of(len(rest), 'other cause')}; sweep.csv has all")
    return lines


def format_failure(failure: Failure) -> str:
    """`run 17 (optimizer.lr=10, seed=3) diverged: …`; of several runs what they have in common."""
    cause = f": {failure.reason}" if failure.reason else ""
    if len(failure.jobs) == 1:
        return f"{name_job(failure.jobs[0], failure.common, failure.common)} {failure.status}{cause}"
    numbers = failure.jobs if len(failure.jobs) <= NUMBERS else failure.jobs[:3]
    named = f"runs {', '.join(map(str, numbers))}"
    if len(failure.jobs) > len(numbers):
        named += f" and {len(failure.jobs) - len(numbers):,} more"
    told = ", ".join(f"{key}={value}" for key, value in failure.common.items())
    return f"{named}{f' (all {told})' if told else ''} {failure.status}{cause}"


def other_metrics(rows: Sequence[SweepRow], monitor: str) -> list[str]:
    """The columns that are shown beside the objective: of the test part, else of validation, else of training."""
    columns = list(dict.fromkeys(name for row in (rows[0], rows[-1]) for name in row.metrics))
    for part in ("test_", "valid_", "train_"):
        found = [name for name in columns if name.startswith(part) and name != monitor]
        if found:
            return sorted(found, key=lambda name: name == f"{part}loss")[:MAX_METRICS]
    return []
