"""The activation that a network of the user's own is given: a module, which makes a new one when it is called."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Activation(nn.Module):
    """An activation that works as a module, `activation(x)`, and as a factory, `activation()`, which makes a new one.

    As a module it is one activation: where an activation has parameters, a network that uses it twice shares them.
    """

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.make = make
        with torch.random.fork_rng(devices=[]):  # a network that only calls the factory draws as if this were not here
            self.module = make()

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """A new activation if there are no inputs, else what this one gives for them."""
        return super().__call__(*inputs, **options) if inputs or options else self.make()

    def forward(self, x: Tensor) -> Any:
        return self.module(x)
