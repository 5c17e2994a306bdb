"""What a sweep reached, from the rows of its sweep.csv: what differed, means over the seeds, failures by error."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ch12cli.files.result_json import describe_divergence
from ch12cli.files.sweep_csv import SweepRow

Values = NDArray[np.float64]

CONFIDENCE = 0.95
MANY_DEGREES = 200  # degrees of freedom from which the series around the normal quantile errs by 1e-9 or less


class Folded(NamedTuple):
    """Jobs that differ in their seeds alone.

    values: of the other keys; jobs: how many; runs: how many of them finished; mean, half_width: of each metric over
    those, the latter of the 95 % confidence interval, NaN for fewer than two; best: the number of the best job.
    """

    values: dict[str, str]
    jobs: int
    runs: int
    diverged: int
    failed: int
    mean: dict[str, float]
    half_width: dict[str, float]
    best: int | None


class Failure(NamedTuple):
    """Jobs that failed with the same error, or that diverged. common: the values of what differs in the sweep, but not
    among them."""

    status: str
    reason: str
    jobs: list[int]
    common: dict[str, str]


def is_seed(key: str) -> bool:
    """True for a key whose values are draws of the same thing."""
    return key.endswith("seed")


def varying(rows: Iterable[SweepRow]) -> list[str]:
    """The override keys whose values differ between the rows, or that not all rows have."""
    found: dict[str, set[str]] = {}
    count = 0
    occurrences: dict[str, int] = {}
    for row in rows:
        count += 1
        for key, value in row.overrides.items():
            found.setdefault(key, set()).add(value)
            occurrences[key] = occurrences.get(key, 0) + 1
    return [key for key, values in found.items() if len(values) > 1 or occurrences[key] < count]


def fold_seeds(
    rows: Sequence[SweepRow], keys: Sequence[str], metrics: Sequence[str] = ("objective",), *, minimise: bool = True
) -> list[Folded]:
    """A row for each combination of the keys that are no seeds, the one with the best mean objective first.

    minimise: less of the objective is better. Combinations of which no run finished come last.
    """
    keys = [key for key in keys if not is_seed(key)]
    found: dict[tuple[str, ...], int] = {}
    group = np.empty(len(rows), np.int64)  # of each row
    for place, row in enumerate(rows):
        group[place] = found.setdefault(tuple([row.overrides.get(key, "") for key in keys]), len(found))
    status = np.array([row.status for row in rows], dtype=str)
    finished = np.flatnonzero(status == "finished")
    columns = {metric: _numbers(rows, finished, metric) for metric in dict.fromkeys(("objective", *metrics))}
    means, half_widths = {}, {}
    for metric, numbers in columns.items():
        means[metric], half_widths[metric] = mean_and_half_width(numbers, group[finished], groups=len(found))
    sign = 1.0 if minimise else -1.0
    best = _first_by_group(sign * columns["objective"], group[finished])
    jobs, runs, diverged, failed = (
        np.bincount(group[where], minlength=len(found)).tolist()
        for where in (slice(None), finished, status == "diverged", status == "failed")
    )
    combinations = list(found)
    return [
        Folded(
            dict(zip(keys, combinations[index], strict=True)),
            jobs=jobs[index],
            runs=runs[index],
            diverged=diverged[index],
            failed=failed[index],
            mean={metric: float(means[metric][index]) for metric in metrics},
            half_width={metric: float(half_widths[metric][index]) for metric in metrics},
            best=rows[int(finished[best[index]])].job if index in best else None,
        )
        for index in np.argsort(sign * means["objective"], kind="stable").tolist()  # NaN goes last
    ]


def by_monitor(rows: Sequence[SweepRow], monitor: str) -> dict[str, list[SweepRow]]:
    """The rows by the metric that is their objective: only of one metric is one value better than another.

    monitor: of rows that do not say it. Where there are several, jobs that failed before they had one belong to none.
    """
    found: dict[str, list[SweepRow]] = {}
    for row in rows:
        if row.status == "finished":
            found.setdefault(row.monitor or monitor, [])
    if len(found) < 2:
        return {next(iter(found), monitor): list(rows)}
    for row in rows:
        if row.monitor in found:
            found[row.monitor].append(row)
    return found


def mean_and_half_width(values: Values, group: NDArray[np.int64], *, groups: int) -> tuple[Values, Values]:
    """Mean of each group, and half the width of its confidence interval (Student's t), (groups,) each; NaN where there
    is none. values: (n,); group: of each value, (n,)."""
    count = np.bincount(group, minlength=groups)
    degrees = {int(n): t_quantile(int(n) - 1) if n > 1 else math.nan for n in np.unique(count)}
    quantile = np.array([degrees[n] for n in count.tolist()])
    with np.errstate(all="ignore"):  # of diverging runs that just finished, the squares overflow
        mean = np.bincount(group, values, groups) / count
        squares = np.bincount(group, (values - mean[group]) ** 2, groups)
        return mean, quantile * np.sqrt(squares / (count - 1) / count)


@lru_cache(maxsize=4096)
def t_quantile(degrees: int, *, confidence: float = CONFIDENCE) -> float:
    """The t that a Student variable of so many degrees of freedom stays within, on both sides, with that probability.

    Source: Abramowitz & Stegun, 26.7.3 and 26.7.4, inverted by bisection; for many degrees 26.7.5.
    """
    if degrees < 1:
        raise ValueError(f"degrees={degrees}: must be at least 1")
    if degrees > MANY_DEGREES:
        return _t_near_normal(NormalDist().inv_cdf((1 + confidence) / 2), degrees)
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:  # until floating point has no number between them
        low, high = (middle, high) if _within(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _within(angle: float, degrees: int) -> float:
    """P(|T| < sqrt(degrees) tan(angle)): a finite sum of powers of the cosine."""
    cosine, odd = math.cos(angle), degrees % 2
    term = total = 0.0 if degrees == 1 else cosine if odd else 1.0
    for power in range(2 + odd, degrees - 1, 2):
        term *= (power - 1) / power * cosine**2
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


def _t_near_normal(z: float, degrees: int) -> float:
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / float(degrees) ** power for power, term in enumerate(terms, start=1))


def failures(rows: Sequence[SweepRow]) -> list[Failure]:
    """The failed jobs by their error, and then the diverged ones."""
    found: dict[tuple[str, str], list[SweepRow]] = {}
    for row in rows:
        if row.status in ("failed", "diverged"):
            found.setdefault((row.status, row.error or ""), []).append(row)
    keys = varying(rows) if found else []
    gathered = [
        Failure(status, error or _describe_divergences(alike), _jobs(alike), _common(alike, keys))
        for (status, error), alike in found.items()
    ]
    return sorted(gathered, key=lambda failure: (failure.status != "failed", failure.jobs[0]))


def _jobs(rows: Iterable[SweepRow]) -> list[int]:
    return sorted(row.job for row in rows)


def _describe_divergences(rows: Sequence[SweepRow]) -> str:
    """Where the losses of these runs ceased to be finite: `in epoch 1 to 3, step 12`."""
    epochs = [row.diverged_at for row in rows if row.diverged_at is not None]
    steps = [row.diverged_step for row in rows if row.diverged_step is not None]
    return describe_divergence(_span(epochs), _span(steps)) if epochs and steps else ""


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _common(rows: Iterable[SweepRow], keys: Sequence[str]) -> dict[str, str]:
    """The values of these keys that all rows share."""
    first, *others = ({key: value for key, value in row.overrides.items() if key in keys} for row in rows)
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def _numbers(rows: Sequence[SweepRow], places: NDArray[np.int64], column: str) -> Values:
    """A column of some rows, (places,); NaN for an empty cell."""
    return np.array([rows[place].number(column) for place in places.tolist()], np.float64)


def _first_by_group(values: Values, group: NDArray[np.int64]) -> dict[int, int]:
    """The place of the least value of each group that has one."""
    order = np.argsort(values, kind="stable")
    order = order[~np.isnan(values[order])]
    names, first = np.unique(group[order], return_index=True)
    return dict(zip(names.tolist(), order[first].tolist(), strict=True))
