"""Learning curves of single runs, and of groups of runs as their mean and band."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ch12cli.catalogue.formatting import count_of
from ch12cli.errors import InputError
from ch12cli.plots.plot import SERIES, Axis, EdgeMark, Line, Lines, Plot, Values
from ch12cli.plots.scale import FLAT_CURVE, beyond, metric_axis

EpochRows = Sequence[Mapping[str, float]]  # rows of a metrics.csv

PART_NAMES = {"train": "training", "valid": "validation"}
AXIS_LABELS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "auc": "AUC",
    "r2": "R²",
    "mae": "mean absolute error",
    "lr": "learning rate",
    "seconds": "seconds",
    "grad_norm": "norm of the gradient",
    "weight_norm": "norm of the weights",
}
PERCENTILES = (5.0, 95.0)


class Curve(NamedTuple):
    """The epochs of a run, and the epoch in which it diverged, if it did."""

    rows: EpochRows
    diverged: int | None = None


class CurveGroup(NamedTuple):
    """The runs that one line stands for."""

    name: str
    curves: list[Curve]

    @property
    def rows(self) -> list[EpochRows]:
        return [curve.rows for curve in self.curves if curve.rows]

    @property
    def counted(self) -> list[EpochRows]:
        """The runs that did not diverge; if every run did, all of them until the first one ended."""
        shortest = min((len(rows) for rows in self.rows), default=0)
        whole = [curve.rows for curve in self.curves if curve.rows and curve.diverged is None]
        return whole or [rows[:shortest] for rows in self.rows]

    @property
    def is_carried(self) -> bool:
        """Whether runs ended before others, so that their last values are carried on."""
        return len({len(rows) for rows in self.counted}) > 1


def learning_curves(
    groups: Sequence[tuple[str, Sequence[EpochRows]]],
    *,
    title: str,
    metric: str | None = None,
    diverged: Sequence[Sequence[int | None]] | None = None,
    log: bool | None = None,
) -> Plot:
    """Returns the plot of the loss and another metric by epoch.

    groups: the label of each line, and the runs it averages; several runs also get a band. metric: columns of
    metrics.csv to plot instead, with commas between them. diverged: for each run of each group, the epoch in which it
    diverged, if it did; such runs are marked at the edge, count in no mean of others, and never stretch an axis. log:
    whether the metrics' axes are logarithmic. Raises InputError if no run has that column, or if no run has a complete
    epoch.
    """
    epochs = diverged or [[None] * len(runs) for _, runs in groups]
    found = [
        CurveGroup(name, [Curve(rows, at) for rows, at in zip(runs, each, strict=True) if rows or at is not None])
        for (name, runs), each in zip(groups, epochs, strict=True)
    ]
    drawn = [group for group in found if any(curve.rows for curve in group.curves)]
    columns = list(dict.fromkeys(column for group in drawn for rows in group.rows for column in rows[0]))
    if not drawn:
        raise InputError("no run has a whole epoch in its metrics.csv: there is no curve to draw")
    for name in [] if metric is None else metric.split(","):
        if name not in columns[1:]:
            said = f"the runs have {', '.join(columns[1:])}"
            if name.endswith("_norm"):
                raise InputError(f"{name} was not recorded: train with record_norms=true; {said}")
            raise InputError(f"--metric {name}: {said}")
    dropped = len(drawn) - SERIES
    shown = [[name] for name in metric.split(",")] if metric else columns_of_panels(columns, several=len(drawn) > 1)
    panels = [panel(drawn[:SERIES], wanted, log=log) for wanted in shown]
    notes = []
    several = any(len(group.counted) > 1 for group in drawn[:SERIES])
    if several:
        carried = any(group.is_carried for group in drawn[:SERIES])
        notes.append(f"Lines: mean of the runs{'; a run that ended early keeps its last value' * carried}.")
    if dropped > 0:
        notes.append(f"The first {SERIES} of {len(drawn)}.")
    total = sum(len(group.curves) for group in drawn[:SERIES])
    if lost := sum(curve.diverged is not None for group in drawn[:SERIES] for curve in group.curves):
        notes.append(f"× at the edge: {lost} of {count_of(total, 'run')} diverged in that epoch.")
    if hidden := sum(beyond([line.y for line in panel.lines], panel.y) for panel in panels):
        notes.append(f"Beyond the axis: {count_of(hidden, 'value')}.")
    return Plot(title, list(panels), notes, ["Bands: 5th to 95th percentile."] if several else [])


def columns_of_panels(columns: Sequence[str], *, several: bool) -> list[list[str]]:
    """Returns the columns of each panel: the loss, and the first other metric.

    With several groups, only one part is shown: validation if there is any.
    """
    metrics = list(dict.fromkeys(c.partition("_")[2] for c in columns if c.startswith(("train_", "valid_"))))
    found = []
    for metric in metrics[:2]:
        present = [f"{part}_{metric}" for part in PART_NAMES if f"{part}_{metric}" in columns]
        found.append(present[-1:] if several else present)
    return found


def panel(groups: Sequence[CurveGroup], columns: Sequence[str], *, log: bool | None = None) -> Lines:
    lines, finite = [], []
    for group in groups:
        for column in columns:
            part = column.partition("_")[0]
            label = group.name if len(groups) > 1 else PART_NAMES.get(part, "")  # else the axis names the only line
            line = mean_line(label, [column_of(rows, column) for rows in group.counted])
            lost = sum(curve.diverged is not None for curve in group.curves)
            if lost and len(group.curves) > 1:
                line = replace(line, name=f"{line.name}, {lost} diverged" if lost < len(group.curves) else line.name)
            lines.append(line)
            finite += [line] if lost < len(group.curves) else []
    part, _, metric = columns[0].partition("_")
    label = AXIS_LABELS.get(columns[0]) or AXIS_LABELS.get(metric or part, metric or part)
    if len(groups) > 1 and part in PART_NAMES:
        label = f"{PART_NAMES[part]} {label}"
    heights = [v for line in finite or lines for v in (line.y, line.low, line.high) if v is not None]
    y = metric_axis(label, heights, log=log, flat=FLAT_CURVE)
    every = np.concatenate([line.y for line in lines])
    if y.limits is None and finite and np.isfinite(np.concatenate(heights)).any():
        low, high = (float(edge(np.concatenate(heights))) for edge in (np.nanmin, np.nanmax))
        if np.nanmax(every) > high or np.nanmin(every) < low:  # a diverged run does not stretch the axis
            y = y._replace(limits=(low, high))
    epochs = [curve.diverged for group in groups for curve in group.curves if curve.diverged is not None]
    counts = {epoch: epochs.count(epoch) for epoch in sorted(set(epochs))}
    high_is_bad = metric in ("loss", "mae", "norm", "")
    edges = tuple(EdgeMark(float(epoch), str(n), high_is_bad) for epoch, n in counts.items())
    longest = max(float(max(map(len, group.rows))) for group in groups)
    x = Axis("epoch", integer=True, limits=(1.0, max([longest, *map(float, epochs)])))
    return Lines(x, y, lines, edges)


def column_of(rows: EpochRows, column: str) -> Values:
    """Returns a column of a metrics.csv, (epochs,), with NaN for missing values."""
    return np.array([row.get(column, np.nan) for row in rows], np.float64)


def mean_line(name: str, curves: Sequence[Values]) -> Line:
    """Returns one curve unchanged, or several as their mean and percentile band.

    The last value of a run that ended early is carried on, because its weights no longer change.
    """
    length = max(map(len, curves))
    table = np.array([np.pad(curve, (0, length - len(curve)), "edge") for curve in curves])
    table[~np.isfinite(table)] = np.nan
    epochs = np.arange(1, length + 1, dtype=np.float64)
    if len(curves) == 1:
        return Line(name, epochs, table[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an epoch without any finite value becomes a gap
        low, high = np.nanpercentile(table, PERCENTILES, axis=0)
        mean = np.nanmean(table / len(curves), axis=0) * len(curves)  # divide first, as the sum may overflow
    return Line(f"{name} ({len(curves)} runs)" if name else f"{len(curves)} runs", epochs, mean, low, high)
