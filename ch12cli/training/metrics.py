"""Metrics of predictions, and the classes and probabilities that predictions stand for.

A metric is a mean over the rows; a leading runs axis is kept. It is computed on the CPU: not every device has 64-bit
numbers.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Metric = Callable[[Tensor, Tensor], Tensor]


def accuracy(prediction: Tensor, target: Tensor) -> Tensor:
    """Returns the share of rows whose class is right, (…,). prediction: (…, rows, classes); target: (…, rows)."""
    return (prediction.argmax(-1) == target).cpu().double().mean(-1)


def binary_accuracy(threshold: float) -> Metric:
    """Returns the metric for two classes with one output: the share of rows on the right side of the threshold.

    threshold: 0.5 for probabilities, 0 for logits. prediction, target: (…, rows, 1).
    """

    def metric(prediction: Tensor, target: Tensor) -> Tensor:
        return ((prediction >= threshold) == (target >= 0.5)).cpu().double().mean((-2, -1))

    return metric


def mean_absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Returns the mean absolute error, (…,). prediction, target: (…, rows, outputs)."""
    return (prediction.cpu().double() - target.cpu().double()).abs().mean((-2, -1))


def r_squared(prediction: Tensor, target: Tensor) -> Tensor:
    """Returns the coefficient of determination, (…,): 1 is perfect, 0 the mean's. NaN where all targets are equal."""
    prediction, target = prediction.cpu().double(), target.cpu().double()
    residual = (target - prediction).square().sum((-2, -1))
    total = (target - target.mean(-2, keepdim=True)).square().sum((-2, -1))
    return torch.where(total > 0, 1 - residual / total, torch.nan)


def metrics_for(*, classes: int, outputs: int, logits: bool) -> dict[str, Metric]:
    """Returns the metrics that apply, by name.

    classes: 0 for values; outputs: of the network; logits: whether a single output is a logit.
    """
    if not classes:
        return {"mae": mean_absolute_error, "r2": r_squared}
    if outputs == 1:
        return {"accuracy": binary_accuracy(0.0 if logits else 0.5)}
    return {"accuracy": accuracy}


def predicted_classes(prediction: Tensor, *, output: str) -> Tensor:
    """Returns the class of each row, (rows,) int64, as the accuracy takes it. prediction: (rows, outputs).

    output: the network's output activation, which sets the threshold where one output stands for two classes.
    """
    if prediction.shape[-1] > 1:
        return prediction.argmax(-1)
    return (prediction[..., 0] >= (0.0 if output == "none" else 0.5)).long()


def probabilities(prediction: Tensor, *, output: str) -> Tensor:
    """Returns the probability of each class, (rows, classes) float64; a row adds up to 1. prediction: (rows, outputs).

    output: the network's output activation. Outputs that are neither probabilities nor their logarithms are logits, as
    the losses take them.
    """
    prediction = prediction.double()
    if prediction.shape[-1] == 1:
        second = prediction if output == "sigmoid" else torch.sigmoid(prediction)
        return torch.cat([1 - second, second], -1)
    if output == "softmax":
        return prediction
    return torch.softmax(prediction, -1)  # of log-probabilities too: it gives them back
