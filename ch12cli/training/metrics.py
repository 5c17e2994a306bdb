"""Metrics of a data set's part, over the rows; a leading runs axis is kept.

They are computed on the CPU: not every device has 64-bit numbers.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Metric = Callable[[Tensor, Tensor], Tensor]


def accuracy(prediction: Tensor, target: Tensor) -> Tensor:
    """Share of rows whose class is right, (…,). prediction: (…, rows, classes), the largest wins; target: (…, rows)."""
    return (prediction.argmax(-1) == target).cpu().double().mean(-1)


def binary_accuracy(threshold: float) -> Metric:
    """Share of rows on the right side of the threshold: 0.5 for probabilities, 0 for logits.

    prediction, target: (…, rows, 1).
    """

    def metric(prediction: Tensor, target: Tensor) -> Tensor:
        return ((prediction >= threshold) == (target >= 0.5)).cpu().double().mean((-2, -1))

    return metric


def mean_absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, (…,). prediction, target: (…, rows, outputs)."""
    return (prediction.cpu().double() - target.cpu().double()).abs().mean((-2, -1))


def r_squared(prediction: Tensor, target: Tensor) -> Tensor:
    """Coefficient of determination, (…,): 1 is perfect, 0 no better than the mean. NaN where all targets are equal."""
    prediction, target = prediction.cpu().double(), target.cpu().double()
    residual = (target - prediction).square().sum((-2, -1))
    total = (target - target.mean(-2, keepdim=True)).square().sum((-2, -1))
    return torch.where(total > 0, 1 - residual / total, torch.nan)


def metrics_for(*, classes: int, outputs: int, logits: bool) -> dict[str, Metric]:
    """The metrics that apply. classes: 0 for values; outputs of the network; logits: whether one output is a logit."""
    if not classes:
        return {"mae": mean_absolute_error, "r2": r_squared}
    if outputs == 1:
        return {"accuracy": binary_accuracy(0.0 if logits else 0.5)}
    return {"accuracy": accuracy}
