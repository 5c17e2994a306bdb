"""Checks of values against a run: what its precision cannot tell apart, metrics without a value, odd outputs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ch12cli.data.prepared import DataPart, Prepared
from ch12cli.data.scaling import Statistics
from ch12cli.data.streaming.lazy_rows import LazyRows
from ch12cli.data.text_file import count_with_noun
from ch12cli.errors import Problem

ROUNDED_AWAY = 0.01  # rounding error, relative to the deviation, from which on it matters
LARGE = 100.0  # targets of this size are far from a new network's outputs, which are about 1
FAR = -0.5  # R² below which the predictions are worse than any constant near the mean
NEAR_ONE = 1e-3  # deviation from 1 of the sum of probabilities that rounding explains
VALUES_AT_ONCE = 2**20  # whose rounding is computed at once
CARRIED = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def rounded(values: npt.NDArray[Any], dtype: torch.dtype) -> npt.NDArray[np.float64]:
    """Returns the values as a precision holds them; infinity for what is too large for it."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float64)).to(dtype).double().numpy()


def precision_problems(data: Prepared, precision: str) -> list[str]:
    """Returns why the training part cannot be learned in a precision: values that become equal or infinite in it."""
    if precision == "float64":
        return []
    problems = []
    if not data.table.classes:
        name, y = data.table.target_name, data.learned(data.train.y).astype(np.float64, copy=False)
        held = rounded(np.array([y.min(), y.max()]), torch.float32)  # the others lie between
        if not np.isfinite(held).all():
            problems.append(
                f"{name}: {np.abs(y).max():.4g} is too large for float32; use precision=float64, or divide the column"
            )
        elif held.min() == held.max() and y.min() < y.max():
            problems.append(
                f"{name}: its {len(np.unique(y))} different training values are one and the same "
                f"in float32 ({held[0]:.10g}); use dataset.target_scaling=standard, or use precision=float64"
            )
    too_large: list[int] = []
    x = held_features(data)
    if len(x) and not is_held(x, torch.float32):
        held = rounded(np.array([x.min(0), x.max(0)]), torch.float32)  # (2, features); the others lie between
        too_large = np.flatnonzero(~np.isfinite(held).all(0)).tolist()
    if too_large:
        name = data.table.feature_names[too_large[0]]
        problems.append(f"{name}: has values too large for float32; use dataset.scaling=standard or precision=float64")
    return [f"{data.table.source}: {problem}" for problem in problems]


def held_features(data: Prepared) -> npt.NDArray[Any]:
    """Returns the features of the training part, (rows, features); no rows of them if they are read when needed."""
    x = data.train.x
    return np.zeros((0, x.shape[1])) if isinstance(x, LazyRows) else x


def precision_notes(data: Prepared, precision: str) -> list[str]:
    """Returns notes on values of the training part that a precision cannot tell apart well."""
    if precision == "float64":  # data are no finer
        return []
    notes = []
    y = np.empty(0) if data.table.classes else data.learned(data.train.y).astype(np.float64, copy=False)
    if (lost := rounding_loss(y, CARRIED[precision])) > ROUNDED_AWAY:
        notes.append(
            f"{data.table.target_name}: rounding to {precision} changes it by {lost:.2g} of its deviation; "
            f"use dataset.target_scaling=standard, or use precision=float64"
        )
    x, dtype = held_features(data), CARRIED[precision]
    names = [
        name
        for name, most, values in zip(data.table.feature_names, most_rounding_loss(x, dtype), x.T, strict=True)
        if most > ROUNDED_AWAY and rounding_loss(values, dtype) > ROUNDED_AWAY
    ]
    if names:
        more = f" and {len(names) - 1} more features" if len(names) > 1 else ""
        notes.append(
            f"{names[0]}{more}: rounding to {precision} changes values by more than a hundredth of their deviation; "
            "use dataset.scaling=standard"
        )
    return [f"{data.table.source}: {note}" for note in notes]


def is_held(values: npt.NDArray[Any], dtype: torch.dtype) -> bool:
    """Returns whether a precision holds values exactly because they have it already."""
    return values.dtype == np.float32 and dtype == torch.float32


def rounding_loss(values: npt.NDArray[Any], dtype: torch.dtype) -> float:
    """Returns the root mean square of the rounding error of values, relative to their deviation."""
    if not len(values):
        return 0.0
    squares = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # what is infinite or no number gives 0 below
        deviation = float(values.std())
        for block in np.array_split(values, 1 + len(values) // VALUES_AT_ONCE):  # which bounds the memory
            squares += float(np.square(rounded(block, dtype) - block).sum())
    return math.sqrt(squares / len(values)) / deviation if deviation > 0 and math.isfinite(squares) else 0.0


def most_rounding_loss(x: npt.NDArray[Any], dtype: torch.dtype) -> npt.NDArray[np.float64]:
    """Returns what the rounding loss of each feature is at most, (features,), in less time. x: (rows, features)."""
    if not len(x) or is_held(x, dtype):
        return np.zeros(x.shape[1])
    blocks = np.array_split(x, 1 + x.size // VALUES_AT_ONCE)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = Statistics.of_all(blocks, 0)
        largest = np.maximum(np.abs(found.low), np.abs(found.high)).astype(np.float64)
        bound: npt.NDArray[np.float64] = (
            2 * (torch.finfo(dtype).eps * largest + torch.finfo(dtype).tiny) / found.deviation
        )
    bound[np.isnan(bound)] = np.inf
    return bound


def undefined_metric_problems(data: Prepared, monitored: Mapping[str, str]) -> list[Problem]:
    """Returns a problem for each setting that names a metric without a value: R² of equal targets, AUC of one class.

    monitored: columns of metrics.csv by the key that names them.
    """
    parts = {"train": data.train, "valid": data.valid}
    problems = []
    for key, column in monitored.items():
        part, _, metric = column.partition("_")
        found = parts.get(part)
        reason = None if found is None else why_undefined(metric, found, data)
        if reason is not None:
            name = {"train": "training", "valid": "validation"}[part]
            other = "accuracy" if data.table.classes else "mae"
            more = "" if part == "train" else ", or more dataset.valid_size"
            hint = f"use {key}={part}_{other} or {part}_loss{more}"
            problems.append(Problem(key, column, f"has no value, because the {name} part has {reason}", hint))
    return problems


def why_undefined(metric: str, part: DataPart, data: Prepared) -> str | None:
    """Returns what a part has, so that a metric has no value there; None if it has one."""
    names = data.table.class_names or ()
    if metric == "r2" and not names and is_constant(part):
        return "one row" if len(part.y) == 1 else f"{len(part.y)} rows with the same {data.table.target_name}"
    if metric == "auc" and names and is_constant(part):
        return f"rows of class {names[part.y[0]]} only"
    if metric == "f1" and len(names) == 2 and not part.y.any():
        return f"no row of class {names[1]}"
    return None


def is_constant(part: DataPart) -> bool:
    return bool(part.y.min() == part.y.max())


def undefined_monitor_note(monitor: str, epochs: int) -> str:
    """Returns the note that a monitored metric had no value in any epoch, so that no epoch was the best."""
    rule = f"was not a number in any of {count_with_noun(epochs, 'epoch')}"
    return f"{monitor} {rule}, so there is no best epoch and no early stopping; monitor another metric"


def far_off_hint(r2: float, targets: npt.NDArray[Any], name: str) -> str:
    """Returns what to do about an R² far below 0 of a target with large values; empty if it is not that."""
    if not r2 < FAR or not np.abs(targets.astype(np.float64)).max() >= LARGE:
        return ""
    return (
        f"R² is {r2:.4g}: the predictions are still far from {name}, whose values are about "
        f"{targets.mean(dtype=np.float64):.4g}, because "
        "outputs of a new network are about 1; use dataset.target_scaling=standard, or a larger optimizer.lr or more "
        "epochs"
    )


def output_notes(prediction: Tensor, loss: str, *, classes: int) -> Sequence[str]:
    """Returns notes on a network's outputs that a loss takes for something else. prediction: (rows, outputs)."""
    values = prediction.detach().double().cpu()
    if not classes or values.shape[-1] < 2 or not bool(torch.isfinite(values).all()):
        return ()
    if loss == "NLLLoss" and not is_distribution(values.exp()):
        return (
            "loss=nll takes log-probabilities, and the network's outputs are not: their exponentials do not add up to "
            "1; end the network with nn.LogSoftmax(-1), or use loss=cross_entropy",
        )
    if loss == "CrossEntropyLoss" and is_distribution(values):
        return (
            "loss=cross_entropy takes logits and applies softmax itself, and the network's outputs are probabilities "
            "already, so that learning is slower; leave out its softmax, or use loss=nll with nn.LogSoftmax(-1)",
        )
    return ()


def is_distribution(values: Tensor) -> bool:
    """Returns whether each row is of probabilities. values: (rows, classes)."""
    return bool((values >= 0).all()) and bool(((values.sum(-1) - 1).abs() < NEAR_ONE).all())
