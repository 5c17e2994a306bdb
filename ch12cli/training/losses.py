"""Losses of a batch, of a run alone or of each run of a stack."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_of_each_run(loss: nn.Module) -> Loss:
    """The loss of each run, (runs,), from prediction (runs, rows, outputs) and target (runs, rows[, outputs]).

    torch's own losses are computed for all rows at once and averaged run by run; any other module goes through vmap.
    """
    if not type(loss).__module__.startswith("torch.nn."):  # a user's subclass may compute something else
        return torch.vmap(loss)
    match loss:
        case nn.MSELoss(reduction="mean"):
            return lambda prediction, target: F.mse_loss(prediction, target, reduction="none").mean((1, 2))
        case nn.L1Loss(reduction="mean"):
            return lambda prediction, target: F.l1_loss(prediction, target, reduction="none").mean((1, 2))
        case nn.HuberLoss(reduction="mean"):
            return lambda p, target: F.huber_loss(p, target, reduction="none", delta=loss.delta).mean((1, 2))
        case nn.BCELoss(reduction="mean", weight=None):
            return lambda prediction, target: F.binary_cross_entropy(prediction, target, reduction="none").mean((1, 2))
        case nn.BCEWithLogitsLoss(reduction="mean", weight=None, pos_weight=None):
            return lambda p, target: F.binary_cross_entropy_with_logits(p, target, reduction="none").mean((1, 2))
        case nn.CrossEntropyLoss(reduction="mean", weight=None, ignore_index=-100):
            return _by_class(lambda p, t: F.cross_entropy(p, t, reduction="none", label_smoothing=loss.label_smoothing))
        case nn.NLLLoss(reduction="mean", weight=None, ignore_index=-100):
            return _by_class(lambda prediction, target: F.nll_loss(prediction, target, reduction="none"))
    return torch.vmap(loss)


def _by_class(loss_of_rows: Loss) -> Loss:
    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        # (runs, rows, classes) -> (rows, classes, runs): as a narrow stack has it in memory
        return loss_of_rows(prediction.permute(1, 2, 0), target.t()).mean(0)  # (rows, runs) -> (runs,)

    return loss


class StackedLoss:
    """The loss of each run of a stack, and its gradient.

    Called, it gives the loss alone; `differentiate` also gives the gradient of each run's loss with respect to its
    prediction: written out for the usual losses, where walking an autograd graph would cost more than the arithmetic.
    """

    def __init__(self, loss: nn.Module) -> None:
        self.loss = loss_of_each_run(loss)
        self.cross_entropy = type(loss) is nn.CrossEntropyLoss and (
            loss.reduction == "mean" and loss.weight is None and loss.label_smoothing == 0 and loss.ignore_index == -100
        )
        self.squared = type(loss) is nn.MSELoss and loss.reduction == "mean"

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.loss(prediction, target)

    def differentiate(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (runs,) and its gradient, shaped like prediction, (runs, rows, outputs)."""
        if self.cross_entropy:
            return self._cross_entropy(prediction.permute(1, 2, 0), target.t().unsqueeze(1))
        if self.squared:
            error = prediction - target
            scale = error.shape[1] * error.shape[2]
            return error.square().sum((1, 2)).div_(scale), error.mul_(2 / scale)
        leaf = prediction.detach().requires_grad_()
        with torch.enable_grad():
            loss = self.loss(leaf, target)
            (gradient,) = torch.autograd.grad(loss, leaf, torch.ones_like(loss))
        return loss.detach(), gradient

    def _cross_entropy(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """prediction: (rows, classes, runs); target: (rows, 1, runs). The gradient: (softmax - one-hot) / rows."""
        rows = len(target)
        log_probability = torch.log_softmax(prediction, 1)
        loss = log_probability.gather(1, target).sum((0, 1)).div_(-rows)
        gradient = log_probability.exp_()
        gradient.scatter_add_(1, target, gradient.new_full((1, 1, 1), -1.0).expand(target.shape))
        return loss, gradient.div_(rows).permute(2, 0, 1)
