"""Summarises the rows of a sweep.csv: varying overrides, means over the seeds, and failures grouped by error."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ch12cli.catalogue.keys_of_settings import FOLD, is_repetition
from ch12cli.files.result_json import describe_divergence
from ch12cli.files.sweep_csv import SweepRow

Values = NDArray[np.float64]
Seeds = tuple[str, ...]  # of a run, by key

CONFIDENCE = 0.95
MANY_DEGREES = 200  # degrees of freedom above which the series around the normal quantile has an error of at most 1e-9


class Folded(NamedTuple):
    """Jobs that differ only in their seeds and folds: those of one setting.

    values: the other overrides; jobs: number of jobs, one for each seed and fold; runs: number of finished jobs that
    count (see `counting_runs`); mean, half_width: of each metric over these; best: number of the best of them.
    half_width is of the 95 % confidence interval, NaN for fewer than two. is_complete: no seed or fold is missing that
    the other settings have. competes: whether it may be the best setting. numbers: the jobs that count.
    """

    values: dict[str, str]
    jobs: int
    runs: int
    diverged: int
    failed: int
    mean: dict[str, float]
    half_width: dict[str, float]
    best: int | None
    is_complete: bool = True
    competes: bool = True
    numbers: tuple[int, ...] = ()


class Failure(NamedTuple):
    """Jobs that failed with the same error, or that diverged.

    common: overrides that vary in the sweep but are the same in these jobs.
    """

    status: str
    reason: str
    jobs: list[int]
    common: dict[str, str]


def varying(rows: Iterable[SweepRow]) -> list[str]:
    """Returns the override keys whose values differ between the rows, or that some rows lack."""
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
    """Returns a Folded for each combination of the keys that are not seeds or folds, best mean objective first.

    minimise: whether a lower objective is better. Settings that compete for the best come first, then others, by their
    tier (see `tiers`).
    """
    keys = [key for key in keys if not is_repetition(key)]
    found: dict[tuple[str, ...], int] = {}
    group = np.empty(len(rows), np.int64)  # group index of each row
    for index, row in enumerate(rows):
        group[index] = found.setdefault(tuple([row.overrides.get(key, "") for key in keys]), len(found))
    status = np.array([row.status for row in rows], dtype=str)
    counting, jobs, complete = counting_runs(rows, group, groups=len(found))
    columns = {metric: _numbers(rows, counting, metric) for metric in dict.fromkeys(("objective", *metrics))}
    means, half_widths = {}, {}
    for metric, numbers in columns.items():
        means[metric], half_widths[metric] = mean_and_half_width(numbers, group[counting], groups=len(found))
    sign = 1.0 if minimise else -1.0
    best = _first_by_group(sign * columns["objective"], group[counting])
    runs, diverged, failed = (
        np.bincount(group[where], minlength=len(found))
        for where in (counting, status == "diverged", status == "failed")
    )
    numbers_of: list[list[int]] = [[] for _ in found]
    for index in counting.tolist():
        numbers_of[group[index]].append(rows[index].job)
    has_best = np.array([index in best for index in range(len(found))], bool)
    order = tiers(has_best, diverged + failed == 0, complete, runs)
    first, combinations = order.min(initial=6), list(found)
    return [
        Folded(
            dict(zip(keys, combinations[index], strict=True)),
            jobs=jobs[index],
            runs=int(runs[index]),
            diverged=int(diverged[index]),
            failed=int(failed[index]),
            mean={metric: float(means[metric][index]) for metric in metrics},
            half_width={metric: float(half_widths[metric][index]) for metric in metrics},
            best=rows[int(counting[best[index]])].job if index in best else None,
            is_complete=bool(complete[index]),
            competes=bool(has_best[index] and order[index] == first),
            numbers=tuple(numbers_of[index]),
        )
        for index in np.lexsort((sign * means["objective"], order)).tolist()  # NaN sorts last
    ]


def tiers(
    has_best: NDArray[np.bool_], is_sound: NDArray[np.bool_], is_complete: NDArray[np.bool_], runs: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns the tier of each setting, (settings,): the best setting is one of the lowest tier that there is.

    Complete settings without a diverged or failed run come first, then incomplete ones, then those with a diverged or
    failed run, then those without a value. In the first of these tiers, settings with fewer than half as many runs as
    others come after the others, because the best of many single runs is lucky.
    """
    tier = 2 * np.select([~has_best, ~is_sound, ~is_complete], [3, 2, 1], 0)
    is_first = tier == tier.min(initial=6)
    return np.asarray(tier + (is_first & ~has_enough_runs(runs, int(runs[is_first].max(initial=0)))))


def has_enough_runs(runs: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """Returns whether settings with so many runs may be the best. most: runs of the setting that has most."""
    return np.asarray(2 * runs >= most)


def counting_runs(
    rows: Sequence[SweepRow], group: NDArray[np.int64], *, groups: int
) -> tuple[NDArray[np.int64], list[int], NDArray[np.bool_]]:
    """Returns the indices of the runs that count, and of each setting the number of jobs and whether it is complete.

    group: the setting of each row, (rows,). Finished runs count, one for each seed and fold; jobs are counted likewise.
    Folds are not equally hard: if a setting was trained with some seeds on all folds, only the runs with these seeds
    count. A setting is complete if there are as many such seeds as every setting was to have.
    """
    folds = {row.overrides[FOLD] for row in rows if FOLD in row.overrides}
    keys = [key for key in dict.fromkeys(chain.from_iterable(row.overrides for row in rows)) if is_repetition(key)]
    seed_keys = [key for key in keys if key != FOLD]
    jobs: list[set[tuple[Seeds, str]]] = [set() for _ in range(groups)]
    finished: dict[tuple[int, Seeds], dict[str, int]] = {}  # index of the run of each fold
    for index, (row, setting) in enumerate(zip(rows, group.tolist(), strict=True)):
        seeds, fold = tuple([row.overrides.get(key, "") for key in seed_keys]), row.overrides.get(FOLD, "")
        if not fold and not any(seeds):
            seeds = (f"job {index}",)  # runs with neither seed nor fold are told apart, which is no seed's text
        jobs[setting].add((seeds, fold))
        if row.status == "finished":
            finished.setdefault((setting, seeds), {}).setdefault(fold, index)
    whole = {pair for pair, runs in finished.items() if "" in runs or folds <= runs.keys()}
    counts = np.bincount(np.array([setting for setting, _ in whole], np.int64), minlength=groups)
    counting = [runs.values() for pair, runs in finished.items() if pair in whole or not counts[pair[0]]]
    required = min((len({seeds for seeds, _ in each}) for each in jobs), default=0)
    indices = np.array(sorted(index for each in counting for index in each), np.int64)
    return indices, list(map(len, jobs)), counts >= required


LEFT, EXTENDED = "left after", "extended to"  # columns of tables: how long runs were trained


def training_of(row: SweepRow) -> tuple[str, int]:
    """Returns how long a run was trained, as `by_training` has it."""
    if row.left_at is not None:
        return LEFT, row.left_at
    return ("", 0) if row.extended_to is None else (EXTENDED, row.extended_to)


def by_training(rows: Iterable[SweepRow]) -> dict[tuple[str, int], list[SweepRow]]:
    """Returns the rows grouped by how long they were to be trained, because only these are comparable.

    The keys are ("", 0) for runs trained as planned, early stopping included, then (EXTENDED, epoch) for runs that a
    resume trained further, then (LEFT, epoch) for runs that halving stopped; larger epochs first.
    """
    found: dict[tuple[str, int], list[SweepRow]] = {}
    for row in rows:
        found.setdefault(training_of(row), []).append(row)
    return dict(sorted(found.items(), key=lambda pair: (pair[0][0], -pair[0][1])))


def trained_alike(rows: Sequence[SweepRow]) -> tuple[list[SweepRow], str]:
    """Returns the rows that were trained as planned, or the first group if none was, and a note on the others.

    Rows that did not finish are kept; they have no values.
    """
    groups = by_training(row for row in rows if row.status == "finished")
    if len(groups) < 2:
        return list(rows), ""
    kept, *others = groups
    alike = [row for row in rows if row.status != "finished" or training_of(row) == kept]
    counts = ", ".join(f"{len(groups[name, epoch]):,} {name} epoch {epoch}" for name, epoch in others)
    return alike, f"Left out, because they were trained for other numbers of epochs: {counts}."


def fold_alike(
    rows: Sequence[SweepRow], keys: Sequence[str], metrics: Sequence[str] = ("objective",), *, minimise: bool = True
) -> list[Folded]:
    """Returns a Folded for each combination of the keys that are not seeds, as `fold_seeds` does.

    Runs are averaged only with runs that were trained for as long, which columns LEFT and EXTENDED of the values tell.
    Runs trained as planned come first.
    """
    groups = by_training(rows)
    columns = [column for column in (EXTENDED, LEFT) if any(name == column for name, _ in groups)]
    found = []
    for (name, epoch), alike in groups.items():
        lengths = {column: f"epoch {epoch}" if column == name else "" for column in columns}
        folded = fold_seeds(alike, keys, metrics, minimise=minimise)
        found += [each._replace(values={**each.values, **lengths}) for each in folded]
    return found


def by_monitor(rows: Sequence[SweepRow], monitor: str) -> dict[str, list[SweepRow]]:
    """Returns the rows grouped by monitor, because objectives of different metrics are not comparable.

    monitor: the default for rows without one. If there are several monitors, rows without one are left out.
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
    """Returns the mean and half the width of the confidence interval (Student's t) of each group, (groups,) each.

    NaN where undefined. values: (n,); group: index of each value's group, (n,).
    """
    count = np.bincount(group, minlength=groups)
    degrees = {int(n): t_quantile(int(n) - 1) if n > 1 else math.nan for n in np.unique(count)}
    quantile = np.array([degrees[n] for n in count.tolist()])
    with np.errstate(all="ignore"):  # squares may overflow for runs that finished just before diverging
        mean = np.bincount(group, values, groups) / count
        squares = np.bincount(group, (values - mean[group]) ** 2, groups)
        return mean, quantile * np.sqrt(squares / (count - 1) / count)


@lru_cache(maxsize=4096)
def t_quantile(degrees: int, *, confidence: float = CONFIDENCE) -> float:
    """Returns the two-sided quantile of Student's t: P(|T| <= t) = confidence.

    Source: Abramowitz & Stegun, 26.7.3 and 26.7.4, inverted by bisection; 26.7.5 for many degrees. Raises ValueError
    for degrees < 1.
    """
    if degrees < 1:
        raise ValueError(f"degrees={degrees}: must be at least 1")
    if degrees > MANY_DEGREES:
        return _t_near_normal(NormalDist().inv_cdf((1 + confidence) / 2), degrees)
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:  # until they are adjacent floating-point numbers
        low, high = (middle, high) if _within(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _within(angle: float, degrees: int) -> float:
    """Returns P(|T| < sqrt(degrees) tan(angle)), a finite sum of powers of the cosine."""
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
    """Returns the failed jobs grouped by error, then the diverged ones."""
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
    """Returns where the losses of these runs became non-finite: `in epoch 1 to 3, step 12`."""
    epochs = [row.diverged_at for row in rows if row.diverged_at is not None]
    steps = [row.diverged_step for row in rows if row.diverged_step is not None]
    return describe_divergence(_span(epochs), _span(steps)) if epochs and steps else ""


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _common(rows: Iterable[SweepRow], keys: Sequence[str]) -> dict[str, str]:
    """Returns the overrides, among these keys, that all rows share."""
    first, *others = ({key: value for key, value in row.overrides.items() if key in keys} for row in rows)
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def _numbers(rows: Sequence[SweepRow], indices: NDArray[np.int64], column: str) -> Values:
    """Returns a column for the rows at these indices, (places,); NaN for an empty cell."""
    return np.array([rows[index].number(column) for index in indices.tolist()], np.float64)


def _first_by_group(values: Values, group: NDArray[np.int64]) -> dict[int, int]:
    """Returns the index of the smallest value in each group. Leaves out groups with only NaN."""
    order = np.argsort(values, kind="stable")
    order = order[~np.isnan(values[order])]
    names, first = np.unique(group[order], return_index=True)
    return dict(zip(names.tolist(), order[first].tolist(), strict=True))
