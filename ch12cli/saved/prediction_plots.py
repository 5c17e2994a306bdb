"""Plots of what a saved run's network predicts: ROC and calibration of two classes, residuals, pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ch12cli.errors import InputError
from ch12cli.plots.plot import Axis, Line, Lines, Pictures, Plot, Values
from ch12cli.run.task import tensors
from ch12cli.run.train import Job
from ch12cli.saved.evaluate import evaluated_parts, loaded_job, predictions
from ch12cli.training.loop import EVALUATED
from ch12cli.training.metrics import probabilities

PART_WORDS = {"train": "training", "valid": "validation", "test": "test"}
BINS = 10  # of predicted probabilities, with as many rows each
QUANTILE = 1.959964  # of the normal distribution, for a 95 % interval
MOST_PICTURES = 24


class Predicted(NamedTuple):
    """The predictions of a part. shares: probabilities, (rows, classes); y: the true classes or values, (rows,)."""

    part: str
    shares: Values
    y: NDArray[np.generic]


def outputs_of_part(job: Job, name: str) -> torch.Tensor:
    """Returns the network's outputs for the rows of a part, (rows, outputs)."""
    part = tensors(getattr(job.task.data, name), job.task, dtype=job.network.dtype, device=job.device)
    rows = max(1, EVALUATED // max(1, part.values))
    return torch.cat([predictions(job.network, x) for x, _ in part.blocks(rows, runs=None)])


def class_shares(job: Job, split: str | None) -> Iterator[Predicted]:
    """Yields the predicted probabilities of the classes for each part."""
    for name in evaluated_parts(job.task.data, split):
        shares = probabilities(outputs_of_part(job, name), output=job.task.output).cpu().double().numpy()
        yield Predicted(name, shares, getattr(job.task.data, name).y.reshape(-1))


def require_two_classes(job: Job, directory: Path, kind: str) -> str:
    """Returns the name of the positive class. Raises InputError unless there are two classes."""
    if job.task.classes != 2:
        has = f"{job.task.classes} classes; try --kind confusion" if job.task.classes else "none; try --kind residuals"
        raise InputError(f"{directory}: --kind {kind} shows two classes, and its data have {has}")
    return str((job.task.data.table.class_names or ("0", "1"))[1])


def roc(directory: Path, *, title: str, split: str | None, best: bool, trust: bool) -> tuple[Plot, list[str]]:
    """Returns the ROC curve of a classifier of two classes for each part, and messages. Source: Fawcett (2006)."""
    with loaded_job(directory, best=best, trust=trust) as (job, _, messages):
        positive = require_two_classes(job, directory, "roc")
        lines = []
        for name, shares, y in class_shares(job, split):
            false, true = roc_curve(shares[:, 1], y == 1)
            area = float(np.trapezoid(true, false))
            lines.append(Line(f"{PART_WORDS[name]} part, {len(y):,} rows: AUC {area:.4f}", false, true))
        lines.append(Line("chance", np.array([0.0, 1.0]), np.array([0.0, 1.0])))
        x, y_axis = Axis("false positive rate", limits=(0, 1)), Axis("true positive rate", limits=(0, 1))
        note = f"Positive: {positive}. Each point is a threshold of its probability."
        return Plot(title, [Lines(x, y_axis, lines)], [note]), messages


def roc_curve(scores: Values, positive: NDArray[np.bool_]) -> tuple[Values, Values]:
    """Returns the false and the true positive rates as the threshold falls, (thresholds + 1,) each."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores pass a threshold together
    true, false = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    with np.errstate(invalid="ignore"):
        return np.append(0.0, false / (~positive).sum()), np.append(0.0, true / positive.sum())


def calibration(directory: Path, *, title: str, split: str | None, best: bool, trust: bool) -> tuple[Plot, list[str]]:
    """Returns how often the positive class occurs at each predicted probability, and messages."""
    with loaded_job(directory, best=best, trust=trust) as (job, _, messages):
        positive = require_two_classes(job, directory, "calibration")
        lines, errors = [], []
        for name, shares, y in class_shares(job, split):
            bins = calibration_bins(shares[:, 1], y == 1)
            label = f"{PART_WORDS[name]} part, {len(y):,} rows"
            lines.append(Line(label, bins.predicted, bins.observed, bins.low, bins.high, bars=True))
            gap = float((bins.counts * np.abs(bins.predicted - bins.observed)).sum() / bins.counts.sum())
            errors.append(f"{PART_WORDS[name]} {gap:.3f}")
        lines.append(Line("calibrated", np.array([0.0, 1.0]), np.array([0.0, 1.0])))
        axes = Axis(f"predicted probability of {positive}", limits=(0, 1)), Axis("observed share", limits=(0, 1))
        notes = [
            f"Up to {BINS} bins with as many rows each; bars: 95 % intervals (Wilson). "
            f"Expected calibration error: {', '.join(errors)}."
        ]
        return Plot(title, [Lines(*axes, lines)], notes), messages


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


def residuals(directory: Path, *, title: str, split: str | None, best: bool, trust: bool) -> tuple[Plot, list[str]]:
    """Returns the residuals of a regression, true less predicted, over the predictions, and messages."""
    with loaded_job(directory, best=best, trust=trust) as (job, _, messages):
        if job.task.classes:
            raise InputError(f"{directory}: is a classifier, so it has no residuals; try --kind confusion")
        target, scaling = job.task.data.table.target_name, job.task.data.target_scaling
        lines = []
        for name in evaluated_parts(job.task.data, split):
            learned = outputs_of_part(job, name)[:, 0].cpu().double().numpy()
            predicted = learned if scaling is None else np.asarray(scaling.restore(learned), np.float64)
            left = getattr(job.task.data, name).y.reshape(-1).astype(np.float64) - predicted
            mean, deviation = float(left.mean()), float(left.std())
            label = f"{PART_WORDS[name]} part, {len(left):,} rows: mean {mean:.3g}, deviation {deviation:.3g}"
            lines.append(Line(label, predicted, left, joined=False))
        ends = np.array([min(line.x.min() for line in lines), max(line.x.max() for line in lines)])
        lines.append(Line("no error", ends, np.zeros(2)))
        panel = Lines(Axis(f"predicted {target}"), Axis(f"true less predicted {target}"), lines)
        return Plot(title, [panel]), messages


def pictures(directory: Path, *, title: str, split: str | None, best: bool, trust: bool) -> tuple[Plot, list[str]]:
    """Returns pictures with their predicted classes, the surest mistakes first, and messages."""
    with loaded_job(directory, best=best, trust=trust) as (job, _, messages):
        table = job.task.data.table
        if not job.task.classes or table.shape is None:
            raise InputError(f"{directory}: its rows are no pictures of classes; try --kind curve")
        names = table.class_names or tuple(map(str, range(job.task.classes)))
        panels, notes = list[Pictures](), list[str]()
        for part, shares, y in class_shares(job, split):
            shares = shares if shares.shape[1] > 1 else np.column_stack([1 - shares[:, 0], shares[:, 0]])
            found, actual = shares.argmax(1), y.astype(np.int64)
            wrong = np.flatnonzero(found != actual)
            surest = wrong[np.argsort(-shares[wrong, found[wrong]], kind="stable")]
            right = np.flatnonzero(found == actual)
            chosen = np.concatenate([surest, right])[:MOST_PICTURES]
            rows = getattr(job.task.data, part).rows[chosen]
            pixels = np.stack([np.asarray(table.features[row : row + 1], np.float64)[0] for row in rows.tolist()])
            captions = [
                f"{names[found[row]]} {shares[row, found[row]]:.0%}"
                + ("" if found[row] == actual[row] else f", is {names[actual[row]]}")
                for row in chosen.tolist()
            ]
            is_wrong = frozenset(np.flatnonzero(found[chosen] != actual[chosen]).tolist())
            panels.append(Pictures(pixels.reshape(len(chosen), *table.shape), captions, is_wrong, rows.tolist()))
            notes.append(f"{PART_WORDS[part]} part: {len(wrong):,} of {len(y):,} wrong".capitalize())
        note = f"{'; '.join(notes)}. The surest mistakes come first, then pictures that are right."
        return Plot(title, list(panels), [note]), messages
