"""Initial weights of linear layers and convolutions."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

INITS: dict[str, Callable[[Tensor], Tensor]] = {
    "xavier": nn.init.xavier_uniform_,  # Glorot & Bengio 2010
    "kaiming": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),  # He et al. 2015
    "normal": nn.init.normal_,
}

LINEAR_GAIN = nn.init.calculate_gain("leaky_relu", math.sqrt(5))  # of torch's own initialisation of linear layers

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


def uniform_draws(network: nn.Module) -> list[tuple[int, float]] | None:
    """Returns how torch draws the weights of linear layers in a row when it makes them: (values, bound) of each tensor.

    None if the network has other parameters, or none. The caller compares with networks that were made, because a
    network may have been initialised otherwise.
    """
    layers = [layer for layer in network.modules() if any(True for _ in layer.parameters(recurse=False))]
    if not layers or not all(type(layer) is nn.Linear and layer.bias is not None for layer in layers):
        return None
    draws: list[tuple[int, float]] = []
    for layer in layers:
        assert isinstance(layer, nn.Linear)
        draws.append((layer.weight.numel(), math.sqrt(3.0) * (LINEAR_GAIN / math.sqrt(layer.in_features))))
        draws.append((layer.out_features, 1 / math.sqrt(layer.in_features)))
    return draws


def draw_uniform(draws: Sequence[tuple[int, float]]) -> Tensor:
    """Returns tensors of (values, bound) one after another, (values,), each drawn from [-bound, bound)."""
    return torch.cat([torch.empty(values).uniform_(-bound, bound) for values, bound in draws])
