"""Layers with their derivatives written out: of a single network, and of many networks in two layouts of memory.

For layers this small, recording a graph and walking it costs more than the arithmetic. A single network's layers call
the kernels that torch's engine would, so the bits are the same (source of the formulas: torch's derivatives.yaml).
A stack whose runs come last in memory has tensors (rows, units, runs). Its products are sums over so few inputs that a
matrix product per run would be mostly overhead; elementwise operations over many runs are not. A stack whose runs come
first has tensors (runs, rows, units) and uses batched matrix products, which suits wide layers.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from ch12cli.models.averaging import Ensemble
from ch12cli.training.activations import activation
from ch12cli.training.losses import LossAndGrad
from ch12cli.training.torch_internals import has_hooks

# Below this many values in the result, successive additions cost more in calls than a product summed afterwards does
# in memory.
SUMMED_AFTERWARDS = 8192

# A product of fewer columns than this takes up to six times as long on a CPU as its transpose.
COLUMNS = 16


class Layer(Protocol):
    """One layer. forward keeps what backward needs; backward returns the gradient of its input."""

    def forward(self, x: Tensor) -> Tensor: ...
    def backward(self, gradient: Tensor) -> Tensor: ...


class LinearLayer(Layer, Protocol):
    """A layer with parameters. backward, and parameter_gradients alone, put the parameters' gradients into place."""

    def parameter_gradients(self, gradient: Tensor) -> None: ...


class Linear:
    """nn.Linear on the memory of its parameters and their gradients: (rows, inputs) -> (rows, outputs)."""

    def __init__(self, layer: nn.Linear) -> None:
        self.weight, self.bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
        self.grad_weight, self.grad_bias = layer.weight.grad, None if layer.bias is None else layer.bias.grad
        self.transposed = self.weight.t()

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x.mm(self.transposed) if self.bias is None else torch.addmm(self.bias, x, self.transposed)

    def parameter_gradients(self, gradient: Tensor) -> None:
        """Puts the parameters' gradients into place. They are computed elsewhere first: the place can change bits."""
        assert self.grad_weight is not None
        self.grad_weight.copy_(gradient.t().mm(self.x))
        if self.grad_bias is not None:
            self.grad_bias.copy_(gradient.sum(0))

    def backward(self, gradient: Tensor) -> Tensor:
        self.parameter_gradients(gradient)
        return gradient.mm(self.weight)


def sum_of_products(
    left: Tensor, right: Tensor, axis: int, *, start: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """Returns the sum over an axis of left * right, which broadcast against each other; plus start, where given.

    out: where to put it. Large results are added up product by product: nothing larger is ever in memory.
    """
    values = math.prod(map(max, left.shape, right.shape)) // left.shape[axis]
    if out is None and values < SUMMED_AFTERWARDS:
        total = torch.mul(left, right).sum(axis)
        return total if start is None else total.add_(start)
    terms = zip(left.unbind(axis), right.unbind(axis), strict=True)
    first = next(terms)
    total = torch.mul(*first, out=out) if start is None else torch.addcmul(start, *first)
    for term in terms:
        total.addcmul_(*term)
    return total


class LinearRunsLast:
    """x (rows, inputs, runs), weight (outputs, inputs, runs), bias (outputs, runs) -> (rows, outputs, runs)."""

    def __init__(self, weight: Tensor, grad_weight: Tensor, bias: Tensor | None, grad_bias: Tensor | None) -> None:
        self.weight, self.grad_weight, self.bias, self.grad_bias = weight, grad_weight, bias, grad_bias

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return sum_of_products(self.weight.unsqueeze(0), x.unsqueeze(1), 2, start=self.bias)

    def parameter_gradients(self, gradient: Tensor) -> None:
        sum_of_products(gradient.unsqueeze(2), self.x.unsqueeze(1), 0, out=self.grad_weight)
        if self.grad_bias is not None:
            torch.sum(gradient, 0, out=self.grad_bias)

    def backward(self, gradient: Tensor) -> Tensor:
        self.parameter_gradients(gradient)
        return sum_of_products(gradient.unsqueeze(2), self.weight.unsqueeze(0), 1)  # (rows, inputs, runs)


class LinearRunsFirst:
    """x (runs, rows, inputs), weight (runs, outputs, inputs), bias (runs, outputs) -> (runs, rows, outputs)."""

    def __init__(self, weight: Tensor, grad_weight: Tensor, bias: Tensor | None, grad_bias: Tensor | None) -> None:
        self.weight, self.grad_weight, self.bias, self.grad_bias = weight, grad_weight, bias, grad_bias

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        if self.bias is None:
            return torch.bmm(x, self.weight.transpose(1, 2))
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.transpose(1, 2))

    def parameter_gradients(self, gradient: Tensor) -> None:
        inputs, outputs = self.x.shape[2], gradient.shape[2]
        if inputs < min(outputs, COLUMNS):
            product = torch.bmm(self.x.transpose(1, 2), gradient).transpose(1, 2)
        else:
            product = torch.bmm(gradient.transpose(1, 2), self.x)
        self.grad_weight.copy_(product)
        if self.grad_bias is not None:
            torch.sum(gradient, 1, out=self.grad_bias)

    def backward(self, gradient: Tensor) -> Tensor:
        self.parameter_gradients(gradient)
        return torch.bmm(gradient, self.weight)  # (runs, rows, inputs)


class Masks:
    """The source of dropout's masks in a stack: for each run its own, whatever runs are trained beside it.

    A mask's numbers are a hash (SplitMix64) of the run's seed, the step, the layer and the unit's position. Nothing is
    drawn from a stream, so neither the stack's size nor a resume can change them. seeds: (runs,) int64.
    """

    def __init__(self, seeds: Tensor) -> None:
        self.seeds = seeds
        self.step = 0

    def uniform(self, units: int, layer: int) -> Tensor:
        """Returns numbers in [0, 1), (units, runs) float64."""
        position = torch.arange(units, device=self.seeds.device).unsqueeze(1)
        x = self.seeds * -7046029254386353131 + as_int64(
            (self.step * 1_000_003 + layer) * 6364136223846793005
        )  # (runs,)
        x = x + position * -2643881736870682267  # (units, runs)
        x = (x ^ (x >> 30 & 0x3FFFFFFFF)) * -4658895280553007687
        x = (x ^ (x >> 27 & 0x1FFFFFFFFF)) * -7723592293110705685
        return ((x ^ (x >> 31 & 0x1FFFFFFFF)) >> 11 & 0x1FFFFFFFFFFFFF).double() * 2.0**-53


def as_int64(number: int) -> int:
    """Returns the int64 that a larger number wraps around to."""
    return (number + 2**63) % 2**64 - 2**63


class Dropout:
    """Sets units of a stack to 0 with probability p while the module is in training mode."""

    def __init__(self, module: nn.Dropout, masks: Masks, *, layer: int, runs_last: bool) -> None:
        self.module, self.masks, self.layer, self.runs_last = module, masks, layer, runs_last

    def forward(self, x: Tensor) -> Tensor:
        self.mask: Tensor | None = None
        if not self.module.training or self.module.p == 0:
            return x
        rows, units = (x.shape[0], x.shape[1]) if self.runs_last else (x.shape[1], x.shape[2])
        kept = self.masks.uniform(rows * units, self.layer) >= self.module.p  # (rows * units, runs)
        mask = kept.view(rows, units, -1).to(x.dtype).div_(1 - self.module.p)
        self.mask = mask if self.runs_last else mask.permute(2, 0, 1)
        return x * self.mask

    def backward(self, gradient: Tensor) -> Tensor:
        return gradient if self.mask is None else gradient * self.mask


class Sequential:
    """Layers one after another, one of them a linear one at least."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        linear = [isinstance(layer, Linear | LinearRunsLast | LinearRunsFirst) for layer in layers]
        first = linear.index(True)
        self.layers = list(layers)
        self.first: LinearLayer = layers[first]  # type: ignore[assignment]  # it is a linear one
        self.after_first = list(reversed(layers[first + 1 :]))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def forward_backward(self, loss_and_grad: LossAndGrad, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Returns loss and prediction of a batch, and puts the parameters' gradients into place."""
        for layer in self.layers:
            x = layer.forward(x)
        loss, gradient = loss_and_grad(x, y)
        for layer in self.after_first:
            gradient = layer.backward(gradient)
        self.first.parameter_gradients(gradient)  # what comes before has no parameters
        return loss, x


# Layers that give a view of their input, and layers that give a new tensor.
VIEWS = (nn.Flatten, nn.Identity, nn.Unflatten)
PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def spares_input(module: nn.Module) -> bool:
    """Returns whether a module is known not to change its input in place, as all that ch12 ships are.

    The first layer that is no view of the input must be a product: what comes after it has a tensor of its own.
    """
    if has_hooks(module):
        return False
    while type(module) is nn.Sequential:
        first = next((layer for layer in module if type(layer) not in VIEWS), None)
        if first is None:
            return False
        module = first
    if type(module) is Ensemble:
        return all(map(spares_input, module.members))
    return type(module) in PRODUCTS


def flat_layers(module: nn.Module) -> list[nn.Module] | None:
    """Returns the layers of a Sequential of linear layers, activations and dropout, in order, nested ones too.

    None if the module is anything else.
    """
    if type(module) is nn.Sequential:
        inner = [flat_layers(child) for child in module]
        return None if None in inner else [layer for layers in inner if layers for layer in layers]
    known = type(module) in (nn.Linear, nn.Dropout) or activation(module, 1) is not None
    return [module] if known else None


def single_layers(module: nn.Module) -> Sequential | None:
    """Returns a network's layers with their derivatives.

    None if it is no Sequential of known layers, has dropout, hooks, frozen or shared parameters, or no linear layer.
    """
    modules = flat_layers(module)
    if modules is None or has_hooks(module) or not all(parameter.requires_grad for parameter in module.parameters()):
        return None
    parameters = [id(parameter) for layer in modules for parameter in layer.parameters()]
    if not parameters or len(set(parameters)) < len(parameters):
        return None
    layers = [Linear(layer) if type(layer) is nn.Linear else activation(layer, 1) for layer in modules]
    known = [layer for layer in layers if layer is not None]
    return Sequential(known) if len(known) == len(layers) else None  # None for dropout


def stacked_layers(
    modules: Sequence[nn.Module], views: Iterator[tuple[Tensor, Tensor]], masks: Masks, *, runs_last: bool
) -> Sequential:
    """Returns the layers of a whole stack with their derivatives. modules: of one of its networks.

    views: each parameter and its gradient, in order, as they lie in memory: (*shape, runs) if runs_last, else
    (runs, *shape).
    """
    layers: list[Layer] = []
    for module in modules:
        if isinstance(module, nn.Linear):
            weight, bias = next(views), next(views) if module.bias is not None else (None, None)
            layers.append((LinearRunsLast if runs_last else LinearRunsFirst)(*weight, *bias))
        elif isinstance(module, nn.Dropout):
            layers.append(Dropout(module, masks, layer=len(layers), runs_last=runs_last))
        else:
            made = activation(module, 1 if runs_last else 2)
            assert made is not None
            after_product = bool(layers) and isinstance(layers[-1], LinearRunsLast | LinearRunsFirst)
            layers.append(made.overwriting() if after_product else made)
    return Sequential(layers)
