"""Activations and their derivatives, by torch's own kernels, without its engine."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

aten = torch.ops.aten


class Activation:
    """An activation and its derivative. of_output: whether the derivative is computed from the output."""

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        backward: Callable[[Tensor, Tensor], Tensor],
        *,
        of_output: bool = True,
    ) -> None:
        self.function, self.derivative, self.of_output = forward, backward, of_output

    def forward(self, x: Tensor) -> Tensor:
        out = self.function(x)
        self.kept = out if self.of_output else x
        return out

    def backward(self, gradient: Tensor) -> Tensor:
        return self.derivative(gradient, self.kept)


def activation(module: nn.Module, unit_axis: int) -> Activation | None:
    """What an activation of torch computes; None for one that is not known. unit_axis: that of the units."""
    if getattr(module, "inplace", False):  # the input is kept for the derivative: nothing may overwrite it
        module = copy.deepcopy(module)
        module.inplace = False  # type: ignore[assignment]
    match module:
        case nn.Identity():
            return Activation(lambda x: x, lambda g, _y: g)
        case nn.ReLU():
            return Activation(torch.relu, lambda g, y: aten.threshold_backward(g, y, 0))
        case nn.Sigmoid():
            return Activation(torch.sigmoid, aten.sigmoid_backward)
        case nn.Tanh():
            return Activation(torch.tanh, aten.tanh_backward)
        case nn.LeakyReLU(negative_slope=slope):
            return Activation(module, lambda g, x: aten.leaky_relu_backward(g, x, slope, False), of_output=False)
        case nn.ELU(alpha=alpha):
            return Activation(module, lambda g, x: aten.elu_backward(g, alpha, 1, 1, False, x), of_output=False)
        case nn.SELU():
            alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946  # torch's constants
            return Activation(torch.selu, lambda g, x: aten.elu_backward(g, alpha, scale, 1, False, x), of_output=False)
        case nn.GELU(approximate=approximate):
            return Activation(module, lambda g, x: aten.gelu_backward(g, x, approximate=approximate), of_output=False)
        case nn.SiLU():
            return Activation(module, aten.silu_backward, of_output=False)
        case nn.Mish():
            return Activation(module, aten.mish_backward, of_output=False)
        case nn.Softplus(beta=beta, threshold=threshold):
            return Activation(module, lambda g, x: aten.softplus_backward(g, x, beta, threshold), of_output=False)
        case nn.Softmax(dim=-1):
            softmax = nn.Softmax(dim=unit_axis)
            return Activation(softmax, lambda g, y: aten._softmax_backward_data(g, y, unit_axis, y.dtype))
        case nn.LogSoftmax(dim=-1):
            log_softmax = nn.LogSoftmax(dim=unit_axis)
            return Activation(log_softmax, lambda g, y: aten._log_softmax_backward_data(g, y, unit_axis, y.dtype))
    return None


def activation_in_place(module: nn.Module) -> Activation | None:
    """The same for an activation that may overwrite what it is given, the product of a linear layer; None if it gains
    nothing from that. What is not allocated anew is still in the processor's cache."""
    match module:
        case nn.ReLU():
            backward = aten.threshold_backward.grad_input
            return Activation(torch.relu_, lambda g, y: backward(g, y, 0, grad_input=g))
        case nn.Sigmoid():
            backward = aten.sigmoid_backward.grad_input
            return Activation(torch.sigmoid_, lambda g, y: backward(g, y, grad_input=g))
        case nn.Tanh():
            backward = aten.tanh_backward.grad_input
            return Activation(torch.tanh_, lambda g, y: backward(g, y, grad_input=g))
    return None
