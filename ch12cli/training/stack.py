"""Many networks of one structure trained as one: the same interface as the network of a single run."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ch12cli.training.layers import Masks, flat_layers, spares_input, stacked_layers
from ch12cli.training.losses import StackedLoss
from ch12cli.training.torch_internals import has_hooks, is_dropout

# Products of a run's largest layer in a step (inputs x outputs x rows) up to which sums of products beat batched matrix
# products: measured by `python -m tests.benchmarks layouts`.
RUNS_LAST_UP_TO = 2**14


def is_faster_runs_last(layers: Sequence[nn.Module], batch_size: int) -> bool:
    """Returns whether the run axis is better last in memory."""
    weights = max(layer.in_features * layer.out_features for layer in layers if isinstance(layer, nn.Linear))
    return weights * batch_size <= RUNS_LAST_UP_TO


class CannotStackError(Exception):
    """Networks cannot be trained as a stack; the message says why."""


class Stack:
    """Networks stacked: parameters and gradient are (runs, values), whatever their layout in memory.

    modules: networks of the same structure, each with its own initial weights. seeds: (runs,), of dropout's masks.
    batch_size: rows in a training step, which decides which layout is faster for torch's operations. runs_last: the
    layout in memory; None: that one, which is runs last for narrow layers (`is_narrow`). initial: the initial weights,
    (runs, values), if only the first network was built.
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
        runs_last: bool | None = None,
        initial: Tensor | None = None,
    ) -> None:
        first = modules[0]
        self.device, self.dtype, self.module = device, dtype, first
        self.spares_input = spares_input(first)
        self.names = [name for name, _ in first.named_parameters()]
        self.shapes = [parameter.shape for parameter in first.parameters()]
        layers = flat_layers(first) or []
        # the layers that are differentiated by hand; without any, torch vectorises the module
        self.module_layers = layers if any(isinstance(layer, nn.Linear) for layer in layers) else []
        self.masks = Masks(torch.tensor(seeds, dtype=torch.int64, device=device))
        refuse_unstackable(first, sequential=bool(self.module_layers))
        self.is_narrow = bool(self.module_layers) and is_faster_runs_last(layers, batch_size)
        self.runs_last = self.is_narrow if runs_last is None else bool(self.module_layers) and runs_last
        if initial is None:
            rows = [torch.cat([p.detach().reshape(-1) for p in module.parameters()]) for module in modules]
            initial = torch.stack(rows)
        self.set_parameters(initial.to(device, dtype))

    def set_parameters(self, parameters: Tensor) -> None:
        """Takes (runs, values) as the stack's parameters, in the layout that suits it."""
        self.runs = len(parameters)
        memory = (parameters.t() if self.runs_last else parameters).contiguous()
        gradient = torch.zeros_like(memory)
        self.parameters, self.gradient = (memory.t(), gradient.t()) if self.runs_last else (memory, gradient)
        self.views = list(zip(self.views_of(memory), self.views_of(gradient), strict=True))
        self.layers = None
        if self.module_layers:
            self.layers = stacked_layers(self.module_layers, iter(self.views), self.masks, runs_last=self.runs_last)
        else:
            for view, _ in self.views:
                view.requires_grad_()
            self.vectorised: Callable[..., Tensor] = vmap(self.one_network)

    def views_of(self, memory: Tensor) -> list[Tensor]:
        """Returns views of a flat tensor, one a parameter: (*shape, runs) if runs_last, else (runs, *shape)."""
        axis = 0 if self.runs_last else 1
        parts = memory.split([shape.numel() for shape in self.shapes], axis)
        if self.runs_last:
            return [part.view(*shape, -1) for part, shape in zip(parts, self.shapes, strict=True)]
        return [part.view(self.runs, *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def one_network(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Returns the module's prediction with other parameters, (rows, outputs). x: (rows, features)."""
        prediction: Tensor = functional_call(self.module, dict(parameters), (x,))
        return prediction

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the predictions, (runs, rows, outputs). x: (runs, rows, features)."""
        if self.layers is None:
            parameters = {name: view for name, (view, _) in zip(self.names, self.views, strict=True)}
            return self.vectorised(parameters, x if self.spares_input else x.clone())
        if self.runs_last:
            return self.layers.forward(x.permute(1, 2, 0)).permute(2, 0, 1)
        return self.layers.forward(x)

    def forward_backward(self, loss: StackedLoss) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Returns a function (x, y) -> loss (runs,), prediction (runs, rows, outputs).

        It leaves each run's gradient in its row of `gradient`. It is valid until `keep`.
        """
        if self.layers is None:
            return self.by_engine(loss)
        layers, masks, loss_and_grad = self.layers, self.masks, loss.loss_and_grad
        compute: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

        def loss_and_grad_runs_last(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
            value, gradient = loss_and_grad(prediction.permute(2, 0, 1), target)  # from (rows, outputs, runs)
            return value, gradient.permute(1, 2, 0)

        compute = partial(layers.forward_backward, loss_and_grad_runs_last if self.runs_last else loss_and_grad)
        if self.device.type == "cuda" and loss.has_written_gradient and not any(map(is_dropout, self.module_layers)):
            compute = CudaGraphs(compute, self.device)  # dropout's masks depend on the number of the step

        @torch.no_grad()
        def runs_last(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            masks.step += 1
            value, prediction = compute(x.permute(1, 2, 0), y)
            return value, prediction.permute(2, 0, 1)

        @torch.no_grad()
        def runs_first(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            masks.step += 1
            return compute(x, y)

        return runs_last if self.runs_last else runs_first

    def by_engine(self, loss: StackedLoss) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Returns the same function for any module that torch vectorises."""
        parameters, gradients = zip(*self.views, strict=True)

        def forward_backward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            self.masks.step += 1
            prediction = self(x)
            values = loss(prediction, y)
            found = torch.autograd.grad(values, parameters, torch.ones_like(values), allow_unused=True)
            for gradient, new in zip(gradients, found, strict=True):
                gradient.zero_() if new is None else gradient.copy_(new)
            return values.detach(), prediction.detach()

        return forward_backward

    def clip_norm(self, largest: float | NDArray[np.float64]) -> None:
        """Shortens the gradient of each run to a norm of `largest`, as clip_grad_norm_ does for one. (runs,) or one."""
        limit = torch.as_tensor(largest, dtype=self.dtype, device=self.device).reshape(-1, 1)  # (runs, 1) or (1, 1)
        norm = torch.linalg.vector_norm(self.gradient, dim=1, keepdim=True)  # (runs, 1)
        self.gradient.mul_((limit / (norm + 1e-6)).clamp(max=1.0))

    def is_finite(self) -> Tensor:
        """Returns whether all parameters of each run are finite, (runs,) bool."""
        return torch.isfinite(self.parameters).all(1)

    def train(self, mode: bool = True) -> None:
        self.module.train(mode)

    def snapshot(self) -> dict[str, Tensor]:
        """Returns a copy of the parameters, which later steps do not change."""
        return {"parameters": self.parameters.detach().clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.parameters.detach().copy_(state["parameters"])

    def keep(self, rows: Tensor) -> None:
        """Drops the runs that are not in rows, (kept,) int64."""
        self.masks.seeds = self.masks.seeds[rows]
        self.set_parameters(self.parameters.detach()[rows])

    def copy_runs(self, source: Tensor, target: Tensor) -> None:
        """Gives runs the parameters of others. source, target: rows, (copied,) int64, of which none is in both."""
        parameters = self.parameters.detach()
        parameters[target] = parameters[source]

    def state_of(self, parameters: Tensor) -> dict[str, Tensor]:
        """Returns a module's state_dict from one run's row of `parameters`, (values,)."""
        parts = parameters.split([shape.numel() for shape in self.shapes])
        return {
            name: part.reshape(shape).clone() for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }


class CudaGraphs:
    """A function of a batch, recorded as a CUDA graph for each shape of batch, then replayed.

    On an H200, forward and backward of 1,024 networks of Iris take 53 µs in a graph, and 690 µs launched one by one.
    function: does the same operations on the GPU at every call, on the same tensors besides x and y.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], device: torch.device) -> None:
        self.function, self.device = function, device
        self.recorded: dict[torch.Size, tuple[torch.cuda.CUDAGraph, list[Tensor], tuple[Tensor, Tensor]]] = {}

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Returns new tensors: the next call does not change them."""
        if x.shape not in self.recorded:
            self.recorded[x.shape] = self.record(x, y)
        graph, inputs, (loss, prediction) = self.recorded[x.shape]
        inputs[0].copy_(x)
        inputs[1].copy_(y)
        graph.replay()
        return loss.clone(), prediction.clone()

    def record(self, x: Tensor, y: Tensor) -> tuple[torch.cuda.CUDAGraph, list[Tensor], tuple[Tensor, Tensor]]:
        """Returns a graph, the tensors that it reads x and y from, and those that it writes."""
        with torch.cuda.device(self.device):
            inputs = [x.clone(memory_format=torch.contiguous_format), y.clone(memory_format=torch.contiguous_format)]
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):  # torch asks for calls before the recording, which set up its libraries
                for _ in range(3):
                    self.function(inputs[0], inputs[1])
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                outputs = self.function(inputs[0], inputs[1])
            return graph, inputs, outputs


def refuse_unstackable(module: nn.Module, *, sequential: bool) -> None:
    """Raises CannotStackError for a module that holds more than parameters to train.

    sequential: whether it is a Sequential of known layers, whose dropout a stack knows.
    """
    if not sequential and any(map(is_dropout, module.modules())):
        raise CannotStackError("it has dropout, and is not a plain Sequential of known layers")
    if has_hooks(module):
        raise CannotStackError("its modules have hooks, which are called for one network at a time")
    if any(True for _ in module.buffers()):
        raise CannotStackError("its network has buffers (such as running means), which a stack cannot share")
    if not all(parameter.requires_grad for parameter in module.parameters()):
        raise CannotStackError("some of its parameters are frozen")
    if len({id(parameter) for parameter in module.parameters()}) != len(
        list(module.named_parameters(remove_duplicate=False))
    ):
        raise CannotStackError("some of its layers share parameters")
