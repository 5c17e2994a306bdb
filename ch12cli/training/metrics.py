"""Metrics of predictions, and the classes and probabilities that predictions stand for.

A metric is one number of all rows; a leading runs axis is kept. It is computed on the CPU: not every device has 64-bit
numbers. Balanced accuracy, F1 and AUC are scikit-learn's. A class without a row is left out of a mean over the classes.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Metric = Callable[[Tensor, Tensor], Tensor]


def accuracy(prediction: Tensor, target: Tensor) -> Tensor:
    """Returns the share of rows whose class is right, (…,). prediction: (…, rows, classes); target: (…, rows)."""
    return (largest_class(prediction) == target).cpu().sum(-1).double() / target.shape[-1]


FEW_CLASSES = 16  # up to which comparing one class after the other is faster


def largest_class(prediction: Tensor) -> Tensor:
    """Returns the class with the largest output, the first of several, (…, rows). A NaN is the largest.

    The same as argmax, which takes many times as long where the classes do not come last in memory, as in a stack.
    prediction: (…, rows, classes).
    """
    few = prediction.shape[-1] <= FEW_CLASSES
    if prediction.is_contiguous() or prediction.device.type != "cpu" or not few or prediction.isnan().any():
        return prediction.argmax(-1)
    largest, *others = prediction.unbind(-1)
    found = torch.zeros_like(largest, dtype=torch.uint8)
    for number, value in enumerate(others, start=1):
        found.masked_fill_(value > largest, number)
        largest = torch.maximum(largest, value)
    return found


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


def counts_by_class(found: Tensor, target: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns how many rows of each class are right, are of the class, and are taken for it: (…, classes) float64.

    found, target: class numbers, (…, rows) int64.
    """
    none = torch.zeros(*target.shape[:-1], classes, dtype=torch.float64)
    one = torch.ones_like(target, dtype=torch.float64)
    right = none.scatter_add(-1, target, (found == target).double())
    return right, none.scatter_add(-1, target, one), none.scatter_add(-1, found, one)


def balanced_accuracy(found: Tensor, target: Tensor, classes: int) -> Tensor:
    """Returns the mean recall of the classes that have a row, (…,). found, target: (…, rows) int64."""
    right, support, _ = counts_by_class(found, target, classes)
    return mean_of_defined(right, support)


def f1(found: Tensor, target: Tensor, classes: int) -> Tensor:
    """Returns F1, (…,): of the second class where there are two, else the mean over the classes. (…, rows) int64.

    A class that no row has and no row is taken for has no F1; of two classes, the result is NaN then.
    """
    right, support, taken = counts_by_class(found, target, classes)
    first = 1 if classes == 2 else 0
    return mean_of_defined((2 * right)[..., first:], (support + taken)[..., first:])


def area_under_roc(score: Tensor, target: Tensor) -> Tensor:
    """Returns the area under the ROC curve, (…,): NaN unless both classes have a row.

    score: (…, rows), higher for the rows that are taken for the class; target: (…, rows) bool. The area is the share of
    pairs of a row of the class and another one in which the first has the higher score; equal scores count half.
    """
    ordered = score.sort(-1).values
    score = score.contiguous()
    below = torch.searchsorted(ordered, score)  # (…, rows): rows with a lower score
    up_to = torch.searchsorted(ordered, score, right=True)
    positive = target.double()
    count = positive.sum(-1)
    rank_sum = ((below + up_to + 1).double() / 2 * positive).sum(-1)  # ranks from 1, equal scores share their mean
    pairs = count * (target.shape[-1] - count)
    return torch.where(pairs > 0, (rank_sum - count * (count + 1) / 2) / pairs, torch.nan)


def area_by_class(scores: Tensor, target: Tensor) -> Tensor:
    """Returns the area under the ROC curve, (…,): of the second class where there are two, else the mean over classes.

    scores: (…, rows, classes); target: (…, rows) int64. Each class is held against all others.
    """
    if scores.shape[-1] == 2:
        return area_under_roc(scores[..., 1], target == 1)
    areas = [area_under_roc(scores[..., number], target == number) for number in range(scores.shape[-1])]
    return torch.stack(areas, -1).nanmean(-1)


def mean_of_defined(part: Tensor, total: Tensor) -> Tensor:
    """Returns the mean over the last axis of part / total, (…,), without those whose total is 0; NaN if all are."""
    return torch.where(total > 0, part / total, torch.nan).nanmean(-1)


FURTHER: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {"balanced_accuracy": balanced_accuracy, "f1": f1}


def metrics_for(*, classes: int, outputs: int, output: str, further: Sequence[str] = ()) -> dict[str, Metric]:
    """Returns the metrics that apply, by name.

    classes: 0 for values; outputs: of the network; output: its activation, `none` for logits; further: names of metrics
    of classes besides accuracy.
    """
    if not classes:
        return {"mae": mean_absolute_error, "r2": r_squared}
    plain = binary_accuracy(0.0 if output == "none" else 0.5) if outputs == 1 else accuracy
    return {"accuracy": plain, **{name: further_metric(name, classes=classes, output=output) for name in further}}


def further_metric(name: str, *, classes: int, output: str) -> Metric:
    """Returns a metric of classes by its name. prediction: (…, rows, outputs); target: (…, rows[, 1])."""

    def metric(prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = prediction.cpu(), target.cpu()
        numbers = target if target.dim() < prediction.dim() else (target[..., 0] >= 0.5).long()  # (…, rows)
        if name == "auc":
            return area_by_class(scores_of(prediction, output=output), numbers)
        return FURTHER[name](predicted_classes(prediction, output=output), numbers, classes)

    return metric


def scores_of(prediction: Tensor, *, output: str) -> Tensor:
    """Returns how probable each class is, (…, rows, classes), or what orders the rows alike.

    prediction: (…, rows, outputs).
    """
    if prediction.shape[-1] == 1:  # not by the sigmoid, which takes large values for equal
        return torch.cat([-prediction, prediction], -1)
    return probabilities(prediction, output=output)


def predicted_classes(prediction: Tensor, *, output: str) -> Tensor:
    """Returns the class of each row, (…, rows) int64, as the accuracy takes it. prediction: (…, rows, outputs).

    output: the network's output activation, which sets the threshold where one output stands for two classes.
    """
    if prediction.shape[-1] > 1:
        return prediction.argmax(-1)
    return (prediction[..., 0] >= (0.0 if output == "none" else 0.5)).long()


def probabilities(prediction: Tensor, *, output: str) -> Tensor:
    """Returns the probability of each class, (…, rows, classes) float64; a row adds up to 1.

    prediction: (…, rows, outputs). output: the network's output activation. Outputs that are neither probabilities nor
    their logarithms are logits, as the losses take them.
    """
    prediction = prediction.double()
    if prediction.shape[-1] == 1:
        second = prediction if output == "sigmoid" else torch.sigmoid(prediction)
        return torch.cat([1 - second, second], -1)
    if output == "softmax":
        return prediction
    return torch.softmax(prediction, -1)  # of log-probabilities too: it gives them back
