"""Learning curves of single runs, and of groups of runs as their mean and band."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from ch12cli.errors import InputError
from ch12cli.plots.plot import SERIES, Axis, Line, Lines, Plot, Values
from ch12cli.plots.scale import is_wide

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
}
PERCENTILES = (5.0, 95.0)
LOSS_SPREAD = 300  # ratio of a curve's maximum to its minimum from which its axis is logarithmic


def learning_curves(
    groups: Sequence[tuple[str, Sequence[EpochRows]]], *, title: str, metric: str | None = None
) -> Plot:
    """Returns the plot of the loss and another metric by epoch.

    groups: the label of each line, and the runs it averages; several runs also get a band. metric: a single column of
    metrics.csv to plot instead. Raises InputError if no run has that column, or if no run has a complete epoch.
    """
    nonempty = [(name, [rows for rows in runs if rows]) for name, runs in groups]
    drawn = [(name, runs) for name, runs in nonempty if runs]
    columns = list(dict.fromkeys(column for _, runs in drawn for rows in runs for column in rows[0]))
    if not drawn:
        raise InputError("no run has a whole epoch in its metrics.csv: there is no curve to draw")
    if metric is not None and metric not in columns[1:]:
        raise InputError(f"--metric {metric}: the runs have {', '.join(columns[1:])}")
    dropped = len(drawn) - SERIES
    shown = [[metric]] if metric else columns_of_panels(columns, several=len(drawn) > 1)
    panels = [panel(drawn[:SERIES], wanted) for wanted in shown]
    notes = []
    several = any(len(runs) > 1 for _, runs in drawn[:SERIES])
    if several:
        notes.append("Lines: mean of the runs.")
    if dropped > 0:
        notes.append(f"The first {SERIES} of {len(drawn)}.")
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


def panel(groups: Sequence[tuple[str, Sequence[EpochRows]]], columns: Sequence[str]) -> Lines:
    lines = []
    for name, runs in groups:
        for column in columns:
            part = column.partition("_")[0]
            label = name if len(groups) > 1 else PART_NAMES.get(part, column)
            lines.append(mean_line(label, [column_of(rows, column) for rows in runs]))
    part, _, metric = columns[0].partition("_")
    label = AXIS_LABELS.get(metric or part, metric or part)
    if len(groups) > 1 and part in PART_NAMES:
        label = f"{PART_NAMES[part]} {label}"
    log = metric == "loss" and is_wide([float(v) for line in lines for v in line.y], spread=LOSS_SPREAD)
    return Lines(Axis("epoch", integer=True), Axis(label, log=log), lines)


def column_of(rows: EpochRows, column: str) -> Values:
    """Returns a column of a metrics.csv, (epochs,), with NaN for missing values."""
    return np.array([row.get(column, np.nan) for row in rows], np.float64)


def mean_line(name: str, curves: Sequence[Values]) -> Line:
    """Returns one curve unchanged, or several as their mean and percentile band.

    A run that ended early counts only up to its last epoch.
    """
    length = max(map(len, curves))
    table = np.full((len(curves), length), np.nan)
    for row, curve in zip(table, curves, strict=True):
        row[: len(curve)] = curve
    table[~np.isfinite(table)] = np.nan
    epochs = np.arange(1, length + 1, dtype=np.float64)
    if len(curves) == 1:
        return Line(name, epochs, table[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an epoch without any finite value becomes a gap
        low, high = np.nanpercentile(table, PERCENTILES, axis=0)
        mean = np.nanmean(table / len(curves), axis=0) * len(curves)  # divide first, as the sum may overflow
    return Line(f"{name} ({len(curves)} runs)", epochs, mean, low, high)
