"""Parallel coordinates: a line for each job of a sweep, across its keys and the metric."""

import numpy as np

from ch12cli.catalogue.formatting import count_of
from ch12cli.errors import InputError
from ch12cli.plots.labels import in_few_digits, shorten_middle
from ch12cli.plots.plot import Axis, Parallel, ParallelAxis, Plot, Values
from ch12cli.plots.scale import AxisScale, metric_axis, with_absent
from ch12cli.plots.sweeps import ABSENT, KeyPositions, Results, by_weight, notes_of, positions_of, ranked

MOST_AXES = 8  # keys beside the metric
MOST_TICKS = 12  # values of a key that are all named
UNEVEN = 8  # ratio of the widest gap between values to the narrowest, from which each has a place of its own
LONGEST = 14  # letters of a tick
JITTER = 0.04  # share of an axis over which jobs with the same value are spread


def parallel_coordinates(results: Results, *, title: str, log: bool | None = None) -> Plot:
    """Returns a line for each job across the keys, the most important last, and the metric; better jobs are brighter.

    Raises InputError if only seeds differ.
    """
    if not results.texts:
        raise InputError(
            f"--kind parallel: nothing but {results.repeated} differs between the jobs; try --kind distribution"
        )
    keys = [key for key, _ in by_weight(results)][:MOST_AXES][::-1]
    axes, columns = list[ParallelAxis](), list[Values]()
    for key in keys:
        places = positions_of(results, key)
        uneven = is_uneven(places)
        at = {name: float(number) for number, name in enumerate(places.names)} if uneven else places.at
        axis = Axis(key) if uneven else places.axis._replace(names=None)
        scale = AxisScale.over([np.array(list(at.values()))], axis)
        shares = scale.share(np.array(list(at.values()))).tolist()
        ticks = [(share, shorten_middle(name or ABSENT, LONGEST)) for share, name in zip(shares, at, strict=True)]
        ends = (min(ticks)[1], max(ticks)[1])
        if len(ticks) > MOST_TICKS and places.axis.names is None:
            ticks = round_ticks(scale, axis)
        step = max(1, -(-len(ticks) // MOST_TICKS))
        axes.append(ParallelAxis(key, tuple(ticks[::step]), ends))
        spread = JITTER * (len(at) <= MOST_TICKS)
        columns.append(scale.share(np.array([at[text] for text in results.texts[key]])) + jitter(results, spread))
    axis = metric_axis(results.label, [results.values], log=log)
    scale = AxisScale.over([results.values], axis)
    values = np.clip(results.values, scale.low, scale.high)
    ends = (in_few_digits(scale.low), in_few_digits(scale.high))
    axes.append(ParallelAxis(results.label, tuple(round_ticks(scale, axis)), ends))
    columns.append(scale.share(values))
    order = np.argsort(results.values, kind="stable")
    goodness = ranked(-results.values if results.minimise else results.values) / max(1, len(order) - 1)
    names = [f"job {job}: {value:.4g}" for job, value in zip(results.jobs, results.values.tolist(), strict=True)]
    way = "lowest" if results.minimise else "highest"
    panel = Parallel(
        tuple(axes), np.array(columns).T, goodness, names, f"the brighter, the better: {results.label}, by rank"
    )
    each = f"{count_of(len(order), 'job')}; the best has the {way} {results.label}"
    more = [f"The {MOST_AXES} most important of {len(results.texts)} keys."] if len(results.texts) > MOST_AXES else []
    return Plot(title, [panel], notes_of(results, each=each, more=more))


def round_ticks(scale: AxisScale, axis: Axis) -> list[tuple[float, str]]:
    """Returns round values on an axis: (share of the axis, text) each."""
    ticks, texts = with_absent(scale.ticks(6), axis)
    return list(zip(scale.share(np.array(ticks)).tolist(), texts, strict=True))


def is_uneven(places: KeyPositions) -> bool:
    """Returns whether a few values lie so unevenly on their axis that some could not be told apart."""
    if places.axis.names is not None or not 2 < len(places.axis.ticks) <= len(places.names) <= MOST_TICKS:
        return False
    numbers = np.array(places.axis.ticks)
    gaps = np.diff(np.log10(numbers) if places.axis.log else numbers)
    return bool(gaps.max() > UNEVEN * gaps.min())


def jitter(results: Results, width: float) -> Values:
    """Returns a small shift for each job, the same in every drawing, (jobs,)."""
    return ((np.array(results.jobs, np.int64) * 7919 % 101) / 100 - 0.5) * width
