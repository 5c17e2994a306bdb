"""Initial weights of linear layers and convolutions."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

INITS: dict[str, Callable[[Tensor], Tensor]] = {
    "xavier": nn.init.xavier_uniform_,  # Glorot & Bengio 2010
    "kaiming": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),  # He et al. 2015
    "normal": nn.init.normal_,
}

Weighted = TypeVar("Weighted", nn.Linear, nn.Conv2d)


def dense(inputs: int, outputs: int, *, init: str = "torch") -> nn.Linear:
    """Returns a linear layer with initial weights."""
    return initialised(lambda device: nn.Linear(inputs, outputs, device=device), init)


def convolution(inputs: int, outputs: int, *, kernel_size: int, init: str = "torch") -> nn.Conv2d:
    """Returns a convolution that preserves height and width, with initial weights. kernel_size: odd."""
    padding = kernel_size // 2
    return initialised(lambda device: nn.Conv2d(inputs, outputs, kernel_size, padding=padding, device=device), init)


def initialised(make: Callable[[str | None], Weighted], init: str) -> Weighted:
    """Returns the layer that `make` constructs on a device, with initial weights.

    init: "torch" for torch's own initialisation; else a key of INITS for the weights, with biases 0. With a key of
    INITS, only the weights are drawn from the random stream.
    """
    if init == "torch":
        return make(None)
    layer = make("meta").to_empty(device=torch.get_default_device())  # draws no random numbers
    INITS[init](layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
