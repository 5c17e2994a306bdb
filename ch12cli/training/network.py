"""The network of a single run: an nn.Module whose parameters are views of one flat tensor."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ch12cli.errors import InputError, describe_error
from ch12cli.training.layers import single_layers, spares_input
from ch12cli.training.losses import Loss, loss_and_grad
from ch12cli.training.torch_internals import aligned_size, backward


def flatten_parameters(parameters: list[nn.Parameter]) -> tuple[Tensor, Tensor, Tensor]:
    """Returns a tensor (P,) that holds all parameters, one (P,) for their gradients, and the places of the values.

    The parameters become views of the first: an optimiser then works on one tensor instead of many small ones. Each
    view is aligned in memory like a tensor of its own, as the bits of a matrix product depend on that; zeros fill the
    gaps. places: indices of what lies in no gap, (values,).
    """
    starts = [0]
    for parameter in parameters:
        starts.append(starts[-1] + aligned_size(parameter.numel(), parameter.dtype))
    flat = parameters[0].detach().new_zeros(starts.pop())
    gradient = torch.zeros_like(flat)
    for parameter, start in zip(parameters, starts, strict=True):
        place = slice(start, start + parameter.numel())
        flat[place] = parameter.detach().reshape(-1)
        parameter.data = flat[place].view(parameter.shape)
        parameter.grad = gradient[place].view(parameter.shape)
    places = [torch.arange(start, start + each.numel()) for each, start in zip(parameters, starts, strict=True)]
    return flat, gradient, torch.cat(places).to(flat.device)


class Network:
    """A module on its device. parameters, gradient, places: see `flatten_parameters`."""

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
        self.parameters, self.gradient, self.places = flatten_parameters(self.trained)
        self.autocast = precision == "bfloat16"
        forward: Callable[[Tensor], Tensor] = torch.compile(module) if compile_it else module
        # the rows are ch12's own, and views of them: another network may change its input in place
        self.forward = forward if spares_input(module) else lambda x: forward(x.clone())
        self.dtype, self.device = dtype, device
        self.layers = None if compile_it or self.autocast or device.type != "cpu" else single_layers(module)

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the prediction, (rows, outputs), in the parameters' precision. x: (rows, features)."""
        if not self.autocast:
            return self.forward(x)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return self.forward(x).to(self.dtype)

    def forward_backward(self, loss: Loss) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Returns a function (x, y) -> loss (), prediction (rows, outputs), which leaves the gradient in `gradient`."""
        if self.layers is not None:
            return partial(self.layers.forward_backward, loss_and_grad(loss))
        return self.by_engine(loss)

    def by_engine(self, loss: Loss) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Returns the same function for any module and loss, differentiated by torch's engine."""
        seed: Tensor | None = None  # gradient of the loss with respect to itself: 1

        def forward_backward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal seed
            self.gradient.zero_()
            prediction = self(x)
            value = loss(prediction, y)
            if seed is None:
                seed = torch.ones_like(value)
            backward(value, seed)
            return value.detach(), prediction.detach()

        return forward_backward

    def clip_norm(self, largest: Any) -> None:
        """Shortens the gradient to a norm of `largest`, in place."""
        nn.utils.clip_grad_norm_(self.trained, largest)

    def is_finite(self) -> Tensor:
        """Returns whether all parameters are finite, (1,) bool."""
        return torch.isfinite(self.parameters[self.places]).all().reshape(1)

    def train(self, mode: bool = True) -> None:
        self.module.train(mode)

    def snapshot(self) -> dict[str, Tensor]:
        """Returns a copy of the module's state, which later steps do not change."""
        return {name: value.detach().clone() for name, value in self.module.state_dict().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.module.load_state_dict(state)

    def undo(self, state: dict[str, Tensor]) -> None:
        """Restores the state before a trial. Raises InputError if the module does not load what it has saved."""
        try:
            self.restore(state)
        except RuntimeError as error:
            rule = f"cannot load its own saved state ({describe_error(error)}); give its buffers a fixed shape"
            raise InputError(f"model: {type(self.module).__name__} {rule}") from error
