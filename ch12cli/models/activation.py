"""The activation passed to a user-defined network. Called without inputs, it creates a new activation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

USES = "activation(x) applies it to a tensor, activation() makes a new module"


class Activation(nn.Module):
    """An activation that works as a module, `activation(x)`, and as a factory, `activation()`.

    Used as a module it is a single instance: if the activation has parameters, all its uses share them.
    """

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.make = make
        with torch.random.fork_rng(devices=[]):  # making it must not advance the random stream
            self.module = make()

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Returns a new activation if there are no inputs, else the output of this one."""
        return super().__call__(*inputs, **options) if inputs or options else self.make()

    def forward(self, x: Tensor) -> Any:
        """Returns the activation of a tensor. Raises TypeError, with both uses, for anything else."""
        if not isinstance(x, Tensor):
            raise TypeError(f"{type(self).__name__} was called with {type(x).__name__}; {USES}")
        return self.module(x)
