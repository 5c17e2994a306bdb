"""Torch's activations with their derivatives, written out: one table for single runs and for stacks."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ch12cli.training.torch_internals import HAS_DERIVATIVES, aten, log_softmax_backward, softmax_backward

Function = Callable[[Tensor], Tensor]
Derivative = Callable[[Tensor, Tensor], Tensor]  # (gradient of the output, what was kept) -> gradient of the input


class ActivationForm:
    """An activation with its derivative, by the kernels that torch's engine calls.

    of_output: the derivative is computed from the output, else from the input. in_place: function and derivative of
    the same activation where it may overwrite what it is given.
    """

    def __init__(
        self,
        function: Function,
        derivative: Derivative,
        *,
        of_output: bool = True,
        in_place: tuple[Function, Derivative] | None = None,
    ) -> None:
        self.function, self.derivative, self.of_output, self.in_place = function, derivative, of_output, in_place

    def forward(self, x: Tensor) -> Tensor:
        out = self.function(x)
        self.kept = out if self.of_output else x
        return out

    def backward(self, gradient: Tensor) -> Tensor:
        return self.derivative(gradient, self.kept)

    def overwriting(self) -> "ActivationForm":
        """Returns the activation for an input that it may overwrite: what is not allocated anew stays in the cache."""
        return self if self.in_place is None else ActivationForm(*self.in_place)


def relu(_module: nn.ReLU, _axis: int) -> ActivationForm:
    derivative, in_place = aten.threshold_backward.default, aten.threshold_backward.grad_input
    return ActivationForm(
        torch.relu,
        lambda g, y: derivative(g, y, 0),
        in_place=(torch.relu_, lambda g, y: in_place(g, y, 0, grad_input=g)),
    )


def sigmoid(_module: nn.Sigmoid, _axis: int) -> ActivationForm:
    in_place = aten.sigmoid_backward.grad_input
    return ActivationForm(
        torch.sigmoid,
        aten.sigmoid_backward.default,
        in_place=(torch.sigmoid_, lambda g, y: in_place(g, y, grad_input=g)),
    )


def tanh(_module: nn.Tanh, _axis: int) -> ActivationForm:
    in_place = aten.tanh_backward.grad_input
    return ActivationForm(
        torch.tanh, aten.tanh_backward.default, in_place=(torch.tanh_, lambda g, y: in_place(g, y, grad_input=g))
    )


def leaky_relu(module: nn.LeakyReLU, _axis: int) -> ActivationForm:
    derivative, slope = aten.leaky_relu_backward.default, module.negative_slope
    return ActivationForm(module, lambda g, x: derivative(g, x, slope, False), of_output=False)


def elu(module: nn.ELU, _axis: int) -> ActivationForm:
    derivative, alpha = aten.elu_backward.default, module.alpha
    return ActivationForm(module, lambda g, x: derivative(g, alpha, 1, 1, False, x), of_output=False)


def selu(_module: nn.SELU, _axis: int) -> ActivationForm:
    derivative = aten.elu_backward.default
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946  # torch's constants
    return ActivationForm(torch.selu, lambda g, x: derivative(g, alpha, scale, 1, False, x), of_output=False)


def gelu(module: nn.GELU, _axis: int) -> ActivationForm:
    derivative, approximate = aten.gelu_backward.default, module.approximate
    return ActivationForm(module, lambda g, x: derivative(g, x, approximate=approximate), of_output=False)


def softplus(module: nn.Softplus, _axis: int) -> ActivationForm:
    derivative, beta, threshold = aten.softplus_backward.default, module.beta, module.threshold
    return ActivationForm(module, lambda g, x: derivative(g, x, beta, threshold), of_output=False)


def softmax(module: nn.Softmax, axis: int) -> ActivationForm | None:
    if module.dim != -1:
        return None
    return ActivationForm(nn.Softmax(dim=axis), lambda g, y: softmax_backward(g, y, axis, y.dtype))


def log_softmax(module: nn.LogSoftmax, axis: int) -> ActivationForm | None:
    if module.dim != -1:
        return None
    return ActivationForm(nn.LogSoftmax(dim=axis), lambda g, y: log_softmax_backward(g, y, axis, y.dtype))


# A module of torch: makes its ActivationForm, from the module and the axis of the units. None: not with such arguments.
ACTIVATIONS: dict[type[nn.Module], Callable[[Any, int], ActivationForm | None]] = {
    nn.ELU: elu,
    nn.GELU: gelu,
    nn.Identity: lambda _module, _axis: ActivationForm(lambda x: x, lambda g, _y: g),
    nn.LeakyReLU: leaky_relu,
    nn.LogSoftmax: log_softmax,
    nn.Mish: lambda module, _axis: ActivationForm(module, aten.mish_backward.default, of_output=False),
    nn.ReLU: relu,
    nn.SELU: selu,
    nn.Sigmoid: sigmoid,
    nn.SiLU: lambda module, _axis: ActivationForm(module, aten.silu_backward.default, of_output=False),
    nn.Softmax: softmax,
    nn.Softplus: softplus,
    nn.Tanh: tanh,
}


def activation(module: nn.Module, unit_axis: int) -> ActivationForm | None:
    """Returns a module's row of the table for this unit axis; None for a module that torch's engine differentiates."""
    make = ACTIVATIONS.get(type(module))
    if make is None or not HAS_DERIVATIVES:
        return None
    if getattr(module, "inplace", False):  # the input is kept for the derivative: nothing may overwrite it
        module = copy.deepcopy(module)
        module.inplace = False  # type: ignore[assignment]
    return make(module, unit_axis)
