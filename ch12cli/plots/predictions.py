"""Plots of what a run's network predicts: confusion matrix, boundary, regression line, ROC, calibration, residuals."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ch12cli.catalogue.formatting import count_of
from ch12cli.errors import InputError
from ch12cli.files.predictions.predictions_npz import DataFacts, FeatureCurve, Plane, PredictedPart, RunPredictions
from ch12cli.plots.labels import in_few_digits
from ch12cli.plots.plot import Axis, Field, Grid, Line, Lines, Plot, Values

PART_WORDS = {"train": "training", "valid": "validation", "test": "test"}
HELD_OUT = ("valid", "test")
MANY_CLASSES = 12  # from so many on, a confusion matrix leaves its zeros out
BINS = 10  # of predicted probabilities, with as many rows each
QUANTILE = 1.959964  # of the normal distribution, for a 95 % interval

Parts = Mapping[str, PredictedPart]


def boundary(plane: Plane, facts: DataFacts, *, title: str) -> Plot:
    """Returns a plot of the predicted class over the plane of two features, with the rows of the data."""
    x, y = (feature_axis(name, facts) for name in plane.features)
    names, points = facts.class_names, [(each.part, each.x, each.y, each.classes) for each in plane.points]
    field = Field(x, y, plane.x_range, plane.y_range, names, plane.found, plane.sure, points)
    present = [points.part for points in plane.points]
    held_out = [PART_WORDS[name] for name in HELD_OUT if name in present]
    words = "parts, which were" if len(held_out) > 1 else "part, which was"
    legend = [f"Rows outlined in black: the {' and '.join(held_out)} {words} not trained on."] if held_out else []
    return Plot(title, [field], notes_on_others(plane.others), legend)


def regression_line(curve: FeatureCurve, facts: DataFacts, *, title: str) -> Plot:
    """Returns a plot of a regression's output along one feature, with the rows of the data."""
    lines = [Line("network", curve.x, curve.y)]
    lines += [Line(f"{PART_WORDS[each.part]} rows", each.x, each.y, joined=False) for each in curve.points]
    return Plot(
        title,
        [Lines(feature_axis(curve.feature, facts), Axis(facts.target_name), lines)],
        notes_on_others(curve.others),
    )


def notes_on_others(others: int) -> list[str]:
    """Returns a note on the features that are not shown; none if all are."""
    return [f"The other {others} feature{'s' * (others > 1)} at the training rows' mean."] if others else []


def feature_axis(feature: str, facts: DataFacts) -> Axis:
    """Returns the axis of a feature, with the unit of the data."""
    label = feature.replace("_", " ")
    return Axis(f"{label} ({facts.unit})" if facts.unit else label)


def confusion(parts: Parts, facts: DataFacts, *, title: str, place: str) -> Plot:
    """Returns the confusion matrix of each part. Raises InputError for a regression. place: of the run."""
    if not facts.class_names:
        raise InputError(f"{place}: has no classes, so no confusion matrix; try --kind line")
    names, panels = facts.class_names, list[Grid]()
    for part_name, part in parts.items():
        numbers = part.actual.astype(np.int64) * len(names) + part.found
        found = np.bincount(numbers, minlength=len(names) ** 2).reshape(len(names), len(names))
        counts = found.astype(np.float64)
        few = len(names) <= MANY_CLASSES
        panels.append(
            Grid(
                Axis("true class", names=names),
                Axis("predicted class", names=names),
                counts,
                [[str(count) if count or few else "" for count in row] for row in found.tolist()],
                f"{PART_WORDS[part_name]} part: {count_of(len(part.rows), 'row')}",
                counts / np.maximum(counts.sum(1, keepdims=True), 1),
                bar=("0 %", "50 %", "100 %"),
            )
        )
    return Plot(title, list(panels), [], ["Shade: share of the true class's rows."])


def positive_class(facts: DataFacts, kind: str, place: str) -> str:
    """Returns the name of the positive class. Raises InputError unless there are two classes."""
    if (classes := len(facts.class_names)) != 2:
        has = f"{classes} classes; try --kind confusion" if classes else "none; try --kind residuals"
        raise InputError(f"{place}: --kind {kind} shows two classes, and its data have {has}")
    return facts.class_names[1]


def roc(parts: Parts, facts: DataFacts, *, title: str, place: str) -> Plot:
    """Returns the ROC curve of a classifier of two classes for each part. Source: Fawcett (2006)."""
    positive, lines = positive_class(facts, "roc", place), list[Line]()
    for name, part in parts.items():
        false, true = roc_curve(part.outputs[:, 1], part.actual == 1)
        area = float(np.trapezoid(true, false))
        lines.append(Line(f"{PART_WORDS[name]} part, {count_of(len(part.rows), 'row')}: AUC {area:.4f}", false, true))
    lines.append(Line("chance", np.array([0.0, 1.0]), np.array([0.0, 1.0])))
    x, y = Axis("false positive rate", limits=(0, 1)), Axis("true positive rate", limits=(0, 1))
    return Plot(title, [Lines(x, y, lines)], [f"Positive: {positive}. Each point is a threshold of its probability."])


def roc_curve(scores: Values, positive: NDArray[np.bool_]) -> tuple[Values, Values]:
    """Returns the false and the true positive rates as the threshold falls, (thresholds + 1,) each."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores pass a threshold together
    true, false = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    with np.errstate(invalid="ignore"):
        return np.append(0.0, false / (~positive).sum()), np.append(0.0, true / positive.sum())


def calibration(parts: Parts, facts: DataFacts, *, title: str, place: str) -> Plot:
    """Returns how often the positive class occurs at each predicted probability."""
    positive, lines, errors = positive_class(facts, "calibration", place), list[Line](), list[str]()
    for name, part in parts.items():
        bins = calibration_bins(part.outputs[:, 1], part.actual == 1)
        label = f"{PART_WORDS[name]} part, {count_of(len(part.rows), 'row')}"
        lines.append(Line(label, bins.predicted, bins.observed, bins.low, bins.high, bars=True))
        gap = float((bins.counts * np.abs(bins.predicted - bins.observed)).sum() / bins.counts.sum())
        errors.append(f"{PART_WORDS[name]} {gap:.3f}")
    lines.append(Line("calibrated", np.array([0.0, 1.0]), np.array([0.0, 1.0])))
    axes = Axis(f"predicted probability of {positive}", limits=(0, 1)), Axis("observed share", limits=(0, 1))
    note = (
        f"Up to {BINS} bins with as many rows each; bars: 95 % intervals (Wilson). "
        f"Expected calibration error: {', '.join(errors)}."
    )
    return Plot(title, [Lines(*axes, lines)], [note])


class CalibrationBins(NamedTuple):
    """Bins of predicted probabilities, (bins,) each. low, high: the 95 % interval of the observed share."""

    predicted: Values
    observed: Values
    low: Values
    high: Values
    counts: Values


def calibration_bins(scores: Values, positive: NDArray[np.bool_], bins: int = BINS) -> CalibrationBins:
    """Returns the mean score and the share of positive rows in bins of the rows in the order of their scores.

    Rows with equal scores share a bin. Source of the interval: Wilson (1927).
    """
    order = np.argsort(scores, kind="stable")
    edges = np.searchsorted(scores[order], scores[order][(np.arange(1, bins) * len(scores)) // bins], side="left")
    groups = [group for group in np.split(order, np.unique(edges)) if len(group)]
    n = np.array([len(group) for group in groups], np.float64)
    observed = np.array([positive[group].mean() for group in groups])
    middle = (observed + QUANTILE**2 / (2 * n)) / (1 + QUANTILE**2 / n)
    half = QUANTILE / (1 + QUANTILE**2 / n) * np.sqrt(observed * (1 - observed) / n + QUANTILE**2 / (4 * n**2))
    predicted = np.array([scores[group].mean() for group in groups])
    low, high = np.minimum(middle - half, observed), np.maximum(middle + half, observed)
    return CalibrationBins(predicted, observed, np.clip(low, 0, 1), np.clip(high, 0, 1), n)


def residuals(parts: Parts, facts: DataFacts, *, title: str, place: str) -> Plot:
    """Returns the residuals of a regression, true less predicted, over the predictions."""
    if facts.class_names:
        raise InputError(f"{place}: is a classifier, so it has no residuals; try --kind confusion")
    lines = []
    for name, part in parts.items():
        predicted = part.outputs[:, 0]
        left = part.actual - predicted
        mean, deviation = float(left.mean()), float(left.std())
        said = f"mean {in_few_digits(mean, 3)}, deviation {in_few_digits(deviation, 3)}"
        label = f"{PART_WORDS[name]} part, {count_of(len(left), 'row')}: {said}"
        lines.append(Line(label, predicted, left, joined=False))
    ends = np.array([min(line.x.min() for line in lines), max(line.x.max() for line in lines)])
    lines.append(Line("no error", ends, np.zeros(2)))
    target = facts.target_name
    return Plot(title, [Lines(Axis(f"predicted {target}"), Axis(f"true less predicted {target}"), lines)])


PlotOfParts = Callable[..., Plot]  # (parts, facts, *, title, place)
PLOTS_OF_PARTS: Mapping[str, PlotOfParts] = {
    "confusion": confusion,
    "roc": roc,
    "calibration": calibration,
    "residuals": residuals,
}


def chosen_parts(parts: Parts, split: str | None) -> Parts | None:
    """Returns the parts that --split names; None if one is not there. By default: the test part, else the last one."""
    if split is None:
        last = list(parts)[-1:]
        return {name: parts[name] for name in last} or None
    if split == "all":
        return parts or None
    return {split: parts[split]} if split in parts else None


def recorded_plot(
    found: RunPredictions, kind: str, *, title: str, split: str | None, features: str | None, place: Path
) -> Plot | None:
    """Returns a plot of recorded predictions; None if they do not have what it shows.

    kind: that of `ch12 plot`; split, features: of its options. Raises InputError if the kind does not suit the run.
    """
    if kind == "boundary" and found.plane is not None and features in (None, ",".join(found.plane.features)):
        return boundary(found.plane, found.facts, title=title)
    if kind == "line" and found.curve is not None and features in (None, found.curve.feature):
        return regression_line(found.curve, found.facts, title=title)
    if kind in PLOTS_OF_PARTS and (parts := chosen_parts(found.parts, split)) is not None:
        return PLOTS_OF_PARTS[kind](parts, found.facts, title=title, place=str(place))
    return None
