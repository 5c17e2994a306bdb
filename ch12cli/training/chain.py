"""A chain of torch's own layers, differentiated step by step as torch's engine does, with the same bits.

The engine's bookkeeping takes most of a small network's step. Where a layer or a loss is not known here, it is used.
Source of the formulas: torch's derivatives.yaml; each calls the kernel that the engine would.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

aten = torch.ops.aten
MEAN = 1  # a loss's reduction, by torch's number
NO_CLASS = -100  # the target that torch's losses leave out

Back = Callable[[Tensor, Tensor, Tensor], Tensor]  # (gradient of what a layer gave, what it took, what it gave)
ACTIVATIONS: dict[type[nn.Module], Callable[[Any], Back]] = {
    nn.Identity: lambda _: lambda g, x, y: g,
    nn.Sigmoid: lambda _: lambda g, x, y: aten.sigmoid_backward.default(g, y),
    nn.Tanh: lambda _: lambda g, x, y: aten.tanh_backward.default(g, y),
    nn.ReLU: lambda _: lambda g, x, y: aten.threshold_backward.default(g, y, 0),
    nn.LeakyReLU: lambda of: lambda g, x, y: aten.leaky_relu_backward.default(g, x, of.negative_slope, False),
    nn.ELU: lambda of: lambda g, x, y: aten.elu_backward.default(g, of.alpha, 1, 1, False, x),
    nn.SiLU: lambda _: lambda g, x, y: aten.silu_backward.default(g, x),
    nn.GELU: lambda of: lambda g, x, y: aten.gelu_backward.default(g, x, approximate=of.approximate),
    nn.Softmax: lambda of: lambda g, x, y: aten._softmax_backward_data.default(g, y, of.dim, y.dtype),
    nn.LogSoftmax: lambda of: lambda g, x, y: aten._log_softmax_backward_data.default(g, y, of.dim, y.dtype),
}


class Linear:
    """nn.Linear on the memory of its parameters and their gradients."""

    def __init__(self, layer: nn.Linear) -> None:
        self.weight, self.transposed = layer.weight.detach(), layer.weight.detach().t()
        self.bias = None if layer.bias is None else layer.bias.detach()
        self.weight_gradient, self.bias_gradient = layer.weight.grad, None if layer.bias is None else layer.bias.grad

    def forward(self, x: Tensor) -> Tensor:
        return x.mm(self.transposed) if self.bias is None else torch.addmm(self.bias, x, self.transposed)

    def backward(self, gradient: Tensor, x: Tensor, _y: Tensor) -> Tensor:
        self.leave(gradient, x)
        return gradient.mm(self.weight)

    def leave(self, gradient: Tensor, x: Tensor) -> None:
        """Leaves the gradients of the parameters. They are computed elsewhere first: where a result is to lie in memory
        can change its bits."""
        assert self.weight_gradient is not None
        self.weight_gradient.copy_(gradient.t().mm(x))
        if self.bias_gradient is not None:
            self.bias_gradient.copy_(gradient.sum(0))


class Chain:
    """Layers one after another. first: the first; layers: what the others do, and how they hand a gradient back."""

    def __init__(self, layers: list[tuple[Callable[[Tensor], Tensor], Back]], first: Linear) -> None:
        self.layers, self.first = layers, first
        self.loss: Any = None  # the one that `form` is of
        self.form: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None

    def differentiate(self, loss: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
        """Loss () and prediction (rows, outputs) of a batch; leaves the gradient in its place.

        None for a loss that is not known here.
        """
        if loss is not self.loss:
            self.loss, self.form = loss, form_of(loss)
        if self.form is None:
            return None
        given = [x, self.first.forward(x)]
        for forward, _ in self.layers:
            given.append(forward(given[-1]))
        value, gradient = self.form(given[-1], y)
        for place in range(len(self.layers) - 1, -1, -1):
            gradient = self.layers[place][1](gradient, given[place + 1], given[place + 2])
        self.first.leave(gradient, x)
        return value, given[-1]


def chain_of(module: nn.Module) -> Chain | None:
    """The chain that a module is; None if it is none, or does more than its layers."""
    if type(module) is not nn.Sequential or is_watched(module) or shares(module):
        return None
    layers: list[tuple[Callable[[Tensor], Tensor], Back]] = []
    first: Linear | None = None
    for layer in module:
        if is_watched(layer) or not all(parameter.requires_grad for parameter in layer.parameters()):
            return None
        if type(layer) is nn.Linear:
            linear = Linear(layer)
            if first is None:
                first = linear
            else:
                layers.append((linear.forward, linear.backward))
        elif type(layer) in ACTIVATIONS and first is not None and not does_otherwise(layer):
            layers.append((layer.forward, ACTIVATIONS[type(layer)](layer)))
        else:
            return None
    return None if first is None else Chain(layers, first)


def shares(module: nn.Sequential) -> bool:
    """Whether layers share parameters, whose gradients would have to be added up."""
    held = [id(parameter) for layer in module for parameter in layer.parameters()]
    return len(set(held)) < len(held)


def does_otherwise(activation: nn.Module) -> bool:
    """Whether it overwrites what it takes, or leaves it to torch which way it goes."""
    return getattr(activation, "inplace", False) or getattr(activation, "dim", 0) is None


def is_watched(module: nn.Module) -> bool:
    """Whether hooks of the user's are called when the module is."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    parameters = module.parameters(recurse=False)
    return any(getattr(module, name) for name in names) or any(p._backward_hooks for p in parameters)


def form_of(loss: Any) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """The loss () of a prediction and a target with its gradient, (rows, outputs); None for a loss not known here."""
    if getattr(loss, "reduction", "") != "mean" or is_watched(loss) or getattr(loss, "weight", None) is not None:
        return None
    if type(loss) is nn.CrossEntropyLoss and loss.label_smoothing == 0 and loss.ignore_index == NO_CLASS:
        return cross_entropy
    if type(loss) is nn.NLLLoss and loss.ignore_index == NO_CLASS:
        return negative_log_likelihood
    if type(loss) is nn.MSELoss:
        return squared_error
    return cross_entropy_of_two if type(loss) is nn.BCELoss else None


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
