"""Losses with their gradients: one table for single runs and for stacks of runs.

What the table does not have, torch's autograd differentiates, through `torch.vmap` in a stack.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from ch12cli.training.torch_internals import HAS_DERIVATIVES, aten, has_hooks, log_softmax_backward

Loss = Callable[[Tensor, Tensor], Tensor]  # (prediction, target) -> loss: () of a single run, (runs,) of a stack
LossAndGrad = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # the same, and its gradient, shaped like prediction

MEAN = 1  # a loss's reduction, by torch's number
IGNORED_CLASS = -100  # the target that torch's losses on classes leave out


@dataclass(frozen=True)
class LossForm:
    """How a loss of torch is computed with the usual arguments: the mean over the rows.

    of_rows: makes, from the module, the loss of each row of a stack: prediction (runs, rows, outputs), target
    (runs, rows[, outputs]) -> (runs, rows[, outputs]). single, stacked: the loss with its gradient, of a single run and
    of each run of a stack; None: by autograd. plain: whether the module's other arguments are such that these two hold.
    """

    of_rows: Callable[[Any], Loss]
    single: LossAndGrad | None = None
    stacked: LossAndGrad | None = None
    plain: Callable[[Any], bool] = lambda loss: True


def nan_or_cross_entropy(
    prediction: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """Returns torch's binary cross-entropy, and NaN where a prediction is NaN, which torch refuses."""
    if prediction.device.type == "cpu":  # there, torch checks each value anyway; on a GPU, the error would be fatal
        try:
            return F.binary_cross_entropy(prediction, target, weight, reduction=reduction)
        except RuntimeError:
            if not bool(prediction.isnan().any()):
                raise
    undefined = prediction.isnan()
    rows = F.binary_cross_entropy(torch.where(undefined, 0.5, prediction), target, weight, reduction="none")
    rows = torch.where(undefined, torch.nan, rows)
    return rows if reduction == "none" else rows.sum() if reduction == "sum" else rows.mean()


class BinaryCrossEntropy(nn.BCELoss):
    """torch's BCELoss, whose value is NaN for a network that diverged: torch's own raises an error."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return nan_or_cross_entropy(prediction, target, reduction=self.reduction, weight=self.weight)


def with_nan(loss: nn.Module) -> nn.Module:
    """Returns a loss that gives NaN for predictions that are NaN."""
    if type(loss) is not nn.BCELoss or has_hooks(loss):
        return loss
    return BinaryCrossEntropy(loss.weight, reduction=loss.reduction)


BOUNDS = {nn.HuberLoss: "delta", nn.SmoothL1Loss: "beta"}  # arguments that are errors, in the units of the target


def of_scaled_values(loss: nn.Module, deviation: float) -> nn.Module:
    """Returns the loss for predictions and targets that are divided by `deviation`.

    Up to a constant factor it is the loss of the values themselves: its bound between squared and absolute errors is
    divided, too. Other losses are returned as they are.
    """
    for kind, name in BOUNDS.items():
        if isinstance(loss, kind):
            scaled = deepcopy(loss)
            setattr(scaled, name, getattr(loss, name) / deviation)
            return scaled
    return loss


def by_value(function: Callable[..., Tensor], *arguments: str) -> Callable[[Any], Loss]:
    """Makes the loss of each row from torch's function on values. arguments: of the module, handed on."""

    def of_rows(module: Any) -> Loss:
        values = {name: getattr(module, name) for name in arguments}
        return lambda prediction, target: function(prediction, target, reduction="none", **values)

    return of_rows


def by_class(function: Callable[..., Tensor], *arguments: str) -> Callable[[Any], Loss]:
    """Makes the loss of each row from torch's function on classes. arguments: of the module, handed on."""

    def of_rows(module: Any) -> Loss:
        values = {name: getattr(module, name) for name in arguments}

        def loss(prediction: Tensor, target: Tensor) -> Tensor:
            if prediction.is_contiguous():  # each run's rows lie together: the bits do not depend on the other runs
                return function(prediction.transpose(1, 2), target, reduction="none", **values)
            # (runs, rows, classes) -> (rows, classes, runs): as a stack whose runs come last has it in memory
            return function(prediction.permute(1, 2, 0), target.t(), reduction="none", **values).t()

        return loss

    return of_rows


# A single run: torch's own kernels, with the bits of its engine. Source: torch's derivatives.yaml.


def seed_of(prediction: Tensor) -> Tensor:
    """Returns the gradient of a loss with respect to itself: 1."""
    return torch.ones((), dtype=prediction.dtype)


def squared_error(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    value = aten.mse_loss.default(prediction, target, MEAN)
    return value, aten.mse_loss_backward.default(seed_of(prediction), prediction, target, MEAN)


def binary_cross_entropy(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    try:
        value = aten.binary_cross_entropy.default(prediction, target, None, MEAN)
    except RuntimeError:
        if not bool(prediction.isnan().any()):
            raise
        return prediction.new_full((), torch.nan), torch.full_like(prediction, torch.nan)
    seed = seed_of(prediction)
    return value, aten.binary_cross_entropy_backward.default(seed, prediction, target, None, MEAN)


def negative_log_likelihood(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    value, total = aten.nll_loss_forward.default(prediction, target, None, MEAN, IGNORED_CLASS)
    seed = seed_of(prediction)
    gradient = aten.nll_loss_backward.default(seed, prediction, target, None, MEAN, IGNORED_CLASS, total)
    return value, gradient


def cross_entropy(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    log_probability = torch.log_softmax(prediction, 1)
    value, gradient = negative_log_likelihood(log_probability, target)
    return value, log_softmax_backward(gradient, log_probability, 1, prediction.dtype)


# A stack: fewer operations than autograd would need, in the stack's own layout of memory.


def squared_error_of_runs(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    error = prediction - target  # (runs, rows, outputs)
    scale = error.shape[1] * error.shape[2]
    return error.square().sum((1, 2)).div_(scale), error.mul_(2 / scale)


def cross_entropy_of_runs(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient is (softmax - one-hot) / rows."""
    rows = target.shape[1]
    classes = target.t().unsqueeze(1)  # (runs, rows) -> (rows, 1, runs)
    log_probability = torch.log_softmax(prediction.permute(1, 2, 0), 1)  # (rows, classes, runs)
    loss = log_probability.gather(1, classes).sum((0, 1)).div_(-rows)
    gradient = log_probability.exp_()
    gradient.scatter_add_(1, classes, gradient.new_full((1, 1, 1), -1.0).expand(classes.shape))
    return loss, gradient.div_(rows).permute(2, 0, 1)


LOSSES: dict[type[nn.Module], LossForm] = {
    BinaryCrossEntropy: LossForm(by_value(nan_or_cross_entropy, "weight"), single=binary_cross_entropy),
    nn.BCELoss: LossForm(by_value(nan_or_cross_entropy, "weight"), single=binary_cross_entropy),
    nn.BCEWithLogitsLoss: LossForm(by_value(F.binary_cross_entropy_with_logits, "weight", "pos_weight")),
    nn.CrossEntropyLoss: LossForm(
        by_class(F.cross_entropy, "weight", "label_smoothing"),
        single=cross_entropy,
        stacked=cross_entropy_of_runs,
        plain=lambda loss: loss.label_smoothing == 0,
    ),
    nn.HuberLoss: LossForm(by_value(F.huber_loss, "delta")),
    nn.L1Loss: LossForm(by_value(F.l1_loss)),
    nn.MSELoss: LossForm(by_value(F.mse_loss), single=squared_error, stacked=squared_error_of_runs),
    nn.NLLLoss: LossForm(by_class(F.nll_loss, "weight"), single=negative_log_likelihood),
}


def table_row(loss: Loss) -> LossForm | None:
    """Returns a loss's row of the table; None for another module, or arguments that the table does not cover."""
    form = LOSSES.get(type(loss)) if isinstance(loss, nn.Module) else None
    if form is None or has_hooks(cast(nn.Module, loss)):
        return None
    usual = cast(Any, loss).reduction == "mean" and getattr(loss, "ignore_index", IGNORED_CLASS) == IGNORED_CLASS
    return form if usual else None


def is_plain(form: LossForm, loss: Any) -> bool:
    """Returns whether the formulas of the table hold for a loss: it has no weights, nor other unusual arguments."""
    weights = (getattr(loss, name, None) for name in ("weight", "pos_weight"))
    return all(weight is None for weight in weights) and form.plain(loss)


def loss_and_grad(loss: Loss) -> LossAndGrad:
    """Returns a single run's loss () with its gradient (rows, outputs), for a prediction (rows, outputs)."""
    form = table_row(loss)
    if form is not None and form.single is not None and is_plain(form, loss) and HAS_DERIVATIVES:
        return form.single
    return by_autograd(loss)


def by_autograd(loss: Loss) -> LossAndGrad:
    """Returns a loss with the gradient that torch's autograd gives. loss: () or (runs,)."""

    def loss_and_grad(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        leaf = prediction.detach().requires_grad_()
        with torch.enable_grad():
            value = loss(leaf, target)
            (gradient,) = torch.autograd.grad(value, leaf, torch.ones_like(value))
        return value.detach(), gradient

    return loss_and_grad


class RowWeighted(nn.Module):
    """The mean of a loss over the rows, each with a weight of its own: the sum of weight x loss / the sum of weights.

    loss: a mean over the rows, with torch's argument `reduction`. by_class: whether its targets are class numbers.
    The target is (rows, 2): a class or a value, and the weight. Rows that all weigh 0 give 0.
    """

    def __init__(self, loss: nn.Module, *, by_class: bool) -> None:
        super().__init__()
        self.mean, self.by_class = loss, by_class
        self.each = deepcopy(loss)
        cast(Any, self.each).reduction = "none"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        each = self.each(prediction, target_of(self, target))  # (rows,) or (rows, outputs)
        if each.shape[:1] != target.shape[:1]:
            raise ValueError("with reduction='none' it must give a loss for each row, to weigh them")
        return weighted_mean(each if each.dim() == 1 else each.flatten(1).mean(1), target[..., 1], self.totals(target))

    def totals(self, target: Tensor) -> Tensor:
        """Returns what each row adds to the sum that the loss is divided by, (…, rows). target: (…, rows, 2)."""
        weight = class_weight_of(self.mean)
        return target[..., 1] if weight is None else target[..., 1] * weight[target_of(self, target)]


def weighted_mean(each: Tensor, weight: Tensor, total: Tensor) -> Tensor:
    """Returns the sum of weight x each / the sum of total, over the rows, (…,); 0 where that is 0. (…, rows) each."""
    below = total.sum(-1)
    return (weight * each).sum(-1) / torch.where(below > 0, below, 1)


def class_weight_of(loss: Any) -> Tensor | None:
    """Returns the weight of each class, (classes,), by which torch's losses on classes take a weighted mean."""
    weight: Tensor | None = loss.weight if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) else None
    return weight


def target_of(loss: Any, y: Tensor) -> Tensor:
    """Returns the targets without the rows' weights: class numbers, (…, rows), or values, (…, rows, 1)."""
    if isinstance(loss, StackedLoss):
        return target_of(loss.single, y)
    if not isinstance(loss, RowWeighted):
        return y
    return y[..., 0].long() if loss.by_class else y[..., :1]


def row_weights(loss: Any, y: Tensor) -> Tensor | None:
    """Returns what each row counts in the mean that a loss takes, (…, rows); None where all rows count alike."""
    if isinstance(loss, StackedLoss):
        return row_weights(loss.single, y)
    if isinstance(loss, RowWeighted):
        return loss.totals(y)
    weight = class_weight_of(loss)
    return None if weight is None else weight[y]


class StackedLoss:
    """The loss of each run of a stack, (runs,). prediction: (runs, rows, outputs); target: (runs, rows[, outputs]).

    single: the loss of a single run. loss_and_grad: the same as called, and the gradient of each run's loss, shaped
    like prediction. has_written_gradient: whether that gradient is a formula of ch12's table, which needs neither
    autograd nor the host.
    """

    def __init__(self, loss: nn.Module) -> None:
        self.single = loss
        form = table_row(loss)
        self.of_runs = mean_of_runs(loss)
        written_out = form.stacked if form is not None and is_plain(form, loss) else None
        self.has_written_gradient = written_out is not None
        self.loss_and_grad: LossAndGrad = written_out or by_autograd(self.of_runs)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.of_runs(prediction, target)


def mean_of_runs(loss: nn.Module) -> Loss:
    """Returns the loss of each run of a stack, (runs,): as the table has it, else torch vectorises the module."""
    weighted = loss if isinstance(loss, RowWeighted) else None
    mean = weighted.mean if weighted else loss
    form, class_weight = table_row(mean), class_weight_of(mean)
    if form is None:
        return torch.vmap(loss)
    of_rows = form.of_rows(mean)

    def of_runs(prediction: Tensor, target: Tensor) -> Tensor:
        each = of_rows(prediction, target_of(loss, target))  # (runs, rows[, outputs])
        if weighted:
            return weighted_mean(each if each.dim() == 2 else each.mean(2), target[..., 1], weighted.totals(target))
        if class_weight is not None:
            return each.sum(1) / class_weight[target].sum(1)
        return each.mean(1) if each.dim() == 2 else each.mean((1, 2))

    return of_runs
