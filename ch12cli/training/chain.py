"""A chain of torch's own layers, differentiated step by step as torch's engine does, with the same bits.

The engine's bookkeeping takes most of a small network's step. A module that is no such chain is left to the engine.
Source of the formulas: torch's derivatives.yaml; each calls the kernel that the engine would.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ch12cli.training.activations import activation
from ch12cli.training.stacked_layers import Layer, is_watched, leaves_of

aten = torch.ops.aten
MEAN = 1  # a loss's reduction, by torch's number
NO_CLASS = -100  # the target that torch's losses leave out

Form = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (prediction, target) -> loss (), gradient (rows, outputs)


class Dense:
    """nn.Linear, on the memory of its parameters and their gradients: (rows, inputs) -> (rows, outputs)."""

    def __init__(self, layer: nn.Linear) -> None:
        self.weight, self.bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
        self.grad_weight, self.grad_bias = layer.weight.grad, None if layer.bias is None else layer.bias.grad
        self.transposed = self.weight.t()

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x.mm(self.transposed) if self.bias is None else torch.addmm(self.bias, x, self.transposed)

    def gradients(self, gradient: Tensor) -> None:
        """Leaves the gradients of weight and bias in their place, computed elsewhere first: where a result is to lie in
        memory can change its bits."""
        assert self.grad_weight is not None
        self.grad_weight.copy_(gradient.t().mm(self.x))
        if self.grad_bias is not None:
            self.grad_bias.copy_(gradient.sum(0))

    def backward(self, gradient: Tensor) -> Tensor:
        self.gradients(gradient)
        return gradient.mm(self.weight)


class Chain:
    """Layers one after another. first: the first of them that has parameters."""

    def __init__(self, layers: list[Layer], first: Dense) -> None:
        self.layers, self.first = layers, first
        self.after = list(reversed(layers[layers.index(first) + 1 :]))
        self.loss: Any = None  # the one that `form` is of
        self.form: Form = squared_error

    def differentiate(self, loss: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss () and prediction (rows, outputs) of a batch; leaves the gradient in its place."""
        if loss is not self.loss:
            self.loss, self.form = loss, form_of(loss)
        for layer in self.layers:
            x = layer.forward(x)
        value, gradient = self.form(x, y)
        for layer in self.after:
            gradient = layer.backward(gradient)
        self.first.gradients(gradient)  # what comes before has no parameters
        return value, x


def chain_of(module: nn.Module) -> Chain | None:
    """The chain that a module is; None if it is none, or does more than its layers."""
    leaves = leaves_of(module)
    if leaves is None or is_watched(module) or not all(parameter.requires_grad for parameter in module.parameters()):
        return None
    held = [id(parameter) for leaf in leaves for parameter in leaf.parameters()]
    if len(set(held)) < len(held):  # layers share parameters, whose gradients would have to be added up
        return None
    found = [Dense(leaf) if type(leaf) is nn.Linear else activation(leaf, 1) for leaf in leaves]  # None for dropout
    layers: list[Layer] = [layer for layer in found if layer is not None]
    first = next((layer for layer in layers if isinstance(layer, Dense)), None)
    return Chain(layers, first) if first is not None and len(layers) == len(found) else None


def form_of(loss: Any) -> Form:
    """The loss with its gradient: written out for the usual losses, by torch's engine for the others."""
    usual = getattr(loss, "reduction", "") == "mean" and getattr(loss, "weight", None) is None and not is_watched(loss)
    if usual and type(loss) is nn.CrossEntropyLoss and loss.label_smoothing == 0 and loss.ignore_index == NO_CLASS:
        return cross_entropy
    if usual and type(loss) is nn.NLLLoss and loss.ignore_index == NO_CLASS:
        return negative_log_likelihood
    if usual and type(loss) in (nn.MSELoss, nn.BCELoss):
        return squared_error if type(loss) is nn.MSELoss else cross_entropy_of_two

    def by_the_engine(prediction: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        leaf = prediction.detach().requires_grad_()
        value = loss(leaf, y)
        (gradient,) = torch.autograd.grad(value, leaf)
        return value.detach(), gradient

    return by_the_engine


def one(prediction: Tensor) -> Tensor:
    """The gradient of a loss with respect to itself."""
    return torch.ones((), dtype=prediction.dtype)


def negative_log_likelihood(prediction: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    value, total = aten.nll_loss_forward.default(prediction, y, None, MEAN, NO_CLASS)
    back = aten.nll_loss_backward.default(one(prediction), prediction, y, None, MEAN, NO_CLASS, total)
    return value, back


def cross_entropy(prediction: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    logarithms = torch.log_softmax(prediction, 1)
    value, gradient = negative_log_likelihood(logarithms, y)
    return value, aten._log_softmax_backward_data.default(gradient, logarithms, 1, prediction.dtype)


def squared_error(prediction: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    value = aten.mse_loss.default(prediction, y, MEAN)
    return value, aten.mse_loss_backward.default(one(prediction), prediction, y, MEAN)


def cross_entropy_of_two(prediction: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    value = aten.binary_cross_entropy.default(prediction, y, None, MEAN)
    return value, aten.binary_cross_entropy_backward.default(one(prediction), prediction, y, None, MEAN)
