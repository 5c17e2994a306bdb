"""Layers of many networks at once, forward and backward, in the two layouts of memory that suit narrow and wide ones.

Narrow layers keep the run axis last: (rows, units, runs). Their products are sums over so few inputs that a matrix
product per run is mostly overhead, and elementwise operations over many runs are not. Wide layers keep it first,
(runs, rows, units), and use batched matrix products. The backward pass calls torch's own derivative kernels directly:
for layers this small, recording a graph and walking it costs more than the arithmetic.
"""

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ch12cli.training.activations import activation, activation_in_place

# Below this many values in the result, a chain of additions costs more in calls than a product summed afterwards does
# in memory.
CHAIN = 8192

# A product of fewer columns than this takes up to six times as long on a CPU as its transpose.
COLUMNS = 16


class Layer(Protocol):
    """One layer of the stack. forward keeps what backward needs; backward gives the gradient of its input."""

    def forward(self, x: Tensor) -> Tensor: ...
    def backward(self, gradient: Tensor) -> Tensor: ...


def sum_of_products(
    left: Tensor, right: Tensor, axis: int, *, start: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """The sum over an axis of left * right, which broadcast against each other; plus start, where there is one.

    out: where to put it. As a chain of multiply-and-add over the axis nothing larger than the result is ever in memory.
    """
    values = math.prod(map(max, left.shape, right.shape)) // left.shape[axis]
    if out is None and values < CHAIN:
        total = torch.mul(left, right).sum(axis)
        return total if start is None else total.add_(start)
    terms = zip(left.unbind(axis), right.unbind(axis), strict=True)
    first = next(terms)
    total = torch.mul(*first, out=out) if start is None else torch.addcmul(start, *first)
    for term in terms:
        total.addcmul_(*term)
    return total


class NarrowDense:
    """x (rows, inputs, runs), weight (outputs, inputs, runs), bias (outputs, runs) -> (rows, outputs, runs)."""

    def __init__(self, weight: Tensor, grad_weight: Tensor, bias: Tensor | None, grad_bias: Tensor | None) -> None:
        self.weight, self.grad_weight, self.bias, self.grad_bias = weight, grad_weight, bias, grad_bias

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return sum_of_products(self.weight.unsqueeze(0), x.unsqueeze(1), 2, start=self.bias)

    def gradients(self, gradient: Tensor) -> None:
        """Leaves the gradients of weight and bias in their place."""
        sum_of_products(gradient.unsqueeze(2), self.x.unsqueeze(1), 0, out=self.grad_weight)
        if self.grad_bias is not None:
            torch.sum(gradient, 0, out=self.grad_bias)

    def backward(self, gradient: Tensor) -> Tensor:
        self.gradients(gradient)
        return sum_of_products(gradient.unsqueeze(2), self.weight.unsqueeze(0), 1)  # (rows, inputs, runs)


class WideDense:
    """x (runs, rows, inputs), weight (runs, outputs, inputs), bias (runs, outputs) -> (runs, rows, outputs)."""

    def __init__(self, weight: Tensor, grad_weight: Tensor, bias: Tensor | None, grad_bias: Tensor | None) -> None:
        self.weight, self.grad_weight, self.bias, self.grad_bias = weight, grad_weight, bias, grad_bias

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        if self.bias is None:
            return torch.bmm(x, self.weight.transpose(1, 2))
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.transpose(1, 2))

    def gradients(self, gradient: Tensor) -> None:
        """Leaves the gradients of weight and bias in their place."""
        inputs, outputs = self.x.shape[2], gradient.shape[2]
        if inputs < min(outputs, COLUMNS):
            product = torch.bmm(self.x.transpose(1, 2), gradient).transpose(1, 2)
        else:
            product = torch.bmm(gradient.transpose(1, 2), self.x)
        self.grad_weight.copy_(product)
        if self.grad_bias is not None:
            torch.sum(gradient, 1, out=self.grad_bias)

    def backward(self, gradient: Tensor) -> Tensor:
        self.gradients(gradient)
        return torch.bmm(gradient, self.weight)  # (runs, rows, inputs)


class Masks:
    """Where the masks of dropout come from: for each run its own, whatever runs are trained beside it.

    A mask's numbers are a hash (SplitMix64) of the run's seed, the step, the layer and the unit's place: nothing is
    drawn from a stream, so that neither the stack's size nor a resume can change them.
    """

    def __init__(self, seeds: Tensor) -> None:
        self.seeds = seeds  # (runs,) int64
        self.step = 0

    def uniform(self, units: int, layer: int) -> Tensor:
        """Numbers in [0, 1), (units, runs) float64."""
        place = torch.arange(units, device=self.seeds.device).unsqueeze(1)
        x = self.seeds * -7046029254386353131 + wrapped(
            (self.step * 1_000_003 + layer) * 6364136223846793005
        )  # (runs,)
        x = x + place * -2643881736870682267  # (units, runs)
        x = (x ^ (x >> 30 & 0x3FFFFFFFF)) * -4658895280553007687
        x = (x ^ (x >> 27 & 0x1FFFFFFFFF)) * -7723592293110705685
        return ((x ^ (x >> 31 & 0x1FFFFFFFF)) >> 11 & 0x1FFFFFFFFFFFFF).double() * 2.0**-53


def wrapped(number: int) -> int:
    """What int64 makes of a number that is too large for it."""
    return (number + 2**63) % 2**64 - 2**63


class Dropout:
    """Leaves units out with probability p while the module is in training mode."""

    def __init__(self, module: nn.Dropout, masks: Masks, *, layer: int, narrow: bool) -> None:
        self.module, self.masks, self.layer, self.narrow = module, masks, layer, narrow

    def forward(self, x: Tensor) -> Tensor:
        self.mask: Tensor | None = None
        if not self.module.training or self.module.p == 0:
            return x
        rows, units = (x.shape[0], x.shape[1]) if self.narrow else (x.shape[1], x.shape[2])
        kept = self.masks.uniform(rows * units, self.layer) >= self.module.p  # (rows * units, runs)
        mask = kept.view(rows, units, -1).to(x.dtype).div_(1 - self.module.p)
        self.mask = mask if self.narrow else mask.permute(2, 0, 1)
        return x * self.mask

    def backward(self, gradient: Tensor) -> Tensor:
        return gradient if self.mask is None else gradient * self.mask


def is_watched(module: nn.Module) -> bool:
    """Whether hooks of the user's are called when the module is, or one of its parts."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    hooks = any(getattr(part, name) for part in module.modules() for name in names)
    return hooks or any(parameter._backward_hooks for parameter in module.parameters())


def leaves_of(module: nn.Module) -> list[nn.Module] | None:
    """The layers of a chain of known layers, in order; None if the module is anything else."""
    if type(module) is nn.Sequential:
        inner = [leaves_of(child) for child in module]
        return None if None in inner else [leaf for leaves in inner if leaves for leaf in leaves]
    if type(module) in (nn.Linear, nn.Dropout):
        return [module]
    return [module] if type(module).__module__.startswith("torch.nn.") and activation(module, 1) else None


def stacked_layers(leaves: list[nn.Module], views: list[tuple[Any, Any]], masks: Masks, *, narrow: bool) -> list[Layer]:
    """The layers of a whole stack. views: each parameter of the leaves and its gradient, in order, as they lie in
    memory: (*shape, runs) if narrow, else (runs, *shape)."""
    remaining = iter(views)
    layers: list[Layer] = []
    for leaf in leaves:
        if isinstance(leaf, nn.Linear):
            weight, bias = next(remaining), next(remaining) if leaf.bias is not None else (None, None)
            layers.append((NarrowDense if narrow else WideDense)(*weight, *bias))
        elif isinstance(leaf, nn.Dropout):
            layers.append(Dropout(leaf, masks, layer=len(layers), narrow=narrow))
        else:
            after_product = bool(layers) and isinstance(layers[-1], NarrowDense | WideDense)
            layer = (activation_in_place(leaf) if after_product else None) or activation(leaf, 1 if narrow else 2)
            assert layer is not None
            layers.append(layer)
    return layers
