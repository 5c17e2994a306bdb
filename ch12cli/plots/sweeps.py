"""Plots of the results of a sweep: heat map, slice, importance and distribution."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ch12cli.catalogue.summary import is_repetition, trained_alike, varying
from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.plots.plot import Axis, Bars, Grid, Histogram, Line, Lines, Plot, Values
from ch12cli.plots.scale import is_wide

CELLS = 24  # maximum rows or columns of a heat map
FEW = 5  # minimum number of runs for an importance plot
NUMBERS = ("epochs", "best_epoch", "objective", "parameters", "seconds")  # columns of sweep.csv besides the metrics
BINS = 40  # maximum bins of a histogram


LEVELS = 8  # groups for a key with more distinct numbers than this


class Results(NamedTuple):
    """The finished jobs of a sweep that have a value of the metric.

    label: the metric in words. texts: for each varying key except seeds, its value in each job. values: the metric,
    (jobs,). left_out: the number of jobs without a value. jobs: the job numbers. note: on jobs that were left out
    because they were trained for other numbers of epochs.
    """

    label: str
    minimise: bool
    texts: dict[str, list[str]]
    values: Values
    left_out: int
    jobs: list[int]
    note: str = ""


def results_of(rows: Sequence[SweepRow], *, metric: str, label: str, minimise: bool) -> Results:
    """Returns the results of the finished jobs that were trained alike. Raises InputError if no job has the metric."""
    keys = [key for key in varying(rows) if not is_repetition(key)]
    rows, note = trained_alike(rows)
    finished = [row for row in rows if row.status == "finished"]
    values = np.array([row.number(metric) for row in finished], np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        names = dict.fromkeys([*NUMBERS, *(name for row in finished for name in row.metrics)])
        columns = [name for name in names if any(np.isfinite(row.number(name)) for row in finished)]
        have = f"; they have {', '.join(columns)}" if columns else ": none has finished"
        raise InputError(f"--metric {metric}: no job that finished has it{have}")
    kept = [row for row, good in zip(finished, finite.tolist(), strict=True) if good]
    changes = [row.overrides for row in kept]
    texts = {key: [change.get(key, "") for change in changes] for key in keys}
    jobs = [row.job for row in kept]
    return Results(label, minimise, texts, values[finite], len(rows) - len(kept), jobs, note)


def require_key(results: Results, key: str, option: str) -> str:
    if key not in results.texts:
        differing = ", ".join(results.texts) or "nothing but seeds"
        raise InputError(f"{option} {key}: is not swept; what differs between the jobs: {differing}")
    return key


def by_weight(results: Results) -> list[tuple[str, float]]:
    """Returns the swept keys with their importance, the most important first."""
    shares = importances(list(results.texts.values()), results.values)
    return sorted(zip(results.texts, shares, strict=True), key=lambda pair: -pair[1])


def notes_of(results: Results, *, shown: Sequence[str], each: str) -> list[str]:
    """Returns notes on the keys averaged over and the number of jobs left out."""
    others = [key for key in results.texts if key not in shown]
    over = f", over {', '.join([*others, 'seeds'])}" if others else ""
    count = results.left_out
    which = "1 job that diverged, failed or has" if count == 1 else f"{count} jobs that diverged, failed or have"
    left_out = f" {which} no such value {'is' if count == 1 else 'are'} left out." if count else ""
    return [f"{each}{over}.{left_out}", *([results.note] if results.note else [])]


def ordered(texts: Sequence[str]) -> list[str]:
    """Returns the distinct texts, sorted if they are all numbers, otherwise in order of appearance."""
    different = list(dict.fromkeys(texts))
    try:
        return sorted(different, key=float)
    except ValueError:
        return different


def heatmap(results: Results, *, title: str, x: str | None = None, y: str | None = None) -> Plot:
    """Returns a heat map of the mean over two keys, with the best cell marked.

    The default keys are the most important ones. Raises InputError if a key is not swept, or if fewer than two vary.
    """
    for option, key in (("--x", x), ("--y", y)):
        if key is not None:
            require_key(results, key, option)
    spare = [key for key, _ in by_weight(results) if key not in (x, y)]
    if len(spare) < (x is None) + (y is None) or (x is not None and x == y):
        raise InputError("--kind heatmap: needs two keys that differ between the jobs; try --kind slice")
    across, down = x or spare.pop(0), y or spare.pop(0)
    columns, rows = ordered(results.texts[across])[:CELLS], ordered(results.texts[down])[:CELLS]
    pairs = list(zip(results.texts[down], results.texts[across], strict=True))
    sums, counts = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)))
    cells = {(r, c): (i, j) for i, r in enumerate(rows) for j, c in enumerate(columns)}
    for pair, value in zip(pairs, results.values.tolist(), strict=True):
        if pair in cells:
            sums[cells[pair]] += value
            counts[cells[pair]] += 1
    with np.errstate(invalid="ignore"):
        means = sums / counts
    best = np.nanmin(means) if results.minimise else np.nanmax(means)
    grid = Grid(
        Axis(down, names=tuple(rows)),
        Axis(across, names=tuple(columns)),
        means,
        [["" if value != value else f"{value:.3g}" for value in row] for row in means.tolist()],
        results.label,
        shades=shades(means),
        best=frozenset((row, column) for row, column in np.argwhere(means == best).tolist()),
    )
    runs = "one run" if counts.max() == 1 else f"mean of {count_range(counts[counts > 0])}"
    notes = notes_of(results, shown=(across, down), each=f"Each cell: {runs}")
    cut = len(set(results.texts[down])) > len(rows) or len(set(results.texts[across])) > len(columns)
    return Plot(title, [grid], notes + ([f"The first {CELLS} values of each key."] if cut else []))


def shades(means: Values) -> Values | None:
    """Returns logarithmic shades for the cells, or None if a linear scale suits the values."""
    if not is_wide([float(value) for value in means.ravel()]):
        return None
    logs = np.log10(means)
    low, high = np.nanmin(logs), np.nanmax(logs)
    return np.asarray((logs - low) / (high - low))


def count_range(counts: NDArray[np.float64]) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low} run{'s' * (low > 1)}" if low == high else f"{low} to {high} runs"


def slices(results: Results, *, title: str, x: str | None = None) -> Plot:
    """Returns the metric over one key: a dot for each run, the mean, and the percentile band.

    The default key is the most important one. Raises InputError if the key is not swept.
    """
    if not results.texts:
        raise InputError("--kind slice: nothing but seeds differs between the jobs; try --kind distribution")
    key = require_key(results, x, "--x") if x is not None else by_weight(results)[0][0]
    texts = results.texts[key]
    names = ordered(texts)
    try:
        positions = {name: float(name) for name in names}
        axis = Axis(key, log=is_wide(positions.values()))
    except ValueError:
        positions = {name: float(index) for index, name in enumerate(names)}
        axis = Axis(key, names=tuple(names))
    groups = {name: results.values[[text == name for text in texts]] for name in names}
    at = np.array([positions[name] for name in names])
    mean = np.array([group.mean() for group in groups.values()])
    low, high = (np.array([np.percentile(group, q) for group in groups.values()]) for q in (5, 95))
    dots = Line("", np.array([positions[text] for text in texts]), results.values, faint=True, joined=False)
    means = Line("mean", at, mean, low, high, joined=axis.names is None)
    log = is_wide(results.values.tolist(), spread=100)
    counts = np.array([len(group) for group in groups.values()], np.float64)
    each = f"Dots: {len(texts)} runs; bars: mean and 5th to 95th percentile of {count_range(counts)} each"
    each = each.replace("bars", "line and band") if means.joined else each
    return Plot(
        title, [Lines(axis, Axis(results.label, log=log), [dots, means])], notes_of(results, shown=(key,), each=each)
    )


def importance(results: Results, *, title: str) -> Plot:
    """Returns bars of the share of the rank variance that each key explains.

    Raises InputError if only seeds vary, or if there are fewer than FEW runs.
    """
    if not results.texts:
        raise InputError("--kind importance: nothing but seeds differs between the jobs; try --kind distribution")
    if len(results.values) < FEW:
        note = f" ({results.note.rstrip('.')})" if results.note else ""
        raise InputError(
            f"--kind importance: {len(results.values)} runs are too few to rank the keys{note}; give {FEW} or more"
        )
    found = by_weight(results)
    rest = max(0.0, 1 - sum(share for _, share in found))
    names = [*(key for key, _ in found), "seeds, and keys together"]
    values = np.array([*(share for _, share in found), rest])
    texts = [f"{value:.0%}" for value in values.tolist()]
    bars = Bars("share of the variance", names, values, texts, frozenset(names[-1:]))
    each = f"{len(results.values)} runs, ranked by {results.label}; epsilon squared of each key by itself"
    return Plot(title, [bars], notes_of(results, shown=tuple(results.texts), each=each))


def distribution(results: Results, *, title: str) -> Plot:
    """Returns a histogram of the metric, with its mean, median and best value marked."""
    values = results.values
    counts = np.histogram(values, edges_of(values))[0].astype(np.int64)
    best = values.min() if results.minimise else values.max()
    marks = [("mean", float(values.mean())), ("median", float(np.median(values))), ("best", float(best))]
    panel = Histogram(Axis(results.label), "runs", edges_of(values), counts, marks)
    deviation = f", standard deviation {values.std(ddof=1):.3g}" if len(values) > 1 else ""
    notes = notes_of(results, shown=(), each=f"{len(values)} runs{deviation}")
    return Plot(title, [panel], notes)


def edges_of(values: Values) -> Values:
    """Returns the edges of a histogram's bins.

    Each value has its own bin if most occur more than once, as accuracies over few rows do. Otherwise the width is that
    of Sturges (1926) or Freedman and Diaconis (1981), whichever is narrower.
    """
    different = np.unique(values)
    if 1 < len(different) <= len(values) / 2:
        step = np.diff(different).min()
        if (different[-1] - different[0]) / step < BINS:
            return np.arange(different[0] - step / 2, different[-1] + step, step)
    edges = np.histogram_bin_edges(values, "auto")
    return edges if len(edges) <= BINS + 1 else np.histogram_bin_edges(values, BINS)


def importances(keys: Sequence[Sequence[str]], values: Values) -> list[float]:
    """Returns the importance of each key: the share, from 0 to 1, of the rank variance that it explains.

    keys: the values of each key, (keys, runs). values: the metric, (runs,). The share is one-way epsilon squared: the
    variance between a key's values, less that expected by chance, over the total variance. Ranks are used because a
    diverged loss would dominate the values. Interactions between keys get no share. Source: Kelley (1935).
    """
    ranks = ranked(values)
    return [share(levels(texts), ranks) for texts in keys]


def share(level: NDArray[np.int64], ranks: Values) -> float:
    n, total = len(ranks), float(((ranks - ranks.mean()) ** 2).sum()) if len(ranks) else 0.0
    groups = int(level.max()) + 1 if n else 0
    if total == 0 or groups < 2 or n <= groups:
        return 0.0
    count = np.bincount(level, minlength=groups)
    mean = np.bincount(level, ranks, groups) / count
    within = float(((ranks - mean[level]) ** 2).sum())
    return max(0.0, (total - within - (groups - 1) * within / (n - groups)) / total)


def levels(texts: Sequence[str]) -> NDArray[np.int64]:
    """Returns the group of each text, (n,). Equal texts share a group.

    If there are more than LEVELS distinct numbers, they are grouped by rank.
    """
    names = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    if len(names) > LEVELS:
        try:
            numbers = ranked(np.array([float(text) for text in texts]))
        except ValueError:
            pass
        else:
            found = np.minimum((numbers / len(numbers) * LEVELS).astype(np.int64), LEVELS - 1)
            return np.unique(found, return_inverse=True)[1].astype(np.int64)
    return np.array([names[text] for text in texts], np.int64)


def ranked(values: Values) -> Values:
    """Returns the rank of each value, (n,), from 0. Equal values share their mean rank."""
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values)[order]
    edges = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), len(ordered)]
    ranks = np.empty(len(ordered))
    for start, end in pairwise(edges):
        ranks[order[start:end]] = (start + end - 1) / 2
    return ranks
