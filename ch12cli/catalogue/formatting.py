"""Formats numbers, times, metrics and jobs for display."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ch12cli.catalogue.sweep_progress import SweepStanding
from ch12cli.files.result_json import Result
from ch12cli.files.sweep_csv import SweepRow

if TYPE_CHECKING:
    from ch12cli.catalogue.summary import Failure  # which imports numpy

METRIC_LABELS = {"mae": "MAE", "r2": "R²", "balanced_accuracy": "balanced accuracy", "f1": "F1", "auc": "AUC"}
# other metrics are shown under their own names

UNIT_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "f1",
    "auc",
    "r2",
)  # at most 1, so shown with fixed decimals; others with significant digits


def format_number(metric: str, value: float | None) -> str:
    """Returns a metric's value: 4 decimals for accuracy, R² and the like, else 4 significant digits; "-" for None."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return f"{value}"
    if metric in UNIT_METRICS and abs(value) < 1000:
        return f"{value:.4f}"
    if metric in ("lr", "seconds"):
        return f"{value:.4g}"
    return f"{value:#.4g}".rstrip(".")


NUMERAL = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
NUMERAL_IN_TEXT = re.compile(rf"(?<![\w.])(?:\d{{1,3}}(?:,\d{{3}})+|{NUMERAL.pattern})(?![\w.])", re.ASCII)
MOST_DIGITS = 17  # significant ones that a float has


def is_numeral(text: str) -> bool:
    """Returns whether a text is a single finite number, such as 4.334e-05."""
    return NUMERAL.fullmatch(text) is not None and math.isfinite(float(text))


def roundings(numeral: str) -> list[str]:
    """Returns a number in fewer and fewer significant digits, each text shorter than the one before: 0.0748, 0.07."""
    found = [numeral]
    for digits in range(MOST_DIGITS, 0, -1):
        rounded = f"{float(numeral):.{digits}g}"
        if len(rounded) < len(found[-1]):
            found.append(rounded)
    return found


def cut_text(text: str, room: int, *, mark: str, from_start: bool = False) -> str:
    """Returns a text of at most `room` characters: a number rounded as far as needed, any other text cut at its end.

    mark: stands for what is cut off. from_start: the end is kept in place of the beginning. A number within the text
    is kept whole or left out, as a part of it would read as another number. A number that has one digit may be longer
    than `room`.
    """
    if len(text) <= room:
        return text
    if is_numeral(text):
        shorter = roundings(text)
        return next((each for each in shorter if len(each) <= room), shorter[-1])
    kept = max(0, room - len(mark))
    place = len(text) - kept if from_start else kept
    inside = next((each for each in NUMERAL_IN_TEXT.finditer(text) if each.start() < place < each.end()), None)
    if inside is not None:
        place = inside.end() if from_start else inside.start()
    return mark + text[place:] if from_start else text[:place] + mark


def format_seconds(seconds: float) -> str:
    """Returns a duration to about two digits: 0.31 s, 4.2 s, 31 s, 2 min 05 s, 3 h 07 min."""
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def format_time_left(seconds: float) -> str:
    """Returns a remaining time as a clock: 0:07, 12:30, 3:05:00."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def format_rate(rate: float) -> str:
    """Returns epochs per second, or the time per epoch if it is longer than a second."""
    if rate < 1:
        return f"{format_seconds(1 / rate)}/epoch"
    return f"{rate:,.0f} epochs/s" if rate >= 10 else f"{rate:.1f} epochs/s"


def metric_label(metric: str, *, ascii_only: bool = False) -> str:
    """Returns the display name of a metric."""
    label = METRIC_LABELS.get(metric, metric)
    return label.replace("²", "2") if ascii_only else label


def part_metrics(row: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Returns the metrics of one part (train, valid) without the prefix: {"loss": …, "accuracy": …}."""
    return {name.removeprefix(f"{part}_"): value for name, value in row.items() if name.startswith(f"{part}_")}


def result_rows(result: Result) -> list[dict[str, Any]]:
    """Returns the metrics of a run as rows with `row` (final, best, test), `part`, `epoch` and the metrics.

    The best epoch is shown for the validation part if there is one, because that part selects it. An ensemble was not
    trained itself: it has no epochs, and only final metrics.
    """
    final, best, test = (part or {} for part in (result.final, result.best, result.test))
    if final.get("epoch") == 0:
        final, best = {**final, "epoch": None}, {}
    rows = [
        {"row": "final", "part": part, "epoch": final.get("epoch"), **part_metrics(final, part)}
        for part in ("train", "valid")
    ]
    part = "valid" if part_metrics(best, "valid") else "train"
    rows.append({"row": "best", "part": part, "epoch": best.get("epoch"), **part_metrics(best, part)})
    rows.append({"row": "test", "part": "test", "epoch": None, **test})
    return [row for row in rows if len(row) > 3]  # 3: row, part, epoch, but no metrics


CAUSES = 10  # maximum number of causes shown

NUMBERS = 5  # maximum number of runs named per cause; of more, the first three

MAX_METRICS = 3  # maximum number of metrics beside the objective


def count_of(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def column_label(column: str, *, ascii_only: bool) -> str:
    """Returns the display name of a metrics column, such as `valid loss`."""
    part, _, metric = column.partition("_")
    return f"{part} {metric_label(metric, ascii_only=ascii_only)}".rstrip()


def format_interval(metric: str, mean: float, half_width: float, *, ascii_only: bool) -> str:
    """Returns `0.0683 ± 0.0082`, both with the same decimals; only the mean for one run; "-" for none."""
    if math.isnan(mean):
        return "-"
    text = format_number(metric, mean)
    if math.isnan(half_width):
        return text
    decimals = len(text.partition(".")[2])
    half = f"{half_width:.2g}" if "e" in text or half_width >= 1e6 else f"{half_width:.{decimals}f}"
    return f"{text} {'+-' if ascii_only else '±'} {half}"


def short_names(keys: Sequence[str]) -> list[str]:
    """Returns the keys without their groups where the result is unique."""
    last = [key.rpartition(".")[2] for key in keys]
    return [short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)]


def name_job(number: int, values: Mapping[str, str], varying: Mapping[str, object]) -> str:
    """Returns a job's name with its varying overrides: `run 17 (optimizer.lr=10, seed=3)`."""
    text = ", ".join(f"{key}={value}" for key, value in values.items() if key in varying)
    return f"run {number} ({text})" if text else f"run {number}"


def format_failures(failures: Sequence["Failure"]) -> list[str]:
    """Returns a line for each cause, up to CAUSES, and a line that counts the rest."""
    lines = [format_failure(failure) for failure in failures[:CAUSES]]
    rest = failures[CAUSES:]
    if rest:
        jobs = sum(len(failure.jobs) for failure in rest)
        lines.append(f"and {count_of(jobs, 'more job')} with {count_of(len(rest), 'other cause')}; sweep.csv has all")
    return lines


def format_failure(failure: "Failure") -> str:
    """Returns `run 17 (optimizer.lr=10, seed=3) diverged: …`; for several runs, the overrides that they share."""
    cause = f": {failure.reason}" if failure.reason else ""
    if len(failure.jobs) == 1:
        return f"{name_job(failure.jobs[0], failure.common, failure.common)} {failure.status}{cause}"
    numbers = failure.jobs if len(failure.jobs) <= NUMBERS else failure.jobs[:3]
    named = f"runs {', '.join(map(str, numbers))}"
    if len(failure.jobs) > len(numbers):
        named += f" and {len(failure.jobs) - len(numbers):,} more"
    text = ", ".join(f"{key}={value}" for key, value in failure.common.items())
    return f"{named}{f' (all {text})' if text else ''} {failure.status}{cause}"


def other_metrics(rows: Sequence[SweepRow], monitor: str) -> list[str]:
    """Returns the columns to show beside the objective: test metrics, else validation, else training.

    Metrics that were asked for come first, then accuracy, then the loss.
    """
    columns = list(dict.fromkeys(name for row in (rows[0], rows[-1]) for name in row.metrics))
    for part in ("test_", "valid_", "train_"):
        found = [name for name in columns if name.startswith(part) and name != monitor]
        if found:
            return sorted(found, key=lambda name: (name == f"{part}loss", name == f"{part}accuracy"))[:MAX_METRICS]
    return []


def format_standing(standing: SweepStanding) -> str:
    """Returns the progress: `420 of 512 jobs: 418 finished, 2 diverged; 41,200 of 51,200 epochs; about 0:07 left`."""
    ended = (
        ", ".join(f"{count:,} {status}" for status, count in sorted(standing.ended.items())) or "no job has ended yet"
    )
    count = f"{sum(standing.ended.values()):,} of {count_of(standing.jobs, 'job')}: " if standing.jobs else ""
    pieces = [f"{count}{ended}"]
    pieces += [f"{standing.epochs:,} of {count_of(standing.total_epochs, 'epoch')}"] if standing.total_epochs else []
    pieces += [f"about {format_time_left(standing.seconds)} left"] if standing.seconds is not None else []
    return "; ".join(pieces)
