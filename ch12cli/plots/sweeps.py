"""Plots of the results of a sweep: heat map, slice, pair of metrics, importance and distribution."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ch12cli.catalogue.final_numbers import AT_END
from ch12cli.catalogue.formatting import count_of
from ch12cli.catalogue.front import unbeaten
from ch12cli.catalogue.keys_of_settings import NOT_ITS_OWN, is_repetition, repetitions_in_words
from ch12cli.catalogue.summary import has_enough_runs, t_quantile, trained_alike, varying
from ch12cli.catalogue.sweep_jobs import PLANNED
from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.plots.labels import even_digits, in_few_digits
from ch12cli.plots.plot import SERIES, Axis, Bars, EdgeMark, Grid, Histogram, Line, Lines, Panel, Plot, Values
from ch12cli.plots.scale import AxisScale, beyond, is_wide, metric_axis
from ch12cli.suggest import did_you_mean

CELLS = 24  # maximum rows or columns of a heat map
FEW = 5  # minimum number of runs for an importance plot
NUMBERS = ("epochs", "best_epoch", "objective", "parameters", "seconds")  # columns of sweep.csv besides the metrics
BINS = 40  # maximum bins of a histogram
FACETS = 9  # maximum panels of a plot
FEW_VALUES = 8  # distinct results from which they get a histogram in place of a bar each
MANY_VALUES = 12  # values of a key from which single runs are not joined by a line
CONTRAST = 0.15  # least range of the shades that the middle half of a heat map's cells must have
LOWEST = 0.3  # of the least point, down to which intervals are drawn on a logarithmic axis
DODGE = 0.12  # positions between the error bars of several lines at the same name

RANGES = 8  # into which a heat map groups a key of many numbers
FROM = ", from"  # after the key on an axis whose names are the least values of its groups
FULL = 0.6  # share of the cells with runs, below which numbers are grouped
ABSENT = "none"  # the label of the jobs that lack a key
BEFORE = 0.12  # of the length of an axis of numbers: the distance of the jobs that lack the key

LEVELS = 8  # groups for a key with more distinct numbers than this


class Results(NamedTuple):
    """The finished jobs of a sweep that have a value of the metric.

    label: the metric in words. texts: for each varying key except seeds, its value in each job, empty if the job lacks
    the key. values: the metric, (jobs,). left_out: the number of jobs without a value. jobs: the job numbers. note: on
    jobs that were left out because they were trained for other numbers of epochs. lost: the values of the keys in the
    jobs that are left out, or that have not ended. repeated: what repeats a setting, such as `seeds and folds`.
    population: whether runs went on from others, so that each has a history of its own.
    """

    label: str
    minimise: bool
    texts: dict[str, list[str]]
    values: Values
    left_out: int
    jobs: list[int]
    note: str = ""
    lost: dict[str, list[str]] = {}  # noqa: RUF012  a tuple's default, which is never written to
    repeated: str = "seeds"
    population: bool = False


def results_of(
    rows: Sequence[SweepRow], *, metric: str, label: str, minimise: bool, final: Collection[str] = ()
) -> Results:
    """Returns the results of the finished jobs that were trained alike. Raises InputError if no job has the metric.

    final: the keys whose values are those of the end of a run.
    """
    differing = varying(rows)
    keys = [key for key in differing if not is_repetition(key)]
    rows, note = trained_alike(rows)
    finished = [row for row in rows if row.status == "finished"]
    values = np.array([row.number(metric) for row in finished], np.float64)
    finite = np.isfinite(values)
    if not finished:
        ended = ", ".join(f"{n} {status}" for status, n in Counter(row.status for row in rows).items())
        raise InputError(f"no job has finished{': ' * bool(ended)}{ended}; there is nothing to plot")
    if not finite.any():
        names = dict.fromkeys([*NUMBERS, *(name for row in finished for name in row.metrics)])
        columns = [name for name in names if any(np.isfinite(row.number(name)) for row in finished)]
        rule = f"no job that finished has it; they have {', '.join(columns)}"
        raise InputError(f"--metric {metric}: {rule}{did_you_mean(metric, columns)}")
    kept = [row for row, good in zip(finished, finite.tolist(), strict=True) if good]
    jobs = [row.job for row in kept]
    known = set(jobs)
    others = [row for row in rows if row.job not in known]
    named = {key: f"{key}{AT_END}" if key in final else key for key in keys}
    texts, lost = (
        {name: [row.overrides.get(key, "") for row in each] for key, name in named.items()} for each in (kept, others)
    )
    return Results(
        label,
        minimise,
        texts,
        values[finite],
        sum(row.status != PLANNED for row in others),
        jobs,
        note,
        lost,
        repetitions_in_words(differing) or "seeds",
        population=any(row.ancestry for row in rows),
    )


class Mean(NamedTuple):
    """The mean of the runs of one setting, and half of its 95 % confidence interval (NaN for a single run).

    setting: the values of the keys that were chosen; runs: the indices of the runs.
    """

    mean: float
    half: float
    setting: tuple[str, ...]
    runs: NDArray[np.int64]


def mean_of(results: Results, runs: NDArray[np.int64], others: Sequence[str], *, pooled: bool) -> Mean:
    """Returns the mean over some runs.

    others: the keys that differ between them and are not shown. pooled: averages over them; otherwise over the runs of
    their best setting.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for run in runs.tolist():
        setting = () if pooled else tuple(results.texts[key][run] for key in others)
        groups.setdefault(setting, []).append(run)
    sign = 1 if results.minimise else -1
    means = {setting: float(results.values[found].mean()) for setting, found in groups.items()}
    best = min(means, key=lambda setting: sign * means[setting])
    chosen = np.array(groups[best], np.int64)
    n = len(chosen)
    half = t_quantile(n - 1) * float(results.values[chosen].std(ddof=1)) / n**0.5 if n > 1 else np.nan
    return Mean(means[best], half, best, chosen)


def said_of_others(results: Results, shown: Sequence[str], *, pooled: bool) -> str:
    """Returns what becomes of the keys that are not shown: `, each at the best setting of model.width`."""
    others = [key for key in results.texts if key not in shown]
    if not others:
        return ""
    return f", pooled over {', '.join(others)}" if pooled else f", each at the best setting of {', '.join(others)}"


def require_key(results: Results, key: str, option: str) -> str:
    if key not in results.texts:
        differing = ", ".join(results.texts) or f"nothing but {results.repeated}"
        rule = f"is not swept; what differs between the jobs: {differing}"
        raise InputError(f"{option} {key}: {rule}{did_you_mean(key, results.texts)}")
    return key


def by_weight(results: Results) -> list[tuple[str, float]]:
    """Returns the swept keys with their importance, the most important first."""
    shares = importances(list(results.texts.values()), results.values)
    return sorted(zip(results.texts, shares, strict=True), key=lambda pair: -pair[1])


def useful_keys(results: Results) -> list[str]:
    """Returns the swept keys, the most important first, and last those that some jobs lack."""
    found = [key for key, _ in by_weight(results)]
    return sorted(found, key=lambda key: "" in results.texts[key])


def notes_of(results: Results, *, each: str, more: Sequence[str] = ()) -> list[str]:
    """Returns what is shown, and notes on the jobs left out."""
    count = results.left_out
    which = "1 job that diverged, failed or has" if count == 1 else f"{count} jobs that diverged, failed or have"
    left_out = f" {which} no such value {'is' if count == 1 else 'are'} left out." if count else ""
    return [f"{each}.{left_out}", *more, *([results.note] if results.note else [])]


def ordered(texts: Sequence[str]) -> list[str]:
    """Returns the distinct texts: the empty one, the words in order of appearance, and the numbers, sorted."""
    different = sorted(dict.fromkeys(texts), key=bool)
    return sorted(different, key=lambda text: -np.inf if np.isnan(parsed_number(text)) else parsed_number(text))


def heatmap(results: Results, *, title: str, x: str | None = None, y: str | None = None, pooled: bool = False) -> Plot:
    """Returns a heat map of the mean over two keys, with the best cell marked.

    The default keys are the most important ones that all jobs have. Each cell shows the best setting of the other
    keys, so that the best cell is that of the best setting; pooled: the mean over all of them. Raises InputError if a
    key is not swept, or if fewer than two vary.
    """
    for option, key in (("--x", x), ("--y", y)):
        if key is not None:
            require_key(results, key, option)
    spare = [key for key in useful_keys(results) if key not in (x, y)]
    if len(spare) < (x is None) + (y is None) or (x is not None and x == y):
        raise InputError("--kind heatmap: needs two keys that differ between the jobs; try --kind slice")
    across, down = x or spare.pop(0), y or spare.pop(0)
    shown, groups = results, list[str]()
    for key in (across, down):
        if is_continuous(shown, key, across, down):
            shown, groups = grouped(shown, key), [*groups, key]
    names = {key: ordered_groups(shown, results, key) for key in (across, down)}
    others = [key for key in results.texts if key not in (across, down)] + groups
    cells: dict[tuple[str, str], list[int]] = {}
    for run, pair in enumerate(zip(shown.texts[down], shown.texts[across], strict=True)):
        cells.setdefault(pair, []).append(run)
    found = {pair: mean_of(results, np.array(runs), others, pooled=pooled) for pair, runs in cells.items()}
    rows, columns = (best_names(names[key], found, place, results) for place, key in ((0, down), (1, across)))
    means = np.array([[found[r, c].mean if (r, c) in found else np.nan for c in columns] for r in rows], np.float64)
    lost = set(zip(shown.lost.get(down, []), shown.lost.get(across, []), strict=True)) - set(found)
    texts = iter(even_digits(means.ravel().tolist()))
    best = np.nanmin(means) if results.minimise else np.nanmax(means)
    colours, meaning = shades(means)
    grid = Grid(
        Axis(f"{down}{FROM * (down in groups)}", names=tuple(row or ABSENT for row in rows)),
        Axis(f"{across}{FROM * (across in groups)}", names=tuple(column or ABSENT for column in columns)),
        means,
        [[next(texts) or ("×" if (row, column) in lost else "") for column in columns] for row in rows],
        f"{results.label}{meaning}",
        shades=colours,
        best=frozenset((row, column) for row, column in np.argwhere(means == best).tolist()),
    )
    counts = np.array([len(each.runs) for each in found.values()], np.float64)
    each = mean_in_words(counts)
    more = [f"×: every run diverged, failed or has no such value ({count_of(len(lost), 'cell')})."] if lost else []
    for key in (across, down):
        if len(names[key]) > CELLS:
            more.append(f"The best {CELLS} of {len(names[key])} values of {key}.")
    said = said_of_others(results, [key for key in (across, down) if key not in groups], pooled=pooled)
    return Plot(title, [grid], notes_of(results, each=f"Each cell: {each}{said}", more=more))


def is_continuous(results: Results, key: str, *keys: str) -> bool:
    """Returns whether the values of a key are so many numbers that a heat map of these keys is to group them."""
    texts = [*results.texts[key], *results.lost.get(key, [])]
    different = set(texts)
    if len(different) <= MANY_VALUES or not are_numbers(different):
        return False
    columns = [[*results.texts[each], *results.lost.get(each, [])] for each in keys]
    possible = np.prod([len(set(column)) for column in columns], dtype=np.float64)
    cells = len(set(zip(*columns, strict=True)))
    return len(different) > CELLS or cells < FULL * float(possible)


def are_numbers(texts: Iterable[str]) -> bool:
    """Returns whether texts are finite numbers, apart from the empty one of the jobs that lack the key."""
    given = [text for text in texts if text]
    return bool(given) and all(np.isfinite(parsed_number(text)) for text in given)


def parsed_number(text: str) -> float:
    """Returns the number that a text is, NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return np.nan


def grouped(results: Results, key: str) -> Results:
    """Returns the results with the values of a key grouped, and named by the least value of each group.

    The groups have equal width, on a logarithmic scale if the values are wide apart. Jobs that lack the key are one.
    """
    texts = [*results.texts[key], *results.lost.get(key, [])]
    numbers = np.array([float(text) for text in texts if text])
    log = is_wide(numbers.tolist())
    places = np.log10(numbers) if log else numbers
    edges = np.linspace(places.min(), places.max(), RANGES + 1)
    ends = (10**edges if log else edges)[:-1].tolist()
    whole = all(number.is_integer() for number in numbers.tolist())
    choices = [[str(int(np.ceil(end - 1e-9))) for end in ends]] if whole else []
    choices += [[in_few_digits(end, digits) for end in ends] for digits in range(2, 16)]
    labels = next((texts for texts in choices if len(set(texts)) == RANGES), [repr(end) for end in ends])
    groups = iter(np.clip(np.searchsorted(edges, places, side="right") - 1, 0, RANGES - 1).tolist())
    found = [labels[next(groups)] if text else "" for text in texts]
    count = len(results.values)
    lost = {**results.lost, key: found[count:]} if results.lost else results.lost
    return results._replace(texts={**results.texts, key: found[:count]}, lost=lost)


def ordered_groups(shown: Results, results: Results, key: str) -> list[str]:
    """Returns the values or ranges of a key in the order of its numbers, or of appearance."""
    labels = [*shown.texts[key], *shown.lost.get(key, [])]
    texts = [*results.texts[key], *results.lost.get(key, [])]
    label_of = dict(zip(texts, labels, strict=True))
    return list(dict.fromkeys(label_of[text] for text in ordered(texts)))


def best_names(names: list[str], found: Mapping[tuple[str, str], Mean], place: int, results: Results) -> list[str]:
    """Returns the names, at most CELLS of them: those with the best cells. place: of the name in a cell's pair."""
    sign = 1 if results.minimise else -1
    best = {
        name: min((sign * m.mean for pair, m in found.items() if pair[place] == name), default=np.inf) for name in names
    }
    kept = set(sorted(names, key=lambda name: best[name])[:CELLS])
    return [name for name in names if name in kept]


def shades(means: Values) -> tuple[Values | None, str]:
    """Returns the shades of a heat map's cells, and what they mean: linear, logarithmic, or by rank.

    The first is taken in which outliers leave the middle half of the cells apart. None stands for linear.
    """
    finite = means[np.isfinite(means)]
    if len(np.unique(finite)) < 4:
        return None, ""
    choices: list[tuple[Values, str]] = [(means, "")]
    if finite.min() > 0:
        choices.insert(0 if is_wide(finite.tolist()) else 1, (np.log10(means), ""))
    for values, meaning in choices:
        low, high = np.nanmin(values), np.nanmax(values)
        shade = (values / 2 - low / 2) / (high / 2 - low / 2)
        quarter, three = np.nanpercentile(shade, (25, 75))
        if three - quarter >= CONTRAST:
            return (None if values is means else np.asarray(shade)), meaning
    ranks = np.full(means.shape, np.nan)
    ranks[np.isfinite(means)] = ranked(finite) / (len(finite) - 1)
    return ranks, ", colours by rank"


def mean_in_words(counts: NDArray[np.float64]) -> str:
    """Returns what a value stands for, by the numbers of runs: `one run`, `mean of 5 runs` or `mean of 3 to 5 runs`."""
    low, high = int(counts.min()), int(counts.max())
    if low == high:
        return "one run" if high == 1 else f"mean of {high} runs"
    return f"mean of {low} to {high} runs"


def slices(
    results: Results,
    *,
    title: str,
    x: str | None = None,
    by: str | None = None,
    facet: str | None = None,
    every: bool = False,
    pooled: bool = False,
    log: bool | None = None,
) -> Plot:
    """Returns the metric over one key: the mean of the runs at each value, with its 95 % confidence interval.

    by: a key with a line for each of its values. facet: a key with a panel for each of its values. every: shows each
    run in place of the intervals. The other keys have their best setting at each point; pooled: all of them are
    averaged. log: whether the metric's axis is logarithmic. The default key is the most important one that all jobs
    have. Raises InputError if a key is not swept.
    """
    if not results.texts:
        raise InputError(
            f"--kind slice: nothing but {results.repeated} differs between the jobs; try --kind distribution"
        )
    key = require_key(results, x, "--x") if x is not None else useful_keys(results)[0]
    shown = [key]
    for option, given in (("--by", by), ("--facet", facet)):
        if given is not None:
            require_key(results, given, option)
            if given in shown:
                raise InputError(f"{option} {given}: is shown already; name another key")
            shown.append(given)
    places = positions_of(results, key)
    panels_by = values_of(results, facet)[:FACETS]
    lines_by = values_of(results, by)[:SERIES]
    panels, counts, ran = list[Lines](), list[int](), np.zeros(len(results.values), bool)
    for panel_value in panels_by:
        inside = chosen(results.texts, facet, panel_value, len(results.values))
        drawn = []
        for number, line_value in enumerate(lines_by):
            name = "" if by is None else f"{by.rpartition('.')[2]}={line_value or ABSENT}"
            runs = inside & chosen(results.texts, by, line_value, len(results.values))
            drawn += _lines_over(
                results, key, runs, places, shown, name=name, every=every, pooled=pooled,
                single=by is None, shift=DODGE * (number - (len(lines_by) - 1) / 2),
            )  # fmt: skip
            counts += [n for n in drawn[-1].counts if n]
            ran |= runs
        missing = len(results.lost.get(key, []))
        out = chosen(results.lost, facet, panel_value, missing)
        lost = [text for text, here in zip(results.lost.get(key, []), out.tolist(), strict=True) if here]
        marks = {text: lost.count(text) for text in places.names if text in lost}
        edges = tuple(EdgeMark(places.at[text], str(n), results.minimise) for text, n in marks.items())
        heading = f"{facet}={panel_value or ABSENT}" if facet else ""
        panels.append(Lines(places.axis, Axis(results.label), [each.line for each in drawn], edges, heading))
    y = metric_axis(results.label, [line.y for panel in panels for line in panel.lines], log=log)
    if (facet is not None or y.log) and y.limits is None:  # panels are compared, so that they have a common axis
        y = y._replace(limits=limits_of([line for panel in panels for line in panel.lines], log=y.log))
    panels = [Lines(each.x, y, each.lines, each.edges, each.title) for each in panels]
    return Plot(title, list[Panel](panels), _slice_notes(results, panels, counts, shown, (by, facet), every, pooled))


def limits_of(lines: Sequence[Line], *, log: bool) -> tuple[float, float]:
    """Returns the range of the lines and their intervals.

    An interval that comes near zero does not stretch a logarithmic axis: it is cut below the least point.
    """
    heights = np.concatenate([v for line in lines for v in (line.y, line.low, line.high) if v is not None])
    heights = heights[np.isfinite(heights)]
    if not log:
        return float(heights.min()), float(heights.max())
    positive = heights[heights > 0]
    if not len(positive):
        return 1.0, 10.0
    points = np.concatenate([line.y for line in lines])
    least = float(points[np.isfinite(points) & (points > 0)].min(initial=positive.max()))
    return max(float(positive.min()), least * LOWEST), float(positive.max())


class KeyPositions(NamedTuple):
    """Where the values of a key lie on its axis. names: the values in order."""

    axis: Axis
    names: list[str]
    at: dict[str, float]
    ordered: bool  # whether the values are numbers, so that they may be joined


def positions_of(results: Results, key: str) -> KeyPositions:
    """Returns the axis of a key and the position of each of its values, those of the jobs left out included.

    Numbers have a linear or a logarithmic axis. If zero is among numbers of several decades, each has its own place.
    Jobs that lack the key have a place before the numbers.
    """
    names = ordered([*results.texts[key], *results.lost.get(key, [])])
    numbers = {name: parsed_number(name) for name in names if name}
    known = not np.isnan(list(numbers.values())).any()
    zero = min(numbers.values(), default=1) == 0 and is_wide([value for value in numbers.values() if value > 0])
    if zero or not are_numbers(names):
        axis = Axis(key, names=tuple(name or ABSENT for name in names))
        at = {name: float(place) for place, name in enumerate(names)}
        return KeyPositions(axis, names, at, ordered=known and len(numbers) == len(names))
    ticks = tuple(sorted(set(numbers.values())))
    axis = Axis(key, log=is_wide(ticks), ticks=ticks, integer=all(tick.is_integer() for tick in ticks))
    if len(numbers) < len(names):
        scale = AxisScale.over([np.array(ticks)], axis)
        absent = float(scale.at(np.array(-BEFORE)))
        axis, numbers = axis._replace(absent=(absent, ABSENT)), {"": absent, **numbers}
    return KeyPositions(axis, names, numbers, ordered=axis.absent is None)


def values_of(results: Results, key: str | None) -> list[str]:
    """Returns the distinct values of a key, in order; a single empty one for no key."""
    return [""] if key is None else ordered([*results.texts[key], *results.lost.get(key, [])])


def chosen(texts: dict[str, list[str]], key: str | None, value: str, length: int) -> NDArray[np.bool_]:
    """Returns which runs have this value of the key, (length,); all for no key."""
    return np.ones(length, bool) if key is None else np.array([text == value for text in texts[key]], bool)


class CountedLine(NamedTuple):
    """A line, and the number of runs of each of its points."""

    line: Line
    counts: list[int]


def _lines_over(
    results: Results, key: str, runs: NDArray[np.bool_], places: KeyPositions, shown: Sequence[str], *, name: str,
    every: bool, pooled: bool, shift: float, single: bool,
) -> list[CountedLine]:  # fmt: skip
    """Returns the means of some runs at each value of a key, after the dots of the runs if they are shown."""
    others = [other for other in results.texts if other not in shown]
    texts = np.array(results.texts[key], dtype=object)
    groups = {text: np.flatnonzero(runs & (texts == text)) for text in places.names}
    groups = {text: group for text, group in groups.items() if len(group)}
    means = [mean_of(results, group, others, pooled=pooled) for group in groups.values()]
    moved = shift if places.axis.names is not None else 0.0
    at = np.array([places.at[text] + moved for text in groups], np.float64)
    dots_at = np.array([places.at[text] + moved for text in texts[runs].tolist()], np.float64)
    dots = CountedLine(Line("", dots_at, results.values[runs], faint=True, joined=False), [])
    counts = [len(each.runs) for each in means]
    if len(groups) > MANY_VALUES and sum(counts) < 2 * len(groups):  # single runs, as of a random search
        alone = Line("" if single else name, dots_at, results.values[runs], faint=single, joined=False)
        return [CountedLine(alone, counts)]
    mean, half = np.array([each.mean for each in means]), np.array([each.half for each in means])
    interval = not every and bool(np.isfinite(half).any())
    half = np.where(np.isfinite(half), half, 0.0)
    line = Line(
        name,
        at,
        mean,
        mean - half if interval else None,
        mean + half if interval else None,
        joined=places.ordered,
        bars=True,
    )
    return [*([dots] if single or every else []), CountedLine(line, counts)]


def _slice_notes(
    results: Results, panels: Sequence[Lines], counts: Sequence[int], shown: Sequence[str],
    split: tuple[str | None, str | None], every: bool, pooled: bool,
) -> list[str]:  # fmt: skip
    by, facet = split
    lines = [line for panel in panels for line in panel.lines]
    said = said_of_others(results, shown, pooled=pooled)
    runs = mean_in_words(np.array(counts or [0], np.float64))
    bars = ", bars: its 95 % confidence interval" if any(line.low is not None for line in lines) else ""
    faint = sum(len(line.x) for line in lines if line.faint)
    dots = f"dots: {count_of(faint, 'run')}" if any(line.faint for line in lines) else ""
    means = f"{runs}{said}{bars}" if any(not line.faint and line.bars for line in lines) else ""
    first = "; ".join(part for part in (means, dots) if part) or f"dots: {count_of(len(results.values), 'run')}"
    more = []
    if by is not None:
        kind = "lines" if any(line.joined and not line.faint for line in lines) else "colours"
        first = f"{kind}: {by}; {first}"
    if any(panel.edges for panel in panels):
        more.append("× at the edge: runs without a value, and their number.")
    for key, most in ((by, SERIES), (facet, FACETS)):
        if key is not None and len(values_of(results, key)) > most:
            more.append(f"The first {most} of {len(values_of(results, key))} values of {key}.")
    if hidden := sum(beyond([line.y for line in panel.lines], panel.y) for panel in panels):
        more.append(f"Beyond the axis: {count_of(hidden, 'value')}.")
    return notes_of(results, each=first[0].upper() + first[1:], more=more)


def pair(first: Results, second: Results, *, title: str, log: bool | None = None) -> Plot:
    """Returns one metric against another: the mean of each setting, and the settings that no other one beats in both.

    Raises InputError if no job has both metrics.
    """
    others = set(second.jobs)
    shared = [job for job in first.jobs if job in others]
    if not shared:
        raise InputError("--kind pair: no job has a value of both metrics")
    settings: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for job in shared:
        a, b = first.jobs.index(job), second.jobs.index(job)
        setting = tuple(texts[a] for texts in first.texts.values())
        settings.setdefault(setting, []).append((float(first.values[a]), float(second.values[b])))
    means = np.array([np.mean(runs, axis=0) for runs in settings.values()])  # (settings, 2)
    signs = np.array([1.0 if each.minimise else -1.0 for each in (first, second)])
    front = np.array(sorted(means[unbeaten(means * signs)].tolist()))
    axes = [metric_axis(each.label, [means[:, n]], log=log) for n, each in enumerate((first, second))]
    lines = [
        Line("", means[:, 0], means[:, 1], faint=True, joined=False),
        Line("settings that no other one beats in both", front[:, 0], front[:, 1]),
    ]
    ways = ", ".join(f"{'lower' if each.minimise else 'higher'} {each.label}" for each in (first, second))
    counts = np.array([len(runs) for runs in settings.values()], np.float64)
    each = f"Dots: {count_of(len(means), 'setting')}, {mean_in_words(counts)} each; better is {ways}"
    return Plot(title, [Lines(axes[0], axes[1], lines)], notes_of(first, each=each))


def history(results: Results, *, title: str, log: bool | None = None) -> Plot:
    """Returns the mean of each setting that has all of its runs, by its first job, and the best so far.

    The best is of settings with enough runs, so that the last one is the best setting of the sweep.
    """
    settings = runs_of_settings(results)
    several = any(len(runs) > 1 for runs in settings.values())
    lost = set(zip(*own_texts(results.lost), strict=True)) if several else set()
    shown = [runs for setting, runs in settings.items() if setting not in lost] or list(settings.values())
    counts = np.array([len(runs) for runs in shown])
    at = np.array([results.jobs[runs[0]] for runs in shown], np.float64)
    means = np.array([results.values[runs].mean() for runs in shown], np.float64)
    enough = has_enough_runs(counts, int(counts.max()))
    best = (np.minimum if results.minimise else np.maximum).accumulate(means[enough])
    better = np.diff(best, prepend=np.nan) != 0
    steps_x, steps_y = at[enough][better], best[better]
    if at[-1] > steps_x[-1]:  # the last step holds to the end
        steps_x, steps_y = np.append(steps_x, at[-1]), np.append(steps_y, best[-1])
    lines = [
        Line("settings" if several else "", at, means, faint=True, joined=False),
        Line("best so far", steps_x, steps_y, steps=True),
    ]
    x = Axis("first job of each setting" if several else "job", integer=True)
    panel = Lines(x, metric_axis(results.label, [means], log=log), lines)
    if not several:
        return Plot(title, [panel], notes_of(results, each=f"Dots: {count_of(len(means), 'run')}"))
    notes = [f"Dots: {count_of(len(means), 'setting')}, {mean_in_words(counts.astype(np.float64))} each."]
    if not enough.all():
        few = count_of(int(enough.sum()), "setting")
        notes.append(f"Best so far: of {few} with {int(counts[enough].min())} or more runs.")
    if missing := len({*settings, *lost}) - len(shown):
        notes.append(f"{count_of(missing, 'setting')} without all runs {'is' if missing == 1 else 'are'} left out.")
    return Plot(title, [panel], [*notes, *([results.note] if results.note else [])])


def own_texts(texts: Mapping[str, list[str]]) -> list[list[str]]:
    """Returns the values of the keys that are part of a setting."""
    return [values for key, values in texts.items() if key not in NOT_ITS_OWN]


def runs_of_settings(results: Results) -> dict[tuple[str, ...], list[int]]:
    """Returns the indices of the runs of each setting, by job; where no key differs, each run is a setting of its own.

    So is each run of a population.
    """
    columns = own_texts(results.texts)
    order = np.argsort(results.jobs).tolist()
    if results.population or not columns:
        return {(str(run),): [run] for run in order}
    found: dict[tuple[str, ...], list[int]] = {}
    for run in order:
        found.setdefault(tuple(column[run] for column in columns), []).append(run)
    return found


def importance(results: Results, *, title: str) -> Plot:
    """Returns bars of the share of the rank variance that each key explains.

    Raises InputError if only seeds vary, or if there are fewer than FEW runs.
    """
    if not results.texts:
        raise InputError(
            f"--kind importance: nothing but {results.repeated} differs between the jobs; try --kind distribution"
        )
    if len(results.values) < FEW:
        note = f" ({results.note.rstrip('.')})" if results.note else ""
        runs = count_of(len(results.values), "run")
        raise InputError(f"--kind importance: has {runs}, too few to rank the keys{note}; give {FEW} or more")
    found = by_weight(results)
    rest = max(0.0, 1 - sum(share for _, share in found))
    names = [*(key for key, _ in found), f"{results.repeated}, and keys together"]
    values = np.array([*(share for _, share in found), rest])
    texts = [f"{value:.0%}" for value in values.tolist()]
    bars = Bars("share of the variance", names, values, texts, frozenset(names[-1:]))
    each = f"{len(results.values)} runs, ranked by {results.label}; epsilon squared of each key by itself"
    return Plot(title, [bars], notes_of(results, each=each))


def distribution(results: Results, *, title: str, log: bool | None = None) -> Plot:
    """Returns the distribution of the metric: a bar for each of a few distinct values, otherwise a histogram.

    The mean, the median and the best value are marked.
    """
    values = results.values
    best = values.min() if results.minimise else values.max()
    marks = [("mean", float(values.mean())), ("median", float(np.median(values))), ("best", float(best))]
    deviation = f", standard deviation {in_few_digits(values.std(ddof=1), 3)}" if len(values) > 1 else ""
    each = f"{count_of(len(values), 'run')}{deviation}"
    different, counts = np.unique(values, return_counts=True)
    if len(different) <= FEW_VALUES and (len(values) > len(different) or len(values) == 1):
        said = ", ".join(f"{name} {in_few_digits(value)}" for name, value in marks)
        texts = [count_of(count, "run") for count in counts.tolist()]
        bars = Bars(f"runs, by {results.label}", distinct_texts(different), counts / counts.max(), texts)
        return Plot(title, [bars], notes_of(results, each=each, more=[f"{said[0].upper()}{said[1:]}."]))
    axis = metric_axis(results.label, [values], log=log)
    low, high = axis.limits or (float(values.min()), float(values.max()))
    shown = values[(values >= low) & (values <= high)]
    edges = 10 ** edges_of(np.log10(shown)) if axis.log else edges_of(shown)
    edges[0], edges[-1] = min(edges[0], shown.min()), max(edges[-1], shown.max())  # powers of ten are rounded
    more = [f"Beyond the axis: {count_of(len(values) - len(shown), 'run')}."] if len(shown) < len(values) else []
    bins = np.histogram(shown, edges)[0].astype(np.int64)
    inside = [(name, value) for name, value in merged(marks, edges, log=axis.log) if edges[0] <= value <= edges[-1]]
    panel = Histogram(axis._replace(limits=None), "runs", edges, bins, inside)
    return Plot(title, [panel], notes_of(results, each=each, more=more))


def distinct_texts(values: Values) -> list[str]:
    """Returns the values with equal decimals, as few as tell them apart."""
    for digits in range(3, 16):
        texts = even_digits(values.tolist(), digits=digits)
        if len(set(texts)) == len(texts):
            return texts
    return [repr(value) for value in values.tolist()]


def merged(marks: Sequence[tuple[str, float]], edges: Values, *, log: bool) -> list[tuple[str, float]]:
    """Returns the marks, those that would cover each other as one: `mean, median`."""
    ends = np.log10(edges) if log else edges
    found: list[tuple[str, float]] = []
    for name, value in marks:
        place = np.log10(value) if log and value > 0 else value
        for number, (other, at) in enumerate(found):
            if abs(place - (np.log10(at) if log and at > 0 else at)) < 0.005 * (ends[-1] - ends[0]):
                found[number] = (f"{other}, {name}", at)
                break
        else:
            found.append((name, value))
    return found


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

    If there are more than LEVELS distinct numbers, they are grouped by rank. Jobs that lack the key are a group.
    """
    names = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    found = np.array([names[text] for text in texts], np.int64)
    if len(names) > LEVELS and are_numbers(names):
        given = np.array([bool(text) for text in texts])
        ranks = ranked(np.array([float(text) for text in texts if text]))
        found[~given] = LEVELS
        found[given] = np.minimum((ranks / len(ranks) * LEVELS).astype(np.int64), LEVELS - 1)
        return np.unique(found, return_inverse=True)[1].astype(np.int64)
    return found


def ranked(values: Values) -> Values:
    """Returns the rank of each value, (n,), from 0. Equal values share their mean rank."""
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values)[order]
    edges = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), len(ordered)]
    ranks = np.empty(len(ordered))
    for start, end in pairwise(edges):
        ranks[order[start:end]] = (start + end - 1) / 2
    return ranks
