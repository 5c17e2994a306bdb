"""Losses with their gradients: one table for single runs and for stacks of runs.

What the table does not have, torch's autograd differentiates, through `torch.vmap` in a stack.
"""

from collections.abc import Callable
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
    """How a loss of torch is computed with the usual arguments: the mean over the rows, without weights.

    of_runs: makes, from the module, the loss of each run of a stack: prediction (runs, rows, outputs), target
    (runs, rows[, outputs]) -> (runs,). single, stacked: the loss with its gradient, of a single run and of each run
    of a stack; None: by autograd. plain: whether the module's other arguments are such that these two hold.
    """

    of_runs: Callable[[Any], Loss]
    single: LossAndGrad | None = None
    stacked: LossAndGrad | None = None
    plain: Callable[[Any], bool] = lambda loss: True


def by_value(function: Callable[..., Tensor], *arguments: str) -> Callable[[Any], Loss]:
    """Makes the loss of each run from torch's function on values. arguments: of the module, handed on."""

    def of_runs(module: Any) -> Loss:
        values = {name: getattr(module, name) for name in arguments}
        return lambda prediction, target: function(prediction, target, reduction="none", **values).mean((1, 2))

    return of_runs


def by_class(function: Callable[..., Tensor], *arguments: str) -> Callable[[Any], Loss]:
    """Makes the loss of each run from torch's function on classes. arguments: of the module, handed on."""

    def of_runs(module: Any) -> Loss:
        values = {name: getattr(module, name) for name in arguments}

        def loss(prediction: Tensor, target: Tensor) -> Tensor:
            # (runs, rows, classes) -> (rows, classes, runs): as a stack whose runs come last has it in memory
            rows = function(prediction.permute(1, 2, 0), target.t(), reduction="none", **values)
            return rows.mean(0)  # (rows, runs) -> (runs,)

        return loss

    return of_runs


# A single run: torch's own kernels, with the bits of its engine. Source: torch's derivatives.yaml.


def seed_of(prediction: Tensor) -> Tensor:
    """Returns the gradient of a loss with respect to itself: 1."""
    return torch.ones((), dtype=prediction.dtype)


def squared_error(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    value = aten.mse_loss.default(prediction, target, MEAN)
    return value, aten.mse_loss_backward.default(seed_of(prediction), prediction, target, MEAN)


def binary_cross_entropy(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    value = aten.binary_cross_entropy.default(prediction, target, None, MEAN)
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
    nn.BCELoss: LossForm(by_value(F.binary_cross_entropy), single=binary_cross_entropy),
    nn.BCEWithLogitsLoss: LossForm(by_value(F.binary_cross_entropy_with_logits)),
    nn.CrossEntropyLoss: LossForm(
        by_class(F.cross_entropy, "label_smoothing"),
        single=cross_entropy,
        stacked=cross_entropy_of_runs,
        plain=lambda loss: loss.label_smoothing == 0,
    ),
    nn.HuberLoss: LossForm(by_value(F.huber_loss, "delta")),
    nn.L1Loss: LossForm(by_value(F.l1_loss)),
    nn.MSELoss: LossForm(by_value(F.mse_loss), single=squared_error, stacked=squared_error_of_runs),
    nn.NLLLoss: LossForm(by_class(F.nll_loss), single=negative_log_likelihood),
}


def table_row(loss: Loss) -> LossForm | None:
    """Returns a loss's row of the table; None for another module, or arguments that the table does not cover."""
    form = LOSSES.get(type(loss)) if isinstance(loss, nn.Module) else None
    if form is None or has_hooks(cast(nn.Module, loss)):
        return None
    unweighted = getattr(loss, "weight", None) is None and getattr(loss, "pos_weight", None) is None
    usual = cast(Any, loss).reduction == "mean" and getattr(loss, "ignore_index", IGNORED_CLASS) == IGNORED_CLASS
    return form if usual and unweighted else None


def loss_and_grad(loss: Loss) -> LossAndGrad:
    """Returns a single run's loss () with its gradient (rows, outputs), for a prediction (rows, outputs)."""
    form = table_row(loss)
    if form is not None and form.single is not None and form.plain(loss) and HAS_DERIVATIVES:
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


class StackedLoss:
    """The loss of each run of a stack, (runs,). prediction: (runs, rows, outputs); target: (runs, rows[, outputs]).

    loss_and_grad: the same, and the gradient of each run's loss, shaped like prediction.
    has_written_gradient: whether that gradient is a formula of ch12's table, which needs neither autograd nor the host.
    """

    def __init__(self, loss: nn.Module) -> None:
        form = table_row(loss)
        self.of_runs = torch.vmap(loss) if form is None else form.of_runs(loss)
        written_out = form.stacked if form is not None and form.plain(loss) else None
        self.has_written_gradient = written_out is not None
        self.loss_and_grad: LossAndGrad = written_out or by_autograd(self.of_runs)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.of_runs(prediction, target)
