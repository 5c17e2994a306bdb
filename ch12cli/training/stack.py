"""Many networks of one structure trained as one: the same interface as the network of a run alone."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ch12cli.training.losses import StackedLoss
from ch12cli.training.per_run import clip_norms
from ch12cli.training.stacked_layers import Layer, Masks, NarrowDense, WideDense, is_watched, leaves_of, stacked_layers

# Products of a run's largest layer in a step (inputs x outputs x rows) up to which sums of products beat batched matrix
# products: measured by `python -m tests.benchmarks layouts`.
NARROW = 2**14


def is_narrow(leaves: Sequence[nn.Module], batch_size: int) -> bool:
    """Whether the run axis is better last in memory."""
    weights = max(leaf.in_features * leaf.out_features for leaf in leaves if isinstance(leaf, nn.Linear))
    return weights * batch_size <= NARROW


class CannotStackError(Exception):
    """Why networks cannot be trained as a stack."""


class Stack:
    """Networks stacked: parameters and gradient are (runs, values), whatever their layout in memory.

    modules: networks of the same structure, each with its own initial weights; seeds: (runs,), of dropout's masks;
    batch_size: rows in a training step, on which it depends which layout is faster.
    """

    stacked = True

    def __init__(
        self,
        modules: Sequence[nn.Module],
        seeds: Sequence[int],
        *,
        device: torch.device,
        dtype: torch.dtype,
        batch_size: int = 2,
    ) -> None:
        first = modules[0]
        self.device, self.dtype, self.module = device, dtype, first
        self.names = [name for name, _ in first.named_parameters()]
        self.shapes = [parameter.shape for parameter in first.parameters()]
        self.leaves = leaves_of(first)
        self.masks = Masks(torch.tensor(seeds, dtype=torch.int64, device=device))
        linear = [isinstance(leaf, nn.Linear) for leaf in self.leaves or []]
        if True not in linear:
            self.leaves = None
        refuse_unstackable(first, chain=self.leaves is not None)
        self.first = linear.index(True) if self.leaves is not None else 0
        self.narrow = self.leaves is not None and is_narrow(self.leaves, batch_size)
        rows = [torch.cat([p.detach().reshape(-1) for p in module.parameters()]) for module in modules]
        self.set_parameters(torch.stack(rows).to(device, dtype))

    def set_parameters(self, parameters: Tensor) -> None:
        """Takes (runs, values) as the stack's parameters, in the layout that suits it."""
        self.runs = len(parameters)
        memory = (parameters.t() if self.narrow else parameters).contiguous()
        gradient = torch.zeros_like(memory)
        self.parameters, self.gradient = (memory.t(), gradient.t()) if self.narrow else (memory, gradient)
        views = list(zip(self.cut(memory), self.cut(gradient), strict=True))
        self.forward = self.by_layers(views) if self.leaves is not None else self.by_vmap(views)

    def cut(self, memory: Tensor) -> list[Tensor]:
        """Views of a flat tensor, one a parameter: (*shape, runs) if narrow, else (runs, *shape)."""
        axis = 0 if self.narrow else 1
        parts = memory.split([shape.numel() for shape in self.shapes], axis)
        if self.narrow:
            return [part.view(*shape, -1) for part, shape in zip(parts, self.shapes, strict=True)]
        return [part.view(self.runs, *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def by_layers(self, views: list[tuple[Tensor, Tensor]]) -> Callable[[Tensor], Tensor]:
        """The forward pass through layers written for a stack."""
        assert self.leaves is not None
        self.layers = stacked_layers(self.leaves, views, self.masks, narrow=self.narrow)

        def forward(x: Tensor) -> Tensor:
            x = x.permute(1, 2, 0) if self.narrow else x
            for layer in self.layers:
                x = layer.forward(x)
            return x.permute(2, 0, 1) if self.narrow else x

        return forward

    def by_vmap(self, views: list[tuple[Tensor, Tensor]]) -> Callable[[Tensor], Tensor]:
        """The forward pass of any module, vectorised by torch."""
        self.leaf_views = views
        parameters = {name: view.requires_grad_() for name, (view, _) in zip(self.names, views, strict=True)}

        def one(values: Mapping[str, Tensor], x: Tensor) -> Tensor:
            prediction: Tensor = functional_call(self.module, dict(values), (x,))
            return prediction

        stacked: Callable[[Mapping[str, Tensor], Tensor], Tensor] = vmap(one)
        return lambda x: stacked(parameters, x)

    def __call__(self, x: Tensor) -> Tensor:
        """The predictions, (runs, rows, outputs). x: (runs, rows, features)."""
        return self.forward(x)

    def differentiate(self, loss: StackedLoss, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (runs,) and prediction (runs, rows, outputs) of a batch; leaves each run's gradient in its row."""
        self.masks.step += 1
        if self.leaves is None:
            prediction = self.forward(x)
            values = loss(prediction, y)
            parameters, gradients = zip(*self.leaf_views, strict=True)
            found = torch.autograd.grad(values, parameters, torch.ones_like(values), allow_unused=True)
            for gradient, new in zip(gradients, found, strict=True):
                gradient.zero_() if new is None else gradient.copy_(new)
            return values.detach(), prediction.detach()
        with torch.no_grad():
            return differentiate(self.layers, self.first, loss, x, y, narrow=self.narrow)

    def clip_norm(self, largest: float | NDArray[np.float64]) -> None:
        """Shortens the gradient of each run to a norm of `largest`, as clip_grad_norm_ does for one."""
        clip_norms(self.gradient, torch.as_tensor(largest, dtype=self.dtype, device=self.device).reshape(-1, 1))

    def train(self, mode: bool = True) -> None:
        self.module.train(mode)

    def snapshot(self) -> dict[str, Tensor]:
        return {"parameters": self.parameters.detach().clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.parameters.detach().copy_(state["parameters"])

    def keep(self, rows: Tensor) -> None:
        """Only the runs of these rows, (kept,), stay."""
        self.masks.seeds = self.masks.seeds[rows]
        self.set_parameters(self.parameters.detach()[rows])

    def state_of(self, parameters: Tensor) -> dict[str, Tensor]:
        """A module's state_dict from one run's row of `parameters`, (values,)."""
        parts = parameters.split([shape.numel() for shape in self.shapes])
        return {
            name: part.reshape(shape).clone() for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }


def refuse_unstackable(module: nn.Module, *, chain: bool) -> None:
    """CannotStackError for a module that holds more than parameters to train. chain: it is one of known layers."""
    if not chain and any(isinstance(layer, nn.modules.dropout._DropoutNd) for layer in module.modules()):
        raise CannotStackError("it has dropout, and its layers are not a plain chain")
    if is_watched(module):
        raise CannotStackError("its modules have hooks, which are called for one network at a time")
    if any(True for _ in module.buffers()):
        raise CannotStackError("its network has buffers (such as running means), which a stack cannot share")
    if not all(parameter.requires_grad for parameter in module.parameters()):
        raise CannotStackError("some of its parameters are frozen")
    if len({id(parameter) for parameter in module.parameters()}) != len(
        list(module.named_parameters(remove_duplicate=False))
    ):
        raise CannotStackError("some of its layers share parameters")


def differentiate(
    layers: Sequence[Layer], first: int, loss: StackedLoss, x: Tensor, y: Tensor, *, narrow: bool
) -> tuple[Tensor, Tensor]:
    """Loss (runs,) and prediction (runs, rows, outputs) of a batch; leaves each parameter's gradient in its place.

    first: the first of the layers that has parameters.
    """
    x = x.permute(1, 2, 0) if narrow else x
    for layer in layers:
        x = layer.forward(x)
    prediction = x.permute(2, 0, 1) if narrow else x
    values, gradient = loss.differentiate(prediction, y)
    gradient = gradient.permute(1, 2, 0) if narrow else gradient
    for layer in reversed(layers[first + 1 :]):
        gradient = layer.backward(gradient)
    dense = layers[first]
    assert isinstance(dense, NarrowDense | WideDense)
    dense.gradients(gradient)  # what comes before has no parameters
    return values, prediction
