"""The network of a run alone: an nn.Module whose parameters are views of one flat tensor."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import _engine_run_backward

from ch12cli.training.chain import chain_of
from ch12cli.training.losses import Loss


def flatten_parameters(parameters: list[nn.Parameter]) -> tuple[Tensor, Tensor]:
    """One tensor (values,) that holds all parameters, and one for their gradients; the parameters become views.

    An optimiser then works on one tensor instead of many small ones, which is where a small network's step goes.
    """
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    gradient = torch.zeros_like(flat)
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = flat[start:end].view(parameter.shape)
        parameter.grad = gradient[start:end].view(parameter.shape)
        start = end
    return flat, gradient


class Network:
    """A module on its device. parameters, gradient: (values,), all of the module's in order."""

    stacked = False
    runs = 1

    def __init__(
        self,
        module: nn.Module,
        *,
        device: torch.device,
        precision: str = "float32",
        compile_it: bool = False,
    ) -> None:
        dtype = torch.float64 if precision == "float64" else torch.float32
        self.module = module.to(device=device, dtype=dtype)
        self.trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.parameters, self.gradient = flatten_parameters(self.trained)
        self.autocast = precision == "bfloat16"
        self.forward: Callable[[Tensor], Tensor] = torch.compile(module) if compile_it else module
        self.dtype, self.device = dtype, device
        self.chain = None if compile_it or self.autocast or device.type != "cpu" else chain_of(module)
        self.seed_gradient: Tensor | None = None  # of a loss with respect to itself: 1

    def __call__(self, x: Tensor) -> Tensor:
        """The prediction, (rows, outputs), in the parameters' precision. x: (rows, features)."""
        if not self.autocast:
            return self.forward(x)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return self.forward(x).to(self.dtype)

    def differentiate(self, loss: Loss, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss () and prediction (rows, outputs) of a batch; leaves the loss's gradient in `gradient`."""
        if self.chain is not None:
            return self.chain.differentiate(loss, x, y)
        self.gradient.zero_()
        prediction = self(x)
        value = loss(prediction, y)
        if self.seed_gradient is None:
            self.seed_gradient = torch.ones_like(value)
        # what `value.backward()` comes to, without the checks on its way, which cost a tenth of a small network's step
        _engine_run_backward((value,), (self.seed_gradient,), False, False, (), True, accumulate_grad=True)
        return value.detach(), prediction.detach()

    def clip_norm(self, largest: Any) -> None:
        nn.utils.clip_grad_norm_(self.trained, largest)

    def train(self, mode: bool = True) -> None:
        self.module.train(mode)

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of the module's state, that later steps do not change."""
        return {name: value.detach().clone() for name, value in self.module.state_dict().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.module.load_state_dict(state)
