"""Metrics of predictions, and the classes and probabilities that predictions stand for.

A metric is one number of all rows; a leading runs axis is kept. It is computed on the CPU: not every device has 64-bit
numbers. Balanced accuracy, F1 and AUC are scikit-learn's. A class without a row is left out of a mean over the classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

ROWS_AT_ONCE = 2**18  # whose summaries are computed at once, in memory or streamed: the same bits


def added(summaries: Sequence[Tensor], _rows: Sequence[int]) -> Tensor:
    """Returns the sum of summaries, one added after the other."""
    total, *others = summaries
    for summary in others:
        total = total + summary
    return total


Right = Literal["largest", "positive", "half"]  # the largest output is the class; a bound of 0 or 0.5 divides classes


@dataclass(frozen=True)
class Metric:
    """A metric as a function of what summarises rows, so that the predictions of all rows need not be held.

    summary: of the predictions and targets of some rows, (…, rows, outputs) and (…, rows[, 1]). combined: one summary
    of all rows, from those of rows that follow each other, and the number of rows of each. value: the metric, (…,),
    from the summary of all rows and their number. right: which rows are right, if the metric is the share of those.
    """

    summary: Callable[[Tensor, Tensor], Tensor]
    value: Callable[[Tensor, int], Tensor]
    combined: Callable[[Sequence[Tensor], Sequence[int]], Tensor] = added
    right: Right | None = None

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Returns the metric of all rows, (…,)."""
        measured = MetricsOfPieces({"": self})
        measured.add(prediction, target)
        return measured.values()[""]


class MetricsOfPieces:
    """The metrics of rows that come in pieces. At most ROWS_AT_ONCE are held, and what summarises the others."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = metrics
        self.held: list[tuple[Tensor, Tensor]] = []
        self.rows_held = 0
        self.rows: list[int] = []  # of each summary
        self.summaries: dict[str, list[Tensor]] = {name: [] for name in metrics}

    def add(self, prediction: Tensor, target: Tensor) -> None:
        """Takes the predictions and targets of the next rows, (…, rows, outputs) and (…, rows[, 1])."""
        self.held.append((prediction, target))
        self.rows_held += prediction.shape[-2]
        if self.rows_held > ROWS_AT_ONCE:
            axis = prediction.dim() - 2
            *whole, rest = zip(*(values.split(ROWS_AT_ONCE, axis) for values in self.joined(axis)), strict=True)
            for some, of_them in whole:
                self.summarise(some, of_them)
            self.held = [(rest[0].clone(), rest[1].clone())]  # a part would keep the whole in memory
            self.rows_held = rest[0].shape[-2]

    def joined(self, axis: int) -> tuple[Tensor, Tensor]:
        """Returns what is held as one. axis: of the rows."""
        if len(self.held) == 1:
            return self.held[0]
        prediction, target = (torch.cat(values, axis) for values in zip(*self.held, strict=True))
        return prediction, target

    def summarise(self, prediction: Tensor, target: Tensor) -> None:
        self.rows.append(prediction.shape[-2])
        for name, metric in self.metrics.items():
            self.summaries[name].append(metric.summary(prediction, target))

    def values(self) -> dict[str, Tensor]:
        """Returns the metrics of all rows, (…,) each. No rows can be added afterwards."""
        self.summarise(*self.joined(self.held[0][0].dim() - 2))
        self.held = []
        rows = sum(self.rows)
        return {
            name: metric.value(metric.combined(self.summaries.pop(name), self.rows), rows)
            for name, metric in self.metrics.items()
        }


def right_rows(prediction: Tensor, target: Tensor) -> Tensor:
    """Returns how many rows have the right class, (…,). prediction: (…, rows, classes); target: (…, rows)."""
    return (largest_class(prediction) == target).cpu().sum(-1).double()


# the share of rows whose class is right
accuracy = Metric(right_rows, lambda right, rows: right / rows, right="largest")


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


def binary_accuracy(side: Literal["positive", "half"]) -> Metric:
    """Returns the metric for two classes with one output: the share of rows on the right side of a bound.

    side: "half" for probabilities, "positive" for logits. Predictions and targets are (…, rows, 1).
    """
    threshold = 0.5 if side == "half" else 0.0

    def right(prediction: Tensor, target: Tensor) -> Tensor:
        return ((prediction >= threshold) == (target >= 0.5)).cpu().sum((-2, -1)).double()

    return Metric(right, lambda right, rows: right / rows, right=side)


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Returns the sum of the absolute errors, (…,). prediction, target: (…, rows, 1)."""
    return (prediction.cpu().double() - target.cpu().double()).abs().sum((-2, -1))


mean_absolute_error = Metric(absolute_error, lambda total, rows: total / rows)


def squares(prediction: Tensor, target: Tensor) -> Tensor:
    """Returns sums of squares and the mean of the targets, (…, 3): of errors, and of distances from the mean."""
    prediction, target = prediction.cpu().double(), target.cpu().double()
    mean = target.mean(-2, keepdim=True)
    residual, total = (target - prediction).square().sum((-2, -1)), (target - mean).square().sum((-2, -1))
    return torch.stack([residual, total, mean[..., 0, 0]], -1)


def squares_together(summaries: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
    """Returns what `squares` gives for all rows, up to rounding, from what it gives for some of them at a time."""
    found, count = summaries[0], rows[0]
    for further, more in zip(summaries[1:], rows[1:], strict=True):
        apart, share = further[..., 2] - found[..., 2], more / (count + more)
        between = apart.square() * (count * share)
        mean = found[..., 2] + apart * share
        found = torch.stack([found[..., 0] + further[..., 0], found[..., 1] + further[..., 1] + between, mean], -1)
        count += more
    return found


def r_squared_of(found: Tensor, _rows: int) -> Tensor:
    """Returns the coefficient of determination, (…,): 1 is perfect, 0 the mean's. NaN where all targets are equal."""
    residual, total, _ = found.unbind(-1)
    return torch.where(total > 0, 1 - residual / total, torch.nan)


r_squared = Metric(squares, r_squared_of, squares_together)


def counts_by_class(found: Tensor, target: Tensor, classes: int) -> Tensor:
    """Returns how many rows of each class are right, are of the class, and are taken for it: (…, 3, classes) float64.

    found, target: class numbers, (…, rows) int64.
    """
    none = torch.zeros(*target.shape[:-1], classes, dtype=torch.float64)
    one = torch.ones_like(target, dtype=torch.float64)
    right = none.scatter_add(-1, target, (found == target).double())
    return torch.stack([right, none.scatter_add(-1, target, one), none.scatter_add(-1, found, one)], -2)


def balanced_accuracy(counts: Tensor, _rows: int) -> Tensor:
    """Returns the mean recall of the classes that have a row, (…,). counts: as counts_by_class gives them."""
    right, support, _ = counts.unbind(-2)
    return mean_of_defined(right, support)


def f1(counts: Tensor, _rows: int) -> Tensor:
    """Returns F1, (…,): of the second class where there are two, else the mean over the classes.

    A class that no row has and no row is taken for has no F1; of two classes, the result is NaN then.
    """
    right, support, taken = counts.unbind(-2)
    first = 1 if counts.shape[-1] == 2 else 0
    return mean_of_defined((2 * right)[..., first:], (support + taken)[..., first:])


def area_under_roc(score: Tensor, target: Tensor) -> Tensor:
    """Returns the area under the ROC curve, (…,): NaN unless both classes have a row.

    score: (…, rows), higher for the rows that are taken for the class; target: (…, rows) bool. The area is the share of
    pairs of a row of the class and another one in which the first has the higher score; equal scores count half.
    """
    ordered = score.sort(-1).values
    count, rank_sum = torch.zeros(score.shape[:-1], dtype=torch.float64), 0
    for some, positive in zip(score.split(ROWS_AT_ONCE, -1), target.split(ROWS_AT_ONCE, -1), strict=True):
        some, positive = some.contiguous(), positive.double()
        below = torch.searchsorted(ordered, some)  # (…, rows): rows with a lower score
        up_to = torch.searchsorted(ordered, some, right=True)
        count += positive.sum(-1)
        rank_sum = rank_sum + ((below + up_to + 1).double() / 2 * positive).sum(-1)  # from 1, shared by equal scores
    pairs = count * (target.shape[-1] - count)
    return torch.where(pairs > 0, (rank_sum - count * (count + 1) / 2) / pairs, torch.nan)


def area_by_class(scores: Tensor, _rows: int) -> Tensor:
    """Returns the area under the ROC curve, (…,): of the second class where there are two, else the mean over classes.

    scores: (…, 1 + classes, rows): the class number of each row and the score of each class, of two only the second.
    Each class is held against all others.
    """
    target, scores = scores[..., 0, :], scores[..., 1:, :]
    if scores.shape[-2] == 1:
        return area_under_roc(scores[..., 0, :], target == 1)
    areas = [area_under_roc(scores[..., number, :], target == number) for number in range(scores.shape[-2])]
    return torch.stack(areas, -1).nanmean(-1)


def mean_of_defined(part: Tensor, total: Tensor) -> Tensor:
    """Returns the mean over the last axis of part / total, (…,), without those whose total is 0; NaN if all are."""
    return torch.where(total > 0, part / total, torch.nan).nanmean(-1)


FURTHER: dict[str, Callable[[Tensor, int], Tensor]] = {"balanced_accuracy": balanced_accuracy, "f1": f1}


def metrics_for(*, classes: int, outputs: int, output: str, further: Sequence[str] = ()) -> dict[str, Metric]:
    """Returns the metrics that apply, by name.

    classes: 0 for values; outputs: of the network; output: its activation, `none` for logits; further: names of metrics
    of classes besides accuracy.
    """
    if not classes:
        return {"mae": mean_absolute_error, "r2": r_squared}
    plain = binary_accuracy("positive" if output == "none" else "half") if outputs == 1 else accuracy
    return {"accuracy": plain, **{name: further_metric(name, classes=classes, output=output) for name in further}}


def further_metric(name: str, *, classes: int, output: str) -> Metric:
    """Returns a metric of classes by its name. Predictions are (…, rows, outputs), targets (…, rows[, 1])."""

    def numbers(prediction: Tensor, target: Tensor) -> Tensor:
        """Returns the class of each row, (…, rows) int64."""
        return (target if target.dim() < prediction.dim() else target[..., 0] >= 0.5).cpu().long()

    def counts(prediction: Tensor, target: Tensor) -> Tensor:
        return counts_by_class(predicted_classes(prediction.cpu(), output=output), numbers(prediction, target), classes)

    def scores(prediction: Tensor, target: Tensor) -> Tensor:
        each = scores_of(prediction.cpu(), output=output)  # (…, rows, classes)
        kept = each[..., 1:] if each.shape[-1] == 2 else each
        return torch.cat([numbers(prediction, target).unsqueeze(-1).to(kept.dtype), kept], -1).transpose(-1, -2)

    if name == "auc":
        return Metric(scores, area_by_class, lambda summaries, _: torch.cat(list(summaries), -1))
    return Metric(counts, FURTHER[name])


def scores_of(prediction: Tensor, *, output: str) -> Tensor:
    """Returns the probabilities of the classes, (…, rows, classes), or scores that order the rows in the same way.

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
