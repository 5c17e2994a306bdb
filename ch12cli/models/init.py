"""Initial weights of linear layers."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

INITS: dict[str, Callable[[Tensor], Tensor]] = {
    "xavier": nn.init.xavier_uniform_,  # Glorot & Bengio 2010
    "kaiming": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),  # He et al. 2015
    "normal": nn.init.normal_,
}


def dense(inputs: int, outputs: int, *, init: str = "torch") -> nn.Linear:
    """A linear layer. init="torch": as nn.Linear does it; else the weights by INITS and biases 0.

    With another init than torch's nothing but the weights is drawn from the random stream.
    """
    if init == "torch":
        return nn.Linear(inputs, outputs)
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device=torch.get_default_device())  # draws nothing
    INITS[init](layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
